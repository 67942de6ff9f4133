"""obisgate decode: telegrams in, readings out."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.cli.command import (
    Commands,
    add_command,
    add_key_options,
    fault_json,
    keys,
    telegram_json,
)
from gateway.cli.telegram_input import chunks_of, read_input
from gateway.config import Config
from gateway.health import Health
from gateway.located import ConfigError, nearest
from gateway.recording import Chunk
from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import TEXTS
from gateway.telegram import Decoder, Fault, Telegram
from gateway.telegram.anatomy import bare_messages
from gateway.telegram.obis import CLOCK

CHUNK_BYTES = 65536

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
        "decode telegrams: a recording, hex text or binary, M-Bus frames or a bare APDU",
        "  obisgate decode --key-file house.key telegram.hex\n"
        "  obisgate decode --format json < meter.bin",
    )
    parser.add_argument("file", nargs="?", default="-", help="a file; - or none: standard input")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    add_key_options(parser)
    parser.add_argument("--meter", metavar="NAME", help="key and layout of a meter of the config")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="else config.yaml")


def decode(options: argparse.Namespace) -> int:
    """Print every telegram and fault; 1 if there is a fault or no telegram at all."""
    decoder = _decoder(options)
    chunks = chunks_of(read_input(options.file))
    octets = b"".join(chunk.octets for chunk in chunks)
    show = _print_json if options.format == "json" else _print_table
    health = Health(0.0)
    health.bytes_came(octets, sum(len(chunk.damaged) for chunk in chunks), 0.0)
    telegrams = faults = 0
    for item in _items(decoder, chunks, octets):
        telegrams += isinstance(item, Telegram)
        faults += isinstance(item, Fault)
        health.heard(item, 0.0)
        show(item)
    if not telegrams and not faults:
        print("obisgate: nothing to decode: the input is empty", file=sys.stderr)
    elif not telegrams:
        print(f"obisgate: no telegram in {len(octets)} bytes", file=sys.stderr)
        if diagnosis := health.diagnosis(0.0, is_over=True):
            print(f"obisgate: {diagnosis.text}", file=sys.stderr)
    return 0 if telegrams and not faults else 1


def _decoder(options: argparse.Namespace) -> Decoder:
    """Return a decoder with the keys that the options name, or those of a meter of the config."""
    if options.meter is not None:
        config = Config.read(options.config)
        config.refuse_virtual(options.meter)
        if options.meter not in config.meters:
            known = nearest(options.meter, config.meters)
            raise ConfigError(f"{options.config} has no meter {options.meter!r}{known}")
        return config.meters[options.meter].decoder(config.layouts)
    key, auth_key = keys(options)
    if key is None:
        raise ConfigError(
            "no key: --key-file FILE, the environment variable OBISGATE_KEY, or --meter NAME"
        )
    return Decoder(key, auth_key)


def _items(decoder: Decoder, chunks: Sequence[Chunk], octets: bytes) -> Iterator[Telegram | Fault]:
    """Decode a stream of frames, or APDUs one after the other if the input starts with one.

    `octets` are those of all chunks.
    """
    if (messages := bare_messages(octets)) is not None:
        for start, end in messages:
            yield decoder.decode_apdu(octets[start:end], 0.0)
        return
    for at_ms, piece, damaged in chunks:
        if damaged:
            yield from decoder.feed(piece, at_ms / 1000, damaged)
            continue
        for start in range(0, len(piece), CHUNK_BYTES):
            yield from decoder.feed(piece[start : start + CHUNK_BYTES], at_ms / 1000)
    yield from decoder.finish()


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
