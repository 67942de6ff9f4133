"""The rungs of the ladder, what breaks them and what to do then, in English and German."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from gateway.diagnoses import CAUSES, DIAGNOSES
from gateway.health import Trouble
from gateway.languages import Text
from gateway.telegram import Layer


class Rung(StrEnum):
    """The rungs, from the meter to the client."""

    DEVICE = "device"
    OPEN = "open"
    BYTES = "bytes"
    PARITY = "parity"
    FRAMES = "frames"
    CHECKSUMS = "checksums"
    SEGMENTS = "segments"
    DECRYPTION = "decryption"
    LAYOUT = "layout"
    COUNTER = "counter"
    PLAUSIBLE = "plausible"
    FRESH = "fresh"
    REACHABLE = "reachable"
    ASKED = "asked"
    VALUES = "values"


# rung → what it is called when it holds
NAMES: Mapping[Rung, Text] = MappingProxyType(
    {
        Rung.DEVICE: Text("the device is there", "das Gerät ist da"),
        Rung.OPEN: Text("it may be opened", "es lässt sich öffnen"),
        Rung.BYTES: Text("bytes arrive", "Bytes kommen an"),
        Rung.PARITY: Text("their parity is good", "ihre Parität stimmt"),
        Rung.FRAMES: Text("they are frames", "sie sind Rahmen"),
        Rung.CHECKSUMS: Text("the checksums are good", "die Prüfsummen stimmen"),
        Rung.SEGMENTS: Text("the segments are complete", "die Segmente sind vollständig"),
        Rung.DECRYPTION: Text("the telegrams decrypt", "die Telegramme lassen sich entschlüsseln"),
        Rung.LAYOUT: Text("their layout is known", "ihr Aufbau ist bekannt"),
        Rung.COUNTER: Text("the counter rises", "der Telegrammzähler steigt"),
        Rung.PLAUSIBLE: Text("the values are plausible", "die Werte sind plausibel"),
        Rung.FRESH: Text("the values are fresh", "die Werte sind frisch"),
        Rung.REACHABLE: Text(
            "the network reaches the listener", "das Netz erreicht den Modbus-Anschluss"
        ),
        Rung.ASKED: Text("a client has asked", "ein Client hat gefragt"),
        Rung.VALUES: Text("it got values", "er hat Werte bekommen"),
    }
)

# rung → how that is told
SIGNS: Mapping[Rung, Text] = MappingProxyType(
    {
        Rung.DEVICE: Text(
            "The adapter, the file or the host that `source` names exists.",
            "Den Adapter, die Datei oder den Rechner, den `source` nennt, gibt es.",
        ),
        Rung.OPEN: Text(
            "This user may open it, and no other program has it.",
            "Dieser Benutzer darf es öffnen, und kein anderes Programm hat es.",
        ),
        Rung.BYTES: Text("Any byte has come.", "Irgendein Byte ist gekommen."),
        Rung.PARITY: Text(
            "Few bytes or none came with a parity or framing error.",
            "Kaum ein Byte kam mit einem Paritäts- oder Rahmenfehler.",
        ),
        Rung.FRAMES: Text(
            "M-Bus or HDLC frames begin and end in them.",
            "M-Bus- oder HDLC-Rahmen beginnen und enden darin.",
        ),
        Rung.CHECKSUMS: Text(
            "Frames arrive as they were sent.", "Rahmen kommen an, wie sie gesendet wurden."
        ),
        Rung.SEGMENTS: Text(
            "The frames of a telegram are all there, and carry DLMS.",
            "Die Rahmen eines Telegramms sind alle da und tragen DLMS.",
        ),
        Rung.DECRYPTION: Text(
            "The key opens a telegram, and where there is a tag it verifies.",
            "Der Schlüssel öffnet ein Telegramm, und wo es eine Signatur (Tag) hat, stimmt sie.",
        ),
        Rung.LAYOUT: Text(
            "The list of objects in it is one that is known.",
            "Die Liste der Objekte darin ist eine bekannte.",
        ),
        Rung.COUNTER: Text(
            "The invocation counter rose from one telegram of the meter to the next.",
            "Der Telegrammzähler (invocation counter) stieg von einem Telegramm zum nächsten.",
        ),
        Rung.PLAUSIBLE: Text(
            "What the telegrams say can be, and follows each other.",
            "Was die Telegramme sagen, kann sein und aufeinander folgen.",
        ),
        Rung.FRESH: Text(
            "The last good telegram is younger than `hold`, and the next is not overdue.",
            "Das letzte gute Telegramm ist jünger als `hold`, das nächste nicht überfällig.",
        ),
        Rung.REACHABLE: Text(
            "A client from elsewhere has asked, or the gateway answers a Modbus read at this "
            "machine's own address in the network. Firewalls cannot be seen from here. A serial "
            "line is open.",
            "Ein Client von anderswo hat gefragt, oder das Gateway antwortet an der eigenen "
            "Netzadresse dieser Maschine auf Modbus. Firewalls sind von hier nicht zu sehen. Eine "
            "serielle Leitung ist offen.",
        ),
        Rung.ASKED: Text(
            "A client has sent a request; what the doctor itself sent does not count.",
            "Ein Client hat eine Anfrage geschickt; die des Doktors selbst zählen nicht.",
        ),
        Rung.VALUES: Text(
            "Every client that asks gets registers, not only exceptions.",
            "Jeder Client, der fragt, bekommt Register, nicht nur Exceptions.",
        ),
    }
)

# What the ladder says itself, named as in `diagnoses`.
BREAKS: Mapping[str, Text] = MappingProxyType(
    {
        "bytes.empty": Text(
            "the source is at its end without a byte ({source}): record the meter again",
            "die Quelle ist ohne ein Byte zu Ende ({source}): nimm den Zähler noch einmal auf",
        ),
        "parity.some": Text(
            "frames begin, but bytes in them come with parity errors ({reason}): check the parity "
            "(M-Bus: ?parity=even), the wires and the adapter's supply",
            "Rahmen beginnen, aber Bytes darin kommen mit Paritätsfehlern („{reason}“): prüfe die "
            "Parität (M-Bus: ?parity=even), die Drähte und die Versorgung des Adapters",
        ),
        "frames.cut": Text(
            "frames begin, but they do not end as they should ({reason}): bytes are lost on the "
            "way; check the wires, the adapter's supply, and that no other program reads the port",
            "Rahmen beginnen, enden aber nicht, wie sie sollen („{reason}“): Bytes gehen unterwegs "
            "verloren; prüfe die Drähte, die Versorgung des Adapters, und dass kein anderes "
            "Programm den Anschluss liest",
        ),
        "checksums.bad": Text(
            "frames come, but their checksums are wrong ({reason}): bytes are changed on the way; "
            "check the parity (M-Bus: ?parity=even), the wires and the adapter's supply",
            "Rahmen kommen, aber ihre Prüfsummen sind falsch („{reason}“): Bytes werden unterwegs "
            "verändert; prüfe die Parität (M-Bus: ?parity=even), die Drähte und die Versorgung "
            "des Adapters",
        ),
        "segments.missing": Text(
            "good frames come, but not all of a telegram ({reason}): frames are lost on the way; "
            "check the wires and the adapter's supply, and that no other program reads the port",
            "gute Rahmen kommen, aber nicht alle eines Telegramms („{reason}“): Rahmen gehen "
            "unterwegs verloren; prüfe die Drähte und die Versorgung des Adapters, und dass kein "
            "anderes Programm den Anschluss liest",
        ),
        "decryption.refused": Text(
            "the last telegram does not decrypt ({reason}): compare the key with the operator's "
            "letter, character by character",
            "das letzte Telegramm lässt sich nicht entschlüsseln („{reason}“): vergleiche den "
            "Schlüssel mit dem Brief des Netzbetreibers, Zeichen für Zeichen",
        ),
        "layout.refused": Text(
            "the last telegram decrypts, but it is not understood ({reason}): please send us what "
            "`obisgate explain --redact` prints of it",
            "das letzte Telegramm lässt sich entschlüsseln, wird aber nicht verstanden "
            "(„{reason}“): bitte sende uns, was `obisgate explain --redact` davon zeigt",
        ),
        "counter.old": Text(
            "telegrams come, but their invocation counter does not rise ({reason}): old telegrams "
            "are sent again; read the meter itself, not a recording or a repeater of it",
            "Telegramme kommen, aber der Telegrammzähler steigt nicht („{reason}“): "
            "alte Telegramme werden noch einmal gesendet; lies den Zähler selbst, keine Aufnahme "
            "und keinen Verstärker davon",
        ),
        "counter.other": Text(
            "telegrams of several meters come ({reason}): let the line carry those of one meter",
            "Telegramme mehrerer Zähler kommen („{reason}“): lass nur einen Zähler an die Leitung",
        ),
        "plausible.refused": Text(
            "the values cannot be, or not follow each other ({reason}): compare them with the "
            "meter's display, and `connection` in the config with the main fuse",
            "die Werte können nicht sein, oder nicht aufeinander folgen („{reason}“): vergleiche "
            "sie mit der Anzeige des Zählers, und `connection` in der Konfiguration mit der "
            "Hauptsicherung",
        ),
        "fresh.stale": Text(
            "the last good telegram came {age} s ago, and may be served for {hold} s: if the meter "
            "pushes less often, make `hold` three times the pause between two pushes",
            "das letzte gute Telegramm kam vor {age} s und darf {hold} s lang gezeigt werden: wenn "
            "der Zähler seltener sendet, setze `hold` auf das Dreifache der Pause zwischen zwei "
            "Sendungen",
        ),
        "fresh.ended": Text(
            "the source is at its end ({source}), and its values are stale: name a source that "
            "goes on, such as serial:/dev/serial/by-id/…",
            "die Quelle ist zu Ende ({source}), und ihre Werte sind veraltet: nenne eine, die "
            "weitergeht, etwa serial:/dev/serial/by-id/…",
        ),
        "reachable.none": Text(
            "no gateway is running: {command}", "es läuft kein Gateway: {command}"
        ),
        "reachable.unserved": Text(
            "no listener has a unit for this meter: write one below `listeners` in the config, "
            "such as units: {{1: {{meter: {meter}, map: sunspec_213}}}}",
            "kein Modbus-Anschluss zeigt diesen Zähler: schreib einen unter `listeners` in die "
            "Konfiguration, etwa units: {{1: {{meter: {meter}, map: sunspec_213}}}}",
        ),
        "reachable.line": Text(
            "the listener's serial line is not open: {reason}",
            "die serielle Leitung des Modbus-Anschlusses ist nicht offen: {reason}",
        ),
        "reachable.absent": Text(
            "{endpoint} is no address of this machine now: hostname -I lists those that it has",
            "{endpoint} ist derzeit keine Adresse dieser Maschine: hostname -I zeigt, welche sie "
            "hat",
        ),
        "reachable.local": Text(
            "{endpoint} is open on this machine only: for other devices write 0.0.0.0 in place of "
            "its address in the config",
            "{endpoint} ist nur auf dieser Maschine offen: für andere Geräte schreib 0.0.0.0 "
            "anstelle der Adresse in die Konfiguration",
        ),
        "reachable.closed": Text(
            "{endpoint}: 'allow' lets this machine alone in: add the network of the device that "
            "is to ask, such as 192.168.1.0/24",
            "{endpoint}: 'allow' lässt nur diese Maschine herein: füge das Netz des Geräts an, das "
            "fragen soll, etwa 192.168.1.0/24",
        ),
        "reachable.deaf": Text(
            "{endpoint} does not answer a Modbus read from this machine ({reason}): look into the "
            "gateway's log",
            "{endpoint} antwortet auf keine Modbus-Anfrage von dieser Maschine („{reason}“): sieh "
            "in das Log des Gateways",
        ),
        "asked.nobody": Text(
            "nobody has asked yet: give this machine's address, the port and the unit id to the "
            "inverter; a firewall cannot be seen from here, so try it from another machine{poll}",
            "noch niemand hat gefragt: trag Adresse dieser Maschine, Port und Unit-ID im "
            "Wechselrichter ein; eine Firewall ist von hier nicht zu sehen, also probier es von "
            "einer anderen Maschine aus{poll}",
        ),
        "values.unit": Text(
            "{address} asks for unit {unit}, which is not served here: set {units} in it, or serve "
            "that unit in the config",
            "{address} fragt nach Unit {unit}, die es hier nicht gibt: stell dort {units} ein, "
            "oder nimm diese Unit in die Konfiguration auf",
        ),
        "values.address": Text(
            "{address} asks unit {unit} for addresses that no map serves (exception 0x02): another "
            "map is needed; the gateway's log names the addresses, `obisgate maps` who reads what",
            "{address} fragt Unit {unit} nach Adressen, die keine Registerliste hat (Exception "
            "0x02): es braucht eine andere; das Log des Gateways nennt die Adressen, `obisgate "
            "maps`, wer was liest",
        ),
        "values.count": Text(
            "{address} asks unit {unit} for too many registers at once (exception 0x03): set it to "
            "read at most 125, or choose the map that it is made for (`obisgate maps`)",
            "{address} fragt Unit {unit} nach zu vielen Registern auf einmal (Exception 0x03): "
            "stell dort höchstens 125 ein, oder wähl die Registerliste, für die es gemacht ist "
            "(`obisgate maps`)",
        ),
        "values.function": Text(
            "{address} asks unit {unit} with a function that is not answered here (exception "
            "0x01): set it to read with function 3 or 4, and to a meter, not to an inverter",
            "{address} fragt Unit {unit} mit einer Funktion, die es hier nicht gibt (Exception "
            "0x01): stell dort Funktion 3 oder 4 ein, und einen Zähler, keinen Wechselrichter",
        ),
        "values.stale": Text(
            "{address} asked unit {unit} when there were no fresh values (exception 0x0B), and not "
            "since: restart it, or its search for a meter",
            "{address} fragte Unit {unit}, als es keine frischen Werte gab (Exception 0x0B), und "
            "seither nicht: starte es neu, oder seine Suche nach einem Zähler",
        ),
    }
)

# Which rung words break: the first part of their name.
RUNG_OF: Mapping[str, Rung] = MappingProxyType(
    {name: Rung(name.split(".")[0]) for name in (*CAUSES, *DIAGNOSES, *BREAKS)}
)
# Of a diagnosis whose words are those of another version.
KINDS: Mapping[str, Rung] = MappingProxyType(
    {
        Trouble.SILENT: Rung.BYTES,
        Trouble.NO_FRAMES: Rung.FRAMES,
        Trouble.FOREIGN: Rung.SEGMENTS,
        Trouble.NO_DECRYPTION: Rung.DECRYPTION,
        Trouble.UNKNOWN_LAYOUT: Rung.LAYOUT,
    }
)
# A refusal shows that all rungs below its own are good.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        Layer.FRAME: "frames.cut",
        Layer.SEGMENT: "segments.missing",
        Layer.CIPHERING: "decryption.refused",
        Layer.DECRYPTION: "decryption.refused",
        Layer.STRUCTURE: "layout.refused",
        Layer.LAYOUT: "layout.refused",
        Layer.IDENTITY: "counter.other",
        Layer.COUNTER: "counter.old",
        Layer.PLAUSIBILITY: "plausible.refused",
    }
)
