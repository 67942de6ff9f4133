"""Which reading stands where in a plaintext, and the readings themselves."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from functools import cached_property
from typing import NamedTuple

from gateway.telegram import axdr, notification
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.notification import DATE_TIME_BYTES, CosemTime, Header
from gateway.telegram.obis import CLOCK, EXPECTED_UNITS, LOCAL_DATE, LOCAL_TIME, Obis

MAX_NUMBER = 2.0**64  # no meter counts further, also where it sends floats
_SCALES = {scaler: (scaler < 0, 10 ** abs(scaler)) for scaler in range(-3, 4)}
# By tag of a number: its kind, and what reads it from its tag on.
NUMBER_READERS = {
    tag: (tag << 8, struct.Struct(f">x{number.format[1:]}").unpack_from)
    for tag, number in axdr.NUMBERS.items()
}
_NUMBERS = dict(NUMBER_READERS.values())
# How a clock may come, and how many bytes stand before its own.
_CLOCK_HEADS = {axdr.OCTET_STRING << 8 | DATE_TIME_BYTES: 2, axdr.DATE_TIME << 8: 1}
NO_TIME = Header(None, None, 0)


class Reading(NamedTuple):
    """One OBIS value as the meter sent it, its scaler applied: an int stays an int.

    `unit` is a DLMS unit such as "Wh", None for texts, clocks and bare numbers. `status` is the
    status byte of a clock (bit 7: daylight saving), None for all else.
    """

    value: int | float | str | datetime
    unit: str | None = None
    status: int | None = None


class Entry(NamedTuple):
    """One object: the A-XDR kind of its value, and where the value's tag and bytes stand."""

    obis: Obis
    kind: int
    start: int
    end: int
    scaler: int = 0
    unit: str | None = None

    @property
    def content_start(self) -> int:
        """Return where the value's own bytes start, behind its tag and length."""
        return self.start + (2 if self.kind >> 8 in axdr.STRINGS else 1)

    @property
    def is_number(self) -> bool:
        """Tell a number from a text or a clock."""
        return self.kind >> 8 in axdr.NUMBERS

    @property
    def is_whole(self) -> bool:
        """Tell an integer from all else."""
        return self.is_number and self.kind >> 8 not in axdr.FLOATS

    @property
    def changes(self) -> bool:
        """Tell what differs from telegram to telegram from what names the meter."""
        return self.is_number or self.obis in (CLOCK, LOCAL_TIME, LOCAL_DATE)


Row = tuple[Obis, int, int, int, int, str | None]  # an `Entry`, before anybody asks for its parts


class Readings(Mapping[Obis, Reading]):
    """The readings of one telegram, in the meter's order; scaled and named as they are asked for.

    `raw` are the numbers as sent, in the order of `listing.numbers`; `texts` all else but the
    `clock`.
    """

    __slots__ = ("clock", "listing", "raw", "texts")

    def __init__(
        self,
        listing: "Listing",
        raw: Sequence[int | float],
        texts: Mapping[Obis, Reading],
        clock: CosemTime | None,
    ) -> None:
        self.listing = listing
        self.raw = raw
        self.texts = texts
        self.clock = clock

    def __getitem__(self, obis: Obis) -> Reading:
        place = self.listing.places.get(obis)
        if place is None:
            if obis == CLOCK and self.clock and self.clock.moment:
                return Reading(self.clock.moment, None, self.clock.status)
            return self.texts[obis]
        negative, power = self.listing.scales[place]
        number = self.raw[place] / power if negative else self.raw[place] * power
        return Reading(number, self.listing.numbers[place].unit)

    def __iter__(self) -> Iterator[Obis]:
        sent = {*self.listing.places, *self.texts, *([CLOCK] if self._has_clock else [])}
        return (entry.obis for entry in self.listing.entries if entry.obis in sent)

    def __len__(self) -> int:
        return len(self.raw) + len(self.texts) + self._has_clock

    @property
    def _has_clock(self) -> bool:
        return self.clock is not None and self.clock.moment is not None

    def __repr__(self) -> str:
        return f"Readings({dict(self)})"


class Listing:
    """A meter's list of objects, each at its place; reads any plaintext of the same layout.

    `name` is that of the layout; `rows` are the objects as `Entry` has them, `others` those of
    them that are no numbers; `unread` are the (start, end) of values of unknown meaning.
    """

    def __init__(
        self,
        name: str,
        rows: Sequence[Row],
        unread: Sequence[tuple[int, int]] = (),
        others: Sequence[Row] | None = None,
    ) -> None:
        self.name = name
        self.rows = rows
        self.unread = unread
        self.others = [row for row in rows if row[1] not in _NUMBERS] if others is None else others

    @cached_property
    def entries(self) -> Sequence[Entry]:
        """Return all objects, in the meter's order."""
        return [Entry(*row) for row in self.rows]

    @cached_property
    def numbers(self) -> Sequence[Entry]:
        """Return the objects that are numbers."""
        return [entry for entry in self.entries if entry.is_number]

    @cached_property
    def texts(self) -> Sequence[Entry]:
        """Return the objects that are texts or clocks."""
        return [Entry(*row) for row in self.others]

    @cached_property
    def places(self) -> Mapping[Obis, int]:
        """Return where each number stands among the numbers."""
        return {entry.obis: place for place, entry in enumerate(self.numbers)}

    @cached_property
    def scales(self) -> Sequence[tuple[bool, int]]:
        """Return what each number is divided by (True) or multiplied with."""
        # Divided by a power of ten a number is the float nearest to the decimal that was meant.
        return [_SCALES[entry.scaler] for entry in self.numbers]

    def read(
        self,
        plaintext: bytes,
        header: Header = NO_TIME,
        numbers: Sequence[int | float] | None = None,
    ) -> Readings | Fault:
        """Return the readings of a plaintext that has this layout; a fault if one cannot be.

        `header` is that of the notification; the clock mostly shows the same time. `numbers` are
        the plaintext's, as sent, where they were read before.
        """
        raw = self._raw(plaintext) if numbers is None else numbers
        texts: dict[Obis, Reading] = {}
        clock = None
        for row in self.others:
            if row[0] == CLOCK:
                shown = read_clock(row, plaintext, header)
                if isinstance(shown, Fault):
                    return shown
                clock = shown
            else:
                text = read_text(row, plaintext)
                if isinstance(text, Fault):
                    return text
                if text is not None:
                    texts[row[0]] = text
        if not _is_possible(raw) and (fault := impossible(self.numbers, raw)):
            return fault
        return Readings(self, raw, texts, clock)

    def _raw(self, plaintext: bytes) -> Sequence[int | float]:
        """Return the numbers of a plaintext, as sent."""
        raw: list[int | float] = []
        for row in self.rows:
            if unpack_from := _NUMBERS.get(row[1]):
                raw += unpack_from(plaintext, row[2])
        return raw


def impossible(entries: Sequence[Entry], raw: Sequence[int | float]) -> Fault | None:
    """Return the fault of the first number that no meter sends; None if there is none."""
    if _is_possible(raw):
        return None
    for entry, number in zip(entries, raw, strict=True):
        if not abs(number) <= MAX_NUMBER:
            return Fault(Layer.LAYOUT, f"{entry.obis} is no number", entry.start)
        if number < 0 and EXPECTED_UNITS.get(entry.obis.channel_0) is not None:
            shown = number / 10**-entry.scaler if entry.scaler < 0 else number * 10**entry.scaler
            return Fault(Layer.LAYOUT, f"{entry.obis} is negative, {shown}", entry.start)
    return None


def _is_possible(raw: Sequence[int | float]) -> bool:
    """Tell whether all numbers are what any meter may send; those that are not may still be."""
    # A sum with NaN or infinity in it is no number either.
    return not raw or (min(raw) >= 0 and sum(raw) <= MAX_NUMBER)


def read_clock(row: Row, plaintext: bytes, header: Header) -> CosemTime | Fault:
    """Return what the meter's clock shows."""
    _, kind, start, _, _, _ = row
    if kind not in _CLOCK_HEADS:
        reason = f"the clock is no octet-string of {DATE_TIME_BYTES} bytes"
        return Fault(Layer.LAYOUT, reason, start)
    content = start + _CLOCK_HEADS[kind]
    known, at, _ = header
    if known and at and plaintext.startswith(plaintext[at : at + DATE_TIME_BYTES], content):
        return known
    return notification.cosem_time(plaintext, content)


def read_text(row: Row, plaintext: bytes) -> Reading | Fault | None:
    """Return the reading of a text; None if it is empty."""
    obis, _, start, end, _, _ = row
    octets = plaintext[start + 2 : end]
    if obis in (LOCAL_TIME, LOCAL_DATE):
        return _local(obis, octets, start)
    text = octets.decode("latin-1")
    if not text:
        return None
    if not (text.isascii() and text.isprintable()):
        return Fault(Layer.LAYOUT, f"{obis} is no readable text", start)
    return Reading(text)


def _local(obis: Obis, octets: bytes, start: int) -> Reading | Fault:
    """Read a COSEM time or date without its zone (Blue Book, 4.1.6.1) as ISO 8601."""
    try:
        if obis == LOCAL_TIME:
            hour, minute, second, _hundredths = octets
            return Reading(time(hour, minute, second).isoformat())
        high, low, month, day, _weekday = octets
        return Reading(date(high << 8 | low, month, day).isoformat())
    except ValueError:
        return Fault(Layer.LAYOUT, f"{obis} shows a date or time that does not exist", start)
