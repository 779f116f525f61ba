"""Train a shard and commit it once, as scoring does: files under the attempt's path, then one record by
create-if-absent.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.pipeline.attempt_limit import AttemptLimit
from fleetscore.pipeline.context import open_planned
from fleetscore.pipeline.isolation import train_isolated
from fleetscore.pipeline.marked_groups import marked, order_groups, set_aside
from fleetscore.pipeline.score import (
    Progress,
    commit_record,
    is_cancelled,
    name_attempt,
    peak_memory_bytes,
    read_shard_record,
)
from fleetscore.records import ShardRecord
from fleetscore.runs.causes import split_causes
from fleetscore.runs.plans import read_plan, read_shard_partitions
from fleetscore.schemas import complete_outcomes
from fleetscore.store.base import Store
from fleetscore.store.paths import attempt_path, shard_log_path
from fleetscore.store.tables import count_values, write_table
from fleetscore.workload import RunContext, Shard, Trained

_PIECE = "piece~"


def train_shard(
    store: Store, run: str, shard: int, placement: str = "inline", progress: Progress | None = None, attempt: str = "",
    *, began_s: float | None = None,
) -> ShardRecord | None:  # fmt: skip
    """Train the shard unless it is committed already, and give the record of the attempt that won; None if
    the run was cancelled.

    `attempt` is what `name_attempt` gave, for callers that need its name before it ends. A process of its
    own that began at `began_s` (monotonic clock) is ended shortly before `shard_limit_s`.
    """
    committed = read_shard_record(store, run, shard)
    if committed is not None or is_cancelled(store, run):
        return committed
    head = read_plan(store, run)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    context = open_planned(store, head)
    part = Shard(shard, read_shard_partitions(store, head, shard))
    name = attempt or name_attempt()
    limit = AttemptLimit(began_s, context.policy.shard_limit_s)
    trained = join_pieces(_pieces(context, part, name, limit))
    record = _write(store, run, shard, name, placement, trained, started, time.perf_counter() - clock)
    commit_record(store, record)
    if progress is not None:
        progress(part.partitions.num_rows, part.partitions.num_rows)
    return read_shard_record(store, run, shard)


def _pieces(run: RunContext, shard: Shard, attempt: str, time_limit: AttemptLimit) -> list[Trained]:
    """What training gave, group by group, each under a marker that names it in case the process dies of
    it.
    """
    limit, keys = run.policy.max_attempts, shard.keys
    order = order_groups(run.store, run.run, shard.number, keys, limit)
    done: list[Trained] = []
    if order.quarantined:
        aside = set_aside(shard.restricted(order.quarantined), "Training", limit)
        done.append(Trained({}, aside.outcomes))
    for group in order.groups:
        with marked(run.store, run.run, shard.number, attempt, group, time_limit):
            done += train_isolated(run, shard if len(group) == len(keys) else shard.restricted(group))
    return done


def join_pieces(pieces: Sequence[Trained]) -> Trained:
    """The pieces of a shard as one, each one's files in a folder of its own where there are several;
    `split_pieces` undoes it.
    """
    with_files = [piece for piece in pieces if piece.files]
    if len(with_files) == 1:
        files = dict(with_files[0].files)
    else:
        files = {
            f"{_PIECE}{number:04d}/{name}": data
            for number, piece in enumerate(with_files)
            for name, data in piece.files.items()
        }
    metrics = [piece.metrics for piece in pieces if piece.metrics is not None]
    return Trained(
        files,
        pa.concat_tables([complete_outcomes(piece.outcomes) for piece in pieces]),
        pa.concat_tables(metrics, promote_options="default") if metrics else None,
    )


def split_pieces(files: Mapping[str, str]) -> list[dict[str, str]]:
    """The files of each piece of a shard, by the name that its kind gave them.

    >>> split_pieces({"piece~0000/a": "x", "piece~0001/a": "y"}), split_pieces({"a": "x"})
    ([{'a': 'x'}, {'a': 'y'}], [{'a': 'x'}])
    """
    pieces: dict[str, dict[str, str]] = {}
    for name, path in files.items():
        piece, slash, rest = name.partition("/")
        is_piece = bool(slash) and piece.startswith(_PIECE)
        pieces.setdefault(piece if is_piece else "", {})[rest if is_piece else name] = path
    return list(pieces.values())


def _write(
    store: Store,
    run: str,
    shard: int,
    attempt: str,
    placement: str,
    trained: Trained,
    started: datetime,
    seconds: float,
) -> ShardRecord:
    files = {name: attempt_path(run, shard, attempt, f"files/{name}") for name in trained.files}
    for name, path in files.items():
        store.write(path, trained.files[name])
    outcomes, _ = split_causes(complete_outcomes(trained.outcomes))
    outcomes_path = attempt_path(run, shard, attempt, "outcomes.parquet")
    write_table(store, outcomes_path, outcomes)
    metrics_path = ""
    if trained.metrics is not None:
        metrics_path = attempt_path(run, shard, attempt, "metrics.parquet")
        write_table(store, metrics_path, trained.metrics)
    return ShardRecord(
        run=run,
        shard=shard,
        attempt=attempt,
        placement=placement,
        started=started,
        seconds=seconds,
        counts=count_values(outcomes["outcome"]),
        rows=0,
        input_rows=pc.sum(outcomes["input_rows"]).as_py() or 0,
        outcomes=outcomes_path,
        results=None,
        sketches=metrics_path,
        files=files,
        peak_memory_bytes=peak_memory_bytes(),
        worker=socket.gethostname(),
        log=shard_log_path(run, shard) if placement == "batch" else "",
    )
