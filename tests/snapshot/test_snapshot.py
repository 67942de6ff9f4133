"""Snapshot: what a telegram says, by name, each value with its origin."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.simulator.meters import Push
from gateway.snapshot import QUANTITIES, Origin, Snapshot
from gateway.snapshot.snapshot import measured_of, serial_of
from gateway.telegram import Obis, Telegram
from gateway.telegram.listing import Entry, Listing, Readings
from gateway.telegram.obis import EXPECTED_UNITS

Build = Callable[..., Telegram]
Pushed = Callable[[str], tuple[Push, Telegram]]

# The meters' data model (operators' descriptions of the customer interface).
DATA_MODEL = {
    "1-0:32.7.0.255": "voltage_l1",
    "1-0:52.7.0.255": "voltage_l2",
    "1-0:72.7.0.255": "voltage_l3",
    "1-0:31.7.0.255": "current_l1",
    "1-0:51.7.0.255": "current_l2",
    "1-0:71.7.0.255": "current_l3",
    "1-0:1.7.0.255": "active_power_import_total",
    "1-0:2.7.0.255": "active_power_export_total",
    "1-0:1.8.0.255": "energy_active_import_total",
    "1-0:2.8.0.255": "energy_active_export_total",
    "1-0:1.8.1.255": "energy_active_import_t1",
    "1-0:1.8.2.255": "energy_active_import_t2",
    "1-0:2.8.1.255": "energy_active_export_t1",
    "1-0:2.8.2.255": "energy_active_export_t2",
    "1-0:3.8.0.255": "energy_reactive_import_total",
    "1-0:4.8.0.255": "energy_reactive_export_total",
    "1-0:3.7.0.255": "reactive_power_import_total",
    "1-0:4.7.0.255": "reactive_power_export_total",
    "1-0:13.7.0.255": "power_factor_total",
}
# What some meters send too, and no quantity names: other tariffs, reactive energy by quadrant.
UNNAMED = {
    f"1-0:{c}.8.{e}.255" for c in range(1, 9) for e in range(5) if e or c > 4
} - DATA_MODEL.keys()
CLOCK = "0-0:1.0.0.255"
METER_NUMBER = "0-0:96.1.0.255"
DEVICE_NAME = "0-0:42.0.0.255"

MEASURED_ONE_PHASE = {
    "voltage_l1",
    "current_l1",
    "active_power_import_total",
    "active_power_export_total",
    "energy_active_import_total",
    "energy_active_export_total",
    "energy_reactive_import_total",
    "energy_reactive_export_total",
    "meter_clock",
}
DIRECTIONS = ("active_power_import", "active_power_export")
APPARENT_DIRECTIONS = ("apparent_power_import", "apparent_power_export")
DERIVED_ONE_PHASE = {
    "active_power_total",
    "active_power_l1",
    *(f"{stem}_l1" for stem in DIRECTIONS),
    *(f"{stem}_{of}" for stem in APPARENT_DIRECTIONS for of in ("total", "l1")),
    "apparent_power_total",
    "apparent_power_l1",
    "power_factor_total",
    "power_factor_l1",
    "current_total",
    "current_avg",
    "voltage_ln_avg",
    "meter_serial",
}
THREE_PHASE_TOO = {
    *(f"{stem}_{phase}" for stem in ("voltage", "current") for phase in ("l2", "l3")),
}
DERIVED_THREE_PHASE_TOO = {
    *(
        f"{stem}_{phase}"
        for stem in (
            "active_power",
            "apparent_power",
            "power_factor",
            *DIRECTIONS,
            *APPARENT_DIRECTIONS,
        )
        for phase in ("l2", "l3")
    ),
    "voltage_l12",
    "voltage_l23",
    "voltage_l31",
    "voltage_ll_avg",
}


def names(snapshot: Snapshot, origin: Origin) -> set[str]:
    return {name for name, value in snapshot.values.items() if value.origin is origin}


def test_the_table_of_this_test_is_the_whole_data_model() -> None:
    assert {str(code) for code in EXPECTED_UNITS} == set(DATA_MODEL) | UNNAMED


@pytest.mark.parametrize("code", sorted(UNNAMED))
def test_what_no_quantity_names_is_left_out(telegram: Build, code: str) -> None:
    snapshot = Snapshot.of(telegram({code: 42}))
    assert names(snapshot, Origin.MEASURED) == set()


@pytest.mark.parametrize(("code", "name"), DATA_MODEL.items())
def test_every_obis_code_becomes_its_quantity(telegram: Build, code: str, name: str) -> None:
    snapshot = Snapshot.of(telegram({code: 42}))
    assert snapshot.values[name] == (42, Origin.MEASURED)
    assert names(snapshot, Origin.MEASURED) == {name}


@pytest.mark.parametrize("model", ["kaifa-ma309m", "kaifa-ma110m", "honeywell"])
def test_what_a_meter_sends_is_what_the_snapshot_says(pushed: Pushed, model: str) -> None:
    push, telegram = pushed(model)
    snapshot = Snapshot.of(telegram)
    for code, name in DATA_MODEL.items():
        if code in push.readings:
            sent, unit = push.readings[code]
            assert snapshot.values[name] == (sent, Origin.MEASURED)
            assert type(snapshot.values[name].number) is type(sent)
            assert QUANTITIES[name].unit == unit
        elif name != "power_factor_total":
            assert name not in snapshot.values
    assert snapshot.values["meter_clock"] == (int(push.clock.timestamp()), Origin.MEASURED)
    assert snapshot.texts == {
        "meter_number": push.readings[METER_NUMBER][0],
        "device_name": push.readings[DEVICE_NAME][0],
    }


@pytest.mark.parametrize("counter", [0, 16_777_217, 2**53 + 1, 2**64 - 1])
def test_counters_keep_the_meters_integers(telegram: Build, counter: int) -> None:
    value = Snapshot.of(telegram({"1-0:1.8.0": counter})).values["energy_active_import_total"]
    assert type(value.number) is int
    assert value.number == counter


@pytest.mark.parametrize("model", ["kaifa-ma309m", "honeywell"])
def test_a_three_phase_meter_gives_all_that_is_measured_or_derived(
    pushed: Pushed, model: str
) -> None:
    snapshot = Snapshot.of(pushed(model)[1])
    assert names(snapshot, Origin.MEASURED) == MEASURED_ONE_PHASE | THREE_PHASE_TOO
    assert names(snapshot, Origin.DERIVED) == DERIVED_ONE_PHASE | DERIVED_THREE_PHASE_TOO
    assert names(snapshot, Origin.NOMINAL) == {"frequency"}


def test_a_one_phase_meter_has_no_other_phases_and_no_line_voltages(pushed: Pushed) -> None:
    snapshot = Snapshot.of(pushed("kaifa-ma110m")[1])
    assert names(snapshot, Origin.MEASURED) == MEASURED_ONE_PHASE
    assert names(snapshot, Origin.DERIVED) == DERIVED_ONE_PHASE
    assert names(snapshot, Origin.NOMINAL) == {"frequency"}


def test_a_telegram_of_energies_alone_gives_energies_alone(telegram: Build) -> None:
    energies = {"1-0:1.8.0": 11, "1-0:2.8.0": 22, "1-0:3.8.0": 33, "1-0:4.8.0": 44}
    snapshot = Snapshot.of(telegram({**energies, METER_NUMBER: "AT001"}))
    assert set(snapshot.values) == {
        "energy_active_import_total",
        "energy_active_export_total",
        "energy_reactive_import_total",
        "energy_reactive_export_total",
        "meter_serial",
        "frequency",
    }


def test_every_value_is_in_the_catalogue(pushed: Pushed) -> None:
    assert set(Snapshot.of(pushed("kaifa-ma309m")[1]).values) <= set(QUANTITIES)


@pytest.mark.parametrize(
    ("imported", "exported", "total"), [(230, 0, 230), (0, 5057, -5057), (7, 9, -2), (0, 0, 0)]
)
def test_signed_power_is_import_less_export(
    telegram: Build, imported: int, exported: int, total: int
) -> None:
    snapshot = Snapshot.of(telegram({"1-0:1.7.0": imported, "1-0:2.7.0": exported}))
    assert snapshot.values["active_power_total"] == (total, Origin.DERIVED)


def test_frequency_is_nominal_and_says_so(telegram: Build) -> None:
    assert Snapshot.of(telegram({})).values["frequency"] == (50.0, Origin.NOMINAL)


def test_a_power_factor_that_is_sent_stands_before_the_derived_one(telegram: Build) -> None:
    sent = {"1-0:1.7.0": 115, "1-0:2.7.0": 0, "1-0:32.7.0": 230.0, "1-0:31.7.0": 1.0}
    derived = Snapshot.of(telegram(sent)).values["power_factor_total"]
    assert derived == (pytest.approx(0.5), Origin.DERIVED)
    measured = Snapshot.of(telegram({**sent, "1-0:13.7.0": 0.51})).values["power_factor_total"]
    assert measured == (0.51, Origin.MEASURED)


@pytest.mark.parametrize(
    ("number", "serial"),
    [
        ("1KFM0215916069", 215_916_069),
        ("AT0020000000000000000000100012345", 100_012_345),
        ("007", 7),
        ("1-2-3", 123),
        ("999999999999", 999_999_999),
    ],
)
def test_serial_is_the_last_nine_digits_of_the_meter_number(
    telegram: Build, number: str, serial: int
) -> None:
    snapshot = Snapshot.of(telegram({METER_NUMBER: number}))
    assert snapshot.values["meter_serial"] == (serial, Origin.DERIVED)
    assert snapshot.texts == {"meter_number": number}


def test_without_digits_in_the_meter_number_there_is_no_serial(telegram: Build) -> None:
    assert "meter_serial" not in Snapshot.of(telegram({METER_NUMBER: "KFM"})).values


@pytest.mark.parametrize("readings", [{}, {DEVICE_NAME: "KFM12"}])
def test_a_meter_that_sends_no_number_is_told_by_its_system_title(
    telegram: Build, readings: dict[str, str]
) -> None:
    built = telegram(readings)
    snapshot = Snapshot.of(built)
    number = int.from_bytes(built.meter[3:], "big")
    assert serial_of(snapshot.texts) == f"{built.meter[:3].decode()}{number}"
    assert snapshot.values["meter_serial"].number == number % 10**9


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        (datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC), 1_719_828_000),
        (datetime(2024, 7, 1, 12, 0, 0, tzinfo=timezone(timedelta(hours=2))), 1_719_828_000),
        (datetime(2024, 7, 1, 10, 0, 0, 990_000, tzinfo=UTC), 1_719_828_000),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
    ],
)
def test_clock_is_unix_time_in_whole_seconds(
    telegram: Build, clock: datetime, seconds: int
) -> None:
    value = Snapshot.of(telegram({CLOCK: clock})).values["meter_clock"]
    assert value == (seconds, Origin.MEASURED)
    assert type(value.number) is int


def test_a_clock_of_unknown_deviation_names_no_moment(telegram: Build) -> None:
    naive = datetime(2024, 7, 1, 10, 0, 0)
    assert "meter_clock" not in Snapshot.of(telegram({CLOCK: naive})).values


def test_a_text_in_place_of_a_number_is_no_value(telegram: Build) -> None:
    assert "voltage_l1" not in Snapshot.of(telegram({"1-0:32.7.0": "230"})).values


def test_texts_that_are_not_sent_are_absent(telegram: Build) -> None:
    assert "device_name" not in Snapshot.of(telegram({})).texts
    assert "meter_number" not in Snapshot.of(telegram({DEVICE_NAME: "KFM1"})).texts


def test_an_object_outside_the_data_model_changes_nothing(telegram: Build) -> None:
    known = Snapshot.of(telegram({"1-0:1.8.0": 5}))
    assert Snapshot.of(telegram({"1-0:1.8.0": 5, "1-0:14.7.0": 49.9})) == known


def test_snapshot_knows_when_its_telegram_came(telegram: Build, pushed: Pushed) -> None:
    assert Snapshot.of(telegram({}, received=98.75)).received == 98.75
    assert Snapshot.of(pushed("kaifa-ma309m")[1]).received == 12.5


def test_a_snapshot_cannot_be_changed(telegram: Build) -> None:
    snapshot = Snapshot.of(telegram({"1-0:1.8.0": 5}))
    with pytest.raises(TypeError):
        snapshot.values["frequency"] = snapshot.values["energy_active_import_total"]
    with pytest.raises(TypeError):
        snapshot.texts["meter_number"] = "1"
    with pytest.raises(AttributeError):
        snapshot.received = 0.0


def test_of_two_channels_the_exact_name_wins_and_is_scaled_once() -> None:
    volts = [
        Entry(Obis(1, 1, 32, 7, 0), 0x1200, 0, 3, -1, "V"),
        Entry(Obis(1, 0, 32, 7, 0), 0x1200, 3, 6, -1, "V"),
    ]
    for entries, raw in ((volts, [2300, 2310]), (volts[::-1], [2310, 2300])):
        readings = Readings(Listing("both", entries), raw, {}, None)
        assert measured_of(readings) == {"voltage_l1": 231.0}
