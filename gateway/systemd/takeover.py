"""From a config that somebody has tried to the one that a service reads.

Its key and password files become credentials; what a service could not find or may not reach is
refused.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config, Transport
from gateway.keys import CREDENTIALS_FOLDER, is_credential_name, read_key_file, read_password
from gateway.located import ConfigError, Located, load
from gateway.sources import SourceAddress

CONFIG = Path("/etc/obisgate/config.yaml")
STATE_FOLDER = Path("/var/lib/obisgate")
# What ProtectHome= and PrivateTmp= hide from a service.
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there

At = Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be installed. `copied` is the text of a new config, None: it is there already.

    `credentials` are the names of all keys and passwords, `keys` the files from which those come
    that are new.
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


@dataclass(frozen=True, slots=True)
class _Secret:
    """A key or password of a config: of which meter, under which word, and what names it."""

    meter: str
    word: str
    written: Located
    named: str

    @property
    def what(self) -> str:
        return "password" if self.word == "password" else "key"

    def read(self, file: Path) -> object:
        """Return what stands in a file of it, to be compared."""
        if self.what == "key":
            return read_key_file(file)
        return read_password(f"file:{file}", Path())

    def change(self, text: str, credential: str) -> tuple[slice, str]:
        """Return the place in a config's text that named it, and what names it from now on."""
        place = slice(self.written.node.start_mark.index, self.written.node.end_mark.index)
        if self.what == "key":
            if text[place].strip("\"'") == self.named:
                return place, f"credential:{credential}"
            raise self.written.error("write it plainly, for it to be changed: key: file:house.key")
        option = f"password={self.named}"
        if text[place].count(option) == 1:
            return place, text[place].replace(option, f"password=credential:{credential}")
        raise self.written.error(
            "write the password plainly, for it to be changed: password=file:mqtt.password"
        )


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
        raise ConfigError(
            f"{there} is there already, and is not overwritten: edit it there, and leave out "
            "--config"
        )
    return _taken_over(at, given)


def _present(at: At, file: Path) -> Wanted:
    config = _read(file, at)
    root = load(read_text(file), str(file))
    _refuse_unwritable(root, at)
    credentials = set()
    for secret in _secrets(root):
        kind, _, name = secret.named.partition(":")
        if kind != "credential":
            raise secret.written.error(
                f"a service gets its {secret.what}s from systemd: put this one into "
                f"{CREDENTIALS_FOLDER}, a file that only root can read, and write credential:FILE "
                "here"
            )
        credentials.add(name)
    return Wanted(config, None, credentials, {})


def _taken_over(at: At, file: Path) -> Wanted:
    """Read a user's config; its secrets become credentials, and nothing else may be lost."""
    config = _read(file, at)
    text = read_text(file)
    root = load(text, str(file))
    _refuse_unwritable(root, at)
    _refuse_what_stays(root)
    keys: dict[str, Path] = {}
    credentials: set[str] = set()
    changes: dict[int, tuple[slice, str]] = {}  # by where in the text they begin
    for secret in _secrets(root):
        kind, _, name = secret.named.partition(":")
        if kind == "credential":
            credentials.add(name)
            continue
        begin = secret.written.node.start_mark.index
        if begin in changes:
            continue  # a YAML alias: one place in the text for several meters
        if kind != "file":
            raise secret.written.error(
                f"a service gets its {secret.what}s from files: write file:house.{secret.what} here"
            )
        source = file.parent / name
        kept_as = (
            source.name if is_credential_name(source.name) else f"{secret.meter}.{secret.word}"
        )
        if kept_as in keys and keys[kept_as] != source:
            kept_as = f"{secret.meter}-{kept_as}"
        if not is_credential_name(kept_as) or keys.get(kept_as, source) != source:
            raise secret.written.error(
                "rename the file: letters, digits, dots and dashes, as house.key"
            )
        target = at(CREDENTIALS_FOLDER / kept_as)
        if target.exists() and secret.read(target) != secret.read(source):
            raise secret.written.error(
                f"{target} is there already with another {secret.what}: move it away"
            )
        keys[kept_as] = source
        credentials.add(kept_as)
        changes[begin] = secret.change(text, kept_as)
    for _, (place, changed) in sorted(changes.items(), reverse=True):
        text = text[: place.start] + changed + text[place.stop :]
    return Wanted(config, text, credentials, keys)


def _read(file: Path, at: At) -> Config:
    """Read a config with the credentials that it will have."""
    os.environ["CREDENTIALS_DIRECTORY"] = str(at(CREDENTIALS_FOLDER))
    return Config.read(file)


def read_text(file: Path) -> str:
    """Return what stands in a config or key file."""
    return file.read_text(encoding="utf-8-sig")


def _secrets(root: Located) -> Iterator[_Secret]:
    """Yield each key and password of a config."""
    words = {name.text(): value for name, value in root.entries()}
    for meter, settings in words["meters"].entries():
        for word, value in settings.entries():
            if word.text() in ("key", "auth_key"):
                yield _Secret(meter.text(), word.text(), value, value.text())
            elif word.text() == "source":
                options = SourceAddress.parse(value.text()).options
                if "password" in options:
                    yield _Secret(meter.text(), "password", value, options["password"])


def _refuse_unwritable(root: Located, at: At) -> None:
    """Raise ConfigError for what a service, to which the system is read-only, could not write."""
    words = {name.text(): value for name, value in root.entries()}
    if "state" in words:
        raise words["state"].error(f"leave it out: a service keeps its state in {STATE_FOLDER}")
    for _, settings in words["meters"].entries():
        record = {word.text(): value for word, value in settings.entries()}.get("record")
        for word, value in record.entries() if record else []:
            if word.text() == "file" and not _is_below_state(Path(value.text()), at):
                name = Path(value.text()).name
                raise value.error(
                    f"a service writes below {STATE_FOLDER} alone: file: {STATE_FOLDER / name}"
                )


def _is_below_state(path: Path, at: At) -> bool:
    """Tell whether a file is really there where a service may write, whatever links lead to it."""
    return path.is_absolute() and at(path).resolve().is_relative_to(at(STATE_FOLDER).resolve())


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
        refuse_unseen(Path(path), "a service does not see it: move it to /etc/obisgate", written)


def _files_of(address: SourceAddress) -> Iterator[str]:
    """Yield the files that a source names."""
    if address.kind == "recording":
        yield address.target
    if "ca" in address.options:
        yield address.options["ca"]


def refuse_unseen(path: Path, advice: str, written: Located | None = None) -> None:
    """Raise ConfigError for a path that a service does not see, at the place that names it."""
    # Links lead there as well.
    real = path.resolve()
    for folders, which in ((HOMES, "a home directory"), (TEMPORARY, "a folder of temporary files")):
        if any(each.is_relative_to(folder) for each in (path, real) for folder in folders):
            leads = "" if real == path else f", which is {real},"
            text = f"{path}{leads} is in {which}; {advice}"
            raise written.error(text) if written else ConfigError(text)
