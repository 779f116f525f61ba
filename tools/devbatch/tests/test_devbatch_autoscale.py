"""The autoscale language: what the shipped formula decides, and what the evaluator refuses."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbatch.autoscale import (
    FormulaError,
    Sample,
    Samples,
    evaluate,
    parse,
    rendered,
    with_parameters,
)

FORMULA = (Path(__file__).parents[3] / "infra" / "autoscale.formula").read_text()
Points = list[tuple[float, float]]


def steady(value: float, minutes: float = 60, until_min: float = 0) -> Points:
    """A value held from `minutes` ago until `until_min` ago, one point every 30 seconds, oldest first."""
    first, last = int(minutes * 2), int(until_min * 2)
    return [(30.0 * step, value) for step in range(first, last, -1)]


def seen(slots: float = 4, **series: Points) -> Samples:
    """Samples of pending, active, running and preempted counts, given as (age in seconds, value)."""
    names = {
        "pending": "$PendingTasks",
        "active": "$ActiveTasks",
        "running": "$RunningTasks",
        "preempted": "$PreemptedNodeCount",
    }
    return Samples(
        series={
            names[name]: [Sample(age, value) for age, value in points] for name, points in series.items()
        },
        constants={"$TaskSlotsPerNode": slots},
    )


def tasks(pending: Points, active: Points, running: Points, preempted: float = 0) -> Samples:
    return seen(pending=pending, active=active, running=running, preempted=steady(preempted))


IDLE = steady(0)
DECISIONS = {
    "no samples": (seen(), (0, 0)),
    "idle for an hour": (tasks(IDLE, IDLE, IDLE), (0, 0)),
    "100 tasks just in": (
        tasks([*steady(0, until_min=0.5), (30, 100)], [*steady(0, until_min=0.5), (30, 100)], IDLE),
        (1, 20),
    ),
    "60 running, 20 queued": (tasks(steady(80), steady(20), steady(60)), (1, 19)),
    "10,000 just in": (
        tasks([*steady(0, until_min=0.5), (30, 10000)], [*steady(0, until_min=0.5), (30, 10000)], IDLE),
        (1, 20),
    ),
    "done 10 minutes ago": (
        tasks(steady(40, until_min=10) + steady(0, 10), steady(0), steady(40, until_min=10) + steady(0, 10)),
        (0, 2),
    ),
    "done 40 minutes ago": (
        tasks(steady(40, until_min=40) + steady(0, 40), steady(0), steady(40, until_min=40) + steady(0, 40)),
        (0, 0),
    ),
    "3 preempted, 40 pending": (tasks(steady(40), steady(12), steady(28), preempted=3), (3, 7)),
    "stalled for 15 minutes": (tasks(steady(40), steady(40), steady(0)), (4, 6)),
    "1 task": (tasks(steady(1), steady(0), steady(1)), (1, 1)),
    "half the samples missing": (tasks(steady(40)[::2], steady(10)[::2], steady(30)[::2]), (1, 9)),
}


@pytest.mark.parametrize(("samples", "expected"), DECISIONS.values(), ids=DECISIONS.keys())
def test_shipped_formula_decides(samples: Samples, expected: tuple[int, int]) -> None:
    """In each situation the shipped formula asks for the stated dedicated and Spot nodes, draining by task."""
    results = evaluate(FORMULA, samples)
    assert [results["$TargetDedicatedNodes"], results["$TargetLowPriorityNodes"]] == list(expected)
    assert results["$NodeDeallocationOption"] == "taskcompletion"


@given(
    pending=st.integers(0, 100_000),
    running=st.integers(0, 100_000),
    preempted=st.integers(0, 50),
    slots=st.integers(1, 16),
    max_spot=st.integers(0, 50),
    max_dedicated=st.integers(0, 10),
)
def test_shipped_formula_stays_in_its_bounds(
    pending: int, running: int, preempted: int, slots: int, max_spot: int, max_dedicated: int
) -> None:
    """Whatever the load, targets are whole, never negative, and never above the two maxima."""
    formula = with_parameters(FORMULA, {"maxSpot": max_spot, "maxDedicated": max_dedicated})
    samples = seen(
        slots,
        pending=steady(pending),
        active=steady(max(0, pending - running)),
        running=steady(min(running, pending)),
        preempted=steady(preempted),
    )
    results = evaluate(formula, samples)
    dedicated, spot = results["$TargetDedicatedNodes"], results["$TargetLowPriorityNodes"]
    assert isinstance(dedicated, float) and isinstance(spot, float)
    assert 0 <= dedicated <= max_dedicated and dedicated == int(dedicated)
    assert 0 <= spot <= max_spot and spot == int(spot)
    assert (dedicated + spot == 0) == (pending == 0 or max_spot + max_dedicated == 0)


def test_zero_warm_nodes_scale_to_zero_at_once() -> None:
    """With `warmNodes = 0` a pool whose work is done goes to no nodes at the next evaluation."""
    samples, _ = DECISIONS["done 10 minutes ago"]
    results = evaluate(with_parameters(FORMULA, {"warmNodes": 0}), samples)
    assert results["$TargetLowPriorityNodes"] == 0


def test_parameters_keep_units_and_refuse_unknown_names() -> None:
    """A parameter keeps what follows its number; a name that is not in the formula is an error."""
    assert "warmWindow = 5 * TimeInterval_Minute;" in with_parameters(FORMULA, {"warmWindow": 5})
    with pytest.raises(FormulaError, match="'maxSpott' is assigned 0 times"):
        with_parameters(FORMULA, {"maxSpott": 1})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("-2 * -3", 6.0),
        ("!0 + !7", 1.0),
        ("1 < 2 && 2 <= 2 || 0", 1.0),
        ("0 ? 1 : 0 ? 2 : 3", 3.0),
        ("0 ? avg($PendingTasks.GetSample(1)) : 7", 7.0),
        ('"abc" == "abc"', 1.0),
        ("max(1, $ActiveTasks.GetSample(2), 3)", 8.0),
        ("len($ActiveTasks.GetSample(2))", 2.0),
        ("sum($ActiveTasks.GetSample(2) * 2)", 28.0),
        ("val($ActiveTasks.GetSample(3), 0)", 4.0),
        ("percentile($ActiveTasks.GetSample(3), 50)", 6.0),
        ("std($ActiveTasks.GetSample(2)) + range($ActiveTasks.GetSample(3))", 5.0),
        ("norm(3, 4)", 5.0),
        ("ceil(1.2) + floor(1.8) + round(1.6)", 5.0),
        ("lg(8) + ln(1) + log(100)", 5.0),
        ("$ActiveTasks.Count()", 3.0),
        ("$ActiveTasks.GetSamplePercent(1.5 * TimeInterval_Minute)", 100.0),
        ("$ActiveTasks.GetSamplePercent(TimeInterval_Minute * 3)", 50.0),
        ("$ActiveTasks.GetSamplePeriod() == 30 * TimeInterval_Second", 1.0),
        ("avg($ActiveTasks.GetSample(TimeInterval_Minute, 50))", 7.0),
        ("avg($ActiveTasks.GetSample(TimeInterval_Minute * 2, TimeInterval_Minute))", 5.0),
        ("time() - $ActiveTasks.HistoryBeginTime() == 90 * TimeInterval_Second", 1.0),
        ("time().hour * 100 + time().weekday", 1305.0),
        ('time("2026-11-20T13:00:00") == time()', 1.0),
        ("rand() >= 0 && rand() < 1", 1.0),
    ],
)
def test_expressions(expression: str, expected: float) -> None:
    """Each operator, function and sample method of the language gives its documented result."""
    samples = Samples(
        series={"$ActiveTasks": [Sample(90, 4), Sample(60, 6), Sample(30, 8)]},
        now=datetime(2026, 11, 20, 13, tzinfo=UTC),
    )
    assert evaluate(f"x = {expression};", samples)["x"] == expected


@pytest.mark.parametrize(
    ("formula", "code", "message"),
    [
        ("x = 5 % 2;", "AutoScalingFormulaSyntaxError", "Line 1: the character '%'"),
        ("x = 1;\ny = 2", "AutoScalingFormulaSyntaxError", "Line 2: ';' is expected"),
        ("x = (1;", "AutoScalingFormulaSyntaxError", "'\\)' is expected before ';'"),
        ("5 = x;", "AutoScalingFormulaSyntaxError", "starts with a name"),
        ("x = ;", "AutoScalingFormulaSyntaxError", "a value is expected, not ';'"),
        ("x = 1;" * 101, "AutoScalingFormulaSyntaxError", "101 statements"),
        ("//" + "x" * 9000, "AutoScaleFormulaTooLong", "9002 bytes"),
        ("x = y;", "AutoScalingFormulaEvaluationError", "y is not defined"),
        ("x = 1 / 0;", "AutoScalingFormulaEvaluationError", "division by zero"),
        ("x = avg($PendingTasks.GetSample(1));", "AutoScalingFormulaEvaluationError", "no samples"),
        ("x = $PendingTasks;", "AutoScalingFormulaEvaluationError", "needs a method"),
        ("$CPUPercent = 1;", "AutoScalingFormulaEvaluationError", "cannot be assigned"),
        ("x = foo(1);", "AutoScalingFormulaEvaluationError", "no function 'foo'"),
        ("x = ceil(1, 2);", "AutoScalingFormulaEvaluationError", "takes one argument"),
        ('x = 1 + "a";', "AutoScalingFormulaEvaluationError", "double \\+ string"),
        ("x = TimeInterval_Hour * TimeInterval_Hour;", "AutoScalingFormulaEvaluationError", "timeinterval"),
        ("$TargetDedicatedNodes = TimeInterval_Hour;", "AutoScalingFormulaEvaluationError", "double"),
        ("$NodeDeallocationOption = later;", "AutoScalingFormulaEvaluationError", "later is not defined"),
        ('$NodeDeallocationOption = "later";', "AutoScalingFormulaEvaluationError", "is one of"),
        ("x = $ActiveTasks.GetSample(TimeInterval_Hour, 70);", "AutoScalingFormulaEvaluationError", "70 %"),
    ],
)
def test_refusals_name_the_line_and_the_reason(formula: str, code: str, message: str) -> None:
    """What the language does not have is refused with the service's code and a message that says what to change."""
    with pytest.raises(FormulaError, match=message) as refused:
        evaluate(formula, Samples())
    assert refused.value.code == code


def test_stop_keeps_what_was_assigned_before() -> None:
    """`stop()` ends the evaluation; later statements do not run."""
    assert evaluate("x = 1; y = stop(); x = 2;", Samples()) == {"x": 1.0}


def test_results_are_rendered_as_the_service_writes_them() -> None:
    """Results read `$Name=value;...`, whole numbers without a point."""
    results = evaluate("$TargetDedicatedNodes = 2; $NodeDeallocationOption = requeue;", Samples())
    assert rendered(results) == "$TargetDedicatedNodes=2;$NodeDeallocationOption=requeue"


@given(st.text(alphabet="x$=;+-*/()?:.1 <>!&|\n", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """No input makes the parser fail with anything but FormulaError."""
    try:
        statements = parse(text)
    except FormulaError as error:
        assert error.code == "AutoScalingFormulaSyntaxError"
    else:
        assert len(statements) <= 100
