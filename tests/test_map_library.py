"""Register maps by name: the user's before the shipped ones."""

from pathlib import Path

import pytest

from gateway import map_library
from gateway.located import ConfigError
from gateway.registers import RegisterMap

TINY = "name: Mine\ntables: [input]\nregisters:\n  - {address: 0, value: 1, type: uint16}\n"


def test_the_shipped_maps_are_found_by_their_names() -> None:
    found = map_library.find(None)
    assert {"obis_plain", "sunspec_213", "sunspec_203", "eastron_sdm630"} <= set(found)
    for name, path in found.items():
        assert path.is_absolute()
        assert path.is_file()
        assert path.name == f"{name}.yaml"


@pytest.mark.parametrize("name", map_library.find(None))
def test_every_shipped_map_loads(name: str) -> None:
    loaded = map_library.load(name, None)
    assert isinstance(loaded, RegisterMap)
    assert loaded.written.name
    assert loaded.written.sources


def test_the_shipped_maps_do_not_depend_on_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "obis_plain" in map_library.find(None)


def test_a_users_map_stands_beside_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TINY)
    found = map_library.find(tmp_path)
    assert found["mine"] == tmp_path / "mine.yaml"
    assert set(found) == {*map_library.find(None), "mine"}
    assert map_library.load("mine", tmp_path).written.name == "Mine"


def test_a_users_map_hides_a_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "obis_plain.yaml").write_text(TINY)
    assert map_library.load("obis_plain", tmp_path).written.name == "Mine"
    assert map_library.load("obis_plain", None).written.name == "Plain OBIS table"


def test_only_yaml_files_are_maps(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no map")
    (tmp_path / "mine.yaml.bak").write_text(TINY)
    assert map_library.find(tmp_path) == map_library.find(None)


def test_an_unknown_map_comes_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as problem:
        map_library.load("sunspec_231", None)
    assert str(problem.value) == "unknown map 'sunspec_231', did you mean 'sunspec_214'?"
    (tmp_path / "mine.yaml").write_text(TINY)
    with pytest.raises(ConfigError, match=r"^unknown map 'mime', did you mean 'mine'\?$"):
        map_library.load("mime", tmp_path)


def test_a_map_with_an_error_names_its_own_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TINY.replace("uint16", "unit16"))
    with pytest.raises(ConfigError) as problem:
        map_library.load("mine", tmp_path)
    assert str(problem.value) == f"{path}:4:34: unknown type 'unit16', did you mean 'uint16'?"


def test_a_map_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError) as problem:
        map_library.load("mine", tmp_path)
    assert str(problem.value).startswith(f"{path}: cannot be read: ")


def test_a_folder_of_a_maps_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").mkdir()
    with pytest.raises(ConfigError) as problem:
        map_library.load("mine", tmp_path)
    assert str(problem.value).startswith(f"{tmp_path / 'mine.yaml'}: cannot be read: ")
