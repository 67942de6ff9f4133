"""Any bytes, in any chunks, give the same telegrams or faults, whatever the decoder has learned.

Never an exception; the next whole telegram is found, and what waits for more bytes stays small.
"""

import pickle
from collections.abc import Callable, Iterable, Sequence

from gateway.telegram import Decoder, Fault, Key, Telegram, key_slips
from gateway.telegram.frames import Frame, FrameReader
from tests.fuzz.choices import Choices, bytewise, cut, written
from tests.fuzz.layouts import check_reading
from tests.fuzz.meters import AUTH_KEY, KEY, MODEL_NAMES, framed, sealed, telegrams

WIRE, PLAINTEXT, APDU = 0, 1, 2  # what the payload is
KINDS = 3
AUTHENTICATED = 0x04  # a tag is sent and verified
AS_THE_METER = 0x08  # what was learned is the meter's own wording, else the payload's
OFTEN = 0x10  # the payload comes again and again
SLIPS = 0x20  # slips of the key are looked for, with thousands of decryptions

MAX_PAYLOAD_BYTES = 1900  # what one HDLC frame carries
ENDLESS_BYTES = 8_000
# Of a reader and an assembler: an HDLC frame, the segments and blocks of one APDU each, the
# times of their chunks. Far below ENDLESS_BYTES together with all that is told by then.
MAX_WAITING_BYTES = 7_500

MakeDecoder = Callable[[Key, Key | None], Decoder]
Plain = tuple[object, ...]


def pack(
    payload: bytes,
    kind: int,
    model: str,
    *,
    flags: int = 0,
    sizes: Sequence[int] = (),
    changes: Sequence[tuple[int, int]] = (),
) -> bytes:
    """Return the input for a payload, sent in chunks of `sizes`, without them byte by byte.

    `changes` (place, xor) make of it what is sent next.
    """
    numbers = [place << 8 | change for place, change in changes]
    head = bytes([kind | flags, MODEL_NAMES.index(model)])
    return head + written(sizes) + written(numbers, 3) + payload


def check(octets: bytes, make: MakeDecoder = Decoder) -> None:
    """Assert the promise above."""
    choices = Choices(octets)
    flags, model = choices.number(), MODEL_NAMES[choices.number() % len(MODEL_NAMES)]
    sizes, changes = choices.numbers(), choices.numbers(3)
    payload, auth = choices.rest[:MAX_PAYLOAD_BYTES], bool(flags & AUTHENTICATED)

    def fresh() -> Decoder:
        made = make(Key(KEY), Key(AUTH_KEY) if auth else None)
        if not flags & SLIPS:
            made._slips_left = 0
        return made

    def sent(payload: bytes) -> bytes:
        kind = flags % 4 % KINDS
        apdu = sealed(payload, model, auth=auth) if kind == PLAINTEXT else payload
        return payload if kind == WIRE else framed(apdu, model)

    stream, good = sent(payload), telegrams(model, auth=auth)
    found = _decode(fresh(), [stream])
    chunks = cut(stream, sizes) if sizes else bytewise(stream)
    again = _decode(fresh(), chunks)
    assert again == found, f"in {len(chunks)} chunks: {again}, in one: {found}"

    changed = sent(_changed(payload, changes))
    before = good if flags & AS_THE_METER else (stream, stream, stream)
    learned, expected, begin = fresh(), _decode(fresh(), [changed]), 0
    for telegram in before:
        _decode(learned, [telegram], begin=begin)
        begin += len(telegram)
    again = _decode(learned, [changed], begin=begin)
    assert again == expected, f"after others: {again}, alone: {expected}"

    _check_next(fresh, stream, good[0])
    if flags & OFTEN and stream:
        _check_endless(fresh(), stream)


def _changed(payload: bytes, changes: Iterable[int]) -> bytes:
    octets = bytearray(payload)
    for number in changes:
        if octets:
            octets[(number >> 8) % len(octets)] ^= number & 0xFF
    return bytes(octets)


def _decode(decoder: Decoder, chunks: Iterable[bytes], *, begin: int = 0) -> list[Plain]:
    """Feed all chunks at time 0, then finish; offsets count from `begin`."""
    found, end = [], begin
    for chunk in chunks:
        found += decoder.feed(chunk, 0.0)
        end += len(chunk)
    found += decoder.finish()
    for item in found:
        assert begin <= item.offset <= end, f"{item} does not lie in {begin} to {end}"
    return [_plain(item, begin) for item in found]


def _plain(item: Telegram | Fault, begin: int) -> Plain:
    """Return all that an item says, so that equal means the same."""
    if isinstance(item, Fault):
        # A slip of the key is looked for in the first telegrams only.
        reason = item.reason.removesuffix(f"; {key_slips.slip_in(item.reason)}")
        return item.layer, reason, item.offset - begin, item.meter
    for obis, reading in item.readings.items():
        check_reading(str(obis), reading)
    # Python takes 1 for 1.0 and a time for the same moment elsewhere; their text does not.
    clocks = repr(item.clock), item.clock_status, repr(item.readings.clock)
    readings = repr(list(item.readings.items())), item.readings.listing.name
    return *item[:3], *clocks, *readings, item.received, item.offset - begin


def _check_next(fresh: Callable[[], Decoder], stream: bytes, telegram: bytes) -> None:
    """Assert that a telegram is found behind a stream: at once, or after a silence."""
    (whole,) = fresh().feed(telegram, 0.0)
    assert isinstance(whole, Telegram)
    expected = whole._replace(offset=whole.offset + len(stream))
    found = _decode(fresh(), [stream + telegram])
    if not _reaches_over(stream, telegram):
        assert _plain(expected, 0) in found, f"{expected} is not found: {found}"

    decoder = fresh()
    decoder.feed(stream, 0.0)
    after_silence = [_plain(item, 0) for item in decoder.feed(telegram, 10.0)]
    expected = expected._replace(received=10.0)
    assert _plain(expected, 0) in after_silence, f"after a silence: {after_silence}"


def _reaches_over(stream: bytes, telegram: bytes) -> bool:
    """Tell whether a sound frame starts in the stream and ends behind it."""
    reader, begin = FrameReader(), len(stream)
    frames = [*reader.feed(stream + telegram, 0.0), *reader.finish()]
    return any(
        item.offset < begin < item.offset + len(item.octets) - item.is_hdlc
        for item in frames
        if isinstance(item, Frame)
    )


def _check_endless(decoder: Decoder, stream: bytes) -> None:
    """Assert that a stream may go on for ever."""
    for _ in range(1 + ENDLESS_BYTES // len(stream)):
        decoder.feed(stream, 0.0)
        waiting = len(pickle.dumps((decoder._reader, decoder._assembler)))
        assert waiting <= MAX_WAITING_BYTES, f"{waiting} bytes wait"
