"""An anatomy for people and machines: coloured text, JSON, Markdown, one HTML page."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from types import MappingProxyType

from gateway.languages import Text
from gateway.telegram.anatomy import Anatomy, Field, Kind, texts
from gateway.telegram.anatomy.field import Ranges
from gateway.telegram.fault import Layer

HEX_COLUMNS = 19
LAYER_COLUMNS = 17  # the longest name and one more
MARGIN = 18 + HEX_COLUMNS + LAYER_COLUMNS
MIN_ROOM = 24  # behind margin and indent, however narrow the terminal is
LINE_BYTES, CELL_BYTES = 6, 8  # as many are shown of a field in a line of text, in a table
COLOURS: Mapping[Layer, str] = MappingProxyType(
    {
        Layer.FRAME: "36",
        Layer.SEGMENT: "34",
        Layer.CIPHERING: "33",
        Layer.DECRYPTION: "35",
        Layer.STRUCTURE: "90",
        Layer.LAYOUT: "32",
    }
)
FAULT_COLOUR = "31;1"
DIM = "2"

WORDS: Mapping[str, Text] = MappingProxyType(
    {
        "title": Text("A telegram, byte by byte", "Ein Telegramm, Byte für Byte"),
        "intro": Text(
            "Point at a field or move to it with the keyboard: its bytes light up, and the other "
            "way round.",
            "Auf ein Feld zeigen oder es mit der Tastatur ansteuern: Seine Bytes leuchten auf, "
            "und umgekehrt.",
        ),
        "wire": Text("On the wire", "Auf der Leitung"),
        "plain": Text("Plaintext", "Klartext"),
        "fields": Text("Fields", "Felder"),
        "redacted": Text(
            "Redacted. It still shows the framing and all lengths, HDLC addresses that many "
            "meters share, the maker's letters, and the model's shape: types, OBIS codes, scalers "
            "and units. Look before sending.",
            "Geschwärzt. Zu sehen sind noch die Rahmen und alle Längen, HDLC-Adressen, die viele "
            "Zähler haben, die Buchstaben des Herstellers und die Form des Modells: Typen, "
            "OBIS-Codes, Skalierungen und Einheiten. Vor dem Senden ansehen.",
        ),
        "bytes": Text("bytes", "Bytes"),
        "hex": Text("hex", "hex"),
        "plain_hex": Text("plaintext", "Klartext"),
        "name": Text("field", "Feld"),
        "layer": Text("layer", "Schicht"),
        "value": Text("value", "Wert"),
        "change": Text("static or dynamic", "fest oder wechselnd"),
        "meaning": Text("meaning", "Bedeutung"),
    }
)


def as_text(anatomy: Anatomy, language: str, *, is_coloured: bool, width: int) -> str:
    """Return one row after the other; what it means stands once, where it comes first."""
    lines = textwrap.wrap(_redacted(anatomy, language), width)
    explained: set[str] = set()
    for field in anatomy.fields:
        code = FAULT_COLOUR if field.kind == Kind.REMARK else COLOURS[field.layer]
        if field.kind == Kind.GROUP:
            code += ";1"
        shown = _short(field.plain_hex or field.hex, LINE_BYTES)
        layer = texts.layer_name(field.layer, language)
        margin = f"{ranges_text(field.ranges):>16}  {shown:<{HEX_COLUMNS}}{layer:<{LAYER_COLUMNS}}"
        change = texts.change_name(field.change, language)
        tail = f"[{change}]" if change and field.kind == Kind.FIELD else ""
        said = (texts.name(field, language), value_of(field, language), tail)
        room = max(MIN_ROOM, width - MARGIN)
        indent = "  " * field.depth
        for line in _wrapped("  ".join(filter(None, said)), room, indent):
            lines.append(f"{margin}{_coloured(line, code, is_coloured)}".rstrip())
            margin = " " * MARGIN
        meaning = texts.meaning(field, language)
        if meaning and field.id not in explained:
            explained.add(field.id)
            for line in _wrapped(meaning, room, indent + "  "):
                lines.append(f"{margin}{_coloured(line, DIM, is_coloured)}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, room: int, indent: str) -> Sequence[str]:
    """Return a text in lines of `room` columns, the second and later ones further to the right."""
    if room - len(indent) < MIN_ROOM:
        room = len(indent) + MIN_ROOM
    return textwrap.wrap(
        text, room, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )


def _coloured(line: str, code: str, is_coloured: bool) -> str:
    said = line.lstrip()
    indent = line[: len(line) - len(said)]
    return f"{indent}\x1b[{code}m{said}\x1b[0m" if is_coloured else line


def _redacted(anatomy: Anatomy, language: str) -> str:
    """Return what is to be said before all else of a redacted anatomy."""
    return WORDS["redacted"].of(language) if anatomy.is_redacted else ""


def as_json(anatomy: Anatomy, language: str) -> str:
    """Return all rows as one JSON object; what a row has not, it leaves out."""
    rows = []
    for field in anatomy.fields:
        row = {
            "id": field.id,
            "kind": field.kind,
            "layer": field.layer,
            "depth": field.depth,
            "ranges": [list(part) for part in field.ranges],
            "name": texts.name(field, language),
            "label": field.label,
            "hex": field.hex,
            "plain_hex": field.plain_hex,
            "value": field.value,
            "notes": texts.notes(field, language),
            "change": field.change,
            "meaning": texts.meaning(field, language),
        }
        must = ("id", "kind", "layer", "depth", "ranges", "name")
        rows.append({word: said for word, said in row.items() if said or word in must})
    said = _redacted(anatomy, language)
    note = {"redacted": said} if said else {}
    shown = note | {"bytes": anatomy.size, "language": language, "fields": rows}
    return json.dumps(shown, ensure_ascii=False, indent=1) + "\n"


def as_markdown(anatomy: Anatomy, language: str) -> str:
    """Return all rows as a table."""
    said = _redacted(anatomy, language)
    return (f"{said}\n\n" if said else "") + markdown_table(anatomy.fields, language)


def markdown_table(fields: Iterable[Field], language: str) -> str:
    """Return rows as a table; groups in bold, their bytes at their fields."""
    columns = ("bytes", "hex", "name", "value", "change", "meaning")
    head = [WORDS[word].of(language) for word in columns]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    explained: set[str] = set()
    for field in fields:
        name = texts.name(field, language)
        shown = field.plain_hex or field.hex
        is_new = field.id not in explained
        explained.add(field.id)
        cells = (
            ranges_text(field.ranges),
            f"`{_short(shown, CELL_BYTES)}`" if shown else "",
            f"**{name}**" if field.kind == Kind.GROUP else name,
            value_of(field, language),
            texts.change_name(field.change, language),
            texts.meaning(field, language) if is_new else "",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_html(anatomy: Anatomy, language: str) -> str:
    """Return one page that needs nothing else: the bytes, and the fields that they belong to."""
    template = (files("gateway.cli") / "explained.html").read_text(encoding="utf-8")
    words = {name: escape(text.of(language)) for name, text in WORDS.items()}
    fields = anatomy.fields
    run_of = _run_of_every_byte(anatomy)
    plain = [(index, f.plain_hex) for index, f in enumerate(fields) if f.plain_hex and f.hex]
    return Template(template).substitute(
        words,
        language=language,
        size=anatomy.size,
        wire_bytes=_wire_html(fields),
        plain_bytes="".join(_run(index, fields[index], shown, "p") for index, shown in plain),
        plain_hidden="" if plain else " hidden",
        note=escape(_redacted(anatomy, language)),
        rows="\n".join(
            _row_html(index, field, run_of, language) for index, field in enumerate(fields)
        ),
    )


def value_of(field: Field, language: str) -> str:
    """Return what a row says, with what is to be said about it."""
    value, notes = texts.value(field, language), ", ".join(texts.notes(field, language))
    return f"{value} ({notes})" if value and notes else value or notes


def ranges_text(ranges: Ranges) -> str:
    """Return places as people count them, the last byte included."""
    return ", ".join(
        str(start) if end == start + 1 else f"{start}–{end - 1}" for start, end in ranges
    )


def _short(shown: str, most: int) -> str:
    """Return the first bytes of hex text, and that there are more."""
    parts = shown.split()
    return shown if len(parts) <= most else " ".join(parts[: most - 1]) + " …"


def _wire_html(fields: Sequence[Field]) -> str:
    """Return all bytes in their order, each run with its field."""
    runs = []
    for index, field in enumerate(fields):
        shown = field.hex.split()
        for start, end in field.ranges if field.kind == Kind.FIELD else ():
            runs.append((start, index, " ".join(shown[: end - start])))
            del shown[: end - start]
    return "".join(
        _run(index, fields[index], shown, f"w{start}-") for start, index, shown in sorted(runs)
    )


def _run(index: int, field: Field, shown: str, prefix: str) -> str:
    """Return the bytes of a field as a link to its row."""
    return (
        f'<a class="run {field.layer}" id="{prefix}{index}" href="#f{index}" '
        f'data-leaf="{index}">{escape(shown)}</a> '
    )


def _row_html(index: int, field: Field, run_of: Sequence[tuple[int, int]], language: str) -> str:
    # A group is about all fields that lie where it does.
    runs = list(dict.fromkeys(run for part in field.ranges for run in run_of[slice(*part)]))
    link = "w{}-{}".format(*runs[0]) if runs else f"f{index}"
    leaves = dict.fromkeys(str(leaf) for _, leaf in runs)
    value = value_of(field, language)
    cells = (
        f'<td class="place">{ranges_text(field.ranges)}</td>',
        f'<td class="hex">{escape(field.hex)}</td>',
        f'<td class="hex plain">{escape(field.plain_hex)}</td>',
        f'<th scope="row"><a href="#{link}">{escape(texts.name(field, language))}</a></th>',
        f"<td>{escape(value)}</td>",
        f'<td class="{field.layer}"><span class="mark"></span>'
        f"{escape(texts.layer_name(field.layer, language))}</td>",
        f"<td>{escape(texts.change_name(field.change, language))}</td>",
        f"<td>{escape(texts.meaning(field, language))}</td>",
    )
    return (
        f'<tr id="f{index}" class="{field.kind}" style="--depth:{field.depth}" '
        f'data-ranges="{_ranges_data(field.ranges)}" '
        f'data-leaves="{" ".join(leaves)}">{"".join(cells)}</tr>'
    )


def _run_of_every_byte(anatomy: Anatomy) -> Sequence[tuple[int, int]]:
    """Return for every byte where its run starts and which field it belongs to."""
    runs = [(0, 0)] * anatomy.size
    for index, field in enumerate(anatomy.fields):
        for start, end in field.ranges if field.kind == Kind.FIELD else ():
            runs[start:end] = [(start, index)] * (end - start)
    return runs


def _ranges_data(ranges: Ranges) -> str:
    return " ".join(f"{start}-{end}" for start, end in ranges)
