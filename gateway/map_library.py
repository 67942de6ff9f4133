"""Register maps by name: the user's folder first, then the shipped ones."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gateway.located import ConfigError, nearest
from gateway.registers import RegisterMap


def _shipped() -> Path:
    # In a wheel the maps lie inside the package, in an editable install beside it.
    inside = Path(str(files("gateway") / "register_maps"))
    return inside if inside.is_dir() else inside.parent.parent / "register_maps"


SHIPPED = _shipped()


def find(folder: Path | None) -> dict[str, Path]:
    """Return the files of all maps by name; a user's map hides a shipped one of its name."""
    folders: Sequence[Path] = [SHIPPED, folder] if folder else [SHIPPED]
    return {path.stem: path for place in folders for path in sorted(place.glob("*.yaml"))}


def load(name: str, folder: Path | None) -> RegisterMap:
    """Return a map by its name; ConfigError if there is none or if it has an error."""
    paths = find(folder)
    if name not in paths:
        raise ConfigError(f"unknown map {name!r}{nearest(name, paths)}")
    try:
        text = paths[name].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{paths[name]}: cannot be read: {problem}") from None
    return RegisterMap.parse(text, str(paths[name]))
