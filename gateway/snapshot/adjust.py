"""What the user knows better than the meter: phases, the frequency, an offset or a factor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.snapshot.derive import PHASES
from gateway.snapshot.quantities import QUANTITIES, Origin
from gateway.snapshot.snapshot import NOMINAL_FREQUENCY_HZ, Snapshot, Values

# A net power is adjusted as a whole: what is drawn and what is fed in follow from it.
NETS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        f"{kind}_power_total": (f"{kind}_power_import_total", f"{kind}_power_export_total")
        for kind in ("active", "reactive")
    }
)
ADJUSTABLE = (
    *NETS,
    *(
        name
        for name, quantity in QUANTITIES.items()
        if quantity.origin is Origin.MEASURED and quantity.unit in ("V", "A", "Wh", "varh")
    ),
)


@dataclass(frozen=True, slots=True)
class Linear:
    """`factor` × number + `offset`, in the quantity's unit."""

    factor: float = 1
    offset: float = 0

    def of(self, number: float) -> int | float:
        """Return the adjusted number; a whole one stays whole."""
        adjusted = self.factor * number + self.offset
        return round(adjusted) if isinstance(number, int) else adjusted


@dataclass(frozen=True, slots=True)
class Adjustment:
    """How one unit shows a meter otherwise than the meter says.

    `phases` name the meter's phases that stand as L1, L2 and L3. `linear` has adjustments by
    quantity, out of ADJUSTABLE.
    """

    phases: tuple[str, ...] = PHASES
    frequency_hz: float = NOMINAL_FREQUENCY_HZ
    linear: Mapping[str, Linear] = field(default_factory=dict)

    def of(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as the unit shows it; what is derived follows from the rest."""
        sent = snapshot.measured
        measured = {name: number for name, number in sent.items() if name[-2:] not in PHASES}
        for shown, meant in zip(PHASES, self.phases, strict=True):
            for kind in ("voltage", "current"):
                if f"{kind}_{meant}" in sent:
                    measured[f"{kind}_{shown}"] = sent[f"{kind}_{meant}"]
        for name, linear in self.linear.items():
            if name not in NETS:
                if name in measured:
                    # Volts, amperes and counters are never negative, whatever is taken off.
                    measured[name] = max(linear.of(measured[name]), 0)
                continue
            drawn, fed = NETS[name]
            if drawn in measured and fed in measured:
                net = linear.of(measured[drawn] - measured[fed])
                measured |= {drawn: max(net, 0), fed: max(-net, 0)}
        values = Values(measured, snapshot.texts, self.frequency_hz)
        return Snapshot(values, snapshot.texts, snapshot.received, measured)
