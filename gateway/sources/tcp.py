"""A TCP server that hands on a serial line: ser2net, ESPHome, an M-Bus/Ethernet adapter."""

import asyncio
import socket
from dataclasses import dataclass

from gateway.endpoint import show_endpoint
from gateway.sources.address import SourceAddress
from gateway.sources.network import SILENCE_S, addresses, hear, why_unknown, why_unreached
from gateway.sources.source import Deliver, Opened, SourceError

CONNECT_S = 5.0  # for each of a host's addresses


@dataclass(frozen=True, slots=True)
class TcpSource:
    """Connects to a server and reads; after `silence_s` without a byte the connection is made anew.

    The silence finds what TCP alone does not: a reader has nothing to send, so a connection whose
    other end was switched off would stay open for ever.
    """

    host: str
    port: int
    silence_s: float = SILENCE_S

    @classmethod
    def parse(cls, address: SourceAddress) -> "TcpSource":
        """Read tcp://192.168.1.20:2400?silence=60s; ValueError says what is wrong."""
        address.allow(("silence",))
        return cls(*address.endpoint(address.target), address.duration_s("silence", SILENCE_S))

    def describe(self) -> str:
        """Return the server."""
        return f"TCP server {show_endpoint(self.host, self.port)}"

    @property
    def is_lasting(self) -> bool:
        """Return True: a real meter goes on counting."""
        return True

    def trouble(self) -> str | None:
        """Return why its name leads nowhere; to connect might throw out who reads it now."""
        return why_unknown(self.host)

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Read until the connection breaks or falls silent."""
        try:
            connection = await _connected(self.host, self.port)
        except OSError as problem:
            raise SourceError(why_unreached(self.host, self.port, problem)) from None
        with connection:
            opened()
            await hear(connection, show_endpoint(self.host, self.port), deliver, self.silence_s)


async def _connected(host: str, port: int) -> socket.socket:
    """Return a connection with the first of a host's addresses that answers; OSError if none."""
    loop = asyncio.get_running_loop()
    problem = OSError("it has no address")
    for family, address in await addresses(host, port, socket.SOCK_STREAM):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(CONNECT_S):
                await loop.sock_connect(connection, address)
        except OSError as refused:
            connection.close()
            problem = refused
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise problem
