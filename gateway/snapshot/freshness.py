"""How old a meter's values are, on a monotonic clock that is passed in."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What may be said of a meter's values."""

    WAITING = "waiting"  # no good telegram yet
    LIVE = "live"
    STALE = "stale"  # none for longer than the hold time


@dataclass(slots=True)
class Freshness:
    """Ages from the last byte of the last good telegram. `hold_s`: how long it may be served."""

    hold_s: float
    received: float | None = None

    def age_s(self, now: float) -> float | None:
        """Return the seconds since the last good telegram; None before the first."""
        return None if self.received is None else max(0.0, now - self.received)

    def state(self, now: float) -> State:
        """Return what may be said at `now`."""
        age_s = self.age_s(now)
        if age_s is None:
            return State.WAITING
        return State.LIVE if age_s <= self.hold_s else State.STALE
