"""Who may connect, and complaints about clients: each once, a flood as a number."""

import logging
from ipaddress import ip_network

import pytest

from gateway.limits import Limits
from gateway.modbus import access
from gateway.modbus.access import Access, Complaints, Kind


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway")


def test_a_complaint_is_said_once_and_few_are_remembered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_SAID", 2)
    door = Access()
    for text in ("one", "one", "two", "one", "three", "one"):
        door.say(Kind.FOREIGN, "", text)
    assert caplog.messages == ["one", "two", "three", "one"]


# --- how many may be inside -----------------------------------------------------------------


def test_an_address_gets_its_connections_and_no_more_until_one_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    door = Access(limits=Limits(connections_per_address=2))
    assert door.enter("10.0.0.7")
    assert door.enter("10.0.0.7")
    assert not door.enter("10.0.0.7")
    assert door.enter("10.0.0.8"), "another address has its own"
    door.leave("10.0.0.7")
    assert door.enter("10.0.0.7")
    assert caplog.messages == [
        "10.0.0.7 has 2 connections, 'connections_per_address' allows no more"
    ]


def test_all_addresses_together_get_the_listeners_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    door = Access(limits=Limits(connections=2))
    assert door.enter("10.0.0.7")
    assert door.enter("10.0.0.8")
    assert not door.enter("10.0.0.9")
    door.leave("10.0.0.7")
    assert door.enter("10.0.0.9")
    assert caplog.messages == ["10.0.0.9 is refused: there are 2 'connections' already"]


def test_who_is_not_let_in_is_not_counted_in() -> None:
    door = Access([ip_network("10.0.0.7/32")], Limits(connections=1))
    for _ in range(3):
        assert not door.enter("10.0.0.8")
    assert door.enter("10.0.0.7")
    assert door.complaints.counts[Kind.REFUSED] == 3


# --- floods ---------------------------------------------------------------------------------


def test_a_hundred_thousand_complaints_are_a_few_lines_that_count_them_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints = Complaints()
    for number in range(100_000):  # a hundred a second
        host = f"10.0.0.{number % 3}"
        complaints.say(Kind.FOREIGN, host, f"{host} does not speak Modbus TCP", number / 100)
    complaints.finish(1000.0)
    lines = caplog.messages
    assert lines[:3] == [f"10.0.0.{n} does not speak Modbus TCP" for n in range(3)]
    assert len(lines) < 12
    left_out = sum(int(line.split()[0].replace(",", "")) for line in lines[3:])
    assert left_out + 3 == 100_000
    assert lines[3] == "5,997 more left out in 60 s: no Modbus, 1,999 of them from 10.0.0.0"
    assert complaints.counts[Kind.FOREIGN] == 100_000


def test_many_addresses_at_once_are_few_lines_too(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for number in range(10_000):
        complaints.say(Kind.FULL, f"10.0.{number >> 8}.{number & 255}", f"no {number}", 0.0)
    complaints.finish(1.0)
    assert len(caplog.messages) == access.LINES + 1
    assert caplog.messages[-1].startswith("9,990 more left out in 1 s: ")


def test_one_address_does_not_take_all_the_lines_and_who_is_left_out_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints = Complaints()
    told = [complaints.say(Kind.UNSERVED, "10.0.0.5", f"no {n}", 0.0) for n in range(20)]
    assert told == [True] * access.LINES_OF_ONE + [False] * (20 - access.LINES_OF_ONE)
    assert complaints.say(Kind.UNSERVED, "10.0.0.5", "no 0", 0.0), "it stands in the log"
    assert complaints.say(Kind.UNSERVED, "10.0.0.7", "no 1706", 0.0)
    assert caplog.messages[-1] == "no 1706"
    assert complaints.say(Kind.UNSERVED, "10.0.0.5", "no 19", 60.0), "in the next window"
    assert caplog.messages[-1] == "no 19"


def test_one_kind_of_flood_does_not_hide_another(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for number in range(1000):
        complaints.say(Kind.FOREIGN, "10.0.0.7", f"{number}", 0.0)
    complaints.say(Kind.SLOW, "10.0.0.7", "slow", 0.0)
    assert caplog.messages[-1] == "slow"


def test_what_was_left_out_is_summed_up_by_the_clock_when_the_flood_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints = Complaints()
    for _ in range(3):
        complaints.say(Kind.SLOW, "10.0.0.7", "slow", 0.0)
    complaints.tick(59.0)
    assert caplog.messages == ["slow"]
    assert complaints.are_pending
    complaints.tick(60.0)
    assert caplog.messages[1:] == [
        "2 more left out in 60 s: requests not finished in time, 2 of them from 10.0.0.7"
    ]
    assert not complaints.are_pending
    complaints.tick(600.0)
    assert len(caplog.messages) == 2


def test_a_lasting_flood_is_summed_up_less_and_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaints = Complaints()
    day_s = 24 * 3600
    for second in range(day_s):
        complaints.say(Kind.REFUSED, "10.0.0.7", "may not connect", second)
    assert 24 <= len(caplog.messages) <= 32


def test_after_an_hour_of_peace_the_same_is_news_again(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for now in (0.0, 5000.0):
        complaints.say(Kind.SLOW, "10.0.0.7", "slow", now)
    assert caplog.messages == ["slow", "slow"]
