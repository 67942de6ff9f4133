"""From an address to a source: each kind with its options, nothing opened yet."""

from pathlib import Path

import pytest

from gateway.simulator import MODELS
from gateway.sources import Source, SourceAddress, open_source
from gateway.sources.recording import RecordingSource
from gateway.sources.serial_port import SerialSource
from gateway.sources.simulated import SimulatorSource
from gateway.telegram import Key

KEY, AUTH_KEY = Key(bytes(range(16))), Key(bytes(range(0xD0, 0xE0)))


def opened(text: str) -> Source:
    return open_source(SourceAddress.parse(text), KEY, AUTH_KEY)


def test_a_serial_port_has_2400_baud_8e1_unless_said_otherwise() -> None:
    assert opened("serial:/dev/x") == SerialSource("/dev/x", 2400, "even")
    assert opened("serial:/dev/x?baud=9600&parity=odd") == SerialSource("/dev/x", 9600, "odd")


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
    [("serial:/dev/x", True), ("recording:a.bin", False), ("simulator:honeywell", False)],
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
