"""The one door: bytes in, telegrams and faults out.

Its promise in one sentence: any bytes give telegrams or faults, never an exception, and the next
whole telegram is always found.
"""

import gc
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from types import FunctionType, ModuleType

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, Push, SimulatedMeter
from gateway.simulator.frames import (
    Unit,
    data_notification,
    date_time,
    hdlc_frame,
    mbus_frame,
    mbus_frames,
    obis,
    octet_string,
    scaler_unit,
    seal,
    structure,
    u16,
    u32,
)
from gateway.simulator.local_time import austrian
from gateway.telegram import Decoder, Fault, Key, Layer, Obis, Reading, Security, Telegram

Found = list[Telegram | Fault]

KEY, AUTH_KEY = bytes(range(16)), SIMULATED_AUTH_KEY
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
TITLE = bytes.fromhex("4b464d1020000001")
TWO_FRAMES = [
    "kaifa-ma309m", "kaifa-ma110m", "honeywell", "kaifa-ma309-netznoe", "sagemcom-t210d-2024",
]  # fmt: skip
SECURITIES = {"encrypted": Security.ENCRYPTED, "authenticated": Security.AUTHENTICATED}


def has_tag(model: str) -> bool:
    """Tell whether a model authenticates although nobody gave it a key."""
    return MODELS[model].authenticated


def pushes(model: str, count: int = 1, *, auth: bool = False, seed: int = 7) -> list[Push]:
    auth_key = AUTH_KEY if auth else None
    meter = SimulatedMeter(model, KEY, auth_key=auth_key, seed=seed, start=START)
    return [meter.push() for _ in range(count)]


def decoder(*, auth: bool = False) -> Decoder:
    return Decoder(Key(KEY), Key(AUTH_KEY) if auth else None)


@pytest.mark.parametrize("model", list(MODELS))
def test_what_a_frame_still_lacks_is_never_more_than_comes(model: str) -> None:
    """Whoever reads just so much each time reads the last byte as soon as it is there."""
    (push,) = pushes(model, auth=has_tag(model))
    reading, at, reads = decoder(auth=has_tag(model)), 0, 0
    assert reading.missing is None
    found: Found = []
    while at < len(push.telegram):
        size = reading.missing or 1
        assert at + size <= len(push.telegram)
        found += reading.feed(push.telegram[at : at + size], 0.0)
        at, reads = at + size, reads + 1
    assert [type(item) for item in found] == [Telegram]
    assert reading.missing is None
    assert reads < len(push.telegram) / 5, "a frame is its header and the rest"


def decode(*chunks: bytes, auth: bool = False, damaged: Sequence[int] = ()) -> Found:
    """Feed all chunks at time 0, then finish; `damaged` counts in all of them."""
    fresh, found, end = decoder(auth=auth), [], 0
    for chunk in chunks:
        found += fresh.feed(chunk, 0.0, [at - end for at in damaged if 0 <= at - end < len(chunk)])
        end += len(chunk)
    return found + fresh.finish()


def bytewise(stream: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in stream]


def telegrams_of(found: Iterable[Telegram | Fault]) -> list[Telegram]:
    return [item for item in found if isinstance(item, Telegram)]


def unplaced(found: Iterable[Telegram | Fault]) -> list[Telegram]:
    """The telegrams, wherever in the stream they stand."""
    return [telegram._replace(offset=0) for telegram in telegrams_of(found)]


def faults_of(found: Iterable[Telegram | Fault]) -> list[Fault]:
    return [item for item in found if isinstance(item, Fault)]


def sealed(plaintext: bytes, *, auth: bool = False, counter: int = 1) -> bytes:
    return seal(
        plaintext,
        key=KEY,
        system_title=TITLE,
        invocation_counter=counter,
        auth_key=AUTH_KEY if auth else None,
    )


def apdu_of(telegram: bytes) -> bytes:
    """The APDU inside a simulated telegram of full frames."""
    frames = [telegram[start : start + 256] for start in range(0, len(telegram), 256)]
    return b"".join(frame[9:-2] for frame in frames)


CLOCK = date_time(austrian(START), summer=True)
OBJECTS = (
    (obis("1-0:1.7.0.255"), u32(515), scaler_unit(0, Unit.W)),
    (obis("1-0:1.8.0.255"), u32(627660), scaler_unit(0, Unit.WH)),
    (obis("1-0:32.7.0.255"), u16(2329), scaler_unit(-1, Unit.V)),
)


def plaintext_of(*items: bytes) -> bytes:
    return data_notification(1, CLOCK, structure(*items))


NESTED = plaintext_of(*(structure(*entry) for entry in OBJECTS))
FLAT = plaintext_of(
    octet_string(CLOCK), *(part for entry in OBJECTS for part in entry), octet_string(b"1782000001")
)
ONE_FRAME = b"".join(mbus_frames(sealed(NESTED)))
MA309M, MA110M = pushes("kaifa-ma309m")[0].telegram, pushes("kaifa-ma110m")[0].telegram
VIENNA, SEGMENTED, BLOCKS = (
    pushes(model)[0].telegram
    for model in ("iskra-am550-wienernetze", "iskra-am550-segmented", "lg-e450-gbt")
)
AUTHENTICATED = pushes("kaifa-ma309m", auth=True)[0].telegram

# --- what is said is what is decoded --------------------------------------------------------


def check(telegram: Telegram | Fault, push: Push) -> None:
    """Assert that the telegram says what was pushed, in its order, and nothing else."""
    assert isinstance(telegram, Telegram), telegram
    read = [(str(code), (r.value, r.unit)) for code, r in telegram.readings.items()]
    assert read == list(push.readings.items())
    for code, reading in telegram.readings.items():
        pushed = push.readings[str(code)][0]
        assert type(reading.value) is type(pushed)
        if isinstance(reading.value, datetime) and isinstance(pushed, datetime):
            assert reading.value.utcoffset() == pushed.utcoffset()
    assert telegram.clock == push.clock
    assert telegram.clock is not None
    assert telegram.clock.utcoffset() == push.clock.utcoffset()
    assert telegram.meter == push.system_title
    assert telegram.invocation_counter == push.invocation_counter
    assert telegram.security is SECURITIES[push.security]


@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("model", MODELS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_a_meter_pushes_is_what_is_decoded(model: str, auth: bool, seed: int) -> None:
    said = pushes(model, 3, auth=auth, seed=seed)
    found = decode(b"".join(push.telegram for push in said), auth=auth or has_tag(model))
    assert len(found) == 3
    for telegram, push in zip(found, said, strict=True):
        check(telegram, push)


@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_what_comes_byte_by_byte_is_decoded_the_same(model: str, auth: bool) -> None:
    (push,) = pushes(model, auth=auth)
    (telegram,) = decode(*bytewise(push.telegram), auth=auth or has_tag(model))
    check(telegram, push)


@pytest.mark.parametrize("model", MODELS)
def test_a_meter_is_understood_for_as_long_as_it_speaks(model: str) -> None:
    fresh = decoder(auth=has_tag(model))
    for number, push in enumerate(pushes(model, 12)):
        (telegram,) = fresh.feed(push.telegram, 5.0 * number)
        check(telegram, push)
        assert isinstance(telegram, Telegram)
        assert telegram.received == 5.0 * number
    assert fresh.finish() == []


@pytest.mark.parametrize("model", MODELS)
def test_a_telegrams_offset_is_where_its_apdu_stands(model: str) -> None:
    (push,) = pushes(model)
    stream = b"\x00" * 7 + push.telegram * 4
    starts = [7 + n * len(push.telegram) for n in range(4)]
    for chunks in ([stream], bytewise(stream), [b"\x00" * 7, *[push.telegram] * 4]):
        found = telegrams_of(decode(*chunks, auth=has_tag(model)))
        assert [stream[item.offset : item.offset + 2] for item in found] == [b"\xdb\x08"] * 4
        assert all(0 < item.offset - start <= 25 for item, start in zip(found, starts, strict=True))


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
@settings(max_examples=15)
def test_chunks_make_no_difference_to_any_model(model: str, data: st.DataObject) -> None:
    stream = b"\x55\x7e" + b"".join(push.telegram for push in pushes(model, 3)) + b"\x68"
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    chunks = [stream[start:end] for start, end in pairwise([0, *places, len(stream)])]
    expected = decode(stream, auth=has_tag(model))
    assert len(telegrams_of(expected)) == 3
    assert decode(*chunks, auth=has_tag(model)) == expected
    assert decode(*bytewise(stream), auth=has_tag(model)) == expected


@pytest.mark.parametrize(("first", "second"), [*pairwise(MODELS), ("kaifa-ma309m", "kaifa-ma309m")])
def test_telegrams_of_two_meters_may_alternate(first: str, second: str) -> None:
    ours, others = pushes(first, 5, seed=7, auth=True), pushes(second, 5, seed=8, auth=True)
    fresh = decoder(auth=True)
    for one, other in zip(ours, others, strict=True):
        for push in (one, other):
            (telegram,) = fresh.feed(push.telegram, 0.0)
            check(telegram, push)


@pytest.mark.parametrize("model", ["iskra-am550-wienernetze", "lg-e450-gbt", "lg-e570"])
def test_hdlc_frames_may_share_their_flags(model: str) -> None:
    said = pushes(model, 3)
    stream = b"".join(push.telegram for push in said).replace(b"\x7e\x7e", b"\x7e")
    for chunks in ([stream], bytewise(stream)):
        found = decode(*chunks, auth=has_tag(model))
        assert len(found) == 3
        for telegram, push in zip(found, said, strict=True):
            check(telegram, push)


@pytest.mark.parametrize("model", MODELS)
def test_a_tag_is_not_believed_without_its_key(model: str) -> None:
    (push,) = pushes(model, auth=True)
    (telegram,) = decode(push.telegram)
    assert isinstance(telegram, Telegram)
    assert telegram.security is Security.UNAUTHENTICATED
    assert {str(code): (r.value, r.unit) for code, r in telegram.readings.items()} == push.readings


@pytest.mark.parametrize("model", [model for model in MODELS if not has_tag(model)])
def test_a_missing_tag_is_refused_where_one_must_be(model: str) -> None:
    (fault,) = decode(pushes(model)[0].telegram, auth=True)
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.CIPHERING
    assert "carries no tag" in fault.reason


@pytest.mark.parametrize("plaintext", [NESTED, FLAT])
def test_nested_and_flat_layouts_say_the_same(plaintext: bytes) -> None:
    (telegram,) = decode(*mbus_frames(sealed(plaintext)))
    assert isinstance(telegram, Telegram)
    assert telegram.readings[Obis(1, 0, 1, 7, 0)] == Reading(515, "W")
    assert telegram.readings[Obis(1, 0, 32, 7, 0)] == Reading(232.9, "V")


def test_a_header_without_clock_leaves_the_clock_absent() -> None:
    plaintext = NESTED[:5] + b"\x00" + NESTED[18:]
    (telegram,) = decode(*mbus_frames(sealed(plaintext)))
    assert isinstance(telegram, Telegram)
    assert (telegram.clock, telegram.clock_status) == (None, None)


def test_the_status_of_the_header_clock_is_kept() -> None:
    plaintext = NESTED[:17] + b"\x81" + NESTED[18:]
    (telegram,) = decode(*mbus_frames(sealed(plaintext)))
    assert isinstance(telegram, Telegram)
    assert (telegram.clock, telegram.clock_status) == (START, 0x81)


def test_readings_cannot_be_changed() -> None:
    (telegram,) = telegrams_of(decode(ONE_FRAME))
    with pytest.raises(TypeError):
        telegram.readings[Obis(1, 0, 1, 7, 0)] = Reading(0, "W")  # type: ignore[index]
    with pytest.raises(AttributeError):
        telegram.received = 1.0  # type: ignore[misc]


def test_the_old_sagemcom_frames_are_decoded() -> None:
    first, second = mbus_frames(apdu_of(MA309M), frame_apdu_bytes=252)
    assert first[:4].hex() == "68010168"
    assert decode(first, second) == decode(MA309M)


@pytest.mark.parametrize("size", [1, 20, 60, 100, 244, 245, 246, 251, 252])
def test_how_a_meter_cuts_its_apdu_makes_no_difference(size: int) -> None:
    apdu = apdu_of(MA110M)
    assert decode(*mbus_frames(apdu, frame_apdu_bytes=size)) == decode(MA110M)


@pytest.mark.parametrize("looks_like", ["68050568", "68fafa68", "16680000", "68686868"])
def test_what_looks_like_a_frame_inside_the_ciphertext_is_ciphertext(looks_like: str) -> None:
    # Under a keystream a value can be chosen so that its ciphertext is what one likes.
    wanted = bytes.fromhex(looks_like)
    zero = sealed(plaintext_of(structure(obis("1-0:1.8.0.255"), u32(0), OBJECTS[1][2])))
    start = len(zero) - 10
    raw = bytes(a ^ b for a, b in zip(zero[start : start + 4], wanted, strict=True))
    value = int.from_bytes(raw, "big")
    apdu = sealed(plaintext_of(structure(obis("1-0:1.8.0.255"), u32(value), OBJECTS[1][2])))
    assert apdu[start : start + 4] == wanted
    frame = b"".join(mbus_frames(apdu))
    (telegram,) = decode(frame)
    assert isinstance(telegram, Telegram)
    assert telegram.readings == {Obis(1, 0, 1, 8, 0): Reading(value, "Wh")}
    # A capture that starts within the ciphertext takes it for a frame until more bytes come.
    found = decode(frame[9 + start :] + frame + frame)
    assert unplaced(found) == unplaced([telegram, telegram])


def test_an_apdu_without_frames_is_decoded() -> None:
    telegram = decoder().decode_apdu(apdu_of(MA309M), 0.0)
    assert isinstance(telegram, Telegram)
    assert telegram.offset == 0
    assert [telegram] == unplaced(decode(MA309M))


def test_a_fault_of_an_apdu_without_frames_counts_in_the_apdu() -> None:
    apdu = bytearray(apdu_of(MA309M))
    apdu[13] = 0x22
    fault = decoder().decode_apdu(bytes(apdu), 0.0)
    assert isinstance(fault, Fault)
    assert (fault.layer, fault.offset) == (Layer.CIPHERING, 13)


# --- time -----------------------------------------------------------------------------------


def test_received_is_the_time_of_the_last_byte() -> None:
    fresh = decoder()
    assert fresh.feed(MA309M[:256], 100.0) == []
    assert fresh.feed(MA309M[256:-1], 101.0) == []
    (telegram,) = fresh.feed(MA309M[-1:], 102.5)
    assert isinstance(telegram, Telegram)
    assert telegram.received == 102.5


def test_a_telegram_found_late_keeps_the_time_of_its_last_byte() -> None:
    fresh = decoder()
    false_header = b"\x68\xff\xff\x68"
    assert fresh.feed(false_header + ONE_FRAME[:50], 10.0) == []
    assert fresh.feed(ONE_FRAME[50:], 11.0) == []
    found = fresh.feed(ONE_FRAME * 2, 13.5)
    assert [telegram.received for telegram in telegrams_of(found)] == [11.0, 13.5, 13.5]


def test_a_telegram_behind_a_false_header_is_found_when_the_line_falls_silent() -> None:
    fresh = decoder()
    assert fresh.feed(b"\x68\xff\xff\x68" + ONE_FRAME, 10.0) == []
    found = fresh.feed(b"\x00", 15.0)
    assert [telegram.received for telegram in telegrams_of(found)] == [10.0]


@pytest.mark.parametrize("cut", [1, 3, 5, 100, 255, 257, 300, 375])
def test_a_silence_of_three_seconds_is_endured_and_more_is_not(cut: int) -> None:
    for silence_s, count in ((3.0, 1), (3.1, 0)):
        fresh = decoder()
        fresh.feed(MA309M[:cut], 50.0)
        found = fresh.feed(MA309M[cut:], 50.0 + silence_s) + fresh.finish()
        assert len(telegrams_of(found)) == count
        assert bool(faults_of(found)) == (count == 0)


@pytest.mark.parametrize("model", MODELS)
def test_a_telegram_after_a_broken_one_and_a_silence_is_found(model: str) -> None:
    one, other = pushes(model, 2)
    for cut in range(1, len(one.telegram), 13):
        fresh = decoder(auth=has_tag(model))
        assert telegrams_of(fresh.feed(one.telegram[:cut], 50.0)) == []
        found = fresh.feed(other.telegram, 55.0)
        (telegram,) = telegrams_of(found)
        check(telegram, other)


def test_segments_and_blocks_of_hdlc_must_follow_within_three_quarters_of_a_second() -> None:
    for telegram in (SEGMENTED, BLOCKS):
        cut = telegram.index(b"\x7e\x7e") + 1
        for gap_s, count in ((0.75, 1), (0.875, 0)):
            fresh = decoder(auth=telegram is BLOCKS)
            fresh.feed(telegram[:cut], 50.0)
            found = fresh.feed(telegram[cut:], 50.0 + gap_s) + fresh.finish()
            assert len(telegrams_of(found)) == count
            assert bool(faults_of(found)) == (count == 0)


def test_a_telegram_that_is_known_counts_as_a_sign_of_life() -> None:
    fresh = decoder()
    for now in (50.0, 55.0, 60.0):
        fresh.feed(MA309M, now)
    assert fresh.feed(MA309M[:100], 62.0) == []
    assert len(fresh.feed(MA309M[100:], 64.5)) == 1


def test_after_a_silence_the_next_telegram_is_found_at_once() -> None:
    fresh = decoder()
    assert fresh.feed(MA309M[:100], 50.0) == []
    broken_off, telegram = fresh.feed(MA309M, 55.0)
    assert broken_off == Fault(Layer.FRAME, "frame breaks off after 100 of 256 bytes", 100)
    assert isinstance(telegram, Telegram)
    assert telegram.received == 55.0


def test_an_empty_chunk_says_nothing_about_silence() -> None:
    fresh = decoder()
    assert fresh.feed(MA309M[:100], 50.0) == []
    assert fresh.feed(b"", 60.0) == []
    assert fresh.feed(b"", 52.0) == []
    assert len(telegrams_of(fresh.feed(MA309M[100:], 52.5))) == 1


def test_the_first_byte_may_come_at_any_time() -> None:
    for now in (-5.0, 0.0, 1e9):
        assert len(telegrams_of(decoder().feed(MA309M, now))) == 1


def test_after_finish_the_next_telegram_is_decoded() -> None:
    fresh = decoder()
    fresh.feed(MA309M[:300], 0.0)
    assert telegrams_of(fresh.finish()) == []
    assert fresh.finish() == []
    assert unplaced(fresh.feed(MA309M, 1.0)) == unplaced(decoder().feed(MA309M, 1.0))


# --- telegrams that must not be joined ------------------------------------------------------


@pytest.mark.parametrize("first", TWO_FRAMES)
@pytest.mark.parametrize("second", TWO_FRAMES)
def test_halves_of_two_meters_telegrams_are_never_one(first: str, second: str) -> None:
    for seed in range(6):
        for auth in (False, True):
            head = pushes(first, auth=auth, seed=seed)[0].telegram[:256]
            tail = pushes(second, auth=auth, seed=seed + 100)[0].telegram[256:]
            found = decode(head + tail, auth=auth)
            assert telegrams_of(found) == []
            assert found


def frames_of(telegram: bytes) -> list[bytes]:
    """Cut a telegram into its frames."""
    frames = []
    while telegram:
        is_hdlc = telegram[0] == 0x7E
        size = (int.from_bytes(telegram[1:3], "big") & 0x7FF) + 2 if is_hdlc else 256
        frames.append(telegram[:size])
        telegram = telegram[size:]
    return frames


MANY_FRAMES = ["kaifa-ma309m", "iskra-am550-segmented", "lg-e450-gbt", "lg-e570"]


@pytest.mark.parametrize("first", MANY_FRAMES)
@pytest.mark.parametrize("second", MANY_FRAMES)
def test_frames_of_two_meters_mixed_are_never_one_telegram(first: str, second: str) -> None:
    one, other = pushes(first, seed=1)[0].telegram, pushes(second, seed=2)[0].telegram
    ours, others = frames_of(one), frames_of(other)
    for cut in range(1, len(ours)):
        for start in range(1, len(others)):
            found = decode(*ours[:cut], *others[start:])
            assert telegrams_of(found) == []
            assert found


@pytest.mark.parametrize("model", MANY_FRAMES)
def test_halves_of_two_telegrams_of_one_meter_are_never_one(model: str) -> None:
    for one, next_one in pairwise(pushes(model, 20)):
        for head, tail in ((one, next_one), (next_one, one)):
            heads, tails = frames_of(head.telegram), frames_of(tail.telegram)
            for cut in range(1, len(heads)):
                found = decode(*heads[:cut], *tails[cut:])
                assert telegrams_of(found) == []
                assert found


@pytest.mark.parametrize("model", MANY_FRAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_no_selection_of_frames_gives_another_telegram_than_was_sent(
    model: str, data: st.DataObject
) -> None:
    sent = [telegram for push in pushes(model, 2) for telegram in decode(push.telegram)]
    frames = [frame for push in pushes(model, 2) for frame in frames_of(push.telegram)]
    kept = data.draw(st.lists(st.sampled_from(frames), max_size=10))
    counters = [telegram.invocation_counter for telegram in telegrams_of(sent)]
    for telegram in telegrams_of(decode(*kept)):
        assert telegram.invocation_counter in counters
        assert unplaced([telegram])[0] in unplaced(sent)


def test_lost_doubled_and_reordered_frames_give_no_telegram_but_the_next_whole_one() -> None:
    first, second = MA309M[:256], MA309M[256:]
    (whole,) = decode(ONE_FRAME)
    for frames in ([first], [second], [second, first], [first, first], [second, second]):
        found = decode(*frames, ONE_FRAME)
        assert unplaced(found) == unplaced([whole])
        assert faults_of(found)


def test_the_repeated_saps_of_the_second_segment_are_no_ciphertext() -> None:
    apdu = apdu_of(MA309M)
    assert apdu[10:13].hex() == "820155"
    taken_over = apdu[:245] + b"\x01\x67" + apdu[245:]
    longer = taken_over[:10] + b"\x82\x01\x57" + taken_over[13:]
    disagreeing = decoder().decode_apdu(taken_over, 0.0)
    assert isinstance(disagreeing, Fault)
    assert disagreeing.layer is Layer.CIPHERING
    # Even if the length is made to agree, the rest of the plaintext is noise.
    for found in (decoder().decode_apdu(longer, 0.0), *decode(*mbus_frames(longer))):
        assert isinstance(found, Fault)
        assert found.layer in (Layer.STRUCTURE, Layer.LAYOUT)


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
def test_a_length_that_disagrees_with_the_segments_is_refused(change: int) -> None:
    apdu = bytearray(apdu_of(MA309M))
    apdu[12] += change
    (fault,) = decode(*mbus_frames(bytes(apdu)))
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.CIPHERING
    assert fault.offset == 9 + 10


# --- damage ---------------------------------------------------------------------------------


def flipped(octets: bytes, index: int, bit: int) -> bytes:
    return octets[:index] + bytes([octets[index] ^ 1 << bit]) + octets[index + 1 :]


@pytest.mark.parametrize(
    "telegram",
    [MA309M, ONE_FRAME, VIENNA, SEGMENTED],
    ids=["two frames", "one frame", "hdlc", "hdlc segments"],
)
def test_one_flipped_bit_anywhere_gives_faults_and_no_telegram(telegram: bytes) -> None:
    for index in range(len(telegram)):
        for bit in range(8):
            found = decode(flipped(telegram, index, bit))
            assert telegrams_of(found) == [], (index, bit)
            assert found, (index, bit)


def test_one_flipped_bit_under_a_tag_is_refused_even_if_the_checksum_agrees() -> None:
    apdu = apdu_of(AUTHENTICATED)
    assert len(telegrams_of(decode(*mbus_frames(apdu), auth=True))) == 1
    for index in range(len(apdu)):
        (fault,) = decode(*mbus_frames(flipped(apdu, index, index % 8)), auth=True)
        assert isinstance(fault, Fault), index
        assert fault.layer is Layer.CIPHERING, index


@settings(deadline=None)
@given(seed=st.integers(0, 2**64), count=st.integers(1, 40))
def test_any_damage_under_a_tag_is_refused_even_if_the_checksum_agrees(
    seed: int, count: int
) -> None:
    rng = Random(seed)
    apdu = bytearray(apdu_of(AUTHENTICATED))
    for _ in range(count):
        apdu[rng.randrange(18, len(apdu))] = rng.randrange(256)
    assume(bytes(apdu) != apdu_of(AUTHENTICATED))
    (fault,) = decode(*mbus_frames(bytes(apdu)), auth=True)
    assert isinstance(fault, Fault)


@pytest.mark.parametrize(
    "telegram",
    [MA309M, MA110M, VIENNA, SEGMENTED, BLOCKS],
    ids=["three phases", "one phase", "hdlc", "hdlc segments", "hdlc blocks"],
)
def test_a_dropped_byte_gives_faults_and_no_telegram(telegram: bytes) -> None:
    for index in range(len(telegram)):
        dropped = telegram[:index] + telegram[index + 1 :]
        for following in (b"", telegram):
            around = b"\x00" + telegram + following + b"\x00"
            if b"\x7e\x7e" in (around[index : index + 2], around[index + 1 : index + 3]):
                continue  # what is left is a flag that two frames share
            found = decode(dropped + following)
            assert unplaced(found) == unplaced(decode(following)), index
            assert faults_of(found), index


@pytest.mark.parametrize("telegram", [MA309M, MA110M], ids=["three phases", "one phase"])
def test_a_doubled_byte_within_a_frame_gives_faults_and_no_telegram(telegram: bytes) -> None:
    # Doubling the first or last byte of a frame puts a byte beside it, and the frame is whole.
    beside = {0, 255, 256, len(telegram) - 1}
    for index in range(len(telegram)):
        found = decode(telegram[: index + 1] + telegram[index:])
        expected = unplaced(decode(telegram)) if index in beside else []
        assert unplaced(found) == expected, index
        assert faults_of(found), index


@settings(deadline=None, max_examples=40)
@given(key=st.binary(min_size=16, max_size=16).filter(lambda key: key != KEY))
def test_a_wrong_key_never_gives_a_telegram(key: bytes) -> None:
    for telegram in (MA309M, MA110M, ONE_FRAME, AUTHENTICATED):
        fresh = Decoder(Key(key))
        (fault,) = fresh.feed(telegram, 0.0)
        assert isinstance(fault, Fault)
        assert fault.layer in (Layer.DECRYPTION, Layer.STRUCTURE)


def test_a_wrong_key_is_named_as_the_likely_cause() -> None:
    (fault,) = Decoder(Key(bytes(16))).feed(MA309M, 0.0)
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.DECRYPTION
    assert "wrong key" in fault.reason


def test_a_wrong_authentication_key_never_gives_a_telegram() -> None:
    (fault,) = Decoder(Key(KEY), Key(KEY)).feed(AUTHENTICATED, 0.0)
    assert isinstance(fault, Fault)
    assert fault.reason.startswith("the authentication tag is wrong")


# --- faults point at the byte on the wire ---------------------------------------------------


def wire_index(apdu_index: int) -> int:
    """Where a byte of an APDU stands in a telegram of full frames."""
    return apdu_index + 11 * (apdu_index // 245) + 9


# The last {scaler, unit} of a MA309M: the last six of 336 bytes behind a header of 18.
LAST_UNIT = 18 + 330


@pytest.mark.parametrize("before", [b"", b"\x00" * 7, MA110M, MA309M[:300]])
def test_a_layout_fault_in_the_second_segment_points_at_its_byte(before: bytes) -> None:
    apdu = bytearray(apdu_of(MA309M))
    apdu[-1] ^= 0x20 ^ 0x1E  # in counter mode a flip of the ciphertext flips the plaintext
    fault = faults_of(decode(before + b"".join(mbus_frames(bytes(apdu)))))[-1]
    assert fault.reason == "1-0:4.8.0.255 is in Wh, not in varh"
    assert fault.offset == len(before) + wire_index(LAST_UNIT)


@pytest.mark.parametrize("number", [0, 6, 7, 59])
def test_a_structure_fault_points_at_its_byte_in_either_segment(number: int) -> None:
    # 60 nulls stand at 18 + 2 + 200 in the plaintext; the seventh is the first segment's last byte.
    texts, nulls = [octet_string(bytes(98))] * 2, [b"\x00"] * 60
    plaintext = bytearray(plaintext_of(*texts, *nulls))
    place = len(plaintext) - 60 + number
    plaintext[place] = 0xFF
    frames = mbus_frames(sealed(bytes(plaintext)))
    assert len(frames) == 2
    (fault,) = decode(*frames)
    assert isinstance(fault, Fault)
    assert fault.reason == "0xff is no A-XDR tag of a push"
    assert (fault.layer, fault.offset) == (Layer.STRUCTURE, wire_index(18 + place))


@pytest.mark.parametrize(
    ("index", "layer"),
    [(0, Layer.CIPHERING), (1, Layer.CIPHERING), (13, Layer.CIPHERING), (18, Layer.DECRYPTION)],
)
def test_a_ciphering_fault_points_at_its_byte(index: int, layer: Layer) -> None:
    damaged = flipped(apdu_of(MA309M), index, 7)
    stream = b"\x00" * 5 + b"".join(mbus_frames(damaged))
    fault = faults_of(decode(stream))[-1]
    assert (fault.layer, fault.offset) == (layer, 5 + wire_index(index))


def test_a_wrong_tag_points_at_the_tag() -> None:
    apdu = flipped(apdu_of(AUTHENTICATED), -1 % len(apdu_of(AUTHENTICATED)), 0)
    (fault,) = decode(*mbus_frames(apdu), auth=True)
    assert isinstance(fault, Fault)
    assert fault.offset == wire_index(len(apdu) - 12)


def test_a_segment_fault_points_at_the_ci_byte() -> None:
    (fault,) = decode(MA309M[256:])
    assert isinstance(fault, Fault)
    assert (fault.layer, fault.offset) == (Layer.SEGMENT, 6)


# --- properties -----------------------------------------------------------------------------

POOL = [
    MA309M,
    MA110M,
    AUTHENTICATED,
    ONE_FRAME,
    b"".join(mbus_frames(apdu_of(MA309M), frame_apdu_bytes=252)),
    b"".join(mbus_frames(apdu_of(MA110M), frame_apdu_bytes=30)),
    VIENNA,
    SEGMENTED,
    BLOCKS,
]

noise = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.integers(0, 255).map(lambda n: bytes([0x68, n, n, 0x68])),
        st.sampled_from([b"\x68", b"\x16", b"\x68\xfa\xfa", MA309M[:256], MA309M[256:]]),
        st.sampled_from([b"\x7e", b"\x7e\xa0", VIENNA[:20], VIENNA[:-1], *frames_of(SEGMENTED)]),
        st.sampled_from([*frames_of(BLOCKS), BLOCKS[:140], BLOCKS[140:]]),
    ),
    max_size=5,
).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A telegram that lost, doubled or changed some of its bytes."""
    octets = POOL[draw(st.integers(0, len(POOL) - 1))]
    start = draw(st.integers(0, len(octets) - 1))
    end = min(len(octets), start + draw(st.integers(1, 12)))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return octets[:start] + octets[end:]
    if kind == 1:
        return octets[:end] + octets[start:]
    if kind == 2:
        return octets[start:]
    return flipped(octets, start, draw(st.integers(0, 7)))


POOLED = st.sampled_from(POOL)
streams = st.lists(st.one_of(POOLED, damaged(), noise), max_size=6).map(b"".join)


@settings(deadline=None, max_examples=80)
@given(stream=streams, cuts=st.lists(st.integers(0, 2500), max_size=12), auth=st.booleans())
def test_chunks_make_no_difference(stream: bytes, cuts: list[int], auth: bool) -> None:
    expected = decode(stream, auth=auth)
    edges = [0, *sorted(cuts), len(stream)]
    assert decode(*(stream[start:end] for start, end in pairwise(edges)), auth=auth) == expected
    assert decode(*(bytes([byte]) for byte in stream), auth=auth) == expected


@settings(deadline=None, max_examples=80)
@given(stream=streams, data=st.data())
def test_chunks_make_no_difference_to_bytes_with_parity_errors(
    stream: bytes, data: st.DataObject
) -> None:
    places = st.lists(st.integers(0, max(0, len(stream) - 1)), max_size=6, unique=True)
    marks = sorted(data.draw(places))
    edges = [0, *sorted(data.draw(places)), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert decode(*chunks, damaged=marks) == decode(stream, damaged=marks)


@settings(deadline=None, max_examples=80)
@given(stream=streams)
def test_every_telegram_of_a_stream_was_sent_and_every_fault_lies_in_it(stream: bytes) -> None:
    sent = [telegram for octets in POOL for telegram in unplaced(decode(octets))]
    found = decode(stream)
    assert all(telegram in sent for telegram in unplaced(found))
    assert all(0 <= fault.offset <= len(stream) for fault in faults_of(found))


def reaches_over(garbage: bytes, following: bytes) -> bool:
    """Tell whether a sound frame starts in the garbage and ends behind it."""
    stream = garbage + following
    for start in range(len(garbage)):
        head = stream[start : start + 4]
        if len(head) == 4 and head[0] == head[3] == 0x68 and head[1] == head[2]:
            end = start + 4 + (head[1] if head[1] >= 5 else head[1] + 256)
            sound = stream[end : end + 2] == bytes([sum(stream[start + 4 : end]) % 256, 0x16])
            if sound and end + 2 > len(garbage):
                return True
    return False


@settings(deadline=None, max_examples=150)
@given(garbage=st.one_of(noise, streams, st.binary(max_size=600)), telegram=POOLED)
def test_after_any_garbage_the_next_whole_telegram_is_found(
    garbage: bytes, telegram: bytes
) -> None:
    # Noise that happens to be a sound frame over the telegram's start cannot be told from one.
    assume(not reaches_over(garbage, telegram))
    (whole,) = decode(telegram)
    assert unplaced(decode(garbage + telegram))[-1:] == unplaced([whole])


@settings(deadline=None, max_examples=80)
@given(garbage=noise, telegrams=st.lists(POOLED, min_size=1, max_size=4))
def test_no_whole_telegram_between_garbage_is_lost(garbage: bytes, telegrams: list[bytes]) -> None:
    for number in range(len(telegrams)):
        assume(not reaches_over(garbage, garbage.join([*telegrams[number:], b""])))
    found = iter(unplaced(decode(garbage.join([b"", *telegrams, b""]))))
    # The garbage may hold telegrams of its own; the others come in their order.
    assert all(unplaced(decode(telegram))[0] in found for telegram in telegrams)


@settings(deadline=None)
@given(chunks=st.lists(st.tuples(st.binary(max_size=80), st.floats(-10, 10)), max_size=20))
def test_any_bytes_at_any_times_give_faults_and_never_an_exception(
    chunks: list[tuple[bytes, float]],
) -> None:
    fresh = decoder()
    for chunk, now in chunks:
        assert telegrams_of(fresh.feed(chunk, now)) == []
    assert telegrams_of(fresh.finish()) == []


@settings(deadline=None)
@given(apdu=st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(b"\xdb\x08".__add__)))
def test_any_bytes_as_an_apdu_give_a_fault_within_it(apdu: bytes) -> None:
    for found in (decoder().decode_apdu(apdu, 0.0), decoder(auth=True).decode_apdu(apdu, 0.0)):
        assert isinstance(found, Fault)
        assert 0 <= found.offset <= len(apdu)


@settings(deadline=None, max_examples=80)
@given(apdu=st.binary(max_size=700))
def test_any_bytes_in_sound_frames_give_one_fault_that_lies_in_them(apdu: bytes) -> None:
    frames = mbus_frames(apdu)
    (fault,) = decode(*frames)
    assert isinstance(fault, Fault)
    assert 0 <= fault.offset <= sum(map(len, frames))


@st.composite
def plaintexts(draw: st.DrawFn) -> bytes:
    """A good plaintext in which some bytes were replaced, removed or put in."""
    octets = bytearray(NESTED if draw(st.booleans()) else FLAT)
    edits = st.tuples(st.integers(0, len(octets)), st.integers(0, 3), st.binary(max_size=3))
    for start, removed, put_in in draw(st.lists(edits, max_size=4)):
        octets[start : start + removed] = put_in
    return bytes(octets)


@settings(deadline=None, max_examples=300)
@given(plaintext=st.one_of(plaintexts(), st.binary(min_size=1, max_size=80)))
@example(plaintext=b"\x0f")
def test_any_plaintext_under_the_right_key_is_a_telegram_or_a_fault(plaintext: bytes) -> None:
    apdu = sealed(plaintext)
    found = decoder().decode_apdu(apdu, 0.0)
    if isinstance(found, Fault):
        assert found.layer in (Layer.DECRYPTION, Layer.STRUCTURE, Layer.LAYOUT)
        assert 0 <= found.offset <= len(apdu)
    else:
        assert found.readings
        assert found.security is Security.ENCRYPTED


def bytes_held(thing: object) -> int:
    """The bytes of all that can be reached from `thing`, but for code."""
    seen, todo, size = {id(None)}, [thing], 0
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen.add(id(one))
            size += sys.getsizeof(one)
            todo += gc.get_referents(one)
    return size


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "pattern",
    [
        b"\x00", b"\x68", b"\x7e", b"\x68\x00\x00\x68", MA309M, MA309M[:256], MA309M[256:],
        MA309M[:300], mbus_frame(b"\x00", sequence=0, final=False), VIENNA, SEGMENTED, BLOCKS,
        VIENNA[:100], SEGMENTED[:60], frames_of(BLOCKS)[0], frames_of(BLOCKS)[1],
        hdlc_frame(b"\xe6\xe7\x00\xdb", b"\xcf", b"\x03", final=False),
        hdlc_frame(b"\xdb", b"\xcf", b"\x03", final=False),
    ],
    ids=lambda pattern: f"{pattern[:6].hex()} x{len(pattern)}",
)  # fmt: skip
def test_memory_is_bounded_whatever_comes(pattern: bytes, size: int) -> None:
    stream = pattern * (8_000 // len(pattern))
    fresh = decoder()
    for number, start in enumerate(range(0, len(stream), size)):
        chunk = stream[start : start + size]
        fresh.feed(chunk, start / 960, range(0, len(chunk), 7))
        fresh.feed(chunk, start / 960)
        if number % 97 == 0 or size > 1:
            # One frame of each byte with its time, one APDU, and what was learned.
            assert bytes_held(fresh) < 400_000


def test_the_same_telegram_sent_twice_is_two_telegrams() -> None:
    fresh = decoder()
    for _ in range(4):
        assert unplaced(fresh.feed(MA309M, 1.0)) == unplaced(decoder().feed(MA309M, 1.0))


# --- parity ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_telegram_with_a_parity_error_is_a_fault_and_the_next_is_none(model: str) -> None:
    said = pushes(model, 4)
    size = len(said[0].telegram)
    for place in range(0, size, 7):
        fresh = decoder(auth=has_tag(model))
        for push in said[:2]:
            check(fresh.feed(push.telegram, 0.0)[0], push)
        # Also where the decoder already knows what is coming.
        found = fresh.feed(said[2].telegram, 0.0, [place])
        assert telegrams_of(found) == []
        (fault,) = (one for one in faults_of(found) if "came with a parity error" in one.reason)
        assert fault.layer is Layer.FRAME
        assert fault.offset == 2 * size + place
        (telegram,) = telegrams_of(fresh.feed(said[3].telegram, 0.0))
        check(telegram, said[3])


def test_parity_errors_between_telegrams_are_counted() -> None:
    stream = b"\x55\x55\x55" + MA309M + b"\x55"
    first, telegram, last = decode(stream, damaged=[0, 2, len(stream) - 1])
    assert isinstance(telegram, Telegram)
    assert first == Fault(Layer.FRAME, "3 bytes outside all frames, 2 with parity errors", 0)
    assert last == Fault(
        Layer.FRAME, "1 byte outside all frames, 1 with parity errors", len(stream) - 1
    )


# --- whose fault it is ----------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_fault_behind_the_ciphering_header_names_the_meter(model: str) -> None:
    (push,) = pushes(model)
    (fault,) = Decoder(Key(bytes(16))).feed(push.telegram, 0.0)
    assert isinstance(fault, Fault)
    assert fault.meter == push.system_title
    (fault,) = Decoder(Key(bytes(16)), Key(KEY)).feed(push.telegram, 0.0)
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.CIPHERING
    assert fault.meter == push.system_title


def test_a_layout_fault_names_the_meter() -> None:
    fault = decoder().decode_apdu(sealed(plaintext_of(u32(5))), 0.0)
    assert isinstance(fault, Fault)
    assert (fault.layer, fault.meter) == (Layer.LAYOUT, TITLE)


def test_a_fault_of_a_frame_or_segment_is_nobodys_yet() -> None:
    for octets in (MA309M[256:], MA309M[:100], b"\x55", frames_of(BLOCKS)[2]):
        for fault in faults_of(decode(octets)):
            assert fault.meter is None


def test_who_it_is_makes_no_difference_to_which_fault_it_is() -> None:
    assert Fault(Layer.LAYOUT, "x", 1, TITLE) == Fault(Layer.LAYOUT, "x", 1)
    assert Fault(Layer.LAYOUT, "x", 1, TITLE).at(5) == Fault(Layer.LAYOUT, "x", 5)
    assert Fault(Layer.LAYOUT, "x", 1, TITLE).at(5).meter == TITLE
