"""A telegram from the inside out: all encoders under one roof.

`encoding` writes values, `ciphering` seals them, `mbus` and `hdlc` put them on the wire.
"""

from gateway.simulator.ciphering import check_key, data_notification, seal
from gateway.simulator.encoding import (
    Unit,
    array,
    cosem_clock,
    date_time,
    i8,
    i16,
    i64,
    length,
    obis,
    octet_string,
    scaler_unit,
    structure,
    u16,
    u32,
    u64,
)
from gateway.simulator.hdlc import Hdlc, HdlcBlocks, crc16_x25, hdlc_frame, transfer_block
from gateway.simulator.mbus import Mbus, mbus_frame, mbus_frames

__all__ = [
    "Hdlc",
    "HdlcBlocks",
    "Mbus",
    "Unit",
    "array",
    "check_key",
    "cosem_clock",
    "crc16_x25",
    "data_notification",
    "date_time",
    "hdlc_frame",
    "i8",
    "i16",
    "i64",
    "length",
    "mbus_frame",
    "mbus_frames",
    "obis",
    "octet_string",
    "scaler_unit",
    "seal",
    "structure",
    "transfer_block",
    "u16",
    "u32",
    "u64",
]
