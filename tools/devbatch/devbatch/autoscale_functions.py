"""Values, samples and functions of the autoscale language; pure.

The types are double, doubleVec, string, timestamp and timeinterval, as the service documents them.
"""

import math
import random
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

from devbatch.autoscale_grammar import FormulaError

SAMPLE_PERIOD_S: Final = 30.0
_YEAR_OR_MONTH: Final = re.compile(r"\d{4}(-\d\d)?")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value, `age_s` seconds before the moment of evaluation."""

    age_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Samples:
    """The input of a formula at one moment.

    `series` holds the samples of each `$Variable`, oldest first; one that is absent has none. `constants`
    holds variables that have a plain value, such as `$TaskSlotsPerNode`. A sample covers 30 seconds.
    """

    series: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    now: datetime = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Series:
    """A sampled variable as a value, before one of its methods is called.

    `present` is what it counts now, for the variables that are also plain numbers; None for the others.
    """

    name: str
    samples: tuple[Sample, ...]
    present: float | None = None


Vector: TypeAlias = tuple[float, ...]
Value: TypeAlias = float | Vector | str | datetime | timedelta | Series


class StopEvaluation(Exception):  # noqa: N818 - not an error: a statement of the formula
    """The formula called `stop()`: the values assigned so far are the result."""


def call_method(subject: Value, method: str, values: Sequence[Value], now: datetime) -> Value:
    """One of the methods of a sampled variable; the newest sample stands last in what they return.

    Raises FormulaError when the subject has no such method or the arguments do not fit it.
    """
    if not isinstance(subject, Series):
        raise failed(f"{kind_of(subject)} has no method {method!r}")
    match method, values:
        case "GetSample", [float(count)]:
            return tuple(sample.value for sample in subject.samples[-int(count) :]) if count >= 1 else ()
        case "GetSample", [timedelta() | datetime(), *_]:
            return _window_values(subject, values, now)
        case "GetSamplePercent", [timedelta() | datetime(), *_]:
            start, end, _ = _window(values, now)
            return _sample_percent(_within(subject, start, end), start, end)
        case "GetSamplePeriod", []:
            return timedelta(seconds=SAMPLE_PERIOD_S)
        case "Count", []:
            return float(len(subject.samples))
        case "HistoryBeginTime", []:
            return now - timedelta(seconds=max((sample.age_s for sample in subject.samples), default=0.0))
    raise failed(f"{subject.name}.{method} does not take {', '.join(map(kind_of, values)) or 'no arguments'}")


def _window_values(subject: Series, values: Sequence[Value], now: datetime) -> Vector:
    start, end, needed_percent = _window(values, now)
    found = _within(subject, start, end)
    percent = _sample_percent(found, start, end)
    if percent < needed_percent:
        raise failed(f"{subject.name} has {percent:g} % of the samples; {needed_percent:g} % are required")
    return tuple(sample.value for sample in found)


def _window(values: Sequence[Value], now: datetime) -> tuple[float, float, float]:
    """(oldest age, youngest age, needed percent) of `(from)` or `(from, to)`, either with a percentage.

    Both ends are intervals before now, or times.
    """
    spans = [now - value if isinstance(value, datetime) else value for value in values]
    ages = [span.total_seconds() for span in spans if isinstance(span, timedelta)]
    percents = [value for value in values if isinstance(value, float)]
    if len(ages) > 2 or len(percents) > 1 or len(ages) + len(percents) != len(values):
        raise failed("a window is one or two time intervals or times, and at most one percentage")
    return max(ages), (min(ages) if len(ages) == 2 else 0.0), (percents[0] if percents else 0.0)


def _within(subject: Series, start_s: float, end_s: float) -> list[Sample]:
    return [sample for sample in subject.samples if end_s <= sample.age_s <= start_s]


def _sample_percent(found: Sequence[Sample], start_s: float, end_s: float) -> float:
    expected = max(1.0, (start_s - end_s) / SAMPLE_PERIOD_S)
    return min(100.0, 100.0 * len(found) / expected)


def call_function(function: str, values: Sequence[Value], samples: Samples) -> Value:
    """The result of one of the language's functions; raises FormulaError where it is not defined."""
    if function == "stop":
        raise StopEvaluation
    if function == "rand":
        return random.random()  # noqa: S311 - the language's own rand(), not a secret
    if function == "time":
        return _time(values, samples)
    if function == "val":
        return _val(values)
    if function == "percentile":
        return _percentile(values)
    if function in _SCALAR:
        if len(values) != 1:
            raise failed(f"{function} takes one argument, not {len(values)}")
        return _scalar(function, values[0])
    if function in _REDUCTIONS:
        return _reduce(function, _flat(values))
    raise failed(f"there is no function {function!r}")


def _scalar(function: str, value: Value) -> Value:
    """A function of one double; over a doubleVec it works on each element."""
    numbers = value if isinstance(value, tuple) else (as_double(value, f"the argument of {function}"),)
    try:
        results = tuple(float(_SCALAR[function](number)) for number in numbers)
    except ValueError as error:
        raise failed(f"{function} is not defined there: {error}") from error
    return results if isinstance(value, tuple) else results[0]


def _reduce(function: str, numbers: Vector) -> float:
    if not numbers and function not in ("len", "sum"):
        raise failed(f"{function} of no values; there were no samples")
    return float(_REDUCTIONS[function](numbers))


def _time(values: Sequence[Value], samples: Samples) -> datetime:
    if not values:
        return samples.now
    if len(values) == 1 and isinstance(values[0], str):
        return _moment(values[0])
    raise failed("time takes nothing or one string")


def _moment(text: str) -> datetime:
    """The time that a text gives in W3C-DTF, a year or month alone included, or RFC 1123.

    UTC without a zone.
    """
    padded = text + "-01-01"[3 * text.count("-") :] if _YEAR_OR_MONTH.fullmatch(text) else text
    for read in (datetime.fromisoformat, _rfc_1123):
        try:
            moment = read(padded)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise failed(f'time("{text}") is not a time in W3C-DTF or RFC 1123')


def _rfc_1123(text: str) -> datetime:
    return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)


def _val(values: Sequence[Value]) -> float:
    match values:
        case [tuple(vector), float(index)] if 0 <= index < len(vector):
            return float(vector[int(index)])
    raise failed("val takes a doubleVec and the index of one of its values")


def _percentile(values: Sequence[Value]) -> float:
    match values:
        case [tuple(vector), float(percent)] if vector and 0 <= percent <= 100:
            ordered = sorted(vector)
            position = (len(ordered) - 1) * percent / 100
            low = ordered[math.floor(position)]
            return float(low + (ordered[math.ceil(position)] - low) * (position % 1))
    raise failed("percentile takes a doubleVec with values and a percentage")


def _flat(values: Iterable[Value]) -> Vector:
    numbers: list[float] = []
    for value in values:
        numbers.extend(value if isinstance(value, tuple) else [as_double(value, "an argument")])
    return tuple(numbers)


def as_double(value: Value, what: str) -> float:
    """The value when it is a double; raises FormulaError naming `what` when it is not."""
    if isinstance(value, float):
        return value
    raise failed(f"{what} must be a double, not {kind_of(value)}")


def kind_of(value: Value) -> str:
    """The language's word for the type of a value."""
    names = {
        float: "double",
        tuple: "doubleVec",
        str: "string",
        datetime: "timestamp",
        timedelta: "timeinterval",
    }
    return names.get(type(value), "a sampled variable")


def failed(problem: str) -> FormulaError:
    """The error of a formula that parses and cannot be evaluated."""
    return FormulaError("AutoScalingFormulaEvaluationError", problem)


_SCALAR: Final[Mapping[str, Callable[[float], float]]] = MappingProxyType(
    {
        "ceil": math.ceil,
        "floor": math.floor,
        "round": round,
        "lg": math.log2,
        "ln": math.log,
        "log": math.log10,
    }
)
_REDUCTIONS: Final[Mapping[str, Callable[[Vector], float]]] = MappingProxyType(
    {
        "avg": statistics.fmean,
        "len": len,
        "max": max,
        "min": min,
        "norm": lambda numbers: math.hypot(*numbers),
        "range": lambda numbers: max(numbers) - min(numbers),
        "std": lambda numbers: statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
        "sum": math.fsum,
    }
)
