"""Writes what is made from the project itself anew: make docs.

The tables of docs/telegram*.md are made from the telegram, register_maps/README.md from the maps,
docs/doctor*.md from the words of the ladder. A table stands between `<!-- generated: NAME -->` and
`<!-- end -->`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from string import Formatter

from gateway import map_library
from gateway.cli.explained import markdown_table
from gateway.diagnoses import CAUSES, DIAGNOSES
from gateway.ladder_words import BREAKS, NAMES, RUNG_OF, SIGNS, Rung
from gateway.languages import Text
from gateway.registers.mapfile import MapFile
from gateway.telegram import Key, Layer
from gateway.telegram.anatomy import Field, Kind, explain

DOCS = Path(__file__).parent
LIBRARY = map_library.SHIPPED / "README.md"
PAGES = {"en": DOCS / "telegram.md", "de": DOCS / "telegram.de.md"}
# Both published by the operator as an example.
TELEGRAM = DOCS / "tirol.hex"
KEY = Key.parse("10 11 12 13 14 15 16 17 18 19 1A 1B 1C 1D 1E 1F")

INTRODUCTION = """\
# The register maps that come along

Made from the maps by `make docs`. `obisgate maps show NAME` prints one with all its registers;
[docs/maps.md](../docs/maps.md) says how to write one, [docs/inverters.md](../docs/inverters.md)
which device wants which. No real inverter, wallbox or meter was at hand: who reads a map is taken
from its sources. What it was tested with are programs that read it from the gateway.
"""
LADDERS = {"en": DOCS / "doctor.md", "de": DOCS / "doctor.de.md"}
LADDER = Text(
    """\
# obisgate doctor: the rungs, and what to do

Made from the program's own words by `make docs`. Deutsch: [doctor.de.md](doctor.de.md).

`obisgate doctor config.yaml` climbs from the meter to the inverter and names the first rung that is
broken, with the next step. A running gateway is asked, and not disturbed; where none runs, the
doctor opens the meter's source itself and listens, for 30 s at most (`--for 1min`). It sends
nothing to the meter, and records nothing. `--meter NAME` chooses one of several, `--format json`
is for machines.

A gateway answers the user who started it: run the doctor as that one. Of an installed service:

```sh
sudo CREDENTIALS_DIRECTORY=/etc/obisgate/keys obisgate doctor /etc/obisgate/config.yaml
```

Where nobody answers, but a listener's address is taken, somebody else's gateway may be reading the
meter: then the doctor says so, and does not open the source.

It ends with 0 when no rung is broken and the values are fresh, with 1 when something is broken or
was not to be seen in that time, and with 2 when it cannot start. In braces stands what is filled
in.
""",
    """\
# obisgate doctor: die Sprossen, und was zu tun ist

Mit `make docs` aus den Worten des Programms selbst gemacht. English: [doctor.md](doctor.md).

`obisgate doctor config.yaml` steigt vom Zähler zum Wechselrichter und nennt die erste Sprosse, die
gebrochen ist, mit dem nächsten Schritt. Ein laufendes Gateway wird gefragt und nicht gestört; wo
keines läuft, öffnet der Doktor die Quelle des Zählers selbst und hört zu, höchstens 30 s
(`--for 1min`). Zum Zähler sendet er nichts, und er zeichnet nichts auf. `--meter NAME` wählt einen
von mehreren, `--format json` ist für Programme.

Ein Gateway antwortet dem Benutzer, der es gestartet hat: als dieser ist der Doktor aufzurufen. Bei
einem installierten Dienst:

```sh
sudo CREDENTIALS_DIRECTORY=/etc/obisgate/keys obisgate doctor /etc/obisgate/config.yaml
```

Antwortet niemand, und ist die Adresse eines Modbus-Anschlusses dennoch vergeben, liest vielleicht
das Gateway eines anderen den Zähler: dann sagt der Doktor das und öffnet die Quelle nicht.

Er endet mit 0, wenn keine Sprosse gebrochen ist und die Werte frisch sind, mit 1, wenn etwas
gebrochen ist oder in der Zeit nicht zu sehen war, und mit 2, wenn er nicht beginnen kann. In
geschweiften Klammern steht, was eingesetzt wird.
""",
)
BROKEN = Text("When it breaks:", "Wenn sie bricht:")
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str, language: str) -> str:
    """Return a page with all its tables as they must be."""
    tables = _tables(explain(bytes.fromhex(TELEGRAM.read_text()), KEY).fields)

    def block(match: re.Match[str]) -> str:
        name = match[2]
        table = _dump() if name == "bytes" else markdown_table(tables[name], language)
        return f"{match[1]}\n{table}\n{match[3]}"

    return _BLOCK.sub(block, text)


def _tables(fields: Sequence[Field]) -> dict[str, Sequence[Field]]:
    plaintext = next(index for index, row in enumerate(fields) if row.id == "plaintext")
    listed = next(index for index, row in enumerate(fields) if row.id == "list")
    message = next(index for index, row in enumerate(fields) if row.id == "message")
    return {
        "frames": [row for row in fields[:message] if row.layer in (Layer.FRAME, Layer.SEGMENT)],
        "header": fields[message:plaintext],
        "notification": fields[plaintext:listed],
        "clock": _object(fields, "0-0:1.0.0.255"),
        "voltage": _object(fields, "1-0:32.7.0.255"),
        "objects": [row for row in fields if row.kind == Kind.GROUP and row.id == "object"],
    }


def _object(fields: Sequence[Field], label: str) -> Sequence[Field]:
    """Return the rows of one object."""
    first = next(index for index, row in enumerate(fields) if row.label == label)
    depth = fields[first].depth
    behind = first + 1
    while fields[behind].depth > depth:
        behind += 1
    return fields[first:behind]


def _dump() -> str:
    return f"```\n{TELEGRAM.read_text()}```\n"


def library() -> str:
    """Return register_maps/README.md."""
    maps = {name: map_library.load(name, None).written for name in map_library.find(None)}
    lines = [
        *INTRODUCTION.splitlines(),
        "",
        "| map | meter | over, port, unit ids | read by | tested with |",
        "|---|---|---|---|---|",
        *(_row(name, written) for name, written in sorted(maps.items())),
    ]
    for name, written in sorted(maps.items()):
        lines += ["", f"## {name}", "", f"{written.name}.", ""]
        lines += [f"- {note}" for note in written.notes]
        lines += [f"- From: {source}" for source in written.sources]
    return "\n".join(lines) + "\n"


def ladder(language: str) -> str:
    """Return docs/doctor.md or docs/doctor.de.md."""
    words = {**CAUSES, **DIAGNOSES, **BREAKS}
    lines = LADDER.of(language).splitlines()
    for number, rung in enumerate(Rung, 1):
        lines += ["", f"## {number}. {NAMES[rung].of(language)}", "", SIGNS[rung].of(language)]
        lines += ["", BROKEN.of(language), ""]
        said = [text.of(language) for name, text in words.items() if RUNG_OF[name] is rung]
        lines += [f"- {_unfilled(text)}" for text in said]
    return "\n".join(lines) + "\n"


def _unfilled(text: str) -> str:
    """Return words as they are before anything is filled in."""
    fields = {field: f"{{{field}}}" for _, field, _, _ in Formatter().parse(text) if field}
    return text.format(**fields).replace("{poll}", ": `mbpoll …`")


def _row(name: str, written: MapFile) -> str:
    over = ", ".join(written.over)
    port = f", port {written.port}" if {"tcp", "udp"} & {*written.over} else ""
    units = ", ".join(map(str, written.unit_ids)) or "any"
    cells = (
        f"[`{name}`](#{name})",
        written.name,
        f"{over}{port}, unit {units}",
        ", ".join(written.readers) or "–",
        ", ".join(written.tested_with) or "–",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    LIBRARY.write_text(library(), encoding="utf-8")
    for language, path in LADDERS.items():
        path.write_text(ladder(language), encoding="utf-8")
    for language, path in PAGES.items():
        path.write_text(page(path.read_text(encoding="utf-8"), language), encoding="utf-8")
