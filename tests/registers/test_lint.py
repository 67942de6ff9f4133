"""What lint finds in a map, and where; what it lets pass."""

import json
from pathlib import Path

import pytest
import sunspec2
from hypothesis import given
from hypothesis import strategies as st

from gateway import map_library
from gateway.registers import sunspec
from gateway.registers.lint import Severity, lint
from gateway.registers.plausible import plausible
from gateway.snapshot import QUANTITIES, Origin

HEAD = """\
name: Mine
readers: [me]
sources: [a document]
tables: [holding]
"""
FILE = "mine.yaml"
SUNSPEC_MODELS = Path(sunspec2.__file__).parent / "models" / "json"


def found(text: str) -> list[str]:
    return [str(finding) for finding in lint(text, FILE)]


def in_map(*registers: str, head: str = "") -> list[str]:
    """Return what is found in a map with these lines; the first one is line 6 or later."""
    lines = "".join(f"  - {{{register}}}\n" for register in registers)
    return found(f"{HEAD}{head}registers:\n{lines}")


def test_a_good_map_has_no_finding() -> None:
    assert in_map("address: 0, quantity: active_power_total, type: int32") == []


@pytest.mark.parametrize("name", sorted(map_library.find(None)))
def test_no_shipped_map_has_an_error(name: str) -> None:
    path = map_library.find(None)[name]
    findings = lint(map_library.text_of(path), str(path), map_library.others(None))
    assert [str(each) for each in findings if each.severity is Severity.ERROR] == []


def test_all_lines_that_parsing_refuses_are_told_at_once_with_their_places() -> None:
    text = f"""{HEAD}registers:
  - {{address: 0, quantity: volts, type: int16}}
  - {{address: 1, quantity: voltage_l1, type: int16}}
  - {{address: 1, quantity: voltage_l2, type: int16}}
  - address: 4
    quantity: voltage_l3
    type: int17
"""
    assert found(text) == [
        "mine.yaml:6:28: error: unknown quantity 'volts'",
        "mine.yaml:8:5: error: register 1 is already taken by line 7",
        "mine.yaml:11:11: error: unknown type 'int17', did you mean 'int16'?",
    ]


def test_a_refused_scale_factor_makes_no_other_line_wrong() -> None:
    (only,) = in_map(
        "address: 0, quantity: voltage_l1, type: int16, scale_register: 1",
        "address: 1, value: 11, type: sunssf",
    )
    assert only.startswith("mine.yaml:7:25: error: 11 is not between")


def test_behind_a_refused_scale_factor_the_others_are_found() -> None:
    found = in_map(
        "address: 0, quantity: voltage_l1, type: int16, scale_register: 1",
        "address: 1, value: 11, type: sunssf, table: holding",
        "address: 2, quantity: volts, type: int16",
        "address: 3, vlaue: -1, type: sunssf",
        "address: 4, quantity: voltage_l1, type: int16, scale_register: 3",
        "address: 5, quantity: amperes, type: int16",
    )
    assert [line.split(" error: ")[0] for line in found] == [
        "mine.yaml:7:25:",
        "mine.yaml:8:28:",
        "mine.yaml:9:18:",
        "mine.yaml:11:28:",
    ]


def test_behind_a_refused_scale_factor_in_several_lines_the_others_are_found() -> None:
    text = f"""{HEAD}registers:
  - address: 1
    value: 11  # too much
    type: sunssf
  - {{address: 0, quantity: voltage_l1, type: int16, scale_register: 1}}
  - {{address: 2, quantity: volts, type: int16}}
"""
    assert [line.split(" error: ")[0] for line in found(text)] == [
        "mine.yaml:7:12:",
        "mine.yaml:10:28:",
    ]


def test_a_scale_factor_without_address_ends_the_search() -> None:
    (only,) = in_map(
        "address: 0, quantity: voltage_l1, type: int16, scale_register: 1",
        "value: 1, type: sunssf",
    )
    assert only == "mine.yaml:7:5: error: 'address' is missing here"


def test_a_wrong_type_at_a_scale_factor_makes_no_other_line_wrong() -> None:
    (only,) = in_map(
        "address: 1, value: 1, type: sunsf",
        "address: 0, quantity: voltage_l1, type: int16, scale_register: 1",
    )
    assert only.startswith("mine.yaml:6:34: error: unknown type 'sunsf', did you mean 'sunssf'")


def test_a_chosen_scale_factor_is_not_wrong_because_its_only_user_is() -> None:
    (only,) = in_map(
        "address: 0, quantity: active_power, type: int16, scale_register: 1",
        "address: 1, scale_for: active_power_total, type: sunssf",
    )
    assert only.startswith("mine.yaml:6:28: error: unknown quantity 'active_power'")


def test_what_uses_an_anchor_of_a_refused_line_is_not_wrong_as_well() -> None:
    found = in_map(
        "address: 0, quantity: volts, type: &kind int16, unit: &unit 0.1 V",
        "address: 1, quantity: voltage_l1, type: *kind , unit: &other V",
        "address: 2, quantity: voltage_l2, type: int16, unit: *other",
        "address: 3, quantity: ampere, type: int16",
        "address: 4, quantity: voltage_l3, type: int16, unit: V",
    )
    assert found == [
        "mine.yaml:6:28: error: unknown quantity 'volts'",
        "mine.yaml:9:28: error: unknown quantity 'ampere'",
    ]


def test_an_anchor_that_is_used_outside_the_registers_ends_the_search() -> None:
    text = """name: Mine
registers:
  - {address: 0, quantity: volts, type: &kind int16}
  - {address: 1, quantity: ampere, type: int16}
not_available: {*kind : 0x7FFF}
"""
    assert found(text) == ["mine.yaml:3:28: error: unknown quantity 'volts'"]


@given(
    where=st.integers(0, 2000), length=st.integers(0, 60), new=st.sampled_from("\n:{}[],#-0'x\t")
)
def test_a_damaged_map_gives_findings_and_never_an_exception(
    where: int, length: int, new: str
) -> None:
    lines = "".join(f"  - {{{line}}}\n" for line in chain().values())
    text = f"{HEAD}zero_ranges: [[200, 300]]\nunit_ids: [1]\nregisters:\n{lines}"
    where %= len(text)
    for finding in lint(text[:where] + new + text[where + length :], FILE):
        assert finding.text
        assert finding.line >= 1


@pytest.mark.parametrize("text", ["", "name: [", "name: x\nregisters: 5\n", "a: b\n", "\0"])
def test_what_is_no_map_is_one_error(text: str) -> None:
    (only,) = lint(text, FILE)
    assert only.severity is Severity.ERROR
    assert only.file == FILE


@pytest.mark.parametrize(
    ("register", "holds"),
    [
        ("quantity: active_power_total, type: int16", False),
        ("quantity: active_power_total, type: int16, unit: 10 W", True),
        ("quantity: active_power_total, type: uint32", False),  # feeding in is negative
        ("quantity: active_power_import_total, type: uint32", True),
        ("quantity: -active_power_import_total, type: uint32", False),
        ("quantity: active_power_l1, type: int16", True),
        ("quantity: voltage_l1, type: int16, unit: 0.1 V", True),
        ("quantity: voltage_l1, type: uint16, unit: mV", False),
        ("quantity: voltage_l12, type: uint16, unit: 0.01 V", True),
        ("quantity: current_l1, type: int16, unit: mA", False),
        ("quantity: current_l1, type: int16, unit: 0.01 A", True),
        ("quantity: energy_active_import_total, type: uint32", True),
        ("quantity: energy_active_import_total, type: int32", False),
        ("quantity: energy_active_import_total, type: acc32", True),
        ("quantity: meter_clock, type: int32", False),
        ("quantity: meter_clock, type: uint32", True),
        ("quantity: meter_serial, type: uint32", True),
        ("quantity: power_factor_total, type: uint16, unit: 0.001", False),
        ("quantity: power_factor_total, type: int16, unit: 0.001", True),
        ("quantity: frequency, type: uint16, unit: 0.01 Hz", True),
        ("quantity: active_power_total, type: float32", True),
        ("quantity: current_n, type: int16, unit: mA", True),  # nobody sends it
        ("quantity: telegram_age, type: uint16", True),  # it may saturate
        ("value: 40000, type: uint16", True),
        ("expression: active_power_total * 1000, type: int16", True),  # nobody knows its range
    ],
)
def test_a_type_must_hold_what_the_quantity_may_be(register: str, holds: bool) -> None:
    errors = [line for line in in_map(f"address: 0, {register}") if ": error: " in line]
    assert not errors if holds else len(errors) == 1
    assert all(line.startswith("mine.yaml:6:5: error: ") for line in errors)


def test_the_range_counts_with_the_scale_factor() -> None:
    power = "address: 0, quantity: active_power_total, type: int16, scale_register: 1"
    (only,) = in_map(power, "address: 1, value: 0, type: sunssf")
    assert "int16 in steps of 1 W holds -32767 … 32767 W" in only
    assert in_map(power, "address: 1, value: 1, type: sunssf") == []
    assert in_map(power, "address: 1, scale_for: active_power_total, type: sunssf") == []


def test_every_quantity_that_is_sent_has_a_range() -> None:
    for quantity in QUANTITIES.values():
        if quantity.origin not in (Origin.NOT_SENT, Origin.SERVICE):
            span = plausible(quantity)
            assert span is not None
            assert span[0] < span[1]


@pytest.mark.parametrize(
    ("register", "note"),
    [
        ("type: float32, unit: kWh", "float32 keeps watt-hours up to 16.7 MWh"),
        ("type: uint32, unit: 0.1 kWh", "Energies count in 0.1 kWh."),
        ("type: uint32, unit: 0.1 kWh", "Energies count in steps of 100 Wh."),
        ("type: uint32, unit: kWh", "Energies are whole kWh."),
    ],
)
def test_coarse_energies_are_a_warning_unless_the_notes_say_so(register: str, note: str) -> None:
    energies = [
        f"address: {address}, quantity: energy_active_{way}_total, {register}"
        for address, way in ((0, "import"), (4, "export"))
    ]
    (only,) = in_map(*energies)
    assert only.startswith("mine.yaml:6:5: warning: ")
    assert "(and 1 more)" in only
    assert in_map(*energies, head=f"notes: [{note}]\n") == []


def test_float32_is_said_to_lose_watt_hours_where_the_notes_say_so() -> None:
    energy = "address: 0, quantity: energy_active_import_total, type: float32"
    (only,) = in_map(energy)
    assert "float32 loses single watt-hours above 16.7 MWh: the notes" in only


@pytest.mark.parametrize(
    ("register", "shown"),
    [
        ("quantity: active_power_total, type: int32, not_available: 0", "reads 0 W;"),
        ("quantity: voltage_l1, type: float32, not_available: 0.0", "reads 0 V;"),
        ("quantity: energy_active_import_total, type: acc32", "reads 0 Wh;"),
        ("expression: abs(power_factor_total), type: float32, not_available: 0", "reads 0;"),
        ("quantity: reactive_power_total, type: int32, not_available: -1", "reads -1 var;"),
    ],
)
def test_a_silent_meter_must_not_read_as_one_that_measures(register: str, shown: str) -> None:
    line = f"address: 0, {register}"
    assert in_map(line) == []
    assert in_map(line, head="stale: silent\n") == []
    (only,) = in_map(line, head="stale: not_available\n")
    assert only.startswith("mine.yaml:5:8: error: stale: not_available lets a silent meter read")
    assert shown in only
    assert "write stale: exception or silent, or a not_available that is no value" in only


def test_a_silent_meter_may_read_what_is_no_value() -> None:
    lines = [
        "address: 0, quantity: active_power_total, type: int32",
        "address: 2, quantity: voltage_l1, type: float32",
        "address: 4, quantity: voltage_l2, type: uint16, unit: 0.1 V, not_available: 0xFFFE",
        "address: 5, value: 0, type: uint16",
        "address: 6, quantity: telegram_age, type: uint16, not_available: 0",
        'address: 7, text: "${serial}", type: string, length: 4',
        "address: 11, expression: 1 + 1, type: uint16, not_available: 2",
    ]
    assert in_map(*lines, head="stale: not_available\n") == []


def test_all_registers_that_would_read_as_a_value_are_one_error() -> None:
    lines = [f"address: {n}, quantity: voltage_l{n}, type: int16, unit: 0.1 V" for n in (1, 2, 3)]
    zeros = [f"{line}, not_available: 0" for line in lines[1:]]
    (only,) = in_map(lines[0], *zeros, head="stale: not_available\n")
    assert "voltage_l2 at 2 reads 0 V (and 1 more);" in only


def test_a_register_longer_than_max_read_is_an_error() -> None:
    (only,) = in_map("address: 0, quantity: voltage_l1, type: float32", head="max_read: 1\n")
    assert only == "mine.yaml:7:5: error: no client can read it: max_read is 1, it has 2"


def test_a_quantity_with_two_signs_is_a_warning() -> None:
    (only,) = in_map(
        "address: 0, quantity: active_power_total, type: int32",
        "address: 2, quantity: -active_power_total, type: int32",
    )
    assert only == (
        "mine.yaml:7:5: warning: active_power_total stands at 0 with the other sign"
    )  # fmt: skip


def test_registers_may_lie_in_zero_ranges_but_ranges_not_over_each_other() -> None:
    register = "address: 5, quantity: voltage_l1, type: float32"
    assert in_map(register, head="zero_ranges: [[0, 9], [10, 20]]\n") == []
    (only,) = in_map(register, head="zero_ranges: [[0, 9], [9, 20]]\n")
    assert only == "mine.yaml:5:23: warning: lies over the range 0 … 9"


def test_a_zero_range_in_a_table_without_register_is_a_warning() -> None:
    (only,) = in_map(
        "address: 0, quantity: voltage_l1, type: float32, table: input",
        head="zero_ranges: [[0, 9]]\n",
    )
    assert only.startswith("mine.yaml:5:15: warning: no register stands in table holding")


def test_only_count_needs_no_register_below() -> None:
    assert in_map("address: 11, value: 1648, type: uint16, only_count: 1") == []


def test_missing_readers_and_sources_and_odd_unit_ids_are_warnings() -> None:
    text = """\
name: Mine
unit_ids: [1, 0, 248]
registers:
  - {address: 0, value: 1, type: uint16}
"""
    assert [line.split(" is ")[0] for line in found(text)] == [
        "mine.yaml:1:1: warning: 'readers'",
        "mine.yaml:1:1: warning: 'sources'",
        "mine.yaml:2:15: warning: unit id 0",
        "mine.yaml:2:18: warning: unit id 248",
    ]


OTHER = HEAD.replace("[me]", "[]") + (
    "registers:\n"
    "  - {address: 0, quantity: active_power_total, type: int16, scale_register: 1}\n"
    "  - {address: 1, value: 1, type: sunssf}\n"
)


def like(other: str, mine: str) -> list[str]:
    """Return what is found in a map that is like another; its fifth line is the first of `mine`."""
    head = "name: Mine\nlike: other\nreaders: [me]\nsources: [that]\n"
    findings = lint(head + mine, FILE, lambda _name, _file: (other, "maps/other.yaml"))
    return [str(finding) for finding in findings]


def test_of_a_map_that_it_is_like_only_errors_are_told_at_their_own_place() -> None:
    (only,) = like(OTHER.replace("value: 1", "value: 0"), "max_read: 100\n")
    assert only.startswith("maps/other.yaml:6:5: error: active_power_total may be")
    (only,) = like(OTHER.replace("active_power", "active"), "max_read: 100\n")
    assert only.startswith("maps/other.yaml:6:28: error: unknown quantity")


@pytest.mark.parametrize(
    ("mine", "findings"),
    [
        (
            "registers:\n  - {address: 1, value: 0, type: sunssf}\n",
            ["6:5: error: it makes other.yaml:6:5 wrong: active_power_total may be -69000"],
        ),
        (
            "registers:\n  - {address: 7, value: 0, type: int16}\n"
            "  - {address: 1, value: 0, type: sunssf}\n",
            ["7:5: error: it makes other.yaml:6:5 wrong: active_power_total may be -69000"],
        ),
        (
            "without: [[1, 1]]\n",
            ["5:1: error: it makes other.yaml:6:77 wrong: no register of type sunssf stands at 1"],
        ),
        (
            "base: 65535\n",
            ["5:1: error: it makes other.yaml:7:15 wrong: 1 registers from 65536 pass the last"],
        ),
        (
            "registers:\n  - {address: 1, value: 0, type: int16}\n"
            "  - {address: 2, quantity: volts, type: int16}\n",
            [
                "6:5: error: it makes other.yaml:6:77 wrong: no register of type sunssf stands at",
                "7:28: error: unknown quantity 'volts'",
            ],
        ),
        (
            "registers:\n  - {address: 1, value: 11, type: sunssf}\n",
            ["6:25: error: 11 is not between -10 and 10"],
        ),
    ],
)
def test_what_a_map_makes_wrong_in_the_one_it_is_like_is_told_at_its_own_line(
    mine: str, findings: list[str]
) -> None:
    found = like(OTHER, mine)
    assert len(found) == len(findings)
    for line, start in zip(found, findings, strict=True):
        assert line.startswith(f"mine.yaml:{start}")


def test_a_reaction_that_the_map_it_is_like_cannot_have_is_told_at_its_word() -> None:
    other = OTHER.replace("type: int16,", "type: int16, not_available: 0,")
    (only,) = like(other, "stale: not_available\n")
    assert only.startswith("mine.yaml:5:8: error: stale: not_available lets")
    assert "active_power_total at 0 reads 0 W;" in only


# --- SunSpec --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sunspec.MANDATORY)
def test_mandatory_points_are_those_of_the_published_models(model: int) -> None:
    published = json.loads((SUNSPEC_MODELS / f"model_{model}.json").read_text("utf-8"))
    offset, mandatory = -2, {}
    for each in published["group"]["points"]:
        if each.get("mandatory") == "M" and offset >= 0:
            mandatory[offset] = each["type"].replace("bitfield", "uint")
        offset += each["size"]
    ours = dict(sunspec.point(model, name) for name in sunspec.MANDATORY[model].split())
    assert ours == mandatory


QUANTITIES_203 = {
    **dict.fromkeys(("A", "AphA", "AphB", "AphC"), "current_total"),
    **dict.fromkeys(("PhV", "PhVphA", "PhVphB", "PhVphC"), "voltage_l1"),
    **dict.fromkeys(("PPV", "PhVphAB", "PhVphBC", "PhVphCA"), "voltage_l12"),
    "Hz": "frequency",
    "W": "active_power_total",
    "TotWhExp": "energy_active_export_total",
    "TotWhImp": "energy_active_import_total",
}
FACTORS = {"A_SF": -2, "V_SF": -1, "Hz_SF": -2, "W_SF": 1, "TotWh_SF": 0}
START = 72


def chain() -> dict[str, str]:
    """Return the lines of a good SunSpec map by name: model 1, then 203 with what it must have."""
    factor_of = {
        offset: START + factor
        for _, first, last, factor in sunspec.SCALE_FACTORS
        for offset in range(first, last + 1)
    }
    lines = {
        "marker": "address: 0, text: SunS, type: string, length: 2",
        "1": "address: 2, value: 1, type: uint16",
        "1 length": "address: 3, value: 66, type: uint16",
        "Mn": "address: 4, text: me, type: string, length: 16",
        "Md": "address: 20, text: mine, type: string, length: 16",
        "rest": "address: 36, text: '', type: string, length: 16",
        "SN": 'address: 52, text: "${serial}", type: string, length: 16',
        "DA": "address: 68, value: unit_id, type: uint16",
        "Pad": "address: 69, value: 0x8000, type: uint16",
        "203": "address: 70, value: 203, type: uint16",
        "203 length": "address: 71, value: 105, type: uint16",
        "Hz_SF": "address: 87, value: -2, type: sunssf",
        "Evt": "address: 175, value: 0, type: uint32",
        "end": "address: 177, value: 0xFFFF, type: uint16",
        "end length": "address: 178, value: 0, type: uint16",
    }
    for name in sunspec.MANDATORY[203].split():
        offset, kind = sunspec.point(203, name)
        if name in QUANTITIES_203:
            scale = f"scale_register: {factor_of[offset]}"
            quantity = f"quantity: {QUANTITIES_203[name]}"
            lines[name] = f"address: {START + offset}, {quantity}, type: {kind}, {scale}"
        elif name in FACTORS:
            lines[name] = f"address: {START + offset}, value: {FACTORS[name]}, type: sunssf"
    return lines


def in_chain(changed: dict[str, str | None]) -> list[str]:
    """Return what is found in a SunSpec map after changing lines; None takes one away."""
    lines = chain() | changed
    findings = in_map(*(line for line in lines.values() if line is not None))
    return [finding.split(": ", 1)[1] for finding in findings]


def test_a_whole_chain_has_no_finding() -> None:
    assert in_chain({}) == []


@pytest.mark.parametrize(
    ("name", "line", "finding"),
    [
        (
            "TotWhImp",
            None,
            "error: mandatory point TotWhImp of SunSpec model 203 is missing at 116",
        ),
        ("Evt", None, "error: mandatory point Evt of SunSpec model 203 is missing at 175"),
        (
            "W",
            "address: 88, quantity: active_power_total, type: int16, unit: 10 W",
            "error: a client scales it by W_SF at 92, scale_register is not there",
        ),
        (
            "W",
            "address: 88, quantity: active_power_total, type: int16, unit: kW, scale_register: 76",
            "error: a client scales it by W_SF at 92, scale_register is 76",
        ),
        (
            "AphB",
            "address: 74, value: 0x8000, type: uint16",
            "error: mandatory point AphB of SunSpec model 203 is of type int16",
        ),
        (
            "AphB",
            "address: 74, value: -32768, type: int16",
            "warning: mandatory point AphB of SunSpec model 203 shows a constant",
        ),
        (
            "VA",
            "address: 93, quantity: apparent_power_total, type: int16, unit: 10 VA",
            "error: its scale factor VA_SF is missing at 97",
        ),
        ("203 length", "address: 71, value: 104, type: uint16", "error: SunSpec model 203 has"),
        ("203 length", None, "error: the length of SunSpec model 203 is a constant behind its id"),
        (
            "1 length",
            "address: 3, value: 64, type: uint16",
            "error: SunSpec model 1 has the length",
        ),
        ("SN", "address: 52, text: '', type: string, length: 16", "error: SN is missing in"),
        ("end", None, "error: no SunSpec model or end model (0xFFFF) stands as a constant at 177"),
        ("end length", None, "error: the end model's length at 178 is 0"),
        (
            "1",
            "address: 2, value: 2, type: uint16",
            "error: a SunSpec chain begins with the Common",
        ),
    ],
)
def test_a_broken_chain_is_told(name: str, line: str | None, finding: str) -> None:
    assert any(each.startswith(finding) for each in in_chain({name: line}))


def test_a_chain_is_checked_where_the_base_puts_it() -> None:
    lines = [f"{{{line}}}" for line in chain().values()]
    assert in_map(*(line[1:-1] for line in lines), head="base: 40000\n") == []


def test_points_that_nobody_sends_need_no_scale_factor() -> None:
    lines = [
        "address: 0, text: SunS, type: string, length: 2",
        "address: 2, value: 203, type: uint16",
        "address: 3, value: 105, type: uint16",
        "address: 57, quantity: energy_apparent_export_total, type: acc32",
        "address: 73, value: 0x8000, type: uint16",
        "address: 109, value: 0xFFFF, type: uint16",
        "address: 110, value: 0, type: uint16",
    ]
    found = in_map(*lines)
    assert not any("TotVAh_SF" in each for each in found)
    assert any("a SunSpec chain begins with the Common model" in each for each in found)


def test_a_scale_factor_without_points_is_a_warning() -> None:
    lines = [
        "address: 0, text: SunS, type: string, length: 2",
        "address: 2, value: 203, type: uint16",
        "address: 3, value: 105, type: uint16",
        "address: 25, value: 0x8000, type: uint16",
        "address: 29, value: 1, type: sunssf",
        "address: 109, value: 0xFFFF, type: uint16",
        "address: 110, value: 0, type: uint16",
    ]
    assert any(
        "warning: VA_SF is there, but no point that it scales" in each for each in in_map(*lines)
    )
