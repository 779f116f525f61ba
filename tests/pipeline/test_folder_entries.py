"""A container whose folders are entries themselves, as accounts with a hierarchical namespace show them."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import deltalake
import pytest
from azure.storage.blob import BlobServiceClient
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.housekeeping import sweep
from fleetscore.operations.repair.state_check import check_state
from fleetscore.operations.table_sync import published_windows, repair_tables, sync_tables
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only, RunState
from fleetscore.runs import delta_log
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.sources import DataSettings, list_inputs
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, parse_window

WINDOWS = ("2026-01-01T00", "2026-01-01T01")
ONE_SHARD = AppSettings(inline_shard_s=100.0, parallelism=1)


class FolderAccount:
    """A container on the emulator; `show_folders` puts the entries there that such an account makes by itself."""

    def __init__(self, connection: str) -> None:
        endpoint = re.search(r"BlobEndpoint=([^;]+)", connection)
        assert endpoint
        self.endpoint, self.name = endpoint[1], f"test-{uuid.uuid4().hex}"
        self.client = BlobServiceClient.from_connection_string(connection).get_container_client(self.name)
        self.store: Store = open_store(f"{endpoint[1]}/{self.name}")

    def show_folders(self, *emptied: str) -> None:
        """An entry for each folder above a file, and for those that were emptied."""
        names = [entry.path for entry in self.store.list("")]
        parents = {name.rsplit("/", depth)[0] for name in names for depth in range(1, name.count("/") + 1)}
        for folder in (*parents, *emptied):
            self.client.upload_blob(folder, b"", metadata={"hdi_isfolder": "true"}, overwrite=True)

    def rows(self) -> list[tuple[str, str, int]]:
        """The result table as delta-rs reads it from the service."""
        key = re.search(r"AccountKey=([^;]+)", str(self.key))
        assert key
        options = {
            "azure_storage_account_name": "devstoreaccount1",
            "azure_storage_account_key": key[1],
            "azure_endpoint": self.endpoint,
            "allow_http": "true",
        }
        table = deltalake.DeltaTable(
            f"az://{self.name}/tables/toy", storage_options=options
        ).to_pyarrow_table()
        return sorted((row["window"], row["partition"], row["doubled"]) for row in table.to_pylist())

    key = ""


@pytest.fixture
def account(azurite: str) -> FolderAccount:
    """An account in whose container two windows of six partitions were published, with its folders shown."""
    account = FolderAccount(azurite)
    account.key = azurite
    for hour, window in enumerate(WINDOWS):
        write_lines(account.store, window, [(f"p{n}", n + hour, "ok") for n in range(6)])
        assert run_window(account.store, "toy", window, ONE_SHARD).state is RunState.PUBLISHED
    account.show_folders(
        "results/toy/2026-01-01T05", "runs/toy-2026-01-01T05", "data/toy/2026", "models/toy/old"
    )
    delta_log._known.clear()
    return account


def truth(store: Store) -> list[tuple[str, str, int]]:
    """What the manifests name."""
    found = []
    for window in published_windows(store, "toy"):
        rows = read_results(store, read_manifest(store, "toy", window)).to_pylist()
        found += [(window, row["partition"], row["doubled"]) for row in rows]
    return sorted(found)


def test_runs_tables_and_repairs_go_on_among_entries_of_folders(account: FolderAccount) -> None:
    """Retries, the watchdog's commit, repair, housekeeping, doctor and delta-rs see the files alone; an emptied folder is no window."""
    store = account.store
    assert published_windows(store, "toy") == list(WINDOWS)
    write_lines(store, WINDOWS[0], [(f"p{n}", 10 * n, "ok") for n in range(6)])
    execute(store, submit_retry(store, f"toy-{WINDOWS[0]}", datetime.now(UTC), "test", only=Only.ALL).request)
    account.show_folders()
    assert account.rows() == truth(store) and (WINDOWS[0], "p3", 60) in truth(store)
    store.delete(delta_log.version_path("toy", 2))
    delta_log._known.clear()
    assert [done.window for done in sync_tables(store, datetime.now(UTC))] == [WINDOWS[0]]
    assert repair_tables(store, datetime.now(UTC)) == []
    sweep(store, datetime.now(UTC) + timedelta(days=400))
    assert account.rows() == truth(store)
    assert check_state(store).bad == ()
    found = examine(store, AppSettings(store=store.url), lambda: datetime.now(UTC)).findings
    assert [f for f in found if f.check in ("tables", "state", "results") and f.state == "wrong"] == []


def test_entries_of_folders_are_no_input(account: FolderAccount) -> None:
    """Neither read nor passed over: a folder's entry is no file, whatever its name ends with."""
    account.show_folders("data/toy/more.csv", "data/toy/table/_delta_log")
    window = parse_window(WINDOWS[0], Cadence.HOUR)
    for settings in (DataSettings(path="data/toy/*.csv"), DataSettings(path="data/toy/**/*.csv")):
        listing = list_inputs(account.store, settings, window)
        assert [file.path for file in listing.files] == [f"data/toy/{key}.csv" for key in WINDOWS]
        assert listing.passed_over == ()
