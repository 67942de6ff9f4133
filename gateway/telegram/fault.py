"""Expected damage as a value: which layer refused which byte, and why."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Layer(StrEnum):
    """The layers of a telegram, from the wire inwards."""

    FRAME = "frame"  # M-Bus long frame: start, length, checksum, stop
    SEGMENT = "segment"  # transport: CI field, addresses, order of the segments
    CIPHERING = "ciphering"  # general-glo-ciphering: header, security byte, tag
    DECRYPTION = "decryption"  # the plaintext is none: wrong key, or damage
    STRUCTURE = "structure"  # DataNotification and A-XDR
    LAYOUT = "layout"  # the meter's list of objects


@dataclass(frozen=True, slots=True)
class Fault:
    """One refusal.

    `offset` counts bytes from the start of what the refusing function was given; those that
    `Decoder` returns count from the first byte ever fed, so they point at the byte on the wire.
    """

    layer: Layer
    reason: str
    offset: int

    def at(self, offset: int) -> "Fault":
        """Return the same fault, pointing at `offset`."""
        return replace(self, offset=offset)
