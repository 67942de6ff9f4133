"""obisgate maps: which register maps there are, and what stands in one."""

import argparse
from pathlib import Path

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.registers import RegisterMap
from gateway.registers.mapfile import Register
from gateway.snapshot import QUANTITIES, Origin


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "maps",
        list_maps,
        "list the register maps, or show one as a table",
        "  obisgate maps\n  obisgate maps show sunspec_213",
    )
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="a folder of your own maps")
    actions = parser.add_subparsers(metavar="show NAME")
    show = add_command(
        actions, "show", show_map, "show one map as a table", "  obisgate maps show sunspec_213"
    )
    show.add_argument("name")
    # Given before or behind "show"; behind it must not undo what was given before.
    show.add_argument("--maps", type=Path, metavar="FOLDER", default=argparse.SUPPRESS)


def list_maps(options: argparse.Namespace) -> int:
    """Print name and title of each map."""
    for name in sorted(map_library.find(options.maps)):
        print(f"{name:<18} {map_library.load(name, options.maps).title}")
    return 0


def show_map(options: argparse.Namespace) -> int:
    """Print a map's registers, notes and sources."""
    register_map = map_library.load(options.name, options.maps)
    print(f"{options.name}: {register_map.title}")
    print(f"word order {register_map.word_order}, stale: {register_map.stale}\n")
    print(f"{'address':>7}  {'table':<14}  {'type':<8}  {'unit':<7}  {'origin':<8}  shows")
    for register in sorted(register_map.registers, key=lambda r: r.address):
        print(_line(register).rstrip())
    _print_list("notes", register_map)
    _print_list("sources", register_map)
    return 0


def _line(register: Register) -> str:
    tables = ", ".join(sorted(register.tables))
    kind = register.type.name if register.type else f"text {register.words}"
    shows, origin = register.shows, "constant"
    if register.quantity:
        quantity = QUANTITIES[register.quantity]
        shows, origin = f"{quantity.name}: {quantity.meaning}", quantity.origin
    elif register.is_measured:
        origin = Origin.DERIVED if register.type else Origin.MEASURED
    start = f"{register.address:>7}  {tables:<14}  {kind:<8}  {register.step:<7}"
    return f"{start}  {origin:<8}  {shows}"


def _print_list(title: str, register_map: RegisterMap) -> None:
    lines = register_map.notes if title == "notes" else register_map.sources
    if lines:
        print(f"\n{title}:")
        for line in lines:
            print(f"  - {line}")
