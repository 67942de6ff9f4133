"""Who will read the meter, through which map, and where the gateway answers."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway import map_library
from gateway.cli.questions import Questions
from gateway.config import Transport
from gateway.endpoint import parse_endpoint, show_endpoint, why_not_bound
from gateway.located import nearest
from gateway.readers import Reader, readers, search
from gateway.registers.mapfile import MapFile
from gateway.sources import serial_ports
from gateway.sources.serial_port import SerialSource

MOST_SHOWN = 20
FEW_SHOWN = 3
MAX_UNIT_ID = 255
# How the maps call a transport, and how the config does.
TRANSPORTS = {
    "tcp": Transport.TCP,
    "rtu over tcp": Transport.RTU_OVER_TCP,
    "udp": Transport.UDP,
    "rtu": Transport.SERIAL,
}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - an inverter is another machine; the user is asked


@dataclass(frozen=True, slots=True)
class Answering:
    """Where the gateway answers a reader: a transport, and an endpoint or a serial device."""

    transport: Transport
    where: str


def choose_reader(
    questions: Questions, wish: str | None, map_name: str | None, *, is_single_phase: bool
) -> Reader:
    """Return who will read: whom the options name, else who is found and chosen."""
    known = _maps()
    if map_name is not None:
        return questions.ask("map", "", map_name, None, lambda text: _of_map(text, known))
    all_readers = readers(known, is_single_phase=is_single_phase)
    shown: Sequence[Reader] = ()

    def find(text: str) -> Reader | None:
        nonlocal shown
        if text.isdecimal() and 1 <= int(text) <= len(shown):
            return shown[int(text) - 1]
        found = search(all_readers, text)
        if not found:
            raise ValueError(
                f"nothing of that name reads a map: {text!r}; `obisgate maps` lists all"
            )
        # Whose whole name was said is meant.
        same = [each for each in found if each.name.lower() == text.lower()]
        found = same or found
        if len({each.map_name for each in found}) == 1 and (len(found) == 1 or wish is not None):
            return found[0]
        shown = found[:MOST_SHOWN]
        if questions.takes_defaults:
            names = ", ".join(f"{each.name!r} ({each.map_name})" for each in found[:FEW_SHOWN])
            more = f" and {len(found) - FEW_SHOWN} more" if len(found) > FEW_SHOWN else ""
            raise ValueError(f"{text!r} may be {names}{more}: say more of the name, or --map")
        _show(found)
        return None

    question = (
        "Which inverter, battery, wallbox or program will read the meter?\n"
        "A part of its name, such as fronius"
    )
    found = questions.ask("reader", question, wish, None, find)
    while found is None:
        found = questions.ask("reader", "Number, or another name", None, "1", find)
    return found


def choose_unit_id(questions: Questions, reader: Reader, given: str | None) -> Reader:
    """Return the reader with the unit id that it asks."""

    def read(text: str) -> int:
        if not (text.isdecimal() and 1 <= int(text) <= MAX_UNIT_ID):
            raise ValueError(f"a unit id is a number from 1 to {MAX_UNIT_ID}, not {text!r}")
        return int(text)

    question = "Which unit id (Modbus address) does it ask?"
    return replace(
        reader, unit_id=questions.ask("unit", question, given, str(reader.unit_id), read)
    )


def choose_answering(
    questions: Questions, reader: Reader, given: str | None, meter_device: str
) -> Answering:
    """Return where the gateway answers; `meter_device` is the port that is taken by the meter."""
    transport = TRANSPORTS[reader.over]
    default: str | None = show_endpoint(EVERYWHERE, reader.port)
    question = f"Where shall the gateway answer it ({reader.over})? Address and port"
    if transport is Transport.SERIAL:
        others = [each for each in serial_ports.find() if each.device != meter_device]
        for each in others:
            print(f"  {each}")
        default = others[0].device if len(others) == 1 else None
        question = (
            "It asks over RS485. Which serial port leads to it? Its device, or address and port"
        )

    def read(text: str) -> Answering:
        if text.startswith("/"):
            if text == meter_device:
                raise ValueError("that is the meter's port: RS485 needs one of its own")
            return Answering(Transport.SERIAL, text)
        # A network address in place of a serial line: through a converter, or over TCP.
        over = Transport.TCP if transport is Transport.SERIAL else transport
        return Answering(over, show_endpoint(*parse_endpoint(text, reader.port)))

    return questions.ask("listen", question, given, default, read)


def reached_at(endpoint: str) -> tuple[str, int]:
    """Return address and port as a reader on another machine must be told them."""
    host, port = parse_endpoint(endpoint)
    if host not in (EVERYWHERE, "::"):
        return host, port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: the system says from which address it would be (RFC 5737).
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0]), port
        except OSError:
            return socket.gethostname(), port


def trouble_with(answering: Answering) -> str | None:
    """Return why the gateway could not answer there now; the port is open for a moment only."""
    if answering.transport is Transport.SERIAL:
        return SerialSource(answering.where).trouble()
    host, port = parse_endpoint(answering.where)
    is_udp = answering.transport is Transport.UDP
    try:
        family, kind, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not is_udp)
            probe.bind(address)
    except OSError as problem:
        if problem.errno == errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine: hostname -I lists them"
        return why_not_bound(host, port, problem, is_udp=is_udp)
    return None


def _maps() -> dict[str, MapFile]:
    return {name: map_library.load(name, None).written for name in map_library.find(None)}


def _of_map(name: str, known: dict[str, MapFile]) -> Reader:
    if name not in known:
        hint = nearest(name, known) or "; `obisgate maps` lists them"
        raise ValueError(f"unknown map {name!r}{hint}")
    return Reader.of(f"the reader of {known[name].name}", name, known[name])


def _show(found: Sequence[Reader]) -> None:
    for number, each in enumerate(found[:MOST_SHOWN], 1):
        print(f"  {number:>2}  {each.name}: map {each.map_name}, over {each.over}")
    if len(found) > MOST_SHOWN:
        print(f"      and {len(found) - MOST_SHOWN} more: say more of the name")
