"""A meter with its source: reads it, and says what goes wrong with it."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from gateway.config import MeterConfig
from gateway.health import SILENT_S, Diagnosis, Health
from gateway.meter import Heard, Held, Meter, News
from gateway.snapshot import Judge
from gateway.snapshot.plausibility import Seen
from gateway.sources import Source, SourceError, keep_running
from gateway.sources.source import Deliver, Opened
from gateway.telegram import Fault, Layer, Layout, Telegram

if TYPE_CHECKING:
    from gateway.recording import Recorder  # imported when a meter is recorded

log = logging.getLogger(__name__)

FAULT_PAUSE_S = 10.0  # between two log lines about the same layer or trouble of the same meter
DEFECT_PAUSE_S = 5.0  # before a meter at which the program failed is read again
# A program that stood still finds what came meanwhile in the system's buffers, and cannot tell how
# old it is.
STOOD_STILL_S = 3.0
# A source is opened anew after a second. What was opened sooner, such as the connection of an
# adapter that dialled in meanwhile, may have waited as well.
OPENING_S = 0.8

Hear = Callable[[Meter, Telegram], None]


class LastFault(NamedTuple):
    """A fault, and when it was heard (seconds, monotonic)."""

    fault: Fault
    heard: float


class MeterWatch:
    """Reads one meter. `past` is what was remembered of it, `hear` is told of good telegrams.

    `unsafe` says, as a part of a log line, which units serve it also when it is stale;
    `stood_still_s`, for how long the program stood still just before a time, since another.
    """

    def __init__(
        self,
        config: MeterConfig,
        layouts: Sequence[Layout],
        past: Seen | None,
        hear: Hear,
        unsafe: str,
        stood_still_s: Callable[[float, float], float] = lambda _now, _since: 0.0,
    ) -> None:
        self.config = config
        self.unsafe = unsafe
        self.layouts = layouts
        self._line = _Line(config.source)
        judge = Judge(config.connection_a, past if config.source.is_lasting else None)
        began = time.monotonic()
        self.meter = Meter(
            config.name, config.decoder(layouts), judge, config.hold_s, self._hear, began
        )
        self._tell = hear
        self._health = Health(began, max(SILENT_S, config.hold_s))
        self._diagnosis: Diagnosis | None = None
        self._diagnosed: dict[str, float] = {}  # when it was last said, since the last telegram
        self._came = asyncio.Event()
        self._hold_changed = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._stood_still_s = stood_still_s
        self._opened = began
        self._is_stopping = False
        self._recorder = _recorder(config)
        self._reading: asyncio.Task[None] | None = None
        self._said: dict[Layer, float] = {}  # when a fault of that layer was last logged
        self._unsaid: Counter[Layer] = Counter()
        self._last_fault: LastFault | None = None
        self._title: bytes | None = None  # of the last good telegram

    @property
    def past(self) -> Seen | None:
        """Return what the next run must know; None of what is no lasting meter."""
        return self.meter.judge.last if self.config.source.is_lasting else None

    @property
    def has_died(self) -> bool:
        """Tell whether nobody reads the meter any more, though nobody stopped it.

        A source that has ended, or at which the program failed, is cared for in `_keep_working`.
        """
        is_lost = self._reading is not None and self._reading.cancelled()
        return is_lost or (self._work is not None and self._work.done())

    def start(self) -> None:
        """Begin to read the meter, unless that goes on already."""
        if self._work is None:
            self._work = asyncio.create_task(self._keep_working())

    async def stop(self) -> None:
        """Read no more; the source is closed when this returns, and the recording whole."""
        self._is_stopping = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        if self._recorder:
            await asyncio.to_thread(self._recorder.close)

    def change(self, config: MeterConfig, unsafe: str) -> None:
        """Take another hold time, and what else leaves the meter the same."""
        if config.record != self.config.record:
            if self._recorder:
                asyncio.get_running_loop().run_in_executor(None, self._recorder.close)
            self._recorder = _recorder(config)
        self.config, self.unsafe = config, unsafe
        if self.meter.freshness.hold_s != config.hold_s:
            self.meter.freshness.hold_s = config.hold_s
            self._health.silent_s = max(SILENT_S, config.hold_s)
            self._hold_changed.set()

    async def _keep_working(self) -> None:
        """Read the meter, and begin anew if the program fails at it: other meters go on.

        Its values age meanwhile. What it failed at is not kept; that it fails is said each time.
        """
        said: set[str] = set()
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._reading = tasks.create_task(self._read())
                    tasks.create_task(self._watch())
            except ExceptionGroup as failures:
                if self._is_stopping:
                    return  # a group that fails as it is cancelled does not tell of the latter
                failure = failures.exceptions[0]
                # With its traceback the first time.
                shown = None if repr(failure) in said else failure
                said.add(repr(failure))
                log.error(
                    "%s: the program failed at this meter (%s: %s), and reads it anew in %g s; "
                    "please report this",
                    self.meter.name,
                    type(failure).__name__,
                    failure,
                    DEFECT_PAUSE_S,
                    exc_info=shown,
                )
            await asyncio.sleep(DEFECT_PAUSE_S)
            judge = Judge(self.config.connection_a, self.meter.judge.last)
            self.meter.start_over(self.config.decoder(self.layouts), judge)

    async def _read(self) -> None:
        """Feed the meter from its source, for as long as that goes on."""
        name = self.meter.name
        await keep_running(
            self._line,
            self._take,
            lambda text: log.warning("%s: %s", name, text),
            self._begin_anew,
        )
        self.meter.finish()
        log.warning("%s: %s has ended", name, self._line.describe())

    async def _watch(self) -> None:
        """Say once when the meter falls silent, and once when it is back."""
        freshness = self.meter.freshness
        started = time.monotonic()
        while True:
            last = started if freshness.received is None else freshness.received
            left_s = last + freshness.hold_s - time.monotonic()
            if left_s >= 0:
                self._hold_changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s + 0.01):
                        await self._hold_changed.wait()
                continue
            log.warning(
                "%s: no good telegram for %g s; its values are not served until one comes%s",
                self.meter.name,
                freshness.hold_s,
                self.unsafe,
            )
            self._diagnose(time.monotonic())
            self._came.clear()
            await self._came.wait()
            log.warning("%s: telegrams come again", self.meter.name)

    def status(self, now: float) -> dict[str, object]:
        """Return how the meter does at `now`, as plain values."""
        line, freshness, counts = self._line, self.meter.freshness, self.meter.diagnostics
        diagnosis = self._health.diagnosis(now)
        last = self._last_fault
        return {
            "source": line.describe(),
            "open": line.is_open,
            "trouble": line.trouble_text,
            "bytes": line.bytes,
            "damaged": line.damaged,
            "last_byte_age_s": _age_s(line.last_byte, now),
            "state": str(freshness.state(now)),
            "age_s": _age_s(freshness.received, now),
            "hold_s": freshness.hold_s,
            "telegrams": counts.telegrams,
            "held": counts.held,
            "faults": {str(layer): number for layer, number in counts.faults.items()},
            "last_fault": last
            and {
                "layer": str(last.fault.layer),
                "reason": last.fault.reason,
                "offset": last.fault.offset,
                "age_s": _age_s(last.heard, now),
            },
            "diagnosis": diagnosis and {"kind": str(diagnosis.kind), "text": diagnosis.text},
            "invocation_counter": counts.invocation_counter,
            "system_title": self._title and self._title.hex().upper(),
        }

    def _begin_anew(self) -> None:
        self._opened = time.monotonic()
        self.meter.begin_anew()

    def _take(self, chunk: bytes, damaged: Sequence[int] = ()) -> int | None:
        now = time.monotonic()
        if self._recorder:
            self._recorder.take(chunk, damaged, now)
        self._line.bytes_came(len(chunk), len(damaged), now)
        stood_s = self._stood_still_s(now, self._opened - OPENING_S)
        if stood_s > STOOD_STILL_S and self.config.source.is_lasting:
            # Opened anew, it has nothing of what waits.
            raise SourceError(
                f"the program stood still for {stood_s:.0f} s; what came meanwhile may be old, "
                "and is dropped"
            )
        self._health.bytes_came(chunk, len(damaged), now)
        self.meter.take(chunk, now, damaged)
        self._diagnose(now)
        return self.meter.missing

    def _diagnose(self, now: float) -> None:
        """Say what is wrong between the line and the values, once as long as it stays the same.

        Noise of several kinds looks now like this, now like that.
        """
        diagnosis = self._health.diagnosis(now)
        if diagnosis and diagnosis != self._diagnosis:
            said = self._diagnosed
            if now - said.get(diagnosis.text, -FAULT_PAUSE_S) >= FAULT_PAUSE_S:
                log.warning("%s: %s", self.meter.name, diagnosis.text)
                self._diagnosed = {
                    text: at for text, at in said.items() if now - at < FAULT_PAUSE_S
                }
                self._diagnosed[diagnosis.text] = now
        self._diagnosis = diagnosis

    def _hear(self, item: Heard) -> None:
        if isinstance(item, Telegram | Fault):
            self._health.heard(item, time.monotonic())
        if isinstance(item, Telegram):
            self._title = item.meter
            self._diagnosed.clear()
            self._came.set()
            self._tell(self.meter, item)
        elif isinstance(item, Held):
            # The line and the key are good; what the telegram says is not yet believed.
            self._health.heard(item.telegram, time.monotonic())
        elif isinstance(item, News):
            log.warning("%s: %s", self.meter.name, item.text)
        else:
            self._say(item)

    def _say(self, fault: Fault) -> None:
        """Log a fault, unless one of its layer was logged just before: noise comes in floods."""
        now = time.monotonic()
        self._last_fault = LastFault(fault, now)
        if now - self._said.get(fault.layer, -FAULT_PAUSE_S) < FAULT_PAUSE_S:
            self._unsaid[fault.layer] += 1
            return
        more = self._unsaid.pop(fault.layer, 0)
        self._said[fault.layer] = now
        text = f"{fault.layer} fault at byte {fault.offset}: {fault.reason}"
        since = f" ({more} more since the last one that was shown)" if more else ""
        log.warning("%s: %s%s", self.meter.name, text, since)


def _recorder(config: MeterConfig) -> "Recorder | None":
    if config.record is None:
        return None
    from gateway.recording import Began, Recorder

    began = time.monotonic()
    file = config.record.recording(Began(datetime.now().astimezone(), config.source.describe()))
    return Recorder(file, began, lambda text: log.warning("%s: %s", config.name, text))


class _Line:
    """A source, and what shows of it: whether it is open, and what came.

    `is_open` is None as long as that is not known: some sources have nothing to open.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.is_open: bool | None = None
        self.trouble_text: str | None = None
        self.bytes = 0
        self.damaged = 0
        self.last_byte: float | None = None

    def describe(self) -> str:
        """Return what it is, for people."""
        return self._source.describe()

    @property
    def is_lasting(self) -> bool:
        """Tell whether it brings the same meter in the next run."""
        return self._source.is_lasting

    def trouble(self) -> str | None:
        """Return why it could not be opened now."""
        return self._source.trouble()

    def bytes_came(self, count: int, damaged: int, now: float) -> None:
        """Count bytes."""
        self.is_open, self.trouble_text = True, None
        self.bytes += count
        self.damaged += damaged
        self.last_byte = now

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Run the source, and note how that goes."""

        def noted(caveat: str = "") -> None:
            self.is_open, self.trouble_text = True, None
            opened(caveat)

        try:
            await self._source.run(deliver, noted)
        except SourceError as problem:
            self.trouble_text = str(problem)
            raise
        else:
            self.trouble_text = f"{self.describe()} has ended"
        finally:
            self.is_open = False


def _age_s(since: float | None, now: float) -> float | None:
    return None if since is None else round(max(0.0, now - since), 3)
