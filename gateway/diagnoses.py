"""What is said when nothing good comes, in English and German: the one place of these words.

`health` says the diagnoses, the sources say the causes; both speak English. `recognised` finds the
words again in what a running gateway has said, so that they can be told in the other language.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from gateway.languages import Text

_MBUS = "2400 baud and even parity (?baud=2400&parity=even in the source address)"
_HDLC = (
    "an optical head has 9600 baud and a P1 port 115200, both no parity (?baud=9600&parity=none)"
)
_DUMP = (
    "please send us what `obisgate explain --redact` prints of it: the layout, without key, "
    "number or values"
)
_MBUS_DE = "2400 Baud und gerade Parität (?baud=2400&parity=even in der Adresse der Quelle)"
_HDLC_DE = (
    "ein Optokopf hat 9600 Baud und eine P1-Schnittstelle 115200, beide keine Parität "
    "(?baud=9600&parity=none)"
)
_DUMP_DE = (
    "bitte sende uns, was `obisgate explain --redact` davon zeigt: den Aufbau, ohne Schlüssel, "
    "Nummer und Werte"
)
_COMPARE = (
    "compare its last digits with the number on your meter and in the key letter, then the key "
    "with the letter, character by character"
)
_COMPARE_DE = (
    "vergleiche seine letzten Ziffern mit der Nummer auf deinem Zähler und im Schlüsselbrief, "
    "dann den Schlüssel mit dem Brief, Zeichen für Zeichen"
)
_SEVERAL = (
    "They are of {meters} meters on one line, {names}: find yours by the last digits of the "
    "number on it, and take the key of that one's letter"
)
_SEVERAL_DE = (
    "Sie sind von {meters} Zählern an einer Leitung, {names}: finde deinen an den letzten Ziffern "
    "der Nummer auf ihm, und nimm den Schlüssel aus dessen Brief"
)
_CAME = "{count} of {count} telegrams with good checksums"
_CAME_DE = "{count} von {count} Telegrammen mit guten Prüfsummen"

# name → words, with what is filled in in braces. A name's first part is the rung of the ladder that
# breaks. In German, what the decoder says is quoted.
DIAGNOSES: Mapping[str, Text] = MappingProxyType(
    {
        "bytes.fallen": Text(
            "no byte has come for {seconds} s, though some came before: check the cable from the "
            "meter to the adapter; for a meter that pushes less often, make `hold` three times the "
            "pause between two pushes",
            "seit {seconds} s ist kein Byte gekommen, vorher schon: prüfe das Kabel vom Zähler zum "
            "Adapter; für einen Zähler, der seltener sendet, setze `hold` auf das Dreifache der "
            "Pause zwischen zwei Sendungen",
        ),
        "bytes.always": Text(
            "no byte came in {seconds} s: is the customer interface enabled in the operator's "
            "portal, and the adapter an M-Bus slave (not a master) on pins 3 and 4 of the RJ12 "
            "socket?",
            "in {seconds} s kam kein Byte: ist die Kundenschnittstelle im Portal des "
            "Netzbetreibers freigeschaltet, und ist der Adapter ein M-Bus-Slave (kein Master) an "
            "den Pins 3 und 4 der RJ12-Buchse?",
        ),
        "parity.mbus": Text(
            "telegrams begin as they should, but most bytes come with parity errors: the baud rate "
            f"is right, the parity is wrong; an M-Bus line has {_MBUS}",
            "Telegramme beginnen, wie sie sollen, aber die meisten Bytes kommen mit "
            "Paritätsfehlern: die Baudrate stimmt, die Parität nicht; eine M-Bus-Leitung hat "
            f"{_MBUS_DE}",
        ),
        "parity.hdlc": Text(
            "telegrams begin as they should, but most bytes come with parity errors: the baud rate "
            f"is right, the parity is wrong; an HDLC meter sends with no parity: {_HDLC}",
            "Telegramme beginnen, wie sie sollen, aber die meisten Bytes kommen mit "
            "Paritätsfehlern: die Baudrate stimmt, die Parität nicht; ein HDLC-Zähler sendet ohne "
            f"Parität: {_HDLC_DE}",
        ),
        "parity.any": Text(
            "bytes come, but no frame, and most bytes have parity errors: the baud rate or the "
            f"parity is wrong. An M-Bus line has {_MBUS}; {_HDLC}",
            "Bytes kommen, aber kein Rahmen, und die meisten Bytes haben Paritätsfehler: die "
            f"Baudrate oder die Parität ist falsch. Eine M-Bus-Leitung hat {_MBUS_DE}; {_HDLC_DE}",
        ),
        "frames.few": Text(
            "only a few bytes come at a time, far fewer than a telegram has: that is noise while "
            "the meter's interface is not enabled, or a line much faster than this port is set "
            f"to; {_HDLC}",
            "nur wenige Bytes kommen auf einmal, viel weniger, als ein Telegramm hat: das ist "
            "Rauschen, solange die Schnittstelle des Zählers nicht freigeschaltet ist, oder eine "
            f"Leitung, die viel schneller ist, als dieser Anschluss eingestellt ist; {_HDLC_DE}",
        ),
        "frames.text": Text(
            "bytes come, but they are plain text, no DLMS telegrams: is this the meter's customer "
            "interface, and not another device or its service interface?",
            "Bytes kommen, aber sie sind lesbarer Text, keine DLMS-Telegramme: ist das die "
            "Kundenschnittstelle des Zählers, und nicht ein anderes Gerät oder seine "
            "Wartungsschnittstelle?",
        ),
        "frames.alike": Text(
            "bytes come, but hardly any different ones: the port reads faster than the line sends, "
            f"or the adapter is the wrong one. An M-Bus line has {_MBUS} and needs an M-Bus slave "
            "adapter",
            "Bytes kommen, aber kaum verschiedene: der Anschluss liest schneller, als die Leitung "
            f"sendet, oder der Adapter ist der falsche. Eine M-Bus-Leitung hat {_MBUS_DE} und "
            "braucht einen M-Bus-Slave als Adapter",
        ),
        "frames.inverted": Text(
            "bytes come, but no frame, and every push ends with 00: the signal is inverted. A P1 "
            "port needs a P1 cable, which inverts; any other line an adapter that does not",
            "Bytes kommen, aber kein Rahmen, und jede Sendung endet mit 00: das Signal ist "
            "umgekehrt. Eine P1-Schnittstelle braucht ein P1-Kabel, das umkehrt; jede andere "
            "Leitung einen Adapter, der es nicht tut",
        ),
        "frames.fast": Text(
            "bytes come, but fewer than any telegram has: the line is faster than this port is "
            f"set to. An M-Bus line has {_MBUS}; {_HDLC}",
            "Bytes kommen, aber weniger, als irgendein Telegramm hat: die Leitung ist schneller, "
            f"als dieser Anschluss eingestellt ist. Eine M-Bus-Leitung hat {_MBUS_DE}; {_HDLC_DE}",
        ),
        "frames.none": Text(
            "bytes come, but no frame begins in them: the baud rate, the parity or the adapter's "
            f"polarity is wrong. An M-Bus line has {_MBUS}; {_HDLC}",
            "Bytes kommen, aber kein Rahmen beginnt in ihnen: die Baudrate, die Parität oder die "
            f"Polung des Adapters ist falsch. Eine M-Bus-Leitung hat {_MBUS_DE}; {_HDLC_DE}",
        ),
        "frames.broken": Text(
            "telegrams begin as they should, but none arrives whole: bytes are lost or changed on "
            "the way. Check the parity (M-Bus: ?parity=even in the source address), the wires and "
            "the adapter's supply",
            "Telegramme beginnen, wie sie sollen, aber keines kommt ganz an: Bytes gehen unterwegs "
            "verloren oder werden verändert. Prüfe die Parität (M-Bus: ?parity=even in der Adresse "
            "der Quelle), die Drähte und die Versorgung des Adapters",
        ),
        "segments.foreign": Text(
            "frames with good checksums come, but no telegram of a kind we know ({reason}): "
            f"{_DUMP}",
            "Rahmen mit guten Prüfsummen kommen, aber kein Telegramm einer Art, die wir kennen "
            f"(„{{reason}}“): {_DUMP_DE}",
        ),
        "decryption.auth": Text(
            f"wrong authentication key: {_CAME} are refused, and the last one shows why: {{slip}}",
            f"falscher Authentifizierungsschlüssel: {_CAME_DE} werden abgewiesen, und das letzte "
            "zeigt, warum: {slip}",
        ),
        "decryption.slip": Text(
            f"wrong key: {_CAME}, none decrypts, and the last one shows why: {{slip}}",
            f"falscher Schlüssel: {_CAME_DE} lassen sich nicht entschlüsseln, und das letzte "
            "zeigt, warum: {slip}",
        ),
        "decryption.wrong.several": Text(
            f"wrong key: {_CAME}, none decrypts. {_SEVERAL}",
            f"falscher Schlüssel: {_CAME_DE} lassen sich nicht entschlüsseln. {_SEVERAL_DE}",
        ),
        "decryption.wrong": Text(
            f"wrong key: {_CAME}, none decrypts. They are of meter {{names}}: {_COMPARE}",
            f"falscher Schlüssel: {_CAME_DE} lassen sich nicht entschlüsseln. Sie sind von Zähler "
            f"{{names}}: {_COMPARE_DE}",
        ),
        "decryption.refused.several": Text(
            f"{_CAME} are refused: {{reason}}. {_SEVERAL}",
            f"{_CAME_DE} werden abgewiesen: „{{reason}}“. {_SEVERAL_DE}",
        ),
        "decryption.refused": Text(
            f"{_CAME} are refused: {{reason}}. They are of meter {{names}}: {_COMPARE}",
            f"{_CAME_DE} werden abgewiesen: „{{reason}}“. Sie sind von Zähler {{names}}: "
            f"{_COMPARE_DE}",
        ),
        "layout.unknown": Text(
            "the key fits and {count} of {count} telegrams decrypt, but the list of objects in "
            f"them is unknown ({{reason}}): {_DUMP}",
            "der Schlüssel passt und {count} von {count} Telegrammen lassen sich entschlüsseln, "
            f"aber die Liste der Objekte darin ist unbekannt („{{reason}}“): {_DUMP_DE}",
        ),
    }
)

# Why a source cannot go on, as the sources say it.
CAUSES: Mapping[str, Text] = MappingProxyType(
    {
        "device.absent": Text(
            "{device} does not exist: is the adapter plugged in? ls -l /dev/serial/by-id",
            "{device} gibt es nicht: steckt der Adapter? ls -l /dev/serial/by-id",
        ),
        "device.gone": Text(
            "{device} is gone ({reason}): check the cable",
            "{device} ist verschwunden („{reason}“): prüfe das Kabel",
        ),
        "device.file": Text(
            "{file} cannot be read: No such file or directory",
            "{file} gibt es nicht: prüfe den Namen in der Konfiguration",
        ),
        "open.root": Text(
            "{device} may not be read: it belongs to root alone; chgrp dialout {device}",
            "{device} darf nicht gelesen werden: es gehört root allein; chgrp dialout {device}",
        ),
        "open.right": Text(
            "{device} may not be read: sudo usermod -aG {group} $USER, then log in again",
            "{device} darf nicht gelesen werden: sudo usermod -aG {group} $USER, dann neu anmelden",
        ),
        "open.busy": Text(
            "{device} is in use by another program: sudo fuser -v {device}",
            "{device} wird von einem anderen Programm benutzt: sudo fuser -v {device}",
        ),
        "open.kind": Text(
            "{device} is no serial port",
            "{device} ist keine serielle Schnittstelle: ls -l /dev/serial/by-id zeigt, welche es "
            "gibt",
        ),
        "open.setting": Text(
            "{device} refuses its baud rate or parity; ?parity=none if it has no parity",
            "{device} lehnt Baudrate oder Parität ab; ?parity=none, wenn es keine Parität hat",
        ),
        "open.untimed": Text(
            "{file} has raw bytes without times: ?baud=2400 instead of ?speed",
            "{file} hat rohe Bytes ohne Zeiten: ?baud=2400 statt ?speed",
        ),
        "open.unplayable": Text(
            "{file} cannot be played: {reason}", "{file} lässt sich nicht abspielen: „{reason}“"
        ),
        "device.unknown": Text(
            "{host} is not known here: check its spelling, or write its IP address",
            "{host} ist hier nicht bekannt: prüfe die Schreibweise, oder schreib die IP-Adresse",
        ),
        "device.refuses": Text(
            "{where} refuses: nothing listens there; is the port right, the server started?",
            "{where} lehnt ab: dort hört nichts; stimmt der Port, läuft der Server?",
        ),
        "device.off": Text(
            "{where} does not answer: is it switched on, and in this network? ping {host}",
            "{where} antwortet nicht: ist es eingeschaltet, und in diesem Netz? ping {host}",
        ),
        "device.far": Text(
            "{where} is not reached: is it switched on, and in this network? ping {host}",
            "{where} ist nicht erreichbar: ist es eingeschaltet, und in diesem Netz? ping {host}",
        ),
        "device.unreached": Text(
            "{where} cannot be reached: {reason}", "{where} ist nicht erreichbar: „{reason}“"
        ),
        "device.closed": Text(
            "{where} has closed the connection", "{where} hat die Verbindung geschlossen"
        ),
        "device.broke.why": Text(
            "the connection with {where} broke: {reason}",
            "die Verbindung mit {where} ist abgebrochen: „{reason}“",
        ),
        "device.broke": Text(
            "the connection with {where} broke", "die Verbindung mit {where} ist abgebrochen"
        ),
        "device.broker": Text(
            "{where} does not answer as an MQTT broker: is it on, the port right?",
            "{where} antwortet nicht als MQTT-Broker: läuft er, stimmt der Port?",
        ),
        "open.certificate": Text(
            "the certificate of {where} is refused: {reason}; ca=FILE names the one that signs it",
            "das Zertifikat von {where} wird abgelehnt: „{reason}“; ca=FILE nennt das, welches es "
            "unterschreibt",
        ),
        "open.tls": Text(
            "{where} speaks no TLS that we do ({reason}): is it the right port?",
            "{where} spricht kein TLS wie wir („{reason}“): ist es der richtige Port?",
        ),
        "open.ended": Text(
            "{where} ends the connection: {reason}", "{where} beendet die Verbindung: „{reason}“"
        ),
        "open.not_ours": Text(
            "{where} is no address of this machine now: hostname -I lists them",
            "{where} ist derzeit keine Adresse dieser Maschine: hostname -I zeigt sie",
        ),
        "open.cut": Text(
            "{where} breaks off the connection: is it the right port, with TLS or without?",
            "{where} bricht die Verbindung ab: ist es der richtige Port, mit TLS oder ohne?",
        ),
        "open.nobody": Text(
            "nobody can dial in on {where}: {reason}",
            "an {where} kann sich niemand einwählen: „{reason}“",
        ),
        "open.user": Text(
            "{where} wants a user: ?user=NAME&password=file:mqtt.password",
            "{where} verlangt einen Benutzer: ?user=NAME&password=file:mqtt.password",
        ),
        "open.password": Text(
            "{where} refuses user {user}: check user and password",
            "{where} lehnt den Benutzer {user} ab: prüfe Benutzer und Passwort",
        ),
        "open.topic": Text(
            "{where} refuses the topic {topic}: may this user read it?",
            "{where} lehnt das Topic {topic} ab: darf dieser Benutzer es lesen?",
        ),
        "open.taken": Text(
            "{where} is in use by another program: ss {options} 'sport = :{port}'",
            "{where} wird von einem anderen Programm benutzt: ss {options} 'sport = :{port}'",
        ),
        "open.low": Text(
            "{where} needs the right to use ports below 1024: choose 5020, or sudo sysctl "
            "net.ipv4.ip_unprivileged_port_start=502",
            "{where} braucht das Recht auf Ports unter 1024: nimm 5020, oder sudo sysctl "
            "net.ipv4.ip_unprivileged_port_start=502",
        ),
        "open.address": Text(
            "{host} is no name or address of this machine: hostname -I lists them",
            "{host} ist weder Name noch Adresse dieser Maschine: hostname -I zeigt sie",
        ),
        "bytes.dead": Text(
            "no byte from {where} for {seconds} s: the connection is closed, it may be dead",
            "seit {seconds} s kein Byte von {where}: die Verbindung ist geschlossen, sie könnte "
            "tot sein",
        ),
        "bytes.no_message": Text(
            "no message on {topic} from {where} for {seconds} s: does the reader publish there, "
            "and may this user read it?",
            "seit {seconds} s keine Nachricht auf {topic} von {where}: veröffentlicht das "
            "Lesegerät dort, und darf dieser Benutzer es lesen?",
        ),
        "open.other": Text(
            "{device} cannot be opened: {reason}",
            "{device} lässt sich nicht öffnen: „{reason}“",
        ),
        "open.folder": Text(
            "{file} is no recording: a recording is a file",
            "{file} ist keine Aufnahme: eine Aufnahme ist eine Datei",
        ),
        "open.file": Text(
            "{file} cannot be read: {reason}", "{file} lässt sich nicht lesen: „{reason}“"
        ),
    }
)

# Which slip with the keys it was, as `key_slips` says it.
SLIPS: Sequence[Text] = (
    Text(
        "it decrypts with the authentication key: make it the key, and leave out auth_key",
        "es lässt sich mit dem Authentifizierungsschlüssel entschlüsseln: mach ihn zum key, und "
        "lass auth_key weg",
    ),
    Text(
        "it decrypts with the authentication key: key and auth_key are swapped",
        "es lässt sich mit dem Authentifizierungsschlüssel entschlüsseln: key und auth_key sind "
        "vertauscht",
    ),
    Text("it decrypts with {near}", "es lässt sich entschlüsseln, wenn {near}"),
    Text(
        "the key fits, the authentication key does not: key and auth_key are the same",
        "der Schlüssel passt, der Authentifizierungsschlüssel nicht: key und auth_key sind gleich",
    ),
    Text(
        "the key fits, the authentication key does not: the tag is right with {near}",
        "der Schlüssel passt, der Authentifizierungsschlüssel nicht: die Signatur (Tag) stimmt, "
        "wenn {near}",
    ),
    Text(
        "the key fits, the authentication key does not",
        "der Schlüssel passt, der Authentifizierungsschlüssel nicht",
    ),
)
NEAR_KEYS: Sequence[Text] = (
    Text(
        "the bytes of {name} in reverse order",
        "die Bytes im {name} in umgekehrter Reihenfolge stehen",
    ),
    Text("the letters of {name} in upper case", "die Buchstaben im {name} groß geschrieben sind"),
    Text("the letters of {name} in lower case", "die Buchstaben im {name} klein geschrieben sind"),
    Text(
        "upper and lower case of {name} exchanged",
        "Groß- und Kleinschreibung im {name} vertauscht sind",
    ),
    Text(
        "another character {place} of {count} (hex digits {first} and {second}) in {name}",
        "im {name} Zeichen {place} von {count} (Hexziffern {first} und {second}) ein anderes ist",
    ),
    Text(
        "another hex digit {place} of {count} in {name}",
        "im {name} Hexziffer {place} von {count} eine andere ist",
    ),
    Text(
        "characters {first} and {second} of {name} exchanged",
        "im {name} die Zeichen {first} und {second} vertauscht sind",
    ),
    Text(
        "hex digits {first} and {second} of {name} exchanged",
        "im {name} die Hexziffern {first} und {second} vertauscht sind",
    ),
)
KEY_NAMES: Sequence[Text] = (
    Text("the key", "Schlüssel"),
    Text("the authentication key", "Authentifizierungsschlüssel"),
)

# What a source is, as the sources say it.
SOURCES: Sequence[Text] = (
    Text(
        "serial port {device}, {baud} baud {setting}",
        "serielle Schnittstelle {device}, {baud} Baud {setting}",
    ),
    Text("TCP server {where}", "TCP-Server {where}"),
    Text(
        "TCP port {where} for an adapter that dials in",
        "TCP-Port {where} für einen Adapter, der sich einwählt",
    ),
    Text("UDP port {where}", "UDP-Port {where}"),
    Text(
        "topic {topic} of the MQTT broker {where} over TLS",
        "Topic {topic} des MQTT-Brokers {where} über TLS",
    ),
    Text("topic {topic} of the MQTT broker {where}", "Topic {topic} des MQTT-Brokers {where}"),
    Text("recording {file}, at once", "Aufnahme {file}, auf einmal"),
    Text("recording {file}, as fast as it was", "Aufnahme {file}, so schnell, wie es war"),
    Text("recording {file}, {speed} times as fast", "Aufnahme {file}, {speed}-mal so schnell"),
    Text("recording {file}, {baud} baud", "Aufnahme {file}, {baud} Baud"),
    Text(
        "simulated {model}, a telegram every {seconds} s",
        "simulierter {model}, alle {seconds} s ein Telegramm",
    ),
)

WORDS: Mapping[str, Text] = MappingProxyType({**DIAGNOSES, **CAUSES})
# What none of these words says is quoted as it was said.
QUOTED = Text("{said}", "Meldung: „{said}“")

# Which words stand in which place.
_NESTED: Mapping[str, Sequence[Text]] = MappingProxyType({"near": NEAR_KEYS, "name": KEY_NAMES})
_PLACE = re.compile(r"\\\{(\w+)\\\}")


class Recognised(NamedTuple):
    """A text in both languages, and the name of its words; None if it is quoted."""

    name: str | None
    text: Text


def filled(text: Text, **fields: object) -> Text:
    """Return words in both languages with what stands in braces filled in, a Text in its own."""

    def fields_in(language: str) -> dict[str, object]:
        return {
            name: each.of(language) if isinstance(each, Text) else each
            for name, each in fields.items()
        }

    return Text(text.en.format(**fields_in("en")), text.de.format(**fields_in("de")))


def english(name: str, **fields: object) -> str:
    """Return a diagnosis in English."""
    return DIAGNOSES[name].en.format(**fields)


def recognised(said: str) -> Recognised:
    """Return what was said in English in both languages."""
    for name, pattern in _patterns():
        if match := pattern.fullmatch(said):
            fields = match.groupdict()
            if "slip" in fields:
                slip = fields["slip"]
                fields["slip"] = _german(SLIPS, slip) or f"„{slip}“"
            return Recognised(name, Text(said, WORDS[name].de.format(**fields)))
    return Recognised(None, filled(QUOTED, said=said))


def described(source: str) -> Text:
    """Return what a source says that it is in both languages."""
    return Text(source, _german(SOURCES, source) or source)


def _german(known: Sequence[Text], said: str) -> str | None:
    """Return what was said in English in German; None if it is none of the known words."""
    for text in known:
        if match := _pattern(text.en).fullmatch(said):
            fields = match.groupdict()
            for field, words in _NESTED.items():
                if field in fields:
                    fields[field] = _german(words, fields[field]) or f"„{fields[field]}“"
            return text.de.format(**fields)
    return None


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return what recognises each of the words."""
    return [(name, _pattern(text.en)) for name, text in WORDS.items()]


def _pattern(template: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def place(match: re.Match[str]) -> str:
        word = match[1]
        if word in seen:
            return f"(?P={word})"
        seen.add(word)
        return f"(?P<{word}>.+?)"

    return re.compile(_PLACE.sub(place, re.escape(template)), re.DOTALL)
