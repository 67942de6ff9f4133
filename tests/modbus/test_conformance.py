"""The responder against the standard: every function code, length, place and count.

Clauses: MAP is the Modbus Application Protocol 1.1b3, MG the Messaging on TCP/IP Implementation
Guide 1.0b; design is the project's own choice where they leave one.
"""

import random
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import pytest

from gateway.modbus.responder import Conversation, Responder
from gateway.modbus.unit import Unit
from gateway.registers import RegisterMap
from gateway.snapshot import Diagnostics, Freshness, Origin, Snapshot, Value

UNIT, OTHER_UNIT = 1, 9
NOW = 107.0
FIRST, LAST = 1000, 1249
FIRST_WRITABLE, LAST_WRITABLE = FIRST, LAST
READS = (3, 4)
GOOD = None
TOO_SHORT, EXACT, TOO_LONG = "too short", "exact", "too long"
IS_FIRST, IS_LAST, IS_ACROSS, IS_OUTSIDE = "first", "last", "across the edge", "outside"

PLAIN = """
name: Plain
tables: [holding, input]
zero_ranges: [[1000, 1249]]
registers:
  - {address: 1000, value: 0x1111, type: uint16}
  - {address: 1249, value: 0x9999, type: uint16}
"""
CHATTY = PLAIN.replace(
    "registers:",
    "ignored_writes: [[1000, 1249]]\n"
    "server_id: TEST 1\n"
    "identity: {vendor: Maker, product: Meter, revision: '1.0'}\n"
    "registers:",
)


@dataclass
class Silent:
    """A meter that constants do not wait for."""

    snapshot: Snapshot | None = None
    freshness: Freshness = field(default_factory=lambda: Freshness(15.0))
    diagnostics: Diagnostics = field(default_factory=Diagnostics)


def responder(text: str) -> Responder:
    return Responder({UNIT: Unit(RegisterMap.parse(text, "conformance.yaml"), Silent())})


# --- the requests ---------------------------------------------------------------------------

# Bytes behind the function code of an exact request, MAP 6.1 to 6.21; all others: as a read.
EMPTY = (0x07, 0x0B, 0x0C, 0x11)
SIZES = {0x16: 6, 0x18: 2, 0x2B: 3} | dict.fromkeys(EMPTY, 0)


@dataclass(frozen=True)
class Request:
    """One request of the table."""

    function: int
    length: str
    place: str
    count: int

    @property
    def address(self) -> int:
        match self.place:
            case "first":
                return FIRST
            case "last":
                return LAST + 1 - self.count if 1 <= self.count <= 250 else LAST
            case "across the edge":
                return LAST + 2 - max(1, min(self.count, 250))
        return 5000

    @property
    def pdu(self) -> bytes:
        place = struct.pack(">HH", self.address, self.count)
        match self.function:
            case 0x0F | 0x10 | 0x15 | 0x17:
                # As many registers as a PDU of 253 bytes has room for, MAP 4.1.
                octets = min(2 * self.count, 244)
                rest = place + bytes((octets,)) + bytes(octets)
            case 0x2B:
                rest = b"\x0e\x01\x00"
            case _:
                rest = place.ljust(6, b"\0")[: SIZES.get(self.function, 4)]
        if self.length == TOO_SHORT:
            rest = rest[:-1]
        if self.length == TOO_LONG:
            rest += b"\0"
        return bytes((self.function,)) + rest


def requests() -> Iterator[Request]:
    for function, length, place, count in product(
        range(256),
        (TOO_SHORT, EXACT, TOO_LONG),
        (IS_FIRST, IS_LAST, IS_ACROSS, IS_OUTSIDE),
        (0, 1, 125, 126, 65535),
    ):
        if length != TOO_SHORT or function not in EMPTY:  # no PDU is shorter: see the headers below
            yield Request(function, length, place, count)


# --- the table ------------------------------------------------------------------------------

Rule = tuple[Callable[[Request], bool], int | None, str]


def is_within(request: Request) -> bool:
    return request.place in (IS_FIRST, IS_LAST)


# The first rule that holds tells the exception code, or GOOD, and the clause that says so.
READING: list[Rule] = [
    (lambda r: r.function not in READS, 0x01, "MAP 7, 01: not an allowable action"),
    (lambda r: r.length != EXACT, 0x03, "MAP 7, 03: the implied length is incorrect"),
    (lambda r: not 1 <= r.count <= 125, 0x03, "MAP 6.3, 6.4: 0x0001 ≤ quantity ≤ 0x007D, else 03"),
    (lambda r: not is_within(r), 0x02, "MAP 6.3, 6.4: start and start + quantity OK, else 02"),
    (lambda _: True, GOOD, "MAP 6.3, 6.4"),
]
# A map that lists writes to ignore, and says who it is.
CHATTING: list[Rule] = [
    (lambda r: r.function == 0x06 and r.length != EXACT, 0x03, "MAP 7, 03: implied length"),
    (
        lambda r: r.function == 0x06 and r.address > LAST,
        0x01,
        "design: writes that are not ignored",
    ),
    (lambda r: r.function == 0x06, GOOD, "MAP 6.6: an echo; every value from 0 to 0xFFFF"),
    (lambda r: r.function == 0x10 and r.length != EXACT, 0x03, "MAP 6.12: byte count = N × 2"),
    (lambda r: r.function == 0x10 and r.count != 1, 0x03, "MAP 6.12: 1 to 0x007B, else 03"),
    (lambda r: r.function == 0x10 and not is_within(r), 0x01, "design: as of one register"),
    (lambda r: r.function == 0x10, GOOD, "MAP 6.12"),
    (lambda r: r.function == 0x11 and r.length != EXACT, 0x03, "MAP 7, 03: implied length"),
    (lambda r: r.function == 0x11, GOOD, "MAP 6.13"),
    (lambda r: r.function == 0x2B and r.length != EXACT, 0x03, "MAP 7, 03: implied length"),
    (lambda r: r.function == 0x2B, GOOD, "MAP 6.21"),
    *READING,
]
UNKNOWN_UNIT: list[Rule] = [
    (lambda _: True, 0x0B, "MAP 7, 0B: the target did not respond; before all else (design)"),
]


def good(request: Request) -> bytes:
    """The PDU of a reply that is no exception."""
    match request.function:
        case 0x03 | 0x04:  # MAP 6.3, 6.4: function code, byte count, values
            words = [0] * request.count
            if request.place == IS_FIRST:
                words[0] = 0x1111
            else:
                words[-1] = 0x9999
            return struct.pack(f">BB{len(words)}H", request.function, 2 * len(words), *words)
        case 0x06:  # MAP 6.6: the request
            return request.pdu
        case 0x10:  # MAP 6.12: function code, starting address, quantity
            return request.pdu[:5]
        case 0x11:  # MAP 6.13: function code, byte count, server id, run indicator
            return b"\x11\x07TEST 1\xff"
    # MAP 6.21: MEI type, code, conformity, more follows, next object, number, then the objects
    return b"\x2b\x0e\x01\x81\x00\x00\x03\x00\x05Maker\x01\x05Meter\x02\x031.0"


def expected(rules: list[Rule], request: Request) -> tuple[bytes, str]:
    code, clause = next((code, clause) for holds, code, clause in rules if holds(request))
    if code is GOOD:
        return good(request), clause
    # MAP 7: the function code with its most significant bit set, then the exception code
    return bytes((request.function | 0x80, code)), clause


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """MG 3.1.3: transaction identifier, protocol 0, length of what follows, unit; then the PDU."""
    return struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu


TABLES = {
    "a map that is read": (PLAIN, UNIT, READING),
    "a map that takes writes": (CHATTY, UNIT, CHATTING),
    "a unit that is not there": (CHATTY, OTHER_UNIT, UNKNOWN_UNIT),
}


@pytest.mark.parametrize(("text", "unit", "rules"), TABLES.values(), ids=TABLES)
def test_every_request_gets_the_reply_that_the_standard_states(
    text: str, unit: int, rules: list[Rule]
) -> None:
    conversation = Conversation(responder(text))
    wrong = []
    for number, request in enumerate(requests()):
        transaction = number & 0xFFFF
        pdu, clause = expected(rules, request)
        # MG 3.1.3: transaction, protocol and unit are the request's, the length is the reply's own.
        reply = frame(transaction, unit, pdu)
        got = conversation.receive(frame(transaction, unit, request.pdu), NOW)
        if got != reply:
            wrong.append(f"{request} {clause}: {got.hex()} is not {reply.hex()}")
    assert not wrong, "\n".join(wrong[:10])
    assert not conversation.is_broken


def test_the_table_holds_every_function_length_place_and_count() -> None:
    asked = list(requests())
    # A function without data has no shorter PDU.
    assert len(asked) == 256 * 3 * 4 * 5 - len(EMPTY) * 4 * 5
    assert {len(request.pdu) for request in asked if request.function in READS} == {4, 5, 6}
    assert all(1 <= len(request.pdu) <= 253 for request in asked)  # MAP 4.1


@pytest.mark.parametrize("rules", [READING, CHATTING, UNKNOWN_UNIT])
def test_every_rule_of_the_table_is_met(rules: list[Rule]) -> None:
    clauses = {expected(rules, request)[1] for request in requests()}
    assert clauses == {clause for _, _, clause in rules}


# --- the stream (MG 4.2.2: requests may follow each other before the replies come) -------------


def stream_of(some: list[Request]) -> bytes:
    return b"".join(frame(n & 0xFFFF, UNIT, request.pdu) for n, request in enumerate(some))


def replies_to(some: list[Request]) -> bytes:
    return b"".join(frame(n & 0xFFFF, UNIT, expected(CHATTING, r)[0]) for n, r in enumerate(some))


def test_a_thousand_requests_in_one_segment_give_a_thousand_replies_in_order() -> None:
    some = random.Random(1).sample(list(requests()), 1000)
    assert Conversation(responder(CHATTY)).receive(stream_of(some), NOW) == replies_to(some)


def test_requests_that_come_again_get_the_same_replies_again() -> None:
    some = random.Random(3).sample(list(requests()), 100)
    conversation = Conversation(responder(CHATTY))
    for _ in range(3):
        assert conversation.receive(stream_of(some), NOW) == replies_to(some)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 255, 260, 1460, 4096])
def test_pieces_of_any_size_give_the_same_replies(size: int) -> None:
    some = random.Random(size).sample(list(requests()), 1000)
    stream, conversation = stream_of(some), Conversation(responder(CHATTY))
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert b"".join(conversation.receive(each, NOW) for each in pieces) == replies_to(some)


def test_two_pieces_give_the_same_replies_wherever_the_cut_is() -> None:
    some = random.Random(2).sample(list(requests()), 40)
    stream, replies = stream_of(some), replies_to(some)
    served = responder(CHATTY)
    for cut in range(len(stream) + 1):
        conversation = Conversation(served)
        first, second = stream[:cut], stream[cut:]
        assert conversation.receive(first, NOW) + conversation.receive(second, NOW) == replies


# --- headers --------------------------------------------------------------------------------

HEADERS = [
    # protocol, length, whether it is good, clause
    (0, 2, True, "MAP 4.1: a PDU has at least its function code"),
    (0, 254, True, "MAP 4.1: 253 bytes of PDU, and the unit id (MG 3.1.3)"),
    (0, 0, False, "MG 3.1.3: the length counts the unit id"),
    (0, 1, False, "MAP 4.1: no PDU is empty"),
    (0, 255, False, "MAP 4.1: no PDU has more than 253 bytes"),
    (0, 256, False, "MAP 4.1"),
    (0, 65535, False, "MAP 4.1"),
    (1, 6, False, "MG 3.1.3: Modbus is protocol 0"),
    (0x0100, 6, False, "MG 3.1.3"),
    (0xFFFF, 6, False, "MG 3.1.3"),
]


@pytest.mark.parametrize(("protocol", "length", "is_good", "clause"), HEADERS)
def test_a_bad_header_ends_a_conversation_with_its_sixth_byte_and_a_good_one_does_not(
    protocol: int, length: int, is_good: bool, clause: str
) -> None:
    conversation = Conversation(responder(PLAIN))
    before = frame(1, UNIT, b"\x03" + struct.pack(">HH", FIRST, 1))
    header = struct.pack(">HHH", 2, protocol, length)
    assert conversation.receive(before + header[:5], NOW) != b""
    assert not conversation.is_broken
    assert conversation.receive(header[5:], NOW) == b""
    assert conversation.is_broken is not is_good, clause
    rest = bytes((UNIT, 0x41)).ljust(length, b"\0")
    refusal = frame(2, UNIT, b"\xc1\x01")
    assert conversation.receive(rest + before, NOW) == (
        refusal + conversation_reply(before) if is_good else b""
    ), clause


def conversation_reply(request: bytes) -> bytes:
    return Conversation(responder(PLAIN)).receive(request, NOW)


# --- one snapshot a reply -------------------------------------------------------------------

SUMMED = """
name: Summed
tables: [holding]
registers:
  - {address: 0, quantity: energy_active_import_total, type: uint64}
  - {address: 4, quantity: voltage_l1, type: uint16}
  - {address: 5, quantity: voltage_l2, type: uint16}
  - {address: 6, quantity: active_power_import_total, type: uint32}
  - {address: 8, type: uint16, expression:
      "(energy_active_import_total + voltage_l1 + voltage_l2 + active_power_import_total) % 65536"}
"""
SUMMED_WORDS = struct.Struct(">9xQHHIH")
# A million, but not where coverage makes each line ten times as long.
READS_WHILE_IMAGES_CHANGE = 1_000_000 if sys.gettrace() is None else 100_000
IMAGES = 500
LOOKS = 7  # at one image
IN_FLIGHT = 20


class Busy:
    """A meter that has another snapshot after every few looks."""

    def __init__(self) -> None:
        dice = random.Random(3)
        self.freshness = Freshness(15.0, NOW)
        self.diagnostics = Diagnostics()
        self.changes = 0
        self._looks = 0
        self._snapshots = [_any_snapshot(dice) for _ in range(IMAGES)]

    @property
    def snapshot(self) -> Snapshot:
        self._looks += 1
        if self._looks % LOOKS == 0:
            self.changes += 1
        return self._snapshots[self.changes % IMAGES]


def _any_snapshot(dice: random.Random) -> Snapshot:
    limits = {
        "energy_active_import_total": 2**40,
        "voltage_l1": 2**15,
        "voltage_l2": 2**15,
        "active_power_import_total": 2**31,
    }
    values = {n: Value(dice.randrange(most), Origin.MEASURED) for n, most in limits.items()}
    return Snapshot(values, {}, NOW)


def test_each_of_a_million_reads_while_images_change_is_of_one_snapshot() -> None:
    meter = Busy()
    served = Responder({UNIT: Unit(RegisterMap.parse(SUMMED, "summed.yaml"), meter)})
    conversation = Conversation(served)
    segment = IN_FLIGHT * frame(0, UNIT, b"\x03\x00\x00\x00\x09")
    shown = set()
    for _ in range(READS_WHILE_IMAGES_CHANGE // IN_FLIGHT):
        replies = conversation.receive(segment, NOW)
        for energy, first, second, power, checksum in SUMMED_WORDS.iter_unpack(replies):
            assert (energy + first + second + power) % 65536 == checksum
            shown.add(checksum)
    assert meter.changes >= READS_WHILE_IMAGES_CHANGE / LOOKS - 1
    assert len(shown) > IMAGES / 2
