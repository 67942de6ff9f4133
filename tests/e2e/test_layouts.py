"""A meter whose list of values obisgate does not know: the user describes it in the config."""

import struct
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from gateway.simulator.frames import (
    Mbus,
    data_notification,
    date_time,
    octet_string,
    seal,
    structure,
    u16,
    u32,
)

from .conftest import Client, Line, Running, served

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

UNITS = "units: {4: {meter: house, map: obis_plain}}"
TITLE = b"XYZ" + bytes.fromhex("1020000001")
NOON = datetime(2026, 6, 21, 12, 0, tzinfo=timezone(timedelta(hours=2)))
LAYOUT = """\
layouts:
  my-meter:
    makers: XYZ
    items: |
      clock
      number
      1-0:1.8.0  u32  Wh
      - u16                    # nobody knows
      1-0:32.7.0 u16  0.1 V
      pair 1-0:1.7.0 u32 W
"""


def telegram(key: str, counter: int = 5) -> bytes:
    """Return what a meter of an unknown maker pushes: values without names."""
    clock = date_time(NOON, summer=True)
    body = structure(
        octet_string(clock),
        octet_string(b"XYZ0042"),
        u32(5_000_123),
        u16(77),
        u16(2305),
        octet_string(bytes((1, 0, 1, 7, 0, 255))),
        u32(812),
    )
    plaintext = data_notification(counter, clock, body)
    apdu = seal(plaintext, key=bytes.fromhex(key), system_title=TITLE, invocation_counter=counter)
    return b"".join(Mbus().frames(apdu))


def on(line: Line, more: str = "") -> str:
    config = served(f"serial:{line.device}?parity=none", UNITS)
    return config.replace("    hold:", f"    {more}\n    hold:") if more else config


def test_without_a_layout_the_list_is_unknown_and_nothing_is_served(
    line: Line, start: Start, connect: Connect, key: str
) -> None:
    running = start(on(line))
    running.message("is open")
    line.write(telegram(key))
    running.message("layout fault")
    assert connect(running.port).exception(4, 10, 2) == 0x0B


@pytest.mark.parametrize(
    ("makers", "more"),
    [("XYZ", ""), ("ABC XYZ", ""), ("ABC", "layout: my-meter"), ("XYZ", "layout: my-meter")],
)
def test_a_layout_in_the_config_makes_an_unknown_meter_readable(
    makers: str, more: str, line: Line, start: Start, connect: Connect, key: str
) -> None:
    running = start(LAYOUT.replace("XYZ", makers) + on(line, more))
    running.message("is open")
    line.write(telegram(key))
    heard = running.telegram()
    assert heard["meter"] == TITLE.hex().upper()
    assert heard["readings"] == {
        "0-0:1.0.0.255": {"value": "2026-06-21T12:00:00+02:00"},
        "0-0:96.1.0.255": {"value": "XYZ0042"},
        "1-0:1.8.0.255": {"value": 5_000_123, "unit": "Wh"},
        "1-0:32.7.0.255": {"value": 230.5, "unit": "V"},
        "1-0:1.7.0.255": {"value": 812, "unit": "W"},
    }
    client = connect(running.port)
    assert struct.unpack(">I", client.read(4, 10, 2)) == (5_000_123,)
    assert struct.unpack(">I", client.read(4, 6, 2)) == (812,)
    assert struct.unpack(">f", client.read(4, 18, 2)) == (230.5,)
    assert client.read(4, 32, 8).rstrip(b"\0") == b"XYZ0042"


def test_a_layout_for_other_makers_is_not_tried(line: Line, start: Start, key: str) -> None:
    running = start(LAYOUT.replace("XYZ", "ABC") + on(line))
    running.message("is open")
    line.write(telegram(key))
    running.message("layout fault")


def test_a_prescribed_layout_that_does_not_fit_says_where(
    line: Line, start: Start, key: str
) -> None:
    running = start(on(line, "layout: wels-10"))
    running.message("is open")
    line.write(telegram(key))
    assert "as layout wels-10 says" in running.message("layout fault")
