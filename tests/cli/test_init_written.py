"""The config that `obisgate init` writes: right whatever the answers are, whole or not there."""

import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import map_library
from gateway.cli.init.reader import TRANSPORTS, Answering
from gateway.cli.init.written import Answers, config_text, free_name, hold_of, put_in_place
from gateway.config import Config, Transport
from gateway.located import ConfigError, load
from gateway.readers import Reader, readers
from gateway.telegram import Key

DAY = date(2026, 6, 21)
KEY = Key(bytes(range(16)))
MAPS = {name: map_library.load(name, None).written for name in map_library.find(None)}
READERS = readers(MAPS, is_single_phase=False)


def answers(reader: Reader = READERS[0], source: str = "serial:/dev/ttyUSB0") -> Answers:
    transport = TRANSPORTS[reader.over]
    where = "/dev/ttyUSB1" if transport is Transport.SERIAL else f"0.0.0.0:{reader.port}"
    return Answers(
        source=source,
        line="2400 baud 8E1, M-Bus frames, a telegram every 5 s",
        interval_s=5.0,
        key="file:house.key",
        auth_key="",
        reader=reader,
        answering=Answering(transport, where),
    )


@pytest.mark.parametrize("reader", READERS, ids=lambda each: f"{each.map_name}: {each.name}")
def test_every_reader_gets_a_config_that_is_right(reader: Reader, tmp_path: Path) -> None:
    put_in_place(tmp_path / "config.yaml", answers(reader), {"house.key": KEY}, DAY)
    config = Config.read(tmp_path / "config.yaml")
    (listener,) = config.listeners
    assert listener.transport is TRANSPORTS[reader.over]
    assert listener.units[reader.unit_id].map_name == reader.map_name
    assert config.meters["house"].key == KEY
    assert not config.warnings


def test_what_is_commented_out_is_right_as_well(tmp_path: Path) -> None:
    for name in ("house.key", "house.auth.key"):
        (tmp_path / name).write_text(KEY.octets.hex())
        (tmp_path / name).chmod(0o600)
    for reader in READERS[:: len(READERS) // 8]:
        text, count = re.subn(
            r"(?m)^    # (?=[a-z_]+: )", "    ", config_text(answers(reader), DAY)
        )
        assert count >= 4
        path = tmp_path / "config.yaml"
        path.write_text(text)
        config = Config.read(path)
        assert config.meters["house"].auth_key == KEY
        assert config.meters["house"].connection_a == 63


@given(name=st.text("abc #:'\"\\{}[]&*!?%@,- ü", min_size=1, max_size=20))
def test_a_device_of_any_name_is_read_back(name: str) -> None:
    source = f"serial:/dev/{name.replace('?', '')}"
    text = config_text(answers(source=source), DAY)
    line = next(line for line in text.splitlines() if line.lstrip().startswith("source:"))
    assert load(line, "config.yaml").mapping(("source",))["source"].text() == source


def test_values_are_held_for_three_pushes_and_for_15_s_at_least() -> None:
    assert [hold_of(each) for each in (None, 1.0, 5.0, 10.0, 9.96)] == [15, 15, 15, 30, 30]


def test_a_config_that_would_not_be_right_is_not_there_and_neither_is_its_key(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="unknown source"):
        put_in_place(tmp_path / "config.yaml", answers(source="meter"), {"house.key": KEY}, DAY)
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_a_key_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "house.key").write_text("another")
    with pytest.raises(ConfigError, match="cannot be written"):
        put_in_place(tmp_path / "config.yaml", answers(), {"house.key": KEY}, DAY)
    assert [each.name for each in tmp_path.iterdir()] == ["house.key"]
    assert (tmp_path / "house.key").read_text() == "another"


def test_a_new_folder_is_made_for_the_config(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.yaml"
    put_in_place(path, answers(), {"house.key": KEY}, DAY)
    assert {each.name for each in path.parent.iterdir()} == {"config.yaml", "house.key"}


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(
    tmp_path: Path, is_there: bool
) -> None:
    kept, here = tmp_path / "kept", tmp_path / "here"
    kept.mkdir()
    here.mkdir()
    if is_there:
        (kept / "house.yaml").write_text("mine")
    (here / "config.yaml").symlink_to("../kept/house.yaml")
    put_in_place(here / "config.yaml", answers(), {"house.key": KEY}, DAY)
    assert (here / "config.yaml").is_symlink()
    assert Config.read(here / "config.yaml").meters["house"].key == KEY
    assert (kept / "house.yaml").read_text() == config_text(answers(), DAY)
    assert {each.name for each in here.iterdir()} == {"config.yaml", "house.key"}
    assert {each.name for each in kept.iterdir()} == {"house.yaml"}


def test_a_link_that_leads_nowhere_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to("nowhere/house.yaml")
    with pytest.raises(ConfigError, match="cannot be written"):
        put_in_place(tmp_path / "config.yaml", answers(), {"house.key": KEY}, DAY)
    assert {each.name for each in tmp_path.iterdir()} == {"config.yaml"}


def test_a_key_gets_a_name_that_nobody_has(tmp_path: Path) -> None:
    assert free_name(tmp_path, "house") == "house.key"
    (tmp_path / "house.key").symlink_to(tmp_path / "nowhere")
    assert free_name(tmp_path, "house") == "house-2.key"
