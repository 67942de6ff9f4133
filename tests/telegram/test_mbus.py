"""Frames out of a stream: what is a frame, what is reported, and where the search goes on."""

import pickle
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import mbus_frame, mbus_frames
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.mbus import Frame, FrameReader, checksum, content_length

Found = list[Frame | Fault]

# Bytes that look like the beginning of a frame are what a search stumbles over.
noise = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"\x68", b"\x16", b"\x68\xfa\xfa\x68", b"\x68\x05\x05\x68", b"\x68\x01"]),
        st.integers(0, 255).map(lambda n: bytes([0x68, n, n, 0x68])),
    ),
    max_size=12,
).map(b"".join)
segments = st.binary(max_size=60).map(lambda chunk: mbus_frame(chunk, sequence=0, final=True))
streams = st.lists(st.one_of(noise, segments), max_size=8).map(b"".join)


def long_frame(content: bytes, *, wrong_sum: int = 0, stop: int = 0x16) -> bytes:
    count = len(content) % 256
    head, tail = [0x68, count, count, 0x68], [(sum(content) + wrong_sum) % 256, stop]
    return bytes(head) + content + bytes(tail)


def read(*chunks: bytes) -> Found:
    """Feed all chunks at time 0, then finish."""
    reader = FrameReader()
    return [item for chunk in chunks for item in reader.feed(chunk, 0.0)] + reader.finish()


def frames_of(found: Iterable[Frame | Fault]) -> list[Frame]:
    return [item for item in found if isinstance(item, Frame)]


def faults_of(found: Iterable[Frame | Fault]) -> list[Fault]:
    return [item for item in found if isinstance(item, Fault)]


def frame_fault(reason: str, offset: int) -> Fault:
    return Fault(Layer.FRAME, reason, offset)


SHORT = mbus_frame(b"", sequence=0, final=True)
SHORT_CONTENT = bytes.fromhex("53ff100167")


# --- what is a frame ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 6, 17, 93, 250, 255])
def test_a_whole_frame_is_given_at_once_with_its_content_place_and_time(count: int) -> None:
    content = bytes(n * 7 % 256 for n in range(count))
    reader = FrameReader()
    assert reader.feed(long_frame(content), 12.5) == [Frame(content, 0, 12.5, 12.5)]
    assert reader.finish() == []


@pytest.mark.parametrize("wrapped", [0, 1, 2, 3, 4])
def test_a_length_too_short_for_a_segment_has_wrapped_at_256(wrapped: int) -> None:
    content = bytes(255 - n % 256 for n in range(256 + wrapped))
    stream = long_frame(content)
    assert stream[1] == wrapped
    assert read(stream) == [Frame(content, 0, 0.0, 0.0)]


def test_content_length_is_the_length_byte_from_five_bytes_on() -> None:
    assert [content_length(n) for n in range(256)] == [*range(256, 261), *range(5, 256)]


def test_both_frames_of_the_old_sagemcom_firmware_are_found() -> None:
    first, second = mbus_frames(bytes(260), frame_apdu_bytes=252)
    assert [len(frame.content) for frame in frames_of(read(first + second))] == [257, 13]
    assert faults_of(read(first + second)) == []


@given(content=st.binary(max_size=300))
def test_checksum_is_the_sum_of_all_bytes_modulo_256(content: bytes) -> None:
    assert checksum(content) == sum(content) % 256


@pytest.mark.parametrize("count", [0, 1, 250, 255, 256, 257, 258, 260])
def test_checksum_does_not_wrap_early_on_the_highest_bytes(count: int) -> None:
    assert checksum(b"\xff" * count) == 0xFF * count % 256


def test_start_stop_and_whole_headers_inside_the_content_are_content() -> None:
    content = SHORT_CONTENT + SHORT + b"\x68\xfa\xfa\x68\x16\x16\x68" + b"\x68" * 20 + b"\x16" * 20
    stream = long_frame(content) + SHORT
    assert read(stream) == [
        Frame(content, 0, 0.0, 0.0),
        Frame(SHORT_CONTENT, len(stream) - len(SHORT), 0.0, 0.0),
    ]


# --- what is none ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 60, 250, 257])
@pytest.mark.parametrize("wrong_sum", [1, 16, 255])
def test_a_wrong_checksum_is_told_with_its_place(count: int, wrong_sum: int) -> None:
    content = bytes(count)
    fault = frame_fault(f"checksum 0x{wrong_sum:02x}, computed 0x00", 3 + 4 + count)
    assert read(b"\0\0\0" + long_frame(content, wrong_sum=wrong_sum)) == [
        frame_fault("3 bytes outside all frames", 0),
        fault,
    ]


@pytest.mark.parametrize("stop", [0x00, 0x17, 0x68])
def test_a_wrong_stop_byte_is_told_with_its_place(stop: int) -> None:
    reader = FrameReader()
    assert reader.feed(long_frame(bytes(9), stop=stop), 0.0) == [
        frame_fault(f"frame ends with 0x{stop:02x}, not with 0x16", 14)
    ]


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("change", [1, 0x80])
def test_a_damaged_header_is_no_frame_and_its_bytes_are_one_run(index: int, change: int) -> None:
    damaged = bytearray(SHORT)
    damaged[index] ^= change
    assert read(bytes(damaged) + SHORT) == [
        frame_fault("11 bytes outside all frames", 0),
        Frame(SHORT_CONTENT, 11, 0.0, 0.0),
    ]


def test_both_length_bytes_must_agree() -> None:
    found = read(b"\x68\x05\x06\x68" + SHORT[4:])
    assert found == [frame_fault("11 bytes outside all frames", 0)]


# --- runs of garbage ------------------------------------------------------------------------


def test_garbage_before_between_and_after_is_reported_once_each() -> None:
    stream = b"\1" * 7 + SHORT + b"\2" + SHORT + b"\3" * 255
    assert read(stream) == [
        frame_fault("7 bytes outside all frames", 0),
        Frame(SHORT_CONTENT, 7, 0.0, 0.0),
        frame_fault("1 byte outside all frames", 18),
        Frame(SHORT_CONTENT, 19, 0.0, 0.0),
        frame_fault("255 bytes outside all frames", 30),
    ]


def test_a_run_that_comes_byte_by_byte_is_reported_once() -> None:
    assert read(*[b"\x55"] * 40, SHORT) == [
        frame_fault("40 bytes outside all frames", 0),
        Frame(SHORT_CONTENT, 40, 0.0, 0.0),
    ]


def test_endless_garbage_is_reported_while_it_comes() -> None:
    reader = FrameReader()
    found = [item for _ in range(600) for item in reader.feed(b"\x55", 0.0)]
    assert [fault.offset for fault in faults_of(found)] == [0, 256]
    assert reader.finish() == [frame_fault("88 bytes outside all frames", 512)]


@given(garbage=st.binary(max_size=1500).map(lambda b: b.replace(b"\x68", b"\x00")))
def test_runs_count_every_byte_of_pure_garbage_once(garbage: bytes) -> None:
    position = 0
    for fault in faults_of(read(garbage)):
        assert fault.offset == position
        position += int(fault.reason.split()[0])
    assert position == len(garbage)


def test_no_byte_that_a_fault_stands_for_is_reported_again() -> None:
    # A false header of 26 bytes spans a true frame and 11 bytes of garbage behind it: its fault
    # stands for all of them, and only what comes after them is a run of its own.
    found = read(b"\x68\x14\x14\x68" + SHORT + b"\x55" * 30)
    assert found[0].offset == 24
    assert found[1:] == [
        Frame(SHORT_CONTENT, 4, 0.0, 0.0),
        frame_fault("19 bytes outside all frames", 26),
    ]


# --- where the search goes on ---------------------------------------------------------------


@pytest.mark.parametrize("false_length", [0x00, 0x01, 0x05, 0x0B, 0x14, 0x68, 0xFA, 0xFF])
def test_false_header_never_swallows_the_frames_behind_it(false_length: int) -> None:
    stream = bytes([0x68, false_length, false_length, 0x68]) + SHORT + SHORT
    assert [frame.offset for frame in frames_of(read(stream))] == [4, 15]


@pytest.mark.parametrize("start", [b"\x68", b"\x68\x68", b"\x68\x05", b"\x68\x05\x05"])
def test_a_header_that_breaks_off_does_not_hide_the_frame_behind_it(start: bytes) -> None:
    reader = FrameReader()
    found = reader.feed(start + SHORT, 0.0)
    # Without waiting: the first bytes of the true frame show that the others were none.
    assert frames_of(found) == [Frame(SHORT_CONTENT, len(start), 0.0, 0.0)]


def test_a_frame_inside_a_damaged_frame_is_found() -> None:
    inner = mbus_frame(b"inner", sequence=0, final=True)
    outer = long_frame(SHORT_CONTENT + inner + bytes(8), wrong_sum=1)
    assert [frame.offset for frame in frames_of(read(outer + SHORT))] == [9, len(outer)]


def test_a_capture_that_starts_and_ends_within_a_frame_gives_the_whole_one_between() -> None:
    frame = mbus_frame(bytes(range(200)), sequence=0, final=True)
    found = read(frame[90:] + frame + frame[:90])
    assert [item.offset for item in frames_of(found)] == [len(frame) - 90]
    assert faults_of(found)[-1] == frame_fault(
        f"frame breaks off after 90 of {len(frame)} bytes", 2 * len(frame)
    )


@pytest.mark.parametrize("missing", range(1, 8))
def test_a_frame_that_breaks_off_is_told_with_the_place_of_the_missing_byte(missing: int) -> None:
    have = len(SHORT) - missing
    found = read(b"\0" + SHORT[:have])
    assert found == [
        frame_fault("1 byte outside all frames", 0),
        frame_fault(f"frame breaks off after {have} of 11 bytes", 1 + have),
    ]


def test_after_finish_offsets_count_on_and_the_rest_is_forgotten() -> None:
    reader = FrameReader()
    reader.feed(SHORT[:7], 0.0)
    assert len(reader.finish()) == 1
    assert reader.finish() == []
    assert reader.feed(SHORT[7:] + SHORT, 0.0)[-1] == Frame(SHORT_CONTENT, 11, 0.0, 0.0)


def test_received_is_the_time_of_the_frames_last_byte() -> None:
    reader = FrameReader()
    stream = b"\0" + SHORT + SHORT
    found = [item for n, byte in enumerate(stream) for item in reader.feed(bytes([byte]), n / 10)]
    assert [frame.received for frame in frames_of(found)] == [1.1, 2.2]


def test_received_is_the_chunk_in_which_the_last_byte_came() -> None:
    reader = FrameReader()
    reader.feed(SHORT[:-1], 1.0)
    assert [frame.received for frame in frames_of(reader.feed(SHORT[-1:] + SHORT, 2.0))] == [2, 2]


def test_a_frame_found_late_keeps_the_time_of_its_last_byte() -> None:
    reader = FrameReader()
    assert reader.feed(b"\x68\xff\xff\x68" + SHORT[:4], 1.0) == []
    assert reader.feed(SHORT[4:-1], 2.0) == []
    assert reader.feed(SHORT[-1:], 3.0) == []
    assert reader.feed(SHORT, 4.0) == []
    assert reader.feed(bytes(300), 9.0)[1:3] == [
        Frame(SHORT_CONTENT, 4, 1.0, 3.0),
        Frame(SHORT_CONTENT, 15, 4.0, 4.0),
    ]


# --- properties -----------------------------------------------------------------------------


@given(stream=streams, cuts=st.lists(st.integers(0, 800), max_size=20))
def test_chunks_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    expected = read(stream)
    assert read(*chunks) == expected
    assert read(*[bytes([byte]) for byte in stream]) == expected


@given(stream=streams)
def test_every_frame_is_what_stands_at_its_place(stream: bytes) -> None:
    end = 0
    for frame in frames_of(read(stream)):
        assert stream[frame.offset :].startswith(long_frame(frame.content))
        assert frame.offset >= end
        end = frame.offset + len(frame.content) + 6


@given(stream=streams)
def test_every_fault_points_into_the_stream(stream: bytes) -> None:
    assert all(0 <= fault.offset <= len(stream) for fault in faults_of(read(stream)))


@given(before=noise, after=noise)
def test_nothing_is_silent_a_stream_without_faults_is_frames_only(
    before: bytes, after: bytes
) -> None:
    stream = before + SHORT + after
    found = read(stream)
    if not faults_of(found):
        assert b"".join(long_frame(frame.content) for frame in frames_of(found)) == stream


@pytest.mark.parametrize("size", [1, 7, 2000])
@pytest.mark.parametrize(
    "pattern",
    [b"\x00", b"\x68", b"\x68\x00\x00\x68", b"\x68\x04\x04", b"\x68\xff\xff\x68\x16", SHORT[:-1]],
    ids=bytes.hex,
)
def test_memory_is_bounded_whatever_comes(pattern: bytes, size: int) -> None:
    stream = pattern * (6_000 // len(pattern))
    reader = FrameReader()
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size], start / 240)
        assert len(pickle.dumps(reader)) < 10_000
