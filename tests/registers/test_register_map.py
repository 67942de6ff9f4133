"""Register maps: a snapshot rendered to an image."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.registers import ExceptionCode, Image, RegisterMap, Stale, Table
from gateway.snapshot import Origin, Snapshot, Value

Build = Callable[[Mapping[str, object]], Snapshot]

MIXED = """
name: Mixed
tables: [holding, input]
stale: silent
sources: [a document]
notes: [a note]
registers:
  - {address: 0,  value: 7, type: uint16}
  - {address: 1,  quantity: voltage_l1, type: float32}
  - {address: 3,  quantity: energy_active_import_total, type: uint32}
  - {address: 5,  quantity: energy_active_import_total, type: acc64}
  - {address: 9,  quantity: current_l2, type: int16}
  - {address: 10, quantity: current_l2, type: int16, not_available: 0}
  - {address: 11, expression: energy_active_import_total / 1000, type: uint16}
  - {address: 12, expression: energy_active_import_total * current_l2, type: int32}
  - {address: 14, text: "SN-${meter_number}", type: string, length: 4}
  - {address: 18, quantity: voltage_l1, type: int16, scale_register: 19}
  - {address: 19, value: -1, type: sunssf}
  - {address: 20, quantity: frequency, type: uint16}
  - {address: 21, text: AB, type: string, length: 1}
  - {address: 22, text: "${meter_number}/${device_name}", type: string, length: 4}
"""
READINGS = {"1-0:32.7.0": 230.1, "1-0:1.8.0": 19_111_052, "0-0:96.1.0": "A77"}


def octets(image: Image, address: int, count: int, table: Table = Table.INPUT) -> bytes:
    found = image.read(table, address, count)
    assert isinstance(found, bytes)
    return found


def number(image: Image, address: int, code: str, table: Table = Table.INPUT) -> int | float:
    return struct.unpack(code, octets(image, address, struct.calcsize(code) // 2, table))[0]


def test_a_map_knows_what_its_file_says() -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    assert (served.written.name, served.written.stale) == ("Mixed", Stale.SILENT)
    assert (served.written.sources, served.written.notes) == (["a document"], ["a note"])
    assert [register.address for register in served.registers][:4] == [0, 1, 3, 5]


def test_a_snapshot_stands_where_the_map_says(snapshot: Build) -> None:
    image = RegisterMap.parse(MIXED, "mixed.yaml").render(snapshot(READINGS))
    assert number(image, 0, ">H") == 7
    assert number(image, 1, ">f") == pytest.approx(230.1, rel=1e-7)
    assert number(image, 3, ">I") == 19_111_052
    assert number(image, 5, ">Q") == 19_111_052
    assert number(image, 11, ">H") == 19_111
    assert octets(image, 14, 4) == b"SN-A77\0\0"
    assert number(image, 18, ">h") == 2301
    assert number(image, 19, ">h") == -1
    assert number(image, 20, ">H") == 50
    assert octets(image, 21, 1) == b"AB"


def test_what_is_missing_shows_its_pattern_or_the_maps_own_constant(snapshot: Build) -> None:
    image = RegisterMap.parse(MIXED, "mixed.yaml").render(snapshot(READINGS))
    assert octets(image, 9, 1).hex() == "8000"
    assert number(image, 10, ">h") == 0
    assert octets(image, 12, 2).hex() == "80000000"


def test_a_text_of_which_a_part_is_missing_is_empty(snapshot: Build) -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    assert octets(served.render(snapshot(READINGS)), 22, 4) == bytes(8)
    both = served.render(snapshot({**READINGS, "0-0:42.0.0": "KFM1"}))
    assert octets(both, 22, 4) == b"A77/KFM1"


def test_without_a_snapshot_constants_stand_and_all_else_is_not_available() -> None:
    image = RegisterMap.parse(MIXED, "mixed.yaml").render(None)
    assert octets(image, 0, 26).hex(" ", 2) == (
        "0007 7fc0 0000 ffff ffff 0000 0000 0000 0000 8000 0000 ffff 8000 0000"
        " 0000 0000 0000 0000 8000 ffff ffff 4142 0000 0000 0000 0000"
    )


def test_a_value_that_the_not_available_constant_equals_is_still_served(snapshot: Build) -> None:
    image = RegisterMap.parse(MIXED, "mixed.yaml").render(snapshot({"1-0:51.7.0": 3}))
    assert number(image, 9, ">h") == number(image, 10, ">h") == 3


def test_an_overflow_in_an_expression_is_not_available(snapshot: Build) -> None:
    served = RegisterMap.parse(
        "name: x\ntables: [input]\nregisters:\n"
        "  - {address: 0, expression: voltage_l1 * 1e300 * 1e300, type: int16}\n"
        "  - {address: 1, expression: voltage_l1 * 1e300 * 1e300, type: float32}\n",
        "x",
    )
    image = served.render(snapshot(READINGS))
    assert octets(image, 0, 3).hex() == "80007fc00000"


def test_tables_that_hold_the_same_registers_give_the_same_bytes(snapshot: Build) -> None:
    image = RegisterMap.parse(MIXED, "mixed.yaml").render(snapshot(READINGS))
    assert octets(image, 0, 26, Table.HOLDING) == octets(image, 0, 26, Table.INPUT)
    assert len(image.octets) == 2 * 26


def test_a_table_with_a_register_more_has_all_the_others_too(snapshot: Build) -> None:
    served = RegisterMap.parse(
        MIXED + "  - {address: 30, quantity: voltage_l1, type: int16, table: holding}\n", "x"
    )
    image = served.render(snapshot(READINGS))
    assert octets(image, 0, 26, Table.HOLDING) == octets(image, 0, 26, Table.INPUT)
    assert number(image, 30, ">h", Table.HOLDING) == 230
    assert image.read(Table.INPUT, 30, 1) is ExceptionCode.ILLEGAL_DATA_ADDRESS


def test_zero_ranges_make_the_holes_of_the_maps_tables_readable(snapshot: Build) -> None:
    served = RegisterMap.parse(
        "name: x\ntables: [input]\nzero_ranges: [[0, 5]]\nregisters:\n"
        "  - {address: 2, quantity: voltage_l1, type: int16}\n"
        "  - {address: 2, quantity: voltage_l1, type: int16, table: holding}\n",
        "x",
    )
    image = served.render(snapshot(READINGS))
    assert octets(image, 0, 6).hex(" ", 2) == "0000 0000 00e6 0000 0000 0000"
    assert number(image, 2, ">h", Table.HOLDING) == 230
    assert image.read(Table.HOLDING, 1, 1) is ExceptionCode.ILLEGAL_DATA_ADDRESS


def test_a_map_of_exact_reads_alone_has_zeros_in_its_own_tables_only() -> None:
    image = RegisterMap.parse(
        "name: x\ntables: [input]\nzero_ranges: [[0, 5]]\nregisters:\n"
        "  - {address: 9, value: 1, type: uint16, only_count: 1}\n",
        "x",
    ).render(None)
    assert octets(image, 0, 6) == bytes(12)
    assert image.read(Table.HOLDING, 0, 6) is ExceptionCode.ILLEGAL_DATA_ADDRESS


def test_little_word_order_turns_numbers_and_leaves_texts(snapshot: Build) -> None:
    text = MIXED.replace("stale: silent", "word_order: little")
    image = RegisterMap.parse(text, "x").render(snapshot(READINGS))
    low, high = struct.unpack(">2H", octets(image, 3, 2))
    assert high << 16 | low == 19_111_052
    words = struct.unpack(">4H", octets(image, 5, 4))
    assert sum(word << 16 * place for place, word in enumerate(words)) == 19_111_052
    assert octets(image, 12, 2).hex() == "00008000"
    assert octets(image, 14, 4) == b"SN-A77\0\0"
    assert octets(RegisterMap.parse(text, "x").render(None), 1, 2).hex() == "00007fc0"


def test_rendering_is_pure(snapshot: Build) -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    first, second = snapshot(READINGS), snapshot({**READINGS, "1-0:32.7.0": 240.0})
    image = served.render(first)
    before = bytes(image.octets)
    other = served.render(second)
    assert other.octets != before
    assert image.octets == before
    assert served.render(first) == image
    assert served.render(None) == RegisterMap.parse(MIXED, "mixed.yaml").render(None)


def test_nothing_of_a_snapshot_stays_in_the_map(snapshot: Build) -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    never_seen = served.render(snapshot({})).octets
    served.render(snapshot({**READINGS, "1-0:51.7.0": 3.0}))
    assert served.render(snapshot({})).octets == never_seen


def test_images_of_one_map_share_their_layout(snapshot: Build) -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    assert served.render(snapshot(READINGS)).layout is served.render(None).layout is served.layout


def test_a_map_cannot_be_changed() -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    with pytest.raises(FrozenInstanceError):
        served.layout = None
    with pytest.raises(FrozenInstanceError):
        served.written.name = "Other"


# --- the age of the telegram ----------------------------------------------------------------

AGED = """
name: Aged
tables: [holding, input]
registers:
  - {address: 0, value: 0x1111, type: uint16}
  - {address: 1, quantity: telegram_age, type: uint32}
  - {address: 3, value: 0x3333, type: uint16}
  - {address: 4, quantity: telegram_age, type: uint16, unit: ms}
  - {address: 4, quantity: telegram_age, type: uint16, only_count: 1, table: input}
  - {address: 9, quantity: telegram_age, type: uint32, not_available: 0, table: holding}
"""


def age(age_s: float | None) -> Callable[[], dict[str, int | float]]:
    return lambda: {} if age_s is None else {"telegram_age": age_s}


def aged(address: int, count: int, age_s: float | None, table: Table = Table.HOLDING) -> str:
    """Read as a server does, and add the age."""
    served = RegisterMap.parse(AGED, "aged.yaml")
    image = served.render(None)
    word = served.layout.locate(table, address, count)
    assert not isinstance(word, ExceptionCode)
    answer = served.with_own(octets(image, address, count, table), word, age(age_s))
    assert type(answer) is bytes
    return answer.hex(" ", 2)


@pytest.mark.parametrize(
    ("address", "count", "answer"),
    [
        (1, 2, "0001 2345"),
        (1, 1, "0001"),
        (2, 1, "2345"),
        (2, 2, "2345 3333"),
        (0, 2, "1111 0001"),
        (0, 1, "1111"),
        (3, 1, "3333"),
        (0, 5, "1111 0001 2345 3333 fffe"),
        (9, 2, "0001 2345"),
    ],
)
def test_a_read_shows_as_much_of_the_age_as_it_touches(
    address: int, count: int, answer: str
) -> None:
    assert aged(address, count, 0x12345) == answer


def test_an_age_is_scaled_rounded_and_in_each_table_as_any_value() -> None:
    assert aged(4, 1, 1.2345) == "04d2"  # 1234.5 ms, half to even
    assert aged(1, 2, 1.6) == "0000 0002"
    assert aged(4, 1, 30.0, Table.INPUT) == "001e"
    assert aged(3, 2, 30.0, Table.INPUT) == "3333 7530"


def test_before_the_first_telegram_the_age_is_not_available() -> None:
    assert aged(0, 5, None) == "1111 ffff ffff 3333 ffff"
    assert aged(9, 2, None) == "0000 0000"


def test_the_age_counts_on_over_one_image(snapshot: Build) -> None:
    served = RegisterMap.parse(AGED, "aged.yaml")
    image = served.render(snapshot(READINGS))
    word = served.layout.locate(Table.HOLDING, 1, 2)
    answers = [served.with_own(octets(image, 1, 2), word, age(each)).hex() for each in (0.0, 7.0)]
    assert answers == ["00000000", "00000007"]
    assert octets(image, 1, 2).hex() == "ffffffff"


def test_a_map_without_age_serves_a_read_as_it_is(snapshot: Build) -> None:
    served = RegisterMap.parse(MIXED, "mixed.yaml")
    answer = octets(served.render(snapshot(READINGS)), 0, 26)
    assert served.with_own(answer, 0, lambda: pytest.fail("nobody asked")) == answer


def test_the_services_own_quantities_are_asked_for_only_by_a_read_that_shows_them() -> None:
    served = RegisterMap.parse(AGED, "aged.yaml")
    assert served.own == {"telegram_age"}
    answer = octets(served.render(None), 3, 1)
    assert served.with_own(answer, 3, lambda: pytest.fail("nobody asked")) == answer


# --- power in steps coarser than a watt -----------------------------------------------------

POWERS = ("active_power_total", "active_power_l1", "active_power_l2", "active_power_l3")


def power_map(scale: int, unit: str = "W", kind: str = "int32") -> RegisterMap:
    lines = "".join(
        f"  - {{address: {2 * place}, quantity: {name}, type: {kind}, unit: {unit},"
        " scale_register: 99}\n"
        for place, name in enumerate(POWERS)
    )
    return RegisterMap.parse(
        f"name: Power\ntables: [input]\nregisters:\n{lines}"
        f"  - {{address: 99, value: {scale}, type: sunssf}}\n",
        "power.yaml",
    )


def shown(image: Image) -> list[int]:
    return [number(image, 2 * place, ">i") for place in range(4)]


def powers(total_w: int, phases: list[tuple[int, int]]) -> dict[str, int | float]:
    """Return readings of a meter: tenths of a volt, hundredths of an ampere."""
    found: dict[str, int | float] = {"1-0:1.7.0": max(total_w, 0), "1-0:2.7.0": max(-total_w, 0)}
    for place, (volts, amps) in enumerate(phases):
        found[f"1-0:{32 + 20 * place}.7.0"] = volts / 10
        found[f"1-0:{31 + 20 * place}.7.0"] = amps / 100
    return found


watts = st.integers(-2_000_000, 2_000_000)
three_phases = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(0, 60_000)), min_size=3, max_size=3
)


@given(total_w=watts, phases=three_phases, scale=st.integers(1, 4))
@example(total_w=5, phases=[(2300, 100)] * 3, scale=1)
@example(total_w=15, phases=[(2300, 100)] * 3, scale=1)
@example(total_w=-25, phases=[(2300, 100)] * 3, scale=1)
@example(total_w=14, phases=[(2300, 100)] * 3, scale=1)  # 4.67 W each would show 0 + 0 + 0
@example(total_w=-17, phases=[(0, 0)] * 3, scale=1)
def test_coarse_phases_sum_to_the_coarse_total_and_that_is_the_rounded_one(
    snapshot: Build, total_w: int, phases: list[tuple[int, int]], scale: int
) -> None:
    image = power_map(scale).render(snapshot(powers(total_w, phases)))
    total, *parts = shown(image)
    assert sum(parts) == total
    assert total == round(total_w / 10**scale)


@given(total_w=watts, phases=three_phases, scale=st.integers(1, 4))
def test_a_coarse_phase_is_within_a_step_of_its_watts_and_has_their_sign(
    snapshot: Build, total_w: int, phases: list[tuple[int, int]], scale: int
) -> None:
    seen = snapshot(powers(total_w, phases))
    step_w = 10**scale
    for name, steps in zip(POWERS[1:], shown(power_map(scale).render(seen))[1:], strict=True):
        watts_here = seen.values[name].number
        # The total moves by half a step, the share of a phase by less than one more.
        assert abs(steps * step_w - watts_here) < 1.5 * step_w
        assert steps == 0 or (steps > 0) == (total_w > 0)


@pytest.mark.parametrize(("scale", "unit"), [(3, "W"), (0, "kW"), (-1, "kW"), (4, "mW")])
def test_a_step_may_come_of_scale_factor_and_unit_together(
    snapshot: Build, scale: int, unit: str
) -> None:
    total, *parts = shown(power_map(scale, unit).render(snapshot(powers(4_400, [(2300, 640)] * 3))))
    assert total == {(3, "W"): 4, (0, "kW"): 4, (-1, "kW"): 44, (4, "mW"): 440}[scale, unit]
    assert sum(parts) == total


@pytest.mark.parametrize("scale", [0, -1])
def test_a_map_in_watts_or_finer_shows_every_watt(snapshot: Build, scale: int) -> None:
    image = power_map(scale).render(snapshot(powers(1_235, [(2300, 200)] * 3)))
    assert shown(image) == [watts * 10**-scale for watts in (1235, 412, 412, 411)]


def test_coarse_power_of_one_phase_is_the_total(snapshot: Build) -> None:
    image = power_map(1).render(snapshot(powers(1_235, [(2300, 540)])))
    missing = -(2**31)
    assert shown(image) == [124, 124, missing, missing]


def test_a_coarse_total_without_phases_stands_on_the_first(snapshot: Build) -> None:
    image = power_map(1).render(snapshot(powers(-1_236, [])))
    assert shown(image) == [-124, -124, 0, 0]


def test_phases_in_watts_sum_to_a_total_that_saturates(snapshot: Build) -> None:
    text = """
name: 16 bits
registers:
  - {address: 0, quantity: active_power_total, type: int16}
  - {address: 1, quantity: active_power_l1,    type: int16}
  - {address: 2, quantity: active_power_l2,    type: int16}
  - {address: 3, quantity: active_power_l3,    type: int16}
"""
    image = RegisterMap.parse(text, "map").render(snapshot(powers(-47_568, [(2300, 6900)] * 3)))
    octets = image.read(Table.HOLDING, 0, 4)
    assert isinstance(octets, bytes)
    total, *phases = struct.unpack(">4h", octets)
    assert total == -32767
    assert sum(phases) == total


def test_without_a_total_coarse_powers_are_not_available(snapshot: Build) -> None:
    image = power_map(1).render(snapshot({"1-0:1.7.0": 500}))
    assert shown(image) == [-(2**31)] * 4


def test_float_registers_take_the_watts_of_the_snapshot(snapshot: Build) -> None:
    lines = "".join(
        f"  - {{address: {2 * place}, quantity: {name}, type: float32, unit: kW}}\n"
        for place, name in enumerate(POWERS)
    )
    served = RegisterMap.parse(f"name: x\ntables: [input]\nregisters:\n{lines}", "x")
    image = served.render(snapshot(powers(1_235, [(2300, 200)] * 3)))
    assert [number(image, 2 * place, ">f") for place in range(4)] == [
        pytest.approx(kilowatts) for kilowatts in (1.235, 0.412, 0.412, 0.411)
    ]


def test_a_coarse_map_keeps_the_watts_of_its_float_registers(snapshot: Build) -> None:
    coarse = "".join(
        f"  - {{address: {place}, quantity: {name}, type: int16, unit: kW}}\n"
        for place, name in enumerate(POWERS)
    )
    served = RegisterMap.parse(
        f"name: x\ntables: [input]\nregisters:\n{coarse}"
        "  - {address: 10, quantity: active_power_total, type: float32}\n",
        "x",
    )
    image = served.render(snapshot(powers(1_235, [(2300, 200)] * 3)))
    assert number(image, 0, ">h") == 1
    assert number(image, 10, ">f") == 1235.0


def test_a_coarse_map_without_all_phases_rounds_each_register(snapshot: Build) -> None:
    served = RegisterMap.parse(
        "name: x\ntables: [input]\nregisters:\n"
        "  - {address: 0, quantity: active_power_total, type: int16, unit: kW}\n"
        "  - {address: 1, quantity: active_power_l1, type: int16, unit: kW}\n",
        "x",
    )
    image = served.render(snapshot(powers(4_800, [(2300, 700)] * 3)))
    assert (number(image, 0, ">h"), number(image, 1, ">h")) == (5, 2)


def test_coarse_rendering_leaves_the_snapshot_as_it_was() -> None:
    watts_by_name = zip(POWERS, (14, 5, 5, 4), strict=True)
    values = {name: Value(watts, Origin.DERIVED) for name, watts in watts_by_name}
    seen = Snapshot(MappingProxyType(dict(values)), MappingProxyType({}), 0.0)
    assert shown(power_map(1).render(seen)) == [1, 1, 0, 0]
    assert seen.values == values


# --- the other way round, by direction, in several steps ------------------------------------


def steps_map(*groups: tuple[str, str, str]) -> RegisterMap:
    """Return a map with a total and its phases for each (quantity's stem, unit, type)."""
    lines, address = "", 0
    for stem, unit, kind in groups:
        for of in ("total", "l1", "l2", "l3"):
            lines += (
                f"  - {{address: {address}, quantity: {stem}_{of}, type: {kind}, unit: {unit}}}\n"
            )
            address += 2
    return RegisterMap.parse(f"name: x\nregisters:\n{lines}", "x")


GROUPS = st.tuples(
    st.sampled_from(
        ["active_power", "-active_power", "active_power_import", "active_power_export"]
    ),
    st.sampled_from(["0.1 W", "W", "10 W", "100 W", "kW", "0.1 kW"]),
    st.just("int32"),
)


@given(
    total_w=watts,
    phases=three_phases,
    groups=st.lists(GROUPS, min_size=1, max_size=5),
)
@example(total_w=15, phases=[(2300, 100)] * 3, groups=[("-active_power", "10 W", "int32")])
@example(total_w=-14, phases=[(2300, 100)] * 3, groups=[("active_power_export", "10 W", "int32")])
@example(
    total_w=1_450,
    phases=[(2300, 210)] * 3,
    groups=[("active_power", "10 W", "int32"), ("-active_power", "kW", "int32")],
)
def test_phases_sum_to_the_total_in_every_step_and_sign_that_a_map_shows(
    snapshot: Build,
    total_w: int,
    phases: list[tuple[int, int]],
    groups: list[tuple[str, str, str]],
) -> None:
    image = steps_map(*groups).render(snapshot(powers(total_w, phases)))
    for place, (stem, unit, _) in enumerate(groups):
        total, *parts = (number(image, 8 * place + 2 * at, ">i") for at in range(4))
        assert sum(parts) == total, (stem, unit)
        meant = {"-": -total_w, "i": max(total_w, 0), "e": max(-total_w, 0)}
        exact = meant.get(stem[0], meant.get(stem.removeprefix("active_power_")[0], total_w))
        step_w = {"0.1 W": 0.1, "W": 1, "10 W": 10, "100 W": 100, "kW": 1000, "0.1 kW": 100}[unit]
        assert total == round(exact / step_w)
        # What nothing is drawn from is not fed into either.
        assert all(part == 0 or (part > 0) == (total > 0) for part in parts)


@pytest.mark.parametrize(
    ("stem", "kind", "code", "total_w", "shown_total"),
    [
        ("active_power", "int16", ">h", 400_000, 32767),
        ("active_power", "int16", ">h", -400_000, -32767),
        ("-active_power", "int16", ">h", 400_000, -32767),
        ("active_power_import", "uint16", ">H", 700_000, 65534),
        ("active_power_export", "uint16", ">H", -700_000, 65534),
        ("-active_power", "uint16", ">H", -50, 5),
        ("-active_power", "uint16", ">H", 50, 0),
    ],
)
def test_coarse_phases_sum_to_a_total_that_saturates_too(
    snapshot: Build, stem: str, kind: str, code: str, total_w: int, shown_total: int
) -> None:
    served = steps_map((stem, "10 W", kind))
    image = served.render(snapshot(powers(total_w, [(2300, 5_000), (2310, 4_000), (2290, 9_000)])))
    total, *parts = (number(image, 2 * at, code) for at in range(4))
    assert total == shown_total
    assert sum(parts) == total


def test_total_and_phases_of_one_step_may_have_different_types(snapshot: Build) -> None:
    lines = "".join(
        f"  - {{address: {2 * place}, quantity: {name}, type: {kind}, unit: 10 W}}\n"
        for place, (name, kind) in enumerate(
            zip(POWERS, ("int32", "int16", "int16", "int16"), strict=True)
        )
    )
    image = RegisterMap.parse(f"name: x\nregisters:\n{lines}", "x").render(
        snapshot(powers(14, [(2300, 100)] * 3))
    )
    assert number(image, 0, ">i") == 1
    assert [number(image, 2 * place, ">h") for place in (1, 2, 3)] == [1, 0, 0]


IDLE = """
name: Idle phases
registers:
  - {address: 0, quantity: voltage_l1, type: uint16}
  - {address: 1, quantity: voltage_l2, type: uint16, unconnected: 0}
"""


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ({"1-0:32.7.0": 230, "1-0:52.7.0": 231}, [230, 231]),
        ({"1-0:32.7.0": 230}, [230, 0]),
        ({"1-0:1.7.0": 5}, [0xFFFF, 0xFFFF]),
    ],
)
def test_a_phase_stands_idle_only_where_the_meter_has_another(
    snapshot: Build, readings: dict[str, int], words: list[int]
) -> None:
    served = RegisterMap.parse(IDLE, "map")
    for _ in range(2):  # the first image finds out what is missing
        octets = served.render(snapshot(readings)).read(Table.HOLDING, 0, 2)
        assert isinstance(octets, bytes)
        assert list(struct.unpack(">2H", octets)) == words
    blank = served.render(None).read(Table.HOLDING, 0, 2)
    assert blank == b"\xff\xff\xff\xff", "a silent meter is not one with an idle phase"
