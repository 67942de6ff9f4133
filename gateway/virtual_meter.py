"""A meter that is made of others: their sum, or one less the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.snapshot import Adjustment, Age, Diagnostics, OldestOf, Snapshot
from gateway.snapshot.combine import Combination, combine, fallen
from gateway.snapshot.freshness import State

AS_IT_IS = Adjustment()


class Combinable(Protocol):
    """A meter that others can be made of; a virtual one is one, too."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The last good one; None before the first."""

    @property
    def freshness(self) -> Age:
        """How old it is."""

    @property
    def diagnostics(self) -> Diagnostics:
        """What was counted of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A meter that another is made of; `adjustment` is how it is seen there."""

    meter: Combinable
    adjustment: Adjustment = AS_IT_IS

    @property
    def seen(self) -> Snapshot | None:
        """Its last good snapshot as it is seen; None before the first."""
        snapshot = self.meter.snapshot
        if snapshot is None or self.adjustment == AS_IT_IS:
            return snapshot
        return self.adjustment.of(snapshot)


class VirtualMeter:
    """Pairs the last telegrams of its parts; `take` is called when one of them has a new one.

    It is as old as the oldest of them. `say` hears, in words, what somebody should know of.
    """

    def __init__(
        self,
        name: str,
        how: Combination,
        parts: Sequence[Part],
        hold_s: float,
        say: Callable[[str], None],
    ) -> None:
        self.name = name
        self.freshness = OldestOf(hold_s, [part.meter.freshness for part in parts])
        self.snapshot: Snapshot | None = None
        self._how = how
        self._parts = parts
        self._seen: Sequence[Snapshot] = ()
        self._say = say

    def take(self, now: float) -> bool:
        """Combine what the parts say at `now` (seconds, monotonic); tell whether all say enough.

        If not, the last whole combination stays, and ages.
        """
        if self.freshness.state(now) in (State.WAITING, State.STALE):
            return False
        seen = [snapshot for part in self._parts if (snapshot := part.seen) is not None]
        before, self.snapshot = self.snapshot, combine(self._how, seen)
        seen_before, self._seen = self._seen, seen
        if before is not None:
            for energy in fallen(before, self.snapshot):
                steps = zip(self._parts, seen_before, seen, strict=True)
                names = [part.meter.name for part, old, new in steps if energy in fallen(old, new)]
                self._say(
                    f"{energy} runs backwards, from {before.numbers[energy]} to "
                    f"{self.snapshot.numbers[energy]}, as it does at {' and '.join(names)}"
                )
        return True

    def late(self, now: float) -> list[str]:
        """Return the names of the parts for which it must not be served at `now`."""
        return [
            part.meter.name
            for part in self._parts
            if part.meter.freshness.state(now, self.freshness.hold_s)
            in (State.WAITING, State.STALE)
        ]

    @property
    def diagnostics(self) -> Diagnostics:
        """What was counted of all its parts; the invocation counters are theirs alone."""
        counted = [part.meter.diagnostics for part in self._parts]
        together = Diagnostics(min(each.began for each in counted))
        for each in counted:
            together.telegrams += each.telegrams
            together.held += each.held
            together.faults.update(each.faults)
        return together
