"""The words of an anatomy's rows, in English and German."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from gateway.languages import Text
from gateway.telegram.anatomy.field import Change, Field, Kind
from gateway.telegram.anatomy.meanings import MEANINGS, NOTES
from gateway.telegram.anatomy.names import NAMES, OBJECTS
from gateway.telegram.fault import Layer
from gateway.telegram.obis import Obis

ENERGY = 8  # group D: a counter since the meter was made

LAYERS: Mapping[Layer, Text] = MappingProxyType(
    {
        Layer.FRAME: Text("frame", "Rahmen"),
        Layer.SEGMENT: Text("transport", "Transport"),
        Layer.CIPHERING: Text("ciphering", "Verschlüsselung"),
        Layer.DECRYPTION: Text("decryption", "Entschlüsselung"),
        Layer.STRUCTURE: Text("structure", "Struktur"),
        Layer.LAYOUT: Text("object", "Objekt"),
    }
)

CHANGES: Mapping[Change, Text] = MappingProxyType(
    {
        Change.STATIC: Text("static", "fest"),
        Change.MODEL: Text("static for the model", "fest je Modell"),
        Change.METER: Text("static for the meter", "fest je Zähler"),
        Change.CHANGES: Text("changes", "wechselt"),
        Change.UNKNOWN: Text("unknown", "unbekannt"),
    }
)

TARIFF = Text("tariff", "Tarif")
BYTE = Text("byte", "Byte")
# The decoder speaks English alone; in German its words are quoted.
QUOTED = Text("{}", "Meldung des Decoders: „{}“")

_DECIMAL_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_NUMBERS = (
    "object", "object.scaler", "object.unknown", "object.unread", "object.value",
)  # fmt: skip


def name(field: Field, language: str) -> str:
    """Return what a row is called: an object by what it measures, a fault by its place."""
    if field.id == "object" and field.label:
        obis = Obis.parse(field.label)
        tariff = f", {TARIFF.of(language)} {obis.e}" if obis.d == ENERGY and obis.e else ""
        known = OBJECTS.get(obis._replace(e=0) if tariff else obis)
        if known is None:
            return f"{NAMES[field.id].of(language)} {obis}"
        return f"{known.of(language)}{tariff} ({obis})"
    title = NAMES[field.id].of(language)
    if field.kind == Kind.REMARK:
        return f"{title}, {BYTE.of(language)} {field.label}"
    is_numbered = field.label and field.kind == Kind.GROUP
    return f"{title} {field.label}" if is_numbered else title


def value(field: Field, language: str) -> str:
    """Return what a row says, as people write it: in German with a decimal comma."""
    if field.kind == Kind.REMARK:
        return QUOTED.of(language).format(field.value) if field.value else ""
    is_number = field.id in _NUMBERS and field.change is not Change.METER
    return _DECIMAL_POINT.sub(",", field.value) if language == "de" and is_number else field.value


def meaning(field: Field, language: str) -> str:
    """Return what a row means; "" where its name says it all."""
    text = MEANINGS.get(field.id)
    return text.of(language) if text else ""


def notes(field: Field, language: str) -> list[str]:
    """Return what is to be said about a row's value."""
    return [NOTES[note].of(language) for note in field.notes]


def layer_name(layer: Layer, language: str) -> str:
    """Return what a layer is called."""
    return LAYERS[layer].of(language)


def change_name(change: Change | None, language: str) -> str:
    """Return whether a field stays the same, in a few words."""
    return CHANGES[change].of(language) if change else ""
