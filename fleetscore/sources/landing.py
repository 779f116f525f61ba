"""Landing: the window's rows of a database are read once into a Parquet file in the store, whole or not at
all.

A window's landings lie under `landed/<workload>/<window>/`, each a file of its own, and `landing.json`
names the newest. So a run, its retries and replays read the file that they were planned with, and a round
for late rows lands anew beside it.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError, SourceError, StoreError
from fleetscore.records import InputFile
from fleetscore.sources.databases import Connection, connection_named, opened_query
from fleetscore.sources.landed_columns import landed_batches, landed_schema
from fleetscore.sources.listing import list_inputs
from fleetscore.sources.patterns import Span
from fleetscore.sources.records import Listing, PassedOver
from fleetscore.sources.request import budget_of
from fleetscore.sources.settings import DataSettings
from fleetscore.sources.times import TIME, TimeReader
from fleetscore.store import Store
from fleetscore.store.dry_run import DryStore
from fleetscore.typed_json import decode_json

Answer = TypeVar("Answer")

TRIES = 4
"""A server that cannot be reached is tried as often, after 1, 2 and 4 seconds."""

_QUEUED_BATCHES = 2


class KeyedSpan(Span, Protocol):
    """A span of time with a name: a window."""

    @property
    def key(self) -> str:
        """How users write it, and paths carry it."""
        ...


@dataclass(frozen=True, slots=True)
class Landed:
    """One landing: the file with its etag, its rows, the newest time among them, and the query of
    which database.
    """

    path: str
    etag: str
    size_bytes: int
    rows: int
    landed: datetime
    start: datetime
    end: datetime
    database: str  # the environment variable's name
    query_sha256: str
    newest: datetime | None = None
    schema: int = 1
    outside: int = 0  # of the rows, those that were not taken: their times lie outside the span
    outside_first: datetime | None = None
    outside_last: datetime | None = None

    @property
    def key(self) -> str:
        """The name of what was landed: the window's key."""
        return self.path.split("/")[-2]

    def file(self) -> InputFile:
        """The landing as an input file, which is read as any other."""
        return InputFile(self.path, self.etag, self.size_bytes, "parquet")

    def remark(self) -> PassedOver | None:
        """What is to be said where the query gave rows, and none of the span."""
        if not self.rows or self.outside < self.rows:
            return None
        first, last = (_text_of(moment) for moment in (self.outside_first, self.outside_last))
        detail = (
            f"The query of {self.database} gave {self.rows:,} rows, none of {self.key}: their times are {first} to "
            f"{last}, and it spans {_text_of(self.start)} to {_text_of(self.end)}. Nothing was landed; compare the "
            "query's use of :start and :end, and `timezone` in [data], then delete its folder and run the window again."
        )
        return PassedOver(self.path, "outside_window", detail, True)

    def is_of(self, settings: DataSettings) -> bool:
        """Whether it was made by the query and the database that the settings name."""
        return (self.database, self.query_sha256) == (settings.database, _digest(settings.query))

    def holds(self, span: Span) -> bool:
        """Whether the query was given all of the span."""
        return self.start <= span.start and self.end >= span.end


@dataclass(frozen=True, slots=True)
class Standing:
    """How many rows a query has of a window now, and the newest time among them."""

    rows: int
    newest: datetime | None

    def is_that_of(self, landed: Landed) -> bool:
        """Whether these are the rows that were landed, by their number and newest time.

        Where some row's time is `infinity`, the database gives it as the newest, which tells nothing:
        then by their number alone.
        """
        return self.rows == landed.rows and self.newest in (landed.newest, None)


def land(store: Store, settings: DataSettings, workload: str, window: KeyedSpan) -> Landed:
    """Read the window's rows of the database into a file, in bounded memory; it is there whole, or not at
    all.

    A server that cannot be reached is tried TRIES times. Raises SourceError after that, InputError for a
    query that the server does not accept or that lacks the time column, FileError beyond the limits of time
    and size, SettingsError for a connection that is not set.
    """
    if isinstance(store, DryStore):
        raise InputError(
            f"No rows of {workload} {window.key} were landed yet, and a preview lands none.",
            fix="Run the window; its plan can be seen once its rows were landed.",
            field="window",
            code="not_landed",
        )
    connection = connection_named(settings.database)
    folder = f"landed/{workload}/{window.key}/"
    moment = datetime.now(UTC)
    path = f"{folder}{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.parquet"
    rows, newest, outside = _tried(lambda: _write_rows(store, settings, connection, window, path))
    entry = store.stat(path)
    if entry is None:
        raise StoreError(f"{path} is gone since it was landed.")
    landed = Landed(
        path,
        entry.etag,
        entry.size_bytes,
        rows,
        moment,
        window.start,
        window.end,
        settings.database,
        _digest(settings.query),
        newest,
        outside=outside.rows,
        outside_first=outside.first,
        outside_last=outside.last,
    )
    store.write(folder + "landing.json", msgspec.json.encode(landed))
    return landed


def find_inputs(store: Store, settings: DataSettings, workload: str, window: KeyedSpan) -> Listing:
    """The window's files: listed, or the one that was landed from a database, which is read now if it was
    not.
    """
    if not settings.database:
        return list_inputs(store, settings, window)
    return list_landings(land_once(store, settings, workload, window))


def list_landings(*landed: Landed) -> Listing:
    """Their files, and what is to be said of those that hold none of the rows that their query gave."""
    remarks = tuple(remark for one in landed if (remark := one.remark()) is not None)
    return Listing(tuple(one.file() for one in landed), remarks, len(landed))


def land_once(store: Store, settings: DataSettings, workload: str, window: KeyedSpan) -> Landed:
    """The window's newest landing; it is landed now where that was not done, or by another query or for less
    time. Raises as `land`.
    """
    landed = read_landed(store, workload, window.key)
    if landed is not None and landed.is_of(settings) and landed.holds(window):
        return landed
    return land(store, settings, workload, window)


def read_landed(store: Store, workload: str, window_key: str) -> Landed | None:
    """The window's newest landing; None where nothing was landed.

    InputError for a record that cannot be read.
    """
    path = f"landed/{workload}/{window_key}/landing.json"
    try:
        return decode_landed(path, store.read(path))
    except MissingBlobError:
        return None


def decode_landed(path: str, data: bytes) -> Landed:
    """The record of a landing that lies at the path; InputError for bytes that are none."""
    try:
        return decode_json(data, Landed)
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path} cannot be read: {error}.",
            fix="Delete it; the window is landed anew.",
            field=path,
            code="unreadable_file",
        ) from error


def read_standing(settings: DataSettings, window: Span) -> Standing:
    """Count the window's rows in the database now, so that late ones are noticed; raises as `land` does."""
    connection = connection_named(settings.database)
    column = settings.theirs(settings.time).replace('"', '""')
    newest = f'max("{column}")' if settings.time else "NULL"
    inner = settings.query.strip().removesuffix(";")
    query = f"SELECT count(*) AS rows, {newest} AS newest FROM (\n{inner}\n) AS asked"  # noqa: S608 # the user's own query

    def ask() -> Standing:
        with opened_query(connection, query, window, settings.timezone, settings.read_limit_s) as batches:
            [row] = [batch for batch in batches if batch.num_rows]
        return Standing(row["rows"][0].as_py(), _moment(row["newest"][0]))

    return _tried(ask)


def _digest(query: str) -> str:
    return sha256(query.encode()).hexdigest()


def _tried(read: Callable[[], Answer]) -> Answer:
    """What `read` gives; it is called again where a database did not answer."""
    for attempt in range(TRIES - 1):
        try:
            return read()
        except SourceError:
            time.sleep(2.0**attempt)
    return read()


def _write_rows(
    store: Store, settings: DataSettings, connection: Connection, window: Span, path: str
) -> tuple[int, datetime | None, _Outside]:
    budget, outside = budget_of(f"the query of {settings.database}", settings), _Outside()
    with (
        opened_query(connection, settings.query, window, settings.timezone, settings.read_limit_s) as batches,
        store.sink(path) as file,
    ):
        schema = landed_schema(batches.schema)
        time_column = _time_column(settings, schema)
        with pq.ParquetWriter(file, schema, **_parquet_options(schema, time_column)) as writer:
            rows = landed_batches(batches, schema, budget)
            found = _pump(
                rows,
                writer,
                time_column,
                lambda batch: _inside(batch, settings, window, time_column, outside),
            )
    return *found, outside


def _parquet_options(schema: pa.Schema, time_column: str) -> dict[str, Any]:
    """Text by dictionary, since numbers rarely repeat; times and whole numbers by their differences, which is
    smaller than compression and costs less.
    """
    steps = [f.name for f in schema if pa.types.is_timestamp(f.type) or pa.types.is_integer(f.type)]
    return {
        "use_dictionary": [field.name for field in schema if pa.types.is_string(field.type)],
        "column_encoding": dict.fromkeys(steps, "DELTA_BINARY_PACKED"),
        "compression": {name: "none" if name in steps else "snappy" for name in schema.names},
        "write_statistics": [time_column] if time_column else True,
    }


def _pump(
    batches: Iterator[pa.RecordBatch],
    writer: pq.ParquetWriter,
    time_column: str,
    inside: Callable[[pa.RecordBatch], pa.RecordBatch],
) -> tuple[int, datetime | None]:
    """Write what is `inside` of the batches while the next ones are read; returns how many rows there were,
    and the newest time.
    """
    waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(_QUEUED_BATCHES)
    failed: list[BaseException] = []
    thread = threading.Thread(target=_write_queued, args=(waiting, writer, failed), name="landing writer")
    thread.start()
    rows, newest = 0, None
    try:
        for batch in batches:
            rows += batch.num_rows
            newest = _newest(newest, batch, time_column)
            waiting.put(inside(batch))
            if failed:
                break
    finally:
        waiting.put(None)
        thread.join()
    if failed:
        raise failed[0]
    return rows, newest


def _write_queued(
    waiting: queue.Queue[pa.RecordBatch | None], writer: pq.ParquetWriter, failed: list[BaseException]
) -> None:
    while (batch := waiting.get()) is not None:
        if failed:
            continue  # the reader sees it with its next batch; until then nothing may block it
        try:
            writer.write_batch(batch)
        except (
            BaseException
        ) as error:  # raised by the reader, which else waits for ever for a place in the queue
            failed.append(error)


@dataclass(slots=True)
class _Outside:
    """The rows that are not taken, for their times: how many, and the first and the last of these times."""

    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, times: pa.Array) -> None:
        self.rows += len(times)
        ends = pc.min_max(times)
        first, last = _moment(ends["min"]), _moment(ends["max"])
        self.first = min((one for one in (self.first, first) if one is not None), default=None)
        self.last = max((one for one in (self.last, last) if one is not None), default=None)


def _text_of(moment: datetime | None) -> str:
    return "a time beyond all years" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _inside(
    batch: pa.RecordBatch, settings: DataSettings, span: Span, time_column: str, outside: _Outside
) -> pa.RecordBatch:
    """The batch without rows of other times, which are added to `outside`: a query may give them that
    takes no heed of its bounds, and they would be in the landing of their own time again.
    """
    if not time_column or not batch.num_rows:
        return batch
    column = batch.column(time_column)
    has_zone = getattr(column.type, "tz", None) is not None or settings.timezone in ("", "UTC")
    # An hour that a zone has twice is told apart where rows are read.
    margin = timedelta(hours=0 if has_zone else 1)
    try:
        times = TimeReader(settings.time_format, settings.timezone).read(column, ())
    except (InputError, pa.ArrowInvalid):
        return batch  # it names the file where it is read
    first, stop = pa.scalar(span.start - margin, TIME), pa.scalar(span.end + margin, TIME)
    within = pc.and_(pc.greater_equal(times, first), pc.less(times, stop))
    within = pc.fill_null(within, True)  # a row without a time is rejected where it is read
    if pc.all(within).as_py():
        return batch
    outside.add(times.filter(pc.invert(within)))
    return batch.filter(within)


def _newest(newest: datetime | None, batch: pa.RecordBatch, time_column: str) -> datetime | None:
    if not time_column or not pa.types.is_timestamp(batch.schema.field(time_column).type):
        return newest
    found = _moment(pc.max(batch.column(time_column)))
    return max((one for one in (newest, found) if one is not None), default=None)


def _moment(value: pa.Scalar) -> datetime | None:
    """The time of a scalar, one without a zone as if it were UTC; None for what is none, or is beyond the
    years that Python has, such as `infinity`.
    """
    try:
        found = value.as_py()
    except (OverflowError, ValueError):
        return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _time_column(settings: DataSettings, schema: pa.Schema) -> str:
    column = settings.theirs(settings.time) if settings.time else ""
    names = list(schema.names)
    twice = [name for name in names if names.count(name) > 1]
    if twice or (column and column not in names):
        what = f"two columns {twice[0]!r}" if twice else f"no column {column!r}"
        raise InputError(
            f"The query gives {what}; it gives {', '.join(names)}.",
            fix="Name its columns with AS, as `time` and `columns` in [data] call them.",
            field="query",
            code="bad_query",
        )
    return column
