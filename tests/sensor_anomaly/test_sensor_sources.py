"""Readings as users have them: other names, formats, zones and layouts give what plain Parquet gives."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from detector_estate import FIRST, put, readings, score, train

from fleetscore.errors import SettingsError
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.sources import ColumnKind, DataSettings, aggregate_rows
from fleetscore.sources.settings import STATISTICS
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.local import LocalStore
from fleetscore.workloads.sensor_anomaly.intervals import aggregate_readings
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

START = datetime(2018, 8, 28, 23, tzinfo=UTC)
ROWS = [
    (-30, "1", "a", 9.0),
    (5, "1", "a", 10.0),
    (6, "1", "a", 55.0),
    (7, "NA", "b", 10.5),
    (4000, "1", "a", 10.0),
]


@pytest.fixture
def modelled(store: Store, put_models: Any, make_model: Any) -> Store:
    """A store with models of two sensors."""
    put_models({"1/a": make_model(), "NA/b": make_model()})
    return store


@pytest.fixture
def plain(modelled: Store, put_parquet: Any, tmp_path: Any) -> list[dict[str, Any]]:
    """The results of the window's three readings in plain Parquet, which is then taken away."""
    put_parquet("x.parquet", ROWS)
    found = results(modelled)
    assert len(found) == 3
    for prefix in ("data/", "results/", "runs/", "tables/", "partials/"):
        for entry in modelled.list(prefix):
            modelled.delete(entry.path)
    return found


def results(store: Store) -> list[dict[str, Any]]:
    record = run_window(store, "sensor_anomaly", "2018-08-28T23")
    assert record.counts == {"scored": 2}, (record.error, record.counts, record.remarks)
    rows: list[dict[str, Any]] = read_results(
        store, read_manifest(store, "sensor_anomaly", "2018-08-28T23")
    ).to_pylist()
    return rows


def stamp(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def configure(store: Store, text: str) -> None:
    store.write("settings/sensor_anomaly.toml", text.encode())


def test_other_names_zone_and_compression(modelled: Store, plain: Any) -> None:
    """Semicolons, decimal commas, local times, other columns' names and gzip."""
    lines = ["Zeit;Ger\u00e4t;Kanal;Wert"]
    for seconds, device, sensor, value in ROWS:
        local = stamp(seconds).astimezone(ZoneInfo("Europe/Berlin"))
        lines.append(f"{local:%d.%m.%Y %H:%M:%S};{device};{sensor};{str(value).replace('.', ',')}")
    modelled.write("exports/2018/a.csv.gz", gzip.compress("\n".join(lines).encode()))
    configure(
        modelled,
        'timezone = "Europe/Berlin"\n[data]\npath = "exports/**/*.csv.gz"\nseparator = ";"\ndecimal = ","\n'
        'time_format = "%d.%m.%Y %H:%M:%S"\n'
        'columns = { ts = "Zeit", device = "Ger\u00e4t", sensor = "Kanal", value = "Wert" }\n',
    )
    assert results(modelled) == plain


@pytest.mark.parametrize("form", ["jsonl", "tsv", "avro"])
def test_other_formats(form: str, modelled: Store, plain: Any) -> None:
    """JSON lines, tabs and Avro need no line of settings."""
    rows = [
        {"ts": stamp(seconds).isoformat(), "device": device, "sensor": sensor, "value": value}
        for seconds, device, sensor, value in ROWS
    ]
    modelled.write(f"data/sensor_anomaly/x.{form}", written(rows, form))
    assert results(modelled) == plain


def written(rows: list[dict[str, Any]], form: str) -> bytes:
    if form == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    if form == "tsv":
        return "\n".join(
            "\t".join(map(str, line)) for line in [list(rows[0]), *(r.values() for r in rows)]
        ).encode()
    import fastavro

    fields = [{"name": n, "type": "double" if n == "value" else "string"} for n in rows[0]]
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "reading", "fields": fields}, rows)
    return sink.getvalue()


def test_a_delta_table_is_read_at_its_version(modelled: LocalStore, plain: Any) -> None:
    """The live rows of a Delta table, and nothing else."""
    deltalake = pytest.importorskip("deltalake")
    columns = dict(zip(("ts", "device", "sensor", "value"), zip(*ROWS, strict=True), strict=True))
    columns["ts"] = [stamp(seconds) for seconds in columns["ts"]]
    path = modelled.root / "lake" / "readings"
    deltalake.write_deltalake(path, pa.table({name: list(values) for name, values in columns.items()}))
    configure(modelled, '[data]\npath = "lake/readings"\nformat = "delta"\n')
    assert results(modelled) == plain


def test_device_and_sensor_come_from_the_path_and_days_narrow(modelled: Store, plain: Any) -> None:
    """A file without these columns takes them from its path; only the window's folders are listed."""
    for seconds, device, sensor, value in ROWS:
        moment = stamp(seconds)
        path = f"in/{moment:%Y/%m/%d}/{device}/{sensor}-{abs(seconds)}.csv"
        modelled.write(path, f"time,value\n{moment.isoformat()},{value}\n".encode())
    configure(modelled, '[data]\npath = "in/{window:%Y/%m/%d}/{device}/{sensor}-*.csv"\n')
    assert results(modelled) == plain


def test_rows_that_cannot_be_used_are_told_as_of_csv(modelled: Store) -> None:
    """A row without time or sensor fails its file's own partition; a value that is no number is its sensor's fault."""
    lines = [
        {"ts": "yesterday", "device": "1", "sensor": "a", "value": 1.0},
        {"ts": stamp(5).isoformat(), "device": "", "sensor": "a", "value": 1.0},
        {"ts": stamp(6).isoformat(), "device": "1", "sensor": "a", "value": "much"},
        {"ts": stamp(7).isoformat(), "device": "1", "sensor": "a", "value": 10.0},
    ]
    modelled.write("data/sensor_anomaly/x.jsonl", written(lines, "jsonl"))
    configure(modelled, "reject_limit = 0.9\n[run]\nerror_threshold = 1.0\n")
    record = run_window(modelled, "sensor_anomaly", "2018-08-28T23")
    ledger = {row["partition"]: row for row in read_ledger(modelled, record.request.run).to_pylist()}
    of_file = next(row for key, row in ledger.items() if "x.jsonl" in key)
    assert (of_file["outcome"], of_file["cause"]) == ("failed", "bad_time")
    assert "line 1: bad_time 'yesterday'; line 2: no_sensor" in of_file["detail"]
    assert "1 bad_number (first: data/sensor_anomaly/x.jsonl line 3: 'much')" in ledger["1/a"]["detail"]


def test_what_readers_say_of_rows_is_told(modelled: Store) -> None:
    """The hour that a zone has twice is separated by the order of its rows, and the run says how many there were."""
    rows = "\n".join(
        f"2018-10-28 02:{n % 60:02}:00,{d},{s},10" for d, s in (("1", "a"), ("NA", "b")) for n in range(120)
    )
    modelled.write("data/sensor_anomaly/a.csv", f"ts,device,sensor,value\n{rows}\n".encode())
    configure(modelled, 'timezone = "Europe/Berlin"\n')
    for window in ("2018-10-28T00", "2018-10-28T01"):
        record = run_window(modelled, "sensor_anomaly", window)
        assert record.counts == {"scored": 2}, (record.error, record.remarks)
        assert read_results(modelled, read_manifest(modelled, "sensor_anomaly", window)).num_rows == 120
        assert any(
            "a.csv: 240 rows stand in the hour that Europe/Berlin had twice on 2018-10-28" in remark
            for remark in record.remarks
        ), record.remarks


def test_files_that_are_passed_over_are_remarks(modelled: Store, put_parquet: Any) -> None:
    """Compressed, foreign and misplaced files are named with the reason; markers are not."""
    put_parquet("x.parquet", ROWS)
    for name in ("a.parquet.snappy", "b.orc", "_SUCCESS"):
        modelled.write(f"data/sensor_anomaly/{name}", b"x")
    remarks = run_window(modelled, "sensor_anomaly", "2018-08-28T23").remarks
    assert [
        name for name in ("a.parquet.snappy", "b.orc", "_SUCCESS") if any(name in r for r in remarks)
    ] == [
        "a.parquet.snappy",
        "b.orc",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('aggregate = { every = "7min", value = "mean" }', "must divide the hour"),
        ('aggregate = { every = "2h", value = "mean" }', "must divide the hour"),
        ('aggregate = { every = "1min", km = "mean" }', "a statistic of km"),
        ('aggregate = { every = "1min", value = "mean", ts = "max" }', "a statistic of ts, value"),
    ],
)
def test_lines_that_detectors_cannot_follow_are_refused(store: Store, line: str, said: str) -> None:
    """Intervals across the window's bounds and statistics of other columns are refused by name."""
    configure(store, f"[data]\n{line}\n")
    with pytest.raises(SettingsError, match=said):
        get_workload(store, "sensor_anomaly")


MINUTES = '[data]\naggregate = { every = "1min", value = "mean" }\n'


def test_readings_are_aggregated_before_they_are_scored(modelled: Store, put_parquet: Any) -> None:
    """Each minute of a sensor is one reading at its start, of all files together and without what is no number;
    the ledger counts the readings and the rows.
    """
    configure(modelled, "reject_limit = 0.5\n" + MINUTES)
    put_parquet("x.parquet", [(59.9, "1", "a", 10.0), (60.0, "1", "a", 11.0), (61.0, "1", "a", float("nan"))])
    put_parquet("y.parquet", [(5, "NA", "b", 9.0), (-0.1, "1", "a", 99.0), (119.9, "1", "a", 10.0)])
    rows = [(row["ts"], row["device"], row["value"]) for row in results(modelled)]
    assert rows == [(stamp(0), "1", 10.0), (stamp(60), "1", 10.5), (stamp(0), "NA", 9.0)]
    manifest = read_manifest(modelled, "sensor_anomaly", "2018-08-28T23")
    ledger = {row["partition"]: row for row in read_ledger(modelled, manifest.run).to_pylist()}
    assert (ledger["1/a"]["input_rows"], ledger["1/a"]["rows"]) == (4, 2)
    assert "1 not_finite" in ledger["1/a"]["detail"]


@pytest.mark.parametrize("how", STATISTICS)
@pytest.mark.parametrize("every", ["1s", "1min", "1h"])
def test_intervals_are_those_of_every_kind(how: str, every: str) -> None:
    """Sensors' readings are aggregated as rows of any kind: by the same bounds, to the same values."""
    random = np.random.default_rng(7)
    counts = np.array([40, 0, 1, 300])
    offsets = [np.sort(random.choice(7_200_000, n, replace=False)) * 1000 for n in counts]
    times, values = np.concatenate(offsets) - 3_600_000_000, random.normal(size=counts.sum())
    aggregate = {"every": every, "value": how}
    found_us, found, rows = aggregate_readings(times, values, counts, aggregate)
    keys = pa.array(np.repeat(np.arange(4), counts).astype(str))
    table = pa.table({"ts": pa.array(times).cast(pa.timestamp("us", "UTC")), "key": keys, "value": values})
    kinds = {"ts": ColumnKind.TIME, "key": ColumnKind.KEY, "value": ColumnKind.NUMBER}
    expected = aggregate_rows(table, DataSettings(aggregate=aggregate), kinds)
    assert found_us.tolist() == expected["ts"].cast(pa.int64()).to_pylist()
    assert found.tolist() == pytest.approx(expected["value"].to_pylist(), rel=1e-12)
    assert rows.tolist() == [expected["key"].to_pylist().count(str(key)) for key in range(4)]


def test_sums_too_large_for_a_float_stay_readings() -> None:
    """A minute of readings near the largest float has the largest float as its sum, never infinity."""
    aggregate = {"every": "1min", "value": "sum"}
    _, value, _ = aggregate_readings(np.array([0, 1]), np.full(2, -1.5e308), np.array([2]), aggregate)
    assert value.tolist() == [-np.finfo(float).max]


def test_training_detectors_and_their_past_see_the_intervals_alone(tmp_path: Path) -> None:
    """A store of raw readings and the line `aggregate` gives the results of a store that holds the aggregated ones;
    changing the line makes the carried state anew.
    """
    minutes = readings(3, step_s=300, days=5)
    window = FIRST.next(4 * 24 + 5)
    found = []
    for name, values, step_s, text in (
        ("aggregated", minutes.reshape(-1, 2).mean(axis=1), 600, ""),
        ("raw", minutes, 300, '[data]\naggregate = { every = "10min", value = "mean" }\n'),
    ):
        store = open_store(str(tmp_path / name))
        put(store, "pump", {"flow": values}, step_s)
        if text:
            train(store, SensorAnomaly())
            score(store, SensorAnomaly(), window)
            configure(store, text)
        kind = get_workload(store, "sensor_anomaly")
        train(store, kind)
        found.append([score(store, kind, at).drop_columns("model") for at in (window, window.next())])
    assert found[0][0].num_rows == 6
    assert found[0][0]["severity"].null_count == 0
    for ours, expected in zip(found[1], found[0], strict=True):
        assert ours.equals(expected)
