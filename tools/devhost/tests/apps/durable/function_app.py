# mypy: ignore-errors
# ruff: noqa: PERF401  # kept as it was recorded
"""Orchestrations that exercise an engine: one per behaviour, with small activities. Runs on any Functions host."""

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
MARKS = Path(os.environ.get("MARKS") or Path(tempfile.gettempdir()) / "devhost_marks")


@app.activity_trigger(input_name="x")
def echo(x):
    return x


@app.activity_trigger(input_name="x")
def add_one(x: int):
    return x + 1


@app.activity_trigger(input_name="x")
def boom(x: str):
    raise ValueError(f"boom: {x}")


@app.activity_trigger(input_name="x")
def nap(x: dict):
    time.sleep(x["s"])
    return x["name"]


@app.activity_trigger(input_name="x")
def flaky(x: dict):
    """Fails until it was called `until` times under this key."""
    MARKS.mkdir(exist_ok=True)
    mark = MARKS / x["key"]
    n = int(mark.read_text()) + 1 if mark.exists() else 1
    mark.write_text(str(n))
    if n < x["until"]:
        raise RuntimeError(f"try {n}")
    return {"key": x["key"], "tries": n}


@app.activity_trigger(input_name="x")
def shapes(x: str):
    return {
        "none": None,
        "float": 1.5,
        "small": 1e-07,
        "big": 12345678901234567890,
        "int": 7,
        "text": 'grüße\n\t"q"',
        "list": [1, "a", None],
        "dict": {"a": {"b": [True]}},
        "date": "2026-11-28T10:00:00Z",
    }[x]


def orchestration(fn):
    app.orchestration_trigger(context_name="context")(fn)
    return fn


@orchestration
def chain(context: df.DurableOrchestrationContext):
    x = context.get_input() or 0
    for _ in range(3):
        x = yield context.call_activity("add_one", x)
    return x


@orchestration
def fan(context: df.DurableOrchestrationContext):
    n = context.get_input()["n"]
    got = yield context.task_all([context.call_activity("add_one", i) for i in range(n)])
    return sum(got)


@orchestration
def any_of(context: df.DurableOrchestrationContext):
    slow = context.call_activity("nap", {"s": 3, "name": "slow"})
    fast = context.call_activity("nap", {"s": 0.1, "name": "fast"})
    winner = yield context.task_any([slow, fast])
    return winner.result


@orchestration
def two_timers(context: df.DurableOrchestrationContext):
    start = context.current_utc_datetime
    yield context.create_timer(start + timedelta(seconds=1))
    yield context.create_timer(start - timedelta(seconds=5))
    return (context.current_utc_datetime - start).total_seconds() >= 1


@orchestration
def event_or_timer(context: df.DurableOrchestrationContext):
    s = context.get_input()["s"]
    event = context.wait_for_external_event("go")
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=s))
    winner = yield context.task_any([event, timer])
    if winner is event:
        timer.cancel()
        return {"event": event.result}
    return "timed out"


@orchestration
def three_events(context: df.DurableOrchestrationContext):
    got = []
    for _ in range(3):
        got.append((yield context.wait_for_external_event("e")))
    return got


@orchestration
def events_by_name(context: df.DurableOrchestrationContext):
    a = context.wait_for_external_event("A")
    b = context.wait_for_external_event("B")
    got = yield context.task_all([a, b])
    return got


@orchestration
def wait_late(context: df.DurableOrchestrationContext):
    yield context.call_activity("nap", {"s": 1.5, "name": "x"})
    one = yield context.wait_for_external_event("early")
    return one


@orchestration
def parent(context: df.DurableOrchestrationContext):
    a = yield context.call_sub_orchestrator("chain", 5)
    b = yield context.call_sub_orchestrator("chain", 7, context.instance_id + "-child")
    return [a, b, context.parent_instance_id]


@orchestration
def child_id(context: df.DurableOrchestrationContext):
    yield context.call_activity("echo", "x")
    return {"parent": context.parent_instance_id is not None, "own": context.instance_id}


@orchestration
def grandparent(context: df.DurableOrchestrationContext):
    got = yield context.task_all([context.call_sub_orchestrator("fan", {"n": 3}) for _ in range(4)])
    return got


@orchestration
def failing(context: df.DurableOrchestrationContext):
    yield context.call_activity("boom", "grüße\nzeile zwei")


@orchestration
def caught(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("boom", "inner")
    except Exception as error:
        text = str(error)
    after = yield context.call_activity("add_one", 1)
    return [text.split(" \n ")[0], after]


@orchestration
def failing_child(context: df.DurableOrchestrationContext):
    yield context.call_sub_orchestrator("failing")


@orchestration
def caught_child(context: df.DurableOrchestrationContext):
    try:
        yield context.call_sub_orchestrator("failing")
    except Exception as error:
        return str(error).split(" \n ")[0]


@orchestration
def raises_first(context: df.DurableOrchestrationContext):
    raise KeyError("before any yield")
    yield


@orchestration
def raises_later(context: df.DurableOrchestrationContext):
    yield context.call_activity("add_one", 1)
    raise ArithmeticError("after a yield")


@orchestration
def retried(context: df.DurableOrchestrationContext):
    x = context.get_input()
    got = yield context.call_activity_with_retry(
        "flaky", df.RetryOptions(500, x["most"]), {"key": x["key"], "until": x["until"]}
    )
    after = yield context.call_activity("add_one", 10)
    return [got, after]


@orchestration
def retried_child(context: df.DurableOrchestrationContext):
    x = context.get_input()
    got = yield context.call_sub_orchestrator_with_retry("flaky_child", df.RetryOptions(500, 3), x)
    return got


@orchestration
def flaky_child(context: df.DurableOrchestrationContext):
    got = yield context.call_activity("flaky", context.get_input())
    return got


@orchestration
def fan_of_retries(context: df.DurableOrchestrationContext):
    """The pattern whose numbering differs between SDK and extension."""
    x = context.get_input()
    options = df.RetryOptions(300, 3)
    got = yield context.task_all(
        [
            context.call_activity_with_retry("flaky", options, {"key": f"{x['key']}-{i}", "until": until})
            for i, until in enumerate([1, 3, 2])
        ]
    )
    after = yield context.call_activity("add_one", 10)
    return [got, after]


@orchestration
def fan_with_failure(context: df.DurableOrchestrationContext):
    try:
        yield context.task_all(
            [
                context.call_activity("nap", {"s": 1, "name": "a"}),
                context.call_activity("boom", "b"),
                context.call_activity("nap", {"s": 0.2, "name": "c"}),
            ]
        )
    except Exception as error:
        text = str(error).split(" \n ")[0]
    after = yield context.call_activity("echo", "after")
    return [text, after]


@orchestration
def again(context: df.DurableOrchestrationContext):
    x = context.get_input()
    x["sum"] = yield context.call_activity("add_one", x["sum"])
    if x["left"]:
        x["left"] -= 1
        context.continue_as_new(x)
        return
    return x


@orchestration
def statuses(context: df.DurableOrchestrationContext):
    context.set_custom_status("one")
    yield context.call_activity("add_one", 1)
    context.set_custom_status({"two": [1, 2, {"x": None}]})
    yield context.call_activity("add_one", 1)
    return "done"


@orchestration
def huge_status(context: df.DurableOrchestrationContext):
    context.set_custom_status("x" * 20000)
    yield context.call_activity("add_one", 1)
    return "done"


@orchestration
def returns_input(context: df.DurableOrchestrationContext):
    yield context.call_activity("echo", 1)
    return {"input": context.get_input(), "name": context.function_context and None}


@orchestration
def returns_none(context: df.DurableOrchestrationContext):
    yield context.call_activity("echo", 1)


@orchestration
def returns_large(context: df.DurableOrchestrationContext):
    got = yield context.call_activity("echo", "y" * context.get_input()["n"])
    return got


@orchestration
def all_shapes(context: df.DurableOrchestrationContext):
    got = {}
    for kind in ("none", "float", "small", "int", "text", "list", "dict", "date"):
        got[kind] = yield context.call_activity("shapes", kind)
    return got


@orchestration
def big_int(context: df.DurableOrchestrationContext):
    got = yield context.call_activity("shapes", "big")
    return got


@orchestration
def unserialisable(context: df.DurableOrchestrationContext):
    yield context.call_activity("echo", 1)
    return {1, 2}


@orchestration
def nested(context: df.DurableOrchestrationContext):
    inner = context.task_all([context.call_activity("add_one", 1), context.call_activity("add_one", 2)])
    slow = context.create_timer(context.current_utc_datetime + timedelta(seconds=60))
    winner = yield context.task_any([inner, slow])
    if winner is inner:
        slow.cancel()
    return inner.result


@orchestration
def ids(context: df.DurableOrchestrationContext):
    a, b = context.new_uuid(), context.new_uuid()
    yield context.call_activity("echo", "x")
    c = context.new_uuid()
    return [len({a, b, c}), len(a)]


@orchestration
def versions(context: df.DurableOrchestrationContext):
    yield context.call_activity("echo", "x")
    return context.version


@orchestration
def long_timer(context: df.DurableOrchestrationContext):
    yield context.create_timer(context.current_utc_datetime + timedelta(days=10))
    return "late"


@orchestration
def forever(context: df.DurableOrchestrationContext):
    yield context.wait_for_external_event("never")
    return "ended"


@orchestration
def unknown_activity(context: df.DurableOrchestrationContext):
    yield context.call_activity("no_such_thing", 1)


@orchestration
def unknown_child(context: df.DurableOrchestrationContext):
    yield context.call_sub_orchestrator("no_such_flow", 1)


@orchestration
def changes_mind(context: df.DurableOrchestrationContext):
    MARKS.mkdir(exist_ok=True)
    mark = MARKS / ("mind-" + context.instance_id)
    second = mark.exists()
    mark.write_text("x")
    yield context.call_activity("echo" if not second else "add_one", 1)
    return "done"


@orchestration
def signals(context: df.DurableOrchestrationContext):
    """Waits for one event in a loop with a timer behind it, as code does that falls back on a timer."""
    got = []
    for n in range(3):
        event = context.wait_for_external_event(f"shards-{n}")
        timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=30))
        context.set_custom_status({"wait": n})
        winner = yield context.task_any([event, timer])
        if winner is event:
            timer.cancel()
        got.append("event" if winner is event else "timer")
    return got
