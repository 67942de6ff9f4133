"""TCP ports for adapters that dial in, over real sockets: one is heard, and may come again."""

import asyncio
import logging
import resource
import socket
from contextlib import suppress

import pytest

from gateway.simulator.meters import Push
from tests.broker import free_port
from tests.sources.ear import hearing, run, simulated, source

pytestmark = pytest.mark.usefixtures("short_pauses")


async def dial(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Connect from `host`, one of this machine's own, as soon as the port is there."""
    while True:
        adapter = socket.socket()
        adapter.setblocking(False)
        adapter.bind((host, 0))
        try:
            await asyncio.get_running_loop().sock_connect(adapter, ("127.0.0.1", port))
        except ConnectionRefusedError:
            adapter.close()
            await asyncio.sleep(0.01)
        else:
            return adapter


async def send(adapter: socket.socket, *pushes: Push) -> None:
    octets = b"".join(push.telegram for push in pushes)
    await asyncio.get_running_loop().sock_sendall(adapter, octets)


async def is_closed(adapter: socket.socket) -> bool:
    """Wait for the other end to close; tell whether nothing else came from it."""
    try:
        return await asyncio.get_running_loop().sock_recv(adapter, 100) == b""
    except ConnectionResetError:  # it had not read all
        return True


def test_an_adapter_dials_in_and_may_come_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    meter, port = simulated(), free_port()

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            for number in range(1, 4):
                with await dial(port) as adapter:
                    await send(adapter, meter.push())
                    await ear.until(lambda ear, number=number: len(ear.counters) == number)
        assert ear.said == [f"TCP port 127.0.0.1:{port} for an adapter that dials in is open"]

    run(scenario())
    assert caplog.messages == [
        f"127.0.0.1 has dialled in on 127.0.0.1:{port}",
        "127.0.0.1 has closed the connection; 127.0.0.1 may dial in again",
    ]


def test_a_port_alone_listens_for_this_machine_only() -> None:
    port = free_port()

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://{port}")) as ear:
            with await dial(port) as adapter:
                await send(adapter, simulated().push())
                await ear.until(lambda ear: ear.counters)
        assert ear.said == [f"TCP port 127.0.0.1:{port} for an adapter that dials in is open"]

    run(scenario())


def test_a_new_connection_of_the_adapter_replaces_the_dead_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    meter, port = simulated(), free_port()

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            with await dial(port) as dead:
                first = meter.push()
                await send(dead, first)
                await ear.until(lambda ear: ear.counters)
                with await dial(port) as adapter:
                    assert await is_closed(dead)
                    second = meter.push()
                    await send(adapter, second)
                    await ear.until(lambda ear: len(ear.counters) == 2)
            assert ear.counters == [first.invocation_counter, second.invocation_counter]

    run(scenario())
    assert (
        f"127.0.0.1 dials in on 127.0.0.1:{port} again: its older connection is closed"
        in caplog.messages
    )


def test_halves_of_a_telegram_from_two_connections_are_not_joined() -> None:
    meter, port = simulated(), free_port()
    halves, whole = meter.push(), meter.push()
    cut = len(halves.telegram) // 2

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            with await dial(port) as dead:
                await loop.sock_sendall(dead, halves.telegram[:cut])
                await ear.until(lambda ear: len(ear.octets) == cut)
                with await dial(port) as adapter:
                    await loop.sock_sendall(adapter, halves.telegram[cut:] + whole.telegram)
                    await ear.until(lambda ear: ear.counters)
        assert ear.counters == [whole.invocation_counter]

    run(scenario())


def test_another_adapter_is_refused_until_the_first_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    meter, port = simulated(), free_port()

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            with await dial(port) as first:
                await send(first, meter.push())
                await ear.until(lambda ear: ear.counters)
                with await dial(port, "127.0.0.2") as other:
                    assert await is_closed(other)
                await send(first, meter.push())
                await ear.until(lambda ear: len(ear.counters) == 2)
            await ear.until(lambda _: any("has closed" in text for text in caplog.messages))
            with await dial(port, "127.0.0.2") as other:
                await send(other, meter.push())
                await ear.until(lambda ear: len(ear.counters) == 3)

    run(scenario())
    assert (
        f"127.0.0.2 dials in on 127.0.0.1:{port}, refused: 127.0.0.1 is heard; ?allow=127.0.0.1 "
        "or ?allow=127.0.0.2 says which one is the meter's adapter"
    ) in caplog.messages


def test_only_those_that_are_allowed_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()

    async def scenario() -> None:
        allow = "127.0.0.7,127.0.0.8/30"
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}?allow={allow}")) as ear:
            with await dial(port) as stranger:
                assert await is_closed(stranger)
            with await dial(port, "127.0.0.9") as adapter:
                await send(adapter, simulated().push())
                await ear.until(lambda ear: ear.counters)

    run(scenario())
    text = f"127.0.0.1 dials in on 127.0.0.1:{port}, refused: 'allow' does not name it"
    assert text in caplog.messages


def test_a_silent_adapter_is_let_go_and_may_come_again(caplog: pytest.LogCaptureFixture) -> None:
    meter, port = simulated(), free_port()

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}?silence=300ms")) as ear:
            with await dial(port) as dead:
                assert await is_closed(dead)
            while not ear.counters:  # a slow machine may be silent for too long
                with await dial(port) as adapter, suppress(OSError):
                    await send(adapter, meter.push())
                    await is_closed(adapter)

    run(scenario())
    assert (
        "no byte from 127.0.0.1 for 0.3 s: the connection is closed, it may be dead; "
        "127.0.0.1 may dial in again"
    ) in caplog.messages


def test_a_port_that_is_taken_is_said_and_opened_later() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            opening = hearing(source(f"tcp-listen://127.0.0.1:{port}"))
            ear = await opening.__aenter__()
            await ear.until_said(f"127.0.0.1:{port} is in use by another program: ss -ltnp")
        with await dial(port) as adapter:
            await send(adapter, simulated().push())
            await ear.until(lambda ear: ear.counters)
        await opening.__aexit__(None, None, None)

    run(scenario())


def test_a_host_that_is_not_this_machine_is_said() -> None:
    async def scenario() -> None:
        async with hearing(source("tcp-listen://192.0.2.1:2400")) as ear:
            await ear.until_said(
                "192.0.2.1 is no address of this machine now: hostname -I lists them"
            )

    run(scenario())


def test_adapters_that_dial_in_and_out_again_are_not_kept() -> None:
    """A meter behind one that dials in for each telegram, among many that send nothing."""
    meter, port = simulated(), free_port()

    async def scenario() -> None:
        tasks = asyncio.all_tasks()
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            for _ in range(200):
                (await dial(port)).close()
            with await dial(port) as adapter:
                await send(adapter, meter.push())
                await ear.until(lambda ear: ear.counters)
        assert asyncio.all_tasks() == tasks

    run(scenario())


def test_a_want_of_file_descriptors_is_said_and_passes() -> None:
    port = free_port()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            await ear.until_said("is open")
            adapter = socket.socket()
            adapter.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (adapter.fileno(), limits[1]))
            try:
                with adapter:
                    await asyncio.get_running_loop().sock_connect(adapter, ("127.0.0.1", port))
                    await ear.until_said(f"nobody can dial in on 127.0.0.1:{port}: Too many open")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            with await dial(port) as adapter:
                await send(adapter, simulated().push())
                await ear.until(lambda ear: ear.counters)

    run(scenario())


def test_a_want_of_file_descriptors_costs_nobody_his_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    meter, port = simulated(), free_port()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            with await dial(port) as adapter, socket.socket() as other:
                await send(adapter, meter.push())
                await ear.until(lambda ear: len(ear.counters) == 1)
                other.setblocking(False)
                resource.setrlimit(resource.RLIMIT_NOFILE, (other.fileno(), limits[1]))
                try:
                    await asyncio.get_running_loop().sock_connect(other, ("127.0.0.1", port))
                    said = f"nobody can dial in on 127.0.0.1:{port}: Too many open files"
                    heard = f"{said}; 127.0.0.1 is heard"
                    await ear.until(lambda _: heard in caplog.messages)
                    await send(adapter, meter.push())
                    await ear.until(lambda ear: len(ear.counters) == 2)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    run(scenario())


def test_stopping_closes_port_and_connection() -> None:
    port = free_port()

    async def scenario() -> None:
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            adapter = await dial(port)
            await send(adapter, simulated().push())
            await ear.until(lambda ear: ear.counters)
        with adapter:
            assert await is_closed(adapter)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()

    run(scenario())


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_it_stops_whatever_is_going_on(turns: int) -> None:
    port = free_port()

    async def scenario() -> None:
        adapters = []
        async with hearing(source(f"tcp-listen://127.0.0.1:{port}")) as ear:
            await ear.until_said("is open")
            for _ in range(4):
                adapters.append(socket.socket())
                adapters[-1].setblocking(False)
                await asyncio.get_running_loop().sock_connect(adapters[-1], ("127.0.0.1", port))
            for _ in range(turns):
                await asyncio.sleep(0)
        for adapter in adapters:
            with adapter:
                assert await is_closed(adapter)

    run(scenario())


def test_a_defect_behind_a_source_is_not_swallowed() -> None:
    port = free_port()

    async def scenario() -> None:
        def deliver(chunk: bytes, _damaged: object = ()) -> None:
            raise LookupError(chunk)

        listening = source(f"tcp-listen://127.0.0.1:{port}")
        running = asyncio.create_task(listening.run(deliver, lambda _="": None))
        with await dial(port) as adapter:
            await asyncio.get_running_loop().sock_sendall(adapter, b"x")
            with pytest.raises(LookupError):
                await running

    run(scenario())
