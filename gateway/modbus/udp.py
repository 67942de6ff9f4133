"""Modbus UDP: one request a datagram, one datagram a reply.

On asyncio's own endpoint: pymodbus' UDP server (3.16.1) keeps one receive buffer for all senders.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from gateway.endpoint import resolvable
from gateway.modbus.access import Access, Kind, Network
from gateway.modbus.clients import Clients
from gateway.modbus.responder import MAX_LENGTH, MBAP, MIN_LENGTH, MODBUS_PROTOCOL, Responder

LOOK_EVERY_S = 1.0  # at what was left out of the log
LENGTH_ENDS_AT = MBAP.size - 1  # what the length counts starts with the unit id


class UdpListener(asyncio.DatagramProtocol):
    """A Modbus UDP endpoint. `allow` names the networks that are answered; empty: all."""

    def __init__(
        self, host: str, port: int, responder: Responder, allow: Sequence[Network] = ()
    ) -> None:
        self._at = host, port
        self.address: tuple[str, int] | None = None  # in use while it listens
        self.own: set[tuple[str, int]] = set()  # where questions of ours come from: `knock`
        self._responder = responder
        self.access = Access(allow)
        self.clients = Clients(responder, partial(self.access.say, Kind.UNSERVED))
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_full = False

    async def start(self) -> tuple[str, int]:
        """Listen; return the address and port in use. OSError says why that is not possible."""
        loop = asyncio.get_running_loop()
        host, port = self._at
        found = await loop.getaddrinfo(resolvable(host), port, type=socket.SOCK_DGRAM)
        # Bound here: uvloop (0.23) does not tell why it cannot.
        endpoint = _bound([(info[0], info[4]) for info in found])
        transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=endpoint)
        self._transport = transport
        host, port = transport.get_extra_info("sockname")[:2]
        self.address = host, port
        return host, port

    def change(self, allow: Sequence[Network]) -> None:
        """Answer other networks from now on."""
        self.access.change(allow, self.access.limits)

    def pause(self) -> None:
        """Leave the address; `start` takes it again."""
        self.address = None
        if self._transport:
            self._transport.abort()
            self._transport = None

    def stop(self) -> None:
        """Close the endpoint."""
        self.pause()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.access.complaints.finish(time.monotonic())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a request of a client that may ask."""
        host = addr[0]
        if self._transport is None or self._is_full:
            return
        is_own = addr[:2] in self.own
        if not is_own and not self.access.admits(host):
            self._look_later()
            return
        if not is_request(data):
            text = f"{host} sends datagrams that are no Modbus, ignored"
            self.access.say(Kind.FOREIGN, host, text)
            self._look_later()
            return
        now = time.monotonic()
        reply = answer(self._responder, data, now)
        if reply is not None:
            self._transport.sendto(reply, addr)
        if is_own:
            return
        asked, replied = data[MBAP.size :], reply and reply[MBAP.size :]
        self.clients.of(host).count(data[LENGTH_ENDS_AT], asked, replied, now)

    def pause_writing(self) -> None:
        """Answer nobody while the system takes no more: a datagram may get lost anyway."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False

    def _look_later(self) -> None:
        """Sum up what was left out of the log, in time."""
        if self._timer is None and self.access.complaints.are_pending:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self.access.complaints.tick(time.monotonic())
        self._look_later()


def _bound(addresses: Sequence[tuple[int, Any]]) -> socket.socket:
    """Return a socket at the first address where that is possible; OSError of the last if none."""
    for number, (family, address) in enumerate(addresses, start=1):
        endpoint = socket.socket(family, socket.SOCK_DGRAM)
        try:
            endpoint.setblocking(False)
            if family == socket.AF_INET6:  # [::] is IPv6 alone, as over TCP
                endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            endpoint.bind(address)
        except OSError:
            endpoint.close()
            if number == len(addresses):
                raise
        else:
            return endpoint
    raise OSError("no address to listen on")


def is_request(datagram: bytes) -> bool:
    """Tell whether a datagram is one whole Modbus frame and nothing else."""
    if len(datagram) < MBAP.size:
        return False
    size = len(datagram) - LENGTH_ENDS_AT
    _, protocol, length, _ = MBAP.unpack_from(datagram)
    return (protocol, length) == (MODBUS_PROTOCOL, size) and MIN_LENGTH <= size <= MAX_LENGTH


def answer(responder: Responder, request: bytes, now: float) -> bytes | None:
    """Return the datagram that answers a request; None: silence."""
    transaction, _, _, unit = MBAP.unpack_from(request)
    reply = responder.answer(unit, request[MBAP.size :], now)
    if reply is None:
        return None
    return MBAP.pack(transaction, MODBUS_PROTOCOL, len(reply) + 1, unit) + reply
