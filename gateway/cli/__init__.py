"""The command `obisgate`. Exit codes: 0 good, 1 found something wrong, 2 used wrongly."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from gateway.cli import streams

# In the order of their help; each is a module here.
COMMANDS = (
    "init", "run", "reload", "health", "check", "doctor", "decode", "explain", "maps", "read",
    "record", "anonymise", "simulate", "tls", "service",
)  # fmt: skip
FOUND_WRONG = 1
USED_WRONGLY = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        streams.prepare()
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        # What runs until it is stopped has done all it should.
        return 0 if words[0] in ("run", "simulate") else INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed into the closed pipe.
        streams.give_up_output()
        return 0
    except OSError as problem:
        streams.give_up_output()
        print(f"obisgate: {problem.filename or 'output'}: {problem.strerror}", file=sys.stderr)
        return FOUND_WRONG
    return code


def _run(arguments: Sequence[str]) -> int:
    # Imported here, so that Ctrl-C while the libraries load ends as quietly as later.
    from gateway import __version__
    from gateway.cli.command import Help
    from gateway.located import ConfigError, hide_keys

    class Parser(argparse.ArgumentParser):
        """Its errors repeat what was typed, which may be a key."""

        def error(self, message: str) -> NoReturn:
            super().error(hide_keys(message))

    parser = Parser(
        prog="obisgate",
        description="Makes a smart meter look like the energy meter that an inverter knows.",
        epilog="obisgate COMMAND --help shows an example of each.",
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"obisgate {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    # A gateway that runs for years need not carry what only other commands use.
    for name in arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS:
        import_module(f"gateway.cli.{name}").add_to(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except ConfigError as problem:
        print(f"obisgate: {problem}", file=sys.stderr)
        return USED_WRONGLY
