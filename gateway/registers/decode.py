"""The words of a register → its value: the codec the other way round. Pure.

Only the table of types is the codec's; the rest is worked out anew, so that one checks the other.
"""

import struct
from math import isnan

from gateway.registers.codec import CHARS, RegisterType
from gateway.registers.expression import compile_expression
from gateway.registers.register import REGISTER_WORDS, UNIT_ID, Register

WORD_BYTES = 2
EXPONENTS = range(-10, 11)  # SunSpec Information Model Overview 12041, 4: scale factors


def decode(
    register: Register, octets: bytes, exponent: int | None = None
) -> int | float | str | None:
    """Return the value of what the register shows, in its quantity's unit; None: not available.

    `exponent` takes the place of the register's own where a scale factor that was read says
    otherwise. A value at which the codec saturates is returned as it is.
    """
    if is_not_available(register, octets):
        return None
    found = reads(register, octets, exponent)
    return found if isinstance(found, str) else register.sign * found


def reads(register: Register, octets: bytes, exponent: int | None = None) -> int | float | str:
    """Return what the words say by themselves: also a not-available pattern, without the sign."""
    if register.type is None:
        return _text(register, octets)
    power = register.exponent if exponent is None else exponent
    number = _number(register.type, _big_endian(octets) if register.is_little else octets)
    step = int(10 ** abs(power))
    return number / step if power < 0 else number * step


def is_not_available(register: Register, octets: bytes) -> bool:
    """Tell whether the words are what stands there when there is no value.

    A constant has none but NaN. A pattern may be a value as well (a SunSpec accumulator's 0).
    """
    if register.type is not None and register.type.is_float:
        number = _number(register.type, _big_endian(octets) if register.is_little else octets)
        if isnan(number):
            return True
    return not isinstance(register.content, bytes) and octets == _missing(register)


def may_be_value(register: Register, octets: bytes) -> bool:
    """Tell whether words that mean "not available" are a value that a meter may have, such as 0."""
    if register.type is None:
        return False
    number = reads(register, octets, 0)
    return not isinstance(number, str) and register.type.lowest <= number <= register.type.highest


def is_constant(register: Register) -> bool:
    """Tell whether the map itself says what stands there."""
    return isinstance(register.content, bytes)


def matches(register: Register, octets: bytes) -> bool | None:
    """Tell whether a constant is the map's; None: no constant, or one that each house chooses."""
    if not isinstance(register.content, bytes):
        return None
    words = register.line.mapping(REGISTER_WORDS)
    if "scale_for" in words:
        return None
    if register.type is None:
        # Meters pad with NUL or with spaces.
        return _text(register, octets) == _text(register, register.content)
    if octets == register.content:
        return True
    # A unit that is answered under every id has none to show.
    big = _big_endian(octets) if register.is_little else octets
    is_unit_id = "value" in words and words["value"].text() == UNIT_ID
    return is_unit_id and big == register.type.not_available


def scale_address(register: Register, base: int) -> int | None:
    """Return where the scale factor of a register stands in a map that begins at `base`."""
    words = register.line.mapping(REGISTER_WORDS)
    if "scale_register" not in words:
        return None
    return base + words["scale_register"].integer(0, 0xFFFF)


def rescaled(register: Register, written: int, read: int) -> int | None:
    """Return the register's exponent if its scale factor is `read` instead of the map's `written`.

    None: what was read is no scale factor.
    """
    return register.exponent - written + read if read in EXPONENTS else None


def _missing(register: Register) -> bytes | None:
    """Return the words that stand there without a value; None: there is always one."""
    if isinstance(register.content, bytes):
        return None
    is_expression = register.type is not None and register.quantity is None
    if is_expression and compile_expression(register.shows)({}) is not None:
        return None  # it calculates with numbers alone
    return register.content({}, {})


def _number(kind: RegisterType, octets: bytes) -> int | float:
    if kind.is_float:
        return float(struct.unpack(">f" if len(octets) == 4 else ">d", octets)[0])
    number = 0
    for octet in octets:
        number = number << 8 | octet
    is_negative = kind.lowest < 0 and octets[0] & 0x80
    return number - (1 << 8 * len(octets)) if is_negative else number


def _big_endian(octets: bytes) -> bytes:
    words = [octets[i : i + WORD_BYTES] for i in range(0, len(octets), WORD_BYTES)]
    return b"".join(reversed(words))


def _text(register: Register, octets: bytes) -> str:
    if register.line.mapping(REGISTER_WORDS)["type"].text() == CHARS:
        words = [octets[i : i + WORD_BYTES] for i in range(0, len(octets), WORD_BYTES)]
        # A high byte has no business there; it is shown rather than hidden.
        octets = b"".join(word[1:] if word[0] == 0 else word for word in words)
    return octets.rstrip(b"\0 ").decode("ascii", "backslashreplace")
