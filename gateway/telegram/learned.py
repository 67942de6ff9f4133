"""What stays the same from one telegram of a meter to the next, learned once, verified each time.

A telegram that equals the learned one in every byte that does not change needs no walk: its
values stand where they stood. One that differs goes the general way. Nothing is taken on trust:
the constant bytes hold all frame headers, lengths, tags, OBIS codes, scalers and units.
"""

import struct
from collections.abc import Iterable, Sequence
from zlib import adler32

from gateway.telegram import axdr, ciphering, mbus, notification
from gateway.telegram.ciphering import Sealed
from gateway.telegram.fault import Fault
from gateway.telegram.frames import Frame
from gateway.telegram.listing import Readings, impossible, read_text
from gateway.telegram.notification import CosemTime, Header
from gateway.telegram.obis import CLOCK
from gateway.telegram.segments import Apdu, Assembler

INVOKE_ID = (1, 5)  # the bytes of long-invoke-id-and-priority in a plaintext
COUNTER_BYTES = 4
TIME_BYTES = notification.DATE_TIME_BYTES


class Template:
    """Bytes of which some may be anything and all others must be the same."""

    __slots__ = ("_constant", "_length", "_mask")

    def __init__(self, octets: bytes, changing: Iterable[tuple[int, int]]) -> None:
        mask = bytearray(b"\xff" * len(octets))
        for start, end in changing:
            mask[start:end] = bytes(end - start)
        self._length = len(octets)
        self._mask = int.from_bytes(mask, "big")
        self._constant = int.from_bytes(octets, "big") & self._mask

    def fits(self, octets: bytes) -> bool:
        """Tell whether `octets` are as many and differ only where they may."""
        return (
            len(octets) == self._length
            and int.from_bytes(octets, "big") & self._mask == self._constant
        )


# What a plaintext says: the time in its header, and its readings.
Wording = tuple[CosemTime | None, Readings]
# What changes in a sealed APDU: invocation counter, ciphertext, tag (empty without one).
Secret = tuple[bytes, bytes, bytes]


class LearnedPlaintext:
    """The layout of a plaintext, for the meter with this system title."""

    __slots__ = (
        "_clock", "_form", "_listing", "_local", "_may_be_impossible", "_template", "_texts",
        "_time_start", "title",
    )  # fmt: skip

    def __init__(self, plaintext: bytes, header: Header, readings: Readings, title: bytes) -> None:
        listing = readings.listing
        changing = [
            INVOKE_ID,
            *listing.unread,
            *((entry.content_start, entry.end) for entry in listing.entries if entry.changes),
        ]
        if header.time_start is not None:
            changing.append((header.time_start, header.time_start + TIME_BYTES))
        self.title = title
        self._template = Template(plaintext, changing)
        self._listing = listing
        self._time_start = header.time_start
        clock = next((entry for entry in listing.texts if entry.obis == CLOCK), None)
        self._clock = None if clock is None else clock.content_start
        self._local = [e for e in listing.texts if e.changes and e.obis != CLOCK]
        self._texts = {
            entry.obis: readings[entry.obis]
            for entry in listing.texts
            if not entry.changes and entry.obis in readings
        }
        form, position = ">", 0
        for entry in listing.numbers:
            number = axdr.NUMBERS[entry.kind >> 8]
            form += f"{entry.start + 1 - position}x{number.format[1:]}"
            position = entry.start + 1 + number.size
        self._form = struct.Struct(form)
        self._may_be_impossible = any(e.kind >> 8 not in axdr.UNSIGNED for e in listing.numbers)

    def read(self, plaintext: bytes) -> Wording | None:
        """Return what a plaintext of this layout says; None if it must go the general way."""
        if not self._template.fits(plaintext):
            return None
        start = self._time_start
        clock = time = None if start is None else notification.cosem_time(plaintext, start)
        if self._clock is None:
            clock = None
        elif start is None or not plaintext.startswith(
            plaintext[start : start + TIME_BYTES], self._clock
        ):
            clock = notification.cosem_time(plaintext, self._clock)
        if isinstance(time, Fault) or isinstance(clock, Fault):
            return None
        texts = self._texts
        for entry in self._local:
            text = read_text(entry, plaintext)
            if isinstance(text, Fault):
                return None
            texts = texts | ({entry.obis: text} if text else {})
        raw = self._form.unpack_from(plaintext)
        if self._may_be_impossible and impossible(self._listing.numbers, raw):
            return None
        return time, Readings(self._listing, raw, texts, clock)


class LearnedFrames:
    """The M-Bus frames of a whole telegram, for one that comes in one piece.

    `title` and `security_byte` are those of its APDU, which starts at `apdu_start`.
    """

    __slots__ = (
        "_pieces", "_tag_start", "_template", "apdu_start", "security_byte", "title",
    )  # fmt: skip

    @classmethod
    def of(cls, found: Sequence[Frame | Fault], size: int) -> "LearnedFrames | None":
        """Learn frames that brought one good telegram; None if they are not all of `size` bytes."""
        frames = [item for item in found if isinstance(item, Frame) and not item.is_hdlc]
        if sum(len(frame.octets) for frame in frames) != size:
            return None
        assembler = Assembler()
        apdus = [apdu for frame in frames for apdu in assembler.add(frame)]
        if len(apdus) != 1 or isinstance(apdus[0], Fault) or not assembler.is_idle:
            return None
        # Blocks may be cut otherwise than frames; nobody has seen such a meter on M-Bus.
        if len(apdus[0].pieces) != len(frames):
            return None
        sealed = ciphering.parse(apdus[0].content)
        return None if isinstance(sealed, Fault) else cls(frames, apdus[0], sealed)

    def __init__(self, frames: Sequence[Frame], apdu: Apdu, sealed: Sealed) -> None:
        begin = frames[0].offset
        self.title = sealed.system_title
        self.security_byte = sealed.security_byte
        self.apdu_start = apdu.wire_offset(0) - begin
        octets = b"".join(frame.octets for frame in frames)
        # Behind the security byte everything changes: counter, ciphertext, tag.
        secret = sealed.ciphertext_start - COUNTER_BYTES
        # (start and end of what changes, checksum of what stands before it in its frame)
        self._pieces = []
        for (index, offset), frame in zip(apdu.pieces, frames, strict=True):
            content = frame.offset - begin + mbus.HEADER_BYTES
            end = frame.offset - begin + len(frame.octets) - mbus.TRAILER_BYTES
            start = min(end, offset - begin + max(0, secret - index))
            self._pieces.append((start, end, mbus.checksum(octets[content:start])))
        self._tag_start = COUNTER_BYTES + len(sealed.ciphertext)
        # Behind each piece stands its frame's checksum.
        self._template = Template(octets, [(start, end + 1) for start, end, _ in self._pieces])

    def unseal(self, octets: bytes) -> Secret | None:
        """Return what the frames bring; None if they must go the general way."""
        if not self._template.fits(octets):
            return None
        secret = b""
        for start, end, constant_sum in self._pieces:
            piece = octets[start:end]
            # As in `mbus.checksum`; a frame has no more than 255 bytes behind its headers.
            if adler32(piece, constant_sum) & 0xFF != octets[end]:
                return None
            secret += piece
        tag_start = self._tag_start
        return secret[:COUNTER_BYTES], secret[COUNTER_BYTES:tag_start], secret[tag_start:]
