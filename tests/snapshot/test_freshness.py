"""Freshness: what may be said of a meter's values at a given time."""

import math

import pytest

from gateway.snapshot import Freshness
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
