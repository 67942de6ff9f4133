"""What the tests of sources share."""

import pytest

from gateway.sources import source


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, or nearly so."""
    monkeypatch.setattr(source, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(source, "LONGEST_RETRY_S", 0.05)
