"""The marks of termios(3), taken out of any stream however it is cut."""

from collections.abc import Collection, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.parity_marks import Unmarker

Line = tuple[bytes, tuple[int, ...]]  # bytes, and the indices of the damaged ones

# Two of three bytes have a meaning in an escape.
MEANING = st.sampled_from([0x00, 0xFF])
OCTETS = st.lists(st.one_of(MEANING, MEANING, st.integers(0, 255)), max_size=60).map(bytes)
SIZES = st.lists(st.integers(0, 5), max_size=60)


def marked(line: bytes, damaged: Collection[int]) -> bytes:
    """What a terminal makes of it (termios(3), PARMRK)."""
    good = [b"\xff\xff" if octet == 0xFF else bytes([octet]) for octet in line]
    bad = [bytes([0xFF, 0x00, octet]) for octet in line]
    return b"".join(bad[at] if at in damaged else good[at] for at in range(len(line)))


def cut(octets: bytes, sizes: Iterable[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(octets[start : start + size])
        start += size
    return [*chunks, octets[start:]]


def unmarked(chunks: Iterable[bytes]) -> Line:
    """All that a new Unmarker gives, the indices in the whole."""
    unmarker = Unmarker()
    line = bytearray()
    damaged: list[int] = []
    for chunk in chunks:
        octets, indices = unmarker.feed(chunk)
        assert all(0 <= index < len(octets) for index in indices)
        damaged += [len(line) + index for index in indices]
        line += octets
    return bytes(line), tuple(damaged)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", (b"", ())),
        (b"\x68\x00\x16", (b"\x68\x00\x16", ())),
        (b"\xff\xff", (b"\xff", ())),
        (b"\xff\xff\x00\x41", (b"\xff\x00\x41", ())),
        (b"\xff\xff\xff\x00\x41", (b"\xff\x41", (1,))),
        (b"a\xff\x00bc", (b"abc", (1,))),
        (b"\xff\x00\xff\xff\xff", (b"\xff\xff", (0,))),  # a damaged FF, a good FF
        (b"\xff\x00\x00", (b"\x00", (0,))),  # a break
        (b"\xff\x00\x00\x00", (b"\x00\x00", (0,))),
        (b"\xff\x00a\xff\x00b", (b"ab", (0, 1))),
    ],
)
def test_marks_are_taken_out(octets: bytes, expected: Line) -> None:
    assert unmarked([octets]) == expected
    assert unmarked(octets[at : at + 1] for at in range(len(octets))) == expected


def test_half_an_escape_waits_for_the_rest() -> None:
    unmarker = Unmarker()
    assert unmarker.feed(b"a\xff") == (b"a", ())
    assert unmarker.feed(b"") == (b"", ())
    assert unmarker.feed(b"\x00") == (b"", ())
    assert unmarker.feed(b"bc") == (b"bc", (0,))
    assert unmarker.feed(b"\xff") == (b"", ())
    assert unmarker.feed(b"\xff\xff") == (b"\xff", ())
    assert unmarker.feed(b"\xff") == (b"\xff", ())


def test_an_ff_that_begins_no_escape_is_itself() -> None:
    assert unmarked([b"\xff\x41\xff\xfe"]) == (b"\xff\x41\xff\xfe", ())


@pytest.mark.parametrize("lost", range(1, 5))
def test_behind_an_escape_that_was_cut_off_at_the_start_all_is_in_step(lost: int) -> None:
    line, damaged = unmarked([marked(b"\xff\xff\x68\x16\x03", {4})[lost:]])
    assert (line[-3:], damaged) == (b"\x68\x16\x03", (len(line) - 1,))


@given(line=OCTETS, sizes=SIZES, choice=st.data())
def test_what_a_terminal_marks_comes_back_in_any_chunks(
    line: bytes, sizes: list[int], choice: st.DataObject
) -> None:
    indices = st.sets(st.sampled_from(range(len(line)))) if line else st.just(set())
    damaged = choice.draw(indices)
    assert unmarked(cut(marked(line, damaged), sizes)) == (line, tuple(sorted(damaged)))


@given(octets=OCTETS, sizes=SIZES)
def test_any_bytes_are_taken_and_the_cuts_do_not_matter(octets: bytes, sizes: list[int]) -> None:
    assert unmarked(cut(octets, sizes)) == unmarked([octets])
