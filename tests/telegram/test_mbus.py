"""M-Bus long frames: how long, how sound, and whether they are segments of a push."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import mbus_frame, mbus_frames
from gateway.telegram.mbus import Flaw, checksum, content_length, flaw, measure, segment

SHORT = mbus_frame(b"x", sequence=0, final=True)


def long_frame(content: bytes, *, wrong_sum: int = 0, stop: int = 0x16) -> bytes:
    count = len(content) % 256
    head, tail = [0x68, count, count, 0x68], [(sum(content) + wrong_sum) % 256, stop]
    return bytes(head) + content + bytes(tail)


def frame_of(
    *,
    control: int = 0x53,
    address: int = 0xFF,
    ci: int = 0x10,
    source: int = 0x01,
    destination: int = 0x67,
    data: bytes = b"data",
) -> bytes:
    return long_frame(bytes([control, address, ci, source, destination]) + data)


# --- length ---------------------------------------------------------------------------------


def test_content_length_is_the_length_byte_from_five_bytes_on() -> None:
    assert [content_length(n) for n in range(256)] == [*range(256, 261), *range(5, 256)]


@pytest.mark.parametrize("count", [*range(5, 20), 93, 250, *range(255, 261)])
def test_a_frame_is_measured_from_its_header_alone(count: int) -> None:
    frame = long_frame(bytes(count))
    assert measure(frame[:4], 0) == measure(b"\x68\x68" + frame, 2) == len(frame)


@pytest.mark.parametrize("have", [1, 2, 3])
def test_four_bytes_tell_whether_a_frame_begins(have: int) -> None:
    assert measure(b"\0" + SHORT[:have], 1) == 4


@pytest.mark.parametrize("header", ["68050668", "68050500", "68fafafa", "6868ff68"])
def test_a_damaged_header_begins_no_frame(header: str) -> None:
    assert measure(bytes.fromhex(header), 0) is None


# --- checks ---------------------------------------------------------------------------------


@given(content=st.binary(max_size=300))
def test_checksum_is_the_sum_of_all_bytes_modulo_256(content: bytes) -> None:
    assert checksum(content) == sum(content) % 256


@pytest.mark.parametrize("count", [0, 1, 250, 255, 256, 257, 258, 260])
def test_checksum_does_not_wrap_early_on_the_highest_bytes(count: int) -> None:
    assert checksum(b"\xff" * count) == 0xFF * count % 256


@given(apdu=st.binary(min_size=1, max_size=700), frame_apdu_bytes=st.integers(1, 252))
def test_what_a_meter_sends_has_no_flaw(apdu: bytes, frame_apdu_bytes: int) -> None:
    for frame in mbus_frames(apdu, frame_apdu_bytes=frame_apdu_bytes):
        assert measure(frame, 0) == len(frame)
        assert flaw(frame) is None
        assert not isinstance(segment(frame), Flaw)


@pytest.mark.parametrize("count", [5, 60, 250, 257])
@pytest.mark.parametrize("wrong_sum", [1, 16, 255])
def test_a_wrong_checksum_is_told_with_its_place(count: int, wrong_sum: int) -> None:
    frame = long_frame(bytes(count), wrong_sum=wrong_sum)
    assert flaw(frame) == Flaw(f"checksum 0x{wrong_sum:02x}, computed 0x00", 4 + count)


@pytest.mark.parametrize("stop", [0x00, 0x17, 0x68])
def test_a_wrong_stop_byte_is_told_with_its_place(stop: int) -> None:
    frame = long_frame(bytes(9), stop=stop)
    assert flaw(frame) == Flaw(f"frame ends with 0x{stop:02x}, not with 0x16", 14)


@given(frame=st.sampled_from([SHORT, *mbus_frames(bytes(range(256)))]), data=st.data())
def test_any_flipped_bit_behind_the_header_is_a_flaw(frame: bytes, data: st.DataObject) -> None:
    place, bit = data.draw(st.integers(4, len(frame) - 1)), data.draw(st.integers(0, 7))
    damaged = bytearray(frame)
    damaged[place] ^= 1 << bit
    assert flaw(bytes(damaged)) is not None


# --- segments -------------------------------------------------------------------------------


@pytest.mark.parametrize("control", [0x53, 0x73])
@pytest.mark.parametrize("ci", [*range(0x20)])
def test_a_segment_has_its_number_and_is_the_last_or_not(control: int, ci: int) -> None:
    assert segment(frame_of(control=control, ci=ci)) == (ci & 0x0F, ci >= 0x10)


@pytest.mark.parametrize(
    ("frame", "place", "reason"),
    [
        (frame_of(control=0x08), 4, "C field 0x08 is not SND_UD (0x53)"),
        (frame_of(control=0x5B), 4, "C field 0x5b is not SND_UD (0x53)"),
        (frame_of(address=0x00), 5, "address 0x00 is not broadcast (0xff)"),
        (frame_of(address=0xFE), 5, "address 0xfe is not broadcast (0xff)"),
        (frame_of(ci=0x30), 6, "CI field 0x30 is no DLMS segment"),
        (frame_of(ci=0x50), 6, "CI field 0x50 is no DLMS segment"),
        (frame_of(ci=0x90), 6, "CI field 0x90 is no DLMS segment"),
        (frame_of(ci=0x72), 6, "CI field 0x72 is no DLMS segment"),
        (frame_of(source=0x00), 7, "source SAP 0 is not the meter's (1)"),
        (frame_of(source=0x10), 7, "source SAP 16 is not the meter's (1)"),
        (frame_of(destination=0x66), 8, "destination SAP 102 is not 103"),
        (frame_of(data=b""), 9, "the segment carries no bytes"),
    ],
)
def test_a_foreign_frame_is_refused_at_the_field_that_tells(
    frame: bytes, place: int, reason: str
) -> None:
    assert segment(frame) == Flaw(reason, place)
