"""A telegram from the inside out: A-XDR values, DataNotification, ciphering, M-Bus frames."""

import re
from datetime import datetime, timedelta
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 16
SYSTEM_TITLE_BYTES = 8
TAG_BYTES = 12  # Suites 0 and 1 cut the 16-byte GCM tag to 12 (DLMS Green Book).
FRAME_APDU_BYTES = 245  # A full frame has L = 0xFA, and five of its bytes are the header.
MAX_FRAME_APDU_BYTES = 252  # Old Sagemcom firmware: 257 content bytes, L wraps to 0x01 (facts 1.2).

SECURITY_AUTHENTICATED = 0x10
SECURITY_ENCRYPTED = 0x20

MBUS_START = 0x68
MBUS_STOP = 0x16
MBUS_SEND_USER_DATA = 0x53  # C field, SND_UD (EN 13757-2)
MBUS_BROADCAST = 0xFF  # A field
MBUS_LAST_SEGMENT = 0x10  # CI field: FIN bit, sequence number in the low four bits (EN 13757-3)
STSAP_METER = 0x01  # management logical device
DTSAP_CONSUMER = 0x67  # push client "consumer information"

STATUS_SUMMER_TIME = 0x80


class Unit(IntEnum):
    """DLMS unit codes that the meters use (Blue Book, enum `unit`)."""

    W = 0x1B
    WH = 0x1E
    VARH = 0x20
    A = 0x21
    V = 0x23


# --- A-XDR values ---------------------------------------------------------------------------


def octet_string(content: bytes) -> bytes:
    """Return tag 09, the length and the content."""
    return b"\x09" + length(len(content)) + content


def structure(*items: bytes) -> bytes:
    """Return tag 02, the number of items and the encoded items."""
    return b"\x02" + length(len(items)) + b"".join(items)


def u16(value: int) -> bytes:
    """Return tag 12 and two bytes, big-endian."""
    return b"\x12" + value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Return tag 06 and four bytes, big-endian."""
    return b"\x06" + value.to_bytes(4, "big")


def scaler_unit(scaler: int, unit: Unit) -> bytes:
    """Return the structure of scaler (i8, power of ten) and unit (enum)."""
    return structure(b"\x0f" + scaler.to_bytes(1, "big", signed=True), b"\x16" + bytes([unit]))


def obis(code: str) -> bytes:
    """Return an OBIS code such as "1-0:1.7.0.255" as an octet string of six bytes."""
    return octet_string(bytes(int(group) for group in re.split("[-:.]", code)))


def date_time(local: datetime, *, summer: bool) -> bytes:
    """Return the 12 bytes of a COSEM date-time, without tag; hundredths are 0.

    The deviation is UTC minus local time in minutes: -60 in CET, -120 in CEST.
    """
    offset = local.utcoffset()
    if offset is None:
        raise ValueError("a COSEM date-time needs an aware datetime")
    return b"".join(
        (
            local.year.to_bytes(2, "big"),
            bytes([local.month, local.day, local.isoweekday()]),
            bytes([local.hour, local.minute, local.second, 0]),
            (-offset // timedelta(minutes=1)).to_bytes(2, "big", signed=True),
            bytes([STATUS_SUMMER_TIME if summer else 0]),
        )
    )


def length(count: int) -> bytes:
    """Return a BER length: one byte below 0x80, else 0x80 + size and the big-endian size bytes."""
    if count < 0x80:
        return bytes([count])
    size = (count.bit_length() + 7) // 8
    return bytes([0x80 | size]) + count.to_bytes(size, "big")


# --- DataNotification and general-glo-ciphering ---------------------------------------------


def data_notification(long_invoke_id: int, clock: bytes, body: bytes) -> bytes:
    """Return the plaintext APDU: 0F, long-invoke-id-and-priority, 0C and clock, body."""
    return b"\x0f" + long_invoke_id.to_bytes(4, "big") + length(len(clock)) + clock + body


def seal(
    plaintext: bytes,
    *,
    key: bytes,
    system_title: bytes,
    invocation_counter: int,
    auth_key: bytes | None = None,
    suite: int = 1,
) -> bytes:
    """Return the general-glo-ciphering APDU: DB, title, length, security byte, counter, secret.

    Security byte 0x20 + suite: encrypted, no tag. With `auth_key` 0x30 + suite: a 12-byte tag
    over the additional data security byte + auth_key (DLMS Green Book, facts 2.1).
    """
    check_key(key, "key")
    if len(system_title) != SYSTEM_TITLE_BYTES:
        raise ValueError(f"system title has {len(system_title)} bytes, a title has 8")
    counter = invocation_counter.to_bytes(4, "big")
    security = SECURITY_ENCRYPTED | suite
    if auth_key is None:
        # Without its tag GCM is plain counter mode, and that is what these meters send.
        tag_bytes, additional = 0, None
    else:
        check_key(auth_key, "auth_key")
        security |= SECURITY_AUTHENTICATED
        tag_bytes, additional = TAG_BYTES, bytes([security]) + auth_key
    sealed = AESGCM(key).encrypt(system_title + counter, plaintext, additional)
    secret = bytes([security]) + counter + sealed[: len(plaintext) + tag_bytes]
    return b"\xdb" + bytes([len(system_title)]) + system_title + length(len(secret)) + secret


def check_key(key: bytes, name: str) -> None:
    """Raise ValueError, which never shows the key, unless it has 16 bytes."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{name} has {len(key)} bytes, a key has {KEY_BYTES}")


# --- wired M-Bus ----------------------------------------------------------------------------


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
