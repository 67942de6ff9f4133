"""Durations as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.duration import MAX_DURATION_S, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15.0),
        ("15", 15.0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("0.25 min", 15.0),
        ("  15 s ", 15.0),
        ("1ms", 0.001),
        ("8784h", MAX_DURATION_S),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "0",
        "0s",
        "0.0h",
        "-15s",
        "+15s",
        "1,5s",
        ".5s",
        "5.s",
        "1m",
        "15S",
        "1h30min",
        "15 s s",
        "1e3s",
        "inf",
        "nan",
        "8785h",
        "9" * 400,
        "soon",
    ],
)
def test_what_is_no_duration_is_shown_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as problem:
        parse_duration(text)
    assert str(problem.value) == f"{text!r} is no duration; one looks like 15s, 500ms, 2min or 1h"


@settings(deadline=None)
@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[0-9.]{0,10} ?(ms|s|min|h)?", fullmatch=True),
    )
)
def test_any_text_is_more_than_0_and_at_most_a_year_or_a_valueerror(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds <= 366 * 24 * 3600
