"""A-XDR, against an encoder of the test's own."""

import re
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telegram.axdr import ELEMENT, Outline, outline
from gateway.telegram.fault import Fault, Layer

# A value without its places: (tag, content). The content of a container is a list of values.
Tree = tuple[int, "int | float | bytes | list[Tree]"]

NUMBERS = {
    0x05: ">i",
    0x06: ">I",
    0x0F: ">b",
    0x10: ">h",
    0x11: ">B",
    0x12: ">H",
    0x14: ">q",
    0x15: ">Q",
    0x16: ">B",
    0x17: ">f",
    0x18: ">d",
}
FIXED = {0x00: 0, 0x03: 1, 0x19: 12, 0x1A: 5, 0x1B: 4}  # bytes of what is neither number nor string
STRINGS = (0x09, 0x0A, 0x0C)
CONTAINERS = (0x01, 0x02)
UNKNOWN = sorted(set(range(256)) - {*FIXED, *NUMBERS, *STRINGS, *CONTAINERS})


def encode(tree: Tree) -> bytes:
    tag, content = tree
    if isinstance(content, list):
        return bytes([tag, len(content)]) + b"".join(map(encode, content))
    if isinstance(content, bytes):
        return bytes([tag, len(content)][: 1 if tag in FIXED else 2]) + content
    return bytes([tag]) + struct.pack(NUMBERS[tag], content)


def kind(tree: Tree) -> int:
    tag, content = tree
    return tag << 8 | (
        len(content) if isinstance(content, list | bytes) and tag not in FIXED else 0
    )


def flat(tree: Tree) -> Iterator[Tree]:
    """The elements in the order of the bytes, containers before what they hold."""
    yield tree
    if isinstance(tree[1], list):
        for child in tree[1]:
            yield from flat(child)


def outlined(octets: bytes, start: int = 0) -> Outline:
    found = outline(octets, start)
    assert isinstance(found, Outline), found
    return found


def refused(octets: bytes, start: int = 0) -> Fault:
    fault = outline(octets, start)
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.STRUCTURE
    assert start <= fault.offset <= len(octets)
    return fault


def numbers(tag: int) -> st.SearchStrategy[Tree]:
    if tag in (0x17, 0x18):
        return st.tuples(st.just(tag), st.floats(width=32 if tag == 0x17 else 64, allow_nan=False))
    bits = 8 * struct.calcsize(NUMBERS[tag])
    lowest = -(2 ** (bits - 1)) if NUMBERS[tag][1].islower() else 0
    return st.tuples(st.just(tag), st.integers(lowest, lowest + 2**bits - 1))


leaves = st.one_of(
    *map(numbers, NUMBERS),
    *(st.tuples(st.just(tag), st.binary(min_size=n, max_size=n)) for tag, n in FIXED.items()),
    st.tuples(st.sampled_from(STRINGS), st.binary(max_size=12)),
)
trees: st.SearchStrategy[Tree] = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(CONTAINERS), st.lists(inner, max_size=5)),
    max_leaves=15,
)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("0580000000", -(2**31)),
        ("057fffffff", 2**31 - 1),
        ("06ffffffff", 2**32 - 1),
        ("0f80", -128),
        ("0f7f", 127),
        ("108000", -32768),
        ("100333", 819),
        ("11ff", 255),
        ("12ffff", 65535),
        ("120904", 2308),
        ("148000000000000000", -(2**63)),
        ("15ffffffffffffffff", 2**64 - 1),
        ("161b", 27),
        ("16ff", 255),
        ("1743680000", 232.0),
        ("18406d000000000000", 232.0),
    ],
)
def test_each_number_is_read(octets: str, value: float) -> None:
    raw = bytes.fromhex(octets)
    found = outlined(raw)
    assert (found, found.kinds()) == ((raw, [0, len(raw)]), [raw[0] << 8])
    assert found.content_start(0) == 1
    assert found.number(0) == value
    assert type(found.number(0)) is type(value)


@pytest.mark.parametrize(
    ("octets", "content"),
    [
        ("0900", b""),
        ("0903616263", b"abc"),
        ("0a03616263", b"abc"),
        ("0c03616263", b"abc"),
        ("097f" + "00" * 127, bytes(127)),
    ],
)
def test_each_string_is_read(octets: str, content: bytes) -> None:
    raw = bytes.fromhex(octets)
    found = outlined(raw)
    assert (found, found.kinds()) == ((raw, [0, len(raw)]), [raw[0] << 8 | len(content)])
    assert found.content_start(0) == 2
    assert found.content(0) == content


@pytest.mark.parametrize("octets", ["00", "0301", "19" + "00" * 12, "1a0000000000", "1b00000000"])
def test_what_is_neither_number_nor_string_has_its_place(octets: str) -> None:
    raw = bytes.fromhex(octets)
    found = outlined(raw)
    assert (found, found.kinds()) == ((raw, [0, len(raw)]), [raw[0] << 8])


@pytest.mark.parametrize("tag", CONTAINERS)
def test_an_empty_container_is_one_element(tag: int) -> None:
    assert outlined(bytes([tag, 0])).kinds() == [tag << 8]


def test_elements_stand_in_the_order_of_the_bytes_with_their_places() -> None:
    octets = bytes.fromhex("ffff 0203 1201f4 02020fff1623 0902 4142".replace(" ", ""))
    found = outlined(octets, 2)
    assert found.kinds() == [0x0203, 0x1200, 0x0202, 0x0F00, 0x1600, 0x0902]
    assert found.starts == [2, 4, 7, 9, 11, 13, 17]
    assert [found.number(index) for index in (1, 3, 4)] == [500, -1, 35]
    assert found.content(5) == b"AB"


@given(tree=trees, before=st.binary(max_size=5))
def test_what_was_encoded_is_read_back(tree: Tree, before: bytes) -> None:
    octets = before + encode(tree)
    found = outlined(octets, len(before))
    elements = list(flat(tree))
    assert found.octets == octets
    assert found.kinds() == [kind(one) for one in elements]
    for index, one in enumerate(elements):
        if one[0] in NUMBERS:
            assert found.number(index) == one[1]
        elif one[0] in STRINGS:
            assert found.content(index) == one[1]


@given(tree=trees)
def test_every_element_stands_where_it_says(tree: Tree) -> None:
    octets = encode(tree)
    found = outlined(octets)
    assert found.starts[-1] == len(octets)
    for index, one in enumerate(flat(tree)):
        assert octets.startswith(encode(one), found.starts[index])


@given(tree=trees)
def test_the_pattern_of_an_element_matches_each_to_its_end(tree: Tree) -> None:
    octets = encode(tree)
    starts = [match.start() for match in re.finditer(ELEMENT, octets, re.DOTALL)]
    assert [*starts, len(octets)] == outlined(octets).starts


@pytest.mark.parametrize("tag", STRINGS)
@pytest.mark.parametrize("size", range(0x81))
def test_the_pattern_of_an_element_knows_every_length_of_a_string(tag: int, size: int) -> None:
    octets = bytes([tag, size]) + b"\n" * size
    assert bool(re.fullmatch(ELEMENT, octets, re.DOTALL)) is (size <= 0x7F)
    assert size == 0 or not re.match(ELEMENT, octets[:-1], re.DOTALL)


@given(tree=trees)
def test_a_value_cut_off_anywhere_is_refused(tree: Tree) -> None:
    octets = encode(tree)
    for end in range(len(octets)):
        refused(octets[:end])


@given(tree=trees, surplus=st.binary(min_size=1, max_size=20))
def test_surplus_bytes_are_refused(tree: Tree, surplus: bytes) -> None:
    octets = encode(tree)
    fault = refused(octets + surplus)
    assert fault.reason == f"the value ends {len(surplus)} before the last byte"
    assert fault.offset == len(octets)


def test_an_unknown_tag_is_refused_with_its_place() -> None:
    for tag in UNKNOWN:
        fault = refused(bytes([0x02, 0x02, 0x11, 0x05, tag, 0x00, 0x00]))
        assert fault.reason == f"0x{tag:02x} is no A-XDR tag of a push"
        assert fault.offset == 4


@pytest.mark.parametrize("tag", CONTAINERS)
def test_no_depth_is_too_deep(tag: int) -> None:
    # There is no recursion that could run out of stack.
    found = outlined(bytes([tag, 1]) * 5000 + b"\x00")
    assert len(found.kinds()) == 5001


def test_127_elements_are_the_most_and_128_are_refused() -> None:
    assert len(outlined(b"\x01\x7f" + b"\x00" * 127).kinds()) == 128
    fault = refused(b"\x01\x80" + b"\x00" * 128)
    assert (fault.reason, fault.offset) == ("the length of the array is damaged", 1)


@pytest.mark.parametrize(
    ("octets", "reason", "offset"),
    [
        ("", "the value breaks off", 0),
        ("02", "the value breaks off", 1),
        ("0202", "the value breaks off", 2),
        ("0201", "the value breaks off", 2),
        ("020212", "the value breaks off", 3),
        ("02021200", "the value breaks off", 4),
        ("020112", "the last element breaks off", 2),
        ("02011200", "the last element breaks off", 2),
        ("0202120001", "the value breaks off", 5),
        ("09", "the value breaks off", 1),
        ("0902", "the last element breaks off", 0),
        ("090241", "the last element breaks off", 0),
        ("0980" + "00" * 128, "the length of the octet-string is damaged", 1),
        ("0a81", "the length of the visible-string is damaged", 1),
        ("1100ff", "the value ends 1 before the last byte", 2),
    ],
)
def test_what_breaks_off_is_told_with_its_place(octets: str, reason: str, offset: int) -> None:
    fault = refused(bytes.fromhex(octets))
    assert (fault.reason, fault.offset) == (reason, offset)


@given(
    octets=st.one_of(
        st.binary(max_size=100),
        st.lists(st.sampled_from([0, 1, 2, 3, 5, 6, 9, 15, 16, 18, 22, 127, 128]), max_size=60).map(
            bytes
        ),
    )
)
def test_any_bytes_are_one_value_or_refused(octets: bytes) -> None:
    found = outline(octets, 0)
    if isinstance(found, Fault):
        refused(octets)
    else:
        assert found.starts[-1] == len(octets)
        assert found.starts == sorted(set(found.starts))
        assert len(found.starts) == len(found.kinds()) + 1
