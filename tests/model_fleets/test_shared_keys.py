"""Models that partitions share, such as one of a depot, beside models of partitions' own."""

from __future__ import annotations

from fleetscore.pipeline.local import run_window
from fleetscore.runs.ledgers import read_ledger
from fleetscore.store.base import Store
from tests.model_fleets.conftest import SETTINGS, fitted, pin_models, telemetry, write_rows


def test_a_depots_model_makes_no_partition_of_its_name(store: Store) -> None:
    """With `partitions = "models"` a silent van that has a model is late, and the depots whose models score others are not."""
    text = SETTINGS.replace("[models]", '[models]\nkey = ["{van_id}", "{depot}"]')
    store.write("settings/vans.toml", f'{text}[expect]\npartitions = "models"\n'.encode())
    keys = ("VAN-1", "VAN-9", "depot-0", "depot-1")
    pin_models(store, {key: fitted(at) for at, key in enumerate(keys)})
    write_rows(store, telemetry(["VAN-1", "VAN-2"]))
    record = run_window(store, "vans", "2026-11-21")
    rows = read_ledger(store, record.request.run).to_pylist()
    found = {row["partition"]: row["outcome"] for row in rows}
    assert found == {"VAN-1": "scored", "VAN-2": "scored", "VAN-9": "late"}
