"""How fast dashboard and runs API answer with 10,000 runs of 10,000 partitions in the store, through the local host over HTTP.

The store has a record, a plan, a ledger, a timeline and a line of the index for every run; ledgers, plans and result files that are
alike are one file with many names. One run is under way with half of its shards committed. Prints a table, and ends with an error
if a median is over the limit. Run: python benchmarks/dashboard.py [--quick] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import requests

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fleetscore.layout import (  # noqa: E402  # the path has to be set first
    index_path,
    latest_path,
    manifest_path,
    run_id,
    run_path,
    shard_folder,
    shard_record_path,
)
from fleetscore.ledger import LEDGER, count_outcomes, group_causes  # noqa: E402
from fleetscore.manifest import Latest  # noqa: E402
from fleetscore.records import (  # noqa: E402
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
from fleetscore.run_index import line_of  # noqa: E402
from fleetscore.stores import open_store  # noqa: E402
from fleetscore.stores.base import Store  # noqa: E402
from fleetscore.timeline import ShardBar, Timeline  # noqa: E402
from fleetscore.workloads import get_workload  # noqa: E402
from fleetscore.workloads.base import PARTITIONS, Rates  # noqa: E402

LIMIT_MS = 200.0
PARTITION_COUNT, SHARDS, HOURS_DRAWN = 10_000, 100, 12
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
KEYS = [
    f"pump-{n // 4:04d}/{('pressure', 'current', 'vibration', 'humidity')[n % 4]}"
    for n in range(PARTITION_COUNT)
]
MIX = (("sensor_anomaly", 0.93), ("server_load", 0.06), ("store_sales", 0.01))
"""Shares of the runs: hours, days and weeks of about the same year."""


def main() -> None:
    """Write the store, measure every address, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 runs, and nothing is kept")
    parser.add_argument("--keep", type=Path, help="write the store here and leave it")
    asked = parser.parse_args()
    runs = 1_000 if asked.quick else 10_000
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = asked.keep or Path(scratch)
        store = open_store(str(folder / "store"))
        clock = time.perf_counter()
        live, ended = write_store(store, folder / "store", runs)
        print(f"<!-- store written in {time.perf_counter() - clock:.0f} s -->")
        with running_host(folder) as url:
            lines = [
                measure(url, name, path, 10 if asked.quick else 40) for name, path in addresses(live, ended)
            ]
    print(f"{runs:,} runs of {PARTITION_COUNT:,} partitions; through the local host, over HTTP.\n")
    print("| what | median ms | 95 % ms | kB |\n|---|--:|--:|--:|")
    for line in lines:
        print(f"| {line['what']} | {line['median_ms']:.0f} | {line['p95_ms']:.0f} | {line['kb']:.0f} |")
    if not asked.quick:
        (Path(__file__).parent / "results").mkdir(exist_ok=True)
        (Path(__file__).parent / "results" / "dashboard.json").write_text(json.dumps(lines, indent=1) + "\n")
    slow = [line["what"] for line in lines if line["median_ms"] > LIMIT_MS]
    if slow:
        sys.exit(f"over {LIMIT_MS:.0f} ms: {', '.join(slow)}")


def addresses(live: str, ended: str) -> list[tuple[str, str]]:
    """What is asked, by name."""

    def page(**parameters: str) -> str:
        return f"dashboard?{urlencode(parameters)}"

    window = ended.removeprefix("sensor_anomaly-")
    return [
        ("overview", "dashboard"),
        ("a workload with its history", page(workload="sensor_anomaly")),
        ("history, the page before a run", page(workload="sensor_anomaly", before=ended)),
        ("a run that ended", page(run=ended)),
        ("a run under way", page(run=live)),
        ("search among its partitions", page(run=ended, find="pump-12")),
        ("partitions of one cause", page(run=ended, outcome="failed", cause="bad_model")),
        ("a partition's story", page(run=ended, partition=KEYS[1234])),
        (f"readings of {HOURS_DRAWN} hours, drawn", page(view="results", workload="sensor_anomaly", window=window)),
        ("GET /api/runs", "runs"),
        ("GET /api/runs?workload=", "runs?workload=server_load"),
        ("GET /api/runs?limit=1000", "runs?limit=1000"),
        ("GET /api/runs?before=", f"runs?before={ended}"),
        ("GET /api/runs/{id}, ended", f"runs/{ended}"),
        ("GET /api/runs/{id}, under way", f"runs/{live}"),
        ("GET /api/runs/{id}/partitions/{partition}", f"runs/{ended}/partitions/{quote(KEYS[1234])}"),
    ]  # fmt: skip


def measure(url: str, what: str, path: str, times: int) -> dict[str, Any]:
    """Ask once to warm up, then `times` times."""
    session = requests.Session()
    session.get(f"{url}/api/{path}", timeout=60).raise_for_status()
    took, size = [], 0
    for _ in range(times):
        clock = time.perf_counter()
        answer = session.get(f"{url}/api/{path}", timeout=60)
        took.append(1000 * (time.perf_counter() - clock))
        answer.raise_for_status()
        size = len(answer.content)
    return {
        "what": what,
        "median_ms": statistics.median(took),
        "p95_ms": statistics.quantiles(took, n=20)[-1],
        "kb": size / 1000,
    }


@contextmanager
def running_host(folder: Path) -> Iterator[str]:
    """The app on the local host, over the store in `folder`."""
    address = folder / "host" / "address.json"
    address.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "devhost",
        "start",
        str(ROOT),
        "--port",
        "0",
        "--data",
        str(folder / "host"),
    ]
    never = "0 0 0 1 1 *"  # the timers would start windows
    timers = {f"FLEETSCORE_{name.upper()}_SCHEDULE": never for name, _ in MIX}
    environment = {
        **os.environ,
        "FLEETSCORE_STORE": (folder / "store").as_uri(),
        "OMP_NUM_THREADS": "1",
        **timers,
    }
    with (folder / "host.log").open("wb") as log:
        host = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not address.exists() and host.poll() is None:
                time.sleep(0.05)
            yield json.loads(address.read_text())["url"]
        finally:
            os.killpg(host.pid, signal.SIGKILL)
            host.wait()


def write_store(store: Store, root: Path, runs: int) -> tuple[str, str]:
    """Fill the store; gives the run under way and one that ended."""
    ledger = make_ledger()
    shared = root / "shared"
    shared.mkdir(parents=True, exist_ok=True)
    pq.write_table(ledger, shared / "ledger.parquet", compression="zstd", row_group_size=65_536)
    write_plan(shared)
    for workload, share in MIX:
        write_workload(store, root, workload, round(share * runs), ledger)
    write_results(store, root)
    live = write_live_run(store, root)
    return live, run_id("sensor_anomaly", windows_of("sensor_anomaly", 1)[0])


def windows_of(name: str, count: int) -> list[str]:
    """The newest `count` windows that have ended, newest first."""
    from fleetscore.windows import window_at

    cadence = get_workload(name).cadences[0]
    last = window_at(NOW, cadence)
    return [last.next(-n - 2).key for n in range(count)]


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
        "model": ["20260101T000000Z-00000000"] * PARTITION_COUNT,
        "seconds": [1e-5] * PARTITION_COUNT,
        "shard": np.arange(PARTITION_COUNT) * SHARDS // PARTITION_COUNT,
        "file": np.where(scored, "runs/shared/results.parquet", "").tolist(),
        "run": [run_id("sensor_anomaly", windows_of("sensor_anomaly", 1)[0])] * PARTITION_COUNT,
    }
    return pa.table(columns, schema=LEDGER).sort_by("partition")


def write_plan(shared: Path) -> None:
    """The plan's table and its list of shards."""
    size = PARTITION_COUNT // SHARDS
    with pq.ParquetWriter(
        shared / "plan.parquet",
        PARTITIONS.append(pa.field("shard", pa.int32())).append(pa.field("kept", pa.bool_())),
    ) as writer:
        for shard in range(SHARDS):
            keys = KEYS[shard * size : (shard + 1) * size]
            rows = {
                "rows": 60,
                "size_bytes": 1000,
                "model": "v",
                "outcome": "",
                "cause": "",
                "detail": "",
                "shard": shard,
                "kept": False,
            }
            writer.write_table(
                pa.Table.from_pylist([{"partition": key, **rows} for key in keys], writer.schema)
            )
    plans = [
        ShardPlan(n, size, 60 * size, 1000 * size, 0.5, 10**6, "batch" if n % 3 else "inline", "by size")
        for n in range(SHARDS)
    ]
    (shared / "shards.json").write_bytes(to_json(plans))
    bars = [
        ShardBar(
            p.shard,
            p.placement,
            size,
            "committed",
            NOW + timedelta(seconds=p.shard // 8),
            0.9 + 0.01 * (p.shard % 17),
            {"scored": 97, "failed": 3},
            1,
        )
        for p in plans
    ]
    (shared / "timeline.json").write_bytes(to_json(Timeline(tuple(bars))))  # fmt: skip


def write_workload(store: Store, root: Path, workload: str, count: int, ledger: pa.Table) -> None:
    """The runs of one workload, and the days of its index."""
    days: dict[str, dict[str, Any]] = {}
    counts, causes = count_outcomes(ledger), group_causes(ledger)
    for window in windows_of(workload, count):
        record = ended_record(workload, window, counts, causes)
        run = record.request.run
        folder = root / "runs" / run
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_bytes(to_json(record))
        (folder / "plan.json").write_bytes(to_json(plan_head(record.request)))
        (folder / "files.json").write_bytes(b"[]")
        for name in ("ledger.parquet", "plan.parquet", "shards.json", "timeline.json"):
            os.link(root / "shared" / name, folder / name)
        days.setdefault(f"{record.request.requested:%Y-%m-%d}", {})[run] = line_of(record)
    for day, lines in days.items():
        store.write(index_path(workload, day), msgspec.json.encode(lines))


def ended_record(workload: str, window: str, counts: Any, causes: Any) -> RunRecord:
    """A run that took twenty seconds, soon after its window ended."""
    end = get_workload(workload).parse_window(window).end
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
        run_path(request.run, "plan.parquet"), run_path(request.run, "shards.json"), (), {"v": PARTITION_COUNT}, Rates(0.1, 0.0, 0.0, 1.0),
    )  # fmt: skip


def write_results(store: Store, root: Path) -> None:
    """Manifests of the newest hours, all of one results file with a row group per five hundred partitions."""
    workload = get_workload("sensor_anomaly")
    end = workload.parse_window(windows_of("sensor_anomaly", 1)[0]).end
    path = root / "runs" / "shared" / "results.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    times = pa.array(int(end.timestamp() - 3600) * 10**6 + np.arange(60) * 60 * 10**6).cast(
        pa.timestamp("us", "UTC")
    )
    with pq.ParquetWriter(path, workload.result_schema, **workload.parquet_options) as writer:
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
            writer.write_table(
                pa.table(
                    [c.cast(f.type) for c, f in zip(columns, workload.result_schema, strict=True)],
                    schema=workload.result_schema,
                )
            )
    shares = pa.table({"partition": sorted(KEYS), "anomaly_share": generator.random(PARTITION_COUNT)})
    pq.write_table(shares, path.with_name("sketches.parquet"))
    file = ResultFile("runs/shared/results.parquet", 600_000, "", PARTITION_COUNT)
    for window in windows_of("sensor_anomaly", HOURS_DRAWN):
        run = run_id("sensor_anomaly", window)
        manifest = Manifest(
            "sensor_anomaly",
            window,
            run,
            1,
            NOW,
            {"v": 9_700},
            {"scored": 9_700},
            PARTITION_COUNT,
            582_000,
            (file,),
            run_path(run, "ledger.parquet"),
        )
        store.write(manifest_path("sensor_anomaly", window), to_json(manifest))
    newest = windows_of("sensor_anomaly", 1)[0]
    latest = Latest(
        windows_of("sensor_anomaly", 300)[-1],
        newest,
        manifest_path("sensor_anomaly", newest),
        run_id("sensor_anomaly", newest),
    )
    store.write(latest_path("sensor_anomaly"), to_json(latest))


def write_live_run(store: Store, root: Path) -> str:
    """A run that is scoring: half of its shards are committed, a tenth is being scored."""
    window = get_workload("sensor_anomaly").parse_window(windows_of("sensor_anomaly", 1)[0]).next().key
    template = ended_record("sensor_anomaly", window, {}, ())
    request = replace(template.request, requested=NOW)
    record = RunRecord(
        request,
        RunState.SCORING,
        datetime.now(UTC),
        started=NOW,
        partitions=PARTITION_COUNT,
        shards=SHARDS,
        predicted_s=50.0,
    )
    folder = root / "runs" / request.run
    folder.mkdir(parents=True)
    for name in ("plan.parquet", "shards.json"):
        os.link(root / "shared" / name, folder / name)
    (folder / "plan.json").write_bytes(to_json(plan_head(request)))
    (folder / "run.json").write_bytes(to_json(record))
    for shard in range(6 * SHARDS // 10):
        base = f"{shard_folder(request.run, shard)}attempts/a1/"
        store.write(f"{base}crumb.json", b"{}")
        if shard < SHARDS // 2:
            for name in ("outcomes.parquet", "results.parquet", "sketches.parquet"):
                store.write(base + name, b"")
            committed = ShardRecord(
                request.run,
                shard,
                "a1",
                "inline",
                NOW,
                0.9,
                {"scored": 97, "failed": 3},
                5_820,
                6_000,
                f"{base}outcomes.parquet",
                None,
            )
            store.write(shard_record_path(request.run, shard), to_json(committed))
    day = index_path("sensor_anomaly", f"{NOW:%Y-%m-%d}")
    lines = json.loads(store.read(day)) if store.stat(day) else {}
    store.write(day, msgspec.json.encode(lines | {request.run: line_of(record)}))
    return request.run


if __name__ == "__main__":
    main()
