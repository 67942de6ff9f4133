"""What one client, and all of them together, may take of a listener."""

import re
from dataclasses import dataclass

KIB = 1024
_SIZE = re.compile(r"(\d{1,9})\s*(B|kB|KiB|MB|MiB)?")
_BYTES = {"B": 1, "kB": 1000, "KiB": KIB, "MB": 1000 * 1000, "MiB": KIB * KIB}

MAX_CONNECTIONS = 10_000
MIN_UNREAD_BYTES, MAX_UNREAD_BYTES = 24 * KIB, 64 * KIB * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a TCP listener.

    Many clients keep a connection open and ask once a minute, some once in five. Of replies that a
    client does not fetch, at most `unread_bytes` are kept; meanwhile it is not heard. In
    `request_s` a request that was begun must be complete, and replies that wait must be fetched;
    where RTU is spoken only the latter, as noise looks like a request that was begun.
    """

    connections: int = 200
    connections_per_address: int = 32
    idle_s: float = 600.0
    unread_bytes: int = 32 * KIB
    request_s: float = 10.0


def parse_size(text: str) -> int:
    """Return the bytes of 32KiB, 1MiB, 500B or a bare number of bytes; ValueError for all else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; one looks like 32KiB or 1MiB")
    return int(match[1]) * _BYTES[match[2] or "B"]
