"""The real process under a test that plays systemd: what it is told, and when it is not."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.service import Service
from gateway.systemd import unit_file
from gateway.systemd.notify import Supervisor, keep_told

from .conftest import OBISGATE, PATIENCE_S, Client, Line, Running, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {1: {meter: house, map: sunspec_213}}"
WATCHDOG_S = 0.4
METERS = 1000
TARGET_FAILED_TO_RESPOND = 0x0B


class Systemd:
    """The socket that systemd listens on."""

    def __init__(self, address: str) -> None:
        self.name = address.replace("\0", "@")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind(address)

    def told(self) -> list[str]:
        """Return the lines of the next datagram."""
        return self.socket.recv(4096).decode().split("\n")

    def until(self, wanted: str) -> str:
        """Return the next line that begins so."""
        while True:
            for line in self.told():
                if line.startswith(wanted):
                    return line

    def forget(self) -> None:
        """Throw away what was told until now."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(4096)
        self.socket.settimeout(PATIENCE_S)

    def is_silent(self, wanted: str, for_s: float) -> bool:
        """Tell whether no such line comes for so long."""
        until = time.monotonic() + for_s
        try:
            while (left_s := until - time.monotonic()) > 0:
                self.socket.settimeout(left_s)
                if any(line.startswith(wanted) for line in self.told()):
                    return False
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(PATIENCE_S)
        return True


@contextlib.contextmanager
def descriptors(limit: int) -> Iterator[None]:
    """Allow this process, and those that it starts, so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    asked = Systemd(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", asked.name)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    yield asked
    asked.socket.close()


@pytest.fixture
def watchdog(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", f"{WATCHDOG_S * 1e6:.0f}")


def test_ready_is_told_when_the_listener_answers_and_stopping_before_the_end(
    systemd: Systemd, tmp_path: Path, connect: Connect, start: Start
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = served("simulator:kaifa-ma309m", UNITS).replace("127.0.0.1:0", f"127.0.0.1:{port}")
    running = start(text)
    first = systemd.told()
    assert first[0] == "READY=1"
    assert re.fullmatch(r"STATUS=house (waiting|live), 0 clients", first[1])
    assert connect(port).read(1, 40000, 2) == b"SunS"
    assert systemd.until("STATUS=") == "STATUS=house live, 1 client"
    assert running.stop() == ""
    assert systemd.until("STOPPING") == "STOPPING=1"


def test_an_abstract_socket_is_told_as_well() -> None:
    systemd = Systemd(f"\0obisgate-test-{os.getpid()}")
    with Supervisor(systemd.name, None) as supervisor:
        supervisor.tell("READY=1", "STATUS=house live")
    assert systemd.told() == ["READY=1", "STATUS=house live"]
    systemd.socket.close()


def test_nothing_is_opened_to_tell_it_something(systemd: Systemd) -> None:
    # Those that are open stay.
    with Supervisor(systemd.name, None) as supervisor, descriptors(3):
        supervisor.tell("WATCHDOG=1")
    systemd.socket.settimeout(0)  # a datagram is there at once
    assert systemd.told() == ["WATCHDOG=1"]


@pytest.mark.parametrize("text", ["meters: [", None], ids=["a bad config", "the same config"])
def test_a_reload_is_told_from_its_begin_to_its_end(
    text: str | None, systemd: Systemd, tmp_path: Path, start: Start
) -> None:
    running = start(served("simulator:kaifa-ma309m", UNITS))
    systemd.until("READY=1")
    if text:
        (tmp_path / "config.yaml").write_text(text)
    running.process.send_signal(signal.SIGHUP)
    assert systemd.until("RELOADING=1")
    assert systemd.until("READY=1")


def test_status_tells_of_an_address_that_is_awaited(systemd: Systemd, start: Start) -> None:
    start(served("simulator:kaifa-ma309m", UNITS).replace("127.0.0.1:0", "192.0.2.1:5020"))
    told = systemd.told()
    assert told[0] == "READY=1"
    assert "waiting for the address 192.0.2.1" in told[1]


def test_status_tells_of_a_serial_line_that_is_awaited(
    systemd: Systemd, tmp_path: Path, start: Start
) -> None:
    text = served("simulator:kaifa-ma309m", UNITS)
    start(text.replace("tcp: 127.0.0.1:0", f"serial: {tmp_path}/rs485"))
    assert f"waiting for {tmp_path}/rs485" in systemd.told()[1]


@pytest.mark.usefixtures("watchdog")
def test_the_watchdog_is_fed_again_and_again_and_nobody_takes_that_for_a_client(
    systemd: Systemd, start: Start
) -> None:
    # Nobody is allowed, not even we, and nothing of it stands in the log.
    running = start(served("simulator:kaifa-ma309m", f"allow: [192.0.2.1]\n    {UNITS}"))
    for _ in range(4):
        systemd.until("WATCHDOG=1")
    assert running.stop() == ""
    assert not [each for each in running.seen if "192.0.2" in each.get("message", "")]
    assert not [each for each in running.seen if "connect" in each.get("message", "")]


@pytest.mark.usefixtures("watchdog")
def test_a_silent_meter_is_no_reason_to_restart(
    systemd: Systemd, line: Line, start: Start, connect: Connect
) -> None:
    running = start(served(f"serial:{line.device}?parity=none", UNITS, hold="100ms"))
    running.message("no good telegram for 0.1 s")
    assert connect(running.port).exception(1, 40098, 2) == TARGET_FAILED_TO_RESPOND
    systemd.forget()
    for _ in range(3):
        systemd.until("WATCHDOG=1")


@pytest.mark.usefixtures("watchdog")
def test_an_absent_device_is_no_reason_to_restart(
    systemd: Systemd, tmp_path: Path, start: Start
) -> None:
    running = start(served(f"serial:{tmp_path}/absent", UNITS))
    running.message("does not exist")
    systemd.forget()
    for _ in range(3):
        systemd.until("WATCHDOG=1")


def test_a_thousand_meters_live_within_what_their_unit_allows(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with socket.create_server(("127.0.0.1", 0), backlog=METERS) as relay:
        address = f"tcp://127.0.0.1:{relay.getsockname()[1]}?silence=1h"
        meters = "".join(
            f"  meter{number}: {{source: {address!r}, key: env:TEST_KEY}}\n"
            for number in range(METERS)
        )
        text = (
            f"meters:\n{meters}listeners:\n  - tcp: 127.0.0.1:0\n"
            "    units: {1: {meter: meter0, map: sunspec_213}}\n"
        )
        (tmp_path / "many.yaml").write_text(text)
        config = Config.read(tmp_path / "many.yaml")
        unit = unit_file.render(Path("/obisgate"), Path("/many.yaml"), config, "obisgate", set())
        limit, memory_mib = (
            int(re.findall(rf"^{word}=(\d+)M?$", unit, re.MULTILINE)[0])
            for word in ("LimitNOFILE", "MemoryMax")
        )
        with descriptors(limit):
            running = start(text)
        relay.settimeout(PATIENCE_S)
        with contextlib.ExitStack() as adapters:
            adapters.enter_context(descriptors(limit))
            for _ in range(METERS):
                adapters.enter_context(relay.accept()[0])
            systemd.forget()
            for _ in range(3):
                systemd.until("WATCHDOG=1")
            assert resident_mib(running.process.pid) < memory_mib
            running.stop()


def resident_mib(pid: int) -> float:
    """Return the most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) / 1024


@pytest.mark.usefixtures("watchdog")
def test_the_watchdog_starves_while_the_process_stands_still(
    systemd: Systemd, start: Start
) -> None:
    running = start(served("simulator:kaifa-ma309m", UNITS))
    systemd.until("WATCHDOG=1")
    running.process.send_signal(signal.SIGSTOP)
    while (state := stat(running.process.pid)) != "T":
        assert state != "Z"
    systemd.forget()
    assert systemd.is_silent("WATCHDOG=1", 3 * WATCHDOG_S)
    running.process.send_signal(signal.SIGCONT)
    systemd.until("WATCHDOG=1")


def stat(pid: int) -> str:
    """Return the state of a process, as ps shows it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.usefixtures("watchdog")
def test_a_watchdog_of_another_process_is_not_fed(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", "1")
    running = start(served("simulator:kaifa-ma309m", UNITS))
    assert systemd.told()[0] == "READY=1"
    assert systemd.is_silent("WATCHDOG", 3 * WATCHDOG_S)
    running.stop()


def test_a_systemd_that_is_gone_is_said_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start, connect: Connect
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    running = start(served("simulator:kaifa-ma309m", UNITS))
    running.message("systemd cannot be told READY=1: No such file or directory")
    assert connect(running.port).read(1, 40000, 2) == b"SunS"


# --- inside one process, where a listener can be taken away -----------------------------------


def test_the_watchdog_starves_when_a_listener_no_longer_answers_and_it_is_said(
    systemd: Systemd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(served("simulator:kaifa-ma309m", UNITS))

    async def scenario() -> None:
        service = Service(Config.read(config), lambda *_: None)
        (bound,) = await service.listen()
        stop = asyncio.Event()
        supervisor = opened.enter_context(Supervisor(systemd.name, WATCHDOG_S))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.run(stop))
            tasks.create_task(keep_told(supervisor, service, stop))
            assert await asyncio.to_thread(systemd.until, "WATCHDOG=1")
            listener = bound._endpoint
            assert listener.address == ("127.0.0.1", bound.port)
            # Its socket is closed behind its back.
            for door in listener._doors:
                door.close()
            while "nobody listens on" not in caplog.text:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            systemd.forget()
            assert await asyncio.to_thread(systemd.is_silent, "WATCHDOG", 2 * WATCHDOG_S)
            stop.set()

    with contextlib.ExitStack() as opened:
        asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    said = "nobody listens on 127.0.0.1:\\d+; if it stays so, systemd's watchdog restarts"
    assert len(re.findall(said, caplog.text)) == 1


def test_a_task_that_died_without_a_word_is_trouble(systemd: Systemd, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(served("simulator:kaifa-ma309m", UNITS))

    async def scenario() -> None:
        service = Service(Config.read(config), lambda *_: None)
        await service.listen()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.run(stop))
            watch = service._watches["house"]
            while watch._reading is None:  # noqa: ASYNC110 - for a turn of the loop
                await asyncio.sleep(0)
            assert await service.trouble(PATIENCE_S) is None
            watch._reading.cancel()
            while not watch._reading.done():  # noqa: ASYNC110 - for a turn of the loop
                await asyncio.sleep(0)
            assert await service.trouble(PATIENCE_S) == "meter house is not read any more"
            stop.set()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))


def test_the_end_of_a_recording_is_no_trouble(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", f"{WATCHDOG_S * 1e6:.0f}")
    (tmp_path / "meter.bin").write_bytes(b"")
    running = start(served(f"recording:{tmp_path}/meter.bin", UNITS))
    running.message("has ended")
    systemd.forget()
    for _ in range(3):
        systemd.until("WATCHDOG=1")


PR_SET_MDWE, REFUSE_GAIN = 65, 1  # linux/prctl.h, since Linux 6.3; inherited by what is started


def test_it_runs_where_no_memory_may_be_written_and_executed(
    systemd: Systemd, tmp_path: Path
) -> None:
    """As MemoryDenyWriteExecute= in the unit asks for."""
    config = tmp_path / "config.yaml"
    config.write_text(served("simulator:kaifa-ma309m", UNITS))
    refuse = (
        "import ctypes, os, sys\n"
        f"if ctypes.CDLL(None).prctl({PR_SET_MDWE}, {REFUSE_GAIN}, 0, 0, 0): sys.exit(77)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", refuse, OBISGATE, "run", config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        if not process.stdout.readline():
            assert process.wait(timeout=PATIENCE_S) == 77
            pytest.skip("this kernel is older than 6.3")
        while not any("house live" in line for line in systemd.told()):
            pass  # until a telegram is decrypted and served
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0
