"""The file of a recording: appended to within its size, whatever was there before."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording import Began, Chunk, FullError, RecordingError, RecordingFile, Torn, parse
from gateway.recording.lines import head, write

BEGAN = Began(datetime(2026, 11, 23, 18, tzinfo=UTC), "serial port /dev/ttyUSB0")
LATER = BEGAN._replace(moment=datetime(2026, 11, 24, 18, tzinfo=UTC))
A, B, C = Chunk(1, b"\x0a"), Chunk(2, b"\x0b"), Chunk(3, b"\x0c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "house.rec"


def one_run(path: Path, began: Began, *chunks: Chunk) -> None:
    """What a whole run of a recorder leaves in a file."""
    file = RecordingFile(path, began)
    file.append([write(chunk) for chunk in chunks])
    file.close()


def stored(path: Path) -> list[object]:
    return list(parse(path.read_bytes().splitlines()))


def test_batches_follow_each_other_below_one_head(path: Path) -> None:
    file = RecordingFile(path, BEGAN)
    file.append([write(A), write(B)])
    file.append([write(C)], is_last=True)
    assert stored(path) == [BEGAN, A, B, C]


def test_only_its_owner_can_read_a_new_recording(path: Path) -> None:
    one_run(path, BEGAN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_run_goes_on_in_the_same_file(path: Path) -> None:
    one_run(path, BEGAN, A)
    one_run(path, LATER, B)
    assert stored(path) == [BEGAN, A, LATER, B]


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_torn_line_costs_itself_alone(path: Path, cut: int) -> None:
    one_run(path, BEGAN, A, B)
    os.truncate(path, path.stat().st_size - cut)
    one_run(path, LATER, C)
    assert stored(path) == [BEGAN, A, B if cut == 1 else Torn(5), LATER, C]


def test_a_file_that_is_moved_away_is_begun_anew(path: Path) -> None:
    file = RecordingFile(path, BEGAN)
    file.append([write(A)])
    path.rename(path.with_name("away.rec"))
    file.append([write(B)])
    assert stored(path) == [BEGAN, B]


def test_a_full_file_is_rotated_and_so_many_older_ones_stay(path: Path) -> None:
    line = write(Chunk(0, bytes(100)))
    file = RecordingFile(path, BEGAN, max_bytes=len(head()) + 500, rotate=2)
    for number in range(12):
        file.append([write(Chunk(number, bytes(100)))])
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["house.rec", "house.rec.1", "house.rec.2"]
    assert all(each.stat().st_size <= len(head()) + 500 for each in path.parent.iterdir())
    times = [
        item.at_ms
        for name in reversed(names)
        for item in stored(path.with_name(name))
        if isinstance(item, Chunk)
    ]
    assert times == list(range(12 - len(times), 12)), "the newest, without a gap"
    assert len(line) > 200


def test_without_rotation_a_full_file_says_so_and_stays(path: Path) -> None:
    file = RecordingFile(path, BEGAN, max_bytes=len(head()) + 300)
    file.append([write(Chunk(0, bytes(100)))])
    before = path.read_bytes()
    with pytest.raises(FullError, match=r"house\.rec is full"):
        file.append([write(Chunk(1, bytes(100)))])
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"telegrams of mine", b"obisgate recording 2\n"])
def test_a_file_of_another_kind_stays_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="stays as it is"):
        RecordingFile(path, BEGAN).append([write(A)])
    assert path.read_bytes() == content


def test_what_cannot_be_written_is_said_with_its_cause(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "house.rec"
    with pytest.raises(RecordingError) as problem:
        RecordingFile(path, BEGAN).append([])
    assert str(problem.value) == f"{path} cannot be written: No such file or directory"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be written: Is a directory"):
        RecordingFile(tmp_path, BEGAN).append([])


def test_two_recorders_never_mix_their_times_in_one_file(path: Path) -> None:
    one, other = RecordingFile(path, BEGAN), RecordingFile(path, LATER)
    one.append([write(A)])
    before = path.read_bytes()
    with pytest.raises(RecordingError) as problem:
        other.append([write(B)])
    assert str(problem.value) == (
        f"{path} cannot be written: another obisgate records into it: name a file of its own"
    )
    assert path.read_bytes() == before
    one.append([write(C)])
    one.close()
    other.append([write(B)])
    other.close()
    assert stored(path) == [BEGAN, A, C, LATER, B]


def test_a_file_is_kept_from_others_also_after_it_was_rotated(path: Path) -> None:
    one = RecordingFile(path, BEGAN, max_bytes=len(head()) + 300, rotate=1)
    for number in range(3):
        one.append([write(Chunk(number, bytes(100)))])
    with pytest.raises(RecordingError, match="another obisgate records into it"):
        one_run(path, LATER, B)
    one.close()
    one_run(path, LATER, B)
    assert stored(path)[-2:] == [LATER, B]


@pytest.mark.parametrize("taken", ["house.rec.1", "house.rec.2"])
def test_nothing_is_recorded_where_a_rotation_would_lose_another_file(
    path: Path, taken: str
) -> None:
    mine = path.with_name(taken)
    mine.write_text("notes of mine")
    file = RecordingFile(path, BEGAN, rotate=2)
    expected = (
        f"{path} cannot be written: {taken} is no recording of obisgate, and stays as it is: "
        "older parts are to be kept there"
    )
    assert file.trouble() == expected
    with pytest.raises(RecordingError) as problem:
        file.append([write(A)])
    assert str(problem.value) == expected
    assert [each.name for each in path.parent.iterdir()] == [taken]
    assert RecordingFile(path, BEGAN, rotate=0).trouble() is None


def test_what_comes_to_stand_in_the_way_later_is_not_lost_either(path: Path) -> None:
    file = RecordingFile(path, BEGAN, max_bytes=len(head()) + 300, rotate=1)
    file.append([write(Chunk(0, bytes(100)))])
    older = path.with_name("house.rec.1")
    older.mkdir()
    with pytest.raises(RecordingError, match=r"house\.rec\.1 is no recording"):
        file.append([write(Chunk(1, bytes(100)))])
    older.rmdir()
    file.append([write(Chunk(2, bytes(100)))])
    file.close()
    assert len(stored(older)) == len(stored(path)) == 2


# --- what shows before anything is written --------------------------------------------------


def test_a_good_place_is_no_trouble_and_stays_as_it_is(path: Path) -> None:
    assert RecordingFile(path, BEGAN).trouble() is None
    assert not path.exists()
    one_run(path, BEGAN, A)
    before = path.read_bytes()
    assert RecordingFile(path, LATER).trouble() is None
    assert path.read_bytes() == before


def test_trouble_shows_before_anything_is_written(tmp_path: Path) -> None:
    gone, mine = tmp_path / "gone" / "a.rec", tmp_path / "mine.txt"
    expected = f"{gone} cannot be written: {gone.parent} is no folder"
    assert RecordingFile(gone, BEGAN).trouble() == expected
    mine.write_text("telegrams of mine")
    expected = f"{mine} cannot be written: it is no recording of obisgate, and stays as it is"
    assert RecordingFile(mine, BEGAN).trouble() == expected
    assert RecordingFile(tmp_path, BEGAN).trouble() == (
        f"{tmp_path} cannot be written: Is a directory"
    )
