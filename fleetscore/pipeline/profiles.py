"""Profiles: what each partition's input and predictions looked like when its model was made, and when it
was first used.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.capabilities import Trains
from fleetscore.errors import ModelError
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.models.profiles import PROFILE_FILE, pack_profile
from fleetscore.pipeline.spellings import respell_profile
from fleetscore.records import ShardRecord
from fleetscore.store.base import Store
from fleetscore.store.paths import profile_path
from fleetscore.store.state_files import read_hint_with
from fleetscore.store.tables import has_table, open_truth
from fleetscore.workload import Workload


def read_training_profile(store: Store, workload: Workload, version: str) -> pa.Table | None:
    """What the version was trained on: as the workload says, else the model set; None where neither does."""
    profile = workload.training_profile(store, version) if isinstance(workload, Trains) else None
    if profile is not None:
        return profile
    try:
        model_set = read_model_set(store, workload.name, version)
        if PROFILE_FILE not in model_set.files:
            return None
        return pq.read_table(io.BytesIO(read_model_file(store, model_set, PROFILE_FILE)))
    except ModelError:  # it fails where it scores; here is nothing to compare with
        return None


def read_profile(store: Store, workload: Workload, version: str) -> pa.Table | None:
    """The profile to compare with: the training's where it has one, completed by how the version's first
    published run looked.
    """
    found = (
        read_training_profile(store, workload, version),
        read_hint_with(store, profile_path(workload.name, version), _decode_profile),
    )
    trained, first = (respell_profile(workload, one) if one is not None else None for one in found)
    if first is None:
        return trained
    return first if trained is None else merge(trained, first)


def merge(trained: pa.Table, first: pa.Table) -> pa.Table:
    """The columns of both; n, mean and std as trained, for partitions that were trained on."""
    place = pc.index_in(first["partition"], trained["partition"])
    columns = {name: first[name] for name in first.column_names}
    for name in [name for name in ("n", "mean", "std") if name in trained.column_names]:
        mine = trained[name].take(place)
        columns[name] = pc.coalesce(mine, columns[name]) if name in columns else mine
    rest = trained.filter(pc.invert(pc.is_in(trained["partition"], first["partition"])))
    return pa.concat_tables([pa.table(columns), rest], promote_options="default")


def read_sketches(store: Store, records: Sequence[ShardRecord]) -> pa.Table | None:
    """The sketches of the shards, one row per scored partition; None where the workload makes none."""
    tables = []
    for path in [record.sketches for record in records if record.sketches]:
        with open_truth(store, path) as source:
            tables.append(pq.read_table(source))
    return pa.concat_tables(tables, promote_options="default") if tables else None


def remember_first(store: Store, workload: str, sketches: pa.Table, versions: pa.ChunkedArray) -> None:
    """Keep how each version's first published run looked; later runs change nothing. `versions` says which
    scored each sketched row.
    """
    for version in pc.unique(versions).to_pylist():
        path = profile_path(workload, version)
        if version and not has_table(store, path):
            store.write(path, pack_profile(sketches.filter(pc.equal(versions, version))))


def _decode_profile(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def as_floats(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The column with NaN where nothing is."""
    return np.asarray(pc.cast(column, pa.float64()).fill_null(np.nan).to_numpy(), np.float64)
