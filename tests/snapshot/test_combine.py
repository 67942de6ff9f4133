"""Several meters as one: what adds adds exactly, what does not is missing, no part stands alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.snapshot import Origin, Snapshot
from gateway.snapshot.combine import Combination, combine, fallen
from gateway.snapshot.derive import PHASES
from gateway.snapshot.plausibility import ENERGIES
from gateway.snapshot.quantities import QUANTITIES
from gateway.snapshot.snapshot import Values, serial_of

SUM, DIFFERENCE = Combination.SUM, Combination.DIFFERENCE
BOTH = pytest.mark.parametrize("how", list(Combination))
POWERS = ("active_power_import_total", "active_power_export_total")

Numbers = dict[str, int | float]


def snapshot(
    measured: Numbers, received: float = 0.0, texts: dict[str, str] | None = None
) -> Snapshot:
    texts = texts or {}
    return Snapshot(Values(measured, texts), texts, received, measured)


def meter(
    watts: int, amperes: tuple[float, ...] = (1.0, 2.0, 3.0), received: float = 0.0, **more: float
) -> Snapshot:
    """What a meter says: net power, the currents of its phases at 230 V, and what comes besides."""
    measured: Numbers = dict(zip(POWERS, (max(watts, 0), max(-watts, 0)), strict=True))
    for phase, current in zip(PHASES, amperes, strict=False):
        measured |= {f"voltage_{phase}": 230.0, f"current_{phase}": current}
    return snapshot(measured | more, received)


watts = st.integers(-60_000, 60_000)
amperes = st.lists(st.integers(0, 8000).map(lambda n: n / 100), min_size=0, max_size=3).map(tuple)
energies = st.dictionaries(st.sampled_from(ENERGIES), st.integers(0, 2**40))
meters = st.builds(
    lambda watts, amperes, energies: meter(watts, amperes, **energies), watts, amperes, energies
)
PARTS = st.lists(meters, min_size=2, max_size=5)
HOW = st.sampled_from(Combination)


# --- power ----------------------------------------------------------------------------------


@given(how=HOW, parts=PARTS)
def test_the_phases_sum_to_the_total_to_the_watt(how: Combination, parts: list[Snapshot]) -> None:
    numbers = combine(how, parts).numbers
    phases = [numbers[name] for p in PHASES if (name := f"active_power_{p}") in numbers]
    assert phases
    assert sum(phases) == numbers["active_power_total"]
    drawn = sum(numbers.get(f"active_power_import_{p}", 0) for p in PHASES)
    fed = sum(numbers.get(f"active_power_export_{p}", 0) for p in PHASES)
    assert drawn - fed == numbers["active_power_total"]


@given(parts=PARTS)
def test_the_power_of_a_sum_is_the_sum_of_the_powers(parts: list[Snapshot]) -> None:
    numbers = combine(SUM, parts).numbers
    assert numbers["active_power_total"] == sum(p.numbers["active_power_total"] for p in parts)


@given(parts=PARTS)
def test_the_power_of_a_difference_is_the_first_less_the_others(parts: list[Snapshot]) -> None:
    first, *others = (part.numbers["active_power_total"] for part in parts)
    assert combine(DIFFERENCE, parts).numbers["active_power_total"] == first - sum(others)


@given(how=HOW, parts=PARTS)
def test_power_is_drawn_or_fed_in_never_both(how: Combination, parts: list[Snapshot]) -> None:
    numbers = combine(how, parts).numbers
    drawn, fed = (numbers[name] for name in POWERS)
    assert min(drawn, fed) == 0
    assert drawn - fed == numbers["active_power_total"]


def test_a_house_less_its_heat_pump_may_feed_in() -> None:
    numbers = combine(DIFFERENCE, [meter(500), meter(2_000)]).numbers
    assert numbers["active_power_total"] == -1_500
    assert numbers["active_power_export_total"] == 1_500


def test_reactive_power_adds_with_its_sign() -> None:
    one = meter(100, reactive_power_import_total=300, reactive_power_export_total=0)
    other = meter(100, reactive_power_import_total=0, reactive_power_export_total=500)
    assert combine(SUM, [one, other]).numbers["reactive_power_total"] == -200
    assert combine(SUM, [one, other]).numbers["reactive_power_export_total"] == 200
    assert combine(DIFFERENCE, [one, other]).numbers["reactive_power_total"] == 800


def test_a_meter_of_one_phase_adds_to_that_phase_alone() -> None:
    three, one = meter(3_000, (5.0, 5.0, 5.0)), meter(700, (4.0,))
    numbers = combine(SUM, [three, one]).numbers
    assert [numbers[f"active_power_{p}"] for p in PHASES] == [1_700, 1_000, 1_000]
    assert [numbers[f"current_{p}"] for p in PHASES] == [9.0, 5.0, 5.0]


# --- voltage, current and what follows from them --------------------------------------------


@BOTH
def test_voltages_are_those_of_the_first_meter_that_has_the_phase(how: Combination) -> None:
    flat = snapshot({"voltage_l1": 231.0})
    house = snapshot({"voltage_l1": 229.0, "voltage_l2": 228.0, "voltage_l3": 0.0})
    numbers = combine(how, [flat, house]).numbers
    assert [numbers[f"voltage_{p}"] for p in PHASES] == [231.0, 228.0, 0.0]
    assert combine(how, [house, flat]).numbers["voltage_l1"] == 229.0


@given(parts=PARTS)
def test_currents_add_only_while_all_flow_the_same_way(parts: list[Snapshot]) -> None:
    numbers = combine(SUM, parts).numbers
    powers = [part.numbers["active_power_total"] for part in parts]
    is_one_way = min(powers) >= 0 or max(powers) <= 0
    has_all = all("current_l1" in part.numbers for part in parts)
    assert ("current_l1" in numbers) is (is_one_way and has_all)
    for phase in PHASES:
        if (name := f"current_{phase}") in numbers:
            assert numbers[name] == sum(part.numbers.get(name, 0) for part in parts)
    assert ("apparent_power_total" in numbers) is (is_one_way and has_all)


@given(parts=PARTS)
def test_a_difference_has_no_currents_nor_what_follows_from_them(parts: list[Snapshot]) -> None:
    names = combine(DIFFERENCE, parts).numbers.keys()
    assert not [n for n in names if n.startswith(("current", "apparent", "power_factor"))]


def test_power_factors_are_those_of_the_sum() -> None:
    one, other = meter(1_150, (10.0, 0.0, 0.0)), meter(690, (0.0, 3.0, 0.0), power_factor_total=0.1)
    numbers = combine(SUM, [one, other]).numbers
    assert numbers["power_factor_l1"] == pytest.approx(0.5)
    assert numbers["power_factor_l2"] == pytest.approx(1.0)
    assert "power_factor_l3" not in numbers, "nothing flows"
    assert numbers["power_factor_total"] == pytest.approx(1_840 / 2_990)


# --- energy ---------------------------------------------------------------------------------


@given(parts=PARTS)
def test_energies_of_a_sum_add_where_all_meters_have_them(parts: list[Snapshot]) -> None:
    numbers = combine(SUM, parts).numbers
    for name in ENERGIES:
        if all(name in part.numbers for part in parts):
            assert numbers[name] == sum(part.numbers[name] for part in parts)
        else:
            assert name not in numbers


@given(parts=PARTS)
def test_a_difference_has_no_energies(parts: list[Snapshot]) -> None:
    assert not combine(DIFFERENCE, parts).numbers.keys() & set(ENERGIES)


@given(
    start=st.lists(st.integers(0, 2**40), min_size=2, max_size=4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10_000)), max_size=50),
)
def test_energies_never_run_backwards_in_whatever_order_telegrams_come(
    start: list[int], steps: list[tuple[int, int]]
) -> None:
    counts = list(start)
    before = combine(SUM, [meter(0, energy_active_import_total=wh) for wh in counts])
    for which, step in steps:
        counts[which % len(counts)] += step
        now = combine(SUM, [meter(0, energy_active_import_total=wh) for wh in counts])
        assert fallen(before, now) == []
        before = now


def test_energies_that_fall_are_named() -> None:
    one = meter(0, energy_active_import_total=5_000, energy_active_export_total=100)
    old = meter(0, energy_active_import_total=9_000, energy_active_export_total=100)
    new = meter(0, energy_active_import_total=7, energy_active_export_total=100)
    before, now = combine(SUM, [one, old]), combine(SUM, [one, new])
    assert fallen(before, now) == ["energy_active_import_total"]
    assert fallen(now, before) == []


# --- never a part alone ---------------------------------------------------------------------


@given(how=HOW, part=meters, others=st.lists(meters, min_size=1, max_size=3), place=st.integers())
def test_what_one_meter_does_not_tell_is_not_shown(
    how: Combination, part: Snapshot, others: list[Snapshot], place: int
) -> None:
    silent = snapshot({"meter_clock": 1_750_000_000})
    parts = [part, *others]
    parts.insert(place % (len(parts) + 1), silent)
    shown = combine(how, parts).numbers.keys()
    assert not [n for n in shown if not n.startswith("voltage") and n != "frequency"]


def test_one_meter_with_its_total_alone_hides_the_currents_of_all() -> None:
    numbers = combine(SUM, [meter(500), meter(300, ())]).numbers
    assert numbers["active_power_total"] == 800
    assert "current_l1" not in numbers
    assert "apparent_power_total" not in numbers


# --- age, origin, identity ------------------------------------------------------------------


@given(how=HOW, ages=st.lists(st.floats(0, 1e9), min_size=2, max_size=5))
def test_it_is_as_old_as_the_oldest(how: Combination, ages: list[float]) -> None:
    assert combine(how, [meter(1, received=at) for at in ages]).received == min(ages)


@BOTH
def test_the_clock_is_that_of_the_meter_that_is_behind(how: Combination) -> None:
    parts = [meter(1, meter_clock=1_750_000_005), meter(1, meter_clock=1_750_000_000)]
    assert combine(how, parts).numbers["meter_clock"] == 1_750_000_000


@given(how=HOW, parts=PARTS)
def test_all_is_marked_as_derived_and_stands_in_the_catalogue(
    how: Combination, parts: list[Snapshot]
) -> None:
    combined = combine(how, parts)
    assert combined.measured == {}
    assert combined.values.keys() <= QUANTITIES.keys()
    origins = {name: value.origin for name, value in combined.values.items()}
    assert origins.pop("frequency") is Origin.NOMINAL
    assert set(origins.values()) == {Origin.DERIVED}


@BOTH
def test_it_has_the_first_meters_serial_but_no_meter_number_of_its_own(how: Combination) -> None:
    first = snapshot({}, texts={"meter_number": "1KFM0200000017", "device_name": "AT003"})
    other = snapshot({}, texts={"title_number": "KFM99"})
    combined = combine(how, [first, other])
    assert combined.texts.keys().isdisjoint(("meter_number", "device_name"))
    assert serial_of(combined.texts) == "1KFM0200000017"
    assert combined.numbers["meter_serial"] == first.numbers["meter_serial"]
    assert serial_of(combine(how, [other, first]).texts) == "KFM99"


@given(parts=PARTS, other=meters)
def test_a_sum_is_a_meter_that_can_be_combined_again(
    parts: list[Snapshot], other: Snapshot
) -> None:
    numbers = combine(DIFFERENCE, [combine(SUM, parts), other]).numbers
    watts = sum(part.numbers["active_power_total"] for part in parts)
    assert numbers["active_power_total"] == watts - other.numbers["active_power_total"]
    phases = [numbers[name] for p in PHASES if (name := f"active_power_{p}") in numbers]
    assert sum(phases) == numbers["active_power_total"]
