"""Preparation as map and reduce: parse what was never parsed, then reduce the months that a request lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fleetscore.errors import BugError
from fleetscore.records import InputFile
from fleetscore.sources import TimeRange, land_span
from fleetscore.store.base import Store
from fleetscore.store.tables import has_table
from fleetscore.workload import MapItem, RunContext
from fleetscore.workloads.server_load.discovery import hours_read
from fleetscore.workloads.server_load.features import LOOKBACK_HOURS
from fleetscore.workloads.server_load.months import moment_of
from fleetscore.workloads.server_load.partials import RECORDS, ROOT, parse_range
from fleetscore.workloads.server_load.peaks import write_hours
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.sources import MonthHours, find_sources, months_of, require_parsed

_HOURS = f"{ROOT}/hours/"
_BYTES_PER_SLOT = 40


def open_items(run: RunContext) -> list[MapItem]:
    """The ranges to parse, and when all are parsed the months to reduce; nothing when the run is prepared."""
    store, settings = run.store, run.settings
    if settings.data.database:
        _land_rows(run)
    sources = find_sources(store, settings, run.workload)
    if sources.unparsed:
        return list(sources.unparsed)
    first, stop = hours_read(run)
    months = months_of(sources.usable, first, stop, settings.buckets)
    return [_reduce_item(month) for month in months if not has_table(store, month.path)]


def _land_rows(run: RunContext) -> None:
    """Land what a run reads of a database and was not landed yet."""
    first, stop = (moment_of(hour) for hour in hours_read(run))
    window = run.window if run.purpose == "score" else None
    land_span(run.store, run.settings.source, run.workload, TimeRange(first, stop), window)


def _reduce_item(month: MonthHours) -> MapItem:
    """A reduce reads many sums; as its one input stands the folder of hours, with the result's name for an
    etag.
    """
    place = InputFile(f"{_HOURS}{month.month.key}", month.path.rpartition("-")[2], month.size_bytes)
    item = f"reduce/{month.month.key}"
    return MapItem(item, place, 0, month.size_bytes, month.path, month.size_bytes // _BYTES_PER_SLOT)


def run_item(run: RunContext, item: MapItem) -> Mapping[str, Any]:
    """Run one item; returns its counts for the run's record."""
    store, settings = run.store, run.settings
    if item.output.startswith(RECORDS):
        record = parse_range(store, item, settings)
        counts = asdict(record.counts)
        return {
            "step": "parse",
            "file": item.input.path,
            "first_byte": item.first_byte,
            "stop_byte": item.stop_byte,
        } | (counts | {"layout": record.layout, "problem": record.problem, "detail": record.detail})
    if not item.output.startswith(_HOURS):
        raise BugError(f"{item.item} is no item of server_load: its output is {item.output}.")
    return _reduce(run, item)


def _reduce(run: RunContext, item: MapItem) -> Mapping[str, Any]:
    """Reduce the month that the item names; when logs came or went since, its output is out of date and is
    not made.
    """
    store, settings = run.store, run.settings
    sources = find_sources(store, settings, run.workload)
    for month in months_of(sources.usable, *_hours_of(item), settings.buckets):
        if month.path == item.output:
            rows = write_hours(store, month.path, month.month, month.sums, settings.buckets)
            return {"step": "reduce", "month": month.month.key, "sums": len(month.sums), "hours": rows}
    return {"step": "reduce", "month": item.output.removeprefix(_HOURS)[:7], "outdated": True}


def _hours_of(item: MapItem) -> tuple[int, int]:
    from fleetscore.workloads.server_load.months import Month

    year, month = item.output.removeprefix(_HOURS)[:7].split("-")
    wanted = Month(int(year), int(month))
    return wanted.first_hour, wanted.stop_hour


def prepare_span(
    store: Store, settings: ServerLoadSettings, workload: str, first_hour: int, stop_hour: int
) -> tuple[InputFile, ...]:
    """Reduce here and now the months that [first_hour, stop_hour) and its lookback lack; the logs must be
    parsed.
    """
    sources = find_sources(store, settings, workload)
    require_parsed(sources)
    inputs = []
    for month in months_of(sources.usable, first_hour - LOOKBACK_HOURS, stop_hour, settings.buckets):
        if not has_table(store, month.path):
            write_hours(store, month.path, month.month, month.sums, settings.buckets)
        entry = store.stat(month.path)
        if entry is None:
            raise BugError(f"{month.path} was just written and is not there.")
        inputs.append(InputFile(entry.path, entry.etag, entry.size_bytes))
    return tuple(inputs)
