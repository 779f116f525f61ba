"""Results compared with what came: the column of the data that [judge] names, matched by partition and
time.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_columns
from fleetscore.schemas import JUDGED
from fleetscore.sources import ColumnKind, TimeRange, read_files
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import RunContext, Workload
from fleetscore.workloads.models.discovery import find_files
from fleetscore.workloads.models.rows import key_kinds, numbers_of, partition_keys
from fleetscore.workloads.models.settings import FleetSettings

_MATCH = ["partition", "time", "place"]


def judge_fleet(kind: Workload, store: Store, window: Window, results: pa.Table) -> pa.Table:
    """JUDGED rows: the mean absolute error of each partition's results, of classes the share of wrong ones.

    Only rows whose actual is there count; none for a partition without any. InputError where the settings
    name no actual, or the results have nothing to match it by.
    """
    settings: FleetSettings = kind.settings
    check_judging(kind.name, settings)
    if not results.num_rows:
        return JUDGED.empty_table()
    predicted = _matchable(results, settings).append_column("predicted", results[settings.models.outputs[0]])
    both = predicted.join(_actuals(kind, store, window), _MATCH, join_type="inner").combine_chunks()
    return _losses(both.filter(pc.and_(_is_there(both["actual"]), _is_there(both["predicted"]))))


def _is_there(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_number = pa.types.is_floating(column.type)
    return pc.fill_null(pc.is_finite(column), False) if is_number else pc.is_valid(column)


def check_judging(workload: str, settings: FleetSettings) -> None:
    """InputError where the settings do not say what came, or the results cannot be matched with it."""
    path = f"settings/{workload}.toml"
    if not settings.judge.actual:
        raise InputError(
            f"{path} does not say what came.",
            fix='Add [judge] with actual = "COLUMN", a column of the data.',
            field="judge.actual",
        )
    if len(settings.models.outputs) != 1:
        raise InputError(
            f"The results have {len(settings.models.outputs)} outputs; one can be compared with what came.",
            fix="Name one output.", field="models.output",
        )  # fmt: skip
    if not settings.data.time or settings.data.time not in settings.data.keep:
        raise InputError(
            "The results do not hold the time of their rows, so nothing says which actual belongs to which.",
            fix=f'Add the time column to keep in [data]: keep = ["{settings.data.time or "TIME"}"].', field="data.keep",
        )  # fmt: skip


def _actuals(kind: Workload, store: Store, window: Window) -> pa.Table:
    """Partition, time, place among rows of both, and the actual, of the window's rows as they are now."""
    settings: FleetSettings = kind.settings
    data = settings.source
    files = find_files(RunContext(store, kind, window, Pins())).files
    is_number = settings.models.output_type == "number"
    kinds = key_kinds(settings) | {settings.judge.actual: ColumnKind.NUMBER if is_number else ColumnKind.ANY}
    reading = read_files(store, files, data, kinds, TimeRange(window.start, window.end))
    if reading.faults and not reading.table.num_rows:
        raise next(iter(reading.faults.values()))
    rows = reading.table
    named = pa.table({"partition": partition_keys(rows, settings), "time": rows[settings.data.time]})
    return _placed(named).append_column("actual", _actual_column(rows[settings.judge.actual], settings))


def _actual_column(column: pa.ChunkedArray, settings: FleetSettings) -> pa.ChunkedArray:
    """The actuals as the output is: numbers, or texts with whole numbers without a point."""
    is_number = pa.types.is_floating(column.type)
    if settings.models.output_type == "number":
        return pa.chunked_array([pa.array(numbers_of(column), from_pandas=True)])
    whole = is_number and pc.all(pc.equal(pc.floor(column), column), min_count=0).as_py()
    return pc.cast(pc.cast(column, pa.int64()) if whole else column, pa.string())


def _matchable(results: pa.Table, settings: FleetSettings) -> pa.Table:
    keys = pa.chunked_array(join_columns([results[name] for name in settings.partition]))
    return _placed(pa.table({"partition": keys, "time": results[settings.data.time]}))


def _placed(table: pa.Table) -> pa.Table:
    """The table with the place of each row among those of its partition and time, in their order."""
    codes = [
        np.unique(table[name].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1]
        for name in table.column_names
    ]
    order = np.lexsort((np.arange(table.num_rows), *reversed(codes)))
    sorted_codes = [code[order] for code in codes]
    is_new = (
        np.r_[True, np.any([code[1:] != code[:-1] for code in sorted_codes], axis=0)]
        if len(order)
        else np.empty(0, bool)
    )
    starts = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - starts
    return table.append_column("place", pa.array(place))


def _losses(both: pa.Table) -> pa.Table:
    if pa.types.is_string(both["predicted"].type):
        loss = pc.cast(pc.not_equal(both["predicted"], both["actual"]), pa.float64())
    else:
        loss = pc.abs(pc.subtract(both["predicted"], both["actual"]))
    sums = (
        pa.table({"partition": both["partition"], "loss": loss})
        .group_by("partition")
        .aggregate([("loss", "mean"), ("loss", "count")])
    )
    return pa.table([sums["partition"], sums["loss_mean"], sums["loss_count"]], schema=JUDGED)
