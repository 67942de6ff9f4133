"""How a meter tells the time: what of its distance from UTC it says, and where."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from gateway.simulator.encoding import (
    DEVIATION_UNSPECIFIED,
    STATUS_SUMMER_TIME,
    cosem_clock,
    date_time,
)
from gateway.simulator.local_time import is_summer_time

HUNDREDTHS_UNSPECIFIED = 0xFF


class Deviation(Enum):
    """What a clock says of UTC minus local time; the wall clock beside it is always local."""

    LOCAL = "-60 in winter, -120 in summer"
    ZERO = "0, as if local time were UTC"
    UNSPECIFIED = "nothing"


@dataclass(frozen=True, slots=True)
class Clock:
    """A meter's habit: what it says in the header, and what in its list."""

    header: Deviation = Deviation.LOCAL
    listed: Deviation = Deviation.LOCAL


def encode(local: datetime, deviation: Deviation) -> bytes:
    """Return the 12 bytes of a clock that shows the aware `local`."""
    summer = is_summer_time(local)
    match deviation:
        case Deviation.LOCAL:
            return date_time(local, summer=summer)
        case Deviation.ZERO:
            status = STATUS_SUMMER_TIME if summer else 0
            return cosem_clock(local, deviation_min=0, status=status)
        case Deviation.UNSPECIFIED:
            return cosem_clock(
                local,
                deviation_min=DEVIATION_UNSPECIFIED,
                status=0,
                hundredths=HUNDREDTHS_UNSPECIFIED,
            )


def understood(local: datetime, deviation: Deviation) -> datetime:
    """Return what a reader understands of it: without a deviation, a naive datetime."""
    match deviation:
        case Deviation.LOCAL:
            return local
        case Deviation.ZERO:
            return local.replace(tzinfo=UTC)
        case Deviation.UNSPECIFIED:
            return local.replace(tzinfo=None)
