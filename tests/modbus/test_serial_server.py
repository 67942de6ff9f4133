"""The serial listener over pseudo-terminals, and RTU over TCP: what a client on the bus gets."""

import asyncio
import fcntl
import logging
import os
import re
import shutil
import time
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerType

from gateway.modbus import rtu_server
from gateway.modbus.responder import Responder
from gateway.modbus.rtu import gap_s, sealed
from gateway.modbus.rtu_server import RtuOverTcpListener, SerialListener

from .served import GOT_0, PATIENCE_S, READ_0, eventually, responder, run

pytestmark = pytest.mark.usefixtures("quick_collections", "each_loop", "nothing_is_left_open")
needs_mbpoll = pytest.mark.skipif(
    shutil.which("mbpoll") is None, reason="mbpoll is missing: sudo apt-get install mbpoll"
)

NEVER_S = 0.3  # a client waits so long for what must not come
REQUEST = sealed(b"\x01" + READ_0)
REPLY = sealed(b"\x01" + GOT_0)


class Terminal:
    """A pseudo-terminal: the listener opens its device, a test holds the other end."""

    def __init__(self) -> None:
        self.bus, self._device = os.openpty()
        tty.setraw(self._device)
        os.set_blocking(self.bus, False)
        self.path = os.ttyname(self._device)
        self.got = bytearray()

    def say(self, octets: bytes) -> None:
        assert os.write(self.bus, octets) == len(octets)

    def hear(self) -> bytes:
        """All that was said by now."""
        with suppress(BlockingIOError):
            while True:
                self.got += os.read(self.bus, 4096)
        return bytes(self.got)

    async def reply(self, size: int) -> bytes:
        """The next `size` bytes."""
        await eventually(until(lambda: len(self.hear()) >= size))
        reply = bytes(self.got[:size])
        del self.got[:size]
        return reply

    async def ask(self, request: bytes = REQUEST, size: int = len(REPLY)) -> bytes:
        self.say(request)
        return await self.reply(size)

    def unplug(self) -> None:
        """Hang up, as a pulled plug does."""
        for descriptor in (self.bus, self._device):
            with suppress(OSError):
                os.close(descriptor)


class NullModem:
    """Two devices wired to each other: what one writes the other reads."""

    def __init__(self) -> None:
        self._ends = Terminal(), Terminal()
        self.paths = [end.path for end in self._ends]

    async def __aenter__(self) -> "NullModem":
        loop = asyncio.get_running_loop()
        for this, other in (self._ends, self._ends[::-1]):
            loop.add_reader(this.bus, self._forward, this.bus, other.bus)
        return self

    async def __aexit__(self, *_: object) -> None:
        for end in self._ends:
            asyncio.get_running_loop().remove_reader(end.bus)
            end.unplug()

    @staticmethod
    def _forward(here: int, there: int) -> None:
        os.write(there, os.read(here, 4096))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a terminal tells nobody
        await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtu_server, "FIRST_RETRY_S", 0.002)
    monkeypatch.setattr(rtu_server, "LONGEST_RETRY_S", 0.01)


@asynccontextmanager
async def listening(
    device: str, of: Responder | None = None, **setting: float
) -> AsyncIterator[SerialListener]:
    listener = SerialListener(device, of or responder(), **setting)  # type: ignore[arg-type]
    try:
        assert await listener.start() == device
        yield listener
    finally:
        listener.stop()


@asynccontextmanager
async def terminal() -> AsyncIterator[Terminal]:
    one = Terminal()
    try:
        yield one
    finally:
        one.unplug()


# --- requests -------------------------------------------------------------------------------


def test_a_read_is_answered() -> None:
    async def scenario() -> None:
        async with terminal() as line, listening(line.path):
            assert await line.ask() == REPLY
            power = sealed(bytes.fromhex("01 04 0001 0002"))
            assert await line.ask(power, 9) == sealed(bytes.fromhex("01 04 04 0001e240"))

    run(scenario())


def test_a_request_that_comes_byte_by_byte_is_answered() -> None:
    async def scenario() -> None:
        async with terminal() as line, listening(line.path):
            for octet in REQUEST:
                line.say(bytes((octet,)))
                await asyncio.sleep(0.002)
            assert await line.reply(len(REPLY)) == REPLY

    run(scenario())


def test_what_is_for_others_damaged_or_noise_is_not_answered_and_costs_nothing() -> None:
    others = sealed(b"\x05" + READ_0) + sealed(b"\x05\x03\x02\x00\x07")
    broadcast = sealed(b"\x00" + READ_0)
    damaged = REQUEST[:-1] + b"\x00"

    async def scenario() -> None:
        async with terminal() as line, listening(line.path):
            for before in (others, broadcast, damaged, b"\xff", b"\x00\x55"):
                assert await line.ask(before + REQUEST) == REPLY
            assert line.hear() == b""

    run(scenario())


def test_a_line_that_gives_back_what_is_sent_is_no_trouble() -> None:
    async def scenario() -> None:
        async with terminal() as line, listening(line.path):
            for _ in range(3):
                assert await line.ask() == REPLY
                line.say(REPLY)
            assert line.hear() == b""

    run(scenario())


@pytest.mark.parametrize("baud", [1200, 9600])
def test_a_reply_leaves_the_client_time_to_let_go_of_the_line(baud: int) -> None:
    async def scenario() -> None:
        async with terminal() as line, listening(line.path, baud=baud):
            asked = time.monotonic()
            assert await line.ask() == REPLY
            assert time.monotonic() - asked >= gap_s(baud, 10)

    run(scenario())


def test_replies_that_nobody_fetches_do_not_pile_up() -> None:
    long_read = sealed(bytes.fromhex("01 03 0064 007d"))

    async def scenario() -> None:
        async with terminal() as line, listening(line.path, reply_after_s=0) as listener:
            for _ in range(300):  # 75 KiB of replies
                line.say(long_read)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert listener._line
            assert listener._line._transport
            assert listener._line._transport.get_write_buffer_size() <= rtu_server.MAX_UNSENT
            assert await line.reply(255) == sealed(b"\x01\x03\xfa" + bytes(250))

    run(scenario())


# --- clients of others ----------------------------------------------------------------------


def test_pymodbus_reads_several_units_and_hears_nothing_of_others() -> None:
    async def scenario() -> None:
        async with NullModem() as modem, listening(modem.paths[0]):
            client = AsyncModbusSerialClient(
                modem.paths[1], baudrate=9600, timeout=PATIENCE_S, retries=0
            )
            assert await client.connect()
            try:
                holding = await client.read_holding_registers(0, count=5, device_id=1)
                assert holding.registers == [0x1234, 1, 0xE240, 0x4366, 0x8000]
                for answer, code in (
                    (await client.write_register(0, 1, device_id=1), 1),
                    (await client.read_coils(0, count=1, device_id=1), 1),
                    (await client.read_holding_registers(5, count=1, device_id=1), 2),
                    (await client.read_holding_registers(1, count=2, device_id=2), 0x0B),
                ):
                    assert answer.isError()
                    assert answer.exception_code == code
                client.ctx.comm_params.timeout_connect = NEVER_S
                with pytest.raises(ModbusIOException):
                    await client.read_holding_registers(0, count=1, device_id=5)
                client.ctx.comm_params.timeout_connect = PATIENCE_S
                again = await client.read_holding_registers(0, count=1, device_id=1)
                assert again.registers == [0x1234]
            finally:
                client.close()

    run(scenario())


async def mbpoll(options: str, device: str) -> tuple[int, str]:
    """Run mbpoll once; return its exit code and what it prints."""
    command = f"mbpoll -m rtu -b 9600 -P none -0 -1 {options} {device}".split()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    shown, _ = await process.communicate()
    return process.returncode or 0, shown.decode(errors="replace")


@needs_mbpoll
def test_mbpoll_reads_what_is_served() -> None:
    async def scenario() -> None:
        async with NullModem() as modem, listening(modem.paths[0]):
            for options, expected in (
                ("-a 1 -r 0 -t 4:hex", "0x1234"),
                ("-a 1 -r 1 -t 4:int -B", "123456"),
                ("-a 1 -r 3 -t 3:float -B", "230.5"),
            ):
                code, shown = await mbpoll(f"-o 10 {options}", modem.paths[1])
                assert code == 0, shown
                assert re.findall(r"^\[\d+\]:\s+(\S+)", shown, re.MULTILINE) == [expected]
            _, shown = await mbpoll("-o 10 -a 2 -r 1 -t 4:int -B", modem.paths[1])
            assert "Target device failed to respond" in shown
            _, shown = await mbpoll(f"-o {NEVER_S} -a 5 -r 0", modem.paths[1])
            assert "Connection timed out" in shown

    run(scenario())


# --- a line that is lost --------------------------------------------------------------------


def test_a_line_that_comes_back_is_served_again_by_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by_id = tmp_path / "usb-FTDI_0001-if00"

    async def plug() -> Terminal:
        """Put a terminal there; the kernel may give it another name than before."""
        line = Terminal()
        by_id.symlink_to(line.path)
        await eventually(until(lambda: caplog.messages[-1].endswith("is open")))
        assert await line.ask() == REPLY
        return line

    async def scenario() -> None:
        async with listening(str(by_id)):
            assert len(caplog.messages) == 1
            for _ in range(2):
                line = await plug()
                by_id.unlink()
                line.unplug()
                await eventually(until(lambda: "does not exist" in caplog.messages[-1]))
            (await plug()).unplug()

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())
    missing = f"{by_id} does not exist: is the adapter plugged in? ls -l /dev/serial/by-id"
    is_open = f"serial line {by_id}, 9600 baud 8N1 is open"
    said = [re.sub(r"gone \(.*\)", "gone ()", text) for text in caplog.messages[:7]]
    lost = [f"{by_id} is gone (): check the cable; trying again", f"{missing}; trying again"]
    assert said == [f"{missing}; trying again", is_open, *lost, is_open, *lost]


def test_a_cause_that_stays_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[object] = []

    class Counted(SerialListener):
        async def _open(self) -> rtu_server.Line:
            attempts.append(None)
            return await super()._open()

    async def scenario() -> None:
        listener = Counted(str(tmp_path / "usb"), responder())
        await listener.start()
        await eventually(until(lambda: len(attempts) >= 5))
        listener.stop()

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"parity": "E"}, "refuses 9600 baud 8E1: its driver knows no such setting"),
        ({"baud": 4_000_000_000}, ""),
    ],
)
def test_a_setting_that_the_line_refuses_is_said(
    setting: dict[str, float], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    # a pseudo-terminal has no parity
    async def scenario() -> None:
        async with terminal() as line, listening(line.path, **setting):
            assert caplog.messages[0].startswith(f"{line.path} {expected}")
            assert caplog.messages[0].endswith("; trying again")

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())


def test_a_plain_file_is_no_serial_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "meter.bin"
    path.write_bytes(b"")

    async def scenario() -> None:
        async with listening(str(path)):
            assert caplog.messages == [f"{path} is no serial port; trying again"]

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())


def is_free(device: str) -> bool:
    """Tell whether a program that wants no other on the line may have it."""
    with open(device, "rb", buffering=0) as other:  # noqa: PTH123 - as other programs do
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_the_line_is_ours_alone_until_stop() -> None:
    async def scenario() -> None:
        async with terminal() as line:
            async with listening(line.path) as listener:
                assert not is_free(line.path)
                listener.stop()
                assert is_free(line.path)
            async with listening(line.path):
                assert await line.ask() == REPLY

    run(scenario())


def test_a_line_in_use_is_taken_when_it_is_free(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with terminal() as line, listening(line.path) as other, listening(line.path):
            in_use = f"{line.path} is in use by another program: sudo fuser -v {line.path}"
            assert caplog.messages[-1] == f"{in_use}; trying again"
            other.stop()
            await eventually(until(lambda: caplog.messages[-1].endswith("is open")))
            assert await line.ask() == REPLY

    with caplog.at_level(logging.WARNING, "gateway"):
        run(scenario())


def test_a_reply_that_is_due_when_the_line_is_lost_or_closed_is_dropped() -> None:
    async def scenario() -> None:
        noise: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.append(context["message"]))
        for end in ("stop", "unplug"):
            async with terminal() as line, listening(line.path, reply_after_s=0.02) as listener:
                line.say(REQUEST)
                assert listener._line
                await eventually(until(lambda: listener._line.was_used))
                opened = listener._line
                listener.stop() if end == "stop" else line.unplug()
                await eventually(until(lambda: opened._transport is None))  # noqa: B023
                await asyncio.sleep(0.03)
        assert noise == []

    run(scenario())


def test_a_listener_stops_before_and_while_it_starts(tmp_path: Path) -> None:
    async def scenario() -> None:
        noise: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noise.append(context["message"]))
        SerialListener(str(tmp_path / "usb"), responder()).stop()
        for turns in range(6):
            async with terminal() as line:
                listener = SerialListener(line.path, responder())
                starting = asyncio.create_task(listener.start())
                for _ in range(turns):
                    await asyncio.sleep(0)
                listener.stop()
                if turns:
                    await eventually(starting)
                else:
                    starting.cancel()
                await eventually(until(lambda: is_free(line.path)))
        assert noise == []

    run(scenario())


# --- RTU over TCP ---------------------------------------------------------------------------


@asynccontextmanager
async def over_tcp(*allow: str) -> AsyncIterator[tuple[RtuOverTcpListener, int]]:
    listener = RtuOverTcpListener("127.0.0.1", 0, responder(), [ip_network(n) for n in allow])
    try:
        _, port = await listener.start()
        yield listener, port
    finally:
        listener.stop()
        await until(lambda: not listener.connections)


def test_pymodbus_reads_rtu_over_tcp() -> None:
    async def scenario() -> None:
        async with over_tcp("127.0.0.0/8") as (_, port):
            client = AsyncModbusTcpClient(
                "127.0.0.1", port=port, framer=FramerType.RTU, timeout=PATIENCE_S, retries=0
            )
            assert await client.connect()
            try:
                holding = await client.read_holding_registers(0, count=5, device_id=1)
                assert holding.registers == [0x1234, 1, 0xE240, 0x4366, 0x8000]
                refused = await client.read_holding_registers(5, count=1, device_id=1)
                assert refused.exception_code == 2
            finally:
                client.close()

    run(scenario())


def test_rtu_over_tcp_takes_noise_and_foreign_units_as_the_bus_does() -> None:
    async def scenario() -> None:
        async with over_tcp() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n" + sealed(b"\x05" + READ_0) + REQUEST * 2)
            assert await eventually(reader.readexactly(2 * len(REPLY))) == REPLY * 2
            writer.close()
            await writer.wait_closed()

    run(scenario())


def test_rtu_over_tcp_admits_whom_it_allows() -> None:
    async def scenario() -> None:
        async with over_tcp("10.0.0.0/8") as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with suppress(ConnectionResetError):
                assert await eventually(reader.read(1)) == b""
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    run(scenario())
