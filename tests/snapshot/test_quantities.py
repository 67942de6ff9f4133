"""The catalogue: names, units, and the OBIS codes of the data model."""

import pytest

from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import AGE, TEXTS
from gateway.telegram.obis import EXPECTED_UNITS, Obis


def test_every_measured_quantity_has_the_unit_that_the_decoder_demands() -> None:
    units = {q.obis: q.unit or None for q in QUANTITIES.values() if q.obis in EXPECTED_UNITS}
    # Quadrants (C 5 to 8) and reactive tariffs are sent by some, and no quantity names them.
    assert units == {
        obis: unit
        for obis, unit in EXPECTED_UNITS.items()
        if (obis.e == 0 and (obis.d, obis.c) not in {(8, c) for c in (5, 6, 7, 8)})
        or (obis.e in (1, 2) and obis.c in (1, 2))
    }


def test_a_quantity_is_found_under_its_own_name() -> None:
    assert {name: quantity.name for name, quantity in QUANTITIES.items()} == {
        name: name for name in QUANTITIES
    }


def test_no_two_quantities_come_from_one_obis_code() -> None:
    codes = [quantity.obis for quantity in QUANTITIES.values() if quantity.obis]
    assert len(codes) == len(set(codes))


def test_a_total_that_is_sent_is_not_hidden_by_the_absent_ones_of_its_stem() -> None:
    assert QUANTITIES["energy_active_import_total"].obis == Obis(1, 0, 1, 8, 0)
    assert QUANTITIES["energy_active_export_total"].obis == Obis(1, 0, 2, 8, 0)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("reactive_power_total", "var"),
        ("phase_angle_l2", "deg"),
        ("energy_active_import_l3", "Wh"),
        ("energy_apparent_export_total", "VAh"),
        ("energy_reactive_q4_l1", "varh"),
        ("charge_total", "Ah"),
        ("current_n", "A"),
        ("frequency", "Hz"),
        ("power_factor_l1", ""),
        ("telegram_age", "s"),
    ],
)
def test_what_no_meter_sends_stands_in_the_catalogue_with_its_unit(name: str, unit: str) -> None:
    assert QUANTITIES[name].unit == unit
    assert QUANTITIES[name].obis is None


def test_quantities_without_phases_have_no_phase_names() -> None:
    assert "charge_total_total" not in QUANTITIES
    assert "current_n_l1" not in QUANTITIES


def test_the_catalogue_cannot_be_changed() -> None:
    for catalogue in (QUANTITIES, TEXTS):
        with pytest.raises(TypeError):
            catalogue["voltage_l4"] = AGE
    with pytest.raises(AttributeError):
        AGE.unit = "A"
