"""The state file: written whole or not at all, and read; damage is set aside and said."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.snapshot.plausibility import ENERGIES, Seen
from gateway.state import StateFile, default_path

NOON = datetime(2026, 6, 21, 12, 0, tzinfo=UTC)
HOUSE = Seen(
    bytes.fromhex("4b464d1020000001"), 1234, {"energy_active_import_total": 5_000_000}, NOON, None
)
PATIENCE_S = 30.0


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state" / "house.json")


# --- round trip -----------------------------------------------------------------------------

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
SEEN = st.builds(
    lambda *told: Seen(*told),
    st.binary(min_size=8, max_size=8),
    st.integers(0, 2**32 - 1),
    st.dictionaries(st.sampled_from(ENERGIES), st.integers(0, 2**64 - 1) | st.floats(0, 2**64)),
    st.none() | st.datetimes() | st.datetimes(timezones=ZONES),
    st.none(),
    st.just({}),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(meters=st.dictionaries(NAMES, SEEN))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, meters: dict[str, Seen]
) -> None:
    file = StateFile(tmp_path_factory.getbasetemp() / "round trip.json")
    file.write(meters)
    assert file.read() == (meters, None)
    back = file.read()[0]
    for name, seen in meters.items():
        if seen.clock:
            assert back[name].clock.utcoffset() == seen.clock.utcoffset()
        assert {k: type(v) for k, v in back[name].numbers.items()} == {
            k: type(v) for k, v in seen.numbers.items()
        }


def test_only_what_the_next_run_needs_is_remembered(file: StateFile) -> None:
    numbers = {"voltage_l1": 230.0, "active_power_import_total": 5, **HOUSE.numbers}
    file.write({"house": HOUSE._replace(numbers=numbers, received=99.5, texts={"a": "b"})})
    assert file.read() == ({"house": HOUSE}, None)


def test_a_file_that_was_never_written_remembers_nothing_and_is_no_trouble(
    file: StateFile,
) -> None:
    assert file.read() == ({}, None)
    assert not file.path.parent.exists()


def test_a_later_state_replaces_the_earlier(file: StateFile) -> None:
    for counter in (1, 2, 3):
        file.write({"house": HOUSE._replace(counter=counter)})
    file.write({"flat": HOUSE})
    assert file.read() == ({"flat": HOUSE}, None)
    assert list(file.path.parent.iterdir()) == [file.path], "nothing is left beside it"


def test_folders_are_made(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a" / "b" / "c" / "house.json")
    file.write({"house": HOUSE})
    assert file.read() == ({"house": HOUSE}, None)


# --- whole or not at all --------------------------------------------------------------------


def street(count: int, counter: int) -> dict[str, Seen]:
    """A state of many meters that all say the same, so that a mixture would show."""
    return {f"meter {n}": HOUSE._replace(counter=counter) for n in range(count)}


def is_whole(meters: dict[str, Seen]) -> bool:
    return len(meters) in (3, 300) and len({seen.counter for seen in meters.values()}) == 1


def test_a_reader_never_sees_half_a_file(file: StateFile) -> None:
    file.write(street(3, 0))
    is_over = threading.Event()

    def write() -> None:
        for counter in range(300):
            file.write(street(3 if counter % 2 else 300, counter))
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not is_over.is_set() or not reads:
        meters, problem = file.read()
        assert problem is None
        assert is_whole(meters)
        reads += 1
    writer.join(PATIENCE_S)


# A process that writes in a loop, killed at a random instant; the next one follows at once. What
# is read then is whole, and not older than the last state that was said to be written.
LIVES = """
import os, random, signal, sys, time
from pathlib import Path
from gateway.snapshot.plausibility import Seen
from gateway.state import StateFile

file, lives = StateFile(Path(sys.argv[1])), int(sys.argv[2])
seed = random.randrange(2**32)
dice = random.Random(seed)

def write(counter, told):
    while True:
        counter += 1
        seen = Seen(bytes(8), counter, {"energy_active_import_total": counter}, None, None)
        file.write({f"meter {n}": seen for n in range(3 if counter % 2 else 30)})
        os.write(told, counter.to_bytes(8, "big"))

counter = 0
for life in range(lives):
    hear, told = os.pipe()
    child = os.fork()
    if child == 0:
        write(counter, told)
    os.close(told)
    written = os.read(hear, 8) if life % 4 else b""  # some do not come as far as their first
    time.sleep(dice.random() * 0.004)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(hear, "rb") as rest:
        written += rest.read()
    meters, problem = file.read()
    counters = {seen.counter for seen in meters.values()}
    assert problem is None, (seed, life, problem)
    if written:
        counter = max(counter, int.from_bytes(written[-8:], "big"))
    if counter:
        assert len(counters) == 1 and len(meters) in (3, 30), (seed, life, counters, len(meters))
        assert counter <= min(counters) <= counter + 1, (seed, life, counter, counters)
        counter = min(counters)
print(lives, "lives,", counter, "states")
"""


def test_two_writes_at_once_leave_one_whole_state_and_no_error(file: StateFile) -> None:
    def write(count: int) -> None:
        for counter in range(100):
            file.write(street(count, counter))

    with ThreadPoolExecutor() as writers:
        assert list(writers.map(write, (3, 300))) == [None, None]
    meters, problem = file.read()
    assert problem is None
    assert is_whole(meters)


def test_a_thousand_kills_at_random_instants_leave_a_whole_and_recent_state(
    file: StateFile,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIVES, file.path, "1000"],
        check=False,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1000 lives, ")
    file.write({"house": HOUSE})
    assert list(file.path.parent.iterdir()) == [file.path], "what a kill left is used up"


# --- damage ---------------------------------------------------------------------------------


def written(**changes: object) -> bytes:
    """Return a file with one meter of which some fields are otherwise; None leaves one out."""
    house = {
        "system_title": HOUSE.meter.hex(),
        "invocation_counter": 1234,
        "clock": NOON.isoformat(),
        "energies": dict(HOUSE.numbers),
    } | changes
    house = {key: value for key, value in house.items() if value != "left out"}
    return json.dumps({"version": 1, "meters": {"house": house}}).encode()


DAMAGED = {
    "nothing": b"",
    "zeros after a power cut": bytes(200),
    "cut off early": b'{\n "version": 1,\n "me',
    "no UTF-8": written().replace(b"house", b"\xff\xfe\x80"),
    "cut off": written()[:-20],
    "something behind": written() + b"x",
    "a version that never was": written().replace(b'"version": 1', b'"version": 0'),
    "a version that is a text": written().replace(b'"version": 1', b'"version": "2"'),
    "meters that are a list": b'{"version": 1, "meters": []}',
    "a meter that is a number": b'{"version": 1, "meters": {"house": 1}}',
    "deep meters": b'{"version": 1, "meters": {"house": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
    "a number of very many digits": written().replace(b"1234", b"9" * 100_000),
    "no title": written(system_title="left out"),
    "a title that is no hex": written(system_title="KFM"),
    "a short title": written(system_title="4b46"),
    "a title that is a number": written(system_title=5),
    "no counter": written(invocation_counter="left out"),
    "a counter that is a text": written(invocation_counter="1234"),
    "a counter that is broken": written(invocation_counter=1.5),
    "a counter below 0": written(invocation_counter=-1),
    "a counter of 33 bits": written(invocation_counter=2**32),
    "a clock that shows nothing": written(clock="yesterday"),
    "a clock that is a number": written(clock=5),
    "no energies": written(energies=None),
    "an unknown energy": written(energies={"energy_of_the_sun": 5}),
    "an energy that is a text": written(energies={ENERGIES[0]: "5"}),
    "an energy that is null": written(energies={ENERGIES[0]: None}),
    "an energy below 0": written(energies={ENERGIES[0]: -1}),
    "an energy that is no number": written(energies={ENERGIES[0]: float("nan")}),
    "an endless energy": written(energies={ENERGIES[0]: float("inf")}),
    "an energy that no float can hold": written(energies={ENERGIES[0]: 10**400}),
}


def test_the_file_of_these_tests_is_sound(file: StateFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(written())
    assert file.read() == ({"house": HOUSE}, None)


@pytest.mark.parametrize("octets", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_set_aside_and_said(file: StateFile, octets: bytes) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(octets)
    assert file.read() == (
        {},
        f"{file.path} was damaged: set aside as house.json.damaged; nothing is remembered",
    )
    assert file.path.with_name("house.json.damaged").read_bytes() == octets
    assert not file.path.exists()
    assert file.read() == ({}, None)
    file.write({"house": HOUSE})
    assert file.read() == ({"house": HOUSE}, None)


@pytest.mark.parametrize("number", [2, 17])
def test_a_file_of_another_version_is_said_and_kept_for_it(file: StateFile, number: int) -> None:
    octets = written().replace(b'"version": 1', b'"version": %d' % number)
    file.path.parent.mkdir()
    file.path.write_bytes(octets)
    assert file.read() == (
        {},
        f"{file.path} was of another version of obisgate: "
        f"set aside as house.json.version{number}; nothing is remembered",
    )
    assert file.path.with_name(f"house.json.version{number}").read_bytes() == octets
    file.write({"house": HOUSE})
    assert file.read() == ({"house": HOUSE}, None)


FOREIGN = {
    "a key": b"0F1E2D3C4B5A69788796A5B4C3D2E1F0\n",
    "a key of digits": b"12345678901234567890123456789012",
    "a certificate": b"-----BEGIN CERTIFICATE-----\nMIIB",
    "YAML": b"meters: {house: {}}",
    "YAML that begins as JSON": b"{meters: {house: {}}}",
    "another program's JSON": b'{"version": 4, "serial": 7}',
    "JSON without a version": b'{"meters": {}}',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "deep": b"[" * 200_000,
    "a photo": b"\xff\xd8\xff\xe0\0\x10JFIF",
}


@pytest.mark.parametrize("octets", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_state_is_neither_renamed_nor_replaced(
    file: StateFile, octets: bytes
) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(octets)
    what = "is no state of obisgate, and stays as it is: name another file as state"
    assert file.read() == ({}, f"{file.path} {what}; nothing is remembered")
    with pytest.raises(FileExistsError) as problem:
        file.write({"house": HOUSE})
    assert problem.value.strerror == f"it {what}"
    assert file.path.read_bytes() == octets
    assert list(file.path.parent.iterdir()) == [file.path]


@given(octets=st.binary() | st.text().map(str.encode))
def test_random_bytes_are_no_state_and_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes
) -> None:
    file = StateFile(tmp_path_factory.getbasetemp() / "random.json")
    file.path.write_bytes(octets)
    meters, problem = file.read()
    assert meters == {}
    assert problem is not None
    assert ("was damaged" in problem) != file.path.exists()


@given(place=st.integers(0, len(written()) - 1), octet=st.integers(0, 255))
def test_one_wrong_byte_is_no_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, octet: int
) -> None:
    file = StateFile(tmp_path_factory.getbasetemp() / "one byte.json")
    octets = bytearray(written())
    octets[place] = octet
    file.path.write_bytes(octets)
    meters, problem = file.read()
    assert (problem is None) or meters == {}


@given(cut=st.integers(0, len(written()) - 1))
def test_a_cut_off_file_is_never_taken_for_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    file = StateFile(tmp_path_factory.getbasetemp() / "cut off.json")
    file.path.write_bytes(written()[:cut])
    meters, problem = file.read()
    assert meters == {}
    assert problem is not None


# --- places where it cannot be --------------------------------------------------------------


def test_where_no_folder_can_be_the_error_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    file = StateFile(tmp_path / "occupied" / "house.json")
    with pytest.raises(OSError, match=r"occupied") as problem:
        file.write({"house": HOUSE})
    assert problem.value.strerror
    meters, said = file.read()
    assert meters == {}
    assert said is not None
    assert said.startswith(f"{file.path} cannot be read: ")
    assert said.endswith("; nothing is remembered")


def test_where_a_folder_stands_in_its_place_that_is_said_and_nothing_lost(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "house.json")
    file.path.mkdir()
    meters, said = file.read()
    assert meters == {}
    assert said is not None
    assert "Is a directory" in said
    with pytest.raises(OSError, match=r"house\.json"):
        file.write({"house": HOUSE})
    assert file.path.is_dir()


def test_a_folder_that_may_not_be_written_is_an_error_and_keeps_the_old_state(
    file: StateFile,
) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    file.write({"house": HOUSE})
    file.path.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"house\.json"):
            file.write({})
    finally:
        file.path.parent.chmod(0o700)
    assert file.read() == ({"house": HOUSE}, None)


def test_a_damaged_file_that_cannot_be_set_aside_is_said(file: StateFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(written()[:-5])
    file.path.with_name("house.json.damaged").mkdir()
    meters, said = file.read()
    assert meters == {}
    assert said == f"{file.path} is damaged, and cannot be set aside: Is a directory"


# --- where it is by default -----------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_by_default_it_is_among_the_users_states(home: Path) -> None:
    path = default_path(Path("/etc/obisgate/config.yaml"))
    assert path.parent == home / ".local" / "state" / "obisgate"
    assert path.suffix == ".json"


def test_the_desktops_own_place_for_states_goes_before(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "states"))
    assert default_path(Path("config.yaml")).parent == home / "states" / "obisgate"


def test_systemds_place_goes_before_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "states"))
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/obisgate")
    assert default_path(Path("config.yaml")) == Path("/var/lib/obisgate/obisgate.json")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two")
    assert default_path(Path("config.yaml")) == Path("/var/lib/one/obisgate.json")


def test_two_configs_have_two_states(home: Path) -> None:
    configs = [
        "/a/config.yaml",
        "/b/config.yaml",
        "/a/b/config.yaml",
        "/a-b/c.yaml",
        "/a/b-c.yaml",
        "/a/b/c.yaml",
    ]
    assert len({default_path(Path(config)) for config in configs}) == len(configs)


def test_one_config_has_one_state_however_it_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.yaml").touch()
    (home / "link.yaml").symlink_to("config.yaml")
    (home / "folder").mkdir()
    monkeypatch.chdir(home)
    names = ["config.yaml", "./config.yaml", "link.yaml", "folder/../config.yaml"]
    assert len({default_path(Path(name)) for name in [*names, home / "config.yaml"]}) == 1


def test_a_config_in_very_deep_folders_has_a_state_that_can_be_written(home: Path) -> None:
    config = Path("/", *30 * ["a folder with a long name"], "config.yaml")
    file = StateFile(default_path(config))
    file.write({"house": HOUSE})
    assert file.read() == ({"house": HOUSE}, None)


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json")
    state.write({"house": Seen(bytes(8), 1, {}, None, None)})
    assert state.path.stat().st_mode & 0o077 == 0


# --- whose it is ----------------------------------------------------------------------------


def test_a_state_has_one_gateway_at_a_time(tmp_path: Path) -> None:
    ours, theirs = StateFile(tmp_path / "s" / "a.json"), StateFile(tmp_path / "s" / "a.json")
    assert ours.claim()
    assert not theirs.claim()
    assert StateFile(tmp_path / "s" / "b.json").claim()
    ours.release()
    assert theirs.claim()


def test_where_no_lock_can_be_made_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert StateFile(tmp_path / "file" / "a.json").claim()
