"""What the service itself knows of a meter: how its telegrams fare, and for how long. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.snapshot.freshness import Age, State
from gateway.snapshot.quantities import AGE, FAULTS
from gateway.telegram import Fault, Layer, Telegram

# What meter_state reads: Modbus knows numbers only. They are in the map's notes and never change.
STATE_CODES: Mapping[State, int] = MappingProxyType(
    {State.WAITING: 0, State.LIVE: 1, State.HOLDING: 2, State.STALE: 3}
)
FRESHNESS = frozenset({AGE.name, "meter_state", "telegram_pause"})


def freshness_numbers(
    freshness: Age, now: float, hold_s: float | None = None
) -> dict[str, int | float]:
    """Return the quantities of `FRESHNESS` at `now`; what there is not yet is absent."""
    numbers: dict[str, int | float] = {"meter_state": STATE_CODES[freshness.state(now, hold_s)]}
    if (age_s := freshness.age_s(now)) is not None:
        numbers[AGE.name] = age_s
    if (pause_s := freshness.pause_s) is not None:
        numbers["telegram_pause"] = pause_s
    return numbers


@dataclass(slots=True)
class Diagnostics:
    """Counts of what came since `began`, when the service started (seconds, monotonic).

    `held` counts the telegrams that had to wait for the next one to confirm them.
    """

    began: float = 0.0
    telegrams: int = 0
    held: int = 0
    faults: Counter[Layer] = field(default_factory=Counter)
    invocation_counter: int | None = None  # of the last good telegram

    def good(self, telegram: Telegram) -> None:
        """Count a good telegram."""
        self.telegrams += 1
        self.invocation_counter = telegram.invocation_counter

    def bad(self, fault: Fault) -> None:
        """Count a fault."""
        self.faults[fault.layer] += 1

    def numbers(self, now: float) -> dict[str, int | float]:
        """Return the service's quantities at `now`, without those of `FRESHNESS`."""
        numbers: dict[str, int | float] = {
            "service_uptime": max(0.0, now - self.began),
            "telegrams_good": self.telegrams,
            "telegrams_held": self.held,
            "faults_total": self.faults.total(),
        }
        numbers |= {name: self.faults[layer] for layer, name in FAULTS.items()}
        if self.invocation_counter is not None:
            numbers["invocation_counter"] = self.invocation_counter
        return numbers
