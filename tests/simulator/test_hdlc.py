"""HDLC: one frame, segments, blocks."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import Hdlc, HdlcBlocks, crc16_x25, hdlc_frame, transfer_block

Unframe = Callable[[bytes], list[tuple[int, bytes, int, bytes]]]
Unwrap = Callable[[bytes], bytes]

CLIENT, METER = bytes.fromhex("ceff"), bytes.fromhex("03")


def test_crc_has_the_check_value_of_its_standard() -> None:
    assert crc16_x25(b"123456789") == bytes.fromhex("6e90")


# Headers of published telegrams: their check sequence depends on nothing but themselves.
@pytest.mark.parametrize(
    ("header", "check"),
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
def test_crc_of_real_headers(header: str, check: str) -> None:
    assert crc16_x25(bytes.fromhex(header)).hex() == check


def test_a_frame_counts_all_between_its_flags() -> None:
    frame = hdlc_frame(b"abc", CLIENT, METER)
    assert frame[:1] == frame[-1:] == b"\x7e"
    assert frame[1:3] == bytes([0xA0, len(frame) - 2])
    assert frame[3:7] == CLIENT + METER + b"\x13"


def test_a_frame_that_its_length_cannot_tell_is_refused() -> None:
    assert len(hdlc_frame(bytes(2037), CLIENT, METER)) == 0x7FF + 2
    with pytest.raises(ValueError, match="2038"):
        hdlc_frame(bytes(2038), CLIENT, METER)


@given(body=st.binary(min_size=1, max_size=600), segment_bytes=st.integers(4, 200))
def test_segments_carry_the_whole_apdu_in_order(
    unframe: Unframe, body: bytes, segment_bytes: int
) -> None:
    apdu = b"\xdb" + body
    frames = unframe(b"".join(Hdlc(CLIENT, METER, segment_bytes).frames(apdu)))
    assert b"".join(information for *_, information in frames) == b"\xe6\xe7\x00" + apdu
    assert all(len(information) == segment_bytes for *_, information in frames[:-1])
    assert [(kind & 0xF8, control) for kind, _, control, _ in frames] == [
        *[(0xA8, 0x03)] * (len(frames) - 1),
        (0xA0, 0x13),
    ]


def test_without_a_segment_size_there_is_one_frame(unframe: Unframe) -> None:
    (frame,) = Hdlc(CLIENT, METER).frames(bytes(1000))
    ((kind, addresses, control, information),) = unframe(frame)
    assert (kind, addresses, control) == (0xA3, CLIENT + METER, 0x13)
    assert information == b"\xe6\xe7\x00" + bytes(1000)


def test_a_block_has_control_number_and_length() -> None:
    assert transfer_block(b"abc", number=1, final=False).hex() == "e0400001000003616263"
    assert transfer_block(b"", number=260, final=True).hex() == "e0c00104000000"


@given(
    body=st.binary(min_size=1, max_size=600), first=st.integers(1, 127), other=st.integers(1, 127)
)
def test_blocks_carry_the_whole_apdu_in_order(
    unframe: Unframe, unwrap: Unwrap, body: bytes, first: int, other: int
) -> None:
    if len(body) > 100 * other:
        body = body[: 100 * other]
    frames = HdlcBlocks(CLIENT, METER, first, other).frames(b"\xdb" + body)
    assert unwrap(b"".join(frames)) == b"\xdb" + body
    for number, frame in enumerate(frames):
        ((kind, _, control, information),) = unframe(frame)
        assert (kind & 0xF8, control) == (0xA0, 0x13)
        assert information.startswith(b"\xe0" if number else b"\xe6\xe7\x00\xe0")
