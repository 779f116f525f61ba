"""The status of a run: its record, and while it is under way how far it is and when it will be done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fleetscore.records import FINAL, GOOD, RunRecord, RunState, count_bad, is_idle
from fleetscore.runs.index import RunLine
from fleetscore.runs.progress import Progress, read_progress
from fleetscore.runs.run_records import read_run
from fleetscore.runs.status_answer import RunStatus as RunStatus
from fleetscore.store.base import Store
from fleetscore.store.paths import run_folder, run_path


def describe_run(store: Store, run: str, now: datetime) -> RunStatus:
    """The status of the run; MissingBlobError when there is none."""
    record = read_run(store, run)
    progress = read_progress(store, run) if record.state is RunState.SCORING else None
    return make_status(record, progress, now)


def make_status(record: RunRecord, progress: Progress | None, now: datetime) -> RunStatus:
    """The status of a run; `progress` is what its shards have done, where it is scoring."""
    done = list(progress.commits()) if progress else []
    ended = record.state in FINAL
    settled = sum(record.counts.values())  # before scoring; all of them once it ended
    scored = sum(progress.planned[shard].partitions for shard in done) if progress else 0
    collecting = record.state is RunState.COLLECTING
    elapsed_s = ((record.ended or now) - record.request.requested).total_seconds()
    return RunStatus(
        id=record.request.run,
        state=record.state,
        record=record,
        shards_done=record.shards if ended or collecting else len(done),
        shards=record.shards,
        partitions_done=record.partitions if collecting else settled + scored,
        elapsed_s=elapsed_s,
        eta_s=None if ended or collecting else predict_rest(elapsed_s, scored, record.partitions - settled),
        verdict=judge(record) if ended else "",
        first_cause=_first_cause(record),
        links=_links(record),
    )


def judge(record: RunRecord | RunLine) -> str:
    """good if every expected partition has a good outcome in published results, with_failures if published
    otherwise, else unpublished; good, too, where nothing was expected and nothing came.
    """
    if is_idle(record):
        return "good"
    if record.state is not RunState.PUBLISHED:
        return "unpublished"
    return "with_failures" if count_bad(record.counts) else "good"


def predict_rest(elapsed_s: float, done: int, total: int) -> float | None:
    """Seconds left if the rest goes as fast as what is done; None before anything is."""
    if done <= 0 or total <= 0:
        return None
    return elapsed_s * max(0, total - done) / done


def committed_shards(store: Store, run: str) -> list[int]:
    """The numbers of the shards that are committed so far."""
    prefix = f"{run_folder(run)}shards/"
    paths = (entry.path for entry in store.list(prefix))
    return [int(path[len(prefix) :].split("/", 1)[0]) for path in paths if path.endswith("/result.json")]


def _first_cause(record: RunRecord) -> str:
    if record.error:
        return record.error
    for cause in record.causes:
        if cause.outcome not in GOOD:
            return f"{cause.partitions} {cause.outcome}: {cause.cause}, first {cause.example}. {cause.detail}".strip()
    return ""


def _links(record: RunRecord) -> dict[str, Any]:
    run = record.request.run
    links = {
        "record": run_path(run, "run.json"),
        "logs": run_path(run, "logs/"),
    }
    ledger = {"ledger": run_path(run, "ledger.parquet")} if record.counts else {}
    return links | ledger | ({"manifest": record.manifest} if record.manifest else {})
