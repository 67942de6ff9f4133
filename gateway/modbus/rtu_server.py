"""Listeners that speak Modbus RTU: on a serial line, and through a converter over TCP.

Of pymodbus' servers only what opens a serial port is taken, and only here. Their RTU framer
(3.16.1) loses the request behind a byte of noise, and on a bus they answer unit ids of others and
broadcasts; so `rtu` does the framing. Their serial server does not open a lost port again either;
`SerialListener` does.
"""

import asyncio
import errno
import logging
import termios
import time
from typing import cast

from gateway.limits import KIB
from gateway.modbus.clients import Client, Overhearing
from gateway.modbus.responder import Responder
from gateway.modbus.rtu import MAX_FRAME_BYTES, SILENCE_S, RtuConversation, gap_s
from gateway.modbus.server import Listener
from gateway.sources.serial_port import cause_of, errno_of

log = logging.getLogger(__name__)

MAX_NOISE_BYTES = 16 * KIB  # 17 s at 9600 baud: no frame will come out of this
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 5.0  # some inverters bear a silent meter for 10 s only
MAX_UNSENT = 8  # replies that wait for a serial line which takes nothing


class RtuOverTcpListener(Listener):
    """RTU frames over TCP, as a transparent converter of an RS485 line carries them.

    As on the line, other unit ids are not answered, and frames come at any pace between any noise.
    But who brings nothing but noise is sent away: each byte of it costs what a request costs.
    """

    read_bytes = MAX_FRAME_BYTES
    foreign = (
        f"sent {MAX_NOISE_BYTES // KIB} KiB without one sound RTU frame, closed: are the "
        "converter's baud rate and parity those of its line?"
    )

    def converse(self, client: Client) -> RtuConversation:
        """Start a connection's conversation, which counts what the client asks."""
        overhearing = Overhearing(self.responder, client)
        return RtuConversation(overhearing, max_noise=MAX_NOISE_BYTES)


class SerialListener:
    """Modbus RTU on a serial line, opened again whenever it was lost.

    `parity` is N, E or O. A reply starts `reply_after_s` after the last byte of its request came;
    None: after the silence that must part two frames at this baud rate, so that the client's
    adapter has let go of the line.
    """

    def __init__(
        self,
        device: str,
        responder: Responder,
        *,
        baud: int = 9600,
        parity: str = "N",
        stop_bits: int = 1,
        reply_after_s: float | None = None,
    ) -> None:
        self.responder = responder
        self.gap_s = gap_s(baud, 9 + (parity != "N") + stop_bits)  # a start bit, 8 data bits
        self.reply_after_s = self.gap_s if reply_after_s is None else reply_after_s
        self._device = device
        self._baud, self._parity, self._stop_bits = baud, parity, stop_bits
        self._setting = f"{baud} baud 8{parity}{stop_bits}"
        self._line: Line | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.trouble: str | None = None  # why it is not open now
        self._causes: set[str] = set()  # why it was not open, said since bytes last came
        self._is_open_said = False

    @property
    def has_ended(self) -> bool:
        """Tell whether nobody cares for the line any more, though nobody stopped it."""
        return self._keeper is not None and self._keeper.done()

    async def start(self) -> str:
        """Open the line; return its device. One that cannot be opened now is tried again."""
        tried = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep_open(tried))
        self._keeper.add_done_callback(lambda _: tried.set())
        await tried.wait()
        return self._device

    def stop(self) -> None:
        """Close the line."""
        if self._keeper:
            self._keeper.cancel()
        if self._line:
            self._line.close()

    def bytes_came(self) -> None:
        """Take the line for a good one: what goes wrong from now on is news."""
        self._causes.clear()

    async def _keep_open(self, tried: asyncio.Event) -> None:
        """Open the line again and again, with growing pauses; `tried` is set after the first."""
        pause_s = FIRST_RETRY_S
        try:
            while True:
                try:
                    line = await self._open()
                # termios.error is no OSError.
                except (OSError, ValueError, OverflowError, termios.error) as problem:
                    self._say(self._why_not(problem))
                else:
                    self._say_open()
                    tried.set()
                    why = await line.lost
                    self._say(f"{self._device} is gone ({why or 'closed'}): check the cable")
                    if line.was_used:
                        pause_s = FIRST_RETRY_S
                tried.set()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_RETRY_S)
        finally:
            if self._line:
                self._line.close()

    async def _open(self) -> "Line":
        # Two megabytes, which RTU over TCP spares.
        from pymodbus.transport.serialtransport import create_serial_connection

        _, line = await create_serial_connection(
            asyncio.get_running_loop(),
            lambda: Line(self),
            self._device,
            baudrate=self._baud,
            bytesize=8,
            parity=self._parity,
            stopbits=self._stop_bits,
        )
        self._line = cast(Line, line)
        await self._line.made
        return self._line

    def _why_not(self, problem: Exception) -> str:
        number = errno_of(problem)
        if number == errno.EINVAL:
            return f"{self._device} refuses {self._setting}: its driver knows no such setting"
        return cause_of(self._device, number, str(problem))

    def _say(self, cause: str) -> None:
        self.trouble = cause
        if cause not in self._causes:
            self._causes.add(cause)
            self._is_open_said = False
            log.warning("%s; trying again", cause)

    def _say_open(self) -> None:
        self.trouble = None
        if not self._is_open_said:
            log.warning("serial line %s, %s is open", self._device, self._setting)
        self._is_open_said = True


class Line(asyncio.Protocol):
    """A serial line from its opening to its loss."""

    def __init__(self, listener: SerialListener) -> None:
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        self.was_used = False
        self._loop = loop
        self._listener = listener
        self._conversation = RtuConversation(listener.responder, max(SILENCE_S, listener.gap_s))
        self._transport: asyncio.Transport | None = None
        self._is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open."""
        self._transport = cast(asyncio.Transport, transport)
        if self._is_closed:
            self.close()
        elif not self.made.done():
            self.made.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self.was_used = True
        self._listener.bytes_came()
        replies = self._conversation.receive(data, time.monotonic())
        if not replies:
            return
        if self._listener.reply_after_s:
            self._loop.call_later(self._listener.reply_after_s, self._send, replies)
        else:
            self._send(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the line is gone, and why."""
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(exc)

    def close(self) -> None:
        """Close the port; what was not sent by now is not sent."""
        self._is_closed = True
        if self._transport:
            self._transport.close()
        self._transport = None

    def _send(self, replies: bytes) -> None:
        # pymodbus' transport never asks to pause, and keeps what the port does not take.
        if self._transport and self._transport.get_write_buffer_size() < MAX_UNSENT:
            self._transport.write(replies)
