"""Which serial ports a machine has, as its folders show it; none of them is opened."""

from pathlib import Path

import pytest

from gateway.sources.serial_ports import find

BY_ID = "usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("dev", "sys/class/tty", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def plug_in(root: Path, name: str, driver: str = "", product: str = "", by_id: str = "") -> None:
    """Lay out what Linux shows of an adapter: device, port below interface below adapter."""
    (root / "dev" / name).touch()
    adapter = root / "sys/devices" / name / "1-1"
    port = adapter / "1-1:1.0" / name
    port.mkdir(parents=True)
    if product:
        (adapter / "product").write_text(f"{product}\n")
    if driver:
        (root / "sys/bus/drivers" / driver).mkdir(parents=True)
        (port / "driver").symlink_to(root / "sys/bus/drivers" / driver)
    (root / "sys/class/tty" / name).mkdir()
    (root / "sys/class/tty" / name / "device").symlink_to(port)
    if by_id:
        folder = root / "dev/serial/by-id"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / by_id).symlink_to(root / "dev" / name)


def test_a_port_is_named_as_it_will_be_called_tomorrow(root: Path) -> None:
    plug_in(root, "ttyUSB0", "ftdi_sio", "FT232R USB UART", BY_ID)
    (port,) = find(root)
    assert port.device == f"{root}/dev/serial/by-id/{BY_ID}"
    assert str(port) == f"{port.device} (ttyUSB0, FT232R USB UART, ftdi_sio)"


def test_ports_with_a_lasting_name_come_first_and_none_comes_twice(root: Path) -> None:
    plug_in(root, "ttyUSB0")
    plug_in(root, "ttyUSB1", by_id=BY_ID)
    plug_in(root, "ttyACM0")
    plug_in(root, "ttyAMA0")
    plug_in(root, "ttyS0")
    assert [each.name for each in find(root)] == ["ttyUSB1", "ttyUSB0", "ttyACM0", "ttyAMA0"]


def test_a_port_of_which_nothing_is_known_is_there_all_the_same(root: Path) -> None:
    (root / "dev/ttyAMA0").touch()
    assert [str(each) for each in find(root)] == [f"{root}/dev/ttyAMA0 (ttyAMA0)"]


def test_who_has_a_port_open_is_named(root: Path) -> None:
    plug_in(root, "ttyUSB0", by_id=BY_ID)
    files = root / "proc/4711/fd"
    files.mkdir(parents=True)
    (root / "proc/4711/comm").write_text("mbpoll\n")
    (files / "3").symlink_to(root / "dev/ttyUSB0")
    (files / "4").symlink_to(root / "dev/null")
    (port,) = find(root)
    assert str(port).endswith("(ttyUSB0; in use by mbpoll, process 4711)")


def test_a_machine_without_ports_has_none(root: Path) -> None:
    assert find(root) == []
