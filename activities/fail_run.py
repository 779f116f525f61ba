"""Close the record of a run that an unexpected error stopped."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def fail_run(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "error": {"code", "message", "fix"}, "instance"}; give {"state"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.metadata.lineage import hand_over_lineage
    from fleetscore.operations.notices.ended_runs import hand_over_ending_notices
    from fleetscore.operations.outbound.callbacks import answer_callbacks
    from fleetscore.pipeline.tags import tag_facts
    from fleetscore.records import Ending, RunState
    from fleetscore.runs.run_records import check_instance, read_run, record_ending
    from fleetscore.telemetry import count_window

    check_instance(app_store(), payload["run"], payload.get("instance", ""))
    error = payload["error"]
    reason = f"{error['message']} {error['fix']}".strip()
    ending = Ending(RunState.FAILED, reason)
    workload = read_run(app_store(), payload["run"]).request.workload
    facts = {"error_code": error["code"], **tag_facts(app_store(), workload)}
    record = record_ending(app_store(), payload["run"], ending, None, datetime.now(UTC), facts)
    hand_over_lineage(app_store(), payload["run"], datetime.now(UTC))
    hand_over_ending_notices(app_store(), read_app_settings(), record)
    answer_callbacks(app_store(), read_app_settings(), datetime.now(UTC))
    count_window(record.request.workload, record.request.purpose, record.state)
    return {"state": str(record.state)}
