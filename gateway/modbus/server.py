"""Modbus listeners over TCP; the responder answers.

pymodbus' request handler (3.16.1) loses pipelined requests and the request behind an unknown
function, and answers wrong counts wrongly. So a connection here is a plain asyncio protocol.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gateway.endpoint import why_not_bound
from gateway.limits import Limits
from gateway.modbus.access import Access, Kind, Network
from gateway.modbus.clients import Client, Clients
from gateway.modbus.door import ABSENT, KERNEL_BUFFER_BYTES, Door, Place, doors, places
from gateway.modbus.responder import Conversation, Responder

if TYPE_CHECKING:
    from gateway.modbus.rtu import RtuConversation  # which most gateways need not carry

log = logging.getLogger(__name__)

READ_BYTES = 1024  # of one connection before it is the next one's turn
REPLIES_TO_ONE_READ = (READ_BYTES // 12 + 1) * 259  # each for 125 registers
LOOK_EVERY_S = 1.0  # at the clients whose time may be up
PLACE_RETRY_S = 5.0


class Listener:
    """A Modbus TCP endpoint. `allow` names the networks that may connect; empty: all.

    A host may stand for several addresses. It listens on those that this machine has, and on the
    others as soon as they come.
    """

    read_bytes = READ_BYTES
    kernel_bytes = KERNEL_BUFFER_BYTES
    foreign = "does not speak Modbus TCP, closed"

    def __init__(
        self,
        host: str,
        port: int,
        responder: Responder,
        allow: Sequence[Network] = (),
        limits: Limits | None = None,
    ) -> None:
        self.responder = responder
        self.connections: set[Connection] = set()
        self.address: tuple[str, int] | None = None  # in use while it listens
        self.own: set[tuple[str, int]] = set()  # where questions of ours come from: `knock`
        self.buffer = memoryview(bytearray(self.read_bytes))
        self.access = Access(allow, limits)
        self.limits = self.access.limits
        self.clients = Clients(responder, partial(self.access.say, Kind.UNSERVED))
        self._at = host, port
        self._doors: list[Door] = []
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> tuple[str, int]:
        """Listen; return the address and port in use. OSError says why that is not possible."""
        bound, absent = doors(await places(*self._at), self.kernel_bytes)
        for place in absent:
            log.warning("%s is no address of this machine now; trying again", self._shown(place))
        self._open(bound)
        if absent:
            self._retry_later(absent, set())
        host, port = self._doors[0].getsockname()[:2]
        self.address = host, port
        return host, port

    def change(self, allow: Sequence[Network], limits: Limits) -> None:
        """Let other rules hold, for connections that are open too.

        Those whose address may not connect any more are closed; how many there may be counts for
        new ones only.
        """
        self.access.change(allow, limits)
        self.limits = limits
        for connection in list(self.connections):
            if connection.is_own or self.access.admits(connection.address):
                connection.limit_unread()
            else:
                connection.close()

    def pause(self) -> None:
        """Leave the address, with the connections open; `start` takes it again."""
        self.address = None
        for door in self._doors:
            door.close()
        self._doors.clear()
        if self._retry:
            self._retry.cancel()
            self._retry = None

    def stop(self) -> None:
        """Close the endpoint and all its connections."""
        self.pause()
        for connection in list(self.connections):
            connection.close()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.access.complaints.finish(time.monotonic())

    def greet(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        return Connection(self)

    def converse(self, client: Client) -> "Conversation | RtuConversation":
        """Start a connection's conversation, which counts what the client asks."""
        return Conversation(self.responder, client)

    def look_later(self) -> None:
        """Look after the clients from now on: one timer for all, and none while nobody is here."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            shortest_s = min(self.limits.idle_s, self.limits.request_s)
            self._timer = loop.call_later(min(LOOK_EVERY_S, shortest_s / 4), self._look)

    def _look(self) -> None:
        """See whose time is up."""
        self._timer = None
        now = time.monotonic()
        for connection in list(self.connections):
            connection.look(now)
        self.access.complaints.tick(now)
        if self.connections or self.access.complaints.are_pending:
            self.look_later()

    def _open(self, bound: Sequence[Door]) -> None:
        self._doors += bound
        for door in bound:
            door.open(self.greet, self._out_of_descriptors)

    def _retry_later(self, absent: Sequence[Place], said: set[str]) -> None:
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(PLACE_RETRY_S, self._open_the_rest, absent, said)

    def _open_the_rest(self, absent: Sequence[Place], said: set[str]) -> None:
        """Listen where that was not possible before; `said` is why it was not."""
        still: list[Place] = []
        for place in absent:
            try:
                self._open(doors([place], self.kernel_bytes)[0])
            except OSError as problem:
                still.append(place)
                why = why_not_bound(place.host, self._at[1], problem)
                if problem.errno not in ABSENT and why not in said:
                    said.add(why)
                    log.warning("%s; trying again", why)
            else:
                log.warning("listening on %s now", self._shown(place))
        if still:
            self._retry_later(still, said)

    def _shown(self, place: Place) -> str:
        """Return one of the host's addresses as it is said."""
        return f"{place.host} ({self._at[0]})"

    def _out_of_descriptors(self, host: str) -> None:
        text = "no file descriptor is left for new clients: raise the limit (ulimit -n)"
        self.access.say(Kind.NO_DESCRIPTORS, host, text)


class Connection(asyncio.BufferedProtocol):
    """One client.

    It reads into a buffer that all connections share, since each takes its bytes out at once. A
    plain `asyncio.Protocol` gets a new 256 KiB buffer for every read, which doubles the cost of a
    request. After a full buffer it is the next one's turn.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport
        self._conversation: Conversation | RtuConversation
        self._client: Client | None = None
        self.is_own = False
        self._since = 0.0
        self._replied = 0  # bytes
        self._fetched = 0  # of them, at the last look
        self._waits_since: float | None = None  # that the client fetches its replies
        self._is_full = False  # too many replies wait, no more requests are heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client or send it away."""
        self._transport = cast(asyncio.Transport, transport)
        listener = self._listener
        peer = transport.get_extra_info("peername")  # None: the client is gone already
        self.is_own = peer is not None and peer[:2] in listener.own
        is_late = listener.address is None  # it came just before the listener closed
        if peer is None or is_late or not (self.is_own or listener.access.enter(peer[0])):
            self._transport.abort()
            listener.look_later()
            return
        self._since = time.monotonic()
        if self.is_own:
            # Counted to nobody, and not complained about.
            self._client = Client(peer[0], listener.responder, lambda *_: True, lambda: None)
        else:
            self._client = listener.clients.of(peer[0])
        self._client.connected(self._since)
        self._conversation = listener.converse(self._client)
        self.limit_unread()
        listener.connections.add(self)
        listener.look_later()

    def limit_unread(self) -> None:
        """Bound the replies that wait for the client."""
        # What one read may make is kept free, so that no client goes beyond its limit.
        high = max(0, self._listener.limits.unread_bytes - REPLIES_TO_ONE_READ)
        self._transport.set_write_buffer_limits(high=high)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Answer what is complete."""
        chunk = self._listener.buffer[:nbytes].tobytes()
        replies = self._conversation.receive(chunk, time.monotonic())
        if replies:
            self._replied += len(replies)
            self._transport.write(replies)
        if self._conversation.is_broken:
            if not self._conversation.hangs_up:
                self._complain(Kind.FOREIGN, self._listener.foreign)
            self._transport.close()
        elif nbytes == self._listener.read_bytes:
            self.give_way()

    def pause_writing(self) -> None:
        """Hear no more requests from a client that does not fetch its replies."""
        self._is_full = True
        self._waits_since = time.monotonic()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False
        self._waits_since = None
        self._transport.resume_reading()

    def give_way(self) -> None:
        """Let the others have their turn: uvloop (0.23) would read on, 32 buffers in a row."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._is_full and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget the client."""
        if self._client:
            self._client.gone(self._since)
            if not self.is_own:
                self._listener.access.leave(self._client.address)
            self._client = None
        self._listener.connections.discard(self)

    @property
    def address(self) -> str:
        """The client's, without its port; empty when it is gone."""
        return self._client.address if self._client else ""

    @property
    def unread_bytes(self) -> int:
        """How much waits for the client, apart from what the system has taken."""
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str) -> Any:
        """Return what the transport knows."""
        return self._transport.get_extra_info(name)

    def look(self, now: float) -> None:
        """Cut off a client that takes too long."""
        limits = self._listener.limits
        begun = self._conversation.begun
        self._note_fetching(now)
        if self._waits_since is not None and now - self._waits_since > limits.request_s:
            self._complain(Kind.UNREAD, f"fetches no replies for {limits.request_s:g} s, cut off")
        elif begun is not None and now - begun > limits.request_s:
            self._complain(
                Kind.SLOW, f"has not finished a request within {limits.request_s:g} s, cut off"
            )
        elif now - (self._conversation.spoke or self._since) > limits.idle_s:
            self._complain(Kind.IDLE, f"asked nothing for {limits.idle_s:g} s, closed")
        else:
            return
        self.close()

    def close(self) -> None:
        """Close; what a client has not fetched by now is not waited for."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _note_fetching(self, now: float) -> None:
        """Note since when the client fetches nothing of what waits, too little to stop hearing."""
        waiting = self.unread_bytes
        fetched = self._replied - waiting
        if not self._is_full:
            if not waiting:
                self._waits_since = None
            elif self._waits_since is None or fetched > self._fetched:
                self._waits_since = now
        self._fetched = fetched

    def _complain(self, kind: Kind, text: str) -> None:
        self._listener.access.say(kind, self.address, f"{self.address} {text}")
