"""The watchdog: finds runs whose orchestration died, windows that are overdue, runs that stand still, and
months beyond their budget.

Decisions are functions of what was read; who asks Durable for an orchestration's state is the timer.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from fleetscore.errors import DamagedStateError, FleetscoreError, MissingBlobError
from fleetscore.operations.attention.mutes import OVERDUE, list_mutes, mutes_all
from fleetscore.operations.due.deadlines import DeadlineReport, WindowDeadline, report_deadlines
from fleetscore.operations.due.windows import has_input, list_due, started_until
from fleetscore.operations.known_workloads import find_named
from fleetscore.operations.notices.notice import Notice, links_of_run
from fleetscore.pipeline.budget import month_cost
from fleetscore.pipeline.submit import newest_round
from fleetscore.pipeline.tags import tag_facts
from fleetscore.records import FINAL, Ending, RunRecord, RunState
from fleetscore.registry import KnownWorkload
from fleetscore.runs.index import RunLine, list_runs_since, newest_rounds
from fleetscore.runs.index_files import list_workloads
from fleetscore.runs.run_records import read_run, record_ending
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import run_folder
from fleetscore.windows import Window, parse_key

LOOKS_BACK = timedelta(days=8)
"""Runs that were requested longer ago are past every limit."""

# between the last word of an orchestration and its record, and the other way round
_GRACE = timedelta(minutes=5)
_START_GRACE = timedelta(seconds=20)  # between the record of a run and the start of its orchestration
_MAX_TAKEOVERS = 2
LONGEST_STEP = timedelta(minutes=30)
"""What one activity may take (functionTimeout of host.json); an orchestration waits for nothing longer
without a step.
"""

_log = logging.getLogger("fleetscore.watchdog")
_WITHOUT_HOST = "direct"  # runs in a process of their own have no orchestration, until they are taken over


@dataclass(frozen=True, slots=True)
class Rescue:
    """What is to be done about a run: start its orchestration, take it over with a new one, or close its
    record.
    """

    do: Literal["start", "take_over", "fail"]
    reason: str


def list_open_runs(store: Store, now: datetime) -> list[RunRecord]:
    """The records of all runs that have not ended, of every workload that has runs."""
    day = f"{now - LOOKS_BACK:%Y-%m-%d}"
    lines = [line for name in list_workloads(store) for line in list_runs_since(store, name, day)]
    return _open_records(store, lines)


def list_open_among(store: Store, workload: str, windows: Sequence[str]) -> list[RunRecord]:
    """The records of the newest runs of these windows that have not ended, however long ago they were
    requested.
    """
    newest = newest_rounds(list_runs_since(store, workload, ""))
    return _open_records(store, [newest[window] for window in windows if window in newest])


def judge_orchestration(
    record: RunRecord, status: str, output: str, now: datetime, last_step: datetime | None = None
) -> Rescue | None:
    """What the state of its orchestration means for a run that has not ended; `status` is Durable's word,
    "" for no such instance. The record was read after the status: an orchestration that completed has
    written its end.

    None while it is alive, and for some minutes after the record last changed where there is none: the
    two are never written at the same instant. An orchestration that failed or vanished, or has not made a
    step since `last_step` for twice as long as its longest step may take, loses the run to a new one,
    twice at most; one that a person terminated does not. A process of its own that has the run, where
    nobody sees whether it lives, loses it after the same time.
    """
    if status in ("Terminated", "Canceled"):
        return Rescue("fail", f"Its orchestration is {status}. {output}".strip())
    if status == "Failed":
        return _take_over(record, f"Its orchestration is {status}. {output}".strip())
    stuck = last_step is not None and _age(last_step, now) > 2 * LONGEST_STEP
    if status == "" and record.request.who == _WITHOUT_HOST and not record.takeovers:
        reason = f"The process that had it made no step since {last_step}."
        return _take_over(record, reason) if stuck else None
    if status == "" and record.state is RunState.REQUESTED and _age(record.updated, now) >= _START_GRACE:
        return Rescue("start", "It was requested, but its orchestration was never started.")
    if status == "Completed":
        reason = f"Its orchestration ended while its record says {record.state}. {output}".strip()
        return _take_over(record, reason)
    if _age(record.updated, now) < _GRACE:
        return None
    if status == "":
        return _take_over(record, f"Its orchestration vanished while it was {record.state}.")
    return (
        _take_over(record, f"Its orchestration is {status} without a step since {last_step}.")
        if stuck
        else None
    )


def _take_over(record: RunRecord, reason: str) -> Rescue:
    """A new orchestration for the run, which keeps what is committed, unless two have been lost already."""
    return Rescue("take_over" if record.takeovers < _MAX_TAKEOVERS else "fail", reason)


def _age(moment: datetime, now: datetime) -> timedelta:
    """How long ago it was; what lies far ahead was written before the clock was set back, and is as old."""
    return abs(now - moment)


def find_last_step(store: Store, record: RunRecord, last_updated: datetime | None, now: datetime) -> datetime:
    """When the run last made a step: its record, its newest commit, or the last event of its orchestration.
    Steps ahead of the clock do not count, unless the record is: the clock was set back since.
    """
    entries = store.list(f"{run_folder(record.request.run)}shards/")
    commits = (entry.modified for entry in entries if entry.path.endswith("/result.json"))
    others = [*commits, *([last_updated] if last_updated else [])]
    return max([record.updated, *(moment for moment in others if moment < now + _GRACE)])


def close_run(store: Store, run: str, reason: str, now: datetime) -> RunRecord:
    """Close the record of a run whose orchestration died; one that has ended meanwhile stays as it is."""
    fix = f"Start it again: fleetscore retry {run} --only missing"
    ending = Ending(RunState.FAILED, f"{reason} {fix}")
    facts = {"error_code": "orchestration_lost", **tag_facts(store, read_run(store, run).request.workload)}
    return record_ending(store, run, ending, None, now, facts)


def find_trouble(store: Store, now: datetime) -> list[Notice]:
    """What notices are sent of: runs that stand still, overdue windows, and months beyond their budget;
    workload by workload.
    """

    found = side_by_side(lambda known: _trouble_alone(store, known, now), find_named(store))
    return [notice for notices in found for notice in notices]


def _trouble_alone(store: Store, known: KnownWorkload, now: datetime) -> list[Notice]:
    """What notices are sent of; an error costs this workload its notices of this time, and no other
    workload.
    """
    try:
        return _unmuted(store, known.name, trouble_of(store, known, now), now)
    except FleetscoreError as error:
        _log.error("%s is not watched over this time: %s", known.name, error)
        return []


def _unmuted(store: Store, workload: str, notices: list[Notice], now: datetime) -> list[Notice]:
    """The notices without those of overdue windows where a mute is about these; all where mutes cannot be
    read.
    """
    try:
        mutes = list_mutes(store, workload, now)
    except FleetscoreError as error:
        _log.error("Mutes are passed over: %s", error)
        return notices
    if not mutes_all(OVERDUE, mutes):
        return notices
    return [notice for notice in notices if notice.kind != "window_overdue"]


def list_overdue(known: KnownWorkload, due: Sequence[Window], now: datetime) -> list[Window]:
    """The `due` windows that had to be started `overdue_s` ago: those of a schedule by its ticks."""
    started = started_until(known, now - timedelta(seconds=known.policy.overdue_s))
    watermark = timedelta(seconds=known.policy.watermark_s)
    return [window for window in due if window.end + watermark <= started]


def trouble_of(store: Store, known: KnownWorkload, now: datetime) -> list[Notice]:
    """The same of one workload; reads the index of runs once, and few records. A broken one is reported,
    and so are its runs.
    """
    workload, policy = known.name, known.policy
    has_data = known.workload is not None and has_input(store, known.workload)
    due = (
        list_due(store, known.workload, policy, now)
        if known.workload is not None and has_data and known.expects_windows
        else []
    )
    earliest = min([now.replace(day=1), now - LOOKS_BACK, *(window.start for window in due)])
    lines = list_runs_since(store, workload, f"{earliest:%Y-%m-%d}")
    recent = [line for line in lines if line.requested >= now - LOOKS_BACK]
    found = _broken(known, now)
    for record in _open_records(store, recent):
        found += _stalled(store, record, policy.stalled_s, now)
    if has_data:
        found += _overdue(store, workload, list_overdue(known, due, now), newest_rounds(lines), now)
        found += _over_budget(workload, policy, lines, now)
    if has_data and policy.deadline:
        found += _deadlines(store, known, now)
    return [replace(notice, tags=policy.tags) for notice in found]


def gather_overdue(notices: Sequence[Notice]) -> list[Notice]:
    """For people who read all at once: the windows of a workload that were never started as one, with the
    command that runs them.
    """
    gathered: dict[str, list[Notice]] = {}
    for notice in notices:
        never_started = notice.kind == "window_overdue" and not notice.run
        gathered.setdefault(notice.workload if never_started else notice.id, []).append(notice)
    return [group[0] if len(group) == 1 else _as_one(group) for group in gathered.values()]


def _as_one(never_started: Sequence[Notice]) -> Notice:
    """One notice of many windows of a workload."""
    workload = never_started[0].workload
    windows = sorted(parse_key(notice.window) for notice in never_started)
    first, last, stop = windows[0].key, windows[-1].key, windows[-1].next(1).key
    return replace(
        never_started[0],
        message=f"{len(windows)} windows of {workload}, {first} to {last}, ended and are not published: they were never started.",
        links={"command": f"fleetscore backfill {workload} --from {first} --to {stop}"},
    )


def _open_records(store: Store, lines: Sequence[RunLine]) -> list[RunRecord]:
    records = [_read(store, line.run) for line in lines if line.state not in FINAL]
    return [record for record in records if record and record.state not in FINAL]


def _read(store: Store, run: str) -> RunRecord | None:
    """The record; None where it is damaged or gone, which costs that run the watchdog's help and no other
    run.
    """
    try:
        return read_run(store, run)
    except (DamagedStateError, MissingBlobError) as error:
        _log.error("%s is not watched over: %s", run, error)
        return None


def _overdue(
    store: Store, workload: str, late: Sequence[Window], indexed: Mapping[str, RunLine], now: datetime
) -> list[Notice]:
    """Notices of the `late` windows without a run that has ended; the records are read of those only where
    the index knows of none.
    """
    unsure = [w for w in late if w.key not in indexed or indexed[w.key].state not in FINAL]
    newest = side_by_side(lambda window: _newest_of(store, workload, window), unsure)
    return [
        _overdue_notice(workload, window, record, now)
        for window, record in zip(unsure, newest, strict=True)
        if record is None or record.state not in FINAL
    ]


def _newest_of(store: Store, workload: str, window: Window) -> RunRecord | None:
    try:
        return newest_round(store, workload, window.key)
    except DamagedStateError as error:  # the window counts as never run, so that it is told of
        _log.error("%s of %s: %s", window.key, workload, error)
        return None


def _overdue_notice(workload: str, window: Window, newest: RunRecord | None, now: datetime) -> Notice:
    run = newest.request.run if newest else ""
    state = f"{run} is {newest.state}" if newest else "it was never started"
    message = f"{workload} {window.key} ended at {window.end:%Y-%m-%d %H:%M} and is not published: {state}."
    links = links_of_run(run) if run else {"command": f"fleetscore run {workload} --window {window.key}"}
    notice_id = f"window_overdue-{workload}-{window.key}"
    return Notice(notice_id, "window_overdue", workload, message, now, window.key, run, links)


def _deadlines(store: Store, known: KnownWorkload, now: datetime) -> list[Notice]:
    """Notices of deadlines that are going to be missed, while something can be done about it, and of those
    that were missed of late.
    """
    report = report_deadlines(store, known, LOOKS_BACK.days, now)
    return [
        _deadline_notice(report, each, now) for each in report.windows if each.state in ("at risk", "missed")
    ]


def _deadline_notice(report: DeadlineReport, missed: WindowDeadline, now: datetime) -> Notice:
    kind = "deadline_at_risk" if missed.state == "at risk" else "deadline_missed"
    by = f"by {report.deadline} {report.timezone} ({missed.deadline:%Y-%m-%d %H:%M} UTC)"
    what = f"{report.workload} {missed.window} has to be published {by}"
    if missed.published is not None:
        message = f"{what}; it was published at {missed.published:%Y-%m-%d %H:%M} UTC."
    elif missed.expected is not None:
        message = f"{what}; it is expected at {missed.expected:%Y-%m-%d %H:%M} UTC."
    else:
        message = f"{what}; it is not published."
    command = f"fleetscore run {report.workload} --window {missed.window}"
    links = links_of_run(missed.run) if missed.run else {"command": command}
    notice_id = f"{kind}-{report.workload}-{missed.window}"
    return Notice(notice_id, kind, report.workload, message, now, missed.window, missed.run, links)


def _broken(known: KnownWorkload, now: datetime) -> list[Notice]:
    if not known.reason:
        return []
    digest = hashlib.sha256(known.reason.encode()).hexdigest()[:8]
    message = f"{known.name} cannot run: {known.reason} {known.fix}".strip()
    return [Notice(f"workload_broken-{known.name}-{digest}", "workload_broken", known.name, message, now)]


def _stalled(store: Store, record: RunRecord, limit_s: float, now: datetime) -> list[Notice]:
    run = record.request.run
    if (now - record.updated).total_seconds() <= limit_s:
        return []
    commits = (e.modified for e in store.list(f"{run_folder(run)}shards/") if e.path.endswith("/result.json"))
    last = max([record.updated, *commits])
    if (now - last).total_seconds() <= limit_s:
        return []
    message = f"{run} is {record.state}, and nothing of it was committed since {last:%Y-%m-%d %H:%M}."
    request = record.request
    return [
        Notice(f"run_stalled-{run}", "run_stalled", request.workload, message, now, request.window, run, links_of_run(run))
    ]  # fmt: skip


def _over_budget(workload: str, policy: RunPolicy, lines: Sequence[RunLine], now: datetime) -> list[Notice]:
    month = f"{now:%Y-%m}"
    cost = month_cost(lines, now)
    if policy.budget_usd <= 0 or cost <= policy.budget_usd:
        return []
    message = f"{workload} has cost {cost:.2f} USD in {month}; its budget is {policy.budget_usd:.2f} USD."
    links = {"command": f"fleetscore costs --workload {workload}"}
    return [Notice(f"budget-{workload}-{month}", "budget", workload, message, now, links=links)]
