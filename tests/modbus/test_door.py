"""Which of a host's addresses are listened on."""

import asyncio
import logging
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.modbus import server
from gateway.modbus.door import Place, doors
from gateway.modbus.server import Listener

from .served import GOT_0, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "nothing_is_left_open")

HERE = Place(socket.AF_INET, ("127.0.0.1", 0))
ALSO_HERE = Place(socket.AF_INET, ("127.0.0.2", 0))
ABSENT = Place(socket.AF_INET, ("198.51.100.7", 0))  # TEST-NET-2: nobody's
REQUEST = bytes.fromhex("0001 0000 0006 01") + READ_0
REPLY = bytes.fromhex("0001 0000 0005 01") + GOT_0


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway")


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name house.example stand for an address that is here and one that is not."""
    found = [(place.family, socket.SOCK_STREAM, 6, "", place.address) for place in (ABSENT, HERE)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


async def is_served(host: str, port: int) -> bool:
    client = socket.socket()
    client.connect((host, port))
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(REQUEST)
    reply = await eventually(reader.readexactly(len(REPLY)))
    writer.close()
    await writer.wait_closed()
    return reply == REPLY


async def stopped(listener: Listener) -> None:
    listener.stop()
    while listener.connections:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.002)


def test_a_name_with_one_absent_address_is_served_at_the_others(
    two_addresses: None, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        listener = Listener("house.example", 0, responder())
        host, port = await listener.start()
        assert host == "127.0.0.1"
        assert await is_served(host, port)
        await stopped(listener)

    run(scenario())
    assert caplog.messages == [
        "198.51.100.7 (house.example) is no address of this machine now; trying again"
    ]


def ip(verb: str) -> None:
    command = ["ip", "address", verb, f"{ABSENT.host}/32", "dev", "lo"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def _address_may_come() -> Iterator[None]:
    try:
        ip("add")
        ip("del")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may give this machine another address")
    yield
    with suppress(subprocess.CalledProcessError):
        ip("del")


@pytest.mark.usefixtures("_address_may_come")
def test_the_absent_address_of_a_name_is_served_when_it_comes(
    two_addresses: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "PLACE_RETRY_S", 0.05)

    async def scenario() -> None:
        listener = Listener("house.example", 0, responder())
        await listener.start()
        ip("add")
        while len(listener._doors) < 2:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        assert await is_served(*listener._doors[1].getsockname())
        await stopped(listener)

    run(scenario())
    assert caplog.messages == [
        "198.51.100.7 (house.example) is no address of this machine now; trying again",
        "listening on 198.51.100.7 (house.example) now",
    ]


def test_without_any_address_it_is_said_why() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        doors([ABSENT])


def test_where_one_address_is_taken_none_is_kept() -> None:
    with socket.socket() as other:
        other.bind(HERE.address)
        other.listen()
        taken = Place(socket.AF_INET, other.getsockname())
        with pytest.raises(OSError, match="in use"):
            doors([ALSO_HERE, taken, ABSENT])
