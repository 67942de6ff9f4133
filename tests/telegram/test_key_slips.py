"""Slips with keys: the right one is named, none is invented, and no byte of a key is told."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.simulator import MODELS, SIMULATED_AUTH_KEY, SimulatedMeter
from gateway.telegram import Fault, Key, ciphering
from gateway.telegram.ciphering import Sealed
from gateway.telegram.frames import Frame, FrameReader
from gateway.telegram.key_slips import slip, slip_in
from gateway.telegram.segments import Apdu, Assembler

START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
HEX_KEY = bytes.fromhex("36C66639E48A8CA4D6BC8B282A793BBB")
TEXT_KEY = b"k3Rw-Zt9qLx7VbN2"
AUTH_KEY = Key(SIMULATED_AUTH_KEY)
WITHOUT_TAG, WITH_TAG = "kaifa-ma309m", "lg-e450-burgenland"
REFUSAL = "the key fits, the authentication key does not"


def sealed_with(key: bytes, model: str = WITHOUT_TAG, auth_key: bytes | None = None) -> Sealed:
    """Return a simulated meter's push as it stands before it is decrypted."""
    push = SimulatedMeter(model, key, auth_key=auth_key, seed=5, start=START).push()
    assembler = Assembler()
    frames = [each for each in FrameReader().feed(push.telegram, 0.0) if isinstance(each, Frame)]
    (apdu,) = (item for frame in frames for item in assembler.add(frame))
    assert isinstance(apdu, Apdu)
    sealed = ciphering.parse(apdu.content)
    assert isinstance(sealed, Sealed)
    return sealed


def typed(key: bytes, place: int, octet: int) -> Key:
    return Key(key[:place] + bytes([octet]) + key[place + 1 :])


@pytest.mark.parametrize("model", MODELS)
def test_keys_that_fit_are_no_slip(model: str) -> None:
    sealed = sealed_with(HEX_KEY, model)
    assert slip(Key(HEX_KEY), AUTH_KEY if sealed.tag else None, sealed) is None
    assert slip(Key(HEX_KEY), None, sealed) is None


@pytest.mark.parametrize("model", MODELS)
def test_key_of_another_meter_is_no_slip(model: str) -> None:
    sealed = sealed_with(HEX_KEY, model)
    assert slip(Key(bytes(range(16))), AUTH_KEY, sealed) is None
    assert slip(Key(b"another customer"), None, sealed) is None


def test_swapped_keys_are_told() -> None:
    words = slip(AUTH_KEY, Key(HEX_KEY), sealed_with(HEX_KEY, WITH_TAG))
    assert words == "it decrypts with the authentication key: key and auth_key are swapped"


def test_key_given_as_auth_key_of_a_meter_without_tags_is_told() -> None:
    words = slip(Key(bytes(16)), Key(HEX_KEY), sealed_with(HEX_KEY))
    expected = "it decrypts with the authentication key: make it the key, and leave out auth_key"
    assert words == expected


def test_key_with_its_bytes_reversed_is_told() -> None:
    words = slip(Key(HEX_KEY[::-1]), None, sealed_with(HEX_KEY))
    assert words == "it decrypts with the bytes of the key in reverse order"


@pytest.mark.parametrize(
    ("meant", "written", "how"),
    [
        (TEXT_KEY.upper(), TEXT_KEY, "the letters of the key in upper case"),
        (TEXT_KEY.lower(), TEXT_KEY, "the letters of the key in lower case"),
        (TEXT_KEY, TEXT_KEY.swapcase(), "upper and lower case of the key exchanged"),
    ],
)
def test_text_key_in_the_wrong_case_is_told(meant: bytes, written: bytes, how: str) -> None:
    assert slip(Key(written), None, sealed_with(meant)) == f"it decrypts with {how}"


@pytest.mark.parametrize("place", [0, 6, 15])
def test_wrong_character_of_a_text_key_is_told_by_its_place(place: int) -> None:
    words = slip(typed(TEXT_KEY, place, ord("#")), None, sealed_with(TEXT_KEY))
    digits = f"hex digits {2 * place + 1} and {2 * place + 2}"
    expected = f"another character {place + 1} of 16 ({digits}) in the key"
    assert words == f"it decrypts with {expected}"


@pytest.mark.parametrize("digit", [1, 8, 32])
def test_wrong_hex_digit_is_told_by_its_place(digit: int) -> None:
    place = (digit - 1) // 2
    flipped = HEX_KEY[place] ^ (0x05 if digit % 2 == 0 else 0x50)
    words = slip(typed(HEX_KEY, place, flipped), None, sealed_with(HEX_KEY))
    assert words == f"it decrypts with another hex digit {digit} of 32 in the key"


def test_exchanged_characters_are_told_by_their_places() -> None:
    written = TEXT_KEY[:4] + TEXT_KEY[5:6] + TEXT_KEY[4:5] + TEXT_KEY[6:]
    words = slip(Key(written), None, sealed_with(TEXT_KEY))
    assert words == "it decrypts with characters 5 and 6 of the key exchanged"


def test_exchanged_hex_digits_are_told_by_their_places() -> None:
    digits = HEX_KEY.hex()
    written = bytes.fromhex(digits[:9] + digits[10] + digits[9] + digits[11:])
    words = slip(Key(written), None, sealed_with(HEX_KEY))
    assert words == "it decrypts with hex digits 10 and 11 of the key exchanged"


def test_wrong_key_is_told_from_a_wrong_authentication_key() -> None:
    sealed = sealed_with(HEX_KEY, WITH_TAG)
    assert slip(Key(HEX_KEY), Key(bytes(16)), sealed) == REFUSAL
    assert slip(Key(bytes(16)), AUTH_KEY, sealed) is None


def test_key_given_twice_is_told() -> None:
    words = slip(Key(HEX_KEY), Key(HEX_KEY), sealed_with(HEX_KEY, WITH_TAG))
    assert words == f"{REFUSAL}: key and auth_key are the same"


def test_slip_in_the_authentication_key_is_told() -> None:
    sealed = sealed_with(HEX_KEY, WITH_TAG)
    words = slip(Key(HEX_KEY), Key(SIMULATED_AUTH_KEY[::-1]), sealed)
    how = "the bytes of the authentication key in reverse order"
    assert words == f"{REFUSAL}: the tag is right with {how}"


def test_damaged_telegram_is_no_slip() -> None:
    sealed = sealed_with(HEX_KEY)
    damaged = sealed._replace(ciphertext=bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:])
    assert slip(Key(HEX_KEY), None, damaged) is None
    cut = sealed._replace(ciphertext=sealed.ciphertext[:-1])
    assert slip(Key(HEX_KEY), None, cut) is None


@pytest.mark.parametrize(
    "words", [REFUSAL, "it decrypts with the letters of the key in lower case"]
)
def test_slip_is_found_at_the_end_of_a_faults_reason(words: str) -> None:
    assert slip_in(words) == words
    assert slip_in(f"the plaintext does not start with 0x0f: {words}") == words


@pytest.mark.parametrize("model", MODELS)
def test_reasons_without_a_slip_tell_of_none(model: str) -> None:
    sealed = sealed_with(HEX_KEY, model)
    opened = ciphering.Opener(Key(HEX_KEY), Key(bytes(16))).open(sealed)
    assert isinstance(opened, Fault)
    assert slip_in(opened.reason) is None


@settings(max_examples=20)
@given(
    st.binary(min_size=16, max_size=16),
    st.none() | st.binary(min_size=16, max_size=16),
    st.binary(min_size=1, max_size=400),
    st.none() | st.binary(min_size=12, max_size=12),
)
def test_noise_is_no_slip_of_any_keys(
    key: bytes, auth_key: bytes | None, noise: bytes, tag: bytes | None
) -> None:
    title, counter = b"KFM\x10\x20\0\0\1", b"\0\0\0\1"
    sealed = Sealed(title, 0x30 if tag else 0x20, 1, noise, tag, 18, title + counter)
    assert slip(Key(key), Key(auth_key) if auth_key else None, sealed) is None


def test_no_word_of_a_slip_shows_a_key() -> None:
    sealed = sealed_with(TEXT_KEY, WITH_TAG)
    for key, auth_key in (
        (AUTH_KEY, Key(TEXT_KEY)),
        (Key(TEXT_KEY), Key(bytes(16))),
        (Key(TEXT_KEY.swapcase()), AUTH_KEY),
        (typed(TEXT_KEY, 3, ord("#")), AUTH_KEY),
    ):
        words = slip(key, auth_key, sealed)
        assert words
        for secret in (key, auth_key, Key(TEXT_KEY)):
            assert secret.octets.decode("latin-1") not in words
            assert secret.octets.hex() not in words.lower()
