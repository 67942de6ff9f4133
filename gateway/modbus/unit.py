"""One meter seen through one map, and what may be said of it when it is silent. Pure."""

from typing import Protocol

from gateway.registers import ExceptionCode, Identity, Image, RegisterMap, Stale, Table
from gateway.snapshot import Adjustment, Freshness, Snapshot
from gateway.snapshot.freshness import State


class Served(Protocol):
    """A meter as units see it."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The last good one; None before the first."""

    @property
    def freshness(self) -> Freshness:
        """How old it is."""


class Unit:
    """One meter seen through one map, with what the user adjusts.

    It decides what may be said when the meter is silent.
    """

    def __init__(
        self, register_map: RegisterMap, meter: Served, adjustment: Adjustment | None = None
    ) -> None:
        self._map = register_map
        self._meter = meter
        self._adjustment = adjustment
        self._rendered: tuple[Snapshot | None, Image] = (None, register_map.render(None))
        self._blank = self._rendered[1]

    def read(
        self, table: Table, address: int, count: int, now: float
    ) -> bytes | ExceptionCode | None:
        """Return `count` registers from `address`, two bytes each; None: do not answer.

        `now` is on the monotonic clock of the telegrams.
        """
        layout = self._map.layout
        word = layout.locate(table, address, count)
        if isinstance(word, ExceptionCode):
            return word
        image = self._image()
        freshness = self._meter.freshness
        if freshness.state(now) is not State.LIVE and layout.is_measured(word, count):
            if self._map.written.stale is Stale.SILENT:
                return None
            if self._map.written.stale is Stale.EXCEPTION:
                return ExceptionCode.TARGET_FAILED_TO_RESPOND
            image = self._blank
        octets = image.octets[2 * word : 2 * (word + count)]
        return self._map.with_age(octets, word, freshness.age_s(now))

    @property
    def takes_writes(self) -> bool:
        """Tell whether the emulated meter takes any."""
        return bool(self._map.written.ignored_writes)

    def ignores_write(self, address: int, count: int) -> bool:
        """Tell whether the emulated meter takes a write there; nothing is ever changed by it."""
        ranges = self._map.written.ignored_writes
        return any(first <= address and address + count <= last + 1 for first, last in ranges)

    @property
    def identity(self) -> Identity | None:
        """What the emulated meter says of itself (function 43/14); None: it does not."""
        return self._map.written.identity

    @property
    def server_id(self) -> str | None:
        """What it answers to function 17; None: it does not."""
        return self._map.written.server_id

    def _image(self) -> Image:
        """Return the image of the meter's present snapshot, rendered when first asked for."""
        snapshot = self._meter.snapshot
        if self._rendered[0] is not snapshot:
            shown = snapshot
            if snapshot is not None and self._adjustment is not None:
                shown = self._adjustment.of(snapshot)
            self._rendered = (snapshot, self._map.render(shown))
        return self._rendered[1]
