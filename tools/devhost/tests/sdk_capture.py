"""A pytest plugin that writes down every (request body, answer) pair which the SDK's own tests produce.

Loaded with `-p sdk_capture` into a run of the tests that the SDK's wheel ships; the pairs go to the file
named by the environment variable SDK_CAPTURE, one JSON object a line.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from azure.durable_functions.models import DurableOrchestrationContext
from azure.durable_functions.models.TaskOrchestrationExecutor import TaskOrchestrationExecutor

from devhost.guard import label_tasks

_MARKER = "\n\n$OutOfProcData$:"
_current = ""
_bodies: dict[int, str] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Remember which test runs."""
    global _current
    _current = item.nodeid


def _record(context: Any, state: str) -> None:
    waiting = {str(number): label for number, label in label_tasks(context).items()}
    pair = {"test": _current, "body": _bodies[id(context)], "state": json.loads(state)}
    pair |= {"waiting": waiting, "next_id": context._sequence_number}
    with Path(os.environ["SDK_CAPTURE"]).open("a") as file:
        file.write(json.dumps(pair) + "\n")


def _capture_execute(self: Any, context: Any, history: Any, fn: Any) -> str:
    try:
        state = _execute(self, context, history, fn)
    except Exception as error:
        _, marker, state = str(error).rpartition(_MARKER)
        if marker:
            _record(context, state)
        raise
    _record(context, state)
    return str(state)


def _capture_from_json(cls: Any, json_string: str) -> Any:
    context = _from_json(json_string)
    _bodies[id(context)] = json_string
    return context


_execute = TaskOrchestrationExecutor.execute
_from_json = DurableOrchestrationContext.from_json
TaskOrchestrationExecutor.execute = _capture_execute
DurableOrchestrationContext.from_json = classmethod(_capture_from_json)
