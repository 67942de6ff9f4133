"""What fields and objects are called, in English and German."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.telegram.obis import Obis


class Text(NamedTuple):
    """One thing in both languages."""

    en: str
    de: str

    def of(self, language: str) -> str:
        """Return it in one of LANGUAGES."""
        return self.de if language == "de" else self.en


NAMES: Mapping[str, Text] = MappingProxyType(
    {
        "outside": Text("bytes outside all frames", "Bytes außerhalb aller Rahmen"),
        "frame.content": Text("part of the message", "Teil der Nachricht"),
        "frame.refused": Text("content of a refused frame", "Inhalt eines verworfenen Rahmens"),
        "frame.unused": Text("content without a message", "Inhalt ohne Nachricht"),
        "mbus.frame": Text("M-Bus frame", "M-Bus-Rahmen"),
        "mbus.start": Text("start", "Start"),
        "mbus.length": Text("length L", "Länge L"),
        "mbus.length_again": Text("length L, repeated", "Länge L, wiederholt"),
        "mbus.start_again": Text("start, repeated", "Start, wiederholt"),
        "mbus.control": Text("C field", "C-Feld"),
        "mbus.address": Text("A field, address", "A-Feld, Adresse"),
        "mbus.ci": Text("CI field, segment", "CI-Feld, Segment"),
        "mbus.source": Text("STSAP, from", "STSAP, von"),
        "mbus.destination": Text("DTSAP, to", "DTSAP, an"),
        "mbus.checksum": Text("checksum", "Prüfsumme"),
        "mbus.stop": Text("stop", "Stopp"),
        "hdlc.frame": Text("HDLC frame", "HDLC-Rahmen"),
        "hdlc.flag": Text("flag", "Flag"),
        "hdlc.format": Text("format and length", "Format und Länge"),
        "hdlc.destination": Text("destination address", "Zieladresse"),
        "hdlc.source": Text("source address", "Quelladresse"),
        "hdlc.control": Text("control field", "Steuerfeld"),
        "hdlc.hcs": Text("header check sequence HCS", "Prüfsumme des Kopfs HCS"),
        "hdlc.llc": Text("LLC header", "LLC-Kopf"),
        "hdlc.fcs": Text("frame check sequence FCS", "Prüfsumme des Rahmens FCS"),
        "hdlc.flag_end": Text("flag, end", "Flag, Ende"),
        "block.tag": Text("general-block-transfer", "General-Block-Transfer"),
        "block.control": Text("block control", "Blocksteuerung"),
        "block.number": Text("block number", "Blocknummer"),
        "block.acknowledged": Text("block acknowledged", "bestätigter Block"),
        "block.length": Text("block length", "Blocklänge"),
        "block.part": Text("part of a block header", "Teil eines Blockkopfs"),
        "message": Text("message (APDU)", "Nachricht (APDU)"),
        "message.unexplained": Text("rest of the message", "Rest der Nachricht"),
        "cipher.tag": Text("message type", "Nachrichtentyp"),
        "title.length": Text("length of the system title", "Länge des System-Titels"),
        "title.maker": Text("system title: maker", "System-Titel: Hersteller"),
        "title.serial": Text("system title: type and serial", "System-Titel: Typ und Nummer"),
        "cipher.length": Text("length (BER)", "Länge (BER)"),
        "cipher.security": Text("security byte", "Sicherheitsbyte"),
        "cipher.counter": Text("invocation counter", "Aufrufzähler"),
        "cipher.nonce": Text("nonce, built", "Nonce, gebildet"),
        "cipher.text": Text("ciphertext", "Geheimtext"),
        "cipher.auth_tag": Text("authentication tag", "Authentifizierungs-Tag"),
        "plaintext": Text("plaintext", "Klartext"),
        "notification.tag": Text("message type", "Nachrichtentyp"),
        "notification.invoke_id": Text(
            "long-invoke-id-and-priority", "Long-Invoke-Id mit Priorität"
        ),
        "notification.no_time": Text("no date-time", "kein Zeitstempel"),
        "notification.time": Text("time of the push", "Zeitpunkt der Sendung"),
        "notification.time_tag": Text("length of the date-time", "Länge des Zeitstempels"),
        "clock.year": Text("year", "Jahr"),
        "clock.month": Text("month", "Monat"),
        "clock.day": Text("day", "Tag"),
        "clock.weekday": Text("weekday, 1 is Monday", "Wochentag, 1 ist Montag"),
        "clock.hour": Text("hour", "Stunde"),
        "clock.minute": Text("minute", "Minute"),
        "clock.second": Text("second", "Sekunde"),
        "clock.hundredths": Text("hundredths", "Hundertstel"),
        "clock.deviation": Text("deviation", "Abweichung"),
        "clock.status": Text("clock status", "Status der Uhr"),
        "list": Text("list of objects", "Liste der Objekte"),
        "axdr.structure": Text("structure of", "Struktur aus"),
        "axdr.array": Text("array of", "Array aus"),
        "axdr.string": Text("type and length", "Typ und Länge"),
        "axdr.tag": Text("type", "Typ"),
        "object": Text("object", "Objekt"),
        "object.code": Text("OBIS code", "OBIS-Code"),
        "object.value": Text("raw value", "Rohwert"),
        "object.text": Text("text", "Text"),
        "object.local": Text("local date or time", "Ortsdatum oder Ortszeit"),
        "object.clock": Text("clock", "Uhr"),
        "object.scaler": Text("scaler", "Skalierung"),
        "object.unit": Text("unit", "Einheit"),
        "object.class": Text("COSEM class", "COSEM-Klasse"),
        "object.attribute": Text("attribute", "Attribut"),
        "object.index": Text("data index", "Datenindex"),
        "object.unread": Text("value of unknown meaning", "Wert unbekannter Bedeutung"),
        "object.unknown": Text("value without a name", "Wert ohne Namen"),
        "fault.frame": Text("refused: frame", "verworfen: Rahmen"),
        "fault.segment": Text("refused: transport", "verworfen: Transport"),
        "fault.ciphering": Text("refused: ciphering", "verworfen: Verschlüsselung"),
        "fault.decryption": Text("refused: plaintext", "verworfen: Klartext"),
        "fault.structure": Text("refused: structure", "verworfen: Struktur"),
        "fault.layout": Text("refused: list of objects", "verworfen: Liste der Objekte"),
    }
)

# Energies stand here as the sum of all tariffs.
OBJECTS: Mapping[Obis, Text] = MappingProxyType(
    {
        Obis.parse(code): text
        for code, text in (
            ("0-0:1.0.0", Text("clock", "Uhr")),
            ("0-0:96.1.0", Text("meter number", "Zählernummer")),
            ("0-0:42.0.0", Text("logical device name", "Name des logischen Geräts")),
            ("1-0:0.9.1", Text("local time", "Ortszeit")),
            ("1-0:0.9.2", Text("local date", "Ortsdatum")),
            ("1-0:32.7.0", Text("voltage L1", "Spannung L1")),
            ("1-0:52.7.0", Text("voltage L2", "Spannung L2")),
            ("1-0:72.7.0", Text("voltage L3", "Spannung L3")),
            ("1-0:31.7.0", Text("current L1, without sign", "Strom L1, ohne Vorzeichen")),
            ("1-0:51.7.0", Text("current L2, without sign", "Strom L2, ohne Vorzeichen")),
            ("1-0:71.7.0", Text("current L3, without sign", "Strom L3, ohne Vorzeichen")),
            ("1-0:1.7.0", Text("power drawn", "Leistung Bezug")),
            ("1-0:2.7.0", Text("power fed in", "Leistung Lieferung")),
            ("1-0:3.7.0", Text("reactive power +R", "Blindleistung +R")),
            ("1-0:4.7.0", Text("reactive power −R", "Blindleistung −R")),
            ("1-0:1.8.0", Text("energy drawn", "Energie Bezug")),
            ("1-0:2.8.0", Text("energy fed in", "Energie Lieferung")),
            ("1-0:3.8.0", Text("reactive energy +R", "Blindenergie +R")),
            ("1-0:4.8.0", Text("reactive energy −R", "Blindenergie −R")),
            ("1-0:5.8.0", Text("reactive energy, quadrant I", "Blindenergie, Quadrant I")),
            ("1-0:6.8.0", Text("reactive energy, quadrant II", "Blindenergie, Quadrant II")),
            ("1-0:7.8.0", Text("reactive energy, quadrant III", "Blindenergie, Quadrant III")),
            ("1-0:8.8.0", Text("reactive energy, quadrant IV", "Blindenergie, Quadrant IV")),
            ("1-0:13.7.0", Text("power factor", "Leistungsfaktor")),
        )
    }
)
