"""mbpoll (libmodbus) reads every number of up to 32 bits of every map, in its word order."""

import math
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.registers import Register, Table

from .clients import CLIENTS
from .served import HOST, PATIENCE_S, Endpoint, Server, runs

pytestmark = pytest.mark.skipif(
    shutil.which("mbpoll") is None, reason="mbpoll is missing: sudo apt-get install mbpoll"
)

FORMATS = {
    **dict.fromkeys(("int16", "uint16", "sunssf"), ""),
    **dict.fromkeys(("int32", "uint32", "acc32"), ":int"),
    "float32": ":float",
}
TABLES = {Table.INPUT: 3, Table.HOLDING: 4}
AT_ONCE = 8  # mbpoll sleeps for 20 ms of its 23
VALUE = re.compile(r"^\[(\d+)\]:\s+(\S+)(?: \((-\d+)\))?$", re.MULTILINE)


def shown_as(register: Register) -> tuple[str, bool] | None:
    """Return how mbpoll shows a register: its format, and whether the low word comes first."""
    if register.type is None or register.type.name not in FORMATS:
        return None
    code = FORMATS[register.type.name]
    return code, register.is_little and bool(code)


def polled(endpoint: Endpoint, table: Table, run: list[Register]) -> dict[int, str]:
    """Return what mbpoll says of the registers of a run, by address."""
    how = shown_as(run[0])
    assert how
    code, is_little = how
    order = [] if is_little else ["-B"]
    command = ["mbpoll", "-m", "tcp", "-p", endpoint.port, "-a", endpoint.unit, "-0", "-1"]
    command += ["-o", 10, *order, "-t", f"{TABLES[table]}{code}"]
    command += ["-r", run[0].address, "-c", len(run), HOST]
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    found = VALUE.findall(done.stdout)
    # A 16-bit value with the top bit set is followed by its signed reading in brackets.
    signed = {r.address for r in run if r.type and r.type.lowest < 0}
    return {
        int(address): (negative or number) if int(address) in signed else number
        for address, number, negative in found
    }


def agrees(register: Register, found: str, expected: str) -> bool:
    """Tell whether mbpoll shows what must be there; of floats it prints six digits."""
    assert register.type
    if register.type.is_float:
        return math.isclose(float(found), float(expected), rel_tol=1e-5) or (
            math.isnan(float(found)) and math.isnan(float(expected))
        )
    number = int(found)
    if number < 0 and register.type.lowest >= 0:
        number += 1 << 32  # mbpoll takes all 32-bit integers for signed
    return number == int(expected)


@pytest.mark.parametrize("seen", ["exporting", "one phase", "every quantity"])
@pytest.mark.parametrize("name", CLIENTS["mbpoll"])
def test_mbpoll_shows_every_number_of_the_map(server: Server, name: str, seen: str) -> None:
    endpoint = server.serve(name, seen)
    asked = [
        (table, run)
        for table in Table
        for run in runs(endpoint.map, table, shown_as)
        if shown_as(run[0])
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda ask: polled(endpoint, *ask), asked))
    for (table, run), answer in zip(asked, answers, strict=True):
        assert sorted(answer) == [register.address for register in run]
        for register in run:
            found, expected = answer[register.address], endpoint.expected(register, table)
            assert agrees(register, found, expected), (register.line.where, found, expected)
