"""The status of a backfill: its windows, each with its newest run, read from the index of runs while it is
under way.
"""

from __future__ import annotations

import json
from typing import Any

from fleetscore.records import FINAL
from fleetscore.runs.index import RunLine, list_runs_since, newest_rounds
from fleetscore.runs.status import judge
from fleetscore.store.base import Store
from orchestrators.backfill import windows_of


def describe_backfill(store: Store, status: Any) -> dict[str, Any]:
    """The backfill's state and its windows in order; `done` counts windows whose run has ended since the
    backfill began.

    Reads the index of the workload and no run, so that following ten thousand windows stays cheap. Windows
    that the backfill could not run have the reason and the verdict `unpublished`, whatever an earlier run of
    them published.
    """
    backfill_input = status.input_ if isinstance(status.input_, dict) else json.loads(status.input_)
    newest = newest_rounds(list_runs_since(store, backfill_input["workload"], ""))
    refused = _refused(status.output)
    windows = [
        _describe_window(window, newest.get(window)) | refused.get(window, {})
        for window in windows_of(backfill_input)
    ]
    state = str(status.runtime_status.value if status.runtime_status else "Pending")
    done = len(windows) if state == "Completed" else sum(bool(window["ended"]) for window in windows)
    return {"id": status.instance_id, "state": state, "windows": windows, "done": done, "total": len(windows)}


def _refused(output: Any) -> dict[str, dict[str, str]]:
    """What the status says instead of windows that the ended backfill could not run."""
    ended = json.loads(output) if isinstance(output, str) and output else output
    lines = ended.get("windows", ()) if isinstance(ended, dict) else ()
    return {
        line["window"]: {"verdict": "unpublished", "reason": line["reason"]}
        for line in lines
        if "reason" in line
    }


def _describe_window(window: str, line: RunLine | None) -> dict[str, Any]:
    if line is None:
        return {"window": window, "run": "", "state": "waiting", "verdict": "", "ended": False, "counts": {}}
    ended = line.state in FINAL
    return {
        "window": window,
        "run": line.run,
        "state": line.state,
        "verdict": judge(line) if ended else "",
        "ended": ended,
        "counts": line.counts if ended else {},
    }
