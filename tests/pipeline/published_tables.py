"""Published windows of the toy workload, and its table as other engines read it."""

from datetime import UTC, datetime

import deltalake
import duckdb
import polars
import pyarrow as pa
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.local import run_window
from fleetscore.records import RunState
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.store.paths import table_root

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WINDOWS = [f"2026-01-01T{hour:02d}" for hour in range(4)]
ONE_SHARD = AppSettings(inline_shard_s=100.0, parallelism=1)


def publish_windows(store: Store) -> None:
    """Four windows of six partitions."""
    for window in WINDOWS:
        lines(store, window)
        assert run_window(store, "toy", window, ONE_SHARD).state is RunState.PUBLISHED


def lines(store: Store, window: str, factor: int = 1) -> None:
    """Six partitions with data."""
    write_lines(store, window, [(f"p{n}", factor * n, "ok") for n in range(6)])


def root_of(store: Store, workload: str = "toy") -> str:
    """The table's folder on this machine."""
    return store.url.removeprefix("file://") + "/" + table_root(workload)


def rows_of(table: pa.Table) -> list[tuple[str, str, int]]:
    """Window, partition and value, sorted."""
    rows = table.select(["window", "partition", "doubled"]).to_pylist()
    return sorted((row["window"], row["partition"], row["doubled"]) for row in rows)


def truth(store: Store) -> list[tuple[str, str, int]]:
    """What the manifests name."""
    found = []
    for folder in store.list_folders("results/toy/"):
        window = folder.rstrip("/").rsplit("/", 1)[-1]
        rows = read_results(store, read_manifest(store, "toy", window)).to_pylist()
        found += [(window, row["partition"], row["doubled"]) for row in rows]
    return sorted(found)


def by_deltalake(root: str, version: int | None = None) -> list[tuple[str, str, int]]:
    """The table as delta-rs reads it, by default its newest version."""
    dataset = deltalake.DeltaTable(root, version=version).to_pyarrow_dataset()
    return rows_of(dataset.to_table())


def by_polars(root: str) -> list[tuple[str, str, int]]:
    """The table as polars reads it."""
    return rows_of(polars.read_delta(root).to_arrow())


def by_duckdb(root: str) -> list[tuple[str, str, int]]:
    """The table as DuckDB reads it through Arrow."""
    results = deltalake.DeltaTable(root).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.register("results", results)
        found = connection.execute(
            'select "window", partition, doubled from results order by 1, 2'
        ).fetchall()
    return [tuple(row) for row in found]  # type: ignore[misc]  # three columns


READERS = {"deltalake": by_deltalake, "polars": by_polars, "duckdb": by_duckdb}
