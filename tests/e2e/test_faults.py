"""What clients and the machine do to a running gateway; a good client beside them is served on."""

import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import PATIENCE_S, Client, Running, obisgate

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

CONFIG = """
meters:
  house: {source: "simulator:kaifa-ma309m"}
listeners:
  - tcp: 127.0.0.1:0
    units: {1: {meter: house, map: sunspec_213}}
    limits: LIMITS
"""
SUNS = 40000
HALF_A_REQUEST = bytes.fromhex("0001 0000 0006 01 03")


@pytest.fixture
def begin(start: Start) -> Callable[..., Running]:
    return lambda limits="{}", more="": start(CONFIG.replace("LIMITS", limits) + more)


def is_served(client: Client) -> bool:
    return client.read(1, SUNS, 2) == b"SunS"


def is_sent_away(client: socket.socket) -> bool:
    """Wait until the gateway has closed it."""
    client.settimeout(PATIENCE_S)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_client_that_is_killed_in_mid_request_harms_nobody(
    begin: Callable[..., Running], connect: Connect
) -> None:
    running = begin()
    good = connect(running.port)
    program = (
        "import socket, time\n"
        f"client = socket.create_connection(('127.0.0.1', {running.port}))\n"
        f"client.sendall({HALF_A_REQUEST!r})\n"
        "print('sent', flush=True)\n"
        "time.sleep(60)\n"
    )
    for _ in range(3):
        victim = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert victim.stdout
        assert victim.stdout.readline() == b"sent\n"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        assert is_served(good)
    assert is_served(connect(running.port))
    running.stop()


def test_a_client_that_says_nothing_any_more_is_closed_as_the_config_says(
    begin: Callable[..., Running], connect: Connect
) -> None:
    running = begin("{idle: 1s}")
    silent, good = connect(running.port), connect(running.port)
    assert is_served(silent)
    silent.socket.setblocking(False)
    while True:
        assert is_served(good)
        try:
            assert silent.socket.recv(1) == b""
            break
        except BlockingIOError:
            time.sleep(0.05)
    assert running.message("asked nothing") == "127.0.0.1 asked nothing for 1 s, closed"
    assert is_served(good)
    running.stop()


def test_each_limit_of_the_config_holds(begin: Callable[..., Running], connect: Connect) -> None:
    running = begin("{connections_per_address: 2, request: 500ms, idle: 10min}")
    good, slow = connect(running.port), connect(running.port)
    assert is_served(good)
    assert is_served(slow)
    assert is_sent_away(connect(running.port).socket)
    assert "has 2 connections" in running.message("connections_per_address")
    slow.socket.sendall(HALF_A_REQUEST)
    assert is_sent_away(slow.socket)
    assert is_served(good)
    assert is_served(connect(running.port)), "there is room again"
    running.stop()


def test_what_no_map_serves_is_in_the_log(begin: Callable[..., Running], connect: Connect) -> None:
    running = begin()
    client = connect(running.port)
    for _ in range(3):
        assert client.exception(1, 1706, 1) == 2
    said = running.message("1706")
    assert said.startswith("127.0.0.1 asks unit 1 for 1706, which no map serves")
    assert running.stop().count("1706") == 0


def test_a_hundred_thousand_random_byte_strings_do_no_harm(
    begin: Callable[..., Running], connect: Connect
) -> None:
    dice = random.Random(20)
    running = begin(
        "{connections: 10000, connections_per_address: 10000}",
        "  - {udp: '127.0.0.1:0', any: {meter: house, map: sunspec_213}}\n",
    )
    udp_port = running.until(lambda event: event["event"] == "listener")["port"]
    good = connect(running.port)
    # 2,000 each on a connection of its own, which most of them end.
    for number in range(2000):
        with socket.create_connection(("127.0.0.1", running.port)) as client, suppress(OSError):
            client.sendall(dice.randbytes(dice.randrange(1, 300)))
        if number % 300 == 0:
            assert is_served(good)
    # 98,000 each as a datagram; what is asked behind them is answered when all were taken.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", udp_port))
        for number in range(1960):
            for _ in range(50):
                client.send(dice.randbytes(dice.randrange(1, 300)))
            asked = struct.pack(">HHHBBHH", number, 0, 6, 1, 3, SUNS, 2)
            client.send(asked)
            while not client.recv(300).startswith(asked[:4]):
                pass  # what came at random may be a request
    assert is_served(good)
    errors = running.stop()
    lines = len(errors.splitlines()) + len(running.seen)
    assert lines < 100, "a flood is a few lines"


def test_a_hundred_thousand_random_requests_in_sound_frames_do_no_harm(
    begin: Callable[..., Running], connect: Connect
) -> None:
    dice = random.Random(21)
    running = begin()
    good = connect(running.port)
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.settimeout(PATIENCE_S)
        for _ in range(1000):
            frames, last = [], struct.pack(">HHHBBHH", 0xFFFF, 0, 6, 1, 3, SUNS, 2)
            for transaction in range(100):
                pdu = dice.randbytes(dice.choice((1, 2, 4, 5, 6, 10, 253)))
                unit = dice.choice((1, 1, 1, 0, 7, 255))
                frames.append(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)
            client.sendall(b"".join(frames) + last)
            received = b""
            while not received.endswith(b"\xff\xff\0\0\0\x07\x01\x03\x04SunS"):
                chunk = client.recv(65536)
                assert chunk
                received = received[-20:] + chunk
    assert is_served(good)
    errors = running.stop()
    lines = len(errors.splitlines()) + len(running.seen)
    assert lines < 100, "a flood is a few lines"


ADDRESS = "198.51.100.77"  # TEST-NET-2: nobody else's
IP_FREEBIND = 15  # linux/in.h: listen where no address is yet


def ip(verb: str) -> None:
    command = ["ip", "address", verb, f"{ADDRESS}/32", "dev", "lo"]
    subprocess.run(command, check=True, capture_output=True)


def test_an_address_that_comes_goes_and_comes_again_is_served_whenever_it_is_there(
    start: Start, connect: Connect
) -> None:
    try:
        ip("add")
        ip("del")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may give this machine another address")
    other = CONFIG.replace("LIMITS", "{}") + (
        f"  - {{tcp: '{ADDRESS}:5029', any: {{meter: house, map: sunspec_213}}}}\n"
    )
    running = start(other)
    good = connect(running.port)
    running.message(f"{ADDRESS} is no address of this machine now")
    assert is_served(good)
    try:
        ip("add")
        running.message(f"listening on {ADDRESS}:5029 now")
        with socket.create_connection((ADDRESS, 5029)):
            ip("del")
            assert is_served(good)
        ip("add")
        with socket.create_connection((ADDRESS, 5029), timeout=PATIENCE_S) as client:
            client.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 9, 3, SUNS, 2))
            assert client.recv(100).endswith(b"SunS")
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("del")
    running.stop()


def test_an_address_that_comes_with_its_port_taken_says_so_and_is_served_when_it_is_free(
    start: Start,
) -> None:
    try:
        ip("add")
        ip("del")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may give this machine another address")
    other = CONFIG.replace("LIMITS", "{}") + (
        f"  - {{tcp: '{ADDRESS}:5030', any: {{meter: house, map: sunspec_213}}}}\n"
    )
    with socket.socket() as program:
        program.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        program.bind((ADDRESS, 5030))
        program.listen()
        running = start(other)
        running.message(f"{ADDRESS} is no address of this machine now")
        try:
            ip("add")
            running.message(f"{ADDRESS}:5030 is in use by another program: ss -ltnp")
            program.close()
            running.message(f"listening on {ADDRESS}:5030 now")
        finally:
            with suppress(subprocess.CalledProcessError):
                ip("del")
    running.stop()


def test_without_file_descriptors_old_clients_live_new_ones_are_refused_and_it_recovers(
    begin: Callable[..., Running], connect: Connect, tmp_path: Path
) -> None:
    running = begin()
    old = connect(running.port)
    assert is_served(old)
    pid = running.process.pid
    used = [int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(used) + 4, before[1]))
    crowd = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(25)]
    assert "no file descriptor is left" in running.message("descriptor")
    for client in crowd[10:]:
        assert is_sent_away(client)
    started, cpu_started = time.monotonic(), cpu_s(pid)
    while time.monotonic() - started < 1.0:
        assert is_served(old)
        time.sleep(0.1)
    assert cpu_s(pid) - cpu_started < 0.5, "it does not spin"
    asked = obisgate("health", str(tmp_path / "config.yaml"))
    assert (asked.returncode, asked.stderr) == (0, "")
    for client in crowd:
        client.close()
    while True:
        try:
            again = connect(running.port)
            if is_served(again):
                break
        except (AssertionError, ConnectionResetError):
            pass  # not all of the crowd are gone yet
    assert is_served(old)
    assert "Traceback" not in running.stop()


def cpu_s(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
