"""Standard streams as they come: closed, cut off, full, or of a narrow character set."""

import contextlib
import os
import queue
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

MAX_WAITING_LINES = 1000
LAST_WORDS_S = 1.0


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


class Output:
    """Lines for a standard stream, written by a thread of their own.

    Whoever reads them slowly or not at all never holds up the service: lines that find no room
    are dropped, and a stream that cannot be written is left alone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LINES)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """Write a line as soon as it can be written."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Write what waits, if somebody reads it."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(LAST_WORDS_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            octets = f"{line}\n".encode(self._encoding, "replace")
            try:
                # Not through the stream: its lock must not be held when the process ends.
                while octets:
                    octets = octets[os.write(self._descriptor, octets) :]
            except OSError:
                return


def _open(mode: str) -> TextIO:
    return Path(os.devnull).open(mode)  # type: ignore[return-value]
