"""The words of one map for one snapshot, and where each register lies in them."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

MAX_READ_REGISTERS = 125  # Modbus Application Protocol 1.1b3, 6.3 and 6.4


class ExceptionCode(IntEnum):
    """Why a request is not answered with values (Modbus Application Protocol 1.1b3, 7)."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_DATA_ADDRESS = 0x02
    ILLEGAL_DATA_VALUE = 0x03
    TARGET_FAILED_TO_RESPOND = 0x0B


class Table(StrEnum):
    """The two tables of 16-bit registers."""

    INPUT = "input"  # read with function 04
    HOLDING = "holding"  # read with function 03


@dataclass(frozen=True, slots=True)
class Span:
    """Registers `first … end-1` of a table without a gap; `word` is where the first one lies."""

    first: int
    end: int
    word: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where registers lie in an image.

    `spans` are sorted by address. `exact` holds the registers that answer only a read of just
    themselves: (table, address, count) → word. `measured` has one byte a word: 1 if it must not
    be served once the meter is stale. `max_read` registers are read at most at once; with `starts`
    (one byte a word: 1 if a value begins there) only whole values are.
    """

    spans: Mapping[Table, Sequence[Span]]
    exact: Mapping[tuple[Table, int, int], int]
    measured: bytes
    max_read: int = MAX_READ_REGISTERS
    starts: bytes | None = None
    # The first address of each span: what is searched at every read.
    _firsts: Mapping[Table, Sequence[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        firsts = {table: [span.first for span in spans] for table, spans in self.spans.items()}
        object.__setattr__(self, "_firsts", MappingProxyType(firsts))

    def locate(self, table: Table, address: int, count: int) -> int | ExceptionCode:
        """Return the word at which `count` registers from `address` lie."""
        if not 1 <= count <= self.max_read:
            return ExceptionCode.ILLEGAL_DATA_VALUE
        if self.exact and (word := self.exact.get((table, address, count))) is not None:
            return word
        index = bisect_right(self._firsts[table], address) - 1
        if index < 0:
            return ExceptionCode.ILLEGAL_DATA_ADDRESS
        span = self.spans[table][index]
        if address + count > span.end:
            return ExceptionCode.ILLEGAL_DATA_ADDRESS
        word = span.word + address - span.first
        if self.starts is not None and 0 in self.starts[word : word + count + 1 : count]:
            return ExceptionCode.ILLEGAL_DATA_ADDRESS  # a value would be cut
        return word

    def is_measured(self, word: int, count: int) -> bool:
        """Tell whether any of `count` words from `word` ages with the meter."""
        return 1 in self.measured[word : word + count]


class Image(NamedTuple):
    """All words of a map for one snapshot; immutable, swapped whole."""

    layout: Layout
    octets: bytes

    def read(self, table: Table, address: int, count: int) -> bytes | ExceptionCode:
        """Return the words of registers `address … address+count-1`, two bytes each, big-endian."""
        word = self.layout.locate(table, address, count)
        if isinstance(word, ExceptionCode):
            return word
        return self.octets[2 * word : 2 * (word + count)]
