"""Wires the parts: sources to meters, meters to units, units to listeners. Start, run, stop."""

import asyncio
import dataclasses
import errno
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import __version__
from gateway.config import Config, ListenerConfig, MeterConfig, Transport, UnitConfig
from gateway.control import ControlSocket, Question, socket_path
from gateway.endpoint import show_endpoint, why_not_bound
from gateway.located import ConfigError
from gateway.meter_watch import Hear, MeterWatch
from gateway.modbus.clients import Asking
from gateway.modbus.responder import Responder
from gateway.modbus.server import Listener, RtuOverTcpListener, SerialListener
from gateway.modbus.tls import TlsListener
from gateway.modbus.udp import UdpListener
from gateway.modbus.unit import Unit
from gateway.registers import UNSAFE
from gateway.snapshot.plausibility import Seen
from gateway.stalls import watched
from gateway.state import StateFile

log = logging.getLogger(__name__)

ADDRESS_RETRY_S = 5.0
STATE_INTERVAL_S = 600.0

NETWORKED: Mapping[Transport, type[Listener]] = {
    Transport.TCP: Listener,
    Transport.RTU_OVER_TCP: RtuOverTcpListener,
}


@dataclass(slots=True)
class Bound:
    """A listener and the port it got; None while its address is not there, and on serial lines."""

    config: ListenerConfig
    endpoint: Listener | UdpListener | SerialListener
    port: int | None = None


class Service:
    """The gateway of one config. `hear` is told of every good telegram."""

    def __init__(self, config: Config, hear: Hear) -> None:
        self._config = config
        self._began = time.monotonic()
        self._state = StateFile(config.state)
        past, problem = self._state.read()
        if problem:
            log.warning("%s", problem)
        self._watches = {
            name: MeterWatch(each, config.layouts, past.get(name), hear, _unsafe(config, each))
            for name, each in config.meters.items()
        }
        self._bound = [Bound(each, self._endpoint(each)) for each in config.listeners]
        self._control = ControlSocket(socket_path(Path(config.file)), self._answer)
        self._remembered: dict[str, Seen] = {}
        self._is_state_complained = False

    async def listen(self) -> Sequence[Bound]:
        """Open all listeners or none; ConfigError says which one cannot be opened, and why.

        An address that this machine does not have now may come: that listener opens later.
        """
        try:
            await self._open_control()
            for each in self._bound:
                await _open(each)
        except ConfigError:
            self._close()
            raise
        return self._bound

    async def run(self, stop: asyncio.Event) -> None:
        """Read all meters until `stop` is set, then close everything."""
        try:
            with watched(asyncio.get_running_loop()):
                await self._work(stop)
        finally:
            self._close()
            self._remember()

    def status(self) -> dict[str, object]:
        """Return how the gateway, its meters and its listeners do, as plain values."""
        now = time.monotonic()
        return {
            "version": __version__,
            "config": str(Path(self._config.file).resolve()),
            "pid": os.getpid(),
            "uptime_s": round(now - self._began, 3),
            "meters": {name: watch.status(now) for name, watch in self._watches.items()},
            "listeners": [_listener_status(each, now) for each in self._bound],
        }

    async def _open_control(self) -> None:
        try:
            await self._control.open()
        except OSError as problem:
            # Nothing that a meter's values depend on.
            log.warning(
                "%s cannot be opened: %s; other commands cannot ask this gateway",
                self._control.path,
                problem.strerror or problem,
            )

    async def _answer(self, question: Question) -> Mapping[str, object]:
        """Answer what comes over the control socket."""
        match question["ask"]:
            case "status":
                return self.status()
            case other:
                return {"error": f"unknown ask {other!r}; known is status"}

    async def _work(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(each.read()) for each in self._watches.values()]
            work += [tasks.create_task(each.watch()) for each in self._watches.values()]
            work += [
                tasks.create_task(_listen_later(each))
                for each in self._bound
                if each.port is None and not isinstance(each.endpoint, SerialListener)
            ]
            work.append(tasks.create_task(self._remember_now_and_then()))
            await stop.wait()
            for task in work:
                task.cancel()

    async def _remember_now_and_then(self) -> None:
        """Keep the state, rarely: an SD card wears out."""
        while True:
            await asyncio.sleep(STATE_INTERVAL_S)
            self._remember()

    def _remember(self) -> None:
        """Write down what the next run must know of the meters; say once if that cannot be."""
        meters = {each.meter.name: past for each in self._watches.values() if (past := each.past)}
        if not meters or meters == self._remembered:
            return
        try:
            self._state.write(meters)
        except OSError as problem:
            if not self._is_state_complained:
                log.warning(
                    "%s cannot be written: %s; after a restart old telegrams are not recognised",
                    self._state.path,
                    problem.strerror,
                )
            self._is_state_complained = True
        else:
            self._remembered = meters

    def _endpoint(self, config: ListenerConfig) -> Listener | UdpListener | SerialListener:
        units = {unit_id: self._unit(unit) for unit_id, unit in config.units.items()}
        any_unit = self._unit(config.any_unit) if config.any_unit else None
        responder = Responder(units, any_unit)
        if config.line is not None:
            line = config.line
            return SerialListener(
                config.host,
                responder,
                baud=line.baud,
                parity=line.parity,
                stop_bits=line.stop_bits,
            )
        if config.tls is not None:
            return TlsListener(
                config.host,
                config.port,
                responder,
                config.allow,
                files=config.tls.files,
                roles=config.tls.roles,
                limits=config.limits,
            )
        if config.transport is Transport.UDP:
            return UdpListener(config.host, config.port, responder, config.allow)
        return NETWORKED[config.transport](
            config.host, config.port, responder, config.allow, config.limits
        )

    def _unit(self, config: UnitConfig) -> Unit:
        return Unit(
            config.register_map,
            self._watches[config.meter].meter,
            config.adjustment,
            hold_s=config.hold_s,
            stale=config.stale,
        )

    def _close(self) -> None:
        for each in self._bound:
            each.endpoint.stop()
        self._control.close()


def _unsafe(config: Config, meter: MeterConfig) -> str:
    """Return which units go on serving a meter's values when it is stale, as a part of a line."""
    names = [
        f"{listener.where} unit {unit_id}"
        for listener in config.listeners
        for unit_id, unit in _units(listener).items()
        if unit.meter == meter.name
        if unit.stale in UNSAFE or (unit.hold_s or 0) > meter.hold_s
    ]
    return f", but for {', '.join(names)}" if names else ""


def _units(listener: ListenerConfig) -> dict[str, UnitConfig]:
    """Return a listener's units by what a client must ask for; "any" is every other id."""
    units = {str(unit_id): unit for unit_id, unit in listener.units.items()}
    return units | ({"any": listener.any_unit} if listener.any_unit else {})


def _listener_status(bound: Bound, now: float) -> dict[str, object]:
    """Return a listener and its clients as plain values.

    On a serial line clients cannot be told apart.
    """
    config, endpoint = bound.config, bound.endpoint
    asking = [] if isinstance(endpoint, SerialListener) else endpoint.clients.seen(now)
    return {
        "where": config.where,
        "transport": str(config.transport),
        "host": config.host,
        "port": bound.port,
        "units": {
            unit_id: {"meter": unit.meter, "map": unit.map_name}
            for unit_id, unit in _units(config).items()
        },
        "clients": [_asking_status(each) for each in asking],
    }


def _asking_status(asking: Asking) -> dict[str, object]:
    shown = dataclasses.asdict(asking)
    shown["last_request_age_s"] = round(shown.pop("idle_s"), 3)
    if asking.connected_s is not None:
        shown["connected_s"] = round(asking.connected_s, 3)
    return shown


async def _open(bound: Bound) -> None:
    """Open a listener; ConfigError says why that is not possible.

    An address that is not there now leaves it without a port.
    """
    if isinstance(bound.endpoint, SerialListener):
        await bound.endpoint.start()
        return
    try:
        bound.port = (await bound.endpoint.start())[1]
    except OSError as problem:
        if not _may_come(problem):
            at = bound.config
            raise ConfigError(f"{at.where}: {_why_not_open(at, problem)}") from None


async def _listen_later(bound: Bound) -> None:
    """Open a listener as soon as its address is there; say if something else prevents it then."""
    if isinstance(bound.endpoint, SerialListener):
        return
    log.warning("%s is no address of this machine now; trying again", bound.config.host)
    said = ""
    while bound.port is None:
        await asyncio.sleep(ADDRESS_RETRY_S)
        try:
            host, bound.port = await bound.endpoint.start()
        except OSError as problem:
            why = _why_not_open(bound.config, problem)
            if not _may_come(problem) and why != said:
                log.warning("%s; trying again", why)
                said = why
        else:
            log.warning("listening on %s now", show_endpoint(host, bound.port))


def _may_come(problem: OSError) -> bool:
    """Tell whether an address is just not there yet."""
    # asyncio of Python 3.12 and later loses the errno of a missing address.
    return problem.errno in (errno.EADDRNOTAVAIL, None)


def _why_not_open(at: ListenerConfig, problem: OSError) -> str:
    is_udp = at.transport is Transport.UDP
    return why_not_bound(at.host, at.port, problem, is_udp=is_udp)
