"""The listening sockets of a TCP endpoint, and what every connection inherits from them."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

# Of one connection, in the kernel, each way; Linux doubles it for what it keeps beside the bytes.
KERNEL_BUFFER_BYTES = 16 * 1024
# A client that was switched off is known for gone after 60 + 3 × 10 s of silence.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 60, 10, 3
# The same if it was to get something, which is what keepalive does not watch.
UNACKNOWLEDGED_MS = 30_000

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class Door(socket.socket):
    """A listening socket that goes on when the process has no file descriptor left.

    asyncio would leave the newcomers waiting, try up to a hundred times in a row, and log each
    time. With one descriptor kept in reserve they are accepted and sent away at once. Only if that
    one is taken by somebody else, asyncio's pause of a second is asked for, once.
    """

    def __init__(self, family: int, refused: Callable[[str], None]) -> None:
        # By its protocol asyncio knows that TCP_NODELAY is due, without which replies wait 40 ms.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._refused = refused
        self._reserve: int | None = _spare()
        self._has_failed = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection and its address; BlockingIOError: there is none."""
        while True:
            try:
                accepted = super().accept()
            except OSError as problem:
                if problem.errno not in OUT_OF_DESCRIPTORS:
                    raise
                if not self._send_one_away():
                    self._has_failed = not self._has_failed
                    if self._has_failed:
                        raise
                    raise BlockingIOError from None
            else:
                self._has_failed = False
                self._reserve = _spare() if self._reserve is None else self._reserve
                return accepted

    def close(self) -> None:
        """Close it, and the reserve."""
        self._release()
        super().close()

    def detach(self) -> int:
        """Leave the socket to uvloop, which closes it by its number; close the reserve."""
        self._release()
        return super().detach()

    def _send_one_away(self) -> bool:
        """Refuse the first of the queue; False if that is not possible now."""
        if self._reserve is None:
            return False
        self._release()
        try:
            connection, address = super().accept()
            connection.close()
        except OSError as problem:
            if problem.errno not in OUT_OF_DESCRIPTORS:
                raise  # the client is gone
            return False
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


async def doors(host: str, port: int, refused: Callable[[str], None]) -> list[Door]:
    """Return bound sockets, one for each address of `host`. OSError says why that is not possible.

    `refused` is told the address of each client for which there was no descriptor.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[Door] = []
    try:
        for family, address in dict.fromkeys((info[0], info[4]) for info in found):
            door = Door(family, refused)
            bound.append(door)
            _prepare(door)
            door.bind(address)
    except OSError:
        for door in bound:
            door.close()
        raise
    return bound


def _prepare(door: Door) -> None:
    door.setblocking(False)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if door.family == socket.AF_INET6:
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        door.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER_BYTES)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
        (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
        (socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
        (socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
    ):
        door.setsockopt(socket.IPPROTO_TCP, option, value)
