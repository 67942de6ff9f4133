"""obisgate simulate: the telegrams of a simulated meter, for whoever wants to read some."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import BinaryIO, cast

from gateway.cli.command import Commands, add_command, add_key_options, keys
from gateway.config import SIMULATOR_KEY
from gateway.endpoint import parse_endpoint, show_endpoint
from gateway.located import ConfigError
from gateway.simulator import MODELS
from gateway.sources import SourceAddress
from gateway.sources.simulated import SimulatorSource, push_on_time

MAX_UNREAD_BYTES = 65536  # who does not read so much misses telegrams, as on a real line


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "simulate",
        simulate,
        "write a simulated meter's raw, encrypted telegrams to stdout, a file or a TCP port",
        "  obisgate simulate kaifa-ma309m --count 3 --to meter.bin\n"
        "  obisgate simulate honeywell --tcp 127.0.0.1:2400 --interval 5s",
    )
    parser.add_argument("model", help=", ".join(MODELS))
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--to", default="-", metavar="FILE", help="- or none: standard output")
    where.add_argument("--tcp", metavar="HOST:PORT", help="listen and send to all who connect")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N telegrams")
    parser.add_argument("--interval", help="between two telegrams, such as 5s, 200ms")
    parser.add_argument("--seed", type=int, help="the same seed gives the same telegrams")
    parser.add_argument(
        "--at-once", action="store_true", help="do not wait between telegrams, needs --count"
    )
    add_key_options(parser)


def simulate(options: argparse.Namespace) -> int:
    """Write telegrams until there are enough of them, or Ctrl-C."""
    if options.count is not None and options.count < 1:
        raise ConfigError("--count is at least 1")
    if options.at_once and (options.count is None or options.tcp):
        raise ConfigError("--at-once needs --count, and a file or standard output to write to")
    source = _source(options)
    if options.tcp:
        try:
            host, port = parse_endpoint(options.tcp)
        except ValueError as problem:
            raise ConfigError(f"--tcp {problem}") from None
        asyncio.run(_serve(source, host, port, options.count))
        return 0
    try:
        with _open(options.to) as out:
            _write(source, options, out)
    except OSError as problem:
        if isinstance(problem, BrokenPipeError):
            raise
        raise ConfigError(f"{options.to}: cannot be written: {problem.strerror}") from None
    return 0


def _source(options: argparse.Namespace) -> SimulatorSource:
    key, auth_key = keys(options)
    said = {"interval": options.interval, "seed": options.seed}
    query = "&".join(f"{word}={value}" for word, value in said.items() if value is not None)
    text = f"simulator:{options.model}?{query}" if query else f"simulator:{options.model}"
    try:
        return SimulatorSource.parse(SourceAddress.parse(text), key or SIMULATOR_KEY, auth_key)
    except ValueError as problem:
        raise ConfigError(str(problem)) from None


def _open(path: str) -> BinaryIO:
    # Not closed twice: standard output is not ours to close.
    return open(sys.stdout.fileno(), "wb", closefd=False) if path == "-" else Path(path).open("wb")


def _write(source: SimulatorSource, options: argparse.Namespace, out: BinaryIO) -> None:
    meter = source.meter()
    if options.at_once:
        out.writelines(meter.push().telegram for _ in range(options.count))
        return

    def deliver(telegram: bytes) -> None:
        out.write(telegram)
        out.flush()

    asyncio.run(push_on_time(meter, source.interval_s, deliver, options.count))


async def _serve(source: SimulatorSource, host: str, port: int, count: int | None) -> None:
    """Send every telegram to all who are connected, as a serial server on the network does."""
    connected: set[asyncio.Transport] = set()

    def deliver(telegram: bytes) -> None:
        for transport in connected:
            if transport.get_write_buffer_size() < MAX_UNREAD_BYTES:
                transport.write(telegram)

    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _Listening(connected), host, port)
    except OSError as problem:
        where = show_endpoint(host, port)
        raise ConfigError(f"{where} cannot be opened: {problem.strerror or problem}") from None
    host, port = server.sockets[0].getsockname()[:2]
    where = show_endpoint(host, port)
    print(f"{source.describe()} on {where}; Ctrl-C stops", file=sys.stderr, flush=True)
    try:
        await push_on_time(source.meter(), source.interval_s, deliver, count)
    finally:
        server.close()
        for transport in connected:
            transport.close()


class _Listening(asyncio.Protocol):
    """One who is connected. Whatever he says, a meter does not listen."""

    def __init__(self, connected: set[asyncio.Transport]) -> None:
        self._connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connected.add(self._transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._connected.discard(self._transport)
