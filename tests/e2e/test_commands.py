"""check, decode, maps and simulate, as they are typed."""

import json
import os
import re
import signal
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording import Began, Chunk, RecordingFile
from gateway.recording.lines import write
from gateway.simulator import MODELS, SimulatedMeter

from .conftest import OBISGATE, PATIENCE_S, obisgate

# As the operators' tables have them; one is cut shorter than a real one, and one has a tag more.
LENGTHS = {
    "kaifa-ma309m": 376,
    "kaifa-ma110m": 300,
    "honeywell": 376,
    "honeywell-document": 99,
    "kaifa-ma309-netznoe": 282,
    "sagemcom-t210d-2020": 282,
    "sagemcom-t210d-2024": 282,
    "iskra-am550-wienernetze": 105,
    "siemens-im350-wienernetze": 125,
    "lg-e450-wienernetze": 105,
    "iskra-am550-kaernten": 121,
    "iskra-am550-segmented": 145,
    "siemens-im350-kaernten": 123,
    "siemens-im350-wels": 114,
    "lg-e450-burgenland": 120,
    "lg-e450-gbt": 332,
    "lg-e570": 634,
}
COMMANDS = (
    "init", "run", "check", "decode", "explain", "maps", "read", "record", "anonymise", "simulate",
    "tls",
)  # fmt: skip
SHIPPED_CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def key_file(tmp_path: Path, key: str) -> str:
    path = tmp_path / "house.key"
    path.write_text(key + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def recorded(tmp_path: Path, key_file: str) -> Path:
    path = tmp_path / "meter.bin"
    arguments = ("--count", "2", "--seed", "5", "--at-once", "--to", str(path))
    done = obisgate("simulate", "kaifa-ma309m", *arguments, "--key-file", key_file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    done = obisgate(command, "--help")
    assert done.returncode == 0
    assert re.search(rf"example:\n +obisgate {command}", done.stdout)


def test_unknown_command_is_a_usage_error() -> None:
    done = obisgate("serve")
    assert done.returncode == 2
    assert "serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_finds_the_shipped_config_good() -> None:
    done = obisgate("check", str(SHIPPED_CONFIG))
    assert (done.returncode, done.stderr) == (0, "")
    assert "good" in done.stdout


def test_check_hints_at_a_map_whose_clients_come_another_way(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    units = "units: {11: {meter: house, map: huawei_dtsu666h}, 1: {meter: house, map: obis_plain}}"
    config.write_text(
        "meters: {house: {source: 'simulator:kaifa-ma309m'}}\n"
        f"listeners:\n  - tcp: 5020\n    {units}\n"
    )
    run = obisgate("check", str(config))
    assert run.returncode == 0
    good, hint = run.stdout.splitlines()
    assert "good" in good
    assert hint.endswith(
        "config.yaml:3:10: unit 11: what reads huawei_dtsu666h comes over rtu, rtu over tcp, "
        "not over tcp"
    )


def test_check_finds_an_absent_device_and_an_error_in_an_unused_map(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.yaml").write_text(
        "name: mine\ntables: [input]\nregisters:\n  - {address: 0, quantity: volts, type: int16}\n"
    )
    config = tmp_path / "config.yaml"
    config.write_text("""
maps: maps
meters: {house: {source: "serial:/dev/no-such-port", key: "env:TEST_KEY"}}
listeners: [{tcp: 5020, any: {meter: house, map: obis_plain}}]
""")
    done = obisgate("check", str(config))
    assert done.returncode == 1
    device, line = done.stderr.splitlines()
    assert device.startswith("meter house: /dev/no-such-port does not exist")
    assert re.match(r".*/mine\.yaml:4:28: unknown quantity 'volts'", line)


@pytest.mark.parametrize("shape", ["binary", "plain hex", "spaced hex", "0x list", "stdin"])
def test_decode_reads_binary_and_every_shape_of_hex(
    shape: str, recorded: Path, key_file: str
) -> None:
    octets = recorded.read_bytes()
    arguments = ["decode", "--format", "json", "--key-file", key_file, str(recorded)]
    options: dict[str, object] = {}
    if shape == "plain hex":
        recorded.write_text(octets.hex())
    elif shape == "spaced hex":
        recorded.write_text(octets.hex(" ", 1).upper().replace("68 FA", "\n68 FA"))
    elif shape == "0x list":
        recorded.write_text(", ".join(f"0x{octet:02x}" for octet in octets))
    elif shape == "stdin":
        arguments.pop()
        options["input"] = octets.hex()
    done = obisgate(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    telegrams = [json.loads(line) for line in done.stdout.splitlines()]
    first, second = telegrams
    assert second["invocation_counter"] == first["invocation_counter"] + 1
    assert set(first) == {"meter", "invocation_counter", "security", "clock", "readings"}
    assert first["security"] == "encrypted"
    assert first["clock"] == "2026-06-21T13:00:00+02:00"
    assert first["readings"]["0-0:1.0.0.255"] == {"value": "2026-06-21T13:00:00+02:00"}
    assert first["readings"]["1-0:1.8.0.255"]["unit"] == "Wh"


def test_decode_takes_the_keys_from_the_environment(
    recorded: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBISGATE_KEY", key)
    done = obisgate("decode", str(recorded))
    assert done.returncode == 0
    assert re.search(r"1-0:1\.8\.0\.255 +\d+ Wh +energy drawn", done.stdout)
    assert re.search(r"1-0:32\.7\.0\.255 +2\d\d\.\d V +voltage L1", done.stdout)


def test_decode_verifies_the_tag_only_with_the_authentication_key(
    tmp_path: Path, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authenticated.bin"
    monkeypatch.setenv("OBISGATE_AUTH_KEY", "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF")
    keys = ("--key-file", key_file)
    obisgate("simulate", "honeywell", "--count", "1", "--at-once", "--to", str(path), *keys)
    decode = ("decode", "--format", "json", *keys, str(path))
    assert json.loads(obisgate(*decode).stdout)["security"] == "authenticated"
    monkeypatch.delenv("OBISGATE_AUTH_KEY")
    assert json.loads(obisgate(*decode).stdout)["security"] == "unauthenticated"
    monkeypatch.setenv("OBISGATE_AUTH_KEY", "00" * 16)
    done = obisgate(*decode)
    assert done.returncode == 1
    assert json.loads(done.stdout)["fault"]["layer"] == "ciphering"


def test_decode_with_a_wrong_key_finds_no_telegram(recorded: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.write_text("00" * 16)
    wrong.chmod(0o600)
    done = obisgate("decode", "--key-file", str(wrong), "--format", "json", str(recorded))
    assert done.returncode == 1
    faults = [json.loads(line)["fault"] for line in done.stdout.splitlines()]
    assert [fault["layer"] for fault in faults] == 2 * ["decryption"]
    assert "no telegram in 752 bytes" in done.stderr


def test_decode_of_a_damaged_telegram_names_the_byte_and_keeps_the_good_one(
    recorded: Path, key_file: str
) -> None:
    octets = bytearray(recorded.read_bytes())
    octets[40] ^= 0x10
    recorded.write_bytes(octets)
    done = obisgate("decode", "--key-file", key_file, "--format", "json", str(recorded))
    assert done.returncode == 1
    fault, *_ = (json.loads(line) for line in done.stdout.splitlines())
    assert fault["fault"]["layer"] == "frame"
    assert fault["fault"]["offset"] == 254, "the checksum of the first frame"
    assert '"readings"' in done.stdout


def test_decode_takes_a_bare_apdu(recorded: Path, key_file: str) -> None:
    octets = recorded.read_bytes()
    # Two frames: 9 bytes stand before the APDU's first piece, 2 + 9 between, 2 behind.
    recorded.write_text((octets[9:254] + octets[265:374]).hex())
    done = obisgate("decode", "--key-file", key_file, "--format", "json", str(recorded))
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["readings"]["1-0:1.7.0.255"]["unit"] == "W"


@pytest.mark.parametrize("first", [b"\xdb", b"\xdb\x08", b"\xdb\x08ABCDEFGH\x82\xff\xff"])
def test_decode_finds_telegrams_behind_what_looks_like_an_apdu(
    first: bytes, recorded: Path, key_file: str
) -> None:
    recorded.write_bytes(first + recorded.read_bytes())
    done = obisgate("decode", "--key-file", key_file, "--format", "json", str(recorded))
    assert done.stdout.count('"readings"') == 2


def test_decode_takes_key_and_layout_of_a_meter_of_the_config(
    tmp_path: Path, recorded: Path, key_file: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"meters: {{house: {{source: 'recording:{recorded}', key: 'file:{key_file}'}}}}\n"
        "listeners: [{tcp: 127.0.0.1:0, units: {1: {meter: house, map: obis_plain}}}]\n"
    )
    done = obisgate("decode", "--config", str(config), "--meter", "house", str(recorded))
    assert done.returncode == 0
    assert done.stdout.startswith("telegram of meter ")
    other = obisgate("decode", "--config", str(config), "--meter", "hose", str(recorded))
    assert other.returncode == 2
    assert other.stderr == f"obisgate: {config} has no meter 'hose', did you mean 'house'?\n"


def test_decode_says_which_character_is_no_hex(recorded: Path, key_file: str) -> None:
    recorded.write_text(recorded.read_bytes().hex()[:40] + "O" + "00" * 20)
    done = obisgate("decode", "--key-file", key_file, str(recorded))
    assert done.returncode == 2
    assert done.stderr == "obisgate: the input looks like hex text, but for 'O' at byte 40\n"


def test_decode_takes_hex_text_with_a_byte_order_mark(recorded: Path, key_file: str) -> None:
    recorded.write_bytes(b"\xef\xbb\xbf" + recorded.read_bytes().hex().encode())
    assert obisgate("decode", "--key-file", key_file, str(recorded)).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no key: --key-file FILE, the environment variable OBISGATE_KEY, or --meter NAME"),
        (("--key-file", "/no/such.key"), "key file /no/such.key does not exist"),
    ],
)
def test_decode_without_a_key_is_a_usage_error(
    arguments: tuple[str, ...], words: str, recorded: Path
) -> None:
    done = obisgate("decode", *arguments, str(recorded))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"obisgate: {words}\n"


def test_decode_of_nothing_says_so(key_file: str) -> None:
    done = obisgate("decode", "--key-file", key_file, input="")
    assert done.returncode == 1
    assert "the input is empty" in done.stderr


def test_keys_cannot_be_given_on_the_command_line() -> None:
    for command in ("decode", "simulate"):
        assert "--key " not in obisgate(command, "--help").stdout


@pytest.mark.parametrize("model", MODELS)
def test_simulate_writes_telegrams_of_the_real_length(model: str, tmp_path: Path) -> None:
    path = tmp_path / "meter.bin"
    done = obisgate("simulate", model, "--count", "3", "--at-once", "--to", str(path))
    assert done.returncode == 0
    assert len(path.read_bytes()) == 3 * LENGTHS[model]


def test_simulate_with_a_seed_repeats_itself() -> None:
    arguments = ("simulate", "kaifa-ma110m", "--count", "2", "--seed", "9", "--interval", "20ms")
    first, second = (obisgate(*arguments, text=False).stdout for _ in range(2))
    assert first == second
    assert len(first) == 600


def test_simulate_sends_to_all_who_connect_to_its_port() -> None:
    command = [OBISGATE, "simulate", "kaifa-ma309m", "--tcp", "127.0.0.1:0", "--interval", "50ms"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            match = re.search(r" on 127\.0\.0\.1:(\d+)", process.stderr.readline())
            assert match
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", int(match[1])), PATIENCE_S) as client:
                    received = b""
                    while len(received) < 376:
                        received += client.recv(4096)
                    assert received.startswith(bytes.fromhex("68fafa6853ff000167db08"))
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_stops_quietly_while_somebody_is_connected(number: int) -> None:
    command = [OBISGATE, "simulate", "honeywell", "--tcp", "127.0.0.1:0", "--interval", "50ms"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        match = re.search(r" on 127\.0\.0\.1:(\d+)", process.stderr.readline())
        assert match
        with socket.create_connection(("127.0.0.1", int(match[1])), PATIENCE_S) as client:
            assert client.recv(1) == b"\x68"
            process.send_signal(number)
            assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "config.yaml", "--key", "KEY"),
        ("decode", "telegram.hex", "KEY"),
        ("decode", "--format", "KEY"),
        ("simulate", "honeywell", "--count", "KEY"),
        ("KEY",),
    ],
)
def test_key_on_the_command_line_is_not_repeated(arguments: tuple[str, ...], key: str) -> None:
    done = obisgate(*(key if word == "KEY" else word for word in arguments))
    assert done.returncode == 2
    assert key not in done.stderr + done.stdout


def test_interrupted_decode_is_no_success(key_file: str, tmp_path: Path) -> None:
    fifo = tmp_path / "telegrams"
    os.mkfifo(fifo)
    command = [OBISGATE, "decode", "--key-file", key_file, fifo]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
        fifo.open("w"),  # returns when the command waits for what comes
    ):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kaifa",), "unknown meter 'kaifa'"),
        (("honeywell", "--interval", "0"), "'0' is no duration"),
        (("honeywell", "--at-once"), "--at-once needs --count"),
        (("honeywell", "--count", "0"), "--count is at least 1"),
        (("honeywell", "--tcp", "here"), "--tcp 'here' is no address"),
        (("honeywell", "--tcp", "127.0.0..1:1"), "--tcp '127.0.0..1:1' is no address"),
        (("honeywell", "--to", "/no/such/file"), "/no/such/file: cannot be written"),
    ],
)
def test_simulate_used_wrongly_says_how(arguments: tuple[str, ...], words: str) -> None:
    done = obisgate("simulate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_output_into_a_closed_pipe_ends_quietly() -> None:
    done = subprocess.run(
        f"{OBISGATE} simulate honeywell --interval 1ms | head -c 400 | wc -c",
        shell=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout.strip() == "400"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command",
    ["maps >/dev/full", "simulate honeywell --count 1 --at-once >/dev/full"],
)
def test_full_disk_is_said_in_one_line(command: str) -> None:
    done = subprocess.run(
        f"{OBISGATE} {command}", shell=True, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["maps >&-", "decode <&-", "check >&- 2>&-", "maps <&- >&-"])
def test_closed_streams_give_no_traceback(command: str, key: str, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{OBISGATE} {command}",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"OBISGATE_KEY": key},
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


def test_narrow_character_set_is_no_obstacle() -> None:
    done = obisgate("maps", "show", "sunspec_213", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "U?I of L1" in done.stdout


def test_maps_show_of_an_unknown_map_names_the_nearest() -> None:
    done = obisgate("maps", "show", "sunspec_231")
    assert done.returncode == 2
    assert "did you mean 'sunspec_2" in done.stderr


# --- recordings with times ------------------------------------------------------------------


@pytest.fixture
def torn(tmp_path: Path, key: str) -> Path:
    """A recording with one telegram, whose recorder was killed in the middle of a line."""
    path = tmp_path / "house.rec"
    telegram = SimulatedMeter(
        "kaifa-ma309m", bytes.fromhex(key), seed=3, start=datetime(2026, 1, 5, 18, tzinfo=UTC)
    ).push()
    began = Began(datetime(2026, 1, 5, 18, tzinfo=UTC), "serial port /dev/ttyUSB0")
    lines = [write(Chunk(0, telegram.telegram[:200])), write(Chunk(800, telegram.telegram[200:]))]
    RecordingFile(path, began).append([*lines, b"5000 32 68fafa68"])
    return path


def test_decode_reads_a_recording_and_says_what_of_it_is_torn(torn: Path, key_file: str) -> None:
    done = obisgate("decode", "--format", "json", "--key-file", key_file, str(torn))
    assert done.returncode == 0
    (telegram,) = done.stdout.splitlines()
    assert json.loads(telegram)["readings"]["1-0:1.7.0.255"]["unit"] == "W"
    assert done.stderr == "obisgate: line 6 of the recording: not whole, left out\n"


def test_decode_heeds_bytes_that_came_damaged(torn: Path, key_file: str) -> None:
    # The mark does not change the byte: without it the telegram would be good.
    torn.write_text(torn.read_text().replace("0 200 68", "0 200 !68"))
    done = obisgate("decode", "--key-file", key_file, str(torn))
    assert done.returncode == 1
    assert "1 of the frame's 256 bytes came with a parity error" in done.stdout


def test_explain_reads_a_recording(torn: Path, key_file: str) -> None:
    done = obisgate("explain", "--key-file", key_file, str(torn))
    assert done.returncode == 0, done.stderr
    assert "1-0:1.7.0" in done.stdout
