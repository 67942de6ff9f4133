"""obisgate init: from a meter and an inverter to a config, by a few questions."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from gateway.cli.check import check
from gateway.cli.command import Commands, add_command
from gateway.cli.init.key import (
    STDIN,
    FoundKey,
    UnknownLayoutError,
    find_auth_key,
    find_key,
    given_key,
)
from gateway.cli.init.meter import (
    SERIAL,
    SIMULATOR,
    LineWish,
    NotFoundError,
    choose_source,
    listen,
)
from gateway.cli.init.reader import (
    Answering,
    choose_answering,
    choose_reader,
    choose_unit_id,
    reached_at,
    trouble_with,
)
from gateway.cli.init.written import Answers, behind_links, free_name, put_in_place
from gateway.cli.questions import Questions
from gateway.cli.told import command_name
from gateway.config import SIMULATOR_KEY, Transport
from gateway.line_settings import PARITIES
from gateway.located import ConfigError
from gateway.readers import Reader
from gateway.snapshot import Snapshot
from gateway.telegram import Key

FOUND_WRONG = 1
LOWEST_BAUD = 50
KEY_STEM, AUTH_STEM = "house", "house.auth"
WAYS_TO_A_KEY = "file:PATH, env:NAME, or - for standard input; never the key itself"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "init",
        init,
        "find the meter, try its key, and write a config for what will read it",
        "  obisgate init\n"
        "  obisgate init --port /dev/ttyUSB0 --key file:house.key --reader 'fronius tauro' --yes\n"
        "  obisgate init --source simulator:kaifa-ma309m --map eastron_sdm630 \\\n"
        "      --listen 127.0.0.1:5020",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", metavar="DEVICE", help="the serial port that leads to the meter")
    where.add_argument("--source", metavar="ADDRESS", help="any source, as the config names it")
    parser.add_argument("--baud", type=int, metavar="RATE", help="else what brings telegrams")
    parser.add_argument("--parity", choices=PARITIES, help="likewise")
    parser.add_argument("--key", metavar="WHERE", help=WAYS_TO_A_KEY)
    parser.add_argument(
        "--auth-key", metavar="WHERE", help="likewise; only where the operator gives one"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--reader", metavar="NAME", help="what will read it, or a part of its name")
    who.add_argument("--map", metavar="NAME", help="the register map, instead of who reads it")
    parser.add_argument("--unit", metavar="ID", help="the unit id that it asks")
    parser.add_argument(
        "--listen", metavar="WHERE", help="HOST:PORT, or the device of an RS485 line"
    )
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), metavar="PATH", help="else config.yaml"
    )
    parser.add_argument("--force", action="store_true", help="replace a config that is there")
    parser.add_argument("--yes", action="store_true", help="take all defaults, ask nothing")


def init(options: argparse.Namespace) -> int:
    """Write config and key; 1 if the meter or the key was not found, and nothing was written."""
    path: Path = options.config
    try:
        answers, keys = _ask(options, Questions(takes_defaults=options.yes))
    except (NotFoundError, UnknownLayoutError) as problem:
        print(f"obisgate: {problem}\nobisgate: nothing is written", file=sys.stderr)
        return FOUND_WRONG
    except KeyboardInterrupt:
        print("\nobisgate: stopped, nothing is written", file=sys.stderr)
        raise
    put_in_place(path, answers, keys, datetime.now().astimezone().date())
    for name in keys:
        print(f"{path.parent / name} is written, for you alone to read.")
    print(f"{path} is written.")
    if check(argparse.Namespace(config=path)) != 0:
        return FOUND_WRONG
    _tell_what_comes_next(path, answers)
    return 0


def _ask(options: argparse.Namespace, questions: Questions) -> tuple[Answers, Mapping[str, Key]]:
    """Return what the config is made of, and the keys to store by the names of their files."""
    folder = options.config.parent
    if options.baud is not None and options.baud < LOWEST_BAUD:
        raise ConfigError(f"--baud: a baud rate is {LOWEST_BAUD} or more, not {options.baud}")
    if options.key == options.auth_key == STDIN:
        raise ConfigError("--auth-key: standard input is for one key")
    given = given_key("key", options.key, folder)
    auth = given_key("auth-key", options.auth_key, folder)
    _agree_to_replace(questions, options.config, is_forced=options.force)
    source = choose_source(questions, options.port, options.source, folder)
    device = source.target if source.kind == SERIAL else ""
    served = None
    if options.reader or options.map or options.yes:
        # What can be refused is refused before anybody waits for telegrams.
        served = _served(questions, options, device)
    if source.kind == SIMULATOR:
        given = given or FoundKey(SIMULATOR_KEY, "")
    present = folder / f"{KEY_STEM}.key"
    if options.yes and given is None and not present.exists():
        raise ConfigError("--key is missing: with --yes nothing is asked")
    encrypting = given.key if given else SIMULATOR_KEY, auth.key if auth else None
    found = listen(source, encrypting, LineWish(options.baud, options.parity))
    messages = found.heard.messages
    key, telegram = find_key(questions, messages, given, auth, present)
    if auth is None:
        auth, telegram = find_auth_key(questions, messages, key.key, telegram)
    snapshot = Snapshot.of(telegram)
    print(f"The key fits. {_shown(snapshot)}")
    if served is None:
        is_single = "voltage_l1" in snapshot.measured and "voltage_l2" not in snapshot.measured
        served = _served(questions, options, device, is_single_phase=is_single)
    keys: dict[str, Key] = {}
    answers = Answers(
        source=found.address,
        line=found.line,
        interval_s=found.heard.interval_s,
        key=_written(key, KEY_STEM, folder, keys),
        auth_key=_written(auth, AUTH_STEM, folder, keys) if auth else "",
        reader=served[0],
        answering=served[1],
    )
    return answers, keys


def _served(
    questions: Questions,
    options: argparse.Namespace,
    meter_device: str,
    *,
    is_single_phase: bool = False,
) -> tuple[Reader, Answering]:
    """Return who will read the meter, and where it is answered."""
    found = choose_reader(questions, options.reader, options.map, is_single_phase=is_single_phase)
    reader = choose_unit_id(questions, found, options.unit)
    return reader, choose_answering(questions, reader, options.listen, meter_device)


def _agree_to_replace(questions: Questions, path: Path, *, is_forced: bool) -> None:
    """Ask before a config is replaced; ConfigError unless somebody agrees, and it can be done."""
    target = behind_links(path)
    if target.is_dir():
        raise ConfigError(f"{path} is a folder: --config names a file, as {path / 'config.yaml'}")
    if path.is_symlink() and not target.parent.is_dir():
        raise ConfigError(f"{path} is a link to {target}, and {target.parent} is no folder")
    for place in (path.absolute(), target):
        folder = next(each for each in place.parents if each.exists())
        if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
            raise ConfigError(f"{path}: nothing can be written into {folder}")
    if is_forced or not os.path.lexists(path):
        return
    if not questions.is_agreed("force", f"{path} is there already. Replace it at the end?"):
        raise ConfigError(
            f"{path} is there already: --config names another file, --force replaces it"
        )


def _written(found: FoundKey, stem: str, folder: Path, keys: dict[str, Key]) -> str:
    """Return how the config names a key; one without a place gets a file among `keys`."""
    if found.written is not None:
        return found.written
    name = free_name(folder, stem)
    keys[name] = found.key
    return f"file:{name}"


def _shown(snapshot: Snapshot) -> str:
    """Return what the meter says now, to be compared with its display."""
    values, parts = snapshot.values, []
    if power := values.get("active_power_total"):
        parts.append(f"{power.number:+g} W")
    for name, word in (
        ("energy_active_import_total", "import"),
        ("energy_active_export_total", "export"),
    ):
        if energy := values.get(name):
            parts.append(f"{word} {energy.number / 1000:.3f} kWh")
    return f"The meter says: {', '.join(parts)}."


def _tell_what_comes_next(path: Path, answers: Answers) -> None:
    """Say what to enter in the reader, what stands in the way now, and how it is started."""
    reader, answering = answers.reader, answers.answering
    print(f"\nIn {reader.name}, as its energy meter, enter:")
    if answering.transport is Transport.SERIAL:
        print("  line     9600 baud 8N1, or change it in both places")
    else:
        host, port = reached_at(answering.where)
        print(f"  address  {host}\n  port     {port}")
    print(f"  unit id  {reader.unit_id}")
    print(f"What it needs besides:  {command_name()} maps show {reader.map_name}")
    if trouble := trouble_with(answering):
        print(f"Before it can start: {trouble}")
    print(f"Start it:  {command_name()} run {shlex.quote(str(path))}")
