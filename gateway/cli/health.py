"""obisgate health: does the running gateway do what it should, in one line and an exit code."""

import argparse
import sys
from pathlib import Path

from gateway.cli.command import Commands, add_command
from gateway.control import ask_gateway


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "health",
        health,
        "ask the running gateway whether all listeners answer; a silent meter is no fault of it",
        "  obisgate health config.yaml",
    )
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))


def health(options: argparse.Namespace) -> int:
    """Print how it is; 1 if something is wrong that a restart would mend."""
    answer = ask_gateway(options.config, {"ask": "health"})
    if trouble := answer.get("trouble") or answer.get("error"):
        print(trouble, file=sys.stderr)
        return 1
    print(answer["summary"])
    return 0
