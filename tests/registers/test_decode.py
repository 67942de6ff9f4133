"""Words → values: what the codec wrote is read back by what knows nothing of it but the types."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.registers import Given, Register, RegisterMap
from gateway.registers.codec import TYPES, order_words
from gateway.registers.decode import (
    decode,
    is_constant,
    is_not_available,
    matches,
    may_be_value,
    reads,
    rescaled,
    scale_address,
)

INTEGERS = [name for name, kind in TYPES.items() if not kind.is_float and name != "sunssf"]
FLOATS = [name for name, kind in TYPES.items() if kind.is_float]
ORDERS = ("big", "little")
STEPS = {-3: "0.001 W", -1: "0.1 W", 0: "W", 1: "10 W", 3: "kW"}
QUANTITY = "active_power_total"


def register(line: str, more: str = "", given_: Given | None = None) -> Register:
    """Return the register of a map that has one line."""
    text = f"name: x\n{more}\nregisters:\n  - {{address: 7, {line}}}\n"
    return RegisterMap.parse(text, "x.yaml", *([given_] if given_ else [])).registers[0]


def written(one: Register, **numbers: float) -> bytes:
    """Return what the codec makes of numbers."""
    assert not isinstance(one.content, bytes)
    return one.content(numbers, {})


def power(kind: str, exponent: int = 0, order: str = "big", sign: str = "") -> Register:
    return register(
        f"quantity: {sign}{QUANTITY}, type: {kind}, unit: {STEPS[exponent]}, word_order: {order}"
    )


# Each is compiled once: hypothesis asks for them a hundred times.
POWERS = {
    (kind, exponent, order, sign): power(kind, exponent, order, sign)
    for kind in (*INTEGERS, *FLOATS)
    for exponent in STEPS
    for order in ORDERS
    for sign in ("", "-")
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", INTEGERS)
@given(data=st.data(), exponent=st.sampled_from(sorted(STEPS)), sign=st.sampled_from(("", "-")))
def test_a_number_comes_back_within_half_a_step(
    kind: str, order: str, data: st.DataObject, exponent: int, sign: str
) -> None:
    one, kept, step = POWERS[kind, exponent, order, sign], TYPES[kind], 10.0**exponent
    way = -step if sign else step
    ends = sorted((way * kept.lowest, way * kept.highest))
    number = data.draw(st.integers(math.ceil(ends[0]), math.floor(ends[1])))
    found = decode(one, written(one, **{QUANTITY: number}))
    if found is None:
        # What a meter may have as well: an accumulator that stands at 0.
        assert may_be_value(one, written(one, **{QUANTITY: number}))
        assert abs(number) <= step / 2
        return
    assert isinstance(found, int | float)
    # Half a step, and the rounding of a float as big as the number.
    assert abs(found - number) <= step / 2 + abs(number) * 2**-51


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", INTEGERS)
@given(data=st.data())
def test_an_integer_in_whole_steps_comes_back_exactly(
    kind: str, order: str, data: st.DataObject
) -> None:
    one, kept = POWERS[kind, 0, order, ""], TYPES[kind]
    number = data.draw(st.integers(int(kept.lowest), int(kept.highest)))
    assert reads(one, written(one, **{QUANTITY: number})) == number


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", FLOATS)
@given(number=st.floats(-1e30, 1e30), exponent=st.sampled_from(sorted(STEPS)))
def test_a_float_comes_back_as_close_as_its_type_holds_it(
    kind: str, order: str, number: float, exponent: int
) -> None:
    one = POWERS[kind, exponent, order, ""]
    found = decode(one, written(one, **{QUANTITY: number}))
    assert found == pytest.approx(number, rel=2**-22 if kind == "float32" else 2**-50, abs=1e-35)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS])
def test_what_is_not_available_is_none(kind: str, order: str) -> None:
    one = power(kind, order=order)
    assert written(one) == order_words(TYPES[kind].not_available, little=order == "little")
    assert decode(one, written(one)) is None
    assert is_not_available(one, written(one))


def test_each_type_has_its_own_length_and_sign_in_words_made_by_hand() -> None:
    for kind, words, number in (
        ("int16", "FFFE", -2),
        ("uint16", "FFFE", 65534),
        ("int32", "FFFF FFFE", -2),
        ("uint32", "FFFF FFFE", 4294967294),
        ("acc32", "0000 0005", 5),
        ("int64", "FFFF FFFF FFFF FFFE", -2),
        ("uint64", "0000 0001 0000 0000", 4294967296),
        ("acc64", "0000 0000 0001 0000", 65536),
        ("float32", "3FC0 0000", 1.5),
        ("float64", "3FF8 0000 0000 0000", 1.5),
    ):
        assert decode(power(kind), bytes.fromhex(words)) == number, kind
        little = b"".join(bytes.fromhex(word) for word in reversed(words.split()))
        assert decode(power(kind, order="little"), little) == number, kind


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (f"quantity: {QUANTITY}, type: int16", "not_available: {int16: 0x7FFF}"),
        (f"quantity: {QUANTITY}, type: int16, not_available: 32767", ""),
    ],
)
def test_own_patterns_of_a_map_or_a_register_are_none(line: str, more: str) -> None:
    one = register(line, more)
    assert decode(one, b"\x7f\xff") is None
    assert decode(one, b"\x80\x00") == -32768, "the usual pattern is a value then"


def test_any_nan_is_not_available() -> None:
    one = register("expression: 2 * voltage_l1, type: float32, not_available: 0.0")
    assert decode(one, bytes.fromhex("FFC00001")) is None
    assert decode(one, bytes(4)) is None
    assert may_be_value(one, bytes(4)), "0 is also a value"
    assert not may_be_value(one, bytes.fromhex("FFC00001"))


def test_an_expression_of_numbers_alone_is_always_there() -> None:
    one = register("expression: 2 * 3, type: uint16")
    assert decode(one, written(one)) == 6


def test_saturated_values_are_shown_as_they_are() -> None:
    one = power("int16")
    assert decode(one, written(one, **{QUANTITY: 10**9})) == 32767
    assert decode(one, written(one, **{QUANTITY: -(10**9)})) == -32767
    assert decode(power("float32"), struct.pack(">f", math.inf)) == math.inf


def test_sign_turns_to_the_quantity_but_not_what_the_register_reads() -> None:
    one = power("int16", sign="-")
    assert decode(one, b"\xff\x9c") == 100
    assert reads(one, b"\xff\x9c") == -100


@pytest.mark.parametrize("kind", ["string", "chars"])
@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5))
def test_a_text_comes_back(kind: str, text: str) -> None:
    one = register(f"text: '${{meter_number}}', type: {kind}, length: 5")
    assert not isinstance(one.content, bytes)
    octets = one.content({}, {"meter_number": text})
    assert decode(one, octets) == (text or None)


def test_texts_may_be_padded_with_spaces_and_hold_anything() -> None:
    one = register("text: '${meter_number}', type: string, length: 3")
    assert decode(one, b"AB1  \0") == "AB1"
    assert decode(one, b"\xffB\n   ") == "\\xffB\n"
    chars = register("text: '${meter_number}', type: chars, length: 2")
    assert decode(chars, b"\0A\1B") == "A\1B", "a high byte is shown"


def test_a_constant_tells_whether_the_words_are_the_maps() -> None:
    one = register("value: 203, type: uint16")
    assert is_constant(one)
    assert matches(one, b"\x00\xcb") is True
    assert matches(one, b"\x00\xcc") is False
    assert decode(register("value: 0xFFFF, type: uint16"), b"\xff\xff") == 65535
    assert matches(power("int16"), b"\0\1") is None


def test_a_constant_in_little_order_is_compared_as_it_stands() -> None:
    one = register("value: 1, type: uint32, word_order: little")
    assert matches(one, bytes.fromhex("0001 0000")) is True
    assert matches(one, bytes.fromhex("0000 0001")) is False


def test_a_constant_text_may_be_padded_otherwise() -> None:
    one = register("text: Fronius, type: string, length: 8")
    assert matches(one, b"Fronius".ljust(16)) is True
    assert matches(one, b"Fronius2".ljust(16, b"\0")) is False


def test_a_unit_id_is_the_one_asked_or_not_there() -> None:
    one = register("value: unit_id, type: uint16", given_=Given(unit_id=7))
    assert matches(one, b"\0\7") is True
    assert matches(one, b"\0\1") is False
    assert matches(one, b"\xff\xff") is True, "answered under every id"


def test_a_scale_factor_chosen_for_the_house_is_not_judged() -> None:
    text = """
name: x
base: 100
registers:
  - {address: 0, quantity: active_power_total, type: int16, scale_register: 1}
  - {address: 1, scale_for: active_power_total, type: sunssf}
"""
    one, factor = RegisterMap.parse(text, "x.yaml").registers
    assert matches(factor, b"\0\3") is None
    assert scale_address(one, 100) == 101
    assert scale_address(factor, 100) is None


def test_a_scale_factor_that_was_read_takes_the_place_of_the_maps() -> None:
    text = """
name: x
registers:
  - {address: 0, quantity: voltage_l1, type: int16, scale_register: 1}
  - {address: 1, value: -1, type: sunssf}
"""
    one, _ = RegisterMap.parse(text, "x.yaml").registers
    assert decode(one, b"\x08\xfc") == 230.0
    assert decode(one, b"\x59\xd8", rescaled(one, written=-1, read=-2)) == 230.0
    assert rescaled(one, written=-1, read=-32768) is None
