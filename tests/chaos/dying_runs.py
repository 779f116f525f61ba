"""Runs that die by SIGKILL: a program that makes each run in a child of its own, and kills it.

Each line of its input is a JSON object: `store`, `run`, what to `do` (`retry` all its partitions, `resume` the run where
it stands, `publish` what it collected), and when to die: `at` (the number of the write, `applied`: after it took
effect) or `after_s`. Each line of its output is `killed` or `finished`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

import fleetscore.models.packs.shard_scoring
import fleetscore.workloads.models.workload  # noqa: F401 # imported once, before the forks
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import execute
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.runs.run_records import read_run
from fleetscore.store import open_store
from fleetscore.store.base import Store


def die() -> None:
    """Be killed, as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingStore:
    """A store whose process is killed at its write `at` (from 1; 0: at none), before or after it took effect."""

    def __init__(self, store: Store, at: int, applied: bool) -> None:
        self._store, self._at, self._applied, self._writes = store, at, applied, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._deadly(found) if name in ("write", "create", "replace", "delete") else found

    @contextmanager
    def sink(self, path: str) -> Iterator[IO[bytes]]:
        """The store's own, which dies with all bytes written and nothing there, or with the file there."""
        mine = self._counts()
        with self._store.sink(path) as file:
            yield file
            if mine and not self._applied:
                file.flush()
                die()
        if mine:
            die()

    def _deadly(self, operation: Any) -> Any:
        def guarded(*args: Any, **options: Any) -> Any:
            mine = self._counts()
            if mine and not self._applied:
                die()
            result = operation(*args, **options)
            if mine:
                die()
            return result

        return guarded

    def _counts(self) -> bool:
        self._writes += 1
        return self._writes == self._at


def run_once(task: dict[str, Any]) -> None:
    """Retry all partitions, go on with the run where it stands, or publish what it collected."""
    store: Any = DyingStore(open_store(task["store"]), task.get("at", 0), task.get("applied", False))
    if task["do"] == "retry":
        execute(store, submit_retry(store, task["run"], datetime.now(UTC), "test", only=Only.ALL).request)
    elif task["do"] == "resume":
        execute(store, read_run(store, task["run"]).request)
    else:
        finish_run(store, read_run(store, task["run"]).request, datetime.now(UTC))


def in_child(task: dict[str, Any]) -> bool:
    """Make the run in a child; whether it was killed. A run that fails by itself ends the program."""
    child = os.fork()
    if child == 0:
        try:
            if "after_s" in task:
                threading.Timer(task["after_s"], die).start()
            run_once(task)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the run failed by itself"
    return os.WIFSIGNALED(status)


def main() -> None:
    """Make the runs of the input, one after the other."""
    for line in sys.stdin:
        sys.stdout.write("killed\n" if in_child(json.loads(line)) else "finished\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
