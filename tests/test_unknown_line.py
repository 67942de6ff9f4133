"""A line that nobody knows: what is heard on it without a key, and which keys fit."""

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health import Diagnosis, Trouble
from gateway.simulator import MODELS, SimulatedMeter
from gateway.telegram import Key, Telegram
from gateway.unknown_line import LONGEST_S, UnknownLine, fit

KEY = Key(bytes(range(100, 116)))
WRONG = Key(bytes(16))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
SILENT_S = 15.0


def pushes(
    model: str = "kaifa-ma309m", count: int = 3, key: Key = KEY, seed: int = 1
) -> list[bytes]:
    auth_key = KEY.octets if model == "lg-e450-burgenland" else None
    meter = SimulatedMeter(model, key.octets, auth_key=auth_key, seed=seed, start=START)
    return [meter.push().telegram for _ in range(count)]


def heard(telegrams: list[bytes], interval_s: float = 5.0) -> UnknownLine:
    """One telegram every `interval_s`, the first at second 1."""
    line = UnknownLine(0.0)
    for number, telegram in enumerate(telegrams):
        line.take(telegram, (), 1.0 + interval_s * number)
    return line


@pytest.mark.parametrize("model", MODELS)
def test_telegrams_of_every_meter_are_known_without_their_key(model: str) -> None:
    line = heard(pushes(model))
    assert len(line.messages) == 3
    assert len(line.titles) == 1
    assert line.is_over(11.0)
    assert line.diagnosis(11.0) is None
    framing = "M-Bus" if pushes(model)[0][0] == 0x68 else "HDLC"
    assert line.describe() == f"{framing} frames, a telegram every 5 s"


def test_listening_goes_on_until_the_pause_between_telegrams_is_sure() -> None:
    line = heard(pushes(count=2))
    assert not line.is_over(6.0)
    assert line.interval_s == 5.0
    assert line.next_in_s(7.0) == 4.0
    assert line.next_in_s(12.0) == 0.0


def test_a_lost_telegram_does_not_double_the_pause() -> None:
    line = UnknownLine(0.0)
    for now, telegram in zip((1.0, 11.0, 16.0), pushes(), strict=True):
        line.take(telegram, (), now)
    assert line.interval_s == 5.0


def test_nobody_knows_when_the_second_telegram_comes() -> None:
    assert heard(pushes(count=1)).next_in_s(2.0) is None


def test_a_recording_that_comes_at_once_tells_no_pause() -> None:
    assert heard(pushes(), interval_s=0.0).interval_s is None
    assert heard(pushes(), interval_s=0.0).describe() == "M-Bus frames"


def test_a_second_telegram_is_waited_for_a_minute() -> None:
    line = heard(pushes(count=1))
    assert not line.is_over(LONGEST_S - 0.1)
    assert line.is_over(LONGEST_S)


@pytest.mark.parametrize("interval_s", [11.0, 20.0, 25.0, 40.0])
def test_the_pause_of_a_meter_that_pushes_rarely_is_found_out(interval_s: float) -> None:
    line, telegrams = UnknownLine(0.0), iter(pushes())
    for tick in range(int(LONGEST_S)):
        if tick % interval_s == 1:
            line.take(next(telegrams), (), float(tick))
        if line.is_over(float(tick)):
            break
    assert line.interval_s == interval_s


def test_two_telegrams_are_enough_when_no_third_comes() -> None:
    line = heard(pushes(count=2))
    assert not line.is_over(6.0 + SILENT_S - 0.1)
    assert line.is_over(6.0 + SILENT_S)


def test_one_whole_telegram_among_noise_is_enough_after_a_minute() -> None:
    line, random = heard(pushes(count=1)), Random(4)
    for second in range(2, int(LONGEST_S)):
        line.take(random.randbytes(20), (), float(second))
        assert not line.is_over(float(second))
    assert line.is_over(LONGEST_S)


def test_a_line_without_a_byte_is_given_up_as_silent() -> None:
    line = UnknownLine(0.0)
    assert not line.is_over(SILENT_S - 0.1)
    assert line.is_over(SILENT_S)
    diagnosis = line.diagnosis(SILENT_S)
    assert diagnosis is not None
    assert diagnosis.kind is Trouble.SILENT


def test_noise_is_given_up_with_words() -> None:
    line = UnknownLine(0.0)
    line.take(Random(1).randbytes(2000), (), 1.0)
    assert line.is_over(1.0)
    diagnosis = line.diagnosis(1.0)
    assert diagnosis is not None
    assert diagnosis.kind is Trouble.NO_FRAMES


def test_a_telegram_with_parity_errors_is_none() -> None:
    (telegram,) = pushes(count=1)
    line = UnknownLine(0.0)
    line.take(telegram, (40,), 1.0)
    line.finish(2.0)
    assert not line.messages


def test_a_frame_that_broke_off_does_not_swallow_the_next_telegram() -> None:
    first, second = pushes(count=2)
    line = UnknownLine(0.0)
    line.take(first[:100], (), 1.0)
    line.take(second, (), 6.0)
    assert len(line.messages) == 1


def test_two_meters_on_one_line_are_both_named() -> None:
    both = pushes(count=1) + pushes(count=1, seed=2)
    assert len(heard(both).titles) == 2


@given(st.lists(st.binary(max_size=400), max_size=8), st.binary(max_size=3))
def test_any_bytes_are_heard_without_an_exception(chunks: list[bytes], mixed: bytes) -> None:
    line = UnknownLine(0.0)
    for number, chunk in enumerate([*chunks, mixed + pushes(count=1)[0]]):
        line.take(chunk, (), float(4 * number))
        line.diagnosis(float(4 * number))
    line.finish(99.0)
    assert line.bytes == sum(map(len, chunks)) + len(mixed) + len(pushes(count=1)[0])


def test_the_right_key_gives_the_newest_telegram() -> None:
    line = heard(pushes())
    telegram = fit(line.messages, KEY, None)
    assert isinstance(telegram, Telegram)
    counters = [
        each.invocation_counter
        for message in line.messages
        if isinstance(each := fit([message], KEY, None), Telegram)
    ]
    assert telegram.invocation_counter == max(counters)


def test_a_wrong_key_is_told_with_the_meter_whose_key_is_wanted() -> None:
    diagnosis = fit(heard(pushes()).messages, WRONG, None)
    assert isinstance(diagnosis, Diagnosis)
    assert diagnosis.kind is Trouble.NO_DECRYPTION
    assert "wrong key: 3 of 3" in diagnosis.text
    assert "Kaifa, serial" in diagnosis.text


def test_a_slip_of_the_key_is_named() -> None:
    slipped = Key(bytes([*KEY.octets[:-1], KEY.octets[-1] ^ 1]))
    diagnosis = fit(heard(pushes()).messages, slipped, None)
    assert isinstance(diagnosis, Diagnosis)
    assert "another" in diagnosis.text
    assert KEY.octets.hex() not in diagnosis.text


def test_a_key_that_fits_one_of_two_meters_on_the_line_fits() -> None:
    both = pushes(count=1) + pushes(count=1, key=WRONG, seed=2)
    assert isinstance(fit(heard(both).messages, KEY, None), Telegram)


def test_a_wrong_authentication_key_is_told_apart_from_a_wrong_key() -> None:
    messages = heard(pushes("lg-e450-burgenland")).messages
    diagnosis = fit(messages, KEY, WRONG)
    assert isinstance(diagnosis, Diagnosis)
    assert "wrong authentication key" in diagnosis.text


def test_a_key_needs_a_message_to_be_tried_on() -> None:
    with pytest.raises(ValueError, match="no message"):
        fit([], KEY, None)
