"""Windows that are larger than a shard's memory: a shard holds its own rows, and is cut by what they take."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.local import run_window
from fleetscore.pipeline.plan import make_plan
from fleetscore.pipeline.submit import submit_run
from fleetscore.records import Outcome
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.sources import ColumnKind, InputFile, RowChoice, read_data_settings, read_files
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, fitted, pin_models, telemetry, write_rows

WINDOW = "2026-11-21"
VANS = ["VAN 1", "VAN/2%", "VAN-3"]


def test_a_shard_reads_its_own_rows_of_files_of_all(store: Store) -> None:
    """Shards of one partition each publish the rows of all, whatever stands in their names."""
    frame = telemetry(VANS)
    write_rows(store, frame)
    pin_models(store, {"VAN 1": fitted(1), "VAN/2%": fitted(2), "VAN-3": fitted(3)})
    run = run_window(store, "vans", WINDOW, AppSettings(inline_memory_bytes=1000))
    ledger = read_ledger(store, run.request.run)
    assert run.shards == len(VANS)
    assert ledger["outcome"].to_pylist() == [Outcome.SCORED] * len(VANS)
    found = read_results(store, read_manifest(store, "vans", WINDOW)).to_pandas()
    for number, van in enumerate(VANS, 1):
        mine = found[found.van_id == van].sort_values("recorded_at")
        expected = fitted(number).predict(frame[frame.van_id == van][["speed", "load_kg"]])
        np.testing.assert_allclose(mine.kwh, expected, rtol=1e-12)


def test_row_groups_without_a_chosen_name_are_left_out(store: Store) -> None:
    """The choice of rows also decides which parts of a file are read, where statistics say what they hold."""
    table = pa.table(
        {"van": ["a", "a", "b", "b"], "on": [True, True, False, False], "km": [1.0, 2.0, 3.0, 4.0]}
    )
    with store.sink("data/x.parquet") as file:
        pq.write_table(table, file, row_group_size=2)
    settings = read_data_settings({"path": "data/*.parquet"}, "settings")
    kinds = {"van": ColumnKind.KEY, "on": ColumnKind.KEY, "km": ColumnKind.NUMBER}
    asked: list[int] = []

    def choose(name: str, wanted: str) -> list[float]:
        def mask(rows: pa.Table) -> pa.ChunkedArray:
            asked.append(rows.num_rows)
            return pa.compute.equal(rows[name], wanted)

        choice = RowChoice({name: [wanted]}, mask)
        files = [InputFile("data/x.parquet", "1", 1, "parquet")]
        found: list[float] = read_files(store, files, settings, kinds, choice=choice).table["km"].to_pylist()
        return found

    assert choose("van", "b") == [3.0, 4.0]
    assert asked == [2]
    assert choose("on", "true") == [1.0, 2.0]  # true and false have no order of names: all is read


def test_wide_rows_make_more_shards(store: Store) -> None:
    """A plan knows that rows of many features take more memory than those of few."""
    pin_models(store, {van: fitted(1) for van in ("a", "b")})
    write_rows(store, telemetry(["a", "b"]))
    request = submit_run(store, "vans", WINDOW, datetime.now(UTC), "test").request
    few = make_plan(store, request, AppSettings(), MIDNIGHT).head.rates
    text = store.read("settings/vans.toml").decode()
    names = ", ".join(f'"f{number}"' for number in range(400))
    store.write(
        "settings/vans.toml",
        text.replace('features = ["speed", "load_kg"]', f"features = [{names}]").encode(),
    )
    wide = make_plan(store, request, AppSettings(), MIDNIGHT).head.rates
    assert few.bytes_per_row < 500
    assert wide.bytes_per_row > 400 * 3 * 8
