"""One meter's quantities of one telegram."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from gateway.snapshot.derive import derive
from gateway.snapshot.quantities import QUANTITIES, TEXTS, Origin
from gateway.telegram import Telegram

NOMINAL_FREQUENCY_HZ = 50.0
SERIAL_DIGITS = 9  # as many as 32 bits always hold

_NAMES = {q.obis: q.name for q in QUANTITIES.values() if q.obis}


class Value(NamedTuple):
    """A number in its quantity's unit, and where it comes from."""

    number: int | float
    origin: Origin


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All values of one telegram by quantity name; what was not sent is absent.

    `received` is when the telegram's last byte came, on the monotonic clock of its decoder.
    """

    values: Mapping[str, Value]
    texts: Mapping[str, str]
    received: float

    @classmethod
    def of(cls, telegram: Telegram) -> "Snapshot":
        """Name what the telegram says, and derive what it allows."""
        measured: dict[str, int | float] = {}
        for obis, name in _NAMES.items():
            if obis in telegram.readings:
                value = telegram.readings[obis].value
                if isinstance(value, datetime):
                    # Local time of unknown deviation names no moment.
                    if value.tzinfo is not None:
                        measured[name] = int(value.timestamp())
                elif not isinstance(value, str):
                    measured[name] = value
        texts = {
            name: str(telegram.readings[obis].value)
            for name, obis in TEXTS.items()
            if obis in telegram.readings
        }
        values = {"frequency": Value(NOMINAL_FREQUENCY_HZ, Origin.NOMINAL)}
        values |= {name: Value(n, Origin.DERIVED) for name, n in derive(measured).items()}
        values |= {name: Value(n, Origin.MEASURED) for name, n in measured.items()}
        if digits := "".join(filter(str.isdigit, texts.get("meter_number", ""))):
            values["meter_serial"] = Value(int(digits[-SERIAL_DIGITS:]), Origin.DERIVED)
        return cls(MappingProxyType(values), MappingProxyType(texts), telegram.received)
