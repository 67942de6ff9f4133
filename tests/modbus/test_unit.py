"""A unit: what may be said when its meter is silent, and what the service says of the meter."""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from gateway import map_library
from gateway.meter import Meter
from gateway.modbus import udp
from gateway.modbus.responder import MAX_KNOWN, MBAP, Conversation, Responder
from gateway.modbus.rtu import RtuConversation, sealed
from gateway.modbus.rtu_server import RtuOverTcpListener
from gateway.modbus.server import Listener
from gateway.modbus.unit import Unit
from gateway.registers import ExceptionCode, RegisterMap, Stale, Table
from gateway.registers.mapfile import STALE_IN_MAPS
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Diagnostics, Freshness, Judge, Origin, Snapshot, Value
from gateway.telegram import Decoder, Fault, Key, Layer

from .served import eventually, run

HOLD_S = 15.0
CAME = 100.0
LIVE, LATE = CAME + HOLD_S, CAME + HOLD_S + 0.001
FOR_EVER = CAME + 1e9
NO_RESPONSE = ExceptionCode.TARGET_FAILED_TO_RESPOND

MAP = """
name: Test meter
tables: [holding, input]
stale: {stale}
registers:
  - {{address: 0, value: 0x1234, type: uint16}}
  - {{address: 1, quantity: active_power_import_total, type: uint16}}
  - {{address: 2, quantity: voltage_l1, type: uint16, not_available: 0x7fff}}
  - {{address: 3, text: "${{meter_number}}", type: string, length: 1}}
  - {{address: 4, value: 0x5678, type: uint16}}
"""
VALUES = struct.pack(">HHH2sH", 0x1234, 4711, 230, b"M7", 0x5678)
PATTERNS = struct.pack(">HHH2sH", 0x1234, 0xFFFF, 0x7FFF, b"", 0x5678)
ZEROS = struct.pack(">HHH2sH", 0x1234, 0, 0, b"", 0x5678)


@dataclass
class Seen:
    """A meter as a unit sees it."""

    snapshot: Snapshot | None = None
    freshness: Freshness = field(default_factory=lambda: Freshness(HOLD_S))
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    def push(self, now: float = CAME) -> "Seen":
        numbers = {"active_power_import_total": 4711, "voltage_l1": 230}
        values = {name: Value(number, Origin.MEASURED) for name, number in numbers.items()}
        self.snapshot = Snapshot(values, {"meter_number": "M7"}, now)
        self.freshness.came(now)
        return self


def unit(
    meter: Seen,
    stale: Stale | None = None,
    hold_s: float | None = None,
    of_map: Stale = Stale.EXCEPTION,
) -> Unit:
    register_map = RegisterMap.parse(MAP.format(stale=of_map), "test.yaml")
    return Unit(register_map, meter, hold_s=hold_s, stale=stale)


def everything(served: Unit, now: float) -> bytes | ExceptionCode | None:
    return served.read(Table.HOLDING, 0, 5, now)


# --- replies that are known -----------------------------------------------------------------

ASKED = bytes((0, 0, 0, 6, 1, 3, 0, 0, 0, 5))  # unit 1, function 3: the five registers
FRAME = b"\0\7" + ASKED
HEAD = b"\0\7" + b"\0\0\0\x0d" + bytes((1, 3, 10))
REFUSED = b"\0\7" + b"\0\0\0\3" + bytes((1, 0x83, NO_RESPONSE))


def conversation_with(served: Unit) -> Conversation:
    return Conversation(Responder({1: served}))


def test_the_same_read_gets_the_same_reply_without_being_made_again() -> None:
    responder = Responder({1: unit(Seen().push())})
    conversation = Conversation(responder)
    first = conversation.receive(FRAME, LIVE)
    assert first == HEAD + VALUES
    assert responder.known[ASKED][0] == first[2:]
    assert conversation.receive(3 * FRAME, LIVE) == 3 * first


def test_a_known_reply_is_not_given_for_a_meter_that_has_fallen_silent() -> None:
    conversation = conversation_with(unit(Seen().push()))
    conversation.receive(FRAME, LIVE)
    assert conversation.receive(FRAME, LATE) == REFUSED
    assert conversation.receive(FRAME, LIVE) == HEAD + VALUES


def test_a_known_reply_ends_with_the_next_telegram() -> None:
    meter = Seen().push()
    conversation = conversation_with(unit(meter))
    conversation.receive(FRAME, CAME)
    meter.snapshot = Snapshot({"voltage_l1": Value(231, Origin.MEASURED)}, {}, CAME + 1)
    meter.freshness.came(CAME + 1)
    now = struct.pack(">HHH2sH", 0x1234, 0xFFFF, 231, b"", 0x5678)
    assert conversation.receive(2 * FRAME, CAME + 1) == 2 * (HEAD + now)


@pytest.mark.parametrize("stale", [Stale.NOT_AVAILABLE, Stale.ZERO, Stale.LAST])
def test_what_a_silent_meters_unit_replies_is_not_known_when_it_is_live_again(
    stale: Stale,
) -> None:
    meter = Seen().push()
    conversation = conversation_with(unit(meter, stale))
    assert conversation.receive(FRAME, LATE) != REFUSED
    meter.freshness.hold_s = 2 * HOLD_S  # as a changed config may say
    assert conversation.receive(FRAME, LATE) == HEAD + VALUES


def test_no_more_replies_are_kept_than_clients_can_want() -> None:
    served = unit(Seen().push())
    responder = Responder({}, served)
    conversation = Conversation(responder)
    first = conversation.receive(FRAME, LIVE)
    most = 0
    for asked_unit in range(256):
        for count in (1, 2, 3):
            asked = struct.pack(">HHBBHH", 0, 6, asked_unit, 3, 0, count)
            conversation.receive(b"\0\7" + asked, LIVE)
            most = max(most, len(responder.known))
    assert most == MAX_KNOWN
    assert conversation.receive(FRAME, LIVE) == first


def test_no_reply_of_a_unit_that_a_reload_took_away_is_known() -> None:
    responder = Responder({1: unit(Seen().push())})
    conversation = Conversation(responder)
    conversation.receive(FRAME, LIVE)
    other = Seen().push()
    other.snapshot = Snapshot({"voltage_l1": Value(231, Origin.MEASURED)}, {}, CAME)
    responder.serve({1: unit(other)}, None)
    assert conversation.receive(FRAME, LIVE) == HEAD + struct.pack(
        ">HHH2sH", 0x1234, 0xFFFF, 231, b"", 0x5678
    )
    responder.serve({}, None)
    assert conversation.receive(FRAME, LIVE) == REFUSED


def test_what_the_service_says_of_itself_is_made_anew_for_every_read() -> None:
    responder = Responder({1: Unit(map_library.load("diagnostics", None), Seen().push())})
    conversation = Conversation(responder)
    replies = [
        conversation.receive(b"\0\7\0\0\0\6" + bytes((1, 3, 0, 0, 0, 9)), now)
        for now in (CAME + 1, CAME + 2)
    ]
    assert replies[0] != replies[1]
    assert not responder.known


MIXED = """
name: Mixed
tables: [holding, input]
registers:
  - {address: 0, quantity: active_power_import_total, type: uint16}
  - {address: 1, quantity: voltage_l1, type: uint16}
  - {address: 3, quantity: telegram_age, type: uint32}
  - {address: 5, quantity: voltage_l1, type: uint16}
  - {address: 7, quantity: service_uptime, type: uint32, only_count: 2}
zero_ranges: [[0, 9]]
"""


@pytest.mark.parametrize("function", [3, 4])
def test_beside_what_the_service_says_of_itself_replies_are_known(function: int) -> None:
    responder = Responder({1: Unit(RegisterMap.parse(MIXED, "mixed.yaml"), Seen().push())})
    conversation = Conversation(responder)
    fresh = Unit(RegisterMap.parse(MIXED, "mixed.yaml"), Seen().push())
    own = {3, 4}
    for first in range(10):
        for count in range(1, 11 - first):
            asked = struct.pack(">HHBBHH", 0, 6, 1, function, first, count)
            replies = [conversation.receive(b"\0\7" + asked, now) for now in (CAME + 1, CAME + 9)]
            at_once = [fresh.read(Table.HOLDING, first, count, now) for now in (CAME + 1, CAME + 9)]
            assert [each[9:] for each in replies] == at_once
            touches = bool(own & set(range(first, first + count))) or (first, count) == (7, 2)
            assert (asked not in responder.known) is touches, (first, count)


def test_the_plain_table_is_known_but_for_its_age() -> None:
    responder = Responder({1: Unit(map_library.load("obis_plain", None), Seen().push())})
    conversation = Conversation(responder)
    for first, is_known in ((0, False), (2, True)):
        asked = bytes((0, 0, 0, 6, 1, 3, 0, first, 0, 2))
        conversation.receive(b"\0\7" + asked, LIVE)
        assert (asked in responder.known) is is_known


# --- hold -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hold_s", [0.5, 3.0, 600.0, None])
def test_values_are_served_for_the_units_own_hold_time_else_for_the_meters(
    hold_s: float | None,
) -> None:
    served = unit(Seen().push(), hold_s=hold_s)
    ends = CAME + (HOLD_S if hold_s is None else hold_s)
    assert everything(served, CAME) == everything(served, ends) == VALUES
    assert everything(served, ends + 0.001) is NO_RESPONSE


def test_two_units_of_one_meter_keep_their_own_hold_times() -> None:
    meter = Seen().push()
    short, long = unit(meter, hold_s=2.0), unit(meter, hold_s=60.0)
    assert (everything(short, CAME + 30), everything(long, CAME + 30)) == (NO_RESPONSE, VALUES)


# --- stale ----------------------------------------------------------------------------------

ANSWERS = {
    Stale.EXCEPTION: NO_RESPONSE,
    Stale.SILENT: None,
    Stale.NOT_AVAILABLE: PATTERNS,
    Stale.CLOSE: None,
    Stale.LAST: VALUES,
    Stale.ZERO: ZEROS,
}


@pytest.mark.parametrize("of_map", STALE_IN_MAPS)
@pytest.mark.parametrize("stale", Stale)
def test_a_unit_answers_for_a_stale_meter_as_it_says_whatever_its_map_says(
    stale: Stale, of_map: Stale
) -> None:
    served = unit(Seen().push(), stale, of_map=of_map)
    assert everything(served, LIVE) == VALUES
    for now in (LATE, FOR_EVER):
        assert everything(served, now) == ANSWERS[stale]


@pytest.mark.parametrize("of_map", STALE_IN_MAPS)
def test_a_unit_that_says_nothing_answers_as_its_map_says(of_map: Stale) -> None:
    assert everything(unit(Seen().push(), of_map=of_map), LATE) == ANSWERS[of_map]


@pytest.mark.parametrize("of_map", STALE_IN_MAPS)
def test_before_the_first_telegram_there_is_no_last_value_to_serve(of_map: Stale) -> None:
    assert everything(unit(Seen(), Stale.LAST, of_map=of_map), CAME) == ANSWERS[of_map]


@pytest.mark.parametrize("stale", Stale)
def test_constants_are_answered_whatever_a_unit_says_of_a_stale_meter(stale: Stale) -> None:
    for meter in (Seen(), Seen().push()):
        served = unit(meter, stale)
        assert served.read(Table.HOLDING, 0, 1, FOR_EVER) == b"\x12\x34"
        assert served.read(Table.INPUT, 4, 1, FOR_EVER) == b"\x56\x78"


@pytest.mark.parametrize("stale", Stale)
def test_the_first_good_telegram_brings_the_values_back(stale: Stale) -> None:
    meter = Seen()
    served = unit(meter, stale)
    assert everything(served, CAME) != VALUES
    meter.push()
    assert everything(served, CAME) == VALUES
    assert everything(served, LATE) == ANSWERS[stale]
    meter.push(FOR_EVER)
    assert everything(served, FOR_EVER) == VALUES


# --- close ----------------------------------------------------------------------------------


def frame(address: int, count: int, transaction: int = 1) -> bytes:
    return MBAP.pack(transaction, 0, 6, 1) + struct.pack(">BHH", 3, address, count)


def replies(octets: bytes) -> list[int]:
    """The transactions of reply frames."""
    found = []
    while octets:
        transaction, _, length, _ = MBAP.unpack_from(octets)
        found.append(transaction)
        octets = octets[MBAP.size - 1 + length :]
    return found


def closing(meter: Seen) -> Responder:
    return Responder({1: unit(meter, Stale.CLOSE), 2: unit(meter, Stale.SILENT)})


def test_a_client_is_hung_up_on_behind_the_replies_to_what_it_asked_before() -> None:
    conversation = Conversation(closing(Seen().push()))
    asked = [frame(0, 1, 1), frame(4, 1, 2), frame(1, 1, 3), frame(0, 1, 4)]
    assert replies(conversation.receive(b"".join(asked), LATE)) == [1, 2]
    assert conversation.is_broken
    assert conversation.hangs_up
    assert conversation.receive(frame(0, 1), LATE) == b""


def test_a_live_meter_and_a_read_of_constants_keep_the_connection() -> None:
    conversation = Conversation(closing(Seen().push()))
    assert conversation.receive(frame(0, 5), LIVE)
    assert conversation.receive(frame(0, 1), LATE)
    assert not conversation.is_broken


def test_a_silent_unit_beside_it_keeps_the_connection() -> None:
    conversation = Conversation(closing(Seen().push()))
    silent = MBAP.pack(9, 0, 6, 2) + struct.pack(">BHH", 3, 1, 1)
    assert replies(conversation.receive(silent + frame(0, 1), LATE)) == [1]
    assert not conversation.is_broken


def test_on_a_serial_line_closing_is_silence() -> None:
    conversation = RtuConversation(closing(Seen().push()))
    request = struct.pack(">BBHH", 1, 3, 1, 1)
    assert conversation.receive(sealed(request), LATE) == b""
    constant = sealed(struct.pack(">BBHH", 1, 3, 0, 1))
    assert conversation.receive(constant, LATE + 1) == sealed(b"\x01\x03\x02\x12\x34")


def test_over_udp_closing_is_silence() -> None:
    served = closing(Seen().push())
    assert udp.answer(served, frame(1, 1), LATE) is None
    assert udp.answer(served, frame(0, 1), LATE)


def rtu_frame(address: int, count: int) -> bytes:
    return sealed(struct.pack(">BBHH", 1, 3, address, count))


@pytest.mark.parametrize(
    ("kind", "request_of", "constant"),
    [
        (Listener, frame, MBAP.pack(1, 0, 5, 1) + b"\x03\x02\x12\x34"),
        (RtuOverTcpListener, rtu_frame, sealed(b"\x01\x03\x02\x12\x34")),
    ],
    ids=["tcp", "rtu over tcp"],
)
def test_a_tcp_connection_is_closed_in_order_and_the_next_one_is_welcome(
    kind: Callable[..., Listener], request_of: Callable[[int, int], bytes], constant: bytes
) -> None:
    async def scenario() -> None:
        meter = Seen()
        listener = kind("127.0.0.1", 0, closing(meter))
        host, port = await listener.start()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request_of(0, 1))
        assert await eventually(reader.readexactly(len(constant))) == constant
        writer.write(request_of(1, 1))
        assert await eventually(reader.read()) == b""  # the end, and no reset
        writer.close()
        await eventually(writer.wait_closed())
        meter.push(asyncio.get_running_loop().time())
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request_of(1, 1))
        reply = await eventually(reader.readexactly(len(constant)))
        assert struct.pack(">H", 4711) in reply
        writer.close()
        await eventually(writer.wait_closed())
        listener.stop()

    run(scenario())


# --- rubbish --------------------------------------------------------------------------------

KEY = Key(bytes(range(16)))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
PAUSE_S = 5.0


def simulated(key: Key = KEY, seed: int = 7) -> SimulatedMeter:
    return SimulatedMeter("kaifa-ma309m", key.octets, seed=seed, start=START)


def flipped(octets: bytes) -> bytes:
    return octets[:150] + bytes([octets[150] ^ 0x10]) + octets[151:]


# From the meter that speaks on, to what comes instead of its next telegram.
RUBBISH: dict[str, Callable[[SimulatedMeter], bytes]] = {
    "nothing": lambda _: b"",
    "zeros": lambda _: bytes(400),
    "bytes like a text": lambda _: b"no telegram at all, but bytes " * 12,
    "frames that begin and do not end": lambda meter: meter.push().telegram[:200],
    "damaged telegrams": lambda meter: flipped(meter.push().telegram),
    "telegrams of another key": lambda _: simulated(Key(bytes(16))).push().telegram,
    "one telegram again and again": lambda _: simulated().push().telegram,
}


@pytest.mark.parametrize("stale", Stale)
@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_a_meter_that_sends_rubbish_is_as_stale_as_one_that_sends_nothing(
    rubbish: Callable[[SimulatedMeter], bytes], stale: Stale
) -> None:
    speaks = simulated()
    meter = Meter("house", Decoder(KEY), Judge(), HOLD_S, lambda _: None)
    served = Unit(map_library.load("obis_plain", None), meter, stale=stale)

    def energy(now: float) -> bytes | ExceptionCode | None:
        return served.read(Table.HOLDING, 10, 2, now)

    now = CAME
    for _ in range(3):
        meter.take(speaks.push().telegram, now)
        now += PAUSE_S
    last = now - PAUSE_S
    shown = energy(last)
    assert isinstance(shown, bytes)
    while now <= last + 4 * HOLD_S:
        meter.take(rubbish(speaks), now)
        answer = {Stale.NOT_AVAILABLE: b"\xff" * 4, Stale.ZERO: bytes(4), Stale.LAST: shown}.get(
            stale, ANSWERS[stale]
        )
        assert energy(now) == (shown if now <= last + HOLD_S else answer)
        now += PAUSE_S
    push = speaks.push()
    meter.take(push.telegram, now)
    assert energy(now) == struct.pack(">I", push.readings["1-0:1.8.0.255"][0])


# --- diagnostics ----------------------------------------------------------------------------

BEGAN = 40.0
PLACES = {
    "meter_state": 0, "telegram_age": 2, "telegram_pause": 4, "service_uptime": 6,
    "telegrams_good": 8, "telegrams_held": 10, "invocation_counter": 12, "faults_total": 14,
    **{f"faults_{layer}": 16 + 2 * number for number, layer in enumerate(Layer)},
}  # fmt: skip
NONE_YET = 0xFFFFFFFF


def diagnostic(meter: Seen | Meter, now: float, hold_s: float | None = None) -> dict[str, int]:
    """Read the shipped map whole."""
    served = Unit(map_library.load("diagnostics", None), meter, hold_s=hold_s)
    octets = served.read(Table.INPUT, 0, 34, now)
    assert isinstance(octets, bytes)
    words = struct.unpack(">17I", octets)
    return {name: words[place // 2] for name, place in PLACES.items()}


def test_before_the_first_telegram_the_diagnostics_say_that_the_service_waits() -> None:
    read = diagnostic(Seen(diagnostics=Diagnostics(BEGAN)), BEGAN + 61)
    missing = {"telegram_age", "telegram_pause", "invocation_counter"}
    assert {name for name, number in read.items() if number == NONE_YET} == missing
    assert {name for name, number in read.items() if number not in (0, NONE_YET)} == {
        "service_uptime"
    }
    assert read["service_uptime"] == 61


def test_the_state_goes_from_waiting_to_live_to_holding_to_stale_and_back() -> None:
    meter = Seen()
    states = [diagnostic(meter, 0)["meter_state"]]
    for came in (0.0, 5.0, 10.0):
        meter.push(came)
    ages = (0, 10, 10.001, 15, 15.001)
    states += [diagnostic(meter, 10 + age_s)["meter_state"] for age_s in ages]
    meter.push(100)
    states.append(diagnostic(meter, 100)["meter_state"])
    assert states == [0, 1, 1, 2, 2, 3, 1]
    assert diagnostic(meter, 101)["telegram_pause"] == 5000
    assert diagnostic(meter, 101)["telegram_age"] == 1


def test_a_unit_with_a_hold_time_of_its_own_shows_the_state_by_that() -> None:
    meter = Seen().push()
    assert diagnostic(meter, CAME + 20)["meter_state"] == 3
    assert diagnostic(meter, CAME + 20, hold_s=30)["meter_state"] == 1
    assert diagnostic(meter, CAME + 2, hold_s=1)["meter_state"] == 3


def test_each_layers_faults_have_a_register_of_their_own() -> None:
    meter = Seen()
    for number, layer in enumerate(Layer, 1):
        for _ in range(number):
            meter.diagnostics.bad(Fault(layer, "x", 0))
    read = diagnostic(meter, CAME)
    assert [read[f"faults_{layer}"] for layer in Layer] == list(range(1, len(Layer) + 1))
    assert read["faults_total"] == sum(range(1, len(Layer) + 1))


def test_diagnostics_count_what_comes_of_a_real_meter() -> None:
    speaks = simulated()
    meter = Meter("house", Decoder(KEY), Judge(), HOLD_S, lambda _: None, BEGAN)
    first, second = speaks.push(), speaks.push()
    meter.take(first.telegram, CAME)
    meter.take(second.telegram, CAME + 5)
    read = diagnostic(meter, CAME + 5)
    assert read["telegrams_good"] == 2
    assert read["faults_total"] == read["telegrams_held"] == 0
    assert read["invocation_counter"] == second.invocation_counter
    assert read["service_uptime"] == CAME + 5 - BEGAN

    meter.take(simulated(Key(bytes(16))).push().telegram, CAME + 10)
    assert diagnostic(meter, CAME + 10)["faults_decryption"] == 1
    meter.take(first.telegram, CAME + 15)  # an old one: held, and never confirmed
    assert diagnostic(meter, CAME + 15)["telegrams_held"] == 1
    last = speaks.push()
    meter.take(last.telegram, CAME + 20)
    read = diagnostic(meter, CAME + 20)
    assert (read["telegrams_good"], read["faults_counter"]) == (3, 1)
    assert read["faults_total"] == 2
    assert read["invocation_counter"] == last.invocation_counter


def test_diagnostics_are_answered_at_any_age_and_each_word_alone() -> None:
    meter = Seen(diagnostics=Diagnostics(BEGAN)).push()
    meter.diagnostics.telegrams = 0x0001_0002
    served = Unit(map_library.load("diagnostics", None), meter, stale=Stale.SILENT)
    for now in (CAME, FOR_EVER):
        whole = served.read(Table.HOLDING, 0, 34, now)
        assert isinstance(whole, bytes)
        assert whole[16:20] == b"\0\1\0\2"
        for address in range(34):
            word = served.read(Table.HOLDING, address, 1, now)
            assert word == whole[2 * address : 2 * address + 2]


def test_a_map_of_the_users_own_shows_diagnostics_beside_values() -> None:
    text = MAP.format(stale="exception") + (
        "  - {address: 5, quantity: meter_state, type: uint16}\n"
        "  - {address: 6, quantity: telegrams_good, type: uint16}\n"
    )
    meter = Seen().push()
    meter.diagnostics.telegrams = 9
    served = Unit(RegisterMap.parse(text, "mine.yaml"), meter, stale=Stale.NOT_AVAILABLE)
    assert served.read(Table.HOLDING, 0, 7, LIVE) == VALUES + b"\0\1\0\x09"
    assert served.read(Table.HOLDING, 0, 7, LATE) == PATTERNS + b"\0\3\0\x09"


def test_a_map_that_shows_no_diagnostics_never_asks_for_them() -> None:
    class Plain:
        """A meter of which nothing was counted."""

        snapshot = Seen().push().snapshot
        freshness = Freshness(HOLD_S, CAME)

    served = Unit(map_library.load("obis_plain", None), Plain())
    assert served.read(Table.HOLDING, 0, 2, CAME + 3) == b"\0\0\0\3"
