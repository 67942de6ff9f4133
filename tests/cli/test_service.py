"""obisgate service: what it shows, what it installs into a folder, and what it refuses."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.systemd.takeover import HOMES, TEMPORARY

OBISGATE = Path(sys.executable).with_name("obisgate")
PATIENCE_S = 60.0
KEY = "0F1E2D3C4B5A69788796A5B4C3D2E1F0"
MOST_EXPOSED = "20"  # in tenths; systemd calls up to 4.9 "OK", a unit without a word has 9.6

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd is missing: sudo apt-get install systemd",
)

SIMULATED = """\
meters:
  house:
    source: simulator:kaifa-ma309m
listeners:
  - tcp: 0.0.0.0:5020
    units: {1: {meter: house, map: sunspec_213}}
"""
SERIAL = """\
# the house
meters:
  house:
    source: serial:/dev/ttyUSB0   # the adapter
    key: file:house.key           # of the operator
    auth_key: "file:keys/auth key"
listeners:
  - tcp: 0.0.0.0:502
    units: {1: {meter: house, map: sunspec_213}}
"""

Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where another system's files are."""
    folder = tmp_path / "system"
    folder.mkdir()
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder of a user who has tried the gateway out."""
    folder = tmp_path / "mine"
    (folder / "keys").mkdir(parents=True)
    for name in ("house.key", "keys/auth key"):
        (folder / name).write_text(f"{KEY}\n")
        (folder / name).chmod(0o600)
    return folder


def service(*words: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
    return subprocess.run(
        [OBISGATE, "service", *words],
        text=True, capture_output=True, check=False, timeout=PATIENCE_S,
        **{"env": environment, "stdin": subprocess.DEVNULL} | settings,
    )  # fmt: skip


def with_config(mine: Path, text: str) -> Path:
    (mine / "config.yaml").write_text(text)
    return mine / "config.yaml"


def unit_of(mine: Path, text: str, root: Path) -> str:
    done = service("install", "--config", with_config(mine, text), "--root", root, "--dry-run")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.partition("\n\n")[2].partition("\nSteps:")[0]
    return "".join(f"{line.removeprefix('  ')}\n" for line in shown.splitlines())


# --- what is installed ------------------------------------------------------------------------


@needs_systemd
def test_a_config_is_installed_with_its_keys_for_root_alone(mine: Path, root: Path) -> None:
    config = with_config(mine, SERIAL)
    done = service("install", "--config", config, "--root", root, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert KEY not in done.stdout
    installed = root / "etc" / "obisgate"
    assert (installed / "config.yaml").read_text() == (
        SERIAL.replace("file:house.key", "credential:house.key").replace(
            '"file:keys/auth key"', "credential:house.auth_key"
        )
    )
    for name in ("house.key", "house.auth_key"):
        key = installed / "keys" / name
        assert key.read_text() == f"{KEY}\n"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((installed / "keys").stat().st_mode) == 0o700
    unit = (root / "etc/systemd/system/obisgate.service").read_text()
    assert "LoadCredential=house.key:/etc/obisgate/keys/house.key\n" in unit
    assert (root / "etc/systemd/system/multi-user.target.wants/obisgate.service").is_symlink()
    assert re.search("^obisgate:.*nologin$", (root / "etc/passwd").read_text(), re.MULTILINE)
    assert config.read_text() == SERIAL, "the user's own stays as it is"


@needs_systemd
def test_installing_again_keeps_the_config_and_renews_the_unit(mine: Path, root: Path) -> None:
    config = with_config(mine, SERIAL)
    assert service("install", "--config", config, "--root", root, "--yes").returncode == 0
    there, unit = (
        root / each for each in ("etc/obisgate/config.yaml", "etc/systemd/system/obisgate.service")
    )
    text = there.read_text().replace(":502", ":5020")
    there.write_text(text)
    done = service("install", "--root", root, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert there.read_text() == text
    assert "CapabilityBoundingSet=\n" in unit.read_text()
    assert "LoadCredential=house.key:" in unit.read_text()


@needs_systemd
def test_uninstalling_takes_the_unit_and_leaves_config_and_keys(mine: Path, root: Path) -> None:
    config = with_config(mine, SERIAL)
    assert service("install", "--config", config, "--root", root, "--yes").returncode == 0
    done = service("uninstall", "--root", root, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert not list((root / "etc/systemd/system").rglob("obisgate.service"))
    assert (root / "etc/obisgate/keys/house.key").exists()
    done = service("uninstall", "--root", root, "--yes")
    assert done.returncode == 2
    assert "the service is not installed" in done.stderr


@needs_systemd
@pytest.mark.parametrize("text", [SIMULATED, SERIAL], ids=["simulated", "serial"])
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(
    text: str, mine: Path, root: Path
) -> None:
    unit = root / "obisgate.service"
    unit.write_text(unit_of(mine, text, root))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        text=True, capture_output=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    ours = [line for line in verified.stderr.splitlines() if "obisgate" in line]
    assert (verified.returncode, ours) == (0, [])
    judged = subprocess.run(
        [
            "systemd-analyze", "security", "--no-pager", "--offline=true",
            f"--threshold={MOST_EXPOSED}", unit,
        ],
        text=True, capture_output=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Overall exposure level" in judged.stdout


def test_without_devices_and_low_ports_the_unit_has_no_right_to_any(mine: Path, root: Path) -> None:
    unit = unit_of(mine, SIMULATED, root).splitlines()
    for line in (
        "PrivateDevices=yes",
        "PrivateUsers=yes",
        "CapabilityBoundingSet=",
        "User=obisgate",
    ):
        assert line in unit
    assert not [line for line in unit if line.startswith(("DeviceAllow", "LoadCred", "Supplem"))]


@pytest.mark.parametrize(
    ("device", "classes"),
    [
        ("/dev/ttyACM3", ["ttyACM"]),
        ("/dev/ttyAMA0", ["ttyAMA"]),
        ("/dev/serial/by-id/usb-not-plugged-in", ["ttyACM", "ttyUSB"]),
    ],
)
def test_serial_devices_are_allowed_by_class_so_that_they_may_be_replugged(
    device: str, classes: list[str], mine: Path, root: Path
) -> None:
    unit = unit_of(mine, SERIAL.replace("/dev/ttyUSB0", device), root).splitlines()
    allowed = [line for line in unit if line.startswith("DeviceAllow=")]
    assert allowed == [f"DeviceAllow=char-{name} rw" for name in classes]
    assert "DevicePolicy=closed" in unit
    modules = {"ttyUSB": "modprobe@usbserial.service", "ttyACM": "modprobe@cdc_acm.service"}
    wanted = " ".join(modules[name] for name in classes if name in modules)
    assert [line for line in unit if line.startswith("Wants=")] == [f"Wants={wanted}"] * bool(
        wanted
    )


@pytest.mark.parametrize(("port", "capability"), [(502, "CAP_NET_BIND_SERVICE"), (1024, "")])
def test_only_a_port_below_1024_needs_a_capability(
    port: int, capability: str, mine: Path, root: Path
) -> None:
    unit = unit_of(mine, SIMULATED.replace("5020", str(port)), root).splitlines()
    assert f"AmbientCapabilities={capability}" in unit
    assert f"CapabilityBoundingSet={capability}" in unit


@pytest.mark.parametrize(
    ("source", "capability"),
    [
        ("udp://0.0.0.0:900", "CAP_NET_BIND_SERVICE"),
        ("tcp-listen://0.0.0.0:1023", "CAP_NET_BIND_SERVICE"),
        ("udp://0.0.0.0:2400", ""),
        ("tcp://192.168.1.20:23", ""),
    ],
)
def test_a_low_port_on_which_a_meter_is_awaited_needs_it_as_well(
    source: str, capability: str, mine: Path, root: Path
) -> None:
    text = SERIAL.replace("serial:/dev/ttyUSB0", source).replace(":502", ":5020")
    unit = unit_of(mine, text, root).splitlines()
    assert f"AmbientCapabilities={capability}" in unit
    assert f"PrivateUsers={'no' if capability else 'yes'}" in unit


def test_limits_of_the_config_are_given_their_memory_and_descriptors(
    mine: Path, root: Path
) -> None:
    limited = SIMULATED.replace("5020\n", "5020\n    limits: {connections: 2000}\n")
    unit = unit_of(mine, limited, root).splitlines()
    assert "LimitNOFILE=2268" in unit
    assert "MemoryMax=378M" in unit


# --- what is asked and refused ----------------------------------------------------------------


def test_a_dry_run_does_nothing(mine: Path, root: Path) -> None:
    done = service("install", "--config", with_config(mine, SERIAL), "--root", root, "--dry-run")
    assert done.returncode == 0
    assert f"copy {mine}/house.key to /etc/obisgate/keys/house.key" in done.stdout
    assert done.stdout.endswith("Nothing was done (--dry-run).\n")
    assert list(root.iterdir()) == []


def test_nobody_to_ask_is_said(mine: Path, root: Path) -> None:
    done = service("install", "--config", with_config(mine, SIMULATED), "--root", root)
    assert done.returncode == 2
    assert done.stderr == "obisgate: there is nobody to ask: --yes does it without asking\n"
    assert list(root.iterdir()) == []


def test_a_no_is_taken_for_a_no(mine: Path, root: Path) -> None:
    master, slave = os.openpty()
    os.write(master, b"\n")
    done = service(
        "install", "--config", with_config(mine, SIMULATED), "--root", root, stdin=slave
    )  # fmt: skip
    os.close(master)
    os.close(slave)
    assert done.returncode == 0
    assert done.stdout.endswith("Do this? [y/N] Nothing was done.\n")
    assert list(root.iterdir()) == []


def test_without_a_config_the_way_to_one_is_said(root: Path) -> None:
    done = service("install", "--root", root)
    assert done.returncode == 2
    assert done.stderr == (
        f"obisgate: {root}/etc/obisgate/config.yaml does not exist: "
        "obisgate service install --config config.yaml makes it of yours\n"
    )


def test_a_config_that_is_there_is_not_overwritten(mine: Path, root: Path) -> None:
    there = root / "etc" / "obisgate" / "config.yaml"
    there.parent.mkdir(parents=True)
    there.write_text(SIMULATED)
    done = service("install", "--config", with_config(mine, SERIAL), "--root", root, "--yes")
    assert done.returncode == 2
    assert done.stderr == (
        f"obisgate: {there} is there already, and is not overwritten: edit it there, and leave out "
        "--config\n"
    )
    assert there.read_text() == SIMULATED


def test_another_key_of_the_same_name_is_not_overwritten(mine: Path, root: Path) -> None:
    there = root / "etc" / "obisgate" / "keys" / "house.key"
    there.parent.mkdir(parents=True)
    there.write_text("00" * 16)
    there.chmod(0o600)
    done = service("install", "--config", with_config(mine, SERIAL), "--root", root, "--yes")
    assert done.returncode == 2
    assert f"config.yaml:5:10: {there} is there already with another key" in done.stderr
    assert there.read_text() == "00" * 16


BAD = {
    "a bad config": ("listeners:", "listners:", "7:1: unknown word 'listners'"),
    "a key in the config": ("file:house.key", KEY, "5:10: a service gets its keys from files"),
    "a state of its own": ("# the house", "state: x.json", "1:8: leave it out: a service keeps"),
    "a recording beside it": (
        "serial:/dev/ttyUSB0", "recording:meter.bin", "4:13: name it by its whole path",
    ),
    "a recording at home": (
        "serial:/dev/ttyUSB0", "recording:/home/me/m.bin", "4:13: /home/me/m.bin is in a home",
    ),
    "a key that has an anchor": (
        "key: file:house.key ", "key: &it file:house.key ", "5:10: write it plainly",
    ),
    "a recording that it could not write": (
        "    key:", "    record: {file: house.rec}\n    key:",
        "5:20: a service writes below /var/lib/obisgate alone: file: /var/lib/obisgate/house.rec",
    ),
    "a recording that only seems to be there": (
        "    key:", "    record: {file: /var/lib/obisgate/../../etc/x.rec}\n    key:",
        "5:20: a service writes below /var/lib/obisgate alone: file: /var/lib/obisgate/x.rec",
    ),
    "a password that is written oddly": (
        "serial:/dev/ttyUSB0",
        "mqtt://broker/topic?user=me&password=file:house%2Ekey",
        "4:13: write the password plainly, for it to be changed: password=file:mqtt.password",
    ),
    "maps beside it": ("# the house", "maps: keys", "1:7: name it by its whole path"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_a_service_could_not_use_is_named_with_its_place(
    case: str, mine: Path, root: Path
) -> None:
    old, new, said = BAD[case]
    config = with_config(mine, SERIAL.replace(old, new))
    done = service("install", "--config", config, "--root", root, "--yes")
    assert done.returncode == 2
    assert done.stderr.startswith(f"obisgate: {config}:{said}")
    assert done.stderr.count("\n") == 1
    assert KEY not in done.stdout + done.stderr
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("is_linked", [False, True])
def test_maps_that_a_service_does_not_see_are_refused(
    is_linked: bool, mine: Path, root: Path
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as hidden:
        # A link from where all is seen.
        named = Path(f"/proc/{os.getpid()}/root{hidden}" if is_linked else hidden)
        config = with_config(mine, SERIAL.replace("# the house", f"maps: {named}"))
        done = service("install", "--config", config, "--root", root, "--yes")
    assert done.returncode == 2
    leads = f", which is {hidden}," if is_linked else ""
    assert done.stderr == (
        f"obisgate: {config}:1:7: {named}{leads} is in a folder of temporary files; "
        "a service does not see it: move it to /etc/obisgate\n"
    )


@needs_systemd
def test_a_brokers_password_becomes_a_credential_as_a_key_does(mine: Path, root: Path) -> None:
    (mine / "mqtt.password").touch(mode=0o600)
    (mine / "mqtt.password").write_text("geheim\n")
    source = "mqtt://127.0.0.1/meter/raw?user=me&password=file:mqtt.password&silence=30s"
    text = SERIAL.replace("serial:/dev/ttyUSB0", source)
    done = service(
        "install", "--config", with_config(mine, text), "--root", root, "--yes"
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "geheim" not in done.stdout
    there = root / "etc" / "obisgate"
    assert f"source: {source.replace('file:', 'credential:')} " in (
        (there / "config.yaml").read_text()
    )
    password = there / "keys" / "mqtt.password"
    assert password.read_text() == "geheim\n"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    unit = root / "etc/systemd/system/obisgate.service"
    line = "LoadCredential=mqtt.password:/etc/obisgate/keys/mqtt.password\n"
    assert line in unit.read_text()
    unit.unlink()
    assert service("install", "--root", root, "--yes").returncode == 0
    assert line in unit.read_text(), "the config that is there is read in the same way"


@needs_systemd
def test_a_key_that_several_meters_name_by_an_alias_is_changed_once(mine: Path, root: Path) -> None:
    (mine / "auth key").touch(mode=0o600)
    (mine / "auth key").write_text(f"{KEY}\n")
    text = """\
meters:
  house: &like
    source: simulator:kaifa-ma309m
    key: "file:auth key"
  annex: *like
listeners:
  - tcp: 127.0.0.1:5020
    units: {1: {meter: house, map: sunspec_213}}
"""
    done = service("install", "--config", with_config(mine, text), "--root", root, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    there = root / "etc" / "obisgate"
    assert (there / "config.yaml").read_text() == (
        text.replace('"file:auth key"', "credential:house.key")
    )
    assert [each.name for each in (there / "keys").iterdir()] == ["house.key"]


def test_another_password_of_the_same_name_is_not_overwritten(mine: Path, root: Path) -> None:
    there = root / "etc" / "obisgate" / "keys" / "mqtt.password"
    there.parent.mkdir(parents=True)
    for path, password in ((mine / "mqtt.password", "geheim"), (there, "noch geheimer")):
        path.touch(mode=0o600)
        path.write_text(f"{password}\n")
    source = "mqtt://127.0.0.1/raw?user=me&password=file:mqtt.password"
    config = with_config(mine, SERIAL.replace("serial:/dev/ttyUSB0", source))
    done = service("install", "--config", config.name, "--root", root, "--yes", cwd=mine)
    assert done.returncode == 2
    assert done.stderr == (
        f"obisgate: config.yaml:4:13: {there} is there already with another password: "
        "move it away\n"
    )
    assert there.read_text() == "noch geheimer\n"


def test_a_password_file_of_an_installed_config_is_refused(mine: Path, root: Path) -> None:
    there = root / "etc" / "obisgate"
    shutil.copytree(mine, there)
    (there / "house.password").touch(mode=0o600)
    (there / "house.password").write_text("geheim\n")
    (there / "keys").chmod(0o700)
    (there / "keys" / "house.key").touch(mode=0o600)
    (there / "keys" / "house.key").write_text(KEY)
    (there / "config.yaml").write_text(
        SERIAL.replace(
            "serial:/dev/ttyUSB0", "mqtt://127.0.0.1/raw?user=me&password=file:house.password"
        )
        .replace("file:house.key", "credential:house.key")
        .replace('"file:keys/auth key"', "credential:house.key")
    )
    done = service("install", "--root", root, "--yes")
    assert done.returncode == 2
    assert "config.yaml:4:13: a service gets its passwords from systemd: put this" in done.stderr


@needs_systemd
def test_a_root_may_be_written_with_dots_and_links(mine: Path, root: Path) -> None:
    (mine / "link").symlink_to(root.parent)
    written = mine / "link" / "mine" / ".." / root.name
    config = with_config(mine, SERIAL)
    done = service("install", "--config", config, "--root", written, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "etc/systemd/system/multi-user.target.wants/obisgate.service").is_symlink()


def test_systemds_commands_are_not_told_where_the_keys_are(
    tmp_path: Path, mine: Path, root: Path
) -> None:
    programs, seen = tmp_path / "programs", tmp_path / "seen"
    programs.mkdir()
    for name in ("systemd-sysusers", "systemctl"):
        (programs / name).write_text(f"#!/bin/sh\nenv >>{seen}\n")
        (programs / name).chmod(0o755)
    done = service(
        "install", "--config", with_config(mine, SERIAL), "--root", root, "--yes",
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = seen.read_text()
    assert f"PATH={programs}:" in told
    assert "CREDENTIALS_DIRECTORY" not in told


def test_a_variable_is_no_key_of_a_service(mine: Path, root: Path) -> None:
    config = with_config(mine, SERIAL.replace("file:house.key", "env:HOUSE_KEY"))
    done = service(
        "install", "--config", config, "--root", root, env=os.environ | {"HOUSE_KEY": KEY}
    )  # fmt: skip
    assert done.returncode == 2
    assert "config.yaml:5:10: a service gets its keys from files" in done.stderr


def test_a_file_key_of_an_installed_config_is_refused(mine: Path, root: Path) -> None:
    there = root / "etc" / "obisgate"
    there.mkdir(parents=True)
    shutil.copytree(mine, there, dirs_exist_ok=True)
    (there / "config.yaml").write_text(SERIAL)
    done = service("install", "--root", root, "--yes")
    assert done.returncode == 2
    assert "config.yaml:5:10: a service gets its keys from systemd: put this one" in done.stderr


@pytest.mark.parametrize("user", ["root", "Me", "a b", "x" * 40, "-u"])
def test_a_user_that_no_service_should_have_is_refused(user: str, root: Path) -> None:
    done = service("install", f"--user={user}", "--root", root)
    assert done.returncode == 2
    assert "is no user of a service" in done.stderr


def test_who_is_not_root_is_told_the_line_to_type(mine: Path) -> None:
    if Path("/etc/obisgate").exists():
        pytest.skip("this machine has a config of its own")
    words = ["service", "install", "--config", str(with_config(mine, SIMULATED)), "--yes"]
    command: list[str | Path] = [OBISGATE, *words]
    if os.geteuid() == 0:
        # Nobody, who may read the files of the tests, wherever root has put them.
        reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = ["setpriv", "--reuid=65534", "--clear-groups", *reads, *command]
    done = subprocess.run(
        command, text=True, capture_output=True, check=False, timeout=PATIENCE_S
    )  # fmt: skip
    assert done.returncode == 2
    said = f"obisgate: this needs root: sudo {OBISGATE} {' '.join(words)}\n"
    paths = OBISGATE.resolve(), Path(sys.base_prefix)
    unseen = [p for p in paths if any(p.is_relative_to(each) for each in (*HOMES, *TEMPORARY))]
    if unseen:
        said = f"obisgate: {unseen[0]} is in a "
    assert done.stderr.startswith(said)
