"""The overview and a workload's page as data, read from the index of runs and a few small records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from fleetscore.capabilities import FindsEvents
from fleetscore.errors import FleetscoreError, StoreError
from fleetscore.models.pins import read_pins
from fleetscore.operations.attention.calendar import Calendar, Cell, count_marks, lay_calendar
from fleetscore.operations.attention.lines import AttentionGroup, WorkloadAttention, group_attention
from fleetscore.operations.attention.mutes import Mute, list_mutes
from fleetscore.operations.attention.states import Mark
from fleetscore.operations.due.deadlines import KEPT_DAYS, DeadlineReport, report_deadlines
from fleetscore.operations.due.windows import started_until
from fleetscore.operations.known_workloads import find_named, find_named_workload
from fleetscore.operations.monthly_costs import MonthCost, sum_costs
from fleetscore.pipeline.spellings import speller_of
from fleetscore.records import FINAL
from fleetscore.registry import KnownWorkload
from fleetscore.runs.index import RunLine, RunPage, list_page, list_runs
from fleetscore.runs.ledgers import partitions_with
from fleetscore.runs.manifests import read_latest
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.windows import Cadence, parse_key

_CELLS = {
    Cadence.QUARTER_HOUR: 672,
    Cadence.HOUR: 744,
    Cadence.DAY: 56,
    Cadence.WEEK: 52,
    Cadence.MONTH: 60,
    Cadence.INDEX: 52,
}
"""The windows that are looked at, and that a workload's own page shows: a month of hours, eight weeks of
days, a year of weeks.
"""
_SHOWN = _CELLS | {Cadence.HOUR: 168, Cadence.QUARTER_HOUR: 168}  # of them on the overview
_ALL_CELLS = 600  # on the overview, however many workloads there are
_RETRIES = 1.3  # runs to a window, where there are many
_READS = 4
_RECENT = 12
_PAGE = 50
_LOST_AFTER = timedelta(days=2)  # a run that has not moved for so long is not waited for


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A workload at a glance."""

    name: str
    calendar: Calendar
    marks: Mapping[str, int]  # how many windows of the calendar stand how
    look_at: tuple[AttentionGroup, ...]  # what needs attention: without results first, then the newest
    newest: RunLine | None  # the run of the newest window that was requested last
    published: str  # the newest published window
    models: str  # the current model set
    costs: tuple[MonthCost, ...]  # this month and the last, where runs know what they cost
    deadlines: DeadlineReport | None = None  # where the workload has a deadline
    remarks: tuple[str, ...] = ()
    cadences: tuple[Cadence, ...] = tuple(Cadence)
    broken: str = ""  # why it cannot run
    mutes: tuple[Mute, ...] = ()  # in force
    finds_events: bool = False  # so that there are anomalies to look at


@dataclass(frozen=True, slots=True)
class Overview:
    """All workloads, and the newest runs of any of them."""

    workloads: tuple[WorkloadView, ...]
    recent: tuple[RunLine, ...]
    is_live: bool


@dataclass(frozen=True, slots=True)
class WorkloadPage:
    """A workload with a page of its history."""

    workload: WorkloadView
    history: RunPage
    before: str
    is_live: bool


def read_overview(store: Store, now: datetime) -> Overview:
    """The overview as the index has it; reads no run."""
    known = find_named(store)
    most = max(24, _ALL_CELLS // max(1, len(known)))
    workloads = _read_workloads(store, known, now)
    lines = [line for _, found in workloads for line in found]
    recent = sorted(lines, key=lambda line: (line.requested, line.run), reverse=True)[:_RECENT]
    views = tuple(_shorten(view, most) for view, _ in workloads)
    return Overview(views, tuple(recent), any(is_moving(x, now) for x in lines))


def read_workload_page(store: Store, name: str, before: str, now: datetime) -> WorkloadPage:
    """A workload and the page of its runs before the run `before`; InputError for a name that has neither
    settings nor runs.
    """
    known = find_named_workload(store, name)
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(list_page, store, name, _PAGE, before)
        view, lines = _read_workload(store, known, now)
        history = listed.result()
    return WorkloadPage(view, history, before, not before and any(is_moving(line, now) for line in lines))


def is_moving(line: RunLine, now: datetime) -> bool:
    """Whether the run is worth waiting for."""
    return line.state not in FINAL and now - line.updated < _LOST_AFTER


def read_attention(store: Store, name: str, now: datetime) -> list[WorkloadAttention]:
    """What needs attention, of each workload that has something; of the workload `name` only unless it is
    "".
    """
    known = [find_named_workload(store, name)] if name else find_named(store)
    return list_attention([view for view, _ in _read_workloads(store, known, now)])


def list_attention(workloads: Sequence[WorkloadView]) -> list[WorkloadAttention]:
    """What needs attention, of each workload that has something, or a mute in force."""
    return [
        WorkloadAttention(view.name, view.look_at, view.broken, view.mutes)
        for view in workloads
        if view.look_at or view.broken or view.mutes
    ]


def _shorten(view: WorkloadView, most: int) -> WorkloadView:
    """The workload with its newest windows on the calendar, at most `most`; what to look at stays that of
    all.
    """
    cells = min(most, max(_SHOWN[cadence] for cadence in view.cadences))
    calendar = view.calendar.newest_rows(cells)
    return replace(view, calendar=calendar, marks=count_marks(calendar.cells()))


def _read_workloads(
    store: Store, known: Sequence[KnownWorkload], now: datetime
) -> list[tuple[WorkloadView, Sequence[RunLine]]]:
    return side_by_side(lambda each: _read_workload(store, each, now), known)


def _read_workload(
    store: Store, known: KnownWorkload, now: datetime
) -> tuple[WorkloadView, Sequence[RunLine]]:
    name, workload = known.name, known.workload
    cadences = workload.cadences if workload is not None else tuple(Cadence)
    cells = max(_CELLS[cadence] for cadence in cadences)
    last_month = f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"
    with ThreadPoolExecutor(_READS) as pool:  # a store far away answers them in the time of one
        asked_latest = pool.submit(read_latest, store, name)
        asked_models = pool.submit(_current_models, store, name)
        asked_mutes = pool.submit(_read_mutes, store, name, now)
        lines = list_runs(store, name, int(cells * _RETRIES), since=f"{last_month}-01")
        latest, models = asked_latest.result(), asked_models.result()
        mutes, damage = asked_mutes.result()
    parse = workload.stored_window if workload is not None else parse_key
    after_last = Mark.OVERDUE if known.expects_windows else Mark.MISSING
    started = started_until(known, now)
    calendar = lay_calendar(lines, parse, now, known.policy.watermark_s, cells, after_last, started)
    shown_cells = calendar.cells()
    spell = speller_of(workload) if workload is not None else None
    scored = [line for line in lines if line.purpose == "score"]
    view = WorkloadView(
        name=name,
        calendar=calendar,
        marks=count_marks(shown_cells),
        look_at=group_attention(shown_cells, mutes, partial(partitions_with, store), spell),
        newest=_newest(scored, shown_cells),
        published=latest.window if latest else "",
        models=models,
        costs=_sum_costs(lines, last_month),
        remarks=tuple(text for text in (f"{known.reason} {known.fix}".strip(), damage) if text),
        deadlines=_deadlines(store, known, now),
        cadences=cadences,
        finds_events=isinstance(workload, FindsEvents),
        broken=known.reason or damage,
        mutes=tuple(mutes),
    )
    return view, lines


def _read_mutes(store: Store, name: str, now: datetime) -> tuple[list[Mute], str]:
    """The mutes in force; none, and why, where one of them cannot be read."""
    try:
        return list_mutes(store, name, now), ""
    except StoreError as error:
        if error.retry:
            raise
        return [], str(error)


def _deadlines(store: Store, known: KnownWorkload, now: datetime) -> DeadlineReport | None:
    if not known.policy.deadline or known.workload is None:
        return None
    return report_deadlines(store, known, KEPT_DAYS, now)


def _newest(scored: Sequence[RunLine], cells: Sequence[Cell]) -> RunLine | None:
    """The run of the newest window that ran, which is not the run requested last when a backfill is under
    way.
    """
    run = next((cell.run for cell in reversed(cells) if cell.run), "")
    return next((line for line in scored if line.run == run), None)


def _current_models(store: Store, name: str) -> str:
    with suppress(FleetscoreError):  # the run that needs them reports it
        return read_pins(store, name).current
    return ""


def _sum_costs(lines: Sequence[RunLine], last_month: str) -> tuple[MonthCost, ...]:
    """This month's and the last one's costs, of lines that hold all of both; none where no run has a cost."""
    if all(line.cost_usd is None for line in lines):
        return ()
    return tuple(sum_costs(line for line in lines if f"{line.requested:%Y-%m}" >= last_month))
