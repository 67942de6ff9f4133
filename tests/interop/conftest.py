"""Real clients on real sockets."""

from collections.abc import Iterator

import pytest

from .served import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
