"""The listening sockets of a TCP endpoint, and what every connection inherits from them."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.endpoint import resolvable

# Of one connection, in the kernel, each way; Linux doubles it for what it keeps beside the bytes.
KERNEL_BUFFER_BYTES = 16 * 1024
# A client that was switched off is known for gone after 60 + 3 × 10 s of silence.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 60, 10, 3
# The same if it was to get something, which is what keepalive does not watch.
UNACKNOWLEDGED_MS = 30_000

BACKLOG = 100  # newcomers that wait
NEWCOMERS_AT_ONCE = 16  # before it is the clients' turn
PAUSE_S = 1.0

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
SCARCE = (*OUT_OF_DESCRIPTORS, errno.ENOBUFS, errno.ENOMEM)
# EAFNOSUPPORT: a kernel without IPv6.
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

Greet = Callable[[], asyncio.BaseProtocol]
Refused = Callable[[str], None]  # is told the address of a client


class Place(NamedTuple):
    """Where to listen: an address of one family."""

    family: int
    address: Any

    @property
    def host(self) -> str:
        """The address without its port."""
        return str(self.address[0])


class Door(socket.socket):
    """A listening socket that goes on when the process has no file descriptor left.

    With one descriptor kept in reserve newcomers are accepted then and sent away at once; only if
    that one is taken by somebody else, they wait. It accepts by itself: asyncio would log each of
    a hundred vain attempts, and uvloop (0.23) sends newcomers away without telling.
    """

    def __init__(self, place: Place, kernel_bytes: int = KERNEL_BUFFER_BYTES) -> None:
        # By its protocol asyncio knows that TCP_NODELAY is due, without which replies wait 40 ms.
        super().__init__(place.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._reserve: int | None = None
        self._greet: Greet
        self._refused: Refused
        self._loop: asyncio.AbstractEventLoop | None = None  # None: it is not open
        self._pause: asyncio.TimerHandle | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        try:
            _prepare(self, kernel_bytes)
            self.bind(place.address)
        except OSError:
            self.close()
            raise

    def open(self, greet: Greet, refused: Refused) -> None:
        """Let clients in; OSError says why that is not possible.

        `greet` makes a connection's protocol; `refused` is told of each client for which there was
        no descriptor, "" of those that have to wait.
        """
        self.listen(BACKLOG)
        self._reserve = _spare()
        self._greet, self._refused = greet, refused
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self, self._let_in)

    def close(self) -> None:
        """Close it, and the reserve."""
        if self._loop:
            self._loop.remove_reader(self)
            self._loop = None
        if self._pause:
            self._pause.cancel()
        self._release()
        super().close()

    def _let_in(self) -> None:
        """Let in who waits at the door."""
        for _ in range(NEWCOMERS_AT_ONCE):
            try:
                connection, _ = self.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                is_one_away = problem.errno in OUT_OF_DESCRIPTORS and self._send_one_away()
                if problem.errno in SCARCE and not is_one_away:
                    self._wait()
                    return
                continue  # else that client is gone
            self._reserve = _spare() if self._reserve is None else self._reserve
            task = asyncio.ensure_future(self._connect(connection))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _connect(self, connection: socket.socket) -> None:
        if self._loop is None:
            connection.close()
            return
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._greet, connection)
        except OSError:
            connection.close()  # the client is gone

    def _wait(self) -> None:
        """Leave the newcomers waiting for a moment."""
        if self._loop:
            self._refused("")
            self._loop.remove_reader(self)
            self._pause = self._loop.call_later(PAUSE_S, self._loop.add_reader, self, self._let_in)

    def _send_one_away(self) -> bool:
        """Refuse the first of the queue; False if that is not possible now."""
        if self._reserve is None:
            return False
        self._release()
        try:
            connection, address = self.accept()
            connection.close()
        except OSError as problem:
            return problem.errno not in SCARCE  # else the client is gone
        finally:
            self._reserve = _spare()
        self._refused(address[0])
        return True

    def _release(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


async def places(host: str, port: int) -> list[Place]:
    """Return all that a host's name stands for; OSError: it is no name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        resolvable(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return [Place(*place) for place in dict.fromkeys((info[0], info[4]) for info in found)]


def doors(
    wanted: Sequence[Place], kernel_bytes: int = KERNEL_BUFFER_BYTES
) -> tuple[list[Door], list[Place]]:
    """Return a bound socket for each place that this machine has now, and the places it has not.

    OSError: it has none of them, or one is taken or forbidden.
    """
    bound: list[Door] = []
    absent: dict[Place, OSError] = {}
    for place in wanted:
        try:
            bound.append(Door(place, kernel_bytes))
        except OSError as problem:
            if problem.errno not in ABSENT:
                _close(bound)
                raise
            absent[place] = problem
    if absent and not bound:
        # An address may come, a family does not.
        raise max(absent.values(), key=lambda problem: problem.errno == errno.EADDRNOTAVAIL)
    return bound, list(absent)


def _close(bound: Sequence[Door]) -> None:
    for door in bound:
        door.close()


def _prepare(door: Door, kernel_bytes: int) -> None:
    door.setblocking(False)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if door.family == socket.AF_INET6:
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        door.setsockopt(socket.SOL_SOCKET, option, kernel_bytes)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
        (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
        (socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
        (socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
    ):
        door.setsockopt(socket.IPPROTO_TCP, option, value)
