"""Partial sums to hourly peaks."""

import io
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.models.pins import Pins
from fleetscore.store.local import LocalStore
from fleetscore.workload import RunContext
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.months import Month, hour_of, moment_of, months_between
from fleetscore.workloads.server_load.parse import SLOTS
from fleetscore.workloads.server_load.partials import read_bucket, write_bucketed
from fleetscore.workloads.server_load.peaks import HOURS, find_peaks, hours_path, write_hours
from fleetscore.workloads.server_load.samples import Shape, generate_days, write_day
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.workload import ServerLoad

_SERVERS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
_JUNE = Month(2016, 6)
_FIRST_SLOT = _JUNE.first_hour * 12

_ROW = st.tuples(
    st.integers(0, 2), st.integers(0, 30), st.lists(st.integers(-5, 10**12), min_size=8, max_size=8)
)


def _slots(rows: list[tuple[int, int, list[int]]]) -> pa.Table:
    server = pa.array([_SERVERS[row[0]] for row in rows], pa.string()).dictionary_encode()
    columns = [
        server,
        pa.array([_FIRST_SLOT + row[1] for row in rows], pa.int32()),
        pa.array([1] * len(rows), pa.int64()),
    ]
    columns += [pa.array([row[2][n] for row in rows], pa.int64()) for n in range(8)]
    columns += [pa.array([0] * len(rows), pa.int64())]
    return pa.Table.from_arrays(columns, schema=SLOTS)


def _as_bytes(table: pa.Table) -> bytes:
    plain = table.set_column(0, "server", table["server"].cast(pa.string())).combine_chunks()
    buffer = io.BytesIO()
    pq.write_table(plain, buffer)
    return buffer.getvalue()


@given(st.lists(_ROW, max_size=40), st.randoms(use_true_random=False), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_any_order_and_number_of_parts_give_the_same_bytes(rows: list, random: object, parts: int) -> None:
    """The hours are the same to the byte however their sums were split, doubled into rows and ordered."""
    whole = find_peaks([_slots(rows)])
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    split = [_slots(mixed[n::parts]) for n in range(parts)]
    assert _as_bytes(find_peaks(split)) == _as_bytes(whole)


@given(st.lists(_ROW, max_size=40))
@settings(max_examples=15, deadline=None)
def test_any_number_of_buckets_gives_the_same_hours(
    tmp_path_factory: pytest.TempPathFactory, rows: list
) -> None:
    """Grouping servers into one bucket or seven changes nothing but the order of the servers."""
    store = LocalStore(tmp_path_factory.mktemp("buckets"))
    found = []
    for buckets in (1, 7):
        write_bucketed(store, f"sums/{buckets}.parquet", _slots(rows), buckets, {})
        write_hours(store, f"hours/{buckets}.parquet", _JUNE, [f"sums/{buckets}.parquet"], buckets)
        parts = [read_bucket(store, f"hours/{buckets}.parquet", n) for n in range(buckets)]
        hours = pa.concat_tables(parts).unify_dictionaries()
        found.append(
            _as_bytes(
                hours.set_column(0, "server", hours["server"].cast(pa.string())).sort_by(
                    [("server", "ascending"), ("hour", "ascending")]
                )
            )
        )
    assert found[0] == found[1]


def test_first_of_equal_slots_is_the_peak() -> None:
    """Of two slots with the same load the earlier one's other sums are kept."""
    rows = [(0, 5, [70, *[5] * 7]), (0, 3, [70, *[3] * 7]), (0, 4, [69, *[4] * 7])]
    hours = find_peaks([_slots(rows)])
    assert hours["bytes"].to_pylist() == [3]
    assert hours["sessions"].to_pylist() == [3]
    assert hours.schema == HOURS


def test_other_months_are_left_out() -> None:
    """A month takes only its own slots from sums that reach beyond it."""
    rows = [(0, 0, [1] * 8), (0, -1, [9] * 8), (0, 30 * 288, [9] * 8)]
    assert find_peaks([_slots(rows)], _JUNE)["load"].to_pylist() == [1]


def test_peaks_agree_with_sql(tmp_path: Path, store: LocalStore) -> None:
    """The hours of generated logs are those that DuckDB finds with one query over the CSV."""

    workload = ServerLoad(settings=ServerLoadSettings(range_mb=1))
    shape = Shape(5, 6, hour_of(moment_of(_JUNE.first_hour)) // 24, 60.0)
    path = tmp_path / "log.csv"
    with path.open("wb") as file:
        for day in generate_days(shape):
            write_day(file, day, shape)
    store.write("data/server_load/log.csv", path.read_bytes())
    run = RunContext(store, workload, workload.parse_window("2016-06-06"), Pins())
    while items := workload.map_items(run):
        for item in items:
            workload.map_item(run, item)
    discovery = workload.discover(run)
    assert len(discovery.inputs) == 1
    with store.open(discovery.inputs[0].path) as file:
        ours = pq.read_table(file)
    assert _sql_hours(path) == sorted(
        zip(
            ours["server"].to_pylist(),
            ours["hour"].to_pylist(),
            *(ours[name].to_pylist() for name in SUMS),
            strict=True,
        )
    )
    assert ours.num_rows > 300


def _sql_hours(path: Path) -> list[tuple[object, ...]]:
    cells = dict(zip(SUMS, (15, 5, 9, 10, 11, 12, 13, 14), strict=True))
    added = ", ".join(
        f"sum(coalesce(try_cast(c[{n}] AS DECIMAL(18, 4)), 0) * 10000)::BIGINT AS {name}"
        for name, n in cells.items()
    )
    query = f"""
        WITH lines AS (
            SELECT string_split(unnest(string_split(content, chr(10))), ',') AS c FROM read_text(?)
        ), rows AS (
            SELECT c, c[16] AS server, try_cast(c[2] AS TIMESTAMP) AS ts FROM lines
            WHERE len(c) = 17 AND regexp_matches(c[16], '^[0-9.]+$') AND NOT ends_with(c[2], ':60')
        ), slots AS (
            SELECT server, epoch_ms(ts) // 300000 AS slot, {added} FROM rows WHERE ts IS NOT NULL GROUP BY ALL
        ), ranked AS (
            SELECT *, slot // 12 AS hour, row_number() OVER (PARTITION BY server, slot // 12 ORDER BY load DESC, slot) AS place
            FROM slots
        )
        SELECT server, hour, {", ".join(SUMS)} FROM ranked WHERE place = 1 ORDER BY ALL
    """  # noqa: S608 - built from the names above
    return duckdb.execute(query, [str(path)]).fetchall()


def test_month_paths_name_their_content() -> None:
    """The path of a month's hours depends on which sums it was made from, not on their order."""
    assert hours_path(_JUNE, ["a", "b"], 4) == hours_path(_JUNE, ["b", "a"], 4)
    assert hours_path(_JUNE, ["a", "b"], 4) != hours_path(_JUNE, ["a", "b", "b"], 4)


@pytest.mark.parametrize(
    ("first", "stop", "expected"), [(0, 1, 1), (0, 31 * 24, 1), (0, 31 * 24 + 1, 2), (-1, 1, 2)]
)
def test_months_cover_the_hours(first: int, stop: int, expected: int) -> None:
    """Every month that shares an hour is there, none else."""
    assert len(months_between(first, stop)) == expected


def test_month_ends_where_the_next_begins(line: Callable[..., str]) -> None:
    """December is followed by January of the next year."""
    assert Month(2016, 12).next() == Month(2017, 1)
    assert Month(2016, 12).stop_hour - Month(2016, 12).first_hour == 31 * 24
