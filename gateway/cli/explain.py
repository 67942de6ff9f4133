"""obisgate explain: what is inside a telegram, field by field."""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.cli.command import (
    Commands,
    add_command,
    add_key_options,
    keys,
)
from gateway.cli.explained import as_html, as_json, as_markdown, as_text
from gateway.cli.telegram_input import octets_of, read_input
from gateway.cli.told import chosen_meter, system_language
from gateway.config import SIMULATOR_KEY, Config
from gateway.duration import parse_duration
from gateway.health import Health
from gateway.languages import LANGUAGES
from gateway.located import ConfigError
from gateway.sources import Source, SourceAddress, SourceError, open_source
from gateway.telegram import Key
from gateway.telegram.anatomy import Anatomy, Finder, Kind, bare_messages, explain, redact
from gateway.telegram.layouts import LAYOUTS, Layout

CHUNK_BYTES = 65536
MAX_REFUSED_BYTES = 4096  # of what came without a whole telegram: six times the longest
PLAIN_WIDTH = 100  # columns where there is no terminal
FORMATS = ("text", "json", "html", "markdown")
DEFAULT_CONFIG = "config.yaml"
DEFAULT_TIMEOUT = "30s"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "explain",
        run,
        "explain a telegram field by field, with a key or without",
        "  obisgate explain --key-file house.key telegram.hex\n"
        "  obisgate explain --config config.yaml --meter house --format html --to telegram.html\n"
        "  obisgate explain --source serial:/dev/ttyUSB0 --redact    to send to the developers",
    )
    parser.add_argument(
        "file",
        nargs="?",
        help="hex text or binary, M-Bus or HDLC frames or a bare APDU; - or none: standard input",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="the whole input; else its first whole telegram, or all if there is none",
    )
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument(
        "--language", choices=LANGUAGES, default=system_language(), help="else that of the system"
    )
    parser.add_argument(
        "--redact",
        action="store_true",
        help="no value, number, clock or key; what stays is framing, HDLC addresses that many "
        "meters share, maker's letters and the model's shape: look before sending",
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="write to a file")
    add_key_options(parser)
    live = parser.add_argument_group("the next telegram of a meter, live; or a file of it")
    live.add_argument("--source", metavar="ADDRESS", help="as in the config: serial:/dev/ttyUSB0")
    live.add_argument("--config", type=Path, help=f"else {DEFAULT_CONFIG}")
    live.add_argument(
        "--meter", metavar="NAME", help="that meter of the config: its source, key and layouts"
    )
    live.add_argument("--timeout", default=DEFAULT_TIMEOUT, help=f"else {DEFAULT_TIMEOUT}")


class _Told(NamedTuple):
    """What the user tells about a meter; with a source it is live."""

    source: Source | None
    key: Key | None
    auth_key: Key | None
    layouts: Sequence[Layout] = LAYOUTS
    layout: Layout | None = None


def run(options: argparse.Namespace) -> int:
    """Explain one telegram, or all of the input; 1 if something in it is refused."""
    try:
        timeout_s = parse_duration(options.timeout)
    except ValueError as problem:
        raise ConfigError(f"--timeout: {problem}") from None
    told = _told(options)
    is_good = True
    if options.file or told.source is None:
        octets = _chosen(octets_of(read_input(options.file or "-")), is_all=options.all)
        if not octets:
            print("obisgate: nothing to explain: there are no bytes", file=sys.stderr)
    else:
        octets, is_good = _next_telegram(told.source, timeout_s)
    if not octets:
        return 1
    if told.key is None:
        advice = "; with a key the list of objects shows, without its values" * options.redact
        print(f"obisgate: no key: explained up to the ciphertext{advice}", file=sys.stderr)
    anatomy = explain(octets, told.key, told.auth_key, layouts=told.layouts, layout=told.layout)
    shown = redact(anatomy) if options.redact else anatomy
    _write(_rendered(shown, options), options.to)
    is_refused = any(field.kind == Kind.REMARK for field in anatomy.fields)
    return 1 if is_refused or not is_good else 0


def _chosen(octets: bytes, *, is_all: bool) -> bytes:
    """Return the first whole telegram of a recording, and say what was left out."""
    if is_all:
        return octets
    messages = bare_messages(octets)
    span = messages[0] if messages else _first(octets)
    if span is None or span == (0, len(octets)):
        return octets
    start, end = span
    said = f"the first whole telegram, bytes {start} to {end - 1} of {len(octets)}"
    print(f"obisgate: explained is {said}; --all explains everything", file=sys.stderr)
    return octets[start:end]


def _first(octets: bytes) -> tuple[int, int] | None:
    finder = Finder()
    for start in range(0, len(octets), CHUNK_BYTES):
        if span := finder.feed(octets[start : start + CHUNK_BYTES], 0.0):
            return span
        finder.faults.clear()
    return finder.finish()


def _told(options: argparse.Namespace) -> _Told:
    """Return what is told about the meter: by the config, or by the options themselves."""
    key, auth_key = keys(options)
    if not options.source and not options.config and not options.meter:
        return _Told(None, key, auth_key)
    if not options.source:
        config = Config.read(options.config or Path(DEFAULT_CONFIG))
        meter = chosen_meter(config, options.meter)
        return _Told(
            meter.source,
            key if options.key_file and key else meter.key,
            auth_key if options.auth_key_file else meter.auth_key,
            config.layouts,
            meter.layout,
        )
    if options.file:
        raise ConfigError("a file is not live: leave out --source")
    if options.config or options.meter:
        raise ConfigError("--source names a source itself: leave out --config and --meter")
    try:
        address = SourceAddress.parse(options.source)
        if address.kind == "simulator":
            key = key or SIMULATOR_KEY
        return _Told(open_source(address, key or SIMULATOR_KEY, auth_key), key, auth_key)
    except ValueError as problem:
        raise ConfigError(f"--source: {problem}") from None


def _next_telegram(source: Source, timeout_s: float) -> tuple[bytes, bool]:
    """Wait for the next whole telegram; if none comes, say why, and return what came instead.

    Whether it is one comes second.
    """
    waiting = _Waiting(timeout_s)
    print(f"obisgate: waiting for a telegram from {source.describe()} …", file=sys.stderr)
    try:
        asyncio.run(waiting.run(source))
    except SourceError as problem:
        raise ConfigError(str(problem)) from None
    if waiting.found is not None:
        return waiting.found, True
    print(f"obisgate: no whole telegram came in {timeout_s:g} s", file=sys.stderr)
    for line in waiting.what_is_wrong():
        print(f"obisgate: {line}", file=sys.stderr)
    return bytes(waiting.received[-MAX_REFUSED_BYTES:]), False


class _Waiting:
    """Takes bytes from a source until they bring a whole telegram."""

    def __init__(self, timeout_s: float) -> None:
        self.received = bytearray()
        self.found: bytes | None = None
        self._timeout_s = timeout_s
        self._began = time.monotonic()
        self._health = Health(self._began, timeout_s)
        self._damaged = 0
        self._finder = Finder()
        self._is_found = asyncio.Event()

    async def run(self, source: Source) -> None:
        """Return when a telegram is found, the source ends, or the time is over."""
        reading = asyncio.create_task(source.run(self._take, _hear_nothing))
        found = asyncio.create_task(self._is_found.wait())
        done, pending = await asyncio.wait(
            (reading, found), timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._note(self._finder.finish(), time.monotonic())
        if reading in done and self.found is None:
            reading.result()

    def what_is_wrong(self) -> list[str]:
        """Return, once the time is over, what most likely keeps telegrams from coming."""
        came = len(self.received)
        lines = []
        if self._damaged:
            lines.append(f"{self._damaged} of {came} bytes came with parity errors")
        if came > MAX_REFUSED_BYTES:
            lines.append(f"explained are the last {MAX_REFUSED_BYTES} of {came} bytes")
        over = max(time.monotonic(), self._began + self._timeout_s)
        if diagnosis := self._health.diagnosis(over, is_over=came > 0):
            lines.append(diagnosis.text)
        return lines

    def _take(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        now = time.monotonic()
        self.received += chunk
        self._damaged += len(damaged)
        self._health.bytes_came(chunk, len(damaged), now)
        self._note(self._finder.feed(chunk, now, damaged), now)

    def _note(self, span: tuple[int, int] | None, now: float) -> None:
        for fault in self._finder.faults:
            self._health.heard(fault, now)
        self._finder.faults.clear()
        if span and self.found is None:
            self.found = bytes(self.received[slice(*span)])
            self._is_found.set()


def _hear_nothing(_caveat: str = "") -> None:
    """Take it that the source is open."""


def _rendered(anatomy: Anatomy, options: argparse.Namespace) -> str:
    match options.format:
        case "json":
            return as_json(anatomy, options.language)
        case "html":
            return as_html(anatomy, options.language)
        case "markdown":
            return as_markdown(anatomy, options.language)
        case _:
            is_coloured = (
                options.to is None
                and sys.stdout.isatty()
                and not os.environ.get("NO_COLOR")
                and os.environ.get("TERM") != "dumb"
            )
            width = PLAIN_WIDTH
            if options.to is None:
                width = shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns
            return as_text(anatomy, options.language, is_coloured=is_coloured, width=width)


def _write(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{path}: cannot be written: {why}") from None
