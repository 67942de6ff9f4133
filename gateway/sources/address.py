"""How a config names a source: kind:target?option=value, on the network kind://target?option=value.

No password stands in it, and what it says of a wrong address shows none that was put there.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import parse_qsl

from gateway.duration import parse_duration
from gateway.endpoint import parse_endpoint
from gateway.keys import read_password
from gateway.located import ConfigError, nearest

# kind → what stands behind the colon
KINDS: Mapping[str, str] = {
    "serial": "serial:/dev/ttyUSB0",
    "tcp": "tcp://192.168.1.20:2400",
    "tcp-listen": "tcp-listen://0.0.0.0:2400",
    "udp": "udp://0.0.0.0:2400",
    "mqtt": "mqtt://192.168.1.10/meter/raw",
    "mqtts": "mqtts://broker.example/meter/raw",
    "recording": "recording:meter.bin",
    "simulator": "simulator:kaifa-ma309m",
}

MAX_DIGITS = 12
# mqtt://user:secret@host, and ?password=secret; what names one is none.
_PASSWORD = re.compile(r"(?<=//).*(?=@)|(?<=password=)(?!file:|env:|credential:)[^&]*")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """One source as the user wrote it. The reading methods raise ValueError with words.

    `folder` is where relative paths in it start.
    """

    text: str
    kind: str
    target: str
    options: Mapping[str, str]
    folder: Path = Path()

    @classmethod
    def parse(cls, text: str, folder: Path = Path()) -> "SourceAddress":
        """Take the text apart; relative paths in it start in `folder`."""
        kind, colon, rest = text.partition(":")
        shown = _shown(text)
        if kind not in KINDS or not colon:
            examples = ", ".join(KINDS.values())
            close = nearest(kind, KINDS) if colon else ""
            hint = close if "did you mean" in close else f"; a source looks like {examples}"
            raise ValueError(f"unknown source {shown!r}{hint}")
        if "://" in KINDS[kind]:
            if not rest.startswith("//"):
                raise ValueError(f"a {kind} source begins with {kind}://, as {KINDS[kind]}")
            rest = rest.removeprefix("//")
        target, _, query = rest.partition("?")
        if not target:
            raise ValueError(f"{shown!r} names no {kind}; one looks like {KINDS[kind]}")
        query_shown = _shown(query)
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise ValueError(
                f"options look like ?name=value&name=value, not {query_shown!r}"
            ) from None
        if kind == "recording":
            target = str(folder / target)
        options = dict(pairs)
        if len(options) < len(pairs):
            raise ValueError(f"an option comes twice in {query_shown!r}")
        return cls(text, kind, target, options, folder)

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

    def endpoint(self, target: str, usual_port: int | None = None) -> tuple[str, int]:
        """Return host and port of a target, where there is a usual port also of a host alone."""
        try:
            host, port = parse_endpoint(target, usual_port)
        except ValueError:
            host, port = "", 0
        if not port:
            shown = _shown(f"//{target}").removeprefix("//")
            raise ValueError(f"{shown!r} is no host:port; one looks like {KINDS[self.kind]}")
        return host, port

    def networks(self, word: str) -> Sequence[Network]:
        """Return networks or single addresses, with commas between; none if the option is not."""
        try:
            return [ip_network(each) for each in self.options.get(word, "").split(",") if each]
        except ValueError as problem:
            raise ValueError(
                f"{word}: {problem}; it looks like 192.168.1.20 or 192.168.1.0/24"
            ) from None

    def path(self, word: str) -> Path | None:
        """Return a file; None if the option is not."""
        return self.folder / self.options[word] if word in self.options else None

    def password(self, word: str) -> str | None:
        """Return a password from where the option names it; None if the option is not."""
        if word not in self.options:
            return None
        try:
            return read_password(self.options[word], self.folder)
        except ConfigError as problem:
            raise ValueError(f"{word}: {problem}") from None


def _shown(text: str) -> str:
    """Return an address, or a part of it, without a password that does not belong there."""
    return _PASSWORD.sub("…", text)
