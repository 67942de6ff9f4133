"""System titles in words: who made the meter, and which one it is; readable without any key.

IDIS: maker(3 letters) T1(8 bit) T2(4 bit) serial(28 bit)
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.telegram.ciphering import SYSTEM_TITLE_BYTES

MAKER_BYTES = 3
SERIAL_MASK = 0x0FFF_FFFF

# The makers' FLAG letters, as far as they are seen in Austria.
MAKERS: Mapping[str, str] = MappingProxyType(
    {
        "ELS": "Honeywell/Elster",
        "ISK": "Iskraemeco",
        "KFM": "Kaifa",
        "LGZ": "Landis+Gyr",
        "SAG": "Sagemcom",
        "SMS": "Siemens",
    }
)


def describe_title(title: bytes) -> str:
    """Return a title as a person can compare it: "KFM 1020000001 (Kaifa, serial 00000001)".

    Of the number on the meter's plate at least the last digits are those of the serial. A title
    that begins with no maker's letters is shown as hex.
    """
    letters = title[:MAKER_BYTES].decode("latin-1")
    is_named = letters.isascii() and letters.isalpha() and letters.isupper()
    if len(title) != SYSTEM_TITLE_BYTES or not is_named:
        return title.hex().upper()
    serial = f"serial {int.from_bytes(title[-4:], 'big') & SERIAL_MASK:08d}"
    known = f"{MAKERS[letters]}, {serial}" if letters in MAKERS else serial
    return f"{letters} {title[MAKER_BYTES:].hex().upper()} ({known})"
