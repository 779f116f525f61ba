"""The guard against orchestrators that work in plain replay but break in Azure.

The SDK numbers a task when it is yielded (and, for retries, when an attempt fails); the host when its own
sequential wait gets there. Where the two orders part, Azure gives results to the wrong task or hangs. The
guard compares what both halves hold under each number and explains a difference.
"""

from typing import Any

from devhost.decisions import Decision
from devhost.replay import Replayed

_SUB_ACTIONS = ("CallSubOrchestratorAction", "CallSubOrchestratorWithRetryAction")
_NAMED_ACTIONS = ("CallActivityAction", "CallActivityWithRetryAction", *_SUB_ACTIONS)


def label_tasks(context: Any) -> dict[int, str]:
    """Return what each sequence id that the SDK's context still waits for stands for."""
    return {
        key: _label(task)
        for key, task in context.open_tasks.items()
        if isinstance(key, int) and not isinstance(task, list)
    }


def find_mismatch(found: Replayed, waiting: dict[int, str], next_id: int) -> str | None:
    """Return a text when the SDK and the host gave one sequence id to different tasks, else None.

    `waiting` is what `label_tasks` returned and `next_id` the SDK's next number. The SDK may be ahead of the
    host, which then only starts the rest later; the host is never ahead of the SDK.
    """
    for number, task in sorted(waiting.items()):
        decision = found.numbered.get(number)
        if decision is not None and task not in _labels(decision):
            return _explain(number, task, decision)
    beyond = sorted(number for number in found.open_ids if number >= next_id)
    return _explain(beyond[0], "nothing", found.numbered[beyond[0]]) if beyond else None


def _explain(number: int, code_has: str, decision: Decision) -> str:
    return (
        f"The orchestrator's code and the host number its tasks differently: id {number} is {code_has} "
        f"for the code, {_labels(decision)[0]} for the host. This works in plain replay but breaks in Azure: "
        "results reach the wrong task, or the instance hangs. It comes from a task_all or task_any over "
        "calls with retry that goes on while one of them still retries. Write instead: activities that return "
        "{ok, error} rather than raise, and "
        "retries inside an activity or inside a sub-orchestration that calls one activity."
    )


def _labels(decision: Decision) -> tuple[str, ...]:
    """Return what the SDK may call a task that the host numbered with this decision."""
    if decision.kind == "timer":
        return ("a timer",) if decision.origin == "call" else ("a timer before a retry",)
    if decision.origin == "again":
        return (f"another attempt of '{decision.name}'", "another attempt")
    noun = {"sub": "sub-orchestration", "activity": "activity"}.get(decision.kind, "entity")
    return (f"{noun} '{decision.name}' with input {decision.input}", noun)


def _label(task: Any) -> str:
    """Return what a waiting SDK task is, in the form of `_labels`."""
    action = task.action_repr[0] if isinstance(task.action_repr, list) else task.action_repr
    kind = type(action).__name__
    if kind == "CreateTimerAction":
        return "a timer"
    if kind == "NoOpAction":
        if "timer" in str(action.metadata):
            return "a timer before a retry"
        original = getattr(task.parent, "actions", None)
        original = original[0] if isinstance(original, list) else original
        name = getattr(original, "function_name", None)
        return f"another attempt of '{name}'" if name else "another attempt"
    if kind in _NAMED_ACTIONS:
        document = action.to_json()
        noun = "sub-orchestration" if kind in _SUB_ACTIONS else "activity"
        return f"{noun} '{document.get('functionName')}' with input {document.get('input')}"
    return "activity" if kind == "CallHttpAction" else "entity"
