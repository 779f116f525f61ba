"""Memory, threads and file handles that run out, by real limits in a process of its own, fail an attempt and not the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

from toy_workload import write_lines

from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.pipeline.local import run_training
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store

HERE = Path(__file__).resolve().parent
WINDOW, NEXT = "2026-01-01T00", "2026-01-01T01"

ATTEMPTS = """
import json, os, resource, sys
from datetime import UTC, datetime

import fleetscore.pipeline.train  # imported before anything is short
from activities import answers
from activities.score_shard import score_shard
from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.submit import submit_run, submit_training
from fleetscore.runs.run_records import record_planned
from fleetscore.store import open_store

answers._WAITS_S = (0.01,)
what, store, now = sys.argv[1], open_store(sys.argv[2]), datetime.now(UTC)
purpose = sys.argv[3]
if purpose == "train":
    request = submit_training(store, "toy", "2026-01-01T00", "2026-01-01T01", now, "test").request
else:
    request = submit_run(store, "toy", "2026-01-01T00", now, "test").request
head = commit_plan(store, request, AppSettings(), now)
record_planned(store, head, now)

def in_use_bytes():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

if what == "memory":
    resource.setrlimit(resource.RLIMIT_AS, (in_use_bytes() + (400 << 20), resource.RLIM_INFINITY))
else:
    soft = len(os.listdir("/proc/self/fd")) + 30
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, 4096))
failed, waiting = [], list(range(head.shards))
while waiting and len(failed) < 20:
    try:
        assert score_shard({"run": request.run, "shard": waiting[0], "purpose": purpose})["ok"]
        waiting.pop(0)
    except Exception as error:
        failed.append(type(error).__name__)
        if what == "handles" and len(failed) == 2:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
collect_run(store, request.run)
print(json.dumps({"failed": failed, "left": waiting, "state": finish_run(store, request, now).state}))
"""


def attempt(what: str, store: Store, purpose: str = "score") -> dict[str, object]:
    """Score the window's shard, or train on it, under the limit, as an orchestration does, until an attempt ends; what that took."""
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, what, store.url, purpose],
        env={**os.environ, "PYTHONPATH": path, "FLEETSCORE_STORE": store.url, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def outcomes(store: Store, run: str = f"toy-{WINDOW}") -> dict[str, tuple[str, str]]:
    """Partition -> outcome and cause in the run's ledger."""
    ledger = read_ledger(store, run).select(["partition", "outcome", "cause"]).to_pylist()
    return {row["partition"]: (row["outcome"], row["cause"]) for row in ledger}


def test_what_needs_more_memory_than_there_is_costs_only_itself(store: Store) -> None:
    """Attempts that ran out of memory are made again until the partition is known and set aside; the others are published."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("big", 2, "hog"), ("c", 3, "ok")])
    store.write("settings/toy.toml", b"[run]\nerror_threshold = 0.5\n")
    done = attempt("memory", store)
    assert set(done["failed"]) == {"MemoryError"}  # type: ignore[call-overload]
    assert outcomes(store) == {
        "a": ("scored", ""),
        "big": ("quarantined", "kills_process"),
        "c": ("scored", ""),
    }


def test_a_model_that_needs_more_memory_than_there_is_costs_only_itself(store: Store) -> None:
    """Training is tried again until the partition is known and set aside; the set has the models of all others."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("big", 2, "hog"), ("c", 3, "ok")])
    store.write("settings/toy.toml", b"[run]\nerror_threshold = 0.5\n")
    done = attempt("memory", store, "train")
    assert set(done["failed"]) == {"MemoryError"}  # type: ignore[call-overload]
    assert done["state"] == "published"
    run = f"toy-train-{WINDOW}-{NEXT}"
    assert outcomes(store, run) == {
        "a": ("scored", ""),
        "big": ("quarantined", "kills_process"),
        "c": ("scored", ""),
    }
    model_set = read_model_set(store, "toy", read_run(store, run).model_set)
    assert read_model_file(store, model_set, "keys.txt").decode().split() == ["a", "c"]


def test_file_handles_that_are_free_again_cost_nothing(store: Store) -> None:
    """Attempts without handles fail and accuse nobody; the one that has them scores every partition."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 2, "handles"), ("c", 3, "ok")])
    done = attempt("handles", store)
    assert len(done["failed"]) == 2  # type: ignore[arg-type]
    assert set(outcomes(store).values()) == {("scored", "")}


def test_one_partition_that_cannot_be_trained_costs_only_itself(store: Store) -> None:
    """Training halves the shard around what raises: that one is a failed outcome with its name, all others are in the model set."""
    keys = [f"p{n:02d}" for n in range(20)]
    write_lines(store, WINDOW, [(key, 1, "untrainable" if key == "p13" else "ok") for key in keys])
    record = run_training(store, "toy", WINDOW, NEXT)
    assert (record.state, record.counts) == ("published", {"scored": 19, "failed": 1})
    (cause,) = [cause for cause in record.causes if cause.outcome == "failed"]
    assert (cause.example, cause.detail) == ("p13", "ValueError: p13 cannot be trained")
    model_set = read_model_set(store, "toy", record.model_set)
    trained = read_model_file(store, model_set, "keys.txt").decode().split()
    assert sorted(trained) == [key for key in keys if key != "p13"]
