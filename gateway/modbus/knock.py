"""A question to a listener of ours, to see whether it is answered.

What is asked is answered whatever the meter does: a function that no map has gets exception 01, and
any answer will do. A TLS listener gets a ClientHello, as we have no client's certificate.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import MutableSet
from contextlib import suppress

from gateway.endpoint import LOOPBACK, show_endpoint
from gateway.modbus.responder import MBAP, MODBUS_PROTOCOL

READ_EXCEPTION_STATUS = bytes((0x07,))  # MAP 6.7: for serial lines alone, and a whole request
ANSWER_BYTES = 512
ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - only read

Address = tuple[str, int]


def tcp_question(unit: int) -> bytes:
    """Return what is asked over TCP and UDP: one frame with its MBAP header."""
    return MBAP.pack(0, MODBUS_PROTOCOL, 1 + len(READ_EXCEPTION_STATUS), unit) + (
        READ_EXCEPTION_STATUS
    )


def rtu_question(unit: int) -> bytes:
    """Return what is asked where RTU frames are spoken; a unit that is not served is silent."""
    from gateway.modbus.rtu import sealed

    return sealed(bytes((unit,)) + READ_EXCEPTION_STATUS)


def tls_question() -> bytes:
    """Return the start of a TLS handshake; whoever answers shows a certificate or an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


async def knock(
    listener: Address,
    question: bytes,
    timeout_s: float,
    own: MutableSet[Address] | None = None,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> str | None:
    """Ask; return in words why there is no answer, None: there is one.

    It comes from the listener's own address, and `own` has address and port while it asks, so that
    the listener knows it for no client. OSError: it cannot be asked now, which is not its fault:
    the address has left this machine, or no file descriptor is left.
    """
    host, port = ANY_ADDRESS.get(listener[0], listener[0]), listener[1]
    where = show_endpoint(*listener)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, kind) as asking:
        asking.setblocking(False)
        asking.bind((host, 0))
        ours: Address = asking.getsockname()[:2]
        if own is not None:
            own.add(ours)
        try:
            async with asyncio.timeout(timeout_s):
                await loop.sock_connect(asking, (host, port))
                await loop.sock_sendall(asking, question)
                answer = await loop.sock_recv(asking, ANSWER_BYTES)
        except TimeoutError:
            return f"{where} does not answer within {timeout_s:g} s"
        except OSError as problem:
            if problem.errno == errno.ECONNREFUSED:
                return f"nobody listens on {where}"
            return f"{where} breaks off: {problem.strerror or problem}"
        finally:
            if own is not None:
                own.discard(ours)
    return None if answer else f"{where} hangs up without an answer"
