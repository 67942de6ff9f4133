"""Keys and sealed APDUs: every spelling, no key shown, every damage refused."""

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import seal
from gateway.telegram import Decoder, Fault, Key, Layer, Security
from gateway.telegram.ciphering import Opener, Sealed, apdu_length, parse

OCTETS = bytes.fromhex("c0ffee12deadbeef0102030405060708")
HEX = OCTETS.hex()
KEY = Key(OCTETS)
AUTH_KEY = Key(bytes(range(0xD0, 0xE0)))
TITLE = bytes.fromhex("4b464d1020000001")
COUNTER = 0x01020304
NONCE = TITLE + b"\1\2\3\4"
CIPHERTEXT_START = 16  # DB 08 title(8) length(1) security(1) counter(4)

keys = st.binary(min_size=16, max_size=16).map(Key)
titles = st.binary(min_size=8, max_size=8)
counters = st.integers(0, 2**32 - 1)
plaintexts = st.binary(min_size=1, max_size=400)


def sealed_apdu(plaintext: bytes = b"plaintext", *, auth: bool = False, suite: int = 1) -> bytes:
    return seal(
        plaintext,
        key=KEY.octets,
        system_title=TITLE,
        invocation_counter=COUNTER,
        auth_key=AUTH_KEY.octets if auth else None,
        suite=suite,
    )


def parsed(apdu: bytes) -> Sealed:
    sealed = parse(apdu)
    assert isinstance(sealed, Sealed)
    return sealed


def refused(apdu: bytes) -> Fault:
    fault = parse(apdu)
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.CIPHERING
    assert 0 <= fault.offset <= len(apdu)
    return fault


# --- how a key is written -------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        HEX.upper(),
        f"  {HEX}\r\n",
        " ".join(HEX[n : n + 2] for n in range(0, 32, 2)),
        ":".join(HEX[n : n + 2] for n in range(0, 32, 2)),
        "-".join(HEX[n : n + 2] for n in range(0, 32, 2)),
        " ".join(HEX[n : n + 8] for n in range(0, 32, 8)),
        "0x" + HEX,
        "0X" + HEX.upper(),
        ", ".join(f"0x{octet:02x}" for octet in OCTETS),
        ",".join(f"0X{octet:02X}" for octet in OCTETS),
        " ".join(f"0x{octet:02x}" for octet in OCTETS),
        "; ".join(f"{octet:02x}" for octet in OCTETS),
        "\t".join(f"{octet:02x}" for octet in OCTETS),
        HEX.encode().hex(),
        HEX.upper().encode().hex().upper(),
        ":".join(f"{octet:02x}" for octet in HEX.encode()),
        ", ".join(f"0x{octet:02x}" for octet in HEX.encode()),
    ],
)
def test_every_hexadecimal_spelling_is_the_same_key(text: str) -> None:
    assert Key.parse(text) == KEY


@pytest.mark.parametrize(
    "text",
    [
        "abcdefghijklmnop",
        "Pa55-w0rd:,; 0x!",
        "0123456789abcdef",
        "0x0x0x0x0x0x0x0x",
        "~!@#$%^&*()_+{}|",
    ],
)
def test_sixteen_ascii_characters_are_the_key_itself(text: str) -> None:
    assert Key.parse(text) == Key.parse(f" {text}\n") == Key(text.encode("ascii"))


def test_the_hex_of_sixteen_characters_is_the_same_key_as_the_characters() -> None:
    assert Key.parse(b"Smart-Meter-2024".hex()) == Key.parse("Smart-Meter-2024")


@given(octets=st.binary(min_size=16, max_size=16))
def test_any_key_comes_back_from_its_hex_and_from_the_hex_of_that(octets: bytes) -> None:
    assert Key.parse(octets.hex()) == Key.parse(octets.hex().encode().hex()) == Key(octets)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "^key is empty$"),
        (" \n", "^key is empty$"),
        (HEX[:-1], "^key has 31 hex digits; a key has 32 hex digits"),
        (HEX[:-2], "^key has 30 hex digits"),
        (HEX + "a", "^key has 33 hex digits"),
        (HEX + "ab", "^key has 34 hex digits"),
        ("0x" + HEX[:-2], "^key has 30 hex digits"),
        (HEX.encode().hex()[:-1], "^key has 63 hex digits"),
        (HEX.encode().hex() + "0", "^key has 65 hex digits"),
        (HEX * 2, "^key has 64 hex digits, but they do not spell 32 hex digits$"),
        ("zz" + HEX[2:], "^key has 32 characters"),
        ("Quinze-Zeichen!", "^key has 15 characters"),
        ("Dix-sept-Zeichen!", "^key has 17 characters"),
        ("sechzehn Zeichän", "^key has 16 characters"),
        ("Seize\tZeichen!!!", "^key has 16 characters"),
        ("０" * 32, "^key has 32 characters"),
    ],
)
def test_what_is_no_key_is_refused_with_what_was_found_and_without_the_key(
    text: str, found: str
) -> None:
    with pytest.raises(ValueError, match=found) as error:
        Key.parse(text)
    stripped = text.strip()
    pieces = {stripped[n : n + 5] for n in range(len(stripped) - 4)}
    assert not [piece for piece in pieces if piece in str(error.value)]
    assert error.value.__context__ is None


@pytest.mark.parametrize("size", [0, 1, 15, 17, 24, 32])
def test_a_key_of_another_length_is_refused_without_showing_it(size: int) -> None:
    octets = b"\xc0\xff\xee" * 11
    with pytest.raises(ValueError, match=f"^a key has 16 bytes, this one has {size}$"):
        Key(octets[:size])


@given(text=st.text(max_size=70))
def test_any_text_is_a_key_or_a_value_error(text: str) -> None:
    try:
        key = Key.parse(text)
    except ValueError:
        return
    assert len(key.octets) == 16


# --- no key is shown ------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """As a configuration holds keys."""

    key: Key
    keys: tuple[Key, ...]


@pytest.mark.parametrize(
    "holder",
    [
        KEY,
        [KEY],
        {"key": KEY},
        Holder(KEY, (KEY,)),
        Opener(KEY, KEY),
        vars(Opener(KEY, KEY)),
        Decoder(KEY, KEY),
        vars(Decoder(KEY, KEY)),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_no_text_of_what_holds_a_key_shows_a_byte_of_it(holder: object) -> None:
    for shown in (
        repr(holder),
        str(holder),
        f"{holder}",
        format(holder),
    ):
        lowered = shown.lower()
        for piece in (HEX[:4], "c0 ff", "c0:ff", "0xc0", "\\xc0", "192, 255", "\xc0\xff", "beef"):
            assert piece not in lowered


def test_a_key_says_that_it_is_hidden() -> None:
    assert repr(KEY) == str(KEY) == f"{KEY}" == "Key(hidden)"


def test_no_fault_about_a_sealed_apdu_shows_a_key() -> None:
    wrong = Opener(Key(bytes(16)), KEY)
    faults = [
        wrong.open(parsed(sealed_apdu(auth=True))),
        wrong.open(parsed(sealed_apdu())),
    ]
    for fault in faults:
        assert isinstance(fault, Fault)
        assert HEX[:4] not in repr(fault)
        assert "xc0" not in repr(fault)


def test_keys_are_equal_by_their_bytes_and_never_change() -> None:
    assert Key(OCTETS) == KEY != AUTH_KEY
    assert len({Key(OCTETS), KEY, AUTH_KEY}) == 2
    with pytest.raises(AttributeError):
        KEY.octets = bytes(16)  # type: ignore[misc]


# --- an APDU taken apart --------------------------------------------------------------------


@pytest.mark.parametrize(("auth", "suite", "security"), [(False, 0, 0x20), (False, 1, 0x21)])
def test_an_apdu_without_tag_is_taken_apart(auth: bool, suite: int, security: int) -> None:
    apdu = sealed_apdu(b"plaintext", auth=auth, suite=suite)
    assert parse(apdu) == Sealed(TITLE, security, COUNTER, apdu[16:], None, CIPHERTEXT_START, NONCE)


@pytest.mark.parametrize(("suite", "security"), [(0, 0x30), (1, 0x31)])
def test_an_apdu_with_tag_is_taken_apart(suite: int, security: int) -> None:
    apdu = sealed_apdu(b"plaintext", auth=True, suite=suite)
    assert parse(apdu) == Sealed(
        TITLE, security, COUNTER, apdu[16:-12], apdu[-12:], CIPHERTEXT_START, NONCE
    )


def test_the_nonce_is_system_title_and_invocation_counter() -> None:
    assert parsed(sealed_apdu()).nonce == TITLE + b"\1\2\3\4"


def test_every_other_security_byte_is_refused() -> None:
    apdu = bytearray(sealed_apdu(bytes(40)))
    for security in set(range(256)) - {0x20, 0x21, 0x30, 0x31}:
        apdu[11] = security
        fault = refused(bytes(apdu))
        assert fault.offset == 11
        assert fault.reason == f"security byte 0x{security:02x} is none of 0x20, 0x21, 0x30, 0x31"


@pytest.mark.parametrize("size", [1, 100, 0x7A, 0x7B, 0xFA, 0xFB, 341, 2000])
def test_every_length_form_is_read(size: int) -> None:
    plaintext = bytes(n % 251 for n in range(size))
    apdu = sealed_apdu(plaintext)
    sealed = parsed(apdu)
    assert sealed.ciphertext == apdu[sealed.ciphertext_start :]
    assert Opener(KEY, None).open(sealed) == (plaintext, Security.ENCRYPTED)


@pytest.mark.parametrize("field", ["0e", "810e", "82000e"])
def test_a_length_may_be_written_longer_than_it_needs_to_be(field: str) -> None:
    short = sealed_apdu(b"plaintext")
    assert short[10] == 0x0E
    apdu = short[:10] + bytes.fromhex(field) + short[11:]
    assert parsed(apdu).ciphertext == short[16:]
    assert parsed(apdu).ciphertext_start == 15 + len(field) // 2


@pytest.mark.parametrize("field", ["80", "8300000e", "840000000e", "ff", "fe0e"])
def test_a_length_field_of_a_form_that_no_telegram_has_is_refused(field: str) -> None:
    short = sealed_apdu(b"plaintext")
    fault = refused(short[:10] + bytes.fromhex(field) + short[11:])
    assert (fault.reason, fault.offset) == ("the length field is damaged", 10)


@pytest.mark.parametrize("announced", [0x00, 0x01, 0x0D, 0x0F, 0x7F])
def test_a_length_that_disagrees_with_the_segments_is_refused(announced: int) -> None:
    apdu = bytearray(sealed_apdu(b"plaintext"))
    apdu[10] = announced
    fault = refused(bytes(apdu))
    assert fault.reason == f"the header announces {11 + announced} bytes, the segments bring 25"
    assert fault.offset == 10


@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("size", [9, 130, 300])
def test_an_apdu_cut_off_anywhere_is_refused(size: int, auth: bool) -> None:
    apdu = sealed_apdu(bytes(size), auth=auth)
    for end in range(len(apdu)):
        refused(apdu[:end])


@given(surplus=st.binary(min_size=1, max_size=300))
def test_an_apdu_with_surplus_bytes_is_refused(surplus: bytes) -> None:
    assert "the header announces 25 bytes" in refused(sealed_apdu(b"plaintext") + surplus).reason


@pytest.mark.parametrize(
    ("apdu", "reason", "offset"),
    [
        ("", "message is empty", 0),
        ("0f00", "message starts with 0x0f", 0),
        ("e600", "message starts with 0xe6", 0),
        ("db", "the system title is not 8 bytes long", 1),
        ("db07", "the system title is not 8 bytes long", 1),
        ("db00", "the system title is not 8 bytes long", 1),
        ("db08", "the length field is damaged", 2),
        ("db08" + "00" * 8, "the length field is damaged", 10),
        ("db08" + "00" * 8 + "00", "security byte 0x00", 10),
        ("db08" + "00" * 8 + "0120", "no room for a ciphertext", 11),
        ("db08" + "00" * 8 + "052000000001", "no room for a ciphertext", 11),
        ("db08" + "00" * 8 + "113000000001" + "00" * 12, "no room for a ciphertext", 11),
    ],
)
def test_what_is_no_sealed_apdu_is_told_with_its_place(apdu: str, reason: str, offset: int) -> None:
    fault = refused(bytes.fromhex(apdu))
    assert fault.reason.startswith(reason)
    assert fault.offset == offset


@given(apdu=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b"\xdb\x08".__add__)))
def test_any_bytes_are_taken_apart_or_refused(apdu: bytes) -> None:
    sealed = parse(apdu)
    if isinstance(sealed, Fault):
        refused(apdu)
    else:
        tail = sealed.ciphertext + (sealed.tag or b"")
        assert apdu[sealed.ciphertext_start :] == tail


@pytest.mark.parametrize("size", [1, 0x7B, 341])
@pytest.mark.parametrize("following", [b"", b"\xdb", bytes(40)])
def test_an_apdus_own_length_tells_where_it_ends(size: int, following: bytes) -> None:
    apdu = sealed_apdu(bytes(size))
    assert apdu_length(apdu + following) == len(apdu)


def test_an_apdu_without_length_field_has_no_length() -> None:
    for octets in (
        b"",
        sealed_apdu()[:10],
        sealed_apdu()[:10] + b"\x80",
        sealed_apdu()[:10] + b"\x82\x01",
    ):
        assert apdu_length(octets) is None


# --- opened ---------------------------------------------------------------------------------


@given(key=keys, title=titles, counter=counters, plaintext=plaintexts)
def test_decryption_agrees_with_an_independent_gcm(
    key: Key, title: bytes, counter: int, plaintext: bytes
) -> None:
    nonce = title + counter.to_bytes(4, "big")
    ciphertext = Cipher(algorithms.AES(key.octets), modes.GCM(nonce)).encryptor().update(plaintext)
    sealed = Sealed(title, 0x21, counter, ciphertext, None, 18, nonce)
    assert Opener(key, None).open(sealed) == (plaintext, Security.ENCRYPTED)


@given(
    key=keys,
    auth_key=keys,
    title=titles,
    counter=counters,
    plaintext=plaintexts,
    security=st.sampled_from([0x30, 0x31]),
)
def test_verification_agrees_with_an_independent_gcm(
    key: Key, auth_key: Key, title: bytes, counter: int, plaintext: bytes, security: int
) -> None:
    nonce = title + counter.to_bytes(4, "big")
    encryptor = Cipher(algorithms.AES(key.octets), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(bytes([security]) + auth_key.octets)
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    sealed = Sealed(title, security, counter, ciphertext, encryptor.tag[:12], 18, nonce)
    assert Opener(key, auth_key).open(sealed) == (plaintext, Security.AUTHENTICATED)


def test_a_tag_without_authentication_key_is_said_to_be_unauthenticated() -> None:
    sealed = parsed(sealed_apdu(b"plaintext", auth=True))
    assert Opener(KEY, None).open(sealed) == (b"plaintext", Security.UNAUTHENTICATED)


def test_a_missing_tag_is_refused_where_an_authentication_key_is_configured() -> None:
    fault = Opener(KEY, AUTH_KEY).open(parsed(sealed_apdu()))
    assert isinstance(fault, Fault)
    assert (fault.layer, fault.offset) == (Layer.CIPHERING, 11)
    assert "carries no tag" in fault.reason
    assert "remove auth_key" in fault.reason


@pytest.mark.parametrize(
    "opener", [Opener(KEY, Key(bytes(16))), Opener(Key(bytes(16)), AUTH_KEY), Opener(AUTH_KEY, KEY)]
)
def test_a_wrong_key_is_seen_by_the_tag(opener: Opener) -> None:
    fault = opener.open(parsed(sealed_apdu(b"plaintext", auth=True)))
    assert isinstance(fault, Fault)
    assert fault.layer is Layer.CIPHERING
    assert fault.reason.startswith("the authentication tag is wrong")


def test_every_flipped_bit_of_an_authenticated_apdu_is_refused() -> None:
    apdu = sealed_apdu(b"a plaintext of some length", auth=True)
    opener = Opener(KEY, AUTH_KEY)
    assert opener.open(parsed(apdu)) == (b"a plaintext of some length", Security.AUTHENTICATED)
    for index in range(len(apdu)):
        for bit in range(8):
            damaged = bytearray(apdu)
            damaged[index] ^= 1 << bit
            sealed = parse(bytes(damaged))
            result = sealed if isinstance(sealed, Fault) else opener.open(sealed)
            assert isinstance(result, Fault), (index, bit)


def test_a_wrong_tag_is_told_with_the_place_of_the_tag() -> None:
    apdu = sealed_apdu(b"plaintext", auth=True)
    fault = Opener(KEY, AUTH_KEY).open(parsed(apdu[:-1] + bytes([apdu[-1] ^ 1])))
    assert isinstance(fault, Fault)
    assert fault.offset == len(apdu) - 12
