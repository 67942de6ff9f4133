"""What is passed without a verdict would have got a good one."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter
from gateway.snapshot import Judge, Snapshot, Verdict
from gateway.telegram import Decoder, Key, Obis, Security, Telegram
from gateway.telegram.listing import Listing, Readings

KEY = bytes(range(16))
GOOD = Verdict(is_good=True)
INTERVAL_S = 5.0


@cache
def pushes(model: str, count: int = 40) -> list[Telegram]:
    meter = SimulatedMeter(
        model, KEY, seed=3, start=datetime(2026, 6, 21, 5, 0, tzinfo=UTC), interval_s=INTERVAL_S
    )
    auth_key = Key(SIMULATED_AUTH_KEY) if meter.model.authenticated else None
    decoder = Decoder(Key(KEY), auth_key)
    found = [decoder.feed(meter.push().telegram, INTERVAL_S * n) for n in range(count)]
    assert all(len(items) == 1 and isinstance(items[0], Telegram) for items in found)
    return [items[0] for items in found if isinstance(items[0], Telegram)]


def judged(judge: Judge, telegram: Telegram) -> Verdict:
    snapshot = Snapshot.of(telegram)
    return judge.take(telegram, snapshot.measured, snapshot.texts)


def passed_or_judged(judge: Judge, telegram: Telegram) -> Verdict:
    return GOOD if judge.passes(telegram) else judged(judge, telegram)


@pytest.mark.parametrize(
    "model", ["honeywell", "kaifa-ma110m", "kaifa-ma309m", "kaifa-ma309-netznoe"]
)
def test_nearly_all_telegrams_of_a_household_are_calm(model: str) -> None:
    judge = Judge()
    first, *others = pushes(model)
    judged(judge, first)
    passed = 0
    for telegram in others:
        if judge.passes(telegram):
            passed += 1
        else:
            judged(judge, telegram)
    assert passed >= 0.8 * len(others)


changes = st.one_of(
    st.just(0),
    st.integers(-60, 60),
    st.sampled_from([-41, -40, -39, 39, 40, 41, -101, -100, -99, 99, 100, 101, 19, 20, 21]),
    st.integers(-3000, 3000),
    st.integers(-(2**31), 2**31),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Telegram]:
    """A few pushes of a meter of which some numbers, clocks, counters or texts are changed."""
    telegrams = pushes(draw(st.sampled_from(sorted(MODELS))))
    start = draw(st.integers(0, len(telegrams) - 8))
    found = []
    for telegram in telegrams[start : start + draw(st.integers(2, 7))]:
        readings = telegram.readings
        raw = list(readings.raw)
        for _ in range(draw(st.integers(0, 2))):
            place = draw(st.integers(0, len(raw) - 1))
            raw[place] = max(0, raw[place] + draw(changes))
        texts, clock = readings.texts, readings.clock
        if draw(st.integers(0, 9)) == 0:
            texts = dict(list(texts.items())[1:])
        if clock and draw(st.integers(0, 9)) == 0:
            clock = clock._replace(moment=None)
        telegram = telegram._replace(readings=Readings(readings.listing, raw, texts, clock))
        match draw(st.integers(0, 19)):
            case 0:
                telegram = telegram._replace(meter=b"XYZ12345")
            case 1:
                counter = telegram.invocation_counter - draw(st.integers(0, 3))
                telegram = telegram._replace(invocation_counter=counter)
            case 2 if telegram.clock:
                moved = telegram.clock + timedelta(seconds=draw(st.integers(-300, 300)))
                telegram = telegram._replace(clock=moved)
        found.append(telegram)
    return found


@given(streams(), st.sampled_from([25.0, 80.0]))
@settings(max_examples=600)
def test_passing_telegrams_changes_no_verdict(stream: list[Telegram], connection_a: float) -> None:
    always, mostly = Judge(connection_a), Judge(connection_a)
    for telegram in stream:
        assert passed_or_judged(mostly, telegram) == judged(always, telegram)
    assert mostly.last == always.last
    assert mostly.finish() == always.finish()


QUANTITIES = {
    "1-0:32.7.0": (2300, -1), "1-0:31.7.0": (500, -2), "1-0:1.7.0": (1150, 0),
    "1-0:2.7.0": (0, 0), "1-0:1.8.0": (1_000_000, 0), "1-0:2.8.0": (5_000, 0),
}  # fmt: skip
U32, F64 = 0x0600, 0x1800


@st.composite
def scaled_streams(draw: st.DrawFn) -> list[Telegram]:
    """Telegrams of a one-phase meter whose numbers have any scaler, or are floats."""
    rows, starting = [], []
    for code, (value, exponent) in QUANTITIES.items():
        is_float = draw(st.booleans())
        scaler = 0 if is_float else draw(st.integers(-3, 3))
        rows.append((Obis.parse(code), F64 if is_float else U32, 0, 0, scaler, None))
        number = value * 10.0**exponent
        starting.append(number if is_float else round(number / 10.0**scaler))
    listing = Listing("built", rows)
    step = st.sampled_from([0, 0, 0, 1, -1, 2, -3, 0.25, -0.25, -1e-9])
    found, raw = [], starting
    for counter in range(1, draw(st.integers(3, 8))):
        raw = [
            n + draw(step) if kind == F64 else max(0, n + round(draw(step)))
            for n, (_, kind, *_) in zip(raw, rows, strict=True)
        ]
        readings = Readings(listing, raw, {}, None)
        now = INTERVAL_S * counter
        found.append(Telegram(b"KFM12345", counter, Security.ENCRYPTED, None, None, readings, now))
    return found


@given(scaled_streams())
@settings(max_examples=400)
def test_passing_telegrams_changes_no_verdict_whatever_the_scalers(stream: list[Telegram]) -> None:
    always, mostly = Judge(), Judge()
    for telegram in stream:
        assert passed_or_judged(mostly, telegram) == judged(always, telegram)
    assert mostly.last == always.last


@pytest.mark.parametrize(("kind", "scaler", "step"), [(U32, -1, -4), (F64, 0, -0.25)])
def test_energy_that_creeps_backwards_is_never_passed(kind: int, scaler: int, step: float) -> None:
    codes = ("1-0:1.7.0", "1-0:2.7.0", "1-0:1.8.0")
    rows = [
        (Obis.parse(code), kind if code.endswith("8.0") else U32, 0, 0, scaler, None)
        for code in codes
    ]
    listing, judge = Listing("built", rows), Judge()
    for counter in range(5):
        readings = Readings(listing, [0, 0, 10_000 + counter * step], {}, None)
        telegram = Telegram(
            b"KFM12345", counter, Security.ENCRYPTED, None, None, readings, INTERVAL_S * counter
        )
        verdict = passed_or_judged(judge, telegram)
        assert verdict.is_good == (counter == 0), counter


def test_what_waits_for_confirmation_is_not_passed_by() -> None:
    judge = Judge()
    first, second, third = pushes("kaifa-ma309m")[:3]
    judged(judge, first)
    jump = second._replace(meter=b"XYZ12345")
    assert not judged(judge, jump).is_good
    assert not judge.passes(third), "it must refuse the one that waits"
    assert judged(judge, third).faults
