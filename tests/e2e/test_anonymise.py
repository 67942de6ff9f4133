"""obisgate anonymise, as it is typed: from one's own recording to one that can be sent."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.recording import Began, Chunk, RecordingFile, parse
from gateway.recording.lines import write
from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter

from .conftest import obisgate

PUBLISHED_KEY = "000102030405060708090A0B0C0D0E0F"
START = datetime(2026, 1, 5, 18, tzinfo=UTC)
BEGAN = Began(START, "serial port /dev/serial/by-id/usb-FTDI_A50285BI, 2400 baud 8E1")


FEW_BYTES = """
import resource, signal, sys
from gateway.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def key_file(tmp_path: Path, key: str) -> str:
    path = tmp_path / "house.key"
    path.write_text(key + "\n")
    path.chmod(0o600)
    return str(path)


def meter(model: str, key: str) -> SimulatedMeter:
    return SimulatedMeter(model, bytes.fromhex(key), seed=3, start=START)


@pytest.fixture
def recorded(tmp_path: Path, key: str) -> Path:
    """Three telegrams as a slow line brought them, of which the second came damaged."""
    path = tmp_path / "house.rec"
    one = meter("kaifa-ma309m", key)
    chunks = []
    for number in range(3):
        telegram = one.push().telegram
        for start in range(0, len(telegram), 32):
            damaged = (3,) if number == 1 and start == 64 else ()
            at_ms = number * 5000 + start * 5
            chunks.append(Chunk(at_ms, telegram[start : start + 32], damaged))
    RecordingFile(path, BEGAN).append([write(chunk) for chunk in chunks])
    return path


def decoded(path: Path, key_file: Path) -> list[dict[str, object]]:
    done = obisgate("decode", "--format", "json", "--key-file", str(key_file), str(path))
    assert done.returncode == 0, done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "published.key"
    path.write_text(PUBLISHED_KEY)
    path.chmod(0o600)
    return path


def test_it_is_read_with_the_published_key_and_says_what_was_left_out(
    recorded: Path, tmp_path: Path, key_file: str, published: Path
) -> None:
    out = tmp_path / "nobody.rec"
    done = obisgate("anonymise", str(recorded), "-o", str(out), "--key-file", key_file)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"2 telegrams of 1 meter into {out}\n" in done.stderr
    assert "left out: 2 damaged pieces; the first: 1 of the frame's 256 bytes came" in done.stderr
    assert PUBLISHED_KEY in done.stderr
    assert SIMULATED_AUTH_KEY.hex().upper() in done.stderr
    assert [each["meter"] for each in decoded(out, published)] == ["4B464D1020000001"] * 2
    assert "FTDI" not in out.read_text()


def test_times_are_kept_a_frame_a_line(recorded: Path, tmp_path: Path, key_file: str) -> None:
    out = tmp_path / "nobody.rec"
    obisgate("anonymise", str(recorded), "-o", str(out), "--key-file", key_file)
    began, *chunks = parse(out.read_bytes().splitlines())
    assert began == Began(START, "an anonymised recording")
    shown = [(each.at_ms, len(each.octets)) for each in chunks if isinstance(each, Chunk)]
    assert shown == [(1120, 256), (1760, 120), (11120, 256), (11760, 120)]


def test_days_move_the_recordings_own_date_too(
    recorded: Path, tmp_path: Path, key_file: str, published: Path
) -> None:
    out = tmp_path / "nobody.rec"
    arguments = ("-o", str(out), "--key-file", key_file, "--days", "-400")
    assert obisgate("anonymise", str(recorded), *arguments).returncode == 0
    began = next(parse(out.read_bytes().splitlines()))
    assert isinstance(began, Began)
    assert began.moment == START - timedelta(days=400)
    assert str(decoded(out, published)[0]["clock"]).startswith("2024-12-01T19:00:00")


@pytest.mark.parametrize("model", MODELS)
def test_a_raw_capture_of_any_meter_becomes_one_of_nobody(
    model: str, tmp_path: Path, key: str, key_file: str, published: Path
) -> None:
    raw, out = tmp_path / "meter.bin", tmp_path / "nobody.rec"
    one = meter(model, key)
    pushes = [one.push() for _ in range(2)]
    raw.write_bytes(b"".join(push.telegram for push in pushes))
    done = obisgate("anonymise", str(raw), "-o", str(out), "--key-file", key_file)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    found = decoded(out, published)
    counters = [each["invocation_counter"] for each in found]
    assert counters == [push.invocation_counter for push in pushes]
    assert one.system_title.hex().upper() not in {each["meter"] for each in found}


def test_a_date_that_cannot_be_moved_is_said(recorded: Path, tmp_path: Path, key_file: str) -> None:
    recorded.write_text(recorded.read_text().replace("began 2026", "began 0001"))
    arguments = ("-o", str(tmp_path / "out.rec"), "--key-file", key_file, "--days", "-400")
    done = obisgate("anonymise", str(recorded), *arguments)
    assert done.returncode == 2
    assert done.stderr == "obisgate: --days: 1 cannot be moved so far\n"


def test_without_a_telegram_that_the_key_opens_nothing_is_written(
    recorded: Path, tmp_path: Path, published: Path
) -> None:
    out = tmp_path / "nobody.rec"
    done = obisgate("anonymise", str(recorded), "-o", str(out), "--key-file", str(published))
    assert done.returncode == 1
    assert "left out: 2 telegrams; the first: the plaintext" in done.stderr
    assert "no telegram in it that the key opens: nothing is written" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gone.rec", "-o", "out.rec"), "gone.rec: cannot be read: No such file"),
        (("house.rec", "-o", "./house.rec"), "is what is to be anonymised: name another file"),
        (("house.rec", "-o", "gone/out.rec"), "gone/out.rec cannot be written: No such file"),
        (("house.rec", "-o", "out.rec", "--days", "99999"), "--days is a number from"),
        (("house.rec",), "-o/--to"),
    ],
)
def test_what_is_used_wrongly_is_said_in_one_line(
    recorded: Path, tmp_path: Path, key_file: str, arguments: tuple[str, ...], said: str
) -> None:
    done = obisgate("anonymise", *arguments, "--key-file", key_file, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.rec").exists()


@pytest.mark.parametrize("content", [b"a photo", b"", b"obisgate recording 2\n"])
def test_a_file_that_is_no_anonymous_recording_stays_as_it_is(
    recorded: Path, tmp_path: Path, key_file: str, content: bytes
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(content)
    done = obisgate("anonymise", str(recorded), "-o", str(mine), "--key-file", key_file)
    assert done.returncode == 2
    expected = "is there, is no anonymous recording, and stays as it is: name another file"
    assert done.stderr == f"obisgate: {mine} {expected}\n"
    assert mine.read_bytes() == content


def test_neither_the_key_nor_another_recording_is_replaced(
    recorded: Path, tmp_path: Path, key_file: str
) -> None:
    older = tmp_path / "house.rec.1"
    older.write_bytes(recorded.read_bytes())
    link = tmp_path / "link.rec"
    link.symlink_to(key_file)
    for taken in (Path(key_file), older, link, Path("/dev/null")):
        before = taken.read_bytes()
        done = obisgate("anonymise", str(recorded), "-o", str(taken), "--key-file", key_file)
        assert done.returncode == 2
        assert f"{taken} is there, is no anonymous recording" in done.stderr
        assert taken.read_bytes() == before
    assert Path("/dev/null").is_char_device()


def test_an_anonymous_recording_is_replaced_whole(
    recorded: Path, tmp_path: Path, key_file: str, published: Path
) -> None:
    out = tmp_path / "nobody.rec"
    for _ in range(2):
        done = obisgate("anonymise", str(recorded), "-o", str(out), "--key-file", key_file)
        assert done.returncode == 0, done.stderr
    assert len(decoded(out, published)) == 2
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"house.rec", "house.key", "published.key", "nobody.rec"}


def test_where_there_is_no_room_the_older_recording_stays_whole(
    recorded: Path, tmp_path: Path, key_file: str
) -> None:
    out = tmp_path / "nobody.rec"
    arguments = ("anonymise", str(recorded), "-o", str(out), "--key-file", key_file)
    assert obisgate(*arguments).returncode == 0
    before = out.read_bytes()
    done = subprocess.run(
        # No file may grow beyond 512 bytes, as on a full disk.
        [sys.executable, "-c", FEW_BYTES, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"obisgate: {out} cannot be written: File too large\n"
    assert out.read_bytes() == before
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"house.rec", "house.key", "nobody.rec"}


def test_without_a_key_it_says_where_one_may_stand(recorded: Path, tmp_path: Path) -> None:
    done = obisgate("anonymise", str(recorded), "-o", str(tmp_path / "out.rec"))
    assert done.returncode == 2
    assert "no key: --key-file FILE" in done.stderr
