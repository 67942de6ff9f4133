"""obisgate read, as it is typed: against the gateway itself and against somebody else's meter."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway import map_library
from gateway.registers import Table
from gateway.simulator import SimulatedMeter
from gateway.snapshot import QUANTITIES, Origin, Snapshot, Value
from gateway.sources.simulated import SEEDED_START
from tests.e2e.conftest import (  # noqa: F401 - fixtures
    OBISGATE,
    PATIENCE_S,
    Running,
    _states,
    key,
    obisgate,
    served,
    start,
)

Start = Callable[[str], Running]

SEED = 7
SIZES = ("COLUMNS", "LINES")
ONE_TELEGRAM = f"simulator:kaifa-ma309m?seed={SEED}&interval=1h"
UNITS = (
    "units: {1: {meter: house, map: sunspec_213}, 2: {meter: house, map: sunspec_203}, "
    "4: {meter: house, map: obis_plain}}"
)
VALUES = {
    "voltage_l1": 230.4, "voltage_l2": 231, "voltage_l3": 229.6, "current_l1": 1.25,
    "active_power_total": -1230, "energy_active_import_total": 12345678, "frequency": 50.0,
}  # fmt: skip
VOLTAGE_L1, V_SF, MODEL = 40078, 40085, 40070


def read(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = obisgate("read", *map(str, arguments))
    assert "Traceback" not in done.stderr
    return done


def row(output: str, address: int) -> str:
    """Return the line of a register."""
    (line,) = re.findall(rf"^[!~ ] +{address}  .*$", output, re.MULTILINE)
    return line


@pytest.fixture
def gateway(start: Start) -> str:  # noqa: F811
    """The address of the gateway, once its meter has sent its only telegram."""
    running = start(served(ONE_TELEGRAM, UNITS))
    running.telegram()
    return f"127.0.0.1:{running.port}"


@contextlib.contextmanager
def foreign(
    words: Sequence[int], first: int = 0, framer: FramerType = FramerType.SOCKET
) -> Iterator[str]:
    """Run a stock pymodbus server with registers as unit 1."""
    device = SimDevice(1, simdata=[SimData(first, values=list(words), datatype=DataType.REGISTERS)])
    ready: list[int] = []
    is_ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = ModbusTcpServer(device, address=("127.0.0.1", 0), framer=framer)
        await server.serve_forever(background=True)
        ready.append(server.transport.sockets[0].getsockname()[1])
        is_ready.set()
        await stop.wait()
        await server.shutdown()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert is_ready.wait(PATIENCE_S)
        yield f"127.0.0.1:{ready[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
        loop.close()


def sunspec_203(**changed: float) -> list[int]:
    """Return the words of a meter with model 203, from 40000 on."""
    numbers = VALUES | changed
    values = {name: Value(number, Origin.MEASURED) for name, number in numbers.items()}
    image = map_library.load("sunspec_203", None).render(
        Snapshot(values, {"meter_number": "77"}, 0.0)
    )
    found = b""
    for first, count in ((40000, 100), (40100, 79)):
        words = image.read(Table.HOLDING, first, count)
        assert isinstance(words, bytes)
        found += words
    return list(struct.unpack(">179H", found))


def test_shows_what_the_meter_sent_with_words_value_and_meaning(gateway: str, key: str) -> None:  # noqa: F811
    push = SimulatedMeter("kaifa-ma309m", bytes.fromhex(key), seed=SEED, start=SEEDED_START).push()
    energy, volts = push.readings["1-0:1.8.0.255"][0], push.readings["1-0:32.7.0.255"][0]
    assert isinstance(energy, int)
    done = read(gateway, "--unit", 4, "--map", "obis_plain")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{gateway}, unit 4, Plain OBIS table\n")
    words = f"{energy >> 16:04X} {energy & 0xFFFF:04X}"
    shown = row(done.stdout, 10)
    assert re.search(rf" 10  3   {words} +{energy} Wh +energy_active_import_total: energy", shown)
    assert f" {volts:g} V " in row(done.stdout, 18)
    assert "not available" in row(done.stdout, 48)
    assert f"'{push.readings['0-0:96.1.0.255'][0]}'" in row(done.stdout, 32)


def test_json_is_one_object_with_every_register(gateway: str) -> None:
    done = read(gateway, "--unit", 2, "--map", "sunspec_203", "--format", "json")
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["endpoint"], found["unit"], found["refused"]) == (gateway, 2, [])
    registers = {each["address"]: each for each in found["registers"]}
    assert len(registers) == len(map_library.load("sunspec_203", None).registers)
    voltage = registers[VOLTAGE_L1]
    assert voltage["value"] == int(voltage["words"][0], 16) / 10
    assert (voltage["quantity"], voltage["unit"], voltage["type"]) == ("voltage_l1", "V", "int16")
    assert registers[MODEL]["value"] == 203
    assert registers[MODEL]["is_as_in_map"] is True


def test_the_unit_id_of_the_map_is_the_default(gateway: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nunit_ids: [4]\nregisters:\n"
        "  - {address: 4, quantity: active_power_total, type: int32}\n"
    )
    by_file = read(gateway, "--map", path)
    by_name = read(gateway, "--map", "mine", "--maps", tmp_path)
    assert (by_file.returncode, by_name.returncode) == (0, 0)
    assert by_file.stdout == by_name.stdout
    assert "unit 4, mine" in by_file.stdout


def test_only_names_and_addresses(gateway: str) -> None:
    names = "active_power_total, 40080-40083,0x9C40"
    done = read(gateway, "--unit", 2, "--map", "sunspec_203", "--only", names)
    found = re.findall(r"^[!~ ] +(\d+)  ", done.stdout, re.MULTILINE)
    assert found == ["40000", "40080", "40081", "40082", "40083", "40088"]
    assert re.search(r" -?\d+0 W ", row(done.stdout, 40088)), "its scale factor counts as well"


def test_base_moves_the_map(start: Start) -> None:  # noqa: F811
    running = start(
        served(ONE_TELEGRAM, "units: {1: {meter: house, map: sunspec_203, base: 50000}}")
    )
    running.telegram()
    address = f"127.0.0.1:{running.port}"
    done = read(address, "--map", "sunspec_203", "--base", "50000")
    assert done.returncode == 0
    assert "'SunS'" in row(done.stdout, 50000)
    wrong = read(address, "--map", "sunspec_203")
    assert wrong.returncode == 1
    assert "exception 0x02, illegal data address" in wrong.stdout
    assert "--base" in wrong.stdout


def test_reads_somebody_elses_meter_and_marks_constants_that_differ() -> None:
    words = sunspec_203()
    words[MODEL - 40000] = 204
    with foreign(words, 40000) as address:
        done = read(address, "--map", "sunspec_203")
    assert done.returncode == 1
    assert row(done.stdout, MODEL).startswith("!")
    assert row(done.stdout, MODEL).endswith("; the map has 203")
    assert len(re.findall(r"^! +\d+  ", done.stdout, re.MULTILINE)) == 1
    assert " 230.4 V " in row(done.stdout, VOLTAGE_L1)
    assert " -1230 W " in row(done.stdout, 40088)


def test_a_scale_factor_that_the_meter_has_otherwise_is_used() -> None:
    words = sunspec_203()
    words[V_SF - 40000] = 0xFFFE
    words[VOLTAGE_L1 - 40000] = 23041
    with foreign(words, 40000) as address:
        whole = read(address, "--map", "sunspec_203")
        part = read(address, "--map", "sunspec_203", "--only", "voltage_l1")
    assert row(whole.stdout, V_SF).startswith("!")
    assert " 230.41 V " in row(whole.stdout, VOLTAGE_L1)
    assert " 230.41 V " in row(part.stdout, VOLTAGE_L1)
    assert (whole.returncode, part.returncode) == (1, 0), "what is not shown is not judged"


def compared(theirs: list[int]) -> subprocess.CompletedProcess[str]:
    return paired(sunspec_203(), theirs)


def paired(ours: list[int], theirs: list[int]) -> subprocess.CompletedProcess[str]:
    with foreign(ours, 40000) as one, foreign(theirs, 40000) as two:
        return read(one, "--map", "sunspec_203", "--compare", two)


def test_two_alike_have_no_marks() -> None:
    done = compared(sunspec_203())
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.findall(r"^[!~] ", done.stdout, re.MULTILINE)
    assert row(done.stdout, VOLTAGE_L1).count(" 230.4 V ") == 2
    assert "+0.0  voltage_l1" in row(done.stdout, VOLTAGE_L1)


def test_values_that_differ_by_more_than_a_step_are_marked_but_not_wrong() -> None:
    done = compared(sunspec_203(voltage_l1=230.6, voltage_l2=231.1))
    assert done.returncode == 0
    assert re.search(r"^~.* 230\.4 V .* 230\.6 V +\+0\.2  ", row(done.stdout, VOLTAGE_L1))
    assert row(done.stdout, VOLTAGE_L1 + 1).startswith(" "), "one step may be rounding"


def test_a_value_that_one_side_alone_has_is_wrong() -> None:
    words = sunspec_203()
    words[VOLTAGE_L1 - 40000] = 0x8000
    done = compared(words)
    assert done.returncode == 1
    assert re.search(r"^!.* 230\.4 V .* not available +B has none  ", row(done.stdout, VOLTAGE_L1))
    assert "! a constant that differs, a value that one side alone has, or a" in done.stdout
    turned = paired(words, sunspec_203())
    assert turned.returncode == 1
    assert "not available" in row(turned.stdout, VOLTAGE_L1)
    assert " A has none " in row(turned.stdout, VOLTAGE_L1)


def test_a_value_that_neither_side_has_is_alike() -> None:
    words = sunspec_203()
    words[VOLTAGE_L1 - 40000] = 0x8000
    done = paired(words, words)
    assert done.returncode == 0
    assert row(done.stdout, VOLTAGE_L1).startswith(" ")


def test_constants_that_differ_are_wrong() -> None:
    words = sunspec_203()
    words[MODEL - 40000] = 204
    done = compared(words)
    assert done.returncode == 1
    assert re.search(r"^!.* 203 .* 204 .* differs  ", row(done.stdout, MODEL))


def test_a_register_that_one_side_alone_answers_is_wrong() -> None:
    done = compared(sunspec_203()[:125])
    assert done.returncode == 1
    assert re.search(r"^!.*exception 0x02", row(done.stdout, 40177))
    assert "B  function 3, registers " in done.stdout
    assert "A  function 3, registers " not in done.stdout


def test_the_gateway_and_another_meter_side_by_side_as_json(gateway: str) -> None:
    registers = map_library.load("sunspec_203", None).registers
    names = [each.quantity for each in registers if each.quantity]
    sent = {name: 1 for name in names if QUANTITIES[name].origin is not Origin.NOT_SENT}
    del sent["reactive_power_total"]  # this meter does not send all of it
    with foreign(sunspec_203(**sent | VALUES), 40000) as other:
        arguments = ("--map", "sunspec_203", "--compare", f"{gateway},2", "--format", "json")
        done = read(other, *arguments)
    assert done.returncode == 0, "each shows its own unit id, all other constants are alike"
    found = json.loads(done.stdout)
    assert (found["a"]["endpoint"], found["b"]["endpoint"]) == (other, gateway)
    assert (found["b"]["unit"], found["is_alike"]) == (2, True)
    voltage = next(each for each in found["registers"] if each["address"] == VOLTAGE_L1)
    difference = voltage["b"]["value"] - voltage["a"]["value"]
    assert voltage["difference"] == pytest.approx(difference)
    assert voltage["is_different"] == (abs(difference) > 0.1001)


def test_two_units_of_one_gateway_show_their_own_ids(start: Start) -> None:  # noqa: F811
    units = "units: {1: {meter: house, map: sunspec_203}, 2: {meter: house, map: sunspec_203}}"
    running = start(served(ONE_TELEGRAM, units))
    running.telegram()
    address = f"127.0.0.1:{running.port}"
    done = read(address, "--map", "sunspec_203", "--compare", f"{address},2")
    assert done.returncode == 0
    serial = row(done.stdout, 40052)
    assert serial.startswith("~"), "a serial number differs, and should"
    assert "-2'" in serial
    assert "~ values that differ by more than a step of the map; or texts of the me" in done.stdout


IDENTIFIED = """
name: identified
identity: {{vendor: Maker, product: {product}, revision: "1"}}
server_id: Maker M3
registers:
  - {{address: 0, value: 7, type: uint16}}
"""


def test_who_a_meter_says_it_is_belongs_to_the_comparison(start: Start, tmp_path: Path) -> None:  # noqa: F811
    folder = tmp_path / "maps"
    folder.mkdir()
    for product in ("M3", "M4"):
        (folder / f"{product}.yaml").write_text(IDENTIFIED.format(product=product))
    units = "units: {1: {meter: house, map: M3}, 2: {meter: house, map: M4}}"
    address = f"127.0.0.1:{start(f'maps: {folder}{served(ONE_TELEGRAM, units)}').port}"
    same = read(address, "--map", "M3", "--maps", folder)
    assert same.returncode == 0
    assert "function 43/14: 'Maker', 'M3', '1'\nfunction 17: 'Maker M3'\n" in same.stdout
    other = read(address, "--map", "M4", "--maps", folder)
    assert other.returncode == 1
    assert "! function 43/14: the map has 'Maker', 'M4', '1'" in other.stdout
    both = read(address, "--map", "M3", "--maps", folder, "--compare", f"{address},2")
    assert both.returncode == 1
    assert "! function 43/14: A and B differ" in both.stdout


def test_a_silent_meter_behind_a_gateway_is_explained(start: Start) -> None:  # noqa: F811
    address = f"127.0.0.1:{start(served('recording:/dev/null', UNITS)).port}"
    done = read(address, "--unit", 2, "--map", "sunspec_203", "--only", "40000-40003,voltage_l1")
    assert done.returncode == 1
    assert "'SunS'" in row(done.stdout, 40000), "constants are answered"
    assert re.search(r"^!.*exception 0x0B", row(done.stdout, VOLTAGE_L1))
    assert "exception 0x0B, gateway target device failed to respond" in done.stdout
    assert "the meter behind it is silent" in done.stdout


def test_an_unknown_unit_of_a_gateway_is_explained(gateway: str) -> None:
    done = read(gateway, "--unit", 9, "--map", "sunspec_203")
    assert done.returncode == 1
    assert "it has no unit 9, or" in done.stdout


def test_a_unit_that_does_not_answer_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        done = read(address, "--unit", 3, "--map", "sunspec_203", "--timeout", "200ms")
    assert done.returncode == 1
    assert "unit 3 does not answer: is that its id (--unit)?" in done.stdout
    assert "no answer within 0.2 s" in done.stdout


def test_nothing_that_listens_is_said_in_one_line() -> None:
    with foreign([0]) as address:
        pass
    done = read(address, "--map", "obis_plain")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"obisgate: nothing listens on {address}: ")


def test_a_serial_line_that_is_not_there_is_said_so() -> None:
    done = read("/dev/no-such-port", "--map", "obis_plain", "--baud", 19200, "--parity", "even")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("obisgate: /dev/no-such-port does not exist")


@pytest.mark.parametrize("options", [("--framer", "rtu"), ()])
def test_rtu_frames_over_tcp(options: Sequence[str]) -> None:
    with foreign(sunspec_203(), 40000, FramerType.RTU) as address:
        where = address if options else f"rtu:{address}"
        done = read(where, "--map", "sunspec_203", *options)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"rtu:{address}, unit 1, ")


def test_function_4_is_used_where_it_is_asked_for(gateway: str) -> None:
    arguments = ("--unit", 4, "--map", "obis_plain", "--format", "json", "--function", 4)
    found = json.loads(read(gateway, *arguments).stdout)
    assert {each["function"] for each in found["registers"]} == {4}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("127.0.0.1:502", "--map", "sunspec_302"), "unknown map 'sunspec_302', did you mean 's"),
        (("127.0.0.1", "--map", "nosuch"), "unknown map 'nosuch'; `obisgate maps` lists them"),
        (("127.0.0.1", "--map", "obis_plain", "--maps", "/nonexist"), "no folder '/nonexist'"),
        (("", "--map", "obis_plain"), "ADDRESS: it is empty; one looks like 192.168.1.20:502"),
        (("udp:", "--map", "obis_plain"), "ADDRESS: it is empty"),
        (("127.0.0.1", "--map", "obis_plain", "--compare", ",3"), "--compare: it is empty"),
        (
            ("/dev/ttyUSB0", "--map", "obis_plain", "--baud", "12345678901234567890"),
            "--baud: 12345678901234567890 is not between 50 and 4000000",
        ),
        (
            ("/dev/ttyUSB0", "--map", "obis_plain", "--baud", "0"),
            "--baud: 0 is not between 50 and 4000000",
        ),
        (
            ("127.0.0.1", "--map", "obis_plain", "--only", "5-1"),
            "--only: 5-1: the range runs backwards",
        ),
        (
            ("127.0.0.1", "--map", "obis_plain", "--only", "0x10-2"),
            "--only: 0x10-2: the range runs backwards",
        ),
        (
            ("127.0.0.1", "--map", "obis_plain", "--only", "foo"),
            "--only: the map does not show 'foo'; `obisgate maps show` lists what it shows",
        ),
        (("127.0.0.1:70000", "--map", "obis_plain"), "ADDRESS: '127.0.0.1:70000' is no address"),
        (("1:2:3", "--map", "obis_plain"), "ADDRESS: '1:2:3' is no address"),
        (("127.0.0.1", "--map", "obis_plain", "--unit", 256), "256 is no unit id: 0 to 255"),
        (
            ("127.0.0.1", "--map", "obis_plain", "--only", "voltage_l4"),
            "--only: the map does not show 'voltage_l4', did you mean 'voltage_l",
        ),
        (
            ("127.0.0.1", "--map", "obis_plain", "--only", "100-200"),
            "--only: the map has no register at 100-200, its registers lie from 0 to ",
        ),
        (
            ("127.0.0.1", "--map", "obis_plain", "--compare", "127.0.0.1:502,x"),
            "--compare: 'x' is no unit id",
        ),
        (("127.0.0.1", "--map", "obis_plain", "--compare", "a:b:c"), "--compare: 'a:b:c' is no"),
        (("127.0.0.1", "--map", "obis_plain", "--live", "never"), "--live: 'never' is no"),
        (("127.0.0.1", "--map", "obis_plain", "--timeout", "0"), "--timeout: '0' is no duration"),
        (("127.0.0.1", "--map", "obis_plain", "--base", "-1"), "--base"),
        (("127.0.0.1",), "--map"),
    ],
)
def test_what_is_used_wrongly_is_said(arguments: Sequence[object], reason: str) -> None:
    done = read(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def live(address: str, *options: str, **how: Any) -> subprocess.Popen[bytes]:
    command = [OBISGATE, "read", address, "--unit", "4", "--map", "obis_plain", *options]
    return subprocess.Popen([*command, "--live", "10ms"], **how)


def test_help_has_examples() -> None:
    done = read("--help")
    assert done.returncode == 0
    assert re.search(r"example:\n +obisgate read .*\n +obisgate read", done.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_goes_on_line_by_line_until_it_is_stopped(gateway: str, number: int) -> None:
    with live(gateway, "--format", "json", stdout=subprocess.PIPE) as process:
        assert process.stdout
        rounds = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert len({each["time"] for each in rounds}) > 1


def test_live_appends_blocks_where_there_is_no_terminal(gateway: str) -> None:
    with live(gateway, "--only", "4", stdout=subprocess.PIPE) as process:
        assert process.stdout
        lines = [process.stdout.readline().decode() for _ in range(10)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert [bool(re.fullmatch(r"\d\d:\d\d:\d\d\n", line)) for line in lines[::5]] == [True, True]
    assert lines[4] == "\n"


def test_live_goes_on_when_the_meter_comes_back() -> None:
    words = sunspec_203()
    with foreign(words, 40000) as address:
        arguments = ["--map", "sunspec_203", "--only", "40000", "--format", "json"]
        process = subprocess.Popen(
            [OBISGATE, "read", address, *arguments, "--live", "10ms"], stdout=subprocess.PIPE
        )
        assert process.stdout
        assert json.loads(process.stdout.readline())["refused"] == []
    try:
        reasons = (json.loads(line)["refused"] for line in process.stdout)
        reason = next(found[0]["reason"] for found in reasons if found)
        assert "closed" in reason or "nothing listens" in reason
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_live_stays_in_place_on_a_terminal_and_inside_it(gateway: str) -> None:
    rows, columns = 8, 60
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    seen = b""
    try:
        # What pytest sets for its own output would be believed before the terminal.
        unset = {word: text for word, text in os.environ.items() if word not in SIZES}
        ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        with live(gateway, env=unset, **ends) as process:
            while seen.count(b"\x1b[H") < 3:
                seen += os.read(ours, 4096)
            process.send_signal(signal.SIGINT)
            while process.poll() is None:
                # Whoever does not read holds up who writes.
                if select.select([ours], [], [], 0.05)[0]:
                    seen += os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0
    _, first, second, *_ = seen.decode().split("\x1b[H")
    assert seen.count(b"\x1b[2J") == 1
    for screen in (first, second):
        lines = screen.removesuffix("\x1b[J").split("\r\n")
        assert len(lines) <= rows
        assert all(len(line.removesuffix("\x1b[K")) <= columns for line in lines)
    assert "more lines: --only shows less" in first
