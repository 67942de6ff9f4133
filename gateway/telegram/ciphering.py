"""general-glo-ciphering: a sealed APDU and the customer's key (DLMS UA Green Book, 9.2.7).

    DB 08 system-title(8) length(BER) security(1) invocation-counter(4) ciphertext [tag(12)]

The nonce is system title ‖ invocation counter. Without a tag AES-GCM is AES-CTR: a wrong key or
a flipped bit shows only in the plaintext.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.telegram import ber
from gateway.telegram.fault import Fault, Layer

GENERAL_GLO_CIPHERING = 0xDB
SYSTEM_TITLE_BYTES = 8
KEY_BYTES = 16
TAG_BYTES = 12
SECURITY_OFFSET_BYTES = 5  # security byte and invocation counter, before the ciphertext
ENCRYPTED = 0x20
AUTHENTICATED = 0x10
SUITES = 0x01  # low bits seen: suite 0 and 1, both AES-128-GCM here

_SEPARATORS = re.compile(r"(?i)0x|[\s:,;{}\[\]-]")


class Security(StrEnum):
    """How far a telegram's readings are protected."""

    ENCRYPTED = "encrypted"  # no tag was sent
    AUTHENTICATED = "authenticated"  # the tag was verified
    UNAUTHENTICATED = "unauthenticated"  # a tag was sent, but there is no key to verify it


Opened = tuple[bytes, Security]  # the plaintext of an APDU, and how it was protected
# An enumeration is slow to ask for its members.
_ENCRYPTED, _AUTHENTICATED, _UNAUTHENTICATED = Security


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A 128-bit key. Its `repr` and its errors never show a byte of it."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, this one has {len(self.octets)}")

    def __repr__(self) -> str:
        return "Key(hidden)"

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Read a key as operators write it; ValueError says what is wrong, without the key.

        32 hex digits with or without spaces, colons, dashes, 0x; 16 ASCII characters; or 64 hex
        digits, which are the hex of 32 hex digits.
        """
        stripped = text.strip()
        digits = _SEPARATORS.sub("", stripped)
        is_hex = re.fullmatch(r"[0-9a-fA-F]+", digits) is not None
        if is_hex and len(digits) == 64:
            inner = bytes.fromhex(digits).decode("latin-1")
            if re.fullmatch(r"[0-9a-fA-F]{32}", inner):
                return cls(bytes.fromhex(inner))
            raise ValueError("key has 64 hex digits, but they do not spell 32 hex digits")
        if is_hex and len(digits) == 32:
            return cls(bytes.fromhex(digits))
        if len(stripped) == KEY_BYTES and stripped.isascii() and stripped.isprintable():
            return cls(stripped.encode("ascii"))
        if not stripped:
            raise ValueError("key is empty")
        found = f"{len(digits)} hex digits" if is_hex else f"{len(stripped)} characters"
        raise ValueError(
            f"key has {found}; a key has 32 hex digits (spaces, colons, dashes and 0x are "
            "allowed), or 16 characters, or 64 hex digits that spell the 32"
        )


class Sealed(NamedTuple):
    """An APDU taken apart, still encrypted. `ciphertext_start` is its index in the APDU.

    `nonce` are the 12 bytes that make this telegram's keystream its own.
    """

    system_title: bytes
    security_byte: int
    invocation_counter: int
    ciphertext: bytes
    tag: bytes | None
    ciphertext_start: int
    nonce: bytes


def parse(apdu: bytes) -> Sealed | Fault:
    """Take a general-glo-ciphering APDU apart; its lengths must agree with the APDU's own."""
    if not apdu or apdu[0] != GENERAL_GLO_CIPHERING:
        starts = f"starts with 0x{apdu[0]:02x}" if apdu else "is empty"
        reason = f"message {starts}, an encrypted push starts with 0xdb (general-glo-ciphering)"
        return Fault(Layer.CIPHERING, reason, 0)
    if len(apdu) < 2 or apdu[1] != SYSTEM_TITLE_BYTES:
        return Fault(Layer.CIPHERING, "the system title is not 8 bytes long", 1)
    length_start = 2 + SYSTEM_TITLE_BYTES
    decoded = ber.length(apdu, length_start)
    if decoded is None:
        return Fault(Layer.CIPHERING, "the length field is damaged", min(length_start, len(apdu)))
    length, body = decoded
    if body + length != len(apdu):
        reason = f"the header announces {body + length} bytes, the segments bring {len(apdu)}"
        return Fault(Layer.CIPHERING, reason, length_start)
    security_byte = apdu[body] if length else 0
    if security_byte & ~(AUTHENTICATED | SUITES) != ENCRYPTED:
        reason = f"security byte 0x{security_byte:02x} is none of 0x20, 0x21, 0x30, 0x31"
        return Fault(Layer.CIPHERING, reason, min(body, len(apdu) - 1))
    start = body + SECURITY_OFFSET_BYTES
    end = len(apdu) - (TAG_BYTES if security_byte & AUTHENTICATED else 0)
    if end <= start:
        return Fault(Layer.CIPHERING, "no room for a ciphertext", body)
    title, counter = apdu[2:length_start], apdu[body + 1 : start]
    return Sealed(
        title,
        security_byte,
        int.from_bytes(counter, "big"),
        apdu[start:end],
        apdu[end:] if security_byte & AUTHENTICATED else None,
        start,
        title + counter,
    )


def apdu_length(octets: bytes) -> int | None:
    """Return the length of the APDU at the start of `octets`; None if no whole one stands there."""
    decoded = ber.length(octets, 2 + SYSTEM_TITLE_BYTES)
    if decoded is None or octets[1] != SYSTEM_TITLE_BYTES or sum(decoded) > len(octets):
        return None
    return sum(decoded)


class Opener:
    """Decrypts with one meter's keys; the cipher is set up once."""

    def __init__(self, key: Key, auth_key: Key | None) -> None:
        self._encrypt = AESGCM(key.octets).encrypt
        self._auth_key = auth_key

    def open(self, sealed: Sealed) -> Opened | Fault:
        """Decrypt; verify the tag when there is one and an authentication key to do it with."""
        if sealed.tag is None and self._auth_key is not None:
            reason = (
                "an authentication key is configured, but the telegram carries no tag; "
                "if this meter never sends one, remove auth_key"
            )
            return Fault(Layer.CIPHERING, reason, sealed.ciphertext_start - SECURITY_OFFSET_BYTES)
        opened = self.decrypt(
            sealed.nonce, sealed.security_byte, sealed.ciphertext, sealed.tag or b""
        )
        if opened is None:
            reason = "the authentication tag is wrong: damaged, forged, or a key is wrong"
            tag_start = sealed.ciphertext_start + len(sealed.ciphertext)
            return Fault(Layer.CIPHERING, reason, tag_start)
        return opened

    def decrypt(
        self, nonce: bytes, security_byte: int, ciphertext: bytes, tag: bytes
    ) -> Opened | None:
        """Return plaintext and protection; None if `tag` must verify and does not."""
        # GCM's keystream is its own inverse; what `encrypt` appends is the tag of other data.
        plaintext = self._encrypt(nonce, ciphertext, None)[:-16]
        if self._auth_key is None:
            return plaintext, _UNAUTHENTICATED if tag else _ENCRYPTED
        from hmac import compare_digest  # half a megabyte, for the few meters that send a tag

        associated = bytes([security_byte]) + self._auth_key.octets
        again = self._encrypt(nonce, plaintext, associated)
        if not compare_digest(again[len(plaintext) :][:TAG_BYTES], tag):
            return None
        return plaintext, _AUTHENTICATED
