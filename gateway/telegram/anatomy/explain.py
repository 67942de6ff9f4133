"""Bytes in, anatomy out."""

from collections.abc import Sequence

from gateway.telegram.anatomy.field import Anatomy, Change, Sheet
from gateway.telegram.anatomy.finder import bare_messages
from gateway.telegram.anatomy.message import Message, Secrets, explain_message
from gateway.telegram.anatomy.wire import explain_wire
from gateway.telegram.ciphering import Key
from gateway.telegram.fault import Layer
from gateway.telegram.layouts import LAYOUTS, Layout


def explain(
    octets: bytes,
    key: Key | None = None,
    auth_key: Key | None = None,
    *,
    layouts: Sequence[Layout] = LAYOUTS,
    layout: Layout | None = None,
) -> Anatomy:
    """Explain a stream of frames, or APDUs without frames if the input starts with one.

    Without a key the explanation ends at the ciphertext. Whatever the decoder refuses is a
    remark, and what was good before it is explained nevertheless. Every byte of the input belongs
    to exactly one row of the kind FIELD.
    """
    sheet = Sheet(octets)
    secrets = Secrets(key, auth_key, layouts, layout)
    bare = bare_messages(octets)
    if bare is None:
        messages = explain_wire(sheet)
    else:
        messages = (Message(octets[start:end], ((0, start),)) for start, end in bare)
    for message in messages:
        explain_message(sheet, message, secrets)
    sheet.field("outside", Layer.FRAME, 0, ((0, len(octets)),), Change.UNKNOWN)
    return Anatomy(len(octets), tuple(sheet.fields))
