"""How the commands are told which map they are about: by its name, or by its file."""

import argparse
from pathlib import Path

from gateway import map_library
from gateway.located import ConfigError, nearest
from gateway.registers import RegisterMap

SUFFIX = ".yaml"


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the option for one's own maps; given before an action it is not undone behind it."""
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="FOLDER",
        default=argparse.SUPPRESS,
        help="a folder of your own maps",
    )


def find(word: str, folder: Path | None) -> tuple[Path, Path | None]:
    """Return a map's file, and the folder of the maps that it may be like."""
    if "/" in word or word.endswith((SUFFIX, ".yml")):
        path = Path(word)
        return path, folder or path.parent
    known = map_library.find(folder)
    if word not in known:
        hint = nearest(word, known) or "; `obisgate maps` lists them"
        raise ConfigError(f"unknown map {word!r}{hint}; a file of yours ends with {SUFFIX}")
    return known[word], folder


def read(word: str, folder: Path | None) -> RegisterMap:
    """Return the map of that name or in that file."""
    path, others = find(word, folder)
    return map_library.read(path, others)


def shown(path: Path) -> str:
    """Return a path as one would type it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def ranges(pairs: list[tuple[int, int]]) -> str:
    """Return ranges as they are read: 0 … 79, 512."""
    return ", ".join(f"{first} … {last}" if last > first else f"{first}" for first, last in pairs)
