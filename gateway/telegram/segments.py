"""The DLMS transport layer on M-Bus: segments out of frames, joined to one APDU (EN 13757-3).

    C A CI STSAP DTSAP data      CI = 000 F SSSS: F marks the last segment, SSSS counts from 0

A segment is taken only when it continues exactly what came before, so a lost, doubled or foreign
one never glues two telegrams together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.telegram.fault import Fault, Layer
from gateway.telegram.mbus import HEADER_BYTES, Frame

SEND_USER_DATA = (0x53, 0x73)  # C field: SND_UD, without and with the frame count bit
BROADCAST = 0xFF  # A field: the meter is the master and speaks to whoever listens
CI_FIN = 0x10
CI_SEQUENCE = 0x0F
CI_RESERVED = 0xE0
MANAGEMENT_DEVICE = 0x01  # STSAP: the meter's management logical device
CONSUMER_CLIENT = 0x67  # DTSAP: 103, the consumer information push client
SEGMENT_HEADER_BYTES = 5
MAX_APDU_BYTES = 2048  # four times the longest push seen (622 bytes)
# From the end of one frame to the start of the next: within a telegram some 0.2 s are seen,
# between two telegrams 3 s and more.
MAX_SEGMENT_GAP_S = 3.0


@dataclass(frozen=True, slots=True)
class Apdu:
    """One COSEM message; `received` is when its last byte came.

    `pieces` tell where its bytes stood on the wire: (index in `content`, offset in the stream).
    """

    content: bytes
    received: float
    pieces: Sequence[tuple[int, int]] = ((0, 0),)

    def wire_offset(self, index: int) -> int:
        """Return the stream offset of the byte `content[index]`."""
        start, offset = next(piece for piece in reversed(self.pieces) if piece[0] <= index)
        return offset + index - start


@dataclass(slots=True)
class Assembler:
    """Joins the segments of one APDU; holds at most one that is incomplete."""

    _content: bytearray = field(default_factory=bytearray)
    _pieces: list[tuple[int, int]] = field(default_factory=list)
    _last_received: float = 0.0

    def add(self, frame: Frame) -> list[Apdu | Fault]:
        """Take the next frame; return the APDU that it completes and the faults it shows."""
        if refusal := _refusal(frame):
            return [refusal]
        found: list[Apdu | Fault] = []
        sequence = frame.content[2] & CI_SEQUENCE
        if self._pieces and (reason := self._break(frame, sequence)):
            found.append(Fault(Layer.SEGMENT, reason, self._pieces[0][1]))
            self._clear()
        if not self._pieces and sequence != 0:
            reason = f"segment {sequence} without the segments before it"
            return [*found, Fault(Layer.SEGMENT, reason, frame.offset + HEADER_BYTES + 2)]
        self._pieces.append(
            (len(self._content), frame.offset + HEADER_BYTES + SEGMENT_HEADER_BYTES)
        )
        self._content += frame.content[SEGMENT_HEADER_BYTES:]
        self._last_received = frame.received
        if len(self._content) > MAX_APDU_BYTES:
            reason = f"more than {MAX_APDU_BYTES} bytes without a last segment"
            found.append(Fault(Layer.SEGMENT, reason, self._pieces[0][1]))
            self._clear()
        elif frame.content[2] & CI_FIN:
            found.append(Apdu(bytes(self._content), frame.received, tuple(self._pieces)))
            self._clear()
        return found

    def finish(self) -> list[Apdu | Fault]:
        """Wait no longer: an incomplete APDU is a fault."""
        if not self._pieces:
            return []
        reason = f"telegram breaks off after {self._count}"
        offset = self._pieces[0][1]
        self._clear()
        return [Fault(Layer.SEGMENT, reason, offset)]

    @property
    def _count(self) -> str:
        return f"{len(self._pieces)} segment{'s' if len(self._pieces) > 1 else ''}"

    def _break(self, frame: Frame, sequence: int) -> str | None:
        """Return why `frame` does not continue the APDU that waits; None if it does."""
        if sequence != len(self._pieces) & CI_SEQUENCE:
            return f"telegram breaks off after {self._count}: segment {sequence} follows"
        gap_s = frame.began - self._last_received
        if gap_s > MAX_SEGMENT_GAP_S:
            return f"telegram breaks off after {self._count}: the next came {gap_s:.1f} s later"
        return None

    def _clear(self) -> None:
        self._content.clear()
        self._pieces.clear()


def _refusal(frame: Frame) -> Fault | None:
    """Return the fault of a frame that is no segment of a push telegram; None if it is one."""
    control, address, ci, source, destination = frame.content[:SEGMENT_HEADER_BYTES]
    for position, good, what in (
        (0, control in SEND_USER_DATA, f"C field 0x{control:02x} is not SND_UD (0x53)"),
        (1, address == BROADCAST, f"address 0x{address:02x} is not broadcast (0xff)"),
        (2, not ci & CI_RESERVED, f"CI field 0x{ci:02x} is no DLMS segment"),
        (3, source == MANAGEMENT_DEVICE, f"source SAP {source} is not the meter's (1)"),
        (4, destination == CONSUMER_CLIENT, f"destination SAP {destination} is not 103"),
    ):
        if not good:
            return Fault(Layer.SEGMENT, what, frame.offset + HEADER_BYTES + position)
    if len(frame.content) == SEGMENT_HEADER_BYTES:
        return Fault(Layer.SEGMENT, "the segment carries no bytes", frame.offset)
    return None
