"""Addresses to listen on: host and port, or words that say what is wrong."""

import pytest

from gateway.endpoint import parse_endpoint, show_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:5020", ("127.0.0.1", 5020)),
        ("0.0.0.0:502", ("0.0.0.0", 502)),
        ("5020", ("127.0.0.1", 5020)),
        (":5020", ("127.0.0.1", 5020)),
        ("[::1]:5020", ("::1", 5020)),
        ("[::]:0", ("::", 0)),
        ("cabinet.lan:65535", ("cabinet.lan", 65535)),
        ("raspberry-pi:502", ("raspberry-pi", 502)),
    ],
)
def test_an_address_is_host_and_port(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("0.0.0.0", ("0.0.0.0", 802)),
        ("[::]", ("::", 802)),
        ("cabinet.lan", ("cabinet.lan", 802)),
        ("8802", ("127.0.0.1", 8802)),
        ("0.0.0.0:8802", ("0.0.0.0", 8802)),
    ],
)
def test_a_host_alone_has_the_usual_port_where_there_is_one(
    text: str, endpoint: tuple[str, int]
) -> None:
    assert parse_endpoint(text, 802) == endpoint


@pytest.mark.parametrize("text", ["", ":", "::1", "1.2.3", "a b", "host:"])
def test_a_usual_port_makes_no_address_of_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        parse_endpoint(text, 802)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "here",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0..1:5020",
        "300.1.1.1:5020",
        "1.2.3:5020",
        "tcp://127.0.0.1:5020",
        "*:5020",
        "::1:5020",
        "[::1:5020",
        "[cabinet]:5020",
        "[1.2.3.4]:5020",
        "-cabinet:5020",
        "cabinet..lan:5020",
        "a\0b:5020",
        "a" * 64 + ":5020",
        ".".join(["a" * 60] * 5) + ":5020",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address; one looks like 0\.0\.0\.0:502$"):
        parse_endpoint(text)


def test_a_link_local_address_needs_its_interface() -> None:
    assert parse_endpoint("[fe80::1%eth0]:5020") == ("fe80::1%eth0", 5020)
    with pytest.raises(ValueError, match=r"^fe80::1 needs its interface: \[fe80::1%eth0\]:5020$"):
        parse_endpoint("[fe80::1]:5020")


def test_an_address_is_shown_as_it_is_written() -> None:
    assert show_endpoint("127.0.0.1", 502) == "127.0.0.1:502"
    assert show_endpoint("::1", 502) == "[::1]:502"
