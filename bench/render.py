"""The cost of an image: a register map rendered against a bare struct.pack of the same values.

    python bench/render.py [--seconds 20]

The bare one packs, in one call, what the map shows in all registers that depend on the meter,
ready scaled and rounded. Both take turns in short slices. Maps of floats, of scaled integers, of
little word order, with coarse phases and with computed values each have a row.
"""

import functools
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from measure import best_quartile, interleave, machine, main, ratio, rough, table

from gateway import map_library
from gateway.registers import RegisterMap
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Snapshot
from gateway.telegram import Decoder, Key, Telegram

SECONDS = 20.0
SLICE = 100  # images
KEY = bytes(range(16))
START = datetime(2026, 6, 21, 11, 0, tzinfo=UTC)
METER = "kaifa-ma309m"
MAPS = {
    "sunspec_213": "floats",
    "chint_dtsu666": "floats, scaled",
    "eastron_sdm630": "floats, some computed",
    "phoenix_eem": "floats, little word order",
    "victron_vm3p75ct": "integers",
    "carlo_gavazzi_em24_e1": "integers, little word order, some computed",
    "sunspec_203": "integers, phases in steps of 10 W",
    "obis_plain": "a mixture",
}

Job = Callable[[], float]


def pushed() -> Snapshot:
    """Return the snapshot of one telegram, what is derived already derived."""
    meter = SimulatedMeter(METER, KEY, seed=1, start=START)
    (telegram,) = Decoder(Key(KEY)).feed(meter.push().telegram, 0.0)
    assert isinstance(telegram, Telegram)
    snapshot = Snapshot.of(telegram)
    assert snapshot.numbers
    return snapshot


def bare(register_map: RegisterMap, snapshot: Snapshot) -> tuple[str, list[int | float]]:
    """Return the format and the values of the registers that the meter's numbers fill."""
    image = register_map.render(snapshot)
    codes, values, seen = [], [], set()
    for register in register_map.registers:
        place = (register.address, register.only_count)
        if register.number is None or not callable(register.content) or place in seen:
            continue
        seen.add(place)
        octets = image.read(min(register.tables), register.address, register.words)
        assert isinstance(octets, bytes)
        assert register.type
        if register.is_little:
            octets = b"".join(octets[at : at + 2] for at in range(len(octets) - 2, -1, -2))
        codes.append(register.type.packer.format[1:])
        values += register.type.packer.unpack(octets)
    return ">" + "".join(codes), values


def timed(make: Callable[[], object]) -> Job:
    """Return a job that makes some images and tells the seconds that each took."""

    def job() -> float:
        start = time.perf_counter()
        for _ in range(SLICE):
            make()
        return (time.perf_counter() - start) / SLICE

    return job


def run(seconds: float) -> str:
    """Measure everything; return the report."""
    snapshot = pushed()
    jobs: dict[tuple[str, str], Job] = {}
    shown: dict[str, int] = {}
    for name in MAPS:
        register_map = map_library.load(name, None)
        layout, values = bare(register_map, snapshot)
        shown[name] = len(values)
        jobs[name, "map"] = timed(functools.partial(register_map.render, snapshot))
        jobs[name, "bare"] = timed(functools.partial(struct.pack, layout, *values))
    costs = {job: best_quartile(slices) for job, slices in interleave(jobs, seconds).items()}
    rows = [
        [
            name,
            kind,
            str(shown[name]),
            ratio(costs[name, "map"] / costs[name, "bare"]),
            rough(costs[name, "map"] * 1e6),
        ]
        for name, kind in MAPS.items()
    ]
    header = ("map", "what it shows", "values", "× struct.pack", "µs")
    return "\n".join(
        [
            table(header, rows),
            "",
            f"{machine()}, best quartile of interleaved slices: `python bench/render.py`.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(__doc__.split("\n\n")[0], SECONDS, run))
