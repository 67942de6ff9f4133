"""A telegram explained field by field, from the decoder's own parse.

    anatomy = explain(octets, Key.parse("10 11 12 … 1F"))
    for field in anatomy.fields: …

`wire` and `frames` tell frames and transport, `message` the ciphering header and the nonce,
`plaintext` and `elements` what is inside; `texts` names it all in English and German;
`redaction` leaves of it only what all meters of a model have in common.
"""

from gateway.telegram.anatomy.explain import explain
from gateway.telegram.anatomy.field import Anatomy, Change, Field, Kind
from gateway.telegram.anatomy.finder import Finder, bare_messages
from gateway.telegram.anatomy.redaction import redact

__all__ = ["Anatomy", "Change", "Field", "Finder", "Kind", "bare_messages", "explain", "redact"]
