"""Recordings: a file's bytes, at once, as a line would carry them, or as fast as they came."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording import Began, Chunk, RecordingFile
from gateway.recording.lines import RUN_GAP_MS, write
from gateway.sources import SourceAddress, SourceError
from gateway.sources.recording import RecordingSource

BYTES = bytes(range(256)) * 3 + b"the end"


BEGAN = Began(datetime(2026, 11, 23, 18, tzinfo=UTC), "serial port /dev/ttyUSB0")
LATER = BEGAN._replace(moment=datetime(2026, 11, 24, 18, tzinfo=UTC))


def nothing(caveat: str = "") -> None:
    """That a recording is open is no news."""


def play(path: Path, baud: int | None = None) -> list[bytes]:
    chunks: list[bytes] = []

    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        chunks.append(chunk)

    asyncio.run(RecordingSource(path, baud).run(deliver, nothing))
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
    asyncio.run(source.run(lambda chunk, _damaged=(): events.append(len(chunk)), nothing))
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
        await RecordingSource(recording).run(
            lambda _chunk, _damaged=(): turns.append("chunk"), nothing
        )
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


# --- with times -----------------------------------------------------------------------------

TIMED = [Chunk(500, b"\x68\xfa\xfa"), Chunk(647, b"\xff\x00", (1,)), Chunk(2500, b"\x16")]


@pytest.fixture
def timed(tmp_path: Path) -> Path:
    """Two runs of a recorder, of which the first was killed while it wrote."""
    path = tmp_path / "meter.rec"
    runs = (BEGAN, [*map(write, TIMED), b"2600 3 68f"]), (LATER, [write(Chunk(0, b"\x7e"))])
    for began, lines in runs:
        file = RecordingFile(path, began)
        file.append(lines)
        file.close()
    return path


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes time."""
    made: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        made.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


def test_a_recording_with_times_brings_the_bytes_and_what_of_them_was_damaged(timed: Path) -> None:
    got: list[tuple[bytes, Sequence[int]]] = []
    said: list[str] = []

    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        got.append((chunk, damaged))

    asyncio.run(RecordingSource(timed).run(deliver, said.append))
    assert got == [(b"\x68\xfa\xfa", ()), (b"\xff\x00", (1,)), (b"\x16", ()), (b"\x7e", ())]
    assert said == ["its line 7 is not whole: what is torn is left out"]


@pytest.mark.parametrize("speed", [1, 10, 1000])
def test_with_a_speed_the_bytes_come_that_many_times_as_fast_as_they_came(
    timed: Path, pauses: list[float], speed: int
) -> None:
    source = RecordingSource.parse(SourceAddress.parse(f"recording:{timed}?speed={speed}"))
    asyncio.run(source.run(lambda _chunk, _damaged=(): None, nothing))
    # None of the pauses took time, so each is counted from the start.
    due = [0.0, 0.147, 2.0, 2.0 + RUN_GAP_MS / 1000]
    assert len(pauses) == len(due)
    for pause, at in zip(pauses, due, strict=True):
        assert at / speed - 5 < pause <= at / speed


def test_with_max_it_comes_at_once(timed: Path, pauses: list[float]) -> None:
    source = RecordingSource.parse(SourceAddress.parse(f"recording:{timed}?speed=max"))
    asyncio.run(source.run(lambda _chunk, _damaged=(): None, nothing))
    assert pauses == [0.0] * 4


def test_raw_bytes_have_no_speed_and_it_is_said_what_helps(recording: Path) -> None:
    source = RecordingSource(recording, speed=1)
    expected = f"{recording} has raw bytes without times: ?baud=2400 instead of ?speed"
    assert source.trouble() == expected
    with pytest.raises(SourceError) as problem:
        asyncio.run(source.run(lambda _chunk, _damaged=(): None, nothing))
    assert str(problem.value) == expected


def test_a_recording_of_a_later_version_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "meter.rec"
    path.write_bytes(b"obisgate recording 2\n")
    with pytest.raises(SourceError) as problem:
        play(path)
    expected = "cannot be played: the recording was written by a newer obisgate"
    assert str(problem.value) == f"{path} {expected}"


@pytest.mark.parametrize("speed", ["0", "-1", "1.5", "fast", "10000000", ""])
def test_a_speed_is_a_number_of_times_or_max(speed: str) -> None:
    with pytest.raises(ValueError, match="speed is 1, 2, 10 … times as it was, or max"):
        RecordingSource.parse(SourceAddress.parse(f"recording:a.rec?speed={speed}"))


def test_one_word_sets_the_pace() -> None:
    with pytest.raises(ValueError, match="one of them sets the pace"):
        RecordingSource.parse(SourceAddress.parse("recording:a.rec?speed=1&baud=2400"))


@pytest.mark.parametrize(
    ("options", "pace"),
    [
        ("", "at once"),
        ("?speed=max", "at once"),
        ("?speed=1", "as fast as it was"),
        ("?speed=10", "10 times as fast"),
        ("?baud=2400", "2400 baud"),
    ],
)
def test_the_pace_is_told(options: str, pace: str) -> None:
    source = RecordingSource.parse(SourceAddress.parse(f"recording:a.rec{options}"))
    assert source.describe() == f"recording a.rec, {pace}"
