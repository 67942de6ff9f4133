"""The files that a config names: what is written to is nothing else at the same time."""

from pathlib import Path
from typing import NamedTuple

from gateway.located import ConfigError, Located


class _Use(NamedTuple):
    """What a file is used for, and where that is written; None: nowhere, as it is the default."""

    what: str
    written: Located | None


class Files:
    """Notes what is read and written, the config itself first."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._read: dict[Path, str] = {}
        self._written: list[tuple[Path, _Use]] = []
        self.reads(config, "this config")

    def reads(self, path: Path, what: str) -> None:
        """Note a file that is only read, be it by several."""
        self._read.setdefault(_place(path), what)

    def writes(self, path: Path, what: str, written: Located | None) -> None:
        """Note a file that is written to."""
        self._written.append((_place(path), _Use(what, written)))

    def refuse_conflicts(self) -> None:
        """Raise ConfigError, at its place, for what would be written into another file."""
        taken = {path: _Use(what, None) for path, what in self._read.items()}
        for path, use in self._written:
            if path in taken:
                raise self._conflict(path, use, taken[path])
            taken[path] = use

    def _conflict(self, path: Path, use: _Use, other: _Use) -> ConfigError:
        reason = f"{path.name} cannot be {use.what}: it is {other.what}; name a file of its own"
        written = use.written or other.written
        return written.error(reason) if written else ConfigError(f"{self._config}: {reason}")


def _place(path: Path) -> Path:
    """Return where a file really is; of two names of one place both are it."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # such as a link to itself
        return path.absolute()
