"""Any bytes give an outline that spells them again, every one of them, or a fault inside them."""

import math
from collections.abc import Callable

from gateway.simulator.frames import array, octet_string, structure
from gateway.telegram import axdr
from gateway.telegram.axdr import Outline
from gateway.telegram.fault import Fault, Layer
from tests.fuzz.choices import Choices

ReadOutline = Callable[[bytes, int], Outline | Fault]


def pack(value: bytes, before: bytes = b"") -> bytes:
    """Return the input for a value that stands behind other bytes."""
    return bytes([len(before)]) + before + value


def check(octets: bytes, outline: ReadOutline = axdr.outline) -> None:
    """Assert the promise above."""
    choices = Choices(octets)
    start, octets = choices.number(), choices.rest
    start = min(start, len(octets))
    found = outline(octets, start)
    if isinstance(found, Fault):
        assert found.layer is Layer.STRUCTURE
        assert start <= found.offset <= len(octets), f"{found}, {start} to {len(octets)}"
        return
    assert found.octets == octets
    assert len(found.starts) == len(found.kinds()) + 1
    assert (found.starts[0], found.starts[-1]) == (start, len(octets)), found.starts
    _spell(found)


def _spell(found: Outline) -> None:
    """Spell the value again from its last element to its first, with the simulator's encoders."""
    values: list[bytes] = []  # what is spelt, the last first
    kinds = found.kinds()
    for index in reversed(range(len(kinds))):
        assert found.kind(index) == kinds[index]
        tag, count = divmod(kinds[index], 256)
        if tag in (axdr.ARRAY, axdr.STRUCTURE):
            assert len(values) >= count, f"element {index} holds {count}, {len(values)} follow"
            items = [values.pop() for _ in range(count)]
            encode = array if tag == axdr.ARRAY else structure
            spelt = encode(*items)
        else:
            spelt = _leaf(found, index, tag, count)
        begin = found.starts[index]
        assert found.octets.startswith(spelt, begin), f"element {index} is not {spelt.hex()}"
        values.append(spelt)
    assert len(values) == 1, f"{len(values)} values, not one"
    assert values[0] == found.octets[found.starts[0] :], "the value does not end at the end"


def _leaf(found: Outline, index: int, tag: int, count: int) -> bytes:
    """Spell an element that holds no other."""
    start, end = found.starts[index], found.starts[index + 1]
    if tag in axdr.STRINGS:
        content = found.content(index)
        assert found.content_start(index) == start + 2
        assert len(content) == count, f"a string of {count} has {len(content)} bytes"
        return bytes([tag]) + octet_string(content)[1:]
    assert not count, f"a {axdr.NAMES[tag]} has no length"
    assert found.content_start(index) == start + 1
    if tag not in axdr.NUMBERS:
        assert end - start == {0x00: 1, 0x03: 2, 0x19: 13, 0x1A: 6, 0x1B: 5}[tag]
        return found.octets[start:end]
    number = found.number(index)
    # Python may make another NaN of a NaN.
    written = found.octets[start + 1 : end] if math.isnan(number) else _written(tag, number)
    assert len(written) == axdr.NUMBERS[tag].size
    return bytes([tag]) + written


def _written(tag: int, number: int | float) -> bytes:
    if isinstance(number, float):
        return axdr.NUMBERS[tag].pack(number)
    sizes = {0x05: 4, 0x06: 4, 0x0F: 1, 0x10: 2, 0x11: 1, 0x12: 2, 0x14: 8, 0x15: 8, 0x16: 1}
    return number.to_bytes(sizes[tag], "big", signed=tag in (0x05, 0x0F, 0x10, 0x14))
