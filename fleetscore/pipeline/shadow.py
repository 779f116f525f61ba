"""Score a committed shard in shadow: the challenger gets the same input, and nothing that it does touches
the champion's results.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.records import Outcome, to_json
from fleetscore.workload import RunContext, Scored, Shard

RESULTS = "challenger.parquet"
RECORD = "challenger.json"
_log = logging.getLogger("fleetscore.shadow")


@dataclass(frozen=True, slots=True)
class Shadow:
    """What became of a challenger's try at a shard; `error` says why it has no results."""

    challenger: str
    partitions: int
    scored: int
    rows: int
    seconds: float
    error: str = ""
    schema: int = 1


def shadow_shard(run: RunContext, shard: Shard, challenger: str, path: Callable[[str], str]) -> Shadow:
    """Score the shard with the challenger's models and write RESULTS and RECORD beside the champion's
    files; raises nothing.

    The shard is committed already: if this process dies here, the run goes on without the challenger's
    results of the shard.
    """
    clock = time.perf_counter()
    count = shard.partitions.num_rows
    try:
        scored, rows = _score(run, with_models(shard, challenger), path(RESULTS))
        shadow = Shadow(challenger, count, scored, rows, time.perf_counter() - clock)
        run.store.write(path(RECORD), to_json(shadow))
    except Exception as error:  # whatever a challenger does is its own affair, never the champion's
        _log.warning(
            "%s shard %d: the challenger %s failed", run.run, shard.number, challenger, exc_info=error
        )
        text = f"{type(error).__name__}: {error}"
        shadow = Shadow(challenger, count, 0, 0, time.perf_counter() - clock, text)
    return shadow


def with_models(shard: Shard, version: str) -> Shard:
    """The shard with all its partitions scored by that version."""
    place = shard.partitions.schema.get_field_index("model")
    column = pa.array([version] * shard.partitions.num_rows, pa.string())
    return replace(shard, partitions=shard.partitions.set_column(place, "model", column))


def _score(run: RunContext, shard: Shard, path: str) -> tuple[int, int]:
    scored = rows = 0
    kind = run.kind
    with (
        run.store.sink(path) as file,
        pq.ParquetWriter(file, kind.result_schema, **kind.parquet_options) as writer,
    ):
        for piece in kind.score(run, shard):
            scored += _count_scored(piece)
            rows += piece.results.num_rows
            if piece.results.num_rows:
                writer.write_table(piece.results)
    return scored, rows


def _count_scored(piece: Scored) -> int:
    return int(pc.sum(pc.equal(piece.outcomes["outcome"], str(Outcome.SCORED))).as_py() or 0)
