"""obisgate decode: telegrams in, readings out."""

import argparse
import codecs
import json
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.command import (
    Commands,
    add_command,
    add_key_options,
    fault_json,
    keys,
    telegram_json,
)
from gateway.located import ConfigError
from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import TEXTS
from gateway.telegram import Decoder, Fault, Telegram
from gateway.telegram.ciphering import GENERAL_GLO_CIPHERING, SYSTEM_TITLE_BYTES, apdu_length
from gateway.telegram.mbus import Frame, FrameReader
from gateway.telegram.obis import CLOCK

CHUNK_BYTES = 65536
APDU_START = bytes([GENERAL_GLO_CIPHERING, SYSTEM_TITLE_BYTES])
HEX_CHARACTERS = (string.hexdigits + string.whitespace + "xX,:;-").encode("ascii")
_HEX_TEXT = re.compile(rb"(?i)(?:0x|[0-9a-f\s:,;-])*")
_NOT_DIGITS = re.compile(r"(?i)0x|[^0-9a-f]")

MEANINGS = {q.obis: q.meaning for q in QUANTITIES.values() if q.obis} | {
    obis: name.replace("_", " ") for name, obis in TEXTS.items()
}
MEANINGS[CLOCK] = "the meter's clock"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "decode",
        decode,
        "decode telegrams: hex text or binary, M-Bus frames or a bare APDU",
        "  obisgate decode --key-file house.key telegram.hex\n"
        "  obisgate decode --format json < meter.bin",
    )
    parser.add_argument("file", nargs="?", default="-", help="a file; - or none: standard input")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    add_key_options(parser)


def decode(options: argparse.Namespace) -> int:
    """Print every telegram and fault; 1 if there is a fault or no telegram at all."""
    key, auth_key = keys(options)
    if key is None:
        raise ConfigError("no key: --key-file FILE, or the environment variable OBISGATE_KEY")
    octets = _octets(_read(options.file))
    show = _print_json if options.format == "json" else _print_table
    telegrams = faults = 0
    for item in _items(Decoder(key, auth_key), octets):
        telegrams += isinstance(item, Telegram)
        faults += isinstance(item, Fault)
        show(item)
    if not telegrams and not faults:
        print("obisgate: nothing to decode: the input is empty", file=sys.stderr)
    elif not telegrams:
        print(f"obisgate: no telegram in {len(octets)} bytes", file=sys.stderr)
    return 0 if telegrams and not faults else 1


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{file}: cannot be read: {why}") from None


def _octets(read: bytes) -> bytes:
    """Return the bytes that hex text spells; what is no hex text is binary and stays."""
    read = read.removeprefix(codecs.BOM_UTF8)
    if not _HEX_TEXT.fullmatch(read):
        if foreign := _almost_hex(read):
            raise ConfigError(f"the input looks like hex text, but for {foreign}")
        return read
    digits = _NOT_DIGITS.sub("", read.decode("ascii"))
    if len(digits) % 2:
        raise ConfigError(f"hex text has an odd number of digits, {len(digits)}")
    return bytes.fromhex(digits)


def _almost_hex(read: bytes) -> str | None:
    """Return the first foreign character of what else would be hex text; None if it is none."""
    # Of random bytes one in seven would do; in a telegram's hex text all but a slip do. Not byte
    # by byte: a recording may have hundreds of megabytes.
    foreign = read.translate(None, HEX_CHARACTERS)
    if not foreign or len(foreign) > len(read) // 10:
        return None
    return f"{chr(foreign[0])!r} at byte {read.index(foreign[:1])}"


def _items(decoder: Decoder, octets: bytes) -> Iterator[Telegram | Fault]:
    """Decode a stream of frames, or APDUs one after the other if the input starts with one."""
    if octets[:2] == APDU_START and not _has_frames(octets):
        while octets:
            length = apdu_length(octets) or len(octets)
            yield decoder.decode_apdu(octets[:length], 0.0)
            octets = octets[length:]
        return
    for start in range(0, len(octets), CHUNK_BYTES):
        yield from decoder.feed(octets[start : start + CHUNK_BYTES], 0.0)
    yield from decoder.finish()


def _has_frames(octets: bytes) -> bool:
    reader = FrameReader()
    return any(isinstance(item, Frame) for item in reader.feed(octets, 0.0) + reader.finish())


def _print_json(item: Telegram | Fault) -> None:
    shown = fault_json(item) if isinstance(item, Fault) else telegram_json(item)
    print(json.dumps(shown, ensure_ascii=False))


def _print_table(item: Telegram | Fault) -> None:
    if isinstance(item, Fault):
        print(f"{item.layer} fault at byte {item.offset}: {item.reason}")
        return
    print(
        f"telegram of meter {item.meter.hex().upper()}, {item.clock or 'without clock'}, "
        f"invocation counter {item.invocation_counter}, {item.security}"
    )
    for obis, reading in item.readings.items():
        shown = f"{reading.value} {reading.unit or ''}".rstrip()
        print(f"  {obis!s:<16} {shown:<26} {MEANINGS.get(obis, '')}".rstrip())
