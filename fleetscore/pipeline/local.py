"""A whole run in order, in this process and without a host: for tests, benchmarks, notebooks, one-off jobs.

`orchestrators/run.py` takes the same steps as activities, with shards side by side. The page of this folder
says which files belong to which step.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fleetscore.app_settings import AppSettings
from fleetscore.errors import InputError
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.prepare import list_items, prepare_item
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_run, submit_training
from fleetscore.pipeline.train import train_shard
from fleetscore.records import RunRecord, RunRequest
from fleetscore.runs.run_records import read_run, record_planned
from fleetscore.store.base import Store


def run_window(store: Store, workload: str, window: str, app: AppSettings | None = None) -> RunRecord:
    """Score the window and publish it; InputError when it is published already."""
    submission = submit_run(store, workload, window, datetime.now(UTC), "direct")
    if not submission.fresh:
        raise InputError(f"{submission.request.run} is {submission.state} already.", field="window")
    return execute(store, submission.request, app)


def run_training(
    store: Store, workload: str, first: str, stop: str, app: AppSettings | None = None
) -> RunRecord:
    """Train on the windows [first, stop), store the model set and pin it."""
    return execute(
        store, submit_training(store, workload, first, stop, datetime.now(UTC), "direct").request, app
    )


def execute(store: Store, request: RunRequest, app: AppSettings | None = None) -> RunRecord:
    """Take the requested run through all its steps, as the orchestration would."""
    app = app or AppSettings()
    _prepare(store, request)
    head = commit_plan(store, request, app, datetime.now(UTC))
    record_planned(store, head, datetime.now(UTC))
    score = train_shard if request.purpose == "train" else score_shard
    for shard in range(head.shards):
        score(store, request.run, shard)
    collect_run(store, request.run)
    finish_run(store, request, datetime.now(UTC))
    return read_run(store, request.run)


def _prepare(store: Store, request: RunRequest) -> None:
    round_number = 0
    while items := list_items(store, request, round_number):
        for number in range(len(items)):
            done = prepare_item(store, request, round_number, number)
            if done.error:
                raise InputError(f"Preparation of {done.input} failed: {done.error}", field="data")
        round_number += 1
