"""What a gateway carries for years: only what its config asks for."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

import pytest

from gateway.simulator import SimulatedMeter

from .conftest import PATIENCE_S, Client, Line, Running, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {1: {meter: house, map: sunspec_213}, 4: {meter: house, map: obis_plain}}"
# Each of them takes a tenth of a megabyte or up to several, with what it brings along.
SPARED = {
    "pymodbus",
    "aiomqtt",
    "paho",
    "gateway.modbus.rtu_server",
    "gateway.modbus.tls",
    "gateway.modbus.udp",
    "gateway.combined",
    "gateway.recording",
    "gateway.simulator",
    "gateway.certificates",
    "cryptography.x509",
    "hashlib",
    "hmac",
    "random",
    "difflib",
    "tempfile",
    "shutil",
    "bz2",
    "lzma",
    "encodings.idna",
    "importlib.resources",
}


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )


@pytest.fixture
def _imports_are_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each process of this test write on its standard error what it imports.

    Beside a config whose path is as long as a test's it finds a short place for its socket.
    """
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield


def imported(errors: str) -> set[str]:
    return {
        line.rpartition("|")[2].strip()
        for line in errors.splitlines()
        if line.startswith("import time:")
    }


def carried(running: Running) -> set[str]:
    """Stop a gateway; return what it has imported, and a Python that does nothing has not."""
    mine = imported(running.stop())
    assert {"gateway.service", "gateway.modbus.server"} <= mine
    options = {"check": True, "capture_output": True, "text": True, "timeout": PATIENCE_S}
    idle = subprocess.run([sys.executable, "-c", ""], **options)  # type: ignore[call-overload]
    return mine - imported(idle.stderr)


@pytest.mark.usefixtures("_imports_are_told")
def test_with_a_serial_meter_and_a_tcp_listener_nothing_is_carried_for_others(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    # A pseudo-terminal takes no parity.
    running = start(served(f"serial:{line.device}?parity=none", UNITS))
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    assert connect(running.port).read(1, 40000, 2) == b"SunS"
    assert carried(running) & SPARED == set()


@pytest.mark.usefixtures("_imports_are_told")
def test_with_a_meter_on_the_network_nothing_is_carried_for_serial_ports_either(
    start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as adapter:
        adapter.settimeout(PATIENCE_S)
        running = start(served(f"tcp://127.0.0.1:{adapter.getsockname()[1]}", UNITS))
        connection, _ = adapter.accept()
        with connection:
            connection.sendall(meter.push().telegram)
            running.telegram()
            assert connect(running.port).read(1, 40000, 2) == b"SunS"
            # Even an address goes through IDNA where uvloop (0.23) connects to it.
            spared = (SPARED | {"serial", "serial_asyncio"}) - {"encodings.idna"}
            assert carried(running) & spared == set()
