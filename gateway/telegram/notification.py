"""DataNotification, the COSEM message inside a push (Green Book, 9.3.10), and COSEM date-time.

0F  long-invoke-id-and-priority(4)  date-time (0C + 12 bytes | 09 0C + 12 bytes | 00)  body
"""

import struct
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from gateway.telegram.fault import Fault, Layer

DATA_NOTIFICATION = 0x0F
DATE_TIME_BYTES = 12
HEADER_BYTES = 5
DEVIATION_UNSPECIFIED = -0x8000
MAX_DEVIATION_MIN = 840  # no place on earth is further from UTC than 14 hours

_DATE_TIME = struct.Struct(">HBBxBBBBhB")
_ZONES = {minutes: timezone(-timedelta(minutes=minutes)) for minutes in range(-840, 841, 15)}


class CosemTime(NamedTuple):
    """A meter's date and time with its status byte (bit 7: daylight saving is active).

    `moment` is aware when the meter sends its deviation, naive (local time) when it leaves that
    unspecified, and None when the date or time itself is unspecified.
    """

    moment: datetime | None
    status: int


class Header(NamedTuple):
    """What stands in front of a notification's body.

    `time_start` is where the 12 bytes of its date-time stand, None if it has none.
    """

    time: CosemTime | None
    time_start: int | None
    body_start: int


def header(plaintext: bytes) -> Header | Fault:
    """Read the header of a DataNotification.

    What stands at fixed places is checked first: a wrong key makes noise of them, and that is
    reported as `Layer.DECRYPTION`.
    """
    if not plaintext or plaintext[0] != DATA_NOTIFICATION:
        return _noise("does not start with 0x0f (DataNotification)", 0)
    if plaintext.startswith(b"\x0c", HEADER_BYTES):
        time_start = HEADER_BYTES + 1
        body_start = time_start + DATE_TIME_BYTES
    elif plaintext.startswith(b"\x09\x0c", HEADER_BYTES):
        time_start = HEADER_BYTES + 2
        body_start = time_start + DATE_TIME_BYTES
    elif plaintext.startswith(b"\x00", HEADER_BYTES):
        time_start, body_start = 0, HEADER_BYTES + 1
    else:
        return _noise("carries no date-time in its header", min(HEADER_BYTES, len(plaintext)))
    if not plaintext.startswith((b"\x02", b"\x01"), body_start):
        return _noise("carries neither an array nor a structure", min(body_start, len(plaintext)))
    if not time_start:
        return Header(None, None, body_start)
    time = cosem_time(plaintext, time_start)
    return time if isinstance(time, Fault) else Header(time, time_start, body_start)


def cosem_time(octets: bytes, start: int) -> CosemTime | Fault:
    """Read the 12 bytes of a COSEM date-time (Blue Book, 4.1.6.1).

    year(2) month day weekday hour minute second hundredths deviation(2) status; the deviation is
    UTC − local in minutes, so UTC = local + deviation.
    """
    year, month, day, hour, minute, second, hundredths, deviation_min, status = (
        _DATE_TIME.unpack_from(octets, start)
    )
    zone = _ZONES.get(deviation_min)
    if zone is not None and 1 < year < 9999:  # UTC cannot name all moments of the years 1 and 9999
        try:
            microsecond = 0 if hundredths == 0xFF else hundredths * 10_000
            moment = datetime(year, month, day, hour, minute, second, microsecond, zone)
            return CosemTime(moment, status)
        except ValueError:
            pass  # not specified, or wrong
    return _odd_time(octets, start)


def _odd_time(octets: bytes, start: int) -> CosemTime | Fault:
    """Read a date-time of which not all is specified, or say what is wrong with it."""
    year, month, day, hour, minute, second, hundredths, deviation_min, status = (
        _DATE_TIME.unpack_from(octets, start)
    )
    # Not specified, by the book (FF); never set, as a new meter may show it (00).
    if year == 0xFFFF or 0xFF in (month, day, hour, minute) or not (year or month or day):
        return CosemTime(None, status)
    if deviation_min == DEVIATION_UNSPECIFIED:
        zone = None
    elif abs(deviation_min) > MAX_DEVIATION_MIN:
        reason = f"a clock cannot deviate from UTC by {deviation_min} minutes"
        return Fault(Layer.STRUCTURE, reason, start + 9)
    else:
        zone = _ZONES.get(deviation_min) or timezone(-timedelta(minutes=deviation_min))
    microsecond = 0 if hundredths == 0xFF else hundredths * 10_000
    try:
        if not 1 < year < 9999:
            raise ValueError
        second = 0 if second == 0xFF else second
        moment = datetime(year, month, day, hour, minute, second, microsecond, zone)
    except ValueError:
        return Fault(Layer.STRUCTURE, "a clock shows a date or time that does not exist", start)
    return CosemTime(moment, status)


def _noise(what: str, offset: int) -> Fault:
    return Fault(Layer.DECRYPTION, f"the plaintext {what}: wrong key, or damage", offset)
