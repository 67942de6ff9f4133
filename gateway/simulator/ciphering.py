"""From the values to what travels: DataNotification, and general-glo-ciphering around it."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.simulator.encoding import length

KEY_BYTES = 16
SYSTEM_TITLE_BYTES = 8
TAG_BYTES = 12  # Suites 0 and 1 cut the 16-byte GCM tag to 12 (DLMS Green Book).

SECURITY_AUTHENTICATED = 0x10
SECURITY_ENCRYPTED = 0x20


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
    over the additional data security byte + auth_key (DLMS Green Book).
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
