"""The encoders, against hand-made bytes and, where they are at hand, real telegrams."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import MODELS, SimulatedMeter
from gateway.simulator.frames import (
    Unit,
    date_time,
    length,
    mbus_frames,
    obis,
    octet_string,
    scaler_unit,
    seal,
    structure,
    u16,
    u32,
)
from gateway.simulator.local_time import austrian, is_summer_time

KEY = bytes(range(16))
AUTH_KEY = bytes(range(0xD0, 0xE0))
TITLE = bytes.fromhex("4B464D1020000001")
SUMMER = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)

TELEGRAMS = Path(
    os.environ.get("OBISGATE_TELEGRAMS") or Path(__file__).parents[3] / "shared" / "telegrams"
)


def decrypt(apdu: bytes, key: bytes, auth_key: bytes | None = None) -> bytes:
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


def split(stream: bytes) -> list[bytes]:
    """Cut a stream of long frames at their L bytes; every frame has to be sound."""
    contents = []
    while stream:
        count = stream[1]
        assert stream[:4] == bytes([0x68, count, count, 0x68])
        content, tail = stream[4 : 4 + count], stream[4 + count : 6 + count]
        assert tail == bytes([sum(content) & 0xFF, 0x16])
        contents.append(content)
        stream = stream[6 + count :]
    return contents


def joined(stream: bytes) -> bytes:
    return b"".join(content[5:] for content in split(stream))


def elements(plaintext: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Walk the body of a DataNotification: tag, count (of bytes or items), content."""
    assert plaintext[0] == 0x0F
    assert plaintext[5] == 0x0C
    data = plaintext[18:]
    sizes = {0x06: 4, 0x12: 2, 0x0F: 1, 0x16: 1}
    while data:
        tag = data[0]
        start = 1 if tag in sizes else 2
        count = sizes.get(tag, data[1])
        end = start if tag == 0x02 else start + count
        yield tag, count, data[start:end]
        data = data[end:]


def skeleton(plaintext: bytes) -> list[tuple[int, int, bytes]]:
    """Everything in the body but its values: tags, lengths, OBIS codes, scalers, units."""
    return [
        (tag, count, content if tag in (0x0F, 0x16) or (tag, count) == (0x09, 6) else b"")
        for tag, count, content in elements(plaintext)
    ]


def real_telegram(name: str) -> dict[str, str]:
    path = TELEGRAMS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no real telegram {name} at hand (set OBISGATE_TELEGRAMS)")
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def simulated_plaintext(model: str) -> bytes:
    push = SimulatedMeter(model, KEY, seed=7, start=SUMMER).push()
    return decrypt(joined(push.telegram), KEY)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (u16(2308), "120904"),
        (u32(1327456), "0600144160"),
        (octet_string(b"1KFM"), "0904314b464d"),
        (obis("1-0:1.7.0.255"), "09060100010700ff"),
        (scaler_unit(-1, Unit.V), "02020fff1623"),
        (scaler_unit(0, Unit.VARH), "02020f001620"),
        (structure(u16(1), u16(2)), "0202120001120002"),
    ],
)
def test_values_are_encoded_as_a_meter_does(encoded: bytes, expected: str) -> None:
    assert encoded.hex() == expected


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        (datetime(2021, 7, 19, 13, 46, 35, tzinfo=UTC), "07e50713010f2e2300ff8880"),
        (datetime(2022, 11, 12, 15, 54, 0, tzinfo=UTC), "07e60b0c0610360000ffc400"),
        (datetime(2023, 12, 31, 23, 0, 0, tzinfo=UTC), "07e801010100000000ffc400"),
    ],
)
def test_date_time_is_local_with_the_deviation_from_utc(utc: datetime, expected: str) -> None:
    assert date_time(austrian(utc), summer=is_summer_time(utc)).hex() == expected


def test_date_time_refuses_a_moment_without_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        date_time(SUMMER.replace(tzinfo=None), summer=True)


@pytest.mark.parametrize(
    ("year", "spring", "autumn"), [(2024, 31, 27), (2025, 30, 26), (2026, 29, 25), (2027, 28, 31)]
)
def test_summer_time_begins_and_ends_at_one_utc_on_the_last_sundays(
    year: int, spring: int, autumn: int
) -> None:
    begin = datetime(year, 3, spring, 1, tzinfo=UTC)
    end = datetime(year, 10, autumn, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert [is_summer_time(moment) for moment in (begin - second, begin)] == [False, True]
    assert [is_summer_time(moment) for moment in (end - second, end)] == [True, False]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "8180"),
        (0xF8, "81f8"),
        (0x155, "820155"),
        (1 << 16, "83010000"),
    ],
)
def test_ber_length_is_as_short_as_it_can_be(count: int, expected: str) -> None:
    assert length(count).hex() == expected


@given(plaintext=st.binary(max_size=600), counter=st.integers(0, 2**32 - 1))
def test_sealed_plaintext_comes_back(plaintext: bytes, counter: int) -> None:
    apdu = seal(plaintext, key=KEY, system_title=TITLE, invocation_counter=counter)
    assert decrypt(apdu, KEY) == plaintext


@given(plaintext=st.binary(max_size=600), counter=st.integers(0, 2**32 - 1))
def test_authenticated_plaintext_comes_back(plaintext: bytes, counter: int) -> None:
    apdu = seal(
        plaintext, key=KEY, system_title=TITLE, invocation_counter=counter, auth_key=AUTH_KEY
    )
    assert decrypt(apdu, KEY, AUTH_KEY) == plaintext


def test_tag_is_bound_to_the_auth_key() -> None:
    apdu = seal(b"secret", key=KEY, system_title=TITLE, invocation_counter=1, auth_key=AUTH_KEY)
    with pytest.raises(InvalidTag):
        decrypt(apdu, KEY, bytes(16))


@pytest.mark.parametrize(
    ("auth_key", "suite", "security"),
    [(None, 0, 0x20), (None, 1, 0x21), (AUTH_KEY, 0, 0x30), (AUTH_KEY, 1, 0x31)],
)
def test_security_byte_tells_suite_and_tag(
    auth_key: bytes | None, suite: int, security: int
) -> None:
    apdu = seal(
        b"x",
        key=KEY,
        system_title=TITLE,
        invocation_counter=0x01020304,
        auth_key=auth_key,
        suite=suite,
    )
    assert apdu[:10] == b"\xdb\x08" + TITLE
    assert apdu[11:16] == bytes([security, 1, 2, 3, 4])


def test_a_system_title_has_eight_bytes() -> None:
    with pytest.raises(ValueError, match="7 bytes"):
        seal(b"x", key=KEY, system_title=TITLE[:7], invocation_counter=1)


@given(apdu=st.binary(max_size=6000))
def test_frames_carry_the_whole_apdu_in_order(apdu: bytes) -> None:
    contents = split(b"".join(mbus_frames(apdu)))
    assert b"".join(content[5:] for content in contents) == apdu
    last = len(contents) - 1
    for number, content in enumerate(contents):
        control = number % 16 | (0x10 if number == last else 0)
        assert content[:5] == bytes([0x53, 0xFF, control, 0x01, 0x67])
        assert number == last or len(content) == 250


@pytest.mark.parametrize(
    ("count", "lengths"), [(0, [6 + 5]), (245, [256]), (246, [256, 12]), (490, [256, 256])]
)
def test_a_full_frame_has_245_apdu_bytes(count: int, lengths: list[int]) -> None:
    assert [len(frame) for frame in mbus_frames(bytes(count))] == lengths


def test_length_byte_of_the_old_sagemcom_firmware_wraps() -> None:
    first, second = mbus_frames(bytes(260), frame_apdu_bytes=252)
    assert (first[:5].hex(), len(first)) == ("6801016853", 263)
    assert (second[:5].hex(), len(second)) == ("680d0d6853", 19)


def test_a_frame_that_its_length_byte_cannot_tell_is_refused() -> None:
    with pytest.raises(ValueError, match="253"):
        mbus_frames(b"", frame_apdu_bytes=253)


@pytest.mark.parametrize(
    ("model", "size", "items"), [("kaifa-ma309m", 336, 16), ("kaifa-ma110m", 260, 12)]
)
def test_plaintext_starts_with_the_notification_and_the_clock(
    model: str, size: int, items: int
) -> None:
    plaintext = simulated_plaintext(model)
    clock = bytes.fromhex("07e80701010c000000ff8880")
    assert len(plaintext) == size
    assert (plaintext[0], plaintext[1], plaintext[5]) == (0x0F, 0x00, 0x0C)
    assert plaintext[6:18] == clock
    assert plaintext[18:20] == bytes([0x02, items])
    assert plaintext[20:42] == bytes.fromhex("09060000010000ff090c") + clock
    assert plaintext[-6:] == bytes.fromhex("02020f001620")


@pytest.mark.parametrize("model", MODELS)
def test_readings_are_what_the_telegram_says(model: str) -> None:
    push = SimulatedMeter(model, KEY, seed=7, start=SUMMER).push()
    walk = elements(decrypt(joined(push.telegram), KEY))
    said: dict[str, tuple[object, str | None]] = {}
    code = ""
    for tag, count, content in walk:
        if (tag, count) == (0x09, 6):
            code = "{}-{}:{}.{}.{}.{}".format(*content)
        elif tag == 0x09:
            said[code] = (content if count == 12 else content.decode("ascii"), None)
        elif tag in (0x06, 0x12):
            raw = int.from_bytes(content, "big")
        elif tag == 0x0F:
            divisor = {0x00: None, 0xFF: 10, 0xFE: 100}[content[0]]
        elif tag == 0x16:
            unit = {0x1B: "W", 0x1E: "Wh", 0x20: "varh", 0x21: "A", 0x23: "V"}[content[0]]
            said[code] = (raw / divisor if divisor else raw, unit)
    clock, none = said.pop("0-0:1.0.0.255")
    assert (clock, none) == (bytes.fromhex("07e80701010c000000ff8880"), None)
    assert push.clock == SUMMER
    assert said == {code: push.readings[code] for code in push.readings if code != "0-0:1.0.0.255"}


def test_long_invoke_id_and_invocation_counter_rise_by_one() -> None:
    simulated = SimulatedMeter("kaifa-ma309m", KEY, seed=7, start=SUMMER)
    apdus = [joined(simulated.push().telegram) for _ in range(4)]
    long_ids = [int.from_bytes(decrypt(apdu, KEY)[1:5], "big") for apdu in apdus]
    counters = [int.from_bytes(apdu[14:18], "big") for apdu in apdus]
    assert long_ids == list(range(long_ids[0], long_ids[0] + 4))
    assert counters == list(range(counters[0], counters[0] + 4))


@pytest.mark.parametrize(
    ("model", "real"),
    [("kaifa-ma309m", "salzburg_kaifa_ma309m"), ("kaifa-ma110m", "tinetz_kaifa_ma110m_1ph")],
)
def test_plaintext_differs_from_a_real_one_in_values_only(model: str, real: str) -> None:
    expected = bytes.fromhex(real_telegram(real)["plaintext"])
    assert skeleton(simulated_plaintext(model)) == skeleton(expected)


@pytest.mark.parametrize("real", ["salzburg_kaifa_ma309m", "tinetz_kaifa_ma110m_1ph"])
def test_a_real_plaintext_becomes_the_real_telegram_again(real: str) -> None:
    found = real_telegram(real)
    apdu = seal(
        bytes.fromhex(found["plaintext"]),
        key=bytes.fromhex(found["key"]),
        system_title=bytes.fromhex(found["system_title"]),
        invocation_counter=int(found["invocation_counter"]),
    )
    assert b"".join(mbus_frames(apdu)).hex().upper() == found["telegram"]
