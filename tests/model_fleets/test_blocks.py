"""Rows sorted into blocks of one partition and one model key."""

import numpy as np
import pyarrow as pa
import pytest

from fleetscore.models.pins import read_pins
from fleetscore.registry import get_workload
from fleetscore.store.base import Store
from fleetscore.workloads.models.blocks import are_sorted, choose_keys, sort_rows
from fleetscore.workloads.models.bundles import find_bundle
from tests.model_fleets.conftest import MIDNIGHT, fitted, pin_models, telemetry

VANS = ["VAN-1", "VAN-2", "VAN-9"]  # the last one has no model


@pytest.mark.parametrize("chunks", [1, 3])
def test_rows_in_order_give_the_blocks_of_rows_in_any_order(store: Store, chunks: int) -> None:
    """Whether rows come in order, reversed or shuffled, in one chunk or several: the same blocks of the same rows."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS[:2])})
    settings = get_workload(store, "vans").settings
    bundle = find_bundle(store, "vans", read_pins(store, "vans").current)
    table = pa.Table.from_pandas(telemetry(VANS, start=MIDNIGHT), preserve_index=False)
    texts = [f.with_type(pa.string()) if pa.types.is_large_string(f.type) else f for f in table.schema]
    table = table.cast(pa.schema(texts)).sort_by([("van_id", "ascending"), ("recorded_at", "ascending")])
    shuffled = np.random.default_rng(1).permutation(table.num_rows)
    wanted = None
    for order in (np.arange(table.num_rows), np.arange(table.num_rows)[::-1], shuffled):
        rows = table.take(pa.array(order))
        part = -(-rows.num_rows // chunks)
        given = pa.concat_tables(rows.slice(at * part, part) for at in range(chunks))
        block = sort_rows(given, settings, VANS, bundle)
        found = (
            block.table.to_pylist(),
            block.partitions,
            block.keys,
            block.has_key.tolist(),
            block.offsets.tolist(),
        )
        wanted = wanted or found
        assert found == wanted
    assert block.partitions == VANS
    assert block.has_key.tolist() == [True, True, False]
    assert block.keys == ["VAN-1", "VAN-2", ""]


def test_a_row_without_a_key_has_no_model(store: Store) -> None:
    """Keys that are absent or that no model has are "", and no rows have none."""
    pin_models(store, {"VAN-1": fitted(1)})
    settings = get_workload(store, "vans").settings
    bundle = find_bundle(store, "vans", read_pins(store, "vans").current)
    keys, found = choose_keys(pa.table({"van_id": ["VAN-1", None, "VAN-8"]}), settings, bundle)
    assert (keys.to_pylist(), found.tolist()) == (["VAN-1", "", ""], [True, False, False])
    keys, found = choose_keys(pa.table({"van_id": pa.array([], pa.string())}), settings, bundle)
    assert (keys.to_pylist(), found.tolist()) == ([], [])


def test_order_is_that_of_a_stable_sort() -> None:
    """Rows are called sorted exactly where a stable sort by the columns would leave every one in its place."""
    random = np.random.default_rng(0)
    for _ in range(300):
        columns = [random.integers(0, 3, random.integers(0, 6)) for _ in range(1)]
        columns += [random.integers(0, 3, len(columns[0])) for _ in range(random.integers(0, 3))]
        order = np.lexsort(columns[::-1])
        assert are_sorted(columns) == bool((order == np.arange(len(order))).all())
