"""The README's examples are right: what it shows can be typed and works."""

import re
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config import Config
from gateway.map_library import SHIPPED
from gateway.registers import RegisterMap

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
YAML = re.findall(r"^ *```yaml\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)


def test_first_code_block_is_make_run_and_make_test() -> None:
    first = README.split("```")[1]
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make run", "make test"]


def test_map_example_compiles() -> None:
    (example,) = [text for text in YAML if text.startswith("name:")]
    assert len(RegisterMap.parse(example, "README.md").registers) == 5


def test_config_example_is_read(tmp_path: Path) -> None:
    (example,) = [text for text in YAML if "listeners:" in text]
    for name in ("house.key", "house.auth.key"):
        (tmp_path / name).write_text("00" * 16)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "my_maps").mkdir()
    (tmp_path / "config.yaml").write_text(example)
    config = Config.read(tmp_path / "config.yaml")
    assert not config.warnings
    assert [listener.port for listener in config.listeners] == [502, 5020, 0, 4001]


def test_the_maps_that_it_names_are_shipped_and_counted() -> None:
    shipped = {path.stem for path in SHIPPED.glob("*.yaml")}
    section = README.split("## Register maps\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9]+_[a-z0-9_]+)`", section))
    assert named
    assert named <= shipped
    assert len(shipped) == 38, "the README says thirty-eight"


def test_every_command_stands_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    (\w+)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    assert commands
    assert re.findall(r"^\| `obisgate (\w+)", README, re.MULTILINE) == commands
