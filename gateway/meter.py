"""One meter: its decoder, its last good snapshot, and how fresh that is. Who listens is told."""

from collections.abc import Callable

from gateway.snapshot import Freshness, Snapshot
from gateway.telegram import Decoder, Fault, Telegram


class Meter:
    """Turns a source's bytes into snapshots. `listen` hears every telegram and fault, in order."""

    def __init__(
        self, name: str, decoder: Decoder, hold_s: float, listen: Callable[[Telegram | Fault], None]
    ) -> None:
        self.name = name
        self.freshness = Freshness(hold_s)
        self.snapshot: Snapshot | None = None
        self._decoder = decoder
        self._listen = listen

    def take(self, chunk: bytes, now: float) -> None:
        """Take bytes that came at `now` (seconds, monotonic)."""
        self._hear(self._decoder.feed(chunk, now))

    def finish(self) -> None:
        """Wait no longer: the source has ended."""
        self._hear(self._decoder.finish())

    def _hear(self, items: list[Telegram | Fault]) -> None:
        for item in items:
            if isinstance(item, Telegram):
                self.snapshot = Snapshot.of(item)
                self.freshness.received = item.received
            self._listen(item)
