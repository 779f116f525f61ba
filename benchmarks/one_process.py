"""Shards as threads of one process on one core, as on an app instance of 2 GB: one after the other against several at once.

Each way runs in a fresh process on one core and scores the same shards, each as large as an inline shard may be on such an instance.
Writes benchmarks/results/one_process.json and prints the table of docs/decisions/0012-activities-at-once.md.
Run: python benchmarks/one_process.py
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]  # a checkout that is not installed

from fleetscore.process_environment import SCORING_ENVIRONMENT  # noqa: E402

AT_ONCE = (1, 2, 4)
SHARD_BYTES = 608_000_000  # a little more than the 568 MB that infra/main.bicep sets for 2 GB
READINGS = 10_000  # of each of 2,000 sensors


def main() -> None:
    """Make the estate, measure every way, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.at_once:
        print(json.dumps(measure(asked.folder, asked.at_once)))
        return
    from benchmarks.sensor_anomaly_rivals import make_estate

    with tempfile.TemporaryDirectory() as temporary:
        folder = make_estate(Path(temporary) / "estate", READINGS)
        lines = [measure_apart(folder, at_once) for at_once in AT_ONCE]
    print("| shards at once | shards | s | CPU s | loaded process, MB | peak, MB |")
    print("|--:|--:|--:|--:|--:|--:|")
    for m in lines:
        print(
            f"| {m['at_once']} | {m['shards']} | {m['wall_s']:.1f} | {m['cpu_s']:.1f} "
            f"| {m['base_bytes'] / 1e6:.0f} | {m['peak_bytes'] / 1e6:.0f} |"
        )
    (HERE / "results" / "one_process.json").write_text(json.dumps(lines, indent=1) + "\n")


def measure_apart(folder: Path, at_once: int) -> dict[str, Any]:
    """Measure one way in a fresh process on one core."""
    from benchmarks.sensor_anomaly import forget_runs

    forget_runs(folder)
    command = [sys.executable, __file__, "--at-once", str(at_once), "--folder", str(folder)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**SCORING_ENVIRONMENT, **os.environ},
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )
    return dict(json.loads(done.stdout))


def measure(folder: Path, at_once: int) -> dict[str, Any]:
    """Plan the window, then score its shards by so many threads: seconds, processor seconds, memory before and at the peak."""
    from benchmarks.sensor_anomaly_rivals import WINDOW
    from fleetscore.app_settings import AppSettings
    from fleetscore.pipeline.plan import commit_plan
    from fleetscore.pipeline.score import score_shard
    from fleetscore.pipeline.submit import submit_run
    from fleetscore.runs.run_records import record_planned
    from fleetscore.store import open_store

    store = open_store(str(folder))
    request = submit_run(store, "sensor_anomaly", WINDOW, datetime.now(UTC), "benchmark").request
    head = commit_plan(store, request, AppSettings(inline_memory_bytes=SHARD_BYTES), datetime.now(UTC))
    record_planned(store, head, datetime.now(UTC))
    base_bytes, start, cpu_start = peak_bytes(), time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda shard: score_shard(store, request.run, shard), range(head.shards)))
    return {
        "at_once": at_once,
        "shards": head.shards,
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu_start,
        "base_bytes": base_bytes,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
