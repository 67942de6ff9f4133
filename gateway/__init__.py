"""obisgate: a smart meter seen as the energy meter that inverters already know."""

__version__ = "0.1.0"
