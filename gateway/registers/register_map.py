"""A compiled register map: renders snapshots to images."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from gateway.registers import mapfile
from gateway.registers.expression import Numbers
from gateway.registers.given import NOTHING_GIVEN, Given
from gateway.registers.image import Image, Layout, Span, Table
from gateway.registers.mapfile import Find, MapFile
from gateway.registers.register import SERIAL_NUMBER, Register
from gateway.registers.rendering import Key, Keyed, Live, Rendering
from gateway.snapshot import Snapshot
from gateway.snapshot.derive import PHASES, apportion
from gateway.snapshot.quantities import SERVICE

_TOTAL = "active_power_total"
# The phase powers by the total to which they sum.
_SPLITS = {
    f"active_power_{way}total": tuple(f"active_power_{way}{phase}" for phase in PHASES)
    for way in ("", "import_", "export_")
}


@dataclass(frozen=True, slots=True)
class _Coarse:
    """Phase powers that a map shows in integers of 10^exponent W (1 W or more).

    They sum to their total as the map shows it: within `lowest` and `highest` steps.
    """

    phases: Sequence[str]
    exponent: int
    lowest: float
    highest: float

    def split(self, numbers: Numbers) -> dict[tuple[str, int], int]:
        """Return the phase powers in watts that are whole steps, by name and exponent."""
        phases = [name for name in self.phases if name in numbers]
        if not phases:
            return {}
        total = numbers[_TOTAL]
        if self.phases != _SPLITS[_TOTAL]:
            # Drawn and fed in by phase follow from the same total: one of them is 0.
            total = sum(numbers[name] for name in phases)
        step_w = 10**self.exponent
        steps = round(max(self.lowest, min(self.highest, total / step_w)))
        parts = apportion(steps, [abs(round(numbers[name])) for name in phases])
        return {
            (name, self.exponent): part * step_w for name, part in zip(phases, parts, strict=True)
        }


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """A register map, ready to render.

    `written` is what its file says. `_template` holds the constants and the not-available patterns
    of all else.
    """

    written: MapFile
    layout: Layout
    _template: bytes
    rendering: Rendering
    _own: Sequence[Live]
    _coarse: Sequence[_Coarse]

    @classmethod
    def parse(
        cls,
        text: str,
        name: str,
        given: Given = NOTHING_GIVEN,
        find: Find = lambda _, __: None,
    ) -> "RegisterMap":
        """Compile the YAML of a map; `name` is the file name that a ConfigError shows.

        `find` returns text and file of the maps that it may be `like`.
        """
        written = mapfile.parse(text, name, given, find)
        coarse = _coarse(written.registers)
        words = _Words({(name, each.exponent) for each in coarse for name in each.phases})
        spans, exact = _lay_spans(written, words), _lay_exact(written, words)
        starts = bytes(words.starts) if written.whole_values else None
        return cls(
            written=written,
            layout=Layout(spans, exact, bytes(words.measured), written.max_read, starts),
            _template=bytes(words.template),
            rendering=Rendering(bytes(words.template), words.live),
            _own=words.own,
            _coarse=coarse,
        )

    @property
    def registers(self) -> Sequence[Register]:
        """Its lines, in the order of the file."""
        return self.written.registers

    def render(self, snapshot: Snapshot | None) -> Image:
        """Return the image of a snapshot; of None the constants, all else not available."""
        if snapshot is None:
            return Image(self.layout, self._template)
        return Image(self.layout, self.rendering.octets(self.numbers_of(snapshot), snapshot.texts))

    def numbers_of(self, snapshot: Snapshot) -> Keyed:
        """Return what the map shows numbers of, phase powers in its own steps among it."""
        numbers: Keyed = snapshot.numbers
        for coarse in self._coarse:
            numbers = {**numbers, **coarse.split(snapshot.numbers)}
        return numbers

    @property
    def own(self) -> frozenset[str]:
        """The quantities of the service itself that it shows."""
        return frozenset(own.register.quantity or "" for own in self._own)

    def with_own(self, octets: bytes, word: int, numbers: Callable[[], Numbers]) -> bytes:
        """Return words read from `word` on with the service's own quantities, where they show any.

        `numbers` is asked for them only then.
        """
        touched = self._own_in(word, len(octets) // 2)
        if not touched:
            return octets
        first = 2 * word
        found, patched = numbers(), bytearray(octets)
        for own in touched:
            for index, octet in enumerate(own.content(found, {}), own.start - first):
                if 0 <= index < len(patched):
                    patched[index] = octet
        return bytes(patched)

    def shows_own(self, word: int, count: int) -> bool:
        """Tell whether `count` words from `word` on show any of the service's own quantities."""
        return bool(self._own_in(word, count))

    def _own_in(self, word: int, count: int) -> Sequence[Live]:
        first, behind = 2 * word, 2 * (word + count)
        return [
            own
            for own in self._own
            if own.start < behind and first < own.start + 2 * own.register.words
        ]


class _Words:
    """The words of an image while they are laid out, one register after the other."""

    def __init__(self, coarse: Collection[tuple[str, int]]) -> None:
        self._coarse = coarse  # quantities and exponents of those that are split anew
        self.template = bytearray()
        self.measured = bytearray()
        self.starts = bytearray()  # 1 where a value, or a word without one, begins
        self.live: list[Live] = []
        self.own: list[Live] = []  # the service's own: not of any snapshot

    def lay(
        self,
        registers: Iterable[Register],
        first: int,
        end: int,
        filled: Iterable[tuple[int, int, int]] = (),
    ) -> int:
        """Append the words of addresses `first … end-1`; return where they lie."""
        word = len(self.measured)
        self.template += bytes(2 * (end - first))
        self.measured += bytes(end - first)
        self.starts += b"\1" * (end - first)
        for low, high, filling in filled:
            begin, behind = max(low, first), min(high + 1, end)
            if begin < behind:
                words = filling.to_bytes(2, "big") * (behind - begin)
                self.template[2 * (word + begin - first) : 2 * (word + behind - first)] = words
        for register in registers:
            if not first <= register.address < end:
                continue
            at = word + register.address - first
            octets = register.content
            if not isinstance(octets, bytes):
                kind = self.own if register.quantity in SERVICE else self.live
                kind.append(Live(2 * at, register, octets, self._key(register)))
                octets = octets({}, {})
            self.template[2 * at : 2 * at + len(octets)] = octets
            self.measured[at : at + register.words] = bytes([register.is_measured]) * register.words
            self.starts[at + 1 : at + register.words] = bytes(register.words - 1)
        return word

    def _key(self, register: Register) -> Key | None:
        """Return under what a register's number is found."""
        is_whole = register.type is not None and not register.type.is_float
        if (
            register.quantity
            and is_whole
            and (register.quantity, register.exponent) in self._coarse
        ):
            return register.quantity, register.exponent
        return register.quantity if register.quantity != SERIAL_NUMBER else None


def _lay_spans(written: MapFile, words: _Words) -> Mapping[Table, Sequence[Span]]:
    """Lay out each table's registers and filled ranges in runs without a gap."""
    laid: list[tuple[object, Sequence[Span]]] = []
    spans: dict[Table, Sequence[Span]] = {}
    for table in Table:
        own = [r for r in written.registers if table in r.tables and not r.only_count]
        filled = written.filled if table in written.tables else []
        # Tables that hold the same registers share their words.
        found = next((there for what, there in laid if what == (own, filled)), None)
        if found is None:
            ranges = _merged([(r.address, r.end) for r in own] + [(a, b + 1) for a, b, _ in filled])
            # Two filled ranges that touch stay two: no read crosses from one to the other.
            borders = {a for a, _, _ in filled} & {b + 1 for _, b, _ in filled}
            borders -= {inside for r in own for inside in range(r.address + 1, r.end)}
            found = [
                Span(first, end, words.lay(own, first, end, filled))
                for whole in ranges
                for first, end in _cut(whole, borders)
            ]
            laid.append(((own, filled), found))
        spans[table] = found
    return MappingProxyType(spans)


def _lay_exact(written: MapFile, words: _Words) -> Mapping[tuple[Table, int, int], int]:
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


def _cut(whole: tuple[int, int], borders: Iterable[int]) -> list[tuple[int, int]]:
    """Return a range (first, end) cut at the borders inside it."""
    cuts = sorted({*whole, *(at for at in borders if whole[0] < at < whole[1])})
    return list(pairwise(cuts))


def _coarse(registers: Iterable[Register]) -> list[_Coarse]:
    """Return the phase powers that must be split anew, for their steps are coarser than a watt."""
    limits: dict[tuple[str, int], tuple[float, float]] = {}
    for register in registers:
        if register.quantity and register.type and not register.type.is_float:
            ends = register.sign * register.type.lowest, register.sign * register.type.highest
            limits[register.quantity, register.exponent] = min(ends), max(ends)
    return [
        _Coarse(phases, exponent, lowest, highest)
        for (quantity, exponent), (lowest, highest) in limits.items()
        if exponent >= 0 and (phases := _SPLITS.get(quantity))
        if all((phase, exponent) in limits for phase in phases)
    ]
