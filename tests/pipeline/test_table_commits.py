"""What a commit to a result table costs: requests on Blob, processor time on a folder."""

import re
import statistics
import time
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from toy_workload import Toy, write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.publish import publish_run
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_run
from fleetscore.records import RunRequest, RunState
from fleetscore.runs import delta_log
from fleetscore.runs.delta_log import read_snapshot
from fleetscore.runs.result_tables import TableFile, commit_files
from fleetscore.store.base import Store
from fleetscore.store.blob import BlobStore
from fleetscore.store.paths import table_root
from tests.stores.conftest import Wire

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ONE_SHARD = AppSettings(inline_shard_s=100.0, parallelism=1)


@pytest.fixture
def wire() -> Wire:
    """A wire to the storage emulator that notes every request."""
    return Wire()


@pytest.fixture
def blob(azurite: str, wire: Wire) -> BlobStore:
    """An empty container behind the wire."""
    endpoint = re.search(r"BlobEndpoint=([^;]+)", azurite)
    assert endpoint
    return BlobStore.from_url(f"{endpoint[1]}/test-{uuid.uuid4().hex}", transport=wire)


def collected(store: Store, window: str) -> RunRequest:
    """A run of the window that only has to be published."""
    write_lines(store, window, [(f"p{n}", n, "ok") for n in range(6)])
    request = submit_run(store, "toy", window, NOW, "test").request
    commit_plan(store, request, ONE_SHARD, NOW)
    score_shard(store, request.run, 0)
    collect_run(store, request.run)
    return request


def of_tables(wire: Wire) -> list[tuple[str, str]]:
    """The requests below tables/, each as its method and the path or the listed prefix."""
    found = []
    for request in wire.requests:
        parts = urlsplit(request.url)
        path = parse_qs(parts.query).get("prefix", [""])[0] or unquote(parts.path).split("/", 3)[-1]
        if path.startswith("tables/"):
            found.append((request.method, path))
    return found


def test_a_commit_on_blob_is_two_requests_beyond_the_manifest_s(blob: BlobStore, wire: Wire) -> None:
    """Publishing lists the window's folder and creates one version; in a process that knows nothing of the
    table, the log is listed and the commits since its checkpoint are read besides.
    """
    log = f"{table_root('toy')}_delta_log/"
    assert publish_run(blob, collected(blob, "2026-01-01T00"), NOW).state is RunState.PUBLISHED
    for hour, is_known in ((1, True), (2, False)):
        window = f"2026-01-01T{hour:02d}"
        request = collected(blob, window)
        before = read_snapshot(blob, "toy").version
        if not is_known:
            delta_log._known.clear()
        wire.requests.clear()
        assert publish_run(blob, request, NOW).state is RunState.PUBLISHED
        learned = [log, *(delta_log.version_path("toy", number) for number in range(before + 1))]
        read = [f"{table_root('toy')}window={window}/", *([] if is_known else learned)]
        written = [("PUT", delta_log.version_path("toy", before + 1))]
        assert sorted(of_tables(wire)) == sorted([("GET", path) for path in read] + written)


def test_a_commit_costs_the_processor_little(store: Store) -> None:
    """A commit of four files to a table of a hundred windows takes a few milliseconds (the limit is ten
    times what was measured).
    """
    spent_s = []
    for number in range(100):
        key = f"{2026 + number}"
        files = [TableFile(f"window={key}/{n}.parquet", 100, 1) for n in range(4)]
        began = time.process_time()
        commit_files(store, "toy", key, 1, files, Toy.result_schema, NOW)
        spent_s.append(time.process_time() - began)
    assert statistics.median(spent_s) < 0.025
