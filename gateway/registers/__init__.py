"""A register map and a snapshot → the words that a Modbus client reads. Pure."""

from gateway.registers.given import Given, rated_power_w
from gateway.registers.image import ExceptionCode, Image, Table
from gateway.registers.mapfile import UNSAFE, Identity, Stale
from gateway.registers.register import Register
from gateway.registers.register_map import RegisterMap

__all__ = [
    "UNSAFE",
    "ExceptionCode",
    "Given",
    "Identity",
    "Image",
    "Register",
    "RegisterMap",
    "Stale",
    "Table",
    "rated_power_w",
]
