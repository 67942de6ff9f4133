"""One meter over every transport that a listener has, from the real process."""

import os
import select
import struct
import tty
from collections.abc import Callable, Iterator

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient, ModbusUdpClient
from pymodbus.framer import FramerRTU

from .conftest import PATIENCE_S, Client, Running

CONFIG = """
meters:
  house: {{source: "simulator:kaifa-ma309m", frequency: 60Hz, connection: 35A}}
listeners:
  - tcp: 127.0.0.1:0
    units:
      1: {{meter: house, map: sunspec_203, base: 0}}
      2: {{meter: house, map: sunspec_203, adjust: {{active_power_total: {{offset: 20000}}}}}}
  - rtu_over_tcp: 127.0.0.1:0
    units: {{2: {{meter: house, map: wattnode_wnc_3y}}}}
  - udp: 127.0.0.1:0
    units: {{1: {{meter: house, map: victron_vm3p75ct}}}}
  - serial: {line}
    units: {{11: {{meter: house, map: huawei_dtsu666h}}}}
"""


@pytest.fixture
def line() -> Iterator[tuple[str, int]]:
    """A pseudo-terminal: the gateway's end by its name, the inverter's end open."""
    inverter, gateway = os.openpty()
    tty.setraw(inverter)
    tty.setraw(gateway)
    name = os.ttyname(gateway)
    yield name, inverter
    os.close(inverter)
    os.close(gateway)


def ask(inverter: int, unit: int, address: int, count: int) -> bytes:
    """Read registers as an inverter on the line does; return their words."""
    request = struct.pack(">BBHH", unit, 3, address, count)
    os.write(inverter, request + FramerRTU.compute_CRC(request).to_bytes(2, "big"))
    reply, length = b"", 5 + 2 * count
    while len(reply) < length:
        assert select.select([inverter], [], [], PATIENCE_S)[0], f"only {reply.hex()} came"
        reply += os.read(inverter, length - len(reply))
        if len(reply) >= 5 and reply[1] & 0x80:
            pytest.fail(f"exception {reply[2]}")
    assert FramerRTU.compute_CRC(reply[:-2]).to_bytes(2, "big") == reply[-2:]
    assert reply[:3] == bytes((unit, 3, 2 * count))
    return reply[3:-2]


def test_one_meter_is_read_over_tcp_udp_rtu_over_tcp_and_a_serial_line(
    start: Callable[[str], Running], line: tuple[str, int]
) -> None:
    device, inverter = line
    running = start(CONFIG.format(line=device))
    ports = {"tcp": running.port}
    for _ in range(3):
        event = running.until(lambda event: event["event"] == "listener")
        ports[event["transport"]] = event["port"]
    assert ports.keys() == {"tcp", "rtu_over_tcp", "udp", "serial"}
    running.until(lambda event: event["event"] == "telegram")

    client = Client(ports["tcp"])
    assert client.read(1, 0, 2) == b"SunS"
    assert client.read(2, 40000, 2) == b"SunS"
    assert client.read(1, 92, 1) == b"\0\0", "35 A: watts fit without a scale"
    assert client.read(1, 86, 1) == struct.pack(">h", 6000), "60 Hz"
    plain = struct.unpack(">4h", client.read(1, 88, 4))
    adjusted = struct.unpack(">4h", client.read(2, 40088, 4))
    assert plain[0] == sum(plain[1:])
    assert adjusted[0] == sum(adjusted[1:])
    assert adjusted[0] > plain[0] + 10_000

    own, other = (
        client.read(unit, base + 52, 16).rstrip(b"\0").decode()
        for unit, base in ((1, 0), (2, 40000))
    )
    assert other == own + "-2", "two emulated meters have two serial numbers"

    with ModbusUdpClient("127.0.0.1", port=ports["udp"]) as udp:
        assert udp.read_holding_registers(0x1000, count=1, device_id=1).registers == [0xA1B1]
    with ModbusTcpClient("127.0.0.1", port=ports["rtu_over_tcp"], framer=FramerType.RTU) as rtu:
        [volts] = struct.unpack(
            "<f",
            struct.pack("<HH", *rtu.read_holding_registers(1018, count=2, device_id=2).registers),
        )
        assert 200 < volts < 260
    assert ask(inverter, 11, 2001, 1) == b"\x3b\x11"
    assert len(ask(inverter, 11, 2102, 80)) == 160
    client.socket.close()
    running.stop()
