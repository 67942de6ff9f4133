"""The bench of the server: that it runs, not what it measures."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
LIBMODBUS = Path("/usr/include/modbus/modbus.h")

pytestmark = [
    pytest.mark.skipif(not BENCH.exists(), reason="a source package comes without the benches"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here"),
]


@pytest.mark.parametrize("source", sorted(BENCH.glob("*.c")), ids=lambda path: path.stem)
def test_the_c_of_the_bench_compiles_without_a_warning(source: Path, tmp_path: Path) -> None:
    if source.stem.startswith("libmodbus") and not LIBMODBUS.exists():
        pytest.skip("libmodbus-dev is not installed")
    command = ["cc", "-std=c11", "-O2", *WARNINGS, "-c", source, "-o", tmp_path / "out.o"]

    compiled = subprocess.run(command, capture_output=True, text=True)

    assert (compiled.returncode, compiled.stderr) == (0, "")


def test_one_second_of_the_bench_prints_its_tables() -> None:
    command = [sys.executable, BENCH / "serving.py", "--seconds", "1"]

    bench = subprocess.run(command, capture_output=True, text=True)

    assert bench.returncode == 0, bench.stderr
    rows = [line.split("|")[1].strip() for line in bench.stdout.splitlines() if "|" in line]
    assert {"obisgate", "bare asyncio", "stock pymodbus", "KiB a connection"} <= set(rows)
