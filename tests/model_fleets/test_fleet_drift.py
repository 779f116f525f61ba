"""Drift of models that were imported: measured against their first run, and said to be."""

from __future__ import annotations

from datetime import timedelta

from fleetscore.pipeline.local import run_window
from fleetscore.runs.ledgers import read_ledger
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, SETTINGS, fitted, pin_models, telemetry, write_rows

VANS = ["VAN-1", "VAN-2"]


def test_drift_of_an_imported_model_is_told_against_its_first_run(store: Store) -> None:
    """The van whose input left that of the first run drifts; the message does not claim a training."""
    store.write("settings/vans.toml", SETTINGS.encode() + b"[quality]\nprediction_limit = 1e9\n")
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    write_rows(store, telemetry(VANS))
    run_window(store, "vans", "2026-11-21")
    later = telemetry(VANS, start=MIDNIGHT + timedelta(days=1))
    later.loc[later.van_id == "VAN-2", "speed"] += 5000
    write_rows(store, later, "2026-11-22.parquet")
    record = run_window(store, "vans", "2026-11-22")
    lines = {line["partition"]: line for line in read_ledger(store, record.request.run).to_pylist()}
    assert lines["VAN-1"]["cause"] == ""
    assert lines["VAN-2"]["cause"] == "drifted"
    assert "or in the first run of a model that was imported" in lines["VAN-2"]["detail"]
