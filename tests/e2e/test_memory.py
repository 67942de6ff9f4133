"""Restarts of the real process: what a gateway remembers, and what it refuses for it."""

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.simulator import SimulatedMeter

from .conftest import Client, Line, Running, obisgate, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {4: {meter: house, map: obis_plain}}"
TARGET_FAILED_TO_RESPOND = 0x0B
DRAWN_WH = 10  # address in the plain table


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )


def on(line: Line) -> str:
    # A pseudo-terminal takes no parity.
    return "state: states/house.json\n" + served(f"serial:{line.device}?parity=none", UNITS)


def begun(start: Start, config: str) -> Running:
    running = start(config)
    running.message("is open")
    return running


def wait_until_read(running: Running, line: Line, meter: SimulatedMeter) -> None:
    """Send a damaged telegram and wait for what is said of it: all before it has been read."""
    octets = bytearray(meter.push().telegram)
    octets[-2] ^= 0xFF
    line.write(bytes(octets))
    running.message("frame fault")


def energy(client: Client) -> int:
    return int(struct.unpack(">I", client.read(4, DRAWN_WH, 2))[0])


def test_after_a_restart_old_telegrams_are_refused_and_newer_ones_served(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    old = [meter.push() for _ in range(2)]
    running = begun(start, on(line))
    for push in old:
        line.write(push.telegram)
        assert running.telegram()["invocation_counter"] == push.invocation_counter
    running.stop()

    running = begun(start, on(line))
    client = connect(running.port)
    for push in old:
        line.write(push.telegram)
    wait_until_read(running, line, meter)
    assert client.exception(4, DRAWN_WH, 2) == TARGET_FAILED_TO_RESPOND
    assert client.read(4, 0, 2) == b"\xff\xff\xff\xff", "there was no good telegram yet"
    newer = meter.push()
    line.write(newer.telegram)
    said = running.message("counter fault")
    assert f"does not rise above {old[-1].invocation_counter}" in said
    assert running.telegram()["invocation_counter"] == newer.invocation_counter
    assert energy(client) == newer.readings["1-0:1.8.0.255"][0]
    telegrams = [event for event in running.seen if event["event"] == "telegram"]
    assert len(telegrams) == 1


def test_after_a_restart_the_next_telegram_is_served_at_once(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    for _ in range(3):
        running, push = begun(start, on(line)), meter.push()
        line.write(push.telegram)
        assert running.telegram()["invocation_counter"] == push.invocation_counter
        assert energy(connect(running.port)) == push.readings["1-0:1.8.0.255"][0]
        running.stop()


def test_a_replay_over_a_restart_is_served_with_its_third_telegram_and_said(
    line: Line, start: Start, meter: SimulatedMeter
) -> None:
    old = [meter.push() for _ in range(4)]
    running = begun(start, on(line))
    for push in old:
        line.write(push.telegram)
        running.telegram()
    running.stop()

    running = begun(start, on(line))
    for push in old[:3]:
        line.write(push.telegram)
    running.message("the invocation counter starts again")
    assert running.telegram()["invocation_counter"] == old[2].invocation_counter


def test_a_run_without_a_telegram_forgets_nothing(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    running = begun(start, on(line))
    line.write(meter.push().telegram)
    running.telegram()
    running.stop()
    before = (tmp_path / "states" / "house.json").read_bytes()
    begun(start, on(line)).stop()
    assert (tmp_path / "states" / "house.json").read_bytes() == before


def test_the_state_has_what_the_last_good_telegram_said(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter, key: str
) -> None:
    running = begun(start, on(line))
    push = meter.push()
    line.write(push.telegram)
    running.telegram()
    wait_until_read(running, line, meter)
    running.stop()
    text = (tmp_path / "states" / "house.json").read_text()
    assert json.loads(text)["meters"] == {
        "house": {
            "system_title": push.system_title.hex(),
            "invocation_counter": push.invocation_counter,
            "clock": push.clock.isoformat(),
            "energies": {
                name: push.readings[f"1-0:{code}.8.0.255"][0]
                for name, code in (
                    ("energy_active_import_total", 1),
                    ("energy_active_export_total", 2),
                    ("energy_reactive_import_total", 3),
                    ("energy_reactive_export_total", 4),
                )
            },
        }
    }
    assert key.lower() not in text


def test_without_a_word_about_it_the_state_is_among_the_users(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    running = begun(start, on(line).replace("state: states/house.json\n", ""))
    line.write(meter.push().telegram)
    running.telegram()
    running.stop()
    assert [*(tmp_path / "states" / "obisgate").glob("*.json")]


# --- what is no lasting meter ---------------------------------------------------------------

REMEMBERED = {
    "version": 1,
    "meters": {
        "house": {
            "system_title": "4b464d1020000001",
            "invocation_counter": 2**32 - 1,
            "clock": None,
            "energies": {"energy_active_import_total": 2**40},
        }
    },
}


@pytest.mark.parametrize("kind", ["recording", "simulator"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_recording_or_a_simulator_neither_reads_nor_touches_the_state(
    kind: str, is_there: bool, tmp_path: Path, start: Start, meter: SimulatedMeter
) -> None:
    (tmp_path / "meter.bin").write_bytes(meter.push().telegram)
    source = {"recording": "recording:meter.bin", "simulator": "simulator:kaifa-ma309m"}[kind]
    state = tmp_path / "house.json"
    if is_there:
        state.write_text(json.dumps(REMEMBERED))
    for _ in range(2):
        running = start(f"state: house.json\n{served(source, UNITS)}")
        running.telegram()
        running.stop()
    assert state.exists() is is_there
    if is_there:
        assert state.read_text() == json.dumps(REMEMBERED)


# --- damage and obstacles -------------------------------------------------------------------


def test_a_damaged_state_is_set_aside_and_said_and_the_gateway_serves(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    (tmp_path / "states").mkdir()
    half = b'{"version": 1, "meters": {"half a fi'
    (tmp_path / "states" / "house.json").write_bytes(half)
    running = start(on(line))
    assert any("was damaged: set aside" in event.get("message", "") for event in running.seen)
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    running.stop()
    assert (tmp_path / "states" / "house.json.damaged").read_bytes() == half
    assert json.loads((tmp_path / "states" / "house.json").read_text())["meters"]


def test_a_file_of_ones_own_where_the_state_should_be_stays_and_the_gateway_serves(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    mine = tmp_path / "states" / "house.json"
    mine.parent.mkdir()
    mine.write_bytes(b"-----BEGIN PRIVATE KEY-----")
    running = start(on(line))
    assert any("is no state of obisgate" in event.get("message", "") for event in running.seen)
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    running.stop()
    assert mine.read_bytes() == b"-----BEGIN PRIVATE KEY-----"
    beside = {each.name for each in mine.parent.glob("house.json*")}
    assert beside == {"house.json", "house.json.lock"}


def test_a_state_that_cannot_be_written_is_said_and_ends_nothing(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    (tmp_path / "states").touch()  # a file where the folder should be
    running = begun(start, on(line))
    line.write(meter.push().telegram)
    running.telegram()
    running.stop()
    assert "house.json cannot be written: " in running.message("cannot be written")


def test_check_leaves_the_state_alone(tmp_path: Path, line: Line) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(on(line))
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "house.json").write_bytes(b"damage")
    assert obisgate("check", str(config)).returncode == 0
    assert (tmp_path / "states" / "house.json").read_bytes() == b"damage"
