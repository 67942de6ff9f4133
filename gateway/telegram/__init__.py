"""Bytes on the meter's wire → telegrams and faults. Pure: no socket, clock or log.

    decoder = Decoder(Key.parse("10 11 12 … 1F"))
    for item in decoder.feed(chunk, now):   # Telegram | Fault

The way in: `frames` finds M-Bus and HDLC frames, `segments` joins them to an APDU, `ciphering`
opens it, `axdr` and `notification` read what was inside, `layouts` names the readings. `learned`
is the short way for what came before, `anatomy` explains every byte.
"""

from gateway.telegram.ciphering import Key, Security
from gateway.telegram.decoder import Decoder, Telegram
from gateway.telegram.fault import Fault, Layer
from gateway.telegram.layouts import Layout
from gateway.telegram.listing import Reading
from gateway.telegram.obis import Obis

__all__ = ["Decoder", "Fault", "Key", "Layer", "Layout", "Obis", "Reading", "Security", "Telegram"]
