"""The everyday telegram: so like the last good one that no check has a question.

Nearly all are. This is `plausibility` in short, on the numbers as they were sent: what it passes
raises no question there (tests hold both against each other); of the rest it says nothing.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from math import ceil, floor, inf, ulp
from typing import NamedTuple

from gateway.snapshot import plausibility
from gateway.snapshot.snapshot import KEPT_LISTINGS, places_of
from gateway.telegram import Telegram
from gateway.telegram.listing import MAX_NUMBER, Entry, Listing

# Bounds are exclusive: this one lets pass what is not negative.
NOT_NEGATIVE = -ulp(0.0)
HAIR = 1 - 1e-9  # what is rounded otherwise on the two ways
_AT_ONCE = timedelta(0)
_CLOCK_SLACK = timedelta(seconds=plausibility.CLOCK_SLACK_S)

# (place of a number, what it must lie above, what below), as sent. A plain tuple: each telegram
# goes through some thirty of them, and Python takes it apart faster than a named one.
_Bounds = tuple[int, float, float]


class _Bearings(NamedTuple):
    """Where the numbers of a listing stand that are checked, and within which bounds.

    `within` bounds the numbers, `steps` their changes since the last telegram. `phases` are the
    places of U and I; a raw power is less than `watts_a_va` times the raw U·I and `slack` more,
    and U·I changes by less than `step`.
    """

    within: tuple[_Bounds, ...]
    steps: tuple[_Bounds, ...]
    phases: tuple[tuple[int, int], ...]
    drawn: int
    fed: int
    watts_a_va: float
    slack: float
    step: float


def is_calm(now: Telegram, before: Telegram, connection_a: float) -> bool:
    """Tell whether `now`, right behind the good telegram `before`, is beyond question."""
    readings, old = now.readings, before.readings
    if (
        readings.listing is not old.listing
        or now.meter != before.meter
        or now.invocation_counter <= before.invocation_counter
        or (readings.texts is not old.texts and readings.texts != old.texts)
    ):
        return False
    bearings = _bearings(readings.listing, connection_a)
    if bearings is None or not _clocks_go_on(now, before):
        return False
    raw, raw_before = readings.raw, old.raw
    for place, low, high in bearings.within:
        if not low < raw[place] < high:
            return False
    for place, down, up in bearings.steps:
        if not down < raw[place] - raw_before[place] < up:
            return False
    power, power_fed = raw[bearings.drawn], raw[bearings.fed]
    if power and power_fed:
        return False
    if not bearings.phases:
        return True
    va = step_va = 0.0
    for u, i in bearings.phases:
        phase_va = raw[u] * raw[i]
        va += phase_va
        step_va += abs(phase_va - raw_before[u] * raw_before[i])
    most = bearings.watts_a_va * va + bearings.slack
    return power + power_fed < most and step_va < bearings.step


def _clocks_go_on(now: Telegram, before: Telegram) -> bool:
    """Tell whether the clock goes on by little; header and list show one and the same."""
    clock, earlier = now.clock, before.clock
    listed, listed_before = now.readings.clock, before.readings.clock
    if (listed is not None and listed.moment is not clock) or (
        listed_before is not None and listed_before.moment is not earlier
    ):
        return False
    if clock is None or earlier is None or clock.tzinfo is not earlier.tzinfo:
        return clock is earlier
    return _AT_ONCE <= clock - earlier < _CLOCK_SLACK


@lru_cache(maxsize=KEPT_LISTINGS)
def _bearings(listing: Listing, connection_a: float) -> _Bearings | None:
    """Return what is checked of a listing; None if it has no power in both directions."""
    places = places_of(listing)
    if not {*plausibility.ACTIVE} <= places.keys():
        return None
    factors = {
        name: power if is_divided else 1 / power
        for name, place in places.items()
        for is_divided, power in [listing.scales[place]]
    }
    paired = [(u, i) for _, u, i in plausibility.PHASES if u in places or i in places]
    if not all(u in places and i in places for u, i in paired):
        return None
    scales = {factors[u] * factors[i] for u, i in paired}
    if len(scales) > 1 or len({factors[name] for name in plausibility.ACTIVE}) > 1:
        return None
    drawn, fed = (places[name] for name in plausibility.ACTIVE)
    watt, volt_ampere = factors[plausibility.ACTIVE[0]], scales.pop() if scales else 1.0
    within: list[_Bounds] = []
    steps: list[_Bounds] = []
    for name, place in places.items():
        of_number, of_step = _bounds(name, connection_a)
        entry, factor = listing.numbers[place], factors[name]
        within += _as_sent(entry, place, factor, of_number)
        steps += _as_sent(entry, place, factor, of_step)
    return _Bearings(
        tuple(within),
        tuple(steps),
        tuple((places[u], places[i]) for u, i in paired),
        drawn,
        fed,
        HAIR * plausibility.POWER_SHARE * watt / volt_ampere,
        HAIR * plausibility.POWER_SLACK_W * watt,
        plausibility.CURRENT_STEP_VA * volt_ampere,
    )


_Between = tuple[float, float] | None


def _bounds(name: str, connection_a: float) -> tuple[_Between, _Between]:
    """Return what a quantity must lie between, and what its change."""
    # A step of the net power is one of what is drawn and one of what is fed in.
    step_w = plausibility.POWER_STEP_W / 2
    kind = name.split("_")[0]
    if kind == "voltage":
        step_v = plausibility.VOLTAGE_STEP_V
        return plausibility.VOLTAGE_RANGE_V, (-step_v, step_v)
    if kind == "current":
        return (-inf, connection_a), None
    if name in plausibility.POWERS:
        most_w = len(plausibility.PHASES) * plausibility.NOMINAL_VOLTAGE_V * connection_a
        return (-inf, most_w), (-step_w, step_w)
    if name in plausibility.ENERGIES:
        return None, (NOT_NEGATIVE, plausibility.ENERGY_SLACK_WH)
    if name == "power_factor_total":
        return (-1.0, 1.0), None
    return None, None


def _as_sent(entry: Entry, place: int, factor: float, between: _Between) -> Iterable[_Bounds]:
    """Return the same bounds for a raw number; whole ones for a whole number, which is faster."""
    if between is None:
        return
    low, high = (factor * bound or bound for bound in between)  # ulp(0) may vanish
    if entry.is_whole:
        yield place, floor(max(low, -MAX_NUMBER)), ceil(high)
    else:
        yield place, low, high
