"""The real command as a child process, and what a user has in hand to look at it."""

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OBISGATE = Path(sys.executable).with_name("obisgate")
PATIENCE_S = 30.0

needs_mbpoll = pytest.mark.skipif(
    shutil.which("mbpoll") is None, reason="mbpoll is missing: sudo apt-get install mbpoll"
)


def obisgate(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    options = {"text": True, "capture_output": True, "timeout": PATIENCE_S} | options
    return subprocess.run([OBISGATE, *arguments], check=False, **options)


class Running:
    """`obisgate run --log-format json`, its events as they come."""

    def __init__(self, config: Path) -> None:
        self.process = subprocess.Popen(
            [OBISGATE, "run", "--log-format", "json", config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[dict[str, Any]] = []
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self.until(lambda event: event["event"] == "listener")["port"]

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def until(
        self, wanted: Callable[[dict[str, Any]], bool], within_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Return the next event that is wanted."""
        while True:
            event = self._events.get(timeout=within_s)
            assert event is not None, f"ended early: {self.process.communicate()[1]}"
            self.seen.append(event)
            if wanted(event):
                return event

    def has_event(self, name: str, within_s: float) -> bool:
        """Tell whether an event of that name comes before the others pause for so long."""
        try:
            self.until(lambda event: event["event"] == name, within_s)
        except queue.Empty:
            return False
        return True

    def telegram(self) -> dict[str, Any]:
        return self.until(lambda event: event["event"] == "telegram")

    def message(self, part: str) -> str:
        return self.until(lambda event: part in event.get("message", ""))["message"]

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Stop it in order; return what stood on standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        assert self.process.stdout
        assert self.process.stderr
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        assert self.process.returncode == 0, errors
        assert "Traceback" not in errors
        return errors


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """Start the gateway with a config text; it is stopped in order at the end."""
    with contextlib.ExitStack() as stack:

        def starter(config: str) -> Running:
            path = tmp_path / "config.yaml"
            path.write_text(config)
            running = Running(path)
            stack.callback(lambda: running.process.poll() is None and running.stop())
            return running

        yield starter


def served(source: str, units: str, hold: str = "5min") -> str:
    """Return a config with one meter, and one listener on a free port."""
    return f"""
meters:
  house:
    source: {source}
    hold: {hold}
    key: env:TEST_KEY
listeners:
  - tcp: 127.0.0.1:0
    {units}
"""


@pytest.fixture(autouse=True)
def _states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves a state behind, or finds one."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # who runs tests side by side may set it
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key that the tests' meters use, where the config looks for it."""
    digits = "0F1E2D3C4B5A69788796A5B4C3D2E1F0"
    monkeypatch.setenv("TEST_KEY", digits)
    monkeypatch.delenv("OBISGATE_KEY", raising=False)
    monkeypatch.delenv("OBISGATE_AUTH_KEY", raising=False)
    return digits


class Client:
    """A Modbus TCP client of the test's own: bytes out, bytes in."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def request(self, unit: int, pdu: bytes, transaction: int = 1) -> bytes:
        """Return the reply PDU."""
        self.send(unit, pdu, transaction)
        return self.receive(transaction, unit)

    def send(self, unit: int, pdu: bytes, transaction: int = 1) -> None:
        self.socket.sendall(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)

    def receive(self, transaction: int, unit: int) -> bytes:
        header = self.exactly(7)
        assert struct.unpack(">HH", header[:4]) == (transaction, 0)
        assert header[6] == unit
        return self.exactly(int.from_bytes(header[4:6], "big") - 1)

    def exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            chunk = self.socket.recv(count - len(received))
            assert chunk, "the connection was closed"
            received += chunk
        return received

    def read(self, unit: int, address: int, count: int, function: int = 3) -> bytes:
        """Return the words of registers, or fail with the exception."""
        reply = self.request(unit, struct.pack(">BHH", function, address, count))
        assert reply[0] == function, f"exception {reply[1]:#04x}"
        assert reply[1] == 2 * count
        return reply[2:]

    def exception(self, unit: int, address: int, count: int, function: int = 3) -> int | None:
        """Return the exception code of a read; None if it is answered."""
        reply = self.request(unit, struct.pack(">BHH", function, address, count))
        return reply[1] if reply[0] == function | 0x80 else None

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[[int], Client]]:
    with contextlib.ExitStack() as stack:

        def connector(port: int) -> Client:
            client = Client(port)
            stack.callback(client.close)
            return client

        yield connector


class Line:
    """A pseudo-terminal pair: what is written to it comes out of a serial port."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        self.device = os.ttyname(self._slave)

    def write(self, octets: bytes) -> None:
        os.write(self.master, octets)

    def close(self) -> None:
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def line() -> Iterator[Line]:
    pair = Line()
    yield pair
    pair.close()
