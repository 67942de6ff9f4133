"""obisgate maps show: a map as a table, with what a client would read."""

import argparse
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.cli.maps import example, library
from gateway.cli.maps.listing import unit_ids
from gateway.registers import Register, Stale, Table
from gateway.registers.image import MAX_READ_REGISTERS
from gateway.registers.mapfile import MapFile
from gateway.registers.register import UNIT_ID
from gateway.simulator import MODELS
from gateway.snapshot import QUANTITIES, Origin

FUNCTIONS = {Table.HOLDING: "03", Table.INPUT: "04"}
STALE = {
    Stale.EXCEPTION: "exception 0x0B",
    Stale.SILENT: "no answer",
    Stale.NOT_AVAILABLE: "the not-available patterns",
}


def add_to(actions: Commands) -> None:
    """Add the action."""
    parser = add_command(
        actions,
        "show",
        show,
        "print a map as a table, with the values of a simulated meter",
        "  obisgate maps show sunspec_213\n"
        "  obisgate maps show my_maps/plc.yaml --meter iskra-am550-kaernten",
    )
    parser.add_argument("map", metavar="NAME|FILE")
    parser.add_argument(
        "--meter",
        metavar="MODEL",
        default=example.DEFAULT_MODEL,
        help=f"whose values are shown: {', '.join(MODELS)}",
    )
    library.add_folder(parser)


def show(options: argparse.Namespace) -> int:
    """Print what a map says of itself, its registers with values, notes and sources."""
    path, others = library.find(options.map, options.maps)
    register_map = map_library.read(path, others)
    written = register_map.written
    image = register_map.render(example.snapshot(options.meter))
    print(f"{path.stem}: {written.name}")
    for word, text in _head(path, written):
        print(f"  {word:<11} {text}")
    print(f"Values are those of a simulated {options.meter}.\n")
    header = ("address", "table", "type", "step", "value", "origin", "shows")
    rows = [
        _row(register, example.value(register, register_map, image))
        for register in sorted(register_map.registers, key=_place)
    ]
    _print_table(header, rows)
    for title, lines in (("notes", written.notes), ("sources", written.sources)):
        if lines:
            print(f"\n{title}:")
            print("\n".join(f"  - {line}" for line in lines))
    return 0


def _head(path: Path, written: MapFile) -> Iterator[tuple[str, str]]:
    """Return what a map says of itself, a line each."""
    yield "file", library.shown(path)
    if written.readers:
        yield "readers", ", ".join(written.readers)
    if written.tested_with:
        yield "tested with", ", ".join(written.tested_with)
    is_network = any(over != "rtu" for over in written.over)
    port = f", port {written.port}" if is_network else ""
    yield "asked", f"over {', '.join(written.over)}{port}, unit id {unit_ids(written)}"
    functions = [f"{table} (function {FUNCTIONS[table]})" for table in sorted(written.tables)]
    yield "tables", " and ".join(functions)
    yield "words", f"{'high' if written.word_order == 'big' else 'low'} word first"
    yield "stale", STALE[written.stale]
    zeros = [(first, last) for first, last, word in written.filled if not word]
    if zeros:
        yield "reads 0", library.ranges(zeros)
    for first, last, word in written.filled:
        if word:
            yield f"reads {word}", library.ranges([(first, last)])
    if written.max_read < MAX_READ_REGISTERS or written.whole_values:
        most = f"up to {written.max_read} registers at once"
        yield "reads", most + (", whole values only" if written.whole_values else "")
    if written.identity:
        identity = written.identity
        yield "identity", f"{identity.vendor} {identity.product}, {identity.revision} (43/14)"
    if written.server_id:
        yield "server id", f"{written.server_id} (function 17)"
    if written.ignored_writes:
        ignored = library.ranges([(first, last) for first, last in written.ignored_writes])
        yield "writes", f"{ignored}: acknowledged, and nothing changes"


def _place(register: Register) -> tuple[str, int, bool]:
    return ", ".join(sorted(register.tables)), register.address, register.only_count


def _row(register: Register, value: str) -> Sequence[str]:
    kind = register.type.name if register.type else f"text {register.words}"
    shows, origin = register.shows, "constant"
    if register.quantity:
        quantity = QUANTITIES[register.quantity]
        shows, origin = f"{register.shows}: {quantity.meaning}", str(quantity.origin)
    elif register.is_measured:
        origin = Origin.DERIVED if register.type else Origin.MEASURED
    elif shows != UNIT_ID:
        shows = ""  # the value says it
    if register.only_count:
        shows = f"{shows} (only a read of exactly {register.words})".lstrip()
    remark = _remark(register)
    return (
        str(register.address),
        _place(register)[0],
        kind,
        register.step,
        value,
        origin,
        f"{shows}  # {remark}".lstrip() if remark else shows,
    )


def _remark(register: Register) -> str:
    """Return the comment behind a line of the file: names of points, units."""
    mark = register.line.node.end_mark
    rest = _lines(register.line.file)[mark.line][mark.column :].strip()
    return rest.removeprefix("#").strip() if rest.startswith("#") else ""


@cache
def _lines(file: str) -> Sequence[str]:
    # One empty line more: the mark of the last register may stand behind the file's end.
    return [*library.text_of(Path(file)).split("\n"), ""]


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = [
            f"{cell:>{width}}" if column in (0, 4) else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
