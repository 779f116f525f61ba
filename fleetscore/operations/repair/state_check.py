"""The state of a store, read file by file: which files are damaged, and which a newer version wrote.

Input, settings, results and partials are not looked at here: other checks read the first two, a window's
retry makes results anew, and partials make themselves anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.models.model_sets import ModelSet
from fleetscore.models.pins import PinChange, changes_folder, pins_path, read_pins
from fleetscore.operations.attention.mutes import Mute, Unmute
from fleetscore.operations.champions.verdicts import Verdict
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.outbound.callbacks import FOLDER as CALLBACKS
from fleetscore.operations.outbound.callbacks import Callback
from fleetscore.operations.repair.runs import is_replaced
from fleetscore.operations.ticks import FOLDER as TICKS
from fleetscore.operations.ticks import Tick
from fleetscore.pipeline.capacity import decode_pool_rates
from fleetscore.pipeline.plan import decode_rates
from fleetscore.records import (
    FINAL,
    Collected,
    PlanHead,
    PublishedAnyway,
    ResultFile,
    RunRecord,
    RunState,
    ShardRecord,
)
from fleetscore.runs.causes import CAUSES_FILE
from fleetscore.runs.index import RunLine
from fleetscore.runs.manifests import decode_latest, decode_manifest
from fleetscore.runs.retirements import FOLDER as RETIRED
from fleetscore.runs.retirements import Retirement
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import run_folder, run_path
from fleetscore.store.state_files import NEWER, damaged, decode_truth_with, read_truth
from fleetscore.store.tables import open_truth

Kind = Literal[
    "hint", "pins", "pin_change", "model_set", "verdict", "manifest", "run", "run_file", "commit", "message"
]
_BATCH = 256
_SET_DEPTH = 3  # models/<workload>/<version>/set.json

_RECORDS: dict[str, tuple[Kind, Any]] = {
    "swept/": ("hint", dict[str, str]),
    "late/": ("hint", dict[str, str]),
    TICKS: ("hint", Tick),
    "index/": ("hint", dict[str, RunLine]),
    "notices/": ("message", Notice),
    CALLBACKS: ("message", Callback),
}
"""Folder -> what its JSON files hold."""


@dataclass(frozen=True, slots=True)
class BadFile:
    """A state file that cannot be used, and why; `newer` if nothing is wrong with it but its version."""

    path: str
    kind: Kind
    why: str
    newer: bool = False


@dataclass(frozen=True, slots=True)
class StateReport:
    """How many state files were read, which of them cannot be used, and how many runs there was no time
    for.
    """

    files: int
    bad: tuple[BadFile, ...]
    unread_runs: int = 0


@dataclass(frozen=True, slots=True)
class _Check:
    """A file and how it is read, which raises where it cannot be."""

    path: str
    kind: Kind
    read: Callable[[Store, str], Any]
    is_due: bool = False  # whether it has to be there
    unless: Callable[[], bool] = lambda: False  # asked only where it is not there


def check_state(store: Store, within_s: float = float("inf")) -> StateReport:
    """Read every state file of the store; runs, the newest first, as far as `within_s` seconds reach."""
    until = time.monotonic() + within_s
    checks = [*_of_folders(store), *_of_models(store), *_of_results(store)]
    report = _carry_out(store, checks)
    runs = sorted((folder.split("/")[1] for folder in store.list_folders("runs/")), reverse=True)
    files, bad, done = report.files, list(report.bad), 0
    while done < len(runs) and time.monotonic() < until:
        found = side_by_side(partial(_check_run, store), runs[done : done + _BATCH])
        files += sum(each.files for each in found)
        bad += [one for each in found for one in each.bad]
        done += _BATCH
    once = {one.path: one for one in bad}  # two rounds of a window miss the same manifest
    return StateReport(files, tuple(once[path] for path in sorted(once)), max(0, len(runs) - done))


def _carry_out(store: Store, checks: Iterable[_Check]) -> StateReport:
    wanted = list(checks)
    found = side_by_side(partial(_look, store), wanted)
    return StateReport(len(wanted), tuple(bad for bad in found if bad is not None))


def _look(store: Store, check: _Check) -> BadFile | None:
    try:
        check.read(store, check.path)
    except MissingBlobError:
        is_missed = check.is_due and not check.unless()
        return BadFile(check.path, check.kind, f"{check.path} is missing.") if is_missed else None
    except DamagedStateError as error:
        return BadFile(check.path, check.kind, error.message, error.code == NEWER)
    return None


def _of_folders(store: Store) -> Iterator[_Check]:
    for folder, (kind, record) in _RECORDS.items():
        for entry in store.list(folder):
            yield _Check(entry.path, kind, _record_of(record))
    for entry in store.list("attention/"):
        yield _Check(entry.path, "message", _record_of(_act_of(entry.path)))
    for entry in store.list("rates/"):
        if not entry.path.endswith(".woken"):
            decode = decode_pool_rates if entry.path.startswith("rates/pools/") else decode_rates
            yield _Check(entry.path, "hint", partial(_read_with, decode))
    for entry in store.list("profiles/"):
        yield _Check(entry.path, "hint", _read_footer)


def _act_of(path: str) -> type[Mute | Unmute | PublishedAnyway | Retirement]:
    """What a file of the attention history holds."""
    act = path.split("/")[2] if path.count("/") > 2 else ""
    return {"unmutes": Unmute, "published": PublishedAnyway, RETIRED: Retirement}.get(act, Mute)


def _of_models(store: Store) -> Iterator[_Check]:
    for folder in store.list_folders("models/"):
        workload = folder.split("/")[1]
        yield _Check(pins_path(workload), "pins", lambda store, path: read_pins(store, path.split("/")[1]))
        for entry in store.list(folder):
            if entry.path.startswith(changes_folder(workload)):
                yield _Check(entry.path, "pin_change", _record_of(PinChange))
            elif entry.path.startswith(f"{folder}verdicts/") and entry.path.endswith(".json"):
                yield _Check(entry.path, "verdict", _record_of(Verdict))
            elif entry.path.count("/") == _SET_DEPTH and entry.path.endswith("/set.json"):
                yield _Check(entry.path, "model_set", _record_of(ModelSet))


def _of_results(store: Store) -> Iterator[_Check]:
    for entry in store.list("results/"):
        if entry.path.endswith("/manifest.json"):
            yield _Check(entry.path, "manifest", lambda store, path: decode_manifest(store.read(path), path))
        elif entry.path.endswith("/latest.json"):
            yield _Check(entry.path, "hint", partial(_read_with, decode_latest))


def _check_run(store: Store, run: str) -> StateReport:
    """The run's record, and what is still needed of its files: of an ended run the ledger, of an open one
    also plan and commits.
    """
    path = run_path(run, "run.json")
    bad = _look(store, _Check(path, "run", read_run_at, is_due=True))
    if bad is not None:
        return StateReport(1, (bad,))
    report = _carry_out(store, _of_run(store, read_run_at(store, path)))
    return StateReport(report.files + 1, report.bad)


def _of_run(store: Store, record: RunRecord) -> Iterator[_Check]:
    run, published = record.request.run, record.state is RunState.PUBLISHED
    replaced = partial(is_replaced, store, record.request)  # its files may be gone then
    yield _Check(run_path(run, "ledger.parquet"), "run_file", _read_footer, published, replaced)
    yield _Check(run_path(run, CAUSES_FILE), "run_file", _read_footer)
    yield _Check(run_path(run, "collected.json"), "run_file", _record_of(Collected), published, replaced)
    yield _Check(
        run_path(run, "files.json"), "run_file", _record_of(tuple[ResultFile, ...]), published, replaced
    )
    if published and record.request.purpose == "score":
        yield _Check(record.manifest, "manifest", _require, is_due=True)
    if record.state in FINAL:
        return
    yield _Check(run_path(run, "plan.json"), "run_file", _record_of(PlanHead))
    for entry in store.list(f"{run_folder(run)}shards/"):
        if entry.path.endswith("/result.json"):
            yield _Check(entry.path, "commit", _record_of(ShardRecord))


def read_run_at(store: Store, path: str) -> RunRecord:
    """The run's record at the path; DamagedStateError when it is damaged, or that of another run."""
    record = read_truth(store, path, RunRecord)
    if run_path(record.request.run, "run.json") != path:
        raise damaged(path, ValueError(f"it is the record of {record.request.run}"))
    return record


def _record_of(kind: Any) -> Callable[[Store, str], Any]:
    return lambda store, path: read_truth(store, path, kind)


def _read_with(decode: Callable[[bytes], Any], store: Store, path: str) -> Any:
    return decode_truth_with(store.read(path), path, decode)


def _read_footer(store: Store, path: str) -> None:
    with open_truth(store, path) as source:
        pq.read_metadata(source)


def _require(store: Store, path: str) -> None:
    """Nothing more than that the file is there: what it holds is another check's."""
    if store.stat(path) is None:
        raise MissingBlobError(f"{path} is not in the store.")
