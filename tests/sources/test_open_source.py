"""From an address to a source: each kind with its options, nothing opened yet."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.simulator import MODELS
from gateway.sources import Source, SourceAddress, open_source
from gateway.sources.mqtt import MqttSource
from gateway.sources.recording import RecordingSource
from gateway.sources.serial_port import SerialSource
from gateway.sources.simulated import SimulatorSource
from gateway.sources.tcp import TcpSource
from gateway.sources.tcp_listen import TcpListenSource
from gateway.sources.udp import UdpSource
from gateway.telegram import Key

KEY, AUTH_KEY = Key(bytes(range(16))), Key(bytes(range(0xD0, 0xE0)))


def opened(text: str) -> Source:
    return open_source(SourceAddress.parse(text), KEY, AUTH_KEY)


def test_a_serial_port_has_2400_baud_8e1_unless_said_otherwise() -> None:
    assert opened("serial:/dev/x") == SerialSource("/dev/x", 2400, "even")
    assert opened("serial:/dev/x?baud=9600&parity=odd") == SerialSource("/dev/x", 9600, "odd")


def test_connections_may_be_silent_for_a_minute_unless_said_otherwise() -> None:
    allow = [ip_network("10.0.0.0/8")]
    assert opened("tcp://meter:2400") == TcpSource("meter", 2400, 60.0)
    assert opened("tcp://meter:2400?silence=15s") == TcpSource("meter", 2400, 15.0)
    assert opened("tcp-listen://0.0.0.0:2400?allow=10.0.0.0/8&silence=2min") == TcpListenSource(
        "0.0.0.0", 2400, allow, 120.0
    )
    assert opened("tcp-listen://2400") == TcpListenSource("127.0.0.1", 2400, [], 60.0)
    assert opened("udp://[::]:2400") == UdpSource("::", 2400, [], 60.0)
    assert opened("udp://2400?allow=10.0.0.0/8") == UdpSource("127.0.0.1", 2400, allow, 60.0)


def test_a_topic_is_read_as_bytes_unless_an_encoding_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert opened("mqtt://broker/meter/raw") == MqttSource("broker", 1883, "meter/raw")
    assert opened("mqtts://broker/a") == MqttSource("broker", 8883, "a", is_tls=True)
    monkeypatch.setenv("TEST_PASSWORD", "geheim")
    source = opened("mqtt://broker:1/a?user=u&password=env:TEST_PASSWORD&encoding=hex&silence=1h")
    assert source == MqttSource(
        "broker", 1, "a", user="u", password="geheim", encoding="hex", silence_s=3600.0
    )
    assert "geheim" not in repr(source) + source.describe()


def test_a_recording_is_played_at_once_unless_a_baud_rate_is_given() -> None:
    assert opened("recording:a.bin") == RecordingSource(Path("a.bin"), None)
    assert opened("recording:a.bin?baud=2400") == RecordingSource(Path("a.bin"), 2400)


def test_a_simulator_encrypts_with_the_meters_keys() -> None:
    assert opened("simulator:honeywell") == SimulatorSource("honeywell", KEY, AUTH_KEY, 5.0, None)
    assert opened("simulator:honeywell?interval=500ms&seed=0") == SimulatorSource(
        "honeywell", KEY, AUTH_KEY, 0.5, 0
    )


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("serial:/dev/x", "serial port /dev/x, 2400 baud 8E1"),
        ("serial:/dev/x?baud=9600&parity=none", "serial port /dev/x, 9600 baud 8N1"),
        ("tcp://[fd00::1]:2400", "TCP server [fd00::1]:2400"),
        ("tcp-listen://0.0.0.0:1", "TCP port 0.0.0.0:1 for an adapter that dials in"),
        ("udp://2400", "UDP port 127.0.0.1:2400"),
        ("mqtt://b/a/b", "topic a/b of the MQTT broker b:1883"),
        ("mqtts://b/a/b", "topic a/b of the MQTT broker b:8883 over TLS"),
        ("recording:a.bin", "recording a.bin, at once"),
        ("recording:a.bin?baud=2400", "recording a.bin, 2400 baud"),
        ("simulator:kaifa-ma110m", "simulated kaifa-ma110m, a telegram every 5 s"),
        ("simulator:kaifa-ma110m?interval=500ms", "simulated kaifa-ma110m, a telegram every 0.5 s"),
    ],
)
def test_a_source_describes_itself_to_people(text: str, description: str) -> None:
    assert opened(text).describe() == description


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serial:/dev/x?bawd=1", "unknown option 'bawd', did you mean 'baud'?"),
        ("serial:/dev/x?baud=49", "baud is a whole number from 50 on, not '49'"),
        ("serial:/dev/x?parity=e", "parity is one of none, even, odd, not 'e'"),
        ("tcp://meter", "'meter' is no host:port; one looks like tcp://192.168.1.20:2400"),
        ("tcp://meter:2400?silense=1s", "unknown option 'silense', did you mean 'silence'?"),
        ("tcp://meter:1?silence=0", "'0' is no duration; one looks like 15s, 500ms, 2min or 1h"),
        ("tcp://u:geheim@b:1", "'…@b:1' is no host:port; one looks like tcp://192.168.1.20:2400"),
        ("tcp-listen://x:y", "'x:y' is no host:port; one looks like tcp-listen://0.0.0.0:2400"),
        (
            "udp://2400?allow=meter",
            "allow: 'meter' does not appear to be an IPv4 or IPv6 network; it looks like "
            "192.168.1.20 or 192.168.1.0/24",
        ),
        ("mqtt://b", "no topic is named; one looks like meter/raw behind the host"),
        ("mqtt://b/?user=u", "no topic is named; one looks like meter/raw behind the host"),
        ("mqtt://b/meter/#", "one meter has one topic, without + and #, not 'meter/#'"),
        ("mqtt://b/+/raw", "one meter has one topic, without + and #, not '+/raw'"),
        ("mqtt://b:x/a", "'b:x' is no host:port; one looks like mqtt://192.168.1.10/meter/raw"),
        ("mqtt://b/a?encoding=hax", "encoding is one of binary, hex, base64, not 'hax'"),
        ("mqtt://b/a?password=env:X", "a password needs a user: ?user=NAME&password=…"),
        (
            "mqtt://b/a?user=u&password=geheim",
            "password: a password stands in a file, a variable or a credential: file:PATH, "
            "env:NAME or credential:NAME",
        ),
        (
            "mqtt://b/a?user=u&password=env:NOT_SET_HERE",
            "password: environment variable NOT_SET_HERE is not set",
        ),
        (
            "mqtt://b/a?user=u&password=file:no.password",
            "password: password file no.password does not exist",
        ),
        (
            "mqtt://u:geheim@b/a",
            "user and password do not stand before the host, but behind the topic: "
            "?user=NAME&password=file:mqtt.password",
        ),
        (
            "mqtt://b/a?ca=ca.crt",
            "unknown option 'ca'; known are user, password, encoding, silence",
        ),
        ("mqtts://b/a?ca=no.crt", "ca: no.crt cannot be read: No such file or directory"),
        ("mqtts://b/a?ca=pyproject.toml", "ca: pyproject.toml is no certificate (PEM)"),
        ("recording:a.bin?parity=even", "unknown option 'parity'; known are baud, speed"),
        ("recording:a.bin?baud=x", "baud is a whole number from 50 on, not 'x'"),
        ("simulator:kaifa-ma309", "unknown meter 'kaifa-ma309', did you mean 'kaifa-ma309m'?"),
        ("simulator:x", f"unknown meter 'x'; known are {', '.join(MODELS)}"),
        (
            "simulator:iskra-am550",
            "unknown meter 'iskra-am550', did you mean 'iskra-am550-kaernten'?",
        ),
        (
            "simulator:honeywell?intervall=1s",
            "unknown option 'intervall', did you mean 'interval'?",
        ),
        (
            "simulator:honeywell?interval=0s",
            "'0s' is no duration; one looks like 15s, 500ms, 2min or 1h",
        ),
        ("simulator:honeywell?seed=-1", "seed is a whole number from 0 on, not '-1'"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as problem:
        opened(text)
    assert str(problem.value) == expected


@pytest.mark.parametrize(
    ("text", "is_lasting"),
    [
        ("serial:/dev/x", True),
        ("tcp://meter:2400", True),
        ("tcp-listen://2400", True),
        ("udp://2400", True),
        ("mqtt://broker/meter", True),
        ("recording:a.bin", False),
        ("simulator:honeywell", False),
    ],
)
def test_only_a_real_meter_goes_on_in_the_next_run(text: str, is_lasting: bool) -> None:
    assert opened(text).is_lasting is is_lasting


@pytest.mark.parametrize("model", MODELS)
def test_a_simulated_meter_pushes_as_often_as_a_real_one(model: str) -> None:
    interval_s = MODELS[model].interval_s
    assert opened(f"simulator:{model}") == SimulatorSource(model, KEY, AUTH_KEY, interval_s, None)
    assert opened(f"simulator:{model}").describe() == (
        f"simulated {model}, a telegram every {interval_s:g} s"
    )


def test_a_source_does_not_show_its_keys() -> None:
    for key in (KEY, AUTH_KEY):
        shown = repr(opened("simulator:honeywell"))
        assert key.octets.hex() not in shown
        assert repr(key.octets) not in shown
