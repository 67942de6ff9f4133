"""Modbus UDP over real sockets: one datagram in, one out."""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from pymodbus.client import AsyncModbusUdpClient

from gateway.modbus.responder import Responder
from gateway.modbus.udp import UdpListener

from .served import GOT_0, PATIENCE_S, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "each_loop", "nothing_is_left_open")


def datagram(transaction: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


@asynccontextmanager
async def listening(*allow: str, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, int]]:
    listener = UdpListener(host, 0, responder(), [ip_network(each) for each in allow])
    try:
        yield await listener.start()
    finally:
        listener.stop()
        await asyncio.sleep(0)  # the socket is closed one turn of the loop later


class Client:
    """A plain socket."""

    def __init__(self, address: tuple[str, int], me: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((me, 0))
        self.socket.connect(address)

    async def reply(self) -> bytes:
        return await eventually(asyncio.get_running_loop().sock_recv(self.socket, 4096))

    async def ask(self, request: bytes) -> bytes:
        self.socket.send(request)
        return await self.reply()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()


def test_each_request_gets_one_datagram_with_its_transaction() -> None:
    async def scenario() -> None:
        async with listening() as address, Client(address) as client:
            for transaction in (1, 0xFFFF, 1):
                assert await client.ask(datagram(transaction, READ_0)) == datagram(
                    transaction, GOT_0
                )
            for transaction in range(50):
                client.socket.send(datagram(transaction, READ_0))
            got = [await client.reply() for _ in range(50)]
            assert got == [datagram(transaction, GOT_0) for transaction in range(50)]

    run(scenario())


def test_two_clients_are_answered_each_for_itself() -> None:
    async def scenario() -> None:
        async with listening() as address, Client(address) as one, Client(address) as two:
            one.socket.send(datagram(1, READ_0))
            two.socket.send(datagram(2, READ_0))
            assert await one.reply() == datagram(1, GOT_0)
            assert await two.reply() == datagram(2, GOT_0)

    run(scenario())


def test_an_unknown_unit_is_told_as_over_tcp() -> None:
    async def scenario() -> None:
        async with listening() as address, Client(address) as client:
            assert await client.ask(datagram(7, READ_0, 99)) == datagram(7, b"\x83\x0b", 99)

    run(scenario())


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x00",
        datagram(1, READ_0)[:-1],
        datagram(1, READ_0) + b"\x00",
        datagram(1, READ_0) * 2,
        b"\x00\x01\x00\x01\x00\x06\x01" + READ_0,
        b"\x00\x01\x00\x00\x00\x00\x01",
        b"\x00\x01\x00\x00\x00\x01\x01",
        datagram(1, bytes(254)),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["empty", "1", "short", "long", "two", "protocol", "length 0", "length 1", "255", "HTTP"],
)
def test_what_is_no_request_is_ignored_and_said_once(
    bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with listening() as address, Client(address) as client:
            client.socket.send(bad)
            client.socket.send(bad)
            assert await client.ask(datagram(2, READ_0)) == datagram(2, GOT_0)

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())
    assert caplog.messages == ["127.0.0.1 sends datagrams that are no Modbus, ignored"]


def test_whom_it_does_not_allow_it_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with (
            listening("127.0.0.2/32") as address,
            Client(address) as refused,
            Client(address, "127.0.0.2") as allowed,
        ):
            refused.socket.send(datagram(1, READ_0))
            refused.socket.send(datagram(1, READ_0))
            assert await allowed.ask(datagram(2, READ_0)) == datagram(2, GOT_0)
            with pytest.raises(BlockingIOError):
                refused.socket.recv(1)

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())
    assert caplog.messages == ["127.0.0.1 may not connect: 'allow' does not name it"]


def test_a_client_that_is_gone_costs_nothing() -> None:
    async def scenario() -> None:
        async with listening() as address, Client(address) as client:
            for _ in range(5):
                async with Client(address) as gone:
                    gone.socket.send(datagram(1, READ_0))
                assert await client.ask(datagram(2, READ_0)) == datagram(2, GOT_0)

    run(scenario())


def test_an_occupied_port_is_an_oserror_that_says_so() -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            listener = UdpListener("127.0.0.1", other.getsockname()[1], responder())
            with pytest.raises(OSError, match="in use") as problem:
                await listener.start()
            assert problem.value.errno == errno.EADDRINUSE
            listener.stop()

    run(scenario())


def test_ipv4_and_ipv6_can_be_served_on_the_same_port_by_two() -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6 loopback")
        async with listening(host="::") as (_, port):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("0.0.0.0", port))

    run(scenario())


def test_after_stop_the_port_is_free() -> None:
    async def scenario() -> None:
        async with listening() as (host, port):
            pass
        again = UdpListener(host, port, responder())
        assert await again.start() == (host, port)
        again.stop()
        await asyncio.sleep(0)

    run(scenario())


def test_silence_of_the_responder_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Responder, "answer", lambda _, unit, *__: None if unit == 2 else GOT_0)

    async def scenario() -> None:
        async with listening() as address, Client(address) as client:
            client.socket.send(datagram(1, READ_0, 2))
            assert await client.ask(datagram(2, READ_0)) == datagram(2, GOT_0)

    run(scenario())


def test_a_full_socket_is_not_piled_upon() -> None:
    sent: list[bytes] = []

    class Transport(asyncio.DatagramTransport):
        def sendto(self, data: bytes, _addr: object = None) -> None:
            sent.append(data)

    listener = UdpListener("127.0.0.1", 0, responder())
    listener.connection_made(Transport())
    client = ("127.0.0.1", 40000)
    listener.pause_writing()
    listener.datagram_received(datagram(1, READ_0), client)
    listener.resume_writing()
    listener.datagram_received(datagram(2, READ_0), client)
    assert sent == [datagram(2, GOT_0)]


def test_pymodbus_reads_over_udp() -> None:
    async def scenario() -> None:
        async with listening() as (host, port):
            client = AsyncModbusUdpClient(host, port=port, timeout=PATIENCE_S, retries=0)
            assert await client.connect()
            try:
                holding = await client.read_holding_registers(0, count=5, device_id=1)
                assert holding.registers == [0x1234, 1, 0xE240, 0x4366, 0x8000]
                refused = await client.read_holding_registers(5, count=1, device_id=1)
                assert refused.exception_code == 2
            finally:
                client.close()

    run(scenario())
