"""What is plugged in: appliances that run, rest and run again."""

from dataclasses import dataclass
from random import Random

L1, L2, L3 = 0, 1, 2
ANY_TIME = ((0, 24),)


@dataclass(frozen=True, slots=True)
class Appliance:
    """One line of a house's equipment."""

    name: str
    power_w: float  # over all its phases
    reactive_share: float  # var per W: positive for motors, negative for power supplies
    phases: tuple[int, ...]
    run_min: tuple[float, float]
    rest_min: tuple[float, float]  # only minutes within `hours` count as rest
    hours: tuple[tuple[float, float], ...]  # local hours in which it may be switched on


THREE_PHASE_HOUSE = (
    Appliance("fridge", 95, 0.60, (L1,), (12, 16), (26, 34), ANY_TIME),
    Appliance("freezer", 120, 0.55, (L2,), (14, 20), (30, 45), ANY_TIME),
    Appliance("kettle", 2000, 0.00, (L2,), (2, 4), (90, 330), ((6, 22),)),
    Appliance("hob", 1900, 0.00, (L1, L3), (12, 28), (90, 300), ((11, 13), (17, 20))),
    Appliance("oven", 2600, 0.00, (L3,), (25, 50), (180, 900), ((17, 20),)),
    Appliance("washing machine", 1900, 0.05, (L1,), (18, 30), (600, 1800), ((8, 20),)),
    Appliance("lights and screens", 260, -0.35, (L2,), (90, 200), (20, 60), ((17, 23),)),
    Appliance("heat pump", 2200, 0.30, (L1, L2, L3), (30, 60), (40, 90), ((3, 8), (16, 23))),
    Appliance("wallbox", 11000, 0.03, (L1, L2, L3), (60, 150), (600, 1500), ((18, 24),)),
)

ONE_PHASE_HOUSE = (
    Appliance("fridge", 80, 0.60, (L1,), (12, 16), (26, 34), ANY_TIME),
    Appliance("kettle", 1800, 0.00, (L1,), (2, 4), (120, 360), ((6, 22),)),
    Appliance("hob", 1200, 0.00, (L1,), (12, 25), (120, 360), ((11, 13), (17, 20))),
    Appliance("washing machine", 1800, 0.05, (L1,), (15, 25), (900, 2400), ((8, 20),)),
    Appliance("lights and screens", 140, -0.35, (L1,), (90, 200), (20, 60), ((17, 23),)),
    Appliance("boiler", 1500, 0.00, (L1,), (60, 120), (240, 420), ((0, 5), (22, 24))),
)


class Switch:
    """One appliance at work."""

    def __init__(self, appliance: Appliance, rng: Random) -> None:
        """Start somewhere in the middle of a rest."""
        self.appliance = appliance
        self.is_on = False
        self._rng = rng
        self._left_s = 60 * rng.uniform(0, appliance.rest_min[1])

    def advance(self, step_s: float, local_hour: float) -> None:
        """Let a step pass that is shorter than any run."""
        in_hours = any(start <= local_hour < end for start, end in self.appliance.hours)
        if not self.is_on and not in_hours:
            return
        self._left_s -= step_s
        if self._left_s <= 0:
            self.is_on = not self.is_on
            minutes = self.appliance.run_min if self.is_on else self.appliance.rest_min
            self._left_s += 60 * self._rng.uniform(*minutes)
