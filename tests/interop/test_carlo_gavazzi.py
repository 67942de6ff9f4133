"""carlo-gavazzi-energy-meter-modbus, Home Assistant's reader, finds out the meter and reads it."""

from typing import Any

import pytest

from .clients import CLIENTS
from .served import Server
from .typed_meters import needs_typed_meters, said

NAME = "carlo-gavazzi-energy-meter-modbus"

pytestmark = needs_typed_meters

PHASES = ("l1", "l2", "l3")
BEYOND_L1 = ("l2", "l3", "l12", "l23", "l31", "ll_avg")
LINES = {"voltage_l1_l2": "l12", "voltage_l2_l3": "l23", "voltage_l3_l1": "l31"}

# attribute: quantity, its unit's size in the attribute's, the step in which the meter counts.
Expected = dict[str, tuple[str, float, float]]
MEASUREMENTS: Expected = {
    **{f"voltage_{phase}_n": (f"voltage_{phase}", 1, 0.1) for phase in PHASES},
    **{name: (f"voltage_{line}", 1, 0.1) for name, line in LINES.items()},
    **{f"current_{phase}": (f"current_{phase}", 1, 0.001) for phase in PHASES},
    **{
        f"{stem}_{phase}": (f"{stem}_{phase}", 1, step)
        for stem, step in (
            ("active_power", 0.1),
            ("apparent_power", 0.1),
            ("reactive_power", 0.1),
            ("power_factor", 0.001),
        )
        for phase in PHASES
    },
    "voltage_l_n": ("voltage_ln_avg", 1, 0.1),
    "voltage_l_l": ("voltage_ll_avg", 1, 0.1),
    "active_power": ("active_power_total", 1, 0.1),
    "apparent_power": ("apparent_power_total", 1, 0.1),
    "reactive_power": ("reactive_power_total", 1, 0.1),
    "power_factor": ("power_factor_total", 1, 0.001),
    "frequency": ("frequency", 1, 0.1),
}


def energies(step: float) -> Expected:
    return {
        "energy_imported": ("energy_active_import_total", 0.001, step),
        "energy_imported_partial": ("energy_active_import_total", 0.001, step),
        "reactive_energy_imported": ("energy_reactive_import_total", 0.001, step),
        "reactive_energy_imported_partial": ("energy_reactive_import_total", 0.001, step),
        "energy_exported": ("energy_active_export_total", 0.001, step),
        "reactive_energy_exported": ("energy_reactive_export_total", 0.001, step),
        **{f"energy_imported_{p}": (f"energy_active_import_{p}", 0.001, step) for p in PHASES},
    }


TARIFFS: Expected = {
    f"energy_imported_tariff_{n}": (f"energy_active_import_t{n}", 0.001, 0.1) for n in (1, 2)
}
TOTALS = {
    name: how
    for name, how in energies(0.001).items()
    if not name.endswith(("_partial", "_l1", "_l2", "_l3"))
}
MORE_ENERGIES: Expected = {
    "energy_exported_partial": ("energy_active_export_total", 0.001, 0.001),
    "reactive_energy_exported_partial": ("energy_reactive_export_total", 0.001, 0.001),
    "apparent_energy": ("energy_apparent_total", 0.001, 0.001),
    "apparent_energy_partial": ("energy_apparent_total", 0.001, 0.001),
}
QUALITY: Expected = {
    "neutral_current": ("current_n", 1, 0.001),
    **{f"thd_current_{phase}": (f"current_thd_{phase}", 100, 0.01) for phase in PHASES},
    **{f"thd_voltage_{phase}_n": (f"voltage_thd_{phase}", 100, 0.01) for phase in PHASES},
    **{f"thd_{name}": (f"voltage_thd_{line}", 100, 0.01) for name, line in LINES.items()},
}
DEMAND: Expected = {
    "active_power_demand": ("demand_power", 1, 0.1),
    "active_power_demand_max": ("demand_power_max", 1, 0.1),
}

# What this meter shows of what is not measured: run hours, the EM540's demand.
NEVER = ("run_hours", "current_demand", "apparent_power_demand", "active_power_demand")

METERS: dict[str, dict[str, Expected]] = {
    "carlo_gavazzi_em340_et340": {
        "measurements": MEASUREMENTS,
        "energy": energies(0.1),
        "energy_precise": TOTALS,
        "tariff_energy": TARIFFS,
        "demand": DEMAND,
    },
    "carlo_gavazzi_em540": {
        "measurements": MEASUREMENTS,
        "energy": energies(0.001) | MORE_ENERGIES,
        "tariff_energy": TARIFFS,
        "power_quality": QUALITY,
        "demand": {},
    },
}
STATES = {
    "carlo_gavazzi_em340_et340": {
        "identity": {"code": 341, "firmware_version": "B2", "serial_number": "0154321"},
        "status": {"wrong_connection": False},
        "settings": {
            "measuring_system": "THREE_PHASE_WITH_NEUTRAL",
            "measurement_mode": "BIDIRECTIONAL",
            "demand_interval": 15,
            "tariffs_enabled": False,
        },
        "measurements": {"phase_sequence": "L1_L2_L3"},
    },
    "carlo_gavazzi_em540": {
        "identity": {
            "code": 1760,
            "firmware_version": "1.4.0",
            "serial_number": "FM0200154321",
            "production_year": 2024,
        },
        "status": {
            "digital_input": False,
            "active_tariff": "TARIFF_1",
            "alarm": False,
            "wrong_connection": False,
            "device_state": "RUN",
        },
        "settings": {
            "measuring_system": "THREE_PHASE_WITH_NEUTRAL",
            "measurement_mode": "BIDIRECTIONAL",
            "demand_interval": "MINUTES_15",
            "tariffs_by_command": False,
        },
        "measurements": {"phase_sequence": "L1_L2_L3"},
        "power_quality": {f"load_type{of}": None for of in ("", "_l1", "_l2", "_l3")},
    },
}
# The library knows the meter's overflow in measurements, not in counters and power factors.
OVERFLOW = 2**31 - 1
UNKNOWN = OVERFLOW / 10, round(OVERFLOW + OVERFLOW / 1000, 3), (2**63 - 1) / 1000, 0x7FFF / 1000


def turned(attribute: str, number: float, values: Any, name: str) -> float:
    """Return a current or power factor with the sign that this meter gives it."""
    of = attribute[-2:] if attribute[-2:] in PHASES else "total"
    is_turned = attribute.startswith("power_factor") or (
        attribute.startswith("current_l") and name == "carlo_gavazzi_em340_et340"
    )
    power = values.get(f"active_power_{of}")
    return -abs(number) if is_turned and power and power.number < 0 else number


@pytest.mark.parametrize(
    ("seen", "over"),
    [
        ("exporting", "tcp"),
        ("exporting", "rtu over tcp"),
        ("one phase", "tcp"),
        ("no currents", "tcp"),
        ("63 A fed in", "tcp"),
        ("every quantity", "tcp"),
    ],
)
@pytest.mark.parametrize("name", CLIENTS[NAME])
def test_the_library_finds_the_meter_and_reads_every_value(
    server: Server, name: str, seen: str, over: str
) -> None:
    endpoint = server.serve(name, seen, over)
    found, snapshot = said("carlo_gavazzi", endpoint, over), endpoint.snapshot
    assert found["model"] == {"em340": "EM340", "em540": "EM540"}[name.split("_")[2]]
    assert found["failed"] == []
    for part, expected in METERS[name].items():
        states = STATES[name].get(part, {})
        left = set(found["parts"][part]) - set(states) - set(expected)
        assert all(attribute.startswith(NEVER) for attribute in left), left
        assert {found["parts"][part][attribute] for attribute in left} <= {None}
        for attribute, (quantity, size, step) in expected.items():
            number = found["parts"][part][attribute]
            where = part, attribute, number
            if quantity in snapshot.values:
                wanted = snapshot.values[quantity].number * size
                wanted = turned(attribute, wanted, snapshot.values, name)
                assert number == pytest.approx(wanted, abs=step / 2 + 1e-9, rel=1e-12), where
            else:
                # A phase that is not connected reads 0; so does a power factor while nothing flows.
                may_be_zero = quantity.endswith(BEYOND_L1) or quantity.startswith("power_factor")
                is_zero = number == 0 and may_be_zero
                assert number is None or number in UNKNOWN or is_zero, where
    for part, states in STATES[name].items():
        shown = found["parts"][part]
        assert {attribute: shown[attribute] for attribute in states} == states
