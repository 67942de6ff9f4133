"""Many registers at once show what each of them alone shows."""

import struct
from collections.abc import Callable, Mapping
from functools import cache
from math import inf, isnan, nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import map_library
from gateway.registers import RegisterMap, Table
from gateway.registers.codec import TYPES
from gateway.registers.plan import UNFIT
from gateway.snapshot import QUANTITIES, Origin, Snapshot, Value
from gateway.snapshot.quantities import SERVICE

NAMES = sorted(set(QUANTITIES) - set(SERVICE))
MAPS = sorted(map_library.find(None))
# Where types end, where floats end, and where rounding is half to even.
EDGES = [
    0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 32766.5, 32767.5, -32767.5, -32768, 65534.5, 65535,
    2**31 - 1, 2**31, -(2**31), 2**32 - 2, 2**32 - 1, 2**53 + 1, 2**63, 2**64 - 1, 2**64,
    3.4028234663852886e38, 3.4028235677973366e38, 1e300, 10**30, inf, -inf, nan,
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-(10**5), 10**5),
    st.integers(-(10**12), 10**12),
    st.integers(-4000, 4000).map(lambda n: n / 10),
    st.floats(-1000, 1000),
)
Numbers = Mapping[str, int | float]
Build = Callable[[Numbers], Snapshot]


@cache
def shipped(name: str) -> RegisterMap:
    return map_library.load(name, None)


def snapshot(numbers: Numbers, texts: Mapping[str, str] | None = None) -> Snapshot:
    values = {name: Value(number, Origin.MEASURED) for name, number in numbers.items()}
    return Snapshot(values, texts or {}, 0.0)


def one_by_one(served: RegisterMap, shown: Snapshot) -> bytes:
    """Each register by its own content, from its own number."""
    return served.rendering.one_by_one(shown.numbers, shown.texts)


@pytest.mark.parametrize("name", MAPS)
@settings(deadline=None, max_examples=6)
@given(data=st.data())
def test_a_map_shows_what_each_of_its_registers_shows_alone(name: str, data: st.DataObject) -> None:
    served = shipped(name)
    numbers = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, NUMBERS)))
    odd = data.draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(EDGES), max_size=3))
    numbers |= {name: n for name, n in odd.items() if not name.startswith("active_power")}
    # Powers by phase are whole, and never without their total.
    numbers |= {name: round(n) for name, n in numbers.items() if name.startswith("active_power")}
    numbers.setdefault("active_power_total", 0)
    texts = data.draw(st.sampled_from([{}, {"meter_number": "1KFM0200012345"}]))
    shown = snapshot(numbers, texts)
    assert served.render(shown).octets == one_by_one(served, shown)


def test_meters_on_one_map_keep_their_plans_and_their_own_texts() -> None:
    served = map_library.load("sunspec_213", None)
    few = dict.fromkeys(("active_power_total", "voltage_l1"), 230)
    shown = [
        snapshot(numbers, {"meter_number": number})
        for numbers in (few, few | {"current_l1": 1.5})
        for number in ("1KFM0200012345", "1KFM0200054321")
    ]
    plans = set()
    for each in 3 * shown:
        assert served.render(each).octets == one_by_one(served, each)
        plans.add(served.rendering.plan)
    assert len(plans) == 2


def check_plan(served: RegisterMap, numbers: Numbers, texts: Mapping[str, str]) -> bool:
    """The plan that was made for such numbers is right or refuses them; tell which."""
    shown = snapshot(numbers, texts)
    alone = one_by_one(served, shown)
    assert served.render(shown).octets == alone
    try:
        assert served.rendering.plan(numbers, {}) == alone
    except UNFIT:
        return False
    return True


def usual(dice: Random, name: str) -> int | float:
    """A number as meters send it, within the range of most types."""
    if name.startswith("active_power"):
        return dice.randint(-1500, 1500)
    if name.startswith("power_factor"):
        return dice.uniform(-1, 1)
    return dice.choice([dice.randint(0, 2000), dice.randint(0, 9999) / 10, dice.uniform(0, 500)])


@pytest.mark.parametrize("name", MAPS)
@settings(deadline=None, max_examples=5)
@given(dice=st.randoms(use_true_random=True), missing=st.sets(st.sampled_from(NAMES), max_size=3))
def test_what_is_shown_at_once_is_what_each_register_shows(
    name: str, dice: Random, missing: set[str]
) -> None:
    sent = [name for name in NAMES if name not in missing - {"active_power_total"}]
    for _ in range(5):
        check_plan(shipped(name), {name: usual(dice, name) for name in sent}, {})


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("model", ["kaifa-ma309m", "kaifa-ma110m", "honeywell"])
def test_what_a_meter_sends_is_always_shown_at_once(
    pushed: Callable[[str], Snapshot], name: str, model: str
) -> None:
    shown = pushed(model)
    served = shipped(name)
    assert served.render(shown).octets == one_by_one(served, shown)
    assert served.rendering.plan(shown.numbers, shown.texts) == one_by_one(served, shown)


def every_kind_of_register() -> str:
    """A map of all types, in both orders, coarser and finer than the meter, also turned round."""
    lines, address = [], 0
    for name, kind in TYPES.items():
        if name == "sunssf":
            continue
        for step in ("0.001 ", "", "k", "1000 k", "100000 M"):
            for order in ("big", "little"):
                for what in (
                    f"quantity: energy_active_import_total, unit: {step}Wh",
                    f"quantity: -energy_active_export_total, unit: {step}Wh",
                    f"expression: energy_active_import_total - 7 * charge_total, unit: {step}Wh",
                ):
                    lines.append(
                        f"  - {{address: {address}, {what}, type: {name}, word_order: {order}}}"
                    )
                    address += kind.words
    return "\n".join(["name: Every kind", "tables: [input]", "registers:", *lines])


EVERY_KIND = RegisterMap.parse(every_kind_of_register(), "every_kind.yaml")
WHOLE_OR_NOT = st.one_of(
    *(st.integers(-(10**n), 10**n) for n in (1, 3, 6, 10, 14, 18, 20)),
    *(st.floats(-(10.0**n), 10.0**n) for n in (1, 3, 6, 10, 14, 18, 20)),
    st.integers(-(10**6), 10**6).map(lambda n: n / 2),
    # A half of a coarse step, or one less or more.
    *(
        st.builds(lambda n, odd, step=10**n: n * step + step // 2 + odd, whole, odd)
        for whole, odd in [(st.integers(-(2**32), 2**32), st.integers(-1, 1))]
        for n in (1, 3, 6, 11)
    ),
    st.sampled_from(EDGES),
)


@settings(deadline=None, max_examples=100)
@given(
    numbers=st.fixed_dictionaries(
        dict.fromkeys(
            ("energy_active_import_total", "energy_active_export_total", "charge_total"),
            WHOLE_OR_NOT,
        )
    )
)
def test_a_plan_for_every_kind_of_register_is_right_or_refuses(numbers: Numbers) -> None:
    check_plan(EVERY_KIND, numbers, {})


def one_register(what: str) -> RegisterMap:
    text = f"name: One\ntables: [input]\nregisters:\n  - {{address: 0, {what}}}\n"
    return RegisterMap.parse(text, "one.yaml")


ONE_OF_EACH = [
    one_register(f"{what}, unit: {step}V, type: {kind}, word_order: {order}")
    for what in ("quantity: voltage_l1", "quantity: -voltage_l1", "expression: voltage_l1 - 1")
    for step in ("0.1 ", "", "10 ", "k", "M", "100000 M")
    for kind in TYPES
    if kind != "sunssf"
    for order in ("big", "little")
]


@settings(deadline=None, max_examples=50)
@given(number=WHOLE_OR_NOT)
def test_a_plan_for_one_register_is_right_or_refuses(number: float) -> None:
    for served in ONE_OF_EACH:
        check_plan(served, {"voltage_l1": number}, {})


@pytest.mark.parametrize("kind", ["int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_a_number_that_would_show_as_not_available_is_refused_by_the_plan(kind: str) -> None:
    served = one_register(f"quantity: energy_active_import_total, type: {kind}")
    lowest, highest = int(TYPES[kind].lowest), int(TYPES[kind].highest)
    for number in (lowest, highest):
        assert check_plan(served, {"energy_active_import_total": number}, {})
    for number in (lowest - 1, highest + 1):
        assert not check_plan(served, {"energy_active_import_total": number}, {})


def test_a_quantity_that_is_no_longer_whole_is_shown_at_once_from_then_on() -> None:
    served = one_register("quantity: voltage_l1, type: uint16")
    assert check_plan(served, {"voltage_l1": 230}, {})
    for number in (230.5, 230, 231.5):
        assert check_plan(served, {"voltage_l1": number}, {})


@pytest.mark.parametrize("edge", EDGES, ids=repr)
@pytest.mark.parametrize("name", ["sunspec_203", "sunspec_213", "kostal_ksem_tq", "phoenix_eem"])
def test_every_edge_of_a_type_shows_as_in_a_register_alone(name: str, edge: float) -> None:
    served = shipped(name)
    whole = {each: 7 for each in NAMES if each.startswith("active_power")}
    for place in range(5):
        others = {each: edge for each in NAMES[place::5] if each not in whole}
        shown = snapshot(dict.fromkeys(NAMES, 230.5) | whole | others)
        assert served.render(shown).octets == one_by_one(served, shown)


def test_quantities_come_and_go_from_one_telegram_to_the_next() -> None:
    served = shipped("eastron_sdm630")
    fresh = dict.fromkeys(NAMES, 5)
    for gone in (["voltage_l1"], [], NAMES, ["active_power_l2", "current_l3"], [], ["voltage_l1"]):
        shown = snapshot({name: n for name, n in fresh.items() if name not in gone})
        assert served.render(shown).octets == one_by_one(served, shown)


def test_texts_come_and_change_from_one_telegram_to_the_next() -> None:
    served = shipped("sunspec_213")
    seen = set()
    for texts in ({}, {"meter_number": "1"}, {"meter_number": "2"}, {}, {"meter_number": "1"}):
        shown = snapshot({"voltage_l1": 230}, texts)
        octets = served.render(shown).octets
        assert octets == one_by_one(served, shown)
        seen.add(octets)
    assert len(seen) == 3


def test_a_number_that_cannot_be_computed_leaves_the_others() -> None:
    text = (
        "name: Computed\ntables: [input]\nregisters:\n"
        "  - {address: 0, quantity: voltage_l1, type: uint16}\n"
        "  - {address: 1, expression: active_power_total / current_l1, type: int16}\n"
        "  - {address: 2, quantity: current_l1, type: uint16}\n"
    )
    served = RegisterMap.parse(text, "computed.yaml")
    numbers = {"voltage_l1": 230, "active_power_total": 100, "current_l1": 0}
    assert served.render(snapshot(numbers)).octets.hex(" ", 2) == "00e6 8000 0000"
    assert served.render(snapshot({**numbers, "current_l1": 4})).octets.hex(" ", 2) == (
        "00e6 0019 0004"
    )


PHASES_OF_EASTRON = {"voltage": 0, "current": 6, "apparent_power": 18, "power factor": 30}


def eastron(numbers: Numbers, what: str) -> list[float]:
    """What the Eastron map, whose clients know an idle phase by zeros, shows of three phases."""
    octets = (
        shipped("eastron_sdm630")
        .render(snapshot(numbers))
        .read(Table.INPUT, PHASES_OF_EASTRON[what], 6)
    )
    assert isinstance(octets, bytes)
    return list(struct.unpack(">3f", octets))


def test_phases_that_a_meter_does_not_have_stand_idle() -> None:
    one_phase = {"voltage_l1": 230.0, "current_l1": 5.0, "apparent_power_l1": 1150.0}
    assert eastron(one_phase, "voltage") == [230.0, 0.0, 0.0]
    assert eastron(one_phase, "current") == [5.0, 0.0, 0.0]
    assert eastron(one_phase, "apparent_power") == [1150.0, 0.0, 0.0]


def test_a_phase_under_voltage_does_not_stand_idle_because_its_current_is_not_known() -> None:
    unknown = {"voltage_l1": 230.0, "voltage_l2": 231.0, "voltage_l3": 232.0}
    assert eastron(unknown, "voltage") == [230.0, 231.0, 232.0]
    assert all(map(isnan, eastron(unknown, "current")))
    assert all(map(isnan, eastron(unknown, "apparent_power")))
    assert all(map(isnan, eastron(unknown, "power factor")[1:]))
    idle = unknown | {"current_l1": 0.0, "current_l2": 0.0, "current_l3": 0.0}
    assert eastron(idle, "power factor") == [0.0, 0.0, 0.0]
