"""The command `obisgate`. Exit codes: 0 good, 1 found something wrong, 2 used wrongly."""

import argparse
import sys
from collections.abc import Sequence

from gateway import __version__
from gateway.located import ConfigError

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="obisgate",
        description="Makes a smart meter look like the energy meter that an inverter knows.",
        epilog="obisgate COMMAND --help shows an example of each.",
    )
    parser.add_argument("--version", action="version", version=f"obisgate {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    # Imported here, so that Ctrl-C while the libraries load ends as quietly as later.
    try:
        from gateway.cli import check, decode, maps, run, simulate

        for command in (run, check, decode, maps, simulate):
            command.add_to(commands)
        options = parser.parse_args(arguments)
        return int(options.command(options))
    except ConfigError as problem:
        print(f"obisgate: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed into the closed pipe.
        sys.stderr.close()
        return 0
