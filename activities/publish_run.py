"""Publish a collected run, learn from it, and close its record."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def publish_run(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"request", "instance"}; give the ending: {"state", "reason", "manifest", "model_set"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.metadata.experiments import hand_over_experiment
    from fleetscore.operations.metadata.lineage import hand_over_lineage
    from fleetscore.operations.notices.ended_runs import hand_over_ending_notices
    from fleetscore.operations.outbound.callbacks import answer_callbacks
    from fleetscore.operations.result_sink import try_sink
    from fleetscore.pipeline.finish import finish_run
    from fleetscore.records import to_plain
    from fleetscore.runs.orchestration_inputs import requested
    from fleetscore.runs.run_records import check_instance, read_run
    from fleetscore.telemetry import count_window

    store = app_store()
    request = requested(store, payload["request"])
    check_instance(store, request.run, payload.get("instance", ""))
    ending = finish_run(store, request, datetime.now(UTC))
    hand_over_lineage(store, request.run, datetime.now(UTC))
    hand_over_experiment(store, read_run(store, request.run), datetime.now(UTC))
    hand_over_ending_notices(store, read_app_settings(), read_run(store, request.run))
    if ending.manifest:
        try_sink(store, request.workload, request.window, datetime.now(UTC))
    answer_callbacks(store, read_app_settings(), datetime.now(UTC))
    count_window(request.workload, request.purpose, ending.state)
    plain: dict[str, Any] = to_plain(ending)
    return plain
