"""OBIS codes, DLMS units, and the objects that these meters are known to send."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_OBIS = re.compile(r"(\d+)[-.](\d+)[:.](\d+)\.(\d+)\.(\d+)(?:[.*](\d+))?", re.ASCII)


class Obis(NamedTuple):
    """An object's name, six value groups A to F (IEC 62056-6-1); `str` gives 1-0:1.7.0.255."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int = 255

    def __str__(self) -> str:
        return f"{self.a}-{self.b}:{self.c}.{self.d}.{self.e}.{self.f}"

    @property
    def channel_0(self) -> "Obis":
        """Return the same object of channel 0; some meters call their only channel 1."""
        return self._replace(b=0) if self.b else self

    @classmethod
    def parse(cls, text: str) -> "Obis":
        """Read 1-0:1.7.0, 1-0:1.7.0.255 or 1.0.1.7.0.255; ValueError says what is wrong."""
        match = _OBIS.fullmatch(text.strip())
        groups = [int(group) for group in match.groups() if group is not None] if match else []
        if not groups or max(groups) > 255:
            raise ValueError(f"{text!r} is no OBIS code; one looks like 1-0:1.7.0.255")
        return cls(*groups)


CLOCK = Obis(0, 0, 1, 0, 0)
METER_NUMBER = Obis(0, 0, 96, 1, 0)
DEVICE_NAME = Obis(0, 0, 42, 0, 0)
LOCAL_TIME = Obis(1, 0, 0, 9, 1)
LOCAL_DATE = Obis(1, 0, 0, 9, 2)
# Objects that are no numbers, whatever a damaged telegram says.
NAMED_TEXTS = frozenset((CLOCK, METER_NUMBER, DEVICE_NAME, LOCAL_TIME, LOCAL_DATE))

# DLMS UA Blue Book, 4.3.2, "unit": those that electricity meters use. None: a number without unit.
UNITS: Mapping[int, str | None] = MappingProxyType(
    {
        27: "W",
        28: "VA",
        29: "var",
        30: "Wh",
        31: "VAh",
        32: "varh",
        33: "A",
        35: "V",
        44: "Hz",
        255: None,
    }
)

# The unit in which each object of the meters' data model must come (operators' descriptions of
# the customer interface). Anything else is damage. What has a unit here is never negative:
# directions have objects of their own. E is the tariff, 0 the sum of all.
EXPECTED_UNITS: Mapping[Obis, str | None] = MappingProxyType(
    {Obis(1, 0, c, 7, 0): "V" for c in (32, 52, 72)}
    | {Obis(1, 0, c, 7, 0): "A" for c in (31, 51, 71)}
    | {Obis(1, 0, c, 7, 0): "W" for c in (1, 2)}
    | {Obis(1, 0, c, 7, 0): "var" for c in (3, 4)}
    | {Obis(1, 0, c, 8, e): "Wh" for c in (1, 2) for e in range(5)}
    | {Obis(1, 0, c, 8, e): "varh" for c in range(3, 9) for e in range(5)}
    | {Obis(1, 0, 13, 7, 0): None}
)
