"""A Modbus client for any meter: TCP, RTU over TCP, UDP, a serial line.

The only file that knows pymodbus' client. It connects by itself because pymodbus hides why that
fails, and it tells a request that waits of a lost connection, which pymodbus (3.16.1) does not.
"""

import asyncio
import errno
import logging
import socket
import struct
import termios
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusUdpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from gateway.endpoint import show_endpoint
from gateway.modbus.reads import (
    FUNCTIONS,
    Answer,
    Read,
    Refusal,
    constants_of,
    halves,
    take_apart,
)
from gateway.registers import Identity, Register, Table
from gateway.sources.serial_port import PARITIES, cause_of, errno_of

# What goes wrong is returned; pymodbus' own words about it would only stand between.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())

DEFAULT_TIMEOUT_S = 2.0
MANY = 1_000_000  # silent reads after which pymodbus would close the connection by itself
DEAF_READS = 3  # reads without any answer after which a meter is not asked further
UDP_RETRIES = 1
MAX_NARROWING = 40  # more requests at most that look for the part of a read that is refused
NOT_ASKED = "not asked any more"

# Modbus Application Protocol 1.1b3, 7
EXCEPTIONS: Mapping[int, str] = MappingProxyType(
    {
        0x01: "illegal function",
        0x02: "illegal data address",
        0x03: "illegal data value",
        0x04: "server device failure",
        0x05: "acknowledge",
        0x06: "server device busy",
        0x08: "memory parity error",
        0x0A: "gateway path unavailable",
        0x0B: "gateway target device failed to respond",
    }
)
WRONG_RANGE = (0x02, 0x03)
TARGET_SILENT = 0x0B
READ_DEVICE_IDENTIFICATION, REPORT_SERVER_ID = 0x2B, 0x11
BASIC_IDENTIFICATION = 1

_Client = AsyncModbusTcpClient | AsyncModbusUdpClient | AsyncModbusSerialClient


class Transport(StrEnum):
    """How a meter is spoken to."""

    TCP = "tcp"
    RTU_OVER_TCP = "rtu"
    UDP = "udp"
    SERIAL = "serial"


RTU = (Transport.RTU_OVER_TCP, Transport.SERIAL)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a meter is. `host` is the device of a serial line; the last three are for that alone.

    `parity` is none, even or odd.
    """

    transport: Transport
    host: str
    port: int = 502
    baud: int = 9600
    parity: str = "none"
    stop_bits: int = 1

    def __str__(self) -> str:
        if self.transport is Transport.SERIAL:
            return self.host
        where = show_endpoint(self.host, self.port)
        return where if self.transport is Transport.TCP else f"{self.transport}:{where}"


class UnreachableError(Exception):
    """The meter's endpoint cannot be opened; the text says why, and what to do."""


class _Failure(NamedTuple):
    """Why a request has no reply; `code` is that of an exception."""

    code: int | None
    reason: str
    is_silence: bool = False


class Client:
    """One connection to a meter or a line of them; opened anew when it was lost."""

    def __init__(self, endpoint: Endpoint, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.endpoint = endpoint
        self._timeout_s = timeout_s
        self._client: _Client | None = None
        self._waits = False
        self._spare = 0
        self._may_come_late = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _problem: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def open(self) -> None:
        """Connect if there is no connection; UnreachableError says why that cannot be."""
        if self._client is not None and self._client.connected:
            return
        self.close()
        client = self._made()
        client.set_max_no_responses(MANY)
        self._listen_in(client)
        try:
            # Not `connect`: that one hides the reason.
            async with asyncio.timeout(self._timeout_s):
                client.ctx.transport, _ = await client.ctx.call_create()
        except (OSError, ValueError, OverflowError, termios.error) as problem:
            raise UnreachableError(self._why(problem)) from None
        self._client = client
        self._may_come_late = False

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
        self._client = None

    async def sweep(
        self, unit: int, reads: Sequence[Read], function: int | None = None
    ) -> dict[Register, Answer]:
        """Return the words of all reads by register; a refused or silent one does not end it.

        `function` takes the place of that of the tables. A meter that answers nothing at all is
        not asked further after a few reads.
        """
        answers: dict[Register, Answer] = {}
        silent, has_answered = 0, False
        self._spare = MAX_NARROWING
        for read in reads:
            used = function or FUNCTIONS[read.table]
            if silent >= DEAF_READS and not has_answered:
                refusal = Refusal(used, read.address, read.count, None, NOT_ASKED)
                answers |= take_apart(read, refusal)
                continue
            answer = await self.read(unit, used, read.address, read.count)
            if isinstance(answer, Refusal) and answer.code is None:
                silent += 1
            else:
                has_answered = True
            answers |= take_apart(read, answer)
            if isinstance(answer, Refusal):
                answers |= await self._narrowed(unit, read, answer)
        return answers

    async def _narrowed(self, unit: int, read: Read, refusal: Refusal) -> dict[Register, Answer]:
        """Ask for the parts of a refused read: often it is a part alone that is refused."""
        answers: dict[Register, Answer] = {}
        is_silent_meter = refusal.code == TARGET_SILENT
        parts: list[Read] = []
        if is_silent_meter:
            parts = constants_of(read)
        elif refusal.code in WRONG_RANGE:
            parts = halves(read)
        while parts and self._spare:
            part = parts.pop(0)
            self._spare -= 1
            answer = await self.read(unit, refusal.function, part.address, part.count)
            if isinstance(answer, Refusal) and is_silent_meter:
                break  # there is no such unit at all
            answers |= take_apart(part, answer)
            if isinstance(answer, Refusal) and answer.code in WRONG_RANGE:
                parts += halves(part)
        return answers

    async def read(self, unit: int, function: int, address: int, count: int) -> Answer:
        """Return the words of `count` registers, two bytes each, or why there are none."""

        def ask(client: _Client) -> Awaitable[ModbusPDU]:
            if function == FUNCTIONS[Table.HOLDING]:
                return client.read_holding_registers(address, count=count, device_id=unit)
            return client.read_input_registers(address, count=count, device_id=unit)

        reply = await self._reply(ask)
        if isinstance(reply, ModbusPDU) and len(reply.registers) != count:
            reply = _Failure(None, f"answered {len(reply.registers)} registers instead of {count}")
        if isinstance(reply, _Failure):
            return Refusal(function, address, count, *reply)
        return struct.pack(f">{count}H", *reply.registers)

    async def identity(self, unit: int) -> Identity | Refusal:
        """Return what the meter says of itself (function 43/14), or why it does not."""
        reply = await self._reply(
            lambda client: client.read_device_information(
                read_code=BASIC_IDENTIFICATION, device_id=unit
            )
        )
        if isinstance(reply, _Failure):
            return Refusal(READ_DEVICE_IDENTIFICATION, 0, 0, *reply)
        objects: Mapping[int, object] = getattr(reply, "information", {})
        return Identity(*(_printable(objects.get(number, b"")) for number in range(3)))

    async def server_id(self, unit: int) -> str | Refusal:
        """Return what the meter answers to function 17, or why it does not."""
        reply = await self._reply(lambda client: client.report_device_id(device_id=unit))
        if isinstance(reply, _Failure):
            return Refusal(REPORT_SERVER_ID, 0, 0, *reply)
        return _printable(getattr(reply, "identifier", b""))

    async def _reply(
        self, ask: Callable[[_Client], Awaitable[ModbusPDU]]
    ) -> "ModbusPDU | _Failure":
        """Return the reply, or why there is none."""
        try:
            await self.open()
        except UnreachableError as problem:
            return _Failure(None, str(problem))
        assert self._client is not None  # noqa: S101 - it is open
        if self._may_come_late:
            # RTU has no transaction ids: a late reply would pass for that to the next request.
            await asyncio.sleep(self._timeout_s)
            self._may_come_late = False
        self._waits = True
        try:
            reply = await ask(self._client)
        except ConnectionError as problem:
            return _Failure(None, str(problem))
        except ModbusException:
            self._may_come_late = self.endpoint.transport in RTU
            return _Failure(None, f"no answer within {self._timeout_s:g} s", is_silence=True)
        finally:
            self._waits = False
        if isinstance(reply, ExceptionResponse):
            return _Failure(reply.exception_code, named(reply.exception_code))
        return reply

    def _made(self) -> _Client:
        """Return pymodbus' client, which must not reconnect by itself."""
        where, timeout_s = self.endpoint, self._timeout_s
        match where.transport:
            case Transport.SERIAL:
                return AsyncModbusSerialClient(
                    where.host,
                    baudrate=where.baud,
                    parity=PARITIES[where.parity],
                    stopbits=where.stop_bits,
                    reconnect_delay=0,
                    timeout=timeout_s,
                    retries=0,
                )
            case Transport.UDP:
                return AsyncModbusUdpClient(
                    where.host,
                    port=where.port,
                    reconnect_delay=0,
                    timeout=timeout_s,
                    retries=UDP_RETRIES,
                )
            case _:
                is_rtu = where.transport is Transport.RTU_OVER_TCP
                return AsyncModbusTcpClient(
                    where.host,
                    port=where.port,
                    framer=FramerType.RTU if is_rtu else FramerType.SOCKET,
                    reconnect_delay=0,
                    timeout=timeout_s,
                    retries=0,
                )

    def _listen_in(self, client: _Client) -> None:
        """Let a request that waits hear of a lost connection, a refusal of UDP, and of garbage."""
        ctx = client.ctx
        receive = ctx.callback_data

        def fail(reason: str) -> None:
            if self._waits and not ctx.response_future.done():
                ctx.response_future.set_exception(ConnectionError(reason))

        def connected(is_there: bool) -> None:
            if not is_there:
                fail("the connection was closed")

        def received(data: bytes, addr: tuple[object, ...] | None = None) -> int:
            try:
                return receive(data, addr)
            except (ModbusException, struct.error, IndexError, ValueError):
                fail("what came is no Modbus reply")
                return len(data)

        def refused(_problem: Exception) -> None:
            fail(f"nothing listens on {self.endpoint}")

        # pymodbus leaves no other way in.
        ctx.trace_connect = connected
        ctx.callback_data = received  # type: ignore[method-assign]
        ctx.error_received = refused  # type: ignore[method-assign]

    def _why(self, problem: BaseException) -> str:
        """Return why the endpoint cannot be opened, and what to do."""
        where = str(self.endpoint)
        if self.endpoint.transport is Transport.SERIAL:
            number = errno_of(problem)
            if number == errno.EINVAL:
                return f"{where} refuses its baud rate or parity (--baud, --parity, --stop-bits)"
            return cause_of(self.endpoint.host, number, str(problem))
        if isinstance(problem, socket.gaierror):
            return f"{self.endpoint.host!r} is no name that this network knows"
        # A name with several addresses gives one error that quotes those of all.
        is_refused = f"Errno {errno.ECONNREFUSED}]" in str(problem)
        if isinstance(problem, ConnectionRefusedError) or is_refused:
            return f"nothing listens on {where}: is the port right, and does the meter speak TCP?"
        if isinstance(problem, TimeoutError):
            return f"{where} does not answer: is it switched on, and in this network?"
        return f"{where} cannot be reached: {getattr(problem, 'strerror', None) or problem}"


def named(code: int) -> str:
    """Return an exception code with its name."""
    return f"exception 0x{code:02X}, {EXCEPTIONS.get(code, 'of no known meaning')}"


def _printable(octets: object) -> str:
    if not isinstance(octets, bytes):
        return str(octets)
    return octets.rstrip(b"\0 ").decode("ascii", "backslashreplace")
