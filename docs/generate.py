"""Writes what is made from the project itself anew: make docs.

The tables of docs/telegram*.md are made from the telegram, register_maps/README.md from the maps. A
table stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway import map_library
from gateway.cli.explained import markdown_table
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
    for language, path in PAGES.items():
        path.write_text(page(path.read_text(encoding="utf-8"), language), encoding="utf-8")
