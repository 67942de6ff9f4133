"""Reads of 50 holding registers over TCP: obisgate against stock pymodbus and bare asyncio.

    python bench/serving.py [--seconds 25]

Three servers, each a process of its own, all alive at once on one core; the load generator, with
plain sockets, on the other. They serve the same words and take turns in short slices.
Bare asyncio receives into one buffer and answers canned bytes: Python's asyncio goes no faster.
"""

import asyncio
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import cast

from measure import BenchError, best_quartile, interleave, machine, main, ratio, rough, table
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway import map_library
from gateway.meter import Meter
from gateway.modbus.responder import Responder
from gateway.modbus.server import Listener
from gateway.modbus.unit import Unit
from gateway.registers import Table
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Judge
from gateway.telegram import Decoder, Key

SECONDS = 25.0
SLICE_S = 0.06
CONNECTIONS = 10
PIPELINED = 8  # requests in one segment
REPLY_TIMEOUT_S = 5
LOST_AFTER_S = 0.5  # a reply that takes longer on loopback does not come
LOSS_ROUNDS = 3
START_TIMEOUT_S = 20.0
QUIET = 0.85  # the slowest server, left alone, works all the time

HOST = "127.0.0.1"
UNIT_ID = 1
MAP = "sunspec_213"
FIRST, COUNT = 40072, 50  # all of them measured: currents, voltages, powers
HOLD_S = 86_400.0
KEY = bytes(range(16))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)

REQUEST = struct.Struct(">HHHBBHH")  # MBAP header, function, address, count
REPLY_HEAD = struct.Struct(">HHHBBB")  # MBAP header, function, number of bytes
REPLY_BYTES = REPLY_HEAD.size + 2 * COUNT
TRANSACTIONS = 8192  # a multiple of PIPELINED

OBISGATE, STOCK, BARE = "obisgate", "stock pymodbus", "bare asyncio"


# The servers. Each runs in a child process and tells its port through a pipe.


def unit() -> Unit:
    """Return the shipped map over a meter that has sent one telegram, always the same."""
    meter = Meter("bench", Decoder(Key(KEY)), Judge(), HOLD_S, lambda _item: None)
    push = SimulatedMeter("kaifa-ma309m", KEY, seed=1, start=START).push()
    meter.take(push.telegram, time.monotonic())
    return Unit(map_library.load(MAP, None), meter)


def octets() -> bytes:
    """Return the bytes of the registers that are read."""
    found = unit().read(Table.HOLDING, FIRST, COUNT, time.monotonic())
    if not isinstance(found, bytes):
        raise BenchError(f"map {MAP} does not serve {COUNT} registers from {FIRST}: {found!r}")
    return found


async def start_obisgate() -> int:
    """Start the listener as the gateway does; return its port."""
    _, port = await Listener(HOST, 0, Responder({UNIT_ID: unit()})).start()
    return port


async def start_stock() -> int:
    """Start pymodbus' server over a block of registers, as its documentation does."""
    words = list(struct.unpack(f">{COUNT}H", octets()))
    block = SimData(FIRST, values=words, datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(UNIT_ID, simdata=[block]), address=(HOST, 0))
    await server.serve_forever(background=True)
    # asyncio asks for 256 KiB at each recv. glibc takes them from the heap or, 25 µs slower here,
    # from mmap, as the process' past has it; after a large block was freed always from the heap.
    bytearray(1 << 20)
    return int(cast(asyncio.Server, server.transport).sockets[0].getsockname()[1])


class Canned(asyncio.BufferedProtocol):
    """Answers every 12 bytes with the same words; only the transaction id is the request's."""

    buffer = bytearray(4096)
    tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Lend the buffer that all connections share."""
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        """Answer what came: whole requests, as no other client is here."""
        if count == REQUEST.size:
            self._transport.write(self.buffer[:2] + self.tail)
            return
        starts = range(0, count, REQUEST.size)
        self._transport.write(b"".join([self.buffer[at : at + 2] + self.tail for at in starts]))


async def start_bare() -> int:
    """Start the protocol that only echoes; return its port."""
    Canned.tail = reply_head(0)[2:] + octets()
    server = await asyncio.get_running_loop().create_server(Canned, HOST, 0)
    return int(server.sockets[0].getsockname()[1])


STARTERS: Mapping[str, Callable[[], Awaitable[int]]] = {
    OBISGATE: start_obisgate,
    STOCK: start_stock,
    BARE: start_bare,
}


def serve(name: str, core: int | None, pipe: Connection) -> None:
    """Run one server until the other end of the pipe is closed: the child's whole life."""
    if core is not None:
        os.sched_setaffinity(0, {core})

    async def run() -> None:
        pipe.send(await STARTERS[name]())
        parent_gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), parent_gone.set)
        await parent_gone.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its name, its port and the clock of the CPU time that it has used."""

    name: str
    port: int
    cpu_clock: int


@contextlib.contextmanager
def running(names: Sequence[str], core: int | None) -> Iterator[dict[str, Server]]:
    """Start all servers on `core`; stop them in the end."""
    context = multiprocessing.get_context("spawn")
    servers: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            ours, theirs = context.Pipe()
            child = context.Process(target=serve, args=(name, core, theirs), daemon=True)
            child.start()
            stack.callback(child.join, REPLY_TIMEOUT_S)
            stack.callback(ours.close)
            theirs.close()
            try:
                port = ours.recv() if ours.poll(START_TIMEOUT_S) else None
            except EOFError:
                port = None
            if port is None:
                raise BenchError(f"{name}: the server did not start")
            servers[name] = Server(name, port, cpu_clock(child.pid or 0))
        yield servers


def cpu_clock(pid: int) -> int:
    """Return the clock of a process' CPU time, which /proc shows in steps of 10 ms only."""
    clock = ctypes.c_int()
    failed = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if failed:
        raise BenchError(f"no CPU clock of process {pid}: {os.strerror(failed)}")
    return clock.value


# The load.


@dataclass(frozen=True, slots=True)
class Slice:
    """What a slice took; `waits` is how many exchanges were not answered when looked for."""

    exchanges: int
    requests: int
    waits: int
    wall_s: float
    server_s: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """The requests of one segment, and how the replies to them start."""

    segment: bytes
    heads: Sequence[bytes]


Waiting = tuple[socket.socket, Exchange]


def reply_head(transaction: int) -> bytes:
    """Return all of a right reply that stands before its words."""
    return REPLY_HEAD.pack(transaction, 0, 3 + 2 * COUNT, UNIT_ID, 3, 2 * COUNT)


def exchanges(depth: int) -> list[Exchange]:
    """Return exchanges of `depth` requests, each with a transaction id of its own."""
    requests = [REQUEST.pack(t, 0, 6, UNIT_ID, 3, FIRST, COUNT) for t in range(TRANSACTIONS)]
    heads = [reply_head(t) for t in range(TRANSACTIONS)]
    return [
        Exchange(b"".join(requests[i : i + depth]), heads[i : i + depth])
        for i in range(0, TRANSACTIONS, depth)
    ]


class Load:
    """Ten connections to one server, each waiting for the replies to one segment of requests."""

    def __init__(self, server: Server, depth: int, *, spins: bool = False) -> None:
        """Connect; `spins`: this process has a core of its own to wait on."""
        self._server = server
        self._depth = depth
        self._spins = spins
        self._waits = 0
        self._connections = [connect(server.port) for _ in range(CONNECTIONS)]
        self._exchanges = itertools.cycle(exchanges(depth))

    def run_slice(self) -> Slice:
        """Keep the server busy for some time."""
        clock = self._server.cpu_clock
        rounds = 1
        self._waits = 0
        server_s = time.clock_gettime(clock)
        start = time.perf_counter()
        waiting = self._send()
        while time.perf_counter() - start < SLICE_S:
            waiting = self._collect_and_send(waiting)
            rounds += 1
        for connection, exchange in waiting:
            self._collect(connection, exchange)
        return Slice(
            exchanges=rounds * CONNECTIONS,
            requests=rounds * CONNECTIONS * self._depth,
            waits=self._waits,
            wall_s=time.perf_counter() - start,
            server_s=time.clock_gettime(clock) - server_s,
        )

    def check(self, words: bytes) -> None:
        """Ask once; BenchError if a reply does not carry just these words."""
        for connection, exchange in self._send():
            replies = self._collect(connection, exchange)
            if replies != b"".join(head + words for head in exchange.heads):
                raise BenchError(f"{self._server.name}: {replies.hex()} carries other words")

    def count_lost(self) -> set[int]:
        """Send one segment on each connection; return how many requests stay without reply."""
        pairs = self._send()
        time.sleep(LOST_AFTER_S)
        lost = set()
        for connection, _ in pairs:
            replies = connection.recv(1 << 16, socket.MSG_DONTWAIT)
            lost.add(self._depth - len(replies) // REPLY_BYTES)
        return lost

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections:
            connection.close()

    def _send(self) -> list[Waiting]:
        waiting = [(each, next(self._exchanges)) for each in self._connections]
        for connection, exchange in waiting:
            connection.sendall(exchange.segment)
        return waiting

    def _collect_and_send(self, waiting: list[Waiting]) -> list[Waiting]:
        """Collect what each connection waits for, and send its next segment at once."""
        found = []
        for connection, exchange in waiting:
            self._collect(connection, exchange)
            following = next(self._exchanges)
            connection.sendall(following.segment)
            found.append((connection, following))
        return found

    def _collect(self, connection: socket.socket, exchange: Exchange) -> bytes:
        """Return the replies to an exchange; BenchError if they are not that."""
        size = REPLY_BYTES * self._depth
        try:
            replies = connection.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._waits += 1
            replies = self._wait(connection, b"")
        while len(replies) < size:
            replies += self._wait(connection, replies)
        position = 0
        for head in exchange.heads:
            if not replies.startswith(head, position):
                reply = replies[position : position + REPLY_BYTES].hex()
                raise BenchError(f"{self._server.name}: {reply} is no reply {head.hex()}…")
            position += REPLY_BYTES
        return replies

    def _wait(self, connection: socket.socket, start: bytes) -> bytes:
        """Return what comes next, after `start`; BenchError if that is too long in coming.

        With a core of its own the load generator asks again and again. If it slept, every reply
        would have to wake it: work for the server's kernel that no client elsewhere makes.
        """
        flags = socket.MSG_DONTWAIT if self._spins else 0
        deadline = time.monotonic() + REPLY_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                if chunk := connection.recv(REPLY_BYTES * self._depth, flags):
                    return chunk
                break
        got = f"{len(start)} of {REPLY_BYTES * self._depth} bytes {start.hex()}".strip()
        raise BenchError(f"{self._server.name}: of the replies came {got}")


def connect(port: int) -> socket.socket:
    """Return a blocking connection; recv raises BlockingIOError when nothing comes in time."""
    connection = socket.create_connection((HOST, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The kernel's own time-out: Python's would cost a poll before each recv.
    timeval = struct.pack("@ll", REPLY_TIMEOUT_S, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    return connection


def measure_loss(server: Server) -> str:
    """Return how many of the requests in one segment stay without reply: "loses 7 of 8"."""
    lost: set[int] = set()
    for _ in range(LOSS_ROUNDS):
        load = Load(server, PIPELINED)
        lost |= load.count_lost()
        load.close()
    if lost == {0}:
        return "loses none"
    span = f"{min(lost)}" if len(lost) == 1 else f"{min(lost)}–{max(lost)}"
    return f"loses {span} of {PIPELINED}"


# The report.


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds a request, of the best quartile: on the wall, and of the server's CPU.

    `waited` is the share of replies that the load generator waited for: if it is near 0, the
    generator is the limit and not the server.
    """

    wall_s: float
    server_s: float
    waited: float

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> "Cost":
        """Sum up a job's slices."""
        return cls(
            wall_s=best_quartile([each.wall_s / each.requests for each in slices]),
            server_s=best_quartile([each.server_s / each.requests for each in slices]),
            waited=sum(each.waits for each in slices) / sum(each.exchanges for each in slices),
        )

    @property
    def server_busy(self) -> float:
        """Which share of the time the server works; 1: the server alone is the limit."""
        return min(1.0, self.server_s / self.wall_s)


def report(costs: Mapping[tuple[str, int], Cost], loss: str, where: str) -> str:
    """Return the table and what belongs below it; `where` is the kind of machine."""
    header = (
        f"reads of {COUNT} registers",
        "connections × requests in one segment",
        "requests/s, × stock",
        "requests/s, × bare",
        "server CPU a request, × stock",
        "server CPU a request, × bare",
    )
    rows = [_row(name, depth, costs, loss) for depth in (1, PIPELINED) for name in STARTERS]
    busy = ", ".join(
        f"{name} {costs[name, 1].server_busy:.0%} / {costs[name, 1].waited:.0%}"
        for name in STARTERS
    )
    rates = ", ".join(
        f"{name} {rough(1 / costs[name, 1].wall_s)} requests/s at "
        f"{rough(costs[name, 1].server_s * 1e6)} µs CPU"
        for name in STARTERS
    )
    lines = [
        table(header, rows),
        "",
        f"{where}, pymodbus {version('pymodbus')}, best quartile of interleaved slices: "
        "`python bench/serving.py`.",
        f"Server busy / load generator had to wait: {busy}.",
        f"Order of magnitude: {rates}.",
    ]
    if costs[STOCK, 1].server_busy < QUIET:
        lines.append(
            "The servers did not have their core to themselves: trust the CPU columns, not the "
            "requests/s."
        )
    return "\n".join(lines)


def _row(name: str, depth: int, costs: Mapping[tuple[str, int], Cost], loss: str) -> Sequence[str]:
    load = f"{CONNECTIONS} × {depth}"
    if (name, depth) not in costs:
        return [name, load, loss, "–", "–", "–"]
    cost, bare, stock = costs[name, depth], costs[BARE, depth], costs.get((STOCK, depth))
    return [
        name,
        load,
        ratio(stock.wall_s / cost.wall_s) if stock else "–",
        ratio(bare.wall_s / cost.wall_s),
        ratio(cost.server_s / stock.server_s) if stock else "–",
        ratio(cost.server_s / bare.server_s),
    ]


def cores() -> tuple[int | None, int | None]:
    """Return the load generator's core and the servers'; None, None if there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    generator_core, server_core = cores()
    words, where = octets(), machine()
    with running(list(STARTERS), server_core) as servers:
        loss = measure_loss(servers[STOCK])
        kinds = [(name, 1) for name in STARTERS]
        kinds += [(name, PIPELINED) for name in STARTERS if name != STOCK]
        loads = {
            (name, depth): Load(servers[name], depth, spins=server_core is not None)
            for name, depth in kinds
        }
        for load in loads.values():
            load.check(words)
        if generator_core is not None:
            os.sched_setaffinity(0, {generator_core})
        slices = interleave({kind: load.run_slice for kind, load in loads.items()}, seconds)
        for load in loads.values():
            load.close()
    return report({kind: Cost.of(found) for kind, found in slices.items()}, loss, where)


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
