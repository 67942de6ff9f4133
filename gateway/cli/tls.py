"""obisgate tls: a private authority and certificates for Modbus/TCP Security."""

import argparse
import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.command import Commands, add_command
from gateway.config import DEFAULT_ROLES, TLS_PORT
from gateway.keys import refuse_open_file
from gateway.located import ConfigError

if TYPE_CHECKING:
    from gateway.certificates import Issued

AUTHORITY, SERVER, CLIENT = "ca", "server", "client"
DEFAULT_DAYS = 5 * 365
MAX_DAYS = 3650
OURS = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")

FILES_MODE, KEYS_MODE = 0o644, 0o600


def add_to(commands: Commands) -> None:
    """Add the command and what stands behind it."""
    parser = add_command(
        commands,
        "tls",
        _nothing,
        "make a private authority and certificates for Modbus/TCP Security",
        "  obisgate tls init tls --host meter.lan --host 192.168.1.20\n"
        "  obisgate tls client tls wallbox",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    start = add_command(
        actions,
        "init",
        init,
        "make an authority, a server's and a client's certificate in a folder",
        "  obisgate tls init tls --host meter.lan --host 192.168.1.20",
    )
    again = add_command(
        actions,
        "server",
        server,
        "make a server's certificate, when the old one was moved away",
        "  obisgate tls server tls --host meter.lan",
    )
    further = add_command(
        actions,
        "client",
        client,
        "make a further client's certificate",
        "  obisgate tls client tls wallbox --role reader",
    )
    for action in (start, again, further):
        action.add_argument("folder", type=Path, metavar="FOLDER")
        action.add_argument(
            "--days",
            type=int,
            default=DEFAULT_DAYS,
            metavar="N",
            help=f"how long the certificates are valid; {DEFAULT_DAYS}",
        )
    for action in (start, again):
        action.add_argument(
            "--host",
            action="append",
            default=[],
            metavar="NAME",
            help="a name or address under which clients reach this machine; repeat it for more",
        )
    further.add_argument("name", metavar="NAME", help="of the client and of its files")
    further.add_argument("--role", default=DEFAULT_ROLES[0], help=f"{DEFAULT_ROLES[0]}")


def init(options: argparse.Namespace) -> int:
    """Make the folder and all that is needed to try it."""
    from gateway import certificates  # costs 4 MiB, which no other command pays

    folder: Path = options.folder
    _refuse_present(folder, AUTHORITY, SERVER, CLIENT)
    hosts, days = _hosts(options.host), _days(options.days)
    now = datetime.now(UTC)
    name = f"obisgate {socket.gethostname()} {now:%Y-%m-%d}"
    authority = certificates.new_authority(name, now)
    issued = {
        AUTHORITY: authority,
        SERVER: certificates.new_server(authority, hosts, now, days),
        CLIENT: certificates.new_client(authority, CLIENT, DEFAULT_ROLES[0], now, days),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"{folder}: cannot be made: {problem.strerror}") from None
    _write(folder, issued)
    print(f"{folder}: made for {', '.join(hosts)}")
    print("\nIn the config:\n")
    print(f"  - tls: 0.0.0.0:{TLS_PORT}")
    for word, file in (
        ("certificate", "server.crt"),
        ("key", "server.key"),
        ("clients_ca", "ca.crt"),
    ):
        print(f"    {word}: {folder / file}")
    print(f"    roles: [{DEFAULT_ROLES[0]}]")
    print(f"\nA client gets client.crt, client.key and ca.crt. Keep {folder / 'ca.key'} elsewhere:")
    print("who has it makes himself a client. To try it:\n")
    print(
        f"  openssl s_client -connect {hosts[0]}:{TLS_PORT} -CAfile {folder / 'ca.crt'} "
        f"-cert {folder / 'client.crt'} -key {folder / 'client.key'}"
    )
    return 0


def server(options: argparse.Namespace) -> int:
    """Make a server's certificate."""
    from gateway import certificates

    folder: Path = options.folder
    _refuse_present(folder, SERVER)
    hosts, days = _hosts(options.host), _days(options.days)
    authority = _authority(folder)
    _write(folder, {SERVER: certificates.new_server(authority, hosts, datetime.now(UTC), days)})
    print(f"{folder / 'server.crt'}: made for {', '.join(hosts)}")
    return 0


def client(options: argparse.Namespace) -> int:
    """Make a client's certificate."""
    from gateway import certificates

    folder, name, role = options.folder, options.name, options.role
    if not _NAME.fullmatch(name) or name in (AUTHORITY, SERVER):
        raise ConfigError(f"{name!r} is no name of a client; one looks like wallbox")
    _refuse_present(folder, name)
    days = _days(options.days)
    authority = _authority(folder)
    try:
        issued = certificates.new_client(authority, name, role, datetime.now(UTC), days)
    except ValueError as problem:
        raise ConfigError(f"--role: {problem}") from None
    _write(folder, {name: issued})
    print(f"{folder / name}.crt, .key: made with the role {role}")
    return 0


def _nothing(_options: argparse.Namespace) -> int:
    raise AssertionError("argparse asks for an action")


def _hosts(given: list[str]) -> list[str]:
    """Return the names of the server: those given, this machine's, and the loopback's."""
    for host in given:
        if not _HOST.fullmatch(host):
            raise ConfigError(f"--host {host!r} is no name or address; one looks like meter.lan")
    own = [name for name in (socket.gethostname(),) if _HOST.fullmatch(name)]
    return list(dict.fromkeys([*given, *own, *OURS]))


def _days(days: int) -> int:
    if not 1 <= days <= MAX_DAYS:
        raise ConfigError(f"--days is 1 to {MAX_DAYS}")
    return days


def _authority(folder: Path) -> "Issued":
    """Read the authority of a folder."""
    from cryptography.exceptions import UnsupportedAlgorithm

    from gateway.certificates import Issued, can_issue, is_pair

    certificate, key = (folder / f"{AUTHORITY}{end}" for end in (".crt", ".key"))
    if not certificate.exists():
        raise ConfigError(f"{certificate} does not exist: obisgate tls init {folder} makes it")
    refuse_open_file(key)
    issued = Issued(certificate.read_bytes(), key.read_bytes())
    try:
        is_good, is_ours = is_pair(issued.certificate, issued.key), can_issue(issued)
    except UnsupportedAlgorithm:
        is_good, is_ours = True, False
    except (ValueError, TypeError):
        is_good = is_ours = False
    if not is_good:
        raise ConfigError(f"{key} is not the key of {certificate}")
    if not is_ours:
        raise ConfigError(
            f"{certificate} is of another kind than obisgate tls init makes: sign with what made it"
        )
    return issued


def _refuse_present(folder: Path, *names: str) -> None:
    for name in names:
        for end in (".crt", ".key"):
            path = folder / f"{name}{end}"
            if os.path.lexists(path):
                raise ConfigError(f"{path} is there already, and is not overwritten: move it away")


def _write(folder: Path, issued: "Mapping[str, Issued]") -> None:
    """Write certificates and keys, all or none of them, none over another file."""
    written: list[Path] = []
    try:
        for name, each in issued.items():
            for end, octets, mode in (
                (".key", each.key, KEYS_MODE),
                (".crt", each.certificate, FILES_MODE),
            ):
                path = folder / f"{name}{end}"
                # Made with its mode: at no time can others read a key.
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                written.append(path)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(octets)
    except OSError as problem:
        for path in written:
            path.unlink()
        raise ConfigError(f"{folder}: cannot be written: {problem.strerror}") from None
