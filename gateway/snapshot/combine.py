"""Several meters seen as one: the sum of connection points, or a meter less those behind it.

What adds up and what does not:

- Power adds, with its sign: what all draw together is what they draw less what they feed in. Phase
  powers add likewise, so they sum to the total here as they do at each meter.
- Voltages do not add. Shown is that of the first meter which measures the phase: a mean would be
  the voltage of no place, and would hide that one of them has lost a phase.
- Currents come without sign, so they add only while all meters draw, or all feed in; even then the
  sum is the most that it can be. Otherwise, and of every difference, they are not available, nor is
  what follows from them: apparent power and power factor.
- Energies of connection points add, drawn and fed in each for itself, as they are billed. Those of
  a difference are not available: while one part of a house feeds another, the meters' counters do
  not tell what each of them draws, and their difference would run backwards.

All this is derived, and nothing is shown that one of the meters does not tell.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from gateway.snapshot.derive import PHASES, derive
from gateway.snapshot.plausibility import ENERGIES, REACTIVE
from gateway.snapshot.quantities import Origin
from gateway.snapshot.snapshot import METER_SERIAL, TITLE_TEXT, Snapshot, Value, serial_of

Numbers = Mapping[str, int | float]

POWER, APPARENT = "active_power_total", "apparent_power_total"
CLOCK, FREQUENCY = "meter_clock", "frequency"


class Combination(StrEnum):
    """How meters are seen as one."""

    SUM = "sum"  # of connection points beside each other
    DIFFERENCE = "difference"  # the first less all others, which are behind it


def combine(how: Combination, parts: Sequence[Snapshot]) -> Snapshot:
    """Return the combined snapshot of two or more meters; it is as old as the oldest of them.

    It has no meter number of its own; where one is needed, it is the first meter's.
    """
    told = [part.numbers for part in parts]
    signs = [1 if how is Combination.SUM or not place else -1 for place in range(len(told))]
    base = _voltages(told) | _powers(signs, told)
    if how is Combination.SUM:
        base |= _currents(told) | _energies(told)
    if all(CLOCK in numbers for numbers in told):
        base[CLOCK] = min(numbers[CLOCK] for numbers in told)
    found = {**derive(base), **base, **_phase_powers(signs, told)}
    found |= _phase_factors(found)
    if METER_SERIAL in told[0]:
        found[METER_SERIAL] = told[0][METER_SERIAL]
    values = {name: Value(number, Origin.DERIVED) for name, number in found.items()}
    if FREQUENCY in told[0]:
        values[FREQUENCY] = Value(told[0][FREQUENCY], Origin.NOMINAL)
    serial = serial_of(parts[0].texts)
    return Snapshot(
        MappingProxyType(values),
        MappingProxyType({TITLE_TEXT: serial} if serial else {}),
        min(part.received for part in parts),
    )


def fallen(before: Snapshot, now: Snapshot) -> list[str]:
    """Return which energies run backwards from one snapshot to the next."""
    return [
        name
        for name in ENERGIES
        if name in before.values
        and name in now.values
        and now.values[name].number < before.values[name].number
    ]


def _voltages(told: Sequence[Numbers]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for name in (f"voltage_{phase}" for phase in PHASES):
        for numbers in told:
            if name in numbers:
                found.setdefault(name, numbers[name])
    return found


def _powers(signs: Sequence[int], told: Sequence[Numbers]) -> dict[str, int | float]:
    """Return what is drawn and fed in, balanced over the meters as a meter does over its phases."""
    found: dict[str, int | float] = {}
    if (watts := _added(POWER, signs, told)) is not None:
        found["active_power_import_total"] = max(watts, 0)
        found["active_power_export_total"] = max(-watts, 0)
    if (var := _added("reactive_power_total", signs, told)) is not None:
        found |= zip(REACTIVE, (max(var, 0), max(-var, 0)), strict=True)
    return found


def _phase_powers(signs: Sequence[int], told: Sequence[Numbers]) -> dict[str, int | float]:
    """Return the power by phase; nothing if one of the meters has its total alone."""
    names = [f"active_power_{phase}" for phase in PHASES]
    if not all(POWER in numbers and any(name in numbers for name in names) for numbers in told):
        return {}
    found: dict[str, int | float] = {}
    for phase, name in zip(PHASES, names, strict=True):
        if not any(name in numbers for numbers in told):
            continue
        # A meter of one phase has none of the others: nothing flows there.
        watts = sum(sign * numbers.get(name, 0) for sign, numbers in zip(signs, told, strict=True))
        found[name] = watts
        found[f"active_power_import_{phase}"] = max(watts, 0)
        found[f"active_power_export_{phase}"] = max(-watts, 0)
    return found


def _currents(told: Sequence[Numbers]) -> dict[str, int | float]:
    """Return the sums of the phase currents; nothing while they may flow against each other.

    All of a meter's phases are taken to flow as its total does, as in the split of its power.
    """
    if not all(POWER in numbers and APPARENT in numbers for numbers in told):
        return {}
    powers = [numbers[POWER] for numbers in told]
    if min(powers) < 0 < max(powers):
        return {}
    return {
        name: sum(numbers.get(name, 0) for numbers in told)
        for name in (f"current_{phase}" for phase in PHASES)
        if any(name in numbers for numbers in told)
    }


def _phase_factors(found: Numbers) -> dict[str, int | float]:
    """Return the power factor of each phase whose apparent power is known."""
    factors = {}
    for phase in PHASES:
        watts, va = found.get(f"active_power_{phase}"), found.get(f"apparent_power_{phase}")
        if watts is not None and va:
            factors[f"power_factor_{phase}"] = max(-1.0, min(1.0, watts / va))
    return factors


def _energies(told: Sequence[Numbers]) -> dict[str, int | float]:
    return {
        name: sum(numbers[name] for numbers in told)
        for name in ENERGIES
        if all(name in numbers for numbers in told)
    }


def _added(name: str, signs: Sequence[int], told: Sequence[Numbers]) -> int | float | None:
    if not all(name in numbers for numbers in told):
        return None
    return sum(sign * numbers[name] for sign, numbers in zip(signs, told, strict=True))
