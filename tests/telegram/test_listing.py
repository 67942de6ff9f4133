"""The readings of one telegram: a mapping in the meter's order, built as it is asked for."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from gateway.simulator.frames import (
    Unit,
    date_time,
    obis,
    octet_string,
    scaler_unit,
    structure,
    u16,
    u32,
)
from gateway.telegram import Fault, Obis, Reading, axdr, named
from gateway.telegram.listing import Entry, Listing
from gateway.telegram.obis import CLOCK, LOCAL_DATE, LOCAL_TIME, METER_NUMBER

MOMENT = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
UNSET = octet_string(b"\xff" * 8 + b"\x00\x80\x00\x00")
POWER, VOLTAGE, ENERGY = Obis(1, 0, 1, 7, 0), Obis(1, 0, 32, 7, 0), Obis(1, 0, 1, 8, 0)


def body(watts: int = 515, tenths: int = 2329, *, clock: bytes | None = None) -> bytes:
    """A clock between numbers, so that order shows."""
    shown = octet_string(date_time(MOMENT, summer=False)) if clock is None else clock
    return structure(
        structure(obis(str(POWER)), u32(watts), scaler_unit(0, Unit.W)),
        structure(obis(str(CLOCK)), shown),
        structure(obis(str(VOLTAGE)), u16(tenths), scaler_unit(-1, Unit.V)),
        structure(obis(str(METER_NUMBER)), octet_string(b"1782")),
    )


def listing_of(octets: bytes) -> Listing:
    outline = axdr.outline(octets, 0)
    assert isinstance(outline, axdr.Outline)
    listing = named.listing(outline, bytes(8))
    assert isinstance(listing, Listing)
    return listing


def read(octets: bytes, listing: Listing | None = None) -> Mapping[Obis, Reading]:
    readings = (listing or listing_of(octets)).read(octets)
    assert not isinstance(readings, Fault), readings
    return readings


def test_readings_stand_in_the_meters_order() -> None:
    assert list(read(body()).items()) == [
        (POWER, Reading(515, "W")),
        (CLOCK, Reading(MOMENT, None, 0)),
        (VOLTAGE, Reading(232.9, "V")),
        (METER_NUMBER, Reading("1782")),
    ]
    assert len(read(body())) == 4


def test_a_listing_reads_any_plaintext_of_the_same_layout() -> None:
    readings = read(body(1, 2300), listing_of(body()))
    assert readings[POWER] == Reading(1, "W")
    assert readings[VOLTAGE] == Reading(230.0, "V")


def test_what_was_not_sent_is_absent() -> None:
    readings = read(body(clock=UNSET))
    assert CLOCK not in readings
    assert readings.get(CLOCK) is None
    assert readings.get(ENERGY) is None
    assert ENERGY not in readings
    assert list(readings) == [POWER, VOLTAGE, METER_NUMBER]
    assert len(readings) == 3
    for missing in (CLOCK, ENERGY):
        with pytest.raises(KeyError):
            readings[missing]


def test_readings_are_equal_by_what_they_say() -> None:
    assert read(body()) == read(body()) == dict(read(body()))
    assert read(body()) != read(body(1))
    assert read(body()) != read(body(clock=UNSET))


def test_readings_show_what_they_say() -> None:
    shown = repr(read(body()))
    assert "515" in shown
    assert "232.9" in shown


def test_the_listed_clock_is_told_even_if_it_is_not_set() -> None:
    for clock, moment in ((None, MOMENT), (UNSET, None)):
        readings = listing_of(body()).read(body(clock=clock))
        assert not isinstance(readings, Fault)
        assert readings.clock == (moment, 0)


def test_readings_cannot_be_changed() -> None:
    readings = read(body())
    with pytest.raises(TypeError):
        readings[POWER] = Reading(0, "W")  # type: ignore[index]
    with pytest.raises(AttributeError):
        readings[POWER].value = 1  # type: ignore[misc]


def test_a_listing_refuses_a_plaintext_that_cannot_be() -> None:
    impossible = octet_string(bytes.fromhex("07e80d01010c000000ff8880"))
    fault = listing_of(body()).read(body(clock=impossible))
    assert isinstance(fault, Fault)
    assert fault.reason == "a clock shows a date or time that does not exist"
    assert body(clock=impossible)[fault.offset : fault.offset + 2].hex() == "07e8"


@pytest.mark.parametrize(
    ("code", "kind", "is_number", "changes", "content_start"),
    [
        (POWER, 0x0600, True, True, 11),
        (CLOCK, 0x090C, False, True, 12),
        (CLOCK, 0x1900, False, True, 11),
        (LOCAL_TIME, 0x0904, False, True, 12),
        (LOCAL_DATE, 0x0905, False, True, 12),
        (METER_NUMBER, 0x0904, False, False, 12),
        (METER_NUMBER, 0x0A04, False, False, 12),
    ],
)
def test_an_entry_tells_what_changes_from_what_names_the_meter(
    code: Obis, kind: int, is_number: bool, changes: bool, content_start: int
) -> None:
    entry = Entry(code, kind, 10, 30)
    assert entry.is_number is is_number
    assert entry.changes is changes
    assert entry.content_start == content_start
