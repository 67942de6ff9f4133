"""pymodbus' client reads every register of every map, over each transport that the map names."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient, ModbusUdpClient
from pymodbus.client.mixin import ModbusClientMixin

from gateway.registers import Register, Table
from tests.registers import golden_tables

from .clients import CLIENTS
from .served import HOST, LISTENERS, PATIENCE_S, Endpoint, Server, lines, load, runs

Client = ModbusTcpClient | ModbusUdpClient
DataType = ModbusClientMixin.DATATYPE
TYPES = {
    "int16": DataType.INT16,
    "uint16": DataType.UINT16,
    "sunssf": DataType.INT16,
    "int32": DataType.INT32,
    "uint32": DataType.UINT32,
    "acc32": DataType.UINT32,
    "int64": DataType.INT64,
    "uint64": DataType.UINT64,
    "acc64": DataType.UINT64,
    "float32": DataType.FLOAT32,
    "float64": DataType.FLOAT64,
}


def ways(name: str) -> list[str]:
    """Return the transports of a map that need no serial line; TCP if it has no other."""
    over = load(name).written.over
    return [way for way in over if way in LISTENERS] or ["tcp"]


SNAPSHOTS = [
    pytest.param(name, seen, ways(name)[0], id=f"{name}-{seen}")
    for name in CLIENTS["pymodbus"]
    for seen in golden_tables.MEASURED
]
WAYS = [
    pytest.param(name, way, id=f"{name}-{way}")
    for name in CLIENTS["pymodbus"]
    for way in ways(name)[1:]
]


@contextmanager
def client_of(endpoint: Endpoint, way: str) -> Iterator[Client]:
    if way == "udp":
        client: Client = ModbusUdpClient(HOST, port=endpoint.port, timeout=PATIENCE_S)
    else:
        framer = FramerType.SOCKET if way == "tcp" else FramerType.RTU
        client = ModbusTcpClient(HOST, port=endpoint.port, framer=framer, timeout=PATIENCE_S)
    assert client.connect()
    try:
        yield client
    finally:
        client.close()


def read(endpoint: Endpoint, way: str) -> Iterator[tuple[Table, Register, list[int]]]:
    """Read the whole map in long blocks; yield each register's words."""
    with client_of(endpoint, way) as client:
        for table in Table:
            ask = (
                client.read_input_registers
                if table is Table.INPUT
                else client.read_holding_registers
            )
            for run in runs(endpoint.map, table):
                first = run[0].address
                reply = ask(first, count=run[-1].end - first, device_id=endpoint.unit)
                assert not reply.isError(), (table, first, reply)
                for register in run:
                    words = reply.registers[register.address - first : register.end - first]
                    yield table, register, words


def decoded(register: Register, words: list[int]) -> int | float | str:
    """Return what pymodbus makes of the words."""
    if register.type is None:
        if all(word < 0x100 for word in words):
            return "".join(map(chr, words)).rstrip("\0")  # one character a register
        text = ModbusClientMixin.convert_from_registers(words, DataType.STRING)
        assert isinstance(text, str)
        return text.rstrip("\0")
    found = ModbusClientMixin.convert_from_registers(
        words, TYPES[register.type.name], word_order="little" if register.is_little else "big"
    )
    assert isinstance(found, int | float)
    return found


def agrees(found: int | float | str, expected: str) -> bool:
    if isinstance(found, str):
        return repr(found) == expected
    if isinstance(found, float):
        number = float(expected)
        return math.isclose(found, number, rel_tol=1e-8) or (
            math.isnan(found) and math.isnan(number)
        )
    return found == int(expected)


def check(endpoint: Endpoint, way: str) -> None:
    unread = {(table, id(register)) for table, register in lines(endpoint.map)}
    for table, register, words in read(endpoint, way):
        found, expected = decoded(register, words), endpoint.expected(register, table)
        assert agrees(found, expected), (register.line.where, found, expected)
        unread.remove((table, id(register)))
    assert not unread


@pytest.mark.parametrize(("name", "seen", "way"), SNAPSHOTS)
def test_pymodbus_reads_every_register_of_the_map(
    server: Server, name: str, seen: str, way: str
) -> None:
    check(server.serve(name, seen, way), way)


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_pymodbus_reads_the_map_over_its_other_transports(
    server: Server, name: str, way: str
) -> None:
    check(server.serve(name, "exporting", way), way)
