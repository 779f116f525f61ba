"""The autoscale language: what a real formula decides, what is accepted, and what the evaluator refuses."""

from datetime import UTC, datetime, timedelta
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

FORMULA = (Path(__file__).parent / "spot_first.formula").read_text()
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
def test_real_formula_decides(samples: Samples, expected: tuple[int, int]) -> None:
    """In each situation the formula asks for the stated dedicated and Spot nodes, draining by task."""
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
def test_real_formula_stays_in_its_bounds(
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
        ("std(2, 4, 9) * std(2, 4, 9) + range($ActiveTasks.GetSample(3))", 17.0),
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
        ("x = 1\ny = 2;", "AutoScalingFormulaSyntaxError", "Line 2: ';' is expected"),
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
        ("$TaskSlotsPerNode = 1;", "AutoScalingFormulaEvaluationError", "cannot be assigned"),
        ("x = $CurrentDedicatedNodes;", "AutoScalingFormulaEvaluationError", "needs a method"),
        ('x = time("tomorrow");', "AutoScalingFormulaEvaluationError", "not a time in W3C-DTF or RFC 1123"),
        ("x = foo(1);", "AutoScalingFormulaEvaluationError", "no function 'foo'"),
        ("x = ceil(1, 2);", "AutoScalingFormulaEvaluationError", "takes one argument"),
        ('x = 1 + "a";', "AutoScalingFormulaEvaluationError", "double \\+ string"),
        ("x = TimeInterval_Hour * TimeInterval_Hour;", "AutoScalingFormulaEvaluationError", "timeinterval"),
        ("$TargetDedicatedNodes = TimeInterval_Hour;", "AutoScalingFormulaEvaluationError", "double"),
        ("$NodeDeallocationOption = later;", "AutoScalingFormulaEvaluationError", "later is not defined"),
        ('$NodeDeallocationOption = "later";', "AutoScalingFormulaEvaluationError", "is one of"),
        ("x = $ActiveTasks.GetSample(TimeInterval_Hour, 70);", "AutoScalingFormulaEvaluationError", "70 %"),
        ("x = " + "(" * 4000 + "1" + ")" * 4000 + ";", "AutoScalingFormulaSyntaxError", "nested too deeply"),
        ("y = 1;\nx = " + "-" * 8000 + "1;", "AutoScalingFormulaSyntaxError", "Line 2: .* too deeply"),
        ("x = 1" + "+1" * 4000 + ";", "AutoScalingFormulaEvaluationError", "Line 1: .* too deeply"),
        (
            "$TargetDedicatedNodes = 1e308 * 10;",
            "AutoScalingFormulaEvaluationError",
            "finite number, not inf",
        ),
        ("$TargetLowPriorityNodes = 1e999 - 1e999;", "AutoScalingFormulaEvaluationError", "not nan"),
        ("x = ceil(1e999);", "AutoScalingFormulaEvaluationError", "Line 1: a value is out of range"),
        ("x = sum(1e999, -1e999);", "AutoScalingFormulaEvaluationError", "out of range"),
        ("x = $ActiveTasks.GetSample(1e999);", "AutoScalingFormulaEvaluationError", "out of range"),
        ("x = time() + TimeInterval_Year * 9999;", "AutoScalingFormulaEvaluationError", "out of range"),
        ("x = TimeInterval_Year * 1e308;", "AutoScalingFormulaEvaluationError", "out of range"),
        ("x = ٣;", "AutoScalingFormulaSyntaxError", "not part of the language"),
    ],
)
def test_refusals_name_the_line_and_the_reason(formula: str, code: str, message: str) -> None:
    """A form that the language does not have is refused with the service's code, the line and the reason."""
    with pytest.raises(FormulaError, match=message) as refused:
        evaluate(formula, Samples())
    assert refused.value.code == code


def test_stop_keeps_what_was_assigned_before() -> None:
    """`stop()` ends the evaluation; later statements do not run."""
    assert evaluate("x = 1; y = stop(); x = 2;", Samples()) == {"x": 1.0}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("$TargetDedicatedNodes=2", {"$TargetDedicatedNodes": 2.0}),
        ("x = 1; // the last statement\ny = 2 // no end", {"x": 1.0, "y": 2.0}),
        ("$half = 3 / 2; whole = ceil($half);", {"$half": 1.5, "whole": 2.0}),
        (
            "$isWeekday = time().weekday >= 1 && time().weekday <= 5; $nodes = $isWeekday ? 20:10;",
            {"$isWeekday": 1.0, "$nodes": 20.0},
        ),
        ("$TargetDedicated = 3; x = $TargetDedicatedNodes;", {"$TargetDedicatedNodes": 3.0, "x": 3.0}),
        ("$TargetLowPriority = 4; x = $TargetLowPriority;", {"$TargetLowPriorityNodes": 4.0, "x": 4.0}),
        (
            "$TargetDedicatedNodes = 1; $TargetDedicated = 2; x = $TargetDedicated;",
            {"$TargetDedicatedNodes": 1.0, "x": 1.0},
        ),
        ("$TargetDedicatedNodes = $CurrentDedicatedNodes;", {"$TargetDedicatedNodes": 5.0}),
        ("x = min(400, $CurrentDedicatedNodes * 2) + max($CurrentDedicatedNodes.GetSample(1));", {"x": 13.0}),
        ("x = $CurrentLowPriorityNodes > 6 ? 1 : 0;", {"x": 1.0}),
    ],
)
def test_documented_forms_are_accepted(formula: str, expected: dict[str, float]) -> None:
    """Own variables may begin with `$`, the last `;` may be missing, aliases and node counts are values."""
    samples = Samples(
        series={"$CurrentDedicatedNodes": [Sample(60, 3)], "$CurrentLowPriorityNodes": [Sample(60, 7)]},
        constants={"$CurrentDedicatedNodes": 5},
        now=datetime(2026, 11, 20, 13, tzinfo=UTC),
    )
    assert evaluate(formula, samples) == expected


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Fri, 27 Nov 2026 11:00:00 GMT", datetime(2026, 11, 27, 11, tzinfo=UTC)),
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-11", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-27", datetime(2026, 11, 27, tzinfo=UTC)),
        ("2026-11-27T12:00+01:00", datetime(2026, 11, 27, 11, tzinfo=UTC)),
        ("2026-11-27T11:00:00.5Z", datetime(2026, 11, 27, 11, 0, 0, 500_000, UTC)),
    ],
)
def test_times_are_read_in_both_documented_forms(text: str, moment: datetime) -> None:
    """`time(text)` takes W3C-DTF and RFC 1123."""
    seconds = (moment - datetime(2026, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    formula = f'x = time("{text}") - time("2026-01-01") == {seconds} * TimeInterval_Second;'
    assert evaluate(formula, Samples()) == {"x": 1.0}


def test_windows_of_samples_take_times() -> None:
    """A window begins and ends at an interval before now or at a time, in either order."""
    samples = Samples(
        series={"$ActiveTasks": [Sample(90, 4), Sample(60, 6), Sample(30, 8)]},
        now=datetime(2026, 11, 20, 13, tzinfo=UTC),
    )
    since = 'time("2026-11-20T12:59:00Z")'
    formula = (
        f"x = sum($ActiveTasks.GetSample({since})); y = $ActiveTasks.GetSamplePercent({since});"
        f"z = sum($ActiveTasks.GetSample({since}, 2 * TimeInterval_Minute));"
    )
    assert evaluate(formula, samples) == {"x": 14.0, "y": 100.0, "z": 10.0}


def test_results_are_rendered_as_the_service_writes_them() -> None:
    """Targets and option come first, then own variables by name, with times in milliseconds and Z."""
    formula = "$TargetDedicatedNodes = 2; $now = time(); $busy = 1; $half = 0.5; count = 1234567;"
    results = evaluate(formula, Samples(now=datetime(2026, 11, 20, 13, tzinfo=UTC)))
    assert rendered(results, dedicated=7, spot=4) == (
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=4;$NodeDeallocationOption=requeue;"
        "$busy=1;$half=0.5;$now=2026-11-20T13:00:00.000Z;count=1234567"
    )


@given(st.text(alphabet="x$=;+-*/()?:.1 <>!&|\n", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """No input makes the parser fail with anything but FormulaError."""
    try:
        statements = parse(text)
    except FormulaError as error:
        assert error.code == "AutoScalingFormulaSyntaxError"
    else:
        assert len(statements) <= 100
