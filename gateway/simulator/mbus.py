"""The wired M-Bus: an APDU cut into long frames."""

from dataclasses import dataclass

FRAME_APDU_BYTES = 245  # A full frame has L = 0xFA, and five of its bytes are the header.
MAX_FRAME_APDU_BYTES = 252  # Old Sagemcom firmware: 257 content bytes, L wraps to 0x01.

MBUS_START = 0x68
MBUS_STOP = 0x16
MBUS_SEND_USER_DATA = 0x53  # C field, SND_UD (EN 13757-2)
MBUS_BROADCAST = 0xFF  # A field
MBUS_LAST_SEGMENT = 0x10  # CI field: FIN bit, sequence number in the low four bits (EN 13757-3)
STSAP_METER = 0x01  # management logical device
DTSAP_CONSUMER = 0x67  # push client "consumer information"


@dataclass(frozen=True, slots=True)
class Mbus:
    """A meter on the wired M-Bus: how many bytes of an APDU it puts into a full frame."""

    frame_apdu_bytes: int = FRAME_APDU_BYTES

    def frames(self, apdu: bytes) -> tuple[bytes, ...]:
        """Return the APDU as it goes over the wire."""
        return mbus_frames(apdu, frame_apdu_bytes=self.frame_apdu_bytes)


def mbus_frames(apdu: bytes, *, frame_apdu_bytes: int = FRAME_APDU_BYTES) -> tuple[bytes, ...]:
    """Return the APDU cut into M-Bus long frames, numbered from 0, the last one marked FIN."""
    if not 1 <= frame_apdu_bytes <= MAX_FRAME_APDU_BYTES:
        raise ValueError(f"a frame does not carry {frame_apdu_bytes} APDU bytes")
    chunks = [
        apdu[start : start + frame_apdu_bytes]
        for start in range(0, max(len(apdu), 1), frame_apdu_bytes)
    ]
    last = len(chunks) - 1
    return tuple(
        mbus_frame(chunk, sequence=number % 16, final=number == last)
        for number, chunk in enumerate(chunks)
    )


def mbus_frame(chunk: bytes, *, sequence: int, final: bool) -> bytes:
    """Return one long frame: 68 L L 68, C A CI STSAP DTSAP, data, checksum, 16 (EN 13757-2)."""
    control = sequence | (MBUS_LAST_SEGMENT if final else 0)
    header = [MBUS_SEND_USER_DATA, MBUS_BROADCAST, control, STSAP_METER, DTSAP_CONSUMER]
    content = bytes(header) + chunk
    count = len(content) % 256
    start = bytes([MBUS_START, count, count, MBUS_START])
    return start + content + bytes([sum(content) % 256, MBUS_STOP])
