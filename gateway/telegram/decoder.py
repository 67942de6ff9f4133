"""Bytes in, telegrams and faults out: the one door of this folder."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from gateway.telegram import axdr, ciphering, key_slips, layouts, notification
from gateway.telegram.ciphering import Key, Sealed, Security
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.layouts import LAYOUTS, Layout, by_count
from gateway.telegram.learned import LearnedFrames, LearnedPlaintext, Wording
from gateway.telegram.listing import Readings
from gateway.telegram.segments import Apdu, Assembler

# How often a slip with the key is looked for; a key that has fitted once has none.
MAX_SLIPS = 3
# A frame's bytes follow each other on the wire; after such a silence the rest will not come.
MAX_SILENCE_S = 3.0


class Telegram(NamedTuple):
    """All that the meter says in one push.

    `meter` is the system title (8 bytes). `clock` is the time at which the push was made: aware,
    or naive if the meter leaves its deviation from UTC unspecified, or None; `clock_status` is
    its status byte. `received` is when its last byte came, on the clock that `feed` is given;
    `offset` is where its APDU stands, counted from the first byte ever fed.
    """

    meter: bytes
    invocation_counter: int
    security: Security
    clock: datetime | None
    clock_status: int | None
    readings: Readings
    received: float
    offset: int = 0


class Decoder:
    """Decodes one meter's stream. Its memory is bounded: one frame and one APDU.

    Any bytes give telegrams or faults, never an exception; how they are cut into chunks makes no
    difference, and after any garbage the next whole telegram is found. `layout` prescribes how
    the meter lists its objects; without it they are recognised, with the help of `layouts`.
    """

    def __init__(
        self,
        key: Key,
        auth_key: Key | None = None,
        *,
        layout: Layout | None = None,
        layouts: Sequence[Layout] = LAYOUTS,
    ) -> None:
        self._reader = FrameReader()
        self._assembler = Assembler()
        self._opener = ciphering.Opener(key, auth_key)
        self._keys = key, auth_key
        self._slips_left = MAX_SLIPS
        self._slip: str | None = None
        self._layout = layout
        self._layouts = layouts
        self._positional = by_count(layouts)
        self._last_byte = 0.0
        # The last plaintext that went the general way, and what was learned when the next came.
        self._read_last: tuple[bytes, notification.Header, Readings, bytes] | None = None
        self._plaintext: LearnedPlaintext | None = None
        self._frames: LearnedFrames | None = None

    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Telegram | Fault]:
        """Take the next bytes, which came at `now` (seconds, monotonic); return what they show.

        `damaged` are the indices in `chunk` of bytes that came with a parity or framing error. A
        fault's offset counts from the first byte ever fed.
        """
        if not chunk:
            return []
        reader = self._reader
        is_idle = reader.is_idle and self._assembler.is_idle
        if is_idle and self._frames and not damaged and (telegram := self._recall(chunk, now)):
            self._last_byte = now
            return [telegram]
        found: list[Telegram | Fault] = []
        if now - self._last_byte > MAX_SILENCE_S and not is_idle:
            found += self._join(reader.finish())
        self._last_byte = now
        frames = reader.feed(chunk, now, damaged)
        decoded = self._join(frames)
        # Once a second telegram was worded as the first, its frames are worth learning too.
        if is_idle and self._plaintext and len(decoded) == 1 and isinstance(decoded[0], Telegram):
            self._frames = LearnedFrames.of(frames, len(chunk))
        return found + decoded if found else decoded

    @property
    def missing(self) -> int | None:
        """Return how many bytes at least a frame that has begun still lacks; None: none has."""
        return self._reader.missing

    def finish(self) -> list[Telegram | Fault]:
        """Wait no longer for bytes: return what the incomplete rest shows."""
        rest = self._join(self._reader.finish())
        return rest + [self._decode(item) for item in self._assembler.finish()]

    def decode_apdu(self, apdu: bytes, now: float) -> Telegram | Fault:
        """Decode one APDU that came without frames; a fault's offset counts in `apdu`."""
        return self._decode(Apdu(apdu, now))

    def _recall(self, chunk: bytes, now: float) -> Telegram | None:
        """Decode a chunk that is one telegram, framed and worded as the last; None if it is not."""
        frames, learned = self._frames, self._plaintext
        if frames is None or learned is None or learned.title != frames.title:
            return None
        if (secret := frames.unseal(chunk)) is None:
            return None
        counter, ciphertext, tag = secret
        title = frames.title
        opened = self._opener.decrypt(title + counter, frames.security_byte, ciphertext, tag)
        if opened is None or (wording := learned.read(opened[0])) is None:
            return None
        time, readings = wording
        offset = self._reader.offset + frames.apdu_start
        self._reader.skip(len(chunk))
        return Telegram(
            title,
            int.from_bytes(counter, "big"),
            opened[1],
            time.moment if time else None,
            time.status if time else None,
            readings,
            now,
            offset,
        )

    def _recognise(self, plaintext: bytes, title: bytes) -> Wording | None:
        """Read a plaintext that is worded as the last one of the same meter."""
        if self._read_last:
            self._plaintext = LearnedPlaintext(*self._read_last)
            self._read_last = None
        learned = self._plaintext
        return learned.read(plaintext) if learned and learned.title == title else None

    def _join(self, frames: Iterable[Frame | Fault]) -> list[Telegram | Fault]:
        found: list[Telegram | Fault] = []
        for frame in frames:
            if isinstance(frame, Fault):
                found.append(frame)
            else:
                found.extend(map(self._decode, self._assembler.add(frame)))
        return found

    def _decode(self, apdu: Apdu | Fault) -> Telegram | Fault:
        if isinstance(apdu, Fault):
            return apdu
        sealed = ciphering.parse(apdu.content)
        if isinstance(sealed, Fault):
            return sealed.at(apdu.wire_offset(sealed.offset))
        opened = self._opener.open(sealed)
        if isinstance(opened, Fault):
            return self._refuse(opened, sealed, apdu.wire_offset(opened.offset))
        plaintext, security = opened
        title = sealed.system_title
        wording = self._recognise(plaintext, title) or self._read(plaintext, title)
        if isinstance(wording, Fault):
            # The cipher keeps every byte's place, so a plaintext offset is an APDU offset.
            offset = apdu.wire_offset(sealed.ciphertext_start + wording.offset)
            return self._refuse(wording, sealed, offset)
        self._slips_left, self._slip = 0, None
        time, readings = wording
        return Telegram(
            title,
            sealed.invocation_counter,
            security,
            time.moment if time else None,
            time.status if time else None,
            readings,
            apdu.received,
            apdu.pieces[0][1],
        )

    def _refuse(self, fault: Fault, sealed: Sealed, offset: int) -> Fault:
        """Return the fault with what is known of its telegram: place, meter, a slip of the key."""
        reason = fault.reason
        if fault.layer in (Layer.CIPHERING, Layer.DECRYPTION):
            if self._slips_left and self._slip is None:
                self._slips_left -= 1
                self._slip = key_slips.slip(*self._keys, sealed)
            # A slip that explained one telegram explains those behind it, until one decrypts.
            reason = f"{reason}; {self._slip}" if self._slip else reason
        return replace(fault, reason=reason, offset=offset, meter=sealed.system_title)

    def _read(self, plaintext: bytes, title: bytes) -> Wording | Fault:
        """Read a plaintext the general way; how it is worded is learned when the next comes."""
        header = notification.header(plaintext)
        if isinstance(header, Fault):
            return header
        start, readings = header.body_start, None
        if self._layout is None:
            named = layouts.recognise_objects(plaintext, start, title, self._positional)
            if named:
                listing, numbers = named
                readings = listing.read(plaintext, header, numbers)
        if readings is None:
            outline = axdr.outline(plaintext, start)
            if isinstance(outline, Fault):
                return outline
            found = layouts.recognise(outline, title, self._layouts, self._layout)
            if isinstance(found, Fault):
                return found
            readings = found.read(plaintext, header)
        if isinstance(readings, Fault):
            return readings
        self._read_last = (plaintext, header, readings, title)
        return header.time, readings
