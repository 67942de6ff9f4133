"""How the commands are told which map they are about: by its name, or by its file."""

import argparse
import errno
from collections.abc import Mapping
from pathlib import Path

from gateway import map_library
from gateway.located import ConfigError, nearest
from gateway.registers import RegisterMap

SUFFIX = ".yaml"
REASONS: Mapping[int, str] = {
    errno.ENOENT: "there is no such file",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "you may not read it",
}


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the option for one's own maps; given before an action it is not undone behind it."""
    parser.add_argument(
        "--maps",
        type=folder,
        metavar="FOLDER",
        default=argparse.SUPPRESS,
        help="a folder of your own maps",
    )


def folder(text: str) -> Path:
    """Return a folder that is there; argparse says that it is not."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


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


def text_of(path: Path) -> str:
    """Return what a map's file says; ConfigError with its place if that is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        reason = REASONS.get(problem.errno or 0, problem.strerror)
        raise ConfigError(f"{path}:1:1: cannot be read: {reason}") from None
    except UnicodeDecodeError as problem:
        before = problem.object[: problem.start].decode().split("\n")
        place = f"{path}:{len(before)}:{len(before[-1]) + 1}"
        octet = f"0x{problem.object[problem.start]:02X}"
        raise ConfigError(f"{place}: byte {octet} is not UTF-8: save the file as UTF-8") from None


def shown(path: Path) -> str:
    """Return a path as one would type it here."""
    try:
        # Not where a link leads to: its own name was typed.
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def ranges(pairs: list[tuple[int, int]]) -> str:
    """Return ranges as they are read: 0 … 79, 512."""
    return ", ".join(f"{first} … {last}" if last > first else f"{first}" for first, last in pairs)
