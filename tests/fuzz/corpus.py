"""Where the fuzzer starts: what all simulated meters say, whole and damaged, for each target."""

import math
import struct
from collections.abc import Iterator

from gateway.modbus import rtu
from gateway.simulator.frames import (
    Unit,
    array,
    data_notification,
    mbus_frame,
    obis,
    octet_string,
    scaler_unit,
    structure,
    u16,
    u32,
    u64,
)
from gateway.telegram.obis import EXPECTED_UNITS, NAMED_TEXTS, UNITS
from tests.fuzz import axdr, ciphering, decoder, framing, layouts, requests
from tests.fuzz.meters import HEADER_BYTES, MODEL_NAMES, plaintexts, sealed, telegrams

Entry = tuple[str, bytes]

KAIFA, BURGENLAND = "kaifa-ma309m", "lg-e450-burgenland"
SIZES = (1, 4, 9, 120, 7)

TABLE = """KFM
clock
number                  # of any length
time
date
obis 0-6:25.9.0
pair 1-0:1.8.0 u32 Wh
1-0:31.7.0 u16 0.01 A
- u16
1-0:1.7.0 f32 W
"""


def damaged(octets: bytes, steps: int = 4) -> Iterator[Entry]:
    """List the ways in which bytes get lost, doubled and changed, at `steps` places each."""
    for step in range(steps):
        at = len(octets) * step // steps
        yield f"cut-at-{at}", octets[:at]
        yield f"from-{at}", octets[at:]
        yield f"dropped-{at}", octets[:at] + octets[at + 1 :]
        yield f"doubled-{at}", octets[: at + 1] + octets[at:]
        for how, value in (("zero", 0x00), ("ones", 0xFF), ("flipped", octets[at] ^ 0x01)):
            yield f"{how}-at-{at}", octets[:at] + bytes([value]) + octets[at + 1 :]
    yield "last-cut", octets[:-1]
    yield "surplus", octets + b"\x00"


def f32(value: float) -> bytes:
    return b"\x17" + struct.pack(">f", value)


def f64(value: float) -> bytes:
    return b"\x18" + struct.pack(">d", value)


def listed(code: str, value: bytes, scaler: int | None = None, unit: Unit = Unit.W) -> bytes:
    """Return an object of a nested list."""
    steps = () if scaler is None else (scaler_unit(scaler, unit),)
    return structure(obis(code), value, *steps)


def _values() -> Iterator[Entry]:
    """List bodies as no simulated meter sends them, and values that are hardly a body."""
    power, other = listed("1-0:1.7.0.255", u32(515), 0), listed("1-0:2.7.0.255", f32(0.5), 0)
    yield "floats", structure(power, other, listed("1-0:16.7.0.255", f64(-12.5), -1))
    yield (
        "texts",
        structure(
            listed("1-0:0.9.1.255", octet_string(bytes([10, 20, 30, 0]))),
            listed("1-0:0.9.2.255", octet_string(bytes([7, 232, 7, 1, 1]))),
            listed("0-0:96.1.0.255", b"\x0a\x04text"),
            listed("0-0:42.0.0.255", b"\x0c\x04text"),
            power,
        ),
    )
    clock = plaintexts(KAIFA)[0][6:18]
    yield "clocks", structure(listed("0-0:1.0.0.255", b"\x19" + clock), power)
    yield "nulls", structure(listed("1-0:1.7.0.255", b"\x00"), other)
    yield (
        "flat",
        structure(
            octet_string(clock), obis("1-0:1.7.0.255"), u64(5), scaler_unit(3, Unit.W), b"\x09\x011"
        ),
    )
    yield "twice", structure(power, power)
    yield "array", array(power, other)
    for tag, size in ((0x03, 1), (0x05, 4), (0x14, 8), (0x1A, 5), (0x1B, 4), (0x19, 12)):
        yield f"tag-{tag:02x}", structure(bytes([tag]) + bytes(size))
    yield "deep", b"\x02\x01" * 120 + b"\x00"
    yield "wide", structure(*[b"\x00"] * 127)
    yield "empty", structure()
    yield "no-value", b""
    yield "long-string", octet_string(bytes(127))
    yield "too-long", octet_string(bytes(128))


def _found() -> Iterator[tuple[str, bytes, str | None]]:
    """List what broke the promise of layouts once: name, body, and the table of an own layout."""
    power, other = listed("1-0:1.7.0.255", u32(515), 0), "1-0:2.7.0.255"
    for text in (b"", b"\x07", b"\x07\xe8", b"\x07\xe8\x07"):
        body = structure(power, listed("1-0:0.9.2.255", octet_string(text)))
        yield f"date-of-{len(text)}", body, None
    for value in (math.nan, math.inf, -math.inf, 1e308):
        for name, number in (("f32", f32), ("f64", f64)):
            if number is f64 or value != 1e308:
                yield f"{name}-{value}", structure(power, listed(other, number(value), 3)), None
    yield "makers-not-ascii", structure(u32(7), u32(7)), "\xd6\n1-0:1.8.0 u32 Wh\n- u32"
    # A kind has one byte for the length, in which 512 looks like 0.
    yield "512-items", b"\x02\x00", "\n1-0:1.8.0 u32 Wh" + "\n- u8" * 511


def framing_entries() -> Iterator[Entry]:
    for model in MODEL_NAMES:
        first, second, _ = telegrams(model)
        yield model, framing.pack(first, SIZES)
        yield f"{model}-two", framing.pack(first + second, SIZES)
        yield f"{model}-shared-flag", framing.pack(first + second[1:], SIZES)
        yield f"{model}-marked", framing.pack(first + second, SIZES, (3, len(first)))
        for name, octets in damaged(first):
            yield f"{model}-{name}", framing.pack(octets)
            yield f"{model}-{name}-and-next", framing.pack(octets + second, SIZES)
    yield "nothing", b""
    yield "garbage", framing.pack(bytes(600), SIZES)
    for count in (0, 1, 4, 5, 0xFA, 0xFF):
        yield f"false-header-{count}", framing.pack(bytes([0x68, count, count, 0x68, 0x53]))
    inner = mbus_frame(telegrams(KAIFA)[0][:60], sequence=0, final=True)
    yield "frame-in-frame", framing.pack(mbus_frame(inner + inner, sequence=1, final=False))


def ciphering_entries() -> Iterator[Entry]:
    for model in MODEL_NAMES:
        for auth in (False, True):
            flags = ciphering.AUTHENTICATED if auth else 0
            plaintext = plaintexts(model)[0]
            apdu = sealed(plaintext, model, auth=auth)
            name = f"{model}-tag" if auth else model
            yield name, ciphering.pack(apdu)
            for place in (0, 1, 5, 10, 13, 16, 30, len(apdu) - 1):
                for change in (0x01, 0x10, 0x80):
                    yield (
                        f"{name}-{place}-{change}",
                        ciphering.pack(
                            plaintext, ciphering.SEALED, flags=flags, place=place, change=change
                        ),
                    )
            for kind, octets in damaged(apdu):
                yield f"{name}-{kind}", ciphering.pack(octets)
    yield "nothing", ciphering.pack(b"")
    yield "no-plaintext", ciphering.pack(b"", ciphering.SEALED)
    yield "one-byte", ciphering.pack(b"\x0f", ciphering.SEALED, flags=ciphering.SUITE_1)


def axdr_entries() -> Iterator[Entry]:
    for model in MODEL_NAMES:
        plaintext = plaintexts(model)[0]
        before, body = plaintext[:HEADER_BYTES], plaintext[HEADER_BYTES:]
        yield model, axdr.pack(body, before)
        for name, octets in damaged(body, steps=12):
            yield f"{model}-{name}", axdr.pack(octets)
    for name, value in _values():
        yield name, axdr.pack(value)


def layouts_entries() -> Iterator[Entry]:
    for model in MODEL_NAMES:
        body = plaintexts(model)[0][HEADER_BYTES:]
        yield model, layouts.pack(body, model)
        yield f"{model}-of-nobody", layouts.pack(body, BURGENLAND)
        for name, octets in damaged(body, steps=24):
            yield f"{model}-{name}", layouts.pack(octets, model)
    for name, value in _values():
        yield name, layouts.pack(value, KAIFA)
    for name, body, table in _found():
        for prescribed in (False, True):
            yield f"{name}-{prescribed}", layouts.pack(body, KAIFA, table, prescribed=prescribed)
    own = structure(
        octet_string(plaintexts(KAIFA)[0][6:18]),
        octet_string(b"1KFM02"),
        octet_string(bytes([10, 20, 30, 0])),
        octet_string(bytes([7, 232, 7, 1, 1])),
        obis("0-6:25.9.0.255"),
        *(obis("1-0:1.8.0.255"), u32(7)),
        *(u16(230), u16(1), f32(2.5)),
    )
    for prescribed in (False, True):
        yield f"own-{prescribed}", layouts.pack(own, KAIFA, TABLE, prescribed=prescribed)
        for line in range(TABLE.count("\n")):
            lines = TABLE.splitlines()
            for change, table in (
                ("without", lines[:line] + lines[line + 1 :]),
                ("twice", lines[: line + 1] + lines[line:]),
                ("cut", lines[:line] + lines[line][:9].split()[:1] + lines[line + 1 :]),
            ):
                packed = layouts.pack(own, KAIFA, "\n".join(table), prescribed=prescribed)
                yield f"own-{prescribed}-{change}-{line}", packed


def decoder_entries() -> Iterator[Entry]:
    for model in MODEL_NAMES:
        plaintext, telegram = plaintexts(model)[0], telegrams(model)[0]
        learned = decoder.AS_THE_METER | decoder.OFTEN
        for auth in (False, True):
            flags = decoder.AUTHENTICATED if auth else 0
            name = f"{model}-tag" if auth else model
            wire = telegrams(model, auth=auth)[0]
            yield name, decoder.pack(plaintext, decoder.PLAINTEXT, model, flags=flags, sizes=SIZES)
            yield f"{name}-wire", decoder.pack(wire, decoder.WIRE, model, flags=flags)
            flags |= decoder.SLIPS
            packed = decoder.pack(plaintext[1:], decoder.PLAINTEXT, model, flags=flags, sizes=SIZES)
            yield f"{name}-noise", packed
        yield f"{model}-often", decoder.pack(telegram, decoder.WIRE, model, flags=learned)
        apdu = sealed(plaintext, model)
        yield f"{model}-apdu", decoder.pack(apdu, decoder.APDU, model, sizes=SIZES)
        for place in range(HEADER_BYTES, len(plaintext), len(plaintext) // 12):
            changes = [(place, 0x01)]
            yield (
                f"{model}-changed-{place}",
                decoder.pack(plaintext, decoder.PLAINTEXT, model, sizes=SIZES, changes=changes),
            )
        for name, octets in damaged(telegram, steps=2):
            packed = decoder.pack(octets, decoder.WIRE, model, flags=decoder.AS_THE_METER)
            yield f"{model}-wire-{name}", packed
        for name, octets in damaged(plaintext, steps=2):
            packed = decoder.pack(octets, decoder.PLAINTEXT, model, flags=decoder.AS_THE_METER)
            yield f"{model}-{name}", packed
    bodies = [*_values(), *((name, body) for name, body, table in _found() if table is None)]
    for name, body in bodies:
        plaintext = data_notification(1, plaintexts(KAIFA)[0][6:18], body)
        yield name, decoder.pack(plaintext, decoder.PLAINTEXT, KAIFA)
    yield "nothing", decoder.pack(b"", decoder.WIRE, KAIFA, flags=decoder.OFTEN)
    yield "garbage", decoder.pack(bytes(700), decoder.WIRE, KAIFA, flags=decoder.OFTEN)


# Each target with its corpus.
def requests_entries() -> Iterator[Entry]:
    pdus = {
        "read": requests.READ,
        "outside": bytes((4, 0, 9, 0, 1)),
        "none": bytes((3, 0, 0, 0, 0)),
        "write": bytes((6, 0, 0, 0, 1)),
        "writes": bytes((16, 0, 0, 0, 1, 2, 0, 1)),
        "who": bytes((0x11,)),
        "identity": bytes((0x2B, 0x0E, 1, 0)),
        "unknown": bytes((0x41, 1, 2)),
    }
    for name, pdu in pdus.items():
        for unit in (requests.UNIT, requests.SILENT_UNIT, 99):
            asked = bytes((unit,)) + pdu
            framed = b"\0\1\0\0" + len(asked).to_bytes(2, "big") + asked
            yield f"{name}-{unit}", requests.pack(framed, SIZES)
            yield f"{name}-{unit}-thrice", requests.pack(3 * framed)
            yield f"{name}-{unit}-bus", requests.pack(2 * rtu.sealed(asked))
            for how, octets in damaged(framed, steps=2):
                yield f"{name}-{unit}-{how}", requests.pack(octets + framed, SIZES)
            for how, octets in damaged(rtu.sealed(asked), steps=2):
                yield f"{name}-{unit}-bus-{how}", requests.pack(octets + rtu.sealed(asked))
    yield "nothing", requests.pack(b"")


TARGETS = {
    "framing": (framing, framing_entries),
    "ciphering": (ciphering, ciphering_entries),
    "axdr": (axdr, axdr_entries),
    "layouts": (layouts, layouts_entries),
    "decoder": (decoder, decoder_entries),
    "requests": (requests, requests_entries),
}


def words() -> list[bytes]:
    """List what inputs are made of, for the fuzzer's dictionary."""
    names = [b"\x09\x06" + bytes(code) for code in (*EXPECTED_UNITS, *NAMED_TEXTS)]
    units = [scaler_unit(scaler, Unit.W)[:-1] + bytes([u]) for u in UNITS for scaler in (-1, 0, 3)]
    table = [word.encode() for word in TABLE.split()]
    starts = [b"\x68\xfa\xfa\x68\x53\xff\x00\x01\x67", b"\x7e\xa0", b"\xe6\xe7\x00", b"\xdb\x08"]
    return [*names, *units, *table, *starts, f32(1.0), f64(1.0), b"\xe0\xc0\x00\x01\x00\x00"]
