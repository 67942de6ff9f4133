"""What an MQTT reader publishes, back to the bytes that were on the meter's line."""

import binascii
import re
from base64 import b64decode

ENCODINGS = ("binary", "hex", "base64")
SPACE = b" \t\r\n"
# By chance no bytes of a telegram are so many hex digits.
_LIKE_HEX = re.compile(rb"[0-9A-Fa-f\s]{32,}")


def octets_of(payload: bytes, encoding: str) -> bytes:
    """Return the bytes in a payload; hex and base64 may have spaces and line ends in them.

    ValueError says, without showing it, why a payload is none in that encoding.
    """
    if encoding == "binary":
        if _LIKE_HEX.fullmatch(payload):
            raise ValueError("is hex digits, not bytes: encoding=hex reads them")
        return payload
    text = payload.translate(None, SPACE)
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        return b64decode(text, validate=True)
    except binascii.Error:
        what = "an even number of hex digits" if encoding == "hex" else "base64"
        raise ValueError(f"is not {what}, as encoding={encoding} says") from None
