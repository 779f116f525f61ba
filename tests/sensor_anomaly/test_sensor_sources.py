"""Readings as users have them: other names, formats, zones and layouts give what plain Parquet gives."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from fleetscore.errors import SettingsError
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.store.local import LocalStore

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


def test_lines_that_detectors_cannot_follow_are_refused(store: Store) -> None:
    """Intervals and databases are refused by name."""
    configure(store, '[data]\naggregate = { every = "1min", value = "mean" }\n')
    with pytest.raises(SettingsError, match="not for sensor_anomaly"):
        get_workload(store, "sensor_anomaly")
