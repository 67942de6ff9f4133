"""How old a meter's values are, on a monotonic clock that is passed in.

    WAITING ─▶ LIVE ─▶ HOLDING ─▶ STALE
                ▲────────┴──────────┘ with the first good telegram

Nothing but a good telegram counts: bytes that make none leave a meter as stale as silence does.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

KEPT_PAUSES = 5  # between telegrams; the middle one is the usual one, whatever two of them were
OVERDUE_PAUSES = 2.0
SHORTEST_PAUSE_S = 1.0  # no meter pushes more often; what comes closer was read from a recording


class State(StrEnum):
    """What may be said of a meter's values."""

    WAITING = "waiting"  # no good telegram yet
    LIVE = "live"
    HOLDING = "holding"  # the next telegram is overdue, the last one is served for now
    STALE = "stale"  # none for longer than the hold time


class Age:
    """How old values are that may be served for `hold_s`; its kinds know since when."""

    __slots__ = ()
    hold_s: float

    @property
    def received(self) -> float | None:
        """When the last byte of the last good telegram came; None before the first."""
        raise NotImplementedError

    @property
    def pause_s(self) -> float | None:
        """The usual pause between two good telegrams in seconds; None before the second."""
        raise NotImplementedError

    def age_s(self, now: float) -> float | None:
        """Return the seconds since the last good telegram; None before the first."""
        received = self.received
        return None if received is None else max(0.0, now - received)

    def state(self, now: float, hold_s: float | None = None) -> State:
        """Return what may be said at `now`; with a `hold_s` of its own for one who asks so."""
        age_s = self.age_s(now)
        if age_s is None:
            return State.WAITING
        if age_s > (self.hold_s if hold_s is None else hold_s):
            return State.STALE
        pause_s = self.pause_s
        if pause_s is not None and age_s > OVERDUE_PAUSES * max(pause_s, SHORTEST_PAUSE_S):
            return State.HOLDING
        return State.LIVE


@dataclass(slots=True)
class Freshness(Age):
    """Ages from the last byte of the last good telegram. `hold_s`: how long it may be served."""

    hold_s: float
    received: float | None = None
    _pauses: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_PAUSES), repr=False)

    def came(self, received: float) -> None:
        """Take a good telegram, whose last byte came at `received`."""
        if self.received is not None:
            self._pauses.append(received - self.received)
        self.received = received

    @property
    def pause_s(self) -> float | None:
        """The usual pause between two good telegrams in seconds; None before the second."""
        return sorted(self._pauses)[len(self._pauses) // 2] if self._pauses else None


@dataclass(frozen=True, slots=True)
class OldestOf(Age):
    """The age of what is made of several meters' values: that of the oldest of them.

    It waits while one of them waits. With a `hold_s` no longer than any of theirs it is stale
    whenever one of them is.
    """

    hold_s: float
    parts: Sequence[Age]

    @property
    def received(self) -> float | None:
        """When the oldest telegram came; None while one of the meters has none."""
        oldest = None
        for part in self.parts:
            received = part.received
            if received is None:
                return None
            if oldest is None or received < oldest:
                oldest = received
        return oldest

    @property
    def pause_s(self) -> float | None:
        """The usual pause of the slowest meter in seconds; None before each had two telegrams."""
        pauses = [part.pause_s for part in self.parts]
        known = [pause_s for pause_s in pauses if pause_s is not None]
        return max(known) if len(known) == len(pauses) else None
