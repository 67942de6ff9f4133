"""The elements of a push, written down: tags, OBIS codes, values, scalers and units."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.telegram import axdr, named, notification
from gateway.telegram.anatomy.codes import is_public
from gateway.telegram.anatomy.field import Change, count_of
from gateway.telegram.anatomy.writer import Writer
from gateway.telegram.axdr import Outline
from gateway.telegram.fault import Layer
from gateway.telegram.listing import Entry, Listing, Readings
from gateway.telegram.obis import CLOCK, LOCAL_DATE, LOCAL_TIME, UNITS, Obis

LIST_DEPTH = 2
SCALER_UNIT_KINDS = [axdr.STRUCTURE << 8 | 2, axdr.INTEGER << 8, axdr.ENUM << 8]
PUSH_OBJECT_ROLES = ("object.class", "object.code", "object.attribute", "object.index")
# Data, Register, Extended register, Demand register, Profile generic, Clock, Push setup, … : the
# interface classes of which meters push attributes (Blue Book, 4).
PUSH_CLASSES = (1, 3, 4, 5, 7, 8, 40, 64, 70, 71, 72)
PUSH_ATTRIBUTES = (1, 2, 3)


class _Object(NamedTuple):
    """One object: the indices of its first element, its value, and the first one behind it."""

    obis: Obis
    first: int
    value: int
    behind: int
    entry: Entry | None


def explain_list(writer: Writer, outline: Outline, listing: Listing | None) -> None:
    """Write down a list element by element, object by object; without `listing` unnamed."""
    if len(outline.starts) < 2:
        return
    roles = _roles(outline)
    objects = _listed(outline, listing) if listing else _found(outline)
    unread = {content for content, _ in listing.unread} if listing else set()
    for each in objects:
        roles[each.value] = _value_role(each.entry)
    writer.sheet.group(
        "list",
        Layer.STRUCTURE,
        LIST_DEPTH,
        writer.ranges(outline.starts[0], outline.starts[-1]),
        value=listing.name if listing else "",
        notes=() if listing else ("list.unknown",),
    )
    by_first = {each.first: each for each in objects}
    depths = _depths(outline)
    behind = 0
    for index in range(len(outline.starts) - 1):
        if (found := by_first.get(index)) is not None:
            behind = found.behind
            _explain_object(writer, outline, found, depths[index], listing)
        depth = depths[index] + (index < behind)
        is_unread = outline.content_start(index) in unread
        role = "object.unread" if is_unread else roles.get(index, "")
        _explain_element(writer, outline, index, depth, role)


def _listed(outline: Outline, listing: Listing) -> list[_Object]:
    """Return the objects that the decoder's own listing names."""
    index_of = {start: index for index, start in enumerate(outline.starts)}
    return [_around(outline, entry.obis, index_of[entry.start], entry) for entry in listing.entries]


def _found(outline: Outline) -> list[_Object]:
    """Return what looks like objects in a list of unknown layout: a code, then a value."""
    return [
        _around(outline, Obis(*outline.content(index)), index + 1, None)
        for index in range(len(outline.starts) - 2)
        if _is_code(outline, index)
        and outline.kind(index + 1) >> 8 not in axdr.CONTAINERS
        and not _has_form_of_push_object(outline, index - 2)
    ]


def _around(outline: Outline, obis: Obis, value: int, entry: Entry | None) -> _Object:
    """Return an object with what stands around its value: name, structure, scaler and unit."""
    first, behind = value, value + 1
    if _is_scaler_unit(outline, value + 1):
        behind = value + 4
    if outline.kind(value - 1) == named.OBIS_KIND and outline.content(value - 1) == bytes(obis):
        first = value - 1
        size = 2 if behind == value + 1 else 3
        if first > 1 and outline.kind(first - 1) == axdr.STRUCTURE << 8 | size:
            first -= 1
    return _Object(obis, first, value, behind, entry)


def _roles(outline: Outline) -> dict[int, str]:
    """Return what the elements are whose meaning shows in their form."""
    roles = {}
    for index in range(len(outline.starts) - 1):
        if _is_code(outline, index):
            roles[index] = "object.code"
        if _is_scaler_unit(outline, index):
            roles[index + 1], roles[index + 2] = "object.scaler", "object.unit"
        if _is_push_object(outline, index):
            roles |= dict(enumerate(PUSH_OBJECT_ROLES, index + 1))
    return roles


def _is_scaler_unit(outline: Outline, index: int) -> bool:
    """Tell whether a scaler and unit begin at an element, behind the number that they are of."""
    return (
        index > 0
        and outline.kinds(index, index + 3) == SCALER_UNIT_KINDS
        and outline.kind(index - 1) >> 8 in axdr.NUMBERS
        and abs(outline.number(index + 1)) <= named.MAX_SCALER
        and outline.number(index + 2) in UNITS
    )


def _is_push_object(outline: Outline, index: int) -> bool:
    """Tell whether an element of the array in front names an object."""
    start, code = index + 1, index + 2
    return (
        _has_form_of_push_object(outline, index)
        and outline.kind(1) >> 8 == axdr.ARRAY
        and index < 2 + (outline.kind(1) & 0xFF) * len(named.PUSH_OBJECT)
        and outline.number(start) in PUSH_CLASSES
        and _is_code(outline, code)
        and outline.number(start + 2) in PUSH_ATTRIBUTES
        and _number(outline, start + 3) == 0
    )


def _has_form_of_push_object(outline: Outline, index: int) -> bool:
    size = len(named.PUSH_OBJECT)
    return index >= 0 and outline.kinds(index, index + size) == named.PUSH_OBJECT


def _is_code(outline: Outline, index: int) -> bool:
    """Tell an OBIS code from any other six bytes."""
    if outline.kind(index) != named.OBIS_KIND:
        return False
    content = outline.content(index)
    return len(content) == named.OBIS_BYTES and is_public(Obis(*content))


def _value_role(entry: Entry | None) -> str:
    if entry is None or entry.is_number:
        return "object.value"
    if entry.obis == CLOCK:
        return "object.clock"
    return "object.local" if entry.obis in (LOCAL_TIME, LOCAL_DATE) else "object.text"


def _depths(outline: Outline) -> Sequence[int]:
    """Return how deep in structures and arrays each element stands."""
    depths = []
    open_counts: list[int] = []
    for kind in outline.kinds():
        depths.append(LIST_DEPTH + 1 + len(open_counts))
        if open_counts:
            open_counts[-1] -= 1
        if kind >> 8 in axdr.CONTAINERS:
            open_counts.append(kind & 0xFF)
        while open_counts and not open_counts[-1]:
            open_counts.pop()
    return depths


def _explain_object(
    writer: Writer, outline: Outline, found: _Object, depth: int, listing: Listing | None
) -> None:
    """Write down the head of an object: its name, and the reading that it comes to."""
    value = ""
    if found.entry and listing:
        # One at a time: what is wrong with one reading must not hide the others.
        readings = Listing(listing.name, [found.entry]).read(writer.octets)
        if isinstance(readings, Readings) and found.obis in readings:
            reading = readings[found.obis]
            shown = getattr(reading.value, "isoformat", lambda _: str(reading.value))(" ")
            value = f"{shown} {reading.unit or ''}".rstrip()
    is_named = found.first < found.value
    writer.sheet.group(
        "object",
        Layer.LAYOUT,
        depth,
        writer.ranges(outline.starts[found.first], outline.starts[found.behind]),
        change=_CHANGES.get(_value_role(found.entry), Change.CHANGES),
        label=str(found.obis),
        value=value,
        notes=() if is_named else ("object.by_place",),
    )


def _explain_element(writer: Writer, outline: Outline, index: int, depth: int, role: str) -> None:
    """Write down one element: its tag, with the length of a string, then its bytes."""
    kind, start, end = outline.kind(index), outline.starts[index], outline.starts[index + 1]
    tag, count = kind >> 8, kind & 0xFF
    name = axdr.NAMES[tag]
    layer = Layer.STRUCTURE
    if tag in axdr.CONTAINERS:
        title = "axdr.array" if tag == axdr.ARRAY else "axdr.structure"
        writer.field(title, layer, depth, start, min(start + 2, end), Change.MODEL, str(count))
        return
    is_string = tag in axdr.STRINGS
    content = min(start + (2 if is_string else 1), end)
    shown = f"{name}, {count_of(count)}" if is_string else name
    title = "axdr.string" if is_string else "axdr.tag"
    writer.field(title, layer, depth, start, content, Change.MODEL, shown)
    if end - content == notification.DATE_TIME_BYTES and (
        role == "object.clock" or tag == axdr.DATE_TIME
    ):
        writer.clock(content, depth, Layer.LAYOUT)
        return
    writer.field(
        role or "object.unknown",
        Layer.LAYOUT,
        depth,
        content,
        end,
        _CHANGES.get(role, Change.CHANGES),
        _value(outline, index, role),
    )


_CHANGES = {
    "object.code": Change.MODEL,
    "object.scaler": Change.MODEL,
    "object.unit": Change.MODEL,
    "object.class": Change.MODEL,
    "object.attribute": Change.MODEL,
    "object.index": Change.MODEL,
    "object.text": Change.METER,
}


def _number(outline: Outline, index: int) -> int | float | None:
    """Return the value of a number; None if it breaks off."""
    size = axdr.NUMBERS[outline.kind(index) >> 8].size
    is_whole = outline.starts[index + 1] - outline.starts[index] > size
    return outline.number(index) if is_whole else None


def _value(outline: Outline, index: int, role: str) -> str:
    """Return what an element's bytes say."""
    tag = outline.kind(index) >> 8
    if tag in axdr.NUMBERS:
        number = _number(outline, index)
        if number is None:
            return ""
        if role == "object.scaler":
            return f"{number} → × {10.0**number:g}"
        if role == "object.unit":
            code = int(number)
            return f"{number} → {UNITS[code] or '–'}" if code in UNITS else str(number)
        return str(number)
    content = outline.content(index)
    if role == "object.code":
        return str(Obis(*content))
    if role == "object.text" and content.isascii():
        text = content.decode("ascii")
        return text if text.isprintable() else ""
    return ""
