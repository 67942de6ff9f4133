"""Anonymous telegrams: the same readings in the same frames, and nothing that names the meter."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.anonymous import Anonymiser
from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, Push, SimulatedMeter
from gateway.simulator.frames import (
    Unit,
    data_notification,
    mbus_frames,
    octet_string,
    scaler_unit,
    seal,
    structure,
    u16,
    u32,
)
from gateway.telegram import Decoder, Fault, Key, Layer, Layout, Obis, Telegram, ciphering
from gateway.telegram.ciphering import Opener
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.layouts import LAYOUTS
from gateway.telegram.segments import Apdu, Assembler

KEY = Key(bytes.fromhex("0F1E2D3C4B5A69788796A5B4C3D2E1F0"))
NEW_KEY, NEW_AUTH_KEY = Key(bytes(range(16))), Key(bytes(range(0xB0, 0xC0)))
START = datetime(2026, 2, 27, 22, 59, 58, tzinfo=UTC)
NAMES = ("0-0:96.1.0.255", "0-0:42.0.0.255")
DATES = ("0-0:1.0.0.255", "1-0:0.9.2.255")


def meter(model: str, seed: int = 3) -> SimulatedMeter:
    return SimulatedMeter(model, KEY.octets, seed=seed, start=START)


def anonymiser(days: int = 0, auth_key: Key | None = None) -> Anonymiser:
    return Anonymiser((KEY, auth_key), (NEW_KEY, NEW_AUTH_KEY), days=days)


def anonymous(stream: bytes, days: int = 0, size: int | None = None) -> bytes:
    """The stream of nobody; `size` cuts it into chunks."""
    one = anonymiser(days)
    step = size or len(stream)
    frames = [
        frame
        for start in range(0, len(stream), step)
        for frame in one.feed(stream[start : start + step], start / 1e6)
    ]
    return b"".join(frame.octets for frame in [*frames, *one.finish()])


def decoded(stream: bytes, key: Key = NEW_KEY, auth_key: Key | None = None) -> list[Telegram]:
    decoder = Decoder(key, auth_key)
    found = decoder.feed(stream, 0.0) + decoder.finish()
    assert all(isinstance(item, Telegram) for item in found), found
    return [item for item in found if isinstance(item, Telegram)]


def plaintexts(stream: bytes) -> bytes:
    """All that is readable in a stream to one who has the key."""
    assembler, opener, found = Assembler(), Opener(NEW_KEY, None), b""
    for frame in FrameReader().feed(stream, 0.0):
        assert isinstance(frame, Frame)
        for apdu in assembler.add(frame):
            assert isinstance(apdu, Apdu)
            sealed = ciphering.parse(apdu.content)
            assert not isinstance(sealed, Fault)
            opened = opener.open(sealed)
            assert not isinstance(opened, Fault)
            found += opened[0]
    return found


def pushed(one: SimulatedMeter, count: int = 3) -> tuple[bytes, list[Push]]:
    pushes = [one.push() for _ in range(count)]
    return b"".join(push.telegram for push in pushes), pushes


@pytest.mark.parametrize("model", MODELS)
def test_the_readings_of_every_meter_stay_but_for_its_names(model: str) -> None:
    stream, pushes = pushed(meter(model))
    found = decoded(anonymous(stream))
    assert len(found) == len(pushes)
    for push, telegram in zip(pushes, found, strict=True):
        shown = {str(obis): reading.value for obis, reading in telegram.readings.items()}
        assert list(shown) == list(push.readings)
        for code, (value, unit) in push.readings.items():
            if code in NAMES:
                assert shown[code] != value
                assert len(shown[code]) == len(value)
            else:
                assert (shown[code], telegram.readings[Obis.parse(code)].unit) == (value, unit)
        assert telegram.invocation_counter == push.invocation_counter
        assert telegram.clock == push.clock
        assert telegram.meter[:3] == push.system_title[:3]
        assert telegram.meter[-4:] == bytes((push.system_title[-4] & 0xF0, 0, 0, 1))


@pytest.mark.parametrize("model", MODELS)
def test_nothing_of_the_meters_identity_is_left(model: str) -> None:
    one = meter(model)
    stream, _ = pushed(one)
    out = anonymous(stream)
    shown = out + plaintexts(out)
    serial = one.meter_number[-8:]
    assert one.system_title in stream
    assert one.system_title[-3:] not in out
    for name in (one.meter_number, one.device_name, serial, str(int(serial))):
        assert not name or name.encode() not in shown
    assert KEY.octets not in shown


@pytest.mark.parametrize("model", MODELS)
def test_frames_segments_and_blocks_stay_as_the_meter_makes_them(model: str) -> None:
    stream, _ = pushed(meter(model))
    out = anonymous(stream)
    before, after = (FrameReader().feed(each, 0.0) for each in (stream, out))
    assert [len(frame.octets) for frame in after] == [len(frame.octets) for frame in before]
    assert [frame.octets[:9] for frame in after] == [frame.octets[:9] for frame in before]


@pytest.mark.parametrize("model", ["kaifa-ma309m", "lg-e450-gbt", "iskra-am550-segmented"])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_however_the_stream_is_cut_it_becomes_the_same(model: str, size: int) -> None:
    stream, _ = pushed(meter(model))
    assert anonymous(stream, size=size) == anonymous(stream)


@pytest.mark.parametrize("model", ["lg-e450-burgenland", "lg-e450-gbt", "lg-e570"])
def test_tags_are_right_with_the_new_keys(model: str) -> None:
    stream, _ = pushed(meter(model))
    found = decoded(anonymous(stream), NEW_KEY, NEW_AUTH_KEY)
    assert {telegram.security for telegram in found} == {"authenticated"}
    one = anonymiser(auth_key=Key(SIMULATED_AUTH_KEY))
    assert one.feed(stream, 0.0)
    wrong = anonymiser(auth_key=NEW_KEY)
    assert wrong.feed(stream, 0.0) == []
    assert {fault.layer for fault in wrong.left_out} == {Layer.CIPHERING}


@pytest.mark.parametrize("model", ["kaifa-ma309m", "siemens-im350-wels", "lg-e570", "honeywell"])
@pytest.mark.parametrize("days", [-400, 3])
def test_all_dates_are_moved_by_whole_days(model: str, days: int) -> None:
    stream, pushes = pushed(meter(model))
    out = anonymous(stream, days)
    for push, telegram in zip(pushes, decoded(out), strict=True):
        assert telegram.clock == push.clock + timedelta(days=days)
        shown = {str(obis): reading.value for obis, reading in telegram.readings.items()}
        if "0-0:1.0.0.255" in shown:
            assert shown["0-0:1.0.0.255"] == telegram.clock
        if "1-0:0.9.2.255" in shown:
            assert shown["1-0:0.9.2.255"] == telegram.clock.date().isoformat()
        assert [
            value for code, (value, _) in push.readings.items() if code not in (*DATES, *NAMES)
        ] == [value for code, value in shown.items() if code not in (*DATES, *NAMES)]
    moment = decoded(out)[0].clock
    assert moment
    written = moment.year.to_bytes(2, "big") + bytes((moment.month, moment.day))
    assert written + bytes([moment.isoweekday()]) in plaintexts(out)


def test_a_damaged_telegram_is_left_out_and_the_next_is_found() -> None:
    one = meter("kaifa-ma309m")
    pushes = [one.push() for _ in range(3)]
    damaged = bytearray(pushes[1].telegram)
    damaged[100] ^= 0x04
    stream = b"noise" + pushes[0].telegram + bytes(damaged) + pushes[2].telegram
    hider = anonymiser()
    frames = hider.feed(stream, 0.0) + hider.finish()
    found = decoded(b"".join(frame.octets for frame in frames))
    counters = [telegram.invocation_counter for telegram in found]
    assert counters == [push.invocation_counter for push in (pushes[0], pushes[2])]
    assert hider.telegrams == 2
    assert any("checksum" in fault.reason for fault in hider.left_out)


@given(st.lists(st.tuples(st.integers(0, 375), st.integers(1, 255)), max_size=4))
def test_whatever_the_line_does_only_whole_telegrams_of_nobody_come_out(
    flips: list[tuple[int, int]],
) -> None:
    one = meter("kaifa-ma309m")
    damaged = bytearray(one.push().telegram)
    for place, mask in flips:
        damaged[place] ^= mask
    out = anonymous(bytes(damaged) + one.push().telegram)
    assert decoded(out)
    assert one.system_title[-3:] not in out


@given(st.data())
def test_whatever_a_meter_says_only_whole_telegrams_of_nobody_come_out(data: st.DataObject) -> None:
    title = b"KFM\x10\x20\x12\x34\x56"
    plaintext = bytearray(plaintexts(anonymous(meter("kaifa-ma309m").push().telegram)))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(plaintext) - 1))
        plaintext[place] = data.draw(st.integers(0, 255))
    apdu = seal(bytes(plaintext), key=KEY.octets, system_title=title, invocation_counter=7)
    hider = anonymiser(days=data.draw(st.integers(-40_000, 40_000)))
    frames = hider.feed(b"".join(mbus_frames(apdu)), 0.0)
    assert hider.telegrams + len(hider.left_out) == 1
    assert len(decoded(b"".join(frame.octets for frame in frames))) == hider.telegrams


def test_bytes_that_came_damaged_are_left_out() -> None:
    hider = anonymiser()
    push = meter("kaifa-ma309m").push()
    assert hider.feed(push.telegram, 0.0, (50,)) == []
    assert "parity error" in hider.left_out[0].reason


def test_what_the_key_does_not_open_is_left_out() -> None:
    other = SimulatedMeter("kaifa-ma309m", bytes(16), seed=1, start=START)
    hider = anonymiser()
    assert hider.feed(other.push().telegram, 0.0) == []
    assert [fault.layer for fault in hider.left_out] == [Layer.DECRYPTION]
    assert (hider.telegrams, hider.meters) == (0, 0)


def test_several_meters_are_numbered_in_their_order() -> None:
    one, other = meter("kaifa-ma309m", seed=1), meter("kaifa-ma309m", seed=2)
    stream = b"".join(each.push().telegram for each in (one, other, one))
    found = decoded(anonymous(stream))
    assert [telegram.meter[-1] for telegram in found] == [1, 2, 1]


def test_what_nobody_has_named_is_blank() -> None:
    layout = Layout.parse("odd", "XYZ", "clock\n1-0:1.8.0 u32 Wh\n- octets\n- u32\n- u16\nnumber")
    clock = bytes.fromhex("07ea021b0517000000ffc400")
    customer, account = b"Maria Muster", 4_711_000_815
    body = structure(
        octet_string(clock),
        u32(12345),
        octet_string(customer),
        u32(account % 2**32),
        u16(4711),
        octet_string(b"AT0010000000000000001000000012345"),
    )
    apdu = seal(
        data_notification(1, clock, body),
        key=KEY.octets,
        system_title=b"XYZ\x65\x12\x34\x56\x78",
        invocation_counter=7,
    )
    hider = Anonymiser((KEY, None), (NEW_KEY, NEW_AUTH_KEY), layouts=(layout, *LAYOUTS))
    stream = b"".join(mbus_frames(apdu))
    out = b"".join(frame.octets for frame in hider.feed(stream, 0.0))
    shown = plaintexts(out)
    assert u32(12345) in shown
    assert customer not in shown
    assert b"AT001" not in shown
    assert (account % 2**32).to_bytes(4, "big") not in shown
    assert u16(4711)[1:] not in shown
    assert b"0" * 32 + b"1" in shown


@pytest.mark.parametrize("unit", [Unit.NONE, Unit.WH])
@pytest.mark.parametrize(
    "code", ["1-0:0.0.0", "1-0:0.0.9", "1-1:0.2.0", "1-0:94.43.0", "1-0:96.1.0", "0-0:96.1.1"]
)
def test_a_number_that_is_nothing_measured_is_set_to_0(code: str, unit: Unit) -> None:
    number, obis = u32(47_110_008), Obis.parse(code)
    out = of_nobody(
        structure(octet_string(bytes(Obis.parse("1-0:1.7.0"))), u32(230), scaler_unit(0, Unit.W)),
        structure(octet_string(bytes(obis)), number, scaler_unit(0, unit)),
    )
    assert number not in plaintexts(out)
    (telegram,) = decoded(out)
    assert telegram.readings[obis].value == 0
    assert telegram.readings[Obis.parse("1-0:1.7.0")].value == 230


def test_what_is_measured_stays_also_without_a_unit_where_it_is_known() -> None:
    out = of_nobody(
        structure(
            octet_string(bytes(Obis.parse("1-0:13.7.0"))), u16(987), scaler_unit(-3, Unit.NONE)
        ),
        structure(
            octet_string(bytes(Obis.parse("1-1:33.7.0"))), u16(986), scaler_unit(-3, Unit.NONE)
        ),
        structure(octet_string(bytes(Obis.parse("1-0:12.7.0"))), u16(231), scaler_unit(0, Unit.V)),
    )
    (telegram,) = decoded(out)
    shown = {str(obis): reading.value for obis, reading in telegram.readings.items()}
    assert shown == {"1-0:13.7.0.255": 0.987, "1-1:33.7.0.255": 0, "1-0:12.7.0.255": 231}


def of_nobody(*objects: bytes) -> bytes:
    """What a meter that names these objects sends, anonymous."""
    apdu = seal(
        data_notification(1, bytes.fromhex("07ea021b0517000000ffc400"), structure(*objects)),
        key=KEY.octets,
        system_title=b"XYZ\x65\x12\x34\x56\x78",
        invocation_counter=7,
    )
    hider = anonymiser()
    frames = hider.feed(b"".join(mbus_frames(apdu)), 0.0)
    assert hider.left_out == []
    return b"".join(frame.octets for frame in frames)


def test_a_title_of_no_known_form_is_replaced_whole() -> None:
    power = octet_string(bytes.fromhex("0100010700ff"))
    body = structure(power, u32(230), scaler_unit(0, Unit.W))
    apdu = seal(
        data_notification(1, bytes.fromhex("07ea021b0517000000ffc400"), body),
        key=KEY.octets,
        system_title=bytes.fromhex("0123456789abcdef"),
        invocation_counter=7,
    )
    hider = anonymiser()
    out = b"".join(frame.octets for frame in hider.feed(b"".join(mbus_frames(apdu)), 0.0))
    (telegram,) = decoded(out)
    assert telegram.meter == (1).to_bytes(8, "big")
    assert telegram.readings[Obis.parse("1-0:1.7.0")].value == 230


def test_an_apdu_without_frames_stays_one() -> None:
    content = b""
    for frame in FrameReader().feed(meter("kaifa-ma309m").push().telegram, 0.0):
        assert isinstance(frame, Frame)
        content += frame.octets[9:-2]
    renewed = anonymiser().apdu(content)
    assert renewed is not None
    assert len(renewed) == len(content)
    assert isinstance(Decoder(NEW_KEY).decode_apdu(renewed, 0.0), Telegram)
