"""The responder: which reply a request gets, and how a stream of bytes becomes requests.

Clauses: MAP is the Modbus Application Protocol 1.1b3, MG the Messaging on TCP/IP Implementation
Guide 1.0b; design is the project's own order and its reaction to a silent meter.
"""

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import inf, nextafter
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.modbus.responder import Conversation, Responder
from gateway.modbus.unit import Unit
from gateway.registers import Image, RegisterMap
from gateway.snapshot import Adjustment, Freshness, Origin, Snapshot, Value
from gateway.snapshot.adjust import Linear
from gateway.snapshot.snapshot import Values

READ_HOLDING, READ_INPUT = 0x03, 0x04
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, NO_RESPONSE = 0x01, 0x02, 0x03, 0x0B
HOLD_S = 15.0
CAME = 100.0  # when the meter's telegram came
NOW = 107.0
LATE = 200.0

MAP = """
name: Test meter
tables: [holding, input]
stale: exception
zero_ranges: [[20, 29]]
registers:
  - {address: 0, value: 0x1234, type: uint16}
  - {address: 1, value: 0x5678, type: uint16}
  - {address: 2, quantity: active_power_import_total, type: uint32}
  - {address: 3, value: 0x0670, type: uint16, only_count: 1}
  - {address: 4, quantity: voltage_l1, type: uint16}
  - {address: 5, quantity: telegram_age, type: uint16}
  - {address: 6, value: 0x9abc, type: uint16}
  - {address: 10, value: 0xaaaa, type: uint16, table: holding}
  - {address: 10, value: 0xbbbb, type: uint16, table: input}
  - {address: 65535, value: 0x0001, type: uint16}
"""


@dataclass
class Seen:
    """A meter as a unit sees it."""

    snapshot: Snapshot | None = None
    freshness: Freshness = field(default_factory=lambda: Freshness(HOLD_S))

    def push(self, power_w: int, now: float = CAME) -> "Seen":
        """Let a telegram come that tells the power and 230 V on L1."""
        self.snapshot = snapshot(power_w)
        self.freshness.received = now
        return self


def snapshot(power_w: int) -> Snapshot:
    numbers = {"active_power_import_total": power_w, "voltage_l1": 230}
    return Snapshot({name: Value(n, Origin.MEASURED) for name, n in numbers.items()}, {}, CAME)


@cache
def register_map(text: str) -> RegisterMap:
    return RegisterMap.parse(text, "test.yaml")


def unit(meter: Seen, stale: str = "exception", text: str = MAP) -> Unit:
    return Unit(register_map(text.replace("stale: exception", f"stale: {stale}")), meter)


def responder(meter: Seen, stale: str = "exception", text: str = MAP) -> Responder:
    """Unit 1 alone."""
    return Responder({1: unit(meter, stale, text)})


def live() -> Responder:
    return responder(Seen().push(0x01020304))


def read(address: int, count: int, function: int = READ_HOLDING) -> bytes:
    return struct.pack(">BHH", function, address, count)


def words(reply: bytes | None) -> tuple[int, ...]:
    """The registers of a good reply: function, byte count, two bytes each (MAP 6.3, 6.4)."""
    assert reply is not None
    function, size = reply[:2]
    assert function in (READ_HOLDING, READ_INPUT)
    assert size == len(reply) - 2
    return struct.unpack(f">{size // 2}H", reply[2:])


def refused(code: int, function: int = READ_HOLDING) -> bytes:
    """An exception reply: the function code with its highest bit set, and the code (MAP 7)."""
    return bytes((function | 0x80, code))


# --- reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [READ_HOLDING, READ_INPUT])
def test_a_read_answers_function_byte_count_and_big_endian_words(function: int) -> None:
    # MAP 6.3, 6.4
    reply = live().answer(1, read(0, 5, function), NOW)
    assert reply == bytes([function, 10]) + bytes.fromhex("1234 5678 01020304 00e6")


def test_function_3_reads_holding_registers_and_function_4_input_registers() -> None:
    # MAP 4.3, 6.3, 6.4: two tables of their own
    assert words(live().answer(1, read(10, 1, READ_HOLDING), NOW)) == (0xAAAA,)
    assert words(live().answer(1, read(10, 1, READ_INPUT), NOW)) == (0xBBBB,)


def test_a_table_that_a_map_does_not_serve_has_no_addresses() -> None:
    # MAP 6.4, 02
    only_holding = MAP.replace("[holding, input]", "[holding]").replace(
        "  - {address: 10, value: 0xbbbb, type: uint16, table: input}\n", ""
    )
    served = responder(Seen().push(1), text=only_holding)
    assert words(served.answer(1, read(0, 1), NOW)) == (0x1234,)
    reply = served.answer(1, read(0, 1, READ_INPUT), NOW)
    assert reply == refused(ILLEGAL_ADDRESS, READ_INPUT)


def test_a_read_may_start_inside_a_value_and_cross_into_the_next() -> None:
    assert words(live().answer(1, read(3, 2), NOW)) == (0x0304, 230)


def test_holes_of_a_zero_range_read_0() -> None:
    assert words(live().answer(1, read(20, 10), NOW)) == (0,) * 10


def test_125_registers_are_read_at_once() -> None:
    # MAP 6.3: 1 to 125 (0x7D)
    wide = MAP.replace("[[20, 29]]", "[[1000, 1124]]")
    reply = responder(Seen(), text=wide).answer(1, read(1000, 125), NOW)
    assert words(reply) == (0,) * 125


def test_the_last_address_is_read() -> None:
    assert words(live().answer(1, read(65535, 1), NOW)) == (1,)


def test_an_only_count_register_answers_a_read_of_just_itself() -> None:
    assert words(live().answer(1, read(3, 1), NOW)) == (0x0670,)
    assert words(live().answer(1, read(2, 2), NOW)) == (0x0102, 0x0304)


# --- exceptions, in their order -------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b"\x00\x00\x00\x01", bytes(252)], ids=len)
def test_every_function_but_the_two_reads_answers_exception_01(rest: bytes) -> None:
    # MAP 7, 01; the codes from 0x80 on have the exception bit already
    served = live()
    functions = [n for n in range(256) if n not in (READ_HOLDING, READ_INPUT)]
    replies = {n: served.answer(1, bytes([n]) + rest, NOW) for n in functions}
    assert replies == {n: bytes((n | 0x80, ILLEGAL_FUNCTION)) for n in functions}


@pytest.mark.parametrize("function", [READ_HOLDING, READ_INPUT])
def test_a_read_request_of_a_wrong_length_answers_exception_03(function: int) -> None:
    # MAP 7, 03: "the implied length is incorrect"
    served = live()
    sizes = [size for size in range(1, 254) if size != 5]
    pdu = read(0, 1, function) + bytes(248)
    assert {size: served.answer(1, pdu[:size], NOW) for size in sizes} == dict.fromkeys(
        sizes, refused(ILLEGAL_VALUE, function)
    )


@pytest.mark.parametrize("function", [READ_HOLDING, READ_INPUT])
@pytest.mark.parametrize("address", [0, 2, 300, 65535])
@pytest.mark.parametrize("count", [0, 126, 127, 255, 256, 257, 0x8000, 65535])
def test_a_wrong_count_answers_exception_03_at_bad_addresses_too(
    function: int, address: int, count: int
) -> None:
    # MAP 6.3, 6.4: the count is checked before the address
    reply = live().answer(1, read(address, count, function), NOW)
    assert reply == refused(ILLEGAL_VALUE, function)


@pytest.mark.parametrize(
    ("address", "count"),
    [
        (7, 1),  # in a hole
        (6, 2),  # across the end of a run
        (0, 125),
        (9, 2),  # across its start
        (19, 1),
        (29, 2),
        (65534, 1),
        (65534, 2),
        (65535, 2),  # past the last address
        (65535, 125),
    ],
)
def test_an_address_outside_or_across_an_edge_answers_exception_02(
    address: int, count: int
) -> None:
    # MAP 6.3: start and start + count must both be there
    assert live().answer(1, read(address, count), NOW) == refused(ILLEGAL_ADDRESS)


def test_a_bad_address_is_said_of_a_silent_meter_too() -> None:
    # design: 02 comes before the unit's own word on staleness
    for stale in ("exception", "silent", "not_available"):
        served = responder(Seen(), stale)
        assert served.answer(1, read(2, 100), LATE) == refused(ILLEGAL_ADDRESS)
        assert served.answer(1, read(2, 0), LATE) == refused(ILLEGAL_VALUE)
        assert served.answer(1, b"\x06\x00\x02\x00\x00", LATE) == refused(ILLEGAL_FUNCTION, 6)


@pytest.mark.parametrize("rest", [b"", b"\x00\x00\x00\x01", b"\xff\xff\x00\x00", bytes(252)])
def test_an_unknown_unit_answers_exception_0b_whatever_is_asked(rest: bytes) -> None:
    # MAP 7, 0B: no response from the target; before every other check
    served = live()
    replies = {n: served.answer(2, bytes([n]) + rest, NOW) for n in range(256)}
    assert replies == {n: bytes((n | 0x80, NO_RESPONSE)) for n in range(256)}


def test_an_empty_request_is_not_answered() -> None:
    # There is no function code to answer with.
    assert live().answer(1, b"", NOW) is None
    assert live().answer(99, b"", NOW) is None


# --- units ----------------------------------------------------------------------------------


def test_units_answer_with_their_own_meter() -> None:
    served = Responder({1: unit(Seen().push(11)), 255: unit(Seen().push(22)), 0: unit(Seen())})
    assert words(served.answer(1, read(2, 2), NOW)) == (0, 11)
    assert words(served.answer(255, read(2, 2), NOW)) == (0, 22)
    assert served.answer(0, read(2, 2), NOW) == refused(NO_RESPONSE)
    assert served.answer(2, read(2, 2), NOW) == refused(NO_RESPONSE)


def test_units_with_different_maps_may_share_a_meter() -> None:
    other = "name: Other\ntables: [input]\nregisters:\n  - {address: 7, value: 7, type: uint16}\n"
    meter = Seen().push(5)
    served = Responder({1: unit(meter), 2: unit(meter, text=other)})
    assert words(served.answer(1, read(2, 2), NOW)) == (0, 5)
    assert words(served.answer(2, read(7, 1, READ_INPUT), NOW)) == (7,)
    assert served.answer(2, read(2, 2), NOW) == refused(ILLEGAL_ADDRESS)


def test_an_any_unit_answers_every_id() -> None:
    served = Responder({}, unit(Seen().push(33)))
    for unit_id in range(256):
        assert words(served.answer(unit_id, read(2, 2), NOW)) == (0, 33)


def test_a_unit_of_its_own_id_goes_before_the_any_unit() -> None:
    served = Responder({7: unit(Seen().push(7))}, unit(Seen().push(33)))
    assert words(served.answer(7, read(2, 2), NOW)) == (0, 7)
    assert words(served.answer(8, read(2, 2), NOW)) == (0, 33)


# --- a silent meter (design, decision 6) ----------------------------------------------------

TOUCH_MEASURED = [(2, 2), (2, 1), (0, 3), (3, 2), (4, 1), (4, 3), (0, 7)]
CONSTANTS_ALONE = [(0, 2), (1, 1), (6, 1), (3, 1), (20, 10), (10, 1), (65535, 1)]


@pytest.mark.parametrize(("address", "count"), TOUCH_MEASURED)
def test_before_the_first_telegram_a_read_of_measured_registers_answers_0b(
    address: int, count: int
) -> None:
    assert responder(Seen()).answer(1, read(address, count), NOW) == refused(NO_RESPONSE)


@pytest.mark.parametrize(("address", "count"), TOUCH_MEASURED)
def test_after_the_hold_time_a_read_of_measured_registers_answers_0b(
    address: int, count: int
) -> None:
    served = responder(Seen().push(1))
    late = nextafter(CAME + HOLD_S, inf)
    assert served.answer(1, read(address, count), late) == refused(NO_RESPONSE)
    reply = served.answer(1, read(address, count, READ_INPUT), late)
    assert reply == refused(NO_RESPONSE, READ_INPUT)


def test_exactly_at_the_end_of_the_hold_time_values_are_still_answered() -> None:
    assert words(live().answer(1, read(2, 2), CAME + HOLD_S)) == (0x0102, 0x0304)


@pytest.mark.parametrize("stale", ["exception", "silent", "not_available"])
@pytest.mark.parametrize(("address", "count"), CONSTANTS_ALONE)
def test_a_read_of_constants_alone_is_always_answered(stale: str, address: int, count: int) -> None:
    expected = live().answer(1, read(address, count), NOW)
    assert responder(Seen(), stale).answer(1, read(address, count), NOW) == expected
    gone = responder(Seen().push(1), stale)
    assert gone.answer(1, read(address, count), LATE) == expected
    assert len(words(expected)) == count


@pytest.mark.parametrize("stale", ["exception", "silent", "not_available"])
def test_the_first_good_telegram_brings_the_values_and_a_later_one_brings_them_back(
    stale: str,
) -> None:
    meter = Seen()
    served = responder(meter, stale)
    silence = served.answer(1, read(2, 2), NOW)
    meter.push(41)
    assert words(served.answer(1, read(2, 2), NOW)) == (0, 41)
    assert served.answer(1, read(2, 2), LATE) == silence
    meter.push(42, LATE)
    assert words(served.answer(1, read(2, 2), LATE + 1)) == (0, 42)


def test_a_silent_map_does_not_answer_for_a_silent_meter() -> None:
    for meter in (Seen(), Seen().push(1)):
        served = responder(meter, "silent")
        for address, count in TOUCH_MEASURED:
            assert served.answer(1, read(address, count), LATE) is None


def test_a_not_available_map_shows_patterns_for_a_silent_meter() -> None:
    for meter in (Seen(), Seen().push(1)):
        served = responder(meter, "not_available")
        assert words(served.answer(1, read(0, 5), LATE)) == (
            *(0x1234, 0x5678),
            *(0xFFFF, 0xFFFF),
            0xFFFF,
        )


# --- the telegram's age ---------------------------------------------------------------------


@pytest.mark.parametrize("stale", ["exception", "silent", "not_available"])
def test_the_age_is_always_answered_and_counts_on(stale: str) -> None:
    meter = Seen()
    served = responder(meter, stale)
    assert words(served.answer(1, read(5, 1), NOW)) == (0xFFFF,)  # no telegram yet
    meter.push(1)
    for seconds in (0, 1, 15, 16, 1000, 60000):
        assert words(served.answer(1, read(5, 2), CAME + seconds)) == (seconds, 0x9ABC)


def test_the_age_counts_in_a_block_of_live_values() -> None:
    assert words(live().answer(1, read(0, 7), CAME + 9))[4:] == (230, 9, 0x9ABC)


def test_the_age_counts_among_the_patterns_of_a_silent_meter() -> None:
    served = responder(Seen().push(1), "not_available")
    assert words(served.answer(1, read(4, 3), CAME + 100)) == (0xFFFF, 100, 0x9ABC)


def test_each_half_of_a_long_age_is_read_alone() -> None:
    text = (
        "name: Age\ntables: [input]\nregisters:\n"
        "  - {address: 0, value: 1, type: uint16}\n"
        "  - {address: 1, quantity: telegram_age, type: uint32}\n"
        "  - {address: 3, value: 2, type: uint16}\n"
    )
    served = responder(Seen().push(1), text=text)
    now = CAME + 0x0001_0203
    expected = (1, 0x0001, 0x0203, 2)
    for start in range(4):
        for count in range(1, 5 - start):
            reply = served.answer(1, read(start, count, READ_INPUT), now)
            assert words(reply) == expected[start : start + count]


# --- one snapshot a reply -------------------------------------------------------------------

WIDE = "name: Wide\ntables: [holding]\nregisters:\n" + "\n".join(
    f"  - {{address: {address}, quantity: active_power_import_total, type: uint16}}"
    for address in range(125)
)


def test_every_read_shows_the_meters_present_snapshot() -> None:
    meter = Seen()
    served = responder(meter, text=WIDE)
    for power in range(50):
        meter.push(power)
        assert words(served.answer(1, read(0, 125), CAME)) == (power,) * 125


def test_a_reply_is_of_one_snapshot_even_if_the_meter_changes_at_every_look() -> None:
    class Restless:
        """Another snapshot whenever it is looked at."""

        freshness = Freshness(HOLD_S, CAME)
        looks = 0

        @property
        def snapshot(self) -> Snapshot:
            self.looks += 1
            return snapshot(self.looks)

    meter = Restless()
    served = Responder({1: Unit(RegisterMap.parse(WIDE, "wide.yaml"), meter)})
    last = 0
    for _ in range(50):
        values = set(words(served.answer(1, read(0, 125), NOW)))
        assert len(values) == 1
        assert last < (last := values.pop()) <= meter.looks


class CountedMap(RegisterMap):
    """A register map that keeps a list of what was rendered."""

    rendered: ClassVar[list[Snapshot | None]] = []

    def render(self, snapshot: Snapshot | None) -> Image:
        self.rendered.append(snapshot)
        return RegisterMap.render(self, snapshot)


def test_a_snapshot_is_rendered_once_and_only_when_it_is_asked_for() -> None:
    meter = Seen()
    CountedMap.rendered.clear()
    served = Responder({1: Unit(CountedMap.parse(MAP, "test.yaml"), meter)})
    CountedMap.rendered.clear()
    meter.push(1)
    meter.push(2)  # nobody has asked for the one before
    assert CountedMap.rendered == []
    for _ in range(10):
        assert words(served.answer(1, read(2, 2), NOW)) == (0, 2)
    assert CountedMap.rendered == [meter.snapshot]
    assert CountedMap.rendered[0] is meter.snapshot


def test_an_equal_snapshot_of_a_later_telegram_is_another_one() -> None:
    meter = Seen().push(2)
    CountedMap.rendered.clear()
    served = Responder({1: Unit(CountedMap.parse(MAP, "test.yaml"), meter)})
    CountedMap.rendered.clear()
    served.answer(1, read(2, 2), NOW)
    meter.push(2)
    served.answer(1, read(2, 2), NOW)
    assert len(CountedMap.rendered) == 2


# --- writes that change nothing -------------------------------------------------------------

WRITE_ONE, WRITE_MANY = 0x06, 0x10
WRITABLE = MAP.replace("stale:", "ignored_writes: [[4, 6], [300, 422], [65535, 65535]]\nstale:")


def writable(stale: str = "exception") -> Responder:
    return responder(Seen().push(0x01020304), stale, WRITABLE)


def write_one(address: int, value: int = 0xBEEF) -> bytes:
    return struct.pack(">BHH", WRITE_ONE, address, value)


def write_many(address: int, count: int, size: int | None = None) -> bytes:
    content = bytes(2 * count if size is None else size)
    return struct.pack(">BHHB", WRITE_MANY, address, count, len(content) & 0xFF) + content


@pytest.mark.parametrize("address", [4, 5, 6, 300, 422, 65535])
def test_a_write_that_the_meter_ignores_is_echoed(address: int) -> None:
    # MAP 6.6: the response is an echo of the request
    assert writable().answer(1, write_one(address), NOW) == write_one(address)


@pytest.mark.parametrize(
    ("address", "count"), [(4, 1), (4, 3), (5, 2), (300, 123), (422, 1), (65535, 1)]
)
def test_a_write_of_many_that_the_meter_ignores_returns_address_and_quantity(
    address: int, count: int
) -> None:
    # MAP 6.12: function code, starting address, quantity of registers
    reply = writable().answer(1, write_many(address, count), NOW)
    assert reply == struct.pack(">BHH", WRITE_MANY, address, count)


def test_no_write_changes_what_is_read() -> None:
    served = writable()
    before = served.answer(1, read(0, 7), NOW)
    for address in range(8):
        served.answer(1, write_one(address), NOW)
        served.answer(1, write_many(address, 2), NOW)
    assert served.answer(1, read(0, 7), NOW) == before
    assert served.answer(1, read(300, 1), NOW) == refused(ILLEGAL_ADDRESS)


@pytest.mark.parametrize(
    "pdu",
    [
        write_one(3),
        write_one(7),
        write_one(299),
        write_one(423),
        write_many(3, 2),
        write_many(4, 4),
        write_many(6, 2),
        write_many(0, 1),
        write_many(422, 2),
        write_many(65535, 2),
        write_many(5, 123),
    ],
    ids=lambda pdu: pdu[:5].hex(),
)
def test_every_other_write_answers_exception_01(pdu: bytes) -> None:
    assert writable().answer(1, pdu, NOW) == refused(ILLEGAL_FUNCTION, pdu[0])


@pytest.mark.parametrize("pdu", [write_one(4), write_many(4, 1), b"\x06", b"\x10"])
def test_a_map_that_ignores_no_write_answers_exception_01(pdu: bytes) -> None:
    assert live().answer(1, pdu, NOW) == refused(ILLEGAL_FUNCTION, pdu[0])


@pytest.mark.parametrize(
    "pdu",
    [
        *(write_one(4)[:size] for size in range(1, 5)),
        write_one(4) + b"\0",
        *(write_many(4, 2)[:size] for size in range(1, 10)),
        write_many(4, 2) + b"\0",
        write_many(4, 0),
        write_many(300, 124, 2),  # more than 123 (0x7B)
        write_many(4, 2, 2),
        write_many(4, 1, 4),
        write_many(4, 1, 3),
        write_many(300, 123, 244),
        write_one(7)[:4],  # malformed where it would not be taken either
        write_many(7, 2, 2),
    ],
    ids=bytes.hex,
)
def test_a_malformed_write_answers_exception_03(pdu: bytes) -> None:
    # MAP 6.6, 6.12: quantity 1 to 123 and byte count = 2 × quantity, else 03
    assert writable().answer(1, pdu, NOW) == refused(ILLEGAL_VALUE, pdu[0])


@pytest.mark.parametrize("stale", ["exception", "silent", "not_available"])
def test_a_write_is_acknowledged_while_the_meter_is_silent_too(stale: str) -> None:
    assert writable(stale).answer(1, write_one(4), LATE) == write_one(4)


def test_a_write_to_an_unknown_unit_answers_0b() -> None:
    assert writable().answer(9, write_one(4), NOW) == refused(NO_RESPONSE, WRITE_ONE)


def test_other_functions_that_write_answer_exception_01() -> None:
    served = writable()
    for function in (0x05, 0x0F, 0x15, 0x16, 0x17):
        assert served.answer(1, bytes((function, 0, 4, 0, 1)), NOW) == refused(
            ILLEGAL_FUNCTION, function
        )


# --- any function code ----------------------------------------------------------------------

CHATTY = WRITABLE.replace(
    "stale:",
    "server_id: TEST 1\nidentity: {vendor: Maker, product: Meter, revision: '1.0'}\nstale:",
)


@pytest.mark.parametrize("text", [MAP, WRITABLE, CHATTY], ids=["reads", "writes", "all"])
@settings(deadline=None)
@given(rest=st.binary(max_size=252), data=st.data())
def test_every_function_code_gets_an_answer_of_its_own(
    text: str, rest: bytes, data: st.DataObject
) -> None:
    served = responder(Seen().push(1), text=text)
    for function in range(256):
        reply = served.answer(1, bytes([function]) + rest, NOW)
        assert reply is not None
        assert 2 <= len(reply) <= 253
        if reply[0] != function or function & 0x80:
            # MAP 7: the function code with its highest bit set, and one byte
            assert reply[0] == function | 0x80
            assert reply[1:] in (b"\x01", b"\x02", b"\x03")


def test_a_responder_knows_which_units_it_serves() -> None:
    alone = Responder({1: unit(Seen()), 247: unit(Seen())})
    assert [number for number in range(256) if alone.serves(number)] == [1, 247]
    assert all(Responder({1: unit(Seen())}, unit(Seen())).serves(n) for n in range(256))
    assert not any(Responder({}).serves(n) for n in range(256))


# --- what the user adjusts ------------------------------------------------------------------


def sent(power_w: int) -> Snapshot:
    measured = {
        "active_power_import_total": max(power_w, 0),
        "active_power_export_total": max(-power_w, 0),
        "voltage_l1": 230,
    }
    return Snapshot(Values(measured, {}), {}, CAME, measured)


def test_a_unit_shows_what_the_user_adjusts_and_others_what_the_meter_says() -> None:
    meter = Seen()
    offset = Adjustment(linear={"active_power_total": Linear(offset=50)})
    served = Responder(
        {1: Unit(register_map(MAP), meter, offset), 2: Unit(register_map(MAP), meter)}
    )
    for power in (1000, 2000):
        meter.snapshot, meter.freshness.received = sent(power), CAME
        assert words(served.answer(1, read(2, 3), NOW)) == (0, power + 50, 230)
        assert words(served.answer(2, read(2, 3), NOW)) == (0, power, 230)


def test_what_is_adjusted_is_rendered_once_a_snapshot() -> None:
    meter = Seen()
    meter.snapshot, meter.freshness.received = sent(1000), CAME
    served = Responder({1: Unit(CountedMap.parse(MAP, "test.yaml"), meter, Adjustment())})
    CountedMap.rendered.clear()
    for _ in range(5):
        served.answer(1, read(2, 2), NOW)
    assert len(CountedMap.rendered) == 1


def test_an_adjusted_unit_waits_for_the_first_telegram_as_any() -> None:
    served = Responder({1: Unit(register_map(MAP), Seen(), Adjustment(frequency_hz=60))})
    assert served.answer(1, read(2, 2), NOW) == refused(NO_RESPONSE)
    assert words(served.answer(1, read(0, 1), NOW)) == (0x1234,)


# --- what a map allows ----------------------------------------------------------------------


def test_a_read_longer_than_the_map_allows_answers_exception_03() -> None:
    short = responder(Seen().push(1), text=MAP.replace("stale:", "max_read: 5\nstale:"))
    assert len(words(short.answer(1, read(20, 5), NOW))) == 5
    assert short.answer(1, read(20, 6), NOW) == refused(ILLEGAL_VALUE)
    assert short.answer(1, read(9000, 6), NOW) == refused(ILLEGAL_VALUE)


def test_with_whole_values_a_read_that_cuts_one_answers_exception_02() -> None:
    whole = responder(Seen().push(1), text=MAP.replace("stale:", "whole_values: true\nstale:"))
    assert words(whole.answer(1, read(2, 3), NOW)) == (0, 1, 230)
    for address, count in ((2, 1), (1, 2), (3, 2)):
        assert whole.answer(1, read(address, count), NOW) == refused(ILLEGAL_ADDRESS)


# --- a stream of bytes ----------------------------------------------------------------------


def frame(transaction: int, pdu: bytes, unit_id: int = 1) -> bytes:
    """MBAP header and PDU (MG 3.1.3)."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit_id) + pdu


def frames(stream: bytes) -> list[tuple[int, int, bytes]]:
    """Take a stream of replies apart: (transaction, unit, PDU); nothing may be left over."""
    found = []
    while stream:
        transaction, protocol, length, unit_id = struct.unpack_from(">HHHB", stream)
        assert protocol == 0
        pdu, stream = stream[7 : 6 + length], stream[6 + length :]
        assert len(pdu) == length - 1 >= 2
        found.append((transaction, unit_id, pdu))
    return found


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


ANY_READ = st.builds(
    read,
    st.one_of(st.integers(0, 12), st.integers(0, 65535)),
    st.one_of(st.integers(0, 8), st.integers(0, 65535)),
    st.sampled_from([READ_HOLDING, READ_INPUT]),
)
ANY_PDU = st.one_of(ANY_READ, st.binary(min_size=1, max_size=253))
ANY_REQUEST = st.tuples(st.integers(0, 65535), st.sampled_from([1, 1, 1, 2, 255]), ANY_PDU)
SERVED = Responder({1: unit(Seen().push(0x01020304)), 2: unit(Seen(), "silent")})


@settings(deadline=None)
@given(
    requests=st.lists(ANY_REQUEST, max_size=30),
    places=st.lists(st.integers(0, 10_000), max_size=40),
)
def test_however_the_stream_is_cut_the_replies_are_the_same(
    requests: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    stream = b"".join(frame(t, pdu, unit_id) for t, unit_id, pdu in requests)
    conversation = Conversation(SERVED)
    got = b"".join(conversation.receive(chunk, NOW) for chunk in cut(stream, places))
    answers = [(t, unit_id, SERVED.answer(unit_id, pdu, NOW)) for t, unit_id, pdu in requests]
    assert frames(got) == [answer for answer in answers if answer[2] is not None]
    assert not conversation.is_broken


def test_byte_by_byte_each_reply_comes_with_its_requests_last_byte() -> None:
    conversation = Conversation(live())
    stream = frame(1, read(0, 1)) + frame(2, read(2, 2))
    replies = [conversation.receive(bytes([octet]), NOW) for octet in stream]
    assert [index for index, reply in enumerate(replies) if reply] == [11, 23]
    assert [transaction for transaction, _, _ in frames(b"".join(replies))] == [1, 2]


def test_a_thousand_requests_in_one_chunk_give_a_thousand_replies_in_order() -> None:
    # MG 4.2.2: a client may send further requests before the replies come
    conversation = Conversation(live())
    stream = b"".join(frame(65_000 + n & 0xFFFF, read(2, 2)) for n in range(1000))
    replies = frames(conversation.receive(stream, NOW))
    assert [t for t, _, _ in replies] == [65_000 + n & 0xFFFF for n in range(1000)]
    assert {words(pdu) for _, _, pdu in replies} == {(0x0102, 0x0304)}


def test_a_reply_repeats_transaction_and_unit_of_its_request() -> None:
    # MG 3.1.3
    reply = Conversation(live()).receive(frame(0xBEEF, read(0, 1)), NOW)
    assert reply == bytes.fromhex("beef 0000 0005 01 03 02 1234")
    refusal = Conversation(live()).receive(frame(0xBEEF, read(0, 1), 0x99), NOW)
    assert refusal == bytes.fromhex("beef 0000 0003 99 83 0b")


def test_an_unanswered_request_leaves_the_replies_around_it() -> None:
    conversation = Conversation(responder(Seen(), "silent"))
    stream = frame(1, read(0, 1)) + frame(2, read(2, 2)) + frame(3, read(1, 1))
    assert [t for t, _, _ in frames(conversation.receive(stream, NOW))] == [1, 3]


@pytest.mark.parametrize("size", [1, 2, 252, 253])
def test_requests_from_one_byte_to_the_longest_are_answered(size: int) -> None:
    # MAP 4.1: a PDU has at most 253 bytes
    conversation = Conversation(live())
    replies = conversation.receive(frame(5, b"\x2b" * size) + frame(6, read(0, 1)), NOW)
    assert [t for t, _, _ in frames(replies)] == [5, 6]
    assert not conversation.is_broken


BAD_HEADERS = {
    "protocol 1": "0002 0001 0006 01",
    "protocol 256": "0002 0100 0006 01",
    "length 0": "0002 0000 0000 01",
    "length 1": "0002 0000 0001 01",
    "length 255": "0002 0000 00ff 01",
    "length 256": "0002 0000 0100 01",
    "length 65535": "0002 0000 ffff 01",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n".hex(),
    "TLS": "160301 0200 0100 01fc 0303",
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_after_a_bad_header_nothing_more_is_answered_and_what_came_before_it_is(
    header: str,
) -> None:
    # MG 3.1.3: protocol 0, and a length of at least unit id and function; MAP 4.1: at most 254
    conversation = Conversation(live())
    bad = bytes.fromhex(header)
    replies = conversation.receive(frame(1, read(0, 1)) + bad + frame(3, read(0, 1)), NOW)
    assert [t for t, _, _ in frames(replies)] == [1]
    assert conversation.is_broken
    assert conversation.receive(frame(4, read(0, 1)), NOW) == b""
    assert conversation.is_broken


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_bad_header_is_found_when_the_last_byte_of_its_length_comes(header: str) -> None:
    conversation = Conversation(live())
    bad = bytes.fromhex(header)
    assert conversation.receive(bad[:5], NOW) == b""
    assert not conversation.is_broken
    assert conversation.receive(bad[5:6], NOW) == b""
    assert conversation.is_broken


@settings(deadline=None)
@given(
    chunks=st.lists(
        st.one_of(
            st.binary(max_size=600),
            st.builds(lambda t, pdu: frame(t, pdu), st.integers(0, 65535), ANY_PDU),
        ),
        max_size=20,
    )
)
def test_any_bytes_give_whole_replies_or_none(chunks: list[bytes]) -> None:
    conversation = Conversation(SERVED)
    for chunk in chunks:
        frames(conversation.receive(chunk, NOW))


def test_what_is_kept_of_a_stream_stays_smaller_than_one_request() -> None:
    conversation = Conversation(Responder({}))
    conversation.receive(b"", NOW)
    request = frame(1, bytes(253))
    most = len(pickle.dumps(conversation)) + len(request) + 16  # pickle's own words
    for chunk in (request * 1000 + request[:-1], request[-1:] + request[:-1], request[-1:]):
        conversation.receive(chunk, NOW)
        assert len(pickle.dumps(conversation)) <= most
    conversation.receive(request[:100] * 5000, NOW)
    assert conversation.is_broken
    conversation.receive(request * 1000, NOW)
    assert len(pickle.dumps(conversation)) <= most
