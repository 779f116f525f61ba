"""One episode of an orchestration: run the app's code over its history and say what to commit.

Runs in a worker process, because it calls the app's code. The SDK's handle and its classes are used
unchanged.
"""

import functools
import importlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from devhost.decisions import COMPLETED, FAILED, RUNNING, Decision, NonDeterministicError, disagreement
from devhost.failures import describe, text_of, trace_of
from devhost.functions import ACTIVITY, ORCHESTRATION, FunctionIndex
from devhost.guard import find_mismatch, label_tasks
from devhost.json_text import without_surrogates, write_json
from devhost.replay import Replayed, replay

_log = logging.getLogger("devhost.durable")
_MARKER = "\n\n$OutOfProcData$:"
_CUSTOM_STATUS_LIMIT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Episode:
    """What an episode decided; `output` and `custom_status` are JSON text, except that a failure's is plain
    text.
    """

    status: str
    output: str | None = None
    details: str | None = None
    custom_status: str | None = None
    decisions: list[Decision] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)
    next_id: int = -1
    open_count: int = 0  # calls and timers that are still awaited


@dataclass(frozen=True, slots=True)
class _Answer:
    """The SDK's state, what the handle raised, if anything, the tasks it waits for by id, its next id."""

    state: dict[str, Any]
    failure: BaseException | None = None
    waiting: dict[int, str] = field(default_factory=dict)
    next_id: int = 0


def prepare_sdk() -> None:
    """Make the SDK remember parsed timestamps.

    Every replay parses every event's timestamp again, with a parser that takes most of a replay's time.
    """
    module: Any = importlib.import_module("azure.durable_functions.models.history.HistoryEvent")
    if not hasattr(module.dt_parse, "cache_info"):
        module.dt_parse = functools.lru_cache(maxsize=65536)(module.dt_parse)


def run_episode(name: str, handle: Callable[..., Any], body: bytes, index: FunctionIndex) -> Episode:
    """Call the orchestrator `name` with the request body and replay its answer against the body's history."""
    history = msgspec.json.decode(body)["history"]
    answer = _call(handle, body.decode())
    try:
        found = replay(history, answer.state, functools.partial(_refusal, index))
    except NonDeterministicError as error:
        return Episode(FAILED, disagreement(str(error)), _trace(error))
    mismatch = None
    if found.status == RUNNING and answer.failure is None and not answer.state.get("isDone"):
        mismatch = find_mismatch(found, answer.waiting, answer.next_id)
    if mismatch:
        return Episode(FAILED, mismatch, None)
    return _conclude(name, found, answer)


def _call(handle: Callable[..., Any], body: str) -> _Answer:
    """Run the SDK over the body, as its handle does, and keep hold of the context to compare ids."""
    from azure.durable_functions import DurableOrchestrationContext, Orchestrator

    try:
        context = DurableOrchestrationContext.from_json(body)
        context._input_expected_type = getattr(handle, "_df_input_type", None)
        function = handle.orchestrator_function  # type: ignore[attr-defined]  # set by the SDK
        text = Orchestrator(function).handle(context)
        return _Answer(json.loads(text), None, label_tasks(context), context._sequence_number)
    except BaseException as failure:  # an exit that the code raises must not end the worker either
        _, marker, state = text_of(failure).rpartition(_MARKER)
        if marker:
            return _Answer(json.loads(state), failure.__cause__ or failure)
        return _Answer({"isDone": False, "schemaVersion": 2, "error": describe(failure).message}, failure)


def _refusal(index: FunctionIndex, kind: str, name: str) -> str | None:
    if kind == "entity":
        return (
            f"The local host does not support entities ({name}); use an orchestration or an activity instead."
        )
    if name.startswith("BuiltIn::"):
        return "The local host does not support call_http; make the request in an activity instead."
    trigger = ACTIVITY if kind == "activity" else ORCHESTRATION
    if index.durable(trigger, name):
        return None
    if not index.is_left_out(trigger, name):
        _log.error("There is no function %s: here its caller fails; on Azure it would wait for ever.", name)
    return index.missing(trigger, name)


def _conclude(name: str, found: Replayed, answer: _Answer) -> Episode:
    """Turn what the replay found into what to commit."""
    status_text = answer.state.get("customStatus")
    custom_status = write_json(status_text) if status_text else None
    if custom_status is not None and len(custom_status.encode("utf-16-le")) > _CUSTOM_STATUS_LIMIT_BYTES:
        size_kb = len(custom_status.encode("utf-16-le")) // 1024
        text = (
            "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. "
            f"The current payload size is {size_kb} KB."
        )
        return Episode(FAILED, f"Orchestrator function '{name}' failed: {text}")
    output, details = found.output, None
    if found.status == COMPLETED:
        output = write_json(answer.state["output"]) if "output" in answer.state else None
    elif found.status == FAILED:
        details = without_surrogates(f"Message: {output}, StackTrace: {_trace(answer.failure)}")
        output = without_surrogates(f"Orchestrator function '{name}' failed: {output}")
    return Episode(
        status=found.status,
        output=output,
        details=details,
        custom_status=custom_status,
        decisions=found.decisions,
        carried=found.carried,
        next_id=found.next_id,
        open_count=len(found.open_ids),
    )


def _trace(failure: BaseException | None) -> str:
    return trace_of(failure) if failure is not None else ""
