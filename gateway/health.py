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

MBUS_LINE = "2400 baud and even parity (?baud=2400&parity=even in the source address)"
HDLC_LINES = (
    "an optical head has 9600 baud and a P1 port 115200, both no parity (?baud=9600&parity=none)"
)
DUMP = (
    "please send us what `obisgate explain --redact` prints of it: the layout, without key, "
    "number or values"
)


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
        if self._has_come:
            text = (
                f"no byte has come for {self.silent_s:g} s, though some came before: check the "
                "cable from the meter to the adapter"
            )
        else:
            text = (
                f"no byte came in {self.silent_s:g} s: is the customer interface enabled in the "
                "operator's portal, and the adapter an M-Bus slave (not a master) on pins 3 and 4 "
                "of the RJ12 socket?"
            )
        return Diagnosis(Trouble.SILENT, text)

    def _refusal(self, trouble: Trouble, count: int) -> Diagnosis:
        """Say why no whole message made a telegram."""
        last = self._last[trouble]
        match trouble:
            case Trouble.NO_DECRYPTION:
                return Diagnosis(trouble, _why_no_decryption(last, count))
            case Trouble.UNKNOWN_LAYOUT:
                text = (
                    f"the key fits and {count} of {count} telegrams decrypt, but the list of "
                    f"objects in them is unknown ({last[-1].reason}): {DUMP}"
                )
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
        right = MBUS_LINE if start == mbus.START else f"no parity: {HDLC_LINES}"
        what = "an M-Bus line has" if start == mbus.START else "an HDLC meter sends with"
        return (
            "telegrams begin as they should, but most bytes come with parity errors: the baud rate "
            f"is right, the parity is wrong; {what} {right}"
        )
    if start:
        return (
            "telegrams begin as they should, but none arrives whole: bytes are lost or changed on "
            "the way. Check the parity (M-Bus: ?parity=even in the source address), the wires and "
            "the adapter's supply"
        )
    if longest < MIN_BURST_BYTES:
        return (
            "only a few bytes come at a time, far fewer than a telegram has: that is noise while "
            "the meter's interface is not enabled, or a line much faster than this port is set "
            f"to; {HDLC_LINES}"
        )
    if sum(values[each] for each in _PRINTABLE) >= MANY_PRINTABLE * count:
        return (
            "bytes come, but they are plain text, no DLMS telegrams: is this the meter's customer "
            "interface, and not another device or its service interface?"
        )
    if len(values) <= FEW_VALUES and 4 * len(values) <= count:
        return (
            "bytes come, but hardly any different ones: the port reads faster than the line sends, "
            f"or the adapter is the wrong one. An M-Bus line has {MBUS_LINE} and needs an M-Bus "
            "slave adapter"
        )
    if all(each.last.endswith(b"\0") for each in bursts):
        return (
            "bytes come, but no frame, and every push ends with 00: the signal is inverted. A P1 "
            "port needs a P1 cable, which inverts; any other line an adapter that does not"
        )
    if longest < SHORTEST_TELEGRAM_BYTES:
        return (
            "bytes come, but fewer than any telegram has: the line is faster than this port is "
            f"set to. An M-Bus line has {MBUS_LINE}; {HDLC_LINES}"
        )
    if is_damaged:
        return (
            "bytes come, but no frame, and most bytes have parity errors: the baud rate or the "
            f"parity is wrong. An M-Bus line has {MBUS_LINE}; {HDLC_LINES}"
        )
    return (
        "bytes come, but no frame begins in them: the baud rate, the parity or the adapter's "
        f"polarity is wrong. An M-Bus line has {MBUS_LINE}; {HDLC_LINES}"
    )


def _why_no_decryption(faults: Sequence[Fault], count: int) -> str:
    """Say which slip it was, or else whose telegrams they are."""
    came = f"{count} of {count} telegrams with good checksums"
    slips = [found for fault in faults if (found := slip_in(fault.reason))]
    if slips and slips[-1].startswith(KEY_FITS):
        return (
            f"wrong authentication key: {came} are refused, and the last one shows why: {slips[-1]}"
        )
    if slips:
        return f"wrong key: {came}, none decrypts, and the last one shows why: {slips[-1]}"
    if all(fault.layer is Layer.CIPHERING for fault in faults):
        refused = f"{came} are refused: {faults[-1].reason}"
    else:
        refused = f"wrong key: {came}, none decrypts"
    titles = sorted({fault.meter for fault in faults if fault.meter})
    names = " and ".join(describe_title(title) for title in titles)
    if len(titles) > 1:
        return (
            f"{refused}. They are of {len(titles)} meters on one line, {names}: find yours by "
            "the last digits of the number on it, and take the key of that one's letter"
        )
    whose = f". They are of meter {names}" if names else ""
    return (
        f"{refused}{whose}: compare its last digits with the number on your meter and in the key "
        "letter, then the key with the letter, character by character"
    )


def _foreign(fault: Fault) -> Diagnosis:
    text = (
        "frames with good checksums come, but no telegram of a kind we know "
        f"({fault.reason}): {DUMP}"
    )
    return Diagnosis(Trouble.FOREIGN, text)
