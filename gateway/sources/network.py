"""What sources on the network have in common: their pace, who may send, why one is not reached."""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from gateway.endpoint import resolvable, show_endpoint
from gateway.sources.address import Network
from gateway.sources.source import Deliver, SourceError, aside

log = logging.getLogger(__name__)

# Meters push every 1 to 10 s: so long a silence is no pause between two telegrams.
SILENCE_S = 60.0
# So many bytes, then a rest: 50 kB/s, four times what the fastest serial line carries. Who sends
# more waits, and the clients that read registers do not: of the worst noise a byte costs 15 µs.
READ_BYTES = 1024
REST_S = 0.02
# What a datagram or message costs beside its bytes: an empty one is work, too. 800 a second.
PIECE_BYTES = 64

# A dead adapter is found out in 30 s, also where a user allows a longer silence.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)

AGAIN_S = 3600.0  # after which what was said is news again
MAX_SAID = 100


class Pace:
    """Lets one source take no more than its share of the time."""

    def __init__(self) -> None:
        self._taken = 0

    async def took_piece(self, count: int) -> None:
        """Count a datagram or message of so many bytes, be it small or empty; rest, too."""
        await self.took(max(count, PIECE_BYTES))

    async def took(self, count: int) -> None:
        """Count the bytes that were taken; rest when there were many."""
        self._taken += count
        if self._taken >= READ_BYTES:
            self._taken = 0
            await asyncio.sleep(REST_S)


class Remarks:
    """What is said of who sends, each text once an hour: adapters and floods repeat themselves."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Log a text, unless it was logged in the last hour."""
        now = time.monotonic()
        if now - self._said.get(text, -AGAIN_S) < AGAIN_S:
            return
        if len(self._said) >= MAX_SAID:
            self._said.clear()
        self._said[text] = now
        log.warning("%s", text)


async def hear(connection: socket.socket, where: str, deliver: Deliver, silence_s: float) -> None:
    """Deliver what comes over a TCP connection; SourceError when it ends or falls silent.

    Nothing is ever sent.
    """
    loop, pace = asyncio.get_running_loop(), Pace()
    with suppress(OSError):  # it may be broken already, which shows when it is read
        for option in KEEPALIVE:
            connection.setsockopt(*option)
    while True:
        try:
            async with asyncio.timeout(silence_s) as patience:
                chunk = await loop.sock_recv(connection, READ_BYTES)
        except OSError as problem:
            if patience.expired():
                raise SourceError(
                    f"no byte from {where} for {silence_s:g} s: the connection is closed, "
                    "it may be dead"
                ) from None
            why = problem.strerror or problem
            raise SourceError(f"the connection with {where} broke: {why}") from None
        if not chunk:
            raise SourceError(f"{where} has closed the connection")
        deliver(chunk)
        await pace.took(len(chunk))


async def readable(endpoint: socket.socket) -> None:
    """Wait until something has come to a socket."""
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not come.done():
            come.set_result(None)

    loop.add_reader(endpoint, wake)
    try:
        await come
    finally:
        loop.remove_reader(endpoint)


async def addresses(
    host: str, port: int, kind: socket.SocketKind
) -> Sequence[tuple[socket.AddressFamily, Any]]:
    """Return the family and the address of each of a host's addresses; OSError if it has none."""
    found = await aside(lambda: socket.getaddrinfo(resolvable(host), port, type=kind))
    return [(family, address) for family, *_, address in found]


async def bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a socket at the first address of a host where that is possible; OSError if none."""
    problem = OSError("no address to listen on")
    for family, address in await addresses(host, port, kind):
        endpoint = socket.socket(family, kind)
        try:
            endpoint.setblocking(False)
            if kind is socket.SOCK_STREAM:
                endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            endpoint.bind(address)
        except OSError as refused:
            endpoint.close()
            problem = refused
        else:
            return endpoint
    raise problem


def plain_address(host: str) -> str:
    """Return an address as people write it: a dual-stack socket shows IPv4 as ::ffff:a.b.c.d."""
    address = ip_address(host)
    return str(getattr(address, "ipv4_mapped", None) or address)


def may_send(host: str, allow: Sequence[Network]) -> bool:
    """Tell whether an address is in one of the networks; none means all."""
    return not allow or any(ip_address(host) in network for network in allow)


def why_unreached(host: str, port: int, problem: BaseException) -> str:
    """Return why there is no connection with a host, and what to do."""
    where = show_endpoint(host, port)
    match problem:
        case socket.gaierror():
            return f"{host!r} is not known here: check its spelling, or write its IP address"
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of {where} is refused: {problem.verify_message}; "
                "ca=FILE names the one that signs it"
            )
        case ssl.SSLError():
            return f"{where} speaks no TLS that we do ({problem.reason}): is it the right port?"
        case ConnectionRefusedError():
            return f"{where} refuses: nothing listens there; is the port right, the server started?"
        case ConnectionResetError() | BrokenPipeError():
            return f"{where} breaks off the connection: is it the right port, with TLS or without?"
        case TimeoutError():
            return f"{where} does not answer: is it switched on, and in this network? ping {host}"
        case OSError(errno=errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EHOSTDOWN):
            return f"{where} is not reached: is it switched on, and in this network? ping {host}"
        case OSError():
            return f"{where} cannot be reached: {problem.strerror or problem}"
        case _:
            return f"{where} cannot be reached: {problem}"


def why_unknown(host: str) -> str | None:
    """Return why a host's name leads nowhere; None if it has an address. This may take seconds."""
    try:
        socket.getaddrinfo(resolvable(host), None)
    except OSError as problem:
        return why_unreached(host, 0, problem)
    return None
