"""Registers → Modbus clients: a pure responder, and the server around it."""
