"""System titles: the identity that can be read without a key."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import MODELS
from gateway.telegram.system_title import MAKERS, describe_title

TELEGRAMS = Path(
    os.environ.get("OBISGATE_TELEGRAMS") or Path(__file__).parents[3] / "shared" / "telegrams"
)


def test_title_of_the_tirolean_example_has_the_serial_of_its_meter_number() -> None:
    # Meter number 1KFM0100000035, logical device name KFM1100100000035.
    shown = describe_title(bytes.fromhex("4B464D1010000023"))
    assert shown == "KFM 1010000023 (Kaifa, serial 00000035)"
    path = TELEGRAMS / "tinetz_kaifa_ma110m_1ph.json"
    if not path.exists():
        pytest.skip("no real telegrams at hand (set OBISGATE_TELEGRAMS)")
    plaintext = bytes.fromhex(json.loads(path.read_text(encoding="utf-8"))["plaintext"])
    assert b"1KFM0100000035" in plaintext
    assert b"KFM1100100000035" in plaintext


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("4B464D1020000001", "KFM 1020000001 (Kaifa, serial 00000001)"),
        ("454C536570000001", "ELS 6570000001 (Honeywell/Elster, serial 00000001)"),
        ("5341475905E6A313", "SAG 5905E6A313 (Sagemcom, serial 99001107)"),
        ("49534B6970000001", "ISK 6970000001 (Iskraemeco, serial 00000001)"),
        ("4C475A6770000001", "LGZ 6770000001 (Landis+Gyr, serial 00000001)"),
        ("534D536770000001", "SMS 6770000001 (Siemens, serial 00000001)"),
    ],
)
def test_title_names_maker_and_serial(title: str, shown: str) -> None:
    assert describe_title(bytes.fromhex(title)) == shown


def test_title_of_an_unknown_maker_keeps_its_letters() -> None:
    assert describe_title(b"XYZ\x10\x10\x00\x00\x23") == "XYZ 1010000023 (serial 00000035)"


@pytest.mark.parametrize("title", [b"kfm\x10\x10\x00\x00\x23", b"K1M\x10\x10\x00\x00\x23", b"KFM"])
def test_title_without_a_makers_letters_is_hex(title: bytes) -> None:
    assert describe_title(title) == title.hex().upper()


def test_serial_of_more_than_eight_digits_is_shown_whole() -> None:
    assert describe_title(b"KFM\x10\x1f\xff\xff\xff").endswith("serial 268435455)")


def test_every_simulated_maker_is_known() -> None:
    letters = {(each.system_title >> 12).to_bytes(3, "big").decode() for each in MODELS.values()}
    assert letters <= set(MAKERS)


@given(st.binary(max_size=12))
def test_any_bytes_are_described_in_printable_ascii(title: bytes) -> None:
    shown = describe_title(title)
    assert shown.isascii()
    assert not title or shown.isprintable()
