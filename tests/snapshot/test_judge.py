"""The judge: what is served at once, what waits to be confirmed, what is refused and told."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter
from gateway.snapshot import Judge, Snapshot, Verdict
from gateway.snapshot.plausibility import ENERGIES, Numbers, Seen
from gateway.telegram import Decoder, Fault, Key, Layer, Security, Telegram
from gateway.telegram.listing import Listing, Readings
from gateway.telegram.notification import CosemTime

TITLE = bytes.fromhex("4b464d1020000001")
OTHER = bytes.fromhex("4b464d1020000002")
NOON = datetime(2026, 6, 21, 12, 0, tzinfo=UTC)
INTERVAL_S = 5.0
TELEGRAM_BYTES = 376
MOST_W = 3 * 230 * 80
NO_READINGS = Readings(Listing("none", []), [], {}, None)
DRAWN, FED = "active_power_import_total", "active_power_export_total"
PHASES = ("l1", "l2", "l3")
GOOD = Verdict(is_good=True)
HELD = Verdict(is_good=False)


def house(*apparent_va: float, volts: float = 230.0, factor: float = 1.0) -> dict[str, int | float]:
    """What a meter measures of phases that carry so much; a load below 0 generates."""
    total = round(sum(apparent_va) * factor)
    numbers: dict[str, int | float] = {DRAWN: max(total, 0), FED: max(-total, 0)}
    for phase, load in zip(PHASES, apparent_va, strict=False):
        numbers[f"voltage_{phase}"] = round(volts, 1)
        numbers[f"current_{phase}"] = round(abs(load) / volts, 2)
    return numbers


CALM = house(300, 200, 100)


class Street:
    """A meter's telegrams, one every 5 s, and the judge that hears them."""

    def __init__(self, judge: Judge | None = None, counter: int = 1000) -> None:
        self.judge = judge or Judge()
        self.counter = counter
        self.now_s = 0.0
        self.energy_wh = 5_000_000.0
        self.offset = 0

    def telegram(self, numbers: Numbers = CALM, **said: object) -> tuple[Telegram, Numbers]:
        """Return the next telegram and its numbers; `said` changes what it says of itself."""
        self.counter += 1
        self.now_s += INTERVAL_S
        # A damaged power has not been drawn.
        self.energy_wh += min(numbers.get(DRAWN, 0), MOST_W) * INTERVAL_S / 3600
        telegram = Telegram(
            TITLE,
            self.counter,
            Security.ENCRYPTED,
            NOON + timedelta(seconds=self.now_s),
            0,
            NO_READINGS,
            self.now_s,
            self.offset,
        )._replace(**said)
        self.offset += TELEGRAM_BYTES
        return telegram, {"energy_active_import_total": int(self.energy_wh), **numbers}

    def push(self, numbers: Numbers = CALM, **said: object) -> Verdict:
        return self.judge.take(*self.telegram(numbers, **said))

    def lose(self, count: int) -> None:
        for _ in range(count):
            self.telegram()


@pytest.fixture
def street() -> Street:
    """A calm house of which three telegrams were served."""
    found = Street()
    assert [found.push() for _ in range(3)] == 3 * [GOOD]
    return found


# --- what is served at once -----------------------------------------------------------------


def test_the_first_telegram_of_all_is_served_at_once() -> None:
    assert Street().push() == GOOD


def test_a_house_that_switches_a_load_without_var_is_served_at_once(street: Street) -> None:
    for watts in (2300, 50, 5000, 0, 9000):
        assert street.push(house(300, 200, 100 + watts)) == GOOD


# --- jumps ----------------------------------------------------------------------------------

JUMPS = {
    "a voltage": house(300, 200, 100, volts=224.0),
    "a power without its currents": CALM | {DRAWN: 710},
    "currents without their power": CALM | {"current_l2": 12.5},
    "a direction": CALM | {DRAWN: 0, FED: 600},
}


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_a_jump_is_served_with_the_next_telegram_and_not_before(
    street: Street, jump: Numbers
) -> None:
    assert street.push(jump) == HELD
    assert street.push(jump) == GOOD, "an everyday change is no news"
    assert street.push(jump) == GOOD


def test_two_different_jumps_in_a_row_are_served(street: Street) -> None:
    first, second, third, fourth = JUMPS.values()
    assert [street.push(each) for each in (first, second, third, fourth)] == [
        HELD,
        GOOD,
        HELD,
        GOOD,
    ]


@pytest.mark.parametrize("lost", [1, 2, 10, 1000])
def test_a_jump_is_confirmed_although_telegrams_between_were_lost(
    street: Street, lost: int
) -> None:
    assert street.push(JUMPS["a voltage"]) == HELD
    street.lose(lost)
    assert street.push(JUMPS["a voltage"]) == GOOD


def test_without_currents_a_jump_is_confirmed_only_by_a_telegram_that_agrees() -> None:
    street = Street()

    def push(watts: int, second: float) -> Verdict:
        clock = NOON + timedelta(seconds=second)
        return street.push({DRAWN: watts, FED: 0}, received=second, clock=clock)

    assert push(300, 0.0) == GOOD
    assert push(2300, 1.0) == HELD
    assert not push(34000, 2.0).is_good
    assert not push(2310, 3.0).is_good
    assert push(2320, 4.0) == GOOD


def test_a_meter_that_pushes_each_second_is_not_silent_for_long_however_it_jumps() -> None:
    judge, street = Judge(), Street()
    silent_s = []
    served_s = 0
    for second in range(200):
        watts = (second * 977) % 5000
        telegram, numbers = street.telegram({DRAWN: watts, FED: 0})
        clock = NOON + timedelta(seconds=second)
        verdict = judge.take(telegram._replace(received=float(second), clock=clock), numbers)
        if verdict.is_good:
            silent_s.append(second - served_s)
            served_s = second
    assert max(silent_s) == 9


# --- damage ---------------------------------------------------------------------------------

DAMAGE = st.one_of(
    st.tuples(
        st.sampled_from([f"voltage_{phase}" for phase in PHASES]),
        st.floats(0, 225.9) | st.floats(234.1, 6553.5),
    ),
    st.tuples(
        st.sampled_from([f"current_{phase}" for phase in PHASES]),
        st.floats(4.0, 655.35),
    ),
    st.tuples(st.just(DRAWN), st.integers(0, 499) | st.integers(701, 2**32 - 1)),
    st.tuples(st.just(FED), st.integers(101, 2**32 - 1)),
    st.tuples(
        st.just("energy_active_import_total"),
        st.integers(0, 4_999_999) | st.integers(5_000_200, 2**32 - 1),
    ),
)


@given(damage=DAMAGE)
def test_a_damaged_value_that_nothing_repeats_is_refused_and_told_with_its_offset(
    damage: tuple[str, float],
) -> None:
    street = Street()
    assert [street.push(), street.push()] == [GOOD, GOOD]
    offset = street.offset
    assert street.push(CALM | dict([damage])) == HELD
    after = street.push()
    assert after.is_good
    assert after.news is None
    (fault,) = after.faults
    assert (fault.layer, fault.offset, fault.meter) == (Layer.PLAUSIBILITY, offset, TITLE)
    assert fault.reason.endswith(": not confirmed by the next telegram")
    assert street.push() == GOOD


def test_damage_in_the_last_telegram_is_told_at_the_end(street: Street) -> None:
    offset = street.offset
    assert street.push(CALM | {"voltage_l1": 6553.5}) == HELD
    (fault,) = street.judge.finish()
    assert fault == Fault(
        Layer.PLAUSIBILITY, "6553.5 V on L1: not confirmed by the next telegram", offset
    )
    assert street.judge.finish() == []


def test_a_meter_that_starts_with_a_damaged_telegram_recovers_with_the_second_good_one() -> None:
    street = Street()
    too_much = CALM | {"energy_active_import_total": 2**32 - 1}
    assert street.push(too_much) == GOOD, "nothing is known yet that it could be held against"
    assert street.push() == HELD
    verdict = street.push()
    assert verdict.is_good
    assert verdict.news is not None
    assert "energy_active_import_total runs backwards" in verdict.news
    assert street.push() == GOOD


# --- a house is never starved ---------------------------------------------------------------


class Moment(NamedTuple):
    apparent_va: list[float]
    volts: float
    factor: float


MOMENTS = st.builds(
    Moment,
    st.lists(st.floats(-16_500, 16_500), min_size=3, max_size=3),  # 80 A at 207 V
    st.floats(207.0, 253.0),  # EN 50160: 230 V within 10 %
    st.floats(0.3, 1.0),
)


def starved(verdicts: Iterator[Verdict]) -> list[int]:
    """Return where two telegrams in a row were not served."""
    found, was_good = [], True
    for index, verdict in enumerate(verdicts):
        if not (verdict.is_good or was_good):
            found.append(index)
        was_good = verdict.is_good
    return found


@settings(max_examples=300)
@given(
    moments=st.lists(MOMENTS, max_size=30),
    lost=st.lists(st.integers(0, 2), min_size=30, max_size=30),
    is_power_alone=st.booleans(),
)
def test_however_a_house_switches_never_are_two_telegrams_in_a_row_held(
    moments: list[Moment], lost: list[int], is_power_alone: bool
) -> None:
    street = Street()

    def verdicts() -> Iterator[Verdict]:
        for moment, count in zip(moments, lost, strict=False):
            numbers = house(*moment.apparent_va, volts=moment.volts, factor=moment.factor)
            if is_power_alone:
                numbers = {name: numbers[name] for name in (DRAWN, FED)}
            yield street.push(numbers)
            street.lose(count)

    assert starved(verdicts()) == []


class Heard(NamedTuple):
    telegram: Telegram
    numbers: Numbers
    texts: Mapping[str, str]


def heard(model: str, count: int, seed: int = 1) -> Iterator[Heard]:
    """Return a simulated meter's telegrams as they are decoded and named."""
    key, interval_s = bytes(range(16)), MODELS[model].interval_s
    start = datetime(2026, 6, 21, 5, 0, tzinfo=UTC)  # a house wakes up, the sun comes
    meter = SimulatedMeter(model, key, seed=seed, start=start, interval_s=interval_s)
    auth_key = Key(SIMULATED_AUTH_KEY) if MODELS[model].authenticated else None
    decoder = Decoder(Key(key), auth_key)
    for number in range(count):
        (telegram,) = decoder.feed(meter.push().telegram, number * interval_s)
        assert isinstance(telegram, Telegram)
        snapshot = Snapshot.of(telegram)
        yield Heard(telegram, snapshot.measured, snapshot.texts)


@pytest.mark.parametrize("model", MODELS)
def test_of_a_simulated_meter_two_telegrams_in_a_row_are_never_held(model: str) -> None:
    judge = Judge()
    verdicts = [judge.take(*each) for each in heard(model, 2000)]
    assert starved(iter(verdicts)) == []
    assert [verdict.news for verdict in verdicts if verdict.news] == []


def test_the_simulated_houses_do_switch_so_that_something_is_held() -> None:
    judge = Judge()
    held = [judge.take(*each) for each in heard("kaifa-ma309m", 2000)].count(HELD)
    assert 0 < held < 40


STRANGE = st.builds(
    dict,
    meter=st.sampled_from([TITLE, OTHER]),
    invocation_counter=st.integers(0, 2**32 - 1),
    security=st.sampled_from(Security),
    clock=st.none() | st.datetimes(timezones=st.just(UTC)) | st.datetimes(),
    received=st.floats(0, 5),
)
STRANGE_NUMBERS = st.dictionaries(
    st.sampled_from([*CALM, *ENERGIES]), st.integers(0, 2**64) | st.floats(0, 1e6)
)


@settings(max_examples=300)
@given(strange=st.lists(st.tuples(STRANGE, STRANGE_NUMBERS), max_size=8))
def test_whatever_came_before_the_third_good_telegram_in_a_row_is_served(
    strange: list[tuple[dict[str, object], dict[str, float]]],
) -> None:
    street = Street()
    for said, numbers in strange:
        verdict = street.push(numbers, **said)
        assert verdict.is_good or verdict.news is None
    calm = [street.push() for _ in range(4)]
    assert calm[2].is_good
    assert calm[3] == GOOD


def test_what_another_meter_says_is_checked_as_well(street: Street) -> None:
    absurd = house(300_000, 300_000, 300_000, volts=600.0)
    assert street.push(meter=OTHER) == HELD
    assert street.push(meter=OTHER) == HELD
    third = street.push(absurd, meter=OTHER)
    assert (third.is_good, third.news) == (False, None)


def test_a_list_clock_that_differs_from_the_header_is_held(street: Street) -> None:
    def clocks(apart_s: float) -> Readings:
        moment = NOON + timedelta(seconds=street.now_s + INTERVAL_S + apart_s)
        return Readings(Listing("none", []), [], {}, CosemTime(moment, 0))

    assert street.push(readings=clocks(60.0)) == GOOD
    assert street.push(readings=clocks(86400.0)) == HELD


def test_a_telegram_that_lists_other_quantities_is_held(street: Street) -> None:
    fewer = {name: number for name, number in CALM.items() if name != "current_l2"}
    assert street.push(fewer) == HELD
    assert len(street.push().faults) == 1
    assert street.push(fewer) == HELD
    assert street.push(fewer).news
    assert street.push(fewer) == GOOD


def test_an_oddity_that_is_over_is_questioned_when_it_comes_again() -> None:
    street = Street()
    calm, odd = (CALM | {"power_factor_total": factor} for factor in (1.0, 1.5))
    assert street.push(calm) == GOOD
    assert not street.push(odd).is_good
    assert street.push(odd).news
    assert street.push(odd) == GOOD
    assert street.push(calm) == GOOD
    assert not street.push(CALM | {"power_factor_total": 12.0}).is_good


# --- counters -------------------------------------------------------------------------------


def test_a_doubled_telegram_is_refused_and_told(street: Street) -> None:
    telegram, numbers = street.telegram()
    again = telegram._replace(offset=street.offset)
    assert street.judge.take(telegram, numbers) == GOOD
    assert street.judge.take(again, numbers) == HELD
    after = street.push()
    assert after.is_good
    (fault,) = after.faults
    counter = telegram.invocation_counter
    assert (fault.layer, fault.offset) == (Layer.COUNTER, again.offset)
    assert fault.reason.startswith(f"invocation counter {counter} does not rise above {counter}")


def test_where_every_telegram_comes_twice_each_is_served_once(street: Street) -> None:
    for _ in range(20):
        telegram, numbers = street.telegram()
        first, second = (street.judge.take(telegram, numbers) for _ in range(2))
        assert (first.is_good, first.news) == (True, None)
        assert second == HELD


def test_a_doubled_telegram_does_not_confirm_a_jump(street: Street) -> None:
    telegram, numbers = street.telegram(JUMPS["a voltage"])
    assert street.judge.take(telegram, numbers) == HELD
    assert not street.judge.take(telegram, numbers).is_good
    assert street.push(JUMPS["a voltage"]).is_good


def test_a_replay_of_old_telegrams_is_recognised_with_the_third_and_told() -> None:
    street = Street()
    old = [street.telegram() for _ in range(6)]
    assert [street.judge.take(*each) for each in old] == 6 * [GOOD]
    energy = int(street.energy_wh)
    first, second, third, fourth = (street.judge.take(*each) for each in old[:4])
    assert [first, second] == [HELD, HELD]
    assert third == Verdict(
        is_good=True,
        news="the invocation counter starts again at 1003, it was 1006: three telegrams say so; "
        "a new key, or old telegrams sent again",
    )
    assert fourth == GOOD
    assert street.judge.last is not None
    assert street.judge.last.numbers["energy_active_import_total"] <= energy


def test_two_old_telegrams_are_not_served(street: Street) -> None:
    old = [street.telegram() for _ in range(2)]
    assert [street.judge.take(*each).is_good for each in old] == [True, True]
    assert [street.judge.take(*each) for each in old] == [HELD, HELD]
    after = street.push()
    assert after.is_good
    assert after.faults
    assert {fault.layer for fault in after.faults} == {Layer.COUNTER}


def test_a_restarted_counter_is_recognised_with_the_third_telegram_and_told(
    street: Street,
) -> None:
    last, street.counter = street.counter, 0
    assert [street.push(), street.push()] == [HELD, HELD]
    third = street.push()
    assert third.is_good
    assert third.news is not None
    assert third.news.startswith(f"the invocation counter starts again at 3, it was {last}")
    assert street.push() == GOOD


def test_a_counter_that_stands_still_is_never_served(street: Street) -> None:
    verdicts = [street.push(invocation_counter=street.counter) for _ in range(1)]
    still = street.counter - 1
    verdicts += [street.push(invocation_counter=still) for _ in range(20)]
    assert not any(verdict.is_good for verdict in verdicts[1:])


# --- identity -------------------------------------------------------------------------------


def test_a_meter_exchange_is_recognised_with_the_third_telegram_and_told(street: Street) -> None:
    street.counter, street.energy_wh = 0, 3.0  # a new meter has counted nothing yet
    assert [street.push(meter=OTHER), street.push(meter=OTHER)] == [HELD, HELD]
    third = street.push(meter=OTHER)
    assert third.is_good
    assert third.faults == ()
    assert third.news == (
        "another meter: the telegram is of meter 4B464D1020000002, so far it was "
        "4B464D1020000001; three telegrams say so, and its values are served from now on"
    )
    assert street.push(meter=OTHER) == GOOD


def test_a_foreign_meters_telegrams_between_are_refused(street: Street) -> None:
    foreign = Street(street.judge, counter=50_000)
    for _ in range(10):
        offset = foreign.offset
        assert foreign.push(house(0, 0, 9000), meter=OTHER) == HELD
        own = street.push()
        assert own.is_good
        assert own.news is None
        (fault,) = own.faults
        assert (fault.layer, fault.offset, fault.meter) == (Layer.IDENTITY, offset, OTHER)


def test_two_foreign_telegrams_are_not_served_and_do_not_add_up_with_later_ones(
    street: Street,
) -> None:
    for _ in range(5):
        assert [street.push(meter=OTHER), street.push(meter=OTHER)] == [HELD, HELD]
        assert street.push().is_good


def test_a_telegram_that_names_another_meter_number_is_questioned_as_another_meters(
    street: Street,
) -> None:
    mine, damaged = {"meter_number": "1KFM0200000001"}, {"meter_number": "1KFM0200000003"}
    judge = street.judge
    assert judge.take(*street.telegram(), mine) == GOOD
    assert judge.take(*street.telegram(), damaged) == HELD
    after = judge.take(*street.telegram(), mine)
    assert [fault.layer for fault in after.faults] == [Layer.IDENTITY]
    assert after.is_good


# --- oddities that stay ---------------------------------------------------------------------

ODD = {
    "270 V": house(300, 200, 100, volts=270.0),
    "too much current": house(300, 200, 25_000),
    "both directions": CALM | {DRAWN: 600, FED: 40},
    "a power without currents": CALM | {DRAWN: 9000, "current_l1": 0.5},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_standing_oddity_is_confirmed_once_and_then_served_at_once(
    street: Street, odd: Numbers
) -> None:
    assert street.push(odd) == HELD
    confirmed = street.push(odd)
    assert confirmed.is_good
    assert confirmed.news is not None
    assert confirmed.news.startswith("unusual, but confirmed by a second telegram and served: ")
    assert [street.push(odd) for _ in range(2000)] == 2000 * [GOOD]


def test_damage_in_the_middle_of_a_standing_oddity_does_not_question_it_anew(
    street: Street,
) -> None:
    odd = ODD["270 V"]
    assert [street.push(odd).is_good for _ in range(3)] == [False, True, True]
    assert not street.push(odd | {DRAWN: 9000}).is_good
    after = street.push(odd)
    assert (after.is_good, len(after.faults)) == (True, 1)
    assert [street.push(odd) for _ in range(100)] == 100 * [GOOD]


def test_an_oddity_that_comes_again_is_questioned_again(street: Street) -> None:
    odd = ODD["270 V"]
    assert [street.push(odd).is_good for _ in range(2)] == [False, True]
    assert [street.push().is_good for _ in range(3)] == [False, True, True]
    assert [street.push(odd).is_good for _ in range(2)] == [False, True]


def test_a_standing_oddity_does_not_excuse_another(street: Street) -> None:
    odd = ODD["270 V"]
    assert [street.push(odd).is_good for _ in range(2)] == [False, True]
    assert street.push(odd | {DRAWN: 0, FED: 5000}) == HELD


# --- authenticated telegrams ----------------------------------------------------------------

IMPOSSIBLE = CALM | {"voltage_l1": 6553.5, DRAWN: 2**32 - 1, FED: 2**32 - 1}


def test_an_authenticated_telegram_is_not_questioned_for_its_values() -> None:
    street = Street()
    for numbers in (CALM, IMPOSSIBLE, CALM, JUMPS["a voltage"], IMPOSSIBLE):
        assert street.push(numbers, security=Security.AUTHENTICATED) == GOOD


@pytest.mark.parametrize("security", sorted(set(Security) - {Security.AUTHENTICATED}))
def test_no_other_security_vouches_for_values(street: Street, security: Security) -> None:
    assert street.push(IMPOSSIBLE, security=security) == HELD


def test_an_authenticated_telegram_is_questioned_for_its_meter_and_counter() -> None:
    street = Street()
    verified = {"security": Security.AUTHENTICATED}
    telegram, numbers = street.telegram(**verified)
    assert street.judge.take(telegram, numbers) == GOOD
    assert street.judge.take(telegram, numbers) == HELD
    after = street.push(**verified)
    assert [fault.layer for fault in after.faults] == [Layer.COUNTER]
    assert street.push(meter=OTHER, **verified) == HELD
    after = street.push(**verified)
    assert [fault.layer for fault in after.faults] == [Layer.IDENTITY]


# --- an earlier run -------------------------------------------------------------------------


def remembered(street: Street) -> Seen:
    """What is left of the last telegram after a restart."""
    last = street.judge.last
    assert last is not None
    energies = {name: last.numbers[name] for name in ENERGIES if name in last.numbers}
    return Seen(last.meter, last.counter, energies, last.clock, None)


def test_after_a_restart_the_next_telegram_is_served_at_once(street: Street) -> None:
    street.judge = Judge(past=remembered(street))
    street.now_s += 3600
    street.energy_wh += 1000
    assert street.push() == GOOD


def test_after_a_restart_old_telegrams_are_refused(street: Street) -> None:
    old = [street.telegram() for _ in range(2)]
    assert [street.judge.take(*each) for each in old] == [GOOD, GOOD]
    street.judge = Judge(past=remembered(street))
    assert [street.judge.take(*each) for each in old] == [HELD, HELD]
    after = street.push()
    assert after.is_good
    assert {fault.layer for fault in after.faults} == {Layer.COUNTER}


def test_after_a_restart_energy_must_not_have_run_backwards(street: Street) -> None:
    street.judge = Judge(past=remembered(street))
    assert street.push(CALM | {"energy_active_import_total": 4_999_999}) == HELD


def test_after_a_restart_another_meter_is_recognised_with_its_third_telegram(
    street: Street,
) -> None:
    street.judge = Judge(past=remembered(street))
    verdicts = [street.push(meter=OTHER) for _ in range(3)]
    assert [verdict.is_good for verdict in verdicts] == [False, False, True]
    assert verdicts[2].news is not None
    assert verdicts[2].news.startswith("another meter: ")
