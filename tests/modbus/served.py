"""A small map over two meters, and how a scenario over real sockets is run."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import uvloop

from gateway.modbus.responder import Responder
from gateway.modbus.unit import Unit
from gateway.registers import RegisterMap
from gateway.snapshot import Freshness, Origin, Snapshot, Value

T = TypeVar("T")
Loop = Callable[[], asyncio.AbstractEventLoop]
PATIENCE_S = 30.0

MAP = """
name: Test meter
tables: [holding, input]
zero_ranges: [[100, 224]]
registers:
  - {address: 0, value: 0x1234, type: uint16}
  - {address: 1, quantity: active_power_import_total, type: uint32}
  - {address: 3, quantity: voltage_l1, type: float32}
"""
READ_0 = bytes.fromhex("03 0000 0001")
GOT_0 = bytes.fromhex("03 02 1234")


@dataclass
class Seen:
    """A meter as a unit sees it: no telegram yet, or one that is good for ever."""

    snapshot: Snapshot | None = None
    freshness: Freshness = field(default_factory=lambda: Freshness(float("inf")))


def meter() -> Seen:
    numbers = {"active_power_import_total": 123456, "voltage_l1": 230.5}
    values = {name: Value(number, Origin.MEASURED) for name, number in numbers.items()}
    return Seen(Snapshot(values, {}, 0.0), Freshness(float("inf"), 0.0))


def responder() -> Responder:
    """Unit 1 has values, unit 2 waits for its first telegram."""
    register_map = RegisterMap.parse(MAP, "test.yaml")
    return Responder({1: Unit(register_map, meter()), 2: Unit(register_map, Seen())})


# What `obisgate run` may run on.
LOOPS: Mapping[str, Loop] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
new_loop = LOOPS["asyncio"]  # the fixture `each_loop` changes it


def run(scenario: Coroutine[None, None, None]) -> None:
    """Run a scenario; one that hangs fails."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(scenario, PATIENCE_S))


async def eventually(done: Awaitable[T]) -> T:
    """Wait for what should come soon, but fail before the whole scenario does."""
    return await asyncio.wait_for(done, PATIENCE_S / 6)
