"""Where a plaintext's fields stand on the wire, and how they are written down."""

from collections.abc import Callable
from typing import NamedTuple

from gateway.telegram import notification
from gateway.telegram.anatomy.field import Change, Ranges, Sheet, show_hex
from gateway.telegram.fault import Layer

SUMMER_TIME = 0x80
# name, bytes, whether the number has a sign
CLOCK_FIELDS = (
    ("clock.year", 2, False),
    ("clock.month", 1, False),
    ("clock.day", 1, False),
    ("clock.weekday", 1, False),
    ("clock.hour", 1, False),
    ("clock.minute", 1, False),
    ("clock.second", 1, False),
    ("clock.hundredths", 1, False),
    ("clock.deviation", 2, True),
    ("clock.status", 1, False),
)


class Plaintext(NamedTuple):
    """A plaintext, or the beginning of one, and where its bytes stand on the wire."""

    octets: bytes
    ranges: Callable[[int, int], Ranges]
    offset: Callable[[int], int]
    system_title: bytes
    is_whole: bool


class Writer:
    """Writes fields whose places count in one plaintext."""

    def __init__(self, sheet: Sheet, plaintext: Plaintext) -> None:
        self.sheet = sheet
        self.octets = plaintext.octets
        self.ranges = plaintext.ranges

    def field(
        self,
        name: str,
        layer: Layer,
        depth: int,
        start: int,
        end: int,
        change: Change,
        value: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        """Add a field for the plaintext's bytes from `start` to `end`."""
        place, plain = self.ranges(start, end), self.octets[start:end]
        self.sheet.field(name, layer, depth, place, change, plain=plain, value=value, notes=notes)

    def clock(self, start: int, depth: int, layer: Layer) -> None:
        """Add the twelve bytes of a COSEM date-time one by one (Blue Book, 4.1.6.1)."""
        position = start
        for name, size, is_signed in CLOCK_FIELDS:
            octets = self.octets[position : position + size]
            number = int.from_bytes(octets, "big", signed=is_signed)
            is_open = number == notification.DEVIATION_UNSPECIFIED or (
                not is_signed and name != "clock.status" and set(octets) == {0xFF}
            )
            value = show_hex(octets) if name == "clock.status" else str(number)
            notes: tuple[str, ...] = ("clock.unspecified",) if is_open else ()
            if name == "clock.status":
                notes = ("clock.summer",) if number & SUMMER_TIME else ("clock.winter",)
            elif is_signed and not is_open:
                notes = ("clock.ahead",)
                value = f"{number} min"
            self.field(
                name,
                layer,
                depth,
                position,
                position + size,
                Change.CHANGES,
                "" if is_open else value,
                notes,
            )
            position += size
