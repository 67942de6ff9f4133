"""The text of a new register map: from a few answers, or like another one."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gateway.registers.codec import TYPES, RegisterType
from gateway.registers.plausible import holds, plausible
from gateway.registers.register import MAX_ADDRESS
from gateway.schema import MODELINE
from gateway.snapshot import QUANTITIES, Origin, Quantity

# In what the meters send, and what a register therefore counts in: unit → power of ten.
FINEST = {"V": -1, "A": -2, "Hz": -2, "": -3}
COARSEST = 6
PREFIXES = {3: "k", 6: "M"}
# What a new map shows if nobody says anything else.
USUAL = (
    "active_power_total",
    *(f"active_power_l{n}" for n in (1, 2, 3)),
    *(f"voltage_l{n}" for n in (1, 2, 3)),
    *(f"current_l{n}" for n in (1, 2, 3)),
    "energy_active_import_total",
    "energy_active_export_total",
)
# What numbers may be kept in; the others are SunSpec's own.
NUMBER_TYPES = tuple(name for name in TYPES if name != "sunssf" and not name.startswith("acc"))
TWINS = {
    name: name.removeprefix("u") if name.startswith("u") else f"u{name}"
    for name in NUMBER_TYPES
    if not TYPES[name].is_float
}
REMARK_COLUMN = 30


@dataclass(frozen=True, slots=True)
class Start:
    """The answers from which a map is made. `title` is the map's own name, for people."""

    title: str
    tables: Collection[str]
    word_order: str
    first: int
    quantities: Sequence[str]
    type_name: str


def new_map(start: Start, schema: str) -> str:
    """Return the YAML of a map with one line a quantity; ValueError if they do not fit.

    `schema` is where editors find what may stand in the file.
    """
    rows: list[tuple[str, str, str, str]] = []
    address, notes = start.first, []
    for name in start.quantities:
        quantity = QUANTITIES[name]
        register_type, unit = _fitting(quantity, TYPES[start.type_name])
        if address + register_type.words - 1 > MAX_ADDRESS:
            raise ValueError(f"{name} would lie behind the last address, {MAX_ADDRESS}")
        ending = f", unit: {unit}" if unit != quantity.unit else ""
        rows.append((f"{address},", f"{name},", f"{register_type.name}{ending}}}", _remark(name)))
        address += register_type.words
        if note := _note(quantity, register_type, unit):
            notes.append(note)
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"  - {{address: {at:<{widths[0]}} quantity: {name:<{widths[1]}} type: {kind:<{widths[2]}}"
        f"  # {remark}"
        for at, name, kind, remark in rows
    ]
    tables = ", ".join(start.tables)
    return "\n".join(
        [
            f"{MODELINE}{schema}",
            _said(f"name: {_quoted(start.title)}", "what `obisgate maps` lists"),
            _said("readers: [my own client]", "who reads it"),
            _said(f"tables: [{tables}]", "holding: function 03, input: function 04"),
            _said(f"word_order: {start.word_order}", "big: high word first; little: low first"),
            _said("stale: exception", "when the meter is silent; or: silent, not_available"),
            _said("# zero_ranges: [[100, 199]]", "addresses without a register that read 0"),
            "notes:",
            "  - Positive power is drawn from the grid.",
            *(f"  - {note}" for note in dict.fromkeys(notes)),
            _said("sources: [a map of my own]", "the document it is from"),
            "registers:",
            "  # Addresses as on the wire, counted from 0.",
            *lines,
            "",
        ]
    )


def map_like(title: str, other: str, schema: str) -> str:
    """Return the YAML of a map that is like another one."""
    return "\n".join(
        [
            f"{MODELINE}{schema}",
            _said(f"name: {_quoted(title)}", "what `obisgate maps` lists"),
            _said(f"like: {other}", "all that is not said here is that map's"),
            _said("readers: [my own client]", "who reads it"),
            _said("# stale: not_available", "words that stand here replace the other's"),
            _said("# without: [[100, 101]]", "addresses that are not taken over"),
            "notes:",
            f"  - Like {other}.",
            "sources: [a map of my own]",
            "# A register that stands here takes the place of what lies at its addresses:",
            "# registers:",
            "#   - {address: 0, quantity: active_power_total, type: int32}",
            "",
        ]
    )


def _said(line: str, remark: str) -> str:
    return f"{line:<{REMARK_COLUMN}}  # {remark}"


def _fitting(quantity: Quantity, wished: RegisterType) -> tuple[RegisterType, str]:
    """Return the type, or its nearest, and the unit in which it holds a quantity best."""
    is_energy = quantity.unit in ("Wh", "varh")
    if wished.is_float:
        return wished, f"k{quantity.unit}" if is_energy else quantity.unit
    span = plausible(quantity)
    finest = FINEST.get(quantity.unit, 0) if quantity.name != "meter_serial" else 0
    twin = TYPES[TWINS[wished.name]]
    # Energies and numbers that count on keep every single one of what they count.
    kinds = [wished, twin, *(TYPES[name] for name in ("uint32", "uint64"))]
    if quantity.unit not in ("Wh", "varh", "s") and quantity.name != "meter_serial":
        kinds = kinds[:2]
    candidates: Iterator[tuple[RegisterType, int]] = (
        (kind, exponent)
        for exponent in range(finest, COARSEST + 1)
        for kind in kinds
        if span is None or holds(kind, exponent, *span)
    )
    kind, exponent = next(candidates, (wished, finest))
    return kind, _unit(quantity.unit, exponent)


def _unit(unit: str, exponent: int) -> str:
    """Return a step as a map writes it: W, 0.1 V, 10 W, 0.001."""
    if exponent == 0:
        return unit
    if not unit:
        return f"{10.0**exponent:g}"
    if exponent in PREFIXES:
        return f"{PREFIXES[exponent]}{unit}"
    return f"{10.0**exponent:g} {unit}"


def _note(quantity: Quantity, register_type: RegisterType, unit: str) -> str | None:
    if quantity.unit in ("Wh", "varh") and register_type.name == "float32":
        return "Energies are float32 and lose single watt-hours above 16.7 MWh."
    if quantity.unit in ("Wh", "varh") and unit != quantity.unit and not register_type.is_float:
        return f"{quantity.name} counts in steps of {unit}."
    if quantity.origin is Origin.NOT_SENT:
        return f"No meter sends {quantity.name}, it reads not available."
    return None


def _remark(name: str) -> str:
    quantity = QUANTITIES[name]
    return f"{quantity.meaning}{f', {quantity.unit}' if quantity.unit else ''}"


def _quoted(text: str) -> str:
    """Return a text as a YAML scalar that is read back as the same."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
