"""The progress of a run: its planned shards, and the files that their attempts have written so far."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fleetscore.errors import MissingBlobError
from fleetscore.records import ShardPlan
from fleetscore.runs.plans import read_plan, read_shard_plans
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import run_folder


@dataclass(frozen=True, slots=True)
class Progress:
    """Shards in their order, and files of shards in the order of their paths, all below `prefix`."""

    prefix: str
    planned: Sequence[ShardPlan]
    entries: Sequence[Entry]

    def commits(self) -> dict[int, Entry]:
        """The shards that are committed, each with the file of its commit."""
        found = (entry for entry in self.entries if entry.path.endswith("/result.json"))
        return {int(entry.path[len(self.prefix) :].split("/", 1)[0]): entry for entry in found}


def read_progress(store: Store, run: str) -> Progress | None:
    """How far the shards of the run are; None before it is planned."""
    prefix = f"{run_folder(run)}shards/"
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(lambda: list(store.list(prefix)))
        try:
            planned = read_shard_plans(store, read_plan(store, run))
        except MissingBlobError:
            return None
        return Progress(prefix, planned, listed.result())
