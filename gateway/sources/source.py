"""What all sources have in common: what they promise, and how they are kept running."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

Found = TypeVar("Found")

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
# So often in a row a source may break soon after it was opened, though bytes came: a server that
# says "port already in use" and closes, a loose contact. Then its causes are no news any more.
MOST_FLAPS = 5


class SourceError(Exception):
    """A source cannot go on now; the text says why and what to do, in words."""


class Deliver(Protocol):
    """Where a source puts its bytes."""

    def __call__(self, chunk: bytes, damaged: Sequence[int] = (), /) -> int | None:
        """Take a chunk; `damaged` are the indices in it that had a parity or framing error.

        Return how many bytes at least are still to come of what has begun; None: not known.
        """


class Opened(Protocol):
    """Where a source says that bytes can come, which do not go on from those before."""

    def __call__(self, caveat: str = "", /) -> None:
        """Hear that it is open; a caveat says what it cannot do, in words for "…, but …"."""


class Source(Protocol):
    """Where bytes come from."""

    def describe(self) -> str:
        """Return what it is, for people: "serial port /dev/ttyUSB0, 2400 baud 8E1"."""

    @property
    def is_lasting(self) -> bool:
        """Tell whether it brings the same meter in the next run, going on from here."""

    def trouble(self) -> str | None:
        """Return why it could not be opened now, as far as that shows from outside."""

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Deliver bytes as they come, until there are no more; SourceError if it breaks.

        `opened` is called when bytes can come, by a source for which that is news, and again
        whenever the next bytes come another way: of a half telegram the rest will not come.
        """


async def keep_running(
    source: Source,
    deliver: Deliver,
    say: Callable[[str], None],
    begin_anew: Callable[[], None] = lambda: None,
) -> None:
    """Run `source` again whenever it breaks, with growing pauses; return when it ends.

    While it shows from outside what is missing, as of a device that is not plugged in, the pauses
    stay short: it may be back any moment, and looking costs little. That it is open, and each
    cause why it is not, is said once, until bytes have come; of one that breaks soon again and
    again, until it has lasted. `begin_anew` is called before bytes that do not go on from those
    before.
    """
    clock = asyncio.get_running_loop().time
    pause_s = FIRST_RETRY_S
    causes: set[str] = set()
    is_open_said = has_brought = False
    flaps = 0

    def opened(caveat: str = "") -> None:
        nonlocal is_open_said
        begin_anew()
        if not is_open_said:
            say(f"{source.describe()} is open" + (f", but {caveat}" if caveat else ""))
        is_open_said = True

    def delivered(chunk: bytes, damaged: Sequence[int] = ()) -> int | None:
        nonlocal pause_s, has_brought
        pause_s, has_brought = FIRST_RETRY_S, True
        return deliver(chunk, damaged)

    while True:
        began, has_brought = clock(), False
        try:
            await source.run(delivered, opened)
        except SourceError as problem:
            if has_brought:
                flaps = flaps + 1 if clock() - began < LONGEST_RETRY_S else 0
                if flaps <= MOST_FLAPS:
                    causes.clear()
            if str(problem) not in causes:
                causes.add(str(problem))
                is_open_said = False
                say(f"{problem}; trying again")
        else:
            return
        if await aside(source.trouble):
            pause_s = FIRST_RETRY_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_RETRY_S)


async def aside(work: Callable[[], Found]) -> Found:
    """Return what `work` returns, from a thread of its own, for which no one waits at the end.

    A name server that is silent keeps its thread for many seconds. The loop's own threads are few,
    uvloop's for names are two: other sources, whose hosts answer, would wait for them.
    """
    promise: Future[Found] = Future()
    promise.set_running_or_notify_cancel()

    def keep() -> None:
        try:
            promise.set_result(work())
        except Exception as problem:
            promise.set_exception(problem)

    threading.Thread(target=keep, name="source", daemon=True).start()
    return await asyncio.wrap_future(promise)
