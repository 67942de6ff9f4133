"""A compiled register map: renders snapshots to images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gateway.registers import mapfile
from gateway.registers.expression import Numbers
from gateway.registers.image import Image, Layout, Span, Table
from gateway.registers.mapfile import Register, Stale
from gateway.snapshot import Snapshot
from gateway.snapshot.derive import PHASES, apportion
from gateway.snapshot.quantities import AGE

_SPLIT = tuple(f"active_power_{phase}" for phase in PHASES)
_TOTAL = "active_power_total"


@dataclass(frozen=True, slots=True)
class _Live:
    """A register whose bytes depend on the snapshot, and the byte at which it lies."""

    start: int
    register: Register
    content: Callable[[Numbers, Mapping[str, str]], bytes]


@dataclass(frozen=True, slots=True)
class _Coarse:
    """Total and phase powers that a map shows in integers of `step_w` (> 1), within limits."""

    step_w: int
    lowest: float
    highest: float

    def split(self, numbers: Numbers) -> dict[str, int]:
        """Return the phase powers in whole steps that sum to the total as the map shows it."""
        phases = [name for name in _SPLIT if name in numbers]
        if not phases:
            return {}
        steps = round(max(self.lowest, min(self.highest, numbers[_TOTAL] / self.step_w)))
        parts = apportion(steps, [abs(round(numbers[name])) for name in phases])
        return {name: part * self.step_w for name, part in zip(phases, parts, strict=True)}

    def shows(self, register: Register) -> bool:
        """Tell whether the register is one of the phase powers in steps."""
        is_integer = register.type is not None and not register.type.is_float
        return register.quantity in _SPLIT and is_integer


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """A register map, ready to render.

    `title` is the map's own name, `registers` are its lines. `_template` holds the constants and
    the not-available patterns of all else.
    """

    title: str
    stale: Stale
    word_order: str
    registers: Sequence[Register]
    sources: Sequence[str]
    notes: Sequence[str]
    layout: Layout
    _template: bytes
    _live: Sequence[_Live]
    _ages: Sequence[_Live]
    _coarse: _Coarse | None

    @classmethod
    def parse(cls, text: str, name: str) -> "RegisterMap":
        """Compile the YAML of a map; `name` is the file name that a ConfigError shows."""
        written = mapfile.parse(text, name)
        words = _Words()
        spans, exact = _lay_spans(written, words), _lay_exact(written, words)
        return cls(
            title=written.name,
            stale=written.stale,
            word_order=written.word_order,
            registers=written.registers,
            sources=written.sources,
            notes=written.notes,
            layout=Layout(spans, exact, bytes(words.measured)),
            _template=bytes(words.template),
            _live=words.live,
            _ages=words.ages,
            _coarse=_coarse(written.registers),
        )

    def render(self, snapshot: Snapshot | None) -> Image:
        """Return the image of a snapshot; of None the constants, all else not available."""
        if snapshot is None:
            return Image(self.layout, self._template)
        numbers = {name: value.number for name, value in snapshot.values.items()}
        split = self._coarse.split(numbers) if self._coarse else {}
        octets = bytearray(self._template)
        for live in self._live:
            quantity = live.register.quantity
            if quantity and quantity not in numbers:
                continue  # the template shows that it is not available
            is_coarse = self._coarse is not None and self._coarse.shows(live.register)
            content = live.content(split if is_coarse else numbers, snapshot.texts)
            octets[live.start : live.start + len(content)] = content
        return Image(self.layout, bytes(octets))

    def with_age(self, octets: bytes, word: int, age_s: float | None) -> bytes:
        """Return words read from `word` on with the telegram's age, where they show it."""
        if not self._ages or age_s is None:
            return octets
        patched = bytearray(octets)
        for age in self._ages:
            content = age.content({AGE.name: age_s}, {})
            for index, octet in enumerate(content, age.start - 2 * word):
                if 0 <= index < len(patched):
                    patched[index] = octet
        return bytes(patched)


class _Words:
    """The words of an image while they are laid out, one register after the other."""

    def __init__(self) -> None:
        self.template = bytearray()
        self.measured = bytearray()
        self.live: list[_Live] = []
        self.ages: list[_Live] = []

    def lay(self, registers: Iterable[Register], first: int, end: int) -> int:
        """Append the words of addresses `first … end-1`; return where they lie."""
        word = len(self.measured)
        self.template += bytes(2 * (end - first))
        self.measured += bytes(end - first)
        for register in registers:
            if not first <= register.address < end:
                continue
            at = word + register.address - first
            octets = register.content
            if not isinstance(octets, bytes):
                kind = self.ages if register.quantity == AGE.name else self.live
                kind.append(_Live(2 * at, register, octets))
                octets = octets({}, {})
            self.template[2 * at : 2 * at + len(octets)] = octets
            self.measured[at : at + register.words] = bytes([register.is_measured]) * register.words
        return word


def _lay_spans(written: mapfile.MapFile, words: _Words) -> Mapping[Table, Sequence[Span]]:
    """Lay out each table's registers and zero ranges in runs without a gap."""
    laid: list[tuple[object, Sequence[Span]]] = []
    spans: dict[Table, Sequence[Span]] = {}
    for table in Table:
        own = [r for r in written.registers if table in r.tables and not r.only_count]
        zeros = [(a, b + 1) for a, b in written.zero_ranges if table in written.tables]
        # Tables that hold the same registers share their words.
        found = next((there for what, there in laid if what == (own, zeros)), None)
        if found is None:
            ranges = _merged([(r.address, r.end) for r in own] + zeros)
            found = [Span(first, end, words.lay(own, first, end)) for first, end in ranges]
            laid.append(((own, zeros), found))
        spans[table] = found
    return MappingProxyType(spans)


def _lay_exact(written: mapfile.MapFile, words: _Words) -> Mapping[tuple[Table, int, int], int]:
    """Lay out the registers that answer only a read of just themselves."""
    found: dict[tuple[Table, int, int], int] = {}
    for register in written.registers:
        if register.only_count:
            word = words.lay([register], register.address, register.end)
            found |= {(table, register.address, register.words): word for table in register.tables}
    return MappingProxyType(found)


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sorted ranges (first, end) of which those that touch or overlap are one."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged


def _coarse(registers: Iterable[Register]) -> _Coarse | None:
    """Return the steps of a map that shows total and phase powers in integers of 10^n W, n > 0."""
    found = {
        register.quantity: (register.exponent, register.type)
        for register in registers
        if register.quantity in (_TOTAL, *_SPLIT) and register.type and not register.type.is_float
    }
    kinds = set(found.values())
    if len(found) < len((_TOTAL, *_SPLIT)) or len(kinds) > 1:
        return None
    exponent, register_type = kinds.pop()
    if exponent <= 0:
        return None
    return _Coarse(10**exponent, register_type.lowest, register_type.highest)
