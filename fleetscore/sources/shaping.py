"""From rows as they stand in a file to rows under our names: melted, mapped, typed and cut to the window,
rejects told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError, InputError
from fleetscore.sources.numbers import is_text, read_numbers
from fleetscore.sources.patterns import Span
from fleetscore.sources.records import REJECTS_KEPT, ColumnKind, Reject, Rows, first_of_each
from fleetscore.sources.request import RawRows, Request
from fleetscore.sources.settings import Melt
from fleetscore.sources.times import TIME, within_years

CODED = pa.dictionary(pa.int32(), pa.string())

_HEAD_ROWS = 4096
_NAMES = (ColumnKind.KEY, ColumnKind.CODED, ColumnKind.LABEL)

_UNITS = {"capture": "event", "csv": "line", "tsv": "line", "jsonl": "line"}
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(slots=True)
class _Kept:
    """Rows on their way: the columns so far, the rows' places in the file, and what was rejected."""

    numbers: npt.NDArray[np.int64]
    unit: str
    columns: dict[str, pa.Array] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)

    def reject(self, cause: str, mask: npt.NDArray[np.bool_], column: str, texts: pa.Array | None) -> None:
        """Count the rows of a mask, and keep the first few."""
        rows = np.flatnonzero(mask)
        self.rejected[cause] += len(rows)
        for row in rows[:REJECTS_KEPT].tolist():
            text = "" if texts is None else _shown(texts[row])
            self.rejects.append(Reject(cause, f"{self.unit} {self.numbers[row]}", column, text[:80]))

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Drop the other rows."""
        if not mask.all():
            chosen = pa.array(mask)
            self.columns = {name: column.filter(chosen) for name, column in self.columns.items()}
            self.numbers = self.numbers[mask]


def _shown(cell: pa.Scalar) -> str:
    if not cell.is_valid:
        return ""
    try:
        return str(cell.as_py())
    except (OverflowError, ValueError):  # a time beyond the years that Python has
        return str(cell.value)


def shape_rows(request: Request, raw: RawRows) -> Rows:
    """The rows of the span under our names, typed as `ColumnKind` says; what cannot be used is rejected and
    told.

    A row without a readable time or without a key is left out; a number that cannot be read is null.
    """
    table, numbers = raw.table, raw.numbers
    if request.settings.melt:
        table, numbers = melt(table, numbers, request.settings.melt, request.settings.columns)
    kept = _Kept(numbers, _UNITS.get(request.file.format, "row"))
    kept.columns = _our_columns(request, table)
    kinds = column_kinds(request, list(kept.columns))
    _read_keys_and_times(request, kept, kinds)
    for name, kind in kinds.items():
        if kind is ColumnKind.NUMBER:
            _read_number(request, kept, name)
        elif kind in (ColumnKind.TEXT, ColumnKind.ANY):
            kept.columns[name] = _plain(request, _decoded(kept.columns[name]), name, kind)
        elif kind is ColumnKind.KEY:
            kept.columns[name] = _decoded(kept.columns[name])
        elif kind in (ColumnKind.CODED, ColumnKind.LABEL):
            kept.columns[name] = _coded(kept.columns[name])
    kept.rejected.update(reject.cause for reject in raw.rejects)
    out = pa.table({name: kept.columns[name] for name in kinds})
    return Rows(
        out,
        {c: n for c, n in kept.rejected.items() if n},
        first_of_each((*raw.rejects, *kept.rejects)),
        raw.remarks,
        kept.numbers,
        kept.texts,
    )


def column_kinds(request: Request, names: Sequence[str]) -> dict[str, ColumnKind]:
    """The kind of each of our columns: as requested; where everything is, the time by its name, the path's
    as keys.
    """
    if request.columns is not None:
        return dict(request.columns)
    path, time = request.file.columns, request.settings.time
    return {
        name: ColumnKind.TIME if name == time else ColumnKind.KEY if name in path else ColumnKind.ANY
        for name in names
    }


def melt(
    table: pa.Table, numbers: npt.NDArray[np.int64], how: Melt, columns: Mapping[str, str]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """A row per row and column that is no id: the ids, the column's name, its cell; InputError where an id
    is missing.
    """
    ids = {columns.get(name, name): name for name in how.id}
    missing = [theirs for theirs in ids if theirs not in table.column_names]
    if missing:
        shown = ", ".join(table.column_names[:30])
        raise InputError(
            f"It has no column {missing[0]!r}, which melt.id names; its columns: {shown}.",
            code="missing_column",
        )
    wide = [name for name in table.column_names if name not in ids]
    parts = [
        pa.table(
            {theirs: table[theirs] for theirs in ids}
            | {
                how.names: pa.repeat(pa.scalar(name), table.num_rows),
                how.values: _cell_texts(name, table[name]),
            }
        )
        for name in wide
    ]
    if not parts:
        raise InputError("It has no column beside those of melt.id.", code="missing_column")
    return pa.concat_tables(parts, promote_options="permissive"), np.tile(numbers, len(wide))


def _cell_texts(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise InputError(
            f"Its column {name!r} holds {column.type}; numbers were expected, since melt.id does not name it.",
            fix="Name it in melt.id, or write it with another type.",
            code="bad_column_type",
        ) from error


def _our_columns(request: Request, table: pa.Table) -> dict[str, pa.Array]:
    settings = request.settings
    theirs = {name: _flat(table[name]) for name in table.column_names}
    path = {n: _repeated(value, table.num_rows) for n, value in request.file.columns.items()}
    if request.columns is not None:
        wanted = {name: theirs.get(settings.theirs(name), path.get(name)) for name in request.columns}
        for name, column in wanted.items():
            _explained(request, name, lambda column=column: _refuse_opaque(column))
        return wanted
    theirs = {name: column for name, column in theirs.items() if not isinstance(column.type, pa.OpaqueType)}
    names = {theirs_name: ours for ours, theirs_name in settings.columns.items()}
    ours = {names.get(name, name): column for name, column in theirs.items()}
    return {name: column for name, column in path.items() if name not in ours} | ours


def _refuse_opaque(column: pa.Array) -> None:
    """Refuse values of a type that only its database knows: their bytes are neither text nor numbers."""
    if isinstance(column.type, pa.OpaqueType):
        raise InputError(
            f"It holds {column.type.type_name}, a type of {column.type.vendor_name} that cannot be read.",
            fix="Cast it in the query, to text or numeric (an inet by host(...)).",
            code="bad_column_type",
        )


def _repeated(value: str, rows: int) -> pa.Array:
    """A value of the path for every row; null where its folder stands for no value."""
    return pa.repeat(pa.scalar(None if value == _HIVE_NULL else value, pa.string()), rows)


def _read_keys_and_times(request: Request, kept: _Kept, kinds: Mapping[str, ColumnKind]) -> None:
    names = {name: kind for name, kind in kinds.items() if kind in _NAMES}
    for name, kind in names.items():
        column = kept.columns[name]
        if kind is not ColumnKind.KEY and not pa.types.is_dictionary(column.type):
            column = encode_names(column)
        kept.columns[name] = _explained(request, name, lambda column=column: key_texts(column))
    keys = [name for name, kind in names.items() if kind is not ColumnKind.LABEL]
    stamped = [name for name, kind in kinds.items() if kind is ColumnKind.TIME]
    for name in stamped:
        cells = _decoded(kept.columns[name])
        series = [kept.columns[key] for key in keys]
        found = _explained(
            request,
            name,
            lambda cells=cells, series=series: within_years(request.state.times.read(cells, series)),
        )
        kept.columns[name] = found
        _reject_untimed(request, kept, name, cells, found)
    for name in keys:
        unnamed = _unnamed(kept.columns[name])
        if unnamed is not None:
            kept.reject("missing_key", unnamed, name, None)
            kept.keep(~unnamed)


def _unnamed(keys: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Where a key is missing or empty; None where every row has one."""
    if pa.types.is_dictionary(keys.type):
        if not keys.null_count and not pc.any(_is_empty(keys.dictionary), min_count=0).as_py():
            return None
        keys = _decoded(keys)
    mask: npt.NDArray[np.bool_] = _is_empty(keys).to_numpy(zero_copy_only=False)
    return mask if mask.any() else None


def _is_empty(texts: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(texts, ""), True)


def _reject_untimed(request: Request, kept: _Kept, name: str, cells: pa.Array, times: pa.Array) -> None:
    if _lie_within(times, request.span):
        return
    wanted = times.is_valid()
    if times.null_count:
        kept.reject("bad_time", times.is_null().to_numpy(zero_copy_only=False), name, cells)
    if request.span is not None:
        start, end = (pa.scalar(moment, TIME) for moment in (request.span.start, request.span.end))
        within = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
        wanted = pc.and_(wanted, pc.fill_null(within, False))
    kept.keep(wanted.to_numpy(zero_copy_only=False))


def _lie_within(times: pa.Array, span: Span | None) -> bool:
    """Whether every row has a time, and that in the span."""
    if times.null_count or not len(times):
        return False
    ends = pc.min_max(times)
    return span is None or bool(ends["min"].as_py() >= span.start and ends["max"].as_py() < span.end)


def _read_number(request: Request, kept: _Kept, name: str) -> None:
    settings, cells = request.settings, _decoded(kept.columns[name])
    numbers, wrong = _explained(
        request, name, lambda: read_numbers(cells, settings.decimal, settings.null_values)
    )
    kept.columns[name] = numbers
    if wrong is None:
        return
    mask = wrong.to_numpy(zero_copy_only=False)
    if mask.any():
        kept.reject("bad_number", mask, name, cells)
        faults = np.flatnonzero(mask)
        texts = cells.take(pa.array(faults)).to_pylist()
        kept.texts = dict(zip(faults.tolist(), map(str, texts), strict=True)) | kept.texts


def key_texts(column: pa.Array) -> pa.Array:
    """Names as text: text as it stands, whole numbers as their digits; InputError `bad_column_type` for
    anything else.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        texts = key_texts(column.dictionary)  # as long as the dictionary, so that the codes need no check
        if pa.types.is_string(kind.value_type):
            return column
        return pa.DictionaryArray.from_arrays(column.indices, texts, safe=False)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
        if not pc.all(pc.equal(pc.floor(column), column), min_count=0).as_py():
            raise InputError(f"It holds {kind}; names were expected.", code="bad_column_type")
        return column.cast(pa.int64()).cast(pa.string())
    if pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind):
        raise InputError(f"It holds {kind}; names were expected.", code="bad_column_type")
    return column if pa.types.is_string(kind) else column.cast(pa.string())


def encode_names(column: pa.Array) -> pa.DictionaryArray:
    """The column with a dictionary in the order of first appearance.

    Rows that are sorted by a name repeat it: where the first rows do, a run is looked up once.
    """
    head = column.slice(0, _HEAD_ROWS)
    if column.null_count or not pa.types.is_string(column.type) or not _repeats(head):
        return column.dictionary_encode()
    runs = pc.run_end_encode(column)
    names = runs.values.dictionary_encode()
    lengths = np.diff(runs.run_ends.to_numpy(), prepend=0)
    codes = np.repeat(names.indices.to_numpy(), lengths)
    return pa.DictionaryArray.from_arrays(pa.array(codes), names.dictionary, safe=False)


def _repeats(names: pa.Array) -> bool:
    return len(names) == _HEAD_ROWS and 4 * len(pc.run_end_encode(names).values) <= _HEAD_ROWS


def _coded(keys: pa.Array) -> pa.Array:
    return keys if keys.type == CODED else keys.cast(CODED)


def _plain(request: Request, column: pa.Array, name: str, kind: ColumnKind) -> pa.Array:
    """Text with null for what means no value; numbers, where anything may stand, as float64."""
    is_number = (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_decimal(column.type)
    )
    if kind is ColumnKind.ANY and not (is_text(column.type) or pa.types.is_binary(column.type)):
        return (
            column.cast(pa.float64(), safe=False) if is_number or pa.types.is_boolean(column.type) else column
        )
    texts = _explained(request, name, lambda: column.cast(pa.string()))
    empty = pc.is_in(texts, pa.array(request.settings.null_values, pa.string()))
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts)


def _explained(request: Request, name: str, read: Any) -> Any:
    """What `read` gives; whatever it raises names the file and the column."""
    try:
        return read()
    except (InputError, pa.ArrowException) as error:
        reason = error.message if isinstance(error, InputError) else str(error)
        raise FileError(
            f"{request.file.path}: column {request.settings.theirs(name)!r}: {reason}",
            fix=error.fix
            if isinstance(error, InputError) and error.fix
            else "Write it with another type, or map another column.",
            code=error.code if isinstance(error, InputError) else "bad_column_type",
            field=request.file.path,
        ) from error


_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary(), pa.large_string(): pa.string()}


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """One array, of types that all of Arrow's functions take."""
    if column.num_chunks == 1:
        array = column.chunk(0)
    elif column.num_chunks:
        array = pa.concat_arrays(column.unify_dictionaries().chunks)
    else:
        array = pa.array([], column.type)
    if isinstance(array.type, pa.UuidType):
        return _uuid_texts(array)
    return array.cast(_VIEWS[array.type]) if array.type in _VIEWS else array


def _uuid_texts(array: pa.Array) -> pa.Array:
    """UUIDs as they are written; each is made text once."""
    coded = array.storage.dictionary_encode()
    texts = [str(UUID(bytes=value)) for value in coded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(texts, pa.string())).dictionary_decode()


def _decoded(array: pa.Array) -> pa.Array:
    """The array without a dictionary."""
    if not pa.types.is_dictionary(array.type):
        return array
    plain = array.dictionary_decode()
    return plain.cast(_VIEWS[plain.type]) if plain.type in _VIEWS else plain
