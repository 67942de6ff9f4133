"""The peers: other decoders of the same telegrams, each on the cheapest honest way it offers.

All are given the APDU: dlms-cosem knows no M-Bus, gurux-dlms joins no M-Bus segments. What comes
out are the nested lists of their own decoders: OBIS codes in bytes, scalers not applied.
"""

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from datetime import datetime
from importlib.metadata import version
from io import TextIOBase
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.simulator.encoding import SYMBOLS, Unit
from gateway.simulator.meters import Readings

CLOCK = "0-0:1.0.0.255"
MISSING = "dlms-cosem and gurux-dlms are not measured: `make bench` has them, in .venv-bench."


class Said(NamedTuple):
    """What a peer makes of a telegram: the header's clock and the list."""

    clock: datetime
    values: Sequence[Any]

    def readings(self) -> Readings:
        """Return what the values mean, without the list's clock, as the simulator says it."""
        return dict(_reading(*item) for item in self.values[2:])


class Peer(NamedTuple):
    """One peer: how it is called, what it is given, and how much faster obisgate shall be."""

    name: str
    given: str
    goal: int | None
    decode: Callable[[bytes], Said]


def installed(key: bytes) -> list[Peer]:
    """Return the peers that can be imported, for telegrams with this key."""
    found = []
    for peer in (_dlms_cosem, _gurux, _gurux_deciphered):
        try:
            found.append(peer(key))
        except ImportError:
            continue
    return found


def _dlms_cosem(key: bytes) -> Peer:
    """Decode as its users do.

    `to_plain_apdu` verifies a tag, always; these telegrams carry none, so the cipher is set up as
    its `decrypt` does it, and not finalised.
    """
    from dlms_cosem.protocol.xdlms import DataNotification, GeneralGlobalCipher
    from dlms_cosem.utils import parse_as_dlms_data

    def decode(apdu: bytes) -> Said:
        sealed = GeneralGlobalCipher.from_bytes(apdu)
        nonce = bytes(sealed.system_title) + sealed.invocation_counter.to_bytes(4, "big")
        cipher = Cipher(algorithms.AES(key), modes.GCM(nonce)).decryptor()
        notification = DataNotification.from_bytes(cipher.update(sealed.ciphered_text))
        return Said(notification.date_time, parse_as_dlms_data(notification.body))

    return Peer(f"dlms-cosem {version('dlms-cosem')}", "the APDU", 15, decode)


def _gurux(key: bytes) -> Peer:
    """Decode with a secure client, which has its own AES; its translator to XML takes longer."""
    decode = _gurux_client(key)
    return Peer(f"gurux-dlms {version('gurux-dlms')}", "the APDU", 100, decode)


def _gurux_deciphered(key: bytes) -> Peer:
    """Decode as those of its users do who leave the cipher to cryptography."""
    client = _gurux_client(key)
    encrypt = AESGCM(key).encrypt

    def decode(apdu: bytes) -> Said:
        # DB 08 title(8) 82 length(2) security byte, counter(4), ciphertext
        return client(encrypt(apdu[2:10] + apdu[14:18], apdu[18:], None)[:-16])

    name = f"gurux-dlms {version('gurux-dlms')} behind AESGCM"
    return Peer(name, "the plaintext", None, decode)


def _gurux_client(key: bytes) -> Callable[[bytes], Said]:
    from gurux_dlms import GXByteBuffer, GXReplyData
    from gurux_dlms.enums import InterfaceType, Security
    from gurux_dlms.secure import GXDLMSSecureClient

    client = GXDLMSSecureClient(True, interfaceType=InterfaceType.PDU)
    client.ciphering.security = Security.ENCRYPTION
    client.ciphering.blockCipherKey = bytearray(key)
    silence = _Silence()

    def decode(apdu: bytes) -> Said:
        notification = GXReplyData()
        with redirect_stdout(silence):  # it prints a line at each telegram
            client.getData(GXByteBuffer(apdu), GXReplyData(), notification)
        return Said(notification.time.value, notification.value)

    return decode


class _Silence(TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


def _reading(
    name: bytes, value: bytes | int, scale: Sequence[int] | None = None
) -> tuple[str, tuple[str | int | float, str | None]]:
    media, channel, *rest = name
    code = f"{media}-{channel}:{'.'.join(map(str, rest))}"
    if not isinstance(value, int):
        return code, (bytes(value).decode("ascii"), None)
    if scale is None:
        return code, (value, None)
    scaler, unit = scale
    number = value * 10**scaler if scaler >= 0 else value / 10**-scaler
    return code, (number, SYMBOLS[Unit(unit)])
