"""How a meter's line may be set: what is tried, in which order, when nobody knows.

Operators' sheets and other readers: 2400 baud 8E1 for wired M-Bus, 9600 8N1 for optical heads,
115200 8N1 for P1 ports. The bytes decide: a telegram with good checksums is no accident.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PARITIES = ("even", "none", "odd")


@dataclass(frozen=True, slots=True)
class LineSetting:
    """Baud rate and parity of a line, always 8 data bits and 1 stop bit; and what has it."""

    baud: int
    parity: str
    line: str = ""

    def __str__(self) -> str:
        """Return it as people write it: 2400 baud 8E1."""
        return f"{self.baud} baud 8{self.parity[0].upper()}1"


# The most frequent first; what a meter could be mistaken for comes after it.
LINE_SETTINGS = (
    LineSetting(2400, "even", "wired M-Bus"),
    LineSetting(9600, "none", "optical head"),
    LineSetting(115200, "none", "P1 port"),
    LineSetting(2400, "none", "M-Bus behind an adapter that leaves the parity out"),
    LineSetting(9600, "even", "optical head with parity"),
)


def candidates(baud: int | None, parity: str | None) -> Sequence[LineSetting]:
    """Return what to try, in order; what is said (not None) holds in all of it."""
    known = [
        each
        for each in LINE_SETTINGS
        if baud in (None, each.baud) and parity in (None, each.parity)
    ]
    if known:
        return known
    bauds = [baud] if baud else list(dict.fromkeys(each.baud for each in LINE_SETTINGS))
    parities = [parity] if parity else PARITIES[:2]
    return [LineSetting(each, one) for each in bauds for one in parities]
