"""Readings around events that are marked as normal, where the span of a training does not hold them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.records import InputFile
from fleetscore.sources import find_span_inputs
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file, date_files
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, DAY_BINS, empty_bins, fill_bins
from fleetscore.workloads.sensor_anomaly.detect.model import PATTERN_BINS, PATTERNS
from fleetscore.workloads.sensor_anomaly.entries import count_readings
from fleetscore.workloads.sensor_anomaly.gathering import gather_readings
from fleetscore.workloads.sensor_anomaly.readings import Floats
from fleetscore.workloads.sensor_anomaly.source_input import span_of
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

Span = tuple[int, int]
"""Two times in microseconds since 1970: the first and last of an event, or [first, end) of what is read."""

_DAY_US = DAY_BINS * BIN_US
_BEFORE_DAYS, _AFTER_DAYS = 1, 2  # eight readings before an event and 32 after it, of one that reports hourly
_LONGEST_US = PATTERN_BINS * 3_600_000_000  # no pattern is longer
_log = logging.getLogger("fleetscore.training")


@dataclass(frozen=True, slots=True)
class Marked:
    """An event that is marked as normal: its first and last time, and where the readings of training do not
    hold it, the means of the bins around it from number `first` on.
    """

    span: Span
    first: int = 0
    mean: Floats | None = None


def is_held(event: Span, span: Span) -> bool:
    """Whether readings of [first, end) hold the event and the day before it."""
    return span[0] <= event[0] - _BEFORE_DAYS * _DAY_US and event[1] < span[1]


def surroundings(event: Span) -> Span:
    """The whole days [first, end) whose readings tell an event's course."""
    last = min(event[1], event[0] + _LONGEST_US)
    return (event[0] // _DAY_US - _BEFORE_DAYS) * _DAY_US, (last // _DAY_US + 1 + _AFTER_DAYS) * _DAY_US


def find_marked_inputs(
    run: RunContext, marks: Mapping[str, Sequence[Span]], span: Span
) -> tuple[list[InputFile], set[tuple[str, Span]]]:
    """The files around the events that [first, end) of the training does not hold, each once, and the
    partitions and events that they have readings of.
    """
    files: dict[str, InputFile] = {}
    there: set[tuple[str, Span]] = set()
    outside = {key: [one for one in events if not is_held(one, span)] for key, events in marks.items()}
    for days, own in _by_surroundings(outside).items():
        listing = find_span_inputs(run.store, run.settings.source, run.workload, span_of(*days))
        near = _within(run, listing.files, days)
        files |= {file.path: file for file in near}
        entries = [catalog_file(run.store, file, run.settings) for file in near]
        for key, event in own:
            hours = event[0] // HOUR_US * HOUR_US, (event[1] // HOUR_US + 1) * HOUR_US
            if pc.is_in(pa.scalar(key), count_readings(entries, *hours)[0]).as_py():
                there.add((key, event))
    return list(files.values()), there


def _by_surroundings(marks: Mapping[str, Sequence[Span]]) -> dict[Span, list[tuple[str, Span]]]:
    """The partitions and events by the days around them: events of the same days are read together."""
    found: dict[Span, list[tuple[str, Span]]] = {}
    for key, events in marks.items():
        for event in events:
            found.setdefault(surroundings(event), []).append((key, event))
    return found


def _within(run: RunContext, files: Sequence[InputFile], days: Span) -> list[InputFile]:
    dated = date_files(run.store, files, run.settings)
    return [file for file, (first, last) in dated if first < days[1] and last >= days[0]]


def gather_marked(
    run: RunContext, spans: Mapping[str, Sequence[Span]], span: Span
) -> dict[str, list[Marked]]:
    """The marked events of each partition; of those that [first, end) of the training does not hold, the last
    few with the readings around them.

    An event whose readings cannot be read is left out, with a warning.
    """
    found = {
        key: [Marked(event) for event in events if is_held(event, span)] for key, events in spans.items()
    }
    outside = {
        key: sorted(event for event in events if not is_held(event, span))[-PATTERNS:]
        for key, events in spans.items()
    }
    for days, marks in _by_surroundings(outside).items():
        for key, one in _read_marks(run, days, marks):
            found[key].append(one)
    return found


def _read_marks(run: RunContext, days: Span, marks: Sequence[tuple[str, Span]]) -> list[tuple[str, Marked]]:
    keys = sorted({key for key, _ in marks})
    gathered = gather_readings(
        run.store, _within(run, run.inputs, days), pa.array(keys, pa.string()), run.settings, *days
    )
    for row, error in gathered.lost.items():
        _log.warning("%s: an event that is marked as normal is not learned: %s", keys[row], error)
    bins = empty_bins(len(keys), days[0] // BIN_US, days[1] // BIN_US)
    fill_bins(bins, gathered.time_us, gathered.value, gathered.counts)
    rows = {key: row for row, key in enumerate(keys) if row not in gathered.lost}
    return [(key, Marked(event, bins.first, bins.mean[rows[key]])) for key, event in marks if key in rows]
