"""The server over real sockets: what a client on the network gets."""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from typing import cast

import pytest
from pymodbus.client import AsyncModbusTcpClient

from gateway.modbus.access import Access, Network
from gateway.modbus.server import Connection, Listener

from .served import GOT_0, PATIENCE_S, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "each_loop", "nothing_is_left_open")


@asynccontextmanager
async def listening(
    allow: Sequence[Network] = (), host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Listener, int]]:
    """A listener and its port; at the end it and its connections are closed."""
    listener = Listener(host, 0, responder(), allow)
    try:
        _, port = await listener.start()
        yield listener, port
    finally:
        listener.stop()
        await until_alone(listener)


async def until_alone(listener: Listener) -> None:
    while listener.connections:  # noqa: ASYNC110 - nobody is told of a lost connection
        await asyncio.sleep(0.002)


class Client:
    """A raw client that counts its transactions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._transaction = 0

    @classmethod
    @asynccontextmanager
    async def to(
        cls, port: int, host: str = "127.0.0.1", me: str | None = None
    ) -> AsyncIterator["Client"]:
        local = (me, 0) if me else None
        client = cls(*await asyncio.open_connection(host, port, local_addr=local))
        try:
            yield client
        finally:
            client.writer.close()
            with suppress(OSError):  # it may be the server that closed
                await client.writer.wait_closed()

    def frame(self, pdu: bytes, unit: int = 1) -> bytes:
        self._transaction += 1
        return struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, unit) + pdu

    async def reply(self) -> tuple[int, bytes]:
        """The next reply: transaction and PDU."""
        head = await self.reader.readexactly(7)
        transaction, protocol, length, _ = struct.unpack(">HHHB", head)
        assert protocol == 0
        return transaction, await self.reader.readexactly(length - 1)

    async def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        """One round trip."""
        self.writer.write(self.frame(pdu, unit))
        transaction, reply = await self.reply()
        assert transaction == self._transaction
        return reply

    async def rest(self) -> bytes:
        """All until the server closes."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


# --- requests and segments ------------------------------------------------------------------


def test_a_read_is_answered() -> None:
    async def scenario() -> None:
        async with listening() as (_, port), Client.to(port) as client:
            assert await client.ask(READ_0) == GOT_0
            assert await client.ask(bytes.fromhex("04 0001 0002")) == bytes.fromhex("04040001e240")

    run(scenario())


def test_every_request_of_one_segment_is_answered_in_order() -> None:
    async def scenario() -> None:
        async with listening() as (_, port), Client.to(port) as client:
            client.writer.write(b"".join(client.frame(READ_0) for _ in range(100)))
            got = [await client.reply() for _ in range(100)]
            assert got == [(n + 1, GOT_0) for n in range(100)]

    run(scenario())


def test_a_request_that_comes_byte_by_byte_is_answered() -> None:
    async def scenario() -> None:
        async with listening() as (_, port), Client.to(port) as client:
            client.writer.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )
            for octet in client.frame(READ_0) + client.frame(READ_0):
                client.writer.write(bytes([octet]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert [await client.reply() for _ in range(2)] == [(1, GOT_0), (2, GOT_0)]

    run(scenario())


def test_ten_clients_are_served_at_once_each_with_its_own_replies() -> None:
    async def client(port: int, count: int, together: asyncio.Barrier) -> None:
        async with Client.to(port) as me:
            await together.wait()
            for _ in range(30):
                frame = me.frame(struct.pack(">BHH", 3, 100, count))
                me.writer.write(frame[:count])  # cut elsewhere for each client
                await together.wait()
                me.writer.write(frame[count:])
                assert (await me.reply())[1] == bytes([3, 2 * count]) + bytes(2 * count)
                assert await me.ask(READ_0) == GOT_0

    async def scenario() -> None:
        async with listening() as (listener, port), asyncio.TaskGroup() as clients:
            together = asyncio.Barrier(10)
            for count in range(1, 11):
                clients.create_task(client(port, count, together))
            while len(listener.connections) < 10:  # noqa: ASYNC110 - nobody is told of a new one
                await asyncio.sleep(0.002)

    run(scenario())


def test_a_client_that_says_no_more_still_gets_its_replies() -> None:
    # printf … | nc -N: the request and the end of the stream come together
    async def scenario() -> None:
        async with listening() as (listener, port), Client.to(port) as client:
            client.writer.write(client.frame(READ_0) + client.frame(READ_0))
            client.writer.write_eof()
            assert [await client.reply() for _ in range(2)] == [(1, GOT_0), (2, GOT_0)]
            assert await client.rest() == b""
            await until_alone(listener)

    run(scenario())


# --- clients that misbehave -----------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    ["0002 0001 0006 01 03 0000 0001", "0002 0000 0000 01", b"GET / HTTP/1.1\r\n\r\n".hex()],
    ids=["protocol 1", "length 0", "HTTP"],
)
def test_a_bad_header_closes_its_connection_and_no_other(
    bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with listening() as (listener, port), Client.to(port) as good:
            async with Client.to(port) as client:
                client.writer.write(client.frame(READ_0) + bytes.fromhex(bad))
                assert await client.reply() == (1, GOT_0)
                assert await client.rest() == b""
            assert await good.ask(READ_0) == GOT_0
            assert len(listener.connections) == 1

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())
    assert caplog.messages == ["127.0.0.1 does not speak Modbus TCP, closed"]


REQUEST_BYTES = 12
ENOUGH_BYTES = 8 * 1024 * 1024  # of requests; each one asks for 20 times as many


def request(number: int) -> bytes:
    """The n-th request of a client for 125 registers, with its number as transaction."""
    return struct.pack(">HHHBBHH", number & 0xFFFF, 0, 6, 1, 3, 100, 125)


class Watched(Listener):
    """A listener that keeps the server's ends of its connections, by the client's port."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0, responder())
        self.ends: dict[int, asyncio.Transport] = {}

    def greet(self) -> Connection:
        return WatchedConnection(self, self.ends)


class WatchedConnection(Connection):
    """A connection that writes its transport down."""

    def __init__(self, listener: Listener, ends: dict[int, asyncio.Transport]) -> None:
        super().__init__(listener)
        self._ends = ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by its class
        self._ends[transport.get_extra_info("peername")[1]] = cast(asyncio.Transport, transport)
        super().connection_made(transport)


class Stubborn:
    """A client that sends requests and does not read."""

    def __init__(self, listener: Watched, port: int) -> None:
        self.socket = socket.socket()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, buffer, 16 * 1024)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.sent = 0
        self._ends = listener.ends

    @property
    def servers_end(self) -> asyncio.Transport:
        return self._ends[self.socket.getsockname()[1]]

    def send(self) -> None:
        """Send as many requests as there is room for."""
        whole, part = divmod(self.sent, REQUEST_BYTES)
        requests = b"".join(request(n) for n in range(whole, whole + 2000))
        with suppress(BlockingIOError):
            self.sent += self.socket.send(requests[part:])
        assert self.sent < ENOUGH_BYTES, "the server hears on, and nobody fetches its replies"

    async def send_until_unheard(self, other: Client) -> None:
        """Send until the server reads no more, and then what the system still takes.

        `other` shows by its round trips that the server goes on meanwhile.
        """
        assert await other.ask(READ_0) == GOT_0
        while self.servers_end.is_reading():
            self.send()
            assert await other.ask(READ_0) == GOT_0
        held = self.servers_end.get_write_buffer_size()
        for _ in range(50):
            self.send()
            assert await other.ask(READ_0) == GOT_0
        assert not self.servers_end.is_reading()
        assert self.servers_end.get_write_buffer_size() <= held


@asynccontextmanager
async def stubborn_client() -> AsyncIterator[tuple[Watched, Stubborn]]:
    """A listener with a client that it hears no more."""
    listener = Watched()
    _, port = await listener.start()
    try:
        async with Client.to(port) as other:
            stubborn = Stubborn(listener, port)
            with stubborn.socket:
                await stubborn.send_until_unheard(other)
                yield listener, stubborn
            if listener.address is not None:  # else the test has stopped it
                assert await other.ask(READ_0) == GOT_0
    finally:
        listener.stop()
        await until_alone(listener)


def test_a_client_that_never_reads_is_heard_no_more_and_stops_nobody() -> None:
    async def scenario() -> None:
        async with stubborn_client():
            pass  # all of it was seen on the way

    run(scenario())


def test_a_client_that_reads_late_gets_all_its_replies_and_is_heard_again() -> None:
    async def scenario() -> None:
        async with stubborn_client() as (_, late):
            client = Client(*await asyncio.open_connection(sock=late.socket))
            whole, part = divmod(late.sent, REQUEST_BYTES)
            client.writer.write(request(whole)[part:])
            for number in range(whole + 1):
                transaction, reply = await eventually(client.reply())
                assert transaction == number & 0xFFFF
                assert len(reply) == 252
            assert late.servers_end.is_reading()
            client.writer.close()
            await client.writer.wait_closed()

    run(scenario())


def test_a_client_that_is_gone_before_it_was_accepted_makes_no_noise() -> None:
    async def scenario() -> None:
        noise: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.append(context["message"]))
        async with listening(allow=[ip_network("127.0.0.0/8")]) as (listener, port):
            # As a port scanner does: connected, and reset while the server is busy elsewhere.
            scanner = socket.create_connection(("127.0.0.1", port))
            scanner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            scanner.close()
            async with Client.to(port) as client:
                assert await client.ask(READ_0) == GOT_0
            await until_alone(listener)
        assert noise == []

    run(scenario())


# --- who may connect ------------------------------------------------------------------------


async def is_served(port: int, host: str = "127.0.0.1", me: str | None = None) -> bool:
    """Tell whether a client gets any byte in reply."""
    async with Client.to(port, host, me) as client:
        client.writer.write(client.frame(READ_0))
        with suppress(ConnectionResetError):
            return await client.reader.read(1) != b""
        return False


def test_without_an_allow_list_everybody_may_connect() -> None:
    async def scenario() -> None:
        async with listening() as (_, port):
            assert await is_served(port)
            assert await is_served(port, me="127.0.0.2")

    run(scenario())


def test_an_allow_list_admits_whom_it_names_and_nobody_else() -> None:
    async def scenario() -> None:
        allow = [ip_network("192.168.1.0/24"), ip_network("127.0.0.2/32"), ip_network("fe80::/10")]
        async with listening(allow) as (listener, port):
            assert await is_served(port, me="127.0.0.2")
            assert not await is_served(port, me="127.0.0.1")
            assert not await is_served(port, me="127.0.0.3")
            await until_alone(listener)
            assert await is_served(port, me="127.0.0.2")

    run(scenario())


def test_an_allow_list_holds_for_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")

    async def scenario() -> None:
        for allow, expected in (("::1/128", True), ("fe80::/10", False), ("127.0.0.0/8", False)):
            async with listening([ip_network(allow)], "::1") as (_, port):
                assert await is_served(port, "::1") is expected

    run(scenario())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.77", True),
        ("192.168.2.77", False),
        ("::ffff:192.168.1.77", True),
        ("::ffff:192.168.2.77", False),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", False),
        ("::1", False),
    ],
)
def test_an_address_is_compared_in_its_own_family_mapped_ones_as_ipv4(
    host: str, expected: bool
) -> None:
    allow = [ip_network("192.168.1.0/24"), ip_network("fe80::/10")]
    assert Access(allow).admits(host) is expected


def test_a_refused_client_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with listening([ip_network("10.0.0.0/8")]) as (_, port):
            for _ in range(3):
                assert not await is_served(port)
            assert not await is_served(port, me="127.0.0.2")

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())
    assert caplog.messages == [
        "127.0.0.1 may not connect: 'allow' does not name it",
        "127.0.0.2 may not connect: 'allow' does not name it",
    ]


# --- start and stop -------------------------------------------------------------------------


def test_start_tells_the_address_and_port_in_use() -> None:
    async def scenario() -> None:
        listener = Listener("127.0.0.1", 0, responder())
        host, port = await listener.start()
        assert host == "127.0.0.1"
        assert port > 0
        assert await is_served(port)
        listener.stop()
        await until_alone(listener)

    run(scenario())


def test_an_occupied_port_is_an_oserror_that_says_so() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            listener = Listener("127.0.0.1", other.getsockname()[1], responder())
            with pytest.raises(OSError, match="Address already in use") as problem:
                await listener.start()
            assert problem.value.errno == errno.EADDRINUSE
            listener.stop()

    run(scenario())


def test_stop_closes_the_socket_and_the_connections() -> None:
    async def scenario() -> None:
        async with listening() as (listener, port), Client.to(port) as one, Client.to(port) as two:
            assert await one.ask(READ_0) == await two.ask(READ_0) == GOT_0
            listener.stop()
            assert await one.rest() == await two.rest() == b""
            await until_alone(listener)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    run(scenario())


def test_stop_closes_the_connection_of_a_client_that_never_reads() -> None:
    async def scenario() -> None:
        async with stubborn_client() as (listener, _):
            listener.stop()
            await eventually(until_alone(listener))

    run(scenario())


def test_after_stop_the_port_is_free_at_once() -> None:
    async def scenario() -> None:
        async with listening() as (listener, port), Client.to(port) as client:
            assert await client.ask(READ_0) == GOT_0
            listener.stop()
            again = Listener("127.0.0.1", port, responder())
            assert await again.start() == ("127.0.0.1", port)
            assert await is_served(port)
            again.stop()
            await until_alone(again)

    run(scenario())


def test_a_listener_that_never_started_stops() -> None:
    async def scenario() -> None:
        Listener("127.0.0.1", 0, responder()).stop()

    run(scenario())


# --- pymodbus' own client -------------------------------------------------------------------


def test_pymodbus_reads_values_and_sees_exception_codes() -> None:
    async def scenario() -> None:
        async with listening() as (_, port):
            client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=PATIENCE_S, retries=0)
            assert await client.connect()
            try:
                holding = await client.read_holding_registers(0, count=5, device_id=1)
                assert holding.registers == [0x1234, 1, 0xE240, 0x4366, 0x8000]
                power = client.convert_from_registers(
                    holding.registers[1:3], client.DATATYPE.UINT32
                )
                assert power == 123456
                volts = await client.read_input_registers(3, count=2, device_id=1)
                shown = client.convert_from_registers(volts.registers, client.DATATYPE.FLOAT32)
                assert shown == 230.5
                for answer, code in (
                    (await client.write_register(0, 1, device_id=1), 1),
                    (await client.read_coils(0, count=1, device_id=1), 1),
                    (await client.read_holding_registers(5, count=1, device_id=1), 2),
                    (await client.read_holding_registers(1, count=2, device_id=2), 0x0B),
                    (await client.read_holding_registers(0, count=1, device_id=99), 0x0B),
                ):
                    assert answer.isError()
                    assert answer.exception_code == code
            finally:
                client.close()

    run(scenario())
