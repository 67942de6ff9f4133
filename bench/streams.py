"""What simulated meters push for the decoding bench: on the wire, as APDUs, and for the cipher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.meter import Heard, Meter
from gateway.simulator import SIMULATED_AUTH_KEY, Push, SimulatedMeter
from gateway.snapshot import Judge
from gateway.telegram import Decoder, Key

KEY = bytes(range(0x20, 0x30))
START = datetime(2026, 6, 21, 4, 0, tzinfo=UTC)
PUSHES = 200
INTERVAL_S = 5.0  # on the clock that the decoder is given, as from a real meter
BYTE_S = 11 / 2400  # on an M-Bus line of 2400 baud, 8E1
HOLD_S = 86_400.0
TAG_BYTES = 12

Chunks = Sequence[tuple[bytes, float]]  # each with the time at which it came


@dataclass(frozen=True, slots=True)
class Stream:
    """What one meter pushes, and the APDUs inside."""

    model: str
    auth_key: bytes | None
    pushes: Sequence[Push]
    apdus: Sequence[bytes]

    @classmethod
    def of(cls, model: str) -> "Stream":
        """Let a simulated meter push for a while, and its twin without frames."""
        meter, twin = (
            SimulatedMeter(model, KEY, seed=1, start=START, interval_s=INTERVAL_S) for _ in range(2)
        )
        twin.model = replace(twin.model, wire=_NoFrames())
        return cls(
            model,
            SIMULATED_AUTH_KEY if meter.model.authenticated else None,
            [meter.push() for _ in range(PUSHES)],
            [twin.push().telegram for _ in range(PUSHES)],
        )

    def decoder(self) -> Decoder:
        """Return a decoder that has seen nothing."""
        return Decoder(Key(KEY), Key(self.auth_key) if self.auth_key else None)

    def meter(self, listen: Callable[[Heard], None]) -> Meter:
        """Return a meter as the gateway has it, that has seen nothing."""
        return Meter(self.model, self.decoder(), Judge(), HOLD_S, listen)

    def chunks(self, start: int, end: int, piece_bytes: int | None = None) -> Chunks:
        """Return the bytes of pushes `start … end-1`: each in one chunk, or in pieces."""
        return [
            (octets[at : at + size], number * INTERVAL_S + at * BYTE_S)
            for number in range(start, end)
            for octets in [self.pushes[number].telegram]
            for size in [piece_bytes or len(octets)]
            for at in range(0, len(octets), size)
        ]


class _NoFrames:
    def frames(self, apdu: bytes) -> tuple[bytes, ...]:
        return (apdu,)


class Sealed(NamedTuple):
    """What the cipher works on; `associated` is what the tag vouches for beside the plaintext."""

    nonce: bytes
    ciphertext: bytes
    tag: bytes
    associated: bytes

    @classmethod
    def of(cls, apdu: bytes, auth_key: bytes | None) -> "Sealed":
        """Take apart: DB 08 title(8) length(BER) security(1) counter(4) ciphertext [tag(12)]."""
        start = 11 + (apdu[10] & 0x7F if apdu[10] & 0x80 else 0)
        nonce = apdu[2:10] + apdu[start + 1 : start + 5]
        if auth_key is None:
            return cls(nonce, apdu[start + 5 :], b"", b"")
        associated = apdu[start : start + 1] + auth_key
        return cls(nonce, apdu[start + 5 : -TAG_BYTES], apdu[-TAG_BYTES:], associated)
