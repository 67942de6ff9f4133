"""obisgate reload: a running gateway applies its changed config."""

import argparse
import sys
from pathlib import Path

from gateway.cli.command import Commands, add_command
from gateway.control import ask_gateway, config_place


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "reload",
        reload,
        "let the running gateway apply its changed config; what stays the same goes on",
        "  obisgate reload config.yaml",
    )
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))


def reload(options: argparse.Namespace) -> int:
    """Print what has changed, a line each; 1 if the config was refused and the old one stays."""
    config = config_place(options.config)
    answer = ask_gateway(config, {"ask": "reload", "config": str(config)})
    if "error" in answer:
        print(f"{answer['error']}\nnot reloaded, the old config stays", file=sys.stderr)
        return 1
    for change in answer["changes"] or ["nothing changed"]:
        print(change)
    return 0
