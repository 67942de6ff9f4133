"""Every register of every map reads what it read when a person last looked at it."""

from functools import cache
from math import isclose, isnan

import pytest

from gateway import map_library
from gateway.registers import Register, RegisterMap
from gateway.snapshot import Snapshot
from gateway.snapshot.snapshot import Values

from . import golden_tables

NAMES = sorted(map_library.find(None))
every_map = pytest.mark.parametrize("name", NAMES)
every_snapshot = pytest.mark.parametrize("seen", golden_tables.MEASURED)


@cache
def shipped(name: str) -> RegisterMap:
    return map_library.load(name, None)


@every_map
def test_a_map_reads_as_in_its_golden_table(name: str) -> None:
    written = (golden_tables.FOLDER / f"{name}.txt").read_text("utf-8")
    assert golden_tables.table_of(shipped(name)) == written


def test_every_golden_table_is_that_of_a_map() -> None:
    assert sorted(path.stem for path in golden_tables.FOLDER.glob("*.txt")) == NAMES


def half_a_step(register: Register) -> float:
    """How far a number may be from its value: a phase's power a step more, for the sum."""
    assert register.type
    assert register.quantity
    if register.type.is_float:
        return 0.0
    is_split = register.quantity.startswith("active_power") and register.exponent >= 0
    return (1.5 if is_split else 0.5) + 1e-6


@every_snapshot
@every_map
def test_every_number_is_the_snapshots_within_half_a_step_or_at_the_end_of_its_type(
    name: str, seen: str
) -> None:
    snapshot = golden_tables.snapshot(seen)
    image = shipped(name).render(snapshot)
    for register in shipped(name).registers:
        if register.type is None or register.quantity not in snapshot.values:
            continue
        number = snapshot.values[register.quantity].number
        wanted = register.sign * number / 10**register.exponent
        wanted = max(register.type.lowest, min(register.type.highest, wanted))
        for table in register.tables:
            found = float(golden_tables.raw(image, table, register))
            where = register.line.where
            slack = half_a_step(register)
            assert isclose(found, wanted, rel_tol=2**-23, abs_tol=slack), (where, found, wanted)


@every_snapshot
@every_map
def test_nothing_saturates_in_a_house_of_63_a(name: str, seen: str) -> None:
    snapshot = golden_tables.snapshot(seen)
    for register in shipped(name).registers:
        if register.type is not None and register.quantity in snapshot.values:
            number = register.sign * snapshot.values[register.quantity].number
            assert not isnan(number)
            assert register.type.holds(number, register.exponent), register.line.where


@pytest.mark.parametrize("number", [10**18, -(10**18)])
@every_map
def test_what_no_register_can_hold_stands_at_its_end_and_is_never_taken_for_missing(
    name: str, number: int
) -> None:
    everything = dict.fromkeys(golden_tables.MEASURED["every quantity"], number)
    image = shipped(name).render(Snapshot(Values(everything, {}), {}, 0.0, everything))
    blank = shipped(name).render(None)
    for register in shipped(name).registers:
        kind = register.type
        if kind is None or kind.is_float or register.quantity not in everything:
            continue
        is_split = register.quantity.startswith("active_power") and register.exponent >= 0
        wanted = register.sign * number / 10**register.exponent
        for table in register.tables:
            found = golden_tables.raw(image, table, register)
            if is_split and kind.lowest <= int(found) <= kind.highest:
                continue  # the phases sum to what the total can show
            assert int(found) == max(kind.lowest, min(kind.highest, wanted)), register.line.where
            missing = golden_tables.raw(blank, table, register)
            assert found != missing or found == "0", register.line.where
