"""Where telegrams stand in a stream, whether or not anybody can read them."""

from collections.abc import Sequence

from gateway.telegram import ciphering
from gateway.telegram.ciphering import Sealed
from gateway.telegram.fault import Fault
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.segments import Apdu, Assembler

APDU_START = bytes([ciphering.GENERAL_GLO_CIPHERING, ciphering.SYSTEM_TITLE_BYTES])

Span = tuple[int, int]


def bare_messages(octets: bytes) -> list[Span] | None:
    """Return where APDUs without frames start and end; None if these bytes are no such."""
    if octets[: len(APDU_START)] != APDU_START:
        return None
    reader = FrameReader()
    if any(isinstance(item, Frame) for item in reader.feed(octets, 0.0) + reader.finish()):
        return None
    spans = []
    start = 0
    while start < len(octets):
        end = start + (ciphering.apdu_length(octets[start:]) or len(octets) - start)
        spans.append((start, end))
        start = end
    return spans


class Finder:
    """Finds the first whole sealed telegram in a stream, from its first to its last frame.

    `faults` are all refusals since the caller last took them away.
    """

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._assembler = Assembler()
        self._start: int | None = None
        self.faults: list[Fault] = []

    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> Span | None:
        """Take the next bytes; return where the telegram starts and ends, once it is there."""
        return self._find(self._reader.feed(chunk, now, damaged))

    def finish(self) -> Span | None:
        """Wait no longer: a false start may have hidden a telegram to the end."""
        found = self._find(self._reader.finish())
        self.faults += [item for item in self._assembler.finish() if isinstance(item, Fault)]
        return found

    def _find(self, items: Sequence[Frame | Fault]) -> Span | None:
        for frame in items:
            if isinstance(frame, Fault):
                self.faults.append(frame)
                continue
            found = self._assembler.add(frame)
            if self._start is None or any(isinstance(item, Fault) for item in found):
                self._start = frame.offset
            for item in found:
                parsed = ciphering.parse(item.content) if isinstance(item, Apdu) else item
                if isinstance(parsed, Sealed):
                    return self._start, frame.offset + len(frame.octets)
                self.faults.append(parsed)
            if self._assembler.is_idle:
                self._start = None
        return None
