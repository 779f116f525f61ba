"""Partitions that lose their model stay expected, are named where it happens, and end with `fleetscore retire`."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from fleetscore.cli.program import run_command
from fleetscore.fleet.store_fleet import Fleet
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.local import run_window
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.retirements import list_retired
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, fitted, pin_models, telemetry, write_rows

pytestmark = pytest.mark.usefixtures("shared_import_process")
VANS = ["VAN-1", "VAN-2", "VAN-3"]


def outcomes(store: Store, window: str) -> dict[str, tuple[str, str]]:
    """Outcome and cause of each partition of a fresh run."""
    record = run_window(store, "vans", window)
    lines = read_ledger(store, record.request.run).to_pylist()
    return {line["partition"]: (line["outcome"], line["cause"]) for line in lines}


@pytest.fixture
def reduced(store: Store, tmp_path: Path) -> Store:
    """Three vans had models; a new import has only VAN-1's. VAN-2 still sends rows, VAN-3 is silent."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "VAN-1.pkl").write_bytes(pickle.dumps(fitted(7)))
    for day in range(3):
        write_rows(
            store, telemetry(VANS[:2], start=MIDNIGHT + timedelta(days=day)), f"2026-11-2{1 + day}.parquet"
        )
    words = ["import-models", "vans", "--from", str(folder), "--trust-pickles", "--store", store.url]
    assert run_command(words) == 2  # it asks, and nobody is there
    assert run_command([*words, "--yes"]) == 0
    return store


def test_who_lost_the_model_is_named_and_stays_expected(
    reduced: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The silent van is late, the one with rows is skipped, and attention has a line for the lost models."""
    assert outcomes(reduced, "2026-11-21") == {
        "VAN-1": ("scored", ""), "VAN-2": ("skipped", "no_model"), "VAN-3": ("late", "no_model_no_rows"),
    }  # fmt: skip
    assert run_command(["attention", "--workload", "vans", "--store", reduced.url]) == 10
    assert "models_lost" in capsys.readouterr().out


def test_a_retired_partition_is_expected_no_more(reduced: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """After retire the silent van has no line; the other is skipped without a word; --undo brings it back."""
    run_window(reduced, "vans", "2026-11-21")
    for van in VANS[1:]:
        assert run_command(["retire", "vans", van, "--why", "sold", "--store", reduced.url]) == 0
    assert [act.partition for act in list_retired(reduced, "vans")] == VANS[1:]
    assert outcomes(reduced, "2026-11-22") == {"VAN-1": ("scored", ""), "VAN-2": ("skipped", "no_model")}
    capsys.readouterr()
    assert run_command(["retire", "vans", "VAN-3", "--undo", "--json", "--store", reduced.url]) == 0
    assert json.loads(capsys.readouterr().out)["retired"] is False
    assert outcomes(reduced, "2026-11-23")["VAN-3"] == ("late", "no_model_no_rows")


def test_a_partition_that_nobody_expects_is_refused_with_the_nearest_names(
    reduced: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped key retires nothing."""
    run_window(reduced, "vans", "2026-11-21")
    assert run_command(["retire", "vans", "VAN-33", "--store", reduced.url]) == 2
    assert "Did you mean VAN-3" in capsys.readouterr().err
    assert not list_retired(reduced, "vans")


def test_a_retired_van_with_a_model_is_not_late(store: Store) -> None:
    """Who has a model and is retired is not expected; if its rows come, they are scored."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    write_rows(store, telemetry(VANS[:2]))
    write_rows(store, telemetry(VANS, start=MIDNIGHT + timedelta(days=1)), "2026-11-22.parquet")
    assert outcomes(store, "2026-11-21")["VAN-3"][0] == "late"
    Fleet(store.url).retire("vans", "VAN-3", why="sold")
    run_window(store, "vans", "2026-11-22")
    write_rows(store, telemetry(VANS[:2], start=MIDNIGHT + timedelta(days=2)), "2026-11-23.parquet")
    assert set(outcomes(store, "2026-11-23")) == set(VANS[:2])


def test_sensors_ask_before_they_lose_their_models(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Importing one model over many asks for sensor_anomaly, too, and the card names who stays expected."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    def folder(name: str, keys: list[str]) -> str:
        for key in keys:
            device, sensor = key.split("/")
            path = tmp_path / name / f"model_{device}_{sensor}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            model = make_pipeline(StandardScaler(), OneClassSVM(gamma="scale", nu=0.1))
            path.write_bytes(pickle.dumps(model.fit([[float(n)] for n in range(30)])))
        return str(tmp_path / name)

    words = ["import-models", "sensor_anomaly", "--store", store.url, "--from"]
    assert run_command([*words, folder("all", ["p1/flow", "p2/flow"])]) == 0
    first = read_pins(store, "sensor_anomaly").current
    one = folder("one", ["p1/flow"])
    assert run_command([*words, one]) == 2
    assert "p2/flow" in capsys.readouterr().err
    assert read_pins(store, "sensor_anomaly").current == first
    assert run_command([*words, one, "--yes"]) == 0
    assert "stay expected" in capsys.readouterr().err
