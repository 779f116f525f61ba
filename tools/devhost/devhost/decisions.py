"""What an orchestration decides, and the check that it decides the same again.

A decision is recorded in the history as an event under its sequence id. When the code runs over that history
again, it must take the decision again; where it does not, its code has changed or is not deterministic. The
texts are the Durable Task Framework's own.
"""

from dataclasses import dataclass
from typing import Any

RUNNING, COMPLETED, CONTINUED = "Running", "Completed", "ContinuedAsNew"
FAILED, TERMINATED = "Failed", "Terminated"
_ACTION_NAMES = {
    "activity": "ScheduleTaskOrchestratorAction",
    "sub": "CreateSubOrchestrationAction",
    "timer": "CreateTimerOrchestratorAction",
    "event": "SendEventOrchestratorAction",
}
_CHANGED = "Was a change made to the orchestrator code after this instance had already started running?"


_DETECTED = "Non-Deterministic workflow detected: "


def disagreement(text: str) -> str:
    """Return how an orchestration ends whose code disagrees with its history."""
    return f"{_DETECTED}{text}"


def is_disagreement(output: str | None) -> bool:
    """Return whether an orchestration ended because its code did something else than the history holds.

    The extension then gives no history; it does where the code did nothing instead.
    """
    return output is not None and output.startswith(_DETECTED) and " orchestration replay instead " in output


class NonDeterministicError(Exception):
    """The history holds a decision that the code did not take again; the text is the framework's own."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Something to schedule. `kind` is `activity`, `sub`, `timer` or `event`; `input` is JSON text.

    `version` is None where the code gave none. `origin` is `call` for what the code asked for, `again` for a
    retried call, `retry` for a timer before one.
    """

    id: int
    kind: str
    name: str = ""
    input: str | None = None
    instance_id: str = ""
    fire_at: str = ""
    origin: str = "call"
    version: str | None = None


def confirm(decision: Decision | None, event: dict[str, Any]) -> None:
    """Check that the code took the decision of this event again."""
    kind = {4: "activity", 7: "sub", 10: "timer"}.get(event["EventType"], "event")
    number, name = event["EventId"], event.get("Name") or ""
    if decision is None:
        raise NonDeterministicError(_missing_text(kind, number, name, event))
    noun = {"activity": "an activity", "sub": "a sub-orchestration", "timer": "a timer"}.get(kind, "an event")
    head = (
        f"A previous execution of this orchestration scheduled {noun} task with sequence number {number} "
        "named"
    )
    if decision.kind != kind:
        raise NonDeterministicError(
            f"{head} '{name}', but the current orchestration replay instead produced a "
            f"{_ACTION_NAMES[decision.kind]} action with this sequence number. {_CHANGED}"
        )
    if decision.name.lower() != name.lower() and kind not in ("timer", "event"):
        raise NonDeterministicError(
            f"{head} '{name}', but the current orchestration replay instead scheduled {noun} task named "
            f"'{decision.name}' with this sequence number.  {_CHANGED}"
        )


def _missing_text(kind: str, number: int, name: str, event: dict[str, Any]) -> str:
    tail = f"but the current replay execution hasn't (yet?) scheduled this task. {_CHANGED}"
    head = "A previous execution of this orchestration scheduled"
    if kind == "timer":
        return f"{head} a timer task with sequence number {number} {tail}"
    version = event.get("Version") or ""
    if kind == "sub":
        where = f"(version '{version}', instance ID '{event.get('InstanceId') or ''}')"
        return f"{head} a sub-orchestration task with sequence ID {number} and name '{name}' {where}, {tail}"
    noun = "an activity" if kind == "activity" else "an event"
    return f"{head} {noun} task with sequence ID {number} and name '{name}' (version '{version}'), {tail}"
