"""Simulated Austrian smart meters in plausible houses, speaking real encrypted telegrams."""

from gateway.simulator.house import House, HouseState, PhaseState
from gateway.simulator.meters import SIMULATED_AUTH_KEY, Push, SimulatedMeter
from gateway.simulator.models import MODELS, Model

__all__ = [
    "MODELS",
    "SIMULATED_AUTH_KEY",
    "House",
    "HouseState",
    "Model",
    "PhaseState",
    "Push",
    "SimulatedMeter",
]
