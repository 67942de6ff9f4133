"""What all sources have in common: what they promise, and how they are kept running."""

import asyncio
from collections.abc import Callable
from typing import Protocol

Deliver = Callable[[bytes], None]

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0


class SourceError(Exception):
    """A source cannot go on now; the text says why and what to do, in words."""


class Source(Protocol):
    """Where bytes come from."""

    def describe(self) -> str:
        """Return what it is, for people: "serial port /dev/ttyUSB0, 2400 baud 8E1"."""

    def trouble(self) -> str | None:
        """Return why it could not be opened now, as far as that shows from outside."""

    async def run(self, deliver: Deliver) -> None:
        """Deliver bytes as they come, until there are no more; SourceError if it breaks."""


async def keep_running(source: Source, deliver: Deliver, say: Callable[[str], None]) -> None:
    """Run `source` again whenever it breaks, with growing pauses; return when it ends.

    Each cause is said once, until bytes have come again.
    """
    pause_s = FIRST_RETRY_S
    said: str | None = None

    def delivered(chunk: bytes) -> None:
        nonlocal pause_s, said
        if said is not None:
            say(f"{source.describe()}: bytes come again")
        pause_s, said = FIRST_RETRY_S, None
        deliver(chunk)

    while True:
        try:
            await source.run(delivered)
        except SourceError as problem:
            if str(problem) != said:
                said = str(problem)
                say(f"{said}; trying again")
        else:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_RETRY_S)
