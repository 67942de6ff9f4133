"""Meters that do not exist, as real ones speak: identity, object list, one push after another."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random, SystemRandom
from types import MappingProxyType

from gateway.simulator.frames import (
    Unit,
    check_key,
    data_notification,
    date_time,
    mbus_frames,
    obis,
    octet_string,
    scaler_unit,
    seal,
    structure,
    u16,
    u32,
)
from gateway.simulator.house import House, HouseState
from gateway.simulator.local_time import austrian, is_summer_time

Value = int | float | str | datetime
Readings = Mapping[str, tuple[Value, str | None]]

CLOCK = "0-0:1.0.0.255"
METER_NUMBER = "0-0:96.1.0.255"
DEVICE_NAME = "0-0:42.0.0.255"
LONG_INVOKE_ID_MAX = 0xFF_FFFF  # 24 bits; the byte above holds flags and priority, all 0 here


@dataclass(frozen=True, slots=True)
class Model:
    """Who a meter says it is; the eight digits of its serial number complete each identity."""

    phases: int
    meter_number: str
    device_name: str
    system_title: int  # five bytes: three letters, device type, high nibble over the serial


# Kaifa from real telegrams (facts: KSMWest). The Honeywell title starts as the real one does;
# its names and its list are not public, users report "the same as Kaifa".
MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "kaifa-ma309m": Model(3, "1KFM02{:08d}", "KFM12002{:08d}", 0x4B464D_10_2),
        "kaifa-ma110m": Model(1, "1KFM01{:08d}", "KFM11001{:08d}", 0x4B464D_10_1),
        "honeywell": Model(3, "1ELS02{:08d}", "ELS12002{:08d}", 0x454C53_65_7),
    }
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One object of the list: OBIS code, A-XDR type, scaler, unit, where its value comes from."""

    obis: str
    encode: Callable[[int], bytes]
    scaler: int  # power of ten, never positive here
    unit: Unit
    symbol: str
    read: Callable[[HouseState], float]

    @property
    def steps(self) -> int:
        """Return how many steps of the raw integer make one unit."""
        return int(10**-self.scaler)

    def raw(self, state: HouseState) -> int:
        """Return the integer that the telegram carries."""
        return round(self.read(state) * self.steps)

    def value(self, state: HouseState) -> int | float:
        """Return the value that a reader of the telegram gets, in `symbol`."""
        raw = self.raw(state)
        return raw / self.steps if self.scaler else raw


def _voltage(code: str, phase: int) -> Quantity:
    return Quantity(code, u16, -1, Unit.V, "V", lambda state: state.phases[phase].voltage_v)


def _current(code: str, phase: int) -> Quantity:
    return Quantity(code, u16, -2, Unit.A, "A", lambda state: state.phases[phase].current_a)


VOLTAGES = (
    _voltage("1-0:32.7.0.255", 0),
    _voltage("1-0:52.7.0.255", 1),
    _voltage("1-0:72.7.0.255", 2),
)
CURRENTS = (
    _current("1-0:31.7.0.255", 0),
    _current("1-0:51.7.0.255", 1),
    _current("1-0:71.7.0.255", 2),
)
TOTALS = (
    Quantity("1-0:1.7.0.255", u32, 0, Unit.W, "W", lambda s: s.active_power_import_w),
    Quantity("1-0:2.7.0.255", u32, 0, Unit.W, "W", lambda s: s.active_power_export_w),
    Quantity("1-0:1.8.0.255", u32, 0, Unit.WH, "Wh", lambda s: s.energy_active_import_wh),
    Quantity("1-0:2.8.0.255", u32, 0, Unit.WH, "Wh", lambda s: s.energy_active_export_wh),
    Quantity("1-0:3.8.0.255", u32, 0, Unit.VARH, "varh", lambda s: s.energy_reactive_import_varh),
    Quantity("1-0:4.8.0.255", u32, 0, Unit.VARH, "varh", lambda s: s.energy_reactive_export_varh),
)


def quantities(phases: int) -> tuple[Quantity, ...]:
    """Return the object list behind the identities, in its order (facts: KSMWest)."""
    return VOLTAGES[:phases] + CURRENTS[:phases] + TOTALS


@dataclass(frozen=True, slots=True)
class Push:
    """One telegram and what it says."""

    telegram: bytes
    readings: Readings
    clock: datetime
    invocation_counter: int
    system_title: bytes
    security: str


class SimulatedMeter:
    """A meter that pushes whenever it is asked to; between two pushes `interval_s` pass."""

    def __init__(
        self,
        model: str,
        key: bytes,
        *,
        auth_key: bytes | None = None,
        seed: int | None = None,
        start: datetime,
        interval_s: float = 5.0,
    ) -> None:
        """Install a meter at the aware `start`; without a `seed` each one is another."""
        if model not in MODELS:
            raise ValueError(f"no simulated meter {model!r}, there are {', '.join(MODELS)}")
        check_key(key, "key")
        if auth_key is not None:
            check_key(auth_key, "auth_key")
        if not (math.isfinite(interval_s) and interval_s > 0):
            raise ValueError(f"a meter does not push every {interval_s} s")
        self.model = MODELS[model]
        self.seed = SystemRandom().getrandbits(32) if seed is None else seed
        # Its own stream, so that another identity does not make another house.
        rng = Random(f"identity {self.seed}")
        serial = rng.randrange(1, 10**8)
        self.meter_number = self.model.meter_number.format(serial)
        self.device_name = self.model.device_name.format(serial)
        self.system_title = (self.model.system_title << 28 | serial).to_bytes(8, "big")
        self._key = key
        self._auth_key = auth_key
        self._quantities = quantities(self.model.phases)
        self._house = House(self.model.phases, self.seed, start)
        self._interval_s = interval_s
        self._next_advance_s = 0.0
        self._invocation_counter = rng.randrange(100_000, 3_000_000)
        self._long_invoke_id = rng.randrange(100_000, 3_000_000)

    def push(self) -> Push:
        """Return the next telegram; the first one is sent at `start` itself."""
        state = self._house.advance(self._next_advance_s)
        self._next_advance_s = self._interval_s
        self._invocation_counter += 1
        self._long_invoke_id = (self._long_invoke_id + 1) & LONG_INVOKE_ID_MAX
        clock = austrian(state.moment).replace(microsecond=0)
        sealed = seal(
            self._plaintext(state, date_time(clock, summer=is_summer_time(state.moment))),
            key=self._key,
            system_title=self.system_title,
            invocation_counter=self._invocation_counter,
            auth_key=self._auth_key,
        )
        return Push(
            telegram=b"".join(mbus_frames(sealed)),
            readings=self._readings(state, clock),
            clock=clock,
            invocation_counter=self._invocation_counter,
            system_title=self.system_title,
            security="encrypted" if self._auth_key is None else "authenticated",
        )

    def _plaintext(self, state: HouseState, clock: bytes) -> bytes:
        """Return the DataNotification: clock flat, then one structure an object."""
        body = structure(
            obis(CLOCK),
            octet_string(clock),
            structure(obis(METER_NUMBER), octet_string(self.meter_number.encode("ascii"))),
            structure(obis(DEVICE_NAME), octet_string(self.device_name.encode("ascii"))),
            *(
                structure(obis(q.obis), q.encode(q.raw(state)), scaler_unit(q.scaler, q.unit))
                for q in self._quantities
            ),
        )
        return data_notification(self._long_invoke_id, clock, body)

    def _readings(self, state: HouseState, clock: datetime) -> Readings:
        readings: dict[str, tuple[Value, str | None]] = {
            CLOCK: (clock, None),
            METER_NUMBER: (self.meter_number, None),
            DEVICE_NAME: (self.device_name, None),
        }
        readings |= {q.obis: (q.value(state), q.symbol) for q in self._quantities}
        return MappingProxyType(readings)
