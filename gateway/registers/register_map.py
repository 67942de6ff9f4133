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
    content: Callable[[Numbers, Mapping[str, str]], bytes]
    quantity: str | None
    is_coarse: bool


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
    _coarse_exponent: int

    @classmethod
    def parse(cls, text: str, name: str) -> "RegisterMap":
        """Compile the YAML of a map; `name` is the file name that a ConfigError shows."""
        written = mapfile.parse(text, name)
        template, measured = bytearray(), bytearray()
        coarse = _coarse_exponent(written.registers)
        live: list[_Live] = []
        ages: list[_Live] = []

        def lay(registers: Sequence[Register], first: int, end: int) -> int:
            """Append the words of `first … end-1`; return where they lie."""
            word = len(measured)
            template.extend(bytes(2 * (end - first)))
            measured.extend(bytes(end - first))
            for register in registers:
                at = word + register.address - first
                content = register.content
                if isinstance(content, bytes):
                    octets = content
                else:
                    octets = content({}, {})
                    kind = ages if register.quantity == AGE.name else live
                    kind.append(
                        _Live(
                            2 * at, content, register.quantity, coarse > 0 and _is_split(register)
                        )
                    )
                template[2 * at : 2 * (at + register.words)] = octets
                measured[at : at + register.words] = bytes([register.is_measured]) * register.words
            return word

        layout = Layout(_lay_spans(written, lay), _lay_exact(written, lay), bytes(measured))
        return cls(
            title=written.name,
            stale=written.stale,
            word_order=written.word_order,
            registers=written.registers,
            sources=written.sources,
            notes=written.notes,
            layout=layout,
            _template=bytes(template),
            _live=live,
            _ages=ages,
            _coarse_exponent=coarse,
        )

    def render(self, snapshot: Snapshot | None) -> Image:
        """Return the image of a snapshot; of None the constants, all else not available."""
        if snapshot is None:
            return Image(self.layout, self._template)
        numbers = {name: value.number for name, value in snapshot.values.items()}
        split = _coarse_split(numbers, 10**self._coarse_exponent) if self._coarse_exponent else {}
        octets = bytearray(self._template)
        for live in self._live:
            if live.quantity and live.quantity not in numbers:
                continue  # the template shows that it is not available
            content = live.content(split if live.is_coarse else numbers, snapshot.texts)
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


_Lay = Callable[[Sequence[Register], int, int], int]


def _lay_spans(written: mapfile.MapFile, lay: _Lay) -> Mapping[Table, Sequence[Span]]:
    """Lay out each table's registers and zero ranges in runs without a gap."""
    laid: dict[tuple[int, ...], Sequence[Span]] = {}
    spans: dict[Table, Sequence[Span]] = {}
    for table in Table:
        own = [r for r in written.registers if table in r.tables and not r.only_count]
        zeros = written.zero_ranges if table in written.tables else []
        # Tables that hold the same registers share their words.
        same = (*map(id, own), len(zeros))
        if same not in laid:
            ranges = [(r.address, r.end) for r in own] + [(a, b + 1) for a, b in zeros]
            laid[same] = [
                Span(first, end, lay([r for r in own if first <= r.address < end], first, end))
                for first, end in _merged(ranges)
            ]
        spans[table] = laid[same]
    return MappingProxyType(spans)


def _lay_exact(written: mapfile.MapFile, lay: _Lay) -> Mapping[tuple[Table, int, int], int]:
    """Lay out the registers that answer only a read of just themselves."""
    found: dict[tuple[Table, int, int], int] = {}
    for register in written.registers:
        if register.only_count:
            word = lay([register], register.address, register.end)
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


def _coarse_exponent(registers: Sequence[Register]) -> int:
    """Return n if the map shows total and phase powers in integers of 10^n W, n > 0; else 0."""
    found = {
        r.quantity: r.exponent
        for r in registers
        if r.quantity in (_TOTAL, *_SPLIT) and r.type and not r.type.is_float
    }
    exponents = set(found.values())
    return max(0, exponents.pop()) if len(found) == 4 and len(exponents) == 1 else 0


def _coarse_split(numbers: Numbers, step_w: int) -> dict[str, int]:
    """Return the phase powers in whole steps that sum to the total rounded to such steps."""
    phases = [name for name in _SPLIT if name in numbers]
    if not phases:
        return {}
    steps = round(numbers[_TOTAL] / step_w)
    parts = apportion(steps, [abs(round(numbers[name])) for name in phases])
    return {name: part * step_w for name, part in zip(phases, parts, strict=True)}


def _is_split(register: Register) -> bool:
    """Tell whether the register shows a phase's power in integers."""
    is_integer = register.type is not None and not register.type.is_float
    return register.quantity in _SPLIT and is_integer
