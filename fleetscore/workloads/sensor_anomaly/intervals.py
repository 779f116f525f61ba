"""Intervals: the line `aggregate` of [data], by which a sensor's readings of each interval become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fleetscore.sources.settings import seconds_of
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

_LARGEST = float(np.finfo(np.float64).max)
_REDUCED: Mapping[str, Callable[[Floats, Int64s, Int64s], Floats]] = {
    "mean": lambda value, first, rows: np.add.reduceat(value, first) / rows,
    "sum": lambda value, first, _: np.add.reduceat(value, first),
    "min": lambda value, first, _: np.minimum.reduceat(value, first),
    "max": lambda value, first, _: np.maximum.reduceat(value, first),
    "first": lambda value, first, _: value[first],
    "last": lambda value, first, rows: value[first + rows - 1],
    "count": lambda _, __, rows: rows.astype(np.float64),
}


def check_aggregate(aggregate: Mapping[str, str], value_column: str, step_us: int) -> None:
    """ValueError, naming the line, for an `aggregate` that this kind cannot carry out.

    An interval that does not divide the step in which windows are cut would be cut by a window's bounds, and
    each part of it be taken for the whole.
    """
    if not aggregate:
        return
    every_s = seconds_of(aggregate["every"])
    if step_us % (every_s * 1_000_000):
        step, example = ("the hour", "1h") if step_us == HOUR_US else ("the 15 minutes", "15min")
        raise ValueError(
            f"aggregate.every is {aggregate['every']!r}; for sensor_anomaly it must divide {step} of a window, "
            f"as 30s, 1min, 5min or {example} do"
        )
    columns = sorted(aggregate.keys() - {"every"})
    if len(columns) != 1 or columns[0] not in {"value", value_column}:
        raise ValueError(
            f"aggregate has a statistic of {', '.join(columns)}; for sensor_anomaly it must have one, of value"
        )


def aggregate_readings(
    time_us: Int64s, value: Floats, counts: Int64s, aggregate: Mapping[str, str]
) -> tuple[Int64s, Floats, Int64s]:
    """One reading per partition and interval, at the interval's start, and how many each partition has.

    Readings are sorted by partition, then time, `counts[i]` of partition i. Intervals begin at multiples of
    their length since 1970, UTC.
    """
    if not aggregate or not len(time_us):
        return time_us, value, counts
    [how] = (how for name, how in aggregate.items() if name != "every")
    start_us = time_us - time_us % (seconds_of(aggregate["every"]) * 1_000_000)
    code = np.repeat(np.arange(len(counts)), counts)
    begins = np.ones(len(time_us), bool)
    begins[1:] = (start_us[1:] != start_us[:-1]) | (code[1:] != code[:-1])
    first = np.flatnonzero(begins)
    rows = np.diff(first, append=len(time_us))
    with np.errstate(over="ignore"):
        reduced = _REDUCED[how](value, first, rows)
    finite = np.clip(reduced, -_LARGEST, _LARGEST)  # a sum too large for a float stays a reading, and extreme
    return start_us[first], finite, np.bincount(code[first], minlength=len(counts))
