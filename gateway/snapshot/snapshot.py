"""One meter's quantities of one telegram."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from gateway.snapshot.derive import derive
from gateway.snapshot.quantities import QUANTITIES, TEXTS, Origin
from gateway.telegram import Telegram
from gateway.telegram.listing import Listing, Readings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
NOMINAL_FREQUENCY_HZ = 50.0
METER_SERIAL = "meter_serial"
METER_NUMBER_TEXT, TITLE_TEXT = "meter_number", "title_number"
SERIAL_DIGITS = 9  # as many as 32 bits always hold
# Each meter has a listing of its own; with fewer places than meters, all would be made ever anew.
KEPT_LISTINGS = 2**14

_TEXTS = tuple(TEXTS.items())
_NAMES = {q.obis: q.name for q in QUANTITIES.values() if q.obis}


_Place = tuple[str, int]
_ScaledPlace = tuple[str, int, int]


class Value(NamedTuple):
    """A number in its quantity's unit, and where it comes from."""

    number: int | float
    origin: Origin


class Values(Mapping[str, Value]):
    """All values of one telegram; what is not measured is derived when it is first asked for."""

    __slots__ = ("_all", "_frequency_hz", "_numbers", "_texts", "measured")

    def __init__(
        self,
        measured: Mapping[str, int | float],
        texts: Mapping[str, str],
        frequency_hz: float = NOMINAL_FREQUENCY_HZ,
    ) -> None:
        self.measured = measured
        self._texts = texts
        self._frequency_hz = frequency_hz
        self._numbers: Mapping[str, int | float] | None = None
        self._all: Mapping[str, Value] | None = None

    @property
    def numbers(self) -> Mapping[str, int | float]:
        """The numbers alone."""
        if self._numbers is None:
            numbers = {"frequency": self._frequency_hz, **derive(self.measured), **self.measured}
            if (serial := _serial_number(serial_of(self._texts))) is not None:
                numbers[METER_SERIAL] = serial
            self._numbers = numbers
        return self._numbers

    def __getitem__(self, name: str) -> Value:
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def _whole(self) -> Mapping[str, Value]:
        if self._all is None:
            self._all = {name: Value(n, self._origin(name)) for name, n in self.numbers.items()}
        return self._all

    def _origin(self, name: str) -> Origin:
        if name in self.measured:
            return Origin.MEASURED
        return Origin.NOMINAL if name == "frequency" else Origin.DERIVED


class Snapshot(NamedTuple):
    """All values of one telegram by quantity name; what was not sent is absent.

    `measured` are the numbers that the meter sent, `values` also what they allow to derive.
    `received` is when the telegram's last byte came, on the monotonic clock of its decoder.
    """

    values: Mapping[str, Value]
    texts: Mapping[str, str]
    received: float
    measured: Mapping[str, int | float] = MappingProxyType({})

    @property
    def numbers(self) -> Mapping[str, int | float]:
        """The numbers of all values by quantity name."""
        values = self.values
        if isinstance(values, Values):
            return values.numbers
        return {name: value.number for name, value in values.items()}

    @classmethod
    def of(cls, telegram: Telegram) -> "Snapshot":
        """Name what the telegram says."""
        readings = telegram.readings
        measured = measured_of(readings)
        sent = readings.texts
        texts = {name: str(text.value) for name, obis in _TEXTS if (text := sent.get(obis))}
        if METER_NUMBER_TEXT not in texts:
            texts[TITLE_TEXT] = _title_number(telegram.meter)
        shown = MappingProxyType(texts)
        return cls(Values(measured, shown), shown, telegram.received, measured)


def serial_of(texts: Mapping[str, str]) -> str | None:
    """Return the meter's number; of one that does not send it the number in its system title."""
    return texts.get(METER_NUMBER_TEXT) or texts.get(TITLE_TEXT)


@lru_cache(maxsize=KEPT_LISTINGS)
def _serial_number(serial: str | None) -> int | None:
    """Return the last digits of a meter's number; None if it has none."""
    digits = "".join(filter(str.isdigit, serial or ""))
    return int(digits[-SERIAL_DIGITS:]) if digits else None


@lru_cache(maxsize=KEPT_LISTINGS)
def _title_number(title: bytes) -> str:
    """Return a system title as letters and digits: the maker's three, the rest as a number."""
    return title[:3].decode("ascii", "replace") + str(int.from_bytes(title[3:], "big"))


def measured_of(readings: Readings) -> dict[str, int | float]:
    """Return the numbers of a telegram by quantity name, its clock in seconds since 1970 UTC."""
    whole, divided, multiplied = _named(readings.listing)
    raw = readings.raw
    measured: dict[str, int | float] = {name: raw[place] for name, place in whole}
    for name, place, power in divided:
        measured[name] = raw[place] / power
    for name, place, power in multiplied:
        measured[name] = raw[place] * power
    clock = readings.clock
    # Local time of unknown deviation names no moment.
    if clock and clock.moment and clock.moment.tzinfo:
        measured["meter_clock"] = (clock.moment - _EPOCH) // _SECOND
    return measured


def places_of(listing: Listing) -> dict[str, int]:
    """Return at which place of a listing's numbers each quantity stands."""
    found: dict[str, int] = {}
    # Where a meter has both, what is named exactly wins over the same of another channel.
    for obis, place in sorted(listing.places.items(), key=lambda item: item[0].b):
        if obis.channel_0 in _NAMES:
            found.setdefault(_NAMES[obis.channel_0], place)
    return found


@lru_cache(maxsize=KEPT_LISTINGS)
def _named(listing: Listing) -> tuple[list[_Place], list[_ScaledPlace], list[_ScaledPlace]]:
    """Return which quantity stands where in a listing: as sent, to be divided, to be multiplied."""
    places = places_of(listing)
    scaled = [(name, place, *listing.scales[place]) for name, place in places.items()]
    return (
        [(name, place) for name, place, _, power in scaled if power == 1],
        [(name, place, power) for name, place, negative, power in scaled if negative],
        [(n, place, power) for n, place, negative, power in scaled if not negative and power > 1],
    )
