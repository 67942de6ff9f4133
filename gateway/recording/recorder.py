"""Records beside the gateway, which never waits for a disk: a thread of its own writes."""

import queue
import threading
from collections.abc import Callable, Sequence

from gateway.recording import lines
from gateway.recording.file import MAX_BATCH_BYTES, FullError, RecordingError, RecordingFile
from gateway.recording.lines import Chunk

# An SD card is written to once in so long, whatever comes.
GATHER_S = 5.0
MAX_WAITING = 2000  # chunks, of 1,024 bytes at most
RETRY_S = 60.0
LAST_WORDS_S = 5.0


class Recorder:
    """Writes one source's chunks to a file. What goes wrong is said once, and drops chunks.

    `began` is when its file's run began, on the clock that `take` is given.
    """

    def __init__(self, file: RecordingFile, began: float, say: Callable[[str], None]) -> None:
        self._file = file
        self._began = began
        self._say = say
        self._waiting: queue.Queue[bytes] = queue.Queue(MAX_WAITING)
        self._wanted = threading.Event()  # do not gather any longer
        self._is_ending = False
        self._dropped = 0
        self._is_complained = False
        self._is_full = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Return how many chunks are not written yet."""
        return self._waiting.qsize()

    def take(self, chunk: bytes, damaged: Sequence[int], now: float) -> None:
        """Take bytes that came at `now` (seconds, monotonic)."""
        if self._is_full:
            return
        at_ms = round(1000 * (now - self._began))
        try:
            self._waiting.put_nowait(lines.write(Chunk(at_ms, chunk, tuple(damaged))))
        except queue.Full:
            self._dropped += 1
        if self.waiting > MAX_WAITING // 2:
            self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits; a disk that hangs is not waited for."""
        self._is_ending = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(LAST_WORDS_S)

    def _run(self) -> None:
        try:
            self._write_until_over()
        finally:
            self._file.close()

    def _write_until_over(self) -> None:
        pause_s, is_last = GATHER_S, False
        while not is_last:
            self._wanted.wait(pause_s)
            self._wanted.clear()
            is_last = self._is_ending
            try:
                self._write_waiting(is_last=is_last)
                pause_s = GATHER_S
            except FullError as full:
                self._is_full = True
                self._say(f"{full}: nothing more is recorded")
                return
            except RecordingError as problem:
                pause_s = RETRY_S
                if not self._is_complained:
                    self._say(f"{problem}; nothing is recorded until it can be")
                self._is_complained = True

    def _write_waiting(self, *, is_last: bool) -> None:
        """Write all that waits."""
        while batch := self._batch():
            try:
                self._file.append(batch, is_last=is_last)
            except RecordingError:
                self._dropped += len(batch)
                raise
            if self._dropped:
                missing, self._dropped = self._dropped, 0
                self._say(f"{self._file.path} is written again; {missing} pieces are missing in it")
            self._is_complained = False

    def _batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while size < MAX_BATCH_BYTES // 2:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
            size += len(batch[-1])
        return batch
