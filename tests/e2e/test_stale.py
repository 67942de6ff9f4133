"""A meter that falls silent or sends rubbish, as its clients see it; and a clock that jumps."""

import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.simulator import SimulatedMeter

from .conftest import PATIENCE_S, Client, Line, Running, obisgate

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

EVENING = datetime(2026, 1, 5, 18, tzinfo=UTC)
TRIES = 30  # a slow machine may look only after the hold time
NO_RESPONSE = 0x0B
AGE, ENERGY = 0, 10  # in obis_plain
WAITING, LIVE, STALE = 0, 1, 3
MBAP_BYTES = 7

CONFIG = """
meters:
  house: {{source: "serial:{line}?parity=none", key: env:TEST_KEY, hold: 1s}}
listeners:
  - tcp: 127.0.0.1:0
    units:
      1: {{meter: house, map: obis_plain}}
      2: {{meter: house, map: obis_plain, stale: silent}}
      3: {{meter: house, map: obis_plain, stale: not_available}}
      4: {{meter: house, map: obis_plain, stale: close}}
      5: {{meter: house, map: obis_plain, stale: last, accept_unsafe: true}}
      6: {{meter: house, map: obis_plain, stale: zero, accept_unsafe: true}}
      7: {{meter: house, map: obis_plain, hold: 5min}}
      8: {{meter: house, map: diagnostics}}
"""


@pytest.fixture
def meter(key: str) -> SimulatedMeter:
    return SimulatedMeter("kaifa-ma309m", bytes.fromhex(key), seed=3, start=EVENING)


def energy_request() -> bytes:
    return struct.pack(">BHH", 3, ENERGY, 2)


def diagnostics(client: Client) -> dict[str, int]:
    names = (
        *("state", "age", "pause", "uptime", "good", "held", "counter", "faults"),
        *("frame", "segment", "ciphering", "decryption", "structure", "layout"),
        *("identity", "invocation", "plausibility"),
    )
    return dict(zip(names, struct.unpack(">17I", client.read(8, 0, 34)), strict=True))


def live(running: Running, client: Client, line: Line, meter: SimulatedMeter) -> bytes:
    """Let good telegrams come until all units show the last one's energy; return it."""
    for _ in range(TRIES):
        push = meter.push()
        line.write(push.telegram)
        if not running.has_event("telegram", within_s=3.0):
            continue  # a kettle was switched: the next telegram must confirm that
        energy = struct.pack(">I", push.readings["1-0:1.8.0.255"][0])
        # The units that answer whatever the meter's state is, before those that would not.
        shown = [client.request(unit, energy_request()) for unit in (5, 6, 3, 1, 7)]
        if shown == [b"\x03\x04" + energy] * len(shown) and diagnostics(client)["state"] == LIVE:
            return energy
    raise AssertionError("never live for long enough")


def is_silent(client: Client, unit: int) -> bool:
    """Tell whether the next reply is that to the request behind this one."""
    client.send(unit, energy_request(), transaction=70)
    client.send(unit, struct.pack(">BHH", 3, AGE, 2), transaction=71)
    header = client.exactly(MBAP_BYTES)
    client.exactly(int.from_bytes(header[4:6], "big") - 1)
    return int.from_bytes(header[:2], "big") == 71


def is_closed(client: Client, unit: int) -> bool:
    """Tell whether the connection ends in order in place of a reply."""
    client.send(unit, energy_request())
    return client.socket.recv(1) == b""


def damaged(octets: bytes) -> bytes:
    return octets[:100] + bytes([octets[100] ^ 4]) + octets[101:]


def until_stale(running: Running, client: Client, come: Callable[[], None]) -> Iterator[int]:
    """Let something come that is no telegram until the meter is stale; yield its states."""
    until = time.monotonic() + PATIENCE_S
    while (state := diagnostics(client)["state"]) != STALE:
        yield state
        come()
        assert not running.has_event("telegram", within_s=0.1)
        assert time.monotonic() < until, "it is never stale"


# What comes in place of the next telegram, and which layer counts it.
RUBBISH: dict[str, tuple[Callable[[SimulatedMeter], bytes], str]] = {
    "nothing": (lambda _: b"", ""),
    "noise": (lambda _: bytes(range(1, 200)), "frame"),
    "damaged telegrams": (lambda meter: damaged(meter.push().telegram), "frame"),
    "another key": (
        lambda _: SimulatedMeter("kaifa-ma309m", bytes(16), seed=4, start=EVENING).push().telegram,
        "decryption",
    ),
}


@pytest.mark.parametrize(("rubbish", "layer"), RUBBISH.values(), ids=RUBBISH)
def test_each_unit_answers_for_a_meter_of_rubbish_as_configured_and_recovers_with_a_telegram(
    rubbish: Callable[[SimulatedMeter], bytes],
    layer: str,
    line: Line,
    start: Start,
    connect: Connect,
    meter: SimulatedMeter,
) -> None:
    running = start(CONFIG.format(line=line.device))
    running.message("is open")
    client = connect(running.port)
    before = diagnostics(client)
    assert (before["state"], before["age"], before["good"]) == (WAITING, 0xFFFFFFFF, 0)
    energy = live(running, client, line, meter)
    good = diagnostics(client)["good"]

    states = list(until_stale(running, client, lambda: line.write(rubbish(meter))))
    assert states == sorted(states)
    assert client.exception(1, ENERGY, 2) == NO_RESPONSE
    assert is_silent(client, 2)
    assert client.read(3, ENERGY, 2) == b"\xff" * 4
    assert is_closed(connect(running.port), 4)
    assert client.read(5, ENERGY, 2) == energy
    assert client.read(6, ENERGY, 2) == bytes(4)
    assert client.read(7, ENERGY, 2) == energy
    assert struct.unpack(">I", client.read(1, AGE, 2))[0] < PATIENCE_S
    assert diagnostics(client)["good"] == good

    live(running, client, line, meter)
    after = diagnostics(client)
    assert after["good"] > good
    assert after["uptime"] < 600
    assert after["counter"] == running.seen[-1]["invocation_counter"]
    if layer:
        assert after["faults"] >= after[layer] > 0
    else:
        assert after["faults"] == 0


def test_silence_that_a_unit_hides_is_warned_about_at_every_start_and_by_check(
    tmp_path: Path, line: Line, start: Start
) -> None:
    text = CONFIG.format(line=line.device)
    places = [
        f"config.yaml:{row}:{found.start() + 1}: unsafe: "
        for row, written in enumerate(text.splitlines(), 1)
        if (found := re.search(r"\b(last|zero)\b", written))
    ]
    assert len(places) == 2
    for _ in range(2):
        running = start(text)
        for place in places:
            running.message(place)
        said = running.message("no good telegram for 1 s")
        running.stop()
    assert [f"unit {unit}" in said for unit in (1, 4, 5, 6, 7)] == [False, False, True, True, True]
    checked = obisgate("check", str(tmp_path / "config.yaml"))
    assert all(place in checked.stderr for place in places)


def test_silence_that_a_unit_hides_without_being_told_to_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "meters: {house: {source: simulator:kaifa-ma309m}}\n"
        "listeners: [{tcp: '127.0.0.1:0', any: {meter: house, map: obis_plain, stale: last}}]\n"
    )
    done = obisgate("run", str(config))
    assert done.returncode == 2
    assert f"{config}:2:78: " in done.stderr
    assert "accept_unsafe: true" in done.stderr


# --- a clock that jumps ---------------------------------------------------------------------

DAY_S = 86_400
# Every look at the wall clock finds it 400 days before or after where it was.
JUMPING = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *found) {
    static int looks;
    int result = syscall(SYS_clock_gettime, clock, found);
    if (clock == CLOCK_REALTIME)
        found->tv_sec += (looks++ % 2 ? 200L : -200L) * 86400;
    return result;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="cc is missing: sudo apt-get install gcc")
def test_jumps_of_the_wall_clock_change_nothing(
    tmp_path: Path,
    line: Line,
    start: Start,
    connect: Connect,
    meter: SimulatedMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, library = tmp_path / "jumping.c", tmp_path / "jumping.so"
    source.write_text(JUMPING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    running = start(CONFIG.format(line=line.device))
    running.message("is open")
    client = connect(running.port)
    energy = live(running, client, line, meter)
    for _ in until_stale(running, client, lambda: None):
        assert client.read(7, ENERGY, 2) == energy
    assert diagnostics(client)["age"] < 2 * PATIENCE_S
    assert client.exception(1, ENERGY, 2) == NO_RESPONSE
    assert client.read(7, ENERGY, 2) == energy, "its own hold time is 2 h"
    live(running, client, line, meter)
    assert diagnostics(client)["uptime"] < 600
    times = [datetime.fromisoformat(event["time"]) for event in running.seen]
    jumps = [abs((later - earlier).total_seconds()) for earlier, later in pairwise(times)]
    assert max(jumps) > 300 * DAY_S, "the clock did jump"
