"""pysunspec2, the reader of the SunSpec Alliance, on the bytes of our images.

Its model definitions are the Alliance's own, so what it finds under a point's name is what every
other SunSpec client finds.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import sunspec2.device

from gateway.registers import Image, RegisterMap, Table
from gateway.snapshot import Snapshot

MAPS = Path(__file__).parents[2] / "register_maps"

Pushed = Callable[[str], Snapshot]

# point of model 203 or 213: quantity
POINTS = {
    "A": "current_total",
    "PhV": "voltage_ln_avg",
    "PPV": "voltage_ll_avg",
    "Hz": "frequency",
    "W": "active_power_total",
    "VA": "apparent_power_total",
    "PF": "power_factor_total",
    "TotWhExp": "energy_active_export_total",
    "TotWhImp": "energy_active_import_total",
    "TotVArhImpQ1": "energy_reactive_import_total",
    "TotVArhExpQ4": "energy_reactive_export_total",
    **{
        f"{point}ph{letter}": f"{stem}_{phase}"
        for point, stem in (
            ("A", "current"),
            ("PhV", "voltage"),
            ("W", "active_power"),
            ("VA", "apparent_power"),
            ("PF", "power_factor"),
        )
        for letter, phase in (("A", "l1"), ("B", "l2"), ("C", "l3"))
    },
    **{
        f"{point}ph{letters}": f"voltage_{line}"
        for point in ("PhV", "PPV")
        for letters, line in (("AB", "l12"), ("BC", "l23"), ("CA", "l31"))
    },
}
HEADERS = {"ID", "L", "Evt"}


def block(image: Image, address: int, count: int) -> bytes:
    """Read in pieces of 125 registers, as clients must."""
    found = b""
    for start in range(address, address + count, 125):
        octets = image.read(Table.HOLDING, start, min(125, address + count - start))
        assert isinstance(octets, bytes)
        found += octets
    return found


def model(image: Image, model_id: int, address: int, length: int) -> sunspec2.device.Model:
    read = sunspec2.device.Model(
        model_id=model_id, model_len=length, data=block(image, address, 2 + length)
    )
    assert read.error_info == ""
    assert read.len == 2 + length  # the Alliance's definition has just as many registers
    return read


def rendered(model_id: int, snapshot: Snapshot | None) -> Image:
    name = f"sunspec_{model_id}.yaml"
    return RegisterMap.parse((MAPS / name).read_text("utf-8"), name).render(snapshot)


def shown(meter: sunspec2.device.Model) -> dict[str, float]:
    """Return the computed value of every measured point that is implemented."""
    return {
        name: point.cvalue
        for name, point in meter.points.items()
        if point.value is not None and name not in HEADERS and not name.endswith("_SF")
    }


def measured(meter: sunspec2.device.Model, snapshot: Snapshot) -> dict[str, float]:
    """Return what the snapshot has for the points of a model."""
    return {
        point: snapshot.values[quantity].number
        for point, quantity in POINTS.items()
        if point in meter.points and quantity in snapshot.values
    }


@pytest.mark.parametrize("name", ["kaifa-ma309m", "kaifa-ma110m", "honeywell"])
def test_every_point_of_model_213_has_the_snapshots_value(pushed: Pushed, name: str) -> None:
    snapshot = pushed(name)
    meter = model(rendered(213, snapshot), 213, 40070, 124)
    assert shown(meter) == {
        point: pytest.approx(number, rel=2**-23)
        for point, number in measured(meter, snapshot).items()
    }


# How far a point of model 203 may be from the value: half a step of its scale factor, and for a
# phase's power one step more, so that the phases sum to the total.
TOLERANCES = {
    "A": 0.005,
    "Ph": 0.05,
    "PP": 0.05,
    "Hz": 0.005,
    "W": 5,
    "Wph": 15,
    "VA": 5,
    "PF": 0.05,
    "Tot": 0,
}


@pytest.mark.parametrize("name", ["kaifa-ma309m", "kaifa-ma110m", "honeywell"])
def test_every_point_of_model_203_has_the_snapshots_value(pushed: Pushed, name: str) -> None:
    snapshot = pushed(name)
    meter = model(rendered(203, snapshot), 203, 40070, 105)
    found, expected = shown(meter), measured(meter, snapshot)
    assert found.keys() == expected.keys()
    for point, number in expected.items():
        longest = max((stem for stem in TOLERANCES if point.startswith(stem)), key=len)
        percent = 100 if point.startswith("PF") else 1
        # pysunspec2 computes in doubles.
        slack = TOLERANCES[longest] + 1e-9
        assert found[point] == pytest.approx(number * percent, abs=slack, rel=0), point


def test_the_phases_of_model_203_sum_to_the_total_as_a_client_computes_it(pushed: Pushed) -> None:
    found = shown(model(rendered(203, pushed("kaifa-ma309m")), 203, 40070, 105))
    assert found["WphA"] + found["WphB"] + found["WphC"] == found["W"]


@pytest.mark.parametrize(("model_id", "length"), [(203, 105), (213, 124)])
def test_before_the_first_telegram_no_point_is_implemented_but_ids_and_scale_factors(
    model_id: int, length: int
) -> None:
    image = rendered(model_id, None)
    assert shown(model(image, model_id, 40070, length)) == {}


@pytest.mark.parametrize("model_id", [203, 213])
def test_the_common_model_says_who_the_meter_is(pushed: Pushed, model_id: int) -> None:
    snapshot = pushed("kaifa-ma309m")
    common = model(rendered(model_id, snapshot), 1, 40002, 66)
    found = {name: point.value for name, point in common.points.items()}
    assert {name: found[name] for name in ("ID", "L", "Mn", "Md", "Vr", "SN")} == {
        "ID": 1,
        "L": 66,
        "Mn": "obisgate",
        "Md": "Smart meter gateway",
        "Vr": "1.0",
        "SN": snapshot.texts["meter_number"],
    }
    assert not common.points["DA"].is_impl()
    assert not common.points["Opt"].is_impl()
