"""What a quantity may be in a house, and whether a register's type holds all of it."""

import re

from gateway.registers.codec import RegisterType
from gateway.registers.given import HEADROOM, rated_power_w
from gateway.registers.register import SERIAL_NUMBER
from gateway.snapshot import Origin, Quantity
from gateway.snapshot.plausibility import DEFAULT_CONNECTION_A

# What a directly connected meter may show: 3 × 80 A, and a quarter more for an hour.
MAX_PHASE_V = 300
MAX_LINE_V = 520
MAX_PHASE_A = 100
MAX_POWER_W = HEADROOM * rated_power_w(DEFAULT_CONNECTION_A)
MAX_ENERGY_WH = 4_000_000_000  # the meters count in 32 bits
MAX_CLOCK_S = 4_102_444_800  # the year 2100
MAX_SERIAL = 999_999_999
FREQUENCIES_HZ = (45, 65)
PHASES = 3
LINE_TO_LINE = ("_l12", "_l23", "_l31", "_ll_avg")
SIGNED = re.compile(r"(re)?active_power_(total|l\d)")


def plausible(quantity: Quantity) -> tuple[float, float] | None:
    """Return what a quantity is at least and at most in a house, None: nobody can say."""
    name = quantity.name
    if quantity.origin in (Origin.NOT_SENT, Origin.SERVICE):
        return None
    match quantity.unit:
        case "V":
            return 0, MAX_LINE_V if name.endswith(LINE_TO_LINE) else MAX_PHASE_V
        case "A":
            return 0, MAX_PHASE_A * (PHASES if name.endswith("_total") else 1)
        case "W" | "VA" | "var":
            most = MAX_POWER_W if name.endswith("_total") else MAX_POWER_W / PHASES
            return -most if SIGNED.fullmatch(name) else 0, most
        case "Wh" | "varh":
            return 0, MAX_ENERGY_WH
        case "Hz":
            return FREQUENCIES_HZ
        case "s":
            return 0, MAX_CLOCK_S
    if name == SERIAL_NUMBER:
        return 0, MAX_SERIAL
    return -1, 1  # power factors


def holds(register_type: RegisterType, exponent: int, lowest: float, highest: float) -> bool:
    """Tell whether a type that counts in 10^exponent holds all from `lowest` to `highest`."""
    if register_type.is_float:
        return True
    step = 10.0**exponent
    return register_type.lowest * step <= lowest and highest <= register_type.highest * step
