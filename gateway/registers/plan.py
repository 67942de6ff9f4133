"""All live registers of an image at once: one Python function, made for them and compiled.

It says of each register how its number becomes what is packed. For three of them it would be

    def octets(numbers):
        current_l1, energy_active_import_total, voltage_l1, = take(numbers)
        shown_0 = nearest(voltage_l1 * 10.0)
        shown_1 = nearest(current_l1 * 1000.0)
        if not unused.isdisjoint((shown_0, shown_1, energy_active_import_total, )):
            raise UnusualError
        return pack(between_0, shown_0, between_1, shown_1, energy_active_import_total, between_2)

In it stand quantities of the catalogue, numbers, and the checked arithmetic of expressions; no text
of a map does. What it shows is what `Register.content` gives for each register alone, or it raises.
"""

import ast
import struct
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import itemgetter
from typing import Any

from gateway.registers.coarse import Coarse
from gateway.registers.codec import RegisterType, order_words
from gateway.registers.expression import FUNCTIONS, Expression, Numbers
from gateway.registers.register import SERIAL_NUMBER, Content, Register

MOST_EXACT = 2**53  # floats hold every whole number up to here


class UnusualError(Exception):
    """A number that saturates or is not finite has no place among others."""


# What a plan raises for numbers that it is not made for.
UNFIT = (UnusualError, KeyError, ArithmeticError, ValueError, struct.error)


@dataclass(frozen=True, slots=True)
class Live:
    """A register whose bytes depend on the snapshot, and the byte at which it lies."""

    start: int
    register: Register
    content: Content

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.start + 2 * self.register.words


def planned(
    template: bytes,
    live: Collection[Live],
    coarse: Collection[Coarse],
    needs: Collection[str],
    fractional: Collection[str],
) -> Callable[[Numbers], bytes]:
    """Return what makes the octets of an image from numbers; it is right or raises one of UNFIT.

    `template` has all that is not of the `live` registers; `needs` are the quantities that these
    show, of which those that are `fractional` may be floats.
    """
    # Where the first word stands last, octets are packed little-endian, and at the end those of
    # each word change places.
    little = [each.register.is_little for each in live if each.register.words > 1]
    written = _Function(sorted(needs), fractional, is_little=2 * sum(little) > len(little))
    for split in coarse:
        written.split(split)
    end = 0
    for each in sorted(live, key=lambda each: each.start):
        written.add_constant(template[end : each.start])
        written.add(each)
        end = each.end
    written.add_constant(template[end:])
    return written.compiled()


class _Function:
    """The text of a plan's function while it is written, and the objects that it names."""

    def __init__(
        self, needs: Sequence[str], fractional: Collection[str], *, is_little: bool
    ) -> None:
        self._needs = needs
        self._fractional = fractional
        self._is_little = is_little
        self._objects: dict[str, Any] = {
            **FUNCTIONS,
            "__builtins__": {},
            "UnusualError": UnusualError,
            "isfinite": isfinite,
            "nearest": float.__round__,  # twice as fast as `round`, and for floats alone
            "round": round,
            "sum": sum,
            "swapped": _swapped,
        }
        self._trees: dict[str, ast.expr] = {}  # expressions by what stands for them in the text
        self._expressions: dict[str, str] = {}  # and that by how a map writes them
        self._steps: dict[tuple[str, int], str] = {}
        self._names = {quantity: quantity for quantity in needs}  # by how their numbers are made
        self._unused: set[int] = set()
        # Without repetition and in order.
        self._whole: dict[str, None] = {}
        self._floats: dict[str, None] = {}
        self._codes = ""
        self._packed: list[str] = []
        self._lines: list[str] = []
        if needs:
            take = self._object("take", itemgetter(*needs) if needs[1:] else _only(*needs))
            self._lines.append(f"{_listed(needs)} = {take}(numbers)")

    def split(self, coarse: Coarse) -> None:
        """Write how phase powers are split anew."""
        if known := coarse.known(self._needs):
            steps = {(name, coarse.exponent): f"{name}_e{coarse.exponent}" for name in known}
            call = f"{self._object('steps', coarse.steps)}(numbers, ({_listed(known)}))"
            self._lines.append(f"{_listed(steps.values())} = {call}")
            self._steps |= steps
            self._names |= {name: name for name in steps.values()}

    def add_constant(self, octets: bytes) -> None:
        """Write what stands between live registers."""
        if octets:
            self._codes += f"{len(octets)}s"
            self._packed.append(self._object("constant", self._ordered(octets)))

    def add(self, live: Live) -> None:
        """Write how a register's number is made and packed."""
        register, kind = live.register, live.register.type
        if kind is None or (number := self._scaled(register, kind)) is None:
            self._codes += f"{live.end - live.start}s"
            self._packed.append(f"{self._object('alone', self._alone(live.content))}(numbers)")
            return
        shown = self._local(number)
        if kind.is_float:
            self._floats[shown] = None
        else:
            self._unused |= kind.unused
            self._whole[shown] = None
        if kind.words > 1 and register.is_little != self._is_little:
            self._codes += f"{live.end - live.start}s"
            self._packed.append(f"{self._object('turned', self._turned(register, kind))}({shown})")
        else:
            self._codes += kind.code
            self._packed.append(shown)

    def compiled(self) -> Callable[[Numbers], bytes]:
        """Return the function."""
        order = "<" if self._is_little else ">"
        pack = self._object("pack", struct.Struct(order + self._codes).pack)
        packed = f"{pack}({_listed(self._packed)})"
        unusual = []
        if self._unused:
            self._objects["unused"] = frozenset(self._unused)
            unusual.append(f"not unused.isdisjoint(({_listed(self._whole)}))")
        if self._floats:
            unusual.append(f"not isfinite(sum(({_listed(self._floats)})))")
        lines = [
            "def octets(numbers):",
            *(f"    {line}" for line in self._lines),
            *([f"    if {' or '.join(unusual)}: raise UnusualError"] if unusual else []),
            f"    return {f'swapped({packed})' if self._is_little else packed}",
        ]
        module = ast.parse("\n".join(lines))
        for line in ast.walk(module):
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Name):
                line.value = self._trees[line.value.id]
        exec(compile(module, "plan", "exec"), self._objects)  # noqa: S102 (of no map's text)
        octets: Callable[[Numbers], bytes] = self._objects["octets"]
        return octets

    def _scaled(self, register: Register, kind: RegisterType) -> str | None:
        """Return the number as it is packed; None if that cannot be told exactly."""
        exponent = register.exponent
        step = 10 ** abs(exponent)
        quantity = register.quantity
        if not kind.is_float and (steps := self._steps.get((quantity or "", exponent))):
            return steps if register.sign > 0 else f"-{steps}"
        if quantity and quantity != SERIAL_NUMBER:
            number = quantity if register.sign > 0 else f"-{quantity}"
        elif isinstance(register.number, Expression):
            number = self._calculated(register.shows, register.number)
        else:
            return None
        if kind.is_float or (exponent <= 0 and quantity and quantity not in self._fractional):
            return number if step == 1 else f"{number} {'/' if exponent > 0 else '*'} {step}"
        if exponent <= 0 and kind.words > 2:
            return f"round({number} * {step})"
        if kind.highest * 10 ** max(0, exponent) < MOST_EXACT:
            return f"nearest({number} {'/' if exponent > 0 else '*'} {float(step)})"
        return None

    def _calculated(self, shows: str, expression: Expression) -> str:
        """Return the name of an expression's result."""
        place = self._expressions.setdefault(shows, f"expression_{len(self._expressions)}")
        self._trees[place] = expression.tree
        return self._local(place)

    def _local(self, number: str) -> str:
        """Return the name of a number that is made so, which is once."""
        if number not in self._names:
            name = f"shown_{len(self._lines)}"
            self._names |= {number: name, name: name}
            self._lines.append(f"{name} = {number}")
        return self._names[number]

    def _object(self, name: str, meant: object) -> str:
        """Return the name by which the function knows an object."""
        name = f"{name}_{len(self._objects)}"
        self._objects[name] = meant
        return name

    def _ordered(self, octets: bytes) -> bytes:
        return _swapped(octets) if self._is_little else octets

    def _alone(self, content: Content) -> Callable[[Numbers], bytes]:
        return lambda numbers: self._ordered(content(numbers, {}))

    def _turned(self, register: Register, kind: RegisterType) -> Callable[[float], bytes]:
        """Return how a number is packed whose words stand in the other order."""
        pack, little = kind.packer.pack, register.is_little
        return lambda number: self._ordered(order_words(pack(number), little=little))


def _swapped(octets: bytes) -> bytes:
    """Return the octets of each word, the last one first."""
    words = array("H", octets)
    words.byteswap()
    return words.tobytes()


def _listed(names: Iterable[str]) -> str:
    """Return names as a tuple is written."""
    return "".join(f"{name}, " for name in names)


def _only(name: str) -> Callable[[Numbers], tuple[int | float]]:
    return lambda numbers: (numbers[name],)
