"""The service in this process: a source that stumbles over a defect stumbles alone."""

import asyncio
import logging
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import meter_watch, service
from gateway.config import Config
from gateway.located import ConfigError
from gateway.meter import Meter
from gateway.service import Service
from gateway.sources import Source
from gateway.sources.source import Deliver, Opened
from gateway.telegram import Telegram

PATIENCE_S = 120.0
CONFIG = """\
state: state.json
meters:
  house: {source: "simulator:kaifa-ma309m?interval=20ms"}
  annex: {source: "simulator:kaifa-ma110m?interval=20ms"}
listeners: [{tcp: "127.0.0.1:0", any: {meter: house, map: obis_plain}}]
"""


class Stumbling:
    """A source with a defect; it counts how often it is tried."""

    is_lasting = False

    def __init__(self) -> None:
        self.tries = 0

    def describe(self) -> str:
        return "a source with a defect"

    def trouble(self) -> str | None:
        return None

    async def run(self, _deliver: Deliver, _opened: Opened) -> None:
        self.tries += 1
        raise ZeroDivisionError("nobody thought of that")


class Lasting:
    """A simulator that is taken for a meter which goes on counting."""

    is_lasting = True

    def __init__(self, source: Source) -> None:
        self._source = source
        self.describe, self.trouble, self.run = source.describe, source.trouble, source.run


class SlowToLeave:
    """A silent source that takes its time to let go."""

    is_lasting = False

    def __init__(self) -> None:
        self.leaves, self.may_leave = asyncio.Event(), asyncio.Event()

    def describe(self) -> str:
        return "a source that is slow to leave"

    def trouble(self) -> str | None:
        return None

    async def run(self, _deliver: Deliver, _opened: Opened) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.leaves.set()
            await self.may_leave.wait()


def run(config: Config, hear: Callable[[Meter, Telegram], bool]) -> None:
    """Run the service until `hear` has heard enough."""

    async def scenario() -> None:
        stop = asyncio.Event()

        def heard(meter: Meter, telegram: Telegram) -> None:
            if hear(meter, telegram):
                stop.set()

        running = Service(config, heard)
        await running.listen()
        await running.run(stop)

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


def test_a_source_with_a_defect_is_said_and_tried_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(meter_watch, "DEFECT_PAUSE_S", 0.01)
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = Config.read(tmp_path / "config.yaml")
    source = Stumbling()
    house = replace(config.meters["house"], source=source)
    heard: list[str] = []

    def hear(meter: Meter, telegram: Telegram) -> bool:
        heard.append(meter.name)
        return len(heard) >= 5 and source.tries >= 3

    with caplog.at_level(logging.WARNING):
        run(replace(config, meters={**config.meters, "house": house}), hear)
    assert set(heard) == {"annex"}
    (first, *_) = (r for r in caplog.records if "the program failed" in r.getMessage())
    assert first.getMessage().startswith(
        "house: the program failed at this meter (ZeroDivisionError"
    )
    assert first.exc_info
    assert "nobody thought of that" in caplog.text


def test_a_hundred_meters_are_read_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = Config.read(tmp_path / "config.yaml")
    annex = config.meters["annex"]
    meters = {f"flat {n}": replace(annex, name=f"flat {n}") for n in range(100)}
    heard: set[str] = set()

    def hear(meter: Meter, telegram: Telegram) -> bool:
        heard.add(meter.name)
        return len(heard) == len(meters) + 1

    run(replace(config, meters={"house": config.meters["house"], **meters}), hear)
    assert heard == {"house", *meters}


def test_a_disk_that_hangs_keeps_no_client_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = Config.read(tmp_path / "config.yaml")
    house = replace(config.meters["house"], source=Lasting(config.meters["house"].source))
    asked, answers = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        asked.set()
        assert answers.wait(PATIENCE_S)

    monkeypatch.setattr(os, "fsync", hang)
    monkeypatch.setattr(service, "STATE_INTERVAL_S", 0.05)
    heard_meanwhile = 0

    def hear(meter: Meter, telegram: Telegram) -> bool:
        nonlocal heard_meanwhile
        heard_meanwhile += asked.is_set()
        if heard_meanwhile >= 5:
            answers.set()
        return heard_meanwhile >= 5

    run(replace(config, meters={"house": house}), hear)


def test_two_gateways_do_not_share_a_state(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "other.yaml").write_text(CONFIG)

    async def scenario() -> None:
        first, second = (
            Service(Config.read(tmp_path / name), lambda *_: None)
            for name in ("config.yaml", "other.yaml")
        )
        await first.listen()
        with pytest.raises(ConfigError, match=r"state\.json is another gateway's, which runs"):
            await second.listen()
        stop = asyncio.Event()
        stop.set()
        await first.run(stop)
        await second.listen()
        await second.run(stop)

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


async def power_of(port: int, unit: int) -> bytes:
    """The reply PDU to a read of the total power in the plain table."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack(">HHHBBHH", 1, 0, 6, unit, 3, 4, 2))
    header = await reader.readexactly(7)
    reply = await reader.readexactly(int.from_bytes(header[4:6], "big") - 1)
    writer.close()
    await writer.wait_closed()
    return reply


def test_a_virtual_meter_has_its_values_all_through_a_reload(tmp_path: Path) -> None:
    """Else its registers would be shown as not available, with no exception that says why."""
    virtual = CONFIG.replace("listeners", "  site: {sum: [house, annex]}\nlisteners").replace(
        "any: {meter: house, map: obis_plain}", "any: {meter: site, map: obis_plain}"
    )
    # With their next telegram the values would be there anyway.
    (tmp_path / "config.yaml").write_text(virtual.replace("20ms", "1h"))
    config = Config.read(tmp_path / "config.yaml")
    leaving = SlowToLeave()
    gone = replace(config.meters["house"], name="gone", source=leaving)

    async def scenario() -> None:
        stop, both = asyncio.Event(), asyncio.Event()
        heard: set[str] = set()

        def hear(meter: Meter, _: Telegram) -> None:
            heard.add(meter.name)
            if len(heard) == 2:
                both.set()

        running = Service(replace(config, meters={**config.meters, "gone": gone}), hear)
        (bound,) = await running.listen()
        assert bound.port
        ending = asyncio.create_task(running.run(stop))
        await both.wait()
        assert (await power_of(bound.port, 1))[0] == 3
        reloading = asyncio.create_task(running.reload())
        await leaving.leaves.wait()
        reply = await power_of(bound.port, 1)
        leaving.may_leave.set()
        await reloading
        stop.set()
        await ending
        assert reply[:2] == b"\x03\x04"
        assert reply[2:] != b"\x80\0\0\0", "not available"

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
