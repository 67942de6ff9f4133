"""One entry of a meter's list: what it says, how that is written, what a reader gets of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from gateway.simulator import clocks
from gateway.simulator.encoding import (
    SYMBOLS,
    Unit,
    cosem_date,
    cosem_time,
    obis,
    octet_string,
    scaler_unit,
    structure,
)
from gateway.simulator.house import HouseState
from gateway.simulator.quantities import QUANTITIES

Value = int | float | str | datetime
Encoder = Callable[[int], bytes]

CLOCK_CODE = "0-0:1.0.0.255"
METER_NUMBER_CODE = "0-0:96.1.0.255"
DEVICE_NAME_CODE = "0-0:42.0.0.255"
TIME_CODE = "1-0:0.9.1.255"
DATE_CODE = "1-0:0.9.2.255"

# COSEM interface classes (Blue Book), which a push list names.
CLASS_DATA, CLASS_REGISTER, CLASS_CLOCK, CLASS_PUSH_SETUP = 1, 3, 8, 40


@dataclass(frozen=True, slots=True)
class Moment:
    """All that a meter can say at one moment."""

    state: HouseState
    local: datetime  # the wall clock, aware, in whole seconds
    deviation: clocks.Deviation  # what the list's clock says of it
    meter_number: str
    device_name: str


class Shape(Enum):
    """What stands around a value."""

    BARE = "value"
    PAIR = "obis, value"
    TRIPLE = "obis, value, {scaler, unit}"
    NESTED_PAIR = "{obis, value}"
    NESTED_TRIPLE = "{obis, value, {scaler, unit}}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a list; without a `code` it is something that gives no reading."""

    shape: Shape
    code: str | None
    encode: Callable[[Moment], bytes]
    understood: Callable[[Moment], Value]
    unit: Unit = Unit.NONE
    scaler: int = 0
    cosem_class: int = CLASS_REGISTER

    def items(self, moment: Moment) -> tuple[bytes, ...]:
        """Return the elements that the entry puts into the list."""
        value = self.encode(moment)
        if self.code is None or self.shape is Shape.BARE:
            return (value,)
        code, steps = obis(self.code), scaler_unit(self.scaler, self.unit)
        match self.shape:
            case Shape.PAIR:
                return code, value
            case Shape.TRIPLE:
                return code, value, steps
            case Shape.NESTED_PAIR:
                return (structure(code, value),)
            case Shape.NESTED_TRIPLE:
                return (structure(code, value, steps),)

    @property
    def symbol(self) -> str | None:
        """Return the unit as a reader of the telegram knows it."""
        return SYMBOLS[self.unit]


def numbers(shape: Shape, encoder: Encoder, scaler: int, *codes: str) -> tuple[Entry, ...]:
    """Return measured entries of one type; "1-0:1.7.0" stands for 1-0:1.7.0.255."""
    return tuple(_number(shape, encoder, scaler, code) for code in codes)


def _number(shape: Shape, encoder: Encoder, scaler: int, code: str) -> Entry:
    quantity = QUANTITIES[code.partition(":")[2]]
    steps = int(10**-scaler)  # of the raw integer, to one unit

    def raw(moment: Moment) -> int:
        return round(quantity.read(moment.state) * steps)

    def understood(moment: Moment) -> Value:
        return raw(moment) / steps if scaler else raw(moment)

    return Entry(
        shape,
        f"{code}.255",
        encode=lambda moment: encoder(raw(moment)),
        understood=understood,
        unit=quantity.unit,
        scaler=scaler,
    )


def clock(shape: Shape) -> Entry:
    """Return the meter's clock: 12 bytes."""
    return Entry(
        shape,
        CLOCK_CODE,
        encode=lambda m: octet_string(clocks.encode(m.local, m.deviation)),
        understood=lambda m: clocks.understood(m.local, m.deviation),
        cosem_class=CLASS_CLOCK,
    )


def meter_number(shape: Shape) -> Entry:
    """Return the text on the meter's plate."""
    return Entry(
        shape,
        METER_NUMBER_CODE,
        encode=lambda m: octet_string(m.meter_number.encode("ascii")),
        understood=lambda m: m.meter_number,
        cosem_class=CLASS_DATA,
    )


def device_name(shape: Shape) -> Entry:
    """Return the COSEM logical device name."""
    return Entry(
        shape,
        DEVICE_NAME_CODE,
        encode=lambda m: octet_string(m.device_name.encode("ascii")),
        understood=lambda m: m.device_name,
        cosem_class=CLASS_DATA,
    )


def time_of_day() -> Entry:
    """Return the local time: 4 bytes; a reader gets "19:01:14"."""
    return Entry(
        Shape.BARE,
        TIME_CODE,
        encode=lambda m: octet_string(cosem_time(m.local)),
        understood=lambda m: f"{m.local:%H:%M:%S}",
        cosem_class=CLASS_DATA,
    )


def date() -> Entry:
    """Return the local date: 5 bytes; a reader gets "2021-03-25"."""
    return Entry(
        Shape.BARE,
        DATE_CODE,
        encode=lambda m: octet_string(cosem_date(m.local)),
        understood=lambda m: m.local.date().isoformat(),
        cosem_class=CLASS_DATA,
    )


def constants(*encoded: bytes) -> tuple[Entry, ...]:
    """Return elements that never change and give no reading."""
    return tuple(_constant(octets) for octets in encoded)


def _constant(octets: bytes) -> Entry:
    return Entry(Shape.BARE, None, encode=lambda _: octets, understood=lambda _: "")
