"""The rows that a fleet's models are trained on: by key, in the order of time, with target and features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError, InputError
from fleetscore.models.packs.bundle import Bundle
from fleetscore.records import InputFile
from fleetscore.sources import ColumnKind, NamedSpan, land, list_inputs, list_landings, read_table
from fleetscore.workload import RunContext
from fleetscore.workloads.models.estimator_names import is_classifier
from fleetscore.workloads.models.fitting import KeyRows
from fleetscore.workloads.models.key_counts import WindowCounts, count_keys
from fleetscore.workloads.models.rows import key_kinds, model_keys, numbers_of
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import PASS, FleetSettings

KEY_OF_ALL = "default"
"""How the one model of all is called where models are trained, as its file is where models are imported."""

KEY_COLUMN = "key of the model"


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """All rows of a shard's keys, sorted by key and time: rows [offsets[i], offsets[i + 1]) are those of
    keys[i].
    """

    table: pa.Table
    keys: list[str]
    offsets: list[int]
    faults: dict[str, FileError]
    lost: dict[str, dict[str, int]] = field(default_factory=dict)  # by key: rows in files that cannot be read

    def loss_of(self, key: str) -> tuple[str, str]:
        """Cause and detail of a key that is trained without its rows in files that cannot be read; "" twice
        where there are none.
        """
        files = self.lost.get(key)
        if not files:
            return "", ""
        path = next(iter(files))
        more = f", and those of {len(files) - 1} more files" if len(files) > 1 else ""
        error = self.faults[path]
        return error.code, f"Trained without its {files[path]} rows in {path}{more}: {error.message}"

    def __iter__(self) -> Iterator[tuple[str, pa.Table]]:
        """Each key with its rows."""
        for at, key in enumerate(self.keys):
            yield key, self.table.slice(self.offsets[at], self.offsets[at + 1] - self.offsets[at])


def training_span(run: RunContext) -> NamedSpan:
    """The span of time that the training reads, by the name of its landing and its counts."""
    first, end = run.span
    return NamedSpan(f"train-{first.key}-{end.key}", first.start, end.start)


def find_training_files(run: RunContext) -> tuple[tuple[InputFile, ...], tuple[str, ...]]:
    """The span's files, as the plan has them or else listed, or landed now from a database, and remarks."""
    settings: FleetSettings = run.settings
    if run.inputs:
        return run.inputs, ()
    if settings.data.database:
        listing = list_landings(land(run.store, settings.source, run.workload, training_span(run)))
    else:
        listing = list_inputs(run.store, settings.source, training_span(run))
    return listing.files, listing.remarks()


def count_training_rows(run: RunContext, files: Sequence[InputFile]) -> WindowCounts:
    """Rows by file, partition and key, counted once for each version of a file."""
    span = training_span(run)
    return count_keys(run.store, run.workload, span.key, run.settings, files, span)


def named_keys(keys: pa.ChunkedArray, settings: FleetSettings) -> pa.ChunkedArray:
    """The keys as training names them."""
    if settings.key_patterns[0]:
        return keys
    return pa.chunked_array([pa.repeat(KEY_OF_ALL, len(keys))])


def training_features(settings: FleetSettings, base: Bundle | None) -> tuple[str, ...]:
    """The features to learn from: those of the settings, else those of the models in use; never the
    target.
    """
    if base is None and not settings.data.features:
        raise InputError(
            "Nothing names the features.", fix='Add features = ["..."] to [data].', field="features"
        )
    features = settings.data.features or model_features(base, settings)  # type: ignore[arg-type]  # one of them is there
    if settings.train.target in features:
        raise InputError(
            f"{settings.train.target} is target and feature.",
            fix="Take it out of features in [data].",
            field="train.target",
        )
    return features


def read_training_rows(run: RunContext, keys: Sequence[str], features: Sequence[str]) -> TrainingRows:
    """The rows of the keys, file by file, so that no more than they are held; a file that cannot be read
    costs its rows only.
    """
    settings: FleetSettings = run.settings
    data = settings.source
    kinds = (
        key_kinds(settings)
        | dict.fromkeys(features, ColumnKind.NUMBER)
        | {settings.train.target: ColumnKind.ANY if is_classifier(settings.train) else ColumnKind.NUMBER}
    )
    wanted, tables, faults = pa.array(keys, pa.string()), [], {}
    files, counted = _files_of(run, wanted)
    for file in files:
        try:
            table = read_table(run.store, file, data, kinds, training_span(run)).table
        except FileError as error:
            faults[file.path] = error
            continue
        key = named_keys(model_keys(table, settings.key_patterns[0]), settings)
        table = table.append_column(KEY_COLUMN, key)
        tables.append(table.filter(pc.is_in(key, value_set=wanted)))
    found = _sorted(
        pa.concat_tables(tables, promote_options="permissive") if tables else None, settings, faults
    )
    return replace(found, lost=_lost_rows(counted, faults))


def _lost_rows(counted: pa.Table, faults: dict[str, FileError]) -> dict[str, dict[str, int]]:
    """The rows of each key, by file, in files that cannot be read although their keys could be counted."""
    unread = counted.filter(pc.is_in(counted["path"], value_set=pa.array(list(faults), pa.string())))
    lost: dict[str, dict[str, int]] = {}
    for row in unread.to_pylist():
        files = lost.setdefault(row["key"], {})
        files[row["path"]] = files.get(row["path"], 0) + row["rows"]
    return lost


def rows_of_key(table: pa.Table, features: Sequence[str], settings: FleetSettings, is_text: bool) -> KeyRows:
    """A key's rows that can be learned from: with a target, and with features as [expect] missing says."""
    x = np.column_stack([numbers_of(table[name]) for name in features])
    target = table[settings.train.target]
    fault = _find_target_fault(target, settings.train.target, is_text)
    if fault:
        return KeyRows(x[:0], np.empty(0), table.num_rows, fault=fault)
    y, known = _targets(target, is_text)
    known_targets = bool(known.any())
    policy = settings.expect.missing
    if isinstance(policy, (int, float)):
        x = np.where(np.isnan(x), policy, x)
    elif policy != PASS:
        known &= ~np.isnan(x).any(axis=1)
    known &= ~np.isinf(x).any(axis=1)
    without = (
        ""
        if is_text or known_targets
        else f"None of {table.num_rows} rows has a number in the target {settings.train.target}."
    )
    return KeyRows(np.ascontiguousarray(x[known]), y[known], table.num_rows, without=without)


def _files_of(run: RunContext, keys: pa.StringArray) -> tuple[list[InputFile], pa.Table]:
    """The files that have rows of the keys, or that could not be counted; and path, key and rows of these."""
    files = find_training_files(run)[0]
    counts = count_training_rows(run, files)
    named = named_keys(counts.keyed["key_0"], run.settings)
    counted = pa.table({"path": counts.keyed["path"], "key": named, "rows": counts.keyed["rows"]})
    counted = counted.filter(pc.is_in(named, value_set=keys))
    paths = set(counted["path"].to_pylist())
    return [file for file in files if file.path in paths | counts.faults.keys()], counted


def _sorted(table: pa.Table | None, settings: FleetSettings, faults: dict[str, FileError]) -> TrainingRows:
    if table is None:
        return TrainingRows(pa.table({}), [], [0], faults)
    by = [
        (KEY_COLUMN, "ascending"),
        *([(settings.data.time, "ascending")] if settings.data.time else []),
    ]
    table = table.sort_by(by)
    names = table[KEY_COLUMN].to_numpy(zero_copy_only=False)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist()] if len(names) else []
    return TrainingRows(table, [names[at] for at in starts], [*starts, len(names)], faults)


def _find_target_fault(column: pa.ChunkedArray, name: str, is_text: bool) -> str:
    """Why the target is none that the estimator can learn: a classifier learns classes, not numbers with
    fractions.
    """
    if not is_text or not pa.types.is_floating(column.type):
        return ""
    broken = column.filter(pc.and_(pc.is_finite(column), pc.not_equal(pc.floor(column), column)))
    if not len(broken):
        return ""
    return (
        f"The target {name} holds numbers with fractions, such as {broken[0].as_py():g}; a classifier learns classes. "
        "Choose a regressor, or another target."
    )


def _targets(column: pa.ChunkedArray, is_text: bool) -> tuple[np.ndarray, np.ndarray]:
    """The targets and where there is one: numbers, or names of classes, whole numbers without a point."""
    if not is_text:
        numbers = numbers_of(column) if pa.types.is_floating(column.type) else np.full(len(column), np.nan)
        return numbers, np.isfinite(numbers)
    if pa.types.is_floating(column.type):
        whole = pc.all(pc.equal(pc.floor(column), column)).as_py()
        column = pc.cast(column, pa.int64()) if whole else column
    texts = pc.cast(column, pa.string()).to_numpy(zero_copy_only=False).astype(object)
    return texts, np.array([text is not None for text in texts], bool)
