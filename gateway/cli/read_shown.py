"""What was read of one meter, or of two beside each other, as a table or as JSON."""

from collections.abc import Iterator, Mapping
from itertools import chain

from gateway.cli.swept import (
    DIFFERS,
    GOOD,
    WRONG,
    Cell,
    Sweep,
    are_alike,
    both,
    identity_differences,
    identity_problems,
    pair,
)
from gateway.modbus.client import Transport
from gateway.modbus.reads import FUNCTIONS, Refusal, table_of
from gateway.registers import Identity, Register
from gateway.registers.decode import is_constant
from gateway.snapshot import QUANTITIES

LEGEND = {WRONG: "! a constant that differs, or a read that was not answered"}
PAIR_LEGEND = {
    WRONG: "! a constant that differs, a value that one side alone has, or a read that was not "
    "answered",
    DIFFERS: "~ values that differ by more than a step of the map; or texts of the meter, which "
    "may differ, as a serial number does",
}


def table(sweep: Sweep) -> Iterator[str]:
    """Return the lines of one meter's table."""
    yield f"{_title(sweep)}, {sweep.register_map.written.name}"
    yield f"  {'address':>7}  fc  {'words':<20}  {'value':>14} {'':<6}  shows"
    marks = set()
    for register in sweep.registers:
        cell = sweep.cell(register)
        mark, note = GOOD, ""
        if cell.octets is None:
            mark = WRONG
        elif cell.matches is False:
            mark, note = WRONG, f"; the map has {sweep.expected(register)}"
        marks.add(mark)
        yield (
            f"{mark} {register.address:>7}  {_function(sweep, register)}   {cell.words_shown:<20}  "
            f"{_aligned(cell.text)}  {_shows(register)}{note}"
        ).rstrip()
    yield from _identity_lines(sweep)
    yield from identity_problems(sweep)
    yield from chain(_refusal_lines(sweep), _legend(marks, LEGEND))


def pair_table(first: Sweep, second: Sweep) -> Iterator[str]:
    """Return the lines of two meters' table."""
    yield f"A  {_title(first)}, {first.register_map.written.name}"
    yield f"B  {_title(second)}"
    heads = (f"{name + ' words':<20}  {name:>14} {'':<6}" for name in "AB")
    yield f"  {'address':>7}  fc  {'  '.join(heads)}  {'B - A':>10}  shows"
    marks = set()
    for register, other in both(first, second):
        one, two = first.cell(register), second.cell(other)
        found = pair(first, second, register, other)
        marks.add(found.mark)
        yield (
            f"{found.mark} {register.address:>7}  {_function(first, register)}   "
            f"{one.words_shown:<20}  {_aligned(one.text)}  "
            f"{two.words_shown:<20}  {_aligned(two.text)}  {found.text:>10}  {_shows(register)}"
        ).rstrip()
    for name, sweep in (("A", first), ("B", second)):
        yield from (f"{name}  {line}" for line in _identity_lines(sweep))
    yield from identity_differences(first, second)
    for name, sweep in (("A", first), ("B", second)):
        yield from (f"{name}  {line}" for line in _refusal_lines(sweep))
    yield from _legend(marks, PAIR_LEGEND)


def as_json(time: str, sweep: Sweep) -> dict[str, object]:
    """Return one round of one meter as the JSON object that machines get."""
    return {"time": time} | _source_json(sweep) | {
        "registers": [
            _register_json(sweep, register) | _cell_json(sweep.cell(register))
            for register in sweep.registers
        ]
    }  # fmt: skip


def pair_json(time: str, first: Sweep, second: Sweep) -> dict[str, object]:
    """Return one round of two meters as the JSON object that machines get."""
    registers = []
    for register, other in both(first, second):
        found = pair(first, second, register, other)
        registers.append(
            _register_json(first, register)
            | {
                "a": _cell_json(first.cell(register)),
                "b": _cell_json(second.cell(other)),
                "difference": found.difference,
                "is_different": found.mark != GOOD,
            }
        )
    return {"time": time, "a": _source_json(first), "b": _source_json(second),
            "is_alike": are_alike(first, second), "registers": registers}  # fmt: skip


def hints(sweep: Sweep) -> Iterator[str]:
    """Return what to do about the reads that were refused."""
    codes = {refusal.code for refusal in sweep.refusals}
    if not sweep.has_answers and any(refusal.is_silence for refusal in sweep.refusals):
        is_line = sweep.endpoint.transport is Transport.SERIAL
        more = "baud, parity, stop bits, both wires" if is_line else "the framing (--framer)"
        yield f"unit {sweep.unit} does not answer: is that its id (--unit)? Else check {more}"
    if 0x0B in codes:
        yield (
            f"exception 0x0B comes from a gateway: it has no unit {sweep.unit}, or the meter "
            "behind it is silent. Of obisgate, the log of 'obisgate run' says which"
        )
    if 0x0A in codes:
        yield "exception 0x0A comes from a gateway that has no way to its meters: look at its setup"
    if 0x02 in codes or 0x03 in codes:
        yield (
            "exceptions 0x02 and 0x03: is it this map (obisgate maps), and does it begin here "
            "(--base)?"
        )
    if 0x01 in codes:
        yield "exception 0x01: it may answer the other function, --function 3 or 4"
    if codes & {0x04, 0x05, 0x06}:
        yield "exceptions 0x04 to 0x06: the meter itself is busy or ill; try again, more slowly"


def _title(sweep: Sweep) -> str:
    return f"{sweep.endpoint}, unit {sweep.unit}"


def _aligned(text: str) -> str:
    """Return a number with its unit in columns; anything else as it is."""
    number, _, unit = text.partition(" ")
    if number.lstrip("-").replace(".", "", 1).isdigit() and " " not in unit:
        return f"{number:>14} {unit:<6}"
    return f"{text:<21}"


def _shows(register: Register) -> str:
    if register.quantity is not None:
        return f"{register.shows}: {QUANTITIES[register.quantity].meaning}"
    if register.type is None:
        return f"text {register.shows!r}"
    return f"constant {register.shows}" if is_constant(register) else register.shows


def _function(sweep: Sweep, register: Register) -> int:
    answer = sweep.answers[register]
    if isinstance(answer, Refusal):
        return answer.function
    return sweep.function or FUNCTIONS[table_of(register)]


def _identity_lines(sweep: Sweep) -> Iterator[str]:
    if isinstance(sweep.identity, Identity):
        who = sweep.identity
        yield f"function 43/14: {who.vendor!r}, {who.product!r}, {who.revision!r}"
    if isinstance(sweep.server_id, str):
        yield f"function 17: {sweep.server_id!r}"


def _refusal_lines(sweep: Sweep) -> Iterator[str]:
    for refusal in sweep.refusals:
        where = refusal.where if refusal.count else f"function {refusal.function}"
        yield f"{where}: {refusal.reason}"
    yield from (f"→ {hint}" for hint in hints(sweep))


def _legend(marks: set[str], legend: Mapping[str, str]) -> Iterator[str]:
    return (text for mark, text in legend.items() if mark in marks)


def _source_json(sweep: Sweep) -> dict[str, object]:
    source: dict[str, object] = {
        "endpoint": str(sweep.endpoint),
        "unit": sweep.unit,
        "map": sweep.register_map.written.name,
        "refused": [
            {
                "function": refusal.function,
                "address": refusal.address,
                "count": refusal.count,
                "exception": refusal.code,
                "reason": refusal.reason,
            }
            for refusal in sweep.refusals
        ],
    }
    if isinstance(sweep.identity, Identity):
        who = sweep.identity
        source["identity"] = {
            "vendor": who.vendor, "product": who.product, "revision": who.revision,
        }  # fmt: skip
    if isinstance(sweep.server_id, str):
        source["server_id"] = sweep.server_id
    return source


def _register_json(sweep: Sweep, register: Register) -> dict[str, object]:
    return {
        "address": register.address,
        "function": _function(sweep, register),
        "type": register.type.name if register.type else "text",
        "shows": register.shows,
        "quantity": register.quantity,
        "unit": register.unit,
        "is_constant": is_constant(register),
    }


def _cell_json(cell: Cell) -> dict[str, object]:
    value = cell.value
    # JSON knows no infinity.
    is_infinite = isinstance(value, float) and value in (float("inf"), float("-inf"))
    shown: dict[str, object] = {
        "words": cell.words if cell.octets is not None else None,
        "value": str(value) if is_infinite else value,
    }
    if cell.is_unsure:
        shown["may_be_not_available"] = True
    if cell.matches is not None:
        shown["is_as_in_map"] = cell.matches
    return shown
