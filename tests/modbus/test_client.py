"""The client against meters of other makers, and against what is no meter at all."""

import asyncio
import errno
import os
import struct
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from pymodbus.framer import FramerRTU, FramerType
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway import map_library
from gateway.modbus.client import (
    DEAF_READS,
    MAX_NARROWING,
    Client,
    Endpoint,
    Transport,
    UnreachableError,
)
from gateway.modbus.reads import Refusal, plan
from gateway.modbus.responder import Responder
from gateway.modbus.unit import Unit
from gateway.registers import Given, Identity, RegisterMap, Table
from gateway.registers.decode import matches
from gateway.simulator import SimulatedMeter
from gateway.snapshot import Diagnostics, Freshness, Snapshot
from gateway.sources.simulated import SEEDED_START
from gateway.telegram import Decoder, Key, Telegram

from .served import MAP, PATIENCE_S, Seen, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "nothing_is_left_open")

SHORT_S = 0.2  # the time-out of requests that nobody answers
Transports = pytest.mark.parametrize("transport", Transport)

# Somebody else's meter: registers 0-9 and 20-29 hold their own address, in both tables.
DEVICE = SimDevice(
    1,
    simdata=[
        SimData(0, values=list(range(10)), datatype=DataType.REGISTERS),
        SimData(20, values=list(range(20, 30)), datatype=DataType.REGISTERS),
    ],
)
IDENTITY = ModbusDeviceIdentification(
    info_name={"VendorName": "Maker", "ProductCode": "M3", "MajorMinorRevision": "1.2"}
)


@asynccontextmanager
async def stock(transport: Transport) -> AsyncIterator[Endpoint]:
    """Run a stock pymodbus server."""
    if transport is Transport.SERIAL:
        async with null_modem() as (ours, theirs):
            server = ModbusSerialServer(DEVICE, port=theirs, baudrate=9600, identity=IDENTITY)
            await server.serve_forever(background=True)
            try:
                yield Endpoint(transport, ours)
            finally:
                await server.shutdown()
        return
    kind = ModbusUdpServer if transport is Transport.UDP else ModbusTcpServer
    framer = FramerType.RTU if transport is Transport.RTU_OVER_TCP else FramerType.SOCKET
    server = kind(DEVICE, address=("127.0.0.1", 0), framer=framer, identity=IDENTITY)
    await server.serve_forever(background=True)
    try:
        if transport is Transport.UDP:
            port = server.transport.get_extra_info("sockname")[1]
        else:
            port = server.transport.sockets[0].getsockname()[1]
        yield Endpoint(transport, "127.0.0.1", port)
    finally:
        await server.shutdown()


@asynccontextmanager
async def null_modem() -> AsyncIterator[tuple[str, str]]:
    """Two pseudo-terminals, joined: what goes in at one comes out at the other."""
    (one, one_slave), (two, two_slave) = os.openpty(), os.openpty()
    for end in (one_slave, two_slave):
        tty.setraw(end)
    loop = asyncio.get_running_loop()
    loop.add_reader(one, lambda: os.write(two, os.read(one, 1024)))
    loop.add_reader(two, lambda: os.write(one, os.read(two, 1024)))
    try:
        yield os.ttyname(one_slave), os.ttyname(two_slave)
    finally:
        for end in (one, two):
            loop.remove_reader(end)
        for end in (one, one_slave, two, two_slave):
            os.close(end)


Reply = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(reply: Reply) -> AsyncIterator[Endpoint]:
    """Listen and do with each chunk that comes what the test says."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while chunk := await reader.read(1024):
            await reply(chunk, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint(Transport.TCP, "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


@Transports
def test_reads_somebody_elses_meter(transport: Transport) -> None:
    async def scenario() -> None:
        async with stock(transport) as endpoint, Client(endpoint) as client:
            assert await client.read(1, 3, 2, 3) == words(2, 3, 4)
            assert await client.read(1, 4, 20, 10) == words(*range(20, 30))

    run(scenario())


@Transports
def test_a_refused_read_is_named_and_the_next_is_answered(transport: Transport) -> None:
    async def scenario() -> None:
        async with stock(transport) as endpoint, Client(endpoint) as client:
            refusal = await client.read(1, 3, 8, 5)
            assert refusal == Refusal(3, 8, 5, 2, "exception 0x02, illegal data address")
            assert await client.read(1, 3, 0, 1) == words(0)

    run(scenario())


@Transports
def test_asks_who_the_meter_is(transport: Transport) -> None:
    async def scenario() -> None:
        async with stock(transport) as endpoint, Client(endpoint) as client:
            assert await client.identity(1) == Identity("Maker", "M3", "1.2")
            assert await client.server_id(1) == "Maker-M3-1.2"

    run(scenario())


def test_a_meter_without_identity_refuses_both() -> None:
    async def refuse(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(chunk[:4] + b"\0\3" + chunk[6:7] + bytes((chunk[7] | 0x80, 1)))

    async def scenario() -> None:
        async with scripted(refuse) as endpoint, Client(endpoint) as client:
            for answer in (await client.identity(1), await client.server_id(1)):
                assert isinstance(answer, Refusal)
                assert answer.reason == "exception 0x01, illegal function"

    run(scenario())


def test_reads_our_own_responder_through_the_map_in_two_reads() -> None:
    asked: list[bytes] = []
    register_map = RegisterMap.parse(MAP, "test.yaml")

    async def answer(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(chunk[7:])
        reply = responder().answer(chunk[6], chunk[7:], 0.0)
        assert reply
        writer.write(chunk[:4] + (len(reply) + 1).to_bytes(2, "big") + chunk[6:7] + reply)

    async def scenario() -> None:
        reads, _ = plan(register_map, register_map.registers)
        async with scripted(answer) as endpoint, Client(endpoint) as client:
            marker, power, voltage = register_map.registers
            assert await client.sweep(1, reads) == {
                marker: b"\x12\x34", power: words(1, 57920), voltage: struct.pack(">f", 230.5),
            }  # fmt: skip
            silent = await client.sweep(2, reads, function=4)
            reason = "exception 0x0B, gateway target device failed to respond"
            refusal = Refusal(4, 0, 5, 0x0B, reason)
            assert silent == {marker: b"\x12\x34", power: refusal, voltage: refusal}
            assert set((await client.sweep(3, reads)).values()) == {Refusal(3, 0, 5, 0x0B, reason)}
        asked_for = ["03 0000 0005", "04 0000 0005", "04 0000 0001", "03 0000 0005", "03 0000 0001"]
        assert asked == [bytes.fromhex(each) for each in asked_for]

    run(scenario())


@pytest.fixture(scope="module")
def pushed() -> Snapshot:
    """What a simulated meter says."""
    octets = SimulatedMeter("kaifa-ma309m", bytes(16), seed=7, start=SEEDED_START).push().telegram
    (telegram,) = Decoder(Key(bytes(16))).feed(octets, 0.0)
    assert isinstance(telegram, Telegram)
    return Snapshot.of(telegram)


@pytest.mark.parametrize("prefer", Table)
@pytest.mark.parametrize("name", map_library.find(None))
def test_every_shipped_map_is_read_whole_with_its_constants(
    name: str, prefer: Table, pushed: Snapshot
) -> None:
    register_map = map_library.load(name, None, Given(unit_id=1))
    meter = Seen(pushed, Freshness(float("inf"), 0.0))
    meter.diagnostics = Diagnostics()
    units = Responder({1: Unit(register_map, meter)})

    async def answer(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        reply = units.answer(chunk[6], chunk[7:], 0.0)
        assert reply
        writer.write(chunk[:4] + (len(reply) + 1).to_bytes(2, "big") + chunk[6:7] + reply)

    async def scenario() -> None:
        reads, _ = plan(register_map, register_map.registers, prefer)
        async with scripted(answer) as endpoint, Client(endpoint) as client:
            answers = await client.sweep(1, reads)
        assert answers.keys() == set(register_map.registers)
        for register, octets in answers.items():
            assert isinstance(octets, bytes), register.address
            assert matches(register, octets) in (True, None)

    run(scenario())


def test_the_part_of_a_read_that_is_refused_is_found() -> None:
    lines = [f"  - {{address: {n}, quantity: voltage_l1, type: uint16}}\n" for n in range(16)]
    register_map = RegisterMap.parse("name: x\nregisters:\n" + "".join(lines), "x.yaml")

    async def scenario() -> None:
        reads, _ = plan(register_map, register_map.registers)
        async with stock(Transport.TCP) as endpoint, Client(endpoint) as client:
            answers = list((await client.sweep(1, reads)).values())
        assert answers[:10] == [words(n) for n in range(10)]
        asked = {(a.address, a.count, a.code) for a in answers[10:] if isinstance(a, Refusal)}
        assert asked == {(n, 1, 2) for n in range(10, 16)}

    run(scenario())


def test_a_meter_that_refuses_everything_is_not_asked_for_ever() -> None:
    asked: list[bytes] = []
    lines = [f"  - {{address: {n}, quantity: voltage_l1, type: uint16}}\n" for n in range(100)]
    register_map = RegisterMap.parse("name: x\nregisters:\n" + "".join(lines), "x.yaml")

    async def refuse(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(chunk)
        writer.write(chunk[:4] + b"\0\3" + chunk[6:7] + b"\x83\2")

    async def scenario() -> None:
        reads, _ = plan(register_map, register_map.registers)
        async with scripted(refuse) as endpoint, Client(endpoint) as client:
            answers = await client.sweep(1, reads)
        assert all(isinstance(answer, Refusal) for answer in answers.values())
        assert len(answers) == 100
        assert len(asked) == 1 + MAX_NARROWING

    run(scenario())


TEN = "name: x\nregisters:\n" + "".join(
    f"  - {{address: {10 * n}, quantity: voltage_l1, type: uint16}}\n" for n in range(10)
)


def sweep_of_ten(reply: Reply, transport: Transport = Transport.TCP) -> Sequence[object]:
    """Return the answers to ten reads of one register each."""
    answers: list[object] = []
    register_map = RegisterMap.parse(TEN, "x.yaml")

    async def scenario() -> None:
        reads, _ = plan(register_map, register_map.registers)
        async with scripted(reply) as endpoint:
            there = Endpoint(transport, endpoint.host, endpoint.port)
            async with Client(there, SHORT_S) as client:
                answers.extend((await client.sweep(1, reads)).values())

    run(scenario())
    return [a.reason if isinstance(a, Refusal) else a for a in answers]


def test_one_silent_read_does_not_end_the_rest() -> None:
    async def reply(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        address = int.from_bytes(chunk[8:10], "big")
        if address != 20:
            writer.write(chunk[:4] + b"\0\5" + chunk[6:8] + b"\2" + words(address))

    answers = sweep_of_ten(reply)
    assert answers[2] == "no answer within 0.2 s"
    assert [*answers[:2], *answers[3:]] == [words(10 * n) for n in range(10) if n != 2]


def test_a_unit_that_answers_nothing_is_not_asked_for_ever() -> None:
    asked: list[bytes] = []

    async def reply(chunk: bytes, _writer: asyncio.StreamWriter) -> None:
        asked.append(chunk)

    answers = sweep_of_ten(reply)
    assert len(asked) == DEAF_READS
    assert answers == ["no answer within 0.2 s"] * DEAF_READS + ["not asked any more"] * 7


def test_a_connection_closed_in_the_middle_is_opened_again() -> None:
    async def reply(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        address = int.from_bytes(chunk[8:10], "big")
        if address == 20:
            writer.close()
        else:
            writer.write(chunk[:4] + b"\0\5" + chunk[6:8] + b"\2" + words(address))

    answers = sweep_of_ten(reply)
    assert answers[2] == "the connection was closed"
    assert answers[3] == words(30)


def test_what_is_no_modbus_reply_is_said_so() -> None:
    async def reply(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(chunk[:4] + b"\0\3" + chunk[6:7] + b"\x63\0")

    assert set(sweep_of_ten(reply)[:DEAF_READS]) == {"what came is no Modbus reply"}


def test_a_reply_of_another_length_is_not_taken() -> None:
    async def reply(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(chunk[:4] + b"\0\7" + chunk[6:8] + b"\4" + words(1, 2))

    assert sweep_of_ten(reply)[0] == "answered 2 registers instead of 1"


def test_a_late_rtu_reply_is_not_taken_for_the_next_one() -> None:
    late: list[asyncio.Task[None]] = []

    async def reply(chunk: bytes, writer: asyncio.StreamWriter) -> None:
        address = int.from_bytes(chunk[2:4], "big")
        body = chunk[:2] + b"\2" + words(address)
        frame = body + FramerRTU.compute_CRC(body).to_bytes(2, "big")

        async def later() -> None:
            await asyncio.sleep(1.1 * SHORT_S)
            writer.write(frame)

        if address == 0:
            late.append(asyncio.create_task(later()))
        else:
            await late[0]
            writer.write(frame)

    answers = sweep_of_ten(reply, Transport.RTU_OVER_TCP)
    assert answers[0] == "no answer within 0.2 s"
    assert answers[1:] == [words(10 * n) for n in range(1, 10)]


def unreachable(endpoint: Endpoint, timeout_s: float = PATIENCE_S) -> str:
    async def scenario() -> None:
        with pytest.raises(UnreachableError) as caught:
            await Client(endpoint, timeout_s).open()
        texts.append(str(caught.value))

    texts: list[str] = []
    run(scenario())
    return texts[0]


@pytest.fixture
def free_port() -> int:
    async def found() -> int:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port

    return asyncio.run(found())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_says_that_nothing_listens(host: str, free_port: int) -> None:
    text = unreachable(Endpoint(Transport.TCP, host, free_port))
    assert text.startswith(f"nothing listens on {host}:{free_port}: ")


def test_says_at_once_that_nothing_listens_on_a_udp_port(free_port: int) -> None:
    async def scenario() -> None:
        endpoint = Endpoint(Transport.UDP, "127.0.0.1", free_port)
        async with Client(endpoint, PATIENCE_S) as client:
            answer = await client.read(1, 3, 0, 1)
        assert isinstance(answer, Refusal)
        assert answer.reason == f"nothing listens on udp:127.0.0.1:{free_port}"

    run(scenario())


def test_says_that_a_name_is_not_known() -> None:
    text = unreachable(Endpoint(Transport.TCP, "no-such-meter.invalid", 502))
    assert text == "'no-such-meter.invalid' is no name that this network knows"


def test_says_that_an_address_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("asyncio.BaseEventLoop.create_connection", never)
    text = unreachable(Endpoint(Transport.TCP, "192.0.2.1", 502), SHORT_S)
    assert text == "192.0.2.1:502 does not answer: is it switched on, and in this network?"


def test_says_why_an_address_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("asyncio.BaseEventLoop.create_connection", fail)
    text = unreachable(Endpoint(Transport.TCP, "192.0.2.1", 502))
    assert text == "192.0.2.1:502 cannot be reached: Network is unreachable"


def test_says_that_a_device_is_absent() -> None:
    text = unreachable(Endpoint(Transport.SERIAL, "/dev/no-such-port"))
    assert text.startswith("/dev/no-such-port does not exist")
