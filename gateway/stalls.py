"""Watches that the event loop goes on: while it stands still, no client is answered."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

# With both, a loop that stands still for 0.5 s is seen while it does, at the cost of 13 short
# awakenings a second (some 1 ms of processor time).
BEAT_S = 0.15
BLOCKED_S = 0.35
SAY_EVERY_S = 60.0  # a loop that stands still again and again fills no log
SHOWN_FRAMES = 12


@contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Warn, with the stack, whenever the loop of this thread stands still inside of this block."""
    watch = _Watch(loop)
    watch.beat()
    thread = threading.Thread(target=watch.run, name="stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.end()
        thread.join()


class _Watch:
    """The loop beats, the thread listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._ended = threading.Event()
        self._beaten = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def beat(self) -> None:
        """Say that the loop goes on, and again soon."""
        self._beaten = time.monotonic()
        self._timer = self._loop.call_later(BEAT_S, self.beat)

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._timer:
            self._timer.cancel()

    def run(self) -> None:
        """Listen to the beats until the end."""
        is_blocked, said, unsaid = False, -SAY_EVERY_S, 0
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            was_blocked, is_blocked = is_blocked, now - self._beaten > BLOCKED_S
            if was_blocked or not is_blocked:
                continue
            if now - said < SAY_EVERY_S:
                unsaid += 1
                continue
            self._say(now - self._beaten, unsaid)
            said, unsaid = now, 0

    def _say(self, age_s: float, unsaid: int) -> None:
        frame = sys._current_frames().get(self._thread)
        stack = "".join(traceback.format_stack(frame)[-SHOWN_FRAMES:]) if frame else ""
        more = f" ({unsaid} times more since this was last said)" if unsaid else ""
        log.warning(
            "nothing was served for %.1f s%s, as the program is busy here:\n%s",
            age_s,
            more,
            stack.rstrip(),
        )
