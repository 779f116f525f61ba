"""Discovery: the expected partitions of a window are the sensors with readings in it and the sensors with a
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_key
from fleetscore.records import NOT_DUE, InputFile, Outcome
from fleetscore.runs.normal_marks import list_normal_events
from fleetscore.sources import Listing, find_span_inputs
from fleetscore.store.paths import carried_state_prefix
from fleetscore.workload import Partitions, Remark, RunContext
from fleetscore.workloads.sensor_anomaly.catalog import catalog_files, date_files, files_ahead
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US
from fleetscore.workloads.sensor_anomaly.detect.horizon import HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.entries import CatalogFile, count_readings
from fleetscore.workloads.sensor_anomaly.expectations import find_few, without_slow
from fleetscore.workloads.sensor_anomaly.fitted import ModelIndex, read_indices
from fleetscore.workloads.sensor_anomaly.marked_readings import find_marked_inputs, is_held
from fleetscore.workloads.sensor_anomaly.normal_events import remark_unlearned, spans_by_partition
from fleetscore.workloads.sensor_anomaly.pace import counts_before, find_not_due
from fleetscore.workloads.sensor_anomaly.source_input import span_of
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

ROW_BYTES = 24
"""Time, value, and the codes of device and sensor of a reading in memory."""

_AHEAD_US = 86_400_000_000  # clocks differ, and a zone may be wrong: a day is not worth a word
_TOLD_FILES = 5  # with a sentence each on their rows
_NO_READINGS = "It has a model, but no reading in the window."
_NOT_DUE = "It reports less often than every window, and by its usual pace no reading was due in this one."
_NO_MODEL = (
    "It has readings, but the model set has no model for it yet; train it, or pin a version that has one."
)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time, exactly."""
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def span_us(run: RunContext) -> tuple[int, int]:
    """The span of data time that the run reads, in microseconds since 1970, the end exclusive; InputError
    where its bounds lie between the steps by which readings are counted.
    """
    span = microseconds(run.span[0].start), microseconds(run.span[1].start)
    if any(moment_us % run.settings.step_us for moment_us in span):
        raise InputError(
            f"{run.window.key} does not begin and end at whole quarters of an hour in UTC.",
            fix='Set window = "hour", or another timezone.',
            field="window",
        )
    return span


def discover_window(run: RunContext) -> Partitions:
    """The expected partitions of the window, and one for each file that cannot be assigned; see
    docs/workloads/sensor_anomaly.md.
    """
    span = span_us(run)
    indices = read_indices(run.store, run.workload, run.pins)
    since = span[0] - _history_us(indices.values(), span[0])
    reads = span_of(since, span[1])
    listing = find_span_inputs(run.store, run.settings.source, run.workload, reads, run.window)
    files = catalog_files(run.store, listing.files, run.settings, *span)
    dated = date_files(run.store, listing.files, run.settings)
    inputs = [file for file, (first_us, last_us) in dated if first_us < span[1] and last_us >= since]
    keys, rows = count_readings(files, *span)
    silent = _silent(keys, run.pins, indices)
    not_due = find_not_due(run, listing.files, silent, *span)
    table = _expected(keys, rows, silent, not_due, run.pins, indices)
    table = pa.concat_tables([table, file_partitions(files, listing)])
    remarks: list[str] = [*_passed_over(listing), *_ahead(run, datetime.now(UTC)), *_of_rows(files)]
    remarks += [index.remark for index in indices.values() if index.remark]
    if not indices:
        remarks.append("No model set is pinned: import or train one; until then nothing is scored.")
    if since < span[0]:
        before = [file for file, (first_us, last_us) in dated if first_us < span[0] and last_us >= since]
        remarks.append(_remark_history(run.workload, before, (span[0] - since) / 86_400e6))
    remarks += _few_readings(run, listing.files, keys, rows)
    return Partitions(table, tuple(inputs), tuple(remarks))


def _passed_over(listing: Listing) -> list[Remark]:
    return [Remark("passed_over", text) for text in listing.remarks()]


def _of_rows(files: Iterable[CatalogFile]) -> list[str]:
    """What the readers said of the files' rows: events captured twice, hours that a zone has twice."""
    told = [f"{one.input.path}: {text}" for one in files for text in one.entry.remarks]
    more = [f"{len(told) - _TOLD_FILES} more files have such rows."] if len(told) > _TOLD_FILES else []
    return told[:_TOLD_FILES] + more


def _ahead(run: RunContext, now: datetime) -> list[Remark]:
    """Names the files with readings that are later than the present by more than a day."""
    latest = files_ahead(run.store, run.settings, microseconds(now) + _AHEAD_US)
    return [
        Remark(
            "clock_ahead",
            f"{path}: its latest reading is of {datetime.fromtimestamp(last_us / 1e6, UTC):%Y-%m-%d %H:%M}, which is "
            "still to come. Correct the sensor's clock.",
        )
        for path, last_us in latest.items()
    ]


def _few_readings(
    run: RunContext, files: Sequence[InputFile], keys: pa.Array, rows: npt.NDArray[np.int64]
) -> list[Remark]:
    """Names the partitions with less than half of the readings that are usual among their like, and of what
    they had on the days before.
    """
    few = find_few(keys.to_pylist(), rows)
    few = without_slow(few, *counts_before(run, files, *span_us(run))) if few else []
    if not few:
        return []
    key, count, usual = few[0]
    more = f" and {len(few) - 1} more" if len(few) > 1 else ""
    noun = "reading" if count == 1 else "readings"
    return [
        Remark("few_readings", f"{key}{more}: {count} {noun}, where {usual:g} are usual in such a window.")
    ]


def _history_us(indices: Iterable[ModelIndex], start_us: int) -> int:
    """How far before the window its detectors read, in microseconds; 0 without detectors."""
    return start_us % HOUR_US + HORIZON_BINS * BIN_US if any(index.detectors for index in indices) else 0


def _remark_history(workload: str, before: Sequence[InputFile], days: float) -> str:
    """Names the readings before the window that its results depend on, by a digest of the versions of their
    files.
    """
    digest = hashlib.sha256("".join(f"{file.path}\n{file.etag}\n" for file in before).encode()).hexdigest()
    return (
        f"Detectors read the {days:.0f} days before the window: {len(before)} files, versions {digest[:12]}. What is "
        f"computed from them is kept by these versions in {carried_state_prefix(workload)}."
    )


def discover_training_span(run: RunContext) -> Partitions:
    """The sensors with readings in the run's span, one model each; those with too few readings are
    skipped.
    """
    span, settings = span_us(run), run.settings
    listing = find_span_inputs(run.store, settings.source, run.workload, span_of(*span))
    files = catalog_files(run.store, listing.files, settings, *span)
    keys, rows = count_readings(files, *span)
    few = rows < settings.train_rows_min
    details = [f"It has {n} readings; training takes {settings.train_rows_min}." for n in rows[few]]
    table = Partitions.table(
        keys,
        rows=rows,
        size_bytes=rows * ROW_BYTES,
        outcome=_where(few, Outcome.SKIPPED),
        cause=_where(few, "too_few_readings"),
        detail=_spread(few, details),
    )
    table = pa.concat_tables([table, file_partitions(files, listing)])
    around, passed_by = _marked_as_normal(run, set(keys.filter(pa.array(~few)).to_pylist()), span)
    inputs = {file.path: file for file in (*_readable(files), *around)}
    return Partitions(table, tuple(inputs.values()), (*listing.remarks(), *passed_by))


def _marked_as_normal(
    run: RunContext, trained: set[str], span: tuple[int, int]
) -> tuple[list[InputFile], list[Remark]]:
    """The files around the trained sensors' events that are marked as normal and lie outside of the span,
    and a remark where events cannot be learned.
    """
    events = list_normal_events(run.store, run.workload, datetime.now(UTC))
    marks = spans_by_partition(event for event in events if event.partition in trained)
    files, there = find_marked_inputs(run, marks, span)
    held = {(key, one) for key, own in marks.items() for one in own if is_held(one, span)}
    return files, remark_unlearned(events, held | there)


def file_partitions(files: Sequence[CatalogFile], listing: Listing) -> pa.Table:
    """One failed partition, named by its path, for each file that cannot be read or has rows that belong to
    no window or sensor.
    """
    rows = [
        (p.path, 0, p.cause, f"{p.path}: {p.detail}") for p in listing.passed_over if p.cause == "empty_file"
    ]
    for file in files:
        entry = file.entry
        if entry.cause:
            rows.append((file.input.path, 0, entry.cause, entry.detail))
        elif entry.rejected:
            examples = "; ".join(
                f"{r.place}: {r.cause}" + (f" {r.text!r}" if r.text else "") for r in entry.rejects
            )
            detail = f"{entry.rejected} rows of {file.input.path} belong to no window or sensor ({examples})."
            rows.append((file.input.path, entry.rejected, entry.rejects[0].cause, detail))
    paths, counts, causes, details = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Partitions.table(
        [join_key([path]) for path in paths],
        rows=counts,
        outcome=Outcome.FAILED,
        cause=causes,
        detail=details,
    )


def _readable(files: Sequence[CatalogFile]) -> tuple[Any, ...]:
    return tuple(file.input for file in files if file.entry.span_us is not None)


def _silent(data_keys: pa.Array, pins: Pins, indices: dict[str, ModelIndex]) -> pa.Array:
    """The partitions with a model in the version that they use and without readings."""
    model_keys = [_pinned_keys(index, pins) for index in indices.values()]
    silent = [keys.filter(pc.invert(pc.is_in(keys, data_keys))) for keys in model_keys]
    return pa.concat_arrays([data_keys.slice(0, 0), *(keys.cast(data_keys.type) for keys in silent)])


def _expected(
    data_keys: pa.Array, data_rows: npt.NDArray[np.int64], silent: pa.Array, not_due: pa.Array, pins: Pins,
    indices: dict[str, ModelIndex],
) -> pa.Table:  # fmt: skip
    keys = pa.concat_arrays([data_keys, silent])
    rows = np.concatenate([data_rows, np.zeros(len(keys) - len(data_keys), np.int64)])
    order = pc.array_sort_indices(keys)
    keys, rows = keys.take(order), rows[order.to_numpy()]
    versions = _versions(keys, pins)
    known = np.zeros(len(keys), bool)
    broken = np.zeros(len(keys), bool)
    for version, index in indices.items():
        mine = pc.equal(versions, version).to_numpy(zero_copy_only=False)
        known |= mine & pc.is_in(keys, index.keys).to_numpy(zero_copy_only=False)
        broken |= mine & (index.error is not None)
    absent, skipped = rows == 0, (rows > 0) & ~known & ~broken
    details = np.full(len(keys), "", object)
    causes = np.full(len(keys), "", object)
    outcomes = np.full(len(keys), "", object)
    for mask, outcome, cause, detail in (
        (absent, Outcome.LATE, "no_readings", _NO_READINGS),
        (pc.is_in(keys, not_due).to_numpy(zero_copy_only=False), Outcome.SKIPPED, NOT_DUE, _NOT_DUE),
        (skipped, Outcome.SKIPPED, "no_model", _NO_MODEL),
    ):
        outcomes[mask], causes[mask], details[mask] = str(outcome), cause, detail
    for row in np.flatnonzero(broken & ~absent).tolist():
        error = indices[versions[row].as_py()].error
        assert error is not None  # noqa: S101 - that is what broken means
        outcomes[row], causes[row], details[row] = str(Outcome.FAILED), error.code, str(error)
    versions = pc.if_else(pa.array(skipped), "", versions)
    return Partitions.table(
        keys,
        rows=rows,
        size_bytes=rows * ROW_BYTES,
        model=versions,
        outcome=outcomes,
        cause=causes,
        detail=details,
    )


def _pinned_keys(index: ModelIndex, pins: Pins) -> pa.Array:
    """The partitions of a version that are pinned to it."""
    return index.keys.filter(pc.equal(_versions(index.keys, pins), index.version))


def _versions(keys: pa.Array, pins: Pins) -> pa.Array:
    """The model-set version of each partition."""
    versions = pa.repeat(pa.scalar(pins.current, pa.string()), len(keys))
    if not pins.partitions or not len(keys):
        return versions
    own = pa.array(list(pins.partitions), pa.string())
    place = pc.index_in(keys, own)
    return pc.coalesce(pa.array(list(pins.partitions.values()), pa.string()).take(place), versions)


def _where(mask: npt.NDArray[np.bool_], text: str) -> Any:
    return np.where(mask, str(text), "").astype(object)


def _spread(mask: npt.NDArray[np.bool_], texts: Sequence[str]) -> Any:
    column = np.full(len(mask), "", object)
    column[mask] = texts
    return column
