"""What a fleet answers, from its store or from an app: one set of methods, with the same answers and the
same errors.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fleetscore.fleet.following import StillWatch, poll

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetscore.capabilities import SampleReport
    from fleetscore.fleet.answers import Answers, BackfillStarted, BackfillStatus, Started
    from fleetscore.fleet.fleet_models import FleetModels
    from fleetscore.models.model_sets import ModelSet
    from fleetscore.operations.anomalies import AnomalyReport
    from fleetscore.operations.attention.lines import WorkloadAttention
    from fleetscore.operations.attention.mutes import Mute
    from fleetscore.operations.doctor.findings import Diagnosis
    from fleetscore.operations.drift_report import DriftReport
    from fleetscore.operations.due.backfills import BackfillPreview
    from fleetscore.operations.due.deadlines import DeadlineReport
    from fleetscore.operations.explain import PartitionStory
    from fleetscore.operations.housekeeping import Swept
    from fleetscore.operations.monthly_costs import MonthCost
    from fleetscore.operations.notices.delivery import TargetTest
    from fleetscore.operations.repair.files import Repairs
    from fleetscore.operations.replay import Replayed
    from fleetscore.operations.table_sync import TableRepair
    from fleetscore.pipeline.preview import RunPreview
    from fleetscore.runs.index import RunLine
    from fleetscore.runs.retirements import Retirement
    from fleetscore.runs.status_answer import RunStatus

WatchRun = Callable[["RunStatus"], None]
WatchBackfill = Callable[["BackfillStatus"], None]


class FleetBase(ABC):
    """A fleet. Use it in a `with` block, or close it: what it started to answer is stopped then.

    Windows are written as the command line takes them (`2026-11-21T10`, `2026-11-21`, `2026-W47`); `end` is
    exclusive. Every method raises InputError for what cannot be meant, and MissingBlobError for a run that
    is not there.
    """

    url: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  # not abstract: an app has nothing to be stopped
        """Stop what was started to answer; a second call does nothing."""

    def run(
        self, workload: str, window: str, *, partitions: Sequence[str] = (), models: str = "", force: bool = False,
        watch: WatchRun | None = None,
    ) -> RunStatus:  # fmt: skip
        """Score a window and publish it; returns how the run ended. `watch` is called with its status
        meanwhile.

        A window that is under way is followed, one that is published is only reported.
        """
        with self:
            started = self.start_run(workload, window, partitions=partitions, models=models, force=force)
            return self.wait(started.id, watch)

    def retry(
        self, run: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        watch: WatchRun | None = None,
    ) -> RunStatus:  # fmt: skip
        """Score what `failed` in the run, is `missing`, or `all` of it again as a new round; returns how
        that ended.

        Or exactly the `partitions`. What was scored keeps the model version of its round, unless `models`
        names one, or "current".
        """
        with self:
            started = self.start_retry(run, only=only, partitions=partitions, models=models)
            return self.wait(started.id, watch)

    def train(
        self, workload: str, first: str, end: str, *, pin: bool | None = None, watch: WatchRun | None = None
    ) -> RunStatus:
        """Train a model set on the windows [first, end); returns how the training ended."""
        with self:
            return self.wait(self.start_training(workload, first, end, pin=pin).id, watch)

    def backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        max_parallel: int = 4, newest_first: bool = False, force: bool = False, watch: WatchBackfill | None = None,
    ) -> BackfillStatus:  # fmt: skip
        """Score the windows [first, end) that are `missing` (the default), have `failed` partitions, or
        `all`; returns how it ended.

        Or exactly the `partitions` of every window; `models` is a version to score with, or "current".
        """
        with self:
            started = self.start_backfill(
                workload, first, end, only=only, partitions=partitions, models=models,
                max_parallel=max_parallel, newest_first=newest_first, force=force,
            )  # fmt: skip
            return self.wait_backfill(started.id, watch)

    def wait(self, run: str, watch: WatchRun | None = None) -> RunStatus:
        """The status of the run once it has ended; `watch` is called with each status on the way."""
        for status in poll(lambda: self.follow(run)):
            if watch is not None:
                watch(status)
            if status.verdict:
                return status
        raise AssertionError("polling ends only with a verdict")

    def wait_backfill(self, backfill: str, watch: WatchBackfill | None = None) -> BackfillStatus:
        """The status of the backfill once it has ended; `watch` is called with each status on the way.

        CapacityError where it makes no step for four hours while none of its windows is under way.
        """
        still = StillWatch()
        for status in poll(lambda: self.follow_backfill(backfill)):
            if watch is not None:
                watch(status)
            if status.has_ended:
                return status
            still.check(status, time.monotonic())
        raise AssertionError("polling ends only when the backfill has ended")

    def follow(self, run: str) -> RunStatus:
        """The status of the run."""
        return self.show(run)

    def follow_backfill(self, backfill: str) -> BackfillStatus:
        """The status of the backfill."""
        return self.show_backfill(backfill)

    @abstractmethod
    def start_run(
        self,
        workload: str,
        window: str,
        *,
        partitions: Sequence[str] = (),
        models: str = "",
        force: bool = False,
    ) -> Started:
        """Start the window's run, or find the one that is under way or published.

        `partitions` (keys and patterns) restricts it; `models` is a version to score with instead of the
        pinned one, or "current". Both make a further round of a window that is published. `force` takes a
        window that is not due yet.
        """

    @abstractmethod
    def start_retry(
        self, run: str, *, only: str = "", partitions: Sequence[str] = (), models: str = ""
    ) -> Started:
        """Start a new round of the run's window: of what failed, unless `only` or `partitions` say
        otherwise.
        """

    @abstractmethod
    def start_training(self, workload: str, first: str, end: str, *, pin: bool | None = None) -> Started:
        """Start a training on the windows [first, end); `pin` makes its set the current one, or leaves it;
        None: as settings say.
        """

    @abstractmethod
    def start_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        max_parallel: int = 4, newest_first: bool = False, force: bool = False,
    ) -> BackfillStarted:  # fmt: skip
        """Start a backfill of the windows [first, end), `max_parallel` at once."""

    @abstractmethod
    def cancel(self, run: str, *, force: bool = False) -> RunStatus:
        """Ask a run to stop: shards that have not begun are not scored, and nothing is published.

        `force` closes its record alone, at once, whatever its orchestration does.
        """

    @abstractmethod
    def plan(
        self, workload: str, window: str, *, partitions: Sequence[str] = (), models: str = ""
    ) -> RunPreview:
        """What the window's run would do and cost; nothing is written."""

    @abstractmethod
    def plan_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        newest_first: bool = False,
    ) -> BackfillPreview:  # fmt: skip
        """Which of the windows [first, end) a backfill would run, and why; nothing is started."""

    @abstractmethod
    def runs(self, workload: str = "", limit: int = 20) -> list[RunLine]:
        """The newest runs, newest first."""

    @abstractmethod
    def show(self, run: str) -> RunStatus:
        """How the run stands or ended."""

    @abstractmethod
    def show_backfill(self, backfill: str) -> BackfillStatus:
        """How the backfill stands."""

    @abstractmethod
    def attention(self, workload: str = "") -> list[WorkloadAttention]:
        """What needs attention, of the workload or of every one that has something."""

    @abstractmethod
    def mute(
        self, workload: str, *, why: str, until: str, partition: str = "", cause: str = "", normal: str = ""
    ) -> Mute:
        """Ask for no attention to the cause, the partition or both until then (2026-12-24, a time, or 7d),
        and say why.
        """

    @abstractmethod
    def unmute(self, workload: str, mute: str, why: str = "") -> Mute:
        """End a mute before its time."""

    @abstractmethod
    def retire(self, workload: str, partition: str, *, why: str = "", undo: bool = False) -> Retirement:
        """Expect the partition no more, or with `undo` again; MissingBlobError for one that is not
        expected.
        """

    @abstractmethod
    def mutes(self, workload: str) -> list[Mute]:
        """The workload's mutes in force, oldest first."""

    @abstractmethod
    def explain(self, run: str, partition: str) -> PartitionStory:
        """The story of one partition: input, shard, attempts, model, output, outcome, what to do next."""

    @abstractmethod
    def replay(self, run: str, partition: str) -> Replayed:
        """One partition scored again from the same bytes and the same model, and compared; nothing is
        written.
        """

    @abstractmethod
    def drift(self, run: str, limit: int = 20) -> DriftReport:
        """The partitions of the run that are far from what their models were trained on, the worst first."""

    @abstractmethod
    def deadlines(self, workload: str = "", days: int = 90) -> list[DeadlineReport]:
        """By when windows had to be published in the last `days` days and whether they were, of all
        workloads with a deadline or of one.
        """

    @abstractmethod
    def anomalies(self, workload: str = "", *, since: str = "", device: str = "") -> AnomalyReport:
        """The incidents of published windows since a time (a day, an ISO time, days back such as 7d), of a
        device or of all.
        """

    @abstractmethod
    def costs(
        self, workload: str = "", since: str = "", month: str = "", by: str = "workload"
    ) -> list[MonthCost]:
        """What the workloads cost, month by month, newest first; from the month `since` on, as `2026-11`."""

    @abstractmethod
    def doctor(self) -> Diagnosis:
        """What is wrong with the deployment, and how to fix it."""

    @abstractmethod
    def doctor_azure(self, wait_s: float = 900.0) -> Diagnosis:
        """What of Azure answers here: package, compiled code, the pool's formula, and a container task.

        The task is waited for up to `wait_s` seconds.
        """

    @abstractmethod
    def repair(self, *, dry_run: bool = False, guesses: bool = False) -> Repairs:
        """Repair damaged state files, or only report what would be done; what can only be guessed needs
        `guesses`.
        """

    @abstractmethod
    def repair_tables(self, *, dry_run: bool = False) -> list[TableRepair]:
        """Commit the published windows that the result tables lack, or only report which."""

    @abstractmethod
    def housekeeping(self, *, dry_run: bool = False) -> Swept:
        """Remove what is old and unreferenced, or only report what would be removed."""

    @abstractmethod
    def score(self, workload: str, rows: Sequence[Mapping[str, Any]]) -> Answers:
        """An answer for each row of a mini-batch, with the pinned models."""

    @abstractmethod
    def models(self, workload: str) -> FleetModels:
        """The model sets of a workload: list, show, pin, promote, roll back, challenge, judge."""

    @abstractmethod
    def results(
        self, workload: str, window: str = "", *, partition: str = "", held: bool = False
    ) -> pa.Table:
        """All published rows of the window, by default the newest published one, or those of one partition.

        `held`: what a check of the window's newest run holds back instead.
        """

    @abstractmethod
    def publish_anyway(self, run: str, why: str) -> RunStatus:
        """Publish what a check held back of the run; the reason goes on record."""

    @abstractmethod
    def test_notices(self, workload: str, target: str = "") -> list[TargetTest]:
        """Send a test notice to each target of the workload, or to the one that is named; what became of
        it.
        """

    @abstractmethod
    def samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write sample data with planted defects; the same seed gives the same bytes."""

    @abstractmethod
    def capture_samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write the rows of `samples` as files of Event Hubs Capture, and the settings that read them."""

    @abstractmethod
    def import_models(self, workload: str, source: Path, *, pin: bool = True) -> ModelSet:
        """Import the models of a folder or file as a new model set, without executing anything of them."""

    @abstractmethod
    def backtest(self, workload: str, cutoffs: int, folder: Path) -> Mapping[str, Any]:
        """Train before each of so many cutoffs, score after it, and compare with what came; pictures go to
        `folder`.
        """

    @abstractmethod
    def draw(
        self, workload: str, windows: Sequence[str], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        """Draw published windows, by default the newest, as SVG pictures into `folder`."""
