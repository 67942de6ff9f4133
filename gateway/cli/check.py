"""obisgate check: is everything in the config right, before it is run."""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.config import Config, ListenerConfig, Transport
from gateway.located import ConfigError
from gateway.recording import Began

# How a listener's transport is called in the maps.
TRANSPORTS = {
    Transport.TCP: "tcp",
    Transport.TLS: "tcp",  # a client of it that has learned TLS
    Transport.RTU_OVER_TCP: "rtu over tcp",
    Transport.UDP: "udp",
    Transport.SERIAL: "rtu",
}


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "check",
        check,
        "check a config, its maps, keys and devices without starting anything",
        "  obisgate check config.yaml",
    )
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))


def check(options: argparse.Namespace) -> int:
    """Print what is wrong, a line each; 1 if anything is."""
    try:
        config = Config.read(options.config)
    except ConfigError as problem:
        print(problem, file=sys.stderr)
        return 1
    problems = [
        f"meter {name}: {trouble}"
        for name, meter in config.meters.items()
        if (trouble := meter.source.trouble())
    ]
    now = datetime.now().astimezone()
    problems += [
        f"meter {name}: {trouble}"
        for name, meter in config.meters.items()
        if meter.record
        if (trouble := meter.record.recording(Began(now, meter.source.describe())).trouble())
    ]
    for name in map_library.find(config.maps_folder):
        try:
            map_library.load(name, config.maps_folder)
        except ConfigError as problem:
            problems.append(str(problem))
    for line in (*config.warnings, *problems):
        print(line, file=sys.stderr)
    if problems:
        return 1
    meters = len(config.meters) + len(config.virtual_meters)
    print(f"{config.file}: good; meters: {meters}, listeners: {len(config.listeners)}")
    for name, virtual in config.virtual_meters.items():
        print(f"meter {name}: {virtual.describe()}")
    for listener in config.listeners:
        for hint in _hints(listener):
            print(hint)
    return 0


def _hints(listener: ListenerConfig) -> Iterator[str]:
    """Yield what works, but that the clients of a map will probably not find."""
    transport = TRANSPORTS[listener.transport]
    units = {str(unit_id): unit for unit_id, unit in listener.units.items()}
    if listener.any_unit:
        units["any"] = listener.any_unit
    for unit_id, unit in units.items():
        written = unit.register_map.written
        if transport not in written.over:
            yield (
                f"{listener.where}: unit {unit_id}: what reads {unit.map_name} comes over "
                f"{', '.join(written.over)}, not over {transport}"
            )
