"""Who reads which map: inverters, batteries, wallboxes, programs, as the maps name them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.registers.mapfile import MapFile

ON_RS485 = "rs485"
# Where several maps serve one reader: those that most use come first (docs/inverters.md).
FIRST_MAPS = (
    "fronius_smart_meter_213",
    "sunspec_213",
    "sunspec_203",
    "carlo_gavazzi_em24_e1",
    "eastron_sdm630",
    "kostal_ksem_tq",
    "obis_plain",
)
_UNIT_ID = re.compile(r"unit id (\d+)")
_OF_OTHER_GRIDS = re.compile(r"split phase|in delta")
_SINGLE_PHASE = re.compile(r"one phase|single phase")


@dataclass(frozen=True, slots=True)
class Reader:
    """One who reads a meter through one map. `over` is how it asks, as in the maps."""

    name: str
    map_name: str
    over: str
    port: int
    unit_id: int

    @classmethod
    def of(cls, name: str, map_name: str, written: MapFile) -> "Reader":
        """Return who is called so in a map, asking as his name says, else as the map does."""
        over = "rtu" if ON_RS485 in name.lower() and "rtu" in written.over else written.over[0]
        said = _UNIT_ID.search(name)
        unit_id = int(said[1]) if said else next(iter(written.unit_ids), 1)
        return cls(name, map_name, over, written.port, unit_id)


def readers(maps: Mapping[str, MapFile], *, is_single_phase: bool) -> Sequence[Reader]:
    """Return all readers of the maps; first those of the maps that fit the house best."""
    order = sorted(maps, key=lambda name: (_rank(name, maps[name], is_single_phase), name))
    return [Reader.of(each, name, maps[name]) for name in order for each in maps[name].readers]


def search(known: Sequence[Reader], words: str) -> Sequence[Reader]:
    """Return those with all `words` in name or map, first those whose name begins with them."""
    wanted = words.lower().split()
    found = [
        each
        for each in known
        if all(word in f"{each.name} {each.map_name}".lower() for word in wanted)
    ]
    return sorted(found, key=lambda each: not each.name.lower().startswith(words.lower().strip()))


def _rank(name: str, written: MapFile, is_single_phase: bool) -> tuple[int, int]:
    if _OF_OTHER_GRIDS.search(written.name):
        misfit = 2
    else:
        misfit = int(bool(_SINGLE_PHASE.search(written.name)) != is_single_phase)
    return misfit, FIRST_MAPS.index(name) if name in FIRST_MAPS else len(FIRST_MAPS)
