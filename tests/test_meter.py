"""A meter: good telegrams make its snapshot and its age, faults never do."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.meter import Heard, Held, Meter, News
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Judge, Snapshot
from gateway.snapshot.freshness import State
from gateway.telegram import Decoder, Fault, Key, Layer, Telegram

KEY = Key(bytes(range(16)))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
HOLD_S = 15.0
APDU_START = 9  # behind the header of an M-Bus frame


def telegrams(count: int) -> list[bytes]:
    meter = SimulatedMeter("kaifa-ma309m", KEY.octets, seed=7, start=START)
    found = [meter.push().telegram for _ in range(count)]
    assert len(set(found)) == count
    return found


def decoded(octets: bytes, now: float) -> Telegram:
    (item,) = Decoder(KEY).feed(octets, now)
    assert isinstance(item, Telegram)
    return item


def damaged(octets: bytes, place: int = 100) -> bytes:
    """Flip one bit; a frame's checksum sees that."""
    return octets[:place] + bytes([octets[place] ^ 0x10]) + octets[place + 1 :]


class Listening:
    """A meter, what its listener heard, and the snapshot that was there at that time."""

    def __init__(self, key: Key = KEY, judge: Judge | None = None) -> None:
        self.heard: list[Heard] = []
        self.seen: list[Snapshot | None] = []
        self.meter = Meter("house", Decoder(key), judge or Judge(), HOLD_S, self._hear)

    def _hear(self, item: Heard) -> None:
        self.heard.append(item)
        self.seen.append(self.meter.snapshot)

    def kinds(self) -> list[type[Heard]]:
        return [type(item) for item in self.heard]


def test_a_new_meter_has_no_snapshot_and_waits() -> None:
    meter = Listening().meter
    assert meter.name == "house"
    assert meter.snapshot is None
    assert meter.freshness.state(0.0) is State.WAITING
    assert meter.freshness.hold_s == HOLD_S


def test_a_good_telegram_becomes_the_snapshot_and_its_age_counts_from_it() -> None:
    (octets,) = telegrams(1)
    listening = Listening()
    listening.meter.take(octets, 100.0)
    telegram = decoded(octets, 100.0)
    assert listening.heard == [telegram]
    assert listening.meter.snapshot == Snapshot.of(telegram)
    assert listening.meter.freshness.received == 100.0
    assert listening.meter.freshness.state(115.0) is State.LIVE
    assert listening.meter.freshness.state(115.1) is State.STALE


def test_the_age_counts_from_the_last_byte() -> None:
    (octets,) = telegrams(1)
    listening = Listening()
    for index, octet in enumerate(octets):
        assert listening.meter.snapshot is None
        listening.meter.take(bytes([octet]), 100.0 + index / 1000)
    assert listening.meter.snapshot is not None
    assert listening.meter.freshness.received == 100.0 + (len(octets) - 1) / 1000


def test_a_later_telegram_replaces_the_snapshot() -> None:
    first, second = telegrams(2)
    listening = Listening()
    listening.meter.take(first, 100.0)
    listening.meter.take(second, 105.0)
    assert listening.meter.snapshot == Snapshot.of(decoded(second, 105.0))
    assert listening.meter.freshness.received == 105.0


def test_a_damaged_telegram_leaves_the_last_snapshot_and_its_age() -> None:
    first, second = telegrams(2)
    listening = Listening()
    listening.meter.take(first, 100.0)
    before = listening.meter.snapshot
    listening.meter.take(damaged(second), 105.0)
    listening.meter.finish()
    assert listening.kinds()[0] is Telegram
    assert set(listening.kinds()[1:]) == {Fault}
    assert listening.meter.snapshot is before
    assert listening.meter.freshness.received == 100.0


def test_before_the_first_good_telegram_faults_leave_a_meter_waiting() -> None:
    listening = Listening(Key(bytes(16)))  # a wrong key
    for octets in telegrams(3):
        listening.meter.take(octets, 100.0)
    assert listening.kinds() == [Fault] * 3
    assert listening.meter.snapshot is None
    assert listening.meter.freshness.state(100.0) is State.WAITING


def test_the_listener_hears_telegrams_and_faults_in_the_order_of_the_wire() -> None:
    first, second, third = telegrams(3)
    listening = Listening()
    listening.meter.take(first + damaged(second) + third, 100.0)
    kinds = listening.kinds()
    assert kinds[0] is kinds[-1] is Telegram
    assert len(kinds) > 2
    assert set(kinds[1:-1]) == {Fault}
    assert listening.heard[0] == decoded(first, 100.0)
    offset = len(first + second) + APDU_START
    assert listening.heard[-1] == decoded(third, 100.0)._replace(offset=offset)


def test_when_the_listener_hears_a_telegram_its_snapshot_is_there() -> None:
    first, second, third = telegrams(3)
    listening = Listening()
    listening.meter.take(first + damaged(second) + third, 100.0)
    assert listening.seen[0] == Snapshot.of(decoded(first, 100.0))
    assert all(seen is listening.seen[0] for seen in listening.seen[1:-1])
    assert listening.seen[-1] == Snapshot.of(decoded(third, 100.0))
    assert listening.seen[-1] is listening.meter.snapshot


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 400))
def test_chunks_make_no_difference(size: int) -> None:
    first, second, third = telegrams(3)
    stream = first + damaged(second) + b"\x00garbage\x68" + third
    whole, cut = Listening(), Listening()
    whole.meter.take(stream, 100.0)
    for start in range(0, len(stream), size):
        cut.meter.take(stream[start : start + size], 100.0)
    assert cut.heard == whole.heard
    assert cut.meter.snapshot == whole.meter.snapshot == Snapshot.of(decoded(third, 100.0))


def test_at_the_end_an_unfinished_telegram_is_a_fault_and_no_snapshot() -> None:
    first, second = telegrams(2)
    listening = Listening()
    listening.meter.take(first + second[:-1], 100.0)
    listening.meter.finish()
    assert listening.kinds()[0] is Telegram
    assert set(listening.kinds()[1:]) == {Fault}
    assert listening.meter.snapshot == Snapshot.of(decoded(first, 100.0))


@given(st.data())
def test_halves_that_do_not_belong_together_are_never_joined(data: st.DataObject) -> None:
    first, second, third = telegrams(3)
    octets = data.draw(st.sampled_from((first, second)))
    listening = Listening()
    listening.meter.take(first[: data.draw(st.integers(1, len(first) - 1))], 100.0)
    listening.meter.begin_anew()
    listening.meter.take(octets[data.draw(st.integers(1, len(octets) - 1)) :], 100.1)
    listening.meter.take(third, 105.0)
    heard = [item for item in listening.heard if isinstance(item, Telegram)]
    assert heard == [decoded(third, 105.0)._replace(offset=heard[0].offset)]


def test_at_the_end_of_whole_telegrams_nothing_more_is_heard() -> None:
    (octets,) = telegrams(1)
    listening = Listening()
    listening.meter.take(octets, 100.0)
    listening.meter.finish()
    assert listening.kinds() == [Telegram]


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\x68" * 1000, bytes(5000)])
def test_noise_is_no_telegram(noise: bytes) -> None:
    listening = Listening()
    listening.meter.take(noise, 100.0)
    listening.meter.finish()
    assert Telegram not in listening.kinds()
    assert listening.meter.snapshot is None


# --- what is questioned ---------------------------------------------------------------------


def test_a_telegram_that_is_held_is_heard_as_such_and_not_served() -> None:
    first, second, third = telegrams(3)
    listening = Listening()
    listening.meter.take(first + second, 100.0)
    before = listening.meter.snapshot
    listening.meter.take(second, 105.0)
    assert listening.kinds() == [Telegram, Telegram, Held]
    assert listening.heard[2] == Held(
        decoded(second, 105.0)._replace(offset=len(first + second) + APDU_START)
    )
    assert listening.meter.snapshot is before
    assert listening.meter.freshness.received == 100.0, "it makes nothing fresher"
    listening.meter.take(third, 110.0)
    _, _, _, fault, telegram = listening.heard
    assert isinstance(fault, Fault)
    assert (fault.layer, fault.offset) == (Layer.COUNTER, len(first + second) + APDU_START)
    assert telegram == decoded(third, 110.0)._replace(offset=telegram.offset)
    assert listening.seen[3] is before
    assert listening.meter.snapshot == Snapshot.of(telegram)


def test_a_telegram_that_is_held_to_the_end_is_refused_then() -> None:
    (octets,) = telegrams(1)
    listening = Listening()
    listening.meter.take(octets + octets, 100.0)
    assert listening.kinds() == [Telegram, Held]
    listening.meter.finish()
    assert listening.kinds() == [Telegram, Held, Fault]
    listening.meter.finish()
    assert listening.kinds() == [Telegram, Held, Fault]


def test_news_are_heard_before_the_telegram_that_confirms_them() -> None:
    old = telegrams(4)
    listening = Listening()
    for octets in old + old[:3]:
        listening.meter.take(octets, 100.0)
    assert listening.kinds() == [*4 * [Telegram], Held, Held, News, Telegram]
    news = listening.heard[-2]
    assert isinstance(news, News)
    assert news.text.startswith("the invocation counter starts again at ")
    assert listening.seen[-2] == Snapshot.of(listening.heard[3]), "not served yet"


def test_what_the_judge_remembers_of_an_earlier_run_counts() -> None:
    first, second, third = telegrams(3)
    earlier = Listening()
    earlier.meter.take(second, 100.0)
    listening = Listening(judge=Judge(past=earlier.meter.judge.last._replace(received=None)))
    listening.meter.take(first, 3.0)
    assert listening.kinds() == [Held]
    assert listening.meter.freshness.state(3.0) is State.WAITING
    listening.meter.take(third, 4.0)
    assert listening.kinds() == [Held, Fault, Telegram]
