"""Freshness: what may be said of a meter's values at a given time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.snapshot import Freshness, OldestOf
from gateway.snapshot.freshness import State


@pytest.mark.parametrize("now", [-5.0, 0.0, 1e9])
def test_before_the_first_telegram_a_meter_is_waiting_and_has_no_age(now: float) -> None:
    freshness = Freshness(hold_s=15.0)
    assert freshness.state(now) is State.WAITING
    assert freshness.age_s(now) is None


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (100.0, State.LIVE),
        (107.5, State.LIVE),
        (115.0, State.LIVE),
        (math.nextafter(115.0, math.inf), State.STALE),
        (1e9, State.STALE),
    ],
)
def test_values_are_live_up_to_the_hold_time_itself_and_stale_after_it(
    now: float, state: State
) -> None:
    assert Freshness(hold_s=15.0, received=100.0).state(now) is state


def test_age_counts_from_the_last_good_telegram() -> None:
    freshness = Freshness(hold_s=15.0, received=100.0)
    assert freshness.age_s(107.5) == 7.5


def test_a_later_telegram_makes_a_stale_meter_live_again() -> None:
    freshness = Freshness(hold_s=15.0, received=100.0)
    assert freshness.state(200.0) is State.STALE
    freshness.received = 200.0
    assert freshness.state(200.0) is State.LIVE
    assert freshness.age_s(203.0) == 3.0


def test_an_age_is_never_negative() -> None:
    freshness = Freshness(hold_s=15.0, received=100.0)
    assert freshness.age_s(99.0) == 0.0
    assert freshness.state(99.0) is State.LIVE


def test_without_hold_time_values_live_only_in_the_moment_they_came() -> None:
    freshness = Freshness(hold_s=0.0, received=100.0)
    assert freshness.state(100.0) is State.LIVE
    assert freshness.state(100.001) is State.STALE


# --- overdue, but still held ----------------------------------------------------------------


def pushed(*times: float, hold_s: float = 60.0) -> Freshness:
    freshness = Freshness(hold_s)
    for received in times:
        freshness.came(received)
    return freshness


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (110.0, State.LIVE),
        (120.0, State.LIVE),
        (math.nextafter(120.0, math.inf), State.HOLDING),
        (170.0, State.HOLDING),
        (math.nextafter(170.0, math.inf), State.STALE),
    ],
)
def test_a_meter_that_is_overdue_by_twice_its_usual_pause_is_holding_until_the_hold_time_ends(
    now: float, state: State
) -> None:
    assert pushed(95.0, 100.0, 105.0, 110.0).state(now) is state


def test_a_meter_whose_pause_is_not_known_yet_goes_from_live_to_stale() -> None:
    states = {pushed(100.0).state(100.0 + age_s) for age_s in (0.0, 59.9, 60.0)}
    assert states == {State.LIVE}
    assert pushed(100.0).state(160.1) is State.STALE


def test_one_lost_telegram_and_an_outage_change_no_usual_pause() -> None:
    freshness = pushed(0.0, 5.0, 10.0, 20.0, 25.0)
    assert freshness.pause_s == 5.0
    freshness.came(4000.0)
    assert freshness.pause_s == 5.0


def test_a_meter_that_pushes_at_another_pace_is_soon_known_for_it() -> None:
    freshness = pushed(0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
    for second in (51.0, 52.0, 53.0):
        freshness.came(second)
    assert freshness.pause_s == 1.0


def test_telegrams_that_were_read_at_once_make_no_meter_overdue_within_two_seconds() -> None:
    freshness = pushed(100.0, 100.0, 100.0)
    assert freshness.pause_s == 0.0
    assert freshness.state(102.0) is State.LIVE
    assert freshness.state(102.1) is State.HOLDING


def test_a_telegram_in_time_ends_the_holding() -> None:
    freshness = pushed(0.0, 5.0, 10.0)
    assert freshness.state(30.0) is State.HOLDING
    freshness.came(30.0)
    assert freshness.state(30.0) is State.LIVE


def test_who_asks_with_a_hold_time_of_its_own_gets_the_state_by_that() -> None:
    freshness = pushed(100.0)
    assert freshness.state(103.0, hold_s=2.0) is State.STALE
    assert freshness.state(500.0, hold_s=400.0) is State.LIVE
    assert Freshness(60.0).state(0.0, hold_s=400.0) is State.WAITING


# --- several meters -------------------------------------------------------------------------

TIMES = st.none() | st.floats(0, 1000)


@given(parts=st.lists(TIMES, min_size=1, max_size=5), now=st.floats(0, 2000))
def test_several_are_as_old_as_the_oldest_and_wait_for_the_last(
    parts: list[float | None], now: float
) -> None:
    together = OldestOf(15.0, [Freshness(15.0, received) for received in parts])
    if None in parts:
        assert together.received is None
        assert together.state(now) is State.WAITING
    else:
        assert together.received == min(parts)
        assert together.age_s(now) == max(0.0, now - min(parts))


@given(
    parts=st.lists(st.tuples(st.floats(1, 60), TIMES), min_size=2, max_size=5),
    now=st.floats(0, 2000),
)
def test_with_the_shortest_hold_several_are_stale_when_one_is(
    parts: list[tuple[float, float | None]], now: float
) -> None:
    own = [Freshness(hold_s, received) for hold_s, received in parts]
    together = OldestOf(min(hold_s for hold_s, _ in parts), own)
    states = {each.state(now) for each in own}
    if State.WAITING in states:
        assert together.state(now) is State.WAITING
    elif State.STALE in states:
        assert together.state(now) is State.STALE


def test_several_are_overdue_by_the_usual_pause_of_the_slowest() -> None:
    fast, slow = Freshness(60.0), Freshness(60.0)
    together = OldestOf(60.0, [fast, slow])
    slow.came(0.0)
    fast.came(0.0)
    assert together.pause_s is None
    for second in range(1, 11):
        fast.came(float(second))
    assert together.pause_s is None, "of the other one telegram is known"
    slow.came(10.0)
    assert together.pause_s == 10.0
    assert together.state(30.0) is State.LIVE
    assert together.state(31.0) is State.HOLDING
