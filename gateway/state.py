"""What is remembered of the meters over a restart: one small file, written whole or not at all."""

import errno
import fcntl
import json
import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from zlib import crc32

from gateway.snapshot.plausibility import ENERGIES, Seen

VERSION = 1
MAX_VERSION = 1000  # there never was
HEAD_BYTES = 256
_HEAD = b'{\n "version": 1,\n "meters": {'
_STATE = re.compile(rb'\s*\{\s*"version"\s*:[^,]*,\s*"meters"\s*:')
FOREIGN = "is no state of obisgate, and stays as it is: name another file as state"

TITLE_BYTES = 8
MAX_COUNTER = 2**32 - 1
MAX_ENERGY = 10**24  # 64 bits in steps of 10 kWh are less


class _OtherVersionError(Exception):
    """The file was written by an older or newer obisgate."""


class StateFile:
    """The file of one gateway. Its errors are OSError, with the path in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._writing = threading.Lock()

    def claim(self) -> bool:
        """Keep the file for this process until `release`; False: another gateway has it.

        The lock is a file beside it, as its own is replaced by each write. Where none can be made
        nothing can be written either, which is said then.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_name(f"{self.path.name}.lock")
            lock = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError:  # a file system without locks
            pass
        self._lock = lock
        return True

    def release(self) -> None:
        """Leave the file to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> tuple[dict[str, Seen], str | None]:
        """Return what is remembered by meter name, and in words what was wrong with the file.

        A damaged file is set aside: its name gets .damaged, and nothing is remembered. So is one of
        another version of obisgate, which may be installed again: .version2. What never was a state
        stays as it is.
        """
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return {}, None
        except (OSError, ValueError) as problem:
            return {}, f"{self.path} cannot be read: {problem}; nothing is remembered"
        if not _is_state(octets[:HEAD_BYTES]):
            return {}, f"{self.path} {FOREIGN}; nothing is remembered"
        try:
            return _parse(octets), None
        except _OtherVersionError as problem:
            return {}, self._set_aside(f"version{problem}", "is of another version of obisgate")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return {}, self._set_aside("damaged", "is damaged")

    def _set_aside(self, ending: str, what: str) -> str:
        """Rename the file; return in words what was wrong with it and where it is now."""
        aside = self.path.with_name(f"{self.path.name}.{ending}")
        try:
            self.path.replace(aside)
        except OSError as problem:
            return f"{self.path} {what}, and cannot be set aside: {problem.strerror}"
        was = what.replace("is", "was", 1)
        return f"{self.path} {was}: set aside as {aside.name}; nothing is remembered"

    def write(self, meters: Mapping[str, Seen]) -> None:
        """Replace the file; whoever reads it, at any moment, finds the old one or the new one.

        FileExistsError if another file stands there.
        """
        # On a slow disk the last write before the end comes while the one before goes on.
        with self._writing:
            self._write(_render(meters))

    def _write(self, text: str) -> None:
        with suppress(FileNotFoundError), self.path.open("rb") as present:
            if not _is_state(present.read(HEAD_BYTES)):
                raise FileExistsError(errno.EEXIST, f"it {FOREIGN}", str(self.path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.new")
        # What a house uses is nobody else's business.
        own = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(own, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # else a power cut may undo the new name
        finally:
            os.close(folder)


def default_path(config: Path) -> Path:
    """Return where a gateway with this config keeps its state: systemd's place, else the user's."""
    if folder := os.environ.get("STATE_DIRECTORY"):
        return Path(folder.split(":")[0]) / "obisgate.json"
    home = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    try:
        home = home.expanduser()
    except RuntimeError:  # a user without a home
        home = config.parent
    config = config.resolve()
    return home / "obisgate" / f"{config.stem[:40]}-{digest_of(config)}.json"


def digest_of(config: Path) -> str:
    """Return what tells the gateway of one config from a user's others, as 8 hex digits."""
    # Two configs are two gateways: /a-b/c.yaml is not /a/b-c.yaml. Nobody wants to deceive here,
    # so a CRC will do; SHA-256 takes a quarter of a megabyte, from hashlib even half of one.
    return f"{crc32(os.fsencode(config)):08x}"


def _render(meters: Mapping[str, Seen]) -> str:
    remembered = {
        name: {
            "system_title": seen.meter.hex(),
            "invocation_counter": seen.counter,
            "clock": seen.clock.isoformat() if seen.clock else None,
            "energies": {each: seen.numbers[each] for each in ENERGIES if each in seen.numbers},
        }
        for name, seen in meters.items()
    }
    return json.dumps({"version": VERSION, "meters": remembered}, indent=1) + "\n"


def _is_state(head: bytes) -> bool:
    """Tell by its first bytes a state, also a damaged one, from a file that is not ours.

    Empty it is one, or all zeros, as a power cut may leave it.
    """
    return not head.strip(b"\0") or bool(_STATE.match(head)) or _HEAD.startswith(head)


def _parse(octets: bytes) -> dict[str, Seen]:
    document = json.loads(octets.decode())
    version = document["version"]
    if version != VERSION:
        if isinstance(version, int) and 0 < version < MAX_VERSION:
            raise _OtherVersionError(version)
        raise ValueError("no version")
    found = {}
    for name, each in document["meters"].items():
        energies = {str(k): v for k, v in each["energies"].items()}
        # NaN, infinity and thousands of digits are JSON to Python, too.
        if not all(0 <= v <= MAX_ENERGY and k in ENERGIES for k, v in energies.items()):
            raise ValueError("no energies")
        clock = datetime.fromisoformat(each["clock"]) if each["clock"] else None
        counter = each["invocation_counter"]
        if not isinstance(counter, int) or not 0 <= counter <= MAX_COUNTER:
            raise ValueError("no counter")
        title = bytes.fromhex(each["system_title"])
        if len(title) != TITLE_BYTES:
            raise ValueError("no system title")
        found[str(name)] = Seen(title, counter, energies, clock, None)
    return found
