"""obisgate doctor: which rung between the meter and the client is broken, and what to do."""

import argparse
import asyncio
import logging
import shlex
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gateway.cli.command import Commands, add_command
from gateway.cli.doctor_shown import AsJson, AsText
from gateway.cli.reached import is_taken, listeners_of
from gateway.cli.told import chosen_meter, command_name, system_language
from gateway.config import Config, MeterConfig, Transport
from gateway.control import NoGatewayError, ask, config_place, find_socket
from gateway.duration import parse_duration
from gateway.endpoint import show_endpoint
from gateway.ladder import (
    Finding,
    ListenerEvidence,
    MeterEvidence,
    State,
    climb,
    first_broken,
    is_decided,
)
from gateway.ladder_words import Rung
from gateway.languages import LANGUAGES
from gateway.located import ConfigError
from gateway.meter import Meter
from gateway.meter_watch import MeterWatch
from gateway.telegram import Telegram

DEFAULT_TIME = "30s"  # for three telegrams of the meter that pushes least often
LOOK_S = 0.25  # at a source of our own
ASK_S = 1.0  # at a running gateway


class _Looks(NamedTuple):
    """How to look: at the meter, again and again, and at the end once at the listeners.

    Without a gateway that runs there are no listeners.
    """

    meter: Callable[[], Awaitable[MeterEvidence]]
    every_s: float
    listeners: Callable[[], Awaitable[Sequence[ListenerEvidence] | None]]


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "doctor",
        run,
        "find out what is broken between the meter and the inverter, and what to do",
        "  obisgate doctor config.yaml\n  obisgate doctor config.yaml --meter house --language de",
    )
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))
    parser.add_argument("--meter", metavar="NAME", help="needed if the config has several")
    parser.add_argument(
        "--language", choices=LANGUAGES, default=system_language(), help="else that of the system"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--for",
        dest="time",
        default=DEFAULT_TIME,
        metavar="TIME",
        help=f"how long it looks at most, else {DEFAULT_TIME}",
    )


def run(options: argparse.Namespace) -> int:
    """Climb the ladder; 1 if a rung is broken, or if the values were not seen to be fresh."""
    try:
        time_s = parse_duration(options.time)
    except ValueError as problem:
        raise ConfigError(f"--for: {problem}") from None
    config = Config.read(options.config)
    meter = chosen_meter(config, options.meter)
    # What the log would say is said by the rungs.
    logging.getLogger("gateway").addHandler(logging.NullHandler())
    shown = (AsJson if options.format == "json" else AsText)(options.language, time_s)
    findings = asyncio.run(_examined(config, meter, time_s, shown))
    fresh = next(each for each in findings if each.rung is Rung.FRESH)
    return 0 if fresh.state is State.GOOD and first_broken(findings) is None else 1


async def _examined(
    config: Config, meter: MeterConfig, time_s: float, shown: AsText | AsJson
) -> list[Finding]:
    """Ask the gateway that runs with this config, or listen to the meter where none runs."""
    source = meter.source.describe()
    try:
        status = await _status(config, meter.name)
    except NoGatewayError:
        await asyncio.to_thread(_refuse_hidden, config)
        shown.begin(meter.name, source, None)
        return await _listened(config, meter, time_s, shown)
    shown.begin(meter.name, source, status.get("pid"))
    return await _asked(config, meter, time_s, shown)


async def _asked(
    config: Config, meter: MeterConfig, time_s: float, shown: AsText | AsJson
) -> list[Finding]:
    """Climb with what a running gateway tells."""

    async def look() -> MeterEvidence:
        status = await _status(config, meter.name)
        with _understanding(status):
            return MeterEvidence.of(meter.name, status["meters"][meter.name])

    async def look_at_listeners() -> Sequence[ListenerEvidence]:
        status = await _status(config, meter.name)
        with _understanding(status):
            return await listeners_of(_with(meter.name, config), status, config.listeners)

    return await _climbed(_Looks(look, ASK_S, look_at_listeners), config, time_s, shown)


def _with(meter: str, config: Config) -> set[str]:
    """Return a meter's name, and those of the virtual meters that are made of it."""
    names = {meter}
    for _ in config.virtual_meters:  # one may be made of another
        names |= {name for name, each in config.virtual_meters.items() if names & {*each.parts}}
    return names


async def _listened(
    config: Config, meter: MeterConfig, time_s: float, shown: AsText | AsJson
) -> list[Finding]:
    """Climb with what the meter's source brings; what the doctor hears is not recorded."""
    watch = MeterWatch(replace(meter, record=None), config.layouts, None, _hear_nothing, "")
    watch.start()

    async def look() -> MeterEvidence:
        return MeterEvidence.of(meter.name, watch.status(time.monotonic()))

    async def see_no_listeners() -> None:
        return None

    try:
        return await _climbed(_Looks(look, LOOK_S, see_no_listeners), config, time_s, shown)
    finally:
        await watch.stop()


async def _climbed(
    look: _Looks, config: Config, time_s: float, shown: AsText | AsJson
) -> list[Finding]:
    """Look again and again until all is decided of the meter, or the time is over."""
    command = f"{command_name()} run {shlex.quote(config.file)}"
    began = time.monotonic()
    while True:
        meter = await look.meter()
        is_over = meter.has_ended or time.monotonic() - began >= time_s
        climbed = partial(climb, meter, command=command, is_over=is_over, listened_s=time_s)
        findings = climbed(None)
        if is_over or is_decided(findings):
            # Who asked while the meter was listened to has asked.
            findings = climbed(await look.listeners())
            shown.end(findings)
            return findings
        shown.progress(findings, meter.byte_count)
        await asyncio.sleep(look.every_s)


async def _status(config: Config, meter: str) -> dict[str, Any]:
    """Return what the gateway with this config answers. NoGatewayError if none runs."""
    status = await asyncio.to_thread(_answer, Path(config.file))
    meters = status.get("meters")
    if not isinstance(meters, dict):
        raise _misunderstood(status)
    if meter not in meters:
        raise ConfigError(
            f"the running gateway does not know meter {meter!r}: the config was changed since it "
            f"was read; {command_name()} reload {shlex.quote(config.file)} applies it"
        )
    return status


def _answer(config: Path) -> dict[str, Any]:
    path = find_socket(config)
    status = ask(path, {"ask": "status"})
    if status.get("config", str(config_place(config))) != str(config_place(config)):
        # The system service, whose socket is asked where the config has none of its own.
        raise NoGatewayError(f"the gateway at {path} has another config, {status['config']}")
    return status


def _refuse_hidden(config: Config) -> None:
    """Raise ConfigError if somebody answers who cannot be asked, and whom we could disturb.

    A relay that serves one client throws out the gateway when the doctor comes.
    """
    for each in filter(is_taken, config.listeners):
        ss = f"sudo ss {'-lunp' if each.transport is Transport.UDP else '-ltnp'}"
        raise ConfigError(
            f"{each.where}: {show_endpoint(each.host, each.port)} is taken: by a gateway of "
            "another user or with another config, or by another program. The meter's source is not "
            "opened, that could disturb it. Ask as that user, or with sudo, or stop that program: "
            f"{ss} 'sport = :{each.port}' says which it is"
        )


@contextmanager
def _understanding(status: dict[str, Any]) -> Iterator[None]:
    """Say so if what a gateway answers has not the shape that this version knows."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _misunderstood(status) from None


def _misunderstood(status: dict[str, Any]) -> ConfigError:
    version = status.get("version", "unknown")
    return ConfigError(
        f"the running gateway (version {version}) answers what this doctor does not understand: "
        "start it anew with the version that is installed"
    )


def _hear_nothing(_meter: Meter, _telegram: Telegram) -> None:
    """Take it that a telegram came: the counts tell."""
