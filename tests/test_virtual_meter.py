"""Virtual meters over real ones: whole pairs or nothing, as old as the oldest, no silent loss."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.meter import Meter
from gateway.modbus.unit import Unit
from gateway.registers import ExceptionCode, RegisterMap, Stale, Table
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Adjustment, Judge
from gateway.snapshot.combine import Combination
from gateway.snapshot.freshness import State
from gateway.snapshot.plausibility import ENERGIES
from gateway.telegram import Decoder, Key
from gateway.virtual_meter import Part, VirtualMeter

KEY = Key(bytes(range(16)))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
HOLD_S = 15.0
MAP = RegisterMap.parse(
    "name: x\nregisters: [{address: 0, quantity: active_power_total, type: int32}]\n", "x.yaml"
)


@cache
def pushes(seed: int, count: int, start: datetime = START) -> Sequence[bytes]:
    meter = SimulatedMeter("kaifa-ma309m", KEY.octets, seed=seed, start=start)
    return [meter.push().telegram for _ in range(count)]


def meter(name: str) -> Meter:
    return Meter(name, Decoder(KEY), Judge(), HOLD_S, lambda _: None)


class Site:
    """A house, an annex, and what is made of them; `said` is what it said."""

    def __init__(self, how: Combination = Combination.SUM, hold_s: float = HOLD_S) -> None:
        self.parts = [meter("house"), meter("annex")]
        self.said: list[str] = []
        self.meter = VirtualMeter(
            "site", how, [Part(each) for each in self.parts], hold_s, self.said.append
        )

    def hear(self, which: int, octets: bytes, now: float) -> bool:
        """Let a part have a telegram, as the service does; tell whether all say enough then."""
        self.parts[which].take(octets, now)
        return self.meter.take(now)

    @property
    def watts(self) -> float | None:
        return self.meter.snapshot and self.meter.snapshot.numbers["active_power_total"]

    @property
    def watts_of_parts(self) -> float:
        return sum(
            each.snapshot.numbers["active_power_total"] for each in self.parts if each.snapshot
        )


def test_it_waits_until_each_of_its_meters_has_spoken() -> None:
    site = Site()
    assert site.meter.freshness.state(100.0) is State.WAITING
    assert site.meter.late(100.0) == ["house", "annex"]
    assert not site.hear(0, pushes(1, 1)[0], 100.0)
    assert site.meter.snapshot is None, "never one of them alone"
    assert site.meter.freshness.state(100.0) is State.WAITING
    assert site.meter.late(100.0) == ["annex"]
    assert site.hear(1, pushes(2, 1)[0], 103.0)
    assert site.watts == site.watts_of_parts
    assert site.meter.freshness.state(103.0) is State.LIVE
    assert site.meter.late(103.0) == []


def test_the_last_telegram_of_each_is_paired_and_the_older_one_gives_the_age() -> None:
    site = Site()
    house, annex = pushes(1, 4), pushes(2, 2)
    site.hear(0, house[0], 100.0)
    site.hear(1, annex[0], 103.0)
    for step, octets in enumerate(house[1:]):
        now = 105.0 + 5 * step
        assert site.hear(0, octets, now)
        assert site.watts == site.watts_of_parts
        assert site.meter.freshness.received == 103.0
        assert site.meter.snapshot
        assert site.meter.snapshot.received == 103.0
    site.hear(1, annex[1], 116.0)
    assert site.meter.freshness.received == 115.0


def test_one_silent_meter_makes_it_stale_and_its_last_whole_values_stay_as_they_were() -> None:
    site = Site()
    house = pushes(1, 8)
    site.hear(1, pushes(2, 1)[0], 100.0)
    for step, octets in enumerate(house[:3]):
        site.hear(0, octets, 100.0 + 5 * step)
    whole = site.meter.snapshot
    assert not site.hear(0, house[3], 120.0)
    assert site.meter.snapshot is whole, "no new house beside an old annex"
    assert site.meter.freshness.state(120.0) is State.STALE
    assert site.meter.late(120.0) == ["annex"]
    assert site.hear(1, pushes(2, 2)[1], 121.0)
    assert site.watts == site.watts_of_parts
    assert site.meter.freshness.state(121.0) is State.LIVE


def test_units_answer_as_for_a_silent_meter_when_one_of_its_meters_is_silent() -> None:
    site = Site()
    unit = Unit(MAP, site.meter)
    last = Unit(MAP, site.meter, stale=Stale.LAST)
    failed = ExceptionCode.TARGET_FAILED_TO_RESPOND
    assert unit.read(Table.HOLDING, 0, 2, 100.0) is failed
    site.hear(0, pushes(1, 1)[0], 100.0)
    assert unit.read(Table.HOLDING, 0, 2, 100.0) is failed
    assert last.read(Table.HOLDING, 0, 2, 100.0) is failed, "there is no last one"
    site.hear(1, pushes(2, 1)[0], 101.0)
    shown = unit.read(Table.HOLDING, 0, 2, 101.0)
    assert isinstance(shown, bytes)
    assert int.from_bytes(shown, signed=True) == site.watts
    site.hear(1, pushes(2, 2)[1], 115.5)
    assert unit.read(Table.HOLDING, 0, 2, 115.5) is failed
    assert last.read(Table.HOLDING, 0, 2, 115.5) == shown


def test_one_that_was_just_made_of_meters_that_have_spoken_has_no_values_yet() -> None:
    site = Site()
    for which in (0, 1):
        site.hear(which, pushes(which + 1, 1)[0], 100.0)
    anew = VirtualMeter("site", Combination.SUM, [Part(each) for each in site.parts], HOLD_S, print)
    unit = Unit(MAP, anew)
    assert unit.read(Table.HOLDING, 0, 2, 101.0) is ExceptionCode.TARGET_FAILED_TO_RESPOND
    assert anew.take(101.0)
    assert unit.read(Table.HOLDING, 0, 2, 101.0) == Unit(MAP, site.meter).read(
        Table.HOLDING, 0, 2, 101.0
    )


@settings(deadline=None, max_examples=25)
@given(order=st.lists(st.tuples(st.booleans(), st.floats(0.5, 25)), max_size=30))
def test_in_whatever_order_telegrams_come_energies_never_fall_and_no_part_stands_alone(
    order: list[tuple[bool, float]],
) -> None:
    site, now = Site(), 100.0
    queues = [iter(pushes(1, 30)), iter(pushes(2, 30))]
    energies = dict.fromkeys(ENERGIES, 0.0)
    for is_annex, pause_s in order:
        now += pause_s
        is_whole = site.hear(is_annex, next(queues[is_annex]), now)
        stale = [each for each in site.parts if each.freshness.state(now) in BROKEN]
        assert is_whole is (not stale)
        assert (site.meter.freshness.state(now) in BROKEN) is bool(stale)
        if not is_whole:
            continue
        assert site.watts == site.watts_of_parts
        assert site.meter.snapshot
        for name in energies.keys() & site.meter.snapshot.numbers.keys():
            assert site.meter.snapshot.numbers[name] >= energies[name]
            energies[name] = site.meter.snapshot.numbers[name]
    assert site.said == []


BROKEN = (State.WAITING, State.STALE)


def test_a_meter_that_is_exchanged_never_takes_its_energy_away_silently() -> None:
    site = Site()
    site.hear(0, pushes(1, 1)[0], 100.0)
    old, new = 2, 3
    if wh_drawn(old) < wh_drawn(new):
        old, new = new, old
    site.hear(1, pushes(old, 1)[0], 100.0)
    before = site.meter.snapshot
    for step, octets in enumerate(pushes(new, 3, START + timedelta(minutes=5))):
        site.hear(0, pushes(1, 4)[step + 1], 105.0 + 5 * step)
        site.hear(1, octets, 105.0 + 5 * step)
    assert before
    assert site.meter.snapshot
    numbers, name = site.meter.snapshot.numbers, "energy_active_import_total"
    assert numbers[name] < before.numbers[name]
    fell = f"from {before.numbers[name]} to {numbers[name]}"
    assert f"{name} runs backwards, {fell}, as it does at annex" in site.said


def wh_drawn(seed: int) -> float:
    own = meter("any")
    own.take(pushes(seed, 1)[0], 0.0)
    assert own.snapshot
    return own.snapshot.numbers["energy_active_import_total"]


def test_a_part_is_seen_with_the_phases_that_its_config_gives_it() -> None:
    one = meter("flat")
    seen = Adjustment(phases=("l3", "l1", "l2"))
    other = meter("house")
    site = VirtualMeter(
        "site", Combination.SUM, [Part(one, seen), Part(other)], HOLD_S, lambda _: None
    )
    one.take(pushes(1, 1)[0], 100.0)
    other.take(pushes(2, 1)[0], 100.0)
    assert site.take(100.0)
    assert site.snapshot
    assert one.snapshot
    assert other.snapshot
    for shown, meant in (("l1", "l3"), ("l2", "l1"), ("l3", "l2")):
        assert site.snapshot.numbers[f"voltage_{shown}"] == one.snapshot.numbers[f"voltage_{meant}"]
    own = seen.of(one.snapshot).numbers
    for phase in ("l1", "l2", "l3"):
        name = f"active_power_{phase}"
        assert site.snapshot.numbers[name] == own[name] + other.snapshot.numbers[name]


def test_a_virtual_meter_may_be_part_of_another() -> None:
    site = Site()
    pump = meter("heat_pump")
    rest = VirtualMeter(
        "rest", Combination.DIFFERENCE, [Part(site.meter), Part(pump)], HOLD_S, lambda _: None
    )
    site.hear(0, pushes(1, 1)[0], 100.0)
    pump.take(pushes(3, 1)[0], 101.0)
    assert not rest.take(101.0)
    assert rest.late(101.0) == ["site"]
    site.hear(1, pushes(2, 1)[0], 102.0)
    assert rest.take(102.0)
    assert rest.freshness.received == 100.0
    assert rest.snapshot
    assert pump.snapshot
    own = pump.snapshot.numbers["active_power_total"]
    assert rest.snapshot.numbers["active_power_total"] == site.watts_of_parts - own


def test_its_diagnostics_count_what_came_of_all_its_meters() -> None:
    site = Site()
    damaged = bytearray(pushes(1, 2)[1])
    damaged[100] ^= 0x10
    site.hear(0, pushes(1, 1)[0], 100.0)
    site.hear(0, bytes(damaged), 105.0)
    site.hear(0, pushes(1, 3)[2], 110.0)
    site.hear(1, pushes(2, 1)[0], 110.0)
    numbers = site.meter.diagnostics.numbers(120.0)
    assert numbers["telegrams_good"] == 3
    assert numbers["faults_total"] == numbers["faults_frame"] + numbers["faults_segment"] > 0
    assert numbers["service_uptime"] == pytest.approx(120.0)
    assert "invocation_counter" not in numbers, "each has its own"
