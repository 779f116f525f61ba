"""What a fleet over a store changes in this process: models, data, mutes, repairs."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscore.errors import InputError
from fleetscore.fleet.store_access import StoreAccess, absolute_store_url

if TYPE_CHECKING:
    from fleetscore.capabilities import FleetImport, NewFleet, Proposal, SampleReport
    from fleetscore.models.copying import CopiedSet
    from fleetscore.models.fit_record import FitCheck
    from fleetscore.models.model_sets import ModelSet
    from fleetscore.operations.attention.mutes import Mute
    from fleetscore.operations.housekeeping import Swept
    from fleetscore.operations.notices.delivery import TargetTest
    from fleetscore.operations.repair.files import Repairs
    from fleetscore.operations.table_sync import TableRepair
    from fleetscore.runs.retirements import Retirement
    from fleetscore.runs.status_answer import RunStatus


class StoreChanges(StoreAccess):
    """Changes of a store that need no host."""

    def mute(
        self, workload: str, *, why: str, until: str, partition: str = "", cause: str = "", normal: str = ""
    ) -> Mute:
        """Write down that the cause, the partition or both need no attention until then."""
        from fleetscore.operations.known_workloads import find_named_workload
        from fleetscore.operations.normal_incidents import request_mute

        return request_mute(
            self.store, find_named_workload(self.store, workload).name, why=why, until=until,
            now=datetime.now(UTC), requested_by=getpass.getuser(), partition=partition, cause=cause,
            normal=normal,
        )  # fmt: skip

    def unmute(self, workload: str, mute: str, why: str = "") -> Mute:
        """End a mute before its time."""
        from fleetscore.operations.attention.mutes import unmute
        from fleetscore.operations.known_workloads import find_named_workload

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

    def repair(self, *, dry_run: bool = False, guesses: bool = False) -> Repairs:
        """Repair damaged state files, or only report what would be done; what can only be guessed needs
        `guesses`.
        """
        from fleetscore.operations.repair.files import repair

        return repair(self.store, datetime.now(UTC), dry_run=dry_run, guesses=guesses)

    def repair_tables(self, *, dry_run: bool = False) -> list[TableRepair]:
        """Commit the published windows that the result tables lack, or only report which."""
        from fleetscore.operations.table_sync import repair_tables

        return repair_tables(self.store, datetime.now(UTC), dry_run=dry_run)

    def housekeeping(self, *, dry_run: bool = False) -> Swept:
        """Remove what is old and unreferenced, or only report what would be removed."""
        from fleetscore.operations.housekeeping import sweep

        return sweep(self.store, datetime.now(UTC), dry_run=dry_run)

    def publish_anyway(self, run: str, why: str) -> RunStatus:
        """Publish what a check held back of the run; the reason goes on record."""
        from fleetscore.app_settings import read_app_settings
        from fleetscore.operations.notices.ended_runs import send_ending_notices
        from fleetscore.pipeline.publish_anyway import publish_anyway
        from fleetscore.runs.status import describe_run

        now = datetime.now(UTC)
        record = publish_anyway(self.store, run, why=why, requested_by=getpass.getuser(), now=now)
        send_ending_notices(self.store, read_app_settings(), record)
        return describe_run(self.store, run, now)

    def test_notices(self, workload: str, target: str = "") -> list[TargetTest]:
        """Send a test notice to each target of the workload, or to the one that is named; what became of it.

        Addresses are read from this process's environment. InputError when there is no such workload or
        target.
        """
        from fleetscore.app_settings import read_app_settings
        from fleetscore.operations.notices.delivery import send_test

        return send_test(self.store, read_app_settings(), workload, datetime.now(UTC), target)

    def samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write sample data with planted defects into the store, which is created where it is missing."""
        from fleetscore.capabilities import MakesSamples, require
        from fleetscore.registry import get_workload

        kind = require(get_workload(self.opened, workload), MakesSamples)
        return kind.samples(self.opened, scale=scale, seed=seed)

    def capture_samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write the rows of `samples` as files of Event Hubs Capture, and the settings that read them.

        InputError where the kind cannot, or the workload has settings that read something else.
        """
        from fleetscore.capabilities import MakesCaptureSamples, require
        from fleetscore.registry import get_workload

        kind = require(get_workload(self.opened, workload), MakesCaptureSamples)
        return kind.capture_samples(self.opened, scale=scale, seed=seed)

    def import_models(self, workload: str, source: Path, *, pin: bool = True) -> ModelSet:
        """Import the models of a folder or file as a new model set into the store, which is created where
        it is missing.
        """
        return self.store_import(workload, self.import_set(workload, source), source, pin=pin)

    def import_set(self, workload: str, source: Path) -> FleetImport:
        """Import a model set as a whole, without storing anything yet; `store_import` stores what it
        gives.
        """
        from fleetscore.capabilities import FleetImport, ImportsModels, require
        from fleetscore.models.pins import read_pins
        from fleetscore.pipeline.absent import find_absent
        from fleetscore.registry import get_workload

        kind = get_workload(self.opened, workload)
        base = read_pins(self.opened, workload).current
        draft = require(kind, ImportsModels).import_models(self.opened, source)
        absent = tuple(find_absent(self.opened, kind, base, draft.files))
        return FleetImport(draft, {}, absent, absent, base)

    def copy_models(self, workload: str, source_url: str, version: str = "", role: str = "") -> CopiedSet:
        """Copy a model set from the store at `source_url` ("" is its current one), with its version and
        hashes.

        `role` "current" or "challenger" pins it as such; "" pins nothing. InputError where that store does
        not exist.
        """
        from fleetscore.models.copying import copy_model_set
        from fleetscore.models.pins import pin_challenger, pin_version
        from fleetscore.registry import get_workload
        from fleetscore.store import open_store

        get_workload(self.store, workload)
        source, user = open_store(absolute_store_url(source_url)), getpass.getuser()
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
        """Import a folder of models by key, without storing anything yet; `store_import` stores what it
        gives.
        """
        from dataclasses import replace

        from fleetscore.capabilities import ImportsFleets, require
        from fleetscore.models.pins import read_pins
        from fleetscore.pipeline.absent import find_absent
        from fleetscore.registry import get_workload

        kind = require(get_workload(self.store, workload), ImportsFleets)
        base = read_pins(self.store, workload).current
        imported = kind.import_fleet(
            self.store, source, base=base, add=add, trusted=trusted, manifest=manifest, report=report
        )
        absent = find_absent(self.store, get_workload(self.store, workload), base, imported.draft.files)
        return replace(imported, absent=tuple(absent), base=base)

    def store_import(
        self, workload: str, imported: FleetImport, source: Path, *, pin: bool = True
    ) -> ModelSet:
        """Store what was imported as a new model set, and make it the current one with `pin`.

        ConflictError where another version became current since the import began: the set is stored then,
        and not pinned.
        """
        from fleetscore.models.model_sets import write_model_set
        from fleetscore.models.pins import pin_version
        from fleetscore.pipeline.absent import CARD_LINE

        card = dict(imported.draft.card) | {"imported_from": source.name}
        card |= {CARD_LINE: list(imported.absent)} if imported.absent else {}
        stored = write_model_set(self.opened, workload, imported.draft.files, card)
        if pin:
            why = f"imported from {source.name}"
            pin_version(
                self.opened, workload, stored.version, requested_by=getpass.getuser(), why=why, replaces=imported.base
            )  # fmt: skip
        return stored

    def new_workload(
        self, asked: NewFleet, report: Callable[[str, int, int, str], None] | None = None
    ) -> tuple[Proposal, ModelSet | None]:
        """Make a workload of data and models: data copied where it was asked for, models imported and
        pinned, settings written.

        InputError where there is a workload of that name, or other data where it is to be copied; nothing
        is overwritten.
        """
        from fleetscore.operations.new_workload import check_new, make_workload

        check_new(self.opened, asked)
        return make_workload(self.opened, asked, getpass.getuser(), report)

    def check(
        self, workload: str, window: str = "", source: Path | None = None, *, models: str = "", trusted: bool = False,
        report: Callable[[str, int, int, str], None] | None = None,
    ) -> FitCheck:  # fmt: skip
        """What of a workload's settings, data and models does not fit together, found without a run.

        Data of `window`, by default the newest; models of the pinned set, of the version `models`, or of
        the folder `source`.
        """
        from fleetscore.capabilities import ChecksFit, require
        from fleetscore.models.model_sets import read_model_set
        from fleetscore.models.pins import Pins, read_pins
        from fleetscore.pipeline.window_checks import read_window
        from fleetscore.registry import find_workload, get_workload

        # names the line at fault; `ready` also knows schedules and policies
        get_workload(self.store, workload)
        found = find_workload(self.store, workload).ready()
        kind = require(found, ChecksFit)
        pins = read_pins(self.store, workload)
        if models:
            pins = Pins(read_model_set(self.store, workload, models).version)
        chosen = read_window(found, window) if window else None
        return kind.check_fit(self.store, pins, chosen, source, trusted=trusted, report=report)
