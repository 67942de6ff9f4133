"""A recording: raw bytes as they came from a meter."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.sources.address import SourceAddress
from gateway.sources.source import Deliver, SourceError

CHUNK_BYTES = 64
BITS_A_BYTE = 11  # start, 8 data, parity, stop


@dataclass(frozen=True, slots=True)
class RecordingSource:
    """Plays a file of raw bytes: at once, or as fast as a line of `baud` would carry them."""

    path: Path
    baud: int | None = None

    @classmethod
    def parse(cls, address: SourceAddress) -> "RecordingSource":
        """Read recording:meter.bin?baud=2400; ValueError says what is wrong."""
        address.allow(("baud",))
        return cls(Path(address.target), address.integer("baud", None, lowest=50))

    def describe(self) -> str:
        """Return the file and its pace."""
        return f"recording {self.path}, {f'{self.baud} baud' if self.baud else 'at once'}"

    @property
    def is_lasting(self) -> bool:
        """Return False: each run begins it anew."""
        return False

    def trouble(self) -> str | None:
        """Return why the file cannot be read."""
        try:
            if self.path.exists() and not self.path.is_file():
                return f"{self.path} is no recording: a recording is a file"
            with self.path.open("rb"):
                return None
        except (OSError, ValueError) as problem:
            return f"{self.path} cannot be read: {getattr(problem, 'strerror', None) or problem}"

    async def run(self, deliver: Deliver, _opened: Callable[[], None]) -> None:
        """Deliver the file's bytes, once."""
        if trouble := self.trouble():
            raise SourceError(trouble)
        pause_s = CHUNK_BYTES * BITS_A_BYTE / self.baud if self.baud else 0.0
        try:
            with self.path.open("rb") as recording:
                while chunk := recording.read(CHUNK_BYTES):
                    # The line is busy first, then the bytes are there.
                    await asyncio.sleep(pause_s)
                    deliver(chunk)
        except OSError as problem:
            raise SourceError(f"{self.path} cannot be read: {problem.strerror}") from None
