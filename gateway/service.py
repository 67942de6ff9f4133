"""Wires the parts: sources to meters, meters to units, units to listeners. Start, reload, stop."""

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway import __version__
from gateway.changes import is_same_meter, listener_changes, meter_changes
from gateway.config import Config, ListenerConfig, Metered, UnitConfig
from gateway.control import ControlSocket, Question, config_place, socket_path
from gateway.listening import Bound, Units, open_all, place_of, units_of
from gateway.located import ConfigError
from gateway.meter import Meter
from gateway.meter_watch import Hear, MeterWatch
from gateway.modbus.unit import Served, Unit
from gateway.registers import UNSAFE
from gateway.snapshot.plausibility import Seen
from gateway.stalls import Pulse, watched
from gateway.state import StateFile
from gateway.telegram import Telegram

if TYPE_CHECKING:  # imported when a config has one
    from gateway.combined import Combined
    from gateway.tls_files import Credentials
    from gateway.virtual_meter import Combinable

log = logging.getLogger(__name__)

STATE_INTERVAL_S = 600.0
ANSWER_S = 5.0  # that a listener has for a question of ours

Watches = Mapping[str, MeterWatch]
Meters = Mapping[str, Served]


class Service:
    """The gateway of one config. `hear` is told of every good telegram."""

    def __init__(self, config: Config, hear: Hear) -> None:
        self._config = config
        self._hear = hear
        self._began = time.monotonic()
        self._state = StateFile(config.state)
        self._pulse = Pulse()
        self._watches: Watches = self._watch(config, {})
        self._combined = _combine(config, self._watches)
        meters = _meters(self._watches, self._combined)
        self._bound: Sequence[Bound] = [
            Bound(each, _units(each, meters)) for each in config.listeners
        ]
        self._control = ControlSocket(socket_path(Path(config.file)), self._answer)
        self._reloading = asyncio.Lock()
        self._remembered: dict[str, Seen] = {}
        self._is_state_complained = False

    async def listen(self) -> Sequence[Bound]:
        """Open all listeners or none; ConfigError says which one cannot be opened, and why.

        An address that this machine does not have now may come: that listener opens later.
        """
        try:
            await self._open_control()
            _claim(self._state)
            await open_all(self._bound)
        except ConfigError:
            self._control.close()
            self._state.release()
            raise
        return self._bound

    async def run(self, stop: asyncio.Event) -> None:
        """Read all meters until `stop` is set, then close everything."""
        remembering = asyncio.create_task(self._remember_now_and_then())
        try:
            with watched(asyncio.get_running_loop(), self._pulse):
                for each in self._running:
                    each.start()
                await stop.wait()
        finally:
            remembering.cancel()
            self._control.close()
            for bound in self._bound:
                bound.close()
            for each in self._running:
                await each.stop()
            await self._remember()
            self._state.release()

    async def reload(self) -> list[str]:
        """Read the config anew, with all that it names, and apply it; return what has changed.

        ConfigError: something in it is wrong or cannot be opened, and nothing has changed. What
        stays the same goes on: meters with their values, listeners with their clients. Both ends
        are logged.
        """
        async with self._reloading:
            try:
                changes = await self._apply(await asyncio.to_thread(Config.read, self._file))
            except ConfigError as problem:
                log.warning("not reloaded, the old config stays: %s", problem)
                raise
        log.info("%s reloaded: %s", self._config.file, "; ".join(changes) or "nothing changed")
        return changes

    def status(self) -> dict[str, object]:
        """Return how the gateway, its meters and its listeners do, as plain values."""
        now = time.monotonic()
        return {
            "version": __version__,
            "config": str(config_place(self._file)),
            "pid": os.getpid(),
            "uptime_s": round(now - self._began, 3),
            "meters": {name: watch.status(now) for name, watch in self._watches.items()},
            "virtual_meters": {each.meter.name: each.status(now) for each in self._combined},
            "listeners": [bound.status(now) for bound in self._bound],
        }

    def summary(self) -> str:
        """Return in words what is served now: "house live, 2 clients"."""
        now = time.monotonic()
        meters = _meters(self._watches, self._combined)
        parts = [f"{name} {meter.freshness.state(now)}" for name, meter in meters.items()]
        parts += [f"waiting for {what}" for each in self._bound if (what := each.awaited)]
        clients = sum(each.connections for each in self._bound)
        return ", ".join([*parts, f"{clients} client{'' if clients == 1 else 's'}"])

    async def trouble(self, answer_s: float) -> str | None:
        """Return what only a restart would mend; None: nothing.

        Each meter must be read, and each listener answer a question of ours within `answer_s`. A
        silent meter, an absent device or address and a client that is refused are no such trouble:
        what mends them is not a restart.
        """
        for name, watch in self._watches.items():
            if watch.has_died:
                return f"meter {name} is not read any more"
        for bound in self._bound:
            silence = await bound.ask(answer_s)
            # A reload may have closed it meanwhile.
            if silence and bound in self._bound:
                return silence
        return None

    async def _apply(self, config: Config) -> list[str]:
        """Change over from the present config: first all that may fail, then all at once."""
        watches = self._watch(config, self._watches)
        combined = _combine(config, watches)
        places = self._places(config, _meters(watches, combined))
        bound = [each.bound for each in places]
        leaving = [each for each in self._bound if each not in bound]
        coming = [each for each in bound if each not in self._bound]
        changes = self._meter_changes(config, watches)
        changes += [f"listener {each.describe()}: removed" for each in leaving]
        # Of a thousand units it takes a while to tell whether their maps say the same.
        changes += await asyncio.to_thread(_changes, places)
        state = self._state
        if state.path != config.state:
            state = StateFile(config.state)
            _claim(state)
            changes.append(f"state {config.state}")
        try:
            await open_all([each for each in coming if each.config.line is None], leaving)
        except ConfigError:
            if state is not self._state:
                state.release()
            raise

        now = time.monotonic()
        for virtual in combined:
            virtual.take(now)  # its clients, who stay, read on at once
        for place in places:
            place.change()
        unsafe = _unsafe(config)
        for name, watch in watches.items():
            watch.change(config.meters[name], unsafe.get(name, ""))
        replaced: list[MeterWatch | Combined] = [
            each for each in self._watches.values() if each not in watches.values()
        ]
        # Virtual meters are made anew of what the others say now.
        replaced += self._combined
        warnings = [each for each in config.warnings if each not in self._config.warnings]
        self._config, self._watches, self._bound = config, watches, bound
        self._combined = combined
        if state is not self._state:
            self._state.release()
            self._state, self._remembered = state, {}

        for each in leaving:
            each.close()
        # A serial port is free only when the one who had it has let go.
        for gone in replaced:
            await gone.stop()
        await open_all([each for each in coming if each.config.line is not None])
        for each_running in self._running:
            each_running.start()
        for warning in warnings:
            log.warning("%s", warning)
        return changes + [f"listener {each.describe()}: new" for each in coming]

    def _places(self, config: Config, meters: Meters) -> "list[_Place]":
        """Return where to listen; ConfigError: the files of a TLS listener are not good.

        Several listeners may have port 0 at one host: they stay in their order.
        """
        left = list(self._bound)
        places = []
        for listener in config.listeners:
            units = _units(listener, meters)
            bound = next((e for e in left if place_of(e.config) == place_of(listener)), None)
            if bound:
                left.remove(bound)
            places.append(
                _Place(
                    bound or Bound(listener, units),
                    listener,
                    units,
                    listener.tls.files.load() if listener.tls else None,
                )
            )
        return places

    def _watch(self, config: Config, present: Watches) -> Watches:
        """Return who watches each meter: as now where the meter stays the same, else a new one."""
        past: Mapping[str, Seen] | None = None
        unsafe = _unsafe(config)
        watches = {}
        for name, meter in config.meters.items():
            now = present.get(name)
            if now and is_same_meter(now.config, meter) and now.layouts == config.layouts:
                watches[name] = now
                continue
            if past is None:
                past, problem = StateFile(config.state).read()
                if problem:
                    log.warning("%s", problem)
            seen = (now and now.past) or past.get(name)
            watches[name] = MeterWatch(
                meter,
                config.layouts,
                seen,
                self._heard,
                unsafe.get(name, ""),
                self._pulse.stood_still_s,
            )
        return watches

    def _meter_changes(self, config: Config, watches: Watches) -> list[str]:
        changes = [f"meter {name}: removed" for name in self._watches if name not in watches]
        for name, meter in config.meters.items():
            if name not in self._watches:
                changes.append(f"meter {name}: new")
                continue
            what = list(meter_changes(self._watches[name].config, meter))
            if watches[name] is not self._watches[name] and not what:
                what = ["new settings"]
            changes += [f"meter {name}: {change}" for change in what]
        old, new = self._config.virtual_meters, config.virtual_meters
        changes += [f"meter {name}: removed" for name in old if name not in new]
        changes += [
            f"meter {name}: {'new' if name not in old else virtual.describe()}"
            for name, virtual in new.items()
            if old.get(name) != virtual
        ]
        return changes

    def _heard(self, meter: Meter, telegram: Telegram) -> None:
        """Tell of a good telegram those that are made of its meter, then whoever listens."""
        now = time.monotonic()
        for each in self._combined:
            if meter.name in each.roots:
                each.take(now)
        self._hear(meter, telegram)

    @property
    def _running(self) -> "Sequence[MeterWatch | Combined]":
        return [*self._watches.values(), *self._combined]

    @property
    def _file(self) -> Path:
        return Path(self._config.file)

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
            case "health":
                return {"summary": self.summary(), "trouble": await self.trouble(ANSWER_S)}
            case "reload":
                own = str(config_place(self._file))
                if question.get("config", own) != own:
                    return {"error": f"this gateway runs with {own}"}
                try:
                    return {"reloaded": True, "changes": await self.reload()}
                except ConfigError as problem:
                    return {"error": str(problem)}
            case other:
                return {"error": f"unknown ask {other!r}; known are status, health and reload"}

    async def _remember_now_and_then(self) -> None:
        """Keep the state, rarely: an SD card wears out."""
        while True:
            await asyncio.sleep(STATE_INTERVAL_S)
            await self._remember()

    async def _remember(self) -> None:
        """Write down what the next run must know of the meters; say once if that cannot be."""
        meters = {each.meter.name: past for each in self._watches.values() if (past := each.past)}
        if not meters or meters == self._remembered:
            return
        try:
            # A worn card takes seconds, for which no client waits.
            await asyncio.to_thread(self._state.write, meters)
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


def _claim(state: StateFile) -> None:
    if not state.claim():
        raise ConfigError(
            f"{state.path} is another gateway's, which runs: give each its own with state: …"
        )


class _Place(NamedTuple):
    """A listener of the next config, which may be there already, and what it is to serve."""

    bound: Bound
    config: ListenerConfig
    units: Units
    loaded: "Credentials | None"

    def changes(self) -> list[str]:
        """Return what will be new about it; nothing of one that is itself new."""
        now, name = self.bound.config, self.bound.describe()
        what = listener_changes(now, self.config, units_of(now), units_of(self.config))
        return [f"listener {name}: {each}" for each in what]

    def change(self) -> None:
        """Let it serve as the next config says."""
        self.bound.change(self.config, self.units, self.loaded)


def _changes(places: Sequence[_Place]) -> list[str]:
    return [text for each in places for text in each.changes()]


def _combine(config: Config, watches: Watches) -> "Sequence[Combined]":
    """Return the virtual meters, each behind those that it is made of."""
    if not config.virtual_meters:
        return ()
    from gateway.combined import Combined

    known: dict[str, Combinable] = {name: watch.meter for name, watch in watches.items()}
    adjustments = {name: meter.adjustment for name, meter in config.meters.items()}
    roots = {name: frozenset((name,)) for name in watches}
    unsafe = _unsafe(config)
    combined = []
    for name, virtual in config.virtual_meters.items():
        roots[name] = frozenset[str]().union(*(roots[part] for part in virtual.parts))
        each = Combined(virtual, known, adjustments, roots[name], unsafe.get(name, ""))
        known[name] = each.meter
        combined.append(each)
    return combined


def _meters(watches: Watches, combined: "Sequence[Combined]") -> Meters:
    """Return all meters by name."""
    meters: dict[str, Served] = {name: watch.meter for name, watch in watches.items()}
    return meters | {each.meter.name: each.meter for each in combined}


def _units(listener: ListenerConfig, meters: Meters) -> Units:
    """Return the units that a listener serves."""
    units = {unit_id: _unit(unit, meters) for unit_id, unit in listener.units.items()}
    return units, _unit(listener.any_unit, meters) if listener.any_unit else None


def _unit(config: UnitConfig, meters: Meters) -> Unit:
    return Unit(
        config.register_map,
        meters[config.meter],
        config.adjustment,
        hold_s=config.hold_s,
        stale=config.stale,
    )


def _unsafe(config: Config) -> Mapping[str, str]:
    """Return which units go on serving a stale meter's values, by its name, as parts of lines."""
    meters: dict[str, Metered] = {**config.meters, **config.virtual_meters}
    units: dict[str, list[str]] = {}
    for listener in config.listeners:
        for unit_id, unit in units_of(listener).items():
            if unit.stale in UNSAFE or (unit.hold_s or 0) > meters[unit.meter].hold_s:
                units.setdefault(unit.meter, []).append(f"{listener.where} unit {unit_id}")
    return {name: f", but for {', '.join(names)}" for name, names in units.items()}
