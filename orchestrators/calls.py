"""How orchestrators call activities: always with retries, since a worker process may die under any of
them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azure.durable_functions import DurableOrchestrationContext, RetryOptions

_RETRIES = RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=20)
"""Activities answer their own errors, so only a lost worker makes one fail. Finding the partition that
kills its process takes up to nine of them; twenty at two seconds also outlast a worker that is replaced.
"""


def call(context: DurableOrchestrationContext, activity: str, payload: dict[str, Any]) -> Any:
    """The task of calling the activity; it fails when the worker was lost under every attempt."""
    return context.call_activity_with_retry(activity, _RETRIES, payload)


def describe_loss(error: Exception) -> dict[str, Any]:
    """The error of an activity that failed for good, in the form in which activities answer errors."""
    return {
        "code": "worker_lost",
        "message": f"The process that did the work was lost at every attempt: {str(error)[:500]}",
        "fix": "See the log of the app for why its workers end; then retry the run.",
    }


def missing_names(registered: set[str]) -> list[str]:
    """The activities and orchestrators that the flows of this folder call and the app does not have.

    On Azure an orchestration that calls an unknown name waits for ever and says nothing.
    """
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for path in sorted(Path(__file__).parent.glob("*.py"))
    ]
    called = {name for tree in trees for node in ast.walk(tree) for name in _called(node)}
    return sorted(called - registered)


def _called(node: ast.AST) -> Iterator[str]:
    """The name that a node calls as an activity or an orchestrator, where it is written out."""
    if not isinstance(node, ast.Call) or not node.args:
        return
    function = node.func
    is_activity = isinstance(function, ast.Name) and function.id in ("call", "_call")
    is_child = isinstance(function, ast.Attribute) and function.attr == "call_sub_orchestrator"
    name = node.args[1 if is_activity and len(node.args) > 1 else 0]
    if (is_activity or is_child) and isinstance(name, ast.Constant) and isinstance(name.value, str):
        yield name.value
