"""The codec against `struct` and exact fractions: what is encoded reads back as the value."""

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.registers.codec import TYPES, UNITS, encode_text, order_words

# name: struct code, lowest and highest measured value, not-available pattern (SunSpec 12041, 4)
INTEGERS = {
    "int16": (">h", -32767, 32767, "8000"),
    "uint16": (">H", 0, 65534, "ffff"),
    "int32": (">i", -2147483647, 2147483647, "80000000"),
    "uint32": (">I", 0, 4294967294, "ffffffff"),
    "int64": (">q", -(2**63) + 1, 2**63 - 1, "8000000000000000"),
    "uint64": (">Q", 0, 2**64 - 2, "ffffffffffffffff"),
    "acc32": (">I", 0, 4294967295, "00000000"),
    "acc64": (">Q", 0, 2**64 - 1, "0000000000000000"),
    "sunssf": (">h", -10, 10, "8000"),
}
FLOATS = {
    "float32": (">f", "7fc00000", Fraction(1, 2**24)),
    "float64": (">d", "7ff8000000000000", Fraction(1, 2**53)),
}
ACCUMULATORS = {"acc32", "acc64"}

integer_types = st.sampled_from(sorted(INTEGERS))
float_types = st.sampled_from(sorted(FLOATS))
all_types = st.sampled_from(sorted(TYPES))
# A scale factor of -10 … 10 on top of a unit of 10^-3 … 10^6.
exponents = st.integers(-13, 16)
# Every number that a meter can send: 64-bit integers, and those under a scaler.
sent_floats = st.floats(-1e20, 1e20, allow_nan=False)


def decode(name: str, octets: bytes) -> int | float:
    return struct.unpack((INTEGERS | FLOATS)[name][0], octets)[0]


def nearest(name: str, exact: Fraction) -> int:
    """Round half to even (as Fraction does) and saturate."""
    _, lowest, highest, _ = INTEGERS[name]
    return max(lowest, min(highest, round(exact)))


def test_the_tables_of_this_test_hold_every_type() -> None:
    assert set(INTEGERS) | set(FLOATS) == set(TYPES)
    assert {name for name, kind in TYPES.items() if kind.is_float} == set(FLOATS)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_as_long_as_its_bytes(name: str) -> None:
    octets = TYPES[name].encode(0)
    assert len(octets) == 2 * TYPES[name].words == struct.calcsize((INTEGERS | FLOATS)[name][0])


@given(name=integer_types, data=st.data())
def test_every_integer_in_range_reads_back_exactly(name: str, data: st.DataObject) -> None:
    _, lowest, highest, _ = INTEGERS[name]
    number = data.draw(st.integers(lowest, highest))
    assert decode(name, TYPES[name].encode(number)) == number


@given(name=integer_types, number=st.integers(-(2**53), 2**53), exponent=exponents)
@example(name="int16", number=5, exponent=1)
@example(name="int16", number=15, exponent=1)
@example(name="int16", number=25, exponent=1)
@example(name="int16", number=-25, exponent=1)
@example(name="uint32", number=16_777_217_500, exponent=3)
@example(name="int64", number=2**53 - 1, exponent=-2)
def test_an_integer_is_scaled_exactly_and_rounded_half_to_even(
    name: str, number: int, exponent: int
) -> None:
    octets = TYPES[name].encode(number, exponent)
    assert decode(name, octets) == nearest(name, Fraction(number) / Fraction(10) ** exponent)


@given(
    name=st.sampled_from(["int64", "uint64", "acc64"]),
    number=st.integers(2**53, 2**64 - 1),
    exponent=st.integers(1, 3),
)
def test_a_64_bit_counter_is_scaled_exactly(name: str, number: int, exponent: int) -> None:
    octets = TYPES[name].encode(number, exponent)
    assert decode(name, octets) == nearest(name, Fraction(number) / Fraction(10) ** exponent)


@given(name=integer_types, number=sent_floats, exponent=exponents)
def test_a_float_reads_back_within_half_a_step(name: str, number: float, exponent: int) -> None:
    raw = decode(name, TYPES[name].encode(number, exponent))
    exact = Fraction(number) / Fraction(10) ** exponent
    _, lowest, highest, _ = INTEGERS[name]
    if exact >= highest or exact <= lowest:
        # Scaling rounds to a double, so just outside the range the last value but some may stand.
        assert abs(raw - nearest(name, exact)) <= abs(exact) / 2**52
    else:
        assert abs(raw - exact) <= Fraction(1, 2) + abs(exact) / 2**52


@pytest.mark.parametrize(
    ("number", "exponent", "raw"),
    [
        (230.1, -1, 2301),
        (7.15, -2, 715),
        (0.29, -2, 29),
        (-0.9999, -3, -1000),
        (0.5, 0, 0),
        (1.5, 0, 2),
        (2.5, 0, 2),
        (-2.5, 0, -2),
        (-5057, 1, -506),
        (50.0, -2, 5000),
        (19_111_052, 3, 19_111),
    ],
)
def test_what_meters_send_becomes_the_decimal_that_they_mean(
    number: float, exponent: int, raw: int
) -> None:
    assert decode("int16", TYPES["int16"].encode(number, exponent)) == raw


@pytest.mark.parametrize("name", INTEGERS)
def test_what_is_too_large_or_too_small_stands_at_the_end_of_the_range(name: str) -> None:
    _, lowest, highest, _ = INTEGERS[name]
    kind = TYPES[name]
    for above in (highest, highest + 1, highest + 2, 2**64, 10**30, 1e30):
        assert decode(name, kind.encode(above)) == highest
    for below in (lowest, lowest - 1, lowest - 2, -(2**64), -(10**30), -1e30):
        assert decode(name, kind.encode(below)) == lowest


@given(name=integer_types, number=st.one_of(st.integers(), sent_floats), exponent=exponents)
@example(name="int16", number=-32768, exponent=0)
@example(name="uint16", number=65535, exponent=0)
@example(name="int32", number=-(2**31), exponent=0)
@example(name="uint32", number=2**32 - 1, exponent=0)
@example(name="int64", number=-(2**63), exponent=0)
@example(name="uint64", number=2**64 - 1, exponent=0)
def test_a_measured_value_never_shows_the_not_available_pattern(
    name: str, number: float, exponent: int
) -> None:
    assume(name not in ACCUMULATORS)
    assert TYPES[name].encode(number, exponent) != bytes.fromhex(INTEGERS[name][3])


@given(name=integer_types, less=st.integers(), more=st.integers(), exponent=exponents)
def test_a_larger_value_never_reads_smaller(name: str, less: int, more: int, exponent: int) -> None:
    less, more = sorted((less, more))
    kind = TYPES[name]
    assert decode(name, kind.encode(less, exponent)) <= decode(name, kind.encode(more, exponent))


@pytest.mark.parametrize("number", [1.7e308, -1.7e308, 10**308, -(10**308)])
@pytest.mark.parametrize("exponent", [-13, -10])
def test_the_largest_numbers_saturate_at_any_scale(number: float, exponent: int) -> None:
    ends = {
        name: decode(name, kind.encode(number, exponent))
        for name, kind in TYPES.items()
        if name in INTEGERS
    }
    assert ends == {name: row[2 if number > 0 else 1] for name, row in INTEGERS.items()}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("number", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("exponent", [-10, 0, 10])
def test_no_value_is_the_not_available_pattern(
    name: str, number: float | None, exponent: int
) -> None:
    pattern = INTEGERS[name][3] if name in INTEGERS else FLOATS[name][1]
    assert TYPES[name].encode(number, exponent) == bytes.fromhex(pattern)


@given(
    name=float_types,
    number=st.one_of(st.integers(-(2**64), 2**64), sent_floats),
    exponent=exponents,
)
def test_a_float_register_reads_back_within_its_resolution(
    name: str, number: float, exponent: int
) -> None:
    exact = Fraction(number) / Fraction(10) ** exponent
    found = Fraction(decode(name, TYPES[name].encode(number, exponent)))
    # Half a unit in the last place, two roundings to a double before it, and the subnormals.
    slack = abs(exact) * (FLOATS[name][2] + Fraction(1, 2**51)) + Fraction(1, 2**149)
    assert abs(found - exact) <= slack


@pytest.mark.parametrize(
    ("name", "largest"), [("float32", (2 - 2**-23) * 2.0**127), ("float64", 1.7976931348623157e308)]
)
def test_a_float_register_saturates_at_its_largest_number(name: str, largest: float) -> None:
    kind = TYPES[name]
    assert decode(name, kind.encode(largest)) == largest
    assert decode(name, kind.encode(-largest)) == -largest
    assert decode(name, kind.encode(1.7e308, -10)) == largest
    assert decode(name, kind.encode(10**308, -10)) == largest
    assert decode(name, kind.encode(-(10**308), -10)) == -largest


@given(number=st.integers(-(2**53), 2**53), exponent=st.integers(0, 16))
@example(number=3, exponent=1)
def test_a_float64_register_shows_the_double_nearest_to_the_decimal(
    number: int, exponent: int
) -> None:
    nearest_double = float(Fraction(number, 10**exponent))
    assert decode("float64", TYPES["float64"].encode(number, exponent)) == nearest_double


def test_float32_shows_watt_hours_up_to_16_7_mwh() -> None:
    kind = TYPES["float32"]
    assert decode("float32", kind.encode(16_777_216)) == 16_777_216
    assert decode("float32", kind.encode(16_777_217)) == 16_777_216


# --- constants ------------------------------------------------------------------------------


@given(name=integer_types, number=st.integers(-(2**65), 2**65))
@example(name="uint16", number=0xFFFF)
@example(name="uint16", number=0x8000)
@example(name="int16", number=-32768)
@example(name="uint32", number=2**32)
def test_an_integer_constant_is_exact_or_refused(name: str, number: int) -> None:
    code = INTEGERS[name][0]
    bits = 8 * struct.calcsize(code)
    lowest = -(2 ** (bits - 1)) if code[1].islower() else 0
    if lowest <= number < lowest + 2**bits:
        assert decode(name, TYPES[name].encode_constant(number)) == number
    else:
        with pytest.raises(ValueError, match=f"^{name} cannot hold {number}$"):
            TYPES[name].encode_constant(number)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("number", [1.5, -0.1, math.nan, math.inf])
def test_an_integer_type_refuses_a_fraction_as_constant(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} cannot hold {number}$"):
        TYPES[name].encode_constant(number)


@given(number=st.floats(width=32, allow_nan=False))
def test_a_float_constant_is_what_was_written(number: float) -> None:
    assert decode("float32", TYPES["float32"].encode_constant(number)) == number
    assert decode("float64", TYPES["float64"].encode_constant(number)) == number


@pytest.mark.parametrize("number", [1e39, -1e39, 10**400])
def test_a_constant_past_the_largest_float32_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match=r"^float32 cannot hold "):
        TYPES["float32"].encode_constant(number)


def test_a_whole_constant_that_float32_would_change_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^float32 cannot hold 16777217 exactly$"):
        TYPES["float32"].encode_constant(16_777_217)


# --- units ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "base", "exponent"),
    [
        ("W", "W", 0),
        ("kW", "W", 3),
        ("mA", "A", -3),
        ("mV", "V", -3),
        ("kWh", "Wh", 3),
        ("MWh", "Wh", 6),
        ("kvarh", "varh", 3),
        ("kVAh", "VAh", 3),
        ("Hz", "Hz", 0),
        ("%", "", -2),
    ],
)
def test_a_unit_is_a_power_of_ten_of_the_catalogues(unit: str, base: str, exponent: int) -> None:
    assert UNITS[unit] == (base, exponent)


def test_units_differ_by_their_letters_case() -> None:
    assert UNITS["mW"] == ("W", -3)
    assert UNITS["MW"] == ("W", 6)
    assert "KW" not in UNITS
    assert "kwh" not in UNITS


# --- texts ----------------------------------------------------------------------------------


@given(text=st.text(max_size=40), words=st.integers(1, 20))
def test_a_text_fills_its_registers_in_ascii(text: str, words: int) -> None:
    octets = encode_text(text, words)
    assert len(octets) == 2 * words
    assert octets.isascii()


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126)), words=st.integers(1, 20))
def test_a_text_is_cut_or_padded_with_nul(text: str, words: int) -> None:
    kept = text[: 2 * words]
    assert encode_text(text, words) == kept.encode() + bytes(2 * words - len(kept))


@pytest.mark.parametrize(
    ("text", "octets"), [("SunS", b"SunS"), ("abc", b"abc\0"), ("", bytes(4)), ("Zähl", b"Z?hl")]
)
def test_two_characters_stand_in_a_register(text: str, octets: bytes) -> None:
    assert encode_text(text, 2) == octets


# --- word order -----------------------------------------------------------------------------


@given(words=st.lists(st.binary(min_size=2, max_size=2), min_size=1, max_size=8))
def test_little_reverses_the_words_and_keeps_the_bytes_in_a_word(words: list[bytes]) -> None:
    octets = b"".join(words)
    assert order_words(octets, little=True) == b"".join(reversed(words))
    assert order_words(octets, little=False) == octets


@given(name=all_types, number=st.integers(-(2**40), 2**40))
def test_words_read_in_reverse_give_the_value_of_a_little_map(name: str, number: int) -> None:
    big = TYPES[name].encode(number)
    little = order_words(big, little=True)
    words = struct.unpack(f">{len(little) // 2}H", little)
    assert struct.pack(f">{len(words)}H", *words[::-1]) == big


def test_little_puts_the_low_word_first() -> None:
    assert order_words(TYPES["uint32"].encode(0x01020304), little=True).hex() == "03040102"
    assert order_words(TYPES["uint16"].encode(0x0102), little=True).hex() == "0102"
    assert order_words(bytes(range(8)), little=True).hex() == "0607040502030001"
