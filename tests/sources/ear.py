"""What hears a source in the tests as the service does: keep_running, a real meter and decoder."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from gateway.meter import Heard, Meter
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Judge
from gateway.sources import Source, SourceAddress, keep_running, open_source
from gateway.telegram import Decoder, Fault, Key, Telegram

PATIENCE_S = 30.0
KEY = Key(bytes(range(16)))


def simulated(model: str = "kaifa-ma309m") -> SimulatedMeter:
    return SimulatedMeter(model, KEY.octets, seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC))


def source(text: str) -> Source:
    return open_source(SourceAddress.parse(text), KEY, None)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


class Ear:
    """What a source brought: its bytes, what a decoder made of them, and what was said."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.chunks = 0
        self.begun = 0
        self.items: list[Heard] = []
        self.said: list[str] = []
        self._meter = Meter("house", Decoder(KEY), Judge(63.0), 3600.0, self.items.append)

    def deliver(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        assert 0 < len(chunk) <= 2048
        assert not damaged
        self.octets += chunk
        self.chunks += 1
        self._meter.take(chunk, time.monotonic())

    def begin_anew(self) -> None:
        self.begun += 1
        self._meter.begin_anew()

    @property
    def counters(self) -> list[int]:
        return [item.invocation_counter for item in self.items if isinstance(item, Telegram)]

    @property
    def faults(self) -> list[str]:
        return [item.reason for item in self.items if isinstance(item, Fault)]

    async def until(self, condition: Callable[["Ear"], object]) -> None:
        while not condition(self):  # noqa: ASYNC110 - bytes come through plain callbacks
            await asyncio.sleep(0.005)

    async def until_said(self, part: str, times: int = 1) -> None:
        await self.until(lambda ear: sum(part in text for text in ear.said) >= times)


@asynccontextmanager
async def hearing(heard: Source, ear: Ear | None = None) -> AsyncIterator[Ear]:
    """Keep a source running; what goes wrong in it is raised at the end."""
    ear = ear or Ear()
    running = asyncio.create_task(keep_running(heard, ear.deliver, ear.said.append, ear.begin_anew))
    try:
        yield ear
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
