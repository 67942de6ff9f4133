"""obisgate maps new: start a map of one's own, from a few answers or like another map."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.cli.maps import library
from gateway.cli.maps.template import NUMBER_TYPES, USUAL, Start, map_like, new_map
from gateway.located import ConfigError, nearest
from gateway.registers import Table
from gateway.registers.lint import Severity, lint
from gateway.registers.register import MAX_ADDRESS, WORD_ORDERS
from gateway.schema import MAP_SCHEMA
from gateway.snapshot import QUANTITIES

DEFAULT_TYPE = "int32"
T = TypeVar("T")


def add_to(actions: Commands) -> None:
    """Add the action."""
    parser = add_command(
        actions,
        "new",
        new,
        "start a map of your own; on a terminal it asks what no option says",
        "  obisgate maps new my_maps/plc.yaml\n"
        "  obisgate maps new my_maps/plc.yaml --name 'My PLC' --tables holding --first 100 \\\n"
        "      --quantities active_power_total,energy_active_import_total --type float32\n"
        "  obisgate maps new my_maps/meter.yaml --like eastron_sdm630",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="it is never overwritten")
    parser.add_argument("--like", metavar="NAME", help="take over what that map has")
    parser.add_argument("--name", metavar="TEXT", help="what `obisgate maps` lists")
    parser.add_argument("--tables", metavar="LIST", help=f"of {', '.join(sorted(Table))}")
    parser.add_argument("--word-order", metavar="ORDER", help=" or ".join(WORD_ORDERS))
    parser.add_argument("--first", metavar="ADDRESS", help="of the first register, from 0")
    parser.add_argument("--quantities", metavar="LIST", help="in the order of the registers")
    parser.add_argument("--type", metavar="TYPE", help=f"of numbers: {', '.join(NUMBER_TYPES)}")
    library.add_folder(parser)


def new(options: argparse.Namespace) -> int:
    """Write the map and say what comes next."""
    path: Path = options.file
    if path.suffix != library.SUFFIX:
        raise ConfigError(f"{path}: a map's file ends with {library.SUFFIX}")
    if path.exists():
        raise ConfigError(f"{path} is there already: name another file")
    folder = options.maps or path.parent
    schema = _schema_seen_from(path.parent.resolve())
    text = _like(options, folder, schema) if options.like else _from_answers(options, schema)
    errors = [
        finding
        for finding in lint(text, str(path), map_library.others(folder))
        if finding.severity is Severity.ERROR
    ]
    if errors:
        raise ConfigError(str(errors[0]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror}") from None
    print(
        f"{path} is written. Look at it:  obisgate maps show {path}\n"
        f"after changing it:  obisgate maps lint {path}\n"
        f"in config.yaml:     maps: {path.parent}, and map: {path.stem} for a unit"
    )
    return 0


def _schema_seen_from(folder: Path) -> str:
    """Return where the schema is: relative inside the project, so that it can be moved as one."""
    project = MAP_SCHEMA.parent.parent
    if folder.is_relative_to(project):
        return os.path.relpath(MAP_SCHEMA, folder)
    return str(MAP_SCHEMA)


def _like(options: argparse.Namespace, folder: Path, schema: str) -> str:
    for word in ("tables", "word_order", "first", "quantities", "type"):
        if getattr(options, word) is not None:
            name = word.replace("_", "-")
            raise ConfigError(f"--{name} is the other map's: leave it out with --like")
    if options.like not in map_library.find(folder):
        known = map_library.find(folder)
        hint = nearest(options.like, known) or "; `obisgate maps` lists them"
        raise ConfigError(f"--like: unknown map {options.like!r}{hint}")
    title = _answer("name", "What is it called?", options.name, _title(options), _text)
    return map_like(title, options.like, schema)


def _from_answers(options: argparse.Namespace, schema: str) -> str:
    usual = ",".join(USUAL)
    start = Start(
        title=_answer("name", "What is it called?", options.name, _title(options), _text),
        tables=_answer(
            "tables",
            "Which tables, holding (function 03), input (04) or both?",
            options.tables,
            "holding,input",
            lambda text: _words(text, list(Table), "table"),
        ),
        word_order=_answer(
            "word-order",
            "Which word of a longer value comes first, the high one (big) or the low one (little)?",
            options.word_order,
            WORD_ORDERS[0],
            lambda text: _choice(text, WORD_ORDERS, "word order"),
        ),
        type_name=_answer(
            "type",
            f"Numbers are of which type? {', '.join(NUMBER_TYPES)}",
            options.type,
            DEFAULT_TYPE,
            lambda text: _choice(text, NUMBER_TYPES, "type"),
        ),
        first=_answer("first", "Where is the first register?", options.first, "0", _address),
        quantities=_answer(
            "quantities",
            f"Which quantities, in this order? (Enter: {usual})",
            options.quantities,
            usual,
            lambda text: _words(text, list(QUANTITIES), "quantity"),
            shown=False,
        ),
    )
    try:
        return new_map(start, schema)
    except ValueError as problem:
        raise ConfigError(f"--first: {problem}") from None


def _answer(
    option: str,
    question: str,
    given: str | None,
    default: str,
    read: Callable[[str], T],
    *,
    shown: bool = True,
) -> T:
    """Return what an option says, else the answer on a terminal, else the default."""
    if given is not None:
        try:
            return read(given)
        except ValueError as problem:
            raise ConfigError(f"--{option}: {problem}") from None
    while sys.stdin.isatty():
        try:
            answer = input(f"{question} {f'[{default}] ' if shown else ''}").strip()
        except EOFError:
            raise ConfigError("nothing is written: the answers ended") from None
        try:
            return read(answer or default)
        except ValueError as problem:
            print(problem)
    return read(default)


def _title(options: argparse.Namespace) -> str:
    return str(options.file.stem.replace("_", " "))


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("a name has characters that can be seen")
    return text.strip()


def _choice(text: str, words: Sequence[str], what: str) -> str:
    if text not in words:
        hint = nearest(text, words) or f"; {library.shown(MAP_SCHEMA)} lists them"
        raise ValueError(f"unknown {what} {text!r}{hint}")
    return text


def _words(text: str, known: Sequence[str], what: str) -> list[str]:
    found = [_choice(word.strip(), known, what) for word in text.split(",") if word.strip()]
    if not found:
        raise ValueError(f"at least one {what} is needed")
    if len(set(found)) < len(found):
        raise ValueError(f"a {what} comes twice")
    return found


def _address(text: str) -> int:
    try:
        address = int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is no address") from None
    if not 0 <= address <= MAX_ADDRESS:
        raise ValueError(f"{text} is not between 0 and {MAX_ADDRESS}")
    return address
