"""Source addresses: kind:target?option=value, and what is said of a wrong one."""

import re

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
    ],
)
def test_an_address_is_a_kind_a_target_and_options(
    text: str, kind: str, target: str, options: dict[str, str]
) -> None:
    assert SourceAddress.parse(text) == SourceAddress(text, kind, target, options)


EXAMPLES = "serial:/dev/ttyUSB0, recording:meter.bin, simulator:kaifa-ma309m"


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


def test_an_option_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^an option comes twice in 'seed=1&seed=2'$"):
        SourceAddress.parse("simulator:honeywell?seed=1&seed=2")
