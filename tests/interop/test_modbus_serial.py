"""modbus-serial, a client for Node.js, reads three maps over TCP and with RTU frames over TCP."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.registers import Table
from tests.registers import golden_tables

from .clients import CLIENTS
from .served import PATIENCE_S, Server, lines, runs

FOLDER = Path(__file__).parent / "node"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("node") is None, reason="node is missing: sudo apt-get install nodejs npm"
    ),
    pytest.mark.skipif(
        not (FOLDER / "node_modules" / "modbus-serial").is_dir(),
        reason="modbus-serial is not installed: make test",
    ),
]

FUNCTIONS = {Table.HOLDING: 3, Table.INPUT: 4}


@pytest.mark.parametrize("over", ["tcp", "rtu over tcp"])
@pytest.mark.parametrize("name", CLIENTS["modbus-serial"])
def test_modbus_serial_reads_every_register_of_the_map(
    server: Server, name: str, over: str
) -> None:
    endpoint = server.serve(name, "exporting", over)
    asked = [(table, run) for table in Table for run in runs(endpoint.map, table)]
    blocks = [
        (FUNCTIONS[table], run[0].address, run[-1].end - run[0].address) for table, run in asked
    ]
    order = {"port": endpoint.port, "unit": endpoint.unit, "over": over, "blocks": blocks}
    done = subprocess.run(
        ["node", FOLDER / "read.js"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    seen = 0
    for (table, run), words in zip(asked, json.loads(done.stdout), strict=True):
        octets = b"".join(word.to_bytes(2, "big") for word in words)
        for register in run:
            start = 2 * (register.address - run[0].address)
            own = octets[start : start + 2 * register.words]
            expected = endpoint.expected(register, table)
            assert golden_tables.decoded(register, own) == expected, register.line.where
            seen += 1
    assert seen == len(lines(endpoint.map))
