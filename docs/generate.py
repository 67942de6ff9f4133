"""Writes the tables of docs/telegram*.md anew, from the telegram itself: make docs.

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.explained import markdown_table
from gateway.telegram import Key, Layer
from gateway.telegram.anatomy import Field, Kind, explain

DOCS = Path(__file__).parent
PAGES = {"en": DOCS / "telegram.md", "de": DOCS / "telegram.de.md"}
# Both published by the operator as an example.
TELEGRAM = DOCS / "tirol.hex"
KEY = Key.parse("10 11 12 13 14 15 16 17 18 19 1A 1B 1C 1D 1E 1F")

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


if __name__ == "__main__":
    for language, path in PAGES.items():
        path.write_text(page(path.read_text(encoding="utf-8"), language), encoding="utf-8")
