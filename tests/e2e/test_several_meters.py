"""Several meters in one process: sums and differences of them, and failures that stay alone."""

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from gateway.simulator import SimulatedMeter

from .conftest import PATIENCE_S, Client, Line, Running, obisgate

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

TARGET_FAILED_TO_RESPOND = 0x0B
WATTS, DRAWN_WH, FED_IN_WH = 4, 10, 12  # addresses in the plain table
NOT_AVAILABLE = 0xFFFFFFFF
HOUSE, ANNEX, SITE, REST = 1, 2, 3, 4
SERVED = """
  site: {sum: [house, annex]}
  rest: {difference: [house, annex]}
listeners:
  - tcp: 127.0.0.1:0
    units:
      1: {meter: house, map: obis_plain}
      2: {meter: annex, map: obis_plain}
      3: {meter: site, map: obis_plain}
      4: {meter: rest, map: obis_plain}
"""
SIMULATED = f"""
meters:
  house: {{source: "simulator:kaifa-ma309m?interval=1h&seed=1", hold: 5min}}
  annex: {{source: "simulator:kaifa-ma110m?interval=1h&seed=2", hold: 5min}}
{SERVED}"""


def watts(client: Client, unit: int) -> int:
    return int(struct.unpack(">i", client.read(unit, WATTS, 2))[0])


class Pushing:
    """A simulated meter at the other end of a pseudo-terminal."""

    def __init__(self, model: str, key: str, seed: int) -> None:
        start = datetime(2026, 1, 5, 18, tzinfo=UTC)
        self._meter = SimulatedMeter(model, bytes.fromhex(key), seed=seed, start=start)
        self._line = Line()
        # A pseudo-terminal takes no parity.
        self.source = f"serial:{self._line.device}?parity=none"
        self.close = self._line.close

    def push(self) -> None:
        self._line.write(self._meter.push().telegram)


@pytest.fixture
def house(key: str) -> Iterator[Pushing]:
    with ExitStack() as stack:
        pushing = Pushing("kaifa-ma309m", key, 3)
        stack.callback(pushing.close)
        yield pushing


@pytest.fixture
def annex(key: str) -> Iterator[Pushing]:
    with ExitStack() as stack:
        pushing = Pushing("kaifa-ma110m", key, 4)
        stack.callback(pushing.close)
        yield pushing


def on(house: str, annex: str, hold: str) -> str:
    return f"""
meters:
  house: {{source: "{house}", key: env:TEST_KEY, hold: {hold}}}
  annex: {{source: "{annex}", key: env:TEST_KEY, hold: {hold}}}
{SERVED}"""


def test_a_modbus_client_reads_the_sum_and_the_difference_of_two_meters(start: Start) -> None:
    running = start(SIMULATED)
    assert {running.telegram()["name"] for _ in range(2)} == {"house", "annex"}
    with ModbusTcpClient("127.0.0.1", port=running.port, timeout=PATIENCE_S) as client:

        def shown(address: int, code: str) -> dict[int, int]:
            found = {}
            for unit in (HOUSE, ANNEX, SITE, REST):
                reply = client.read_holding_registers(address, count=2, device_id=unit)
                assert not reply.isError()
                (found[unit],) = struct.unpack(code, struct.pack(">HH", *reply.registers))
            return found

        power = shown(WATTS, ">i")
        assert power[HOUSE]
        assert power[ANNEX]
        assert power[SITE] == power[HOUSE] + power[ANNEX]
        assert power[REST] == power[HOUSE] - power[ANNEX]
        for address in (DRAWN_WH, FED_IN_WH):
            energy = shown(address, ">I")
            assert energy[SITE] == energy[HOUSE] + energy[ANNEX]
            assert energy[REST] == NOT_AVAILABLE, "its counters would run backwards"


def test_one_silent_meter_silences_what_is_made_of_it_until_it_speaks_again(
    house: Pushing, annex: Pushing, start: Start, connect: Connect
) -> None:
    running = start(on(house.source, annex.source, "2s"))
    for _ in range(2):
        running.message("is open")
    client = connect(running.port)
    for each in (SITE, REST):
        assert client.exception(each, WATTS, 2) == TARGET_FAILED_TO_RESPOND
    house.push()
    running.telegram()
    assert client.exception(SITE, WATTS, 2) == TARGET_FAILED_TO_RESPOND, "never a part alone"
    # A slow machine may let one grow old before the other is read.
    while client.exception(SITE, WATTS, 2) is not None:
        house.push()
        annex.push()
        running.telegram()
        running.telegram()
    live = len(running.seen)
    silent = re.compile("site: no good telegram of (house and )?annex for 2 s")
    while not any(silent.match(said(event)) for event in running.seen[live:]):
        house.push()
        running.telegram()
    assert client.exception(SITE, WATTS, 2) == TARGET_FAILED_TO_RESPOND
    assert client.exception(REST, WATTS, 2) == TARGET_FAILED_TO_RESPOND
    while client.exception(HOUSE, WATTS, 2) is not None:
        house.push()
        running.telegram()
    while client.exception(SITE, WATTS, 2) is not None:
        house.push()
        annex.push()
        running.telegram()
        running.telegram()
    back = "site: telegrams of all its meters come again"
    if not any(back in said(event) for event in running.seen):
        running.message(back)


def said(event: dict[str, object]) -> str:
    return str(event.get("message", ""))


def test_a_meter_whose_device_is_absent_touches_no_other(
    tmp_path: Path, house: Pushing, start: Start, connect: Connect
) -> None:
    running = start(on(house.source, f"serial:{tmp_path}/absent", "1s"))
    running.message("absent does not exist")
    running.message("site: no good telegram of house and annex for 1 s")
    client = connect(running.port)
    for _ in range(3):
        house.push()
        assert running.telegram()["name"] == "house"
    while client.exception(HOUSE, WATTS, 2) is not None:
        house.push()
        running.telegram()
    for unit in (ANNEX, SITE, REST):
        assert client.exception(unit, WATTS, 2) == TARGET_FAILED_TO_RESPOND


def test_check_and_run_show_in_words_what_a_virtual_meter_is(tmp_path: Path, start: Start) -> None:
    config = tmp_path / "site.yaml"
    config.write_text(SIMULATED)
    done = obisgate("check", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{config}: good; meters: 4, listeners: 1",
        "meter site: house + annex",
        "meter rest: house - annex",
    ]
    running = start(SIMULATED)
    shown = [event for event in running.seen if event["event"] == "meter"]
    assert shown[2]["sum"] == shown[3]["difference"] == ["house", "annex"]
    assert [event["meter"] for event in shown] == ["house", "annex", "site", "rest"]


@pytest.mark.parametrize("command", [("decode", "--meter", "site"), ("explain", "--meter", "site")])
def test_a_virtual_meter_has_no_telegrams_to_look_into(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(SIMULATED)
    done = obisgate(*command, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr == (
        "obisgate: meter site is house + annex and has no telegrams of its own: name one of those\n"
    )
