"""Modbus TCP listeners: pymodbus listens and accepts, the responder answers.

The only file that knows pymodbus' server. Its own request handler loses pipelined requests and
answers wrong counts wrongly (3.16.1), so a connection here is a plain asyncio protocol.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import cast

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.modbus.responder import Conversation, Responder

log = logging.getLogger(__name__)

READ_BYTES = 4096  # some 300 requests in one segment
MAX_SAID = 1000  # different complaints that are remembered, so that each is said once

Network = IPv4Network | IPv6Network
# pymodbus wants a datastore of its own; no request ever reaches it.
_NO_DATASTORE = SimDevice(0, simdata=[SimData(0, datatype=DataType.REGISTERS, values=0)])


class Listener(ModbusTcpServer):
    """A Modbus TCP endpoint. `allow` names the networks that may connect; empty: all."""

    def __init__(
        self, host: str, port: int, responder: Responder, allow: Sequence[Network] = ()
    ) -> None:
        super().__init__(_NO_DATASTORE, address=(host, port))
        self.responder = responder
        self.connections: set[Connection] = set()
        self.buffer = bytearray(READ_BYTES)
        self._allow = allow
        self._said: set[str] = set()

    async def start(self) -> tuple[str, int]:
        """Listen; return the address and port in use. OSError says why that is not possible."""
        # Not `listen`: that one hides the OSError.
        self.transport = await self.call_create()
        server = cast(asyncio.Server, self.transport)
        host, port = server.sockets[0].getsockname()[:2]
        return host, port

    def stop(self) -> None:
        """Close the endpoint and all its connections."""
        self.close()
        for connection in list(self.connections):
            connection.close()

    def admits(self, host: str) -> bool:
        """Tell whether a client at `host` may connect; say so once if it may not."""
        # A client of a dual-stack socket shows its IPv4 address as ::ffff:a.b.c.d.
        address = ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        if not self._allow or any(address in network for network in self._allow):
            return True
        self.say_once(f"{address} may not connect: 'allow' does not name it")
        return False

    def say_once(self, text: str) -> None:
        """Log what a client does wrong, without letting it fill the log."""
        if text not in self._said:
            if len(self._said) >= MAX_SAID:
                self._said.clear()
            self._said.add(text)
            log.warning("%s", text)

    def handle_new_connection(self) -> "Connection":  # type: ignore[override]
        """Give pymodbus' listening socket our own connections."""
        return Connection(self)


class Connection(asyncio.BufferedProtocol):
    """One client.

    It reads into a buffer that all connections share, since each takes its bytes out at once. A
    plain `asyncio.Protocol` gets a new 256 KiB buffer for every read, which doubles the cost of a
    request.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._conversation = Conversation(listener.responder)
        self._transport: asyncio.Transport
        self._host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client or send it away."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")  # None: the client is gone already
        if peer is None or not self._listener.admits(peer[0]):
            self._transport.abort()
            return
        self._host = peer[0]
        self._listener.connections.add(self)

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Return where the next bytes go."""
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Answer what is complete."""
        chunk = bytes(memoryview(self._listener.buffer)[:nbytes])
        replies = self._conversation.receive(chunk, time.monotonic())
        if replies:
            self._transport.write(replies)
        if self._conversation.is_broken:
            self._listener.say_once(f"{self._host} does not speak Modbus TCP, closed")
            self._transport.close()

    def pause_writing(self) -> None:
        """Hear no more requests from a client that does not fetch its replies."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget the client."""
        self._listener.connections.discard(self)

    def close(self) -> None:
        """Close; what a client has not fetched by now is not waited for."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()
