"""A register map's YAML → its registers; errors with file:line:column and the nearest word."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.located import Located, load
from gateway.registers import codec
from gateway.registers.codec import STRING, TYPES, RegisterType
from gateway.registers.expression import Numbers, compile_expression
from gateway.registers.image import Table
from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import AGE, TEXTS

MAP_WORDS = (
    "name",
    "tables",
    "word_order",
    "zero_ranges",
    "stale",
    "registers",
    "sources",
    "notes",
)
CONTENT_WORDS = ("quantity", "value", "text", "expression")
REGISTER_WORDS = (
    "address",
    *CONTENT_WORDS,
    "type",
    "length",
    "unit",
    "scale_register",
    "not_available",
    "only_count",
    "table",
)
MAX_ADDRESS = 0xFFFF
MAX_STRING_WORDS = 125
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")

Scales = Mapping[tuple[Table, int], int]


class Stale(StrEnum):
    """How a map answers a read of measured registers when its meter is stale."""

    EXCEPTION = "exception"  # 0x0B, gateway target device failed to respond
    SILENT = "silent"
    NOT_AVAILABLE = "not_available"  # the types' not-available patterns


@dataclass(frozen=True, slots=True)
class Register:
    """One line of a map.

    `content` gives the bytes: constant ones, or those for numbers and texts by name.
    `quantity` names what the register shows, if it is a single quantity. `exponent` is the power
    of ten of the quantity's unit in which the register counts.
    """

    address: int
    words: int
    tables: frozenset[Table]
    content: "bytes | Callable[[Numbers, Mapping[str, str]], bytes]"
    type: RegisterType | None
    quantity: str | None
    exponent: int
    is_measured: bool
    only_count: bool
    shows: str
    unit: str
    line: Located

    @property
    def end(self) -> int:
        """The address behind the register's last word."""
        return self.address + self.words

    @property
    def step(self) -> str:
        """What a raw 1 means: "W", "0.01 A", "10 W", "kWh"."""
        exponent = self.exponent - codec.UNITS.get(self.unit, ("", 0))[1]
        return f"{10**exponent:g} {self.unit}".strip() if exponent else self.unit


@dataclass(frozen=True, slots=True)
class MapFile:
    """A register map as it was written."""

    name: str
    tables: frozenset[Table]
    zero_ranges: Sequence[tuple[int, int]]
    stale: Stale
    word_order: str
    registers: Sequence[Register]
    sources: Sequence[str]
    notes: Sequence[str]


def parse(text: str, file: str) -> MapFile:
    """Read a register map; ConfigError names line, column and what is wrong."""
    words = load(text, file).mapping(MAP_WORDS, required=("name", "tables", "registers"))
    orders = ("big", "little")
    order = words["word_order"].choice(orders, "word order") if "word_order" in words else "big"
    if not words["name"].text():
        raise words["name"].error("a map has a name")
    tables = frozenset(_table(item) for item in words["tables"].items())
    if not tables:
        raise words["tables"].error("a map serves at least one table: input, holding")
    lines = words["registers"].items()
    if not lines:
        raise words["registers"].error("a map has at least one register")
    scales = _scale_registers(lines, tables)
    registers = [_register(line, tables, scales, little=order == "little") for line in lines]
    _refuse_overlaps(registers)
    stale = words["stale"].choice(list(Stale), "reaction") if "stale" in words else ""
    return MapFile(
        name=words["name"].text(),
        tables=tables,
        zero_ranges=[_zero_range(item) for item in _items(words, "zero_ranges")],
        stale=Stale(stale or "exception"),
        word_order=order,
        registers=registers,
        sources=[item.text() for item in _items(words, "sources")],
        notes=[item.text() for item in _items(words, "notes")],
    )


def _items(words: Mapping[str, Located], word: str) -> list[Located]:
    return words[word].items() if word in words else []


def _table(item: Located) -> Table:
    return Table(item.choice(list(Table), "table"))


def _zero_range(item: Located) -> tuple[int, int]:
    ends = item.items()
    if len(ends) != 2:
        raise item.error("a zero range is [first, last]")
    first = ends[0].integer(0, MAX_ADDRESS)
    return first, ends[1].integer(first, MAX_ADDRESS)


def _scale_registers(lines: Sequence[Located], tables: frozenset[Table]) -> Scales:
    """Return the exponents of the map's scale-factor registers by table and address."""
    found = {}
    for line in lines:
        words = line.mapping(REGISTER_WORDS, required=("address", "type"))
        if words["type"].text() == "sunssf" and "value" in words:
            address, exponent = words["address"].integer(0, MAX_ADDRESS), words["value"]
            for table in _own_tables(words, tables):
                found[table, address] = exponent.integer(-10, 10)
    return found


def _own_tables(words: Mapping[str, Located], tables: frozenset[Table]) -> frozenset[Table]:
    """Return the tables of a register: its own, if it names one."""
    return frozenset({_table(words["table"])}) if "table" in words else tables


def _register(line: Located, tables: frozenset[Table], scales: Scales, *, little: bool) -> Register:
    words = line.mapping(REGISTER_WORDS, required=("address", "type"))
    kinds = [word for word in CONTENT_WORDS if word in words]
    if len(kinds) != 1:
        raise line.error(f"a register has one of {', '.join(CONTENT_WORDS)}")
    kind = kinds[0]
    type_name = words["type"].choice([*TYPES, STRING], "type")
    if (type_name == STRING) != (kind == "text"):
        raise words["type"].error("'text' goes with type string, and only that")
    _refuse_misplaced(words, kind, type_name)
    register_type = TYPES.get(type_name)
    length = register_type.words if register_type else _string_words(line, words)
    address = words["address"].integer(0, MAX_ADDRESS)
    if address + length - 1 > MAX_ADDRESS:
        raise words["address"].error(f"{length} registers from {address} pass the last, 65535")
    if "only_count" in words and words["only_count"].integer(1, 125) != length:
        raise words["only_count"].error(f"only_count is the register's own length, {length}")
    quantity = words["quantity"].choice(QUANTITIES, "quantity") if kind == "quantity" else None
    own_tables = _own_tables(words, tables)
    exponent = _exponent(words, quantity, own_tables, scales)
    content = _content(words, kind, register_type, length, exponent, little=little)
    return Register(
        address=address,
        words=length,
        tables=own_tables,
        content=content,
        type=register_type,
        quantity=quantity,
        exponent=exponent,
        is_measured=callable(content) and quantity != AGE.name,
        only_count="only_count" in words,
        shows=words[kind].text(),
        unit=_unit_shown(words, quantity),
        line=line,
    )


def _refuse_misplaced(words: Mapping[str, Located], kind: str, type_name: str) -> None:
    """Refuse words that mean nothing on this register."""
    is_number = kind in ("quantity", "expression")
    is_scaled = is_number and type_name != "sunssf" and not type_name.startswith("float")
    for word, is_meant, where in (
        ("unit", is_number, "a quantity or an expression"),
        ("scale_register", is_scaled, "a quantity or an expression of an integer type"),
        ("not_available", is_number, "a quantity or an expression"),
        ("length", kind == "text", "a text"),
    ):
        if word in words and not is_meant:
            raise words[word].error(f"{word!r} belongs to {where}")
    if type_name == "sunssf" and kind != "value":
        raise words["type"].error("a scale factor is a 'value': it never changes at run time")


def _string_words(line: Located, words: Mapping[str, Located]) -> int:
    if "length" not in words:
        raise line.error("a text needs 'length', in registers of two characters")
    return words["length"].integer(1, MAX_STRING_WORDS)


def _exponent(
    words: Mapping[str, Located], quantity: str | None, tables: frozenset[Table], scales: Scales
) -> int:
    """Return the power of ten in which the register counts: its unit's and its scale factor's."""
    exponent = 0
    if "unit" in words:
        base, exponent = codec.UNITS[words["unit"].choice(codec.UNITS, "unit")]
        if quantity and base != QUANTITIES[quantity].unit:
            unit = QUANTITIES[quantity].unit or "a plain ratio"
            raise words["unit"].error(f"{quantity} is in {unit}, not in {words['unit'].text()}")
    if "scale_register" in words:
        address = words["scale_register"].integer(0, MAX_ADDRESS)
        found = {scales.get((table, address)) for table in tables}
        factor = found.pop()
        if factor is None or found:
            raise words["scale_register"].error(f"no register of type sunssf stands at {address}")
        exponent += factor
    return exponent


def _unit_shown(words: Mapping[str, Located], quantity: str | None) -> str:
    if "unit" in words:
        return words["unit"].text()
    return QUANTITIES[quantity].unit if quantity else ""


def _content(
    words: Mapping[str, Located],
    kind: str,
    register_type: RegisterType | None,
    length: int,
    exponent: int,
    *,
    little: bool,
) -> "bytes | Callable[[Numbers, Mapping[str, str]], bytes]":
    source = words[kind]
    if register_type is None:
        return _text_content(source, length)
    if kind == "value":
        return codec.order_words(_constant(source, register_type), little=little)
    if "not_available" in words:
        missing = _constant(words["not_available"], register_type)
    else:
        missing = register_type.not_available
    if kind == "expression":
        try:
            evaluate = compile_expression(source.text())
        except ValueError as problem:
            raise source.error(str(problem)) from None
    else:
        name = source.text()

        def evaluate(numbers: Numbers) -> int | float | None:
            return numbers.get(name)

    def content(numbers: Numbers, _texts: Mapping[str, str]) -> bytes:
        number = evaluate(numbers)
        octets = missing if number is None else register_type.encode(number, exponent)
        return codec.order_words(octets, little=little)

    return content


def _text_content(
    source: Located, length: int
) -> "bytes | Callable[[Numbers, Mapping[str, str]], bytes]":
    template = source.text()
    names = _PLACEHOLDER.findall(template)
    known = ", ".join(f"${{{text}}}" for text in TEXTS)
    for name in names:
        if name not in TEXTS:
            raise source.error(f"unknown placeholder ${{{name}}}; known are {known}")
    if "${" in _PLACEHOLDER.sub("", template):
        raise source.error(f"a placeholder is not closed; known are {known}")
    if not names:
        if not template.isascii() or len(template) > 2 * length:
            raise source.error(f"{length} registers hold {2 * length} ASCII characters")
        return codec.encode_text(template, length)

    def content(_numbers: Numbers, texts: Mapping[str, str]) -> bytes:
        if not all(name in texts for name in names):
            return bytes(2 * length)
        return codec.encode_text(_PLACEHOLDER.sub(lambda m: texts[m[1]], template), length)

    return content


def _constant(source: Located, register_type: RegisterType) -> bytes:
    try:
        return register_type.encode_constant(source.number())
    except ValueError as problem:
        raise source.error(str(problem)) from None


def _refuse_overlaps(registers: Sequence[Register]) -> None:
    """Refuse two registers at one address; one with `only_count` lies over the others."""
    for table in Table:
        taken: dict[tuple[int, bool], Register] = {}
        for register in registers:
            if table not in register.tables:
                continue
            for address in range(register.address, register.end):
                other = taken.setdefault((address, register.only_count), register)
                if other is not register:
                    row = other.line.node.start_mark.line + 1
                    raise register.line.error(f"register {address} is already taken by line {row}")
