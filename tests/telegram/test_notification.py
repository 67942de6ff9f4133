"""DataNotification and the meter's clock."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.frames import date_time
from gateway.simulator.local_time import austrian, is_summer_time
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.notification import CosemTime, Header, cosem_time, header

BODY = bytes.fromhex("02011105")  # structure of one unsigned, 5
SUMMER = bytes.fromhex("07e50713010f2e2300ff8880")
INVOKE_ID = bytes.fromhex("0f0029b2dc")
CEST, CET = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))


def clock(
    *,
    year: int = 2024,
    month: int = 7,
    day: int = 1,
    weekday: int = 1,
    hour: int = 12,
    minute: int = 34,
    second: int = 56,
    hundredths: int = 0,
    deviation: int = -120,
    status: int = 0x80,
) -> bytes:
    return (
        year.to_bytes(2, "big")
        + bytes([month, day, weekday, hour, minute, second, hundredths])
        + deviation.to_bytes(2, "big", signed=True)
        + bytes([status])
    )


def read(octets: bytes) -> CosemTime:
    time = cosem_time(octets, 0)
    assert isinstance(time, CosemTime)
    return time


def moment_of(octets: bytes) -> datetime:
    moment = read(octets).moment
    assert moment is not None
    return moment


def noise(what: str, offset: int) -> Fault:
    return Fault(Layer.DECRYPTION, f"the plaintext {what}: wrong key, or damage", offset)


# --- the header -----------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["0c", "090c"])
def test_a_header_with_date_time_is_read(prefix: str) -> None:
    head = INVOKE_ID + bytes.fromhex(prefix)
    assert header(head + SUMMER + BODY) == Header(
        CosemTime(datetime(2021, 7, 19, 15, 46, 35, tzinfo=CEST), 0x80), len(head), len(head) + 12
    )


def test_a_header_without_date_time_is_read() -> None:
    assert header(INVOKE_ID + b"\x00" + BODY) == Header(None, None, 6)


def test_the_body_may_be_an_array() -> None:
    assert header(INVOKE_ID + b"\x00\x01\x01\x11\x05") == Header(None, None, 6)


@given(invoke_id=st.binary(min_size=4, max_size=4))
def test_the_invoke_id_may_be_anything(invoke_id: bytes) -> None:
    assert header(b"\x0f" + invoke_id + b"\x00" + BODY) == Header(None, None, 6)


@pytest.mark.parametrize(
    ("plaintext", "fault"),
    [
        (b"", noise("does not start with 0x0f (DataNotification)", 0)),
        (b"\x0e" + bytes(40), noise("does not start with 0x0f (DataNotification)", 0)),
        (INVOKE_ID[:1], noise("carries no date-time in its header", 1)),
        (INVOKE_ID[:4], noise("carries no date-time in its header", 4)),
        (INVOKE_ID, noise("carries no date-time in its header", 5)),
        (INVOKE_ID + b"\x0b" + SUMMER + BODY, noise("carries no date-time in its header", 5)),
        (INVOKE_ID + b"\x09\x0d" + SUMMER + BODY, noise("carries no date-time in its header", 5)),
        (INVOKE_ID + b"\x0c" + SUMMER, noise("carries neither an array nor a structure", 18)),
        (INVOKE_ID + b"\x00", noise("carries neither an array nor a structure", 6)),
        (INVOKE_ID + b"\x00\x11\x05", noise("carries neither an array nor a structure", 6)),
        (
            INVOKE_ID + b"\x0c" + SUMMER + b"\x09\x00",
            noise("carries neither an array nor a structure", 18),
        ),
        (
            INVOKE_ID + b"\x09\x0c" + SUMMER + b"\x00",
            noise("carries neither an array nor a structure", 19),
        ),
    ],
)
def test_a_plaintext_that_is_none_is_told_as_wrong_key_or_damage(
    plaintext: bytes, fault: Fault
) -> None:
    assert header(plaintext) == fault


@pytest.mark.parametrize("head", [b"\x0c" + SUMMER, b"\x09\x0c" + SUMMER, b"\x00"])
def test_a_header_cut_off_anywhere_is_refused(head: bytes) -> None:
    complete = INVOKE_ID + head + BODY[:1]
    assert isinstance(header(complete), Header)
    for end in range(len(complete)):
        assert isinstance(header(complete[:end]), Fault), end


def test_a_clock_that_cannot_be_is_told_with_its_place() -> None:
    fault = header(INVOKE_ID + b"\x0c" + clock(month=13) + BODY)
    assert fault == Fault(Layer.STRUCTURE, "a clock shows a date or time that does not exist", 6)
    fault = header(INVOKE_ID + b"\x09\x0c" + clock(deviation=900) + BODY)
    assert fault == Fault(Layer.STRUCTURE, "a clock cannot deviate from UTC by 900 minutes", 7 + 9)


def test_a_wrong_key_is_told_before_a_clock_that_cannot_be() -> None:
    assert header(INVOKE_ID + b"\x0c" + clock(month=13) + b"\x44") == noise(
        "carries neither an array nor a structure", 18
    )


# --- date and time --------------------------------------------------------------------------


def test_the_deviation_is_utc_minus_local_time() -> None:
    summer = moment_of(clock(deviation=-120))
    assert summer == datetime(2024, 7, 1, 10, 34, 56, tzinfo=UTC)
    assert summer.utcoffset() == timedelta(hours=2)
    winter = moment_of(clock(month=1, deviation=-60, status=0))
    assert winter == datetime(2024, 1, 1, 11, 34, 56, tzinfo=UTC)
    assert winter.utcoffset() == timedelta(hours=1)
    assert moment_of(clock(deviation=90)) == datetime(2024, 7, 1, 14, 4, 56, tzinfo=UTC)
    assert moment_of(clock(deviation=0)).utcoffset() == timedelta(0)


def test_the_bytes_of_a_real_clock_are_read() -> None:
    assert read(SUMMER) == (datetime(2021, 7, 19, 15, 46, 35, tzinfo=CEST), 0x80)
    winter = bytes.fromhex("07e60b0c0610360000ffc400")
    assert read(winter) == (datetime(2022, 11, 12, 16, 54, tzinfo=CET), 0)


@given(
    utc=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
        lambda naive: naive.replace(microsecond=0, tzinfo=UTC)
    )
)
def test_what_a_meter_shows_is_the_moment_it_meant(utc: datetime) -> None:
    summer = is_summer_time(utc)
    time = read(date_time(austrian(utc), summer=summer))
    assert time.moment == utc
    assert time.moment.utcoffset() == timedelta(hours=2 if summer else 1)
    assert time.status == (0x80 if summer else 0)


def test_an_unspecified_deviation_leaves_the_local_time_naive() -> None:
    time = read(clock(deviation=-0x8000, status=0))
    assert time.moment is not None
    assert time.moment.tzinfo is None
    assert time.moment.isoformat() == "2024-07-01T12:34:56"


@pytest.mark.parametrize("deviation", [-720, -1, 1, 840])
def test_every_deviation_of_the_blue_book_is_read(deviation: int) -> None:
    assert moment_of(clock(deviation=deviation)).utcoffset() == -timedelta(minutes=deviation)


@pytest.mark.parametrize("deviation", [-0x7FFF, -1440, -841, 841, 1440, 0x7FFF])
def test_an_impossible_deviation_is_refused(deviation: int) -> None:
    assert cosem_time(b"\0\0" + clock(deviation=deviation), 2) == Fault(
        Layer.STRUCTURE, f"a clock cannot deviate from UTC by {deviation} minutes", 11
    )


@pytest.mark.parametrize(
    "unspecified",
    [
        *({"year": 0xFFFF}, {"month": 0xFF}, {"day": 0xFF}, {"hour": 0xFF}, {"minute": 0xFF}),
        {"year": 0, "month": 0, "day": 0, "hour": 0, "minute": 0, "second": 0},
    ],
)
def test_a_date_or_time_that_the_meter_leaves_open_names_no_moment(
    unspecified: dict[str, int],
) -> None:
    assert read(clock(**unspecified, status=0x02)) == (None, 0x02)


@pytest.mark.parametrize("open_field", [{"second": 0xFF}, {"hundredths": 0xFF}, {"weekday": 0xFF}])
def test_seconds_hundredths_and_weekday_may_be_left_open(open_field: dict[str, int]) -> None:
    fields = {"second": 0, "hundredths": 0} | open_field
    assert moment_of(clock(**fields)) == datetime(2024, 7, 1, 12, 34, 0, tzinfo=CEST)


def test_hundredths_are_kept() -> None:
    assert moment_of(clock(hundredths=99)).microsecond == 990_000


@pytest.mark.parametrize(
    "impossible",
    [
        {"year": 0},
        {"year": 10_000},
        {"month": 0},
        {"month": 13},
        {"month": 0xFD},
        {"day": 0},
        {"day": 32},
        {"day": 0xFE},
        {"month": 4, "day": 31},
        {"year": 2023, "month": 2, "day": 29},
        {"hour": 24},
        {"minute": 60},
        {"second": 60},
        {"hundredths": 100},
    ],
)
def test_a_date_or_time_that_does_not_exist_is_refused(impossible: dict[str, int]) -> None:
    for deviation in (-120, -0x8000):
        assert cosem_time(b"\0" + clock(**impossible, deviation=deviation), 1) == Fault(
            Layer.STRUCTURE, "a clock shows a date or time that does not exist", 1
        )


@pytest.mark.parametrize("status", [0x00, 0x01, 0x02, 0x80, 0x81, 0xFF])
def test_the_status_byte_is_kept(status: int) -> None:
    assert read(clock(status=status)).status == status


@pytest.mark.parametrize(
    "edge",
    [
        {"year": 1, "month": 1, "day": 1, "hour": 0, "deviation": -840},
        {"year": 9999, "month": 12, "day": 31, "hour": 23, "deviation": 840},
    ],
)
def test_a_moment_that_utc_cannot_name_is_refused(edge: dict[str, int]) -> None:
    # Whoever asks such a moment for its UTC gets an OverflowError.
    assert isinstance(cosem_time(clock(**edge), 0), Fault)


@given(
    octets=st.one_of(
        st.binary(min_size=12, max_size=12),
        st.builds(
            clock,
            year=st.integers(0, 0xFFFF),
            month=st.integers(0, 13),
            day=st.integers(0, 32),
            hour=st.integers(0, 25),
            deviation=st.integers(-900, 900),
        ),
    )
)
def test_any_twelve_bytes_are_a_time_or_refused(octets: bytes) -> None:
    time = cosem_time(octets, 0)
    if isinstance(time, Fault):
        assert 0 <= time.offset < 12
    else:
        assert time.status == octets[11]


@given(
    plaintext=st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=80).map((INVOKE_ID + b"\x0c").__add__),
        st.binary(max_size=80).map((INVOKE_ID + b"\x0c" + SUMMER + b"\x02").__add__),
    )
)
def test_any_plaintext_has_a_header_or_is_refused(plaintext: bytes) -> None:
    found = header(plaintext)
    if isinstance(found, Fault):
        assert found.layer in (Layer.DECRYPTION, Layer.STRUCTURE)
        assert 0 <= found.offset <= len(plaintext)
    else:
        assert plaintext[found.body_start] in (0x01, 0x02)
        assert (found.time is None) is (found.time_start is None)
