"""The status of a backfill: its windows, each with its newest run, read from the store while it is under way."""

from __future__ import annotations

import json
from typing import Any

from fleetscore.records import FINAL
from fleetscore.requests import newest_round
from fleetscore.status import judge
from fleetscore.stores.base import Store


def describe_backfill(store: Store, status: Any) -> dict[str, Any]:
    """The backfill's state and its windows in order; `done` counts windows whose run has ended since the backfill began."""
    asked = status.input_ if isinstance(status.input_, dict) else json.loads(status.input_)
    windows = [_describe_window(store, asked["workload"], window) for window in asked["windows"]]
    state = str(status.runtime_status.value if status.runtime_status else "Pending")
    done = len(windows) if state == "Completed" else sum(bool(window["ended"]) for window in windows)
    return {"id": status.instance_id, "state": state, "windows": windows, "done": done, "total": len(windows)}


def _describe_window(store: Store, workload: str, window: str) -> dict[str, Any]:
    record = newest_round(store, workload, window)
    if record is None:
        return {"window": window, "run": "", "state": "waiting", "verdict": "", "ended": False}
    ended = record.state in FINAL
    return {
        "window": window,
        "run": record.request.run,
        "state": record.state,
        "verdict": judge(record) if ended else "",
        "ended": ended,
    }
