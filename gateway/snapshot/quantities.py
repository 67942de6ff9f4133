"""The catalogue: every quantity that a register map may name, its unit and where it comes from.

Signs: positive active power is drawn from the grid, negative is fed into it. What no meter of
ours sends and nothing can be derived from stands here too: maps of other makers' meters have
registers for it, and those show that it is not available.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from gateway.telegram import Layer
from gateway.telegram.obis import CLOCK, DEVICE_NAME, METER_NUMBER, Obis


class Origin(StrEnum):
    """Where a quantity's values come from."""

    MEASURED = "measured"  # by the meter
    DERIVED = "derived"  # calculated from what it measured
    NOMINAL = "nominal"  # what it should be; nobody measured it
    SERVICE = "service"  # the gateway's own
    NOT_SENT = "not sent"  # by no meter of ours


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named physical quantity in a fixed unit ("" for a plain ratio).

    A meter may leave out what is measured; what it does send in its place wins over a derivation.
    """

    name: str
    unit: str
    obis: Obis | None
    meaning: str
    origin: Origin


def _code(c: int, d: int, tariff: int = 0) -> Obis:
    return Obis(1, 0, c, d, tariff)


# name, unit, OBIS code, meaning: what the meter itself sends.
_MEASURED: tuple[tuple[str, str, Obis, str], ...] = (
    ("voltage_l1", "V", _code(32, 7), "voltage L1 to neutral"),
    ("voltage_l2", "V", _code(52, 7), "voltage L2 to neutral"),
    ("voltage_l3", "V", _code(72, 7), "voltage L3 to neutral"),
    ("current_l1", "A", _code(31, 7), "current L1, without sign"),
    ("current_l2", "A", _code(51, 7), "current L2, without sign"),
    ("current_l3", "A", _code(71, 7), "current L3, without sign"),
    ("active_power_import_total", "W", _code(1, 7), "power drawn, balanced over the phases"),
    ("active_power_export_total", "W", _code(2, 7), "power fed in, balanced over the phases"),
    ("energy_active_import_total", "Wh", _code(1, 8), "energy drawn"),
    ("energy_active_export_total", "Wh", _code(2, 8), "energy fed in"),
    ("energy_active_import_t1", "Wh", _code(1, 8, 1), "energy drawn in tariff 1"),
    ("energy_active_import_t2", "Wh", _code(1, 8, 2), "energy drawn in tariff 2"),
    ("energy_active_export_t1", "Wh", _code(2, 8, 1), "energy fed in in tariff 1"),
    ("energy_active_export_t2", "Wh", _code(2, 8, 2), "energy fed in in tariff 2"),
    ("energy_reactive_import_total", "varh", _code(3, 8), "reactive energy +R"),
    ("energy_reactive_export_total", "varh", _code(4, 8), "reactive energy -R"),
    ("reactive_power_import_total", "var", _code(3, 7), "reactive power +R"),
    ("reactive_power_export_total", "var", _code(4, 7), "reactive power -R"),
    (
        "power_factor_total",
        "",
        _code(13, 7),
        "power factor; where not sent derived, with the sign of the power",
    ),
    ("meter_clock", "s", CLOCK, "the meter's clock, seconds since 1970-01-01 UTC"),
)

# Calculated from what was measured: see derive.py.
_DERIVED: tuple[tuple[str, str, str], ...] = (
    ("active_power_total", "W", "power drawn less power fed in"),
    ("reactive_power_total", "var", "reactive power +R less -R, where the meter sends both"),
    ("active_power_l1", "W", "share of L1 in the total, by U·I"),
    ("active_power_l2", "W", "share of L2 in the total, by U·I"),
    ("active_power_l3", "W", "share of L3 in the total, by U·I"),
    *(
        (f"active_power_{way}_l{n}", "W", f"{meaning} on L{n}, from its share in the total")
        for way, meaning in (("import", "power drawn"), ("export", "power fed in"))
        for n in (1, 2, 3)
    ),
    *(
        (f"apparent_power_{way}_{of}", "VA", f"{what} while power is {meaning}, else 0")
        for way, meaning in (("import", "drawn"), ("export", "fed in"))
        for of, what in (("total", "sum of U·I"), *((f"l{n}", f"U·I of L{n}") for n in (1, 2, 3)))
    ),
    ("apparent_power_total", "VA", "sum of U·I"),
    ("apparent_power_l1", "VA", "U·I of L1"),
    ("apparent_power_l2", "VA", "U·I of L2"),
    ("apparent_power_l3", "VA", "U·I of L3"),
    ("power_factor_l1", "", "that of the total, as the split by U·I implies"),
    ("power_factor_l2", "", "that of the total, as the split by U·I implies"),
    ("power_factor_l3", "", "that of the total, as the split by U·I implies"),
    ("meter_serial", "", "last nine digits of the operator's meter number"),
    ("current_total", "A", "sum of the phase currents"),
    ("current_avg", "A", "mean of the phase currents"),
    ("voltage_ln_avg", "V", "mean voltage of the phases under voltage"),
    ("voltage_l12", "V", "L1 to L2, taken at 120°"),
    ("voltage_l23", "V", "L2 to L3, taken at 120°"),
    ("voltage_l31", "V", "L3 to L1, taken at 120°"),
    ("voltage_ll_avg", "V", "mean of the line-to-line voltages"),
)

_NOMINAL: tuple[tuple[str, str, str], ...] = (
    ("frequency", "Hz", "nominal frequency of the grid; the meter does not measure it"),
)

# The service's own: they are as of the moment in which they are read, and never go stale.
AGE = Quantity("telegram_age", "s", None, "seconds since the last good telegram", Origin.SERVICE)

FAULTS: Mapping[Layer, str] = MappingProxyType({layer: f"faults_{layer}" for layer in Layer})
_FAULTS: Mapping[Layer, str] = {
    Layer.FRAME: "damaged frames, and bytes outside all frames",
    Layer.SEGMENT: "frames that do not make up a message",
    Layer.CIPHERING: "headers that are wrong, and tags that do not verify",
    Layer.DECRYPTION: "telegrams that do not decrypt: wrong key, or damage",
    Layer.STRUCTURE: "plaintexts that are no telegram",
    Layer.LAYOUT: "telegrams with an unknown list of objects",
    Layer.IDENTITY: "telegrams of another meter",
    Layer.COUNTER: "telegrams whose invocation counter did not rise",
    Layer.PLAUSIBILITY: "telegrams whose values cannot be, or not be together",
}
_DIAGNOSTIC: tuple[tuple[str, str, str], ...] = (
    ("meter_state", "", "0 no telegram yet, 1 live, 2 the next one is overdue, 3 stale"),
    ("telegram_pause", "s", "usual pause between two good telegrams"),
    ("telegrams_good", "", "good telegrams since the service started"),
    ("telegrams_held", "", "telegrams that had to wait for the next one to confirm them"),
    ("invocation_counter", "", "invocation counter of the last good telegram"),
    ("service_uptime", "s", "seconds since the service started"),
    ("faults_total", "", "all faults since the service started"),
    *((FAULTS[layer], "", meaning) for layer, meaning in _FAULTS.items()),
)

# What other makers' meters have and ours do not send: (stem, unit, meaning, with phases).
_ABSENT: tuple[tuple[str, str, str, bool], ...] = (
    ("reactive_power", "var", "reactive power", True),
    ("reactive_power_import", "var", "reactive power +R", True),
    ("reactive_power_export", "var", "reactive power -R", True),
    ("energy_reactive_import", "varh", "reactive energy +R", True),
    ("energy_reactive_export", "varh", "reactive energy -R", True),
    ("phase_angle", "deg", "angle between voltage and current", True),
    ("energy_active_import", "Wh", "energy drawn", True),
    ("energy_active_export", "Wh", "energy fed in", True),
    ("energy_apparent_import", "VAh", "apparent energy while drawing", True),
    ("energy_apparent_export", "VAh", "apparent energy while feeding in", True),
    ("energy_reactive_q1", "varh", "reactive energy, quadrant 1", True),
    ("energy_reactive_q2", "varh", "reactive energy, quadrant 2", True),
    ("energy_reactive_q3", "varh", "reactive energy, quadrant 3", True),
    ("energy_reactive_q4", "varh", "reactive energy, quadrant 4", True),
    ("energy_apparent_total", "VAh", "apparent energy", False),
    ("charge_total", "Ah", "charge", False),
    ("demand_power", "W", "mean power of the present demand period", False),
    ("demand_power_max", "W", "highest demand", False),
    ("current_n", "A", "current in the neutral conductor", False),
    ("voltage_thd", "", "harmonic distortion of the voltage", True),
    ("current_thd", "", "harmonic distortion of the current", True),
    ("voltage_thd_l12", "", "harmonic distortion, L1 to L2", False),
    ("voltage_thd_l23", "", "harmonic distortion, L2 to L3", False),
    ("voltage_thd_l31", "", "harmonic distortion, L3 to L1", False),
)


def _catalogue() -> dict[str, Quantity]:
    found = [Quantity(*row, Origin.MEASURED) for row in _MEASURED]
    for rows, origin in ((_DERIVED, Origin.DERIVED), (_NOMINAL, Origin.NOMINAL)):
        found += [Quantity(name, unit, None, meaning, origin) for name, unit, meaning in rows]
    found.append(AGE)
    for stem, unit, meaning, has_phases in _ABSENT:
        suffixes = ("_total", "_l1", "_l2", "_l3") if has_phases else ("",)
        found += [Quantity(stem + s, unit, None, meaning, Origin.NOT_SENT) for s in suffixes]
    found += [Quantity(*row[:2], None, row[2], Origin.SERVICE) for row in _DIAGNOSTIC]
    catalogue: dict[str, Quantity] = {}
    for quantity in found:
        # What is sent stands first: of some absent stems the total is sent.
        catalogue.setdefault(quantity.name, quantity)
    return catalogue


QUANTITIES: Mapping[str, Quantity] = MappingProxyType(_catalogue())
SERVICE = frozenset(name for name, q in QUANTITIES.items() if q.origin is Origin.SERVICE)

# The texts of a meter, by the name under which a map writes them: ${meter_number}.
TEXTS: Mapping[str, Obis] = MappingProxyType(
    {"meter_number": METER_NUMBER, "device_name": DEVICE_NAME}
)
