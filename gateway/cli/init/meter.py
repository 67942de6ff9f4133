"""Where the meter is: which port, how its line is set, and what comes on it."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.init.progress import Progress, counted
from gateway.cli.questions import Questions
from gateway.config import DEFAULT_HOLD_S, SIMULATOR_KEY
from gateway.line_settings import LineSetting, candidates
from gateway.located import ConfigError
from gateway.sources import Source, SourceAddress, SourceError, open_source, serial_ports
from gateway.sources.serial_port import SerialSource, SettingRefusedError
from gateway.telegram import Key
from gateway.telegram.system_title import describe_title
from gateway.unknown_line import UnknownLine

TICK_S = 0.25
SERIAL, SIMULATOR = "serial", "simulator"


class NotFoundError(Exception):
    """What was looked for did not come, or did not fit; the text says what to do."""


@dataclass(frozen=True, slots=True)
class LineWish:
    """What the user says of the line; None: find it out."""

    baud: int | None
    parity: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A line on which telegrams come: its address as the config writes it, and what it is."""

    address: str
    line: str  # what comes on it, for people
    heard: UnknownLine


def choose_source(
    questions: Questions, port: str | None, source: str | None, folder: Path
) -> SourceAddress:
    """Return where the meter is: what the options say, else what is chosen from the ports.

    A serial port has no options yet, unless the user wrote some; `folder` is the config's.
    """

    def from_address(text: str) -> SourceAddress:
        address = SourceAddress.parse(text, folder)
        trouble = open_source(address, SIMULATOR_KEY, None).trouble()
        if trouble:
            raise ValueError(trouble)
        return address

    def from_port(text: str) -> SourceAddress:
        if text.isdecimal() and 1 <= int(text) <= len(ports):
            text = ports[int(text) - 1].device
        return from_address(f"{SERIAL}:{text}" if text.startswith("/") else text)

    if source is not None:
        return questions.ask("source", "", source, None, from_address)
    ports = serial_ports.find() if port is None else []
    question = (
        "No serial port is here: no /dev/serial/by-id, ttyUSB, ttyACM or ttyAMA. Is the adapter "
        "plugged in?\nThe port's device, or another source, such as simulator:kaifa-ma309m"
    )
    if ports:
        print("Serial ports of this machine:")
        for number, each in enumerate(ports, 1):
            print(f"  {number}  {each}")
        question = "Which one leads to the meter?"
    return questions.ask("port", question, port, "1" if len(ports) == 1 else None, from_port)


def listen(address: SourceAddress, encrypting: tuple[Key, Key | None], wish: LineWish) -> Found:
    """Listen until the line is known; NotFoundError says why no telegram came.

    `encrypting` are the keys for a simulator to encrypt with.
    """
    progress = Progress()
    if address.kind == SERIAL and not address.options:
        return _try_settings(address, candidates(wish.baud, wish.parity), progress)
    if wish != LineWish(None, None):
        raise ConfigError(f"--baud and --parity are for --port, not for {address.text}")
    source = open_source(address, *encrypting)
    progress.say(f"Listening to {source.describe()}; Ctrl-C stops.")
    heard = _hear(source, progress)
    _tell(heard, progress)
    if not heard.messages:
        raise NotFoundError(_why(heard))
    return Found(address.text, source.describe(), heard)


def _try_settings(
    address: SourceAddress, settings: Sequence[LineSetting], progress: Progress
) -> Found:
    """Listen with one setting after the other, until a whole telegram comes."""
    progress.say(f"Listening to {address.target}; Ctrl-C stops.")
    said: list[str] = []
    refused = ""
    for setting in settings:
        line = f"{setting}{f' ({setting.line})' if setting.line else ''}"
        progress.say(f"{line}:")
        try:
            source = SerialSource(address.target, setting.baud, setting.parity)
            heard = _hear(source, progress)
        except SettingRefusedError as problem:
            progress.say("  the port refuses this setting")
            refused = str(problem)
            continue
        _tell(heard, progress)
        if heard.messages:
            text = f"{address.text}?baud={setting.baud}&parity={setting.parity}"
            return Found(text, f"{setting}, {heard.describe()}", heard)
        why = _why(heard)
        progress.say(f"  no telegram: {'as above' if why in said else why}")
        if not heard.bytes and not said:
            # Also a line that is set wrongly brings bytes, if only broken ones.
            raise NotFoundError("nothing comes on this port, so no other setting would help")
        said.append(why)
    if not said and refused:
        raise NotFoundError(refused)
    raise NotFoundError(
        f"bytes come, but none of {len(said)} settings made telegrams of them; --baud and --parity "
        "name another one. What was said above of each is where to look next"
    )


def _hear(source: Source, progress: Progress) -> UnknownLine:
    """Listen to a source until enough is known, or it ends."""
    heard = UnknownLine(time.monotonic())
    try:
        asyncio.run(_take(source, heard, progress))
    except SettingRefusedError:
        raise
    except SourceError as problem:
        raise NotFoundError(str(problem)) from None
    finally:
        progress.clear()
    return heard


async def _take(source: Source, heard: UnknownLine, progress: Progress) -> None:
    def deliver(chunk: bytes, damaged: Sequence[int] = ()) -> None:
        heard.take(chunk, damaged, time.monotonic())

    def opened(caveat: str = "") -> None:
        # What comes now does not go on from what came before.
        heard.finish(time.monotonic())
        if caveat:
            progress.say(f"  (open, but {caveat})")

    running = asyncio.create_task(source.run(deliver, opened))
    try:
        while not running.done() and not heard.is_over(time.monotonic()):
            await asyncio.wait({running}, timeout=TICK_S)
            progress.count(heard, time.monotonic())
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    if not running.cancelled():
        heard.finish(time.monotonic())


def _tell(heard: UnknownLine, progress: Progress) -> None:
    """Say what came."""
    if heard.bytes:
        progress.say(f"  {counted(heard)}")
    if heard.messages:
        titles = [describe_title(title) for title in heard.titles]
        whose = (
            f"{len(titles)} meters, {' and '.join(titles)}" if titles[1:] else f"meter {titles[0]}"
        )
        progress.say(f"Found: {heard.describe()}, {whose}.")
    if len(heard.messages) == 1:
        progress.say(
            f"Only one telegram came, so nobody knows how often the meter pushes: `hold` is "
            f"{DEFAULT_HOLD_S:g} s, and\nvalues that are older are not served. If it pushes more "
            "rarely, make `hold` three times the pause."
        )


def _why(heard: UnknownLine) -> str:
    diagnosis = heard.diagnosis(time.monotonic())
    return diagnosis.text if diagnosis else "no telegram came"
