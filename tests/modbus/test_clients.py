"""Who asked what: counted from the bytes of a connection, bounded, each thing in vain said once."""

import random
import struct
from collections import Counter

import pytest

from gateway.modbus import clients as module
from gateway.modbus.clients import Asking, Client, Clients, Overhearing, Range
from gateway.modbus.responder import Conversation
from gateway.modbus.rtu import RtuConversation, sealed

from .served import GOT_0, READ_0, responder

MINE = "10.0.0.7"


class Told:
    """Clients of the test's responder, and what was told of them."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.served = responder()
        self.clients = Clients(self.served, lambda _, text: self.news.append(text))

    def client(self, address: str = MINE) -> Client:
        return self.clients.of(address, 0.0)

    def units(self, now: float = 0.0) -> dict[int, Asking]:
        return {each.unit: each for each in self.clients.seen(now)}

    def ask(self, unit: int, pdu: bytes, now: float = 0.0, address: str = MINE) -> None:
        reply = self.served.answer(unit, pdu, now)
        self.clients.of(address, now).count(unit, pdu, reply, now)


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
            ranges=[Range(3, 0, 1, 2), Range(4, 0, 2, 1), Range(3, 0, 126, 1)],
            idle_s=2.0,
        ),
        2: Asking(MINE, 2, 2, 9.0, 1, {0x0B: 1}, [Range(3, 1, 2, 1)], 1.0),
    }
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
    assert len(told.news) == module.MAX_NEWS
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
