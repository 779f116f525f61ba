"""What a fleet over a store reads and computes in this process; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetscore.errors import MissingBlobError
from fleetscore.fleet.store_access import StoreAccess

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetscore.fleet.answers import Answers
    from fleetscore.fleet.fleet_models import FleetModels
    from fleetscore.operations.anomalies import AnomalyReport
    from fleetscore.operations.attention.lines import WorkloadAttention
    from fleetscore.operations.attention.mutes import Mute
    from fleetscore.operations.doctor.findings import Diagnosis
    from fleetscore.operations.drift_report import DriftReport
    from fleetscore.operations.due.backfills import BackfillPreview
    from fleetscore.operations.due.deadlines import DeadlineReport
    from fleetscore.operations.explain import PartitionStory
    from fleetscore.operations.monthly_costs import MonthCost
    from fleetscore.operations.replay import Replayed
    from fleetscore.pipeline.preview import RunPreview
    from fleetscore.runs.index import RunLine
    from fleetscore.runs.status_answer import RunStatus
    from fleetscore.windows import Window
    from fleetscore.workload import Workload


class StoreReports(StoreAccess):
    """Reports, previews and results of a store."""

    def plan(
        self, workload: str, window: str, *, partitions: Sequence[str] = (), models: str = ""
    ) -> RunPreview:
        """What the window's run would do, by the settings of this process; nothing is written."""
        from fleetscore.app_settings import read_app_settings
        from fleetscore.pipeline.preview import preview_run

        app, now = read_app_settings(), datetime.now(UTC)
        return preview_run(self.store, app, now, workload, window, tuple(partitions), models)

    def plan_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        newest_first: bool = False,
    ) -> BackfillPreview:  # fmt: skip
        """Which of the windows [first, end) a backfill would run, and why."""
        from fleetscore.operations.due.backfills import list_windows, preview_backfill
        from fleetscore.pipeline.submit import check_models
        from fleetscore.records import Only

        check_models(self.store, workload, models)
        keys = list_windows(self.store, workload, first, end, newest_first=newest_first)
        return preview_backfill(self.store, workload, keys, Only(only or "missing"), tuple(partitions))

    def runs(self, workload: str = "", limit: int = 20) -> list[RunLine]:
        """The newest runs, newest first."""
        from fleetscore.operations.known_workloads import find_named_workload
        from fleetscore.runs.index import list_runs

        if workload:
            find_named_workload(self.store, workload)
        return list_runs(self.store, workload, limit)

    def show(self, run: str) -> RunStatus:
        """How the run stands or ended; MissingBlobError when there is none."""
        from fleetscore.runs.status import describe_run

        return describe_run(self.store, run, datetime.now(UTC))

    def attention(self, workload: str = "") -> list[WorkloadAttention]:
        """What needs attention, of the workload or of every one that has something."""
        from fleetscore.operations.attention.overview import read_attention

        return read_attention(self.store, workload, datetime.now(UTC))

    def mutes(self, workload: str) -> list[Mute]:
        """The workload's mutes in force, oldest first."""
        from fleetscore.operations.attention.mutes import list_mutes
        from fleetscore.operations.known_workloads import find_named_workload

        return list_mutes(self.store, find_named_workload(self.store, workload).name, datetime.now(UTC))

    def explain(self, run: str, partition: str) -> PartitionStory:
        """The story of one partition."""
        from fleetscore.operations.explain import explain

        return explain(self.store, run, partition)

    def replay(self, run: str, partition: str) -> Replayed:
        """One partition scored again in this process, and compared."""
        from fleetscore.operations.replay import replay_partition

        return replay_partition(self.store, run, partition)

    def anomalies(self, workload: str = "", *, since: str = "", device: str = "") -> AnomalyReport:
        """The incidents of published windows since a time, of a device or of all."""
        from fleetscore.operations.anomalies import list_anomalies

        return list_anomalies(self.store, datetime.now(UTC), workload=workload, since=since, device=device)

    def drift(self, run: str, limit: int = 20) -> DriftReport:
        """The partitions of the run that drifted, the worst first."""
        from fleetscore.operations.drift_report import describe_drift

        return describe_drift(self.store, run, limit)

    def deadlines(self, workload: str = "", days: int = 90) -> list[DeadlineReport]:
        """See FleetBase."""
        from fleetscore.operations.due.deadlines import list_deadlines

        return list_deadlines(self.store, workload, days, datetime.now(UTC))

    def costs(
        self, workload: str = "", since: str = "", month: str = "", by: str = "workload"
    ) -> list[MonthCost]:
        """What the workloads cost, month by month."""
        from fleetscore.operations.monthly_costs import list_costs

        return list_costs(self.store, workload, since, month, by)

    def doctor(self) -> Diagnosis:
        """What is wrong with the deployment, by the settings and the identity of this process."""
        from dataclasses import replace

        from fleetscore.app_settings import read_app_settings
        from fleetscore.operations.doctor.checks import examine

        app = replace(read_app_settings(), store=self.url)
        return examine(self.store, app, lambda: datetime.now(UTC))

    def doctor_azure(self, wait_s: float = 900.0) -> Diagnosis:
        """See FleetBase; with this process's own settings and identity."""
        from fleetscore.app_settings import read_app_settings
        from fleetscore.operations.doctor.azure import examine_azure

        return examine_azure(self.opened, read_app_settings(), lambda: datetime.now(UTC), wait_s)

    def score(self, workload: str, rows: Sequence[Mapping[str, Any]]) -> Answers:
        """An answer for each row of a mini-batch, with the pinned models, scored in this process."""
        from fleetscore.fleet.answers import Answers
        from fleetscore.pipeline.score_rows import answer_rows

        return Answers(**answer_rows(self.store, workload, rows))

    def models(self, workload: str) -> FleetModels:
        """The model sets of a workload."""
        from fleetscore.fleet.fleet_models import StoreModels
        from fleetscore.registry import find_workload

        return StoreModels(self.store, find_workload(self.store, workload).name)

    def results(
        self, workload: str, window: str = "", *, partition: str = "", held: bool = False
    ) -> pa.Table:
        """All rows of the window, published or held back, or those of one partition."""
        from fleetscore.pipeline.spellings import key_in_run
        from fleetscore.pipeline.window_checks import read_published
        from fleetscore.registry import get_workload
        from fleetscore.runs.result_pages import LATEST, find_held, find_published, read_page, read_partition

        kind = get_workload(self.store, workload)
        key = read_published(self.store, kind, window).key if window not in ("", LATEST) else ""
        find = find_held if held else find_published
        found = find(self.store, kind.name, key)
        if partition:
            schema, columns = kind.result_schema, kind.partition_columns
            own = key_in_run(self.store, kind.name, found.run, partition)
            return read_partition(self.store, found, schema, columns, own).table
        return read_page(self.store, found, 0, found.rows).table

    def backtest(self, workload: str, cutoffs: int, folder: Path) -> Mapping[str, Any]:
        """Train before each cutoff, score after it, and compare with what came."""
        from fleetscore.capabilities import Backtests, require
        from fleetscore.dashboard.picture_files import write_backtest
        from fleetscore.registry import get_workload

        kind = require(get_workload(self.store, workload), Backtests)
        found = kind.backtest(self.store, cutoffs)
        if not kind.backtest_chart:
            return found
        return {**found, "plots": [str(write_backtest(kind.backtest_chart, found, workload, folder))]}

    def draw(
        self, workload: str, windows: Sequence[str], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        """Draw published windows, by default the newest, as SVG pictures into `folder`."""
        from fleetscore.dashboard.picture_files import write_pictures
        from fleetscore.registry import get_workload

        kind = get_workload(self.store, workload)
        chosen = self._published(kind, windows)
        named = tuple(self._published_key(workload, chosen, partition) for partition in partitions)
        return write_pictures(self.store, kind, chosen, folder, named)

    def _published_key(self, workload: str, windows: Sequence[Window], partition: str) -> str:
        """The partition's key in the ledger of one of the published windows; MissingBlobError where none has
        it.
        """
        from fleetscore.pipeline.spellings import key_in_run
        from fleetscore.runs.manifests import read_manifest
        from fleetscore.runs.published import read_ledger_line

        runs = [read_manifest(self.store, workload, window.key).run for window in windows]
        for run in runs[:-1]:
            with suppress(MissingBlobError):
                own = key_in_run(self.store, workload, run, partition)
                return read_ledger_line(self.store, run, own).partition
        own = key_in_run(self.store, workload, runs[-1], partition)
        return read_ledger_line(self.store, runs[-1], own).partition

    def _published(self, workload: Workload, keys: Sequence[str]) -> list[Window]:
        """The windows that were named, or the newest published one; MissingBlobError when one is not
        published.
        """
        from fleetscore.pipeline.window_checks import read_published
        from fleetscore.runs.manifests import read_latest
        from fleetscore.store.paths import manifest_path

        if not keys:
            latest = read_latest(self.store, workload.name)
            if latest is None:
                raise MissingBlobError(
                    f"{workload.name} has published nothing in {self.url} yet.",
                    fix=f"Run a window: fleetscore run {workload.name} --window WINDOW",
                )
            return [read_published(self.store, workload, latest.window)]
        windows = [read_published(self.store, workload, key) for key in keys]
        for window in windows:
            if self.store.stat(manifest_path(workload.name, window.key)) is None:
                raise MissingBlobError(
                    f"{workload.name} {window.key} is not published.",
                    fix=f"Run it: fleetscore run {workload.name} --window {window.key}",
                    field="window",
                )
        return windows
