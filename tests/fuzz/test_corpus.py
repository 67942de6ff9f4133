"""The fuzz targets without a fuzzer: each keeps its promise for its whole corpus."""

from collections.abc import Sequence

import pytest

from gateway.modbus.responder import Conversation
from gateway.simulator.frames import Unit, scaler_unit
from gateway.telegram import Decoder, Fault, Key, Layout, Telegram
from gateway.telegram.axdr import Outline
from gateway.telegram.axdr import outline as true_outline
from gateway.telegram.ciphering import Opener
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.layouts import recognise as true_recognise
from gateway.telegram.listing import Listing, Readings
from tests.fuzz import axdr, ciphering, decoder, framing, layouts, requests
from tests.fuzz.corpus import KAIFA, TARGETS
from tests.fuzz.meters import HEADER_BYTES, plaintexts, telegrams


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_states_its_promise_in_its_first_sentence(target: str) -> None:
    module, _ = TARGETS[target]
    assert module.__doc__ is not None
    first = module.__doc__.splitlines()[0]
    assert first.startswith("Any ")
    assert first.endswith(".")


@pytest.mark.parametrize("target", TARGETS)
def test_the_promise_is_kept_for_the_whole_corpus(target: str) -> None:
    module, entries = TARGETS[target]
    broken = {}
    for name, octets in entries():
        try:
            module.check(octets)
        except Exception as problem:
            broken[name] = repr(problem)[:300]
    assert broken == {}


@pytest.mark.parametrize("target", TARGETS)
def test_no_two_entries_of_a_corpus_have_one_name(target: str) -> None:
    names = [name for name, _ in TARGETS[target][1]()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("octets", [b"", b"\x00", b"\xff", bytes(40), b"\xff" * 40])
def test_any_few_bytes_are_an_input(target: str, octets: bytes) -> None:
    TARGETS[target][0].check(octets)


# --- a broken promise is noticed ------------------------------------------------------------


class _Forgetful(FrameReader):
    def finish(self) -> list[Frame | Fault]:
        return super().finish()[1:]


class _Silent(FrameReader):
    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Frame | Fault]:
        return [item for item in super().feed(chunk, now, damaged) if isinstance(item, Frame)]


class _ChunkBound(FrameReader):
    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Frame | Fault]:
        return super().feed(chunk, now, damaged) + super().finish()


@pytest.mark.parametrize("reader", [_Forgetful, _Silent, _ChunkBound])
def test_a_reader_that_tells_less_is_noticed(reader: type[FrameReader]) -> None:
    stream = bytes(300) + telegrams(KAIFA)[0] + bytes(20)
    with pytest.raises(AssertionError):
        framing.check(framing.pack(stream, [5, 200]), reader)


def test_an_opener_that_verifies_no_tag_is_noticed() -> None:
    def careless(key: Key, _auth_key: Key | None) -> Opener:
        return Opener(key, None)

    octets = ciphering.pack(
        b"plaintext", ciphering.SEALED, flags=ciphering.AUTHENTICATED, place=20, change=1
    )
    ciphering.check(octets)
    with pytest.raises(AssertionError):
        ciphering.check(octets, careless)


class _Hasty(Conversation):
    def receive(self, chunk: bytes, now: float) -> bytes:
        replies = super().receive(chunk, now)
        self._rest = b""
        return replies


class _Short(Conversation):
    def _reply(self, frame: bytes, now: float) -> bytes:
        return super()._reply(frame, now)[:-1]


@pytest.mark.parametrize("conversation", [_Hasty, _Short])
def test_a_conversation_that_loses_bytes_is_noticed(conversation: type[Conversation]) -> None:
    framed = b"\0\1\0\0\0\6" + bytes((requests.UNIT,)) + requests.READ
    requests.check(requests.pack(3 * framed, [5]))
    with pytest.raises(AssertionError):
        requests.check(requests.pack(3 * framed, [5]), conversation)


def test_an_outline_that_leaves_bytes_out_is_noticed() -> None:
    def short(octets: bytes, start: int) -> Outline | Fault:
        return true_outline(octets[:-1], start)

    def miscounted(octets: bytes, start: int) -> Outline | Fault:
        found = true_outline(octets, start)
        assert isinstance(found, Outline)
        return found._replace(starts=[found.starts[0], *found.starts[2:]])

    body = plaintexts(KAIFA)[0][HEADER_BYTES:]
    for wrong in (short, miscounted):
        with pytest.raises(AssertionError):
            axdr.check(axdr.pack(body + b"\x00" if wrong is short else body), wrong)


def test_a_listing_that_names_an_object_twice_is_noticed() -> None:
    def doubled(
        outline: Outline, title: bytes, known: Sequence[Layout], own: Layout | None
    ) -> Listing | Fault:
        found = true_recognise(outline, title, known, own)
        assert isinstance(found, Listing)
        return Listing(found.name, [*found.entries, found.entries[0]])

    with pytest.raises(AssertionError):
        layouts.check(layouts.pack(plaintexts(KAIFA)[0][HEADER_BYTES:], KAIFA), doubled)


class _Gullible(Decoder):
    """Says of all telegrams what it said of the first."""

    _said: Readings | None = None

    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Telegram | Fault]:
        return [self._repeat(item) for item in super().feed(chunk, now, damaged)]

    def _repeat(self, item: Telegram | Fault) -> Telegram | Fault:
        if isinstance(item, Fault):
            return item
        self._said = self._said or item.readings
        return item._replace(readings=self._said)


class _Repeating(Decoder):
    """Says all again with every chunk."""

    def __init__(self, key: Key, auth_key: Key | None) -> None:
        super().__init__(key, auth_key)
        self._all: list[Telegram | Fault] = []

    def feed(self, chunk: bytes, now: float, damaged: Sequence[int] = ()) -> list[Telegram | Fault]:
        self._all += super().feed(chunk, now, damaged)
        return self._all


@pytest.mark.parametrize("wrong", [_Gullible, _Repeating])
def test_a_decoder_that_says_what_was_not_sent_is_noticed(wrong: type[Decoder]) -> None:
    plaintext = plaintexts(KAIFA)[0]
    last_digit = len(plaintext) - len(scaler_unit(0, Unit.VARH)) - 1
    octets = decoder.pack(plaintext, decoder.PLAINTEXT, KAIFA, changes=[(last_digit, 0x01)])
    decoder.check(octets)
    with pytest.raises(AssertionError):
        decoder.check(octets, wrong)
