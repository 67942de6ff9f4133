"""Whether the network reaches a gateway's listeners, as far as that can be tried from here."""

import contextlib
import errno
import socket
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from gateway.cli.run import poll_lines
from gateway.config import ListenerConfig, Network
from gateway.config import Transport as Served
from gateway.endpoint import show_endpoint
from gateway.ladder import ClientEvidence, ListenerEvidence
from gateway.languages import Text
from gateway.modbus.client import Client, Endpoint, Transport, UnreachableError
from gateway.modbus.reads import FUNCTIONS, Read, Refusal, plan
from gateway.registers import RegisterMap

PATIENCE_S = 5.0
ANSWERED_S = 1.0  # by this machine itself
# Addresses for documentation (RFC 5737, RFC 3849): nothing is sent, but the route to them shows
# this machine's own address.
ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
ANY_HOST = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 - only read
TRANSPORTS: Mapping[Served, Transport] = {
    Served.TCP: Transport.TCP,
    Served.RTU_OVER_TCP: Transport.RTU_OVER_TCP,
    Served.UDP: Transport.UDP,
}

UNNAMED = Text(
    "'allow' does not name this machine, {address}: it cannot be tried from here",
    "'allow' nennt diese Maschine nicht, {address}: von hier nicht auszuprobieren",
)
ENCRYPTED = Text(
    "a TLS client needs a certificate: it is not tried from here",
    "ein TLS-Client braucht ein Zertifikat: von hier wird es nicht probiert",
)
CHANGED = Text(
    "the config has changed since: obisgate reload",
    "die Konfiguration wurde seither geändert: obisgate reload",
)
NO_NETWORK = Text(
    "this machine has no address in a network now",
    "diese Maschine hat derzeit keine Adresse in einem Netz",
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The unit that is tried: of the meter, through its map."""

    unit: int
    register_map: RegisterMap

    @property
    def read(self) -> Read:
        """The first register of the map."""
        return plan(self.register_map, self.register_map.registers[:1])[0][0]


async def listeners_of(
    meters: Set[str], status: Mapping[str, Any], configs: Sequence[ListenerConfig]
) -> list[ListenerEvidence]:
    """Return what shows of the listeners that a running gateway has for a meter.

    `meters` are its name, and those of what is made of it.
    KeyError or TypeError if `status` is not what a gateway answers.
    """
    found = []
    for told in status["listeners"]:
        if any(unit["meter"] in meters for unit in told["units"].values()):
            config = next((each for each in configs if _is_of(each, told)), None)
            found.append(await _listener(meters, told, config))
    return found


def _is_of(config: ListenerConfig, told: Mapping[str, Any]) -> bool:
    """Tell whether a listener of the config is the one that the gateway tells of."""
    ports = (told["port"], 0)
    is_port = config.line is not None or told["port"] is None or config.port in ports
    return (config.transport, config.host) == (told["transport"], told["host"]) and is_port


async def _listener(
    meters: Set[str], told: Mapping[str, Any], config: ListenerConfig | None
) -> ListenerEvidence:
    host, port, units = str(told["host"]), told["port"], told["units"]
    is_line = told["transport"] == Served.SERIAL
    endpoint = host if is_line or port is None else show_endpoint(host, port)
    own = own_address(host)
    asked = _asked(meters, config)
    allow = config.allow if config else ()
    is_local = not is_line and _is_loopback(host)
    is_absent = not is_line and port is None
    refusal, untried = None, None
    if not (is_line or is_local or is_absent):
        if own is None:
            untried = NO_NETWORK
        elif not _admits(allow, own):
            untried = Text(UNNAMED.en.format(address=own), UNNAMED.de.format(address=own))
        elif told["transport"] == Served.TLS:
            untried = ENCRYPTED
        elif asked is None:
            untried = CHANGED
        else:
            refusal = await _tried(Served(told["transport"]), own, port, asked)
    return ListenerEvidence(
        endpoint=endpoint,
        is_line=is_line,
        is_absent=is_absent,
        trouble=told["trouble"],
        is_local=is_local,
        is_closed=bool(allow) and all(_is_this_machine(network, own) for network in allow),
        refusal=refusal,
        untried=untried,
        units=list(units),
        clients=[
            ClientEvidence(
                address=each["address"],
                unit=each["unit"],
                requests=each["requests"],
                exceptions={int(code): times for code, times in each["exceptions"].items()},
                refused={int(code): times for code, times in each["refused"].items()},
                idle_s=each["last_request_age_s"],
                is_here=each["address"] == own or _is_loopback(each["address"]),
                is_meter=units.get(str(each["unit"]), units.get("any", {})).get("meter") in meters,
            )
            for each in told["clients"]
            if is_local or not _is_ours(each, own, asked)
        ],
        poll=_poll(told["transport"], own, port, asked),
    )


def own_address(host: str) -> str | None:
    """Return at which address other machines find a listener of this one; None: at none."""
    family = ANY_HOST.get(host)
    if family is None:
        return host
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((ELSEWHERE[family], 9))
        return str(asking.getsockname()[0])
    return None


def is_taken(listener: ListenerConfig) -> bool:
    """Tell whether somebody on this machine listens where the config has a listener."""
    if listener.line is not None or not listener.port:
        return False
    kind = socket.SOCK_DGRAM if listener.transport is Served.UDP else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(listener.host, listener.port, type=kind)
    except (OSError, UnicodeError):
        return False  # a name that leads nowhere
    return any(_is_taken(family, kind, address) for family, _, _, _, address in found)


def _is_taken(family: int, kind: int, address: tuple[Any, ...]) -> bool:
    host, _, *scope = address
    with socket.socket(family, kind) as probe:
        probe.settimeout(ANSWERED_S)
        try:
            if kind == socket.SOCK_DGRAM:
                probe.bind(address)
                return False
            # From the listener's own address: one that this machine has not is refused here.
            probe.bind((host, 0, *scope))
            # Ports below 1024 are not for everybody to bind, but to connect to.
            probe.connect(address)
            return bool(probe.getsockname() != probe.getpeername())
        except OSError as problem:
            return kind == socket.SOCK_DGRAM and problem.errno == errno.EADDRINUSE


def _asked(meters: Set[str], config: ListenerConfig | None) -> _Asked | None:
    """Return the first unit of a meter at a listener."""
    if config is None:
        return None
    for unit_id, unit in config.units.items():
        if unit.meter in meters:
            return _Asked(unit_id, unit.register_map)
    if config.any_unit is None or config.any_unit.meter not in meters:
        return None
    ids = config.any_unit.register_map.written.unit_ids
    return _Asked(ids[0] if ids else 1, config.any_unit.register_map)


async def _tried(transport: Served, host: str, port: int, asked: _Asked) -> str:
    """Ask a listener as a client would; return why it does not answer, "" if it does."""
    read = asked.read
    try:
        async with Client(Endpoint(TRANSPORTS[transport], host, port), PATIENCE_S) as client:
            answer = await client.read(asked.unit, FUNCTIONS[read.table], read.address, read.count)
    except UnreachableError as problem:
        return str(problem)
    # An exception is an answer, too: it came all the way.
    return answer.reason if isinstance(answer, Refusal) and answer.code is None else ""


def _is_ours(client: Mapping[str, Any], own: str | None, asked: _Asked | None) -> bool:
    """Tell whether a client is nobody but this command, when it tried the listener before."""
    if client["address"] != own or asked is None:
        return False
    tried = (asked.unit, FUNCTIONS[asked.read.table], asked.read.address, asked.read.count)
    times = [
        each["times"]
        for each in client["ranges"]
        if (client["unit"], each["function"], each["first"], each["count"]) == tried
    ]
    return bool(sum(times) == client["requests"])


def _poll(transport: str, own: str | None, port: int | None, asked: _Asked | None) -> str:
    """Return the line with which another machine can try it."""
    if transport != Served.TCP or not own or not port or not asked or _is_loopback(own):
        return ""
    lines = poll_lines(own, port, asked.unit, asked.register_map)
    return next((line.strip() for line in lines if "mbpoll" in line), "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _admits(allow: Sequence[Network], host: str) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return True  # a name: it shows when it is tried
    return not allow or any(address in network for network in allow)


def _is_this_machine(network: Network, own: str | None) -> bool:
    """Tell whether a network has no room for any other machine."""
    return network.is_loopback or str(network) in (f"{own}/32", f"{own}/128")
