"""Wired M-Bus long frames out of a stream of bytes (EN 13757-2, 5.3; IEC 60870-5-2 FT 1.2).

    68 L L 68 | C A CI … | CS 16      L counts C to the last data byte, CS is their sum mod 256

Bytes outside all good frames are reported, each once. After a bad frame the search goes on one
byte further, never one frame further: 68 and 16 also occur in ciphertext.
"""

import zlib
from collections import deque
from dataclasses import dataclass

from gateway.telegram.fault import Fault, Layer

START = 0x68
STOP = 0x16
HEADER_BYTES = 4
TRAILER_BYTES = 2
# C, A, CI, STSAP, DTSAP: no DLMS segment is shorter (EN 13757-3).
MIN_CONTENT_BYTES = 5
# A run of bytes without a frame is reported as soon as it is as long as a frame.
MAX_RUN_BYTES = 256


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose length, checksum and stop byte are good.

    `content` is C to the last data byte; `offset` is where it starts in the stream; `began` and
    `received` are the times at which its first and its last byte came.
    """

    content: bytes
    offset: int
    began: float
    received: float


def checksum(content: bytes) -> int:
    """Return the sum of all bytes modulo 256.

    Adler-32 started at 0 has the byte sum in its low half, exact while the sum stays below its
    modulus 65,521, as it does for up to 256 bytes; it is several times faster than `sum`.
    """
    return (zlib.adler32(content, 0) if len(content) <= 256 else sum(content)) & 0xFF


def content_length(length_byte: int) -> int:
    """Return the number of content bytes that the L field means.

    Old Sagemcom firmware sends 257 bytes, of which only the low byte (1) fits into L; no real
    segment is shorter than its header, so a smaller L can only have wrapped.
    """
    return length_byte if length_byte >= MIN_CONTENT_BYTES else length_byte + 256


class FrameReader:
    """Finds frames in chunks of any size; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # where the buffer's first byte stands in the stream
        self._accounted = 0  # all bytes before this one belong to a frame or a fault
        self._arrivals: deque[tuple[int, float]] = deque()  # (end of a chunk, when it came)

    def feed(self, chunk: bytes, now: float) -> list[Frame | Fault]:
        """Take the next bytes; return the frames and faults that are certain now."""
        self._buffer += chunk
        self._arrivals.append((self._offset + len(self._buffer), now))
        return self._search(more_may_come=True)

    def finish(self) -> list[Frame | Fault]:
        """Wait no longer: return the whole frames inside what is incomplete, and the faults."""
        found = self._search(more_may_come=False)
        self._report_run(found, self._offset)
        return found

    def _search(self, *, more_may_come: bool) -> list[Frame | Fault]:
        found: list[Frame | Fault] = []
        buffer, position = self._buffer, 0
        while True:
            start = buffer.find(START, position)
            position = start if start >= 0 else len(buffer)
            self._report_long_run(found, self._offset + position)
            if start < 0 or (more_may_come and _needed(buffer, start) > len(buffer)):
                break
            position = self._examine(found, start)
        del buffer[:position]
        self._offset += position
        while self._arrivals and self._arrivals[0][0] <= self._offset:
            self._arrivals.popleft()
        return found

    def _examine(self, found: list[Frame | Fault], start: int) -> int:
        """Judge the START byte at `start`; return where the search goes on."""
        buffer = self._buffer
        if not _is_header(buffer, start):
            return start + 1
        begin, end = self._offset + start, self._offset + _needed(buffer, start)
        stop = end - self._offset
        content = bytes(buffer[start + HEADER_BYTES : stop - TRAILER_BYTES])
        trailer = bytes(buffer[start + HEADER_BYTES + len(content) : stop])
        if fault := _flaw(content, trailer, begin, end):
            # What starts inside a bad frame is most likely a piece of it, and is not told again.
            if begin >= self._accounted:
                self._report_run(found, begin)
                found.append(fault)
                self._accounted = min(end, self._offset + len(buffer))
            return start + 1
        self._report_run(found, begin)
        began, received = self._arrival_of(begin + 1), self._arrival_of(end)
        found.append(Frame(content, begin, began, received))
        self._accounted = max(self._accounted, end)
        return stop

    def _arrival_of(self, end: int) -> float:
        """Return when the byte before stream offset `end` came."""
        return next(when for chunk_end, when in self._arrivals if chunk_end >= end)

    def _report_run(self, found: list[Frame | Fault], end: int) -> None:
        """Report the bytes from the last accounted one to `end` as lying outside all frames."""
        self._report_long_run(found, end)
        if end > self._accounted:
            self._report_bytes(found, end - self._accounted)

    def _report_long_run(self, found: list[Frame | Fault], end: int) -> None:
        while end - self._accounted >= MAX_RUN_BYTES:
            self._report_bytes(found, MAX_RUN_BYTES)

    def _report_bytes(self, found: list[Frame | Fault], count: int) -> None:
        reason = f"{count} byte{'s' if count > 1 else ''} outside all frames"
        found.append(Fault(Layer.FRAME, reason, self._accounted))
        self._accounted += count


def _flaw(content: bytes, trailer: bytes, begin: int, end: int) -> Fault | None:
    """Return what is wrong with the frame `begin … end-1`; None if nothing is."""
    if len(trailer) < TRAILER_BYTES:
        have = HEADER_BYTES + len(content) + len(trailer)
        reason = f"frame breaks off after {have} of {end - begin} bytes"
        return Fault(Layer.FRAME, reason, begin + have)
    if trailer[0] != (computed := checksum(content)):
        reason = f"checksum 0x{trailer[0]:02x}, computed 0x{computed:02x}"
        return Fault(Layer.FRAME, reason, end - 2)
    if trailer[1] != STOP:
        reason = f"frame ends with 0x{trailer[1]:02x}, not with 0x{STOP:02x}"
        return Fault(Layer.FRAME, reason, end - 1)
    return None


def _is_header(buffer: bytearray, start: int) -> bool:
    """Tell whether 68 L L 68 stands at `start`, which holds a START byte."""
    return (
        len(buffer) >= start + HEADER_BYTES
        and buffer[start + 1] == buffer[start + 2]
        and buffer[start + 3] == START
    )


def _needed(buffer: bytearray, start: int) -> int:
    """Return up to which index the buffer must reach for a verdict on the START byte."""
    if not _is_header(buffer, start):
        return start + HEADER_BYTES
    return start + HEADER_BYTES + content_length(buffer[start + 1]) + TRAILER_BYTES
