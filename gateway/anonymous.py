"""Telegrams of nobody: the same readings in the same frames, under a key that everybody may know.

A telegram is opened, what names the meter is replaced byte for byte, and it is sealed again: every
byte keeps its place on the wire, so frames, segments and blocks stay as this meter makes them, and
only their checksums are computed anew. What cannot be opened and understood is left out whole, for
nobody knows what it tells. Pure: no socket, clock or log.
"""

from collections import deque
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from gateway.simulator.ciphering import seal
from gateway.telegram import (
    Decoder,
    Fault,
    Key,
    Layer,
    Layout,
    Obis,
    Telegram,
    axdr,
    ciphering,
    hdlc,
    layouts,
    mbus,
    notification,
)
from gateway.telegram.anatomy.codes import ELECTRICITY, is_public
from gateway.telegram.axdr import Outline
from gateway.telegram.ciphering import Opener, Sealed
from gateway.telegram.decoder import MAX_SILENCE_S
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.layouts import LAYOUTS
from gateway.telegram.listing import Entry, Listing, Readings
from gateway.telegram.named import OBIS_BYTES, PUSH_OBJECT
from gateway.telegram.notification import Header
from gateway.telegram.obis import CLOCK, EXPECTED_UNITS, LOCAL_DATE, LOCAL_TIME
from gateway.telegram.segments import Apdu, Assembler
from gateway.telegram.system_title import MAKER_BYTES, SERIAL_MASK

# OBIS group C of what is measured (Blue Book, 6.3.1). Around it: numbers of the meter and of its
# settings (0), those of makers and countries (93, 94), states and serial numbers (96).
QUANTITIES = range(1, 93)
MAX_FRAMES = 256  # of one telegram; the longest has ten
DATES = (axdr.DATE_TIME, 0x1A)  # A-XDR tags: date-time, date


class Anonymous(NamedTuple):
    """One frame of an anonymous telegram; `received` is when its last byte came."""

    octets: bytes
    received: float


class Anonymiser:
    """Takes a stream with any number of meters that share a key; returns it without them.

    The meters are numbered 1, 2, … in the place of their serial numbers. `days` moves all dates;
    `left_out` are the refusals: damage, other keys, what is not understood.
    """

    def __init__(
        self,
        keys: tuple[Key, Key | None],
        new_keys: tuple[Key, Key],
        *,
        layout: Layout | None = None,
        layouts: Sequence[Layout] = LAYOUTS,
        days: int = 0,
    ) -> None:
        self._opener = Opener(*keys)
        self._new_keys = new_keys
        self._layout = layout
        self._layouts = layouts
        self._days = days
        self._reader = FrameReader()
        self._assembler = Assembler()
        self._frames: deque[Frame] = deque(maxlen=MAX_FRAMES)
        self._last_byte = 0.0
        self._numbers: dict[bytes, int] = {}
        self.telegrams = 0
        self.left_out: list[Fault] = []

    @property
    def meters(self) -> int:
        """Return how many meters were heard."""
        return len(self._numbers)

    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Anonymous]:
        """Take the next bytes, as `Decoder.feed`; return the frames of what they complete."""
        found: list[Anonymous] = []
        if now - self._last_byte > MAX_SILENCE_S:
            found += self._join(self._reader.finish())
        self._last_byte = now
        return found + self._join(self._reader.feed(chunk, now, damaged))

    def finish(self) -> list[Anonymous]:
        """Wait no longer: a run of the recorder is over."""
        found = self._join(self._reader.finish())
        self.left_out += [item for item in self._assembler.finish() if isinstance(item, Fault)]
        self._last_byte = 0.0
        return found

    def apdu(self, content: bytes) -> bytes | None:
        """Return an APDU that came without frames as that of nobody; None if it is left out."""
        renewed = self._renew(content)
        if isinstance(renewed, Fault):
            self.left_out.append(renewed)
            return None
        self.telegrams += 1
        return renewed

    def _join(self, items: Sequence[Frame | Fault]) -> list[Anonymous]:
        found: list[Anonymous] = []
        for frame in items:
            if isinstance(frame, Fault):
                self.left_out.append(frame)
                continue
            self._frames.append(frame)
            for message in self._assembler.add(frame):
                if isinstance(message, Fault):
                    self.left_out.append(message)
                elif (content := self.apdu(message.content)) is not None:
                    found += _rewritten(self._frames, message, content)
        return found

    def _renew(self, content: bytes) -> bytes | Fault:
        """Return an APDU with another identity and key, as long as it was."""
        sealed = ciphering.parse(content)
        if isinstance(sealed, Fault):
            return sealed
        opened = self._opener.open(sealed)
        if isinstance(opened, Fault):
            return opened
        title = sealed.system_title
        understood = self._understand(opened[0], title)
        if isinstance(understood, Fault):
            return understood
        number = self._numbers.get(title, len(self._numbers) + 1)
        blank = _blank(understood, title[:MAKER_BYTES], number, self._days)
        renewed = self._seal(content, sealed, blank, _title_of_nobody(title, number))
        # Whatever a meter of tomorrow sends: what would read otherwise does not go out.
        if not self._reads_alike(renewed, understood, has_tag=sealed.tag is not None):
            return Fault(Layer.LAYOUT, "without its identity it would read otherwise", 0)
        self._numbers[title] = number
        return renewed

    def _understand(self, plaintext: bytes, title: bytes) -> "_Understood | Fault":
        """Return what stands where in a plaintext."""
        header = notification.header(plaintext)
        if isinstance(header, Fault):
            return header
        outline = axdr.outline(plaintext, header.body_start)
        if isinstance(outline, Fault):
            return outline
        listing = layouts.recognise(outline, title, self._layouts, self._layout)
        if isinstance(listing, Fault):
            return listing
        readings = listing.read(plaintext, header)
        if isinstance(readings, Fault):
            return readings
        return _Understood(header, outline, listing, readings)

    def _seal(self, content: bytes, sealed: Sealed, plaintext: bytes, title: bytes) -> bytes:
        """Return an APDU like `content`, but of another meter."""
        key, auth_key = self._new_keys
        start = sealed.ciphertext_start
        renewed = seal(
            plaintext,
            key=key.octets,
            system_title=title,
            invocation_counter=sealed.invocation_counter,
            auth_key=auth_key.octets if sealed.tag else None,
            suite=sealed.security_byte & ciphering.SUITES,
        )
        # The length may be written in another way than ours.
        kept = content[2 + len(title) : start]
        return content[:2] + title + kept + renewed[-(len(content) - start) :]

    def _reads_alike(self, renewed: bytes, understood: "_Understood", *, has_tag: bool) -> bool:
        """Tell whether an APDU has the same objects, and the same measured values."""
        key, auth_key = self._new_keys
        decoder = Decoder(
            key, auth_key if has_tag else None, layout=self._layout, layouts=self._layouts
        )
        found, readings = decoder.decode_apdu(renewed, 0.0), understood.readings
        if not isinstance(found, Telegram) or list(readings) != list(found.readings):
            return False
        measured = [entry.obis for entry in understood.listing.entries if _is_measured(entry)]
        return all(readings[obis] == found.readings[obis] for obis in measured)


class _Understood(NamedTuple):
    """What stands where in a plaintext, and what it reads."""

    header: Header
    outline: Outline
    listing: Listing
    readings: Readings


def _title_of_nobody(title: bytes, number: int) -> bytes:
    """Return a system title of the same maker and type, with `number` as its serial number."""
    if not _is_maker(title[:MAKER_BYTES]):
        return number.to_bytes(len(title), "big")  # of no known form: all of it may name the meter
    kind = int.from_bytes(title, "big") & ~SERIAL_MASK
    return (kind | number).to_bytes(len(title), "big")


def _is_maker(letters: bytes) -> bool:
    return letters.isalpha() and letters.isupper()


def _blank(understood: _Understood, maker: bytes, number: int, days: int) -> bytes:
    """Return the plaintext with only those elements as they were that are known to name nobody.

    Those are measured numbers, OBIS codes that any meter may send, clocks (moved by `days`), and
    what says how the list is built. Other numbers become 0, other texts the number behind zeros.
    """
    header, outline, listing, _ = understood
    blank = bytearray(outline.octets)
    entries = {entry.start: entry for entry in listing.entries}
    codes = {entry.obis for entry in listing.entries}
    dates = [header.time_start] if header.time_start else []
    for index in range(len(outline.starts) - 1):
        start, end = outline.starts[index : index + 2]
        tag, entry = blank[start], entries.get(start)
        if tag in DATES:
            dates.append(start + 1)
        elif tag in axdr.STRINGS:
            content = outline.content(index)
            if entry is not None and entry.obis in (CLOCK, LOCAL_DATE):
                dates.append(start + 2)
            elif (entry is None or entry.obis != LOCAL_TIME) and not _is_code(content, codes):
                blank[start + 2 : end] = _text_of_nobody(content, maker, number)
        elif tag in axdr.NUMBERS:
            is_measured = entry is not None and _is_measured(entry)
            if not is_measured and not _is_grammar(outline, index):
                blank[start + 1 : end] = bytes(end - start - 1)
    for start in dates:
        _move(blank, start, days)
    return bytes(blank)


def _is_measured(entry: Entry) -> bool:
    """Tell an electrical quantity from a number that may name the meter, its owner or its place.

    A number without a unit is one only where it is known to be: a power factor.
    """
    code = entry.obis
    is_quantity = entry.is_number and code.a == ELECTRICITY and code.c in QUANTITIES
    return is_quantity and (entry.unit is not None or code.channel_0 in EXPECTED_UNITS)


def _is_code(content: bytes, codes: Collection[Obis]) -> bool:
    """Tell an OBIS code from six bytes that may be this meter's own."""
    return len(content) == OBIS_BYTES and (is_public(Obis(*content)) or Obis(*content) in codes)


def _is_grammar(outline: Outline, index: int) -> bool:
    """Tell a number that says how the list is built: scaler, unit, or part of an object's name."""
    kinds = outline.kinds(max(index - 4, 0), index + 5)
    place = min(index, 4)
    if kinds[place] == axdr.ENUM << 8:
        return place > 0 and kinds[place - 1] == axdr.INTEGER << 8
    if kinds[place] == axdr.INTEGER << 8 and kinds[place + 1 : place + 2] == [axdr.ENUM << 8]:
        return True
    return any(
        kinds[place - at : place - at + len(PUSH_OBJECT)] == PUSH_OBJECT
        for at in range(1, min(place, len(PUSH_OBJECT) - 1) + 1)
    )


def _text_of_nobody(content: bytes, maker: bytes, number: int) -> bytes:
    """Return a text as long as `content`: zeros, the maker's letters where they were, the number.

    A text that holds a number, a name or anything else tells nothing of it but its length.
    """
    size = len(content)
    blank = str(number).rjust(size, "0").encode("ascii")[-size:] if size else b""
    at = content.find(maker) if _is_maker(maker) else -1
    return blank if at < 0 else blank[:at] + maker + blank[at + len(maker) :]


def _move(plaintext: bytearray, start: int, days: int) -> None:
    """Move the date at `start` by whole days; one that is not all specified stays."""
    try:
        year = int.from_bytes(plaintext[start : start + 2], "big")
        moved = date(year, plaintext[start + 2], plaintext[start + 3]) + timedelta(days=days)
    except (ValueError, OverflowError):
        return
    plaintext[start : start + 4] = moved.year.to_bytes(2, "big") + bytes((moved.month, moved.day))
    if plaintext[start + 4] in range(1, 8):
        plaintext[start + 4] = moved.isoweekday()


def _rewritten(frames: Sequence[Frame], message: Apdu, content: bytes) -> list[Anonymous]:
    """Return the frames that brought `message`, bringing `content` instead."""
    ends = [index for index, _ in message.pieces[1:]] + [len(content)]
    pieces = [
        (offset, content[index:end])
        for (index, offset), end in zip(message.pieces, ends, strict=True)
    ]
    found = []
    for frame in frames:
        octets = bytearray(frame.octets)
        inside = [
            (offset - frame.offset, piece)
            for offset, piece in pieces
            if frame.offset <= offset < frame.offset + len(octets)
        ]
        for start, piece in inside:
            octets[start : start + len(piece)] = piece
        if inside:
            _check_anew(octets, is_hdlc=frame.is_hdlc)
            found.append(Anonymous(bytes(octets), frame.received))
    return found


def _check_anew(octets: bytearray, *, is_hdlc: bool) -> None:
    """Put the right checksum into a frame whose content has changed."""
    if is_hdlc:
        octets[-3:-1] = hdlc.crc(bytes(octets[1:-3]))
    else:
        content = bytes(octets[mbus.HEADER_BYTES : -mbus.TRAILER_BYTES])
        octets[-2] = mbus.checksum(content)
