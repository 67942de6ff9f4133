"""Lists that name their objects by OBIS code.

    nested (KSMWest)   {obis, value} · {obis, value, {scaler, unit}}     one structure an object
    flat (Netz NÖ)     obis, value · obis, value, {scaler, unit}         all in one structure
    push list (L+G)    [{class, obis, attribute, index} …], value …      names first, then values

Nested and flat lists may mix. An octet string without OBIS code is the clock when it comes first
and has 12 bytes, and the meter number when it comes last.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gateway.telegram import axdr, notification
from gateway.telegram.axdr import Outline
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.listing import NUMBER_READERS, Listing, Row
from gateway.telegram.obis import CLOCK, EXPECTED_UNITS, METER_NUMBER, NAMED_TEXTS, UNITS, Obis

MAX_SCALER = 3  # from thousandths to thousands
OBIS_BYTES = 6
OBIS_KIND = axdr.OCTET_STRING << 8 | 6
OBIS_HEAD = bytes((axdr.OCTET_STRING, OBIS_BYTES))
PAIR, TRIPLE = (bytes((axdr.STRUCTURE, size)) + OBIS_HEAD for size in (2, 3))
CLOCK_HEAD = bytes((axdr.OCTET_STRING, notification.DATE_TIME_BYTES))
SCALER_UNIT = bytes((axdr.STRUCTURE, 2, axdr.INTEGER))  # 02 02 0F scaler 16 unit
MEASURED = frozenset((axdr.NULL, *axdr.NUMBERS))  # tags of what comes with scaler and unit
NO_CODE = "an element has no OBIS code"
# An object, or a value without code:
#     [[02 02 | 02 03] 09 06 obis(6)] value [02 02 0F scaler 16 unit]
# "This or nothing" is written with | as that is faster than ?.
_OBJECT = re.compile(
    rb"(?s)((?:\x02[\x02\x03]|)\x09\x06.{6}|)(%b)(\x02\x02\x0f.\x16.|)" % axdr.ELEMENT
)
Scale = tuple[Obis, int, str | None]

PUSH_OBJECT = [axdr.STRUCTURE << 8 | 4, 0x1200, OBIS_KIND, axdr.INTEGER << 8, 0x1200]
PUSH_SETUP_CLASS = 40
VALUE_ATTRIBUTE = 2  # of the classes Data, Register and Clock: their value or time
# Push lists leave scalers out. Landis+Gyr counts whole volts, Iskraemeco tenths (real telegrams).
PUSH_SCALERS: Mapping[bytes, Mapping[str | None, int]] = MappingProxyType(
    {b"LGZ": {"V": 0, "A": -2, None: -3}, b"ISK": {"V": -1, "A": -2, None: -3}}
)


def listing(outline: Outline, system_title: bytes) -> Listing | Fault:
    """Return what stands where in a list that names its objects."""
    octets, starts = outline
    # An array in front names all objects before the values come.
    if len(starts) > 2 and octets[starts[1]] == axdr.ARRAY:
        rows = _pushed(outline, system_title[:3])
        return rows if isinstance(rows, Fault) else _listing("push list", rows, None, starts[0])
    found = objects(octets, starts[0])
    return found if isinstance(found, Fault) else found[0]


def objects(octets: bytes, start: int) -> tuple[Listing, Sequence[int | float]] | Fault:
    """Return what stands where in a nested or flat list that fills `octets[start:]`.

    With it come its numbers as sent, which are at hand. It takes no outline. A listing is returned
    only of what has one; a fault's reason holds only for what has one, else that of `axdr.outline`
    comes first.
    """
    rows: list[Row] = []
    others: list[Row] = []  # those that are no numbers
    raw: list[int | float] = []
    count, position = 0, start + 2
    names, number, found = _NAMES.get, NUMBER_READERS.get, rows.append
    for label, value, measure in _OBJECT.findall(octets, position):
        begin = position + len(label)
        end = begin + len(value)
        position = end + len(measure)
        if (name := names(label)) and (scale := name[2].get(measure)):
            elements, obis, _ = name
            scaler, unit = scale
            if not measure:
                if value[0] in axdr.STRINGS:
                    row = (obis, value[0] << 8 | value[1], begin, end, 0, None)
                    found(row)
                    others.append(row)
                    count += elements
                    continue
            elif reader := number(value[0]):
                kind, unpack = reader
                found((obis, kind, begin, end, scaler, unit))
                raw += unpack(value)
                count += elements
                continue
        is_end = begin == start + 2, end == len(octets)
        any_row = _object(label, value, measure, begin, is_end)
        if isinstance(any_row, Fault):
            return any_row
        found(any_row)
        if reader := number(any_row[1] >> 8):
            raw += reader[1](value)
        else:
            others.append(any_row)
        count += _elements(label, measure)
    # `findall` leaves out what is no object; then the lengths do not add up to the last byte.
    if position != len(octets) or count != octets[start + 1] or count > axdr.MAX_COUNT:
        return Fault(Layer.LAYOUT, "the list is not as long as its head says", start)
    listing = _listing("named", rows, others, start)
    return listing if isinstance(listing, Fault) else (listing, raw)


def _listing(
    name: str, rows: Sequence[Row], others: Sequence[Row] | None, start: int
) -> Listing | Fault:
    """Return the listing of all objects but those that are null; none may come twice.

    `others` are the rows that are no numbers, where that is known.
    """
    if len({row[0] for row in rows}) < len(rows):
        names = [row[0] for row in rows]
        twice = next(row for place, row in enumerate(rows) if row[0] in names[:place])
        return Fault(Layer.LAYOUT, f"{twice[0]} comes twice", twice[2])
    if others is None or not all(row[1] for row in others):  # null-data has kind 0
        rows, others = [row for row in rows if row[1]], None
    if not rows:
        return Fault(Layer.LAYOUT, "the push lists no objects", start)
    return Listing(name, rows, others=others)


def _object(
    label: bytes, value: bytes, measure: bytes, begin: int, is_end: tuple[bool, bool]
) -> Row | Fault:
    """Return the row of any object, or of a clock or number without code; `value` is at `begin`."""
    head, name = label[:-OBIS_BYTES], label[-OBIS_BYTES:]
    end, tag = begin + len(value), value[0]
    if measure and head in (OBIS_HEAD, TRIPLE):
        scale = _scale(name, tag, measure)
        if isinstance(scale, str):
            return Fault(Layer.LAYOUT, scale, end if tag in axdr.NUMBERS else begin)
        obis, scaler, unit = scale
        return obis, tag << 8, begin, end, scaler, unit
    if head == TRIPLE:
        reason = f"{Obis(*name)} is followed by no scaler and unit"
        return Fault(Layer.LAYOUT, reason, begin)
    is_first, is_last = is_end
    if head:
        obis = Obis(*name)
    elif is_first and value.startswith(CLOCK_HEAD):
        obis = CLOCK
    elif is_last and not is_first and tag in axdr.STRINGS:
        obis = METER_NUMBER
    else:
        return Fault(Layer.LAYOUT, NO_CODE, begin)
    row = _bare(obis, tag << 8 | (value[1] if tag in axdr.STRINGS else 0), begin, end)
    if measure and not isinstance(row, Fault):
        return Fault(Layer.LAYOUT, NO_CODE, end)
    return row


def _elements(label: bytes, measure: bytes) -> int:
    """Return how many elements an object is: nested one, flat two or three."""
    return 1 if label[:-OBIS_BYTES] != OBIS_HEAD else 3 if measure else 2


def _scale(name: bytes, tag: int, measure: bytes) -> Scale | str:
    """Return name, scaler and unit of an object that brings all three; else what is wrong."""
    obis = Obis(*name)
    scaler, code = measure[3] - (256 if measure[3] > 127 else 0), measure[5]
    unit = UNITS.get(code)
    expected = EXPECTED_UNITS.get(obis.channel_0, unit)
    if obis in NAMED_TEXTS:
        return f"{obis} is no text"
    if tag not in MEASURED:
        return f"{obis} is no number"
    if abs(scaler) > MAX_SCALER:
        return f"{obis} has the impossible scaler {scaler}"
    if code not in UNITS:
        return f"{obis} has the unknown unit {code}"
    if expected != unit:
        return f"{obis} is in {unit or 'no unit'}, not in {expected or 'no unit'}"
    return obis, scaler, unit


# What may stand behind a value, by its unit: how it is sent, and scaler and unit; behind a text
# nothing.
Scales = Mapping[bytes, tuple[int, str | None]]
_TEXT: Scales = {b"": (0, None)}
_SCALES: Mapping[str | None, Scales] = {
    unit: {
        bytes((*SCALER_UNIT, scaler & 0xFF, axdr.ENUM, code)): (scaler, unit)
        for code in UNITS
        if UNITS[code] == unit
        for scaler in range(-MAX_SCALER, MAX_SCALER + 1)
    }
    for unit in UNITS.values()
}
# The objects of the meters' data model by their labels, in all forms in which they may come: number
# of elements, name, and what may follow. `_object` says the same of them, slowly, and also reads
# null-data.
_NAMES: Mapping[bytes, tuple[int, Obis, Scales]] = {
    head + bytes(obis): (1 if head == TRIPLE else 3, obis, _SCALES[unit])
    for obis, unit in EXPECTED_UNITS.items()
    for head in (OBIS_HEAD, TRIPLE)
} | {
    head + bytes(obis): (1 if head == PAIR else 2, obis, _TEXT)
    for obis in NAMED_TEXTS
    for head in (OBIS_HEAD, PAIR)
}


def _bare(obis: Obis, kind: int, start: int, end: int) -> Row | Fault:
    """Return the row of a text or clock, which has no unit; a fault says what else it is."""
    tag = kind >> 8
    is_string = tag in axdr.STRINGS or (tag == axdr.DATE_TIME and obis == CLOCK)
    if tag == axdr.NULL or (is_string and obis.channel_0 not in EXPECTED_UNITS):
        return obis, kind, start, end, 0, None
    if tag in axdr.NUMBERS and obis not in NAMED_TEXTS:
        return Fault(Layer.LAYOUT, f"{obis} comes without scaler and unit", start)
    what = "text" if obis in NAMED_TEXTS else "number"
    return Fault(Layer.LAYOUT, f"{obis} is no {what}", start)


def _pushed(outline: Outline, maker: bytes) -> list[Row] | Fault:
    """Read a list that names its objects first (Blue Book, push setup, push_object_list)."""
    kinds, starts = outline.kinds(), outline.starts
    count = kinds[1] & 0xFF
    behind = 2 + count * len(PUSH_OBJECT)
    if kinds[2:behind] != PUSH_OBJECT * count:
        return Fault(Layer.LAYOUT, "the list of pushed objects is damaged", starts[1])
    # The list is the first of the objects that it names, and as such its own value.
    if kinds[0] & 0xFF != count or len(kinds) != behind + count - 1:
        reason = f"the push names {count} objects and brings {kinds[0] & 0xFF} values"
        return Fault(Layer.LAYOUT, reason, starts[0])
    rows: list[Row] = []
    for place in range(1, count):
        named, index = 2 + place * len(PUSH_OBJECT), behind + place - 1
        obis = Obis(*outline.content(named + 2))
        attribute = outline.number(named + 3)
        if outline.number(named + 1) == PUSH_SETUP_CLASS:
            continue
        if attribute != VALUE_ATTRIBUTE:
            reason = f"attribute {attribute} of {obis} is no value"
            return Fault(Layer.LAYOUT, reason, starts[index])
        row = _pushed_row(outline, obis, index, maker)
        if isinstance(row, Fault):
            return row
        rows.append(row)
    return rows


def _pushed_row(outline: Outline, obis: Obis, index: int, maker: bytes) -> Row | Fault:
    """Return the row of a value that comes without scaler and unit."""
    kind, start, end = outline.kind(index), outline.starts[index], outline.starts[index + 1]
    if kind >> 8 not in axdr.NUMBERS or obis in NAMED_TEXTS:
        return _bare(obis, kind, start, end)
    if obis.channel_0 not in EXPECTED_UNITS:
        return Fault(Layer.LAYOUT, f"{obis} comes without unit, and has none that is known", start)
    unit = EXPECTED_UNITS[obis.channel_0]
    scalers = PUSH_SCALERS.get(maker)
    if scalers is None:
        reason = f"{obis} comes without scaler, and this maker's are not known: name a layout"
        return Fault(Layer.LAYOUT, reason, start)
    return obis, kind, start, end, scalers.get(unit, 0), unit
