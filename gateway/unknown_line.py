"""A line that nobody knows yet: what comes on it, and whether a key fits what came.

All that a telegram shows without its key is heard here: bytes, frames with good checksums, whole
messages with the meter's title, and how often they come. The time is an argument.
"""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from gateway.health import NEEDED, SILENT_S, Diagnosis, Health
from gateway.telegram import Decoder, Fault, Key, Telegram, ciphering
from gateway.telegram.decoder import MAX_SILENCE_S
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.segments import Apdu, Assembler

# A line on which a whole message has come is good, however much is lost on it besides, and however
# long the next one takes.
LONGEST_S = 60.0
MISSED_PUSHES = 2  # after which nothing more is waited for
FASTEST_S = 0.1  # no meter pushes so often: these bytes were stored


class UnknownLine:
    """What has come on a line since `began` (seconds, monotonic); holds the last messages."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.bytes = 0
        self.frames = 0
        self._is_hdlc = False
        self._messages: deque[tuple[Apdu, bytes]] = deque(maxlen=NEEDED)
        self._reader = FrameReader()
        self._assembler = Assembler()
        self._health = Health(began)
        self._last_byte = began

    def take(self, chunk: bytes, damaged: Sequence[int], now: float) -> None:
        """Take the next bytes; `damaged` are the indices of those with a parity error."""
        if now - self._last_byte > MAX_SILENCE_S:
            self._hear(self._reader.finish(), now)
        self._last_byte = now
        self.bytes += len(chunk)
        self._health.bytes_came(chunk, len(damaged), now)
        self._hear(self._reader.feed(chunk, now, damaged), now)

    def finish(self, now: float) -> None:
        """Wait no longer for the rest of a frame: the source has ended, or begins anew."""
        self._hear(self._reader.finish(), now)

    @property
    def messages(self) -> Sequence[bytes]:
        """The last whole messages, still encrypted."""
        return [message.content for message, _ in self._messages]

    @property
    def titles(self) -> Sequence[bytes]:
        """The system titles in them, each once."""
        return sorted({title for _, title in self._messages})

    @property
    def interval_s(self) -> float | None:
        """The pause between two pushes; None while it is not known."""
        gaps = [after.received - one.received for (one, _), (after, _) in pairwise(self._messages)]
        # The shortest: a lost telegram makes two pauses one.
        return min(gaps) if gaps and min(gaps) >= FASTEST_S else None

    def describe(self) -> str:
        """Return what comes, for people: "M-Bus frames, a telegram every 5 s"."""
        pace = f", a telegram every {self.interval_s:.2g} s" if self.interval_s else ""
        return f"{'HDLC' if self._is_hdlc else 'M-Bus'} frames{pace}"

    def next_in_s(self, now: float) -> float | None:
        """Return in how many seconds the next telegram is due; None while nobody knows."""
        if self.interval_s is None:
            return None
        return max(0.0, self._messages[-1][0].received + self.interval_s - now)

    def is_over(self, now: float) -> bool:
        """Tell whether enough is known: that the line is good, or that it is not."""
        if self._messages:
            # After one message nobody knows how long its meter pauses.
            pause_s = self.interval_s and max(SILENT_S, MISSED_PUSHES * self.interval_s)
            is_silent = pause_s is not None and now - self._last_byte >= pause_s
            return len(self._messages) >= NEEDED or is_silent or now - self.began >= LONGEST_S
        return self._health.diagnosis(now) is not None

    def diagnosis(self, now: float) -> Diagnosis | None:
        """Return why no message came, as far as that shows; None if one did."""
        if self._messages:
            return None
        return self._health.diagnosis(now) or self._health.diagnosis(now, is_over=True)

    def _hear(self, found: Sequence[Frame | Fault], now: float) -> None:
        for item in found:
            if isinstance(item, Fault):
                self._health.heard(item, now)
                continue
            self.frames += 1
            self._is_hdlc = item.is_hdlc
            for joined in self._assembler.add(item):
                self._take(joined, now)

    def _take(self, joined: Apdu | Fault, now: float) -> None:
        if isinstance(joined, Fault):
            self._health.heard(joined, now)
        elif isinstance(sealed := ciphering.parse(joined.content), Fault):
            self._health.heard(sealed, now)
        else:
            self._messages.append((joined, sealed.system_title))


def fit(messages: Sequence[bytes], key: Key, auth_key: Key | None) -> Telegram | Diagnosis:
    """Return a telegram that the keys open, the newest; else why they open none of `messages`.

    At least one message is needed.
    """
    decoder, health = Decoder(key, auth_key), Health(0.0)
    items = [decoder.decode_apdu(message, 0.0) for message in messages]
    for item in reversed(items):
        if isinstance(item, Telegram):
            return item
    for item in items:
        health.heard(item, 0.0)
    diagnosis = health.diagnosis(0.0, is_over=True)
    if diagnosis is None:
        raise ValueError("there is no message that a key could open")
    return diagnosis
