"""What is wrong with a register map, and where: errors, and what its writer should think over."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.located import ConfigError, Located, load
from gateway.registers import sunspec
from gateway.registers.codec import UNITS
from gateway.registers.decode import is_not_available, may_be_value, reads
from gateway.registers.mapfile import MAP_WORDS, Find, MapFile, Stale, parse
from gateway.registers.plausible import holds, plausible
from gateway.registers.register import Register
from gateway.registers.trimmed import Trimmed, without_each
from gateway.snapshot import QUANTITIES, Origin

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

    `find` returns the maps that it may be `like`; of what it takes over only errors are told, at
    its own line that makes them, if there is one.
    """
    findings, written = _refused(text, file, find)
    if written is not None:
        findings = list(_checked(written, text, file))
    return sorted(set(_blamed(findings, text, file, find)))


# --- what parsing refuses ---------------------------------------------------------------------


def finding_of(problem: str, file: str) -> Finding:
    """Return what a ConfigError says of a map's file."""
    match = _ERROR.search(problem)
    if match is None:
        return Finding(file, 1, 1, Severity.ERROR, problem.removeprefix(f"{file}: "))
    where = problem[: match.start()]
    return Finding(where, int(match[1]), int(match[2]), Severity.ERROR, match[3])


def _refused(text: str, file: str, find: Find) -> tuple[list[Finding], MapFile | None]:
    """Return the errors that parsing stops at, each found after taking out the line before."""
    findings: list[Finding] = []
    trimmed = Trimmed(text, file)
    while len(findings) < MAX_ERRORS:
        try:
            written = parse(trimmed.text, file, find=find)
        except ConfigError as problem:
            finding = finding_of(str(problem), file)
            (finding,) = _blamed([finding], trimmed.text, file, find)
            if finding.file == file and trimmed.has_lost(finding.line, finding.column):
                break
            findings.append(finding)
            if finding.file != file or not trimmed.take(finding.line, finding.column):
                break
        else:
            return findings, None if findings else written
    return findings, None


# --- what a map makes of the one that it is like ----------------------------------------------


def _blamed(findings: Sequence[Finding], text: str, file: str, find: Find) -> Sequence[Finding]:
    """Return the findings; those in another map at the line of this one without which they go."""
    theirs = [finding for finding in findings if finding.file != file]
    if not theirs:
        return findings
    told = {finding: finding for finding in findings}
    for part, rest in without_each(text, file):
        left = _found(rest, file, find)
        if any(finding.file != file and finding not in told for finding in left):
            continue  # without it other things are wrong
        for finding in theirs:
            if finding not in left and told[finding] is finding:
                mark = part.node.start_mark
                other = f"{finding.file.rpartition('/')[2]}:{finding.line}:{finding.column}"
                told[finding] = finding._replace(
                    file=file,
                    line=mark.line + 1,
                    column=mark.column + 1,
                    text=f"it makes {other} wrong: {finding.text}",
                )
    return list(told.values())


def _found(text: str, file: str, find: Find) -> Collection[Finding]:
    """Return what is found in a map, of what parsing refuses the first."""
    try:
        return set(_checked(parse(text, file, find=find), text, file))
    except ConfigError as problem:
        return {finding_of(str(problem), file)}


# --- what parsing lets pass -------------------------------------------------------------------

_Found = Iterator[tuple[Located, Severity, str]]


def _checked(written: MapFile, text: str, file: str) -> Iterator[Finding]:
    root = load(text, file)
    for check in _CHECKS:
        for place, severity, what in check(written, root):
            if severity is Severity.ERROR or place.file == file:
                mark = place.node.start_mark
                yield Finding(place.file, mark.line + 1, mark.column + 1, severity, what)


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
            most = FLOAT32_DIGITS_WH // 100_000 / 10  # never more than is true
            text = f"float32 loses single watt-hours above {most} MWh"
        else:
            text = f"{first.shows} counts in steps of {how}, the meter in single ones"
        yield first.line, Severity.WARNING, f"{text}{others}: the notes should say so"


def _is_noted(how: str, register: Register, notes: Sequence[str]) -> bool:
    told = "\n".join(notes)
    return any(re.search(rf"(?<![\d.]){re.escape(w)}(?!\w)", told) for w in (how, register.step))


def _lengths(written: MapFile, _root: Located) -> _Found:
    """Check that every register can be read at once."""
    for register in written.registers:
        if register.words > written.max_read:
            text = f"no client can read it: max_read is {written.max_read}, it has {register.words}"
            yield register.line, Severity.ERROR, text


def _stale(written: MapFile, root: Located) -> _Found:
    """Check that a meter that is silent does not read as one that measures 0."""
    if written.stale is not Stale.NOT_AVAILABLE:
        return
    unclear = [register for register in written.registers if _reads_as_value(register)]
    if not unclear:
        return
    words = root.mapping(MAP_WORDS)
    own = [register.line for register in unclear if register.line.file == root.file]
    place = words.get("stale") or next(iter(own), unclear[0].line)
    first, more = unclear[0], len(unclear) - 1
    assert callable(first.content)  # noqa: S101 - it is measured
    value, unit = reads(first, first.content({}, {})), UNITS[first.unit][0]
    text = (
        f"stale: not_available lets a silent meter read as one that measures: {first.shows} at "
        f"{first.address} reads {value:g}{f' {unit}' if unit else ''}"
        f"{f' (and {more} more)' if more else ''}; write stale: exception or silent, or "
        "a not_available that is no value"
    )
    yield place, Severity.ERROR, text


def _reads_as_value(register: Register) -> bool:
    """Tell whether a client cannot know the register's not-available pattern from a value."""
    if not register.is_measured or not callable(register.content):
        return False
    missing = register.content({}, {})
    return is_not_available(register, missing) and may_be_value(register, missing)


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
    _lengths,
    _stale,
    _signs,
    _filled,
    _for_people,
    _sunspec,
)
