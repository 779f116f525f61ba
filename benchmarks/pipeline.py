"""How plan, ledger and manifest scale from 1,000 to 1,000,000 partitions: seconds, microseconds per partition, peak memory.

Each size runs in a process of its own (peak memory is the process's). Writes benchmarks/results/pipeline.json and docs/images/pipeline.png.
Run: python benchmarks/pipeline.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the largest size")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.size:
        print(json.dumps(measure(asked.size)))
        return
    lines = [measure_apart(size) for size in (SIZES[:-1] if asked.quick else SIZES)]
    print("| partitions | shards | plan s | µs per partition | ledger + manifest s | all s | peak MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for m in lines:
        print(
            f"| {m['partitions']:,} | {m['shards']} | {m['plan_s']:.2f} | {m['plan_us']:.1f} "
            f"| {m['ledger_s']:.2f} | {m['plan_s'] + m['ledger_s']:.2f} | {m['peak_mb']:.0f} |"
        )
    if not asked.quick:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "pipeline.json").write_text(json.dumps(lines, indent=1) + "\n")
        draw(lines, HERE.parent / "docs" / "images" / "pipeline.png")


def measure_apart(size: int) -> dict[str, Any]:
    """Measure one size in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--size", str(size)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def measure(size: int) -> dict[str, Any]:
    """Plan, score (not counted), collect and publish one run of `size` partitions."""
    import os

    os.environ["FLEETSCORE_WORKLOADS"] = "fleet=fleet_workload:Fleet"
    sys.path.insert(0, str(HERE))
    from fleetscore.app_settings import AppSettings
    from fleetscore.pipeline.collect import collect_run
    from fleetscore.pipeline.finish import finish_run
    from fleetscore.pipeline.plan import commit_plan
    from fleetscore.pipeline.score import score_shard
    from fleetscore.pipeline.submit import submit_run
    from fleetscore.runs.run_records import record_planned
    from fleetscore.store import open_store

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        store.write("settings/fleet.toml", f"partitions = {size}\n".encode())
        now = datetime.now(UTC)
        request = submit_run(store, "fleet", "2026-01-01T00", now, "benchmark").request
        start = time.perf_counter()
        head = commit_plan(store, request, AppSettings(inline_shard_s=5.0), now)
        record_planned(store, head, now)
        planned = time.perf_counter()
        for shard in range(head.shards):
            score_shard(store, request.run, shard)
        scored = time.perf_counter()
        collected = collect_run(store, request.run)
        ending = finish_run(store, request, now)
        ended = time.perf_counter()
    assert ending.state == "published", ending
    assert sum(collected.counts.values()) == size
    return {
        "partitions": size,
        "shards": head.shards,
        "plan_s": planned - start,
        "plan_us": 1e6 * (planned - start) / size,
        "ledger_s": ended - scored,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Chart microseconds per partition against partitions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    sizes = [m["partitions"] for m in lines]
    axes.loglog(sizes, [m["plan_us"] for m in lines], "o-", label="plan")
    axes.loglog(
        sizes, [1e6 * m["ledger_s"] / m["partitions"] for m in lines], "s--", label="ledger and manifest"
    )
    axes.set(xlabel="partitions", ylabel="µs per partition", title="Cost of the pipeline")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
