"""Any bytes of a Modbus client get the same whole replies, however they are cut, and again.

Never an exception, what waits is shorter than a frame, and on a bus every reply has a good CRC.
"""

from collections.abc import Callable, Sequence

from gateway.modbus.responder import MBAP, Conversation, Responder
from gateway.modbus.rtu import RtuConversation, sealed
from gateway.modbus.unit import Unit
from gateway.registers import RegisterMap
from gateway.snapshot import Freshness, Origin, Snapshot, Value
from tests.fuzz.choices import Choices, bytewise, cut, written

NOW = 1.0
MAX_FRAME_BYTES = 260  # a header and the longest PDU (MAP 4.1)
MIN_RTU_BYTES = 5  # unit, function, exception code, CRC
UNIT, SILENT_UNIT = 1, 2
READ = bytes((3, 0, 0, 0, 3))
MAP = """
name: Fuzzed meter
tables: [holding, input]
ignored_writes: [[0, 9]]
server_id: Meter
identity: {vendor: V, product: P, revision: "1"}
stale: %s
registers:
  - {address: 0, value: 0x1234, type: uint16}
  - {address: 1, quantity: active_power_import_total, type: uint32}
"""


class Meter:
    """A live meter, or one that never spoke."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.snapshot: Snapshot | None = None
        self.freshness = Freshness(float("inf"))
        if numbers:
            values = {name: Value(number, Origin.MEASURED) for name, number in numbers.items()}
            self.snapshot = Snapshot(values, {}, NOW)
            self.freshness.came(NOW)


def responder() -> Responder:
    """Return one with a live unit, and one that is silent for its meter."""
    live, silent = (
        RegisterMap.parse(MAP % stale, "fuzz.yaml") for stale in ("exception", "silent")
    )
    meter = Meter({"active_power_import_total": 4711})
    return Responder({UNIT: Unit(live, meter), SILENT_UNIT: Unit(silent, Meter({}))})


def pack(stream: bytes, sizes: Sequence[int] = ()) -> bytes:
    """Return the input that a client sends in pieces of `sizes`, without them byte by byte."""
    return written(sizes) + stream


def check(octets: bytes, make: Callable[[Responder], Conversation] = Conversation) -> None:
    """Assert the promise above."""
    choices = Choices(octets)
    sizes = choices.numbers()
    stream = choices.rest
    chunks = cut(stream, sizes) if sizes else bytewise(stream)
    served = responder()
    whole = make(served)
    replies = whole.receive(stream, NOW)
    _check_frames(replies)
    for _ in range(2):  # the second time all replies to reads are known
        pieces = make(served)
        again = b"".join(pieces.receive(chunk, NOW) for chunk in chunks)
        assert again == replies, f"in {len(chunks)} pieces {again.hex()}, in one {replies.hex()}"
        assert pieces.is_broken == whole.is_broken
        assert (pieces.begun is None) == (whole.begun is None)
    _check_bus(served, stream, chunks)


def _check_frames(replies: bytes) -> None:
    at = 0
    while at < len(replies):
        _, protocol, length, _ = MBAP.unpack_from(replies, at)
        assert protocol == 0
        at += 6 + length
        assert length <= MAX_FRAME_BYTES - 6
    assert at == len(replies), "the last reply is not whole"


def _check_bus(served: Responder, stream: bytes, chunks: Sequence[bytes]) -> None:
    whole, pieces = RtuConversation(served), RtuConversation(served)
    replies = whole.receive(stream, NOW)
    found = [pieces.receive(chunk, NOW) for chunk in chunks]
    assert b"".join(found) == replies
    for reply in found if len(chunks) == len(stream) else []:  # at most one behind each byte
        if reply:
            assert len(reply) >= MIN_RTU_BYTES
            assert reply == sealed(reply[:-2])
            assert reply[0] in (UNIT, SILENT_UNIT)
