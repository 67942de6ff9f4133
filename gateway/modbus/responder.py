"""Requests in a byte stream → replies. Pure.

Every reply comes from one image, which is never changed, only swapped for the next. Clauses: MAP
is the Modbus Application Protocol 1.1b3, MG the Messaging on TCP/IP Implementation Guide 1.0b.
"""

import struct
from collections.abc import Mapping

from gateway.modbus.identification import identification, server_id
from gateway.modbus.unit import Unit
from gateway.registers import ExceptionCode, Table

READS: Mapping[int, Table] = {0x03: Table.HOLDING, 0x04: Table.INPUT}  # MAP 6.3, 6.4
READ_REQUEST = struct.Struct(">BHH")
WRITE_MANY_REQUEST = struct.Struct(">BHHB")  # MAP 6.12
MAX_WRITE_REGISTERS = 123
EXCEPTION_BIT = 0x80  # MAP 7

# MBAP header, MG 3.1.3: transaction, protocol (0), length from the unit id on, unit id.
MBAP = struct.Struct(">HHHB")
MODBUS_PROTOCOL = 0
MIN_LENGTH = 2  # unit id and function code
MAX_LENGTH = 254  # unit id and 253 bytes of PDU, MAP 4.1


class Responder:
    """Answers one listener's requests: units by id, or one for every id. Reads only."""

    def __init__(self, units: Mapping[int, Unit], any_unit: Unit | None = None) -> None:
        self._units = units
        self._any_unit = any_unit

    def serves(self, unit: int) -> bool:
        """Tell whether there is such a unit; on a bus every other one is somebody else's."""
        return unit in self._units or self._any_unit is not None

    def answer(self, unit: int, pdu: bytes, now: float) -> bytes | None:
        """Return the reply PDU to a request PDU; None: silence.

        Exceptions in this order: unknown unit 0x0B, function 01, a request of a wrong length or
        count 03, address 02, then what the unit says of a stale meter.
        """
        if not pdu:
            return None
        function = pdu[0]
        served = self._units.get(unit, self._any_unit)
        if served is None:
            return _exception(function, ExceptionCode.TARGET_FAILED_TO_RESPOND)
        table = READS.get(function)
        if table is None:
            reply = _other(served, pdu)
            return _exception(function, reply) if isinstance(reply, ExceptionCode) else reply
        if len(pdu) != READ_REQUEST.size:
            return _exception(function, ExceptionCode.ILLEGAL_DATA_VALUE)
        _, address, count = READ_REQUEST.unpack(pdu)
        words = served.read(table, address, count, now)
        if words is None:
            return None
        if isinstance(words, ExceptionCode):
            return _exception(function, words)
        return bytes((function, len(words))) + words


def _other(served: Unit, pdu: bytes) -> bytes | ExceptionCode:
    """Answer what is no read: writes that the meter ignores, and who it says it is."""
    match pdu[0]:
        case 0x06 | 0x10 if served.takes_writes:
            return _written(served, pdu)
        case 0x11 if served.server_id is not None:
            return server_id(pdu, served.server_id)
        case 0x2B if served.identity is not None:
            return identification(pdu, served.identity)
    return ExceptionCode.ILLEGAL_FUNCTION


def _written(served: Unit, pdu: bytes) -> bytes | ExceptionCode:
    """Acknowledge a write (MAP 6.6, 6.12) that changes nothing."""
    count = 1
    if pdu[0] == 0x10 and len(pdu) >= WRITE_MANY_REQUEST.size:
        _, _, count, size = WRITE_MANY_REQUEST.unpack_from(pdu)
        length = WRITE_MANY_REQUEST.size + size
        is_sound = 1 <= count <= MAX_WRITE_REGISTERS and size == 2 * count and len(pdu) == length
    else:
        is_sound = pdu[0] == 0x06 and len(pdu) == READ_REQUEST.size
    if not is_sound:
        return ExceptionCode.ILLEGAL_DATA_VALUE
    if not served.ignores_write(int.from_bytes(pdu[1:3], "big"), count):
        return ExceptionCode.ILLEGAL_FUNCTION
    return pdu[: READ_REQUEST.size]


class Conversation:
    """One TCP connection's bytes → reply bytes, in the order of the requests (MG 4.2.2).

    After a header that cannot be Modbus nothing more is understood: `is_broken` tells to close.
    """

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._rest = b""
        self.is_broken = False

    def receive(self, chunk: bytes, now: float) -> bytes:
        """Take the next bytes; return the replies to all requests that are complete now."""
        stream = self._rest + chunk if self._rest else chunk
        replies: list[bytes] = []
        position = 0
        while len(stream) - position >= MBAP.size and not self.is_broken:
            transaction, protocol, length, unit = MBAP.unpack_from(stream, position)
            if protocol != MODBUS_PROTOCOL or not MIN_LENGTH <= length <= MAX_LENGTH:
                self.is_broken = True
                break
            start, end = position + MBAP.size, position + MBAP.size - 1 + length
            if end > len(stream):
                break
            reply = self._responder.answer(unit, stream[start:end], now)
            if reply is not None:
                replies.append(MBAP.pack(transaction, MODBUS_PROTOCOL, len(reply) + 1, unit))
                replies.append(reply)
            position = end
        self._rest = b"" if self.is_broken else stream[position:]
        return b"".join(replies)


def _exception(function: int, code: ExceptionCode) -> bytes:
    return bytes((function | EXCEPTION_BIT, code))
