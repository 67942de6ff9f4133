"""Wired M-Bus long frames (EN 13757-2, 5.3; IEC 60870-5-2 FT 1.2) and their DLMS segments.

68 L L 68 | C A CI STSAP DTSAP data | CS 16     L counts C to the last data byte,
                                                CS is their sum mod 256
CI = 000 F SSSS: F marks the last segment, SSSS counts from 0 (EN 13757-3)
"""

import zlib
from typing import NamedTuple

START = 0x68
STOP = 0x16
HEADER_BYTES = 4
TRAILER_BYTES = 2
SEND_USER_DATA = (0x53, 0x73)  # C field: SND_UD, without and with the frame count bit
BROADCAST = 0xFF  # A field: the meter is the master and speaks to whoever listens
CI_FIN = 0x10
CI_SEQUENCE = 0x0F
CI_RESERVED = 0xE0
MANAGEMENT_DEVICE = 0x01  # STSAP: the meter's management logical device
CONSUMER_CLIENT = 0x67  # DTSAP: 103, the consumer information push client
SEGMENT_HEADER_BYTES = 5  # C, A, CI, STSAP, DTSAP: no DLMS segment is shorter


class Flaw(NamedTuple):
    """Why some bytes are no good, and at which of them that shows."""

    reason: str
    place: int


class Segment(NamedTuple):
    """Which piece of a message a frame brings: numbers count from 0."""

    number: int
    is_last: bool


# All headers of a push telegram's segments.
_SEGMENTS = {
    bytes([control, BROADCAST, ci, MANAGEMENT_DEVICE, CONSUMER_CLIENT]): Segment(
        ci & CI_SEQUENCE, bool(ci & CI_FIN)
    )
    for control in SEND_USER_DATA
    for ci in range((CI_FIN | CI_SEQUENCE) + 1)
}


def checksum(content: bytes) -> int:
    """Return the sum of all bytes modulo 256.

    Adler-32 started at 0 has the byte sum in its low half, exact while the sum stays below its
    modulus 65,521, as it does for up to 256 bytes; it is several times faster than `sum`.
    """
    return (zlib.adler32(content, 0) if len(content) <= 256 else sum(content)) & 0xFF


def content_length(length_byte: int) -> int:
    """Return the number of content bytes that the L field means.

    Old Sagemcom firmware sends 257 bytes, of which only the low byte (1) fits into L; no real
    segment is shorter than its header, so a smaller L can only have wrapped.
    """
    return length_byte if length_byte >= SEGMENT_HEADER_BYTES else length_byte + 256


def measure(octets: bytes, start: int) -> int | None:
    """Return how many bytes the frame at the START byte `start` has; None if none begins there.

    While too few bytes are there to tell, how many of them it takes.
    """
    if len(octets) < start + HEADER_BYTES:
        return HEADER_BYTES
    if octets[start + 1] != octets[start + 2] or octets[start + 3] != START:
        return None
    return HEADER_BYTES + content_length(octets[start + 1]) + TRAILER_BYTES


def flaw(frame: bytes) -> Flaw | None:
    """Return what is wrong with a frame as long as `measure` says; None if nothing is."""
    if frame[-2] != (computed := checksum(frame[HEADER_BYTES:-TRAILER_BYTES])):
        return Flaw(f"checksum 0x{frame[-2]:02x}, computed 0x{computed:02x}", len(frame) - 2)
    if frame[-1] != STOP:
        reason = f"frame ends with 0x{frame[-1]:02x}, not with 0x{STOP:02x}"
        return Flaw(reason, len(frame) - 1)
    return None


def segment(frame: bytes) -> Segment | Flaw:
    """Return what a good frame says of its segment; a flaw if it is none of a push telegram."""
    header = frame[HEADER_BYTES : HEADER_BYTES + SEGMENT_HEADER_BYTES]
    known = _SEGMENTS.get(header)
    if known and len(frame) > HEADER_BYTES + SEGMENT_HEADER_BYTES + TRAILER_BYTES:
        return known
    control, address, ci, source, destination = header
    if control not in SEND_USER_DATA:
        return Flaw(f"C field 0x{control:02x} is not SND_UD (0x53)", HEADER_BYTES)
    if address != BROADCAST:
        return Flaw(f"address 0x{address:02x} is not broadcast (0xff)", HEADER_BYTES + 1)
    if ci & CI_RESERVED:
        return Flaw(f"CI field 0x{ci:02x} is no DLMS segment", HEADER_BYTES + 2)
    if source != MANAGEMENT_DEVICE:
        return Flaw(f"source SAP {source} is not the meter's (1)", HEADER_BYTES + 3)
    if destination != CONSUMER_CLIENT:
        return Flaw(f"destination SAP {destination} is not 103", HEADER_BYTES + 4)
    return Flaw("the segment carries no bytes", HEADER_BYTES + SEGMENT_HEADER_BYTES)
