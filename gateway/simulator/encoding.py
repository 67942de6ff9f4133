"""A-XDR, the way DLMS meters write values: tag, length, big-endian content."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from types import MappingProxyType

STATUS_SUMMER_TIME = 0x80
DEVIATION_UNSPECIFIED = -0x8000


class Unit(IntEnum):
    """DLMS unit codes that the meters use (Blue Book, enum `unit`)."""

    W = 0x1B
    VAR = 0x1D
    WH = 0x1E
    VARH = 0x20
    A = 0x21
    V = 0x23
    NONE = 0xFF


SYMBOLS: Mapping[Unit, str | None] = MappingProxyType(
    {
        Unit.W: "W",
        Unit.VAR: "var",
        Unit.WH: "Wh",
        Unit.VARH: "varh",
        Unit.A: "A",
        Unit.V: "V",
        Unit.NONE: None,
    }
)


def length(count: int) -> bytes:
    """Return a BER length: one byte below 0x80, else 0x80 + size and the big-endian size bytes."""
    if count < 0x80:
        return bytes([count])
    size = (count.bit_length() + 7) // 8
    return bytes([0x80 | size]) + count.to_bytes(size, "big")


def octet_string(content: bytes) -> bytes:
    """Return tag 09, the length and the content."""
    return b"\x09" + length(len(content)) + content


def array(*items: bytes) -> bytes:
    """Return tag 01, the number of items and the encoded items."""
    return b"\x01" + length(len(items)) + b"".join(items)


def structure(*items: bytes) -> bytes:
    """Return tag 02, the number of items and the encoded items."""
    return b"\x02" + length(len(items)) + b"".join(items)


def _integer(tag: int, size: int, *, signed: bool) -> Callable[[int], bytes]:
    def encode(value: int) -> bytes:
        return bytes([tag]) + value.to_bytes(size, "big", signed=signed)

    return encode


# Each returns its tag and its value, big-endian; OverflowError if the value does not fit.
i8 = _integer(0x0F, 1, signed=True)
i16 = _integer(0x10, 2, signed=True)
i64 = _integer(0x14, 8, signed=True)
u16 = _integer(0x12, 2, signed=False)
u32 = _integer(0x06, 4, signed=False)
u64 = _integer(0x15, 8, signed=False)


def scaler_unit(scaler: int, unit: Unit) -> bytes:
    """Return the structure of scaler (i8, power of ten) and unit (enum)."""
    return structure(i8(scaler), b"\x16" + bytes([unit]))


def obis(code: str) -> bytes:
    """Return an OBIS code such as "1-0:1.7.0.255" as an octet string of six bytes."""
    return octet_string(bytes(int(group) for group in re.split("[-:.]", code)))


def date_time(local: datetime, *, summer: bool) -> bytes:
    """Return the 12 bytes of a COSEM date-time, without tag; hundredths are 0.

    The deviation is UTC minus local time in minutes: -60 in CET, -120 in CEST.
    """
    offset = local.utcoffset()
    if offset is None:
        raise ValueError("a COSEM date-time needs an aware datetime")
    return cosem_clock(
        local,
        deviation_min=-offset // timedelta(minutes=1),
        status=STATUS_SUMMER_TIME if summer else 0,
    )


def cosem_clock(local: datetime, *, deviation_min: int, status: int, hundredths: int = 0) -> bytes:
    """Return the 12 bytes of a COSEM date-time that shows the wall clock of `local`."""
    return b"".join(
        (
            cosem_date(local),
            cosem_time(local, hundredths),
            deviation_min.to_bytes(2, "big", signed=True),
            bytes([status]),
        )
    )


def cosem_date(local: datetime) -> bytes:
    """Return the five bytes of a COSEM date: year, month, day, day of week (Monday is 1)."""
    return local.year.to_bytes(2, "big") + bytes([local.month, local.day, local.isoweekday()])


def cosem_time(local: datetime, hundredths: int = 0) -> bytes:
    """Return the four bytes of a COSEM time; hundredths 0xFF are unspecified."""
    return bytes([local.hour, local.minute, local.second, hundredths])
