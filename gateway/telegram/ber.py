"""BER lengths, as DLMS writes them (X.690, 8.1.3)."""

MAX_LENGTH_BYTES = 2  # no push is longer than 65,535 bytes


def length(octets: bytes, start: int) -> tuple[int, int] | None:
    """Return (length, index behind the length field); None if it breaks off or is too long."""
    if len(octets) <= start:
        return None
    first = octets[start]
    if first < 0x80:
        return first, start + 1
    size = first & 0x7F
    end = start + 1 + size
    if not 0 < size <= MAX_LENGTH_BYTES or len(octets) < end:
        return None
    return int.from_bytes(octets[start + 1 : end], "big"), end
