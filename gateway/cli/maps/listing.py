"""obisgate maps: one line a map."""

import argparse
import json
import shutil
import sys
from typing import Any

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.cli.maps import library
from gateway.located import ConfigError
from gateway.registers.mapfile import MapFile

# How much of a title stands in a terminal; a narrow one has no room for how a map is asked.
WIDE_COLUMNS = 120
WIDE_TITLE = 40
NARROW_TITLE = 26


def add_to(commands: Commands) -> Commands:
    """Add the command; return where its actions are added."""
    parser = add_command(
        commands,
        "maps",
        list_maps,
        "list the register maps; show, check and compare them; start one of your own",
        "  obisgate maps\n"
        "  obisgate maps show sunspec_213\n"
        "  obisgate maps new my_maps/plc.yaml\n"
        "  obisgate maps lint my_maps/plc.yaml\n"
        "  obisgate maps diff sunspec_203 sunspec_213",
    )
    parser.add_argument(
        "--maps", type=library.folder, metavar="FOLDER", help="a folder of your own maps"
    )
    parser.add_argument("--notes", action="store_true", help="with each map's notes")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: all that is said of them"
    )
    return parser.add_subparsers(title="actions", metavar="ACTION")


def list_maps(options: argparse.Namespace) -> int:
    """Print a line a map: name, title, how it is asked, who reads it; 1 if one has an error."""
    maps: dict[str, MapFile] = {}
    problems = []
    for name in sorted(map_library.find(options.maps)):
        try:
            maps[name] = map_library.load(name, options.maps).written
        except ConfigError as error:
            problems.append(str(error))
    if options.format == "json":
        print(json.dumps([_object(*each) for each in maps.items()], indent=2, ensure_ascii=False))
    else:
        _print_lines(maps, with_notes=options.notes)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def asked(written: MapFile) -> str:
    """Return how clients ask for a map, in short: "tcp 502, id 1"."""
    over = ["rtu/tcp" if each == "rtu over tcp" else each for each in written.over]
    is_network = any(each != "rtu" for each in written.over)
    where = " ".join(["+".join(over), *([str(written.port)] if is_network else [])])
    if not written.unit_ids:
        return where
    ids = unit_ids(written)
    return f"{where}, id{'s' if len(written.unit_ids) > 1 else ''} {ids}"


def unit_ids(written: MapFile) -> str:
    """Return the ids that clients ask, as ranges."""
    found: list[tuple[int, int]] = []
    for number in sorted(written.unit_ids):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return library.ranges(found).replace(" … ", "–") or "any"


def _print_lines(maps: dict[str, MapFile], *, with_notes: bool) -> None:
    # Whoever pipes the list gets all of it.
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    is_narrow = room is not None and room < WIDE_COLUMNS
    most = None if room is None else NARROW_TITLE if is_narrow else WIDE_TITLE
    rows = [
        (name, _cut(each.name, most), *([] if is_narrow else [asked(each)]))
        for name, each in maps.items()
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row, written in zip(rows, maps.values(), strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        print(_cut("  ".join([*cells, ", ".join(written.readers)]).rstrip(), room))
        for note in written.notes if with_notes else ():
            print(f"  - {note}")


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else f"{text[: room - 1]}…"


def _object(name: str, written: MapFile) -> dict[str, Any]:
    return {
        "name": name,
        "title": written.name,
        "tables": sorted(written.tables),
        "over": list(written.over),
        "port": written.port,
        "unit_ids": list(written.unit_ids),
        "readers": list(written.readers),
        "tested_with": list(written.tested_with),
        "notes": list(written.notes),
        "sources": list(written.sources),
        "registers": len(written.registers),
    }
