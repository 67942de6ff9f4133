"""Bytes in, telegrams and faults out: the one door of this folder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from gateway.telegram import ciphering, layouts, notification
from gateway.telegram.ciphering import Key, Security
from gateway.telegram.fault import Fault
from gateway.telegram.layouts import Reading
from gateway.telegram.mbus import Frame, FrameReader
from gateway.telegram.obis import Obis
from gateway.telegram.segments import Apdu, Assembler

# A frame's bytes follow each other on the wire; after such a silence the rest will not come.
MAX_SILENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Telegram:
    """All that the meter says in one push.

    `meter` is the system title (8 bytes). `clock` is the time at which the push was made: aware,
    or naive if the meter leaves its deviation from UTC unspecified, or None; `clock_status` is
    its status byte. `received` is when its last byte came, on the clock that `feed` is given.
    """

    meter: bytes
    invocation_counter: int
    security: Security
    clock: datetime | None
    clock_status: int | None
    readings: Mapping[Obis, Reading]
    received: float


class Decoder:
    """Decodes one meter's stream. Its memory is bounded: one frame and one APDU.

    Any bytes give telegrams or faults, never an exception; how they are cut into chunks makes no
    difference, and after any garbage the next whole telegram is found.
    """

    def __init__(self, key: Key, auth_key: Key | None = None) -> None:
        self._frames = FrameReader()
        self._assembler = Assembler()
        self._opener = ciphering.Opener(key, auth_key)
        self._last_byte = 0.0

    def feed(self, chunk: bytes, now: float) -> list[Telegram | Fault]:
        """Take the next bytes, which came at `now` (seconds, monotonic); return what they show.

        A fault's offset counts from the first byte ever fed.
        """
        if not chunk:
            return []
        found: list[Telegram | Fault] = []
        if now - self._last_byte > MAX_SILENCE_S:
            found += self._join(self._frames.finish())
        self._last_byte = now
        return found + self._join(self._frames.feed(chunk, now))

    def finish(self) -> list[Telegram | Fault]:
        """Wait no longer for bytes: return what the incomplete rest shows."""
        return self._join(self._frames.finish()) + self._open(self._assembler.finish())

    def decode_apdu(self, apdu: bytes, now: float) -> Telegram | Fault:
        """Decode one APDU that came without frames; a fault's offset counts in `apdu`."""
        return self._decode(Apdu(apdu, now))

    def _join(self, frames: Iterable[Frame | Fault]) -> list[Telegram | Fault]:
        found: list[Telegram | Fault] = []
        for frame in frames:
            if isinstance(frame, Fault):
                found.append(frame)
            else:
                found += self._open(self._assembler.add(frame))
        return found

    def _open(self, apdus: Iterable[Apdu | Fault]) -> list[Telegram | Fault]:
        return [item if isinstance(item, Fault) else self._decode(item) for item in apdus]

    def _decode(self, apdu: Apdu) -> Telegram | Fault:
        result = self._read(apdu.content, apdu.received)
        if isinstance(result, Fault):
            return result.at(apdu.wire_offset(result.offset))
        return result

    def _read(self, apdu: bytes, received: float) -> Telegram | Fault:
        sealed = ciphering.parse(apdu)
        if isinstance(sealed, Fault):
            return sealed
        opened = self._opener.open(sealed)
        if isinstance(opened, Fault):
            return opened
        # The cipher keeps every byte's place, so a plaintext offset is an APDU offset.
        notified = notification.parse(opened.plaintext)
        if isinstance(notified, Fault):
            return notified.at(sealed.ciphertext_start + notified.offset)
        readings = layouts.readings(notified.body)
        if isinstance(readings, Fault):
            return readings.at(sealed.ciphertext_start + readings.offset)
        return Telegram(
            meter=sealed.system_title,
            invocation_counter=sealed.invocation_counter,
            security=opened.security,
            clock=notified.time.moment if notified.time else None,
            clock_status=notified.time.status if notified.time else None,
            readings=MappingProxyType(readings),
            received=received,
        )
