"""RTU frames in the bytes of a bus → replies. Pure.

On the wire silence parts the frames, but an adapter or a converter hands bytes on when it likes. So
a request is known by its length, which follows from its function, and by its CRC, and it may start
at any byte. Silence only helps where that leaves a doubt.

Clauses: MSL is Modbus over Serial Line 1.02, MAP the Modbus Application Protocol 1.1b3.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.modbus.responder import Responder

BROADCAST = 0  # MSL 2.2: nobody answers
MIN_FRAME_BYTES = 4  # unit id, function code, CRC
MAX_FRAME_BYTES = 256  # MSL 2.5.1
CRC_BYTES = 2
FUNCTION_AT = 1
EXCEPTION_BIT = 0x80  # MAP 7

# Longer than the pauses that an adapter makes inside a frame: FTDI's hands on what it has every
# 16 ms.
SILENCE_S = 0.05
ECHO_WITHIN_S = 1.0  # of the reply; 256 bytes at 2400 baud take as long
ALIKE_LIMIT = 3

GAP_CHARACTERS = 3.5  # between frames, MSL 2.5.1.1
FASTEST_COUNTED_BAUD = 19_200
FAST_GAP_S = 0.00175  # above that


class Form(NamedTuple):
    """How long a frame is: `size` bytes, and as many more as the byte at `count_at` says."""

    size: int
    count_at: int = FUNCTION_AT  # which tells of no more bytes

    def length(self, octet: int) -> int:
        """Return the whole length; `octet` is the byte at `count_at`."""
        return self.size + (octet if self.count_at > FUNCTION_AT else 0)


# By function code, with unit id and CRC. MAP 6.1 to 6.19; 43 as 43/14, 6.21.
REQUESTS: Mapping[int, Form] = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 8), Form(8)),
    **dict.fromkeys((7, 11, 12, 17), Form(4)),
    **dict.fromkeys((15, 16), Form(9, count_at=6)),
    **dict.fromkeys((20, 21), Form(5, count_at=2)),
    22: Form(10),
    23: Form(13, count_at=10),
    24: Form(6),
    43: Form(7),
}
REPLIES: Mapping[int, Form] = {
    **dict.fromkeys((1, 2, 3, 4, 12, 17, 20, 21, 23), Form(5, count_at=2)),
    **dict.fromkeys((5, 6, 8, 11, 15, 16), Form(8)),
    7: Form(5),
    22: Form(10),
    24: Form(6, count_at=3),  # the low byte of two; 31 registers at most
}
EXCEPTION_REPLY = Form(5)


def _crc_of(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ 0xA001 if octet & 1 else octet >> 1
    return octet


_CRCS = [_crc_of(octet) for octet in range(256)]


def _after_zeros() -> Sequence[Sequence[int]]:
    """Return what becomes of each CRC below 256 when 0, 1 … 256 bytes of 0 follow."""
    rows = [array("H", range(256))]
    for _ in range(MAX_FRAME_BYTES):
        rows.append(array("H", (crc >> 8 ^ _CRCS[crc & 0xFF] for crc in rows[-1])))
    return rows


_AFTER_ZEROS = _after_zeros()


def crc16(octets: bytes | bytearray, crc: int = 0xFFFF) -> int:
    """Return the CRC (MSL 6.2.2), sent low byte first; 0 over octets that end with their CRC."""
    for octet in octets:
        crc = crc >> 8 ^ _CRCS[(crc ^ octet) & 0xFF]
    return crc


def sealed(octets: bytes) -> bytes:
    """Return unit id and PDU with their CRC."""
    return octets + crc16(octets).to_bytes(CRC_BYTES, "little")


def gap_s(baud: int, character_bits: int) -> float:
    """Return the least silence between two frames in seconds (t3.5, MSL 2.5.1.1)."""
    return FAST_GAP_S if baud > FASTEST_COUNTED_BAUD else GAP_CHARACTERS * character_bits / baud


class RtuConversation:
    """What passes on a bus → our replies, for the units that the responder serves.

    Nothing else is answered: no other unit, no broadcast, no damaged frame. What another server
    replies to a request that was heard before is passed over whole, whatever stands in it; so is
    what the line gives back of our own replies.

    After any byte a frame can follow, so noise alone breaks nothing; but after more than
    `max_noise` bytes without a sound frame `is_broken` tells to close. None: never, on a line.
    """

    def __init__(
        self, responder: Responder, silence_s: float = SILENCE_S, max_noise: int | None = None
    ) -> None:
        self.is_broken = self.hangs_up = False  # a unit may hang up; a line just stays silent
        self.begun: float | None = None  # on a bus bytes may come at any pace
        self.spoke: float | None = None  # when the last sound frame came, whoever was meant
        self._responder = responder
        self._silence_s = silence_s
        self._max_noise = max_noise
        self._heard: float | None = None
        self._stream = _Stream(responder)
        self._asked: tuple[int, int] | None = None  # another unit and function, not yet replied to
        self._reply: _Reply | None = None
        self._held: Frame | None = None  # a request, if what looks like another's reply is none
        self._echo = b""  # the reply that may come back
        self._echoed = 0  # how many bytes of it have
        self._line_echoes = False
        self._alike = 0  # requests that may have been echoes, in a row

    def receive(self, chunk: bytes, now: float) -> bytes:
        """Take the next bytes; return the replies to all requests that are complete now.

        `now` tells how long it was silent before them.
        """
        if self._heard is not None and now - self._heard > self._silence_s:
            self._silence(now - self._heard)
        self._heard = now
        settled = self._stream.settled
        replies = [self._take(octet, now) for octet in chunk]
        self._stream.forget()
        if self._stream.settled > settled:
            self.spoke = now
        elif self._max_noise is not None and self._stream.noise_bytes > self._max_noise:
            self.is_broken = True
        return b"".join(replies)

    def _silence(self, lasted_s: float) -> None:
        """Believe no longer in a reply that broke off."""
        self._stream.mark()
        if self._reply:
            self._reply = self._asked = self._held = None
        if self._echoed or lasted_s > ECHO_WITHIN_S:
            self._echo, self._echoed = b"", 0

    def _take(self, octet: int, now: float) -> bytes:
        request = self._stream.take(octet)
        if self._echo and self._is_echo(octet, request):
            return b""
        if self._asked is not None:
            self._await_reply(octet, *self._asked)
        reply = self._reply
        if reply and reply.end == self._stream.end:
            self._reply = self._asked = None
            if self._stream.is_sound(reply.start):
                self._settle(reply.end)
                return b""
            request, self._held = request or self._held, None
        elif reply and request and request.start > reply.start:
            self._held = request
            return b""
        return self._answer(request, now) if request else b""

    def _answer(self, request: "Frame", now: float) -> bytes:
        self._settle(request.end)
        unit, pdu = request.octets[0], request.octets[1:-CRC_BYTES]
        if unit == BROADCAST:
            return b""  # a write would be obeyed, and no write changes anything here
        if not self._responder.serves(unit):
            self._asked = unit, pdu[0]
            return b""
        answer = self._responder.answer(unit, pdu, now)
        if answer is None:
            self.is_broken = self.hangs_up = self._responder.closes(unit)
            return b""
        self._echo, self._echoed = sealed(bytes((unit,)) + answer), 0
        return self._echo

    def _settle(self, end: int) -> None:
        """Have done with all before `end`."""
        self._stream.settle(end)
        self._asked = self._reply = self._held = None

    def _is_echo(self, octet: int, request: "Frame | None") -> bool:
        """Tell whether this byte too is one of our reply, come back.

        The reply to an accepted write is its request again, byte by byte. It is an echo on a line
        that has echoed before, else a write repeated; but not for ever.
        """
        if octet != self._echo[self._echoed]:
            self._echo, self._echoed = b"", 0
            self._line_echoes = False
            self._alike = 0
            return False
        self._echoed += 1
        if self._echoed < len(self._echo):
            return True
        is_alike = request is not None and request.octets == self._echo
        self._echo, self._echoed = b"", 0
        self._alike = self._alike + 1 if is_alike else 0
        if is_alike and not self._line_echoes and self._alike < ALIKE_LIMIT:
            return False
        self._line_echoes = True
        self._settle(self._stream.end)
        return True

    def _await_reply(self, octet: int, unit: int, function: int) -> None:
        """Look for the reply of the other unit that was asked."""
        stream, reply = self._stream, self._reply
        if reply is None:
            start = stream.end - 1 - FUNCTION_AT
            if not stream.has(start) or stream[start] != unit:
                return
            form = REPLIES.get(octet) if octet == function else None
            form = EXCEPTION_REPLY if octet == function | EXCEPTION_BIT else form
            if form is None:
                return
            reply = self._reply = _Reply(start, form)
        if stream.end - 1 == reply.start + reply.form.count_at:
            length = reply.form.length(octet)
            reply.end = reply.start + length
            if length > MAX_FRAME_BYTES:
                self._reply = None


class Frame(NamedTuple):
    """A frame with a right CRC; `start` counts from the first byte of the stream."""

    start: int
    octets: bytes

    @property
    def end(self) -> int:
        """Where the next one may start."""
        return self.start + len(self.octets)


class _Reply:
    """What looks like another unit's reply, its end not yet seen."""

    def __init__(self, start: int, form: Form) -> None:
        self.start = start
        self.form = form
        self.end = -1  # not yet known


class _Stream:
    """The latest bytes, and the request frames that end with each of them.

    A frame may start at any byte, so most of what looks like one is none. That is told without
    going through its bytes again: by the CRC of all bytes before it and that of all until its end.
    """

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._octets = bytearray()
        self._crcs = array("H")  # of all bytes before each of them, from 0 on
        self._crc = 0  # of all bytes
        self._begin = 0  # the place of the first of them
        self._counts: dict[int, list[tuple[int, Form]]] = {}  # where a byte tells a frame's length
        self._due: dict[int, list[int]] = {}  # where frames may end → where they then start
        self._mark = 0  # where a frame starts if nothing was lost
        self._is_odd = False  # what starts there may be a frame of unknown length
        self.settled = 0  # all before is dealt with
        self.end = 0

    def __getitem__(self, place: int) -> int:
        return self._octets[place - self._begin]

    @property
    def noise_bytes(self) -> int:
        """How many bytes came since the last sound frame."""
        return self.end - self.settled

    def has(self, start: int) -> bool:
        """Tell whether a frame may start there."""
        return start >= self.settled

    def is_sound(self, start: int) -> bool:
        """Tell whether a frame from `start` to the end, 256 bytes at most, has a right CRC.

        The CRC is linear: that of the frame alone is that of all bytes, less what those before it
        became while as many zeros went by, and a CRC's high byte is its low byte one zero later.
        """
        size = self.end - start
        before = self._crcs[start - self._begin] ^ 0xFFFF
        became = _AFTER_ZEROS[size][before & 0xFF] ^ _AFTER_ZEROS[size - 1][before >> 8]
        return self._crc == became

    def take(self, octet: int) -> Frame | None:
        """Take one byte; return the request that ends with it."""
        self._octets.append(octet)
        self._crcs.append(self._crc)
        self._crc = self._crc >> 8 ^ _CRCS[(self._crc ^ octet) & 0xFF]
        self.end = end = self.end + 1
        if octet in REQUESTS:
            self._expect(end - 1 - FUNCTION_AT, REQUESTS[octet])
        for start, form in self._counts.pop(end - 1, ()):
            self._due.setdefault(start + form.length(octet), []).append(start)
        for start in sorted(self._due.pop(end, ())):
            if self.has(start) and end - start <= MAX_FRAME_BYTES and self.is_sound(start):
                return self._frame(start)
        size = end - self._mark
        if size == FUNCTION_AT + 1:
            self._is_odd = self._may_be_odd(self[self._mark], octet)
        is_odd = self._is_odd and MIN_FRAME_BYTES <= size <= MAX_FRAME_BYTES
        return self._frame(self._mark) if is_odd and self.is_sound(self._mark) else None

    def settle(self, end: int) -> None:
        """Have done with all before `end`."""
        self.settled = end
        self.mark()

    def mark(self) -> None:
        """Expect a frame to start with the next byte."""
        self._mark = self.end
        self._is_odd = False

    def forget(self) -> None:
        """Forget what can belong to no frame any more."""
        surplus = len(self._octets) - MAX_FRAME_BYTES
        if surplus > 0:
            del self._octets[:surplus]
            del self._crcs[:surplus]
            self._begin += surplus

    def _expect(self, start: int, form: Form) -> None:
        """Expect the end of a frame, or the byte that tells where it is."""
        if not self.has(start):
            return
        if form.count_at > FUNCTION_AT:
            self._counts.setdefault(start + form.count_at, []).append((start, form))
        else:
            self._due.setdefault(start + form.size, []).append(start)

    def _frame(self, start: int) -> Frame:
        return Frame(start, bytes(self._octets[start - self._begin : self.end - self._begin]))

    def _may_be_odd(self, unit: int, function: int) -> bool:
        """Tell whether this can be a request to us of an unknown function, known by its CRC alone.

        It is looked for only where a frame should start, as any bytes do at one place in 65,536.
        """
        is_unknown = function not in REQUESTS and 0 < function < EXCEPTION_BIT
        return is_unknown and unit != BROADCAST and self._responder.serves(unit)
