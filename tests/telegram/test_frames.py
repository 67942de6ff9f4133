"""Frames out of a stream: what is a frame, what is reported, and where the search goes on."""

import pickle
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import crc16_x25, hdlc_frame, mbus_frame, mbus_frames
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.frames import Frame, FrameReader

Found = list[Frame | Fault]

CLIENT, METER = b"\xcf", b"\x02\x23"


def hdlc(information: bytes = b"\xe6\xe7\x00abc", *, final: bool = True) -> bytes:
    return hdlc_frame(information, CLIENT, METER, final=final)


def long_frame(content: bytes, *, wrong_sum: int = 0, stop: int = 0x16) -> bytes:
    count = len(content) % 256
    head, tail = [0x68, count, count, 0x68], [(sum(content) + wrong_sum) % 256, stop]
    return bytes(head) + content + bytes(tail)


def damage(frame: bytes, place: int) -> bytes:
    return frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :]


SHORT = mbus_frame(b"", sequence=0, final=True)
SHORT_CONTENT = bytes.fromhex("53ff100167")
HDLC = hdlc()
BAD_HDLC = damage(HDLC, len(HDLC) - 2)
BOTH = pytest.mark.parametrize("frame", [SHORT, HDLC], ids=["mbus", "hdlc"])

# Bytes that look like the beginning of a frame are what a search stumbles over.
STUMBLES = [
    b"\x68", b"\x16", b"\x7e", b"\x7e\x7e", b"\x68\xfa\xfa\x68", b"\x68\x05\x05\x68", b"\x68\x01",
    b"\x7e\xa0", HDLC[:9], HDLC[:-1], HDLC[1:], SHORT[:-1], damage(HDLC, 8), BAD_HDLC,
    hdlc(bytes(1000))[:12],
]  # fmt: skip
noise = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(STUMBLES),
        st.integers(0, 255).map(lambda n: bytes([0x68, n, n, 0x68])),
    ),
    max_size=12,
).map(b"".join)
mbus_frames_of_any = st.binary(max_size=60).map(
    lambda chunk: mbus_frame(chunk, sequence=0, final=True)
)
hdlc_frames_of_any = st.binary(min_size=1, max_size=60).map(hdlc)
frames_of_any = st.one_of(mbus_frames_of_any, hdlc_frames_of_any)
streams = st.lists(st.one_of(noise, frames_of_any), max_size=8).map(b"".join)
cuts = st.lists(st.integers(0, 800), max_size=20)


def read(*chunks: bytes, damaged: Sequence[int] = ()) -> Found:
    """Feed all chunks at time 0, then finish; `damaged` counts in all of them."""
    reader, found, end = FrameReader(), [], 0
    for chunk in chunks:
        marks = [at - end for at in damaged if end <= at < end + len(chunk)]
        found += reader.feed(chunk, 0.0, marks)
        end += len(chunk)
    return found + reader.finish()


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    return [stream[start:end] for start, end in pairwise([0, *sorted(places), len(stream)])]


def bytewise(stream: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in stream]


def frames_of(found: Iterable[Frame | Fault]) -> list[Frame]:
    return [item for item in found if isinstance(item, Frame)]


def faults_of(found: Iterable[Frame | Fault]) -> list[Fault]:
    return [item for item in found if isinstance(item, Fault)]


def frame_fault(reason: str, offset: int) -> Fault:
    return Fault(Layer.FRAME, reason, offset)


# --- what is a frame ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 6, 17, 93, 250, 255])
def test_a_whole_frame_is_given_at_once_with_its_bytes_place_and_time(count: int) -> None:
    octets = long_frame(bytes(n * 7 % 256 for n in range(count)))
    reader = FrameReader()
    assert reader.feed(octets, 12.5) == [Frame(octets, 0, 12.5, 12.5)]
    assert reader.is_idle
    assert reader.finish() == []


@pytest.mark.parametrize("count", [1, 6, 93, 250, 2037])
def test_a_whole_hdlc_frame_is_given_at_once(count: int) -> None:
    octets = hdlc_frame(bytes(count), CLIENT, b"\x03")
    reader = FrameReader()
    assert reader.feed(octets, 12.5) == [Frame(octets, 0, 12.5, 12.5)]
    assert reader.finish() == []


def test_a_frame_tells_hdlc_from_mbus() -> None:
    assert [frame.is_hdlc for frame in frames_of(read(SHORT + HDLC + SHORT))] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("wrapped", [0, 1, 2, 3, 4])
def test_a_length_too_short_for_a_segment_has_wrapped_at_256(wrapped: int) -> None:
    stream = long_frame(bytes(255 - n % 256 for n in range(256 + wrapped)))
    assert stream[1] == wrapped
    assert read(stream) == [Frame(stream, 0, 0.0, 0.0)]


def test_both_frames_of_the_old_sagemcom_firmware_are_found() -> None:
    first, second = mbus_frames(bytes(260), frame_apdu_bytes=252)
    assert read(first + second) == [Frame(first, 0, 0.0, 0.0), Frame(second, 263, 0.0, 0.0)]


def test_start_stop_and_whole_frames_inside_the_content_are_content() -> None:
    content = SHORT_CONTENT + SHORT + HDLC + b"\x68\xfa\xfa\x68\x16\x16\x68\x7e" + b"\x68" * 20
    stream = long_frame(content) + SHORT
    assert [frame.octets for frame in frames_of(read(stream))] == [long_frame(content), SHORT]
    stream = hdlc(SHORT + HDLC + b"\x7e\x7e\x68\xfa\xfa\x68") + HDLC
    assert [frame.octets for frame in frames_of(read(stream))] == [stream[: -len(HDLC)], HDLC]
    assert faults_of(read(stream)) == []


def test_two_hdlc_frames_may_share_the_flag_between_them() -> None:
    first, second = hdlc(b"one"), hdlc(b"two")
    for stream in (first + second[1:], first + second, first + b"\x7e\x7e" + second):
        found = frames_of(read(stream))
        assert [frame.octets for frame in found] == [first, second]
        assert found[1].offset == len(stream) - len(second)
    assert faults_of(read(first + second[1:])) == []
    assert faults_of(read(first + second)) == []


def test_a_shared_flag_is_shared_however_late_the_next_frame_comes() -> None:
    reader = FrameReader()
    first, second = hdlc(b"one"), hdlc(b"two")
    assert reader.feed(first, 1.0) == [Frame(first, 0, 1.0, 1.0)]
    assert reader.feed(second[1:5], 2.0) == []
    # It began when its own first byte came, not when the flag did that ended the one before.
    assert reader.feed(second[5:], 3.0) == [Frame(second, len(first) - 1, 2.0, 3.0)]


def test_an_hdlc_frame_without_information_is_a_frame() -> None:
    header = b"\xa0\x08" + CLIENT + METER + b"\x13"
    octets = b"\x7e" + header + crc16_x25(header) + b"\x7e"
    assert read(octets) == [Frame(octets, 0, 0.0, 0.0)]


# --- what is none ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 60, 250, 257])
@pytest.mark.parametrize("wrong_sum", [1, 16, 255])
def test_a_wrong_checksum_is_told_with_its_place(count: int, wrong_sum: int) -> None:
    fault = frame_fault(f"checksum 0x{wrong_sum:02x}, computed 0x00", 3 + 4 + count)
    assert read(b"\0\0\0" + long_frame(bytes(count), wrong_sum=wrong_sum)) == [
        frame_fault("3 bytes outside all frames", 0),
        fault,
    ]


@pytest.mark.parametrize("stop", [0x00, 0x17, 0x68])
def test_a_wrong_stop_byte_is_told_with_its_place(stop: int) -> None:
    reader = FrameReader()
    assert reader.feed(long_frame(bytes(9), stop=stop), 0.0) == [
        frame_fault(f"frame ends with 0x{stop:02x}, not with 0x16", 14)
    ]


def test_a_wrong_frame_check_is_one_fault_told_with_its_place() -> None:
    fault = frame_fault(
        f"frame check 0x{BAD_HDLC[-3:-1].hex()}, computed 0x{HDLC[-3:-1].hex()}", len(HDLC) - 3
    )
    assert read(BAD_HDLC) == [fault]


def test_a_wrong_header_check_is_told_with_its_place() -> None:
    bad = damage(HDLC, 8)
    found = read(bad + HDLC)
    reason = f"header check 0x{bad[7:9].hex()}, computed 0x{HDLC[7:9].hex()}"
    assert frame_fault(reason, 7) in found
    assert frames_of(found) == [Frame(HDLC, len(HDLC), 0.0, 0.0)]


def test_each_of_two_damaged_hdlc_frames_that_share_a_flag_is_told_once() -> None:
    found = read(HDLC + BAD_HDLC[1:] + BAD_HDLC[1:] + HDLC[1:])
    assert [frame.offset for frame in frames_of(found)] == [0, 3 * (len(HDLC) - 1)]
    faults = faults_of(found)
    assert [fault.offset for fault in faults] == [
        number * (len(HDLC) - 1) + len(HDLC) - 3 for number in (1, 2)
    ]


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("change", [1, 0x80])
def test_a_damaged_header_is_no_frame_and_its_bytes_are_one_run(index: int, change: int) -> None:
    damaged = bytearray(SHORT)
    damaged[index] ^= change
    assert read(bytes(damaged) + SHORT) == [
        frame_fault("11 bytes outside all frames", 0),
        Frame(SHORT, 11, 0.0, 0.0),
    ]


def test_both_length_bytes_must_agree() -> None:
    found = read(b"\x68\x05\x06\x68" + SHORT[4:])
    assert found == [frame_fault("11 bytes outside all frames", 0)]


# --- runs of garbage ------------------------------------------------------------------------


@BOTH
def test_garbage_before_between_and_after_is_reported_once_each(frame: bytes) -> None:
    size = len(frame)
    assert read(b"\1" * 7 + frame + b"\2" + frame + b"\3" * 255) == [
        frame_fault("7 bytes outside all frames", 0),
        Frame(frame, 7, 0.0, 0.0),
        frame_fault("1 byte outside all frames", 7 + size),
        Frame(frame, 8 + size, 0.0, 0.0),
        frame_fault("255 bytes outside all frames", 8 + 2 * size),
    ]


@BOTH
def test_a_run_that_comes_byte_by_byte_is_reported_once(frame: bytes) -> None:
    assert read(*[b"\x55"] * 40, frame) == [
        frame_fault("40 bytes outside all frames", 0),
        Frame(frame, 40, 0.0, 0.0),
    ]


def test_endless_garbage_is_reported_while_it_comes() -> None:
    reader = FrameReader()
    found = [item for _ in range(600) for item in reader.feed(b"\x55", 0.0)]
    assert [fault.offset for fault in faults_of(found)] == [0, 256]
    assert reader.finish() == [frame_fault("88 bytes outside all frames", 512)]


@given(garbage=st.binary(max_size=1500).map(lambda b: b.translate(None, b"\x68\x7e")))
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
    assert isinstance(found[0], Fault)
    assert found[0].offset == 24
    assert found[1:] == [
        Frame(SHORT, 4, 0.0, 0.0),
        frame_fault("19 bytes outside all frames", 26),
    ]


# --- bytes that came damaged ----------------------------------------------------------------


@BOTH
def test_a_frame_with_a_damaged_byte_is_a_fault_although_its_checks_agree(frame: bytes) -> None:
    # Parity sees what an eight-bit sum may miss.
    for place in range(len(frame)):
        reader = FrameReader()
        (fault,) = faults_of([*reader.feed(frame, 0.0, [place]), *reader.finish()])
        assert fault == frame_fault(
            f"1 of the frame's {len(frame)} bytes came with a parity error", place
        )


@BOTH
def test_all_damaged_bytes_of_a_frame_are_counted_and_the_first_is_pointed_at(
    frame: bytes,
) -> None:
    fault = frame_fault(f"3 of the frame's {len(frame)} bytes came with a parity error", 2 + 4)
    assert fault in read(b"\0\0" + frame, damaged=[6, 7, len(frame)])


@BOTH
def test_damage_to_one_frame_is_none_to_its_neighbours(frame: bytes) -> None:
    size = len(frame)
    found = read(frame * 3, damaged=[size, 2 * size - 1])
    assert [item.offset for item in frames_of(found)] == [0, 2 * size]


def test_a_damaged_flag_that_two_frames_share_damages_both() -> None:
    size = len(HDLC)
    found = read(HDLC + HDLC[1:] + HDLC[1:], damaged=[size - 1])
    assert [item.offset for item in frames_of(found)] == [2 * (size - 1)]
    assert len(faults_of(found)) == 2


def test_damaged_bytes_outside_all_frames_are_counted() -> None:
    assert read(b"\x55" * 8 + SHORT + b"\x55", damaged=[0, 7, 19]) == [
        frame_fault("8 bytes outside all frames, 2 with parity errors", 0),
        Frame(SHORT, 8, 0.0, 0.0),
        frame_fault("1 byte outside all frames, 1 with parity errors", 19),
    ]


def test_each_damaged_byte_is_counted_in_the_run_where_it_stands() -> None:
    found = read(*bytewise(bytes(600)), damaged=[0, 255, 256, 599])
    assert [fault.reason for fault in faults_of(found)] == [
        "256 bytes outside all frames, 2 with parity errors",
        "256 bytes outside all frames, 1 with parity errors",
        "88 bytes outside all frames, 1 with parity errors",
    ]


@given(garbage=st.binary(max_size=600), data=st.data())
def test_where_chunks_are_cut_makes_no_difference_to_damaged_bytes(
    garbage: bytes, data: st.DataObject
) -> None:
    stream = garbage + SHORT + HDLC + HDLC[1:] + garbage[:9]
    marks = data.draw(
        st.lists(st.integers(0, len(stream) - 1), max_size=6, unique=True).map(sorted)
    )
    expected = read(stream, damaged=marks)
    assert read(*cut(stream, data.draw(cuts)), damaged=marks) == expected
    assert read(*bytewise(stream), damaged=marks) == expected


# --- where the search goes on ---------------------------------------------------------------


@pytest.mark.parametrize("false_length", [0x00, 0x01, 0x05, 0x0B, 0x14, 0x68, 0xFA, 0xFF])
@BOTH
def test_false_header_never_swallows_the_frames_behind_it(frame: bytes, false_length: int) -> None:
    stream = bytes([0x68, false_length, false_length, 0x68]) + frame + frame
    assert [item.offset for item in frames_of(read(stream))] == [4, 4 + len(frame)]


@pytest.mark.parametrize("size", [3, 9, 12, 60, 1000])
@BOTH
def test_a_broken_hdlc_frame_never_swallows_the_frames_behind_it(frame: bytes, size: int) -> None:
    broken = hdlc(bytes(1200))[:size]
    found = frames_of(read(broken + frame + frame))
    assert [item.offset for item in found] == [size, size + len(frame)]


@pytest.mark.parametrize("start", [b"\x68", b"\x68\x68", b"\x68\x05", b"\x68\x05\x05", b"\x7e"])
@BOTH
def test_a_header_that_breaks_off_does_not_hide_the_frame_behind_it(
    frame: bytes, start: bytes
) -> None:
    reader = FrameReader()
    found = reader.feed(start + frame, 0.0)
    # Without waiting: the first bytes of the true frame show that the others were none.
    assert frames_of(found) == [Frame(frame, len(start), 0.0, 0.0)]


@BOTH
def test_a_frame_inside_a_damaged_frame_is_found(frame: bytes) -> None:
    inner = mbus_frame(b"inner", sequence=0, final=True)
    outer = long_frame(SHORT_CONTENT + inner + bytes(8), wrong_sum=1)
    assert [item.offset for item in frames_of(read(outer + frame))] == [9, len(outer)]
    outer = hdlc(b"\xe6\xe7\x00" + frame + bytes(8))
    found = read(damage(outer, len(outer) - 2) + frame)
    assert [item.offset for item in frames_of(found)] == [12, len(outer)]


def test_a_capture_that_starts_and_ends_within_a_frame_gives_the_whole_one_between() -> None:
    for frame in (mbus_frame(bytes(range(200)), sequence=0, final=True), hdlc(bytes(range(100)))):
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


def test_an_hdlc_frame_that_breaks_off_is_one_fault() -> None:
    for have in range(9, len(HDLC)):
        assert read(HDLC[:have]) == [
            frame_fault(f"frame breaks off after {have} of {len(HDLC)} bytes", have)
        ]


@pytest.mark.parametrize("have", range(1, 9))
def test_half_an_hdlc_header_may_be_anything(have: int) -> None:
    plural = "s" if have > 1 else ""
    assert read(HDLC[:have]) == [frame_fault(f"{have} byte{plural} outside all frames", 0)]


@pytest.mark.parametrize("have", [1, 2, 3])
def test_half_an_mbus_header_may_be_anything(have: int) -> None:
    plural = "s" if have > 1 else ""
    assert read(SHORT[:have]) == [frame_fault(f"{have} byte{plural} outside all frames", 0)]


def test_after_finish_offsets_count_on_and_the_rest_is_forgotten() -> None:
    reader = FrameReader()
    reader.feed(SHORT[:7], 0.0)
    assert len(reader.finish()) == 1
    assert reader.finish() == []
    assert reader.is_idle
    assert reader.feed(SHORT[7:] + SHORT, 0.0)[-1] == Frame(SHORT, 11, 0.0, 0.0)


# --- time -----------------------------------------------------------------------------------


@BOTH
def test_a_frame_began_with_its_first_byte_and_is_received_with_its_last(frame: bytes) -> None:
    reader = FrameReader()
    chunks = [b"\0" + frame[:1], *bytewise(frame[1:])]
    found = [item for n, chunk in enumerate(chunks) for item in reader.feed(chunk, n / 10)]
    (whole,) = frames_of(found)
    # The flag of an HDLC frame may be the one before's: its second byte is its own.
    assert (whole.began, whole.received) == (0.1 if frame is HDLC else 0.0, (len(frame) - 1) / 10)


@BOTH
def test_received_is_the_chunk_in_which_the_last_byte_came(frame: bytes) -> None:
    reader = FrameReader()
    reader.feed(frame[:-1], 1.0)
    found = frames_of(reader.feed(frame[-1:] + frame, 2.0))
    assert [(item.began, item.received) for item in found] == [(1.0, 2.0), (2.0, 2.0)]


def test_a_frame_found_late_keeps_the_time_of_its_last_byte() -> None:
    reader = FrameReader()
    assert reader.feed(b"\x68\xff\xff\x68" + SHORT[:4], 1.0) == []
    assert reader.feed(SHORT[4:-1], 2.0) == []
    assert reader.feed(SHORT[-1:], 3.0) == []
    assert reader.feed(SHORT, 4.0) == []
    assert reader.feed(bytes(300), 9.0)[1:3] == [
        Frame(SHORT, 4, 1.0, 3.0),
        Frame(SHORT, 15, 4.0, 4.0),
    ]


# --- bytes read elsewhere -------------------------------------------------------------------


def test_a_reader_is_idle_when_nothing_is_incomplete_and_nothing_untold() -> None:
    reader = FrameReader()
    assert reader.is_idle
    reader.feed(SHORT[:1], 0.0)
    assert not reader.is_idle
    reader.feed(SHORT[1:], 0.0)
    assert reader.is_idle
    reader.feed(b"\x55", 0.0)
    assert not reader.is_idle
    reader.feed(SHORT, 0.0)
    assert reader.is_idle
    reader.feed(b"\x55", 0.0)
    reader.finish()
    assert reader.is_idle


@BOTH
def test_skipped_bytes_are_counted_and_nothing_else(frame: bytes) -> None:
    reader = FrameReader()
    reader.feed(SHORT, 0.0)
    reader.skip(1000)
    assert reader.offset == 1011
    assert reader.feed(b"\0" + frame, 5.0) == [
        frame_fault("1 byte outside all frames", 1011),
        Frame(frame, 1012, 5.0, 5.0),
    ]


# --- properties -----------------------------------------------------------------------------


@given(stream=streams, places=cuts)
def test_chunks_make_no_difference(stream: bytes, places: list[int]) -> None:
    expected = read(stream)
    assert read(*cut(stream, places)) == expected
    assert read(*bytewise(stream)) == expected


@given(stream=streams)
def test_every_frame_is_what_stands_at_its_place(stream: bytes) -> None:
    end = 0
    for frame in frames_of(read(stream)):
        assert stream[frame.offset :].startswith(frame.octets)
        # Only a flag is ever shared.
        assert frame.offset >= end - frame.is_hdlc
        end = frame.offset + len(frame.octets)


@given(stream=streams)
def test_every_fault_points_into_the_stream(stream: bytes) -> None:
    assert all(0 <= fault.offset <= len(stream) for fault in faults_of(read(stream)))


@given(before=noise, frames=st.lists(frames_of_any, max_size=3), after=noise)
def test_nothing_is_silent_a_stream_without_faults_is_frames_only(
    before: bytes, frames: list[bytes], after: bytes
) -> None:
    stream = b"".join([before, *frames, after])
    found = read(stream)
    if not faults_of(found):
        covered = {
            place
            for frame in frames_of(found)
            for place in range(frame.offset, frame.offset + len(frame.octets))
        }
        # Between HDLC frames any number of flags may stand.
        assert {stream[place] for place in set(range(len(stream))) - covered} <= {0x7E}


@given(garbage=noise, frame=frames_of_any)
def test_after_any_garbage_the_next_whole_frame_is_found(garbage: bytes, frame: bytes) -> None:
    stream = garbage + frame
    found = frames_of(read(stream))
    # Unless the garbage completes to a sound M-Bus frame that reaches over it.
    if not any(
        not item.is_hdlc and item.offset < len(garbage) < item.offset + len(item.octets)
        for item in found
    ):
        assert found[-1].offset + len(found[-1].octets) == len(stream)
        assert found[-1].octets == frame


@pytest.mark.parametrize("size", [1, 7, 2000])
@pytest.mark.parametrize(
    "pattern",
    [
        b"\x00", b"\x68", b"\x7e", b"\x68\x00\x00\x68", b"\x68\x04\x04", b"\x68\xff\xff\x68\x16",
        SHORT[:-1], HDLC[:9], HDLC[:-1], HDLC, hdlc(bytes(2000))[:2000], b"\x7e\xa7\xff",
    ],
    ids=lambda pattern: f"{pattern[:9].hex()} x{len(pattern)}",
)  # fmt: skip
def test_memory_is_bounded_whatever_comes(pattern: bytes, size: int) -> None:
    stream = pattern * (6_000 // len(pattern))
    reader = FrameReader()
    for start in range(0, len(stream), size):
        chunk = stream[start : start + size]
        reader.feed(chunk, start / 240, range(len(chunk)))
        if start % 10 == 0:
            # Each byte that waits may have a time of its own, and a mark.
            assert len(pickle.dumps(reader)) < 60_000
