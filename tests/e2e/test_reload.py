"""A changed config is applied to the running gateway; what stays the same is not disturbed."""

import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import tty
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient, ModbusUdpClient

from gateway.cli.run import TERMINAL_LOOK_S
from gateway.control import ask, socket_path
from gateway.modbus.rtu import sealed
from gateway.simulator import SimulatedMeter

from .conftest import OBISGATE, PATIENCE_S, Client, Line, Running, obisgate

Start = Callable[[str], Running]
Connect = Callable[[int], Client]

EVENING = datetime(2026, 1, 5, 18, tzinfo=UTC)
NO_RESPONSE = 0x0B
ENERGY = 10  # in obis_plain
SIMULATED = "{source: 'simulator:kaifa-ma309m?interval=200ms'}"
PLAIN = "{meter: house, map: obis_plain}"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where `start` writes the config."""
    return tmp_path / "config.yaml"


@pytest.fixture
def port() -> int:
    """A port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listening(port: int, units: str = f"units: {{1: {PLAIN}}}", meters: str = "") -> str:
    return (
        f"meters:\n  house: {SIMULATED}\n{meters}"
        f"listeners:\n  - tcp: 127.0.0.1:{port}\n    {units}\n"
    )


def on(line: Line, port: int, options: str, query: str = "?parity=none") -> str:
    return (
        f"meters:\n  house: {{source: 'serial:{line.device}{query}', {options}}}\n"
        f"listeners:\n  - tcp: 127.0.0.1:{port}\n    units: {{1: {PLAIN}}}\n"
    )


def reload(config: Path, text: str) -> list[str]:
    """Change the config and let it be applied; return the changes."""
    config.write_text(text)
    done = obisgate("reload", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(config: Path, text: str) -> str:
    """Change the config; return why it is not applied."""
    config.write_text(text)
    done = obisgate("reload", str(config))
    assert (done.returncode, done.stdout) == (1, "")
    reason, _, rest = done.stderr.partition("\n")
    assert rest == "not reloaded, the old config stays\n"
    return reason


def status(config: Path) -> dict[str, Any]:
    return ask(socket_path(config), {"ask": "status"})


def is_sent_away(client: Client) -> bool:
    """Wait until the gateway has closed it."""
    try:
        return client.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def energy(client: Client) -> int:
    (found,) = struct.unpack(">I", client.read(1, ENERGY, 2))
    return int(found)


def live(client: Client) -> None:
    """Wait for the first values."""
    until = time.monotonic() + PATIENCE_S
    while client.exception(1, ENERGY, 2) is not None:
        assert time.monotonic() < until
        time.sleep(0.02)


# --- what stays ------------------------------------------------------------------------------


def test_an_unchanged_config_changes_nothing(config: Path, start: Start, port: int) -> None:
    start(listening(port))
    assert reload(config, listening(port)) == ["nothing changed"]
    rewritten = "# a comment\n" + listening(port).replace("obis_plain", "'obis_plain'")
    assert reload(config, rewritten) == ["nothing changed"], "it is compared by what it means"


def test_another_place_of_the_state_is_told(config: Path, start: Start, port: int) -> None:
    start(listening(port))
    other = config.parent / "other.json"
    assert reload(config, f"state: {other}\n" + listening(port)) == [f"state {other}"]


def test_clients_stay_connected_while_meters_units_and_listeners_come(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    raw = connect(port)
    live(raw)
    before = status(config)["meters"]["house"]["telegrams"]
    with ModbusTcpClient("127.0.0.1", port=port) as client:
        assert len(client.read_holding_registers(ENERGY, count=2, device_id=1).registers) == 2
        ours = client.socket.getsockname()
        changed = listening(
            port,
            f"units: {{1: {PLAIN}, 2: {{meter: flat, map: obis_plain}}}}\n"
            f"  - udp: 127.0.0.1:0\n    any: {PLAIN}",
            f"  flat: {SIMULATED}\n",
        )
        changes = reload(config, changed)
        assert changes[:2] == [
            "meter flat: new",
            f"listener 127.0.0.1:{port}: unit 2 added, meter flat as obis_plain",
        ]
        assert re.fullmatch(r"listener 127\.0\.0\.1:\d+: new", changes[2])
        assert len(client.read_holding_registers(ENERGY, count=2, device_id=1).registers) == 2
        assert client.socket.getsockname() == ours, "on the connection that it had"
    energy(raw)
    until = time.monotonic() + PATIENCE_S
    while raw.exception(2, ENERGY, 2) is not None:
        assert time.monotonic() < until, "the new meter is never live"
    meters = status(config)["meters"]
    assert meters["house"]["telegrams"] >= before > 0, "it goes on counting"
    assert "reloaded: meter flat: new; listener" in running.message("reloaded")
    running.stop()


def test_a_hold_time_changes_and_the_values_stay(
    config: Path, start: Start, connect: Connect, line: Line, port: int, key: str
) -> None:
    meter = SimulatedMeter("kaifa-ma309m", bytes.fromhex(key), seed=3, start=EVENING)
    running = start(on(line, port, "key: env:TEST_KEY, hold: 5min"))
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    client = connect(port)
    served = energy(client)
    assert reload(config, on(line, port, "key: env:TEST_KEY, hold: 4min")) == [
        "meter house: hold 240 s"
    ]
    assert energy(client) == served
    assert reload(config, on(line, port, "key: env:TEST_KEY, hold: 100ms")) == [
        "meter house: hold 0.1 s"
    ]
    assert "no good telegram for 0.1 s" in running.message("no good telegram")
    assert client.exception(1, ENERGY, 2) == NO_RESPONSE
    running.stop()


def test_a_meter_goes_on_although_what_units_make_of_it_changes(
    config: Path, start: Start, connect: Connect, line: Line, port: int, key: str
) -> None:
    meter = SimulatedMeter("kaifa-ma309m", bytes.fromhex(key), seed=3, start=EVENING)
    running = start(on(line, port, "key: env:TEST_KEY, hold: 5min"))
    running.message("is open")
    line.write(meter.push().telegram)
    running.telegram()
    client = connect(port)
    served = energy(client)
    text = on(line, port, "key: env:TEST_KEY, hold: 5min, phases: [L2, L3, L1]")
    adjusted = "obis_plain, adjust: {energy_active_import_total: {offset: 1000}}}"
    assert reload(config, text.replace("obis_plain}", adjusted)) == [
        "meter house: phases L2, L3, L1",
        f"listener 127.0.0.1:{port}: unit 1 is adjusted otherwise",
    ]
    assert energy(client) == served + 1000, "at once, from the telegram that was there"
    running.stop()


# --- what changes ----------------------------------------------------------------------------


def test_a_meter_with_another_key_waits_for_a_telegram_of_its_own(
    config: Path, start: Start, connect: Connect, line: Line, port: int, key: str
) -> None:
    secret = config.with_name("house.key")
    secret.write_text(key)
    secret.chmod(0o600)
    running = start(on(line, port, "key: file:house.key, hold: 5min"))
    running.message("is open")
    meter = SimulatedMeter("kaifa-ma309m", bytes.fromhex(key), seed=3, start=EVENING)
    line.write(meter.push().telegram)
    running.telegram()
    client = connect(port)
    energy(client)
    new = "00112233445566778899AABBCCDDEEFF"
    secret.write_text(new)
    assert reload(config, config.read_text()) == ["meter house: new key"], "read anew"
    assert client.exception(1, ENERGY, 2) == NO_RESPONSE, "the old values are another meter's"
    running.message("is open")
    assert not [each for each in running.seen if "in use" in each.get("message", "")]
    other = SimulatedMeter("kaifa-ma309m", bytes.fromhex(new), seed=4, start=EVENING)
    # It is another meter, or the same with a new counter: three telegrams must say so.
    pushes = [other.push() for _ in range(3)]
    for push in pushes:
        line.write(push.telegram)
    running.telegram()
    assert energy(client) == pushes[-1].readings["1-0:1.8.0.255"][0]
    shown = json.dumps(status(config)) + json.dumps(running.seen)
    assert key not in shown
    assert new not in shown
    running.stop()


def test_a_port_with_another_setting_is_opened_again(
    config: Path, start: Start, line: Line, port: int
) -> None:
    running = start(on(line, port, "key: env:TEST_KEY"))
    running.message("is open")
    faster = on(line, port, "key: env:TEST_KEY", "?baud=9600&parity=none")
    assert reload(config, faster) == [
        f"meter house: new source, serial port {line.device}, 9600 baud 8N1"
    ]
    assert "9600 baud 8N1 is open" in running.message("is open")
    assert not [each for each in running.seen if "in use" in each.get("message", "")]
    running.stop()


def test_what_is_removed_is_served_no_more_and_its_clients_are_cut(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    units = f"units: {{1: {PLAIN}, 2: {{meter: flat, map: obis_plain}}}}\n  - tcp: 127.0.0.1:0\n"
    running = start(listening(port, f"{units}    any: {PLAIN}", f"  flat: {SIMULATED}\n"))
    other = running.until(lambda event: event["event"] == "listener")["port"]
    staying, leaving = connect(port), connect(other)
    live(staying)
    assert leaving.read(9, 0, 2)
    assert reload(config, listening(port)) == [
        "meter flat: removed",
        f"listener 127.0.0.1:{other}: removed",
        f"listener 127.0.0.1:{port}: unit 2 removed",
    ]
    assert is_sent_away(leaving)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other), timeout=PATIENCE_S)
    assert staying.exception(2, ENERGY, 2) == NO_RESPONSE
    energy(staying)
    assert list(status(config)["meters"]) == ["house"]
    running.stop()


def test_who_may_not_connect_any_more_is_cut_and_who_may_stays(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    allowed = listening(port, f"allow: [127.0.0.0/8]\n    units: {{1: {PLAIN}}}")
    assert reload(config, allowed) == [f"listener 127.0.0.1:{port}: new allow"]
    energy(client)
    reload(config, allowed.replace("127.0.0.0/8", "192.0.2.0/24"))
    assert is_sent_away(client)
    assert is_sent_away(connect(port))
    assert "127.0.0.1 may not connect" in running.message("may not connect")
    (listener,) = status(config)["listeners"]
    assert listener["complaints"] == {"not named by 'allow'": 2}
    reload(config, listening(port))
    energy(connect(port))
    running.stop()


def test_limits_hold_for_clients_that_were_there_before(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    limited = listening(port, f"limits: {{idle: 1s}}\n    units: {{1: {PLAIN}}}")
    assert reload(config, limited) == [f"listener 127.0.0.1:{port}: new limits"]
    assert is_sent_away(client)
    assert "asked nothing for 1 s" in running.message("asked nothing")
    running.stop()


def test_an_edited_map_is_served_at_once(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    folder = config.with_name("maps")
    folder.mkdir()
    own = folder / "own.yaml"
    line = "registers:\n  - {address: 0, value: 7, type: uint16}\n"
    own.write_text("name: own\ntables: [holding]\n" + line)
    text = "maps: maps\n" + listening(port, "units: {1: {meter: house, map: own}}")
    running = start(text)
    client = connect(port)
    assert client.read(1, 0, 1) == b"\0\7"
    own.write_text("name: own\ntables: [holding]\n" + line.replace("7", "8"))
    assert reload(config, text) == [f"listener 127.0.0.1:{port}: unit 1 has another map own"]
    assert client.read(1, 0, 1) == b"\0\10"
    running.stop()


@pytest.mark.parametrize("changed", ["tcp: 0.0.0.0", "rtu_over_tcp: 127.0.0.1"])
def test_a_listener_takes_over_the_port_of_another(
    changed: str, config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    changes = reload(config, listening(port).replace("tcp: 127.0.0.1", changed))
    host = changed.split()[1]
    assert changes == [f"listener 127.0.0.1:{port}: removed", f"listener {host}:{port}: new"]
    assert is_sent_away(client)
    connect(port)
    running.stop()


TLS = """
    certificate: tls/server.crt
    key: tls/server.key
    clients_ca: tls/ca.crt
"""


def test_tls_clients_stay_until_other_roles_count(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    folder = config.with_name("tls")
    assert obisgate("tls", "init", str(folder)).returncode == 0
    trust = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    trust.load_cert_chain(folder / "client.crt", folder / "client.key")

    def client() -> Client:
        found = connect(port)
        found.socket = trust.wrap_socket(found.socket, server_hostname="localhost")
        return found

    text = listening(port).replace("tcp:", "tls:").replace("    units", f"{TLS[1:]}    units")
    running = start(text)
    old = client()
    live(old)
    more = text.replace("units: {", "units: {2: {meter: house, map: obis_plain}, ")
    assert reload(config, more) == [
        f"listener 127.0.0.1:{port}: unit 2 added, meter house as obis_plain"
    ]
    assert old.read(2, 0, 2), "on the connection that it had"
    reason = refused(config, more.replace("ca.crt", "cb.crt"))
    assert reason.startswith(f"{config}:7:17: ")
    assert "cb.crt does not exist" in reason
    assert old.read(2, 0, 2)
    changed = more.replace("    units", "    roles: [installer]\n    units")
    assert reload(config, changed) == [f"listener 127.0.0.1:{port}: roles installer"]
    assert is_sent_away(old)
    assert is_sent_away(client())
    running.message("it has the role 'reader', which 'roles' does not name")
    for name in ("server.crt", "server.key"):
        (folder / name).rename(folder / f"new-{name}")
    moved = more.replace("tls/server", "tls/new-server")
    assert reload(config, moved) == [
        f"listener 127.0.0.1:{port}: new certificate files",
        f"listener 127.0.0.1:{port}: roles reader",
    ]
    assert client().read(2, 0, 2)
    running.stop()


def ask_on(bus: int, unit: int) -> bytes:
    """Read the first two registers as a client on a line does; return the words."""
    request = sealed(struct.pack(">BBHH", unit, 3, 0, 2))
    os.write(bus, request)
    reply = b""
    while len(reply) < 9:
        assert select.select([bus], [], [], PATIENCE_S)[0], "no reply"
        reply += os.read(bus, 9 - len(reply))
    assert reply[:3] == bytes((unit, 3, 4))
    return reply[3:7]


def test_a_serial_line_and_a_datagram_port_get_other_units_too(
    config: Path, start: Start, line: Line, port: int
) -> None:
    tty.setraw(line.master)
    text = (
        f"meters:\n  house: {SIMULATED}\nlisteners:\n"
        f"  - udp: 127.0.0.1:{port}\n    units: {{1: {PLAIN}}}\n"
        f"  - serial: {line.device}\n    units: {{1: {PLAIN}}}\n"
    )
    running = start(text)
    ask_on(line.master, 1)
    with ModbusUdpClient("127.0.0.1", port=port) as client:
        assert client.read_holding_registers(0, count=2, device_id=1).registers
        assert reload(config, text.replace("{1:", "{2:")) == [
            f"listener {name}: unit {change}"
            for name in (f"127.0.0.1:{port}", line.device)
            for change in ("1 removed", "2 added, meter house as obis_plain")
        ]
        assert client.read_holding_registers(0, count=2, device_id=2).registers
        assert client.read_holding_registers(0, count=2, device_id=1).isError()
    ask_on(line.master, 2)
    faster = text.replace("    units: {1", "    baud: 19200\n    units: {1").replace(
        "    baud: 19200\n", "", 1
    )
    assert reload(config, faster)[:2] == [
        f"listener {line.device}: removed",
        f"listener 127.0.0.1:{port}: unit 2 removed",
    ]
    assert "19200 baud 8N1 is open" in running.message("is open")
    ask_on(line.master, 1)
    running.stop()


def test_what_came_and_went_leaves_nothing_open_and_a_client_that_polls_is_always_answered(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    more = listening(
        port,
        f"units: {{1: {PLAIN}}}\n  - tcp: 127.0.0.1:0\n    any: {PLAIN}"
        f"\n  - udp: 127.0.0.1:0\n    any: {{meter: flat, map: obis_plain}}",
        f"  flat: {SIMULATED}\n",
    )
    descriptors = Path(f"/proc/{running.process.pid}/fd")
    counts = []
    for _ in range(5):
        for text in (more, listening(port)):
            config.write_text(text)
            energy(client)
            assert ask(socket_path(config), {"ask": "reload"})["reloaded"]
            energy(client)
        counts.append(len(list(descriptors.iterdir())))
    assert counts[-1] <= counts[0] + 1, "one may be the last question's, not yet closed"
    running.stop()


def test_a_sum_is_read_without_a_gap_while_other_meters_are_made_anew(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    def text(seed: int) -> str:
        meters = "  annex: {source: 'simulator:kaifa-ma309m?interval=200ms'}\n"
        meters += f"  other: {{source: 'simulator:honeywell?seed={seed}'}}\n"
        meters += "  site: {sum: [house, annex]}\n"
        return listening(port, "units: {1: {meter: site, map: obis_plain}}", meters)

    start(text(0))
    client = connect(port)
    live(client)
    shown: list[bytes] = []
    is_over = threading.Event()

    def poll() -> None:
        while not is_over.is_set():
            shown.append(client.request(1, struct.pack(">BHH", 3, ENERGY, 2)))

    polling = threading.Thread(target=poll)
    polling.start()
    for seed in range(1, 11):
        config.write_text(text(seed))
        assert ask(socket_path(config), {"ask": "reload"})["changes"]
    is_over.set()
    polling.join(PATIENCE_S)
    assert {reply[0] for reply in shown} == {3}, "no exception"
    assert b"\xff\xff\xff\xff" not in {reply[2:] for reply in shown}, "it is always available"


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("is_signal", [True, False])
def test_a_bad_config_is_refused_with_its_line_and_the_old_one_stays(
    is_signal: bool, config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    bad = listening(port).replace("obis_plain", "obis_plan")
    place = f"{config}:5:36: unknown map 'obis_plan', did you mean 'obis_plain'?"
    if is_signal:
        config.write_text(bad)
        running.process.send_signal(signal.SIGHUP)
    else:
        assert refused(config, bad) == place
    said = running.message("not reloaded")
    assert said == f"not reloaded, the old config stays: {place}"
    energy(client)
    assert reload(config, listening(port)) == ["nothing changed"]
    running.stop()


def test_a_port_that_cannot_be_opened_leaves_all_as_it_was(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        # The listener that stays gets another map, one comes, one leaves its port, one fails.
        text = listening(
            port, f"any: {PLAIN}\n  - tcp: 127.0.0.1:{taken}\n    any: {PLAIN}"
        ).replace(f"127.0.0.1:{port}", f"0.0.0.0:{port}")
        reason = refused(config, text)
        assert reason.startswith(f"{config}:6:10: 127.0.0.1:{taken} is in use by another program")
        energy(client)
        energy(connect(port))
        assert client.exception(9, ENERGY, 2) == NO_RESPONSE
    reload(config, text)
    energy(connect(port))
    running.stop()


def test_a_meter_that_is_gone_and_still_shown_is_refused(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    reason = refused(config, listening(port).replace("  house:", "  hous:"))
    assert "unknown meter 'house'" in reason
    running.stop()


# --- who asks, and how -----------------------------------------------------------------------


def test_sighup_applies_a_changed_config(
    config: Path, start: Start, connect: Connect, port: int
) -> None:
    running = start(listening(port))
    client = connect(port)
    live(client)
    config.write_text(listening(port, f"any: {PLAIN}"))
    running.process.send_signal(signal.SIGHUP)
    assert "unit 1 removed" in running.message("reloaded")
    assert client.read(200, 0, 2)
    running.stop()


def test_a_closed_terminal_stops_it(config: Path, port: int) -> None:
    config.write_text(listening(port))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(OBISGATE, [str(OBISGATE), "run", str(config)])
    shown = b""
    while b"Ctrl-C stops." not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    assert not socket_path(config).exists()


def test_one_whose_terminal_is_long_gone_is_reloaded_by_the_same_signal(
    config: Path, port: int
) -> None:
    config.write_text(listening(port))
    # Not its controlling terminal: like a shell's background job that was disowned.
    theirs, ours = os.openpty()
    running = subprocess.Popen(
        [OBISGATE, "run", config, "--log-format", "json"],
        stdin=ours,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.close(ours)
    assert running.stdout
    try:
        while '"listener"' not in running.stdout.readline():
            pass
        os.close(theirs)
        time.sleep(2 * TERMINAL_LOOK_S)  # what it waits for tells nobody
        running.send_signal(signal.SIGHUP)
        assert any("reloaded: nothing changed" in line for line in running.stdout)
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def test_without_a_gateway_it_says_how_to_start_one(config: Path, port: int) -> None:
    config.write_text(listening(port))
    done = obisgate("reload", str(config))
    assert done.returncode == 2
    assert re.fullmatch(
        r"obisgate: no gateway runs here .*: obisgate run starts it; .* that user\n", done.stderr
    )


@pytest.mark.parametrize("command", ["reload", "health"])
def test_of_a_config_that_is_not_there_that_is_said(command: str, tmp_path: Path) -> None:
    done = obisgate(command, str(tmp_path / "typo.yaml"))
    assert done.returncode == 2
    where = tmp_path / "typo.yaml"
    said = f"obisgate: {where} is not there: name the config that the gateway was started with\n"
    assert done.stderr == said


def test_a_second_gateway_with_the_same_config_is_refused(
    config: Path, start: Start, port: int
) -> None:
    running = start(listening(0))
    done = obisgate("run", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"is already running, pid {running.process.pid}: stop it first" in done.stderr
    assert reload(config, listening(0)) == ["nothing changed"]
    running.stop()


def test_a_killed_gateway_leaves_room_for_the_next(config: Path, start: Start, port: int) -> None:
    killed = start(listening(port))
    killed.process.kill()
    killed.process.communicate()
    assert socket_path(config).exists()
    running = start(listening(port))
    assert status(config)["pid"] == running.process.pid
    running.stop()
    assert not socket_path(config).exists()


def test_a_control_socket_that_cannot_be_opened_keeps_nobody_from_values(
    config: Path, start: Start, connect: Connect, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/dev/null")
    running = start(listening(port))
    live(connect(port))
    assert [each for each in running.seen if "cannot ask this gateway" in each.get("message", "")]
    running.stop()


def test_the_status_tells_of_meters_listeners_and_clients(
    config: Path, start: Start, connect: Connect, line: Line, port: int, key: str
) -> None:
    running = start(on(line, port, "key: env:TEST_KEY, hold: 5min"))
    running.message("is open")
    meter = SimulatedMeter("kaifa-ma309m", bytes.fromhex(key), seed=3, start=EVENING)
    push = meter.push()
    line.write(push.telegram)
    running.telegram()
    line.write(bytes(300))
    running.message("frame fault")
    client = connect(port)
    energy(client)
    assert client.exception(1, 9999, 1) == 2
    found = status(config)
    assert found.keys() == {
        "version",
        "config",
        "pid",
        "uptime_s",
        "meters",
        "virtual_meters",
        "listeners",
    }
    assert (found["config"], found["pid"]) == (str(config), running.process.pid)
    house = found["meters"]["house"]
    assert house["source"] == f"serial port {line.device}, 2400 baud 8N1"
    assert (house["open"], house["trouble"]) == (True, None)
    assert (house["bytes"], house["damaged"]) == (len(push.telegram) + 300, 0)
    assert 0 <= house["last_byte_age_s"] <= house["age_s"] < 60
    assert (house["state"], house["hold_s"]) == ("live", 300)
    assert (house["telegrams"], house["held"], house["faults"]) == (1, 0, {"frame": 1})
    assert house["last_fault"].keys() == {"layer", "reason", "offset", "age_s"}
    assert house["last_fault"]["layer"] == "frame"
    assert house["invocation_counter"] == push.invocation_counter
    assert house["system_title"] == meter.system_title.hex().upper()
    assert house["diagnosis"] is None
    (listener,) = found["listeners"]
    assert listener["where"] == f"{config}:4:10"
    assert (listener["transport"], listener["host"], listener["port"]) == ("tcp", "127.0.0.1", port)
    assert listener["units"] == {"1": {"meter": "house", "map": "obis_plain"}}
    (asking,) = listener["clients"]
    assert (asking["address"], asking["unit"], asking["connections"]) == ("127.0.0.1", 1, 1)
    assert (asking["requests"], asking["exceptions"]) == (2, {"2": 1})
    assert 0 <= asking["last_request_age_s"] <= asking["connected_s"] < 60
    assert {"function": 3, "first": ENERGY, "count": 2, "times": 1} in asking["ranges"]
    assert key not in json.dumps(found)
    running.stop()


def test_the_status_of_an_absent_device_says_why(
    config: Path, start: Start, port: int, tmp_path: Path
) -> None:
    text = (
        f"meters:\n  house: {{source: 'serial:{tmp_path}/none', key: env:TEST_KEY}}\n"
        f"listeners:\n  - tcp: 127.0.0.1:{port}\n    units: {{1: {PLAIN}}}\n"
    )
    running = start(text)
    running.message("does not exist")
    house = status(config)["meters"]["house"]
    assert house["open"] is False
    assert "is the adapter plugged in?" in house["trouble"]
    assert (house["state"], house["age_s"], house["last_byte_age_s"]) == ("waiting", None, None)
    running.stop()


def test_obisgate_reload_help_shows_an_example() -> None:
    done = subprocess.run(
        [OBISGATE, "reload", "--help"], capture_output=True, text=True, check=True
    )
    assert "obisgate reload config.yaml" in done.stdout
