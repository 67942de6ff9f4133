"""sdm_modbus reads the Eastron maps, each register alone and all in its own blocks."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.snapshot import Snapshot
from tests.registers import golden_tables

from .clients import FOREIGN_PYTHON, IS_MADE, SDM
from .served import PATIENCE_S, Server

SCRIPT = Path(__file__).parent / "foreign" / "sdm.py"

pytestmark = pytest.mark.skipif(not IS_MADE, reason=".venv-interop is missing: make test")

PHASES = ("l1", "l2", "l3")
# key of sdm_modbus: quantities that add up, and the size of their unit in the key's.
Expected = dict[str, tuple[tuple[str, ...], float]]


def one(quantity: str, size: float = 1) -> tuple[tuple[str, ...], float]:
    return (quantity,), size


def both_ways(stem: str, of: str) -> tuple[tuple[str, ...], float]:
    return (f"{stem}_import_{of}", f"{stem}_export_{of}"), 0.001


ENERGIES: Expected = {
    "import_energy_active": one("energy_active_import_total", 0.001),
    "export_energy_active": one("energy_active_export_total", 0.001),
    "import_energy_reactive": one("energy_reactive_import_total", 0.001),
    "export_energy_reactive": one("energy_reactive_export_total", 0.001),
    "total_energy_active": both_ways("energy_active", "total"),
    "total_energy_reactive": both_ways("energy_reactive", "total"),
}
THREE_PHASES: Expected = {
    **{f"{phase}_voltage": one(f"voltage_{phase}") for phase in PHASES},
    **{f"{phase}_current": one(f"current_{phase}") for phase in PHASES},
    **{f"{phase}_power_factor": one(f"power_factor_{phase}") for phase in PHASES},
    **{
        f"{phase}_power_{kind}": one(f"{kind}_power_{phase}")
        for phase in PHASES
        for kind in ("active", "apparent", "reactive")
    },
    **{f"{line}_voltage": one(f"voltage_{line}") for line in ("l12", "l23", "l31")},
    "voltage_ln": one("voltage_ln_avg"),
    "voltage_ll": one("voltage_ll_avg"),
    "current_ln": one("current_avg"),
    "total_line_current": one("current_total"),
    "neutral_current": one("current_n"),
    "total_power_apparent": one("apparent_power_total"),
    "total_power_reactive": one("reactive_power_total"),
    "total_pf": one("power_factor_total"),
    "frequency": one("frequency"),
}
SINGLE_PHASE: Expected = {
    "voltage": one("voltage_l1"),
    "current": one("current_l1"),
    "power_active": one("active_power_total"),
    "power_apparent": one("apparent_power_total"),
    "power_reactive": one("reactive_power_total"),
    "power_factor": one("power_factor_total"),
    "phase_angle": one("phase_angle_total"),
    "frequency": one("frequency"),
    "total_demand_power_active": one("demand_power"),
    "maximum_total_demand_power_active": one("demand_power_max"),
    **ENERGIES,
}
SDM72: Expected = {
    **THREE_PHASES,
    "total_power": one("active_power_total"),
    **{key: how for key, how in ENERGIES.items() if key not in ("import_energy_reactive",
                                                               "export_energy_reactive")},
    "resettable_total_energy_active": both_ways("energy_active", "total"),
    "resettable_import_enerty_active": one("energy_active_import_total", 0.001),
    "resettable_export_energy_active": one("energy_active_export_total", 0.001),
    "import_total_power_active": one("active_power_import_total"),
    "export_total_power_active": one("active_power_export_total"),
}  # fmt: skip
SDM630: Expected = {
    **THREE_PHASES,
    **ENERGIES,
    "total_power_active": one("active_power_total"),
    "total_power_factor": one("power_factor_total"),
    "total_phase_angle": one("phase_angle_total"),
    **{f"{phase}_phase_angle": one(f"phase_angle_{phase}") for phase in PHASES},
    "total_energy_apparent": one("energy_apparent_total", 0.001),
    "total_current": one("charge_total"),  # Ah, whatever its name says
    "total_import_demand_power_active": one("demand_power"),
    "maximum_import_demand_power_apparent": one("demand_power_max"),
    **{
        f"{phase}_{way}_energy_{kind}": one(f"energy_{kind}_{way}_{phase}", 0.001)
        for phase in PHASES
        for way in ("import", "export")
        for kind in ("active", "reactive")
    },
    **{
        f"{phase}_energy_{kind}": both_ways(f"energy_{kind}", phase)
        for phase in PHASES
        for kind in ("active", "reactive")
    },
}
VALUES = {
    "SDM120": SINGLE_PHASE,
    "SDM230": SINGLE_PHASE,
    "SDM630": SDM630,
    "SDM72": SDM72,
    "SDM72V2": SDM72,
}
SETTINGS: dict[str, dict[str, float]] = {
    "SDM120": {
        "demand_time": 0,
        "demand_period": 60,
        "relay_pulse_width": 100,
        "network_parity_stop": 0,
        "meter_id": 1,
        "baud": 0,
        "p1_output_mode": 4,
        "display_scroll_timing": 0,
        "p1_divisor": 0,
        "measurement_mode": 2,
        "indicator_mode": 0,
        "serial_number": 200_154_321,
        "software_version": 1,
    },
    "SDM230": {
        "relay_pulse_width": 100,
        "network_parity_stop": 0,
        "meter_id": 1,
        "baud": 0,
        "p1_output_mode": 4,
        "display_scroll_timing": 0,
        "p1_divisor": 0,
        "measurement_mode": 2,
        "running_time": 0,
    },
    "SDM630": {
        "demand_time": 0,
        "demand_period": 60,
        "system_voltage": 230,
        "system_current": 100,
        "system_type": 3,
        "relay_pulse_width": 100,
        "network_parity_stop": 0,
        "meter_id": 1,
        "baud": 2,
        "system_power": 69000,
        "p1_divisor": 0,
        "serial_number": 200_154_321,
    },
    "SDM72": {
        "demand_time": 0,
        "demand_period": 60,
        "system_voltage": 230,
        "system_current": 100,
        "system_type": 3,
        "relay_pulse_width": 100,
        "network_parity_stop": 0,
        "meter_id": 1,
        "password": 1000,
        "baud": 2,
        "system_power": 69000,
        "p1_divisor": 0,
    },
    "SDM72V2": {
        "system_type": 3,
        "relay_pulse_width": 100,
        "kppa": 0,
        "network_parity_stop": 0,
        "meter_id": 1,
        "pulse_constant": 0,
        "password": 1000,
        "baud": 2,
        "auto_scroll": 5,
        "backlit_time": 60,
        "pulse1_energy": 2,
    },
}
NET = {"net_kwh": ("energy_active_import_total", "energy_active_export_total")}
# Demands and harmonics, which nobody sends.
NEVER = ("demand", "thd")
BEYOND_L1 = ("l2", "l3", "l12", "l23", "l31", "ll_avg")


def wanted(key: str, snapshot: Snapshot, expected: Expected) -> float | None:
    """Return what a key must be; None: what it is of was not sent."""
    values = {name: value.number for name, value in snapshot.values.items()}
    if key in NET:
        drawn, fed = (values.get(name) for name in NET[key])
        return None if drawn is None or fed is None else (drawn - fed) / 1000
    quantities, size = expected[key]
    if any(quantity not in values for quantity in quantities):
        return None
    number = sum(values[quantity] for quantity in quantities) * size
    if quantities[0].startswith("power_factor"):
        power = values[f"active_power_{quantities[0].rsplit('_', 1)[1]}"]
        return -abs(number) if power < 0 else abs(number)
    return number


@pytest.mark.parametrize("seen", golden_tables.MEASURED)
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in SDM for kind in SDM[name]])
def test_sdm_modbus_reads_the_snapshots_values(
    server: Server, name: str, kind: str, seen: str
) -> None:
    endpoint = server.serve(name, seen)
    command = [FOREIGN_PYTHON, SCRIPT, kind, str(endpoint.port), str(endpoint.unit)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    each, settings, expected = found["each"], SETTINGS[kind], VALUES[kind]
    assert {key: each.pop(key) for key in settings} == settings
    # A block says what the registers say one by one; nan is no number.
    assert {key: str(number) for key, number in found["blocks"].items()} == {
        key: str(number) for key, number in each.items()
    }
    assert expected.keys() <= each.keys()
    for key, number in each.items():
        if key not in expected and key not in NET:
            assert any(part in key for part in NEVER), key
            assert math.isnan(number), key
            continue
        value = wanted(key, endpoint.snapshot, expected)
        if value is not None:
            assert number == pytest.approx(value, rel=2**-23), key
        else:
            # A phase that is not connected reads 0, and so do power factors while nothing flows.
            quantity = expected[key][0][0]
            may_be_zero = quantity.endswith(BEYOND_L1) or quantity.startswith("power_factor")
            is_zero = number == 0 and may_be_zero
            assert math.isnan(number) or is_zero, (key, number)
