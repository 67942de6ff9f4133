"""An anatomy for people and machines: coloured text, JSON, Markdown, one HTML page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from types import MappingProxyType

from gateway.telegram.anatomy import Anatomy, Field, Kind, texts
from gateway.telegram.anatomy.field import Ranges
from gateway.telegram.anatomy.names import Text
from gateway.telegram.fault import Layer

HEX_COLUMNS = 26
LAYER_COLUMNS = 17  # the longest name and one more
MARGIN = 18 + HEX_COLUMNS + LAYER_COLUMNS
SHORT_BYTES = 8
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


def as_text(anatomy: Anatomy, language: str, *, is_coloured: bool) -> str:
    """Return one line a row; what it means stands once, where it comes first."""
    lines = []
    explained: set[str] = set()
    for field in anatomy.fields:
        place = ranges_text(field.ranges)
        code = FAULT_COLOUR if field.kind == Kind.REMARK else COLOURS[field.layer]
        if field.kind == Kind.GROUP:
            code += ";1"
        shown = _short(field.plain_hex or field.hex)
        said = "  ".join(filter(None, (texts.name(field, language), value_of(field, language))))
        indent = "  " * field.depth
        name = f"\x1b[{code}m{said}\x1b[0m" if is_coloured else said
        change = texts.change_name(field.change, language)
        tail = f"  [{change}]" if change and field.kind == Kind.FIELD else ""
        layer = f"{texts.layer_name(field.layer, language):<{LAYER_COLUMNS}}"
        lines.append(f"{place:>16}  {shown:<{HEX_COLUMNS}}{layer}{indent}{name}{tail}".rstrip())
        meaning = texts.meaning(field, language)
        if meaning and field.id not in explained:
            explained.add(field.id)
            dim = f"\x1b[2m{meaning}\x1b[0m" if is_coloured else meaning
            lines.append(f"{'':>{MARGIN}}{indent}  {dim}")
    return "\n".join(lines) + "\n"


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
    shown = {"bytes": anatomy.size, "language": language, "fields": rows}
    return json.dumps(shown, ensure_ascii=False, indent=1) + "\n"


def as_markdown(fields: Iterable[Field], language: str) -> str:
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
            f"`{_short(shown)}`" if shown else "",
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
        rows="\n".join(
            _row_html(index, field, run_of, language) for index, field in enumerate(fields)
        ),
    )


def value_of(field: Field, language: str) -> str:
    """Return what a row says, with what is to be said about it."""
    notes = ", ".join(texts.notes(field, language))
    return f"{field.value} ({notes})" if field.value and notes else field.value or notes


def ranges_text(ranges: Ranges) -> str:
    """Return places as people count them, the last byte included."""
    return ", ".join(
        str(start) if end == start + 1 else f"{start}–{end - 1}" for start, end in ranges
    )


def _short(shown: str) -> str:
    """Return the first bytes of hex text, and that there are more."""
    parts = shown.split()
    return shown if len(parts) <= SHORT_BYTES else " ".join(parts[: SHORT_BYTES - 1]) + " …"


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
        f'<td class="hex">{escape(field.plain_hex)}</td>',
        f'<th scope="row" style="--depth:{field.depth}"><a href="#{link}">'
        f"{escape(texts.name(field, language))}</a></th>",
        f"<td>{escape(value)}</td>",
        f'<td class="{field.layer}"><span class="mark"></span>'
        f"{escape(texts.layer_name(field.layer, language))}</td>",
        f"<td>{escape(texts.change_name(field.change, language))}</td>",
        f"<td>{escape(texts.meaning(field, language))}</td>",
    )
    return (
        f'<tr id="f{index}" class="{field.kind}" data-ranges="{_ranges_data(field.ranges)}" '
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
