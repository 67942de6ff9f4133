"""Meters that do not exist, as real ones speak: one encrypted push after another."""

import math
from dataclasses import dataclass
from datetime import datetime
from random import Random, SystemRandom

from gateway.simulator import clocks
from gateway.simulator.ciphering import check_key, data_notification, seal
from gateway.simulator.entries import Moment, Value
from gateway.simulator.house import House
from gateway.simulator.layouts import Readings
from gateway.simulator.local_time import austrian
from gateway.simulator.models import MODELS, Model

__all__ = ["MODELS", "SIMULATED_AUTH_KEY", "Model", "Push", "Readings", "SimulatedMeter", "Value"]

# What an authenticating meter makes its tag with when nobody gives it a key; it protects nothing.
SIMULATED_AUTH_KEY = bytes(range(0xD0, 0xE0))

LONG_INVOKE_ID_MAX = 0xFF_FFFF  # 24 bits; the byte above holds flags and priority


@dataclass(frozen=True, slots=True)
class Push:
    """One telegram and what it says to a reader who has all its keys.

    `clock` is what the header says: naive if the meter leaves out its deviation from UTC.
    """

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
        """Install a meter at the aware `start`; without a `seed` each one is another.

        A model that authenticates does so with SIMULATED_AUTH_KEY when there is no `auth_key`;
        any other model authenticates only when there is one.
        """
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
        if auth_key is None and self.model.authenticated:
            auth_key = SIMULATED_AUTH_KEY
        self._auth_key = auth_key
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
        model, local = self.model, austrian(state.moment).replace(microsecond=0)
        moment = Moment(state, local, model.clock.listed, self.meter_number, self.device_name)
        plaintext = data_notification(
            model.invoke_id_flags | self._long_invoke_id,
            clocks.encode(local, model.clock.header),
            model.layout.body(moment),
        )
        sealed = seal(
            plaintext,
            key=self._key,
            system_title=self.system_title,
            invocation_counter=self._invocation_counter,
            auth_key=self._auth_key,
            suite=model.suite,
        )
        return Push(
            telegram=b"".join(model.wire.frames(sealed)),
            readings=model.layout.readings(moment),
            clock=clocks.understood(local, model.clock.header),
            invocation_counter=self._invocation_counter,
            system_title=self.system_title,
            security="encrypted" if self._auth_key is None else "authenticated",
        )
