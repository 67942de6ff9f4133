"""config.yaml → Config; every error says file, line, column and the nearest valid word."""

import ipaddress
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import map_library
from gateway.duration import parse_duration
from gateway.located import ConfigError, Located, load, nearest
from gateway.registers import RegisterMap
from gateway.sources import Source, SourceAddress, open_source
from gateway.telegram import Key
from gateway.telegram.ciphering import KEY_BYTES

DEFAULT_HOLD_S = 15.0
DEFAULT_HOST = "127.0.0.1"
# What a simulator encrypts with when its meter has no key of its own; it protects nothing.
SIMULATOR_KEY = Key(bytes(range(16)))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One meter: where its bytes come from, the keys, how long its values may be served."""

    name: str
    source: Source
    key: Key
    auth_key: Key | None
    hold_s: float


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

    `warnings` are about what works but should not stay so.
    """

    file: str
    maps_folder: Path | None
    meters: Mapping[str, MeterConfig]
    listeners: Sequence[ListenerConfig]
    warnings: Sequence[str]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read a config file and all that it names: maps and keys. ConfigError if any is wrong."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no such file; obisgate run FILE") from None
        except (OSError, UnicodeDecodeError) as problem:
            raise ConfigError(f"{path}: cannot be read: {problem}") from None
        return _Reader(path).config(load(text, str(path)))


class _Reader:
    """Reads one config file; relative paths in it start where it stands."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._folder = path.parent
        self._maps_folder: Path | None = None
        self._maps: dict[str, RegisterMap] = {}
        self._warnings: list[str] = []

    def config(self, root: Located) -> Config:
        words = root.mapping(("meters", "listeners", "maps"), required=("meters", "listeners"))
        if "maps" in words:
            self._maps_folder = self._folder / words["maps"].text()
            if not self._maps_folder.is_dir():
                raise words["maps"].error(f"{self._maps_folder} is no folder")
        meters = {name.text(): self._meter(name, m) for name, m in words["meters"].entries()}
        if not meters:
            raise words["meters"].error("at least one meter is needed")
        listeners: list[ListenerConfig] = []
        for item in words["listeners"].items():
            listener = self._listener(item, meters)
            taken = [(each.host, each.port) for each in listeners if each.port]
            if (listener.host, listener.port) in taken:
                raise item.error(f"{listener.host}:{listener.port} comes twice")
            listeners.append(listener)
        if not listeners:
            raise words["listeners"].error("at least one listener is needed")
        return Config(self._file, self._maps_folder, meters, listeners, self._warnings)

    def _meter(self, name: Located, meter: Located) -> MeterConfig:
        words = meter.mapping(("source", "key", "auth_key", "hold"), required=("source",))
        try:
            address = SourceAddress.parse(words["source"].text())
        except ValueError as problem:
            raise words["source"].error(str(problem)) from None
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
        return MeterConfig(name.text(), source, key, auth_key, hold_s)

    def _key(self, written: Located) -> Key:
        """Read a key from file:PATH, env:NAME, or as it stands (with a warning)."""
        kind, colon, name = written.text().partition(":")
        if colon and _is_hex_key(name):
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
        host, port = _endpoint(words["tcp"])
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


def _is_hex_key(text: str) -> bool:
    try:
        Key.parse(text)
    except ValueError:
        return False
    return len(text) > KEY_BYTES  # any 16 characters may be a key, and a name as well


def read_key_file(path: Path) -> Key:
    """Read a key file; ConfigError or ValueError, without a byte of it, if that cannot be."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"key file {path} cannot be read: Is a directory")
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"key file {path} can be read by others: chmod 600 {path}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"key file {path} does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(f"key file {path} is no text: write the key as 32 hex digits") from None
    except OSError as problem:
        raise ConfigError(f"key file {path} cannot be read: {problem.strerror}") from None
    try:
        return Key.parse(text)
    except ValueError as problem:
        raise ConfigError(f"key file {path}: {problem}") from None


def read_key_variable(name: str) -> Key:
    """Read a key from an environment variable; ConfigError, without a byte of it, if bad."""
    if name not in os.environ:
        raise ConfigError(f"environment variable {name} is not set")
    try:
        return Key.parse(os.environ[name])
    except ValueError as problem:
        raise ConfigError(f"environment variable {name}: {problem}") from None


def _endpoint(written: Located) -> tuple[str, int]:
    """Read 127.0.0.1:5020, [::1]:5020, or 5020 alone, which is only for this machine."""
    host, _, port = written.text().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or DEFAULT_HOST
    if not (port.isdecimal() and len(port) <= 5 and int(port) <= 0xFFFF):
        raise written.error(f"{written.text()!r} is no address; one looks like 0.0.0.0:502")
    return host, int(port)


def _network(written: Located) -> Network:
    try:
        return ipaddress.ip_network(written.text())
    except ValueError as problem:
        raise written.error(f"{problem}; a network looks like 192.168.1.0/24") from None
