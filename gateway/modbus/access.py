"""Who may ask, how many at once, and what is said of those who may not, or do not ask rightly."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address

from gateway.limits import Limits

log = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

LINES = 10  # of one kind in one window
LINES_OF_ONE = 5  # of them for one address, so that none takes them all
FLOOD = 10  # fewer that were left out need no sum at the end
FIRST_WINDOW_S = 60.0
LONGEST_WINDOW_S = 3600.0
MAX_SAID = 1000  # texts of a kind that are remembered, so that each is said once
MAX_COUNTED = 100  # addresses that are told apart in what was left out


class Kind(StrEnum):
    """What can be wrong with a client, as the sum of what was left out names it."""

    REFUSED = "not named by 'allow'"
    FULL = "more connections than there may be"
    NO_DESCRIPTORS = "refused for want of file descriptors"
    FOREIGN = "no Modbus"
    HANDSHAKE = "refused in the TLS handshake"
    SLOW = "requests not finished in time"
    UNREAD = "replies not fetched in time"
    IDLE = "idle connections closed"
    UNSERVED = "asks for what is not served"


class Access:
    """One endpoint's door. `allow` names the networks that may pass; empty: all."""

    def __init__(self, allow: Sequence[Network] = (), limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.complaints = Complaints()
        self._allow = allow
        self._inside: Counter[str] = Counter()

    def change(self, allow: Sequence[Network], limits: Limits) -> None:
        """Judge by these from now on. Who is inside already counts, and stays."""
        self._allow, self.limits = allow, limits

    def admits(self, host: str) -> bool:
        """Tell whether a client at `host` may pass; say so once if it may not."""
        # A client of a dual-stack socket shows its IPv4 address as ::ffff:a.b.c.d.
        address = ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        if not self._allow or any(address in network for network in self._allow):
            return True
        self.say(Kind.REFUSED, host, f"{address} may not connect: 'allow' does not name it")
        return False

    @property
    def inside(self) -> int:
        """How many connections were let in and not yet counted out."""
        return self._inside.total()

    def enter(self, host: str) -> bool:
        """Let a client in and count it, or tell that it may not come."""
        if not self.admits(host):
            return False
        inside, limits = self._inside, self.limits
        if inside[host] >= limits.connections_per_address:
            most = limits.connections_per_address
            text = f"{host} has {most} connections, 'connections_per_address' allows no more"
        elif inside.total() >= limits.connections:
            text = f"{host} is refused: there are {limits.connections} 'connections' already"
        else:
            inside[host] += 1
            return True
        if not inside[host]:
            del inside[host]
        self.say(Kind.FULL, host, text)
        return False

    def leave(self, host: str) -> None:
        """Count a client out that was let in."""
        self._inside[host] -= 1
        if not self._inside[host]:
            del self._inside[host]

    def say(self, kind: Kind, host: str, text: str) -> bool:
        """Log what a client does wrong, without letting it fill the log; False: it was left out."""
        return self.complaints.say(kind, host, text, time.monotonic())


class Complaints:
    """What is said of clients: each text once, few of a kind at a time, the rest as a number.

    `counts` has how often what was complained about, said or not. Windows in which something was
    left out grow from a minute to an hour; `now` is monotonic.
    """

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self._floods: dict[Kind, _Flood] = {}

    @property
    def are_pending(self) -> bool:
        """Tell whether something was left out of the log and not yet summed up."""
        return any(flood.left_out for flood in self._floods.values())

    def say(self, kind: Kind, host: str, text: str, now: float) -> bool:
        """Log a text, or count it for the sum at the end of the window.

        Tell whether it stands in the log, of now or of before.
        """
        self.counts[kind] += 1
        flood = self._floods.get(kind)
        if flood is None:
            flood = self._floods[kind] = _Flood(now)
        elif flood.ends_at <= now:
            self._sum_up(kind, flood, now)
        was_said = text in flood.said
        if not was_said and flood.has_line_for(host):
            if len(flood.said) >= MAX_SAID:
                flood.said.clear()
            flood.said.add(text)
            flood.lines[host] += 1
            log.warning("%s", text)
            return True
        is_known = host in flood.left_out or len(flood.left_out) < MAX_COUNTED
        flood.left_out[host if is_known else ""] += 1
        return was_said

    def tick(self, now: float) -> None:
        """Sum up the windows that have ended."""
        for kind, flood in self._floods.items():
            if flood.left_out and flood.ends_at <= now:
                self._sum_up(kind, flood, now)

    def finish(self, now: float) -> None:
        """Sum up the floods of the windows that have not ended."""
        for kind, flood in self._floods.items():
            if flood.left_out.total() >= FLOOD:
                self._sum_up(kind, flood, now)

    def _sum_up(self, kind: Kind, flood: "_Flood", now: float) -> None:
        number = flood.left_out.total()
        if number:
            host, most = flood.left_out.most_common(1)[0]
            of_them = f", {most:,} of them from {host}" if host else ""
            span = f"{now - flood.began:.0f} s"
            log.warning("%s more left out in %s: %s%s", f"{number:,}", span, kind, of_them)
        flood.next_window(now)


class _Flood:
    """The complaints of one kind in the present window."""

    def __init__(self, now: float) -> None:
        self.began = now
        self.window_s = FIRST_WINDOW_S
        self.lines: Counter[str] = Counter()  # by address
        self.said: set[str] = set()
        self.left_out: Counter[str] = Counter()  # by address

    @property
    def ends_at(self) -> float:
        return self.began + self.window_s

    def has_line_for(self, host: str) -> bool:
        is_own = not host or self.lines[host] < LINES_OF_ONE
        return is_own and self.lines.total() < LINES

    def next_window(self, now: float) -> None:
        grown = min(2 * self.window_s, LONGEST_WINDOW_S)
        self.window_s = grown if self.left_out else FIRST_WINDOW_S
        if now - self.began > LONGEST_WINDOW_S and not self.left_out:
            self.said.clear()  # after an hour of peace it is news again
        self.began = now
        self.lines.clear()
        self.left_out.clear()
