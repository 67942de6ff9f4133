"""One meter seen through one map, and what may be said of it when it is silent. Pure."""

from typing import Protocol

from gateway.registers import ExceptionCode, Identity, Image, RegisterMap, Stale, Table
from gateway.snapshot import Adjustment, Age, Diagnostics, Snapshot
from gateway.snapshot.diagnostics import FRESHNESS, freshness_numbers


class Served(Protocol):
    """A meter as units see it."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The last good one; None before the first."""

    @property
    def freshness(self) -> Age:
        """How old it is."""

    @property
    def diagnostics(self) -> Diagnostics:
        """What was counted of it; asked for only by maps that show it."""


class Unit:
    """One meter seen through one map, with what the user adjusts.

    It decides what may be said when the meter is silent: `hold_s` and `stale` are the user's own
    for this unit, None: the meter's and the map's.
    """

    def __init__(
        self,
        register_map: RegisterMap,
        meter: Served,
        adjustment: Adjustment | None = None,
        *,
        hold_s: float | None = None,
        stale: Stale | None = None,
    ) -> None:
        self._map = register_map
        self._meter = meter
        self._adjustment = adjustment
        self._hold_s = hold_s
        self._stale = stale or register_map.written.stale
        self._shows_own = bool(register_map.own)
        self._shows_counts = not register_map.own <= FRESHNESS
        self._rendered: tuple[Snapshot | None, Image] = (None, register_map.render(None))
        self._blank = self._rendered[1]
        self._zero = _zeroed(self._blank) if stale is Stale.ZERO else self._blank

    def read(
        self, table: Table, address: int, count: int, now: float
    ) -> bytes | ExceptionCode | None:
        """Return `count` registers from `address`, two bytes each; None: do not answer.

        `now` is on the monotonic clock of the telegrams.
        """
        layout = self._map.layout
        word = layout.locate(table, address, count)
        if type(word) is ExceptionCode:  # isinstance looks long at an int that is no enum
            return word
        image: Image | ExceptionCode | None
        if self._is_live(now):
            image = self._rendered[1]
            if self._rendered[0] is not self._meter.snapshot:
                image = self._image()
        else:
            image = self._stale_image() if layout.is_measured(word, count) else self._blank
            if not isinstance(image, Image):
                return image
        octets = image.octets[2 * word : 2 * (word + count)]
        if self._shows_own:
            return self._map.with_own(octets, word, lambda: self._numbers(now))
        return octets

    def shown(self, table: Table, address: int, count: int, now: float) -> Snapshot | None:
        """Return the snapshot on which alone depends what a read at `now` returns.

        None: on none, for the meter is silent, or some of it is the service's own.
        """
        is_live = self._is_live(now) and not self._reads_own(table, address, count)
        return self._meter.snapshot if is_live else None

    def still_shows(self, snapshot: Snapshot, now: float) -> bool:
        """Tell whether reads return at `now` what they returned of this snapshot."""
        return snapshot is self._meter.snapshot and self._is_live(now)

    def _reads_own(self, table: Table, address: int, count: int) -> bool:
        if not self._shows_own:
            return False
        word = self._map.layout.locate(table, address, count)
        return type(word) is not ExceptionCode and self._map.shows_own(word, count)

    def _is_live(self, now: float) -> bool:
        """Tell whether the last good telegram may be served."""
        freshness = self._meter.freshness
        received = freshness.received
        # A virtual meter that was just made has no values yet, though all its meters have spoken.
        if received is None or self._meter.snapshot is None:
            return False
        return now - received <= (freshness.hold_s if self._hold_s is None else self._hold_s)

    @property
    def closes(self) -> bool:
        """Tell whether a client that is not answered is to be sent away, too."""
        return self._stale is Stale.CLOSE

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

    def _stale_image(self) -> Image | ExceptionCode | None:
        """Return what is shown of a stale meter, the exception, or None: do not answer."""
        stale = self._stale
        if stale is Stale.LAST and self._meter.snapshot is None:
            stale = self._map.written.stale  # there is no last one yet
        match stale:
            case Stale.EXCEPTION:
                return ExceptionCode.TARGET_FAILED_TO_RESPOND
            case Stale.SILENT | Stale.CLOSE:
                return None
            case Stale.NOT_AVAILABLE:
                return self._blank
            case Stale.LAST:
                return self._image()
            case Stale.ZERO:
                return self._zero

    def _numbers(self, now: float) -> dict[str, int | float]:
        """Return the service's own quantities at `now`."""
        numbers = freshness_numbers(self._meter.freshness, now, self._hold_s)
        if self._shows_counts:
            numbers |= self._meter.diagnostics.numbers(now)
        return numbers


def _zeroed(image: Image) -> Image:
    """Return an image whose measured words are 0."""
    octets = bytearray(image.octets)
    for word, is_measured in enumerate(image.layout.measured):
        if is_measured:
            octets[2 * word : 2 * word + 2] = bytes(2)
    return Image(image.layout, bytes(octets))
