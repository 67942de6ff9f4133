"""A-XDR, strictly: one value that must end where the bytes end (IEC 61334-6; Green Book, 9.5).

A value is not read into a tree but outlined: which elements stand where, in the order of the
bytes, containers before what they hold. The outline without the contents is a meter's layout.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.telegram.fault import Fault, Layer

NULL = 0x00
ARRAY = 0x01
STRUCTURE = 0x02
OCTET_STRING = 0x09
VISIBLE_STRING = 0x0A
UTF8_STRING = 0x0C
INTEGER = 0x0F
ENUM = 0x16
DATE_TIME = 0x19

CONTAINERS = (ARRAY, STRUCTURE)
STRINGS = (OCTET_STRING, VISIBLE_STRING, UTF8_STRING)
MAX_COUNT = 0x7F  # no list and no string of a push is longer, so one byte tells its length

NUMBERS: Mapping[int, struct.Struct] = MappingProxyType(
    {
        0x05: struct.Struct(">i"),  # double-long
        0x06: struct.Struct(">I"),  # double-long-unsigned
        INTEGER: struct.Struct(">b"),
        0x10: struct.Struct(">h"),  # long
        0x11: struct.Struct(">B"),  # unsigned
        0x12: struct.Struct(">H"),  # long-unsigned
        0x14: struct.Struct(">q"),  # long64
        0x15: struct.Struct(">Q"),  # long64-unsigned
        ENUM: struct.Struct(">B"),
        0x17: struct.Struct(">f"),  # float32
        0x18: struct.Struct(">d"),  # float64
    }
)
UNSIGNED = (0x06, 0x11, 0x12, 0x15, ENUM)
FLOATS = (0x17, 0x18)
NAMES: Mapping[int, str] = MappingProxyType(
    {
        NULL: "null-data",
        ARRAY: "array",
        STRUCTURE: "structure",
        0x03: "boolean",
        0x05: "double-long",
        0x06: "double-long-unsigned",
        OCTET_STRING: "octet-string",
        VISIBLE_STRING: "visible-string",
        UTF8_STRING: "utf8-string",
        INTEGER: "integer",
        0x10: "long",
        0x11: "unsigned",
        0x12: "long-unsigned",
        0x14: "long64",
        0x15: "long64-unsigned",
        ENUM: "enum",
        0x17: "float32",
        0x18: "float64",
        DATE_TIME: "date-time",
        0x1A: "date",
        0x1B: "time",
    }
)

# How many bytes an element takes with its tag; 0: its length follows, -1: no tag of a push.
_FIXED = {tag: 1 + number.size for tag, number in NUMBERS.items()} | {
    NULL: 1,
    0x03: 2,
    DATE_TIME: 13,
    0x1A: 6,
    0x1B: 5,
}
_SIZES = [0 if tag in CONTAINERS + STRINGS else _FIXED.get(tag, -1) for tag in range(256)]


def _pattern() -> bytes:
    """Return the pattern of any element; all lengths are bounded, so it can name each of them."""
    strings = b"|".join(b"%b.{%d}" % (_one_of([size]), size) for size in range(MAX_COUNT + 1))
    sized = [
        b"%b.{%d}" % (_one_of(tag for tag in _FIXED if _FIXED[tag] == size), size - 1)
        for size in sorted(set(_FIXED.values()))
    ]
    containers = b"%b." % _one_of(CONTAINERS)
    return b"|".join((*sized, containers, b"%b(?:%b)" % (_one_of(STRINGS), strings)))


def _one_of(octets: Iterable[int]) -> bytes:
    return b"[%b]" % re.escape(bytes(octets))


# One element as a regular expression (DOTALL); of a container only tag and count.
ELEMENT = _pattern()


class Outline(NamedTuple):
    """The elements of one value: the tag of element i stands at `starts[i]`.

    `starts` has one item more: where the last element ends.
    """

    octets: bytes
    starts: list[int]

    def kind(self, index: int) -> int:
        """Return the kind of element `index`: its tag, shifted by 8, and its length if it has one.

        0x0906 is an octet string of six bytes, 0x0203 a structure of three, 0x1200 a
        long-unsigned.
        """
        start = self.starts[index]
        tag = self.octets[start]
        return tag << 8 | (0 if _SIZES[tag] else self.octets[start + 1])

    def kinds(self, start: int = 0, end: int | None = None) -> list[int]:
        """Return the kinds of the elements `start … end-1`, or of all."""
        return [self.kind(index) for index in range(len(self.starts) - 1)[start:end]]

    def content_start(self, index: int) -> int:
        """Return where the bytes of element `index` start, behind its tag and length."""
        start = self.starts[index]
        return start + (1 if _SIZES[self.octets[start]] else 2)

    def content(self, index: int) -> bytes:
        """Return the bytes of the string `index`."""
        return self.octets[self.starts[index] + 2 : self.starts[index + 1]]

    def number(self, index: int) -> int | float:
        """Return the value of the number `index`."""
        start = self.starts[index]
        unpack_from = NUMBERS[self.octets[start]].unpack_from
        return unpack_from(self.octets, start + 1)[0]  # type: ignore[no-any-return]


def outline(octets: bytes, start: int) -> Outline | Fault:
    """Outline the one value that fills `octets[start:]` exactly; offsets count in `octets`."""
    starts: list[int] = []
    found, sizes, end = starts.append, _SIZES, len(octets)
    position, missing = start, 1
    try:
        while missing:
            size = sizes[octets[position]]
            found(position)
            missing -= 1
            if size > 0:
                position += size
            elif size < 0:
                reason = f"0x{octets[position]:02x} is no A-XDR tag of a push"
                return Fault(Layer.STRUCTURE, reason, position)
            else:
                count = octets[position + 1]
                if count > MAX_COUNT:
                    reason = f"the length of the {NAMES[octets[position]]} is damaged"
                    return Fault(Layer.STRUCTURE, reason, position + 1)
                if octets[position] < OCTET_STRING:
                    missing += count
                else:
                    position += count
                position += 2
    except IndexError:
        return Fault(Layer.STRUCTURE, "the value breaks off", end)
    if position > end:
        return Fault(Layer.STRUCTURE, "the last element breaks off", starts[-1])
    if position < end:
        surplus = end - position
        return Fault(Layer.STRUCTURE, f"the value ends {surplus} before the last byte", position)
    starts.append(position)
    return Outline(octets, starts)
