"""obisgate maps diff: what one map has otherwise than another."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.cli.command import Commands, add_command
from gateway.cli.maps import library
from gateway.registers import Register, Table
from gateway.registers.codec import UNITS
from gateway.registers.decode import reads
from gateway.registers.mapfile import MapFile

# What is compared of the maps themselves, and how it is shown.
_WORDS: Mapping[str, Callable[[MapFile], Any]] = {
    "tables": lambda m: ", ".join(sorted(m.tables)),
    "word_order": lambda m: m.word_order,
    "stale": lambda m: m.stale,
    "zero and filled ranges": lambda m: ", ".join(
        f"{a} … {b}" + (f" = {word}" if word else "") for a, b, word in sorted(m.filled)
    ),
    "ignored_writes": lambda m: library.ranges(sorted((a, b) for a, b in m.ignored_writes)),
    "max_read": lambda m: m.max_read,
    "whole_values": lambda m: "true" if m.whole_values else "false",
    "identity": lambda m: (
        m.identity and " ".join((m.identity.vendor, m.identity.product, m.identity.revision))
    ),
    "server_id": lambda m: m.server_id,
    "over": lambda m: ", ".join(m.over),
    "port": lambda m: m.port,
    "unit_ids": lambda m: ", ".join(map(str, m.unit_ids)) or "any",
}
Place = tuple[int, bool]  # address, and whether it answers only a read of itself
Line = tuple[Place, str | None, str | None]


def add_to(actions: Commands) -> None:
    """Add the action."""
    parser = add_command(
        actions,
        "diff",
        diff,
        "say what one map has otherwise than another, by address",
        "  obisgate maps diff sunspec_203 my_maps/sunspec_203.yaml",
    )
    parser.add_argument("old", metavar="A", help="a map's name or file")
    parser.add_argument("new", metavar="B", help="another's")
    library.add_folder(parser)


def diff(options: argparse.Namespace) -> int:
    """Print what A has (-) and B has (+); 0 if a client sees no difference, 1 if it does."""
    old = library.read(options.old, options.maps).written
    new = library.read(options.new, options.maps).written
    lines = [*_words(old, new), *_registers(old.registers, new.registers)]
    for line in lines:
        print(line)
    if not lines:
        print("both show the same")
    return 1 if lines else 0


def _words(old: MapFile, new: MapFile) -> Iterable[str]:
    for word, text in _WORDS.items():
        before, after = text(old), text(new)
        if before != after:
            yield f"- {word}: {'none' if before in (None, '') else before}"
            yield f"+ {word}: {'none' if after in (None, '') else after}"


def _registers(old: Sequence[Register], new: Sequence[Register]) -> Iterable[str]:
    by_table = {table: _differences(old, new, table) for table in Table}
    places: dict[Line, list[str]] = {}
    for table, lines in by_table.items():
        for line in lines:
            places.setdefault(line, []).append(table)
    for ((address, _), before, after), tables in sorted(
        places.items(), key=lambda item: (item[0][0], item[1])
    ):
        where = f"{address:>5}  {', '.join(sorted(tables)):<14}"
        if before is not None:
            yield f"- {where}  {before}"
        if after is not None:
            yield f"+ {where}  {after}"


def _differences(old: Sequence[Register], new: Sequence[Register], table: Table) -> list[Line]:
    before, after = _by_place(old, table), _by_place(new, table)
    return [
        (place, before.get(place), after.get(place))
        for place in sorted(before.keys() | after.keys())
        if before.get(place) != after.get(place)
    ]


def _by_place(registers: Sequence[Register], table: Table) -> dict[Place, str]:
    return {(r.address, r.only_count): _described(r) for r in registers if table in r.tables}


def _described(register: Register) -> str:
    """Return all of a register that a client could see, in words."""
    kind = register.type.name if register.type else f"text {register.words}"
    shows = " ".join(register.shows.split()) or '""'
    if register.type and isinstance(register.content, bytes):
        shows = str(reads(register, register.content))  # 0xFFFF and 65535 are the same
    unit = UNITS.get(register.unit, ("", 0))[0]
    step = (
        f"{10.0**register.exponent:g} {unit}".strip()
        if register.type and register.is_measured
        else ""
    )
    parts = [f"{kind:<8}", f"{step:<7}", shows]
    if register.is_little and register.words > 1 and register.type:
        parts.append("low word first")
    if register.only_count:
        parts.append("only_count")
    if register.type and callable(register.content):
        missing = register.content({}, {})
        usual = register.type.not_available
        if sorted(missing) != sorted(usual):
            parts.append(f"not available 0x{missing.hex().upper()}")
    return "  ".join(parts)
