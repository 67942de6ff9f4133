"""What the commands share: how one is added, how keys and telegrams are read and shown."""

import argparse
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.keys import read_key_file, read_key_variable
from gateway.telegram import Fault, Key, Telegram

KEY_VARIABLE = "OBISGATE_KEY"
AUTH_KEY_VARIABLE = "OBISGATE_AUTH_KEY"

Commands = Any  # argparse._SubParsersAction is not public
Command = Callable[[argparse.Namespace], int]


def add_command(
    commands: Commands, name: str, command: Command, summary: str, example: str
) -> argparse.ArgumentParser:
    """Add a command whose help ends with `example`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
