"""obisgate anonymise: a recording that can be sent to others."""

import argparse
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from gateway.anonymous import Anonymiser, Anonymous
from gateway.cli.command import Commands, add_command, add_key_options, keys
from gateway.cli.telegram_input import items_of, octets_of, read_input
from gateway.config import SIMULATOR_KEY, Config
from gateway.located import ConfigError, nearest
from gateway.recording import Began, Chunk, Item, is_recording, parse
from gateway.recording.lines import begin, head, write
from gateway.simulator import SIMULATED_AUTH_KEY
from gateway.telegram import Fault, Key, Layer
from gateway.telegram.anatomy import bare_messages

# Published on purpose: whoever gets the recording can read it, and nobody's meter has them.
TEST_KEYS = SIMULATOR_KEY, Key(SIMULATED_AUTH_KEY)
SOURCE = "an anonymised recording"
MAX_DAYS = 36525
CHUNK_BYTES = 65536


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "anonymise",
        anonymise,
        "make of a recording one that can be sent to others: the same readings, nobody's meter",
        "  obisgate anonymise house.rec --to nobody.rec --key-file house.key",
    )
    parser.add_argument("file", help="a recording, or telegrams as hex or binary; - standard input")
    parser.add_argument("-o", "--to", type=Path, metavar="FILE", required=True)
    parser.add_argument(
        "--days", type=int, default=0, metavar="N", help="move all dates by so many days, as -400"
    )
    add_key_options(parser)
    parser.add_argument("--meter", metavar="NAME", help="key and layout of a meter of the config")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="else config.yaml")


def anonymise(options: argparse.Namespace) -> int:
    """Write the anonymous recording and say what was left out; 1 if nothing is left."""
    if not abs(options.days) <= MAX_DAYS:
        raise ConfigError(f"--days is a number from -{MAX_DAYS} to {MAX_DAYS}")
    if options.file != "-" and Path(options.file).resolve() == options.to.resolve():
        raise ConfigError(f"{options.to} is what is to be anonymised: name another file")
    _refuse_other(options.to)
    anonymiser = _anonymiser(options)
    read = read_input(options.file)
    if is_recording(read):
        lines = list(_lines(anonymiser, items_of(read), options.days))
    else:
        lines = list(_untimed_lines(anonymiser, octets_of(read)))
    if not anonymiser.telegrams:
        for text in _left_out(anonymiser.left_out):
            print(f"obisgate: {text}", file=sys.stderr)
        print("obisgate: no telegram in it that the key opens: nothing is written", file=sys.stderr)
        return 1
    _write_whole(options.to, head() + b"".join(lines))
    telegrams = _many(anonymiser.telegrams, "telegram")
    print(
        f"obisgate: {telegrams} of {_many(anonymiser.meters, 'meter')} into {options.to}",
        file=sys.stderr,
    )
    for text in _left_out(anonymiser.left_out):
        print(f"obisgate: {text}", file=sys.stderr)
    print(
        f"obisgate: it is read with the key {TEST_KEYS[0].octets.hex().upper()}, where there are "
        f"tags with the authentication key {SIMULATED_AUTH_KEY.hex().upper()}; powers, energies "
        f"and {'times of day' if options.days else 'times'} are those of your meter",
        file=sys.stderr,
    )
    return 0


def _refuse_other(path: Path) -> None:
    """Refuse to replace anything but an anonymous recording, as a key or one's own recording."""
    try:
        if not path.exists():
            return
        is_ours = path.is_file() and _is_anonymous(path.read_bytes())
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{path} cannot be written: {why}") from None
    if not is_ours:
        raise ConfigError(
            f"{path} is there, is no anonymous recording, and stays as it is: name another file"
        )


def _is_anonymous(read: bytes) -> bool:
    if not is_recording(read):
        return False
    try:
        runs = [item for item in parse(read.splitlines()) if isinstance(item, Began)]
    except ValueError:  # of another version
        return False
    return all(began.source == SOURCE for began in runs)


def _write_whole(path: Path, octets: bytes) -> None:
    """Write a file whole or not at all: on a full disk an older one stays as it was."""
    place = path.resolve()
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except OSError as problem:
        with suppress(OSError):
            beside.unlink()
        raise ConfigError(f"{path} cannot be written: {problem.strerror}") from None


def _anonymiser(options: argparse.Namespace) -> Anonymiser:
    """Return one with the keys that the options name, or those of a meter of the config."""
    if options.meter is not None:
        config = Config.read(options.config)
        if options.meter not in config.meters:
            known = nearest(options.meter, config.meters)
            raise ConfigError(f"{options.config} has no meter {options.meter!r}{known}")
        meter = config.meters[options.meter]
        return Anonymiser(
            (meter.key, meter.auth_key),
            TEST_KEYS,
            layout=meter.layout,
            layouts=config.layouts,
            days=options.days,
        )
    key, auth_key = keys(options)
    if key is None:
        raise ConfigError(
            "no key: --key-file FILE, the environment variable OBISGATE_KEY, or --meter NAME"
        )
    return Anonymiser((key, auth_key), TEST_KEYS, days=options.days)


def _lines(anonymiser: Anonymiser, items: Iterable[Item], days: int) -> Iterator[bytes]:
    """Yield the lines of an anonymous recording, a frame a line."""
    for item in items:
        if isinstance(item, Began):
            yield from _frames(anonymiser.finish())
            try:
                yield begin(Began(item.moment + timedelta(days=days), SOURCE))
            except OverflowError:
                raise ConfigError(f"--days: {item.moment:%Y} cannot be moved so far") from None
        elif isinstance(item, Chunk):
            yield from _frames(anonymiser.feed(item.octets, item.at_ms / 1000, item.damaged))
    yield from _frames(anonymiser.finish())


def _untimed_lines(anonymiser: Anonymiser, octets: bytes) -> Iterator[bytes]:
    """Yield the lines of what has no times; APDUs without frames stay without."""
    if (messages := bare_messages(octets)) is not None:
        for start, end in messages:
            if renewed := anonymiser.apdu(octets[start:end]):
                yield write(Chunk(0, renewed))
        return
    for start in range(0, len(octets), CHUNK_BYTES):
        yield from _frames(anonymiser.feed(octets[start : start + CHUNK_BYTES], 0.0))
    yield from _frames(anonymiser.finish())


def _frames(frames: Iterable[Anonymous]) -> Iterator[bytes]:
    for frame in frames:
        yield write(Chunk(round(1000 * frame.received), frame.octets))


def _left_out(faults: Iterable[Fault]) -> Iterator[str]:
    """Yield what was left out, and why: telegrams, then damage of the line."""
    refused = [each for each in faults if each.layer not in (Layer.FRAME, Layer.SEGMENT)]
    damaged = [each for each in faults if each.layer in (Layer.FRAME, Layer.SEGMENT)]
    for what, of in (("telegram", refused), ("damaged piece", damaged)):
        if of:
            more = "; the first: " if len(of) > 1 else ": "
            yield f"left out: {_many(len(of), what)}{more}{of[0].reason}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
