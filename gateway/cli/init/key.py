"""The meter's key: where it is, or what is typed; tried at once on the telegrams that came."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path

from gateway.cli.init.meter import NotFoundError
from gateway.cli.questions import Questions
from gateway.health import Trouble
from gateway.keys import is_hex_key, read_key_file, read_key_variable
from gateway.located import ConfigError
from gateway.telegram import Key, Security, Telegram
from gateway.unknown_line import fit

STDIN = "-"
WAYS = "file:PATH, env:NAME, or - to read it from standard input"


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key and how the config names it: empty if it need not, None if no file holds it yet."""

    key: Key
    written: str | None


def given_key(option: str, text: str | None, folder: Path) -> FoundKey | None:
    """Return the key that an option names; None without one. A path starts in `folder`."""
    if text is None:
        return None
    kind, _, name = text.partition(":")
    if text == STDIN:
        try:
            return FoundKey(Key.parse(_standard_input(option)), None)
        except (ValueError, UnicodeDecodeError) as problem:
            raise ConfigError(f"--{option}: standard input: {problem}") from None
    if kind not in ("file", "env") or not name or is_hex_key(name):
        raise ConfigError(f"--{option}: a key never stands on a command line: {WAYS}")
    try:
        key = read_key_file(folder / name) if kind == "file" else read_key_variable(name)
    except ConfigError as problem:
        raise ConfigError(f"--{option}: {problem}") from None
    return FoundKey(key, text)


def _standard_input(option: str) -> str:
    """Return the line that comes there; what a person types is not shown."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    try:
        return getpass(f"--{option} (not shown while you type or paste it): ")
    except EOFError:
        return ""


def find_key(
    questions: Questions,
    messages: Sequence[bytes],
    given: FoundKey | None,
    auth: FoundKey | None,
    present: Path,
) -> tuple[FoundKey, Telegram]:
    """Return the key that fits, and a telegram that it opens; ask until one does.

    `present` is a key file that may be there already. NotFoundError if the given key does not fit.
    """
    auth_key = auth.key if auth else None
    if given:
        return given, _fitting(messages, given.key, auth_key)
    if present.exists():
        try:
            key = read_key_file(present)
            telegram = _fitting(messages, key, auth_key)
        except (ConfigError, NotFoundError) as problem:
            print(f"{present.name} is there already, but: {problem}")
        else:
            print(f"{present.name} is there already, and its key fits.")
            return FoundKey(key, f"file:{present.name}"), telegram
    print(
        "The key is in the operator's portal or letter: 32 hex digits (spaces do no harm) or 16 "
        "characters.\nIt is not shown while you type or paste it."
    )
    while True:
        typed = questions.hidden("key", "Key")
        try:
            key = Key.parse(typed)
            print(f"{len(typed)} characters; trying it …")
            return FoundKey(key, None), _fitting(messages, key, auth_key)
        except (ValueError, NotFoundError) as problem:
            print(f"That is not it: {problem}.")


def find_auth_key(
    questions: Questions, messages: Sequence[bytes], key: Key, telegram: Telegram
) -> tuple[FoundKey | None, Telegram]:
    """Return the authentication key where telegrams carry a tag, and a telegram read with it.

    Without one the telegrams are read unverified.
    """
    if telegram.security is not Security.UNAUTHENTICATED or questions.takes_defaults:
        return None, telegram
    print(
        "The telegrams carry an authentication tag. If the operator gave a second key for it, "
        "every one is verified."
    )
    while typed := questions.hidden("auth-key", "Authentication key (Enter: there is none)"):
        try:
            auth = Key.parse(typed)
            return FoundKey(auth, None), _fitting(messages, key, auth)
        except (ValueError, NotFoundError) as problem:
            print(f"That is not it: {problem}.")
    return None, telegram


def _fitting(messages: Sequence[bytes], key: Key, auth_key: Key | None) -> Telegram:
    tried = fit(messages, key, auth_key)
    if isinstance(tried, Telegram):
        return tried
    if tried.kind is Trouble.UNKNOWN_LAYOUT:
        raise UnknownLayoutError(tried.text)
    raise NotFoundError(tried.text)


class UnknownLayoutError(Exception):
    """The key fits, but what it opens is not understood: no other key would help."""
