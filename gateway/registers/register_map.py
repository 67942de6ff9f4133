"""A compiled register map: renders snapshots to images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from gateway.registers import mapfile
from gateway.registers.coarse import coarse_powers
from gateway.registers.expression import Numbers
from gateway.registers.given import NOTHING_GIVEN, Given
from gateway.registers.image import Image, Layout, Span, Table
from gateway.registers.mapfile import Find, MapFile
from gateway.registers.plan import Live
from gateway.registers.register import Register
from gateway.registers.rendering import Rendering
from gateway.snapshot import Snapshot
from gateway.snapshot.quantities import SERVICE


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
        words = _Words()
        spans, exact = _lay_spans(written, words), _lay_exact(written, words)
        starts = bytes(words.starts) if written.whole_values else None
        return cls(
            written=written,
            layout=Layout(spans, exact, bytes(words.measured), written.max_read, starts),
            _template=bytes(words.template),
            rendering=Rendering(
                bytes(words.template), words.live, coarse_powers(written.registers)
            ),
            _own=words.own,
        )

    @property
    def registers(self) -> Sequence[Register]:
        """Its lines, in the order of the file."""
        return self.written.registers

    def render(self, snapshot: Snapshot | None) -> Image:
        """Return the image of a snapshot; of None the constants, all else not available."""
        if snapshot is None:
            return Image(self.layout, self._template)
        return Image(self.layout, self.rendering.octets(snapshot.numbers, snapshot.texts))

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

    def __init__(self) -> None:
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
                kind.append(Live(2 * at, register, octets))
                octets = octets({}, {})
            self.template[2 * at : 2 * at + len(octets)] = octets
            self.measured[at : at + register.words] = bytes([register.is_measured]) * register.words
            self.starts[at + 1 : at + register.words] = bytes(register.words - 1)
        return word


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
