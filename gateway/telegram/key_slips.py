"""Slips with keys: which one explains that a telegram does not decrypt.

Whatever is tried is proved by the telegram itself: what stands at fixed places of the plaintext,
and a body that ends exactly; for authentication keys by the tag. The words never tell a byte.
"""

import string
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.telegram import axdr, notification
from gateway.telegram.ciphering import KEY_BYTES, TAG_BYTES, Key, Sealed
from gateway.telegram.fault import Fault

DECRYPTS_WITH = "it decrypts with "
KEY_FITS = "the key fits, "

PRINTABLE = string.digits + string.ascii_letters + string.punctuation + " "


def slip(key: Key, auth_key: Key | None, sealed: Sealed) -> str | None:
    """Return which likely slip explains that the keys do not open a telegram; None if none does.

    It decrypts up to 1,600 times: ask it for the first telegrams that fail, not for each.
    """
    if _opens(key.octets, sealed):
        return _auth_slip(key, auth_key, sealed)
    if auth_key is not None and _opens(auth_key.octets, sealed):
        if sealed.tag is None:
            return f"{DECRYPTS_WITH}the authentication key: make it the key, and leave out auth_key"
        return f"{DECRYPTS_WITH}the authentication key: key and auth_key are swapped"
    near = _nearest(key.octets, "the key", lambda octets: _opens(octets, sealed))
    return f"{DECRYPTS_WITH}{near}" if near else None


def slip_in(reason: str) -> str | None:
    """Return the slip that a fault's reason ends with; None if it tells of none."""
    for opening in (DECRYPTS_WITH, KEY_FITS):
        _, found, rest = reason.partition(opening)
        if found:
            return found + rest
    return None


def _auth_slip(key: Key, auth_key: Key | None, sealed: Sealed) -> str | None:
    """Return why the tag is wrong, of a telegram that `key` decrypts."""
    if auth_key is None or sealed.tag is None or _verifies(key, auth_key.octets, sealed):
        return None
    refusal = f"{KEY_FITS}the authentication key does not"
    if auth_key == key:
        return f"{refusal}: key and auth_key are the same"
    near = _nearest(
        auth_key.octets, "the authentication key", lambda octets: _verifies(key, octets, sealed)
    )
    return f"{refusal}: the tag is right with {near}" if near else refusal


def _nearest(octets: bytes, name: str, fits: Callable[[bytes], bool]) -> str | None:
    """Return what to do to a key so that it fits; None if nothing of the list helps."""
    tried = ((words, near) for words, near in _variants(octets, name) if near != octets)
    return next((words for words, near in tried if fits(near)), None)


def _variants(octets: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """List the keys that a person may have meant: the cheap ones first, typing errors last."""
    yield f"the bytes of {name} in reverse order", octets[::-1]
    text = octets.decode("latin-1")
    if all(character in PRINTABLE for character in text):
        yield f"the letters of {name} in upper case", text.upper().encode("ascii")
        yield f"the letters of {name} in lower case", text.lower().encode("ascii")
        yield f"upper and lower case of {name} exchanged", text.swapcase().encode("ascii")
        for place, typed in _mistyped(text, PRINTABLE):
            # Such a key may have been written as hex digits as well.
            both = f"character {place} of {KEY_BYTES} (hex digits {2 * place - 1} and {2 * place})"
            yield f"another {both} in {name}", typed.encode("ascii")
        for place, typed in _transposed(text):
            yield f"characters {place} and {place + 1} of {name} exchanged", typed.encode("ascii")
    else:
        for place, typed in _mistyped(octets.hex(), string.hexdigits[:16]):
            yield f"another hex digit {place} of {2 * KEY_BYTES} in {name}", bytes.fromhex(typed)
    for place, typed in _transposed(octets.hex()):
        yield f"hex digits {place} and {place + 1} of {name} exchanged", bytes.fromhex(typed)


def _mistyped(text: str, alphabet: str) -> Iterator[tuple[int, str]]:
    """List the texts that differ from `text` in one character, and in which."""
    for index in range(len(text)):
        for character in alphabet:
            yield index + 1, text[:index] + character + text[index + 1 :]


def _transposed(text: str) -> Iterator[tuple[int, str]]:
    """List the texts in which two neighbours have changed places, and the first of their places."""
    for index in range(len(text) - 1):
        yield index + 1, text[:index] + text[index + 1] + text[index] + text[index + 2 :]


def _opens(octets: bytes, sealed: Sealed) -> bool:
    """Tell whether a key makes a whole push of the ciphertext."""
    cipher = AESGCM(octets)
    # GCM's keystream is its own inverse, and the first byte refuses nearly all wrong keys.
    first = cipher.encrypt(sealed.nonce, sealed.ciphertext[:1], None)[0]
    if first != notification.DATA_NOTIFICATION:
        return False
    plaintext = cipher.encrypt(sealed.nonce, sealed.ciphertext, None)[: len(sealed.ciphertext)]
    header = notification.header(plaintext)
    if isinstance(header, Fault):
        return False
    return not isinstance(axdr.outline(plaintext, header.body_start), Fault)


def _verifies(key: Key, auth_octets: bytes, sealed: Sealed) -> bool:
    """Tell whether an authentication key makes the telegram's tag."""
    cipher = AESGCM(key.octets)
    size = len(sealed.ciphertext)
    plaintext = cipher.encrypt(sealed.nonce, sealed.ciphertext, None)[:size]
    associated = bytes([sealed.security_byte]) + auth_octets
    again = cipher.encrypt(sealed.nonce, plaintext, associated)[size : size + TAG_BYTES]
    # Slips of a key that its owner typed: nobody learns from how long the comparison takes.
    return again == (sealed.tag or b"")
