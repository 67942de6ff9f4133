"""config.yaml: every word of it, and for every mistake the place and what would be right."""

import base64
import os
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.certificates import new_authority, new_server
from gateway.config import SIMULATOR_KEY, Config, RecordConfig, SerialLine, Transport, UnitConfig
from gateway.keys import read_key_credential, read_key_file, read_key_variable
from gateway.located import ConfigError
from gateway.registers import Stale, Table
from gateway.snapshot import Adjustment, Snapshot
from gateway.snapshot.adjust import Linear
from gateway.snapshot.combine import Combination
from gateway.snapshot.snapshot import Values
from gateway.sources.mqtt import MqttSource
from gateway.sources.recording import RecordingSource
from gateway.sources.serial_port import SerialSource
from gateway.sources.simulated import SimulatorSource
from gateway.sources.tcp import TcpSource
from gateway.state import default_path
from gateway.telegram import Key
from gateway.telegram.layouts import LAYOUTS

SHIPPED = Path(__file__).parent.parent / "config.yaml"
HEX = "00112233445566778899AABBCCDDEEFF"
KEY = Key(bytes.fromhex(HEX))

# The smallest config; `changed` makes the others of it.
CONFIG = """\
meters:
  house:
    source: simulator:kaifa-ma309m
listeners:
  - tcp: 127.0.0.1:5020
    units:
      1: {meter: house, map: obis_plain}
"""
TINY_MAP = "name: Mine\ntables: [input]\nregisters:\n  - {address: 0, value: 1, type: uint16}\n"


def changed(old: str, new: str) -> str:
    assert CONFIG.count(old) == 1
    return CONFIG.replace(old, new)


def with_key(written: str) -> str:
    return changed("kaifa-ma309m\n", f"kaifa-ma309m\n    key: {written}\n")


class House:
    """A folder with a config in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"

    def read(self, text: str) -> Config:
        self.path.write_text(text, encoding="utf-8")
        return Config.read(self.path)

    def error(self, text: str) -> ConfigError:
        with pytest.raises(ConfigError) as problem:
            self.read(text)
        return problem.value

    def refusal(self, text: str) -> str:
        """The error of a config, without its file name."""
        said = str(self.error(text))
        assert said.startswith(f"{self.path}:")
        return said.removeprefix(f"{self.path}:")

    def key_file(self, content: bytes, mode: int = 0o600, name: str = "house.key") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return path


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# --- the shipped config ---------------------------------------------------------------------


def test_the_shipped_config_serves_a_simulated_meter_on_this_machine() -> None:
    config = Config.read(SHIPPED)
    assert list(config.meters) == ["house"]
    assert config.meters["house"].source == SimulatorSource("kaifa-ma309m", SIMULATOR_KEY, None)
    (listener,) = config.listeners
    assert (listener.host, listener.port) == ("127.0.0.1", 5020)
    assert {unit_id: unit.map_name for unit_id, unit in listener.units.items()} == {
        1: "sunspec_213",
        2: "sunspec_203",
        3: "eastron_sdm630",
        4: "obis_plain",
    }
    assert config.warnings == []


def test_what_the_shipped_config_shows_as_a_comment_works(house: House) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for word in ("key: file:", "auth_key:", "hold:", "connection:", "layout:", "allow:", "state:"):
        assert text.count(f"# {word}") == 1
        text = text.replace(f"# {word}", word)
    house.key_file(HEX.encode())
    house.key_file(HEX[::-1].encode(), name="house.auth.key")
    config = house.read(text)
    assert config.meters["house"].key == KEY
    assert config.meters["house"].auth_key == Key.parse(HEX[::-1])
    assert config.meters["house"].hold_s == 15.0
    assert config.meters["house"].connection_a == 63.0
    assert config.meters["house"].layout is not None
    assert config.state.parent == house.folder
    assert config.listeners[0].allow == [ip_network("192.168.1.0/24")]


# --- every word -----------------------------------------------------------------------------


def test_the_smallest_config_has_these_defaults(house: House) -> None:
    config = house.read(CONFIG)
    assert config.file == str(house.path)
    assert config.maps_folder is None
    assert config.layouts == list(LAYOUTS)
    assert config.state == default_path(house.path)
    assert config.warnings == []
    meter = config.meters["house"]
    assert (meter.connection_a, meter.layout) == (80.0, None)
    assert (meter.name, meter.key, meter.auth_key) == ("house", SIMULATOR_KEY, None)
    assert meter.hold_s == 15.0
    (listener,) = config.listeners
    assert listener.allow == []
    assert listener.any_unit is None
    assert listener.where == f"{house.path}:5:10"
    unit = listener.units[1]
    assert (unit.meter, unit.map_name) == ("house", "obis_plain")
    assert unit.register_map.written.name == "Plain OBIS table"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("serial:/dev/ttyUSB0", SerialSource("/dev/ttyUSB0")),
        ("serial:/dev/x?baud=9600&parity=none", SerialSource("/dev/x", 9600, "none")),
        ("tcp://192.168.1.20:2400", TcpSource("192.168.1.20", 2400)),
        ("mqtt://broker/meter/raw", MqttSource("broker", 1883, "meter/raw")),
        ("recording:/tmp/meter.bin", RecordingSource(Path("/tmp/meter.bin"))),
        ("simulator:honeywell?seed=1", SimulatorSource("honeywell", KEY, None, 5.0, 1)),
    ],
)
def test_each_kind_of_source_is_configured(house: House, source: str, expected: object) -> None:
    text = with_key(HEX).replace("simulator:kaifa-ma309m", source)
    assert house.read(text).meters["house"].source == expected


def test_a_recording_is_looked_for_where_the_config_stands(house: House) -> None:
    text = with_key(HEX).replace("simulator:kaifa-ma309m", "recording:meter.bin")
    assert house.read(text).meters["house"].source == RecordingSource(house.folder / "meter.bin")


def test_a_password_file_is_looked_for_where_the_config_stands(house: House) -> None:
    house.key_file(b"geheim\n", name="mqtt.password")
    broker = "mqtt://broker/t?user=u&password=file:mqtt.password"
    text = with_key(HEX).replace("simulator:kaifa-ma309m", broker)
    expected = MqttSource("broker", 1883, "t", user="u", password="geheim")
    assert house.read(text).meters["house"].source == expected


def test_a_password_file_that_others_can_read_is_refused(house: House) -> None:
    path = house.key_file(b"geheim\n", 0o644, name="mqtt.password")
    broker = "mqtt://broker/t?user=u&password=file:mqtt.password"
    assert house.refusal(with_key(HEX).replace("simulator:kaifa-ma309m", broker)) == (
        f"3:13: password: password file {path} can be read by others: chmod 600 {path}"
    )


def test_an_auth_key_reaches_the_simulator(house: House) -> None:
    text = with_key(f"{HEX}\n    auth_key: {HEX[::-1]}")
    meter = house.read(text).meters["house"]
    auth_key = Key.parse(HEX[::-1])
    assert (meter.key, meter.auth_key) == (KEY, auth_key)
    assert meter.source == SimulatorSource("kaifa-ma309m", KEY, auth_key)


@pytest.mark.parametrize(
    ("hold", "seconds"), [("15s", 15), ("30", 30), ("500ms", 0.5), ("5min", 300)]
)
def test_hold_is_a_duration(house: House, hold: str, seconds: float) -> None:
    config = house.read(changed("kaifa-ma309m\n", f"kaifa-ma309m\n    hold: {hold}\n"))
    assert config.meters["house"].hold_s == seconds


@pytest.mark.parametrize(
    ("tcp", "host", "port"),
    [
        ("0.0.0.0:502", "0.0.0.0", 502),
        ("192.168.1.2:5020", "192.168.1.2", 5020),
        ("5020", "127.0.0.1", 5020),
        ("':5020'", "127.0.0.1", 5020),
        ("'[::1]:5020'", "::1", 5020),
        ("'[::]:502'", "::", 502),
        ("localhost:65535", "localhost", 65535),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)
def test_tcp_is_an_address_and_a_port(house: House, tcp: str, host: str, port: int) -> None:
    (listener,) = house.read(changed("127.0.0.1:5020", tcp)).listeners
    assert (listener.host, listener.port) == (host, port)


def test_allow_names_networks_and_single_addresses(house: House) -> None:
    networks = "[192.168.1.0/24, 10.0.0.7, 'fe80::/10', '::1']"
    text = changed("127.0.0.1:5020\n", f"127.0.0.1:5020\n    allow: {networks}\n")
    expected = ["192.168.1.0/24", "10.0.0.7/32", "fe80::/10", "::1/128"]
    assert house.read(text).listeners[0].allow == [ip_network(each) for each in expected]


def test_any_serves_every_id_beside_units_or_alone(house: House) -> None:
    any_unit = "any: {meter: house, map: eastron_sdm630}"
    beside = house.read(CONFIG + f"    {any_unit}\n").listeners[0]
    assert beside.any_unit is not None
    assert beside.any_unit.map_name == "eastron_sdm630"
    assert list(beside.units) == [1]
    alone = house.read(
        changed("units:\n      1: {meter: house, map: obis_plain}", any_unit)
    ).listeners[0]
    assert alone.any_unit is not None
    assert alone.units == {}


def test_unit_ids_go_from_0_to_255_decimal_or_hexadecimal(house: House) -> None:
    unit = "{meter: house, map: obis_plain}"
    units = f"0: {unit}\n      255: {unit}\n      0x10: {unit}\n"
    (listener,) = house.read(changed(f"1: {unit}\n", units)).listeners
    assert list(listener.units) == [0, 255, 16]


def test_several_meters_and_listeners_are_told_apart(house: House) -> None:
    text = """\
meters:
  house: {source: simulator:kaifa-ma309m}
  heat pump: {source: simulator:kaifa-ma110m}
listeners:
  - tcp: 127.0.0.1:5020
    units: {1: {meter: heat pump, map: obis_plain}, 2: {meter: house, map: obis_plain}}
  - tcp: 127.0.0.1:5021
    any: {meter: house, map: obis_plain}
"""
    config = house.read(text)
    assert list(config.meters) == ["house", "heat pump"]
    first, second = config.listeners
    assert [unit.meter for unit in first.units.values()] == ["heat pump", "house"]
    assert second.any_unit is not None
    assert (second.port, second.any_unit.meter) == (5021, "house")
    assert first.units[1].register_map is not first.units[2].register_map  # each has its own id


# --- meters that are made of others ---------------------------------------------------------

SITE = """\
meters:
  house: {source: simulator:kaifa-ma309m, hold: 10s, connection: 35A, phases: [L2, L3, L1]}
  site: {sum: [house, annex]}
  annex: {source: simulator:kaifa-ma309m, hold: 20s, connection: 25A}
  heat pump: {source: simulator:kaifa-ma110m}
  rest: {difference: [site, heat pump], hold: 5s}
listeners:
  - tcp: 127.0.0.1:5020
    units:
      1: {meter: house, map: obis_plain}
      2: {meter: site, map: obis_plain}
      3: {meter: rest, map: sunspec_203}
"""


def in_site(old: str, new: str) -> str:
    assert SITE.count(old) == 1
    return SITE.replace(old, new)


def test_meters_are_sums_and_differences_of_others_wherever_those_stand(house: House) -> None:
    config = house.read(SITE)
    assert list(config.meters) == ["house", "annex", "heat pump"]
    assert list(config.virtual_meters) == ["site", "rest"]
    site, rest = config.virtual_meters.values()
    assert (site.how, site.parts) == (Combination.SUM, ("house", "annex"))
    assert (rest.how, rest.parts) == (Combination.DIFFERENCE, ("site", "heat pump"))
    assert (site.describe(), rest.describe()) == ("house + annex", "site - heat pump")
    assert [unit.meter for unit in config.listeners[0].units.values()] == ["house", "site", "rest"]


def test_without_a_hold_of_its_own_a_virtual_meter_has_the_shortest_of_its_meters(
    house: House,
) -> None:
    site, rest = house.read(SITE).virtual_meters.values()
    assert (site.hold_s, rest.hold_s) == (10.0, 5.0)


def test_connections_beside_each_other_add_and_those_behind_do_not(house: House) -> None:
    site, rest = house.read(SITE).virtual_meters.values()
    assert (site.connection_a, rest.connection_a) == (60.0, 60.0)


def test_a_virtual_meter_shows_its_first_meters_serial_as_a_further_copy(house: House) -> None:
    """Some clients refuse two meters with one serial number."""
    (house.folder / "maps").mkdir()
    text = "name: x\nregisters: [{address: 0, text: '${serial}', type: string, length: 4}]\n"
    (house.folder / "maps" / "mine.yaml").write_text(text)
    units = house.read("maps: maps\n" + re.sub("obis_plain|sunspec_203", "mine", SITE))
    telegram = Snapshot({}, {"meter_number": "1KFM02"}, 0.0)
    shown = [
        unit.register_map.render(telegram).read(Table.HOLDING, 0, 4)
        for unit in units.listeners[0].units.values()
    ]
    assert shown == [b"1KFM02\0\0", b"1KFM02-2", b"1KFM02-3"]


def test_the_phases_of_a_meter_are_not_changed_again_where_it_is_part_of_another(
    house: House,
) -> None:
    units = house.read(SITE).listeners[0].units
    assert units[1].adjustment == Adjustment(phases=("l2", "l3", "l1"))
    assert units[2].adjustment is None


def test_of_a_sum_one_that_it_contains_may_be_taken_away(house: House) -> None:
    config = house.read(in_site("[site, heat pump]", "[site, house]"))
    assert config.virtual_meters["rest"].describe() == "site - house"


VIRTUAL_MISTAKES = {
    "of itself": (
        in_site("[house, annex]", "[house, site]"),
        "3:23: meter 'site' is made of itself",
    ),
    "of an unknown one": (
        in_site("[house, annex]", "[house, anex]"),
        "3:23: unknown meter 'anex', did you mean 'annex'?",
    ),
    "of each other": (
        in_site("[house, annex]", "[house, rest]"),
        "3:23: meter 'rest' stands below: move it above 'site'",
    ),
    "of one": (
        in_site("[house, annex]", "[house]"),
        "3:15: a sum is made of two meters or more",
    ),
    "of none": (
        in_site("[site, heat pump]", "[]"),
        "6:22: a difference is made of two meters or more",
    ),
    "of one twice": (in_site("[house, annex]", "[house, house]"), "3:23: 'house' comes twice"),
    "of one and of what contains it": (
        in_site("{difference: [site, heat pump]", "{sum: [heat pump, site, house]"),
        "6:15: 'house' counts twice: more than one of these contains it",
    ),
    "less one and less what contains it": (
        in_site("[site, heat pump]", "[heat pump, house, site]"),
        "6:22: 'house' counts twice: more than one of these contains it",
    ),
    "no list": (in_site("[house, annex]", "house"), "3:15: expected a list, found one value"),
    "both": (
        in_site("{sum: [house, annex]}", "{sum: [house, annex], difference: [house, annex]}"),
        "3:9: a meter has one of source, sum, difference",
    ),
    "with a source": (
        in_site("{sum: [house, annex]}", "{sum: [house, annex], source: simulator:honeywell}"),
        "3:9: a meter has one of source, sum, difference",
    ),
    "with a key": (
        in_site("{sum: [house, annex]}", "{sum: [house, annex], key: file:house.key}"),
        "3:36: 'key' means nothing to a sum: it goes with its meters",
    ),
    "held longer than a part": (
        in_site("hold: 5s", "hold: 11s"),
        "6:47: longer than that of site, 10 s: what is stale there would be served here",
    ),
    "shown longer than it is held": (
        in_site("meter: site, map", "hold: 11s, meter: site, map"),
        "11:17: longer than that of site, 10 s: after that it is not made anew of its meters",
    ),
    "adjusted": (
        in_site("meter: site, map", "adjust: {current_l1: {factor: 2}}, meter: site, map"),
        "11:19: meter site is house + annex, and nothing is adjusted of it",
    ),
    "without a name": (in_site("  site:", '  "":'), "3:3: a meter's name has characters that"),
    "a typo": (in_site("sum:", "summ:"), "3:10: unknown word 'summ', did you mean 'sum'?"),
}


@pytest.mark.parametrize(
    ("text", "expected"), VIRTUAL_MISTAKES.values(), ids=VIRTUAL_MISTAKES.keys()
)
def test_a_mistake_in_a_virtual_meter_is_shown_where_it_is(
    house: House, text: str, expected: str
) -> None:
    assert house.refusal(text).startswith(expected)


# --- layouts, state, connection -------------------------------------------------------------

LAYOUT = """\
layouts:
  my-meter:
    makers: XYZ ABC
    items: |
      clock                    # date and time
      1-0:1.8.0  u32  Wh
      1-0:32.7.0 u16  0.1 V
"""


def meter_with(line: str) -> str:
    return changed("kaifa-ma309m\n", f"kaifa-ma309m\n    {line}\n")


def unit_with(words: str) -> str:
    return changed("obis_plain}", f"obis_plain, {words}}}")


LINE = changed("tcp: 127.0.0.1:5020", "serial: /dev/ttyS0")
UNITS = LINE[LINE.index("    units") :]
LINE = LINE[: LINE.index("    units")]


def line_with(words: str) -> str:
    return f"{LINE}    {words}\n{UNITS}"


def test_layouts_of_ones_own_come_before_the_built_in_ones(house: House) -> None:
    config = house.read(LAYOUT + CONFIG)
    own, *built_in = config.layouts
    assert built_in == list(LAYOUTS)
    assert (own.name, own.makers, len(own.items)) == ("my-meter", ("XYZ", "ABC"), 3)
    assert config.meters["house"].layout is None, "recognised, not prescribed"


def test_a_layout_of_the_same_name_replaces_the_built_in_one(house: House) -> None:
    config = house.read(LAYOUT.replace("my-meter", "wels-10") + CONFIG)
    assert [each.name for each in config.layouts].count("wels-10") == 1
    assert config.layouts[0].name == "wels-10"
    assert len(config.layouts[0].items) == 3


def test_a_layout_without_makers_is_for_all(house: House) -> None:
    (own, *_) = house.read(LAYOUT.replace("    makers: XYZ ABC\n", "") + CONFIG).layouts
    assert own.makers == ()


@pytest.mark.parametrize("name", ["my-meter", "wels-10"])
def test_a_meter_names_its_layout(house: House, name: str) -> None:
    layout = house.read(LAYOUT + meter_with(f"layout: {name}")).meters["house"].layout
    assert layout is not None
    assert layout.name == name


@pytest.mark.parametrize("written", ["63A", "63", "63 A", "63.0A"])
def test_connection_is_a_current(house: House, written: str) -> None:
    assert house.read(meter_with(f"connection: {written}")).meters["house"].connection_a == 63.0


@pytest.mark.parametrize("written", ["60Hz", "60", "60 Hz", "60.0Hz", "0.06kHz"])
def test_frequency_is_what_the_grid_should_have(house: House, written: str) -> None:
    config = house.read(meter_with(f"frequency: {written}"))
    assert config.meters["house"].frequency_hz == 60.0
    adjustment = config.listeners[0].units[1].adjustment
    assert adjustment == Adjustment(frequency_hz=60.0)


def test_phases_are_the_meters_that_stand_as_l1_l2_and_l3(house: House) -> None:
    config = house.read(meter_with("phases: [L2, l3, L1]"))
    assert config.meters["house"].phases == ("l2", "l3", "l1")
    assert config.listeners[0].units[1].adjustment == Adjustment(phases=("l2", "l3", "l1"))


@pytest.mark.parametrize(
    ("words", "hold_s", "stale"),
    [
        ("hold: 3s", 3.0, None),
        ("hold: 2min, stale: silent", 120.0, Stale.SILENT),
        ("stale: exception", None, Stale.EXCEPTION),
        ("stale: not_available", None, Stale.NOT_AVAILABLE),
        ("stale: close, accept_unsafe: false", None, Stale.CLOSE),
    ],
)
def test_a_unit_says_how_it_answers_for_a_stale_meter(
    house: House, words: str, hold_s: float | None, stale: Stale | None
) -> None:
    config = house.read(unit_with(words) + "    any: {meter: house, map: obis_plain}\n")
    listener = config.listeners[0]
    assert (listener.units[1].hold_s, listener.units[1].stale) == (hold_s, stale)
    assert listener.any_unit
    assert (listener.any_unit.hold_s, listener.any_unit.stale) == (None, None)
    assert config.warnings == []


def test_values_that_hide_a_silent_meter_are_served_when_accepted_and_warned_about(
    house: House,
) -> None:
    text = unit_with("stale: last, accept_unsafe: true")
    text += "    any: {meter: house, map: obis_plain, accept_unsafe: 'true', stale: zero}\n"
    config = house.read(text)
    listener = config.listeners[0]
    assert listener.any_unit
    assert (listener.units[1].stale, listener.any_unit.stale) == (Stale.LAST, Stale.ZERO)
    assert config.warnings == [
        f"{house.path}:7:49: unsafe: while meter house is silent, unit 1 shows its last "
        "values, and no client can tell (stale: last)",
        f"{house.path}:8:72: unsafe: while meter house is silent, unit any shows zeros "
        "(energies too), and no client can tell (stale: zero)",
    ]


def test_a_long_hold_is_taken_when_accepted_and_warned_about(house: House) -> None:
    text = unit_with("hold: 301s, accept_unsafe: true, stale: silent")
    text = text.replace("kaifa-ma309m\n", "kaifa-ma309m\n    hold: 2h\n    accept_unsafe: true\n")
    config = house.read(text)
    assert config.meters["house"].hold_s == 7200
    assert config.listeners[0].units[1].hold_s == 301
    assert config.warnings == [
        f"{house.path}:4:11: unsafe: meter house shows its last values for as long without a "
        "telegram, and no client can tell (hold: 2h)",
        f"{house.path}:9:48: unsafe: unit 1 shows its last values for as long without a "
        "telegram, and no client can tell (hold: 301s)",
    ]


def test_one_acceptance_is_for_all_of_its_unit_and_each_is_warned_about(house: House) -> None:
    config = house.read(unit_with("hold: 1h, stale: last, accept_unsafe: true"))
    assert len(config.warnings) == 2


def test_what_is_as_usual_adjusts_nothing(house: House) -> None:
    for text in (CONFIG, meter_with("frequency: 50Hz"), meter_with("phases: [L1, L2, L3]")):
        config = house.read(text)
        assert config.meters["house"].frequency_hz == 50.0
        assert config.meters["house"].phases == ("l1", "l2", "l3")
        assert config.listeners[0].units[1].adjustment is None


def test_adjustments_are_factors_and_offsets_of_one_unit(house: House) -> None:
    text = unit_with(
        "adjust: {active_power_total: {offset: -50}, current_l1: {factor: 1.02, offset: 0.5}}"
    )
    text += "      2: {meter: house, map: obis_plain, adjust: {}}\n"
    units = house.read(text).listeners[0].units
    assert units[1].adjustment == Adjustment(
        linear={"active_power_total": Linear(offset=-50), "current_l1": Linear(1.02, 0.5)}
    )
    assert units[2].adjustment is None


# --- what a unit gives its map --------------------------------------------------------------

GIVEN_MAP = """\
name: Given
base: 100
registers:
  - {address: 0, value: unit_id, type: uint16}
  - {address: 1, scale_for: active_power_total, type: sunssf}
  - {address: 2, quantity: active_power_total, type: int16, scale_register: 1}
  - {address: 4, text: "${serial}", type: string, length: 4}
  - {address: 8, quantity: meter_serial, type: int32}
"""


def units_of(house: House, text: str) -> list[UnitConfig]:
    """Read a config whose maps are GIVEN_MAP."""
    (house.folder / "maps").mkdir(exist_ok=True)
    (house.folder / "maps" / "mine.yaml").write_text(GIVEN_MAP)
    config = house.read("maps: maps\n" + text.replace("obis_plain", "mine"))
    units = [unit for each in config.listeners for unit in each.units.values()]
    return units + [each.any_unit for each in config.listeners if each.any_unit]


def shown_at_once(unit: UnitConfig, base: int = 100) -> list[int]:
    """What a unit shows at once: its id and the scale."""
    found = unit.register_map.render(None).read(Table.INPUT, base, 2)
    assert isinstance(found, bytes), found
    return [int.from_bytes(found[:2], "big"), int.from_bytes(found[2:], "big")]


def serials(unit: UnitConfig) -> tuple[str, int]:
    texts = {"meter_number": "A1234567"}
    snapshot = Snapshot(Values({}, texts), texts, 0.0)
    found = unit.register_map.render(snapshot).read(Table.INPUT, 104, 6)
    assert isinstance(found, bytes), found
    return found[:8].rstrip(b"\0").decode(), int.from_bytes(found[8:], "big")


def test_base_moves_the_whole_map(house: House) -> None:
    (unit,) = units_of(house, unit_with("base: 0x1000"))
    assert shown_at_once(unit, 0x1000) == [1, 1]
    assert unit.register_map.written.base == 0x1000


def test_unit_id_is_that_under_which_the_unit_stands(house: House) -> None:
    text = CONFIG + "      0x10: {meter: house, map: obis_plain}\n"
    text += "    any: {meter: house, map: obis_plain, serial: '7'}\n"
    assert [shown_at_once(unit)[0] for unit in units_of(house, text)] == [1, 16, 0xFFFF]


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        (CONFIG, 1),
        (meter_with("connection: 35A"), 0),
        (meter_with("connection: 400A"), 2),
        (unit_with("rated_power: 10kW"), 0),
        (unit_with("rated_power: 10000W"), 0),
        (unit_with("rated_power: 10000"), 0),
        (unit_with("rated_power: 270 kW"), 2),
        (unit_with("rated_power: 10kW").replace("ma309m\n", "ma309m\n    connection: 400A\n"), 0),
    ],
)
def test_rated_power_is_that_of_the_connection_unless_the_unit_says_otherwise(
    house: House, text: str, scale: int
) -> None:
    (unit,) = units_of(house, text)
    assert shown_at_once(unit)[1] == scale


def test_each_unit_that_shows_a_meter_has_a_serial_number_of_its_own(house: House) -> None:
    text = CONFIG + (
        "      2: {meter: house, map: obis_plain}\n"
        "      3: {meter: house, map: obis_plain, serial: X-77}\n"
        "  - tcp: 5021\n    any: {meter: other, map: obis_plain}\n"
    )
    text = text.replace("listeners:", "  other: {source: simulator:honeywell}\nlisteners:")
    assert [serials(unit) for unit in units_of(house, text)] == [
        ("A1234567", 1_234_567),
        ("234567-2", 1_001_234_567),
        ("X-77", 77),
        ("A1234567", 1_234_567),
    ]


def test_a_map_that_cannot_show_what_a_unit_gives_is_an_error_of_the_unit(house: House) -> None:
    path = house.folder / "maps" / "mine.yaml"
    third = "".join(f"      {n}: {{meter: house, map: obis_plain}}\n" for n in (2, 3))
    for text, where, what in (
        (unit_with("serial: ABC"), "8:10", "8:28: serial 'ABC' has no digit, and this map needs a"),
        (unit_with("base: 65530"), "8:10", "7:15: 4 registers from 65534 pass the last, 65535"),
        (CONFIG + third, "10:10", "8:28: one meter as 3 meters with numbers: give each its 's"),
    ):
        with pytest.raises(ConfigError) as problem:
            units_of(house, text)
        said = f"{house.path}:{where}: map mine cannot be shown so: {path}:{what}"
        assert str(problem.value).startswith(said)


def test_a_map_with_an_error_of_its_own_is_no_error_of_the_unit(house: House) -> None:
    (house.folder / "maps").mkdir()
    path = house.folder / "maps" / "mine.yaml"
    path.write_text(TINY_MAP.replace("uint16", "unit16"))
    error = house.error("maps: maps\n" + unit_with("base: 65535").replace("obis_plain", "mine"))
    assert str(error).startswith(f"{path}:4:34: unknown type 'unit16'")


# --- ways to be reached ---------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "rtu_over_tcp", "udp"])
def test_a_listener_is_reached_in_one_of_these_ways(house: House, transport: str) -> None:
    (listener,) = house.read(changed("tcp:", f"{transport}:")).listeners
    assert listener.transport is Transport(transport)
    assert (listener.host, listener.port, listener.line) == ("127.0.0.1", 5020, None)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", SerialLine(9600, "N", 1)),
        ("baud: 19200", SerialLine(19200, "N", 1)),
        ("parity: even\n    baud: 115200", SerialLine(115200, "E", 1)),
        ("parity: odd\n    stop_bits: 2", SerialLine(9600, "O", 2)),
        ("parity: none", SerialLine()),
        ("parity: E", SerialLine(parity="E")),
        ("parity: N\n    stop_bits: 2", SerialLine(stop_bits=2)),
    ],
)
def test_a_serial_line_has_a_device_and_how_it_is_set(
    house: House, words: str, line: SerialLine
) -> None:
    (listener,) = house.read(line_with(words) if words else LINE + UNITS).listeners
    assert listener.transport is Transport.SERIAL
    assert (listener.host, listener.port, listener.line) == ("/dev/ttyS0", 0, line)


def test_tcp_and_udp_may_have_the_same_port_and_listeners_any_number_of_free_ones(
    house: House,
) -> None:
    unit = "any: {meter: house, map: obis_plain}"
    text = f"{CONFIG}  - udp: 5020\n    {unit}\n" + 2 * f"  - tcp: 127.0.0.1:0\n    {unit}\n"
    assert [each.port for each in house.read(text).listeners] == [5020, 5020, 0, 0]


def test_state_is_looked_for_where_the_config_stands(house: House) -> None:
    assert house.read(f"state: seen.json\n{CONFIG}").state == house.folder / "seen.json"
    assert house.read(f"state: /var/lib/x.json\n{CONFIG}").state == Path("/var/lib/x.json")


def test_reading_a_config_writes_no_state(house: House) -> None:
    house.read(f"state: states/seen.json\n{CONFIG}")
    assert [path.name for path in house.folder.iterdir()] == ["config.yaml"]


# --- register maps --------------------------------------------------------------------------


def test_a_map_of_the_users_folder_goes_before_a_shipped_one(house: House) -> None:
    (house.folder / "maps").mkdir()
    (house.folder / "maps" / "obis_plain.yaml").write_text(TINY_MAP)
    config = house.read(f"maps: maps\n{CONFIG}")
    assert config.maps_folder == house.folder / "maps"
    assert config.listeners[0].units[1].register_map.written.name == "Mine"
    assert house.read(CONFIG).listeners[0].units[1].register_map.written.name == "Plain OBIS table"


def test_a_maps_folder_may_be_anywhere(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("maps")
    (elsewhere / "mine.yaml").write_text(TINY_MAP)
    text = f"maps: {elsewhere}\n" + changed("obis_plain", "mine")
    assert house.read(text).listeners[0].units[1].register_map.written.name == "Mine"


def test_a_missing_maps_folder_is_named(house: House) -> None:
    expected = f"1:7: {house.folder / 'mops'} is no folder"
    assert house.refusal(f"maps: mops\n{CONFIG}") == expected
    (house.folder / "mops").touch()
    assert house.refusal(f"maps: mops\n{CONFIG}") == expected


def test_an_error_in_a_map_names_the_maps_own_file_line_and_column(house: House) -> None:
    (house.folder / "maps").mkdir()
    path = house.folder / "maps" / "mine.yaml"
    path.write_text(TINY_MAP.replace("address: 0", "adress: 0"))
    error = house.error("maps: maps\n" + changed("obis_plain", "mine"))
    assert str(error) == f"{path}:4:6: unknown word 'adress', did you mean 'address'?"


# --- mistakes, each with its place ----------------------------------------------------------

LONG_HOLD = (
    "shows the last values for so long after the meter has fallen silent: an inverter or wallbox "
    "goes on regulating by them, and cannot tell. Choose 5min or less; or write accept_unsafe: "
    "true beside it"
)

MISTAKES = {
    # words
    "a typo at the top": (
        changed("meters:", "metres:"),
        "1:1: unknown word 'metres', did you mean 'meters'?",
    ),
    "a typo in a meter": (
        changed("source:", "sourze:"),
        "3:5: unknown word 'sourze', did you mean 'source'?",
    ),
    "a typo in a listener": (
        changed("units:", "unit:"),
        "6:5: unknown word 'unit', did you mean 'units'?",
    ),
    "a typo in a unit": (
        changed("{meter:", "{metre:"),
        "7:11: unknown word 'metre', did you mean 'meter'?",
    ),
    "a word that is like no other": (
        changed("source:", "xyz:"),
        "3:5: unknown word 'xyz'; known are source, sum, difference, key, auth_key, hold,"
        " accept_unsafe, connection, layout, frequency, phases, record",
    ),
    "a word twice": (
        changed("    units:", "    tcp: 5021\n    units:"),
        "6:5: 'tcp' comes twice",
    ),
    # what is missing
    "no meters": (
        CONFIG[CONFIG.index("listeners") :],
        "1:1: 'meters' is missing here",
    ),
    "no listeners": (CONFIG[: CONFIG.index("listeners")], "1:1: 'listeners' is missing here"),
    "empty meters": (
        "meters: {}\n" + CONFIG[CONFIG.index("listeners") :],
        "1:9: at least one meter is needed",
    ),
    "meters without anything": (
        "meters:\n" + CONFIG[CONFIG.index("listeners") :],
        "1:8: expected 'word: value' lines, found nothing",
    ),
    "a meter without a source": (
        changed("source: simulator:kaifa-ma309m", "hold: 15s"),
        "3:5: 'source' is missing here",
    ),
    "a meter without a key": (
        changed("simulator:kaifa-ma309m", "serial:/dev/ttyUSB0"),
        "3:5: 'key' is missing: meter 'house' sends encrypted telegrams",
    ),
    "a recording without a key": (
        changed("simulator:kaifa-ma309m", "recording:meter.bin"),
        "3:5: 'key' is missing: meter 'house' sends encrypted telegrams",
    ),
    "a listener without an address": (
        changed("tcp: 127.0.0.1:5020\n    ", ""),
        "5:5: a listener has one of tcp, tls, rtu_over_tcp, udp, serial",
    ),
    "a listener without units": (
        CONFIG[: CONFIG.index("    units")],
        "5:5: a listener serves 'units' by id, or 'any'",
    ),
    "a listener with empty units": (
        CONFIG[: CONFIG.index("    units")] + "    units: {}\n",
        "5:5: a listener serves 'units' by id, or 'any'",
    ),
    "a unit without a meter": (changed("meter: house, ", ""), "7:10: 'meter' is missing here"),
    "a unit without a map": (changed(", map: obis_plain", ""), "7:10: 'map' is missing here"),
    # meters
    "a meter twice": (
        changed("listeners:", "  house: {source: simulator:honeywell}\nlisteners:"),
        "4:3: 'house' comes twice",
    ),
    "an unknown meter in a unit": (
        changed("meter: house", "meter: hose"),
        "7:18: unknown meter 'hose', did you mean 'house'?",
    ),
    "another unknown meter in a unit": (
        changed("meter: house", "meter: garage"),
        "7:18: unknown meter 'garage'; known are house",
    ),
    "an unknown map": (
        changed("obis_plain", "obis_plane"),
        "7:30: unknown map 'obis_plane', did you mean 'obis_plain'?",
    ),
    # sources
    "an unknown kind of source": (
        changed("simulator:", "simulater:"),
        "3:13: unknown source 'simulater:kaifa-ma309m', did you mean 'simulator'?",
    ),
    "no kind of source": (
        changed("simulator:kaifa-ma309m", "/dev/ttyUSB0"),
        "3:13: unknown source '/dev/ttyUSB0'; a source looks like serial:/dev/ttyUSB0, "
        "tcp://192.168.1.20:2400, tcp-listen://0.0.0.0:2400, udp://0.0.0.0:2400, "
        "mqtt://192.168.1.10/meter/raw, mqtts://broker.example/meter/raw, "
        "recording:meter.bin, simulator:kaifa-ma309m",
    ),
    "a password in the config": (
        changed("simulator:kaifa-ma309m", f"mqtt://b/t?user=u&password=geheim\n    key: {HEX}"),
        "3:13: password: a password stands in a file, a variable or a credential: file:PATH, "
        "env:NAME or credential:NAME",
    ),
    "a port that is none": (
        changed("simulator:kaifa-ma309m", f"tcp://meter:24000x\n    key: {HEX}"),
        "3:13: 'meter:24000x' is no host:port; one looks like tcp://192.168.1.20:2400",
    ),
    "an unknown model": (
        changed("kaifa-ma309m", "kaifa-309m"),
        "3:13: unknown meter 'kaifa-309m', did you mean 'kaifa-ma309m'?",
    ),
    "an unknown option": (
        changed("kaifa-ma309m", "kaifa-ma309m?sead=1"),
        "3:13: unknown option 'sead', did you mean 'seed'?",
    ),
    "a bad option": (
        changed("kaifa-ma309m", "kaifa-ma309m?interval=never"),
        "3:13: 'never' is no duration; one looks like 15s, 500ms, 2min or 1h",
    ),
    "a source that is a list": (
        changed("simulator:kaifa-ma309m", "[a]"),
        "3:13: expected one value, found a list",
    ),
    # hold
    "a bad hold": (
        changed("kaifa-ma309m\n", "kaifa-ma309m\n    hold: soon\n"),
        "4:11: 'soon' is no duration; one looks like 15s, 500ms, 2min or 1h",
    ),
    "a hold that hides a silent meter": (
        meter_with("hold: 301s"),
        f"4:11: hold: 301s {LONG_HOLD}",
    ),
    "a long hold that was declined": (
        meter_with("hold: 0.1h\n    accept_unsafe: false"),
        f"4:11: hold: 0.1h {LONG_HOLD}",
    ),
    "a short hold that is accepted": (
        meter_with("hold: 5min\n    accept_unsafe: true"),
        "5:20: nothing is to be accepted: it goes with a hold above 5min",
    ),
    "a unit's hold that hides a silent meter": (
        unit_with("hold: 31622400"),
        f"7:48: hold: 31622400 {LONG_HOLD}",
    ),
    "no time to hold": (
        changed("kaifa-ma309m\n", "kaifa-ma309m\n    hold: 0s\n"),
        "4:11: '0s' is no duration; one looks like 15s, 500ms, 2min or 1h",
    ),
    # layouts, state, connection
    "an unknown layout": (
        LAYOUT + meter_with("layout: my-metre"),
        "11:13: unknown layout 'my-metre', did you mean 'my-meter'?",
    ),
    "a typo in a layout": (
        LAYOUT.replace("makers", "maker") + CONFIG,
        "3:5: unknown word 'maker', did you mean 'makers'?",
    ),
    "a layout without items": (
        "layouts: {mine: {makers: XYZ}}\n" + CONFIG,
        "1:17: 'items' is missing here",
    ),
    "an empty layout": (
        "layouts: {mine: {items: ''}}\n" + CONFIG,
        "1:25: layout mine lists nothing",
    ),
    "a bad code in a layout": (
        LAYOUT.replace("1-0:1.8.0 ", "1-0.1.8") + CONFIG,
        "4:12: layout my-meter: '1-0.1.8 u32  Wh': "
        "'1-0.1.8' is no OBIS code; one looks like 1-0:1.7.0.255",
    ),
    "an unknown unit in a layout": (
        LAYOUT.replace("Wh", "kWh") + CONFIG,
        "4:12: layout my-meter: '1-0:1.8.0  u32  kWh': unknown unit 'kWh'; "
        "there are W, VA, var, Wh, VAh, varh, A, V, Hz, -",
    ),
    "a code twice in a layout": (
        LAYOUT.replace("1-0:32.7.0 u16  0.1 V", "1-0:1.8.0 u32 Wh") + CONFIG,
        "4:12: layout my-meter: 1-0:1.8.0.255 comes twice",
    ),
    "layouts that are a list": (
        "layouts: [mine]\n" + CONFIG,
        "1:10: expected 'word: value' lines, found a list",
    ),
    "a state without a file": ("state: ''\n" + CONFIG, "1:8: no file is named"),
    "a state that no file can be": ('state: "a\\0b"\n' + CONFIG, "1:8: no file is named"),
    "a connection in kW": (
        meter_with("connection: 15kW"),
        "4:17: '15kW' is no current; one looks like 63A",
    ),
    "a connection of nothing": (
        meter_with("connection: 0A"),
        "4:17: '0A' is no current; one looks like 63A",
    ),
    "a connection below 0": (
        meter_with("connection: -63A"),
        "4:17: '-63A' is no current; one looks like 63A",
    ),
    "a connection of thousands of digits": (
        meter_with("connection: 1234567A"),
        "4:17: '1234567A' is no current; one looks like 63A",
    ),
    # frequency, phases
    "a frequency of nothing": (
        meter_with("frequency: 0Hz"),
        "4:16: '0Hz' is no frequency; one looks like 50Hz",
    ),
    "a frequency in seconds": (
        meter_with("frequency: 20ms"),
        "4:16: '20ms' is no frequency; one looks like 50Hz",
    ),
    "two phases": (
        meter_with("phases: [L1, L2]"),
        "4:13: phases are L1, L2 and L3, each once, as in [L2, L3, L1]",
    ),
    "a phase twice": (
        meter_with("phases: [L1, L2, L2]"),
        "4:13: phases are L1, L2 and L3, each once, as in [L2, L3, L1]",
    ),
    "a phase that is none": (
        meter_with("phases: [L1, L2, N]"),
        "4:13: phases are L1, L2 and L3, each once, as in [L2, L3, L1]",
    ),
    "phases that are no list": (
        meter_with("phases: L2 L3 L1"),
        "4:13: expected a list, found one value",
    ),
    # units
    "a typo in what a unit gives": (
        unit_with("bas: 40000"),
        "7:42: unknown word 'bas', did you mean 'base'?",
    ),
    "a base that is too high": (
        unit_with("base: 65536"),
        "7:48: 65536 is not between 0 and 65535",
    ),
    "a base that is no number": (unit_with("base: SunS"), "7:48: 'SunS' is no whole number"),
    "an empty serial": (
        unit_with("serial: ''"),
        "7:50: a serial number has ASCII characters that can be seen",
    ),
    "a serial with an umlaut": (
        unit_with("serial: Zähler"),
        "7:50: a serial number has ASCII characters that can be seen",
    ),
    "a serial of two lines": (
        unit_with('serial: "a\\nb"'),
        "7:50: a serial number has ASCII characters that can be seen",
    ),
    "a rated power in A": (
        unit_with("rated_power: 63A"),
        "7:55: '63A' is no power; one looks like 10kW",
    ),
    "a rated power of nothing": (
        unit_with("rated_power: 0"),
        "7:55: '0' is no power; one looks like 10kW",
    ),
    "a rated power below 0": (
        unit_with("rated_power: -5kW"),
        "7:55: '-5kW' is no power; one looks like 10kW",
    ),
    # a stale meter
    "a bad hold of a unit": (
        unit_with("hold: soon"),
        "7:48: 'soon' is no duration; one looks like 15s, 500ms, 2min or 1h",
    ),
    "an unknown answer for a stale meter": (
        unit_with("stale: zeros"),
        "7:49: unknown reaction 'zeros', did you mean 'zero'?",
    ),
    "last values for ever that nobody accepted": (
        unit_with("stale: last"),
        "7:49: stale: last shows its last values for as long as the meter is silent: an inverter "
        "or wallbox goes on regulating by them, and cannot tell. Choose exception, silent, "
        "not_available or close; or write accept_unsafe: true beside it",
    ),
    "zeros that were declined": (
        unit_with("accept_unsafe: false, stale: zero"),
        "7:71: stale: zero shows zeros (energies too) for as long as the meter is silent: an "
        "inverter or wallbox goes on regulating by them, and cannot tell. Choose exception, "
        "silent, not_available or close; or write accept_unsafe: true beside it",
    ),
    "nothing to accept": (
        unit_with("accept_unsafe: true"),
        "7:57: nothing is to be accepted: it goes with stale: last or zero, or a hold above 5min",
    ),
    "nothing unsafe to accept": (
        unit_with("stale: close, accept_unsafe: true"),
        "7:71: nothing is to be accepted: it goes with stale: last or zero, or a hold above 5min",
    ),
    "no answer to what is accepted": (
        unit_with("stale: last, accept_unsafe: maybe"),
        "7:70: unknown answer 'maybe'; known are true, false",
    ),
    # adjust
    "an adjustment of what follows from others": (
        unit_with("adjust: {active_power_l1: {offset: 1}}"),
        "7:51: unknown adjustable quantity 'active_power_l1', did you mean 'active_power_total'?",
    ),
    "a typo in an adjustment": (
        unit_with("adjust: {active_power_total: {ofset: 1}}"),
        "7:72: unknown word 'ofset', did you mean 'offset'?",
    ),
    "an adjustment of nothing": (
        unit_with("adjust: {active_power_total: {}}"),
        "7:71: an adjustment has a 'factor' or an 'offset'",
    ),
    "an adjustment that is no mapping": (
        unit_with("adjust: {active_power_total: 50}"),
        "7:71: expected 'word: value' lines, found one value",
    ),
    "an adjustment that is no number": (
        unit_with("adjust: {active_power_total: {offset: 50W}}"),
        "7:80: '50W' is no number",
    ),
    "the same adjusted twice": (
        unit_with("adjust: {voltage_l1: {factor: 2}, voltage_l1: {factor: 3}}"),
        "7:76: 'voltage_l1' comes twice",
    ),
    **{
        f"a factor or offset of {how}": (
            unit_with(f"adjust: {{voltage_l1: {{{how}}}}}"),
            "7:63: a factor is above 0 and at most 1000000, an offset at most 1000000000000",
        )
        for how in (
            *("factor: 0", "factor: -1", "factor: nan", "factor: inf", "factor: 1e300"),
            *("offset: nan", "offset: inf", "offset: -1e13"),
        )
    },
    # listeners
    "two ways to be reached": (
        changed("tcp: 127.0.0.1:5020", "tcp: 127.0.0.1:5020\n    udp: 127.0.0.1:5020"),
        "5:5: a listener has one of tcp, tls, rtu_over_tcp, udp, serial",
    ),
    "a way that there is not": (
        changed("tcp:", "rtu:"),
        "5:5: unknown word 'rtu'; known are tcp, tls, rtu_over_tcp, udp, serial, baud, parity,"
        " stop_bits, certificate, key, clients_ca, roles, allow, limits, units, any",
    ),
    "a typo in a way": (
        changed("tcp:", "rtu_over_tpc:"),
        "5:5: unknown word 'rtu_over_tpc', did you mean 'rtu_over_tcp'?",
    ),
    "a port of RTU over TCP that is too high": (
        changed("tcp: 127.0.0.1:5020", "rtu_over_tcp: 127.0.0.1:65536"),
        "5:19: '127.0.0.1:65536' is no address; one looks like 0.0.0.0:502",
    ),
    "a UDP address without a port": (
        changed("tcp: 127.0.0.1:5020", "udp: 127.0.0.1"),
        "5:10: '127.0.0.1' is no address; one looks like 0.0.0.0:502",
    ),
    "a device that is none": (
        changed("tcp: 127.0.0.1:5020", "serial: ttyUSB0"),
        "5:13: 'ttyUSB0' is no device; one looks like /dev/serial/by-id/…",
    ),
    "a serial line that is an address": (
        changed("tcp: 127.0.0.1:5020", "serial: 127.0.0.1:5020"),
        "5:13: '127.0.0.1:5020' is no device; one looks like /dev/serial/by-id/…",
    ),
    "networks on a serial line": (
        line_with("allow: [10.0.0.0/8]"),
        "6:12: 'allow' means nothing to a serial listener",
    ),
    "every id of a serial line": (
        line_with("any: {meter: house, map: obis_plain}"),
        "6:10: others may answer on a serial line: name the unit ids",
    ),
    "a baud rate that is none": (
        line_with("baud: 9601"),
        "6:11: unknown baud rate '9601', did you mean '9600'?",
    ),
    "a parity that is none": (
        line_with("parity: evn"),
        "6:13: unknown parity 'evn', did you mean 'even'?",
    ),
    "a parity of marks": (
        line_with("parity: mark"),
        "6:13: unknown parity 'mark'; known are none, even, odd, N, E, O",
    ),
    "three stop bits": (line_with("stop_bits: 3"), "6:16: 3 is not between 1 and 2"),
    **{
        f"{word} of {transport}": (
            changed("tcp: 127.0.0.1:5020", f"{transport}: 127.0.0.1:5020\n    {word}: {value}"),
            f"6:{7 + len(word)}: {word!r} means nothing to a {transport} listener",
        )
        for transport in ("tcp", "rtu_over_tcp", "udp")
        for word, value in (("baud", "9600"), ("parity", "none"), ("stop_bits", "1"))
    },
    "a port for TCP and RTU over TCP": (
        CONFIG + "  - rtu_over_tcp: 5020\n    any: {meter: house, map: obis_plain}\n",
        "8:5: 127.0.0.1:5020 comes twice",
    ),
    "a serial line twice": (
        line_with("baud: 9600") + LINE.partition("listeners:\n")[2] + UNITS,
        "9:5: /dev/ttyS0 comes twice",
    ),
    "an address without a port": (
        changed("127.0.0.1:5020", "127.0.0.1"),
        "5:10: '127.0.0.1' is no address; one looks like 0.0.0.0:502",
    ),
    "a port that is no number": (
        changed("127.0.0.1:5020", "127.0.0.1:modbus"),
        "5:10: '127.0.0.1:modbus' is no address; one looks like 0.0.0.0:502",
    ),
    "a port that is too high": (
        changed("127.0.0.1:5020", "127.0.0.1:65536"),
        "5:10: '127.0.0.1:65536' is no address; one looks like 0.0.0.0:502",
    ),
    "a port of thousands of digits": (
        changed("127.0.0.1:5020", "127.0.0.1:" + 5000 * "9"),
        "5:10: '127.0.0.1:(hidden: it looks like a key)…' is no address; "
        "one looks like 0.0.0.0:502",
    ),
    "an empty list of networks": (
        changed("127.0.0.1:5020\n", "127.0.0.1:5020\n    allow: []\n"),
        "6:12: an empty list lets nobody connect; leave it out for all",
    ),
    "an address twice": (
        CONFIG + "  - tcp: 5020\n    any: {meter: house, map: obis_plain}\n",
        "8:5: 127.0.0.1:5020 comes twice",
    ),
    "an empty list of listeners": (
        CONFIG.partition("  - tcp")[0].replace("listeners:", "listeners: []"),
        "4:12: at least one listener is needed",
    ),
    "a port below 0": (
        changed("127.0.0.1:5020", "127.0.0.1:-1"),
        "5:10: '127.0.0.1:-1' is no address; one looks like 0.0.0.0:502",
    ),
    "a bad network": (
        changed("127.0.0.1:5020\n", "127.0.0.1:5020\n    allow: [10.0.0.0/8, lan]\n"),
        "6:25: 'lan' does not appear to be an IPv4 or IPv6 network; "
        "a network looks like 192.168.1.0/24",
    ),
    "a network with bits of a host": (
        changed("127.0.0.1:5020\n", "127.0.0.1:5020\n    allow: [192.168.1.7/24]\n"),
        "6:13: 192.168.1.7/24 has host bits set; a network looks like 192.168.1.0/24",
    ),
    "a network that is no list": (
        changed("127.0.0.1:5020\n", "127.0.0.1:5020\n    allow: 192.168.1.0/24\n"),
        "6:12: expected a list, found one value",
    ),
    "listeners that are no list": (
        changed("  - tcp: 127.0.0.1:5020", "    tcp: 127.0.0.1:5020"),
        "5:5: expected a list, found 'word: value' lines",
    ),
    "a unit id that is too high": (
        changed(" 1: {", " 256: {"),
        "7:7: 256 is not between 0 and 255",
    ),
    "a unit id below 0": (changed(" 1: {", " -1: {"), "7:7: -1 is not between 0 and 255"),
    "a unit id that is no number": (
        changed(" 1: {", " one: {"),
        "7:7: 'one' is no whole number",
    ),
    "a unit id twice": (
        CONFIG + "      1: {meter: house, map: sunspec_213}\n",
        "8:7: '1' comes twice",
    ),
    # the file itself
    "nothing": ("", "1:1: the file is empty"),
    "only a comment": ("# later\n", "1:1: the file is empty"),
    "a list": ("- a\n", "1:1: expected 'word: value' lines, found a list"),
    "one word": ("meters\n", "1:1: expected 'word: value' lines, found one value"),
    "two documents": (
        "---\na: 1\n---\nb: 2\n",
        "3:1: expected a single document in the stream, but found another document",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_shown_with_line_column_and_what_would_be_right(
    house: House, text: str, expected: str
) -> None:
    assert house.refusal(text) == expected


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("    source:", "\tsource:", "3:1: "),
        ("simulator:kaifa-ma309m", "[", "5:3: "),
        ("house:\n", "house\n", "3:11: "),
        ("simulator:kaifa-ma309m", "'simulator", "8:1: "),
        ("simulator:kaifa-ma309m", "@simulator", "3:13: "),
    ],
)
def test_what_is_no_yaml_is_shown_with_line_and_column(
    house: House, old: str, new: str, where: str
) -> None:
    assert house.refusal(changed(old, new)).startswith(where)


def test_a_control_character_is_shown_with_line_and_column(house: House) -> None:
    assert house.refusal(changed("kaifa-ma309m", "kaifa\x07")).startswith("3:28: ")


def test_one_unit_id_written_in_two_ways_comes_twice(house: House) -> None:
    text = CONFIG + "      0x1: {meter: house, map: sunspec_213}\n"
    assert house.refusal(text).startswith("8:7: ")


def test_a_missing_config_is_said_with_how_to_name_one(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError) as problem:
        Config.read(path)
    assert str(problem.value) == f"{path}: there is no such file; name one behind the command"


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as problem:
        Config.read(tmp_path)
    assert str(problem.value).startswith(f"{tmp_path}: cannot be read: ")


def test_a_config_that_is_no_text_is_named(house: House) -> None:
    house.path.write_bytes(b"meters: \xff\n")
    with pytest.raises(ConfigError) as problem:
        Config.read(house.path)
    expected = f"{house.path}: byte 8 is no UTF-8: save the file as UTF-8"
    assert str(problem.value) == expected


def test_a_byte_order_mark_is_no_part_of_a_config_nor_of_a_key(house: House) -> None:
    house.key_file(b"\xef\xbb\xbf" + HEX.encode())
    house.path.write_bytes(b"\xef\xbb\xbf" + with_key("file:house.key").encode())
    assert Config.read(house.path).meters["house"].key == KEY


SNIPPETS = [
    *("\n", " ", "  ", "\t", ":", "- ", "-", "[", "]", "{", "}", ",", "'", '"', "|", ">", "?"),
    *("&a ", "*a", "!x ", "!!set ", "%", "@", "~", "<<: ", "#", "---\n", "0", "1", "-1", "1e9"),
    *("house", "meters", "file:", "env:", "serial:", "\0", "\x07", "é", "🙂", "\ufeff", "\u2028"),
]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(SNIPPETS)),
        min_size=1,
        max_size=4,
    )
)
def test_any_text_is_a_config_or_a_config_error_of_one_line(
    house: House, edits: list[tuple[float, int, str]]
) -> None:
    (house.folder / "maps").mkdir(exist_ok=True)
    (house.folder / "maps" / "mine.yaml").write_text(TINY_MAP)
    text = "maps: maps\n" + changed("obis_plain", "mine")
    for place, removed, snippet in edits:
        at = int(place * len(text))
        text = text[:at] + snippet + text[at + removed :]
    try:
        said = house.read(text).file
    except ConfigError as problem:
        said = str(problem)
    assert said.startswith(str(house.folder))
    assert "\n" not in said


# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        HEX,
        HEX.lower(),
        f"'{HEX}'",
        "00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF",
        "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
        f"0x{HEX}",
        HEX.encode().hex(),
    ],
)
def test_a_key_may_stand_in_the_config_with_a_warning_that_says_where(
    house: House, written: str
) -> None:
    config = house.read(with_key(written))
    assert config.meters["house"].key == KEY
    assert config.warnings == [
        f"{house.path}:4:10: a key stands in the config: move it to a file, key: file:house.key"
    ]


def test_an_auth_key_in_the_config_is_warned_about_too(house: House) -> None:
    house.key_file(HEX.encode())
    config = house.read(with_key(f"file:house.key\n    auth_key: {HEX}"))
    assert [warning.partition(": ")[0] for warning in config.warnings] == [f"{house.path}:5:15"]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n\n"])
def test_a_key_file_stands_beside_the_config_and_needs_no_warning(house: House, end: str) -> None:
    house.key_file(f"{HEX}{end}".encode())
    config = house.read(with_key("file:house.key"))
    assert config.meters["house"].key == KEY
    assert config.warnings == []


def test_a_key_file_may_be_anywhere(house: House, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = House(tmp_path_factory.mktemp("keys")).key_file(HEX.encode(), 0o400)
    assert house.read(with_key(f"file:{path}")).meters["house"].key == KEY


def test_a_key_may_come_from_the_environment(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_KEY", HEX)
    config = house.read(with_key("env:HOUSE_KEY"))
    assert config.meters["house"].key == KEY
    assert config.warnings == []
    assert read_key_variable("HOUSE_KEY") == KEY


def test_a_name_of_16_characters_is_a_name_and_no_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, variable = "house_meter1.key", "HOUSE_METER1_KEY"
    assert len(file) == len(variable) == 16
    house.key_file(HEX.encode(), name=file)
    monkeypatch.setenv(variable, HEX)
    assert house.read(with_key(f"file:{file}")).meters["house"].key == KEY
    assert house.read(with_key(f"env:{variable}")).meters["house"].key == KEY


RULE = (
    "a key has 32 hex digits (spaces, colons, dashes and 0x are allowed), or 16 characters, "
    "or 64 hex digits that spell the 32"
)


def test_a_key_of_a_wrong_length_is_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    short = HEX[:30]
    assert house.refusal(with_key(short)) == f"4:10: key has 30 hex digits; {RULE}"
    path = house.key_file(short.encode())
    expected = f"4:10: key file {path}: key has 30 hex digits; {RULE}"
    assert house.refusal(with_key("file:house.key")) == expected
    monkeypatch.setenv("HOUSE_KEY", short)
    expected = f"4:10: environment variable HOUSE_KEY: key has 30 hex digits; {RULE}"
    assert house.refusal(with_key("env:HOUSE_KEY")) == expected


@pytest.mark.parametrize("written", ["", "''", "~"])
def test_a_key_that_is_nothing_is_refused(house: House, written: str) -> None:
    assert house.refusal(with_key(written)).startswith("4:")


def test_an_empty_key_file_is_refused(house: House) -> None:
    path = house.key_file(b"\n")
    assert house.refusal(with_key("file:house.key")) == f"4:10: key file {path}: key is empty"


def test_a_missing_key_file_is_named(house: House) -> None:
    expected = f"4:10: key file {house.folder / 'house.key'} does not exist"
    assert house.refusal(with_key("file:house.key")) == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o610, 0o622])
def test_a_key_file_that_others_can_reach_says_how_to_close_it(house: House, mode: int) -> None:
    path = house.key_file(HEX.encode(), mode)
    expected = f"4:10: key file {path} can be read by others: chmod 600 {path}"
    assert house.refusal(with_key("file:house.key")) == expected
    path.chmod(0o600)
    assert house.read(with_key("file:house.key")).meters["house"].key == KEY


def test_a_key_file_of_raw_bytes_says_how_to_write_it(house: House) -> None:
    path = house.key_file(bytes(range(0xF0, 0x100)))
    expected = f"4:10: key file {path} is no text: write the key as 32 hex digits"
    assert house.refusal(with_key("file:house.key")) == expected


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_is_no_key_file_and_nobody_is_told_to_close_it(house: House, mode: int) -> None:
    folder = house.folder / "keys"
    folder.mkdir()
    folder.chmod(mode)
    expected = f"4:10: key file {folder} cannot be read: Is a directory"
    assert house.refusal(with_key("file:keys")) == expected


def test_a_key_file_behind_what_is_no_folder_is_named(house: House) -> None:
    house.key_file(HEX.encode())
    expected = f"4:10: key file {house.folder}/house.key/x cannot be read: Not a directory"
    assert house.refusal(with_key("file:house.key/x")) == expected


def test_a_variable_that_is_not_set_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    expected = "4:10: environment variable HOUSE_KEY is not set"
    assert house.refusal(with_key("env:HOUSE_KEY")) == expected


def test_a_key_file_and_a_variable_are_read_without_a_config_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_key_file(house.key_file(HEX.encode())) == KEY
    with pytest.raises(ConfigError, match="can be read by others: chmod 600 "):
        read_key_file(house.key_file(HEX.encode(), 0o644))
    monkeypatch.setenv("HOUSE_KEY", "short")
    with pytest.raises(ConfigError, match=r"^environment variable HOUSE_KEY: key has 5 "):
        read_key_variable("HOUSE_KEY")


@pytest.mark.parametrize("written", ["Credential:house", "File:a_house.key", "ENV:A_HOUSES_KEY"])
def test_a_mistyped_way_to_a_key_is_not_taken_for_a_key(house: House, written: str) -> None:
    # Any 16 characters are a key.
    assert len(written) == 16
    kind = written.partition(":")[0]
    expected = f"4:10: {kind!r} is no way to a key; there are file:PATH, env:NAME, credential:NAME"
    assert house.refusal(with_key(written)) == expected


# --- credentials of systemd -----------------------------------------------------------------


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as systemd makes it for a service; with ACLs, a group seems to read them."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "house.key").write_text(f"{HEX}\n")
    (folder / "house.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_key_may_be_a_credential(house: House, credentials: Path) -> None:
    config = house.read(with_key("credential:house.key"))
    assert config.meters["house"].key == KEY
    assert config.warnings == []


def test_a_credential_that_systemd_was_not_told_of_is_named(
    house: House, credentials: Path
) -> None:
    expected = (
        f"4:10: credential other.key is not among those in {credentials}: "
        "LoadCredential=other.key:… in the unit"
    )
    assert house.refusal(with_key("credential:other.key")) == expected


def test_a_credential_without_systemd_says_what_to_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    expected = (
        "4:10: credential house.key is handed over by systemd, which has not started this; "
        "by hand: CREDENTIALS_DIRECTORY=/etc/obisgate/keys, as root"
    )
    assert house.refusal(with_key("credential:house.key")) == expected


@pytest.mark.parametrize(
    "name", ["../house.key", "/etc/passwd", "..", ".", ".hidden", "a/b", "", "x\0y", "x" * 200]
)
def test_a_credential_is_looked_for_nowhere_else(
    house: House, credentials: Path, name: str
) -> None:
    (credentials.parent / "house.key").write_text(HEX)
    with pytest.raises(ConfigError, match="is no name of a credential"):
        read_key_credential(name)


def test_a_bad_credential_is_named_and_not_shown(house: House, credentials: Path) -> None:
    (credentials / "short").write_text(HEX[:30])
    expected = f"4:10: credential short: key has 30 hex digits; {RULE}"
    assert house.refusal(with_key("credential:short")) == expected
    (credentials / "raw").write_bytes(b"\xff" * 16)
    expected = "4:10: credential raw is no text: write the key as 32 hex digits"
    assert house.refusal(with_key("credential:raw")) == expected
    (credentials / "folder").mkdir()
    expected = "4:10: credential folder cannot be read: Is a directory"
    assert house.refusal(with_key("credential:folder")) == expected


# --- a key is never shown -------------------------------------------------------------------

SECRETS = {
    "hex": "8C1F0A77E2B94D3566D0F1A2B3C4D5E6",
    "hex, small": "8c1f0a77e2b94d3566d0f1a2b3c4d5e6",
    "spaces": "8C 1F 0A 77 E2 B9 4D 35 66 D0 F1 A2 B3 C4 D5 E6",
    "colons": "8C:1F:0A:77:E2:B9:4D:35:66:D0:F1:A2:B3:C4:D5:E6",
    "characters": "Tr0ub4dor&3xyzzy",
    "hex of hex": b"8C1F0A77E2B94D3566D0F1A2B3C4D5E6".hex(),
}
# What is wrong with each of them, and still as secret.
SPOILED: dict[str, Callable[[str], str]] = {
    "too short": lambda secret: secret[:-1],
    "too long": lambda secret: secret + "7",
    "with a letter that is no digit": lambda secret: secret[:-2] + "Gx" + secret[-1],
}


def fragments(secret: str) -> Iterator[str]:
    """All pieces of a secret that tell something of it: six characters and more."""
    octets = Key.parse(secret).octets if is_key(secret) else b""
    for form in (secret, secret.replace(" ", "").replace(":", ""), octets.hex(), repr(octets)):
        yield from (form[start : start + 6].lower() for start in range(len(form) - 5))
    if octets:
        yield base64.b64encode(octets).decode()[:6].lower()


def is_key(text: str) -> bool:
    try:
        Key.parse(text)
    except ValueError:
        return False
    return True


def shows(text: str, secret: str) -> bool:
    return any(piece in text.lower() for piece in fragments(secret))


def all_said(error: BaseException) -> str:
    """An error with its traceback and all that it came from."""
    said = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        said += f"{link!r} {link} {link.args}"
        link = link.__cause__ or link.__context__
    return said


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_warning_and_no_repr_shows_a_key(
    house: House, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_KEY", secret)
    house.key_file(secret.encode())
    for written in (f'"{secret}"', "file:house.key", "env:HOUSE_KEY"):
        config = house.read(with_key(f"{written}\n    auth_key: {written}"))
        assert config.meters["house"].key == Key.parse(secret)
        for shown in (repr(config.warnings), repr(config.meters), repr(config.meters["house"])):
            assert not shows(shown, secret)


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_error_about_a_key_shows_it(
    house: House, secret: str, spoil: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = spoil(secret)
    assert not is_key(wrong)
    monkeypatch.setenv("HOUSE_KEY", wrong)
    house.key_file(wrong.encode())
    for written in (f'"{wrong}"', "file:house.key", "env:HOUSE_KEY"):
        assert not shows(all_said(house.error(with_key(written))), wrong)


KEY_AS = "SECRET"
SLIPS = {
    "a list": with_key(f'["{KEY_AS}"]'),
    "a mapping": with_key(f'{{hex: "{KEY_AS}"}}'),
    "a missing colon": changed("kaifa-ma309m\n", f'kaifa-ma309m\n    key "{KEY_AS}"\n'),
    "a missing quote": with_key(f'"{KEY_AS}'),
    "a quote too many": with_key(f'"{KEY_AS}""'),
    "a tab": changed("kaifa-ma309m\n", f'kaifa-ma309m\n\tkey: "{KEY_AS}"\n'),
    "a wrong word": changed("kaifa-ma309m\n", f'kaifa-ma309m\n    kye: "{KEY_AS}"\n'),
    "at the top": f'key: "{KEY_AS}"\n{CONFIG}',
    "among the meters": changed("kaifa-ma309m\n", f'kaifa-ma309m\n  key: "{KEY_AS}"\n'),
    "in a listener": CONFIG + f'    key: "{KEY_AS}"\n',
}


@pytest.mark.parametrize("text", SLIPS.values(), ids=SLIPS)
def test_no_error_shows_a_key_that_stands_where_it_should_not(house: House, text: str) -> None:
    for secret in SECRETS.values():
        assert not shows(str(house.error(text.replace(KEY_AS, secret))), secret)


WORDS_THAT_ERRORS_SHOW = {
    "a source": changed("simulator:kaifa-ma309m", f'"{KEY_AS}"'),
    "a recording": changed("simulator:kaifa-ma309m", f'"recording:{KEY_AS}"'),
    "a port": changed("simulator:kaifa-ma309m", f'"serial:{KEY_AS}"'),
    "a map": changed("obis_plain", f'"{KEY_AS}"'),
    "a meter": changed("meter: house", f'meter: "{KEY_AS}"'),
    "an address": changed("127.0.0.1:5020", f'"{KEY_AS}"'),
    "a word": changed("  - tcp", f'  - "{KEY_AS}": 1\n    tcp'),
    "a duration": changed("kaifa-ma309m\n", f'kaifa-ma309m\n    hold: "{KEY_AS}"\n'),
}


@pytest.mark.parametrize("text", WORDS_THAT_ERRORS_SHOW.values(), ids=WORDS_THAT_ERRORS_SHOW)
def test_no_error_about_a_word_shows_hex_digits_of_a_key(house: House, text: str) -> None:
    # Sixteen characters cannot be told from a word; they are no key in these places.
    for secret in [each for each in SECRETS.values() if len(each) > 16]:
        assert not shows(str(house.error(text.replace(KEY_AS, secret))), secret)


@pytest.mark.parametrize("kind", ["file", "env"])
def test_no_error_shows_hex_digits_that_stand_where_a_name_should(house: House, kind: str) -> None:
    for secret in SECRETS.values():
        if secret != SECRETS["characters"]:  # that could as well be a name
            assert not shows(str(house.error(with_key(f'"{kind}:{secret}"'))), secret)


@pytest.mark.parametrize(
    "secret", ["*abcdefghijklmno", "!abcdef!ghijklmn", "&abcdefghijklmno", "@abcdefghijklmno"]
)
def test_no_error_shows_an_unquoted_key_that_yaml_takes_for_something_else(
    house: House, secret: str
) -> None:
    assert is_key(secret)
    assert not shows(str(house.error(with_key(secret))), secret)


def test_a_key_file_that_the_service_may_not_read_is_named(house: House) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read every file")
    path = house.key_file(HEX.encode(), 0o000)
    expected = f"4:10: key file {path} cannot be read: Permission denied"
    assert house.refusal(with_key("file:house.key")) == expected


# --- recordings -----------------------------------------------------------------------------


def with_record(written: str) -> str:
    return changed("kaifa-ma309m\n", f"kaifa-ma309m\n    record: {written}\n")


def test_a_recording_stands_beside_the_config_and_has_limits(house: House) -> None:
    (meter,) = house.read(
        with_record("{file: house.rec, max_size: 2MB, rotate: 3}")
    ).meters.values()
    assert meter.record == RecordConfig(house.folder / "house.rec", 2_000_000, 3)
    (meter,) = house.read(with_record("{file: house.rec}")).meters.values()
    assert meter.record == RecordConfig(house.folder / "house.rec", 10 << 20, 0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{max_size: 1MB}", "4:13: 'file' is missing here"),
        ("house.rec", "4:13: expected 'word: value' lines, found one value"),
        ('{file: ""}', "4:20: no file is named"),
        ("{file: .}", "4:20: . is a folder, not a file"),
        ("{file: a.rec, size: 1MB}", "4:27: unknown word 'size', did you mean 'max_size'?"),
        (
            "{file: a.rec, max_size: 1MX}",
            "4:37: '1MX' is no size; one looks like 32KiB or 1MiB",
        ),
        ("{file: a.rec, max_size: 5}", "4:37: a recording may grow to 32KiB at least"),
        ("{file: a.rec, rotate: many}", "4:35: 'many' is no whole number"),
        ("{file: a.rec, rotate: 1001}", "4:35: 1001 is not between 0 and 1000"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said_with_its_place(
    house: House, written: str, expected: str
) -> None:
    assert house.refusal(with_record(written)) == expected


def test_two_meters_never_share_a_recording(house: House) -> None:
    text = """
meters:
  a: {source: simulator:honeywell, record: {file: a.rec}}
  b: {source: simulator:honeywell, record: {file: ./a.rec}}
listeners:
  - {tcp: 127.0.0.1:5020, any: {meter: a, map: obis_plain}}
"""
    expected = "4:51: a.rec cannot be a recording: it is a recording; name a file of its own"
    assert house.refusal(text) == expected
    expected = "3:51: a.rec cannot be an older part of a recording"
    text = text.replace("file: a.rec}", "file: a.rec, rotate: 2}").replace("./a.rec", "a.rec.2")
    assert house.refusal(text) == (
        "4:51: a.rec.2 cannot be a recording: it is an older part of a recording; "
        "name a file of its own"
    )


# Every file that this config names, what is at that name, and what the error calls it.
NAMED_FILES = {
    "config.yaml": "this config",
    "house.key": "a key",
    "auth.key": "a key",
    "own_maps/mine.yaml": "a map",
    "raw.bin": "what is played",
    "broker.pass": "a source's password",
    "server.crt": "a listener's certificate",
    "server.key": "a listener's key",
    "ca.crt": "a listener's clients_ca",
    "house.rec": "a recording",
    "house.rec.2": "an older part of a recording",
}
ALL_FILES = """\
state: %s
maps: own_maps
meters:
  house:
    source: simulator:kaifa-ma309m
    key: file:house.key
    auth_key: file:auth.key
    record: {file: house.rec, rotate: 2}
  played: {source: "recording:raw.bin", key: file:house.key}
  sent: {source: "mqtt://127.0.0.1/a?user=me&password=file:broker.pass", key: file:house.key}
listeners:
  - {tls: 127.0.0.1:8802, certificate: server.crt, key: server.key, clients_ca: ca.crt,
     any: {meter: house, map: obis_plain}}
"""


@pytest.mark.parametrize(("name", "what"), NAMED_FILES.items(), ids=NAMED_FILES)
def test_nothing_that_a_config_names_becomes_the_state(house: House, name: str, what: str) -> None:
    all_files(house)
    expected = f"1:8: {Path(name).name} cannot be the state: it is {what}; name a file of its own"
    assert house.refusal(ALL_FILES % name) == expected
    (house.folder / "link").symlink_to(name)
    assert house.refusal(ALL_FILES % "link") == expected
    assert house.read(ALL_FILES % "state.json").state == house.folder / "state.json"


@pytest.mark.parametrize("name", ["config.yaml", "house.key", "own_maps/mine.yaml", "server.crt"])
def test_nothing_that_a_config_names_is_recorded_into(house: House, name: str) -> None:
    all_files(house)
    what = NAMED_FILES[name]
    text = (ALL_FILES % "state.json").replace("{file: house.rec,", f"{{file: {name},")
    assert house.refusal(text) == (
        f"8:20: {Path(name).name} cannot be a recording: it is {what}; name a file of its own"
    )


def all_files(house: House) -> None:
    """Write what ALL_FILES names."""
    for name in ("house.key", "auth.key", "broker.pass"):
        house.key_file(HEX.encode(), name=name)
    (house.folder / "own_maps").mkdir()
    (house.folder / "own_maps" / "mine.yaml").write_text(TINY_MAP)
    now = datetime.now(UTC)
    authority = new_authority("house", now)
    server = new_server(authority, ["127.0.0.1"], now, 30)
    (house.folder / "ca.crt").write_bytes(authority.certificate)
    (house.folder / "server.crt").write_bytes(server.certificate)
    house.key_file(server.key, name="server.key")


def test_what_is_played_is_not_recorded_into_itself(house: House) -> None:
    house.key_file(HEX.encode())
    text = """
meters:
  a: {source: "recording:a.rec", key: file:house.key, record: {file: a.rec}}
listeners: []
"""
    assert "a.rec is what is played" in house.refusal(text)
