"""The ladder: evidence in, for each rung good, broken or not known yet."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diagnoses import DIAGNOSES, english
from gateway.ladder import (
    ClientEvidence,
    Finding,
    LastFault,
    ListenerEvidence,
    MeterEvidence,
    State,
    climb,
    first_broken,
    is_decided,
)
from gateway.ladder_words import RUNG_OF, Rung
from gateway.simulator import SimulatedMeter
from gateway.snapshot.freshness import State as Fresh
from gateway.telegram import Decoder, Fault, Key, Layer

RUNGS = list(Rung)
GOOD = MeterEvidence(
    name="house",
    source="serial port /dev/ttyUSB0, 2400 baud 8E1",
    is_open=True,
    byte_count=1128,
    state=Fresh.LIVE,
    age_s=2.04,
    hold_s=15.0,
    telegrams=3,
    invocation_counter=4711,
)
NEW = replace(GOOD, byte_count=0, state=Fresh.WAITING, age_s=None, telegrams=0)
STALE = replace(GOOD, state=Fresh.STALE, age_s=40.0)
CLIENT = ClientEvidence("192.168.1.9", 1, 20, {}, {}, 1.0, is_meter=True, is_here=False)
LISTENER = ListenerEvidence("0.0.0.0:502", refusal="", units=["1", "2"], clients=[CLIENT])


def findings(
    meter: MeterEvidence = GOOD, *listeners: ListenerEvidence, **options: Any
) -> list[Finding]:
    return climb(meter, listeners or [LISTENER], "obisgate run config.yaml", **options)


def states(found: list[Finding]) -> dict[Rung, State]:
    return {each.rung: each.state for each in found}


def breaks(found: list[Finding], rung: Rung) -> str:
    """Return the words for the first broken rung, which must be this one."""
    broken = first_broken(found)
    assert broken
    assert broken.rung is rung
    assert broken.text.de != broken.text.en
    below = [each.state for each in found[: RUNGS.index(rung)]]
    assert set(below) <= {State.GOOD}
    return broken.text.en


# --- from the device to fresh values ----------------------------------------------------------


def test_with_good_evidence_all_rungs_are_good() -> None:
    found = findings()
    assert [each.rung for each in found] == RUNGS
    assert set(states(found).values()) == {State.GOOD}
    assert first_broken(found) is None
    assert is_decided(found)


def test_before_the_first_byte_nothing_is_broken_and_it_goes_on() -> None:
    found = findings(NEW)
    assert states(found)[Rung.OPEN] is State.GOOD
    assert states(found)[Rung.BYTES] is State.UNKNOWN
    assert first_broken(found) is None
    assert not is_decided(found)


def test_a_source_that_has_not_been_opened_yet_is_not_known() -> None:
    assert states(findings(replace(NEW, is_open=None)))[Rung.DEVICE] is State.UNKNOWN


@pytest.mark.parametrize(
    ("trouble", "rung"),
    [
        ("/dev/x does not exist: is the adapter plugged in? ls -l /dev/serial/by-id", "device"),
        ("/dev/x is gone (closed): check the cable", "device"),
        ("a.bin cannot be read: No such file or directory", "device"),
        ("a.bin cannot be read: Input/output error", "open"),
        ("/dev/x is in use by another program: sudo fuser -v /dev/x", "open"),
        ("what a source of another version says", "open"),
    ],
)
def test_what_a_source_says_breaks_its_rung_even_while_values_are_held(
    trouble: str, rung: str
) -> None:
    found = findings(replace(GOOD, is_open=False, trouble=trouble))
    assert breaks(found, Rung(rung)) == trouble
    assert states(found)[Rung.FRESH] is State.UNKNOWN


@pytest.mark.parametrize("name", DIAGNOSES)
def test_each_diagnosis_breaks_its_rung(name: str) -> None:
    words = {"count": 3, "seconds": 15, "reason": "why", "slip": "x", "meters": 2, "names": "A"}
    said = english(name, **words)
    found = findings(replace(NEW, byte_count=900, diagnosis=said, kind="?"))
    assert breaks(found, RUNG_OF[name]) == said


def test_a_diagnosis_of_another_version_breaks_the_rung_of_its_kind() -> None:
    meter = replace(NEW, byte_count=9, diagnosis="said otherwise", kind="no decryption")
    found = findings(meter)
    assert breaks(found, Rung.DECRYPTION) == "said otherwise"
    assert "„said otherwise“" in found[RUNGS.index(Rung.DECRYPTION)].text.de


@pytest.mark.parametrize(
    ("layer", "reason", "rung"),
    [
        (Layer.FRAME, "3 of the frame's 9 bytes came with a parity error", Rung.PARITY),
        (Layer.FRAME, "the frame breaks off", Rung.FRAMES),
        (Layer.FRAME, "checksum 0x17, computed 0x1f", Rung.CHECKSUMS),
        (Layer.SEGMENT, "segment 2 after 0", Rung.SEGMENTS),
        (Layer.CIPHERING, "tag", Rung.DECRYPTION),
        (Layer.DECRYPTION, "wrong key", Rung.DECRYPTION),
        (Layer.STRUCTURE, "ends early", Rung.LAYOUT),
        (Layer.LAYOUT, "unknown", Rung.LAYOUT),
        (Layer.IDENTITY, "another meter", Rung.COUNTER),
        (Layer.COUNTER, "9 after 9", Rung.COUNTER),
        (Layer.PLAUSIBILITY, "900 V on L1", Rung.PLAUSIBLE),
    ],
)
def test_the_last_refusal_breaks_its_rung_when_the_values_are_stale(
    layer: Layer, reason: str, rung: Rung
) -> None:
    last = LastFault(layer, reason, 1.0)
    assert reason in breaks(findings(replace(STALE, last_fault=last)), rung)
    never_good = replace(NEW, byte_count=400, last_fault=last)
    assert first_broken(findings(never_good)) is None
    assert reason in breaks(findings(never_good, is_over=True), rung)


def last_fault_of(telegram: bytes, damaged: Sequence[int] = ()) -> LastFault:
    """Return what the decoder refuses of a telegram of which no more comes."""
    decoder = Decoder(Key(bytes(16)))
    items = decoder.feed(telegram, 0.0, damaged) + decoder.finish()
    fault = next(each for each in items if isinstance(each, Fault))
    return LastFault(fault.layer, fault.reason, 0.0)


@pytest.mark.parametrize("model", ["kaifa-ma309m", "lg-e450-burgenland", "iskra-am550-wienernetze"])
def test_what_the_decoder_refuses_breaks_the_rung_that_it_is_about(model: str) -> None:
    start = datetime(2026, 1, 5, 18, tzinfo=UTC)
    telegram = SimulatedMeter(model, bytes(16), seed=3, start=start).push().telegram
    changed = bytearray(telegram)
    changed[60] ^= 4
    cases = {
        Rung.PARITY: last_fault_of(telegram, [60]),
        Rung.FRAMES: last_fault_of(telegram[:60]),
        Rung.CHECKSUMS: last_fault_of(bytes(changed)),
    }
    for rung, last in cases.items():
        meter = replace(NEW, byte_count=300, last_fault=last)
        assert last.reason in breaks(findings(meter, is_over=True), rung)


def test_a_telegram_of_which_a_frame_is_missing_is_no_foreign_one() -> None:
    start = datetime(2026, 1, 5, 18, tzinfo=UTC)
    telegram = SimulatedMeter("kaifa-ma309m", bytes(16), seed=3, start=start).push().telegram
    first = telegram[1] + 6
    for part, word in ((telegram[:first], "breaks off"), (telegram[first:], "before it")):
        last = last_fault_of(part)
        assert word in last.reason
        said = english("segments.foreign", reason=last.reason)
        found = findings(replace(NEW, byte_count=300, last_fault=last, diagnosis=said))
        assert breaks(found, Rung.SEGMENTS).startswith("good frames come, but not all")


def test_a_refusal_before_the_last_good_telegram_breaks_nothing() -> None:
    last = LastFault(Layer.FRAME, "checksum", 30.0)
    assert first_broken(findings(replace(GOOD, last_fault=last))) is None
    stale = replace(STALE, last_fault=replace(last, age_s=50.0))
    assert "make `hold`" in breaks(findings(stale), Rung.FRESH)


def test_a_lone_damaged_telegram_breaks_nothing_while_values_are_fresh() -> None:
    last = LastFault(Layer.PLAUSIBILITY, "900 V on L1", 0.5)
    assert first_broken(findings(replace(GOOD, last_fault=last))) is None


def test_one_telegram_does_not_show_that_the_counter_rises() -> None:
    found = findings(replace(GOOD, telegrams=1))
    assert states(found)[Rung.LAYOUT] is State.GOOD
    assert states(found)[Rung.COUNTER] is State.UNKNOWN
    assert not is_decided(found)


def test_an_overdue_telegram_is_neither_fresh_nor_broken() -> None:
    found = findings(replace(GOOD, state=Fresh.HOLDING))
    assert states(found)[Rung.PLAUSIBLE] is State.GOOD
    assert states(found)[Rung.FRESH] is State.UNKNOWN
    assert not is_decided(found)


def test_a_telegram_that_waits_for_the_next_shows_that_its_layout_is_known() -> None:
    found = findings(replace(NEW, byte_count=376, held=1))
    assert states(found)[Rung.LAYOUT] is State.GOOD
    assert states(found)[Rung.COUNTER] is State.UNKNOWN


def test_silence_to_the_end_breaks_the_rung_of_bytes() -> None:
    found = findings(NEW, is_over=True, listened_s=30.0)
    assert breaks(found, Rung.BYTES).startswith("no byte came in 30 s")


def test_a_recording_that_is_over_is_no_trouble_while_its_values_are_fresh() -> None:
    ended = replace(GOOD, is_open=False, trouble="recording a.bin, at once has ended")
    assert first_broken(findings(ended)) is None
    stale = replace(ended, state=Fresh.STALE, age_s=60.0)
    assert "the source is at its end" in breaks(findings(stale), Rung.FRESH)
    empty = replace(ended, byte_count=0, telegrams=0, state=Fresh.WAITING, age_s=None)
    assert "without a byte" in breaks(findings(empty), Rung.BYTES)


# --- from the listener to the client ----------------------------------------------------------


def test_without_a_gateway_the_next_step_is_to_run_it() -> None:
    found = climb(GOOD, None, "obisgate run my.yaml")
    assert breaks(found, Rung.REACHABLE) == "no gateway is running: obisgate run my.yaml"
    assert states(found)[Rung.ASKED] is states(found)[Rung.VALUES] is State.UNKNOWN


def test_without_a_unit_for_the_meter_one_is_asked_for() -> None:
    found = climb(GOOD, [], "obisgate run")
    assert "{meter: house, map: sunspec_213}" in breaks(found, Rung.REACHABLE)


UNASKED = replace(LISTENER, clients=[])


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        (replace(UNASKED, is_absent=True, refusal=None), "is no address of this machine now"),
        (replace(UNASKED, is_local=True, refusal=None), "is open on this machine only"),
        (replace(UNASKED, is_closed=True, refusal=None), "'allow' lets this machine alone in"),
        (replace(UNASKED, refusal="it was closed"), "does not answer a Modbus read"),
    ],
)
def test_each_obstacle_between_network_and_listener_is_named(
    listener: ListenerEvidence, words: str
) -> None:
    assert words in breaks(findings(GOOD, listener), Rung.REACHABLE)
    assert first_broken(findings(GOOD, listener, LISTENER)) is None, "one that is reached is enough"


def test_a_serial_line_that_is_not_open_is_named_whoever_asks_elsewhere() -> None:
    line = ListenerEvidence("/dev/x", is_line=True, trouble="/dev/x is no serial port")
    for listeners in ([line], [LISTENER, line]):
        said = breaks(findings(GOOD, *listeners), Rung.REACHABLE)
        assert said == "the listener's serial line is not open: /dev/x is no serial port"


def test_a_client_of_this_machine_uses_a_listener_that_is_open_to_it_alone() -> None:
    here = replace(CLIENT, address="127.0.0.1", is_here=True)
    local = replace(LISTENER, is_local=True, refusal=None, clients=[here])
    assert first_broken(findings(GOOD, local)) is None
    deaf = replace(LISTENER, refusal="it was closed", clients=[here])
    assert "it was closed" in breaks(findings(GOOD, deaf), Rung.REACHABLE)


def test_a_client_from_elsewhere_shows_that_the_network_reaches_the_listener() -> None:
    untried = replace(LISTENER, refusal=None)
    assert states(findings(GOOD, untried))[Rung.REACHABLE] is State.GOOD
    unasked = findings(GOOD, replace(untried, clients=[]))
    assert states(unasked)[Rung.REACHABLE] is State.UNKNOWN


def test_when_nobody_has_asked_a_line_to_copy_is_the_next_step() -> None:
    said = breaks(findings(GOOD, replace(UNASKED, poll="mbpoll -m tcp …")), Rung.ASKED)
    assert said.startswith("nobody has asked yet")
    assert said.endswith(":\nmbpoll -m tcp …")


def test_on_a_serial_line_nobody_is_counted_and_nothing_is_broken() -> None:
    found = findings(GOOD, ListenerEvidence("/dev/ttyUSB1", is_line=True, units=["1"]))
    assert first_broken(found) is None
    assert states(found)[Rung.ASKED] is State.UNKNOWN


@pytest.mark.parametrize(
    ("unit", "code", "words"),
    [
        (1, 0x01, "function 3 or 4"),
        (1, 0x02, "addresses that no map serves"),
        (1, 0x03, "too many registers"),
        (1, 0x0B, "no fresh values"),
        (9, 0x0B, "asks for unit 9, which is not served here: set 1, 2 in it"),
    ],
)
def test_a_client_with_nothing_but_exceptions_is_told_by_the_most_frequent(
    unit: int, code: int, words: str
) -> None:
    other = 0x02 if code != 0x02 else 0x01
    asks = replace(CLIENT, unit=unit, requests=20, exceptions={other: 1, code: 19})
    found = findings(GOOD, replace(LISTENER, clients=[asks]))
    assert words in breaks(found, Rung.VALUES)


def test_a_client_that_asked_in_vain_long_ago_is_forgotten_when_another_is_served() -> None:
    gone = replace(CLIENT, address="192.168.1.77", exceptions={2: 20}, idle_s=4000.0)
    assert first_broken(findings(GOOD, replace(LISTENER, clients=[gone, CLIENT]))) is None
    recent = replace(gone, idle_s=2.0)
    found = findings(GOOD, replace(LISTENER, clients=[recent, CLIENT]))
    assert "192.168.1.77" in breaks(found, Rung.VALUES)
    assert "192.168.1.77" in breaks(findings(GOOD, replace(LISTENER, clients=[gone])), Rung.VALUES)


def test_a_client_that_found_its_unit_after_a_search_is_served() -> None:
    searched = replace(CLIENT, unit=2, exceptions={2: 20})
    assert first_broken(findings(GOOD, replace(LISTENER, clients=[searched, CLIENT]))) is None


@pytest.mark.parametrize(("unit", "words"), [(1, "no map serves"), (9, "asks for unit 9")])
def test_a_client_that_was_served_and_now_only_gets_exceptions_is_not_served(
    unit: int, words: str
) -> None:
    asks = replace(CLIENT, unit=unit, requests=500, exceptions={11: 60, 2: 20}, refused={2: 20})
    assert words in breaks(findings(GOOD, replace(LISTENER, clients=[asks])), Rung.VALUES)
    tries = replace(asks, unit=1, exceptions={11: 60, 2: 200}, refused={2: 3})
    assert first_broken(findings(GOOD, replace(LISTENER, clients=[tries]))) is None


def test_who_asks_for_another_meter_tells_nothing_of_this_one() -> None:
    served = replace(CLIENT, unit=2, is_meter=False)
    found = findings(GOOD, replace(LISTENER, clients=[served]))
    assert breaks(found, Rung.ASKED).startswith("nobody has asked yet")
    assert states(found)[Rung.REACHABLE] is State.GOOD, "it came through the network all the same"
    refused = replace(CLIENT, exceptions={11: 20}, refused={11: 20})
    found = findings(GOOD, replace(LISTENER, clients=[served, refused]))
    assert "no fresh values" in breaks(found, Rung.VALUES)
    other = replace(refused, unit=2, is_meter=False)
    assert first_broken(findings(GOOD, replace(LISTENER, clients=[CLIENT, other]))) is None
    searched = replace(refused, unit=9, is_meter=False)
    found = findings(GOOD, replace(LISTENER, clients=[served, searched]))
    assert breaks(found, Rung.ASKED).startswith("nobody has asked yet")


# --- whatever is told -------------------------------------------------------------------------

ages = st.none() | st.floats(0, 1e6)
meters = st.builds(
    MeterEvidence,
    name=st.just("house"),
    source=st.just("a source"),
    is_open=st.none() | st.booleans(),
    trouble=st.none() | st.text(min_size=1),
    byte_count=st.integers(0, 5000),
    damaged_count=st.integers(0, 5000),
    state=st.sampled_from(Fresh),
    age_s=ages,
    hold_s=st.floats(0.1, 1e4),
    telegrams=st.integers(0, 5),
    held=st.integers(0, 5),
    faults=st.dictionaries(st.sampled_from(Layer), st.integers(0, 9)),
    last_fault=st.none()
    | st.builds(LastFault, st.sampled_from(Layer) | st.text(), st.text(), st.floats(0, 1e6)),
    kind=st.none() | st.text(),
    diagnosis=st.none() | st.text(min_size=1),
    invocation_counter=st.none() | st.integers(0, 2**32 - 1),
)
clients = st.builds(
    ClientEvidence,
    address=st.sampled_from(["192.168.1.9", "127.0.0.1"]),
    unit=st.integers(0, 255),
    requests=st.integers(0, 9),
    exceptions=st.dictionaries(st.sampled_from([1, 2, 3, 4, 11]), st.integers(1, 9)),
    refused=st.dictionaries(st.sampled_from([1, 2, 3, 4, 11]), st.integers(1, 19)),
    idle_s=st.floats(0, 1e6),
    is_meter=st.booleans(),
    is_here=st.booleans(),
)
listeners = st.builds(
    ListenerEvidence,
    endpoint=st.just("0.0.0.0:502"),
    is_line=st.booleans(),
    is_absent=st.booleans(),
    trouble=st.none() | st.text(min_size=1),
    is_local=st.booleans(),
    is_closed=st.booleans(),
    refusal=st.none() | st.text(),
    units=st.lists(st.sampled_from(["1", "2", "any"])),
    clients=st.lists(clients, max_size=3),
)


@given(meters, st.none() | st.lists(listeners, max_size=3), st.booleans())
def test_any_evidence_gives_every_rung_once_and_words_for_what_is_broken(
    meter: MeterEvidence, heard: list[ListenerEvidence] | None, is_over: bool
) -> None:
    found = climb(meter, heard, "obisgate run", is_over=is_over)
    assert [each.rung for each in found] == RUNGS
    of_meter = [each.state for each in found[: RUNGS.index(Rung.REACHABLE)]]
    assert of_meter.count(State.BROKEN) <= 1
    order = [State.GOOD, State.BROKEN, State.UNKNOWN]
    assert of_meter == sorted(of_meter, key=order.index), "good ones, a broken one, unknown ones"
    assert all(each.text.en and each.text.de for each in found if each.state is State.BROKEN)
    if meter.state == Fresh.STALE:
        assert of_meter[-1] is not State.GOOD, "never a stale value passed off as fresh"
