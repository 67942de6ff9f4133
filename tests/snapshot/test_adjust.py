"""What the user corrects: what follows from it, and what stays as the meter says."""

from collections.abc import Callable, Mapping
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.snapshot import QUANTITIES, Adjustment, Origin, Snapshot
from gateway.snapshot.adjust import ADJUSTABLE, NETS, Linear
from gateway.telegram import Telegram

Build = Callable[..., Telegram]

READINGS = {
    "0-0:96.1.0": "1KFM0215916069",
    "1-0:32.7.0": 231.0,
    "1-0:52.7.0": 232.0,
    "1-0:72.7.0": 233.0,
    "1-0:31.7.0": 1.0,
    "1-0:51.7.0": 2.0,
    "1-0:71.7.0": 3.0,
    "1-0:1.7.0": 1_300,
    "1-0:2.7.0": 0,
    "1-0:3.7.0": 100,
    "1-0:4.7.0": 40,
    "1-0:1.8.0": 12_345_678,
    "1-0:2.8.0": 2_345_678,
    "1-0:3.8.0": 345_678,
    "1-0:13.7.0": 0.98,
}
PHASES = ("l1", "l2", "l3")


@pytest.fixture(scope="module")
def seen(telegram: Build) -> Callable[..., Snapshot]:
    """Build a snapshot of READINGS with some others; None leaves one out."""

    def build(others: Mapping[str, object] = READINGS) -> Snapshot:
        readings = {**READINGS, **others}
        return Snapshot.of(
            telegram({code: n for code, n in readings.items() if n is not None}, 7.0)
        )

    return build


def numbers(snapshot: Snapshot, *names: str) -> list[int | float | None]:
    return [snapshot.values[name].number if name in snapshot.values else None for name in names]


def powers(snapshot: Snapshot) -> list[int | float | None]:
    return numbers(snapshot, "active_power_total", *(f"active_power_{p}" for p in PHASES))


def linear(**values: Linear) -> Adjustment:
    return Adjustment(linear=values)


# --- nothing, phases, frequency -------------------------------------------------------------


def test_an_adjustment_of_nothing_leaves_a_snapshot_as_it_was(
    seen: Callable[..., Snapshot],
) -> None:
    before = seen()
    after = Adjustment().of(before)
    assert dict(after.values) == dict(before.values)
    assert (after.texts, after.received) == (before.texts, before.received)
    assert after.measured == before.measured


def test_the_snapshot_of_the_meter_is_not_changed(seen: Callable[..., Snapshot]) -> None:
    before = seen()
    values, measured = dict(before.values), dict(before.measured)
    Adjustment(
        ("l3", "l1", "l2"), 60.0, {"active_power_total": Linear(2, 5), "voltage_l1": Linear(2)}
    ).of(before)
    assert (dict(before.values), dict(before.measured)) == (values, measured)


@pytest.mark.parametrize("order", list(permutations(PHASES)), ids="".join)
def test_each_phase_shows_the_meters_phase_that_stands_for_it(
    seen: Callable[..., Snapshot], order: tuple[str, ...]
) -> None:
    before = seen()
    after = Adjustment(phases=order).of(before)
    for shown, meant in zip(PHASES, order, strict=True):
        for stem in ("voltage", "current", "apparent_power", "power_factor"):
            assert numbers(after, f"{stem}_{shown}") == numbers(before, f"{stem}_{meant}")
        (watts,), (others,) = (
            numbers(after, f"active_power_{shown}"),
            numbers(before, f"active_power_{meant}"),
        )
        # Of two equal remainders the first phase has the odd watt.
        assert abs(watts - others) <= 1
    assert sum(powers(after)[1:]) == powers(after)[0] == powers(before)[0]
    totals = [name for name in before.values if "_l" not in name]
    assert numbers(after, *totals) == pytest.approx(numbers(before, *totals))


def test_a_meter_of_one_phase_may_stand_on_another(seen: Callable[..., Snapshot]) -> None:
    codes = ("1-0:52.7.0", "1-0:72.7.0", "1-0:51.7.0", "1-0:71.7.0")
    after = Adjustment(phases=("l2", "l3", "l1")).of(seen(dict.fromkeys(codes)))
    assert numbers(after, "voltage_l1", "voltage_l2", "voltage_l3") == [None, None, 231.0]
    assert powers(after) == [1300, None, None, 1300]


def test_the_nominal_frequency_is_the_users_and_still_nominal(
    seen: Callable[..., Snapshot],
) -> None:
    after = Adjustment(frequency_hz=60.0).of(seen())
    assert after.values["frequency"] == (60.0, Origin.NOMINAL)


def test_texts_serial_and_time_stay(seen: Callable[..., Snapshot]) -> None:
    after = Adjustment(("l2", "l3", "l1"), 60.0, {"voltage_l1": Linear(2)}).of(seen())
    assert after.texts == {"meter_number": "1KFM0215916069"}
    assert after.values["meter_serial"] == (215_916_069, Origin.DERIVED)
    assert after.received == 7.0


# --- factor and offset ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "number", "adjusted"),
    [
        (Linear(), 7, 7),
        (Linear(offset=50), 7, 57),
        (Linear(factor=2), 7, 14),
        (Linear(1.5, -1), 7, 10),  # 9.5, half to even
        (Linear(1.5, -1), 7.0, 9.5),
        (Linear(offset=0.4), 7, 7),
        (Linear(1.02), 230.5, 235.11),
        (Linear(), 2**60 + 1, 2**60 + 1),
        (Linear(3), 2**60 + 1, 3 * 2**60 + 3),
    ],
)
def test_linear_is_factor_times_number_plus_offset_and_whole_numbers_stay_whole(
    how: Linear, number: float, adjusted: float
) -> None:
    assert how.of(number) == pytest.approx(adjusted, rel=1e-12)
    assert type(how.of(number)) is type(number)


@pytest.mark.parametrize(
    ("sent", "how", "net"),
    [
        ((1300, 0), Linear(offset=50), 1350),
        ((1300, 0), Linear(offset=-1350), -50),
        ((0, 1300), Linear(offset=50), -1250),
        ((0, 30), Linear(offset=50), 20),
        ((1300, 0), Linear(1.1), 1430),
        ((0, 1300), Linear(1.1), -1430),
        ((1300, 0), Linear(0.5, 0.2), 650),
        ((30, 10), Linear(2), 40),
        ((0, 0), Linear(2, 7), 7),
    ],
)
def test_a_net_power_is_adjusted_as_a_whole_and_drawn_and_fed_in_follow(
    seen: Callable[..., Snapshot], sent: tuple[int, int], how: Linear, net: int
) -> None:
    before = seen({"1-0:1.7.0": sent[0], "1-0:2.7.0": sent[1]})
    after = linear(active_power_total=how).of(before)
    assert powers(after)[0] == net
    names = ("active_power_import_total", "active_power_export_total")
    assert numbers(after, *names) == [max(net, 0), max(-net, 0)]
    assert sum(powers(after)[1:]) == net
    directions = [f"active_power_{way}_{p}" for way in ("import", "export") for p in PHASES]
    assert sum(numbers(after, *directions)) == abs(net)
    assert all(type(each) is int for each in (*powers(after), *numbers(after, *names)))


@given(
    drawn=st.integers(0, 50_000),
    fed=st.integers(0, 50_000),
    factor=st.floats(0.001, 1000),
    offset=st.one_of(st.integers(-50_000, 50_000), st.floats(-1e5, 1e5)),
    order=st.permutations(PHASES),
)
def test_whatever_is_adjusted_the_phases_sum_to_the_total(
    seen: Callable[..., Snapshot],
    drawn: int,
    fed: int,
    factor: float,
    offset: float,
    order: list[str],
) -> None:
    how = Adjustment(tuple(order), 50.0, {"active_power_total": Linear(factor, offset)})
    after = how.of(seen({"1-0:1.7.0": drawn, "1-0:2.7.0": fed}))
    total, *parts = powers(after)
    assert sum(parts) == total == round(factor * (drawn - fed) + offset)
    assert all(type(part) is int for part in parts)


def test_reactive_power_is_adjusted_alike(seen: Callable[..., Snapshot]) -> None:
    after = linear(reactive_power_total=Linear(offset=-100)).of(seen())
    names = ("reactive_power_total", "reactive_power_import_total", "reactive_power_export_total")
    assert numbers(after, *names) == [-40, 0, 40]
    assert powers(after)[0] == 1300


def test_energies_are_adjusted_alone_and_stay_whole(seen: Callable[..., Snapshot]) -> None:
    after = linear(
        energy_active_import_total=Linear(1.5, 1000), energy_reactive_import_total=Linear(offset=-1)
    ).of(seen())
    names = ("energy_active_import_total", "energy_active_export_total")
    assert numbers(after, *names, "energy_reactive_import_total") == [
        18_519_517,
        2_345_678,
        345_677,
    ]
    assert type(after.values["energy_active_import_total"].number) is int
    assert powers(after)[0] == 1300


def test_what_is_derived_follows_from_what_is_adjusted(seen: Callable[..., Snapshot]) -> None:
    after = linear(current_l1=Linear(10), voltage_l1=Linear(offset=-1)).of(seen())
    assert numbers(after, "voltage_l1", "current_l1") == [230.0, 10.0]
    assert numbers(after, "apparent_power_l1", "current_total") == [2300.0, 15.0]
    total, first, *_ = powers(after)
    assert total == 1300
    assert first == pytest.approx(1300 * 2300 / (2300 + 232 * 2 + 233 * 3), abs=1)


def test_the_phase_that_is_adjusted_is_the_one_that_is_shown(seen: Callable[..., Snapshot]) -> None:
    how = Adjustment(("l2", "l3", "l1"), linear={"voltage_l1": Linear(offset=1)})
    assert numbers(how.of(seen()), "voltage_l1", "voltage_l2", "voltage_l3") == [233, 233, 231]


def test_what_the_meter_does_not_send_stays_missing(seen: Callable[..., Snapshot]) -> None:
    lost = {"1-0:2.7.0": None, "1-0:32.7.0": None, "1-0:2.8.0": None}
    after = linear(
        active_power_total=Linear(offset=50),
        voltage_l1=Linear(2),
        energy_active_export_total=Linear(2),
    ).of(seen(lost))
    missing = (
        *("active_power_total", "active_power_export_total", "voltage_l1"),
        *("energy_active_export_total", "active_power_l1"),
    )
    assert numbers(after, *missing) == [None] * len(missing)
    assert numbers(after, "active_power_import_total") == [1300]  # half a net is none


def test_adjusted_values_still_say_where_they_come_from(seen: Callable[..., Snapshot]) -> None:
    after = linear(voltage_l1=Linear(2), active_power_total=Linear(2)).of(seen())
    assert after.values["voltage_l1"].origin is Origin.MEASURED
    assert after.values["active_power_total"].origin is Origin.DERIVED
    assert after.measured["voltage_l1"] == 462.0


# --- what can be adjusted -------------------------------------------------------------------


def test_net_powers_voltages_currents_and_energies_can_be_adjusted() -> None:
    assert {"active_power_total", "reactive_power_total", "voltage_l1", "current_l3"} < {
        *ADJUSTABLE
    }
    assert {"energy_active_import_total", "energy_active_import_t1"} < {*ADJUSTABLE}
    for name in ("active_power_import_total", "active_power_l1", "frequency", "meter_clock"):
        assert name not in ADJUSTABLE
    assert len(set(ADJUSTABLE)) == len(ADJUSTABLE)


@pytest.mark.parametrize("name", ADJUSTABLE)
def test_everything_adjustable_shows_its_adjustment(
    seen: Callable[..., Snapshot], name: str
) -> None:
    assert name in QUANTITIES
    code = QUANTITIES[name].obis
    before = seen({str(code).removesuffix(".255"): 500} if code else {})
    if name in NETS:
        assert set(NETS[name]) <= set(before.measured)
    (number,) = numbers(before, name)
    after = Adjustment(linear={name: Linear(2, 3)}).of(before)
    assert numbers(after, name) == [2 * number + 3]
