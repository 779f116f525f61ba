"""Reading through fleetscore.sources against the plain ways: fastavro's loop, the sensors' own readers, the
servers' compiled parser on the bytes of the same logs, the driver's COPY to Arrow.

Each pair is measured in alternation in one process, as processor seconds of this process (user and system),
the least of several turns; landing also as wall-clock seconds, since there a server works beside it. Needs
PostgreSQL for the last pair. Then what a commit to a result table takes on a folder. Run: python -m
benchmarks.sources
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fleetscore.runs.result_tables import TableFile, commit_files
from fleetscore.sources import ColumnKind, DataSettings, TimeRange, land, list_inputs, read_files
from fleetscore.sources.request import budget_of
from fleetscore.store import Store, open_store
from fleetscore.windows import Cadence, parse_window
from fleetscore.workload import MapItem
from fleetscore.workloads.sensor_anomaly.capture_samples import SCHEMA
from fleetscore.workloads.sensor_anomaly.columns import Columns
from fleetscore.workloads.sensor_anomaly.csv_input import cut_pieces, read_header, read_lines
from fleetscore.workloads.sensor_anomaly.parquet_input import open_parquet, read_row_group
from fleetscore.workloads.server_load.layouts import LAYOUTS
from fleetscore.workloads.server_load.packed_logs import sum_packed_log
from fleetscore.workloads.server_load.parse import parse_piece, piece_of_lines, read_layout, read_piece
from fleetscore.workloads.server_load.partials import parse_items
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.sources import list_logs

TURNS = 3
TURNS_OF_LOGS = 12
START = datetime(2026, 3, 4, 10, tzinfo=UTC)
HOUR = TimeRange(START, START + timedelta(hours=1))
KINDS = {
    "ts": ColumnKind.TIME,
    "device": ColumnKind.CODED,
    "sensor": ColumnKind.CODED,
    "value": ColumnKind.NUMBER,
}
COLUMNS = Columns("ts", "device", "sensor", "value")


def main() -> None:
    """Measure every pair and print a line for each."""
    print(f"load {os.getloadavg()[0]:.1f}; seconds: ours / theirs = ratio")
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        measure_capture(store, files=6, events=10_000)
        measure_sensor_files(store, rows=500_000)
        measure_server_logs(store, rows=300_000)
        measure_landing(store, rows=1_000_000)
        measure_commits(store, commits=300)


def make_readings(rows: int) -> pa.Table:
    """Readings of an hour, of 100 devices with 10 sensors."""
    number = np.arange(rows)
    times = np.datetime64(START.replace(tzinfo=None), "us") + (number * (3_599_000_000 // rows)).astype(
        "timedelta64[us]"
    )
    return pa.table(
        {
            "ts": pa.array(times).cast(pa.timestamp("us", "UTC")),
            "device": pa.array([f"pump-{n % 100:04d}" for n in range(rows)]),
            "sensor": pa.array([f"sensor-{n // 100 % 10}" for n in range(rows)]),
            "value": np.random.default_rng(1).normal(size=rows),
        }
    )


def measure_capture(store: Store, files: int, events: int) -> None:
    """Captured files of an hour: their bodies' four fields as columns."""
    readings = make_readings(files * events).to_pylist()
    for number in range(files):
        sink = io.BytesIO()
        part = readings[number * events : (number + 1) * events]
        records = [captured(number * events + n, reading) for n, reading in enumerate(part)]
        fastavro.writer(sink, SCHEMA, records)
        store.write(f"hub/0/2026/03/04/10/{number:02d}/00.avro", sink.getvalue())
    settings = DataSettings(path="hub/{partition}/{window:%Y/%m/%d/%H}/**/*.avro", format="capture")
    found = list_inputs(store, settings, HOUR).files

    def ours() -> int:
        return read_files(store, found, settings, KINDS, HOUR).table.num_rows

    def loop() -> int:
        return sum(1 for file in found for _ in fastavro.reader(io.BytesIO(store.read(file.path))))

    def opened() -> int:
        bodies = [
            json.loads(event["Body"])
            for file in found
            for event in fastavro.reader(io.BytesIO(store.read(file.path)))
        ]
        table = pa.table({name: [body[name] for body in bodies] for name in KINDS})
        return table.set_column(0, "ts", table["ts"].cast(pa.timestamp("us", "UTC"))).num_rows

    compare("Capture, against fastavro's loop alone", ours, loop, files * events)
    compare("Capture, against the loop that opens bodies into columns", ours, opened, files * events)


def captured(sequence: int, reading: dict[str, Any]) -> dict[str, Any]:
    """One event as Event Hubs Capture writes it."""
    return {
        "SequenceNumber": sequence,
        "Offset": str(sequence * 200),
        "EnqueuedTimeUtc": "3/4/2026 10:00:05 AM",
        "SystemProperties": {"x-opt-sequence-number-epoch": -1, "x-opt-publisher": "pump"},
        "Properties": {"site": "north"},
        "Body": json.dumps({**reading, "ts": reading["ts"].isoformat()}).encode(),
    }


def measure_sensor_files(store: Store, rows: int) -> None:
    """One CSV and one Parquet file of readings, against the readers that sensor_anomaly has of its own."""
    table = make_readings(rows)
    with store.sink("text/a.csv") as file:
        pa_csv.write_csv(table, file)
    with store.sink("columns/a.parquet") as file:
        pq.write_table(table, file)

    def own_csv() -> int:
        header = read_header(store, "text/a.csv")
        return sum(
            len(read_lines(data, 2, header, COLUMNS)[0])
            for _, data in cut_pieces(store, "text/a.csv", header, budget_of("text/a.csv", DataSettings()))
        )

    def own_parquet() -> int:
        file = open_parquet(store, "columns/a.parquet", COLUMNS)
        return sum(len(read_row_group(file, n, 0, COLUMNS)[0]) for n in range(file.num_row_groups))

    for name, path, own in (("CSV", "text/*.csv", own_csv), ("Parquet", "columns/*.parquet", own_parquet)):
        settings = DataSettings(path=path)
        found = list_inputs(store, settings, None).files
        compare(
            f"{name}, against the sensors' own reader",
            lambda settings=settings, found=found: (
                read_files(store, found, settings, KINDS, HOUR).table.num_rows
            ),
            own,
            rows,
        )


def measure_server_logs(store: Store, rows: int) -> None:
    """Logs of 17 columns, plain and as gzip, listed and read through sources in pieces within their limits, against the same parser on
    bytes that were read, and unpacked, at once.
    """
    text = make_log(rows)
    packed = gzip.compress(text, 6)
    store.write("data/plain/a.csv", text)
    store.write("data/packed/a.csv.gz", packed)
    plain = ServerLoadSettings(data=DataSettings(path="data/plain/*.csv"))
    zipped = ServerLoadSettings(data=DataSettings(path="data/packed/*.csv.gz"))

    def ours_plain() -> int:
        return sum(
            kept_of_range(store, item) for item in parse_items(list_logs(store, plain, "").files, plain)
        )

    def ours_packed() -> int:
        files = list_logs(store, zipped, "").files
        return sum(sum_packed_log(store, file, zipped)[2].kept for file in files)

    def at_once(path: str, unpack: Callable[[bytes], bytes]) -> int:
        return parse_piece(piece_of_lines(unpack(store.read(path))), LAYOUTS["17"])[1].kept

    compare("Server logs, against the parser on their bytes", ours_plain,
            lambda: at_once("data/plain/a.csv", bytes), rows, turns=TURNS_OF_LOGS)  # fmt: skip
    compare("Server logs as gzip, against gzip and the parser", ours_packed,
            lambda: at_once("data/packed/a.csv.gz", gzip.decompress), rows, turns=TURNS_OF_LOGS)  # fmt: skip


def kept_of_range(store: Store, item: MapItem) -> int:
    """The rows of a range that are kept, read as a run reads them."""
    layout = read_layout(store, item.input.path, "auto").layout
    budget = budget_of(item.input.path, DataSettings())
    piece = read_piece(store, item.input.path, item.first_byte, item.stop_byte, budget)
    assert layout is not None and piece is not None
    return parse_piece(piece, layout)[1].kept


def make_log(rows: int) -> bytes:
    """A log of an hour of 200 servers."""
    loads = np.random.default_rng(1).lognormal(3, 1, rows).round(3)
    return "".join(
        f"1,2026-03-04 10:{n * 60 // rows:02d}:{n % 60:02d},2026-03-04 10:59:59,3,{n % 97}.25,4,1,web,1,2.5,3,4,5,6,{load},"
        f"10.0.{n % 200}.1,192.168.0.9\n"
        for n, load in enumerate(loads)
    ).encode()


def measure_landing(store: Store, rows: int) -> None:
    """A window's rows of PostgreSQL into the store, against reading them to Arrow by the driver alone."""
    from adbc_driver_postgresql import dbapi

    from tests.sources.postgres_server import running_server

    with running_server() as server:
        os.environ["FLEETSCORE_DATABASE_BENCHMARK"] = server.url
        server.run(
            "CREATE TABLE readings AS SELECT timestamptz '2026-03-04T10:00Z' + n * interval '1 ms' AS ts, "  # noqa: S608 # a number
            f"'pump-' || n % 100 AS device, 'sensor-' || n % 10 AS sensor, random() AS value FROM generate_series(0, {rows - 1}) n"
        )
        query = "SELECT * FROM readings WHERE ts >= :start AND ts < :end"
        settings = DataSettings(
            database="FLEETSCORE_DATABASE_BENCHMARK", query=query, time="ts", timezone="UTC"
        )
        window = parse_window("2026-03-04T10", Cadence.HOUR)

        def copied() -> int:
            with dbapi.connect(server.url) as connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT * FROM readings WHERE ts >= '2026-03-04T10:00Z' AND ts < '2026-03-04T11:00Z'"
                )
                return sum(batch.num_rows for batch in cursor.fetch_record_batch())

        def landed() -> int:
            return land(store, settings, "benchmark", window).rows

        compare("PostgreSQL landing, against COPY to Arrow", landed, copied, rows)
        compare("PostgreSQL landing, wall clock", landed, copied, rows, time.perf_counter)


def measure_commits(store: Store, commits: int) -> None:
    """Commits of four files each to a result table on a folder, by the wall clock and by the processor."""
    schema = pa.schema([(name, pa.string() if name != "value" else pa.float64()) for name in KINDS])
    wall_ms, processor_ms = [], []
    for number in range(commits):
        key = f"{2026 + number}"
        files = [TableFile(f"window={key}/{n}.parquet", 100, 1) for n in range(4)]
        began = time.perf_counter(), time.process_time()
        commit_files(store, "benchmark", key, 1, files, schema, START)
        wall_ms.append((time.perf_counter() - began[0]) * 1000)
        processor_ms.append((time.process_time() - began[1]) * 1000)
    half, most = np.percentile(wall_ms, (50, 99))
    print(
        f"Delta commit on a folder: {half:.1f} ms (median), {most:.1f} ms (99th percentile) by the wall clock, "
        f"{np.median(processor_ms):.1f} ms of the processor  ({commits} commits)"
    )


def compare(
    name: str,
    ours: Callable[[], int],
    theirs: Callable[[], int],
    rows: int,
    clock: Callable[[], float] = time.process_time,
    turns: int = TURNS,
) -> None:
    """Print the least seconds of both, taken in alternation; both must give all rows."""
    seconds: list[Sequence[float]] = []
    for _ in range(turns):
        times = []
        for read in (ours, theirs):
            began = clock()
            assert read() == rows
            times.append(clock() - began)
        seconds.append(times)
    mine, other = (min(column) for column in zip(*seconds, strict=True))
    usual = np.median([ours / theirs for ours, theirs in seconds])
    print(
        f"{name}: {mine:.2f} / {other:.2f} = {mine / other:.2f}, median of {turns} turns {usual:.2f}  ({rows:,} rows)"
    )


if __name__ == "__main__":
    main()
