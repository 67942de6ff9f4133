"""What the gateway costs in a meter cabinet: its start, its memory, its idle CPU, its delay.

    python bench/cabinet.py [--seconds 60]

The real `obisgate run` reads a pseudo-terminal on which a simulated meter pushes every 5 s at the
pace of its line, and a client polls three times a second. Against it, in the same run: a process
that only imports the four required packages, and a bare asyncio process that is woken as often and
answers canned bytes.

Both have their bytecode, as pip leaves it. Memory is that of the required packages alone, and in a
row of its own with uvloop; all else is measured on uvloop where that is installed.
"""

import contextlib
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from measure import BenchError, machine, main, ratio, rough, show_progress, table

from gateway.simulator import SimulatedMeter

SECONDS = 60.0
STARTS = 5
MODEL = "kaifa-ma309m"
KEY = bytes(range(16))
PUSH_EVERY_S = 5.0
POLL_EVERY_S = 1 / 3
BYTE_S = 11 / 2400  # 2400 baud 8E1
PIECE_BYTES = 4  # what an adapter hands over at a time: 16 ms at 2400 baud, FTDI's latency timer
PATIENCE_S = 30.0
GOALS = {"memory": 1.15, "cpu": 2.0, "delay": 0.001}
NEEDED_OF_PACKAGES = (
    "import asyncio, yaml, serial_asyncio\n"
    "from cryptography.hazmat.primitives.ciphers.aead import AESGCM\n"
    "from pymodbus.server import ModbusTcpServer\n"
)
MAIN = "from gateway.cli import main; sys.exit(main())"
COMMAND = [sys.executable, "-c", f"import sys; {MAIN}"]
WITHOUT_UVLOOP = [sys.executable, "-c", f"import sys; sys.modules['uvloop'] = None; {MAIN}"]
CONFIG = """
state: state.json
meters:
  house: {{source: "serial:{device}?parity=none", key: {key}, hold: 5min}}
listeners:
  - tcp: 127.0.0.1:0
    units: {{1: {{meter: house, map: sunspec_213}}, 2: {{meter: house, map: obis_plain}}}}
"""
# What the inverter asks: 50 registers of the SunSpec map.
POLL = bytes.fromhex("0007 0000 0006 01 03 9C40 0032")
# The meter's clock in the plain map, which changes with every telegram.
CLOCK_NAME = "meter_clock"

# A bare asyncio process: it reads the terminal and answers every request with the same bytes.
BARE = """
import asyncio, os, sys
async def run():
    loop = asyncio.get_running_loop()
    terminal = os.open(sys.argv[1], os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    loop.add_reader(terminal, lambda: os.read(terminal, 1024))
    class Client(asyncio.Protocol):
        def connection_made(self, transport): self.transport = transport
        def data_received(self, octets): self.transport.write(octets[:4] + bytes(105))
    server = await loop.create_server(Client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(run())
"""


class Usage(NamedTuple):
    """What a process has used so far."""

    cpu_s: float
    wakeups: int


@dataclass
class Running:
    """A process under measurement, and its Modbus port."""

    process: "subprocess.Popen[str]"
    port: int

    def usage(self) -> Usage:
        """Return CPU time and voluntary switches, over all its threads."""
        ticks = os.sysconf("SC_CLK_TCK")
        folder = Path(f"/proc/{self.process.pid}")
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        wakeups = 0
        for task in (folder / "task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    wakeups += int(line.split()[1])
        return Usage((int(stat[11]) + int(stat[12])) / ticks, wakeups)

    @property
    def memory_kib(self) -> int:
        """Return its resident memory."""
        return memory_kib(self.process.pid)


def memory_kib(pid: int) -> int:
    """Return the resident memory of a process; what it shares with others counts fully."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError("this system does not tell the memory of a process")


class Line:
    """A pseudo-terminal on which a meter pushes."""

    def __init__(self) -> None:
        self._meter_end, self._device_end = os.openpty()
        tty.setraw(self._device_end)
        self.device = os.ttyname(self._device_end)
        self._meter = SimulatedMeter(
            MODEL, KEY, seed=1, start=datetime(2026, 6, 21, 4, 0, tzinfo=UTC)
        )

    def push(self, pieces: int | None = None) -> float:
        """Push one telegram at the pace of the line; return the moment of its last byte.

        It comes in so many `pieces`; None: as an adapter hands it over.
        """
        octets = self._meter.push().telegram
        size = PIECE_BYTES if pieces is None else -(-len(octets) // pieces)
        began = time.perf_counter()
        for start in range(0, len(octets), size):
            piece = octets[start : start + size]
            sleep_until(began + (start + len(piece)) * BYTE_S)
            os.write(self._meter_end, piece)
        return time.perf_counter()

    @property
    def wire_s(self) -> float:
        """How long a telegram takes on the wire."""
        return len(self._meter.push().telegram) * BYTE_S

    def close(self) -> None:
        """Hang up."""
        os.close(self._meter_end)
        os.close(self._device_end)


def sleep_until(moment: float) -> None:
    """Sleep until then."""
    if (left_s := moment - time.perf_counter()) > 0:
        time.sleep(left_s)


@contextlib.contextmanager
def gateway(folder: Path, device: str, obisgate: Sequence[str] = COMMAND) -> Iterator[Running]:
    """Run the gateway until it listens."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(device=device, key=KEY.hex()))
    command = [*obisgate, "run", str(config), "--log-format", "json"]
    with started(command) as process:
        assert process.stdout
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "listener":
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield Running(process, event["port"])
                return
    raise BenchError("the gateway does not start")


@contextlib.contextmanager
def bare(device: str) -> Iterator[Running]:
    """Run the bare process until it listens."""
    with started([sys.executable, "-c", BARE, device]) as process:
        assert process.stdout
        yield Running(process, int(process.stdout.readline()))


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a process; end it."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def start_s(command: Sequence[str], word: str) -> float:
    """Return the CPU time from a process' start until it prints a word: little disturbs that."""
    with started(command) as process:
        assert process.stdout
        for line in process.stdout:
            if word in line:
                return Running(process, 0).usage().cpu_s
    raise BenchError(f"{command[1:3]} does not start")


def starts(folder: Path, device: str) -> tuple[float, float]:
    """Return CPU seconds to the import of the packages, and to listening; medians."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(device=device, key=KEY.hex()))
    listening = [*COMMAND, "run", str(config), "--log-format", "json"]
    imports = [sys.executable, "-c", NEEDED_OF_PACKAGES + "print('there', flush=True); input()"]
    found = [(start_s(imports, "there"), start_s(listening, '"listener"')) for _ in range(STARTS)]
    return statistics.median(a for a, _ in found), statistics.median(b for _, b in found)


def imported_kib() -> int:
    """Return the memory of a process that imports the four packages and waits."""
    code = NEEDED_OF_PACKAGES + "print('there', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()
    kib = memory_kib(process.pid)
    process.communicate("\n", PATIENCE_S)
    return kib


def idle_kib(folder: Path, line: Line, obisgate: Sequence[str]) -> int:
    """Return the memory of a gateway that has heard its meter and was polled."""
    with gateway(folder, line.device, obisgate) as running:
        everyday(running, line, 2 * PUSH_EVERY_S)
        return running.memory_kib


def everyday(running: Running, line: Line, seconds: float, pieces: int | None = None) -> Usage:
    """Push and poll for some time; return what that took a second, and the wakeups a telegram."""
    stop = threading.Event()
    poller = threading.Thread(target=poll, args=(running.port, stop))
    line.push(pieces)
    poller.start()
    before, began = running.usage(), time.perf_counter()
    pushes = max(1, round(seconds / PUSH_EVERY_S))
    for number in range(pushes):
        line.push(pieces)
        sleep_until(began + (number + 1) * PUSH_EVERY_S)
        show_progress((number + 1) / pushes)
    after, lasted_s = running.usage(), time.perf_counter() - began
    stop.set()
    poller.join()
    polls = lasted_s / POLL_EVERY_S
    return Usage(
        (after.cpu_s - before.cpu_s) / lasted_s,
        max(1, round((after.wakeups - before.wakeups - polls) / pushes)),
    )


def poll(port: int, stop: threading.Event) -> None:
    """Ask three times a second."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        while not stop.wait(POLL_EVERY_S):
            client.sendall(POLL)
            client.recv(512)


def delay_s(running: Running, line: Line, times: int) -> float:
    """Return the median time from a telegram's last byte until a read brings its value."""
    found = []
    with socket.create_connection(("127.0.0.1", running.port), PATIENCE_S) as client:
        ask = clock_request()
        for number in range(times):
            # A client that asks as fast as it can from the last byte on, like a bad inverter.
            old = answer(client, ask)
            came = line.push()
            while answer(client, ask) == old:
                if time.perf_counter() - came > PATIENCE_S:
                    raise BenchError("the new value does not come")
            found.append(time.perf_counter() - came)
            show_progress((number + 1) / times)
    return statistics.median(found)


def answer(client: socket.socket, ask: bytes) -> bytes:
    """Return the reply to a request."""
    client.sendall(ask)
    ready, _, _ = select.select([client], [], [], PATIENCE_S)
    if not ready:
        raise BenchError("no reply")
    return client.recv(512)[2:]


def clock_request() -> bytes:
    """Return the request for the meter's clock in the plain map."""
    from gateway import map_library

    register = next(
        r for r in map_library.load("obis_plain", None).registers if r.quantity == CLOCK_NAME
    )
    pdu = bytes((2, 3)) + register.address.to_bytes(2, "big") + register.words.to_bytes(2, "big")
    return bytes.fromhex("0001 0000 0006") + pdu


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    line = Line()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Else each start compiles the gateway from its source, but not the packages.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        import_s, listening_s = starts(folder, line.device)
        packages_kib = imported_kib()
        gateway_kib = idle_kib(folder, line, WITHOUT_UVLOOP)
        uvloop_kib = idle_kib(folder, line, COMMAND) if find_spec("uvloop") else None
        with gateway(folder, line.device) as running:
            ours = everyday(running, line, seconds / 2)
            later_s = delay_s(running, line, 5)
        with bare(line.device) as running:
            theirs = everyday(running, line, seconds / 2, pieces=ours.wakeups)
    wire_s = line.wire_s
    line.close()
    memory, cpu, delay = gateway_kib / packages_kib, ours.cpu_s / theirs.cpu_s, later_s / wire_s
    rows = [
        ("CPU from start to listening", "import of the four packages",
         ratio(listening_s / import_s), "–"),
        ("memory when idle", "the four packages imported", f"{memory:.2f}",
         f"≤ {GOALS['memory']:g}"),
        ("memory when idle, with uvloop", "the four packages imported",
         f"{uvloop_kib / packages_kib:.2f}" if uvloop_kib else "not installed", "–"),
        ("CPU, a telegram each 5 s, 3 polls/s", "bare asyncio, as many wakeups", f"{cpu:.1f}",
         f"≤ {GOALS['cpu']:g}"),
        ("last byte → new register value", "the telegram's time on the wire", f"{delay:.2%}",
         f"< {GOALS['delay']:.1%}"),
    ]  # fmt: skip
    missed = [
        name
        for name, found in (("memory", memory), ("cpu", cpu), ("delay", delay))
        if found > GOALS[name]
    ]
    return "\n".join(
        [
            table(("in the meter cabinet", "against", "×", "goal"), rows),
            "",
            f"{machine()}: `python bench/cabinet.py`. Goals missed: {', '.join(missed) or 'none'}.",
            f"Order of magnitude: {rough(listening_s)} s CPU to listening, "
            f"{rough(gateway_kib / 1024)} MiB, {rough(ours.cpu_s * 1e3)} ms CPU a second and "
            f"{ours.wakeups} wakeups a telegram, {rough(later_s * 1e3)} ms from the last byte to "
            f"the register after {rough(wire_s)} s on the wire.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
