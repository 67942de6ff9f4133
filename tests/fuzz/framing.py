"""Any bytes, in any chunks, give the same frames and faults that tell every byte once, in order.

Never an exception, and a whole frame that follows them is found.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gateway.simulator.frames import crc16_x25, hdlc_frame, mbus_frame
from gateway.telegram import hdlc, mbus
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.frames import Frame, FrameReader
from tests.fuzz.choices import Choices, bytewise, cut, written

FOLLOWING = (
    mbus_frame(b"the next", sequence=0, final=True),
    hdlc_frame(b"the next", b"\xcf", b"\x02\x23"),
)
MAX_WAITING_BYTES = hdlc.MAX_FRAME_BYTES

_RUN = re.compile(r"(\d+) bytes? outside all frames(?:, (\d+) with parity errors)?")

Found = list[Frame | Fault]


def pack(stream: bytes, sizes: Sequence[int] = (), damaged: Sequence[int] = ()) -> bytes:
    """Return the input that feeds `stream` in chunks of `sizes`, without them byte by byte.

    `damaged` are the places of bytes that came with a parity error.
    """
    return written(sizes) + written(damaged, 2) + stream


def check(octets: bytes, make: Callable[[], FrameReader] = FrameReader) -> None:
    """Assert the promise above."""
    choices = Choices(octets)
    sizes, damaged = choices.numbers(), choices.numbers(2)
    stream = choices.rest
    damaged = sorted({place for place in damaged if place < len(stream)})

    found = _read(make(), [stream], damaged)
    chunks = cut(stream, sizes) if sizes else bytewise(stream)
    again = _read(make(), chunks, damaged)
    assert again == found, f"in {len(chunks)} chunks: {again}, in one: {found}"
    _account(stream, damaged, found)
    for following in FOLLOWING:
        _assert_found(following, len(stream), _read(make(), [stream + following], damaged))


def _read(reader: FrameReader, chunks: Sequence[bytes], damaged: Sequence[int]) -> Found:
    """Feed each chunk at the time of its first offset; check the times of frames, strip them."""
    found: Found = []
    times: list[float] = []
    for chunk in chunks:
        begin, now = len(times), float(len(times))
        times += [now] * len(chunk)
        marks = [place - begin for place in damaged if begin <= place < len(times)]
        found += reader.feed(chunk, now, marks)
        waiting = len(times) - reader.offset
        assert waiting <= MAX_WAITING_BYTES, f"{waiting} bytes wait"
    found += reader.finish()
    assert reader.is_idle, "something waits after finish"
    for item in found:
        if isinstance(item, Frame):
            first, last = item.offset + item.is_hdlc, item.offset + len(item.octets) - 1
            came = times[first], times[last]
            assert (item.began, item.received) == came, f"{item} came at {came}"
    return [i._replace(began=0.0, received=0.0) if isinstance(i, Frame) else i for i in found]


def _account(stream: bytes, damaged: Sequence[int], found: Found) -> None:
    """Assert that the items tell every byte once, in order."""
    told = 0  # all bytes before this one were told
    last = 0  # where the last good frame ends
    refused = list(_refused(stream, damaged))
    for item in found:
        if isinstance(item, Frame):
            end = item.offset + len(item.octets)
            assert item.octets == stream[item.offset : end], f"{item} does not stand there"
            assert _is_sound(item.octets), f"{item} is not sound"
            assert not any(item.offset <= at < end for at in damaged), f"{item} is damaged"
            assert item.offset >= last - item.is_hdlc, f"{item} overlaps the one before"
            assert item.offset <= told, f"bytes {told} to {item.offset} are not told"
            last = end
            told = max(told, end)
            continue
        assert item.layer is Layer.FRAME
        if match := _RUN.fullmatch(item.reason):
            count, marked = int(match[1]), int(match[2] or 0)
            assert item.offset == told, f"{item}: told so far {told}"
            assert marked == sum(told <= at < told + count for at in damaged), item
            told += count
        else:
            ends = {
                which.end
                for which in refused
                if (which.offset, which.reason) == (item.offset, item.reason)
                and which.begin <= told <= which.begin + which.is_hdlc
            }
            assert ends, f"{item} is no frame that begins at {told}"
            told = max(ends)
    assert told == len(stream), f"{len(stream) - told} bytes at the end are not told"


class _Refused(NamedTuple):
    begin: int
    end: int
    is_hdlc: bool
    offset: int
    reason: str


def _refused(stream: bytes, damaged: Sequence[int]) -> Iterator[_Refused]:
    """List all bad frames that might be told, nested ones too, in the words of their faults."""
    for begin in (at for at, octet in enumerate(stream) if octet in (mbus.START, hdlc.FLAG)):
        is_hdlc = stream[begin] == hdlc.FLAG
        framing = hdlc if is_hdlc else mbus
        length = framing.measure(stream, begin)
        if length is None:
            continue
        end = min(begin + length, len(stream))
        octets = stream[begin:end]
        if len(octets) < length:
            reason = f"frame breaks off after {len(octets)} of {length} bytes"
            yield _Refused(begin, end, is_hdlc, end, reason)
            continue
        if marked := [at for at in damaged if begin <= at < end]:
            reason = f"{len(marked)} of the frame's {length} bytes came with a parity error"
            yield _Refused(begin, end, is_hdlc, marked[0], reason)
        elif flaw := framing.flaw(octets):
            yield _Refused(begin, end, is_hdlc, begin + flaw.place, flaw.reason)


def _is_sound(frame: bytes) -> bool:
    """Tell a good frame, in words of our own."""
    if frame[0] == mbus.START:
        length = len(frame) - 6
        head = bytes([0x68, length % 256, length % 256, 0x68])
        return frame.startswith(head) and frame[-2:] == bytes([sum(frame[4:-2]) % 256, 0x16])
    length = int.from_bytes(frame[1:3], "big") & 0x7FF
    ends = frame[0] == frame[-1] == 0x7E and length == len(frame) - 2
    return ends and frame[-3:-1] == crc16_x25(frame[1:-3])


def _assert_found(following: bytes, begin: int, found: Found) -> None:
    """Assert that a frame is among the items, unless a sound one reaches over its start."""
    frames = [item for item in found if isinstance(item, Frame)]
    # What happens to be a sound frame cannot be told from one. HDLC frames may share a flag.
    reaches_over = any(
        item.offset < begin and item.offset + len(item.octets) > begin + item.is_hdlc
        for item in frames
    )
    is_found = any((item.octets, item.offset) == (following, begin) for item in frames)
    assert is_found or reaches_over, f"{following.hex()} at {begin} is not found: {found}"
