"""Lists that name their objects: nested, flat, pushed, and everything that is none of these."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import (
    Unit,
    array,
    date_time,
    i8,
    i16,
    i64,
    obis,
    octet_string,
    scaler_unit,
    structure,
    u16,
    u32,
    u64,
)
from gateway.simulator.local_time import austrian
from gateway.telegram import axdr, named
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.listing import Reading
from gateway.telegram.obis import CLOCK, EXPECTED_UNITS, METER_NUMBER, UNITS, Obis

MOMENT = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
CLOCK_OCTETS = octet_string(date_time(austrian(MOMENT), summer=True))
NUMBER = octet_string(b"178200000001")
POWER, EXPORT, ENERGY = "1-0:1.7.0.255", "1-0:2.7.0.255", "1-0:1.8.0.255"
VOLTAGE, CURRENT, FACTOR = "1-0:32.7.0.255", "1-0:31.7.0.255", "1-0:13.7.0.255"
UNKNOWN = "1-0:99.99.0.255"
WATT, WATT_HOUR = scaler_unit(0, Unit.W), scaler_unit(0, Unit.WH)
NULL = b"\x00"


def unit_code(scaler: int, code: int) -> bytes:
    return structure(b"\x0f" + scaler.to_bytes(1, "big", signed=True), bytes([0x16, code]))


def nested(code: str, *value: bytes) -> bytes:
    return structure(obis(code), *value)


def read(*items: bytes) -> dict[str, Reading]:
    """The readings of a push body, by their codes."""
    found = walk(structure(*items))
    assert not isinstance(found, Fault), found
    return {str(code): reading for code, reading in found.items()}


def refused(*items: bytes) -> Fault:
    found = walk(structure(*items))
    assert isinstance(found, Fault), found
    assert found.layer is Layer.LAYOUT
    return found


def walk(body: bytes, maker: bytes = b"KFM") -> dict[Obis, Reading] | Fault:
    """What a body says that comes from a meter of this maker."""
    outline = axdr.outline(body, 0)
    assert not isinstance(outline, Fault), outline
    listing = named.listing(outline, maker + bytes(5))
    if isinstance(listing, Fault):
        return listing
    readings = listing.read(body)
    return readings if isinstance(readings, Fault) else dict(readings)


# Where the second and later items of a body stand: behind tag and count, and what comes before.
GOOD = nested(EXPORT, u32(0), WATT)
BEHIND_GOOD = 2 + len(GOOD)


# --- layouts that meters send ---------------------------------------------------------------


def test_nested_objects_are_read_in_the_meters_order() -> None:
    found = read(
        obis("0-0:1.0.0.255"),
        CLOCK_OCTETS,
        nested("0-0:96.1.0.255", octet_string(b"1KFM0200000001")),
        nested("0-0:42.0.0.255", octet_string(b"KFM1200200000001")),
        nested(VOLTAGE, u16(2308), scaler_unit(-1, Unit.V)),
        nested(CURRENT, u16(118), scaler_unit(-2, Unit.A)),
        nested(POWER, u32(515), WATT),
        nested(ENERGY, u32(627660), WATT_HOUR),
    )
    assert list(found.items()) == [
        ("0-0:1.0.0.255", Reading(MOMENT, None, 0x80)),
        ("0-0:96.1.0.255", Reading("1KFM0200000001")),
        ("0-0:42.0.0.255", Reading("KFM1200200000001")),
        (VOLTAGE, Reading(230.8, "V")),
        (CURRENT, Reading(1.18, "A")),
        (POWER, Reading(515, "W")),
        (ENERGY, Reading(627660, "Wh")),
    ]


def test_flat_objects_between_a_clock_and_a_number_without_code_are_read() -> None:
    found = read(
        CLOCK_OCTETS,
        *(obis(ENERGY), u32(627660), WATT_HOUR),
        *(obis(VOLTAGE), u16(2329), scaler_unit(-1, Unit.V)),
        *(obis(FACTOR), i16(819), unit_code(-3, 255)),
        NUMBER,
    )
    assert list(found.items()) == [
        ("0-0:1.0.0.255", Reading(MOMENT, None, 0x80)),
        (ENERGY, Reading(627660, "Wh")),
        (VOLTAGE, Reading(232.9, "V")),
        (FACTOR, Reading(0.819)),
        ("0-0:96.1.0.255", Reading("178200000001")),
    ]


def test_flat_texts_without_unit_stand_between_flat_numbers() -> None:
    found = read(obis("0-0:96.1.0.255"), NUMBER, obis(POWER), u32(1), WATT)
    assert found == {"0-0:96.1.0.255": Reading("178200000001"), POWER: Reading(1, "W")}


def test_flat_and_nested_objects_may_stand_in_one_list() -> None:
    found = read(
        obis(POWER), u32(1), WATT, nested(EXPORT, u32(2), WATT), obis(ENERGY), u32(3), WATT_HOUR
    )
    assert found == {POWER: Reading(1, "W"), EXPORT: Reading(2, "W"), ENERGY: Reading(3, "Wh")}


def test_six_bytes_after_a_code_are_a_value_and_no_code() -> None:
    text = octet_string(b"ABCDEF")
    assert read(obis("0-0:96.1.0.255"), text, GOOD)["0-0:96.1.0.255"] == Reading("ABCDEF")
    assert read(nested("0-0:96.1.0.255", text))["0-0:96.1.0.255"] == Reading("ABCDEF")


@pytest.mark.parametrize("tag", [0x09, 0x0A, 0x0C])
def test_a_text_may_come_as_any_kind_of_string(tag: int) -> None:
    text = bytes([tag]) + octet_string(b"1KFM02")[1:]
    assert read(nested("0-0:96.1.0.255", text)) == {"0-0:96.1.0.255": Reading("1KFM02")}


@pytest.mark.parametrize("raw", [u16(819), i16(819)])
def test_the_power_factor_comes_as_u16_or_i16(raw: bytes) -> None:
    assert read(nested(FACTOR, raw, unit_code(-3, 255))) == {FACTOR: Reading(0.819, None)}


def test_a_negative_power_factor_keeps_its_sign() -> None:
    assert read(nested(FACTOR, i16(-819), unit_code(-3, 255))) == {FACTOR: Reading(-0.819)}


def test_a_clock_of_unknown_deviation_is_naive() -> None:
    octets = bytes.fromhex("07e8070101 0c0000 00 8000 01".replace(" ", ""))
    (reading,) = read(nested("0-0:1.0.0.255", octet_string(octets))).values()
    assert isinstance(reading.value, datetime)
    assert reading.value.tzinfo is None
    assert (reading.value.isoformat(), reading.status) == ("2024-07-01T12:00:00", 1)


def test_the_clock_of_the_body_may_differ_from_the_headers() -> None:
    # As in the Honeywell example: no deviation although daylight saving is active.
    octets = bytes.fromhex("07e0090804130d1900000080")
    assert read(octet_string(octets), GOOD)["0-0:1.0.0.255"] == Reading(
        datetime(2016, 9, 8, 19, 13, 25, tzinfo=UTC), None, 0x80
    )


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "scaler", "value"),
    [
        (2308, -1, 230.8),
        (85, -2, 0.85),
        (1000, -3, 1.0),
        (7, -2, 0.07),
        (0, -1, 0.0),
        (5, 0, 5),
        (5, 3, 5000),
        (4294967295, 3, 4294967295 * 10**3),
    ],
)
def test_the_scaler_is_a_power_of_ten(raw: int, scaler: int, value: float) -> None:
    (reading,) = read(nested(UNKNOWN, u32(raw), scaler_unit(scaler, Unit.W))).values()
    assert reading == Reading(value, "W")
    assert type(reading.value) is type(value)


def test_energy_of_64_bits_keeps_every_watt_hour() -> None:
    (reading,) = read(nested(ENERGY, u64(2**64 - 1), WATT_HOUR)).values()
    assert reading == Reading(2**64 - 1, "Wh")
    assert type(reading.value) is int


@given(raw=st.integers(0, 0xFFFF), scaler=st.integers(-3, -1))
def test_a_scaled_number_is_the_float_nearest_to_its_decimal(raw: int, scaler: int) -> None:
    (reading,) = read(nested(UNKNOWN, u16(raw), scaler_unit(scaler, Unit.V))).values()
    assert reading.value == float(f"{raw}e{scaler}")


def test_a_known_number_with_a_unit_is_never_negative() -> None:
    fault = refused(GOOD, nested(POWER, b"\x05" + (-5000).to_bytes(4, "big", signed=True), WATT))
    assert fault.reason == f"{POWER} is negative, -5000"
    factor = nested(FACTOR, b"\x10" + (-819).to_bytes(2, "big", signed=True), unit_code(-3, 255))
    assert read(factor) == {FACTOR: Reading(-0.819)}


@pytest.mark.parametrize(("code", "symbol"), UNITS.items())
def test_every_known_unit_is_read(code: int, symbol: str | None) -> None:
    assert read(nested(UNKNOWN, u32(1), unit_code(0, code))) == {UNKNOWN: Reading(1, symbol)}


# --- what is absent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "absent",
    [
        (nested(POWER, NULL),),
        (nested(POWER, NULL, WATT),),
        (obis(POWER), NULL),
        (obis(POWER), NULL, WATT),
        (nested("0-0:96.1.0.255", NULL),),
        (nested("0-0:96.1.0.255", octet_string(b"")),),
        (nested("0-0:1.0.0.255", octet_string(b"\xff" * 8 + b"\x00\x80\x00\x00")),),
    ],
)
def test_what_the_meter_leaves_open_is_absent(absent: tuple[bytes, ...]) -> None:
    assert read(*absent, GOOD) == {EXPORT: Reading(0, "W")}


def test_zero_is_not_absent() -> None:
    assert read(nested(POWER, u32(0), WATT)) == {POWER: Reading(0, "W")}


def test_a_list_in_which_all_is_null_lists_no_objects() -> None:
    assert refused(nested(POWER, NULL)) == Fault(Layer.LAYOUT, "the push lists no objects", 0)


# --- faults ---------------------------------------------------------------------------------


def test_an_empty_list_lists_no_objects() -> None:
    assert refused().reason == "the push lists no objects"
    assert walk(b"\x01\x00") == Fault(Layer.LAYOUT, "the push lists no objects", 0)


def test_a_number_without_scaler_and_unit_is_refused() -> None:
    fault = refused(GOOD, nested(POWER, u32(5)))
    assert fault.reason == f"{POWER} comes without scaler and unit"
    assert fault.offset == BEHIND_GOOD + 2 + 8


@pytest.mark.parametrize("behind", [structure(), structure(u16(1), u16(2)), u16(3)])
def test_a_number_followed_by_something_else_is_refused(behind: bytes) -> None:
    fault = refused(GOOD, nested(POWER, u32(5), behind))
    assert fault.reason == f"{POWER} is followed by no scaler and unit"
    assert fault.offset == BEHIND_GOOD + 2 + 8


def test_a_flat_number_without_scaler_and_unit_is_refused() -> None:
    fault = refused(GOOD, obis(POWER), u32(5), obis(ENERGY), u32(5), WATT_HOUR)
    assert fault.reason == f"{POWER} comes without scaler and unit"
    assert fault.offset == BEHIND_GOOD + 8


def test_an_unknown_unit_is_refused() -> None:
    for code in set(range(256)) - set(UNITS):
        fault = refused(GOOD, nested(UNKNOWN, u32(5), unit_code(0, code)))
        assert fault.reason == f"{UNKNOWN} has the unknown unit {code}"
        assert fault.offset == BEHIND_GOOD + 2 + 8 + 5


@pytest.mark.parametrize("expected_of", EXPECTED_UNITS, ids=str)
def test_every_other_unit_than_the_expected_is_refused(expected_of: Obis) -> None:
    expected = EXPECTED_UNITS[expected_of]
    for code, symbol in UNITS.items():
        body = structure(nested(str(expected_of), u32(5), unit_code(0, code)))
        if symbol == expected:
            assert walk(body) == {expected_of: Reading(5, symbol)}
        else:
            said, due = symbol or "no unit", expected or "no unit"
            reason = f"{expected_of} is in {said}, not in {due}"
            assert walk(body) == Fault(Layer.LAYOUT, reason, 2 + 2 + 8 + 5)


@pytest.mark.parametrize("scaler", [-128, -4, 4, 127])
def test_a_scaler_out_of_range_is_refused(scaler: int) -> None:
    fault = refused(GOOD, nested(POWER, u32(5), unit_code(scaler, 27)))
    assert fault.reason == f"{POWER} has the impossible scaler {scaler}"
    assert fault.offset == BEHIND_GOOD + 2 + 8 + 5


def test_the_same_object_twice_is_refused_at_the_second() -> None:
    fault = refused(GOOD, GOOD)
    assert (fault.reason, fault.offset) == (f"{EXPORT} comes twice", BEHIND_GOOD + 2 + 8)
    fault = refused(GOOD, obis(EXPORT), u32(0), WATT)
    assert (fault.reason, fault.offset) == (f"{EXPORT} comes twice", BEHIND_GOOD + 8)


def test_a_number_without_code_beside_one_with_code_is_refused() -> None:
    fault = refused(nested("0-0:96.1.0.255", NUMBER), NUMBER)
    assert fault.reason == "0-0:96.1.0.255 comes twice"


@pytest.mark.parametrize(
    "item",
    [
        u32(5),
        NULL,
        WATT,
        structure(),
        structure(u32(5)),
        structure(NULL),
        structure(u32(5), WATT),
        structure(octet_string(b"ABCDE"), u32(5), WATT),
        structure(octet_string(b"ABCDEFG"), u32(5), WATT),
        structure(b"\x0a\x06\x01\x00\x01\x07\x00\xff", u32(5), WATT),
        structure(WATT, obis(POWER), u32(5)),
    ],
    ids=bytes.hex,
)
def test_what_names_no_object_is_refused_wherever_it_stands(item: bytes) -> None:
    for items, place in (
        ((item, GOOD), 2),
        ((GOOD, item), BEHIND_GOOD),
        ((GOOD, item, nested(POWER, u32(0), WATT)), BEHIND_GOOD),
    ):
        assert refused(*items) == Fault(Layer.LAYOUT, "an element has no OBIS code", place)


def test_a_code_at_the_end_without_value_is_refused() -> None:
    assert refused(GOOD, obis(POWER)).offset == BEHIND_GOOD
    assert refused(obis(POWER)).offset == 2


def test_a_text_without_code_is_taken_at_the_end_only() -> None:
    assert read(GOOD, NUMBER)["0-0:96.1.0.255"] == Reading("178200000001")
    assert refused(GOOD, NUMBER, nested(POWER, u32(0), WATT)).offset == BEHIND_GOOD


def test_a_text_without_code_is_no_list_of_its_own() -> None:
    assert refused(octet_string(b"1KFM0200000001")).reason == "an element has no OBIS code"


def test_a_clock_without_code_is_taken_at_the_start_only() -> None:
    assert read(CLOCK_OCTETS, GOOD)[str(CLOCK)].value == MOMENT
    assert refused(GOOD, CLOCK_OCTETS, nested(POWER, u32(0), WATT)).offset == BEHIND_GOOD
    # At the end it can only be a meter number, and is no text.
    assert refused(GOOD, CLOCK_OCTETS).reason == f"{METER_NUMBER} is no readable text"


@pytest.mark.parametrize("size", [0, 6, 11, 13])
def test_a_first_string_without_code_that_is_no_clock_is_refused(size: int) -> None:
    assert refused(octet_string(b"1" * size), GOOD).layer is Layer.LAYOUT


@pytest.mark.parametrize(
    "value",
    [
        (structure(u32(5), u16(1)), WATT),
        (structure(), WATT),
        (octet_string(b"text"), WATT),
    ],
)
def test_an_object_of_unknown_shape_is_refused(value: tuple[bytes, ...]) -> None:
    fault = refused(GOOD, nested(UNKNOWN, *value))
    assert fault.reason.startswith(UNKNOWN)
    assert fault.offset == BEHIND_GOOD + 2 + 8


@pytest.mark.parametrize("surplus", [WATT, NULL])
def test_an_object_with_more_than_scaler_and_unit_is_refused(surplus: bytes) -> None:
    fault = refused(GOOD, nested(UNKNOWN, u32(5), WATT, surplus))
    assert fault.offset == BEHIND_GOOD


@pytest.mark.parametrize(
    "surplus", [(u16(3),), (u16(3), u16(5)), (octet_string(b"text"),), (WATT, u16(3)), (NULL,)]
)
def test_surplus_elements_behind_a_null_are_refused_and_never_skipped(
    surplus: tuple[bytes, ...],
) -> None:
    assert isinstance(walk(structure(GOOD, nested(POWER, NULL, *surplus))), Fault)


def test_an_object_that_is_null_once_and_a_number_once_comes_twice() -> None:
    found = walk(structure(nested(POWER, NULL), nested(POWER, u32(5), WATT)))
    assert isinstance(found, Fault)


def test_a_text_in_the_place_of_a_known_number_is_refused() -> None:
    for code in EXPECTED_UNITS:
        found = walk(structure(GOOD, nested(str(code), octet_string(b"text"))))
        assert isinstance(found, Fault), code


def test_a_number_in_the_place_of_the_clock_is_refused() -> None:
    found = walk(structure(GOOD, nested("0-0:1.0.0.255", u32(5), WATT)))
    assert isinstance(found, Fault)


@pytest.mark.parametrize("text", [b"\x00", b"1KFM\x7f", b"1KFM\n", b"1KFM\xe4", b"\xff" * 14])
def test_a_binary_text_is_refused(text: bytes) -> None:
    fault = refused(GOOD, nested("0-0:96.1.0.255", octet_string(text)))
    assert fault.reason == "0-0:96.1.0.255 is no readable text"
    assert fault.offset == BEHIND_GOOD + 2 + 8


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_clock_of_another_size_is_refused(size: int) -> None:
    fault = refused(GOOD, nested("0-0:1.0.0.255", octet_string(bytes(size))))
    assert fault.reason == "the clock is no octet-string of 12 bytes"
    assert fault.offset == BEHIND_GOOD + 2 + 8


def test_an_impossible_clock_is_told_with_its_place() -> None:
    octets = bytes.fromhex("07e80d01010c000000ff8880")
    found = walk(structure(GOOD, nested("0-0:1.0.0.255", octet_string(octets))))
    assert found == Fault(
        Layer.STRUCTURE,
        "a clock shows a date or time that does not exist",
        BEHIND_GOOD + 2 + 8 + 2,
    )


def test_a_clocks_impossible_deviation_is_told_with_its_place() -> None:
    octets = date_time(austrian(MOMENT).astimezone(UTC), summer=True)[:9] + b"\x7f\xff\x80"
    found = walk(structure(nested("0-0:1.0.0.255", octet_string(octets))))
    assert isinstance(found, Fault)
    assert found.offset == 2 + 2 + 8 + 2 + 9


# --- numbers that are none, local time and date ---------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("octets", ["177fc00000", "177f800000", "17ff800000", "187ff8000000000000"])
def test_a_float_that_is_no_number_is_refused_wherever_it_stands(octets: str, place: int) -> None:
    values = [u32(1), u32(2), u32(3)]
    values[place] = bytes.fromhex(octets)
    codes = [POWER, EXPORT, UNKNOWN]
    items = [nested(code, value, WATT) for code, value in zip(codes, values, strict=True)]
    fault = refused(*items)
    assert fault.reason == f"{codes[place]} is no number"
    assert fault.offset == 2 + place * (2 + 8 + 5 + 6) + 2 + 8


def test_a_number_that_its_scaler_makes_infinite_is_refused() -> None:
    highest = bytes.fromhex("187fefffffffffffff")
    assert refused(nested(POWER, highest, scaler_unit(3, Unit.W))).reason == f"{POWER} is no number"


def test_a_float_is_read() -> None:
    factor = nested(FACTOR, bytes.fromhex("173f000000"), unit_code(0, 255))
    assert read(factor) == {FACTOR: Reading(0.5)}


def test_a_negative_number_is_told_as_it_would_be_read() -> None:
    volts = nested(VOLTAGE, i16(-2300), scaler_unit(-1, Unit.V))
    assert refused(volts).reason == f"{VOLTAGE} is negative, -230.0"


def test_local_time_and_date_are_iso_texts() -> None:
    found = read(
        *(obis("1-0:0.9.1.255"), octet_string(bytes.fromhex("13010e00"))),
        *(obis("1-0:0.9.2.255"), octet_string(bytes.fromhex("07e5031904"))),
    )
    assert found == {"1-0:0.9.1.255": Reading("19:01:14"), "1-0:0.9.2.255": Reading("2021-03-25")}


@pytest.mark.parametrize("code", ["1-0:0.9.1.255", "1-0:0.9.2.255"])
@pytest.mark.parametrize("octets", ["", "07", "07e5", "07e503", "ffffffffff", "07e5022f04ffff"])
def test_a_local_time_or_date_that_does_not_exist_is_refused(code: str, octets: str) -> None:
    fault = refused(GOOD, nested(code, octet_string(bytes.fromhex(octets))))
    assert fault.reason == f"{code} shows a date or time that does not exist"
    assert fault.offset == BEHIND_GOOD + 2 + 8


def test_an_object_of_another_channel_is_held_to_the_same_unit() -> None:
    code = "1-1:1.8.0.255"
    assert read(nested(code, u32(5), WATT_HOUR)) == {code: Reading(5, "Wh")}
    assert refused(nested(code, u32(5), WATT)).reason == f"{code} is in W, not in Wh"
    assert refused(GOOD, nested(code, octet_string(b"5"))).reason == f"{code} is no number"


@pytest.mark.parametrize("code", ["0-0:1.0.0.255", "0-0:96.1.0.255", "0-0:42.0.0.255"])
def test_a_named_text_is_no_number(code: str) -> None:
    assert refused(GOOD, nested(code, u32(5))).reason == f"{code} is no text"
    assert refused(GOOD, nested(code, u32(5), WATT)).reason == f"{code} is no text"


def test_a_clock_may_come_as_date_time() -> None:
    octets = b"\x19" + CLOCK_OCTETS[2:]
    assert read(nested(str(CLOCK), octets)) == {str(CLOCK): Reading(MOMENT, None, 0x80)}
    assert refused(nested(UNKNOWN, octets)).reason == f"{UNKNOWN} is no number"


def test_a_clock_in_a_text_string_is_no_clock() -> None:
    fault = refused(nested(str(CLOCK), b"\x0a" + CLOCK_OCTETS[1:]))
    assert fault.offset == 2 + 2 + 8
    assert "12 bytes, not 12" not in fault.reason


def test_the_body_may_be_an_array_of_objects() -> None:
    assert walk(array(nested(POWER, u32(5), WATT), GOOD)) == {
        Obis.parse(POWER): Reading(5, "W"),
        Obis.parse(EXPORT): Reading(0, "W"),
    }


# --- push lists -----------------------------------------------------------------------------

SETUP = "0-8:25.9.0.255"


def pushed_object(code: str, attribute: int = 2, cosem_class: int = 3) -> bytes:
    return structure(u16(cosem_class), obis(code), i8(attribute), u16(0))


def push(*named_values: tuple[str, bytes]) -> bytes:
    """A push list: all names in an array, which is the first of the objects, then their values."""
    names = [pushed_object(SETUP, 2, 40), *(pushed_object(code) for code, _ in named_values)]
    return structure(array(*names), *(value for _, value in named_values))


def pushed(maker: bytes, *named_values: tuple[str, bytes]) -> dict[str, Reading]:
    found = walk(push(*named_values), maker)
    assert not isinstance(found, Fault), found
    return {str(code): reading for code, reading in found.items()}


def refused_push(body: bytes, maker: bytes = b"LGZ") -> Fault:
    found = walk(body, maker)
    assert isinstance(found, Fault), found
    assert found.layer is Layer.LAYOUT
    return found


def test_a_push_list_names_its_objects_first() -> None:
    found = pushed(
        b"LGZ",
        ("0-0:42.0.0.255", octet_string(b"LGZ1030700000001")),
        ("0-0:1.0.0.255", CLOCK_OCTETS),
        (POWER, i64(515)),
        (ENERGY, u64(2**40)),
    )
    assert list(found.items()) == [
        ("0-0:42.0.0.255", Reading("LGZ1030700000001")),
        ("0-0:1.0.0.255", Reading(MOMENT, None, 0x80)),
        (POWER, Reading(515, "W")),
        (ENERGY, Reading(2**40, "Wh")),
    ]


@pytest.mark.parametrize(
    ("maker", "volts", "amperes", "factor"),
    [(b"LGZ", 2303, 1.18, 0.819), (b"ISK", 230.3, 1.18, 0.819)],
)
def test_each_makers_push_list_has_scalers_of_its_own(
    maker: bytes, volts: float, amperes: float, factor: float
) -> None:
    found = pushed(maker, (VOLTAGE, u16(2303)), (CURRENT, i64(118)), (FACTOR, i16(819)))
    assert found == {
        VOLTAGE: Reading(volts, "V"),
        CURRENT: Reading(amperes, "A"),
        FACTOR: Reading(factor),
    }
    assert type(found[VOLTAGE].value) is type(volts)


def test_an_e570_push_list_is_read_to_its_last_value() -> None:
    # Names and types of a published one; both energies of 64 bits, under 1-1.
    found = pushed(
        b"LGZ",
        (POWER, i64(1)),
        ("1-0:3.7.0.255", i64(3)),
        ("1-1:1.8.0.255", u64(18)),
        ("1-1:2.8.0.255", u64(28)),
        ("1-1:5.8.0.255", u64(58)),
        ("1-1:8.8.0.255", u64(88)),
        (FACTOR, i16(-1000)),
    )
    assert list(found.values()) == [
        Reading(1, "W"), Reading(3, "var"), Reading(18, "Wh"), Reading(28, "Wh"),
        Reading(58, "varh"), Reading(88, "varh"), Reading(-1.0),
    ]  # fmt: skip


def test_what_stands_for_the_push_setup_itself_is_not_read() -> None:
    names = array(pushed_object(SETUP, 2, 40), pushed_object(SETUP, 1, 40), pushed_object(POWER))
    assert walk(structure(names, obis(SETUP), u32(5)), b"LGZ") == {
        Obis.parse(POWER): Reading(5, "W")
    }


def test_a_null_in_a_push_list_is_absent() -> None:
    assert pushed(b"LGZ", (POWER, NULL), (EXPORT, u32(0))) == {EXPORT: Reading(0, "W")}


def test_a_makers_scalers_that_are_not_known_are_not_guessed() -> None:
    fault = refused_push(push((POWER, u32(5))), b"XYZ")
    assert fault.reason == (
        f"{POWER} comes without scaler, and this maker's are not known: name a layout"
    )
    assert fault.offset == len(push((POWER, u32(5)))) - 5


def test_a_unit_that_is_not_known_is_not_guessed() -> None:
    fault = refused_push(push((EXPORT, u32(1)), (UNKNOWN, u32(5))))
    assert fault.reason == f"{UNKNOWN} comes without unit, and has none that is known"
    assert fault.offset == len(push((EXPORT, u32(1)), (UNKNOWN, u32(5)))) - 5


def test_another_attribute_than_the_value_is_refused() -> None:
    names = array(pushed_object(SETUP, 2, 40), pushed_object(POWER, 3))
    fault = refused_push(structure(names, u32(5)))
    assert fault.reason == f"attribute 3 of {POWER} is no value"
    assert fault.offset == 2 + len(names)


@pytest.mark.parametrize("values", [[], [u32(5), u32(5)], [structure(u32(5))], [array()]])
def test_a_push_list_needs_one_value_for_each_name(values: list[bytes]) -> None:
    names = array(pushed_object(SETUP, 2, 40), pushed_object(POWER))
    assert isinstance(walk(structure(names, *values), b"LGZ"), Fault)


def test_a_push_list_that_names_more_than_it_brings_is_told() -> None:
    names = array(pushed_object(SETUP, 2, 40), pushed_object(POWER), pushed_object(EXPORT))
    fault = refused_push(structure(names, u32(5)))
    assert fault == Fault(Layer.LAYOUT, "the push names 3 objects and brings 2 values", 0)


@pytest.mark.parametrize(
    "damaged",
    [
        structure(u16(3), obis(POWER), i8(2)),
        structure(u16(3), obis(POWER), u16(2), u16(0)),
        structure(u16(3), octet_string(bytes(5)), i8(2), u16(0)),
        obis(POWER),
        NULL,
    ],
)
def test_a_damaged_list_of_pushed_objects_is_refused(damaged: bytes) -> None:
    names = array(pushed_object(SETUP, 2, 40), damaged)
    fault = refused_push(structure(names, u32(5)))
    assert fault == Fault(Layer.LAYOUT, "the list of pushed objects is damaged", 2)


def test_an_empty_push_list_is_refused() -> None:
    assert refused_push(structure(array())).layer is Layer.LAYOUT
    assert refused_push(push()).reason == "the push lists no objects"


def test_an_object_pushed_twice_is_refused() -> None:
    assert refused_push(push((POWER, u32(5)), (POWER, u32(5)))).reason == f"{POWER} comes twice"


def test_a_text_in_the_place_of_a_number_is_refused_in_a_push_list() -> None:
    assert refused_push(push((POWER, octet_string(b"5")))).reason == f"{POWER} is no number"
    assert refused_push(push((str(CLOCK), u32(5)))).reason == f"{CLOCK} is no text"


def test_names_say_which_kind_of_list_it_is() -> None:
    for body, name in ((structure(GOOD), "named"), (push((POWER, u32(5))), "push list")):
        outline = axdr.outline(body, 0)
        assert not isinstance(outline, Fault)
        listing = named.listing(outline, b"LGZ" + bytes(5))
        assert not isinstance(listing, Fault)
        assert listing.name == name
        assert listing.unread == ()


@given(
    objects=st.lists(
        st.tuples(
            st.sampled_from([POWER, EXPORT, ENERGY, VOLTAGE, FACTOR, UNKNOWN, str(CLOCK), SETUP]),
            st.sampled_from([u32(5), i16(-5), NULL, CLOCK_OCTETS, NUMBER, structure(), WATT]),
            st.integers(0, 3),
            st.sampled_from([1, 3, 8, 40]),
        ),
        max_size=6,
    ),
    maker=st.sampled_from([b"LGZ", b"ISK", b"KFM"]),
)
def test_any_push_list_gives_what_it_names_or_a_fault_within_it(
    objects: list[tuple[str, bytes, int, int]], maker: bytes
) -> None:
    names = [pushed_object(code, attribute, kind) for code, _, attribute, kind in objects]
    body = structure(
        array(pushed_object(SETUP, 2, 40), *names), *(value for _, value, _, _ in objects)
    )
    found = walk(body, maker)
    if isinstance(found, Fault):
        assert 0 <= found.offset < len(body)
    else:
        assert list(map(str, found)) == [
            code for code, value, _, kind in objects if kind != 40 and value != NULL
        ]


# --- properties -----------------------------------------------------------------------------

shapes = st.recursive(
    st.one_of(
        st.sampled_from([NULL, NUMBER, CLOCK_OCTETS, WATT, WATT_HOUR, u32(5), u16(5)]),
        st.sampled_from([POWER, EXPORT, ENERGY, VOLTAGE, UNKNOWN, "0-0:1.0.0.255"]).map(obis),
        st.builds(unit_code, st.integers(-128, 127), st.integers(0, 255)),
        st.binary(max_size=14).map(octet_string),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: structure(*items)),
    max_leaves=12,
)


@given(items=st.lists(shapes, max_size=8), is_array=st.booleans())
def test_any_structure_gives_readings_or_a_fault_within_it(
    items: list[bytes], is_array: bool
) -> None:
    body = (array if is_array else structure)(*items)
    if isinstance(axdr.outline(body, 0), Fault):
        return
    found = walk(body)
    if isinstance(found, Fault):
        assert 0 <= found.offset < len(body)
    else:
        # What was not sent is absent: a code stands in the bytes, or its place names it.
        for code in found:
            assert bytes(code) in body or code in (CLOCK, METER_NUMBER)


@given(
    order=st.permutations([POWER, EXPORT, ENERGY, VOLTAGE]),
    is_flat=st.lists(st.booleans(), min_size=4),
)
def test_order_and_shape_make_no_difference_to_the_values(
    order: list[str], is_flat: list[bool]
) -> None:
    values = {
        POWER: (u32(1), WATT),
        EXPORT: (u32(2), WATT),
        ENERGY: (u32(3), WATT_HOUR),
        VOLTAGE: (u16(2300), scaler_unit(-1, Unit.V)),
    }
    items: list[bytes] = []
    for code, flat in zip(order, is_flat, strict=False):
        items += [obis(code), *values[code]] if flat else [nested(code, *values[code])]
    found = read(*items)
    assert list(found) == order
    assert {code: reading.value for code, reading in found.items()} == {
        POWER: 1,
        EXPORT: 2,
        ENERGY: 3,
        VOLTAGE: 230.0,
    }


def test_a_reading_of_summer_time_keeps_the_offset() -> None:
    (reading,) = read(nested("0-0:1.0.0.255", CLOCK_OCTETS)).values()
    assert isinstance(reading.value, datetime)
    assert reading.value.utcoffset() == timedelta(hours=2)
