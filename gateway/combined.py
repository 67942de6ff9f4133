"""A virtual meter that runs: told of its meters' telegrams, it says when one of them is missing."""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping

from gateway.config import VirtualMeterConfig
from gateway.snapshot import Adjustment
from gateway.virtual_meter import Combinable, Part, VirtualMeter

log = logging.getLogger(__name__)


class Combined:
    """One virtual meter. `known` are the meters that it can be made of, by name.

    `adjustments` are how they are seen in it; `roots` name the meters with a source of which it is
    made in the end; `unsafe` says, as a part of a log line, which units serve it also when stale.
    """

    def __init__(
        self,
        config: VirtualMeterConfig,
        known: Mapping[str, Combinable],
        adjustments: Mapping[str, Adjustment],
        roots: Collection[str],
        unsafe: str,
    ) -> None:
        name = config.name
        parts = [Part(known[each], adjustments.get(each, Adjustment())) for each in config.parts]
        self.config = config
        self.roots = roots
        self.meter = VirtualMeter(
            name, config.how, parts, config.hold_s, lambda text: log.warning("%s: %s", name, text)
        )
        self._unsafe = unsafe
        self._came = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    def take(self, now: float) -> None:
        """Take part in a telegram of one of its meters, or in what they all say already."""
        if self.meter.take(now):
            self._came.set()

    def start(self) -> None:
        """Begin to watch it."""
        if self._work is None:
            self._work = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch it no more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    def status(self, now: float) -> dict[str, object]:
        """Return how it does at `now`, as plain values."""
        freshness = self.meter.freshness
        age_s = freshness.age_s(now)
        return {
            "made_of": self.config.describe(),
            "state": str(freshness.state(now)),
            "age_s": None if age_s is None else round(age_s, 3),
            "hold_s": freshness.hold_s,
            "late": self.meter.late(now),
        }

    async def _watch(self) -> None:
        """Say once when one of its meters falls silent, and once when all are back."""
        freshness = self.meter.freshness
        while True:
            await self._until_stale()
            log.warning(
                "%s: no good telegram of %s for %g s; its values are not served until one comes%s",
                self.meter.name,
                " and ".join(self.meter.late(time.monotonic())),
                freshness.hold_s,
                self._unsafe,
            )
            self._came.clear()
            await self._came.wait()
            log.warning("%s: telegrams of all its meters come again", self.meter.name)

    async def _until_stale(self) -> None:
        """Wait until one has been silent for the hold time, from now on if it never spoke."""
        freshness, began = self.meter.freshness, time.monotonic()
        while True:
            last = began if freshness.received is None else freshness.received
            left_s = last + freshness.hold_s - time.monotonic()
            if left_s < 0:
                return
            await asyncio.sleep(left_s + 0.01)
