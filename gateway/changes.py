"""Two configs compared by what they mean: what stays as it is, and the changes in words. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from gateway.config import ListenerConfig, MeterConfig, UnitConfig
from gateway.registers import RegisterMap

Units = Mapping[str, UnitConfig]


def is_same_meter(old: MeterConfig, new: MeterConfig) -> bool:
    """Tell whether a meter goes on as it is: what its telegrams are taken for has not changed.

    How long they may be served may change, what only units make of them, and where its bytes are
    recorded.
    """
    return old == replace(
        new,
        hold_s=old.hold_s,
        frequency_hz=old.frequency_hz,
        phases=old.phases,
        record=old.record,
    )


def meter_changes(old: MeterConfig, new: MeterConfig) -> Iterator[str]:
    """Yield what is new about a meter, never a key."""
    if old.source.describe() != new.source.describe():
        yield f"new source, {new.source.describe()}"
    if old.key != new.key:
        yield "new key"
    if old.auth_key != new.auth_key:
        yield "new auth_key" if new.auth_key else "no auth_key"
    if old.hold_s != new.hold_s:
        yield f"hold {new.hold_s:g} s"
    if old.connection_a != new.connection_a:
        yield f"connection {new.connection_a:g} A"
    if old.layout != new.layout:
        yield f"layout {new.layout.name}" if new.layout else "layout recognised"
    if old.frequency_hz != new.frequency_hz:
        yield f"frequency {new.frequency_hz:g} Hz"
    if old.record != new.record:
        yield f"recorded in {new.record.file}" if new.record else "not recorded any more"
    if old.phases != new.phases:
        yield f"phases {', '.join(phase.upper() for phase in new.phases)}"


def listener_changes(
    old: ListenerConfig, new: ListenerConfig, old_units: Units, new_units: Units
) -> Iterator[str]:
    """Yield what is new about a listener that stays at its place."""
    for unit_id in old_units:
        if unit_id not in new_units:
            yield f"unit {unit_id} removed"
    for unit_id, unit in new_units.items():
        if unit_id not in old_units:
            yield f"unit {unit_id} added, meter {unit.meter} as {unit.map_name}"
        else:
            what = _unit_changes(old_units[unit_id], unit)
            yield from (f"unit {unit_id} {each}" for each in what)
    if list(old.allow) != list(new.allow):
        yield "new allow"
    if old.limits != new.limits:
        yield "new limits"
    if old.tls and new.tls and old.tls.files != new.tls.files:
        yield "new certificate files"
    if old.tls and new.tls and set(old.tls.roles) != set(new.tls.roles):
        yield f"roles {', '.join(new.tls.roles)}"


def _unit_changes(old: UnitConfig, new: UnitConfig) -> Iterator[str]:
    if old.meter != new.meter:
        yield f"shows meter {new.meter}"
    if old.map_name != new.map_name:
        yield f"is shown as {new.map_name}"
    elif _meaning(old.register_map) != _meaning(new.register_map):
        yield f"has another map {new.map_name}"
    if old.adjustment != new.adjustment:
        yield "is adjusted otherwise"
    if old.hold_s != new.hold_s:
        yield f"has hold {new.hold_s:g} s" if new.hold_s else "has its meter's hold"
    if old.stale != new.stale:
        yield f"has stale {new.stale}" if new.stale else "has its map's stale"


def _meaning(register_map: RegisterMap) -> Sequence[object]:
    """Return what a map says; what was compiled of it cannot be compared."""
    written = register_map.written
    lines = [_plain(register.line.node) for register in written.registers]
    # The words of a map that stand for all its registers show in what they read without a meter.
    return replace(written, registers=()), lines, register_map.render(None).octets


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    return node.value
