"""The first shard, and the first mini-batch, of a fresh process against the second: without compiled code, and with code that was
compiled ahead.

Each line is the whole life of a process, interpreter and imports included, until its first shard is committed or its first mini-batch is
answered (as POST /api/score does); the warm figure is the next window's shard, or the same mini-batch again, in the same process.
Writes benchmarks/results/cold_start.json and prints the table.
Run: python benchmarks/cold_start.py
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]  # a checkout that is not installed

from fleetscore.process_environment import SCORING_ENVIRONMENT  # noqa: E402

SCALES = {"sensor_anomaly": 0.05, "store_sales": 0.05, "server_load": 0.02}


def main() -> None:
    """Make samples and models, measure each kind in each state, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--life", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.life:
        print(json.dumps(live(*asked.life)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        lines = [line for name in SCALES for line in measure(Path(temporary), name)]
    print(
        "A fresh process from its start, imports included, until its first window is published or its first mini-batch of 20 rows is "
        "answered, and the second of the same after that.\n"
    )
    print("| kind | first use | state | first s | CPU s | compiled | loaded | warm s | CPU s |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|")
    for m in lines:
        print(
            f"| {m['kind']} | {m['use']} | {m['state']} | {m['first_s']:.2f} | {m['first_cpu_s']:.2f} | {m['compiled']} "
            f"| {m['loaded']} | {m['warm_s']:.2f} | {m['warm_cpu_s']:.2f} |"
        )
    (HERE / "results" / "cold_start.json").write_text(json.dumps(lines, indent=1) + "\n")


def measure(folder: Path, name: str) -> list[dict[str, Any]]:
    """The kind in both states, on a store of its own."""
    from fleetscore.capabilities import MakesSamples, require
    from fleetscore.pipeline.local import run_training
    from fleetscore.registry import get_workload
    from fleetscore.store import open_store

    store = open_store(str(folder / name))
    report = require(get_workload(store, name), MakesSamples).samples(store, scale=SCALES[name], seed=7)
    run_training(store, name, str(report.facts["train_from"]), str(report.facts["train_to"]))
    windows = f"{report.first.key},{report.first.next(1).key}"
    lines = []
    for state in ("nothing compiled", "compiled ahead"):
        for kept in ("runs", "results", "tables"):
            shutil.rmtree(folder / name / kept, ignore_errors=True)
        lines.append({"kind": name, "use": "window", "state": state} | born(folder, name, windows, state))
    rows = json.dumps(rows_for(folder / name, name, report.first.next(1).key))
    return lines + [
        {"kind": name, "use": "mini-batch", "state": state} | born(folder, name, rows, state)
        for state in ("nothing compiled", "compiled ahead")
    ]


def rows_for(folder: Path, name: str, window: str) -> list[dict[str, Any]]:
    """Twenty rows of a mini-batch for partitions that the window has results of."""
    from fleetscore.runs.manifests import read_manifest, read_results
    from fleetscore.store import open_store

    store = open_store(str(folder))
    results = read_results(store, read_manifest(store, name, window)).slice(0, 20).to_pylist()
    if name == "server_load":
        return [
            {"ServerIP": row["server"], "SessionStartHourTime": f"{row['hour']:%Y-%m-%d %H:%M:%S}"}
            for row in results
        ]
    columns = ("store", "sku", "week") if name == "store_sales" else ("device", "sensor", "value")
    return [{column: row[column] for column in columns} for row in results]


def born(folder: Path, name: str, work: str, state: str) -> dict[str, Any]:
    """The figures of one process, from the moment before it is started."""
    empty = folder / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    environment = {**SCORING_ENVIRONMENT, **os.environ}
    if state == "nothing compiled":
        environment["NUMBA_CPU_NAME"] = "x86-64-v2"  # for which nothing was compiled ahead
        environment["NUMBA_CPU_FEATURES"] = ""
        environment["NUMBA_CACHE_DIR"] = str(empty)
    began = time.time()
    command = [sys.executable, __file__, "--life", str(folder / name), name, work]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    told = json.loads(done.stdout)
    return told | {"first_s": told.pop("first_at") - began}


def live(folder: str, name: str, work: str) -> dict[str, Any]:
    """Run two windows as the app's activities would, or answer the rows twice; how long the first took with all imports, and the second."""
    answer = _answerer(folder, name, work) if work.startswith("[") else _runner(folder, name, work)
    answer()
    first_at, first_cpu = time.time(), time.process_time()
    answer()
    warm_s, warm_cpu = time.time() - first_at, time.process_time() - first_cpu
    from fleetscore.kernels.cache import COUNTS

    return {"first_at": first_at, "first_cpu_s": first_cpu, "warm_s": warm_s, "warm_cpu_s": warm_cpu} | COUNTS


def _runner(folder: str, name: str, windows: str) -> Callable[[], None]:
    """Runs one window after the other, at each call the next."""
    remaining = iter(windows.split(","))

    def run() -> None:
        from fleetscore.pipeline.local import run_window
        from fleetscore.store import open_store

        run_window(open_store(folder), name, next(remaining))

    return run


def _answerer(folder: str, name: str, rows: str) -> Callable[[], None]:
    """Answers the rows, as the scoring API does."""

    def answer() -> None:
        from fleetscore.pipeline.score_rows import answer_rows, read_rows
        from fleetscore.store import open_store

        given = read_rows(f'{{"rows": {rows}}}'.encode(), "application/json")
        assert len(answer_rows(open_store(folder), name, given)["answers"]) == len(given)

    return answer


if __name__ == "__main__":
    main()
