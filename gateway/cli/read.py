"""obisgate read: any Modbus meter's registers, seen through a map; two of them side by side."""

import argparse
import asyncio
import json
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import NamedTuple

from gateway import map_library
from gateway.cli.command import Commands, add_command
from gateway.cli.maps import library
from gateway.cli.read_shown import as_json, pair_json, pair_table, table
from gateway.cli.swept import Sweep, are_alike, is_good
from gateway.duration import parse_duration
from gateway.endpoint import parse_endpoint
from gateway.located import ConfigError, nearest
from gateway.modbus.client import DEFAULT_TIMEOUT_S, Client, Endpoint, Transport, UnreachableError
from gateway.modbus.reads import FUNCTIONS, Answer, Refusal, plan
from gateway.registers import Given, Register, RegisterMap, Table
from gateway.registers.decode import scale_address
from gateway.registers.register import MAX_ADDRESS
from gateway.sources.serial_port import PARITIES

DEFAULT_PAUSE = "1s"
HIGHEST_UNIT = 255
CLEAR, HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
LOWEST_BAUD, HIGHEST_BAUD = 50, 4_000_000  # what the terminals of Linux have names for
PREFIXES = (Transport.TCP, Transport.RTU_OVER_TCP, Transport.UDP)
_RANGE = re.compile(r"(0x[0-9a-fA-F]+|\d+)(?:\s*-\s*(0x[0-9a-fA-F]+|\d+))?")


class Asked(NamedTuple):
    """One unit to read, with the map as it stands for that unit."""

    endpoint: Endpoint
    unit: int
    register_map: RegisterMap
    registers: Sequence[Register]


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "read",
        run,
        "read any Modbus meter's registers through a map, one meter or two side by side",
        "  obisgate read 192.168.1.20:502 --unit 1 --map eastron_sdm630\n"
        "  obisgate read 127.0.0.1:5020 --map sunspec_213 --live\n"
        "  obisgate read /dev/ttyUSB0 --map eastron_sdm630 --compare 127.0.0.1:5020,3",
    )
    parser.add_argument(
        "address",
        help="HOST:PORT, HOST, or the device of a serial line; udp:HOST:PORT, rtu:HOST:PORT",
    )
    parser.add_argument("--map", required=True, metavar="NAME", help="a register map, or its file")
    parser.add_argument("--unit", type=int, metavar="N", help="else the map's own id, else 1")
    parser.add_argument(
        "--compare", metavar="ADDRESS[,UNIT]", help="another meter, shown beside the first one"
    )
    parser.add_argument(
        "--only", metavar="LIST", help="active_power_total,voltage_l1 or 0-79,0x100"
    )
    parser.add_argument(
        "--live",
        nargs="?",
        const=DEFAULT_PAUSE,
        metavar="SECONDS",
        help="again and again, else 1 s",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--base", type=_integer, metavar="N", help="where the map begins")
    parser.add_argument(
        "--maps", type=library.folder, metavar="FOLDER", help="a folder of your own maps"
    )
    parser.add_argument(
        "--function", type=int, choices=(3, 4), help="read everything with this one"
    )
    parser.add_argument("--timeout", default=f"{DEFAULT_TIMEOUT_S:g}s", help="for one answer")
    line = parser.add_argument_group("how the meter is spoken to")
    line.add_argument(
        "--framer", choices=("tcp", "rtu"), default="tcp", help="rtu: RTU frames over TCP"
    )
    line.add_argument("--baud", type=int, default=9600)
    line.add_argument("--parity", choices=PARITIES, default="none")
    line.add_argument("--stop-bits", type=int, choices=(1, 2), default=1)


def run(options: argparse.Namespace) -> int:
    """Read once, or until Ctrl-C; 1 if something was not answered or is not as it should be."""
    pause_s = None if options.live is None else _duration("--live", options.live)
    timeout_s = _duration("--timeout", options.timeout)
    asked = list(_asked(options))
    try:
        return asyncio.run(_read(options, asked, timeout_s, pause_s))
    except UnreachableError as problem:
        print(f"obisgate: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if pause_s is None:
            raise
        return 0


async def _read(
    options: argparse.Namespace, asked: Sequence[Asked], timeout_s: float, pause_s: float | None
) -> int:
    say = _Screen() if pause_s and options.format == "table" and sys.stdout.isatty() else _plain
    async with AsyncExitStack() as stack:
        clients = {each.endpoint: Client(each.endpoint, timeout_s) for each in asked}
        for client in clients.values():
            await stack.enter_async_context(client)
        async for _ in _ticks(pause_s):
            sweeps = await _sweeps(clients, asked, options.function)
            is_right = are_alike(*sweeps) if len(sweeps) > 1 else is_good(sweeps[0])
            say(list(_lines(sweeps, options.format)), is_live=pause_s is not None)
    return 0 if is_right else 1


async def _ticks(pause_s: float | None) -> AsyncIterator[None]:
    """Come once, or every so often; a round that took longer is followed at once by the next."""
    due = time.monotonic()
    while True:
        yield
        if pause_s is None:
            return
        due = max(due + pause_s, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


async def _sweeps(
    clients: dict[Endpoint, Client], asked: Sequence[Asked], function: int | None
) -> list[Sweep]:
    if len(clients) < len(asked):
        # Both units are behind one connection, or on one line.
        return [await _sweep(clients[each.endpoint], each, function) for each in asked]
    # At the same time, so that what is compared is of the same moment.
    return await asyncio.gather(*(_sweep(clients[each.endpoint], each, function) for each in asked))


async def _sweep(client: Client, asked: Asked, function: int | None) -> Sweep:
    """Read the registers of one unit, and the scale factors that they need."""
    tables = {number: each for each, number in FUNCTIONS.items()}
    prefer = tables[function] if function else Table.HOLDING
    wanted = [*asked.registers, *_factors(asked)]
    reads, too_long = plan(asked.register_map, dict.fromkeys(wanted), prefer)
    answers: dict[Register, Answer] = await client.sweep(asked.unit, reads, function)
    most = asked.register_map.written.max_read
    for register in too_long:
        reason = f"the map allows no read of more than {most} registers"
        used = function or FUNCTIONS[prefer]
        answers[register] = Refusal(used, register.address, register.words, None, reason)
    written = asked.register_map.written
    is_there = any(not isinstance(each, Refusal) or each.code for each in answers.values())
    return Sweep(
        asked.endpoint,
        asked.unit,
        asked.register_map,
        asked.registers,
        answers,
        function,
        await client.identity(asked.unit) if written.identity and is_there else None,
        await client.server_id(asked.unit) if written.server_id and is_there else None,
    )


def _factors(asked: Asked) -> Iterator[Register]:
    base = asked.register_map.written.base
    addresses = {scale_address(register, base) for register in asked.registers}
    return (r for r in asked.register_map.registers if r.address in addresses)


def _lines(sweeps: Sequence[Sweep], form: str) -> Iterator[str]:
    if form == "table":
        return pair_table(*sweeps) if len(sweeps) > 1 else table(*sweeps)
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    shown = pair_json(now, *sweeps) if len(sweeps) > 1 else as_json(now, *sweeps)
    return iter([json.dumps(shown, ensure_ascii=False)])


def _plain(lines: Sequence[str], *, is_live: bool) -> None:
    """Print a round below the one before it."""
    if is_live and not lines[0].startswith("{"):
        print(f"{datetime.now():%H:%M:%S}")
    print("\n".join(lines), flush=True)
    if is_live and not lines[0].startswith("{"):
        print(flush=True)


class _Screen:
    """Prints each round over the one before it, cut to the terminal's size."""

    def __init__(self) -> None:
        self._is_first = True

    def __call__(self, lines: Sequence[str], *, is_live: bool) -> None:
        del is_live  # it always is
        columns, rows = shutil.get_terminal_size()
        room = rows - 2
        shown = [f"{datetime.now():%H:%M:%S}  Ctrl-C stops", *lines]
        if len(shown) > room:
            more = len(shown) - room + 1
            shown = [*shown[: room - 1], f"… {more} more lines: --only shows less"]
        text = "".join(f"{line[:columns]}{CLEAR_LINE}\n" for line in shown)
        print(f"{CLEAR if self._is_first else ''}{HOME}{text}{CLEAR_BELOW}", end="", flush=True)
        self._is_first = False


def _asked(options: argparse.Namespace) -> Iterator[Asked]:
    """Return the one or two units to read; ConfigError for what cannot be."""
    if not LOWEST_BAUD <= options.baud <= HIGHEST_BAUD:
        reason = f"{options.baud} is not between {LOWEST_BAUD} and {HIGHEST_BAUD}"
        raise ConfigError(f"--baud: {reason}")
    written = _map(options, None).written
    unit = options.unit
    if unit is None:
        unit = written.unit_ids[0] if written.unit_ids else 1
    yield _one(options, options.address, unit, written.port, "ADDRESS")
    if options.compare is not None:
        address, comma, other = options.compare.partition(",")
        if comma and not other.isdecimal():
            raise ConfigError(f"--compare: {other!r} is no unit id")
        number = int(other) if comma else unit
        yield _one(options, address, number, written.port, "--compare")


def _one(options: argparse.Namespace, address: str, unit: int, port: int, where: str) -> Asked:
    if not 0 <= unit <= HIGHEST_UNIT:
        raise ConfigError(f"{unit} is no unit id: 0 to {HIGHEST_UNIT}")
    try:
        endpoint = _endpoint(options, address, port)
    except ValueError as problem:
        raise ConfigError(f"{where}: {problem}") from None
    register_map = _map(options, unit)
    return Asked(endpoint, unit, register_map, _only(register_map, options.only))


def _endpoint(options: argparse.Namespace, text: str, port: int) -> Endpoint:
    """Read an address as people write them; ValueError says what is wrong."""
    if text.startswith("/"):
        line = (options.baud, options.parity, options.stop_bits)
        return Endpoint(Transport.SERIAL, text, 0, *line)
    transport = Transport(options.framer)
    for prefix in PREFIXES:
        for start in (f"{prefix}://", f"{prefix}:"):
            if text.startswith(start):
                transport, text = prefix, text.removeprefix(start)
                break
    if not text:
        raise ValueError("it is empty; one looks like 192.168.1.20:502 or /dev/ttyUSB0")
    # Of a host alone the port is the one at which the map's meter is usually found.
    host, port = parse_endpoint(text, port)
    return Endpoint(transport, host, port)


def _map(options: argparse.Namespace, unit: int | None) -> RegisterMap:
    given = Given(base=options.base, unit_id=unit)
    path, others = library.find(options.map, options.maps)
    return map_library.read(path, others, given)


def _only(register_map: RegisterMap, text: str | None) -> list[Register]:
    """Return the registers that `--only` names, by address; all if it names none."""
    ordered = sorted(register_map.registers, key=lambda r: (min(r.tables), r.address))
    if text is None:
        return ordered
    tests = [_test(part.strip(), register_map) for part in text.split(",")]
    return [register for register in ordered if any(test(register) for test in tests)]


def _test(part: str, register_map: RegisterMap) -> Callable[[Register], bool]:
    registers = register_map.registers
    if match := _RANGE.fullmatch(part):
        first = int(match[1], 0) if match[1].startswith("0x") else int(match[1])
        last = match[2] or match[1]
        end = (int(last, 0) if last.startswith("0x") else int(last)) + 1
        if end <= first:
            raise ConfigError(f"--only: {part}: the range runs backwards")
        if not any(r.address < end and first < r.end for r in registers):
            lowest, highest = min(r.address for r in registers), max(r.end for r in registers)
            raise ConfigError(
                f"--only: the map has no register at {part}, its registers lie from {lowest} to "
                f"{highest - 1}"
            )
        return lambda r: r.address < end and first < r.end
    names = {r.quantity for r in registers if r.quantity}
    if part not in names:
        hint = nearest(part, names) or "; `obisgate maps show` lists what it shows"
        raise ConfigError(f"--only: the map does not show {part!r}{hint}")
    return lambda r: r.quantity == part


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as problem:
        raise ConfigError(f"{option}: {problem}") from None


def _integer(text: str) -> int:
    number = int(text, 0)
    if not 0 <= number <= MAX_ADDRESS:
        raise ValueError
    return number
