"""What the tests with real sockets and terminals need around them."""

import gc
import sys
from collections.abc import Iterator

import pytest

from . import served


@pytest.fixture(scope="module")
def quick_collections() -> Iterator[None]:
    """Let the collections after each test look at what is new only."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=served.LOOPS)
def each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let `run` run the test's scenario on asyncio's own loop and on uvloop."""
    monkeypatch.setattr(served, "new_loop", served.LOOPS[request.param])
    return str(request.param)


@pytest.fixture
def nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test after which a socket or transport was still open (a ResourceWarning)."""
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: left.append(str(problem.exc_value)))
    yield
    gc.collect()
    assert left == []
