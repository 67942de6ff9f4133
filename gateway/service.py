"""Wires the parts: sources to meters, meters to units, units to listeners. Start, run, stop."""

import asyncio
import errno
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.config import (
    Config,
    ListenerConfig,
    MeterConfig,
    Metered,
    Transport,
    UnitConfig,
    VirtualMeterConfig,
)
from gateway.endpoint import show_endpoint
from gateway.health import SILENT_S, Diagnosis, Health
from gateway.located import ConfigError
from gateway.meter import Heard, Held, Meter, News
from gateway.modbus.clients import Asking
from gateway.modbus.responder import Responder
from gateway.modbus.server import Listener, RtuOverTcpListener, SerialListener
from gateway.modbus.tls import TlsListener
from gateway.modbus.udp import UdpListener
from gateway.modbus.unit import Unit
from gateway.registers import UNSAFE
from gateway.snapshot import Adjustment, Age, Judge
from gateway.snapshot.plausibility import Seen
from gateway.sources import keep_running
from gateway.stalls import watched
from gateway.state import StateFile
from gateway.telegram import Fault, Layer, Layout, Telegram
from gateway.virtual_meter import Part, VirtualMeter

log = logging.getLogger(__name__)

ADDRESS_RETRY_S = 5.0
STATE_INTERVAL_S = 600.0
FAULT_PAUSE_S = 10.0  # between two log lines about the same layer of the same meter
DEFECT_PAUSE_S = 30.0  # before a meter is read again over which the gateway itself stumbled

Hear = Callable[[Meter, Telegram], None]
Endpoint = Listener | UdpListener
NETWORKED: Mapping[Transport, type[Listener]] = {
    Transport.TCP: Listener,
    Transport.RTU_OVER_TCP: RtuOverTcpListener,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """A listener and the port it got; None while its address is not there, and on serial lines."""

    config: ListenerConfig
    port: int | None


class Service:
    """The gateway of one config. `hear` is told of every good telegram."""

    def __init__(self, config: Config, hear: Hear) -> None:
        self._state = StateFile(config.state)
        past, problem = self._state.read()
        if problem:
            log.warning("%s", problem)
        self._hear = hear
        self._watched = [
            _Watched(each, config.layouts, past.get(name), self._heard, _exceptions(config, each))
            for name, each in config.meters.items()
        ]
        self._meters: dict[str, Meter | VirtualMeter] = {
            each.meter.name: each.meter for each in self._watched
        }
        # By meter those that are made of it, in the order in which they are made of each other.
        self._combined: dict[str, list[_Combined]] = {name: [] for name in self._meters}
        self._virtual = [self._combine(each, config) for each in config.virtual_meters.values()]
        self._listeners = [(each, self._listener(each)) for each in config.listeners]
        self._absent: list[tuple[ListenerConfig, Endpoint]] = []
        self._remembered: dict[str, Seen] = {}
        self._is_state_complained = False

    async def listen(self) -> Sequence[Bound]:
        """Open all listeners or none; ConfigError says which one cannot be opened, and why.

        An address that this machine does not have now may come: that listener opens later.
        """
        bound = []
        for config, listener in self._listeners:
            if isinstance(listener, SerialListener):
                await listener.start()
                bound.append(Bound(config, None))
                continue
            try:
                bound.append(Bound(config, (await listener.start())[1]))
            except OSError as problem:
                # asyncio of Python 3.12 and later loses the errno of a missing address.
                if problem.errno not in (errno.EADDRNOTAVAIL, None):
                    self._close()
                    raise ConfigError(f"{config.where}: {_why_not(config, problem)}") from None
                self._absent.append((config, listener))
                bound.append(Bound(config, None))
        return bound

    async def run(self, stop: asyncio.Event) -> None:
        """Read all meters until `stop` is set, then close everything."""
        try:
            with watched(asyncio.get_running_loop()):
                await self._work(stop)
        finally:
            self._close()
            self._remember()

    def clients(self) -> list[tuple[ListenerConfig, list[Asking]]]:
        """Return who asks what, by listener; on a serial line clients cannot be told apart."""
        now = time.monotonic()
        return [
            (config, listener.clients.seen(now))
            for config, listener in self._listeners
            if not isinstance(listener, SerialListener)
        ]

    async def _work(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(each.read()) for each in self._watched]
            work += [tasks.create_task(each.watch()) for each in self._watched]
            work += [tasks.create_task(each.watch()) for each in self._virtual]
            work += [tasks.create_task(_listen_later(*each)) for each in self._absent]
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
        meters = {each.meter.name: past for each in self._watched if (past := each.past)}
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

    def _listener(self, config: ListenerConfig) -> Endpoint | SerialListener:
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

    def _combine(self, config: VirtualMeterConfig, whole: Config) -> "_Combined":
        """Make a virtual meter of those that are there; it is told of their telegrams."""
        parts = [
            Part(
                self._meters[name],
                whole.meters[name].adjustment if name in whole.meters else Adjustment(),
            )
            for name in config.parts
        ]
        combined = _Combined(config, parts, _exceptions(whole, config))
        for name, others in self._combined.items():
            if name in config.parts or any(each.meter.name in config.parts for each in others):
                others.append(combined)
        self._meters[config.name] = combined.meter
        return combined

    def _heard(self, meter: Meter, telegram: Telegram) -> None:
        for combined in self._combined[meter.name]:
            combined.take(time.monotonic())
        self._hear(meter, telegram)

    def _unit(self, config: UnitConfig) -> Unit:
        return Unit(
            config.register_map,
            self._meters[config.meter],
            config.adjustment,
            hold_s=config.hold_s,
            stale=config.stale,
        )

    def _close(self) -> None:
        for _, listener in self._listeners:
            listener.stop()


class _Watched:
    """A meter with its source: reads it, and says what goes wrong with it."""

    def __init__(
        self,
        config: MeterConfig,
        layouts: Sequence[Layout],
        past: Seen | None,
        hear: Hear,
        exceptions: str,
    ) -> None:
        self._source = config.source
        decoder = config.decoder(layouts)
        judge = Judge(config.connection_a, past if self._source.is_lasting else None)
        began = time.monotonic()
        self.meter = Meter(config.name, decoder, judge, config.hold_s, self._hear, began)
        self._tell = hear
        self._exceptions = exceptions
        self._health = Health(began, max(SILENT_S, config.hold_s))
        self._diagnosis: Diagnosis | None = None
        self._came = asyncio.Event()
        self._said: dict[Layer, float] = {}  # when a fault of that layer was last logged
        self._unsaid: Counter[Layer] = Counter()

    @property
    def past(self) -> Seen | None:
        """Return what the next run must know; None of what is no lasting meter."""
        return self.meter.judge.last if self._source.is_lasting else None

    async def read(self) -> None:
        """Feed the meter from its source, for as long as that goes on.

        Over a defect of ours this meter stumbles alone: the others are read on.
        """
        name = self.meter.name
        while True:
            try:
                await keep_running(
                    self._source,
                    self._take,
                    lambda text: log.warning("%s: %s", name, text),
                )
                self.meter.finish()
                break
            except Exception:
                log.exception(
                    "%s: this should not happen, please report it; the meter is read again in "
                    "%g s, the others go on",
                    name,
                    DEFECT_PAUSE_S,
                )
                await asyncio.sleep(DEFECT_PAUSE_S)
        log.warning("%s: %s has ended", name, self._source.describe())

    def _take(self, chunk: bytes, damaged: Sequence[int] = ()) -> None:
        now = time.monotonic()
        self._health.bytes_came(chunk, len(damaged), now)
        self.meter.take(chunk, now, damaged)
        self._diagnose(now)

    def _diagnose(self, now: float) -> None:
        """Say what is wrong between the line and the values, once as long as it stays the same."""
        diagnosis = self._health.diagnosis(now)
        if diagnosis and diagnosis != self._diagnosis:
            log.warning("%s: %s", self.meter.name, diagnosis.text)
        self._diagnosis = diagnosis

    async def watch(self) -> None:
        """Say once when the meter falls silent, and once when it is back."""
        freshness = self.meter.freshness
        while True:
            await _until_stale(freshness)
            log.warning(
                "%s: no good telegram for %g s; its values are not served until one comes%s",
                self.meter.name,
                freshness.hold_s,
                self._exceptions,
            )
            self._diagnose(time.monotonic())
            self._came.clear()
            await self._came.wait()
            log.warning("%s: telegrams come again", self.meter.name)

    def _hear(self, item: Heard) -> None:
        if isinstance(item, Telegram | Fault):
            self._health.heard(item, time.monotonic())
        if isinstance(item, Telegram):
            self._came.set()
            self._tell(self.meter, item)
        elif isinstance(item, Held):
            # The line and the key are good; what the telegram says is not yet believed.
            self._health.heard(item.telegram, time.monotonic())
        elif isinstance(item, News):
            log.warning("%s: %s", self.meter.name, item.text)
        else:
            self._say(item)

    def _say(self, fault: Fault) -> None:
        """Log a fault, unless one of its layer was logged just before: noise comes in floods."""
        now = time.monotonic()
        if now - self._said.get(fault.layer, -FAULT_PAUSE_S) < FAULT_PAUSE_S:
            self._unsaid[fault.layer] += 1
            return
        more = self._unsaid.pop(fault.layer, 0)
        self._said[fault.layer] = now
        text = f"{fault.layer} fault at byte {fault.offset}: {fault.reason}"
        since = f" ({more} more since the last one that was shown)" if more else ""
        log.warning("%s: %s%s", self.meter.name, text, since)


class _Combined:
    """A meter that is made of others: says for which of them it is not served."""

    def __init__(self, config: VirtualMeterConfig, parts: Sequence[Part], exceptions: str) -> None:
        name = config.name
        self.meter = VirtualMeter(
            name, config.how, parts, config.hold_s, lambda text: log.warning("%s: %s", name, text)
        )
        self._exceptions = exceptions
        self._came = asyncio.Event()

    def take(self, now: float) -> None:
        """Take part in a telegram of one of its meters."""
        if self.meter.take(now):
            self._came.set()

    async def watch(self) -> None:
        """Say once when one of its meters falls silent, and once when all are back."""
        freshness = self.meter.freshness
        while True:
            await _until_stale(freshness)
            log.warning(
                "%s: no good telegram of %s for %g s; its values are not served until one comes%s",
                self.meter.name,
                " and ".join(self.meter.late(time.monotonic())),
                freshness.hold_s,
                self._exceptions,
            )
            self._came.clear()
            await self._came.wait()
            log.warning("%s: telegrams of all its meters come again", self.meter.name)


async def _until_stale(freshness: Age) -> None:
    """Wait until no good telegram has come for the hold time, counted from now before the first."""
    started = time.monotonic()
    while True:
        received = freshness.received
        last = started if received is None else received
        left_s = last + freshness.hold_s - time.monotonic()
        if left_s < 0:
            return
        await asyncio.sleep(left_s + 0.01)


def _exceptions(config: Config, meter: Metered) -> str:
    """Return which units go on serving a meter's values when it is stale, as a part of a line."""
    names = [
        f"{listener.where} unit {unit_id}"
        for listener in config.listeners
        for unit_id, unit in ({"any": listener.any_unit} | dict(listener.units)).items()
        if unit is not None and unit.meter == meter.name
        if unit.stale in UNSAFE or (unit.hold_s or 0) > meter.hold_s
    ]
    return f", but for {', '.join(names)}" if names else ""


async def _listen_later(config: ListenerConfig, listener: Endpoint) -> None:
    """Open a listener as soon as its address is there."""
    log.warning("%s is no address of this machine now; trying again", config.host)
    while True:
        await asyncio.sleep(ADDRESS_RETRY_S)
        try:
            host, port = await listener.start()
        except OSError:
            continue
        log.warning("listening on %s now", show_endpoint(host, port))
        return


def _why_not(config: ListenerConfig, problem: OSError) -> str:
    """Return why a listener cannot be opened, and what to do."""
    where = show_endpoint(config.host, config.port)
    if problem.errno == errno.EADDRINUSE:
        kind = "-lunp" if config.transport is Transport.UDP else "-ltnp"
        return f"{where} is in use by another program: ss {kind} 'sport = :{config.port}'"
    if problem.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{where} needs the right to use ports below 1024: choose 5020, or "
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=502"
        )
    if isinstance(problem, socket.gaierror):
        return f"{config.host!r} is no name or address of this machine: hostname -I lists them"
    return f"{where} cannot be opened: {problem.strerror or problem}"
