"""The serial ports of this machine, and what is known of them without opening one.

Opening a port moves its control lines, which may reset what hangs on it.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# The devices of adapters that are plugged in, and of a Raspberry Pi's own UART.
NAMES = ("ttyUSB*", "ttyACM*", "ttyAMA*")


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port by the name that stays when others are plugged in, and its name of today."""

    device: str
    name: str
    driver: str
    product: str
    user: str  # "mbpoll, process 4711", as far as that may be seen; else empty

    def __str__(self) -> str:
        """Return it as it stands in a list."""
        known = ", ".join(filter(None, (self.name, self.product, self.driver)))
        used = f"; in use by {self.user}" if self.user else ""
        return f"{self.device} ({known}{used})"


def find(root: Path = Path("/")) -> list[SerialPort]:
    """Return the ports below `root`: first those with a name by id, then the others."""
    devices: dict[Path, Path] = {}  # what a name leads to → the name
    folder = root / "dev"
    for path in sorted((folder / "serial/by-id").glob("*")):
        devices.setdefault(path.resolve(), path)
    for pattern in NAMES:
        for path in sorted(folder.glob(pattern)):
            devices.setdefault(path.resolve(), path)
    users = _users(root) if devices else {}
    return [
        SerialPort(str(path), real.name, *_known_of(root, real.name), users.get(str(real), ""))
        for real, path in devices.items()
    ]


def _known_of(root: Path, name: str) -> tuple[str, str]:
    """Return a port's driver, and what its adapter calls itself."""
    device = root / "sys/class/tty" / name / "device"
    driver = device / "driver"
    product = ""
    real = device.resolve()
    # The adapter is one of the next folders above its port: port, interface, device.
    for above in (real, *real.parents[:3]):
        with suppress(OSError, UnicodeDecodeError):
            product = (above / "product").read_text(encoding="utf-8").strip()
            break
    return driver.resolve().name if driver.exists() else "", product


def _users(root: Path) -> Mapping[str, str]:
    """Return who has which file open, as far as we may see it."""
    return {
        target: f"{name}, process {number}"
        for number, name, folder in _processes(root)
        for target in _open_files(folder)
        if "tty" in target
    }


def _processes(root: Path) -> Iterator[tuple[str, str, Path]]:
    for folder in (root / "proc").glob("[0-9]*"):
        with suppress(OSError, UnicodeDecodeError):  # it has ended
            yield folder.name, (folder / "comm").read_text().strip(), folder / "fd"


def _open_files(folder: Path) -> Iterator[str]:
    with suppress(OSError):  # another user's
        for each in folder.iterdir():
            with suppress(OSError):
                yield str(each.readlink())
