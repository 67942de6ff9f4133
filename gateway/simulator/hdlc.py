"""HDLC: an APDU in one frame, in segments, or in blocks of a general-block-transfer."""

from dataclasses import dataclass

from gateway.simulator.encoding import length

HDLC_FLAG = b"\x7e"
FORMAT_TYPE_3 = 0xA000  # the upper four bits of the format field (ISO/IEC 13239)
FORMAT_SEGMENTED = 0x0800  # more frames of the same APDU follow
MAX_FRAME_BYTES = 0x7FF  # the length field has eleven bits and leaves out the flags
CONTROL_LAST = 0x13  # UI with the final bit
CONTROL_MORE = 0x03  # UI without it, as the Iskra AM550 sends while more segments follow
LLC = b"\xe6\xe7\x00"

BLOCK_TRANSFER = b"\xe0"
BLOCK_LAST = 0x80
BLOCK_STREAMING = 0x40  # window 0 in the low six bits

CRC_POLYNOMIAL = 0x8408  # CRC-16/X.25, bits reversed
CRC_ALL_ONES = 0xFFFF


@dataclass(frozen=True, slots=True)
class Hdlc:
    """A meter that puts an APDU into one frame, or into segments of `segment_bytes`."""

    destination: bytes
    source: bytes
    segment_bytes: int | None = None  # of information, LLC and all

    def frames(self, apdu: bytes) -> tuple[bytes, ...]:
        """Return the APDU as it goes over the wire; LLC stands in the first frame only."""
        information = LLC + apdu
        size = self.segment_bytes or len(information)
        chunks = [information[start : start + size] for start in range(0, len(information), size)]
        return tuple(
            hdlc_frame(chunk, self.destination, self.source, final=number == len(chunks))
            for number, chunk in enumerate(chunks, start=1)
        )


@dataclass(frozen=True, slots=True)
class HdlcBlocks:
    """A meter that cuts an APDU into blocks, each in a frame of its own."""

    destination: bytes
    source: bytes
    first_block_bytes: int
    block_bytes: int

    def frames(self, apdu: bytes) -> tuple[bytes, ...]:
        """Return the APDU as it goes over the wire; LLC stands in the first frame only."""
        first = self.first_block_bytes
        rest = range(first, len(apdu), self.block_bytes)
        chunks = [apdu[:first], *(apdu[start : start + self.block_bytes] for start in rest)]
        blocks = [
            transfer_block(chunk, number=number, final=number == len(chunks))
            for number, chunk in enumerate(chunks, start=1)
        ]
        blocks[0] = LLC + blocks[0]
        return tuple(hdlc_frame(block, self.destination, self.source) for block in blocks)


def transfer_block(chunk: bytes, *, number: int, final: bool) -> bytes:
    """Return one general-block-transfer APDU: E0, control, number, acknowledged 0, the chunk."""
    control = BLOCK_STREAMING | (BLOCK_LAST if final else 0)
    numbers = number.to_bytes(2, "big") + b"\x00\x00"
    return BLOCK_TRANSFER + bytes([control]) + numbers + length(len(chunk)) + chunk


def hdlc_frame(
    information: bytes, destination: bytes, source: bytes, *, final: bool = True
) -> bytes:
    """Return one frame of type 3 between flags: format, addresses, control, HCS, data, FCS."""
    addresses = destination + source
    # Format, control and the two check sequences have seven bytes.
    count = 7 + len(addresses) + len(information)
    if count > MAX_FRAME_BYTES:
        raise ValueError(f"an HDLC frame does not carry {len(information)} bytes")
    format_field = FORMAT_TYPE_3 | (0 if final else FORMAT_SEGMENTED) | count
    control = CONTROL_LAST if final else CONTROL_MORE
    header = format_field.to_bytes(2, "big") + addresses + bytes([control])
    content = header + crc16_x25(header) + information
    return HDLC_FLAG + content + crc16_x25(content) + HDLC_FLAG


def crc16_x25(octets: bytes) -> bytes:
    """Return the check sequence of HDLC, low byte first."""
    crc = CRC_ALL_ONES
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (CRC_POLYNOMIAL if crc & 1 else 0)
    return (crc ^ CRC_ALL_ONES).to_bytes(2, "little")
