"""obisgate record: what comes over a meter's line and when, into a file."""

import argparse
import asyncio
import itertools
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from gateway.cli.command import Commands, add_command
from gateway.config import SIMULATOR_KEY
from gateway.duration import parse_duration
from gateway.health import Health
from gateway.limits import parse_size
from gateway.located import ConfigError
from gateway.recording import Began, Chunk, FullError, RecordingError, RecordingFile, lines
from gateway.recording.file import (
    DEFAULT_MAX_BYTES,
    MAX_BATCH_BYTES,
    MAX_ROTATE,
    MIN_MAX_BYTES,
    shown_size,
)
from gateway.sources import Source, SourceAddress, keep_running, open_source
from gateway.telegram import Fault
from gateway.telegram.frames import FrameReader
from gateway.telegram.segments import Assembler

SHOW_EVERY_S = 1.0  # to somebody who watches
SAY_EVERY = 60  # times as seldom into a log
GATHER_S = 2.0  # as seldom the file is written to


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "record",
        record,
        "record what comes over a meter's line and when; no key is needed",
        "  obisgate record serial:/dev/ttyUSB0 --to house.rec --for 10min",
    )
    parser.add_argument("source", metavar="SOURCE", help="as in the config: serial:/dev/ttyUSB0")
    parser.add_argument("-o", "--to", type=Path, metavar="FILE", required=True)
    parser.add_argument(
        "--for", dest="time", metavar="TIME", help="such as 10min; else until Ctrl-C"
    )
    parser.add_argument(
        "--max-size", metavar="SIZE", help="of the file, 10MiB: then it ends, or is rotated"
    )
    parser.add_argument(
        "--rotate",
        type=int,
        default=0,
        metavar="N",
        help="go on in a new file, and keep N older ones as FILE.1, FILE.2 …",
    )


def record(options: argparse.Namespace) -> int:
    """Record until the time is over, the file full, the source ended, or Ctrl-C; 1 if empty."""
    source = _source(options.source, options.to)
    seconds = _seconds(options.time)
    max_bytes = _max_bytes(options.max_size)
    if not 0 <= options.rotate <= MAX_ROTATE:
        raise ConfigError(f"--rotate is a number from 0 to {MAX_ROTATE}")
    began = Began(datetime.now().astimezone(), source.describe())
    recording = _Recording(RecordingFile(options.to, began, max_bytes, options.rotate))
    recording.write()  # before anything is heard: a file that cannot be written is said at once
    print(f"obisgate: {source.describe()} into {options.to}; Ctrl-C stops", file=sys.stderr)
    asyncio.run(recording.run(source, seconds))
    return 0 if recording.size else 1


class _Recording:
    """What is heard, on its way into the file, and what is seen of it."""

    def __init__(self, file: RecordingFile) -> None:
        self._file = file
        self._began = time.monotonic()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._written = self._began
        self._heard = _Heard(self._began)
        self._over = asyncio.Event()
        self._problem: RecordingError | None = None
        self.size = 0

    async def run(self, source: Source, seconds: float | None) -> None:
        """Record until that is over, for whatever reason."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._over.set)
        reading = asyncio.create_task(keep_running(source, self._take, self._say))
        showing = asyncio.create_task(self._show())
        for task in (reading, showing):
            task.add_done_callback(lambda _: self._over.set())
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass
        for task in (reading, showing):
            task.cancel()
        results = await asyncio.gather(reading, showing, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        self._end()

    def write(self, *, is_last: bool = False) -> None:
        """Bring what waits into the file; ConfigError says why that cannot be."""
        try:
            self._file.append(self._waiting, is_last=is_last)
        except FullError as full:
            self._problem = full
        except RecordingError as problem:
            raise ConfigError(str(problem)) from None
        self._waiting, self._waiting_bytes = [], 0
        self._written = time.monotonic()

    def _take(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        now = time.monotonic()
        if self._problem:
            return
        line = lines.write(Chunk(round(1000 * (now - self._began)), chunk, tuple(damaged)))
        if self._waiting and self._waiting_bytes + len(line) > MAX_BATCH_BYTES:
            self.write()
            if self._problem:
                self._over.set()
                return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self._heard.take(chunk, damaged, now)
        self.size += len(chunk)

    def _say(self, text: str) -> None:
        self._clear()
        print(f"obisgate: {text}", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)

    async def _show(self) -> None:
        """Show how far it is, again and again; bring what waits into the file."""
        is_watched = sys.stderr.isatty()
        ticks = itertools.count(1)
        while True:
            await asyncio.sleep(SHOW_EVERY_S)
            if self._waiting and time.monotonic() - self._written > GATHER_S:
                self.write()
            if self._problem:
                self._over.set()
            if is_watched or next(ticks) % SAY_EVERY == 0:
                self._clear()
                end = "" if is_watched else "\n"
                print(f"obisgate: {self._so_far()}", end=end, file=sys.stderr, flush=True)

    def _so_far(self) -> str:
        lasted_s = round(time.monotonic() - self._began)
        lasted = f"{lasted_s // 60}:{lasted_s % 60:02d} min"
        return f"{lasted}, {shown_size(self.size)}, {self._heard.counts()}"

    def _end(self) -> None:
        if not self._problem:
            self.write(is_last=True)
        if self._problem:
            self._say(f"{self._problem}; --max-size allows more, --rotate goes on in a new one")
        # Of a full file the last pieces that were heard are missing.
        word = "heard" if self._problem else "recorded"
        self._say(f"{word}: {self._so_far()}" if self.size else "nothing was heard")
        if trouble := self._heard.trouble(time.monotonic()):
            self._say(trouble)


class _Heard:
    """What of the bytes is recognised without a key."""

    def __init__(self, began: float) -> None:
        self._reader = FrameReader()
        self._assembler = Assembler()
        self._health = Health(began)
        self._frames = self._telegrams = self._damaged = 0

    def take(self, chunk: bytes, damaged: Sequence[int], now: float) -> None:
        """Take the next bytes."""
        self._health.bytes_came(chunk, len(damaged), now)
        self._damaged += len(damaged)
        for frame in self._reader.feed(chunk, now, damaged):
            if isinstance(frame, Fault):
                self._health.heard(frame, now)
                continue
            self._frames += 1
            found = self._assembler.add(frame)
            self._telegrams += sum(not isinstance(item, Fault) for item in found)

    def counts(self) -> str:
        """Return what was recognised so far."""
        counted = f"{_many(self._frames, 'whole frame')}, {_many(self._telegrams, 'telegram')}"
        return counted + (f", {_many(self._damaged, 'damaged byte')}" if self._damaged else "")

    def trouble(self, now: float) -> str | None:
        """Return why there is no telegram, as far as that can be seen."""
        diagnosis = self._health.diagnosis(now, is_over=True)
        return diagnosis.text if diagnosis and not self._frames else None


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _source(text: str, to: Path) -> Source:
    try:
        address = SourceAddress.parse(text)
        if address.kind == "recording" and Path(address.target).resolve() == to.resolve():
            raise ConfigError(f"{to} is what is to be recorded: name another file")
        # Whoever wants to read a simulated meter's telegrams knows its key.
        return open_source(address, SIMULATOR_KEY, None)
    except ValueError as problem:
        raise ConfigError(str(problem)) from None


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as problem:
        raise ConfigError(f"--for: {problem}") from None


def _max_bytes(text: str | None) -> int:
    try:
        found = DEFAULT_MAX_BYTES if text is None else parse_size(text)
    except ValueError as problem:
        raise ConfigError(f"--max-size: {problem}") from None
    if found < MIN_MAX_BYTES:
        raise ConfigError(f"--max-size is at least {MIN_MAX_BYTES // 1024}KiB")
    return found
