"""The unit by which systemd starts a config: no right more than that config needs.

Directives: systemd.exec(5), systemd.resource-control(5), systemd.service(5). All of them are known
to systemd 247 (Debian 11) and newer.
"""

import re
from collections.abc import Collection, Iterator, Sequence, Set
from pathlib import Path

from gateway.config import Config, Transport
from gateway.keys import CREDENTIALS_FOLDER
from gateway.sources.serial_port import SerialSource
from gateway.sources.tcp_listen import TcpListenSource
from gateway.sources.udp import UdpSource

NAME = "obisgate.service"
WATCHDOG_S = 30
FIRST_FREE_PORT = 1024
# Measured: 43 MiB with a meter and a listener; a connection takes 32 KiB here and 64 KiB of the
# kernel's at most, which counts as well. A meter takes 40 KiB, over MQTT with TLS 820 KiB more: the
# authorities that the system trusts.
BASE_MIB, CONNECTIONS_A_MIB, METERS_A_MIB, TLS_METER_MIB = 128, 8, 8, 1
# A meter has its source (an MQTT broker's has three, an adapter that dials in twice as well), its
# recording, and the one that takes over from that; a listener has a socket for each of its
# addresses, and those of the gateway's own question.
OWN_DESCRIPTORS, METER_DESCRIPTORS, LISTENER_DESCRIPTORS = 256, 6, 6

# What stands behind the name of a terminal: its module, which a replugged adapter finds loaded.
# A class that is not there when the service starts would not be allowed later either.
USB_CLASSES = {"ttyUSB": "usbserial", "ttyACM": "cdc_acm"}
_CLASS = re.compile(r"tty[A-Z]+")

HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077"""


def render(
    program: Path, config_file: Path, config: Config, user: str, credentials: Set[str]
) -> str:
    """Return the unit's text; `credentials` are names of keys in CREDENTIALS_FOLDER."""
    devices = serial_devices(config)
    classes = sorted({name for device in devices for name in _classes(device)})
    modules = [f"modprobe@{USB_CLASSES[name]}.service" for name in classes if name in USB_CLASSES]
    is_low = any(0 < port < FIRST_FREE_PORT for port in _ports(config))
    capability = "CAP_NET_BIND_SERVICE" if is_low else ""
    lines = [
        "# Written by `obisgate service install`. After a change of devices, meters, keys or ports",
        "# in the config install it again; changes of your own: systemctl edit obisgate",
        "[Unit]",
        "Description=obisgate, the smart meter as a Modbus meter",
        "After=network.target" + "".join(f" {each}" for each in modules),
        *([f"Wants={' '.join(modules)}"] if modules else []),
        "# Whatever it cannot start for (an occupied port) may pass: it tries for ever.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={_quoted(program)} run {_quoted(config_file)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartSec=10s",
        f"WatchdogSec={WATCHDOG_S}s",
        "TimeoutStopSec=20s",
        f"User={user}",
        "StateDirectory=obisgate",
        "StateDirectoryMode=0700",
        "RuntimeDirectory=obisgate",
        "RuntimeDirectoryMode=0700",
        *(f"LoadCredential={each}:{CREDENTIALS_FOLDER / each}" for each in sorted(credentials)),
        f"MemoryMax={_memory_mib(config)}M",
        f"LimitNOFILE={_descriptors(config)}",
        f"CapabilityBoundingSet={capability}",
        f"AmbientCapabilities={capability}",
        # A name space of its own would take both the capability and the group away.
        f"PrivateUsers={'no' if is_low or devices else 'yes'}",
        *_device_lines(classes),
        HARDENING,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def serial_devices(config: Config) -> list[Path]:
    """Return the serial ports that a config names, of meters and of listeners."""
    read = [
        Path(meter.source.device)
        for meter in config.meters.values()
        if isinstance(meter.source, SerialSource)
    ]
    return read + [Path(each.host) for each in config.listeners if each.line is not None]


def _ports(config: Config) -> Iterator[int]:
    """Yield the ports that the gateway opens for clients, and for adapters that come to it."""
    for listener in config.listeners:
        if listener.transport is not Transport.SERIAL:
            yield listener.port
    for meter in config.meters.values():
        if isinstance(meter.source, TcpListenSource | UdpSource):
            yield meter.source.port


def _connections(config: Config) -> int:
    """Return how many clients may be connected at once."""
    return sum(
        each.limits.connections
        for each in config.listeners
        if each.transport not in (Transport.SERIAL, Transport.UDP)
    )


def _memory_mib(config: Config) -> int:
    """Return what all meters and clients of a config may take of memory."""
    from gateway.sources.mqtt import MqttSource  # with what MQTT and TLS take of it

    sources = [meter.source for meter in config.meters.values()]
    over_tls = [each for each in sources if isinstance(each, MqttSource) and each.is_tls]
    return (
        BASE_MIB
        + _connections(config) // CONNECTIONS_A_MIB
        + len(sources) // METERS_A_MIB
        + len(over_tls) * TLS_METER_MIB
    )


def _descriptors(config: Config) -> int:
    """Return how many files and sockets a config may have open at once."""
    return (
        OWN_DESCRIPTORS
        + _connections(config)
        + len(config.meters) * METER_DESCRIPTORS
        + len(config.listeners) * LISTENER_DESCRIPTORS
    )


def _device_lines(classes: Sequence[str]) -> list[str]:
    if not classes:
        return ["PrivateDevices=yes"]
    return [
        "# By class: a replugged adapter may come back with another number.",
        "DevicePolicy=closed",
        *(f"DeviceAllow=char-{name} rw" for name in classes),
        "SupplementaryGroups=dialout",
    ]


def _classes(device: Path) -> Collection[str]:
    """Return the classes of a port, as /proc/devices names them; of one not there: USB's."""
    match = _CLASS.match(device.resolve().name)
    return (match[0],) if match else USB_CLASSES


def _quoted(path: Path) -> str:
    """Return a path as a word of ExecStart=."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if re.search(r"[^\w./%$-]", text) else text
