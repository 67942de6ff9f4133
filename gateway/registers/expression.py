"""Arithmetic over quantities in a register map: compiled once, nothing else reachable."""

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.located import nearest
from gateway.snapshot import QUANTITIES
from gateway.snapshot.quantities import SERVICE

Numbers = Mapping[str, int | float]
_Term = Callable[[Numbers], int | float]

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)
_FUNCTIONS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {"abs": abs, "min": min, "max": max, "sign": lambda number: -1 if number < 0 else 1}
)
_OF_ONE = ("abs", "sign")
MAX_CHARACTERS = 500


def compile_expression(text: str) -> Callable[[Numbers], int | float | None]:
    """Return a function from numbers by quantity name to the result.

    Allowed are quantity names, numbers, + - * / // %, abs, min, max, sign (-1 below 0, else 1) and
    parentheses; ValueError says what is not. The result is None when a quantity is missing, or when
    there is none (division by zero).
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"an expression has at most {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no arithmetic over quantities") from None
    term = _compile(tree.body)

    def evaluate(numbers: Numbers) -> int | float | None:
        try:
            result = term(numbers)
            float(result)
        except (KeyError, ArithmeticError):
            return None
        return result

    return evaluate


def quantities_in(text: str) -> frozenset[str]:
    """Return the quantities that an expression needs; without any one of them it is None."""
    names = {node.id for node in ast.walk(ast.parse(text.strip())) if isinstance(node, ast.Name)}
    return frozenset(names & QUANTITIES.keys())


def _compile(node: ast.expr) -> _Term:
    match node:
        case ast.Name(id=name):
            if name in SERVICE:
                raise ValueError(f"{name} is the service's own, nothing can be calculated from it")
            if name not in QUANTITIES:
                raise ValueError(f"unknown quantity {name!r}{nearest(name, QUANTITIES)}")
            return operator.itemgetter(name)
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return lambda _: number
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _compile(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand)
            return lambda numbers: -inner(numbers)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            combine, first, second = _OPERATORS[type(op)], _compile(left), _compile(right)
            return lambda numbers: combine(first(numbers), second(numbers))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            if (len(args) == 1) != (name in _OF_ONE) or not args:
                raise ValueError(
                    f"{name} takes {'one value' if name in _OF_ONE else 'two or more'}"
                )
            function, terms = _FUNCTIONS[name], [_compile(arg) for arg in args]
            return lambda numbers: function(*(term(numbers) for term in terms))
    raise ValueError(
        "only quantities, numbers, + - * / // %, abs, min, max, sign and parentheses are allowed"
    )
