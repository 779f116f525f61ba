"""Ledgers of runs, as they are written and read back."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.records import Cause, Only, RunRequest
from fleetscore.runs.causes import CAUSES_FILE, join_causes, read_causes, split_causes
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth, write_table

_log = logging.getLogger("fleetscore.runs")


def write_ledger(store: Store, run: str, ledger: pa.Table) -> None:
    """Write the run's ledger, and beside it all causes of partitions that have more than one."""
    outcomes, several = split_causes(ledger)
    if several.num_rows:
        write_table(store, run_path(run, CAUSES_FILE), several)
    with store.sink(run_path(run, "ledger.parquet")) as file:
        pq.write_table(outcomes, file, compression="zstd", row_group_size=65_536)


def read_ledger(store: Store, run: str) -> pa.Table:
    """The ledger of the run, `causes` its last column; MissingBlobError before it is collected."""
    with open_truth(store, run_path(run, "ledger.parquet")) as source:
        ledger = pq.read_table(source)
    return join_causes(ledger, read_causes(store, run))


def read_previous_ledger(store: Store, request: RunRequest) -> pa.Table | None:
    """The ledger of the round that the request builds on; None where it builds on none, or where it is lost
    and every partition is scored again, so that none is kept.

    DamagedStateError or MissingBlobError where it is lost and needed.
    """
    if not request.previous:
        return None
    try:
        return read_ledger(store, request.previous)
    except (DamagedStateError, MissingBlobError) as error:
        if request.only is not Only.ALL or request.partitions:
            raise
        _log.warning("%s is scored without what its round before knew: %s", request.run, error)
        return None


def partitions_with(store: Store, run: str, cause: Cause) -> list[str]:
    """All partitions of the run that have the cause, by its ledger; those that the cause names where the
    ledger is gone.
    """
    try:
        ledger = read_ledger(store, run)
    except MissingBlobError:
        return list(cause.examples)
    mine = ledger.filter(pc.equal(ledger["outcome"], cause.outcome))
    pairs = zip(mine["partition"].to_pylist(), mine["causes"].to_pylist(), strict=True)
    return [key for key, causes in pairs if cause.cause in (causes or [""])]
