"""HDLC frames, type 3 (ISO/IEC 13239; DLMS UA Green Book, 8.4).

    7E | format(2) destination(1, 2, 4) source(1, 2, 4) control HCS(2) | information | FCS(2) | 7E

The format is 1010 S LLL LLLLLLLL: S says that more segments follow, L counts the bytes between
the flags. HCS and FCS are the CRC-16/X.25 of all bytes before them, low byte first. Nothing is
escaped: 7E may stand anywhere inside.
"""

import binascii
from typing import NamedTuple

from gateway.telegram.mbus import Flaw

FLAG = 0x7E
TYPE_3 = 0xA0
TYPE_MASK = 0xF0
SEGMENTED = 0x08
LENGTH_MASK = 0x07FF
UNNUMBERED_INFORMATION = (0x03, 0x13)  # control field: UI, without and with the final bit
LLC = b"\xe6\xe7\x00"  # in front of a message, in its first frame alone (Green Book, 8.3)
ADDRESS_BYTES = (1, 2, 4)
CRC_BYTES = 2
MAX_FRAME_BYTES = LENGTH_MASK + 2

_MIRRORED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


class Header(NamedTuple):
    """What stands in front of a frame's information; all indices count in the frame.

    `addresses` are the bytes of destination and source; `source` and `control` are where those
    start, `information` is where the information starts, behind the HCS.
    """

    length: int
    is_segmented: bool
    addresses: bytes
    source: int
    control: int
    information: int


def crc(octets: bytes) -> bytes:
    """Return the two bytes of the CRC-16/X.25, as they stand on the wire.

    It is the CRC-CCITT of the standard library with the bits of every byte mirrored.
    """
    plain = binascii.crc_hqx(octets.translate(_MIRRORED), 0xFFFF) ^ 0xFFFF
    return plain.to_bytes(2, "big").translate(_MIRRORED)


def header(octets: bytes, start: int) -> Header | int | None:
    """Read the header of the frame whose FLAG stands at `start`; None if none begins there.

    While too few bytes are there to tell, the number of bytes that it takes.
    """
    size = len(octets) - start
    if size < 3:
        return 3
    if octets[start + 1] & TYPE_MASK != TYPE_3:
        return None
    position = start + 3
    ends = []
    for _ in ("destination", "source"):
        first = position
        # An address ends with the byte whose lowest bit is set.
        while position < start + size and not octets[position] & 1:
            position += 1
            if position - first == max(ADDRESS_BYTES):
                return None
        if position >= start + size:
            return position - start + 1
        position += 1
        if position - first not in ADDRESS_BYTES:
            return None
        ends.append(position)
    if size < (behind := position + 1 + CRC_BYTES - start):
        return behind
    if octets[position] not in UNNUMBERED_INFORMATION:
        return None
    length = int.from_bytes(octets[start + 1 : start + 3], "big")
    if (length & LENGTH_MASK) + 1 < behind:
        return None
    return Header(
        length=(length & LENGTH_MASK) + 2,
        is_segmented=bool(octets[start + 1] & SEGMENTED),
        addresses=octets[start + 3 : position],
        source=ends[0] - start,
        control=position - start,
        information=behind,
    )


def measure(octets: bytes, start: int) -> int | None:
    """Return how many bytes the frame at the FLAG `start` has; None if none begins there.

    While too few bytes are there to tell, how many of them it takes. A header with a bad check
    sequence has an unknown length: it counts as all there is of its frame.
    """
    found = header(octets, start)
    if not isinstance(found, Header):
        return found
    return found.length if _header_flaw(octets[start:], found) is None else found.information


def flaw(frame: bytes) -> Flaw | None:
    """Return what is wrong with a frame as long as `measure` says; None if nothing is."""
    found = header(frame, 0)
    if not isinstance(found, Header):
        return Flaw("the header breaks off", len(frame))
    if wrong := _header_flaw(frame, found):
        return wrong
    if frame[-1] != FLAG:
        return Flaw(f"frame ends with 0x{frame[-1]:02x}, not with 0x{FLAG:02x}", len(frame) - 1)
    sent, computed = frame[-3:-1], crc(frame[1:-3])
    if sent != computed:
        return Flaw(f"frame check 0x{sent.hex()}, computed 0x{computed.hex()}", len(frame) - 3)
    return None


def _header_flaw(frame: bytes, found: Header) -> Flaw | None:
    """Return why the header's check sequence is wrong; a frame without information has none."""
    if found.length == found.information + 1:
        return None
    start = found.information - CRC_BYTES
    sent, computed = frame[start : found.information], crc(frame[1:start])
    if sent == computed:
        return None
    return Flaw(f"header check 0x{sent.hex()}, computed 0x{computed.hex()}", start)
