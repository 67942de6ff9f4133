"""Where keys and passwords are kept: private files, the environment, what systemd hands over."""

import os
import re
import stat
from pathlib import Path

from gateway.located import ConfigError
from gateway.telegram import Key
from gateway.telegram.ciphering import KEY_BYTES

CREDENTIALS_FOLDER = Path("/etc/obisgate/keys")  # where an installed service has them
SAVE_AS_TEXT = "save it as UTF-8"
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def is_hex_key(text: str) -> bool:
    """Tell whether a text that should name a key is a key itself, in hex digits."""
    try:
        Key.parse(text)
    except ValueError:
        return False
    return len(text) > KEY_BYTES  # any 16 characters may be a key, and a name as well


def refuse_open_file(path: Path, what: str = "key file") -> None:
    """Raise ConfigError for a key file, or what else it is, that others can reach or is none."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist") from None
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{what} {path} cannot be read: {why}") from None
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{what} {path} cannot be read: Is a directory")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{what} {path} can be read by others: chmod 600 {path}")


def read_key_file(path: Path) -> Key:
    """Read a key file; ConfigError or ValueError, without a byte of it, if that cannot be."""
    text = _read_private(path, "key file", "write the key as 32 hex digits")
    try:
        return Key.parse(text)
    except ValueError as problem:
        raise ConfigError(f"key file {path}: {problem}") from None


def read_key_variable(name: str) -> Key:
    """Read a key from an environment variable; ConfigError, without a byte of it, if bad."""
    if name not in os.environ:
        raise ConfigError(f"environment variable {name} is not set")
    try:
        return Key.parse(os.environ[name])
    except ValueError as problem:
        raise ConfigError(f"environment variable {name}: {problem}") from None


def read_key_credential(name: str) -> Key:
    """Read a key that systemd hands over; ConfigError, without a byte of it, if that cannot be."""
    text = _read_credential(name, "write the key as 32 hex digits")
    try:
        return Key.parse(text)
    except ValueError as problem:
        raise ConfigError(f"credential {name}: {problem}") from None


def _read_credential(name: str, advice: str) -> str:
    """Read what systemd hands over (systemd.exec(5), LoadCredential=); `advice` is for no text.

    Who may read it is systemd's care, and not seen in the file's mode.
    """
    if not is_credential_name(name):
        raise ConfigError(f"{name!r} is no name of a credential; one looks like house.key")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"credential {name} is handed over by systemd, which has not started this; by hand: "
            f"CREDENTIALS_DIRECTORY={CREDENTIALS_FOLDER}, as root"
        )
    try:
        return (Path(folder) / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"credential {name} is not among those in {folder}: LoadCredential={name}:… in the unit"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"credential {name} is no text: {advice}") from None
    except OSError as problem:
        raise ConfigError(f"credential {name} cannot be read: {problem.strerror}") from None


def is_credential_name(name: str) -> bool:
    """Tell whether systemd could name a credential so: a file name without odd characters."""
    return _CREDENTIAL.fullmatch(name) is not None


def read_password(written: str, folder: Path) -> str:
    """Read a password from file:PATH, which starts in `folder`, env:NAME or credential:NAME.

    ConfigError, without a letter of it, if that cannot be.
    """
    kind, colon, name = written.partition(":")
    if kind == "file" and colon:
        text = _read_private(folder / name, "password file", SAVE_AS_TEXT)
        where = f"password file {folder / name}"
    elif kind == "env" and colon:
        if name not in os.environ:
            raise ConfigError(f"environment variable {name} is not set")
        text, where = os.environ[name], f"environment variable {name}"
    elif kind == "credential" and colon:
        text, where = _read_credential(name, SAVE_AS_TEXT), f"credential {name}"
    else:
        raise ConfigError(
            "a password stands in a file, a variable or a credential: "
            "file:PATH, env:NAME or credential:NAME"
        )
    password = text.rstrip("\r\n")
    if not password:
        raise ConfigError(f"{where} is empty")
    return password


def _read_private(path: Path, what: str, advice: str) -> str:
    """Read a text that only its owner can read; `advice` is for one that is no text."""
    try:
        refuse_open_file(path, what)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{what} {path} is no text: {advice}") from None
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(f"{what} {path} cannot be read: {why}") from None
