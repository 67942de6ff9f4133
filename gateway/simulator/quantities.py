"""What a meter can measure: OBIS groups C.D.E, unit, and where the house has the value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.simulator.encoding import Unit
from gateway.simulator.house import HouseState

SECOND_TARIFF_PERCENT = 30


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measured quantity in its unit."""

    unit: Unit
    read: Callable[[HouseState], float]


def second_tariff(total: int) -> int:
    """Return what the night has of a counter; like the counter it never runs backwards."""
    return total * SECOND_TARIFF_PERCENT // 100


def first_tariff(total: int) -> int:
    """Return the rest, so that the tariffs sum to the counter."""
    return total - second_tariff(total)


QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        "1.7.0": Quantity(Unit.W, lambda s: s.active_power_import_w),
        "2.7.0": Quantity(Unit.W, lambda s: s.active_power_export_w),
        "3.7.0": Quantity(Unit.VAR, lambda s: s.reactive_power_import_var),
        "4.7.0": Quantity(Unit.VAR, lambda s: s.reactive_power_export_var),
        "13.7.0": Quantity(Unit.NONE, lambda s: s.power_factor),
        "32.7.0": Quantity(Unit.V, lambda s: s.phases[0].voltage_v),
        "52.7.0": Quantity(Unit.V, lambda s: s.phases[1].voltage_v),
        "72.7.0": Quantity(Unit.V, lambda s: s.phases[2].voltage_v),
        "31.7.0": Quantity(Unit.A, lambda s: s.phases[0].current_a),
        "51.7.0": Quantity(Unit.A, lambda s: s.phases[1].current_a),
        "71.7.0": Quantity(Unit.A, lambda s: s.phases[2].current_a),
        "1.8.0": Quantity(Unit.WH, lambda s: s.energy_active_import_wh),
        "1.8.1": Quantity(Unit.WH, lambda s: first_tariff(s.energy_active_import_wh)),
        "1.8.2": Quantity(Unit.WH, lambda s: second_tariff(s.energy_active_import_wh)),
        "2.8.0": Quantity(Unit.WH, lambda s: s.energy_active_export_wh),
        "2.8.1": Quantity(Unit.WH, lambda s: first_tariff(s.energy_active_export_wh)),
        "2.8.2": Quantity(Unit.WH, lambda s: second_tariff(s.energy_active_export_wh)),
        "3.8.0": Quantity(Unit.VARH, lambda s: s.energy_reactive_import_varh),
        "3.8.1": Quantity(Unit.VARH, lambda s: first_tariff(s.energy_reactive_import_varh)),
        "3.8.2": Quantity(Unit.VARH, lambda s: second_tariff(s.energy_reactive_import_varh)),
        "4.8.0": Quantity(Unit.VARH, lambda s: s.energy_reactive_export_varh),
        "4.8.1": Quantity(Unit.VARH, lambda s: first_tariff(s.energy_reactive_export_varh)),
        "4.8.2": Quantity(Unit.VARH, lambda s: second_tariff(s.energy_reactive_export_varh)),
        "5.8.0": Quantity(Unit.VARH, lambda s: s.energy_reactive_quadrants_varh[0]),
        "6.8.0": Quantity(Unit.VARH, lambda s: s.energy_reactive_quadrants_varh[1]),
        "7.8.0": Quantity(Unit.VARH, lambda s: s.energy_reactive_quadrants_varh[2]),
        "8.8.0": Quantity(Unit.VARH, lambda s: s.energy_reactive_quadrants_varh[3]),
    }
)
