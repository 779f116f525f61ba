"""Evaluates autoscale formulas: samples in, values of every variable out; pure.

Follows the public description of Azure Batch autoscale formulas: there is no boolean (a comparison gives 1 or 0), no
`%`, no `if`. Where the service's own arithmetic is not documented the evaluator is strict: it refuses rather than guesses.
"""

import operator
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from devbatch.autoscale_functions import (
    SAMPLE_PERIOD_S,
    Sample,
    Samples,
    Series,
    StopEvaluation,
    Value,
    as_double,
    call_function,
    call_method,
    failed,
    kind_of,
)
from devbatch.autoscale_grammar import (
    Assignment,
    Binary,
    Call,
    Choice,
    Expression,
    FormulaError,
    Member,
    Name,
    Number,
    Text,
    Unary,
    parse,
)

__all__ = [
    "SAMPLE_PERIOD_S",
    "FormulaError",
    "Sample",
    "Samples",
    "evaluate",
    "parse",
    "rendered",
    "with_parameters",
]

DEALLOCATION_OPTIONS: Final = ("requeue", "terminate", "taskcompletion", "retaineddata")
SAMPLED_VARIABLES: Final = frozenset(
    {
        "$PendingTasks",
        "$ActiveTasks",
        "$RunningTasks",
        "$SucceededTasks",
        "$FailedTasks",
        "$PreemptedNodeCount",
        "$CurrentDedicatedNodes",
        "$CurrentLowPriorityNodes",
        "$UsableNodeCount",
        "$CPUPercent",
    }
)
WRITABLE_VARIABLES: Final = frozenset(
    {"$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"}
)


def evaluate(formula: str, samples: Samples) -> dict[str, float | str]:
    """The value of every variable that the formula assigns, in order of first assignment.

    Doubles come back as floats; strings, times, intervals and vectors as text. Raises FormulaError with code
    `AutoScalingFormulaSyntaxError`, `AutoScaleFormulaTooLong`, or `AutoScalingFormulaEvaluationError` for what is
    only seen when it runs; the message names the line.
    """
    scope: dict[str, Value] = dict(_known(samples))
    assigned: dict[str, float | str] = {}
    for statement in parse(formula):
        try:
            value = _run(statement, scope, samples)
        except StopEvaluation:
            break
        scope[statement.name] = value
        assigned[statement.name] = _shown(value)
    return assigned


def with_parameters(formula: str, parameters: Mapping[str, float]) -> str:
    """The formula with the numbers of top-level `name = number;` lines replaced.

    Raises FormulaError when a name does not stand on such a line exactly once.
    """
    lines = formula.splitlines()
    for name, number in parameters.items():
        matching = [i for i, line in enumerate(lines) if line.split("=")[0].strip() == name and "=" in line]
        if len(matching) != 1:
            raise failed(f"The parameter {name!r} is assigned {len(matching)} times; once is expected")
        old = lines[matching[0]].split("=", 1)[1].strip().split()[0].rstrip(";")
        lines[matching[0]] = lines[matching[0]].replace(f"= {old}", f"= {number:g}", 1)
    return "\n".join(lines) + "\n"


def rendered(results: Mapping[str, float | str]) -> str:
    """The results as the service writes them: `$TargetDedicatedNodes=1;...`."""
    return ";".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in results.items()
    )


def _run(statement: Assignment, scope: Mapping[str, Value], samples: Samples) -> Value:
    if statement.name.startswith("$") and statement.name not in WRITABLE_VARIABLES:
        raise failed(f"Line {statement.line}: {statement.name} cannot be assigned")
    try:
        value = _evaluate(statement.expression, scope, samples)
    except FormulaError as error:
        raise FormulaError(error.code, f"Line {statement.line}: {error}") from error
    if isinstance(value, Series):
        raise failed(f"Line {statement.line}: {value.name} needs a method such as GetSample")
    return _checked_target(statement, value)


def _checked_target(statement: Assignment, value: Value) -> Value:
    """A target's value, refused when the service could not use it: counts are numbers, options are known."""
    if statement.name == "$NodeDeallocationOption":
        if value not in DEALLOCATION_OPTIONS:
            raise failed(f"Line {statement.line}: $NodeDeallocationOption is one of {DEALLOCATION_OPTIONS}")
        return value
    if statement.name in WRITABLE_VARIABLES:
        return as_double(value, statement.name)
    return value


def _known(samples: Samples) -> dict[str, Value]:
    known: dict[str, Value] = {name: name for name in DEALLOCATION_OPTIONS}
    known.update({f"TimeInterval_{name}": length for name, length in _INTERVALS.items()})
    known.update({name: Series(name, tuple(samples.series.get(name, ()))) for name in SAMPLED_VARIABLES})
    known.update({name: float(value) for name, value in samples.constants.items()})
    return known


def _evaluate(expression: Expression, scope: Mapping[str, Value], samples: Samples) -> Value:
    match expression:
        case Number(value) | Text(value):
            return value
        case Name(name):
            if name not in scope:
                raise failed(f"{name} is not defined")
            return scope[name]
        case Unary(sign, operand):
            return _unary(sign, _evaluate(operand, scope, samples))
        case Choice(condition, if_true, if_false):
            chosen = if_true if as_double(_evaluate(condition, scope, samples), "a condition") else if_false
            return _evaluate(chosen, scope, samples)
        case Binary(sign, left, right):
            return _binary(sign, _evaluate(left, scope, samples), _evaluate(right, scope, samples))
        case Member(subject, member):
            return _member(_evaluate(subject, scope, samples), member)
        case Call(function, arguments, subject):
            values = [_evaluate(argument, scope, samples) for argument in arguments]
            if subject is not None:
                return call_method(_evaluate(subject, scope, samples), function, values, samples.now)
            return call_function(function, values, samples)


def _unary(sign: str, value: Value) -> Value:
    if sign == "-" and isinstance(value, timedelta):
        return -value
    number = as_double(value, f"the operand of {sign}")
    return -number if sign == "-" else float(number == 0)


def _binary(sign: str, left: Value, right: Value) -> Value:
    if sign in ("&&", "||"):
        truths = [as_double(side, f"an operand of {sign}") != 0 for side in (left, right)]
        return float(all(truths) if sign == "&&" else any(truths))
    if sign in _COMPARISONS:
        return _compare(sign, left, right)
    match left, right:
        case float(), float():
            return _arithmetic(sign, left, right)
        case tuple(), float():
            return tuple(_arithmetic(sign, one, right) for one in left)
        case tuple(), tuple() if len(left) == len(right):
            return tuple(_arithmetic(sign, one, other) for one, other in zip(left, right, strict=True))
    return _time_arithmetic(sign, left, right)


def _arithmetic(sign: str, left: float, right: float) -> float:
    if sign == "/" and right == 0:
        raise failed("division by zero")
    return _ARITHMETIC[sign](left, right)


def _time_arithmetic(sign: str, left: Value, right: Value) -> Value:
    match sign, left, right:
        case "*", float(), timedelta():
            return left * right
        case "*", timedelta(), float():
            return left * right
        case "/", timedelta(), float() if right:
            return left / right
        case "+", timedelta(), timedelta():
            return left + right
        case "-", timedelta(), timedelta():
            return left - right
        case "+", datetime(), timedelta():
            return left + right
        case "+", timedelta(), datetime():
            return right + left
        case "-", datetime(), datetime():
            return left - right
    raise failed(f"{kind_of(left)} {sign} {kind_of(right)} is not an operation of the language")


def _compare(sign: str, left: Value, right: Value) -> float:
    if isinstance(left, tuple | Series) or type(left) is not type(right):
        raise failed(f"{kind_of(left)} {sign} {kind_of(right)} is not an operation of the language")
    return float(_COMPARISONS[sign](left, right))


def _member(subject: Value, member: str) -> float:
    if not isinstance(subject, datetime):
        raise failed(f"{kind_of(subject)} has no member {member!r}")
    if member == "weekday":
        return float(subject.isoweekday() % 7)  # documented by example only: 1 is Monday
    if member not in ("year", "month", "day", "hour", "minute", "second"):
        raise failed(f"a timestamp has no member {member!r}")
    return float(getattr(subject, member))


def _shown(value: Value) -> float | str:
    if isinstance(value, float | str):
        return value
    if isinstance(value, tuple):
        return f"[{','.join(f'{number:g}' for number in value)}]"
    return value.isoformat() if isinstance(value, datetime) else str(value)


_INTERVALS: Final[Mapping[str, timedelta]] = MappingProxyType(
    {
        "Zero": timedelta(0),
        "Microsecond": timedelta(microseconds=1),
        "Millisecond": timedelta(milliseconds=1),
        "Second": timedelta(seconds=1),
        "Minute": timedelta(minutes=1),
        "Hour": timedelta(hours=1),
        "Day": timedelta(days=1),
        "Week": timedelta(weeks=1),
        "Year": timedelta(days=365),
    }
)
_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = MappingProxyType(
    {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
)
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {
        "<": operator.lt,
        "<=": operator.le,
        "==": operator.eq,
        ">=": operator.ge,
        ">": operator.gt,
        "!=": operator.ne,
    }
)
