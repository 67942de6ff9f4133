"""Questions that a command asks: on a terminal, over SSH, or from a file of answers.

Every question belongs to an option; what an option says is not asked.
"""

import sys
from collections.abc import Callable
from getpass import getpass
from typing import TypeVar

from gateway.located import ConfigError, hide_keys

T = TypeVar("T")
YES = {"y": True, "yes": True, "n": False, "no": False}


class Questions:
    """Asks a person, or with `takes_defaults` nobody: then what has no default is an error."""

    def __init__(self, *, takes_defaults: bool) -> None:
        self.takes_defaults = takes_defaults

    def ask(
        self,
        option: str,
        question: str,
        given: str | None,
        default: str | None,
        read: Callable[[str], T],
    ) -> T:
        """Return what the option says, else the answer, as `read` reads it.

        `read` raises ValueError with words: then it is asked again, if it was an answer.
        """
        if given is None and self.takes_defaults:
            given = self._default(option, default)
        if given is not None:
            try:
                return read(given)
            except ValueError as problem:
                raise ConfigError(f"--{option}: {problem}") from None
        intro, _, last = question.rpartition("\n")
        if intro:
            print(intro)
        while True:
            answer = self._line(option, f"{last}{f' [{default}]' if default else ''}: ")
            if not answer and not default:
                continue
            try:
                return read(answer or default or "")
            except ValueError as problem:
                print(hide_keys(f"{problem}."))

    def hidden(self, option: str, question: str) -> str:
        """Return an answer that is not shown while it is typed; it may be empty."""
        if self.takes_defaults:
            return self._default(option, None)
        if not sys.stdin.isatty():
            return self._line(option, f"{question}: ")
        try:
            return getpass(f"{question}: ").strip()
        except EOFError:
            raise _ended(option) from None

    def is_agreed(self, option: str, question: str) -> bool:
        """Tell whether the answer is yes; it is no unless somebody says otherwise."""
        if self.takes_defaults:
            return False

        def read(text: str) -> bool:
            if text.lower() not in YES:
                raise ValueError("yes or no?")
            return YES[text.lower()]

        return self.ask(option, question, None, "no", read)

    def _default(self, option: str, default: str | None) -> str:
        if default is None:
            raise ConfigError(f"--{option} is missing: with --yes nothing is asked")
        return default

    def _line(self, option: str, prompt: str) -> str:
        try:
            answer = input(prompt).strip()
        except EOFError:
            print()
            raise _ended(option) from None
        except UnicodeDecodeError:
            raise ConfigError("the answers are no UTF-8 text") from None
        if not sys.stdin.isatty():
            print()  # nobody has pressed Enter
        return answer


def _ended(option: str) -> ConfigError:
    return ConfigError(f"nothing is written: the answers ended; --{option} gives this one")
