"""Samples, training, judging, drawing and mini-batches: the workload around its scoring."""

import io
import json
import pickle
import subprocess
import sys
import uuid
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fleetscore.capabilities import SampleReport
from fleetscore.dashboard.picture_files import write_pictures
from fleetscore.errors import InputError
from fleetscore.models.model_sets import read_model_set, write_model_set
from fleetscore.models.pins import Pins, pin_version, read_pins
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.windows import Window, parse_window, windows_between
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.fitted import load_models
from fleetscore.workloads.sensor_anomaly.importing import draft_of
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.training import fit_model
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

WORKLOAD = SensorAnomaly()
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, SampleReport, list[Window]]:
    """A small sample estate, trained, and its third day scored."""
    store = open_store(str(tmp_path_factory.mktemp("estate")))
    report = WORKLOAD.samples(store, scale=0.08)
    record = run_training(
        store, "sensor_anomaly", str(report.facts["train_from"]), str(report.facts["train_to"])
    )
    assert record.state == "published"
    windows = list(windows_between(report.first, report.stop))
    for window in windows:
        assert run_window(store, "sensor_anomaly", window.key).state == "published"
    return store, report, windows


def test_samples_say_how_much_they_wrote(estate: tuple[Store, SampleReport, list[Window]]) -> None:
    """Rows and partitions of the report are what lies in the store, and 24 windows are worth running."""
    store, report, windows = estate
    found = WORKLOAD.discover_training(_whole_span(store, report))
    assert found.expected.num_rows == report.partitions == 81
    assert pc.sum(found.expected["rows"]).as_py() == report.rows
    assert len(windows) == 24


def _whole_span(store: Store, report: SampleReport) -> RunContext:
    first = WORKLOAD.parse_window(str(report.facts["train_from"]))
    return RunContext(store, WORKLOAD, first, purpose="train", end=report.stop)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Samples are reproducible; another seed gives other readings."""
    stores = [open_store(str(tmp_path / name)) for name in "abc"]
    for store, seed in zip(stores, (7, 7, 8), strict=True):
        WORKLOAD.samples(store, scale=0.08, seed=seed)
    paths = [entry.path for entry in stores[0].list("")]
    assert paths == [entry.path for entry in stores[1].list("")]
    assert all(stores[0].read(path) == stores[1].read(path) for path in paths)
    assert stores[0].read(paths[0]) != stores[2].read(paths[0])


def test_the_dead_the_new_and_the_late_are_told_apart(
    estate: tuple[Store, SampleReport, list[Window]],
) -> None:
    """In every window the dead sensor is late and the new one skipped, and readings that came late are scored in their own hour."""
    store, _, windows = estate
    for window in windows:
        manifest = read_manifest(store, "sensor_anomaly", window.key)
        assert manifest.outcomes == {"scored": 79, "late": 1, "skipped": 1}
        assert manifest.rows == 79 * 60
    late = read_results(store, read_manifest(store, "sensor_anomaly", windows[6].key))
    assert pc.sum(pc.equal(late["device"], "pump-0012")).as_py() == 5 * 60


def test_published_rows_are_sorted_and_stand_once(
    estate: tuple[Store, SampleReport, list[Window]],
) -> None:
    """Within a file rows go by partition and time, no (ts, device, sensor) stands twice, and the marked ones have an event."""
    store, _, windows = estate
    table = read_results(store, read_manifest(store, "sensor_anomaly", windows[6].key))
    keys = list(zip(*(table[n].to_pylist() for n in ("device", "sensor", "ts")), strict=True))
    assert keys == sorted(set(keys))
    assert pc.all(pc.equal(pc.is_valid(table["event_start"]), pc.equal(table["anomaly"], 1))).as_py()


def test_planted_anomalies_are_judged_by_an_independent_count(
    estate: tuple[Store, SampleReport, list[Window]],
) -> None:
    """Found, missed and false alarms are what a plain recount over truth and results gives; shifts and drops are all found."""
    store, report, windows = estate
    judged = WORKLOAD.judge_samples(store, windows)
    with store.open("samples/sensor_anomaly/truth.parquet") as source:
        truth = pa.parquet.read_table(source).to_pylist()
    marked = set()
    for window in windows:
        table = read_results(store, read_manifest(store, "sensor_anomaly", window.key))
        rows = table.filter(pc.equal(table["anomaly"], 1)).to_pylist()
        marked |= {(r["ts"], r["device"], r["sensor"]) for r in rows}
    planted = {(r["ts"], r["device"], r["sensor"]): r["event"] for r in truth}
    found = {event for place, event in planted.items() if place in marked}
    assert judged["planted"] == report.facts["planted_events"] == len(set(planted.values()))
    assert judged["found"] == len(found)
    assert judged["missed"] == judged["planted"] - len(found)
    assert judged["anomalies"] == len(marked)
    assert judged["false_alarms"] == len(marked - set(planted))
    assert all(judged["by_kind"][kind]["missed"] == 0 for kind in ("shift", "drop"))
    assert judged["false_alarms"] < 0.005 * judged["readings"]


def test_windows_that_are_not_published_count_as_missed(tmp_path: Path) -> None:
    """Before any run every planted event is missed; without samples the judge says what to do."""
    store = open_store(str(tmp_path))
    with pytest.raises(InputError, match="fleetscore samples"):
        WORKLOAD.judge_samples(store, [])
    report = WORKLOAD.samples(store, scale=0.08)
    judged = WORKLOAD.judge_samples(store, list(windows_between(report.first, report.stop)))
    assert judged["missed"] == judged["planted"] > 0


def test_pictures_are_drawn(estate: tuple[Store, SampleReport, list[Window]], tmp_path: Path) -> None:
    """One file of telling partitions, or of those that were asked for; InputError names one without readings."""
    store, _, windows = estate
    newest = windows[-1:]
    for partitions in ((), ("pump-0002/flow", "pump-0012/current")):
        (path,) = write_pictures(store, WORKLOAD, newest, tmp_path / "pictures", partitions)
        panels = [one for one in ElementTree.parse(path).iter() if one.get("class") == "panel"]
        assert len(panels) == len(partitions or (1, 2, 3))
    with pytest.raises(InputError, match="'nobody/here' has no published rows"):
        write_pictures(store, WORKLOAD, newest, tmp_path, ["nobody/here"])


def test_training_gives_scikit_learns_models(estate: tuple[Store, SampleReport, list[Window]]) -> None:
    """The stored model of a sensor is, bit for bit, what fitting its readings gives; the card says on what it was trained."""
    store, report, _ = estate
    version = read_pins(store, "sensor_anomaly").current
    card = read_model_set(store, "sensor_anomaly", version).card
    assert (card["models"], card["first"], card["stop"]) == (
        80,
        report.facts["train_from"],
        report.facts["train_to"],
    )
    values = []
    for day in ("02", "03"):
        with store.open(f"data/sensor_anomaly/{day}-march.parquet") as source:
            table = pa.parquet.read_table(source)
        mine = pc.and_(pc.equal(table["device"], "pump-0003"), pc.equal(table["sensor"], "flow"))
        values += table.filter(mine).sort_by("ts")["value"].to_pylist()
    picked = np.array(values)[np.linspace(0, len(values) - 1, 2000).astype(int)]
    expected = fit_model(picked, SensorSettings())
    fitted = load_models(store, "sensor_anomaly", pa.array(["pump-0003/flow"]), pa.array([version]))
    stored = fitted.pack.model(int(fitted.place[0]))
    for name in ("mean", "scale", "support", "alpha", "rho", "gamma"):
        assert np.array_equal(getattr(stored, name), getattr(expected, name))


def test_sensors_that_cannot_be_trained_say_why(store: Store, put_parquet: Any) -> None:
    """Too few readings, and readings that are all the same, give an outcome instead of a model; the others are trained."""
    rng = np.random.default_rng(1)
    rows = [(n, "1", "good", float(rng.normal(10, 1))) for n in range(200)]
    rows += [(n, "1", "flat", 3.0) for n in range(200)] + [(n, "1", "few", float(n)) for n in range(9)]
    rows += [(n, "1", "gone", float("nan")) for n in range(200)]
    put_parquet("x.parquet", rows)
    record = run_training(store, "sensor_anomaly", "2018-08-28T23", "2018-08-29T00")
    assert {(c.cause, c.partitions) for c in record.causes} == {
        ("constant_readings", 1),
        ("too_few_readings", 2),
    }
    assert record.counts == {"scored": 1, "skipped": 3}
    assert read_model_set(store, "sensor_anomaly", record.model_set).card["models"] == 1


@pytest.mark.parametrize(
    "extreme",
    [[1.7e308, -1.7e308] * 100, [5.0] * 150 + [1.7976931348623157e308] + [6.0] * 49, [1e300, 1.1e300] * 100],
)
def test_a_sensor_with_readings_at_the_end_of_the_numbers_fails_alone(
    store: Store, put_parquet: Any, extreme: list[float]
) -> None:
    """Its outcome names it and says why; every other sensor of the shard is trained, and no model holds what is not finite."""
    rng = np.random.default_rng(1)
    rows = [(n, "1", f"s{sensor}", float(rng.normal(10, 1))) for sensor in range(12) for n in range(200)]
    put_parquet("x.parquet", rows + [(n, "1", "extreme", value) for n, value in enumerate(extreme)])
    record = run_training(store, "sensor_anomaly", "2018-08-28T23", "2018-08-29T00")
    assert (record.state, record.counts) == ("published", {"scored": 12, "failed": 1})
    assert [(c.cause, c.example) for c in record.causes] == [("training_failed", "1/extreme")]
    assert "not finite" in record.causes[0].detail
    assert read_model_set(store, "sensor_anomaly", record.model_set).card["models"] == 12


def test_a_new_warning_of_a_library_fails_no_sensor(
    store: Store, put_parquet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What scikit-learn or numpy warn of while a model is fitted is no error: the model is kept."""
    from sklearn.svm import OneClassSVM

    fitted = OneClassSVM.fit

    def warns(self: OneClassSVM, *arguments: Any) -> OneClassSVM:
        warnings.warn("This will change in the next version.", FutureWarning, stacklevel=1)
        return fitted(self, *arguments)

    monkeypatch.setattr(OneClassSVM, "fit", warns)
    rng = np.random.default_rng(1)
    put_parquet("x.parquet", [(n, "1", "good", float(rng.normal(10, 1))) for n in range(200)])
    with pytest.warns(FutureWarning):
        record = run_training(store, "sensor_anomaly", "2018-08-28T23", "2018-08-29T00")
    assert record.counts == {"scored": 1}


def test_small_samples_do_not_make_degenerate_models() -> None:
    """Even with nu far below 1/n the model calls most of its own training readings normal."""
    from fleetscore.workloads.sensor_anomaly.decision import decide_matrix

    values = np.random.default_rng(1).normal(50, 2, 60)
    model = fit_model(values, SensorSettings(nu=1e-6))
    assert (decide_matrix(model, values[:, None]) > 0).mean() > 0.9


def test_mini_batches_answer_row_by_row(store: Store, put_models: Any, make_model: Any) -> None:
    """Answers come in the order of the rows, with the scores that a window gives; sensors without a model say so."""
    version = put_models({"1/a": make_model(10.0), "1/two": make_model(features=2)})
    pins = read_pins(store, "sensor_anomaly")
    rows = [
        {"device": "1", "sensor": "a", "value": 55.5, "ts": "2018-08-28T23:00:05Z"},
        {"device": 1, "sensor": "unknown", "value": 1},
        {"device": "1", "sensor": "two", "value": 1},
        {"device": 1, "sensor": "a", "value": 10},
    ]
    answers = WORKLOAD.score_rows(store, pins, rows)
    assert [a["anomaly"] for a in answers] == [1, None, None, 0]
    assert [a.get("cause") for a in answers] == [None, "no_model", "feature_count", None]
    assert answers[0]["model"] == version and answers[0]["ts"] == "2018-08-28T23:00:05Z"
    assert answers[0]["score"] <= 0 < answers[3]["score"]
    assert json.loads(json.dumps(answers)) == answers
    assert WORKLOAD.score_rows(store, pins, []) == []
    unpinned = WORKLOAD.score_rows(store, Pins(), rows[:1])
    assert unpinned[0]["cause"] == "no_model"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": "12"}, "value"),
        ({"value": None}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": True}, "value"),
        ({"device": ""}, "device"),
        ({"sensor": None}, "sensor"),
        ({"ts": "noon"}, "ts"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_malformed_rows_are_named(change: dict[str, Any], field: str, store: Store) -> None:
    """A row that is no reading is refused with its number and field, and nothing is scored."""
    good = {"device": "1", "sensor": "a", "value": 1.0}
    with pytest.raises(InputError, match=rf"Row 1, field {field}") as raised:
        WORKLOAD.score_rows(store, Pins(), [good, good | change])
    assert raised.value.field == f"rows[1].{field}"


def test_scoring_imports_no_science() -> None:
    """Discovering and scoring import numpy and pyarrow, not scikit-learn, scipy or matplotlib, which cost more than the work."""
    code = (
        "import sys; from fleetscore.registry import load_kind; load_kind('sensor_anomaly')\n"
        "import fleetscore.pipeline.local\n"
        "print([m for m in ('sklearn', 'scipy', 'matplotlib', 'polars', 'duckdb', 'azure', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_and_scoring_imported_models(store: Store, put_parquet: Any, tmp_path: Path) -> None:
    """Models pickled by scikit-learn, imported without running them, give scikit-learn's own answers in a published window."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    rng = np.random.default_rng(6)
    pipelines = {}
    for sensor in ("1", "2", "3"):
        readings = np.round(rng.normal(10 * int(sensor), 1, (300, 1)), 2)
        pipelines[sensor] = make_pipeline(StandardScaler(), OneClassSVM(gamma=0.01, nu=0.01)).fit(readings)
        (tmp_path / f"model_7_{sensor}").write_bytes(pickle.dumps(pipelines[sensor], 3))
    draft = WORKLOAD.import_models(store, tmp_path)
    version = write_model_set(store, "sensor_anomaly", draft.files, draft.card).version
    pin_version(store, "sensor_anomaly", version)
    rows = [
        (n, "7", s, float(np.round(rng.normal(10 * int(s), 3), 2))) for n in range(500) for s in pipelines
    ]
    put_parquet("x.parquet", rows)
    assert run_window(store, "sensor_anomaly", "2018-08-28T23").rows == 1500
    table = read_results(store, read_manifest(store, "sensor_anomaly", "2018-08-28T23"))
    assert set(table["model"].to_pylist()) == {version}
    for sensor, pipeline in pipelines.items():
        mine = table.filter(pc.equal(table["sensor"], sensor))
        values = mine["value"].to_numpy()[:, None]
        assert np.array_equal(mine["score"].to_numpy(), pipeline.decision_function(values))
        assert np.array_equal(mine["anomaly"].to_numpy(), (pipeline.predict(values) == -1).astype(np.int8))


def test_the_references_own_readings_and_models(real_data: Path, store: Store, pipeline_of: Any) -> None:
    """All 17,768 readings of the reference are published once, with scikit-learn's decision values and labels on its 15 models."""
    name = "data/sensor_anomaly/sensor_data.csv"
    store.write(name, (real_data / "sensor_data.csv").read_bytes())
    draft = WORKLOAD.import_models(store, real_data / "models")
    assert (draft.card["models"], draft.card["degenerate"]) == (15, ["1/2", "1/5", "2/5", "3/4"])
    version = write_model_set(store, "sensor_anomaly", draft.files, draft.card).version
    pin_version(store, "sensor_anomaly", version)
    first, stop = (parse_window(t, *WORKLOAD.cadences) for t in ("2018-08-28T23", "2018-08-29T04"))
    tables = []
    for window in windows_between(first, stop):
        record = run_window(store, "sensor_anomaly", window.key)
        assert record.counts == {"scored": 15}
        tables.append(read_results(store, read_manifest(store, "sensor_anomaly", window.key)))
    table = pa.concat_tables(tables)
    assert _readings(table) == _raw_readings(real_data / "sensor_data.csv")
    keys = sorted({(r["device"], r["sensor"]) for r in table.select(["device", "sensor"]).to_pylist()})
    fitted = load_models(
        store, "sensor_anomaly", pa.array([f"{d}/{s}" for d, s in keys]), pa.array([version] * len(keys))
    )
    for (device, sensor), place in zip(keys, fitted.place.tolist(), strict=True):
        mine = table.filter(pc.and_(pc.equal(table["device"], device), pc.equal(table["sensor"], sensor)))
        oracle, values = pipeline_of(fitted.pack.model(place)), mine["value"].to_numpy()[:, None]
        assert np.array_equal(mine["score"].to_numpy(), oracle.decision_function(values))
        assert np.array_equal(mine["anomaly"].to_numpy() == 1, oracle.predict(values) == -1)


def _readings(table: pa.Table) -> list[tuple[str, str, str, float]]:
    times = pc.utf8_slice_codeunits(table["ts"].cast(pa.timestamp("us")).cast(pa.string()), 0, 23).to_pylist()
    rest = (table[n].to_pylist() for n in ("device", "sensor", "value"))
    return sorted(zip(times, *rest, strict=True))


def _raw_readings(path: Path) -> list[tuple[str, str, str, float]]:
    rows = (line.split(",") for line in path.read_text().splitlines()[1:])
    return sorted((ts, d, s, float(v)) for ts, d, s, v in rows)


def test_the_reads_of_a_window_do_not_depend_on_settings_of_training() -> None:
    """Only the column settings decide what the catalogue keeps, so changing nu examines no file again."""
    from fleetscore.records import InputFile
    from fleetscore.workloads.sensor_anomaly.catalog import _cache_path

    file = InputFile("data/sensor_anomaly/x.csv", "e", 1)
    plain = SensorSettings()
    assert _cache_path(file, plain) == _cache_path(file, replace(plain, nu=0.5, reject_limit=0.0))
    assert _cache_path(file, plain) != _cache_path(file, replace(plain, time_column="when"))


def test_a_window_on_blob_storage(azurite: str, make_model: Any) -> None:
    """Input in CSV and Parquet on Blob storage, read by ranges, gives the same results as in a folder."""
    endpoint = dict(part.split("=", 1) for part in azurite.split(";") if part)["BlobEndpoint"]
    store = open_store(f"{endpoint}/sensors-{uuid.uuid4().hex}")
    draft = draft_of({"1/a": make_model(), "2/a": make_model()}, {})
    version = write_model_set(store, "sensor_anomaly", draft.files, draft.card).version
    pin_version(store, "sensor_anomaly", version)
    store.write("data/sensor_anomaly/x.csv", b"ts,device,tag,value\n2018-08-28 23:00:05,1,a,10.25\n")
    sink = io.BytesIO()
    moment = datetime(2018, 8, 28, 23, 0, 6, tzinfo=UTC)
    pa.parquet.write_table(pa.table({"ts": [moment], "device": ["2"], "tag": ["a"], "value": [99.0]}), sink)
    store.write("data/sensor_anomaly/y.parquet", sink.getvalue())
    assert run_window(store, "sensor_anomaly", "2018-08-28T23").counts == {"scored": 2}
    table = read_results(store, read_manifest(store, "sensor_anomaly", "2018-08-28T23"))
    found = [(row["device"], row["value"], row["anomaly"]) for row in table.to_pylist()]
    assert found == [("1", 10.25, 0), ("2", 99.0, 1)]
