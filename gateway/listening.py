"""The endpoints of a config: opened, changed while their clients stay, closed."""

import asyncio
import dataclasses
import errno
import logging
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from gateway.config import ListenerConfig, TlsConfig, Transport, UnitConfig
from gateway.endpoint import show_endpoint, why_not_bound
from gateway.located import ConfigError
from gateway.modbus.access import Kind
from gateway.modbus.clients import Asking
from gateway.modbus.knock import knock, rtu_question, tcp_question, tls_question
from gateway.modbus.responder import Responder
from gateway.modbus.server import Listener
from gateway.modbus.unit import Unit

if TYPE_CHECKING:  # imported when a config has one
    from gateway.modbus.rtu_server import SerialListener
    from gateway.modbus.tls import TlsListener
    from gateway.modbus.udp import UdpListener
    from gateway.tls_files import Credentials

log = logging.getLogger(__name__)

ADDRESS_RETRY_S = 5.0
LEAVE_S = 0.1  # until an address that was left is free: uvloop closes a socket in its next turn

Units = tuple[Mapping[int, Unit], Unit | None]  # by id, and the one for any other id


class Bound:
    """A listener. `port` is the one it got; None: its address is not there, or a serial line."""

    def __init__(self, config: ListenerConfig, units: Units) -> None:
        """Open nothing yet. ConfigError: its files are not good."""
        self.config = config
        self.port: int | None = None
        self._responder = Responder(*units)
        # One of them is there.
        self._line = _line(config, self._responder)
        self._endpoint = _endpoint(config, self._responder)
        self._later: asyncio.Task[None] | None = None

    def describe(self) -> str:
        """Return the address as people write it, with the port that it got."""
        if self.config.line is not None:
            return self.config.host
        return show_endpoint(self.config.host, self.port or self.config.port)

    async def open(self) -> None:
        """Listen; ConfigError says why that is not possible.

        An address that this machine does not have now may come: then it opens later.
        """
        if self._line is not None:
            await self._line.start()
        if self._endpoint is None:
            return
        try:
            self.port = (await self._endpoint.start())[1]
        except OSError as problem:
            if not _may_come(problem):
                raise ConfigError(f"{self.config.where}: {self._why_not(problem)}") from None
            self._later = asyncio.create_task(self._open_later(self._endpoint))

    @property
    def awaited(self) -> str | None:
        """Return what is not there, so that nobody can be served: an address, or a serial line."""
        if self._line is not None:
            return self.config.host if self._line.trouble else None
        is_absent = self._endpoint is not None and self._endpoint.address is None
        return f"the address {self.config.host}" if is_absent else None

    @property
    def connections(self) -> int:
        """How many clients are connected; over UDP and on a serial line none is."""
        return self._endpoint.access.inside if self._endpoint is not None else 0

    async def ask(self, answer_s: float) -> str | None:
        """Ask as clients do; return in words why there is no answer, None: there is one.

        None as well of what cannot be asked from here, a line and an address that is not there.
        """
        if self._line is not None and self._line.has_ended:
            return f"nobody serves {self.config.host} any more"
        endpoint = self._endpoint
        if endpoint is None or endpoint.address is None:
            return None
        is_udp = self.config.transport is Transport.UDP
        kind = socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM
        try:
            asked = question_of(self.config)
            return await knock(endpoint.address, asked, answer_s, endpoint.own, kind)
        except OSError:
            return None

    def change(self, config: ListenerConfig, units: Units, loaded: "Credentials | None") -> None:
        """Serve as a config of the same place says, at once and on open connections too.

        `loaded` is what was read from its TLS files. Who may not connect any more is closed, and
        all clients are if other roles or authorities count.
        """
        self.config = config
        self._responder.serve(*units)
        if isinstance(self._endpoint, Listener):
            self._endpoint.change(config.allow, config.limits)
        elif self._endpoint is not None:
            self._endpoint.change(config.allow)
        if config.tls and loaded:
            tls = cast("TlsListener", self._endpoint)
            tls.trust(config.tls.files, loaded, config.tls.roles)

    async def leave(self) -> None:
        """Leave the address to another, with the connections open; `open` takes it again."""
        if self._endpoint is not None:
            self._endpoint.pause()
            await asyncio.sleep(LEAVE_S)

    def close(self) -> None:
        """Close it and its connections."""
        if self._later:
            self._later.cancel()
        for each in (self._line, self._endpoint):
            if each is not None:
                each.stop()

    def status(self, now: float) -> dict[str, object]:
        """Return what it serves, who asks, and how often somebody was refused or asked wrongly.

        All plain values. On a serial line clients cannot be told apart; its `trouble` is why it is
        not open.
        """
        config, endpoint = self.config, self._endpoint
        asking: Sequence[Asking] = ()
        complaints: Mapping[Kind, int] = {}
        if endpoint is not None:
            asking = endpoint.clients.seen(now)
            complaints = endpoint.access.complaints.counts
        return {
            "where": config.where,
            "transport": str(config.transport),
            "host": config.host,
            "port": self.port,
            "trouble": self._line.trouble if self._line is not None else None,
            "units": {
                unit_id: {"meter": unit.meter, "map": unit.map_name}
                for unit_id, unit in units_of(config).items()
            },
            "clients": [_asking_status(each) for each in asking],
            "complaints": {str(kind): times for kind, times in complaints.items()},
        }

    async def _open_later(self, endpoint: "Listener | UdpListener") -> None:
        """Open it as soon as its address is there; say if something else prevents it then."""
        log.warning("%s is no address of this machine now; trying again", self.config.host)
        said = ""
        while self.port is None:
            await asyncio.sleep(ADDRESS_RETRY_S)
            try:
                host, self.port = await endpoint.start()
            except OSError as problem:
                why = self._why_not(problem)
                if not _may_come(problem) and why != said:
                    log.warning("%s; trying again", why)
                    said = why
            else:
                log.warning("listening on %s now", show_endpoint(host, self.port))

    def _why_not(self, problem: OSError) -> str:
        is_udp = self.config.transport is Transport.UDP
        return why_not_bound(self.config.host, self.config.port, problem, is_udp=is_udp)


def _may_come(problem: OSError) -> bool:
    """Tell whether an address is just not there yet."""
    # asyncio of Python 3.12 and later loses the errno of a missing address.
    return problem.errno in (errno.EADDRNOTAVAIL, None)


def place_of(config: ListenerConfig) -> tuple[object, ...]:
    """Return what makes a listener another one if it changes."""
    return config.transport, config.host, config.port, config.line


def question_of(config: ListenerConfig) -> bytes:
    """Return what a listener with a network address must answer."""
    unit = next(iter(config.units), 1)
    if config.transport is Transport.TLS:
        return tls_question()
    return (rtu_question if config.transport is Transport.RTU_OVER_TCP else tcp_question)(unit)


def units_of(listener: ListenerConfig) -> dict[str, UnitConfig]:
    """Return a listener's units by what a client must ask for; "any" is every other id."""
    units = {str(unit_id): unit for unit_id, unit in listener.units.items()}
    return units | ({"any": listener.any_unit} if listener.any_unit else {})


async def open_all(coming: Sequence[Bound], leaving: Sequence[Bound] = ()) -> None:
    """Open all or none; ConfigError says which one cannot be opened, and why.

    Of those that are `leaving`, the ones on a port that is needed leave it; if then something
    cannot be opened, they are back.
    """
    opened: list[Bound] = []
    gone: list[Bound] = []
    try:
        for each in coming:
            in_the_way = [old for old in leaving if old not in gone and _share_port(old, each)]
            for old in in_the_way:
                gone.append(old)
                await old.leave()
            await each.open()
            opened.append(each)
    except BaseException:
        for each in opened:
            each.close()
        if opened and gone:
            await asyncio.sleep(LEAVE_S)
        for old in gone:
            await _open_again(old)
        raise


async def _open_again(old: Bound) -> None:
    try:
        await old.open()
    except ConfigError as problem:
        log.error("%s is not served any more: %s", old.describe(), problem)


def _share_port(old: Bound, new: Bound) -> bool:
    """Tell whether the one keeps the other from listening."""
    is_udp = {bound.config.transport is Transport.UDP for bound in (old, new)}
    return old.port is not None and old.port == new.config.port and len(is_udp) == 1


def _line(config: ListenerConfig, responder: Responder) -> "SerialListener | None":
    """Return what serves a serial line; None: it is no line that is served."""
    if config.line is None:
        return None
    from gateway.modbus.rtu_server import SerialListener

    line = config.line
    return SerialListener(
        config.host, responder, baud=line.baud, parity=line.parity, stop_bits=line.stop_bits
    )


def _endpoint(config: ListenerConfig, responder: Responder) -> "Listener | UdpListener | None":
    """Return what serves on the network; None: a serial line is served.

    Each is imported when a config has one, so that nobody carries TLS and RTU for nothing.
    """
    at, allow, limits = (config.host, config.port), config.allow, config.limits
    match config.transport:
        case Transport.SERIAL:
            return None
        case Transport.TLS:
            from gateway.modbus.tls import TlsListener

            tls = cast(TlsConfig, config.tls)
            return TlsListener(
                *at, responder, allow, files=tls.files, roles=tls.roles, limits=limits
            )
        case Transport.UDP:
            from gateway.modbus.udp import UdpListener

            return UdpListener(*at, responder, allow)
        case Transport.RTU_OVER_TCP:
            from gateway.modbus.rtu_server import RtuOverTcpListener

            return RtuOverTcpListener(*at, responder, allow, limits)
        case _:
            return Listener(*at, responder, allow, limits)


def _asking_status(asking: Asking) -> dict[str, object]:
    shown = dataclasses.asdict(asking)
    shown["last_request_age_s"] = round(shown.pop("idle_s"), 3)
    if asking.connected_s is not None:
        shown["connected_s"] = round(asking.connected_s, 3)
    return shown
