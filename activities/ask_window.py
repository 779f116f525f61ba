"""Ask for a window on behalf of a backfill: which run answers it, and whether it is to be started now."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def ask_window(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"workload", "window", "only", "who"}; give {"request", "start", "state"}, or {"wait_s"} while live windows go first.

    With "run" it gives the state of that run, to follow it.
    """
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.operations.backfills import wait_for_live_s
    from fleetscore.pipeline.submit import submit_backfilled
    from fleetscore.records import Only, to_plain
    from fleetscore.runs.run_records import read_run

    store, now = app_store(), datetime.now(UTC)
    if payload.get("run"):
        record = read_run(store, payload["run"])
        return {"request": to_plain(record.request), "start": False, "state": str(record.state)}
    wait_s = wait_for_live_s(store, now)
    if wait_s:
        return {"wait_s": wait_s}
    answer = submit_backfilled(
        store,
        payload["workload"],
        payload["window"],
        now,
        f"backfill {payload['who']}",
        Only(payload["only"]),
    )
    return {"request": to_plain(answer.request), "start": answer.fresh, "state": str(answer.state)}
