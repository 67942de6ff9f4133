"""Watches that the event loop goes on: while it stands still, no client is answered."""

import asyncio
import linecache
import logging
import math
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

# With both, a loop that stands still for 0.5 s is seen while it does, at the cost of 13 short
# awakenings a second (some 1 ms of processor time).
BEAT_S = 0.15
BLOCKED_S = 0.35
SAY_EVERY_S = 60.0  # a loop that stands still again and again fills no log
SHOWN_FRAMES = 12
# After it stood still, until all that came meanwhile has been read: a second. Counted in beats, as
# the reading itself, of a thousand meters, may take longer, and then the beats do, too.
JUST_BEATS = 7


class Pulse:
    """The beat of an event loop."""

    def __init__(self) -> None:
        self.beaten = math.inf  # when last; it has not begun
        self._timer: asyncio.TimerHandle | None = None
        # When the last beats were, and the seconds since the one before.
        self._pauses: deque[tuple[float, float]] = deque(maxlen=JUST_BEATS)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat from now on."""
        self.beaten = time.monotonic()
        self._timer = loop.call_later(BEAT_S, self._beat, loop)

    def end(self) -> None:
        """Beat no more."""
        self.beaten = math.inf
        if self._timer:
            self._timer.cancel()

    def stood_still_s(self, now: float, since: float = -math.inf) -> float:
        """Return for how long at most the loop stood still at once, just before `now`; or 0.

        The program was busy, or stopped, as by Ctrl-Z or in a container that is paused. What had
        ended before `since` does not count.
        """
        ended = [pause_s for beaten, pause_s in self._pauses if beaten >= since]
        longest_s = max(now - self.beaten, *ended, BLOCKED_S)
        return longest_s if longest_s > BLOCKED_S else 0.0

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        self._pauses.append((now, now - self.beaten))
        self.beaten = now
        self._timer = loop.call_later(BEAT_S, self._beat, loop)


@contextmanager
def watched(loop: asyncio.AbstractEventLoop, pulse: Pulse) -> Iterator[None]:
    """Let this thread's loop beat inside of this block; warn, with the stack, when it stands."""
    pulse.begin(loop)
    watch = _Watch(pulse)
    thread = threading.Thread(target=watch.run, name="stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.end()
        thread.join()
        pulse.end()


class _Watch:
    """A thread that listens to the beats."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._thread = threading.get_ident()
        self._ended = threading.Event()

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()

    def run(self) -> None:
        """Listen to the beats until the end."""
        is_blocked, said, unsaid = False, -SAY_EVERY_S, 0
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            was_blocked, is_blocked = is_blocked, now - self._pulse.beaten > BLOCKED_S
            if was_blocked or not is_blocked:
                continue
            if now - said < SAY_EVERY_S:
                unsaid += 1
                continue
            self._say(now - self._pulse.beaten, unsaid)
            said, unsaid = now, 0

    def _say(self, age_s: float, unsaid: int) -> None:
        frame = sys._current_frames().get(self._thread)
        stack = "".join(traceback.format_stack(frame)[-SHOWN_FRAMES:]) if frame else ""
        linecache.clearcache()  # the sources of all that the stack has run through
        more = f" ({unsaid} times more since this was last said)" if unsaid else ""
        log.warning(
            "nothing was served for %.1f s%s, as the program is busy here:\n%s",
            age_s,
            more,
            stack.rstrip(),
        )
