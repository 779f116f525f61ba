"""Weeks of a database: the query is given the weeks that a window's forecast reads, its history and the weeks
to forecast alike, and the rows are landed once for each window.
"""

from __future__ import annotations

from datetime import datetime

from fleetscore.errors import InputError, ModelError
from fleetscore.models.model_sets import read_model_set
from fleetscore.records import InputFile
from fleetscore.sources import Landed, Listing, NamedSpan, find_inputs, land, list_landings, read_landed
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import RunContext
from fleetscore.workloads.store_sales.contract import (
    GBM_FILE,
    GBM_LOOKBACK_WEEKS,
    LOOKBACK_WEEKS,
    StoreSalesSettings,
)
from fleetscore.workloads.store_sales.holiday_weeks import plain_shift


def land_window_weeks(run: RunContext) -> Listing:
    """The file with the weeks that the window reads, landed now if it was not; raises as `land`."""
    return find_inputs(run.store, run.settings.source, run.workload, window_weeks(run))


def land_training_weeks(run: RunContext) -> Listing:
    """The file with the weeks that the training reads, landed now: sales are corrected for months."""
    settings: StoreSalesSettings = run.settings
    first, stop = run.span
    reads = settings.training_span_weeks + LOOKBACK_WEEKS
    first = first.next(max(0, stop.ordinal - reads - first.ordinal))
    span = NamedSpan(f"train-{first.key}-{stop.key}", _start_of(first, settings), _start_of(stop, settings))
    return list_landings(land(run.store, settings.source, run.workload, span))


def window_weeks(run: RunContext) -> NamedSpan:
    """The span of time whose rows the window's forecast reads, by the window's key.

    InputError for a plain week number where the settings do not date it.
    """
    settings, window = run.settings, run.window
    first = window.next(-min(_weeks_back(run), window.ordinal))
    end = _start_of(window.next(settings.steps), settings)
    return NamedSpan(window.key, _start_of(first, settings), end)


def newest_weeks(store: Store, settings: StoreSalesSettings, workload: str) -> tuple[InputFile, ...]:
    """The file of the landing that reaches furthest; none before the first one."""
    found = _list_landed(store, settings, workload)
    return tuple(one.file() for one in sorted(found, key=lambda one: (one.end, one.landed))[-1:])


def longest_weeks(store: Store, settings: StoreSalesSettings, workload: str) -> tuple[InputFile, ...]:
    """The file of the landing that holds most weeks; none before the first one."""
    found = _list_landed(store, settings, workload)
    return tuple(one.file() for one in sorted(found, key=lambda one: (one.end - one.start, one.landed))[-1:])


def weeks_of_window(store: Store, workload: str, window: Window) -> tuple[InputFile, ...]:
    """The file that the window's weeks were landed in; none where they were not."""
    landed = read_landed(store, workload, window.key)
    return (landed.file(),) if landed else ()


def _list_landed(store: Store, settings: StoreSalesSettings, workload: str) -> list[Landed]:
    folders = store.list_folders(f"landed/{workload}/")
    found = (read_landed(store, workload, folder.rstrip("/").rpartition("/")[2]) for folder in folders)
    return [one for one in found if one is not None and one.is_of(settings.source)]


def _weeks_back(run: RunContext) -> int:
    """How far back the models in use look."""
    versions = {run.pins.current, *run.pins.partitions.values()} - {""}
    return max((_lookback(run, version) for version in versions), default=LOOKBACK_WEEKS)


def _lookback(run: RunContext, version: str) -> int:
    try:
        files = read_model_set(run.store, run.workload, version).files
    except ModelError:
        return LOOKBACK_WEEKS  # scoring names what is wrong with it
    return GBM_LOOKBACK_WEEKS if GBM_FILE in files else LOOKBACK_WEEKS


def _start_of(window: Window, settings: StoreSalesSettings) -> datetime:
    """The first instant of a week, of a plain number by the date of number 1."""
    if window.cadence is not Cadence.INDEX:
        return window.start
    if not settings.week_one:
        raise InputError(
            f"Window {window.key} is a plain week number, and a query needs dates for :start and :end.",
            fix="Set week_one to the date of a day in week 1, or name windows as 2026-W47.",
            field="week_one",
        )
    dated = window.ordinal + plain_shift(settings.week_one)
    return Window(Cadence.WEEK, dated, settings.timezone).start
