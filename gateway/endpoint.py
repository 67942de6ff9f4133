"""Addresses to listen on, as people write them: host:port."""

import errno
import ipaddress
import re
import socket

LOOPBACK = "127.0.0.1"
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"[0-9.]+")


def parse_endpoint(text: str, usual_port: int | None = None) -> tuple[str, int]:
    """Return host and port of 127.0.0.1:5020, [::1]:5020, name:5020, or 5020 (this machine only).

    Where there is a usual port, a host alone has it. ValueError says what is wrong.
    """
    if usual_port is not None and not text.isdecimal() and _is_host(text) and text:
        text = f"{text}:{usual_port}"
    host, _, port = text.rpartition(":")
    if not (port.isdecimal() and len(port) <= 5 and int(port) <= 0xFFFF) or not _is_host(host):
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ValueError(f"{shown!r} is no address; one looks like 0.0.0.0:502")
    host = host.strip("[]") or LOOPBACK
    if host.lower().startswith("fe80:") and "%" not in host:
        raise ValueError(f"{host} needs its interface: [{host}%eth0]:{port}")
    return host, int(port)


def show_endpoint(host: str, port: int) -> str:
    """Return host and port as they are written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolvable(host: str) -> bytes:
    """Return a host as `getaddrinfo` takes it at once.

    Text goes through Python's IDNA, whose tables take half a megabyte; a host is ASCII here.
    """
    return host.encode()


def why_not_bound(host: str, port: int, problem: OSError, *, is_udp: bool = False) -> str:
    """Return why it is not possible to listen there, and what to do."""
    where = show_endpoint(host, port)
    if problem.errno == errno.EADDRINUSE:
        kind = "-lunp" if is_udp else "-ltnp"
        return f"{where} is in use by another program: ss {kind} 'sport = :{port}'"
    if problem.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{where} needs the right to use ports below 1024: choose 5020, or "
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=502"
        )
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine now: hostname -I lists them"
    if isinstance(problem, socket.gaierror):
        return f"{host!r} is no name or address of this machine: hostname -I lists them"
    return f"{where} cannot be opened: {problem.strerror or problem}"


def _is_host(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        return _is_address(text[1:-1]) and ":" in text
    if _NUMERIC.fullmatch(text):
        return _is_address(text)
    return not text or (_NAME.fullmatch(text) is not None and len(text) <= 253)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
