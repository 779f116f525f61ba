"""Placement: each shard inline (an activity of the app) or on Batch, with the reason in words."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fleetscore.app_settings import AppSettings
from fleetscore.records import ShardPlan

Column = npt.NDArray[Any]


def place_shards(
    partitions: Column,
    rows: Column,
    size_bytes: Column,
    seconds: Column,
    memory_bytes: Column,
    app: AppSettings,
) -> list[ShardPlan]:
    """The shards in order, each placed; the columns have one entry per shard."""
    placement = "batch" if app.batch_endpoint and app.batch_placement == "batch" else "inline"
    reason = "no Batch account is configured"
    columns = zip(partitions, rows, size_bytes, seconds, memory_bytes, strict=True)
    return [
        ShardPlan(shard, int(p), int(r), int(size), float(s), int(m), placement, reason)
        for shard, (p, r, size, s, m) in enumerate(columns)
    ]
