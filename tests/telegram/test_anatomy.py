"""A telegram explained: every byte once, and what the decoder says of it."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.languages import LANGUAGES
from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, Push, SimulatedMeter
from gateway.simulator.frames import (
    Unit,
    array,
    data_notification,
    date_time,
    hdlc_frame,
    i8,
    mbus_frames,
    obis,
    octet_string,
    scaler_unit,
    seal,
    structure,
    u16,
    u32,
)
from gateway.telegram import Decoder, Fault, Key, Layer, anatomy, ciphering, mbus
from gateway.telegram.anatomy import Anatomy, Change, Field, Finder, Kind, explain, redact, texts
from gateway.telegram.anatomy.codes import is_public
from gateway.telegram.anatomy.meanings import MEANINGS, NOTES
from gateway.telegram.anatomy.names import NAMES, OBJECTS
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.obis import EXPECTED_UNITS, NAMED_TEXTS, UNITS, Obis

KEY, OTHER_KEY = Key(bytes(range(16))), Key(bytes(range(1, 17)))
AUTH_KEY = Key(SIMULATED_AUTH_KEY)
START = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)
TITLE = bytes.fromhex("4b464d1020000001")

every_model = pytest.mark.parametrize("model", MODELS)


def push(model: str, seed: int = 7, key: Key = KEY, start: datetime = START) -> Push:
    return SimulatedMeter(model, key.octets, seed=seed, start=start).push()


def telegram(model: str = "kaifa-ma309m") -> bytes:
    return push(model).telegram


def fields_of(found: Anatomy) -> list[Field]:
    return [row for row in found.fields if row.kind == Kind.FIELD]


def remarks_of(found: Anatomy) -> list[Field]:
    return [row for row in found.fields if row.kind == Kind.REMARK]


def named(found: Anatomy, name: str) -> list[Field]:
    return [row for row in found.fields if row.id == name]


def one(found: Anatomy, name: str) -> Field:
    (row,) = named(found, name)
    return row


def octets_of(fields: Iterable[Field]) -> dict[int, int]:
    """Every byte that the fields show, by its place; none is shown twice."""
    octets: dict[int, int] = {}
    for each in fields:
        shown = iter(bytes.fromhex(each.hex))
        for start, end in each.ranges:
            for place in range(start, end):
                assert place not in octets, f"byte {place} stands in two fields"
                octets[place] = next(shown)
        assert not list(shown)
    return octets


def assert_partition(octets: bytes, found: Anatomy) -> None:
    assert found.size == len(octets)
    shown = octets_of(fields_of(found))
    assert bytes(shown[place] for place in sorted(shown)) == octets
    assert len(shown) == len(octets)


def sealed(plaintext: bytes) -> bytes:
    return seal(plaintext, key=KEY.octets, system_title=TITLE, invocation_counter=1)


def framed(plaintext: bytes) -> bytes:
    return b"".join(mbus_frames(sealed(plaintext)))


def long_frame(content: bytes) -> bytes:
    head = bytes([0x68, len(content), len(content), 0x68])
    return head + content + bytes([mbus.checksum(content), 0x16])


PUSH_ROLES = ("object.class", "object.code", "object.attribute", "object.index")
# As the meters of Netz OÖ send it (OMS): its data begin with the meter's number.
FOREIGN = long_frame(bytes.fromhex("53 F0 5B 78 56 34 12") + bytes(88))
TIROL = bytes.fromhex((Path(__file__).parents[2] / "docs/tirol.hex").read_text())


def shown_places(rows: Iterable[Field]) -> set[int]:
    """The places on the wire of all bytes that stand in a dump, as wire bytes or plaintext."""
    places = set()
    for row in rows:
        shown = row.plain_hex if re.search(r"[0-9A-F]", row.plain_hex) else row.hex
        wire = [place for start, end in row.ranges for place in range(start, end)]
        if row.kind == Kind.FIELD:
            places |= {at for at, octet in zip(wire, shown.split(), strict=True) if octet != "··"}
            assert "··" not in shown or not row.value
    return places


def notification(*items: bytes) -> bytes:
    return data_notification(1, date_time(START, summer=False), structure(*items))


# --- every byte once -------------------------------------------------------------------------


@every_model
def test_every_byte_of_a_good_telegram_stands_in_exactly_one_field_that_is_known(
    model: str,
) -> None:
    octets = telegram(model)
    found = explain(octets, KEY, AUTH_KEY if MODELS[model].authenticated else None)
    assert_partition(octets, found)
    assert not [row for row in fields_of(found) if row.id in ("outside", "frame.unused")]
    assert not [row for row in found.fields if row.id == "message.unexplained"]


@given(st.binary(max_size=600))
def test_any_bytes_are_explained_each_byte_once(octets: bytes) -> None:
    assert_partition(octets, explain(octets, KEY))


@given(
    st.sampled_from(sorted(MODELS)),
    st.sampled_from([None, KEY, OTHER_KEY]),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4),
    st.tuples(st.integers(0, 300), st.integers(0, 700)),
    st.binary(max_size=20),
)
def test_damaged_telegrams_are_explained_each_byte_once(
    model: str,
    key: Key | None,
    damage: list[tuple[int, int]],
    cut: tuple[int, int],
    garbage: bytes,
) -> None:
    octets = bytearray(telegram(model) * 2)
    for place, octet in damage:
        octets[place % len(octets)] = octet
    del octets[cut[0] : cut[0] + cut[1] % 40]
    shown = bytes(octets[: 700 + cut[1]]) + garbage
    assert_partition(shown, explain(shown, key))


@given(st.binary(max_size=300))
def test_any_plaintext_is_explained_each_byte_once(body: bytes) -> None:
    octets = framed(data_notification(1, date_time(START, summer=False), b"\x02" + body))
    assert_partition(octets, explain(octets, KEY))


@given(st.binary(max_size=80), st.sampled_from([None, KEY]))
def test_any_message_without_frames_is_explained_each_byte_once(
    rest: bytes, key: Key | None
) -> None:
    octets = b"\xdb\x08" + rest
    assert_partition(octets, explain(octets, key))


# --- what the rows say -----------------------------------------------------------------------


@every_model
def test_remarks_are_the_faults_of_the_decoder_and_objects_its_readings(model: str) -> None:
    octets = telegram(model)
    auth_key = AUTH_KEY if MODELS[model].authenticated else None
    decoder = Decoder(KEY, auth_key)
    (item,) = decoder.feed(octets, 0.0) + decoder.finish()
    found = explain(octets, KEY, auth_key)
    if isinstance(item, Fault):
        assert [(row.label, row.value) for row in remarks_of(found)] == [
            (str(item.offset), item.reason)
        ]
        return
    assert not remarks_of(found)
    objects = {row.label: row.value for row in named(found, "object")}
    for obis_code, reading in item.readings.items():
        unit = f" {reading.unit}" if reading.unit else ""
        value = reading.value
        shown = value.isoformat(" ") if isinstance(value, datetime) else str(value)
        assert objects[str(obis_code)] == shown + unit
    assert len(objects) == len(item.readings)


def test_a_field_that_two_frames_share_has_two_ranges() -> None:
    found = explain(telegram("kaifa-ma110m"), KEY)
    (shared,) = [row for row in named(found, "object") if len(row.ranges) > 1]
    assert (shared.label, shared.ranges) == ("1-0:3.8.0.255", ((245, 254), (265, 277)))
    assert one(found, "message").ranges == ((9, 254), (265, 298))


def test_the_nonce_is_built_of_title_and_counter() -> None:
    sent = push("kaifa-ma110m")
    nonce = one(explain(sent.telegram), "cipher.nonce")
    made = bytes.fromhex(nonce.plain_hex)
    assert made == sent.system_title + sent.invocation_counter.to_bytes(4, "big")
    assert b"".join(sent.telegram[start:end] for start, end in nonce.ranges) == made
    assert nonce.kind == Kind.BUILT


def test_plaintext_fields_show_the_plaintext_and_the_wire_bytes_of_its_ciphertext() -> None:
    octets = telegram("kaifa-ma110m")
    tag = one(explain(octets, KEY), "notification.tag")
    assert (tag.ranges, tag.plain_hex, tag.hex) == (((27, 28),), "0F", f"{octets[27]:02X}")


def test_scaler_and_unit_stand_at_their_object() -> None:
    rows = list(explain(telegram("kaifa-ma110m"), KEY).fields)
    first = next(place for place, row in enumerate(rows) if row.label == "1-0:32.7.0.255")
    said = {row.id: row.value for row in rows[first : first + 11]}
    assert said["object.scaler"] == "-1 → × 0.1"
    assert said["object.unit"] == "35 → V"
    assert all(row.depth > rows[first].depth for row in rows[first + 1 : first + 11])


def test_without_a_key_all_is_explained_up_to_the_ciphertext() -> None:
    found = explain(telegram())
    text = one(found, "cipher.text")
    assert text.notes == ("cipher.no_key",)
    assert text.value == "336 B"
    assert not named(found, "plaintext")
    assert not remarks_of(found)


def test_with_a_wrong_key_the_plaintext_is_said_to_be_noise() -> None:
    found = explain(telegram(), OTHER_KEY)
    (remark,) = remarks_of(found)
    assert remark.id == "fault.decryption"
    assert "wrong key" in remark.value
    assert one(found, "cipher.text").notes == ("cipher.noise",)
    assert not named(found, "plaintext")


def test_a_wrong_tag_keeps_the_ciphertext_shut() -> None:
    found = explain(telegram("lg-e450-burgenland"), KEY, OTHER_KEY)
    assert [row.id for row in remarks_of(found)] == ["fault.ciphering"]
    assert one(found, "cipher.text").notes == ("cipher.refused",)
    assert one(found, "cipher.auth_tag").size == 12


def test_hdlc_blocks_are_explained_block_by_block() -> None:
    found = explain(telegram("lg-e450-gbt"), KEY, AUTH_KEY)
    assert [row.value for row in named(found, "block.number")] == ["1", "2", "3"]
    notes = [row.notes for row in named(found, "block.control")]
    assert notes == [("block.more",), ("block.more",), ("block.last",)]
    assert len(named(found, "hdlc.llc")) == 1
    assert len(named(found, "hdlc.fcs")) == len(named(found, "hdlc.frame"))


def test_hdlc_segments_carry_one_llc_header() -> None:
    found = explain(telegram("iskra-am550-segmented"), KEY)
    assert [row.notes for row in named(found, "hdlc.format")][-1] == ("hdlc.last",)
    assert len(named(found, "hdlc.llc")) == 1


def test_frames_may_share_the_flag_between_them() -> None:
    one_telegram = telegram("iskra-am550-wienernetze")
    octets = one_telegram + one_telegram[1:]
    found = explain(octets, KEY)
    assert_partition(octets, found)
    assert len(named(found, "plaintext")) == 2
    assert not remarks_of(found)


def test_the_wrapped_length_of_old_sagemcom_meters_is_explained() -> None:
    length = named(explain(telegram("sagemcom-t210d-2020"), KEY), "mbus.length")[0]
    assert (length.hex, length.value, length.notes) == ("01", "257 B", ("mbus.wrapped",))


def test_messages_without_frames_are_explained_one_after_the_other() -> None:
    apdu = sealed(notification(octet_string(date_time(START, summer=False)), obis("1-0:1.8.0.255")))
    found = explain(apdu * 2, KEY)
    assert_partition(apdu * 2, found)
    assert len(named(found, "cipher.counter")) == 2
    assert not named(found, "mbus.frame")


def test_values_of_unknown_meaning_are_said_to_be_such() -> None:
    unread = named(explain(telegram("lg-e450-burgenland"), KEY, AUTH_KEY), "object.unread")
    assert [len(bytes.fromhex(row.plain_hex)) for row in unread] == [2, 2, 2]


def test_a_foreign_frame_shows_its_own_bytes_and_not_those_of_a_push() -> None:
    found = explain(FOREIGN)
    assert_partition(FOREIGN, found)
    header = ("mbus.control", "mbus.address", "mbus.ci", "mbus.source", "mbus.destination")
    assert [one(found, name).value for name in header] == ["SND_UD", "240", "0x5B", "120", "86"]
    # Without its byte 260 the second frame's A field stands where the C field should be.
    cut = TIROL[:260] + TIROL[261:]
    control, address = (named(explain(cut), name)[-1] for name in header[:2])
    assert (control.value, address.value) == ("0xFF", "17")


def test_objects_without_a_code_are_said_to_be_named_by_their_place() -> None:
    objects = named(explain(telegram("iskra-am550-wienernetze"), KEY), "object")
    assert objects
    assert {row.notes for row in objects} == {("object.by_place",)}


# --- damage ----------------------------------------------------------------------------------


def test_a_bad_checksum_shows_the_frame_and_the_fault() -> None:
    octets = bytearray(telegram("kaifa-ma110m"))
    octets[100] ^= 1
    found = explain(bytes(octets), KEY)
    assert_partition(bytes(octets), found)
    remark = remarks_of(found)[0]
    assert (remark.id, remark.label) == ("fault.frame", "254")
    assert remark.value.startswith("checksum")
    assert one(found, "frame.refused").size == 245
    assert not named(found, "cipher.counter")


def test_a_bad_hdlc_check_shows_the_frame_and_the_fault() -> None:
    octets = bytearray(telegram("iskra-am550-wienernetze"))
    octets[50] ^= 1
    found = explain(bytes(octets), KEY)
    assert remarks_of(found)[0].value.startswith("frame check")
    assert named(found, "frame.refused")


def test_a_missing_second_frame_leaves_the_first_explained_and_decrypted() -> None:
    octets = telegram("kaifa-ma110m")[:256]
    found = explain(octets, KEY)
    assert_partition(octets, found)
    assert [row.id for row in remarks_of(found)] == ["fault.segment"]
    assert one(found, "message").notes == ("message.cut",)
    values = {row.label: row.value for row in named(found, "object")}
    assert values["1-0:32.7.0.255"] == "" or "V" in values["1-0:32.7.0.255"]
    assert named(found, "object.unit")


def test_a_frame_that_breaks_off_is_explained_to_its_end() -> None:
    octets = telegram("kaifa-ma110m")[:200]
    found = explain(octets, KEY)
    assert_partition(octets, found)
    assert [row.id for row in remarks_of(found)] == ["fault.frame"]
    assert named(found, "object.unit")
    assert not named(found, "outside")


def test_a_second_frame_alone_belongs_to_no_message() -> None:
    octets = telegram("kaifa-ma110m")[256:]
    found = explain(octets, KEY)
    assert [row.id for row in remarks_of(found)] == ["fault.segment"]
    assert one(found, "frame.unused").size == 33


def test_a_lost_frame_between_two_telegrams_is_told_where_it_is_missing() -> None:
    octets = telegram("kaifa-ma110m")
    found = explain(octets[:256] + octets, KEY)
    assert_partition(octets[:256] + octets, found)
    assert [row.id for row in remarks_of(found)] == ["fault.segment"]
    assert len(named(found, "plaintext")) == 2


@pytest.mark.parametrize(
    ("wrong", "right", "layer", "told"),
    [
        # the second object's type; the list's count; the last unit
        ("13 06 01 00 02 08", "09 06 01 00 02 08", "structure", 53),
        ("02 63 09 0c", "02 07 09 0c", "structure", 72),
        ("16 fe", "16 1e", "layout", 72),
    ],
)
def test_a_damaged_plaintext_is_explained_up_to_the_damage(
    wrong: str, right: str, layer: str, told: int
) -> None:
    plaintext = notification(
        octet_string(date_time(START, summer=False)),
        *(obis("1-0:1.8.0.255"), u32(1), scaler_unit(0, Unit.WH)),
        *(obis("1-0:2.8.0.255"), u32(2), scaler_unit(0, Unit.WH)),
    )
    damaged = plaintext.replace(bytes.fromhex(right), bytes.fromhex(wrong))
    assert damaged != plaintext
    octets = framed(damaged)
    found = explain(octets, KEY)
    assert_partition(octets, found)
    (item,) = Decoder(KEY).feed(octets, 0.0)
    assert isinstance(item, Fault)
    assert item.layer == layer
    assert [(row.label, row.value) for row in remarks_of(found)] == [
        (str(item.offset), item.reason)
    ]
    assert sum(row.size for row in fields_of(found) if row.plain_hex) == told


def test_an_impossible_time_in_the_header_is_refused_and_all_else_explained() -> None:
    plaintext = bytearray(notification(octet_string(date_time(START, summer=False)), u16(1)))
    plaintext[8] = 13  # the month
    octets = framed(bytes(plaintext))
    found = explain(octets, KEY)
    assert_partition(octets, found)
    assert [row.label for row in remarks_of(found)] == [str(9 + 16 + 6)]
    assert named(found, "clock.month")[0].value == "13"
    assert named(found, "list")


@pytest.mark.parametrize("body", ["02 01 12 00 01", "02 01 07", "02"])
def test_a_header_without_a_time_is_explained(body: str) -> None:
    octets = framed(bytes.fromhex("0F 00000001 00") + bytes.fromhex(body))
    found = explain(octets, KEY)
    assert_partition(octets, found)
    assert one(found, "notification.no_time").plain_hex == "00"
    assert named(found, "list")


def test_noise_around_a_telegram_is_said_to_be_outside() -> None:
    octets = b"\x00\x16\x55" + telegram("kaifa-ma110m") + b"\x01"
    found = explain(octets, KEY)
    assert_partition(octets, found)
    assert [row.ranges for row in named(found, "outside")] == [((0, 3),), ((303, 304),)]


def test_a_message_that_is_not_sealed_is_not_guessed_at() -> None:
    octets = b"".join(mbus_frames(notification(u16(1))))
    found = explain(octets, KEY)
    assert [row.id for row in remarks_of(found)] == ["fault.ciphering"]
    assert named(found, "message.unexplained")


# --- finding ---------------------------------------------------------------------------------


@given(st.integers(1, 50), st.sampled_from(sorted(MODELS)), st.binary(max_size=40))
def test_the_first_whole_telegram_is_found_however_it_comes(
    size: int, model: str, garbage: bytes
) -> None:
    sent = telegram(model)
    octets = sent[-30:] + garbage.translate(None, b"\x68\x7e") + sent * 2
    finder, found = Finder(), None
    for start in range(0, len(octets), size):
        found = found or finder.feed(octets[start : start + size], 0.0)
    start, end = found or finder.finish() or (0, 0)
    assert octets[start:end] == sent


# --- redaction -------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(MODELS)),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=16, max_size=16),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
)
def test_two_telegrams_of_one_model_give_the_same_redacted_dump(
    model: str, seed: int, key: bytes, start: datetime
) -> None:
    auth_key = AUTH_KEY if MODELS[model].authenticated else None
    other = push(model, seed, Key(key), start.replace(tzinfo=UTC))
    first = redact(explain(telegram(model), KEY, auth_key))
    assert redact(explain(other.telegram, Key(key), auth_key)) == first


@given(st.integers(0, 2**32 - 1), st.binary(min_size=6, max_size=20), st.integers(0, 2**32 - 1))
def test_a_list_of_unknown_layout_keeps_its_codes_and_no_value(
    value: int, text: bytes, seed: int
) -> None:
    rng = Random(seed)

    def dump(number: int, content: bytes, title: bytes) -> Anatomy:
        plaintext = notification(
            u32(number),
            structure(obis("1-0:99.7.0.255"), u32(number), scaler_unit(-1, Unit.V)),
            octet_string(content),
            u16(number & 0xFFFF),
        )
        octets = seal(plaintext, key=KEY.octets, system_title=title, invocation_counter=number)
        return redact(explain(b"".join(mbus_frames(octets)), KEY))

    title = TITLE[:3] + rng.randbytes(5)
    other = rng.randbytes(len(text) - 1) + b"\x00"
    found = dump(value, text[:-1] + b"\x01", title)
    assert found == dump(rng.getrandbits(32), other, TITLE)
    assert "1-0:99.7.0.255" in {row.label for row in found.fields}
    assert {row.value for row in found.fields} >= {"35 → V", "-1 → × 0.1"}
    assert {row.id for row in found.fields} >= {"fault.layout", "object.unknown"}


@every_model
def test_no_byte_that_is_not_the_models_own_is_left(model: str) -> None:
    auth_key = AUTH_KEY if MODELS[model].authenticated else None
    rows = redact(explain(telegram(model), KEY, auth_key)).fields
    for row in rows:
        if row.kind == Kind.FIELD and row.change not in (Change.STATIC, Change.MODEL):
            assert not re.search(r"[0-9A-F]", row.hex + row.plain_hex)
            assert not row.value
        if row.plain_hex:
            assert not re.search(r"[0-9A-F]", row.hex)
        if row.kind in (Kind.BUILT, Kind.REMARK):
            assert not row.value
            assert not re.search(r"[0-9A-F]", row.plain_hex)


@given(st.sampled_from(sorted(MODELS)), st.integers(0, 99), st.integers(0, 999), st.integers(0, 7))
def test_a_damaged_telegram_gives_away_nothing_of_its_refused_frames(
    model: str, which: int, place: int, bit: int
) -> None:
    octets = bytearray(telegram(model))
    frames = [item for item in FrameReader().feed(bytes(octets), 0.0) if isinstance(item, Frame)]
    frame = frames[which % len(frames)]
    octets[frame.offset + 9 + place % (len(frame.octets) - 12)] ^= 1 << bit
    reader = FrameReader()
    good: set[int] = set()
    for item in reader.feed(bytes(octets), 0.0) + reader.finish():
        if isinstance(item, Frame):
            good |= set(range(item.offset, item.offset + len(item.octets)))
    assert not good & set(range(frame.offset + 1, frame.offset + len(frame.octets) - 1))
    rows = redact(explain(bytes(octets), KEY)).fields
    assert shown_places(rows) <= good
    assert not any(row.value for row in rows if row.kind == Kind.REMARK)


@every_model
def test_two_telegrams_damaged_alike_give_the_same_redacted_dump(model: str) -> None:
    dumps = []
    for seed, key in ((1, KEY), (2, OTHER_KEY)):
        octets = bytearray(push(model, seed, key).telegram)
        octets[60] ^= 1
        dumps.append(redact(explain(bytes(octets))))
    assert dumps[0] == dumps[1]


@given(st.binary(max_size=60).filter(lambda octets: len(octets) > 5), st.booleans())
def test_a_frame_that_no_push_brings_gives_away_nothing(body: bytes, is_block: bool) -> None:
    if is_block:
        body = body[:5] + b"\xe0" + body
    octets = long_frame(body)
    assume(isinstance(mbus.segment(octets), mbus.Flaw))
    places = shown_places(redact(explain(octets)).fields)
    header = (b"\x53\x73", b"\xff", bytes(range(32)), b"\x01", b"\x67")
    for place in places - {0, 3, len(octets) - 1}:
        assert place < 9
        assert all(octets[at] in header[at - 4] for at in range(4, min(place, 8) + 1))


def test_a_foreign_frame_hides_the_number_of_its_meter() -> None:
    assert shown_places(redact(explain(FOREIGN)).fields) == {0, 3, 4, len(FOREIGN) - 1}
    cut = TIROL[:260] + TIROL[261:]
    assert not {*range(260, 300)} & shown_places(redact(explain(cut, KEY)).fields)


@given(st.integers(9, 255), st.binary(min_size=1, max_size=3), st.booleans())
def test_what_is_shifted_in_a_frame_that_breaks_off_is_hidden(
    cut: int, extra: bytes, is_lost: bool
) -> None:
    octets = TIROL[:cut] + (TIROL[cut + 1 : 240] if is_lost else extra + TIROL[cut:200])
    places = shown_places(redact(explain(octets, KEY)).fields)
    assert not {at for at in places if octets[at] != TIROL[at]}
    assert not places & set(range(9, len(octets)))


@pytest.mark.parametrize(
    ("source", "hidden"),
    [("03", set()), ("0223", set()), ("0225", {4, 5, 7, 8}), ("00020023", set())],
)
def test_an_hdlc_address_that_may_be_the_meters_own_is_hidden(
    source: str, hidden: set[int]
) -> None:
    apdu = sealed(notification(u16(1)))
    octets = hdlc_frame(b"\xe6\xe7\x00" + apdu, b"\xcf", bytes.fromhex(source))
    header = range(7 + len(source) // 2)
    places = shown_places(redact(explain(octets)).fields)
    assert set(header) - places == hidden


def test_a_block_header_that_does_not_fit_its_frame_is_hidden() -> None:
    block = bytes.fromhex("E0 81 00 01 12 34 40")
    octets = hdlc_frame(b"\xe6\xe7\x00" + block + bytes(64), b"\xcf", b"\x03")
    assert octets[11:13] == b"\xe0\x81"
    assert one(explain(octets), "block.acknowledged").value == "4660"
    assert not {*range(12, 82)} & shown_places(redact(explain(octets)).fields)


@st.composite
def secret_elements(draw: st.DrawFn) -> list[bytes]:
    """One element of a list: parts with an even index are its tags, the others secret."""
    number = draw(st.binary(min_size=2, max_size=2))
    name = draw(
        st.binary(min_size=6, max_size=6)
        | st.text("0123456789ABCXYZabc -", min_size=6, max_size=6).map(str.encode)
        | st.text("0123456789ABC", min_size=5, max_size=5).map(lambda t: t.encode() + b"\xff")
    )
    assume(not is_public(Obis(*name)))
    small, code = draw(st.integers(-128, 127)), draw(st.integers(0, 255))
    octet, unit = small.to_bytes(1, "big", signed=True), bytes([code])
    text = draw(st.binary(min_size=1, max_size=20))
    match draw(st.integers(0, 6)):
        case 0:
            return [b"\x12", number]
        case 1:
            return [b"\x09\x06", name]
        case 2:
            return [b"\x0f", octet]
        case 3:
            return [b"\x0a" + bytes([len(text)]), text]
        case 4:
            assume(abs(small) > 3 or code not in UNITS)
            return [b"\x02\x02\x0f", octet, b"\x16", unit]
        case 5:
            return [b"\x16", unit]
        case _:
            head = draw(st.sampled_from([b"\x02\x04\x12", b"\x01\x01\x02\x04\x12"]))
            return [head, number, b"\x09\x06", name, b"\x0f", octet, b"\x12", number]


@example([[b"\x0f", b"\x00"], [b"\x16", b"\x00"]])
@given(st.lists(secret_elements(), min_size=1, max_size=8))
def test_whatever_stands_in_a_list_that_nobody_knows_is_hidden(elements: list[list[bytes]]) -> None:
    parts = [(index % 2 == 1, part) for each in elements for index, part in enumerate(each)]
    body = b"".join(part for _, part in parts)
    head = data_notification(1, date_time(START, summer=False), bytes([2, len(elements)]))
    apdu = sealed(head + body)
    found = ciphering.parse(apdu)
    assert isinstance(found, ciphering.Sealed)
    at = found.ciphertext_start + len(head)
    secret: set[int] = set()
    for is_secret, part in parts:
        secret |= set(range(at, at + len(part))) if is_secret else set()
        at += len(part)
    rows = redact(explain(apdu, KEY)).fields
    assert not shown_places(rows) & secret
    assert not any(row.value for row in rows if secret & {a for a, _ in row.ranges} and row.hex)
    # What is named by its place alone says nothing of its content.
    objects = [row for row in rows if row.id == "object" and "object.by_place" not in row.notes]
    assert not [row for row in objects if row.label or row.value]


def test_a_named_list_hides_a_name_that_is_no_code() -> None:
    item = structure(octet_string(b"12345\xff"), u32(7), scaler_unit(0, Unit.WH))
    octets = framed(notification(octet_string(date_time(START, summer=False)), item))
    found = explain(octets, KEY)
    assert named(found, "object")[-1].label == "49-50:51.52.53.255"
    rows = redact(found)
    assert [row.label for row in named(rows, "object")] == ["0-0:1.0.0.255", ""]
    assert texts.name(named(rows, "object")[-1], "en") == "object"
    assert "31" not in " ".join(row.plain_hex for row in rows.fields).split()


def test_a_push_object_is_shown_only_in_the_array_in_front() -> None:
    def pushed(code: bytes, attribute: int = 2) -> bytes:
        return structure(u16(3), code, i8(attribute), u16(0))

    def dump(*items: bytes) -> list[str]:
        octets = framed(data_notification(1, date_time(START, summer=False), structure(*items)))
        rows = redact(explain(octets, KEY)).fields
        return [row.value for row in rows if row.id in PUSH_ROLES and row.value]

    code, value = obis("1-0:9.7.0.255"), u32(1)
    assert dump(array(pushed(code)), value) == ["3", "1-0:9.7.0.255", "2", "0"]
    assert dump(array(pushed(code, 33)), value) == ["1-0:9.7.0.255"]
    assert dump(pushed(code), value) == ["1-0:9.7.0.255"]


@pytest.mark.parametrize(
    "code",
    [
        "1-0:9.7.0",
        "1-0:16.7.0",
        "1-0:21.7.0",
        "1-1:1.8.2",
        "0-0:96.14.0",
        "0-1:24.2.1",
        "1-0:0.9.1",
    ],
)
def test_codes_of_the_blue_book_are_public(code: str) -> None:
    assert is_public(Obis.parse(code))


def test_all_codes_that_are_known_are_public() -> None:
    assert all(map(is_public, {*OBJECTS, *EXPECTED_UNITS, *NAMED_TEXTS}))


@given(st.text("".join(map(chr, range(0x20, 0x7F))), min_size=5, max_size=5), st.integers(0, 255))
def test_no_text_is_a_public_code(text: str, last: int) -> None:
    assert not is_public(Obis(*text.encode(), last))


def test_a_title_without_letters_is_hidden_whole() -> None:
    apdu = seal(notification(u16(1)), key=KEY.octets, system_title=bytes(8), invocation_counter=1)
    assert one(redact(explain(apdu, KEY)), "title.maker").hex == "·· ·· ··"


# --- words -----------------------------------------------------------------------------------


def test_every_text_is_there_in_both_languages_and_none_is_left_over() -> None:
    folder = Path(anatomy.__file__).parent
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in folder.glob("*.py")
        if path.stem not in ("names", "meanings")
    )
    used = set(re.findall(r'"([a-z_]+(?:\.[a-z_0-9]+)?)"', sources))
    faults = {f"fault.{layer}" for layer in texts.LAYERS if layer != "object"}
    assert set(NAMES) - faults <= used
    assert set(NOTES) <= used
    assert set(MEANINGS) <= set(NAMES)
    assert not set(NAMES) & set(NOTES)
    for table in (NAMES, MEANINGS, NOTES, OBJECTS, texts.LAYERS, texts.CHANGES):
        for text in table.values():
            assert text.en
            assert text.de


def test_every_id_of_every_row_has_its_texts() -> None:
    for model in MODELS:
        for row in explain(telegram(model)[:-1] + telegram(model), KEY).fields:
            for language in LANGUAGES:
                assert texts.name(row, language)
                assert len(texts.notes(row, language)) == len(row.notes)
                texts.meaning(row, language)
                assert texts.layer_name(row.layer, language)
                assert bool(texts.change_name(row.change, language)) == bool(row.change)


def test_every_known_object_has_a_name() -> None:
    assert set(OBJECTS) == {code for code in EXPECTED_UNITS if not code.e} | NAMED_TEXTS | {
        code for code in OBJECTS if code.d == 7
    }


def test_a_tariff_is_named_and_an_unknown_object_shows_its_code() -> None:
    row = Field("object", Kind.GROUP, Layer.LAYOUT, 0, (), label="1-0:1.8.2.255")
    assert texts.name(row, "en") == "energy drawn, tariff 2 (1-0:1.8.2.255)"
    assert texts.name(row, "de") == "Energie Bezug, Tarif 2 (1-0:1.8.2.255)"
    row = Field("object", Kind.GROUP, Layer.LAYOUT, 0, (), label="1-0:99.7.0.255")
    assert texts.name(row, "de") == "Objekt 1-0:99.7.0.255"


def test_german_numbers_have_a_decimal_comma_and_codes_their_points() -> None:
    found = explain(TIROL, Key(bytes(range(16, 32))))
    (volts,) = [row for row in found.fields if row.label == "1-0:32.7.0.255"]
    assert (texts.value(volts, "de"), texts.value(volts, "en")) == ("230,8 V", "230.8 V")
    assert texts.name(volts, "de") == "Spannung L1 (1-0:32.7.0.255)"
    scaler = named(found, "object.scaler")[0]
    assert texts.value(scaler, "de") == "-1 → × 0,1"
    assert texts.value(named(found, "object.code")[0], "de") == "0-0:1.0.0.255"
    text = Field("object", Kind.GROUP, Layer.LAYOUT, 0, (), change=Change.METER, value="1.2")
    assert texts.value(text, "de") == "1.2"


def test_a_fault_is_named_with_its_place_and_in_german_the_decoders_words_are_quoted() -> None:
    remark = remarks_of(explain(TIROL[:14]))[0]
    assert texts.name(remark, "en") == "refused: frame, byte 14"
    assert texts.value(remark, "en") == "frame breaks off after 14 of 256 bytes"
    assert texts.name(remark, "de") == "verworfen: Rahmen, Byte 14"
    quoted = "Meldung des Decoders: „frame breaks off after 14 of 256 bytes“"
    assert texts.value(remark, "de") == quoted
    assert texts.value(redact(explain(TIROL[:14])).fields[-1], "de") == ""


def test_a_finder_tells_what_it_refuses() -> None:
    finder = Finder()
    assert finder.feed(FOREIGN + TIROL[:256], 0.0) is None
    assert finder.finish() is None
    assert [fault.layer for fault in finder.faults] == [Layer.SEGMENT, Layer.SEGMENT]
