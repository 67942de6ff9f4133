"""What the commands share: how one is added, how keys and telegrams are read and shown."""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.keys import read_key_file, read_key_variable
from gateway.telegram import Fault, Key, Telegram

KEY_VARIABLE = "OBISGATE_KEY"
AUTH_KEY_VARIABLE = "OBISGATE_AUTH_KEY"
PLAIN_COLUMNS = 80  # where there is no terminal

Commands = Any  # argparse._SubParsersAction is not public
Command = Callable[[argparse.Namespace], int]


class Help(argparse.RawDescriptionHelpFormatter):
    """A command's help, as wide as the terminal.

    argparse makes one for each option that is added, and asks `shutil` for the width: which brings
    all of Python's compression along, half a megabyte.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def add_command(
    commands: Commands, name: str, command: Command, summary: str, example: str
) -> argparse.ArgumentParser:
    """Add a command whose help ends with `example`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n{example}",
        formatter_class=Help,
    )
    parser.set_defaults(command=command)
    return parser


def add_key_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the keys are; a key itself never stands on a command line."""
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help=f"the meter's key; else {KEY_VARIABLE}"
    )
    parser.add_argument(
        "--auth-key-file",
        type=Path,
        metavar="FILE",
        help=f"the authentication key, where the operator gives one; else {AUTH_KEY_VARIABLE}",
    )


def keys(options: argparse.Namespace) -> tuple[Key | None, Key | None]:
    """Return key and authentication key; None for one that is nowhere given."""
    return (
        _key(options.key_file, KEY_VARIABLE),
        _key(options.auth_key_file, AUTH_KEY_VARIABLE),
    )


def _columns() -> int:
    with suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(OSError):
        return os.get_terminal_size().columns or PLAIN_COLUMNS
    return PLAIN_COLUMNS


def _key(path: Path | None, variable: str) -> Key | None:
    if path is not None:
        return read_key_file(path)
    return read_key_variable(variable) if variable in os.environ else None


def telegram_json(telegram: Telegram) -> dict[str, object]:
    """Return a telegram as the JSON object that machines get."""
    readings = {}
    for obis, reading in telegram.readings.items():
        value = reading.value
        shown = {"value": value.isoformat() if isinstance(value, datetime) else value}
        readings[str(obis)] = shown | ({"unit": reading.unit} if reading.unit else {})
    is_aware = telegram.clock is not None and telegram.clock.tzinfo is not None
    return {
        "meter": telegram.meter.hex().upper(),
        "invocation_counter": telegram.invocation_counter,
        "security": telegram.security,
        "clock": telegram.clock.isoformat() if telegram.clock and is_aware else None,
        "readings": readings,
    }


def fault_json(fault: Fault) -> dict[str, object]:
    """Return a fault as the JSON object that machines get."""
    return {"fault": {"layer": fault.layer, "reason": fault.reason, "offset": fault.offset}}
