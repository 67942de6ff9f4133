"""obisgate doctor, as it is typed: each rung is broken exactly, on real lines and real gateways."""

import json
import os
import queue
import random
import re
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.reached import own_address
from gateway.control import socket_path
from gateway.ladder_words import NAMES, Rung
from gateway.simulator import SimulatedMeter
from gateway.simulator.ciphering import data_notification, seal
from gateway.simulator.encoding import date_time, structure, u32
from gateway.simulator.mbus import mbus_frames
from gateway.telegram import Key, ciphering
from gateway.telegram.ciphering import Opener, Sealed
from gateway.telegram.decoder import MAX_SILENCE_S
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.segments import Apdu, Assembler

from .conftest import OBISGATE, PATIENCE_S, Client, Line, Running, obisgate, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {1: {meter: house, map: sunspec_213}}"
EVENING = datetime(2026, 1, 5, 18, tzinfo=UTC)
MODEL = "kaifa-ma309m"
NOBODY = 65534
LONG_S = 60  # more than any of these tests waits
PAUSE_S = 0.9  # between two pushes, so that they are told apart
MARKS = {"yes": "good", "no": "broken", "?": "not known yet"}


class Doctor:
    """`obisgate doctor` in English, its lines as they come."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [OBISGATE, "doctor", config, "--language", "en", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._came: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._came.put(line.rstrip("\n"))
        self._came.put(None)

    def until(self, part: str) -> None:
        """Wait for a line."""
        while (line := self._came.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
            if part in line:
                return
        raise AssertionError(f"no {part!r} in {self.lines}")

    def end(self) -> None:
        """Wait for its end."""
        while (line := self._came.get(timeout=2 * PATIENCE_S)) is not None:
            self.lines.append(line)
        self.process.wait(timeout=PATIENCE_S)
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()

    def breaks(self, rung: Rung) -> str:
        """Return what is said of the first broken rung, which must be this one.

        All below it are good, and of the meter's rungs all above it are not known.
        """
        assert self.process.returncode == 1, self.lines
        return broken(self.lines, rung)


def broken(lines: Sequence[str], rung: Rung) -> str:
    states = states_in(lines)
    rungs = list(Rung)
    place = rungs.index(rung)
    assert [*states] == rungs
    assert states[rung] == "broken", "\n".join(lines)
    assert all(states[each] == "good" for each in rungs[:place]), "\n".join(lines)
    meter = rungs[place + 1 : rungs.index(Rung.REACHABLE)]
    assert all(states[each] == "not known yet" for each in meter), lines
    below = next(at for at, line in enumerate(lines) if line.startswith("  no "))
    said = []
    for line in lines[below + 1 :]:
        if not line.startswith("       "):
            break
        said.append(line.strip())
    assert said, "what to do"
    return " ".join(said)


def states_in(lines: Sequence[str]) -> dict[Rung, str]:
    found = {}
    for line in lines:
        if match := re.match(r"  (yes|no|\?) +(.*)", line):
            rung = next(each for each in Rung if match[2].split(": ")[0] == NAMES[each].en)
            found[rung] = MARKS[match[1]]
    return found


@pytest.fixture
def doctor(tmp_path: Path) -> Iterator[Callable[..., Doctor]]:
    """Start the doctor with a config text, or with the one that is there."""
    started: list[Doctor] = []

    def starter(config: str | None = None, *arguments: str) -> Doctor:
        path = tmp_path / "config.yaml"
        if config is not None:
            path.write_text(config)
        started.append(Doctor(path, *arguments))
        return started[-1]

    yield starter
    for each in started:
        each.close()


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter(MODEL, bytes.fromhex(key), seed=3, start=EVENING)


def on(line: Line, hold: str = "15s") -> str:
    # A pseudo-terminal takes no parity.
    return served(f"serial:{line.device}?parity=none", UNITS, hold)


def heard(
    doctor: Callable[..., Doctor], line: Line, hold: str = "15s", time_s: int = LONG_S
) -> Doctor:
    """Return a doctor that listens to the line."""
    listening = doctor(on(line, hold), "--for", f"{time_s}s")
    listening.until("may be opened")
    return listening


def push_all(line: Line, pushes: Sequence[bytes], pause_s: float = PAUSE_S) -> None:
    """Let pushes come one after the other, with the silence between them that meters leave."""
    for push in pushes:
        line.write(push)
        time.sleep(pause_s)


# --- the source itself ------------------------------------------------------------------------


def test_a_device_that_is_missing_breaks_the_first_rung(
    doctor: Callable[..., Doctor], tmp_path: Path
) -> None:
    ill = doctor(served(f"serial:{tmp_path}/meter", UNITS))
    ill.end()
    said = ill.breaks(Rung.DEVICE)
    assert said.endswith("is the adapter plugged in? ls -l /dev/serial/by-id")


def test_a_recording_that_is_missing_breaks_the_first_rung(
    doctor: Callable[..., Doctor], tmp_path: Path
) -> None:
    ill = doctor(served(f"recording:{tmp_path}/meter.bin", UNITS))
    ill.end()
    assert "No such file" in ill.breaks(Rung.DEVICE)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Be no root for a while: root may read everything."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    yield
    os.setresuid(0, 0, 0)


def test_a_device_that_may_not_be_read_breaks_the_second_rung(
    line: Line,
    open_folder: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", f"{open_folder}/states")
    config = open_folder / "config.yaml"
    config.write_text(on(line))
    Path(line.device).group()  # what is imported here, another user may not be able to
    assert main(["doctor", str(config), "--for", "100ms"]) == 1
    capsys.readouterr()
    Path(line.device).chmod(0)
    request.getfixturevalue("ordinary_user")
    assert main(["doctor", str(config), "--language", "en"]) == 1
    said = broken(capsys.readouterr().out.splitlines(), Rung.OPEN)
    assert said.startswith(f"{line.device} may not be read: ")


def test_a_device_that_another_program_reads_breaks_the_second_rung(
    doctor: Callable[..., Doctor], line: Line
) -> None:
    heard(doctor, line)
    ill = doctor()
    ill.end()
    assert f"sudo fuser -v {line.device}" in ill.breaks(Rung.OPEN)


def test_an_adapter_that_is_unplugged_while_the_doctor_listens_breaks_the_first_rung(
    doctor: Callable[..., Doctor], line: Line, tmp_path: Path
) -> None:
    device = tmp_path / "meter"
    device.symlink_to(line.device)
    ill = doctor(served(f"serial:{device}?parity=none", UNITS), "--for", f"{LONG_S}s")
    ill.until("may be opened")
    device.unlink()
    os.close(line.master)
    ill.end()
    line.master = os.open(os.devnull, os.O_RDONLY)  # the fixture closes it
    rungs = [each for each in ill.lines if NAMES[Rung.DEVICE].en in each]
    assert len(rungs) == 2, "it was there, and is not"
    assert re.search(r"is gone|does not exist", ill.breaks(Rung.DEVICE))


def test_a_silent_line_breaks_the_third_rung(doctor: Callable[..., Doctor], line: Line) -> None:
    ill = heard(doctor, line, time_s=2)
    ill.end()
    said = ill.breaks(Rung.BYTES)
    assert said.startswith("no byte came in 2 s: is the customer interface enabled")


def test_bytes_with_parity_errors_break_the_fourth_rung(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    ill = heard(doctor, line)
    # What a UART with the wrong parity gives, as the terminal marks it (termios(3), PARMRK).
    device = os.open(line.device, os.O_RDWR | os.O_NOCTTY)
    flags = termios.tcgetattr(device)
    flags[0] &= ~(termios.PARMRK | termios.INPCK)
    termios.tcsetattr(device, termios.TCSANOW, flags)
    os.close(device)
    telegrams = [meter.push().telegram for _ in range(3)]
    marked = [b"".join(b"\xff\x00" + bytes([octet]) for octet in each) for each in telegrams]
    push_all(line, marked)
    ill.end()
    assert "the parity is wrong" in ill.breaks(Rung.PARITY)


def test_noise_breaks_the_rung_of_frames(doctor: Callable[..., Doctor], line: Line) -> None:
    ill = heard(doctor, line)
    dice = random.Random(3)
    line.write(bytes(dice.choice(range(0x80, 0x100)) for _ in range(2000)))
    ill.end()
    assert ill.breaks(Rung.FRAMES).startswith("bytes come, but no frame begins in them")


def test_frames_that_are_cut_break_the_rung_of_frames(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    ill = heard(doctor, line)
    # After so long nobody waits for the rest of a frame, as with a meter that pushes every 5 s.
    push_all(line, [meter.push().telegram[:200] for _ in range(3)], MAX_SILENCE_S + 0.2)
    ill.end()
    assert ill.breaks(Rung.FRAMES).startswith("frames begin, but they do not end as they should")


def test_damaged_frames_break_the_rung_of_checksums(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    ill = heard(doctor, line)
    pushes = [bytearray(meter.push().telegram) for _ in range(4)]
    for push in pushes:
        push[100] ^= 4
        push[-20] ^= 4
    push_all(line, [bytes(push) for push in pushes])
    ill.end()
    assert "checksums are wrong" in ill.breaks(Rung.CHECKSUMS)


def test_a_frame_that_is_missing_in_every_telegram_breaks_the_rung_of_segments(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    ill = heard(doctor, line)
    push_all(line, [frames_of(meter.push().telegram)[0] for _ in range(4)])
    ill.end()
    assert "breaks off" in ill.breaks(Rung.SEGMENTS)


def test_a_wrong_key_breaks_the_rung_of_decryption(
    doctor: Callable[..., Doctor], line: Line
) -> None:
    other = SimulatedMeter(MODEL, bytes(range(16)), seed=3, start=EVENING)
    ill = heard(doctor, line)
    push_all(line, [other.push().telegram for _ in range(3)])
    ill.end()
    said = ill.breaks(Rung.DECRYPTION)
    assert said.startswith("wrong key: 3 of 3 telegrams with good checksums, none decrypts")


def test_an_unknown_list_breaks_the_rung_of_the_layout(
    doctor: Callable[..., Doctor], line: Line, key: str
) -> None:
    body = structure(u32(1), u32(2), u32(3))
    plaintext = data_notification(7, date_time(EVENING, summer=False), body)
    ill = heard(doctor, line)
    push_all(line, [sealed(plaintext, key, number) for number in range(3)])
    ill.end()
    assert "obisgate explain --redact" in ill.breaks(Rung.LAYOUT)


def test_old_telegrams_sent_again_break_the_rung_of_the_counter(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    push = meter.push().telegram
    ill = heard(doctor, line, hold="3s", time_s=20)
    push_all(line, [push] * 4)
    ill.end()
    assert "invocation counter does not rise" in ill.breaks(Rung.COUNTER)


def test_values_that_cannot_follow_each_other_break_the_rung_of_plausibility(
    doctor: Callable[..., Doctor], line: Line, key: str
) -> None:
    hourly = SimulatedMeter(MODEL, bytes.fromhex(key), seed=3, start=EVENING, interval_s=3600.0)
    plaintexts = [plaintext_of(hourly.push().telegram, key) for _ in range(6)]
    ill = heard(doctor, line, hold="3s", time_s=20)
    # The energies run backwards, the counter does not.
    push_all(line, [sealed(each, key, n) for n, each in enumerate(reversed(plaintexts))])
    ill.end()
    assert "`connection`" in ill.breaks(Rung.PLAUSIBLE)


def test_all_is_good_up_to_the_gateway_that_is_not_running(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    ill = heard(doctor, line)
    push_all(line, [meter.push().telegram for _ in range(3)])
    ill.end()
    said = ill.breaks(Rung.REACHABLE)
    assert re.fullmatch(r"no gateway is running: \S*obisgate run \S*config\.yaml", said)


def test_a_meter_that_was_heard_too_shortly_is_not_called_good(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter
) -> None:
    ill = heard(doctor, line, time_s=3)
    line.write(meter.push().telegram)
    ill.end()
    assert ill.process.returncode == 1
    assert states_in(ill.lines)[Rung.LAYOUT] == "good"
    assert states_in(ill.lines)[Rung.FRESH] == "not known yet"
    assert "  ?    the counter rises: one telegram so far" in ill.lines
    assert ill.lines[-1] == "in 3 s not everything could be seen: --for 12s looks longer"


def test_what_the_doctor_hears_is_not_recorded(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter, tmp_path: Path
) -> None:
    recording = tmp_path / "house.rec"
    recorded = on(line).replace("    key:", f"    record: {{file: {recording}}}\n    key:")
    ill = doctor(recorded, "--for", f"{LONG_S}s")
    ill.until("may be opened")
    push_all(line, [meter.push().telegram for _ in range(3)])
    ill.end()
    ill.breaks(Rung.REACHABLE)
    assert not recording.exists()


def test_it_says_how_the_gateway_is_started_as_the_doctor_was(
    line: Line, meter: SimulatedMeter, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "my house"
    elsewhere.mkdir()
    (elsewhere / "obisgate").symlink_to(OBISGATE)
    (elsewhere / "house 1.yaml").write_text(served(f"recording:{elsewhere}/none.bin", UNITS))
    said = subprocess.run(
        ["./obisgate", "doctor", "house 1.yaml", "--format", "json"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    rungs = {each["rung"]: each["text"] for each in json.loads(said.stdout)["rungs"]}
    assert "./obisgate run 'house 1.yaml'" in rungs[Rung.REACHABLE]


# --- a running gateway ------------------------------------------------------------------------


class Relay:
    """A serial server that has room for one client: the next one throws out the one before."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._clients: list[socket.socket] = []
        self._came = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listening.accept()
                for each in self._clients:
                    each.close()
                self._clients.append(client)
                self._came.release()

    @property
    def count(self) -> int:
        """How many have come so far."""
        return len(self._clients)

    def until_one_came(self) -> None:
        assert self._came.acquire(timeout=PATIENCE_S)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE_S)
        for each in self._clients:
            each.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    serving = Relay()
    yield serving
    serving.close()


@pytest.mark.parametrize("transport", ["tcp", "rtu_over_tcp", "udp"])
def test_a_gateway_of_another_user_is_noticed_and_not_disturbed(
    doctor: Callable[..., Doctor],
    start: Start,
    relay: Relay,
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    config = served(f"tcp://127.0.0.1:{relay.port}", UNITS).replace("- tcp:", f"- {transport}:")
    running = start(config)
    relay.until_one_came()
    # Another user looks for it beside a state of his own, or in a temporary folder of his own.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states" / "mine"))
    others = tempfile.TemporaryDirectory()
    request.addfinalizer(others.cleanup)
    monkeypatch.setenv("TMPDIR", others.name)
    asking = doctor(config.replace("127.0.0.1:0", f"127.0.0.1:{running.port}"))
    _, said = asking.process.communicate(timeout=PATIENCE_S)
    assert asking.process.returncode == 2
    assert f"127.0.0.1:{running.port} is taken: by a gateway of another user" in said
    assert f"'sport = :{running.port}' says which it is" in said
    assert relay.count == 1


def test_an_address_that_another_machine_has_now_is_not_taken_for_ours(
    doctor: Callable[..., Doctor], tmp_path: Path
) -> None:
    absent = served(f"recording:{tmp_path}/none.bin", UNITS)
    ill = doctor(absent.replace("127.0.0.1:0", "192.0.2.77:502"))
    ill.end()
    ill.breaks(Rung.DEVICE)


SIMULATED = """
meters:
  house: {source: "simulator:kaifa-ma309m?interval=200ms&seed=3"}
  other: {source: "simulator:honeywell?interval=200ms&seed=4"}
listeners:
"""
LOCAL = "  - {tcp: '127.0.0.1:0', units: {1: {meter: house, map: sunspec_213}}}\n"


def warm(running: Running) -> None:
    """Wait until the meter has pushed often enough."""
    for _ in range(2):
        running.until(lambda event: event["event"] == "telegram" and event["name"] == "house")


def asked(doctor: Callable[..., Doctor], *arguments: str) -> Doctor:
    """Ask about the gateway that runs with the config that is there."""
    done = doctor(None, "--meter", "house", *arguments)
    done.end()
    assert "asking the running gateway" in done.lines[1]
    return done


def test_a_client_that_gets_values_makes_all_rungs_good(
    doctor: Callable[..., Doctor], start: Start, connect: Connect
) -> None:
    running = start(SIMULATED + LOCAL)
    warm(running)
    assert connect(running.port).read(1, 40000, 2) == b"SunS"
    well = asked(doctor)
    assert well.process.returncode == 0, "\n".join(well.lines)
    assert set(states_in(well.lines).values()) == {"good"}
    assert well.lines[-1] == "all rungs hold"


def test_a_unit_that_shows_a_meter_made_of_this_one_is_one_of_its_units(
    doctor: Callable[..., Doctor], start: Start, connect: Connect
) -> None:
    both = SIMULATED.replace("listeners:", "  both: {sum: [house, other]}\nlisteners:")
    running = start(both + LOCAL.replace("meter: house", "meter: both"))
    warm(running)
    assert connect(running.port).read(1, 40000, 2) == b"SunS"
    well = asked(doctor)
    assert well.process.returncode == 0, "\n".join(well.lines)


def test_a_meter_that_fell_silent_breaks_the_rung_of_freshness(
    doctor: Callable[..., Doctor], line: Line, start: Start, meter: SimulatedMeter
) -> None:
    running = start(on(line, hold="500ms"))
    running.message("is open")
    for _ in range(2):
        line.write(meter.push().telegram)
        running.telegram()
    running.message("no good telegram")
    assert "make `hold` three times" in asked(doctor).breaks(Rung.FRESH)


def test_an_adapter_that_was_unplugged_breaks_the_first_rung_at_once(
    doctor: Callable[..., Doctor], tmp_path: Path, start: Start
) -> None:
    running = start(served(f"serial:{tmp_path}/meter", UNITS))
    running.message("does not exist")
    assert "is the adapter plugged in?" in asked(doctor).breaks(Rung.DEVICE)


@pytest.mark.parametrize(
    ("listener", "advice"),
    [
        ("{tcp: '127.0.0.1:0', UNITS}", "is open on this machine only"),
        ("{tcp: '0.0.0.0:0', allow: [127.0.0.0/8], UNITS}", "'allow' lets this machine alone in"),
        ("{tcp: '198.51.100.7:5020', UNITS}", "is no address of this machine now"),
        (
            "{tcp: '127.0.0.1:0', units: {1: {meter: other, map: sunspec_213}}}",
            "no listener has a unit for this meter",
        ),
    ],
)
def test_a_listener_that_the_network_cannot_reach_breaks_its_rung(
    listener: str, advice: str, doctor: Callable[..., Doctor], start: Start
) -> None:
    running = start(SIMULATED + f"  - {listener.replace('UNITS', UNITS)}\n")
    warm(running)
    assert advice in asked(doctor).breaks(Rung.REACHABLE)


def test_a_line_that_is_not_open_breaks_the_rung_of_its_listener(
    doctor: Callable[..., Doctor], tmp_path: Path, start: Start
) -> None:
    running = start(SIMULATED + f"  - {{serial: {tmp_path}/rs485, {UNITS}}}\n")
    warm(running)
    advice = f"serial line is not open: {tmp_path}/rs485 does not exist: is the adapter plugged in?"
    assert advice in asked(doctor).breaks(Rung.REACHABLE)


def test_a_listener_that_nobody_asked_breaks_its_rung(
    doctor: Callable[..., Doctor], start: Start
) -> None:
    running = start(SIMULATED + LOCAL.replace("127.0.0.1:0", "0.0.0.0:0"))
    warm(running)
    for _ in range(2):  # what the doctor itself asks to try it does not count
        lines = asked(doctor).lines
        assert "no   a client has asked" in "\n".join(lines)
        assert "nobody has asked yet" in "\n".join(lines)
        assert "  no   the network reaches the listener" not in lines


@pytest.mark.parametrize("transport", ["tcp", "rtu_over_tcp", "udp"])
def test_a_listener_is_tried_the_way_that_its_clients_come(
    transport: str, doctor: Callable[..., Doctor], start: Start
) -> None:
    running = start(SIMULATED + f"  - {{{transport}: '0.0.0.0:0', {UNITS}}}\n")
    warm(running)
    # A machine without a network has no address at which that can be tried.
    known = "good" if own_address("0.0.0.0") else "not known yet"
    assert states_in(asked(doctor).lines)[Rung.REACHABLE] == known


def test_a_listener_that_turns_clients_away_breaks_its_rung(
    doctor: Callable[..., Doctor], start: Start, connect: Connect
) -> None:
    running = start(SIMULATED + f"  - {{tcp: '0.0.0.0:0', limits: {{connections: 1}}, {UNITS}}}\n")
    warm(running)
    connect(running.port)
    lines = asked(doctor).lines
    if own_address("0.0.0.0"):
        assert "does not answer a Modbus read from this machine" in broken(lines, Rung.REACHABLE)
    else:
        assert states_in(lines)[Rung.REACHABLE] == "not known yet"


@pytest.mark.parametrize(
    ("unit", "function", "address", "count", "advice"),
    [
        (1, 3, 99, 2, "for addresses that no map serves"),
        (1, 3, 40000, 126, "for too many registers at once"),
        (1, 1, 40000, 2, "with a function that is not answered here"),
        (7, 3, 40000, 2, "asks for unit 7, which is not served here: set 1 in it"),
    ],
)
def test_a_client_that_only_gets_exceptions_breaks_the_last_rung(
    unit: int,
    function: int,
    address: int,
    count: int,
    advice: str,
    doctor: Callable[..., Doctor],
    start: Start,
    connect: Connect,
) -> None:
    running = start(SIMULATED + LOCAL)
    warm(running)
    reply = connect(running.port).request(unit, struct.pack(">BHH", function, address, count))
    assert reply[0] == function | 0x80
    assert advice in asked(doctor).breaks(Rung.VALUES)


def test_a_client_whose_unit_was_taken_away_breaks_the_last_rung(
    doctor: Callable[..., Doctor], tmp_path: Path, start: Start, connect: Connect
) -> None:
    both = LOCAL.replace("{1: ", "{2: {meter: house, map: obis_plain}, 1: ")
    running = start(SIMULATED + both)
    warm(running)
    client = connect(running.port)
    assert client.read(1, 40000, 2) == b"SunS"
    (tmp_path / "config.yaml").write_text(SIMULATED + both.partition(", 1: ")[0] + "}}\n")
    running.process.send_signal(signal.SIGHUP)
    running.message("unit 1 removed")
    assert client.exception(1, 40000, 2) == 0x0B
    assert "which is not served here: set 2 in it" in asked(doctor).breaks(Rung.VALUES)


def test_a_client_of_another_meter_is_none_of_this_one(
    doctor: Callable[..., Doctor], start: Start, connect: Connect
) -> None:
    running = start(SIMULATED + LOCAL.replace("{1: ", "{2: {meter: other, map: obis_plain}, 1: "))
    warm(running)
    assert connect(running.port).read(2, 0, 2)
    assert "nobody has asked yet" in asked(doctor).breaks(Rung.ASKED)


def test_a_client_that_asks_while_the_doctor_looks_has_asked(
    doctor: Callable[..., Doctor], line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(on(line))
    running.message("is open")
    well = doctor(None, "--meter", "house")
    well.until("it may be opened")
    line.write(meter.push().telegram)
    running.telegram()
    assert connect(running.port).read(1, 40000, 2) == b"SunS"
    line.write(meter.push().telegram)
    well.end()
    assert well.process.returncode == 0, "\n".join(well.lines)


def test_a_client_that_asked_before_there_were_values_breaks_the_last_rung(
    doctor: Callable[..., Doctor], line: Line, start: Start, connect: Connect, meter: SimulatedMeter
) -> None:
    running = start(on(line))
    running.message("is open")
    assert connect(running.port).exception(1, 40098, 2) == 0x0B
    for _ in range(2):
        line.write(meter.push().telegram)
        running.telegram()
    assert "when there were no fresh values" in asked(doctor).breaks(Rung.VALUES)


# --- how it is shown --------------------------------------------------------------------------


def test_json_says_the_same_in_both_languages(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(served(f"serial:{tmp_path}/meter", UNITS))
    shown = {}
    for language in ("en", "de"):
        done = obisgate("doctor", str(path), "--format", "json", "--language", language)
        assert (done.returncode, done.stderr) == (1, "")
        shown[language] = json.loads(done.stdout)
    english, german = shown["en"], shown["de"]
    assert english["first_broken"] == german["first_broken"] == "device"
    assert english["next_step"].endswith("is the adapter plugged in? ls -l /dev/serial/by-id")
    assert german["next_step"].endswith("steckt der Adapter? ls -l /dev/serial/by-id")
    assert [each["rung"] for each in english["rungs"]] == [str(rung) for rung in Rung]
    assert english["gateway_pid"] is None


def test_on_a_terminal_the_bytes_count_up(
    tmp_path: Path, line: Line, meter: SimulatedMeter
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(on(line))
    master, slave = os.openpty()
    arguments = [OBISGATE, "doctor", path, "--language", "en", "--for", "60s"]
    with subprocess.Popen(arguments, stdout=slave, stderr=slave) as process:
        os.close(slave)
        seen = b""

        def until(part: bytes) -> None:
            nonlocal seen
            while part not in seen:
                seen += os.read(master, 4096)

        until(b"may be opened")
        line.write(meter.push().telegram[:100])
        until(b"100 bytes")
        process.terminate()
        process.wait(timeout=PATIENCE_S)
    os.close(master)


def test_ctrl_c_ends_it_without_a_traceback(doctor: Callable[..., Doctor], line: Line) -> None:
    ill = heard(doctor, line)
    ill.process.terminate()
    _, errors = ill.process.communicate(timeout=PATIENCE_S)
    assert ill.process.returncode == 130
    assert errors == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("missing.yaml",), "missing.yaml: there is no such file"),
        (("config.yaml", "--for", "soon"), "--for: 'soon' is no duration"),
        (("config.yaml",), "--meter NAME is missing; there are house, other"),
        (("config.yaml", "--meter", "hause"), "unknown meter 'hause', did you mean 'house'?"),
    ],
)
def test_what_is_typed_wrongly_is_said_in_one_line(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(SIMULATED + LOCAL)
    done = obisgate("doctor", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"obisgate: {expected}")
    assert done.stderr.count("\n") == 1


def test_a_meter_that_the_gateway_has_not_read_yet_asks_for_a_reload(
    tmp_path: Path, start: Start
) -> None:
    start(SIMULATED + LOCAL)
    path = tmp_path / "config.yaml"
    path.write_text((SIMULATED + LOCAL).replace("  other:", "  annex:"))
    done = obisgate("doctor", str(path), "--meter", "annex")
    assert done.returncode == 2
    assert "does not know meter 'annex': the config was changed since it was read; " in done.stderr
    assert done.stderr.endswith(f"obisgate reload {path} applies it\n")


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "what is that?"},
        {"version": "9.0", "meters": []},
        {"version": "9.0", "meters": {"house": {"state": "live"}}, "listeners": []},
        {"version": "9.0", "meters": {"house": None}, "listeners": None},
    ],
)
def test_a_gateway_of_another_version_is_told_from_a_broken_one(
    answer: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(served("simulator:kaifa-ma309m", UNITS))
    place = socket_path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(place))
        server.listen()

        def serve() -> None:
            for _ in range(2):
                with suppress(OSError), server.accept()[0] as client:
                    client.recv(4096)
                    client.sendall(json.dumps(answer).encode() + b"\n")

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        done = obisgate("doctor", str(path))
        server.shutdown(socket.SHUT_RDWR)
        serving.join(timeout=PATIENCE_S)
    assert done.returncode == 2
    assert "answers what this doctor does not understand: start it anew" in done.stderr


def test_the_key_is_never_shown(
    doctor: Callable[..., Doctor], line: Line, meter: SimulatedMeter, key: str
) -> None:
    ill = heard(doctor, line)
    push_all(line, [meter.push().telegram for _ in range(2)])
    ill.end()
    assert key.lower() not in "\n".join(ill.lines).lower()


# --- telegrams --------------------------------------------------------------------------------


def frames_of(telegram: bytes) -> list[bytes]:
    """Cut M-Bus frames apart: 68 L L 68, L bytes, checksum, 16."""
    frames, start = [], 0
    while start < len(telegram):
        end = start + telegram[start + 1] + 6
        frames.append(telegram[start:end])
        start = end
    return frames


def sealed(plaintext: bytes, key: str, number: int) -> bytes:
    """Return a telegram of always the same meter, whose counter rises."""
    apdu = seal(
        plaintext,
        key=bytes.fromhex(key),
        system_title=b"KFM\x10\x20\0\0\1",
        invocation_counter=1000 + number,
    )
    return b"".join(mbus_frames(apdu))


def plaintext_of(telegram: bytes, key: str) -> bytes:
    """Decrypt a telegram."""
    assembler = Assembler()
    frames = [each for each in FrameReader().feed(telegram, 0.0) if isinstance(each, Frame)]
    (apdu,) = [apdu for frame in frames for apdu in assembler.add(frame)]
    assert isinstance(apdu, Apdu)
    parsed = ciphering.parse(apdu.content)
    assert isinstance(parsed, Sealed)
    opened = Opener(Key(bytes.fromhex(key)), None).open(parsed)
    assert isinstance(opened, tuple)
    return opened[0]
