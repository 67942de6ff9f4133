"""A register map's YAML → its registers; errors with file:line:column and the nearest word."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.located import Located, load
from gateway.registers.codec import TYPES
from gateway.registers.given import NOTHING_GIVEN, Given
from gateway.registers.image import MAX_READ_REGISTERS, Table
from gateway.registers.register import (
    MAX_ADDRESS,
    REGISTER_WORDS,
    WORD_ORDERS,
    Register,
    Setting,
    constant,
    extent,
    own_tables,
    parse_register,
    scale_factors,
)

# What a map inherits with `like`, and what it always says itself.
INHERITED_WORDS = (
    "base",
    "tables",
    "word_order",
    "not_available",
    "zero_ranges",
    "filled_ranges",
    "ignored_writes",
    "whole_values",
    "max_read",
    "identity",
    "server_id",
    "stale",
    "port",
    "unit_ids",
    "over",
    "registers",
)
OWN_WORDS = ("name", "like", "without", "readers", "tested_with", "sources", "notes")
MAP_WORDS = (*OWN_WORDS, *INHERITED_WORDS)
IDENTITY_WORDS = ("vendor", "product", "revision")
TRANSPORTS = ("tcp", "rtu", "rtu over tcp", "udp")
MAX_IDENTITY_CHARACTERS = 60  # all three fit into one reply of 253 bytes
MAX_ANCESTORS = 8
DEFAULT_PORT = 502

# From the name of another map, and the file that names it, to the other's text and file.
Find = Callable[[str, str], tuple[str, str] | None]
Range = tuple[int, int]


class Stale(StrEnum):
    """How a read of measured registers is answered when their meter is stale."""

    EXCEPTION = "exception"  # 0x0B, gateway target device failed to respond
    SILENT = "silent"
    NOT_AVAILABLE = "not_available"  # the types' not-available patterns
    # What only a user may choose for a unit, knowing its client.
    CLOSE = "close"  # the connection; silence where there is none
    LAST = "last"  # what the meter said last, for ever
    ZERO = "zero"


STALE_IN_MAPS = (Stale.EXCEPTION, Stale.SILENT, Stale.NOT_AVAILABLE)
UNSAFE = (Stale.LAST, Stale.ZERO)  # no client can tell them from a meter that is well


@dataclass(frozen=True, slots=True)
class Identity:
    """What the meter says of itself when asked with function 43/14."""

    vendor: str
    product: str
    revision: str


@dataclass(frozen=True, slots=True)
class MapFile:
    """A register map as it was written.

    Addresses are those on the wire. `filled` are ranges (first, last) without register, and the
    word that they read. With `whole_values` a read may not cut a value.
    """

    name: str
    base: int
    tables: frozenset[Table]
    word_order: str
    filled: Sequence[tuple[int, int, int]]
    ignored_writes: Sequence[Range]
    whole_values: bool
    max_read: int
    identity: Identity | None
    server_id: str | None
    stale: Stale
    port: int
    unit_ids: Sequence[int]
    over: Sequence[str]
    readers: Sequence[str]
    tested_with: Sequence[str]
    registers: Sequence[Register]
    sources: Sequence[str]
    notes: Sequence[str]


def parse(
    text: str,
    file: str,
    given: Given = NOTHING_GIVEN,
    find: Find = lambda _, __: None,
) -> MapFile:
    """Read a register map; ConfigError names line, column and what is wrong.

    `find` returns the maps that it may be `like`.
    """
    words, lines = _inherited(load(text, file), find)
    for word in ("name", "registers"):
        if word not in words:
            raise load(text, file).error(f"{word!r} is missing here")
    if not words["name"].text():
        raise words["name"].error("a map has a name")
    tables = _tables(words)
    if "tables" in words and not words["tables"].items():
        raise words["tables"].error("a map serves at least one table: input, holding")
    if not lines:
        raise words["registers"].error("a map has at least one register")
    base = words["base"].integer(0, MAX_ADDRESS) if "base" in words else 0
    if given.base is not None:
        base = given.base
    setting = Setting(
        base=base,
        tables=tables,
        word_order=_choice(words, "word_order", WORD_ORDERS, "word order", "big"),
        missing=_missing(words),
        given=given,
    )
    scales = scale_factors(lines, setting)
    registers = [parse_register(line, setting, scales) for line in lines]
    _refuse_overlaps(registers)
    most = MAX_READ_REGISTERS
    return MapFile(
        name=words["name"].text(),
        base=base,
        tables=setting.tables,
        word_order=setting.word_order,
        filled=_filled(words, base),
        ignored_writes=[_range(item, base, 2)[:2] for item in _items(words, "ignored_writes")],
        whole_values=_choice(words, "whole_values", ("true", "false"), "answer", "false") == "true",
        max_read=words["max_read"].integer(1, most) if "max_read" in words else most,
        identity=_identity(words["identity"]) if "identity" in words else None,
        server_id=_short_text(words["server_id"], 200) if "server_id" in words else None,
        stale=Stale(_choice(words, "stale", STALE_IN_MAPS, "reaction", "exception")),
        port=words["port"].integer(1, 65535) if "port" in words else DEFAULT_PORT,
        unit_ids=[item.integer(0, 255) for item in _items(words, "unit_ids")],
        over=[item.choice(TRANSPORTS, "transport") for item in _items(words, "over")] or ["tcp"],
        readers=[item.text() for item in _items(words, "readers")],
        tested_with=[item.text() for item in _items(words, "tested_with")],
        registers=registers,
        sources=[item.text() for item in _items(words, "sources")],
        notes=[item.text() for item in _items(words, "notes")],
    )


def _inherited(
    root: Located, find: Find, depth: int = 0
) -> tuple[dict[str, Located], list[Located]]:
    """Return a map's words and lines, with those of the map that it is `like`.

    Its own words win. A line of its own takes the place of all that lie where it does, `without`
    takes away more.
    """
    words = root.mapping(MAP_WORDS)
    lines = words["registers"].items() if "registers" in words else []
    if "like" not in words:
        if "without" in words:
            raise words["without"].error("'without' takes registers from the map named by 'like'")
        return words, lines
    name = words["like"].text()
    other = find(name, root.file)
    if other is None:
        raise words["like"].error(f"there is no map {name!r}")
    if depth == MAX_ANCESTORS:
        raise words["like"].error("maps are like each other in a circle")
    theirs, their_lines = _inherited(load(*other), find, depth + 1)
    inherited = {word: value for word, value in theirs.items() if word in INHERITED_WORDS}
    words = inherited | words
    gone = [_range(item, 0, 2)[:2] for item in _items(words, "without")]
    taken = [place for line in lines for place in _places(line, _tables(words))]
    kept = []
    for line in their_lines:
        places = _places(line, _tables(words))
        _, start, end = places[0]
        if any(first <= start and end <= last + 1 for first, last in gone):
            continue
        if any(
            layer == own and start < behind and first < end
            for layer, _, _ in places
            for own, first, behind in taken
        ):
            continue
        kept.append(line)
    return words, kept + lines


def _tables(words: Mapping[str, Located]) -> frozenset[Table]:
    """Return the tables that a map serves: both, if it names none."""
    named = [item.choice(list(Table), "table") for item in _items(words, "tables")]
    return frozenset(Table(name) for name in named or Table)


def _places(line: Located, tables: frozenset[Table]) -> list[tuple[tuple[Table, bool], int, int]]:
    """Return where a line lies, in each of its tables; one with `only_count` over the others."""
    words = line.mapping(REGISTER_WORDS, required=("address", "type"))
    start, end = extent(words, 0)
    return [((table, "only_count" in words), start, end) for table in own_tables(words, tables)]


def _items(words: Mapping[str, Located], word: str) -> list[Located]:
    return words[word].items() if word in words else []


def _choice(
    words: Mapping[str, Located], word: str, choices: Sequence[str], what: str, default: str
) -> str:
    return words[word].choice(choices, what) if word in words else default


def _range(item: Located, base: int, count: int) -> tuple[int, int, int]:
    """Read [first, last], or [first, last, word]."""
    ends = item.items()
    if len(ends) != count:
        raise item.error(f"expected [first, last{', word' if count > 2 else ''}]")
    first = ends[0].integer(0, MAX_ADDRESS - base)
    last = ends[1].integer(first, MAX_ADDRESS - base)
    return base + first, base + last, ends[2].integer(0, 0xFFFF) if count > 2 else 0


def _filled(words: Mapping[str, Located], base: int) -> list[tuple[int, int, int]]:
    found = [_range(item, base, 2) for item in _items(words, "zero_ranges")]
    found += [_range(item, base, 3) for item in _items(words, "filled_ranges")]
    return found


def _missing(words: Mapping[str, Located]) -> dict[str, bytes]:
    """Read the map's own not-available patterns by type."""
    entries = words["not_available"].entries() if "not_available" in words else []
    return {
        name.choice(TYPES, "type"): constant(value, TYPES[name.text()]) for name, value in entries
    }


def _identity(item: Located) -> Identity:
    words = item.mapping(IDENTITY_WORDS, required=IDENTITY_WORDS)
    return Identity(*(_short_text(words[word], MAX_IDENTITY_CHARACTERS) for word in IDENTITY_WORDS))


def _short_text(item: Located, most: int) -> str:
    text = item.text()
    if not text.isascii() or not 0 < len(text) <= most:
        raise item.error(f"expected 1 to {most} ASCII characters")
    return text


def _refuse_overlaps(registers: Iterable[Register]) -> None:
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
                    place = (
                        "" if other.line.file == register.line.file else f" of {other.line.file}"
                    )
                    reason = f"register {address} is already taken by line {row}{place}"
                    raise register.line.error(reason)
