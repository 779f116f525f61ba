"""Plans of runs, as they are read back: the head, the shards, and the partitions of a shard."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.records import PlanHead, ShardPlan
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.state_files import read_truth
from fleetscore.store.tables import open_truth


def read_plan(store: Store, run: str) -> PlanHead:
    """The head of the run's committed plan; MissingBlobError before it is planned."""
    return read_truth(store, run_path(run, "plan.json"), PlanHead)


def read_shard_plans(store: Store, head: PlanHead) -> list[ShardPlan]:
    """The planned shards, in shard order."""
    return read_truth(store, head.shard_list, list[ShardPlan])


def read_shard_partitions(store: Store, head: PlanHead, shard: int) -> pa.Table:
    """The PARTITIONS rows of one shard, reading only its row group."""
    with open_truth(store, head.table) as source:
        return pq.ParquetFile(source).read_row_group(shard)
