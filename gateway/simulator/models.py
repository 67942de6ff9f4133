"""The meters of Austria's operators: who they say they are, what they list, how they send it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from gateway.simulator.clocks import Clock, Deviation
from gateway.simulator.encoding import i16, u16
from gateway.simulator.hdlc import Hdlc, HdlcBlocks
from gateway.simulator.layouts import (
    BURGENLAND,
    HONEYWELL_DOCUMENT,
    KAERNTEN,
    LANDIS_GYR_PAIRS,
    LANDIS_GYR_PUSH_LIST,
    WELS,
    WIENER_NETZE,
    WIENER_NETZE_SIEMENS,
    Layout,
    ksmwest,
    netz_noe,
)
from gateway.simulator.mbus import MAX_FRAME_APDU_BYTES, Mbus

LOCAL_TIME = Clock()
NO_DEVIATION = Clock(header=Deviation.UNSPECIFIED, listed=Deviation.UNSPECIFIED)
ZERO_IN_LIST = Clock(header=Deviation.LOCAL, listed=Deviation.ZERO)

INVOKE_ID_HIGH_PRIORITY = 0x8000_0000  # bit 31 of the long invoke id, as Netz NÖ has it


class Wire(Protocol):
    """How a meter's APDU becomes frames."""

    def frames(self, apdu: bytes) -> tuple[bytes, ...]:
        """Return the APDU as it goes over the wire."""


@dataclass(frozen=True, slots=True)
class Model:
    """One meter at one operator; the eight digits of its serial number complete each identity."""

    layout: Layout
    wire: Wire
    system_title: int  # five bytes: three letters, device type, high nibble over the serial
    meter_number: str
    device_name: str = ""
    phases: int = 3
    suite: int = 0
    authenticated: bool = False
    clock: Clock = LOCAL_TIME
    invoke_id_flags: int = 0
    interval_s: float = 5.0


# Facts, section 1.3: destination and source addresses.
ISKRA = Hdlc(bytes.fromhex("CF"), bytes.fromhex("0223"))
# A real AM550 fills 154 bytes; so few make three segments of a list as short as Kärnten's.
ISKRA_SEGMENTED = Hdlc(bytes.fromhex("CF"), bytes.fromhex("0223"), segment_bytes=48)
SIEMENS = Hdlc(bytes.fromhex("CF"), bytes.fromhex("00020023"))
LANDIS_GYR = Hdlc(bytes.fromhex("CEFF"), bytes.fromhex("03"))
E450_BLOCKS = HdlcBlocks(bytes.fromhex("CEFF"), bytes.fromhex("03"), 119, 122)
E570_BLOCKS = HdlcBlocks(bytes.fromhex("CE9B"), bytes.fromhex("03"), 116, 116)

# Titles, number formats and sizes from real telegrams and published captures. The
# production Honeywell's names and list are not public, users report "the same as Kaifa".
MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "kaifa-ma309m": Model(
            ksmwest(3), Mbus(), 0x4B464D_10_2, "1KFM02{:08d}", "KFM12002{:08d}", suite=1
        ),
        "kaifa-ma110m": Model(
            ksmwest(1), Mbus(), 0x4B464D_10_1, "1KFM01{:08d}", "KFM11001{:08d}", phases=1, suite=1
        ),
        "honeywell": Model(
            ksmwest(3), Mbus(), 0x454C53_65_7, "1ELS02{:08d}", "ELS12002{:08d}", suite=1
        ),
        "honeywell-document": Model(
            HONEYWELL_DOCUMENT, Mbus(), 0x454C53_65_7, "{:08d}", clock=ZERO_IN_LIST
        ),
        "kaifa-ma309-netznoe": Model(
            netz_noe(u16),
            Mbus(),
            0x4B464D_67_5,
            "1812{:08d}",
            invoke_id_flags=INVOKE_ID_HIGH_PRIORITY,
        ),
        "sagemcom-t210d-2020": Model(
            netz_noe(i16),
            Mbus(MAX_FRAME_APDU_BYTES),
            0x534147_59_0,
            "1782{:08d}",
            invoke_id_flags=INVOKE_ID_HIGH_PRIORITY,
        ),
        "sagemcom-t210d-2024": Model(
            netz_noe(u16),
            Mbus(),
            0x534147_59_0,
            "1782{:08d}",
            invoke_id_flags=INVOKE_ID_HIGH_PRIORITY,
        ),
        "iskra-am550-wienernetze": Model(
            WIENER_NETZE, ISKRA, 0x49534B_69_7, "ISK10507{:08d}", interval_s=1.0
        ),
        "siemens-im350-wienernetze": Model(
            WIENER_NETZE_SIEMENS, SIEMENS, 0x534D53_67_7, "SMS10307{:08d}", interval_s=1.0
        ),
        "lg-e450-wienernetze": Model(
            WIENER_NETZE,
            LANDIS_GYR,
            0x4C475A_67_7,
            "LGZ10307{:08d}",
            clock=NO_DEVIATION,
            interval_s=1.0,
        ),
        "iskra-am550-kaernten": Model(KAERNTEN, ISKRA, 0x49534B_69_7, "22212{:08d}"),
        "iskra-am550-segmented": Model(KAERNTEN, ISKRA_SEGMENTED, 0x49534B_69_7, "22212{:08d}"),
        "siemens-im350-kaernten": Model(KAERNTEN, SIEMENS, 0x534D53_67_7, "22212{:08d}"),
        "siemens-im350-wels": Model(WELS, SIEMENS, 0x534D53_67_7, "{:08d}"),
        "lg-e450-burgenland": Model(
            BURGENLAND,
            LANDIS_GYR,
            0x4C475A_67_7,
            "{:08d}",
            clock=NO_DEVIATION,
            authenticated=True,
        ),
        "lg-e450-gbt": Model(
            LANDIS_GYR_PAIRS,
            E450_BLOCKS,
            0x4C475A_67_7,
            "{:08d}",
            clock=NO_DEVIATION,
            authenticated=True,
        ),
        "lg-e570": Model(
            LANDIS_GYR_PUSH_LIST,
            E570_BLOCKS,
            0x4C475A_67_7,
            "{:08d}",
            "LGZ10307{:08d}",
            clock=NO_DEVIATION,
            authenticated=True,
        ),
    }
)
