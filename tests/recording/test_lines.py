"""A recording's lines: what is written is read again, and what is torn is told and left out."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recording import Began, Chunk, Item, Torn, is_recording, parse, timeline
from gateway.recording.lines import RUN_GAP_MS, begin, head, write

BEGAN = Began(datetime(2026, 11, 23, 18, 0, 0, 250_000, UTC), "serial port /dev/ttyUSB0")
ITEMS = [
    BEGAN,
    Chunk(0, b"\x68\xfa\xfa\x68"),
    Chunk(147, b"\xff\x00\x16", (0, 2)),
    Began(datetime(2026, 11, 24, tzinfo=timezone(timedelta(hours=1))), "tcp://meter:2400"),
    Chunk(3, b"\x7e"),
]

octets = st.binary(min_size=1, max_size=50)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    came = draw(octets)
    damaged = draw(st.sets(st.integers(0, len(came) - 1)))
    return Chunk(draw(st.integers(0, 10**11)), came, tuple(sorted(damaged)))


def written(items: list[Item]) -> bytes:
    return head() + b"".join(
        write(item) if isinstance(item, Chunk) else begin(item)  # type: ignore[arg-type]
        for item in items
    )


def read(octets: bytes) -> list[Item]:
    return list(parse(octets.splitlines(keepends=True)))


def test_a_recording_is_a_text_that_a_person_can_read() -> None:
    assert written(ITEMS).decode() == (
        "obisgate recording 1\n"
        "# milliseconds, number of bytes, the bytes; ! stands before a byte that came damaged\n"
        "began 2026-11-23T18:00:00.250+00:00 from serial port /dev/ttyUSB0\n"
        "0 4 68fafa68\n"
        "147 3 !ff00!16\n"
        "began 2026-11-24T00:00:00.000+01:00 from tcp://meter:2400\n"
        "3 1 7e\n"
    )


def test_what_was_written_is_read_again() -> None:
    assert read(written(ITEMS)) == ITEMS


@given(st.lists(chunks(), max_size=10))
def test_any_chunks_are_read_as_they_were_written(came: list[Chunk]) -> None:
    assert read(written([BEGAN, *came])) == [BEGAN, *came]


@given(st.lists(chunks(), min_size=1, max_size=5), st.data())
def test_a_recording_that_breaks_off_anywhere_loses_its_last_line_alone(
    came: list[Chunk], where: st.DataObject
) -> None:
    whole = written([BEGAN, *came])
    last = len(write(came[-1]))
    cut = where.draw(st.integers(1, last - 1))
    found = read(whole[:-cut])
    if cut == 1:  # only the line end is missing
        assert found == [BEGAN, *came]
    else:
        assert found == [BEGAN, *came[:-1], Torn(3 + len(came))]


@given(st.binary(max_size=300))
def test_any_bytes_behind_the_head_are_read_without_an_error(noise: bytes) -> None:
    for item in read(head() + noise):
        assert isinstance(item, Began | Chunk | Torn)


def test_lines_of_other_systems_and_remarks_of_people_do_no_harm() -> None:
    spaced = written(ITEMS).replace(b"\n", b"\r\n") + b"\r\n# the meter was replaced here\r\n"
    assert read(spaced) == ITEMS


@pytest.mark.parametrize("strange", [b"", b"\x68\xfa\xfa\x68", b"68 fa fa 68\n", b"obisgate\n"])
def test_another_file_is_no_recording(strange: bytes) -> None:
    assert not is_recording(strange)
    with pytest.raises(ValueError, match="no recording of obisgate"):
        read(strange)


def test_a_recording_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="written by a newer obisgate"):
        read(b"obisgate recording 2\n0 1 68\n")


def test_a_source_cannot_break_the_line_that_names_it() -> None:
    strange = BEGAN._replace(source="serial port /dev/a\n0 1 68")
    assert read(written([strange])) == [BEGAN._replace(source="serial port /dev/a?0 1 68")]


def test_runs_follow_each_other_with_a_silence_between() -> None:
    assert [chunk.at_ms for chunk in timeline(ITEMS)] == [0, 147, 147 + RUN_GAP_MS]


def test_the_silence_before_the_first_byte_is_left_out() -> None:
    late = [BEGAN, Chunk(3_600_000, b"a"), Chunk(3_600_100, b"b")]
    assert [chunk.at_ms for chunk in timeline(late)] == [0, 100]


@given(st.lists(chunks(), max_size=10))
def test_time_never_runs_backwards(came: list[Chunk]) -> None:
    times = [chunk.at_ms for chunk in timeline([BEGAN, *came])]
    assert times == sorted(times)
