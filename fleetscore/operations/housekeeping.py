"""Housekeeping: remove what is old and what no manifest and no remaining ledger refers to.

Records of runs, ledgers and results of what was published, model sets, verdicts and the index stay for
good. A run that published nothing loses its ledger first and then what the ledger spoke of, so that at no
moment a ledger refers to what is gone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import chain, islice

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, FleetscoreError, MissingBlobError
from fleetscore.operations.metadata.outbox import RECEIVERS
from fleetscore.operations.unread_input import describe_unread
from fleetscore.pipeline.submit import newest_round
from fleetscore.records import FINAL, RunRecord, RunRequest, RunState, ShardRecord
from fleetscore.registry import find_workloads, workload_names
from fleetscore.runs.delta_checkpoints import list_old_log, write_checkpoint
from fleetscore.runs.index import RunLine, day_of, list_runs_since
from fleetscore.runs.index_rollup import roll_up_index
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.run_records import read_run
from fleetscore.settings import KeepPolicy, read_keep_policy
from fleetscore.sources.landing import read_landed
from fleetscore.store.base import Entry, Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import (
    carried_state_prefix,
    events_path,
    events_table,
    outbox_path,
    results_prefix,
    run_folder,
    run_id,
    run_path,
    swept_path,
)
from fleetscore.store.state_files import read_hint, read_truth
from fleetscore.store.tables import open_truth

_RECORDS = ("run.json", "cancel.json")
_LEDGER_FIRST = ("collected.json", "files.json", "ledger.parquet", "causes.parquet")
_NOTES = ("prepare/", "completions/", "given_up/")
_SPARE = ("crumb.json", "challenger.parquet", "challenger.json")
_MOST_EXAMPLES = 5
_CARRIED_DAYS = 16.0  # windows of the present read fifteen days back; older ones make their state anew
_RUNS_AT_ONCE = 64
_log = logging.getLogger("fleetscore.housekeeping")


@dataclass(frozen=True, slots=True)
class Doomed:
    """A path that is to be removed, and what it is."""

    path: str
    size_bytes: int
    kind: str  # attempt, note, log, unpublished, partial, notice, table log, landing, backfill


@dataclass(slots=True)
class Swept:
    """What was removed, or would be: files and bytes by kind, with the first few paths; and input that is
    not read.
    """

    files: dict[str, int] = field(default_factory=Counter)
    bytes: dict[str, int] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # on input that is not read
    dry_run: bool = False

    def add(self, doomed: Doomed) -> None:
        """Count one."""
        self.files[doomed.kind] = self.files.get(doomed.kind, 0) + 1
        self.bytes[doomed.kind] = self.bytes.get(doomed.kind, 0) + doomed.size_bytes
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(doomed.path)


def sweep(store: Store, now: datetime, *, dry_run: bool = False) -> Swept:
    """Remove what every workload's [keep] settings give up, or only say what would be; running it again
    finds nothing more.

    What is left of the index of runs is rolled up, which removes nothing from it.
    """
    swept = Swept(dry_run=dry_run)
    names = workload_names(store)
    policies = dict(zip(names, side_by_side(partial(read_keep_policy, store), names), strict=True))
    if dry_run:
        found = side_by_side(lambda name: list(find_doomed(store, name, policies[name], now)), names)
        _remove(store, chain(*found), swept)
    else:
        for name in names:
            _keep_house(store, name, policies[name], now, swept)
    _remove(store, find_old_notices(store, policies, now), swept)
    _remove(store, find_old_entries(store, policies, now), swept)
    unread = side_by_side(partial(describe_unread, store), find_workloads(store))
    swept.remarks += [sentence for sentence in unread if sentence]
    return swept


def _keep_house(store: Store, workload: str, policy: KeepPolicy, now: datetime, swept: Swept) -> None:
    _remove(store, find_doomed(store, workload, policy, now), swept)
    _mark_swept(store, workload, policy, now)
    for table in (workload, events_table(workload)):
        try:
            write_checkpoint(store, table, now)
        except FleetscoreError as error:  # the doctor says it as well
            _log.error("table_behind workload=%s reason=%s", workload, error)
    roll_up_index(store, workload, now)


def _remove(store: Store, found: Iterable[Doomed], swept: Swept) -> None:
    """Remove and count each once; in a dry run what one rule would remove is still there for the next."""
    seen: set[str] = set()
    for doomed in found:
        if doomed.path in seen:
            continue
        seen.add(doomed.path)
        if not swept.dry_run:
            store.delete(doomed.path)
        swept.add(doomed)


def find_doomed(store: Store, workload: str, policy: KeepPolicy, now: datetime) -> Iterator[Doomed]:
    """What is to be removed of the workload, in an order that may be stopped anywhere."""
    done, until = (
        _read_swept(store, workload, now),
        {k: _until(now, days) for k, days in _kinds(policy).items()},
    )
    ended = _ended_runs(store, workload, min(done.get(kind, "") for kind in until), max(until.values()))
    due = {kind: [x for x in ended if done.get(kind, "") < day_of(x) <= day] for kind, day in until.items()}
    for line in due[
        "unpublished"
    ]:  # one after the other: what may go of one depends on what is left of others
        yield from _unpublished(store, line)
    kinds: dict[str, tuple[RunLine, set[str]]] = {}
    for kind in ("attempt", "log"):
        for line in due[kind]:
            kinds.setdefault(line.run, (line, set()))[1].add(kind)
    runs = iter(kinds.values())
    while batch := list(islice(runs, _RUNS_AT_ONCE)):
        yield from chain(*side_by_side(partial(_of_run, store), batch))
    carried_days = min(_CARRIED_DAYS, policy.partials_days)
    yield from _older(store, carried_state_prefix(workload), "partial", carried_days, now)
    yield from _older(store, f"partials/{workload}/", "partial", policy.partials_days, now)
    yield from _older(store, f"backfills/{workload}/", "backfill", policy.unpublished_days, now)
    yield from _superseded_landings(store, workload, now - timedelta(days=policy.partials_days))
    for table in (workload, events_table(workload)):
        yield from (_doomed(entry, "table log") for entry in list_old_log(store, table, now))


def _superseded_landings(store: Store, workload: str, limit: datetime) -> Iterator[Doomed]:
    """Files that a window's rows were landed in before they were landed anew, older than the limit.

    A folder whose record cannot be read is left alone.
    """
    for folder in store.list_folders(f"landed/{workload}/"):
        window = folder.rstrip("/").rsplit("/", 1)[-1]
        try:
            newest = read_landed(store, workload, window)
        except FleetscoreError as error:
            _log.warning("The landings of %s %s are kept: %s", workload, window, error)
            continue
        for entry in store.list(folder):
            is_old = entry.path.endswith(".parquet") and entry.modified < limit
            if newest is not None and is_old and entry.path != newest.path:
                yield _doomed(entry, "landing")


def find_old_notices(store: Store, policies: Mapping[str, KeepPolicy], now: datetime) -> Iterator[Doomed]:
    """The settled notices that are older than their workload keeps them."""
    for state in ("sent", "given_up"):
        for entry in store.list(f"notices/{state}/"):
            days = [policy.notices_days for name, policy in policies.items() if f"-{name}-" in entry.path]
            if days and entry.modified < now - timedelta(days=min(days)):
                yield _doomed(entry, "notice")


def find_old_entries(store: Store, policies: Mapping[str, KeepPolicy], now: datetime) -> Iterator[Doomed]:
    """Entries of outboxes that were sent or given up, and are older than every workload keeps
    notices.
    """
    days = max((policy.notices_days for policy in policies.values()), default=KeepPolicy().notices_days)
    for receiver in RECEIVERS:
        for state in ("done", "given_up"):
            for entry in store.list(outbox_path(receiver, state, "")):
                if entry.modified < now - timedelta(days=days):
                    yield _doomed(entry, "notice")


def _unpublished(store: Store, line: RunLine) -> Iterator[Doomed]:
    if line.state is RunState.PUBLISHED:
        return
    try:
        record = read_run(store, line.run)
        is_over = record.state is not RunState.PUBLISHED and not _is_needed(store, record)
    except (DamagedStateError, MissingBlobError) as error:  # what cannot be read may speak of the run
        _log.warning("%s is kept: %s", line.run, error)
        return
    if is_over:
        yield from _without_record(store, line)


def _of_run(store: Store, due: tuple[RunLine, Set[str]]) -> list[Doomed]:
    """What goes of the run; `due` names it with the kinds of files whose time has come."""
    line, kinds = due
    logs = run_path(line.run, "logs/")
    entries = list(store.list(run_folder(line.run) if "attempt" in kinds else logs))
    try:
        doomed = list(_leftovers(store, line, entries)) if "attempt" in kinds else []
    except (DamagedStateError, MissingBlobError) as error:  # which attempt won is not known
        _log.warning("The attempts of %s are kept: %s", line.run, error)
        doomed = []
    old_logs = [entry for entry in entries if "log" in kinds and entry.path.startswith(logs)]
    return doomed + [_doomed(entry, "log") for entry in old_logs]


def _without_record(store: Store, line: RunLine) -> Iterator[Doomed]:
    run = line.run
    entries = {entry.path: entry for entry in store.list(run_folder(run))}
    if line.purpose == "score":
        results = results_prefix(line.workload, line.window, run)
        entries |= {entry.path: entry for entry in store.list(results)}
        events = store.stat(events_path(line.workload, line.window, run))
        entries |= {events.path: events} if events is not None else {}
    first = [run_path(run, name) for name in _LEDGER_FIRST]
    kept = {run_path(run, name) for name in _RECORDS}
    ordered = [*first, *(path for path in entries if path not in first)]
    yield from (
        _doomed(entries[path], "unpublished") for path in ordered if path in entries and path not in kept
    )


def _leftovers(store: Store, line: RunLine, entries: Sequence[Entry]) -> Iterator[Doomed]:
    """What a run leaves that nothing refers to: lost attempts, in-progress markers, challengers' results,
    notes.

    Of a training also what was joined.
    """
    tries = [(entry, *_place(entry.path)) for entry in entries if "/attempts/" in entry.path]
    winners = _winners(store, entries, {(shard, attempt) for _, shard, attempt, _ in tries})
    joined = line.purpose == "train" and read_run(store, line.run).state is RunState.PUBLISHED
    for entry, shard, attempt, file in tries:
        spare = file in _SPARE or (joined and file.startswith("files/"))
        if attempt != winners.get(shard) or spare:
            yield _doomed(entry, "attempt")
    yield from _unreferenced_results(store, line)
    notes = tuple(run_path(line.run, name) for name in _NOTES)
    yield from (_doomed(entry, "note") for entry in entries if entry.path.startswith(notes))


def _unreferenced_results(store: Store, line: RunLine) -> Iterator[Doomed]:
    """The run's files below the table's root that its ledger does not name, as those of attempts that
    lost.
    """
    if line.purpose != "score":
        return
    entries = list(store.list(results_prefix(line.workload, line.window, line.run)))
    named: set[str] = set()
    if entries:
        with suppress(MissingBlobError):
            named = set(read_ledger(store, line.run)["file"].to_pylist())
    yield from (_doomed(entry, "attempt") for entry in entries if entry.path not in named)


def _winners(store: Store, entries: Sequence[Entry], tries: Set[tuple[str, str]]) -> dict[str, str]:
    """Committed shard -> the attempt that won; the commit is read only where there was more than one."""
    attempts: dict[str, list[str]] = {}
    for shard, attempt in tries:
        attempts.setdefault(shard, []).append(attempt)
    committed = {_shard(entry.path): entry.path for entry in entries if entry.path.endswith("/result.json")}
    beaten = [shard for shard in committed if len(attempts.get(shard, ())) > 1]
    read = side_by_side(lambda shard: _attempt_of(store, committed[shard]), beaten)
    alone = {shard: attempts[shard][0] for shard in committed if len(attempts.get(shard, ())) == 1}
    return alone | dict(zip(beaten, read, strict=True))


def _is_needed(store: Store, record: RunRecord) -> bool:
    """Whether another round's ledger or the window's manifest refers to the run, or its window is under
    way.
    """
    request = record.request
    if request.purpose == "train":
        return False
    newest = newest_round(store, request.workload, request.window)
    if newest is None or newest.state not in FINAL:
        return True
    folder = run_folder(request.run)
    with suppress(MissingBlobError):
        manifest = read_manifest(store, request.workload, request.window)
        prefixes = (folder, results_prefix(request.workload, request.window, request.run))
        if manifest.run == request.run or any(file.path.startswith(prefixes) for file in manifest.files):
            return True
    rounds = range(1, newest.request.round + 1)
    others = (run_id(request.workload, request.window, number) for number in rounds)
    return any(_refers_to(store, other, request) for other in others if other != request.run)


def _refers_to(store: Store, other: str, request: RunRequest) -> bool:
    run = request.run
    results = results_prefix(request.workload, request.window, run)
    with suppress(MissingBlobError), open_truth(store, run_path(other, "ledger.parquet")) as source:
        ledger = pq.read_table(source, columns=["run", "file"])
        files = ledger["file"]
        is_of_run = pc.or_(pc.starts_with(files, run_folder(run)), pc.starts_with(files, results))
        return bool(pc.any(pc.or_(pc.equal(ledger["run"], run), is_of_run)).as_py())
    return False


def _ended_runs(store: Store, workload: str, after: str, until: str) -> list[RunLine]:
    """The ended runs that were requested on days in (after, until]."""
    lines = list_runs_since(store, workload, after)
    return [line for line in lines if after < day_of(line) <= until and line.state in FINAL]


def _older(store: Store, prefix: str, kind: str, days: float, now: datetime) -> Iterable[Doomed]:
    limit = now - timedelta(days=days)
    return (_doomed(entry, kind) for entry in store.list(prefix) if entry.modified < limit)


def _kinds(policy: KeepPolicy) -> Mapping[str, float]:
    return {"unpublished": policy.unpublished_days, "attempt": policy.attempts_days, "log": policy.logs_days}


def _until(now: datetime, days: float) -> str:
    """The last day whose runs are all older than that."""
    day: date = (now - timedelta(days=days + 1)).date()
    return day.isoformat()


def _read_swept(store: Store, workload: str, now: datetime) -> dict[str, str]:
    """The last swept day of each kind; what is no day, or one to come, counts as never."""
    marks = read_hint(store, swept_path(workload), dict[str, date]) or {}
    return {kind: day.isoformat() for kind, day in marks.items() if day <= now.date()}


def _mark_swept(store: Store, workload: str, policy: KeepPolicy, now: datetime) -> None:
    """Write down the days that need no second look; a run that had not ended by now is not looked at again,
    but keeps little.
    """
    if next(iter(store.list(f"index/{workload}/", 1)), None) is None:
        return
    known = _read_swept(store, workload, now)
    marks = {kind: max(known.get(kind, ""), _until(now, days)) for kind, days in _kinds(policy).items()}
    store.write(swept_path(workload), msgspec.json.encode(marks))


def _doomed(entry: Entry, kind: str) -> Doomed:
    return Doomed(entry.path, entry.size_bytes, kind)


def _place(path: str) -> tuple[str, str, str]:
    """Shard, attempt and file of a path below an attempt."""
    attempt, _, file = path.split("/attempts/", 1)[1].partition("/")
    return _shard(path), attempt, file


def _shard(path: str) -> str:
    return path.split("/shards/", 1)[1].split("/", 1)[0]


def _attempt_of(store: Store, path: str) -> str:
    return read_truth(store, path, ShardRecord).attempt
