"""Who asked what: counted from the bytes of a connection, bounded, each thing in vain said once."""

import logging
import random
import struct
from collections import Counter

import pytest

from gateway.modbus import clients as module
from gateway.modbus.access import FIRST_WINDOW_S, LINES_OF_ONE, Complaints, Kind
from gateway.modbus.clients import Asking, Client, Clients, Overhearing, Range
from gateway.modbus.responder import Conversation, Responder
from gateway.modbus.rtu import RtuConversation, sealed
from gateway.modbus.unit import Unit
from gateway.registers import RegisterMap

from .served import GOT_0, MAP, READ_0, meter, responder

MINE = "10.0.0.7"


class Told:
    """Clients of the test's responder, and what was told of them."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.served = responder()
        self.clients = Clients(self.served, self._hear)

    def _hear(self, _: str, text: str) -> bool:
        self.news.append(text)
        return True

    def client(self, address: str = MINE) -> Client:
        return self.clients.of(address)

    def units(self, now: float = 0.0) -> dict[int, Asking]:
        return {each.unit: each for each in self.clients.seen(now)}

    def ask(self, unit: int, pdu: bytes, now: float = 0.0, address: str = MINE) -> None:
        reply = self.served.answer(unit, pdu, now)
        self.clients.of(address).count(unit, pdu, reply, now)


def read(first: int, count: int = 1, function: int = 3) -> bytes:
    return struct.pack(">BHH", function, first, count)


def frame(unit: int, pdu: bytes, transaction: int = 0) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


# --- what is counted ------------------------------------------------------------------------


def test_requests_ranges_exceptions_and_times_are_plain_values_by_unit() -> None:
    told = Told()
    client = told.client()
    client.connected(1.0)
    client.connected(3.0)
    for now, unit, pdu in (
        (4.0, 1, read(0)),
        (5.0, 1, read(0)),
        (6.0, 1, read(0, 2, function=4)),
        (7.0, 1, read(0, 126)),
        (8.0, 1, b"\x07"),
        (9.0, 2, read(1, 2)),
    ):
        told.ask(unit, pdu, now)
    assert told.units(10.0) == {
        1: Asking(
            address=MINE,
            unit=1,
            connections=2,
            connected_s=9.0,
            requests=5,
            exceptions={3: 1, 1: 1},
            refused={3: 1, 1: 1},
            ranges=[Range(3, 0, 1, 2), Range(4, 0, 2, 1), Range(3, 0, 126, 1)],
            idle_s=2.0,
        ),
        2: Asking(MINE, 2, 2, 9.0, 1, {0x0B: 1}, {0x0B: 1}, [Range(3, 1, 2, 1)], 1.0),
    }
    told.ask(1, read(0), 10.0)
    assert (told.units()[1].exceptions, told.units()[1].refused) == ({3: 1, 1: 1}, {})
    client.gone(1.0)
    assert told.units(10.0)[1].connected_s == 7.0
    client.gone(3.0)
    assert told.units(10.0)[1].connected_s is None


def test_a_client_that_comes_again_is_the_same_client() -> None:
    told = Told()
    for now in range(5):
        client = told.client()
        client.connected(now)
        told.ask(1, READ_0, now)
        client.gone(now)
    assert told.units()[1].requests == 5


# --- from the bytes of a connection ---------------------------------------------------------

REQUESTS = [
    (1, read(0)),
    (1, read(1, 2)),
    (1, read(100, 125)),
    (1, read(0, 2, function=4)),
    (1, read(5)),
    (1, read(0, 0)),
    (1, read(0, 256)),
    (2, read(1, 2)),
    (2, read(0)),
    (99, read(0)),
    (1, b"\x06\x00\x00\x00\x01"),
    (1, b"\x11"),
    (1, b"\x2b\x0e\x01\x00"),
    (1, b"\x03\x00"),
    (1, bytes([0x10, 0, 0, 0, 123, 246]) + bytes(246)),
]


def expected(requests: list[tuple[int, bytes]]) -> dict[int, tuple[int, Counter[int]]]:
    """Requests and exceptions by unit, as the responder's own replies have them."""
    found: dict[int, tuple[int, Counter[int]]] = {}
    for unit, pdu in requests:
        reply = responder().answer(unit, pdu, 0.0)
        number, exceptions = found.get(unit, (0, Counter()))
        if reply and reply[0] & 0x80:
            exceptions[reply[1]] += 1
        found[unit] = number + 1, exceptions
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("chunks", ["one", "bytes", "random", "frames"])
def test_however_the_stream_is_cut_each_request_is_counted_once(chunks: str, seed: int) -> None:
    dice = random.Random(seed)
    requests = dice.choices(REQUESTS, k=200)
    if seed == 0:
        requests = dice.choices(REQUESTS[:4], k=200)  # whole reads, all answered
    frames = [frame(unit, pdu, dice.choice((0, n))) for n, (unit, pdu) in enumerate(requests)]
    stream = b"".join(frames)
    cuts = {
        "one": [len(stream)],
        "bytes": [1] * len(stream),
        "random": dice.choices(range(1, 300), k=len(stream)),
        "frames": [len(each) for each in frames],
    }[chunks]
    told = Told()
    conversation = Conversation(told.served, told.client())
    at = 0
    for size in cuts:
        chunk, at = stream[at : at + size], at + size
        conversation.receive(chunk, 0.0)
    assert {
        unit: (each.requests, each.exceptions) for unit, each in told.units().items()
    } == expected(requests)
    reads = Counter((unit, pdu) for unit, pdu in requests if len(pdu) == 5 and pdu[0] in (3, 4))
    assert {
        (unit, read(r.first, r.count, r.function)): r.times
        for unit, each in told.units().items()
        for r in each.ranges
    } == reads


def test_a_known_reply_ends_the_refusals_before_it_as_any_other_does() -> None:
    told = Told()
    conversation = Conversation(told.served, told.client())
    good, vain = frame(1, READ_0), frame(1, read(5))
    for _ in range(2):
        conversation.receive(good + vain, 0.0)
        assert told.units()[1].refused == {2: 1}
    conversation.receive(good, 0.0)
    assert told.units()[1].refused == {}
    assert (told.units()[1].requests, told.units()[1].exceptions) == (5, {2: 2})


def test_a_request_is_begun_from_its_first_byte_until_it_is_whole() -> None:
    conversation = Conversation(Told().served)
    whole = frame(1, READ_0)
    for _ in range(2):  # the second time its reply is known
        assert conversation.receive(whole, 1.0) == frame(1, GOT_0)
        assert conversation.begun is None
    for now, octet in enumerate(whole[:-1], 2):
        assert conversation.receive(bytes([octet]), now) == b""
        assert conversation.begun == 2
    assert conversation.receive(whole[-1:], 20.0) == frame(1, GOT_0)
    assert conversation.begun is None
    conversation.receive(whole + whole[:3], 21.0)
    assert conversation.begun == 21.0
    conversation.receive(whole[3:] + whole[:3], 25.0)
    assert conversation.begun == 25.0, "another one"


def test_any_bytes_are_counted_without_an_exception() -> None:
    dice = random.Random(5)
    told = Told()
    for _ in range(2000):
        conversation = Conversation(told.served, told.client())
        for _ in range(4):
            chunk = dice.randbytes(dice.choice((1, 2, 7, 12, 24, 60)))
            if dice.random() < 0.5:
                chunk = frame(dice.choice((1, 2, 99)), chunk)
            conversation.receive(chunk, 0.0)
            if conversation.is_broken:
                break


def test_on_a_bus_only_what_is_ours_is_counted() -> None:
    told = Told()
    bus = RtuConversation(Overhearing(told.served, told.client()))
    for unit in (1, 99, 1):
        bus.receive(sealed(bytes([unit]) + READ_0), 0.0)
    (seen,) = told.units().values()
    assert (seen.unit, seen.requests, seen.ranges) == (1, 2, [Range(3, 0, 1, 2)])


def test_on_a_bus_any_bytes_may_come_at_any_pace() -> None:
    bus = RtuConversation(Overhearing(Told().served, Told().client()))
    assert bus.receive(b"\x01", 7.0) == b""
    assert bus.begun is None


# --- what is asked in vain ------------------------------------------------------------------


def test_addresses_that_no_map_serves_are_said_once_a_unit_and_block() -> None:
    told = Told()
    for _ in range(3):
        for first in (1706, 1710, 1799, 1800):
            told.ask(1, read(first))
    told.ask(2, read(1706))
    told.ask(1, read(1706), address="10.0.0.8")
    assert told.news == [
        "10.0.0.7 asks unit 1 for 1706, which no map serves (function 3, 1 register)",
        "10.0.0.7 asks unit 1 for 1800, which no map serves (function 3, 1 register)",
        "10.0.0.7 asks unit 2 for 1706, which no map serves (function 3, 1 register)",
        "10.0.0.8 asks unit 1 for 1706, which no map serves (function 3, 1 register)",
    ]


def test_a_read_over_the_edge_of_a_map_is_told_from_one_outside() -> None:
    told = Told()
    told.ask(1, read(3, 10, function=4))
    told.ask(2, read(1706, 2, function=4))
    assert told.news == [
        "10.0.0.7 asks unit 1 for 3 to 12, which no map serves in one (function 4, 10 registers)",
        "10.0.0.7 asks unit 2 for 1706, which no map serves (function 4, 2 registers)",
    ]


def test_a_unit_that_is_not_served_is_said_once_and_a_silent_meter_is_not() -> None:
    told = Told()
    for _ in range(3):
        told.ask(9, READ_0)
        told.ask(2, read(1, 2))
    assert told.news == ["10.0.0.7 asks for unit 9, which is not served here"]


def test_what_could_not_be_said_is_told_again_until_it_is() -> None:
    told = Told()
    answers = [False, False, True]
    asked: list[str] = []

    def tell(_: str, text: str) -> bool:
        asked.append(text)
        return answers[len(asked) - 1]

    client = Clients(told.served, tell).of(MINE)
    for now in range(5):
        client.count(1, read(1706), told.served.answer(1, read(1706), now), now)
    (text,) = set(asked)
    assert text.startswith("10.0.0.7 asks unit 1 for 1706, ")
    assert len(asked) == 3, "once it was said, never again"


def test_a_scanner_does_not_hide_what_another_client_asks_in_vain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "gateway")
    complaints, now = Complaints(), 0.0

    def tell(host: str, text: str) -> bool:
        return complaints.say(Kind.UNSERVED, host, text, now)

    told = Told()
    clients = Clients(told.served, tell)

    def ask(address: str, unit: int, pdu: bytes) -> None:
        reply = told.served.answer(unit, pdu, now)
        clients.of(address).count(unit, pdu, reply, now)

    for scanner in range(5, 8):
        for unit in range(10, 30):
            ask(f"127.0.0.{scanner}", unit, READ_0)
    wanted = "127.0.0.9 asks unit 1 for 1706, which no map serves (function 3, 1 register)"
    while now < FIRST_WINDOW_S:
        ask("127.0.0.9", 1, read(1706))
        assert wanted not in caplog.messages, "two scanners have used up the lines of this minute"
        now += 1.0
    for _ in range(5):
        ask("127.0.0.9", 1, read(1706))
        now += 1.0
    assert caplog.messages.count(wanted) == 1
    assert sum("127.0.0.5 asks" in each for each in caplog.messages) == LINES_OF_ONE


def test_a_client_that_looks_for_its_unit_is_seen_and_heard_when_it_has_found_it() -> None:
    told = Told()
    for unit in (*range(3, 253), 1):
        told.ask(unit, read(1000), now=1.0)
    for now in range(2, 100):
        told.ask(1, READ_0, now)
        told.ask(1, read(1706), now)
    seen = told.units(100.0)
    assert len(seen) == module.MAX_UNITS
    assert seen[1].requests == 1 + 2 * 98
    assert Range(3, 0, 1, 98) in seen[1].ranges
    assert sum("for 1706" in each for each in told.news) == 1
    told.ask(7, READ_0, 100.0)
    assert 1 in told.units(), "the unserved ones make room for each other"


def test_of_many_served_units_the_one_that_was_asked_last_long_ago_is_forgotten() -> None:
    served = Responder({}, any_unit=Unit(RegisterMap.parse(MAP, "test.yaml"), meter()))
    clients = Clients(served, lambda *_: True)
    client = clients.of(MINE)
    for now, unit in enumerate((*range(module.MAX_UNITS), 0, module.MAX_UNITS)):
        client.count(unit, READ_0, served.answer(unit, READ_0, now), now)
    units = [each.unit for each in clients.seen(0.0)]
    assert units == [0, *range(2, module.MAX_UNITS + 1)]


def test_a_range_that_is_asked_once_makes_room_after_a_minute_and_stays_counted() -> None:
    told = Told()
    for first in range(module.MAX_RANGES):
        told.ask(1, read(1000 + first), now=1.0)
    for now in (2.0, 1.0 + module.FORGOTTEN_S, 80.0, 81.0):
        told.ask(1, READ_0, now)
    seen = told.units(81.0)[1]
    assert Range(3, 0, 1, 2) in seen.ranges
    assert len(seen.ranges) == module.MAX_RANGES
    assert seen.requests == module.MAX_RANGES + 4


# --- bounds ---------------------------------------------------------------------------------


def test_a_client_that_asks_everything_is_counted_and_takes_little() -> None:
    told = Told()
    client = told.client()
    conversation = Conversation(told.served, client)
    number = 0
    for unit in (1, 2, *range(100, 200)):
        for first in range(0, 65536, 500):
            chunk = frame(unit, read(first, 2))
            conversation.receive(chunk, 0.0)
            number += 1
    seen = told.units()
    assert len(client.asked) == module.MAX_RANGES
    assert len(seen) == module.MAX_UNITS
    assert len(client._news) == module.MAX_NEWS
    assert seen[1].requests == seen[2].requests == 132, "also what is not told apart"


def test_who_was_silent_longest_is_forgotten_for_a_new_client_but_nobody_connected() -> None:
    told = Told()
    told.client("10.9.9.9").connected(0.0)
    for number in range(3 * module.MAX_CLIENTS):
        told.ask(1, READ_0, number, f"10.0.{number >> 8}.{number & 255}")
    known = {each.address for each in told.clients.seen(0.0)}
    assert len(known) == module.MAX_CLIENTS - 1
    assert f"10.0.{299 >> 8}.{299 & 255}" in known
    assert "10.0.0.0" not in known
    told.ask(1, READ_0, 1000.0, "10.9.9.9")
    assert "10.9.9.9" in {each.address for each in told.clients.seen(0.0)}


def test_who_asks_or_hangs_up_late_is_not_taken_for_silent() -> None:
    told = Told()
    visitor = told.client("10.9.9.9")
    visitor.connected(0.0)
    asker = told.client("10.9.9.8")
    for number in range(3 * module.MAX_CLIENTS):
        told.client(f"10.0.{number >> 8}.{number & 255}")
        assert told.client("10.9.9.8") is asker
    visitor.gone(0.0)
    for number in range(module.MAX_CLIENTS - 1):
        told.client(f"10.1.0.{number}")
    assert told.client("10.9.9.9") is visitor
    assert told.client("10.9.9.8") is not asker, "by now it was silent longest"


def test_what_it_takes_to_forget_a_client_does_not_grow_with_what_the_others_asked() -> None:
    told = Told()
    for number in range(module.MAX_CLIENTS):
        for first in range(module.MAX_RANGES):
            told.ask(1, read(first % 5), 0.0, f"10.0.0.{number}")
    looked = 0

    class Watched(module.Client):
        @property
        def connections(self) -> int:
            nonlocal looked
            looked += 1
            return super().connections

    for each in list(told.clients._clients.values()):
        each.__class__ = Watched
    for number in range(50):
        told.ask(1, READ_0, 1.0, f"10.1.0.{number}")
    assert looked == 50, "only at the one that is forgotten"
