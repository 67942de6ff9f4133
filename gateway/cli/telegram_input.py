"""Telegrams as a user has them at hand: a file or standard input; hex, binary or a recording."""

import codecs
import re
import string
import sys
from pathlib import Path

from gateway.located import ConfigError
from gateway.recording import Chunk, Item, Torn, is_recording, parse, timeline

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


def chunks_of(read: bytes) -> list[Chunk]:
    """Return the chunks of a recording with their times; of all else one, at time 0."""
    if not is_recording(read):
        return [Chunk(0, octets_of(read))]
    return list(timeline(items_of(read)))


def items_of(read: bytes) -> list[Item]:
    """Return what stands in a recording; what of it is torn is said, and left out."""
    try:
        items = list(parse(read.splitlines()))
    except ValueError as problem:
        raise ConfigError(f"the input cannot be read: {problem}") from None
    torn = [item for item in items if isinstance(item, Torn)]
    if torn:
        more = f" and {len(torn) - 1} more" if len(torn) > 1 else ""
        said = f"line {torn[0].line}{more} of the recording: not whole, left out"
        print(f"obisgate: {said}", file=sys.stderr)
    return [item for item in items if not isinstance(item, Torn)]


def octets_of(read: bytes) -> bytes:
    """Return the bytes that hex text spells or a recording holds; what is neither stays."""
    if is_recording(read):
        return b"".join(chunk.octets for chunk in chunks_of(read))
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
