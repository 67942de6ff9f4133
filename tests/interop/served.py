"""Maps on real sockets, with a snapshot that stays."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, Self

from gateway import map_library
from gateway.modbus.responder import Responder
from gateway.modbus.rtu_server import RtuOverTcpListener
from gateway.modbus.server import Listener
from gateway.modbus.udp import UdpListener
from gateway.modbus.unit import Unit
from gateway.registers import Given, Image, Register, RegisterMap, Table
from gateway.registers.given import NOTHING_GIVEN
from gateway.snapshot import Diagnostics, Freshness, Snapshot
from gateway.snapshot.diagnostics import freshness_numbers
from gateway.snapshot.quantities import SERVICE
from tests.registers import golden_tables

HOST = "127.0.0.1"
PATIENCE_S = 30.0

LISTENERS: dict[str, Callable[[str, int, Responder], Any]] = {
    "tcp": Listener,
    "rtu over tcp": RtuOverTcpListener,
    "udp": UdpListener,
}


MAX_UNIT_ID = 247  # above it mbpoll asks for 255 instead


@cache
def load(name: str, given: Given = NOTHING_GIVEN) -> RegisterMap:
    return map_library.load(name, None, given)


@dataclass
class Seen:
    """A meter whose telegram never gets old."""

    snapshot: Snapshot | None
    freshness: Freshness = field(default_factory=lambda: Freshness(math.inf, math.inf))
    diagnostics: Diagnostics = field(default_factory=lambda: Diagnostics(math.inf))


# What the service says of such a meter at any time.
OWN = freshness_numbers(Freshness(math.inf, math.inf), 0.0) | Diagnostics(math.inf).numbers(0.0)


@dataclass(frozen=True)
class Endpoint:
    """A map that is served: where, and what it shows."""

    port: int
    unit: int
    map: RegisterMap
    image: Image
    snapshot: Snapshot

    def expected(self, register: Register, table: Table) -> str:
        """Return what a client must decode, as it stands in the golden table."""
        if register.quantity in SERVICE:
            octets = self.image.read(table, register.address, register.words)
            word = self.map.layout.locate(table, register.address, register.words)
            return golden_tables.decoded(register, self.map.with_own(octets, word, lambda: OWN))
        return golden_tables.raw(self.image, table, register)


class Server:
    """Listeners in a thread of their own, on ports that the system chooses."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._listeners: list[Any] = []
        self._served: dict[tuple[str, str, str, int | None], Endpoint] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def serve(self, name: str, seen: str, over: str = "tcp", base: int | None = None) -> Endpoint:
        """Serve a map with one of the golden snapshots, under the first of its unit ids."""
        key = name, seen, over, base
        if key not in self._served:
            unit = next(iter(load(name).written.unit_ids), 1)
            served = load(name, Given(base=base, unit_id=unit))
            snapshot = golden_tables.snapshot(seen)
            answering = Unit(served, Seen(snapshot))
            responder = Responder({unit: answering}, answering if unit > MAX_UNIT_ID else None)
            port = self._done(self._start(over, responder))
            image = served.render(snapshot)
            self._served[key] = Endpoint(port, unit, served, image, snapshot)
        return self._served[key]

    async def _start(self, over: str, responder: Responder) -> int:
        listener = LISTENERS[over](HOST, 0, responder)
        self._listeners.append(listener)
        return (await listener.start())[1]

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.stop()
        await asyncio.sleep(0)  # lets the loop close what was stopped

    def _done(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)


def lines(served: RegisterMap) -> list[tuple[Table, Register]]:
    """Return every register in each of its tables, by address."""
    found = [(table, register) for register in served.registers for table in register.tables]
    return sorted(found, key=lambda line: (line[0], line[1].address, line[1].only_count))


def runs(
    served: RegisterMap, table: Table, kind: Callable[[Register], object] = lambda _: None
) -> Iterator[list[Register]]:
    """Cut a table's registers into reads: no hole, no other kind, no more than the map allows.

    What answers only a read of just itself is a run of its own.
    """
    own = [register for where, register in lines(served) if where is table]
    yield from ([register] for register in own if register.only_count)
    run: list[Register] = []
    for before, register in pairwise([None, *(r for r in own if not r.only_count)]):
        assert register
        if run and (
            before is None
            or before.end != register.address
            or kind(before) != kind(register)
            or register.end - run[0].address > served.written.max_read
        ):
            yield run
            run = []
        run.append(register)
    if run:
        yield run
