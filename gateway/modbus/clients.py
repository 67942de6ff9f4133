"""Who asked what: plain values, bounded however many ask however much. Pure.

A client is an address: some come with a new connection for every read. Time is monotonic seconds.
"""

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from gateway.modbus.responder import (
    EXCEPTION_BIT,
    MAX_LENGTH,
    MBAP,
    MIN_LENGTH,
    MODBUS_PROTOCOL,
    READ_REQUEST,
    READS,
    Responder,
)
from gateway.registers import ExceptionCode

MAX_CLIENTS = 100  # and all that are connected
MAX_RANGES = 64  # of a client that are told apart
MAX_UNITS = 32  # of a client that are told apart
MAX_NEWS = 32  # of a client: what it asks for and does not get
BLOCK = 100  # registers: of what is asked inside of one block, only the first is said

READ_FRAME_BYTES = MBAP.size + READ_REQUEST.size
UNIT_AT = MBAP.size - 1  # behind the length; the unit and the PDU are what is asked
REPLY_HEAD_BYTES = MBAP.size + 2  # of a read: MBAP header, function code, byte count
LENGTH_ENDS_AT = UNIT_AT
READ_HEAD = bytes((0, 0, 0, 6))  # of a read: protocol, and the length of what is asked
NEVER = 1 << 30  # bytes that no reply has


@dataclass(frozen=True, slots=True)
class Range:
    """Registers that were asked for, and how often."""

    function: int
    first: int
    count: int
    times: int


@dataclass(frozen=True, slots=True)
class Asking:
    """What one client asks one unit.

    `connections` are open now, the oldest for `connected_s`; None: none is, or it comes over UDP.
    `exceptions` counts the refusals by code. `ranges` are the first ones that it read, the most
    frequent in front. `idle_s` ago came the last request.
    """

    address: str
    unit: int
    connections: int
    connected_s: float | None
    requests: int
    exceptions: Mapping[int, int]
    ranges: Sequence[Range]
    idle_s: float


class Serves(Protocol):
    """What is asked."""

    def serves(self, unit: int) -> bool:
        """Tell whether there is such a unit."""

    def answer(self, unit: int, pdu: bytes, now: float) -> bytes | None:
        """Return the reply to a request."""


Tell = Callable[[str, str], None]  # an address, and what a field engineer should know of it


class Clients:
    """The clients of one listener. `tell` hears once what one of them asks for in vain."""

    def __init__(self, served: Serves, tell: Tell) -> None:
        self._served = served
        self._tell = tell
        self._clients: dict[str, Client] = {}

    def of(self, address: str, now: float) -> "Client":
        """Return the client at an address; who was silent longest is forgotten for a new one."""
        client = self._clients.get(address)
        if client is None:
            if len(self._clients) >= MAX_CLIENTS:
                self._forget_one()
            client = self._clients[address] = Client(address, self._served, self._tell, now)
        return client

    def seen(self, now: float) -> list[Asking]:
        """Return what each client asks each unit."""
        return [each for client in self._clients.values() for each in client.seen(now)]

    def _forget_one(self) -> None:
        gone = [each for each in self._clients.values() if not each.connections]
        if gone:
            del self._clients[min(gone, key=lambda each: each.last).address]


class _Count:
    """How often, and when last; `reply_bytes` is how long the frame is that has the values."""

    __slots__ = ("last", "reply_bytes", "times")

    def __init__(self, reply_bytes: int = NEVER) -> None:
        self.times = 0
        self.last = 0.0
        self.reply_bytes = reply_bytes


class _AtUnit:
    """What one client asked one unit apart from the ranges that are told apart."""

    __slots__ = ("exceptions", "other")

    def __init__(self) -> None:
        self.other = _Count()
        self.exceptions: Counter[int] = Counter()


class Client:
    """One address, over all its connections."""

    def __init__(self, address: str, served: Serves, tell: Tell, now: float) -> None:
        self.address = address
        self.asked: dict[bytes, _Count] = {}  # unit id and PDU of whole reads
        self.last = now
        self._served = served
        self._tell = tell
        self._units: dict[int, _AtUnit] = {}
        self._news: set[tuple[int, int | None]] = set()  # unit and block
        self._since: list[float] = []

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._since)

    def connected(self, now: float) -> None:
        """Count a connection in."""
        self._since.append(now)

    def gone(self, since: float) -> None:
        """Count the connection out that came at `since`."""
        self._since.remove(since)

    def count(self, unit: int, pdu: bytes, reply: bytes | None, now: float) -> None:
        """Count one request, `reply` is the PDU that it got; None: silence."""
        self.last = now
        at_unit = self._units.get(unit)
        if at_unit is None:
            if len(self._units) >= MAX_UNITS:
                return
            at_unit = self._units[unit] = _AtUnit()
        count = self._count_of(unit, pdu) or at_unit.other
        count.times += 1
        count.last = now
        if reply and reply[0] & EXCEPTION_BIT:
            code = reply[1]
            at_unit.exceptions[code] += 1
            if code == ExceptionCode.ILLEGAL_DATA_ADDRESS:
                self._asks_in_vain(unit, pdu, now)
            elif code == ExceptionCode.TARGET_FAILED_TO_RESPOND and not self._served.serves(unit):
                self._say(unit, None, f"asks for unit {unit}, which is not served here")

    def seen(self, now: float) -> list[Asking]:
        """Return what it asks each unit."""
        connected_s = now - self._since[0] if self._since else None
        found = []
        for unit, at_unit in sorted(self._units.items()):
            counts = {asked: n for asked, n in self.asked.items() if asked[0] == unit}
            ranges = [_range(asked, count.times) for asked, count in counts.items()]
            ranges.sort(key=lambda each: -each.times)
            both = [*counts.values(), at_unit.other]
            found.append(
                Asking(
                    self.address,
                    unit,
                    self.connections,
                    connected_s,
                    sum(count.times for count in both),
                    dict(at_unit.exceptions),
                    ranges,
                    now - max(count.last for count in both),
                )
            )
        return found

    def _count_of(self, unit: int, pdu: bytes) -> _Count | None:
        if len(pdu) != READ_REQUEST.size or pdu[0] not in READS:
            return None
        asked = bytes((unit,)) + pdu
        count = self.asked.get(asked)
        if count is None and len(self.asked) < MAX_RANGES:
            registers = int.from_bytes(pdu[3:], "big")
            reply_bytes = REPLY_HEAD_BYTES + 2 * registers if registers else NEVER
            count = self.asked[asked] = _Count(reply_bytes)
        return count

    def _asks_in_vain(self, unit: int, pdu: bytes, now: float) -> None:
        if len(pdu) != READ_REQUEST.size:
            return
        function, first, count = READ_REQUEST.unpack(pdu)
        if (unit, first // BLOCK) in self._news:
            return
        how = f"function {function}, {count} register{'s' if count > 1 else ''}"
        text = f"asks unit {unit} for {first}, which no map serves ({how})"
        if count > 1:
            alone = self._served.answer(unit, READ_REQUEST.pack(function, first, 1), now)
            if alone != bytes((function | EXCEPTION_BIT, ExceptionCode.ILLEGAL_DATA_ADDRESS)):
                last = first + count - 1
                text = f"asks unit {unit} for {first} to {last}, which no map serves in one ({how})"
        self._say(unit, first // BLOCK, text)

    def _say(self, unit: int, block: int | None, text: str) -> None:
        if (unit, block) not in self._news and len(self._news) < MAX_NEWS:
            self._news.add((unit, block))
            self._tell(self.address, f"{self.address} {text}")


@lru_cache(maxsize=16)
def _frames(number: int) -> struct.Struct:
    """Return how reads in a row are taken apart: protocol and length of each, and what is asked."""
    return struct.Struct("2x4s6s" * number)


def _range(asked: bytes, times: int) -> Range:
    function, first, count = READ_REQUEST.unpack(asked[1:])
    return Range(function, first, count, times)


class Heard:
    """What comes over one connection, and when.

    `begun` is when the first byte came of a request that is not whole yet, None: there is none.
    """

    __slots__ = ("begun", "heard")

    def __init__(self, now: float) -> None:
        self.heard = now
        self.begun: float | None = None

    def hear(self, _chunk: bytes, _replies: bytes, now: float) -> None:
        """Take what came and what was replied."""
        self.heard = now


class HeardTcp(Heard):
    """The same with the MBAP headers understood: counts each request to its client.

    Nearly all that comes are whole reads, asked before, that get their values. That is seen by the
    lengths alone, as every exception and every silence makes the replies shorter.
    """

    __slots__ = ("_asked", "_client", "_rest")

    def __init__(self, client: Client, now: float) -> None:
        super().__init__(now)
        self._client = client
        self._asked = client.asked
        self._rest = b""

    def hear(self, chunk: bytes, replies: bytes, now: float) -> None:
        """Take what came and what was replied."""
        self.heard = now
        if not self._rest:
            if len(chunk) == READ_FRAME_BYTES:
                count = self._asked.get(chunk[UNIT_AT:])
                if count is not None and count.reply_bytes == len(replies):
                    count.times += 1
                    count.last = self._client.last = now
                    return
            elif len(chunk) % READ_FRAME_BYTES == 0 and self._count_all(chunk, replies, now):
                return
        self._walk(chunk, replies, now)

    def _count_all(self, chunk: bytes, replies: bytes, now: float) -> bool:
        """Count a chunk of nothing but reads, all known and answered; else False, none counted."""
        number = len(chunk) // READ_FRAME_BYTES
        parts = _frames(number).unpack(chunk)
        asked = parts[1::2]
        if parts[::2].count(READ_HEAD) != number:
            return False
        found = []
        reply_bytes = 0
        is_one = asked.count(asked[0]) == number  # whose hash is then computed once
        for each in asked[:1] if is_one else set(asked):
            count = self._asked.get(each)
            if count is None:
                return False
            times = number if is_one else asked.count(each)
            reply_bytes += times * count.reply_bytes
            found.append((count, times))
        if reply_bytes != len(replies):
            return False
        for count, times in found:
            count.times += times
            count.last = now
        self._client.last = now
        return True

    def _walk(self, chunk: bytes, replies: bytes, now: float) -> None:
        """Count frame by frame."""
        stream = self._rest + chunk
        at = replied = 0
        while len(stream) - at >= MBAP.size:
            transaction, protocol, length, unit = MBAP.unpack_from(stream, at)
            if protocol != MODBUS_PROTOCOL or not MIN_LENGTH <= length <= MAX_LENGTH:
                at = len(stream)  # nobody understands more of this
                break
            end = at + LENGTH_ENDS_AT + length
            if end > len(stream):
                break
            pdu = stream[at + MBAP.size : end]
            reply = None
            if len(replies) - replied > MBAP.size:
                echoed, _, size, of_unit = MBAP.unpack_from(replies, replied)
                function = replies[replied + MBAP.size] & ~EXCEPTION_BIT
                if (echoed, of_unit, function) == (transaction, unit, pdu[0] & ~EXCEPTION_BIT):
                    ends = replied + LENGTH_ENDS_AT + size
                    reply, replied = replies[replied + MBAP.size : ends], ends
            self._client.count(unit, pdu, reply, now)
            at = end
        self._rest = stream[at:]
        if not self._rest:
            self.begun = None
        elif at or self.begun is None:
            self.begun = now


class Overhearing(Responder):
    """A responder that counts to one client what it answers: where frames carry no header."""

    def __init__(self, responder: Responder, client: Client) -> None:
        super().__init__({})
        self._responder = responder
        self._client = client

    def serves(self, unit: int) -> bool:
        """Tell whether there is such a unit."""
        return self._responder.serves(unit)

    def closes(self, unit: int) -> bool:
        """Tell whether the unit hangs up when it does not answer."""
        return self._responder.closes(unit)

    def answer(self, unit: int, pdu: bytes, now: float) -> bytes | None:
        """Return the reply PDU to a request PDU; None: silence."""
        reply = self._responder.answer(unit, pdu, now)
        self._client.count(unit, pdu, reply, now)
        return reply
