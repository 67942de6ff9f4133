"""The service through good and bad times: silence, damage, faults of the user, orderly stops."""

import array
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.simulator import SimulatedMeter

from .conftest import OBISGATE, PATIENCE_S, Client, Line, Running, obisgate, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {1: {meter: house, map: sunspec_213}, 4: {meter: house, map: obis_plain}}"
TARGET_FAILED_TO_RESPOND = 0x0B


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )


def on(line: Line, hold: str = "5min") -> str:
    # A pseudo-terminal takes no parity.
    return served(f"serial:{line.device}?parity=none", UNITS, hold)


def test_before_the_first_telegram_only_constants_are_answered(
    line: Line, start: Start, connect: Connect
) -> None:
    running = start(on(line))
    running.message("is open")
    client = connect(running.port)
    assert client.exception(1, 40098, 2) == TARGET_FAILED_TO_RESPOND
    assert client.exception(1, 40070, 4) == TARGET_FAILED_TO_RESPOND, "touches a measured one"
    assert client.read(1, 40000, 2) == b"SunS"
    assert client.read(4, 0, 2) == b"\xff\xff\xff\xff", "the age: there was no telegram"


def test_serial_telegrams_come_through_and_silence_is_shown_until_the_next(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(on(line, hold="400ms"))
    running.message("is open")
    client = connect(running.port)
    for _ in range(2):
        push = meter.push()
        line.write(push.telegram)
        heard = running.telegram()
        assert heard["invocation_counter"] == push.invocation_counter
        running.message("no good telegram for 0.4 s")
        assert client.exception(1, 40098, 2) == TARGET_FAILED_TO_RESPOND
        assert client.read(1, 40070, 2) == struct.pack(">HH", 213, 124)
        assert struct.unpack(">I", client.read(4, 0, 2))[0] < 60, "the age goes on counting"
    line.write(meter.push().telegram)
    running.message("telegrams come again")


def test_first_good_telegram_brings_the_values_back(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(on(line, hold="500ms"))
    running.message("no good telegram")
    client = connect(running.port)
    shown = b"\x83"
    for _ in range(20):  # a slow machine may look only after the hold time
        push = meter.push()
        line.write(push.telegram)
        running.telegram()
        shown = client.request(4, struct.pack(">BHH", 3, 10, 2))
        if shown[0] == 3:
            break
    assert shown == b"\x03\x04" + struct.pack(">I", push.readings["1-0:1.8.0.255"][0])


def test_damage_is_said_and_the_last_good_values_stay(
    line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(on(line))
    running.message("is open")
    client = connect(running.port)
    good = meter.push()
    line.write(good.telegram)
    running.telegram()
    bad = bytearray(meter.push().telegram)
    bad[100] ^= 0x04
    line.write(bytes(bad))
    assert "checksum" in running.message("frame fault at byte")
    energy = struct.unpack(">I", client.read(4, 10, 2))[0]
    assert energy == good.readings["1-0:1.8.0.255"][0]


def test_a_meter_with_another_key_is_said_and_serves_nothing(
    line: Line, start: Start, connect: Connect
) -> None:
    other = SimulatedMeter(
        "kaifa-ma309m", bytes(16), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    )
    running = start(on(line))
    running.message("is open")
    line.write(other.push().telegram)
    assert "wrong key" in running.message("decryption fault")
    assert connect(running.port).exception(1, 40098, 2) == TARGET_FAILED_TO_RESPOND


def test_recording_is_decoded_and_its_end_is_said(
    tmp_path: Path, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    pushes = [meter.push() for _ in range(3)]
    # A capture starts and ends in mid-telegram.
    octets = b"".join(push.telegram for push in pushes)[200:-100]
    (tmp_path / "meter.bin").write_bytes(octets)
    running = start(served(f"recording:{tmp_path}/meter.bin", UNITS))
    assert running.telegram()["invocation_counter"] == pushes[1].invocation_counter
    running.message("has ended")
    energy = struct.unpack(">I", connect(running.port).read(4, 10, 2))[0]
    assert energy == pushes[1].readings["1-0:1.8.0.255"][0]


def test_absent_device_is_said_once_with_what_to_do_and_awaited(
    tmp_path: Path, line: Line, start: Start, meter: SimulatedMeter
) -> None:
    device = tmp_path / "meter"
    running = start(served(f"serial:{device}?parity=none", UNITS))
    assert "is the adapter plugged in?" in running.message(f"{device} does not exist")
    device.symlink_to(line.device)
    # The service tries again by itself; opening a port throws away what was sent before.
    while not running.has_event("telegram", within_s=0.5):
        line.write(meter.push().telegram)
    assert any("is open" in event.get("message", "") for event in running.seen)
    said = [event for event in running.seen if "does not exist" in event.get("message", "")]
    assert len(said) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_it_in_order(number: int, start: Start, connect: Connect) -> None:
    running = start(served("simulator:kaifa-ma309m?interval=50ms", UNITS))
    running.telegram()
    client = connect(running.port)
    client.read(1, 40000, 2)
    assert running.stop(number) == ""
    assert client.socket.recv(1) == b"", "the client's connection was closed, not reset"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)


def test_second_signal_changes_nothing(start: Start) -> None:
    running = start(served("simulator:kaifa-ma309m?interval=50ms", UNITS))
    running.telegram()
    for _ in range(20):
        running.process.send_signal(signal.SIGINT)
    assert running.stop() == ""


def test_signal_while_it_starts_ends_it_quietly(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(served("simulator:kaifa-ma309m", UNITS))
    with subprocess.Popen(
        [OBISGATE, "run", config], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        # The command's own first act is to open its handlers: wait for it, not for a time.
        while not handles(process.pid, signal.SIGTERM):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")


def handles(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("output", ["| head -n 1", ">/dev/full", ">&-"])
@pytest.mark.parametrize("options", ["", "--log-format json"])
def test_it_serves_on_when_nobody_can_read_its_output(
    output: str, options: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "config.yaml"
    text = served("simulator:kaifa-ma309m?interval=20ms", UNITS)
    config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    command = f"{OBISGATE} run {config} {options} {output}"
    errors = tmp_path / "errors"
    with (
        errors.open("w") as standard_error,
        subprocess.Popen(
            command, shell=True, stderr=standard_error, stdout=subprocess.DEVNULL, process_group=0
        ) as process,
    ):
        try:
            client = patient_client(port)
            while client.exception(1, 40098, 2) is not None:
                pass  # the first telegram comes
            assert client.read(1, 40000, 2) == b"SunS"
            client.close()
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=PATIENCE_S)
    assert "Traceback" not in errors.read_text()
    assert "Logging error" not in errors.read_text()


@pytest.mark.parametrize("options", [[], ["--log-format", "json"]])
def test_a_reader_of_its_output_that_stalls_holds_up_nothing(
    options: list[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "config.yaml"
    text = served("simulator:kaifa-ma309m?interval=1ms", UNITS)
    config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    master, slave = os.openpty()  # a terminal, so that text too has a line a telegram
    with subprocess.Popen([OBISGATE, "run", config, *options], stdout=slave) as process:
        os.close(slave)
        client = patient_client(port)
        while client.exception(4, 2, 2) is not None:
            pass  # the first telegram comes
        while not is_full(master):
            assert process.poll() is None
        before, until = client.read(4, 2, 46), time.monotonic() + PATIENCE_S
        while client.read(4, 2, 46) == before:
            assert time.monotonic() < until, "no telegram comes through any more"
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0
        client.close()
    os.close(master)


def is_full(terminal: int) -> bool:
    """Tell whether so much waits unread that a writer to the other end is held up."""
    waiting = array.array("i", [0])
    fcntl.ioctl(terminal, termios.FIONREAD, waiting)
    return waiting[0] > 3000


def test_signal_while_it_reads_its_config_ends_it(tmp_path: Path) -> None:
    fifo = tmp_path / "config.yaml"
    os.mkfifo(fifo)
    with (
        subprocess.Popen([OBISGATE, "run", fifo], stderr=subprocess.PIPE, text=True) as process,
        fifo.open("w"),  # returns when the other end is open, too
    ):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")


def patient_client(port: int) -> Client:
    """Connect as soon as somebody listens."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Client(port)
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_flood_of_noise_is_told_in_few_lines(tmp_path: Path, start: Start) -> None:
    (tmp_path / "noise.bin").write_bytes(bytes(range(1, 0x60)) * 2000)
    running = start(served(f"recording:{tmp_path}/noise.bin", UNITS))
    running.message("has ended")
    faults = [event for event in running.seen if "fault" in event.get("message", "")]
    assert 1 <= len(faults) < 10


def test_line_to_copy_names_this_machine_where_loopback_is_not_allowed(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        SIMULATED
        + "listeners: [{tcp: '0.0.0.0:0', allow: [192.0.2.0/24], "
        + "any: {meter: house, map: obis_plain}}]\n"
    )
    with subprocess.Popen([OBISGATE, "run", config], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = next(text for text in process.stdout if " mbpoll " in text)
        process.terminate()
    assert line.split()[-1] == socket.gethostname()


def test_no_key_byte_appears_in_any_output(line: Line, start: Start, key: str) -> None:
    running = start(on(line))
    running.message("is open")
    line.write(bytes(300))
    running.message("outside all frames")
    errors = running.stop()
    everything = (str(running.seen) + errors).replace(" ", "").lower()
    assert key.lower() not in everything
    assert bytes.fromhex(key).decode("latin-1") not in everything


def test_terminal_shows_one_short_line_a_telegram(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(served("simulator:kaifa-ma309m?interval=50ms&seed=1", UNITS))
    master, slave = os.openpty()
    with subprocess.Popen([OBISGATE, "run", config], stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        try:
            while shown.count(b" kWh\r\n") < 3:
                shown += os.read(master, 4096)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE_S)
            os.close(master)
    assert process.returncode == 0
    line = r"\d\d:\d\d:\d\d  house +[+-]\d+ W  import \d+\.\d{3} kWh  export \d+\.\d{3} kWh\r"
    lines = shown.decode().split("\n")
    assert sum(bool(re.fullmatch(line, text)) for text in lines) >= 3
    assert any("waiting for its first telegram" in text for text in lines)


def test_without_a_terminal_no_line_a_telegram(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(served("simulator:kaifa-ma309m?interval=20ms", UNITS))
    with subprocess.Popen([OBISGATE, "run", config], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        process.terminate()
        assert process.stdout.read() == "stopped\n"
    assert process.returncode == 0


SIMULATED = "meters: {house: {source: 'simulator:kaifa-ma309m'}}\n"
BAD_CONFIGS = {
    "typo": (
        SIMULATED + "listners: []\n",
        r"config\.yaml:2:1: unknown word 'listners', did you mean 'listeners'\?",
    ),
    "missing key": (
        "meters:\n  house:\n    source: serial:/dev/ttyUSB0\nlisteners: []\n",
        r"config\.yaml:3:5: 'key' is missing: meter 'house' sends encrypted telegrams",
    ),
    "key file that is not there": (
        "meters:\n  house:\n    source: serial:/dev/ttyUSB0\n    key: file:no.key\nlisteners: []\n",
        r"config\.yaml:4:10: key file \S*no\.key does not exist",
    ),
    "unknown map": (
        SIMULATED + "listeners:\n  - tcp: 5020\n    units: {1: {meter: house, map: obis_plan}}\n",
        r"config\.yaml:4:36: unknown map 'obis_plan', did you mean 'obis_plain'\?",
    ),
    "no YAML": ("meters: [\n", r"config\.yaml:2:1: "),
    "unknown layout": (
        "meters: {house: {source: 'simulator:honeywell', layout: wels-11}}\nlisteners: []\n",
        r"config\.yaml:1:57: unknown layout 'wels-11', did you mean 'wels-10'\?",
    ),
    "bad layout line": (
        "layouts:\n  mine:\n    items: |\n      clock\n      1-0:1.8.0 u33 Wh\n"
        + SIMULATED
        + "listeners: []\n",
        r"config\.yaml:3:12: layout mine: '1-0:1\.8\.0 u33 Wh': unknown type 'u33'; there are i8, ",
    ),
    "bad connection": (
        "meters: {house: {source: 'simulator:honeywell', connection: 15kW}}\nlisteners: []\n",
        r"config\.yaml:1:61: '15kW' is no current; one looks like 63A",
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_config_ends_run_and_check_with_one_clear_line(case: str, tmp_path: Path) -> None:
    text, line = BAD_CONFIGS[case]
    config = tmp_path / "config.yaml"
    config.write_text(text)
    run, check = obisgate("run", str(config)), obisgate("check", str(config))
    assert (run.returncode, run.stdout) == (2, "")
    assert (check.returncode, check.stdout) == (1, "")
    for shown in (run.stderr, check.stderr):
        assert shown.count("\n") == 1
        assert re.search(line, shown), shown


def test_no_config_at_all_says_how_to_name_one(tmp_path: Path) -> None:
    done = obisgate("run", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr == "obisgate: config.yaml: there is no such file; name one behind the command\n"
    )


def test_occupied_port_ends_run_and_leaves_nothing_half_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = tmp_path / "config.yaml"
        config.write_text(
            SIMULATED
            + f"""
listeners:
  - {{tcp: "127.0.0.1:0", any: {{meter: house, map: obis_plain}}}}
  - {{tcp: "127.0.0.1:{port}", any: {{meter: house, map: obis_plain}}}}
"""
        )
        done = obisgate("run", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"obisgate: {config}:5:11: 127.0.0.1:{port} is in use by another program: "
        f"ss -ltnp 'sport = :{port}'\n"
    )


def test_port_below_1024_without_the_right_says_what_to_do(tmp_path: Path) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest <= 502:
        pytest.skip(f"this machine lets everybody use ports from {lowest} on")
    config = tmp_path / "config.yaml"
    config.write_text(SIMULATED + "listeners: [{tcp: 502, any: {meter: house, map: obis_plain}}]\n")
    command: list[str | Path] = [OBISGATE, "run", config]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set", "-net_bind_service", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:502 needs the right to use ports below 1024" in done.stderr


def test_address_of_another_machine_is_awaited(start: Start) -> None:
    running = start(
        "meters: {house: {source: 'simulator:kaifa-ma309m'}}\n"
        "listeners: [{tcp: '192.0.2.1:5020', any: {meter: house, map: obis_plain}}]\n"
    )
    assert running.port is None
    running.message("192.0.2.1 is no address of this machine now")
    running.telegram()


def test_key_file_that_others_can_read_is_refused_with_the_command(
    tmp_path: Path, key: str
) -> None:
    secret = tmp_path / "house.key"
    secret.write_text(key)
    secret.chmod(0o640)
    config = tmp_path / "config.yaml"
    config.write_text(
        "meters: {house: {source: 'serial:/dev/null', key: 'file:house.key'}}\nlisteners: []\n"
    )
    done = obisgate("run", str(config))
    assert done.returncode == 2
    assert f"chmod 600 {secret}" in done.stderr
    assert key not in done.stderr
