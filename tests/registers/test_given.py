"""What the user gives for one emulated meter: its base, serial number, rated power and unit id."""

import struct
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.located import ConfigError
from gateway.registers import ExceptionCode, Given, Image, RegisterMap, Table, rated_power_w
from gateway.registers.given import NOTHING_GIVEN
from gateway.snapshot import Snapshot

Build = Callable[[Mapping[str, object]], Snapshot]

SN = "0-0:96.1.0"
NUMBER = "1KFM0215916069"


def parse(lines: str, own: Given = NOTHING_GIVEN, words: str = "") -> RegisterMap:
    return RegisterMap.parse(f"name: x\n{words}registers:\n{lines}", "x.yaml", own)


def refusal(lines: str, own: Given = NOTHING_GIVEN, words: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        parse(lines, own, words)
    return str(caught.value)


def octets(image: Image, address: int, count: int) -> bytes:
    found = image.read(Table.INPUT, address, count)
    assert isinstance(found, bytes), found
    return found


def is_measured(served: RegisterMap, address: int, count: int) -> bool:
    word = served.layout.locate(Table.INPUT, address, count)
    assert isinstance(word, int)
    assert not isinstance(word, ExceptionCode)
    return served.layout.is_measured(word, count)


# --- base -----------------------------------------------------------------------------------

BASED = """\
  - {address: 0, value: 0x1111, type: uint16}
  - {address: 1, quantity: voltage_l1, type: int16, scale_register: 2}
  - {address: 2, value: -1, type: sunssf}
"""
RANGES = "zero_ranges: [[5, 6]]\nfilled_ranges: [[8, 9, 7]]\nignored_writes: [[3, 4]]\n"


@pytest.mark.parametrize(
    ("words", "own", "base"),
    [
        (RANGES, None, 0),
        (f"{RANGES}base: 40000\n", None, 40000),
        (f"{RANGES}base: 40000\n", 50000, 50000),
        (f"{RANGES}base: 40000\n", 0, 0),
        (RANGES, 0xFFF6, 0xFFF6),
    ],
)
def test_addresses_ranges_and_scale_registers_count_from_the_base(
    snapshot: Build, words: str, own: int | None, base: int
) -> None:
    served = parse(BASED, Given(base=own), words)
    assert served.written.base == base
    image = served.render(snapshot({"1-0:32.7.0": 230.1}))
    assert octets(image, base, 3) == struct.pack(">Hhh", 0x1111, 2301, -1)
    assert octets(image, base + 5, 2) == bytes(4)
    assert octets(image, base + 8, 2) == bytes.fromhex("00070007")
    assert served.written.ignored_writes == [(base + 3, base + 4)]
    for address in {0, base + 3, base + 7, base + 10} - {base}:
        assert image.read(Table.INPUT, address, 1) is ExceptionCode.ILLEGAL_DATA_ADDRESS


@pytest.mark.parametrize(
    ("words", "own", "message"),
    [
        ("", 65534, "x.yaml:5:15: 1 registers from 65536 pass the last, 65535"),
        ("base: 65534\n", None, "x.yaml:6:15: 1 registers from 65536 pass the last, 65535"),
        ("zero_ranges: [[0, 9]]\n", 65530, "x.yaml:2:19: 9 is not between 0 and 5"),
        ("ignored_writes: [[9, 9]]\n", 65530, "x.yaml:2:19: 9 is not between 0 and 5"),
    ],
)
def test_what_the_base_moves_past_the_last_address_is_refused(
    words: str, own: int | None, message: str
) -> None:
    assert refusal(BASED, Given(base=own), words) == message


# --- scale_for ------------------------------------------------------------------------------

SCALED = """\
  - {address: 0, scale_for: active_power_total, type: sunssf}
  - {address: 1, quantity: active_power_total, type: int16, scale_register: 0}
"""


def scale(image: Image) -> int:
    return struct.unpack(">h", octets(image, 0, 1))[0]


@pytest.mark.parametrize(
    ("rated_w", "exponent"),
    [
        (1, 0),
        (10_000, 0),
        (26_213, 0),  # a quarter more is 32766.25 W
        (26_214, 1),  # 32767.5 W
        (55_200, 1),  # 80 A
        (262_130, 1),
        (262_140, 2),
        (26_000_000, 3),
        (200_000_000, 4),
        (9_000_000_000, 4),  # no more scales are tried
    ],
)
def test_scale_for_is_the_finest_scale_that_holds_the_rated_power(
    snapshot: Build, rated_w: float, exponent: int
) -> None:
    served = parse(SCALED, Given(rated_power_w=rated_w))
    image = served.render(snapshot({"1-0:1.7.0": 12_340, "1-0:2.7.0": 0}))
    assert scale(image) == exponent
    (raw,) = struct.unpack(">h", octets(image, 1, 1))
    assert raw == round(12_340 / 10**exponent)


@given(rated_w=st.floats(1, 200_000_000))
def test_a_quarter_more_than_the_rated_power_never_saturates(rated_w: float) -> None:
    served = parse(SCALED, Given(rated_power_w=rated_w))
    exponent = scale(served.render(None))
    assert 1.25 * rated_w <= 32_767 * 10**exponent
    assert exponent == 0 or 1.25 * rated_w > 32_767 * 10 ** (exponent - 1)


def test_the_scale_is_a_constant_that_no_telegram_changes(snapshot: Build) -> None:
    served = parse(SCALED, Given(rated_power_w=10_000))
    assert not is_measured(served, 0, 1)
    for watts in (0, 5, 30_000, 33_000, 4_000_000):
        assert scale(served.render(snapshot({"1-0:1.7.0": watts, "1-0:2.7.0": 0}))) == 0
    assert scale(served.render(None)) == 0


@pytest.mark.parametrize(("imported", "exported", "raw"), [(90_000, 0, 32767), (0, 90_000, -32767)])
def test_more_power_than_the_scale_holds_saturates(
    snapshot: Build, imported: int, exported: int, raw: int
) -> None:
    served = parse(SCALED, Given(rated_power_w=10_000))
    image = served.render(snapshot({"1-0:1.7.0": imported, "1-0:2.7.0": exported}))
    assert struct.unpack(">h", octets(image, 1, 1)) == (raw,)


def test_without_a_rated_power_it_is_that_of_80_amperes() -> None:
    assert Given().rated_power_w == rated_power_w(80) == 55_200
    assert scale(parse(SCALED).render(None)) == 1


def test_the_scale_fits_the_narrowest_register_that_uses_it() -> None:
    wide = SCALED.replace("int16", "int32")
    assert scale(parse(wide).render(None)) == 0
    both = wide + "  - {address: 3, quantity: active_power_l1, type: int16, scale_register: 0}\n"
    assert scale(parse(both).render(None)) == 1


@pytest.mark.parametrize(
    ("unit", "exponent"), [("W", 1), ("0.1 W", 2), ("10 W", 0), ("kW", 0), ("mW", 4)]
)
def test_the_scale_comes_on_top_of_the_registers_unit(unit: str, exponent: int) -> None:
    lines = SCALED.replace("type: int16", f"type: int16, unit: {unit}")
    assert scale(parse(lines).render(None)) == exponent


@pytest.mark.parametrize(("scale_at", "used_at"), [("0x10", "16"), ("16", "0x10")])
def test_a_scale_register_is_found_however_its_address_is_written(
    scale_at: str, used_at: str
) -> None:
    lines = SCALED.replace("address: 0", f"address: {scale_at}")
    served = parse(lines.replace("scale_register: 0", f"scale_register: {used_at}"))
    assert [register.exponent for register in served.registers] == [0, 1]


def test_a_scale_moves_with_its_base() -> None:
    served = parse(SCALED, Given(base=700))
    assert octets(served.render(None), 700, 1) == bytes.fromhex("0001")


def test_a_little_scale_is_one_word_as_any(snapshot: Build) -> None:
    assert scale(parse(SCALED, words="word_order: little\n").render(None)) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            SCALED.replace("scale_for: active_power_total", "scale_for: voltage_l1"),
            "3:29: voltage_l1 is no power: give its scale as a value",
        ),
        (
            SCALED.replace("scale_for: active_power_total", "scale_for: active_powr_total"),
            "3:29: unknown quantity 'active_powr_total', did you mean 'active_power_total'?",
        ),
        (
            SCALED.replace("sunssf", "int16"),
            "3:55: 'scale_for' goes with type sunssf",
        ),
        (
            SCALED.splitlines()[0],
            "3:15: no register names this one as its scale_register",
        ),
        (SCALED + "  - {address: 5, scale_register: 0}\n", "5:5: 'type' is missing here"),
    ],
)
def test_a_wrong_scale_for_is_refused(lines: str, message: str) -> None:
    if "goes with" in message:  # without the user of the scale, which would be wrong first
        lines = lines.splitlines()[0]
    assert refusal(lines) == f"x.yaml:{message}"


# --- ${serial} ------------------------------------------------------------------------------


def text_of(
    snapshot: Build, own: Given, text: str = "${serial}", length: int = 8, kind: str = "string"
) -> bytes:
    served = parse(f'  - {{address: 0, text: "{text}", type: {kind}, length: {length}}}\n', own)
    return octets(served.render(snapshot({SN: NUMBER, "0-0:42.0.0": "KFM1"})), 0, length)


@pytest.mark.parametrize(
    ("own", "text", "length", "shown"),
    [
        (Given(), "${serial}", 8, b"1KFM0215916069"),
        (Given(copy=2), "${serial}", 8, b"1KFM0215916069-2"),
        (Given(copy=3), "${serial}", 8, b"1KFM0215916069-3"),
        (Given(copy=12), "${serial}", 10, b"1KFM0215916069-12"),
        (Given(), "${serial}", 4, b"15916069"),  # the end tells meters apart, so it stays
        (Given(copy=2), "${serial}", 4, b"916069-2"),
        (Given(copy=12), "${serial}", 4, b"16069-12"),
        (Given(), "SN ${serial}", 4, b"SN 16069"),
        (Given(copy=2), "SN ${serial}", 4, b"SN 069-2"),
        (Given(copy=2), "SN ${serial}.", 4, b"SN 69-2."),
        (Given(serial="12345678"), "${serial}", 8, b"12345678"),
        (Given(serial="12345678", copy=2), "${serial}", 8, b"12345678"),
        (Given(serial="AB-12345678"), "${serial}", 4, b"12345678"),
        (Given(serial="12345678"), "SN ${serial}", 4, b"SN 45678"),
        (Given(serial="77"), "${serial}/${device_name}", 8, b"77/KFM1"),
        (Given(copy=2), "${device_name}", 8, b"KFM1"),
        (Given(serial="77", copy=2), "${meter_number}", 8, b"1KFM0215916069"),
    ],
)
def test_serial_is_the_emulated_meters_own_number(
    snapshot: Build, own: Given, text: str, length: int, shown: bytes
) -> None:
    assert text_of(snapshot, own, text, length) == shown.ljust(2 * length, b"\0")


def test_a_serial_in_chars_stands_in_low_bytes_and_is_cut_to_its_registers(snapshot: Build) -> None:
    found = text_of(snapshot, Given(copy=2), length=6, kind="chars")
    assert found == b"\0" + b"\0".join(bytes([octet]) for octet in b"6069-2")


@given(copies=st.lists(st.integers(1, 99), min_size=2, max_size=5, unique=True))
def test_copies_of_one_meter_never_have_the_same_serial(snapshot: Build, copies: list[int]) -> None:
    shown = {text_of(snapshot, Given(copy=copy), length=4) for copy in copies}
    assert len(shown) == len(copies)


def test_a_given_serial_is_a_constant_that_is_answered_before_the_first_telegram() -> None:
    line = '  - {address: 0, text: "SN ${serial}", type: string, length: 4}\n'
    served = parse(line, Given(serial="123"))
    assert not is_measured(served, 0, 4)
    assert octets(served.render(None), 0, 4) == b"SN 123\0\0"
    of_the_meter = parse(line)
    assert is_measured(of_the_meter, 0, 4)
    assert octets(of_the_meter.render(None), 0, 4) == bytes(8)


def test_a_serial_among_what_the_meter_says_ages_with_it(snapshot: Build) -> None:
    line = '  - {address: 0, text: "${serial}/${device_name}", type: string, length: 4}\n'
    served = parse(line, Given(serial="123"))
    assert is_measured(served, 0, 4)
    assert octets(served.render(snapshot({SN: NUMBER})), 0, 4) == bytes(8)


# --- meter_serial ---------------------------------------------------------------------------


def serial_of(
    snapshot: Build, own: Given, line: str = "quantity: meter_serial, type: uint32"
) -> int:
    served = parse(f"  - {{address: 0, {line}}}\n", own)
    return int.from_bytes(octets(served.render(snapshot({SN: NUMBER})), 0, 2), "big")


@pytest.mark.parametrize(
    ("own", "number"),
    [
        (Given(), 215_916_069),
        (Given(copy=2), 1_215_916_069),
        (Given(copy=3), 2_215_916_069),
        (Given(copy=4), 3_215_916_069),
        (Given(serial="12345678"), 12_345_678),
        (Given(serial="12345678", copy=9), 12_345_678),
        (Given(serial="AB-12.34"), 1234),
        (Given(serial="1234567890123"), 567_890_123),
        (Given(serial="0007"), 7),
    ],
)
def test_meter_serial_is_a_number_of_the_emulated_meters_own(
    snapshot: Build, own: Given, number: int
) -> None:
    assert serial_of(snapshot, own) == number
    assert serial_of(snapshot, own, "expression: meter_serial + 1, type: uint32") == number + 1


@pytest.mark.parametrize("own", [Given(copy=2), Given(serial="1215916069")], ids=str)
def test_a_serial_may_be_taken_apart_by_expressions(snapshot: Build, own: Given) -> None:
    served = parse(
        "  - {address: 0, expression: meter_serial // 65536, type: uint16}\n"
        "  - {address: 1, expression: meter_serial % 65536, type: uint16}\n",
        own,
    )
    shown = octets(served.render(snapshot({SN: NUMBER})), 0, 2)
    expected = 1_215_916_069 if own.copy == 2 else 215_916_069
    assert int.from_bytes(shown, "big") == expected


@pytest.mark.parametrize(
    "line", ["quantity: meter_serial", "expression: meter_serial + 1", "quantity: -meter_serial"]
)
def test_a_given_number_is_a_constant_that_is_answered_before_the_first_telegram(line: str) -> None:
    served = parse(f"  - {{address: 0, {line}, type: int32}}\n", Given(serial="77"))
    assert not is_measured(served, 0, 2)
    expected = {"q": 77, "e": 78, "-": -77}[line[10] if line[10] == "-" else line[0]]
    assert struct.unpack(">i", octets(served.render(None), 0, 2)) == (expected,)
    assert is_measured(parse(f"  - {{address: 0, {line}, type: int32}}\n"), 0, 2)


@pytest.mark.parametrize(
    ("kind", "copies"), [("uint32", 4), ("int32", 2), ("uint16", 1), ("uint64", 99), ("acc32", 4)]
)
def test_as_many_copies_have_numbers_as_the_type_tells_apart(kind: str, copies: int) -> None:
    line = f"  - {{address: 0, quantity: meter_serial, type: {kind}}}\n"
    parse(line, Given(copy=copies))
    if copies < 99:
        assert refusal(line, Given(copy=copies + 1)) == (
            f"x.yaml:3:28: one meter as {copies + 1} meters with numbers: give each its 'serial'"
        )
        parse(line, Given(copy=copies + 1, serial="7"))


def test_a_serial_without_a_digit_is_refused_where_a_number_is_needed() -> None:
    line = "  - {address: 0, quantity: meter_serial, type: uint32}\n"
    expected = "x.yaml:3:28: serial 'ABC' has no digit, and this map needs a number"
    assert refusal(line, Given(serial="ABC")) == expected
    parse('  - {address: 0, text: "${serial}", type: string, length: 8}\n', Given(serial="ABC"))


def test_before_the_first_telegram_a_copy_has_no_number() -> None:
    line = "  - {address: 0, quantity: meter_serial, type: uint32}\n"
    assert octets(parse(line, Given(copy=2)).render(None), 0, 2) == b"\xff" * 4


# --- unit_id --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "unit_id", "shown"),
    [
        ("uint16", 1, "0001"),
        ("uint16", 255, "00ff"),
        ("uint16", 0, "0000"),
        ("uint32", 7, "00000007"),
        ("float32", 7, "40e00000"),
        ("uint16", None, "ffff"),
        ("int16", None, "8000"),
    ],
)
def test_unit_id_is_the_id_under_which_the_unit_is_asked(
    kind: str, unit_id: int | None, shown: str
) -> None:
    served = parse(f"  - {{address: 0, value: unit_id, type: {kind}}}\n", Given(unit_id=unit_id))
    assert octets(served.render(None), 0, len(shown) // 4).hex() == shown
    assert not is_measured(served, 0, len(shown) // 4)


def test_where_every_id_is_answered_unit_id_shows_the_maps_own_pattern() -> None:
    line = "  - {address: 0, value: unit_id, type: uint16}\n"
    served = parse(line, words="not_available: {uint16: 0}\n")
    assert octets(served.render(None), 0, 1) == bytes(2)


def test_unit_id_is_turned_as_any_number() -> None:
    line = "  - {address: 0, value: unit_id, type: uint32}\n"
    served = parse(line, Given(unit_id=7), "word_order: little\n")
    assert octets(served.render(None), 0, 2).hex() == "00070000"


@pytest.mark.parametrize("line", ["value: unit_id, type: sunssf", "value: unitid, type: uint16"])
def test_unit_id_is_a_word_of_numbers_only(line: str) -> None:
    assert refusal(f"  - {{address: 0, {line}}}\n").startswith("x.yaml:3:25: 'unit")
