"""A question of our own to a listener: any answer will do, and nobody takes it for a client."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.certificates import new_authority, new_server
from gateway.limits import Limits
from gateway.modbus.knock import knock, rtu_question, tcp_question, tls_question
from gateway.modbus.rtu_server import RtuOverTcpListener
from gateway.modbus.server import Listener
from gateway.modbus.tls import TlsListener
from gateway.modbus.udp import UdpListener
from gateway.tls_files import TlsFiles

from .served import GOT_0, PATIENCE_S, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "each_loop", "nothing_is_left_open")

ELSEWHERE = [ip_network("192.0.2.0/24")]  # where nobody is
Asked = tuple[Listener | UdpListener, bytes, socket.SocketKind]


def tcp(_: Path) -> Asked:
    listener = Listener("127.0.0.1", 0, responder(), ELSEWHERE)
    return listener, tcp_question(1), socket.SOCK_STREAM


def tcp_at_any_address(_: Path) -> Asked:
    listener = Listener("0.0.0.0", 0, responder(), ELSEWHERE)
    return listener, tcp_question(2), socket.SOCK_STREAM


def tcp_of_a_unit_that_is_not_served(_: Path) -> Asked:
    listener = Listener("127.0.0.1", 0, responder(), ELSEWHERE)
    return listener, tcp_question(77), socket.SOCK_STREAM


def rtu_over_tcp(_: Path) -> Asked:
    listener = RtuOverTcpListener("127.0.0.1", 0, responder(), ELSEWHERE)
    return listener, rtu_question(1), socket.SOCK_STREAM


def udp(_: Path) -> Asked:
    listener = UdpListener("127.0.0.1", 0, responder(), ELSEWHERE)
    return listener, tcp_question(1), socket.SOCK_DGRAM


def tls(folder: Path) -> Asked:
    authority = new_authority("test", datetime.now(UTC))
    server = new_server(authority, ["127.0.0.1"], datetime.now(UTC), 90)
    files = TlsFiles(*(folder / name for name in ("server.crt", "server.key", "ca.crt")))
    octets = (server.certificate, server.key, authority.certificate)
    for name, each in zip(("server.crt", "server.key", "ca.crt"), octets, strict=True):
        (folder / name).write_bytes(each)
        (folder / name).chmod(0o600)
    listener = TlsListener(
        "127.0.0.1", 0, responder(), ELSEWHERE, files=files, roles=["reader"]
    )  # fmt: skip
    return listener, tls_question(), socket.SOCK_STREAM


KINDS = [tcp, tcp_at_any_address, tcp_of_a_unit_that_is_not_served, rtu_over_tcp, udp, tls]


@pytest.mark.parametrize("kind", KINDS)
def test_an_own_question_is_answered_though_allow_does_not_name_us_and_is_nobodys(
    kind: Callable[[Path], Asked], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        listener, question, how = kind(tmp_path)
        address = await listener.start()
        assert listener.address == address
        for _ in range(3):
            assert await knock(address, question, PATIENCE_S, listener.own, how) is None
        while getattr(listener, "connections", None):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)
        assert listener.own == set()
        assert listener.clients.seen(0.0) == []
        assert listener.access.inside == 0
        assert listener.access.complaints.counts.total() == 0
        assert not getattr(listener, "failures", None), "of TLS handshakes"
        listener.stop()
        assert listener.address is None
        await asyncio.sleep(0)

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert [each for each in caplog.records if each.name.startswith("gateway")] == []


def test_somebody_else_at_our_address_is_refused_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        listener = Listener("127.0.0.1", 0, responder(), ELSEWHERE)
        address = await listener.start()
        reason = await knock(address, tcp_question(1), PATIENCE_S)
        assert reason is not None
        await knock(address, tcp_question(1), PATIENCE_S, listener.own)
        listener.stop()
        await asyncio.sleep(0)

    run(scenario())
    assert "127.0.0.1 may not connect" in caplog.text


def test_a_full_house_is_no_reason_for_silence() -> None:
    async def scenario() -> None:
        listener = Listener("127.0.0.1", 0, responder(), limits=Limits(connections=1))
        address = await listener.start()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(bytes.fromhex("0007 0000 0006 01") + READ_0)
        assert (await eventually(reader.readexactly(11))).endswith(GOT_0)
        assert listener.access.inside == 1
        assert await knock(address, tcp_question(1), PATIENCE_S, listener.own) is None
        assert listener.access.inside == 1
        writer.close()
        listener.stop()
        await asyncio.sleep(0)

    run(scenario())


@asynccontextmanager
async def door(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
) -> AsyncIterator[tuple[str, int]]:
    writers = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        answer(reader, writer)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()
        for writer in writers:
            writer.transport.abort()
    await asyncio.sleep(0)


def test_silence_has_its_words() -> None:
    async def scenario() -> None:
        async with door(lambda *_: None) as (host, port):
            said = await knock((host, port), tcp_question(1), 0.05)
            assert said == f"127.0.0.1:{port} does not answer within 0.05 s"

    run(scenario())


def test_a_connection_that_is_closed_has_its_words() -> None:
    async def scenario() -> None:
        async with door(lambda _, writer: writer.write_eof()) as (host, port):
            said = await knock((host, port), tcp_question(1), PATIENCE_S)
            assert said == f"127.0.0.1:{port} hangs up without an answer"

    run(scenario())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_an_empty_port_has_its_words(kind: socket.SocketKind) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, kind) as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            if kind is socket.SOCK_DGRAM:
                nobody.close()
            said = await knock(("127.0.0.1", port), tcp_question(1), PATIENCE_S, kind=kind)
            assert said == f"nobody listens on 127.0.0.1:{port}"

    run(scenario())


def test_an_address_that_left_this_machine_cannot_be_asked() -> None:
    async def scenario() -> None:
        with pytest.raises(OSError, match="assign requested address"):
            await knock(("192.0.2.1", 5020), tcp_question(1), PATIENCE_S)

    run(scenario())
