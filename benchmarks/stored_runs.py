"""A store with a year of runs in it, written straight to a folder or a Blob container, without scoring anything.

Every run has its record and its line of the index. Plans, ledgers, timelines and drift that are alike are one content under many
names; on a Blob container, where every name is an upload, only the newest runs of each workload have them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.models.comparing import compare
from fleetscore.models.model_sets import ModelFile, ModelSet
from fleetscore.models.pins import Pins
from fleetscore.operations.champions.verdicts import Verdict
from fleetscore.operations.notices.ended_runs import Notice
from fleetscore.pipeline.ledger import LEDGER, count_outcomes, group_causes
from fleetscore.predictions import Rates
from fleetscore.records import (
    Manifest,
    PlanHead,
    ResultFile,
    RunRecord,
    RunRequest,
    RunState,
    ShardPlan,
    ShardRecord,
    to_json,
)
from fleetscore.registry import load_kind
from fleetscore.runs.index import line_of
from fleetscore.runs.index_rollup import roll_up_index
from fleetscore.runs.manifests import Latest
from fleetscore.runs.timeline import ShardBar, Timeline
from fleetscore.schemas import PARTITIONS
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import (
    attempt_path,
    index_path,
    latest_path,
    manifest_path,
    notice_path,
    run_id,
    run_path,
    shard_record_path,
    swept_path,
)
from fleetscore.windows import parse_key, window_at

PARTITION_COUNT, SHARDS, HOURS_DRAWN = 10_000, 100, 12
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
KEYS = [
    f"pump-{n // 4:04d}/{('pressure', 'current', 'vibration', 'humidity')[n % 4]}"
    for n in range(PARTITION_COUNT)
]
MIX = (("sensor_anomaly", 0.93), ("server_load", 0.06), ("store_sales", 0.01))
"""Shares of the runs: hours, days and weeks of about the same year."""

MODEL_SETS = {"sensor_anomaly": (52, 10), "server_load": (12, 2), "store_sales": (24, 14)}
"""Workload -> model sets, and files in each."""

VERDICTS, NOTICES = 26, 400
_OF_RUN = ("ledger.parquet", "plan.parquet", "shards.json", "timeline.json", "drift.parquet", "files.json")
_OF_ATTEMPT = ("crumb.json", "outcomes.parquet", "results.parquet")
_UPLOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the files go: `put` writes bytes under a path, `share` a content that many paths have."""

    put: Callable[[str, bytes], Any]
    share: Callable[[str, str], Any]
    planned: int  # so many of the newest runs of each workload have a plan, a ledger and so on
    inputs: int  # so many input files each workload has at the most
    swept_shards: int  # so many shards of each run that housekeeping looks at next have attempts


def fill_folder(root: Path, runs: int) -> tuple[str, str]:
    """Write the store as a folder; gives the run under way and one that ended."""
    contents = shared_contents()
    shared = root.parent / "shared"
    shared.mkdir(parents=True)
    for name, data in contents.items():
        (shared / name).write_bytes(data)

    def put(path: str, data: bytes) -> None:
        _placed(root, path).write_bytes(data)

    def share(path: str, name: str) -> None:
        os.link(shared / name, _placed(root, path))

    told = _fill(Shelf(put, share, runs, runs, SHARDS), runs)
    _keep_house(open_store(str(root)))
    return told


def fill_container(store: Store, runs: int, planned: int, inputs: int, swept_shards: int) -> tuple[str, str]:
    """Write the store to a Blob container; gives the run under way and one that ended."""
    contents = shared_contents()
    store.write("notes/made_by", b"benchmark")  # makes the container
    pool = ThreadPoolExecutor(_UPLOADS_AT_ONCE)
    uploads: list[Future[str]] = []
    shelf = Shelf(
        lambda path, data: uploads.append(pool.submit(store.write, path, data)),
        lambda path, name: uploads.append(pool.submit(store.write, path, contents[name])),
        planned, inputs, swept_shards,
    )  # fmt: skip
    try:
        told = _fill(shelf, runs)
        for upload in uploads:
            upload.result()
    finally:
        pool.shutdown(cancel_futures=True)
    _keep_house(store)
    return told


def _keep_house(store: Store) -> None:
    """Leave the index as last night's housekeeping did."""
    for name, _ in MIX:
        roll_up_index(store, name, NOW)


def _placed(root: Path, path: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def windows_of(name: str, count: int) -> list[str]:
    """The newest `count` windows that have ended, newest first."""
    last = window_at(NOW, load_kind(name).cadences[0])
    return [last.next(-n - 2).key for n in range(count)]


def _fill(shelf: Shelf, runs: int) -> tuple[str, str]:
    for workload, share in MIX:
        _put_runs(shelf, workload, max(1, round(share * runs)))
        _put_models(shelf, workload)
        for window in windows_of(workload, min(shelf.inputs, max(1, round(share * runs)))):
            shelf.put(f"data/{workload}/{window}.csv", b"")
    _put_results(shelf)
    _put_notices(shelf)
    _put_verdicts(shelf)
    live = _put_live_run(shelf)
    return live, run_id("sensor_anomaly", windows_of("sensor_anomaly", 1)[0])


def shared_contents() -> dict[str, bytes]:
    """What the runs have alike, by name."""
    plans = [
        ShardPlan(n, _SIZE, 60 * _SIZE, 1000 * _SIZE, 0.5, 10**6, "batch" if n % 3 else "inline", "by size")
        for n in range(SHARDS)
    ]
    counts = {"scored": 97, "failed": 3}
    bars = [
        ShardBar(p.shard, p.placement, _SIZE, "committed", NOW + timedelta(seconds=p.shard // 8), 0.9 + 0.01 * (p.shard % 17), counts, 1)
        for p in plans
    ]  # fmt: skip
    return {
        "ledger.parquet": _parquet(make_ledger(), row_group_size=65_536),
        "plan.parquet": _plan_table(),
        "shards.json": to_json(plans),
        "timeline.json": to_json(Timeline(tuple(bars))),
        "drift.parquet": _parquet(_drift()),
        "files.json": b"[]",
        "results.parquet": _results(),
        "sketches.parquet": _parquet(_shares()),
        "verdict.parquet": _parquet(_judged()),
        "crumb.json": b"{}",
        "outcomes.parquet": b"",
    }


_SIZE = PARTITION_COUNT // SHARDS


def make_ledger() -> pa.Table:
    """10,000 lines: most scored, 2 % failed, 1 % late. They name the newest run, since all runs share them."""
    kinds = np.array(["scored"] * 97 + ["failed"] * 2 + ["late"])[np.arange(PARTITION_COUNT) % 100]
    causes = {"scored": "", "failed": "bad_model", "late": "no_readings"}
    details = {
        "scored": "",
        "failed": "Its model does not fit its file's checksum.",
        "late": "No reading in the window.",
    }
    scored = kinds == "scored"
    columns = {
        "partition": KEYS,
        "outcome": kinds.tolist(),
        "cause": [causes[kind] for kind in kinds],
        "detail": [details[kind] for kind in kinds],
        "input_rows": [60] * PARTITION_COUNT,
        "rows": np.where(scored, 60, 0),
        "model": [_version(0)] * PARTITION_COUNT,
        "seconds": [1e-5] * PARTITION_COUNT,
        "shard": np.arange(PARTITION_COUNT) * SHARDS // PARTITION_COUNT,
        "file": np.where(scored, "runs/shared/results.parquet", "").tolist(),
        "run": [run_id("sensor_anomaly", windows_of("sensor_anomaly", 1)[0])] * PARTITION_COUNT,
    }
    return pa.table(columns, schema=LEDGER).sort_by("partition")


def _plan_table() -> bytes:
    schema = PARTITIONS.append(pa.field("shard", pa.int32())).append(pa.field("kept", pa.bool_()))
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, schema) as writer:
        for shard in range(SHARDS):
            settled = {"outcome": "", "cause": "", "detail": "", "shard": shard, "kept": False}
            row = {"rows": 60, "size_bytes": 1000, "model": _version(0), **settled}
            keys = KEYS[shard * _SIZE : (shard + 1) * _SIZE]
            writer.write_table(pa.Table.from_pylist([{"partition": key, **row} for key in keys], schema))
    return buffer.getvalue()


def _drift() -> pa.Table:
    generator = np.random.default_rng(5)
    score = generator.exponential(0.2, PARTITION_COUNT)
    measures = ("shift", "spread", "prediction", "missing", "mean", "mean_before", "std", "std_before")
    return pa.table(
        {
            "partition": sorted(KEYS), "model": [_version(0)] * PARTITION_COUNT, "worst": ["shift"] * PARTITION_COUNT, "score": score,
            **{name: generator.random(PARTITION_COUNT) for name in measures}, "is_drifted": score > 1.0,
        }
    )  # fmt: skip


def _put_runs(shelf: Shelf, workload: str, count: int) -> None:
    """The runs of one workload, the days of its index, and what the next night's housekeeping has to look at."""
    days: dict[str, dict[str, Any]] = {}
    ledger = make_ledger()
    counts, causes = count_outcomes(ledger), group_causes(ledger)
    due = f"{NOW - timedelta(days=31):%Y-%m-%d}"  # the attempts of this day's runs go tonight
    for number, window in enumerate(windows_of(workload, count)):
        record = ended_record(workload, window, counts, causes)
        run, day = record.request.run, f"{record.request.requested:%Y-%m-%d}"
        shelf.put(run_path(run, "run.json"), to_json(record))
        if number < shelf.planned:
            shelf.put(run_path(run, "plan.json"), to_json(plan_head(record.request)))
            for name in _OF_RUN:
                shelf.share(run_path(run, name), name)
        if day == due:
            for shard in range(shelf.swept_shards):
                _put_attempt(shelf, record.request, shard, committed=True)
        days.setdefault(day, {})[run] = line_of(record)
    for day, lines in days.items():
        shelf.put(index_path(workload, day), msgspec.json.encode(lines))
    kept_days = {"unpublished": 90, "attempt": 30, "log": 30}
    marks = {kind: f"{NOW - timedelta(days=days + 2):%Y-%m-%d}" for kind, days in kept_days.items()}
    shelf.put(swept_path(workload), msgspec.json.encode(marks))
    shelf.put(f"settings/{workload}.toml", b"[run]\nbudget_usd = 1000000.0\n")


def _put_attempt(shelf: Shelf, request: RunRequest, shard: int, *, committed: bool) -> None:
    for name in _OF_ATTEMPT if committed else _OF_ATTEMPT[:1]:
        content = "outcomes.parquet" if name.endswith(".parquet") else name
        shelf.share(attempt_path(request.run, shard, "a1", name), content)
    if committed:
        outcomes = attempt_path(request.run, shard, "a1", "outcomes.parquet")
        record = ShardRecord(
            request.run, shard, "a1", "inline", request.requested, 0.9, {"scored": 97, "failed": 3}, 5_820, 6_000, outcomes, None,
        )  # fmt: skip
        shelf.put(shard_record_path(request.run, shard), to_json(record))


def ended_record(workload: str, window: str, counts: Any, causes: Any) -> RunRecord:
    """A run that took twenty seconds, soon after its window ended."""
    end = parse_key(window).end
    request = RunRequest(run_id(workload, window), workload, window, 1, end + timedelta(minutes=5), "timer")
    return RunRecord(
        request, RunState.PUBLISHED, end, started=request.requested, ended=request.requested + timedelta(seconds=20),
        partitions=PARTITION_COUNT, counts=counts, rows=582_000, input_rows=600_000, shards=SHARDS, predicted_s=50.0, measured_s=48.0,
        seconds={"total": 20.0}, causes=causes, manifest=manifest_path(workload, window), facts={"cost_usd": 0.012},
    )  # fmt: skip


def plan_head(request: RunRequest) -> PlanHead:
    """The head of the plan that all runs share."""
    return PlanHead(
        request, request.requested, PARTITION_COUNT, PARTITION_COUNT, {}, 600_000, 10**7, SHARDS, SHARDS // 3, 50.0,
        run_path(request.run, "plan.parquet"), run_path(request.run, "shards.json"), (), {_version(0): PARTITION_COUNT},
        Rates(0.1, 0.0, 0.0, 1.0),
    )  # fmt: skip


def _put_models(shelf: Shelf, workload: str) -> None:
    """A year of model sets, of which the newest is the current one."""
    sets, files = MODEL_SETS[workload]
    digest = hashlib.sha256(b"1").hexdigest()
    for number in range(sets):
        version = _version(number)
        names = [f"part-{n:03d}.bin" for n in range(files)]
        card = {"models": PARTITION_COUNT, "trained_on": "2025", "rows": 10**8}
        written = ModelSet(
            workload, version, NOW - timedelta(weeks=number), {n: ModelFile(1, digest) for n in names}, card
        )
        shelf.put(f"models/{workload}/{version}/set.json", msgspec.json.encode(written))
        for name in names:
            shelf.put(f"models/{workload}/{version}/{name}", b"1")
    shelf.put(f"models/{workload}/pins.json", msgspec.json.encode(Pins(_version(0))))


def _version(weeks_ago: int) -> str:
    return f"{NOW - timedelta(weeks=weeks_ago):%Y%m%dT%H%M%SZ}-0000{weeks_ago:04d}"


def _put_verdicts(shelf: Shelf) -> None:
    for number in range(VERDICTS):
        at = NOW - timedelta(weeks=2 * number)
        name = f"{at:%Y%m%dT%H%M%SZ}-{_version(number)}"
        verdict = Verdict(
            name, "store_sales", _version(1), _version(number), at, "me", ("2026-W01",), "pinball", 2.0, 1.9, -0.05, 10_000, 1_000,
            {"same": 1_000}, False, "It is not better in all.", f"models/store_sales/verdicts/{name}.parquet",
        )  # fmt: skip
        shelf.put(f"models/store_sales/verdicts/{name}.json", to_json(verdict))
        shelf.share(verdict.table, "verdict.parquet")


def _judged() -> pa.Table:
    """A verdict partition by partition."""
    losses = np.random.default_rng(3).random((2, PARTITION_COUNT))
    better = compare(losses[0], losses[1])
    columns = {
        "partition": sorted(KEYS),
        "champion": losses[0],
        "challenger": losses[1],
        "cases": [60] * PARTITION_COUNT,
    }
    return pa.table({**columns, "better": pa.array(better, pa.string())})


def _put_notices(shelf: Shelf) -> None:
    for number, window in enumerate(windows_of("sensor_anomaly", NOTICES)):
        run = run_id("sensor_anomaly", window)
        name = f"published_with_failures-{run}"
        notice = Notice(name, "published_with_failures", "sensor_anomaly", "200 failed.", NOW, window, run)
        shelf.put(notice_path("sent" if number > 1 else "pending", name), to_json(notice))


def _results() -> bytes:
    """A results file with a row group per five hundred partitions."""
    workload = load_kind("sensor_anomaly")()
    end = workload.parse_window(windows_of("sensor_anomaly", 1)[0]).end
    generator = np.random.default_rng(7)
    minutes = int(end.timestamp() - 3600) * 10**6 + np.arange(60) * 60 * 10**6
    times = pa.array(minutes).cast(pa.timestamp("us", "UTC"))
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, workload.result_schema, **workload.parquet_options) as writer:
        for start in range(0, PARTITION_COUNT, 500):
            fields = [key.split("/") for key in sorted(KEYS)[start : start + 500]]
            rows = len(fields) * 60
            values = 5 + 0.1 * generator.standard_normal(rows)
            anomaly = (generator.random(rows) < 0.01).astype(np.int8)
            columns = [
                pa.concat_arrays([times] * len(fields)),
                *(pa.array(np.repeat([f[n] for f in fields], 60)) for n in (0, 1)),
                pa.array(values), pa.array(values), pa.array(anomaly), pa.array(["v"] * rows),
            ]  # fmt: skip
            typed = [c.cast(f.type) for c, f in zip(columns, workload.result_schema, strict=True)]
            writer.write_table(pa.table(typed, schema=workload.result_schema))
    return buffer.getvalue()


def _shares() -> pa.Table:
    shares = np.random.default_rng(9).random(PARTITION_COUNT)
    return pa.table({"partition": sorted(KEYS), "anomaly_share": shares})


def _put_results(shelf: Shelf) -> None:
    """Manifests of the newest hours, all of one results file."""
    for name in ("results.parquet", "sketches.parquet"):
        shelf.share(f"runs/shared/{name}", name)
    file = ResultFile("runs/shared/results.parquet", 600_000, "", PARTITION_COUNT)
    for window in windows_of("sensor_anomaly", HOURS_DRAWN):
        run = run_id("sensor_anomaly", window)
        manifest = Manifest(
            "sensor_anomaly", window, run, 1, NOW, {"v": 9_700}, {"scored": 9_700}, PARTITION_COUNT, 582_000, (file,),
            run_path(run, "ledger.parquet"),
        )  # fmt: skip
        shelf.put(manifest_path("sensor_anomaly", window), to_json(manifest))
    newest, first = windows_of("sensor_anomaly", 300)[::299]
    path, run = manifest_path("sensor_anomaly", newest), run_id("sensor_anomaly", newest)
    shelf.put(latest_path("sensor_anomaly"), to_json(Latest(first, newest, path, run)))


def _put_live_run(shelf: Shelf) -> str:
    """A run that is scoring: half of its shards are committed, a tenth is being scored."""
    window = parse_key(windows_of("sensor_anomaly", 1)[0]).next().key
    request = ended_record("sensor_anomaly", window, {}, ()).request
    request = replace(request, requested=NOW, who="me")  # a timer's run would hold up the backfill
    record = RunRecord(
        request, RunState.SCORING, datetime.now(UTC), started=NOW, partitions=PARTITION_COUNT, shards=SHARDS, predicted_s=50.0,
    )  # fmt: skip
    for name in ("plan.parquet", "shards.json"):
        shelf.share(run_path(request.run, name), name)
    shelf.put(run_path(request.run, "plan.json"), to_json(plan_head(request)))
    shelf.put(run_path(request.run, "run.json"), to_json(record))
    for shard in range(6 * SHARDS // 10):
        _put_attempt(shelf, request, shard, committed=shard < SHARDS // 2)
    today: Sequence[RunRecord] = [
        ended_record("sensor_anomaly", key, {"scored": PARTITION_COUNT}, ())
        for key in windows_of("sensor_anomaly", 25)
    ]
    lines = {r.request.run: line_of(r) for r in [*today, record] if r.request.requested.date() == NOW.date()}
    shelf.put(index_path("sensor_anomaly", f"{NOW:%Y-%m-%d}"), msgspec.json.encode(lines))
    return request.run


def _parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()
