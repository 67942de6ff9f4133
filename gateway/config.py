"""config.yaml → Config; every error says file, line, column and the nearest valid word."""

import ipaddress
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import map_library
from gateway.duration import parse_duration
from gateway.endpoint import parse_endpoint, show_endpoint
from gateway.files import Files
from gateway.keys import is_hex_key, read_key_credential, read_key_file, read_key_variable
from gateway.limits import (
    MAX_CONNECTIONS,
    MAX_UNREAD_BYTES,
    MIN_UNREAD_BYTES,
    Limits,
    parse_size,
)
from gateway.located import ConfigError, Located, load, nearest
from gateway.registers import UNSAFE, Given, RegisterMap, Stale, rated_power_w
from gateway.registers.register import MAX_ADDRESS
from gateway.snapshot import Adjustment
from gateway.snapshot.adjust import ADJUSTABLE, Linear
from gateway.snapshot.combine import Combination
from gateway.snapshot.derive import PHASES
from gateway.snapshot.plausibility import DEFAULT_CONNECTION_A
from gateway.snapshot.snapshot import NOMINAL_FREQUENCY_HZ
from gateway.sources import Source, SourceAddress, open_source
from gateway.state import default_path
from gateway.telegram import Decoder, Key, Layout
from gateway.telegram.layouts import LAYOUTS

if TYPE_CHECKING:  # imported when a config has one
    from gateway.recording import Began, RecordingFile
    from gateway.tls_files import TlsFiles

DEFAULT_HOLD_S = 15.0
LONG_HOLD = "5min"  # what is served for longer without a telegram must be accepted
LONG_HOLD_S = parse_duration(LONG_HOLD)
# What people call it, an example, and what a house may have of it.
AMOUNTS = {
    "A": ("current", "63A", 1, 1000),
    "W": ("power", "10kW", 1000, 1_000_000),
    "Hz": ("frequency", "50Hz", 45, 65),
}
VIRTUAL_WORDS = (*Combination, "hold")  # of a meter that is made of others
METER_WORDS = (
    "source", *Combination, "key", "auth_key", "hold", "accept_unsafe", "connection", "layout",
    "frequency", "phases", "record",
)  # fmt: skip
UNIT_WORDS = (
    "meter", "map", "base", "serial", "rated_power", "adjust", "hold", "stale", "accept_unsafe",
)  # fmt: skip
UNSAFE_MEANINGS = {Stale.LAST: "its last values", Stale.ZERO: "zeros (energies too)"}
MARKER = "SunS"  # the text with which a SunSpec map begins
MAX_FACTOR, MAX_OFFSET = 10**6, 10**12  # of an adjustment; more is a slip
# What a simulator encrypts with when its meter has no key of its own; it protects nothing.
SIMULATOR_KEY = Key(bytes(range(16)))

# Where a key may stand, and what names it there.
KEY_PLACES = {"file": "PATH", "env": "NAME", "credential": "NAME"}

TLS_PORT = 802  # MODBUS/TCP Security v21; IANA: mbap-s
TLS_WORDS = ("certificate", "key", "clients_ca", "roles")
DEFAULT_ROLES = ("reader",)  # as `obisgate tls` writes it
RECORD_WORDS = ("file", "max_size", "rotate")
LIMIT_WORDS = ("connections", "connections_per_address", "idle", "unread", "request")
LINE_WORDS = ("baud", "parity", "stop_bits")
BAUD_RATES = ("1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200")
PARITIES = ("none", "even", "odd", "N", "E", "O")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Transport(StrEnum):
    """How a listener is reached."""

    TCP = "tcp"
    TLS = "tls"
    RTU_OVER_TCP = "rtu_over_tcp"
    UDP = "udp"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How a serial line is set. `parity` is N, E or O."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How a TLS listener knows its clients, and they it: its files, and the roles that may read."""

    files: "TlsFiles"
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordConfig:
    """Where a meter's bytes are recorded, how large a file may grow, how many older ones stay."""

    file: Path
    max_bytes: int
    rotate: int

    def recording(self, began: "Began") -> "RecordingFile":
        """Return the file for a run of a recorder; nothing is opened yet."""
        from gateway.recording import RecordingFile

        return RecordingFile(self.file, began, self.max_bytes, self.rotate)


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One meter: where its bytes come from, the keys, how long its values may be served.

    `connection_a` is what the house is fused with; `layout` is prescribed, or None: recognised.
    `frequency_hz` is nominal; `phases` are the meter's phases that stand as L1, L2 and L3. Its
    bytes are recorded where `record` says, None: nowhere.
    """

    name: str
    source: Source
    key: Key
    auth_key: Key | None
    hold_s: float
    connection_a: float
    layout: Layout | None
    frequency_hz: float
    phases: tuple[str, ...]
    record: RecordConfig | None = None

    def decoder(self, layouts: Sequence[Layout]) -> Decoder:
        """Return a decoder for its telegrams; `layouts` are those that are known."""
        return Decoder(self.key, self.auth_key, layout=self.layout, layouts=layouts)

    @property
    def adjustment(self) -> Adjustment:
        """Return how it is shown: its phases in their places, its nominal frequency."""
        return Adjustment(self.phases, self.frequency_hz)

    @property
    def numbered_as(self) -> str:
        """Return the name of the meter whose serial number it shows."""
        return self.name


@dataclass(frozen=True, slots=True)
class VirtualMeterConfig:
    """A meter that is made of others, by their names, in their order.

    `connection_a` is what they are fused with together; `numbered_as` is the meter whose serial
    number it shows.
    """

    name: str
    how: Combination
    parts: tuple[str, ...]
    hold_s: float
    connection_a: float
    numbered_as: str

    def describe(self) -> str:
        """Return what it is, for people: "house + annex"."""
        return (" + " if self.how is Combination.SUM else " - ").join(self.parts)


Metered = MeterConfig | VirtualMeterConfig


@dataclass(frozen=True, slots=True)
class UnitConfig:
    """One unit: the name of its meter, its map with the name under which it was found.

    `adjustment` is what the user corrects, None: nothing. `hold_s` and `stale` are its own, None:
    the meter's and the map's.
    """

    meter: str
    map_name: str
    register_map: RegisterMap
    adjustment: Adjustment | None
    hold_s: float | None = None
    stale: Stale | None = None


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """One endpoint. `units` by id; `any_unit` answers every other id; `allow` empty means all.

    A serial line has no port, its `host` is the device and `line` how it is set; `tls` is there
    for a TLS listener only, and `limits` mean nothing on a serial line and over UDP.
    """

    transport: Transport
    host: str
    port: int
    line: SerialLine | None
    tls: TlsConfig | None
    allow: Sequence[Network]
    units: Mapping[int, UnitConfig]
    any_unit: UnitConfig | None
    where: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; `maps_folder` is the user's own.

    `virtual_meters` stand behind those that they are made of. `layouts` are the user's own before
    the built-in ones; `state` is where the last counters and energies are kept; `warnings` are
    about what works but should not stay so.
    """

    file: str
    maps_folder: Path | None
    layouts: Sequence[Layout]
    state: Path
    meters: Mapping[str, MeterConfig]
    virtual_meters: Mapping[str, VirtualMeterConfig]
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

    def refuse_virtual(self, name: str) -> None:
        """Refuse the name of a meter that has no telegrams of its own."""
        if virtual := self.virtual_meters.get(name):
            raise ConfigError(
                f"meter {name} is {virtual.describe()} and has no telegrams of its own: "
                "name one of those"
            )


class _Reader:
    """Reads one config file; relative paths in it start where it stands."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._folder = path.parent
        self._maps_folder: Path | None = None
        self._maps: dict[tuple[str, Given], RegisterMap] = {}
        # Units that show a meter, so far, and have no serial number of their own.
        self._copies: Counter[str] = Counter()
        self._serials: set[str] = set()
        self._files = Files(path)
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
        meters, virtual_meters = self._meters(words["meters"])
        if not meters:
            raise words["meters"].error("at least one meter is needed")
        listeners: list[ListenerConfig] = []
        for item in words["listeners"].items():
            listener = self._listener(item, {**meters, **virtual_meters})
            taken = [_endpoint(each) for each in listeners if each.port or each.line]
            if _endpoint(listener) in taken:
                where = listener.host
                if listener.line is None:
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
        self._files.writes(state, "the state", words.get("state"))
        for file in map_library.find(self._maps_folder).values():
            self._files.reads(file, "a map")
        self._files.refuse_conflicts()
        return Config(
            self._file,
            self._maps_folder,
            list(self._layouts.values()),
            state,
            meters,
            virtual_meters,
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

    def _meters(
        self, written: Located
    ) -> tuple[dict[str, MeterConfig], dict[str, VirtualMeterConfig]]:
        """Read the meters: those with a source, and those that are made of others."""
        real: dict[str, MeterConfig] = {}
        virtual: dict[str, tuple[Located, Located]] = {}
        for name, meter in written.entries():
            words = meter.mapping(METER_WORDS)
            if any(how in words for how in Combination):
                virtual[name.text()] = name, meter
            else:
                real[name.text()] = self._meter(name, meter)
        found: dict[str, VirtualMeterConfig] = {}
        for name, meter in virtual.values():
            found[name.text()] = _virtual_meter(name, meter, {**real, **found}, virtual)
        return real, found

    def _meter(self, name: Located, meter: Located) -> MeterConfig:
        words = meter.mapping(METER_WORDS, required=("source",))
        _check_name(name)
        try:
            address = SourceAddress.parse(words["source"].text(), self._folder)
        except ValueError as problem:
            raise words["source"].error(str(problem)) from None
        if is_hex_key(Path(address.target).name):
            raise words["source"].error(f"what stands behind {address.kind}: is a key, not a name")
        self._read_by_source(address)
        if "key" in words:
            key = self._key(words["key"])
        elif address.kind == "simulator":
            key = SIMULATOR_KEY
        else:
            raise meter.error(f"'key' is missing: meter {name.text()!r} sends encrypted telegrams")
        auth_key = self._key(words["auth_key"]) if "auth_key" in words else None
        hold_s = self._hold(words, f"meter {name.text()}") or DEFAULT_HOLD_S
        if hold_s <= LONG_HOLD_S:
            _refuse_acceptance(words, f"a hold above {LONG_HOLD}")
        try:
            source = open_source(address, key, auth_key)
        except ValueError as problem:
            raise words["source"].error(str(problem)) from None
        connection_a = DEFAULT_CONNECTION_A
        if "connection" in words:
            connection_a = _amount(words["connection"], "A")
        frequency_hz = NOMINAL_FREQUENCY_HZ
        if "frequency" in words:
            frequency_hz = _amount(words["frequency"], "Hz")
        phases = _phases(words["phases"]) if "phases" in words else PHASES
        layout = None
        if "layout" in words:
            layout = self._layouts[words["layout"].choice(self._layouts, "layout")]
        record = self._record(words["record"], address) if "record" in words else None
        return MeterConfig(
            name.text(), source, key, auth_key, hold_s, connection_a, layout, frequency_hz, phases,
            record,
        )  # fmt: skip

    def _read_by_source(self, address: SourceAddress) -> None:
        """Note the files that a source reads."""
        if address.kind == "recording":
            self._files.reads(Path(address.target), "what is played")
        for word, prefix in (("password", "file:"), ("ca", "")):
            written = address.options.get(word, "")
            if written and written.startswith(prefix):
                name = written.removeprefix(prefix)
                self._files.reads(self._folder / name, f"a source's {word}")

    def _record(self, record: Located, address: SourceAddress) -> RecordConfig:
        """Read record: {file: house.rec, max_size: 10MB, rotate: 5}."""
        from gateway.recording.file import DEFAULT_MAX_BYTES, MAX_ROTATE, MIN_MAX_BYTES

        words = record.mapping(RECORD_WORDS, required=("file",))
        name = words["file"].text()
        if not name or "\0" in name:
            raise words["file"].error("no file is named")
        file = self._folder / name
        if not Path(name).name or file.is_dir():
            raise words["file"].error(f"{name} is a folder, not a file")
        if address.kind == "recording" and file.resolve() == Path(address.target).resolve():
            raise words["file"].error(f"{name} is what is played: it would be recorded for ever")
        max_bytes, rotate = DEFAULT_MAX_BYTES, 0
        if "max_size" in words:
            try:
                max_bytes = parse_size(words["max_size"].text())
            except ValueError as problem:
                raise words["max_size"].error(str(problem)) from None
            if max_bytes < MIN_MAX_BYTES:
                reason = f"a recording may grow to {MIN_MAX_BYTES // 1024}KiB at least"
                raise words["max_size"].error(reason)
        if "rotate" in words:
            rotate = words["rotate"].integer(0, MAX_ROTATE)
        self._files.writes(file, "a recording", words["file"])
        for number in range(1, rotate + 1):
            older = file.with_name(f"{file.name}.{number}")
            self._files.writes(older, "an older part of a recording", words["file"])
        return RecordConfig(file, max_bytes, rotate)

    def _key(self, written: Located) -> Key:
        """Read a key from where KEY_PLACES are, or as it stands (with a warning)."""
        kind, colon, name = written.text().partition(":")
        if colon and is_hex_key(name):
            raise written.error(f"what stands behind {kind}: is a key, not a name")
        if colon and kind.lower() in KEY_PLACES and kind not in KEY_PLACES:
            ways = ", ".join(f"{place}:{what}" for place, what in KEY_PLACES.items())
            raise written.error(f"{kind!r} is no way to a key; there are {ways}")
        try:
            if kind == "file" and colon:
                self._files.reads(self._folder / name, "a key")
                return read_key_file(self._folder / name)
            if kind == "env" and colon:
                return read_key_variable(name)
            if kind == "credential" and colon:
                return read_key_credential(name)
            key = Key.parse(written.text())
        except (ValueError, ConfigError) as problem:
            raise written.error(f"{problem}") from None
        self._warnings.append(
            f"{written.where}: a key stands in the config: move it to a file, key: file:house.key"
        )
        return key

    def _listener(self, item: Located, meters: Mapping[str, Metered]) -> ListenerConfig:
        words = item.mapping(
            (*Transport, *LINE_WORDS, *TLS_WORDS, "allow", "limits", "units", "any")
        )
        transports = [transport for transport in Transport if transport in words]
        if len(transports) != 1:
            raise item.error(f"a listener has one of {', '.join(Transport)}")
        transport = transports[0]
        endpoint = words[transport]
        line = _serial_line(words) if transport is Transport.SERIAL else None
        is_tls = transport is Transport.TLS
        foreign = (*(("allow",) if line else LINE_WORDS), *(() if is_tls else TLS_WORDS))
        if transport in (Transport.UDP, Transport.SERIAL):
            foreign += ("limits",)
        for word in foreign:
            if word in words:
                raise words[word].error(f"{word!r} means nothing to a {transport} listener")
        usual_port = TLS_PORT if is_tls else None
        try:
            host, port = (
                (endpoint.text(), 0) if line else parse_endpoint(endpoint.text(), usual_port)
            )
        except ValueError as problem:
            raise endpoint.error(str(problem)) from None
        if line and not host.startswith("/"):
            raise endpoint.error(f"{host!r} is no device; one looks like /dev/serial/by-id/…")
        units: dict[int, UnitConfig] = {}
        for unit_id, unit in words["units"].entries() if "units" in words else []:
            number = unit_id.integer(0, 255)
            if number == 0 and transport in (Transport.SERIAL, Transport.RTU_OVER_TCP):
                raise unit_id.error("0 speaks to all meters on a line, and none answers: 1 to 247")
            if number in units:
                raise unit_id.error(f"unit {number} comes twice")
            units[number] = self._unit(unit, meters, number)
        any_unit = self._unit(words["any"], meters, None) if "any" in words else None
        if line and any_unit:
            raise words["any"].error("others may answer on a serial line: name the unit ids")
        if not units and any_unit is None:
            raise item.error("a listener serves 'units' by id, or 'any'")
        allow = [_network(each) for each in words["allow"].items()] if "allow" in words else []
        if "allow" in words and not allow:
            raise words["allow"].error("an empty list lets nobody connect; leave it out for all")
        tls = self._tls(item, words) if is_tls else None
        return ListenerConfig(
            transport, host, port, line, tls, allow, units, any_unit, endpoint.where,
            _limits(words["limits"]) if "limits" in words else Limits(),
        )  # fmt: skip

    def _tls(self, item: Located, words: Mapping[str, Located]) -> TlsConfig:
        """Read a TLS listener's words, and the files that they name."""
        for word in TLS_WORDS[:3]:
            if word not in words:
                raise item.error(f"{word!r} is missing here: obisgate tls init makes the files")
        from gateway.tls_files import TlsFiles

        files = TlsFiles(*(self._file_at(words[word]) for word in TLS_WORDS[:3]))
        for word in TLS_WORDS[:3]:
            self._files.reads(self._file_at(words[word]), f"a listener's {word}")
        try:
            written = words["certificate"]
            expires = files.check_certificate()
            written = words["key"]
            context = files.check_key()
            written = words["clients_ca"]
            files.check_clients_ca(context)
        except ConfigError as problem:
            raise written.error(str(problem)) from None
        if warning := files.expiry_warning(expires, datetime.now(UTC)):
            self._warnings.append(f"{words['certificate'].where}: {warning}")
        roles: tuple[str, ...] = DEFAULT_ROLES
        if "roles" in words:
            roles = tuple(role.text() for role in words["roles"].items())
            if not all(roles) or not roles:
                raise words["roles"].error("name at least one role, as in [reader]")
        return TlsConfig(files, roles)

    def _file_at(self, written: Located) -> Path:
        # As a meter's key may be named.
        name = written.text().removeprefix("file:")
        if not name or "\0" in name:
            raise written.error("no file is named")
        return self._folder / name

    def _unit(
        self, unit: Located, meters: Mapping[str, Metered], unit_id: int | None
    ) -> UnitConfig:
        words = unit.mapping(UNIT_WORDS, required=("meter", "map"))
        meter = meters[words["meter"].choice(meters, "meter")]
        rated = rated_power_w(meter.connection_a)
        serial = _serial(words["serial"]) if "serial" in words else None
        if serial is None:
            self._copies[meter.numbered_as] += 1
        elif serial in self._serials:
            raise words["serial"].error(f"two meters with the serial number {serial!r}")
        else:
            self._serials.add(serial)
        given = Given(
            base=words["base"].integer(0, MAX_ADDRESS) if "base" in words else None,
            rated_power_w=_amount(words["rated_power"], "W") if "rated_power" in words else rated,
            serial=serial,
            copy=self._copies[meter.numbered_as] if serial is None else 1,
            unit_id=unit_id,
        )
        adjustment = Adjustment()
        if isinstance(meter, MeterConfig):
            adjustment = replace(meter.adjustment, linear=_linear(words))
        elif "adjust" in words:
            raise words["adjust"].error(
                f"meter {meter.name} is {meter.describe()}, and nothing is adjusted of it"
            )
        name = words["map"].text()
        if (name, given) not in self._maps:
            known = map_library.find(self._maps_folder)
            if name not in known:
                raise words["map"].error(f"unknown map {name!r}{nearest(name, known)}")
            self._maps[name, given] = self._map(name, given, unit)
        who = f"unit {'any' if unit_id is None else unit_id}"
        hold_s = self._hold(words, who)
        if isinstance(meter, VirtualMeterConfig) and (hold_s or 0) > meter.hold_s:
            raise words["hold"].error(
                f"longer than that of {meter.name}, {meter.hold_s:g} s: after that it is not made "
                "anew of its meters, however fresh some of them are"
            )
        stale = self._stale(words, who, meter.name)
        if stale not in UNSAFE and (hold_s or 0) <= LONG_HOLD_S:
            _refuse_acceptance(words, f"stale: {' or '.join(UNSAFE)}, or a hold above {LONG_HOLD}")
        return UnitConfig(
            meter.name,
            name,
            self._maps[name, given],
            adjustment if adjustment != Adjustment() else None,
            hold_s,
            stale,
        )

    def _hold(self, words: Mapping[str, Located], who: str) -> float | None:
        """Read how long the last values are served; a long time must be accepted."""
        if "hold" not in words:
            return None
        hold_s, written = _duration(words["hold"]), words["hold"].text().strip()
        if hold_s <= LONG_HOLD_S:
            return hold_s
        if not _is_accepted(words):
            raise words["hold"].error(
                f"hold: {written} shows the last values for so long after the meter has fallen "
                "silent: an inverter or wallbox goes on regulating by them, and cannot tell. "
                f"Choose {LONG_HOLD} or less; or write accept_unsafe: true beside it"
            )
        self._warnings.append(
            f"{words['hold'].where}: unsafe: {who} shows its last values for as long without a "
            f"telegram, and no client can tell (hold: {written})"
        )
        return hold_s

    def _stale(self, words: Mapping[str, Located], who: str, meter: str) -> Stale | None:
        """Read what the unit says of a stale meter; what no client can see must be accepted."""
        stale = Stale(words["stale"].choice(list(Stale), "reaction")) if "stale" in words else None
        if stale not in UNSAFE:
            return stale
        what = UNSAFE_MEANINGS[stale]
        if not _is_accepted(words):
            raise words["stale"].error(
                f"stale: {stale} shows {what} for as long as the meter is silent: an inverter or "
                "wallbox goes on regulating by them, and cannot tell. Choose exception, silent, "
                "not_available or close; or write accept_unsafe: true beside it"
            )
        self._warnings.append(
            f"{words['stale'].where}: unsafe: while meter {meter} is silent, {who} shows {what}, "
            f"and no client can tell (stale: {stale})"
        )
        return stale

    def _map(self, name: str, given: Given, unit: Located) -> RegisterMap:
        """Load a map; what is wrong only with what the unit gives is an error of the unit."""
        try:
            found = map_library.load(name, self._maps_folder, given)
        except ConfigError as problem:
            map_library.load(name, self._maps_folder)
            raise unit.error(f"map {name} cannot be shown so: {problem}") from None
        marker = next((each.address for each in found.registers if each.shows == MARKER), None)
        if given.base not in (None, marker) and marker is not None:
            raise unit.error(
                f"map {name} has its SunSpec marker at {marker} then, not at {given.base}: "
                "its base cannot be moved like this"
            )
        return found


def _virtual_meter(
    name: Located,
    meter: Located,
    known: Mapping[str, Metered],
    virtual: Collection[str],
) -> VirtualMeterConfig:
    """Read a meter that is made of `known` ones; `virtual` are all that are made of others."""
    words = meter.mapping(METER_WORDS)
    ways = [how for how in Combination if how in words]
    if len(ways) > 1 or "source" in words:
        raise meter.error(f"a meter has one of source, {', '.join(Combination)}")
    how = ways[0]
    for word, written in words.items():
        if word not in VIRTUAL_WORDS:
            raise written.error(f"{word!r} means nothing to a {how}: it goes with its meters")
    _check_name(name)
    parts: list[Metered] = []
    for item in words[how].items():
        if item.text() == name.text():
            raise item.error(f"meter {name.text()!r} is made of itself")
        if item.text() in virtual and item.text() not in known:
            raise item.error(f"meter {item.text()!r} stands below: move it above {name.text()!r}")
        part = known[item.choice(known, "meter")]
        if part in parts:
            raise item.error(f"{part.name!r} comes twice")
        parts.append(part)
    if len(parts) < 2:
        raise words[how].error(f"a {how} is made of two meters or more")
    for root, times in _counted(how, parts, known).items():
        if abs(times) > 1:
            raise words[how].error(f"{root!r} counts twice: more than one of these contains it")
    shortest = min(parts, key=lambda part: part.hold_s)
    hold_s = _duration(words["hold"]) if "hold" in words else shortest.hold_s
    if hold_s > shortest.hold_s:
        raise words["hold"].error(
            f"longer than that of {shortest.name}, {shortest.hold_s:g} s: what is stale there "
            "would be served here"
        )
    fused = parts if how is Combination.SUM else parts[:1]
    return VirtualMeterConfig(
        name.text(),
        how,
        tuple(part.name for part in parts),
        hold_s,
        sum(part.connection_a for part in fused),
        parts[0].numbered_as,
    )


def _counted(
    how: Combination, parts: Sequence[Metered], known: Mapping[str, Metered]
) -> Counter[str]:
    """Return how often each meter with a source is added; less than 0: taken away."""
    counted: Counter[str] = Counter()
    for place, part in enumerate(parts):
        inside = Counter((part.name,))
        if isinstance(part, VirtualMeterConfig):
            inside = _counted(part.how, [known[name] for name in part.parts], known)
        if how is Combination.DIFFERENCE and place:
            counted.subtract(inside)
        else:
            counted.update(inside)
    return counted


def _check_name(name: Located) -> None:
    if not name.text().isprintable() or not name.text():
        raise name.error("a meter's name has characters that can be seen")


def _layout(name: Located, layout: Located) -> Layout:
    """Read a layout that the built-in table does not have yet."""
    words = layout.mapping(("makers", "items"), required=("items",))
    makers = words["makers"].text() if "makers" in words else ""
    try:
        return Layout.parse(name.text(), makers, words["items"].text())
    except ValueError as problem:
        raise words["items"].error(str(problem)) from None


def _amount(written: Located, unit: str) -> float:
    """Read 63A, 63 or 0.063kA: a positive number of a unit."""
    match = re.fullmatch(rf"(\d{{1,6}}(?:\.\d+)?)\s*(k?)(?:{unit})?", written.text().strip())
    what, example, low, high = AMOUNTS[unit]
    amount = float(match[1]) * (1000 if match[2] else 1) if match else 0.0
    if amount == 0:
        raise written.error(f"{written.text()!r} is no {what}; one looks like {example}")
    if not low <= amount <= high:
        raise written.error(f"{written.text()} is not between {low} and {high} {unit}")
    return amount


def _duration(written: Located) -> float:
    try:
        return parse_duration(written.text())
    except ValueError as problem:
        raise written.error(str(problem)) from None


def _is_accepted(words: Mapping[str, Located]) -> bool:
    """Tell whether accept_unsafe: true is written."""
    if "accept_unsafe" not in words:
        return False
    return words["accept_unsafe"].choice(("true", "false"), "answer") == "true"


def _refuse_acceptance(words: Mapping[str, Located], of_what: str) -> None:
    """Refuse an accept_unsafe: true where nothing is unsafe: it would hide what comes later."""
    if _is_accepted(words):
        raise words["accept_unsafe"].error(f"nothing is to be accepted: it goes with {of_what}")


def _phases(written: Located) -> tuple[str, ...]:
    """Read [L2, L3, L1]: which phase of the meter stands as L1, L2 and L3."""
    phases = tuple(item.text().lower() for item in written.items())
    if sorted(phases) != sorted(PHASES):
        raise written.error("phases are L1, L2 and L3, each once, as in [L2, L3, L1]")
    return phases


def _serial(written: Located) -> str:
    text = written.text()
    if not text or not text.isascii() or not text.isprintable():
        raise written.error("a serial number has ASCII characters that can be seen")
    return text


def _linear(words: Mapping[str, Located]) -> dict[str, Linear]:
    """Read adjust: {active_power_total: {offset: 50}, current_l1: {factor: 1.02}}."""
    found = {}
    for name, how in words["adjust"].entries() if "adjust" in words else []:
        values = how.mapping(("factor", "offset"))
        if not values:
            raise how.error("an adjustment has a 'factor' or an 'offset'")
        linear = Linear(**{word: value.number() for word, value in values.items()})
        if not 0 < linear.factor <= MAX_FACTOR or not abs(linear.offset) <= MAX_OFFSET:
            reason = f"a factor is above 0 and at most {MAX_FACTOR}, an offset at most {MAX_OFFSET}"
            raise how.error(reason)
        found[name.choice(ADJUSTABLE, "adjustable quantity")] = linear
    return found


def _serial_line(words: Mapping[str, Located]) -> SerialLine:
    line = SerialLine()
    if "baud" in words:
        line = replace(line, baud=int(words["baud"].choice(BAUD_RATES, "baud rate")))
    if "parity" in words:
        line = replace(line, parity=words["parity"].choice(PARITIES, "parity")[0].upper())
    if "stop_bits" in words:
        line = replace(line, stop_bits=words["stop_bits"].integer(1, 2))
    return line


def _limits(written: Located) -> Limits:
    """Read limits: {connections: 50, idle: 5min, unread: 32KiB}."""
    words = written.mapping(LIMIT_WORDS)
    limits = Limits()
    for word in ("connections", "connections_per_address"):
        if word in words:
            limits = replace(limits, **{word: words[word].integer(1, MAX_CONNECTIONS)})
    if "idle" in words:
        limits = replace(limits, idle_s=_duration(words["idle"]))
    if "request" in words:
        limits = replace(limits, request_s=_duration(words["request"]))
    if "unread" in words:
        try:
            size = parse_size(words["unread"].text())
        except ValueError as problem:
            raise words["unread"].error(str(problem)) from None
        if not MIN_UNREAD_BYTES <= size <= MAX_UNREAD_BYTES:
            raise words["unread"].error("between 24KiB and 64MiB of replies may wait for a client")
        limits = replace(limits, unread_bytes=size)
    return limits


def _endpoint(listener: ListenerConfig) -> tuple[object, ...]:
    # TCP and UDP have ports of their own.
    return listener.transport is Transport.UDP, listener.host, listener.port


def _network(written: Located) -> Network:
    try:
        return ipaddress.ip_network(written.text())
    except ValueError as problem:
        raise written.error(f"{problem}; a network looks like 192.168.1.0/24") from None
