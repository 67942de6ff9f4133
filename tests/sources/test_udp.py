"""UDP ports as sources, over real sockets: one sender is heard at a time."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from gateway.sources.network import PIECE_BYTES, READ_BYTES, REST_S
from tests.broker import free_port
from tests.sources.ear import Ear, hearing, run, simulated, source

pytestmark = pytest.mark.usefixtures("short_pauses")


class Sender:
    """An adapter at an address of this machine's own."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._port = port

    def send(self, datagram: bytes) -> None:
        self._socket.sendto(datagram, ("127.0.0.1", self._port))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def port() -> int:
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def adapter(port: int) -> Iterator[Sender]:
    one = Sender("127.0.0.1", port)
    yield one
    one.close()


@pytest.fixture
def other(port: int) -> Iterator[Sender]:
    one = Sender("127.0.0.2", port)
    yield one
    one.close()


async def until_open(ear: Ear) -> None:
    await ear.until_said("is open")


def test_a_telegram_a_datagram_is_read(port: int, adapter: Sender) -> None:
    meter = simulated()

    async def scenario() -> None:
        async with hearing(source(f"udp://127.0.0.1:{port}")) as ear:
            await until_open(ear)
            pushes = [meter.push() for _ in range(3)]
            for push in pushes:
                adapter.send(push.telegram)
            await ear.until(lambda ear: len(ear.counters) == 3)
        assert ear.counters == [push.invocation_counter for push in pushes]
        assert ear.said == [f"UDP port 127.0.0.1:{port} is open"]

    run(scenario())


def test_a_telegram_in_several_datagrams_is_read(port: int, adapter: Sender) -> None:
    push = simulated().push()

    async def scenario() -> None:
        async with hearing(source(f"udp://{port}")) as ear:
            await until_open(ear)
            for start in range(0, len(push.telegram), 50):
                adapter.send(push.telegram[start : start + 50])
            await ear.until(lambda ear: ear.counters)
        assert ear.counters == [push.invocation_counter]

    run(scenario())


def test_a_second_sender_is_ignored_while_the_first_is_heard(
    port: int, adapter: Sender, other: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    meter = simulated()
    push, whole = meter.push(), meter.push()
    cut = len(push.telegram) // 2

    async def scenario() -> None:
        async with hearing(source(f"udp://127.0.0.1:{port}")) as ear:
            await until_open(ear)
            adapter.send(push.telegram[:cut])
            other.send(b"noise")
            other.send(b"")
            adapter.send(push.telegram[cut:])
            adapter.send(whole.telegram)
            await ear.until(lambda ear: len(ear.counters) == 2)
        assert ear.octets == push.telegram + whole.telegram

    run(scenario())
    assert caplog.messages == [
        f"127.0.0.1 sends to UDP port 127.0.0.1:{port}",
        f"127.0.0.2 sends to UDP port 127.0.0.1:{port}, ignored: 127.0.0.1 is heard; "
        "?allow=127.0.0.1 or ?allow=127.0.0.2 says which one is the meter's adapter",
    ]


def test_another_sender_is_heard_when_the_first_is_silent_and_nothing_is_joined(
    port: int, adapter: Sender, other: Sender
) -> None:
    meter = simulated()
    halves, whole = meter.push(), meter.push()
    cut = len(halves.telegram) // 2

    async def scenario() -> None:
        async with hearing(source(f"udp://127.0.0.1:{port}?silence=200ms")) as ear:
            await until_open(ear)
            adapter.send(halves.telegram[:cut])
            await ear.until(lambda ear: ear.octets)
            while len(ear.octets) == cut:
                other.send(halves.telegram[cut:])
                await asyncio.sleep(0.02)
            other.send(whole.telegram)
            await ear.until(lambda ear: whole.invocation_counter in ear.counters)
        assert ear.counters == [whole.invocation_counter]
        assert ear.begun == 2

    run(scenario())


def test_only_those_that_are_allowed_are_heard(
    port: int, adapter: Sender, other: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    push = simulated().push()

    async def scenario() -> None:
        async with hearing(source(f"udp://127.0.0.1:{port}?allow=127.0.0.2")) as ear:
            await until_open(ear)
            adapter.send(b"noise")
            other.send(push.telegram)
            await ear.until(lambda ear: ear.counters)
        assert ear.octets == push.telegram

    run(scenario())
    text = f"127.0.0.1 sends to UDP port 127.0.0.1:{port}, ignored: 'allow' does not name it"
    assert caplog.messages.count(text) == 1


def test_datagrams_that_are_too_long_are_ignored_and_said(
    port: int, adapter: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    push = simulated().push()

    async def scenario() -> None:
        async with hearing(source(f"udp://127.0.0.1:{port}")) as ear:
            await until_open(ear)
            for size in (2049, 60000):
                adapter.send(bytes(size))
            adapter.send(push.telegram)
            await ear.until(lambda ear: ear.counters)
        assert ear.octets == push.telegram

    run(scenario())
    assert sum("more than 2048 bytes" in text for text in caplog.messages) == 1


def test_a_flood_leaves_turns_to_others(port: int, adapter: Sender) -> None:
    async def scenario() -> None:
        turns = 0
        async with hearing(source(f"udp://127.0.0.1:{port}")) as ear:
            await until_open(ear)
            while ear.chunks < 100:
                for _ in range(50):
                    adapter.send(bytes(2048))
                before = ear.chunks
                await asyncio.sleep(0)
                assert ear.chunks - before <= 1
                turns += 1
                await asyncio.sleep(0.001)
        assert turns > 20

    run(scenario())


@pytest.mark.parametrize("allow", ["", "?allow=127.0.0.1"])
@pytest.mark.parametrize("datagram", [b"", b"\x00"])
def test_a_flood_of_datagrams_without_content_is_slowed_down_as_any_other(
    port: int, adapter: Sender, other: Sender, allow: str, datagram: bytes
) -> None:
    push = simulated().push()

    async def scenario() -> None:
        async with hearing(source(f"udp://127.0.0.1:{port}{allow}")) as ear:
            await until_open(ear)
            began = time.monotonic()
            # As many as a socket keeps with its usual buffer.
            for _ in range(10 * READ_BYTES // PIECE_BYTES):
                (other if allow or not datagram else adapter).send(datagram)
            adapter.send(push.telegram)
            await ear.until(lambda ear: ear.counters)
        # Each rest lasts at least so long: a slow machine only takes longer.
        assert time.monotonic() - began >= 9 * REST_S

    run(scenario())


def test_a_port_that_is_taken_is_said_and_opened_later(port: int, adapter: Sender) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", port))
            opening = hearing(source(f"udp://127.0.0.1:{port}"))
            ear = await opening.__aenter__()
            await ear.until_said(f"127.0.0.1:{port} is in use by another program: ss -lunp")
        await until_open(ear)
        adapter.send(simulated().push().telegram)
        await ear.until(lambda ear: ear.counters)
        await opening.__aexit__(None, None, None)

    run(scenario())
