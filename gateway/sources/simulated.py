"""A simulated meter as a source: its telegrams take the same way as a real one's."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.located import nearest
from gateway.simulator import MODELS, SimulatedMeter
from gateway.sources.address import SourceAddress
from gateway.sources.source import Deliver
from gateway.telegram import Key

# With a seed the house is always the same, and so is its day: noon, when the sun feeds the grid.
SEEDED_START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class SimulatorSource:
    """Pushes a telegram at once and then every `interval_s`; `seed` makes the run repeatable."""

    model: str
    key: Key
    auth_key: Key | None
    interval_s: float = INTERVAL_S
    seed: int | None = None

    @classmethod
    def parse(cls, address: SourceAddress, key: Key, auth_key: Key | None) -> "SimulatorSource":
        """Read simulator:kaifa-ma309m?interval=5s&seed=1; ValueError says what is wrong."""
        address.allow(("interval", "seed"))
        if address.target not in MODELS:
            raise ValueError(f"unknown meter {address.target!r}{nearest(address.target, MODELS)}")
        return cls(
            model=address.target,
            key=key,
            auth_key=auth_key,
            interval_s=address.duration_s("interval", MODELS[address.target].interval_s),
            seed=address.integer("seed", None, lowest=0),
        )

    def describe(self) -> str:
        """Return the model and its pace."""
        return f"simulated {self.model}, a telegram every {self.interval_s:g} s"

    @property
    def is_lasting(self) -> bool:
        """Return False: each run begins it anew."""
        return False

    def trouble(self) -> str | None:
        """Return None: there is nothing to open."""
        return None

    def meter(self) -> SimulatedMeter:
        """Return the meter before its first push."""
        return SimulatedMeter(
            self.model,
            self.key.octets,
            auth_key=self.auth_key.octets if self.auth_key else None,
            seed=self.seed,
            start=datetime.now(UTC) if self.seed is None else SEEDED_START,
            interval_s=self.interval_s,
        )

    async def run(self, deliver: Deliver, _opened: Callable[[], None]) -> None:
        """Push for ever, on time."""
        await push_on_time(self.meter(), self.interval_s, deliver)


async def push_on_time(
    meter: SimulatedMeter,
    interval_s: float,
    deliver: Callable[[bytes], object],
    count: int | None = None,
) -> None:
    """Deliver a telegram at once and then every `interval_s`, `count` of them or for ever."""
    clock = asyncio.get_running_loop().time
    due = clock()
    for _ in range(count) if count is not None else itertools.count():
        await asyncio.sleep(due - clock())
        deliver(meter.push().telegram)
        # After a sleep of the machine a meter goes on, it does not catch up.
        due = max(due + interval_s, clock())
