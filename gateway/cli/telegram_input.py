"""Telegrams as a user has them at hand: a file or standard input, hex text or binary."""

import codecs
import re
import string
import sys
from pathlib import Path

from gateway.located import ConfigError

HEX_CHARACTERS = (string.hexdigits + string.whitespace + "xX,:;-").encode("ascii")
_HEX_TEXT = re.compile(rb"(?i)(?:0x|[0-9a-f\s:,;-])*")
_NOT_DIGITS = re.compile(r"(?i)0x|[^0-9a-f]")


def read_input(file: str) -> bytes:
    """Return what stands in a file, or on standard input for "-"."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{file}: cannot be read: {why}") from None


def octets_of(read: bytes) -> bytes:
    """Return the bytes that hex text spells; what is no hex text is binary and stays."""
    read = read.removeprefix(codecs.BOM_UTF8)
    if not _HEX_TEXT.fullmatch(read):
        if foreign := _almost_hex(read):
            raise ConfigError(f"the input looks like hex text, but for {foreign}")
        return read
    digits = _NOT_DIGITS.sub("", read.decode("ascii"))
    if len(digits) % 2:
        raise ConfigError(f"hex text has an odd number of digits, {len(digits)}")
    return bytes.fromhex(digits)


def _almost_hex(read: bytes) -> str | None:
    """Return the first foreign character of what else would be hex text; None if it is none."""
    # Of random bytes one in seven would do; in a telegram's hex text all but a slip do. Not byte
    # by byte: a recording may have hundreds of megabytes.
    foreign = read.translate(None, HEX_CHARACTERS)
    if not foreign or len(foreign) > len(read) // 10:
        return None
    return f"{chr(foreign[0])!r} at byte {read.index(foreign[:1])}"
