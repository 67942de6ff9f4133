"""victron-energy-meter-modbus, Home Assistant's reader, reads Victron's own meter over UDP."""

from typing import Any

import pytest

from tests.registers import golden_tables

from .clients import CLIENTS
from .served import Endpoint, Server
from .typed_meters import needs_typed_meters, said

pytestmark = needs_typed_meters

# part: attribute: quantity, its unit's size in the attribute's, the step in which the meter counts.
Expected = dict[str, dict[str, tuple[str, float, float]]]
EXPECTED: Expected = {
    "totals": {
        "active_power": ("active_power_total", 1, 1),
        "frequency": ("frequency", 1, 0.01),
        "frequency_precise": ("frequency", 1, 0.001),
        "energy_forward": ("energy_active_import_total", 0.001, 0.01),
        "energy_reverse": ("energy_active_export_total", 0.001, 0.01),
        "power_factor": ("power_factor_total", 1, 0.001),
    },
    **{
        f"phase_{phase}": {
            "voltage": (f"voltage_{phase}", 1, 0.01),
            "current": (f"current_{phase}", 1, 0.01),
            "active_power": (f"active_power_{phase}", 1, 1),
            "apparent_power": (f"apparent_power_{phase}", 1, 1),
            "energy_forward": (f"energy_active_import_{phase}", 0.001, 0.01),
            "energy_reverse": (f"energy_active_export_{phase}", 0.001, 0.01),
        }
        for phase in ("l1", "l2", "l3")
    },
    **{
        f"detail_{phase}": {
            "voltage_line_to_line": (f"voltage_{line}", 1, 0.01),
            "power_factor": (f"power_factor_{phase}", 1, 0.001),
        }
        for phase, line in (("l1", "l12"), ("l2", "l23"), ("l3", "l31"))
    },
}
STATES: dict[str, dict[str, Any]] = {
    "identity": {"product_id": 0xA1B1, "serial_number": "1KFM0200154321", "hardware_version": 1},
    "configuration": {
        "phase_configuration": "THREE_PHASE",
        "role": "GRID",
        "description": "Grid",
        "system_instance": 0,
    },
    "totals": {"pe_n_voltage": None, "error_code": 0, "phase_sequence": "L1_L2_L3"},
}


def check(endpoint: Endpoint, parts: dict[str, dict[str, Any]]) -> None:
    values = endpoint.snapshot.values
    for part, expected in EXPECTED.items():
        for attribute, (quantity, size, step) in expected.items():
            number = parts[part][attribute]
            where = part, attribute, number
            if quantity in values:
                wanted = values[quantity].number * size
                assert number == pytest.approx(wanted, abs=step / 2 + 1e-9), where
            else:
                # A phase that is not connected reads 0.
                assert number is None or (number == 0 and quantity.endswith(("l2", "l3"))), where


@pytest.mark.parametrize("seen", golden_tables.MEASURED)
@pytest.mark.parametrize("name", CLIENTS["victron-energy-meter-modbus"])
def test_the_library_reads_every_value_over_udp(server: Server, name: str, seen: str) -> None:
    endpoint = server.serve(name, seen, "udp")
    found = said("victron", endpoint, "udp")
    assert (found["model"], found["failed"]) == ("VM-3P75CT", [])
    assert found["firmware"].removeprefix("v") == "1.09"
    check(endpoint, found["parts"])
    for part, states in STATES.items():
        shown = found["parts"][part]
        assert {attribute: shown[attribute] for attribute in states} == states
