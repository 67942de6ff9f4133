"""Fuzz the targets one after the other, each for a given time, and keep what is found.

python -m tests.fuzz.run --seconds 600 [TARGET …]     needs atheris: `make fuzz` installs it
python -m tests.fuzz.run TARGET --input .fuzz/…       runs one input, needs nothing
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.corpus import TARGETS, words

PROJECT = Path(__file__).parents[2]
KEPT = PROJECT / ".fuzz"
MAX_INPUT_BYTES = 2600  # the longest HDLC frame, and decisions
MAX_INPUT_S = 20  # one that takes longer is kept as a finding
PROGRESS_S = 15.0

_STATUS = re.compile(r"#(\d+)\s.*cov: (\d+)")


def main() -> int:
    """Run the command; the result is its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--input", type=Path, help="run this input alone")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if arguments.input:
        for target in targets:
            TARGETS[target][0].check(arguments.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is missing; it exists for Linux on x86-64, Python 3.11 to 3.13: make fuzz")
        return 2

    KEPT.mkdir(exist_ok=True)
    findings = [path for target in targets for path in fuzz(target, arguments.seconds)]
    for path in findings:
        target, _, _ = path.name.partition("-")
        kept = path.relative_to(PROJECT)
        print(f"{kept}: python -m tests.fuzz.run {target} --input {kept}")
    print(f"{len(findings)} found" if findings else "nothing found")
    return 1 if findings else 0


def fuzz(target: str, seconds: int) -> list[Path]:
    """Fuzz one target; return the inputs that broke its promise."""
    module, entries = TARGETS[target]
    print(f"{target}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
    before = set(KEPT.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        corpus, dictionary = Path(folder) / "corpus", Path(folder) / "dictionary"
        corpus.mkdir()
        for name, octets in entries():
            (corpus / name).write_bytes(octets)
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words()))
        command = [
            *(sys.executable, "-m", "tests.fuzz.fuzz", target, str(corpus)),
            f"-max_total_time={seconds}",
            f"-timeout={MAX_INPUT_S}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-dict={dictionary}",
            f"-artifact_prefix={KEPT}/{target}-",
        ]
        log = KEPT / f"{target}.log"
        status = _watch(command, target, log)
    findings = sorted(set(KEPT.iterdir()) - before - {log})
    if status and not findings:
        raise SystemExit(f"{target} ended with {status}, see {log.relative_to(PROJECT)}")
    return findings


def _watch(command: list[str], target: str, log: Path) -> int:
    """Run the fuzzer, tell now and then how far it is; return its exit status."""
    started = told = time.monotonic()
    last = "no input yet"
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    with process, log.open("w") as kept:
        for line in process.stdout:
            kept.write(line)
            if match := _STATUS.match(line):
                last = f"{match[1]} inputs, {match[2]} branches reached"
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                print(f"{target}: {told - started:4.0f} s, {last}", flush=True)
    print(f"{target}: {time.monotonic() - started:4.0f} s, {last}, ended with {process.returncode}")
    return process.returncode


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


if __name__ == "__main__":
    sys.exit(main())
