"""pysunspec2, the SunSpec Alliance's reader, finds the models of every SunSpec map and reads them.

Its definitions of models, points and scale factors are the Alliance's own.
"""

from collections.abc import Mapping

import pytest
import sunspec2.modbus.client as sunspec

from tests.registers import golden_tables

from .clients import SUNSPEC
from .served import HOST, PATIENCE_S, Endpoint, Server

FLOAT_MODELS = range(211, 215)
PHASES = {"pha": "l1", "phb": "l2", "phc": "l3"}
LINES = {"phab": "l12", "phbc": "l23", "phca": "l31"}


def _by_phase(point: str, stem: str, total: str = "total") -> dict[str, str]:
    own = {f"{point}{phase}": f"{stem}_{name}" for phase, name in PHASES.items()}
    return {point: f"{stem}_{total}", **own}


# Point of a meter model: quantity. The models differ in how they write the phases.
POINTS: Mapping[str, str] = {
    **_by_phase("a", "current"),
    **_by_phase("phv", "voltage", "ln_avg"),
    "ppv": "voltage_ll_avg",
    **{f"phv{lines}": f"voltage_{name}" for lines, name in LINES.items()},
    **{f"ppv{lines}": f"voltage_{name}" for lines, name in LINES.items()},
    "hz": "frequency",
    **_by_phase("w", "active_power"),
    **_by_phase("va", "apparent_power"),
    **_by_phase("var", "reactive_power"),
    **_by_phase("pf", "power_factor"),
    **_by_phase("totwhexp", "energy_active_export"),
    **_by_phase("totwhimp", "energy_active_import"),
    **_by_phase("totvahexp", "energy_apparent_export"),
    **_by_phase("totvahimp", "energy_apparent_import"),
    **_by_phase("totvarhimpq1", "energy_reactive_q1"),
    **_by_phase("totvarhimpq2", "energy_reactive_q2"),
    **_by_phase("totvarhexpq3", "energy_reactive_q3"),
    **_by_phase("totvarhexpq4", "energy_reactive_q4"),
    # The meters count no single quadrants.
    "totvarhimpq1": "energy_reactive_import_total",
    "totvarhexpq4": "energy_reactive_export_total",
}
CONSTANTS = {"ID", "L", "Evt"}
# What a model of integers leaves out for good: no meter sends apparent energy.
LEFT_OUT = {point for point in POINTS if point.startswith("totvah")}

# Maps in which currents have the sign of the power.
SIGNED_CURRENTS = {
    "fronius_inverter_meter_203",
    "fronius_inverter_meter_213",
    "fronius_smart_meter_213",
}
# The map whose missing points read 0.0, all but those by which the inverter regulates.
ZERO_WHEN_MISSING = "fronius_smart_meter_213"
NEVER_ZERO = {"w", "totwhexp", "totwhimp"}

IDENTITIES = {
    "fronius_inverter_meter_203": ("obisgate", "Smart meter gateway", "1.4"),
    "fronius_inverter_meter_213": ("obisgate", "Smart meter gateway", "1.4"),
    "fronius_smart_meter_213": ("obisgate", "Smart Meter 63A", None),
    "kostal_ksem_tq": ("KOSTAL Solar Electric GmbH", "KOSTAL Smart Energy Meter G2", "2.6.2"),
    **dict.fromkeys(
        (name for name in SUNSPEC if name.startswith("sunspec")),
        ("obisgate", "Smart meter gateway", "1.0"),
    ),
}
# A solar inverter's own Common model and its meter's, and its model 103, of which nothing is known.
SOLAREDGE = "solaredge_inverter_meter"

CASES = [
    *(pytest.param(name, seen, None, id=f"{name}-{seen}")
      for name in SUNSPEC for seen in golden_tables.MEASURED),
    *(pytest.param(name, "exporting", base, id=f"{name}-{base}")
      for name in ("sunspec_203", "sunspec_213") for base in (0, 50000)),
]  # fmt: skip


def scanned(endpoint: Endpoint) -> sunspec.SunSpecModbusClientDeviceTCP:
    device = sunspec.SunSpecModbusClientDeviceTCP(
        slave_id=endpoint.unit, ipaddr=HOST, ipport=endpoint.port, timeout=PATIENCE_S
    )
    try:
        device.scan()
    finally:
        device.close()
    return device


def expected_value(name: str, endpoint: Endpoint, point: str) -> float | None:
    """Return what a point must be in the model's unit; None: not implemented."""
    quantity = POINTS[point]
    values = endpoint.snapshot.values
    is_integer = SUNSPEC[name] not in FLOAT_MODELS
    if quantity not in values or (is_integer and point in LEFT_OUT):
        return 0.0 if name == ZERO_WHEN_MISSING and point not in NEVER_ZERO else None
    number = values[quantity].number
    power = values.get("active_power_total")
    if quantity.startswith("current") and name in SIGNED_CURRENTS:
        if power is None:
            return 0.0 if name == ZERO_WHEN_MISSING else None
        number = -number if power.number < 0 else number
    if quantity.startswith("active_power") and name == SOLAREDGE:
        return -number
    if quantity.startswith("power_factor") and name == SOLAREDGE:
        of = quantity.rsplit("_", 1)[1]
        return -100 * abs(number) if values[f"active_power_{of}"].number < 0 else 100 * abs(number)
    if quantity.startswith("power_factor") and is_integer and name != "kostal_ksem_tq":
        return 100 * number  # percent; KOSTAL's go up to 1
    return number


def tolerance(point: str, scale: int | None) -> float:
    """Half a step of the scale factor; a phase's power a step more, for the sum."""
    if scale is None:
        return 0.0
    steps = 1.5 if point in ("wpha", "wphb", "wphc") else 0.5
    return steps * 10.0**scale + 1e-6


def check(name: str, endpoint: Endpoint, model: sunspec.SunSpecModbusClientModel) -> None:
    for point_name, point in model.points.items():
        key = point_name.lower()
        if point_name in CONSTANTS or key.endswith("_sf"):
            continue
        expected = expected_value(name, endpoint, key)
        where = name, point_name, point.cvalue, expected
        # An accumulator of 0 is one that is not counted.
        if expected is None or (expected == 0 and point.pdef["type"] == "acc32"):
            assert point.value is None or point.value != point.value, where
            continue
        assert point.value is not None, where
        scale = model.points[point.sf].value if point.sf else None
        close = pytest.approx(expected, abs=tolerance(key, scale), rel=2**-23)
        assert point.cvalue == close, where
    assert model.points["Evt"].value == 0


@pytest.mark.parametrize(("name", "seen", "base"), CASES)
def test_pysunspec2_finds_the_models_and_every_points_value(
    server: Server, name: str, seen: str, base: int | None
) -> None:
    endpoint = server.serve(name, seen, base=base)
    device = scanned(endpoint)
    assert device.base_addr == (40000 if base is None else base)
    found = [number for number in device.models if isinstance(number, int)]
    serial = endpoint.snapshot.texts["meter_number"]
    if name == SOLAREDGE:
        assert found == [1, 103, 203]
        inverter, meter = device.models[1]
        assert inverter.Mn.value.startswith("SolarEdge")
        assert (inverter.SN.value, inverter.DA.value) == (serial, endpoint.unit)
        assert meter.SN.value == serial
        (own,) = device.models[103]
        assert own.W.value is None
    else:
        assert found == [1, SUNSPEC[name]]
        (common,) = device.models[1]
        assert (common.Mn.value, common.Md.value, common.Vr.value) == IDENTITIES[name]
        assert (common.SN.value, common.DA.value) == (serial, endpoint.unit)
    (model,) = device.models[SUNSPEC[name]]
    check(name, endpoint, model)
    if model.W.value is not None and model.WphC.value and name != ZERO_WHEN_MISSING:
        parts = model.WphA.cvalue + model.WphB.cvalue + model.WphC.cvalue
        assert parts == pytest.approx(model.W.cvalue)
