"""Meters on the network, from the wire to a register of the real process."""

import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from gateway import certificates
from gateway.simulator import SimulatedMeter
from gateway.simulator.meters import Push
from tests.broker import Broker, free_port, needs_mosquitto

from .conftest import OBISGATE, PATIENCE_S, Client, Running, obisgate, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {1: {meter: house, map: sunspec_213}, 4: {meter: house, map: obis_plain}}"
TARGET_FAILED_TO_RESPOND = 0x0B


class Way(Protocol):
    """A way on which telegrams come in."""

    source: str

    def open(self) -> None:
        """Make it ready, once the gateway runs."""

    def send(self, octets: bytes) -> None:
        """Send a telegram."""

    def close(self) -> None:
        """Let everything go."""


class TcpWay:
    """A serial server, which the gateway connects."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE_S)
        self.source = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections: list[socket.socket] = []

    def open(self) -> None:
        self.connections.append(self._listening.accept()[0])

    def send(self, octets: bytes) -> None:
        self.connections[-1].sendall(octets)

    def close(self) -> None:
        for each in (*self.connections, self._listening):
            each.close()


class DialledWay:
    """An adapter that connects the gateway."""

    def __init__(self) -> None:
        self._port = free_port()
        self.source = f"tcp-listen://127.0.0.1:{self._port}"
        self._connections: list[socket.socket] = []

    def open(self) -> None:
        self._connections.append(socket.create_connection(("127.0.0.1", self._port), PATIENCE_S))

    def send(self, octets: bytes) -> None:
        self._connections[-1].sendall(octets)

    def close(self) -> None:
        for each in self._connections:
            each.close()


class UdpWay:
    """An adapter that sends datagrams."""

    def __init__(self) -> None:
        self._port = free_port(socket.SOCK_DGRAM)
        self.source = f"udp://127.0.0.1:{self._port}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def open(self) -> None:
        self._socket.connect(("127.0.0.1", self._port))

    def send(self, octets: bytes) -> None:
        self._socket.send(octets)

    def close(self) -> None:
        self._socket.close()


class MqttWay:
    """A reader that publishes telegrams, over TLS and with a password."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        authority = certificates.new_authority("Test", now)
        server = certificates.new_server(authority, ["127.0.0.1"], now, 1)
        (folder / "ca.crt").write_bytes(authority.certificate)
        (folder / "server.crt").write_bytes(server.certificate)
        (folder / "server.key").write_bytes(server.key)
        (folder / "mqtt.password").touch(mode=0o600)
        (folder / "mqtt.password").write_text("correct horse\n")
        lines = (f"certfile {folder}/server.crt", f"keyfile {folder}/server.key")
        self._broker = Broker(folder, *lines, password=("gateway", "correct horse"))
        self._broker.trust(folder / "ca.crt")
        self.source = (
            f"mqtts://127.0.0.1:{self._broker.port}/meter/raw?ca=ca.crt&encoding=hex"
            "&user=gateway&password=file:mqtt.password"
        )
        self._broker.start()

    def open(self) -> None:
        """Nothing is to be done."""

    def send(self, octets: bytes) -> None:
        self._broker.publish("meter/raw", octets.hex().encode(), qos=1)

    def close(self) -> None:
        self._broker.stop()


@pytest.fixture(params=["tcp", "tcp-listen", "udp", pytest.param("mqtt", marks=needs_mosquitto)])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    match request.param:
        case "tcp":
            one: Way = TcpWay()
        case "tcp-listen":
            one = DialledWay()
        case "udp":
            one = UdpWay()
        case _:
            one = MqttWay(tmp_path)
    yield one
    one.close()


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )


def energy(client: Client) -> int:
    return int(struct.unpack(">I", client.read(4, 10, 2))[0])


def imported(push: Push) -> object:
    return push.readings["1-0:1.8.0.255"][0]


def test_telegrams_come_through_to_the_registers(
    way: Way, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(served(way.source, UNITS))
    running.message("is open")
    way.open()
    client = connect(running.port)
    for _ in range(2):
        push = meter.push()
        way.send(push.telegram)
        assert running.telegram()["invocation_counter"] == push.invocation_counter
        assert energy(client) == imported(push)
    assert running.stop() == ""


def test_silence_is_shown_until_the_next_telegram(
    way: Way, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(served(way.source, UNITS, hold="400ms"))
    running.message("is open")
    way.open()
    client = connect(running.port)
    way.send(meter.push().telegram)
    running.telegram()
    running.message("no good telegram for 0.4 s")
    assert client.exception(1, 40098, 2) == TARGET_FAILED_TO_RESPOND
    way.send(meter.push().telegram)
    running.message("telegrams come again")


def test_a_server_that_breaks_inside_a_telegram_is_connected_again(
    start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    way = TcpWay()
    running = start(served(way.source, UNITS))
    halves, whole = meter.push(), meter.push()
    way.open()
    way.send(halves.telegram[:200])
    way.connections[-1].close()
    running.message("has closed the connection; trying again")
    way.open()
    way.send(halves.telegram[200:] + whole.telegram)
    assert running.telegram()["invocation_counter"] == whole.invocation_counter
    assert energy(connect(running.port)) == imported(whole)
    way.close()


@pytest.mark.parametrize("noise", [os.urandom(1 << 16), b"\x68" * (1 << 16)], ids=["any", "starts"])
def test_a_flooding_peer_does_not_starve_the_clients(
    noise: bytes, start: Start, connect: Connect
) -> None:
    way = TcpWay()
    running = start(served(way.source, UNITS))
    way.open()
    peer = way.connections[-1]
    peer.setblocking(False)
    client = connect(running.port)
    sent = 0
    for _ in range(200):
        try:
            while True:  # until its buffers are full
                sent += peer.send(noise)
        except BlockingIOError:
            pass
        assert client.read(1, 40000, 2) == b"SunS"
    assert sent < 1 << 26, "what is not read waits at the sender"
    assert running.stop() == ""
    way.close()


def test_no_password_is_shown_whatever_is_wrong(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "geheim")
    port = free_port()
    running = start(served(f"mqtt://127.0.0.1:{port}/t?user=u&password=env:TEST_PASSWORD", UNITS))
    running.message("refuses: nothing listens there")
    arguments = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
    assert "geheim" not in f"{running.seen} {arguments!r} {running.stop()}"
    config = tmp_path / "wrong.yaml"
    for source in (
        "mqtt://u:geheim@127.0.0.1/t",
        "mqtt://127.0.0.1/t?user=u&password=geheim",
        "mqtt://127.0.0.1/t?user=u&password=geheim&user=u",
        "mqqt://u:geheim@127.0.0.1/t",
        "mqtt://127.0.0.1:x/t?user=u&password=geheim",
    ):
        config.write_text(served(source, UNITS))
        for command in ("check", "run"):
            done = obisgate(command, str(config))
            assert done.returncode == (1 if command == "check" else 2)
            assert f"{config}:4:13: " in done.stderr
            assert "geheim" not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr


def test_check_says_that_a_host_is_not_known(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(served("tcp://meter.invalid:2400", UNITS))
    done = obisgate("check", str(config))
    assert done.returncode == 1
    assert done.stderr == (
        "meter house: 'meter.invalid' is not known here: check its spelling, "
        "or write its IP address\n"
    )


def test_what_simulate_serves_is_read(start: Start, connect: Connect, key: str) -> None:
    port = free_port()
    running = start(served(f"tcp://127.0.0.1:{port}", UNITS))
    running.message("refuses: nothing listens there")
    simulating = subprocess.Popen(
        [OBISGATE, "simulate", "honeywell", "--tcp", f"127.0.0.1:{port}", "--interval", "200ms"],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OBISGATE_KEY": key},
    )
    try:
        running.telegram()
        assert energy(connect(running.port)) > 0
    finally:
        simulating.terminate()
        simulating.wait(timeout=PATIENCE_S)
