"""The timeline of a run: when each of its shards was scored, where, how often it was tried, and what came
of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from fleetscore.records import FINAL, Outcome, RunRecord, ShardPlan, ShardRecord, count_bad, to_json
from fleetscore.runs.progress import Progress, read_progress
from fleetscore.store.base import Entry, Store
from fleetscore.store.decoded_cache import read_version
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import run_folder, run_path
from fleetscore.store.state_files import decode_truth, read_hint

_MOST_RECORDS = 200  # beyond it a run under way is read from its listing alone


@dataclass(frozen=True, slots=True)
class ShardBar:
    """One shard on the timeline."""

    shard: int
    placement: str
    partitions: int
    state: Literal["planned", "running", "committed", "lost"]
    began: datetime | None = None  # of the attempt that was committed, else of the first; None: never tried
    seconds: float | None = None  # None until it is committed
    counts: Mapping[str, int] | None = None  # outcome -> partitions; None: not known (yet)
    attempts: int = 0
    worker: str = ""
    log: str = ""

    @property
    def bad(self) -> int:
        """Partitions without a good outcome, as far as it is known."""
        return count_bad(self.counts or {})


@dataclass(frozen=True, slots=True)
class Timeline:
    """The shards of a run in shard order: timeline.json once the run is collected."""

    bars: tuple[ShardBar, ...]
    schema: int = 1


def make_timeline(
    planned: Sequence[ShardPlan],
    entries: Iterable[Entry],
    records: Mapping[int, ShardRecord],
    prefix: str,
    has_ended: bool,
) -> Timeline:
    """The timeline of the `planned` shards from the listing of their files (all below `prefix`) and the
    commits that were read.

    A shard whose commit was not read is dated by the times of its files, which is exact to the seconds that
    a commit takes.
    """
    traces: dict[int, _Trace] = {shard.shard: _Trace() for shard in planned}
    for entry in entries:
        shard, _, rest = entry.path[len(prefix) :].partition("/")
        if shard.isdigit() and int(shard) in traces:
            traces[int(shard)].note(rest, entry.modified)
    return Timeline(tuple(_bar(s, traces[s.shard], records.get(s.shard), has_ended) for s in planned))


def write_timeline(
    store: Store, run: str, planned: Sequence[ShardPlan], records: Sequence[ShardRecord]
) -> None:
    """Keep the timeline of a run whose shards are all committed or given up: timeline.json."""
    prefix = f"{run_folder(run)}shards/"
    timeline = make_timeline(
        planned, store.list(prefix), {r.shard: r for r in records}, prefix, has_ended=True
    )
    store.write(run_path(run, "timeline.json"), to_json(timeline))


def read_timeline(store: Store, record: RunRecord) -> Timeline:
    """The run's timeline: the one that was kept, or the one as things stand now; empty before the run is
    planned.
    """
    kept = read_hint(store, run_path(record.request.run, "timeline.json"), Timeline)
    return kept or timeline_now(store, record, read_progress(store, record.request.run))


def timeline_now(store: Store, record: RunRecord, progress: Progress | None) -> Timeline:
    """The timeline from the progress of the run's shards; empty before the run is planned."""
    if progress is None:
        return Timeline(())
    commits = progress.commits()
    records = _read_records(store, commits) if len(commits) <= _MOST_RECORDS else {}
    return make_timeline(progress.planned, progress.entries, records, progress.prefix, record.state in FINAL)


@dataclass(slots=True)
class _Trace:
    """What the listing says of one shard."""

    attempts: dict[str, datetime] = field(default_factory=dict)  # name -> when its first file was written
    committed: datetime | None = None

    def note(self, path: str, modified: datetime) -> None:
        if path == "result.json":
            self.committed = modified
        elif path.startswith("attempts/"):
            name = path.split("/", 2)[1]
            self.attempts[name] = min(modified, self.attempts.get(name, modified))


def _bar(plan: ShardPlan, trace: _Trace, record: ShardRecord | None, has_ended: bool) -> ShardBar:
    attempts = len(trace.attempts)
    began = min(trace.attempts.values(), default=trace.committed)
    bar = ShardBar(plan.shard, plan.placement, plan.partitions, "planned", began, attempts=attempts)
    if record is not None:
        return ShardBar(
            plan.shard, record.placement, plan.partitions, "committed", record.started, record.seconds, record.counts,
            max(attempts, 1), record.worker, record.log,
        )  # fmt: skip
    if trace.committed is not None and began is not None:
        return replace(bar, state="committed", seconds=(trace.committed - began).total_seconds())
    if has_ended:
        return replace(bar, state="lost", counts={Outcome.FAILED: plan.partitions})
    return replace(bar, state="running") if attempts else bar


def _read_records(store: Store, commits: Mapping[int, Entry]) -> dict[int, ShardRecord]:
    """The shards' records; each is read once by a process that follows the run."""

    def read(entry: Entry) -> ShardRecord:
        return read_version(
            store, entry.path, entry.etag, lambda data: decode_truth(data, entry.path, ShardRecord)
        )

    return dict(zip(commits, side_by_side(read, list(commits.values())), strict=True))
