"""The samples as Event Hubs Capture writes them: the same readings, the same results, and everything odd that a
stream does.
"""

import io
from typing import Any

import fastavro
import pytest

from fleetscore.errors import InputError
from fleetscore.fleet.store_fleet import Fleet
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.sources import list_inputs
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.capture_samples import SETTINGS_LINES, STREAM
from fleetscore.workloads.sensor_anomaly.samples import TRUTH_PATH

SCALE = 0.02
WINDOWS = ("2026-03-04T01", "2026-03-04T06")
"""An hour whose last events are captured after it and repeated, and one of which some events come late."""


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with captured samples, which tests only read."""
    store = open_store(str(tmp_path_factory.mktemp("stream") / "store"))
    Fleet(store.url).capture_samples("sensor_anomaly", scale=SCALE)
    return store


def capture_files(store: Store) -> dict[str, list[Any]]:
    """The records of every captured file by its path below the hub."""
    found = {}
    for entry in store.list(f"{STREAM}/"):
        records = fastavro.reader(io.BytesIO(store.read(entry.path)))
        found[entry.path.removeprefix(f"{STREAM}/")] = list(records)
    return found


def trained_and_run(store: Store) -> dict[str, list[dict[str, Any]]]:
    """The published rows of each window, without the version of the models."""
    trained = run_training(store, "sensor_anomaly", "2026-03-02T00", "2026-03-04T00")
    assert trained.model_set, trained.error
    published = {}
    for window in WINDOWS:
        run_window(store, "sensor_anomaly", window)
        table = read_results(store, read_manifest(store, "sensor_anomaly", window))
        published[window] = table.drop_columns(["model"]).to_pylist()
    return published


@pytest.mark.slow
def test_capture_gives_the_results_of_plain_files(tmp_path: Any) -> None:
    """Training and scoring on captured samples publish the very rows that the Parquet and CSV samples give."""
    plain, stream = (Fleet(str(tmp_path / name)) for name in ("plain", "stream"))
    told = plain.samples("sensor_anomaly", scale=SCALE)
    captured = stream.capture_samples("sensor_anomaly", scale=SCALE)
    assert (captured.first, captured.stop, captured.rows) == (told.first, told.stop, told.rows)
    assert stream.store.read(TRUTH_PATH) == plain.store.read(TRUTH_PATH)
    expected = trained_and_run(plain.store)
    assert all(expected.values())
    assert trained_and_run(stream.store) == expected


def test_the_files_are_those_of_capture(stream: Store) -> None:
    """Four partitions in Capture's order, repeated events, an empty file, and events captured after their window."""
    files = capture_files(stream)
    assert {path.split("/")[0] for path in files} == {"0", "1", "2", "3"}
    assert all(len(path.removesuffix(".avro").split("/")) == 7 for path in files)
    assert [path for path, records in files.items() if not records] == [
        f"{partition}/2026/03/05/00/15/00.avro" for partition in range(4)
    ]
    for partition in range(4):
        numbers = [r["SequenceNumber"] for p in sorted(files) if p[0] == str(partition) for r in files[p]]
        assert sorted(set(numbers)) == list(range(len(set(numbers))))
        assert len(numbers) - len(set(numbers)) == (10 if partition == 0 else 0)
    after = files["3/2026/03/05/00/00/00.avro"]
    assert all(b'"ts":"2026-03-04T23:5' in record["Body"] for record in after)
    belated = [r for p, records in files.items() if "/03/04/14/00/" in p for r in records]
    assert any(b'"ts":"2026-03-04T06:' in record["Body"] for record in belated)
    assert after[0]["EnqueuedTimeUtc"].startswith("3/5/2026 12:00:")


def test_no_captured_file_needs_attention(stream: Store) -> None:
    """The settings that are written match every file, and no two files are alike."""
    kind = get_workload(stream, "sensor_anomaly")
    listing = list_inputs(stream, kind.settings.source, None)
    assert len(listing.files) == len(capture_files(stream))
    assert not listing.passed_over


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(stream: Store, store: Store) -> None:
    """Samples that are written into another store are the same files."""
    Fleet(store.url).capture_samples("sensor_anomaly", scale=SCALE)
    assert [(e.path, stream.read(e.path)) for e in stream.list("")] == [
        (e.path, store.read(e.path)) for e in store.list("")
    ]


def test_settings_of_the_users_own_are_never_overwritten(store: Store) -> None:
    """Settings that read something else refuse the samples before a file is written."""
    store.write("settings/sensor_anomaly.toml", b"nu = 0.002\n")
    with pytest.raises(InputError, match="nothing was written") as caught:
        Fleet(store.url).capture_samples("sensor_anomaly", scale=SCALE)
    assert SETTINGS_LINES in caught.value.fix
    assert [entry.path for entry in store.list("")] == ["settings/sensor_anomaly.toml"]


@pytest.mark.slow
def test_settings_that_read_the_samples_stay_as_they_are(store: Store) -> None:
    """Samples are written beside settings of the user's own that have the lines for them."""
    own = b"nu = 0.002\n" + SETTINGS_LINES.encode()
    store.write("settings/sensor_anomaly.toml", own)
    assert Fleet(store.url).capture_samples("sensor_anomaly", scale=SCALE).rows
    assert store.read("settings/sensor_anomaly.toml") == own


def test_plain_samples_are_refused_where_settings_read_capture(store: Store) -> None:
    """Parquet samples that the settings would not read are not written."""
    store.write("settings/sensor_anomaly.toml", SETTINGS_LINES.encode())
    with pytest.raises(InputError, match="read every file as capture"):
        Fleet(store.url).samples("sensor_anomaly", scale=SCALE)
    assert not list(store.list("data/"))


@pytest.mark.parametrize("kind", ["store_sales", "server_load"])
def test_other_kinds_are_refused_by_name(kind: str, store: Store) -> None:
    """A kind without captured samples says so, and nothing is written."""
    refused = f"{kind} writes no sample data as files of Event Hubs Capture"
    with pytest.raises(InputError, match=refused):
        Fleet(store.url).capture_samples(kind)
    assert not list(store.list(""))
