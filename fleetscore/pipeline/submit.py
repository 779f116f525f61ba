"""Requests: what a user, a timer or a backfill requests, checked and made into the request of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.models.model_sets import read_model_set
from fleetscore.pipeline.budget import check_budget
from fleetscore.pipeline.carry_over import NOT_REQUESTED
from fleetscore.pipeline.kept_versions import CURRENT
from fleetscore.pipeline.named_partitions import check_named
from fleetscore.pipeline.training_entry import PINNED, check_training_settings, choose_entry
from fleetscore.pipeline.window_checks import check_due, check_overlap, check_year, read_window
from fleetscore.records import FINAL, Ending, Only, RunRecord, RunRequest, RunState, count_bad, to_json
from fleetscore.registry import get_workload, read_policy
from fleetscore.runs.run_records import read_run, record_ending, record_takeover, request_run
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path, run_id, run_path, training_run_id


@dataclass(frozen=True, slots=True)
class Submission:
    """The run of the request; `fresh` if it is to be started now."""

    request: RunRequest
    fresh: bool
    state: RunState


def submit_run(
    store: Store, workload_name: str, window_text: str, now: datetime, requested_by: str,
    *, partitions: tuple[str, ...] = (), models: str = "", force: bool = True,
) -> Submission:  # fmt: skip
    """The run of the window: the one that is under way or published if there is one, else a new round.

    A window of which only named partitions were ever scored gets a round for the others. Of a published
    window, `partitions` (keys and patterns) or `models` (a version, or "current") make a
    further round, which scores exactly these partitions. InputError for a window that is not due yet, unless
    `force`, and for options that cannot act on a run that is under way.
    """
    workload = get_workload(store, workload_name)
    parsed = read_window(workload, window_text)
    if not force:
        check_due(parsed, read_policy(store, workload_name), now)
    window = parsed.key
    check_models(store, workload_name, models)
    newest = newest_round(store, workload_name, window)
    if newest is not None and newest.state not in FINAL:
        return _follow(newest, Only.ALL, partitions, models)
    if newest is not None and (partitions or models) and _is_published(store, newest):
        check_named(store, newest, partitions)
        return _claim_round(store, newest, now, requested_by, Only.ALL, partitions, models)
    if newest is not None and count_left_out(newest):
        return _claim_round(store, newest, now, requested_by, Only.MISSING, (), "")
    if newest is not None and newest.state is RunState.PUBLISHED:
        return Submission(newest.request, False, newest.state)
    check_overlap(store, workload_name, parsed)
    round_number = newest.request.round + 1 if newest else 1
    request = RunRequest(
        run_id(workload_name, window, round_number), workload_name, window, round_number, now, requested_by,
        partitions=partitions, models=models,
    )  # fmt: skip
    return _claim(store, request)


def submit_retry(
    store: Store, run: str, now: datetime, requested_by: str,
    *, only: Only = Only.FAILED, partitions: tuple[str, ...] = (), models: str = "",
) -> Submission:  # fmt: skip
    """A new round of the run's window that scores only some of it again; the round that is under way, if
    there is one, and the published one where nothing of it failed.

    `partitions` (keys and patterns) are scored and no other. What was scored keeps the model version of its
    round, unless `models` names a version, or "current" for the pinned ones. InputError for options that
    cannot act: on a round that is under way, or where nothing failed.
    """
    record = read_run(store, run)
    retried = record.request
    if retried.purpose == "train":
        raise InputError(
            f"{run} trained models.",
            fix="Train again: POST /api/training or `fleetscore train`.",
            field="run",
        )
    check_models(store, retried.workload, models)
    get_workload(store, retried.workload).stored_window(retried.window)
    newest = newest_round(store, retried.workload, retried.window)
    if newest is None:
        return Submission(retried, False, record.state)
    if newest.state not in FINAL:
        return _follow(newest, only, partitions, models)
    if only is Only.FAILED and not partitions and _is_all_good(newest):
        _refuse_models(newest, models)
        return Submission(newest.request, False, newest.state)
    check_named(store, newest, partitions)
    return _claim_round(store, newest, now, requested_by, only, partitions, models)


def _is_all_good(newest: RunRecord) -> bool:
    """Whether the run was published with a good outcome of every partition that was not left out on
    request.
    """
    return newest.state is RunState.PUBLISHED and not count_bad(newest.counts) and not count_left_out(newest)


def _refuse_models(newest: RunRecord, models: str) -> None:
    """InputError for models that would score nothing, since nothing failed."""
    if models:
        raise InputError(
            f"Nothing of {newest.request.run} failed: there is nothing that models {models!r} would score.",
            fix="Name partitions, or take all of them with only = all (--only all).",
            field="models",
            code="nothing_to_retry",
        )


def count_left_out(record: RunRecord) -> int:
    """How many partitions of a published window were never scored because runs named others."""
    if record.state is not RunState.PUBLISHED:
        return 0
    return sum(cause.partitions for cause in record.causes if cause.cause == NOT_REQUESTED)


def check_models(store: Store, workload: str, models: str) -> None:
    """ModelError unless `models` is a version of the workload, "current" or ""."""
    if models not in ("", CURRENT):
        read_model_set(store, workload, models)


def submit_backfilled(
    store: Store, workload_name: str, window_text: str, now: datetime, requested_by: str, only: Only,
    *, partitions: tuple[str, ...] = (), models: str = "",
) -> Submission:  # fmt: skip
    """The run that a backfill needs for the window, as `decide_backfilled` says. `requested_by` is the
    backfill: submitting again after a crash gives the same run, still to be started. Another run that is
    under way is given as it is, to be waited for.
    """
    window = get_workload(store, workload_name).parse_window(window_text).key
    newest = newest_round(store, workload_name, window)
    if newest is not None and newest.request.who == requested_by:
        return Submission(newest.request, newest.state is RunState.REQUESTED, newest.state)
    if newest is not None and newest.state not in FINAL:
        return Submission(newest.request, False, newest.state)
    if decide_backfilled(newest, only, partitions).runs:
        check_budget(store, workload_name, now)
    if newest is None or (partitions and not _is_published(store, newest)):
        return submit_run(
            store, workload_name, window, now, requested_by, partitions=partitions, models=models
        )
    if not decide_backfilled(newest, only, partitions).runs:
        return Submission(newest.request, False, newest.state)
    unpublished = newest.state is not RunState.PUBLISHED
    # else what failed then would stay so
    again = Only.FAILED if unpublished and only is Only.MISSING else only
    return submit_retry(
        store, newest.request.run, now, requested_by, only=again, partitions=partitions, models=models
    )


@dataclass(frozen=True, slots=True)
class Backfilled:
    """Whether a backfill runs a window, and why."""

    runs: bool
    why: str


def decide_backfilled(newest: RunRecord | None, only: Only, partitions: tuple[str, ...] = ()) -> Backfilled:
    """Whether a backfill runs the window whose newest run this is; missing: unless it is published; failed:
    also where partitions lack a good outcome; all, and where partitions are named: always. A window that is
    under way is left to its run; named partitions are scored after it.
    """
    if newest is None:
        return Backfilled(True, "It never ran.")
    if newest.state not in FINAL:
        after = " The partitions are scored after it." if partitions else ""
        return Backfilled(bool(partitions), f"{newest.request.run} is under way.{after}")
    if partitions:
        return Backfilled(True, "Partitions were named.")
    if newest.state is not RunState.PUBLISHED:
        return Backfilled(True, f"{newest.request.run} ended {newest.state}. {newest.error}".strip())
    lacking = count_bad(newest.counts)
    if only is Only.ALL:
        return Backfilled(True, "All partitions were requested again.")
    if only is Only.FAILED and lacking:
        return Backfilled(True, f"{lacking} of its partitions have no good outcome.")
    if left_out := count_left_out(newest):
        return Backfilled(True, f"{left_out} of its partitions were left out on request.")
    rest = f"; {lacking} partitions without a good outcome were not requested" if lacking else ""
    return Backfilled(False, f"It is published{rest}.")


def submit_training(
    store: Store,
    workload_name: str,
    first_text: str,
    stop_text: str,
    now: datetime,
    requested_by: str,
    *,
    pin: bool | None = None,
) -> Submission:
    """A training run over the windows [first, stop); the one that is under way, if there is one.

    `pin` makes the new set the current one, or leaves it alone; None does what the workload's settings say.
    """
    workload = get_workload(store, workload_name)
    check_training_settings(store, workload)
    first, stop = workload.parse_window(first_text), workload.parse_window(stop_text)
    check_year(first)
    check_year(stop)
    if not first < stop:
        raise InputError(
            f"{first.key} does not come before {stop.key}.",
            fix="Training takes the windows [from, to).",
            field="to",
        )
    newest = newest_training(store, workload_name, first.key, stop.key)
    if newest is not None and newest.state not in FINAL:
        return Submission(newest.request, False, newest.state)
    check_budget(store, workload_name, now)
    number = newest.request.round + 1 if newest else 1
    run = training_run_id(workload_name, first.key, stop.key, number)
    enters = choose_entry(store, workload, (first, stop), pin)
    request = RunRequest(
        run, workload_name, first.key, number, now, requested_by, "train", stop.key, pin=enters == PINNED, enters=enters,
    )  # fmt: skip
    return _claim(store, request)


def newest_training(store: Store, workload: str, first: str, end: str) -> RunRecord | None:
    """The record of the newest training on the windows [first, end), or None if there was none."""
    newest = None
    number = 1
    while (record := _existing(store, training_run_id(workload, first, end, number))) is not None:
        newest = record
        number += 1
    return newest


def newest_round(store: Store, workload: str, window: str) -> RunRecord | None:
    """The record of the window's newest run, or None if it never ran."""
    newest = None
    number = 1
    while (record := _existing(store, run_id(workload, window, number))) is not None:
        newest = record
        number += 1
    return newest


def last_published(store: Store, newest: RunRecord) -> str:
    """The run that a further round of a published window builds on; "" for a window that is not published."""
    request = newest.request
    if not _is_published(store, newest):
        return ""
    return _last_with_ledger(store, request.workload, request.window, request.round)


def cancel_run(store: Store, run: str, requested_by: str) -> RunRecord:
    """Ask the run to stop: shards that have not begun are not scored, and nothing is published. A run that
    ended stays as it is.
    """
    record = read_run(store, run)
    if record.state not in FINAL:
        store.create(run_path(run, "cancel.json"), to_json({"who": requested_by}))
    return record


def _follow(newest: RunRecord, only: Only, partitions: tuple[str, ...], models: str) -> Submission:
    """The run that is under way; InputError where it was not requested with the same partitions and
    models.
    """
    known = newest.request
    is_same = (known.partitions, known.models) == (partitions, models) and (partitions or known.only is only)
    if (partitions or models) and not is_same:
        named = " and ".join(["partitions"] * bool(partitions) + ["models"] * bool(models))
        raise InputError(
            f"{known.run} is {newest.state}: {named} cannot act on a run that is under way.",
            fix=f"Wait for its end, or stop it: fleetscore cancel {known.run}",
            field="partitions" if partitions else "models",
            code="under_way",
        )
    return Submission(known, False, newest.state)


def _is_published(store: Store, newest: RunRecord) -> bool:
    """Whether the window of the run has published results, of this or an earlier round."""
    return store.stat(manifest_path(newest.request.workload, newest.request.window)) is not None


def _claim_round(
    store: Store, newest: RunRecord, now: datetime, requested_by: str, only: Only, partitions: tuple[str, ...], models: str
) -> Submission:  # fmt: skip
    """The round after the newest one, building on the last that has a ledger."""
    workload, window, number = newest.request.workload, newest.request.window, newest.request.round + 1
    request = RunRequest(
        run_id(workload, window, number), workload, window, number, now, requested_by,
        only=only, partitions=partitions, models=models,
        previous=_last_with_ledger(store, workload, window, newest.request.round),
    )  # fmt: skip
    return _claim(store, request)


def close_by_force(store: Store, run: str, requested_by: str, now: datetime) -> RunRecord:
    """Close the run's record alone, as cancelled: for a run whose orchestration stands still. A run that
    ended stays as it is.

    Whatever the orchestration still does when it wakes is refused, as after a takeover; the window can be
    retried at once.
    """
    cancel_run(store, run, requested_by)
    record_takeover(store, run, now)
    reason = f"It was closed with force by {requested_by}; its orchestration was left as it was."
    return record_ending(store, run, Ending(RunState.CANCELLED, reason), None, now, {})


def _claim(store: Store, request: RunRequest) -> Submission:
    """Write the run's record; the loser of a race gets the winner's run."""
    if request_run(store, request):
        return Submission(request, True, RunState.REQUESTED)
    record = read_run(store, request.run)
    return Submission(record.request, False, record.state)


def _existing(store: Store, run: str) -> RunRecord | None:
    try:
        return read_run(store, run)
    except MissingBlobError:
        return None


def _last_with_ledger(store: Store, workload: str, window: str, newest: int) -> str:
    for number in range(newest, 0, -1):
        run = run_id(workload, window, number)
        if store.stat(run_path(run, "collected.json")) is not None:
            return run
    return ""
