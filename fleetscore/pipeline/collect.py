"""Collect a run: the ledger from the committed shards, its sum checked, and what it says in short."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.pipeline.context import open_planned
from fleetscore.pipeline.copied_rows import copy_rewritten, relocate
from fleetscore.pipeline.drift import count_drifted, measure_run
from fleetscore.pipeline.ledger import build_ledger, count_outcomes, group_causes
from fleetscore.pipeline.lost_results import score_lost
from fleetscore.pipeline.partition_log import log_partitions
from fleetscore.pipeline.score import read_shard_record
from fleetscore.records import Collected, PlanHead, ResultFile, ShardRecord, to_json
from fleetscore.registry import read_policy, read_warnings
from fleetscore.runs.causes import CAUSES_FILE, join_causes
from fleetscore.runs.ledgers import read_previous_ledger, write_ledger
from fleetscore.runs.plans import read_plan, read_shard_plans
from fleetscore.runs.timeline import write_timeline
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.state_files import read_truth
from fleetscore.store.tables import count_values, open_truth

_log = logging.getLogger("fleetscore.runs")
_LEAST_GROWTH_BYTES = 64_000_000
"""Below this, libraries and buffers weigh more than rows."""


def collect_run(store: Store, run: str, reasons: Mapping[int, str] | None = None) -> Collected:
    """Write the run's ledger, files, timeline and summary from its committed shards; the same shards, the
    same ledger.
    """
    head = read_plan(store, run)
    records = read_shard_records(store, head)
    if head.request.purpose == "score":
        records = score_lost(store, head, records)
    plan = _read_table(store, head.table)
    outcomes = _read_outcomes(store, records)
    committed = [
        (record.shard, record.results.path if record.results else "", table)
        for record, table in zip(records, outcomes, strict=True)
    ]
    previous, copied = _carried(store, head, plan)
    ledger = build_ledger(run, plan, committed, previous, dict(reasons or {}))
    ledger = measure_run(store, head, records, ledger)
    write_ledger(store, run, ledger)
    warnings = read_warnings(store, head.request.workload)
    collected = summarise(
        records, ledger, warnings, head.kept_files + tuple(copied.values()), head.rates.models_bytes
    )
    store.write(run_path(run, "files.json"), to_json(collected.files))
    _keep_timeline(store, head, records)
    store.write(run_path(run, "collected.json"), to_json(collected))
    store.flush(
        run_path(run, name) for name in ("ledger.parquet", CAUSES_FILE, "files.json", "collected.json")
    )
    log_partitions(head, records, ledger, read_policy(store, head.request.workload).log_partitions)
    return collected


def _keep_timeline(store: Store, head: PlanHead, records: list[ShardRecord]) -> None:
    """Keep the timeline; a list of shards that cannot be read costs the run no more than that."""
    try:
        planned = read_shard_plans(store, head)
    except (DamagedStateError, MissingBlobError) as error:
        _log.warning("%s has no timeline: %s", head.request.run, error)
        return
    write_timeline(store, head.request.run, planned, records)


def read_collected(store: Store, run: str) -> Collected:
    """What collect_run wrote; MissingBlobError before that."""
    return read_truth(store, run_path(run, "collected.json"), Collected)


def collect_whole(store: Store, run: str) -> Collected:
    """What collect_run wrote, collected anew where a storage service that failed lost what stands beside it;
    MissingBlobError before the run is collected.

    A manifest must not name a ledger that is not there.
    """
    collected = read_collected(store, run)
    if all(store.stat(run_path(run, name)) for name in ("ledger.parquet", "files.json")):
        return collected
    _log.warning("%s is collected anew: its ledger or its list of files is no longer there.", run)
    return collect_run(store, run)


def read_shard_records(store: Store, head: PlanHead) -> list[ShardRecord]:
    """The records of all committed shards of the run, in shard order."""
    run = head.request.run
    with ThreadPoolExecutor(16) as pool:
        records = pool.map(lambda shard: read_shard_record(store, run, shard), range(head.shards))
        return [record for record in records if record is not None]


def _carried(store: Store, head: PlanHead, plan: pa.Table) -> tuple[pa.Table | None, dict[str, ResultFile]]:
    """The ledger of the round before as it is now, and the new files that hold what stays of those that are
    written anew.
    """
    previous = read_previous_ledger(store, head.request)
    if previous is None or not head.rewritten_files:
        return previous, {}
    kind = open_planned(store, head).kind
    copied = copy_rewritten(store, head, kind, plan, previous)
    return relocate(previous, copied), copied


def summarise(
    records: list[ShardRecord],
    ledger: pa.Table,
    warnings: frozenset[str],
    kept_files: tuple[ResultFile, ...],
    models_bytes: float = 0.0,
) -> Collected:
    """The ledger in short, with the times and memory of the shards' records and, beside the kept files,
    theirs.
    """
    counts = count_outcomes(ledger)
    scored = ledger.filter(pa.compute.equal(ledger["outcome"], "scored"))
    fresh = tuple(record.results for record in records if record.results is not None)
    return Collected(
        partitions=ledger.num_rows,
        counts=counts,
        rows=pa.compute.sum(ledger["rows"]).as_py() or 0,
        input_rows=pa.compute.sum(ledger["input_rows"]).as_py() or 0,
        models=count_values(scored["model"]),
        causes=group_causes(ledger, warnings=warnings),
        slowest=tuple(sorted(records, key=lambda record: -record.seconds)[:10]),
        measured_s=sum(record.seconds for record in records),
        peak_memory_bytes=max((record.peak_memory_bytes for record in records), default=0),
        shards=len(records),
        files=kept_files + fresh,
        drifted=count_drifted(ledger),
        batch_s=sum(record.seconds for record in records if record.placement == "batch"),
        bytes_per_row=max((_bytes_per_row(record, models_bytes) for record in records), default=0.0),
    )


def _bytes_per_row(record: ShardRecord, models_bytes: float) -> float:
    """What the shard's process grew by per row, its models apart, where it is enough to measure."""
    grown = record.peak_memory_bytes - record.base_memory_bytes - models_bytes
    if not record.base_memory_bytes or not record.input_rows or grown < _LEAST_GROWTH_BYTES:
        return 0.0
    return grown / record.input_rows


def _read_table(store: Store, path: str) -> pa.Table:
    with open_truth(store, path) as source:
        return pq.ParquetFile(source).read()


def _read_outcomes(store: Store, records: list[ShardRecord]) -> list[pa.Table]:
    """The outcomes of the shards with all their causes."""

    def read(record: ShardRecord) -> pa.Table:
        several = _read_table(store, record.causes) if record.causes else None
        return join_causes(_read_table(store, record.outcomes), several)

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(read, records))
