"""Any APDU gives its parts or a fault inside it, and a tag verifies only what nobody touched."""

from collections.abc import Callable

from gateway.simulator.frames import seal
from gateway.telegram import ciphering
from gateway.telegram.ciphering import Key, Opened, Opener, Sealed, Security
from gateway.telegram.fault import Fault, Layer
from tests.fuzz.choices import Choices

KEY, AUTH_KEY = bytes(range(16)), bytes(range(0xD0, 0xE0))
TITLE = b"KFM\x10\x20\x00\x00\x01"

RAW, SEALED = 0, 1  # what the payload is: an APDU, or a plaintext
AUTHENTICATED = 0x02
SUITE_1 = 0x04

MakeOpener = Callable[[Key, Key | None], Opener]


def pack(
    payload: bytes, kind: int = RAW, *, flags: int = 0, place: int = 0, change: int = 0
) -> bytes:
    """Return the input for an APDU, or for a plaintext whose APDU is damaged at `place`."""
    return bytes([kind | flags]) + place.to_bytes(2, "big") + bytes([change]) + payload


def check(octets: bytes, make: MakeOpener = Opener) -> None:
    """Assert the promise above."""
    choices = Choices(octets)
    flags, place, change = choices.number(), choices.number(2), choices.number()
    if flags & SEALED:
        _check_sealed(choices.rest, flags, place, change, make)
    else:
        _check_apdu(choices.rest, make)


def _check_apdu(apdu: bytes, make: MakeOpener) -> None:
    sealed = ciphering.parse(apdu)
    length = ciphering.apdu_length(apdu)
    if length is not None:
        assert 0 < length <= len(apdu), f"{length} of {len(apdu)} bytes"
        _check_agreement(apdu[:length])
    if isinstance(sealed, Fault):
        _check_fault(sealed, apdu)
        return
    assert length == len(apdu), f"{length} of {len(apdu)} bytes"
    assert ciphering.apdu_length(apdu + b"\xdb") == length, "what follows makes a difference"
    _check_parts(sealed, apdu)
    for auth_key in (None, Key(AUTH_KEY)):
        opened = make(Key(KEY), auth_key).open(sealed)
        if isinstance(opened, Fault):
            assert auth_key is not None, f"{opened}, although nothing is to verify"
            _check_fault(opened, apdu)
            continue
        assert len(opened[0]) == len(sealed.ciphertext), "ciphertext and plaintext differ"
        tagged = Security.UNAUTHENTICATED if sealed.tag else Security.ENCRYPTED
        assert opened[1] is (Security.AUTHENTICATED if auth_key else tagged)


def _check_agreement(apdu: bytes) -> None:
    """Assert that what has the right length is refused for other reasons only."""
    fault = ciphering.parse(apdu)
    if isinstance(fault, Fault):
        assert "announces" not in fault.reason, fault
        assert "length field" not in fault.reason, fault


def _check_fault(fault: Fault, apdu: bytes) -> None:
    assert fault.layer is Layer.CIPHERING
    assert 0 <= fault.offset <= len(apdu), f"{fault} in {len(apdu)} bytes"


def _check_parts(sealed: Sealed, apdu: bytes) -> None:
    secret = bytes([sealed.security_byte]) + sealed.invocation_counter.to_bytes(4, "big")
    tail = secret + sealed.ciphertext + (sealed.tag or b"")
    assert apdu.startswith(b"\xdb\x08" + sealed.system_title)
    assert apdu.endswith(tail), "the parts are not the APDU's"
    assert apdu[sealed.ciphertext_start :] == sealed.ciphertext + (sealed.tag or b"")
    assert sealed.ciphertext
    assert sealed.nonce == sealed.system_title + apdu[-len(tail) + 1 :][:4]
    assert (sealed.tag is not None) == bool(sealed.security_byte & 0x10)
    assert sealed.tag is None or len(sealed.tag) == 12


def _check_sealed(plaintext: bytes, flags: int, place: int, change: int, make: MakeOpener) -> None:
    auth_key = AUTH_KEY if flags & AUTHENTICATED else None
    apdu = seal(
        plaintext,
        key=KEY,
        system_title=TITLE,
        invocation_counter=place,
        auth_key=auth_key,
        suite=1 if flags & SUITE_1 else 0,
    )
    opener = make(Key(KEY), Key(auth_key) if auth_key else None)
    opened = _open(apdu, opener)
    if not plaintext:
        assert isinstance(opened, Fault), "nothing was opened"
        return
    security = Security.AUTHENTICATED if auth_key else Security.ENCRYPTED
    assert opened == (plaintext, security), opened

    if change:
        place %= len(apdu)
        damaged = apdu[:place] + bytes([apdu[place] ^ change]) + apdu[place + 1 :]
        _check_apdu(damaged, make)
        touched = _open(damaged, opener)
        if auth_key:
            assert isinstance(touched, Fault), f"byte {place} was touched, and nobody saw it"


def _open(apdu: bytes, opener: Opener) -> Opened | Fault:
    sealed = ciphering.parse(apdu)
    return sealed if isinstance(sealed, Fault) else opener.open(sealed)
