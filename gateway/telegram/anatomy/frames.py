"""One frame, written down: M-Bus or HDLC, with the transport fields inside it."""

from typing import NamedTuple

from gateway.telegram import ber, hdlc, mbus, segments
from gateway.telegram.anatomy.field import Change, Sheet, count_of
from gateway.telegram.fault import Layer

STATIC, MODEL, CHANGES = Change.STATIC, Change.MODEL, Change.CHANGES
HDLC_TRAILER_BYTES = hdlc.CRC_BYTES + 1


class Place(NamedTuple):
    """Where a frame stands in the stream, and how long it is, or would be if it were whole.

    `limit` is where the bytes that may be its own end. `content` is where its content starts,
    behind all headers. Nobody vouches for a frame that is not good.
    """

    start: int
    size: int
    limit: int
    content: int
    is_good: bool = True

    @property
    def content_end(self) -> int:
        """Return where its content ends, or breaks off."""
        return min(self.start + self.size, self.limit)


def content_span(octets: bytes, size: int) -> tuple[int, int]:
    """Return where in a frame that has, or should have, `size` bytes its content stands.

    A block of a general-block-transfer begins behind its own header.
    """
    if octets[0] == hdlc.FLAG:
        header = hdlc.header(octets, 0)
        start = header.information if isinstance(header, hdlc.Header) else len(octets)
        start += len(hdlc.LLC) if octets.startswith(hdlc.LLC, start) else 0
        end = size - HDLC_TRAILER_BYTES
    else:
        start = mbus.HEADER_BYTES + mbus.SEGMENT_HEADER_BYTES
        end = size - mbus.TRAILER_BYTES
    if octets[start : start + 1] == bytes([segments.GENERAL_BLOCK_TRANSFER]):
        decoded = ber.length(octets[start:end], segments.BLOCK_HEADER_BYTES)
        start += decoded[1] if decoded else 0
    return min(start, len(octets)), min(end, len(octets))


def explain_frame(sheet: Sheet, place: Place, number: int) -> None:
    """Write down all that a frame has around its content; the content is explained elsewhere."""
    writer = _Writer(sheet, place)
    is_hdlc = sheet.octets[place.start] == hdlc.FLAG
    end = min(place.start + place.size, place.limit)
    sheet.group(
        "hdlc.frame" if is_hdlc else "mbus.frame",
        Layer.FRAME,
        0,
        ((place.start, end),),
        label=str(number) if number else "",
        value=count_of(end - place.start),
    )
    if is_hdlc:
        _explain_hdlc(writer)
    else:
        _explain_mbus(writer)


class _Writer:
    """Writes fields whose places count in one frame."""

    def __init__(self, sheet: Sheet, place: Place) -> None:
        self.sheet = sheet
        self.place = place
        self.octets = sheet.octets[place.start : place.limit][: place.size]

    def field(
        self,
        name: str,
        layer: Layer,
        start: int,
        end: int,
        change: Change,
        value: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        first, last = self.place.start + start, min(self.place.start + end, self.place.limit)
        known = change if self.place.is_good else Change.UNKNOWN
        self.sheet.field(name, layer, 1, ((first, last),), known, value=value, notes=notes)

    def number(self, start: int, end: int) -> int:
        """Return the number at a place; what has broken off counts as 0."""
        return int.from_bytes(self.octets[start:end], "big")

    def content(self, transport_end: int, end: int) -> None:
        """Write down the header of a block, if there is one, and where the content stands."""
        self._block(transport_end, self.place.content - self.place.start)
        first, last = self.place.content, min(self.place.start + end, self.place.limit)
        if not self.place.is_good:
            self.field("frame.refused", Layer.FRAME, transport_end, end, Change.UNKNOWN)
        elif first < last:
            size = count_of(last - first)
            self.sheet.group("frame.content", Layer.SEGMENT, 1, ((first, last),), value=size)

    def _block(self, start: int, end: int) -> None:
        """Write down what of a frame's content is no part of the message: a block's header."""
        if end - start <= segments.BLOCK_HEADER_BYTES:
            self.field("block.part", Layer.SEGMENT, start, end, CHANGES)
            return
        control = self.octets[start + 1]
        note = "block.last" if control & segments.LAST_BLOCK else "block.more"
        block, acknowledged = self.number(start + 2, start + 4), self.number(start + 4, start + 6)
        transport = Layer.SEGMENT
        self.field("block.tag", transport, start, start + 1, STATIC)
        self.field("block.control", transport, start + 1, start + 2, MODEL, notes=(note,))
        self.field("block.number", transport, start + 2, start + 4, MODEL, str(block))
        self.field("block.acknowledged", transport, start + 4, start + 6, MODEL, str(acknowledged))
        decoded = ber.length(self.octets, start + segments.BLOCK_HEADER_BYTES)
        size = count_of(decoded[0]) if decoded else ""
        self.field("block.length", transport, start + 6, end, MODEL, size)


def _explain_mbus(writer: _Writer) -> None:
    size = writer.place.size
    length = writer.octets[1]
    content = mbus.content_length(length)
    wrapped = () if content == length else ("mbus.wrapped",)
    at = mbus.HEADER_BYTES
    ci = writer.number(at + 2, at + 3)
    is_last = "mbus.last" if ci & mbus.CI_FIN else "mbus.more"
    frame, transport = Layer.FRAME, Layer.SEGMENT
    writer.field("mbus.start", frame, 0, 1, STATIC)
    writer.field("mbus.length", frame, 1, 2, MODEL, count_of(content), wrapped)
    writer.field("mbus.length_again", frame, 2, 3, MODEL)
    writer.field("mbus.start_again", frame, 3, 4, STATIC)
    writer.field("mbus.control", frame, at, at + 1, STATIC, "SND_UD")
    writer.field("mbus.address", frame, at + 1, at + 2, STATIC, "255")
    sequence = str(ci & mbus.CI_SEQUENCE)
    writer.field("mbus.ci", transport, at + 2, at + 3, MODEL, sequence, (is_last,))
    source, target = writer.number(at + 3, at + 4), writer.number(at + 4, at + 5)
    writer.field("mbus.source", transport, at + 3, at + 4, STATIC, str(source))
    writer.field("mbus.destination", transport, at + 4, at + 5, STATIC, str(target))
    writer.content(at + mbus.SEGMENT_HEADER_BYTES, size - mbus.TRAILER_BYTES)
    writer.field("mbus.checksum", frame, size - 2, size - 1, CHANGES)
    writer.field("mbus.stop", frame, size - 1, size, STATIC)


def _explain_hdlc(writer: _Writer) -> None:
    size, frame = writer.place.size, Layer.FRAME
    header = hdlc.header(writer.octets, 0)
    if not isinstance(header, hdlc.Header):
        return
    behind = "hdlc.more" if header.is_segmented else "hdlc.last"
    writer.field("hdlc.flag", frame, 0, 1, STATIC)
    writer.field("hdlc.format", frame, 1, 3, MODEL, count_of(header.length - 2), (behind,))
    writer.field("hdlc.destination", frame, 3, header.source, MODEL)
    writer.field("hdlc.source", frame, header.source, header.control, MODEL)
    writer.field("hdlc.control", frame, header.control, header.control + 1, STATIC, "UI")
    information = header.information
    if size > information + 1:
        writer.field("hdlc.hcs", frame, information - hdlc.CRC_BYTES, information, MODEL)
    start = information
    if writer.octets.startswith(hdlc.LLC, start):
        start += len(hdlc.LLC)
        writer.field("hdlc.llc", Layer.SEGMENT, information, start, STATIC)
    writer.content(start, size - HDLC_TRAILER_BYTES)
    writer.field("hdlc.fcs", frame, size - HDLC_TRAILER_BYTES, size - 1, CHANGES)
    writer.field("hdlc.flag_end", frame, size - 1, size, STATIC)
