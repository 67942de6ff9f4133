"""obisgate run: the service itself, and what one sees of it."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from gateway import __version__
from gateway.cli.command import Commands, add_command, telegram_json
from gateway.cli.streams import Output
from gateway.config import Config, ListenerConfig, Transport, UnitConfig
from gateway.endpoint import LOOPBACK, show_endpoint
from gateway.listening import Bound
from gateway.located import ConfigError
from gateway.meter import Meter
from gateway.registers import Register, RegisterMap, Table
from gateway.service import Service
from gateway.systemd.notify import Supervisor, keep_told
from gateway.telegram import Telegram

log = logging.getLogger("gateway")

TERMINAL = 0  # the descriptor of standard input
TERMINAL_LOOK_S = 1.0

# How mbpoll and FieldTalk's modpoll name a type, and what makes them take its high word first.
PROTOCOLS = {
    Transport.TCP: "Modbus TCP",
    Transport.TLS: "Modbus/TCP Security",
    Transport.RTU_OVER_TCP: "Modbus RTU over TCP",
    Transport.UDP: "Modbus UDP",
}
POLL_TYPES: Mapping[str, tuple[str, str, str]] = {
    "int16": ("", "", ""),
    "uint16": ("", "", ""),
    "int32": (":int", " -B", " -i"),
    "uint32": (":int", " -B", " -i"),
    "acc32": (":int", " -B", " -i"),
    "float32": (":float", " -B", " -f"),
}


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "run",
        run,
        "read the meters and serve their registers until stopped",
        "  obisgate run config.yaml",
    )
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="json: one object a line, telegrams included, on standard output",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; 0 after an orderly stop. SIGHUP applies a changed config."""
    config = Config.read(options.config)
    signals = _Signals()
    show = _Json() if options.log_format == "json" else _Text()
    logging.basicConfig(level=logging.INFO, handlers=[show.handler()])
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(config, show, signals))
    finally:
        show.close()
    return 0


async def _serve(config: Config, show: "_Text | _Json", signals: "_Signals") -> None:
    service = Service(config, show.telegram)
    bound = await service.listen()
    show.start(config, bound)
    for warning in config.warnings:
        log.warning("%s", warning)
    signals.begin()
    with Supervisor.named_in(os.environ) or nullcontext() as supervisor:
        reloading = asyncio.create_task(_reload_when_asked(service, signals.reload, supervisor))
        try:
            async with asyncio.TaskGroup() as tasks:
                if supervisor:
                    tasks.create_task(keep_told(supervisor, service, signals.stop))
                await service.run(signals.stop)
        finally:
            reloading.cancel()
    show.stop()


async def _reload_when_asked(
    service: Service, asked: asyncio.Event, supervisor: Supervisor | None
) -> None:
    """Apply a changed config at each SIGHUP; the service logs what comes of it."""
    while True:
        await asked.wait()
        asked.clear()
        if supervisor:
            supervisor.tell_reloading()
        try:
            await service.reload()
        except ConfigError:
            pass  # is said, and the old one stays
        except Exception:
            log.exception("the config could not be reloaded; please report this")
        if supervisor:
            supervisor.tell("READY=1")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a loop of uvloop, the extra `uvloop`; None without it: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Signals:
    """SIGINT and SIGTERM ask for a stop, SIGHUP for the config to be read anew.

    They are heard from before the first listener to the command's end. asyncio's own handlers end
    with its loop: a second Ctrl-C would interrupt the end of the first.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: Sequence[socket.socket] = ()
        # A closed terminal sends SIGHUP, too, and at once: one that comes later is meant for us.
        self._has_terminal = os.isatty(TERMINAL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heard)

    def begin(self) -> None:
        """Wake the running loop up from now on."""
        self._loop = asyncio.get_running_loop()
        # A signal just before the loop begins to wait is heard by Python only when it wakes up:
        # a byte from the C handler wakes it.
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        self._loop.add_reader(woken, woken.recv, 4096)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._sockets = woken, waker
        if self._has_terminal:
            self._look()

    def _look(self) -> None:
        """See whether the terminal is still there, as long as it was."""
        if self._loop is None or not os.isatty(TERMINAL):
            self._has_terminal = False
        else:
            self._loop.call_later(TERMINAL_LOOK_S, self._look)

    def _heard(self, number: int, *_: object) -> None:
        is_reload = number == signal.SIGHUP and not (self._has_terminal and not os.isatty(TERMINAL))
        event = self.reload if is_reload else self.stop
        if self._loop is None:
            event.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)


class _OutputHandler(logging.Handler):
    """Sends log records to an output."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.say(self.format(record))


class _Text:
    """For people: what was started, then a line a telegram when somebody watches."""

    def __init__(self) -> None:
        self._output, self._log = Output(sys.stdout), Output(sys.stderr)

    def close(self) -> None:
        self._output.close()
        self._log.close()

    def handler(self) -> logging.Handler:
        handler = _OutputHandler(self._log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        return handler

    def start(self, config: Config, bound: Sequence[Bound]) -> None:
        lines = [f"obisgate {__version__}, {config.file}"]
        for name, meter in config.meters.items():
            lines.append(f"meter {name}: {meter.source.describe()}; waiting for its first telegram")
        for name, virtual in config.virtual_meters.items():
            lines.append(f"meter {name}: {virtual.describe()}")
        for each in bound:
            lines += _listener_lines(each)
        self._output.say("\n".join([*lines, "Ctrl-C stops."]))

    def telegram(self, meter: Meter, telegram: Telegram) -> None:
        if sys.stdout.isatty() and meter.snapshot:
            self._output.say(telegram_line(meter, telegram))

    def stop(self) -> None:
        self._output.say("stopped")


class _Json:
    """For machines: one JSON object a line."""

    def __init__(self) -> None:
        self._output = Output(sys.stdout)

    def close(self) -> None:
        self._output.close()

    def handler(self) -> logging.Handler:
        handler = _OutputHandler(self._output)
        handler.setFormatter(_JsonFormatter())
        return handler

    def start(self, config: Config, bound: Sequence[Bound]) -> None:
        _event("start", version=__version__, config=config.file)
        for name, meter in config.meters.items():
            _event("meter", meter=name, source=meter.source.describe())
        for name, virtual in config.virtual_meters.items():
            _event("meter", meter=name, **{virtual.how: virtual.parts})
        for each in bound:
            _event(
                "listener",
                transport=each.config.transport,
                host=each.config.host,
                port=each.port,
                units={
                    unit_id: {"meter": unit.meter, "map": unit.map_name}
                    for unit_id, unit in _units(each).items()
                },
            )

    def telegram(self, meter: Meter, telegram: Telegram) -> None:
        _event("telegram", name=meter.name, **telegram_json(telegram))

    def stop(self) -> None:
        _event("stop")


def _event(event: str, **fields: object) -> None:
    log.info(event, extra={"fields": fields})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        shown: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(),
            "level": record.levelname.lower(),
        }
        if fields is None:
            shown |= {"event": "message", "message": record.getMessage()}
            if record.exc_info:
                shown["traceback"] = self.formatException(record.exc_info)
        else:
            shown |= {"event": record.getMessage(), **fields}
        return json.dumps(shown, ensure_ascii=False)


def telegram_line(meter: Meter, telegram: Telegram) -> str:
    """Return one short line: time, power, total import and export."""
    values = meter.snapshot.values if meter.snapshot else {}
    parts = [f"{telegram.clock:%H:%M:%S}" if telegram.clock else "--:--:--", meter.name]
    if power := values.get("active_power_total"):
        parts.append(f"{power.number:+6d} W")
    for name, word in (
        ("energy_active_import_total", "import"),
        ("energy_active_export_total", "export"),
    ):
        if energy := values.get(name):
            parts.append(f"{word} {energy.number / 1000:.3f} kWh")
    return "  ".join(parts)


def _units(bound: Bound) -> dict[str, UnitConfig]:
    """Return a listener's units by what a client must ask for; "any" is every other id."""
    units = {str(unit_id): unit for unit_id, unit in bound.config.units.items()}
    if bound.config.any_unit:
        units["any"] = bound.config.any_unit
    return units


def _listener_lines(bound: Bound) -> list[str]:
    config = bound.config
    units = _units(bound)
    if config.line is not None:
        where = config.host
        line = config.line
        lines = [f"listener {where}, Modbus RTU, {line.baud} 8{line.parity}{line.stop_bits}"]
    else:
        where = show_endpoint(config.host, bound.port or config.port)
        if bound.port is None:
            return [f"listener {where}: waiting for the address"]
        lines = [f"listener {where}, {PROTOCOLS[config.transport]}"]
    for unit_id, unit in units.items():
        title = unit.register_map.written.name
        lines.append(f"  unit {unit_id}: meter {unit.meter} as {unit.map_name}, {title}")
    if bound.port is None or config.transport is not Transport.TCP:
        return lines
    unit_id, unit = next(iter(units.items()))
    asked = 1 if unit_id == "any" else int(unit_id)
    return lines + poll_lines(_reachable(config), bound.port, asked, unit.register_map)


def _reachable(config: ListenerConfig) -> str:
    """Return how a client names the listener's host: from here, unless `allow` keeps us out."""
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(config.host, config.host)  # noqa: S104 - only read
    is_loopback = host in (LOOPBACK, "::1")
    if is_loopback and config.allow and not any(ip_address(host) in each for each in config.allow):
        return socket.gethostname()
    return host


def poll_lines(host: str, port: int, unit_id: int, register_map: RegisterMap) -> list[str]:
    """Return the lines to copy into a terminal: the map's total power, with mbpoll and modpoll."""
    register = _polled(register_map)
    if register is None or register.type is None:
        return []
    kind, mbpoll_order, modpoll_order = POLL_TYPES[register.type.name]
    if register_map.written.word_order == "little":
        mbpoll_order = modpoll_order = ""
    table = 4 if Table.HOLDING in register.tables else 3
    start = f"-m tcp -a {unit_id} -p {port} -t {table}{kind}"
    end = f"-0 -r {register.address} -c 1 -1 {host}"
    return [
        f"  {register.shows} ({register.step}) is read with",
        f"    mbpoll {start}{mbpoll_order} {end}",
        f"    modpoll {start}{modpoll_order} {end}",
    ]


def _polled(register_map: RegisterMap) -> Register | None:
    """Return the register of the total power, else the first that the tools can read."""
    readable = [
        r for r in register_map.registers if r.quantity and r.type and r.type.name in POLL_TYPES
    ]
    power = [r for r in readable if r.quantity == "active_power_total"]
    return next(iter(power or readable), None)
