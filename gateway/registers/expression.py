"""Arithmetic over quantities in a register map: compiled once, nothing else reachable."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType, MappingProxyType
from typing import Any

from gateway.located import nearest
from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import SERVICE

Numbers = Mapping[str, int | float]


def _sign(number: float) -> int:
    return -1 if number < 0 else 1


_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
_OF_ONE = ("abs", "sign")
FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"abs": abs, "min": min, "max": max, "sign": _sign}
)
_ALL_THAT_IS_REACHABLE = {**FUNCTIONS, "__builtins__": {}}
MAX_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Expression:
    """Checked arithmetic: its `tree` has quantities, numbers, operators and FUNCTIONS alone.

    `needs` are its quantities; without any one of them there is no result.
    """

    tree: ast.expr
    needs: frozenset[str]
    _code: CodeType = field(repr=False)

    def __call__(self, numbers: Numbers) -> int | float | None:
        """Return the result; None if a quantity is missing, or if there is none (x / 0)."""
        try:
            result: int | float = eval(  # noqa: S307 (of checked arithmetic alone)
                self._code, _ALL_THAT_IS_REACHABLE, numbers
            )
            float(result)
        except (NameError, ArithmeticError):
            return None
        return result


def compile_expression(text: str) -> Expression:
    """Return what calculates the result from numbers by quantity name.

    Allowed are quantity names, numbers, + - * / // %, abs, min, max, sign (-1 below 0, else 1) and
    parentheses; ValueError says what is not.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"an expression has at most {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no arithmetic over quantities") from None
    _check(tree.body)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    needs = frozenset(names & QUANTITIES.keys())
    return Expression(tree.body, needs, compile(tree, "expression", "eval"))


def _check(node: ast.expr) -> None:
    """Refuse with a ValueError what is not allowed."""
    match node:
        case ast.Name(id=name):
            if name in SERVICE:
                raise ValueError(f"{name} is the service's own, nothing can be calculated from it")
            if name not in QUANTITIES:
                raise ValueError(f"unknown quantity {name!r}{nearest(name, QUANTITIES)}")
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            pass
        case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=operand):
            _check(operand)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
            _check(left)
            _check(right)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            if (len(args) == 1) != (name in _OF_ONE) or not args:
                raise ValueError(
                    f"{name} takes {'one value' if name in _OF_ONE else 'two or more'}"
                )
            for arg in args:
                _check(arg)
        case _:
            raise ValueError(
                "only quantities, numbers, + - * / // %, abs, min, max, sign and parentheses "
                "are allowed"
            )
