"""Telegrams decoded: from bytes to readings, named quantities and registers, × bare AES-GCM.

    python bench/decoding.py [--seconds 10]

The floor is what the cipher alone takes for the same ciphertexts: one reused AESGCM. Each job
works through the same pushes of a simulated meter, all of them different, and the jobs take turns.
What is measured is CPU time, so that other work on the machine disturbs little.
"""

import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from measure import BenchError, best_quartile, interleave, machine, main, ratio, rough, table

from gateway import map_library
from gateway.registers import RegisterMap
from gateway.simulator import Push, SimulatedMeter
from gateway.snapshot import Snapshot
from gateway.telegram import Decoder, Key, Telegram, ciphering
from gateway.telegram.mbus import Frame, FrameReader
from gateway.telegram.obis import Obis
from gateway.telegram.segments import Apdu, Assembler

SECONDS = 10.0
SLICE_S = 0.005
PUSHES = 200
BATCH = 10  # pushes between two looks at the clock
INTERVAL_S = 5.0  # on the clock that the decoder is given, as from a real meter
# honeywell is left out: it sends the list of kaifa-ma309m in as many bytes.
MODELS = ("kaifa-ma309m", "kaifa-ma110m")
MAP = "sunspec_213"
KEY = bytes(range(16))
START = datetime(2026, 6, 21, 4, 0, tzinfo=UTC)

FLOOR = "bare AES-GCM"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter's pushes, and the nonces and ciphertexts inside them."""

    model: str
    pushes: Sequence[Push]
    sealed: Sequence[tuple[bytes, bytes]]

    @classmethod
    def of(cls, model: str) -> "Meter":
        """Let a simulated meter push for a while."""
        meter = SimulatedMeter(model, KEY, seed=1, start=START, interval_s=INTERVAL_S)
        pushes = [meter.push() for _ in range(PUSHES)]
        return cls(model, pushes, [unframe(push.telegram) for push in pushes])


def unframe(telegram: bytes) -> tuple[bytes, bytes]:
    """Return the nonce and the ciphertext of a telegram."""
    assembler = Assembler()
    for frame in FrameReader().feed(telegram, 0.0):
        if isinstance(frame, Frame):
            for apdu in assembler.add(frame):
                sealed = ciphering.parse(apdu.content) if isinstance(apdu, Apdu) else apdu
                if isinstance(sealed, ciphering.Sealed):
                    return sealed.nonce, sealed.ciphertext
    raise BenchError("a simulated telegram holds no ciphertext")


class Jobs:
    """The jobs over one meter's pushes; each call works through the next batch of them."""

    def __init__(self, meter: Meter, register_map: RegisterMap) -> None:
        self._pushes = itertools.cycle(batches([push.telegram for push in meter.pushes]))
        self._sealed = itertools.cycle(batches(meter.sealed))
        self._map = register_map
        self._decoder = Decoder(Key(KEY))
        self._cipher = AESGCM(KEY)
        self._now = time.monotonic()

    def by_name(self) -> dict[str, Callable[[], None]]:
        """Return them in the order of the table."""
        return {
            FLOOR: self.decrypt,
            "telegram": self.decode,
            "telegram, snapshot": self.name,
            "telegram, snapshot, registers": self.render,
        }

    def decrypt(self) -> None:
        """Do what no decoder can do without."""
        encrypt = self._cipher.encrypt
        for nonce, ciphertext in next(self._sealed):
            encrypt(nonce, ciphertext, None)[:-16]

    def decode(self) -> None:
        """Bytes → telegrams."""
        for telegram in next(self._pushes):
            self._feed(telegram)

    def name(self) -> None:
        """Bytes → telegrams → snapshots."""
        for telegram in next(self._pushes):
            Snapshot.of(self._feed(telegram))

    def render(self) -> None:
        """Bytes → telegrams → snapshots → images."""
        for telegram in next(self._pushes):
            self._map.render(Snapshot.of(self._feed(telegram)))

    def _feed(self, octets: bytes) -> Telegram:
        """Decode one push; the decoder's clock goes on as the meter's does."""
        self._now += INTERVAL_S
        return self._decoder.feed(octets, self._now)[0]  # type: ignore[return-value]


def batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Cut into batches."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def check(meter: Meter) -> None:
    """Decode every push once; BenchError unless it says what the meter meant."""
    decoder = Decoder(Key(KEY))
    for number, push in enumerate(meter.pushes):
        found = decoder.feed(push.telegram, number * INTERVAL_S)
        if len(found) != 1 or not isinstance(found[0], Telegram):
            raise BenchError(f"{meter.model}: push {number} decodes to {found}")
        says = {obis: (read.value, read.unit) for obis, read in found[0].readings.items()}
        meant = {Obis.parse(code): value for code, value in push.readings.items()}
        if says != meant:
            raise BenchError(f"{meter.model}: push {number} says {says}, not {meant}")
    if len({push.telegram for push in meter.pushes}) != PUSHES:
        raise BenchError(f"{meter.model}: two pushes are the same")


def timed_slice(work: Callable[[], None]) -> float:
    """Repeat a job for some time; return the CPU seconds a telegram."""
    count = 0
    start = time.process_time()
    while (elapsed_s := time.process_time() - start) < SLICE_S:
        work()
        count += BATCH
    return elapsed_s / count


def report(meters: Sequence[Meter], costs: Mapping[tuple[str, str], float], where: str) -> str:
    """Return the table and what belongs below it; `where` is the kind of machine."""
    names = list(dict.fromkeys(name for _, name in costs))
    header = ("CPU a telegram, × bare AES-GCM", "bytes", *names)
    rows = [
        [
            meter.model,
            f"{len(meter.pushes[0].telegram)}",
            *(ratio(costs[meter.model, name] / costs[meter.model, FLOOR]) for name in names),
        ]
        for meter in meters
    ]
    floor_us, whole_us = (costs[MODELS[0], name] * 1e6 for name in (names[0], names[-1]))
    return "\n".join(
        [
            table(header, rows),
            "",
            f"{where}, best quartile of interleaved slices, registers of {MAP}: "
            "`python bench/decoding.py`.",
            f"Order of magnitude, {MODELS[0]}: {rough(floor_us)} µs for the cipher, "
            f"{rough(whole_us)} µs from bytes to registers.",
        ]
    )


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    register_map = map_library.load(MAP, None)
    meters = [Meter.of(model) for model in MODELS]
    for meter in meters:
        check(meter)
    slices = {
        (meter.model, name): partial(timed_slice, work)
        for meter in meters
        for name, work in Jobs(meter, register_map).by_name().items()
    }
    costs = {job: best_quartile(found) for job, found in interleave(slices, seconds).items()}
    return report(meters, costs, machine())


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
