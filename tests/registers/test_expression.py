"""Expressions: arithmetic over quantities, and nothing else."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.registers.expression import MAX_CHARACTERS, compile_expression

NUMBERS = {
    "voltage_l1": 230.1,
    "voltage_l2": 0.0,
    "current_l1": 7.15,
    "active_power_total": -5057,
    "energy_active_import_total": 19_111_052,
}
NOTHING_ELSE = (
    r"^only quantities, numbers, \+ - \* / // %, abs, min, max, sign and parentheses are allowed$"
)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("voltage_l1", 230.1),
        ("  voltage_l1\n", 230.1),
        ("42", 42),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("0x10", 16),
        ("-active_power_total", 5057),
        ("--2", 2),
        ("+2 - +-1", 3),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("2 - 3 - 4", -5),
        ("2 - (3 - 4)", 3),
        ("12 / 4 / 3", 1.0),
        ("12 / (6 / 3)", 6.0),
        ("-2 * 3 + 10", 4),
        ("2 * -3", -6),
        ("7 / 2", 3.5),
        ("active_power_total / 2 - 0.5", -2529.0),
        ("voltage_l1 * current_l1", 230.1 * 7.15),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("7 % 4 * 2", 6),
        ("2 + 7 % 4", 5),
        ("energy_active_import_total // 65536 % 65536", 291),
        ("energy_active_import_total % 65536", 40_076),
        ("abs(active_power_total)", 5057),
        ("-abs(-3)", -3),
        ("max(active_power_total, 0)", 0),
        ("max(-active_power_total, 0)", 5057),
        ("min(3, 1, 2) + max(3, 1, 2)", 4),
        ("abs(min(active_power_total, max(0, 1)) / 2)", 2528.5),
    ],
)
def test_arithmetic_has_the_usual_precedence(text: str, result: float) -> None:
    assert compile_expression(text)(NUMBERS) == result


def test_the_age_is_refused_because_it_counts_on_by_itself() -> None:
    with pytest.raises(ValueError, match=r"^telegram_age is the service's own"):
        compile_expression("telegram_age + 1")


def test_integers_stay_exact() -> None:
    evaluate = compile_expression("energy_active_import_total + 1 - 2 * 3")
    result = evaluate({"energy_active_import_total": 2**60 + 1})
    assert type(result) is int
    assert result == 2**60 - 4


ALLOWED = {"abs": abs, "min": min, "max": max}
operands = st.one_of(
    st.sampled_from(sorted(NUMBERS)),
    st.integers(0, 10**6).map(str),
    st.floats(0, 1e300, allow_nan=False).map(repr),
)
expressions = st.recursive(
    operands,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(" ".join),
        inner.map("abs({})".format),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            "{0[0]}({0[1]}, {0[2]})".format
        ),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=12,
)


@given(text=expressions.filter(lambda text: len(text) <= MAX_CHARACTERS))
@example(text="voltage_l1 / voltage_l2")
def test_an_expression_means_what_it_means_in_python(text: str) -> None:
    try:
        expected = eval(text, {"__builtins__": ALLOWED}, dict(NUMBERS))  # text of our own making
    except ArithmeticError:
        expected = None
    result = compile_expression(text)(NUMBERS)
    assert result == expected or (result != result and expected != expected)


@pytest.mark.parametrize(
    "text",
    [
        *("voltage_l3", "voltage_l3 * 0", "voltage_l1 + -voltage_l3"),
        *("abs(voltage_l3)", "max(voltage_l1, voltage_l3)", "0 * min(1, 2, voltage_l3)"),
    ],
)
def test_a_missing_quantity_gives_none(text: str) -> None:
    assert compile_expression(text)(NUMBERS) is None


@pytest.mark.parametrize(
    "text",
    [
        *("1 / 0", "1 / 0.0", "voltage_l1 / voltage_l2", "0 / voltage_l2"),
        *("1 // 0", "1 % 0", "voltage_l1 // voltage_l2", "voltage_l1 % voltage_l2"),
    ],
)
def test_division_by_zero_gives_none(text: str) -> None:
    assert compile_expression(text)(NUMBERS) is None


@pytest.mark.parametrize(
    "text", [f"{10**200} * {10**200}", f"0x{'f' * 400}", f"{10**400} / 2", f"{10**400} * 0.5"]
)
def test_an_integer_past_the_largest_float_gives_none(text: str) -> None:
    assert compile_expression(text)({}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("voltage_l4", r"^unknown quantity 'voltage_l4', did you mean 'voltage_l\d'\?$"),
        (
            "1 + energy_import_total",
            r"^unknown quantity 'energy_import_total', did you mean '\w*import_total'\?$",
        ),
        ("xyz", r"^unknown quantity 'xyz'$"),
        ("print", r"^unknown quantity 'print'"),
        ("__import__", r"^unknown quantity '__import__'"),
        ("numbers", r"^unknown quantity 'numbers'"),
        ("meter_number", r"^unknown quantity 'meter_number', did you mean 'meter_\w+'\?$"),
    ],
)
def test_an_unknown_quantity_is_refused_with_the_nearest_one(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "sum(voltage_l1, 1)",
        "max(voltage_l1, 1, key=abs)",
        "max(*(1, 2), 3)",
        "max(1, default=2)",
        "abs.__call__(1)",
        "voltage_l1()",
        "voltage_l1.real",
        "voltage_l1.__class__.__mro__",
        "voltage_l1[0]",
        "[voltage_l1]",
        "(1, 2)",
        "{1: 2}",
        "{voltage_l1}",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "2 ** 3",
        "9 ** 9 ** 9",
        "1 << 2",
        "1 | 2",
        "1 & 2",
        "1 ^ 2",
        "1 @ 2",
        "~1",
        "not 1",
        "1 < 2",
        "1 == 1",
        "voltage_l1 and 1",
        "1 if voltage_l1 else 2",
        "'a'",
        "b'a'",
        "f'{voltage_l1}'",
        "'a' * 100",
        "True",
        "None",
        "...",
        "1j",
        "(x := 1)",
        "*voltage_l1",
        "voltage_l1 + round(1)",
        "-pow(1, 2)",
        "(1 + 2) * len('a')",
        "abs(len('a'))",
    ],
)
def test_everything_but_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=NOTHING_ELSE + "|is no arithmetic over quantities$"):
        compile_expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abs()", r"^abs takes one value$"),
        ("abs(1, 2)", r"^abs takes one value$"),
        ("min()", r"^min takes two or more$"),
        ("max(voltage_l1)", r"^max takes two or more$"),
        ("abs", r"^unknown quantity 'abs'"),
        ("max + 1", r"^unknown quantity 'max'"),
    ],
)
def test_a_function_with_other_than_its_values_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "1 +",
        "(1",
        "1)",
        "1 2",
        "import os",
        "x = 1",
        "1; 2",
        "a b",
        "yield 1",
        "\0",
        "$",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no arithmetic over quantities$"):
        compile_expression(text)


@pytest.mark.parametrize(
    "form",
    [
        "__import__('pathlib').Path({path!r}).touch()",
        "1 + open({path!r}, 'w').close()",
        "[open({path!r}, 'w') for voltage_l1 in (1,)]",
        "(lambda: open({path!r}, 'w'))()",
        "voltage_l1 if open({path!r}, 'w') else 1",
        'f"{{open({path!r}, chr(119))}}"',
    ],
)
def test_refused_code_is_never_executed(form: str, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    with pytest.raises(ValueError, match=NOTHING_ELSE):
        compile_expression(form.format(path=str(trace)))
    assert not trace.exists()


def nested_parentheses(depth: int) -> str:
    return "(" * depth + "1" + ")" * depth


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("-" * (MAX_CHARACTERS - 1) + "1", -1),
        ("1" + "+1" * ((MAX_CHARACTERS - 1) // 2), 250),
        (nested_parentheses(50), 1),
    ],
)
def test_an_expression_of_full_length_is_evaluated(text: str, result: int) -> None:
    assert compile_expression(text)({}) == result


@pytest.mark.parametrize(
    "text", [nested_parentheses(249), "(" * MAX_CHARACTERS, "[" * 250 + "]" * 250, "-" * 500]
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no arithmetic over quantities$"):
        compile_expression(text)


@pytest.mark.parametrize("make", [lambda n: "1" * n, lambda n: "1" + " " * (n - 1)])
def test_a_very_long_expression_is_refused(make: Callable[[int], str]) -> None:
    with pytest.raises(ValueError, match=r"^an expression has at most 500 characters$"):
        compile_expression(make(501))
    compile_expression(make(500))


pieces = st.sampled_from(
    [
        *"()[]{}+-*/%.,:;'\"\\ \n\t@=<>!~^&|0123456789abcxj_",
        *NUMBERS,
        "abs(",
        "max(",
        "lambda",
        "if",
        "in",
    ]
)


@given(text=st.one_of(st.text(max_size=60), st.lists(pieces, max_size=30).map("".join)))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        evaluate = compile_expression(text)
    except ValueError:
        return
    names = {
        n.id for n in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(n, ast.Name)
    } - ALLOWED.keys()
    result = evaluate(NUMBERS)
    assert result is None or isinstance(result, int | float)
    assert result is None or names <= set(NUMBERS)
