"""The frames of a stream, what stands between them, and the messages that they carry.

First the decoder's own reader and assembler say what is a frame, what a fault, and which frames
make a message; then each is written down, field by field.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.telegram import hdlc, mbus
from gateway.telegram.anatomy.field import Change, Sheet
from gateway.telegram.anatomy.finder import APDU_START
from gateway.telegram.anatomy.frames import Place, content_span, explain_frame
from gateway.telegram.anatomy.message import Message
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.segments import Apdu, Assembler

# How far before a refused frame's flaw it may have begun.
MAX_FRAME_BYTES = hdlc.MAX_FRAME_BYTES


@dataclass(slots=True)
class _Passage:
    """A frame, the faults told before and after it, and the messages that end with it.

    `is_used` says that its content is part of a message, whole or not; `is_checked` that its
    checks are there and right.
    """

    place: Place
    before: list[Fault]
    after: list[Fault] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    is_used: bool = False
    is_checked: bool = True


def explain_wire(sheet: Sheet) -> Iterator[Message]:
    """Write down all frames; return each message as soon as its last frame is."""
    position = 0
    for number, passage in enumerate(_passages(sheet.octets), 1):
        _explain_gap(sheet, position, passage.place.start, passage.before)
        position = passage.place.limit
        if passage.place.size:
            place = passage.place._replace(is_sure=passage.is_used and passage.is_checked)
            # What no message takes has no block's header either, whatever it looks like.
            explain_frame(sheet, place if passage.is_used else place.without_block, number)
        for fault in passage.after:
            sheet.remark(fault, 0)
        if not passage.is_used:
            unused = (passage.place.start, position)
            sheet.field("frame.unused", Layer.SEGMENT, 1, (unused,), Change.UNKNOWN)
        yield from passage.messages


def _passages(octets: bytes) -> list[_Passage]:
    """Let the decoder's reader and assembler take the stream apart; the last is the end."""
    reader, assembler = FrameReader(), Assembler()
    passages: list[_Passage] = []
    waiting: list[_Passage] = []
    faults: list[Fault] = []
    position = 0
    for item in reader.feed(octets, 0.0) + reader.finish():
        if isinstance(item, Fault):
            faults.append(item)
            continue
        position, size = item.offset + len(item.octets), len(item.octets)
        start = item.offset + content_span(item.octets, size)[0]
        passage = _Passage(Place(item.offset, size, position, start), faults)
        faults = []
        passages.append(passage)
        _assemble(assembler, item, passage, waiting, octets)
    end = len(octets)
    last = _broken_off(octets, position, faults) or _Passage(Place(end, 0, end, end), faults)
    last.after += [item for item in assembler.finish() if isinstance(item, Fault)]
    is_telegram = octets.startswith(APDU_START, last.place.content)
    if last.place.size and (waiting or is_telegram):
        waiting.append(last)
    if waiting:
        waiting[-1].messages.append(_joined(waiting, octets))
    return [*passages, last]


def _assemble(
    assembler: Assembler,
    frame: Frame,
    passage: _Passage,
    waiting: list[_Passage],
    octets: bytes,
) -> None:
    """Give a frame to the assembler; note what it completes and what it breaks."""
    is_refused = False
    for item in assembler.add(frame):
        if isinstance(item, Apdu):
            for each in (*waiting, passage):
                each.place = _behind_headers(each.place, item)
                each.is_used = True
            passage.messages.append(Message(item.content, item.pieces))
            waiting.clear()
            continue
        passage.after.append(item)
        if frame.offset <= item.offset < passage.place.limit:
            is_refused = True
        elif waiting:
            waiting[-1].messages.append(_joined(waiting, octets))
            waiting.clear()
    if not is_refused and not assembler.is_idle:
        waiting.append(passage)


def _behind_headers(place: Place, apdu: Apdu) -> Place:
    """Return the place of a frame whose content starts where its first piece of the APDU does."""
    pieces = [at for _, at in apdu.pieces if place.start <= at < place.limit]
    return place._replace(content=min(pieces)) if pieces else place


def _joined(passages: Sequence[_Passage], octets: bytes) -> Message:
    """Return the message of which these frames are the beginning."""
    content = b""
    pieces = []
    sure = 0
    for passage in passages:
        passage.is_used = True
        place = passage.place
        start, end = place.content, place.start
        end += content_span(octets[place.start : place.limit], place.size)[1]
        pieces.append((len(content), start))
        content += octets[start:end]
        sure = len(content) if passage.is_checked else sure
    return Message(content, tuple(pieces), is_whole=False, sure_bytes=sure)


def _explain_gap(sheet: Sheet, start: int, end: int, faults: Sequence[Fault]) -> None:
    """Write down what stands between two good frames: refused ones, and bytes outside all."""
    position = start
    for fault in faults:
        place = _refused(sheet.octets, position, end, fault)
        if place:
            sheet.field("outside", Layer.FRAME, 0, ((position, place.start),), Change.UNKNOWN)
            explain_frame(sheet, place, 0)
            position = min(place.start + place.size, end)
        sheet.remark(fault, 1 if place else 0)
    sheet.field("outside", Layer.FRAME, 0, ((position, end),), Change.UNKNOWN)


def _refused(octets: bytes, start: int, end: int, fault: Fault) -> Place | None:
    """Return the frame between `start` and `end` to which the reader's fault belongs."""
    for at in range(max(start, fault.offset - MAX_FRAME_BYTES), min(end, fault.offset + 1)):
        size = _measure(octets, at)
        if size is None:
            continue
        if at + size > len(octets):
            matches = fault.offset == len(octets)
        else:
            framing = hdlc if octets[at] == hdlc.FLAG else mbus
            flaw = framing.flaw(octets[at : at + size])
            matches = flaw is not None and (flaw.reason, at + flaw.place) == (
                fault.reason,
                fault.offset,
            )
        if matches:
            content = at + content_span(octets[at:end], size)[0]
            return Place(at, size, end, content, is_good=False)
    return None


def _broken_off(octets: bytes, start: int, faults: list[Fault]) -> _Passage | None:
    """Return the frame that the end of the input cuts; what is there of it may be good."""
    for fault in faults:
        place = _refused(octets, start, len(octets), fault)
        if place and place.start + place.size > len(octets):
            before = [each for each in faults if each is not fault]
            return _Passage(place._replace(is_good=True), before, [fault], is_checked=False)
    return None


def _measure(octets: bytes, start: int) -> int | None:
    """Return the size of the frame at `start`; None if none begins there, or too little of it."""
    if octets[start] not in (mbus.START, hdlc.FLAG):
        return None
    if octets[start] == hdlc.FLAG:
        is_whole = isinstance(hdlc.header(octets, start), hdlc.Header)
        return hdlc.measure(octets, start) if is_whole else None
    return mbus.measure(octets, start) if len(octets) - start >= mbus.HEADER_BYTES else None
