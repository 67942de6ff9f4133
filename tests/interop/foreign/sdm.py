"""Runs in .venv-interop: what sdm_modbus reads of one meter, as JSON.

python sdm.py CLASS PORT UNIT
"""

import json
import sys

import sdm_modbus

COMMANDS = {"reset_history"}  # what is only ever written


def main(name: str, port: str, unit: str) -> None:
    meter = getattr(sdm_modbus, name)(
        host="127.0.0.1", port=int(port), unit=int(unit), timeout=30, retries=1
    )
    each = {key: meter.read(key) for key in meter.registers if key not in COMMANDS}
    blocks = meter.read_all(sdm_modbus.registerType.INPUT)
    meter.disconnect()
    print(json.dumps({"each": each, "blocks": blocks}))


main(*sys.argv[1:])
