"""Reads over TCP: obisgate against stock pymodbus, bare asyncio, libmodbus and C on epoll.

    python bench/serving.py [--seconds 60]            50 registers, and the goals
    python bench/serving.py --all [--seconds 600]     1 to 1,000 connections; 2, 50, 125 registers

Every server is a process of its own on one core, the load generator (load.c) sits on the other.
They serve the same words, and take turns in short slices; in each, all that the server answers is
compared. Bare asyncio receives into one buffer and answers canned bytes: Python goes no faster.
Needs a C compiler; libmodbus (libmodbus-dev) and uvloop are measured where they are installed.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from measure import (
    BenchError,
    best_quartile,
    command,
    interleave,
    machine,
    ratio,
    rough,
    table,
    tell,
)
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway import map_library
from gateway.limits import MAX_CONNECTIONS, Limits
from gateway.meter import Meter
from gateway.modbus.responder import Responder
from gateway.modbus.server import Listener
from gateway.modbus.unit import Unit
from gateway.registers import Table
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Judge
from gateway.telegram import Decoder, Key

SECONDS, SECONDS_ALL = 60.0, 600.0
CONNECTIONS = (1, 10, 100, 1000)
COUNT = 50  # registers, unless said otherwise
REGISTERS = (2, COUNT, 125)
PIPELINED = 8  # requests in one segment
TURNS = 4  # of what the goals compare, for one of each of the others
SHORT_S = 10.0  # a run is too short for such turns
SLICE_MS, LONG_SLICE_MS = 60, 150  # the latter for 1,000 connections: each gets its turn
FEW_HELD, MORE_HELD = 100, 800  # connections; libmodbus can have 1,024 descriptors
START_TIMEOUT_S = 20.0
QUIET_S, SETTLED_S = 0.003, 2.0  # no CPU used for so long; given up after
BUSY = 0.85  # the slowest server, left alone, works all the time

HOST = "127.0.0.1"
UNIT_ID = 1
MAP = "sunspec_213"
FIRST = 40072  # up to the 125th all measured, but for the end marker: currents, voltages, powers …
HOLD_S = 86_400.0
KEY = bytes(range(16))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
REQUEST_BYTES = 12

LIMIT, LIBMODBUS, BARE, BARE_UV = (
    "C, epoll, canned image",
    "libmodbus (C)",
    "bare asyncio",
    "bare asyncio on uvloop",
)
OBISGATE, OBISGATE_UV, STOCK = "obisgate", "obisgate on uvloop", "stock pymodbus"
ORDER = (LIMIT, LIBMODBUS, BARE_UV, BARE, OBISGATE_UV, OBISGATE, STOCK)
ALWAYS = (LIMIT, BARE, OBISGATE, STOCK)
MISSING = {
    LIBMODBUS: "is not installed: sudo apt-get install libmodbus-dev",
    BARE_UV: "needs uvloop: make bench brings it",
    OBISGATE_UV: "needs uvloop: make bench brings it",
}
WATCHED = (BARE, OBISGATE_UV, OBISGATE, STOCK)  # with more and fewer connections as well


# The servers in Python. Each is a process that prints its port, and ends with its standard input.


def unit() -> Unit:
    """Return the shipped map over a meter that has sent one telegram, always the same."""
    meter = Meter("bench", Decoder(Key(KEY)), Judge(), HOLD_S, lambda _item: None)
    push = SimulatedMeter("kaifa-ma309m", KEY, seed=1, start=START).push()
    meter.take(push.telegram, time.monotonic())
    return Unit(map_library.load(MAP, None), meter)


def octets(count: int = COUNT) -> bytes:
    """Return the bytes of the first `count` registers that are read."""
    found = unit().read(Table.HOLDING, FIRST, count, time.monotonic())
    if not isinstance(found, bytes):
        raise BenchError(f"map {MAP} does not serve {count} registers from {FIRST}: {found!r}")
    return found


async def start_obisgate() -> int:
    """Start the listener as the gateway does, with room for the many; return its port."""
    limits = Limits(connections=MAX_CONNECTIONS, connections_per_address=MAX_CONNECTIONS)
    _, port = await Listener(HOST, 0, Responder({UNIT_ID: unit()}), limits=limits).start()
    return port


async def start_stock() -> int:
    """Start pymodbus' server over a block of registers, as its documentation does."""
    words = list(struct.unpack(f">{REGISTERS[-1]}H", octets(REGISTERS[-1])))
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
    tails: Mapping[int, bytes] = {}  # all behind the transaction id, by the count that is asked for

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Lend the buffer that all connections share."""
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        """Answer what came: whole requests of one kind, as no other client is here."""
        tail = self.tails[self.buffer[11]]
        if count == REQUEST_BYTES:
            self._transport.write(self.buffer[:2] + tail)
            return
        starts = range(0, count, REQUEST_BYTES)
        self._transport.write(b"".join([self.buffer[at : at + 2] + tail for at in starts]))


async def start_bare() -> int:
    """Start the protocol that only echoes; return its port."""
    Canned.tails = {
        count: struct.pack(">HHBBB", 0, 3 + 2 * count, UNIT_ID, 3, 2 * count) + octets(count)
        for count in REGISTERS
    }
    server = await asyncio.get_running_loop().create_server(Canned, HOST, 0)
    return int(server.sockets[0].getsockname()[1])


STARTERS: Mapping[str, Callable[[], Awaitable[int]]] = {
    OBISGATE: start_obisgate,
    OBISGATE_UV: start_obisgate,
    STOCK: start_stock,
    BARE: start_bare,
    BARE_UV: start_bare,
}
ON_UVLOOP = (OBISGATE_UV, BARE_UV)


def serve(name: str) -> None:
    """Run one server in Python: a process' whole life."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def run() -> None:
        print(await STARTERS[name](), flush=True)
        parent_gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), parent_gone.set)
        await parent_gone.wait()

    loop_factory = None
    if name in ON_UVLOOP:
        import uvloop

        loop_factory = uvloop.new_event_loop
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as it:
        it.run(run())


# The programs in C, and how all are started.


def compiled(folder: Path) -> Mapping[str, Path]:
    """Compile the C next to this file into `folder`; return the programs by name.

    That of libmodbus is left out where its headers are missing. BenchError without a compiler, or
    with what it says.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError(
            "the load generator needs a C compiler: sudo apt-get install gcc libc6-dev"
        )
    here = Path(__file__).parent
    sources = {path.stem: path for path in sorted(here.glob("*.c"))}
    libraries = {"libmodbus_server": ["-lmodbus"]}
    includes = b"#include <modbus/modbus.h>\n"
    found = subprocess.run([compiler, "-E", "-xc", "-"], input=includes, capture_output=True)
    if found.returncode:
        del sources["libmodbus_server"]
    programs = {name: folder / name for name in sources}
    for name, source in sources.items():
        arguments = [compiler, "-std=c11", "-O2", source, "-o", programs[name]]
        arguments += libraries.get(name, [])
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{source.name} does not compile:\n{done.stderr}")
    return programs


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its name, port and process, and the clock of the CPU time it has used."""

    name: str
    port: int
    process: "subprocess.Popen[str]"
    cpu_clock: int

    def settle(self) -> None:
        """Wait until it has nothing left to do: its connections of before are forgotten."""
        deadline = time.monotonic() + SETTLED_S
        used = -1.0
        while used != (now := time.clock_gettime(self.cpu_clock)) and time.monotonic() < deadline:
            used = now
            time.sleep(QUIET_S)

    def memory(self) -> int:
        """Return the bytes that are resident now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")


def arguments_of(name: str, programs: Mapping[str, Path]) -> list[str] | None:
    """Return how a server is started; None if what it needs is not installed."""
    if name in STARTERS:
        is_missing = name in ON_UVLOOP and find_spec("uvloop") is None
        return None if is_missing else [sys.executable, __file__, "--serve", name]
    program = programs.get("epoll_server" if name == LIMIT else "libmodbus_server")
    return [str(program), str(FIRST), octets(REGISTERS[-1]).hex()] if program else None


@contextlib.contextmanager
def running(programs: Mapping[str, Path], core: int | None) -> Iterator[dict[str, Server]]:
    """Start all servers that there are, on `core`; stop them in the end."""
    servers: dict[str, Server] = {}
    with contextlib.ExitStack() as stack, on_core(core):
        for name in ORDER:
            arguments = arguments_of(name, programs)
            if arguments is None:
                continue
            process = stack.enter_context(piped(arguments))
            port = first_line(process)
            if not port:
                raise BenchError(f"{name}: the server did not start")
            servers[name] = Server(name, int(port), process, cpu_clock(process.pid))
        yield servers


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keep this process, and those that it starts, on one core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    yield
    os.sched_setaffinity(0, before)


@contextlib.contextmanager
def piped(arguments: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """Start a program that ends with its standard input; see that it does."""
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.communicate(timeout=START_TIMEOUT_S)  # closes its input


def first_line(process: "subprocess.Popen[str]") -> str:
    """Return the first line that a program prints; "" if it has ended without."""
    return process.stdout.readline().strip() if process.stdout else ""


def cpu_clock(pid: int) -> int:
    """Return the clock of a process' CPU time, which /proc shows in steps of 10 ms only."""
    clock = ctypes.c_int()
    failed = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if failed:
        raise BenchError(f"no CPU clock of process {pid}: {os.strerror(failed)}")
    return clock.value


def cores() -> tuple[int | None, int | None]:
    """Return the load generator's core and the servers'; None, None if there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


# The load.


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked of which server."""

    name: str
    connections: int = 10
    in_flight: int = 1
    registers: int = COUNT


@dataclass(frozen=True, slots=True)
class Slice:
    """What a slice took; in `idle_s` the load generator had nothing to do."""

    requests: int
    replies: int
    wall_s: float
    server_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds a reply, of the best quartile: on the wall, of the server's CPU, of the generator."""

    wall_s: float
    server_s: float
    generator_s: float
    answered: float  # share of the requests

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> "Cost":
        """Sum up the slices of one kind."""
        return cls(
            wall_s=best_quartile([each.wall_s / each.replies for each in slices]),
            server_s=best_quartile([each.server_s / each.replies for each in slices]),
            generator_s=best_quartile([(e.wall_s - e.idle_s) / e.replies for e in slices]),
            answered=sum(each.replies for each in slices) / sum(each.requests for each in slices),
        )

    @property
    def server_busy(self) -> float:
        """Which share of the time the server works; 1: the server alone is the limit."""
        return min(1.0, self.server_s / self.wall_s)


Costs = Mapping[Kind, Cost]


@dataclass(frozen=True, slots=True)
class Load:
    """The load generator. `spins`: it has a core of its own."""

    program: Path
    spins: bool
    words: Mapping[int, str] = field(
        default_factory=lambda: {count: octets(count).hex() for count in REGISTERS}
    )

    def run_slice(self, server: Server, kind: Kind) -> Slice:
        """Keep a server busy for some time."""
        # In one segment stock pymodbus loses requests: what it does answer counts.
        is_lossy = kind.name == STOCK and kind.in_flight > 1
        slice_ms = LONG_SLICE_MS if kind.connections >= CONNECTIONS[-1] else SLICE_MS
        numbers = (
            *(server.port, server.process.pid, kind.connections, kind.in_flight, FIRST),
            *(slice_ms, int(self.spins), int(is_lossy)),
        )
        arguments = [str(self.program), "run", *map(str, numbers), self.words[kind.registers]]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{server.name}, {kind}: {done.stderr.strip()}")
        requests, replies, *times = map(int, done.stdout.split())
        server.settle()
        return Slice(requests, replies, *(each / 1e9 for each in times))

    @contextlib.contextmanager
    def held(self, server: Server, count: int) -> Iterator[None]:
        """Keep connections open."""
        numbers = map(str, (server.port, count, FIRST))
        words = self.words[REGISTERS[0]]
        with piped([str(self.program), "hold", *numbers, words]) as process:
            if first_line(process) != "held":
                raise BenchError(f"{server.name} does not take {count} connections")
            yield
        server.settle()

    def memory(self, server: Server) -> float:
        """Return the bytes that one more connection costs the server."""
        with self.held(server, FEW_HELD):
            few = server.memory()
            with self.held(server, MORE_HELD):
                return (server.memory() - few) / MORE_HELD


# The report.


def short_kinds(names: Sequence[str]) -> list[Kind]:
    """Return what is measured for the README."""
    kinds = [Kind(name, in_flight=depth) for name in names for depth in (1, PIPELINED)]
    watched = [name for name in names if name in WATCHED]
    return kinds + [Kind(name, connections=c) for name in watched for c in CONNECTIONS if c != 10]


def all_kinds(names: Sequence[str]) -> list[Kind]:
    """Return all that can be asked."""
    return [
        Kind(name, connections, depth, registers)
        for name in names
        for connections in CONNECTIONS
        for depth in (1, PIPELINED)
        for registers in REGISTERS
    ]


def short_table(costs: Costs, memory: Mapping[str, float]) -> str:
    """Return one row a server."""
    header = (
        f"reads of {COUNT} registers, 10 connections",
        "× stock",
        "× bare asyncio",
        "CPU a request, × stock",
        "× bare asyncio",
        f"{PIPELINED} in flight, × stock",
        "× bare asyncio",
        "KiB a connection",
    )
    rows = []
    for name in ORDER:
        one, many = Kind(name), Kind(name, in_flight=PIPELINED)
        if one not in costs:
            rows.append([f"{name}: {MISSING[name]}", *["–"] * (len(header) - 1)])
            continue
        rows.append(
            [
                name,
                ratio(faster(costs, one, STOCK)),
                ratio(faster(costs, one, BARE)),
                ratio(costs[one].server_s / costs[Kind(STOCK)].server_s),
                ratio(costs[one].server_s / costs[Kind(BARE)].server_s),
                ratio(faster(costs, many, STOCK)),
                ratio(faster(costs, many, BARE)),
                f"{memory[name] / 1024:.1f}",
            ]
        )
    return table(header, rows)


def connections_table(costs: Costs) -> str:
    """Return the CPU time a request, by the number of connections, of the servers in Python."""
    header = ("CPU a request, × that at 10 connections", *(f"{each:,}" for each in CONNECTIONS))
    rows = []
    for name in WATCHED:
        base = costs.get(Kind(name))
        if base is not None:
            found = [costs[Kind(name, each)].server_s / base.server_s for each in CONNECTIONS]
            rows.append([name, *map(ratio, found)])
    return table(header, rows)


def goals_table(costs: Costs, memory: Mapping[str, float]) -> str:
    """Return what obisgate is to reach, and what it does."""
    one, many, uv = Kind(OBISGATE), Kind(OBISGATE, in_flight=PIPELINED), Kind(OBISGATE_UV)
    hundred, single = costs[replace(one, connections=100)], costs[replace(one, connections=1)]
    goals: list[tuple[str, str, float, float | None]] = [
        ("10 connections, × stock", "≥", 6, faster(costs, one, STOCK)),
        ("10 connections, × bare asyncio", "≥", 0.75, faster(costs, one, BARE)),
        (f"{PIPELINED} in flight, × stock", "≥", 25, faster(costs, many, STOCK)),
        ("on uvloop, × stock", "≥", 8, faster(costs, uv, STOCK) if uv in costs else None),
        ("KiB a connection", "≤", 5, memory[OBISGATE] / 1024),
        ("CPU a request, 100 connections / 1", "≤", 1.1, hundred.server_s / single.server_s),
    ]
    rows = []
    for what, sign, asked, found in goals:
        is_met = found is not None and (found >= asked if sign == "≥" else found <= asked)
        shown = "–" if found is None else f"{found:.2f}" if asked < 2 else ratio(found)
        rows.append([what, f"{sign} {asked:g}", shown, "yes" if is_met else "no"])
    return table(("obisgate", "goal", "measured", "met"), rows)


def long_table(costs: Costs) -> str:
    """Return a row for every server, number of connections and requests in flight."""
    header = (
        *("server", "connections", "in flight"),
        *(f"{each} registers, × stock" for each in REGISTERS),
        *("× bare" for _ in REGISTERS),
        *("CPU × stock" for _ in REGISTERS),
    )
    rows = []
    for depth in (1, PIPELINED):
        for connections in CONNECTIONS:
            for name in ORDER:
                kinds = [Kind(name, connections, depth, each) for each in REGISTERS]
                if kinds[0] not in costs:
                    continue
                stock = [costs[replace(kind, name=STOCK)].server_s for kind in kinds]
                cpu = [costs[kind].server_s / base for kind, base in zip(kinds, stock, strict=True)]
                rows.append(
                    [
                        *(name, f"{connections:,}", str(depth)),
                        *(ratio(faster(costs, kind, STOCK)) for kind in kinds),
                        *(ratio(faster(costs, kind, BARE)) for kind in kinds),
                        *map(ratio, cpu),
                    ]
                )
    return table(header, rows)


def faster(costs: Costs, kind: Kind, than: str) -> float:
    """Return how many times as many replies come in the same time as from another server."""
    return costs[replace(kind, name=than)].wall_s / costs[kind].wall_s


def notes(costs: Costs, where: str, has_two_cores: bool) -> str:
    """Return what belongs below the tables."""
    limit = costs[Kind(LIMIT)]
    answered = PIPELINED * costs[Kind(STOCK, in_flight=PIPELINED)].answered
    rates = ", ".join(
        f"{name} {rough(1 / costs[Kind(name)].wall_s)} a second at "
        f"{rough(costs[Kind(name)].server_s * 1e6)} µs CPU"
        for name in (OBISGATE, STOCK, BARE, LIMIT)
    )
    busy = ", ".join(f"{name} {costs[Kind(name)].server_busy:.0%}" for name in ALWAYS)
    lines = [
        f"{where}, pymodbus {version('pymodbus')}, best quartile of interleaved slices: "
        "`python bench/serving.py`.",
        f"Of {PIPELINED} requests in one segment stock pymodbus answers {ratio(answered)} and "
        "loses the others; what it answers is counted.",
        f"Order of magnitude: {rates}.",
        f"The load generator works {limit.generator_s * 1e6:.1f} µs a request: its own ceiling is "
        f"{rough(1 / limit.generator_s)} requests a second, and it reached "
        f"{rough(1 / limit.wall_s)} against C on epoll. Servers busy: {busy}.",
    ]
    if not has_two_cores:
        lines.append("One core for servers and load generator: the requests a second mean nothing.")
    elif costs[Kind(STOCK)].server_busy < BUSY:
        lines.append(
            "The servers did not have their core to themselves: trust the CPU, not the rest."
        )
    return "\n".join(lines)


def run(seconds: float, is_all: bool) -> str:
    """Measure everything; return the report."""
    generator_core, server_core = cores()
    where = machine()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        programs = compiled(Path(folder))
        load = Load(programs["load"], spins=server_core is not None)
        servers = stack.enter_context(running(programs, server_core))
        stack.enter_context(on_core(generator_core))
        memory = {name: load.memory(server) for name, server in servers.items()}
        kinds = (all_kinds if is_all else short_kinds)(list(servers))
        turns = 1 if is_all or seconds < SHORT_S else TURNS
        jobs = {
            (kind, turn): lambda k=kind: load.run_slice(servers[k.name], k)
            for kind in kinds
            for turn in range(turns if kind.connections == 10 else 1)
        }
        slices: dict[Kind, list[Slice]] = {}
        for (kind, _), found in interleave(jobs, seconds).items():
            slices.setdefault(kind, []).extend(found)
    costs = {kind: Cost.of(found) for kind, found in slices.items()}
    parts = [short_table(costs, memory), connections_table(costs), goals_table(costs, memory)]
    if is_all:
        parts.append(long_table(costs))
    return "\n\n".join([*parts, notes(costs, where, server_core is not None)])


def main() -> int:
    """Serve, if started for that; else measure."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return 0
    parser = command(__doc__.split("\n\n")[0], SECONDS)
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"every number of connections and registers; give it --seconds {SECONDS_ALL:g}",
    )
    options = parser.parse_args()
    return tell(lambda: run(options.seconds, options.all))


if __name__ == "__main__":
    sys.exit(main())
