"""Telegrams: hand-built ones, and those of simulated meters as the decoder reads them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from gateway.simulator import SimulatedMeter
from gateway.simulator.meters import Push
from gateway.telegram import Decoder, Key, Security, Telegram
from gateway.telegram.listing import Readings

KEY = bytes(range(16))
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)

Number = int | float | str | datetime


@pytest.fixture(scope="session")
def telegram(readings_of: Callable[..., Readings]) -> Callable[..., Telegram]:
    """Build a telegram from values by OBIS code: telegram({"1-0:1.7.0": 230})."""

    def build(values: Mapping[str, Number], received: float = 0.0) -> Telegram:
        return Telegram(
            meter=bytes.fromhex("4b464d1020000001"),
            invocation_counter=1,
            security=Security.ENCRYPTED,
            clock=None,
            clock_status=None,
            readings=readings_of(values),
            received=received,
        )

    return build


@pytest.fixture(scope="session")
def pushed() -> Callable[[str], tuple[Push, Telegram]]:
    """Let a simulated meter push once; return what it says of itself and what was decoded."""

    def push(model: str) -> tuple[Push, Telegram]:
        meter = SimulatedMeter(model, KEY, seed=7, start=START)
        sent = meter.push()
        (telegram,) = Decoder(Key(KEY)).feed(sent.telegram, 12.5)
        assert isinstance(telegram, Telegram)
        return sent, telegram

    return push
