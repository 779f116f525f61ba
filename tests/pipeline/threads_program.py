"""A process of its own with cold caches: whole runs of the shipped kinds by eight threads at once, and then by one.

Run: python threads_program.py STORE OTHER_STORE. It prints how many runs ended, and the windows whose published rows differ.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from fleetscore.capabilities import MakesSamples, require
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.windows import windows_between

SCALES = {"sensor_anomaly": 0.05, "store_sales": 0.05, "server_load": 0.02}
WINDOWS = {"sensor_anomaly": 4, "store_sales": 2, "server_load": 2}  # one for each thread
Job = tuple[str, str]


def main() -> None:
    """Prepare two equal stores, run all windows in one by threads and in the other one by one, and compare."""
    store, other = (open_store(url) for url in sys.argv[1:])
    jobs = [job for name in SCALES for job in prepare_samples(store, name)]
    copy_all(store, other)
    train(store, other)
    at_once(store, jobs)
    for name, window in jobs:
        run_window(other, name, window)
    differing = [job for job in jobs if rows_of(store, *job) != rows_of(other, *job)]
    print(  # noqa: T201  # what this process is for
        json.dumps(
            {
                "runs": len(jobs),
                "rows": sum(len(rows_of(other, *job)) for job in jobs),
                "differing": differing,
            }
        )
    )


def prepare_samples(store: Store, name: str) -> list[Job]:
    """Write the kind's samples; the windows to run."""
    report = require(get_workload(store, name), MakesSamples).samples(store, scale=SCALES[name], seed=7)
    windows = list(windows_between(report.first, report.stop))[: WINDOWS[name]]
    SPANS[name] = str(report.facts["train_from"]), str(report.facts["train_to"])
    return [(name, window.key) for window in windows]


SPANS: dict[str, tuple[str, str]] = {}


def train(store: Store, other: Store) -> None:
    """Train once, by a thread for each kind, and copy what that left."""
    with ThreadPoolExecutor(len(SPANS)) as pool:
        list(pool.map(lambda name: run_training(store, name, *SPANS[name]), SPANS))
    copy_all(store, other)


def copy_all(store: Store, other: Store) -> None:
    """Copy what one store holds into the other."""
    for entry in store.list(""):
        other.write(entry.path, store.read(entry.path))


def at_once(store: Store, jobs: list[Job]) -> None:
    """Run every job in a thread of its own; all begin at the same moment."""
    barrier = threading.Barrier(len(jobs))

    def work(job: Job) -> None:
        barrier.wait()
        run_window(store, *job)

    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(work, jobs))


def rows_of(store: Store, name: str, window: str) -> list[tuple[Any, ...]]:
    """The published rows, sorted as text."""
    table: pa.Table = read_results(store, read_manifest(store, name, window))
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


if __name__ == "__main__":
    main()
