"""The numbers of a snapshot → the octets of an image.

`one_by_one` defines them: each register shows its own content. What a meter sends hardly ever
changes its kind, so a `plan` makes the same octets at once, some ten times as fast; a snapshot with
numbers that it is not made for goes the way that defines.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.registers.coarse import Coarse
from gateway.registers.expression import Numbers
from gateway.registers.plan import UNFIT, Live, Plan, Texts, planned

MAX_PLANS = 16  # of a map: its meters send that many different lists at most

# A meter that sends either of these has phases.
FIRST_PHASE = frozenset(("voltage_l1", "current_l1"))
OTHER_PHASES = ("l2", "l3")
PHASES = FIRST_PHASE.union(*((f"voltage_{p}", f"current_{p}") for p in OTHER_PHASES))


class _Kind(NamedTuple):
    """What a plan is made for: which quantities miss, and which may be floats."""

    missing: frozenset[str]
    fractional: frozenset[str]


class Rendering:
    """What makes the octets of one map's images.

    `template` has the constants, and the not-available patterns of all that is `live`. The `plan`
    is for numbers such as those of the last snapshot; those of other meters on this map are kept.
    """

    plan: Plan
    _kind: _Kind

    def __init__(self, template: bytes, live: Sequence[Live], coarse: Sequence[Coarse]) -> None:
        self._template = template
        self._live = live
        self._coarse = coarse
        self._needs = frozenset[str]().union(*(each.register.needs for each in live))
        self._unconnected = [each for each in live if each.register.unconnected is not None]
        if self._unconnected:
            self._needs |= PHASES
        self._plans: dict[frozenset[str], tuple[_Kind, Plan]] = {}  # by what misses
        self._plan_for(_Kind(self._needs, frozenset()))

    def octets(self, numbers: Numbers, texts: Texts) -> bytes:
        """Return the octets of the image that shows these numbers and texts."""
        if numbers.keys().isdisjoint(self._kind.missing):
            try:
                return self.plan(numbers, texts)
            except UNFIT:
                pass
        missing = self._needs.difference(numbers)
        floats = {name for name in self._needs if isinstance(numbers.get(name), float)}
        kind, plan = self._plans.get(missing, (_Kind(missing, frozenset()), None))
        if plan is None or not floats <= kind.fractional:
            self._plan_for(_Kind(missing, kind.fractional | floats))
        elif kind == self._kind:
            return self.one_by_one(numbers, texts)  # its plan is not made for these
        else:
            self._kind, self.plan = kind, plan
        return self.octets(numbers, texts)

    def one_by_one(self, numbers: Numbers, texts: Texts) -> bytes:
        """Return the same octets, made by each register alone."""
        octets = bytearray(self._blank(self._needs.difference(numbers)))
        steps: dict[tuple[str, int], int] = {}
        for coarse in self._coarse:
            steps |= coarse.split(numbers)
        for live in self._live:
            register = live.register
            if not register.needs <= numbers.keys():
                continue
            shown, quantity = numbers, register.quantity
            is_whole = register.type is not None and not register.type.is_float
            if quantity and is_whole and (quantity, register.exponent) in steps:
                shown = {quantity: steps[quantity, register.exponent]}
            octets[live.start : live.end] = live.content(shown, texts)
        return bytes(octets)

    def _plan_for(self, kind: _Kind) -> None:
        present = [live for live in self._live if live.register.needs.isdisjoint(kind.missing)]
        needs = self._needs - kind.missing
        blank = bytes(self._blank(kind.missing))
        self._kind = kind
        self.plan = planned(blank, present, self._coarse, needs, kind.fractional)
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        self._plans[kind.missing] = kind, self.plan

    def _blank(self, missing: frozenset[str]) -> bytes:
        """Return the template; where the meter has its first phase alone, the others stand idle.

        Not so a phase under voltage whose current is not known.
        """
        if missing >= FIRST_PHASE:
            return self._template
        unknown = {
            phase
            for phase in OTHER_PHASES
            if f"current_{phase}" in missing and f"voltage_{phase}" not in missing
        }
        octets = bytearray(self._template)
        for live in self._unconnected:
            if unknown.isdisjoint(name[-2:] for name in live.register.needs):
                octets[live.start : live.end] = live.register.unconnected or b""
        return bytes(octets)
