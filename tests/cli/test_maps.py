"""obisgate maps, show, lint and diff, as they are typed."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from gateway import map_library
from gateway.cli import main
from gateway.simulator import MODELS

OBISGATE = Path(sys.executable).with_name("obisgate")
SHIPPED = sorted(map_library.find(None))
PLC = """\
name: My PLC
readers: [a PLC, another one]
sources: [me]
notes: [first note, second note]
tables: [holding]
over: [tcp, rtu over tcp]
port: 5020
unit_ids: [1, 2, 3, 9]
word_order: little
zero_ranges: [[100, 109]]
filled_ranges: [[200, 201, 7]]
max_read: 80
whole_values: true
ignored_writes: [[300, 301]]
identity: {vendor: Us, product: It, revision: "1"}
server_id: plc
registers:
  - {address: 0, quantity: -active_power_total, type: int32}  # what the heater may take
  - {address: 2, quantity: voltage_l1, type: uint16, unit: 0.1 V}
  - {address: 3, value: 7, type: uint16}
  - {address: 4, quantity: energy_active_import_total, type: uint32, unit: 0.001 kWh}
  - {address: 6, text: "${serial}", type: string, length: 8}
  - {address: 14, text: fixed, type: chars, length: 5}
  - {address: 19, quantity: telegram_age, type: uint16}
  - {address: 20, quantity: current_n, type: float32}
  - {address: 22, expression: active_power_total / 2, type: float32}
  - {address: 22, value: 1, type: uint16, only_count: 1, table: input}
  - {address: 24, quantity: energy_active_import_total, type: float64, unit: kWh}
"""


@pytest.fixture
def plc(tmp_path: Path) -> Path:
    path = tmp_path / "plc.yaml"
    path.write_text(PLC)
    return path


class Ran:
    """What a command printed, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        self.code = main([str(word) for word in words])
        self.out, self.err = capsys.readouterr()
        self.lines = self.out.splitlines()


def on_terminal(columns: int, *words: str) -> list[str]:
    """Return the lines that a command prints on a terminal of that width."""
    ours, its = pty.openpty()
    ioctl(its, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {word: text for word, text in os.environ.items() if word != "COLUMNS"}
    process = subprocess.Popen([OBISGATE, *words], stdin=its, stdout=its, env=environment)
    os.close(its)
    printed = b""
    try:
        while chunk := os.read(ours, 4096):
            printed += chunk
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return printed.decode().splitlines()


# --- the list -------------------------------------------------------------------------------


def test_the_list_has_a_line_a_map_with_who_reads_it(
    capsys: pytest.CaptureFixture[str], plc: Path
) -> None:
    ran = Ran(capsys, "maps", "--maps", plc.parent)
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines] == sorted([*SHIPPED, "plc"])
    (line,) = [line for line in ran.lines if line.startswith("plc ")]
    assert re.fullmatch(
        r"plc +My PLC +tcp\+rtu/tcp 5020, ids 1–3, 9 +a PLC, another one", line
    )  # fmt: skip


def test_the_list_shows_the_notes_when_asked(capsys: pytest.CaptureFixture[str], plc: Path) -> None:
    ran = Ran(capsys, "maps", "--maps", plc.parent, "--notes")
    start = next(i for i, line in enumerate(ran.lines) if line.startswith("plc "))
    assert ran.lines[start + 1 : start + 3] == ["  - first note", "  - second note"]


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_the_list_fits_the_terminal(columns: int) -> None:
    lines = on_terminal(columns, "maps")
    assert len(lines) == len(SHIPPED)
    assert max(len(line) for line in lines) <= columns


def test_the_list_for_machines_has_all_that_is_said(
    capsys: pytest.CaptureFixture[str], plc: Path
) -> None:
    ran = Ran(capsys, "maps", "--maps", plc.parent, "--format", "json")
    by_name = {each["name"]: each for each in json.loads(ran.out)}
    assert sorted(by_name) == sorted([*SHIPPED, "plc"])
    assert by_name["plc"] == {
        "name": "plc",
        "title": "My PLC",
        "tables": ["holding"],
        "over": ["tcp", "rtu over tcp"],
        "port": 5020,
        "unit_ids": [1, 2, 3, 9],
        "readers": ["a PLC", "another one"],
        "tested_with": [],
        "notes": ["first note", "second note"],
        "sources": ["me"],
        "registers": 11,
    }


def test_a_map_with_an_error_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\nregisters: []\n")
    ran = Ran(capsys, "maps", "--maps", tmp_path)
    assert ran.code == 1
    assert len(ran.lines) == len(SHIPPED)
    assert re.match(r".*/bad\.yaml:2:12: a map has at least one register", ran.err)


# --- show -----------------------------------------------------------------------------------


def row(ran: Ran, address: int, table: str = "holding") -> str:
    (line,) = [line for line in ran.lines if re.match(rf" *{address}  {table} ", line)]
    return re.sub(r"  +", "  ", line.strip())


def test_show_prints_a_table_with_the_values_of_a_simulated_meter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = Ran(capsys, "maps", "show", "sunspec_203")
    assert ran.code == 0
    assert "Values are those of a simulated kaifa-ma309m." in ran.lines
    assert re.search(
        r"^ *\d+  holding, input +int16 +W +-?\d+ W +derived +active_power_total: .* # W$",
        ran.out.replace(" 10 W", " W"),
        re.MULTILINE,
    )
    assert "\nnotes:\n  - " in ran.out
    assert "\nsources:\n  - " in ran.out


def test_show_says_all_of_a_map_and_its_registers(
    capsys: pytest.CaptureFixture[str], plc: Path
) -> None:
    ran = Ran(capsys, "maps", "show", plc)
    assert ran.lines[0] == "plc: My PLC"
    head = {line[2:13].strip(): line[14:] for line in ran.lines[1:] if line.startswith("  ")}
    for word, text in {
        "readers": "a PLC, another one",
        "asked": "over tcp, rtu over tcp, port 5020, unit id 1–3, 9",
        "tables": "holding (function 03)",
        "words": "low word first",
        "stale": "exception 0x0B",
        "reads 0": "100 … 109",
        "reads 7": "200 … 201",
        "reads": "up to 80 registers at once, whole values only",
        "identity": "Us It, 1 (43/14)",
        "server id": "plc (function 17)",
        "writes": "300 … 301: acknowledged, and nothing changes",
    }.items():
        assert head[word] == text
    assert re.search(
        r"int32  W  \d+ W  derived  -active_power_total: .*  # what the heater may take$",
        row(ran, 0),
    )
    assert re.search(r"uint16  0.1 V  2\d\d\.\d V  measured  voltage_l1", row(ran, 2))
    assert row(ran, 3).endswith("uint16  7  constant")
    assert re.search(r"uint32  0.001 kWh  \d+\.\d{3} kWh  measured", row(ran, 4))
    assert re.search(r"text 8  '1KFM02\d{8}'  measured  \$\{serial\}", row(ran, 6))
    assert row(ran, 14).endswith("text 5  'fixed'  constant")
    assert re.search(r"uint16  s  2 s  service  telegram_age", row(ran, 19))
    assert re.search(r"float32  A  –  not sent  current_n", row(ran, 20))
    assert re.search(r"float32  -\d+  derived  active_power_total / 2", row(ran, 22))
    assert row(ran, 22, "input").endswith("1  constant  (only a read of exactly 1)")
    whole = re.search(r"kWh  (\d+\.\d)", row(ran, 4))
    assert whole
    assert f"kWh  {whole[1]}" in row(ran, 24)


def test_show_turns_a_quantity_round(capsys: pytest.CaptureFixture[str], plc: Path) -> None:
    turned = re.search(r"(-?\d+) W", row(Ran(capsys, "maps", "show", plc), 0))
    half = re.search(r"  (-?\d+)  derived", row(Ran(capsys, "maps", "show", plc), 22))
    assert turned
    assert half
    assert int(turned[1]) == -2 * int(half[1])


@pytest.mark.parametrize("model", MODELS)
def test_show_takes_the_values_of_any_simulated_meter(
    capsys: pytest.CaptureFixture[str], model: str
) -> None:
    ran = Ran(capsys, "maps", "show", "obis_plain", "--meter", model)
    assert ran.code == 0
    assert f"Values are those of a simulated {model}." in ran.lines
    assert re.search(r" \d+ Wh  measured  energy_active_import_total", ran.out)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_map_is_shown(capsys: pytest.CaptureFixture[str], name: str) -> None:
    ran = Ran(capsys, "maps", "show", name)
    assert ran.code == 0
    registers = len(map_library.load(name, None).registers)
    assert len(re.findall(r"^ *\d+  (?:holding|input)", ran.out, re.MULTILINE)) == registers


@pytest.mark.parametrize("place", ["before", "behind"])
def test_the_folder_of_ones_own_maps_may_stand_before_or_behind(
    capsys: pytest.CaptureFixture[str], plc: Path, place: str
) -> None:
    folder = ["--maps", plc.parent]
    words = [*folder, "show", "plc"] if place == "before" else ["show", "plc", *folder]
    assert "My PLC" in Ran(capsys, "maps", *words).out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["show", "sunspec_231"], "unknown map 'sunspec_231', did you mean 'sunspec_2"),
        (["show", "no.yaml"], "no.yaml: cannot be read"),
        (["show", "nosuch"], "unknown map 'nosuch'; `obisgate maps` lists them"),
        (
            ["show", "obis_plain", "--meter", "kaifa"],
            "unknown meter 'kaifa'; known are kaifa-ma309m, ",
        ),
        (["lint", "nosuch"], "unknown map 'nosuch'"),
        (["diff", "obis_plain", "nosuch"], "unknown map 'nosuch'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    ran = Ran(capsys, "maps", *words)
    assert ran.code == 2
    assert error in ran.err
    assert ran.err.count("\n") == 1


# --- lint -----------------------------------------------------------------------------------


def test_lint_finds_no_error_in_the_shipped_maps(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "maps", "lint")
    assert ran.code == 0, ran.out
    assert re.fullmatch(rf"{len(SHIPPED)} maps: 0 errors, \d+ warnings?", ran.lines[-1])


def test_lint_says_file_line_and_column_and_fails(
    capsys: pytest.CaptureFixture[str], plc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plc.parent)
    plc.write_text(PLC.replace("type: uint16, unit: 0.1 V", "type: uint16, unit: mV"))
    ran = Ran(capsys, "maps", "lint", "plc.yaml")
    assert ran.code == 1
    assert "plc.yaml:19:5: error: voltage_l1 may be 0 … 300 V" in ran.out
    assert ran.lines[-1] == "1 map: 1 error, 0 warnings"


def test_lint_says_of_a_file_that_it_cannot_read_why_and_goes_on(
    capsys: pytest.CaptureFixture[str], plc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plc.parent)
    plc.write_text(PLC.replace("sources: [me]\n", ""))
    plc.with_name("latin.yaml").write_bytes("# ä\nname: Zähler\n".encode("latin-1"))
    plc.with_name("later.yaml").write_bytes("# ä\nname: Z".encode() + b"\xe4hler\n")
    plc.with_name("gone.yaml").symlink_to("nowhere.yaml")
    plc.with_name("folder.yaml").mkdir()
    lines = [
        "folder.yaml:1:1: error: cannot be read: it is a folder",
        "gone.yaml:1:1: error: cannot be read: there is no such file",
        "later.yaml:2:8: error: byte 0xE4 is not UTF-8: save the file as UTF-8",
        "latin.yaml:1:3: error: byte 0xE4 is not UTF-8: save the file as UTF-8",
    ]
    whole = Ran(capsys, "maps", "lint", "--maps", ".")
    named = Ran(capsys, "maps", "lint", "gone.yaml", "plc.yaml", "latin.yaml")
    assert (whole.code, named.code) == (1, 1)
    assert whole.err == ""
    assert set(lines) < set(whole.lines)
    assert f"{len(SHIPPED) + 5} maps: 4 errors, " in whole.lines[-1]
    assert [line for line in named.lines if ": error: " in line] == [lines[1], lines[3]]
    for ran in (whole, named):
        assert any("plc.yaml:1:1: warning: 'sources' is missing" in line for line in ran.lines)


@pytest.mark.parametrize("action", [[], ["lint"], ["show", "obis_plain"], ["new", "x.yaml"]])
def test_a_folder_that_is_not_there_is_an_error(
    capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["maps", *action, "--maps", "/nonexist"])
    assert stopped.value.code == 2
    assert "argument --maps: there is no folder '/nonexist'" in capsys.readouterr().err


def test_lint_passes_with_warnings_alone(capsys: pytest.CaptureFixture[str], plc: Path) -> None:
    plc.write_text(PLC.replace("sources: [me]\n", ""))
    ran = Ran(capsys, "maps", "lint", "plc", "--maps", plc.parent)
    assert ran.code == 0
    assert "warning: 'sources' is missing" in ran.out


# --- diff -----------------------------------------------------------------------------------


def test_a_map_does_not_differ_from_itself(capsys: pytest.CaptureFixture[str], plc: Path) -> None:
    copy = plc.with_name("copy.yaml")
    copy.write_text(
        PLC.replace("My PLC", "Other").replace("value: 7,", "value: 0x7,").replace("/ 2", "/  2")
    )
    ran = Ran(capsys, "maps", "diff", plc, copy)
    assert (ran.code, ran.out) == (0, "both show the same\n")


def test_diff_says_what_is_otherwise_by_address_and_in_the_maps_words(
    capsys: pytest.CaptureFixture[str], plc: Path
) -> None:
    other = plc.with_name("other.yaml")
    other.write_text(
        PLC.replace("port: 5020", "port: 502")
        .replace("tables: [holding]", "tables: [holding, input]")
        .replace("word_order: little", "word_order: big")
        .replace("server_id: plc\n", "")
        .replace("  - {address: 3, value: 7, type: uint16}\n", "")
        .replace("unit: 0.1 V", "unit: V")
        .replace("${serial}", "${meter_number}")
    )
    ran = Ran(capsys, "maps", "diff", plc, other)
    assert ran.code == 1
    lines = [re.sub(r"  +", " ", line) for line in ran.lines]
    for line in (
        "- port: 5020",
        "+ port: 502",
        "- word_order: little",
        "+ word_order: big",
        "- server_id: plc",
        "+ server_id: none",
        "- 0 holding int32 1 W -active_power_total low word first",
        "+ 0 holding int32 1 W -active_power_total",
        "+ 0 input int32 1 W -active_power_total",
        "- 2 holding uint16 0.1 V voltage_l1",
        "+ 2 holding uint16 1 V voltage_l1",
        "- 3 holding uint16 7",
        "- 6 holding text 8 ${serial}",
        "+ 6 holding text 8 ${meter_number}",
    ):
        assert line in lines
    assert not any("only_count" in line for line in lines)


def test_diff_of_two_tables_that_differ_alike_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, kind in (("a", "int16"), ("b", "uint16")):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: x\nregisters: [{{address: 1, quantity: voltage_l1, type: {kind}}}]\n"
        )
    ran = Ran(capsys, "maps", "diff", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert [line.split() for line in ran.lines] == [
        ["-", "1", "holding,", "input", "int16", "1", "V", "voltage_l1"],
        ["+", "1", "holding,", "input", "uint16", "1", "V", "voltage_l1"],
    ]


def test_diff_tells_another_not_available_pattern(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, more in (("a", ""), ("b", ", not_available: 0")):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: x\nregisters: [{{address: 1, quantity: voltage_l1, type: int16{more}}}]\n"
        )
    ran = Ran(capsys, "maps", "diff", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert ran.lines[-1].endswith("voltage_l1  not available 0x0000")


@pytest.mark.parametrize("action", ["show", "lint", "diff", "new"])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], action: str) -> None:
    with pytest.raises(SystemExit):
        main(["maps", action, "--help"])
    assert re.search(rf"example:\n +obisgate maps {action}", capsys.readouterr().out)
