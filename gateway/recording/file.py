"""The file of a recording: appended to, never beyond its size, its older parts kept or not."""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gateway.recording import lines
from gateway.recording.lines import Began

MAX_BATCH_BYTES = 16384
DEFAULT_MAX_BYTES = 10 << 20
# A file must hold a batch of lines and what stands above them.
MIN_MAX_BYTES = 2 * MAX_BATCH_BYTES
MAX_ROTATE = 1000


class RecordingError(Exception):
    """A recording cannot be written now; the text says why, in words."""


class FullError(RecordingError):
    """A recording has reached its size, and its older parts are not to be kept."""


class RecordingFile:
    """Appends one run of a recorder to a file of at most `max_bytes`.

    With `rotate` a full file becomes FILE.1, FILE.1 becomes FILE.2 …, and so many of them are
    kept. It is locked from the first line to `close`, against a second recorder whose times would
    mix with ours; one that somebody moves away is begun anew.
    """

    def __init__(
        self, path: Path, began: Began, max_bytes: int = DEFAULT_MAX_BYTES, rotate: int = 0
    ) -> None:
        self.path = path
        self._began = began
        self._max_bytes = max_bytes
        self._rotate = rotate
        self._has_begun = False
        self._descriptor: int | None = None

    def trouble(self) -> str | None:
        """Return why it could not be written now, as far as that shows without writing."""
        try:
            self._refuse_foreign()
            with self.path.open("r+b") as file:
                self._opening(file.fileno(), os.fstat(file.fileno()).st_size)
        except FileNotFoundError:
            folder = self.path.parent
            if not folder.is_dir():
                return f"{self.path} cannot be written: {folder} is no folder"
            if not os.access(folder, os.W_OK):
                return f"{self.path} cannot be written: {folder} may not be written"
        except (OSError, ValueError) as problem:
            return self._refusal(problem)
        return None

    def append(self, batch: Sequence[bytes], *, is_last: bool = False) -> None:
        """Append lines, together at most MAX_BATCH_BYTES or one line; or none of them, and raise.

        RecordingError says why it cannot be. What `is_last` is brought to the disk at once.
        """
        try:
            if not self._append(b"".join(batch), is_last=is_last):
                self._make_room()
                self._append(b"".join(batch), is_last=is_last)
        except (OSError, ValueError) as problem:
            raise RecordingError(self._refusal(problem)) from None

    def close(self) -> None:
        """Leave the file to other recorders."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._has_begun = None, False

    def _refusal(self, problem: Exception) -> str:
        return f"{self.path} cannot be written: {getattr(problem, 'strerror', None) or problem}"

    def _append(self, block: bytes, *, is_last: bool) -> bool:
        """Append a block; False if there is no room for it."""
        descriptor = self._hold()
        size = os.fstat(descriptor).st_size
        block = self._opening(descriptor, size) + block
        if size and size + len(block) > self._max_bytes:
            return False
        try:
            _write_all(descriptor, block)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)  # no half lines, and what room there was
            raise
        if is_last:
            os.fsync(descriptor)
        self._has_begun = True
        return True

    def _hold(self) -> int:
        """Return the file, open and locked by us alone; ValueError if another recorder has it."""
        if self._descriptor is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(self.path.stat(), os.fstat(self._descriptor)):
                    return self._descriptor
            self.close()
        self._refuse_foreign()
        # When somebody is at home is nobody else's business.
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ValueError("another obisgate records into it: name a file of its own") from None
        except OSError:
            pass  # a file system without locks, as some network shares
        self._descriptor = descriptor
        return descriptor

    def _opening(self, descriptor: int, size: int) -> bytes:
        """Return what must stand between the file as it is and our next line."""
        if not size:
            return lines.head() + lines.begin(self._began)
        start = os.pread(descriptor, len(lines.head()), 0)
        if not lines.is_recording(start):
            raise ValueError("it is no recording of obisgate, and stays as it is")
        if start != lines.head():
            raise ValueError("it is a recording of another version, and stays as it is")
        # The line that a run before us could not finish.
        torn = b"" if os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
        return torn + (b"" if self._has_begun else lines.begin(self._began))

    def _make_room(self) -> None:
        if not self._rotate:
            raise FullError(f"{self.path} is full ({shown_size(self._max_bytes)})")
        self._refuse_foreign()
        for number in range(self._rotate - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        self.path.replace(self._older(1))

    def _refuse_foreign(self) -> None:
        """Refuse to rotate what is no recording: sooner or later it would be lost."""
        for number in range(1, self._rotate + 1):
            older = self._older(number)
            if older.exists() and not _is_recording(older):
                raise ValueError(
                    f"{older.name} is no recording of obisgate, and stays as it is: "
                    "older parts are to be kept there"
                )

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def shown_size(count: int) -> str:
    """Return a number of bytes as people read it: 376 B, 12.0 KiB, 10.0 MiB."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def _is_recording(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return lines.is_recording(file.read(len(lines.MARK)))


def _write_all(descriptor: int, block: bytes) -> None:
    while block:
        block = block[os.write(descriptor, block) :]
