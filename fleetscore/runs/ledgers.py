"""Ledgers of runs, as they are read back."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.store.base import Store
from fleetscore.store.paths import run_path


def read_ledger(store: Store, run: str) -> pa.Table:
    """The ledger of the run; MissingBlobError before it is collected."""
    with store.open(run_path(run, "ledger.parquet")) as source:
        return pq.read_table(source)
