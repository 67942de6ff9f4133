"""From a config that somebody has tried to the one that a service reads.

Its key files become credentials; what a service could not find or may not reach is refused.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config, Transport
from gateway.keys import CREDENTIALS_FOLDER, is_credential_name, read_key_file
from gateway.located import ConfigError, Located, load
from gateway.sources import SourceAddress

CONFIG = Path("/etc/obisgate/config.yaml")
STATE_FOLDER = Path("/var/lib/obisgate")
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

At = Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be installed. `copied` is the text of a new config, None: it is there already.

    `credentials` are the names of all keys, `keys` the files from which those come that are new.
    """

    config: Config
    copied: str | None
    credentials: Set[str]
    keys: Mapping[str, Path]

    def hints(self, user: str) -> Iterator[str]:
        """Yield what the user has to see to by himself."""
        for listener in self.config.listeners:
            if listener.tls is not None:
                key = listener.tls.files.key
                yield f"The service must be able to read {key}: sudo chown {user} {key}"


def wanted(at: At, given: Path | None) -> Wanted:
    """Read the config that is there, or take over the one that is given.

    `at` tells where a path of the system is now. ConfigError: a service cannot be made of it.
    """
    there = at(CONFIG)
    if given is None or (there.exists() and given.exists() and given.samefile(there)):
        if not there.exists():
            raise ConfigError(
                f"{there} does not exist: obisgate service install --config config.yaml makes it "
                "of yours"
            )
        return _present(at, there)
    if there.exists():
        raise ConfigError(f"{there} is there already, and is not overwritten: edit it there")
    return _taken_over(at, given)


def _present(at: At, file: Path) -> Wanted:
    config = _read(file, at)
    root = load(read_text(file), str(file))
    _refuse_unwritable(root)
    credentials = set()
    for _, _, written in _key_places(root):
        kind, _, name = written.text().partition(":")
        if kind != "credential":
            raise written.error(
                f"a service gets its keys from systemd: put this one into {CREDENTIALS_FOLDER}, "
                "a file that only root can read, and write credential:FILE here"
            )
        credentials.add(name)
    return Wanted(config, None, credentials, {})


def _taken_over(at: At, file: Path) -> Wanted:
    """Read a user's config; its key files become credentials, and nothing else may be lost."""
    config = _read(file, at)
    text = read_text(file)
    root = load(text, str(file))
    _refuse_unwritable(root)
    _refuse_what_stays(root)
    keys: dict[str, Path] = {}
    credentials: set[str] = set()
    changes: list[tuple[slice, str]] = []
    for meter, word, written in _key_places(root):
        kind, _, name = written.text().partition(":")
        if kind == "credential":
            credentials.add(name)
            continue
        if kind != "file":
            raise written.error("a service gets its keys from files: write file:house.key here")
        source = file.parent / name
        kept_as = source.name if is_credential_name(source.name) else f"{meter}.{word}"
        if kept_as in keys and keys[kept_as] != source:
            kept_as = f"{meter}-{kept_as}"
        if not is_credential_name(kept_as) or keys.get(kept_as, source) != source:
            raise written.error("rename the file: letters, digits, dots and dashes, as house.key")
        target = at(CREDENTIALS_FOLDER / kept_as)
        if target.exists() and read_key_file(target) != read_key_file(source):
            raise written.error(f"{target} is there already with another key: move it away")
        keys[kept_as] = source
        credentials.add(kept_as)
        place = slice(written.node.start_mark.index, written.node.end_mark.index)
        if text[place].strip("\"'") != written.text():
            raise written.error("write it plainly, for it to be changed: key: file:house.key")
        changes.append((place, f"credential:{kept_as}"))
    for place, credential in sorted(changes, key=lambda each: each[0].start, reverse=True):
        text = text[: place.start] + credential + text[place.stop :]
    return Wanted(config, text, credentials, keys)


def _read(file: Path, at: At) -> Config:
    """Read a config with the credentials that it will have."""
    os.environ.setdefault("CREDENTIALS_DIRECTORY", str(at(CREDENTIALS_FOLDER)))
    return Config.read(file)


def read_text(file: Path) -> str:
    """Return what stands in a config or key file."""
    return file.read_text(encoding="utf-8-sig")


def _key_places(root: Located) -> Iterator[tuple[str, str, Located]]:
    """Yield meter, word and place of each key of a config."""
    words = {name.text(): value for name, value in root.entries()}
    for meter, settings in words["meters"].entries():
        for word, value in settings.entries():
            if word.text() in ("key", "auth_key"):
                yield meter.text(), word.text(), value


def _refuse_unwritable(root: Located) -> None:
    """Raise ConfigError for what a service, to which the system is read-only, could not write."""
    words = {name.text(): value for name, value in root.entries()}
    if "state" in words:
        raise words["state"].error(f"leave it out: a service keeps its state in {STATE_FOLDER}")
    for _, settings in words["meters"].entries():
        record = {word.text(): value for word, value in settings.entries()}.get("record")
        for word, value in record.entries() if record else []:
            if word.text() == "file" and not Path(value.text()).is_relative_to(STATE_FOLDER):
                name = Path(value.text()).name
                raise value.error(
                    f"a service writes below {STATE_FOLDER} alone: file: {STATE_FOLDER / name}"
                )


def _refuse_what_stays(root: Located) -> None:
    """Raise ConfigError for what a config in another folder, or a service, would not find."""
    words = {name.text(): value for name, value in root.entries()}
    named = [(words["maps"], words["maps"].text())] if "maps" in words else []
    for _, settings in words["meters"].entries():
        for word, value in settings.entries():
            if word.text() == "source":
                named += [(value, path) for path in _files_of(SourceAddress.parse(value.text()))]
    for item in words["listeners"].items():
        here = {word.text(): value for word, value in item.entries()}
        if Transport.TLS in here:
            named += [
                (value, value.text().removeprefix("file:"))
                for word, value in here.items()
                if word in ("certificate", "key", "clients_ca")
            ]
    for written, path in named:
        if not Path(path).is_absolute():
            raise written.error(
                f"name it by its whole path, as /etc/obisgate/{path}: the config moves to {CONFIG}"
            )
        refuse_home(Path(path), "a service sees no home: move it to /etc/obisgate", written)


def _files_of(address: SourceAddress) -> Iterator[str]:
    """Yield the files that a source names."""
    if address.kind == "recording":
        yield address.target
    if "ca" in address.options:
        yield address.options["ca"]
    kind, colon, path = address.options.get("password", "").partition(":")
    if colon and kind == "file":
        yield path


def refuse_home(path: Path, advice: str, written: Located | None = None) -> None:
    """Raise ConfigError for a path that a service does not see, at the place that names it."""
    if any(path.is_relative_to(home) for home in HOMES):
        text = f"{path} is in a home directory; {advice}"
        raise written.error(text) if written else ConfigError(text)
