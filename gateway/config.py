"""config.yaml → Config; every error says file, line, column and the nearest valid word."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import map_library
from gateway.duration import parse_duration
from gateway.endpoint import parse_endpoint, show_endpoint
from gateway.keys import is_hex_key, read_key_file, read_key_variable
from gateway.located import ConfigError, Located, load, nearest
from gateway.registers import RegisterMap
from gateway.snapshot.plausibility import DEFAULT_CONNECTION_A
from gateway.sources import Source, SourceAddress, open_source
from gateway.state import default_path
from gateway.telegram import Decoder, Key, Layout
from gateway.telegram.layouts import LAYOUTS

DEFAULT_HOLD_S = 15.0
# What a simulator encrypts with when its meter has no key of its own; it protects nothing.
SIMULATOR_KEY = Key(bytes(range(16)))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One meter: where its bytes come from, the keys, how long its values may be served.

    `connection_a` is what the house is fused with; `layout` is prescribed, or None: recognised.
    """

    name: str
    source: Source
    key: Key
    auth_key: Key | None
    hold_s: float
    connection_a: float
    layout: Layout | None

    def decoder(self, layouts: Sequence[Layout]) -> Decoder:
        """Return a decoder for its telegrams; `layouts` are those that are known."""
        return Decoder(self.key, self.auth_key, layout=self.layout, layouts=layouts)


@dataclass(frozen=True, slots=True)
class UnitConfig:
    """One unit: the name of its meter, and its map with the name under which it was found."""

    meter: str
    map_name: str
    register_map: RegisterMap


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """One endpoint. `units` by id; `any_unit` answers every other id; `allow` empty means all."""

    host: str
    port: int
    allow: Sequence[Network]
    units: Mapping[int, UnitConfig]
    any_unit: UnitConfig | None
    where: str


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; `maps_folder` is the user's own.

    `layouts` are the user's own before the built-in ones; `state` is where the last counters and
    energies are kept; `warnings` are about what works but should not stay so.
    """

    file: str
    maps_folder: Path | None
    layouts: Sequence[Layout]
    state: Path
    meters: Mapping[str, MeterConfig]
    listeners: Sequence[ListenerConfig]
    warnings: Sequence[str]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read a config file and all that it names: maps and keys. ConfigError if any is wrong."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: there is no such file; name one behind the command"
            ) from None
        except UnicodeDecodeError as problem:
            where = f"{path}: byte {problem.start}"
            raise ConfigError(f"{where} is no UTF-8: save the file as UTF-8") from None
        except OSError as problem:
            raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
        return _Reader(path).config(load(text, str(path)))


class _Reader:
    """Reads one config file; relative paths in it start where it stands."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._folder = path.parent
        self._maps_folder: Path | None = None
        self._maps: dict[str, RegisterMap] = {}
        self._layouts = {layout.name: layout for layout in LAYOUTS}
        self._warnings: list[str] = []

    def config(self, root: Located) -> Config:
        words = root.mapping(
            ("meters", "listeners", "maps", "layouts", "state"), required=("meters", "listeners")
        )
        if "maps" in words:
            self._maps_folder = self._folder_at(words["maps"])
        if "layouts" in words:
            own = {name.text(): _layout(name, each) for name, each in words["layouts"].entries()}
            # In front, and in place of a built-in one of the same name.
            self._layouts = own | {k: v for k, v in self._layouts.items() if k not in own}
        meters = {name.text(): self._meter(name, m) for name, m in words["meters"].entries()}
        if not meters:
            raise words["meters"].error("at least one meter is needed")
        listeners: list[ListenerConfig] = []
        for item in words["listeners"].items():
            listener = self._listener(item, meters)
            taken = [(each.host, each.port) for each in listeners if each.port]
            if (listener.host, listener.port) in taken:
                where = show_endpoint(listener.host, listener.port)
                raise item.error(f"{where} comes twice")
            listeners.append(listener)
        if not listeners:
            raise words["listeners"].error("at least one listener is needed")
        state = default_path(Path(self._file))
        if "state" in words:
            if not words["state"].text() or "\0" in words["state"].text():
                raise words["state"].error("no file is named")
            if (
                not Path(words["state"].text()).name
                or (self._folder / words["state"].text()).is_dir()
            ):
                raise words["state"].error(f"{words['state'].text()} is a folder, not a file")
            state = self._folder / words["state"].text()
        return Config(
            self._file,
            self._maps_folder,
            list(self._layouts.values()),
            state,
            meters,
            listeners,
            self._warnings,
        )

    def _folder_at(self, written: Located) -> Path:
        folder = self._folder / written.text()
        try:
            if written.text() and folder.is_dir():
                return folder
        except (OSError, ValueError):
            pass
        raise written.error(f"{folder} is no folder" if written.text() else "no folder is named")

    def _meter(self, name: Located, meter: Located) -> MeterConfig:
        words = meter.mapping(
            ("source", "key", "auth_key", "hold", "connection", "layout"), required=("source",)
        )
        if not name.text().isprintable() or not name.text():
            raise name.error("a meter's name has characters that can be seen")
        try:
            address = SourceAddress.parse(words["source"].text(), self._folder)
        except ValueError as problem:
            raise words["source"].error(str(problem)) from None
        if is_hex_key(Path(address.target).name):
            raise words["source"].error(f"what stands behind {address.kind}: is a key, not a name")
        if "key" in words:
            key = self._key(words["key"])
        elif address.kind == "simulator":
            key = SIMULATOR_KEY
        else:
            raise meter.error(f"'key' is missing: meter {name.text()!r} sends encrypted telegrams")
        auth_key = self._key(words["auth_key"]) if "auth_key" in words else None
        try:
            hold_s = parse_duration(words["hold"].text()) if "hold" in words else DEFAULT_HOLD_S
        except ValueError as problem:
            raise words["hold"].error(str(problem)) from None
        try:
            source = open_source(address, key, auth_key)
        except ValueError as problem:
            raise words["source"].error(str(problem)) from None
        connection_a = DEFAULT_CONNECTION_A
        if "connection" in words:
            connection_a = _amperes(words["connection"])
        layout = None
        if "layout" in words:
            layout = self._layouts[words["layout"].choice(self._layouts, "layout")]
        return MeterConfig(name.text(), source, key, auth_key, hold_s, connection_a, layout)

    def _key(self, written: Located) -> Key:
        """Read a key from file:PATH, env:NAME, or as it stands (with a warning)."""
        kind, colon, name = written.text().partition(":")
        if colon and is_hex_key(name):
            raise written.error(f"what stands behind {kind}: is a key, not a name")
        if colon and kind.lower() in ("file", "env", "credential") and kind not in ("file", "env"):
            raise written.error(f"{kind!r} is no way to a key; there are file:PATH and env:NAME")
        try:
            if kind == "file" and colon:
                return read_key_file(self._folder / name)
            if kind == "env" and colon:
                return read_key_variable(name)
            key = Key.parse(written.text())
        except (ValueError, ConfigError) as problem:
            raise written.error(f"{problem}") from None
        self._warnings.append(
            f"{written.where}: a key stands in the config: move it to a file, key: file:house.key"
        )
        return key

    def _listener(self, item: Located, meters: Mapping[str, MeterConfig]) -> ListenerConfig:
        words = item.mapping(("tcp", "allow", "units", "any"), required=("tcp",))
        try:
            host, port = parse_endpoint(words["tcp"].text())
        except ValueError as problem:
            raise words["tcp"].error(str(problem)) from None
        units: dict[int, UnitConfig] = {}
        for unit_id, unit in words["units"].entries() if "units" in words else []:
            number = unit_id.integer(0, 255)
            if number in units:
                raise unit_id.error(f"unit {number} comes twice")
            units[number] = self._unit(unit, meters)
        any_unit = self._unit(words["any"], meters) if "any" in words else None
        if not units and any_unit is None:
            raise item.error("a listener serves 'units' by id, or 'any'")
        allow = [_network(each) for each in words["allow"].items()] if "allow" in words else []
        if "allow" in words and not allow:
            raise words["allow"].error("an empty list lets nobody connect; leave it out for all")
        return ListenerConfig(host, port, allow, units, any_unit, words["tcp"].where)

    def _unit(self, unit: Located, meters: Mapping[str, MeterConfig]) -> UnitConfig:
        words = unit.mapping(("meter", "map"), required=("meter", "map"))
        meter = words["meter"].choice(meters, "meter")
        name = words["map"].text()
        if name not in self._maps:
            known = map_library.find(self._maps_folder)
            if name not in known:
                raise words["map"].error(f"unknown map {name!r}{nearest(name, known)}")
            self._maps[name] = map_library.load(name, self._maps_folder)
        return UnitConfig(meter, name, self._maps[name])


def _layout(name: Located, layout: Located) -> Layout:
    """Read a layout that the built-in table does not have yet."""
    words = layout.mapping(("makers", "items"), required=("items",))
    makers = words["makers"].text() if "makers" in words else ""
    try:
        return Layout.parse(name.text(), makers, words["items"].text())
    except ValueError as problem:
        raise words["items"].error(str(problem)) from None


def _amperes(written: Located) -> float:
    """Read 63A or 63."""
    match = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)\s*A?", written.text().strip())
    if match is None or float(match[1]) == 0:
        raise written.error(f"{written.text()!r} is no current; one looks like 63A")
    return float(match[1])


def _network(written: Located) -> Network:
    try:
        return ipaddress.ip_network(written.text())
    except ValueError as problem:
        raise written.error(f"{problem}; a network looks like 192.168.1.0/24") from None
