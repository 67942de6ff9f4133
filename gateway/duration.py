"""Durations as people write them."""

import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
MAX_DURATION_S = 366 * 24 * 3600.0


def parse_duration(text: str) -> float:
    """Return the seconds of 15s, 500ms, 2min, 1h or a bare number of seconds.

    ValueError for anything else, for 0, and for more than a year.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if not 0 < seconds <= MAX_DURATION_S:
        raise ValueError(f"{text!r} is no duration; one looks like 15s, 500ms, 2min or 1h")
    return seconds
