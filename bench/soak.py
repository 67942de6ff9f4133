"""Thirty days at once: the gateway under telegrams, faults, clients that come and go.

    python bench/soak.py [--telegrams 518400]

A process of its own runs the gateway's service with one meter and one listener. This one plays a
meter that pushes every 5 s of its own clock, as fast as the gateway reads (the sources of the
gateway would slow down such a flood, so it comes through one of the soak's own), and damages,
loses, doubles and cuts some telegrams and hangs up now and then; ten clients read, send garbage
and reconnect. What the process holds (memory, descriptors, tasks) is
looked at after each tenth. It fails if that grows, if a telegram of the undamaged last stretch is
lost, or if anything raised an exception nobody handled.
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from measure import BenchError, machine, rough, show_progress, table, tell

from gateway.config import Config
from gateway.meter import Meter
from gateway.service import Service
from gateway.simulator import SimulatedMeter
from gateway.sources import SourceError
from gateway.sources.source import Deliver, Opened
from gateway.telegram import Telegram

DAY_TELEGRAMS = 86_400 // 5
TELEGRAMS = 30 * DAY_TELEGRAMS
LOOKS = 10
SETTLED = 3  # the first look that counts: until then caches fill
CLIENTS = 10
KEY = bytes(range(16))
START = datetime(2026, 3, 1, tzinfo=UTC)  # the clocks go forward in this month
MODEL = "kaifa-ma309m"
CHUNK_BYTES = 4096
SOCKET = "meter"
CALM_TELEGRAMS = 200  # undamaged ones at the end
PATIENCE_S = 60.0
HOST = "127.0.0.1"
# glibc keeps up to 7 freed pieces of each of 64 sizes, 230 KiB in all. They gather for weeks, and
# look like a slope until they are there.
MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
READ = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 50)
MOST_KIB_A_DAY = 4.0  # a year of it is 1.4 MiB
CONFIG = """
state: state.json
meters:
  house: {{source: simulator:kaifa-ma309m, key: {key}, hold: 5min}}
listeners:
  - tcp: 127.0.0.1:0
    units: {{1: {{meter: house, map: obis_plain}}, 2: {{meter: house, map: sunspec_213}}}}
"""


# --- the gateway, in a process of its own ------------------------------------------------------


@dataclass(frozen=True)
class Flood:
    """A source that takes what comes over a Unix socket, as fast as it comes."""

    path: str
    is_lasting = True

    def describe(self) -> str:
        """Return what it is."""
        return f"flood {self.path}"

    def trouble(self) -> str | None:
        """Return None: it is there."""

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Deliver until the other end hangs up."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.path)
        except OSError as problem:
            raise SourceError(str(problem)) from None
        opened()
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                deliver(chunk)
        except ConnectionError as problem:
            raise SourceError(str(problem)) from None
        finally:
            writer.close()
        raise SourceError("it hung up")


@dataclass
class Held:
    """What the process holds, asked for by a line on standard input, told by one on output."""

    counter: int = 0  # invocation counter of the last good telegram
    good: int = 0
    unhandled: list[str] = field(default_factory=list)

    def hear(self, _: Meter, telegram: Telegram) -> None:
        """Count a good telegram."""
        self.good += 1
        self.counter = telegram.invocation_counter

    def defect(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Keep what nobody handled."""
        self.unhandled.append(repr(context.get("exception") or context["message"]))

    def look(self) -> dict[str, object]:
        """Return it as plain values."""
        gc.collect()
        # What malloc keeps for later and gives back now and then, 150 KiB at a time, would hide a
        # slope or look like one.
        ctypes.CDLL(None).malloc_trim(0)
        status = dict(
            line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        return {
            "rss_kib": int(status["VmRSS"].split()[0]),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "tasks": len(asyncio.all_tasks()),
            "objects": len(gc.get_objects()),
            "good": self.good,
            "counter": self.counter,
            "unhandled": self.unhandled,
        }


async def serve(path: Path) -> None:
    """Run the gateway until standard input ends."""
    held, loop, stop = Held(), asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(held.defect)
    config = Config.read(path)
    house = replace(config.meters["house"], source=Flood(str(path.with_name(SOCKET))))
    service = Service(replace(config, meters={"house": house}), held.hear)
    (bound,) = await service.listen()
    print(json.dumps({"port": bound.port}), flush=True)

    def asked() -> None:
        if not os.read(0, 1):
            stop.set()
            loop.remove_reader(0)
        else:
            print(json.dumps(held.look()), flush=True)

    loop.add_reader(0, asked)
    await service.run(stop)


# --- the meter and the clients -----------------------------------------------------------------


class PushingMeter:
    """A meter whose line damages now and then what it sends, and hangs up."""

    def __init__(self) -> None:
        self.did: Counter[str] = Counter()
        self.pushed = 0
        self.counter = 0
        self._meter = SimulatedMeter(MODEL, KEY, seed=1, start=START, interval_s=5.0)
        self._dice = random.Random(1)
        self._writer: asyncio.StreamWriter | None = None
        self._is_there = asyncio.Event()

    def came(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the gateway's connection."""
        self.did["connections"] += 1
        self._writer = writer
        self._is_there.set()

    async def push(self, count: int, *, is_calm: bool = False) -> None:
        """Push so many telegrams, as fast as they are read."""
        for _ in range(count):
            push = self._meter.push()
            self.pushed, self.counter = self.pushed + 1, push.invocation_counter
            await self._send(push.telegram if is_calm else self._fate(push.telegram))
            await asyncio.sleep(0)  # the clients' turn

    def _fate(self, telegram: bytes) -> bytes:
        dice = self._dice
        fate = dice.random()
        at = dice.randrange(len(telegram))
        if fate < 0.97:
            return telegram
        if fate < 0.98:
            self.did["damaged"] += 1
            return (
                telegram[:at] + bytes([telegram[at] ^ 1 << dice.randrange(8)]) + telegram[at + 1 :]
            )
        if fate < 0.985:
            self.did["cut"] += 1
            return telegram[:at]
        if fate < 0.99:
            self.did["lost"] += 1
            return b""
        if fate < 0.995:
            self.did["doubled"] += 1
            return 2 * telegram
        if fate < 0.99995:
            self.did["noise"] += 1
            return dice.randbytes(dice.randrange(1, 300)) + telegram
        self.did["hung up"] += 1
        self._hang_up()
        return telegram

    def _hang_up(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer = None
        self._is_there.clear()

    async def _send(self, octets: bytes) -> None:
        while True:
            async with asyncio.timeout(PATIENCE_S):
                await self._is_there.wait()
            writer = self._writer
            assert writer
            with contextlib.suppress(ConnectionError):
                writer.write(octets)
                await writer.drain()
                return
            self._hang_up()


class Clients:
    """Ten that read, hang up and send garbage."""

    def __init__(self, port: int) -> None:
        self.did: Counter[str] = Counter()
        self._port = port
        self._dice = random.Random(2)

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(self._one())

    async def _one(self) -> None:
        while True:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._visit()

    async def _visit(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        self.did["connections"] += 1
        try:
            for _ in range(self._dice.randrange(1, 60)):
                fate = self._dice.random()
                if fate < 0.01:
                    self.did["garbage"] += 1
                    writer.write(self._dice.randbytes(40))
                    return
                if fate < 0.02:
                    self.did["half requests"] += 1
                    writer.write(READ[: self._dice.randrange(1, 12)])
                    return
                writer.write(READ)
                async with asyncio.timeout(PATIENCE_S):
                    head = await reader.readexactly(9)
                    await reader.readexactly(0 if head[7] & 0x80 else head[8])
                self.did["exceptions" if head[7] & 0x80 else "reads"] += 1
                await asyncio.sleep(self._dice.random() / 10)
        finally:
            writer.close()


# --- the run -----------------------------------------------------------------------------------


async def soak(telegrams: int) -> str:
    """Run everything; return the report. BenchError if the gateway did not stand it."""
    meter = PushingMeter()
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "config.yaml"
        config.write_text(CONFIG.format(key=KEY.hex()))
        line = await asyncio.start_unix_server(meter.came, config.with_name(SOCKET))
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", str(config),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env=os.environ | MALLOC,
        )  # fmt: skip
        assert child.stdin
        assert child.stdout

        async def look() -> dict[str, object]:
            assert child.stdin
            assert child.stdout
            child.stdin.write(b"?")
            async with asyncio.timeout(PATIENCE_S):
                found: dict[str, object] = json.loads(await child.stdout.readline())
            return found

        async with asyncio.timeout(PATIENCE_S):
            port = json.loads(await child.stdout.readline())["port"]
        clients = Clients(port)
        reading = asyncio.create_task(clients.run())
        began, looks = time.monotonic(), []
        for number in range(LOOKS):
            await meter.push(telegrams // LOOKS)
            looks.append(await look())
            show_progress((number + 1) / LOOKS)
        before = (await settled(look, None))["good"]
        assert isinstance(before, int)
        await meter.push(CALM_TELEGRAMS, is_calm=True)
        last = await settled(look, meter.counter)
        lasted_s = time.monotonic() - began
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        child.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            code = await child.wait()
        line.close()
    good = last["good"]
    assert isinstance(good, int)
    days = telegrams / DAY_TELEGRAMS
    slope = slope_kib(looks, days)
    wrong = [
        text
        for is_wrong, text in (
            (code != 0, f"it ended with {code}"),
            (bool(last["unhandled"]), f"nobody handled {last['unhandled']}"),
            (last["counter"] != meter.counter, "the last telegram did not come through"),
            (good - before < CALM_TELEGRAMS - 1, f"{good - before} of {CALM_TELEGRAMS} at the end"),
            (slope > MOST_KIB_A_DAY, f"memory grows by {slope:.1f} KiB a day"),
            (spread(looks, "tasks") > CLIENTS, "tasks grow"),
            (spread(looks, "descriptors") > 2 * CLIENTS, "descriptors grow"),
        )
        if is_wrong
    ]
    held = report(meter, clients, looks, slope, good, lasted_s, days)
    if wrong:
        raise BenchError("; ".join(wrong) + "\n\n" + held)
    return held


async def settled(look: object, counter: int | None) -> dict[str, object]:
    """Return what the gateway holds once it has read all that was sent."""
    assert callable(look)
    deadline, seen = time.monotonic() + PATIENCE_S, await look()
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        now: dict[str, object] = await look()
        if now["counter"] == counter or (counter is None and now["good"] == seen["good"]):
            return now
        seen = now
    return seen


def slope_kib(looks: Sequence[dict[str, object]], days: float) -> float:
    """Return how memory grows in KiB a day, by least squares over the settled looks."""
    points = [
        (days * (number + 1) / LOOKS, float(str(each["rss_kib"])))
        for number, each in enumerate(looks)
        if number >= SETTLED
    ]
    x = sum(at for at, _ in points) / len(points)
    y = sum(kib for _, kib in points) / len(points)
    return sum((at - x) * (kib - y) for at, kib in points) / sum((at - x) ** 2 for at, _ in points)


def spread(looks: Sequence[dict[str, object]], word: str) -> int:
    """Return how much more the last look holds than the first settled one."""
    return int(str(looks[-1][word])) - int(str(looks[SETTLED][word]))


def report(
    meter: PushingMeter,
    clients: Clients,
    looks: Sequence[dict[str, object]],
    slope: float,
    good: int,
    lasted_s: float,
    days: float,
) -> str:
    """Return the table and what belongs below it."""
    rows = [
        [f"{days * (number + 1) / LOOKS:.0f}", *(f"{each[word]}" for word in WORDS)]
        for number, each in enumerate(looks)
    ]
    did = ", ".join(f"{count:,} {what}" for what, count in (meter.did + clients.did).items())
    return "\n".join(
        [
            table(("day", "RSS, KiB", "descriptors", "tasks", "objects", "good telegrams"), rows),
            "",
            f"{machine()}: `python bench/soak.py`. {meter.pushed:,} telegrams in "
            f"{rough(lasted_s / 60)} minutes, {good:,} good; {did}. Memory grows by {slope:.2f} "
            "KiB a day; no exception was left unhandled.",
        ]
    )


WORDS = ("rss_kib", "descriptors", "tasks", "objects", "good")


def main() -> int:
    """Run the soak, or the gateway in it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--telegrams", type=int, default=TELEGRAMS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        logging.basicConfig(level=logging.ERROR)
        asyncio.run(serve(options.serve))
        return 0
    return tell(lambda: asyncio.run(soak(options.telegrams)))


if __name__ == "__main__":
    sys.exit(main())
