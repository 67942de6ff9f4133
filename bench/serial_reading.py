"""What listening to a serial line costs: reads that let bytes gather against one a byte.

    python bench/serial_reading.py [--seconds 15]

A simulated Kaifa pushes 376 bytes every 5 s, each byte when a line of 2400 baud would bring it. Two
readers, each a process of its own on a pseudo-terminal of its own, hear the same bytes at once.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection

import serial_asyncio
from measure import BenchError, machine, main, ratio, table

from gateway.sources.serial_port import BITS_A_BYTE, SerialSource

SECONDS = 15.0
BAUD = 2400
TELEGRAM = bytes(376)
INTERVAL_S = 5.0
START_TIMEOUT_S = 60.0

GATHERED, AT_ONCE = "obisgate", "pyserial-asyncio alone"


async def read_gathered(device: str, pipe: Connection) -> None:
    """Read as the gateway does."""
    source = SerialSource(device, BAUD, "none")
    await source.run(lambda _chunk, _damaged=(): None, lambda _caveat="": pipe.send("open"))


async def read_at_once(device: str, pipe: Connection) -> None:
    """Read whatever is there as soon as it is there."""
    await serial_asyncio.create_serial_connection(
        asyncio.get_running_loop(), asyncio.Protocol, device, baudrate=BAUD
    )
    pipe.send("open")
    await asyncio.Event().wait()


READERS = {GATHERED: read_gathered, AT_ONCE: read_at_once}


def listen(name: str, device: str, pipe: Connection) -> None:
    """Read until the parent says enough; answer with the processor time: a child's whole life."""

    async def run() -> None:
        reading = asyncio.create_task(READERS[name](device, pipe))
        enough = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), enough.set)
        began_s = time.process_time()
        await enough.wait()
        pipe.send(time.process_time() - began_s)
        reading.cancel()

    asyncio.run(run())


def run(seconds: float) -> str:
    """Measure both; return the report."""
    context = multiprocessing.get_context("spawn")
    meters, pipes, children = [], [], []
    for name in READERS:
        meter, device = os.openpty()
        ours, theirs = context.Pipe()
        arguments = (name, os.ttyname(device), theirs)
        child = context.Process(target=listen, args=arguments, daemon=True)
        child.start()
        if not (ours.poll(START_TIMEOUT_S) and ours.recv() == "open"):
            raise BenchError(f"{name}: the reader did not start")
        meters.append(meter)
        pipes.append(ours)
        children.append(child)
    began = time.monotonic()
    while (now := time.monotonic()) - began < seconds:
        for number, octet in enumerate(TELEGRAM, 1):
            for meter in meters:
                os.write(meter, bytes([octet]))
            time.sleep(max(0.0, now + number * BITS_A_BYTE / BAUD - time.monotonic()))
        time.sleep(max(0.0, now + INTERVAL_S - time.monotonic()))
    lasted_s = time.monotonic() - began
    used_ms = []
    for pipe, child in zip(pipes, children, strict=True):
        pipe.send("enough")
        used_ms.append(pipe.recv() * 1e3 / lasted_s)
        child.join()
    rows = [
        [name, f"{used:.1f}", ratio(used / used_ms[0])]
        for name, used in zip(READERS, used_ms, strict=True)
    ]
    return "\n".join(
        [
            table(("a telegram of 376 bytes every 5 s", "ms of processor a second", "×"), rows),
            "",
            f"{machine()}, {BAUD} baud, {lasted_s:.0f} s: `python bench/serial_reading.py`.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
