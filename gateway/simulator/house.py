"""A plausible Austrian house behind the meter: loads, sun on the roof, counters."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from gateway.simulator.appliances import ONE_PHASE_HOUSE, THREE_PHASE_HOUSE, Switch
from gateway.simulator.local_time import austrian
from gateway.simulator.sky import Clouds, clear_sky_share

LONGEST_STEP = timedelta(seconds=60)

NOMINAL_VOLTAGE_V = 230.0
VOLTAGE_DRIFT_V = 0.9  # standard deviation of what the neighbours do
VOLTAGE_DRIFT_S = 600.0
MAINS_RESISTANCE_OHM = 0.12  # from the transformer to the house, one phase

BASE_REACTIVE_SHARE = -0.4  # standby power supplies are capacitive
BASE_RIPPLE = 0.04

# Rough halves, thirds and sixths: no two phases of a real house carry the same load.
PHASE_SHARES = {1: (1.0,), 3: (0.51, 0.31, 0.18)}
BASE_LOAD_W = {1: (90.0, 170.0), 3: (190.0, 340.0)}
# A one-phase inverter stays below 16 A, 3.68 kVA.
PV_PEAK_W = {1: (3200.0, 4200.0), 3: (5500.0, 8000.0)}
EQUIPMENT = {1: ONE_PHASE_HOUSE, 3: THREE_PHASE_HOUSE}


@dataclass(frozen=True, slots=True)
class PhaseState:
    """One phase: voltage and current as the meter sends them, powers as they really are."""

    voltage_v: float
    current_a: float
    active_power_w: float
    reactive_power_var: float


@dataclass(frozen=True, slots=True)
class HouseState:
    """What the meter sees at one moment; powers and counters balance over the phases."""

    moment: datetime
    phases: tuple[PhaseState, ...]
    active_power_import_w: int
    active_power_export_w: int
    energy_active_import_wh: int
    energy_active_export_wh: int
    reactive_power_import_var: int
    reactive_power_export_var: int
    energy_reactive_import_varh: int
    energy_reactive_export_varh: int
    energy_reactive_quadrants_varh: tuple[int, int, int, int]  # I … IV, counter-clockwise

    @property
    def power_factor(self) -> float:
        """Return |P| / S of the whole house, 0 … 1; where nothing flows it is 1."""
        active_w = self.active_power_import_w - self.active_power_export_w
        reactive_var = self.reactive_power_import_var - self.reactive_power_export_var
        apparent_va = math.hypot(active_w, reactive_var)
        return abs(active_w) / apparent_va if apparent_va else 1.0


@dataclass(slots=True)
class _Counter:
    """Two counters that share one signed power; fractions of a unit are kept."""

    imported: float
    exported: float

    def add(self, amount: float) -> None:
        self.imported += max(amount, 0.0)
        self.exported += max(-amount, 0.0)


@dataclass(slots=True)
class _Quadrants:
    """Reactive counters I … IV: which one runs depends on the signs of both powers."""

    counted: list[float]

    @classmethod
    def of(cls, imported: float, exported: float) -> "_Quadrants":
        """Start as in a house that imports active power for most of the time."""
        return cls([0.6 * imported, 0.4 * imported, 0.4 * exported, 0.6 * exported])

    def add(self, active_w: float, reactive_varh: float) -> None:
        first, second, third, fourth = range(4)
        consuming, supplying = (first, fourth), (second, third)
        quadrants = consuming if active_w >= 0 else supplying
        self.counted[quadrants[reactive_varh < 0]] += abs(reactive_varh)


@dataclass(slots=True)
class _Phase:
    """What one phase carries now, and how far its voltage drifted."""

    base_load_w: float
    voltage_offset_v: float
    drift_v: float = 0.0
    active_w: float = 0.0
    reactive_var: float = 0.0

    def state(self) -> PhaseState:
        drop_v = MAINS_RESISTANCE_OHM * self.active_w / NOMINAL_VOLTAGE_V
        voltage_v = round(NOMINAL_VOLTAGE_V + self.voltage_offset_v + self.drift_v - drop_v, 1)
        current_a = round(math.hypot(self.active_w, self.reactive_var) / voltage_v, 2)
        return PhaseState(voltage_v, current_a, self.active_w, self.reactive_var)


class House:
    """A house of one or three phases; the same seed, start and calls give the same states."""

    def __init__(self, phases: int, seed: int, start: datetime) -> None:
        """Build a house whose counters have already run for some years at the aware `start`."""
        if phases not in EQUIPMENT:
            raise ValueError(f"a house has 1 or 3 phases, not {phases}")
        if start.utcoffset() is None:
            raise ValueError("start has no time zone")
        self._rng = rng = Random(seed)
        self._moment = start.astimezone(UTC)
        base_load_w = rng.uniform(*BASE_LOAD_W[phases])
        shares = rng.sample(PHASE_SHARES[phases], phases)
        self._phases = [_Phase(base_load_w * share, rng.uniform(-1.0, 2.5)) for share in shares]
        self._switches = [Switch(appliance, rng) for appliance in EQUIPMENT[phases]]
        self._clouds = Clouds(rng)
        self._pv_peak_w = rng.uniform(*PV_PEAK_W[phases])
        self._active_wh = _Counter(rng.uniform(3e6, 20e6), rng.uniform(2e6, 18e6))
        # Houses of today are capacitive: more varh go out than come in (real telegrams).
        self._reactive_varh = _Quadrants.of(rng.uniform(0.1e6, 1e6), rng.uniform(1e6, 4e6))
        self._switch(timedelta(0))

    def advance(self, seconds: float) -> HouseState:
        """Let `seconds` pass (0 is allowed) and return what the meter sees then."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"time does not move by {seconds} s")
        end = self._moment + timedelta(seconds=seconds)
        while self._moment < end:
            step = min(LONGEST_STEP, end - self._moment)
            self._count(step)
            self._moment += step
            self._switch(step)
        return self._state()

    def _count(self, step: timedelta) -> None:
        """Integrate the present powers, which hold for the whole step."""
        hours = step / timedelta(hours=1)
        active_w = sum(phase.active_w for phase in self._phases)
        reactive_var = sum(phase.reactive_var for phase in self._phases)
        self._active_wh.add(active_w * hours)
        self._reactive_varh.add(active_w, reactive_var * hours)

    def _switch(self, step: timedelta) -> None:
        """Let everything in and over the house move on, and find the powers from now on."""
        step_s = step.total_seconds()
        local = austrian(self._moment)
        local_hour = local.hour + local.minute / 60
        self._clouds.advance(step)
        sun_w = self._pv_peak_w * clear_sky_share(self._moment) * self._clouds.transmittance
        for phase in self._phases:
            decay = math.exp(-step_s / VOLTAGE_DRIFT_S)
            kick_v = VOLTAGE_DRIFT_V * math.sqrt(1 - decay**2)
            phase.drift_v = phase.drift_v * decay + self._rng.gauss(0.0, kick_v)
            load_w = phase.base_load_w * self._rng.uniform(1 - BASE_RIPPLE, 1 + BASE_RIPPLE)
            phase.active_w = load_w - sun_w / len(self._phases)
            phase.reactive_var = load_w * BASE_REACTIVE_SHARE
        for switch in self._switches:
            switch.advance(step_s, local_hour)
            if switch.is_on:
                self._load(switch)

    def _load(self, switch: Switch) -> None:
        appliance = switch.appliance
        for index in appliance.phases:
            share_w = appliance.power_w / len(appliance.phases)
            self._phases[index].active_w += share_w
            self._phases[index].reactive_var += share_w * appliance.reactive_share

    def _state(self) -> HouseState:
        phases = tuple(phase.state() for phase in self._phases)
        # Austrian meters balance: what L1 takes and L2 gives at the same moment is not counted.
        total_w = round(sum(phase.active_power_w for phase in phases))
        total_var = round(sum(phase.reactive_power_var for phase in phases))
        first, second, third, fourth = self._reactive_varh.counted
        return HouseState(
            moment=self._moment,
            phases=phases,
            active_power_import_w=max(total_w, 0),
            active_power_export_w=max(-total_w, 0),
            energy_active_import_wh=int(self._active_wh.imported),
            energy_active_export_wh=int(self._active_wh.exported),
            reactive_power_import_var=max(total_var, 0),
            reactive_power_export_var=max(-total_var, 0),
            energy_reactive_import_varh=int(first + second),
            energy_reactive_export_varh=int(third + fourth),
            energy_reactive_quadrants_varh=(int(first), int(second), int(third), int(fourth)),
        )
