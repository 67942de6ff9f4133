"""HDLC frames of type 3: header, check sequences, length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import crc16_x25, hdlc_frame
from gateway.telegram.hdlc import Header, crc, flaw, header, measure
from gateway.telegram.mbus import Flaw

CLIENT, METER = b"\xcf", b"\x02\x23"


def address(size: int) -> st.SearchStrategy[bytes]:
    """Addresses of one, two or four bytes: only the last has its lowest bit set."""
    octets = st.lists(st.integers(0, 127), min_size=size, max_size=size)
    return octets.map(
        lambda bits: bytes([*(one << 1 for one in bits[:-1]), bits[-1] << 1 | 1]),
    )


addresses = st.sampled_from([1, 2, 4]).flatmap(address)


def bare_frame(*, length: int = 0xA008, wrong: int = 0) -> bytes:
    """A frame without information has one check sequence."""
    content = length.to_bytes(2, "big") + CLIENT + METER + b"\x13"
    sent = crc(content)
    return b"\x7e" + content + bytes([sent[0] ^ wrong, sent[1]]) + b"\x7e"


def found(octets: bytes, start: int = 0) -> Header:
    result = header(octets, start)
    assert isinstance(result, Header)
    return result


# --- check sequence -------------------------------------------------------------------------


def test_crc_has_the_check_value_of_its_standard_low_byte_first() -> None:
    assert crc(b"123456789") == (0x906E).to_bytes(2, "little")


def test_crc_of_nothing_is_zero() -> None:
    assert crc(b"") == b"\0\0"


# Headers of published telegrams: their check sequence depends on nothing but themselves.
@pytest.mark.parametrize(
    ("octets", "check"),
    [
        ("a067cf022313", "fbf1"),
        ("a07bcf0002002313", "62b1"),
        ("a079cf0002002313", "d986"),
        ("a070cf0002002313", "e0c7"),
        ("a067ceff0313", "38bd"),
        ("a8a4cf022303", "9996"),
        ("a088ce9b0313", "0e9a"),
    ],
)
def test_crc_of_real_headers(octets: str, check: str) -> None:
    assert crc(bytes.fromhex(octets)).hex() == check


@given(octets=st.binary(max_size=300))
def test_crc_agrees_with_the_simulators(octets: bytes) -> None:
    assert crc(octets) == crc16_x25(octets)


# --- header ---------------------------------------------------------------------------------


@given(
    destination=addresses,
    source=addresses,
    information=st.binary(min_size=1, max_size=300),
    final=st.booleans(),
    before=st.binary(max_size=4),
)
def test_every_field_of_a_header_is_where_it_says(
    destination: bytes, source: bytes, information: bytes, final: bool, before: bytes
) -> None:
    frame = hdlc_frame(information, destination, source, final=final)
    read = found(before + frame, len(before))
    assert read.length == len(frame)
    assert read.is_segmented is not final
    assert read.addresses == destination + source
    assert frame[read.source :].startswith(source)
    assert frame[read.control] == (0x13 if final else 0x03)
    assert frame[read.information : -3] == information
    assert measure(before + frame, len(before)) == len(frame)
    assert flaw(frame) is None


@pytest.mark.parametrize(
    ("frame_header", "destination", "source"),
    [
        ("7ea067cf022313fbf1", "cf", "0223"),
        ("7ea07bcf000200231362b1", "cf", "00020023"),
        ("7ea067ceff031338bd", "ceff", "03"),
    ],
)
def test_real_headers_are_read(frame_header: str, destination: str, source: str) -> None:
    read = found(bytes.fromhex(frame_header))
    assert read.addresses.hex() == destination + source
    assert read.source == 3 + len(destination) // 2
    assert not read.is_segmented


@given(destination=addresses, source=addresses)
def test_while_a_header_is_cut_short_it_asks_for_more_bytes(
    destination: bytes, source: bytes
) -> None:
    frame = hdlc_frame(b"abc", destination, source)
    complete = found(frame).information
    for have in range(1, complete):
        wanted = header(frame[:have], 0)
        assert isinstance(wanted, int), have
        assert have < wanted <= complete, have
        assert measure(frame[:have], 0) == wanted
    assert isinstance(header(frame[:complete], 0), Header)


@given(octets=st.binary(max_size=20).map(b"\x7e\xa0\x20".__add__))
def test_what_a_header_asks_for_is_always_more_than_there_is(octets: bytes) -> None:
    wanted = header(octets, 0)
    assert not isinstance(wanted, int) or len(octets) < wanted <= 14


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param("7e7ea067cf022313fbf1", id="another flag"),
        pytest.param("7e9067cf022313fbf1", id="type 1"),
        pytest.param("7eb067cf022313fbf1", id="type 3 has 1010"),
        pytest.param("7ea06700020513130000", id="three bytes of address"),
        pytest.param("7ea06700020406080a0c0e", id="an address without end"),
        pytest.param("7ea067cf00020513130000", id="three bytes of source"),
        pytest.param("7ea067cf0000000000000000", id="a source without end"),
        pytest.param("7ea067cf0223730000", id="SNRM, not UI"),
        pytest.param("7ea007cf0223130000", id="shorter than its header"),
        pytest.param("7ea000cf0223130000", id="no length"),
    ],
)
def test_what_begins_no_frame_is_none(octets: str) -> None:
    assert header(bytes.fromhex(octets), 0) is None
    assert measure(bytes.fromhex(octets), 0) is None
    assert measure(b"\x7e" + bytes.fromhex(octets), 1) is None


def test_the_longest_frame_has_eleven_bits_of_length() -> None:
    frame = hdlc_frame(bytes(2037), CLIENT, METER)
    assert found(frame).length == len(frame) == 0x7FF + 2
    assert flaw(frame) is None


# --- flaws ----------------------------------------------------------------------------------


def test_a_frame_without_information_has_one_check_sequence() -> None:
    frame = bare_frame()
    assert measure(frame, 0) == len(frame) == 10
    assert flaw(frame) is None
    damaged = bare_frame(wrong=1)
    assert measure(damaged, 0) == 10
    fault = flaw(damaged)
    assert fault is not None
    assert fault.place == 7


def test_a_wrong_header_check_is_told_with_its_place() -> None:
    frame = bytearray(hdlc_frame(b"abc", CLIENT, METER))
    sent = frame[7:9].hex()
    frame[8] ^= 0x80
    # The length may be what is damaged: the frame is taken to end with its header.
    assert measure(bytes(frame), 0) == 9
    assert flaw(bytes(frame[:9])) == Flaw(
        f"header check 0x{frame[7:9].hex()}, computed 0x{sent}", 7
    )


def test_a_wrong_frame_check_is_told_with_its_place() -> None:
    frame = bytearray(hdlc_frame(b"abc", CLIENT, METER))
    sent = frame[12:14].hex()
    frame[13] ^= 0x80
    assert flaw(bytes(frame)) == Flaw(f"frame check 0x{frame[12:14].hex()}, computed 0x{sent}", 12)


def test_a_missing_closing_flag_is_told_with_its_place() -> None:
    frame = hdlc_frame(b"abc", CLIENT, METER)
    assert flaw(frame[:-1] + b"\x16") == Flaw("frame ends with 0x16, not with 0x7e", 14)


@pytest.mark.parametrize("have", [1, 2, 3, 5, 8])
def test_a_header_cut_short_is_told_with_its_place(have: int) -> None:
    frame = hdlc_frame(b"abc", CLIENT, METER)
    assert flaw(frame[:have]) == Flaw("the header breaks off", have)


def test_every_flipped_bit_of_a_frame_is_a_flaw_or_begins_none() -> None:
    frame = hdlc_frame(b"\xe6\xe7\x00 and some information", CLIENT, METER)
    for place in range(1, len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[place] ^= 1 << bit
            length = measure(bytes(damaged), 0)
            if length is not None and length <= len(damaged):
                assert flaw(bytes(damaged[:length])) is not None, (place, bit)


@given(octets=st.binary(max_size=40).map(b"\x7e".__add__))
def test_any_bytes_are_measured_and_judged(octets: bytes) -> None:
    length = measure(octets, 0)
    assert length is None or length > 2
    flaw(octets)
