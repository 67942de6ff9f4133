"""Sun and clouds over Austria: how much of its peak power a roof gives."""

import math
from datetime import UTC, datetime, timedelta
from random import Random

LATITUDE_DEG = 47.5
ROOF_TILT_DEG = 30.0
SOLAR_NOON_UTC_H = 11.1  # 14° east; the equation of time (±16 min) is left out
SYSTEM_EFFICIENCY = 0.85  # inverter, warmth, wiring

CLEAR_S = (15 * 60.0, 75 * 60.0)
CLOUD_S = (2 * 60.0, 12 * 60.0)
CLOUD_TRANSMITTANCE = (0.3, 0.75)
EDGE_S = 30.0  # time constant of a cloud's edge


def clear_sky_share(moment: datetime) -> float:
    """Return the power of a tilted south roof under a clear sky, as share of its peak (0 … 1).

    Textbook geometry: declination, hour angle, and direct radiation 1.353 · 0.7^(AM^0.678) kW/m².
    """
    utc = moment.astimezone(UTC)
    day_of_year = utc.timetuple().tm_yday
    hour = utc.hour + utc.minute / 60 + utc.second / 3600
    declination = math.radians(23.44) * math.sin(math.tau * (day_of_year - 81) / 365)
    hour_angle = math.tau * (hour - SOLAR_NOON_UTC_H) / 24

    elevation = _facing(math.radians(LATITUDE_DEG), declination, hour_angle)
    # A south roof sees the sun as flat ground does, 30° nearer to the equator.
    incidence = _facing(math.radians(LATITUDE_DEG - ROOF_TILT_DEG), declination, hour_angle)
    if elevation <= 0.01 or incidence <= 0:
        return 0.0
    air_mass = 1 / elevation
    return SYSTEM_EFFICIENCY * incidence * 1.353 * math.pow(0.7, math.pow(air_mass, 0.678))


def _facing(latitude: float, declination: float, hour_angle: float) -> float:
    """Return the sine of the sun's height over level ground at a latitude (radians)."""
    across = math.cos(declination) * math.cos(latitude) * math.cos(hour_angle)
    return math.sin(declination) * math.sin(latitude) + across


class Clouds:
    """Passing clouds: clear for a while, then shaded for minutes, with soft edges."""

    def __init__(self, rng: Random) -> None:
        """Start under a clear sky."""
        self.transmittance = 1.0
        self._rng = rng
        self._target = 1.0
        self._left_s = rng.uniform(*CLEAR_S)

    def advance(self, step: timedelta) -> None:
        """Let the clouds move on for a step that is shorter than a cloud."""
        step_s = step.total_seconds()
        self._left_s -= step_s
        if self._left_s <= 0:
            clear = self._target < 1.0
            self._target = 1.0 if clear else self._rng.uniform(*CLOUD_TRANSMITTANCE)
            self._left_s += self._rng.uniform(*(CLEAR_S if clear else CLOUD_S))
        self.transmittance += (self._target - self.transmittance) * -math.expm1(-step_s / EDGE_S)
