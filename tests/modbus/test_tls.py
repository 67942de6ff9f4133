"""Modbus/TCP Security over real sockets: who is let in, who is not, and what that leaves behind."""

import asyncio
import base64
import logging
import os
import random
import resource
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pymodbus.client import AsyncModbusTlsClient

from gateway import certificates
from gateway.certificates import ROLE_OID, Issued, new_authority, new_client, new_server, role_of
from gateway.limits import Limits
from gateway.located import ConfigError
from gateway.modbus import server, tls
from gateway.modbus.door import KERNEL_BUFFER_BYTES
from gateway.modbus.server import READ_BYTES, Connection
from gateway.modbus.tls import TlsListener
from gateway.tls_files import TlsFiles

from .served import GOT_0, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "each_loop", "nothing_is_left_open")

NOW = datetime.now(UTC)
HOSTS = ["localhost", "127.0.0.1"]
OLD_TLS = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")


@dataclass
class Cabinet:
    """A folder with the files of a server and of its clients."""

    folder: Path
    authority: Issued

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(*(self.folder / name for name in ("server.crt", "server.key", "ca.crt")))

    def put(self, name: str, issued: Issued) -> None:
        (self.folder / f"{name}.crt").write_bytes(issued.certificate)
        key = self.folder / f"{name}.key"
        key.write_bytes(issued.key)
        key.chmod(0o600)

    def serve(self, authority: Issued) -> None:
        """Let the server have a certificate of that authority, and trust it."""
        self.authority = authority
        (self.folder / "ca.crt").write_bytes(authority.certificate)
        self.put("server", new_server(authority, HOSTS, NOW, 90))

    def client(
        self, issued: Issued | None, trusts: Issued | None = None, **settings: Any
    ) -> ssl.SSLContext:
        """What a client with that certificate, or none, connects with."""
        context = ssl.create_default_context(cadata=(trusts or self.authority).certificate.decode())
        for name, value in settings.items():
            setattr(context, name, value)
        if issued:
            self.put("shown", issued)
            context.load_cert_chain(self.folder / "shown.crt", self.folder / "shown.key")
        return context

    def reader(self, **settings: Any) -> ssl.SSLContext:
        """What a client is let in with."""
        return self.client(new_client(self.authority, "client", "reader", NOW, 90), **settings)


@pytest.fixture(scope="module")
def authority() -> Issued:
    return new_authority("test", NOW)


@pytest.fixture
def cabinet(tmp_path: Path, authority: Issued) -> Cabinet:
    made = Cabinet(tmp_path, authority)
    made.serve(authority)
    return made


@asynccontextmanager
async def listening(cabinet: Cabinet, **options: Any) -> AsyncIterator[tuple[TlsListener, int]]:
    """A TLS listener and its port; at the end it and its connections are closed."""
    options = {"files": cabinet.files, "roles": ["reader"]} | options
    listener = TlsListener("127.0.0.1", 0, responder(), **options)
    try:
        _, port = await listener.start()
        yield listener, port
    finally:
        listener.stop()
        await until(lambda: not listener.connections)


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what nobody tells of."""

    async def look() -> None:
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    await eventually(look())


def frame(pdu: bytes, transaction: int = 1, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


@asynccontextmanager
async def connected(
    port: int, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def asked(port: int, context: ssl.SSLContext) -> bytes:
    """One connection with one request; empty: the client got no reply."""
    try:
        async with connected(port, context) as (reader, writer):
            writer.write(frame(READ_0))
            reply = await reader.read(256)
            return reply[7:]
    except OSError:  # ssl.SSLError is one
        return b""


async def plainly(port: int, octets: bytes) -> bytes:
    """What comes back on a connection without TLS until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


# --- who is let in -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_with_a_known_role_is_served(cabinet: Cabinet, version: ssl.TLSVersion) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            context = cabinet.reader(minimum_version=version, maximum_version=version)
            assert await asked(port, context) == GOT_0
            assert not listener.failures

    run(scenario())


def test_pymodbus_tls_client_reads(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (_, port):
            client = AsyncModbusTlsClient("localhost", port=port, sslctx=cabinet.reader())
            assert await client.connect()
            for _ in range(3):
                reply = await client.read_holding_registers(0, count=1, device_id=1)
                assert reply.registers == [0x1234]
            client.close()

    run(scenario())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_openssl_s_client_reads(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        cabinet.reader()  # leaves its files
        async with listening(cabinet) as (_, port):
            process = await asyncio.create_subprocess_exec(
                *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet"),
                *("-verify_return_error", "-CAfile", cabinet.folder / "ca.crt"),
                *("-cert", cabinet.folder / "shown.crt", "-key", cabinet.folder / "shown.key"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdin
            assert process.stdout
            process.stdin.write(frame(READ_0, 7))
            reply = await eventually(process.stdout.readexactly(7 + len(GOT_0)))
            assert reply == frame(GOT_0, 7)
            process.stdin.close()
            process.terminate()
            await process.wait()

    run(scenario())


def test_a_thousand_requests_at_once_are_answered_in_order(cabinet: Cabinet) -> None:
    """Some in one record, some a record each, more than fits into one buffer."""

    async def scenario() -> None:
        async with (
            listening(cabinet) as (_, port),
            connected(port, cabinet.reader()) as (reader, writer),
        ):
            writer.write(b"".join(frame(READ_0, n) for n in range(700)))
            for n in range(700, 1000):
                writer.write(frame(READ_0, n))
            expected = b"".join(frame(GOT_0, n) for n in range(1000))
            assert await reader.readexactly(len(expected)) == expected

    run(scenario())


def test_small_records_are_heard_one_buffer_in_a_turn_too(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []  # bytes, by turn of the loop
    record = b"".join(frame(READ_0, n) for n in range(READ_BYTES // 12))
    assert len(record) < READ_BYTES
    replies = 60 * (READ_BYTES // 12) * len(frame(GOT_0))

    class Counted(Connection):
        def buffer_updated(self, nbytes: int) -> None:
            heard[-1] += nbytes
            super().buffer_updated(nbytes)

    async def scenario() -> None:
        monkeypatch.setattr(server, "Connection", Counted)
        async with (
            listening(cabinet) as (_, port),
            connected(port, cabinet.reader()) as (reader, writer),
        ):
            for _ in range(60):
                writer.write(record)
            reading = asyncio.ensure_future(reader.readexactly(replies))
            while not reading.done():
                heard.append(0)
                await asyncio.sleep(0)
            await reading

    run(scenario())
    # Some from what had come before, some from what has come since.
    assert max(heard) <= 2 * READ_BYTES


def test_a_handshake_byte_by_byte_is_one(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = cabinet.reader().wrap_bio(incoming, outgoing, server_hostname="localhost")

            async def through(step: Callable[[], Any]) -> Any:
                while True:
                    wants_more, result = False, None
                    try:
                        result = step()
                    except ssl.SSLWantReadError:
                        wants_more = True
                    for octet in outgoing.read():
                        writer.write(bytes((octet,)))
                        await writer.drain()
                        await asyncio.sleep(0)
                    if not wants_more:
                        return result
                    incoming.write(await reader.read(1))

            await through(tls.do_handshake)
            await through(lambda: tls.write(frame(READ_0)))
            assert await through(lambda: tls.read(256)) == frame(GOT_0)
            writer.close()
            await writer.wait_closed()

    run(scenario())


def test_who_closes_in_order_is_answered_in_order(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            async with connected(port, cabinet.reader()) as (_, writer):
                await until(lambda: listener.connections)
                writer.close()
                await writer.wait_closed()  # a missing good-bye would be an error here
            await until(lambda: not listener.connections)
            assert not listener.failures

    run(scenario())


@pytest.mark.parametrize("together", [1, 10, 1300], ids="{} in a record".format)
def test_a_client_that_says_no_more_still_gets_its_replies(cabinet: Cabinet, together: int) -> None:
    number = 2600
    requests = [frame(READ_0, n) for n in range(number)]
    replies = b"".join(frame(GOT_0, n) for n in range(number))

    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = cabinet.reader().wrap_bio(incoming, outgoing, server_hostname="localhost")
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await eventually(reader.read(4096)))
            for first in range(0, number, together):
                tls.write(b"".join(requests[first : first + together]))
            writer.write(outgoing.read())
            writer.write_eof()
            incoming.write(await eventually(reader.read()))
            got = b""
            while octets := tls.read(65536):  # none: the server said good-bye
                got += octets
            assert got == replies
            writer.close()
            await writer.wait_closed()
            await until(lambda: not listener.connections)

    run(scenario())


def test_what_is_no_modbus_closes_the_connection_inside_tls_too(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            async with connected(port, cabinet.reader()) as (reader, writer):
                writer.write(frame(READ_0) + b"GET / HTTP/1.1\r\n\r\n")
                assert await reader.read() == frame(GOT_0)
            await until(lambda: not listener.connections)

    run(scenario())


def test_a_client_that_never_reads_is_heard_no_more(cabinet: Cabinet) -> None:
    """Neither replies nor requests pile up without bound; when it reads, all replies come."""

    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            reader, writer = await slow_to(port, cabinet.reader())
            writer.transport.pause_reading()
            sent, chunk = 0, 1000
            request = struct.pack(">BHH", 3, 100, 125)
            while not any(_hears_no_more(each) for each in listener.connections):
                writer.write(b"".join(frame(request, n) for n in range(chunk)))
                sent += chunk
                await asyncio.sleep(0)
                assert sent < 500_000, "it is heard for ever"
            [connection] = listener.connections
            unread = connection._transport.get_write_buffer_size()
            assert 0 < unread < listener.limits.unread_bytes + 1024
            servers = connection.get_extra_info("socket")
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                kept = servers.getsockopt(socket.SOL_SOCKET, buffer)
                assert kept == KERNEL_BUFFER_BYTES, "half of what a plain listener has, told twice"
            undecrypted = connection._transport._incoming.pending  # type: ignore[attr-defined]
            assert 0 < undecrypted <= 4096
            writer.transport.resume_reading()
            for n in range(sent):
                reply = await reader.readexactly(259)
                assert reply[:2] == (n % chunk).to_bytes(2, "big")
            writer.close()
            await writer.wait_closed()

    run(scenario())


async def slow_to(
    port: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection for which the system keeps little."""
    loop = asyncio.get_running_loop()
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await loop.sock_connect(plain, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=plain, ssl=context, server_hostname="localhost")


def _hears_no_more(connection: Any) -> bool:
    return connection._is_full  # type: ignore[no-any-return]


# --- who is not --------------------------------------------------------------------------------


def with_extension(authority: Issued, value: bytes) -> Issued:
    """A client's certificate whose role extension has any bytes in it."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "odd")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.UnrecognizedExtension(ROLE_OID, value), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Issued(certificates._pem(built), certificates._key_pem(key))


def signed_by_itself(purposes: tuple[str, ...], role: str = "") -> Issued:
    """A certificate that no authority has signed, for those purposes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "itself")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=90))
    )
    if purposes:
        usage = x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, each) for each in purposes])
        builder = builder.add_extension(usage, critical=False)
    if role:
        written = b"\x0c" + bytes([len(role)]) + role.encode()
        builder = builder.add_extension(x509.UnrecognizedExtension(ROLE_OID, written), False)
    built = builder.sign(key, hashes.SHA256())
    return Issued(certificates._pem(built), certificates._key_pem(key))


NO_ROLE = "has no role in its certificate"
STRANGER = new_authority("stranger", NOW)
LEAF = new_client(STRANGER, "leaf", "reader", NOW, 90)
REFUSED: dict[str, tuple[Callable[[Issued], Issued | None], str]] = {
    "no certificate": (lambda _: None, "shows no certificate"),
    "another role": (
        lambda ours: new_client(ours, "x", "operator", NOW, 9),
        "has the role 'operator', which 'roles' does not name",
    ),
    "a role that begins alike": (
        lambda ours: new_client(ours, "x", "readers", NOW, 9),
        "has the role 'readers', which 'roles' does not name",
    ),
    "a role that would break a log line": (
        lambda ours: with_extension(ours, b"\x0c\x04a\r\nb"),
        r"has the role 'a\r\nb', which 'roles' does not name",
    ),
    "a role that is no UTF8String": (lambda ours: with_extension(ours, b"\x13\x06reader"), NO_ROLE),
    "a bare role": (lambda ours: with_extension(ours, b"reader"), NO_ROLE),
    "an empty role": (lambda ours: with_extension(ours, b"\x0c\x00"), NO_ROLE),
    "a role of other bytes": (lambda ours: with_extension(ours, b"\x0c\x02\xff\xfe"), NO_ROLE),
    "bytes behind the role": (lambda ours: with_extension(ours, b"\x0c\x06reader!"), NO_ROLE),
    "a certificate of a stranger": (
        lambda _: new_client(STRANGER, "x", "reader", NOW, 9),
        "shows a certificate that is not good (unable to get local issuer certificate)",
    ),
    "one that signed itself": (
        lambda _: STRANGER,
        "shows a certificate that is not good (self?signed certificate)",
    ),
    "an expired certificate": (
        lambda ours: new_client(ours, "x", "reader", NOW - timedelta(days=9), 1),
        "shows a certificate that is not good (certificate has expired; is our clock right?)",
    ),
    "a certificate of tomorrow": (
        lambda ours: new_client(ours, "x", "reader", NOW + timedelta(days=9), 1),
        "shows a certificate that is not good (certificate is not yet valid; is our clock right?)",
    ),
    "a server's certificate": (
        lambda ours: new_server(ours, HOSTS, NOW, 9),
        "shows a certificate that is not good (* certificate purpose)",
    ),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("why", REFUSED)
def test_a_client_is_refused_and_the_reason_is_counted_and_said(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture, version: ssl.TLSVersion, why: str
) -> None:
    shown, reason = REFUSED[why]

    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            context = cabinet.client(
                shown(cabinet.authority), minimum_version=version, maximum_version=version
            )
            assert await asked(port, context) == b""
            await until(lambda: not listener.connections)
            [(counted, count)] = listener.failures.items()
            assert count == 1
            assert fnmatchcase(counted, reason)
            assert f"127.0.0.1 is refused at 127.0.0.1:{port}: it {counted}" in caplog.messages

    run(scenario())


def test_a_resumed_session_does_not_outlive_its_certificate(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=91)

    def ask(port: int, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        plain = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as client:
            assert client.session_reused is (session is not None)
            client.sendall(frame(READ_0))
            reply, session = client.recv(256)[7:], client.session
            with suppress(OSError):
                client.unwrap()  # of who does not say good-bye no session is kept
            return reply, session

    context = cabinet.reader(maximum_version=ssl.TLSVersion.TLSv1_2)

    async def scenario() -> None:
        async with listening(cabinet) as (_, port):
            reply, session = await asyncio.to_thread(ask, port, None)
            assert reply == GOT_0
            assert session
            reply, session = await asyncio.to_thread(ask, port, session)
            assert reply == GOT_0
            monkeypatch.setattr(tls, "datetime", Later)
            assert (await asyncio.to_thread(ask, port, session))[0] == b""

    run(scenario())
    assert any("certificate has expired; is our clock right?" in text for text in caplog.messages)


def test_a_refused_client_learns_why_though_it_has_asked_already(cabinet: Cabinet) -> None:
    """A connection closed over unread bytes would take the alert back."""

    async def scenario() -> None:
        async with listening(cabinet) as (_, port):
            for _ in range(20):
                async with connected(port, cabinet.client(None)) as (reader, writer):
                    writer.write(frame(READ_0))
                    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                        await reader.read()

    run(scenario())


@OLD_TLS
@pytest.mark.skipif(not ssl.HAS_TLSv1_1, reason="this OpenSSL does not know TLS 1.1")
def test_tls_1_1_is_refused(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            context = cabinet.reader(
                minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1
            )
            context.set_ciphers("ALL:@SECLEVEL=0")
            assert await asked(port, context) == b""
            await until(lambda: not listener.connections)
            assert listener.failures == {"offers no TLS as new as 1.2": 1}

    run(scenario())


@pytest.mark.parametrize("cipher", ["NULL-SHA256", "AECDH-AES128-SHA"])
def test_ciphers_that_hide_nothing_or_prove_nothing_are_refused(
    cabinet: Cabinet, cipher: str
) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            context = cabinet.reader(maximum_version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(f"{cipher}:@SECLEVEL=0")
            assert await asked(port, context) == b""
            await until(lambda: not listener.connections)
            assert listener.failures == {"offers no cipher that we take": 1}

    run(scenario())


@pytest.mark.parametrize(
    "octets",
    [frame(READ_0), frame(READ_0) * 100, b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" * 1000],
    ids=["Modbus TCP", "many requests", "HTTP", "zeros", "ones"],
)
def test_who_speaks_no_tls_gets_no_register(cabinet: Cabinet, octets: bytes) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            answer = await eventually(plainly(port, octets))
            assert GOT_0[1:] not in answer
            assert len(answer) <= 7, "no more than an alert"
            await until(lambda: not listener.connections)
            assert listener.failures == {"speaks no TLS": 1}

    run(scenario())


def test_a_client_that_does_not_trust_us_is_said_to(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            issued = new_client(cabinet.authority, "x", "reader", NOW, 9)
            context = cabinet.client(issued, trusts=STRANGER)

            def complain() -> None:  # asyncio's client hangs up without an alert
                with (
                    socket.create_connection(("127.0.0.1", port)) as plain,
                    pytest.raises(ssl.SSLCertVerificationError),
                    context.wrap_socket(plain, server_hostname="localhost"),
                ):
                    pass

            await asyncio.to_thread(complain)
            await until(lambda: not listener.connections)
            assert listener.failures == {"does not trust our certificate: give it our ca.crt": 1}

    run(scenario())


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02"])
def test_a_stalled_handshake_ends(cabinet: Cabinet, octets: bytes) -> None:
    async def scenario() -> None:
        async with listening(cabinet, limits=Limits(request_s=0.05)) as (listener, port):
            await eventually(plainly(port, octets))
            await until(lambda: not listener.connections)
            assert listener.failures == {"has not shaken hands within 0.05 s": 1}

    run(scenario())


def test_who_only_shakes_hands_counts_against_the_limit_of_connections(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        limits = Limits(connections_per_address=2)
        async with listening(cabinet, limits=limits) as (listener, port):
            stalled = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            await until(lambda: len(listener.connections) == 2)
            assert await plainly(port, b"") == b"", "the third is sent away at once"
            for _, writer in stalled:
                writer.close()
                await writer.wait_closed()
            await until(lambda: not listener.connections)
            assert await asked(port, cabinet.reader()) == GOT_0

    run(scenario())


def test_the_handshakes_time_does_not_end_a_connection_that_is_open(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with (
            listening(cabinet, limits=Limits(request_s=2.0)) as (listener, port),
            connected(port, cabinet.reader()) as (reader, writer),
        ):
            await eventually(plainly(port, b""))  # whose time runs out later than that of the other
            assert listener.failures == {"has not shaken hands within 2 s": 1}
            writer.write(frame(READ_0))
            assert await reader.readexactly(11) == frame(GOT_0)

    run(scenario())


def test_who_hangs_up_in_the_handshake_is_counted(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            await until(lambda: listener.failures)
            assert listener.failures == {"hangs up before the handshake is done": 1}
            assert not listener.connections

    run(scenario())


def test_allow_goes_before_the_handshake(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        async with listening(cabinet, allow=[ip_network("10.0.0.0/8")]) as (listener, port):
            assert await plainly(port, b"") == b""
            assert await asked(port, cabinet.reader()) == b""
            assert not listener.failures, "no handshake was begun"

    run(scenario())


def open_now() -> tuple[int, int]:
    """How many descriptors and tasks there are."""
    return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())


def test_failed_handshakes_leave_nothing_and_are_said_once(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            context = cabinet.client(None)

            async def fail(times: int) -> None:
                for _ in range(times):
                    assert await asked(port, context) == b""
                    await plainly(port, frame(READ_0))
                await until(lambda: not listener.connections)

            await fail(5)
            before = open_now()
            await fail(100)
            assert open_now() == before
            assert listener.failures == {"shows no certificate": 105, "speaks no TLS": 105}
            assert len([text for text in caplog.messages if "is refused" in text]) < 10

    run(scenario())


def test_no_bytes_in_a_handshake_break_anything(cabinet: Cabinet) -> None:
    """A real greeting with bytes changed, cut off or added: refused, and nothing is left."""

    def greeting() -> bytes:
        outgoing = ssl.MemoryBIO()
        tls = cabinet.reader().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    async def scenario() -> None:
        broken: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: broken.append(what))
        dice, hello = random.Random(1), greeting()
        limits = Limits(connections=300, connections_per_address=300, request_s=1.0)
        async with listening(cabinet, limits=limits) as (listener, port):
            for _ in range(2):
                sent = []
                for _ in range(300):
                    octets = bytearray(hello)
                    for _ in range(dice.randrange(1, 8)):
                        octets[dice.randrange(len(octets))] = dice.randrange(256)
                    cut = dice.choice((len(octets), dice.randrange(len(octets))))
                    sent.append(bytes(octets[:cut]) + dice.randbytes(dice.choice((0, 0, 50))))
                await asyncio.gather(*(plainly(port, octets) for octets in sent))
            await until(lambda: not listener.connections)
            assert sum(listener.failures.values()) == 600
            assert await asked(port, cabinet.reader()) == GOT_0
        assert broken == []

    run(scenario())


def test_a_record_that_was_changed_on_the_way_closes_the_connection(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with listening(cabinet) as (listener, port):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=cabinet.reader(), server_hostname="localhost"
            )
            await until(lambda: listener.connections)
            plain = writer.get_extra_info("socket")
            forged = b"\x17\x03\x03\x00\x20" + bytes(32)
            os.write(plain.fileno(), forged)
            with suppress(OSError):
                assert await reader.read() == b""
            await until(lambda: not listener.connections)
            assert any("breaks TLS, closed" in text for text in caplog.messages)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    run(scenario())


# --- files that change -------------------------------------------------------------------------


def fingerprint(issued: Issued) -> bytes:
    return x509.load_pem_x509_certificate(issued.certificate).fingerprint(hashes.SHA256())


async def shown_by(port: int, context: ssl.SSLContext) -> bytes:
    """The fingerprint of the certificate that the server shows."""
    async with connected(port, context) as (_, writer):
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).fingerprint(hashes.SHA256())


def highest_descriptor() -> int:
    return max(int(each.name) for each in Path("/proc/self/fd").iterdir())


def looks_of(listener: TlsListener) -> Callable[[], int]:
    """How often the listener has looked at its files from now on."""
    seen = [listener._watch]

    def looks() -> int:
        if listener._watch is not seen[-1]:
            seen.append(listener._watch)
        return len(seen) - 1

    return looks


def test_a_new_certificate_is_shown_without_a_restart_and_open_connections_go_on(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        caplog.set_level(logging.INFO)
        async with listening(cabinet, reload_s=0.01) as (_, port):
            context = cabinet.reader()
            old = await shown_by(port, context)
            renewed = new_server(cabinet.authority, HOSTS, NOW, 300)
            async with connected(port, context) as (reader, writer):
                cabinet.put("server", renewed)
                await until(lambda: any("certificates loaded" in m for m in caplog.messages))
                assert await shown_by(port, context) == fingerprint(renewed) != old
                writer.write(frame(READ_0))
                assert await reader.readexactly(11) == frame(GOT_0)

    run(scenario())


def test_another_authority_lets_its_own_in_and_the_others_go(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with listening(cabinet, reload_s=0.01) as (listener, port):
            old = cabinet.reader()
            async with connected(port, old) as (reader, _):
                await until(lambda: listener.connections)
                cabinet.serve(STRANGER)
                assert await eventually(reader.read()) == b"", "closed, and in order"
            assert await asked(port, cabinet.reader()) == GOT_0
            old.load_verify_locations(cadata=STRANGER.certificate.decode())
            assert await asked(port, old) == b""

    run(scenario())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("server.crt", b"rubbish", "server.crt is no certificate (PEM)"),
        ("server.crt", b"", "server.crt is no certificate (PEM)"),
        ("server.crt", None, "server.crt does not exist"),
        ("server.key", b"rubbish", "server.key is no private key (PEM)"),
        ("server.key", STRANGER.key, "server.key is not the key of"),
        ("ca.crt", b"rubbish", "ca.crt is no certificate (PEM)"),
        ("ca.crt", LEAF.certificate, "ca.crt has no certificate that signed itself"),
    ],
)
def test_a_bad_new_file_is_said_and_the_old_one_stays(
    cabinet: Cabinet,
    caplog: pytest.LogCaptureFixture,
    name: str,
    content: bytes | None,
    said: str,
) -> None:
    async def scenario() -> None:
        async with listening(cabinet, reload_s=0.01) as (_, port):
            path = cabinet.folder / name
            good, context = path.read_bytes(), cabinet.reader()
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            await until(lambda: any(said in each for each in caplog.messages))
            assert "the old files stay in use" in caplog.text
            assert await asked(port, context) == GOT_0
            path.write_bytes(good)
            path.chmod(0o600)
            await until(lambda: "certificates loaded" in caplog.text)
            assert await asked(port, context) == GOT_0

    run(scenario())


def test_a_key_that_others_can_read_from_now_on_is_not_loaded(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with listening(cabinet, reload_s=0.01) as (_, port):
            (cabinet.folder / "server.key").chmod(0o644)
            await until(lambda: "can be read by others: chmod 600" in caplog.text)
            assert await asked(port, cabinet.reader()) == GOT_0

    run(scenario())


def test_files_that_could_not_be_read_for_a_passing_cause_are_loaded_when_it_has_passed(
    cabinet: Cabinet, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with listening(cabinet, reload_s=0.01) as (listener, port):
            context = cabinet.reader()
            renewed = new_server(cabinet.authority, HOSTS, NOW, 300)
            with ExitStack() as hoard:
                hoard.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
                cabinet.put("server", renewed)
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest_descriptor() + 1, hard))
                with suppress(OSError):
                    while True:
                        hoard.callback(os.close, os.open(os.devnull, os.O_RDONLY))
                await until(lambda: "Too many open files" in caplog.text)
                looks = looks_of(listener)
                await until(lambda: looks() > 5)
                said = [each for each in caplog.messages if "Too many open files" in each]
                assert len(said) == 1, "the same again is no news"
            await until(lambda: "certificates loaded" in caplog.text)
            assert await shown_by(port, context) == fingerprint(renewed)

    run(scenario())


# --- files as they are read --------------------------------------------------------------------


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(cabinet: Cabinet) -> None:
    key = serialization.load_pem_private_key((cabinet.folder / "server.key").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (cabinet.folder / "server.key").write_bytes(encrypted)
    with pytest.raises(ConfigError, match=r"server.key has a password.*openssl pkey -in"):
        cabinet.files.load()


def test_a_key_on_a_curve_that_nobody_knows_is_refused_in_words(cabinet: Cabinet) -> None:
    key = serialization.load_pem_private_key((cabinet.folder / "server.key").read_bytes(), None)
    octets = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    p_256, other = (bytes.fromhex(f"06082A8648CE3D0301{last}") for last in ("07", "06"))
    assert p_256 in octets
    body = base64.encodebytes(octets.replace(p_256, other)).decode()
    pem = f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"
    (cabinet.folder / "server.key").write_text(pem)
    with pytest.raises(ConfigError, match=r"server.key or .*server.crt is of a rare kind \(Curve"):
        cabinet.files.load()


def test_a_clients_certificate_is_refused_as_the_servers(cabinet: Cabinet) -> None:
    cabinet.put("server", new_client(cabinet.authority, "client", "reader", NOW, 90))
    with pytest.raises(ConfigError, match=r"server.crt may not prove a server .*serverAuth"):
        cabinet.files.load()


@pytest.mark.parametrize(
    "purposes", [(), ("ANY_EXTENDED_KEY_USAGE",), ("CLIENT_AUTH", "SERVER_AUTH")]
)
def test_a_certificate_of_no_any_or_both_purposes_may_prove_a_server(
    cabinet: Cabinet, purposes: tuple[str, ...]
) -> None:
    cabinet.put("server", signed_by_itself(purposes))
    assert cabinet.files.load().expires.date() == (NOW + timedelta(days=90)).date()


def test_who_is_signed_by_others_is_refused_as_authority_for_nobody_could_get_in(
    cabinet: Cabinet,
) -> None:
    (cabinet.folder / "ca.crt").write_bytes(LEAF.certificate)
    with pytest.raises(ConfigError, match=r"ca.crt has no certificate that signed itself"):
        cabinet.files.load()
    (cabinet.folder / "ca.crt").write_bytes(LEAF.certificate + STRANGER.certificate)
    cabinet.files.load()


def test_a_client_that_signed_itself_is_let_in_where_it_is_named(cabinet: Cabinet) -> None:
    async def scenario() -> None:
        itself = signed_by_itself(("CLIENT_AUTH",), role="reader")
        (cabinet.folder / "ca.crt").write_bytes(itself.certificate)
        async with listening(cabinet) as (_, port):
            assert await asked(port, cabinet.client(itself)) == GOT_0

    run(scenario())


def test_a_certificate_that_ends_soon_or_has_ended_is_warned_about(cabinet: Cabinet) -> None:
    files, ends = cabinet.files, datetime(2030, 5, 1, tzinfo=UTC)
    assert files.expiry_warning(ends, ends - timedelta(days=31)) is None
    soon = files.expiry_warning(ends, ends - timedelta(days=29))
    assert soon == f"{files.certificate} expires on 2030-05-01: renew it"
    late = files.expiry_warning(ends, ends)
    assert late == f"{files.certificate} has expired on 2030-05-01: renew it"


def test_a_role_comes_out_as_it_went_in(authority: Issued) -> None:
    for role in ("reader", "Zähler-Leser", "x" * 127):
        issued = new_client(authority, "c", role, NOW, 1)
        certificate = x509.load_pem_x509_certificate(issued.certificate)
        assert role_of(certificate.public_bytes(serialization.Encoding.DER)) == role
    for role in ("", "x" * 128, "a\nb"):
        with pytest.raises(ValueError, match="a role has 1 to 127 bytes"):
            new_client(authority, "c", role, NOW, 1)


def test_bytes_that_are_no_certificate_have_no_role() -> None:
    assert role_of(b"") is None
    assert role_of(b"\x30\x03\x02\x01\x00") is None
