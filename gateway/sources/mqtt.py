"""A topic of an MQTT broker, on which a reader publishes a meter's raw bytes as they come."""

import asyncio
import logging
import secrets
import shlex
import socket
import ssl
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gateway.endpoint import show_endpoint
from gateway.sources.address import SourceAddress
from gateway.sources.network import (
    PIECE_BYTES,
    READ_BYTES,
    SILENCE_S,
    Pace,
    Remarks,
    addresses,
    why_unknown,
    why_unreached,
)
from gateway.sources.payloads import ENCODINGS, octets_of
from gateway.sources.source import Deliver, Opened, SourceError

if TYPE_CHECKING:
    import aiomqtt

LIBRARY = "aiomqtt>=2.4,<3"  # of the extra `mqtt`
PORT, TLS_PORT = 1883, 8883  # IANA: mqtt, secure-mqtt
KEEPALIVE_S = 20  # a broker that does not answer is given up after twice as long
ANSWER_S = 10.0
MAX_PACKET_BYTES = 16384  # the longest telegram seen has 622 bytes
MAX_WAITING = 64  # messages that were not looked at yet; more are lost, as on a line

# MQTT 5.0, 2.4 (reason codes); paho gives those of version 3.1.1 the same numbers.
UNSUPPORTED_VERSION = 132
WRONG_USER = (134, 135)  # bad user name or password, not authorized
REFUSED = 128  # this and all above


@dataclass(frozen=True, slots=True)
class MqttSource:
    """Subscribes to one topic; after `silence_s` without a message the connection is made anew.

    The broker keeps nothing for us while we are away (a clean session, QoS 0), and what it kept
    for everyone, a retained message, is not taken: it would be an old telegram that looks new.
    """

    host: str
    port: int
    topic: str
    is_tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    encoding: str = "binary"
    silence_s: float = SILENCE_S
    _remarks: Remarks = field(default_factory=Remarks, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, address: SourceAddress) -> "MqttSource":
        """Read mqtt://host/topic?user=NAME&password=file:mqtt.password; ValueError if bad."""
        is_tls = address.kind == "mqtts"
        address.allow(("user", "password", *(("ca",) if is_tls else ()), "encoding", "silence"))
        endpoint, _, topic = address.target.partition("/")
        if "@" in endpoint:
            raise ValueError(
                "user and password do not stand before the host, but behind the topic: "
                "?user=NAME&password=file:mqtt.password"
            )
        host, port = address.endpoint(endpoint, TLS_PORT if is_tls else PORT)
        topic = unquote(topic)
        if not topic or "\0" in topic:
            raise ValueError("no topic is named; one looks like meter/raw behind the host")
        if "+" in topic or "#" in topic:
            raise ValueError(f"one meter has one topic, without + and #, not {topic!r}")
        if "password" in address.options and not address.options.get("user"):
            raise ValueError("a password needs a user: ?user=NAME&password=…")
        source = cls(
            host=host,
            port=port,
            topic=topic,
            is_tls=is_tls,
            user=address.options.get("user"),
            password=address.password("password"),
            ca=address.path("ca"),
            encoding=address.choice("encoding", ENCODINGS, "binary"),
            silence_s=address.duration_s("silence", SILENCE_S),
        )
        source.tls_context()
        if find_spec("aiomqtt") is None:
            # What pipx has installed has no pip of its own.
            pip = f"{shlex.quote(sys.executable)} -m pip install"
            command = pip if find_spec("pip") else "pipx inject obisgate"
            raise ValueError(
                f"{address.kind} sources need a library that is not installed: "
                f"{command} '{LIBRARY}'"
            )
        return source

    def describe(self) -> str:
        """Return the broker and the topic."""
        how = " over TLS" if self.is_tls else ""
        return f"topic {self.topic} of the MQTT broker {self._where}{how}"

    @property
    def is_lasting(self) -> bool:
        """Return True: a real meter goes on counting."""
        return True

    def trouble(self) -> str | None:
        """Return why the broker's name leads nowhere."""
        return why_unknown(self.host)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return how the broker is recognised, None without TLS; ValueError for a bad `ca`."""
        if not self.is_tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise ValueError(f"ca: {self.ca} is no certificate (PEM)") from None
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or problem
            raise ValueError(f"ca: {self.ca} cannot be read: {why}") from None

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Deliver the payloads until the connection breaks."""
        # Imported here: it costs 5 MiB, which no one pays who has no broker.
        import aiomqtt

        try:
            context = self.tls_context()
        except ValueError as problem:
            raise SourceError(str(problem)) from None
        try:
            # The library asks for it in one of the loop's few threads, for which others wait.
            await addresses(self.host, self.port, socket.SOCK_STREAM)
        except OSError as problem:
            raise SourceError(why_unreached(self.host, self.port, problem)) from None
        try:
            try:
                # Version 5 first: only there a broker can be told what is too long for us.
                await self._hear(self._client(context, is_new=True), deliver, opened)
            except aiomqtt.MqttCodeError as problem:
                if _code(problem) != UNSUPPORTED_VERSION:
                    raise
                await self._hear(self._client(context, is_new=False), deliver, opened)
        except aiomqtt.MqttError as problem:
            raise _why_left(problem) or SourceError(self._cause(problem)) from None

    def _client(self, context: ssl.SSLContext | None, *, is_new: bool) -> "aiomqtt.Client":
        """Return a client that is not connected yet, of MQTT 5 or else 3.1.1."""
        import aiomqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        limit = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limit.MaximumPacketSize = MAX_PACKET_BYTES
        # Version 5 has no clean session; without an expiry it is one, and `clean_start` is set.
        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.user,
            password=self.password,
            tls_context=context,
            identifier=f"obisgate-{secrets.token_hex(4)}",
            protocol=aiomqtt.ProtocolVersion.V5 if is_new else aiomqtt.ProtocolVersion.V311,
            clean_session=None if is_new else True,
            properties=limit if is_new else None,
            keepalive=KEEPALIVE_S,
            timeout=ANSWER_S,
            max_queued_incoming_messages=MAX_WAITING,
            logger=_silent_logger(),
        )

    async def _hear(self, client: "aiomqtt.Client", deliver: Deliver, opened: Opened) -> None:
        async with client:
            (granted,) = await client.subscribe(self.topic, qos=0)
            if _number(granted) >= REFUSED:
                raise SourceError(
                    f"{self._where} refuses the topic {self.topic}: may this user read it?"
                )
            opened()
            messages, pace = client.messages, Pace()
            while True:
                if len(messages) >= MAX_WAITING:
                    self._remark("there are more messages than can be read: some are lost")
                try:
                    async with asyncio.timeout(self.silence_s):
                        message = await anext(messages)
                except TimeoutError:
                    raise SourceError(
                        f"no message on {self.topic} from {self._where} for {self.silence_s:g} s: "
                        "does the reader publish there, and may this user read it?"
                    ) from None
                octets = self._octets(message)
                if len(octets) < PIECE_BYTES:
                    await pace.took(PIECE_BYTES - len(octets))
                for start in range(0, len(octets), READ_BYTES):
                    chunk = octets[start : start + READ_BYTES]
                    deliver(chunk)
                    await pace.took(len(chunk))

    def _octets(self, message: "aiomqtt.Message") -> bytes:
        """Return what a message brings; nothing if it is not to be taken, which is said."""
        payload = message.payload
        if message.retain:
            self._remark(
                "a retained message is ignored, it may be old; the reader should publish "
                "without retain"
            )
        elif not isinstance(payload, bytes) or len(payload) > MAX_PACKET_BYTES:
            self._remark(f"a payload of more than {MAX_PACKET_BYTES} bytes is ignored")
        else:
            try:
                return octets_of(payload, self.encoding)
            except ValueError as problem:
                self._remark(f"a payload is ignored: it {problem}")
        return b""

    def _remark(self, text: str) -> None:
        self._remarks.say(f"{self.describe()}: {text}")

    def _cause(self, problem: "aiomqtt.MqttError") -> str:
        """Return why there is no connection, and what to do."""
        code, reason = _code(problem), problem.__context__
        if code in WRONG_USER:
            if self.user is None:
                return f"{self._where} wants a user: ?user=NAME&password=file:mqtt.password"
            return f"{self._where} refuses user {self.user!r}: check user and password"
        if isinstance(reason, TimeoutError):
            return f"{self._where} does not answer as an MQTT broker: is it on, the port right?"
        if isinstance(reason, OSError):
            return why_unreached(self.host, self.port, reason)
        if code is not None and code >= REFUSED:
            return f"{self._where} ends the connection: {problem}"
        return f"the connection with {self._where} broke"

    @property
    def _where(self) -> str:
        return show_endpoint(self.host, self.port)


def _why_left(problem: BaseException | None) -> SourceError | None:
    """Return why we left a broker, which does not answer to that; None: we did not."""
    while problem is not None and not isinstance(problem, SourceError):
        problem = problem.__context__
    return problem


def _code(problem: "aiomqtt.MqttError") -> int | None:
    """Return the reason code of an error, None if it has none."""
    code = getattr(problem, "rc", None)
    return None if code is None else _number(code)


def _number(code: object) -> int:
    return int(getattr(code, "value", code))  # type: ignore[call-overload, no-any-return]


def _silent_logger() -> logging.Logger:
    """Return a logger for the library, whose causes we say in our own words."""
    logger = logging.getLogger(f"{__name__}.library")
    logger.setLevel(logging.CRITICAL + 1)
    return logger
