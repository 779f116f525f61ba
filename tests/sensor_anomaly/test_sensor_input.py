"""Reading input files: CSV and Parquet give the same readings, and each line at fault is named and costs nothing else."""

import gzip
import io
import itertools
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import FileError, InputError
from fleetscore.sources import DataSettings, byte_stream, list_inputs
from fleetscore.sources.request import budget_of
from fleetscore.store.base import Store
from fleetscore.store.local import LocalStore
from fleetscore.workloads.sensor_anomaly import csv_input
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file, piece_readers
from fleetscore.workloads.sensor_anomaly.columns import recognise_columns
from fleetscore.workloads.sensor_anomaly.csv_input import cut_pieces, read_header, read_lines
from fleetscore.workloads.sensor_anomaly.overlap import overlapped
from fleetscore.workloads.sensor_anomaly.readings import encode_sensors
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.text import numbers_of_texts, time_of_text, times_of_texts

EVER = -(1 << 62), 1 << 62
HEADER = b"TS,Device,Sensor,Value\n"
DEFAULTS = SensorSettings()


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """A folder store, whose files may have any name."""
    return LocalStore(tmp_path / "store")


def read_all(store: Store, name: str) -> tuple[list[tuple[Any, ...]], dict[int, str], Any]:
    """All readings of one file as (microseconds, device, sensor, value, row), the texts that are no numbers, and its entry."""
    file = next(f for f in list_inputs(store, DEFAULTS.source, None).files if f.path.endswith(name))
    entry = catalog_file(store, file, DEFAULTS)
    rows: list[tuple[Any, ...]] = []
    texts: dict[int, str] = {}
    for part in overlapped(piece_readers(store, entry, DEFAULTS, *EVER)):
        names = part.sensors.to_pylist()
        for time_us, code, value, row in zip(part.time_us, part.sensor, part.value, part.row, strict=True):
            rows.append((int(time_us), names[code]["device"], names[code]["sensor"], float(value), int(row)))
        texts.update(part.texts)
    return rows, texts, entry.entry


@pytest.mark.parametrize("unit", ["int96", "ms"])
def test_a_time_beyond_what_nanoseconds_hold_never_wraps(local: LocalStore, unit: str) -> None:
    """A sentinel for never is a year of its own or rejected, not a time of another century."""
    never = 2**62 if unit != "int96" else 253_370_764_800_000  # 9999 in milliseconds
    times = pa.array(
        [never, 1_772_611_200_000],
        pa.timestamp("ms"),
    )
    table = pa.table({"ts": times, "device": ["d", "d"], "sensor": ["s", "s"], "value": [1.0, 2.0]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_deprecated_int96_timestamps=unit == "int96")
    local.write("data/sensor_anomaly/a.parquet", sink.getvalue().to_pybytes())
    rows, _, _ = read_all(local, "a.parquet")
    assert (1_772_611_200_000_000, "d", "s", 2.0, 1) in rows
    assert [row[0] for row in rows if row[3] == 1.0] == ([never * 1000] if unit == "int96" else [])


@pytest.mark.parametrize(
    "text",
    [
        "2018-08-28 23:00:05",
        "2018-08-28T23:00:05",
        "2018-08-28 23:00:05.000",
        "2018-08-28 23:00:05.000000000",
        "2018-08-28T23:00:05Z",
        "2018-08-29 01:00:05+02:00",
        "2018-08-29T01:00:05.0+0200",
        "2018-08-28T18:30:05-04:30",
        " 2018-08-28 23:00:05 ",
    ],
)
def test_times_are_read_alike_one_by_one_and_as_a_column(text: str) -> None:
    """Every accepted way to write a time names the same instant; without a zone it is UTC."""
    expected = datetime(2018, 8, 28, 23, 0, 5, tzinfo=UTC)
    assert time_of_text(text) == expected
    assert times_of_texts(pa.array([text])).to_pylist() == [expected]
    mixed = times_of_texts(pa.array([text, "nonsense", "2018-08-28 23:00:05"]))
    assert mixed.to_pylist() == [expected, None, expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2018-02-30 00:00:00",
        "28.08.2018",
        "2018-08-28 25:00",
        "1535497205",
        "2018-8-2",
        "٢٠١٨-٠٨-٢٨",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Nothing is guessed: other spellings, impossible dates and plain numbers are no times."""
    assert time_of_text(text) is None
    assert times_of_texts(pa.array([text])).to_pylist() == [None]


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_time_survives_being_written(moment: datetime) -> None:
    """A time written in ISO 8601, with or without its zone, is read back to the microsecond."""
    naive = moment.replace(tzinfo=None)
    assert time_of_text(naive.isoformat(" ")) == time_of_text(moment.isoformat()) == moment
    assert times_of_texts(pa.array([naive.isoformat()])).to_pylist() == [moment]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_survives_being_written(number: float) -> None:
    """A finite number written by Python is read back bit for bit."""
    numbers, bad = numbers_of_texts(pa.array([repr(number)]))
    assert numbers.tolist() == [number]
    assert not bad


@pytest.mark.parametrize("text", ["", "abc", "NaN", "inf", "1,5", "0x10", "1_000", "--1", "1e", ".", "١"])
def test_what_is_no_finite_decimal_is_no_number(text: str) -> None:
    """One grammar for numbers: anything else becomes NaN and is kept as it stood."""
    numbers, bad = numbers_of_texts(pa.array(["2.5", text]))
    assert numbers[0] == 2.5 and np.isnan(numbers[1])
    assert bad == {1: text}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["TS", "Device", "Tag", "Value"], ("TS", "Device", "Tag", "Value")),
        (["value", "sensor", "device", "timestamp", "more"], ("timestamp", "device", "sensor", "value")),
        (["time", "Device", "Sensor", "Value", "unit"], ("time", "Device", "Sensor", "Value")),
    ],
)
def test_columns_are_recognised(names: list[str], expected: tuple[str, ...]) -> None:
    """The known names are found in any order and case, whatever else is there."""
    found = recognise_columns(names, DEFAULTS)
    assert (found.time, found.device, found.sensor, found.value) == expected


def test_columns_are_mapped_by_settings() -> None:
    """Settings name columns that are called otherwise, and win over known names."""
    mapped = SensorSettings(time_column="when", value_column="kPa")
    found = recognise_columns(["when", "ts", "device", "tag", "kPa", "value"], mapped)
    assert (found.time, found.value) == ("when", "kPa")


@pytest.mark.parametrize(
    ("names", "code", "role"),
    [
        (["TS", "Device", "Value"], "missing_column", "sensor"),
        (["TS", "time", "Device", "Tag", "Value"], "ambiguous_column", "time"),
        (["TS", "Device", "Tag", "Sensor", "Value"], "ambiguous_column", "sensor"),
        ([], "missing_column", "time"),
    ],
)
def test_missing_and_ambiguous_columns_are_named(names: list[str], code: str, role: str) -> None:
    """The error says which column, what the file has, and which setting helps."""
    with pytest.raises(InputError, match=f"{role}_column") as raised:
        recognise_columns(names, DEFAULTS)
    assert raised.value.code == code


ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.text(
            st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"'), min_size=1, max_size=5
        ),
        st.sampled_from(["a", "b/c", "d e", "ü,x"]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, piece_bytes=st.integers(1, 400))
def test_csv_is_cut_anywhere_without_loss(
    rows: list[tuple[int, str, str, float]], piece_bytes: int, tmp_path_factory: Any
) -> None:
    """Whatever the size of the pieces, every line is in exactly one, read exactly, under its own line number."""
    from fleetscore.store import open_store

    store = open_store(str(tmp_path_factory.mktemp("cut")))
    lines = [f'{np.datetime64(t, "us")},"{d}","{s}",{v!r}' for t, d, s, v in rows]
    store.write("data/sensor_anomaly/x.csv", HEADER + "\n".join(lines).encode())
    before, csv_input.PIECE_BYTES = csv_input.PIECE_BYTES, piece_bytes
    try:
        found, texts, entry = read_all(store, "x.csv")
    finally:
        csv_input.PIECE_BYTES = before
    assert [(t, d, s, v) for t, d, s, v, _ in found] == rows
    assert [row for *_, row in found] == list(range(2, 2 + len(rows)))
    assert not texts and not entry.rejected


def test_bad_lines_are_named_and_cost_no_other(store: Store) -> None:
    """An unclosed quote, missing cells, bytes that are no UTF-8, a bad time, no sensor: each rejected by line, all others read."""
    good = b"2018-08-28 23:00:%02d,1,1,%d\n"
    body = [
        good % (1, 1),
        b'2018-08-28 23:00:02,1,1,"2\n',
        b"2018-08-28 23:00:03,1\n",
        b"2018-08-28 23:00:04,\xff\xfe,1,4\n",
        b"\n",
        b"yesterday,1,1,6\n",
        b"2018-08-28 23:00:07,1,,7\r\n",
        good % (8, 8),
        b"2018-08-28 23:00:09,1,1,nine\n",
        b"2018-08-28 23:00:10,1,1,10",
    ]
    data = b"".join(body)
    header = csv_input.Header(("TS", "Device", "Sensor", "Value"), len(HEADER))
    readings, rejects = read_lines(data, 2, header, recognise_columns(header.names, DEFAULTS))
    assert np.asarray(readings.row).tolist() == [2, 9, 10, 11]
    assert readings.texts == {10: "nine"}
    assert readings.value[[0, 1, 3]].tolist() == [1.0, 8.0, 10.0]
    assert {(r.cause, r.place) for r in rejects} == {
        ("bad_row", "line 3"),
        ("bad_row", "line 4"),
        ("bad_row", "line 5"),
        ("bad_time", "line 7"),
        ("no_sensor", "line 8"),
    }


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_line_endings_and_byte_order_marks(ending: bytes, start: bytes, store: Store) -> None:
    """Windows line ends and a byte order mark change nothing."""
    lines = [b"TS,Device,Tag,Value", b"2018-08-28 23:00:05,1,2,3.5", b"2018-08-28 23:00:06,1,2,4.5"]
    store.write("data/sensor_anomaly/x.csv", start + ending.join(lines) + ending)
    found, _, entry = read_all(store, "x.csv")
    assert [(d, s, v, row) for _, d, s, v, row in found] == [("1", "2", 3.5, 2), ("1", "2", 4.5, 3)]
    assert not entry.rejected


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b" \n ", "empty_file"),
        (b"\xff\xfeT\x00S\x00\n", "unreadable_file"),
        (b"PAR1\x00\x01\n", "unreadable_file"),
        (gzip.compress(b"ts,device,sensor,value\n", mtime=0), "unreadable_file"),
        (b"a,b\n1,2\n", "missing_column"),
    ],
)
def test_files_that_are_no_readings(content: bytes, code: str, store: Store) -> None:
    """An empty, a binary or a foreign file gets an entry with a cause, instead of readings."""
    store.write("data/sensor_anomaly/x.csv", content)
    found, _, entry = read_all(store, "x.csv")
    assert found == []
    assert entry.cause == code
    assert "x.csv" in entry.detail


def test_a_header_alone_is_an_empty_but_sound_file(store: Store) -> None:
    """A CSV or Parquet file without rows is no error."""
    store.write("data/sensor_anomaly/x.csv", HEADER)
    sink = io.BytesIO()
    kinds = {"ts": pa.timestamp("us"), "device": pa.string(), "sensor": pa.string(), "value": pa.float64()}
    pq.write_table(pa.schema(list(kinds.items())).empty_table(), sink)
    store.write("data/sensor_anomaly/y.parquet", sink.getvalue())
    for name in ("x.csv", "y.parquet"):
        found, _, entry = read_all(store, name)
        assert (found, entry.cause, entry.rejected) == ([], "", 0)


MOMENT = datetime(2018, 8, 28, 23, 0, 5, tzinfo=UTC)
TEXT = "2018-08-28T23:00:05Z"


@pytest.mark.parametrize(
    "times",
    [
        pa.array([MOMENT], pa.timestamp("s", tz="UTC")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ms")),
        pa.array([MOMENT], pa.timestamp("us", tz="Europe/Berlin")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([TEXT]),
        pa.array([TEXT], pa.large_string()),
    ],
)
@pytest.mark.parametrize(
    "device", [pa.array(["7"]), pa.array([7]), pa.array([7], pa.uint8()), pa.array(["7"]).dictionary_encode()]
)
@pytest.mark.parametrize(
    "value",
    [
        pa.array([2.5]),
        pa.array([2.5], pa.float32()),
        pa.array(["2.5"]),
        pa.array([2.5]).cast(pa.decimal128(9, 3)),
    ],
)
def test_parquet_types_mean_the_same(times: Any, device: Any, value: Any, store: Store) -> None:
    """Times of any unit or zone or as text, names as text or whole numbers, numbers of any kind: one reading."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"ts": times, "device": device, "tag": pa.array(["x"]), "value": value}), sink)
    store.write("data/sensor_anomaly/x.parquet", sink.getvalue())
    found, _, entry = read_all(store, "x.parquet")
    assert entry.cause == ""
    assert found == [(int(MOMENT.timestamp()) * 1_000_000, "7", "x", 2.5, 0)]


@pytest.mark.parametrize(
    ("column", "values"), [("ts", [1535497205]), ("device", [1.5]), ("value", [True]), ("value", [[1.0]])]
)
def test_parquet_columns_of_other_types_are_named(column: str, values: list[Any], store: Store) -> None:
    """A column whose type cannot hold what it should makes the file unusable; the detail names column and type."""
    data: dict[str, Any] = {"ts": [MOMENT], "device": ["a"], "sensor": ["b"], "value": [1.0]} | {
        column: values
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(data), sink)
    store.write("data/sensor_anomaly/x.parquet", sink.getvalue())
    file = list_inputs(store, DEFAULTS.source, None).files[0]
    entry = catalog_file(store, file, DEFAULTS)
    assert entry.entry.cause == "bad_column_type"
    assert repr(column) in entry.entry.detail


def test_nulls_in_parquet_are_rejected_by_row(store: Store) -> None:
    """A null time or name rejects its row and no other; a null value is a reading without a number."""
    sink = io.BytesIO()
    table = pa.table(
        {
            "ts": pa.array([MOMENT, None, MOMENT, MOMENT, MOMENT]),
            "device": ["a", "a", None, "a", "a"],
            "sensor": ["s", "s", "s", "", "s"],
            "value": [1.0, 2.0, 3.0, 4.0, None],
        }
    )
    pq.write_table(table, sink, row_group_size=2)
    store.write("data/sensor_anomaly/x.parquet", sink.getvalue())
    found, _, entry = read_all(store, "x.parquet")
    assert [row for *_, row in found] == [0, 4]
    assert np.isnan(found[1][3])
    assert entry.rejected == 3
    assert [(r.cause, r.place) for r in entry.rejects] == [
        ("bad_time", "row 1"),
        ("no_sensor", "row 2"),
        ("no_sensor", "row 3"),
    ]


NAME = st.sampled_from([None, "", "a", "b", "ü"])


@given(st.lists(st.tuples(NAME, NAME), max_size=30), st.booleans())
def test_encoding_sensors_loses_nobody(pairs: list[tuple[str | None, str | None]], encoded: bool) -> None:
    """Codes and table together say each row's device and sensor again; -1 where one is null or empty."""
    columns = [pa.array([p[n] for p in pairs], pa.string()) for n in (0, 1)]
    if encoded:
        columns = [c.dictionary_encode() for c in columns]
    codes, sensors = encode_sensors(*columns)
    names = [(s["device"], s["sensor"]) for s in sensors.to_pylist()]
    assert len(set(names)) == len(names)
    assert [names[c] if c >= 0 else None for c in codes] == [p if p[0] and p[1] else None for p in pairs]


def test_many_devices_need_no_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """With far more possible than present pairs only those that occur are named, and rows get the same names."""
    from fleetscore.workloads.sensor_anomaly import readings

    device = pa.array([f"d{n * 7 % 50}" for n in range(200)])
    sensor = pa.array([f"s{n % 40}" for n in range(200)])
    grid_codes, grid = encode_sensors(device, sensor)
    monkeypatch.setattr(readings, "_GRID_MOST", 1)
    codes, sensors = encode_sensors(device, sensor)
    assert (grid.num_rows, sensors.num_rows) == (2000, 200)
    assert sensors.take(pa.array(codes)).equals(grid.take(pa.array(grid_codes)))


def test_pieces_of_a_file_are_whole_lines(store: Store) -> None:
    """The pieces, joined, are the file after its header."""
    body = b"".join(b"2018-08-28 23:00:05,%d,1,1\n" % n for n in range(300_000))
    store.write("data/sensor_anomaly/x.csv", HEADER + body)
    header = read_header(store, "data/sensor_anomaly/x.csv")
    budget = budget_of("data/sensor_anomaly/x.csv", DEFAULTS.source)
    pieces = list(cut_pieces(store, "data/sensor_anomaly/x.csv", header, budget))
    assert len(pieces) > 1
    assert b"".join(data for _, data in pieces) == body
    assert all(data.endswith(b"\n") for _, data in pieces)
    assert [first for first, _ in pieces] == [
        len(HEADER) + sum(len(d) for _, d in pieces[:n]) for n in range(len(pieces))
    ]


def test_any_flipped_byte_of_a_parquet_file_belongs_to_that_file(store: Store) -> None:
    """Whatever the reader raises for a damaged file, a flipped byte in a name among it, is that file's entry and no exception."""
    table = pa.table({"TS": ["2018-08-28 23:00:05"], "Device": ["d"], "Sensor": ["s"], "Value": [1.0]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    whole = sink.getvalue()
    for place in range(len(whole) // 2, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x80
        path = f"{DEFAULTS.folder}{place}.parquet"
        store.write(path, bytes(damaged))
    files = list_inputs(store, DEFAULTS.source, None).files
    told = [catalog_file(store, file, DEFAULTS).entry for file in files]
    assert len(told) == len(whole) - len(whole) // 2
    assert all(one.detail for one in told if one.cause)
    assert any(one.cause == "unreadable_file" for one in told)


def test_indices_beyond_the_dictionary_of_names_belong_to_that_file(store: Store) -> None:
    """A damaged index of a name is an error of its file: Arrow hands it on unchecked, and it would be taken for
    another sensor's, or end the scoring of all.
    """
    rows = 64
    table = pa.table(
        {
            "TS": ["2018-08-28 23:00:05"] * rows,
            "Device": [f"d{row % 3}" for row in range(rows)],
            "Sensor": ["s"] * rows,
            "Value": [1.0] * rows,
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    whole = sink.getvalue()
    packed = bytes([0b00100100, 0b01001001, 0b10010010]) * 5  # 0, 1, 2, 0, ... in two bits each
    assert whole.count(packed) == 1
    path = f"{DEFAULTS.folder}damaged.parquet"
    store.write(
        path, whole.replace(packed, b"\xff" + packed[1:])
    )  # four of them are 3, where there are 0 to 2
    (file,) = list_inputs(store, DEFAULTS.source, None).files
    entry = catalog_file(store, file, DEFAULTS).entry
    assert entry.cause == "unreadable_file"
    assert "index 3 is not in a dictionary of 3 names" in entry.detail


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves 400 s whenever reading asks for the time."""
    clock = itertools.count(time.monotonic() + 400, 400)
    monkeypatch.setattr("fleetscore.sources.request.time.monotonic", lambda: next(clock))


def put_rows(store: Store, name: str) -> None:
    """Forty readings, as row groups of one row or as lines of CSV."""
    seconds = [f"2018-08-28 23:00:{second:02d}" for second in range(40)]
    if name.endswith(".csv"):
        body = "".join(f"{second},d,s,1\n" for second in seconds)
        store.write(f"data/sensor_anomaly/{name}", HEADER + body.encode())
        return
    columns = {"TS": seconds, "Device": ["d"] * 40, "Sensor": ["s"] * 40, "Value": [1.0] * 40}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=1)
    store.write(f"data/sensor_anomaly/{name}", sink.getvalue())


def examined(store: Store, **limits: Any) -> dict[str, Any]:
    """The catalogue's entry of each file by its name, read within these limits."""
    settings = SensorSettings(data=DataSettings(**limits))
    files = list_inputs(store, settings.source, None).files
    return {file.path.rpartition("/")[2]: catalog_file(store, file, settings).entry for file in files}


@pytest.mark.usefixtures("slow_clock")
@pytest.mark.parametrize("name", ["many.parquet", "many.csv"])
def test_reading_that_takes_too_long_is_the_fault_of_that_file(
    name: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose pieces take longer than read_limit_s is failed by name, with the setting that allows more."""
    monkeypatch.setattr(csv_input, "PIECE_BYTES", 64)
    put_rows(store, name)
    entry = examined(store)[name]
    assert entry.cause == "too_slow"
    assert entry.detail.startswith(f"data/sensor_anomaly/{name} could not be read within 600 s.")
    assert "read_limit_s" in entry.detail


@pytest.mark.parametrize("name", ["many.parquet", "many.csv"])
def test_a_file_that_unpacks_to_more_than_the_limit_costs_no_other(name: str, store: Store) -> None:
    """Beyond read_limit_mb a file is failed by name, another one is read, and a higher limit reads it anew."""
    wide = pa.array([f"device {number:07d}" for number in range(80_000)])
    columns = {
        "TS": ["2018-08-28 23:00:05"] * 80_000,
        "Device": wide,
        "Sensor": wide,
        "Value": [1.0] * 80_000,
    }
    sink = io.BytesIO()
    write = pa_csv.write_csv if name.endswith(".csv") else pq.write_table
    write(pa.table(columns), sink)
    store.write(f"data/sensor_anomaly/{name}", sink.getvalue())
    put_rows(store, "small.csv")
    entries = examined(store, read_limit_mb=1.0)
    assert entries[name].cause == "too_large"
    assert "unpacks to more than 1 MB" in entries[name].detail
    assert "raise read_limit_mb" in entries[name].detail
    assert (entries["small.csv"].cause, entries["small.csv"].pieces[0].rows) == ("", 40)
    assert examined(store)[name].cause == ""


@pytest.mark.parametrize("name", ["many.parquet", "many.csv"])
def test_scoring_obeys_the_limits_of_reading_too(
    name: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was catalogued under higher limits is refused by name where its pieces are read for a window."""
    put_rows(store, name)
    (file,) = list_inputs(store, DEFAULTS.source, None).files
    entry = catalog_file(store, file, DEFAULTS)
    clock = itertools.count(time.monotonic() + 400, 400)
    monkeypatch.setattr("fleetscore.sources.request.time.monotonic", lambda: next(clock))
    strict = SensorSettings(data=DataSettings(read_limit_s=300.0))
    with pytest.raises(FileError, match=f"{name} could not be read within 300 s") as caught:
        list(overlapped(piece_readers(store, entry, strict, *EVER)))
    assert caught.value.code == "too_slow"


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros without a line end behind good readings end at the limit of a line, and the file is named."""
    monkeypatch.setattr(byte_stream, "_LINE_LIMIT_BYTES", 1 << 20)
    store.write("data/sensor_anomaly/zeros.csv", HEADER + b"2018-08-28 23:00:05,d,s,1\n" + bytes(9 << 20))
    entry = examined(store)["zeros.csv"]
    assert entry.cause == "too_large"
    assert entry.detail.startswith("data/sensor_anomaly/zeros.csv has a line of more than 1 MB.")


def test_a_file_whose_name_is_not_utf8_is_passed_over_by_name(local: LocalStore) -> None:
    """It is named with its bytes shown, and stops no other file."""
    local.write("data/sensor_anomaly/a.csv", HEADER + b"2018-08-28 23:00:05,d,s,1\n")
    (local.root / "data" / "sensor_anomaly" / os.fsdecode(b"bad\xff.csv")).write_bytes(HEADER)
    found = list_inputs(local, DEFAULTS.source, None)
    assert [file.path for file in found.files] == ["data/sensor_anomaly/a.csv"]
    assert [(one.path, one.cause) for one in found.passed_over] == [
        ("data/sensor_anomaly/bad\\udcff.csv", "bad_name")
    ]
