"""The time to answer on a serial line: obisgate against stock pymodbus and bare asyncio.

    python bench/serial_line.py [--seconds 15]

From the last byte of a request for 50 registers written to the first byte of the reply, on
pseudo-terminals, which take no time for the bytes. Each server is a process of its own, all alive
at once on one core, the client on the other; they take turns in short slices.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import statistics
import struct
import sys
import time
import tty
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection

from measure import BenchError, best_quartile, interleave, machine, main, ratio, rough, table
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice
from serving import COUNT, FIRST, START_TIMEOUT_S, UNIT_ID, cores, octets, unit

from gateway.modbus.responder import Responder
from gateway.modbus.rtu import gap_s, sealed
from gateway.modbus.rtu_server import SerialListener

SECONDS = 15.0
EXCHANGES = 12  # in a slice
REPLY_TIMEOUT_S = 5.0
BAUD = 9600
GAP_S = gap_s(BAUD, 10)

REQUEST = sealed(struct.pack(">BBHH", UNIT_ID, 3, FIRST, COUNT))
REPLY_BYTES = 5 + 2 * COUNT

OBISGATE, AT_ONCE = "obisgate", "obisgate, not waiting t3.5"
STOCK, BARE = "stock pymodbus", "bare asyncio"


# The servers. Each runs in a child process on the device that it is given.


async def start_obisgate(device: str) -> object:
    """Start the listener as the gateway does."""
    listener = SerialListener(device, Responder({UNIT_ID: unit()}), baud=BAUD)
    await listener.start()
    return listener


async def start_at_once(device: str) -> object:
    """Start the listener, but let it answer without the silence that a bus wants before."""
    responder = Responder({UNIT_ID: unit()})
    listener = SerialListener(device, responder, baud=BAUD, reply_after_s=0)
    await listener.start()
    return listener


async def start_stock(device: str) -> object:
    """Start pymodbus' server over a block of registers, as its documentation does."""
    words = list(struct.unpack(f">{COUNT}H", octets()))
    block = SimData(FIRST, values=words, datatype=DataType.REGISTERS)
    server = ModbusSerialServer(SimDevice(UNIT_ID, simdata=[block]), port=device, baudrate=BAUD)
    await server.serve_forever(background=True)
    return server


async def start_bare(device: str) -> object:
    """Answer whatever comes with the same bytes: Python's asyncio goes no faster."""
    terminal = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    reply = sealed(bytes((UNIT_ID, 3, 2 * COUNT)) + octets())

    def answer() -> None:
        os.read(terminal, 1024)
        os.write(terminal, reply)

    asyncio.get_running_loop().add_reader(terminal, answer)
    return terminal


STARTERS: Mapping[str, Callable[[str], Awaitable[object]]] = {
    OBISGATE: start_obisgate,
    AT_ONCE: start_at_once,
    STOCK: start_stock,
    BARE: start_bare,
}


def serve(name: str, device: str, core: int | None, pipe: Connection) -> None:
    """Run one server until the other end of the pipe is closed: the child's whole life."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    logging.disable(logging.WARNING)  # that the line is open

    async def run() -> None:
        server = await STARTERS[name](device)
        pipe.send(name)
        parent_gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), parent_gone.set)
        await parent_gone.wait()
        del server

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


# The client.


class Line:
    """The client's end of a pseudo-terminal, and the server's device."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client, self._server = os.openpty()
        tty.setraw(self._server)
        os.set_blocking(self._client, False)
        self.device = os.ttyname(self._server)

    def run_slice(self) -> float:
        """Ask some times; return the median time to answer in seconds."""
        return statistics.median([self._ask()[0] for _ in range(EXCHANGES)])

    def check(self, words: bytes) -> None:
        """Ask until the server is there; BenchError if a reply does not carry just these words."""
        _, reply = self._ask()
        if reply != sealed(bytes((UNIT_ID, 3, 2 * COUNT)) + words):
            raise BenchError(f"{self.name}: {reply.hex()} carries other words")

    def close(self) -> None:
        """Hang up."""
        os.close(self._client)
        os.close(self._server)

    def _ask(self) -> tuple[float, bytes]:
        """Return the time to answer and the reply."""
        os.write(self._client, REQUEST)
        start = time.perf_counter()
        reply = self._read(start)
        took_s = time.perf_counter() - start
        while len(reply) < REPLY_BYTES:
            reply += self._read(start)
        return took_s, reply

    def _read(self, start: float) -> bytes:
        """Return what comes next, asking again and again: a sleep would have to be ended."""
        while time.perf_counter() - start < REPLY_TIMEOUT_S:
            with contextlib.suppress(BlockingIOError):
                return os.read(self._client, REPLY_BYTES)
        raise BenchError(f"{self.name}: no reply within {REPLY_TIMEOUT_S:g} s")


@contextlib.contextmanager
def running(names: Sequence[str], core: int | None) -> Iterator[dict[str, Line]]:
    """Start all servers on `core`, each on a line of its own; stop them in the end."""
    context = multiprocessing.get_context("spawn")
    lines: dict[str, Line] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            line = Line(name)
            stack.callback(line.close)
            ours, theirs = context.Pipe()
            arguments = (name, line.device, core, theirs)
            child = context.Process(target=serve, args=arguments, daemon=True)
            child.start()
            stack.callback(child.join, REPLY_TIMEOUT_S)
            stack.callback(ours.close)
            theirs.close()
            try:
                is_there = ours.poll(START_TIMEOUT_S) and ours.recv() == name
            except EOFError:
                is_there = False
            if not is_there:
                raise BenchError(f"{name}: the server did not start")
            lines[name] = line
        yield lines


def report(answers_s: Mapping[str, float], where: str) -> str:
    """Return the table and what belongs below it; `where` is the kind of machine."""
    header = ("read of 50 registers", "time to answer, × stock", "× bare", f"× t3.5 at {BAUD} baud")
    rows = [
        [name, *(ratio(took_s / of) for of in (answers_s[STOCK], answers_s[BARE], GAP_S))]
        for name, took_s in answers_s.items()
    ]
    shown = ", ".join(f"{name} {rough(took_s * 1e6)} µs" for name, took_s in answers_s.items())
    return "\n".join(
        [
            table(header, rows),
            "",
            f"{where}, pymodbus {version('pymodbus')}, best quartile of interleaved slices: "
            "`python bench/serial_line.py`.",
            f"t3.5 is {GAP_S * 1e3:.2f} ms; a bus demands it before a reply, and stock pymodbus "
            "does not wait.",
            f"Order of magnitude: {shown}.",
        ]
    )


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    client_core, server_core = cores()
    words, where = octets(), machine()
    with running(list(STARTERS), server_core) as lines:
        for line in lines.values():
            line.check(words)
        if client_core is not None:
            os.sched_setaffinity(0, {client_core})
        jobs = {name: line.run_slice for name, line in lines.items()}
        slices = interleave(jobs, seconds)
    return report({name: best_quartile(found) for name, found in slices.items()}, where)


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
