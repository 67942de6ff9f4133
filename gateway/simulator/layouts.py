"""How meters list their objects; one table a list."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from gateway.simulator.encoding import (
    array,
    i8,
    i16,
    i64,
    obis,
    octet_string,
    structure,
    u16,
    u32,
    u64,
)
from gateway.simulator.entries import (
    CLASS_PUSH_SETUP,
    Encoder,
    Entry,
    Moment,
    Shape,
    Value,
    clock,
    constants,
    date,
    device_name,
    meter_number,
    numbers,
    time_of_day,
)

BARE, PAIR, TRIPLE = Shape.BARE, Shape.PAIR, Shape.TRIPLE
NESTED_PAIR, NESTED_TRIPLE = Shape.NESTED_PAIR, Shape.NESTED_TRIPLE

Readings = Mapping[str, tuple[Value, str | None]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A list of objects; with a `push_setup` an array in front names what follows."""

    entries: tuple[Entry, ...]
    push_setup: str | None = None

    def body(self, moment: Moment) -> bytes:
        """Return the list as A-XDR."""
        items = chain.from_iterable(entry.items(moment) for entry in self.entries)
        return structure(*self._front(), *items)

    def _front(self) -> tuple[bytes, ...]:
        """Return the values of a push setup's two attributes: object list, logical name."""
        if self.push_setup is None:
            return ()
        named = array(
            _descriptor(CLASS_PUSH_SETUP, self.push_setup, attribute=2),
            _descriptor(CLASS_PUSH_SETUP, self.push_setup, attribute=1),
            *(
                _descriptor(entry.cosem_class, entry.code, attribute=2)
                for entry in self.entries
                if entry.code
            ),
        )
        return named, obis(self.push_setup)

    def readings(self, moment: Moment) -> Readings:
        """Return what a reader gets, in the order of the list."""
        return MappingProxyType(
            {
                entry.code: (entry.understood(moment), entry.symbol)
                for entry in self.entries
                if entry.code
            }
        )


def _descriptor(cosem_class: int, code: str, *, attribute: int) -> bytes:
    return structure(u16(cosem_class), obis(code), i8(attribute), u16(0))


def ksmwest(phases: int) -> Layout:
    """Return the list of Tirol, Salzburg and Vorarlberg."""
    return Layout(
        (
            clock(PAIR),
            meter_number(NESTED_PAIR),
            device_name(NESTED_PAIR),
            *numbers(NESTED_TRIPLE, u16, -1, *("1-0:32.7.0", "1-0:52.7.0", "1-0:72.7.0")[:phases]),
            *numbers(NESTED_TRIPLE, u16, -2, *("1-0:31.7.0", "1-0:51.7.0", "1-0:71.7.0")[:phases]),
            *numbers(NESTED_TRIPLE, u32, 0, "1-0:1.7.0", "1-0:2.7.0"),
            *numbers(NESTED_TRIPLE, u32, 0, "1-0:1.8.0", "1-0:2.8.0", "1-0:3.8.0", "1-0:4.8.0"),
        )
    )


def netz_noe(power_factor: Encoder) -> Layout:
    """Return the list of Netz NÖ; firmwares differ in the type of the power factor."""
    return Layout(
        (
            clock(BARE),
            *numbers(TRIPLE, u32, 0, "1-0:1.8.0", "1-0:2.8.0", "1-0:1.7.0", "1-0:2.7.0"),
            *numbers(TRIPLE, u16, -1, "1-0:32.7.0", "1-0:52.7.0", "1-0:72.7.0"),
            *numbers(TRIPLE, u16, -2, "1-0:31.7.0", "1-0:51.7.0", "1-0:71.7.0"),
            *numbers(TRIPLE, power_factor, -3, "1-0:13.7.0"),
            meter_number(BARE),
        )
    )


HONEYWELL_DOCUMENT = Layout(
    (clock(BARE), *numbers(TRIPLE, u32, 0, "1-0:1.8.0", "1-0:3.8.0")),
)

_WIENER_NETZE = (
    clock(BARE),
    *numbers(BARE, u32, 0, "1-0:1.8.0", "1-0:2.8.0", "1-0:3.8.0", "1-0:4.8.0"),
    *numbers(BARE, u32, 0, "1-0:1.7.0", "1-0:2.7.0", "1-0:3.7.0", "1-0:4.7.0"),
)
WIENER_NETZE = Layout(_WIENER_NETZE)
WIENER_NETZE_SIEMENS = Layout((meter_number(BARE), *_WIENER_NETZE))

_WELS = (
    *constants(obis("0-6:25.9.0.255")),
    meter_number(BARE),
    time_of_day(),
    date(),
    *numbers(BARE, u32, 0, "1-0:1.8.0", "1-0:2.8.0", "1-0:3.8.0", "1-0:4.8.0"),
    *numbers(BARE, u32, 0, "1-0:1.7.0", "1-0:2.7.0"),
)
WELS = Layout(_WELS)
KAERNTEN = Layout((*_WELS, *constants(octet_string(b""), octet_string(b""))))

BURGENLAND = Layout(
    (
        *numbers(BARE, u16, 0, "1-0:32.7.0", "1-0:52.7.0", "1-0:72.7.0"),
        *numbers(BARE, u16, -2, "1-0:31.7.0", "1-0:51.7.0", "1-0:71.7.0"),
        *numbers(BARE, u32, 0, "1-0:1.7.0", "1-0:2.7.0", "1-0:1.8.0", "1-0:2.8.0"),
        *constants(u16(410), u16(60), u16(280)),  # nobody knows what they mean
        meter_number(BARE),
    )
)

LANDIS_GYR_PAIRS = Layout(
    (
        clock(BARE),
        *numbers(PAIR, u32, 0, "1-0:1.8.0", "1-0:1.8.1", "1-0:1.8.2", "1-0:1.7.0"),
        *numbers(PAIR, u32, 0, "1-0:2.8.0", "1-0:2.8.1", "1-0:2.8.2", "1-0:2.7.0"),
        *numbers(PAIR, u32, 0, "1-0:3.8.0", "1-0:3.8.1", "1-0:3.8.2", "1-0:3.7.0"),
        *numbers(PAIR, u32, 0, "1-0:4.8.0", "1-0:4.8.1", "1-0:4.8.2", "1-0:4.7.0"),
    )
)

# As an E570 in Switzerland pushes it (a capture with a test key in scs/smartmeter-datacollector).
# All its currents are 0; hundredths of an ampere are what E450s send without a scaler.
LANDIS_GYR_PUSH_LIST = Layout(
    (
        device_name(BARE),
        clock(BARE),
        *numbers(BARE, i64, 0, "1-0:1.7.0", "1-0:2.7.0", "1-0:3.7.0", "1-0:4.7.0"),
        *numbers(BARE, u64, 0, "1-1:1.8.0", "1-1:2.8.0"),
        *numbers(BARE, u64, 0, "1-1:5.8.0", "1-1:6.8.0", "1-1:7.8.0", "1-1:8.8.0"),
        *numbers(BARE, i64, -2, "1-0:31.7.0", "1-0:51.7.0", "1-0:71.7.0"),
        *numbers(BARE, i16, -3, "1-0:13.7.0"),
    ),
    push_setup="0-8:25.9.0.255",
)
