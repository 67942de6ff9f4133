"""TCP servers as sources, over real sockets: they come and go, fall silent, break off, flood."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from gateway.sources import tcp
from gateway.telegram import Decoder, Telegram
from tests.broker import free_port
from tests.sources.ear import KEY, PATIENCE_S, Ear, hearing, run, simulated, source

EVERY_BYTE = bytes(range(256)) * 40

pytestmark = pytest.mark.usefixtures("short_pauses")


class Server:
    """A server of one port; connections come out of it as they are made."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._listening = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._listening.setblocking(False)

    def source(self, options: str = "") -> str:
        return f"tcp://127.0.0.1:{self.port}{options}"

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        connection.setblocking(False)
        return connection

    def close(self) -> None:
        self._listening.close()


async def send(connection: socket.socket, octets: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, octets)


async def is_closed(connection: socket.socket) -> bool:
    """Wait for the other end to close; tell whether nothing else came from it."""
    return await asyncio.get_running_loop().sock_recv(connection, 100) == b""


def timer_of(port: int) -> str:
    """Which timer runs for the connection whose own port that is."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()]
    (timer,) = [row[5] for row in rows if row[1].endswith(f":{port:04X}")]
    return timer.partition(":")[0]


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_bytes_arrive_unchanged_and_in_order_however_they_are_cut(size: int) -> None:
    octets = EVERY_BYTE[: 40 * size]

    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            with await server.accept() as connection:
                for start in range(0, len(octets), size):
                    await send(connection, octets[start : start + size])
                await ear.until(lambda ear: len(ear.octets) >= len(octets))
        server.close()
        assert ear.octets == octets

    run(scenario())


def test_telegrams_come_through_and_nothing_is_ever_sent() -> None:
    meter = simulated()

    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            connection = await server.accept()
            pushes = [meter.push() for _ in range(3)]
            for push in pushes:
                await send(connection, push.telegram)
            await ear.until(lambda ear: len(ear.counters) == 3)
            assert ear.counters == [push.invocation_counter for push in pushes]
            assert ear.said == [f"TCP server 127.0.0.1:{server.port} is open"]
        with connection:
            assert await is_closed(connection)
        server.close()

    run(scenario())


def test_a_server_that_comes_later_is_connected() -> None:
    async def scenario() -> None:
        port = free_port()
        async with hearing(source(f"tcp://127.0.0.1:{port}")) as ear:
            await ear.until_said(f"127.0.0.1:{port} refuses: nothing listens there")
            server = Server(port)
            with await server.accept() as connection:
                await send(connection, simulated().push().telegram)
                await ear.until(lambda ear: ear.counters)
            server.close()

    run(scenario())


def test_a_server_that_closes_is_connected_again() -> None:
    meter = simulated()

    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            for number in range(1, 4):
                with await server.accept() as connection:
                    await send(connection, meter.push().telegram)
                    await ear.until(lambda ear, number=number: len(ear.counters) == number)
        assert ear.said[1] == f"127.0.0.1:{server.port} has closed the connection; trying again"
        server.close()

    run(scenario())


def test_a_connection_that_is_reset_is_made_again() -> None:
    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            connection = await server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            await ear.until_said("Connection reset by peer; trying again")
            (await server.accept()).close()
        server.close()

    run(scenario())


def test_a_silent_connection_is_closed_and_made_anew() -> None:
    meter = simulated()

    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source("?silence=300ms"))) as ear:
            dead = await server.accept()
            with dead:
                assert await is_closed(dead)
            while not ear.counters:  # a slow machine may be silent for too long
                with await server.accept() as connection, suppress(OSError):
                    await send(connection, meter.push().telegram)
                    await is_closed(connection)
        assert (
            f"no byte from 127.0.0.1:{server.port} for 0.3 s: the connection is closed, "
            "it may be dead; trying again"
        ) in ear.said
        server.close()

    run(scenario())


def test_a_meter_that_stays_silent_is_said_once() -> None:
    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source("?silence=20ms"))) as ear:
            for _ in range(6):
                (await server.accept()).close()
            held = [await server.accept() for _ in range(6)]
        assert len(ear.said) == len(set(ear.said)) + 2  # "is open", after either cause
        for connection in held:
            connection.close()
        server.close()

    run(scenario())


def test_the_system_watches_an_idle_connection() -> None:
    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            with await server.accept() as connection:
                await send(connection, b"x")
                await ear.until(lambda ear: ear.octets)
                assert timer_of(connection.getpeername()[1]) == "02", "keepalive, proc(5)"
        server.close()

    run(scenario())


def test_halves_of_a_telegram_from_two_connections_are_not_joined() -> None:
    meter = simulated()
    halves, whole = meter.push(), meter.push()
    cut = len(halves.telegram) // 2
    # One decoder that is told nothing would join them.
    decoder = Decoder(KEY)
    decoder.feed(halves.telegram[:cut], 0.0)
    assert any(isinstance(i, Telegram) for i in decoder.feed(halves.telegram[cut:], 0.1))

    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            with await server.accept() as connection:
                await send(connection, halves.telegram[:cut])
                await ear.until(lambda ear: len(ear.octets) == cut)
            with await server.accept() as connection:
                await send(connection, halves.telegram[cut:] + whole.telegram)
                await ear.until(lambda ear: ear.counters)
        assert ear.counters == [whole.invocation_counter]
        assert ear.faults
        server.close()

    run(scenario())


@pytest.mark.parametrize("model", ["kaifa-ma309m", "lg-e450-gbt", "honeywell"])
def test_wherever_a_connection_breaks_the_next_telegram_is_read(model: str) -> None:
    meter = simulated(model)
    broken = meter.push().telegram

    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())) as ear:
            expected = []
            for cut in range(1, len(broken), len(broken) // 10):
                push = meter.push()
                with await server.accept() as connection:
                    await send(connection, push.telegram + broken[:cut])
                    expected.append(push.invocation_counter)
                    size = len(ear.octets) + len(push.telegram) + cut
                    await ear.until(lambda ear, size=size: len(ear.octets) == size)
            await ear.until(lambda ear: ear.counters == expected)
        server.close()

    run(scenario())


def test_a_flood_leaves_turns_to_others_and_is_not_kept() -> None:
    async def scenario() -> None:
        server = Server()
        ear, turns = Ear(), 0
        longest = 0

        async def other() -> None:
            nonlocal turns, longest
            while True:
                before = ear.chunks
                await asyncio.sleep(0)
                longest = max(longest, ear.chunks - before)
                turns += 1
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(other())
        async with hearing(source(server.source()), ear):
            with await server.accept() as connection:
                flood = asyncio.create_task(send(connection, bytes(64 * 1024 * 1024)))
                await ear.until(lambda ear: ear.chunks >= 50)
                assert not flood.done(), "the sender waits"
                flood.cancel()
        watching.cancel()
        server.close()
        assert longest <= 1
        assert turns > 50

    run(scenario())


def test_stopping_closes_the_connection() -> None:
    async def scenario() -> None:
        server = Server()
        async with hearing(source(server.source())):
            connection = await server.accept()
        with connection:
            assert await is_closed(connection)
        server.close()

    run(scenario())


def test_a_defect_behind_a_source_is_not_swallowed() -> None:
    async def scenario() -> None:
        server = Server()

        def deliver(chunk: bytes, _damaged: object = ()) -> None:
            raise LookupError(chunk)

        running = asyncio.create_task(source(server.source()).run(deliver, lambda _="": None))
        with await server.accept() as connection:
            await send(connection, b"x")
            with pytest.raises(LookupError):
                await running
        server.close()

    run(scenario())


def test_a_host_that_nobody_knows_is_said_and_shown_by_check() -> None:
    expected = "'meter.invalid' is not known here: check its spelling, or write its IP address"

    async def scenario() -> None:
        async with hearing(source("tcp://meter.invalid:2400")) as ear:
            await ear.until_said(f"{expected}; trying again")

    run(scenario())
    assert source("tcp://meter.invalid:2400").trouble() == expected
    assert source("tcp://127.0.0.1:2400").trouble() is None


def test_a_name_server_that_is_silent_for_many_keeps_no_other_source_waiting(
    silent_names: Sequence[str],
) -> None:
    server = Server()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            for name in silent_names:
                await stack.enter_async_context(hearing(source(f"tcp://{name}:2400")))
            await asyncio.sleep(0.01)  # they have asked
            await stack.enter_async_context(hearing(source(server.source())))
            (await server.accept()).close()
            (await server.accept()).close()
        server.close()

    run(scenario())


def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "CONNECT_S", 0.3)

    async def scenario() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(3)]
            for each in waiting:  # more than it keeps, so it answers no other
                each.setblocking(False)
                with suppress(BlockingIOError):
                    each.connect(("127.0.0.1", port))
            async with hearing(source(f"tcp://127.0.0.1:{port}")) as ear:
                await ear.until_said(f"127.0.0.1:{port} does not answer: is it switched on")
            for each in waiting:
                each.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
