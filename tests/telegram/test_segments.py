"""Segments to one APDU: only what continues exactly is joined."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import mbus_frames
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.mbus import Frame, FrameReader
from gateway.telegram.segments import Apdu, Assembler

FIN = 0x10


def segment(
    ci: int,
    data: bytes = b"data",
    *,
    at: int = 0,
    when: float = 0.0,
    lasts: float = 0.0,
    control: int = 0x53,
    address: int = 0xFF,
    source: int = 0x01,
    destination: int = 0x67,
) -> Frame:
    """A frame at stream offset `at` that began at `when` and took `lasts` seconds."""
    content = bytes([control, address, ci, source, destination]) + data
    return Frame(content, at, when, when + lasts)


def join(*frames: Frame) -> list[Apdu | Fault]:
    """Add all frames, then finish."""
    assembler = Assembler()
    return [item for frame in frames for item in assembler.add(frame)] + assembler.finish()


def contents(found: list[Apdu | Fault]) -> list[bytes]:
    return [item.content for item in found if isinstance(item, Apdu)]


def segment_fault(reason: str, offset: int) -> Fault:
    return Fault(Layer.SEGMENT, reason, offset)


# --- what is joined -------------------------------------------------------------------------


def test_a_single_segment_is_an_apdu_at_once() -> None:
    assert Assembler().add(segment(FIN, b"apdu", at=100, when=7.0)) == [
        Apdu(b"apdu", 7.0, ((0, 109),))
    ]


def test_two_segments_are_one_apdu_received_with_the_last() -> None:
    first, last = segment(0x00, b"first", when=1.0), segment(FIN | 1, b"last", at=256, when=2.5)
    assembler = Assembler()
    assert assembler.add(first) == []
    assert assembler.add(last) == [Apdu(b"firstlast", 2.5, ((0, 9), (5, 265)))]
    assert assembler.finish() == []


@pytest.mark.parametrize("count", [2, 15, 16, 17, 32, 33, 100])
def test_sequence_numbers_start_again_after_fifteen(count: int) -> None:
    frames = [segment(n % 16, bytes([n])) for n in range(count - 1)]
    found = join(*frames, segment(FIN | (count - 1) % 16, bytes([count - 1])))
    assert contents(found) == [bytes(range(count))]
    assert len(found) == 1


@given(apdu=st.binary(min_size=1, max_size=2048), frame_apdu_bytes=st.integers(5, 252))
def test_what_a_meter_cuts_is_joined_again(apdu: bytes, frame_apdu_bytes: int) -> None:
    stream = b"".join(mbus_frames(apdu, frame_apdu_bytes=frame_apdu_bytes))
    found = join(*(item for item in FrameReader().feed(stream, 0.0) if isinstance(item, Frame)))
    assert contents(found) == [apdu]
    assert len(found) == 1


@given(apdu=st.binary(min_size=1, max_size=700), frame_apdu_bytes=st.integers(5, 252))
def test_wire_offset_finds_each_byte_in_the_stream(apdu: bytes, frame_apdu_bytes: int) -> None:
    stream = b"".join(mbus_frames(apdu, frame_apdu_bytes=frame_apdu_bytes))
    frames = (item for item in FrameReader().feed(stream, 0.0) if isinstance(item, Frame))
    (joined,) = join(*frames)
    assert isinstance(joined, Apdu)
    assert bytes(stream[joined.wire_offset(index)] for index in range(len(apdu))) == apdu


@pytest.mark.parametrize("control", [0x53, 0x73])
def test_the_frame_count_bit_makes_no_difference(control: int) -> None:
    assert contents(join(segment(FIN, b"apdu", control=control))) == [b"apdu"]


def test_two_apdus_follow_each_other() -> None:
    frames = [segment(0, b"a"), segment(FIN | 1, b"b"), segment(0, b"c"), segment(FIN | 1, b"d")]
    assert join(*frames) == [Apdu(b"ab", 0.0, ((0, 9), (1, 9))), Apdu(b"cd", 0.0, ((0, 9), (1, 9)))]


# --- what is lost, doubled, reordered -------------------------------------------------------


def test_without_the_first_segment_the_second_is_refused() -> None:
    assert join(segment(FIN | 1, at=256)) == [
        segment_fault("segment 1 without the segments before it", 262)
    ]


def test_when_the_last_segment_is_lost_the_next_telegram_is_whole() -> None:
    found = join(segment(0, b"lost"), segment(0, b"a", at=256), segment(FIN | 1, b"b", at=512))
    assert found == [
        segment_fault("telegram breaks off after 1 segment: segment 0 follows", 9),
        Apdu(b"ab", 0.0, ((0, 265), (1, 521))),
    ]


def test_when_nothing_follows_finish_tells_that_the_telegram_breaks_off() -> None:
    assembler = Assembler()
    assembler.add(segment(0))
    assembler.add(segment(1))
    assert assembler.finish() == [segment_fault("telegram breaks off after 2 segments", 9)]
    assert assembler.finish() == []


def test_a_lost_middle_segment_breaks_the_telegram() -> None:
    assert join(segment(0), segment(FIN | 2, at=512)) == [
        segment_fault("telegram breaks off after 1 segment: segment 2 follows", 9),
        segment_fault("segment 2 without the segments before it", 518),
    ]


def test_a_doubled_first_segment_starts_anew() -> None:
    found = join(segment(0, b"old"), segment(0, b"new"), segment(FIN | 1, b"!"))
    assert contents(found) == [b"new!"]
    assert len(found) == 2


def test_a_doubled_last_segment_is_refused() -> None:
    found = join(segment(0, b"a"), segment(FIN | 1, b"b"), segment(FIN | 1, b"b"))
    assert contents(found) == [b"ab"]
    assert found[1:] == [segment_fault("segment 1 without the segments before it", 6)]


def test_a_doubled_middle_segment_breaks_the_telegram() -> None:
    found = join(segment(0), segment(1), segment(1), segment(FIN | 2))
    assert contents(found) == []
    assert "breaks off after 2 segments: segment 1 follows" in found[0].reason


def test_reordered_segments_are_never_joined() -> None:
    assert contents(join(segment(FIN | 1), segment(0))) == []
    assert contents(join(segment(0), segment(2), segment(1), segment(FIN | 3))) == []


@given(order=st.permutations(range(4)))
def test_only_the_true_order_gives_an_apdu(order: list[int]) -> None:
    frames = [segment(0, b"0"), segment(1, b"1"), segment(2, b"2"), segment(FIN | 3, b"3")]
    expected = [b"0123"] if order == [0, 1, 2, 3] else []
    assert contents(join(*(frames[n] for n in order))) == expected


@given(kept=st.lists(st.integers(0, 5), max_size=12))
def test_no_selection_of_segments_gives_another_apdu(kept: list[int]) -> None:
    telegram = [segment(n | (FIN if n == 5 else 0), bytes([n])) for n in range(6)]
    assert set(contents(join(*(telegram[n] for n in kept)))) <= {bytes(range(6))}


def test_the_gap_within_a_telegram_is_three_seconds_at_most() -> None:
    assert contents(join(segment(0, b"a", when=10), segment(FIN | 1, b"b", when=13))) == [b"ab"]
    found = join(segment(0, b"a", when=10), segment(FIN | 1, b"b", at=256, when=13.1))
    assert found == [
        segment_fault("telegram breaks off after 1 segment: the next came 3.1 s later", 9),
        segment_fault("segment 1 without the segments before it", 262),
    ]


def test_a_slow_line_makes_no_gap() -> None:
    # At 300 baud a full frame takes 9.4 s.
    frames = segment(0, b"a", when=0, lasts=9.4), segment(FIN | 1, b"b", when=9.6, lasts=4.4)
    assert contents(join(*frames)) == [b"ab"]


def test_the_gap_counts_from_the_segment_before() -> None:
    frames = [segment(0, b"a", when=0), segment(1, b"b", when=2.5), segment(FIN | 2, b"c", when=5)]
    assert contents(join(*frames)) == [b"abc"]


def test_a_late_first_segment_starts_a_telegram_of_its_own() -> None:
    found = join(
        segment(0, b"old", when=0), segment(0, b"a", when=9), segment(FIN | 1, b"b", when=9)
    )
    assert contents(found) == [b"ab"]


# --- what is foreign ------------------------------------------------------------------------

FOREIGN = [
    ({"control": 0x08}, 4, "C field 0x08 is not SND_UD (0x53)"),
    ({"control": 0x5B}, 4, "C field 0x5b is not SND_UD (0x53)"),
    ({"address": 0x00}, 5, "address 0x00 is not broadcast (0xff)"),
    ({"address": 0xFE}, 5, "address 0xfe is not broadcast (0xff)"),
    ({"ci": FIN | 0x20}, 6, "CI field 0x30 is no DLMS segment"),
    ({"ci": FIN | 0x40}, 6, "CI field 0x50 is no DLMS segment"),
    ({"ci": FIN | 0x80}, 6, "CI field 0x90 is no DLMS segment"),
    ({"ci": 0x72}, 6, "CI field 0x72 is no DLMS segment"),
    ({"source": 0x00}, 7, "source SAP 0 is not the meter's (1)"),
    ({"source": 0x10}, 7, "source SAP 16 is not the meter's (1)"),
    ({"destination": 0x66}, 8, "destination SAP 102 is not 103"),
]


@pytest.mark.parametrize(("fields", "place", "reason"), FOREIGN)
def test_a_foreign_frame_is_refused_at_the_field_that_tells(
    fields: dict[str, int], place: int, reason: str
) -> None:
    frame = segment(**({"ci": FIN} | fields), at=1000)
    assert join(frame) == [segment_fault(reason, 1000 + place)]


@pytest.mark.parametrize(("fields", "place", "reason"), FOREIGN)
def test_a_foreign_frame_does_not_disturb_the_telegram_around_it(
    fields: dict[str, int], place: int, reason: str
) -> None:
    foreign = segment(**({"ci": FIN} | fields))
    found = join(segment(0, b"a"), foreign, segment(FIN | 1, b"b"))
    assert found[0] == segment_fault(reason, place)
    assert contents(found) == [b"ab"]
    assert len(found) == 2


# --- limits ---------------------------------------------------------------------------------


def test_an_apdu_of_2048_bytes_is_the_longest() -> None:
    frames = [segment(n, bytes(128)) for n in range(15)]
    assert contents(join(*frames, segment(FIN | 15, bytes(128)))) == [bytes(2048)]
    assert join(*frames, segment(FIN | 15, bytes(129))) == [
        segment_fault("more than 2048 bytes without a last segment", 9)
    ]


def test_after_too_long_an_apdu_the_next_one_is_joined() -> None:
    endless = [segment(n % 16, bytes(200)) for n in range(11)]
    found = join(*endless, segment(0, b"a"), segment(FIN | 1, b"b"))
    assert contents(found) == [b"ab"]
    assert len(found) == 2


@pytest.mark.parametrize("size", [0, 1, 5, 245])
def test_memory_is_bounded_when_the_last_segment_never_comes(size: int) -> None:
    assembler = Assembler()
    for n in range(10_000):
        assembler.add(segment(n % 16, bytes(size), at=n))
    assert len(pickle.dumps(assembler)) < 32_000


@given(
    frames=st.lists(
        st.builds(
            segment,
            st.one_of(st.integers(0, 0x1F), st.integers(0, 255)),
            st.binary(max_size=20),
            at=st.integers(0, 5000),
            when=st.floats(0, 20),
            control=st.sampled_from([0x53, 0x53, 0x73, 0x08]),
        ),
        max_size=30,
    )
)
def test_any_frames_give_apdus_or_faults_and_then_a_whole_telegram_is_joined(
    frames: list[Frame],
) -> None:
    found = join(*frames, segment(0, b"a", when=30), segment(FIN | 1, b"b", when=31))
    assert contents(found)[-1] == b"ab"
