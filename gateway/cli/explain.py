"""obisgate explain: what is inside a telegram, field by field."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.command import Commands, add_command, add_key_options, keys
from gateway.cli.explained import as_html, as_json, as_markdown, as_text
from gateway.cli.telegram_input import octets_of, read_input
from gateway.config import SIMULATOR_KEY, Config, MeterConfig
from gateway.duration import parse_duration
from gateway.located import ConfigError, nearest
from gateway.sources import Source, SourceAddress, SourceError, open_source
from gateway.telegram import Key
from gateway.telegram.anatomy import Anatomy, Finder, Kind, bare_messages, explain, redact
from gateway.telegram.anatomy.texts import LANGUAGES

CHUNK_BYTES = 65536
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
        "--language", choices=LANGUAGES, default=_language(), help="else that of the system"
    )
    parser.add_argument(
        "--redact",
        action="store_true",
        help="only what all meters of this model have in common: no value, number, clock or key",
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="write to a file")
    add_key_options(parser)
    live = parser.add_argument_group("the next telegram of a meter, live")
    live.add_argument("--source", metavar="ADDRESS", help="as in the config: serial:/dev/ttyUSB0")
    live.add_argument("--config", type=Path, help=f"else {DEFAULT_CONFIG}")
    live.add_argument("--meter", metavar="NAME", help="that meter of the config, and its key")
    live.add_argument("--timeout", default=DEFAULT_TIMEOUT, help=f"else {DEFAULT_TIMEOUT}")


def run(options: argparse.Namespace) -> int:
    """Explain one telegram, or all of the input; 1 if something in it is refused."""
    key, auth_key = keys(options)
    is_live = any((options.source, options.config, options.meter))
    if is_live and options.file:
        raise ConfigError("a file is not live: leave out --source, --config and --meter")
    if is_live:
        try:
            timeout_s = parse_duration(options.timeout)
        except ValueError as problem:
            raise ConfigError(f"--timeout: {problem}") from None
        source, key, auth_key = _source(options, key, auth_key)
        octets = _next_telegram(source, timeout_s)
    else:
        octets = _chosen(octets_of(read_input(options.file or "-")), is_all=options.all)
    if not octets and not is_live:
        print("obisgate: nothing to explain: there are no bytes", file=sys.stderr)
    if not octets:
        return 1
    if key is None:
        advice = "; with a key the list of objects shows, without its values" * options.redact
        print(f"obisgate: no key: explained up to the ciphertext{advice}", file=sys.stderr)
    anatomy = explain(octets, key, auth_key)
    shown = redact(anatomy) if options.redact else anatomy
    _write(_rendered(shown, options), options.to)
    return 1 if any(field.kind == Kind.REMARK for field in anatomy.fields) else 0


def _language() -> str:
    """Return the language of the system, English if it is none of ours."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    language = next(filter(None, names), "")[:2]
    return language if language in LANGUAGES else LANGUAGES[0]


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
    return finder.finish()


def _source(
    options: argparse.Namespace, key: Key | None, auth_key: Key | None
) -> tuple[Source, Key | None, Key | None]:
    """Return the source that is named, and the keys for what comes from it."""
    if not options.source:
        meter = _meter(options)
        return meter.source, meter.key, meter.auth_key
    if options.config or options.meter:
        raise ConfigError("--source names a source itself: leave out --config and --meter")
    try:
        address = SourceAddress.parse(options.source)
        if address.kind == "simulator":
            key = key or SIMULATOR_KEY
        return open_source(address, key or SIMULATOR_KEY, auth_key), key, auth_key
    except ValueError as problem:
        raise ConfigError(f"--source: {problem}") from None


def _meter(options: argparse.Namespace) -> MeterConfig:
    config = Config.read(options.config or Path(DEFAULT_CONFIG))
    for warning in config.warnings:
        print(f"obisgate: {warning}", file=sys.stderr)
    meters = config.meters
    if options.meter is None and len(meters) == 1:
        return next(iter(meters.values()))
    if options.meter is None:
        raise ConfigError(f"--meter NAME is missing; there are {', '.join(meters)}")
    if options.meter not in meters:
        raise ConfigError(f"unknown meter {options.meter!r}{nearest(options.meter, meters)}")
    return meters[options.meter]


def _next_telegram(source: Source, timeout_s: float) -> bytes:
    """Wait for the next whole telegram; b"" if none came, which is said."""
    waiting = _Waiting()
    print(f"obisgate: waiting for a telegram from {source.describe()} …", file=sys.stderr)
    try:
        asyncio.run(waiting.run(source, timeout_s))
    except SourceError as problem:
        raise ConfigError(str(problem)) from None
    if waiting.found is None:
        came = len(waiting.received)
        advice = (
            f"only {came} bytes: check baud rate and parity"
            if came
            else "not one byte: is the interface activated, and the adapter an M-Bus slave?"
        )
        print(f"obisgate: no whole telegram came in {timeout_s:g} s, {advice}", file=sys.stderr)
        return b""
    return waiting.found


class _Waiting:
    """Takes bytes from a source until they bring a whole telegram."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.found: bytes | None = None
        self._finder = Finder()
        self._is_found = asyncio.Event()

    async def run(self, source: Source, timeout_s: float) -> None:
        """Return when a telegram is found, the source ends, or the time is over."""
        reading = asyncio.create_task(source.run(self._take, _hear_nothing))
        found = asyncio.create_task(self._is_found.wait())
        done, pending = await asyncio.wait(
            (reading, found), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._note(self._finder.finish())
        if reading in done and self.found is None:
            reading.result()

    def _take(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        self.received += chunk
        self._note(self._finder.feed(chunk, time.monotonic(), damaged))

    def _note(self, span: tuple[int, int] | None) -> None:
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
            return as_markdown(anatomy.fields, options.language)
        case _:
            is_coloured = (
                options.to is None
                and sys.stdout.isatty()
                and not os.environ.get("NO_COLOR")
                and os.environ.get("TERM") != "dumb"
            )
            return as_text(anatomy, options.language, is_coloured=is_coloured)


def _write(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{path}: cannot be written: {why}") from None
