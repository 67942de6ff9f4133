"""One target under atheris: `python -m tests.fuzz.fuzz decoder CORPUS -max_total_time=60`."""

import importlib
import sys

import atheris


def main() -> None:
    """Fuzz the target that the first argument names; all others are libFuzzer's."""
    name = sys.argv.pop(1)
    # Only what is fuzzed steers the fuzzer; the simulator and the targets run at full speed.
    # So does the search for a slip of the key, thousands of times the same few lines.
    with atheris.instrument_imports(
        include=["gateway.telegram"], exclude=["gateway.telegram.key_slips"]
    ):
        target = importlib.import_module(f"tests.fuzz.{name}")
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
