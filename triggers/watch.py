"""The watchdog's timers: lost runs are rescued each minute; late data and overdue windows are found every
five minutes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from fleetscore.app_settings import read_app_settings
from triggers.http_answers import run_in_thread
from triggers.rescue import rescue_runs
from triggers.starting import start_submitted

if TYPE_CHECKING:
    from fleetscore.operations.notices.notice import Notice

blueprint = df.Blueprint()
_log = logging.getLogger("fleetscore.watchdog")
_resending = Lock()


@blueprint.timer_trigger(arg_name="timer", schedule="0 * * * * *")
@blueprint.durable_client_input(client_name="client")
async def rescue_timer(timer: func.TimerRequest, client: str) -> None:
    """Each minute: take over lost runs, start those that were never started, send the callbacks that wait for
    an end, and the notices that are due.
    """
    await _guarded("lost runs", rescue_runs(client))
    await _guarded("callbacks", run_in_thread(_answer_callbacks))
    await _guarded("pending notices", run_in_thread(_resend_pending))
    await _guarded("lineage and experiments", run_in_thread(_send_outboxes))
    await _guarded("ages of queues", run_in_thread(_report_queues))
    await _remember_tick("rescue_timer")


@blueprint.timer_trigger(arg_name="timer", schedule="30 */5 * * * *")
@blueprint.durable_client_input(client_name="client")
async def watchdog_timer(timer: func.TimerRequest, client: str) -> None:
    """Every five minutes, between two ticks of the other: the same, late data, windows that their tables
    lack, and what is overdue or stands still.
    """
    await _guarded("lost runs", rescue_runs(client))
    await _guarded("callbacks", run_in_thread(_answer_callbacks))
    await _guarded("late data", start_late_rounds(client))
    await _guarded("result tables", run_in_thread(_sync_tables))
    await _guarded("databases of results", run_in_thread(_sink_results))
    await _guarded("notices", run_in_thread(_send_trouble))
    await _guarded("pending notices", run_in_thread(_resend_pending))
    await _remember_tick("watchdog_timer")


async def _guarded(step: str, work: Awaitable[Any]) -> None:
    """Do one step of a tick; what it raises is logged and costs no other step."""
    try:
        await work
    except Exception:  # whatever a damaged file makes a step raise
        _log.exception("This tick's step %r failed; the next tick does it again.", step)


async def _remember_tick(timer: str) -> None:
    from fleetscore.operations.ticks import record_tick

    await run_in_thread(record_tick, app_store(), timer, datetime.now(UTC))


async def start_late_rounds(client: Any) -> list[str]:
    """Start a round for late data of each workload that has some; gives the runs. One workload's trouble
    does not keep from the next.
    """
    from fleetscore.operations.due.late_data import submit_late
    from fleetscore.registry import workload_names

    started = []
    for name in await run_in_thread(workload_names, app_store()):
        try:
            submission = await run_in_thread(submit_late, app_store(), name, datetime.now(UTC))
        except Exception as error:  # whatever a workload's own code or input raises
            _log.error("%s could not be looked at for late data: %s", name, error, exc_info=error)
            continue
        if submission is not None and await start_submitted(client, submission):
            started.append(submission.request.run)
    return started


def overdue_lines(found: Sequence[Notice]) -> list[str]:
    """One line per workload with overdue windows, its oldest and their number, in the form that the alert
    window-overdue reads.
    """
    windows: dict[str, list[str]] = {}
    for notice in found:
        if notice.kind == "window_overdue":
            windows.setdefault(notice.workload, []).append(notice.window)
    return [
        f"window_overdue workload={workload} window={min(keys)} count={len(keys)}"
        for workload, keys in windows.items()
    ]


def _send_outboxes() -> None:
    """Send what waits, each on a thread of its own: a server that does not answer holds no tick."""
    from fleetscore.operations.metadata.experiments import EXPERIMENTS
    from fleetscore.operations.metadata.lineage import LINEAGE

    for sender in (LINEAGE, EXPERIMENTS):
        if sender.is_on():
            Thread(target=sender.send_due, args=(app_store(), datetime.now(UTC)), daemon=True).start()


def _report_queues() -> None:
    from fleetscore.operations.doctor.queue_ages import queue_ages
    from fleetscore.telemetry import report_queues

    report_queues(lambda: queue_ages(read_app_settings(), datetime.now(UTC)))


def _answer_callbacks() -> None:
    from fleetscore.operations.outbound.callbacks import answer_callbacks

    answer_callbacks(app_store(), read_app_settings(), datetime.now(UTC))


def _sync_tables() -> None:
    from fleetscore.operations.table_sync import sync_tables

    for repair in sync_tables(app_store(), datetime.now(UTC)):
        _log.warning("table of %s, %s: %s, %s", repair.workload, repair.window, repair.state, repair.detail)


def _sink_results() -> None:
    from fleetscore.operations.result_sink import sink_behind

    sink_behind(app_store(), datetime.now(UTC))


def _send_trouble() -> None:
    from fleetscore.operations.notices.delivery import keep_notice
    from fleetscore.operations.watchdog import find_trouble, gather_overdue
    from fleetscore.registry import workload_names
    from fleetscore.telemetry import report_late

    store, app, now = app_store(), read_app_settings(), datetime.now(UTC)
    found = find_trouble(store, now)
    overdue = Counter(notice.workload for notice in found if notice.kind == "window_overdue")
    report_late(dict.fromkeys(workload_names(store), 0) | overdue)
    for line in overdue_lines(found):
        _log.warning("%s", line)
    for notice in gather_overdue(found):
        _log.warning("%s", notice.message)
    for notice in found:
        keep_notice(store, app, notice)


def _resend_pending() -> None:
    """Send the notices that are due, on a thread of its own: targets that do not answer hold no tick."""
    if not _resending.locked():
        Thread(target=_resend, name="pending notices", daemon=True).start()


def _resend() -> None:
    from fleetscore.operations.notices.delivery import resend_pending

    if not _resending.acquire(blocking=False):
        return
    try:
        resend_pending(app_store(), read_app_settings(), datetime.now(UTC))
    except Exception:  # nobody waits for this thread
        _log.exception("The pending notices were not sent; the next tick tries them again.")
    finally:
        _resending.release()
