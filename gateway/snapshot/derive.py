"""Quantities that the meter does not send but physics gives, from those that it does.

The meters send U and I of each phase without sign, and the power balanced over all phases. A
client that reads power by phase gets the total split by U·I; with single-phase generation the
true phases may differ in sign, which nothing here can know.
"""

from collections.abc import Mapping, Sequence
from math import inf, sqrt
from sys import intern

Numbers = Mapping[str, int | float]

PHASES = ("l1", "l2", "l3")


def _each(stem: str) -> dict[str, str]:
    """Return the quantity of each phase, as the very string by which it is looked up."""
    return {phase: intern(f"{stem}_{phase}") for phase in PHASES}


_VOLTAGE, _CURRENT, _FACTOR = _each("voltage"), _each("current"), _each("power_factor")
_POWER, _DRAWN, _FED = (_each(f"active_power{way}") for way in ("", "_import", "_export"))
_APPARENT, _APPARENT_DRAWN, _APPARENT_FED = (
    _each(f"apparent_power{way}") for way in ("", "_import", "_export")
)
_LINES = (("voltage_l12", "l1", "l2"), ("voltage_l23", "l2", "l3"), ("voltage_l31", "l3", "l1"))


def derive(measured: Numbers) -> dict[str, int | float]:
    """Return all that `measured` allows to derive; what needs a missing quantity is missing."""
    voltages = {phase: measured[name] for phase, name in _VOLTAGE.items() if name in measured}
    currents = {phase: measured[name] for phase, name in _CURRENT.items() if name in measured}
    found: dict[str, int | float] = {}
    if "active_power_import_total" in measured and "active_power_export_total" in measured:
        found["active_power_total"] = round(
            measured["active_power_import_total"] - measured["active_power_export_total"]
        )
    if "reactive_power_import_total" in measured and "reactive_power_export_total" in measured:
        found["reactive_power_total"] = round(
            measured["reactive_power_import_total"] - measured["reactive_power_export_total"]
        )
    # A phase of which only U or only I came would be missing in every sum.
    if voltages.keys() == currents.keys() and voltages:
        _add_powers(found, measured.get("power_factor_total"), voltages, currents)
    elif not voltages and "active_power_total" in found:
        # Without voltages the currents tell the shares; without those, clients that add up the
        # phases must still find the total: all of it stands on L1.
        _add_split(found, currents or dict.fromkeys(PHASES, 0.0))
    if currents and voltages.keys() <= currents.keys():
        found["current_total"] = total_a = sum(currents.values())
        found["current_avg"] = total_a / len(currents)
    if live := [volts for volts in voltages.values() if volts > 0]:
        found["voltage_ln_avg"] = sum(live) / len(live)
    lines = {
        line: line_voltage(voltages[a], voltages[b])
        for line, a, b in _LINES
        if a in voltages and b in voltages
    }
    if lines:
        found |= lines
        found["voltage_ll_avg"] = sum(lines.values()) / len(lines)
    return found


def line_voltage(volts_a: float, volts_b: float) -> float:
    """Return the voltage between two phases 120° apart: the law of cosines."""
    return sqrt(volts_a * volts_a + volts_b * volts_b + volts_a * volts_b)


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `weights` (≥ 0) into integers that sum to it exactly.

    Largest remainder; of equal remainders the first. If all weights are 0 the first part gets
    everything.
    """
    weight_sum = sum(weights)
    if weight_sum == 0:
        return [total, *[0] * (len(weights) - 1)]
    sign = -1 if total < 0 else 1
    left = whole = abs(total)
    parts: list[int] = []
    rests: list[float] = []
    for weight in weights:
        part, rest = divmod(whole * weight, weight_sum)
        parts.append(sign * part)
        rests.append(rest)
        left -= part
    while left:
        most = rests.index(max(rests))
        parts[most] += sign
        rests[most] = -inf
        left -= 1
    return parts


def _add_powers(
    found: dict[str, int | float], sent_factor: float | None, voltages: Numbers, currents: Numbers
) -> None:
    """Add apparent power, and the split of the active power when that is known.

    `sent_factor` is the power factor where the meter sends one; the phases then have it too.
    """
    apparent = {phase: volts * currents[phase] for phase, volts in voltages.items()}
    for phase, va in apparent.items():
        found[_APPARENT[phase]] = va
    found["apparent_power_total"] = total_va = sum(apparent.values())
    total_w = found.get("active_power_total")
    if total_w is None:
        return
    _add_split(found, apparent)
    drawing = total_w >= 0
    found["apparent_power_import_total"] = total_va if drawing else 0
    found["apparent_power_export_total"] = 0 if drawing else total_va
    for phase, va in apparent.items():
        found[_APPARENT_DRAWN[phase]] = va if drawing else 0
        found[_APPARENT_FED[phase]] = 0 if drawing else va
    if total_va > 0:
        # Small currents are rounded more than the power is, so the quotient may pass 1.
        factor = max(-1.0, min(1.0, total_w / total_va))
        found["power_factor_total"] = factor
        for phase, va in apparent.items():
            if va > 0:
                found[_FACTOR[phase]] = factor if sent_factor is None else sent_factor


def _add_split(found: dict[str, int | float], shares: Numbers) -> None:
    """Add the active power by phase: parts of the total in proportion to `shares`."""
    # Volts come in tenths and amperes in hundredths, so whole milli-VA are exact weights.
    weights = [round(share * 1000) for share in shares.values()]
    parts = apportion(round(found["active_power_total"]), weights)
    for phase, part in zip(shares, parts, strict=True):
        found[_POWER[phase]] = part
        found[_DRAWN[phase]], found[_FED[phase]] = (part, 0) if part > 0 else (0, -part)
