# mypy: ignore-errors
"""An app that uses every feature of the programming model which the local host promises."""

import asyncio
import json
import logging
import os
import time
from datetime import timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class Point:
    """A custom object that travels through activities."""

    def __init__(self, x: int) -> None:
        self.x = x

    @staticmethod
    def to_json(point: "Point") -> dict:
        return {"x": point.x}

    @staticmethod
    def from_json(document: dict) -> "Point":
        return Point(document["x"])


# -- endpoints ---------------------------------------------------------------------------------------------------------


@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    body = req.get_body()
    instance_id = await client.start_new(
        req.route_params["name"], req.params.get("id"), client_input=json.loads(body) if body else None
    )
    return client.create_check_status_response(req, instance_id)


@app.route(route="wait/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def wait(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = await client.start_new(
        req.route_params["name"], client_input=json.loads(req.get_body() or b"null")
    )
    return await client.wait_for_completion_or_create_check_status_response(req, instance_id, 20_000, 50)


@app.route(route="client/{verb}/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def use_client(req: func.HttpRequest, client) -> func.HttpResponse:
    """Call one method of the SDK's client and answer with what it returned."""
    verb, instance_id = req.route_params["verb"], req.route_params["id"]
    given = json.loads(req.get_body() or b"{}")
    try:
        result = await getattr(client, verb)(instance_id, **given)
    except Exception as error:
        return func.HttpResponse(
            json.dumps({"raised": f"{type(error).__name__}: {error}"}), mimetype="application/json"
        )
    value = result.to_json() if hasattr(result, "to_json") else getattr(result, "instances_deleted", result)
    return func.HttpResponse(json.dumps({"returned": value}, default=str), mimetype="application/json")


# -- activities ----------------------------------------------------------------------------------------------------


@app.activity_trigger(input_name="x")
def double(x: int) -> int:
    return 2 * x


@app.activity_trigger(input_name="x")
async def double_async(x: int) -> int:
    return 2 * x


@app.activity_trigger(input_name="message")
def boom(message: str) -> None:
    raise ValueError(message)


@app.activity_trigger(input_name="settings")
def flaky(settings: dict) -> str:
    """Fail the first `failures` times, counted in a file."""
    counter = Path(settings["counter"])
    count = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(count + 1))
    if count < settings["failures"]:
        raise RuntimeError(f"attempt {count + 1}")
    return f"attempt {count + 1} worked"


@app.activity_trigger(input_name="seconds")
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.activity_trigger(input_name="nothing")
def not_a_number(nothing: str) -> float:
    return float("nan")


@app.activity_trigger(input_name="nothing")
def nothing(nothing: str) -> None:
    return None


@app.activity_trigger(input_name="point")
def move(point: Point) -> Point:
    return Point(point.x + 1)


@app.activity_trigger(input_name="x", activity="named")
def with_another_name(x: int) -> int:
    return x + 100


@app.activity_trigger(input_name="marker")
def die_once(marker: str) -> str:
    """End the worker process the first time."""
    if not Path(marker).exists():
        Path(marker).write_text("")
        os._exit(7)
    return "alive"


@app.activity_trigger(input_name="instance")
@app.durable_client_input(client_name="client")
async def ask_client(instance: str, client) -> str:
    status = await client.get_status(instance)
    return status.runtime_status.value


@app.activity_trigger(input_name="kind")
async def misbehave(kind: str) -> str:
    """Fail in ways that are hard to report."""
    if kind == "cancel":
        raise asyncio.CancelledError
    raise ValueError("a surrogate \udc80")


# -- orchestrations ------------------------------------------------------------------------------------------------


@app.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    x = yield context.call_activity(double, context.get_input())
    x = yield context.call_activity("double_async", x)
    x = yield context.call_activity("named", x)
    return x


@app.orchestration_trigger(context_name="context")
def fan(context: df.DurableOrchestrationContext):
    results = yield context.task_all([context.call_activity(double, i) for i in range(context.get_input())])
    context.set_custom_status({"stage": "summed"})
    return sum(results or [])


@app.orchestration_trigger(context_name="context")
def nested(context: df.DurableOrchestrationContext):
    children = [context.call_sub_orchestrator("fan", n) for n in context.get_input()]
    results = yield context.task_all(children)
    return results


@app.orchestration_trigger(context_name="context")
def named_child(context: df.DurableOrchestrationContext):
    result = yield context.call_sub_orchestrator("chain", 1, instance_id=f"{context.instance_id}-child")
    return result


@app.orchestration_trigger(context_name="context")
def failing(context: df.DurableOrchestrationContext):
    yield context.call_activity(boom, context.get_input())


@app.orchestration_trigger(context_name="context")
def failing_parent(context: df.DurableOrchestrationContext):
    yield context.call_sub_orchestrator("failing", context.get_input())


@app.orchestration_trigger(context_name="context")
def asking(context: df.DurableOrchestrationContext):
    result = yield context.call_activity(ask_client, context.instance_id)
    return result


@app.orchestration_trigger(context_name="context")
def misbehaving(context: df.DurableOrchestrationContext):
    yield context.call_activity(misbehave, context.get_input())


@app.orchestration_trigger(context_name="context")
def catching(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity(boom, "caught")
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@app.orchestration_trigger(context_name="context")
def retrying(context: df.DurableOrchestrationContext):
    options = df.RetryOptions(50, 3)
    result = yield context.call_activity_with_retry(flaky, options, context.get_input())
    after = yield context.call_activity(double, 21)
    return [result, after]


@app.orchestration_trigger(context_name="context")
def rewindable(context: df.DurableOrchestrationContext):
    before = yield context.call_activity(double, 1)
    result = yield context.call_activity(flaky, context.get_input())
    return [before, result]


@app.orchestration_trigger(context_name="context")
def rewindable_parent(context: df.DurableOrchestrationContext):
    result = yield context.call_sub_orchestrator("rewindable", context.get_input())
    return result


@app.orchestration_trigger(context_name="context")
def race(context: df.DurableOrchestrationContext):
    """Wait for an event, but not for ever."""
    timeout = context.create_timer(context.current_utc_datetime + timedelta(seconds=context.get_input()))
    approval = context.wait_for_external_event("approval")
    winner = yield context.task_any([timeout, approval])
    if winner == timeout:
        return "too late"
    timeout.cancel()
    return approval.result


@app.orchestration_trigger(context_name="context")
def two_events(context: df.DurableOrchestrationContext):
    first = yield context.wait_for_external_event("a")
    second = yield context.wait_for_external_event("b")
    return [first, second]


@app.orchestration_trigger(context_name="context")
def counting(context: df.DurableOrchestrationContext):
    """Start over until the input is zero."""
    left = context.get_input()
    yield context.call_activity(double, left)
    if left > 0:
        context.continue_as_new(left - 1)
        return None
    return context.instance_id


@app.orchestration_trigger(context_name="context")
def mailbox(context: df.DurableOrchestrationContext):
    """Take one letter a generation; end with all of them."""
    letters = context.get_input() or []
    letter = yield context.wait_for_external_event("letter")
    letters.append(letter)
    if len(letters) == 3:
        return letters
    context.continue_as_new(letters)


@app.orchestration_trigger(context_name="context")
def loser_keeps_running(context: df.DurableOrchestrationContext):
    yield context.task_any([context.call_activity(double, 1), context.call_activity(sleep, 1.0)])
    return "winner"


@app.orchestration_trigger(context_name="context")
def odd_values(context: df.DurableOrchestrationContext):
    none = yield context.call_activity(nothing, "x")
    point = yield context.call_activity(move, Point(1))
    empty = yield context.task_all([])
    return [none, point.x, empty, str(context.new_uuid())]


@app.orchestration_trigger(context_name="context")
def nan_result(context: df.DurableOrchestrationContext):
    yield context.call_activity(not_a_number, "x")


@app.orchestration_trigger(context_name="context")
def unknown_activity(context: df.DurableOrchestrationContext):
    yield context.call_activity("nobody", 1)


@app.orchestration_trigger(context_name="context")
def renamed_activity(context: df.DurableOrchestrationContext):
    yield context.call_activity(with_another_name, 1)


@app.orchestration_trigger(context_name="context")
def unserializable(context: df.DurableOrchestrationContext):
    yield context.call_activity(double, 1)
    return {1, 2}


@app.orchestration_trigger(context_name="context")
def wordy(context: df.DurableOrchestrationContext):
    context.set_custom_status("x" * context.get_input())
    yield context.call_activity(double, 1)
    return "done"


@app.orchestration_trigger(context_name="context")
def not_a_generator(context: df.DurableOrchestrationContext):
    return context.get_input()


@app.orchestration_trigger(context_name="context")
def entity_caller(context: df.DurableOrchestrationContext):
    yield context.call_entity(df.EntityId("counter", "a"), "get")


@app.orchestration_trigger(context_name="context")
def http_caller(context: df.DurableOrchestrationContext):
    yield context.call_http("GET", "http://localhost/")


@app.orchestration_trigger(context_name="context")
def resilient(context: df.DurableOrchestrationContext):
    result = yield context.call_activity(die_once, context.get_input())
    return result


@app.orchestration_trigger(context_name="context")
def retry_in_fan_out(context: df.DurableOrchestrationContext):
    """The pattern that breaks in Azure: go on after a task_all while one branch still retries."""
    options = df.RetryOptions(100, 3)
    tasks = [
        context.call_activity_with_retry(boom, df.RetryOptions(1, 1), "for good"),
        context.call_activity_with_retry(flaky, options, context.get_input()),
    ]
    try:
        yield context.task_all(tasks)
    except Exception:
        logging.info("one branch failed")
    result = yield context.call_activity(double, 1)
    return result


@app.orchestration_trigger(context_name="context")
def retry_in_race(context: df.DurableOrchestrationContext):
    """The other one: a task_any loop over retries that starts new work before all are finished."""
    options = df.RetryOptions(100, 3)
    pending = [
        context.call_activity_with_retry(double, options, 1),
        context.call_activity_with_retry(flaky, options, context.get_input()),
    ]
    while pending:
        winner = yield context.task_any(pending)
        pending.remove(winner)
        yield context.call_activity(double, 2)
    return "done"


@app.orchestration_trigger(context_name="context")
def plain_race(context: df.DurableOrchestrationContext):
    """A task_any loop over plain activities, which is safe."""
    pending = [context.call_activity(double, i) for i in range(5)]
    total = 0
    while pending:
        winner = yield context.task_any(pending)
        pending.remove(winner)
        total += winner.result
    return total


@app.orchestration_trigger(context_name="context")
def clock(context: df.DurableOrchestrationContext):
    times = [context.current_utc_datetime.isoformat()]
    for _ in range(3):
        yield context.call_activity(double, 1)
        times.append(context.current_utc_datetime.isoformat())
    return [times, context.is_replaying]


# -- plain HTTP ----------------------------------------------------------------------------------------------------


@app.route(route="echo/{id:int}/{name:alpha?}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    document = {
        "route": dict(req.route_params),
        "query": dict(req.params),
        "headers": {key: value for key, value in req.headers.items() if key.startswith("x-test")},
        "body": req.get_body().decode(),
        "method": req.method,
        "url": req.url,
    }
    return func.HttpResponse(json.dumps(document), mimetype="application/json")


@app.route(route="text", methods=["POST"])
def text(req: func.HttpRequest) -> str:
    return req.get_body().decode()


@app.route(route="answer/{kind}")
def answer(req: func.HttpRequest):
    kind = req.route_params["kind"]
    if kind == "raise":
        raise KeyError("no")
    if kind == "dict":
        return {"a": 1}
    if kind == "cookie":
        return func.HttpResponse("ok", status_code=201, headers={"Set-Cookie": "a=b; Path=/", "X-Own": "1"})
    return func.HttpResponse(status_code=204)


@app.route(route="context")
def show_context(req: func.HttpRequest, context: func.Context) -> str:
    return context.function_name


@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
def yearly(timer: func.TimerRequest) -> None:
    Path(os.environ["FEATURES_OUT"], "yearly").write_text(str(timer.past_due))
