"""Frames joined to one APDU: M-Bus segments, HDLC segments, general-block-transfer.

    M-Bus   the CI field numbers the segments and marks the last (EN 13757-3)
    HDLC    the LLC bytes E6 E7 00 mark the first, a cleared S bit the last (Green Book, 8.4)
    blocks  E0 control(1) number(2) acknowledged(2) length data: a message in numbered blocks,
            bit 7 of the control byte marks the last (Green Book, 9.3, general-block-transfer)

A piece is taken only when it continues exactly what came before, so a lost, doubled or foreign
one never glues two telegrams together.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.telegram import ber, hdlc, mbus
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.frames import Frame

MAX_APDU_BYTES = 2048  # three times the longest push seen (622 bytes)
# From the end of one piece to the start of the next. Within a telegram some 0.2 s are seen on
# M-Bus, between two telegrams 3 s and more; HDLC meters push as often as once a second.
MAX_MBUS_GAP_S = 3.0
MAX_HDLC_GAP_S = 0.75

GENERAL_BLOCK_TRANSFER = 0xE0
BLOCK_HEADER_BYTES = 6  # E0, control, number, acknowledged
LAST_BLOCK = 0x80


class Apdu(NamedTuple):
    """One COSEM message; `received` is when its last byte came.

    `pieces` tell where its bytes stood on the wire: (index in `content`, offset in the stream).
    """

    content: bytes
    received: float
    pieces: Sequence[tuple[int, int]] = ((0, 0),)

    def wire_offset(self, index: int) -> int:
        """Return the stream offset of the byte `content[index]`."""
        for start, offset in reversed(self.pieces):
            if start <= index:
                return offset + index - start
        raise IndexError(index)  # pragma: no cover: the first piece starts at 0


class _Piece(NamedTuple):
    """What one frame or block brings: `number` counts from 0, None continues whatever waits.

    `link` names who speaks to whom; `places` are where `content` stands in the stream, as in
    `Apdu.pieces`; `where` is the byte to point at when it does not fit.
    """

    content: bytes
    number: int | None
    is_last: bool
    link: bytes
    places: Sequence[tuple[int, int]]
    where: int
    began: float
    received: float


class Assembler:
    """Joins the pieces of one APDU; holds at most one that is incomplete."""

    def __init__(self) -> None:
        self._segments = _Joiner("segment", 0, mbus.CI_SEQUENCE)
        self._blocks = _Joiner("block", 1, 0xFFFF)
        self._began = 0.0  # when the first byte of the message came that is joined now

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is incomplete."""
        return not self._segments.count and not self._blocks.count

    def add(self, frame: Frame) -> list[Apdu | Fault]:
        """Take the next frame; return the APDU that it completes and the faults it shows."""
        is_hdlc, waits = frame.octets[0] == hdlc.FLAG, self._segments.count
        piece = _hdlc_piece(frame) if is_hdlc else _mbus_piece(frame)
        if isinstance(piece, Fault):
            return [piece]
        max_gap_s = MAX_HDLC_GAP_S if is_hdlc else MAX_MBUS_GAP_S
        if piece.number == 0 or not waits:
            self._began = piece.began
        if not waits and piece.number is None and _is_block(piece.content):
            # Only the first block of a message has the LLC bytes.
            piece = piece._replace(number=0)
        if piece.is_last and piece.number == 0 and not waits:
            message = Apdu(piece.content, piece.received, piece.places)
            return self._take(message, piece, max_gap_s)
        found: list[Apdu | Fault] = []
        for item in self._segments.add(piece, max_gap_s):
            found += [item] if isinstance(item, Fault) else self._take(item, piece, max_gap_s)
        return found

    def finish(self) -> list[Apdu | Fault]:
        """Wait no longer: an incomplete APDU is a fault."""
        return [*self._segments.finish(), *self._blocks.finish()]

    def _take(self, message: Apdu, last: _Piece, max_gap_s: float) -> list[Apdu | Fault]:
        """Take a whole message: an APDU, or a block of one."""
        if not _is_block(message.content):
            return [*self._blocks.finish(), message] if self._blocks.count else [message]
        block = _block(message, last._replace(began=self._began))
        return [block] if isinstance(block, Fault) else self._blocks.add(block, max_gap_s)


class _Joiner:
    """Joins numbered pieces; `what` they are called, `first` is what the wire calls number 0."""

    def __init__(self, what: str, first: int, mask: int) -> None:
        self._what = what
        self._first = first
        self._mask = mask
        self.count = 0  # pieces that wait for the rest
        self._content = b""
        self._places: list[tuple[int, int]] = []
        self._link = b""
        self._last_received = 0.0

    def add(self, piece: _Piece, max_gap_s: float) -> list[Apdu | Fault]:
        """Take the next piece; return the APDU that it completes and the faults it shows."""
        found: list[Apdu | Fault] = []
        if self.count and (reason := self._break(piece, max_gap_s)):
            found += self._give_up(reason)
        if not self.count:
            if piece.number != 0:
                reason = f"{self._name_of(piece)} without the {self._what}s before it"
                return [*found, Fault(Layer.SEGMENT, reason, piece.where)]
            self._link = piece.link
        size = len(self._content)
        for index, offset in piece.places:
            self._places.append((size + index, offset))
        self._content += piece.content
        self.count += 1
        self._last_received = piece.received
        if len(self._content) > MAX_APDU_BYTES:
            found += self._give_up(f"more than {MAX_APDU_BYTES} bytes without a last {self._what}")
        elif piece.is_last:
            found.append(Apdu(self._content, piece.received, tuple(self._places)))
            self._clear()
        return found

    def finish(self) -> list[Apdu | Fault]:
        """Wait no longer: an incomplete APDU is a fault."""
        return self._give_up(f"telegram breaks off after {self._so_far}") if self.count else []

    def _name_of(self, piece: _Piece) -> str:
        """Return what a piece is called, with the number that it has on the wire."""
        if piece.number is None:
            return self._what
        return f"{self._what} {piece.number + self._first & self._mask}"

    @property
    def _so_far(self) -> str:
        return f"{self.count} {self._what}{'s' if self.count > 1 else ''}"

    def _break(self, piece: _Piece, max_gap_s: float) -> str | None:
        """Return why `piece` does not continue the APDU that waits; None if it does."""
        gap_s = piece.began - self._last_received
        if piece.number not in (None, self.count & self._mask):
            why = f"{self._name_of(piece)} follows"
        elif piece.link != self._link:
            why = "the next is of another sender"
        elif gap_s > max_gap_s:
            why = f"the next came {gap_s:.1f} s later"
        else:
            return None
        return f"telegram breaks off after {self._so_far}: {why}"

    def _give_up(self, reason: str) -> list[Apdu | Fault]:
        where = self._places[0][1]
        self._clear()
        return [Fault(Layer.SEGMENT, reason, where)]

    def _clear(self) -> None:
        self.count = 0
        self._content = b""
        self._places = []


def _mbus_piece(frame: Frame) -> _Piece | Fault:
    """Read an M-Bus frame as a segment of a push telegram."""
    octets, begin, began, received = frame
    segment = mbus.segment(octets)
    if isinstance(segment, mbus.Flaw):
        return Fault(Layer.SEGMENT, segment.reason, begin + segment.place)
    number, is_last = segment
    start = mbus.HEADER_BYTES + mbus.SEGMENT_HEADER_BYTES
    where = begin + mbus.HEADER_BYTES + 2
    content = octets[start : -mbus.TRAILER_BYTES]
    return _Piece(content, number, is_last, b"", ((0, begin + start),), where, began, received)


def _hdlc_piece(frame: Frame) -> _Piece | Fault:
    """Read an HDLC frame as a segment: with LLC bytes the first, else one that continues."""
    header = hdlc.header(frame.octets, 0)
    if not isinstance(header, hdlc.Header):  # pragma: no cover: only whole frames come here
        raise TypeError("a frame begins with a header")
    start = header.information
    is_first = frame.octets.startswith(hdlc.LLC, start)
    start += len(hdlc.LLC) if is_first else 0
    content = frame.octets[start : -hdlc.CRC_BYTES - 1]
    if not content:
        return Fault(Layer.SEGMENT, "the frame carries no bytes", frame.offset + header.control)
    return _Piece(
        content,
        0 if is_first else None,
        not header.is_segmented,
        header.addresses,
        ((0, frame.offset + start),),
        frame.offset + start,
        frame.began,
        frame.received,
    )


def _is_block(content: bytes) -> bool:
    return content[0] == GENERAL_BLOCK_TRANSFER


def _block(message: Apdu, last: _Piece) -> _Piece | Fault:
    """Read a message as one block of a general-block-transfer; they are numbered from 1."""
    content, where = message.content, message.wire_offset(0)
    decoded = ber.length(content, BLOCK_HEADER_BYTES)
    if decoded is None or sum(decoded) != len(content):
        reason = "the block's length does not agree with its frame's"
        return Fault(Layer.SEGMENT, reason, message.wire_offset(len(content) - 1))
    start = decoded[1]
    if start == len(content):
        return Fault(Layer.SEGMENT, "the block carries no bytes", where)
    behind = [(index - start, offset) for index, offset in message.pieces if index > start]
    return _Piece(
        content[start:],
        (int.from_bytes(content[2:4], "big") - 1) & 0xFFFF,
        bool(content[1] & LAST_BLOCK),
        last.link,
        ((0, message.wire_offset(start)), *behind),
        where,
        last.began,
        last.received,
    )
