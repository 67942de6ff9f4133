"""Runs in .venv-interop: what a library of Home Assistant's reads of one meter, as JSON.

python typed_meter.py carlo_gavazzi|victron PORT UNIT "tcp|rtu over tcp|udp"
"""

import asyncio
import json
import sys
from enum import Enum

from carlo_gavazzi_energy_meter_modbus import async_detect
from modbus_connection import ModbusSerialParams, ModbusTcpParams, ModbusUdpParams
from modbus_connection.model import Component
from modbus_connection.tmodbus import ModbusConnection
from victron_energy_meter_modbus import VictronEnergyMeter

HOST = "127.0.0.1"
WAYS = {
    "tcp": lambda port: ModbusTcpParams(host=HOST, port=port),
    "rtu over tcp": lambda port: ModbusSerialParams(device=f"socket://{HOST}:{port}"),
    "udp": lambda port: ModbusUdpParams(host=HOST, port=port),
}


def properties(part: Component) -> dict[str, object]:
    """Return what a part of the meter says."""
    said = {}
    for name in set(dir(type(part))) - set(dir(Component)):
        if not name.startswith("_"):
            value = getattr(part, name)
            said[name] = value.name if isinstance(value, Enum) else value
    return said


async def main(library: str, port: str, unit: str, way: str) -> None:
    connection = ModbusConnection(WAYS[way](int(port)))
    try:
        unit = connection.for_unit(int(unit))
        meter = VictronEnergyMeter(unit) if library == "victron" else await async_detect(unit)
        report = await meter.async_update()
        parts = {
            name: properties(part)
            for name, part in vars(meter).items()
            if isinstance(part, Component)
        }
    finally:
        await connection.close()
    said = {"model": meter.model.name, "firmware": str(meter.firmware_version), "parts": parts}
    print(json.dumps(said | {"failed": sorted(map(str, report.failed))}))


asyncio.run(main(*sys.argv[1:]))
