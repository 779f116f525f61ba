"""Input that no window reads: doctor and nightly housekeeping look through the whole folders of every workload."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetscore.app_settings import AppSettings
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.housekeeping import sweep
from fleetscore.registry import get_workload
from fleetscore.store.local import LocalStore

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SETTINGS = """
kind = "models"
partition = ["van"]
[data]
path = "data/vans/{window:%Y-%m-%d}/*.csv"
time = "ts"
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with one workload of each kind, and a file beside the input of each."""
    found = LocalStore(tmp_path / "store")
    found.write("settings/vans.toml", SETTINGS.encode())
    found.write("data/vans/2026-11-19/a.csv", b"ts,van\n")
    found.write("data/vans/2024-01-01/history.csv.zip", b"x")
    found.write("data/store_sales/history.csv", b"store,sku,week,sales\n")
    found.write("data/store_sales/sales_2025.csv", b"store,sku,week,sales\n")
    found.write("data/sensor_anomaly/a.parquet.snappy", b"x")
    found.write("data/server_load/any.log", b"1,2\n")
    found.write("data/server_load/empty.log", b"")
    return found


def test_the_doctor_warns_of_files_that_no_window_reads(store: LocalStore) -> None:
    """A folder of a window long past, another name, another suffix, no byte: a warning for each workload, with the reason."""
    findings = [f for f in examine(store, AppSettings(), lambda: NOW).findings if f.check == "input"]
    told = {
        finding.detail.partition(":")[0]: finding.detail for finding in findings if finding.state == "warning"
    }
    assert "data/vans/2024-01-01/history.csv.zip" in told["vans"]
    assert "sales_2025.csv: The pattern" in told["store_sales"]
    assert "a.parquet.snappy: Its suffix names no format" in told["sensor_anomaly"]
    assert "1 files of its input are not read. data/server_load/empty.log" in told["server_load"]


def test_an_input_that_is_read_whole_is_ok(store: LocalStore) -> None:
    """Without such files the finding says so."""
    for path in ("data/server_load/empty.log", "data/sensor_anomaly/a.parquet.snappy"):
        store.delete(path)
    findings = {f.detail: f.state for f in examine(store, AppSettings(), lambda: NOW).findings}
    assert findings["server_load: every file of its input that looks like data is read."] == "ok"


def test_housekeeping_names_them_every_night(store: LocalStore) -> None:
    """Its report has a sentence for each workload, and removes none of the files."""
    swept = sweep(store, NOW)
    assert {remark.partition(":")[0] for remark in swept.remarks} == {
        "vans",
        "store_sales",
        "sensor_anomaly",
        "server_load",
    }
    assert store.stat("data/vans/2024-01-01/history.csv.zip") is not None


@pytest.mark.slow
def test_a_place_that_cannot_be_listed_is_said(store: LocalStore) -> None:
    """A container that refuses costs its workload a sentence and no other workload anything."""
    text = SETTINGS.replace("data/vans/", "http://127.0.0.1:1/devstoreaccount1/raw/")
    store.write("settings/vans.toml", text.encode())
    assert get_workload(store, "vans").data_prefixes() == ("settings/vans.toml",)
    told = [remark for remark in sweep(store, NOW, dry_run=True).remarks if remark.startswith("vans")]
    assert "cannot be listed" in told[0]
