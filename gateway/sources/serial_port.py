"""A serial port: the M-Bus slave adapter on the meter's customer interface."""

import asyncio
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import serial_asyncio

from gateway.sources.address import SourceAddress
from gateway.sources.parity_marks import Unmarker
from gateway.sources.source import Deliver, Opened, SourceError

TERMINALS = Path("/sys/class/tty")
PSEUDO_TERMINALS = Path("/dev/pts")
PARITIES = {"none": "N", "even": "E", "odd": "O"}

# INPCK also without parity: Linux marks framing errors only with it (n_tty.c, and the masks of the
# UART drivers). pyserial clears both when it opens a port.
MARKING = termios.PARMRK | termios.INPCK
AGAINST_MARKING = termios.IGNPAR | termios.IGNBRK | termios.BRKINT | termios.ISTRIP
INPUT_FLAGS = 0  # their place in what tcgetattr returns

# Each read costs the same, one byte or many. So they gather; but where it is known how many a frame
# still lacks, its last byte is read at once.
BYTES_A_READ = 32
BITS_A_BYTE = 11  # start, 8 data, parity, stop
# At most 0.2 s, so that a pulled plug is noticed at once, also at 300 baud. At least 10 ms for an
# adapter that floods: it brings 1,024 bytes (pyserial-asyncio's read) in that time, and no more.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.2
FLOOD_BYTES = 1024
HANDED_OVER_S = 0.02  # what a USB adapter gathers before it hands over (FTDI: 16 ms)
UNMARKED = "its driver reports no parity or framing errors: damage shows in checksums alone"


class SettingRefusedError(SourceError):
    """The port is there, but has not this baud rate or parity."""


@dataclass(frozen=True, slots=True)
class SerialSource:
    """Reads a serial port; 2400 baud 8E1 unless said otherwise (EN 13757-2, operators' sheets)."""

    device: str
    baud: int = 2400
    parity: str = "even"

    @classmethod
    def parse(cls, address: SourceAddress) -> "SerialSource":
        """Read serial:/dev/ttyUSB0?baud=2400&parity=even; ValueError says what is wrong."""
        address.allow(("baud", "parity"))
        if "://" in address.target or "\0" in address.target:
            raise ValueError(f"{address.text!r} names no device; one looks like /dev/ttyUSB0")
        return cls(
            device=address.target,
            baud=address.integer("baud", 2400, lowest=50) or 2400,
            parity=address.choice("parity", PARITIES, "even"),
        )

    def pause_s(self, came: int, missing: int | None) -> float:
        """Return how long bytes gather before the next read, in seconds.

        `came` bytes were read, a frame that has begun lacks `missing` more; None: not known.
        """
        byte_s = BITS_A_BYTE / self.baud
        if missing is not None and came < FLOOD_BYTES:
            return min(max((missing - 1) * byte_s - HANDED_OVER_S, 0.0), LONGEST_PAUSE_S)
        return min(max(BYTES_A_READ * byte_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)

    def describe(self) -> str:
        """Return the port and its setting."""
        return f"serial port {self.device}, {self.baud} baud 8{PARITIES[self.parity]}1"

    @property
    def is_lasting(self) -> bool:
        """Return True: a real meter goes on counting."""
        return True

    def trouble(self) -> str | None:
        """Return why the port cannot be opened, from its file alone."""
        device = Path(self.device)
        try:
            if not device.exists():
                return cause_of(self.device, errno.ENOENT, "")
            if not os.access(device, os.R_OK | os.W_OK):
                return cause_of(self.device, errno.EACCES, "")
            # Opening it to ask would move its control lines.
            real = device.resolve()
            is_terminal = real.parent == PSEUDO_TERMINALS or (TERMINALS / real.name).exists()
            return None if is_terminal else cause_of(self.device, errno.ENOTTY, "")
        except OSError as problem:
            return cause_of(self.device, problem.errno, str(problem))

    async def run(self, deliver: Deliver, opened: Opened) -> None:
        """Read until the port breaks."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[Exception | None] = loop.create_future()
        reader = _Reader(deliver, lost, self.pause_s)
        refusal: SourceError | None = None
        try:
            transport, _ = await serial_asyncio.create_serial_connection(
                loop,
                lambda: reader,
                self.device,
                baudrate=self.baud,
                parity=PARITIES[self.parity],
                exclusive=True,
            )
        except (OSError, ValueError, OverflowError, termios.error) as problem:
            refusal = self._refusal(problem)
        if refusal:
            # Not as the end of `problem`, whose traceback would keep the port open.
            raise refusal
        descriptor = transport.serial.fd
        _keep_others_out(descriptor)
        flags = _mark_damage(descriptor)
        reader.unmarker = Unmarker() if flags & termios.PARMRK else None
        if flags & (MARKING | AGAINST_MARKING) == MARKING:
            opened()
        else:
            opened(UNMARKED)
        try:
            problem_at_end = await lost
        finally:
            if not transport.is_closing():  # else it has closed the descriptor
                _let_others_in(descriptor)
            transport.close()
        raise SourceError(f"{self.device} is gone ({problem_at_end or 'closed'}): check the cable")

    def _refusal(self, problem: BaseException) -> SourceError:
        number = errno_of(problem)
        kind = SettingRefusedError if number == errno.EINVAL else SourceError
        return kind(cause_of(self.device, number, str(problem)))


class _Reader(asyncio.Protocol):
    """Hands bytes on, and after each read lets new ones gather; says when the port is lost.

    `unmarker` is there when the terminal marks damaged bytes; else all bytes are what they are.
    """

    def __init__(
        self,
        deliver: Deliver,
        lost: "asyncio.Future[Exception | None]",
        pause_s: Callable[[int, int | None], float],
    ) -> None:
        self._deliver = deliver
        self._lost = lost
        self._pause_s = pause_s
        self.unmarker: Unmarker | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)

    def data_received(self, data: bytes) -> None:
        chunk, damaged = self.unmarker.feed(data) if self.unmarker else (data, ())
        if not chunk:
            return  # the first half of an escape
        try:
            missing = self._deliver(chunk, damaged)
        except Exception as defect:
            # asyncio would log it and go on; whoever runs the source is to hear of it.
            if not self._lost.done():
                self._lost.set_exception(defect)
            return
        if (pause_s := self._pause_s(len(data), missing)) > 0:
            self._transport.pause_reading()
            loop = asyncio.get_running_loop()
            loop.call_later(pause_s, self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(exc)


def _keep_others_out(descriptor: int) -> None:
    """Refuse the port to programs that come later: each byte has one reader, and they take ours.

    pyserial's lock stops only those that ask for one.
    """
    with suppress(OSError):  # a driver that cannot: the lock stands
        fcntl.ioctl(descriptor, termios.TIOCEXCL)


def _let_others_in(descriptor: int) -> None:
    # It outlives our descriptor while another program, older than we are, has the port open too.
    with suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCNXCL)


def _mark_damage(descriptor: int) -> int:
    """Ask for marks at damaged bytes; return the input flags that stand, whatever was asked."""
    try:
        attributes = termios.tcgetattr(descriptor)
        attributes[INPUT_FLAGS] |= MARKING
        attributes[INPUT_FLAGS] &= ~AGAINST_MARKING
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
        # What came since the port was opened is not marked.
        termios.tcflush(descriptor, termios.TCIFLUSH)
        # A driver may take the wish and not fulfil it.
        return int(termios.tcgetattr(descriptor)[INPUT_FLAGS])
    except termios.error:
        return 0  # pyserial has cleared PARMRK: bytes come as they are


def errno_of(problem: BaseException) -> object:
    """Return the system's error number, wherever pyserial left it."""
    if number := getattr(problem, "errno", None):
        return number
    # termios.error is no OSError and carries it as its first argument; pyserial hides one of them
    # behind an exception of its own.
    origin = problem if isinstance(problem, termios.error) else problem.__context__
    return origin.args[0] if isinstance(origin, termios.error) else None


def cause_of(device: str, number: object, text: str) -> str:
    """Return why a port cannot be opened, and what to do."""
    match number:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return f"{device} does not exist: is the adapter plugged in? ls -l /dev/serial/by-id"
        case errno.EACCES | errno.EPERM:
            group = _group_of(device)
            if group == "root":
                return f"{device} may not be read: it belongs to root alone; chgrp dialout {device}"
            return f"{device} may not be read: sudo usermod -aG {group} $USER, then log in again"
        case errno.EBUSY | errno.EAGAIN:
            return f"{device} is in use by another program: sudo fuser -v {device}"
        case errno.ENOTTY | errno.EISDIR:
            return f"{device} is no serial port"
        case errno.EINVAL:
            return f"{device} refuses its baud rate or parity; ?parity=none if it has no parity"
        case _:
            return f"{device} cannot be opened: {text}"


def _group_of(device: str) -> str:
    try:
        return Path(device).group()
    except (OSError, KeyError):
        return "dialout"
