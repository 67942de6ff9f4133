"""keep_running: a source that breaks is tried again, and the reason is said once."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import pytest

from gateway.sources import SourceError, keep_running, source
from gateway.sources.source import MOST_FLAPS, Deliver, Opened

PATIENCE_S = 30.0


class Step(Enum):
    """What a source may do besides delivering bytes and breaking."""

    OPEN = "open"
    END = "end"


OPEN, END = Step.OPEN, Step.END


@dataclass(frozen=True)
class OpenBut:
    """It opens and cannot do all."""

    caveat: str


@dataclass(frozen=True)
class Damaged:
    """Bytes of which some came damaged."""

    chunk: bytes
    indices: tuple[int, ...]


# Bytes are delivered, a text breaks the source.
Script = bytes | Damaged | str | Step | OpenBut


class Scripted:
    """A source that follows a script, over as many runs as that takes."""

    def __init__(self, *script: Script) -> None:
        self._script = list(script)

    def describe(self) -> str:
        return "scripted source"

    def trouble(self) -> str | None:
        return None

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        while (step := self._script.pop(0)) is not END:
            match step:
                case str():
                    raise SourceError(step)
                case bytes():
                    deliver(step)
                case Damaged():
                    deliver(step.chunk, step.indices)
                case OpenBut():
                    opened(step.caveat)
                case _:
                    opened()


def nowhere(chunk: bytes, damaged: Sequence[int] = ()) -> None:
    """Deliver to nobody."""


def kept(*script: Script) -> tuple[list[bytes], list[str]]:
    """Run a script to its END; return what was delivered and what was said."""
    chunks: list[bytes] = []
    said: list[str] = []

    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        chunks.append(chunk)

    running = keep_running(Scripted(*script), deliver, said.append)
    asyncio.run(asyncio.wait_for(running, PATIENCE_S))
    return chunks, said


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes time."""
    made: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        made.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


def test_at_the_end_of_a_source_it_returns(pauses: Sequence[float]) -> None:
    assert kept(b"a", b"b", END) == ([b"a", b"b"], [])
    assert pauses == []


def test_a_source_that_breaks_is_run_again(pauses: Sequence[float]) -> None:
    chunks, _ = kept(b"a", "gone", b"b", "gone", "gone", b"c", END)
    assert chunks == [b"a", b"b", b"c"]
    assert len(pauses) == 3


def test_a_cause_is_said_once(pauses: Sequence[float]) -> None:
    assert kept(*["no port"] * 10, END) == ([], ["no port; trying again"])


def test_another_cause_is_said_too(pauses: Sequence[float]) -> None:
    _, said = kept("no port", "no port", "no permission", "no permission", END)
    assert said == ["no port; trying again", "no permission; trying again"]


def test_causes_that_take_turns_are_each_said_once(pauses: Sequence[float]) -> None:
    # A loose plug: gone, missing, gone, missing …
    _, said = kept(*["gone", "missing"] * 5, END)
    assert said == ["gone; trying again", "missing; trying again"]


def test_after_bytes_a_cause_is_news_again(pauses: Sequence[float]) -> None:
    _, said = kept("gone", b"a", b"b", "gone", "gone", b"c", END)
    assert said == ["gone; trying again", "gone; trying again"]


def test_a_source_that_breaks_again_and_again_soon_after_its_bytes_is_no_news_any_more(
    pauses: Sequence[float],
) -> None:
    """As a ser2net whose port another reader has: it says so and closes."""
    chunks, said = kept(*[OPEN, b"Port already in use", "closed"] * 1000, END)
    assert len(chunks) == 1000
    assert said == ["scripted source is open", "closed; trying again"] * MOST_FLAPS + [
        "scripted source is open"
    ]


def test_a_source_that_lasts_and_breaks_is_news_each_time(
    pauses: Sequence[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LONGEST_RETRY_S", 0.0)
    _, said = kept(*[OPEN, b"a", "closed"] * 20, END)
    assert said == ["scripted source is open", "closed; trying again"] * 20


def test_what_came_damaged_is_passed_on(pauses: Sequence[float]) -> None:
    got: list[tuple[bytes, Sequence[int]]] = []

    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        got.append((chunk, damaged))

    source = Scripted(Damaged(b"abc", (0, 2)), b"d", END)
    asyncio.run(asyncio.wait_for(keep_running(source, deliver, lambda _: None), PATIENCE_S))
    assert got == [(b"abc", (0, 2)), (b"d", ())]


def test_that_a_source_is_open_is_said_once(pauses: Sequence[float]) -> None:
    _, said = kept(OPEN, b"a", OPEN, b"b", END)
    assert said == ["scripted source is open"]


def test_bytes_begin_anew_whenever_a_source_is_opened(pauses: Sequence[float]) -> None:
    heard: list[bytes] = []

    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        heard.append(chunk)

    source = Scripted(OPEN, b"a", OPEN, b"b", "gone", OPEN, b"c", END)
    running = keep_running(source, deliver, lambda _: None, lambda: heard.append(b"|"))
    asyncio.run(asyncio.wait_for(running, PATIENCE_S))
    assert heard == [b"|", b"a", b"|", b"b", b"|", b"c"]


def test_a_caveat_is_said_with_that_it_is_open_and_once(pauses: Sequence[float]) -> None:
    _, said = kept(OpenBut("it is deaf"), b"a", OpenBut("it is deaf"), b"b", END)
    assert said == ["scripted source is open, but it is deaf"]


def test_that_a_source_is_open_again_is_said_before_its_bytes_come(
    pauses: Sequence[float],
) -> None:
    heard: list[str | bytes] = []
    source = Scripted(OPEN, b"a", "gone", "gone", OPEN, b"b", END)

    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        heard.append(chunk)

    asyncio.run(asyncio.wait_for(keep_running(source, deliver, heard.append), PATIENCE_S))
    assert heard == [
        "scripted source is open",
        b"a",
        "gone; trying again",
        "scripted source is open",
        b"b",
    ]


def test_a_source_that_opens_and_breaks_without_a_byte_is_said_once(
    pauses: Sequence[float],
) -> None:
    _, said = kept(*[OPEN, "gone"] * 5, END)
    assert said[:2] == ["scripted source is open", "gone; trying again"]
    assert said.count("gone; trying again") == 1
    assert said.count("scripted source is open") <= 2  # before the first cause, and once after it


def test_nothing_is_said_of_bytes(pauses: Sequence[float]) -> None:
    assert kept(b"a", b"b", END) == ([b"a", b"b"], [])


def test_pauses_double_from_a_second_to_half_a_minute(pauses: Sequence[float]) -> None:
    kept(*["gone"] * 8, END)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_pauses_stay_short_while_it_shows_from_outside_what_is_missing(
    pauses: Sequence[float],
) -> None:
    source = Scripted(*["no port"] * 8, END)
    source.trouble = lambda: "no port"  # type: ignore[method-assign]
    asyncio.run(asyncio.wait_for(keep_running(source, nowhere, lambda _: None), PATIENCE_S))
    assert pauses == [1] * 8


def test_bytes_make_the_pauses_short_again(pauses: Sequence[float]) -> None:
    kept("gone", "gone", "gone", b"a", "gone", "gone", END)
    assert pauses == [1, 2, 4, 1, 2]


def test_an_exception_that_is_no_source_error_is_not_swallowed(pauses: Sequence[float]) -> None:
    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        raise LookupError(chunk)

    running = keep_running(Scripted(b"a", END), deliver, lambda _: None)
    with pytest.raises(LookupError):
        asyncio.run(asyncio.wait_for(running, PATIENCE_S))
    assert pauses == []


def test_cancelling_ends_a_pause() -> None:
    async def scenario() -> None:
        said = asyncio.Event()
        source = Scripted(*["gone"] * 3)
        running = asyncio.create_task(
            keep_running(source, nowhere, lambda _: said.set()),
        )
        await said.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


def test_a_source_that_is_slow_to_say_what_troubles_it_keeps_nobody_waiting() -> None:
    """As one whose name server is silent."""
    answered = threading.Event()

    class Slow(Scripted):
        def trouble(self) -> str | None:
            assert answered.wait(PATIENCE_S)
            return None

    async def scenario() -> None:
        source = Slow("it broke", END)
        running = asyncio.create_task(keep_running(source, lambda *_: None, lambda _: None))
        for _ in range(100):  # the loop goes on while it is asked
            await asyncio.sleep(0.001)
        assert not running.done()
        answered.set()
        await running

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
