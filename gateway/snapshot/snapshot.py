"""One meter's quantities of one telegram."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from gateway.snapshot.derive import derive
from gateway.snapshot.quantities import QUANTITIES, TEXTS, Origin
from gateway.telegram import Telegram
from gateway.telegram.listing import Listing, Readings

NOMINAL_FREQUENCY_HZ = 50.0
SERIAL_DIGITS = 9  # as many as 32 bits always hold

_NAMES = {q.obis: q.name for q in QUANTITIES.values() if q.obis}


class Value(NamedTuple):
    """A number in its quantity's unit, and where it comes from."""

    number: int | float
    origin: Origin


class Values(Mapping[str, Value]):
    """All values of one telegram; what is not measured is derived when it is first asked for."""

    __slots__ = ("_all", "_texts", "measured")

    def __init__(self, measured: Mapping[str, int | float], texts: Mapping[str, str]) -> None:
        self.measured = measured
        self._texts = texts
        self._all: Mapping[str, Value] | None = None

    def __getitem__(self, name: str) -> Value:
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def _whole(self) -> Mapping[str, Value]:
        if self._all is None:
            values = {"frequency": Value(NOMINAL_FREQUENCY_HZ, Origin.NOMINAL)}
            values |= {name: Value(n, Origin.DERIVED) for name, n in derive(self.measured).items()}
            values |= {name: Value(n, Origin.MEASURED) for name, n in self.measured.items()}
            if digits := "".join(filter(str.isdigit, self._texts.get("meter_number", ""))):
                values["meter_serial"] = Value(int(digits[-SERIAL_DIGITS:]), Origin.DERIVED)
            self._all = values
        return self._all


class Snapshot(NamedTuple):
    """All values of one telegram by quantity name; what was not sent is absent.

    `measured` are the numbers that the meter sent, `values` also what they allow to derive.
    `received` is when the telegram's last byte came, on the monotonic clock of its decoder.
    """

    values: Mapping[str, Value]
    texts: Mapping[str, str]
    received: float
    measured: Mapping[str, int | float] = MappingProxyType({})

    @classmethod
    def of(cls, telegram: Telegram) -> "Snapshot":
        """Name what the telegram says."""
        readings = telegram.readings
        measured = measured_of(readings)
        sent = readings.texts
        texts = MappingProxyType(
            {name: str(sent[obis].value) for name, obis in TEXTS.items() if obis in sent}
        )
        return cls(Values(measured, texts), texts, telegram.received, measured)


def measured_of(readings: Readings) -> dict[str, int | float]:
    """Return the numbers of a telegram by quantity name, its clock in seconds since 1970 UTC."""
    names, scaled = _named(readings.listing)
    raw = readings.raw
    measured: dict[str, int | float] = {name: raw[place] for name, place in names}
    for name, negative, power in scaled:
        measured[name] = measured[name] / power if negative else measured[name] * power
    clock = readings.clock
    # Local time of unknown deviation names no moment.
    if clock and clock.moment and clock.moment.tzinfo:
        measured["meter_clock"] = int(clock.moment.timestamp())
    return measured


@lru_cache(maxsize=1024)
def _named(listing: Listing) -> tuple[list[tuple[str, int]], list[tuple[str, bool, int]]]:
    """Return which quantity stands at which place of a listing, and those that have a scaler."""
    by_name: dict[str, int] = {}
    # Where a meter has both, what is named exactly wins over the same of another channel.
    for obis, place in sorted(listing.places.items(), key=lambda item: item[0].b):
        if obis.channel_0 in _NAMES:
            by_name.setdefault(_NAMES[obis.channel_0], place)
    names = list(by_name.items())
    scaled = [
        (name, *listing.scales[place]) for name, place in names if listing.numbers[place].scaler
    ]
    return names, scaled
