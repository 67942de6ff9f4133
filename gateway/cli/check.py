"""obisgate check: is everything in the config right, before it is run."""

import argparse
import sys
from pathlib import Path

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.config import Config
from gateway.located import ConfigError


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
    for name in map_library.find(config.maps_folder):
        try:
            map_library.load(name, config.maps_folder)
        except ConfigError as problem:
            problems.append(str(problem))
    for line in (*config.warnings, *problems):
        print(line, file=sys.stderr)
    if problems:
        return 1
    meters, listeners = len(config.meters), len(config.listeners)
    print(f"{config.file}: good; meters: {meters}, listeners: {listeners}")
    return 0
