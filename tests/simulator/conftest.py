"""A second reader of telegrams, written for these tests alone."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TELEGRAMS = Path(
    os.environ.get("OBISGATE_TELEGRAMS") or Path(__file__).parents[3] / "shared" / "telegrams"
)

# An element: its tag, and its items or its content.
Tree = tuple[int, "list[Tree] | bytes"]

SIZES = {
    0x05: 4, 0x06: 4, 0x0F: 1, 0x10: 2, 0x11: 1, 0x12: 2, 0x14: 8, 0x15: 8, 0x16: 1,
}  # fmt: skip


def decrypt_apdu(apdu: bytes, key: bytes, auth_key: bytes | None = None) -> bytes:
    """Open a general-glo-ciphering APDU with two lengths that are known: title 8, counter 4."""
    assert apdu[:2] == b"\xdb\x08"
    title, rest = apdu[2:10], apdu[10:]
    size_bytes = rest[0] & 0x7F if rest[0] & 0x80 else 0
    count = int.from_bytes(rest[1 : 1 + size_bytes], "big") if size_bytes else rest[0]
    secret = rest[1 + size_bytes :]
    assert len(secret) == count
    security, counter, body = secret[:1], secret[1:5], secret[5:]
    if auth_key is None:
        # GCM without a tag is counter mode that starts at block 2.
        mode = modes.CTR(title + counter + b"\x00\x00\x00\x02")
        opener = Cipher(algorithms.AES(key), mode).decryptor()
        return opener.update(body) + opener.finalize()
    gcm = modes.GCM(title + counter, body[-12:], min_tag_length=12)
    opener = Cipher(algorithms.AES(key), gcm).decryptor()
    opener.authenticate_additional_data(security + auth_key)
    return opener.update(body[:-12]) + opener.finalize()


def mbus_contents(stream: bytes) -> list[bytes]:
    """Cut a stream of long frames at their L bytes; every frame has to be sound."""
    contents = []
    while stream:
        # L below the five bytes of the header has wrapped.
        count = stream[1] if stream[1] >= 5 else stream[1] + 256
        assert stream[:4] == bytes([0x68, stream[1], stream[1], 0x68])
        content, tail = stream[4 : 4 + count], stream[4 + count : 6 + count]
        assert tail == bytes([sum(content) & 0xFF, 0x16])
        contents.append(content)
        stream = stream[6 + count :]
    return contents


def crc(octets: bytes) -> bytes:
    """CRC-16/X.25 as a division of polynomials, bit by bit: slow, and nobody's code."""
    bits = [octet >> place & 1 for octet in octets for place in range(8)] + [0] * 16
    for place in range(16):
        bits[place] ^= 1
    for place in range(len(bits) - 16):
        if bits[place]:
            for power in (0, 4, 11, 16):  # x^16 + x^12 + x^5 + 1
                bits[place + power] ^= 1
    rest = [1 - bit for bit in bits[-16:]]
    return bytes(
        sum(bit << place for place, bit in enumerate(rest[start : start + 8])) for start in (0, 8)
    )


def hdlc_frames_of(stream: bytes) -> list[tuple[int, bytes, int, bytes]]:
    """Cut a stream of HDLC frames: format byte, both addresses, control, information."""
    frames = []
    while stream:
        count = int.from_bytes(stream[1:3], "big") & 0x7FF
        content, flags = stream[1 : 1 + count], stream[:: count + 1][:2]
        assert flags == b"\x7e\x7e"
        end = 2
        for _ in range(2):
            while not content[end] & 1:
                end += 1
            end += 1
        header, check = content[: end + 1], content[end + 1 : end + 3]
        assert check == crc(header)
        assert content[-2:] == crc(content[:-2])
        frames.append((content[0], content[2:end], content[end], content[end + 3 : -2]))
        stream = stream[2 + count :]
    return frames


def unwrap_telegram(telegram: bytes) -> bytes:
    """Return the APDU of a whole telegram, whichever way it was cut."""
    if telegram[0] == 0x68:
        return b"".join(content[5:] for content in mbus_contents(telegram))
    information = b"".join(frame[3] for frame in hdlc_frames_of(telegram))
    assert information[:3] == b"\xe6\xe7\x00"
    information, apdu, number = information[3:], b"", 0
    if information[0] == 0xDB:
        return information
    while information:
        number += 1
        count = information[6]
        control = 0xC0 if len(information) == 7 + count else 0x40
        assert information[:6] == bytes([0xE0, control, 0, number, 0, 0])
        apdu += information[7 : 7 + count]
        information = information[7 + count :]
    return apdu


def tree_of(plaintext: bytes) -> Tree:
    """Return the body of a DataNotification with a 12-byte clock; it has to end exactly."""
    assert plaintext[0] == 0x0F
    assert plaintext[5] == 0x0C
    tree, rest = _element(plaintext[18:])
    assert rest == b""
    return tree


def _element(data: bytes) -> tuple[Tree, bytes]:
    tag = data[0]
    if tag in (0x01, 0x02):
        items, rest = [], data[2:]
        for _ in range(data[1]):
            item, rest = _element(rest)
            items.append(item)
        return (tag, items), rest
    start, count = (2, data[1]) if tag == 0x09 else (1, SIZES[tag])
    return (tag, data[start : start + count]), data[start + count :]


@pytest.fixture(scope="session")
def decrypt() -> Callable[..., bytes]:
    return decrypt_apdu


@pytest.fixture(scope="session")
def split() -> Callable[[bytes], list[bytes]]:
    return mbus_contents


@pytest.fixture(scope="session")
def unframe() -> Callable[[bytes], list[tuple[int, bytes, int, bytes]]]:
    return hdlc_frames_of


@pytest.fixture(scope="session")
def unwrap() -> Callable[[bytes], bytes]:
    return unwrap_telegram


@pytest.fixture(scope="session")
def tree() -> Callable[[bytes], Tree]:
    return tree_of


@pytest.fixture(scope="session")
def real_telegram() -> Callable[[str], dict[str, str]]:
    def load(name: str) -> dict[str, str]:
        path = TELEGRAMS / f"{name}.json"
        if not path.exists():
            pytest.skip(f"no real telegram {name} at hand (set OBISGATE_TELEGRAMS)")
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return found

    return load
