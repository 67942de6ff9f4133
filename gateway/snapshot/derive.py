"""Quantities that the meter does not send but physics gives, from those that it does.

The meters send U and I of each phase without sign, and the power balanced over all phases. A
client that reads power by phase gets the total split by U·I; with single-phase generation the
true phases may differ in sign, which nothing here can know.
"""

from collections.abc import Mapping, Sequence
from math import sqrt

Numbers = Mapping[str, int | float]

PHASES = ("l1", "l2", "l3")
LINES = (("l12", "l1", "l2"), ("l23", "l2", "l3"), ("l31", "l3", "l1"))


def derive(measured: Numbers) -> dict[str, int | float]:
    """Return all that `measured` allows to derive; what needs a missing quantity is missing."""
    voltages = {p: measured[f"voltage_{p}"] for p in PHASES if f"voltage_{p}" in measured}
    currents = {p: measured[f"current_{p}"] for p in PHASES if f"current_{p}" in measured}
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
        found |= _powers(measured.get("power_factor_total"), found, voltages, currents)
    elif not voltages and "active_power_total" in found:
        # Without voltages the currents tell the shares; without those, clients that add up the
        # phases must still find the total: all of it stands on L1.
        shares = currents or dict.fromkeys(PHASES, 0.0)
        found |= _split(found["active_power_total"], shares)
    if currents and voltages.keys() <= currents.keys():
        found["current_total"] = sum(currents.values())
        found["current_avg"] = _mean(list(currents.values()))
    if live := [volts for volts in voltages.values() if volts > 0]:
        found["voltage_ln_avg"] = _mean(live)
    lines = {
        f"voltage_{line}": line_voltage(voltages[a], voltages[b])
        for line, a, b in LINES
        if a in voltages and b in voltages
    }
    if lines:
        found |= lines
        found["voltage_ll_avg"] = _mean(list(lines.values()))
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
    parts, rests = [], []
    for weight in weights:
        part, rest = divmod(whole * weight, weight_sum)
        parts.append(sign * part)
        rests.append(rest)
        left -= part
    while left:
        most = rests.index(max(rests))
        parts[most] += sign
        rests[most] = -1
        left -= 1
    return parts


def _powers(
    sent_factor: float | None, totals: Numbers, voltages: Numbers, currents: Numbers
) -> dict[str, int | float]:
    """Return apparent power, and the split of the active power when that is known.

    `sent_factor` is the power factor where the meter sends one; the phases then have it too.
    """
    apparent = {phase: voltages[phase] * currents[phase] for phase in voltages}
    total_va = sum(apparent.values())
    found: dict[str, int | float] = {f"apparent_power_{p}": va for p, va in apparent.items()}
    found["apparent_power_total"] = total_va
    total_w = totals.get("active_power_total")
    if total_w is None:
        return found
    found |= _split(round(total_w), apparent)
    drawing = total_w >= 0
    for of, va in (("total", total_va), *apparent.items()):
        found[f"apparent_power_import_{of}"] = va if drawing else 0
        found[f"apparent_power_export_{of}"] = 0 if drawing else va
    if total_va > 0:
        # Small currents are rounded more than the power is, so the quotient may pass 1.
        factor = max(-1.0, min(1.0, total_w / total_va))
        found["power_factor_total"] = factor
        factor = factor if sent_factor is None else sent_factor
        found |= {f"power_factor_{p}": factor for p, power in apparent.items() if power > 0}
    return found


def _split(total_w: int | float, shares: Numbers) -> dict[str, int | float]:
    """Return the active power by phase: parts of the total in proportion to `shares`."""
    # Volts come in tenths and amperes in hundredths, so whole milli-VA are exact weights.
    weights = [round(share * 1000) for share in shares.values()]
    found: dict[str, int | float] = {}
    for phase, part in zip(shares, apportion(round(total_w), weights), strict=True):
        found[f"active_power_{phase}"] = part
        found[f"active_power_import_{phase}"] = max(part, 0)
        found[f"active_power_export_{phase}"] = max(-part, 0)
    return found


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
