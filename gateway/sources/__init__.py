"""Where a meter's bytes come from.

A source delivers bytes as they come and knows nothing of what they mean. `run` returns when there
will be no more (the end of a recording) and raises SourceError when it cannot go on now.
"""

from gateway.sources.address import SourceAddress
from gateway.sources.recording import RecordingSource
from gateway.sources.serial_port import SerialSource
from gateway.sources.source import Source, SourceError, keep_running
from gateway.sources.tcp import TcpSource
from gateway.sources.tcp_listen import TcpListenSource
from gateway.sources.udp import UdpSource
from gateway.telegram import Key

__all__ = ["Source", "SourceAddress", "SourceError", "keep_running", "open_source"]


def open_source(address: SourceAddress, key: Key, auth_key: Key | None) -> Source:
    """Return the source that `address` names; the keys are for a simulator to encrypt with.

    ValueError says which option is wrong. Nothing is opened yet.
    """
    match address.kind:
        case "serial":
            return SerialSource.parse(address)
        case "tcp":
            return TcpSource.parse(address)
        case "tcp-listen":
            return TcpListenSource.parse(address)
        case "udp":
            return UdpSource.parse(address)
        case "mqtt" | "mqtts":
            from gateway.sources.mqtt import MqttSource  # with what MQTT and TLS take of memory

            return MqttSource.parse(address)
        case "recording":
            return RecordingSource.parse(address)
        case _:
            from gateway.sources.simulated import SimulatorSource  # and seventeen meters

            return SimulatorSource.parse(address, key, auth_key)
