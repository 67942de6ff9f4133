"""YAML whose every value knows its place, so that an error can say file:line:column."""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

import yaml

MAX_NUMBER_CHARACTERS = 40
MAX_DEPTH = 50  # of brackets and indents
MAX_NAMED = 20  # known words that an error lists
# 28 and more hex digits: in one piece, in pairs (0x allowed), or in groups of 4, 8 or 16. A UUID
# is none.
_LIKE_A_KEY = re.compile(
    r"(?i)(?<![0-9a-z])(?:[0-9a-f]{28,}"
    r"|(?:0x)?[0-9a-f]{2}(?:[\s:,;-]{1,2}(?:0x)?[0-9a-f]{2}){13,}"
    r"|[0-9a-f]{4}(?:[\s,;-]{1,2}[0-9a-f]{4}){6,}"  # with colons it is an IPv6 address
    r"|[0-9a-f]{8}(?:[\s:,;-]{1,2}[0-9a-f]{8}){3,}"
    r"|[0-9a-f]{16}(?:[\s:,;-]{1,2}[0-9a-f]{16})+)(?![0-9a-z])"
)
_NAME_IN_PROBLEM = re.compile(r"(alias|anchor|tag handle) ['\"].*")


class ConfigError(Exception):
    """Something the user wrote, or where he pointed, is wrong; the text says where and what.

    What looks like a key is left out of the text: one may stand in any wrong place.
    """

    def __init__(self, text: str) -> None:
        super().__init__(hide_keys(text))


@dataclass(frozen=True, slots=True)
class Located:
    """One value of a YAML file. Its methods return it as what it should be, or raise ConfigError.

    `file` is the name that errors show.
    """

    node: yaml.Node
    file: str

    @property
    def where(self) -> str:
        """Its place, as file:line:column."""
        return _place(self.file, self.node.start_mark)

    def error(self, message: str) -> ConfigError:
        """Return an error that points at this value; the caller raises it."""
        return ConfigError(f"{self.where}: {message}")

    def mapping(
        self, allowed: Collection[str], required: Collection[str] = ()
    ) -> "dict[str, Located]":
        """Return a mapping whose keys are all `allowed`; `required` ones are there."""
        found: dict[str, Located] = {}
        for key, value in self.entries():
            word = key.text()
            if word not in allowed:
                raise key.error(f"unknown word {word!r}{nearest(word, allowed)}")
            found[word] = value
        for word in required:
            if word not in found:
                raise self.error(f"{word!r} is missing here")
        return found

    def entries(self) -> "list[tuple[Located, Located]]":
        """Return the pairs of a mapping with free keys, of which none comes twice."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"expected 'word: value' lines, found {self._found()}")
        pairs = [(Located(k, self.file), Located(v, self.file)) for k, v in self.node.value]
        seen: set[str] = set()
        for key, _ in pairs:
            if key.text() in seen:
                raise key.error(f"{key.text()!r} comes twice")
            seen.add(key.text())
        return pairs

    def items(self) -> "list[Located]":
        """Return the items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"expected a list, found {self._found()}")
        return [Located(item, self.file) for item in self.node.value]

    def text(self) -> str:
        """Return a scalar as it was written, numbers too."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error(f"expected one value, found {self._found()}")
        return str(self.node.value)

    def integer(self, lowest: int, highest: int) -> int:
        """Return a whole number (decimal or 0x…) between the two."""
        number = self._number()
        if not isinstance(number, int):
            raise self.error(f"{self.text()!r} is no whole number")
        if not lowest <= number <= highest:
            raise self.error(f"{self.text()} is not between {lowest} and {highest}")
        return number

    def number(self) -> int | float:
        """Return a number; whole ones (decimal or 0x…) as int."""
        number = self._number()
        if number is None:
            raise self.error(f"{self.text()!r} is no number")
        return number

    def _number(self) -> int | float | None:
        text = self.text()
        if len(text) > MAX_NUMBER_CHARACTERS:
            raise self.error(f"a number has at most {MAX_NUMBER_CHARACTERS} characters")
        # YAML reads 010 as 8, people read it as 10.
        if re.match(r"[+-]?0\d", text):
            raise self.error(f"{text!r} starts with 0: write it without, or as 0x…")
        try:
            return int(text, 0)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            return None

    def choice(self, words: Collection[str], what: str) -> str:
        """Return a text that is one of `words`; `what` says what the words are."""
        text = self.text()
        if text not in words:
            raise self.error(f"unknown {what} {text!r}{nearest(text, words)}")
        return text

    def _found(self) -> str:
        if isinstance(self.node, yaml.MappingNode):
            return "'word: value' lines"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        # Not the value itself: it may be a key that slipped into another line.
        return "one value" if self.node.value else "nothing"


def load(text: str, file: str) -> Located:
    """Return the document in `text`; ConfigError for what is no YAML."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        # A key without quotes may look like a name to YAML: *name, !name!
        hint = r"\1: a value that starts with * & or ! needs quotes"
        what = _NAME_IN_PROBLEM.sub(hint, problem.problem or "this is no YAML")
        if what.startswith("but "):  # the second half of a sentence
            what = f"{problem.context}, {what}"
        raise ConfigError(f"{_place(file, mark)}: {what}") from None
    except yaml.reader.ReaderError as problem:
        before = text[: problem.position].split("\n")
        where = f"{file}:{len(before)}:{len(before[-1]) + 1}"
        raise ConfigError(f"{where}: a character that YAML does not allow") from None
    except (RecursionError, ValueError):
        # PyYAML descends once a bracket, and hands absurd escapes and versions to chr() and int().
        raise ConfigError(f"{file}: this is no YAML that anybody would write") from None
    if node is None:
        raise ConfigError(f"{file}:1:1: the file is empty")
    return Located(node, file)


def _compose(text: str) -> yaml.Node | None:
    """Compose with libyaml where the wheel has it, five times as fast; errors are the other's.

    libyaml descends on the stack of the process, so what is nested deeply goes without it.
    """
    if fast := getattr(yaml, "CSafeLoader", None):
        with suppress(yaml.YAMLError, ValueError):
            if _depth(text, fast) <= MAX_DEPTH:
                return yaml.compose(text, Loader=fast)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _depth(text: str, loader: type[yaml.SafeLoader]) -> int:
    """Return how deep the brackets and indents of a text are nested."""
    deepest = depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return deepest


def hide_keys(text: str) -> str:
    """Return `text` without what looks like the hex digits of a key."""
    return _LIKE_A_KEY.sub("(hidden: it looks like a key)", text)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the end of an error about an unknown word: the nearest known one, else a few."""
    from difflib import get_close_matches  # a quarter of a megabyte that a good config spares

    known = [str(word) for word in words]
    if close := get_close_matches(word, known, n=1):
        return f", did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if len(known) <= MAX_NAMED else ""


def _place(file: str, mark: yaml.Mark | None) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
