"""JSON Schemas of maps and of config.yaml, for editors: they complete, explain and check.

Made from the words, types, quantities and limits that the readers of these files know. `make
schemas` writes them to `schemas/`, and the first lines that name them into the shipped files. What
depends on other lines, such as overlaps, only `obisgate maps lint` and `obisgate check` find.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway import map_library
from gateway.config import (
    BAUD_RATES,
    DEFAULT_ROLES,
    LINE_WORDS,
    LONG_HOLD,
    METER_WORDS,
    PARITIES,
    RECORD_WORDS,
    TLS_PORT,
    TLS_WORDS,
    UNIT_WORDS,
    VIRTUAL_WORDS,
    Transport,
)
from gateway.limits import MAX_CONNECTIONS, MAX_UNREAD_BYTES, MIN_UNREAD_BYTES, Limits
from gateway.recording.file import MAX_ROTATE, MIN_MAX_BYTES
from gateway.registers import UNSAFE, Stale, Table
from gateway.registers.codec import CHARS, STRING, TYPES, UNITS
from gateway.registers.expression import MAX_CHARACTERS
from gateway.registers.image import MAX_READ_REGISTERS
from gateway.registers.mapfile import (
    IDENTITY_WORDS,
    MAP_WORDS,
    MAX_IDENTITY_CHARACTERS,
    STALE_IN_MAPS,
    TRANSPORTS,
)
from gateway.registers.register import (
    CONTENT_WORDS,
    MAX_ADDRESS,
    MAX_STRING_WORDS,
    REGISTER_WORDS,
    SERIAL,
    UNIT_ID,
    WORD_ORDERS,
)
from gateway.simulator import MODELS
from gateway.snapshot import QUANTITIES
from gateway.snapshot.adjust import ADJUSTABLE
from gateway.snapshot.combine import Combination
from gateway.snapshot.derive import PHASES
from gateway.snapshot.quantities import SERVICE, TEXTS
from gateway.sources.address import KINDS
from gateway.telegram.layouts import LAYOUTS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = map_library.SHIPPED.parent / "schemas"
# What yaml-language-server, behind VS Code, Neovim and others, takes a schema's place from.
MODELINE = "# yaml-language-server: $schema="
MAP_SCHEMA = FOLDER / "map.json"
CONFIG_SCHEMA = FOLDER / "config.json"

_POWER_UNITS = ("W", "VA", "var")
_TYPE_NAMES = [*TYPES, STRING, CHARS]


def map_schema() -> Schema:
    """Return the schema of a register map."""
    words = _map_words()
    return {
        "$schema": DIALECT,
        "title": "obisgate register map",
        **_object(words, MAP_WORDS, required=("name",)),
        "anyOf": [{"required": ["registers"]}, {"required": ["like"]}],
        "dependentRequired": {"without": ["like"]},
    }


def config_schema() -> Schema:
    """Return the schema of config.yaml."""
    return {"$schema": DIALECT, "title": "obisgate configuration", **_config()}


# --- what both are made of --------------------------------------------------------------------


def _said(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema}


def _object(words: Mapping[str, Schema], names: Iterable[str], required: Iterable[str]) -> Schema:
    """Return the schema of 'word: value' lines; KeyError for a word that only the reader knows."""
    return {
        "type": "object",
        "properties": {name: words[name] for name in names},
        "required": list(required),
        "additionalProperties": False,
    }


def _text(**limits: Any) -> Schema:
    """Return that of a text: YAML takes some for numbers, the reader as they are written."""
    return {"type": ["string", "number", "boolean"], **limits}


def _list(item: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": item, **limits}


def _any(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def _one_of(words: Iterable[str]) -> Schema:
    return {"enum": [str(word) for word in words]}


def _integer(lowest: int, highest: int) -> Schema:
    return {"type": "integer", "minimum": lowest, "maximum": highest}


def _number() -> Schema:
    """Return that of a number; in another YAML than the reader's nan and 0x… are texts."""
    pattern = r"^\s*[-+]?(0[xX][0-9A-Fa-f]+|[nN][aA][nN]|[iI][nN][fF]|[0-9.]+([eE][-+]?\d+)?)\s*$"
    return _any({"type": "number"}, {"type": "string", "pattern": pattern})


def _amount(unit: str) -> Schema:
    pattern = rf"^\s*\d{{1,6}}(\.\d+)?\s*k?({unit})?\s*$"
    return _any({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": pattern})


def _duration() -> Schema:
    return _any(
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|min|h)?\s*$"},
    )


def _known(words: Iterable[str]) -> Schema:
    """Return that of a name that may be the user's own; an editor offers the known ones."""
    return _any(_one_of(sorted(words)), {"type": "string"})


# --- maps -------------------------------------------------------------------------------------


def _map_words() -> dict[str, Schema]:
    address = _integer(0, MAX_ADDRESS)
    pair = _list(address, minItems=2, maxItems=2)
    texts = _list(_text())
    identity = _text(minLength=1, maxLength=MAX_IDENTITY_CHARACTERS)
    number = _number()
    return {
        "name": _said(_text(minLength=1), "what `obisgate maps` lists"),
        "like": _said(
            _known(map_library.find(None)), "starts from that map; what stands here replaces"
        ),
        "without": _said(
            _list(pair), "addresses [first, last] that are not taken over from the map it is like"
        ),
        "readers": _said(texts, "who reads this map: inverters, wallboxes, programs"),
        "tested_with": _said(texts, "clients that have read it from the gateway"),
        "sources": _said(texts, "the documents that it is from"),
        "notes": _said(texts, "what a user must know"),
        "base": _said(address, "all addresses of this file count from here"),
        "tables": _said(
            _list(_one_of(Table), minItems=1),
            "holding: function 03, input: function 04; left out: both alike",
        ),
        "word_order": _word_order("which word of a longer value comes first"),
        "not_available": _said(
            {
                "type": "object",
                "properties": dict.fromkeys(TYPES, number),
                "additionalProperties": False,
            },
            "the patterns for values that are not there, by type",
        ),
        "zero_ranges": _said(_list(pair), "addresses [first, last] without a register that read 0"),
        "filled_ranges": _said(
            _list(_list(address, minItems=3, maxItems=3)),
            "addresses without a register that read another word: [first, last, word]",
        ),
        "ignored_writes": _said(
            _list(pair), "writes to [first, last] are acknowledged and change nothing"
        ),
        "whole_values": _said(
            {"enum": [True, False, "true", "false"]}, "a read that cuts a value is refused"
        ),
        "max_read": _said(_integer(1, MAX_READ_REGISTERS), "the longest read, in registers"),
        "identity": _said(
            _object(dict.fromkeys(IDENTITY_WORDS, identity), IDENTITY_WORDS, IDENTITY_WORDS),
            "the answer to function 43/14",
        ),
        "server_id": _said(_text(minLength=1, maxLength=200), "the answer to function 17"),
        "stale": _said(
            _one_of(STALE_IN_MAPS),
            "the answer when the meter is silent: exception 0x0B, none, or the patterns for "
            "values that are not there",
        ),
        "port": _said(_integer(1, 65535), "the TCP or UDP port at which its readers look"),
        "unit_ids": _said(_list(_integer(0, 255)), "the unit ids that they ask; left out: any"),
        "over": _said(_list(_one_of(TRANSPORTS)), "how they come"),
        "registers": _said(_list(_register(), minItems=1), "one line a register"),
    }


def _word_order(description: str) -> Schema:
    return _said(_one_of(WORD_ORDERS), f"{description}: big: the high one, little: the low one")


def _register() -> Schema:
    address = _integer(0, MAX_ADDRESS)
    number = _number()
    placeholders = ", ".join(f"${{{name}}}" for name in (SERIAL, *TEXTS))
    powers = [q.name for q in QUANTITIES.values() if q.unit in _POWER_UNITS]
    words: dict[str, Schema] = {
        "address": _said(address, "as on the wire, counted from 0"),
        "quantity": _said(_quantity(), "what stands there; with - in front the other way round"),
        "value": _said(
            _any(_one_of([UNIT_ID]), *_number()["anyOf"]),
            f"a constant; {UNIT_ID}: the id under which the unit is asked",
        ),
        "text": _said(_text(), f"a text; placeholders are {placeholders}"),
        "expression": _said(
            {"type": ["string", "number"], "maxLength": MAX_CHARACTERS},
            "arithmetic over quantities: + - * / // %, abs, min, max",
        ),
        "scale_for": _said(
            _one_of(powers), "the scale factor that holds the connection's rated power"
        ),
        "type": _said(_one_of(_TYPE_NAMES), "how the value is written into registers"),
        "length": _said(_integer(1, MAX_STRING_WORDS), "of a text, in registers"),
        "unit": _said(_unit(), "in what the register counts: kWh, 0.1 V, 10 W, 0.001"),
        "scale_register": _said(address, "the register of type sunssf that scales it as well"),
        "not_available": _said(number, "what stands there when the meter does not send it"),
        "unconnected": _said(number, "the same, where the meter has only the phase L1"),
        "only_count": _said(
            _integer(1, MAX_READ_REGISTERS), "answers only a read of exactly its own length"
        ),
        "table": _said(_one_of(Table), "its own table"),
        "word_order": _word_order("its own order of words"),
    }
    is_text = {"properties": {"type": _one_of([STRING, CHARS])}, "required": ["type"]}
    return {
        **_object(words, REGISTER_WORDS, required=("address", "type")),
        "oneOf": [{"required": [word]} for word in CONTENT_WORDS],
        "if": is_text,
        "then": {"required": ["text", "length"]},
        "else": {"not": _any({"required": ["text"]}, {"required": ["length"]})},
    }


def _quantity() -> Schema:
    """Return that of a quantity's name, each with what it means, which editors show with it."""
    names = [
        {
            "const": q.name,
            "description": f"{q.meaning} ({', '.join(filter(None, (q.unit, str(q.origin))))})",
        }
        for q in QUANTITIES.values()
    ]
    turned = "|".join(name for name in QUANTITIES if name not in SERVICE)
    return _any(
        *names, _said({"type": "string", "pattern": f"^-({turned})$"}, "the other way round")
    )


def _unit() -> Schema:
    units = [unit for unit in UNITS if unit]
    alternatives = "|".join(units)
    return _any(
        _one_of(units),
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": rf"^\s*(0\.0*1|10*(\.0+)?)(\s+({alternatives}))?\s*$"},
    )


# --- config.yaml ------------------------------------------------------------------------------


def _config() -> Schema:
    words = {
        "meters": _said(_named(_meter()), "the smart meters that are read, by a name of yours"),
        "listeners": _said(_list(_listener(), minItems=1), "where clients ask, and what they get"),
        "maps": _said({"type": "string", "minLength": 1}, "a folder of your own register maps"),
        "layouts": _said(
            {"type": "object", "additionalProperties": _layout()},
            "lists of bare values that obisgate does not know yet",
        ),
        "state": _said(
            {"type": "string", "minLength": 1}, "the file that keeps the last counters and energies"
        ),
    }
    return _object(words, words, required=("meters", "listeners"))


def _named(schema: Schema) -> Schema:
    return {"type": "object", "minProperties": 1, "additionalProperties": schema}


def _meter() -> Schema:
    examples = ", ".join(KINDS.values())
    kinds = "|".join(f"{kind}://" if "://" in KINDS[kind] else f"{kind}:" for kind in KINDS)
    key = {"type": ["string", "integer"], "minLength": 1}
    phases = [phase.upper() for phase in PHASES]
    names = _list(_text(minLength=1), minItems=2, uniqueItems=True)
    words: dict[str, Schema] = {
        "source": _said(
            _any(
                _one_of(f"simulator:{model}" for model in MODELS),
                {"type": "string", "pattern": f"^({kinds})."},
            ),
            f"where its telegrams come from: {examples}",
        ),
        Combination.SUM: _said(
            names, "in place of a source: the meters beside each other that it is together"
        ),
        Combination.DIFFERENCE: _said(
            names, "in place of a source: a meter, and those behind it that are taken off"
        ),
        "key": _said(
            key, "file:PATH, env:NAME or credential:NAME; 32 hex digits work with a warning"
        ),
        "auth_key": _said(key, "as key, only where the operator gives one"),
        "hold": _said(
            _duration(),
            f"how long the last values are served without a telegram: 15s, 500ms, {LONG_HOLD}; "
            "longer only with accept_unsafe; of a sum or difference the shortest of its meters'",
        ),
        "accept_unsafe": _said(
            {"enum": [True, False, "true", "false"]},
            f"true: a hold above {LONG_HOLD} is meant so; warned about at every start",
        ),
        "connection": _said(_amount("A"), "the house's main fuse, as 63A"),
        "layout": _said(
            _known(layout.name for layout in LAYOUTS), "prescribes a list of values"
        ),
        "frequency": _said(_amount("Hz"), "nominal frequency of the grid, as 50Hz"),
        "phases": _said(
            _list(_one_of([*phases, *PHASES]), minItems=len(PHASES), maxItems=len(PHASES)),
            "which of the meter's phases stand as L1, L2 and L3",
        ),
        "record": _said(_record(), "a file into which its bytes are recorded as they come"),
    }  # fmt: skip
    own = {"required": ["source"]}
    virtual = _any(*({"required": [how]} for how in Combination))
    foreign = [word for word in METER_WORDS if word not in VIRTUAL_WORDS]
    return {
        **_object(words, METER_WORDS, required=()),
        "oneOf": [own, *virtual["anyOf"]],
        "if": virtual,
        "then": {"not": _any(*({"required": [word]} for word in foreign))},
        "else": {
            "if": {"properties": {"source": {"pattern": "^simulator:"}}},
            "else": {"required": ["key"]},
        },
        "not": {**_accepted(), "not": {"required": ["hold"]}},
    }


def _record() -> Schema:
    file: Schema = {"type": "string", "minLength": 1}
    words = {
        "file": _said(file, "as house.rec: `obisgate decode`, or a source recording:house.rec"),
        "max_size": _said(_size(MIN_MAX_BYTES, None), "then it ends, or is rotated (10MiB)"),
        "rotate": _said(
            _integer(0, MAX_ROTATE), "so many full files are kept, as house.rec.1 … (0)"
        ),
    }
    return _object(words, RECORD_WORDS, required=("file",))


def _size(lowest: int, highest: int | None) -> Schema:
    number: Schema = {"type": "integer", "minimum": lowest}
    if highest is not None:
        number["maximum"] = highest
    return _any(number, {"type": "string", "pattern": r"^\s*\d+\s*(B|kB|KiB|MB|MiB)?\s*$"})


def _listener() -> Schema:
    endpoint = _any(
        _integer(0, 65535), {"type": "string", "pattern": r"^(.*:)?\d{1,5}$", "minLength": 1}
    )
    reached: dict[str, Schema] = dict.fromkeys(Transport, endpoint)
    described = {
        Transport.TCP: "Modbus TCP: 0.0.0.0:502, [::]:502, or 5020 for this machine only",
        Transport.TLS: f"Modbus/TCP Security: 0.0.0.0:802, or 0.0.0.0 for port {TLS_PORT}",
        Transport.RTU_OVER_TCP: "RTU frames over TCP, as serial servers send them: 0.0.0.0:4196",
        Transport.UDP: "Modbus UDP: 0.0.0.0:502",
        Transport.SERIAL: "Modbus RTU on a serial line: /dev/serial/by-id/…",
    }
    reached[Transport.TLS] = _any(
        _integer(0, 65535), {"type": "string", "pattern": r"^[^/]*$", "minLength": 1}
    )
    reached[Transport.SERIAL] = {"type": "string", "pattern": "^/"}
    line: dict[str, Schema] = {
        "baud": _any(_one_of(BAUD_RATES), {"enum": [int(rate) for rate in BAUD_RATES]}),
        "parity": _one_of(PARITIES),
        "stop_bits": _integer(1, 2),
    }
    file: Schema = {"type": "string", "minLength": 1}
    unit_id = r"^(0x[0-9A-Fa-f]{1,2}|1?\d{1,2}|2[0-4]\d|25[0-5])$"
    words = {
        **{word: _said(schema, described[Transport(word)]) for word, schema in reached.items()},
        **{word: _said(line[word], f"{word} of the serial line") for word in LINE_WORDS},
        "certificate": _said(file, "the TLS listener's certificate, PEM: a file"),
        "key": _said(file, "its key, PEM: a file that only you can read"),
        "clients_ca": _said(file, "who signs the clients' certificates, PEM: a file"),
        "roles": _said(
            _list(_text(minLength=1), minItems=1),
            "the roles in clients' certificates that may read; left out: "
            f"{', '.join(DEFAULT_ROLES)}",
        ),
        "allow": _said(
            _list({"type": "string"}, minItems=1),
            "who may connect, as 192.168.1.0/24; left out: all",
        ),
        "limits": _said(_limits(), "what clients may take of a TCP listener"),
        "units": _said(
            {
                "type": "object",
                "propertyNames": {"pattern": unit_id},
                "additionalProperties": _unit_of(),
            },
            "which meter is shown by which map, by unit id",
        ),
        "any": _said(_unit_of(), "what every other unit id shows"),
    }  # fmt: skip
    serial = {"required": ["serial"]}
    tls = {
        "if": {"required": ["tls"]},
        "then": {"required": list(TLS_WORDS[:3])},
        "else": {"not": _any(*({"required": [word]} for word in TLS_WORDS))},
    }
    return {
        **_object(words, words, required=()),
        "oneOf": [{"required": [str(transport)]} for transport in Transport],
        "anyOf": [{"required": ["units"]}, {"required": ["any"]}],
        "if": serial,
        "then": {"not": _any(*({"required": [word]} for word in ("allow", "any", "limits")))},
        "else": {"not": _any(*({"required": [word]} for word in LINE_WORDS))},
        "allOf": [tls, {"not": {"required": ["udp", "limits"]}}],
    }


def _limits() -> Schema:
    size = _size(MIN_UNREAD_BYTES, MAX_UNREAD_BYTES)
    usual = Limits()
    words = {
        "connections": _said(
            _integer(1, MAX_CONNECTIONS), f"connections at once ({usual.connections})"
        ),
        "connections_per_address": _said(
            _integer(1, MAX_CONNECTIONS),
            f"connections at once of one address ({usual.connections_per_address})",
        ),
        "idle": _said(_duration(), "a connection that asks nothing for so long is closed (10min)"),
        "unread": _said(
            size, "bytes of replies that wait for a client; it is not heard meanwhile (32KiB)"
        ),
        "request": _said(
            _duration(),
            "time to finish a request that was begun or a TLS handshake, and to fetch replies "
            "that wait (10s); over rtu_over_tcp the latter only",
        ),
    }
    return _object(words, words, required=())


def _unit_of() -> Schema:
    linear: dict[str, Schema] = {
        "factor": {"type": "number", "exclusiveMinimum": 0},
        "offset": {"type": "number"},
    }
    adjustment = {**_object(linear, linear, required=()), "minProperties": 1}
    words = {
        "meter": _said(_text(minLength=1), "one of `meters`"),
        "map": _said(_known(map_library.find(None)), "a register map: `obisgate maps`"),
        "base": _said(_integer(0, MAX_ADDRESS), "where the map begins, instead of where it says"),
        "serial": _said(_text(minLength=1), "the emulated meter's serial number"),
        "rated_power": _said(_amount("W"), "for scale factors, as 10kW; else the connection's"),
        "adjust": _said(
            {
                "type": "object",
                "properties": dict.fromkeys(ADJUSTABLE, adjustment),
                "additionalProperties": False,
            },
            "corrections by quantity: factor × value + offset",
        ),
        "hold": _said(
            _duration(), "how long this unit serves the last values; left out: the meter's"
        ),
        "stale": _said(
            _one_of(Stale),
            "its answer when the meter is silent; left out: the map's. exception 0x0B, silent: "
            "none, not_available: the patterns for values that are not there, close: the TCP "
            "connection; last and zero (its last values, or zeros) hide it from the client",
        ),
        "accept_unsafe": _said(
            {"enum": [True, False, "true", "false"]},
            f"true: stale: last or zero, or a hold above {LONG_HOLD} is meant so; warned about at "
            "every start",
        ),
    }
    is_unsafe = {"properties": {"stale": _one_of(UNSAFE)}, "required": ["stale"]}
    return {
        **_object(words, UNIT_WORDS, required=("meter", "map")),
        "if": is_unsafe,
        "then": _accepted(),
        "else": {"not": {**_accepted(), "not": {"required": ["hold"]}}},
    }


def _accepted() -> Schema:
    """Return that of lines with accept_unsafe: true; which hold is long, only the reader tells."""
    accepted = {"enum": [True, "true"]}
    return {"properties": {"accept_unsafe": accepted}, "required": ["accept_unsafe"]}


def _layout() -> Schema:
    words = {
        "makers": _said(_text(), "first letters of the system titles; left out: all"),
        "items": _said({"type": "string"}, "OBIS code, type and unit a line, as they are pushed"),
    }
    return _object(words, words, required=("items",))


def written() -> Mapping[Path, str]:
    """Return what stands in the files of the schemas."""
    schemas = {MAP_SCHEMA: map_schema(), CONFIG_SCHEMA: config_schema()}
    return {
        path: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for path, schema in schemas.items()
    }


def naming(schema: str, text: str) -> str:
    """Return a YAML text whose first line tells editors where its schema is."""
    kept = text.partition("\n")[2] if text.startswith(MODELINE) else text
    return f"{MODELINE}{schema}\n{kept}"


def _write() -> None:
    """Write the schemas, and the first lines of the files that come along."""
    for path, text in written().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    named = dict.fromkeys(map_library.SHIPPED.glob("*.yaml"), f"../schemas/{MAP_SCHEMA.name}")
    named[FOLDER.parent / "config.yaml"] = f"schemas/{CONFIG_SCHEMA.name}"
    for path, schema in named.items():
        text = path.read_text(encoding="utf-8")
        if naming(schema, text) != text:
            path.write_text(naming(schema, text), encoding="utf-8")


if __name__ == "__main__":
    _write()
