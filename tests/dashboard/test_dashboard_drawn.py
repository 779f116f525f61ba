"""Pictures of results: every published number that is to be seen is in them, and only what is asked for is read."""

import io
import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.dashboard.charts.published import _groups, read_rows
from fleetscore.dashboard.results_view import read_results_view
from fleetscore.dashboard.svg import Scale, line_path, padded, round_steps, thin_out
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.partition_keys import join_key
from fleetscore.pipeline.ledger import LEDGER
from fleetscore.records import Manifest, ResultFile, to_json
from fleetscore.registry import load_kind
from fleetscore.runs.manifests import Latest
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import latest_path, manifest_path, run_path


def publish(store: Store, workload: str, window: str, parts: dict[str, pa.Table]) -> None:
    """Publish a window by hand: a results file per table, each a row group per ten rows, and a ledger that says who is where."""
    run = f"{workload}-{window}"
    files, lines = [], []
    for number, (key, rows) in enumerate(parts.items()):
        path = run_path(run, f"shards/{number:05d}/attempts/a/results.parquet")
        with store.sink(path) as file:
            pq.write_table(rows, file, row_group_size=10)
        files.append(ResultFile(path, rows.num_rows, "", 1))
        lines.append({"partition": key, "outcome": "scored", "cause": "", "detail": "", "input_rows": 1, "rows": rows.num_rows,
                      "model": "v", "seconds": 0.0, "shard": number, "file": path, "run": run})  # fmt: skip
    with store.sink(run_path(run, "ledger.parquet")) as file:
        pq.write_table(pa.Table.from_pylist(lines, LEDGER), file)
    manifest = Manifest(
        workload, window, run, 1, datetime.now(UTC), {"v": len(parts)}, {"scored": len(parts)}, len(parts),
        sum(file.rows for file in files), tuple(files), run_path(run, "ledger.parquet"),
    )  # fmt: skip
    store.write(manifest_path(workload, window), to_json(manifest))
    store.write(latest_path(workload), to_json(Latest(window, window, manifest_path(workload, window), run)))


def readings(device: str, sensor: str, hour: str, values: list[float], anomalies: set[int]) -> pa.Table:
    """Published readings, a minute apart from the hour's beginning."""
    start = datetime.fromisoformat(f"{hour}:00").replace(tzinfo=UTC)
    count = len(values)
    columns = {
        "ts": [start + timedelta(minutes=n) for n in range(count)], "device": [device] * count, "sensor": [sensor] * count,
        "value": values, "score": [0.1] * count, "anomaly": [int(n in anomalies) for n in range(count)], "model": ["v"] * count,
    }  # fmt: skip
    fields = load_kind("sensor_anomaly").result_schema
    return pa.table(columns).cast(pa.schema([fields.field(name) for name in columns]))


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An empty store."""
    return open_store(str(tmp_path_factory.mktemp("drawn")))


def test_readings_of_several_hours_are_drawn_for_the_asked_sensor_only(store: Store) -> None:
    """The panel counts readings and anomalies of all hours, and marks each anomaly; another sensor of the device stays out."""
    key, other = join_key(["pump/1", "temp"]), join_key(["pump/1", "flow"])
    for hour, anomalies in (("2026-01-01T05", {3}), ("2026-01-01T06", {0, 59}), ("2026-01-01T07", set())):
        parts = {key: readings("pump/1", "temp", hour, [float(n) for n in range(60)], anomalies),
                 other: readings("pump/1", "flow", hour, [-5.0] * 30, {1, 2})}  # fmt: skip
        publish(store, "sensor_anomaly", hour, parts)
    drawing = read_results_view(store, "sensor_anomaly", "2026-01-01T07", [key]).drawing
    assert drawing is not None
    assert drawing.partitions == (key,)
    assert "pump/1 / temp: 3 of 180 readings are anomalies" in drawing.picture
    assert drawing.picture.count('class="anomaly"') == 3
    both = read_results_view(store, "sensor_anomaly", "", [key, other]).drawing
    assert both is not None
    assert both.picture.count("<svg") == 2


def test_a_partition_without_rows_is_named(store: Store) -> None:
    """The error says which partition, and where its story is; an unpublished window says how to run it."""
    publish(
        store, "sensor_anomaly", "2026-01-01T05", {"p/t": readings("p", "t", "2026-01-01T05", [1.0], set())}
    )
    with pytest.raises(InputError, match="'q/t' has no published rows"):
        read_results_view(store, "sensor_anomaly", "2026-01-01T05", ["q/t"])
    with pytest.raises(MissingBlobError) as caught:
        read_results_view(store, "sensor_anomaly", "2026-01-01T06", [])
    assert "fleetscore run sensor_anomaly --window 2026-01-01T06" in caught.value.fix
    with pytest.raises(MissingBlobError):
        read_results_view(store, "server_load", "", [])


def test_load_classes_cover_every_hour_once(store: Store) -> None:
    """Stretches of one class are one bar; their hours add up to the published ones; a gap stays a gap."""
    hours = [datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=n) for n in (0, 1, 2, 3, 4, 6, 7)]
    classes = ["low", "low", "high", "high", "high", "high", "medium"]
    columns = {"server": ["10.0.0.1"] * 7, "hour": hours, "load_class": classes} | {
        name: [0.1] * 7 for name in ("p_low", "p_medium", "p_high")
    }
    columns |= {"model": ["v"] * 7, "load_q50": [1.0] * 7, "load_q90": [2.0] * 7}
    table = pa.table(columns).cast(load_kind("server_load").result_schema)
    publish(store, "server_load", "2026-01-01", {"10.0.0.1": table})
    drawing = read_results_view(store, "server_load", "", ["10.0.0.1"]).drawing
    assert drawing is not None
    bars = re.findall(r"2026-01-02 (\d\d):00, (\d+) h: (\w+)", drawing.picture)
    assert bars == [("00", "2", "low"), ("02", "3", "high"), ("06", "1", "high"), ("07", "1", "medium")]


def test_a_forecast_is_drawn_with_its_history(store: Store) -> None:
    """Bands, dashed median, and a year of sales from the input; the SKU that was asked for, else the best seller first."""
    rows = []
    for sku, level in (("a", 10.0), ("b<b>", 90.0)):
        rows += [
            {"store": "S1", "sku": sku, "week": str(108 + step), "step": step + 1, "q5": level - 4, "q25": level - 2, "q50": level,
             "q75": level + 2, "q95": level + 4, "fallback": False, "model": "v"}
            for step in range(13)
        ]  # fmt: skip
    publish(
        store,
        "store_sales",
        "108",
        {"S1": pa.Table.from_pylist(rows, load_kind("store_sales").result_schema)},
    )
    lines = "".join(
        f"S1,{sku},{week},{week % 7 + 1},1.0,0,0\n" for sku in ("a", "b<b>") for week in range(60, 108)
    )
    store.write("data/store_sales/history.csv", f"store,sku,week,sales,price,deal,feat\n{lines}".encode())
    asked = read_results_view(store, "store_sales", "108", ["S1/a"]).drawing
    assert asked is not None
    assert asked.partitions == ("S1/a",)
    for name in ("band90", "band50", "median", "history"):
        assert asked.picture.count(f'class="{name}"') == 1, name
    assert "SKU a: median 130 over 13 weeks" in asked.picture
    whole = read_results_view(store, "store_sales", "108", ["S1"]).drawing
    assert whole is not None
    assert whole.partitions == (join_key(["S1", "b<b>"]), "S1/a")
    assert "<b>" not in whole.picture
    with pytest.raises(InputError, match="'zzz'"):
        read_results_view(store, "store_sales", "108", ["S1/zzz"])


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "é", "zz"]), min_size=1, max_size=40),
    st.sets(st.sampled_from(["a", "b", "d", "é", "none"]), min_size=1),
)
def test_rows_read_are_those_of_a_full_scan(keys: list[str], wanted: set[str]) -> None:
    """Skipping row groups by their statistics loses no row and adds none."""
    rows = pa.table({"key": sorted(keys), "n": list(range(len(keys)))})
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, row_group_size=3)

    class OneFile:
        """A store with one file."""

        def open(self, path: str) -> pa.NativeFile:
            """Open it."""
            return pa.BufferReader(buffer.getvalue())

    found = read_rows(OneFile(), ["x"], ["key", "n"], "key", sorted(wanted))  # type: ignore[arg-type]  # all that is needed of a store
    assert found.to_pylist() == [row for row in rows.to_pylist() if row["key"] in wanted]
    read = _groups(pq.ParquetFile(pa.BufferReader(buffer.getvalue())), "key", sorted(wanted))
    assert len(read) <= -(-len(keys) // 3)


def test_row_groups_that_cannot_hold_the_key_are_not_read() -> None:
    """Of a hundred sorted row groups one is read."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"key": [f"k{n:04d}" for n in range(1000)]}), buffer, row_group_size=10)
    assert _groups(pq.ParquetFile(pa.BufferReader(buffer.getvalue())), "key", ["k0123"]) == [12]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=3000), st.integers(4, 900))
def test_thinning_keeps_the_extremes_and_the_order(values: list[float], most: int) -> None:
    """The least and the largest value stay, times stay sorted, and no more points than asked for are left."""
    xs, ys = thin_out(np.arange(len(values), dtype=np.float64), np.array(values), most)
    assert len(xs) <= max(most, 2)
    assert (ys.min(), ys.max()) == (min(values), max(values))
    assert np.all(np.diff(xs) > 0)
    assert all(values[int(x)] == y for x, y in zip(xs, ys, strict=True))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 8))
def test_grid_lines_are_round_and_within(first: float, span: float, most: int) -> None:
    """Steps are 1, 2 or 5 times a power of ten, inside the span, and not many more than asked for."""
    steps = round_steps(first, first + span, most)
    assert len(steps) <= most + 1
    assert all(first - 1e-6 * span <= step <= first + span * (1 + 1e-6) for step in steps)
    if len(steps) > 2:
        lead = float(f"{steps[1] - steps[0]:.6e}".split("e")[0])
        assert min(abs(lead - n) for n in (1, 2, 5, 10)) < 1e-2


def test_lines_break_where_nothing_is_known() -> None:
    """NaN lifts the pen; an empty line draws nothing; a flat one has a scale."""
    assert line_path(np.array([0.0, 1, 2]), np.array([1.0, math.nan, 3])) == "M0 1M2 3"
    assert line_path(np.array([]), np.array([])) == ""
    low, high = padded([5.0, 5.0])
    assert low < 5 < high
    assert padded([math.nan]) == (0.0, 1.0)
    assert Scale(0, 10, 100, 0).at(2.5) == 75
