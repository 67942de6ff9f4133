"""An anatomy without anything that tells one meter or one moment from another.

What stays is what all meters of a model have in common: the shape of the frames, tags, lengths,
counts, OBIS codes, scalers, units, the security byte, the maker's letters. What goes is every
other byte, whatever it is made of: checksums and ciphertext too, and what a fault says of them.
"""

from dataclasses import replace

from gateway.telegram.anatomy.codes import is_public
from gateway.telegram.anatomy.field import Anatomy, Change, Field, Kind
from gateway.telegram.obis import Obis

HIDDEN = "··"
SHOWN = (Change.STATIC, Change.MODEL)


def redact(anatomy: Anatomy) -> Anatomy:
    """Return the same rows; two telegrams of one model give the same ones."""
    rows = tuple(_redacted(field) for field in anatomy.fields)
    return Anatomy(anatomy.size, rows, is_redacted=True)


def _redacted(field: Field) -> Field:
    match field.kind:
        case Kind.REMARK:
            return replace(field, value="")
        case Kind.GROUP if field.id == "object":
            is_shown = field.change is not Change.UNKNOWN and is_public(Obis.parse(field.label))
            return replace(field, value="", label=field.label if is_shown else "")
        case Kind.GROUP:
            is_value = field.change is not None
            return replace(field, value="") if is_value else field
        case Kind.BUILT:
            return replace(field, plain_hex=_hidden(field.plain_hex))
    is_shown = field.change in SHOWN
    # A ciphertext byte beside its plaintext would give the key stream away.
    wire = field.hex if is_shown and not field.plain_hex else _hidden(field.hex)
    if is_shown:
        return replace(field, hex=wire)
    return replace(field, hex=wire, plain_hex=_hidden(field.plain_hex), value="", notes=())


def _hidden(shown: str) -> str:
    return " ".join(HIDDEN for _ in shown.split())
