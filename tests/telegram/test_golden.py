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

# Lists of bare values, as the files state them, and what each is: OBIS code,
# unit, how many steps make one unit. What is not here is not read.
WIENER_NETZE = """
    @0   0-0:1.0.0
    @1   1-0:1.8.0   Wh
    @2   1-0:2.8.0   Wh
    @3   1-0:3.8.0   varh
    @4   1-0:4.8.0   varh
    @5   1-0:1.7.0   W
    @6   1-0:2.7.0   W
    @7   1-0:3.7.0   var
    @8   1-0:4.7.0   var
"""
KAERNTEN = """
    0.6.25.9.0.255  0-0:96.1.0
    @2   1-0:0.9.1
    @3   1-0:0.9.2
    @4   1-0:1.8.0   Wh
    @5   1-0:2.8.0   Wh
    @6   1-0:3.8.0   varh
    @7   1-0:4.8.0   varh
    @8   1-0:1.7.0   W
    @9   1-0:2.7.0   W
"""
BURGENLAND = """
    @0   1-0:32.7.0  V
    @1   1-0:52.7.0  V
    @2   1-0:72.7.0  V
    @3   1-0:31.7.0  A  100
    @4   1-0:51.7.0  A  100
    @5   1-0:71.7.0  A  100
    @6   1-0:1.7.0   W
    @7   1-0:2.7.0   W
    @8   1-0:1.8.0   Wh
    @9   1-0:2.8.0   Wh
    @13  0-0:96.1.0
"""
LANDIS_GYR = """
    @0             0-0:1.0.0
    1.0.1.8.0.255  1-0:1.8.0  Wh
    1.0.1.8.1.255  1-0:1.8.1  Wh
    1.0.1.8.2.255  1-0:1.8.2  Wh
    1.0.1.7.0.255  1-0:1.7.0  W
    1.0.2.8.0.255  1-0:2.8.0  Wh
    1.0.2.8.1.255  1-0:2.8.1  Wh
    1.0.2.8.2.255  1-0:2.8.2  Wh
    1.0.2.7.0.255  1-0:2.7.0  W
    1.0.3.8.0.255  1-0:3.8.0  varh
    1.0.3.8.1.255  1-0:3.8.1  varh
    1.0.3.8.2.255  1-0:3.8.2  varh
    1.0.3.7.0.255  1-0:3.7.0  var
    1.0.4.8.0.255  1-0:4.8.0  varh
    1.0.4.8.1.255  1-0:4.8.1  varh
    1.0.4.8.2.255  1-0:4.8.2  varh
    1.0.4.7.0.255  1-0:4.7.0  var
"""
BARE_LISTS = {
    "burgenland_lg_e450_1": BURGENLAND,
    "kaernten_iskra_am550": KAERNTEN,
    "lg_e450_gbt_auth_1": LANDIS_GYR,
    "wienernetze_iskra_am550": WIENER_NETZE,
}
# Their files state octets that are neither clock nor text as they stand in the telegram.
OCTETS = {"0x13010E00": "19:01:14", "0x07E5031904": "2021-03-25"}


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
    bare = file["name"] in BARE_LISTS
    table = (
        {
            name: meaning
            for name, *meaning in map(
                str.split, BARE_LISTS.get(file["name"], "").strip().splitlines()
            )
        }
        if bare
        else {}
    )
    for name, entry in file["decoded"].items():
        value, unit = entry["value"], entry.get("unit") or None
        if bare:
            if name not in table:
                continue
            code, *how = table[name]
            obis = Obis.parse(code)
            unit = how[0] if how else None
            value = value / int(how[1]) if len(how) > 1 else OCTETS.get(value, value)
        elif name.startswith("@"):
            obis = CLOCK if name == "@0" else METER_NUMBER
        else:
            obis = Obis.parse(name)
        if obis == CLOCK:
            moment, status = stated_clock(value)
            found[obis] = (moment, datetime, None, moment.utcoffset(), status)
        else:
            found[obis] = (value, type(value), unit, None, None)
    return found


def test_what_is_not_read_of_a_bare_list_is_known() -> None:
    unread = {
        file["name"]: sorted(
            set(file["decoded"])
            - {line.split()[0] for line in BARE_LISTS[file["name"]].strip().splitlines()}
        )
        for file in FILES
        if file["name"] in BARE_LISTS
    }
    unread = {name: places for name, places in unread.items() if places}
    assert (
        unread.items()
        <= {
            "burgenland_lg_e450_1": ["@10", "@11", "@12"],
            "kaernten_iskra_am550": ["@10", "@11"],
        }.items()
    )


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


def test_the_folder_holds_telegrams_of_every_transport() -> None:
    assert {file["transport"] for file in FILES} == {"mbus", "hdlc", "apdu"}


@of_transport("mbus", "hdlc")
def test_a_telegram_decodes_to_exactly_what_it_states(file: Mapping[str, Any]) -> None:
    (telegram,) = decode(file, bytes.fromhex(file["telegram"]))
    check(telegram, file)


@of_transport("mbus", "hdlc")
def test_a_telegram_is_complete_without_waiting(file: Mapping[str, Any]) -> None:
    (telegram,) = decoder_of(file).feed(bytes.fromhex(file["telegram"]), 7.0)
    check(telegram, file)


@of_transport("mbus", "hdlc")
def test_a_telegram_byte_by_byte_decodes_to_the_same(file: Mapping[str, Any]) -> None:
    (telegram,) = decode(file, *(bytes([byte]) for byte in bytes.fromhex(file["telegram"])))
    check(telegram, file)


@of_transport("mbus", "hdlc")
def test_two_telegrams_amid_garbage_decode_to_the_same(file: Mapping[str, Any]) -> None:
    octets = bytes.fromhex(file["telegram"])
    stream = GARBAGE + octets + GARBAGE + octets + octets + GARBAGE
    for chunks in ([stream], [bytes([byte]) for byte in stream]):
        telegrams = [item for item in decode(file, *chunks) if isinstance(item, Telegram)]
        assert len(telegrams) == 3
        for telegram in telegrams:
            check(telegram, file)


@of_transport("mbus", "hdlc")
def test_a_capture_that_starts_and_ends_in_mid_telegram_gives_the_one_between(
    file: Mapping[str, Any],
) -> None:
    octets = bytes.fromhex(file["telegram"])
    for cut in range(1, len(octets), 7):
        found = decode(file, octets[cut:] + octets + octets[:cut])
        (telegram,) = (item for item in found if isinstance(item, Telegram))
        check(telegram, file)


@of_transport("mbus", "hdlc")
def test_another_key_gives_one_fault_that_says_so(file: Mapping[str, Any]) -> None:
    decoder = Decoder(Key(bytes(16)))
    (fault,) = decoder.feed(bytes.fromhex(file["telegram"]), 7.0)
    assert isinstance(fault, Fault)
    assert "wrong key" in fault.reason


@of_transport("apdu")
def test_an_apdu_decodes_to_exactly_what_it_states(file: Mapping[str, Any]) -> None:
    check(decoder_of(file).decode_apdu(bytes.fromhex(file["telegram"]), 7.0), file)
