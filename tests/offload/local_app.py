"""The real app on the local host against the local cloud, for tests that start, watch, break and follow runs."""

import os
import re
import sys
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.batch import BatchClient
from azure.core.credentials import AccessToken

from devbatch.process import ServiceProcess
from fleetscore.batch.azure_batch import BatchCompute
from fleetscore.cli.local_cloud import LocalBatch, LocalStorage, cloud_environment
from fleetscore.pipeline.attempt_marker import AttemptMarker
from fleetscore.pipeline.offload_usage import Usage
from fleetscore.records import from_json
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from tests.pipeline.app_host import Host

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TOYS = ROOT / "tests" / "pipeline"
WORKLOADS = "toy=toy_workload:Toy,heavy=heavy_workload:Heavy"


def worker_command() -> str:
    """What stands for the worker image's entry point."""
    return f"{sys.executable} -m worker_image"


@dataclass(frozen=True)
class Cloud:
    """Azurite and the local Batch service."""

    azurite: str
    service: ServiceProcess

    def environment(self, store_url: str = "", pool: str = "local") -> dict[str, str]:
        """Settings that lead the app here; the store is a fresh container unless one is given."""
        urls = dict(re.findall(r"(\w+)Endpoint=([^;]+);", self.azurite))
        storage = LocalStorage(urls["Blob"], urls["Queue"], urls["Table"])
        batch = LocalBatch(self.service.url, self.service.ca_path, pool)
        made = cloud_environment(storage, batch, f"fleet{uuid.uuid4().hex[:12]}")
        made["FLEETSCORE_COMPLETION_QUEUE"] = f"done{uuid.uuid4().hex[:12]}"
        return made | ({"FLEETSCORE_STORE": store_url} if store_url else {})

    def compute(self, pool: str = "local") -> BatchCompute:
        """The production client of the service, trusting its certificate."""
        client = BatchClient(self.service.url, Token(), connection_verify=self.service.ca_path)
        return BatchCompute(client, pool)


class Token:
    """A credential for the local service, which looks at its form only."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """A token for the next hour."""
        return AccessToken("local", int(time.time()) + 3600)


class App(Host):
    """The app with the toy workloads and the settings of the local cloud, in one process as on Azure."""

    options = ("--concurrency", "threads")

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.settings = environment
        paths = os.pathsep.join([str(ROOT), str(TOYS), str(HERE)])
        toys = {"FLEETSCORE_WORKLOADS": WORKLOADS, "PYTHONPATH": paths}
        super().__init__(folder, **toys, **environment)

    def run(self, window: str, workload: str = "toy") -> str:
        """Start the run of a window; gives its id."""
        answer = self.post("runs", {"workload": workload, "window": window})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


def write_rules(store: Store, slow_s: float = 0.2, **rules: float) -> None:
    """The toy's settings: shards of ten partitions on Batch, and looks at them every few seconds; what was learned is forgotten."""
    rules = {"batch_shard_s": 10.0, "check_s": 3.0} | rules
    text = f"slow_s = {slow_s}\n[run]\n" + "".join(f"{name} = {value}\n" for name, value in rules.items())
    for workload in ("toy", "heavy"):
        store.write(f"settings/{workload}.toml", text.encode())
        store.delete(f"rates/{workload}.json")


def markers_of(store: Store, run: str) -> list[AttemptMarker]:
    """What the attempts at the run's shards are about to score, or were when they died."""
    paths = [entry.path for entry in store.list(f"runs/{run}/shards/") if entry.path.endswith("/crumb.json")]
    return [from_json(store.read(path), AttemptMarker) for path in paths]


def usage_of(store: Store, run: str) -> Usage:
    """What the run's tasks took."""
    return from_json(store.read(f"runs/{run}/usage.json"), Usage)


def rows_of(store: Store, window: str, workload: str = "toy") -> list[tuple[Any, ...]]:
    """The published rows, sorted."""
    table = read_results(store, read_manifest(store, workload, window))
    return sorted(tuple(row.values()) for row in table.to_pylist())


def lines(count: int, **behaviours: str) -> list[tuple[str, int, str]]:
    """Toy partitions p0, p1, ...; those named (p3="kill") behave so."""
    return [(f"p{i}", i, behaviours.get(f"p{i}", "ok")) for i in range(count)]


def doubled(count: int, without: Iterable[str] = ()) -> list[tuple[str, int]]:
    """The rows that `lines(count)` gives."""
    return sorted((f"p{i}", 2 * i) for i in range(count) if f"p{i}" not in set(without))
