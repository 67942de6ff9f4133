"""A simulated Austrian smart meter in a plausible house, speaking real encrypted M-Bus frames."""

from gateway.simulator.house import House, HouseState, PhaseState
from gateway.simulator.meters import MODELS, Model, Push, SimulatedMeter

__all__ = ["MODELS", "House", "HouseState", "Model", "PhaseState", "Push", "SimulatedMeter"]
