"""A loop that stands still is said, with the place where."""

import asyncio
import linecache
import logging
import threading
import time

import pytest

from gateway.stalls import Pulse, watched

PATIENCE_S = 30.0


class Said(logging.Handler):
    """Sets an event with the first warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.event = threading.Event()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.event.set()


@pytest.fixture
def said() -> Said:
    handler = Said()
    logger = logging.getLogger("gateway.stalls")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def stand_still_until_said(said: Said) -> None:
    assert said.event.wait(PATIENCE_S), "nobody noticed"
    said.event.clear()


def test_a_blocked_loop_is_said_while_it_is_blocked_with_the_stack(said: Said) -> None:
    async def scenario() -> None:
        with watched(asyncio.get_running_loop(), Pulse()):
            asyncio.get_running_loop().call_soon(stand_still_until_said, said)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(scenario())
    (text,) = said.texts
    assert text.startswith("nothing was served for 0.")
    assert "stand_still_until_said" in text
    assert "nobody noticed" in text, "the line of code"
    assert not linecache.cache, "a gateway that runs for years keeps no sources"


def half_a_second(times: int = 1) -> None:
    time.sleep(0.5 * times)


def test_a_loop_that_stands_still_for_half_a_second_is_said(said: Said) -> None:
    async def scenario() -> None:
        with watched(asyncio.get_running_loop(), Pulse()):
            for _ in range(20):  # the watching thread, too, may get no turn on a busy machine
                asyncio.get_running_loop().call_soon(half_a_second)
                await asyncio.sleep(0.2)
                if said.event.is_set():
                    break

    asyncio.run(scenario())
    (text,) = said.texts
    assert text.startswith("nothing was served for 0.")
    assert "in half_a_second" in text


def test_a_loop_that_goes_on_is_no_news_and_the_watch_ends_with_its_block(said: Said) -> None:
    async def scenario() -> None:
        threads = threading.active_count()
        with watched(asyncio.get_running_loop(), Pulse()):
            assert threading.active_count() == threads + 1
            await asyncio.sleep(0.3)
        assert threading.active_count() == threads

    asyncio.run(scenario())
    assert said.texts == []


def test_it_is_known_how_long_the_loop_stood_still_and_soon_forgotten() -> None:
    async def scenario() -> None:
        pulse = Pulse()
        assert pulse.stood_still_s(time.monotonic()) == 0.0, "it has not begun"
        with watched(asyncio.get_running_loop(), pulse):
            assert pulse.stood_still_s(time.monotonic()) == 0.0
            began = pulse.beaten
            half_a_second()
            assert pulse.stood_still_s(time.monotonic()) >= 0.5, "before the next beat"
            while pulse.beaten == began:  # noqa: ASYNC110 (nothing tells it)
                await asyncio.sleep(0)
            assert pulse.stood_still_s(pulse.beaten) >= 0.5, "what came meanwhile is read now"
            assert pulse.stood_still_s(pulse.beaten, pulse.beaten + 0.001) == 0.0, "opened since"
            async with asyncio.timeout(PATIENCE_S):  # until it is forgotten
                while pulse.stood_still_s(time.monotonic()):  # noqa: ASYNC110 (nothing tells it)
                    await asyncio.sleep(0.05)
        assert pulse.stood_still_s(time.monotonic() + 10.0) == 0.0, "it has ended"

    asyncio.run(scenario())


def test_a_long_pause_is_not_forgotten_while_what_came_in_it_is_read_slowly() -> None:
    """A thousand meters have so much to read that the loop stands still once more, and again."""

    async def scenario() -> None:
        pulse = Pulse()
        with watched(asyncio.get_running_loop(), pulse):
            half_a_second(times=3)
            for _ in range(3):
                began = pulse.beaten
                while pulse.beaten == began:  # noqa: ASYNC110 (nothing tells it)
                    await asyncio.sleep(0)
                half_a_second()
                assert pulse.stood_still_s(time.monotonic()) >= 1.5

    asyncio.run(scenario())
