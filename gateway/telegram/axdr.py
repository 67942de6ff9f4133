"""A-XDR, strictly: one value that must end where the bytes end (IEC 61334-6; Green Book, 9.5)."""

import struct
from collections.abc import Mapping
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

CONTAINERS = (ARRAY, STRUCTURE)
STRINGS = (OCTET_STRING, VISIBLE_STRING, UTF8_STRING)
MAX_DEPTH = 8  # push lists nest three deep

_NUMBERS: Mapping[int, struct.Struct] = MappingProxyType(
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
    }
)


class Element(NamedTuple):
    """One value: its tag, what it holds, and the bytes `start … end-1` that it was read from.

    `value` is an int for numbers, bytes for strings, None for null, and for arrays and
    structures the tuple of their elements.
    """

    tag: int
    value: "int | bytes | tuple[Element, ...] | None"
    start: int
    end: int

    @property
    def children(self) -> "tuple[Element, ...]":
        """The elements of an array or structure; of anything else none."""
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def number(self) -> int | None:
        """The value of a number; of anything else None."""
        return self.value if self.tag in _NUMBERS and isinstance(self.value, int) else None


class _Open(NamedTuple):
    """A container that still lacks elements."""

    tag: int
    start: int
    size: int
    elements: list[Element]


def parse(octets: bytes, start: int) -> Element | Fault:
    """Read the one value that fills `octets[start:]` exactly; offsets count in `octets`."""
    stack: list[_Open] = []
    position = start
    while True:
        if position >= len(octets):
            return Fault(Layer.STRUCTURE, "the value breaks off", position)
        tag = octets[position]
        if tag in CONTAINERS:
            if len(octets) < position + 2 or octets[position + 1] >= 0x80:
                return Fault(Layer.STRUCTURE, "the number of elements is damaged", position + 1)
            if len(stack) == MAX_DEPTH:
                return Fault(Layer.STRUCTURE, f"nested deeper than {MAX_DEPTH} levels", position)
            stack.append(_Open(tag, position, octets[position + 1], []))
            position += 2
        else:
            leaf = _leaf(octets, position)
            if isinstance(leaf, Fault):
                return leaf
            position = leaf.end
            if not stack:
                return _ended(leaf, octets)
            stack[-1].elements.append(leaf)
        while len(stack[-1].elements) == stack[-1].size:
            full = stack.pop()
            whole = Element(full.tag, tuple(full.elements), full.start, position)
            if not stack:
                return _ended(whole, octets)
            stack[-1].elements.append(whole)


def _ended(element: Element, octets: bytes) -> Element | Fault:
    if element.end == len(octets):
        return element
    surplus = len(octets) - element.end
    return Fault(Layer.STRUCTURE, f"the value ends {surplus} before the last byte", element.end)


def _leaf(octets: bytes, start: int) -> Element | Fault:
    """Read a value that holds no others."""
    tag = octets[start]
    body = start + 1
    if number := _NUMBERS.get(tag):
        end = body + number.size
        if end > len(octets):
            return Fault(Layer.STRUCTURE, "the value breaks off", len(octets))
        return Element(tag, number.unpack_from(octets, body)[0], start, end)
    if tag in STRINGS:
        # No string of a push is longer than 127 bytes, so its length takes one byte.
        end = body + 1 + (octets[body] if body < len(octets) else 0)
        if body >= len(octets) or octets[body] >= 0x80 or end > len(octets):
            return Fault(Layer.STRUCTURE, "a string is longer than what holds it", body)
        return Element(tag, octets[body + 1 : end], start, end)
    if tag == NULL:
        return Element(tag, None, start, body)
    return Fault(Layer.STRUCTURE, f"0x{tag:02x} is no A-XDR tag of a push", start)
