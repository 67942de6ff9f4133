"""The serial port of a running gateway: plugs that are pulled, adapters that flood."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.simulator import SimulatedMeter

from .conftest import Client, Line, Running, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

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
