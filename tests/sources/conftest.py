"""What the tests of sources share."""

import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from gateway.sources import source
from tests.sources.ear import PATIENCE_S


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, or nearly so."""
    monkeypatch.setattr(source, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(source, "LONGEST_RETRY_S", 0.05)


@pytest.fixture
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[str]]:
    """More names than a loop has threads; the name server does not answer for them."""
    names = [f"adapter{number}.silent" for number in range(40)]
    is_over, ask = threading.Event(), socket.getaddrinfo

    def silent(host: str, *asked: Any, **options: Any) -> Any:
        if host in names:
            is_over.wait(PATIENCE_S)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return ask(host, *asked, **options)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield names
    is_over.set()
