"""The everyday telegram: so like the last good one that no check has a question.

Nearly all are. This is `plausibility` in short, on the numbers as they were sent: what it passes
raises no question there (tests hold both against each other); of the rest it says nothing.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import ulp
from typing import NamedTuple

from gateway.snapshot import plausibility
from gateway.snapshot.snapshot import places_of
from gateway.telegram import Telegram
from gateway.telegram.listing import Listing

ANY = float("inf")
# Bounds are exclusive: this one lets pass what is not negative.
NOT_NEGATIVE = -ulp(0.0)
HAIR = 1 - 1e-9  # what is rounded otherwise on the two ways


class _Bounds(NamedTuple):
    """What a number and its change since the last telegram must lie between, as sent."""

    place: int
    low: float
    high: float
    down: float
    up: float


class _Bearings(NamedTuple):
    """Where the numbers of a listing stand that are checked, and within which bounds.

    `phases` are the places of U and I; a raw U·I is `volt_ampere` times as large as VA, a raw
    power `watt` times as large as W.
    """

    bounds: tuple[_Bounds, ...]
    phases: tuple[tuple[int, int], ...]
    volt_ampere: float
    drawn: int
    fed: int
    watt: float


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
    for place, low, high, down, up in bearings.bounds:
        number = raw[place]
        if not (low < number < high and down < number - raw_before[place] < up):
            return False
    _, phases, volt_ampere, drawn, fed, watt = bearings
    power, power_fed = raw[drawn], raw[fed]
    if power and power_fed:
        return False
    va = step_va = 0.0
    for u, i in phases:
        phase_va = raw[u] * raw[i]
        va += phase_va
        step_va += abs(phase_va - raw_before[u] * raw_before[i])
    most_w = HAIR * (plausibility.POWER_SHARE * va / volt_ampere + plausibility.POWER_SLACK_W)
    fits = (power + power_fed) / watt < most_w
    return not phases or (fits and step_va < plausibility.CURRENT_STEP_VA * volt_ampere)


def _clocks_go_on(now: Telegram, before: Telegram) -> bool:
    """Tell whether the clock goes on by little; header and list show one and the same."""
    clock, earlier = now.clock, before.clock
    for telegram in (now, before):
        listed = telegram.readings.clock
        if listed is not None and listed.moment is not telegram.clock:
            return False
    if clock is None or earlier is None or clock.tzinfo is not earlier.tzinfo:
        return clock is earlier
    return 0 <= (clock - earlier).total_seconds() < plausibility.CLOCK_SLACK_S


@lru_cache(maxsize=1024)
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
    return _Bearings(
        tuple(_bounds(places, factors, connection_a)),
        tuple((places[u], places[i]) for u, i in paired),
        scales.pop() if scales else 1.0,
        drawn,
        fed,
        factors[plausibility.ACTIVE[0]],
    )


def _bounds(
    places: dict[str, int], factors: dict[str, float], connection_a: float
) -> Iterable[_Bounds]:
    low_v, high_v = plausibility.VOLTAGE_RANGE_V
    most_w = len(plausibility.PHASES) * plausibility.NOMINAL_VOLTAGE_V * connection_a
    # A step of the net power is one of what is drawn and one of what is fed in.
    step_w = plausibility.POWER_STEP_W / 2
    for name, place in places.items():
        kind = name.split("_")[0]
        if kind == "voltage":
            step_v = plausibility.VOLTAGE_STEP_V
            within = (low_v, high_v, -step_v, step_v)
        elif kind == "current":
            within = (-ANY, connection_a, -ANY, ANY)
        elif name in plausibility.POWERS:
            within = (-ANY, most_w, -step_w, step_w)
        elif name in plausibility.ENERGIES:
            within = (-ANY, ANY, NOT_NEGATIVE, plausibility.ENERGY_SLACK_WH)
        elif name == "power_factor_total":
            within = (-1.0, 1.0, -ANY, ANY)
        else:
            continue
        scaled = (factors[name] * bound or bound for bound in within)  # ulp(0) may vanish
        yield _Bounds(place, *scaled)
