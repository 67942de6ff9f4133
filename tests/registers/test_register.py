"""One line of a map: in what it counts, which way round, and what it shows of what is missing."""

import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.located import ConfigError
from gateway.registers import Image, RegisterMap, Table
from gateway.registers.codec import TYPES, UNITS
from gateway.snapshot import QUANTITIES, Origin, Snapshot, Value

Build = Callable[[Mapping[str, object]], Snapshot]

CODES = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "acc32": ">I",
    "acc64": ">Q",
    "float32": ">f",
    "float64": ">d",
}


def parse(*lines: str, words: str = "") -> RegisterMap:
    body = "".join(f"  - {{{line}}}\n" for line in lines)
    return RegisterMap.parse(f"name: x\n{words}registers:\n{body}", "x.yaml")


def refusal(*lines: str, words: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        parse(*lines, words=words)
    return str(caught.value)


def numbers(**values: float) -> Snapshot:
    """A snapshot of just these quantities."""
    found = {name: Value(number, Origin.MEASURED) for name, number in values.items()}
    return Snapshot(MappingProxyType(found), {}, 0.0)


def octets(image: Image, address: int, count: int) -> bytes:
    found = image.read(Table.INPUT, address, count)
    assert isinstance(found, bytes), found
    return found


def shown(line: str, kind: str, seen: Snapshot | None, words: str = "") -> int | float:
    code = CODES[kind]
    served = parse(f"address: 0, {line}, type: {kind}", words=words)
    return struct.unpack(code, octets(served.render(seen), 0, struct.calcsize(code) // 2))[0]


# --- units and steps ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "raw", "step"),
    [
        ("W", 12_345, "W"),
        ("0.1 W", 123_450, "0.1 W"),
        ("0.01  W", 1_234_500, "0.01 W"),
        ("10 W", 1_234, "10 W"),
        ("100 W", 123, "100 W"),
        ("1 W", 12_345, "W"),
        ("1.0 W", 12_345, "W"),
        ("kW", 12, "kW"),
        ("0.1 kW", 123, "0.1 kW"),
        ("0.001 kW", 12_345, "0.001 kW"),
        ("10 mW", 1_234_500, "10 mW"),
        ("MW", 0, "MW"),
        ("0.01 MW", 1, "0.01 MW"),
    ],
)
def test_a_step_stands_in_front_of_the_unit(unit: str, raw: int, step: str) -> None:
    line = f"quantity: active_power_total, unit: {unit}"
    assert shown(line, "int32", numbers(active_power_total=12_345)) == raw
    (register,) = parse(f"address: 0, {line}, type: int32").registers
    assert register.step == step


@pytest.mark.parametrize(
    ("unit", "raw"),
    [("0.001", -987), ("0.01", -99), ("0.1", -10), ("1", -1), ('"%"', -99), ('"0.1 %"', -987)],
)
def test_a_plain_ratio_counts_in_steps_or_percent(unit: str, raw: int) -> None:
    line = f"quantity: power_factor_total, unit: {unit}"
    assert shown(line, "int16", numbers(power_factor_total=-0.987)) == raw


def test_a_step_may_stand_beside_a_scale_register() -> None:
    served = parse(
        "address: 0, quantity: voltage_l1, type: uint16, unit: 0.1 V, scale_register: 1",
        "address: 1, value: -1, type: sunssf",
    )
    assert octets(served.render(numbers(voltage_l1=230.12)), 0, 1) == struct.pack(">H", 23012)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("0.2 W", "a step is a power of ten, as in 0.1 W"),
        ("5 W", "a step is a power of ten, as in 0.1 W"),
        ("0 W", "a step is a power of ten, as in 0.1 W"),
        ("0.0 W", "a step is a power of ten, as in 0.1 W"),
        ("0.3", "a step is a power of ten, as in 0.1 V"),
        ("0.1 Watt", "unknown unit 'Watt'; one looks like kWh or 0.1 V"),
        ("0.1W", "unknown unit '0.1W'; one looks like kWh or 0.1 V"),
        (".1 W", "unknown unit '.1 W'; one looks like kWh or 0.1 V"),
        ("-1 W", "unknown unit '-1 W'; one looks like kWh or 0.1 V"),
        ("0.1 V", "active_power_total is in W, not in V"),
        ("0.1", "active_power_total is in W, not in a plain ratio"),
        ("1" + "0" * 400 + " W", None),
        ("0." + "0" * 400 + "1 W", None),
    ],
)
def test_a_wrong_step_is_refused_at_its_place(unit: str, message: str | None) -> None:
    said = refusal(f"address: 0, quantity: active_power_total, type: int32, unit: {unit}")
    assert said.startswith("x.yaml:3:67: ")
    assert message is None or said == f"x.yaml:3:67: {message}"


SHOWN = [
    name
    for name, quantity in QUANTITIES.items()
    if quantity.origin is not Origin.SERVICE and quantity.unit
]


@given(
    name=st.sampled_from(SHOWN),
    sign=st.sampled_from(["", "-"]),
    prefix=st.sampled_from(["", "k", "m"]),
    step=st.integers(-3, 3),
    kind=st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "uint64"]),
    number=st.one_of(st.integers(-(10**12), 10**12), st.floats(-1e9, 1e9)),
    little=st.booleans(),
)
@example(name="voltage_l1", sign="", prefix="", step=-1, kind="int16", number=3276.75, little=False)
@example(
    name="active_power_total", sign="-", prefix="", step=1, kind="int16", number=15, little=True
)
def test_a_register_shows_its_quantity_within_half_a_step_or_saturates(
    name: str, sign: str, prefix: str, step: int, kind: str, number: float, little: bool
) -> None:
    unit = f"{prefix}{QUANTITIES[name].unit}"
    assume(unit in UNITS)
    written = f"{Fraction(10) ** step if step >= 0 else f'{10**step:.3f}'} {unit}"
    served = parse(
        f'address: 0, quantity: {sign}{name}, type: {kind}, unit: "{written}"',
        words="word_order: little\n" if little else "",
    )
    words = TYPES[kind].words
    found = octets(served.render(numbers(**{name: number})), 0, words)
    if little:
        found = b"".join(found[2 * i : 2 * i + 2] for i in reversed(range(words)))
    (raw,) = struct.unpack(CODES[kind], found)
    size = Fraction(10) ** (step + {"": 0, "k": 3, "m": -3}[prefix])
    wanted = Fraction(number) * (-1 if sign else 1) / size
    lowest, highest = TYPES[kind].lowest, TYPES[kind].highest
    if not lowest <= wanted <= highest:
        assert raw == (lowest if wanted < lowest else highest)
    else:
        # A float of 53 bits is itself as inexact.
        assert abs(raw - wanted) <= Fraction(1, 2) + abs(wanted) / 2**51
    assert found != TYPES[kind].not_available


@given(
    number=st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e38, 1e38)),
    kind=st.sampled_from(["float32", "float64"]),
    unit=st.sampled_from(["V", "0.1 V", "kV", "mV"]),
)
def test_a_float_register_shows_its_quantity_as_exactly_as_it_can(
    number: float, kind: str, unit: str
) -> None:
    scale = {"V": 1, "0.1 V": 10, "kV": 0.001, "mV": 1000}[unit]
    found = shown(f"quantity: voltage_l1, unit: {unit}", kind, numbers(voltage_l1=number))
    if abs(number * scale) < 3.4e38:
        assert found == pytest.approx(number * scale, rel=2**-23, abs=1e-44)


# --- the other way round --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "number", "raw"),
    [
        ("int16", 230, -230),
        ("int32", -5057, 5057),
        ("float32", 0.5, -0.5),
        ("uint16", 230, 0),
        ("uint16", -230, 230),
        ("int16", 40_000, -32767),
        ("int16", -40_000, 32767),
        ("int16", 0, 0),
    ],
)
def test_a_minus_turns_a_quantity_round(kind: str, number: float, raw: float) -> None:
    seen = numbers(active_power_total=number)
    assert shown("quantity: -active_power_total", kind, seen) == raw


def test_what_is_turned_round_and_missing_shows_the_same_pattern() -> None:
    assert shown("quantity: -active_power_total", "int16", None) == -32768
    assert shown("quantity: -active_power_total", "int16", numbers()) == -32768
    (register,) = parse("address: 0, quantity: -active_power_total, type: int16").registers
    assert (register.quantity, register.sign, register.shows) == (
        "active_power_total",
        -1,
        "-active_power_total",
    )


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("-active_powr_total", "unknown quantity 'active_powr_total', did you mean"),
        ("--active_power_total", "unknown quantity '-active_power_total', did you mean"),
        ("- active_power_total", "unknown quantity ' active_power_total', did you mean"),
        ("-telegram_age", "telegram_age is the service's own, it has no other way round"),
        ("-meter_state", "meter_state is the service's own, it has no other way round"),
    ],
)
def test_a_wrong_quantity_behind_a_minus_is_refused(quantity: str, message: str) -> None:
    said = refusal(f'address: 0, quantity: "{quantity}", type: int16')
    assert said.startswith(f"x.yaml:3:28: {message}")


# --- chars ----------------------------------------------------------------------------------


def test_chars_have_one_character_a_register_in_its_low_byte(snapshot: Build) -> None:
    served = parse(
        "address: 0, text: KWH, type: chars, length: 5",
        'address: 5, text: "${meter_number}", type: chars, length: 4',
        words="word_order: little\n",
    )
    image = served.render(snapshot({"0-0:96.1.0": "A7"}))
    assert octets(image, 0, 9).hex(" ", 2) == "004b 0057 0048 0000 0000 0041 0037 0000 0000"
    assert octets(served.render(None), 5, 4) == bytes(8)


def test_chars_that_are_too_long_lose_their_end_as_a_text_does(snapshot: Build) -> None:
    image = parse('address: 0, text: "${meter_number}", type: chars, length: 3').render(
        snapshot({"0-0:96.1.0": "1234"})
    )
    assert octets(image, 0, 3) == b"\x001\x002\x003"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("text: abcd, type: chars, length: 3", "19: 3 registers hold 3 ASCII characters"),
        ("text: abcde, type: string, length: 2", "19: 2 registers hold 4 ASCII characters"),
        ('text: "ä${serial}", type: string, length: 9', "19: 9 registers hold 18 ASCII characters"),
        ('text: "abc${serial}", type: chars, length: 2', "19: 2 registers hold 2 ASCII characters"),
        ("value: 1, type: chars, length: 1", "32: 'text' goes with type string or chars, and only"),
        ("text: a, type: chars", "31: a text needs 'length', in registers"),
        ("text: a, type: chars, length: 126", "46: 126 is not between 1 and 125"),
    ],
)
def test_wrong_chars_are_refused(line: str, message: str) -> None:
    row, _, _ = message.partition(":")
    said = refusal(f"address: 0, {line}")
    assert said.partition(": ")[2].startswith(message.partition(": ")[2])
    assert said.startswith("x.yaml:3:")
    assert row.isdigit()


# --- word order -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_map", "of_line", "raw"),
    [
        ("", "", "01020304"),
        ("", ", word_order: little", "03040102"),
        ("word_order: little\n", "", "03040102"),
        ("word_order: little\n", ", word_order: big", "01020304"),
    ],
)
@pytest.mark.parametrize(
    "content", ["value: 0x01020304", "quantity: active_power_total", "expression: 0x01020304"]
)
def test_a_register_may_have_a_word_order_of_its_own(
    of_map: str, of_line: str, raw: str, content: str
) -> None:
    served = parse(
        f"address: 0, {content}, type: uint32{of_line}",
        "address: 2, value: 1, type: uint32",
        words=of_map,
    )
    image = served.render(numbers(active_power_total=0x01020304))
    assert octets(image, 0, 2).hex() == raw
    assert octets(image, 2, 2).hex() == ("00010000" if of_map else "00000001")
    assert served.registers[0].is_little == raw.startswith("03")


def test_what_is_missing_has_the_registers_own_word_order() -> None:
    served = parse("address: 0, quantity: voltage_l1, type: float32, word_order: little")
    assert octets(served.render(None), 0, 2).hex() == "00007fc0"


def test_the_age_has_the_registers_own_word_order() -> None:
    served = parse("address: 0, quantity: telegram_age, type: uint32, word_order: little")
    assert served.with_own(bytes(4), 0, lambda: {"telegram_age": 0x1_0002}).hex() == "00020001"


def test_an_unknown_word_order_is_refused() -> None:
    said = refusal("address: 0, value: 1, type: uint32, word_order: middle")
    assert said == "x.yaml:3:54: unknown word order 'middle'; known are big, little"


# --- not available --------------------------------------------------------------------------

PATTERNS = "not_available: {int16: 0x7FFF, uint16: 0, uint32: 0x80000000, float32: 0}\n"


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("int16", 0x7FFF),
        ("uint16", 0),
        ("uint32", 0x80000000),
        ("float32", 0.0),
        ("int32", -(2**31)),
        ("acc32", 0),
    ],
)
@pytest.mark.parametrize("content", ["quantity: current_l2", "expression: current_l2 * 2"])
def test_a_map_has_its_own_patterns_by_type(kind: str, raw: float, content: str) -> None:
    assert shown(content, kind, numbers(), PATTERNS) == raw
    assert shown(content, kind, None, PATTERNS) == raw


def test_a_registers_own_pattern_goes_before_the_maps() -> None:
    line = "quantity: current_l2, not_available: -1"
    assert shown(line, "int16", None, PATTERNS) == -1


@given(
    number=st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6)),
    kind=st.sampled_from(["int16", "uint16"]),
    pattern=st.sampled_from([-32768, -32767, 0x7FFF, 0xFFFF, 0xFFFE]),
)
@example(number=10**6, kind="int16", pattern=0x7FFF)
@example(number=-(10**6), kind="int16", pattern=-32767)
@example(number=10**6, kind="uint16", pattern=0xFFFE)
def test_a_value_that_saturates_never_shows_the_maps_own_pattern(
    number: float, kind: str, pattern: int
) -> None:
    assume((kind == "int16") == (pattern < 0x8000))
    words = f"not_available: {{{kind}: {pattern}}}\n"
    raw = shown("quantity: active_power_total", kind, numbers(active_power_total=number), words)
    lowest, highest = TYPES[kind].lowest, TYPES[kind].highest
    if round(max(lowest, min(highest, number))) not in (lowest, highest):
        assert raw == round(number)
    assert raw != pattern


def test_a_pattern_of_0_leaves_all_values_as_they_are() -> None:
    words = "not_available: {uint16: 0}\n"
    for number in (0, 1, 0xFFFE):
        seen = numbers(active_power_total=number)
        assert shown("quantity: active_power_total", "uint16", seen, words) == number
