"""Evidence → one diagnosis and the next step: which rung between the line and the values breaks.

    no byte → SILENT · bytes, no frame → NO_FRAMES · frames, no telegram → FOREIGN
    telegrams, none decrypts → NO_DECRYPTION · decrypted, not understood → UNKNOWN_LAYOUT

Three telegrams decide, and one good one takes the diagnosis back. The time is an argument.
"""

import re
from collections import Counter, deque
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.diagnoses import english
from gateway.telegram import Fault, Layer, Telegram, hdlc, mbus
from gateway.telegram.key_slips import KEY_FITS, slip_in
from gateway.telegram.segments import MAX_HDLC_GAP_S
from gateway.telegram.system_title import describe_title

SILENT_S = 15.0  # meters push every 1 to 10 s
NEEDED = 3  # telegrams, or bursts of bytes, that decide

# Silence that separates two pushes: their pieces are never further apart, and HDLC meters that
# push once a second leave 0.85 s.
BURST_GAP_S = MAX_HDLC_GAP_S
# Fewer bytes at a time are no telegram, however wrongly they are read; contacts bounce like that.
MIN_BURST_BYTES = 16
# A reader that starts in the middle of the longest push seen (622 bytes) gets the rest of it and
# a whole one; more bytes than these two without a frame need no further proof.
MAX_BYTES = 1300

SHORTEST_TELEGRAM_BYTES = 99  # of all that are known
MANY_DAMAGED = 0.3  # wrong settings mark half of all bytes, a lossy line a few of them
FEW_VALUES = 32  # a port at twice the line's baud rate gets no more different bytes
MANY_PRINTABLE = 0.95

_START = re.compile(rb"\x68(.)\1\x68|\x7e[\xa0-\xaf]", re.DOTALL)
_START_BYTES = 16  # no HDLC header is longer
_PRINTABLE = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D}


class Trouble(StrEnum):
    """The rungs of the ladder that can break, from the line inwards."""

    SILENT = "silent"
    NO_FRAMES = "no frames"
    FOREIGN = "foreign frames"
    NO_DECRYPTION = "no decryption"
    UNKNOWN_LAYOUT = "unknown layout"


class Diagnosis(NamedTuple):
    """What is wrong, and in one or two sentences what to do. It stays equal while that is so."""

    kind: Trouble
    text: str


class Health:
    """What has come since the last good telegram; bounded, however long that is ago.

    Feed it in the order of the wire: `bytes_came`, then `heard` for whatever the decoder makes of
    those bytes. `began` is when listening began; `silent_s`, how long a meter may be silent, may
    change.
    """

    def __init__(self, began: float, silent_s: float = SILENT_S) -> None:
        self.silent_s = silent_s
        self._last_byte = began
        self._has_come = False  # a byte, ever
        self._was_good = False  # a telegram, ever
        self._line = _Line()
        self._counts: Counter[Trouble] = Counter()
        self._last: dict[Trouble, deque[Fault]] = {}

    def bytes_came(self, chunk: bytes, damaged: int, now: float) -> None:
        """Take the next bytes, of which `damaged` had a parity or framing error."""
        if chunk:
            self._line.add(chunk, damaged, now, now - self._last_byte > BURST_GAP_S)
            self._last_byte = now
            self._has_come = True

    def heard(self, item: Telegram | Fault, now: float) -> None:
        """Take what the decoder made of the bytes."""
        if isinstance(item, Fault) and item.layer in (Layer.FRAME, Layer.SEGMENT):
            self._line.refuse(item)
            return
        # A whole message has come: the line is good.
        self._line = _Line()
        self._last_byte = max(now, self._last_byte)
        if isinstance(item, Fault) and (trouble := _trouble_of(item)):
            self._counts[trouble] += 1
            self._last.setdefault(trouble, deque(maxlen=NEEDED)).append(item)
        else:
            self._was_good = True
            self._counts.clear()
            self._last.clear()

    def diagnosis(self, now: float, *, is_over: bool = False) -> Diagnosis | None:
        """Return what is wrong; None while all is well or too little is known.

        When it `is_over`, no more will come: then less than three telegrams decide, unless there
        has been a good one.
        """
        silent_s = now - self._last_byte
        if silent_s >= self.silent_s and not is_over:
            return self._silence()
        needed = 1 if is_over and not self._was_good else NEEDED
        line = self._line.trouble(
            is_late=self._line.lasts_s(now) >= self.silent_s,
            needed=NEEDED if self._counts else needed,
            is_quiet=is_over or silent_s > BURST_GAP_S,
        )
        if line:
            return line
        for trouble, count in self._counts.most_common(1):
            if count >= needed:
                return self._refusal(trouble, count if is_over else NEEDED)
        return None

    def _silence(self) -> Diagnosis:
        name = "bytes.fallen" if self._has_come else "bytes.always"
        return Diagnosis(Trouble.SILENT, english(name, seconds=f"{self.silent_s:g}"))

    def _refusal(self, trouble: Trouble, count: int) -> Diagnosis:
        """Say why no whole message made a telegram."""
        last = self._last[trouble]
        match trouble:
            case Trouble.NO_DECRYPTION:
                return Diagnosis(trouble, _why_no_decryption(last, count))
            case Trouble.UNKNOWN_LAYOUT:
                text = english("layout.unknown", count=count, reason=last[-1].reason)
                return Diagnosis(trouble, text)
            case _:
                return _foreign(last[-1])


class _Evidence:
    """What shows in bytes without a frame."""

    def __init__(self) -> None:
        self.count = 0
        self.damaged = 0
        self.values: Counter[int] = Counter()
        self.start: int | None = None  # M-Bus START or HDLC FLAG, if a frame's header was there
        self.last = b""
        self.faults: Counter[Layer] = Counter()  # those that were heard while these bytes came

    def add(self, chunk: bytes, damaged: int) -> None:
        """Take bytes that follow at once."""
        self.count += len(chunk)
        self.damaged += damaged
        self.values.update(chunk)
        octets = self.last + chunk
        self.start = self.start or _start_in(octets)
        self.last = octets[-_START_BYTES:]

    @property
    def is_foreign(self) -> bool:
        """Tell whether good frames came, but were of no use, and no damage explains that."""
        frame, segment = self.faults[Layer.FRAME], self.faults[Layer.SEGMENT]
        # One bad frame spoils all others of its push; in a recording it is one of many.
        return segment > frame if self.count > MAX_BYTES else bool(segment and not frame)


class _Line:
    """The bytes since the last whole message, and the damage in them."""

    def __init__(self) -> None:
        self._segment_fault: Fault | None = None  # the last one
        self._began: float | None = None
        self._bursts: deque[_Evidence] = deque(maxlen=NEEDED)  # those before the one that goes on
        self._burst = _Evidence()

    def add(self, chunk: bytes, damaged: int, now: float, is_new: bool) -> None:
        """Take bytes; `is_new` says that there was silence before them."""
        if self._began is None:
            self._began = now
        if (is_new and self._burst.count) or self._burst.count >= MAX_BYTES:
            self._close()
        self._burst.add(chunk, damaged)

    def refuse(self, fault: Fault) -> None:
        """Take a fault of a frame or a segment."""
        self._burst.faults[fault.layer] += 1
        if fault.layer is Layer.SEGMENT:
            self._segment_fault = fault

    def lasts_s(self, now: float) -> float:
        """Return how long bytes have come without a message."""
        return 0.0 if self._began is None else now - self._began

    def trouble(self, *, is_late: bool, needed: int, is_quiet: bool) -> Diagnosis | None:
        """Return what is wrong if a message would have come by now.

        `needed` bursts decide, or that it `is_late`; `is_quiet` says that the last one has ended.
        """
        if self._began is None:
            return None
        ended = [*self._bursts, self._burst] if is_quiet else [*self._bursts]
        ended = [each for each in ended if each.count >= MIN_BURST_BYTES][-NEEDED:]
        if ended and ended[-1].is_foreign and self._segment_fault:
            count = sum(each.faults[Layer.SEGMENT] > 0 for each in ended)
            return _foreign(self._segment_fault) if count >= needed else None
        is_flood = self._burst.count >= MAX_BYTES
        if is_flood and not is_quiet:
            ended.append(self._burst)
        is_enough = len(ended) >= needed or (is_quiet and needed == 1)
        if is_flood or is_late or is_enough:
            # Bursts that are too short to tell anything tell something if there are no others.
            return Diagnosis(Trouble.NO_FRAMES, _why_no_frames(ended or [self._burst]))
        return None

    def _close(self) -> None:
        if self._burst.count >= MIN_BURST_BYTES:
            self._bursts.append(self._burst)
        self._burst = _Evidence()


def _trouble_of(fault: Fault) -> Trouble | None:
    """Return which rung a refused message breaks on; None if the gateway understood it."""
    match fault.layer:
        case Layer.DECRYPTION:
            return Trouble.NO_DECRYPTION
        case Layer.CIPHERING:
            # Once the title is known the header was sound, and only the keys are left.
            return Trouble.NO_DECRYPTION if fault.meter else Trouble.FOREIGN
        case Layer.STRUCTURE | Layer.LAYOUT:
            return Trouble.UNKNOWN_LAYOUT
        case _:
            return None


def _start_in(octets: bytes) -> int | None:
    """Return the first byte of a frame's header in `octets`; None if none is there."""
    for match in _START.finditer(octets):
        start = octets[match.start()]
        if start == mbus.START or isinstance(hdlc.header(octets, match.start()), hdlc.Header):
            return start
    return None


def _why_no_frames(bursts: Sequence[_Evidence]) -> str:
    """Say what is likely wrong with the line, by what most of its bytes look like."""
    count = sum(each.count for each in bursts)
    is_damaged = sum(each.damaged for each in bursts) > MANY_DAMAGED * count
    values = sum((each.values for each in bursts), Counter[int]())
    start = next((each.start for each in bursts if each.start), None)
    longest = max(each.count for each in bursts)
    if start and is_damaged:
        return english("parity.mbus" if start == mbus.START else "parity.hdlc")
    if start:
        return english("frames.broken")
    if longest < MIN_BURST_BYTES:
        return english("frames.few")
    if sum(values[each] for each in _PRINTABLE) >= MANY_PRINTABLE * count:
        return english("frames.text")
    if len(values) <= FEW_VALUES and 4 * len(values) <= count:
        return english("frames.alike")
    if all(each.last.endswith(b"\0") for each in bursts):
        return english("frames.inverted")
    if longest < SHORTEST_TELEGRAM_BYTES:
        return english("frames.fast")
    return english("parity.any" if is_damaged else "frames.none")


def _why_no_decryption(faults: Sequence[Fault], count: int) -> str:
    """Say which slip it was, or else whose telegrams they are."""
    slips = [found for fault in faults if (found := slip_in(fault.reason))]
    if slips:
        is_auth = slips[-1].startswith(KEY_FITS)
        return english(
            "decryption.auth" if is_auth else "decryption.slip", count=count, slip=slips[-1]
        )
    is_refused = all(fault.layer is Layer.CIPHERING for fault in faults)
    titles = sorted({fault.meter for fault in faults if fault.meter})
    return english(
        f"decryption.{'refused' if is_refused else 'wrong'}{'.several' if len(titles) > 1 else ''}",
        count=count,
        reason=faults[-1].reason,
        meters=len(titles),
        names=" and ".join(describe_title(title) for title in titles),
    )


def _foreign(fault: Fault) -> Diagnosis:
    return Diagnosis(Trouble.FOREIGN, english("segments.foreign", reason=fault.reason))
