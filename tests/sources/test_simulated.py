"""The simulator as a source: its telegrams decode, and a seed makes them repeatable."""

import asyncio

import pytest

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY
from gateway.sources import SourceAddress
from gateway.sources.simulated import SimulatorSource, push_on_time
from gateway.telegram import Decoder, Fault, Key, Security, Telegram

KEY, AUTH_KEY = Key(bytes(range(16))), Key(bytes(range(0xD0, 0xE0)))
PATIENCE_S = 30.0


def source(text: str, auth_key: Key | None = None) -> SimulatorSource:
    return SimulatorSource.parse(SourceAddress.parse(text), KEY, auth_key)


def pushed(simulator: SimulatorSource, count: int) -> list[bytes]:
    """Run a source until it has delivered `count` chunks."""
    chunks: list[bytes] = []

    async def scenario() -> None:
        enough = asyncio.Event()

        def deliver(chunk: bytes) -> None:
            chunks.append(chunk)
            if len(chunks) == count:
                enough.set()

        running = asyncio.create_task(simulator.run(deliver, lambda: None))
        await enough.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    return chunks[:count]


def decoded(chunks: list[bytes], auth_key: Key | None = None) -> list[Telegram | Fault]:
    decoder = Decoder(KEY, auth_key)
    items = [item for chunk in chunks for item in decoder.feed(chunk, 0.0)]
    return items + decoder.finish()


@pytest.mark.parametrize("model", MODELS)
def test_the_telegrams_decode(model: str) -> None:
    telegrams = decoded(pushed(source(f"simulator:{model}?interval=1ms"), 5))
    assert [type(item) for item in telegrams] == [Telegram] * 5
    counters = [item.invocation_counter for item in telegrams if isinstance(item, Telegram)]
    assert counters == list(range(counters[0], counters[0] + 5))


AUTHENTICATED = [name for name, model in MODELS.items() if model.authenticated]


def test_the_landis_gyr_meters_with_a_tag_authenticate() -> None:
    assert AUTHENTICATED == ["lg-e450-burgenland", "lg-e450-gbt", "lg-e570"]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_with_tags_makes_them_without_being_given_a_key(model: str) -> None:
    chunks = pushed(source(f"simulator:{model}?interval=1ms"), 2)
    plain = [item.security for item in decoded(chunks) if isinstance(item, Telegram)]
    items = decoded(chunks, Key(SIMULATED_AUTH_KEY))
    verified = [item.security for item in items if isinstance(item, Telegram)]
    if model in AUTHENTICATED:
        assert plain == [Security.UNAUTHENTICATED] * 2
        assert verified == [Security.AUTHENTICATED] * 2
    else:
        assert plain == [Security.ENCRYPTED] * 2
        assert verified == [], "who has an authentication key takes nothing without a tag"


@pytest.mark.parametrize("model", MODELS)
def test_with_an_authentication_key_every_models_tag_verifies(model: str) -> None:
    (telegram,) = decoded(pushed(source(f"simulator:{model}", AUTH_KEY), 1), AUTH_KEY)
    assert isinstance(telegram, Telegram)
    assert telegram.security is Security.AUTHENTICATED


def test_with_an_authentication_key_the_tag_verifies() -> None:
    chunks = pushed(source("simulator:kaifa-ma309m?interval=1ms", AUTH_KEY), 2)
    securities = [item.security for item in decoded(chunks, AUTH_KEY) if isinstance(item, Telegram)]
    assert securities == [Security.AUTHENTICATED] * 2


def test_the_same_seed_gives_the_same_telegrams() -> None:
    one, other = (pushed(source("simulator:honeywell?interval=1ms&seed=3"), 5) for _ in range(2))
    assert one == other
    assert one != pushed(source("simulator:honeywell?interval=1ms&seed=4"), 5)


def test_with_a_seed_the_telegrams_do_not_depend_on_the_day() -> None:
    (first,) = decoded(pushed(source("simulator:kaifa-ma309m?seed=1"), 1))
    assert isinstance(first, Telegram)
    assert first.clock is not None
    assert first.clock.isoformat() == "2026-06-21T13:00:00+02:00"


def test_without_a_seed_each_run_is_another_meter() -> None:
    one, other = (decoded(pushed(source("simulator:kaifa-ma309m"), 1)) for _ in range(2))
    assert isinstance(one[0], Telegram)
    assert isinstance(other[0], Telegram)
    assert one[0].meter != other[0].meter


def test_the_meters_clock_moves_by_the_interval() -> None:
    meter = source("simulator:kaifa-ma309m?seed=1&interval=10s").meter()
    clocks = [meter.push().clock for _ in range(3)]
    assert [(later - clocks[0]).total_seconds() for later in clocks] == [0, 10, 20]


def test_a_counted_run_ends() -> None:
    meter = source("simulator:kaifa-ma309m?seed=1").meter()
    chunks: list[bytes] = []
    asyncio.run(asyncio.wait_for(push_on_time(meter, 0.001, chunks.append, 3), PATIENCE_S))
    assert len(chunks) == 3


def test_telegrams_are_due_a_whole_interval_apart_however_long_one_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    due: list[float] = []
    real_sleep = asyncio.sleep

    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        start = clock()

        async def sleep(seconds: float) -> None:
            due.append(clock() + seconds - start)
            await real_sleep(0)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        meter = source("simulator:kaifa-ma309m?seed=1").meter()
        await push_on_time(meter, 5.0, lambda _: None, 4)

    asyncio.run(scenario())
    assert [late - due[0] for late in due] == pytest.approx([0, 5, 10, 15], abs=0.5)


def test_a_simulator_is_never_in_trouble() -> None:
    assert source("simulator:kaifa-ma309m").trouble() is None
