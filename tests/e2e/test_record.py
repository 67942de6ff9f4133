"""Recording beside the gateway and instead of it, and playing what was recorded."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording import Chunk, Torn, parse
from gateway.simulator import SimulatedMeter

from .conftest import OBISGATE, PATIENCE_S, Line, Running, obisgate, served

Start = Callable[[str], Running]

UNITS = "units: {4: {meter: house, map: obis_plain}}"


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )


@pytest.fixture
def key_file(tmp_path: Path, key: str) -> str:
    path = tmp_path / "house.key"
    path.write_text(key + "\n")
    path.chmod(0o600)
    return str(path)


def octets_in(path: Path) -> bytes:
    items = parse(path.read_bytes().splitlines())
    return b"".join(item.octets for item in items if isinstance(item, Chunk))


def until(condition: Callable[[], bool]) -> None:
    patient_until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < patient_until
        time.sleep(0.02)


def decoded(path: Path, key_file: str) -> list[dict[str, object]]:
    done = obisgate("decode", "--format", "json", "--key-file", key_file, str(path))
    return [json.loads(line) for line in done.stdout.splitlines()]


class Recording:
    """`obisgate record` on a line, with what it says."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [OBISGATE, "record", *arguments], stderr=subprocess.PIPE, text=True
        )

    def hears(self, part: str) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            if part in line:
                return
        raise AssertionError(f"ended without {part!r}")

    def end(self, number: int = signal.SIGINT) -> str:
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE_S)[1]


@pytest.fixture
def record() -> Iterator[Callable[..., Recording]]:
    with contextlib.ExitStack() as stack:

        def starter(*arguments: str) -> Recording:
            one = Recording(*arguments)
            stack.callback(one.process.wait)
            stack.callback(one.process.kill)
            return one

        yield starter


# --- instead of the gateway -----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_comes_over_the_line_is_recorded_until_it_is_stopped(
    line: Line,
    meter: SimulatedMeter,
    key_file: str,
    tmp_path: Path,
    record: Callable[..., Recording],
    number: int,
) -> None:
    path = tmp_path / "house.rec"
    recording = record(f"serial:{line.device}?parity=none", "-o", str(path))
    recording.hears("is open")
    pushes = [meter.push() for _ in range(2)]
    for push in pushes:
        line.write(push.telegram)
    sent = b"".join(push.telegram for push in pushes)
    until(lambda: octets_in(path) == sent)
    said = recording.end(number)
    assert recording.process.returncode == 0
    assert "752 B, 4 whole frames, 2 telegrams" in said
    counters = [each["invocation_counter"] for each in decoded(path, key_file)]
    assert counters == [push.invocation_counter for push in pushes]


def test_a_recorder_that_is_killed_leaves_what_it_had_written(
    line: Line, meter: SimulatedMeter, tmp_path: Path, record: Callable[..., Recording]
) -> None:
    path = tmp_path / "house.rec"
    sent = b""
    for _ in range(2):
        recording = record(f"serial:{line.device}?parity=none", "-o", str(path))
        recording.hears("is open")
        telegram = meter.push().telegram
        line.write(telegram)
        sent += telegram
        until(lambda: octets_in(path) == sent)  # noqa: B023 - waited for in this turn
        recording.end(signal.SIGKILL)
    assert not any(isinstance(item, Torn) for item in parse(path.read_bytes().splitlines()))


def test_it_ends_by_itself_when_its_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "house.rec"
    done = obisgate("record", "simulator:kaifa-ma309m", "-o", str(path), "--for", "200ms")
    assert done.returncode == 0
    assert "recorded: 0:00 min, 376 B, 2 whole frames, 1 telegram\n" in done.stderr
    assert len(octets_in(path)) == 376


def test_a_second_recorder_is_refused_and_the_first_goes_on(
    line: Line, meter: SimulatedMeter, tmp_path: Path, record: Callable[..., Recording]
) -> None:
    path = tmp_path / "house.rec"
    recording = record(f"serial:{line.device}?parity=none", "-o", str(path))
    recording.hears("is open")
    done = obisgate("record", "simulator:honeywell", "-o", str(path), "--for", "1s")
    assert done.returncode == 2
    assert done.stderr == (
        f"obisgate: {path} cannot be written: another obisgate records into it: "
        "name a file of its own\n"
    )
    push = meter.push()
    line.write(push.telegram)
    until(lambda: octets_in(path) == push.telegram)
    recording.end()
    assert obisgate("record", "simulator:honeywell", "-o", str(path), "--for", "1s").returncode == 0


def test_no_key_is_in_a_recording(tmp_path: Path, key: str) -> None:
    path = tmp_path / "house.rec"
    source = "simulator:kaifa-ma309m?interval=100ms"
    obisgate("record", source, "-o", str(path), "--for", "300ms")
    used = bytes(range(16))
    assert used not in path.read_bytes()
    assert used.hex().encode() not in path.read_bytes().lower()


def test_a_full_file_ends_it_and_says_what_helps(tmp_path: Path) -> None:
    raw, path = tmp_path / "meter.bin", tmp_path / "house.rec"
    raw.write_bytes(os.urandom(100_000))
    done = obisgate("record", f"recording:{raw}", "-o", str(path), "--max-size", "64KiB")
    assert done.returncode == 0
    assert "house.rec is full (64.0 KiB); --max-size allows more, --rotate" in done.stderr
    assert path.stat().st_size <= 65536


def test_a_rotated_recording_keeps_every_byte(tmp_path: Path) -> None:
    raw, path = tmp_path / "meter.bin", tmp_path / "house.rec"
    raw.write_bytes(os.urandom(100_000))
    limits = ("--max-size", "64KiB", "--rotate", "9")
    done = obisgate("record", f"recording:{raw}", "-o", str(path), *limits)
    assert done.returncode == 0
    older = sorted(tmp_path.glob("house.rec.*"), reverse=True)
    assert len(older) > 1
    assert b"".join(map(octets_in, [*older, path])) == raw.read_bytes()


def test_a_disk_that_is_full_ends_it_with_its_cause(
    line: Line, meter: SimulatedMeter, tmp_path: Path, record: Callable[..., Recording]
) -> None:
    recording = record(f"serial:{line.device}?parity=none", "-o", str(tmp_path / "house.rec"))
    recording.hears("is open")
    # No file of this process may grow any more: as a full disk it refuses what is written.
    resource.prlimit(recording.process.pid, resource.RLIMIT_FSIZE, (10, 10))
    line.write(meter.push().telegram)
    said = recording.process.communicate(timeout=PATIENCE_S)[1]
    assert recording.process.returncode == 2
    assert said.endswith("house.rec cannot be written: File too large\n")
    assert "Traceback" not in said


def test_a_port_that_is_not_there_is_said_and_nothing_was_heard(tmp_path: Path) -> None:
    path = tmp_path / "house.rec"
    done = obisgate("record", "serial:/dev/gone", "-o", str(path), "--for", "100ms")
    assert done.returncode == 1
    assert "/dev/gone does not exist: is the adapter plugged in?" in done.stderr
    assert done.stderr.endswith("obisgate: nothing was heard\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("foo:bar", "-o", "a.rec"), "unknown source 'foo:bar'"),
        (("simulator:honeywell", "-o", "/nowhere/a.rec"), "cannot be written: No such file"),
        (("simulator:honeywell", "-o", "/etc/passwd"), "it is no recording of obisgate"),
        (("recording:a.rec", "-o", "./a.rec"), "is what is to be recorded: name another file"),
        (("simulator:honeywell", "-o", "a.rec", "--for", "ever"), "--for: 'ever' is no duration"),
        (("simulator:honeywell", "-o", "a.rec", "--max-size", "1"), "--max-size is at least 32KiB"),
        (("simulator:honeywell", "-o", "a.rec", "--rotate", "-1"), "--rotate is a number from 0"),
        (("simulator:honeywell",), "-o/--to"),
    ],
)
def test_what_is_used_wrongly_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = obisgate("record", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- beside the gateway ---------------------------------------------------------------------


def on(line: Line, record: str) -> str:
    # A pseudo-terminal takes no parity.
    source = f"serial:{line.device}?parity=none\n    record: {record}"
    return served(source, UNITS)


def test_the_gateway_records_what_it_hears(
    line: Line, start: Start, meter: SimulatedMeter, tmp_path: Path, key_file: str
) -> None:
    running = start(on(line, "{file: house.rec}"))
    running.message("is open")
    pushes = [meter.push() for _ in range(3)]
    for push in pushes:
        line.write(push.telegram)
        running.telegram()
    running.stop()
    path = tmp_path / "house.rec"
    assert octets_in(path) == b"".join(push.telegram for push in pushes)
    counters = [each["invocation_counter"] for each in decoded(path, key_file)]
    assert counters == [push.invocation_counter for push in pushes]


def test_a_recording_is_played_through_the_gateway(
    start: Start,
    meter: SimulatedMeter,
    tmp_path: Path,
    line: Line,
    record: Callable[..., Recording],
) -> None:
    path = tmp_path / "house.rec"
    recording = record(f"serial:{line.device}?parity=none", "-o", str(path))
    recording.hears("is open")
    pushes = [meter.push() for _ in range(2)]
    for push in pushes:
        line.write(push.telegram)
    until(lambda: octets_in(path) == b"".join(push.telegram for push in pushes))
    recording.end()
    running = start(served(f"'recording:{path}?speed=10'", UNITS))
    for push in pushes:
        assert running.telegram()["invocation_counter"] == push.invocation_counter
    running.message("has ended")


def test_a_disk_that_is_full_is_said_once_and_the_gateway_goes_on(
    line: Line, start: Start, meter: SimulatedMeter, tmp_path: Path
) -> None:
    running = start(on(line, "{file: house.rec}"))
    running.message("is open")
    # No file of this process may grow beyond: as a full disk it refuses what is written.
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (10, 10))
    line.write(meter.push().telegram)
    running.telegram()
    said = running.message("house.rec cannot be written: File too large")
    assert said == f"house: {tmp_path / 'house.rec'} cannot be written: File too large; " + (
        "nothing is recorded until it can be"
    )
    push = meter.push()
    line.write(push.telegram)
    assert running.telegram()["invocation_counter"] == push.invocation_counter
    running.stop()
    messages = [event.get("message", "") for event in running.seen]
    assert sum("cannot be written" in each and "house.rec" in each for each in messages) == 1


def test_a_recording_that_is_full_is_said_and_the_gateway_goes_on(
    start: Start, tmp_path: Path
) -> None:
    source = "simulator:kaifa-ma309m?interval=5ms\n    record: {file: a.rec, max_size: 32KiB}"
    running = start(served(source, UNITS))
    assert running.message("a.rec is full (32.0 KiB): nothing more is recorded")
    running.telegram()
    assert (tmp_path / "a.rec").stat().st_size <= 32768


def test_check_says_that_a_recording_cannot_be_written(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    source = "simulator:honeywell\n    record: {file: gone/a.rec}"
    config.write_text(served(source, UNITS))
    done = obisgate("check", str(config))
    assert done.returncode == 1
    assert f"meter house: {tmp_path}/gone/a.rec cannot be written" in done.stderr
