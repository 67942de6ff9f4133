"""Serial ports, over pseudo-terminals: bytes in order, each cause of trouble in words.

A pseudo-terminal has no parity, so where bytes shall flow it is `parity="none"`.
"""

import asyncio
import fcntl
import os
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.sources import SourceError, keep_running, source
from gateway.sources.serial_port import SerialSource, SettingRefusedError
from gateway.sources.source import Deliver, Opened

PATIENCE_S = 30.0
NOBODY = 65534
EVERY_BYTE = bytes(range(256)) * 4
MARKING = termios.PARMRK | termios.INPCK
AGAINST_MARKING = termios.IGNPAR | termios.IGNBRK | termios.BRKINT | termios.ISTRIP
TIOCGEXCL = 0x80045440  # asm-generic/ioctls.h
TCGETS2, TERMIOS2 = 0x802C542A, struct.Struct("4I 20s 2I")  # asm-generic/termbits.h
UNMARKED = "its driver reports no parity or framing errors: damage shows in checksums alone"


class Terminal:
    """A pseudo-terminal: a meter writes at one end, a SerialSource reads the device."""

    def __init__(self) -> None:
        self._meter, self._device = os.openpty()
        self.path = os.ttyname(self._device)
        self.written = bytearray()

    def write(self, chunk: bytes) -> None:
        assert os.write(self._meter, chunk) == len(chunk)
        self.written += chunk

    def input_flags(self) -> int:
        return int(termios.tcgetattr(self._device)[0])

    def set_input_flags(self, on: int = 0, off: int = 0) -> None:
        attributes = termios.tcgetattr(self._device)
        attributes[0] = (attributes[0] | on) & ~off
        termios.tcsetattr(self._device, termios.TCSANOW, attributes)

    def baud(self) -> int:
        """The speed in numbers, which no termios call shows (TCGETS2)."""
        answer = fcntl.ioctl(self._device, TCGETS2, bytes(TERMIOS2.size))
        return int(TERMIOS2.unpack(answer)[-1])

    def is_exclusive(self) -> bool:
        """Whether it refuses to be opened once more, to all but root (TIOCGEXCL)."""
        answer = fcntl.ioctl(self._device, TIOCGEXCL, bytes(4))
        return bool(int.from_bytes(answer, sys.byteorder))

    def unread(self) -> int:
        """How many bytes wait for the reader, marks among them."""
        return int.from_bytes(fcntl.ioctl(self._device, termios.TIOCINQ, bytes(4)), sys.byteorder)

    async def write_alone(self, chunk: bytes, waiting: int) -> None:
        """Write a chunk, of which the terminal makes `waiting` bytes, and see it read by itself."""
        self.write(chunk)
        self.wait_for(waiting)
        await until(lambda: self.unread() == 0)

    def wait_for(self, waiting: int) -> None:
        """Wait until so many bytes are there, without a turn for the reader."""
        patient_until = time.monotonic() + PATIENCE_S
        while self.unread() < waiting:
            assert time.monotonic() < patient_until

    def flood(self) -> "subprocess.Popen[bytes]":
        """Write noise as fast as it goes, in a process of its own."""
        descriptor = self._meter
        command = [sys.executable, "-c", FLOOD, str(descriptor)]
        return subprocess.Popen(command, pass_fds=[descriptor], stderr=subprocess.DEVNULL)

    def unplug(self) -> None:
        """Hang up, as a pulled plug does."""
        os.close(self._meter)
        os.close(self._device)

    def close(self) -> None:
        with suppress(OSError):
            self.unplug()


class Got(bytearray):
    """What a source delivered, and the indices in all of it that came damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: list[int] = []

    def deliver(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        assert chunk
        assert all(0 <= index < len(chunk) for index in damaged)
        self.damaged += [len(self) + index for index in damaged]
        self += chunk


def nowhere(chunk: bytes, damaged: Sequence[int] = ()) -> None:
    """Deliver to nobody."""


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


def port(device: str) -> SerialSource:
    return SerialSource(device, baud=115_200, parity="none")  # the shortest pauses between reads


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bytes come through plain callbacks
        await asyncio.sleep(0.002)


@asynccontextmanager
async def reading(terminal: Terminal, got: Got) -> AsyncIterator["asyncio.Task[None]"]:
    """Read the terminal into `got`; it is open inside."""
    is_open = asyncio.Event()
    running = asyncio.create_task(port(terminal.path).run(got.deliver, is_open.set))
    await is_open.wait()
    try:
        yield running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, SourceError):
            await running


def refusal(serial_source: SerialSource) -> str:
    """Why it cannot run."""

    async def scenario() -> None:
        opened: list[bool] = []
        try:
            await serial_source.run(nowhere, lambda _="": opened.append(True))
        finally:
            assert opened == []

    with pytest.raises(SourceError) as problem:
        run(scenario())
    return str(problem.value)


def take_alone(device: str) -> None:
    """Open a port as other programs do that want no second reader; OSError if there is one."""
    descriptor = os.open(device, os.O_RDONLY | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


# --- reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64, 256, 1024])
def test_bytes_arrive_unchanged_and_in_order_however_they_are_cut(
    terminal: Terminal, size: int
) -> None:
    got = Got()

    async def scenario() -> None:
        async with reading(terminal, got):
            for start in range(0, len(EVERY_BYTE), size):
                terminal.write(EVERY_BYTE[start : start + size])
                await asyncio.sleep(0)
            await until(lambda: len(got) >= len(EVERY_BYTE))

    run(scenario())
    assert bytes(got) == EVERY_BYTE


def test_random_chunks_arrive_in_order(terminal: Terminal) -> None:
    dice = Random(1)
    got = Got()

    async def scenario() -> None:
        async with reading(terminal, got):
            for _ in range(100):
                terminal.write(dice.randbytes(dice.randrange(1, 400)))
                await until(lambda: len(terminal.written) - len(got) < 2000)  # it holds some 4,000
            await until(lambda: len(got) >= len(terminal.written))

    run(scenario())
    assert got == terminal.written


def test_what_came_before_the_port_was_opened_is_not_delivered(terminal: Terminal) -> None:
    got = Got()

    async def scenario() -> None:
        terminal.write(b"old\n")
        async with reading(terminal, got):
            terminal.write(b"new")
            await until(lambda: b"new" in got)

    run(scenario())
    assert bytes(got) == b"new"


def test_after_a_cancelled_run_the_port_is_free(terminal: Terminal) -> None:
    async def scenario() -> None:
        for _ in range(3):
            async with reading(terminal, Got()):
                with pytest.raises(OSError):  # noqa: PT011 - locked; EBUSY for all but root
                    take_alone(terminal.path)
            await asyncio.sleep(0)  # the transport closes one turn of the loop later
            take_alone(terminal.path)

    run(scenario())


def test_after_a_setting_was_refused_the_port_is_free_even_while_the_refusal_is_kept(
    terminal: Terminal,
) -> None:
    with pytest.raises(SettingRefusedError) as kept:
        run(SerialSource(terminal.path, parity="even").run(nowhere, lambda _="": None))
    take_alone(terminal.path)
    assert "refuses its baud rate or parity" in str(kept.value)


# --- pace -----------------------------------------------------------------------------------


class Turns(Got):
    """What a source delivered, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def deliver(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        self.at.append(time.monotonic())
        super().deliver(chunk, damaged)


@pytest.mark.parametrize(
    ("baud", "longest_s"), [(300, 0.2), (2400, 0.15), (9600, 0.04), (115_200, 0.01)]
)
def test_bytes_of_which_nothing_is_known_gather_for_a_tenth_of_a_telegram_at_most(
    baud: int, longest_s: float
) -> None:
    pause_s = SerialSource("/dev/ttyUSB0", baud).pause_s(1, None)
    assert pause_s <= longest_s
    assert pause_s <= max(0.1 * 376 * 11 / baud, 0.01)


@pytest.mark.parametrize("baud", [300, 2400, 9600, 115_200])
@pytest.mark.parametrize("missing", [1, 2, 10, 250])
def test_a_frames_last_byte_is_waited_for_and_never_waits(baud: int, missing: int) -> None:
    pause_s = SerialSource("/dev/ttyUSB0", baud).pause_s(8, missing)
    assert pause_s * baud / 11 <= missing - 1
    assert pause_s == 0 or missing > 1


def test_a_flood_is_given_pauses_whatever_seems_to_be_missing_in_it() -> None:
    assert SerialSource("/dev/ttyUSB0", 115_200).pause_s(1024, 1) >= 0.01


def test_bytes_that_trickle_in_are_read_many_at_a_time(terminal: Terminal) -> None:
    serial_source = SerialSource(terminal.path, baud=2400, parity="none")
    got = Turns()

    async def scenario() -> None:
        is_open = asyncio.Event()
        running = asyncio.create_task(serial_source.run(got.deliver, is_open.set))
        await is_open.wait()
        for _ in range(100):
            terminal.write(b"x")
            await asyncio.sleep(0.005)  # a byte takes that long at 2400 baud
        await until(lambda: len(got) == 100)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    run(scenario())
    pauses = [later - earlier for earlier, later in pairwise(got.at)]
    assert min(pauses) >= 0.9 * serial_source.pause_s(1, None)
    assert len(got.at) < 100


FLOOD = """
import os, sys
noise = os.urandom(4096)
while True:
    os.write(int(sys.argv[1]), noise)
"""


def test_a_flood_is_taken_in_small_bites_and_others_have_their_turns(terminal: Terminal) -> None:
    got = Turns()
    turns = 0

    async def scenario() -> None:
        nonlocal turns
        async with reading(terminal, got):
            flooding = terminal.flood()
            try:
                while len(got) < 50_000:
                    await asyncio.sleep(0)
                    turns += 1
            finally:
                flooding.kill()
                flooding.wait()

    run(scenario())
    # A slow machine reads more slowly still.
    assert (len(got.at) - 1) * port("").pause_s(1024, None) * 0.9 <= got.at[-1] - got.at[0]
    assert len(got) <= 1024 * len(got.at)
    assert turns > len(got.at), "the loop went on between the bites"


# --- damage on the line ---------------------------------------------------------------------


def test_damage_is_asked_for_on_the_open_descriptor(terminal: Terminal) -> None:
    terminal.set_input_flags(on=AGAINST_MARKING)

    async def scenario() -> None:
        async with reading(terminal, Got()):
            assert terminal.input_flags() & (MARKING | AGAINST_MARKING) == MARKING

    run(scenario())


def test_the_flags_still_stand_when_bytes_have_come(terminal: Terminal) -> None:
    got = Got()

    async def scenario() -> None:
        async with reading(terminal, got):
            terminal.write(b"\xff")
            await until(lambda: got == b"\xff")
            assert terminal.input_flags() & (MARKING | AGAINST_MARKING) == MARKING

    run(scenario())


def test_a_baud_rate_of_ones_own_outlives_the_flags(terminal: Terminal) -> None:
    serial_source = SerialSource(terminal.path, baud=12_345, parity="none")
    is_open = asyncio.Event()

    async def scenario() -> None:
        running = asyncio.create_task(serial_source.run(nowhere, is_open.set))
        await is_open.wait()
        assert terminal.input_flags() & MARKING == MARKING
        assert terminal.baud() == 12_345
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(scenario())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1024])
def test_an_ff_comes_once_wherever_it_is_cut(terminal: Terminal, size: int) -> None:
    got = Got()
    line = b"\xff\xff\x00\x41\x00\xff" * 10 + b"\xff"

    async def scenario() -> None:
        async with reading(terminal, got):
            for start in range(0, len(line), size):
                chunk = line[start : start + size]
                await terminal.write_alone(chunk, len(chunk) + chunk.count(0xFF))
                assert got == terminal.written

    run(scenario())
    assert (got, got.damaged) == (line, [])


@pytest.mark.parametrize("before", range(1020, 1026))
def test_a_pair_of_ff_between_two_reads_is_one_ff(terminal: Terminal, before: int) -> None:
    got = Got()
    line = b"a" * before + b"\xff\xffb"  # pyserial-asyncio reads 1,024 bytes at a time

    async def scenario() -> None:
        async with reading(terminal, got):
            await terminal.write_alone(line, len(line) + 2)

    run(scenario())
    assert (got, got.damaged) == (line, [])


@pytest.mark.parametrize("size", [1, 2, 1024])
def test_damaged_bytes_are_delivered_with_their_indices(terminal: Terminal, size: int) -> None:
    got = Got()
    # A parity error at 03, a good FF, a damaged FF, a break, a good 00.
    marked = b"\x68\xff\x00\x03\xff\xff\xff\x00\xff\xff\x00\x00\x00\x16"

    async def scenario() -> None:
        async with reading(terminal, got):
            # The source has switched the marks on; with them off the terminal hands ours through,
            # as they would come from the UART's line.
            terminal.set_input_flags(off=termios.PARMRK)
            for start in range(0, len(marked), size):
                chunk = marked[start : start + size]
                await terminal.write_alone(chunk, len(chunk))

    run(scenario())
    assert (got, got.damaged) == (b"\x68\x03\xff\xff\x00\x00\x16", [1, 3, 4])


def test_what_came_before_the_marks_is_not_taken_for_marks(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_set = termios.tcsetattr

    def tcsetattr(descriptor: int, when: int, attributes: list[Any]) -> None:
        if attributes[0] & MARKING:
            terminal.write(b"\xff\x00")
            terminal.wait_for(2)
        really_set(descriptor, when, attributes)

    monkeypatch.setattr(termios, "tcsetattr", tcsetattr)
    got = Got()

    async def scenario() -> None:
        async with reading(terminal, got):
            terminal.write(b"new")
            await until(lambda: got.endswith(b"new"))

    run(scenario())
    assert (got, got.damaged) == (b"new", [])


def refuse(attributes: list[Any]) -> None:
    raise termios.error(22, "Invalid argument")


def ignore(attributes: list[Any]) -> None:
    attributes[0] &= ~MARKING


@pytest.mark.parametrize("driver", [refuse, ignore])
def test_a_driver_without_marks_is_read_and_it_is_said_once(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, driver: Callable[[list[Any]], None]
) -> None:
    # A pseudo-terminal takes every input flag: this driver is played.
    really_set = termios.tcsetattr

    def tcsetattr(descriptor: int, when: int, attributes: list[Any]) -> None:
        if attributes[0] & MARKING:
            driver(attributes)
        really_set(descriptor, when, attributes)

    monkeypatch.setattr(termios, "tcsetattr", tcsetattr)
    got = Got()
    said: list[str] = []

    async def scenario() -> None:
        running = asyncio.create_task(
            keep_running(port(terminal.path), got.deliver, said.append),
        )
        await until(lambda: bool(said))
        assert terminal.input_flags() & MARKING == 0
        terminal.write(EVERY_BYTE)
        await until(lambda: len(got) >= len(EVERY_BYTE))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(scenario())
    assert (got, got.damaged) == (EVERY_BYTE, [])
    assert said == [f"serial port {terminal.path}, 115200 baud 8N1 is open, but {UNMARKED}"]


# --- trouble, in words ----------------------------------------------------------------------


def test_a_missing_device_is_named_with_where_to_look(tmp_path: Path) -> None:
    device = str(tmp_path / "usb-FTDI")
    expected = f"{device} does not exist: is the adapter plugged in? ls -l /dev/serial/by-id"
    assert port(device).trouble() == expected
    assert refusal(port(device)) == expected


def test_a_link_to_a_device_that_is_gone_is_a_missing_device(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(tmp_path / "gone")
    device = str(tmp_path / "by-id")
    assert port(device).trouble() == refusal(port(device))
    assert refusal(port(device)).startswith(f"{device} does not exist")


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Be no root for a while: root may read everything."""
    if os.getuid() != 0:
        yield
        return
    try:
        os.setresuid(NOBODY, NOBODY, 0)
    except OSError:
        pytest.skip("root here cannot become another user, and may read everything")
    yield
    os.setresuid(0, 0, 0)


def test_a_device_that_may_not_be_read_says_how_to_get_the_right(
    terminal: Terminal, request: pytest.FixtureRequest
) -> None:
    Path(terminal.path).chmod(0)
    group = Path(terminal.path).group()
    request.getfixturevalue("ordinary_user")
    remedy = f"sudo usermod -aG {group} $USER, then log in again"
    if group == "root":
        remedy = f"it belongs to root alone; chgrp dialout {terminal.path}"
    expected = f"{terminal.path} may not be read: {remedy}"
    assert port(terminal.path).trouble() == expected
    assert refusal(port(terminal.path)) == expected


def test_a_refused_parity_says_which_option_helps(terminal: Terminal) -> None:
    expected = f"{terminal.path} refuses its baud rate or parity; ?parity=none if it has no parity"
    assert refusal(SerialSource(terminal.path, parity="even")) == expected


def test_a_refused_parity_is_the_cause_at_every_attempt(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The port is open already when it refuses; the next attempt must not find it in use.
    monkeypatch.setattr(source, "FIRST_RETRY_S", 0.002)
    said: list[str] = []
    attempts: list[SerialSource] = []

    class Attempted:
        """A serial source that counts."""

        serial = SerialSource(terminal.path, parity="even")
        describe, trouble = serial.describe, serial.trouble

        async def run(self, deliver: Deliver, opened: Opened) -> None:
            attempts.append(self.serial)
            await self.serial.run(deliver, opened)

    async def scenario() -> None:
        running = asyncio.create_task(keep_running(Attempted(), nowhere, said.append))
        await until(lambda: len(attempts) == 5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(scenario())
    assert len(said) == 1
    assert said[0].startswith(f"{terminal.path} refuses its baud rate or parity")


def test_a_baud_rate_that_no_port_has_is_a_source_error(terminal: Terminal) -> None:
    device = SerialSource(terminal.path, baud=4_000_000_000, parity="none")
    assert refusal(device).startswith(f"{terminal.path} ")


def test_a_plain_file_is_no_serial_port(tmp_path: Path) -> None:
    path = tmp_path / "meter.bin"
    path.write_bytes(b"\x68")
    assert refusal(port(str(path))) == f"{path} is no serial port"


def test_a_device_that_is_no_terminal_is_no_serial_port() -> None:
    assert refusal(port("/dev/null")) == "/dev/null is no serial port"


def test_a_folder_is_named(tmp_path: Path) -> None:
    assert refusal(port(str(tmp_path))).startswith(f"{tmp_path} ")


def test_a_port_in_use_says_how_to_find_the_other_program(terminal: Terminal) -> None:
    expected = f"{terminal.path} is in use by another program: sudo fuser -v {terminal.path}"
    with Path(terminal.path).open("rb", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert refusal(port(terminal.path)) == expected


def test_a_port_that_is_read_is_closed_to_others(terminal: Terminal) -> None:
    async def scenario() -> None:
        async with reading(terminal, Got()):
            with pytest.raises(SourceError, match="is in use by another program"):
                await port(terminal.path).run(nowhere, lambda _="": None)

    run(scenario())


def test_a_port_that_is_read_refuses_programs_that_ask_for_no_lock(terminal: Terminal) -> None:
    async def scenario() -> None:
        async with reading(terminal, Got()):
            assert terminal.is_exclusive()
        assert not terminal.is_exclusive()

    run(scenario())


def test_a_good_device_is_no_trouble(terminal: Terminal) -> None:
    assert port(terminal.path).trouble() is None


# --- hang-up --------------------------------------------------------------------------------


def test_a_hang_up_is_a_source_error_that_names_the_device(terminal: Terminal) -> None:
    got = Got()

    async def scenario() -> None:
        async with reading(terminal, got) as running:
            terminal.write(b"telegram")
            await until(lambda: len(got) >= 8)
            terminal.unplug()
            with pytest.raises(SourceError) as problem:
                await running
        assert str(problem.value).startswith(f"{terminal.path} is gone (")
        assert str(problem.value).endswith("): check the cable")

    run(scenario())
    assert got == b"telegram"


def test_a_port_that_comes_back_is_read_again_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FIRST_RETRY_S", 0.002)
    by_id = tmp_path / "usb-FTDI_0001-if00"
    got = Got()
    said: list[str] = []

    async def plug(chunk: bytes) -> Terminal:
        """Put a terminal there that sends; the kernel may give it another name than before."""
        terminal = Terminal()
        by_id.symlink_to(terminal.path)
        await until(lambda: said[-1].endswith("is open"))
        terminal.write(chunk)
        await until(lambda: got.endswith(chunk))
        return terminal

    async def scenario() -> None:
        running = asyncio.create_task(keep_running(port(str(by_id)), got.deliver, said.append))
        await until(lambda: len(said) == 1)
        terminal = await plug(b"first")
        by_id.unlink()
        terminal.unplug()
        await until(lambda: "does not exist" in said[-1])
        terminal = await plug(b"second")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        terminal.close()

    run(scenario())
    assert bytes(got) == b"firstsecond"
    missing = f"{by_id} does not exist: is the adapter plugged in? ls -l /dev/serial/by-id"
    is_open = f"serial port {by_id}, 115200 baud 8N1 is open"
    assert said[:2] == [f"{missing}; trying again", is_open]
    assert said[2].startswith(f"{by_id} is gone (")
    assert said[3:] == [f"{missing}; trying again", is_open]


def test_a_replugged_adapter_is_heard_again_with_its_next_telegram_however_long_it_was_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a minute is the longest pause of other sources; here the test would never end.
    monkeypatch.setattr(source, "FIRST_RETRY_S", 0.002)
    monkeypatch.setattr(source, "LONGEST_RETRY_S", 10 * PATIENCE_S)
    by_id = tmp_path / "usb-FTDI_0001-if00"
    got = Got()
    said: list[str] = []
    looks = 0
    trouble = SerialSource.trouble

    def counted(serial_source: SerialSource) -> str | None:
        nonlocal looks
        looks += 1
        return trouble(serial_source)

    monkeypatch.setattr(SerialSource, "trouble", counted)

    async def scenario() -> None:
        running = asyncio.create_task(keep_running(port(str(by_id)), got.deliver, said.append))
        # Doubled so often, a pause of 2 ms would be one of an hour.
        await until(lambda: looks > 20)
        terminal = Terminal()
        by_id.symlink_to(terminal.path)
        await until(lambda: said[-1].endswith("is open"))
        terminal.write(b"telegram")
        await until(lambda: got == b"telegram")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        terminal.close()

    run(scenario())
