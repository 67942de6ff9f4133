"""Modbus UDP: one request a datagram, one datagram a reply.

On asyncio's own endpoint: pymodbus' UDP server (3.16.1) keeps one receive buffer for all senders.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

from gateway.modbus.access import Access, Network
from gateway.modbus.responder import MAX_LENGTH, MBAP, MIN_LENGTH, MODBUS_PROTOCOL, Responder

LENGTH_ENDS_AT = MBAP.size - 1  # what the length counts starts with the unit id


class UdpListener(asyncio.DatagramProtocol):
    """A Modbus UDP endpoint. `allow` names the networks that are answered; empty: all."""

    def __init__(
        self, host: str, port: int, responder: Responder, allow: Sequence[Network] = ()
    ) -> None:
        self._address = host, port
        self._responder = responder
        self._access = Access(allow)
        self._transport: asyncio.DatagramTransport | None = None
        self._is_full = False

    async def start(self) -> tuple[str, int]:
        """Listen; return the address and port in use. OSError says why that is not possible."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self._address)
        self._transport = transport
        host, port = transport.get_extra_info("sockname")[:2]
        return host, port

    def stop(self) -> None:
        """Close the endpoint."""
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a request of a client that may ask."""
        host = addr[0]
        if self._transport is None or self._is_full or not self._access.admits(host):
            return
        if not is_request(data):
            self._access.say_once(f"{host} sends datagrams that are no Modbus, ignored")
            return
        reply = answer(self._responder, data, time.monotonic())
        if reply is not None:
            self._transport.sendto(reply, addr)

    def pause_writing(self) -> None:
        """Answer nobody while the system takes no more: a datagram may get lost anyway."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False


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
