"""The first shard of a fresh process against the second: without compiled code, and with code that was compiled ahead.

Each line is the whole life of a process, interpreter and imports included, until its first shard is committed; the warm figure is the
next window's shard in the same process. Writes benchmarks/results/cold_start.json and prints the table.
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
        "A fresh process from its start, imports included, until its first window is published, and its second window after that.\n"
    )
    print("| kind | state | first shard s | CPU s | compiled | loaded | warm shard s | CPU s |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for m in lines:
        print(
            f"| {m['kind']} | {m['state']} | {m['first_s']:.2f} | {m['first_cpu_s']:.2f} | {m['compiled']} "
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
    lines = []
    for state in ("nothing compiled", "compiled ahead"):
        for kept in ("runs", "results"):
            shutil.rmtree(folder / name / kept, ignore_errors=True)
        windows = f"{report.first.key},{report.first.next(1).key}"
        lines.append({"kind": name, "state": state} | born(folder, name, windows, state))
    return lines


def born(folder: Path, name: str, windows: str, state: str) -> dict[str, Any]:
    """The figures of one process, from the moment before it is started."""
    empty = folder / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    environment = {**SCORING_ENVIRONMENT, **os.environ}
    if state == "nothing compiled":
        environment["NUMBA_CPU_NAME"] = "x86-64-v2"  # for which nothing was compiled ahead
        environment["NUMBA_CPU_FEATURES"] = ""
        environment["NUMBA_CACHE_DIR"] = str(empty)
    began = time.time()
    command = [sys.executable, __file__, "--life", str(folder / name), name, windows]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    told = json.loads(done.stdout)
    return told | {"first_s": told.pop("first_at") - began}


def live(folder: str, name: str, windows: str) -> dict[str, Any]:
    """Run two windows as the app's activities would; how long the first took with all imports, and the second."""
    from fleetscore.pipeline.local import run_window
    from fleetscore.store import open_store

    first, second = windows.split(",")
    run_window(open_store(folder), name, first)
    first_at, first_cpu = time.time(), time.process_time()
    run_window(open_store(folder), name, second)
    warm_s, warm_cpu = time.time() - first_at, time.process_time() - first_cpu
    from fleetscore.kernels.cache import COUNTS

    return {"first_at": first_at, "first_cpu_s": first_cpu, "warm_s": warm_s, "warm_cpu_s": warm_cpu} | COUNTS


if __name__ == "__main__":
    main()
