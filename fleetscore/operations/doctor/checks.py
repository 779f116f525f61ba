"""The doctor: checks what a deployment needs, one finding after the other, each with how to fix it.

A finding is ok, a warning, wrong, or not checked, with the reason; nothing that was not looked at is called
ok.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from functools import partial
from itertools import chain

from fleetscore.app_settings import AppSettings
from fleetscore.batch import connect_compute
from fleetscore.errors import ConflictError, FleetscoreError
from fleetscore.operations.doctor.findings import Diagnosis, Finding, run_check
from fleetscore.operations.doctor.notices import find_trouble_of_notices
from fleetscore.operations.doctor.outboxes import find_trouble_of_experiments, find_trouble_of_lineage
from fleetscore.operations.doctor.telemetry import find_trouble_of_telemetry
from fleetscore.operations.doctor.timers import find_silent_timers
from fleetscore.operations.doctor.workloads import (
    find_missing_tables,
    find_trouble_of_runs,
    find_trust,
    find_unread_input,
    find_unwritten_results,
    judge_settings,
)
from fleetscore.operations.known_workloads import find_named
from fleetscore.operations.repair.state_check import check_state
from fleetscore.pipeline.cost import PRICES_PATH, find_prices
from fleetscore.registry import KnownWorkload, find_workloads
from fleetscore.schedules import parse_schedule
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side

_MOST_SKEW_S = 60.0
_STATE_S = 60.0
_HUB_WAIT_S = 600.0
_HUB_FIX = (
    "Restart the app, so that an instance takes the partition's lease anew. Runs without a step are taken over by themselves; "
    "`fleetscore cancel --force RUN` closes the record of one at once."
)
_REPAIRS = {
    "hint": "it is made anew.",
    "message": "it is set aside.",
    "commit": "its shard is scored again.",
    "pin_change": "it is removed.",
    "run": "the record is made from what else is known of the run.",
    "run_file": "it is made from the run's committed shards, where they are kept.",
    "manifest": "it is made from the run's ledger.",
    "pins": "they are made from their changes, or guessed from the newest window.",
    "model_set": "nothing can be done; pin another version, or train again.",
    "verdict": "nothing can be done; judge again.",
}
_PROBES = 2
_ORDER = (
    "settings",
    "schedules",
    "timers",
    "store",
    "clock",
    "queue",
    "task hub",
    "batch",
    "quota",
    "models",
    "state",
    "input",
    "notices",
    "telemetry",
    "lineage",
    "mlflow",
    "tables",
    "results",
    "runs",
)


def examine(store: Store, app: AppSettings, now: Callable[[], datetime]) -> Diagnosis:
    """Check settings, input, store, clock, queue, Batch, schedules, timers, models and what the watchdog
    sees.

    Writes and removes one probe file.
    """
    known: list[KnownWorkload] = []
    with suppress(FleetscoreError):  # the check of the store says what is wrong with it
        known = find_named(store)
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        (
            "settings",
            lambda: [*(judge_settings(store, each) for each in known), *find_trust(known), *_prices(store)],
        ),
        ("schedules", lambda: _schedules(app, known, now())),
        ("timers", lambda: find_silent_timers(store, now())),
        ("store", lambda: _store(store, now)),
        ("queue", lambda: _queue(app)),
        ("task hub", lambda: _task_hub(app, now())),
        ("batch", lambda: _batch(store, app)),
        ("quota", lambda: _quota(store, app)),
        ("notices", lambda: find_trouble_of_notices(store, app, known, now())),
        ("telemetry", find_trouble_of_telemetry),
        ("lineage", lambda: find_trouble_of_lineage(store, now())),
        ("mlflow", lambda: find_trouble_of_experiments(store, now())),
        ("state", lambda: _state(store)),
        *(("tables", partial(find_missing_tables, store, each)) for each in known),
        *(("results", partial(find_unwritten_results, store, each, now())) for each in known),
        *(
            ("input", partial(find_unread_input, store, each))
            for each in known
            if each.workload and not each.reason
        ),
        *(("runs", partial(find_trouble_of_runs, store, each, now())) for each in known),
    ]
    found = [*chain(*side_by_side(lambda check: run_check(*check), checks))]
    if not any(finding.check == "runs" for finding in found):
        found.append(Finding("runs", "ok", "No window is overdue, and no run stands still."))
    findings = tuple(sorted(found, key=lambda finding: _ORDER.index(finding.check)))
    return Diagnosis(all(finding.state != "wrong" for finding in findings), findings)


def _schedules(app: AppSettings, known: Iterable[KnownWorkload], now: datetime) -> Iterator[Finding]:
    for each in known:
        if each.schedule is not None:
            due = each.schedule.latest(now)
            last = f", due last at {due:%Y-%m-%d %H:%M} UTC" if due else ""
            detail = f"{each.name}: {each.schedule.text!r} in {each.schedule.zone}{last}."
            yield Finding("schedules", "ok", detail)
    for setting in fields(app):
        if setting.name.endswith("_schedule"):
            value, env = getattr(app, setting.name), setting.metadata["env"]
            parse_schedule(value, where=env)
            yield Finding("schedules", "ok", f"{env} is {value!r}.")


def _store(store: Store, now: Callable[[], datetime]) -> Iterator[Finding]:
    path = f"doctor/{uuid.uuid4().hex}"
    try:
        wrote = now()
        created = store.create(path, b"1")
        with ThreadPoolExecutor(_PROBES) as pool:
            asked_again = pool.submit(store.create, path, b"2")
            asked_entry = pool.submit(
                lambda: next((e for e in store.list("doctor/") if e.path == path), None)
            )
            data, etag = store.read_tagged(path)
            entry = asked_entry.result()
            store.replace(path, b"3", etag)
            stale = False
            with suppress(ConflictError):
                store.replace(path, b"4", etag)
                stale = True
            again = asked_again.result()
        good = created and not again and data == b"1" and not stale and entry is not None
    finally:
        store.delete(path)
    if not good:
        detail = f"{store.url} does not keep its promises: create, stale etag or listing failed."
        yield Finding("store", "wrong", detail, "Use a folder on a local disk, or a Blob container.")
        return
    yield Finding("store", "ok", f"{store.url}: read, list, create-if-absent and compare-and-swap work.")
    if entry is not None:
        yield judge_clock((wrote - entry.modified).total_seconds())


def judge_clock(skew_s: float) -> Finding:
    """What the difference between this clock and the store's means."""
    if abs(skew_s) <= _MOST_SKEW_S:
        return Finding("clock", "ok", f"This clock and the store's are {abs(skew_s):.1f} s apart.")
    ahead = "ahead of" if skew_s > 0 else "behind"
    detail = f"This clock is {abs(skew_s):.0f} s {ahead} the store's."
    return Finding(
        "clock",
        "wrong",
        detail,
        "Set this machine's clock by a time server: windows and tokens depend on it.",
    )


def _queue(app: AppSettings) -> Iterator[Finding]:
    if not app.queue_service:
        yield Finding("queue", "not checked", "No queue is set (FLEETSCORE_QUEUE__queueServiceUri).")
        return
    from fleetscore.operations.notices.targets import QUEUE
    from fleetscore.store.queue import count_messages

    for name in (app.completion_queue, QUEUE):
        url = f"{app.queue_service.rstrip('/')}/{name}"
        try:
            yield Finding("queue", "ok", f"{url}: about {count_messages(url)} messages wait.")
        except FleetscoreError as error:
            yield Finding("queue", "wrong", error.message, error.fix)


def _task_hub(app: AppSettings, now: datetime) -> Iterator[Finding]:
    """The queues of the task hub whose oldest message nobody takes: the orchestrations of that partition
    stand still.
    """
    if not app.hub_queue_service:
        yield Finding("task hub", "not checked", "AzureWebJobsStorage__queueServiceUri is not set.")
        return
    from fleetscore.store.queue import look_at_queues

    queues = look_at_queues(app.hub_queue_service, f"{app.task_hub.lower()}-")
    stuck = [queue for queue in queues if queue.since and (now - queue.since).total_seconds() > _HUB_WAIT_S]
    for queue in stuck:
        minutes = (now - (queue.since or now)).total_seconds() / 60
        detail = f"The oldest message of {queue.queue} has waited for {minutes:.0f} minutes: no instance of the app takes from this queue."
        yield Finding("task hub", "wrong", detail, _HUB_FIX)
    if not stuck:
        limit = f"{_HUB_WAIT_S / 60:g} minutes"
        detail = f"None of the {len(queues)} queues of {app.task_hub} has a message older than {limit}."
        yield Finding("task hub", "ok", detail)


def _batch(store: Store, app: AppSettings) -> Iterator[Finding]:
    if not app.batch_endpoint:
        yield Finding("batch", "not checked", "No Batch account is set; every shard is scored inline.")
        return
    pool = connect_compute(app).pool_state()
    most = f"{pool.most_dedicated} dedicated and {pool.most_spot} Spot nodes at the most"
    detail = f"{app.batch_endpoint}, pool {app.batch_pool} of {pool.vm_size} is {pool.state}: {most}, {pool.usable_nodes} usable now."
    if pool.problems:
        fix = "Fix what the service names; a quota is raised in the Azure portal under the Batch account's Quotas."
        yield Finding("batch", "wrong", f"{detail} {'; '.join(pool.problems)}", fix)
    elif pool.most_dedicated + pool.most_spot + _nodes_for_runs(store) == 0:
        yield Finding("batch", "wrong", detail, "Let the pool's formula or target grow beyond 0 nodes.")
    else:
        yield Finding("batch", "ok", detail)
    if not app.batch_image and "127.0.0.1" not in app.batch_endpoint:
        yield Finding(
            "batch",
            "wrong",
            "FLEETSCORE_BATCH_IMAGE is empty.",
            "Set it to the worker image with its digest.",
        )


def _prices(store: Store) -> Iterator[Finding]:
    """Whether the store's own prices can be used, where it has some."""
    problem = find_prices(store).problem
    if problem:
        fix = f"Correct or delete {PRICES_PATH}; without it the prices that ship are used."
        yield Finding("settings", "wrong", problem, fix)


def _nodes_for_runs(store: Store) -> int:
    """The most nodes that a workload's runs bring to a pool that has none between them."""
    return max((known.policy.pool_nodes for known in find_workloads(store)), default=0)


def _quota(store: Store, app: AppSettings) -> Iterator[Finding]:
    if not app.batch_endpoint:
        yield Finding("quota", "not checked", "No Batch account is set.")
        return
    prices = find_prices(store)
    try:
        pool = connect_compute(app).pool_state()
    except FleetscoreError:  # reported by the check of the pool itself
        yield Finding("quota", "not checked", "The pool could not be queried.")
        return
    node = prices.node(pool.vm_size)
    for kind, nodes, granted in (
        ("dedicated", pool.most_dedicated, prices.quota.dedicated_cores),
        ("Spot", pool.most_spot, prices.quota.spot_cores),
    ):
        if granted is None or node is None:
            detail = f"The {kind} cores that the account was granted are not known."
            yield Finding("quota", "not checked", detail, "Write them to [quota] of settings/prices.toml.")
            continue
        cores = nodes * node.cores
        if cores > granted:
            fix = f"Request {cores} {kind} cores for the Batch account, or lower the pool's limit to {granted // node.cores} nodes."
            detail = f"The pool may grow to {cores} {kind} cores; {granted} were granted."
            yield Finding("quota", "wrong", detail, fix)
        else:
            yield Finding("quota", "ok", f"{kind}: {cores} of {granted} granted cores at the most.")


def _state(store: Store) -> Iterator[Finding]:
    """The state files that cannot be read; the newest runs' first, as far as the time reaches."""
    report = check_state(store, _STATE_S)
    for bad in report.bad:
        fix = (
            "Use the version of Fleetscore that wrote it."
            if bad.newer
            else f"fleetscore repair: {_REPAIRS[bad.kind]}"
        )
        yield Finding("state", "warning" if bad.kind == "hint" and not bad.newer else "wrong", bad.why, fix)
    if report.unread_runs:
        detail = f"There was no time to read the files of {report.unread_runs:,} older runs."
        yield Finding("state", "not checked", detail, "fleetscore repair --dry-run reads all of them.")
    if not report.bad:
        yield Finding("state", "ok", f"{report.files:,} files of state can be read.")
