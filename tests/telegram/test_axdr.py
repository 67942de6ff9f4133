"""A-XDR, against an encoder of the test's own."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telegram.axdr import MAX_DEPTH, Element, parse
from gateway.telegram.fault import Fault, Layer

# A value without its places: (tag, content). The content of a container is a list of values.
Tree = tuple[int, "int | bytes | list[Tree] | None"]

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
}
STRINGS = (0x09, 0x0A, 0x0C)
CONTAINERS = (0x01, 0x02)
BOOLEAN = 0x03  # A-XDR has it; whether pushes with it are read is not promised here
UNKNOWN = sorted(set(range(256)) - {0x00, BOOLEAN, *NUMBERS, *STRINGS, *CONTAINERS})


def encode(tree: Tree) -> bytes:
    tag, content = tree
    if isinstance(content, list):
        return bytes([tag, len(content)]) + b"".join(map(encode, content))
    if isinstance(content, bytes):
        return bytes([tag, len(content)]) + content
    return bytes([tag]) + (b"" if content is None else struct.pack(NUMBERS[tag], content))


def tree_of(element: Element) -> Tree:
    if element.tag in CONTAINERS:
        return element.tag, [tree_of(child) for child in element.children]
    assert element.children == ()
    assert not isinstance(element.value, tuple)
    return element.tag, element.value


def refused(octets: bytes, start: int = 0) -> Fault:
    fault = parse(octets, start)
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.STRUCTURE
    assert start <= fault.offset <= len(octets)
    return fault


def numbers(tag: int) -> st.SearchStrategy[Tree]:
    bits = 8 * struct.calcsize(NUMBERS[tag])
    lowest = -(2 ** (bits - 1)) if NUMBERS[tag][1].islower() else 0
    return st.tuples(st.just(tag), st.integers(lowest, lowest + 2**bits - 1))


leaves = st.one_of(
    st.just((0x00, None)),
    *map(numbers, NUMBERS),
    st.tuples(st.sampled_from(STRINGS), st.binary(max_size=12)),
)
trees: st.SearchStrategy[Tree] = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(CONTAINERS), st.lists(inner, max_size=5)),
    max_leaves=15,
)


def depth(tree: Tree) -> int:
    content = tree[1]
    return 1 + max(map(depth, content), default=0) if isinstance(content, list) else 0


shallow = trees.filter(lambda tree: depth(tree) <= MAX_DEPTH)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("00", None),
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
        ("0900", b""),
        ("0903616263", b"abc"),
        ("0a03616263", b"abc"),
        ("0c03616263", b"abc"),
        ("097f" + "00" * 127, bytes(127)),
        ("0100", ()),
        ("0200", ()),
    ],
)
def test_each_type_is_read(octets: str, value: object) -> None:
    raw = bytes.fromhex(octets)
    assert parse(raw, 0) == Element(raw[0], value, 0, len(raw))  # type: ignore[arg-type]


def test_elements_know_which_bytes_they_were_read_from() -> None:
    octets = bytes.fromhex("ffff 0203 1201f4 02020fff1623 0902 4142".replace(" ", ""))
    assert parse(octets, 2) == Element(
        0x02,
        (
            Element(0x12, 500, 4, 7),
            Element(0x02, (Element(0x0F, -1, 9, 11), Element(0x16, 35, 11, 13)), 7, 13),
            Element(0x09, b"AB", 13, 17),
        ),
        2,
        17,
    )


def test_only_numbers_have_a_number_and_only_containers_have_children() -> None:
    body = parse(bytes.fromhex("0204 1201f4 0901 41 00 0101 0f05".replace(" ", "")), 0)
    assert isinstance(body, Element)
    assert [child.number for child in body.children] == [500, None, None, None]
    assert [len(child.children) for child in body.children] == [0, 0, 0, 1]
    assert body.number is None


@given(tree=shallow, before=st.binary(max_size=5))
def test_what_was_encoded_is_read_back(tree: Tree, before: bytes) -> None:
    element = parse(before + encode(tree), len(before))
    assert isinstance(element, Element)
    assert tree_of(element) == tree
    assert (element.start, element.end) == (len(before), len(before) + len(encode(tree)))


@given(tree=shallow)
def test_every_element_stands_where_it_says(tree: Tree) -> None:
    octets = encode(tree)
    element = parse(octets, 0)
    assert isinstance(element, Element)
    todo = [element]
    while todo:
        one = todo.pop()
        assert octets[one.start : one.end] == encode(tree_of(one))
        todo += one.children


@given(tree=shallow)
def test_a_value_cut_off_anywhere_is_refused(tree: Tree) -> None:
    octets = encode(tree)
    for end in range(len(octets)):
        refused(octets[:end])


@given(tree=shallow, surplus=st.binary(min_size=1, max_size=20))
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
def test_eight_levels_are_the_deepest(tag: int) -> None:
    level = bytes([tag, 1])
    assert isinstance(parse(level * 8 + b"\x00", 0), Element)
    fault = refused(level * 9 + b"\x00")
    assert (fault.reason, fault.offset) == ("nested deeper than 8 levels", 16)


def test_depth_counts_open_levels_only() -> None:
    siblings: Tree = (0x02, [(0x02, [(0x02, [])]) for _ in range(20)])
    element = parse(encode(siblings), 0)
    assert isinstance(element, Element)
    assert tree_of(element) == siblings


def test_127_elements_are_the_most_and_128_are_refused() -> None:
    element = parse(b"\x01\x7f" + b"\x00" * 127, 0)
    assert isinstance(element, Element)
    assert len(element.children) == 127
    fault = refused(b"\x01\x80" + b"\x00" * 128)
    assert (fault.reason, fault.offset) == ("the number of elements is damaged", 1)


@pytest.mark.parametrize(
    ("octets", "reason", "offset"),
    [
        ("", "the value breaks off", 0),
        ("02", "the number of elements is damaged", 1),
        ("0202", "the value breaks off", 2),
        ("0201", "the value breaks off", 2),
        ("020212", "the value breaks off", 3),
        ("02021200", "the value breaks off", 4),
        ("0202120001", "the value breaks off", 5),
        ("09", "a string is longer than what holds it", 1),
        ("0902", "a string is longer than what holds it", 1),
        ("090241", "a string is longer than what holds it", 1),
        ("0980" + "00" * 128, "a string is longer than what holds it", 1),
        ("0981", "a string is longer than what holds it", 1),
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
    element = parse(octets, 0)
    if isinstance(element, Fault):
        refused(octets)
    else:
        assert encode(tree_of(element)) == octets
