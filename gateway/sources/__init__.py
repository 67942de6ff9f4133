"""Where a meter's bytes come from.

A source delivers bytes as they come and knows nothing of what they mean. `run` returns when there
will be no more (the end of a recording) and raises SourceError when it cannot go on now.
"""

from gateway.sources.address import SourceAddress
from gateway.sources.source import Source, SourceError, keep_running
from gateway.telegram import Key

__all__ = ["Source", "SourceAddress", "SourceError", "keep_running", "open_source"]


def open_source(address: SourceAddress, key: Key, auth_key: Key | None) -> Source:
    """Return the source that `address` names; the keys are for a simulator to encrypt with.

    ValueError says which option is wrong. Nothing is opened yet. A kind is imported when a config
    names it: nobody carries what MQTT, TLS and seventeen simulated meters take of memory for
    nothing.
    """
    match address.kind:
        case "serial":
            from gateway.sources.serial_port import SerialSource

            return SerialSource.parse(address)
        case "tcp":
            from gateway.sources.tcp import TcpSource

            return TcpSource.parse(address)
        case "tcp-listen":
            from gateway.sources.tcp_listen import TcpListenSource

            return TcpListenSource.parse(address)
        case "udp":
            from gateway.sources.udp import UdpSource

            return UdpSource.parse(address)
        case "mqtt" | "mqtts":
            from gateway.sources.mqtt import MqttSource

            return MqttSource.parse(address)
        case "recording":
            from gateway.sources.recording import RecordingSource

            return RecordingSource.parse(address)
        case _:
            from gateway.sources.simulated import SimulatorSource

            return SimulatorSource.parse(address, key, auth_key)
