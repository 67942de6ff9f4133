"""Each check of plausibility: what passes, what does not and why, and what is not there."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.snapshot.plausibility import (
    ENERGIES,
    Numbers,
    Seen,
    apparent,
    clock_goes_on,
    counter_rises,
    directions,
    elapsed,
    energies_rise,
    net,
    power_fits_currents,
    ranges,
    same_meter,
    steps_agree,
)

TITLE = bytes.fromhex("4b464d1020000001")
OTHER = bytes.fromhex("4b464d1020000002")
NOON = datetime(2026, 6, 21, 12, 0, tzinfo=UTC)
CONNECTION_A = 63.0
DRAWN, FED = "active_power_import_total", "active_power_export_total"
PHASES = ("l1", "l2", "l3")


def seen(
    numbers: Numbers | None = None,
    *,
    meter: bytes = TITLE,
    counter: int = 7,
    clock: datetime | None = None,
    received: float | None = None,
    **texts: str,
) -> Seen:
    return Seen(meter, counter, numbers or {}, clock, received, texts)


def house(*watts: float, volts: float = 230.0) -> dict[str, int | float]:
    """A house of that many phases, each with a load (or, below 0, a generator) without var."""
    total = round(sum(watts))
    numbers: dict[str, int | float] = {DRAWN: max(total, 0), FED: max(-total, 0)}
    for phase, load in zip(PHASES, watts, strict=False):
        numbers[f"voltage_{phase}"] = volts
        numbers[f"current_{phase}"] = abs(load) / volts
    return numbers


# --- ranges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        house(500, 0, 0),
        {"voltage_l1": 160.0},
        {"voltage_l2": 265.0},
        {"voltage_l3": 0.0},
        {"voltage_l3": 30.0},  # coupled into a phase that is off
        {"current_l1": 63.0},
        {DRAWN: 43_470},
        {FED: 43_470},
        {"power_factor_total": 1.0},
        {"power_factor_total": -1.0},
        {"energy_active_import_total": 2**64 - 1},
    ],
)
def test_what_a_house_connection_can_have_is_in_range(numbers: Numbers) -> None:
    assert ranges(seen(numbers), CONNECTION_A) is None


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"voltage_l1": 270.0}, "270 V on L1"),
        ({"voltage_l2": 265.1}, "265.1 V on L2"),
        ({"voltage_l3": 159.9}, "159.9 V on L3"),
        ({"voltage_l1": 30.1}, "30.1 V on L1"),
        ({"current_l1": 63.01}, "63.01 A on L1, the connection has 63 A"),
        ({"current_l3": 655.35}, "655.35 A on L3, the connection has 63 A"),
        ({DRAWN: 43_471}, "43471 W, the connection has 43470 W"),
        ({FED: 2**31}, "2.14748e+09 W, the connection has 43470 W"),
        (
            {"reactive_power_export_total": 43_471},
            "43471 var, the connection has 43470 W",
        ),
        ({"power_factor_total": 1.001}, "power factor 1.001"),
        ({"power_factor_total": -32.768}, "power factor -32.768"),
    ],
)
def test_what_no_house_connection_has_is_out_of_range(numbers: Numbers, reason: str) -> None:
    assert ranges(seen(numbers), CONNECTION_A) == reason


def test_the_range_of_the_current_is_that_of_the_connection() -> None:
    assert ranges(seen({"current_l2": 70.0}), 63.0) == "70 A on L2, the connection has 63 A"
    assert ranges(seen({"current_l2": 70.0}), 80.0) is None


# --- directions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "numbers", [{}, {DRAWN: 5}, {FED: 5}, {DRAWN: 5, FED: 0}, {DRAWN: 0, FED: 5}, house(0)]
)
def test_power_is_drawn_or_fed_in(numbers: Numbers) -> None:
    assert directions(seen(numbers)) is None


def test_power_that_is_drawn_and_fed_in_at_once_is_told() -> None:
    expected = "5 W drawn and 2800 W fed in at once"
    assert directions(seen({DRAWN: 5, FED: 2800})) == expected


# --- power and currents ---------------------------------------------------------------------

LOADS = st.lists(st.floats(-14_000, 14_000), min_size=1, max_size=3)
VOLTS = st.floats(200.0, 260.0)
POWER_FACTORS = st.floats(0.0, 1.0)


@given(apparent_va=LOADS, volts=VOLTS, factor=POWER_FACTORS)
def test_whatever_a_house_draws_and_generates_fits_its_currents(
    apparent_va: list[float], volts: float, factor: float
) -> None:
    numbers = house(*apparent_va, volts=volts)
    total = round(sum(apparent_va) * factor)
    for phase in PHASES[: len(apparent_va)]:
        numbers[f"current_{phase}"] = round(numbers[f"current_{phase}"], 2)
    numbers |= {DRAWN: max(total, 0), FED: max(-total, 0)}
    assert power_fits_currents(seen(numbers)) is None


@given(total_va=st.floats(0, 40_000), direction=st.sampled_from([DRAWN, FED]))
def test_power_beyond_the_currents_is_told(total_va: float, direction: str) -> None:
    watts = round(total_va * 1.1 + 62)
    numbers = house(total_va / 3, total_va / 3, total_va / 3) | {DRAWN: 0, FED: 0}
    expected = f"{watts} W, but voltages and currents give {total_va:.0f} VA"
    assert power_fits_currents(seen(numbers | {direction: watts})) == expected


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {DRAWN: 9000},
        {"voltage_l1": 230.0, "current_l1": 0.0},
        {DRAWN: 9000, "voltage_l1": 230.0},
        {DRAWN: 9000, "current_l1": 1.0},
        {DRAWN: 9000, "voltage_l1": 230.0, "current_l1": 1.0, "voltage_l2": 230.0},
    ],
)
def test_power_is_not_held_against_currents_or_voltages_that_are_not_all_sent(
    numbers: Numbers,
) -> None:
    assert power_fits_currents(seen(numbers)) is None


# --- identity and counter -------------------------------------------------------------------


def test_a_telegram_of_the_same_meter_is_not_questioned() -> None:
    assert same_meter(seen(), seen()) is None
    names = {"meter_number": "1KFM0200000001", "device_name": "KFM1200200000001"}
    assert same_meter(seen(**names), seen(**names)) is None
    assert same_meter(seen(**names), seen()) is None, "of an earlier run no name is remembered"


def test_another_system_title_is_told() -> None:
    assert same_meter(seen(meter=OTHER), seen()) == (
        "the telegram is of meter 4B464D1020000002, so far it was 4B464D1020000001"
    )


def test_another_meter_number_or_name_is_told() -> None:
    before = seen(meter_number="1KFM0200000001")
    now = seen(meter_number="1KFM0200000003")
    assert same_meter(now, before) == (
        "meter_number is '1KFM0200000003', so far it was '1KFM0200000001'"
    )
    assert same_meter(seen(), before) == "meter_number is None, so far it was '1KFM0200000001'"


@given(before=st.integers(0, 2**32 - 1), now=st.integers(0, 2**32 - 1))
def test_only_a_counter_that_rises_is_not_questioned(before: int, now: int) -> None:
    reason = counter_rises(seen(counter=now), seen(counter=before))
    if now > before:
        assert reason is None
    else:
        assert reason == f"invocation counter {now} does not rise above {before}"


# --- energies -------------------------------------------------------------------------------


@given(
    start=st.integers(0, 2**32),
    watts=st.floats(0, 3 * 230 * CONNECTION_A),
    seconds=st.floats(0.5, 86_400),
    name=st.sampled_from(ENERGIES),
)
def test_what_the_connection_can_carry_is_no_question(
    start: int, watts: float, seconds: float, name: str
) -> None:
    before = seen({name: start}, received=100.0)
    now = seen({name: start + int(watts * seconds / 3600)}, received=100.0 + seconds)
    assert energies_rise(now, before, CONNECTION_A) is None


@pytest.mark.parametrize("name", ENERGIES)
def test_energy_that_runs_backwards_is_told(name: str) -> None:
    reason = energies_rise(seen({name: 4999}), seen({name: 5000}), CONNECTION_A)
    assert reason == f"{name} runs backwards, from 5000 to 4999"


@pytest.mark.parametrize("name", ENERGIES)
def test_energy_that_runs_too_fast_is_told(name: str) -> None:
    before = seen({name: 5000}, received=100.0)
    # 63 A in three phases are 60 Wh in 5 s.
    assert energies_rise(seen({name: 5080}, received=105.0), before, CONNECTION_A) is None
    reason = energies_rise(seen({name: 5081}, received=105.0), before, CONNECTION_A)
    assert reason == f"{name} rises by 81 in 5 s"


def test_after_a_restart_the_meters_clock_says_how_long_energy_had_to_rise() -> None:
    name = "energy_active_import_total"
    before = seen({name: 5000}, clock=NOON)
    hour_later = NOON + timedelta(hours=1)
    assert energies_rise(seen({name: 48_000}, clock=hour_later, received=3.0), before, 63) is None
    reason = energies_rise(seen({name: 49_000}, clock=hour_later, received=3.0), before, 63)
    assert reason == f"{name} rises by 44000 in 3600 s"


def test_where_no_clock_tells_how_long_it_was_energy_must_only_not_run_backwards() -> None:
    name = "energy_active_import_total"
    assert energies_rise(seen({name: 2**32}), seen({name: 0}), CONNECTION_A) is None
    assert energies_rise(seen({name: 0}), seen({name: 1}), CONNECTION_A) is not None


def test_an_energy_that_is_not_sent_does_not_run_backwards() -> None:
    name = "energy_active_import_total"
    assert energies_rise(seen(), seen({name: 5000}), CONNECTION_A) is None
    assert energies_rise(seen({name: 5000}), seen(), CONNECTION_A) is None


# --- the clock ------------------------------------------------------------------------------


@given(late_s=st.floats(-100, 100), passed_s=st.floats(1, 100_000))
def test_a_clock_that_goes_on_may_be_a_little_off(late_s: float, passed_s: float) -> None:
    before = seen(clock=NOON, received=50.0)
    shown = NOON + timedelta(seconds=max(passed_s + late_s, 0))
    assert clock_goes_on(seen(clock=shown, received=50.0 + passed_s), before) is None


def test_a_clock_that_jumps_is_told() -> None:
    before = seen(clock=NOON, received=50.0)
    ahead = seen(clock=NOON + timedelta(hours=1), received=55.0)
    back = seen(clock=NOON - timedelta(hours=1), received=55.0)
    assert clock_goes_on(ahead, before) == "the meter's clock jumps by 3600 s"
    assert clock_goes_on(back, before) == "the meter's clock goes back by 3600 s"


def test_daylight_saving_time_is_no_jump_of_a_clock_that_names_its_deviation() -> None:
    summer, winter = (timezone(timedelta(hours=hours)) for hours in (2, 1))
    before = seen(clock=datetime(2026, 10, 25, 2, 59, 58, tzinfo=summer), received=50.0)
    now = seen(clock=datetime(2026, 10, 25, 2, 0, 3, tzinfo=winter), received=55.0)
    assert clock_goes_on(now, before) is None


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (seen(received=55.0), seen(clock=NOON, received=50.0)),
        (seen(clock=NOON, received=55.0), seen(received=50.0)),
        (seen(clock=NOON.replace(tzinfo=None), received=55.0), seen(clock=NOON, received=50.0)),
        (seen(clock=NOON + timedelta(days=9), received=3.0), seen(clock=NOON)),
    ],
)
def test_a_clock_is_not_held_against_one_that_is_not_there_or_of_another_kind(
    now: Seen, before: Seen
) -> None:
    assert clock_goes_on(now, before) is None


# --- steps ----------------------------------------------------------------------------------


@given(
    before=st.lists(st.floats(0, 10_000), min_size=3, max_size=3),
    change=st.floats(-10_000, 10_000),
    phase=st.integers(0, 2),
)
def test_a_load_without_var_changes_power_and_current_together(
    before: list[float], change: float, phase: int
) -> None:
    after = list(before)
    after[phase] = max(after[phase] + change, 0.0)
    assert steps_agree(seen(house(*after)), seen(house(*before))) is None


@pytest.mark.parametrize(
    ("now", "before", "reason"),
    [
        (
            house(500, volts=234.1),
            house(500),
            "the voltage on L1 jumps by 4.1 V",
        ),
        (
            house(500, 0, 0) | {"voltage_l3": 225.0},
            house(500, 0, 0),
            "the voltage on L3 jumps by -5.0 V",
        ),
        (
            house(500) | {DRAWN: 2548},
            house(500),
            "the power jumps by 2048 W, the currents by 0 VA",
        ),
        (
            house(500) | {DRAWN: 0, FED: 500},
            house(500),
            "the power jumps by 1000 W, the currents by 0 VA",
        ),
        (
            house(500) | {"current_l1": 10.0},
            house(500),
            "the currents jump by 1800 VA, the power by 0 W",
        ),
        (
            {DRAWN: 4096},
            {DRAWN: 0},
            "the power jumps by 4096 W and 0 var",
        ),
        (
            {DRAWN: 0, "reactive_power_import_total": 0, "reactive_power_export_total": 256},
            {DRAWN: 0, "reactive_power_import_total": 0, "reactive_power_export_total": 0},
            "the power jumps by 0 W and 256 var",
        ),
    ],
)
def test_a_step_that_nothing_else_supports_is_told(
    now: Numbers, before: Numbers, reason: str
) -> None:
    assert steps_agree(seen(now), seen(before)) == reason


@given(power=st.integers(0, 80), reactive=st.integers(0, 80), volts=st.floats(-3.9, 3.9))
def test_small_steps_need_no_support(power: int, reactive: int, volts: float) -> None:
    before = house(500, 0, 0)
    now = before | {DRAWN: 500 + power, "voltage_l2": 230.0 + volts}
    assert steps_agree(seen(now), seen(before)) is None
    with_var = {"reactive_power_import_total": 0, "reactive_power_export_total": 0}
    now |= {"reactive_power_import_total": reactive, "reactive_power_export_total": 0}
    assert steps_agree(seen(now), seen(before | with_var)) is None


NAMES = st.sampled_from(
    [
        *(f"{stem}_{phase}" for stem in ("voltage", "current") for phase in PHASES),
        *(f"{kind}_power_{way}_total" for kind in ("active", "reactive") for way in ("import",)),
        *ENERGIES,
        FED,
    ]
)
ANY_NUMBERS = st.dictionaries(NAMES, st.floats(0, 1e9) | st.integers(0, 2**64))


@given(numbers=ANY_NUMBERS)
def test_of_a_telegram_of_an_earlier_run_nothing_but_energies_is_held_against_the_next(
    numbers: dict[str, float],
) -> None:
    remembered = seen({name: numbers[name] for name in ENERGIES if name in numbers}, clock=NOON)
    assert steps_agree(seen(numbers, received=3.0, clock=NOON), remembered) is None


@given(numbers=ANY_NUMBERS)
def test_what_only_one_of_two_telegrams_has_is_no_step(numbers: dict[str, float]) -> None:
    assert steps_agree(seen(), seen(numbers)) is None
    assert steps_agree(seen(numbers), seen()) is None


def test_currents_are_not_held_against_a_power_that_is_not_sent() -> None:
    before = {"voltage_l1": 230.0, "current_l1": 1.0}
    assert steps_agree(seen(before | {"current_l1": 10.0}), seen(before)) is None


@given(now=ANY_NUMBERS, before=ANY_NUMBERS, received=st.none() | st.floats(0, 1e6))
def test_no_numbers_break_a_check(
    now: dict[str, float], before: dict[str, float], received: float | None
) -> None:
    after, first = seen(now, received=received, clock=NOON), seen(before, clock=NOON)
    reasons = [
        ranges(after, CONNECTION_A),
        directions(after),
        power_fits_currents(after),
        energies_rise(after, first, CONNECTION_A),
        clock_goes_on(after, first),
        steps_agree(after, first),
    ]
    assert all(reason is None or reason for reason in reasons)


# --- what the checks need -------------------------------------------------------------------


def test_apparent_power_is_that_of_every_phase_or_unknown() -> None:
    assert apparent(house(230, 460, volts=230.0)) == pytest.approx([230.0, 460.0])
    assert apparent({}) is None
    assert apparent(house(230) | {"voltage_l2": 230.0}) is None


def test_net_power_is_what_is_drawn_less_what_is_fed_in() -> None:
    assert net({DRAWN: 0, FED: 700}) == -700
    assert net({DRAWN: 300}) == 300
    assert net({FED: 300}) == -300
    assert net({}) is None


@pytest.mark.parametrize(
    ("received", "shown_s", "expected"),
    [
        ((100.0, 105.0), 5, 5.0),
        ((100.0, 100.0), 3600, 3600.0),  # a recording, played at once
        ((None, 3.0), 60, 60.0),  # a restart
        ((100.0, 105.0), None, 5.0),
        ((100.0, 105.0), -3600, 5.0),
        ((None, 3.0), -60, 0.0),
        ((None, 3.0), None, None),
    ],
)
def test_elapsed_is_the_longest_time_that_a_clock_shows(
    received: tuple[float | None, float], shown_s: int | None, expected: float | None
) -> None:
    before = seen(clock=NOON, received=received[0])
    clock = None if shown_s is None else NOON + timedelta(seconds=shown_s)
    assert elapsed(seen(clock=clock, received=received[1]), before) == expected
