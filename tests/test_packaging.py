"""What is shipped is whole: the lock, the wheel, the configuration of the tools."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


LOCKS = sorted(path.name for path in PROJECT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_everything_with_hashes_and_names_no_address(name: str) -> None:
    text = (PROJECT / name).read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_extras_are_locked_with_the_versions_of_the_rest() -> None:
    locked = {
        name: dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (PROJECT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-extras.lock")
    }
    base, extended = locked.values()
    assert base.items() <= extended.items()
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = [each for extra in extras["optional-dependencies"].values() for each in extra]
    assert {re.match("[a-z]+", each)[0] for each in named} <= extended.keys()  # type: ignore[index]


def test_the_wheel_brings_its_maps_and_its_command(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--wheel-dir", tmp_path, PROJECT], check=True, timeout=120)
    (wheel,) = tmp_path.glob("obisgate-*.whl")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", target]
    subprocess.run([*install, wheel], check=True, timeout=120)
    maps = subprocess.run(
        [sys.executable, target / "bin" / "obisgate", "maps"],
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shipped = sorted(path.stem for path in (PROJECT / "register_maps").glob("*.yaml"))
    assert [line.split()[0] for line in maps.stdout.splitlines()] == shipped
    assert (target / "gateway" / "register_maps").is_dir()
    assert (target / "gateway" / "schemas" / "map.json").is_file()


def test_imports_run_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
