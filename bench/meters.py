"""What a meter costs beside others: 1, 10, 100 and 1,000 simulated meters in one process.

    python bench/meters.py [--seconds 30]

Services with so many meters are alive at once in one process and take turns in short slices. Each
telegram goes the whole way from bytes that have come to registers that a client has read; making it
is not measured, nor what the system needs to read a line. Memory is that of processes of their own.
"""

import asyncio
import functools
import gc
import itertools
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from measure import BenchError, best_quartile, interleave, machine, main, ratio, rough, table

from gateway import map_library
from gateway.config import SIMULATOR_KEY, Config
from gateway.meter import Meter
from gateway.modbus.unit import Unit
from gateway.registers import Table
from gateway.service import Service
from gateway.simulator import SimulatedMeter
from gateway.sources.source import Deliver, Opened
from gateway.telegram import Telegram

SECONDS = 30.0
COUNTS = (1, 10, 100, 1000)
SLICE = 200  # telegrams
TOLD = 3  # telegrams of each meter before anything is measured
MOST = 0.9
PUSH_EVERY_S = 5.0
MODEL, MAP = "kaifa-ma309m", "sunspec_213"
FIRST, REGISTERS = 40071, 124  # of the meter model in the map
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
CONFIG = f"""
state: state.json
meters: {{"0": {{source: "simulator:{MODEL}", hold: 5min}}}}
listeners: [{{tcp: "127.0.0.1:0", any: {{meter: "0", map: obis_plain}}}}]
"""


class Fed:
    """A source that delivers when it is told to."""

    is_lasting = False

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.opened = asyncio.Event()
        self.deliver: Deliver = lambda _chunk, _damaged=(): None

    @functools.cached_property
    def meter(self) -> SimulatedMeter:
        """The meter in the cabinet."""
        return SimulatedMeter(MODEL, SIMULATOR_KEY.octets, seed=self._seed, start=START)

    def describe(self) -> str:
        """Return what it is."""
        return "a simulated meter"

    def trouble(self) -> str | None:
        """Return None: there is nothing to open."""
        return None

    async def run(self, deliver: Deliver, _opened: Opened) -> None:
        """Wait for ever; meanwhile `deliver` is there."""
        self.deliver = deliver
        self.opened.set()
        await asyncio.Event().wait()


class Street:
    """Meters, and a client that reads each of them after each of its telegrams."""

    def __init__(self, count: int, config: Config) -> None:
        self.sources = [Fed(seed) for seed in range(count)]
        meter = config.meters["0"]
        self.meters = {
            str(n): replace(meter, name=str(n), source=source)
            for n, source in enumerate(self.sources)
        }
        self._map = map_library.load(MAP, None)
        self._units: dict[str, Unit] = {}
        self._turns = itertools.cycle(self.sources)
        self.read = 0

    def hear(self, meter: Meter, _telegram: Telegram) -> None:
        """Read what the telegram says, as a client does."""
        unit = self._units.get(meter.name)
        if unit is None:
            unit = self._units[meter.name] = Unit(self._map, meter)
        words = unit.read(Table.HOLDING, FIRST, REGISTERS, time.monotonic())
        self.read += isinstance(words, bytes)

    def run_slice(self) -> float:
        """Let the next meters push in turn; return the processor time of a telegram in seconds."""
        pushed = [(source, source.meter.push().telegram) for source in self._take(SLICE)]
        before, start = self.read, time.thread_time()
        for source, telegram in pushed:
            source.deliver(telegram)
        took_s = time.thread_time() - start
        # One that jumps is held until the next confirms it.
        if self.read - before < MOST * len(pushed):
            raise BenchError(f"of {len(pushed)} telegrams {self.read - before} could be read")
        return took_s / len(pushed)

    def _take(self, count: int) -> list[Fed]:
        return list(itertools.islice(self._turns, count))


@asynccontextmanager
async def running(count: int, config: Config):
    """Run the gateway with so many meters."""
    street = Street(count, config)
    service = Service(replace(config, meters=street.meters), street.hear)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    for source in street.sources:
        await source.opened.wait()
    yield street
    stop.set()
    await task


def read_config() -> Config:
    """Return a config of one meter, of which the others are copies."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(CONFIG, encoding="utf-8")
        return Config.read(path)


async def processor(seconds: float) -> Mapping[int, float]:
    """Return the processor time of a telegram in seconds, by the number of meters."""
    config = read_config()
    async with AsyncExitStack() as stack:
        streets = {n: await stack.enter_async_context(running(n, config)) for n in COUNTS}
        for street in streets.values():
            for source in street.sources * TOLD:  # a meter's first telegrams take longer
                source.deliver(source.meter.push().telegram)
        jobs: dict[int, Callable[[], float]] = {n: s.run_slice for n, s in streets.items()}
        slices = interleave(jobs, seconds)
    return {count: best_quartile(found) for count, found in slices.items()}


async def _grown(count: int) -> int:
    config = read_config()
    async with running(1, config) as street:
        for _ in range(TOLD):
            street.run_slice()  # all code is loaded, all tables are made
        gc.collect()
        before = resident()
        async with running(count, config) as others:
            for source in others.sources:
                for _ in range(TOLD):
                    source.deliver(source.meter.push().telegram)
                del source.meter  # what a meter in the cabinet needs is not measured
            gc.collect()
            return resident() - before


def grown(count: int) -> int:
    """Return by how many bytes a process grows with so many meters more."""
    logging.disable(logging.CRITICAL)
    return asyncio.run(_grown(count))


def resident() -> int:
    """Return this process' memory in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    logging.disable(logging.CRITICAL)  # that the loop stands still while a slice is measured
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        # Of few meters it is lost in the pages of the others.
        memory = {count: pool.apply(grown, (count,)) / count for count in COUNTS if count >= 100}
    costs = asyncio.run(processor(seconds))
    rows = [
        [
            f"{count:,}",
            ratio(costs[count] / costs[COUNTS[0]]),
            f"{memory[count] / 1024:.0f}" if count in memory else "",
            f"{count * costs[count] / PUSH_EVERY_S:.2%}",
        ]
        for count in COUNTS
    ]
    header = ("meters", "CPU a telegram, × 1 meter", "KiB a meter", "of a core at one each 5 s")
    shown = ", ".join(f"{count:,}: {rough(cost * 1e6)} µs" for count, cost in costs.items())
    return "\n".join(
        [
            table(header, rows),
            "",
            f"{machine()}, {MODEL} read through {MAP}, best quartile of interleaved slices: "
            "`python bench/meters.py`.",
            f"Order of magnitude of a telegram, by meters: {shown}.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
