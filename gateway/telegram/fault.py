"""Expected damage as a value: which layer refused which byte, and why."""

from dataclasses import dataclass, field, replace
from enum import StrEnum


class Layer(StrEnum):
    """The layers of a telegram, from the wire inwards."""

    FRAME = "frame"  # M-Bus or HDLC frame: start, length, checksum, stop, parity
    SEGMENT = "segment"  # transport: addresses, order of segments and blocks
    CIPHERING = "ciphering"  # general-glo-ciphering: header, security byte, tag
    DECRYPTION = "decryption"  # the plaintext is none: wrong key, or damage
    STRUCTURE = "structure"  # DataNotification and A-XDR
    LAYOUT = "layout"  # the meter's list of objects
    IDENTITY = "identity"  # another meter than before
    COUNTER = "counter"  # an invocation counter that did not rise
    PLAUSIBILITY = "plausibility"  # values that cannot be, or not be together


@dataclass(frozen=True, slots=True)
class Fault:
    """One refusal.

    `offset` counts bytes from the start of what the refusing function was given; those that
    `Decoder` returns count from the first byte ever fed, so they point at the byte on the wire.
    `meter` is the system title, as soon as it is known.
    """

    layer: Layer
    reason: str
    offset: int
    meter: bytes | None = field(default=None, compare=False)

    def at(self, offset: int) -> "Fault":
        """Return the same fault, pointing at `offset`."""
        return replace(self, offset=offset)
