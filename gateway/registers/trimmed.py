"""A map's text without some of its registers, in which all else keeps its line and column."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import yaml

from gateway.located import ConfigError, Located, load
from gateway.registers.image import Table
from gateway.registers.mapfile import INHERITED_WORDS, MAP_WORDS
from gateway.registers.register import MAX_ADDRESS

FACTOR = "sunssf"


class Part(NamedTuple):
    """A register or a word of a map: where it begins and ends in the text."""

    value: Located
    first: int
    end: int

    def covers(self, index: int) -> bool:
        """Tell whether that character is its own."""
        return self.first <= index < self.end


class Trimmed:
    """A map's text, from which registers can be taken out without making others wrong."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._items = list(_items(text, file))
        self._links = list(_links(text))
        self._instead: dict[int, str] = {}

    @property
    def text(self) -> str:
        """The text without what was taken out."""
        text = self._text
        for number in sorted(self._instead, reverse=True):
            item = self._items[number]
            text = _replaced(text, item, self._instead[number])
        return text

    def has_lost(self, line: int, column: int) -> bool:
        """Tell whether a register that stood there was taken out."""
        return self._at(line, column) in self._instead

    def take(self, line: int, column: int) -> bool:
        """Take out the register that stands there, and what means nothing without it.

        False: there is none, or the map would be wrong without it.
        """
        number = self._at(line, column)
        instead: dict[int, str] = {}
        due = [number]
        while due:
            number = due.pop()
            if number is None:
                return False
            if number in instead or number in self._instead:
                continue
            factor = self._as_factor(number)
            if factor is None:
                return False
            instead[number] = factor
            due += self._users_of_anchors(number)
            due += self._chosen_for(number)
        all_instead = self._instead | instead
        if len(self._items) == sum(not factor for factor in all_instead.values()):
            return False  # a map has at least one
        self._instead = all_instead
        return bool(instead)

    def _at(self, line: int, column: int) -> int | None:
        for number, (value, _, _) in enumerate(self._items):
            start, end = value.node.start_mark, value.node.end_mark
            if (start.line, start.column) <= (line - 1, column - 1) < (end.line, end.column):
                return number
        return None

    def _as_factor(self, number: int) -> str | None:
        """Return the good scale factor that takes a bad one's place; "" for any other register.

        Without it others would be wrong. None: where it is to stand is not known.
        """
        words = _words(self._items[number].value)
        address = _address(words, "address")
        named = {_address(_words(item.value), "scale_register") for item in self._items} - {None}
        if _plain(words, "type") != FACTOR and address not in named:
            return ""
        if address is None:
            return None
        table = _plain(words, "table")
        own = f", table: {table}" if table in list(Table) else ""
        # With only_count it is in nobody's way.
        return f"{{address: {address}, value: 0, type: {FACTOR}, only_count: 1{own}}}"

    def _users_of_anchors(self, number: int) -> Iterator[int | None]:
        """Return what names an anchor of a register; None for what is no register."""
        for anchor, alias in self._links:
            if self._items[number].covers(anchor):
                found = (n for n, item in enumerate(self._items) if item.covers(alias))
                yield next(found, None)

    def _chosen_for(self, number: int) -> Iterator[int]:
        """Return the scale factors that are chosen for a register: without one they cannot be."""
        address = _address(_words(self._items[number].value), "scale_register")
        for other, item in enumerate(self._items):
            words = _words(item.value)
            is_at = address is not None and _address(words, "address") == address
            if is_at and "scale_for" in words:
                yield other


def without_each(text: str, file: str) -> Iterator[tuple[Located, str]]:
    """Return each register and each word that changes registers, and the text without it."""
    items = list(_items(text, file))
    for item in items if len(items) > 1 else ():
        yield item.value, _replaced(text, item, "")
    for key, value in load(text, file).entries():
        is_list = key.text() == "registers"
        if key.text() in (*INHERITED_WORDS, "without") and not (is_list and len(items) > 1):
            end = value.node.end_mark.index
            yield (
                items[0].value if is_list and items else key,
                _replaced(text, Part(key, key.node.start_mark.index, end), ""),
            )


def _items(text: str, file: str) -> Iterator[Part]:
    """Return the registers of a map, each with its dash; none if they are not written so."""
    try:
        values = load(text, file).mapping(MAP_WORDS)["registers"].items()
    except (ConfigError, KeyError):
        return
    for value in values:
        start = value.node.start_mark.index
        first = text.rfind("-", 0, start)
        if first >= 0 and not text[first + 1 : start].strip():
            yield Part(value, first, value.node.end_mark.index)


def _links(text: str) -> Iterator[tuple[int, int]]:
    """Return where an anchor stands, and where it is used."""
    anchors: dict[str, int] = {}
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AnchorToken):
                anchors[token.value] = token.start_mark.index
            elif isinstance(token, yaml.AliasToken) and token.value in anchors:
                yield anchors[token.value], token.start_mark.index
    except (yaml.YAMLError, RecursionError, ValueError):
        return  # what is no YAML is told by others


def _replaced(text: str, part: Part, instead: str) -> str:
    """Return the text with blanks, or a register in one line, where a part stood."""
    blank = re.sub(r"[^\n]", " ", text[part.first : part.end])
    if instead:
        line, newline, rest = blank.partition("\n")
        blank = f"- {instead}".ljust(len(line)) + newline + rest
    return text[: part.first] + blank + text[part.end :]


def _words(item: Located) -> Mapping[str, Located]:
    try:
        return {key.text(): value for key, value in item.entries()}
    except ConfigError:
        return {}


def _plain(words: Mapping[str, Located], word: str) -> str | None:
    try:
        return words[word].text()
    except (KeyError, ConfigError):
        return None


def _address(words: Mapping[str, Located], word: str) -> int | None:
    try:
        return words[word].integer(0, MAX_ADDRESS)
    except (KeyError, ConfigError):
        return None
