"""Derived quantities: the split by U·I, line voltages, means, power factor."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.snapshot.derive import apportion, derive, line_voltage

PHASES = ("l1", "l2", "l3")

# As meters send them: tenths of a volt, hundredths of an ampere, whole watts.
deci_volts = st.integers(0, 5_000)
centi_amps = st.integers(0, 60_000)
watts = st.integers(-400_000, 400_000)
phase_values = st.lists(st.tuples(deci_volts, centi_amps), min_size=1, max_size=3)


def measured(total_w: int, phases: list[tuple[int, int]]) -> dict[str, int | float]:
    found: dict[str, int | float] = {
        "active_power_import_total": max(total_w, 0),
        "active_power_export_total": max(-total_w, 0),
    }
    for name, (volts, amps) in zip(PHASES, phases, strict=False):
        found |= {f"voltage_{name}": volts / 10, f"current_{name}": amps / 100}
    return found


def powers(found: dict[str, int | float]) -> list[int | float]:
    return [found[f"active_power_{p}"] for p in PHASES if f"active_power_{p}" in found]


@given(total_w=watts, phases=phase_values)
@example(total_w=1, phases=[(2300, 100)] * 3)
@example(total_w=-2, phases=[(2300, 100)] * 3)
@example(total_w=7, phases=[(0, 0)] * 3)
def test_phases_sum_to_the_total_exactly(total_w: int, phases: list[tuple[int, int]]) -> None:
    found = derive(measured(total_w, phases))
    assert found["active_power_total"] == total_w
    assert len(powers(found)) == len(phases)
    assert sum(powers(found)) == total_w


@given(total_w=watts, phases=phase_values)
def test_no_phase_has_another_sign_than_the_total(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    for part in powers(derive(measured(total_w, phases))):
        assert part == 0 or (part > 0) == (total_w > 0)


@given(total_w=watts, phases=phase_values)
def test_each_part_is_within_a_watt_of_its_exact_share(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    weights = [volts * amps for volts, amps in phases]
    if sum(weights) == 0:
        weights[0] = 1
    for part, weight in zip(powers(derive(measured(total_w, phases))), weights, strict=True):
        assert abs(part - Fraction(total_w * weight, sum(weights))) < 1


@given(total_w=watts, phases=phase_values)
def test_powers_are_whole_watts(total_w: int, phases: list[tuple[int, int]]) -> None:
    found = derive(measured(total_w, phases))
    assert {type(part) for part in [found["active_power_total"], *powers(found)]} == {int}


@pytest.mark.parametrize("total_w", [-3, 0, 5])
@pytest.mark.parametrize("phase", [(0, 500), (2300, 0), (0, 0)])
def test_without_any_apparent_power_all_is_on_l1_and_there_is_no_power_factor(
    total_w: int, phase: tuple[int, int]
) -> None:
    found = derive(measured(total_w, [phase] * 3))
    assert powers(found) == [total_w, 0, 0]
    assert found["apparent_power_total"] == 0
    assert not [name for name in found if name.startswith("power_factor")]


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (1, [1, 1, 1], [1, 0, 0]),
        (2, [1, 1, 1], [1, 1, 0]),
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (10, [0, 1, 1], [0, 5, 5]),
        (10, [1, 4, 2], [1, 6, 3]),  # exact 1.43, 5.71, 2.86: L3 and L2 lost the most
        (5, [7], [5]),
        (5, [0], [5]),
        (0, [3, 2, 1], [0, 0, 0]),
    ],
)
def test_largest_remainder_gets_the_odd_watts_and_of_equal_ones_the_first(
    total: int, weights: list[int], parts: list[int]
) -> None:
    assert apportion(total, weights) == parts


@given(
    total=st.integers(-(2**70), 2**70),
    weights=st.lists(st.integers(0, 2**70), min_size=1, max_size=9),
)
def test_apportioned_parts_sum_to_any_total_for_any_weights(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert len(parts) == len(weights)
    assert sum(parts) == total


@given(total=st.integers(0, 10_000), weights=st.lists(st.integers(1, 500), min_size=2, max_size=5))
def test_more_weight_never_gets_less(total: int, weights: list[int]) -> None:
    weights.sort()
    parts = apportion(total, weights)
    # Of two equal remainders the first wins, so by one step the order may turn.
    assert all(more >= less - 1 for less, more in pairwise(parts))


@pytest.mark.parametrize("missing", ["active_power_import_total", "active_power_export_total"])
def test_without_both_directions_there_is_no_signed_power_and_nothing_to_split(
    missing: str,
) -> None:
    sent = measured(1000, [(2300, 500)] * 3)
    del sent[missing]
    found = derive(sent)
    assert "active_power_total" not in found
    assert powers(found) == []
    assert "power_factor_total" not in found
    assert found["apparent_power_total"] == pytest.approx(3450)


def test_without_voltages_and_currents_all_of_the_total_stands_on_l1() -> None:
    # Clients that add up the phases must find the total.
    found = derive(measured(-1234, []))
    assert [found[f"active_power_l{n}"] for n in (1, 2, 3)] == [-1234, 0, 0]
    assert found["active_power_export_l1"] == 1234
    assert not [name for name in found if "power_factor" in name or "apparent" in name]


def test_without_voltages_the_currents_tell_the_shares() -> None:
    sent = measured(900, [(2300, 100), (2300, 200), (2300, 600)])
    amperes = {name: number for name, number in sent.items() if "voltage" not in name}
    found = derive(amperes)
    assert [found[f"active_power_l{n}"] for n in (1, 2, 3)] == [100, 200, 600]
    assert "apparent_power_total" not in found


def test_nothing_measured_derives_nothing() -> None:
    assert derive({}) == {}


def test_a_phase_without_current_leaves_no_split_and_no_sum() -> None:
    sent = measured(900, [(2300, 500)] * 3)
    del sent["current_l2"]
    # What L2 carries is not known, so neither is any share or sum.
    found = derive(sent)
    assert found["active_power_total"] == 900
    assert not [name for name in found if name.startswith(("active_power_l", "apparent"))]
    assert not [name for name in found if name.startswith(("power_factor", "current"))]


@given(phases=phase_values)
def test_apparent_power_is_u_times_i(phases: list[tuple[int, int]]) -> None:
    found = derive(measured(0, phases))
    for name, (volts, amps) in zip(PHASES, phases, strict=False):
        assert found[f"apparent_power_{name}"] == pytest.approx(volts * amps / 1000)
    total = sum(volts * amps for volts, amps in phases) / 1000
    assert found["apparent_power_total"] == pytest.approx(total)


@given(phases=phase_values)
def test_currents_sum_and_average_over_the_phases_there_are(phases: list[tuple[int, int]]) -> None:
    found = derive(measured(0, phases))
    total = sum(amps for _, amps in phases) / 100
    assert found["current_total"] == pytest.approx(total)
    assert found["current_avg"] == pytest.approx(total / len(phases))


@pytest.mark.parametrize(
    ("volts_a", "volts_b", "volts"),
    [(230, 230, 398.37), (230, 0, 230), (0, 230, 230), (0, 0, 0), (240, 220, 398.50)],
)
def test_line_voltage_is_that_of_two_phases_at_120_degrees(
    volts_a: float, volts_b: float, volts: float
) -> None:
    assert line_voltage(volts_a, volts_b) == pytest.approx(volts, abs=0.005)


def test_each_line_voltage_is_of_the_phases_in_its_name() -> None:
    found = derive(measured(0, [(2300, 100), (2200, 100), (0, 0)]))
    assert found["voltage_l12"] == pytest.approx(389.74, abs=0.005)
    assert found["voltage_l23"] == pytest.approx(220.0)
    assert found["voltage_l31"] == pytest.approx(230.0)
    assert found["voltage_ll_avg"] == pytest.approx((389.74 + 220 + 230) / 3, abs=0.005)


def test_a_line_voltage_needs_both_phases() -> None:
    found = derive(measured(0, [(2300, 100), (2300, 100)]))
    assert [
        name for name in found if name.startswith("voltage_l") and name != "voltage_ln_avg"
    ] == [
        "voltage_l12",
        "voltage_ll_avg",
    ]
    assert found["voltage_ll_avg"] == found["voltage_l12"]


def test_one_phase_has_no_line_voltage() -> None:
    found = derive(measured(0, [(2300, 100)]))
    assert not [name for name in found if name.startswith(("voltage_l1", "voltage_ll"))]
    assert found["voltage_ln_avg"] == 230.0


@pytest.mark.parametrize(
    ("volts", "mean"),
    [
        ([2300, 2310, 2320], 231.0),
        ([2300, 0, 2320], 231.0),
        ([0, 0, 2320], 232.0),
    ],
)
def test_phases_without_voltage_are_left_out_of_the_mean_voltage(
    volts: list[int], mean: float
) -> None:
    found = derive(measured(0, [(volt, 100) for volt in volts]))
    assert found["voltage_ln_avg"] == pytest.approx(mean)


def test_without_any_voltage_there_is_no_mean_voltage() -> None:
    assert "voltage_ln_avg" not in derive(measured(0, [(0, 0)] * 3))


def test_voltages_need_no_current_to_give_line_voltages_and_means() -> None:
    found = derive({"voltage_l1": 230.0, "voltage_l2": 230.0, "voltage_l3": 230.0})
    assert found.get("voltage_ln_avg") == pytest.approx(230.0)
    assert found.get("voltage_l12") == pytest.approx(398.37, abs=0.005)
    assert found.get("voltage_ll_avg") == pytest.approx(398.37, abs=0.005)


def test_currents_need_no_voltage_to_be_summed() -> None:
    found = derive({"current_l1": 1.0, "current_l2": 2.0, "current_l3": 6.0})
    assert found.get("current_total") == pytest.approx(9.0)
    assert found.get("current_avg") == pytest.approx(3.0)


@given(total_w=watts, phases=phase_values)
def test_power_factor_is_within_one_and_has_the_sign_of_the_power(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    found = derive(measured(total_w, phases))
    apparent_mva = sum(volts * amps for volts, amps in phases)
    assert ("power_factor_total" in found) == (apparent_mva > 0)
    if apparent_mva:
        exact = min(1.0, abs(total_w) * 1000 / apparent_mva)
        factor = found["power_factor_total"]
        assert -1.0 <= factor <= 1.0
        assert abs(factor) == pytest.approx(exact)
        assert factor == 0 if total_w == 0 else (factor > 0) == (total_w > 0)


@given(total_w=watts, phases=phase_values)
def test_each_phase_with_apparent_power_has_the_power_factor_of_the_total(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    found = derive(measured(total_w, phases))
    for name, (volts, amps) in zip(PHASES, phases, strict=False):
        factor = found.get(f"power_factor_{name}")
        assert factor == (found["power_factor_total"] if volts * amps else None)


def test_what_is_given_is_not_changed() -> None:
    sent = measured(1000, [(2300, 500)] * 3)
    before = dict(sent)
    derive(sent)
    assert sent == before


# --- by direction ---------------------------------------------------------------------------

WAYS = ("import", "export")


@given(total_w=watts, phases=phase_values)
def test_what_is_drawn_less_what_is_fed_in_is_each_phases_power(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    found = derive(measured(total_w, phases))
    for name in PHASES[: len(phases)]:
        drawn, fed = (found[f"active_power_{way}_{name}"] for way in WAYS)
        assert drawn - fed == found[f"active_power_{name}"]
        assert min(drawn, fed) == 0
        assert type(drawn) is type(fed) is int
    assert not [name for name in found if name.endswith(tuple(PHASES[len(phases) :]) or ("-",))]


@given(total_w=watts, phases=phase_values)
def test_what_is_drawn_by_phase_sums_to_what_is_drawn_in_all(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    found = derive(measured(total_w, phases))
    for way, total in zip(WAYS, (max(total_w, 0), max(-total_w, 0)), strict=True):
        assert sum(found[f"active_power_{way}_{p}"] for p in PHASES[: len(phases)]) == total


@given(total_w=watts, phases=phase_values)
def test_apparent_power_stands_in_the_direction_of_the_power(
    total_w: int, phases: list[tuple[int, int]]
) -> None:
    found = derive(measured(total_w, phases))
    for of in ("total", *PHASES[: len(phases)]):
        drawn, fed = (found[f"apparent_power_{way}_{of}"] for way in WAYS)
        whole = found[f"apparent_power_{of}"]
        assert (drawn, fed) == ((whole, 0) if total_w >= 0 else (0, whole))


def test_a_single_watt_fed_in_turns_all_apparent_power_round() -> None:
    phases = [(2300, 500), (2300, 100), (2300, 0)]
    names = [f"apparent_power_{way}_{of}" for way in WAYS for of in ("total", *PHASES)]
    drawing, feeding = (derive(measured(total, phases)) for total in (0, -1))
    assert [drawing[name] for name in names] == pytest.approx([1380, 1150, 230, 0, 0, 0, 0, 0])
    assert [feeding[name] for name in names] == pytest.approx([0, 0, 0, 0, 1380, 1150, 230, 0])


def test_without_a_total_no_direction_is_known() -> None:
    sent = measured(1000, [(2300, 500)] * 3)
    del sent["active_power_export_total"]
    found = derive(sent)
    assert found["apparent_power_total"] == pytest.approx(3450)
    assert not [name for name in found if "import" in name or "export" in name]


def test_reactive_power_is_what_is_drawn_less_what_is_fed_in() -> None:
    sent = {"reactive_power_import_total": 100.0, "reactive_power_export_total": 40.4}
    found = derive(sent)
    assert found == {"reactive_power_total": 60}
    assert type(found["reactive_power_total"]) is int
    assert derive({"reactive_power_import_total": 100}) == {}


def test_a_power_factor_that_is_sent_is_that_of_the_phases_too() -> None:
    sent = {**measured(1000, [(2300, 500)] * 3), "power_factor_total": 0.9}
    found = derive(sent)
    assert [found[f"power_factor_{p}"] for p in PHASES] == [0.9] * 3
    assert found["power_factor_total"] == pytest.approx(
        1000 / 3450
    )  # what is sent stands before it
