"""A sample of a fleet's data for its check: some rows of each model, the newest files first, and what is
wrong with the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError
from fleetscore.models.fit_record import Misfit
from fleetscore.models.packs.bundle import Bundle
from fleetscore.sources import ColumnKind, InputFile, Rows, Span, read_batches, read_names
from fleetscore.store.base import Store
from fleetscore.workloads.models.blocks import choose_keys
from fleetscore.workloads.models.rows import key_kinds, model_keys, partition_keys, row_kinds
from fleetscore.workloads.models.settings import FleetSettings

ROWS_PER_MODEL = 100
READ_LIMIT_BYTES = 256 << 20
"""Files are read until each model has its rows, or they have so many bytes."""

_SHOWN = 30


@dataclass(slots=True)
class Sample:
    """What was read; mutable, since it grows file by file."""

    tables: list[pa.Table] = field(default_factory=list)
    files_read: int = 0
    rows: int = 0
    partitions: set[str] = field(default_factory=set)
    rows_of: Counter[str] = field(default_factory=Counter)  # rows kept, by model key
    without_model: Counter[str] = field(default_factory=Counter)  # rows, by the first choice of their key
    numbers: Counter[str] = field(default_factory=Counter)  # cells with a number, by feature
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)  # cells or rows, by cause and column
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)  # features that some file has
    names: set[str] = field(default_factory=set)  # all columns that some file has, as the file calls them
    misfits: list[Misfit] = field(default_factory=list)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """The rows that were kept; a feature that a file lacks is null there."""
        schema = pa.schema([(name, pa.float64()) for name in columns])
        tables = [table.select([n for n in table.column_names if n != "_"]) for table in self.tables]
        return pa.concat_tables([*tables, schema.empty_table()], promote_options="permissive")


def take_sample(
    store: Store, files: Sequence[InputFile], settings: FleetSettings, bundle: Bundle, features: Sequence[str], span: Span | None
) -> Sample:  # fmt: skip
    """Read files, the last path first, until each model has ROWS_PER_MODEL rows; a file at fault is a
    misfit and costs no other.
    """
    sample, spent = Sample(), 0
    wanted = set(bundle.keys.to_pylist())
    for file in reversed(files):
        if spent > READ_LIMIT_BYTES or (
            wanted and all(sample.rows_of[key] >= ROWS_PER_MODEL for key in wanted)
        ):
            break
        spent += file.size_bytes
        try:
            _read_file(store, file, settings, bundle, features, span, sample)
        except FileError as error:
            sample.misfits.append(Misfit("error", error.code, file.path, error.message, error.fix))
        sample.files_read += 1
    sample.misfits += _rejections(sample)
    return sample


def _read_file(
    store: Store, file: InputFile, settings: FleetSettings, bundle: Bundle, features: Sequence[str], span: Span | None,
    sample: Sample,
) -> None:  # fmt: skip
    data = settings.source
    kinds = row_kinds(settings, features)
    if data.melt is None:
        there = set(read_names(store, file, data))
        sample.names |= there
        missing = [name for name in kinds if data.theirs(name) not in there and name not in file.columns]
        sample.misfits += _missing(file, missing, kinds, sorted(there), settings)
        if any(kinds[name] is not ColumnKind.NUMBER for name in missing):
            return
        kinds = {name: kind for name, kind in kinds.items() if name not in missing}
    sample.columns |= kinds.keys() & set(features)
    for rows in read_batches(store, file, data, kinds, span):
        _count_rejects(rows, file.path, sample)
        _keep_rows(rows.table, settings, bundle, features, sample)


def _missing(
    file: InputFile, missing: Sequence[str], kinds: dict[str, ColumnKind], there: Sequence[str], settings: FleetSettings
) -> list[Misfit]:  # fmt: skip
    """A misfit per column that the file lacks."""
    shown = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    keys = key_kinds(settings)
    return [
        Misfit(
            "error",
            "missing_column",
            file.path,
            f"{file.path} lacks the {_role(name, keys, kinds)} {settings.data.theirs(name)!r}; its columns: {shown}.",
            f'Map one to it: columns = {{ {name} = "..." }} in [data].',
        )
        for name in missing
    ]


def _role(name: str, keys: dict[str, ColumnKind], kinds: dict[str, ColumnKind]) -> str:
    if name in keys:
        return "time" if kinds[name] is ColumnKind.TIME else "key"
    return "feature" if kinds[name] is ColumnKind.NUMBER else "column"


def _count_rejects(rows: Rows, path: str, sample: Sample) -> None:
    for reject in rows.rejects:
        example = f"{reject.text!r} in {reject.place} of {path}"
        sample.examples.setdefault((reject.cause, reject.column), example)
    for cause, count in rows.rejected.items():
        columns = dict.fromkeys(one.column for one in rows.rejects if one.cause == cause and one.column)
        sample.rejected[cause, " and ".join(columns)] += count


def _keep_rows(
    table: pa.Table, settings: FleetSettings, bundle: Bundle, features: Sequence[str], sample: Sample
) -> None:
    sample.rows += table.num_rows
    sample.partitions |= set(pc.unique(partition_keys(table, settings)).to_pylist())
    for name in set(features) & set(table.column_names):
        values = table[name]
        sample.numbers[name] += len(values) - values.null_count - int(pc.sum(pc.is_nan(values)).as_py() or 0)
    keys, found = choose_keys(table, settings, bundle)
    lacking = model_keys(table, settings.key_patterns[0]).filter(pa.array(~found))
    sample.without_model.update(
        {one["values"]: one["counts"] for one in pc.value_counts(lacking).to_pylist()}
    )
    sample.tables.append(table.filter(pa.array(_chosen(keys, found, sample.rows_of))))


def _chosen(keys: pa.StringArray, found: np.ndarray, rows_of: Counter[str]) -> np.ndarray:
    """Which rows are kept: the first of each model, until it has enough; `rows_of` counts them."""
    codes = keys.dictionary_encode()
    code = np.asarray(codes.indices)
    kept = np.zeros(len(code), bool)
    for number, key in enumerate(codes.dictionary.to_pylist()):
        if rows_of[key] >= ROWS_PER_MODEL:
            continue
        mine = np.flatnonzero((code == number) & found)[: ROWS_PER_MODEL - rows_of[key]]
        kept[mine] = True
        rows_of[key] += len(mine)
    return kept


def _rejections(sample: Sample) -> list[Misfit]:
    texts = {
        "bad_number": "{count:,} cells of {column} are no numbers, such as {example}.",
        "bad_time": "{count:,} rows have no readable time in {column}, such as {example}.",
        "missing_key": "{count:,} rows have no {column}.",
    }
    unplaced = {
        "bad_number": "{count:,} cells are no numbers.",
        "bad_time": "{count:,} rows have no readable time.",
    }
    other = "{count:,} rows cannot be read ({column}), such as {example}."
    whole = "{count:,} rows cannot be read, such as {example}."
    fixes = {"bad_encoding": 'Say how they are written: encoding = "cp1252" in [data], or another.'}
    found = []
    for (cause, column), count in sample.rejected.items():
        example = sample.examples.get((cause, column.partition(" and ")[0]), "the first")
        text = texts.get(cause, other) if column else unplaced.get(cause, whole)
        detail = text.format(count=count, column=column, example=example)
        fix = fixes.get(cause, "Correct the data, or say in [data] how it is written.")
        found.append(Misfit("error", cause, column or cause, detail, fix))
    return found
