"""The kind models: any model per partition, described by a settings file. Each method imports what it needs
when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from fleetscore.capabilities import (
    ChecksFit,
    ChecksResults,
    FleetImport,
    HasModelKeys,
    HoldsModels,
    ImportsFleets,
    Judges,
    NewFleet,
    Proposal,
    ProposesFleets,
    ScoresRows,
    Trains,
)
from fleetscore.models.fit_record import FitCheck
from fleetscore.models.pins import Pins
from fleetscore.predictions import Rates
from fleetscore.records import Collected
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import ModelSetDraft, Partitions, RunContext, Scored, Shard, Trained, Workload
from fleetscore.workloads.models.settings import FleetSettings


class Models(
    Workload, ImportsFleets, ScoresRows, HasModelKeys, HoldsModels, ChecksResults, ChecksFit, ProposesFleets, Trains, Judges
):  # fmt: skip
    """A fleet of models by key, packed by family, that score rows of any shape; no code of the user's is
    needed.
    """

    name = "models"
    warnings = frozenset({"unexpected_result"})
    cadences = (Cadence.DAY,)
    settings_type = FleetSettings
    result_schema = pa.schema([])
    training_rates = Rates(shard_s=1.0, partition_s=0.3, row_s=1e-4, bytes_per_row=400.0)
    rates = Rates(shard_s=0.3, partition_s=1e-4, row_s=2e-6, bytes_per_row=200.0)

    def __init__(self, name: str = "", settings: Any = None, zone: str = "UTC") -> None:
        """The fleet that the settings describe; its columns, windows and results follow from them."""
        super().__init__(name, settings, zone)
        from fleetscore.workloads.models.own_settings import read_own_function
        from fleetscore.workloads.models.results import results_schema

        given: FleetSettings = self.settings
        self.settings, own_columns = read_own_function(self.name, given)
        self.cadences = (given.cadence,)
        self.partition_columns = given.partition or ("partition",)
        self.result_schema = results_schema(self.settings, own_columns)
        self.training_schedule, self.training_days = given.train.schedule, given.train.days
        self.outputs = self.settings.models.outputs

    def code_distrust(self) -> str | None:
        from fleetscore.workloads.models.own_settings import distrust_settings

        return distrust_settings(self.name, self.settings)

    def idle_reason(self, window: Window) -> str:
        from fleetscore.workloads.models.expected import is_expected_day

        own: FleetSettings = self.settings
        day = window.start.astimezone(ZoneInfo(own.timezone))
        return "" if is_expected_day(window, own) else f"on {day:%A} (days = {own.expect.days!r} in [expect])"

    def discover(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.models.discovery import discover_window

        return discover_window(run)

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        from fleetscore.workloads.models.scoring import score_partitions

        return score_partitions(run, shard)

    def model_bytes(self, run: RunContext) -> tuple[int, int]:
        from fleetscore.workloads.models.bundles import weigh_models

        return weigh_models(run)

    def row_bytes(self, run: RunContext) -> float:
        from fleetscore.workloads.models.row_weight import weigh_row

        return weigh_row(run)

    loss = "mean absolute error, of classes the share of wrong ones"

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        from fleetscore.workloads.models.judging import judge_fleet

        return judge_fleet(self, store, window, results)

    def check_training(self) -> None:
        from fleetscore.workloads.models.training import check_training

        check_training(self.name, self.settings)

    @property
    def enters(self) -> str:
        own: FleetSettings = self.settings
        return own.train.enters

    def discover_training(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.models.training import discover_training

        return discover_training(run)

    def train(self, run: RunContext, shard: Shard) -> Trained:
        from fleetscore.workloads.models.training import train_keys

        return train_keys(run, shard)

    def assemble(self, run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
        from fleetscore.workloads.models.training import assemble_fleet

        return assemble_fleet(run, parts)

    def import_fleet(
        self, store: Store, source: Path, *, base: str = "", add: bool = False, trusted: bool = False,
        manifest: Path | None = None, report: Callable[[str, int, int, str], None] | None = None,
    ) -> FleetImport:  # fmt: skip
        from fleetscore.workloads.models.bundles import find_bundle
        from fleetscore.workloads.models.importing import import_fleet

        before = find_bundle(store, self.name, base) if base else None
        return import_fleet(
            source, self.settings, before, add=add, trusted=trusted, manifest=manifest, report=report
        )

    def propose(
        self, store: Store, asked: NewFleet, report: Callable[[str, int, int, str], None] | None = None
    ) -> Proposal:
        from fleetscore.workloads.models.new_fleet import propose_fleet

        return propose_fleet(store, asked, report)

    def check_fit(
        self, store: Store, pins: Pins, window: Window | None = None, source: Path | None = None, *, trusted: bool = False,
        report: Callable[[str, int, int, str], None] | None = None,
    ) -> FitCheck:  # fmt: skip
        from fleetscore.workloads.models.fit_check import check_fit

        return check_fit(self, store, pins, window, source, trusted, report)

    def modelled_partitions(self, read: Callable[[str], bytes]) -> Sequence[str] | None:
        from fleetscore.models.packs.bundle import open_bundle
        from fleetscore.workloads.models.expected import partitions_of_models

        own: FleetSettings = self.settings
        return sorted(partitions_of_models(open_bundle(read), own)) if own.expects == "models" else None

    def model_keys(self, store: Store, version: str) -> frozenset[str]:
        from fleetscore.workloads.models.bundles import find_bundle

        return frozenset(find_bundle(store, self.name, version).keys.to_pylist())

    def check_results(self, run: RunContext, collected: Collected) -> str:
        from fleetscore.workloads.models.checks import find_reason

        return find_reason(run, collected)

    def score_rows(self, store: Store, pins: Pins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from fleetscore.workloads.models.mini_batches import score_mini_batch

        return score_mini_batch(store, self.name, self.settings, pins, rows)

    def warm_rows(self, store: Store, pins: Pins) -> None:
        from fleetscore.workloads.models.mini_batches import score_mini_batch  # noqa: F401  # what rows need
        from fleetscore.workloads.models.warm_models import warm_models

        warm_models(store, self.name, self.settings, pins)
