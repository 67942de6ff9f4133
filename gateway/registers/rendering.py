"""The numbers of a snapshot → the octets of an image, many registers at once.

`Register.content` makes the bytes of one register. Here all registers of a kind go through the same
steps together (look up, scale, limit, round, pack), each step a single call for a whole list, which
is some ten times as fast. What these steps do not do exactly alike, they leave to `content`.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from math import isfinite
from operator import itemgetter, mul, truediv
from typing import Any, NamedTuple

from gateway.registers.register import Content, Register

# Quantities by name; phase powers in coarse steps by name and exponent as well.
Key = str | tuple[str, int]
Keyed = Mapping[Any, int | float]
Texts = Mapping[str, str]

# A meter that sends either of these has phases.
FIRST_PHASE = frozenset(("voltage_l1", "current_l1"))
OTHER_PHASES = ("l2", "l3")
PHASES = FIRST_PHASE.union(*((f"voltage_{p}", f"current_{p}") for p in OTHER_PHASES))
MOST_EXACT = 2**53  # floats hold every whole number up to here
MOST_EXPONENT = 22  # and every power of ten up to 10^22


class UnusualError(Exception):
    """A number that there is not, or that is not finite, has no place among others."""


@dataclass(frozen=True, slots=True)
class Live:
    """A register whose bytes depend on the snapshot, and the byte at which it lies.

    `key` is under what its quantity is found; None: it shows more than that, or a text.
    """

    start: int
    register: Register
    content: Content
    key: Key | None

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.start + 2 * self.register.words

    def octets(self, numbers: Keyed, texts: Texts) -> bytes:
        """Return its bytes, made alone."""
        if self.key is not None:
            numbers = {self.register.quantity: numbers[self.key]}
        return self.content(numbers, texts)


class _Kind(Enum):
    """What takes the same steps."""

    FLOAT = "float"
    WHOLE = "whole"  # integers of up to 32 bits: floats on their way are exact
    WIDE = "wide"  # longer ones
    OTHER = "other"  # each made alone
    TEXT = "text"


def _kind(live: Live) -> _Kind:
    shown, exponent = live.register.type, live.register.exponent
    if shown is None:
        return _Kind.TEXT
    if abs(exponent) > MOST_EXPONENT:
        return _Kind.OTHER
    if shown.is_float:
        return _Kind.FLOAT
    if shown.words <= 2:
        is_exact = shown.highest * 10**exponent < MOST_EXACT
        return _Kind.WHOLE if is_exact else _Kind.OTHER
    return _Kind.WIDE if exponent <= 0 else _Kind.OTHER


class _Group:
    """Registers that take the same steps, those with the same limits side by side."""

    def __init__(self, kind: _Kind, members: Sequence[Live], *, is_little: bool) -> None:
        self._is_little = is_little
        looked_up = [live.key for live in members if live.key is not None]
        self._take = _getter(looked_up)
        registers = [live.register for live in members]
        self._evaluate = [r.number for r in registers[len(looked_up) :] if r.number]
        # Dividing by 10^n rounds once; multiplying by 10^-n would first round the factor.
        signs = [r.sign if live.key else 1 for live, r in zip(members, registers, strict=True)]
        factors: list[float] = [
            sign * 10 ** max(0, -r.exponent) for sign, r in zip(signs, registers, strict=True)
        ]
        divisors = [10 ** max(0, r.exponent) for r in registers]
        self._divisors = divisors if set(divisors) != {1} else None
        self._factors: list[float] | None = factors if set(factors) != {1} else None
        self._limits: list[tuple[int, int, float, float]] = []
        self._round: Callable[[Any], int] | None = None
        if kind is not _Kind.FLOAT:
            self._limits = _limits(registers)
            self._round = round
        if kind is _Kind.WHOLE:
            self._round = float.__round__  # twice as fast as `round`, and for floats alone
            self._limits = [(a, b, float(low), float(high)) for a, b, low, high in self._limits]
            if self._divisors is None or self._factors is not None:
                self._factors = [float(factor) for factor in factors]
        codes = [_code(register) for register in registers]
        self._packer = struct.Struct(">" + "".join(codes))
        self._words = struct.Struct(f">{self._packer.size // 2}H")
        self.slots = [
            _Slot(live.start, live.end - live.start, code)
            for live, code in zip(members, codes, strict=True)
        ]
        if is_little:
            # The first word stands last.
            self.slots = [
                _Slot(start, 2, "H")
                for live in members
                for start in range(live.end - 2, live.start - 1, -2)
            ]

    def shown(self, numbers: Keyed) -> Sequence[int | float]:
        """Return what is packed: a number for each member, or its words if they are `little`.

        UnusualError or OverflowError: these numbers must be shown one by one. KeyError: one misses.
        """
        taken: Iterable[int | float] = self._take(numbers)
        if self._evaluate:
            taken = [*taken, *self._computed(numbers)]
        if self._factors:
            taken = map(mul, taken, self._factors)
        if self._divisors:
            taken = map(truediv, taken, self._divisors)
        shown = list(taken)
        if not isfinite(sum(shown)):
            raise UnusualError
        for first, end, lowest, highest in self._limits:
            part = sorted(shown[first:end])  # half the price of min and max
            if part[0] < lowest or part[-1] > highest:
                shown[first:end] = [max(lowest, min(highest, n)) for n in shown[first:end]]
        if self._round:
            shown = list(map(self._round, shown))
        return self._words.unpack(self._packer.pack(*shown)) if self._is_little else shown

    def _computed(self, numbers: Keyed) -> Iterator[int | float]:
        for evaluate in self._evaluate:
            number = evaluate(numbers)
            if number is None:
                raise UnusualError
            yield number


def _code(register: Register) -> str:
    """Return the `struct` code of a number's type."""
    return register.type.packer.format.lstrip(">") if register.type else ""


def _grouped(lives: Iterable[Live]) -> list[_Group]:
    """Return the groups of those that go together."""
    members: dict[tuple[_Kind, bool], list[Live]] = {}
    for live in lives:
        kind = _kind(live)
        if kind not in (_Kind.OTHER, _Kind.TEXT):
            is_little = live.register.is_little and live.register.words > 1
            members.setdefault((kind, is_little), []).append(live)
    return [
        _Group(kind, sorted(own, key=_place_in_group), is_little=is_little)
        for (kind, is_little), own in members.items()
    ]


def _place_in_group(live: Live) -> tuple[bool, float, float]:
    """Order what is looked up before what is computed, and by limits."""
    return (live.key is None, *_limits_of(live.register))


def _limits(registers: Sequence[Register]) -> list[tuple[int, int, float, float]]:
    """Return runs of registers with the same limits: first, end, lowest, highest."""
    found, first = [], 0
    for limits, run in groupby(registers, key=_limits_of):
        end = first + len(list(run))
        found.append((first, end, *limits))
        first = end
    return found


def _limits_of(register: Register) -> tuple[float, float]:
    return (register.type.lowest, register.type.highest) if register.type else (0, 0)


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes several items out of a mapping or sequence, as a tuple."""
    if len(keys) == 1:
        return lambda items: (items[keys[0]],)
    return itemgetter(*keys) if keys else lambda _: ()


class _Slot(NamedTuple):
    """Where a value goes in the image, and as what it is packed."""

    start: int
    size: int
    code: str


class _Plan:
    """The steps for the registers whose numbers a snapshot has; all else is constant."""

    def __init__(self, template: bytes, live: Iterable[Live], missing: frozenset[str]) -> None:
        self.missing = missing
        present = [each for each in live if missing.isdisjoint(each.register.needs)]
        self._groups = _grouped(present)
        self._others = [each for each in present if _kind(each) is _Kind.OTHER]
        self._texts = [each for each in present if _kind(each) is _Kind.TEXT]
        self._shown_texts: tuple[Texts | None, Sequence[bytes]] = (None, [])
        # In the order in which the values are made.
        slots = [slot for group in self._groups for slot in group.slots]
        slots += [_whole(each.start, each.end) for each in (*self._others, *self._texts)]
        gaps = _gaps(slots, len(template))
        slots += gaps
        self._constants = [template[gap.start : gap.start + gap.size] for gap in gaps]
        # In the order in which they stand.
        order = sorted(range(len(slots)), key=lambda place: slots[place].start)
        self._order = _getter(order)
        self._packer = struct.Struct(">" + "".join(slots[place].code for place in order))

    def octets(self, numbers: Keyed, texts: Texts) -> bytes:
        """Return the octets of an image; errors as of `_Group.shown`."""
        shown: list[int | float | bytes] = []
        for group in self._groups:
            shown += group.shown(numbers)
        shown += [other.octets(numbers, texts) for other in self._others]
        shown += self._texts_of(texts)
        shown += self._constants
        return self._packer.pack(*self._order(shown))

    def _texts_of(self, texts: Texts) -> Sequence[bytes]:
        """Return the texts' bytes; they are those of the last telegram, nearly always."""
        if self._texts and self._shown_texts[0] != texts:
            self._shown_texts = texts, [text.octets({}, texts) for text in self._texts]
        return self._shown_texts[1]


def _whole(start: int, end: int) -> _Slot:
    return _Slot(start, end - start, f"{end - start}s")


def _gaps(slots: Iterable[_Slot], size: int) -> list[_Slot]:
    """Return the slots of what lies between others, up to `size`."""
    gaps, at = [], 0
    for slot in sorted(slots):
        gaps.append(_whole(at, slot.start))
        at = slot.start + slot.size
    return [gap for gap in [*gaps, _whole(at, size)] if gap.size]


class Rendering:
    """What makes the octets of one map's images.

    `template` has the constants, and the not-available patterns of all that is `live`.
    """

    def __init__(self, template: bytes, live: Sequence[Live]) -> None:
        self._template = template
        self._live = live
        self._needs = frozenset[str]().union(*(each.register.needs for each in live))
        self._unconnected = [each for each in live if each.register.unconnected is not None]
        if self._unconnected:
            self._needs |= PHASES
        # Which quantities a meter sends hardly ever changes.
        self._plan = self._plan_without(frozenset())

    def octets(self, numbers: Keyed, texts: Texts) -> bytes:
        """Return the octets of the image that shows these numbers and texts."""
        plan = self._plan
        if numbers.keys().isdisjoint(plan.missing):
            try:
                return plan.octets(numbers, texts)
            except (KeyError, UnusualError, OverflowError):
                pass
        missing = self._needs.difference(numbers)
        if missing == plan.missing:
            return self.one_by_one(numbers, texts)
        self._plan = self._plan_without(missing)
        return self.octets(numbers, texts)

    def _plan_without(self, missing: frozenset[str]) -> _Plan:
        return _Plan(self._blank(missing), self._live, missing)

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

    def one_by_one(self, numbers: Keyed, texts: Texts) -> bytes:
        """Return the same octets, made by each register alone."""
        octets = bytearray(self._blank(self._needs.difference(numbers)))
        for live in self._live:
            if live.register.needs <= numbers.keys():
                octets[live.start : live.end] = live.octets(numbers, texts)
        return bytes(octets)
