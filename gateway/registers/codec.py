"""One value → the words of a register: types, scale, saturation, word order, not available.

Words are 16 bits, big-endian inside; `word_order` says which word of a longer value comes first.
Not-available patterns and usable ranges: SunSpec Information Model Overview 12041, 4.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType

FLOAT32_MAX = struct.unpack(">f", b"\x7f\x7f\xff\xff")[0]
FLOAT64_MAX = struct.unpack(">d", b"\x7f\xef\xff\xff\xff\xff\xff\xff")[0]


@dataclass(frozen=True, slots=True)
class RegisterType:
    """A fixed-size type: a measured value saturates at `lowest` and `highest`.

    `not_available` is the pattern for a value that there is none of. A constant of a map may use
    all values that the bits hold, a measured value never shows the pattern by accident.
    """

    name: str
    packer: struct.Struct
    lowest: float
    highest: float
    not_available: bytes
    is_float: bool = False

    @property
    def words(self) -> int:
        """Its length in registers."""
        return self.packer.size // 2

    @property
    def code(self) -> str:
        """Its code in the words of `struct`."""
        return self.packer.format[-1:]

    @property
    def unused(self) -> frozenset[int]:
        """What an integer of its size can be and no measured value shows: what is not available."""
        bits = 8 * self.packer.size
        bottom = -(1 << (bits - 1)) if self.code.islower() else 0
        below = range(bottom, int(self.lowest))
        return frozenset((*below, *range(int(self.highest) + 1, bottom + (1 << bits))))

    def encode(self, number: int | float | None, exponent: int = 0) -> bytes:
        """Return `number` in units of 10^exponent, rounded half to even, saturated, big-endian.

        None, infinity and NaN give the not-available pattern.
        """
        if number is None or (isinstance(number, float) and not isfinite(number)):
            return self.not_available
        if self.is_float or isinstance(number, float):
            # Dividing by 10^n rounds once; multiplying by 10^-n would first round the factor.
            scaled = number / 10**exponent if exponent > 0 else number * 10**-exponent
        else:
            scaled = _scaled_exactly(number, exponent)
        within = max(self.lowest, min(self.highest, scaled))
        return self.packer.pack(within if self.is_float else round(within))

    def holds(self, number: int | float, exponent: int = 0) -> bool:
        """Tell whether a measured value in units of 10^exponent does not saturate."""
        return self.lowest <= number * 10.0**-exponent <= self.highest

    def apart_from(self, missing: bytes) -> "RegisterType":
        """Return the type in which a value that saturates does not show `missing` either."""
        pattern = self.packer.unpack(missing)[0]
        if pattern and pattern == self.highest:
            return replace(self, highest=self.highest - 1)
        if pattern and pattern == self.lowest:
            return replace(self, lowest=self.lowest + 1)
        return self

    def encode_constant(self, number: int | float) -> bytes:
        """Return a map's constant as it is; ValueError if the type cannot hold it."""
        try:
            octets = self.packer.pack(number)
        except (struct.error, OverflowError):
            raise ValueError(f"{self.name} cannot hold {number}") from None
        if isinstance(number, int) and self.packer.unpack(octets)[0] != number:
            raise ValueError(f"{self.name} cannot hold {number} exactly")
        return octets


def _scaled_exactly(number: int, exponent: int) -> int:
    """Return a whole number in units of 10^exponent, rounded half to even without floats."""
    if exponent <= 0:
        return number * int(10**-exponent)
    step = int(10**exponent)
    whole, rest = divmod(number, step)
    twice = 2 * rest - step
    return whole + (twice > 0 or (twice == 0 and whole % 2 == 1))


def _integer(name: str, code: str, lowest: int, highest: int, missing: int) -> RegisterType:
    packer = struct.Struct(">" + code)
    return RegisterType(name, packer, lowest, highest, packer.pack(missing))


# name, struct code, usable range, not-available value
TYPES: Mapping[str, RegisterType] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _integer("int16", "h", -0x7FFF, 0x7FFF, -0x8000),
            _integer("uint16", "H", 0, 0xFFFE, 0xFFFF),
            _integer("int32", "i", -0x7FFFFFFF, 0x7FFFFFFF, -0x80000000),
            _integer("uint32", "I", 0, 0xFFFFFFFE, 0xFFFFFFFF),
            _integer("int64", "q", -0x7FFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF, -0x8000000000000000),
            _integer("uint64", "Q", 0, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF),
            # SunSpec accumulators: 0 means "not counted here", every other value counts.
            _integer("acc32", "I", 0, 0xFFFFFFFF, 0),
            _integer("acc64", "Q", 0, 0xFFFFFFFFFFFFFFFF, 0),
            # SunSpec scale factor: the power of ten of other registers.
            _integer("sunssf", "h", -10, 10, -0x8000),
            RegisterType(
                "float32",
                struct.Struct(">f"),
                -FLOAT32_MAX,
                FLOAT32_MAX,
                b"\x7f\xc0\x00\x00",
                is_float=True,
            ),
            RegisterType(
                "float64",
                struct.Struct(">d"),
                -FLOAT64_MAX,
                FLOAT64_MAX,
                b"\x7f\xf8\x00\x00\x00\x00\x00\x00",
                is_float=True,
            ),
        )
    }
)
STRING = "string"  # two characters a register
CHARS = "chars"  # one character a register, in its low byte

# What a map may write as `unit`: the catalogue's unit that it is a multiple of, and the power.
UNITS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        f"{prefix}{unit}": (unit, exponent)
        for unit in ("V", "A", "W", "VA", "var", "Wh", "VAh", "varh", "Hz", "s", "Ah", "deg")
        for prefix, exponent in (("", 0), ("k", 3), ("m", -3), ("M", 6))
    }
    | {"%": ("", -2), "": ("", 0)}
)


def encode_text(text: str, words: int) -> bytes:
    """Return ASCII, two characters a register, cut off or padded with NUL to `words`."""
    return text.encode("ascii", "replace")[: 2 * words].ljust(2 * words, b"\0")


def encode_chars(text: str, words: int) -> bytes:
    """Return ASCII, one character a register, cut off or padded with NUL to `words`."""
    octets = text.encode("ascii", "replace")[:words].ljust(words, b"\0")
    return b"".join(bytes((0, octet)) for octet in octets)


def order_words(octets: bytes, *, little: bool) -> bytes:
    """Return the words of `octets`, last word first if `little`."""
    if not little:
        return octets
    return b"".join(octets[i : i + 2] for i in range(len(octets) - 2, -1, -2))
