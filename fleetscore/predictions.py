"""How fast shards are and how large, and what planned shards are expected to take by that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """How long and how big: predicted seconds of a shard = shard_s + models_s + partitions * partition_s +
    rows * row_s, on one core; its memory = models_bytes + rows * bytes_per_row.
    """

    shard_s: float
    partition_s: float
    row_s: float
    bytes_per_row: float  # peak memory of a scoring process per input row
    schema: int = 1
    spread: float = 2.0  # measured seconds mostly lie within this factor of the predicted
    # of the models that the planned run's shards hold at once; found anew by each plan
    models_bytes: float = 0.0
    models_s: float = 0.0  # to read them


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the shards of one placement are expected to take. Ranges come from how far the last predictions
    were off.

    `seconds` are of all shards on one core, `wall_s` from submitting to the last commit; costs are None
    where the node has no price. `cost_usd` is by the listed prices, `most_usd` with every Spot node at the
    price of a dedicated one, which Spot prices vary up to.
    """

    placement: str
    shards: int
    seconds: float
    least_s: float
    most_s: float
    wall_s: float
    nodes: int = 0
    cost_usd: float | None = None
    least_usd: float | None = None
    most_usd: float | None = None
    headroom: str = ""  # what is left of the quota, in words
