"""Answers: activities return what happened instead of raising, so that a fan-out is never cut short and ids
never diverge.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from fleetscore.exhaustion import is_exhausted
from fleetscore.telemetry import span

_log = logging.getLogger("fleetscore.activities")
_WAITS_S = (0.5, 2.0, 8.0)
_LONGEST = 2_000  # characters of an error's text in an answer; the log has all of it

Activity = Callable[[dict[str, Any]], dict[str, Any]]


def answering(activity: Activity) -> Activity:
    """The activity, answering {"ok": true, "value": ...} or {"ok": false, "error": {...}}; passing store
    failures are tried again here.

    So is what failed for lack of memory, threads or handles, and then raised, so that the orchestration
    tries it elsewhere.

    An unexpected error is logged with its traceback and answered like the others: the orchestration stops
    the run on it.
    """

    @functools.wraps(activity)
    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        for wait_s in (*_WAITS_S, None):
            try:
                with span(activity.__name__, payload):
                    return {"ok": True, "value": activity(payload)}
            except Exception as error:
                passes = getattr(error, "retry", False)
                if is_exhausted(error) and wait_s is None:
                    raise  # the attempt has failed; the orchestration makes another, in a process with more to give
                if wait_s is None or not (passes or is_exhausted(error)):
                    _log.exception("%s failed: %s", activity.__name__, error)
                    return {"ok": False, "error": describe_error(error)}
                _log.warning("%s: %s Trying again in %s s.", activity.__name__, error, wait_s)
                time.sleep(wait_s)
        raise AssertionError("the last try returns")

    del answer.__wrapped__  # so that the host sees the next line, not the annotations below it:
    answer.__annotations__ = {"payload": dict, "return": dict}  # it takes bare classes only
    return answer


def describe_error(error: Exception) -> dict[str, Any]:
    """The error as JSON values: code, message, fix."""
    return {
        "code": getattr(error, "code", "unexpected_error"),
        "message": getattr(error, "message", f"{type(error).__name__}: {error}")[:_LONGEST],
        "fix": getattr(error, "fix", "")[:_LONGEST],
    }
