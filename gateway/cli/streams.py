"""Standard streams as they come: closed, cut off, full, or of a narrow character set."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO


def prepare() -> None:
    """Let a closed stream be an empty one, and no character of ours be one too many."""
    # A process that is started without a stream has None in its place.
    sys.stdin = sys.stdin or _open("r")
    sys.stdout = sys.stdout or _open("w")
    sys.stderr = sys.stderr or _open("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def give_up_output() -> None:
    """Write nothing more to standard output, not even what still waits in it."""
    sys.stdout = _open("w")


def say(text: str) -> None:
    """Print a line; if nobody can read it any more, go on without."""
    try:
        print(text, flush=True)
    except OSError:
        give_up_output()


def _open(mode: str) -> TextIO:
    return Path(os.devnull).open(mode)  # type: ignore[return-value]
