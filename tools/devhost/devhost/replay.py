"""The host's half of an orchestration: what the actions that the code asked for mean against its history.

The orchestrator's code runs in the SDK and answers with the list of everything it has asked for since its
start. This module walks the history with that list and finds which of it is new, as the Durable extension and
the Durable Task Framework do. The order in which sequence ids are given out is the contract between both
halves.

Pure: values in, values out, no clock, no I/O.
"""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from devhost.clock import parse_stamp, stamp
from devhost.decisions import COMPLETED, CONTINUED, FAILED, RUNNING, TERMINATED, Decision, confirm
from devhost.futures import Future, Steps, StepsFailedError, all_of, any_of, run

_HTTP_ACTIVITY = "BuiltIn::HttpActivity"


class CallRefusedError(Exception):
    """An action asks for something that the host cannot do: an unknown function, an entity, an HTTP call."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found.

    `status` is Running, Completed, Failed, ContinuedAsNew or Terminated. `output` is the failure or
    termination text, or the JSON text of the next generation's input; a completed orchestration's output
    stays in the state. `decisions` are new, `numbered` all since the start by id, `open_ids` those still
    awaited; `carried` are the positions of events for the next generation.
    """

    status: str
    output: str | None = None
    decisions: list[Decision] = field(default_factory=list)
    open_ids: frozenset[int] = frozenset()
    carried: list[int] = field(default_factory=list)
    numbered: dict[int, Decision] = field(default_factory=dict)

    @property
    def next_id(self) -> int:
        """The sequence id that the next decision would get."""
        return len(self.numbered)


class _Replayer:
    """The state of one walk over a history."""

    def __init__(self, state: dict[str, Any], refuse: Callable[[str, str], str | None]) -> None:
        self._state = state
        self._refuse = refuse
        self._next_id = 0
        self.new: dict[int, Decision] = {}
        self.numbered: dict[int, Decision] = {}
        self.open: dict[int, Future] = {}
        self._waiters: dict[str, list[Future]] = {}
        self._buffer: dict[str, deque[None]] = {}
        self.continued: str | None = None
        self.has_continued = False
        self.finished: str | None = None
        self.error: str | None = None
        self.terminated: str | None = None
        self._now = ""
        self._execution_id = ""
        self._own_ids: set[str] = set()

    # -- the orchestration's main line -----------------------------------------------------------------------

    def _start(self, event: dict[str, Any]) -> None:
        own = event.get("OrchestrationInstance") or {}
        parent = ((event.get("ParentInstance") or {}).get("OrchestrationInstance")) or {}
        self._execution_id = str(own.get("ExecutionId", ""))
        self._own_ids = {str(each.get("InstanceId")) for each in (own, parent) if each.get("InstanceId")}
        try:
            run(self._main(), lambda _: self._finish())
        except CallRefusedError as refusal:
            self._fail(str(refusal))

    def _main(self) -> Steps:
        groups: list[list[dict[str, Any]]] = self._state.get("actions") or []
        if self._state.get("schemaVersion", 0) == 0:  # the first schema: a group of actions per yield
            for group in groups:
                yield any_of([self._invoke(action) for action in group])
            return
        for action in groups[0] if groups else []:
            yield self._invoke(action)

    def _finish(self) -> None:
        if self._state.get("error"):
            self.finished, self.error = FAILED, str(self._state["error"])
        elif self._state.get("isDone"):
            self.finished = CONTINUED if self.has_continued else COMPLETED

    def _fail(self, text: str) -> None:
        self.finished, self.error = FAILED, text

    # -- actions ---------------------------------------------------------------------------------------------

    def _invoke(self, action: dict[str, Any]) -> Future:
        """Do one action: allocate its id and decision, or wait for its event."""
        number = action["actionType"]
        if number in (0, 2):
            return self._call(action)
        if number in (1, 3):
            return self._call_with_retry(action)
        if number == 4:
            self.has_continued, self.continued = True, action.get("input")
            settled = Future()
            settled.settle()
            return settled
        if number == 5:
            return self._timer(str(action["fireAt"]), bool(action.get("isCanceled")))
        if number == 6:
            return self._wait_for_event(str(action["externalEventName"]))
        if number in (11, 12):
            children = [self._invoke(child) for child in action["compoundActions"]]
            return any_of(children) if number == 11 else all_of(children)
        if number in (7, 8, 9, 10):
            return self._call_elsewhere(number, action)
        raise CallRefusedError(f"The action of type {number} is not known to the local host.")

    def _schedule(self, decision: Decision) -> Future:
        future = Future()
        self.new[decision.id] = self.numbered[decision.id] = decision
        self.open[decision.id] = future
        return future

    def _take_id(self) -> int:
        taken = self._next_id
        self._next_id += 1
        return taken

    def _call(self, action: dict[str, Any], origin: str = "call") -> Future:
        kind = "activity" if action["actionType"] in (0, 1) else "sub"
        name = str(action["functionName"])
        refusal = self._refuse(kind, name)
        if refusal:
            raise CallRefusedError(refusal)
        number = self._take_id()
        instance_id = ""
        if kind == "sub":
            instance_id = str(action.get("instanceId") or f"{self._execution_id}:{number}")
            self._check_child_id(instance_id)
        version = None if action.get("version") is None else str(action["version"])
        return self._schedule(
            Decision(number, kind, name, action.get("input"), instance_id, origin=origin, version=version)
        )

    def _call_elsewhere(self, number: int, action: dict[str, Any]) -> Future:
        """An HTTP call is a built-in activity; an entity gets an event, and its answer is an event."""
        name = {8: _HTTP_ACTIVITY, 7: "call_entity"}.get(number, "signal_entity")
        refusal = self._refuse("activity" if number == 8 else "entity", name)
        if refusal:
            raise CallRefusedError(refusal)
        if number == 8:
            return self._schedule(
                Decision(self._take_id(), "activity", name, json.dumps(action["httpRequest"]))
            )
        decision = Decision(self._take_id(), "event", str(action.get("operation")), action.get("input"))
        future = self._schedule(decision)
        if number != 7:  # a signal has no answer
            del self.open[decision.id]
            future.settle()
        return future

    def _check_child_id(self, instance_id: str) -> None:
        if instance_id in self._own_ids:
            raise CallRefusedError(
                "The instance ID of a sub-orchestration must not be the same as the instance ID of its "
                "parent."
            )
        if instance_id.startswith("@"):
            raise CallRefusedError("Orchestration instance ids must not start with @.")

    def _timer(self, fire_at: str, cancelled: bool = False, origin: str = "call") -> Future:
        number = self._take_id()
        future = self._schedule(Decision(number, "timer", fire_at=fire_at, origin=origin))
        if cancelled:
            del self.open[number]
            future.settle(failed=True)
        return future

    def _call_with_retry(self, action: dict[str, Any]) -> Future:
        outcome = Future()
        run(self._attempts(action), outcome.settle)
        return outcome

    def _attempts(self, action: dict[str, Any]) -> Steps:
        """Call, and after each failure wait on a timer; the last failure waits on one that fires at once."""
        options = action["retryOptions"]
        last = max(1, int(options["maxNumberOfAttempts"])) - 1
        for attempt in range(last + 1):
            call = self._call(action, "again" if attempt else "call")
            yield call
            if not call.failed:
                return
            delay = timedelta() if attempt == last else _retry_delay(options, attempt)
            yield self._timer(stamp(parse_stamp(self._now) + delay), origin="retry")
        raise StepsFailedError

    def _wait_for_event(self, name: str) -> Future:
        future = Future()
        buffered = self._buffer.get(name.lower())
        if buffered:
            buffered.popleft()
            future.settle()
        else:
            self._waiters.setdefault(name.lower(), []).append(future)
        return future

    # -- events ----------------------------------------------------------------------------------------------

    def process(self, event: dict[str, Any]) -> None:
        """Take one event of the history."""
        number = event["EventType"]
        if number == 12:
            self._now = str(event["Timestamp"])
        elif number == 0:
            self._start(event)
        elif number in (4, 7, 10, 14):
            confirm(self.new.pop(event["EventId"], None), event)
            # the entity's answer names the request, not the task
            if number == 14 and event["EventId"] in self.open:
                request = json.loads(event["Input"])["id"]
                self._waiters.setdefault(request.lower(), []).append(self.open.pop(event["EventId"]))
        elif number in (5, 8, 6, 9):
            self._complete(event["TaskScheduledId"], failed=number in (6, 9))
        elif number == 11:
            self._complete(event["TimerId"], failed=False)
        elif number == 15:
            self._raise_event(str(event["Name"]))
        elif number == 3:
            self.terminated = str(event.get("Input") or "")

    def _complete(self, number: int, failed: bool) -> None:
        future = self.open.pop(number, None)  # not open: a duplicate, or a cancelled timer's late firing
        if future is not None:
            self._settle(future, failed)

    def _raise_event(self, name: str) -> None:
        waiters = self._waiters.get(name.lower())
        if waiters:
            self._settle(waiters.pop(), failed=False)
        else:
            self._buffer.setdefault(name.lower(), deque()).append(None)

    def _settle(self, future: Future, failed: bool) -> None:
        try:
            future.settle(failed)
        except CallRefusedError as refusal:
            self._fail(str(refusal))

    def result(self, carried: list[int]) -> Replayed:
        """Return what the walk found, after the last event."""
        decisions = [self.new[number] for number in sorted(self.new)]
        open_ids = frozenset(self.open)
        if self.terminated is not None:
            return Replayed(TERMINATED, self.terminated, numbered=self.numbered)
        if self.finished is None or open_ids:  # an orchestration ends only when nothing it started is open
            return Replayed(RUNNING, None, decisions, open_ids, numbered=self.numbered)
        output = self.error if self.finished == FAILED else self.continued
        return Replayed(self.finished, output, decisions, open_ids, carried, self.numbered)


def _retry_delay(options: dict[str, Any], attempt: int) -> timedelta:
    factor = float(options.get("backoffCoefficient") or 1.0)
    delay_ms = float(options["firstRetryIntervalInMilliseconds"]) * factor**attempt
    longest_ms = options.get("maxRetryIntervalInMilliseconds")
    return timedelta(milliseconds=min(delay_ms, float(longest_ms)) if longest_ms else delay_ms)


def replay(
    history: list[dict[str, Any]],
    state: dict[str, Any],
    refuse: Callable[[str, str], str | None] = lambda _kind, _name: None,
) -> Replayed:
    """Walk the history with the actions in `state` and return what is new.

    `state` is the SDK's answer (`isDone`, `schemaVersion`, `actions`, `error`). `refuse(kind, name)` returns
    why a function cannot be called, or None. Raises NonDeterministicError when history and actions disagree.
    """
    walk = _Replayer(state, refuse)
    carried = []
    for position, event in enumerate(history):
        if walk.has_continued and event["EventType"] == 15:
            carried.append(position)  # came after the decision to start over: for the next generation
            continue
        walk.process(event)
        if walk.terminated is not None:
            break
    return walk.result(carried)
