"""Evaluates autoscale formulas: samples in, values of every variable out; pure.

Follows the public description of Azure Batch autoscale formulas: there is no boolean (a comparison gives 1 or
0), no `%`, no `if`. Where the service's own arithmetic is not documented the evaluator refuses instead of
guessing.
"""

import math
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
DEFAULT_DEALLOCATION: Final = "requeue"
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
#: Sampled variables that are also read as a plain number: what is there now.
COUNTED_VARIABLES: Final = frozenset({"$CurrentDedicatedNodes", "$CurrentLowPriorityNodes"})
TARGETS: Final = ("$TargetDedicatedNodes", "$TargetLowPriorityNodes")
#: Names of the service that a formula cannot use for a variable of its own; the last ones were retired.
READ_ONLY_VARIABLES: Final = SAMPLED_VARIABLES | {
    "$TaskSlotsPerNode",
    "$WallClockSeconds",
    "$MemoryBytes",
    "$DiskBytes",
    "$DiskReadBytes",
    "$DiskWriteBytes",
    "$DiskReadOps",
    "$DiskWriteOps",
    "$NetworkInBytes",
    "$NetworkOutBytes",
    "$SampleNodeCount",
}
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"$TargetDedicated": "$TargetDedicatedNodes", "$TargetLowPriority": "$TargetLowPriorityNodes"}
)


def evaluate(formula: str, samples: Samples) -> dict[str, float | str]:
    """The value of every variable that the formula assigns, in order of first assignment.

    Doubles come back as floats; strings, times, intervals and vectors as text. An alias comes back under the
    full name; where a formula assigns both, the full name's value stands. Raises FormulaError with code
    `AutoScalingFormulaSyntaxError`, `AutoScaleFormulaTooLong`, or `AutoScalingFormulaEvaluationError` for
    what is only seen when it runs; the message names the line.
    """
    statements = parse(formula)
    full_names = {statement.name for statement in statements}
    scope: dict[str, Value] = dict(_known(samples))
    assigned: dict[str, float | str] = {}
    for statement in statements:
        name = ALIASES.get(statement.name, statement.name)
        try:
            value = _run(statement, name, scope, samples)
        except StopEvaluation:
            break
        if name == statement.name or name not in full_names:
            scope[name] = value
            assigned[name] = _shown(value)
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


def rendered(results: Mapping[str, float | str], *, dedicated: int = 0, spot: int = 0) -> str:
    """The results as the service writes them.

    Targets, deallocation option, then the formula's own variables by name.

    A target that the formula does not assign is shown as it is: `dedicated` and `spot` nodes.
    """
    shown: dict[str, float | str] = {
        "$TargetDedicatedNodes": float(dedicated),
        "$TargetLowPriorityNodes": float(spot),
        "$NodeDeallocationOption": DEFAULT_DEALLOCATION,
    }
    own = sorted((name for name in results if name not in shown), key=str.lower)
    shown |= {name: results[name] for name in (*shown, *own) if name in results}
    return ";".join(
        f"{name}={value:.15g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in shown.items()
    )


def _run(statement: Assignment, name: str, scope: Mapping[str, Value], samples: Samples) -> Value:
    if name in READ_ONLY_VARIABLES:
        raise failed(f"Line {statement.line}: {name} cannot be assigned")
    try:
        value = _evaluate(statement.expression, scope, samples)
    except FormulaError as error:
        raise FormulaError(error.code, f"Line {statement.line}: {error}") from error
    except (ArithmeticError, ValueError) as error:  # Python's own, of numbers and times out of range
        raise failed(f"Line {statement.line}: a value is out of range: {error}") from error
    except RecursionError as error:
        raise failed(f"Line {statement.line}: the expression is nested too deeply") from error
    if isinstance(value, Series):
        raise failed(f"Line {statement.line}: {value.name} needs a method such as GetSample")
    return _checked_target(name, value, statement.line)


def _checked_target(name: str, value: Value, line: int) -> Value:
    """A target's value, refused when the service could not use it: counts are numbers, options are known."""
    if name == "$NodeDeallocationOption":
        if value not in DEALLOCATION_OPTIONS:
            raise failed(f"Line {line}: $NodeDeallocationOption is one of {DEALLOCATION_OPTIONS}")
        return value
    if name in TARGETS and not math.isfinite(as_double(value, name)):
        raise failed(f"Line {line}: {name} must be a finite number, not {value}")
    return value


def _known(samples: Samples) -> dict[str, Value]:
    known: dict[str, Value] = {name: name for name in DEALLOCATION_OPTIONS}
    known.update({f"TimeInterval_{name}": length for name, length in _INTERVALS.items()})
    known.update({name: float(value) for name, value in samples.constants.items()})
    known.update({name: _series(name, samples) for name in SAMPLED_VARIABLES})
    return known


def _series(name: str, samples: Samples) -> Series:
    """A sampled variable, with its present value where it may be read as a number."""
    taken = tuple(samples.series.get(name, ()))
    if name not in COUNTED_VARIABLES:
        return Series(name, taken)
    present = samples.constants.get(name, taken[-1].value if taken else None)
    return Series(name, taken, None if present is None else float(present))


def _evaluate(expression: Expression, scope: Mapping[str, Value], samples: Samples) -> Value:
    match expression:
        case Number(value) | Text(value):
            return value
        case Name(name):
            return _number_of(_defined(name, scope))
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
            if subject is None:
                return call_function(function, values, samples)
            return call_method(_subject(subject, scope, samples), function, values, samples.now)


def _subject(expression: Expression, scope: Mapping[str, Value], samples: Samples) -> Value:
    """What a method is called on.

    A sampled variable stays one here, also where it may be read as a number.
    """
    if isinstance(expression, Name):
        return _defined(expression.name, scope)
    return _evaluate(expression, scope, samples)


def _defined(name: str, scope: Mapping[str, Value]) -> Value:
    name = ALIASES.get(name, name)
    if name not in scope:
        raise failed(f"{name} is not defined")
    return scope[name]


def _number_of(value: Value) -> Value:
    """The present value of a sampled variable that has one; any other value as it is."""
    return value.present if isinstance(value, Series) and value.present is not None else value


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
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


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
