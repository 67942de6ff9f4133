"""Which reads a map takes: few, but each one that the map itself would answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import map_library
from gateway.modbus.reads import Refusal, plan, table_of, take_apart
from gateway.registers import ExceptionCode, RegisterMap, Table

SHIPPED = sorted(map_library.find(None))
LENGTHS = {"uint16": 1, "float32": 2, "int64": 4}


def parsed(lines: str, more: str = "") -> RegisterMap:
    return RegisterMap.parse(f"name: x\n{more}\nregisters:\n{lines}", "x.yaml")


def asked(register_map: RegisterMap, prefer: Table = Table.HOLDING) -> list[tuple[int, int]]:
    reads, too_long = plan(register_map, register_map.registers, prefer)
    assert not too_long
    return [(read.address, read.count) for read in reads]


FOUR = """
  - {address: 0, quantity: voltage_l1, type: float32}
  - {address: 2, quantity: voltage_l2, type: float32}
  - {address: 10, quantity: voltage_l3, type: float32}
  - {address: 12, quantity: frequency, type: uint16}
"""


def test_neighbours_are_one_read_and_a_hole_parts_them() -> None:
    assert asked(parsed(FOUR)) == [(0, 4), (10, 3)]


def test_a_range_that_reads_zero_is_no_hole() -> None:
    assert asked(parsed(FOUR, "zero_ranges: [[0, 20]]")) == [(0, 13)]


def test_a_read_is_no_longer_than_allowed_and_cuts_no_value() -> None:
    assert asked(parsed(FOUR, "max_read: 3")) == [(0, 2), (2, 2), (10, 3)]


def test_what_answers_only_its_own_length_is_read_alone() -> None:
    lines = FOUR + "  - {address: 11, value: 1648, type: uint16, only_count: 1}\n"
    assert asked(parsed(lines)) == [(0, 4), (10, 3), (11, 1)]


def test_two_ranges_that_touch_are_not_crossed() -> None:
    more = "zero_ranges: [[2, 5], [6, 9]]"
    lines = """
  - {address: 0, quantity: voltage_l1, type: float32}
  - {address: 10, quantity: voltage_l2, type: float32}
"""
    assert asked(parsed(lines, more)) == [(0, 2), (10, 2)]


def test_tables_are_read_each_on_its_own_and_holding_is_preferred() -> None:
    lines = """
  - {address: 0, quantity: voltage_l1, type: float32}
  - {address: 2, quantity: voltage_l2, type: float32, table: input}
"""
    both = parsed(lines)
    reads, _ = plan(both, both.registers)
    assert [(read.table, read.address) for read in reads] == [("holding", 0), ("input", 2)]
    assert asked(both, Table.INPUT) == [(0, 4)]


def test_a_register_that_no_read_can_hold_is_named() -> None:
    register_map = parsed('  - {address: 0, text: "", type: string, length: 9}\n', "max_read: 8")
    assert plan(register_map, register_map.registers) == ([], list(register_map.registers))


@pytest.mark.parametrize("prefer", Table)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_read_of_a_shipped_map_is_answered_by_it(name: str, prefer: Table) -> None:
    check(map_library.load(name, None), prefer)


@given(data=st.data())
def test_every_read_of_any_map_is_answered_by_it(data: st.DataObject) -> None:
    address, lines = 0, []
    for _ in range(data.draw(st.integers(1, 12))):
        address += data.draw(st.sampled_from((0, 0, 0, 1, 3)))
        kind = data.draw(st.sampled_from(sorted(LENGTHS)))
        table = data.draw(st.sampled_from(("", "", ", table: input", ", table: holding")))
        lines.append(f"  - {{address: {address}, quantity: voltage_l1, type: {kind}{table}}}")
        address += LENGTHS[kind]
    zeros = "zero_ranges: [[0, 5]]" if data.draw(st.booleans()) else ""
    whole = "whole_values: true" if data.draw(st.booleans()) else ""
    most = f"max_read: {data.draw(st.integers(4, 20))}"
    register_map = parsed("\n".join(lines), "\n".join((zeros, whole, most)))
    check(register_map, data.draw(st.sampled_from(Table)))


def check(register_map: RegisterMap, prefer: Table) -> None:
    reads, too_long = plan(register_map, register_map.registers, prefer)
    assert not too_long
    found = []
    octets = register_map.render(None)
    for read in reads:
        answer = octets.read(read.table, read.address, read.count)
        assert not isinstance(answer, ExceptionCode)
        words = take_apart(read, answer)
        found += list(words)
        for register, own in words.items():
            assert len(own) == 2 * register.words
            assert table_of(register, prefer) is read.table
            if isinstance(register.content, bytes):
                assert own == register.content
    assert sorted(map(id, found)) == sorted(map(id, register_map.registers)), "each once"


def test_a_refusal_is_that_of_each_register_of_the_read() -> None:
    register_map = parsed(FOUR)
    (read, _), _ = plan(register_map, register_map.registers)
    refusal = Refusal(3, 0, 4, 2, "no")
    assert take_apart(read, refusal) == dict.fromkeys(register_map.registers[:2], refusal)
    assert refusal.where == "function 3, registers 0–3"
