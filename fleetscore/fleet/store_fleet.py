"""A fleet over a store: it reads the store here, and starts the store's local host for whatever is to be scored."""

from __future__ import annotations

import atexit
import getpass
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.fleet.base import FleetBase

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetscore.fleet.answers import Answers, BackfillStarted, BackfillStatus, Started
    from fleetscore.fleet.connection import Connection
    from fleetscore.fleet.embedded_host import EmbeddedHost
    from fleetscore.fleet.fleet_models import FleetModels
    from fleetscore.models.copying import CopiedSet
    from fleetscore.models.model_sets import ModelSet
    from fleetscore.operations.anomalies import AnomalyReport
    from fleetscore.operations.attention import WorkloadAttention
    from fleetscore.operations.backfills import BackfillPreview
    from fleetscore.operations.deadlines import DeadlineReport
    from fleetscore.operations.doctor import Diagnosis
    from fleetscore.operations.drift_report import DriftReport
    from fleetscore.operations.explain import PartitionStory
    from fleetscore.operations.housekeeping import Swept
    from fleetscore.operations.monthly_costs import MonthCost
    from fleetscore.operations.mutes import Mute
    from fleetscore.operations.repair import Repairs
    from fleetscore.operations.replay import Replayed
    from fleetscore.operations.table_sync import TableRepair
    from fleetscore.pipeline.preview import RunPreview
    from fleetscore.records import FitCheck
    from fleetscore.runs.index import RunLine
    from fleetscore.runs.retirements import Retirement
    from fleetscore.runs.status_answer import RunStatus
    from fleetscore.store.base import Store
    from fleetscore.windows import Window
    from fleetscore.workload import FleetImport, NewFleet, Proposal, SampleReport, Workload


class Fleet(FleetBase):
    """The fleet of one store: `file:///folder`, a plain folder, or a Blob container.

    What is to be scored is scored by the store's local host, which is started when it is first needed and stopped when the
    fleet is closed; a host that runs already is used. InputError (`no_store`) where the store does not exist.
    """

    def __init__(
        self, url: str, *, host_folder: Path | None = None, host_options: Sequence[str] = ()
    ) -> None:
        """Open the store at `url`; its local host keeps its history in `host_folder`, by default with the store.

        `host_options` are further options of `devhost start`, for a local host that is started here.
        """
        self.url = absolute_store_url(url)
        self._host_folder, self._host_options = host_folder, tuple(host_options)
        self._host: EmbeddedHost | None = None
        self._connection: Connection | None = None
        self._blocks = 0
        self._handler: Any = None

    def __enter__(self) -> Self:
        self._blocks += 1
        return self

    def __exit__(self, *_exception: object) -> None:
        self._blocks -= 1
        if self._blocks == 0:
            self.close()

    def close(self) -> None:
        """Stop the local host if it was started here."""
        host, self._host, self._connection = self._host, None, None
        if host is None:
            return
        host.stop()
        atexit.unregister(self.close)
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None

    @property
    def exists(self) -> bool:
        """Whether the store is there; a folder or a container, with or without content."""
        return self.opened.exists()

    @cached_property
    def store(self) -> Store:
        """The store itself; InputError where it does not exist."""
        if not self.opened.exists():
            raise InputError(
                f"There is no store at {self.url}.",
                fix="Check the name in --store; `fleetscore samples WORKLOAD` creates a store with sample data.",
                field="store",
                code="no_store",
            )
        return self.opened

    @cached_property
    def opened(self) -> Store:
        """The store, whether or not it exists yet."""
        from fleetscore.store import open_store

        return open_store(self.url)

    def follow(self, run: str) -> RunStatus:
        """How the run stands, as the local host answers."""
        return self._hosted().ask(lambda app: app.show(run))

    def start_run(
        self,
        workload: str,
        window: str,
        *,
        partitions: Sequence[str] = (),
        models: str = "",
        force: bool = False,
    ) -> Started:
        """Start the window's run on the local host, or find the one that is under way or published."""
        return self._hosted().ask(
            lambda app: app.start_run(workload, window, partitions=partitions, models=models, force=force)
        )

    def start_retry(
        self, run: str, *, only: str = "", partitions: Sequence[str] = (), models: str = ""
    ) -> Started:
        """Start a new round of the run's window on the local host."""
        return self._hosted().ask(
            lambda app: app.start_retry(run, only=only, partitions=partitions, models=models)
        )

    def start_training(self, workload: str, first: str, end: str, *, pin: bool | None = None) -> Started:
        """Start a training on the windows [first, end) on the local host."""
        return self._hosted().ask(lambda app: app.start_training(workload, first, end, pin=pin))

    def start_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        max_parallel: int = 4, newest_first: bool = False, force: bool = False,
    ) -> BackfillStarted:  # fmt: skip
        """Start a backfill of the windows [first, end) on the local host."""
        return self._hosted().ask(
            lambda app: app.start_backfill(
                workload, first, end, only=only, partitions=partitions, models=models,
                max_parallel=max_parallel, newest_first=newest_first, force=force,
            )
        )  # fmt: skip

    def show_backfill(self, backfill: str) -> BackfillStatus:
        """How the backfill stands, as the local host answers."""
        return self._hosted().ask(lambda app: app.show_backfill(backfill))

    def cancel(self, run: str, *, force: bool = False) -> RunStatus:
        """Ask the run to stop: the local host wakes it if it runs, else the wish lies in the store until the run goes on.

        `force` closes its record alone, at once, whatever its orchestration does.
        """
        from fleetscore.fleet.embedded_host import EmbeddedHost
        from fleetscore.fleet.remote import RemoteFleet
        from fleetscore.pipeline.submit import cancel_run, close_by_force
        from fleetscore.runs.status import describe_run

        store = self.store
        running = EmbeddedHost(self.url).find()
        if running is not None:
            return RemoteFleet(running.url).cancel(run, force=force)
        if force:
            close_by_force(store, run, "cli", datetime.now(UTC))
        else:
            cancel_run(store, run, "cli")
        return describe_run(store, run, datetime.now(UTC))

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
        from fleetscore.operations.backfills import list_windows, preview_backfill
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
        from fleetscore.operations.overview import read_attention

        return read_attention(self.store, workload, datetime.now(UTC))

    def mute(self, workload: str, *, why: str, until: str, partition: str = "", cause: str = "") -> Mute:
        """Write down that the cause, the partition or both need no attention until then."""
        from fleetscore.operations.known_workloads import find_named_workload
        from fleetscore.operations.mutes import mute

        return mute(
            self.store, find_named_workload(self.store, workload).name, why=why, until=until,
            now=datetime.now(UTC), requested_by=getpass.getuser(), partition=partition, cause=cause,
        )  # fmt: skip

    def unmute(self, workload: str, mute: str, why: str = "") -> Mute:
        """End a mute before its time."""
        from fleetscore.operations.known_workloads import find_named_workload
        from fleetscore.operations.mutes import unmute

        name = find_named_workload(self.store, workload).name
        return unmute(self.store, name, mute, why=why, now=datetime.now(UTC), requested_by=getpass.getuser())

    def retire(self, workload: str, partition: str, *, why: str = "", undo: bool = False) -> Retirement:
        """Write down that the partition is expected no more, or again."""
        from fleetscore.operations.known_workloads import find_named_workload
        from fleetscore.operations.retiring import retire_partition

        return retire_partition(
            self.store, find_named_workload(self.store, workload).name, partition, why=why, undo=undo,
            now=datetime.now(UTC), requested_by=getpass.getuser(),
        )  # fmt: skip

    def mutes(self, workload: str) -> list[Mute]:
        """The workload's mutes in force, oldest first."""
        from fleetscore.operations.known_workloads import find_named_workload
        from fleetscore.operations.mutes import list_mutes

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
        from fleetscore.operations.deadlines import list_deadlines

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
        from fleetscore.operations.doctor import examine

        app = replace(read_app_settings(), store=self.url)
        return examine(self.store, app, lambda: datetime.now(UTC))

    def doctor_azure(self, wait_s: float = 900.0) -> Diagnosis:
        """See FleetBase; with this process's own settings and identity."""
        from fleetscore.app_settings import read_app_settings
        from fleetscore.operations.doctor_azure import examine_azure

        return examine_azure(self.opened, read_app_settings(), lambda: datetime.now(UTC), wait_s)

    def repair(self, *, dry_run: bool = False, guesses: bool = False) -> Repairs:
        """Repair damaged state files, or only report what would be done; what can only be guessed needs `guesses`."""
        from fleetscore.operations.repair import repair

        return repair(self.store, datetime.now(UTC), dry_run=dry_run, guesses=guesses)

    def repair_tables(self, *, dry_run: bool = False) -> list[TableRepair]:
        """Commit the published windows that the result tables lack, or only report which."""
        from fleetscore.operations.table_sync import repair_tables

        return repair_tables(self.store, datetime.now(UTC), dry_run=dry_run)

    def housekeeping(self, *, dry_run: bool = False) -> Swept:
        """Remove what is old and unreferenced, or only report what would be removed."""
        from fleetscore.operations.housekeeping import sweep

        return sweep(self.store, datetime.now(UTC), dry_run=dry_run)

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
        from fleetscore.registry import get_workload
        from fleetscore.runs.result_pages import find_held, find_published, read_page, read_partition

        kind = get_workload(self.store, workload)
        key = kind.parse_window(window).key if window else ""
        find = find_held if held else find_published
        found = find(self.store, kind.name, key)
        if partition:
            schema, columns = kind.result_schema, kind.partition_columns
            return read_partition(self.store, found, schema, columns, partition).table
        return read_page(self.store, found, 0, found.rows).table

    def publish_anyway(self, run: str, why: str) -> RunStatus:
        """Publish what a check held back of the run; the reason goes on record."""
        from fleetscore.app_settings import read_app_settings
        from fleetscore.operations.notices import send_ending_notices
        from fleetscore.pipeline.publish_anyway import publish_anyway
        from fleetscore.runs.status import describe_run

        now = datetime.now(UTC)
        record = publish_anyway(self.store, run, why=why, requested_by=getpass.getuser(), now=now)
        send_ending_notices(self.store, read_app_settings(), record)
        return describe_run(self.store, run, now)

    def samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write sample data with planted defects into the store, which is created where it is missing."""
        from fleetscore.registry import get_workload
        from fleetscore.workload import MakesSamples, require

        kind = require(get_workload(self.opened, workload), MakesSamples)
        return kind.samples(self.opened, scale=scale, seed=seed)

    def import_models(self, workload: str, source: Path, *, pin: bool = True) -> ModelSet:
        """Import the models of a folder or file as a new model set into the store, which is created where it is missing."""
        return self.store_import(workload, self.import_set(workload, source), source, pin=pin)

    def import_set(self, workload: str, source: Path) -> FleetImport:
        """Import a model set as a whole, without storing anything yet; `store_import` stores what it gives."""
        from fleetscore.models.model_sets import read_pins
        from fleetscore.pipeline.absent import find_absent
        from fleetscore.registry import get_workload
        from fleetscore.workload import FleetImport, ImportsModels, require

        kind = get_workload(self.opened, workload)
        draft = require(kind, ImportsModels).import_models(self.opened, source)
        absent = tuple(find_absent(self.opened, kind, read_pins(self.opened, workload).current, draft.files))
        return FleetImport(draft, {}, absent, absent)

    def copy_models(self, workload: str, source_url: str, version: str = "", role: str = "") -> CopiedSet:
        """Copy a model set from the store at `source_url` ("" is its current one), with its version and hashes.

        `role` "current" or "challenger" pins it as such; "" pins nothing. InputError where that store does not exist.
        """
        from fleetscore.models.copying import copy_model_set
        from fleetscore.models.model_sets import pin_challenger, pin_version
        from fleetscore.registry import get_workload

        get_workload(self.store, workload)
        source, user = Fleet(source_url).opened, getpass.getuser()
        if not source.exists():
            raise InputError(
                f"There is no store at {source.url}.",
                fix="Check the address that the set is copied from.",
                field="from",
                code="no_store",
            )
        copied = copy_model_set(source, self.store, workload, version, user, datetime.now(UTC))
        if role:
            pin = pin_challenger if role == "challenger" else pin_version
            pin(self.store, workload, copied.set.version, requested_by=user, why=f"copied from {source.url}")
        return copied

    def import_fleet(
        self, workload: str, source: Path, *, add: bool = False, trusted: bool = False, manifest: Path | None = None,
        report: Callable[[str, int, int, str], None] | None = None,
    ) -> FleetImport:  # fmt: skip
        """Import a folder of models by key, without storing anything yet; `store_import` stores what it gives."""
        from dataclasses import replace

        from fleetscore.models.model_sets import read_pins
        from fleetscore.pipeline.absent import find_absent
        from fleetscore.registry import get_workload
        from fleetscore.workload import ImportsFleets, require

        kind = require(get_workload(self.store, workload), ImportsFleets)
        base = read_pins(self.store, workload).current
        imported = kind.import_fleet(
            self.store, source, base=base, add=add, trusted=trusted, manifest=manifest, report=report
        )
        absent = find_absent(self.store, get_workload(self.store, workload), base, imported.draft.files)
        return replace(imported, absent=tuple(absent))

    def store_import(
        self, workload: str, imported: FleetImport, source: Path, *, pin: bool = True
    ) -> ModelSet:
        """Store what was imported as a new model set, and make it the current one with `pin`."""
        from fleetscore.models.model_sets import pin_version, write_model_set
        from fleetscore.pipeline.absent import CARD_LINE

        card = dict(imported.draft.card) | {"imported_from": source.name}
        card |= {CARD_LINE: list(imported.absent)} if imported.absent else {}
        stored = write_model_set(self.opened, workload, imported.draft.files, card)
        if pin:
            why = f"imported from {source.name}"
            pin_version(self.opened, workload, stored.version, requested_by=getpass.getuser(), why=why)
        return stored

    def new_workload(
        self, asked: NewFleet, report: Callable[[str, int, int, str], None] | None = None
    ) -> tuple[Proposal, ModelSet | None]:
        """Make a workload of data and models: data copied where it was asked for, models imported and pinned, settings written.

        InputError where there is a workload of that name, or other data where it is to be copied; nothing is overwritten.
        """
        from fleetscore.operations.new_workload import check_new, make_workload

        check_new(self.opened, asked)
        return make_workload(self.opened, asked, getpass.getuser(), report)

    def check(
        self, workload: str, window: str = "", source: Path | None = None, *, models: str = "", trusted: bool = False,
        report: Callable[[str, int, int, str], None] | None = None,
    ) -> FitCheck:  # fmt: skip
        """What of a workload's settings, data and models does not fit together, found without a run.

        Data of `window`, by default the newest; models of the pinned set, of the version `models`, or of the folder `source`.
        """
        from fleetscore.models.model_sets import Pins, read_model_set, read_pins
        from fleetscore.registry import get_workload
        from fleetscore.workload import ChecksFit, require

        found = get_workload(self.store, workload)
        kind = require(found, ChecksFit)
        pins = read_pins(self.store, workload)
        if models:
            pins = Pins(read_model_set(self.store, workload, models).version)
        chosen = found.parse_window(window) if window else None
        return kind.check_fit(self.store, pins, chosen, source, trusted=trusted, report=report)

    def backtest(self, workload: str, cutoffs: int, folder: Path) -> Mapping[str, Any]:
        """Train before each cutoff, score after it, and compare with what came."""
        from fleetscore.dashboard.picture_files import write_backtest
        from fleetscore.registry import get_workload
        from fleetscore.workload import Backtests, require

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
        for partition in partitions:
            self._check_published(workload, chosen, partition)
        return write_pictures(self.store, kind, chosen, folder, tuple(partitions))

    def _check_published(self, workload: str, windows: Sequence[Window], partition: str) -> None:
        """MissingBlobError unless the partition is in the ledger of one of the published windows."""
        from fleetscore.runs.manifests import read_manifest
        from fleetscore.runs.published import read_ledger_line

        runs = [read_manifest(self.store, workload, window.key).run for window in windows]
        for run in runs[:-1]:
            with suppress(MissingBlobError):
                read_ledger_line(self.store, run, partition)
                return
        read_ledger_line(self.store, runs[-1], partition)

    def _published(self, workload: Workload, keys: Sequence[str]) -> list[Window]:
        """The windows that were named, or the newest published one; MissingBlobError when one is not published."""
        from fleetscore.runs.manifests import read_latest
        from fleetscore.store.paths import manifest_path

        if not keys:
            latest = read_latest(self.store, workload.name)
            if latest is None:
                raise MissingBlobError(
                    f"{workload.name} has published nothing in {self.url} yet.",
                    fix=f"Run a window: fleetscore run {workload.name} --window WINDOW",
                )
            return [workload.parse_window(latest.window)]
        windows = [workload.parse_window(key) for key in keys]
        for window in windows:
            if self.store.stat(manifest_path(workload.name, window.key)) is None:
                raise MissingBlobError(
                    f"{workload.name} {window.key} is not published.",
                    fix=f"Run it: fleetscore run {workload.name} --window {window.key}",
                    field="window",
                )
        return windows

    def _hosted(self) -> Connection:
        """The connection to the local host, started now if it does not run; InputError where there is no store."""
        if self._connection is None:
            from fleetscore.fleet.connection import Connection
            from fleetscore.fleet.embedded_host import EmbeddedHost

            self._check_quickly()
            self._host = EmbeddedHost(self.url, self._host_folder, self._host_options)
            atexit.register(self.close)
            if threading.current_thread() is threading.main_thread():
                self._handler = signal.signal(signal.SIGTERM, _leave)
            threading.Thread(target=_import_meanwhile, daemon=True).start()
            self._connection = Connection(self._host)
        return self._connection

    def _check_quickly(self) -> None:
        """Refuse a store that does not exist; a folder is looked at without importing what reads it."""
        folder = folder_of(self.url)
        if folder is None or not folder.is_dir():
            _ = self.store


def absolute_store_url(url: str) -> str:
    """The URL with a relative folder made absolute, so that it means the same to a host in another folder.

    >>> absolute_store_url("https://account.blob.core.windows.net/container")
    'https://account.blob.core.windows.net/container'
    """
    if url.startswith("file:///"):
        return Path(unquote(url.removeprefix("file://"))).resolve().as_uri()
    if "://" in url:
        return url
    try:
        return Path(url).expanduser().resolve().as_uri()
    except FileNotFoundError as error:
        raise InputError(
            f"{url} is relative to a working directory that is gone.", fix="Give a whole path.", field="store"
        ) from error


def folder_of(store_url: str) -> Path | None:
    """The folder of a folder store, else None."""
    return Path(unquote(store_url.removeprefix("file://"))) if store_url.startswith("file:///") else None


def _import_meanwhile() -> None:
    """Import what following a run takes while the host starts, which leaves a core to it; Arrow is none of it."""
    import fleetscore.fleet.remote
    import fleetscore.runs.status_answer  # noqa: F401


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)
