"""What fields and their values mean, in English and German."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.languages import Text

MEANINGS: Mapping[str, Text] = MappingProxyType(
    {
        "outside": Text(
            "No whole, good frame holds them: noise, or a frame whose start or end is missing.",
            "Kein guter Rahmen enthält sie: Störung, oder ein Rahmen ohne Anfang oder Ende.",
        ),
        "frame.content": Text(
            "Explained below, where the parts of all frames are joined.",
            "Unten erklärt, wo die Teile aller Rahmen zusammengesetzt sind.",
        ),
        "frame.refused": Text(
            "The frame's check fails: any of these bytes may be wrong.",
            "Die Prüfung des Rahmens schlägt fehl: Jedes dieser Bytes kann falsch sein.",
        ),
        "frame.unused": Text(
            "The frame is good, but the message that it belongs to is not here.",
            "Der Rahmen ist gut, aber die Nachricht, zu der er gehört, fehlt.",
        ),
        "mbus.frame": Text(
            "Long frame of the wired M-Bus (EN 13757-2). The meter is the master and only sends.",
            "Langrahmen des drahtgebundenen M-Bus (EN 13757-2). Der Zähler ist Master und "
            "sendet nur.",
        ),
        "mbus.start": Text("Begins every long frame.", "Beginnt jeden Langrahmen."),
        "mbus.length": Text(
            "Counts the bytes from the C field to the last one before the checksum.",
            "Zählt die Bytes vom C-Feld bis zum letzten vor der Prüfsumme.",
        ),
        "mbus.length_again": Text(
            "Must equal the first L: one of the few protections against damage.",
            "Muss dem ersten L gleichen: eine der wenigen Sicherungen gegen Schäden.",
        ),
        "mbus.start_again": Text(
            "Ends the frame's fixed header.", "Beendet den festen Kopf des Rahmens."
        ),
        "mbus.control": Text(
            "A push has SND_UD, send user data: 0x53, or 0x73 with the frame count bit.",
            "Eine Sendung hat SND_UD, Nutzdaten senden: 0x53, oder 0x73 mit Rahmenzählbit.",
        ),
        "mbus.address": Text(
            "255 is the broadcast, to whoever listens; a push has no other.",
            "255 ist der Rundruf an alle, die zuhören; eine Sendung hat keine andere.",
        ),
        "mbus.ci": Text(
            "Bits 3 to 0 count the segments from 0, bit 4 marks the last, bits 7 to 5 are 0.",
            "Bits 3 bis 0 zählen die Segmente ab 0, Bit 4 markiert das letzte, Bits 7 bis 5 "
            "sind 0.",
        ),
        "mbus.source": Text(
            "1 is the meter's management logical device. Repeated in every segment, never "
            "encrypted.",
            "1 ist das Management Logical Device des Zählers. In jedem Segment wiederholt, nie "
            "verschlüsselt.",
        ),
        "mbus.destination": Text(
            "103 is the consumer information push client.",
            "103 ist der Empfänger der Kundenschnittstelle (Consumer Information Push Client).",
        ),
        "mbus.checksum": Text(
            "Sum of the bytes from the C field on, modulo 256.",
            "Summe der Bytes ab dem C-Feld, modulo 256.",
        ),
        "mbus.stop": Text("Ends every frame.", "Beendet jeden Rahmen."),
        "hdlc.frame": Text(
            "HDLC frame of type 3 (ISO/IEC 13239). Nothing inside is escaped.",
            "HDLC-Rahmen vom Typ 3 (ISO/IEC 13239). Im Inneren wird nichts maskiert.",
        ),
        "hdlc.flag": Text(
            "Begins a frame; may also have ended the one before.",
            "Beginnt einen Rahmen; kann auch den vorigen beendet haben.",
        ),
        "hdlc.format": Text(
            "Four bits type, one bit that says whether segments follow, eleven bits length.",
            "Vier Bits Typ, ein Bit, ob Segmente folgen, elf Bits Länge.",
        ),
        "hdlc.destination": Text(
            "Ends with the byte whose lowest bit is set.",
            "Endet mit dem Byte, dessen niedrigstes Bit gesetzt ist.",
        ),
        "hdlc.control": Text(
            "UI, unnumbered information: nobody acknowledges it.",
            "UI, unnummerierte Information: Niemand bestätigt sie.",
        ),
        "hdlc.hcs": Text(
            "CRC-16/X.25 of the header, low byte first.",
            "CRC-16/X.25 des Kopfs, niedriges Byte zuerst.",
        ),
        "hdlc.llc": Text(
            "Stands only in a message's first frame.",
            "Steht nur im ersten Rahmen einer Nachricht.",
        ),
        "hdlc.fcs": Text(
            "CRC-16/X.25 of all between the flags, low byte first.",
            "CRC-16/X.25 von allem zwischen den Flags, niedriges Byte zuerst.",
        ),
        "block.tag": Text(
            "The message comes in numbered blocks.",
            "Die Nachricht kommt in nummerierten Blöcken.",
        ),
        "block.control": Text(
            "Bit 7 last block, bit 6 streaming, bits 5 to 0 window.",
            "Bit 7 letzter Block, Bit 6 Streaming, Bits 5 bis 0 Fenster.",
        ),
        "block.number": Text("Counts from 1.", "Zählt ab 1."),
        "message": Text(
            "What the frames bring together: one push, sealed.",
            "Was die Rahmen zusammen bringen: eine Sendung, versiegelt.",
        ),
        "message.unexplained": Text(
            "Behind the damage nothing is certain.", "Hinter dem Schaden ist nichts sicher."
        ),
        "cipher.tag": Text(
            "general-glo-ciphering: all that follows is encrypted with one key.",
            "general-glo-ciphering: Alles Weitere ist mit einem Schlüssel verschlüsselt.",
        ),
        "title.maker": Text(
            "Three letters of the FLAG association. First part of the nonce.",
            "Drei Buchstaben der FLAG Association. Erster Teil der Nonce.",
        ),
        "title.serial": Text(
            "Names this one meter, readable without a key. Second part of the nonce.",
            "Nennt genau diesen Zähler, lesbar ohne Schlüssel. Zweiter Teil der Nonce.",
        ),
        "cipher.length": Text(
            "Counts security byte, invocation counter, ciphertext and tag. From 128 on the first "
            "byte says how many bytes of length follow.",
            "Zählt Sicherheitsbyte, Aufrufzähler, Geheimtext und Tag. Ab 128 sagt das erste Byte, "
            "wie viele Längenbytes folgen.",
        ),
        "cipher.security": Text(
            "0x20 encrypted, 0x10 with a tag; the low bits are the security suite's id, 0 or 1.",
            "0x20 verschlüsselt, 0x10 mit Tag; die niedrigen Bits sind die Nummer der Security "
            "Suite, 0 oder 1.",
        ),
        "cipher.counter": Text(
            "Rises with every telegram, so that no nonce comes twice. Last part of the nonce.",
            "Steigt mit jedem Telegramm, damit keine Nonce zweimal kommt. Letzter Teil der Nonce.",
        ),
        "cipher.nonce": Text(
            "System title, then invocation counter: 12 bytes. They are not sent again; whoever "
            "decrypts puts them together.",
            "System-Titel, dann Aufrufzähler: 12 Bytes. Sie werden nicht noch einmal gesendet; wer "
            "entschlüsselt, setzt sie zusammen.",
        ),
        "cipher.text": Text(
            "AES-128 in counter mode (GCM): as long as the plaintext, byte for byte.",
            "AES-128 im Zählermodus (GCM): so lang wie der Klartext, Byte für Byte.",
        ),
        "cipher.auth_tag": Text(
            "First 12 bytes of the GCM tag; checked with the authentication key.",
            "Erste 12 Bytes des GCM-Tags; mit dem Authentifizierungsschlüssel geprüft.",
        ),
        "plaintext": Text(
            "Each byte keeps its place: its ciphertext stands at the bytes shown.",
            "Jedes Byte behält seinen Platz: Sein Geheimtext steht an den gezeigten Bytes.",
        ),
        "notification.tag": Text(
            "DataNotification. A wrong key almost never gives this byte.",
            "DataNotification. Ein falscher Schlüssel ergibt dieses Byte fast nie.",
        ),
        "notification.invoke_id": Text(
            "Counts pushes; not the invocation counter. The top byte holds flags.",
            "Zählt Sendungen; nicht der Aufrufzähler. Das oberste Byte enthält Flags.",
        ),
        "notification.no_time": Text("The header carries no time.", "Der Kopf trägt keine Zeit."),
        "notification.time_tag": Text("A date-time has 12 bytes.", "Ein Zeitstempel hat 12 Bytes."),
        "clock.deviation": Text(
            "Minutes, UTC minus local time. Many readers have its sign wrong.",
            "Minuten, UTC minus Ortszeit. Viele Leseprogramme haben das Vorzeichen falsch.",
        ),
        "clock.status": Text(
            "Bit 7: daylight saving time; bit 0: the clock is not valid; bit 1: it is doubtful.",
            "Bit 7: Sommerzeit; Bit 0: Uhr ungültig; Bit 1: Uhr zweifelhaft.",
        ),
        "list": Text(
            "All that the meter reports, in A-XDR: type, then value.",
            "Alles, was der Zähler meldet, in A-XDR: Typ, dann Wert.",
        ),
        "object.code": Text(
            "Names what is measured: six numbers, A-B:C.D.E.F.",
            "Nennt, was gemessen wird: sechs Zahlen, A-B:C.D.E.F.",
        ),
        "object.scaler": Text(
            "Power of ten by which the raw value is multiplied.",
            "Zehnerpotenz, mit der der Rohwert multipliziert wird.",
        ),
        "object.unit": Text(
            "Code of the unit (COSEM Blue Book).", "Code der Einheit (COSEM Blue Book)."
        ),
        "object.unread": Text(
            "Known to be there; nobody has published what it is.",
            "Bekannt, dass er da ist; niemand hat veröffentlicht, was er ist.",
        ),
        "fault.frame": Text(
            "Bytes were lost or changed on the line: check parity (8E1), adapter and wiring.",
            "Auf der Leitung gingen Bytes verloren oder wurden verändert: Parität (8E1), Adapter "
            "und Verdrahtung prüfen.",
        ),
        "fault.segment": Text(
            "A piece of the message is missing, doubled or foreign.",
            "Ein Teil der Nachricht fehlt, ist doppelt oder fremd.",
        ),
        "fault.ciphering": Text(
            "The ciphering header is not as it must be, or the tag does not verify.",
            "Der Kopf der Verschlüsselung ist nicht, wie er sein muss, oder das Tag stimmt nicht.",
        ),
        "fault.decryption": Text(
            "The plaintext is noise: most likely the key is wrong, or not this meter's.",
            "Der Klartext ist Rauschen: Wahrscheinlich ist der Schlüssel falsch oder gehört zu "
            "einem anderen Zähler.",
        ),
        "fault.structure": Text(
            "The key is right, but a byte of the plaintext is damaged or of an unknown kind.",
            "Der Schlüssel stimmt, aber ein Byte im Klartext ist beschädigt oder unbekannter Art.",
        ),
        "fault.layout": Text(
            "The key is right, but the objects are not listed in a way that is known.",
            "Der Schlüssel stimmt, aber die Objekte sind nicht in bekannter Weise aufgelistet.",
        ),
    }
)

NOTES: Mapping[str, Text] = MappingProxyType(
    {
        "mbus.last": Text("the last segment", "das letzte Segment"),
        "mbus.more": Text("more segments follow", "weitere Segmente folgen"),
        "mbus.wrapped": Text(
            "more than a byte can say: 256 is added",
            "mehr, als ein Byte sagen kann: 256 kommt dazu",
        ),
        "hdlc.last": Text("no segment follows", "kein Segment folgt"),
        "hdlc.more": Text("more segments follow", "weitere Segmente folgen"),
        "block.last": Text("the last block", "der letzte Block"),
        "block.more": Text("more blocks follow", "weitere Blöcke folgen"),
        "message.cut": Text("the rest of it is missing", "der Rest fehlt"),
        "security.encrypted": Text("encrypted", "verschlüsselt"),
        "security.tagged": Text("authenticated by a tag", "durch ein Tag authentifiziert"),
        "security.untagged": Text("no tag: not authenticated", "kein Tag: nicht authentifiziert"),
        "security.suite_0": Text("suite id 0: AES-128-GCM", "Suite 0: AES-128-GCM"),
        "security.suite_1": Text(
            "suite id 1: AES-128-GCM, like suite 0", "Suite 1: AES-128-GCM, wie Suite 0"
        ),
        "cipher.no_key": Text(
            "without the key the explanation ends here",
            "ohne den Schlüssel endet die Erklärung hier",
        ),
        "cipher.refused": Text("not opened", "nicht geöffnet"),
        "cipher.noise": Text(
            "this key makes noise of it", "dieser Schlüssel macht Rauschen daraus"
        ),
        "cipher.cut": Text("too little of it is here", "zu wenig davon ist da"),
        "cipher.damage": Text("behind the damage", "hinter dem Schaden"),
        "clock.unspecified": Text("not specified", "nicht angegeben"),
        "clock.ahead": Text("UTC = local time + deviation", "UTC = Ortszeit + Abweichung"),
        "clock.summer": Text("daylight saving time", "Sommerzeit"),
        "clock.winter": Text("standard time", "Normalzeit"),
        "list.unknown": Text(
            "no known layout: only what shows by itself is named",
            "kein bekannter Aufbau: Nur was sich selbst zeigt, ist benannt",
        ),
        "object.by_place": Text(
            "carries no OBIS code: its place in the list names it",
            "trägt keinen OBIS-Code: Sein Platz in der Liste benennt ihn",
        ),
    }
)
