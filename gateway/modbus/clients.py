"""Who asked what: plain values, bounded however many ask however much. Pure.

A client is an address: some come with a new connection for every read. Time is monotonic seconds.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.modbus.responder import (
    EXCEPTION_BIT,
    PDU_AT,
    READ_HEAD,
    READ_REQUEST,
    READS,
    UNIT_AT,
    Responder,
)
from gateway.registers import ExceptionCode

MAX_CLIENTS = 100  # and all that are connected
MAX_RANGES = 64  # of a client that are told apart
FORGOTTEN_S = 60.0  # a range that was not asked for so long makes room for another
MAX_UNITS = 32  # of a client that are told apart
MAX_NEWS = 32  # of a client: what it asks for and does not get
BLOCK = 100  # registers: of what is asked inside of one block, only the first is said


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
    `exceptions` counts the refusals by code, `refused` those since the last request that was not
    refused. `ranges` are those that are told apart, the most
    frequent in front. `idle_s` ago came the last request.
    """

    address: str
    unit: int
    connections: int
    connected_s: float | None
    requests: int
    exceptions: Mapping[int, int]
    refused: Mapping[int, int]
    ranges: Sequence[Range]
    idle_s: float


class Serves(Protocol):
    """What is asked."""

    def serves(self, unit: int) -> bool:
        """Tell whether there is such a unit."""

    def answer(self, unit: int, pdu: bytes, now: float) -> bytes | None:
        """Return the reply to a request."""


# An address, and what a field engineer should know of it; False: not said yet, to be told again.
Tell = Callable[[str, str], bool]


class Clients:
    """The clients of one listener. `tell` hears what one of them asks for in vain."""

    def __init__(self, served: Serves, tell: Tell) -> None:
        self._served = served
        self._tell = tell
        self._clients: OrderedDict[str, Client] = OrderedDict()  # who was heard last, at the end

    def of(self, address: str) -> "Client":
        """Return the client at an address; who was silent longest is forgotten for a new one."""
        client = self._clients.get(address)
        if client is not None:
            self._clients.move_to_end(address)
            return client
        if len(self._clients) >= MAX_CLIENTS:
            self._forget_one()
        heard = partial(self._clients.move_to_end, address)
        client = self._clients[address] = Client(address, self._served, self._tell, heard)
        return client

    def seen(self, now: float) -> list[Asking]:
        """Return what each client asks each unit."""
        return [each for client in self._clients.values() for each in client.seen(now)]

    def _forget_one(self) -> None:
        gone = next((each for each in self._clients.values() if not each.connections), None)
        if gone:
            del self._clients[gone.address]


class _Count:
    """How often, and when last; `refused` is what its unit refused since."""

    __slots__ = ("last", "refused", "times")

    def __init__(self, refused: Counter[int]) -> None:
        self.times = 0
        self.last = 0.0
        self.refused = refused


class _AtUnit:
    """What one client asked one unit apart from the ranges that are told apart."""

    __slots__ = ("exceptions", "other", "refused")

    def __init__(self) -> None:
        self.exceptions: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()  # since the last that was not
        self.other = _Count(self.refused)


class Client:
    """One address, over all its connections. `heard` is called when one of them ends."""

    def __init__(self, address: str, served: Serves, tell: Tell, heard: Callable[[], None]) -> None:
        self.address = address
        self.asked: dict[bytes, _Count] = {}  # by frames of reads without transaction
        self._served = served
        self._tell = tell
        self._heard = heard
        self._units: dict[int, _AtUnit] = {}
        # Unit and block of what was said, the oldest first; as keys, for a set has no order.
        self._news: dict[tuple[int, int | None], None] = {}
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
        self._heard()

    def count(self, unit: int, pdu: bytes, reply: bytes | None, now: float) -> None:
        """Count one request, `reply` is the PDU that it got; None: silence."""
        at_unit = self._units.get(unit)
        if at_unit is None:
            if len(self._units) >= MAX_UNITS and not self._forget_for(unit):
                return
            at_unit = self._units[unit] = _AtUnit()
        count = self._count_of(unit, pdu, now) or at_unit.other
        count.times += 1
        count.last = now
        if reply and reply[0] & EXCEPTION_BIT:
            code = reply[1]
            at_unit.exceptions[code] += 1
            at_unit.refused[code] += 1
            if code == ExceptionCode.ILLEGAL_DATA_ADDRESS:
                self._asks_in_vain(unit, pdu, now)
            elif code == ExceptionCode.TARGET_FAILED_TO_RESPOND and not self._served.serves(unit):
                self._say(unit, None, f"asks for unit {unit}, which is not served here")
        elif reply and at_unit.refused:
            at_unit.refused.clear()

    def seen(self, now: float) -> list[Asking]:
        """Return what it asks each unit."""
        connected_s = now - self._since[0] if self._since else None
        found = []
        for unit, at_unit in sorted(self._units.items()):
            counts = {asked: n for asked, n in self.asked.items() if asked[UNIT_AT] == unit}
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
                    dict(at_unit.refused),
                    ranges,
                    now - max(count.last for count in both),
                )
            )
        return found

    def _forget_for(self, unit: int) -> bool:
        """Forget the unit that was not asked for longest, unserved ones first; False: not for this.

        So who looks for its unit is seen when it has found it.
        """
        unserved = [each for each in self._units if not self._served.serves(each)]
        if not unserved and not self._served.serves(unit):
            return False
        last = {each: at_unit.other.last for each, at_unit in self._units.items()}
        for asked, count in self.asked.items():
            last[asked[UNIT_AT]] = max(last[asked[UNIT_AT]], count.last)
        gone = min(unserved or last, key=last.__getitem__)
        del self._units[gone]
        for asked in [each for each in self.asked if each[UNIT_AT] == gone]:
            del self.asked[asked]
        return True

    def _count_of(self, unit: int, pdu: bytes, now: float) -> _Count | None:
        if len(pdu) != READ_REQUEST.size or pdu[0] not in READS:
            return None
        asked = READ_HEAD + bytes((unit,)) + pdu
        count = self.asked.get(asked)
        if count is None and (len(self.asked) < MAX_RANGES or self._forget_range(now)):
            count = self.asked[asked] = _Count(self._units[unit].refused)
        return count

    def _forget_range(self, now: float) -> bool:
        """Put the range that was not asked for longest to the others, if that is long."""
        oldest = min(self.asked, key=lambda asked: self.asked[asked].last)
        if now - self.asked[oldest].last <= FORGOTTEN_S:
            return False
        count = self.asked.pop(oldest)
        other = self._units[oldest[UNIT_AT]].other
        other.times += count.times
        other.last = max(other.last, count.last)
        return True

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
        if (unit, block) in self._news or not self._tell(self.address, f"{self.address} {text}"):
            return
        if len(self._news) >= MAX_NEWS:
            del self._news[next(iter(self._news))]
        self._news[unit, block] = None


def _range(asked: bytes, times: int) -> Range:
    function, first, count = READ_REQUEST.unpack_from(asked, PDU_AT)
    return Range(function, first, count, times)


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
