"""Serial ports, over pseudo-terminals: bytes in order, each cause of trouble in words.

A pseudo-terminal has no parity, so where bytes shall flow it is `parity="none"`.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from gateway.sources import SourceError, keep_running, source
from gateway.sources.serial_port import SerialSource
from gateway.sources.source import Deliver

PATIENCE_S = 30.0
NOBODY = 65534
EVERY_BYTE = bytes(range(256)) * 4


class Terminal:
    """A pseudo-terminal: a meter writes at one end, a SerialSource reads the device."""

    def __init__(self) -> None:
        self._meter, self._device = os.openpty()
        self.path = os.ttyname(self._device)
        self.written = bytearray()

    def write(self, chunk: bytes) -> None:
        assert os.write(self._meter, chunk) == len(chunk)
        self.written += chunk

    def unplug(self) -> None:
        """Hang up, as a pulled plug does."""
        os.close(self._meter)
        os.close(self._device)

    def close(self) -> None:
        with suppress(OSError):
            self.unplug()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


def port(device: str) -> SerialSource:
    return SerialSource(device, parity="none")


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bytes come through plain callbacks
        await asyncio.sleep(0.002)


@asynccontextmanager
async def reading(terminal: Terminal, got: bytearray) -> AsyncIterator["asyncio.Task[None]"]:
    """Read the terminal into `got`; it is open inside."""
    is_open = asyncio.Event()
    running = asyncio.create_task(port(terminal.path).run(got.extend, is_open.set))
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
            await serial_source.run(lambda _: None, lambda: opened.append(True))
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
    got = bytearray()

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
    got = bytearray()

    async def scenario() -> None:
        async with reading(terminal, got):
            for _ in range(100):
                terminal.write(dice.randbytes(dice.randrange(1, 400)))
                await until(lambda: len(terminal.written) - len(got) < 2000)  # it holds some 4,000
            await until(lambda: len(got) >= len(terminal.written))

    run(scenario())
    assert got == terminal.written


def test_what_came_before_the_port_was_opened_is_not_delivered(terminal: Terminal) -> None:
    got = bytearray()

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
            async with reading(terminal, bytearray()):
                with pytest.raises(BlockingIOError):
                    take_alone(terminal.path)
            await asyncio.sleep(0)  # the transport closes one turn of the loop later
            take_alone(terminal.path)

    run(scenario())


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

        async def run(self, deliver: Deliver, opened: Callable[[], None]) -> None:
            attempts.append(self.serial)
            await self.serial.run(deliver, opened)

    async def scenario() -> None:
        running = asyncio.create_task(keep_running(Attempted(), said.append, said.append))
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
        async with reading(terminal, bytearray()):
            with pytest.raises(SourceError, match="is in use by another program"):
                await port(terminal.path).run(lambda _: None, lambda: None)

    run(scenario())


def test_a_good_device_is_no_trouble(terminal: Terminal) -> None:
    assert port(terminal.path).trouble() is None


# --- hang-up --------------------------------------------------------------------------------


def test_a_hang_up_is_a_source_error_that_names_the_device(terminal: Terminal) -> None:
    got = bytearray()

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
    monkeypatch.setattr(source, "LONGEST_RETRY_S", 0.01)
    by_id = tmp_path / "usb-FTDI_0001-if00"
    got = bytearray()
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
        running = asyncio.create_task(keep_running(port(str(by_id)), got.extend, said.append))
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
    is_open = f"serial port {by_id}, 2400 baud 8N1 is open"
    assert said[:2] == [f"{missing}; trying again", is_open]
    assert said[2].startswith(f"{by_id} is gone (")
    assert said[3:] == [f"{missing}; trying again", is_open]
