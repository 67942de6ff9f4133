"""Good clients beside a crowd: 1,000 idle and 200 slow connections, against a quiet listener.

    python bench/crowd.py [--seconds 15]

Two listeners of the same kind, each a process of its own on one core, take turns in short slices;
the clients are on the other core. A slow connection sends a byte of a request a second. Then, what
a connection costs, and a client that never reads; and 10,000 clients that come and go.
"""

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import random
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from measure import BenchError, best_quartile, interleave, machine, main, ratio, table

from gateway.limits import Limits
from gateway.modbus.responder import Responder
from gateway.modbus.server import Listener
from gateway.modbus.unit import Unit
from gateway.registers import RegisterMap
from gateway.snapshot import Freshness, Origin, Snapshot, Value

SECONDS = 15.0
IDLE, SLOW, GOOD = 1000, 200, 5
VISITS = 10_000
SLICE_S = 0.2
DRIPS_A_SLICE = round(SLOW * SLICE_S)  # bytes of all slow connections together
MOST_X = 1.5
HOST = "127.0.0.1"
LIMITS = Limits(connections=5000, connections_per_address=5000, idle_s=3600.0, request_s=3600.0)
MAP = """
name: Bench
zero_ranges: [[0, 124]]
registers: [{address: 200, quantity: voltage_l1, type: float32}]
"""
REQUEST = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 0, 50)
REPLY_BYTES = 9 + 100
BIG = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 0, 125)


class Seen:
    """A meter with one value, for ever."""

    snapshot = Snapshot({"voltage_l1": Value(230.0, Origin.MEASURED)}, {}, 0.0)
    freshness = Freshness(float("inf"), 0.0)


def serve(core: int | None, limits: Limits, pipe: Connection) -> None:
    """Run a listener until the other end of the pipe is closed: the child's whole life."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    more_descriptors()

    async def run() -> None:
        unit = Unit(RegisterMap.parse(MAP, "bench.yaml"), Seen())
        listener = Listener(HOST, 0, Responder({1: unit}), (), limits)
        pipe.send((await listener.start())[1])
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), gone.set)
        await gone.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


def more_descriptors() -> None:
    """Take as many file descriptors as the system gives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Server:
    """A listener in a process of its own."""

    def __init__(self, core: int | None, limits: Limits = LIMITS) -> None:
        self._pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        context = multiprocessing.get_context("spawn")
        self._child = context.Process(target=serve, args=(core, limits, theirs), daemon=True)
        self._child.start()
        theirs.close()
        if not self._pipe.poll(20.0):
            raise BenchError("the server did not start")
        self.port: int = self._pipe.recv()

    def connect(self) -> socket.socket:
        """Return a connection."""
        connection = socket.create_connection((HOST, self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def memory_bytes(self) -> int:
        """Return the private memory of the process."""
        text = Path(f"/proc/{self._child.pid}/smaps_rollup").read_text()
        lines = [line for line in text.splitlines() if line.startswith("Private_")]
        return 1024 * sum(int(line.split()[1]) for line in lines)

    def descriptors(self) -> int:
        """Return how many it has open."""
        return len(list(Path(f"/proc/{self._child.pid}/fd").iterdir()))

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self._child.join(5)


@contextlib.contextmanager
def running(core: int | None, limits: Limits = LIMITS) -> Iterator[Server]:
    """Start a server; end it in the end."""
    server = Server(core, limits)
    try:
        yield server
    finally:
        server.close()


def ask(connection: socket.socket) -> float:
    """Return the seconds of one round trip."""
    start = time.perf_counter()
    connection.sendall(REQUEST)
    received = 0
    while received < REPLY_BYTES:
        chunk = connection.recv(REPLY_BYTES)
        if not chunk:
            raise BenchError("a good client was sent away")
        received += len(chunk)
    return time.perf_counter() - start


class Slice:
    """Round trips of the good clients for some time, one after the other, sorted."""

    def __init__(self, good: list[socket.socket], drip: Callable[[], None]) -> None:
        self.times: list[float] = []
        start = time.monotonic()
        drips = 0
        for connection in itertools.cycle(good):
            elapsed_s = time.monotonic() - start
            if elapsed_s > SLICE_S:
                break
            if drips < DRIPS_A_SLICE * elapsed_s / SLICE_S:
                drip()
                drips += 1
            self.times.append(ask(connection))
        self.times.sort()

    def quantile(self, share: float) -> float:
        """Return the time within which a share of the round trips were done."""
        return self.times[min(int(share * len(self.times)), len(self.times) - 1)]


def latency(seconds: float, core: int | None) -> tuple[list[list[str]], float]:
    """Return the rows of the table, and what a connection costs the listener in bytes."""
    with running(core) as quiet, running(core) as crowded, contextlib.ExitStack() as stack:

        def many(server: Server, number: int) -> list[socket.socket]:
            found = [stack.enter_context(server.connect()) for _ in range(number)]
            ask(found[-1])  # all before it have been accepted
            return found

        few = many(crowded, 50)
        for each in few:
            ask(each)
        before = crowded.memory_bytes()
        for each in many(crowded, IDLE):
            ask(each)
        bytes_each = (crowded.memory_bytes() - before) / IDLE
        slow = many(crowded, SLOW)
        sent = itertools.cycle(
            (each, octet) for octet in (REQUEST[i : i + 1] for i in range(12)) for each in slow
        )

        def drip() -> None:
            each, octet = next(sent)
            each.sendall(octet)
            with contextlib.suppress(BlockingIOError):
                each.recv(4096, socket.MSG_DONTWAIT)

        good = {"quiet": many(quiet, GOOD), "crowded": many(crowded, GOOD)}
        drips = {"quiet": lambda: None, "crowded": drip}
        slices = interleave(
            {name: (lambda name=name: Slice(good[name], drips[name])) for name in good}, seconds
        )
        rows = []
        for label, share in (("median", 0.5), ("90 %", 0.9), ("99 %", 0.99)):
            us = {
                name: 1e6 * best_quartile([each.quantile(share) for each in found])
                for name, found in slices.items()
            }
            rows.append([
                label, f"{us['quiet']:.0f}", f"{us['crowded']:.0f}",
                ratio(us["crowded"] / us["quiet"]),
            ])  # fmt: skip
        return rows, bytes_each


def never_reads(core: int | None) -> str:
    """Return what clients cost that ask and never fetch, and when they are cut off."""
    number = 50
    limits = Limits(connections=100, connections_per_address=100, request_s=1.0)
    with running(core, limits) as server, contextlib.ExitStack() as stack:
        good = stack.enter_context(server.connect())
        for _ in range(100):
            ask(good)
        before = server.memory_bytes()
        greedy = [stack.enter_context(server.connect()) for _ in range(number)]
        start = time.monotonic()
        most = 0
        for each in greedy:
            each.setblocking(False)
        while greedy and time.monotonic() - start < 30:
            for each in list(greedy):
                try:
                    each.send(BIG * 500)
                except BlockingIOError:
                    continue
                except OSError:
                    greedy.remove(each)
            ask(good)
            most = max(most, server.memory_bytes() - before)
        if greedy:
            raise BenchError(f"{len(greedy)} clients that never read were not cut off")
        return (
            f"{number} clients that never read cost the process at most "
            f"{most / number / 1024:.0f} KiB each, beside 64 KiB in the system; cut off after "
            f"{time.monotonic() - start:.1f} s of {limits.request_s:g} s allowed."
        )


def come_and_go(core: int | None) -> str:
    """Return what is left of many clients of all sorts."""
    dice = random.Random(1)
    with running(core) as server, server.connect() as good:

        def visit(number: int) -> None:
            with server.connect() as client:
                match number % 4:
                    case 0:
                        ask(client)
                    case 1:
                        client.sendall(REQUEST[: dice.randrange(1, 12)])
                    case 2:
                        client.sendall(dice.randbytes(20))
                    case 3:
                        linger = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        client.sendall(REQUEST * 20)
            if number % 50 == 0:
                ask(good)

        def settle() -> tuple[int, int]:
            for _ in range(200):
                ask(good)
                time.sleep(0.005)
            return server.descriptors(), server.memory_bytes()

        for number in range(VISITS // 2):
            visit(number)
        descriptors, memory = settle()
        for number in range(VISITS):
            visit(number)
        after = settle()
        return (
            f"{VISITS:,} clients that came and went left {after[0] - descriptors} descriptors and "
            f"{(after[1] - memory) / 1024:.0f} KiB."
        )


def run(seconds: float) -> str:
    """Measure; return the report."""
    more_descriptors()
    where = machine()
    cores = sorted(os.sched_getaffinity(0))
    core = None
    if len(cores) > 1:
        core = cores[0]
        os.sched_setaffinity(0, set(cores[1:]))
    rows, bytes_each = latency(seconds, core)
    worst = max(float(row[-1]) for row in rows[:2])
    verdict = "kept" if worst <= MOST_X else "missed"
    header = ["round trip", "quiet, µs", f"{IDLE:,} idle and {SLOW} slow, µs", "ratio"]
    return "\n".join([
        table(header, rows),
        "",
        f"Goal, at most {MOST_X} × at the median and at 90 %: {verdict}. "
        f"A connection costs the process {bytes_each / 1024:.1f} KiB.",
        never_reads(core),
        come_and_go(core),
        "",
        f"{where}, best quartile of interleaved slices: `python bench/crowd.py`.",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(__doc__.partition("\n")[0], SECONDS, run))
