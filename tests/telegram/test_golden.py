"""Telegrams of real meters, published or made neutral: each decodes to exactly what it states.

They stand outside the project: in the folder that OBISGATE_TELEGRAMS names, else in
`shared/telegrams` beside the checkout. Without them these tests are skipped.
"""

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gateway.telegram import Decoder, Fault, Key, Obis, Security, Telegram
from gateway.telegram.obis import CLOCK, METER_NUMBER

FOLDER = Path(
    os.environ.get("OBISGATE_TELEGRAMS") or Path(__file__).parents[3] / "shared" / "telegrams"
)
FILES = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]

pytestmark = pytest.mark.skipif(
    not FILES, reason="no real telegrams at hand (set OBISGATE_TELEGRAMS to their folder)"
)

# Stop and start bytes, a false header that swallows the next frame, and a frame's beginning.
GARBAGE = bytes.fromhex("00 16 55 16 68 68 fa fa 68 e5 68 01 01 68 53 ff 00 01 67")

AUTHENTICATED = 0x10  # bit of the security byte: a tag is there

# A reading as a test compares it: value, its type, unit, offset from UTC, status.
Plain = tuple[object, type, str | None, timedelta | None, int | None]


def of_transport(*transports: str) -> pytest.MarkDecorator:
    files = [file for file in FILES if file["transport"] in transports]
    return pytest.mark.parametrize("file", files, ids=lambda file: str(file["name"]))


def decoder_of(file: Mapping[str, Any]) -> Decoder:
    auth_key = file.get("auth_key")
    return Decoder(Key.parse(file["key"]), Key.parse(auth_key) if auth_key else None)


def stated_clock(text: str) -> tuple[datetime, int]:
    """Read "2021-07-19 15:46:35.00 UTC+02:00 [dow=1 dev=-120 status=80]": moment and status."""
    match = re.fullmatch(r"(\S+ \S+?)(?: UTC([+-]\S+))? \[dow=\d dev=(\S+) status=(..)\]", text)
    assert match, text
    moment, offset, deviation, status = match.groups()
    local = datetime.fromisoformat(moment)
    if deviation != "unspec":
        local = local.replace(tzinfo=timezone(-timedelta(minutes=int(deviation))))
        assert local.isoformat().endswith(offset)
    return local, int(status, 16)


def stated_readings(file: Mapping[str, Any]) -> dict[Obis, Plain]:
    found: dict[Obis, Plain] = {}
    for name, entry in file["decoded"].items():
        if name.startswith("@"):
            obis = CLOCK if name == "@0" else METER_NUMBER
        else:
            obis = Obis.parse(name)
        if obis == CLOCK:
            moment, status = stated_clock(entry["value"])
            found[obis] = (moment, datetime, None, moment.utcoffset(), status)
        else:
            value = entry["value"]
            found[obis] = (value, type(value), entry.get("unit") or None, None, None)
    return found


def read_readings(telegram: Telegram) -> dict[Obis, Plain]:
    return {
        obis: (
            reading.value,
            type(reading.value),
            reading.unit,
            reading.value.utcoffset() if isinstance(reading.value, datetime) else None,
            reading.status,
        )
        for obis, reading in telegram.readings.items()
    }


def check(telegram: Telegram | Fault, file: Mapping[str, Any]) -> None:
    """Assert that the telegram says what the file states, in its order, and nothing else."""
    assert isinstance(telegram, Telegram), telegram
    assert list(read_readings(telegram).items()) == list(stated_readings(file).items())
    assert telegram.meter == bytes.fromhex(file["system_title"])
    assert telegram.invocation_counter == file["invocation_counter"]
    if not int(file["security_control"], 16) & AUTHENTICATED:
        assert telegram.security is Security.ENCRYPTED
    elif "auth_key" in file:
        assert telegram.security is Security.AUTHENTICATED
    else:
        assert telegram.security is Security.UNAUTHENTICATED
    moment, status = stated_clock(file["apdu_time"])
    assert (telegram.clock, telegram.clock_status) == (moment, status)
    assert telegram.clock is not None
    assert telegram.clock.utcoffset() == moment.utcoffset()
    assert telegram.received == 7.0


def decode(file: Mapping[str, Any], *chunks: bytes) -> list[Telegram | Fault]:
    decoder = decoder_of(file)
    return [item for chunk in chunks for item in decoder.feed(chunk, 7.0)] + decoder.finish()


def test_the_folder_holds_mbus_telegrams() -> None:
    assert "mbus" in [file["transport"] for file in FILES]


@of_transport("mbus")
def test_a_telegram_decodes_to_exactly_what_it_states(file: Mapping[str, Any]) -> None:
    (telegram,) = decode(file, bytes.fromhex(file["telegram"]))
    check(telegram, file)


@of_transport("mbus")
def test_a_telegram_is_complete_without_waiting(file: Mapping[str, Any]) -> None:
    (telegram,) = decoder_of(file).feed(bytes.fromhex(file["telegram"]), 7.0)
    check(telegram, file)


@of_transport("mbus")
def test_a_telegram_byte_by_byte_decodes_to_the_same(file: Mapping[str, Any]) -> None:
    (telegram,) = decode(file, *(bytes([byte]) for byte in bytes.fromhex(file["telegram"])))
    check(telegram, file)


@of_transport("mbus")
def test_two_telegrams_amid_garbage_decode_to_the_same(file: Mapping[str, Any]) -> None:
    octets = bytes.fromhex(file["telegram"])
    stream = GARBAGE + octets + GARBAGE + octets + octets + GARBAGE
    for chunks in ([stream], [bytes([byte]) for byte in stream]):
        telegrams = [item for item in decode(file, *chunks) if isinstance(item, Telegram)]
        assert len(telegrams) == 3
        for telegram in telegrams:
            check(telegram, file)


@of_transport("mbus")
def test_a_capture_that_starts_and_ends_in_mid_telegram_gives_the_one_between(
    file: Mapping[str, Any],
) -> None:
    octets = bytes.fromhex(file["telegram"])
    for cut in range(1, len(octets), 7):
        found = decode(file, octets[cut:] + octets + octets[:cut])
        (telegram,) = (item for item in found if isinstance(item, Telegram))
        check(telegram, file)


@of_transport("mbus")
def test_another_key_gives_one_fault_that_says_so(file: Mapping[str, Any]) -> None:
    decoder = Decoder(Key(bytes(16)))
    (fault,) = decoder.feed(bytes.fromhex(file["telegram"]), 7.0)
    assert isinstance(fault, Fault)
    assert "wrong key" in fault.reason


@of_transport("apdu")
def test_an_apdu_decodes_to_exactly_what_it_states(file: Mapping[str, Any]) -> None:
    check(decoder_of(file).decode_apdu(bytes.fromhex(file["telegram"]), 7.0), file)


@of_transport("hdlc")
def test_an_hdlc_telegram_gives_faults_and_never_a_telegram(file: Mapping[str, Any]) -> None:
    octets = bytes.fromhex(file["telegram"])
    for chunks in ([octets], [bytes([byte]) for byte in octets]):
        found = decode(file, *chunks)
        assert found
        assert all(isinstance(item, Fault) for item in found)
