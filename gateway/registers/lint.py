"""What is wrong with a register map, and where: errors, and what its writer should think over."""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.located import ConfigError, Located, load
from gateway.registers import sunspec
from gateway.registers.codec import RegisterType
from gateway.registers.given import HEADROOM, rated_power_w
from gateway.registers.mapfile import MAP_WORDS, Find, MapFile, parse
from gateway.registers.register import SERIAL_NUMBER, Register
from gateway.snapshot import QUANTITIES, Origin, Quantity
from gateway.snapshot.plausibility import DEFAULT_CONNECTION_A

# What a directly connected meter may show: 3 × 80 A, and a quarter more for an hour.
MAX_PHASE_V = 300
MAX_LINE_V = 520
MAX_PHASE_A = 100
MAX_POWER_W = HEADROOM * rated_power_w(DEFAULT_CONNECTION_A)
MAX_ENERGY_WH = 4_000_000_000  # the meters count in 32 bits
MAX_CLOCK_S = 4_102_444_800  # the year 2100
MAX_SERIAL = 999_999_999
FREQUENCIES_HZ = (45, 65)
PHASES = 3
LINE_TO_LINE = ("_l12", "_l23", "_l31", "_ll_avg")
SIGNED = re.compile(r"(re)?active_power_(total|l\d)")
FLOAT32_DIGITS_WH = 16_777_216  # above it single watt-hours are lost

MAX_ERRORS = 20
UNIT_IDS = range(1, 248)
_ERROR = re.compile(r":(\d+):(\d+): (.*)", re.DOTALL)


class Severity(StrEnum):
    """How bad it is: a map with an error does not do what it should."""

    ERROR = "error"
    WARNING = "warning"


class Finding(NamedTuple):
    """One thing that is wrong, and where it stands."""

    file: str
    line: int
    column: int
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.text}"


def lint(text: str, file: str, find: Find = lambda _, __: None) -> list[Finding]:
    """Return all that is wrong with a map, in the order of its lines.

    `find` returns the maps that it may be `like`; of what it takes over only errors are told.
    """
    findings, written = _refused(text, file, find)
    if written is not None:
        root = load(text, file)
        for check in _CHECKS:
            for place, severity, what in check(written, root):
                if severity is Severity.ERROR or place.file == file:
                    mark = place.node.start_mark
                    found = Finding(place.file, mark.line + 1, mark.column + 1, severity, what)
                    findings.append(found)
    return sorted(set(findings))


def plausible(quantity: Quantity) -> tuple[float, float] | None:
    """Return what a quantity is at least and at most in a house, None: nobody can say."""
    name = quantity.name
    if quantity.origin in (Origin.NOT_SENT, Origin.SERVICE):
        return None
    match quantity.unit:
        case "V":
            return 0, MAX_LINE_V if name.endswith(LINE_TO_LINE) else MAX_PHASE_V
        case "A":
            return 0, MAX_PHASE_A * (PHASES if name.endswith("_total") else 1)
        case "W" | "VA" | "var":
            most = MAX_POWER_W if name.endswith("_total") else MAX_POWER_W / PHASES
            return -most if SIGNED.fullmatch(name) else 0, most
        case "Wh" | "varh":
            return 0, MAX_ENERGY_WH
        case "Hz":
            return FREQUENCIES_HZ
        case "s":
            return 0, MAX_CLOCK_S
    if name == SERIAL_NUMBER:
        return 0, MAX_SERIAL
    return -1, 1  # power factors


def holds(register_type: RegisterType, exponent: int, lowest: float, highest: float) -> bool:
    """Tell whether a type that counts in 10^exponent holds all from `lowest` to `highest`."""
    if register_type.is_float:
        return True
    step = 10.0**exponent
    return register_type.lowest * step <= lowest and highest <= register_type.highest * step


# --- what parsing refuses ---------------------------------------------------------------------


def _refused(text: str, file: str, find: Find) -> tuple[list[Finding], MapFile | None]:
    """Return the errors that parsing stops at, each found after blanking the line before."""
    findings: list[Finding] = []
    while len(findings) < MAX_ERRORS:
        try:
            written = parse(text, file, find=find)
        except ConfigError as problem:
            finding = _finding(str(problem), file)
            findings.append(finding)
            rest = _without_line(text, file, finding)
            if rest is None:
                break
            text = rest
        else:
            return findings, None if findings else written
    return findings, None


def _finding(problem: str, file: str) -> Finding:
    match = _ERROR.search(problem)
    if match is None:
        return Finding(file, 1, 1, Severity.ERROR, problem.removeprefix(f"{file}: "))
    where = problem[: match.start()]
    return Finding(where, int(match[1]), int(match[2]), Severity.ERROR, match[3])


def _without_line(text: str, file: str, finding: Finding) -> str | None:
    """Return the map without the register that a finding is about; None if it is about no line.

    What stands behind it keeps its place.
    """
    if finding.file != file:
        return None
    place = (finding.line - 1, finding.column - 1)
    try:
        lines = load(text, file).mapping(MAP_WORDS)["registers"].items()
    except (ConfigError, KeyError):
        return None
    for item in lines:
        start, end = item.node.start_mark, item.node.end_mark
        if (start.line, start.column) <= place < (end.line, end.column) and len(lines) > 1:
            first = text.rfind("-", 0, start.index)
            gap = text[first + 1 : start.index]
            # A scale factor that is gone would make others wrong that are not.
            if first < 0 or gap.strip() or "sunssf" in text[start.index : end.index]:
                return None
            blank = re.sub(r"[^\n]", " ", text[first : end.index])
            return text[:first] + blank + text[end.index :]
    return None


# --- what parsing lets pass -------------------------------------------------------------------

_Found = Iterator[tuple[Located, Severity, str]]
_Check = Callable[[MapFile, Located], _Found]


def _ranges(written: MapFile, _root: Located) -> _Found:
    """Check that a type, with its scale, holds the quantity's range."""
    for register in written.registers:
        quantity = QUANTITIES.get(register.quantity or "")
        if quantity is None or register.type is None or (span := plausible(quantity)) is None:
            continue
        low, high = sorted(register.sign * end for end in span)
        if holds(register.type, register.exponent, low, high):
            continue
        step, unit = 10.0**register.exponent, quantity.unit
        has = _span(register.type.lowest * step, register.type.highest * step, unit)
        text = (
            f"{register.shows} may be {_span(low, high, unit)}, "
            f"{register.type.name} in steps of {step:g}{' ' + unit if unit else ''} holds {has}"
        )
        yield register.line, Severity.ERROR, text


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:.10g} … {high:.10g} {unit}".rstrip()


def _resolution(written: MapFile, _root: Located) -> _Found:
    """Check that energies keep single watt-hours, or that the notes say that they do not."""
    coarse: dict[str, list[Register]] = {}
    for register in written.registers:
        quantity = QUANTITIES.get(register.quantity or "")
        if quantity is None or quantity.unit not in ("Wh", "varh") or register.type is None:
            continue
        if quantity.origin is Origin.NOT_SENT:
            continue
        if register.type.name == "float32":
            coarse.setdefault("float32", []).append(register)
        elif not register.type.is_float and register.exponent > 0:
            coarse.setdefault(f"{10**register.exponent} {quantity.unit}", []).append(register)
    for how, registers in coarse.items():
        if _is_noted(how, registers[0], written.notes):
            continue
        more = len(registers) - 1
        others = f" (and {more} more)" if more else ""
        first = registers[0]
        if how == "float32":
            text = f"float32 loses single watt-hours above {FLOAT32_DIGITS_WH / 1e6:.1f} MWh"
        else:
            text = f"{first.shows} counts in steps of {how}, the meter in single ones"
        yield first.line, Severity.WARNING, f"{text}{others}: the notes should say so"


def _is_noted(how: str, register: Register, notes: Sequence[str]) -> bool:
    told = "\n".join(notes)
    return any(re.search(rf"(?<![\d.]){re.escape(w)}(?!\w)", told) for w in (how, register.step))


def _reads(written: MapFile, _root: Located) -> _Found:
    """Check that every register can be read at once."""
    for register in written.registers:
        if register.words > written.max_read:
            text = f"no client can read it: max_read is {written.max_read}, it has {register.words}"
            yield register.line, Severity.ERROR, text


def _signs(written: MapFile, _root: Located) -> _Found:
    """Check that a quantity that stands at two places has the same sign at both."""
    seen: dict[str, Register] = {}
    for register in written.registers:
        if register.quantity is None:
            continue
        first = seen.setdefault(register.quantity, register)
        if first.sign != register.sign:
            text = f"{register.quantity} stands at {first.address} with the other sign"
            yield register.line, Severity.WARNING, text


def _filled(written: MapFile, root: Located) -> _Found:
    """Check that ranges without register are where registers are, and not over each other."""
    words = root.mapping(MAP_WORDS)
    items = [
        item
        for word in ("zero_ranges", "filled_ranges")
        if word in words
        for item in words[word].items()
    ]
    if not items:
        return
    for table in sorted(written.tables):
        if not any(table in register.tables for register in written.registers):
            text = f"no register stands in table {table}, reads of it would get these words"
            yield items[0], Severity.WARNING, text
    if len(items) != len(written.filled):
        return  # some are another map's
    for index, (first, last, _) in enumerate(written.filled):
        for start, end, _ in written.filled[:index]:
            if first <= end and start <= last:
                text = f"lies over the range {start} … {end}"
                yield items[index], Severity.WARNING, text


def _for_people(written: MapFile, root: Located) -> _Found:
    """Check that a map says who reads it and where it is from, and that its unit ids are such."""
    if not written.readers:
        yield root, Severity.WARNING, "'readers' is missing: who reads this map?"
    if not written.sources:
        yield root, Severity.WARNING, "'sources' is missing: which document is this map from?"
    words = root.mapping(MAP_WORDS)
    for item in words["unit_ids"].items() if "unit_ids" in words else []:
        if item.integer(0, 255) not in UNIT_IDS:
            text = f"unit id {item.text()} is not between 1 and 247: many clients cannot ask it"
            yield item, Severity.WARNING, text


def _sunspec(written: MapFile, _root: Located) -> _Found:
    """Check that what has the SunSpec marker is a whole SunSpec chain."""
    for problem in sunspec.problems(written):
        severity = Severity.ERROR if problem.is_error else Severity.WARNING
        yield problem.register.line, severity, problem.text


_CHECKS: Sequence[_Check] = (
    _ranges,
    _resolution,
    _reads,
    _signs,
    _filled,
    _for_people,
    _sunspec,
)
