"""Topics of a real broker as sources: it comes and goes, and brings old and foreign messages."""

import asyncio
import base64
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pip
import pytest
from paho.mqtt.client import Client

from gateway import certificates
from gateway.certificates import Issued
from gateway.sources import SourceError, mqtt
from tests.broker import Broker, free_port, needs_mosquitto
from tests.sources.ear import Ear, hearing, run, simulated, source

pytestmark = [needs_mosquitto, pytest.mark.usefixtures("short_pauses")]

TOPIC = "meter/raw"
Brokers = Callable[..., Broker]


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    """Start brokers; they are stopped at the end."""
    with ExitStack() as stack:

        def starter(*lines: str, password: tuple[str, str] | None = None) -> Broker:
            broker = Broker(tmp_path, *lines, password=password).start()
            stack.callback(broker.stop)
            return broker

        yield starter


def written(broker: Broker, options: str = "") -> str:
    return f"mqtt://127.0.0.1:{broker.port}/{TOPIC}{options}"


def remarks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the source said; the test's own publisher says something too."""
    return [each.getMessage() for each in caplog.records if each.name.startswith("gateway")]


async def until_open(ear: Ear, times: int = 1) -> None:
    await ear.until_said("is open", times)


# --- messages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "encode"),
    [
        ("", bytes),
        ("?encoding=binary", bytes),
        ("?encoding=hex", lambda octets: octets.hex(" ").upper().encode() + b"\r\n"),
        ("?encoding=base64", base64.encodebytes),
    ],
)
def test_telegrams_come_through(
    brokers: Brokers, options: str, encode: Callable[[bytes], bytes]
) -> None:
    broker, meter = brokers(), simulated()

    async def scenario() -> None:
        async with hearing(source(written(broker, options))) as ear:
            await until_open(ear)
            pushes = [meter.push() for _ in range(3)]
            for push in pushes:
                broker.publish(TOPIC, encode(push.telegram))
            await ear.until(lambda ear: len(ear.counters) == 3)
        assert ear.counters == [push.invocation_counter for push in pushes]
        assert ear.said == [
            f"topic {TOPIC} of the MQTT broker 127.0.0.1:{broker.port} is open",
        ]

    run(scenario())


def test_a_telegram_in_several_messages_is_read(brokers: Brokers) -> None:
    broker, push = brokers(), simulated().push()

    async def scenario() -> None:
        async with hearing(source(written(broker))) as ear:
            await until_open(ear)
            for start in range(0, len(push.telegram), 100):
                broker.publish(TOPIC, push.telegram[start : start + 100], qos=1)
            await ear.until(lambda ear: ear.counters)
        assert ear.octets == push.telegram

    run(scenario())


def test_a_topic_may_have_any_characters(brokers: Brokers) -> None:
    broker, push = brokers(), simulated().push()

    async def scenario() -> None:
        text = f"mqtt://127.0.0.1:{broker.port}//Zähler?silence=1h".replace("?", " %3F?")
        async with hearing(source(text)) as ear:
            await until_open(ear)
            broker.publish("/Zähler ?", push.telegram)
            await ear.until(lambda ear: ear.counters)

    run(scenario())


def test_a_retained_message_is_never_taken_and_said_once(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    broker, meter = brokers(), simulated()
    old, new = meter.push(), meter.push()
    broker.publish(TOPIC, old.telegram, qos=1, retain=True)

    async def scenario() -> None:
        listening = source(written(broker))
        for _ in range(2):
            async with hearing(listening) as ear:
                await until_open(ear)
                # What a reader publishes as retained is new while we are there to hear it.
                broker.publish(TOPIC, new.telegram, qos=1, retain=True)
                await ear.until(lambda ear: ear.counters)
            assert ear.octets == new.telegram

    run(scenario())
    assert remarks(caplog) == [
        f"topic {TOPIC} of the MQTT broker 127.0.0.1:{broker.port}: a retained message is "
        "ignored, it may be old; the reader should publish without retain"
    ]


def test_nothing_is_kept_for_us_while_we_are_away(brokers: Brokers) -> None:
    broker, meter = brokers(), simulated()
    old, new = meter.push(), meter.push()

    async def scenario() -> None:
        listening = source(written(broker))
        async with hearing(listening) as ear:
            await until_open(ear)
        broker.publish(TOPIC, old.telegram, qos=1)
        async with hearing(listening) as ear:
            await until_open(ear)
            broker.publish(TOPIC, new.telegram, qos=1)
            await ear.until(lambda ear: ear.counters)
        assert ear.octets == new.telegram

    run(scenario())


def test_payloads_that_are_none_are_said_once_and_the_next_is_read(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    broker, push = brokers(), simulated().push()

    async def scenario() -> None:
        async with hearing(source(written(broker, "?encoding=hex"))) as ear:
            await until_open(ear)
            for payload in (b"online", b"", b"\xff\xfe", push.telegram, b"68f"):
                broker.publish(TOPIC, payload, qos=1)
            broker.publish(TOPIC, push.telegram.hex().encode(), qos=1)
            await ear.until(lambda ear: ear.counters)
        assert ear.octets == push.telegram

    run(scenario())
    assert remarks(caplog) == [
        f"topic {TOPIC} of the MQTT broker 127.0.0.1:{broker.port}: a payload is ignored: "
        "it is not an even number of hex digits, as encoding=hex says"
    ]


def test_what_is_too_long_never_comes_and_what_follows_is_read(brokers: Brokers) -> None:
    broker, push = brokers(), simulated().push()

    async def scenario() -> None:
        async with hearing(source(written(broker))) as ear:
            await until_open(ear)
            for size in (16384, 1_000_000, 10_000_000):
                broker.publish(TOPIC, bytes(size), qos=1)
            broker.publish(TOPIC, push.telegram, qos=1)
            await ear.until(lambda ear: ear.counters)
        assert ear.octets == push.telegram

    run(scenario())


def test_a_flood_leaves_turns_to_others_and_telegrams_come_through_after_it(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    broker, push = brokers(), simulated().push()

    async def scenario() -> None:
        async with hearing(source(written(broker))) as ear:
            await until_open(ear)
            loop = asyncio.get_running_loop()

            def flood() -> None:
                from paho.mqtt import publish

                publish.multiple(
                    [(TOPIC, bytes(4000), 0, False)] * 1000, port=broker.port, hostname="127.0.0.1"
                )

            flooding = loop.run_in_executor(None, flood)
            while not flooding.done():
                before = ear.chunks
                await asyncio.sleep(0)
                assert ear.chunks - before <= 1
                await asyncio.sleep(0.001)
            await flooding
            while not ear.counters:
                broker.publish(TOPIC, push.telegram)
                await asyncio.sleep(0.05)

    run(scenario())
    assert sum("more messages than can be read" in text for text in remarks(caplog)) == 1


# --- the connection -------------------------------------------------------------------------


def test_a_broker_that_is_started_later_or_anew_is_connected(
    brokers: Brokers, tmp_path: Path
) -> None:
    broker, meter = brokers(), simulated()
    broker.stop()

    async def scenario() -> None:
        async with hearing(source(written(broker))) as ear:
            await ear.until_said(f"127.0.0.1:{broker.port} refuses: nothing listens there")
            for number in (1, 2):
                broker.start()
                await until_open(ear, number)
                broker.publish(TOPIC, meter.push().telegram)
                await ear.until(lambda ear, number=number: len(ear.counters) == number)
                broker.stop()
            await ear.until_said(f"the connection with 127.0.0.1:{broker.port} broke")

    run(scenario())


def test_a_broker_that_answers_no_more_is_left_and_connected_anew(brokers: Brokers) -> None:
    broker, meter = brokers(), simulated()

    async def scenario() -> None:
        async with hearing(source(written(broker, "?silence=500ms"))) as ear:
            await until_open(ear)
            broker.freeze()
            await ear.until_said(
                f"no message on {TOPIC} from 127.0.0.1:{broker.port} for 0.5 s: does the reader"
            )
            broker.thaw()
            while not ear.counters:
                broker.publish(TOPIC, meter.push().telegram)
                await asyncio.sleep(0.1)

    run(scenario())


def test_why_a_broker_was_left_is_said_also_if_it_does_not_answer_to_that(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_S", 2.0)
    broker, cause = brokers(), SourceError("the program stood still")
    opened = asyncio.Event()

    def refuse(_chunk: bytes, _damaged: Sequence[int] = ()) -> int | None:
        # As after a long pause: the socket takes nothing any more, and says nothing of it.
        monkeypatch.setattr(Client, "disconnect", lambda *_, **__: 0)
        raise cause

    async def scenario() -> None:
        reading = asyncio.create_task(
            source(written(broker)).run(refuse, lambda _="": opened.set())
        )
        await opened.wait()
        broker.publish(TOPIC, b"some bytes")
        with pytest.raises(SourceError) as raised:
            await reading
        assert raised.value is cause

    run(scenario())


def test_a_name_server_that_is_silent_for_many_keeps_no_other_source_waiting(
    brokers: Brokers, silent_names: Sequence[str]
) -> None:
    broker = brokers()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            for name in silent_names:
                await stack.enter_async_context(hearing(source(f"mqtt://{name}/{TOPIC}")))
            await asyncio.sleep(0.01)  # they have asked
            await until_open(await stack.enter_async_context(hearing(source(written(broker)))))

    run(scenario())


def test_halves_of_a_telegram_from_two_connections_are_not_joined(brokers: Brokers) -> None:
    broker, meter = brokers(), simulated()
    halves, whole = meter.push(), meter.push()
    cut = len(halves.telegram) // 2

    async def scenario() -> None:
        async with hearing(source(written(broker))) as ear:
            await until_open(ear)
            broker.publish(TOPIC, halves.telegram[:cut])
            await ear.until(lambda ear: ear.octets)
            broker.stop()
            broker.start()
            await until_open(ear, 2)
            broker.publish(TOPIC, halves.telegram[cut:] + whole.telegram)
            await ear.until(lambda ear: ear.counters)
        assert ear.counters == [whole.invocation_counter]

    run(scenario())


def test_user_and_password_are_those_of_a_file(brokers: Brokers, tmp_path: Path) -> None:
    broker = brokers(password=("gateway", "correct horse"))
    password = tmp_path / "mqtt.password"
    password.touch(mode=0o600)
    password.write_text("correct horse\n")

    async def scenario() -> None:
        listening = source(written(broker, f"?user=gateway&password=file:{password}"))
        assert "correct" not in repr(listening)
        async with hearing(listening) as ear:
            await until_open(ear)
            broker.publish(TOPIC, simulated().push().telegram)
            await ear.until(lambda ear: ear.counters)

    run(scenario())


def test_a_wrong_password_and_a_missing_user_are_said(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = brokers(password=("gateway", "correct horse"))
    monkeypatch.setenv("TEST_PASSWORD", "wrong horse")
    where = f"127.0.0.1:{broker.port}"

    async def scenario(options: str, expected: str) -> None:
        async with hearing(source(written(broker, options))) as ear:
            await ear.until_said(expected)
        assert ear.said == [f"{expected}; trying again"]

    run(
        scenario(
            "?user=gateway&password=env:TEST_PASSWORD",
            f"{where} refuses user 'gateway': check user and password",
        )
    )
    run(scenario("", f"{where} wants a user: ?user=NAME&password=file:mqtt.password"))


def test_what_is_no_broker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.3)

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            port = mute.getsockname()[1]
            async with hearing(source(f"mqtt://127.0.0.1:{port}/a")) as ear:
                await ear.until_said(
                    f"127.0.0.1:{port} does not answer as an MQTT broker: is it on, the port right?"
                )

    run(scenario())


def test_a_host_that_nobody_knows_is_said() -> None:
    async def scenario() -> None:
        async with hearing(source("mqtt://broker.invalid/meter")) as ear:
            await ear.until_said("'broker.invalid' is not known here: check its spelling")

    run(scenario())
    assert source("mqtt://broker.invalid/meter").trouble()


class OldBroker:
    """One that speaks MQTT 3.1.1 alone; mosquitto cannot be told to.

    It refuses version 5 as the standard wants (3.1.2.2). `answer` is what it says to a
    subscription, and `telegram` what it then publishes.
    """

    def __init__(self, answer: int, telegram: bytes) -> None:
        self.versions: list[int] = []
        self.clean: list[int] = []
        self._answer = answer
        self._telegram = telegram

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(1000)
        self.versions.append(connect[8])  # behind 10 xx 00 04 M Q T T
        if connect[8] != 4:
            writer.write(b"\x20\x02\x00\x01")
        else:
            self.clean.append(connect[9] & 2)
            writer.write(b"\x20\x02\x00\x00")
            subscribe = await reader.read(1000)
            writer.write(b"\x90\x03" + subscribe[2:4] + bytes((self._answer,)))
            size = 2 + len(TOPIC) + len(self._telegram)
            length = bytes((size & 0x7F | 0x80, size >> 7))
            topic = len(TOPIC).to_bytes(2, "big") + TOPIC.encode()
            writer.write(b"\x30" + length + topic + self._telegram)
            await writer.drain()
            await reader.read()
        writer.close()


def test_a_broker_of_version_3_is_spoken_to_as_such() -> None:
    push = simulated().push()

    async def scenario() -> None:
        broker = OldBroker(0, push.telegram)
        port = await broker.start()
        async with hearing(source(f"mqtt://127.0.0.1:{port}/{TOPIC}")) as ear:
            await ear.until(lambda ear: ear.counters)
        broker.stop()
        assert broker.versions == [5, 4]
        assert broker.clean == [2]

    run(scenario())


def test_a_topic_that_may_not_be_read_is_said() -> None:
    async def scenario() -> None:
        broker = OldBroker(0x80, b"x" * 200)
        port = await broker.start()
        expected = f"127.0.0.1:{port} refuses the topic {TOPIC}: may this user read it?"
        async with hearing(source(f"mqtt://127.0.0.1:{port}/{TOPIC}")) as ear:
            await ear.until_said(expected)
        broker.stop()
        assert ear.said == [f"{expected}; trying again"]
        assert not ear.octets

    run(scenario())


# --- TLS ------------------------------------------------------------------------------------

# paho-mqtt leaves the socket of a failed handshake to the garbage collector.
leaves_sockets = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def authority(tmp_path: Path) -> Issued:
    issued = certificates.new_authority("Test", datetime.now(UTC))
    (tmp_path / "ca.crt").write_bytes(issued.certificate)
    return issued


def tls_broker(
    brokers: Brokers, authority: Issued, folder: Path, host: str = "127.0.0.1"
) -> Broker:
    issued = certificates.new_server(authority, [host], datetime.now(UTC), 1)
    (folder / "server.crt").write_bytes(issued.certificate)
    (folder / "server.key").write_bytes(issued.key)
    broker = brokers(f"certfile {folder}/server.crt", f"keyfile {folder}/server.key")
    broker.trust(folder / "ca.crt")
    return broker


def test_over_tls_with_an_authority_of_ones_own(
    brokers: Brokers, authority: Issued, tmp_path: Path
) -> None:
    broker = tls_broker(brokers, authority, tmp_path)

    async def scenario() -> None:
        text = f"mqtts://127.0.0.1:{broker.port}/{TOPIC}?ca={tmp_path}/ca.crt"
        async with hearing(source(text)) as ear:
            await until_open(ear)
            broker.publish(TOPIC, simulated().push().telegram)
            await ear.until(lambda ear: ear.counters)
        assert ear.said == [
            f"topic {TOPIC} of the MQTT broker 127.0.0.1:{broker.port} over TLS is open"
        ]

    run(scenario())


@leaves_sockets
def test_an_authority_that_is_not_known_is_refused(
    brokers: Brokers, authority: Issued, tmp_path: Path
) -> None:
    broker = tls_broker(brokers, authority, tmp_path)
    expected = f"the certificate of 127.0.0.1:{broker.port} is refused: "

    async def scenario() -> None:
        async with hearing(source(f"mqtts://127.0.0.1:{broker.port}/{TOPIC}")) as ear:
            await ear.until_said(expected)
        assert ear.said[0].endswith("; ca=FILE names the one that signs it; trying again")

    run(scenario())


@leaves_sockets
def test_a_certificate_for_another_host_is_refused(
    brokers: Brokers, authority: Issued, tmp_path: Path
) -> None:
    broker = tls_broker(brokers, authority, tmp_path, host="broker.example")

    async def scenario() -> None:
        text = f"mqtts://127.0.0.1:{broker.port}/{TOPIC}?ca={tmp_path}/ca.crt"
        async with hearing(source(text)) as ear:
            await ear.until_said("IP address mismatch")

    run(scenario())


@leaves_sockets
def test_a_broker_without_tls_is_not_spoken_to_over_tls(brokers: Brokers) -> None:
    broker = brokers()

    async def scenario() -> None:
        async with hearing(source(f"mqtts://127.0.0.1:{broker.port}/{TOPIC}")) as ear:
            await ear.until_said(f"127.0.0.1:{broker.port} breaks off the connection: is it the")

    run(scenario())


# --- without the library --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pip", "command"),
    [(pip, [sys.executable, "-m", "pip", "install"]), (None, ["pipx", "inject", "obisgate"])],
    ids=["with pip", "with pipx"],
)
def test_without_the_library_it_is_said_what_to_install(
    pip: object, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", pip)
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(ValueError, match=r"^mqtt sources need a library .* installed: ") as problem:
        source(f"mqtt://127.0.0.1:{free_port()}/meter")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (library,) = project["optional-dependencies"]["mqtt"]
    line = str(problem.value).partition("installed: ")[2]
    assert shlex.split(line) == [*command, library]


def test_the_library_is_not_imported_before_it_is_needed() -> None:
    asked = "import sys, gateway.service; print({'aiomqtt', 'paho'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
