"""One meter: its decoder, its checks, its last good snapshot and how fresh that is.

Who listens is told.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.snapshot import Diagnostics, Freshness, Judge, Snapshot
from gateway.telegram import Decoder, Fault, Telegram


class News(NamedTuple):
    """A change at the meter that somebody should know of, in words."""

    text: str


class Held(NamedTuple):
    """A telegram that is not served before the next one confirms it."""

    telegram: Telegram


Heard = Telegram | Fault | News | Held


class Meter:
    """Turns a source's bytes into snapshots. `listen` hears everything good and bad, in order.

    `began` is when the service started (seconds, monotonic).
    """

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        judge: Judge,
        hold_s: float,
        listen: Callable[[Heard], None],
        began: float = 0.0,
    ) -> None:
        self.name = name
        self.freshness = Freshness(hold_s)
        self.diagnostics = Diagnostics(began)
        self.judge = judge
        self.snapshot: Snapshot | None = None
        self._decoder = decoder
        self._listen = listen

    def take(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> None:
        """Take bytes that came at `now` (seconds, monotonic); `damaged` as in `Decoder.feed`."""
        self._hear(self._decoder.feed(chunk, now, damaged))

    @property
    def missing(self) -> int | None:
        """Return how many bytes at least a frame that has begun still lacks; None: none has."""
        return self._decoder.missing

    def begin_anew(self) -> None:
        """Wait no longer for the rest of a telegram: the next bytes do not go on from the last."""
        self._hear(self._decoder.finish())

    def finish(self) -> None:
        """Wait no longer: the source has ended."""
        self.begin_anew()
        for fault in self.judge.finish():
            self._refuse(fault)

    def start_over(self, decoder: Decoder, judge: Judge) -> None:
        """Forget what the decoder and the judge had begun; the last snapshot goes on ageing."""
        self._decoder, self.judge = decoder, judge

    def _hear(self, items: Sequence[Telegram | Fault]) -> None:
        for item in items:
            if isinstance(item, Fault):
                self._refuse(item)
                continue
            snapshot = Snapshot.of(item)
            if not self.judge.passes(item):
                verdict = self.judge.take(item, snapshot.measured, snapshot.texts)
                for fault in verdict.faults:
                    self._refuse(fault)
                if verdict.news:
                    self._listen(News(verdict.news))
                if not verdict.is_good:
                    self.diagnostics.held += 1
                    self._listen(Held(item))
                    continue
            self.snapshot = snapshot
            self.freshness.came(item.received)
            self.diagnostics.good(item)
            self._listen(item)

    def _refuse(self, fault: Fault) -> None:
        self.diagnostics.bad(fault)
        self._listen(fault)
