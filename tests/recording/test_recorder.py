"""The recorder beside the gateway: nobody waits for its disk, and what goes wrong is said once."""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording import Began, Chunk, Recorder, RecordingFile, parse, recorder
from gateway.recording.recorder import MAX_WAITING

PATIENCE_S = 30.0
BEGAN = Began(datetime(2026, 11, 23, 18, tzinfo=UTC), "serial port /dev/ttyUSB0")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "GATHER_S", 0.01)
    monkeypatch.setattr(recorder, "RETRY_S", 0.01)


def until(condition: Callable[[], bool]) -> None:
    patient_until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < patient_until
        time.sleep(0.005)


def chunks_in(path: Path) -> list[Chunk]:
    items = parse(path.read_bytes().splitlines()) if path.exists() else iter(())
    return [item for item in items if isinstance(item, Chunk)]


def test_what_is_taken_is_written_soon_and_the_rest_when_it_ends(tmp_path: Path) -> None:
    path, said = tmp_path / "house.rec", list[str]()
    one = Recorder(RecordingFile(path, BEGAN), 100.0, said.append)
    one.take(b"\x68", (), 100.0)
    one.take(b"\xff\x00", (1,), 100.147)
    until(lambda: len(chunks_in(path)) == 2)
    one.take(b"\x16", (), 102.0)
    one.close()
    assert chunks_in(path) == [
        Chunk(0, b"\x68"),
        Chunk(147, b"\xff\x00", (1,)),
        Chunk(2000, b"\x16"),
    ]
    assert said == []


def test_where_nothing_came_there_is_no_file(tmp_path: Path) -> None:
    one = Recorder(RecordingFile(tmp_path / "house.rec", BEGAN), 0.0, [].append)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_comes_back_is_recorded_into_again_and_what_is_missing_is_said(
    tmp_path: Path,
) -> None:
    path, said = tmp_path / "stick" / "house.rec", list[str]()
    one = Recorder(RecordingFile(path, BEGAN), 0.0, said.append)
    for number in range(3):
        one.take(bytes([number]), (), float(number))
        until(lambda: one.waiting == 0)
        until(lambda: bool(said))
    assert said == [
        f"{path} cannot be written: No such file or directory; nothing is recorded until it can be"
    ]
    path.parent.mkdir()
    one.take(b"\x68", (), 9.0)
    until(lambda: len(said) == 2)
    one.close()
    missing = re.fullmatch(rf"{path} is written again; (\d) pieces are missing in it", said[1])
    assert missing
    # The last of the three may just have come in time.
    assert int(missing[1]) + len(chunks_in(path)) == 4
    assert chunks_in(path)[-1] == Chunk(9000, b"\x68")


def test_a_disk_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A pipe that nobody reads takes 64 KiB; whoever writes more waits for ever.
    path, said = tmp_path / "house.rec", list[str]()
    os.mkfifo(path)
    monkeypatch.setattr(recorder, "LAST_WORDS_S", 0.05)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    one = Recorder(RecordingFile(path, BEGAN), 0.0, said.append)
    for number in range(3 * MAX_WAITING):
        one.take(bytes(100), (), float(number))
    assert one.waiting <= MAX_WAITING
    one.close()
    try:
        until(lambda: has_said_while_read(reading, said))
    finally:
        os.close(reading)
    assert "pieces are missing in it" in said[0]


def has_said_while_read(reading: int, said: list[str]) -> bool:
    with suppress(BlockingIOError):
        os.read(reading, 65536)
    return bool(said)


def test_a_full_file_is_said_once_and_nothing_more_is_kept(tmp_path: Path) -> None:
    path, said = tmp_path / "house.rec", list[str]()
    one = Recorder(RecordingFile(path, BEGAN, max_bytes=1000), 0.0, said.append)
    for _ in range(20):
        one.take(bytes(100), (), 0.0)
        until(lambda: one.waiting == 0 or bool(said))
    until(lambda: bool(said))
    one.take(bytes(100), (), 0.0)
    one.close()
    assert said == [f"{path} is full (1000 B): nothing more is recorded"]
    assert path.stat().st_size <= 1000
