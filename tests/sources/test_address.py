"""Source addresses: kind:target?option=value, and what is said of a wrong one."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sources import SourceAddress


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as problem:
        SourceAddress.parse(text)
    return str(problem.value)


# --- the grammar ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "target", "options"),
    [
        ("serial:/dev/ttyUSB0", "serial", "/dev/ttyUSB0", {}),
        ("serial:/dev/ttyUSB0?baud=2400", "serial", "/dev/ttyUSB0", {"baud": "2400"}),
        (
            "serial:/dev/serial/by-id/usb-FTDI_A:B-if00?baud=9600&parity=none",
            "serial",
            "/dev/serial/by-id/usb-FTDI_A:B-if00",
            {"baud": "9600", "parity": "none"},
        ),
        ("recording:meter.bin", "recording", "meter.bin", {}),
        ("recording:/var/lib/a b.bin?baud=2400", "recording", "/var/lib/a b.bin", {"baud": "2400"}),
        (
            "simulator:kaifa-ma309m?interval=5s&seed=1",
            "simulator",
            "kaifa-ma309m",
            {"interval": "5s", "seed": "1"},
        ),
        ("simulator:kaifa-ma309m?", "simulator", "kaifa-ma309m", {}),
        ("simulator:kaifa-ma309m?seed=", "simulator", "kaifa-ma309m", {"seed": ""}),
        ("tcp://192.168.1.20:2400", "tcp", "192.168.1.20:2400", {}),
        ("tcp://[fe80::1%eth0]:2400", "tcp", "[fe80::1%eth0]:2400", {}),
        ("tcp-listen://2400?allow=::1", "tcp-listen", "2400", {"allow": "::1"}),
        (
            "mqtt://broker/meter/raw?encoding=hex&password=file:a.password",
            "mqtt",
            "broker/meter/raw",
            {"encoding": "hex", "password": "file:a.password"},
        ),
    ],
)
def test_an_address_is_a_kind_a_target_and_options(
    text: str, kind: str, target: str, options: dict[str, str]
) -> None:
    assert SourceAddress.parse(text) == SourceAddress(text, kind, target, options)


EXAMPLES = (
    "serial:/dev/ttyUSB0, tcp://192.168.1.20:2400, tcp-listen://0.0.0.0:2400, "
    "udp://0.0.0.0:2400, mqtt://192.168.1.10/meter/raw, mqtts://broker.example/meter/raw, "
    "recording:meter.bin, simulator:kaifa-ma309m"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"unknown source ''; a source looks like {EXAMPLES}"),
        ("serial", f"unknown source 'serial'; a source looks like {EXAMPLES}"),
        ("/dev/ttyUSB0", f"unknown source '/dev/ttyUSB0'; a source looks like {EXAMPLES}"),
        ("modem:x", f"unknown source 'modem:x'; a source looks like {EXAMPLES}"),
        ("seriel:/dev/ttyUSB0", "unknown source 'seriel:/dev/ttyUSB0', did you mean 'serial'?"),
        ("Serial:/dev/ttyUSB0", "unknown source 'Serial:/dev/ttyUSB0', did you mean 'serial'?"),
        ("simulater:x", "unknown source 'simulater:x', did you mean 'simulator'?"),
        ("tpc://x:1", "unknown source 'tpc://x:1', did you mean 'tcp'?"),
        ("tcp:x:1", "a tcp source begins with tcp://, as tcp://192.168.1.20:2400"),
        ("tcp:/x:1", "a tcp source begins with tcp://, as tcp://192.168.1.20:2400"),
        ("udp://", "'udp://' names no udp; one looks like udp://0.0.0.0:2400"),
        ("mqqt://u:g@h/eim@x/y", "unknown source 'mqqt://…@x/y', did you mean 'mqtt'?"),
        ("mqqt://u:geheim@x/y", "unknown source 'mqqt://…@x/y', did you mean 'mqtt'?"),
        (
            "mqtt://x/y?user=u&password=geheim&user=u",
            "an option comes twice in 'user=u&password=…&user=u'",
        ),
        (
            "mqtt://x/y?password=geheim&user",
            "options look like ?name=value&name=value, not 'password=…&user'",
        ),
        (
            "mqtt:?password=geheim",
            "a mqtt source begins with mqtt://, as mqtt://192.168.1.10/meter/raw",
        ),
        ("serial:", "'serial:' names no serial; one looks like serial:/dev/ttyUSB0"),
        (
            "recording:?baud=1",
            "'recording:?baud=1' names no recording; one looks like recording:meter.bin",
        ),
        ("serial:/dev/x?baud", "options look like ?name=value&name=value, not 'baud'"),
        ("serial:/dev/x?baud=1&&", "options look like ?name=value&name=value, not 'baud=1&&'"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(text: str, expected: str) -> None:
    assert refusal(text) == expected


@settings(deadline=None)
@given(st.one_of(st.text(), st.text().map(lambda rest: f"serial:{rest}")))
def test_any_text_is_an_address_or_refused_in_one_line(text: str) -> None:
    try:
        said = SourceAddress.parse(text).text
    except ValueError as problem:
        said = str(problem)
        text = " ".join(said.splitlines())
    assert said == text


# --- the reading methods --------------------------------------------------------------------


def with_options(**options: str) -> SourceAddress:
    return SourceAddress("", "serial", "/dev/x", options)


def test_options_that_a_kind_does_not_have_are_refused_with_the_nearest_word() -> None:
    with_options(baud="1", parity="none").allow(("baud", "parity"))
    with pytest.raises(ValueError, match=r"^unknown option 'paritiy', did you mean 'parity'\?$"):
        with_options(baud="1", paritiy="none").allow(("baud", "parity"))
    with pytest.raises(ValueError, match=r"^unknown option 'x'; known are baud, parity$"):
        with_options(x="1").allow(("baud", "parity"))


def test_an_integer_option_is_a_whole_number_from_its_lowest_on() -> None:
    assert with_options().integer("baud", 2400, lowest=50) == 2400
    assert with_options().integer("baud", None, lowest=50) is None
    assert with_options(baud="50").integer("baud", 2400, lowest=50) == 50
    assert with_options(seed="0").integer("seed", None, lowest=0) == 0


@pytest.mark.parametrize(
    "text", ["", "49", "-50", "2400.0", "2400 ", "0x960", "fast", "²400", "9" * 5000]
)
def test_a_wrong_integer_option_is_shown(text: str) -> None:
    expected = re.escape(f"baud is a whole number from 50 on, not {text!r}")
    with pytest.raises(ValueError, match=f"^{expected}$"):
        with_options(baud=text).integer("baud", 2400, lowest=50)


def test_a_duration_option_is_in_seconds() -> None:
    assert with_options().duration_s("interval", 5.0) == 5.0
    assert with_options(interval="500ms").duration_s("interval", 5.0) == 0.5
    with pytest.raises(ValueError, match=r"^'soon' is no duration; one looks like 15s, 500ms"):
        with_options(interval="soon").duration_s("interval", 5.0)


def test_a_choice_option_is_one_of_its_words() -> None:
    words = ("none", "even", "odd")
    assert with_options().choice("parity", words, "even") == "even"
    assert with_options(parity="odd").choice("parity", words, "even") == "odd"
    with pytest.raises(ValueError, match=r"^parity is one of none, even, odd, not 'Even'$"):
        with_options(parity="Even").choice("parity", words, "even")


@pytest.mark.parametrize(
    ("target", "usual_port", "expected"),
    [
        ("192.168.1.20:2400", None, ("192.168.1.20", 2400)),
        ("[fe80::1%eth0]:2400", None, ("fe80::1%eth0", 2400)),
        ("2400", None, ("127.0.0.1", 2400)),
        ("broker.example", 1883, ("broker.example", 1883)),
        ("broker.example:1884", 1883, ("broker.example", 1884)),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(
    target: str, usual_port: int | None, expected: tuple[str, int]
) -> None:
    assert with_options().endpoint(target, usual_port) == expected


@pytest.mark.parametrize(
    "target", ["", "meter", "meter:", "meter:0", "meter:65536", "meter:x", "1.2.3:80", "a b:80"]
)
def test_a_wrong_endpoint_is_shown_with_a_right_one(target: str) -> None:
    expected = re.escape(f"{target!r} is no host:port; one looks like tcp://192.168.1.20:2400")
    with pytest.raises(ValueError, match=f"^{expected}$"):
        SourceAddress("", "tcp", target, {}).endpoint(target)


def test_networks_have_commas_between() -> None:
    assert with_options().networks("allow") == []
    assert with_options(allow="192.168.1.20,10.0.0.0/8,fd00::/8").networks("allow") == [
        ip_network("192.168.1.20"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"^allow: 'meter' .*; it looks like 192\.168\.1\.20 or"):
        with_options(allow="192.168.1.20,meter").networks("allow")


def test_relative_files_start_in_the_folder(tmp_path: Path) -> None:
    address = SourceAddress.parse("mqtts://b/t?ca=ca.crt&password=file:a.password", tmp_path)
    assert address.path("ca") == tmp_path / "ca.crt"
    assert address.path("cb") is None
    (tmp_path / "a.password").touch(mode=0o600)
    (tmp_path / "a.password").write_text(" ge heim \n")
    assert address.password("password") == " ge heim "
    assert address.password("passwort") is None


def test_an_option_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^an option comes twice in 'seed=1&seed=2'$"):
        SourceAddress.parse("simulator:honeywell?seed=1&seed=2")
