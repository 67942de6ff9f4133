"""What clients read is what the meter said: simulator in, registers out, over real sockets."""

import re
import shlex
import struct
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import sunspec2.modbus.client as sunspec

from gateway.simulator import MODELS, Push, SimulatedMeter
from gateway.sources.simulated import SEEDED_START

from .conftest import OBISGATE, PATIENCE_S, Client, Running, needs_mbpoll, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

SEED = 7
MAPS = (
    "units: {1: {meter: house, map: sunspec_213}, 2: {meter: house, map: sunspec_203}, "
    "3: {meter: house, map: eastron_sdm630}, 4: {meter: house, map: obis_plain}}"
)


def one_telegram(model: str) -> str:
    """Return a config whose meter pushes once, now, and not again while a test runs."""
    return served(f"simulator:{model}?seed={SEED}&interval=1h", MAPS)


def sent(model: str, key: str) -> Push:
    """Return what that meter sends first, from the simulator itself."""
    meter = SimulatedMeter(model, bytes.fromhex(key), seed=SEED, start=SEEDED_START)
    return meter.push()


def number(push: Push, obis: str) -> float:
    value = push.readings[obis][0]
    assert isinstance(value, int | float)
    return value


# Where the plain table has what a meter may send, how it is written, and how "not sent" reads.
UINT, INT, FLOAT = (">I", b"\xff" * 4), (">i", b"\x80\0\0\0"), (">f", b"\x7f\xc0\0\0")
PLAIN = {
    "1-0:1.7.0.255": (6, UINT),
    "1-0:2.7.0.255": (8, UINT),
    "1-0:1.8.0.255": (10, UINT),
    "1-0:2.8.0.255": (12, UINT),
    "1-0:3.8.0.255": (14, UINT),
    "1-0:4.8.0.255": (16, UINT),
    "1-0:32.7.0.255": (18, FLOAT),
    "1-0:52.7.0.255": (20, FLOAT),
    "1-0:72.7.0.255": (22, FLOAT),
    "1-0:31.7.0.255": (24, FLOAT),
    "1-0:51.7.0.255": (26, FLOAT),
    "1-0:71.7.0.255": (28, FLOAT),
    "1-0:3.7.0.255": (50, UINT),
    "1-0:4.7.0.255": (52, UINT),
}
PLAIN_TEXTS = {"0-0:96.1.0.255": 32, "0-0:42.0.0.255": 40}
CLOCK, POWER_FACTOR = "0-0:1.0.0.255", "1-0:13.7.0.255"
SIGNED = {4: ("1-0:1.7.0.255", "1-0:2.7.0.255"), 48: ("1-0:3.7.0.255", "1-0:4.7.0.255")}
# What is sent by some, and has no register in the plain table.
TIME_AND_DATE = {"1-0:0.9.1.255", "1-0:0.9.2.255"}
TARIFFS = {f"1-0:{c}.8.{e}.255" for c in range(1, 5) for e in (1, 2)}
QUADRANTS = {f"1-0:{c}.8.0.255" for c in range(5, 9)}
LEFT_OUT = {
    "iskra-am550-kaernten": TIME_AND_DATE,
    "iskra-am550-segmented": TIME_AND_DATE,
    "siemens-im350-kaernten": TIME_AND_DATE,
    "siemens-im350-wels": TIME_AND_DATE,
    "lg-e450-gbt": TARIFFS,
    "lg-e570": QUADRANTS,
}


@pytest.mark.parametrize("model", MODELS)
def test_plain_table_shows_every_reading_that_the_simulator_sent(
    model: str, start: Start, connect: Connect, key: str
) -> None:
    running, push = start(one_telegram(model)), sent(model, key)
    running.telegram()
    words = connect(running.port).read(4, 0, 54)

    def shown(address: int, kind: tuple[str, bytes]) -> float | None:
        octets = words[2 * address : 2 * address + 4]
        return None if octets == kind[1] else struct.unpack(kind[0], octets)[0]

    # Some call their only channel 1.
    readings = {code.replace("1-1:", "1-0:"): value for code, (value, _) in push.readings.items()}
    known = {*PLAIN, *PLAIN_TEXTS, CLOCK, POWER_FACTOR}
    assert readings.keys() - known == LEFT_OUT.get(model, set())
    for code, (address, kind) in PLAIN.items():
        expected = readings.get(code)
        if isinstance(expected, float):
            expected = pytest.approx(expected, rel=1e-6)
        assert shown(address, kind) == expected, code
    for address, (drawn, fed) in SIGNED.items():
        is_sent = drawn in readings and fed in readings
        assert shown(address, INT) == (readings[drawn] - readings[fed] if is_sent else None)
    for code, address in PLAIN_TEXTS.items():
        text = words[2 * address : 2 * address + 16].rstrip(b"\0").decode()
        assert text == readings.get(code, ""), code
    clock = readings.get(CLOCK)
    # Local time of unknown deviation names no moment.
    is_moment = isinstance(clock, datetime) and clock.tzinfo is not None
    assert shown(2, UINT) == (int(clock.timestamp()) if is_moment else None)
    if POWER_FACTOR in readings:
        assert shown(30, FLOAT) == pytest.approx(readings[POWER_FACTOR], rel=1e-6)
    elif "1-0:32.7.0.255" not in readings:
        assert shown(30, FLOAT) is None, "nothing to derive it from"


def scanned(start: Start, unit: int) -> sunspec.SunSpecModbusClientDeviceTCP:
    """Return what pysunspec2 finds at a unit once a telegram has come."""
    running = start(one_telegram("kaifa-ma309m"))
    running.telegram()
    device = sunspec.SunSpecModbusClientDeviceTCP(
        slave_id=unit, ipaddr="127.0.0.1", ipport=running.port, timeout=PATIENCE_S
    )
    try:
        device.scan()
    finally:
        device.close()
    return device


def test_sunspec_scan_finds_models_1_and_213_with_the_values_that_were_sent(
    start: Start, key: str
) -> None:
    push = sent("kaifa-ma309m", key)
    device = scanned(start, unit=1)
    assert {key for key in device.models if isinstance(key, int)} == {1, 213}
    common, meter = device.models[1][0], device.models[213][0]
    assert common.SN.value == push.readings["0-0:96.1.0.255"][0]
    watts = number(push, "1-0:1.7.0.255") - number(push, "1-0:2.7.0.255")
    assert meter.W.cvalue == watts
    assert meter.WphA.cvalue + meter.WphB.cvalue + meter.WphC.cvalue == watts
    assert meter.TotWhImp.cvalue == pytest.approx(number(push, "1-0:1.8.0.255"), rel=2**-24)
    assert meter.TotWhExp.cvalue == pytest.approx(number(push, "1-0:2.8.0.255"), rel=2**-24)
    for point, code in (("PhVphA", 32), ("PhVphB", 52), ("PhVphC", 72)):
        volts = number(push, f"1-0:{code}.7.0.255")
        assert getattr(meter, point).cvalue == pytest.approx(volts, rel=1e-6)
    for point, code in (("AphA", 31), ("AphB", 51), ("AphC", 71)):
        amperes = number(push, f"1-0:{code}.7.0.255")
        assert getattr(meter, point).cvalue == pytest.approx(amperes, rel=1e-6)
    assert meter.Hz.cvalue == 50


def test_sunspec_scan_finds_model_203_with_phases_that_sum_to_the_total(
    start: Start, key: str
) -> None:
    push = sent("kaifa-ma309m", key)
    device = scanned(start, unit=2)
    meter = device.models[203][0]
    watts = number(push, "1-0:1.7.0.255") - number(push, "1-0:2.7.0.255")
    assert abs(meter.W.cvalue - watts) <= 5
    assert meter.WphA.cvalue + meter.WphB.cvalue + meter.WphC.cvalue == meter.W.cvalue
    assert meter.TotWhImp.cvalue == number(push, "1-0:1.8.0.255")
    assert meter.TotWhExp.cvalue == number(push, "1-0:2.8.0.255")
    assert meter.PhVphB.cvalue == pytest.approx(number(push, "1-0:52.7.0.255"))
    assert meter.AphC.cvalue == pytest.approx(number(push, "1-0:71.7.0.255"))


@needs_mbpoll
@pytest.mark.parametrize(
    ("unit", "options", "obis", "factor"),
    [
        (1, "-t 4:float -B -r 40130", "1-0:2.8.0.255", 1),
        (2, "-t 4:int -B -r 40116", "1-0:1.8.0.255", 1),
        (2, "-t 4 -r 40078", "1-0:32.7.0.255", 10),
        (3, "-t 3:float -B -r 0", "1-0:32.7.0.255", 1),
        (3, "-t 3:float -B -r 72", "1-0:1.8.0.255", 0.001),
        (4, "-t 3:int -B -r 10", "1-0:1.8.0.255", 1),
        (4, "-t 4:float -B -r 28", "1-0:71.7.0.255", 1),
    ],
)
def test_mbpoll_reads_what_was_sent(
    unit: int, options: str, obis: str, factor: float, start: Start, key: str
) -> None:
    push = sent("kaifa-ma309m", key)
    running = start(one_telegram("kaifa-ma309m"))
    running.telegram()
    command = f"mbpoll -m tcp -a {unit} -p {running.port} {options} -0 -c 1 -1 127.0.0.1"
    # mbpoll prints six significant digits of a float.
    assert mbpolled(command) == pytest.approx(number(push, obis) * factor, rel=1e-5)


@needs_mbpoll
@pytest.mark.parametrize("map_name", ["sunspec_213", "sunspec_203", "eastron_sdm630", "obis_plain"])
def test_the_mbpoll_line_runs_as_it_is_printed(map_name: str, key: str, tmp_path: Path) -> None:
    push = sent("kaifa-ma309m", key)
    config = tmp_path / "config.yaml"
    units = f"units: {{5: {{meter: house, map: {map_name}}}}}"
    config.write_text(served(f"simulator:kaifa-ma309m?seed={SEED}&interval=1h", units))
    with subprocess.Popen([OBISGATE, "run", config], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = next(text for text in process.stdout if " mbpoll " in text)
            watts = number(push, "1-0:1.7.0.255") - number(push, "1-0:2.7.0.255")
            step = 10 if map_name == "sunspec_203" else 1
            assert abs(mbpolled(line) * step - watts) <= step / 2
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def mbpolled(command: str) -> float:
    """Run mbpoll; return the one value that it shows."""
    done = subprocess.run(
        shlex.split(command), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # A 16-bit value with the top bit set is followed by its signed reading in brackets.
    match = re.search(r"^\[\d+\]:\s+(\S+)(?: \((-\d+)\))?", done.stdout, re.MULTILINE)
    assert match, done.stdout
    return float(match[2] or match[1])


def test_requests_in_one_segment_are_all_answered_in_order(start: Start, connect: Connect) -> None:
    running = start(one_telegram("kaifa-ma309m"))
    running.telegram()
    client = connect(running.port)
    requests = b"".join(
        struct.pack(">HHHBBHH", number, 0, 6, 1, 3, 40000 + number % 4, 1) for number in range(500)
    )
    client.socket.sendall(requests)
    shown = (b"Su", b"nS", b"\x00\x01", b"\x00\x42")
    for transaction in range(500):
        assert client.receive(transaction, 1) == b"\x03\x02" + shown[transaction % 4]


def test_a_request_in_many_segments_is_answered(start: Start, connect: Connect) -> None:
    running = start(one_telegram("kaifa-ma309m"))
    running.telegram()
    client = connect(running.port)
    client.socket.setsockopt(6, 1, 1)  # TCP_NODELAY: each byte travels alone
    for octet in struct.pack(">HHHBBHH", 9, 0, 6, 1, 3, 40000, 2):
        client.socket.send(bytes([octet]))
    assert client.receive(9, 1) == b"\x03\x04SunS"


def test_any_serves_every_unit_id(start: Start, connect: Connect) -> None:
    running = start(
        served("simulator:kaifa-ma309m?interval=1h", "any: {meter: house, map: sunspec_213}")
    )
    running.telegram()
    client = connect(running.port)
    assert [client.read(unit, 40000, 2) for unit in (0, 1, 71, 255)] == 4 * [b"SunS"]


def test_exceptions_are_exact_and_come_at_once(start: Start, connect: Connect) -> None:
    running = start(one_telegram("kaifa-ma309m"))
    running.telegram()
    client = connect(running.port)
    assert client.exception(99, 40000, 2) == 0x0B, "unknown unit"
    assert client.request(1, b"\x2b\x0e\x01\x00") == b"\xab\x01", "function"
    assert client.request(1, b"\x06\x9c\x40\x00\x01") == b"\x86\x01", "a write"
    assert client.request(1, b"\x10\x9c\x40\x00\x01\x02\x00\x01") == b"\x90\x01", "a write"
    assert client.exception(1, 40000, 0) == 0x03
    assert client.exception(1, 40000, 126) == 0x03
    assert client.exception(1, 39999, 2) == 0x02
    assert client.exception(1, 40197, 2) == 0x02
    assert client.exception(1, 0, 3) == 0x02, "a SunSpec scan goes on after an exception"
    assert client.read(1, 40000, 125)[:4] == b"SunS", "and the connection lives"


def test_several_listeners_serve_several_meters(
    tmp_path: Path, start: Start, connect: Connect
) -> None:
    running = start("""
meters:
  house: {source: "simulator:kaifa-ma309m?interval=1h&seed=1"}
  flat: {source: "simulator:kaifa-ma110m?interval=1h&seed=2"}
listeners:
  - {tcp: "127.0.0.1:0", units: {1: {meter: house, map: obis_plain}}}
  - tcp: 127.0.0.1:0
    units:
      1: {meter: flat, map: obis_plain}
      2: {meter: house, map: obis_plain}
""")
    second = running.until(lambda event: event["event"] == "listener")["port"]
    names = {running.telegram()["name"] for _ in range(2)}
    assert names == {"house", "flat"}
    first_client, second_client = connect(running.port), connect(second)
    house = first_client.read(1, 32, 8)
    flat = second_client.read(1, 32, 8)
    assert house.startswith(b"1KFM02")
    assert flat.startswith(b"1KFM01")
    assert second_client.read(2, 32, 8) == house
