"""How a config names a source: kind:target?option=value&option=value."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from gateway.duration import parse_duration
from gateway.located import nearest

# kind → what stands behind the colon
KINDS: Mapping[str, str] = {
    "serial": "serial:/dev/ttyUSB0",
    "recording": "recording:meter.bin",
    "simulator": "simulator:kaifa-ma309m",
}

MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """One source as the user wrote it. The reading methods raise ValueError with words."""

    text: str
    kind: str
    target: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, folder: Path = Path()) -> "SourceAddress":
        """Take the text apart; a recording's relative path starts in `folder`."""
        kind, colon, rest = text.partition(":")
        if kind not in KINDS or not colon:
            examples = ", ".join(KINDS.values())
            close = nearest(kind, KINDS) if colon else ""
            hint = close if "did you mean" in close else f"; a source looks like {examples}"
            raise ValueError(f"unknown source {text!r}{hint}")
        target, _, query = rest.partition("?")
        if not target:
            raise ValueError(f"{text!r} names no {kind}; one looks like {KINDS[kind]}")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise ValueError(f"options look like ?name=value&name=value, not {query!r}") from None
        if kind == "recording":
            target = str(folder / target)
        options = dict(pairs)
        if len(options) < len(pairs):
            raise ValueError(f"an option comes twice in {query!r}")
        return cls(text, kind, target, options)

    def allow(self, words: Collection[str]) -> None:
        """Refuse options that this kind of source does not have."""
        for word in self.options:
            if word not in words:
                raise ValueError(f"unknown option {word!r}{nearest(word, words)}")

    def integer(self, word: str, default: int | None, lowest: int) -> int | None:
        """Return a whole number, at least `lowest`."""
        if word not in self.options:
            return default
        text = self.options[word]
        if not (text.isdecimal() and len(text) <= MAX_DIGITS and int(text) >= lowest):
            raise ValueError(f"{word} is a whole number from {lowest} on, not {text!r}")
        return int(text)

    def duration_s(self, word: str, default: float) -> float:
        """Return a duration in seconds, more than 0."""
        return parse_duration(self.options[word]) if word in self.options else default

    def choice(self, word: str, words: Collection[str], default: str) -> str:
        """Return one of `words`."""
        text = self.options.get(word, default)
        if text not in words:
            raise ValueError(f"{word} is one of {', '.join(words)}, not {text!r}")
        return text
