"""A decoder that has learned says exactly what one says that has not, whatever comes.

The reference walks every telegram the general way: the frames and segments of the stream, and
each APDU before a fresh decoder.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter
from gateway.simulator.frames import (
    Unit,
    data_notification,
    date_time,
    mbus_frames,
    obis,
    octet_string,
    scaler_unit,
    seal,
    structure,
    transfer_block,
    u16,
    u32,
)
from gateway.telegram import Decoder, Fault, Key, Telegram
from gateway.telegram.frames import FrameReader
from gateway.telegram.key_slips import slip_in
from gateway.telegram.learned import Template
from gateway.telegram.segments import Apdu, Assembler

KEY = bytes(range(16))
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
MBUS_MODELS = [name for name in MODELS if name.startswith(("kaifa", "honey", "sagem"))]

Said = tuple[object, ...]


def decoder(*, auth: bool = False) -> Decoder:
    return Decoder(Key(KEY), Key(SIMULATED_AUTH_KEY) if auth else None)


def said(item: Telegram | Fault, shift: int = 0) -> Said:
    """All of it, types and all, as if the stream had begun `shift` bytes later."""
    if isinstance(item, Fault):
        # A slip of the keys is told as long as no telegram was good; that is no wording.
        slip = slip_in(item.reason)
        reason = item.reason.removesuffix(f"; {slip}") if slip else item.reason
        return item.layer, reason, item.offset - shift, item.meter
    readings = [
        (code, reading, type(reading.value), getattr(reading.value, "tzinfo", None))
        for code, reading in item.readings.items()
    ]
    offset_from_utc = item.clock.utcoffset() if item.clock else None
    return (
        *item._replace(readings={}, offset=item.offset - shift),
        offset_from_utc,
        readings,
        len(item.readings),
    )


def general(chunks: Iterable[bytes], *, auth: bool = False) -> list[Said]:
    """What a decoder without memory says of a stream."""
    reader, assembler, found = FrameReader(), Assembler(), []

    def add(items: Iterable[object]) -> None:
        for item in items:
            if isinstance(item, Fault):
                found.append(said(item))
            elif isinstance(item, Apdu):
                decoded = decoder(auth=auth).decode_apdu(item.content, item.received)
                if isinstance(decoded, Fault):
                    decoded = Fault(
                        decoded.layer,
                        decoded.reason,
                        item.wire_offset(decoded.offset),
                        decoded.meter,
                    )
                else:
                    decoded = decoded._replace(offset=item.wire_offset(decoded.offset))
                found.append(said(decoded))
            else:
                add(assembler.add(item))  # type: ignore[arg-type]

    for chunk in chunks:
        add(reader.feed(chunk, 0.0))
    add(reader.finish())
    add(assembler.finish())
    return found


def remembered(chunks: Iterable[bytes], *, auth: bool = False) -> list[Said]:
    one = decoder(auth=auth)
    found = [item for chunk in chunks for item in one.feed(chunk, 0.0)] + one.finish()
    return [said(item) for item in found]


@cache
def telegrams(model: str, seed: int = 7) -> tuple[bytes, ...]:
    meter = SimulatedMeter(model, KEY, seed=seed, start=START)
    return tuple(meter.push().telegram for _ in range(4))


@cache
def apdu_of(model: str, seed: int = 7, number: int = 0) -> bytes:
    reader, assembler = FrameReader(), Assembler()
    found = []
    for frame in reader.feed(telegrams(model, seed)[number], 0.0):
        assert not isinstance(frame, Fault)
        found += assembler.add(frame)
    (apdu,) = found
    assert isinstance(apdu, Apdu)
    return apdu.content


def framed(model: str, apdu: bytes) -> bytes:
    return b"".join(MODELS[model].wire.frames(apdu))


def flipped(octets: bytes, place: int, bits: int) -> bytes:
    return octets[:place] + bytes([octets[place] ^ bits]) + octets[place + 1 :]


# --- templates ------------------------------------------------------------------------------


def test_a_template_fits_what_differs_only_where_it_may() -> None:
    template = Template(b"ABCDEFGH", [(1, 3), (7, 8)])
    assert template.fits(b"ABCDEFGH")
    assert template.fits(b"A\x00\xffDEFG\x01")
    assert not template.fits(b"ABCdEFGH")
    assert not template.fits(b"\x00BCDEFGH")
    assert not template.fits(b"ABCDEFG")
    assert not template.fits(b"\x00ABCDEFGH")


@given(data=st.data(), octets=st.binary(min_size=1, max_size=40))
def test_every_byte_of_a_template_either_changes_or_is_constant(
    data: st.DataObject, octets: bytes
) -> None:
    places = st.integers(0, len(octets))
    changing = data.draw(st.lists(st.tuples(places, places).map(sorted), max_size=4))
    may_change = {place for start, end in changing for place in range(start, end)}
    template = Template(octets, [(start, end) for start, end in changing])
    for place in range(len(octets)):
        for bits in (0x01, 0x80, 0xFF):
            assert template.fits(flipped(octets, place, bits)) is (place in may_change)


# --- one telegram after its like ------------------------------------------------------------


@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_telegrams_of_one_meter_say_the_same_to_both(model: str, auth: bool) -> None:
    chunks = telegrams(model)
    assert remembered(chunks, auth=auth) == general(chunks, auth=auth)


@pytest.mark.parametrize("model", MODELS)
def test_a_flipped_bit_anywhere_in_an_apdu_says_the_same_to_both(model: str) -> None:
    # Without a tag a flip of the ciphertext is a flip of the plaintext.
    apdu, one = apdu_of(model), decoder()
    for place in range(len(apdu)):
        for bit in range(place % 2, 8, 2):
            damaged = flipped(apdu, place, 1 << bit)
            one.decode_apdu(apdu, 0.0)
            fresh = decoder().decode_apdu(damaged, 0.0)
            assert said(one.decode_apdu(damaged, 0.0)) == said(fresh), (place, bit)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25)
@given(data=st.data())
def test_any_damage_to_an_apdu_says_the_same_to_both(model: str, data: st.DataObject) -> None:
    one = decoder()
    for number in range(2):
        one.decode_apdu(apdu_of(model, 7, number), 0.0)
    for _ in range(4):
        octets = bytearray(apdu_of(model, data.draw(st.sampled_from([7, 8])), 2))
        for _ in range(data.draw(st.integers(1, 6))):
            octets[data.draw(st.integers(16, len(octets) - 1))] ^= data.draw(st.integers(0, 255))
        fresh = decoder().decode_apdu(bytes(octets), 0.0)
        assert said(one.decode_apdu(bytes(octets), 0.0)) == said(fresh)


@pytest.mark.parametrize("model", MBUS_MODELS)
def test_each_damaged_byte_on_the_wire_says_the_same_to_both(model: str) -> None:
    octets, one, before = telegrams(model)[0], decoder(), 0
    for _ in range(3):
        one.feed(octets, 0.0)
        before += len(octets)
    for place in range(len(octets)):
        for bits in (0x01, 0x90):
            damaged = flipped(octets, place, bits)
            found = [*one.feed(damaged, 0.0), *one.finish()]
            assert [said(item, before) for item in found] == general([damaged]), (place, bits)
            before += len(damaged)
            # As learned as before.
            for _ in range(2):
                one.feed(octets, 0.0)
                before += len(octets)


@pytest.mark.parametrize("model", MODELS)
def test_an_apdu_of_damage_in_sound_frames_says_the_same_to_both(model: str) -> None:
    chunks = [*telegrams(model)[:3]]
    apdu = apdu_of(model)
    for place in range(0, len(apdu), 5):
        chunks += [framed(model, flipped(apdu, place, 1 << place % 8)), telegrams(model)[3]]
    assert remembered(chunks) == general(chunks)


def test_a_frame_behind_a_telegram_is_never_swallowed() -> None:
    whole = telegrams("kaifa-ma309m")[0]
    head, tail = whole[:256], whole[256:]
    chunks = [whole, whole, whole + head, tail, whole + head, tail, whole + head, whole]
    assert remembered(chunks) == general(chunks)
    assert len([one for one in remembered(chunks) if len(one) > 4]) == 8


def test_two_meters_on_one_line_are_never_taken_for_each_other() -> None:
    for first, second in (
        ("kaifa-ma309m", "honeywell"),
        ("lg-e450-wienernetze", "iskra-am550-wienernetze"),
        ("kaifa-ma309-netznoe", "sagemcom-t210d-2024"),
    ):
        ours, others = telegrams(first), telegrams(second)
        for chunks in (
            [*ours, *others],
            [chunk for pair in zip(ours, others, strict=True) for chunk in pair],
            [ours[0], others[0], others[1], ours[1], ours[2], others[2]],
        ):
            assert remembered(chunks) == general(chunks)


def test_two_meters_of_one_model_are_told_apart() -> None:
    ours, others = telegrams("kaifa-ma309m"), telegrams("kaifa-ma309m", 8)
    chunks = [*ours, *others, *ours]
    assert remembered(chunks) == general(chunks)


# --- what a meter may say otherwise, one time --------------------------------------------------

CLOCK = date_time(START, summer=False)
UNSET = b"\xff" * 8 + b"\x00\x80\x00\x00"
WATT, VOLT = scaler_unit(0, Unit.W), scaler_unit(-1, Unit.V)


def plaintext(
    *,
    header: bytes = CLOCK,
    clock: bytes = CLOCK,
    watts: bytes = u32(515),
    number: bytes = b"1782",
    scaler: bytes = VOLT,
    date: bytes = b"\x07\xe5\x03\x19\x04",
) -> bytes:
    return data_notification(
        1,
        header,
        structure(
            structure(obis("0-0:1.0.0.255"), octet_string(clock)),
            structure(obis("1-0:0.9.2.255"), octet_string(date)),
            structure(obis("0-0:96.1.0.255"), octet_string(number)),
            structure(obis("1-0:1.7.0.255"), watts, WATT),
            structure(obis("1-0:32.7.0.255"), u16(2300), scaler),
        ),
    )


def sealed(octets: bytes) -> bytes:
    return seal(octets, key=KEY, system_title=b"KFM\x10\x20\0\0\1", invocation_counter=1)


WORDINGS = [
    plaintext(),
    plaintext(watts=u32(0xFFFFFFFF)),
    plaintext(watts=b"\x05\xff\xff\xff\xff"),
    plaintext(watts=b"\x05\x00\x00\x00\x01"),
    plaintext(watts=b"\x17\x3f\x80\x00\x00"),
    plaintext(watts=b"\x17\x7f\x80\x00\x00"),
    plaintext(watts=b"\x17\xbf\x80\x00\x00"),
    plaintext(watts=b"\x00"),
    plaintext(header=UNSET),
    plaintext(clock=UNSET),
    plaintext(header=UNSET, clock=UNSET),
    plaintext(header=date_time(START.replace(hour=11), summer=False)),
    plaintext(clock=CLOCK[:-1] + b"\x80"),
    plaintext(clock=b"\x00" * 12),
    plaintext(header=b"\x07\xe8\x0d" + CLOCK[3:]),
    plaintext(number=b"1783"),
    plaintext(number=b"178\x00"),
    plaintext(number=b""),
    plaintext(scaler=scaler_unit(0, Unit.V)),
    plaintext(date=b"\x07\xe5\x03\x1a\x05"),
    plaintext(date=b"\x07\xe5\x0d\x1a\x05"),
    plaintext()[:5] + b"\x00" + plaintext()[18:],
    plaintext()[:1] + b"\xff\xff\xff\xff" + plaintext()[5:],
    data_notification(1, CLOCK, structure(structure(obis("1-0:1.7.0.255"), u32(5), WATT))),
]


@given(order=st.lists(st.sampled_from(WORDINGS), min_size=2, max_size=8))
def test_whatever_a_meter_says_after_what_it_says_the_same_to_both(order: list[bytes]) -> None:
    chunks = [b"".join(mbus_frames(sealed(octets))) for octets in order for _ in range(2)]
    assert remembered(chunks) == general(chunks)


def test_each_wording_after_each_other_says_the_same_to_both() -> None:
    frames = [b"".join(mbus_frames(sealed(octets))) for octets in WORDINGS]
    expected = [general([one]) for one in frames]
    for first in frames:
        for number, second in enumerate(frames):
            one = decoder()
            for _ in range(3):
                one.feed(first, 0.0)
            found = [said(item, 3 * len(first)) for item in one.feed(second, 0.0)]
            assert found == expected[number]


def test_blocks_inside_mbus_frames_say_the_same_to_both() -> None:
    apdu = sealed(plaintext())
    blocks = [
        transfer_block(apdu[start : start + 50], number=number, final=start + 50 >= len(apdu))
        for number, start in enumerate(range(0, len(apdu), 50), 1)
    ]
    chunk = b"".join(
        frame for octets in blocks for frame in mbus_frames(octets, frame_apdu_bytes=30)
    )
    for place in (40, 100, 190):
        chunks = [chunk, chunk, chunk, flipped(chunk, place, 1), chunk]
        assert remembered(chunks) == general(chunks)


# --- streams --------------------------------------------------------------------------------

POOL_MODELS = [
    "kaifa-ma309m", "kaifa-ma110m", "sagemcom-t210d-2020", "iskra-am550-segmented",
    "lg-e450-burgenland", "lg-e450-gbt", "siemens-im350-kaernten",
]  # fmt: skip


@st.composite
def chunked_streams(draw: st.DrawFn) -> list[bytes]:
    """Telegrams of one or two meters, some damaged, cut between them and anywhere."""
    models = draw(st.lists(st.sampled_from(POOL_MODELS), min_size=1, max_size=2))
    chunks: list[bytes] = []
    for _ in range(draw(st.integers(2, 9))):
        model = draw(st.sampled_from(models))
        number = draw(st.integers(0, 3))
        octets = telegrams(model)[number]
        kind = draw(st.integers(0, 9))
        if kind == 0:
            octets = flipped(
                octets, draw(st.integers(0, len(octets) - 1)), draw(st.integers(1, 255))
            )
        elif kind == 1:
            apdu = apdu_of(model, 7, number)
            place = draw(st.integers(0, len(apdu) - 1))
            octets = framed(model, flipped(apdu, place, draw(st.integers(1, 255))))
        elif kind == 2:
            octets = octets[draw(st.integers(0, len(octets) - 1)) :]
        elif kind == 3:
            octets = octets[: draw(st.integers(1, len(octets)))]
        elif kind == 4:
            octets = octets + telegrams(model)[3 - number][: draw(st.integers(1, 300))]
        chunks.append(octets)
    if draw(st.booleans()):
        stream = b"".join(chunks)
        places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6)))
        chunks = [stream[start:end] for start, end in pairwise([0, *places, len(stream)])]
    return chunks


@settings(max_examples=300)
@given(chunks=chunked_streams(), auth=st.booleans())
def test_any_stream_cut_anywhere_says_the_same_to_both(chunks: Sequence[bytes], auth: bool) -> None:
    assert remembered(chunks, auth=auth) == general(chunks, auth=auth)
