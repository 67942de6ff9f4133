"""What both benches need: interleaved slices, the best quartile, a Markdown table.

A shared machine is never quiet for long, so jobs take turns in short slices and shuffled order,
and of each job's slices only the fastest quarter counts: what the machine does when it is let.
"""

import argparse
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

BAR_WIDTH = 30

Name = TypeVar("Name")
Sample = TypeVar("Sample")


class BenchError(Exception):
    """The bench cannot go on; the text says why."""


def interleave(
    jobs: Mapping[Name, Callable[[], Sample]], seconds: float
) -> dict[Name, list[Sample]]:
    """Run one slice of each job, in shuffled order, round after round for some `seconds`.

    Each job's first slice warms it up and is not counted; at least one counts.
    """
    samples: dict[Name, list[Sample]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    start = time.monotonic()
    names = list(jobs)
    elapsed_s = 0.0
    while elapsed_s < seconds:
        random.shuffle(names)
        for name in names:
            samples[name].append(jobs[name]())
        elapsed_s = time.monotonic() - start
        show_progress(elapsed_s / seconds)
    return samples


def best_quartile(costs: Sequence[float]) -> float:
    """Return the mean of the lowest quarter of `costs`."""
    best = sorted(costs)[: max(1, len(costs) // 4)]
    return sum(best) / len(best)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its columns padded so that it also reads well as it is."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def ratio(number: float) -> str:
    """Return a ratio as far as it means something: 14, 6.1, 0.78; 1 for what others refer to."""
    if number == 1:
        return "1"
    return f"{number:.0f}" if number >= 9.95 else f"{number:.{1 if number >= 1 else 2}f}"


def rough(number: float) -> str:
    """Return an absolute number with the two digits that give the order of magnitude: 7,500."""
    digits = float(f"{number:.2g}")
    return f"{digits:,.0f}" if digits >= 10 else f"{digits:g}"


def machine() -> str:
    """Return what kind of machine and Python this is."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {cores} core{'s' if cores > 1 else ''}"
    )


def main(description: str, seconds: float, run: Callable[[float], str]) -> int:
    """Run a bench from the command line: print what `run` returns for a number of seconds."""
    options = command(description, seconds).parse_args()
    return tell(lambda: run(options.seconds))


def command(description: str, seconds: float) -> argparse.ArgumentParser:
    """Return a parser of --seconds, to which a bench adds what it takes besides."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--seconds",
        type=_duration,
        default=seconds,
        metavar="S",
        help=f"how long to measure (default {seconds:g}); longer is steadier",
    )
    return parser


def tell(run: Callable[[], str]) -> int:
    """Print what `run` returns, or why it cannot; return the exit code."""
    try:
        print(run())
    except (BenchError, OSError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def show_progress(done: float) -> None:
    """Draw how far the run is, if somebody watches; wipe it at the end."""
    if not sys.stderr.isatty():
        return
    full = round(min(done, 1.0) * BAR_WIDTH)
    bar = f"\r{'█' * full}{'░' * (BAR_WIDTH - full)} {min(done, 1.0):4.0%}"
    sys.stderr.write(bar if done < 1 else f"\r{' ' * len(bar)}\r")
    sys.stderr.flush()
