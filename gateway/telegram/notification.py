"""DataNotification, the COSEM message inside a push (Green Book, 9.3.10), and COSEM date-time.

0F  long-invoke-id-and-priority(4)  date-time (0C + 12 bytes | 09 0C + 12 bytes | 00)  body
"""

from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from gateway.telegram import axdr
from gateway.telegram.fault import Fault, Layer

DATA_NOTIFICATION = 0x0F
DATE_TIME_BYTES = 12
HEADER_BYTES = 5
DEVIATION_UNSPECIFIED = -0x8000
MAX_DEVIATION_MIN = 840  # no place on earth is further from UTC than 14 hours


class CosemTime(NamedTuple):
    """A meter's date and time with its status byte (bit 7: daylight saving is active).

    `moment` is aware when the meter sends its deviation, naive (local time) when it leaves that
    unspecified, and None when the date or time itself is unspecified.
    """

    moment: datetime | None
    status: int


class Notification(NamedTuple):
    """A DataNotification: when it was made, if it says so, and what it carries."""

    time: CosemTime | None
    body: axdr.Element


def parse(plaintext: bytes) -> Notification | Fault:
    """Read a DataNotification that ends where the plaintext ends.

    What stands at fixed places is checked first: a wrong key makes noise of them, and that is
    reported as `Layer.DECRYPTION`.
    """
    if not plaintext or plaintext[0] != DATA_NOTIFICATION:
        return _noise("does not start with 0x0f (DataNotification)", 0)
    time_start = _time_start(plaintext)
    if time_start is None:
        where = min(HEADER_BYTES, len(plaintext))
        return _noise("carries no date-time in its header", where)
    body_start = time_start + DATE_TIME_BYTES if time_start else HEADER_BYTES + 1
    if plaintext[body_start : body_start + 1] not in (b"\x01", b"\x02"):
        return _noise("carries neither an array nor a structure", min(body_start, len(plaintext)))
    time = cosem_time(plaintext, time_start) if time_start else None
    if isinstance(time, Fault):
        return time
    body = axdr.parse(plaintext, body_start)
    return body if isinstance(body, Fault) else Notification(time, body)


def cosem_time(octets: bytes, start: int) -> CosemTime | Fault:
    """Read the 12 bytes of a COSEM date-time (Blue Book, 4.1.6.1).

    year(2) month day weekday hour minute second hundredths deviation(2) status; the deviation is
    UTC − local in minutes, so UTC = local + deviation.
    """
    year = int.from_bytes(octets[start : start + 2], "big")
    month, day, _weekday, hour, minute, second, hundredths = octets[start + 2 : start + 9]
    deviation_min = int.from_bytes(octets[start + 9 : start + 11], "big", signed=True)
    status = octets[start + 11]
    if year == 0xFFFF or 0xFF in (month, day, hour, minute):
        return CosemTime(None, status)
    if deviation_min != DEVIATION_UNSPECIFIED and abs(deviation_min) > MAX_DEVIATION_MIN:
        reason = f"a clock cannot deviate from UTC by {deviation_min} minutes"
        return Fault(Layer.STRUCTURE, reason, start + 9)
    microsecond = 0 if hundredths == 0xFF else hundredths * 10_000
    try:
        local = datetime(
            year, month, day, hour, minute, 0 if second == 0xFF else second, microsecond
        )
        if deviation_min == DEVIATION_UNSPECIFIED:
            return CosemTime(local, status)
        moment = local.replace(tzinfo=timezone(-timedelta(minutes=deviation_min)))
        moment.astimezone(UTC)  # the years 1 and 9999 have moments that UTC cannot name
    except (ValueError, OverflowError):
        return Fault(Layer.STRUCTURE, "a clock shows a date or time that does not exist", start)
    return CosemTime(moment, status)


def _time_start(plaintext: bytes) -> int | None:
    """Return where the 12 bytes of the header's date-time start, 0 if it has none, None if bad."""
    for prefix in (b"\x0c", b"\x09\x0c"):
        start = HEADER_BYTES + len(prefix)
        if plaintext[HEADER_BYTES:start] == prefix and len(plaintext) > start + DATE_TIME_BYTES:
            return start
    return 0 if plaintext[HEADER_BYTES : HEADER_BYTES + 1] == b"\x00" else None


def _noise(what: str, offset: int) -> Fault:
    return Fault(Layer.DECRYPTION, f"the plaintext {what}: wrong key, or damage", offset)
