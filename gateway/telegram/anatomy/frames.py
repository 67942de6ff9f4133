"""One frame, written down: M-Bus or HDLC, with the transport fields inside it."""

from collections.abc import Container, Sequence
from typing import NamedTuple

from gateway.telegram import ber, hdlc, mbus, segments
from gateway.telegram.anatomy.field import Change, Sheet, count_of
from gateway.telegram.fault import Layer

STATIC, MODEL, CHANGES, UNKNOWN = Change.STATIC, Change.MODEL, Change.CHANGES, Change.UNKNOWN
HDLC_TRAILER_BYTES = hdlc.CRC_BYTES + 1
# What the header of a push telegram's segment may hold, byte by byte: C, A, CI, STSAP, DTSAP.
MBUS_HEADER: Sequence[Container[int]] = (
    mbus.SEND_USER_DATA,
    (mbus.BROADCAST,),
    range((mbus.CI_FIN | mbus.CI_SEQUENCE) + 1),
    (mbus.MANAGEMENT_DEVICE,),
    (mbus.CONSUMER_CLIENT,),
)
# The addresses that all meters of a kind share (real telegrams). Any other
# may be a meter's own.
HDLC_CLIENTS = tuple(map(bytes.fromhex, ("CF", "CEFF", "CE9B")))
HDLC_METERS = tuple(map(bytes.fromhex, ("03", "0223", "00020023")))


class Place(NamedTuple):
    """Where a frame stands in the stream, and how long it is, or would be if it were whole.

    `limit` is where the bytes that may be its own end. `content` is where its content starts,
    behind all headers. Nobody vouches for a frame that is not good. One is `sure` whose checks
    are right and that the assembler has taken; of any other only known constants are vouched for.
    """

    start: int
    size: int
    limit: int
    content: int
    is_good: bool = True
    is_sure: bool = False

    @property
    def content_end(self) -> int:
        """Return where its content ends, or breaks off."""
        return min(self.start + self.size, self.limit)

    @property
    def without_block(self) -> "Place":
        """Return the same place with all that follows the frame's own header as its content."""
        return self._replace(content=self.start)


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
    sheet.group(
        "hdlc.frame" if is_hdlc else "mbus.frame",
        Layer.FRAME,
        0,
        ((place.start, place.content_end),),
        label=str(number) if number else "",
        value=count_of(place.content_end - place.start),
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
        # How far anybody vouches for what differs from frame to frame.
        self.model = MODEL if place.is_sure else UNKNOWN

    def field(
        self, name: str, layer: Layer, span: tuple[int, int], change: Change, *said: str
    ) -> None:
        """Add a field; `said` are its value and its notes."""
        start = self.place.start
        ranges = ((start + span[0], min(start + span[1], self.place.limit)),)
        known = change if self.place.is_good else UNKNOWN
        value, *notes = said or ("",)
        self.sheet.field(name, layer, 1, ranges, known, value=value, notes=tuple(notes))

    def number(self, start: int, end: int) -> int:
        """Return the number at a place; what has broken off counts as 0."""
        return int.from_bytes(self.octets[start:end], "big")

    def content(self, transport_end: int, end: int) -> None:
        """Write down the header of a block, if there is one, and where the content stands."""
        first = max(self.place.content, self.place.start + transport_end)
        last = min(self.place.start + end, self.place.limit)
        self._block(transport_end, first - self.place.start, last - self.place.start)
        if not self.place.is_good:
            self.field("frame.refused", Layer.FRAME, (transport_end, end), UNKNOWN)
        elif first < last:
            size = count_of(last - first)
            self.sheet.group("frame.content", Layer.SEGMENT, 1, ((first, last),), value=size)

    def _block(self, start: int, end: int, behind: int) -> None:
        """Write down what of a frame's content is no part of the message: a block's header."""
        transport = Layer.SEGMENT
        if end - start <= segments.BLOCK_HEADER_BYTES or not self.place.is_sure:
            self.field("block.part", transport, (start, end), UNKNOWN)
            return
        note = "block.last" if self.octets[start + 1] & segments.LAST_BLOCK else "block.more"
        block, acknowledged = self.number(start + 2, start + 4), self.number(start + 4, start + 6)
        decoded = ber.length(self.octets, start + segments.BLOCK_HEADER_BYTES)
        is_whole = decoded is not None and end + decoded[0] == behind and not acknowledged
        known = MODEL if is_whole else UNKNOWN
        self.field("block.tag", transport, (start, start + 1), STATIC)
        self.field("block.control", transport, (start + 1, start + 2), known, "", note)
        self.field("block.number", transport, (start + 2, start + 4), known, str(block))
        acknowledgement = (start + 4, start + 6)
        self.field("block.acknowledged", transport, acknowledgement, known, str(acknowledged))
        size = count_of(decoded[0]) if decoded else ""
        self.field("block.length", transport, (start + 6, end), known, size)


def _explain_mbus(writer: _Writer) -> None:
    size, frame = writer.place.size, Layer.FRAME
    length, at = writer.octets[1], mbus.HEADER_BYTES
    content = mbus.content_length(length)
    wrapped = () if content == length else ("mbus.wrapped",)
    writer.field("mbus.start", frame, (0, 1), STATIC)
    writer.field("mbus.length", frame, (1, 2), writer.model, count_of(content), *wrapped)
    writer.field("mbus.length_again", frame, (2, 3), writer.model)
    writer.field("mbus.start_again", frame, (3, 4), STATIC)
    _explain_mbus_header(writer)
    writer.content(at + mbus.SEGMENT_HEADER_BYTES, size - mbus.TRAILER_BYTES)
    writer.field("mbus.checksum", frame, (size - 2, size - 1), CHANGES)
    writer.field("mbus.stop", frame, (size - 1, size), STATIC)


def _explain_mbus_header(writer: _Writer) -> None:
    """Write down C, A, CI and the two SAPs: vouched for up to the first that is not as it must be.

    What stands behind a foreign byte is a meter's address or serial number as likely as not.
    """
    at = mbus.HEADER_BYTES
    header = writer.octets[at : at + mbus.SEGMENT_HEADER_BYTES]
    known = STATIC
    names = ("mbus.control", "mbus.address", "mbus.ci", "mbus.source", "mbus.destination")
    for index, (octet, name, allowed) in enumerate(zip(header, names, MBUS_HEADER, strict=False)):
        if octet not in allowed:
            known = UNKNOWN
        said = [str(octet)]
        if name == "mbus.control":
            said = ["SND_UD" if octet in allowed else f"0x{octet:02X}"]
        elif name == "mbus.ci":
            note = "mbus.last" if octet & mbus.CI_FIN else "mbus.more"
            is_segment = octet in allowed
            said = [str(octet & mbus.CI_SEQUENCE), note] if is_segment else [f"0x{octet:02X}"]
        layer = Layer.SEGMENT if index > 1 else Layer.FRAME
        change = MODEL if name == "mbus.ci" and known is STATIC else known
        writer.field(name, layer, (at + index, at + index + 1), change, *said)


def _explain_hdlc(writer: _Writer) -> None:
    size, frame = writer.place.size, Layer.FRAME
    header = hdlc.header(writer.octets, 0)
    if not isinstance(header, hdlc.Header):
        return
    destination, source = (3, header.source), (header.source, header.control)
    information = header.information
    client = writer.model if writer.octets[slice(*destination)] in HDLC_CLIENTS else UNKNOWN
    meter = writer.model if writer.octets[slice(*source)] in HDLC_METERS else UNKNOWN
    behind = "hdlc.more" if header.is_segmented else "hdlc.last"
    writer.field("hdlc.flag", frame, (0, 1), STATIC)
    writer.field("hdlc.format", frame, (1, 3), writer.model, count_of(header.length - 2), behind)
    writer.field("hdlc.destination", frame, destination, client)
    writer.field("hdlc.source", frame, source, meter)
    writer.field("hdlc.control", frame, (header.control, header.control + 1), STATIC, "UI")
    if size > information + 1:
        # The check of a header with a hidden address would tell that address.
        check = UNKNOWN if UNKNOWN in (client, meter) else MODEL
        writer.field("hdlc.hcs", frame, (information - hdlc.CRC_BYTES, information), check)
    start = information
    if writer.octets.startswith(hdlc.LLC, start):
        start += len(hdlc.LLC)
        writer.field("hdlc.llc", Layer.SEGMENT, (information, start), STATIC)
    writer.content(start, size - HDLC_TRAILER_BYTES)
    writer.field("hdlc.fcs", frame, (size - HDLC_TRAILER_BYTES, size - 1), CHANGES)
    writer.field("hdlc.flag_end", frame, (size - 1, size), STATIC)
