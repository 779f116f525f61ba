"""Text files: every dialect gives the same rows, and what cannot be used is told with file, line and
column.
"""

import gzip
import io
import itertools
import time
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import FileError
from fleetscore.sources import (
    ColumnKind,
    DataSettings,
    Melt,
    Reading,
    Rows,
    byte_stream,
    list_inputs,
    read_batches,
    read_files,
    read_names,
    read_table,
)
from fleetscore.sources.numbers import read_numbers
from fleetscore.sources.shaping import encode_names
from fleetscore.store import Store
from tests.sources.spans import VANS, at, between


def packed(data: bytes) -> bytes:
    """The data compressed with gzip, the same bytes at any time: they are part of the tests' names."""
    return gzip.compress(data, mtime=0)


HOUR = between("2026-03-04T10:00", "2026-03-04T11:00")
LINES = "ts,van,km\n2026-03-04T10:00:00Z,NA,1.5\n2026-03-04T10:30:00Z,null,2\n2026-03-04T11:00:00Z,late,3\n"
ROWS = [
    {"ts": at("2026-03-04T10:00"), "van": "NA", "km": 1.5},
    {"ts": at("2026-03-04T10:30"), "van": "null", "km": 2.0},
]


def read(store: Store, name: str, content: bytes, **lines: Any) -> Reading:
    """What the hour's rows of one file are."""
    store.write(f"data/{name}", content)
    settings = DataSettings(path="data/**", **lines)
    return read_files(store, list_inputs(store, settings, HOUR).files, settings, VANS, HOUR)


def rows_of(reading: Reading) -> Rows:
    """The rejects and remarks of the one file that was read."""
    assert not reading.faults
    [rows] = reading.rows.values()
    return rows


def zstd(data: bytes) -> bytes:
    """The data as one zstandard frame."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue().to_pybytes())


JSON_LINES = b"""{"ts": "2026-03-04T10:00:00Z", "van": "NA", "km": 1.5}

{"van": "null", "km": 2, "ts": "2026-03-04T10:30:00Z", "new": {"field": 1}}
{"ts": "2026-03-04T11:00:00Z", "van": "late", "km": 3}
"""


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.csv", LINES.encode(), {}),
        ("A.CSV", LINES.replace("\n", "\r\n").encode(), {}),
        ("bom.csv", b"\xef\xbb\xbf" + LINES.encode(), {}),
        ("no_newline.csv", LINES.encode().removesuffix(b"\n"), {}),
        ("blank.csv", LINES.replace("\n2026-03-04T10:30", "\n\n\n2026-03-04T10:30").encode() + b"\n\n", {}),
        ("a.csv.gz", packed(LINES.encode()[:40]) + packed(LINES.encode()[40:]), {}),
        ("a.csv.zst", zstd(LINES.encode()), {}),
        ("a.tsv", LINES.replace(",", "\t").encode(), {}),
        ("a.txt", LINES.replace(",", ";").replace(".5", ",5").encode(), {"format": "csv", "separator": ";", "decimal": ","}),
        ("utf16.csv", LINES.encode("utf-16"), {"encoding": "utf-16"}),
        ("names.csv", LINES.replace("km", "Strecke (ü)").encode("cp1252"), {"encoding": "cp1252", "columns": {"km": "Strecke (ü)"}}),
        ("quoted.csv", LINES.replace("null", '"null"').replace("ts,van", '"ts","van"').encode(), {}),
        ("local.csv", LINES.replace("T10", "T11").replace("T11:00:00Z,late", "T12:00:00Z,late").replace("Z", "").encode(),
         {"timezone": "Europe/Berlin"}),
        ("offset.csv", LINES.replace("T10:00:00Z", "T15:45:00+05:45").encode(), {}),
        ("german.csv", LINES.replace("2026-03-04T", "04.03.2026 ").replace("Z", "").encode(), {"time_format": "%d.%m.%Y %H:%M:%S"}),
        ("us.csv", LINES.replace("2026-03-04T", "3/4/2026 ").replace(":00Z", " AM").encode(), {"time_format": "%m/%d/%Y %I:%M %p"}),
        ("s.csv", b"ts,van,km\n1772618400,NA,1.5\n1772620200.0,null,2\n1772622000,late,3\n", {"time_format": "epoch_s"}),
        ("ms.csv", b"ts,van,km\n1772618400000,NA,1.5\n1772620200000,null,2\n1772622000000,late,3\n", {"time_format": "epoch_ms"}),
        ("a.jsonl", JSON_LINES, {}),
        ("a.json", JSON_LINES, {}),
        ("a.jsonl.gz", packed(JSON_LINES), {}),
        ("inner.jsonl", JSON_LINES.replace(b'"km": 1.5', b'"m": {"km": "1.5"}').replace(b'"km": 2', b'"m": {"km": 2}'),
         {"columns": {"km": "m.km"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_every_dialect_gives_the_same_rows(
    store: Store, name: str, content: bytes, lines: dict[str, Any]
) -> None:
    """Two rows of the hour, with their keys as text and their numbers bit for bit, and nothing rejected."""
    reading = read(store, name, content, **lines)
    assert reading.table.to_pylist() == ROWS
    assert rows_of(reading).rejected == {}


def test_lines_at_fault_are_told_and_cost_no_other(store: Store) -> None:
    """Too few cells, no UTF-8, no time, no key, no number: counted by cause, the first with line, column
    and text.
    """
    content = (
        LINES.encode()
        + b"short\n2026-03-04T10:40:00Z,\xff,1\nnoon,x,1\n2026-03-04T10:41:00Z,,1\n2026-03-04T10:42:00Z,x,1e400\n"
    )
    rows = rows_of(reading := read(store, "a.csv", content))
    assert reading.table.to_pylist() == [*ROWS, {"ts": at("2026-03-04T10:42"), "van": "x", "km": None}]
    assert rows.rejected == {
        "bad_row": 1,
        "bad_encoding": 1,
        "bad_time": 1,
        "missing_key": 1,
        "bad_number": 1,
    }
    told = {(reject.cause, reject.place, reject.column, reject.text) for reject in rows.rejects}
    assert {("bad_row", "line 5", "", "short"), ("bad_time", "line 7", "ts", "noon")} <= told
    assert ("bad_number", "line 9", "km", "1e400") in told


def test_a_frequent_cause_leaves_the_examples_of_others(store: Store) -> None:
    """Of each cause and column the first five rows are kept, so that a rare one has its example after many others."""
    content = LINES.encode() + b"short\n" * 30 + b"noon,x,1\n" * 30 + b"2026-03-04T10:42:00Z,x,many\n"
    rows = rows_of(read(store, "a.csv", content))
    assert rows.rejected == {"bad_row": 30, "bad_time": 30, "bad_number": 1}
    assert Counter(reject.cause for reject in rows.rejects) == {"bad_row": 5, "bad_time": 5, "bad_number": 1}
    told = rows.sentences("a.csv")
    assert "a.csv: 30 rows rejected (bad_row); first at line 5: 'short'." in told
    assert "a.csv: 1 rows rejected (bad_number); first at line 65, km: 'many'." in told


def test_a_quoted_cell_may_hold_lines_and_an_open_quote_costs_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell with line ends is one cell, also across pieces; a quote that is never closed loses its own
    line alone.
    """
    monkeypatch.setattr(byte_stream, "PIECE_BYTES", 64)
    head = 'ts,van,km\n2026-03-04T10:00:00Z,"a\nb,\n""c""",1\n2026-03-04T10:01:00Z,"open,2\n'
    content = head + "".join(f"2026-03-04T10:02:00Z,v{number},{number}\n" for number in range(200))
    reading = read(store, "a.csv", content.encode())
    assert reading.table["van"].to_pylist() == ['a\nb,\n"c"', *(f"v{number}" for number in range(200))]
    rows = rows_of(reading)
    assert rows.rejected == {"bad_row": 1}
    assert rows.rejects[0].place == "line 5"


def parquet_bytes() -> bytes:
    """A Parquet file of one column."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"ts": ["1"]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("a.csv", b"a;b;c\n1;2;3\n", "missing_column", "separator"),
        ("a.csv", b"ts,van\n1,2\n", "missing_column", "'km'"),
        ("a.csv", b"ts,van,km,km\n1,2,3,4\n", "ambiguous_column", "2 columns"),
        ("a.csv", b"\n\n", "empty_file", "column names"),
        ("a.csv", b"\xef\xbb\xbf", "empty_file", "column names"),
        ("a.csv.gz", packed(b""), "empty_file", "column names"),
        ("a.csv", "ts,van,km\n".encode("utf-16"), "bad_encoding", "UTF-16"),
        ("a.csv", b"\0" * 100_000, "bad_encoding", "binary"),
        ("a.csv", b"ts,v\xe4n,km\n", "bad_encoding", "encoding"),
        ("a.csv.gz", packed(LINES.encode() * 100)[:-20], "unreadable_file", "a.csv.gz"),
        ("a.csv.gz", b"not gzip at all", "unreadable_file", "a.csv.gz"),
        ("a.csv.zst", zstd(LINES.encode() * 100)[:-8], "unreadable_file", "a.csv.zst"),
        (
            "a.csv",
            packed(LINES.encode()),
            "unreadable_file",
            "compressed with gzip. Name it data/a.csv.gz",
        ),
        ("a.csv", packed(b""), "unreadable_file", "compressed with gzip"),
        ("a.csv", zstd(LINES.encode()), "unreadable_file", "compressed with zstd. Name it data/a.csv.zst"),
        ("a.jsonl", packed(LINES.encode()), "unreadable_file", "Name it data/a.jsonl.gz"),
        (
            "a.csv.gz",
            packed(packed(LINES.encode())),
            "unreadable_file",
            "twice. Unpack it once",
        ),
        ("a.csv", parquet_bytes(), "unreadable_file", "is a Parquet file. Name it data/a.parquet"),
        ("a.csv", b"PK\x03\x04\x14\0\x06\0", "unreadable_file", "an Excel workbook"),
        ("a.csv", b"PAR1,ts\n1,2\n", "missing_column", "'van'"),
        ("a.jsonl", b'[{"ts": 1},\n{"ts": 2}]', "json_array", "Line separated"),
        ("a.jsonl", b'{"ts": "2026-03-04T10:00:00Z", "van": "a"}\n', "missing_column", "'km'"),
    ],
)
def test_a_file_at_fault_is_named_and_costs_no_other(
    store: Store, name: str, content: bytes, code: str, said: str
) -> None:
    """Its error has its path, a stable code and what to do; the rows of the other file are there."""
    store.write("data/good.csv", LINES.encode())
    reading = read(store, name, content)
    assert reading.table.to_pylist() == ROWS
    [error] = reading.faults.values()
    assert (error.code, error.field) == (code, f"data/{name}")
    assert f"data/{name}" in error.message
    assert said in str(error)
    assert error.fix


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading ends at the limit of a line, and at the limit of a file's bytes; both name the file."""
    monkeypatch.setattr(byte_stream, "_LINE_LIMIT_BYTES", 1 << 20)
    [error] = read(store, "long.csv", LINES.encode() + b"1" * (9 << 20)).faults.values()
    assert (error.code, error.field) == ("too_large", "data/long.csv")
    bomb = gzip.compress(LINES.encode() * 50_000)
    store.write("data/long.csv", LINES.encode())
    [error] = read(store, "bomb.csv.gz", bomb, read_limit_mb=1.0).faults.values()
    assert (error.code, error.field) == ("too_large", "data/bomb.csv.gz")
    assert "read_limit_mb" in error.fix


def test_reading_that_takes_too_long_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose reading exceeds the set time is that file's fault."""
    clock = itertools.count(time.monotonic(), 400)
    monkeypatch.setattr("fleetscore.sources.request.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(byte_stream, "PIECE_BYTES", 64)
    [error] = read(store, "slow.csv", LINES.encode() * 20).faults.values()
    assert (error.code, error.field) == ("too_slow", "data/slow.csv")


def test_a_file_that_is_gone_is_its_own_fault(store: Store) -> None:
    """A file deleted between listing and reading is named, and costs no other."""
    store.write("data/a.csv", LINES.encode())
    store.write("data/b.csv", LINES.encode() + b"\n")
    settings = DataSettings(path="data/*.csv")
    files = list_inputs(store, settings, HOUR).files
    store.delete("data/b.csv")
    reading = read_files(store, files[:1] + files[1:], settings, VANS, HOUR)
    assert reading.table.to_pylist() == ROWS or reading.faults
    assert {error.code for error in reading.faults.values()} <= {"missing_file"}


def test_the_repeated_hour_is_told_apart_by_order(store: Store) -> None:
    """02:00 to 03:00 comes twice on 25 October in Berlin: each series' second pass is an hour later, and it
    is said.
    """
    stamps = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    lines = "".join(f"2026-10-25 {stamp},{van},{n}\n" for n, stamp in enumerate(stamps) for van in ("a", "b"))
    store.write("data/a.csv", b"ts,van,km\n" + lines.encode())
    settings = DataSettings(path="data/a.csv", timezone="Europe/Berlin")
    rows = read_table(store, list_inputs(store, settings, None).files[0], settings, VANS)
    times = [row["ts"] for row in rows.table.to_pylist() if row["van"] == "b"]
    assert times == [
        at(f"2026-10-2{day}") for day in ("4T23:30", "5T00:00", "5T00:30", "5T01:00", "5T01:30", "5T02:00")
    ]
    [remark] = rows.remarks
    assert "8 rows" in remark
    assert "2026-10-25" in remark


def test_an_hour_that_does_not_exist_is_no_time(store: Store) -> None:
    """02:30 on 29 March in Berlin is rejected, not moved."""
    store.write("data/a.csv", b"ts,van,km\n2026-03-29 02:30,a,1\n2026-03-29 03:30,a,2\n")
    settings = DataSettings(path="data/a.csv", timezone="Europe/Berlin")
    rows = read_table(store, list_inputs(store, settings, None).files[0], settings, VANS)
    assert rows.table.to_pylist() == [{"ts": at("2026-03-29T01:30"), "van": "a", "km": 2.0}]
    assert rows.rejected == {"bad_time": 1}


def test_dates_that_do_not_exist_are_no_times(store: Store) -> None:
    """The 31st of February never becomes a day of March."""
    store.write(
        "data/a.csv", b"ts,van,km\n31.02.2026 10:00,a,1\n01.03.2026 10:00,a,2\n28.02.2026 10:00:61,a,2\n"
    )
    settings = DataSettings(path="data/a.csv", time_format="%d.%m.%Y %H:%M")
    rows = read_table(store, list_inputs(store, settings, None).files[0], settings, VANS)
    assert [row["ts"] for row in rows.table.to_pylist()] == [at("2026-03-01T10:00")]
    assert rows.rejected == {"bad_time": 2}


def test_a_wide_table_is_melted(store: Store) -> None:
    """Each column beside the ids gives rows of its name and its cells, with their lines in what is
    rejected.
    """
    store.write("data/a.csv", b"when,temp,flow\n2026-03-04T10:00Z,1,2\n2026-03-04T10:01Z,3,x\n")
    how = Melt(id=("ts",), names="sensor", values="value")
    settings = DataSettings(path="data/{device}.csv", columns={"ts": "when"}, melt=how)
    columns = {
        "ts": ColumnKind.TIME,
        "device": ColumnKind.KEY,
        "sensor": ColumnKind.KEY,
        "value": ColumnKind.NUMBER,
    }
    rows = read_table(store, list_inputs(store, settings, None).files[0], settings, columns)
    cells = [(row["device"], row["sensor"], row["value"]) for row in rows.table.to_pylist()]
    assert cells == [("a", "temp", 1.0), ("a", "temp", 3.0), ("a", "flow", 2.0), ("a", "flow", None)]
    assert [(reject.place, reject.text) for reject in rows.rejects] == [("line 3", "x")]


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("twice.csv", b"ts,temp,temp\n2026-03-04T10:00Z,1,2\n", "ambiguous_column", "2 columns 'temp'"),
        ("no_id.csv", b"when,temp\n2026-03-04T10:00Z,1\n", "missing_column", "'ts'"),
    ],
)
def test_a_wide_table_whose_columns_are_not_clear_is_refused(
    store: Store, name: str, content: bytes, code: str, said: str
) -> None:
    """Of two columns of one name neither is taken for both, and an id that is missing is named."""
    store.write(f"data/{name}", content)
    settings = DataSettings(path="data/*", melt=Melt(id=("ts",), names="sensor", values="value"))
    columns = {"ts": ColumnKind.TIME, "sensor": ColumnKind.KEY, "value": ColumnKind.NUMBER}
    with pytest.raises(FileError, match=said) as caught:
        read_table(store, list_inputs(store, settings, None).files[0], settings, columns)
    assert caught.value.code == code


def test_without_columns_everything_is_read(store: Store) -> None:
    """Numbers are numbers where every cell is one, names with leading zeros stay text, the time is the
    declared one.
    """
    store.write("data/a.csv", b"ts,id,n,note\n2026-03-04T10:00Z,007,1,NA\n2026-03-04T10:01Z,8,,x\n")
    settings = DataSettings(path="data/{site}.csv", time="ts")
    files = list_inputs(store, settings, None).files
    assert read_names(store, files[0], settings) == ("ts", "id", "n", "note", "site")
    assert read_files(store, files, settings).table.to_pylist() == [
        {"site": "a", "ts": at("2026-03-04T10:00"), "id": "007", "n": 1.0, "note": None},
        {"site": "a", "ts": at("2026-03-04T10:01"), "id": "8", "n": None, "note": "x"},
    ]


def test_fields_that_change_from_file_to_file_are_read_together(store: Store) -> None:
    """A column that some files lack is null there; one of other types here and there is text."""
    store.write("data/a.jsonl", b'{"x": 1, "y": true}\n')
    store.write("data/b.jsonl", b'{"x": "one", "z": 2.5}\n')
    settings = DataSettings(path="data/*.jsonl")
    rows = read_files(store, list_inputs(store, settings, None).files, settings).table.to_pylist()
    assert rows == [{"x": "1", "y": 1.0, "z": None}, {"x": "one", "y": None, "z": 2.5}]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.sampled_from(["r", "e", ","]),
)
def test_every_spelling_of_a_number_is_the_same_number(values: list[float], form: str) -> None:
    """Shortest, with an exponent of 17 digits, with a decimal comma: bit for bit what was written."""
    texts = [repr(v) if form != "e" else f" {v:+.17e} " for v in values]
    texts = [text.replace(".", ",") for text in texts] if form == "," else texts
    numbers, wrong = read_numbers(pa.array(texts), "," if form == "," else ".", ("",))
    assert numbers.to_pylist() == values
    assert wrong is None or not any(wrong.to_pylist())


@pytest.mark.parametrize(
    "text", ["1e400", "-inf", "0x10", "1_000", "١٢", "1,5", "5 6", "1e5e5", "--1", "12a", "1.2.3"]
)
def test_what_is_no_number_is_never_one(text: str) -> None:
    """It is null and at fault; so is a thousands point beside a decimal comma."""
    for decimal in (".", ",") if text != "1,5" else (".",):
        numbers, wrong = read_numbers(pa.array([text]), decimal, ("", "NA"))
        assert (numbers.to_pylist(), wrong.to_pylist()) == ([None], [True])
    numbers, wrong = read_numbers(pa.array(["1.234,5", "NA", None]), ",", ("", "NA"))
    assert (numbers.to_pylist(), wrong.to_pylist()) == ([None] * 3, [True, False, False])


def test_batches_keep_the_memory_of_a_large_file_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is given piece by piece, its rows in order and none lost at the seams."""
    monkeypatch.setattr(byte_stream, "PIECE_BYTES", 1000)
    lines = "".join(f"2026-03-04T10:{n % 60:02d}:00Z,v{n},{n}\n" for n in range(2000))
    store.write("data/a.csv", b"ts,van,km\n" + lines.encode())
    settings = DataSettings(path="data/a.csv")
    batches = list(read_batches(store, list_inputs(store, settings, None).files[0], settings, VANS))
    assert len(batches) > 50
    assert max(batch.table.num_rows for batch in batches) < 50
    assert [v for batch in batches for v in batch.table["km"].to_pylist()] == [float(n) for n in range(2000)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("form", ["csv", "csv.gz"])
@pytest.mark.parametrize("piece_bytes", [3, 7, 64, 1 << 20])
def test_pieces_of_every_size_give_the_same_lines(
    mark: bytes, form: str, piece_bytes: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, line numbers and rejects are those of the whole file, with and without a mark, blank lines and a last line end."""
    monkeypatch.setattr(byte_stream, "PIECE_BYTES", piece_bytes)
    text = mark + b"van,km\r\nNA,1\r\n\r\n\xc3\xa4,2\nbad\n" + b"long" * 50 + b",3\n\nlast,4"
    store.write(f"d/a.{form}", gzip.compress(text) if form == "csv.gz" else text)
    [file] = list_inputs(store, DataSettings(path="d/*"), None).files
    found = read_table(store, file, DataSettings(), {"van": ColumnKind.KEY, "km": ColumnKind.NUMBER})
    assert found.table["van"].to_pylist() == ["NA", "ä", "long" * 50, "last"]
    assert [(reject.cause, reject.place) for reject in found.rejects] == [("bad_row", "line 5")]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "", "NA", "ü", "aa", "b"]), st.integers(1, 3000)), max_size=40),
    st.integers(0, 10),
)
def test_names_are_coded_alike_whether_they_repeat_or_not(runs: list[tuple[str, int]], cut: int) -> None:
    """Codes and names are those of Arrow's own coding, in the order of first appearance, of any part of a column."""
    column = pa.array([name for name, count in runs for _ in range(count)], pa.string())[cut:]
    found, expected = encode_names(column), column.dictionary_encode()
    assert found.indices.equals(expected.indices)
    assert found.dictionary.equals(expected.dictionary)
