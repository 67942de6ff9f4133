"""Frames to one APDU: only what continues exactly is joined."""

import pickle
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.simulator.frames import (
    Hdlc,
    HdlcBlocks,
    hdlc_frame,
    mbus_frames,
    transfer_block,
)
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.segments import MAX_HDLC_GAP_S, MAX_MBUS_GAP_S, Apdu, Assembler

FIN = 0x10
LLC = b"\xe6\xe7\x00"
CLIENT, METER, OTHER = b"\xcf", b"\x03", b"\x05"
HEADER = 8  # bytes of an HDLC frame in front of its information: flag, format, 1 + 1, UI, HCS


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
    """An M-Bus frame at stream offset `at` that began at `when` and took `lasts` seconds."""
    content = bytes([control, address, ci, source, destination]) + data
    count = len(content) % 256
    head, tail = [0x68, count, count, 0x68], [sum(content) % 256, 0x16]
    return Frame(bytes(head) + content + bytes(tail), at, when, when + lasts)


def hdlc(
    information: bytes,
    *,
    final: bool = True,
    source: bytes = METER,
    at: int = 0,
    when: float = 0.0,
    lasts: float = 0.0,
) -> Frame:
    """An HDLC frame; not `final` is one with the S bit, which says that more segments follow."""
    return Frame(hdlc_frame(information, CLIENT, source, final=final), at, when, when + lasts)


def block(
    number: int,
    data: bytes = b"data",
    *,
    last: bool = False,
    llc: bool | None = None,
    source: bytes = METER,
    at: int = 0,
    when: float = 0.0,
) -> Frame:
    """One block in one HDLC frame; only the first block has the LLC bytes."""
    front = LLC if (number == 1 if llc is None else llc) else b""
    return hdlc(
        front + transfer_block(data, number=number, final=last), source=source, at=at, when=when
    )


def join(*frames: Frame) -> list[Apdu | Fault]:
    """Add all frames, then finish."""
    assembler = Assembler()
    return [item for frame in frames for item in assembler.add(frame)] + assembler.finish()


def frames_in(stream: bytes) -> list[Frame]:
    return [item for item in FrameReader().feed(stream, 0.0) if isinstance(item, Frame)]


def contents(found: Sequence[Apdu | Fault]) -> list[bytes]:
    return [item.content for item in found if isinstance(item, Apdu)]


def faults_of(found: Sequence[Apdu | Fault]) -> list[Fault]:
    return [item for item in found if isinstance(item, Fault)]


def segment_fault(reason: str, offset: int) -> Fault:
    return Fault(Layer.SEGMENT, reason, offset)


# --- M-Bus: what is joined ------------------------------------------------------------------


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
    stream = b"".join(mbus_frames(b"\xdb" + apdu[1:], frame_apdu_bytes=frame_apdu_bytes))
    found = join(*frames_in(stream))
    assert contents(found) == [b"\xdb" + apdu[1:]]
    assert len(found) == 1


@given(apdu=st.binary(min_size=1, max_size=700), frame_apdu_bytes=st.integers(5, 252))
def test_wire_offset_finds_each_byte_in_the_stream(apdu: bytes, frame_apdu_bytes: int) -> None:
    apdu = b"\xdb" + apdu
    stream = b"".join(mbus_frames(apdu, frame_apdu_bytes=frame_apdu_bytes))
    (joined,) = join(*frames_in(stream))
    assert isinstance(joined, Apdu)
    assert bytes(stream[joined.wire_offset(index)] for index in range(len(apdu))) == apdu


@pytest.mark.parametrize("control", [0x53, 0x73])
def test_the_frame_count_bit_makes_no_difference(control: int) -> None:
    assert contents(join(segment(FIN, b"apdu", control=control))) == [b"apdu"]


def test_two_apdus_follow_each_other() -> None:
    frames = [segment(0, b"a"), segment(FIN | 1, b"b"), segment(0, b"c"), segment(FIN | 1, b"d")]
    assert join(*frames) == [Apdu(b"ab", 0.0, ((0, 9), (1, 9))), Apdu(b"cd", 0.0, ((0, 9), (1, 9)))]


def test_an_assembler_is_idle_when_nothing_is_incomplete() -> None:
    assembler = Assembler()
    for frames in (
        [segment(0), segment(FIN | 1)],
        [hdlc(LLC + b"a", final=False), hdlc(b"b")],
        [block(1), block(2, last=True)],
        [hdlc(LLC + transfer_block(b"a", number=1, final=True)[:5], final=False), hdlc(b"\0\0\1a")],
    ):
        assert assembler.is_idle
        assembler.add(frames[0])
        assert not assembler.is_idle
        assembler.add(frames[1])
    assert assembler.is_idle
    assembler.add(block(1))
    assembler.finish()
    assert assembler.is_idle


# --- M-Bus: what is lost, doubled, reordered ------------------------------------------------


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


def test_a_single_segment_after_an_incomplete_telegram_is_whole() -> None:
    found = join(segment(0, b"lost"), segment(FIN, b"whole", at=256))
    assert found == [
        segment_fault("telegram breaks off after 1 segment: segment 0 follows", 9),
        Apdu(b"whole", 0.0, ((0, 265),)),
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
    assert "breaks off after 2 segments: segment 1 follows" in faults_of(found)[0].reason


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


# --- gaps -----------------------------------------------------------------------------------


def test_the_gap_within_a_telegram_is_three_seconds_at_most() -> None:
    assert MAX_MBUS_GAP_S == 3.0
    assert contents(join(segment(0, b"a", when=10), segment(FIN | 1, b"b", when=13))) == [b"ab"]
    found = join(segment(0, b"a", when=10), segment(FIN | 1, b"b", at=256, when=13.1))
    assert found == [
        segment_fault("telegram breaks off after 1 segment: the next came 3.1 s later", 9),
        segment_fault("segment 1 without the segments before it", 262),
    ]


def test_the_gap_within_an_hdlc_telegram_is_three_quarters_of_a_second_at_most() -> None:
    assert MAX_HDLC_GAP_S == 0.75
    first = hdlc(LLC + b"a", final=False, when=10)
    assert contents(join(first, hdlc(b"b", when=10.75))) == [b"ab"]
    assert join(first, hdlc(b"b", at=256, when=10.875)) == [
        segment_fault("telegram breaks off after 1 segment: the next came 0.9 s later", HEADER + 3),
        segment_fault("segment without the segments before it", 256 + HEADER),
    ]


def test_the_gap_between_blocks_is_that_of_hdlc() -> None:
    blocks = block(1, b"a", when=10), block(2, b"b", last=True, when=10.75)
    assert contents(join(*blocks)) == [b"ab"]
    found = join(blocks[0], block(2, b"b", last=True, when=11))
    assert contents(found) == []
    assert faults_of(found)[0].reason.endswith("after 1 block: the next came 1.0 s later")


def test_a_slow_line_makes_no_gap() -> None:
    # At 300 baud a full frame takes 9.4 s.
    frames = segment(0, b"a", when=0, lasts=9.4), segment(FIN | 1, b"b", when=9.6, lasts=4.4)
    assert contents(join(*frames)) == [b"ab"]
    slow = hdlc(LLC + b"a", final=False, when=0, lasts=9.4), hdlc(b"b", when=9.6, lasts=4.4)
    assert contents(join(*slow)) == [b"ab"]


def test_the_gap_before_a_block_ends_where_its_first_segment_begins() -> None:
    # Each segment takes longer than the longest gap, none comes later than 0.1 s.
    second = transfer_block(b"second", number=2, final=True)
    found = join(
        block(1, b"first, ", when=0.0),
        hdlc(second[:6], final=False, when=0.1, lasts=0.8),
        hdlc(second[6:], when=1.0, lasts=0.8),
    )
    assert contents(found) == [b"first, second"]


def test_the_gap_counts_from_the_segment_before() -> None:
    frames = [segment(0, b"a", when=0), segment(1, b"b", when=2.5), segment(FIN | 2, b"c", when=5)]
    assert contents(join(*frames)) == [b"abc"]


def test_a_late_first_segment_starts_a_telegram_of_its_own() -> None:
    found = join(
        segment(0, b"old", when=0), segment(0, b"a", when=9), segment(FIN | 1, b"b", when=9)
    )
    assert contents(found) == [b"ab"]


# --- M-Bus: what is foreign -----------------------------------------------------------------

FOREIGN = [
    ({"control": 0x08}, 4, "C field 0x08 is not SND_UD (0x53)"),
    ({"address": 0x00}, 5, "address 0x00 is not broadcast (0xff)"),
    ({"ci": FIN | 0x20}, 6, "CI field 0x30 is no DLMS segment"),
    ({"ci": 0x72}, 6, "CI field 0x72 is no DLMS segment"),
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


def test_a_frame_without_bytes_is_refused_and_disturbs_nothing() -> None:
    found = join(segment(0, b"a"), segment(FIN | 1, b"", at=50), segment(FIN | 1, b"b"))
    assert found[0] == segment_fault("the segment carries no bytes", 59)
    assert contents(found) == [b"ab"]


@pytest.mark.parametrize("information", [b"", LLC])
def test_an_hdlc_frame_without_bytes_is_refused_and_disturbs_nothing(information: bytes) -> None:
    found = join(hdlc(LLC + b"a", final=False), hdlc(information, at=50), hdlc(b"b"))
    assert found[0] == segment_fault("the frame carries no bytes", 50 + 5)
    assert contents(found) == [b"ab"]


# --- HDLC segments --------------------------------------------------------------------------


def test_one_hdlc_frame_is_an_apdu_at_once_without_its_llc_bytes() -> None:
    found = Assembler().add(hdlc(LLC + b"apdu", at=100, when=7.0))
    assert found == [Apdu(b"apdu", 7.0, ((0, 100 + HEADER + 3),))]


def test_the_llc_bytes_stand_in_the_first_segment_alone() -> None:
    frames = [
        hdlc(LLC + b"first ", final=False, when=1.0),
        hdlc(b"second ", final=False, at=100, when=1.5),
        hdlc(b"third", at=200, when=2.0),
    ]
    assert join(*frames) == [
        Apdu(
            b"first second third",
            2.0,
            ((0, HEADER + 3), (6, 100 + HEADER), (13, 200 + HEADER)),
        )
    ]


@given(apdu=st.binary(max_size=1000), segment_bytes=st.integers(4, 300))
def test_what_a_meter_cuts_into_hdlc_segments_is_joined_again(
    apdu: bytes, segment_bytes: int
) -> None:
    assume(LLC not in apdu)  # a middle segment that begins like a first one is taken for one
    apdu = b"\xdb" + apdu
    stream = b"".join(Hdlc(CLIENT, METER, segment_bytes).frames(apdu))
    (joined,) = join(*frames_in(stream))
    assert isinstance(joined, Apdu)
    assert joined.content == apdu
    assert bytes(stream[joined.wire_offset(index)] for index in range(len(apdu))) == apdu


def test_a_segment_without_llc_bytes_starts_nothing() -> None:
    assert join(hdlc(b"middle", final=False, at=50), hdlc(b"last", at=100)) == [
        segment_fault("segment without the segments before it", 50 + HEADER),
        segment_fault("segment without the segments before it", 100 + HEADER),
    ]


def test_a_first_segment_starts_anew() -> None:
    found = join(hdlc(LLC + b"old", final=False), hdlc(LLC + b"a", final=False), hdlc(b"b"))
    assert found == [
        segment_fault("telegram breaks off after 1 segment: segment 0 follows", HEADER + 3),
        Apdu(b"ab", 0.0, ((0, HEADER + 3), (1, HEADER))),
    ]


def test_a_whole_telegram_after_a_lost_last_segment_is_whole() -> None:
    found = join(hdlc(LLC + b"old", final=False), hdlc(LLC + b"whole"))
    assert contents(found) == [b"whole"]
    assert len(found) == 2


def test_a_doubled_last_segment_starts_nothing() -> None:
    found = join(hdlc(LLC + b"a", final=False), hdlc(b"b"), hdlc(b"b"))
    assert contents(found) == [b"ab"]
    assert len(found) == 2


def test_a_segment_of_another_sender_is_never_joined() -> None:
    found = join(
        hdlc(LLC + b"a", final=False),
        hdlc(b"b", source=OTHER, at=50),
        hdlc(b"b", at=100),
    )
    assert found == [
        segment_fault(
            "telegram breaks off after 1 segment: the next is of another sender", HEADER + 3
        ),
        segment_fault("segment without the segments before it", 50 + HEADER),
        segment_fault("segment without the segments before it", 100 + HEADER),
    ]


def test_segments_of_mbus_and_hdlc_are_never_joined() -> None:
    assert contents(join(hdlc(LLC + b"a", final=False), segment(FIN | 1, b"b"))) == []
    assert contents(join(segment(0, b"a"), hdlc(b"b"))) == []
    assert contents(join(block(1), segment(FIN, transfer_block(b"b", number=2, final=True)))) == []


# --- blocks ---------------------------------------------------------------------------------


def test_blocks_are_joined_up_to_the_last() -> None:
    frames = [
        block(1, b"first ", when=1.0),
        block(2, b"second ", at=100, when=1.5),
        block(3, b"third", last=True, at=200, when=2.0),
    ]
    assert join(*frames) == [
        Apdu(
            b"first second third",
            2.0,
            ((0, HEADER + 3 + 7), (6, 100 + HEADER + 7), (13, 200 + HEADER + 7)),
        )
    ]


def test_a_single_block_is_an_apdu_at_once() -> None:
    assert contents(Assembler().add(block(1, b"apdu", last=True))) == [b"apdu"]


@pytest.mark.parametrize("llc", [False, True])
def test_every_block_may_have_the_llc_bytes_or_none(llc: bool) -> None:
    found = join(block(1, b"a", llc=llc), block(2, b"b", llc=llc, last=True))
    assert contents(found) == [b"ab"]


@given(apdu=st.binary(max_size=1000), first=st.integers(1, 200), other=st.integers(1, 200))
def test_what_a_meter_cuts_into_blocks_is_joined_again(apdu: bytes, first: int, other: int) -> None:
    apdu = b"\xdb" + apdu
    stream = b"".join(HdlcBlocks(CLIENT, METER, first, other).frames(apdu))
    (joined,) = join(*frames_in(stream))
    assert isinstance(joined, Apdu)
    assert joined.content == apdu
    assert bytes(stream[joined.wire_offset(index)] for index in range(len(apdu))) == apdu


@given(
    apdu=st.binary(max_size=600),
    block_bytes=st.integers(1, 200),
    segment_bytes=st.integers(4, 60),
    over_mbus=st.booleans(),
)
def test_blocks_made_of_segments_are_joined_and_each_byte_found_in_the_stream(
    apdu: bytes, block_bytes: int, segment_bytes: int, over_mbus: bool
) -> None:
    apdu = b"\xdb" + apdu
    starts = range(0, len(apdu), block_bytes)
    stream = b""
    for number, start in enumerate(starts, 1):
        octets = transfer_block(
            apdu[start : start + block_bytes], number=number, final=number == len(starts)
        )
        if over_mbus:
            stream += b"".join(mbus_frames(octets, frame_apdu_bytes=segment_bytes))
            continue
        octets = (LLC if number == 1 else b"") + octets
        edges = [*range(0, len(octets), segment_bytes), len(octets)]
        for here, there in pairwise(edges):
            is_last = there == len(octets)
            stream += hdlc_frame(octets[here:there], CLIENT, METER, final=is_last)
    (joined,) = join(*frames_in(stream))
    assert isinstance(joined, Apdu)
    assert joined.content == apdu
    assert bytes(stream[joined.wire_offset(index)] for index in range(len(apdu))) == apdu


def test_block_numbers_have_sixteen_bits() -> None:
    found = join(*(block(n, b"a") for n in range(1, 300)), block(300, b"z", last=True))
    assert contents(found) == [b"a" * 299 + b"z"]


def test_a_block_without_those_before_it_is_told_by_its_number_on_the_wire() -> None:
    assert join(block(3, last=True, at=100)) == [
        segment_fault("block 3 without the blocks before it", 100 + HEADER)
    ]


def test_a_lost_block_breaks_the_telegram() -> None:
    found = join(block(1), block(3, last=True))
    assert contents(found) == []
    assert [fault.offset for fault in faults_of(found)] == [HEADER + 3 + 7, HEADER]
    assert faults_of(found)[0].reason.startswith("telegram breaks off after 1 block: block ")


def test_a_doubled_first_block_starts_anew() -> None:
    found = join(block(1, b"old"), block(1, b"new"), block(2, b"!", last=True))
    assert contents(found) == [b"new!"]
    assert len(found) == 2


@given(kept=st.lists(st.integers(0, 4), max_size=10))
def test_no_selection_of_blocks_gives_another_apdu(kept: list[int]) -> None:
    telegram = [block(n + 1, bytes([n]), last=n == 4) for n in range(5)]
    assert set(contents(join(*(telegram[n] for n in kept)))) <= {bytes(range(5))}


@given(order=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=10))
def test_no_mixture_of_two_meters_blocks_gives_another_apdu(
    order: list[tuple[int, bool]],
) -> None:
    ours = [block(n + 1, b"ABC"[n : n + 1], last=n == 2) for n in range(3)]
    others = [block(n + 1, b"xyz"[n : n + 1], last=n == 2, source=OTHER) for n in range(3)]
    found = contents(join(*((others if other else ours)[n] for n, other in order)))
    assert set(found) <= {b"ABC", b"xyz"}


def test_a_block_of_another_sender_breaks_the_telegram() -> None:
    found = join(block(1), block(2, last=True, source=OTHER))
    assert contents(found) == []
    reason = "telegram breaks off after 1 block: the next is of another sender"
    assert faults_of(found)[0] == segment_fault(reason, HEADER + 3 + 7)


def test_a_message_that_is_no_block_ends_the_wait_for_blocks() -> None:
    found = join(block(1), hdlc(LLC + b"apdu"), block(2, last=True))
    assert contents(found) == [b"apdu"]
    assert faults_of(found)[0] == segment_fault("telegram breaks off after 1 block", HEADER + 3 + 7)
    assert len(found) == 3


@pytest.mark.parametrize(
    "octets",
    ["e0", "e0c000010000", "e0c00001000005", "e0c0000100000561626364", "e0c0000100008061"],
)
def test_a_block_whose_length_disagrees_with_its_frame_is_refused(octets: str) -> None:
    octets_ = bytes.fromhex(octets)
    reason = "the block's length does not agree with its frame's"
    assert join(hdlc(LLC + octets_, at=100)) == [
        segment_fault(reason, 100 + HEADER + 3 + len(octets_) - 1)
    ]


def test_a_block_without_bytes_is_refused() -> None:
    assert join(block(1, b"", last=True, at=100)) == [
        segment_fault("the block carries no bytes", 100 + HEADER + 3)
    ]


def test_a_refused_block_lets_no_telegram_be_glued() -> None:
    found = join(block(1, b"a"), hdlc(b"\xe0\x40\x00\x02\x00\x00\x05b"), block(3, b"c", last=True))
    assert contents(found) == []


def test_when_blocks_stay_out_finish_tells_that_the_telegram_breaks_off() -> None:
    assert join(block(1, at=100), block(2, at=200)) == [
        segment_fault("telegram breaks off after 2 blocks", 100 + HEADER + 3 + 7)
    ]


# --- limits ---------------------------------------------------------------------------------


def test_an_apdu_of_2048_bytes_is_the_longest() -> None:
    frames = [segment(n, bytes(128)) for n in range(15)]
    assert contents(join(*frames, segment(FIN | 15, bytes(128)))) == [bytes(2048)]
    assert join(*frames, segment(FIN | 15, bytes(129))) == [
        segment_fault("more than 2048 bytes without a last segment", 9)
    ]


def test_blocks_of_more_than_2048_bytes_are_refused() -> None:
    frames = [block(n, bytes(120)) for n in range(1, 18)]
    assert contents(join(*frames, block(18, bytes(8), last=True))) == [bytes(2048)]
    (fault,) = join(*frames, block(18, bytes(9), last=True))
    assert isinstance(fault, Fault)
    assert fault.reason == "more than 2048 bytes without a last block"


def test_after_too_long_an_apdu_the_next_one_is_joined() -> None:
    endless = [segment(n % 16, bytes(200)) for n in range(11)]
    found = join(*endless, segment(0, b"a"), segment(FIN | 1, b"b"))
    assert contents(found) == [b"ab"]
    assert len(found) == 2


@pytest.mark.parametrize("size", [0, 1, 5, 245])
def test_memory_is_bounded_when_the_last_segment_never_comes(size: int) -> None:
    streams = [
        [segment(n % 16, bytes(size), at=n) for n in range(2_500)],
        [hdlc((b"" if n else LLC) + bytes(size), final=False, at=n) for n in range(2_500)],
        [block(1 + n % 0xFFFF, bytes(min(size, 120)), at=n) for n in range(2_500)],
    ]
    for frames in streams:
        assembler = Assembler()
        for frame in frames:
            assembler.add(frame)
        assert len(pickle.dumps(assembler)) < 32_000


# --- properties -----------------------------------------------------------------------------

any_frames = st.lists(
    st.one_of(
        st.builds(
            segment,
            st.one_of(st.integers(0, 0x1F), st.integers(0, 255)),
            st.binary(max_size=20),
            at=st.integers(0, 5000),
            when=st.floats(0, 20),
            control=st.sampled_from([0x53, 0x53, 0x73, 0x08]),
        ),
        st.builds(
            hdlc,
            st.one_of(
                st.binary(max_size=20),
                st.binary(max_size=20).map(LLC.__add__),
                st.binary(max_size=20).map(b"\xe0\x40\x00\x01\x00\x00".__add__),
            ),
            final=st.booleans(),
            source=st.sampled_from([METER, OTHER]),
            at=st.integers(0, 5000),
            when=st.floats(0, 20),
        ),
        st.builds(
            block,
            st.integers(0, 4),
            st.binary(max_size=9),
            last=st.booleans(),
            llc=st.booleans(),
            source=st.sampled_from([METER, OTHER]),
            when=st.floats(0, 20),
        ),
    ),
    max_size=30,
)


@given(frames=any_frames)
def test_any_frames_give_apdus_or_faults_and_then_a_whole_telegram_is_joined(
    frames: list[Frame],
) -> None:
    for telegram in (
        [segment(0, b"a", when=30), segment(FIN | 1, b"b", when=31)],
        [hdlc(LLC + b"a", final=False, when=30), hdlc(b"b", when=30.5)],
        [block(1, b"a", when=30), block(2, b"b", last=True, when=30.5)],
    ):
        found = join(*frames, *telegram)
        assert contents(found)[-1] == b"ab"


@given(frames=any_frames)
def test_every_byte_of_an_apdu_has_a_place_and_no_apdu_is_empty(frames: list[Frame]) -> None:
    for item in join(*frames):
        if isinstance(item, Apdu):
            assert item.content
            places = [index for index, _ in item.pieces]
            assert places[0] == 0
            assert places == sorted(set(places))
            assert places[-1] < len(item.content)
