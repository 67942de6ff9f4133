"""obisgate maps new: by options, by answers on a terminal, like another map."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import map_library
from gateway.cli import main
from gateway.cli.maps.template import NUMBER_TYPES, USUAL
from gateway.registers.lint import lint
from gateway.schema import MAP_SCHEMA
from gateway.snapshot import QUANTITIES

OBISGATE = Path(sys.executable).with_name("obisgate")


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


def new(*words: object) -> int:
    return main(["maps", "new", *map(str, words)])


def findings(path: Path) -> list[str]:
    others = map_library.others(path.parent)
    return [str(each) for each in lint(map_library.text_of(path), str(path), others)]


def test_without_questions_it_writes_a_map_that_lint_finds_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "maps" / "my_plc.yaml"
    assert new(path) == 0
    assert findings(path) == []
    written = map_library.read(path, None).written
    assert written.name == "my plc"
    assert [register.quantity for register in written.registers] == list(USUAL)
    out = capsys.readouterr().out
    assert f"obisgate maps show {path}" in out
    assert f"maps: {path.parent}, and map: my_plc" in out


def test_options_say_everything(tmp_path: Path) -> None:
    path = tmp_path / "plc.yaml"
    assert not new(
        path, "--name", 'Pump "2"', "--tables", "input", "--word-order", "little",
        "--first", "0x64", "--type", "float32",
        "--quantities", "active_power_total, energy_active_import_total",
    )  # fmt: skip
    assert findings(path) == []
    written = map_library.read(path, None).written
    assert (written.name, written.word_order) == ('Pump "2"', "little")
    assert {str(table) for table in written.tables} == {"input"}
    assert [(r.address, r.quantity, r.type and r.type.name, r.unit) for r in written.registers] == [
        (100, "active_power_total", "float32", "W"),
        (102, "energy_active_import_total", "float32", "kWh"),
    ]
    assert any("float32" in note for note in written.notes)


@pytest.mark.parametrize("type_name", NUMBER_TYPES)
def test_every_quantity_finds_a_type_and_a_unit_that_hold_it(
    tmp_path: Path, type_name: str
) -> None:
    path = tmp_path / "all.yaml"
    names = list(QUANTITIES)
    assert not new(path, "--type", type_name, "--quantities", ",".join(names))
    assert findings(path) == []


def test_the_first_line_names_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "plc.yaml"
    new(path)
    first = path.read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={MAP_SCHEMA}"
    assert MAP_SCHEMA.is_file()


def test_like_another_map_shows_what_that_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    assert new(path, "--like", "eastron_sdm630", "--name", "Mine") == 0
    assert map_library.read(path, tmp_path).written.name == "Mine"
    capsys.readouterr()
    assert main(["maps", "diff", "eastron_sdm630", str(path)]) == 0
    assert [each for each in findings(path) if "mine.yaml" in each] == []


def test_like_a_map_of_ones_own(tmp_path: Path) -> None:
    new(tmp_path / "first.yaml")
    assert new(tmp_path / "second.yaml", "--like", "first") == 0
    registers = map_library.read(tmp_path / "second.yaml", tmp_path).registers
    assert len(registers) == len(USUAL)


def test_a_file_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plc.yaml"
    path.write_text("precious")
    assert new(path) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--quantities", "voltage_l4"], "unknown quantity 'voltage_l4', did you mean"),
        (["--quantities", "foo"], "unknown quantity 'foo'; schemas/map.json lists them"),
        (["--quantities", ","], "at least one quantity is needed"),
        (["--quantities", "voltage_l1,voltage_l1"], "a quantity comes twice"),
        (["--type", "sunssf"], "unknown type 'sunssf'"),
        (["--tables", "coils"], "unknown table 'coils'"),
        (["--word-order", "middle"], "unknown word order 'middle'"),
        (["--first", "70000"], "70000 is not between 0 and 65535"),
        (["--first", "forty"], "'forty' is no address"),
        (["--first", "65530"], "would lie behind the last address"),
        (["--name", " "], "a name has characters that can be seen"),
        (["--like", "eastron_sdm603"], "unknown map 'eastron_sdm603', did you mean"),
        (["--like", "nosuch"], "unknown map 'nosuch'; `obisgate maps` lists them"),
        (["--like", "obis_plain", "--type", "int32"], "--type is the other map's"),
    ],
)
def test_a_wrong_answer_is_said_and_nothing_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(MAP_SCHEMA.parent.parent)
    assert new(tmp_path / "plc.yaml", *words) == 2
    assert error in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_map_that_nobody_would_find_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(tmp_path / "plc.txt") == 2
    assert "a map's file ends with .yaml" in capsys.readouterr().err


def typed(path: Path, *answers: str, arguments: tuple[str, ...] = ()) -> tuple[int, str]:
    """Return exit code and all that is seen on the terminal."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [OBISGATE, "maps", "new", path, *arguments], stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    os.write(ours, "".join(f"{answer}\n" if answer != "\x04" else answer for answer in answers)
             .encode())  # fmt: skip
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:
        pass
    os.close(ours)
    return process.wait(timeout=30), seen.decode()


def test_on_a_terminal_it_asks_and_asks_again(tmp_path: Path) -> None:
    path = tmp_path / "plc.yaml"
    code, seen = typed(
        path,
        "Boiler",
        "coil",
        "input",
        "",
        "int16",
        "200",
        "voltage_l9",
        "active_power_total,voltage_l1",
    )
    assert code == 0
    assert "unknown table 'coil'" in seen
    assert "unknown quantity 'voltage_l9', did you mean 'voltage_l" in seen
    written = map_library.read(path, None).written
    assert (written.name, written.word_order) == ("Boiler", "big")
    assert [(r.address, r.step) for r in written.registers] == [(200, "10 W"), (201, "0.1 V")]


def test_on_a_terminal_it_asks_only_what_no_option_says(tmp_path: Path) -> None:
    arguments = ("--tables", "input", "--word-order", "big", "--type", "int32", "--first", "0")
    code, seen = typed(tmp_path / "plc.yaml", "Boiler", "", arguments=arguments)
    assert code == 0
    assert "Which tables" not in seen
    assert len(map_library.read(tmp_path / "plc.yaml", None).registers) == len(USUAL)


def test_the_end_of_the_answers_writes_nothing(tmp_path: Path) -> None:
    code, seen = typed(tmp_path / "plc.yaml", "Boiler", "\x04")
    assert code == 2
    assert "nothing is written" in seen
    assert list(tmp_path.iterdir()) == []
