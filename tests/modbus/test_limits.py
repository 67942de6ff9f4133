"""The limits of a listener, each met by a client over a real socket, while a good one is served."""

import asyncio
import gc
import logging
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.limits import KIB, MIN_UNREAD_BYTES, Limits
from gateway.modbus import door
from gateway.modbus.access import Kind
from gateway.modbus.door import KERNEL_BUFFER_BYTES
from gateway.modbus.rtu import sealed
from gateway.modbus.rtu_server import MAX_NOISE_BYTES, RtuOverTcpListener
from gateway.modbus.server import READ_BYTES, REPLIES_TO_ONE_READ, Connection, Listener
from gateway.modbus.udp import UdpListener

from .served import GOT_0, PATIENCE_S, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "each_loop", "nothing_is_left_open")

REQUEST = struct.pack(">HHHB", 1, 0, 6, 1) + READ_0
REPLY = struct.pack(">HHHB", 1, 0, 5, 1) + GOT_0
ON_A_BUS = sealed(b"\x01" + READ_0), sealed(b"\x01" + GOT_0)
BIG = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 100, 125)
MOMENT_S = 0.05
NEVER_S = 3600.0


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway")


@asynccontextmanager
async def listening(
    limits: Limits, kind: type[Listener] = Listener, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Listener, int]]:
    listener = kind(host, 0, responder(), (), limits)
    _, port = await listener.start()
    try:
        yield listener, port
    finally:
        listener.stop()
        await until(lambda: not listener.connections)


async def until(is_so: object) -> None:
    while not is_so():  # type: ignore[operator]  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.002)


class Client:
    """Bytes out and in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int, me: str = "127.0.0.1") -> AsyncIterator["Client"]:
        client = cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(me, 0)))
        try:
            yield client
        finally:
            client.writer.close()
            with suppress(OSError):
                await client.writer.wait_closed()

    async def ask(self, framed: tuple[bytes, bytes] = (REQUEST, REPLY)) -> None:
        request, reply = framed
        self.writer.write(request)
        assert await eventually(self.reader.readexactly(len(reply))) == reply

    async def is_sent_away(self) -> bool:
        """Wait for the end of the connection."""
        try:
            return await eventually(self.reader.read()) == b""
        except ConnectionResetError:
            return True


# --- how many -------------------------------------------------------------------------------


def test_connections_beyond_an_addresss_own_are_refused_and_the_others_live(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        limits = Limits(connections_per_address=2)
        async with (
            listening(limits) as (listener, port),
            Client.to(port) as one,
            Client.to(port) as two,
        ):
            await one.ask()
            await two.ask()
            async with Client.to(port) as three, Client.to(port, "127.0.0.2") as other:
                assert await three.is_sent_away()
                await other.ask()
            await one.ask()
            two.writer.close()
            await until(lambda: len(listener.connections) == 1)
            async with Client.to(port) as four:
                await four.ask()

    run(scenario())
    assert caplog.messages == [
        "127.0.0.1 has 2 connections, 'connections_per_address' allows no more"
    ]


def test_connections_beyond_the_listeners_are_refused_and_the_others_live(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with (
            listening(Limits(connections=2)) as (listener, port),
            Client.to(port) as one,
            Client.to(port, "127.0.0.2") as two,
        ):
            await one.ask()
            await two.ask()
            async with Client.to(port, "127.0.0.3") as three:
                assert await three.is_sent_away()
            await two.ask()
            two.writer.close()
            await until(lambda: len(listener.connections) == 1)
            async with Client.to(port, "127.0.0.3") as three:
                await three.ask()

    run(scenario())
    assert caplog.messages == ["127.0.0.3 is refused: there are 2 'connections' already"]


# --- how long -------------------------------------------------------------------------------


def test_a_connection_that_asks_nothing_is_closed_and_one_that_asks_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with (
            listening(Limits(idle_s=1.0)) as (_, port),
            Client.to(port) as good,
            Client.to(port, "127.0.0.2") as idle,
        ):
            await idle.ask()
            gone = asyncio.create_task(idle.is_sent_away())
            while not gone.done():
                await good.ask()
                await asyncio.sleep(0.01)
            assert await gone
            await good.ask()

    run(scenario())
    assert caplog.messages == ["127.0.0.2 asked nothing for 1 s, closed"]


@pytest.mark.parametrize("pace", ["stops", "a byte at a time"])
def test_a_request_that_is_not_finished_in_time_ends_its_connection_and_no_other(
    pace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def drip(client: Client) -> None:
        """A long request, byte by byte, each before the client could count as silent."""
        with suppress(OSError):
            for octet in struct.pack(">HHHB", 1, 0, 254, 1) + bytes(253):
                client.writer.write(bytes([octet]))
                await client.writer.drain()
                await asyncio.sleep(0.02)

    async def scenario() -> None:
        async with (
            listening(Limits(request_s=0.5)) as (_, port),
            Client.to(port) as good,
            Client.to(port, "127.0.0.2") as slow,
        ):
            await slow.ask()
            dripping = None
            if pace == "stops":
                slow.writer.write(REQUEST[:5])
            else:
                dripping = asyncio.create_task(drip(slow))
            gone = asyncio.create_task(slow.is_sent_away())
            while not gone.done():
                await good.ask()
                await asyncio.sleep(0.01)
            assert await gone
            await good.ask()
            if dripping:
                dripping.cancel()

    run(scenario())
    assert caplog.messages == ["127.0.0.2 has not finished a request within 0.5 s, cut off"]


def test_a_converter_on_a_bus_may_bring_anything_at_any_pace() -> None:
    async def scenario() -> None:
        limits = Limits(request_s=MOMENT_S)
        async with (
            listening(limits, RtuOverTcpListener) as (listener, port),
            Client.to(port) as bus,
        ):
            for octet in b"\x01\x03\x00" * 5:
                bus.writer.write(bytes([octet]))
                await bus.writer.drain()
                await asyncio.sleep(MOMENT_S)
            assert len(listener.connections) == 1

    run(scenario())


NOISE = bytes.fromhex("14f0") * (MAX_NOISE_BYTES // 2)


def test_a_converter_that_brings_nothing_but_noise_is_closed_counted_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with (
            listening(Limits(), RtuOverTcpListener) as (listener, port),
            Client.to(port) as good,
            Client.to(port, "127.0.0.2") as noisy,
        ):
            gone = asyncio.create_task(noisy.is_sent_away())
            noisy.writer.write(NOISE + b"\x00")
            while not gone.done():
                await good.ask(ON_A_BUS)
            assert await gone
            assert listener.access.complaints.counts == {Kind.FOREIGN: 1}
            await good.ask(ON_A_BUS)

    run(scenario())
    assert caplog.messages == [
        "127.0.0.2 sent 16 KiB without one sound RTU frame, closed: are the converter's baud rate "
        "and parity those of its line?"
    ]


def test_a_converter_whose_line_is_noisy_is_served() -> None:
    async def scenario() -> None:
        async with listening(Limits(), RtuOverTcpListener) as (_, port), Client.to(port) as bus:
            for _ in range(5):
                bus.writer.write(NOISE[:-256])
                await bus.ask(ON_A_BUS)

    run(scenario())


def test_a_converter_that_brings_bytes_but_no_frame_asks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def drip(client: Client) -> None:
        with suppress(OSError):
            while True:
                client.writer.write(b"\x01")
                await client.writer.drain()
                await asyncio.sleep(MOMENT_S)

    async def scenario() -> None:
        async with (
            listening(Limits(idle_s=1.0), RtuOverTcpListener) as (_, port),
            Client.to(port) as bus,
        ):
            dripping = asyncio.create_task(drip(bus))
            assert await bus.is_sent_away()
            dripping.cancel()

    run(scenario())
    assert caplog.messages == ["127.0.0.1 asked nothing for 1 s, closed"]


# --- how much -------------------------------------------------------------------------------


class NeverReads:
    """A client that asks for as much as it can and fetches nothing."""

    def __init__(self, port: int, me: str = "127.0.0.2") -> None:
        self.socket = socket.socket()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, buffer, 8 * KIB)
        self.socket.bind((me, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.sent = 0

    def send(self) -> bool:
        """Send on; False when the connection is gone."""
        try:
            self.sent += self.socket.send(BIG * 500)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def test_a_client_that_never_reads_is_cut_off_and_costs_at_most_100_kib(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with listening(Limits(request_s=0.5)) as (listener, port), Client.to(port) as good:
            greedy = NeverReads(port)
            with greedy.socket:
                await until(lambda: len(listener.connections) == 2)
                (servers,) = (c for c in listener.connections if c.address == "127.0.0.2")
                most = 0
                while greedy.send() and servers in listener.connections:
                    await good.ask()
                    most = max(most, servers.unread_bytes)
                await until(lambda: servers not in listener.connections)
            await good.ask()
            assert Limits().unread_bytes >= most > 0
            # What the system keeps beside it for both directions; it counts each buffer twice.
            assert most + 2 * 2 * KERNEL_BUFFER_BYTES <= 100 * KIB

    run(scenario())
    assert caplog.messages == ["127.0.0.2 fetches no replies for 0.5 s, cut off"]


def test_who_fetches_nothing_of_a_few_replies_is_cut_off_and_who_fetches_some_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = Limits(idle_s=1e9, request_s=NEVER_S)

    async def scenario() -> None:
        async with listening(limits) as (listener, port):
            greedy = NeverReads(port)
            with greedy.socket:
                await until(lambda: listener.connections)
                (servers,) = listener.connections

                async def ask_until_replies_wait() -> None:
                    while not servers.unread_bytes:
                        with suppress(BlockingIOError):
                            greedy.socket.send(BIG)
                        await asyncio.sleep(0.002)

                async def fetch_all() -> None:
                    while servers.unread_bytes:
                        with suppress(BlockingIOError):
                            greedy.socket.recv(64 * KIB)
                        await asyncio.sleep(0.002)

                # The looks that follow are of other times than the clock's.
                now = time.monotonic()
                for hour in range(5):
                    await ask_until_replies_wait()
                    servers.look(now + 0.9 * NEVER_S * hour)
                    assert servers in listener.connections
                    assert not servers._is_full
                    await fetch_all()
                await ask_until_replies_wait()
                servers.look(now + 5 * NEVER_S)
                servers.look(now + 5.9 * NEVER_S)
                assert not caplog.messages
                servers.look(now + 6.1 * NEVER_S)
                await until(lambda: not listener.connections)

    run(scenario())
    assert caplog.messages == ["127.0.0.2 fetches no replies for 3600 s, cut off"]


def test_a_client_that_fetches_nothing_of_a_few_replies_is_cut_off_in_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with listening(Limits(request_s=0.5)) as (listener, port):
            greedy = NeverReads(port)
            with greedy.socket:
                await until(lambda: listener.connections)
                (servers,) = listener.connections
                while not servers.unread_bytes:
                    greedy.socket.send(BIG)
                    await asyncio.sleep(0.002)
                await until(lambda: not listener.connections)

    run(scenario())
    assert caplog.messages == ["127.0.0.2 fetches no replies for 0.5 s, cut off"]


@pytest.mark.parametrize("kind", [Listener, RtuOverTcpListener])
def test_after_a_full_buffer_it_is_the_next_ones_turn(kind: type[Listener]) -> None:
    reads: list[int] = []
    turn = 0

    class Counted(Connection):
        def buffer_updated(self, nbytes: int) -> None:
            reads.append(turn)
            super().buffer_updated(nbytes)

    async def scenario() -> None:
        nonlocal turn
        listener = kind("127.0.0.1", 0, responder())
        listener.greet = lambda: Counted(listener)  # type: ignore[method-assign]
        address = await listener.start()
        with socket.socket() as client:
            client.connect(address)
            client.setblocking(False)
            await until(lambda: listener.connections)
            sent = client.send(REQUEST * 1000)
            wanted = sent // len(listener.buffer)
            assert wanted > 10
            while len(reads) < wanted:
                await asyncio.sleep(0)
                turn += 1
        listener.stop()
        await until(lambda: not listener.connections)

    run(scenario())
    assert len(set(reads)) == len(reads), "more than one buffer in one turn"


def test_what_the_system_keeps_of_a_connection_is_bounded_too() -> None:
    async def scenario() -> None:
        async with listening(Limits()) as (listener, port), Client.to(port) as client:
            await client.ask()
            (connection,) = listener.connections
            servers = connection.get_extra_info("socket")
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                # Linux tells twice of what was asked for.
                assert servers.getsockopt(socket.SOL_SOCKET, buffer) == 2 * KERNEL_BUFFER_BYTES

    run(scenario())


def test_no_reply_waits_for_the_next_one() -> None:
    async def scenario() -> None:
        async with listening(Limits()) as (listener, port), Client.to(port) as client:
            await client.ask()
            (connection,) = listener.connections
            servers = connection.get_extra_info("socket")
            assert servers.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(scenario())


def test_a_connection_is_told_when_to_take_its_client_for_gone() -> None:
    async def scenario() -> None:
        async with listening(Limits()) as (listener, port), Client.to(port) as client:
            await client.ask()
            (connection,) = listener.connections
            servers = connection.get_extra_info("socket")
            assert servers.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            seconds = [
                servers.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            assert seconds == [60, 10, 3]
            assert servers.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000

    run(scenario())


# Four addresses of TEST-NET-1, nobody else's, for each process that tests.
HOST, GUEST = (f"192.0.2.{4 * (os.getpid() % 64) + number}" for number in (1, 2))
VISITOR = f"""
import socket, sys
client = socket.create_connection(({HOST!r}, int(sys.argv[1])))
client.sendall(bytes.fromhex({REQUEST.hex()!r}))
assert client.recv(300).hex() == {REPLY.hex()!r}
if sys.argv[2] == "owed replies":
    client.sendall(bytes.fromhex({BIG.hex()!r}) * 1000)
print("asked", flush=True)
sys.stdin.read()
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def cable() -> Iterator[str]:
    """A network of its own with GUEST in it, at the other end of a cable to HOST; its name."""
    name = f"ob{os.getpid()}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may lay a cable to a network of its own")
    try:
        ip("link", "add", f"{name}h", "type", "veth", "peer", f"{name}g", "netns", name)
        ip("address", "add", f"{HOST}/30", "dev", f"{name}h")
        ip("link", "set", f"{name}h", "up")
        ip("-n", name, "address", "add", f"{GUEST}/30", "dev", f"{name}g")
        ip("-n", name, "link", "set", f"{name}g", "up")
        yield name
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("link", "delete", f"{name}h")
        ip("netns", "delete", name)


@pytest.mark.parametrize("client", ["silent", "owed replies"])
def test_a_client_whose_cable_is_pulled_is_noticed_and_the_others_are_served(
    client: str, cable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As from then on, only sooner.
    monkeypatch.setattr(door, "KEEPALIVE_IDLE_S", 1)
    monkeypatch.setattr(door, "KEEPALIVE_INTERVAL_S", 1)
    monkeypatch.setattr(door, "UNACKNOWLEDGED_MS", 2000)

    async def scenario() -> None:
        async with (
            listening(Limits(request_s=NEVER_S), host="0.0.0.0") as (listener, port),
            Client.to(port) as good,
        ):
            visitor = await asyncio.create_subprocess_exec(
                "ip", "netns", "exec", cable, sys.executable, "-c", VISITOR, str(port), client,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert visitor.stdout
            assert await visitor.stdout.readline() == b"asked\n"
            assert {each.address for each in listener.connections} == {"127.0.0.1", GUEST}
            ip("-n", cable, "link", "set", f"{cable}g", "down")
            while len(listener.connections) > 1:
                await good.ask()
                await asyncio.sleep(0.05)
            assert visitor.returncode is None, "it did not hang up"
            (left,) = listener.connections
            assert left.address == "127.0.0.1"
            visitor.kill()
            await visitor.communicate()

    run(scenario())
    assert caplog.messages == []


def test_a_thousand_long_reads_in_one_go_are_all_answered_to_a_client_that_reads_late() -> None:
    async def scenario() -> None:
        async with listening(Limits()) as (listener, port), Client.to(port) as client:
            requests = [struct.pack(">H", n) + BIG[2:] for n in range(1000)]
            client.writer.transport.pause_reading()
            client.writer.write(b"".join(requests))
            await until(lambda: any(c.unread_bytes for c in listener.connections))
            client.writer.transport.resume_reading()
            for number in range(1000):
                reply = await eventually(client.reader.readexactly(9 + 250))
                assert reply[:2] == struct.pack(">H", number)

    run(scenario())


def test_one_read_never_makes_more_replies_than_are_kept_free_for_it() -> None:
    longest = 7 + 2 + 2 * 125
    assert (READ_BYTES // len(BIG) + 1) * longest <= REPLIES_TO_ONE_READ <= MIN_UNREAD_BYTES


# --- floods and leaks -----------------------------------------------------------------------


def test_ten_thousand_bad_requests_are_a_few_lines_that_count_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = 10_000

    async def scenario() -> None:
        async with listening(Limits()) as (listener, port):
            bad = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 0)
            unserved = [struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, n, 1) for n in range(5000, 15000)]
            async with Client.to(port) as client:
                for at in range(0, number, 100):
                    client.writer.write(bad * 100 + b"".join(unserved[at : at + 100]))
                    await eventually(client.reader.readexactly(200 * 9))
            (seen,) = listener.clients.seen(0.0)
            assert seen.requests == 2 * number
            assert seen.exceptions == {2: number, 3: number}

    run(scenario())
    assert 1 < len(caplog.messages) <= 12
    assert caplog.messages[0] == (
        "127.0.0.1 asks unit 1 for 5000, which no map serves (function 3, 1 register)"
    )
    assert "more left out in" in caplog.messages[-1]


def test_a_flood_of_connections_that_speak_no_modbus_is_a_few_lines_that_count_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = 500

    async def scenario() -> None:
        async with listening(Limits()) as (listener, port):
            for _ in range(number):
                async with Client.to(port) as client:
                    client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
                    assert await client.is_sent_away()
            assert listener.access.complaints.counts == {Kind.FOREIGN: number}

    run(scenario())
    first, rest = caplog.messages
    assert first == "127.0.0.1 does not speak Modbus TCP, closed"
    assert rest.startswith(f"{number - 1} more left out in ")


def test_datagrams_are_counted_to_their_client_and_a_flood_is_a_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        listener = UdpListener("127.0.0.1", 0, responder())
        address = await listener.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(address)
            loop = asyncio.get_running_loop()
            for _ in range(100):
                client.send(b"rubbish")
                client.send(REQUEST)
                assert await eventually(loop.sock_recv(client, 300)) == REPLY
        (seen,) = listener.clients.seen(0.0)
        assert (seen.address, seen.unit, seen.requests) == ("127.0.0.1", 1, 100)
        assert seen.connected_s is None
        listener.stop()
        await asyncio.sleep(0)

    run(scenario())
    first, rest = caplog.messages
    assert first == "127.0.0.1 sends datagrams that are no Modbus, ignored"
    assert rest.startswith("99 more left out in ")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ten_thousand_connects_and_disconnects_leave_no_task_descriptor_or_byte() -> None:
    dice = random.Random(1)
    warm_up, number = 2000, 10_000

    async def visit(port: int, sort: int) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", port))
            match sort:
                case 0:
                    client.send(REQUEST)
                    assert await loop.sock_recv(client, 300) == REPLY
                case 1:
                    client.send(REQUEST[: dice.randrange(1, 12)])
                case 2:
                    client.send(dice.randbytes(20))
                case 3:
                    linger = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    client.send(REQUEST * 20)

    async def left(listener: Listener) -> tuple[int, int]:
        await until(lambda: not listener.connections)
        gc.collect()
        return descriptors(), len(asyncio.all_tasks())

    async def scenario() -> None:
        async with listening(Limits()) as (listener, port):
            for each in range(warm_up):
                await visit(port, each % 4)
            before, bytes_before = await left(listener), traced_bytes()
            for each in range(warm_up, number):
                await visit(port, each % 4)
            assert await left(listener) == before
            grown = traced_bytes() - bytes_before
            assert grown < number - warm_up, "not even a byte of each"
            assert listener.access.enter("127.0.0.1")
            assert len(listener.clients.seen(0.0)) <= 2

    tracemalloc.start()
    try:
        asyncio.run(asyncio.wait_for(scenario(), 4 * PATIENCE_S))
    finally:
        tracemalloc.stop()


def traced_bytes() -> int:
    return tracemalloc.get_traced_memory()[0]


def test_listeners_that_come_and_go_leave_no_descriptor() -> None:
    async def scenario() -> None:
        for number in range(23):
            listener = Listener("127.0.0.1", 0, responder())
            await listener.start()
            listener.stop()
            await asyncio.sleep(0)
            if number == 2:
                before = descriptors()
        assert descriptors() == before

    run(scenario())


# --- descriptors ----------------------------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Leave this process a few descriptors more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_old_clients_live_new_ones_are_refused_and_it_recovers(
    few_descriptors: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        noise: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.append(context["message"]))
        async with listening(Limits()) as (listener, port), Client.to(port) as old:
            await old.ask()
            with ExitStack() as hoard:
                newcomers = [hoard.enter_context(socket.socket()) for _ in range(5)]
                for each in newcomers:
                    each.setblocking(False)
                with suppress(OSError):
                    while True:
                        hoard.callback(os.close, os.open(os.devnull, os.O_RDONLY))
                for each in newcomers:
                    with suppress(BlockingIOError):
                        each.connect(("127.0.0.1", port))
                for each in newcomers:
                    assert await eventually(loop.sock_recv(each, 1)) == b"", "sent away"
                await old.ask()
                assert len(listener.connections) == 1
            async with Client.to(port) as new:
                await new.ask()
            await old.ask()
        assert noise == []

    run(scenario())
    assert caplog.messages == [
        "no file descriptor is left for new clients: raise the limit (ulimit -n)"
    ]


def test_without_even_the_reserve_new_clients_wait_and_are_served_later(
    few_descriptors: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with listening(Limits()) as (listener, port), Client.to(port) as old:
            await old.ask()
            with socket.socket() as newcomer, ExitStack() as hoard:
                newcomer.setblocking(False)
                listener._doors[0]._release()
                with suppress(OSError):
                    while True:
                        hoard.callback(os.close, os.open(os.devnull, os.O_RDONLY))
                await loop.sock_connect(newcomer, ("127.0.0.1", port))
                await until(lambda: caplog.messages)
                await old.ask()
                hoard.close()
                await loop.sock_sendall(newcomer, REQUEST)
                assert await eventually(loop.sock_recv(newcomer, 300)) == REPLY
                await old.ask()

    run(scenario())
    assert set(caplog.messages) == {
        "no file descriptor is left for new clients: raise the limit (ulimit -n)"
    }
