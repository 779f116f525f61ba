"""The same preparation from Blob storage."""

import re
import uuid
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from fleetscore.models.pins import Pins
from fleetscore.sources import DataSettings
from fleetscore.store import Store, open_store
from fleetscore.workload import RunContext
from fleetscore.workloads.server_load.discovery import read_hours
from fleetscore.workloads.server_load.samples import Shape, generate_days, write_day
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.workload import ServerLoad


def _hours(store: Store, log: bytes = b"", path: str = "") -> list[dict[str, object]]:
    settings = ServerLoadSettings(range_mb=1)
    workload = ServerLoad(settings=replace(settings, data=DataSettings(path=path)) if path else settings)
    if log:
        store.write("data/server_load/log.csv", log)
    run = RunContext(store, workload, workload.parse_window("2016-06-30"), Pins("none"))
    while items := workload.map_items(run):
        for item in items:
            workload.map_item(run, item)
    table: pa.Table = read_hours(store, workload.discover(run).inputs, 0, 1 << 30)
    return table.to_pylist()


def test_blob_and_folder_give_the_same_hours(azurite: str, tmp_path: Path) -> None:
    """Logs read in ranges from Blob storage, the store's own or another container, give the hours that the same
    logs in a folder give.
    """
    endpoint = re.search(r"BlobEndpoint=([^;]+)", azurite)
    assert endpoint
    path = tmp_path / "log.csv"
    shape = Shape(8, 4, 16_979, 40.0)
    with path.open("wb") as file:
        for day in generate_days(shape):
            write_day(file, day, shape)
    log = path.read_bytes()
    assert len(log) > 2 << 20
    container = f"{endpoint[1]}/logs-{uuid.uuid4().hex}"
    blob = _hours(open_store(container), log)
    assert blob == _hours(open_store(str(tmp_path / "other")), path=f"{container}/data/server_load/*.csv")
    assert blob == _hours(open_store(str(tmp_path / "store")), log)
    assert len(blob) > 300
