"""Ask for a window on behalf of a backfill: which run answers it, and whether it is to be started now."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def ask_window(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"workload", "window", "only", "who", "partitions", "names_at", "models"}.

    Give {"request", "start", "state"}, or {"wait_s"} while live windows go first. The last three may be left
    out. With "run" it gives the state of that run, to follow it; where partitions are named and it was
    another's run and has ended, the run that scores them.
    """
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.operations.due.backfills import wait_for_live_s
    from fleetscore.pipeline.submit import submit_backfilled
    from fleetscore.records import FINAL, Only
    from fleetscore.runs.orchestration_inputs import names_of, run_input
    from fleetscore.runs.run_records import read_run

    store, now = app_store(), datetime.now(UTC)
    requested_by, partitions = f"backfill {payload['who']}", names_of(store, payload)
    if payload.get("run"):
        record = read_run(store, payload["run"])
        is_another = record.request.who != requested_by and record.state in FINAL
        if not (partitions and is_another):
            return {"request": run_input(record.request), "start": False, "state": str(record.state)}
    wait_s = wait_for_live_s(store, now)
    if wait_s and not payload.get("run"):
        return {"wait_s": wait_s}
    answer = submit_backfilled(
        store, payload["workload"], payload["window"], now, requested_by, Only(payload["only"]),
        partitions=partitions, models=payload.get("models", ""),
    )  # fmt: skip
    return {"request": run_input(answer.request), "start": answer.fresh, "state": str(answer.state)}
