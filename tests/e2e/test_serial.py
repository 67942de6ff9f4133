"""The serial port of a running gateway: plugs that are pulled, adapters that flood."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.simulator import SimulatedMeter

from .conftest import Client, Line, Running, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

METER_CLOCK = 2  # its address in the plain table
UNITS = "units: {4: {meter: house, map: obis_plain}}"
FLOOD = """
import os, sys
noise = os.urandom(65536)
while True:
    os.write(int(sys.argv[1]), noise)
"""


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )


@contextmanager
def flooded(line: Line) -> Iterator[None]:
    """Let another process write noise to the line, as fast as it is taken."""
    command = [sys.executable, "-c", FLOOD, str(line.master)]
    with subprocess.Popen(command, pass_fds=[line.master], stderr=subprocess.DEVNULL) as flooding:
        yield
        flooding.kill()


def test_an_adapter_that_floods_noise_does_not_starve_the_modbus_side(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    # At such a speed the pauses between reads are as short as they get.
    running = start(served(f"serial:{line.device}?parity=none&baud=921600", UNITS))
    running.message("is open")
    push = meter.push()
    line.write(push.telegram)
    running.telegram()
    client = connect(running.port)
    with flooded(line):
        running.message("outside all frames")
        for _ in range(300):
            energy = struct.unpack(">I", client.read(4, 10, 2))[0]
            assert energy == push.readings["1-0:1.8.0.255"][0]


def test_an_adapter_that_comes_back_under_another_name_goes_on_with_the_next_telegram(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    by_id = tmp_path / "usb-FTDI_FT232R_A50285BI-if00-port0"
    by_id.symlink_to(line.device)
    running = start(served(f"serial:{by_id}?parity=none", UNITS))
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    other = Line()  # the kernel gives it the next name
    try:
        line.write(meter.push().telegram[:100])
        by_id.unlink()
        os.close(line.master)
        running.message("is gone")
        running.message("does not exist: is the adapter plugged in?")
        by_id.symlink_to(other.device)
        running.message("is open")
        push = meter.push()
        other.write(push.telegram)
        assert running.telegram()["invocation_counter"] == push.invocation_counter
    finally:
        other.close()
        line.master = os.open(os.devnull, os.O_RDONLY)  # the fixture closes it


def test_what_came_while_the_program_was_stopped_is_not_shown_as_fresh(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    """It waits in the system's buffers: after Ctrl-Z and fg, or in a container that was paused."""
    running = start(served(f"serial:{line.device}?parity=none", UNITS))
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    client = connect(running.port)
    clock = client.read(4, METER_CLOCK, 2)
    running.process.send_signal(signal.SIGSTOP)
    line.write(meter.push().telegram)
    time.sleep(6.0)  # what is looked at is the time
    running.process.send_signal(signal.SIGCONT)
    assert "and is dropped; trying again" in running.message("the program stood still for")
    assert client.read(4, METER_CLOCK, 2) == clock
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    assert client.read(4, METER_CLOCK, 2) != clock
    running.stop()
