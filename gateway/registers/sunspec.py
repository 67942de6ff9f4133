"""What a SunSpec client expects of a map: marker, chain of models, points, end.

SunSpec Information Model Overview 12041, and the files model_1.json, model_201.json … of
sunspec/models. Offsets count from the word behind a model's length.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.registers.decode import scale_address
from gateway.registers.image import Table
from gateway.registers.mapfile import MapFile
from gateway.registers.register import Register
from gateway.snapshot import QUANTITIES, Origin

MARKER = b"SunS"
END_MODEL = 0xFFFF
NOT_IMPLEMENTED = 0x8000
COMMON_MODEL = 1
COMMON_LENGTHS = (65, 66)
INTEGER_METERS = (201, 202, 203, 204)
FLOAT_METERS = (211, 212, 213, 214)
INTEGER_LENGTH = 105
FLOAT_LENGTH = 124
HEADER_WORDS = 2

COMMON_TEXTS: Mapping[str, int] = {"Mn": 0, "Md": 16, "SN": 48}

# Points that share a scale factor: its name, first and last offset of the points, its own.
SCALE_FACTORS: Sequence[tuple[str, int, int, int]] = (
    ("A_SF", 0, 3, 4),
    ("V_SF", 5, 12, 13),
    ("Hz_SF", 14, 14, 15),
    ("W_SF", 16, 19, 20),
    ("VA_SF", 21, 24, 25),
    ("VAR_SF", 26, 29, 30),
    ("PF_SF", 31, 34, 35),
    ("TotWh_SF", 36, 51, 52),
    ("TotVAh_SF", 53, 68, 69),
    ("TotVArh_SF", 70, 101, 102),
)

_ALWAYS = "A Hz W TotWhExp TotWhImp Evt"
_STAR = "AphA AphB AphC PhV PhVphA PhVphB PhVphC PPV PhVphAB PhVphBC PhVphCA"
_DELTA = "AphA AphB AphC PPV PhVphAB PhVphBC PhVphCA"
_SPLIT = "PhV PhVphA PhVphB PPV PhVphAB"
_FACTORS = "A_SF V_SF W_SF TotWh_SF"
# model → its mandatory points; those of line-to-line voltages have the integer models' names.
MANDATORY: Mapping[int, str] = {
    201: f"{_ALWAYS} AphA {_FACTORS}",
    202: f"{_ALWAYS} AphB AphC {_SPLIT} {_FACTORS}",
    203: f"{_ALWAYS} {_STAR} {_FACTORS}",
    204: f"{_ALWAYS} {_DELTA} {_FACTORS}",
    211: f"{_ALWAYS} AphA",
    212: f"{_ALWAYS} AphA AphB {_SPLIT}",
    213: f"{_ALWAYS} {_STAR}",
    214: f"{_ALWAYS} {_DELTA}",
}
_POINTS = (
    "A", "AphA", "AphB", "AphC", "A_SF",
    "PhV", "PhVphA", "PhVphB", "PhVphC", "PPV", "PhVphAB", "PhVphBC", "PhVphCA", "V_SF",
    "Hz", "Hz_SF", "W", "WphA", "WphB", "WphC", "W_SF",
)  # fmt: skip
_INTEGER_OFFSETS = {name: offset for offset, name in enumerate(_POINTS)}
_INTEGER_OFFSETS |= {"TotWhExp": 36, "TotWhImp": 44, "TotWh_SF": 52, "Evt": 103}
_FLOATS = [name for name in _POINTS if not name.endswith("_SF")]
_FLOAT_OFFSETS = {name: 2 * offset for offset, name in enumerate(_FLOATS)}
_FLOAT_OFFSETS |= {"TotWhExp": 58, "TotWhImp": 66, "Evt": 122}


class Problem(NamedTuple):
    """What is wrong with a chain, and at which register; `is_error` if a client fails on it."""

    register: Register
    text: str
    is_error: bool = True


def point(model: int, name: str) -> tuple[int, str]:
    """Return a point's offset and type."""
    is_integer = model in INTEGER_METERS
    offset = (_INTEGER_OFFSETS if is_integer else _FLOAT_OFFSETS)[name]
    if name == "Evt":
        return offset, "uint32"
    if name.endswith("_SF"):
        return offset, "sunssf"
    if not is_integer:
        return offset, "float32"
    return offset, "acc32" if name.startswith("Tot") else "int16"


def problems(written: MapFile) -> Iterator[Problem]:
    """Tell what keeps a SunSpec client from reading a map that has the marker."""
    seen = set()
    for table in Table:
        own = [r for r in written.registers if table in r.tables and not r.only_count]
        for register in own:
            if register.content == MARKER:
                for problem in _chain(register, own, written.filled, written.base):
                    key = (problem.register.line.where, problem.text)
                    if key not in seen:
                        seen.add(key)
                        yield problem


def _chain(
    marker: Register,
    own: Sequence[Register],
    filled: Sequence[tuple[int, int, int]],
    base: int,
) -> Iterator[Problem]:
    """Walk from the marker to the end model."""
    starts = {register.address: register for register in own}
    constants = _constants(own, filled)
    address, last, models = marker.end, marker, []
    while True:
        model = constants.get(address)
        last = starts.get(address, last)
        if model is None:
            text = f"no SunSpec model or end model (0xFFFF) stands as a constant at {address}"
            yield Problem(last, text)
            return
        length = constants.get(address + 1)
        if model == END_MODEL:
            if length != 0:
                yield Problem(last, f"the end model's length at {address + 1} is 0")
            break
        if length is None:
            yield Problem(last, f"the length of SunSpec model {model} is a constant behind its id")
            return
        models.append(model)
        right = _lengths(model)
        if right and length not in right:
            text = f"SunSpec model {model} has the length {right[-1]}, not {length}"
            yield Problem(starts.get(address + 1, last), text)
        else:
            yield from _model(model, address + HEADER_WORDS, starts, last, constants, base)
        address += HEADER_WORDS + length
    if models[:1] != [COMMON_MODEL]:
        yield Problem(marker, "a SunSpec chain begins with the Common model, 1")


def _constants(
    own: Sequence[Register], filled: Sequence[tuple[int, int, int]]
) -> Mapping[int, int]:
    found = {at: word for first, last, word in filled for at in range(first, last + 1)}
    for register in own:
        for at in range(register.address, register.end):
            found.pop(at, None)
        if isinstance(register.content, bytes):
            for index in range(register.words):
                octets = register.content[2 * index : 2 * index + 2]
                found[register.address + index] = int.from_bytes(octets, "big")
    return found


def _lengths(model: int) -> tuple[int, ...]:
    if model == COMMON_MODEL:
        return COMMON_LENGTHS
    if model in INTEGER_METERS:
        return (INTEGER_LENGTH,)
    return (FLOAT_LENGTH,) if model in FLOAT_METERS else ()


def _model(
    model: int,
    start: int,
    starts: Mapping[int, Register],
    header: Register,
    constants: Mapping[int, int],
    base: int,
) -> Iterator[Problem]:
    """Check a model's points; `start` is the address behind its header."""
    if model == COMMON_MODEL:
        for name, offset in COMMON_TEXTS.items():
            register = starts.get(start + offset)
            if register is None or register.type is not None or _is_empty(register):
                text = f"{name} is missing in SunSpec model 1: a text at {start + offset}"
                yield Problem(register or header, text)
        return
    for name in MANDATORY.get(model, "").split():
        offset, type_name = point(model, name)
        yield from _point(model, name, start + offset, type_name, starts, header)
    if model in INTEGER_METERS:
        for name, first, last, factor in SCALE_FACTORS:
            points = [starts[at] for at in range(start + first, start + last + 1) if at in starts]
            yield from _factor(name, start + factor, points, starts, constants, base)


def _point(
    model: int,
    name: str,
    address: int,
    type_name: str,
    starts: Mapping[int, Register],
    header: Register,
) -> Iterator[Problem]:
    what = f"mandatory point {name} of SunSpec model {model}"
    register = starts.get(address)
    if register is None:
        yield Problem(header, f"{what} is missing at {address}, type {type_name}")
    elif register.type is None or register.type.name != type_name:
        yield Problem(register, f"{what} is of type {type_name}")
    elif not register.is_measured and type_name in ("int16", "acc32", "float32"):
        yield Problem(register, f"{what} shows a constant instead of a quantity", is_error=False)


def _factor(
    name: str,
    address: int,
    points: Sequence[Register],
    starts: Mapping[int, Register],
    constants: Mapping[int, int],
    base: int,
) -> Iterator[Problem]:
    """Check that a point and its scale factor stand or fall together."""
    measured = [register for register in points if register.is_measured]
    shown = [register for register in measured if not _is_never_sent(register)]
    factor = starts.get(address)
    is_there = factor is not None and constants.get(address) != NOT_IMPLEMENTED
    for register in measured:
        named = scale_address(register, base)
        if not is_there:
            if register in shown:
                yield Problem(register, f"its scale factor {name} is missing at {address}")
        elif named != address:
            here = "not there" if named is None else named
            text = f"a client scales it by {name} at {address}, scale_register is {here}"
            yield Problem(register, text)
    if factor is not None and is_there and points and not shown:
        text = f"{name} is there, but no point that it scales: give it the value 0x8000"
        yield Problem(factor, text, is_error=False)


def _is_never_sent(register: Register) -> bool:
    """Tell whether a point reads not available with every meter, and needs no scale factor."""
    return QUANTITIES[register.quantity].origin is Origin.NOT_SENT if register.quantity else False


def _is_empty(register: Register) -> bool:
    return isinstance(register.content, bytes) and not register.content.strip(b"\0 ")
