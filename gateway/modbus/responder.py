"""Requests in a byte stream → replies. Pure.

Every reply comes from one image, which is never changed, only swapped for the next. Clauses: MAP
is the Modbus Application Protocol 1.1b3, MG the Messaging on TCP/IP Implementation Guide 1.0b.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from gateway.modbus.identification import identification, server_id
from gateway.modbus.unit import Unit
from gateway.registers import ExceptionCode, Table
from gateway.snapshot import Snapshot

READS: Mapping[int, Table] = {0x03: Table.HOLDING, 0x04: Table.INPUT}  # MAP 6.3, 6.4
READ_REQUEST = struct.Struct(">BHH")  # function code, starting address, quantity
WRITE_MANY_REQUEST = struct.Struct(">BHHB")  # MAP 6.12
MAX_WRITE_REGISTERS = 123
EXCEPTION_BIT = 0x80  # MAP 7
MAX_KNOWN = 256  # replies of a listener: no clients ask for so many ranges in turn

# MBAP header, MG 3.1.3: transaction, protocol (0), length from the unit id on, unit id.
MBAP = struct.Struct(">HHHB")
MODBUS_PROTOCOL = 0
MIN_LENGTH = 2  # unit id and function code
MAX_LENGTH = 254  # unit id and 253 bytes of PDU, MAP 4.1
MBAP_START = struct.Struct(">HHH")
LENGTH_ENDS = MBAP_START.size  # what the length counts starts behind it

# Nearly all frames are reads, and the same again and again but for their transactions. A read
# without its transaction: this, unit id and PDU.
TRANSACTION_BYTES = 2
READ_HEAD = struct.pack(">HH", MODBUS_PROTOCOL, 1 + READ_REQUEST.size)
READ_FRAME_BYTES = MBAP.size + READ_REQUEST.size
UNIT_AT = len(READ_HEAD)
PDU_AT = UNIT_AT + 1


# The reply to a read, without the transaction; it holds as long as the unit shows the snapshot.
Known = tuple[bytes, Unit, Snapshot]


class Count(Protocol):
    """How often something was asked, and when last (seconds, monotonic).

    `refused` has what the unit refused since its last request that it did not.
    """

    times: int
    last: float
    refused: Counter[int]


class Tally(Protocol):
    """Where requests are counted."""

    @property
    def asked(self) -> Mapping[bytes, Count]:
        """The counts of whole reads, by their frames without the transaction."""

    def count(self, unit: int, pdu: bytes, reply: bytes | None, now: float) -> None:
        """Count one request and what it got: a PDU, or None for silence."""


class Responder:
    """Answers one listener's requests: units by id, or one for every id. Reads only."""

    def __init__(self, units: Mapping[int, Unit], any_unit: Unit | None = None) -> None:
        self.serve(units, any_unit)

    def serve(self, units: Mapping[int, Unit], any_unit: Unit | None) -> None:
        """Answer for these units from the next request on, on connections that are open too."""
        self._units = units
        self._any_unit = any_unit
        self.known: dict[bytes, Known] = {}  # by what was asked, without the transaction

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
        reply: bytes | ExceptionCode | None
        if served is None:
            reply = ExceptionCode.TARGET_FAILED_TO_RESPOND
        elif function in READS and len(pdu) == READ_REQUEST.size:
            _, address, count = READ_REQUEST.unpack(pdu)
            reply = served.read(READS[function], address, count, now)
            if type(reply) is bytes:
                reply = bytes((function, len(reply))) + reply
        else:
            reply = _other(served, pdu)
        return _exception(function, reply) if isinstance(reply, ExceptionCode) else reply

    def remember(self, asked: bytes, reply: bytes, now: float) -> None:
        """Keep the reply that a read got at `now`, if nothing but a snapshot made it what it is."""
        served = self._units.get(asked[UNIT_AT], self._any_unit)
        function, address, count = READ_REQUEST.unpack_from(asked, PDU_AT)
        snapshot = served and served.shown(READS[function], address, count, now)
        if served and snapshot:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            self.known[asked] = reply, served, snapshot

    def closes(self, unit: int) -> bool:
        """Tell whether a unit wants a client that it does not answer to be sent away."""
        served = self._units.get(unit, self._any_unit)
        return served is not None and served.closes


def _other(served: Unit, pdu: bytes) -> bytes | ExceptionCode:
    """Answer what is no whole read: writes that the meter ignores, and who it says it is."""
    match pdu[0]:
        case 0x03 | 0x04:
            return ExceptionCode.ILLEGAL_DATA_VALUE  # its length is wrong
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
    So it does when a unit `hangs_up` on its client. `begun` is when the first byte came of a
    request that is not whole yet, None: there is none. `spoke` is when the last byte came.
    """

    def __init__(self, responder: Responder, tally: Tally | None = None) -> None:
        self._responder = responder
        self._tally = tally
        self._rest = b""
        self.begun: float | None = None
        self.spoke: float | None = None
        self.is_broken = False
        self.hangs_up = False

    def receive(self, chunk: bytes, now: float) -> bytes:
        """Take the next bytes; return the replies to all requests that are complete now."""
        if self.is_broken:
            return b""
        self.spoke = now
        is_one = not self._rest and len(chunk) == READ_FRAME_BYTES
        if is_one and (reply := self._again(chunk[TRANSACTION_BYTES:], now)):
            return chunk[:TRANSACTION_BYTES] + reply
        stream = self._rest + chunk
        replies: list[bytes] = []
        start = 0
        while start < len(stream):
            asked = stream[start + TRANSACTION_BYTES : start + READ_FRAME_BYTES]
            if len(asked) == PDU_AT + READ_REQUEST.size and (reply := self._again(asked, now)):
                replies += (stream[start : start + TRANSACTION_BYTES], reply)
                start += READ_FRAME_BYTES
                continue
            end = self._frame_end(stream, start)
            if end is None:
                break
            replies.append(self._reply(stream[start:end], now))
            if self.hangs_up:
                break
            start = end
        self._rest = b"" if self.is_broken else stream[start:]
        if not self._rest:
            self.begun = None
        elif start or self.begun is None:
            self.begun = now
        return b"".join(replies)

    def _again(self, asked: bytes, now: float) -> bytes | None:
        """Return and count the reply that the same read got before; None: it must be made."""
        known = self._responder.known.get(asked)
        if known is None:
            return None
        reply, served, snapshot = known
        if not served.still_shows(snapshot, now):
            return None
        if self._tally is not None:
            count = self._tally.asked.get(asked)
            if count and not count.refused:
                count.times += 1
                count.last = now
            else:
                self._tally.count(asked[UNIT_AT], asked[PDU_AT:], reply[PDU_AT:], now)
        return reply

    def _frame_end(self, stream: bytes, start: int) -> int | None:
        """Return where a frame ends; None: it is not all there, or this is no Modbus."""
        if len(stream) - start < LENGTH_ENDS:
            return None
        _, protocol, length = MBAP_START.unpack_from(stream, start)
        if protocol != MODBUS_PROTOCOL or not MIN_LENGTH <= length <= MAX_LENGTH:
            self.is_broken = True
            return None
        end: int = start + LENGTH_ENDS + length
        return end if end <= len(stream) else None

    def _reply(self, frame: bytes, now: float) -> bytes:
        """Return the reply frame to any request; empty: silence."""
        transaction, _, _, unit = MBAP.unpack_from(frame)
        pdu = frame[MBAP.size :]
        reply = self._responder.answer(unit, pdu, now)
        if self._tally is not None:
            self._tally.count(unit, pdu, reply, now)
        if reply is None:
            self.is_broken = self.hangs_up = self._responder.closes(unit)
            return b""
        framed = MBAP.pack(transaction, MODBUS_PROTOCOL, len(reply) + 1, unit) + reply
        # The same function code, and not that of an exception: these are values.
        if reply[0] in READS:
            asked = frame[TRANSACTION_BYTES:]
            self._responder.remember(asked, framed[TRANSACTION_BYTES:], now)
        return framed


def _exception(function: int, code: ExceptionCode) -> bytes:
    return bytes((function | EXCEPTION_BIT, code))
