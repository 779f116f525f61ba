"""Discovery: the stores with data and those that the model covers, and which of them cannot or need not be
forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_key
from fleetscore.records import Outcome
from fleetscore.schemas import PARTITIONS
from fleetscore.sources import Listing, RejectTally
from fleetscore.typed_json import decode_json
from fleetscore.windows import Cadence, Window
from fleetscore.workload import Partitions, Remark, RunContext
from fleetscore.workloads.store_sales.contract import (
    LOOKBACK_WEEKS,
    QUANTILE_NAMES,
    STORES_FILE,
    Cause,
    StoreSalesSettings,
)
from fleetscore.workloads.store_sales.countries import require_country_column
from fleetscore.workloads.store_sales.holiday_weeks import calendar_of
from fleetscore.workloads.store_sales.input_files import UsableFiles, list_files, usable_files
from fleetscore.workloads.store_sales.landed_weeks import land_training_weeks, land_window_weeks
from fleetscore.workloads.store_sales.weeks import names_iso_week

_CELL_BYTES = 8
_RECENT_WEEKS = 13
"""A store without a future that sold within so many weeks is late; one that did not is discontinued."""

_SHOWN = 3  # weeks in a message


@dataclass(frozen=True, slots=True)
class WeeksSeen:
    """How many rows each store has in each week: stores x weeks from `first_week` on, in history and
    future.
    """

    stores: tuple[str, ...]
    first_week: int
    history: NDArray[np.int64]
    future: NDArray[np.int64]
    remarks: tuple[Remark, ...]  # on rows that belong to no store


def discover_window(run: RunContext) -> Partitions:
    """Every store with rows in the lookback or the weeks to forecast, and every store that the current
    model was trained on.
    """
    store, settings = run.store, run.settings
    listing = find_window_files(run)
    files = usable_files(store, listing.files, settings)
    first, origin = run.window.ordinal - LOOKBACK_WEEKS, run.window.ordinal
    seen = _count_weeks(files, run.window, first, origin + settings.steps)
    rows = [_settle(seen, i, origin, settings, run.pins) for i in range(len(seen.stores))]
    known = set(seen.stores)
    rows += [_absent(name, files, run.pins) for name in _model_stores(run) if name not in known]
    passed_over = [Remark("passed_over", text) for text in listing.remarks()]
    faults = [Remark("unusable_file", text) for text in files.faults]
    return Partitions(_table(rows), files.inputs(), (*passed_over, *faults, *seen.remarks))


def discover_training(run: RunContext) -> Partitions:
    """One partition per quantile: each has a forest of its own, all over the same history."""
    settings: StoreSalesSettings = run.settings
    calendar_of(settings, run.span[0].cadence)  # an unknown country is refused before anything is trained
    files = usable_files(run.store, find_training_files(run).files, settings)
    if not files.history:
        raise InputError(
            f"There is no usable history to train on. {' '.join(files.faults)}".strip(),
            fix=f"Put history.csv or history.parquet under {settings.folder}.",
            field="data",
        )
    require_country_column(files)
    rows = min(settings.training_rows, 3 * sum(file.size_bytes for file, _ in files.history) // 30)
    expected = Partitions.table(list(QUANTILE_NAMES), rows=rows, size_bytes=rows * 8 * _CELL_BYTES)
    return Partitions(expected, files.inputs(), files.faults)


def find_window_files(run: RunContext) -> Listing:
    """The files of history and future: listed, or the one that the window's weeks are landed in."""
    if run.settings.data.database:
        return land_window_weeks(run)
    return list_files(run.store, run.settings, run.workload)


def find_training_files(run: RunContext) -> Listing:
    """The files of the history: listed, or the one that the training's weeks are landed in."""
    if run.settings.data.database:
        return land_training_weeks(run)
    return list_files(run.store, run.settings, run.workload)


def stores_in(files: UsableFiles, first: Window, stop: Window) -> tuple[str, ...]:
    """The stores with history rows in [first, stop), sorted by name."""
    seen = _count_weeks(files, first, first.ordinal, stop.ordinal)
    return tuple(sorted(name for name, rows in zip(seen.stores, seen.history, strict=True) if rows.any()))


def _settle(
    seen: WeeksSeen, index: int, origin: int, settings: StoreSalesSettings, pins: Pins
) -> dict[str, object]:
    name = seen.stores[index]
    key = join_key([name])
    model = pins.version_for(key)
    past = seen.history[index, : origin - seen.first_week]
    ahead = seen.future[index, origin - seen.first_week :] + seen.history[index, origin - seen.first_week :]
    rows = int(past.sum() + ahead.sum())
    outcome, cause, detail = _judge(past, ahead, settings)
    if not outcome and not model:
        outcome, cause, detail = (
            Outcome.SKIPPED,
            Cause.NO_MODEL,
            "No model set is pinned; run `fleetscore train`.",
        )
    return _row(key, rows, model, outcome, cause, detail)


def _judge(
    past: NDArray[np.int64], ahead: NDArray[np.int64], settings: StoreSalesSettings
) -> tuple[str, str, str]:
    """Outcome, cause and detail of a store by its weeks; "" where it is to be scored."""
    weeks = np.flatnonzero(past)
    silent = len(past) - 1 - int(weeks[-1]) if len(weeks) else len(past)
    if not ahead.any():
        if silent < _RECENT_WEEKS:
            return (
                Outcome.LATE,
                Cause.NO_FUTURE,
                f"No row in the {settings.steps} weeks to forecast; put them under the future's path.",
            )
        return (
            Outcome.SKIPPED,
            Cause.DISCONTINUED,
            f"No row in the weeks to forecast, and none in the last {silent} weeks.",
        )
    if len(weeks) and silent > settings.max_stale_weeks:
        return (
            Outcome.LATE,
            Cause.STALE_HISTORY,
            f"The last {silent} weeks before the window are missing; at most {settings.max_stale_weeks} may (max_stale_weeks).",
        )
    return "", "", ""


def _absent(name: str, files: UsableFiles, pins: Pins) -> dict[str, object]:
    detail = "The model covers this store, the data has no row of it."
    if files.faults:
        detail += f" Its rows may lie in a file that cannot be used: {files.faults[0]}"
    key = join_key([name])
    return _row(key, 0, pins.version_for(key), Outcome.LATE, Cause.NO_DATA, detail)


def _row(key: str, rows: int, model: str, outcome: str, cause: str, detail: str) -> dict[str, object]:
    values = (key, rows, rows * 8 * _CELL_BYTES, model, str(outcome), str(cause), detail)
    return dict(zip(PARTITIONS.names, values, strict=True))


def _table(rows: list[dict[str, object]]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: str(row["partition"]))
    columns: dict[str, Any] = {name: [row[name] for row in ordered] for name in PARTITIONS.names}
    return Partitions.table(**columns)


def _count_weeks(files: UsableFiles, window: Window, first: int, stop: int) -> WeeksSeen:
    index: dict[str, int] = {}
    tally = [np.zeros((0, stop - first), np.int64) for _ in range(2)]
    rows = readable = nameless = 0
    remarks: list[Remark] = []
    texts: dict[str, None] = {}
    for role, listed in enumerate((files.history, files.future)):
        for file, _ in listed:
            rejects = RejectTally()
            for batch in files.reader.keys(file, window.cadence, rejects):
                codes = np.array([_index_of(v, index) for v in batch.store.values] + [-1], np.int64)[
                    batch.store.codes
                ]
                nameless += int((codes < 0).sum())
                rows, readable = rows + len(codes), readable + int((batch.week >= 0).sum())
                tally[role] = _tallied(tally[role], codes, batch.week - first, len(index))
                texts |= dict.fromkeys(batch.week_texts[: _SHOWN - len(texts)])
            remarks += [
                Remark("rejected_rows", text) for text in rejects.of(pa.table({})).sentences(file.path)
            ]
    if rows and not readable:
        raise _other_weeks(window, tuple(texts))
    if nameless:
        remarks.append(Remark("rows_without_store", f"{nameless} rows have no store and were left out."))
    none = np.empty(0, np.int64)
    history, future = (_tallied(t, none, none, len(index)) for t in tally)
    return WeeksSeen(tuple(index), first, history, future, tuple(remarks))


def _other_weeks(window: Window, texts: Sequence[str]) -> InputError:
    fix = "Name the window as the data names its weeks: 2026-W47 for ISO weeks and dates, 108 for plain numbers."
    numbers = [text for text in texts if names_iso_week(text)]
    if numbers and window.cadence is Cadence.INDEX:
        fix = f"{numbers[0]} is a year and a week: name the window {numbers[0][:4]}-W{numbers[0][4:]}."
    return InputError(
        f"No week of the data, such as {', '.join(texts)}, is of the form of window {window.key}.",
        fix=fix,
        field="window",
    )


def _index_of(name: str, index: dict[str, int]) -> int:
    return index.setdefault(name, len(index)) if name else -1


def _tallied(
    tally: NDArray[np.int64], codes: NDArray[np.int64], weeks: NDArray[np.int64], stores: int
) -> NDArray[np.int64]:
    """The counts with these rows added, and with a row for every store."""
    width = tally.shape[1]
    inside = (codes >= 0) & (weeks >= 0) & (weeks < width)
    added = np.bincount(codes[inside] * width + weeks[inside], minlength=stores * width)
    out = added.reshape(stores, width)
    out[: len(tally)] += tally
    return out


def _model_stores(run: RunContext) -> tuple[str, ...]:
    store = run.store
    if not run.pins.current:
        return ()
    model_set = read_model_set(store, run.workload, run.pins.current)
    if STORES_FILE not in model_set.files:
        return ()  # an imported set was trained elsewhere
    return decode_json(read_model_file(store, model_set, STORES_FILE), tuple[str, ...])
