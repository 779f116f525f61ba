"""Parquet files: every type that a writer may choose, the window's row groups alone, and damage told by
file.
"""

import io
import random
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetscore.errors import FileError
from fleetscore.sources import (
    ColumnKind,
    DataSettings,
    Reading,
    list_inputs,
    parquet_reader,
    read_batches,
    read_files,
    read_table,
)
from fleetscore.store import Store
from tests.sources.spans import VANS, at, between

HOUR = between("2026-03-04T10:00", "2026-03-04T11:00")
TIMES = [at("2026-03-04T10:00"), at("2026-03-04T10:30"), at("2026-03-04T11:00")]
TABLE = pa.table(
    {"ts": pa.array(TIMES, pa.timestamp("us", "UTC")), "van": ["NA", "null", "late"], "km": [1.5, 2.0, 3.0]}
)
ROWS = TABLE.slice(0, 2).to_pylist()


def parquet(table: pa.Table, **options: Any) -> bytes:
    """The table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def read(store: Store, content: bytes, name: str = "a.parquet", **lines: Any) -> Reading:
    """What the hour's rows of one file are."""
    store.write(f"data/{name}", content)
    settings = DataSettings(path="data/**", **lines)
    return read_files(store, list_inputs(store, settings, HOUR).files, settings, VANS, HOUR)


def cast(name: str, kind: pa.DataType) -> pa.Table:
    """The table with one column of another type."""
    return TABLE.set_column(TABLE.column_names.index(name), name, TABLE[name].cast(kind, safe=False))


NAIVE = cast("ts", pa.timestamp("us"))
EPOCH = TABLE.set_column(0, "ts", TABLE["ts"].cast(pa.int64()))


@pytest.mark.parametrize(
    ("table", "options", "lines"),
    [
        (TABLE, {}, {}),
        (cast("ts", pa.timestamp("ns", "UTC")), {}, {}),
        (cast("ts", pa.timestamp("ms", "Europe/Berlin")), {}, {}),
        (TABLE, {"use_deprecated_int96_timestamps": True}, {}),
        (NAIVE, {}, {}),
        (NAIVE.set_column(0, "ts", pa.array([at("2026-03-04T12:00"), at("2026-03-04T12:30"), at("2026-03-04T13:00")],
                                            pa.timestamp("us"))), {}, {"timezone": "Africa/Cairo"}),
        (EPOCH, {}, {"time_format": "epoch_us"}),
        (TABLE.set_column(0, "ts", pa.array([t.isoformat() for t in TIMES])), {}, {}),
        (cast("van", pa.string_view()), {}, {}),
        (cast("van", pa.large_string()), {}, {}),
        (cast("van", pa.binary()), {}, {}),
        (TABLE.set_column(1, "van", TABLE["van"].dictionary_encode()), {}, {}),
        (cast("km", pa.float32()), {}, {}),
        (TABLE.set_column(2, "km", pa.array([Decimal("1.5"), Decimal(2), Decimal(3)], pa.decimal128(18, 4))), {}, {}),
        (TABLE.set_column(2, "km", pa.array(["1.5", "2", "3"])), {}, {}),
        (TABLE.set_column(2, "km", pa.array(["1.5", "2", "3"], pa.string_view())), {"compression": "brotli"}, {}),
        (TABLE.rename_columns(["at", "van", "km"]), {"compression": "zstd", "row_group_size": 1}, {"columns": {"ts": "at"}}),
    ],
)  # fmt: skip
def test_every_type_gives_the_same_rows(
    store: Store, table: pa.Table, options: dict[str, Any], lines: dict[str, Any]
) -> None:
    """Two rows of the hour, whatever types the writer chose."""
    reading = read(store, parquet(table, **options), **lines)
    assert not reading.faults
    assert reading.table.to_pylist() == ROWS


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        (EPOCH, "bad_column_type", "epoch_ms"),
        (TABLE.drop_columns("km"), "missing_column", "'km'"),
        (TABLE.append_column("km", TABLE["km"]), "ambiguous_column", "2 columns"),
        (TABLE.set_column(1, "van", pa.array([["a"], ["b"], ["c"]])), "bad_column_type", "'van'"),
        (TABLE.set_column(1, "van", pa.array([1.5, 2.5, 3.0])), "bad_column_type", "'van'"),
        (TABLE.set_column(2, "km", pa.array([{"a": 1}] * 3)), "bad_column_type", "'km'"),
        (TABLE.set_column(1, "van", pa.Array.from_buffers(
            pa.string(), 3, [None, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe\xfd")])),
         "unreadable_file", "'van'"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_read_is_named(store: Store, table: pa.Table, code: str, said: str) -> None:
    """The error names file and column, and what would be right."""
    [error] = read(store, parquet(table)).faults.values()
    assert (error.code, error.field) == (code, "data/a.parquet")
    assert "data/a.parquet" in error.message
    assert said in str(error)


def test_rows_without_time_or_key_are_told(store: Store) -> None:
    """Nulls in time and key are rejected by row; a missing number is a missing number."""
    table = pa.table(
        {
            "ts": pa.array([None, *TIMES[:2], TIMES[0]], pa.timestamp("us", "UTC")),
            "van": ["a", None, "", "b"],
            "km": [1.0, 2.0, 3.0, None],
        }
    )
    reading = read(store, parquet(table))
    assert reading.table.to_pylist() == [{"ts": TIMES[0], "van": "b", "km": None}]
    assert reading.rows["data/a.parquet"].rejected == {"bad_time": 1, "missing_key": 2}
    assert [reject.place for reject in reading.rows["data/a.parquet"].rejects] == ["row 1", "row 2", "row 3"]


def test_whole_numbers_are_names(store: Store) -> None:
    """An id column of whole numbers, also one that gaps made float, is text without a point."""
    for kind in (pa.int32(), pa.float64()):
        table = TABLE.set_column(1, "van", pa.array([7, 8, 9], kind))
        assert read(store, parquet(table)).table["van"].to_pylist() == ["7", "8"]


def test_only_row_groups_of_the_window_are_read(store: Store) -> None:
    """By the statistics of the time column: zeros in place of all other groups hurt nobody.

    A file without statistics gives the same rows.
    """
    times = pa.array([at("2026-03-04").timestamp() * 1e6 + 60e6 * n for n in range(1440)], pa.float64()).cast(
        pa.int64()
    )
    table = pa.table({"ts": times.cast(pa.timestamp("us", "UTC")), "van": ["v"] * 1440, "km": [1.0] * 1440})
    whole = parquet(table, row_group_size=60)
    footer = pq.read_metadata(io.BytesIO(whole))
    first = footer.row_group(10).column(0).dictionary_page_offset
    end = footer.row_group(11).column(0).dictionary_page_offset
    last = footer.row_group(23).column(2)
    data_end = last.dictionary_page_offset + last.total_compressed_size
    damaged = b"PAR1" + bytes(first - 4) + whole[first:end] + bytes(data_end - end) + whole[data_end:]
    for content in (damaged, parquet(table, row_group_size=60, write_statistics=False)):
        reading = read(store, content)
        assert not reading.faults
        assert reading.table.num_rows == 60


def test_many_small_row_groups_are_read_together(store: Store) -> None:
    """A writer that makes a row group of each row costs no batch per row, and rows keep their numbers."""
    table = pa.table(
        {
            "ts": pa.array([TIMES[0]] * 3000, TABLE.schema.field("ts").type),
            "van": ["v"] * 3000,
            "km": ["1"] * 2999 + ["x"],
        }
    )
    store.write("data/a.parquet", parquet(table, row_group_size=1))
    settings = DataSettings(path="data/*.parquet")
    batches = list(read_batches(store, list_inputs(store, settings, HOUR).files[0], settings, VANS, HOUR))
    assert len(batches) == 1
    assert batches[0].table.num_rows == 3000
    assert [reject.place for reject in batches[0].rejects] == ["row 3000"]


def test_one_flipped_byte_costs_its_file_alone(store: Store) -> None:
    """Whatever the reader raises or gives, the other file's rows are there and the damaged one is named or
    read.
    """
    good, chance = parquet(TABLE, compression="none"), random.Random(7)
    store.write("data/good.parquet", parquet(TABLE))
    settings = DataSettings(path="data/*.parquet")
    broken = 0
    for _ in range(150):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 12)):
            damaged[chance.randrange(4, len(good) - 8)] = chance.randrange(256)
        store.write("data/bad.parquet", bytes(damaged))
        reading = read_files(store, list_inputs(store, settings, HOUR).files, settings, VANS, HOUR)
        assert set(reading.faults) <= {"data/bad.parquet"}
        assert [row for row in reading.table.to_pylist() if row["van"] == "NA"]
        broken += len(reading.faults)
    assert broken > 30


@pytest.mark.parametrize(
    "content", [b"PAR1", b"PAR1" + b"\0" * 50 + b"\xff\xff\xff\x7fPAR1", b"x" * 4000, parquet(TABLE)[:-20]]
)
def test_a_file_cut_short_is_named(store: Store, content: bytes) -> None:
    """No whole Parquet file: its error names it."""
    [error] = read(store, content).faults.values()
    assert (error.code, error.field) == ("unreadable_file", "data/a.parquet")


def test_types_that_change_from_file_to_file_are_read_together(store: Store) -> None:
    """A number that is an integer here, a decimal there and text elsewhere is one column of numbers."""
    store.write("data/a.parquet", parquet(TABLE))
    store.write("data/b.parquet", parquet(cast("km", pa.int64())))
    store.write("data/c.parquet", parquet(TABLE.set_column(2, "km", pa.array(["4", "5", "6"]))))
    settings = DataSettings(path="data/*.parquet", time="ts")
    files = list_inputs(store, settings, None).files
    assert read_files(store, files, settings, VANS).table["km"].to_pylist() == [1.5, 2, 3, 1, 2, 3, 4, 5, 6]
    everything = read_files(store, files, settings).table
    assert everything["km"].type == pa.float64()


def test_an_empty_table_is_no_fault(store: Store) -> None:
    """A file without rows gives none, with the types that were asked for."""
    reading = read(store, parquet(TABLE.slice(0, 0)))
    assert not reading.faults
    assert reading.table.schema == pa.schema(
        {"ts": pa.timestamp("us", "UTC"), "van": pa.string(), "km": pa.float64()}
    )


def test_no_files_give_an_empty_table_of_the_same_types(store: Store) -> None:
    """A window without files is a table without rows."""
    table = read_files(store, [], DataSettings(), {**VANS, "note": ColumnKind.TEXT}).table
    assert table.schema.names == ["ts", "van", "km", "note"]
    assert table.schema.types == [pa.timestamp("us", "UTC"), pa.string(), pa.float64(), pa.string()]


@pytest.mark.parametrize("form", ["epoch_s", ""])
def test_a_time_beyond_all_years_costs_its_own_row(store: Store, form: str) -> None:
    """The largest number, as programs write it for `never`, is rejected by row, as a count and as a time."""
    counts = pa.array([1772618400, 2**63 - 1, -(2**63), 1772618401])
    moments = pa.array([1772618400_000_000, 2**63 - 1, 1772618401_000_000, 0]).cast(pa.timestamp("us", "UTC"))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"ts": counts if form else moments, "van": ["a"] * 4, "km": [1, 2, 3, 4]}), sink)
    store.write("data/a.parquet", sink.getvalue().to_pybytes())
    settings = DataSettings(path="data/a.parquet", time_format=form)
    file = list_inputs(store, settings, None).files[0]
    rows = read_table(store, file, settings, VANS, between("2026-03-04T10:00", "2026-03-04T11:00"))
    assert rows.table["km"].to_pylist() == ([1.0, 4.0] if form else [1.0, 3.0])
    assert rows.rejected == {"bad_time": 2 if form else 1}


@pytest.mark.parametrize(
    ("times", "how", "read"),
    [
        (pa.array(["0002-01-01T00:00:00", "9999-12-31T00:00:00"]).cast(pa.timestamp("us")),
         {"use_deprecated_int96_timestamps": True}, ["0002-01-01", "9999-12-31"]),
        (pa.array([2**63 - 1, 0], pa.timestamp("ms")), {}, ["1970-01-01"]),
        (pa.array([-(2**63), 0], pa.timestamp("us")), {}, ["1970-01-01"]),
        (pa.array([2**64 - 1, 0], pa.uint64()), {}, ["1970-01-01"]),
    ],
    ids=["int96", "ms", "us", "uint64"],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_time_beyond_what_nanoseconds_hold_never_wraps(
    store: Store, times: pa.Array, how: dict[str, bool], read: list[str], zone: str
) -> None:
    """Years from 1 to 9999 are read as they stand, in every unit; other times cost their own row."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"ts": times, "van": ["a", "b"], "km": [1, 2]}), sink, **how)
    store.write("data/a.parquet", sink.getvalue().to_pybytes())
    settings = DataSettings(path="data/a.parquet", time_format="epoch_ms", timezone=zone)
    rows = read_table(store, list_inputs(store, settings, None).files[0], settings, VANS)
    days = rows.table["ts"].cast(pa.timestamp("us", zone)).cast(pa.string()).to_pylist()
    assert [day[:10] for day in days] == read or zone != "UTC"
    assert rows.rejected == ({"bad_time": 2 - len(read)} if len(read) < 2 else {})


@pytest.mark.parametrize("kind", [ColumnKind.KEY, ColumnKind.CODED, ColumnKind.TEXT])
def test_uuids_are_the_text_that_they_are_written_as(store: Store, kind: ColumnKind) -> None:
    """A column of UUIDs gives names; bytes of a fixed size that nobody says are UUIDs give none."""
    ids = [uuid.UUID(int=n) for n in (1, 2, 1)]
    stored = pa.array([one.bytes for one in ids], pa.binary(16))
    store.write(
        "data/a.parquet", parquet(pa.table({"id": pa.ExtensionArray.from_storage(pa.uuid(), stored)}))
    )
    settings = DataSettings(path="data/a.parquet")
    file = list_inputs(store, settings, None).files[0]
    assert read_table(store, file, settings, {"id": kind}).table["id"].to_pylist() == [
        str(one) for one in ids
    ]
    if kind is not ColumnKind.TEXT:
        store.write("data/a.parquet", parquet(pa.table({"id": stored})))
        file = list_inputs(store, settings, None).files[0]
        with pytest.raises(FileError, match="fixed_size_binary"):
            read_table(store, file, settings, {"id": kind})


@pytest.mark.parametrize("group_rows", [50, 5_000])
def test_wide_rows_are_read_few_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    """What is decoded at once is bounded by bytes, in few large row groups and in many small ones."""
    limit_bytes = 1 << 18
    monkeypatch.setattr(parquet_reader, "_WHOLE_BYTES", limit_bytes)
    texts = [f"{number:01000d}" for number in range(5_000)]
    wide = pa.table({"van": texts})
    store.write("data/a.parquet", parquet(wide, row_group_size=group_rows, use_dictionary=False))
    settings = DataSettings(path="data/a.parquet")
    file = list_inputs(store, settings, None).files[0]
    pieces = [rows.table for rows in read_batches(store, file, settings, {"van": ColumnKind.KEY})]
    assert [text for piece in pieces for text in piece["van"].to_pylist()] == texts
    assert max(piece.num_rows for piece in pieces) * 1_000 <= limit_bytes
