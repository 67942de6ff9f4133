"""How a recording is written: a text that a person can read, one line a chunk.

    obisgate recording 1
    # milliseconds, number of bytes, the bytes; ! stands before a byte that came damaged
    began 2026-11-23T18:00:00.250+01:00 from serial port /dev/ttyUSB0, 2400 baud 8E1
    0 5 68fafa6853
    147 4 ff!000167

The milliseconds count since `began`. Each run of a recorder begins anew, in the same file. The
number of bytes tells a whole line from one that broke off, as when the power fails.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

MARK = b"obisgate recording "
VERSION = 1
MAX_LINE_BYTES = 1 << 20
# Between two runs of a recorder; more silence than any telegram has inside.
RUN_GAP_MS = 5000

_HEAD = (
    f"{MARK.decode()}{VERSION}\n"
    "# milliseconds, number of bytes, the bytes; ! stands before a byte that came damaged\n"
)
_CHUNK = re.compile(rb"(\d{1,12}) (\d{1,6}) ((?:!?[0-9a-f]{2})+)")
_BEGAN = re.compile(rb"began (\S+) from (.*)")


class Began(NamedTuple):
    """A run of a recorder: when it began (aware), and what it heard, for people."""

    moment: datetime
    source: str


class Chunk(NamedTuple):
    """Bytes that came together, `at_ms` milliseconds after the run began.

    `damaged` are the indices in `octets` of bytes with a parity or framing error.
    """

    at_ms: int
    octets: bytes
    damaged: tuple[int, ...] = ()


class Torn(NamedTuple):
    """A line that is not whole, by its number in the file, counted from 1."""

    line: int


Item = Began | Chunk | Torn


def head() -> bytes:
    """Return what every file starts with."""
    return _HEAD.encode("ascii")


def begin(began: Began) -> bytes:
    """Return the line that begins a run."""
    source = "".join(each if each.isprintable() else "?" for each in began.source)
    return f"began {began.moment.isoformat(timespec='milliseconds')} from {source}\n".encode()


def write(chunk: Chunk) -> bytes:
    """Return the line of a chunk."""
    spelled = chunk.octets.hex()
    if chunk.damaged:
        marked = frozenset(chunk.damaged)
        spelled = "".join(
            f"!{octet:02x}" if index in marked else f"{octet:02x}"
            for index, octet in enumerate(chunk.octets)
        )
    return f"{chunk.at_ms} {len(chunk.octets)} {spelled}\n".encode("ascii")


def is_recording(start: bytes) -> bool:
    """Tell by its first bytes whether a file is written like this."""
    return start.startswith(MARK)


def parse(lines: Iterable[bytes]) -> Iterator[Item]:
    """Yield what stands in the lines of a recording; ValueError if they are those of another file.

    What is not whole is told and left out, whatever it is.
    """
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    if not is_recording(first):
        raise ValueError("this is no recording of obisgate")
    version = first.removeprefix(MARK).strip()
    if version != str(VERSION).encode():
        raise ValueError("the recording was written by a newer obisgate")
    for number, line in numbered:
        line = line.rstrip(b"\r\n")
        if not line or line.startswith(b"#"):
            continue
        yield _began(line) or _chunk(line) or Torn(number)


def timeline(items: Iterable[Item]) -> Iterator[Chunk]:
    """Yield the chunks of all runs one after the other, their milliseconds since the first."""
    shift_ms: int | None = None
    last_ms = -RUN_GAP_MS
    for item in items:
        if isinstance(item, Began):
            shift_ms = None
        elif isinstance(item, Chunk):
            if shift_ms is None:
                shift_ms = last_ms + RUN_GAP_MS - item.at_ms
            last_ms = max(last_ms, item.at_ms + shift_ms)
            yield item._replace(at_ms=last_ms)


def _began(line: bytes) -> Began | None:
    if not (match := _BEGAN.fullmatch(line)):
        return None
    try:
        moment = datetime.fromisoformat(match[1].decode("ascii"))
    except ValueError:
        return None
    return Began(moment, match[2].decode("utf-8", "replace"))


def _chunk(line: bytes) -> Chunk | None:
    if not (match := _CHUNK.fullmatch(line)):
        return None
    at_ms, count, spelled = int(match[1]), int(match[2]), match[3]
    damaged: tuple[int, ...] = ()
    if b"!" in spelled:
        # Each mark moves those behind it by one character.
        marks = [place for place, character in enumerate(spelled) if character == ord("!")]
        damaged = tuple((place - before) // 2 for before, place in enumerate(marks))
        spelled = spelled.replace(b"!", b"")
    octets = bytes.fromhex(spelled.decode("ascii"))
    return Chunk(at_ms, octets, damaged) if len(octets) == count else None
