"""What is seen while a line is listened to: on a terminal one line that counts, else a few."""

import shutil
import sys

from gateway.unknown_line import UnknownLine

LINE_S = 5.0  # between two plain lines in which nothing new stands


class Progress:
    """Shows one line after the other; on a terminal those that count replace each other."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._width = 0
        self._shown: tuple[int, int] | None = None  # telegrams, and pieces of time without one

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(text, flush=True)

    def count(self, heard: UnknownLine, now: float) -> None:
        """Show what has come so far."""
        waited_s = now - heard.began
        if self._is_terminal:
            self._replace(f"  {_waiting(heard, now)}")
            return
        shown = len(heard.messages), int(waited_s // LINE_S)
        if shown not in ((0, 0), self._shown):
            self._shown = shown
            print(f"  {waited_s:.0f} s: {_waiting(heard, now)}", flush=True)

    def _replace(self, text: str) -> None:
        # A line that wraps could not be taken back.
        text = text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{text:<{self._width}}", end="", flush=True)
        self._width = len(text)

    def clear(self) -> None:
        """Take back what is replaced, before something else is printed."""
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", flush=True)
            self._width = 0


def counted(heard: UnknownLine) -> str:
    """Return what has come on a line."""
    counts = (
        (heard.bytes, "byte"),
        (heard.frames, "frame"),
        (len(heard.messages), "telegram"),
    )
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)


def _waiting(heard: UnknownLine, now: float) -> str:
    """Return what has come on a line, and when the next telegram is due."""
    if not heard.bytes:
        return f"no byte in {now - heard.began:.0f} s; meters push every 1 to 10 s"
    next_in_s = heard.next_in_s(now)
    if next_in_s is not None:
        return f"{counted(heard)}, next telegram in about {next_in_s:.0f} s"
    return f"{counted(heard)}, waiting for the next one"
