"""Any value and any table give a listing that names what is there once, or a fault, or ValueError.

Its entries are elements of the value, none twice; its readings are texts, times and finite numbers.
"""

import math
from collections.abc import Callable, Sequence

from gateway.telegram import axdr, layouts
from gateway.telegram.axdr import Outline
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.layouts import LAYOUTS, Layout
from gateway.telegram.listing import Listing, Reading
from gateway.telegram.obis import UNITS
from tests.fuzz.choices import Choices
from tests.fuzz.meters import MODEL_NAMES, title_of

HEADER = bytes(18)  # what stands before a body in its plaintext; no layout looks at it

OWN_TABLE = 0x01  # the payload begins with the makers, a line end, a table and a NUL
PRESCRIBED = 0x02  # it is the only layout, not one of all

Recognise = Callable[[Outline, bytes, Sequence[Layout], Layout | None], Listing | Fault]


def pack(body: bytes, model: str, table: str | None = None, *, prescribed: bool = False) -> bytes:
    """Return the input for a body of a meter; `table` begins with a line of makers."""
    flags = (OWN_TABLE if table is not None else 0) | (PRESCRIBED if prescribed else 0)
    text = b"" if table is None else table.encode("latin-1") + b"\x00"
    return bytes([MODEL_NAMES.index(model), flags]) + text + body


def check(octets: bytes, recognise: Recognise = layouts.recognise) -> None:
    """Assert the promise above."""
    choices = Choices(octets)
    title = title_of(MODEL_NAMES[choices.number() % len(MODEL_NAMES)])
    flags, body = choices.number(), choices.rest
    own = None
    if flags & OWN_TABLE:
        text, _, body = body.partition(b"\x00")
        makers, _, table = text.decode("latin-1").partition("\n")
        try:
            own = Layout.parse("fuzzed", makers, table)
        except ValueError:
            own = None
        if own is not None:
            _check_layout(own)

    outline = axdr.outline(HEADER + body, len(HEADER))
    # A notification's header refuses all other values.
    if isinstance(outline, Fault) or body[0] not in axdr.CONTAINERS:
        return
    known = LAYOUTS if own is None else (own, *LAYOUTS)
    listing = recognise(outline, title, known, own if flags & PRESCRIBED else None)
    if isinstance(listing, Fault):
        _check_fault(listing, outline)
    else:
        _check_listing(listing, outline)
        _check_readings(listing, outline)


def _check_layout(layout: Layout) -> None:
    named = [item.obis for item in layout.items if item.obis]
    assert named, "a layout that names nothing"
    assert len(set(named)) == len(named), "a layout that names an object twice"


def _check_fault(fault: Fault, outline: Outline) -> None:
    assert fault.layer in (Layer.LAYOUT, Layer.STRUCTURE)
    assert outline.starts[0] <= fault.offset <= outline.starts[-1], fault


def _check_listing(listing: Listing, outline: Outline) -> None:
    elements = {
        start: (end, kind)
        for start, end, kind in zip(
            outline.starts, outline.starts[1:], outline.kinds(), strict=False
        )
    }
    last = 0
    for entry in listing.entries:
        assert entry.start >= last, f"{entry} overlaps the one before"
        assert elements.get(entry.start) == (entry.end, entry.kind), f"{entry} is no element"
        assert entry.kind >> 8 not in axdr.CONTAINERS, f"{entry} holds others"
        assert entry.unit in UNITS.values(), entry
        last = entry.end
    named = [entry.obis for entry in listing.entries]
    assert named, "a listing of nothing"
    assert len(set(named)) == len(named), f"{named} names an object twice"
    read = {entry.start for entry in listing.entries}
    for start, end in listing.unread:
        assert start not in read, f"{start} is read and unread"
        assert any(first <= start <= end <= behind for first, (behind, _) in elements.items()), (
            f"{start} to {end} lie in no element"
        )


def _check_readings(listing: Listing, outline: Outline) -> None:
    readings = listing.read(outline.octets)
    if isinstance(readings, Fault):
        _check_fault(readings, outline)
        return
    order = [entry.obis for entry in listing.entries]
    assert [obis for obis in order if obis in readings] == list(readings)
    assert len(list(readings)) == len(readings)
    for obis, reading in readings.items():
        check_reading(str(obis), reading)


def check_reading(name: str, reading: Reading) -> None:
    """Assert that a reading is what a meter may say."""
    value = reading.value
    if isinstance(value, int | float):
        assert math.isfinite(value), f"{name} is {value}"
    elif isinstance(value, str):
        assert value.isascii(), f"{name} is {value!r}"
        assert value.isprintable(), f"{name} is {value!r}"
    assert reading.unit in UNITS.values(), f"{name} has the unit {reading.unit}"
