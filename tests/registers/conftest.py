"""Snapshots for the register tests: hand-built ones and that of a simulated meter."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from gateway.simulator import SimulatedMeter
from gateway.snapshot import Snapshot
from gateway.telegram import Decoder, Key, Security, Telegram
from gateway.telegram.listing import Readings

KEY = bytes(range(16))
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)

Number = int | float | str | datetime


@pytest.fixture(scope="session")
def snapshot(
    readings_of: Callable[..., Readings],
) -> Callable[[Mapping[str, Number]], Snapshot]:
    """Build a snapshot from readings by OBIS code: snapshot({"1-0:1.7.0": 230})."""

    def build(readings: Mapping[str, Number]) -> Snapshot:
        telegram = Telegram(
            meter=bytes.fromhex("4b464d1020000001"),
            invocation_counter=1,
            security=Security.ENCRYPTED,
            clock=None,
            clock_status=None,
            readings=readings_of(readings),
            received=0.0,
        )
        return Snapshot.of(telegram)

    return build


@pytest.fixture(scope="session")
def pushed() -> Callable[[str], Snapshot]:
    """Return the snapshot of what a simulated meter pushes."""

    def push(model: str) -> Snapshot:
        meter = SimulatedMeter(model, KEY, seed=7, start=START)
        (telegram,) = Decoder(Key(KEY)).feed(meter.push().telegram, 0.0)
        assert isinstance(telegram, Telegram)
        return Snapshot.of(telegram)

    return push
