"""Windows from input to outcome: everybody expected gets one outcome, every reading is published once or accounted for."""

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscore.models.pins import Pins, pin_version, read_pins
from fleetscore.partition_keys import join_key
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.local import run_window
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.settings import read_workload_settings
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.testing import check_workload
from fleetscore.windows import Cadence, parse_window
from fleetscore.workload import RunContext, Shard
from fleetscore.workloads.sensor_anomaly.packs import SensorModel
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

WORKLOAD = SensorAnomaly()
WINDOW = parse_window("2018-08-28T23", Cadence.HOUR)
START_US = int(WINDOW.start.timestamp()) * 1_000_000
Rows = list[tuple[float, str, str, Any]]


@dataclass(frozen=True)
class Answer:
    """Discovery and scoring of a window: one row per partition, and the results."""

    ledger: dict[str, dict[str, Any]]
    results: pa.Table
    remarks: tuple[str, ...]
    inputs: tuple[str, ...]

    def of(self, key: str) -> tuple[str, str]:
        """Outcome and cause of a partition."""
        return self.ledger[key]["outcome"], self.ledger[key]["cause"]


def score(store: Store, **changes: Any) -> Answer:
    """Discover and score the window as the pipeline does; checks that every partition is settled exactly once."""
    chosen = read_workload_settings(store, "sensor_anomaly", SensorSettings)
    pins = changes.get("pins") or read_pins(store, "sensor_anomaly")
    run = RunContext(
        store, SensorAnomaly(settings=replace(chosen, **changes.get("settings", {}))), WINDOW, pins
    )
    found = WORKLOAD.discover(run)
    table = found.expected
    assert len(set(table["partition"].to_pylist())) == table.num_rows
    ledger = {row["partition"]: row | {"input_rows": row["rows"], "rows": 0} for row in table.to_pylist()}
    open_ones = table.filter(pa.compute.equal(table["outcome"], ""))
    pieces = [WORKLOAD.result_schema.empty_table()]
    if open_ones.num_rows:
        for piece in WORKLOAD.score(replace(run, inputs=found.inputs), Shard(0, open_ones)):
            pieces.append(piece.results)
            for row in piece.outcomes.to_pylist():
                assert ledger[row["partition"]]["outcome"] == ""
                ledger[row["partition"]] |= row
            assert piece.sketches is not None
            assert piece.sketches.num_rows == len(
                [r for r in piece.outcomes.to_pylist() if r["outcome"] == "scored"]
            )
    assert all(row["outcome"] for row in ledger.values())
    return Answer(ledger, pa.concat_tables(pieces), found.remarks, tuple(f.path for f in found.inputs))


def published(answer: Answer) -> list[tuple[float, str, str, float]]:
    """The results as (seconds after the window's start, device, sensor, value)."""
    rows = answer.results.to_pylist()
    return [((r["ts"] - WINDOW.start).total_seconds(), r["device"], r["sensor"], r["value"]) for r in rows]


def test_expected_is_who_has_data_and_who_has_a_model(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A model without readings is late, readings without a model are skipped, both together are scored."""
    put_models({"1/a": make_model(), "1/dead": make_model()})
    put_parquet("x.parquet", [(1, "1", "a", 10.0), (2, "1", "new", 5.0), (4000, "1", "later", 1.0)])
    answer = score(store)
    assert {key: answer.of(key) for key in answer.ledger} == {
        "1/a": ("scored", ""),
        "1/dead": ("late", "no_readings"),
        "1/new": ("skipped", "no_model"),
    }
    assert published(answer) == [(1.0, "1", "a", 10.0)]


def test_the_kind_keeps_the_promises_of_the_seam(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """check_workload finds nothing wrong, with sensors that are scored, late, unknown and faulty."""
    put_models({f"1/{n}": make_model() for n in range(6)} | {"1/dead": make_model()})
    readings = [(t, "1", str(n), 10.0) for t in range(10) for n in range(6)]
    put_parquet("x.parquet", [*readings, (1, "1", "new", 5.0), (3, "1", "4", None), (4, "1", "4", None)])
    assert check_workload(WORKLOAD, store, WINDOW.key).outcomes == {"scored": 5, "quarantined": 1}


def test_a_window_without_data_is_late_for_everybody(store: Store, put_models: Any, make_model: Any) -> None:
    """No input at all: every sensor with a model is late, and nothing raises."""
    put_models({"1/a": make_model()})
    assert score(store).of("1/a") == ("late", "no_readings")


def test_without_models_everybody_is_skipped_and_told(store: Store, put_parquet: Any) -> None:
    """Before the first model set, readings are skipped, and a remark says what to do."""
    put_parquet("x.parquet", [(1, "1", "a", 10.0)])
    answer = score(store)
    assert answer.of("1/a") == ("skipped", "no_model")
    assert "import or train" in answer.remarks[0]


def test_a_partition_uses_the_version_pinned_for_it(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """One partition is scored with its own version, the others with the current one; each row names which."""
    first = put_models({"1/a": make_model(10.0), "1/b": make_model(10.0)})
    second = put_models({"1/a": make_model(99.0), "1/b": make_model(99.0), "1/c": make_model()})
    pin_version(store, "sensor_anomaly", first, partition="1/b")
    put_parquet("x.parquet", [(1, "1", "a", 10.0), (1, "1", "b", 10.0)])
    answer = score(store)
    by_sensor = {row["sensor"]: (row["model"], row["anomaly"]) for row in answer.results.to_pylist()}
    assert by_sensor == {"a": (second, 1), "b": (first, 0)}
    assert answer.of("1/c") == ("late", "no_readings")


def test_a_model_that_only_an_unpinned_version_has_is_not_expected(
    store: Store, put_models: Any, make_model: Any
) -> None:
    """A sensor whose model is gone from the current version is not late for ever."""
    put_models({"1/old": make_model(), "1/a": make_model()})
    put_models({"1/a": make_model()})
    assert list(score(store).ledger) == ["1/a"]


@pytest.mark.parametrize("damage", ["pack", "index", "set"])
def test_a_corrupt_model_file_fails_its_partitions_by_name(
    damage: str, store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A damaged file of a model set fails the partitions that need it, with corrupt_model; those of another version are scored."""
    good = put_models({"1/b": make_model()})
    bad = put_models({"1/a": make_model(11.0), "1/b": make_model(11.0)})
    pin_version(store, "sensor_anomaly", good, partition="1/b")
    name = {"pack": "pack-0000.npz", "index": "index.npz", "set": "set.json"}[damage]
    store.write(f"models/sensor_anomaly/{bad}/{name}", b"PK damaged")
    put_parquet("x.parquet", [(1, "1", "a", 10.0), (1, "1", "b", 10.0)])
    answer = score(store)
    assert answer.of("1/a") == ("failed", "corrupt_model")
    assert bad in answer.ledger["1/a"]["detail"]
    assert answer.of("1/b") == ("scored", "")


def test_a_pin_to_a_version_that_is_gone_fails_its_partitions(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A version that does not exist fails the partitions pinned to it, and nobody else."""
    version = put_models({"1/a": make_model(), "1/b": make_model()})
    put_parquet("x.parquet", [(1, "1", "a", 10.0), (1, "1", "b", 10.0)])
    answer = score(store, pins=Pins(version, {"1/b": "20200101T000000Z-00000000"}))
    assert (answer.of("1/a"), answer.of("1/b")) == (("scored", ""), ("failed", "no_model_set"))


def test_a_model_of_other_features_or_with_impossible_numbers_fails_alone(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A model for two features, or with a NaN inside, fails its own partition with its own cause."""
    broken = replace(make_model(), rho=float("nan"))
    put_models({"1/a": make_model(), "1/two": make_model(features=2), "1/nan": broken})
    put_parquet("x.parquet", [(1, "1", s, 10.0) for s in ("a", "two", "nan")])
    answer = score(store)
    assert answer.of("1/two") == ("failed", "feature_count")
    assert answer.of("1/nan") == ("failed", "corrupt_model")
    assert answer.of("1/a") == ("scored", "")
    assert len(published(answer)) == 1


def test_degenerate_models_score_with_a_remark(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A model that calls everything an anomaly is used as it is, and every ledger says so."""
    good = make_model()
    put_models(
        {
            "1/a": SensorModel(good.mean, good.scale, good.support[:1], np.array([0.03]), 0.03, 0.01),
            "1/b": good,
        }
    )
    put_parquet("x.parquet", [(1, "1", "a", 10.0), (1, "1", "b", 10.0)])
    answer = score(store)
    assert answer.of("1/a") == ("scored", "degenerate_model")
    assert "1/a" in answer.remarks[0] and "1 of 2" in answer.remarks[0]
    assert [row["anomaly"] for row in answer.results.to_pylist()] == [1, 0]


def test_readings_without_a_number_are_rejected_counted_and_placed(
    store: Store, put_models: Any, make_model: Any
) -> None:
    """Within the limit the rest is scored, and the detail names file, line and text of the first of each kind."""
    put_models({"1/a": make_model(), "1/b": make_model()})
    lines = [f"2018-08-28 23:00:{n:02d},1,a,10" for n in range(30)] + ["2018-08-28 23:00:00,1,b,10"]
    lines[4] = "2018-08-28 23:00:04,1,a,ten"
    lines[7] = "2018-08-28 23:00:07,1,a,NaN"
    lines[9] = "2018-08-28 23:00:09,1,a,1e999"
    store.write("data/sensor_anomaly/x.csv", "\n".join(["TS,Device,Sensor,Value", *lines]).encode())
    answer = score(store)
    row = answer.ledger["1/a"]
    assert (row["outcome"], row["cause"], row["input_rows"], row["rows"]) == ("scored", "not_finite", 30, 27)
    assert "data/sensor_anomaly/x.csv line 6: 'ten'" in row["detail"]
    assert "2 not_finite" in row["detail"] and "line 9: 'NaN'" in row["detail"]
    assert answer.of("1/b") == ("scored", "")


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([10.0] * 9 + [np.nan], "scored"),
        ([10.0] * 8 + [np.nan, np.inf], "quarantined"),
        ([np.nan, -np.inf], "failed"),
    ],
)
def test_too_many_rejected_readings_set_the_partition_aside(
    values: list[float], outcome: str, store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """More than reject_limit of a partition's readings rejected: quarantined, nothing of it published; all of them: failed."""
    put_models({"1/a": make_model(), "1/b": make_model()})
    put_parquet("x.parquet", [(n, "1", "a", v) for n, v in enumerate(values)] + [(0, "1", "b", 10.0)])
    answer = score(store)
    assert answer.of("1/a") == (outcome, "not_finite")
    assert answer.ledger["1/a"]["rows"] == (9 if outcome == "scored" else 0)
    assert answer.of("1/b") == ("scored", "")
    assert len(published(answer)) == answer.ledger["1/a"]["rows"] + 1


def test_of_equal_readings_the_first_is_kept(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """Same time, device and sensor: the first by file and row is published, the others are counted and one is shown."""
    put_models({"1/a": make_model()})
    put_parquet("b.parquet", [(1, "1", "a", 12.0), (2, "1", "a", 10.0)])
    put_parquet("a.parquet", [(1, "1", "a", 10.0), (3, "1", "a", 10.5), (1, "1", "a", 11.0)])
    answer = score(store)
    assert published(answer) == [(1.0, "1", "a", 10.0), (2.0, "1", "a", 10.0), (3.0, "1", "a", 10.5)]
    row = answer.ledger["1/a"]
    assert (row["outcome"], row["cause"], row["input_rows"], row["rows"]) == (
        "scored",
        "duplicate_reading",
        5,
        3,
    )
    assert "2 duplicate_reading" in row["detail"] and "2018-08-28T23:00:01" in row["detail"]


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("bad.csv", b"", "empty_file"),
        ("bad.csv", b"TS,Device,Value\n2018-08-28 23:00:00,1,2\n", "missing_column"),
        ("bad.csv", b"\xff\xfe\x00", "unreadable_file"),
        ("bad.parquet", b"", "empty_file"),
        ("bad.parquet", b"PAR1 and no more", "unreadable_file"),
        ("bad.csv", b"TS,Device,Tag,Value\n2018-08-28 23:00:00,1,a,10\nsoon,1,a,3\n", "bad_time"),
        (
            "bad.csv",
            b"TS,Device,Tag,Value\n2018-08-28 23:00:00,1,a,10\n2018-08-28 23:00:00,,a,3\n",
            "no_sensor",
        ),
        ("bad.csv", b"TS,Device,Tag,Value\n2018-08-28 23:00:00,1,a,10\n2018-08-28 23:00:00,1\n", "bad_row"),
    ],
)
def test_a_bad_file_is_a_failed_partition_of_its_own(
    name: str, content: bytes, cause: str, store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """What nobody can place fails under the file's name, and every sensor that can be read is scored."""
    put_models({"1/a": make_model()})
    put_parquet("good.parquet", [(5, "1", "a", 10.0)])
    store.write(f"data/sensor_anomaly/{name}", content)
    answer = score(store)
    key = join_key([f"data/sensor_anomaly/{name}"])
    assert answer.of(key) == ("failed", cause)
    assert name in answer.ledger[key]["detail"]
    assert answer.of("1/a") == ("scored", "")


def test_a_truncated_parquet_file_fails_alone(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A Parquet file cut anywhere is a failed partition; the others' readings are published."""
    put_models({"1/a": make_model(), "2/a": make_model()})
    put_parquet("good.parquet", [(5, "1", "a", 10.0)])
    put_parquet("cut.parquet", [(5, "2", "a", 10.0)])
    whole = store.read("data/sensor_anomaly/cut.parquet")
    for length in (4, len(whole) // 2, len(whole) - 1):
        store.write("data/sensor_anomaly/cut.parquet", whole[:length])
        answer = score(store)
        assert answer.of(join_key(["data/sensor_anomaly/cut.parquet"])) == ("failed", "unreadable_file")
        assert (answer.of("1/a"), answer.of("2/a")) == (("scored", ""), ("late", "no_readings"))


def test_damaged_pages_fail_the_partitions_in_them(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A file whose footer is whole but whose values are not fails the sensors in it, not those of other files."""
    put_models({"1/a": make_model(), "2/a": make_model()})
    put_parquet("good.parquet", [(5, "1", "a", 10.0)])
    put_parquet("hurt.parquet", [(n, "2", "a", n / 7) for n in range(200)])
    data = bytearray(store.read("data/sensor_anomaly/hurt.parquet"))
    column = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(0).column(3)
    first = column.dictionary_page_offset or column.data_page_offset
    data[first : first + 40] = b"\xff" * 40
    store.write("data/sensor_anomaly/hurt.parquet", bytes(data))
    answer = score(store)
    assert answer.of("2/a") == ("failed", "unreadable_file")
    assert "hurt.parquet" in answer.ledger["2/a"]["detail"]
    assert answer.of("1/a") == ("scored", "")


def test_damage_anywhere_in_a_parquet_file_stays_in_it(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """Whatever byte of a Parquet file is wrong, nothing raises, and the sensors of other files are scored."""
    put_models({"1/a": make_model(), "2/a": make_model()})
    put_parquet("good.parquet", [(5, "1", "a", 10.0)])
    put_parquet("hurt.parquet", [(n, "2", "a", n / 7) for n in range(50)])
    whole = store.read("data/sensor_anomaly/hurt.parquet")
    rng = np.random.default_rng(3)
    for place in rng.integers(4, len(whole) - 4, 60).tolist():
        damaged = whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :]
        store.write("data/sensor_anomaly/hurt.parquet", damaged)
        assert score(store).of("1/a") == ("scored", "")


def test_names_that_are_no_utf8_fail_their_file(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A Parquet file whose names are no UTF-8 is an unreadable file; the others are scored."""
    put_models({"1/a": make_model()})
    put_parquet("good.parquet", [(5, "1", "a", 10.0)])
    bad = pa.array([b"\xff\xfe"]).view(pa.string())
    times = pa.array([START_US], pa.timestamp("us"))
    sink = io.BytesIO()
    pq.write_table(pa.table({"ts": times, "device": bad, "sensor": ["a"], "value": [1.0]}), sink)
    store.write("data/sensor_anomaly/bad.parquet", sink.getvalue())
    answer = score(store)
    assert answer.of(join_key(["data/sensor_anomaly/bad.parquet"])) == ("failed", "unreadable_file")
    assert answer.of("1/a") == ("scored", "")


@pytest.mark.parametrize("change", ["rewritten", "deleted"])
def test_input_that_changes_under_a_run_fails_what_was_in_it(
    change: str, store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """Between plan and scoring a file was rewritten or deleted: its sensors fail with input_changed, to be retried; others are scored."""
    put_models({"1/a": make_model(), "2/a": make_model()})
    put_parquet("a.parquet", [(5, "1", "a", 10.0)])
    put_parquet("b.parquet", [(5, "2", "a", 10.0)])
    run = open_window(store, WORKLOAD, WINDOW.key)
    found = WORKLOAD.discover(run)
    if change == "deleted":
        store.delete("data/sensor_anomaly/b.parquet")
    else:
        put_parquet("b.parquet", [(5, "2", "a", 99.0), (6, "2", "a", 99.0)])
    pieces = WORKLOAD.score(replace(run, inputs=found.inputs), Shard(0, found.expected))
    rows = [row for piece in pieces for row in piece.outcomes.to_pylist()]
    assert {row["partition"]: (row["outcome"], row["cause"], row["rows"]) for row in rows} == {
        "1/a": ("scored", "", 1),
        "2/a": ("failed", "input_changed", 0),
    }


WILD = ["pump/3", "..", "a b", "ü/°C", "%2F", "x.y", "🌡", "'\"", "CON", "-", "a,b"]


def test_names_of_any_kind_survive(store: Store, put_parquet: Any, put_models: Any, make_model: Any) -> None:
    """Slashes, dots, spaces and unicode in names: separate partitions, published under the very names, through a whole run."""
    pairs = [(d, s) for d in WILD for s in WILD[:3]]
    put_models({join_key([d, s]): make_model() for d, s in pairs})
    put_parquet("x.parquet", [(n, d, s, 10.0) for n, (d, s) in enumerate(pairs)])
    record = run_window(store, "sensor_anomaly", "2018-08-28T23")
    assert record.counts == {"scored": len(pairs)}
    results = read_results(store, read_manifest(store, "sensor_anomaly", "2018-08-28T23"))
    assert sorted(zip(results["device"].to_pylist(), results["sensor"].to_pylist(), strict=True)) == sorted(
        pairs
    )
    assert pa.types.is_string(results.schema.field("device").type)


def test_windows_read_only_what_overlaps_them(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and row groups of other hours are not read again once they are in the catalogue."""
    from fleetscore.workloads.sensor_anomaly import catalog, parquet_input

    put_models({"1/a": make_model()})
    put_parquet("now.parquet", [(n * 60.0, "1", "a", 10.0) for n in range(-120, 120)], row_group_size=60)
    put_parquet("old.parquet", [(n * 60.0, "1", "a", 10.0) for n in range(-500, -200)])
    first = score(store)
    assert first.inputs == ("data/sensor_anomaly/now.parquet",)
    read: list[int] = []
    original = parquet_input.read_row_group

    def spy(file: Any, group: int, *args: Any, **kwargs: Any) -> Any:
        read.append(group)
        return original(file, group, *args, **kwargs)

    monkeypatch.setattr(catalog, "read_row_group", spy)
    again = score(store)
    assert again.results.equals(first.results)
    assert first.results.num_rows == 60
    assert read == [2]


@pytest.mark.parametrize(("row_group_size", "most"), [(60, 2), (10, 3)])
def test_examining_opens_a_file_once_to_see_its_columns_and_once_per_thread(
    store: Store, put_parquet: Any, monkeypatch: pytest.MonkeyPatch, row_group_size: int, most: int
) -> None:
    """Each opening of a blob is a request, and planning may meet thousands of small files."""
    from fleetscore.sources import list_inputs
    from fleetscore.workloads.sensor_anomaly.catalog import catalog_file
    from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

    put_parquet("x.parquet", [(n * 60.0, "1", "a", 10.0) for n in range(60)], row_group_size=row_group_size)
    opened: list[str] = []
    original = type(store).open
    monkeypatch.setattr(type(store), "open", lambda self, path: opened.append(path) or original(self, path))
    (file,) = list_inputs(store, SensorSettings().source, None).files
    assert len(catalog_file(store, file, SensorSettings()).entry.pieces) == 60 // row_group_size
    assert 2 <= len(opened) <= most


def test_a_changed_file_is_examined_again(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any
) -> None:
    """A file that was rewritten is seen with its new readings, though the catalogue knew the old ones."""
    put_models({"1/a": make_model()})
    put_parquet("x.parquet", [(-5000, "1", "a", 10.0)])
    assert score(store).of("1/a") == ("late", "no_readings")
    put_parquet("x.parquet", [(5, "1", "a", 10.0)])
    assert score(store).of("1/a") == ("scored", "")


def test_foreign_files_are_ignored_with_a_remark(store: Store, put_parquet: Any) -> None:
    """A file of another kind is named in a remark; marker files are passed over in silence."""
    put_parquet("x.parquet", [(5, "1", "a", 10.0)])
    store.write("data/sensor_anomaly/notes.txt", b"hello")
    store.write("data/sensor_anomaly/_SUCCESS", b"")
    assert [r for r in score(store).remarks if "notes.txt" in r]
    assert not [r for r in score(store).remarks if "_SUCCESS" in r]


READING = st.tuples(
    st.integers(-3, 12),
    st.sampled_from("12"),
    st.sampled_from("ab"),
    st.sampled_from([9.5, 10.0, 10.25, 55.0, float("nan")]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(
        st.tuples(st.booleans(), st.lists(READING, max_size=25)), max_size=4, unique_by=repr
    ),  # equal files are read once
    limit=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_reading_is_published_once_or_accounted_for(
    files: list[tuple[bool, Rows]], limit: float, make_model: Any, tmp_path_factory: Any
) -> None:
    """However readings are spread over files, orders, duplicates and NaNs: each outcome's sums match an independent count."""
    store = open_store(str(tmp_path_factory.mktemp("any")))
    fixtures = _Fixtures(store)
    fixtures.put_models({f"{d}/{s}": make_model() for d in "12" for s in "ab"})
    for number, (as_csv, rows) in enumerate(files):
        (fixtures.put_csv if as_csv else fixtures.put_parquet)(f"{number}", rows)
    answer = score(store, settings={"reject_limit": limit})
    inside = [(float(t), d, s, v) for _, rows in files for t, d, s, v in rows if t >= 0]
    for key in ("1/a", "1/b", "2/a", "2/b"):
        mine = [(t, v) for t, d, s, v in inside if f"{d}/{s}" == key]
        usable: dict[float, float] = {}
        for t, v in mine:
            if v == v:
                usable.setdefault(t, v)
        rejected = sum(v != v for _, v in mine)
        row = answer.ledger[key]
        assert row["input_rows"] == len(mine)
        expected = "late" if not mine else "failed" if not usable else "scored"
        if expected == "scored" and rejected > limit * len(mine):
            expected = "quarantined"
        assert row["outcome"] == expected
        found = [(t, v) for t, d, s, v in published(answer) if f"{d}/{s}" == key]
        assert found == (sorted(usable.items()) if expected == "scored" else [])
        assert row["rows"] == len(found)


class _Fixtures:
    """The fixtures' work for one store per example."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put_models(self, models: dict[str, SensorModel]) -> None:
        from fleetscore.models.model_sets import write_model_set
        from fleetscore.workloads.sensor_anomaly.importing import draft_of

        draft = draft_of(models, {})
        version = write_model_set(self._store, "sensor_anomaly", draft.files, draft.card).version
        pin_version(self._store, "sensor_anomaly", version)

    def put_csv(self, name: str, rows: Rows) -> None:
        lines = [f"{np.datetime64(START_US + round(t) * 1_000_000, 'us')},{d},{s},{v}" for t, d, s, v in rows]
        text = "\n".join(["ts,device,sensor,value", *lines])
        self._store.write(f"data/sensor_anomaly/{name}.csv", text.encode())

    def put_parquet(self, name: str, rows: Rows) -> None:
        times, devices, sensors, values = zip(*rows, strict=True) if rows else ((), (), (), ())
        table = pa.table(
            {
                "ts": pa.array([START_US + t * 1_000_000 for t in times], pa.timestamp("us")),
                "device": pa.array(devices, pa.string()),
                "sensor": pa.array(sensors, pa.string()),
                "value": pa.array(values, pa.float64()),
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=7)
        self._store.write(f"data/sensor_anomaly/{name}.parquet", sink.getvalue())


def test_pieces_hold_whole_partitions_and_bounded_rows(
    store: Store, put_parquet: Any, put_models: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard comes in pieces of bounded size; a partition's rows lie in one, and the pieces together are the whole."""
    from fleetscore.workloads.sensor_anomaly import scoring

    put_models({f"1/{n}": make_model() for n in range(9)})
    put_parquet("x.parquet", [(t, "1", str(n), 10.0) for t in range(10) for n in range(9)])
    whole = score(store).results
    monkeypatch.setattr(scoring, "_PIECE_ROWS", 25)
    run = open_window(store, WORKLOAD, WINDOW.key)
    found = WORKLOAD.discover(run)
    pieces = list(WORKLOAD.score(replace(run, inputs=found.inputs), Shard(0, found.expected)))
    assert [p.results.num_rows for p in pieces] == [20, 20, 20, 20, 10]
    assert pa.concat_tables([p.results for p in pieces]).to_pydict() == whole.to_pydict()


def test_more_than_65536_partitions_sort_as_fewer_do() -> None:
    """The two-pass sort of wide codes is a stable sort by code."""
    from fleetscore.workloads.sensor_anomaly.filing import order_by_code

    code = np.random.default_rng(1).integers(0, 200_000, 50_000).astype(np.int32)
    assert np.array_equal(order_by_code(code, 200_000), np.argsort(code, kind="stable"))


@pytest.mark.parametrize(
    "text", ["reject_limit = 1.5", "gamma = 0.0", "nu = 2.0", "train_rows_min = 1", "train_rows_max = 3"]
)
def test_settings_out_of_range_are_refused(text: str, store: Store) -> None:
    """Every numeric setting has a range, and the error names setting, value and range."""
    from fleetscore.errors import SettingsError

    store.write("settings/sensor_anomaly.toml", text.encode())
    with pytest.raises(SettingsError, match=text.split()[0]):
        read_workload_settings(store, "sensor_anomaly", SensorSettings)


def test_columns_mapped_in_settings_are_read(store: Store, put_models: Any, make_model: Any) -> None:
    """A file with its own column names is scored once the settings map them; before, it fails and says how."""
    put_models({"1/a": make_model()})
    store.write("data/sensor_anomaly/x.csv", b"when,unit,channel,kPa\n2018-08-28 23:00:00,1,a,10\n")
    key = join_key(["data/sensor_anomaly/x.csv"])
    assert score(store).of(key) == ("failed", "missing_column")
    assert "time_column" in score(store).ledger[key]["detail"]
    mapped = (
        b'time_column = "when"\ndevice_column = "unit"\nsensor_column = "channel"\nvalue_column = "kPa"\n'
    )
    store.write("settings/sensor_anomaly.toml", mapped)
    assert score(store).of("1/a") == ("scored", "")
