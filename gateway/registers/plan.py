"""All live registers of an image at once: one Python function, written for them and compiled.

It says how each number becomes what is packed. For a map of three registers it would be

    def octets(numbers, texts):
        current_l1, energy_active_import_total, voltage_l1, = take(numbers)
        shown_1 = nearest(voltage_l1 * 10.0)
        shown_2 = nearest(current_l1 * 1000.0)
        if not unused.isdisjoint((shown_1, shown_2, energy_active_import_total, )):
            raise UnusualError
        return pack(shown_1, shown_2, constant, energy_active_import_total, )

In it stand quantities of the catalogue, numbers, and the checked arithmetic of expressions; no text
of a map does. What it shows is what `Register.content` gives for each register alone, or it raises.
"""

import ast
import struct
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import itemgetter
from sys import intern
from typing import Any

from gateway.registers.coarse import Coarse
from gateway.registers.codec import RegisterType, order_words
from gateway.registers.expression import FUNCTIONS, Expression, Numbers
from gateway.registers.register import SERIAL_NUMBER, Content, Register

Texts = Mapping[str, str]
Plan = Callable[[Numbers, Texts], bytes]

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
) -> Plan:
    """Return what makes the octets of an image; it is right or raises one of UNFIT.

    `template` has all that is not of the `live` registers; `needs` are the quantities that these
    show, of which those that are `fractional` may be floats.
    """
    # Where the first word stands last, octets are packed little-endian, and at the end those of
    # each word change places.
    little = [each.register.is_little for each in live if each.register.words > 1]
    is_little = 2 * sum(little) > len(little)
    function = _Function(sorted(map(intern, needs)), fractional, is_little=is_little)
    for split in coarse:
        function.split(split)
    end = 0
    for each in sorted(live, key=lambda each: each.start):
        function.add_constant(template[end : each.start])
        function.add(each)
        end = each.end
    function.add_constant(template[end:])
    return function.compiled()


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
        self._lines: list[str] = []
        self._names = {quantity: quantity for quantity in needs}  # by how their numbers are made
        self._trees: dict[str, ast.expr] = {}  # of those that are expressions, by name
        self._steps: dict[tuple[str | None, int], str] = {}  # by phase power and exponent
        # Names without repetition, in order.
        self._whole: dict[str, None] = {}
        self._floats: dict[str, None] = {}
        self._unused: set[int] = set()
        self._codes = "<" if is_little else ">"
        self._packed: list[str] = []
        if needs:
            take = self._object("take", itemgetter(*needs) if needs[1:] else _only(*needs))
            self._lines.append(f"{_listed(needs)} = {take}(numbers)")

    def split(self, coarse: Coarse) -> None:
        """Write how phase powers are split anew."""
        if known := coarse.known(self._needs):
            for name in known:
                step = f"{name}_e{coarse.exponent}"
                self._names[step] = self._steps[name, coarse.exponent] = step
            steps = _listed(self._steps[name, coarse.exponent] for name in known)
            call = f"{self._object('steps', coarse.steps)}(numbers, ({_listed(known)}))"
            self._lines.append(f"{steps} = {call}")

    def add_constant(self, octets: bytes) -> None:
        """Write what stands between live registers."""
        if octets:
            self._add_octets(len(octets), self._object("constant", self._ordered(octets)))

    def add(self, live: Live) -> None:
        """Write how a register's number is made and packed."""
        register, kind = live.register, live.register.type
        number = self._number(register, kind) if kind else None
        if kind is None or number is None:
            alone = self._object("alone", (self._alone if kind else self._said)(live.content))
            self._add_octets(live.end - live.start, f"{alone}(numbers, texts)")
            return
        shown = self._local(number)
        if kind.is_float:
            self._floats[shown] = None
        else:
            self._whole[shown] = None
            self._unused |= kind.unused
        if kind.words > 1 and register.is_little != self._is_little:
            turned = self._object("turned", self._turned(register, kind))
            self._add_octets(live.end - live.start, f"{turned}({shown})")
        else:
            self._codes += kind.code
            self._packed.append(shown)

    def compiled(self) -> Plan:
        """Return the function."""
        unusual = []
        if self._unused:
            unused = self._object("unused", frozenset(self._unused))
            unusual.append(f"not {unused}.isdisjoint(({_listed(self._whole)}))")
        if self._floats:
            unusual.append(f"not isfinite(sum(({_listed(self._floats)})))")
        if unusual:
            self._lines.append(f"if {' or '.join(unusual)}: raise UnusualError")
        pack = self._object("pack", struct.Struct(self._codes).pack)
        octets = f"{pack}({_listed(self._packed)})"
        self._lines.append(f"return {f'swapped({octets})' if self._is_little else octets}")
        module = ast.parse("\n    ".join(("def octets(numbers, texts):", *self._lines)))
        for line in ast.walk(module):
            match line:
                case ast.Assign(targets=[ast.Name(id=name)]) if name in self._trees:
                    line.value = self._trees[name]
        exec(compile(module, "plan", "exec"), self._objects)  # noqa: S102 (no text of a map's)
        function: Plan = self._objects["octets"]
        return function

    def _number(self, register: Register, kind: RegisterType) -> str | None:
        """Return how a register's number is made; None if only it alone tells that exactly."""
        quantity, exponent = register.quantity, register.exponent
        minus = "-" if register.sign < 0 else ""
        if not kind.is_float and (quantity, exponent) in self._steps:
            return minus + self._steps[quantity, exponent]
        if isinstance(register.number, Expression):
            number = self._local(register.shows, register.number.tree)
        elif quantity and quantity != SERIAL_NUMBER:
            number = minus + quantity
        else:
            return None
        step = 10 ** abs(exponent)
        scale = "/" if exponent > 0 else "*"
        is_whole = exponent <= 0 and quantity is not None and quantity not in self._fractional
        if kind.is_float or is_whole:
            return f"{number} {scale} {step}" if exponent else number
        if kind.words > 2 and exponent <= 0:
            return f"round({number} * {step})"
        # Up to there a quotient that is no half is never rounded to one.
        if kind.highest * 10 ** max(0, exponent) < MOST_EXACT:
            return f"nearest({number} {scale} {float(step)})"
        return None

    def _local(self, number: str, tree: ast.expr | None = None) -> str:
        """Return the name of a number that is made so, which is once."""
        if number not in self._names:
            name = f"shown_{len(self._lines)}"
            self._names |= {number: name, name: name}
            if tree:
                self._trees[name] = tree
            self._lines.append(f"{name} = {'...' if tree else number}")
        return self._names[number]

    def _object(self, kind: str, meant: object) -> str:
        """Return the name by which the function knows an object."""
        name = f"{kind}_{len(self._objects)}"
        self._objects[name] = meant
        return name

    def _add_octets(self, count: int, made: str) -> None:
        self._codes += f"{count}s"
        self._packed.append(made)

    def _ordered(self, octets: bytes) -> bytes:
        """Return octets as they are packed."""
        return _swapped(octets) if self._is_little else octets

    def _alone(self, content: Content) -> Plan:
        return lambda numbers, texts: self._ordered(content(numbers, texts))

    def _said(self, content: Content) -> Plan:
        """Return what shows texts, which hardly ever change."""
        said: Texts | None = None
        octets = b""

        def again(_: Numbers, texts: Texts) -> bytes:
            nonlocal said, octets
            if texts != said:
                said, octets = texts, self._ordered(content({}, texts))
            return octets

        return again

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
    """Return names as they are listed in a call, or on the left of an assignment."""
    return "".join(f"{name}, " for name in names)


def _only(name: str) -> Callable[[Numbers], tuple[int | float]]:
    return lambda numbers: (numbers[name],)
