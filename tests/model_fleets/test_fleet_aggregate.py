"""Rows aggregated over intervals before a fleet's models score them."""

import pytest

from fleetscore.errors import SettingsError
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from tests.model_fleets.conftest import SETTINGS, fitted, pin_models, telemetry

WINDOW = "2026-11-21"
PLACE = 'path = "data/telemetry/*.parquet"\n'


def configure(store: Store, aggregate: str) -> None:
    """Settings that read CSV and aggregate it."""
    place = f'path = "data/telemetry/*.csv"\naggregate = {{ every = "1d", {aggregate} }}\n'
    store.write("settings/vans.toml", SETTINGS.replace(PLACE, place).encode())


def test_a_row_per_interval_is_scored(store: Store) -> None:
    """Four rows of a local day lie in two days of UTC: two rows a van, with what is kept of each.

    A remark says that the window cuts both days.
    """
    configure(store, 'speed = "mean", load_kg = "max", depot = "last"')
    vans = ["VAN-0", "VAN-1"]
    pin_models(store, {van: fitted(at) for at, van in enumerate(vans)})
    store.write("data/telemetry/a.csv", telemetry(vans, 4).to_csv(index=False).encode())
    record = run_window(store, "vans", WINDOW)
    assert record.counts == {"scored": 2}, (record.error, record.remarks)
    [said] = [remark for remark in record.remarks if "cut intervals" in remark]
    assert said.startswith(
        "The window's bounds (2026-11-20T23:00Z and 2026-11-21T23:00Z) cut intervals of 1d"
    )
    results = read_results(store, read_manifest(store, "vans", WINDOW))
    assert results.num_rows == 4
    assert set(results["depot"].to_pylist()) <= {"depot-0", "depot-1"}


@pytest.mark.parametrize(
    ("aggregate", "named"),
    [
        ('speed = "mean", load_kg = "max"', "depot"),
        ('speed = "mean", depot = "last"', "load_kg"),
    ],
)
def test_a_column_that_aggregating_drops_is_named(store: Store, aggregate: str, named: str) -> None:
    """A feature or a kept column without a statistic is refused with the line, not met by each partition."""
    configure(store, aggregate)
    with pytest.raises(SettingsError, match=f"no statistic of '{named}'"):
        get_workload(store, "vans")
