"""Lists that name their objects by OBIS code.

    nested (KSMWest)   {obis, value} · {obis, value, {scaler, unit}}     one structure an object
    flat (Netz NÖ)     obis, value · obis, value, {scaler, unit}         all in one structure
    push list (L+G)    [{class, obis, attribute, index} …], value …      names first, then values

Nested and flat lists may mix. An octet string without OBIS code is the clock when it comes first
and has 12 bytes, and the meter number when it comes last.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from gateway.telegram import axdr, notification
from gateway.telegram.axdr import Outline
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.listing import Entry, Listing
from gateway.telegram.obis import CLOCK, EXPECTED_UNITS, METER_NUMBER, NAMED_TEXTS, UNITS, Obis

MAX_SCALER = 3  # from thousandths to thousands
OBIS_BYTES = 6
OBIS_KIND = axdr.OCTET_STRING << 8 | 6
OBIS_HEAD = bytes((axdr.OCTET_STRING, OBIS_BYTES))
NESTED = tuple(bytes((axdr.STRUCTURE, size)) + OBIS_HEAD for size in (2, 3))
CLOCK_HEAD = bytes((axdr.OCTET_STRING, notification.DATE_TIME_BYTES))
SCALER_UNIT = bytes((axdr.STRUCTURE, 2, axdr.INTEGER))  # 02 02 0F scaler 16 unit
SCALER_UNIT_BYTES = 6

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
    is_push_list = len(starts) > 2 and octets[starts[1]] == axdr.ARRAY
    entries = _pushed(outline, system_title[:3]) if is_push_list else _walked(outline)
    if isinstance(entries, Fault):
        return entries
    sent = [entry for entry in entries if entry.kind]  # null-data has kind 0
    if len(sent) < len(entries) or len({entry.obis for entry in sent}) < len(sent):
        names = [entry.obis for entry in entries]
        for place, entry in enumerate(entries):
            if entry.obis in names[:place]:
                return Fault(Layer.LAYOUT, f"{entry.obis} comes twice", entry.start)
    if not sent:
        return Fault(Layer.LAYOUT, "the push lists no objects", starts[0])
    return Listing("push list" if is_push_list else "named", sent)


def _walked(outline: Outline) -> list[Entry] | Fault:
    """Walk a nested or flat list."""
    octets, starts = outline
    first, last, end = starts[0] + 2, starts[-2], starts[-1]
    entries: list[Entry] = []
    position = first
    while position < end:
        # {obis, value} and {obis, value, {scaler, unit}}, or the same without the structure.
        size = octets[position + 1] if octets.startswith(NESTED, position) else 0
        value = position + (4 if size else 2) + OBIS_BYTES
        if value < end and (size or octets.startswith(OBIS_HEAD, position)):
            name = octets[value - OBIS_BYTES : value]
            behind = axdr.end_of(octets, value)
            has_unit = (
                size != 2
                and octets.startswith(SCALER_UNIT, behind)
                and octets[behind + 4] == axdr.ENUM
            )
            if size == 3 and not has_unit:
                reason = f"{Obis(*name)} is followed by no scaler and unit"
                return Fault(Layer.LAYOUT, reason, value)
        elif position == first and octets.startswith(CLOCK_HEAD, position):
            name, value, has_unit = bytes(CLOCK), position, False
            behind = axdr.end_of(octets, value)
        elif first < position == last and octets[position] in axdr.STRINGS:
            name, value, has_unit, behind = bytes(METER_NUMBER), position, False, end
        else:
            return Fault(Layer.LAYOUT, "an element has no OBIS code", position)
        tag = octets[value]
        if has_unit:
            scale = _scale(name, tag, octets[behind + 3], octets[behind + 5])
            if isinstance(scale, str):
                return Fault(Layer.LAYOUT, scale, behind if tag in axdr.NUMBERS else value)
            obis, scaler, unit = scale
            entries.append(Entry(obis, tag << 8, value, behind, scaler, unit))
            position = behind + SCALER_UNIT_BYTES
        else:
            kind = tag << 8 | (octets[value + 1] if tag in axdr.STRINGS else 0)
            entry = _bare(Obis(*name), kind, value, behind)
            if isinstance(entry, Fault):
                return entry
            entries.append(entry)
            position = behind
    return entries


@lru_cache(maxsize=1024)
def _scale(name: bytes, tag: int, scaler: int, code: int) -> tuple[Obis, int, str | None] | str:
    """Return name, scaler and unit of an object that brings all three; else what is wrong."""
    obis = Obis(*name)
    scaler -= 256 if scaler > 127 else 0
    unit = UNITS.get(code)
    expected = EXPECTED_UNITS.get(obis.channel_0, unit)
    if obis in NAMED_TEXTS:
        return f"{obis} is no text"
    if tag not in axdr.NUMBERS and tag != axdr.NULL:
        return f"{obis} is no number"
    if abs(scaler) > MAX_SCALER:
        return f"{obis} has the impossible scaler {scaler}"
    if code not in UNITS:
        return f"{obis} has the unknown unit {code}"
    if expected != unit:
        return f"{obis} is in {unit or 'no unit'}, not in {expected or 'no unit'}"
    return obis, scaler, unit


def _bare(obis: Obis, kind: int, start: int, end: int) -> Entry | Fault:
    """Return the entry of a text or clock, which has no unit; a fault says what else it is."""
    tag = kind >> 8
    is_string = tag in axdr.STRINGS or (tag == axdr.DATE_TIME and obis == CLOCK)
    if tag == axdr.NULL or (is_string and obis.channel_0 not in EXPECTED_UNITS):
        return Entry(obis, kind, start, end)
    if tag in axdr.NUMBERS and obis not in NAMED_TEXTS:
        return Fault(Layer.LAYOUT, f"{obis} comes without scaler and unit", start)
    what = "text" if obis in NAMED_TEXTS else "number"
    return Fault(Layer.LAYOUT, f"{obis} is no {what}", start)


def _pushed(outline: Outline, maker: bytes) -> list[Entry] | Fault:
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
    entries = []
    for place in range(1, count):
        named, index = 2 + place * len(PUSH_OBJECT), behind + place - 1
        obis = Obis(*outline.content(named + 2))
        attribute = outline.number(named + 3)
        if outline.number(named + 1) == PUSH_SETUP_CLASS:
            continue
        if attribute != VALUE_ATTRIBUTE:
            reason = f"attribute {attribute} of {obis} is no value"
            return Fault(Layer.LAYOUT, reason, starts[index])
        entry = _pushed_entry(outline, obis, index, maker)
        if isinstance(entry, Fault):
            return entry
        entries.append(entry)
    return entries


def _pushed_entry(outline: Outline, obis: Obis, index: int, maker: bytes) -> Entry | Fault:
    """Return the entry of a value that comes without scaler and unit."""
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
    return Entry(obis, kind, start, end, scalers.get(unit, 0), unit)
