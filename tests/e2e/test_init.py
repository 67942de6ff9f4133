"""obisgate init: from an unknown line to a config that serves; typed on a terminal, and scripted.

The terminal and the meter's line are pseudo-terminals. They have no parity, so settings with one
are refused, and the meter is found with the first one without.
"""

import contextlib
import os
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import yaml

from gateway.config import Config
from gateway.simulator import SimulatedMeter

from .conftest import OBISGATE, PATIENCE_S, Client, Line, Running, obisgate

WRONG = "FFEEDDCCBBAA99887766554433221100"
PAUSE_S = 0.6  # between two pushes of the meters here
PIECE_BYTES = 64
FOUND_WITHOUT_PARITY = "9600 baud 8N1"
INTERRUPTED = 130
AGAIN_S = 5.0
# Makes the terminal the one whose Ctrl-C interrupts, as a login does; then it is the command.
CONTROLLING = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Playing:
    """Somebody who writes to a line until he is stopped: a meter, or noise."""

    def __init__(self, line: Line, next_piece: Callable[[], tuple[bytes, float]]) -> None:
        self._line, self._next_piece = line, next_piece
        self._stopped = threading.Event()
        os.set_blocking(line.master, False)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        while not self._stopped.is_set():
            octets, pause_s = self._next_piece()
            # As on a line, what nobody reads is lost.
            with contextlib.suppress(BlockingIOError):
                self._line.write(octets)
            self._stopped.wait(pause_s)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def pushing(model: str, key: str, auth_key: str | None = None) -> Callable[[], tuple[bytes, float]]:
    """A meter's pushes in pieces, and how long to wait after each."""
    meter = SimulatedMeter(
        model,
        bytes.fromhex(key),
        auth_key=bytes.fromhex(auth_key) if auth_key else None,
        seed=7,
        start=datetime.now(UTC),
    )
    pieces: list[bytes] = []

    def next_piece() -> tuple[bytes, float]:
        if not pieces:
            octets = meter.push().telegram
            pieces.extend(
                octets[at : at + PIECE_BYTES] for at in range(0, len(octets), PIECE_BYTES)
            )
        piece = pieces.pop(0)
        return piece, 0.01 if pieces else PAUSE_S

    return next_piece


@pytest.fixture
def play(line: Line) -> Iterator[Callable[..., None]]:
    """Let something be heard on the line until the test ends."""
    playing: list[Playing] = []
    yield lambda next_piece: playing.append(Playing(line, next_piece))
    for each in playing:
        each.stop()


class Terminal:
    """A person at a terminal: types, and reads what the command shows."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.shown = ""
        self._seen = 0
        self._screen, keyboard = os.openpty()
        command = [sys.executable, "-c", CONTROLLING, str(OBISGATE), "init", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            cwd=folder,
            start_new_session=True,
        )
        os.close(keyboard)

    def until(self, words: str) -> str:
        """Wait until the words are shown; return what was shown up to them."""
        patient_until = time.monotonic() + PATIENCE_S
        while words not in self.shown[self._seen :]:
            assert time.monotonic() < patient_until, f"no {words!r} in:\n{self.shown}"
            assert self._read(), f"ended before {words!r}:\n{self.shown}"
        end = self.shown.index(words, self._seen) + len(words)
        passed, self._seen = self.shown[self._seen : end], end
        return passed

    def type(self, text: str) -> None:
        os.write(self._screen, f"{text}\n".encode())

    def leave(self, key: bytes) -> int:
        """Press Ctrl-C or Ctrl-D; return the exit code.

        Python may begin to wait for a line just when Ctrl-C comes: then a person presses it again.
        """
        patient_until = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < patient_until, f"goes on:\n{self.shown}"
            with contextlib.suppress(OSError):  # it ended meanwhile
                os.write(self._screen, key)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(AGAIN_S)
        return self.end()

    def end(self) -> int:
        """Wait for the command's end; return its exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        os.close(self._screen)

    def _read(self) -> bool:
        """Read what is shown next; tell whether the command still shows something."""
        ready, _, _ = select.select([self._screen], [], [], PATIENCE_S)
        assert ready, f"nothing more is shown after:\n{self.shown}"
        try:
            octets = os.read(self._screen, 4096)
        except OSError:  # EIO: the command has ended
            return False
        self.shown += octets.decode()
        return bool(octets)


@pytest.fixture
def at_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the command at a terminal, in an empty folder."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_in(folder: Path) -> set[str]:
    """What stands in the folder, apart from what is remembered of meters."""
    return {each.name for each in folder.iterdir()} - {"states"}


def scripted(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    done = obisgate("init", *arguments, cwd=folder, timeout=3 * PATIENCE_S, **options)
    assert "Traceback" not in done.stderr
    return done


def simulated(model: str = "kaifa-ma309m") -> tuple[str, str]:
    return "--source", f"simulator:{model}?interval=200ms"


def serve_unit(path: Path) -> None:
    """Let the config that init wrote listen on a port that is free."""
    text = path.read_text()
    assert text.count("tcp: 127.0.0.1:5020") == 1
    path.write_text(text.replace("tcp: 127.0.0.1:5020", "tcp: 127.0.0.1:0"))


def test_typed_answers_make_a_config_that_serves_the_meter(
    at_terminal: Callable[..., Terminal],
    line: Line,
    play: Callable[..., None],
    key: str,
    tmp_path: Path,
    connect: Callable[[int], Client],
) -> None:
    play(pushing("kaifa-ma309m", key))
    terminal = at_terminal("--port", line.device)
    terminal.until("the port refuses this setting")
    terminal.until("next telegram in about ")
    assert "of meter" not in terminal.shown
    terminal.until("Found: M-Bus frames, a telegram every ")
    terminal.until("Kaifa, serial ")
    terminal.until("Key: ")
    terminal.type(" ".join(key))
    terminal.until("The key fits. The meter says: ")
    terminal.until("kWh")
    terminal.until("such as fronius: ")
    terminal.type("fronius")
    terminal.until("fronius_smart_meter_213, over tcp")
    terminal.until("[1]: ")
    terminal.type("")
    terminal.until("[1]: ")
    terminal.type("3")
    terminal.until("[0.0.0.0:502]: ")
    terminal.type("127.0.0.1:5020")
    terminal.until("config.yaml: good")
    for words in ("address  127.0.0.1", "port     5020", "unit id  3", "obisgate run config.yaml"):
        terminal.until(words)
    assert terminal.end() == 0
    assert key not in terminal.shown.replace(" ", "")

    assert files_in(tmp_path) == {"config.yaml", "house.key"}
    assert {mode_of(tmp_path / name) for name in ("config.yaml", "house.key")} == {0o600}
    config = Config.read(tmp_path / "config.yaml")
    assert config.meters["house"].key.octets.hex() == key.lower()
    assert FOUND_WITHOUT_PARITY in config.meters["house"].source.describe()
    assert not config.warnings
    serve_unit(tmp_path / "config.yaml")
    running = Running(tmp_path / "config.yaml")
    try:
        running.telegram()
        assert connect(running.port).read(3, 40000, 2) == b"SunS"
    finally:
        running.stop()


def test_a_wrong_key_is_asked_again_until_one_fits(
    at_terminal: Callable[..., Terminal],
    line: Line,
    play: Callable[..., None],
    key: str,
    tmp_path: Path,
) -> None:
    play(pushing("iskra-am550-wienernetze", key))
    terminal = at_terminal("--port", line.device, "--map", "obis_plain", "--listen", "127.0.0.1:0")
    terminal.until("[1]: ")
    terminal.type("")
    terminal.until("Found: HDLC frames")
    terminal.until("Key: ")
    terminal.type("12345")
    terminal.until("a key has 32 hex digits")
    terminal.until("Key: ")
    terminal.type(WRONG)
    said = terminal.until("Key: ")
    assert "wrong key" in said
    assert "Iskraemeco, serial" in said
    terminal.type(f"{int(key[0], 16) ^ 1:X}{key[1:]}")
    assert "it decrypts with another" in terminal.until("Key: ")
    assert not files_in(tmp_path)
    terminal.type(key)
    terminal.until("The key fits.")
    assert terminal.end() == 0
    for typed in (key, WRONG, "12345"):
        assert typed not in terminal.shown
    assert files_in(tmp_path) == {"config.yaml", "house.key"}


def test_flags_alone_make_the_config(
    line: Line, play: Callable[..., None], key: str, tmp_path: Path
) -> None:
    play(pushing("kaifa-ma110m", key))
    answers = ("--port", line.device, "--parity", "none", "--baud", "2400", "--key", "env:TEST_KEY")
    served = ("--reader", "openWB (SDM630, EVU kit)", "--listen", "127.0.0.1:0", "--unit", "5")
    done = scripted(tmp_path, *answers, *served, "--config", "mine.yaml", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2400 baud 8N1" in done.stdout
    assert "\r" not in done.stdout
    assert files_in(tmp_path) == {"mine.yaml"}
    assert "# a variable of the gateway's environment\n" in (tmp_path / "mine.yaml").read_text()
    config = Config.read(tmp_path / "mine.yaml")
    assert config.listeners[0].units[5].map_name == "eastron_sdm630"
    assert config.meters["house"].source.describe().endswith("2400 baud 8N1")


def test_answers_may_come_from_a_pipe(tmp_path: Path, key: str) -> None:
    recording = tmp_path / "meter.bin"
    kept = tmp_path / "kept.key"
    kept.write_text(key)
    kept.chmod(0o600)
    made = ("kaifa-ma309m", "--count", "3", "--at-once", "--to", str(recording))
    assert obisgate("simulate", *made, "--key-file", str(kept)).returncode == 0
    answers = f"recording:meter.bin\n{WRONG}\n{key}\nplc\n1\n7\n127.0.0.1:0\n"
    done = scripted(tmp_path, input=answers)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrong key" in done.stdout
    assert files_in(tmp_path) == {"meter.bin", "kept.key", "house.key", "config.yaml"}
    assert (tmp_path / "house.key").read_text().strip() == key.lower()
    assert list(Config.read(tmp_path / "config.yaml").listeners[0].units) == [7]


def test_the_key_may_come_on_standard_input(
    line: Line, play: Callable[..., None], key: str, tmp_path: Path
) -> None:
    play(pushing("kaifa-ma309m", key))
    asked = ("--port", line.device, "--key", "-", "--map", "obis_plain", "--listen", "127.0.0.1:0")
    done = scripted(tmp_path, *asked, "--yes", input=f"{key}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert mode_of(tmp_path / "house.key") == 0o600
    assert key.lower() not in done.stdout.lower()


def test_a_key_that_is_typed_as_standard_input_is_not_shown(
    at_terminal: Callable[..., Terminal], tmp_path: Path, key: str
) -> None:
    kept = tmp_path / "kept.key"
    kept.write_text(key)
    kept.chmod(0o600)
    made = ("kaifa-ma309m", "--count", "3", "--at-once", "--to", str(tmp_path / "meter.bin"))
    assert obisgate("simulate", *made, "--key-file", str(kept)).returncode == 0
    asked = ("--source", "recording:meter.bin", "--map", "obis_plain", "--listen", "127.0.0.1:0")
    terminal = at_terminal(*asked, "--key", "-", "--yes")
    terminal.until("--key (not shown while you type or paste it): ")
    terminal.type(key)
    terminal.until("Start it:")
    assert terminal.end() == 0, terminal.shown
    assert key.lower() not in terminal.shown.lower()
    assert (tmp_path / "house.key").read_text().strip() == key.lower()


def test_one_telegram_alone_is_said_to_tell_no_pause(tmp_path: Path, key: str) -> None:
    kept = tmp_path / "kept.key"
    kept.write_text(key)
    kept.chmod(0o600)
    made = ("kaifa-ma309m", "--count", "1", "--at-once", "--to", str(tmp_path / "meter.bin"))
    assert obisgate("simulate", *made, "--key-file", str(kept)).returncode == 0
    asked = ("--source", "recording:meter.bin", "--map", "obis_plain", "--listen", "127.0.0.1:0")
    done = scripted(tmp_path, *asked, "--key", "file:kept.key", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nobody knows how often the meter pushes: `hold` is 15 s" in done.stdout


def test_the_hold_of_a_meter_that_pushes_rarely_is_written(tmp_path: Path) -> None:
    asked = ("--source", "simulator:kaifa-ma309m?interval=20s", "--map", "obis_plain")
    done = scripted(tmp_path, *asked, "--listen", "127.0.0.1:0", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert Config.read(tmp_path / "config.yaml").meters["house"].hold_s == 60


def test_what_is_to_be_typed_next_is_printed_as_this_was_typed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "obisgate").symlink_to(OBISGATE)
    asked = ("--map", "obis_plain", "--listen", "127.0.0.1:0", "--config", "my house.yaml", "--yes")

    def typed(name: str, path: str) -> str:
        return subprocess.run(
            [name, "init", *simulated(), *asked, "--force"],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_S,
            check=True,
        ).stdout

    path = os.environ["PATH"]
    said = typed("bin/obisgate", "/usr/bin:/bin")
    assert "Start it:  bin/obisgate run 'my house.yaml'\n" in said
    assert "besides:  bin/obisgate maps show obis_plain\n" in said
    said = typed(str(tmp_path / "bin" / "obisgate"), f"{tmp_path}/bin:{path}")
    assert "Start it:  obisgate run 'my house.yaml'\n" in said


def test_a_given_key_that_does_not_fit_writes_nothing(
    line: Line, play: Callable[..., None], key: str, tmp_path: Path
) -> None:
    play(pushing("kaifa-ma309m", WRONG))
    asked = ("--port", line.device, "--key", "env:TEST_KEY", "--map", "obis_plain", "--yes")
    done = scripted(tmp_path, *asked)
    assert done.returncode == 1
    assert "wrong key" in done.stderr
    assert "nothing is written" in done.stderr
    assert not files_in(tmp_path)


def test_a_tag_is_verified_when_the_second_key_is_typed(
    at_terminal: Callable[..., Terminal],
    line: Line,
    play: Callable[..., None],
    key: str,
    tmp_path: Path,
) -> None:
    auth_key = "A1" * 16
    play(pushing("lg-e450-burgenland", key, auth_key))
    where = ("--unit", "1", "--listen", "127.0.0.1:0")
    terminal = at_terminal("--port", line.device, "--map", "obis_plain", *where)
    terminal.until("Key: ")
    terminal.type(key)
    terminal.until("carry an authentication tag")
    terminal.until("(Enter: there is none): ")
    terminal.type(WRONG)
    assert "wrong authentication key" in terminal.until("(Enter: there is none): ")
    terminal.type(auth_key)
    assert terminal.end() == 0
    assert files_in(tmp_path) == {"config.yaml", "house.key", "house.auth.key"}
    assert mode_of(tmp_path / "house.auth.key") == 0o600
    config = Config.read(tmp_path / "config.yaml")
    assert config.meters["house"].auth_key is not None


def test_a_silent_port_is_told_with_the_next_step(line: Line, tmp_path: Path) -> None:
    asked = ("--port", line.device, "--parity", "none", "--baud", "2400", "--map", "obis_plain")
    done = scripted(tmp_path, *asked, "--key", "env:TEST_KEY", "--yes")
    assert done.returncode == 1
    assert "no byte in" in done.stdout
    assert "is the customer interface enabled" in done.stdout
    assert "no other setting would help" in done.stderr
    assert not files_in(tmp_path)


def test_noise_is_told_with_what_to_look_at(
    line: Line, play: Callable[..., None], tmp_path: Path
) -> None:
    random = Random(3)
    play(lambda: (random.randbytes(400), 0.05))
    asked = ("--port", line.device, "--map", "obis_plain", "--key", "env:TEST_KEY", "--yes")
    done = scripted(tmp_path, *asked)
    assert done.returncode == 1
    for setting in ("9600 baud 8N1", "115200 baud 8N1", "2400 baud 8N1"):
        assert f"{setting} (" in done.stdout
    assert done.stdout.count("the port refuses this setting") == 2
    assert "no frame begins in them: the baud rate, the parity or the adapter's" in done.stdout
    assert "--baud and --parity" in done.stderr
    assert not files_in(tmp_path)


def test_a_port_that_another_program_reads_is_said_to_be_in_use(
    start: Callable[[str], Running], line: Line, key: str, tmp_path: Path
) -> None:
    source = f"serial:{line.device}?parity=none"
    running = start(
        f"meters: {{house: {{source: '{source}', key: env:TEST_KEY}}}}\n"
        "listeners: [{tcp: 127.0.0.1:0, any: {meter: house, map: obis_plain}}]\n"
    )
    running.message("is open")
    asked = ("--port", line.device, "--parity", "none", "--map", "obis_plain", "--yes")
    done = scripted(tmp_path, *asked, "--key", "env:TEST_KEY", "--config", "second.yaml")
    assert done.returncode == 1
    assert "is in use by another program" in done.stderr


def test_a_config_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    asked = (*simulated(), "--map", "obis_plain", "--listen", "127.0.0.1:0")
    done = scripted(tmp_path, *asked, "--yes")
    assert done.returncode == 2
    assert "config.yaml is there already" in done.stderr
    assert "--force" in done.stderr
    done = scripted(tmp_path, *asked, input="no\n")
    assert done.returncode == 2
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert files_in(tmp_path) == {"config.yaml"}


@pytest.mark.parametrize(("flags", "answer"), [(("--force", "--yes"), ""), ((), "yes\n\n")])
def test_a_config_is_replaced_when_somebody_says_so(
    flags: Sequence[str], answer: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    asked = (*simulated(), "--map", "obis_plain", "--listen", "127.0.0.1:0")
    done = scripted(tmp_path, *asked, *flags, input=answer)
    assert (done.returncode, done.stderr) == (0, "")
    assert "obis_plain" in (tmp_path / "config.yaml").read_text()


def test_a_folder_in_place_of_a_config_is_refused_before_anybody_listens(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    asked = (*simulated(), "--map", "obis_plain", "--listen", "127.0.0.1:0")
    done = scripted(tmp_path, *asked, "--config", "config", "--force", "--yes")
    assert done.returncode == 2
    assert "config is a folder: --config names a file, as config/config.yaml" in done.stderr
    assert "Listening" not in done.stdout


def test_a_link_that_leads_nowhere_is_refused_before_anybody_listens(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to("nowhere/house.yaml")
    asked = (*simulated(), "--map", "obis_plain", "--listen", "127.0.0.1:0")
    done = scripted(tmp_path, *asked, "--force", "--yes")
    assert done.returncode == 2
    assert f"config.yaml is a link to {tmp_path}/nowhere/house.yaml" in done.stderr
    assert "Listening" not in done.stdout


def test_a_key_file_that_is_there_is_used_if_it_fits_and_never_overwritten(
    line: Line, play: Callable[..., None], key: str, tmp_path: Path
) -> None:
    play(pushing("kaifa-ma309m", key))
    kept = tmp_path / "house.key"
    asked = ("--port", line.device, "--map", "obis_plain", "--listen", "127.0.0.1:0", "--unit", "1")
    for present, names in ((key, {"house.key"}), (WRONG, {"house.key", "house-2.key"})):
        kept.write_text(present)
        kept.chmod(0o600)
        done = scripted(tmp_path, *asked, "--force", input=f"{key}\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert kept.read_text() == present
        assert files_in(tmp_path) == {"config.yaml"} | names
        assert Config.read(tmp_path / "config.yaml").meters["house"].key.octets.hex() == key.lower()


def test_ctrl_c_while_it_listens_ends_with_a_word(
    at_terminal: Callable[..., Terminal], line: Line, tmp_path: Path
) -> None:
    terminal = at_terminal("--port", line.device, "--parity", "none")
    terminal.until("no byte in")
    assert terminal.leave(b"\x03") == INTERRUPTED
    assert "stopped, nothing is written" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert not files_in(tmp_path)


@pytest.mark.parametrize(
    ("pressed", "code", "words"),
    [(b"\x03", INTERRUPTED, "nothing is written"), (b"\x04", 2, "nothing is written")],
    ids=["Ctrl-C", "Ctrl-D"],
)
@pytest.mark.parametrize("question", ["Key: ", "such as fronius: "])
def test_leaving_at_a_question_writes_nothing(
    at_terminal: Callable[..., Terminal],
    line: Line,
    play: Callable[..., None],
    key: str,
    tmp_path: Path,
    pressed: bytes,
    code: int,
    words: str,
    question: str,
) -> None:
    play(pushing("kaifa-ma309m", key))
    terminal = at_terminal("--port", line.device, "--parity", "none", "--baud", "2400")
    terminal.until("Key: ")
    if question != "Key: ":
        terminal.type(key)
        terminal.until(question)
    assert terminal.leave(pressed) == code
    assert words in terminal.shown
    assert "Traceback" not in terminal.shown
    assert not files_in(tmp_path)


def test_a_simulated_meter_needs_no_key(tmp_path: Path) -> None:
    done = scripted(
        tmp_path, *simulated(), "--map", "obis_plain", "--listen", "127.0.0.1:0", "--yes"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "house.key" not in files_in(tmp_path)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["meters"] == {"house": {"source": simulated()[1]}}


def test_what_stands_in_the_way_of_the_start_is_said(tmp_path: Path) -> None:
    asked = (*simulated(), "--map", "obis_plain", "--listen", "192.0.2.77:5020", "--yes")
    done = scripted(tmp_path, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Before it can start: 192.0.2.77 is no address of this machine" in done.stdout


def test_a_port_that_is_taken_is_said_before_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = scripted(tmp_path, *simulated(), "--map", "obis_plain", "--listen", where, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{where} is in use by another program" in done.stdout


def test_an_inverter_on_rs485_is_answered_on_a_line_of_its_own(line: Line, tmp_path: Path) -> None:
    asked = (*simulated(), "--reader", "huawei sun2000", "--listen", line.device, "--yes")
    done = scripted(tmp_path, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    (listener,) = Config.read(tmp_path / "config.yaml").listeners
    assert (listener.host, list(listener.units)) == (line.device, [11])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key", "00112233445566778899AABBCCDDEEFF"), "never stands on a command line"),
        (("--key", "file:00112233445566778899AABBCCDDEEFF"), "never stands on a command line"),
        (("--key", "file:nowhere.key"), "key file nowhere.key does not exist"),
        (("--key", "-", "--auth-key", "-"), "standard input is for one key"),
        (("--port", "/dev/nowhere"), "/dev/nowhere does not exist"),
        (("--port", "meter"), "unknown source 'meter'"),
        (("--source", "simulator:kaiffa-ma309m"), "did you mean 'kaifa-ma309m'?"),
        (("--source", "recording:nowhere.bin"), "cannot be read"),
        (("--baud", "1"), "--baud"),
        ((*simulated(), "--baud", "2400", "--map", "obis_plain"), "--baud and --parity are for"),
        ((*simulated(), "--map", "obis_plane"), "did you mean 'obis_plain'?"),
        ((*simulated(), "--reader", "toaster"), "nothing of that name"),
        ((*simulated(), "--reader", "evcc"), "say more of the name, or --map"),
        ((*simulated(), "--map", "obis_plain", "--unit", "0"), "a unit id is a number"),
        ((*simulated(), "--map", "obis_plain", "--listen", "nowhere:"), "is no address"),
        ((*simulated(), "--reader", "huawei sun2000"), "--listen is missing"),
        (simulated(), "--reader is missing"),
        (
            ("--port", "/dev/ptmx", "--map", "obis_plain", "--listen", "127.0.0.1:0"),
            "--key is missing",
        ),
        ((), "--port is missing"),
    ],
)
def test_wrong_options_are_refused_before_anybody_listens(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = scripted(tmp_path, *arguments, "--yes", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert words in done.stderr
    assert "00112233445566778899AABBCCDDEEFF" not in done.stderr
    assert "Listening" not in done.stdout
    assert not files_in(tmp_path)
