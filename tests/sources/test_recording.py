"""Recordings: a file's bytes, at once or as a line would carry them."""

import asyncio
from pathlib import Path

import pytest

from gateway.sources import SourceError
from gateway.sources.recording import RecordingSource

BYTES = bytes(range(256)) * 3 + b"the end"


def nothing() -> None:
    """That a recording is open is no news."""


def play(path: Path, baud: int | None = None) -> list[bytes]:
    chunks: list[bytes] = []
    asyncio.run(RecordingSource(path, baud).run(chunks.append, nothing))
    return chunks


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "meter.bin"
    path.write_bytes(BYTES)
    return path


@pytest.mark.parametrize("baud", [None, 10_000_000])
def test_all_bytes_come_in_order_and_then_it_ends(recording: Path, baud: int | None) -> None:
    assert b"".join(play(recording, baud)) == BYTES


def test_with_a_baud_rate_each_chunk_takes_the_time_of_its_bits(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[float | int] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        events.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    source = RecordingSource(recording, 2400)
    asyncio.run(source.run(lambda chunk: events.append(len(chunk)), nothing))
    pauses, sizes = events[::2], events[1::2]
    assert sum(sizes) == len(BYTES)
    for pause, size in zip(pauses[:-1], sizes[:-1], strict=True):
        assert pause == pytest.approx(size * 11 / 2400)  # start, 8 data, parity, stop


def test_without_a_baud_rate_other_tasks_still_get_their_turn(recording: Path) -> None:
    turns: list[str] = []

    async def scenario() -> None:
        async def other() -> None:
            turns.append("other")

        task = asyncio.create_task(other())
        await RecordingSource(recording).run(lambda _: turns.append("chunk"), nothing)
        await task

    asyncio.run(scenario())
    assert turns.index("other") < len(turns) - 1


def test_an_empty_file_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    assert play(tmp_path / "empty.bin") == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.bin"
    expected = f"{path} cannot be read: No such file or directory"
    assert RecordingSource(path).trouble() == expected
    with pytest.raises(SourceError) as problem:
        play(path)
    assert str(problem.value) == expected


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    expected = f"{tmp_path} is no recording: a recording is a file"
    assert RecordingSource(tmp_path).trouble() == expected
    with pytest.raises(SourceError) as problem:
        play(tmp_path)
    assert str(problem.value) == expected


def test_a_good_file_is_no_trouble(recording: Path) -> None:
    assert RecordingSource(recording).trouble() is None


def test_a_file_that_breaks_while_it_is_read_is_a_source_error() -> None:
    # It opens, but nothing is mapped at its start: read gives EIO, as a failing disk does.
    path = Path("/proc/self/mem")
    if RecordingSource(path).trouble():
        pytest.skip("this machine has no /proc/self/mem")
    with pytest.raises(SourceError, match="/proc/self/mem"):
        play(path)
