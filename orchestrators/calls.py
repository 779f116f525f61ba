"""How orchestrators call activities: always with retries, since a worker process may die under any of them."""

from __future__ import annotations

from typing import Any

from azure.durable_functions import DurableOrchestrationContext, RetryOptions

_RETRIES = RetryOptions(first_retry_interval_in_milliseconds=2_000, max_number_of_attempts=20)
"""Activities answer their own errors, so only a lost worker makes one fail. Finding the partition that kills its process takes
up to nine of them; twenty at two seconds also outlast a worker that is replaced."""


def call(context: DurableOrchestrationContext, activity: str, asked: dict[str, Any]) -> Any:
    """The task of calling the activity; it fails when the worker was lost under every attempt."""
    return context.call_activity_with_retry(activity, _RETRIES, asked)


def describe_loss(error: Exception) -> dict[str, Any]:
    """The error of an activity that failed for good, in the form in which activities answer errors."""
    return {
        "code": "worker_lost",
        "message": f"The process that did the work was lost at every attempt: {str(error)[:500]}",
        "fix": "See the log of the app for why its workers end; then retry the run.",
    }
