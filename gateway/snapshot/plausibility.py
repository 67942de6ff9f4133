"""May a telegram be believed? Each check is a pure function that gives its reason, or None.

Most meters send no tag, so damage that slips through 8-bit checksums shows only in what the values
say. A check that fails does not prove damage: a fuse trips, a meter is exchanged. So nothing is
refused for ever: what is questioned is held back until the telegrams behind it say the same.
"""

from collections.abc import Mapping
from datetime import datetime
from operator import sub
from types import MappingProxyType
from typing import NamedTuple

Numbers = Mapping[str, int | float]
NO_TEXTS: Mapping[str, str] = MappingProxyType({})

# (name, voltage, current) of each phase
PHASES = tuple((p.upper(), f"voltage_{p}", f"current_{p}") for p in ("l1", "l2", "l3"))
# Voltage characteristics of public grids: 230 V + 15 %, and what a lost neutral leaves (EN 50160).
VOLTAGE_RANGE_V = (160.0, 265.0)
NO_VOLTAGE_V = 30.0  # a phase without voltage shows what its neighbours couple into it
DEFAULT_CONNECTION_A = 80.0  # no directly connected household meter is fused higher
NOMINAL_VOLTAGE_V = 230.0

# What rounding (0.1 V, 0.01 A, 1 W) and averages of other lengths explain.
POWER_SHARE = 1.10
POWER_SLACK_W = 60.0
ENERGY_SLACK_WH = 20.0
CLOCK_SLACK_S = 120.0
FASTEST_PUSH_S = 0.5

# A change from one telegram to the next that only its agreement with the others can support.
VOLTAGE_STEP_V = 4.0
POWER_STEP_W = 100.0
CURRENT_STEP_VA = 150.0
STEP_SHARE = 0.4  # of a change of U·I that at least shows in the power

ACTIVE = ("active_power_import_total", "active_power_export_total")
REACTIVE = ("reactive_power_import_total", "reactive_power_export_total")
POWERS = ACTIVE + REACTIVE
ENERGIES = (
    "energy_active_import_total",
    "energy_active_export_total",
    "energy_active_import_t1",
    "energy_active_import_t2",
    "energy_active_export_t1",
    "energy_active_export_t2",
    "energy_reactive_import_total",
    "energy_reactive_export_total",
)


class _Seen(NamedTuple):
    meter: bytes
    counter: int
    numbers: Numbers
    clock: datetime | None
    received: float | None
    texts: Mapping[str, str]
    listed_clock: datetime | None
    apparent: list[float] | None
    active: float | None
    reactive: float | None


class Seen(_Seen):
    """What is remembered of a telegram: enough to judge the next.

    `clock` is that of the header, `listed_clock` that of the list; `received` is None if that was
    in an earlier run, on another monotonic clock; `texts` are what the meter calls itself. U·I of
    each phase and the net powers follow from the numbers; this telegram and the next need them.
    """

    __slots__ = ()

    def __new__(
        cls,
        meter: bytes,
        counter: int,
        numbers: Numbers,
        clock: datetime | None,
        received: float | None,
        texts: Mapping[str, str] = NO_TEXTS,
        listed_clock: datetime | None = None,
    ) -> "Seen":
        """Remember what a telegram says."""
        told = meter, counter, numbers, clock, received, texts, listed_clock
        powers = apparent(numbers), net(numbers), net(numbers, REACTIVE)
        return tuple.__new__(cls, told + powers)


# --- of one telegram alone -------------------------------------------------------------------


def ranges(now: Seen, connection_a: float) -> str | None:
    """Check that voltage, current and power are such as the house connection has."""
    low, high = VOLTAGE_RANGE_V
    known = now.numbers.get
    for phase, voltage, current in PHASES:
        volts = known(voltage, 0.0)
        if volts > NO_VOLTAGE_V and not low <= volts <= high:
            return f"{volts:g} V on {phase}"
        amperes = known(current, 0.0)
        if amperes > connection_a:
            return f"{amperes:g} A on {phase}, the connection has {connection_a:g} A"
    most_w = len(PHASES) * NOMINAL_VOLTAGE_V * connection_a
    for name in POWERS:
        if (power := known(name, 0)) > most_w:
            unit = "var" if name.startswith("reactive") else "W"
            return f"{power:g} {unit}, the connection has {most_w:.0f} W"
    if abs(factor := known("power_factor_total", 0.0)) > 1.0:
        return f"power factor {factor:g}"
    return None


def directions(now: Seen) -> str | None:
    """Check that the balanced power is drawn or fed in, not both."""
    drawn = now.numbers.get("active_power_import_total", 0)
    fed = now.numbers.get("active_power_export_total", 0)
    return f"{drawn:g} W drawn and {fed:g} W fed in at once" if drawn and fed else None


def power_fits_currents(now: Seen) -> str | None:
    """Check that |P| is at most the sum of U·I."""
    apparent_va, watts = now.apparent, now.active
    if apparent_va is None or watts is None:
        return None
    if abs(watts) <= POWER_SHARE * sum(apparent_va) + POWER_SLACK_W:
        return None
    return f"{abs(watts):.0f} W, but voltages and currents give {sum(apparent_va):.0f} VA"


def clocks_agree(now: Seen) -> str | None:
    """Check that the clock in the list shows the local time of the telegram's header.

    Their deviations from UTC may differ: a published example of Honeywell's does so.
    """
    header, listed = now.clock, now.listed_clock
    if header is listed or header is None or listed is None:
        return None
    apart_s = abs((header.replace(tzinfo=None) - listed.replace(tzinfo=None)).total_seconds())
    return f"two clocks that differ by {apart_s:.0f} s" if apart_s > CLOCK_SLACK_S else None


# --- of a telegram and the one before it -----------------------------------------------------


def same_meter(now: Seen, before: Seen) -> str | None:
    """Check that system title, meter number and device name are the same."""
    if now.meter != before.meter:
        return f"the telegram is of meter {_title(now.meter)}, so far it was {_title(before.meter)}"
    if now.texts == before.texts:
        return None
    for name, text in before.texts.items():
        if now.texts.get(name) != text:
            return f"{name} is {now.texts.get(name)!r}, so far it was {text!r}"
    return None


def counter_rises(now: Seen, before: Seen) -> str | None:
    """Check that no telegram comes twice, and none is older than the last."""
    if now.counter > before.counter:
        return None
    return f"invocation counter {now.counter} does not rise above {before.counter}"


def same_objects(now: Seen, before: Seen) -> str | None:
    """Check that the telegram lists the same quantities: an OBIS code may be damaged, too."""
    if now.numbers.keys() == before.numbers.keys() or before.received is None:
        return None
    odd = sorted(now.numbers.keys() ^ before.numbers.keys())
    return f"{', '.join(odd)} only now or only before"


def energies_rise(now: Seen, before: Seen, connection_a: float) -> str | None:
    """Check that energy runs neither backwards nor faster than the connection allows."""
    known, known_before = now.numbers.get, before.numbers.get
    for name in ENERGIES:
        wh, wh_before = known(name), known_before(name)
        if wh is None or wh_before is None or 0 <= (step := wh - wh_before) <= ENERGY_SLACK_WH:
            continue
        if step < 0:
            return f"{name} runs backwards, from {wh_before:g} to {wh:g}"
        elapsed_s = elapsed(now, before)
        if elapsed_s is None:
            continue
        most = len(PHASES) * NOMINAL_VOLTAGE_V * connection_a * elapsed_s / 3600 + ENERGY_SLACK_WH
        if step > most:
            return f"{name} rises by {step:g} in {elapsed_s:.0f} s"
    return None


def clock_goes_on(now: Seen, before: Seen) -> str | None:
    """Check that the meter's clock goes on as the gateway's does."""
    shown_s = _clock_step_s(now, before)
    if shown_s is None or now.received is None or before.received is None:
        return None
    if shown_s < -CLOCK_SLACK_S:
        return f"the meter's clock goes back by {-shown_s:.0f} s"
    passed_s = now.received - before.received
    # Faster than any meter pushes only a recording comes.
    if passed_s > FASTEST_PUSH_S and shown_s - passed_s > CLOCK_SLACK_S:
        return f"the meter's clock jumps by {shown_s:.0f} s"
    return None


def steps_agree(now: Seen, before: Seen) -> str | None:
    """Check that power, currents and voltages change together, as far as both telegrams have them.

    Of a telegram of an earlier run nothing but the energies is remembered.
    """
    known, known_before = now.numbers.get, before.numbers.get
    for phase, voltage, _ in PHASES:
        volts, volts_before = known(voltage), known_before(voltage)
        if volts is None or volts_before is None:
            continue
        if not -VOLTAGE_STEP_V <= (step_v := volts - volts_before) <= VOLTAGE_STEP_V:
            return f"the voltage on {phase} jumps by {step_v:.1f} V"
    known_step_w = _step(now.active, before.active)
    step_w = abs(known_step_w or 0)
    step_var = abs(_step(now.reactive, before.reactive) or 0)
    apparent_now, apparent_before = now.apparent, before.apparent
    if apparent_now is None or apparent_before is None or len(apparent_now) != len(apparent_before):
        # Nothing else in the telegram can support a change of the power.
        if max(step_w, step_var) > POWER_STEP_W:
            return f"the power jumps by {step_w:.0f} W and {step_var:.0f} var"
        return None
    step_va = sum(map(abs, map(sub, apparent_now, apparent_before)))
    if max(step_w, step_var) > max(POWER_STEP_W, POWER_SHARE * step_va + POWER_SLACK_W):
        return f"the power jumps by {step_w:.0f} W, the currents by {step_va:.0f} VA"
    if known_step_w is None:
        return None
    if step_va > CURRENT_STEP_VA and step_w < STEP_SHARE * step_va:
        return f"the currents jump by {step_va:.0f} VA, the power by {step_w:.0f} W"
    return None


# --- what the checks need --------------------------------------------------------------------


def apparent(numbers: Numbers) -> list[float] | None:
    """Return U·I of each phase; None if the meter sends none or only part of it."""
    try:
        return [
            numbers["voltage_l1"] * numbers["current_l1"],
            numbers["voltage_l2"] * numbers["current_l2"],
            numbers["voltage_l3"] * numbers["current_l3"],
        ]
    except KeyError:
        pass  # not all three phases
    found = []
    for _, voltage, current in PHASES:
        volts, amperes = numbers.get(voltage), numbers.get(current)
        if volts is not None and amperes is not None:
            found.append(volts * amperes)
        elif volts is not None or amperes is not None:
            return None
    return found or None


def net(numbers: Numbers, ways: tuple[str, str] = ACTIVE) -> float | None:
    """Return the power drawn less the power fed in; reactive: +R less -R. None if neither is sent.

    A meter that knows only one direction sends only that one.
    """
    drawn, fed = numbers.get(ways[0]), numbers.get(ways[1])
    return None if drawn is None and fed is None else (drawn or 0) - (fed or 0)


def elapsed(now: Seen, before: Seen) -> float | None:
    """Return the seconds from one telegram to the next; None if nothing tells.

    A recording is read at once, and a restart begins another clock: then the meter's own counts.
    """
    steps = [0.0]
    if now.received is not None and before.received is not None:
        steps.append(now.received - before.received)
    shown_s = _clock_step_s(now, before)
    if shown_s is not None:
        steps.append(shown_s)
    return max(steps) if len(steps) > 1 else None


def _step(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _clock_step_s(now: Seen, before: Seen) -> float | None:
    if now.clock is None or before.clock is None:
        return None
    if (now.clock.tzinfo is None) != (before.clock.tzinfo is None):
        return None
    return (now.clock - before.clock).total_seconds()


def _title(meter: bytes) -> str:
    return meter.hex().upper()
