"""Frames out of a stream of bytes: M-Bus or HDLC, whichever begins.

Bytes outside all good frames are reported, each once. After a bad frame the search goes on one
byte further, never one frame further: start and stop bytes also occur in ciphertext.
"""

import re
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from gateway.telegram import hdlc, mbus
from gateway.telegram.fault import Fault, Layer

# A run of bytes without a frame is reported as soon as it is about as long as an M-Bus frame.
MAX_RUN_BYTES = 256
_START_BYTES = bytes((mbus.START, hdlc.FLAG))
_STARTS = re.compile(b"[%b]" % re.escape(_START_BYTES))


class Frame(NamedTuple):
    """A whole frame with good checks, from its first to its last byte.

    `offset` is where it starts in the stream; `began` and `received` are the times at which its
    first and its last byte came.
    """

    octets: bytes
    offset: int
    began: float
    received: float

    @property
    def is_hdlc(self) -> bool:
        """Tell HDLC from M-Bus."""
        return self.octets[0] == hdlc.FLAG


class FrameReader:
    """Finds frames in chunks of any size; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._rest = b""
        self._offset = 0  # where the rest's first byte stands in the stream
        self._accounted = 0  # all bytes before this one belong to a frame or a fault
        self._now = 0.0  # when the last chunk came
        # Of the rest's bytes: (end of a chunk, when it came).
        self._arrivals: deque[tuple[int, float]] = deque()
        self._damaged: list[int] = []  # stream offsets of bytes that came with a parity error

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is incomplete, and nothing untold."""
        return not self._rest and self._accounted == self._offset

    @property
    def offset(self) -> int:
        """Return how many bytes came before those that are incomplete."""
        return self._offset

    @property
    def missing(self) -> int | None:
        """Return how many bytes at least the incomplete frame lacks; None while none has begun."""
        if not self._rest or self._rest[0] == hdlc.FLAG == self._rest[-1]:
            return None  # or a flag that ended a frame and may begin another
        framing = mbus if self._rest[0] == mbus.START else hdlc
        length = framing.measure(self._rest, 0)
        return None if length is None else length - len(self._rest)

    def skip(self, count: int) -> None:
        """Count bytes that were read elsewhere; only while nothing is incomplete."""
        self._offset = self._accounted = self._offset + count

    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Frame | Fault]:
        """Take the next bytes; return the frames and faults that are certain now.

        `damaged` are indices in `chunk` of bytes that came with a parity or framing error.
        """
        if damaged:
            end = self._offset + len(self._rest)
            self._damaged += [end + index for index in damaged]
        self._rest += chunk
        self._now = now
        return self._search(more_may_come=True)

    def finish(self) -> list[Frame | Fault]:
        """Wait no longer: return the whole frames inside what is incomplete, and the faults."""
        if self.is_idle:
            return []
        found = self._search(more_may_come=False)
        self._report_run(found, self._offset)
        return found

    def _search(self, *, more_may_come: bool) -> list[Frame | Fault]:
        found: list[Frame | Fault] = []
        octets, position = self._rest, 0
        size = len(octets)
        while position < size:
            if octets[position] not in _START_BYTES:
                match = _STARTS.search(octets, position)
                position = match.start() if match else size
                continue
            framing = mbus if octets[position] == mbus.START else hdlc
            length = framing.measure(octets, position)
            if length is None:
                position += 1
            elif position + length <= size:
                position = self._judge(found, octets[position : position + length], position)
            elif more_may_come:
                break
            else:
                self._break_off(found, position, length)
                position += 1
        if self._offset + position - self._accounted >= MAX_RUN_BYTES:
            self._report_long_run(found, self._offset + position)
        self._drop(position)
        return found

    def _judge(self, found: list[Frame | Fault], octets: bytes, start: int) -> int:
        """Judge a whole frame; return where the search goes on."""
        begin = self._offset + start
        end = begin + len(octets)
        is_hdlc = octets[0] == hdlc.FLAG
        flaw = hdlc.flaw(octets) if is_hdlc else mbus.flaw(octets)
        if self._damaged and (marked := [at for at in self._damaged if begin <= at < end]):
            flaw = mbus.Flaw(
                f"{len(marked)} of the frame's {len(octets)} bytes came with a parity error",
                marked[0] - begin,
            )
        if flaw is not None:
            fault = Fault(Layer.FRAME, flaw.reason, begin + flaw.place)
            self._refuse(found, begin, end, fault, shares_flag=is_hdlc)
            return start + 1
        if begin > self._accounted:
            self._report_run(found, begin)
        began = received = self._now
        if self._arrivals:
            # HDLC frames may share the flag between them: the next one began with its second byte.
            began, received = self._arrival_of(begin + 1 + is_hdlc), self._arrival_of(end)
        found.append(Frame(octets, begin, began, received))
        if end > self._accounted:
            self._accounted = end
        return start + len(octets) - is_hdlc

    def _break_off(self, found: list[Frame | Fault], start: int, length: int) -> None:
        """Report a frame that no more bytes will complete."""
        octets, begin = self._rest[start:], self._offset + start
        is_hdlc = octets[0] == hdlc.FLAG
        if is_hdlc and not isinstance(hdlc.header(octets, 0), hdlc.Header):
            return  # not even a header: that may be anything
        if not is_hdlc and length == mbus.HEADER_BYTES:
            return
        end = begin + len(octets)
        reason = f"frame breaks off after {len(octets)} of {length} bytes"
        fault = Fault(Layer.FRAME, reason, end)
        self._refuse(found, begin, end, fault, shares_flag=is_hdlc)

    def _refuse(
        self, found: list[Frame | Fault], begin: int, end: int, fault: Fault, *, shares_flag: bool
    ) -> None:
        # What starts inside a bad frame is most likely a piece of it, and is not told again. The
        # flag of an HDLC frame may be the last byte of the frame before it.
        if begin + shares_flag >= self._accounted:
            self._report_run(found, begin)
            found.append(fault)
            self._accounted = end

    def _drop(self, count: int) -> None:
        """Forget the first bytes of the rest; remember when the others came."""
        self._rest = self._rest[count:]
        self._offset += count
        if self._rest:
            self._arrivals.append((self._offset + len(self._rest), self._now))
            while self._arrivals[0][0] <= self._offset:
                self._arrivals.popleft()
        else:
            self._arrivals.clear()
        if self._damaged:
            # What is not accounted for yet will be counted when it is reported.
            first = min(self._offset, self._accounted)
            self._damaged = [at for at in self._damaged if at >= first]

    def _arrival_of(self, end: int) -> float:
        """Return when the byte before stream offset `end` came."""
        for chunk_end, when in self._arrivals:
            if chunk_end >= end:
                return when
        return self._now

    def _report_run(self, found: list[Frame | Fault], end: int) -> None:
        """Report the bytes from the last accounted one to `end` as lying outside all frames."""
        if end > self._accounted:
            self._report_long_run(found, end)
            if end > self._accounted:
                self._report_bytes(found, end - self._accounted)

    def _report_long_run(self, found: list[Frame | Fault], end: int) -> None:
        while end - self._accounted >= MAX_RUN_BYTES:
            self._report_bytes(found, MAX_RUN_BYTES)

    def _report_bytes(self, found: list[Frame | Fault], count: int) -> None:
        end = self._accounted + count
        marked = sum(self._accounted <= at < end for at in self._damaged)
        reason = f"{count} byte{'s' if count > 1 else ''} outside all frames"
        if marked:
            reason += f", {marked} with parity errors"
        found.append(Fault(Layer.FRAME, reason, self._accounted))
        self._accounted = end
