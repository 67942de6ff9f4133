"""The house: physics that a reader may rely on."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator import House, HouseState
from gateway.simulator.local_time import austrian

SPRING = datetime(2024, 4, 10, 0, 0, tzinfo=UTC)

seeds = st.integers(0, 2**32 - 1)
phase_counts = st.sampled_from([1, 3])
# Midnight UTC of any day of some years.
days = st.integers(0, 5 * 365).map(lambda n: datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=n))


def one_day(phases: int, seed: int, start: datetime, *, step_s: float = 300) -> list[HouseState]:
    house = House(phases, seed, start)
    return [house.advance(step_s) for _ in range(round(86400 / step_s))]


def between(states: list[HouseState], first_hour: float, last_hour: float) -> list[HouseState]:
    """Return the states between two hours of Austrian local time."""
    return [
        state
        for state in states
        if first_hour <= (local := austrian(state.moment)).hour + local.minute / 60 < last_hour
    ]


@settings(deadline=None, max_examples=40)
@given(phases=phase_counts, seed=seeds, start=days)
def test_house_exports_at_noon_and_imports_at_night(
    phases: int, seed: int, start: datetime
) -> None:
    states = one_day(phases, seed, start)
    noon = between(states, 11, 14)
    exported = noon[-1].energy_active_export_wh - noon[0].energy_active_export_wh
    imported = noon[-1].energy_active_import_wh - noon[0].energy_active_import_wh
    assert exported > imported
    for first_hour, last_hour in ((0, 6), (20.5, 24)):
        for state in between(states, first_hour, last_hour):
            assert state.active_power_import_w > 0
            assert state.active_power_export_w == 0


@settings(deadline=None, max_examples=20)
@given(
    phases=phase_counts,
    seed=seeds,
    start=days,
    steps_s=st.lists(st.floats(0, 4000), min_size=1, max_size=40),
)
def test_energy_never_runs_backwards(
    phases: int, seed: int, start: datetime, steps_s: list[float]
) -> None:
    house = House(phases, seed, start)
    before = house.advance(0)
    for step_s in steps_s:
        after = house.advance(step_s)
        assert after.energy_active_import_wh >= before.energy_active_import_wh
        assert after.energy_active_export_wh >= before.energy_active_export_wh
        assert after.energy_reactive_import_varh >= before.energy_reactive_import_varh
        assert after.energy_reactive_export_varh >= before.energy_reactive_export_varh
        before = after


def test_energy_is_the_integral_of_power() -> None:
    house = House(3, 5, SPRING)
    first = state = house.advance(0)
    imported_ws = exported_ws = 0.0
    for _ in range(6 * 720):
        # What is shown holds until the next state.
        imported_ws += state.active_power_import_w * 5
        exported_ws += state.active_power_export_w * 5
        state = house.advance(5)
    imported_wh = state.energy_active_import_wh - first.energy_active_import_wh
    exported_wh = state.energy_active_export_wh - first.energy_active_export_wh
    assert imported_wh == pytest.approx(imported_ws / 3600, abs=4)
    assert exported_wh == pytest.approx(exported_ws / 3600, abs=4)


def test_a_small_power_is_counted_even_in_small_steps() -> None:
    house = House(1, 5, SPRING)
    first = house.advance(0)
    for _ in range(36000):
        state = house.advance(0.1)
    # An hour of base load alone; a tenth of a second of it is a few thousandths of a Wh.
    assert state.energy_active_import_wh - first.energy_active_import_wh > 60


@settings(deadline=None, max_examples=30)
@given(phases=phase_counts, seed=seeds, start=days)
def test_powers_balance_over_the_phases(phases: int, seed: int, start: datetime) -> None:
    for state in one_day(phases, seed, start, step_s=900):
        assert len(state.phases) == phases
        total_w = sum(phase.active_power_w for phase in state.phases)
        assert state.active_power_import_w - state.active_power_export_w == round(total_w)
        assert min(state.active_power_import_w, state.active_power_export_w) == 0


@settings(deadline=None, max_examples=30)
@given(phases=phase_counts, seed=seeds, start=days)
def test_active_power_never_exceeds_volts_times_amperes(
    phases: int, seed: int, start: datetime
) -> None:
    for state in one_day(phases, seed, start, step_s=900):
        apparent_va = sum(phase.voltage_v * phase.current_a for phase in state.phases)
        rounding_va = sum(phase.voltage_v * 0.0051 for phase in state.phases) + 0.5
        assert abs(state.active_power_import_w - state.active_power_export_w) <= (
            apparent_va + rounding_va
        )
        for phase in state.phases:
            apparent_va = math.hypot(phase.active_power_w, phase.reactive_power_var)
            assert phase.voltage_v * phase.current_a == pytest.approx(apparent_va, abs=1.3)


@settings(deadline=None, max_examples=30)
@given(phases=phase_counts, seed=seeds, start=days)
def test_voltage_and_current_have_the_meters_resolution(
    phases: int, seed: int, start: datetime
) -> None:
    for state in one_day(phases, seed, start, step_s=900):
        for phase in state.phases:
            assert 219 <= phase.voltage_v <= 241
            assert 0 <= phase.current_a <= 40
            assert phase.voltage_v == round(phase.voltage_v * 10) / 10
            assert phase.current_a == round(phase.current_a * 100) / 100


def test_three_phases_are_unequal() -> None:
    for state in one_day(3, 11, SPRING):
        assert len({phase.active_power_w for phase in state.phases}) == 3
        assert len({phase.voltage_v for phase in state.phases}) > 1


def test_reactive_energy_flows_both_ways() -> None:
    states = one_day(3, 3, SPRING)
    first, last = states[0], states[-1]
    assert last.energy_reactive_import_varh > first.energy_reactive_import_varh
    assert last.energy_reactive_export_varh > first.energy_reactive_export_varh


@settings(deadline=None, max_examples=20)
@given(phases=phase_counts, seed=seeds, start=days)
def test_reactive_power_balances_over_the_phases(phases: int, seed: int, start: datetime) -> None:
    for state in one_day(phases, seed, start, step_s=900):
        total_var = sum(phase.reactive_power_var for phase in state.phases)
        assert state.reactive_power_import_var - state.reactive_power_export_var == round(total_var)
        assert min(state.reactive_power_import_var, state.reactive_power_export_var) == 0


def test_reactive_energy_is_the_integral_of_reactive_power() -> None:
    house = House(3, 5, SPRING)
    first = state = house.advance(0)
    imported_vars = exported_vars = 0.0
    for _ in range(6 * 720):
        imported_vars += state.reactive_power_import_var * 5
        exported_vars += state.reactive_power_export_var * 5
        state = house.advance(5)
    imported_varh = state.energy_reactive_import_varh - first.energy_reactive_import_varh
    exported_varh = state.energy_reactive_export_varh - first.energy_reactive_export_varh
    assert imported_varh == pytest.approx(imported_vars / 3600, abs=4)
    assert exported_varh == pytest.approx(exported_vars / 3600, abs=4)


@settings(deadline=None, max_examples=20)
@given(phases=phase_counts, seed=seeds, start=days)
def test_quadrants_sum_to_what_goes_in_and_out_and_one_runs_at_a_time(
    phases: int, seed: int, start: datetime
) -> None:
    house = House(phases, seed, start)
    before = house.advance(0)
    for _ in range(48):
        after = house.advance(30)
        first, second, third, fourth = after.energy_reactive_quadrants_varh
        assert 0 <= after.energy_reactive_import_varh - (first + second) <= 1
        assert 0 <= after.energy_reactive_export_varh - (third + fourth) <= 1
        imports = before.active_power_export_w == 0
        running = (0, 3) if imports else (1, 2)
        for quadrant, (old, new) in enumerate(
            zip(
                before.energy_reactive_quadrants_varh,
                after.energy_reactive_quadrants_varh,
                strict=True,
            )
        ):
            assert old <= new
            assert quadrant in running or old == new
        before = after


@settings(deadline=None, max_examples=20)
@given(phases=phase_counts, seed=seeds, start=days)
def test_power_factor_is_the_share_of_active_in_apparent_power(
    phases: int, seed: int, start: datetime
) -> None:
    for state in one_day(phases, seed, start, step_s=900):
        active_w = state.active_power_import_w + state.active_power_export_w
        reactive_var = state.reactive_power_import_var + state.reactive_power_export_var
        apparent_va = math.hypot(active_w, reactive_var)
        assert 0 <= state.power_factor <= 1
        assert state.power_factor * apparent_va == pytest.approx(active_w)


def test_where_nothing_flows_the_power_factor_is_one() -> None:
    nothing = replace(
        House(1, 0, SPRING).advance(0),
        active_power_import_w=0,
        active_power_export_w=0,
        reactive_power_import_var=0,
        reactive_power_export_var=0,
    )
    assert nothing.power_factor == 1


def test_one_long_advance_counts_like_a_day_in_small_steps() -> None:
    start = datetime(2024, 7, 1, tzinfo=UTC)
    exported_wh = []
    for step_s in (60.0, 86400.0):
        house = House(3, 1, start)
        first = state = house.advance(0)
        for _ in range(round(86400 / step_s)):
            state = house.advance(step_s)
        exported_wh.append(state.energy_active_export_wh - first.energy_active_export_wh)
    assert exported_wh[0] == exported_wh[1]
    assert 10_000 < exported_wh[0] < 60_000


def test_same_seed_same_states() -> None:
    assert one_day(3, 42, SPRING) == one_day(3, 42, SPRING)
    assert one_day(3, 42, SPRING) != one_day(3, 43, SPRING)


def test_time_moves_exactly_by_what_is_asked() -> None:
    house = House(1, 0, SPRING)
    house.advance(0.25)
    assert house.advance(3599.75).moment == SPRING + timedelta(hours=1)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_time_never_runs_backwards(seconds: float) -> None:
    with pytest.raises(ValueError, match="time does not move"):
        House(1, 0, SPRING).advance(seconds)


def test_a_house_with_two_phases_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or 3 phases, not 2"):
        House(2, 0, SPRING)


def test_a_start_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        House(1, 0, SPRING.replace(tzinfo=None))
