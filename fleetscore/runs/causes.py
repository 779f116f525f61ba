"""All causes of partitions that have more than one, in a file beside their outcomes, which keep the columns
of earlier versions.
"""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import MissingBlobError
from fleetscore.schemas import OUTCOMES, complete_outcomes
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth

CAUSES_FILE = "causes.parquet"


def split_causes(outcomes: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows without their column `causes`, and partition and causes of those that have more than one."""
    several = pc.greater(pc.list_value_length(outcomes["causes"]), 1)
    return outcomes.drop_columns("causes"), outcomes.select(["partition", "causes"]).filter(several)


def join_causes(outcomes: pa.Table, several: pa.Table | None) -> pa.Table:
    """The rows with all causes: those of `several`, else the one in `cause`."""
    column = OUTCOMES.field("causes")
    schema = outcomes.schema.append(column)
    if several is None or not several.num_rows:
        return complete_outcomes(outcomes, schema)
    place = pc.index_in(outcomes["partition"], several["partition"]).combine_chunks()
    return complete_outcomes(outcomes.append_column(column, several["causes"].take(place)), schema)


def read_causes(store: Store, run: str) -> pa.Table | None:
    """partition and causes of the run's partitions that have more than one; None where there is no such
    file.
    """
    with suppress(MissingBlobError), open_truth(store, run_path(run, CAUSES_FILE)) as source:
        return pq.read_table(source)
    return None


def read_causes_of(store: Store, run: str, partition: str, cause: str) -> tuple[str, ...]:
    """All causes of one partition of the run, of which `cause` is the first."""
    with suppress(MissingBlobError), open_truth(store, run_path(run, CAUSES_FILE)) as source:
        found = pq.read_table(source, filters=[("partition", "==", partition)])["causes"].to_pylist()
        if found:
            return tuple(found[0])
    return (cause,) if cause else ()
