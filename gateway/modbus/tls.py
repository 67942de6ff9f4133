"""Modbus/TCP Security: the TCP listener behind TLS with certificates on both sides and a role.

Clauses: MTS is MODBUS/TCP Security v21 (2018-07-24). TLS 1.2 or newer, both sides prove who they
are (MTS R-06), the frames inside stay those of Modbus TCP, and what a client may do follows from
the role in its certificate (MTS 8.3). Every request here is a read, so a client whose role is not
listed has nothing to ask for: it is refused as a whole.

On `ssl.SSLObject`, not on asyncio's TLS: that one takes 256 KiB a connection before it knows who is
there, tells nobody of a failed handshake, and keeps its certificates for ever. Here a client counts
against the listener's limits from its first byte, and each handshake uses what was last loaded.
"""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, cast

from gateway.endpoint import show_endpoint
from gateway.limits import KIB, Limits
from gateway.located import ConfigError
from gateway.modbus.access import Kind, Network
from gateway.modbus.door import KERNEL_BUFFER_BYTES
from gateway.modbus.responder import Responder
from gateway.modbus.server import Connection, Listener
from gateway.tls_files import Credentials, TlsFiles

log = logging.getLogger(__name__)

RELOAD_S = 2.0  # between two looks at the files
LINGER_S = 1.0  # so long a refused client may take to fetch the alert that says why
# At once of one connection, each way: OpenSSL keeps the room for what has passed.
PIECE_BYTES = 4 * KIB
MAX_SHOWN_ROLE = 40

# What OpenSSL calls the usual failures, and what they are for whoever has to mend them.
SPEAKS_NO_TLS = "speaks no TLS"
TOO_OLD = "offers no TLS as new as 1.2"
DISTRUSTS_US = "does not trust our certificate: give it our ca.crt"
FAILURES = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "shows no certificate",
    "NO_SHARED_CIPHER": "offers no cipher that we take",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "offers no signature that we take",
    "UNSUPPORTED_PROTOCOL": TOO_OLD,
    "VERSION_TOO_LOW": TOO_OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": TOO_OLD,
    "WRONG_VERSION_NUMBER": SPEAKS_NO_TLS,
    "HTTP_REQUEST": SPEAKS_NO_TLS,
    "HTTPS_PROXY_REQUEST": SPEAKS_NO_TLS,
    "UNKNOWN_PROTOCOL": SPEAKS_NO_TLS,
    "RECORD_LAYER_FAILURE": SPEAKS_NO_TLS,
    "BAD_RECORD_TYPE": SPEAKS_NO_TLS,
    "UNEXPECTED_MESSAGE": SPEAKS_NO_TLS,
    "TLSV1_ALERT_UNKNOWN_CA": DISTRUSTS_US,
    "SSLV3_ALERT_BAD_CERTIFICATE": DISTRUSTS_US,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": DISTRUSTS_US,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "takes our certificate for an expired one",
}
# The certificates' times are judged by our clock.
CLOCK_CODES = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
CLOCK_HINT = "; is our clock right?"


class TlsListener(Listener):
    """A Modbus/TCP Security endpoint. `roles` are those that may read.

    A handshake may take as long as a request (`limits.request_s`). `failures` counts the clients
    that were refused before their first request, by reason. Files that change are loaded within
    `reload_s`; with other `clients_ca` all clients must come again.
    """

    kernel_bytes = KERNEL_BUFFER_BYTES // 2  # beside it stands what OpenSSL keeps, some 50 KiB

    def __init__(
        self,
        host: str,
        port: int,
        responder: Responder,
        allow: Sequence[Network] = (),
        *,
        files: TlsFiles,
        roles: Collection[str],
        limits: Limits | None = None,
        reload_s: float = RELOAD_S,
    ) -> None:
        """Load the files; ConfigError if they are not good."""
        super().__init__(host, port, responder, allow, limits)
        self.roles = frozenset(roles)
        self.records = bytearray(PIECE_BYTES)
        self.failures: Counter[str] = Counter()
        self._where = show_endpoint(host, port)
        self._files = files
        self._stamp = files.stamp()
        self._credentials = files.load()
        self._failure: tuple[object, str] | None = None  # of which files what was said last
        self._expiry_said = self._expiry_warning()  # the config's reader has said it
        self._reload_s = reload_s
        self._watch: asyncio.TimerHandle | None = None

    async def start(self) -> tuple[str, int]:
        """Listen; return the address and port in use. OSError says why that is not possible."""
        host, port = await super().start()
        self._where = show_endpoint(host, port)
        self._watch_files_later()
        return host, port

    def trust(self, files: TlsFiles, loaded: Credentials, roles: Collection[str]) -> None:
        """Shake hands by other files, of which `loaded` was read, and let other roles read.

        If that changes who may read, all clients must come again.
        """
        is_same = self.roles == frozenset(roles)
        self._files, self.roles = files, frozenset(roles)
        self._use(loaded, is_same=is_same)

    def pause(self) -> None:
        """Leave the address, with the connections open; `start` takes it again."""
        if self._watch:
            self._watch.cancel()
        super().pause()

    def greet(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection, inside of TLS."""
        return TlsConnection(self, Connection(self))

    def server_side(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the server's end of a new TLS connection."""
        return self._credentials.context.wrap_bio(incoming, outgoing, server_side=True)

    def refused(self, host: str, reason: str) -> None:
        """Count a client that was refused, and say so."""
        self.failures[reason] += 1
        text = f"{host} is refused at {self._where}: it {reason}"
        self.access.say(Kind.HANDSHAKE, host, text)

    def _watch_files_later(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(self._reload_s, self._watch_files)

    def _watch_files(self) -> None:
        """Load the files if they have changed; bad ones are said, and what was loaded stays.

        They are tried again until they are good: the cause may pass without a change of theirs.
        """
        self._watch_files_later()
        stamp = self._files.stamp()
        if stamp == self._stamp:
            self._failure = None
        else:
            self._reload(stamp)
        warning = self._expiry_warning()
        if warning and warning != self._expiry_said:
            log.warning("%s", warning)
        self._expiry_said = warning

    def _reload(self, stamp: object) -> None:
        try:
            loaded = self._files.load()
        except ConfigError as problem:
            failure = stamp, str(problem)
            if failure != self._failure:
                log.warning("%s: %s; the old files stay in use", self._where, problem)
            self._failure = failure
            return
        self._stamp, self._failure = stamp, None
        log.warning("%s: certificates loaded, valid until %s", self._where, loaded.expires.date())
        self._use(loaded)

    def _use(self, loaded: Credentials, *, is_same: bool = True) -> None:
        is_same = is_same and loaded.authorities == self._credentials.authorities
        self._credentials = loaded
        if not is_same:
            # Who was let in by the old ones may not be wanted any more.
            for connection in list(self.connections):
                connection.close()

    def _expiry_warning(self) -> str | None:
        return self._files.expiry_warning(self._credentials.expires, datetime.now(UTC))


class State(Enum):
    """Where a TLS connection stands."""

    SHAKING_HANDS = auto()
    OPEN = auto()
    CLOSED = auto()  # nothing more is understood; what was sent may still be fetched


class TlsConnection(asyncio.BufferedProtocol, asyncio.Transport):
    """TLS between the socket and a connection: protocol of the one, transport of the other.

    The connection inside is there from the start, so that every limit holds for a client that only
    shakes hands too, but it gets the first byte only of a client whose role is known.
    """

    def __init__(self, listener: TlsListener, connection: Connection) -> None:
        super().__init__()
        self._listener = listener
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject
        self._state = State.SHAKING_HANDS
        self._is_paused = False
        self._has_ended = False  # the client says no more
        self._host = ""
        self._socket: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    # --- the protocol of the socket --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake of a client that may connect."""
        self._socket = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._host = peer[0] if peer else ""
        self._connection.connection_made(self)
        if self.is_closing():
            return
        self._tls = self._listener.server_side(self._incoming, self._outgoing)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._listener.limits.request_s, self._is_too_late)

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Return where the next records go."""
        return self._listener.records

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came from the network."""
        if self._state is State.CLOSED:
            return
        self._incoming.write(memoryview(self._listener.records)[:nbytes])
        if self._state is State.SHAKING_HANDS:
            self._shake_hands()
        self._deliver()

    def pause_writing(self) -> None:
        """Pass on that the client does not fetch what it is sent."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it does again."""
        self._connection.resume_writing()

    def eof_received(self) -> bool:
        """Let the socket close, once all is answered that came before; True: not yet."""
        if self._state is not State.OPEN:
            return False
        self._has_ended = True
        self._deliver()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection inside; count a client that left before it was let in."""
        self._stop_timer()
        if self._state is State.SHAKING_HANDS and not self._connection.is_own:
            self._listener.refused(self._host, "hangs up before the handshake is done")
        self._state = State.CLOSED
        self._connection.connection_lost(exc)

    # --- the transport of the connection ---------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket knows."""
        return self._socket.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, encrypted."""
        if self._state is not State.OPEN:
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest[:PIECE_BYTES]) :]
            self._flush()

    def close(self) -> None:
        """Say good-bye and close when all is fetched."""
        if self._state is State.OPEN:
            self._say_goodbye()
        self._state = State.CLOSED
        self._socket.close()

    def abort(self) -> None:
        """Close at once."""
        self._state = State.CLOSED
        self._socket.abort()

    def is_closing(self) -> bool:
        """Tell whether it is closed, or will be."""
        return self._state is State.CLOSED or self._socket.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the client has not fetched, as they are sent."""
        return self._socket.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return below and above how many bytes writing goes on and pauses."""
        return self._socket.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set above and below how many bytes writing pauses and goes on."""
        self._socket.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        self._is_paused = True
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, first what came in the same record as the last requests."""
        self._is_paused = False
        self._socket.resume_reading()
        asyncio.get_running_loop().call_soon(self._deliver)

    def is_reading(self) -> bool:
        """Tell whether it delivers."""
        return not self._is_paused and not self.is_closing()

    # --- between the two -------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except OSError as problem:  # ssl.SSLError is one
            self._refuse(_reason(problem))
            return
        self._stop_timer()
        role = _role(self._tls)
        if self._tls.session_reused and _has_expired(self._tls):
            self._refuse(_not_good("certificate has expired", CLOCK_HINT))
        elif role in self._listener.roles:
            self._state = State.OPEN
            self._flush()
        elif role is None:
            self._refuse("has no role in its certificate")
        else:
            shown = role[:MAX_SHOWN_ROLE]
            self._refuse(f"has the role {shown!r}, which 'roles' does not name")

    def _deliver(self) -> None:
        """Hand on what is decrypted, as long as it is wanted, and one buffer of it in a turn."""
        heard = 0
        while self._state is State.OPEN and not self._is_paused:
            buffer = self._connection.get_buffer(-1)
            room = buffer[: len(buffer) - heard]
            try:
                count = cast(int, self._tls.read(len(room), room))  # bytes without a buffer only
            except ssl.SSLWantReadError:
                self._flush()  # the answer to a change of keys
                if self._has_ended:
                    self.close()
                return
            except OSError as problem:
                text = f"{self._host} breaks TLS, closed: {_name(problem)}"
                self._listener.access.say(Kind.FOREIGN, self._host, text)
                self.abort()
                return
            if not count:
                self.close()
                return
            self._connection.buffer_updated(count)
            heard += count
            # One read brings one record at most, and there are small ones.
            if heard == len(buffer) and self.is_reading():
                self._connection.give_way()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._socket.is_closing():
            self._socket.write(self._outgoing.read())

    def _refuse(self, reason: str) -> None:
        """Let a client go that is not let in, and give it time to learn why."""
        self._listener.refused(self._host, reason)
        self._say_goodbye()
        self._state = State.CLOSED
        self._stop_timer()
        # Closed now, with bytes of his unread, the system would take the alert back.
        if not self._socket.is_closing() and self._socket.can_write_eof():
            self._socket.write_eof()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._socket.abort)

    def _say_goodbye(self) -> None:
        with suppress(OSError, ValueError):  # the client's good-bye is not waited for
            self._tls.unwrap()
        self._flush()

    def _is_too_late(self) -> None:
        time_s = self._listener.limits.request_s
        self._listener.refused(self._host, f"has not shaken hands within {time_s:g} s")
        self.abort()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()


def _role(tls: ssl.SSLObject) -> str | None:
    from gateway.certificates import role_of  # costs 4 MiB, which only TLS pays

    certificate = tls.getpeercert(binary_form=True)
    return role_of(certificate) if certificate else None


def _has_expired(tls: ssl.SSLObject) -> bool:
    """Tell whether a client's certificate has ended since its session of TLS 1.2 began.

    OpenSSL lets such a session be resumed for two hours and looks at no certificate then; Python
    cannot switch that off.
    """
    certificate = tls.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return datetime.now(UTC).timestamp() > ends


def _not_good(why: str, hint: str) -> str:
    return f"shows a certificate that is not good ({why}{hint})"


def _reason(problem: OSError) -> str:
    """Return why a handshake failed, so that it follows "it"."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        hint = CLOCK_HINT if problem.verify_code in CLOCK_CODES else ""
        return _not_good(problem.verify_message, hint)
    reason = getattr(problem, "reason", None) or ""
    return FAILURES.get(reason) or f"fails in the handshake ({_name(problem)})"


def _name(problem: OSError) -> str:
    """Return what OpenSSL calls a problem, in the letters of people."""
    reason = getattr(problem, "reason", None) or problem.strerror or type(problem).__name__
    return str(reason).lower().replace("_", " ")
