"""A TCP port for adapters that dial in: those in "client mode", which are no servers."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.endpoint import show_endpoint, why_not_bound
from gateway.sources.address import Network, SourceAddress
from gateway.sources.network import (
    SILENCE_S,
    Remarks,
    bound,
    hear,
    may_send,
    plain_address,
    readable,
)
from gateway.sources.source import Deliver, Opened, SourceError

PAUSE_S = 1.0  # until somebody is let in again, if that could not be
WAITING = 64  # connections that the system keeps until they are looked at


@dataclass(frozen=True, slots=True)
class TcpListenSource:
    """Listens, and hears one adapter at a time; after `silence_s` without a byte it is let go.

    An adapter that dials in again has lost its first connection, so that one is closed; another
    adapter is refused as long as the first is heard. `allow` names who may dial in; empty: all.
    """

    host: str
    port: int
    allow: Sequence[Network] = ()
    silence_s: float = SILENCE_S

    @classmethod
    def parse(cls, address: SourceAddress) -> "TcpListenSource":
        """Read tcp-listen://0.0.0.0:2400?allow=192.168.1.20&silence=60s; ValueError if bad."""
        address.allow(("allow", "silence"))
        return cls(
            *address.endpoint(address.target),
            address.networks("allow"),
            address.duration_s("silence", SILENCE_S),
        )

    def describe(self) -> str:
        """Return the port."""
        return f"TCP port {show_endpoint(self.host, self.port)} for an adapter that dials in"

    @property
    def is_lasting(self) -> bool:
        """Return True: a real meter goes on counting."""
        return True

    def trouble(self) -> str | None:
        """Return None: whether a port is free shows when it is opened."""
        return None

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Listen for ever, and read whoever is heard."""
        try:
            door = await bound(self.host, self.port, socket.SOCK_STREAM)
        except OSError as problem:
            raise SourceError(why_not_bound(self.host, self.port, problem)) from None
        with door:
            door.listen(WAITING)
            opened()
            await _Hearing(self, door, deliver, opened).go_on()


class _Hearing:
    """Who is heard now, and who comes."""

    def __init__(
        self, source: TcpListenSource, door: socket.socket, deliver: Deliver, opened: Opened
    ) -> None:
        self._source = source
        self._door = door
        self._deliver = deliver
        self._opened = opened
        self._remarks = Remarks()
        self._heard = ""  # the address of the adapter that is heard
        self._task: asyncio.Task[None] | None = None

    async def go_on(self) -> None:
        """Let adapters in, for ever."""
        loop = asyncio.get_running_loop()
        coming = loop.create_task(self._next())
        try:
            while True:
                waiting = [coming] if self._task is None else [coming, self._task]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if self._task and self._task.done():
                    self._take_leave(self._task)
                if coming.done():
                    connection, host = coming.result()
                    coming = loop.create_task(self._next())
                    self._receive(connection, host)
        finally:
            coming.add_done_callback(_close_newcomer)
            ending = [coming] if self._task is None else [coming, self._task]
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)

    async def _next(self) -> tuple[socket.socket, str]:
        """Wait for who dials in; SourceError if nobody can be let in, and nobody is heard."""
        while True:
            try:
                # Not `loop.sock_accept`: cancelled at the wrong moment it loses a connection.
                await readable(self._door)
                with suppress(BlockingIOError, ConnectionAbortedError):
                    connection, address = self._door.accept()
                    break
            except OSError as problem:
                where = show_endpoint(self._source.host, self._source.port)
                cause = f"nobody can dial in on {where}: {problem.strerror}"
                if self._task is None:
                    raise SourceError(cause) from None
                self._remarks.say(f"{cause}; {self._heard} is heard")
                await asyncio.sleep(PAUSE_S)
        connection.setblocking(False)
        return connection, plain_address(address[0])

    def _receive(self, connection: socket.socket, host: str) -> None:
        """Hear a newcomer, or close his connection."""
        where = show_endpoint(self._source.host, self._source.port)
        if not may_send(host, self._source.allow):
            connection.close()
            self._remarks.say(f"{host} dials in on {where}, refused: 'allow' does not name it")
            return
        if self._task and host != self._heard:
            connection.close()
            self._remarks.say(
                f"{host} dials in on {where}, refused: {self._heard} is heard; "
                f"?allow={self._heard} or ?allow={host} says which one is the meter's adapter"
            )
            return
        if self._task:
            self._task.cancel()
            self._remarks.say(f"{host} dials in on {where} again: its older connection is closed")
        else:
            self._remarks.say(f"{host} has dialled in on {where}")
        self._opened()
        self._heard = host
        task = asyncio.create_task(hear(connection, host, self._deliver, self._source.silence_s))
        task.add_done_callback(lambda _: connection.close())
        self._task = task

    def _take_leave(self, task: "asyncio.Task[None]") -> None:
        """Say why an adapter is heard no more; what is no SourceError is raised."""
        self._task = None
        try:
            task.result()
        except SourceError as problem:
            self._remarks.say(f"{problem}; {self._heard} may dial in again")


def _close_newcomer(coming: "asyncio.Task[tuple[socket.socket, str]]") -> None:
    """Close the connection of one who came when nobody was let in any more."""
    if not coming.cancelled() and coming.exception() is None:
        coming.result()[0].close()
