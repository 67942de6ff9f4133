"""obisgate health: what a container asks of the gateway beside it."""

from collections.abc import Callable
from pathlib import Path

from .conftest import Line, Running, obisgate, served

Start = Callable[[str], Running]

UNITS = "units: {1: {meter: house, map: sunspec_213}}"


def test_a_gateway_whose_listeners_answer_is_healthy(tmp_path: Path, start: Start) -> None:
    # Though nobody may connect from here.
    running = start(served("simulator:kaifa-ma309m", f"allow: [192.0.2.1]\n    {UNITS}"))
    running.telegram()
    done = obisgate("health", str(tmp_path / "config.yaml"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "house live, 0 clients\n", "")


def test_a_silent_meter_is_no_illness_of_the_gateway(
    tmp_path: Path, line: Line, start: Start
) -> None:
    running = start(served(f"serial:{line.device}?parity=none", UNITS, hold="100ms"))
    running.message("no good telegram")
    done = obisgate("health", str(tmp_path / "config.yaml"))
    assert (done.returncode, done.stdout) == (0, "house waiting, 0 clients\n")


def test_without_a_gateway_nothing_is_healthy(tmp_path: Path) -> None:
    done = obisgate("health", str(tmp_path / "config.yaml"))
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
