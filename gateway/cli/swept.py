"""What was read of a meter, its registers as values, and how two meters differ."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.modbus.client import Endpoint
from gateway.modbus.reads import Answer, Refusal
from gateway.registers import Identity, Register, RegisterMap
from gateway.registers.codec import UNITS
from gateway.registers.decode import (
    is_constant,
    is_not_available,
    matches,
    may_be_value,
    reads,
    rescaled,
    scale_address,
)

WORDS_SHOWN = 4
WRONG, DIFFERS, GOOD = "!", "~", " "
FLOAT_DIGITS = {"float32": range(6, 10), "float64": range(15, 18)}
FLOAT_CODES = {"float32": ">f", "float64": ">d"}
FLOAT_STEPS = {"float32": 2.0**-23, "float64": 2.0**-52}
Asked = str | Identity | Refusal | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """All that one unit answered in one round.

    `registers` are those to show. `function` is the one that was forced. `identity` and
    `server_id` are None if the map has none.
    """

    endpoint: Endpoint
    unit: int
    register_map: RegisterMap
    registers: Sequence[Register]
    answers: Mapping[Register, Answer]
    function: int | None = None
    identity: Asked = None
    server_id: Asked = None

    @property
    def refusals(self) -> list[Refusal]:
        """The reads and questions that brought nothing, each once."""
        found = [a for a in self.answers.values() if isinstance(a, Refusal)]
        found += [a for a in (self.identity, self.server_id) if isinstance(a, Refusal)]
        return list(dict.fromkeys(found))

    @property
    def has_answers(self) -> bool:
        """Tell whether any register was answered."""
        return any(isinstance(answer, bytes) for answer in self.answers.values())

    def cell(self, register: Register) -> "Cell":
        """Return a register as it is shown."""
        answer = self.answers[register]
        if isinstance(answer, Refusal):
            code = f"exception 0x{answer.code:02X}" if answer.code is not None else "no answer"
            return Cell(None, None, code, matches=None)
        exponent = self._exponent(register)
        found = reads(register, answer, exponent)
        is_missing = is_not_available(register, answer)
        is_surely_missing = is_missing and not may_be_value(register, answer)
        text = _written(register, found, exponent)
        if is_missing:
            text = "not available" if is_surely_missing else f"{text} or not available"
        value = None if is_surely_missing else _shortest(register, found)
        is_unsure = is_missing and not is_surely_missing
        return Cell(answer, value, text, matches(register, answer), exponent, is_unsure)

    def expected(self, register: Register) -> str:
        """Return what the map has in place of a constant that differs."""
        assert isinstance(register.content, bytes)  # noqa: S101 - only constants have one
        return _written(register, reads(register, register.content, 0), 0).strip()

    def _exponent(self, register: Register) -> int:
        """Return the power of ten of the shown unit, by the scale factor that the meter has."""
        exponent = register.exponent
        address = scale_address(register, self.register_map.written.base)
        if address is not None:
            for factor, answer in self.answers.items():
                is_it = factor.address == address and factor.tables & register.tables
                if not is_it or isinstance(answer, Refusal) or factor.type is None:
                    continue
                written = reads(factor, _octets(factor.content))
                read = reads(factor, answer)
                assert isinstance(written, int)  # noqa: S101 - of type sunssf
                assert isinstance(read, int)  # noqa: S101
                own = rescaled(register, written, read)
                exponent = exponent if own is None else own
        return exponent - UNITS.get(register.unit, ("", 0))[1]


@dataclass(frozen=True, slots=True)
class Cell:
    """One register's words and value. `octets` is None if it was not answered.

    `value` is in the unit that the map names; None: not available. `matches` is False for a
    constant that is not the map's. `exponent` is the power of ten of one step, `is_unsure` that the
    value may as well mean that there is none.
    """

    octets: bytes | None
    value: int | float | str | None
    text: str
    matches: bool | None
    exponent: int = 0
    is_unsure: bool = False

    @property
    def words(self) -> list[str]:
        """Its words in hex."""
        octets = self.octets or b""
        return [octets[i : i + 2].hex().upper() for i in range(0, len(octets), 2)]

    @property
    def words_shown(self) -> str:
        """As many words as have room in a table."""
        more = "…" if len(self.words) > WORDS_SHOWN else ""
        return " ".join(self.words[:WORDS_SHOWN]) + more if self.octets else "–"


@dataclass(frozen=True, slots=True)
class Pair:
    """A register of two meters, and what the difference means."""

    mark: str
    difference: float | None
    text: str


def is_good(sweep: Sweep) -> bool:
    """Tell whether everything was answered and every constant is the map's."""
    cells = [sweep.cell(register) for register in sweep.registers]
    return not sweep.refusals and not identity_problems(sweep) and _no_constant_differs(cells)


def _no_constant_differs(cells: Sequence[Cell]) -> bool:
    return all(cell.matches is not False for cell in cells)


def are_alike(first: Sweep, second: Sweep) -> bool:
    """Tell whether two meters answer the same, with the same constants and identity."""
    if not first.has_answers or not second.has_answers:
        return False
    marks = [pair(first, second, *each).mark for each in both(first, second)]
    return WRONG not in marks and not identity_differences(first, second)


def both(first: Sweep, second: Sweep) -> Iterator[tuple[Register, Register]]:
    """Return the registers of two meters side by side: the same map, each for its own unit id."""
    return zip(first.registers, second.registers, strict=True)


def pair(first: Sweep, second: Sweep, register: Register, other: Register) -> Pair:
    """Return what a register of one meter is beside that of another."""
    one, two = first.cell(register), second.cell(other)
    if one.octets is None or two.octets is None:
        return Pair(GOOD if one.octets is two.octets else WRONG, None, "")
    if is_constant(register):
        # Each may show its own unit id.
        is_same = one.value == two.value or (one.matches is True and two.matches is True)
        return Pair(GOOD if is_same else WRONG, None, "" if is_same else "differs")
    if (one.value is None) != (two.value is None):
        return Pair(WRONG, None, f"{'A' if one.value is None else 'B'} has none")
    if isinstance(one.value, int | float) and isinstance(two.value, int | float):
        difference = two.value - one.value
        steps = FLOAT_STEPS.get(register.type.name if register.type else "")
        if steps is None:
            step = 10.0 ** max(one.exponent, two.exponent)
        else:
            step = steps * max(abs(one.value), abs(two.value))
        # The difference of two decimal fractions is off by a few of the last bits.
        mark = DIFFERS if abs(difference) > step * (1 + 1e-6) else GOOD
        places = max(0, -one.exponent, -two.exponent)
        rounded = round(difference, places) if steps is None else float(f"{difference:.7g}")
        return Pair(mark, rounded, f"{rounded:+.{places}f}" if steps is None else f"{rounded:+g}")
    is_same = one.value == two.value
    return Pair(GOOD if is_same else DIFFERS, None, "" if is_same else "differs")


def _written(register: Register, found: float | str, exponent: int) -> str:
    """Return a value with its unit, with as many places as its step has."""
    if isinstance(found, str):
        return repr(found)
    value = _shortest(register, found)
    is_stepped = register.type is not None and not register.type.is_float
    number = f"{value:.{max(0, -exponent)}f}" if is_stepped else f"{value}".removesuffix(".0")
    return f"{number} {register.unit}".rstrip()


def _shortest(register: Register, found: float | str) -> int | float | str:
    """Return a float with the fewest digits that give the same float of the register's type."""
    if not isinstance(found, float) or register.type is None or not register.type.is_float:
        return found
    name = register.type.name
    for digits in FLOAT_DIGITS[name]:
        short = float(f"{found:.{digits}g}")
        try:
            if struct.pack(FLOAT_CODES[name], short) == struct.pack(FLOAT_CODES[name], found):
                return short
        except OverflowError:
            continue
    return found


def _octets(content: object) -> bytes:
    assert isinstance(content, bytes)  # noqa: S101 - scale factors are constants
    return content


def identity_problems(sweep: Sweep) -> list[str]:
    """Return where a meter says something else of itself than the map."""
    written, problems = sweep.register_map.written, []
    if isinstance(sweep.identity, Identity) and sweep.identity != written.identity:
        who = written.identity
        assert who is not None  # noqa: S101 - else it is not asked
        problems.append(
            f"{WRONG} function 43/14: the map has {who.vendor!r}, {who.product!r}, {who.revision!r}"
        )
    if isinstance(sweep.server_id, str) and sweep.server_id != written.server_id:
        problems.append(f"{WRONG} function 17: the map has {written.server_id!r}")
    return problems


def identity_differences(first: Sweep, second: Sweep) -> list[str]:
    """Return what of their identities differs, or is answered by one of two alone."""
    differences = []
    for name, one, two in (
        ("43/14", first.identity, second.identity),
        ("17", first.server_id, second.server_id),
    ):
        if isinstance(one, Refusal) and isinstance(two, Refusal):
            continue
        if isinstance(one, Refusal) != isinstance(two, Refusal) or one != two:
            differences.append(f"{WRONG} function {name}: A and B differ")
    return differences
