"""Complaints about clients."""

import logging

import pytest

from gateway.modbus import access
from gateway.modbus.access import Access


def test_a_complaint_is_said_once_and_few_are_remembered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_SAID", 2)
    door = Access()
    with caplog.at_level(logging.WARNING, "gateway"):
        for text in ("one", "one", "two", "one", "three", "one"):
            door.say_once(text)
    assert caplog.messages == ["one", "two", "three", "one"]
