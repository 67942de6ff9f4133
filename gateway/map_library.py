"""Register maps by name: the user's folder first, then the shipped ones."""

from collections.abc import Sequence
from pathlib import Path

from gateway.located import ConfigError, nearest
from gateway.registers import Given, RegisterMap
from gateway.registers.given import NOTHING_GIVEN
from gateway.registers.mapfile import Find


def _shipped() -> Path:
    # In a wheel the maps lie inside the package, in an editable install beside it.
    inside = Path(__file__).parent / "register_maps"
    return inside if inside.is_dir() else inside.parent.parent / "register_maps"


SHIPPED = _shipped()


def find(folder: Path | None) -> dict[str, Path]:
    """Return the files of all maps by name; a user's map hides a shipped one of its name."""
    folders: Sequence[Path] = [SHIPPED, folder] if folder else [SHIPPED]
    return {path.stem: path for place in folders for path in sorted(place.glob("*.yaml"))}


def load(name: str, folder: Path | None, given: Given = NOTHING_GIVEN) -> RegisterMap:
    """Return a map by its name; ConfigError if there is none or if it has an error."""
    paths = find(folder)
    if name not in paths:
        raise ConfigError(f"unknown map {name!r}{nearest(name, paths)}")
    return read(paths[name], folder, given)


def read(path: Path, folder: Path | None, given: Given = NOTHING_GIVEN) -> RegisterMap:
    """Return the map in a file; the maps that it is like are those of the library."""
    return RegisterMap.parse(text_of(path), str(path), given, others(folder))


def others(folder: Path | None) -> Find:
    """Return what finds the maps that a map of the library may be like."""
    paths = find(folder)

    def other(name: str, file: str) -> tuple[str, str] | None:
        # A map that is like the shipped one of its own name takes its place.
        found = paths.get(name)
        if Path(file).stem == name:
            found = find(None).get(name)
        return (text_of(found), str(found)) if found else None

    return other


def text_of(path: Path) -> str:
    """Return what a map's file says; ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: cannot be read: {problem}") from None
