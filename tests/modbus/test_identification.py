"""Who the emulated meter says it is: functions 43/14 and 17, byte by byte.

Clauses are those of the Modbus Application Protocol 1.1b3; pymodbus' client reads what a real one
would.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import ExceptionResponse
from pymodbus.pdu.decoders import DecodePDU
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse
from pymodbus.pdu.other_message import ReportDeviceIdResponse

from gateway.modbus.identification import identification, server_id
from gateway.modbus.responder import Responder
from gateway.modbus.unit import Unit
from gateway.registers import ExceptionCode, Identity, RegisterMap
from gateway.snapshot import Freshness, Snapshot

WHO = Identity("Maker", "Meter 3", "V1.0")
BASIC, REGULAR, EXTENDED, ONE = 1, 2, 3, 4
FUNCTION, ADDRESS, VALUE = (
    ExceptionCode.ILLEGAL_FUNCTION,
    ExceptionCode.ILLEGAL_DATA_ADDRESS,
    ExceptionCode.ILLEGAL_DATA_VALUE,
)


def ask(code: int, number: int = 0) -> bytes:
    """Function code, MEI type, Read Device ID code, object id (6.21)."""
    return bytes((0x2B, 0x0E, code, number))


@pytest.mark.parametrize("code", [BASIC, REGULAR, EXTENDED])
def test_all_objects_come_in_one_reply(code: int) -> None:
    reply = identification(ask(code), WHO)
    assert reply == bytes(
        (
            *(0x2B, 0x0E),  # function code, MEI type
            code,  # Read Device ID code, as asked
            0x81,  # conformity level: basic, stream and individual access
            *(0x00, 0x00),  # no more follows, so the next object id is 0
            3,  # number of objects
            *(0, 5, *b"Maker"),  # id, length, VendorName
            *(1, 7, *b"Meter 3"),  # ProductCode
            *(2, 4, *b"V1.0"),  # MajorMinorRevision
        )
    )


@pytest.mark.parametrize(("first", "shown"), [(1, 2), (2, 1)])
def test_a_list_starts_at_the_object_that_is_asked_for(first: int, shown: int) -> None:
    reply = identification(ask(BASIC, first), WHO)
    assert isinstance(reply, bytes)
    assert reply[6] == shown
    assert reply[7] == first
    assert reply.endswith(b"V1.0")


@pytest.mark.parametrize("code", [BASIC, REGULAR, EXTENDED])
@pytest.mark.parametrize("number", [3, 6, 0x7F, 0x80, 0xFF])
def test_a_list_from_an_object_that_there_is_not_starts_again(code: int, number: int) -> None:
    # 6.21: an unknown object id in stream access is answered as if object 0 were asked for
    assert identification(ask(code, number), WHO) == identification(ask(code, 0), WHO)


@pytest.mark.parametrize(("number", "text"), [(0, b"Maker"), (1, b"Meter 3"), (2, b"V1.0")])
def test_one_object_comes_alone(number: int, text: bytes) -> None:
    reply = identification(ask(ONE, number), WHO)
    head = bytes((0x2B, 0x0E, ONE, 0x81, 0, 0, 1, number, len(text)))
    assert reply == head + text


@pytest.mark.parametrize("number", [3, 0x7F, 0x80, 0xFF])
def test_one_object_that_there_is_not_is_an_illegal_address(number: int) -> None:
    # 6.21: individual access, exception 02
    assert identification(ask(ONE, number), WHO) is ADDRESS


@pytest.mark.parametrize("code", [0, 5, 0x80, 0x81, 0xFF])
def test_an_unknown_way_to_ask_is_an_illegal_value(code: int) -> None:
    assert identification(ask(code), WHO) is VALUE
    assert identification(ask(code, 9), WHO) is VALUE


@pytest.mark.parametrize("mei", [0x00, 0x0D, 0x0F, 0xFF])
@pytest.mark.parametrize("rest", [b"", b"\x01\x00", bytes(9)])
def test_another_mei_type_is_an_illegal_function(mei: int, rest: bytes) -> None:
    # 0x0D is CANopen; 6.21 ends such a request with 01
    assert identification(bytes((0x2B, mei)) + rest, WHO) is FUNCTION


def test_a_request_without_mei_type_is_an_illegal_function() -> None:
    assert identification(b"\x2b", WHO) is FUNCTION


@pytest.mark.parametrize("rest", [b"", b"\x01", b"\x01\x00\x00", bytes(250)], ids=len)
def test_a_request_of_a_wrong_length_is_an_illegal_value(rest: bytes) -> None:
    assert identification(b"\x2b\x0e" + rest, WHO) is VALUE


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)


@given(who=st.builds(Identity, printable, printable, printable), code=st.integers(1, 4))
def test_every_identity_that_a_map_may_have_fits_and_is_read_by_a_client(
    who: Identity, code: int
) -> None:
    reply = identification(ask(code), who)
    assert isinstance(reply, bytes)
    assert len(reply) <= 253  # 4.1
    found = DecodePDU(False).decode(reply)
    assert isinstance(found, ReadDeviceInformationResponse)
    assert (found.read_code, found.conformity) == (code, 0x81)
    assert (found.more_follows, found.next_object_id) == (0, 0)
    texts = [text.encode() for text in (who.vendor, who.product, who.revision)]
    assert found.information == dict(enumerate(texts if code != ONE else texts[:1]))


# --- function 17 ----------------------------------------------------------------------------


def test_server_id_is_byte_count_text_and_that_it_runs() -> None:
    # 6.13: byte count, server id, run indicator status 0xFF
    assert server_id(b"\x11", "SDM 630") == b"\x11\x08SDM 630\xff"


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0\x01", bytes(252)], ids=len)
def test_a_request_for_the_server_id_has_no_data(rest: bytes) -> None:
    assert server_id(b"\x11" + rest, "x") is VALUE


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200))
def test_every_server_id_that_a_map_may_have_fits_and_is_read_by_a_client(text: str) -> None:
    reply = server_id(b"\x11", text)
    assert isinstance(reply, bytes)
    assert len(reply) <= 253
    found = DecodePDU(False).decode(reply)
    assert isinstance(found, ReportDeviceIdResponse)
    assert found.identifier == text.encode()
    assert found.status


# --- a unit ---------------------------------------------------------------------------------


class Silent:
    """A meter that never sent a telegram."""

    snapshot: Snapshot | None = None
    freshness = Freshness(15.0)


def responder(*words: str) -> Responder:
    register = "registers:\n  - {address: 0, value: 1, type: uint16}\n"
    text = "".join(f"{word}\n" for word in ("name: x", *words)) + register
    return Responder({1: Unit(RegisterMap.parse(text, "x.yaml"), Silent())})


IDENTITY = "identity: {vendor: Maker, product: Meter 3, revision: V1.0}"


def test_a_unit_says_who_it_is_before_the_first_telegram() -> None:
    served = responder(IDENTITY, "server_id: SDM 630")
    assert served.answer(1, ask(BASIC), 0.0) == identification(ask(BASIC), WHO)
    assert served.answer(1, b"\x11", 0.0) == server_id(b"\x11", "SDM 630")


@pytest.mark.parametrize(
    ("pdu", "reply"),
    [
        (ask(9), "ab03"),
        (ask(ONE, 3), "ab02"),
        (b"\x2b", "ab01"),
        (b"\x2b\x0d\x00\x00", "ab01"),
        (b"\x2b\x0e", "ab03"),
        (b"\x11\x00", "9103"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else value,
)
def test_what_is_wrong_is_answered_with_an_exception_that_a_client_reads(
    pdu: bytes, reply: str
) -> None:
    found = responder(IDENTITY, "server_id: SDM 630").answer(1, pdu, 0.0)
    assert found == bytes.fromhex(reply)
    decoded = DecodePDU(False).decode(found)
    assert isinstance(decoded, ExceptionResponse)
    assert (decoded.function_code, decoded.exception_code) == tuple(found)


@pytest.mark.parametrize(
    ("words", "known", "unknown"),
    [([IDENTITY], ask(BASIC), b"\x11"), (["server_id: x"], b"\x11", ask(BASIC))],
    ids=["identity alone", "server id alone"],
)
def test_what_a_map_does_not_say_answers_exception_01(
    words: list[str], known: bytes, unknown: bytes
) -> None:
    served = responder(*words)
    reply = served.answer(1, known, 0.0)
    assert reply is not None
    assert reply[0] == known[0]
    assert served.answer(1, unknown, 0.0) == bytes((unknown[0] | 0x80, 1))


@pytest.mark.parametrize("pdu", [ask(BASIC), ask(9), b"\x2b", b"\x11", b"\x11\x00"])
def test_without_identity_every_such_request_answers_exception_01(pdu: bytes) -> None:
    assert responder().answer(1, pdu, 0.0) == bytes((pdu[0] | 0x80, 1))
