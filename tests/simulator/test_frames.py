"""Values, ciphering and M-Bus frames, against hand-made bytes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import (
    Unit,
    array,
    date_time,
    i8,
    i16,
    i64,
    length,
    mbus_frames,
    obis,
    octet_string,
    scaler_unit,
    seal,
    structure,
    u16,
    u32,
    u64,
)
from gateway.simulator.local_time import austrian, is_summer_time

KEY = bytes(range(16))
AUTH_KEY = bytes(range(0xD0, 0xE0))
TITLE = bytes.fromhex("4B464D1020000001")
SUMMER = datetime(2024, 7, 1, 10, 0, 0, tzinfo=UTC)

Decrypt = Callable[..., bytes]
Split = Callable[[bytes], list[bytes]]


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
        (array(i8(-1), i8(2)), "01020fff0f02"),
        (i16(-819), "10fccd"),
        (i64(-2), "14fffffffffffffffe"),
        (u64(862055), "1500000000000d2767"),
        (scaler_unit(-3, Unit.NONE), "02020ffd16ff"),
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
def test_sealed_plaintext_comes_back(decrypt: Decrypt, plaintext: bytes, counter: int) -> None:
    apdu = seal(plaintext, key=KEY, system_title=TITLE, invocation_counter=counter)
    assert decrypt(apdu, KEY) == plaintext


@given(plaintext=st.binary(max_size=600), counter=st.integers(0, 2**32 - 1))
def test_authenticated_plaintext_comes_back(
    decrypt: Decrypt, plaintext: bytes, counter: int
) -> None:
    apdu = seal(
        plaintext, key=KEY, system_title=TITLE, invocation_counter=counter, auth_key=AUTH_KEY
    )
    assert decrypt(apdu, KEY, AUTH_KEY) == plaintext


def test_tag_is_bound_to_the_auth_key(decrypt: Decrypt) -> None:
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
def test_frames_carry_the_whole_apdu_in_order(split: Split, apdu: bytes) -> None:
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
