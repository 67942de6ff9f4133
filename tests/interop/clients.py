"""Which client reads which maps in these tests; `tested_with` of each map says the same.

modpoll is not among them: it is proprietary, and no package brings it.
"""

from collections.abc import Mapping
from pathlib import Path

from gateway import map_library

PROJECT = Path(__file__).parents[2]
# What `make test` makes for clients that cannot live with the gateway's pymodbus.
ENVIRONMENT = PROJECT / ".venv-interop"
FOREIGN_PYTHON = ENVIRONMENT / "bin" / "python"
IS_MADE = (ENVIRONMENT / ".installed").exists()
# Home Assistant's libraries need Python 3.12.
HAS_TYPED_METERS = any(ENVIRONMENT.glob("lib/python*/site-packages/modbus_connection"))

EVERY = sorted(map_library.find(None))

# The meter model of a SunSpec map.
SUNSPEC: Mapping[str, int] = {
    "fronius_inverter_meter_203": 203,
    "fronius_inverter_meter_213": 213,
    "fronius_smart_meter_213": 213,
    "kostal_ksem_tq": 203,
    "solaredge_inverter_meter": 203,
    **{f"sunspec_{model}": model for model in (201, 202, 203, 204, 211, 212, 213, 214)},
}
# The classes of sdm_modbus for a map.
SDM: Mapping[str, tuple[str, ...]] = {
    "eastron_sdm120_sdm230": ("SDM120", "SDM230"),
    "eastron_sdm630": ("SDM630",),
    "eastron_sdm72": ("SDM72", "SDM72V2"),
}
CARLO_GAVAZZI = ("carlo_gavazzi_em340_et340", "carlo_gavazzi_em540")
# One with the high word first, one with the low word first, one SunSpec.
MODBUS_SERIAL = ("carlo_gavazzi_em24_e1", "eastron_sdm630", "sunspec_213")

CLIENTS: Mapping[str, tuple[str, ...]] = {
    "mbpoll": tuple(EVERY),
    "pymodbus": tuple(EVERY),
    "pysunspec2": tuple(SUNSPEC),
    "sdm_modbus": tuple(SDM),
    "carlo-gavazzi-energy-meter-modbus": CARLO_GAVAZZI,
    "victron-energy-meter-modbus": ("victron_vm3p75ct",),
    "modbus-serial": MODBUS_SERIAL,
}


def readers_of(name: str) -> list[str]:
    """Return the clients that read a map here."""
    return [client for client, maps in CLIENTS.items() if name in maps]
