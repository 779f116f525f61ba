"""One reader per format behind one call: rows of a file, of a window, under our names.

What a reader raises belongs to its file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError, InputError, MissingBlobError, StoreError
from fleetscore.exhaustion import raise_lack
from fleetscore.records import InputFile
from fleetscore.sources.byte_stream import read_line_views
from fleetscore.sources.csv_reader import read_csv_names, read_csv_rows
from fleetscore.sources.formats import format_of
from fleetscore.sources.numbers import is_text, read_numbers
from fleetscore.sources.parquet_reader import read_parquet_names, read_parquet_rows
from fleetscore.sources.patterns import Span
from fleetscore.sources.places import store_of
from fleetscore.sources.records import ColumnKind, RejectTally, RowChoice, Rows
from fleetscore.sources.request import RawRows, ReadState, Request, budget_of
from fleetscore.sources.settings import DataSettings
from fleetscore.sources.shaping import CODED, shape_rows
from fleetscore.sources.times import TIME, TimeReader
from fleetscore.store import Store

Columns = Mapping[str, ColumnKind]

_LEADING_ZERO = r"^[+-]?0[0-9]"
_REPAIR = "Write the file again, or delete it; every other file is read."


@dataclass(frozen=True, slots=True)
class Reading:
    """What a window's files gave: their rows in one table, and what became of each file.

    `rows` has the rejects and remarks of each file by its path; `faults` the error of each that could not
    be read; `remarks` what is to be said of all.
    """

    table: pa.Table
    rows: Mapping[str, Rows]
    faults: Mapping[str, FileError]
    remarks: tuple[str, ...] = ()


def read_batches(
    store: Store,
    file: InputFile,
    settings: DataSettings,
    columns: Columns | None = None,
    span: Span | None = None,
    state: ReadState | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Rows]:
    """The rows of one file, piece by piece, in its order; `columns` are our names with their kinds (None:
    all).

    With a `span`, only rows whose time lies in [start, end). `state` is shared by files that are read
    together, in order; without one, the last piece has no rows and what is to be said of the file's
    times, if anything is. `only` names wanted values (sorted) of keys: parts of the file that hold none
    may be left out. Raises FileError for whatever is wrong with the file; a StoreError that may pass
    comes through.
    """
    request = _request(store, file, settings, columns, span, state, only)
    with belongs_to(file.path):
        rows = None
        for raw in _reader(file.format)(request):
            rows = shape_rows(request, raw)
            yield rows
        if state is None and rows is not None and (said := request.state.times.remarks()):
            yield Rows(rows.table.slice(0, 0), remarks=said)


def read_table(
    store: Store,
    file: InputFile,
    settings: DataSettings,
    columns: Columns | None = None,
    span: Span | None = None,
    state: ReadState | None = None,
    choice: RowChoice | None = None,
) -> Rows:
    """All rows of one file at once, or those of the choice, its rejects counted and its remarks; as
    `read_batches`, and it raises the same.
    """
    used = state or new_state(settings)
    tally, tables = RejectTally(), []
    for batch in read_batches(store, file, settings, columns, span, used, choice.values if choice else None):
        tally.add(batch)
        tables.append(choice.of(batch.table) if choice else batch.table)
    tally.remarks |= dict.fromkeys(() if state else used.times.remarks())
    with belongs_to(file.path):
        return tally.of(_joined(tables, columns))


def read_text(store: Store, file: InputFile, settings: DataSettings) -> Iterator[memoryview]:
    """Pieces of whole lines of a text file, unpacked and in UTF-8, the first without a byte order mark; each
    is there until the next is asked for.

    Raises as `read_batches`.
    """
    request = _request(store, file, settings)
    with belongs_to(file.path):
        yield from read_line_views(request, in_one_buffer=True)


def read_files(
    store: Store,
    files: Sequence[InputFile],
    settings: DataSettings,
    columns: Columns | None = None,
    span: Span | None = None,
    choice: RowChoice | None = None,
) -> Reading:
    """The rows of many files in one table, or those of the choice, in their order; a file that cannot be
    read costs no other file. No more than a piece of a file is held beside the rows.

    The table's columns of kind ANY are float64 where every cell is a number, else text.
    """
    state = new_state(settings)
    rows: dict[str, Rows] = {}
    faults: dict[str, FileError] = {}
    tables: list[pa.Table] = []
    for file in files:
        seen = state.seen_blocks()
        try:
            read = read_table(store, file, settings, columns, span, state, choice)
        except FileError as error:
            faults[file.path] = error
            state.forget_since(seen)
        else:
            tables.append(read.table)
            rows[file.path] = Rows(read.table.slice(0, 0), read.rejected, read.rejects, read.remarks)
    table = settle_types(_joined(tables, columns), columns)
    return Reading(table, rows, faults, state.times.remarks())


def read_names(store: Store, file: InputFile, settings: DataSettings) -> tuple[str, ...]:
    """The columns that a file has under its own names, those of its path included; FileError when it cannot
    be read.
    """
    request = _request(store, file, settings)
    with belongs_to(file.path):
        if file.format in ("csv", "tsv"):
            names = read_csv_names(request)
        elif file.format == "parquet":
            names = read_parquet_names(request)
        else:
            first = next(iter(_reader(file.format)(request)), None)
            names = tuple(first.table.column_names) if first else ()
    return tuple(dict.fromkeys((*names, *file.columns)))


def our_names(store: Store, file: InputFile, settings: DataSettings) -> tuple[str, ...]:
    """The columns that a file gives under our names, as `read_table` takes them; raises as `read_names`."""
    theirs = read_names(store, file, settings)
    if settings.melt:
        return (*settings.melt.id, settings.melt.names, settings.melt.values)
    mapped = [ours for ours, name in settings.columns.items() if name in theirs]
    taken = {settings.columns[ours] for ours in mapped} | settings.columns.keys()
    return (*mapped, *(name for name in theirs if name not in taken))


def new_state(settings: DataSettings) -> ReadState:
    """What files that are read together share, before the first of them."""
    return ReadState(TimeReader(settings.time_format, settings.timezone))


def settle_types(table: pa.Table, columns: Columns | None) -> pa.Table:
    """The table with its columns of kind ANY as float64 where every cell is a number; names such as 007
    stay text.
    """
    for place, name in enumerate(table.column_names):
        kind = ColumnKind.ANY if columns is None else columns.get(name)
        if (
            kind is not ColumnKind.ANY
            or not is_text(table[name].type)
            or table[name].null_count == table.num_rows
        ):
            continue
        column = table[name].combine_chunks()
        numbers, wrong = read_numbers(column, ".", ())
        named = pc.any(pc.match_substring_regex(column, _LEADING_ZERO)).as_py()
        if not named and (wrong is None or not pc.any(wrong).as_py()):
            table = table.set_column(place, name, numbers)
    return table


@contextlib.contextmanager
def belongs_to(path: str) -> Iterator[None]:
    """Make a FileError that names the file of whatever is raised, but for storage that may answer later, and
    for memory, threads or file handles that this process lacks.

    Readers of other people's files raise anything: a flipped byte in a footer is a UnicodeDecodeError.
    """
    try:
        yield
    except FileError as error:
        raise_lack(error)
        raise
    except MissingBlobError as error:
        raise FileError(
            f"{path} is gone since it was listed.", fix=_REPAIR, code="missing_file", field=path
        ) from error
    except InputError as error:
        raise_lack(error)
        message = error.message if path in error.message else f"{path}: {error.message}"
        raise FileError(message, fix=error.fix or _REPAIR, code=error.code, field=path) from error
    except StoreError:
        raise
    except Exception as error:
        raise_lack(error)
        shown = str(error).splitlines()[0][:300] if str(error) else ""
        raise FileError(
            f"{path} cannot be read: {type(error).__name__}: {shown}.", fix=_REPAIR, field=path
        ) from error


def _request(
    store: Store,
    file: InputFile,
    settings: DataSettings,
    columns: Columns | None = None,
    span: Span | None = None,
    state: ReadState | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> Request:
    source, path = store_of(store, file.path)
    if not file.format:  # of a plan that an earlier version made
        found = format_of(path, settings.format)
        file = replace(file, format=found.name if found else "csv")
    budget = budget_of(file.path, settings)
    return Request(
        source, path, file, settings, columns, span, budget, state or new_state(settings), only or {}
    )


def _reader(form: str) -> Callable[[Request], Iterator[RawRows]]:
    """The reader of a format; those of rarer formats are imported when one of their files is read."""
    if form in ("csv", "tsv"):
        return read_csv_rows
    if form == "parquet":
        return read_parquet_rows
    if form == "jsonl":
        from fleetscore.sources.jsonl_reader import read_jsonl_rows

        return read_jsonl_rows
    if form == "delta":
        from fleetscore.sources.delta_reader import read_delta_rows

        return read_delta_rows
    from fleetscore.sources.avro_reader import read_avro_rows, read_capture_rows

    return read_capture_rows if form == "capture" else read_avro_rows


def _joined(tables: Sequence[pa.Table], columns: Columns | None) -> pa.Table:
    """One table; a column that is of different types here and there becomes text."""
    if not tables:
        types = {"time": TIME, "number": pa.float64(), "coded": CODED}
        fields = [(name, types.get(kind.value, pa.string())) for name, kind in (columns or {}).items()]
        return pa.schema(fields).empty_table()
    filled = [table for table in tables if table.num_rows] or tables[:1]
    try:
        return pa.concat_tables(filled, promote_options="permissive")
    except pa.ArrowException:
        return pa.concat_tables([_as_text(table, filled) for table in filled], promote_options="permissive")


def _as_text(table: pa.Table, tables: Sequence[pa.Table]) -> pa.Table:
    for place, name in enumerate(table.column_names):
        kinds = {t.schema.field(name).type for t in tables if name in t.column_names}
        if len(kinds) > 1:
            table = table.set_column(place, name, table[name].cast(pa.string()))
    return table
