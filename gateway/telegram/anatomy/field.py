"""What an anatomy is made of, and the sheet on which it is written down."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.telegram.fault import Fault, Layer

# [start, end) of bytes on the wire; what two frames share has two.
Ranges = tuple[tuple[int, int], ...]


class Kind(StrEnum):
    """What a row of an anatomy is."""

    FIELD = "field"  # bytes of its own: every byte of the input belongs to exactly one
    GROUP = "group"  # fields that belong together
    BUILT = "built"  # not sent, but made of what was sent
    REMARK = "remark"  # a fault: which layer refuses which byte, and why


class Change(StrEnum):
    """How a field of one telegram compares with the same field of others."""

    STATIC = "static"  # the same in every telegram of every meter
    MODEL = "model"  # the same in every telegram of this model with this list of objects
    METER = "meter"  # this meter's own
    CHANGES = "changes"  # another in every telegram
    UNKNOWN = "unknown"  # nobody vouches for these bytes


@dataclass(frozen=True, slots=True)
class Field:
    """One row. `id` names its text; `depth` is how many groups it is inside of.

    `hex` are its bytes on the wire (a field's alone: a group has none of its own); `plain_hex` is
    what they decrypt to, or what is built of them. `label` tells it from others with the same id,
    `value` is what it says, `notes` name further texts about that value.
    """

    id: str
    kind: Kind
    layer: Layer
    depth: int
    ranges: Ranges
    hex: str = ""
    plain_hex: str = ""
    change: Change | None = None
    label: str = ""
    value: str = ""
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return how many bytes of the wire it has."""
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All rows about `size` bytes, in the order of reading: frames, then what they carry."""

    size: int
    fields: Sequence[Field]
    is_redacted: bool = False


class Sheet:
    """Takes rows one after the other and sees to it that no byte is told twice."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.fields: list[Field] = []
        self._untold = bytearray(b"\x01" * len(octets))

    def field(
        self,
        name: str,
        layer: Layer,
        depth: int,
        ranges: Ranges,
        change: Change,
        *,
        plain: bytes = b"",
        value: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        """Add a field for those of its bytes that no other has; without any there is none."""
        ranges = tuple(part for start, end in ranges for part in self._untold_of(start, end))
        if not ranges:
            return
        wire = b"".join(self.octets[start:end] for start, end in ranges)
        shown = show_hex(wire), show_hex(plain)
        self.fields.append(
            Field(name, Kind.FIELD, layer, depth, ranges, *shown, change, "", value, notes)
        )
        for start, end in ranges:
            self._untold[start:end] = bytes(end - start)

    def group(
        self,
        name: str,
        layer: Layer,
        depth: int,
        ranges: Ranges,
        *,
        change: Change | None = None,
        label: str = "",
        value: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        """Add the head of what follows with a greater depth."""
        self.fields.append(
            Field(name, Kind.GROUP, layer, depth, ranges, "", "", change, label, value, notes)
        )

    def built(self, name: str, layer: Layer, depth: int, ranges: Ranges, made: bytes) -> None:
        """Add what is made of the bytes at `ranges`."""
        made_hex = show_hex(made)
        self.fields.append(
            Field(name, Kind.BUILT, layer, depth, ranges, "", made_hex, Change.CHANGES)
        )

    def remark(self, fault: Fault, depth: int) -> None:
        """Add a fault; its offset counts on the wire."""
        at = fault.offset
        self.fields.append(
            Field(
                f"fault.{fault.layer}",
                Kind.REMARK,
                fault.layer,
                depth,
                ((at, at + 1),) if at < len(self.octets) else (),
                label=str(at),
                value=fault.reason,
            )
        )

    def doubt(self, first: int, sure: Ranges) -> None:
        """Vouch for none of the rows from row `first` on whose bytes are not all in `sure`."""
        for index, row in enumerate(self.fields[first:], first):
            if row.change and not all(
                any(start <= a and b <= end for start, end in sure) for a, b in row.ranges
            ):
                self.fields[index] = replace(row, change=Change.UNKNOWN)

    def _untold_of(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of [start, end) that no field has."""
        parts = []
        end = min(end, len(self.octets))
        while (first := self._untold.find(1, start, end)) >= 0:
            told = self._untold.find(0, first, end)
            start = end if told < 0 else told
            parts.append((first, start))
        return parts


def show_hex(octets: bytes) -> str:
    """Return bytes as people write them."""
    return octets.hex(" ").upper()


def count_of(size: int) -> str:
    """Return a number of bytes; the unit is the same in every language."""
    return f"{size} B"
