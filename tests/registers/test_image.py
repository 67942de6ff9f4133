"""Images: which reads are answered, with which words, and which with an exception."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.registers import ExceptionCode, Image, RegisterMap, Table

# Registers at 10-16 without a gap, of which 14-16 are zeros; a hole; a value whose second word
# lies in front of zeros; the last addresses; and one register that answers only exact reads.
MAP = RegisterMap.parse(
    """
name: Reads
tables: [input]
zero_ranges: [[12, 16], [22, 24], [60000, 60200], [65530, 65535]]
registers:
  - {address: 10, value: 0x0A0B, type: uint16}
  - {address: 11, value: 0x0B0C0D0E, type: uint32}
  - {address: 13, value: 0x0D0E, type: uint16}
  - {address: 20, value: 0x14151617, type: uint32}
  - {address: 65534, value: 0xFEFF, type: uint16}
  - {address: 30, value: 0x1E1F2021, type: uint32, only_count: 2}
  - {address: 12, value: 0xCAFE, type: uint16, only_count: 1}
  - {address: 12, value: 0xCAFEBABE, type: uint32, table: holding}
""",
    "reads.yaml",
)
IMAGE = MAP.render(None)
WORDS = {
    10: 0x0A0B,
    11: 0x0B0C,
    12: 0x0D0E,
    13: 0x0D0E,
    14: 0,
    15: 0,
    16: 0,
    20: 0x1415,
    21: 0x1617,
    22: 0,
    23: 0,
    24: 0,
    **dict.fromkeys(range(60000, 60201), 0),
    **dict.fromkeys(range(65530, 65536), 0),
    65534: 0xFEFF,
}
EXACT = {(30, 2): "1e1f2021", (12, 1): "cafe"}

ADDRESS, VALUE = ExceptionCode.ILLEGAL_DATA_ADDRESS, ExceptionCode.ILLEGAL_DATA_VALUE


def expected(address: int, count: int) -> bytes | ExceptionCode:
    if not 1 <= count <= 125:
        return VALUE
    if (address, count) in EXACT:
        return bytes.fromhex(EXACT[address, count])
    wanted = range(address, address + count)
    if not all(one in WORDS for one in wanted):
        return ADDRESS
    return b"".join(WORDS[one].to_bytes(2, "big") for one in wanted)


addresses = st.one_of(
    st.integers(8, 33), st.integers(59_990, 60_210), st.integers(65_520, 65_540), st.integers(0)
)
counts = st.one_of(st.integers(0, 10), st.integers(120, 130), st.integers())


@given(address=addresses, count=counts)
@example(address=10, count=7)
@example(address=10, count=8)
@example(address=12, count=1)
@example(address=60_000, count=125)
@example(address=60_000, count=126)
@example(address=65_530, count=6)
@example(address=65_530, count=7)
def test_a_read_of_any_start_and_length_gives_its_words_or_its_exception(
    address: int, count: int
) -> None:
    assert IMAGE.read(Table.INPUT, address, count) == expected(address, count)


def test_every_short_read_near_every_edge_gives_its_words_or_its_exception() -> None:
    for address in (*range(8, 35), *range(65_528, 65_538)):
        for count in range(10):
            found = IMAGE.read(Table.INPUT, address, count)
            assert found == expected(address, count), (address, count)


@pytest.mark.parametrize("count", [-1, 0, 126, 127, 65_536])
@pytest.mark.parametrize("address", [10, 17, 30, 65_536])
def test_a_count_outside_1_to_125_is_an_illegal_value_whatever_the_address(
    address: int, count: int
) -> None:
    assert IMAGE.read(Table.INPUT, address, count) is VALUE


@pytest.mark.parametrize(
    ("address", "count"),
    [
        (0, 1),
        (9, 1),
        (9, 2),
        (16, 2),
        (17, 1),
        (10, 11),
        (16, 5),
        (25, 1),
        (65_535, 2),
        (65_536, 1),
    ],
)
def test_a_read_that_touches_an_address_without_register_is_an_illegal_address(
    address: int, count: int
) -> None:
    assert IMAGE.read(Table.INPUT, address, count) is ADDRESS


@pytest.mark.parametrize(
    ("address", "count", "answer"),
    [
        (30, 2, "1e1f2021"),
        (30, 1, ADDRESS),
        (31, 1, ADDRESS),
        (30, 3, ADDRESS),
        (29, 2, ADDRESS),
        (12, 1, "cafe"),
        (11, 2, "0b0c0d0e"),
        (12, 2, "0d0e0d0e"),
        (12, 3, "0d0e0d0e0000"),
    ],
)
def test_only_count_answers_a_read_of_just_itself_over_what_lies_there(
    address: int, count: int, answer: str | ExceptionCode
) -> None:
    wanted = bytes.fromhex(answer) if isinstance(answer, str) else answer
    assert IMAGE.read(Table.INPUT, address, count) == wanted


def test_a_register_of_its_own_table_stands_in_no_other() -> None:
    assert IMAGE.read(Table.HOLDING, 12, 2) == bytes.fromhex("cafebabe")
    assert IMAGE.read(Table.HOLDING, 13, 1) == bytes.fromhex("babe")
    assert IMAGE.read(Table.HOLDING, 12, 1) == bytes.fromhex("cafe")  # no only_count here
    for address, count in ((10, 1), (12, 3), (30, 2), (65_534, 1)):
        assert IMAGE.read(Table.HOLDING, address, count) is ADDRESS


def test_zero_ranges_belong_to_the_tables_of_the_map_alone() -> None:
    assert IMAGE.read(Table.INPUT, 14, 2) == bytes(4)
    assert IMAGE.read(Table.HOLDING, 14, 2) is ADDRESS


def test_a_table_without_any_register_answers_no_address() -> None:
    served = RegisterMap.parse(
        "name: x\ntables: [holding]\nregisters:\n  - {address: 0, value: 1, type: uint16}\n", "x"
    )
    assert served.render(None).read(Table.INPUT, 0, 1) is ADDRESS
    assert served.render(None).read(Table.INPUT, 0, 0) is VALUE


def test_an_image_cannot_be_changed() -> None:
    assert type(IMAGE.octets) is bytes
    with pytest.raises(AttributeError):
        IMAGE.octets = b""
    with pytest.raises(TypeError):
        IMAGE.layout.exact[Table.INPUT, 0, 1] = 0
    with pytest.raises(TypeError):
        IMAGE.layout.spans[Table.INPUT] = ()


def test_a_read_slices_only_the_image_it_is_asked_of() -> None:
    other = Image(IMAGE.layout, bytes(len(IMAGE.octets)))
    assert other.read(Table.INPUT, 10, 7) == bytes(14)
    assert IMAGE.read(Table.INPUT, 10, 1) == bytes.fromhex("0a0b")


# --- ranges without registers ---------------------------------------------------------------

RANGES = RegisterMap.parse(
    """
name: Ranges
tables: [holding]
zero_ranges: [[0, 9], [40, 49]]
filled_ranges: [[10, 19, 0xFFFF], [20, 29, 0x8000], [45, 54, 0x1234]]
registers:
  - {address: 5,  value: 0x0505, type: uint16}
  - {address: 15, value: 0x15151616, type: uint32}
  - {address: 19, value: 0x19192020, type: uint32}
  - {address: 30, value: 0x3030, type: uint16}
  - {address: 55, value: 0x5555, type: uint16}
""",
    "ranges.yaml",
).render(None)


def held(address: int, count: int) -> str | ExceptionCode:
    found = RANGES.read(Table.HOLDING, address, count)
    return found.hex(" ", 2) if isinstance(found, bytes) else found


@pytest.mark.parametrize(
    ("address", "count", "answer"),
    [
        (0, 2, "0000 0000"),
        (4, 3, "0000 0505 0000"),
        (10, 2, "ffff ffff"),
        (14, 4, "ffff 1515 1616 ffff"),
        (18, 3, "ffff 1919 2020"),
        (29, 2, "8000 3030"),
        (53, 3, "1234 1234 5555"),
        (50, 1, "1234"),
        (30, 2, ADDRESS),
        (56, 1, ADDRESS),
    ],
)
def test_a_filled_range_reads_its_word_around_the_registers(
    address: int, count: int, answer: str | ExceptionCode
) -> None:
    assert held(address, count) == answer


def test_no_read_crosses_from_one_range_into_the_next_where_two_touch() -> None:
    assert held(8, 2) == "0000 0000"
    assert held(9, 2) is ADDRESS
    assert held(5, 10) is ADDRESS
    assert held(10, 5) == "ffff ffff ffff ffff ffff"


def test_a_value_that_lies_across_two_ranges_is_not_cut() -> None:
    assert held(19, 2) == "1919 2020"
    assert held(20, 2) == "2020 8000"


def test_where_ranges_overlap_the_later_word_is_read_and_reads_cross() -> None:
    assert held(44, 2) == "0000 1234"
    assert held(40, 16).startswith("0000 ")


def test_a_range_that_lies_across_two_that_touch_is_filled_on_both_sides() -> None:
    image = RegisterMap.parse(
        "name: x\nfilled_ranges: [[0, 4, 1], [5, 9, 2], [3, 6, 3]]\n"
        "registers:\n  - {address: 20, value: 1, type: uint16}\n",
        "x",
    ).render(None)
    assert [image.read(Table.INPUT, address, 1)[1] for address in range(10)] == [
        *(1, 1, 1, 3, 3),
        *(3, 3, 2, 2, 2),
    ]
    assert image.read(Table.INPUT, 4, 2) is ADDRESS


# --- what a map allows ----------------------------------------------------------------------

LIMITED = RegisterMap.parse(
    """
name: Limited
whole_values: true
max_read: 8
zero_ranges: [[6, 9]]
registers:
  - {address: 0,  value: 0x00010203, type: uint32}
  - {address: 2,  value: 0x0405060708090A0B, type: uint64}
  - {address: 10, text: abcdef, type: string, length: 3}
  - {address: 13, value: 0x0D0E, type: uint16}
  - {address: 14, value: 0x0E0F1011, type: uint32}
  - {address: 30, value: 0x1E1F2021, type: uint32}
  - {address: 2,  value: 0x0001, type: uint16, only_count: 1}
  - {address: 40, value: 0x28292A2B, type: uint32, only_count: 2}
""",
    "limited.yaml",
).render(None)


@pytest.mark.parametrize(
    ("address", "count", "answer"),
    [
        (0, 2, "0001 0203"),
        (0, 6, "0001 0203 0405 0607 0809 0a0b"),
        (2, 4, "0405 0607 0809 0a0b"),
        (6, 4, "0000 0000 0000 0000"),
        (7, 2, "0000 0000"),
        (4, 2, ADDRESS),
        (0, 1, ADDRESS),
        (1, 1, ADDRESS),
        (1, 5, ADDRESS),
        (0, 3, ADDRESS),
        (2, 3, ADDRESS),
        (9, 4, "0000 6162 6364 6566"),
        (9, 3, ADDRESS),
        (11, 2, ADDRESS),
        (13, 1, "0d0e"),
        (13, 3, "0d0e 0e0f 1011"),
        (13, 2, ADDRESS),
        (14, 2, "0e0f 1011"),
        (30, 2, "1e1f 2021"),
        (30, 1, ADDRESS),
        (31, 1, ADDRESS),
        (2, 1, "0001"),
        (40, 2, "2829 2a2b"),
        (40, 1, ADDRESS),
    ],
)
def test_with_whole_values_a_read_that_cuts_one_is_an_illegal_address(
    address: int, count: int, answer: str | ExceptionCode
) -> None:
    found = LIMITED.read(Table.HOLDING, address, count)
    assert (found.hex(" ", 2) if isinstance(found, bytes) else found) == answer


@pytest.mark.parametrize(
    ("count", "code"), [(0, VALUE), (8, ADDRESS), (9, VALUE), (125, VALUE), (126, VALUE)]
)
@pytest.mark.parametrize("address", [0, 20, 65535])
def test_a_read_longer_than_the_map_allows_is_an_illegal_value_whatever_the_address(
    address: int, count: int, code: ExceptionCode
) -> None:
    found = LIMITED.read(Table.INPUT, address, count)
    assert found is code or (address == 0 and count == 8)
    assert LIMITED.read(Table.INPUT, 0, 8) == bytes.fromhex(
        "0001 0203 0405 0607 0809 0a0b 0000 0000"
    )


# --- any map, read anywhere -----------------------------------------------------------------

LENGTHS = {"uint16": 1, "uint32": 2, "uint64": 4}


@st.composite
def any_maps(draw: st.DrawFn) -> tuple[str, dict[int, int]]:
    """A map of constants and ranges in one table, and the word that each address reads."""
    lines, held_words, address = "", {}, draw(st.integers(0, 5))
    for value in draw(st.lists(st.integers(1, 0xFFFF), min_size=1, max_size=12)):
        kind = draw(st.sampled_from(sorted(LENGTHS)))
        size = LENGTHS[kind]
        number = sum((value + place) % 65536 << 16 * place for place in range(size))
        lines += f"  - {{address: {address}, value: {number}, type: {kind}}}\n"
        for place in range(size):
            held_words[address + place] = number >> 16 * (size - 1 - place) & 0xFFFF
        address += size + draw(st.integers(0, 3))
    ranges = draw(
        st.lists(
            st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 0xFFFF)), max_size=3
        )
    )
    filled = [[first, first + length, word] for first, length, word in ranges]
    holes: dict[int, int] = {}
    for first, last, word in filled:
        holes |= dict.fromkeys(range(first, last + 1), word)
    text = f"name: x\ntables: [holding]\nfilled_ranges: {filled}\nregisters:\n{lines}"
    return text, holes | held_words


@given(made=any_maps(), start=st.integers(0, 60), count=st.integers(1, 20))
def test_a_read_anywhere_is_the_single_reads_one_after_the_other(
    made: tuple[str, dict[int, int]], start: int, count: int
) -> None:
    text, held_words = made
    image = RegisterMap.parse(text, "x").render(None)
    singles = [image.read(Table.HOLDING, start + place, 1) for place in range(count)]
    assert singles == [
        held_words[start + place].to_bytes(2, "big") if start + place in held_words else ADDRESS
        for place in range(count)
    ]
    found = image.read(Table.HOLDING, start, count)
    if isinstance(found, bytes):
        assert found == b"".join(one for one in singles if isinstance(one, bytes))
        assert ADDRESS not in singles
    elif ADDRESS not in singles:
        # Only where two ranges touch is a row of readable registers not read at once.
        starts = {span.first for span in image.layout.spans[Table.HOLDING]}
        assert any(start < first < start + count for first in starts)
    assert image.read(Table.INPUT, start, count) is ADDRESS


# --- what ages with the meter ---------------------------------------------------------------

AGEING = RegisterMap.parse(
    """
name: Ageing
tables: [input]
zero_ranges: [[8, 9]]
registers:
  - {address: 0,  value: 1, type: uint16}
  - {address: 1,  quantity: voltage_l1, type: float32}
  - {address: 3,  value: -1, type: sunssf}
  - {address: 4,  quantity: frequency, type: int16}
  - {address: 5,  expression: voltage_l1 * 2, type: int16}
  - {address: 6,  quantity: telegram_age, type: uint32}
  - {address: 10, text: SunS, type: string, length: 2}
  - {address: 12, text: "SN ${meter_number}", type: string, length: 2}
  - {address: 14, quantity: current_n, type: int16}
  - {address: 15, quantity: meter_serial, type: int16}
  - {address: 0,  quantity: current_l1, type: uint16, only_count: 1}
  - {address: 20, value: 5, type: uint16, only_count: 1}
""",
    "ageing.yaml",
)


@pytest.mark.parametrize(
    ("address", "count", "is_measured"),
    [
        (3, 1, False),
        (6, 1, False),
        (6, 2, False),
        (6, 6, False),
        (8, 2, False),
        (10, 2, False),
        (20, 1, False),
        (1, 1, True),
        (2, 1, True),
        (2, 2, True),
        (4, 1, True),
        (5, 1, True),
        (12, 1, True),
        (13, 1, True),
        (14, 1, True),
        (15, 1, True),
        (0, 2, True),
        (11, 2, True),
        (5, 2, True),
        (0, 16, True),
        (0, 1, True),  # the only_count register over the constant
    ],
    ids=lambda value: str(value),
)
def test_a_read_is_measured_if_any_of_its_registers_ages(
    address: int, count: int, is_measured: bool
) -> None:
    word = AGEING.layout.locate(Table.INPUT, address, count)
    assert not isinstance(word, ExceptionCode)
    assert AGEING.layout.is_measured(word, count) is is_measured
