"""One line of JSON per partition of a run, with every id that leads to it: the canonical log line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.records import GOOD, PlanHead, ShardRecord
from fleetscore.settings import LogPartitions

_log = logging.getLogger("fleetscore.partitions")
_COLUMNS = ("partition", "outcome", "cause", "detail", "input_rows", "rows", "model", "seconds", "shard")


def log_partitions(
    head: PlanHead, records: Sequence[ShardRecord], ledger: pa.Table, which: LogPartitions
) -> int:
    """Log the partitions that this run settled: all of them, those without a good outcome (`bad`), or none;
    gives how many lines.

    Good outcomes are INFO, others WARNING. Nothing is made for a level that is not logged.
    """
    if which == "none" or not _log.isEnabledFor(logging.WARNING):
        return 0
    mine = ledger.filter(pc.equal(ledger["run"], head.request.run))
    if which == "bad" or not _log.isEnabledFor(logging.INFO):
        mine = mine.filter(pc.invert(pc.is_in(mine["outcome"], pa.array(sorted(GOOD)))))
    encoder = msgspec.json.Encoder()
    for line in _lines(head, records, mine):
        level = logging.INFO if line["outcome"] in GOOD else logging.WARNING
        _log.log(level, "%s", encoder.encode(line).decode())
    return int(mine.num_rows)


def _lines(head: PlanHead, records: Sequence[ShardRecord], ledger: pa.Table) -> Iterator[dict[str, Any]]:
    request = head.request
    ids = {"run": request.run, "workload": request.workload, "window": request.window}
    shards = {record.shard: record for record in records}
    for row in ledger.select(list(_COLUMNS)).to_pylist():
        record = shards.get(row["shard"])
        attempt, placement = (record.attempt, record.placement) if record else ("", "")
        yield ids | row | {"attempt": attempt, "placement": placement}
