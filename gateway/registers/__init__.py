"""A register map and a snapshot → the words that a Modbus client reads. Pure."""

from gateway.registers.image import ExceptionCode, Image, Table
from gateway.registers.mapfile import Stale
from gateway.registers.register_map import RegisterMap

__all__ = ["ExceptionCode", "Image", "RegisterMap", "Stale", "Table"]
