"""Register map files: what they may say, and what is said about those that are wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.located import ConfigError
from gateway.registers import Identity, RegisterMap, Stale, Table
from gateway.registers.mapfile import STALE_IN_MAPS, parse

SHIPPED = sorted((Path(__file__).parents[2] / "register_maps").glob("*.yaml"))
HEAD = "name: Test\ntables: [input]\nregisters:\n"
UINT16 = "{address: 0, value: 1, type: uint16}"


def refusal(marked: str) -> str:
    """Parse a map in which » stands before what is wrong; return what the error says of it."""
    before, mark, after = marked.partition("»")
    assert mark, "the test marks no place"
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    with pytest.raises(ConfigError) as caught:
        parse(before + after, "maps/mine.yaml")
    where, _, message = str(caught.value).partition(": ")
    assert where == f"maps/mine.yaml:{line}:{column}", caught.value
    return message


def registers(*lines: str) -> str:
    return HEAD + "".join(f"  - {line}\n" for line in lines)


# --- the file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("»", "the file is empty"),
        ("»# only a comment\n", "the file is empty"),
        ("»- a\n- b\n", "expected 'word: value' lines, found a list"),
        ("»Eastron\n", "expected 'word: value' lines, found one value"),
        ("name: Test\n»\ttables: [input]\n", "found character '\\t' that cannot start any token"),
        ("name: [»", "expected the node content, but found '<stream end>'"),
        ("name: Test »: x\n", "mapping values are not allowed here"),
        (
            "name: »*other\n",
            "found undefined alias: a value that starts with * & or ! needs quotes",
        ),
        ("name: »''\ntables: [input]\nregisters: [x]\n", "a map has a name"),
        ("»tables: [input]\nregisters: []\n", "'name' is missing here"),
        ("»name: Test\ntables: [input]\n", "'registers' is missing here"),
        (
            "name: Test\n»tabels: [input]\nregisters: []\n",
            "unknown word 'tabels', did you mean 'tables'?",
        ),
        (
            "name: Test\n»xxxx: 1\n",
            "unknown word 'xxxx'",
        ),
        ("name: Test\n»name: Again\n", "'name' comes twice"),
        ("name: »[a, b]\ntables: [input]\nregisters: [x]\n", "expected one value, found a list"),
        ("name: Test\n? »[a]\n: b\n", "expected one value, found a list"),
    ],
)
def test_a_file_that_is_no_map_is_refused(marked: str, message: str) -> None:
    # A name must be read as text before all else is known to be wrong.
    marked = marked.replace("registers: [x]", "registers:\n  - " + UINT16)
    assert refusal(marked) == message


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("tables: »input", "expected a list, found one value"),
        ("tables:»", None),
        ("tables: »[]", "a map serves at least one table: input, holding"),
        ("tables: [input, »holdings]", "unknown table 'holdings', did you mean 'holding'?"),
        ("tables: [»coils]", "unknown table 'coils'; known are input, holding"),
        ("tables: [»[input]]", "expected one value, found a list"),
        (
            "tables: [input]\nword_order: »middle",
            "unknown word order 'middle'; known are big, little",
        ),
        (
            "tables: [input]\nword_order: »littel",
            "unknown word order 'littel', did you mean 'little'?",
        ),
        (
            "tables: [input]\nstale: »exeption",
            "unknown reaction 'exeption', did you mean 'exception'?",
        ),
        (
            "tables: [input]\nstale: »zero",
            "unknown reaction 'zero'; known are exception, silent, not_available",
        ),
        ("tables: [input]\nzero_ranges: »0", "expected a list, found one value"),
        ("tables: [input]\nzero_ranges: [»0, 79]", "expected a list, found one value"),
        ("tables: [input]\nzero_ranges: [»[0]]", "expected [first, last]"),
        ("tables: [input]\nzero_ranges: [»[0, 1, 2]]", "expected [first, last]"),
        ("tables: [input]\nzero_ranges: [[0, »x]]", "'x' is no whole number"),
        ("tables: [input]\nzero_ranges: [[5, »4]]", "4 is not between 5 and 65535"),
        ("tables: [input]\nzero_ranges: [[»-1, 4]]", "-1 is not between 0 and 65535"),
        ("tables: [input]\nzero_ranges: [[0, »65536]]", "65536 is not between 0 and 65535"),
        ("filled_ranges: [»[0, 1]]", "expected [first, last, word]"),
        ("filled_ranges: [[0, 1, »0x10000]]", "0x10000 is not between 0 and 65535"),
        ("filled_ranges: [[0, 1, »-1]]", "-1 is not between 0 and 65535"),
        ("ignored_writes: [»[0]]", "expected [first, last]"),
        ("ignored_writes: [[7, »6]]", "6 is not between 7 and 65535"),
        ("max_read: »0", "0 is not between 1 and 125"),
        ("max_read: »126", "126 is not between 1 and 125"),
        ("whole_values: »yes", "unknown answer 'yes'; known are true, false"),
        ("base: »-1", "-1 is not between 0 and 65535"),
        ("base: »0x10000", "0x10000 is not between 0 and 65535"),
        ("base: 60000\nzero_ranges: [[0, »9000]]", "9000 is not between 0 and 5535"),
        ("base: 60000\nzero_ranges: [[»9000, 9001]]", "9000 is not between 0 and 5535"),
        ("identity: »Me", "expected 'word: value' lines, found one value"),
        ("identity: »{vendor: Me, product: Mine}", "'revision' is missing here"),
        (
            "identity: {vendor: Me, product: Mine, »version: '2'}",
            "unknown word 'version', did you mean 'revision'?",
        ),
        (
            "identity: {vendor: »'', product: Mine, revision: '2'}",
            "expected 1 to 60 ASCII characters",
        ),
        (
            f"identity: {{vendor: »{'x' * 61}, product: Mine, revision: '2'}}",
            "expected 1 to 60 ASCII characters",
        ),
        ("server_id: »Zähler", "expected 1 to 200 ASCII characters"),
        ("server_id: »''", "expected 1 to 200 ASCII characters"),
        ("port: »0", "0 is not between 1 and 65535"),
        ("unit_ids: [1, »256]", "256 is not between 0 and 255"),
        ("over: [tcp, »tpc]", "unknown transport 'tpc', did you mean 'tcp'?"),
        ("over: [»can]", "unknown transport 'can'; known are tcp, rtu, rtu over tcp, udp"),
        ("not_available: »0", "expected 'word: value' lines, found one value"),
        ("not_available: {»int17: 0}", "unknown type 'int17', did you mean 'int16'?"),
        (
            "not_available: {»string: 0}",
            "unknown type 'string'; known are int16, uint16, int32, uint32, int64, uint64, acc32,"
            " acc64, sunssf, float32, float64",
        ),
        ("not_available: {int16: »0x8000}", "int16 cannot hold 32768"),
        ("without: »[[0, 1]]", "'without' takes registers from the map named by 'like'"),
        ("like: »other", "there is no map 'other'"),
        ("like: »[other]", "expected one value, found a list"),
        ("tables: [input]\nsources: »a document", "expected a list, found one value"),
        ("tables: [input]\nnotes:\n  - »one: two", "expected one value, found 'word: value' lines"),
    ],
)
def test_a_wrong_word_of_the_map_is_refused(marked: str, message: str | None) -> None:
    text = f"name: Test\n{marked}\nregisters:\n  - {UINT16}\n"
    assert refusal(text) == (message or "expected a list, found nothing")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("registers: »x", "expected a list, found one value"),
        ("registers: »[]", "a map has at least one register"),
        ("registers: [»5]", "expected 'word: value' lines, found one value"),
        ("registers: [»[address, 1]]", "expected 'word: value' lines, found a list"),
        ("registers:\n  »address: 1", "expected a list, found 'word: value' lines"),
    ],
)
def test_registers_are_a_list_of_lines(lines: str, message: str) -> None:
    assert refusal(f"name: Test\ntables: [input]\n{lines}\n") == message


# --- one register ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("»{value: 1, type: uint16}", "'address' is missing here"),
        ("»{address: 1, value: 1}", "'type' is missing here"),
        (
            "»{address: 1, type: uint16}",
            "a register has one of quantity, value, text, expression, scale_for",
        ),
        (
            "»{address: 1, type: uint16, value: 1, quantity: voltage_l1}",
            "a register has one of quantity, value, text, expression, scale_for",
        ),
        (
            "{»adress: 1, value: 1, type: uint16}",
            "unknown word 'adress', did you mean 'address'?",
        ),
        (
            "{address: 1, value: 1, type: uint16, »address: 2}",
            "'address' comes twice",
        ),
        ("{address: »one, value: 1, type: uint16}", "'one' is no whole number"),
        ("{address: »1.5, value: 1, type: uint16}", "'1.5' is no whole number"),
        ("{address: »[1], value: 1, type: uint16}", "expected one value, found a list"),
        ("{address: »-1, value: 1, type: uint16}", "-1 is not between 0 and 65535"),
        ("{address: »65536, value: 1, type: uint16}", "65536 is not between 0 and 65535"),
        (
            "{address: »65535, value: 1, type: uint32}",
            "2 registers from 65535 pass the last, 65535",
        ),
        (
            "{address: »0xFFFD, quantity: voltage_l1, type: float64}",
            "4 registers from 65533 pass the last, 65535",
        ),
        (
            "{address: »65534, text: abc, type: string, length: 3}",
            "3 registers from 65534 pass the last, 65535",
        ),
        (
            "{address: 1, value: 1, type: »flaot32}",
            "unknown type 'flaot32', did you mean 'float32'?",
        ),
        (
            "{address: 1, value: 1, type: »bool}",
            "unknown type 'bool'; known are int16, uint16, int32, uint32, int64, uint64, acc32, "
            "acc64, sunssf, float32, float64, string, chars",
        ),
        (
            "{address: 1, quantity: »voltag_l1, type: float32}",
            "unknown quantity 'voltag_l1', did you mean 'voltage_l1'?",
        ),
        (
            "{address: 1, quantity: »active_power_totl, type: float32}",
            "unknown quantity 'active_power_totl', did you mean 'active_power_total'?",
        ),
        ("{address: 1, quantity: »xyz, type: float32}", "unknown quantity 'xyz'"),
        (
            "{address: 1, value: 1, type: uint16, table: »holdin}",
            "unknown table 'holdin', did you mean 'holding'?",
        ),
        (
            "{address: 1, value: 1, type: uint16, unit: »V}",
            "'unit' belongs to a quantity or an expression",
        ),
        (
            "{address: 1, value: 1, type: uint16, not_available: »0}",
            "'not_available' belongs to a quantity or an expression",
        ),
        (
            "{address: 1, value: 1, type: uint16, scale_register: »5}",
            "'scale_register' belongs to a quantity or an expression of an integer type",
        ),
        ("{address: 1, value: 1, type: uint16, length: »1}", "'length' belongs to a text"),
        (
            "{address: 1, quantity: voltage_l1, type: uint16, length: »1}",
            "'length' belongs to a text",
        ),
        (
            "{address: 1, text: a, type: string, length: 1, unit: »V}",
            "'unit' belongs to a quantity or an expression",
        ),
    ],
)
def test_a_wrong_register_is_refused(line: str, message: str) -> None:
    assert refusal(registers(UINT16, line)) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{address: 1, value: »x, type: uint16}", "'x' is no number"),
        ("{address: 1, value: »'', type: uint16}", "'' is no number"),
        ("{address: 1, value: »[1], type: uint16}", "expected one value, found a list"),
        ("{address: 1, value: »65536, type: uint16}", "uint16 cannot hold 65536"),
        ("{address: 1, value: »-1, type: uint16}", "uint16 cannot hold -1"),
        ("{address: 1, value: »1.5, type: uint16}", "uint16 cannot hold 1.5"),
        ("{address: 1, value: »0x8000, type: int16}", "int16 cannot hold 32768"),
        ("{address: 1, value: »1e39, type: float32}", "float32 cannot hold 1e+39"),
        ("{address: 1, value: »11, type: sunssf}", "11 is not between -10 and 10"),
        ("{address: 1, value: »-11, type: sunssf}", "-11 is not between -10 and 10"),
        ("{address: 1, value: »0.5, type: sunssf}", "'0.5' is no whole number"),
        (
            "{address: 1, quantity: voltage_l1, type: int16, not_available: »32768}",
            "int16 cannot hold 32768",
        ),
        (
            "{address: 1, quantity: voltage_l1, type: int16, not_available: »none}",
            "'none' is no number",
        ),
    ],
)
def test_a_constant_that_does_not_fit_is_refused(line: str, message: str) -> None:
    assert refusal(registers(UINT16, line)) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{address: 1, text: abc, type: »string}",
            "a text needs 'length', in registers",
        ),
        ("{address: 1, text: abc, type: string, length: »0}", "0 is not between 1 and 125"),
        ("{address: 1, text: abc, type: string, length: »126}", "126 is not between 1 and 125"),
        (
            "{address: 1, text: abc, type: »uint16, length: 2}",
            "'text' goes with type string or chars, and only with those",
        ),
        (
            "{address: 1, value: 1, type: »string, length: 2}",
            "'text' goes with type string or chars, and only with those",
        ),
        (
            "{address: 1, text: »abcde, type: string, length: 2}",
            "2 registers hold 4 ASCII characters",
        ),
        (
            "{address: 1, text: »Zähl, type: string, length: 2}",
            "2 registers hold 4 ASCII characters",
        ),
        (
            "{address: 1, text: »'a ${numbr}', type: string, length: 2}",
            "unknown placeholder ${numbr}; known are ${serial}, ${meter_number}, ${device_name}",
        ),
        (
            "{address: 1, text: »'${meter_number}${}', type: string, length: 2}",
            "unknown placeholder ${}; known are ${serial}, ${meter_number}, ${device_name}",
        ),
        (
            "{address: 1, text: »'${meter_number', type: string, length: 2}",
            "a placeholder is not closed; known are ${serial}, ${meter_number}, ${device_name}",
        ),
    ],
)
def test_a_wrong_text_is_refused(line: str, message: str) -> None:
    assert refusal(registers(UINT16, line)) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{address: 1, quantity: voltage_l1, type: int16, unit: »A}",
            "voltage_l1 is in V, not in A",
        ),
        (
            "{address: 1, quantity: energy_active_import_total, type: int32, unit: »kW}",
            "energy_active_import_total is in Wh, not in kW",
        ),
        (
            "{address: 1, quantity: power_factor_total, type: int16, unit: »W}",
            "power_factor_total is in a plain ratio, not in W",
        ),
        (
            "{address: 1, quantity: voltage_l1, type: int16, unit: »'%'}",
            "voltage_l1 is in V, not in %",
        ),
        (
            "{address: 1, quantity: energy_active_import_total, type: int32, unit: »kwh}",
            "unknown unit 'kwh', did you mean 'kWh'?",
        ),
        (
            "{address: 1, quantity: voltage_l1, type: int16, unit: »''}",
            "voltage_l1 is in V, not in a plain ratio",
        ),
        (
            "{address: 1, quantity: voltage_l1, type: int16, unit: »0.1}",
            "voltage_l1 is in V, not in a plain ratio",
        ),
    ],
)
def test_a_unit_of_another_dimension_is_refused(line: str, message: str) -> None:
    assert refusal(registers(UINT16, line)) == message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["{address: 1, quantity: voltage_l1, type: int16, scale_register: »9}"],
            "no register of type sunssf stands at 9",
        ),
        (
            [
                "{address: 1, quantity: voltage_l1, type: int16, scale_register: »9}",
                "{address: 9, value: -1, type: int16}",
            ],
            "no register of type sunssf stands at 9",
        ),
        (
            [
                "{address: 1, quantity: voltage_l1, type: float32, scale_register: »9}",
                "{address: 9, value: -1, type: sunssf}",
            ],
            "'scale_register' belongs to a quantity or an expression of an integer type",
        ),
        (
            ["{address: 1, quantity: voltage_l1, type: int16, scale_register: »x}"],
            "'x' is no whole number",
        ),
        (
            ["{address: 9, quantity: voltage_l1, type: »sunssf}"],
            "a scale factor is a 'value': it never changes at run time",
        ),
        (
            ["{address: 9, expression: '1', type: »sunssf}"],
            "a scale factor is a 'value': it never changes at run time",
        ),
        (
            [
                "{address: 1, quantity: voltage_l1, type: int16, table: holding,"
                " scale_register: »9}",
                "{address: 9, value: -1, type: sunssf, table: input}",
            ],
            "no register of type sunssf stands at 9",
        ),
    ],
    ids=["nowhere", "int16", "float", "no address", "quantity", "expression", "other table"],
)
def test_a_scale_register_is_a_constant_scale_factor_of_the_map(
    lines: list[str], message: str
) -> None:
    assert refusal(registers(UINT16, *lines)) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{address: 1, expression: »voltage_l4, type: int16}", "unknown quantity 'voltage_l4', "),
        ("{address: 1, expression: »print(1), type: int16}", "only quantities, numbers, "),
        ("{address: 1, expression: »1 +, type: int16}", "'1 +' is no arithmetic over quantities"),
        ("{address: 1, expression: »[1], type: int16}", "expected one value, found a list"),
    ],
)
def test_a_wrong_expression_is_refused_at_its_place(line: str, message: str) -> None:
    assert refusal(registers(UINT16, line)).startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{address: 1, value: 1, type: uint16, only_count: »2}",
            "only_count is the register's own length, 1",
        ),
        (
            "{address: 1, value: 1, type: uint32, only_count: »1}",
            "only_count is the register's own length, 2",
        ),
        ("{address: 1, value: 1, type: uint16, only_count: »0}", "0 is not between 1 and 125"),
        ("{address: 1, value: 1, type: uint16, only_count: »126}", "126 is not between 1 and 125"),
    ],
)
def test_only_count_is_the_registers_own_length(line: str, message: str) -> None:
    assert refusal(registers(UINT16, line)) == message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([UINT16, "»" + UINT16], "register 0 is already taken by line 4"),
        (
            [
                UINT16,
                "{address: 7, value: 1, type: uint32}",
                "»{address: 8, value: 1, type: int16}",
            ],
            "register 8 is already taken by line 5",
        ),
        (
            [
                "{address: 3, value: 1, type: int16}",
                "»{address: 2, text: abc, type: string, length: 2}",
            ],
            "register 3 is already taken by line 4",
        ),
        (
            [
                "{address: 3, value: 1, type: int16, only_count: 1}",
                "»{address: 3, value: 2, type: int16, only_count: 1}",
            ],
            "register 3 is already taken by line 4",
        ),
        (
            [
                "{address: 3, value: 1, type: int16, table: holding}",
                "»{address: 3, value: 2, type: int16, table: holding}",
            ],
            "register 3 is already taken by line 4",
        ),
    ],
)
def test_registers_that_overlap_are_refused(lines: list[str], message: str) -> None:
    assert refusal(registers(*lines)) == message


@pytest.mark.parametrize(
    "lines",
    [
        [UINT16, "{address: 1, value: 1, type: uint16}"],
        [UINT16, "{address: 0, value: 2, type: uint16, table: holding}"],
        [UINT16, "{address: 0, value: 2, type: uint16, only_count: 1}"],
    ],
    ids=["neighbours", "other table", "only_count"],
)
def test_registers_that_do_not_meet_are_accepted(lines: list[str]) -> None:
    assert len(parse(registers(*lines), "map").registers) == 2


# --- what a good map says -------------------------------------------------------------------


def test_a_map_without_the_optional_words_has_these_defaults() -> None:
    written = parse(
        "name: Test\nregisters:\n  - {address: 7, value: 0x01020304, type: uint32}\n", "map"
    )
    assert written.name == "Test"
    assert written.tables == {Table.INPUT, Table.HOLDING}
    assert (written.base, written.word_order) == (0, "big")
    assert written.stale is Stale.EXCEPTION
    assert (written.filled, written.ignored_writes) == ([], [])
    assert (written.whole_values, written.max_read) == (False, 125)
    assert (written.identity, written.server_id) == (None, None)
    assert (written.over, written.port, written.unit_ids) == (["tcp"], 502, [])
    assert (written.readers, written.sources, written.notes) == ([], [], [])
    (register,) = written.registers
    assert register.tables == {Table.INPUT, Table.HOLDING}
    assert register.content == bytes.fromhex("01020304")


def test_the_words_of_a_map_are_kept() -> None:
    written = parse(
        "name: My meter\ntables: [holding]\nword_order: little\nstale: silent\n"
        "zero_ranges: [[0, 9], [0x20, 0x2F]]\nsources: [a document, page 3]\nnotes: [one]\n"
        "filled_ranges: [[60, 69, 0x8000]]\nignored_writes: [[3, 4]]\nwhole_values: true\n"
        "max_read: 80\nserver_id: MY 1\nport: 1502\nunit_ids: [1, 0xF0]\n"
        "over: [rtu, udp, rtu over tcp]\nreaders: [a box, another]\n"
        "identity: {vendor: Me, product: Mine, revision: '2'}\n"
        "registers: [{address: 7, value: 0x01020304, type: uint32}]\n",
        "map",
    )
    assert written.name == "My meter"
    assert written.tables == {Table.HOLDING}
    assert written.stale is Stale.SILENT
    assert written.filled == [(0, 9, 0), (32, 47, 0), (60, 69, 0x8000)]
    assert written.ignored_writes == [(3, 4)]
    assert (written.whole_values, written.max_read) == (True, 80)
    assert (written.identity, written.server_id) == (Identity("Me", "Mine", "2"), "MY 1")
    assert (written.port, written.unit_ids) == (1502, [1, 240])
    assert written.over == ["rtu", "udp", "rtu over tcp"]
    assert written.readers == ["a box", "another"]
    assert (written.sources, written.notes) == (["a document", "page 3"], ["one"])
    assert written.registers[0].content == bytes.fromhex("03040102")


@pytest.mark.parametrize("stale", STALE_IN_MAPS)
def test_each_reaction_to_a_stale_meter_is_a_word(stale: Stale) -> None:
    text = registers(UINT16).replace("tables", f"stale: {stale.value}\ntables")
    assert parse(text, "map").stale is stale


@pytest.mark.parametrize(
    ("line", "unit", "exponent", "quantity"),
    [
        ("quantity: voltage_l1, type: int16", "V", 0, "voltage_l1"),
        ("quantity: voltage_l1, type: int16, unit: mV", "mV", -3, "voltage_l1"),
        ("quantity: voltage_l1, type: int16, scale_register: 9", "V", -2, "voltage_l1"),
        ("quantity: voltage_l1, type: int16, unit: kV, scale_register: 9", "kV", 1, "voltage_l1"),
        (
            "quantity: power_factor_l1, type: int16, unit: '%', scale_register: 9",
            "%",
            -4,
            "power_factor_l1",
        ),
        ("expression: voltage_l1 * 2, type: int16", "", 0, None),
        ("expression: voltage_l1 * 2, type: float32, unit: kV", "kV", 3, None),
        ("value: 5, type: int16", "", 0, None),
    ],
)
def test_unit_and_scale_register_give_the_power_of_ten(
    line: str, unit: str, exponent: int, quantity: str | None
) -> None:
    # The scale register may stand behind those that point at it.
    text = registers(f"{{address: 1, {line}}}", "{address: 9, value: -2, type: sunssf}")
    register = parse(text, "map").registers[0]
    assert (register.unit, register.exponent, register.quantity) == (unit, exponent, quantity)


@pytest.mark.parametrize(
    ("line", "words", "shows"),
    [
        ("{address: 5, value: 0x10, type: uint16}", 1, "0x10"),
        ("{address: 5, quantity: voltage_l1, type: float32}", 2, "voltage_l1"),
        ("{address: 5, expression: 1 + 2, type: uint64}", 4, "1 + 2"),
        ("{address: 5, text: SunS, type: string, length: 3}", 3, "SunS"),
    ],
)
def test_a_register_knows_its_length_and_what_it_shows(line: str, words: int, shows: str) -> None:
    (register,) = parse(registers(line), "map").registers
    assert (register.words, register.end, register.shows) == (words, 5 + words, shows)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("quantity: active_power_total, type: int16", "W"),
        ("quantity: active_power_total, type: int16, scale_register: 8", "10 W"),
        ("quantity: current_l1, type: int16, scale_register: 9", "0.01 A"),
        ("quantity: energy_active_import_total, type: float32, unit: kWh", "kWh"),
        (
            "quantity: energy_active_import_total, type: int32, unit: kWh, scale_register: 9",
            "0.01 kWh",
        ),
        ("quantity: power_factor_l1, type: int16, unit: '%', scale_register: 8", "10 %"),
        ("quantity: power_factor_l1, type: int16, scale_register: 9", "0.01"),
        ("quantity: power_factor_l1, type: float32", ""),
        ("value: 5, type: int16", ""),
    ],
)
def test_a_register_says_what_a_raw_1_means(line: str, step: str) -> None:
    text = registers(
        f"{{address: 1, {line}}}",
        "{address: 8, value: 1, type: sunssf}",
        "{address: 9, value: -2, type: sunssf}",
    )
    assert parse(text, "map").registers[0].step == step


def test_a_register_points_at_its_line() -> None:
    register = parse(registers(UINT16, "{address: 1, value: 1, type: uint16}"), "map").registers[1]
    assert str(register.line.error("here")) == "map:5:5: here"


def test_a_register_may_stand_at_the_very_last_address() -> None:
    (register,) = parse(registers("{address: 65534, value: 1, type: uint32}"), "map").registers
    assert register.end == 65536


# --- any text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1000,
        "{a: " * 1000,
        "- " * 1000 + "a",
        'name: "\\U00110000"\n',
        "%YAML 1." + "1" * 5000 + "\n---\nname: x\n",
        registers("{address: 0x" + "f" * 5000 + ", value: 1, type: uint16}"),
        registers("{address: 0, value: 0x" + "f" * 5000 + ", type: uint16}"),
        registers("{address: 0, expression: " + "(" * 499 + ", type: uint16}"),
        "name: &a [*a]\ntables: *a\nregisters: *a\n",
        'name: "\\uD800"\n',
        "a: 1\n---\nb: 2\n",
        "name: !!python/object:os.system x\n",
        "name: \x00\n",
        "\ufeff",
        "\ud800",
    ],
    ids=[
        "lists without end",
        "mappings without end",
        "items without end",
        "escape past Unicode",
        "endless version",
        "endless address",
        "endless value",
        "parentheses",
        "a list in itself",
        "half a surrogate pair",
        "two documents",
        "Python tag",
        "NUL",
        "byte order mark",
        "surrogate",
    ],
)
def test_hostile_text_is_refused_with_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^map\.yaml:"):
        RegisterMap.parse(text, "map.yaml")


def test_a_scale_that_takes_a_number_past_the_largest_float_saturates() -> None:
    served = RegisterMap.parse(
        registers(
            "{address: 0, value: -10, type: sunssf}",
            "{address: 1, expression: 1e308, type: int16, scale_register: 0}",
        ),
        "map.yaml",
    )
    assert served.render(None).read(Table.INPUT, 1, 1) == bytes.fromhex("7fff")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\ufffe"])
def test_a_character_that_yaml_forbids_is_refused_at_its_place(character: str) -> None:
    assert refusal(f"name: Test\ntables: [»{character}]\n")


def test_a_second_document_is_refused_in_plain_words() -> None:
    assert "single document" in refusal("name: Test\n»---\nname: Other\n")


def refused_or_served(text: str) -> None:
    try:
        served = RegisterMap.parse(text, "map.yaml")
    except ConfigError as error:
        said = str(error)
    else:
        assert len(served.render(None).octets) == 2 * len(served.layout.measured) > 0
        return
    assert re.match(r"map\.yaml(:\d+:\d+)?: \S", said)


@settings(max_examples=200)
@given(text=st.text(max_size=200))
def test_any_text_is_a_map_or_a_config_error(text: str) -> None:
    refused_or_served(text)


words = st.sampled_from(
    [
        *"{}[],:-#&*!|>'\"%@`\t\n \\",
        *("address", "value", "text", "quantity", "expression", "type", "unit", "table"),
        *("only_count", "length", "scale_register", "not_available", "zero_ranges", "stale"),
        *("0", "-1", "65535", "65536", "1e999", "nan", "0xFFFF", "1.5", "~", "null", "true"),
        *("uint16", "int64", "float32", "float64", "string", "sunssf", "acc32", "kWh", "'%'"),
        *("voltage_l1", "telegram_age", "active_power_total", "${meter_number}", "${x}"),
        *("- {address: 3, value: 1, type: uint16}", "[[0, 9]]", "<<: *a", "&a", "---", "..."),
    ]
)


@st.composite
def mutated_maps(draw: st.DrawFn) -> str:
    """A shipped map of which a few registers are left, with some of its text changed."""
    head, body = draw(st.sampled_from(SHIPPED)).read_text("utf-8").split("registers:\n")
    lines = [line for line in body.splitlines() if line.strip().startswith("-")]
    first = draw(st.integers(0, len(lines) - 1))
    head = re.sub(r"(?ms)^notes:.*", "", head)
    text = "\n".join([head + "registers:", *lines[first : first + draw(st.integers(1, 5))], ""])
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        text = text[:start] + draw(st.one_of(st.just(""), words, st.text(max_size=5))) + text[end:]
    return text


@settings(max_examples=300)
@given(text=mutated_maps())
def test_any_change_to_a_shipped_map_gives_a_map_or_a_config_error(text: str) -> None:
    refused_or_served(text)
