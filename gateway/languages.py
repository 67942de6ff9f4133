"""The languages that obisgate speaks to people."""

from typing import NamedTuple

LANGUAGES = ("en", "de")


class Text(NamedTuple):
    """One thing in both languages."""

    en: str
    de: str

    def of(self, language: str) -> str:
        """Return it in one of LANGUAGES."""
        return self.de if language == "de" else self.en
