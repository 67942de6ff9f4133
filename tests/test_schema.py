"""The schemas are those of today's code, and say of files what the readers of these files say."""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway import map_library, schema
from gateway.cli import main
from gateway.config import Config
from gateway.located import ConfigError, Located
from gateway.registers import RegisterMap
from gateway.registers.mapfile import MAP_WORDS
from gateway.registers.register import REGISTER_WORDS

PROJECT = Path(__file__).parents[1]
MAP = schema.map_schema()
CONFIG = schema.config_schema()
SHIPPED = sorted(map_library.SHIPPED.glob("*.yaml"))


def problems(of: dict[str, Any], text: str) -> list[str]:
    document = _as_editors_read(yaml.safe_load(text))
    return [each.message for each in Draft202012Validator(of).iter_errors(document)]


def _as_editors_read(document: object) -> object:
    """Return a document with its keys as texts."""
    if isinstance(document, dict):
        return {str(word): _as_editors_read(value) for word, value in document.items()}
    return [_as_editors_read(each) for each in document] if isinstance(document, list) else document


def yaml_blocks(name: str) -> list[str]:
    text = (PROJECT / name).read_text(encoding="utf-8")
    return re.findall(r"^ *```yaml\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("of", [MAP, CONFIG], ids=["map", "config"])
def test_a_schema_is_one(of: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(of)


def test_the_files_are_those_of_the_code() -> None:
    for path, text in schema.written().items():
        assert path.read_text(encoding="utf-8") == text, "make schemas"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_maps_validate_and_name_their_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert problems(MAP, text) == []
    named = text.partition("\n")[0].removeprefix(schema.MODELINE)
    assert (path.parent / named).resolve() == schema.MAP_SCHEMA.resolve(), "make schemas"


def test_the_shipped_config_validates_and_names_its_schema() -> None:
    text = (PROJECT / "config.yaml").read_text(encoding="utf-8")
    assert problems(CONFIG, text) == []
    named = text.partition("\n")[0].removeprefix(schema.MODELINE)
    assert PROJECT / named == schema.CONFIG_SCHEMA, "make schemas"


@pytest.mark.parametrize("name", ["README.md", "docs/maps.md"])
def test_examples_for_people_validate(name: str) -> None:
    blocks = yaml_blocks(name)
    maps = [block for block in blocks if re.search(r"^name:", block, re.MULTILINE)]
    configs = [block for block in blocks if "listeners:" in block]
    assert maps
    assert configs
    for block in maps:
        assert problems(MAP, block) == []
    for block in configs:
        whole = (
            block if "meters:" in block else f"meters: {{house: {{source: simulator:x}}}}\n{block}"
        )
        assert problems(CONFIG, whole) == []


def test_the_first_line_is_put_in_front_once_and_corrected() -> None:
    named = schema.naming("../a.json", "# About it.\nname: x\n")
    assert named == f"{schema.MODELINE}../a.json\n# About it.\nname: x\n"
    assert schema.naming("../a.json", named) == named
    assert schema.naming("b.json", named) == f"{schema.MODELINE}b.json\n# About it.\nname: x\n"


# --- maps -----------------------------------------------------------------------------------

HEAD = "name: Mine\nregisters:\n  - "
GOOD_LINES = [
    "{address: 0x10, quantity: voltage_l1, type: int16, unit: 0.1 V}",
    "{address: 0, quantity: -active_power_total, type: int32, unit: 10 W, table: input}",
    "{address: 0, quantity: power_factor_total, type: int16, unit: 0.001}",
    '{address: 0, quantity: power_factor_total, type: int16, unit: "%"}',
    "{address: 0, quantity: energy_active_import_total, type: uint64, unit: 0.1 kWh}",
    "{address: 0, quantity: voltage_l1, type: float32, not_available: 0.0, word_order: little}",
    "{address: 0, value: 0xFFFF, type: uint16, only_count: 1}",
    "{address: 0, value: -3.5, type: float32}",
    "{address: 0, value: unit_id, type: uint16}",
    "{address: 0, value: nan, type: float32}",
    "{address: 0, text: 1.0, type: string, length: 2}",
    '{address: 0, text: "${serial}", type: chars, length: 16}',
    '{address: 0, text: "", type: string, length: 1}',
    '{address: 0, expression: "-1 * max(0, voltage_l1)", type: int32, unit: kW}',
    "{address: 0, quantity: telegram_age, type: uint16}",
]
GOOD_MAPS = [
    "over: [tcp, rtu, rtu over tcp, udp]\nport: 502\nunit_ids: [0, 1, 255]\n",
    "whole_values: true\nmax_read: 80\nstale: silent\nbase: 40000\n",
    "not_available: {int16: 0x7FFF, float32: 0.0}\nzero_ranges: [[0, 9]]\n",
    "filled_ranges: [[0, 9, 0xFFFF]]\nignored_writes: [[1, 1]]\ntables: [input]\n",
    'identity: {vendor: X, product: Y, revision: "1"}\nserver_id: abc\n',
    "readers: []\ntested_with: [x]\nnotes: [a]\nsources: [b]\n",
]
WRONG_LINES = [
    "{address: 0, quantity: volts, type: int16}",
    "{address: 0, quantity: -telegram_age, type: uint16}",
    "{address: 0, quantity: voltage_l1}",
    "{quantity: voltage_l1, type: int16}",
    "{address: 65536, quantity: voltage_l1, type: int16}",
    "{address: -1, quantity: voltage_l1, type: int16}",
    "{address: 0, quantity: voltage_l1, type: int17}",
    "{address: 0, quantity: voltage_l1, value: 1, type: int16}",
    "{address: 0, type: int16}",
    "{address: 0, text: x, type: string}",
    "{address: 0, text: x, type: int16}",
    "{address: 0, quantity: voltage_l1, type: string, length: 2}",
    "{address: 0, quantity: voltage_l1, type: int16, length: 1}",
    "{address: 0, quantity: voltage_l1, type: int16, unit: Volt}",
    "{address: 0, quantity: voltage_l1, type: int16, unit: 0.2 V}",
    "{address: 0, quantity: voltage_l1, type: int16, tabel: input}",
    "{address: 0, quantity: voltage_l1, type: int16, table: coils}",
    "{address: 0, scale_for: voltage_l1, type: sunssf}",
    "{address: 0, value: one, type: uint16}",
    "5",
]
WRONG_MAPS = [
    "tables: [coils]\n",
    "tables: []\n",
    "stale: zeros\n",
    "word_order: middle\n",
    "zero_ranges: [[0]]\n",
    "zero_ranges: [0, 9]\n",
    "filled_ranges: [[0, 9]]\n",
    "not_available: {int17: 0}\n",
    "over: [ethernet]\n",
    "port: 0\n",
    "unit_ids: [256]\n",
    "max_read: 126\n",
    "identity: {vendor: X}\n",
    "whole_values: maybe\n",
    "without: [[1, 2]]\n",
    "register: []\n",
]
NOT_EVEN = [
    "name: x\n",
    "registers: [{address: 0, value: 1, type: int16}]\n",
    "name: x\nregisters: []\n",
]


def is_read(text: str) -> bool:
    try:
        RegisterMap.parse(text, "x.yaml")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    "text", [*(HEAD + line for line in GOOD_LINES), *(m + HEAD + GOOD_LINES[0] for m in GOOD_MAPS)]
)
def test_what_the_reader_takes_has_no_red_line(text: str) -> None:
    assert is_read(text)
    assert problems(MAP, text) == []


@pytest.mark.parametrize(
    "text",
    [
        *(HEAD + line for line in WRONG_LINES),
        *(m + HEAD + GOOD_LINES[0] for m in WRONG_MAPS),
        *NOT_EVEN,
    ],
)
def test_what_the_reader_refuses_has_one(text: str) -> None:
    assert not is_read(text)
    assert problems(MAP, text)


def test_every_word_of_a_map_is_explained() -> None:
    register = MAP["properties"]["registers"]["items"]
    assert set(MAP["properties"]) == set(MAP_WORDS)
    assert set(register["properties"]) == set(REGISTER_WORDS)
    for words in (MAP["properties"], register["properties"]):
        assert all(each["description"] for each in words.values())


# --- config.yaml ----------------------------------------------------------------------------

EVERYTHING = """
maps: maps
state: state.json
layouts:
  mine: {makers: XYZ, items: "clock\\n1-0:1.8.0 u32 Wh"}
meters:
  house:
    source: simulator:kaifa-ma309m?seed=1
    key: file:house.key
    auth_key: file:house.key
    hold: 15s
    connection: 35A
    layout: mine
    frequency: 60Hz
    phases: [L2, L3, L1]
    record: {file: house.rec, max_size: 20MB, rotate: 5}
  cellar: {source: "tcp://192.168.1.20:2400?silence=1min", key: file:house.key}
  garage: {source: "mqtt://192.168.1.10/meter/raw?encoding=hex", key: file:house.key}
  other: {source: "recording:meter.bin", key: file:house.key, hold: 20, connection: 63}
  both: {sum: [house, other], hold: 10s}
  rest: {difference: [both, other, house]}
  slow: {source: simulator:honeywell, hold: 1h, accept_unsafe: true}
listeners:
  - tcp: 127.0.0.1:5020
    allow: [127.0.0.0/8]
    limits: {connections: 9, connections_per_address: 3, idle: 2min, unread: 64KiB, request: 5s}
    units:
      1:
        meter: house
        map: sunspec_203
        base: 50000
        serial: "12345678"
        rated_power: 10kW
        adjust: {active_power_total: {offset: 50}, current_l1: {factor: 1.02}}
        hold: 30s
        stale: last
        accept_unsafe: true
      0x02: {meter: other, map: mine, stale: close, hold: 5, accept_unsafe: false}
      3: {meter: other, map: mine, stale: silent, hold: 10min, accept_unsafe: true}
  - {tcp: 5021, any: {meter: both, map: obis_plain}}
  - {rtu_over_tcp: "0.0.0.0:4196", units: {1: {meter: house, map: obis_plain}}}
  - {udp: "[::]:502", any: {meter: house, map: obis_plain}}
  - {tls: 0.0.0.0, certificate: server.crt, key: server.key, clients_ca: ca.crt, roles: [reader],
     any: {meter: house, map: obis_plain}}
  - {serial: /dev/ttyUSB1, baud: 19200, parity: even, stop_bits: 1,
     units: {1: {meter: house, map: obis_plain}}}
"""
MINE = "name: x\nregisters: [{address: 0, value: 1, type: uint16}]\n"
METERS = "meters: {house: {source: simulator:honeywell}}\n"
TWO = METERS.replace("}}", "}, b: {source: simulator:honeywell}}")
OF_TWO = TWO.replace("}}", "}, both: {sum: [house, b]}}")
LISTENERS = "listeners: [{tcp: 5020, any: {meter: house, map: obis_plain}}]\n"
GOOD_CONFIG = METERS + LISTENERS


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Config]:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.yaml").write_text(MINE)
    key = tmp_path / "house.key"
    key.write_text("00" * 16)
    key.chmod(0o600)
    assert main(["tls", "init", str(tmp_path)]) == 0

    def reader(text: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return Config.read(path)

    return reader


@pytest.mark.parametrize("text", [EVERYTHING, GOOD_CONFIG, OF_TWO + LISTENERS])
def test_a_config_that_is_read_has_no_red_line(read: Callable[[str], Config], text: str) -> None:
    read(text)
    assert problems(CONFIG, text) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: simulator:honeywell", "src: simulator:honeywell"),
        ("source: simulator:honeywell", "source: honeywell"),
        ("source: simulator:honeywell", "source: recording:x"),  # without a key
        ("source: simulator:honeywell", "source: tcp:192.168.1.20:2400, key: file:house.key"),
        ("honeywell}", "honeywell, hold: long}"),
        ("honeywell}", "honeywell, accept_unsafe: true}"),
        ("honeywell}", "honeywell, connection: 63V}"),
        ("honeywell}", "honeywell, phases: [L1, L2]}"),
        ("honeywell}", "honeywell, record: house.rec}"),
        ("honeywell}", "honeywell, record: {}}"),
        ("honeywell}", "honeywell, record: {file: a.rec, max_size: 1}}"),
        ("honeywell}", "honeywell, record: {file: a.rec, max_size: big}}"),
        ("honeywell}", "honeywell, record: {file: a.rec, rotate: -1}}"),
        ("honeywell}", "honeywell, phases: [L1, L2, N]}"),
        ("source: simulator:honeywell", "hold: 5s"),
        (METERS, METERS.replace("}}", "}, two: {sum: [house]}}")),
        (METERS, METERS.replace("}}", "}, two: {sum: [house, house]}}")),
        (METERS, METERS.replace("}}", "}, b: {source: simulator:honeywell, sum: [house, b]}}")),
        (OF_TWO, OF_TWO.replace("sum:", "key: file:house.key, sum:")),
        (OF_TWO, OF_TWO.replace("sum:", "difference: [house, b], sum:")),
        ("tcp: 5020", "tpc: 5020"),
        ("tcp: 5020", "tcp: localhost"),
        ("tcp: 5020", "tcp: 5020, udp: 5020"),
        ("tcp: 5020", "tcp: 5020, baud: 9600"),
        ("tcp: 5020", "tls: 5020"),  # without its files
        ("tcp: 5020", "tcp: 5020, certificate: server.crt"),
        ("tcp: 5020", "tls: 5020, certificate: server.crt, key: server.key, roles: [reader]"),
        (
            "tcp: 5020",
            "tls: 5020, certificate: server.crt, key: server.key, clients_ca: ca.crt, roles: []",
        ),
        ("tcp: 5020", "serial: /dev/x"),  # any on a serial line
        ("tcp: 5020, any: {meter: house, map: obis_plain}", "tcp: 5020"),
        ("tcp: 5020", "tcp: 5020, allow: []"),
        ("tcp: 5020", "tcp: 5020, units: {256: {meter: house, map: obis_plain}}"),
        ("map: obis_plain", "base: 0"),
        ("map: obis_plain", "map: obis_plain, base: 65536"),
        ("map: obis_plain", "map: obis_plain, hold: long"),
        ("map: obis_plain", "map: obis_plain, stale: zeros"),
        ("map: obis_plain", "map: obis_plain, stale: zero"),
        ("map: obis_plain", "map: obis_plain, stale: last, accept_unsafe: false"),
        ("map: obis_plain", "map: obis_plain, stale: silent, accept_unsafe: true"),
        ("map: obis_plain", "map: obis_plain, rated_power: 10kV"),
        ("map: obis_plain", "map: obis_plain, adjust: {frequency: {offset: 1}}"),
        ("map: obis_plain", "map: obis_plain, adjust: {current_l1: {}}"),
        ("map: obis_plain", "map: obis_plain, adjust: {current_l1: {factor: 0}}"),
        (METERS, "meters: {}\n"),
        (METERS, ""),
        (LISTENERS, "listeners: []\n"),
        (LISTENERS, ""),
    ],
)
def test_a_config_that_is_refused_has_one(
    read: Callable[[str], Config], old: str, new: str
) -> None:
    good = OF_TWO + LISTENERS if old == OF_TWO else GOOD_CONFIG
    text = good.replace(old, new)
    assert text != good
    with pytest.raises(ConfigError):
        read(text)
    assert problems(CONFIG, text)


def test_the_words_of_a_config_are_those_that_its_reader_knows(
    read: Callable[[str], Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Config.read is asked what it allows, wherever it reads 'word: value' lines."""
    allowed_by_it: set[frozenset[str]] = set()
    mapping = Located.mapping

    def noted(
        self: Located, allowed: Collection[str], required: Collection[str] = ()
    ) -> dict[str, Located]:
        if self.file.endswith("config.yaml"):
            allowed_by_it.add(frozenset(map(str, allowed)))
        return mapping(self, allowed, required)

    monkeypatch.setattr(Located, "mapping", noted)
    read(EVERYTHING)
    quantities = frozenset(schema.ADJUSTABLE)  # which the reader reads as free keys
    assert allowed_by_it == set(_word_sets(CONFIG)) - {quantities}


def _word_sets(of: dict[str, Any]) -> list[frozenset[str]]:
    """Return the words of every object in a schema that allows no others."""
    found = [frozenset(of["properties"])] if of.get("additionalProperties") is False else []
    for each in [*of.values(), *of.get("properties", {}).values()]:
        if isinstance(each, dict):
            found += _word_sets(each)
    return found
