"""A telegram seen as named quantities: measured, derived or nominal. Pure."""

from gateway.snapshot.adjust import Adjustment
from gateway.snapshot.diagnostics import Diagnostics
from gateway.snapshot.freshness import Age, Freshness, OldestOf
from gateway.snapshot.judge import Judge, Verdict
from gateway.snapshot.quantities import QUANTITIES, Origin, Quantity
from gateway.snapshot.snapshot import Snapshot, Value

__all__ = [
    "QUANTITIES",
    "Adjustment",
    "Age",
    "Diagnostics",
    "Freshness",
    "Judge",
    "OldestOf",
    "Origin",
    "Quantity",
    "Snapshot",
    "Value",
    "Verdict",
]
