"""Health: the failures that everybody has are told apart within three telegrams.

The evidence is real: simulated meters, the real decoder, and where the line is at fault a line
that is read bit by bit by a UART with another setting.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.health import SILENT_S, Diagnosis, Health, Trouble
from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter
from gateway.simulator.ciphering import data_notification, seal
from gateway.simulator.encoding import (
    Unit,
    array,
    date_time,
    i8,
    octet_string,
    scaler_unit,
    structure,
    u16,
    u32,
)
from gateway.simulator.mbus import mbus_frame, mbus_frames
from gateway.telegram import Decoder, Fault, Key, Layer, Telegram, ciphering
from gateway.telegram.ciphering import Sealed
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.key_slips import slip
from gateway.telegram.segments import Apdu, Assembler
from gateway.telegram.system_title import describe_title

START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
KEY = bytes(range(0x80, 0x90))
OTHER_KEY = bytes(range(0x40, 0x50))
MBUS_MODELS = [name for name in MODELS if name.startswith(("kaifa", "sagemcom", "honeywell"))]
AUTHENTICATING = [name for name, model in MODELS.items() if model.authenticated]
LINES = {"none": "no parity", "even": "even parity"}

Damaged = tuple[bytes, Sequence[int]]  # bytes, and which of them were marked


class Rig:
    """A decoder and its health, fed as the service would: in small chunks, on one clock."""

    def __init__(self, key: bytes = KEY, auth_key: bytes | None = None) -> None:
        self.decoder = Decoder(Key(key), Key(auth_key) if auth_key else None)
        self.health = Health(0.0)
        self.now = 0.0
        self.said: list[Diagnosis] = []

    def push(self, octets: bytes, damaged: Sequence[int] = (), interval_s: float = 5.0) -> None:
        """Let one push come within a tenth of a second, then wait for the next."""
        size = max(16, len(octets) // 8)
        marked = set(damaged)
        for start in range(0, len(octets), size):
            chunk = octets[start : start + size]
            indices = [index for index in range(len(chunk)) if start + index in marked]
            self.health.bytes_came(chunk, len(indices), self.now)
            for item in self.decoder.feed(chunk, self.now, indices):
                self.health.heard(item, self.now)
            self._ask()
            self.now += 0.01
        self.now += interval_s - 0.1
        self._ask()

    def _ask(self) -> None:
        if found := self.health.diagnosis(self.now):
            self.said.append(found)

    def diagnosed(self) -> Diagnosis:
        """Return the one diagnosis that was made, whenever it was asked for."""
        assert len(set(self.said)) == 1, set(self.said)
        return self.said[0]


def pushes(model: str, count: int = 3, key: bytes = KEY, seed: int = 7) -> list[bytes]:
    auth_key = SIMULATED_AUTH_KEY if MODELS[model].authenticated else None
    meter = SimulatedMeter(model, key, auth_key=auth_key, seed=seed, start=START)
    return [meter.push().telegram for _ in range(count)]


def title_of(model: str, seed: int = 7) -> str:
    return describe_title(SimulatedMeter(model, KEY, seed=seed, start=START).system_title)


def diagnosis_of(telegrams: Sequence[bytes], rig: Rig | None = None) -> Diagnosis:
    """Return what is said after these telegrams, and not before the last of them."""
    rig = rig or Rig()
    for telegram in telegrams[:-1]:
        rig.push(telegram)
    assert not rig.said
    rig.push(telegrams[-1])
    return rig.diagnosed()


# --- a line, bit by bit ----------------------------------------------------------------------


def levels(octets: bytes, parity: str, *, inverted: bool = False) -> list[int]:
    """Return what a wire carries: eight data bits, lowest first, between idle levels of 1."""
    bits = [1] * 20
    for octet in octets:
        data = [octet >> place & 1 for place in range(8)]
        bits += [0, *data, *([sum(data) & 1] if parity == "even" else []), 1]
    return [bit ^ inverted for bit in bits + [1] * 200]


def received(
    wire: Sequence[int], parity: str, speed: float = 1.0, *, goes_on: bool = False
) -> Damaged:
    """Read a wire as a UART does that is `speed` times as fast as the sender.

    When the stop bit is missing it waits for the idle level; one that `goes_on`, as a 16550,
    takes that bit for the next start.
    """
    octets, damaged = bytearray(), []
    edges = iter([place + 1 for place, pair in enumerate(pairwise(wire)) if pair == (1, 0)])
    start, end = next(edges, None), 0.0
    while start is not None:
        begin = start

        def sample(place: int, begin: int = begin) -> int:
            at = int(begin + (place + 0.5) / speed)
            return wire[at] if at < len(wire) else wire[-1]

        data = [sample(place) for place in range(1, 9)]
        parities = {"none": None, "even": sum(data) & 1, "odd": 1 - sum(data) & 1}
        stop = 9 if parity == "none" else 10
        if sample(stop) == 0 or (parity != "none" and sample(9) != parities[parity]):
            damaged.append(len(octets))
        octets.append(sum(bit << place for place, bit in enumerate(data)))
        end = start + (stop + 0.5) / speed
        if goes_on and sample(stop) == 0 and any(data) and end < len(wire):
            start = int(start + stop / speed)
        else:
            start = next((edge for edge in edges if edge >= end), None)
    return bytes(octets), damaged


def line_diagnosis(
    model: str,
    sent: str,
    read: str,
    speed: float = 1.0,
    *,
    inverted: bool = False,
    goes_on: bool = False,
    marks: bool = True,
) -> Diagnosis:
    """Return what is said when three pushes come over a line that is read in a wrong way."""
    rig = Rig()
    for number, telegram in enumerate(pushes(model), 1):
        octets, damaged = received(
            levels(telegram, sent, inverted=inverted), read, speed, goes_on=goes_on
        )
        rig.push(octets, damaged if marks else (), MODELS[model].interval_s)
        # One flood of bytes is enough when it is longer than any telegram.
        assert not rig.said or number == 3 or speed > 1
    return rig.diagnosed()


@pytest.mark.parametrize("parity", LINES)
def test_the_simulated_line_carries_telegrams_to_a_reader_with_its_setting(parity: str) -> None:
    for telegram in pushes("kaifa-ma309m"):
        for goes_on in (False, True):
            assert received(levels(telegram, parity), parity, goes_on=goes_on) == (telegram, [])


# --- all is well -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_good_telegrams_are_never_diagnosed(model: str) -> None:
    auth_key = SIMULATED_AUTH_KEY if MODELS[model].authenticated else None
    (item,) = Decoder(Key(KEY), Key(auth_key) if auth_key else None).feed(pushes(model)[0], 0.0)
    assert isinstance(item, Telegram)
    rig = Rig(auth_key=auth_key)
    for telegram in pushes(model, 5):
        rig.push(telegram, interval_s=MODELS[model].interval_s)
    assert not rig.said


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_reader_that_starts_in_the_middle_of_a_telegram_gets_no_diagnosis(
    model: str, share: float
) -> None:
    rig = Rig()
    first, *rest = pushes(model, 3)
    for telegram in (first[int(share * len(first)) :], *rest):
        rig.push(telegram, interval_s=10.0)
    assert not rig.said


def test_line_that_loses_one_telegram_in_two_gets_no_diagnosis() -> None:
    rig = Rig()
    for number, telegram in enumerate(pushes("kaifa-ma309m", 10)):
        rig.push(telegram if number % 2 else telegram[:200] + telegram[201:])
    assert not rig.said


# --- no byte ---------------------------------------------------------------------------------


def test_line_without_a_byte_is_silent_after_15_s() -> None:
    health = Health(100.0)
    assert health.diagnosis(100.0 + SILENT_S - 0.1) is None
    found = health.diagnosis(100.0 + SILENT_S)
    assert found
    assert found.kind is Trouble.SILENT
    assert "portal" in found.text
    assert "M-Bus slave (not a master)" in found.text
    assert "pins 3 and 4" in found.text


def test_line_that_falls_silent_asks_for_the_cable() -> None:
    rig = Rig()
    for telegram in pushes("kaifa-ma309m"):
        rig.push(telegram)
    found = rig.health.diagnosis(rig.now + SILENT_S)
    assert found
    assert found.kind is Trouble.SILENT
    assert "came before" in found.text
    assert "check the cable" in found.text
    assert "pushes less often, make `hold` three times the pause" in found.text
    rig.push(pushes("kaifa-ma309m", 4)[3])
    assert not rig.said


def test_meter_that_pushes_less_often_may_be_silent_for_longer() -> None:
    health = Health(0.0, silent_s=120.0)
    assert health.diagnosis(119.0) is None
    assert health.diagnosis(120.0)


def test_meter_that_pushes_once_a_minute_may_be_caught_in_the_middle_of_a_telegram() -> None:
    rig = Rig()
    rig.health = Health(0.0, silent_s=180.0)
    first, second = pushes("kaifa-ma309m", 2)
    rig.push(first[100:], interval_s=60.0)
    rig.push(second, interval_s=60.0)
    assert not rig.said


# --- bytes, no frame -------------------------------------------------------------------------


@pytest.mark.parametrize("model", MBUS_MODELS)
@pytest.mark.parametrize("read", ["none", "odd"])
def test_mbus_line_read_with_another_parity_asks_for_even(model: str, read: str) -> None:
    found = line_diagnosis(model, "even", read)
    assert found.kind is Trouble.NO_FRAMES
    assert "the parity is wrong" in found.text
    assert "?baud=2400&parity=even" in found.text


def test_mbus_line_read_as_8n1_by_a_uart_that_goes_on_asks_for_baud_and_parity() -> None:
    found = line_diagnosis("kaifa-ma309m", "even", "none", goes_on=True)
    assert found.kind is Trouble.NO_FRAMES
    assert "the baud rate or the parity is wrong" in found.text
    assert "?baud=2400&parity=even" in found.text


@pytest.mark.parametrize("goes_on", [False, True])
def test_hdlc_line_read_with_parity_asks_for_none(goes_on: bool) -> None:
    found = line_diagnosis("lg-e450-burgenland", "none", "even", goes_on=goes_on)
    assert found.kind is Trouble.NO_FRAMES
    assert "parity" in found.text
    assert "?baud=9600&parity=none" in found.text


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("read", ["even", "none"])
@pytest.mark.parametrize("baud", [4800, 9600, 19200, 115200])
def test_line_read_too_fast_is_told_by_its_few_different_bytes(
    baud: int, read: str, marks: bool, goes_on: bool
) -> None:
    found = line_diagnosis("kaifa-ma309m", "even", read, baud / 2400, goes_on=goes_on, marks=marks)
    assert found.kind is Trouble.NO_FRAMES
    assert "reads faster than the line sends" in found.text
    assert "?baud=2400&parity=even" in found.text


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("marks", [False, True])
def test_optical_head_read_as_an_mbus_line_asks_for_a_faster_setting(
    marks: bool, goes_on: bool
) -> None:
    model = "iskra-am550-wienernetze"
    found = line_diagnosis(model, "none", "even", 2400 / 9600, goes_on=goes_on, marks=marks)
    assert found.kind is Trouble.NO_FRAMES
    assert "the line is faster" in found.text
    assert "?baud=9600&parity=none" in found.text


def test_p1_port_read_as_an_mbus_line_is_told_by_a_few_bytes_at_a_time() -> None:
    rig = Rig()
    for telegram in pushes("iskra-am550-kaernten", 4):
        rig.push(*received(levels(telegram, "none"), "even", 2400 / 115200))
    found = rig.diagnosed()
    assert found.kind is Trouble.NO_FRAMES
    assert "only a few bytes" in found.text
    assert "a P1 port 115200" in found.text


def test_bytes_in_the_middle_between_two_bauds_ask_for_baud_and_parity() -> None:
    found = line_diagnosis("kaifa-ma309m", "even", "even", 1200 / 2400)
    assert "the baud rate or the parity is wrong" in found.text


def test_inverted_line_is_told_by_the_break_after_each_push() -> None:
    for marks in (False, True):
        found = line_diagnosis(
            "kaifa-ma309m", "even", "even", inverted=True, goes_on=True, marks=marks
        )
        assert found.kind is Trouble.NO_FRAMES
        assert "inverted" in found.text


def test_inverted_line_of_a_uart_that_waits_asks_for_the_setting_or_the_polarity() -> None:
    found = line_diagnosis("kaifa-ma309m", "even", "even", inverted=True)
    assert found.kind is Trouble.NO_FRAMES
    assert "parity" in found.text
    found = line_diagnosis("kaifa-ma309m", "even", "even", inverted=True, marks=False)
    assert "polarity" in found.text


@pytest.mark.parametrize("octet", [0x00, 0xFF])
def test_line_that_repeats_one_byte_asks_for_the_adapter(octet: int) -> None:
    rig = Rig()
    for _ in range(3):
        rig.push(bytes([octet]) * 200)
    assert rig.diagnosed().kind is Trouble.NO_FRAMES
    assert "M-Bus slave adapter" in rig.diagnosed().text


@pytest.mark.parametrize("model", ["kaifa-ma309m", "kaifa-ma110m", "sagemcom-t210d-2020"])
@pytest.mark.parametrize("lost", [1, 6])
@pytest.mark.parametrize("where", [40, -9])
def test_line_that_loses_bytes_in_every_telegram_is_lossy(
    model: str, where: int, lost: int
) -> None:
    found = diagnosis_of([each[:where] + each[where + lost :] for each in pushes(model)])
    assert found.kind is Trouble.NO_FRAMES
    assert "bytes are lost or changed" in found.text


def test_line_that_changes_a_byte_in_every_last_frame_is_lossy() -> None:
    rig = Rig()
    for telegram in pushes("kaifa-ma309m"):
        rig.push(telegram[:-10] + bytes([telegram[-10] ^ 1]) + telegram[-9:])
    assert rig.diagnosed().kind is Trouble.NO_FRAMES
    assert "bytes are lost or changed" in rig.diagnosed().text


def test_plain_text_is_told_from_telegrams() -> None:
    text = b"/KFM5MA304\r\n\r\n1-0:1.8.0(000123.456*kWh)\r\n1-0:2.8.0(000000.000*kWh)\r\n!3F2A\r\n"
    found = diagnosis_of([text] * 3)
    assert found.kind is Trouble.NO_FRAMES
    assert "plain text" in found.text


def test_flood_without_a_frame_is_told_after_1300_bytes() -> None:
    health = Health(0.0)
    noise = bytes((each * each * 7 + each) % 251 for each in range(1300))
    health.bytes_came(noise[:1299], 0, 0.5)
    assert health.diagnosis(0.5) is None
    health.bytes_came(noise[1299:], 0, 0.5)
    found = health.diagnosis(0.5)
    assert found
    assert found.kind is Trouble.NO_FRAMES


def test_pushes_every_second_decide_within_three_as_well() -> None:
    rig = Rig()
    for _ in range(3):
        assert not rig.said
        rig.push(bytes(each * 37 % 256 for each in range(105)), interval_s=0.9)
    assert rig.diagnosed().kind is Trouble.NO_FRAMES


def test_bouncing_contacts_are_no_pushes() -> None:
    rig = Rig()
    for _ in range(8):
        rig.push(b"\x00\xf8", interval_s=1.0)
    rig.push(pushes("kaifa-ma309m")[0])
    assert not rig.said


# --- frames, no telegram ---------------------------------------------------------------------


def oms_frame() -> bytes:
    frame = bytearray(mbus_frame(bytes(range(90)), sequence=0, final=True))
    frame[5] = 0xF0
    frame[-2] = sum(frame[4:-2]) & 0xFF
    return bytes(frame)


def test_noise_before_the_frames_of_another_protocol_is_forgiven() -> None:
    noise = bytes(each * 37 % 256 for each in range(600))
    assert diagnosis_of([noise, *[oms_frame()] * 3]).kind is Trouble.FOREIGN


def test_frames_of_another_protocol_ask_for_a_redacted_dump() -> None:
    # Netz OÖ's AMIS meter: OMS, address F0.
    found = diagnosis_of([oms_frame()] * 3)
    assert found.kind is Trouble.FOREIGN
    assert "address 0xf0" in found.text
    assert "obisgate explain --redact" in found.text


def test_telegrams_that_are_not_encrypted_ask_for_a_redacted_dump() -> None:
    plain = data_notification(7, date_time(START, summer=True), structure(u32(1)))
    found = diagnosis_of([b"".join(mbus_frames(plain))] * 3)
    assert found.kind is Trouble.FOREIGN
    assert "starts with 0x0f" in found.text


# --- telegrams, none decrypts ----------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_wrong_key_is_told_after_three_telegrams_with_the_meter_it_is_for(model: str) -> None:
    found = diagnosis_of(pushes(model), Rig(OTHER_KEY))
    assert found.kind is Trouble.NO_DECRYPTION
    assert found.text.startswith(
        "wrong key: 3 of 3 telegrams with good checksums, none decrypts. "
        f"They are of meter {title_of(model)}: compare"
    )


@pytest.mark.parametrize("model", AUTHENTICATING)
def test_wrong_keys_of_a_meter_with_tags_are_told_after_three_telegrams(model: str) -> None:
    found = diagnosis_of(pushes(model), Rig(OTHER_KEY, OTHER_KEY))
    assert found.kind is Trouble.NO_DECRYPTION
    assert "3 of 3 telegrams with good checksums are refused" in found.text
    assert title_of(model) in found.text


def test_auth_key_for_a_meter_without_tags_is_told_to_be_removed() -> None:
    found = diagnosis_of(pushes("kaifa-ma309m"), Rig(KEY, SIMULATED_AUTH_KEY))
    assert found.kind is Trouble.NO_DECRYPTION
    assert "remove auth_key" in found.text


def test_two_meters_on_one_line_are_both_named() -> None:
    mine, other = pushes("kaifa-ma309m", 2), pushes("kaifa-ma110m", 2, seed=8)
    found = diagnosis_of([mine[0], other[0], mine[1]], Rig(OTHER_KEY))
    assert found.kind is Trouble.NO_DECRYPTION
    assert "2 meters on one line" in found.text
    assert title_of("kaifa-ma309m") in found.text
    assert title_of("kaifa-ma110m", seed=8) in found.text


def test_neighbour_on_the_line_is_no_trouble_while_the_own_meter_decrypts() -> None:
    rig = Rig()
    neighbour = pushes("kaifa-ma110m", 6, OTHER_KEY, seed=8)
    for mine, other in zip(pushes("kaifa-ma309m", 6), neighbour, strict=True):
        rig.push(mine)
        rig.push(other)
    assert not rig.said


def test_slip_in_a_faults_reason_becomes_the_next_step() -> None:
    health = Health(0.0)
    words = "it decrypts with the authentication key: key and auth_key are swapped"
    fault = Fault(Layer.DECRYPTION, f"the plaintext is none: {words}", 0, bytes(8))
    for second in range(3):
        health.heard(fault, float(second))
    found = health.diagnosis(3.0)
    assert found
    assert found.text == (
        "wrong key: 3 of 3 telegrams with good checksums, none decrypts, "
        f"and the last one shows why: {words}"
    )


def sealed_of(telegram: bytes) -> Sealed:
    (frame,) = FrameReader().feed(telegram, 0.0)
    assert isinstance(frame, Frame)
    (apdu,) = Assembler().add(frame)
    assert isinstance(apdu, Apdu)
    sealed = ciphering.parse(apdu.content)
    assert isinstance(sealed, Sealed)
    return sealed


def test_swapped_keys_are_told_as_such() -> None:
    key, auth_key = Key(SIMULATED_AUTH_KEY), Key(KEY)
    health = Health(0.0)
    for number, telegram in enumerate(pushes("lg-e450-burgenland")):
        (fault,) = Decoder(key, auth_key).feed(telegram, float(number))
        assert isinstance(fault, Fault)
        words = slip(key, auth_key, sealed_of(telegram))
        health.heard(replace(fault, reason=f"{fault.reason}; {words}"), float(number))
    found = health.diagnosis(3.0)
    assert found
    assert found.text.startswith("wrong key: 3 of 3 telegrams with good checksums, none decrypts")
    assert found.text.endswith("key and auth_key are swapped")


def test_wrong_authentication_key_is_told_from_a_wrong_key() -> None:
    health = Health(0.0)
    words = "the key fits, the authentication key does not"
    for second in range(3):
        fault = Fault(Layer.CIPHERING, f"the authentication tag is wrong: {words}", 0, bytes(8))
        health.heard(fault, float(second))
    found = health.diagnosis(3.0)
    assert found
    assert found.kind is Trouble.NO_DECRYPTION
    assert found.text.startswith("wrong authentication key: 3 of 3 telegrams")
    assert found.text.endswith(words)


def test_one_good_telegram_takes_the_diagnosis_back() -> None:
    rig = Rig()
    for telegram in pushes("kaifa-ma309m", 3, OTHER_KEY):
        rig.push(telegram)
    assert rig.health.diagnosis(rig.now)
    rig.push(pushes("kaifa-ma309m")[0])
    assert rig.health.diagnosis(rig.now) is None


def test_diagnosis_stays_equal_while_nothing_changes() -> None:
    rig = Rig(OTHER_KEY)
    for telegram in pushes("kaifa-ma309m", 12):
        rig.push(telegram)
    assert rig.diagnosed().kind is Trouble.NO_DECRYPTION


# --- decrypted, not understood ---------------------------------------------------------------


def pushed_list(*items: bytes) -> bytes:
    plaintext = data_notification(7, date_time(START, summer=True), structure(*items))
    apdu = seal(plaintext, key=KEY, system_title=b"XYZ\x10\x10\0\0\1", invocation_counter=9)
    return b"".join(mbus_frames(apdu))


@pytest.mark.parametrize(
    "items",
    [
        (u32(1), u32(2), u16(3)),
        (array(u16(1), u16(2)), u32(3)),
        (octet_string(b"123"), u32(4), scaler_unit(0, Unit.WH), i8(2)),
        (b"\x0d\x01",),  # BCD, which no push is known to use
    ],
)
def test_unknown_layout_asks_for_a_redacted_dump_after_three_telegrams(
    items: Sequence[bytes],
) -> None:
    found = diagnosis_of([pushed_list(*items)] * 3)
    assert found.kind is Trouble.UNKNOWN_LAYOUT
    assert "the key fits and 3 of 3 telegrams decrypt" in found.text
    assert "obisgate explain --redact" in found.text
    assert "without key, number or values" in found.text


# --- when no more will come ------------------------------------------------------------------


def over(octets: bytes, key: bytes = KEY) -> Diagnosis | None:
    """Return what is said of a whole recording, fed as `decode` does: at one time."""
    decoder, health = Decoder(Key(key)), Health(0.0)
    health.bytes_came(octets, 0, 0.0)
    for item in decoder.feed(octets, 0.0) + decoder.finish():
        health.heard(item, 0.0)
    return health.diagnosis(0.0, is_over=True)


def test_recording_of_one_telegram_is_enough_when_no_more_will_come() -> None:
    found = over(pushes("kaifa-ma309m")[0], OTHER_KEY)
    assert found
    assert found.text.startswith("wrong key: 1 of 1 telegrams")
    found = over(b"".join(pushes("kaifa-ma309m", 30)), OTHER_KEY)
    assert found
    assert found.text.startswith("wrong key: 30 of 30 telegrams")
    found = over(pushed_list(u32(1)))
    assert found
    assert found.kind is Trouble.UNKNOWN_LAYOUT


def test_recording_without_a_frame_is_diagnosed() -> None:
    found = over(pushes("kaifa-ma309m")[0][:100])
    assert found
    assert found.kind is Trouble.NO_FRAMES
    found = over(b"\x00\xf8")
    assert found
    assert found.kind is Trouble.NO_FRAMES


def test_recording_that_ends_with_the_first_frame_is_told_to_break_off() -> None:
    found = over(pushes("kaifa-ma309m")[0][:256])
    assert found
    assert found.kind is Trouble.FOREIGN
    assert "breaks off" in found.text


def test_recording_that_ends_in_the_middle_of_a_telegram_is_good() -> None:
    whole = b"".join(pushes("kaifa-ma309m"))
    assert over(whole[100:-100]) is None
    assert over(b"") is None


# --- whatever comes --------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=400)
            | st.sampled_from(pushes("kaifa-ma309m"))
            | st.sampled_from(pushes("lg-e450-gbt", 3, OTHER_KEY)),
            st.floats(0.01, 20.0),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_any_bytes_at_any_time_give_words_with_a_next_step_or_nothing(
    chunks: list[tuple[bytes, float, bool]],
) -> None:
    decoder, health, now = Decoder(Key(KEY)), Health(0.0), 0.0
    for chunk, pause_s, is_damaged in chunks:
        now += pause_s
        damaged = range(0, len(chunk), 2) if is_damaged else ()
        health.bytes_came(chunk, len(damaged), now)
        for item in decoder.feed(chunk, now, damaged):
            health.heard(item, now)
        for is_over in (False, True):
            found = health.diagnosis(now, is_over=is_over)
            assert found is None or 40 < len(found.text) < 450
            assert found is None or found.text.count(". ") <= 1
