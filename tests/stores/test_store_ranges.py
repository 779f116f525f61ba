"""Ranged reads: the reader against an ordinary file, and how little of a large Parquet file one row group costs."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.store.blob import BlobStore
from fleetscore.store.range_reads import READ_AHEAD_BYTES, RangeReader, widen_range

CONTENT = np.random.default_rng(7).bytes(3_000_000)
POSITIONS = st.integers(0, len(CONTENT) + 100)


def reader_of(content: bytes) -> RangeReader:
    """A reader whose fetches are checked to lie within the content."""

    def fetch(start: int, stop: int) -> bytes:
        assert 0 <= start < stop <= len(content)
        return content[start:stop]

    return RangeReader(fetch, len(content), content[:1000])


@given(
    reads=st.lists(st.tuples(POSITIONS, st.integers(-1, 2_000_000)), max_size=20),
    size_bytes=st.sampled_from([0, 1, 999, 1000, 1001, 300_000, len(CONTENT)]),
)
def test_ranges_read_like_a_file(reads: list[tuple[int, int]], size_bytes: int) -> None:
    """Whatever is read where, in whatever order, bytes and position are those of an ordinary file."""
    content = CONTENT[:size_bytes]
    ranged, plain = reader_of(content), io.BytesIO(content)
    for position, size in reads:
        assert ranged.seek(position) == plain.seek(position)
        assert ranged.read(size) == plain.read(size)
        assert ranged.tell() == plain.tell()


@given(POSITIONS, POSITIONS, st.integers(1, 2_000_000))
def test_widening_stays_in_the_file(one: int, other: int, ahead_bytes: int) -> None:
    """A widened range holds the one asked for, lies in the file, and is longer than asked only up to `ahead_bytes`."""
    start, stop = sorted(min(p, len(CONTENT)) for p in (one, other))
    wide_start, wide_stop = widen_range(start, stop, len(CONTENT), ahead_bytes)
    assert 0 <= wide_start <= start <= stop <= wide_stop <= len(CONTENT)
    assert wide_stop - wide_start == max(stop - start, min(ahead_bytes, len(CONTENT)))


def test_seeking_from_everywhere() -> None:
    """Seeks count from the start, the position and the end, and never to before the start."""
    reader = reader_of(b"0123456789")
    assert (reader.seek(-3, io.SEEK_END), reader.seek(1, io.SEEK_CUR), reader.read()) == (7, 8, b"89")
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)
    buffer = bytearray(4)
    reader.seek(7)
    assert (reader.readinto(buffer), bytes(buffer)) == (3, b"789\0")


def test_going_on_fetches_more_and_more() -> None:
    """Small reads one after the other need few fetches; jumping about does not read ahead far."""
    fetched: list[int] = []

    def fetch(start: int, stop: int) -> bytes:
        fetched.append(stop - start)
        return bytes(stop - start)

    reader = RangeReader(fetch, 100_000_000)
    while reader.read(10_000):
        pass
    assert len(fetched) < 20
    fetched.clear()
    for i in range(10):
        reader.seek((i * 37 % 10) * 9_000_000)
        reader.read(100)
    assert fetched == [READ_AHEAD_BYTES] * 10


def test_one_row_group_costs_a_small_part_of_the_file(wired_store: BlobStore, wire: Any) -> None:
    """Opening a 24 MB Parquet file takes two requests, one row group of 30 about its own bytes, one column less."""
    values = np.random.default_rng(7).random((2, 1_500_000))
    with wired_store.sink("t.parquet") as file:
        pq.write_table(
            pa.table({"x": values[0], "y": values[1]}), file, row_group_size=50_000, use_dictionary=False
        )
    entry = wired_store.stat("t.parquet")
    assert entry is not None
    wire.requests.clear()

    parquet = pq.ParquetFile(wired_store.open("t.parquet"))
    assert len(wire.requests) == 2
    opened_bytes = wire.received_bytes
    assert opened_bytes < 0.02 * entry.size_bytes

    group = parquet.read_row_group(17)
    assert np.array_equal(group["y"].to_numpy(), values[1, 17 * 50_000 : 18 * 50_000])
    assert len(wire.requests) <= 4
    assert wire.received_bytes - opened_bytes < 1.5 * entry.size_bytes / 30

    before = wire.received_bytes
    parquet.read_row_group(3, columns=["x"])
    assert wire.received_bytes - before < 0.8 * entry.size_bytes / 30

    wire.requests.clear()
    assert pq.read_table(wired_store.open("t.parquet")).num_rows == 1_500_000
    assert len(wire.requests) < 20


def test_a_small_file_is_one_request(wired_store: BlobStore, wire: Any) -> None:
    """A file of up to 64 KiB is read whole by the request that opens it."""
    with wired_store.sink("t.parquet") as file:
        pq.write_table(pa.table({"x": list(range(1000))}), file)
    wire.requests.clear()
    assert pq.read_table(wired_store.open("t.parquet")).num_rows == 1000
    assert len(wire.requests) == 1
