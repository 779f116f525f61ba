"""Plans of runs, as they are read back: the head, the shards, and the partitions of a shard."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.records import PlanHead, ShardPlan, from_json
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path


def read_plan(store: Store, run: str) -> PlanHead:
    """The head of the run's committed plan; MissingBlobError before it is planned."""
    return from_json(store.read(run_path(run, "plan.json")), PlanHead)


def read_shard_plans(store: Store, head: PlanHead) -> list[ShardPlan]:
    """The planned shards, in shard order."""
    return msgspec.json.decode(store.read(head.shard_list), type=list[ShardPlan])


def read_shard_partitions(store: Store, head: PlanHead, shard: int) -> pa.Table:
    """The PARTITIONS rows of one shard, reading only its row group."""
    with store.open(head.table) as source:
        return pq.ParquetFile(source).read_row_group(shard)
