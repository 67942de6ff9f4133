"""A UDP port to which an adapter sends a meter's bytes."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.endpoint import show_endpoint, why_not_bound
from gateway.sources.address import Network, SourceAddress
from gateway.sources.network import (
    SILENCE_S,
    Pace,
    Remarks,
    bound,
    may_send,
    plain_address,
    readable,
)
from gateway.sources.source import Deliver, Opened, SourceError

MAX_DATAGRAM_BYTES = 2048  # the longest telegram seen has 622 bytes


@dataclass(frozen=True, slots=True)
class UdpSource:
    """Takes datagrams of one sender at a time; another one after `silence_s` without one of his.

    `allow` names who may send; empty: all. Anyone can write any address on a datagram, so this
    keeps slips out, no attacks.
    """

    host: str
    port: int
    allow: Sequence[Network] = ()
    silence_s: float = SILENCE_S

    @classmethod
    def parse(cls, address: SourceAddress) -> "UdpSource":
        """Read udp://0.0.0.0:2400?allow=192.168.1.20&silence=60s; ValueError says what is wrong."""
        address.allow(("allow", "silence"))
        return cls(
            *address.endpoint(address.target),
            address.networks("allow"),
            address.duration_s("silence", SILENCE_S),
        )

    def describe(self) -> str:
        """Return the port."""
        return f"UDP port {show_endpoint(self.host, self.port)}"

    @property
    def is_lasting(self) -> bool:
        """Return True: a real meter goes on counting."""
        return True

    def trouble(self) -> str | None:
        """Return None: whether a port is free shows when it is opened."""
        return None

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Take datagrams for ever."""
        try:
            endpoint = await bound(self.host, self.port, socket.SOCK_DGRAM)
        except OSError as problem:
            why = why_not_bound(self.host, self.port, problem, is_udp=True)
            raise SourceError(why) from None
        with endpoint:
            opened()
            await self._take(endpoint, deliver, opened)

    async def _take(self, endpoint: socket.socket, deliver: Deliver, opened: Opened) -> None:
        clock, pace, remarks = asyncio.get_running_loop().time, Pace(), Remarks()
        speaker, spoke = "", 0.0
        where = self.describe()
        while True:
            datagram, host = await _next_datagram(endpoint)
            await pace.took_piece(len(datagram))
            if not datagram:
                continue
            if not may_send(host, self.allow):
                remarks.say(f"{host} sends to {where}, ignored: 'allow' does not name it")
                continue
            if len(datagram) > MAX_DATAGRAM_BYTES:
                remarks.say(
                    f"{host} sends datagrams of more than {MAX_DATAGRAM_BYTES} bytes to {where}, "
                    "ignored: no telegram is so long"
                )
                continue
            if host != speaker:
                if speaker and clock() - spoke < self.silence_s:
                    remarks.say(
                        f"{host} sends to {where}, ignored: {speaker} is heard; ?allow={speaker} "
                        f"or ?allow={host} says which one is the meter's adapter"
                    )
                    continue
                if speaker:
                    opened()  # what the other one began is not gone on with
                remarks.say(f"{host} sends to {where}")
                speaker = host
            spoke = clock()
            deliver(datagram)


async def _next_datagram(endpoint: socket.socket) -> tuple[bytes, str]:
    """Wait for a datagram; return it and the address of who sent it.

    Not `loop.sock_recvfrom`, which uvloop (0.23) has not.
    """
    while True:
        await readable(endpoint)
        try:
            datagram, address = endpoint.recvfrom(MAX_DATAGRAM_BYTES + 1)
        except OSError:
            continue  # its checksum was wrong, or an earlier error is reported
        return datagram, plain_address(address[0])
