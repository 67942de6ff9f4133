"""A meter at which the program fails is read anew, and said; others never hear of it."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import meter_watch
from gateway.config import Config, MeterConfig
from gateway.meter import Meter
from gateway.meter_watch import MeterWatch
from gateway.simulator import SimulatedMeter
from gateway.snapshot.freshness import State
from gateway.sources.source import Deliver, Opened
from gateway.telegram import Telegram

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Pushing:
    """A source that brings these chunks, and from then on nothing; each opening is counted.

    Of an iterator each opening brings those that are left.
    """

    chunks: Iterable[bytes]
    openings: list[float] = field(default_factory=list)
    is_lasting: bool = True

    def describe(self) -> str:
        return "a test's source"

    def trouble(self) -> str | None:
        return None

    async def run(self, deliver: Deliver, _opened: Opened) -> None:
        self.openings.append(time.monotonic())
        for chunk in self.chunks:
            deliver(chunk)
        await asyncio.Event().wait()


@pytest.fixture
def config(tmp_path: Path) -> MeterConfig:
    path = tmp_path / "config.yaml"
    path.write_text(
        "meters: {house: {source: 'simulator:kaifa-ma309m'}}\n"
        "listeners: [{tcp: 5020, any: {meter: house, map: obis_plain}}]\n"
    )
    return Config.read(path).meters["house"]


@pytest.fixture
def telegrams(config: MeterConfig) -> list[bytes]:
    started = datetime(2026, 1, 5, 18, tzinfo=UTC)
    meter = SimulatedMeter("kaifa-ma309m", config.key.octets, seed=3, start=started)
    return [meter.push().telegram for _ in range(3)]


def run(watch: MeterWatch, until: Callable[[], bool]) -> None:
    """Run a watch until something is so."""

    async def work() -> None:
        watch.start()
        ends = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < ends
            await asyncio.sleep(0.005)
        await watch.stop()

    asyncio.run(work())


class Fails:
    """Hears telegrams, and fails at some of them."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.heard = 0

    def __call__(self, _meter: Meter, _telegram: Telegram) -> None:
        self.heard += 1
        if self.heard in self.numbers:
            raise RuntimeError("a slip of ours")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_watch, "DEFECT_PAUSE_S", 0.01)


def test_a_meter_at_which_the_program_fails_is_read_anew(
    config: MeterConfig, telegrams: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    source = Pushing(iter(telegrams))
    fails = Fails(1, 2)
    watch = MeterWatch(dataclasses.replace(config, source=source), (), None, fails, "")
    run(watch, lambda: fails.heard == 3)
    assert len(source.openings) == 3
    said = [record for record in caplog.records if "the program failed" in record.message]
    assert len(said) == 2, "each time"
    assert [bool(record.exc_info) for record in said] == [True, False], "with its traceback once"
    assert "house: the program failed at this meter (RuntimeError: a slip of ours)" in caplog.text


def test_the_values_of_such_a_meter_age_like_those_of_a_silent_one(
    config: MeterConfig, telegrams: list[bytes]
) -> None:
    source = Pushing(telegrams[:1])
    once = dataclasses.replace(config, source=source, hold_s=0.2)
    watch = MeterWatch(once, (), None, Fails(*range(1, 1000)), "")
    run(watch, lambda: watch.meter.freshness.state(time.monotonic()) is State.STALE)
    assert watch.meter.snapshot is not None
    assert len(source.openings) > 1


def test_another_meter_is_not_touched_by_that(config: MeterConfig, telegrams: list[bytes]) -> None:
    failing, good = Pushing(telegrams), Pushing(telegrams)
    fails, hears = Fails(*range(1, 1000)), Fails()
    ill = MeterWatch(dataclasses.replace(config, source=failing), (), None, fails, "")
    well = MeterWatch(dataclasses.replace(config, source=good), (), None, hears, "")

    async def both() -> None:
        ill.start()
        well.start()
        ends = time.monotonic() + PATIENCE_S
        while len(failing.openings) < 3 or hears.heard == 0:
            assert time.monotonic() < ends
            await asyncio.sleep(0.005)
        await ill.stop()
        await well.stop()

    asyncio.run(both())
    assert len(good.openings) == 1


def test_a_stopped_meter_has_let_go_of_its_source(config: MeterConfig) -> None:
    ended: list[bool] = []

    @dataclass(frozen=True)
    class Slow(Pushing):
        async def run(self, deliver: Deliver, opened: Opened) -> None:
            try:
                await super().run(deliver, opened)
            finally:
                await asyncio.sleep(0)
                ended.append(True)

    source = Slow(())
    watch = MeterWatch(dataclasses.replace(config, source=source), (), None, Fails(), "")
    run(watch, lambda: bool(source.openings))
    assert ended == [True]


def test_a_longer_hold_time_holds_at_once(
    config: MeterConfig, telegrams: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    short = dataclasses.replace(config, source=Pushing(telegrams[:1]), hold_s=0.05)
    watch = MeterWatch(short, (), None, Fails(), "")

    def is_stale() -> bool:
        return watch.meter.freshness.state(time.monotonic()) is State.STALE

    run(watch, is_stale)
    watch.change(dataclasses.replace(short, hold_s=3600.0), "")
    assert not is_stale()
    assert watch.status(time.monotonic())["hold_s"] == 3600.0


@pytest.mark.parametrize("turns", range(6))
def test_a_meter_stops_also_at_the_moment_when_its_hold_time_changes(
    config: MeterConfig, turns: int
) -> None:
    source = Pushing(())
    watch = MeterWatch(dataclasses.replace(config, source=source), (), None, Fails(), "")

    async def scenario() -> None:
        watch.start()
        for _ in range(10):  # until it waits
            await asyncio.sleep(0)
        watch.change(dataclasses.replace(watch.config, hold_s=3600.0), "")
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await watch.stop()

    asyncio.run(scenario())


def test_noise_that_looks_now_like_this_now_like_that_does_not_fill_the_log(
    config: MeterConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_watch, "FAULT_PAUSE_S", 3600.0)  # machines are slow
    noise = [*[bytes(1400)] * 5, *[b"\x68\xfa\xfa\x68" * 350] * 5] * 10
    source = Pushing(noise)
    watch = MeterWatch(dataclasses.replace(config, source=source), (), None, Fails(), "")
    run(watch, lambda: watch.status(time.monotonic())["bytes"] == sum(map(len, noise)))
    said = [text for text in caplog.messages if " fault at byte " not in text]
    assert len(said) > 1
    assert len(said) == len(set(said))
