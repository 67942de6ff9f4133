"""How meters list their objects: OBIS readings out of the structure of a push.

One walker reads the layouts that name their objects:

    nested (KSMWest)   {obis, value} · {obis, value, {scaler, unit}}     one structure an object
    flat (Netz NÖ)     obis, value · obis, value, {scaler, unit}         all in one structure

An octet string without OBIS code is the clock when it comes first and has 12 bytes, and the meter
number when it comes last. Whatever fits none of these is a fault, never skipped.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.telegram import axdr, notification
from gateway.telegram.axdr import Element
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.obis import (
    CLOCK,
    DEVICE_NAME,
    EXPECTED_UNITS,
    METER_NUMBER,
    UNITS,
    Obis,
)

OBIS_BYTES = 6
MAX_SCALER = 3  # from thousandths to thousands


@dataclass(frozen=True, slots=True)
class Reading:
    """One OBIS value as the meter sent it, its scaler applied: an int stays an int.

    `unit` is a DLMS unit such as "Wh", None for texts, clocks and bare numbers. `status` is the
    status byte of a clock (bit 7: daylight saving), None for all else.
    """

    value: int | float | str | datetime
    unit: str | None = None
    status: int | None = None


def readings(body: Element) -> dict[Obis, Reading] | Fault:
    """Return the readings of a push body, in the meter's order."""
    found: dict[Obis, Reading] = {}
    seen: set[Obis] = set()
    items = body.children
    position = 0
    while position < len(items):
        item = items[position]
        if item.tag in axdr.CONTAINERS:
            entry, size = item.children, 1
        else:
            entry, size = _flat_entry(items, position)
        obis = _obis_of(entry, is_first=position == 0, is_last=position + size == len(items))
        if obis is None:
            return Fault(Layer.LAYOUT, "an element has no OBIS code", item.start)
        if obis in seen:
            return Fault(Layer.LAYOUT, f"{obis} comes twice", item.start)
        seen.add(obis)
        reading = _reading(obis, entry if len(entry) == 1 else entry[1:])
        if isinstance(reading, Fault):
            return reading
        if reading is not None:
            found[obis] = reading
        position += size
    return found or Fault(Layer.LAYOUT, "the push lists no objects", body.start)


def _flat_entry(items: tuple[Element, ...], position: int) -> tuple[tuple[Element, ...], int]:
    """Return the elements of the object that starts at `position`, and how many they are."""
    if not _is_obis(items[position]):
        return items[position : position + 1], 1
    has_unit = position + 2 < len(items) and _is_scaler_unit(items[position + 2])
    size = 3 if has_unit else 2
    return items[position : position + size], size


def _obis_of(entry: tuple[Element, ...], *, is_first: bool, is_last: bool) -> Obis | None:
    """Return the object's name, by code or by its place; None if it has none."""
    if len(entry) > 1:
        return Obis(*_octets(entry[0])) if _is_obis(entry[0]) else None
    if not entry or entry[0].tag not in axdr.STRINGS:
        return None
    if is_first and len(_octets(entry[0])) == notification.DATE_TIME_BYTES:
        return CLOCK
    return METER_NUMBER if is_last and not is_first else None


def _reading(obis: Obis, value: tuple[Element, ...]) -> Reading | Fault | None:
    """Return the reading of (value,) or (value, {scaler, unit}); None if it is sent as null."""
    raw = value[0]
    if len(value) > 2 or (len(value) == 2 and not _is_scaler_unit(value[1])):
        return Fault(Layer.LAYOUT, f"{obis} is followed by no scaler and unit", value[1].start)
    if raw.tag == axdr.NULL:
        return None
    is_text = obis in (CLOCK, METER_NUMBER, DEVICE_NAME)
    if raw.tag in axdr.STRINGS and len(value) == 1 and obis not in EXPECTED_UNITS:
        return _clock(raw) if obis == CLOCK else _text(obis, raw)
    if raw.number is None or is_text:
        return Fault(Layer.LAYOUT, f"{obis} is no {'text' if is_text else 'number'}", raw.start)
    if len(value) == 1:
        return Fault(Layer.LAYOUT, f"{obis} comes without scaler and unit", raw.start)
    return _number(obis, raw.number, value[1])


def _number(obis: Obis, raw: int, scaler_unit: Element) -> Reading | Fault:
    scaler, code = (element.number or 0 for element in scaler_unit.children)
    if abs(scaler) > MAX_SCALER:
        return Fault(Layer.LAYOUT, f"{obis} has the impossible scaler {scaler}", scaler_unit.start)
    if code not in UNITS:
        return Fault(Layer.LAYOUT, f"{obis} has the unknown unit {code}", scaler_unit.start)
    unit = UNITS[code]
    if (expected := EXPECTED_UNITS.get(obis, unit)) != unit:
        reason = f"{obis} is in {unit or 'no unit'}, not in {expected or 'no unit'}"
        return Fault(Layer.LAYOUT, reason, scaler_unit.start)
    if raw < 0 and obis in EXPECTED_UNITS and unit is not None:
        return Fault(Layer.LAYOUT, f"{obis} is negative, {raw}", scaler_unit.start)
    # Division by a power of ten gives the float nearest to the decimal number that was sent.
    return Reading(raw / 10**-scaler if scaler < 0 else raw * 10**scaler, unit)


def _clock(raw: Element) -> Reading | Fault | None:
    octets = _octets(raw)
    if len(octets) != notification.DATE_TIME_BYTES:
        return Fault(Layer.LAYOUT, f"the clock has {len(octets)} bytes, not 12", raw.start)
    time = notification.cosem_time(octets, 0)
    if isinstance(time, Fault):
        return time.at(raw.end - len(octets) + time.offset)
    return None if time.moment is None else Reading(time.moment, status=time.status)


def _text(obis: Obis, raw: Element) -> Reading | Fault | None:
    text = _octets(raw).decode("latin-1")
    if not text:
        return None
    if not (text.isascii() and text.isprintable()):
        return Fault(Layer.LAYOUT, f"{obis} is no readable text", raw.start)
    return Reading(text)


def _octets(element: Element) -> bytes:
    return element.value if isinstance(element.value, bytes) else b""


def _is_obis(element: Element) -> bool:
    return element.tag == axdr.OCTET_STRING and len(_octets(element)) == OBIS_BYTES


def _is_scaler_unit(element: Element) -> bool:
    return element.tag == axdr.STRUCTURE and [child.tag for child in element.children] == [
        axdr.INTEGER,
        axdr.ENUM,
    ]
