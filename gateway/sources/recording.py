"""A recording: bytes as they came from a meter, raw or with the times at which they came."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.recording import Chunk, Item, Torn, is_recording, parse, timeline
from gateway.recording.lines import MARK, MAX_LINE_BYTES
from gateway.sources.address import SourceAddress
from gateway.sources.source import Deliver, Opened, SourceError

CHUNK_BYTES = 64
BITS_A_BYTE = 11  # start, 8 data, parity, stop
AT_ONCE = "max"
MAX_SPEED = 1_000_000


@dataclass(frozen=True, slots=True)
class RecordingSource:
    """Plays a file of raw bytes, or what `obisgate record` wrote.

    At once; or as fast as a line of `baud` would carry it; or, where the file has times, `speed`
    times as fast as it was recorded.
    """

    path: Path
    baud: int | None = None
    speed: int | None = None

    @classmethod
    def parse(cls, address: SourceAddress) -> "RecordingSource":
        """Read recording:meter.rec?speed=1 or ?baud=2400; ValueError says what is wrong."""
        address.allow(("baud", "speed"))
        baud = address.integer("baud", None, lowest=50)
        speed = None
        if address.options.get("speed", AT_ONCE) != AT_ONCE:
            text = address.options["speed"]
            if not (text.isdecimal() and len(text) <= 7 and 0 < int(text) <= MAX_SPEED):
                raise ValueError(f"speed is 1, 2, 10 … times as it was, or max, not {text!r}")
            speed = int(text)
        if baud and speed:
            raise ValueError("speed and baud: one of them sets the pace, not both")
        return cls(Path(address.target), baud, speed)

    def describe(self) -> str:
        """Return the file and its pace."""
        pace = f"{self.baud} baud" if self.baud else "at once"
        if self.speed:
            pace = "as fast as it was" if self.speed == 1 else f"{self.speed} times as fast"
        return f"recording {self.path}, {pace}"

    @property
    def is_lasting(self) -> bool:
        """Return False: each run begins it anew."""
        return False

    def trouble(self) -> str | None:
        """Return why the file cannot be played."""
        try:
            if self.path.exists() and not self.path.is_file():
                return f"{self.path} is no recording: a recording is a file"
            with self.path.open("rb") as file:
                if self.speed and not is_recording(file.read(len(MARK))):
                    return f"{self.path} has raw bytes without times: ?baud=2400 instead of ?speed"
                return None
        except (OSError, ValueError) as problem:
            return f"{self.path} cannot be read: {getattr(problem, 'strerror', None) or problem}"

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Deliver the file's bytes, once."""
        if trouble := self.trouble():
            raise SourceError(trouble)
        try:
            with self.path.open("rb") as file:
                start = file.read(len(MARK))
                file.seek(0)
                if is_recording(start):
                    chunks = timeline(_without_torn(parse(_lines(file)), opened))
                else:
                    chunks = (
                        Chunk(0, chunk) for chunk in iter(lambda: file.read(CHUNK_BYTES), b"")
                    )
                await self._play(chunks, deliver)
        except OSError as problem:
            raise SourceError(f"{self.path} cannot be read: {problem.strerror}") from None
        except ValueError as problem:
            raise SourceError(f"{self.path} cannot be played: {problem}") from None

    async def _play(self, chunks: Iterator[Chunk], deliver: Deliver) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for chunk in chunks:
            pause_s = 0.0
            if self.baud:
                # The line is busy first, then the bytes are there.
                pause_s = len(chunk.octets) * BITS_A_BYTE / self.baud
            elif self.speed:
                pause_s = began + chunk.at_ms / 1000 / self.speed - clock()
            await asyncio.sleep(pause_s)
            deliver(chunk.octets, chunk.damaged)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    # A file that is not what it says has perhaps no line ends.
    return iter(lambda: file.readline(MAX_LINE_BYTES), b"")


def _without_torn(items: Iterator[Item], opened: Opened) -> Iterator[Item]:
    """Leave out the lines that are not whole; the first of them is told."""
    is_told = False
    for item in items:
        if not isinstance(item, Torn):
            yield item
        elif not is_told:
            opened(f"its line {item.line} is not whole: what is torn is left out")
            is_told = True
