"""Phase powers in steps coarser than the meter's: they still sum to their total."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.registers.expression import Numbers
from gateway.registers.register import Register
from gateway.snapshot.derive import PHASES, apportion

_TOTAL = "active_power_total"
# The phase powers by the total to which they sum.
_SPLITS = {
    f"active_power_{way}total": tuple(f"active_power_{way}{phase}" for phase in PHASES)
    for way in ("", "import_", "export_")
}


@dataclass(frozen=True, slots=True)
class Coarse:
    """Phase powers that a map shows in integers of 10^exponent W (1 W or more).

    They sum to their total as the map shows it: within `lowest` and `highest` steps.
    """

    phases: Sequence[str]
    exponent: int
    lowest: float
    highest: float

    def known(self, numbers: Iterable[str]) -> list[str]:
        """Return those of the phase powers that are among the quantities."""
        return [name for name in self.phases if name in numbers]

    def split(self, numbers: Numbers) -> dict[tuple[str, int], int]:
        """Return the phase powers in watts that are whole steps, by name and exponent."""
        known = self.known(numbers)
        powers = [numbers[name] for name in known]
        steps = self.steps(numbers, powers) if powers else []
        step_w = 10**self.exponent
        return {
            (name, self.exponent): step_w * part for name, part in zip(known, steps, strict=True)
        }

    def steps(self, numbers: Numbers, powers: Sequence[int | float]) -> list[int]:
        """Return in whole steps the phase powers that are known, at least one."""
        # Drawn and fed in by phase follow from the same total: one of them is 0.
        is_net = self.phases == _SPLITS[_TOTAL]
        total = (numbers[_TOTAL] if is_net else sum(powers)) / 10**self.exponent
        if not self.lowest <= total <= self.highest:
            total = max(self.lowest, min(self.highest, total))
        return apportion(round(total), [abs(round(power)) for power in powers])


def coarse_powers(registers: Iterable[Register]) -> list[Coarse]:
    """Return the phase powers that must be split anew, for their steps are coarser than a watt."""
    limits: dict[tuple[str, int], tuple[float, float]] = {}
    for register in registers:
        if register.quantity and register.type and not register.type.is_float:
            ends = register.sign * register.type.lowest, register.sign * register.type.highest
            limits[register.quantity, register.exponent] = min(ends), max(ends)
    return [
        Coarse(phases, exponent, lowest, highest)
        for (quantity, exponent), (lowest, highest) in limits.items()
        if exponent >= 0 and (phases := _SPLITS.get(quantity))
        if all((phase, exponent) in limits for phase in phases)
    ]
