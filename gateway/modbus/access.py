"""Who may ask, and what is said of those who may not."""

import logging
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

log = logging.getLogger(__name__)

MAX_SAID = 1000  # different complaints that are remembered, so that each is said once

Network = IPv4Network | IPv6Network


class Access:
    """One endpoint's door. `allow` names the networks that may pass; empty: all."""

    def __init__(self, allow: Sequence[Network] = ()) -> None:
        self._allow = allow
        self._said: set[str] = set()

    def admits(self, host: str) -> bool:
        """Tell whether a client at `host` may pass; say so once if it may not."""
        # A client of a dual-stack socket shows its IPv4 address as ::ffff:a.b.c.d.
        address = ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        if not self._allow or any(address in network for network in self._allow):
            return True
        self.say_once(f"{address} may not connect: 'allow' does not name it")
        return False

    def say_once(self, text: str) -> None:
        """Log what a client does wrong, without letting it fill the log."""
        if text not in self._said:
            if len(self._said) >= MAX_SAID:
                self._said.clear()
            self._said.add(text)
            log.warning("%s", text)
