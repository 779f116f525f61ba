"""The expected partitions of a window: those with rows, and the silent ones that the settings expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FleetscoreError, InputError
from fleetscore.exhaustion import raise_passing
from fleetscore.models.packs.bundle import Bundle
from fleetscore.records import InputFile, Outcome
from fleetscore.sources import TimeRange, find_inputs
from fleetscore.sources.aggregating import describe_cut_intervals
from fleetscore.workload import Partitions, Remark, RunContext
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.expected import expected_partitions, shared_keys
from fleetscore.workloads.models.key_counts import WindowCounts, count_keys
from fleetscore.workloads.models.key_pins import KeyVersions, find_key_versions
from fleetscore.workloads.models.own_settings import UNTRUSTED, describe_code, distrust_own_code
from fleetscore.workloads.models.settings import FleetSettings

_COLUMN_BYTES = 16.0  # of a row's cell while it is read and scored


@dataclass(frozen=True, slots=True)
class WindowFiles:
    """The files of a window, and what is to be said of those passed over."""

    files: tuple[InputFile, ...]
    remarks: tuple[str, ...]


def discover_window(run: RunContext) -> Partitions:
    """Every expected partition with its rows, its model version, or why it has none; the window's files,
    and remarks.
    """
    settings = checked_settings(run)
    found = find_files(run)
    span = TimeRange(run.window.start, run.window.end)
    counts = count_keys(run.store, run.workload, run.window.key, settings, found.files, span)
    bundles = _Bundles(run)
    bundles.by_key = find_key_versions(counts.keyed, settings, run.pins, bundles.get(run.pins.current))
    present = _present(counts.keyed, settings, bundles)
    expected = expected_partitions(run, bundles.get(run.pins.current), counts.keyed)
    silent = expected - shared_keys(counts.keyed)
    distrust = distrust_own_code(run.workload, settings)
    table = _table(present, sorted(silent - present.keys()), bundles, counts, settings)
    if distrust:
        table = _refused(table, distrust)
    remarks = (
        *describe_code(run.workload, settings, bundles.get(run.pins.current)),
        *describe_cut_intervals(settings.source, span),
        *bundles.by_key.remarks(),
        *(Remark("passed_over", text) for text in found.remarks),
        *(Remark("rejected_rows", text) for text in counts.remarks),
        *(Remark(e.code, e.message_with(path)) for path, e in counts.faults.items()),
    )
    return Partitions(table, found.files, remarks)


def checked_settings(run: RunContext) -> FleetSettings:
    """The workload's settings; InputError where they name no partition or no data."""
    settings: FleetSettings = run.settings
    path = f"settings/{run.workload}.toml"
    if not settings.partition:
        raise InputError(
            f"{path} names no partition.", fix='Add a line such as partition = ["van_id"].', field="partition"
        )
    if not settings.data.paths and not settings.data.database:
        raise InputError(
            f"{path} names no data.", fix='Add [data] with path = "data/telemetry/*.parquet".', field="data"
        )
    return settings


def find_files(run: RunContext) -> WindowFiles:
    """The window's files: as the plan has them, else listed, or landed from a database."""
    settings: FleetSettings = run.settings
    if run.inputs:
        return WindowFiles(run.inputs, ())
    data = settings.source
    listing = find_inputs(run.store, data, run.workload, run.window)
    return WindowFiles(listing.files, listing.remarks())


@dataclass(frozen=True, slots=True)
class _Present:
    """A partition that has rows: how many, and how many of them no model scores."""

    rows: int
    without_model: int
    error: str = ""


class _Bundles:
    """The bundles of the versions that a run uses; a version that cannot be opened costs the partitions
    that use it.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._opened: dict[str, Bundle | None] = {}
        self.errors: dict[str, FleetscoreError] = {}
        self.by_key = KeyVersions()

    def get(self, version: str) -> Bundle | None:
        if version and version not in self._opened:
            try:
                self._opened[version] = find_bundle(self._run.store, self._run.workload, version)
            except FleetscoreError as error:
                raise_passing(error)
                self._opened[version], self.errors[version] = None, error
        return self._opened.get(version)

    def version_of(self, partition: str) -> str:
        return self.by_key.versions.get(partition) or self._run.pins.version_for(partition)


def _present(keyed: pa.Table, settings: FleetSettings, bundles: _Bundles) -> dict[str, _Present]:
    """The partitions that have rows; a row has a model where any of its keys has."""
    has_model = _has_model(keyed, settings, bundles)
    table = keyed.append_column("lacking", pc.if_else(pa.array(has_model), 0, keyed["rows"]))
    sums = table.group_by("partition", use_threads=False).aggregate([("rows", "sum"), ("lacking", "sum")])
    columns = (sums[name].to_pylist() for name in ("partition", "rows_sum", "lacking_sum"))
    return {key: _Present(rows, lacking) for key, rows, lacking in zip(*columns, strict=True)}


def _has_model(
    keyed: pa.Table, settings: FleetSettings, bundles: _Bundles
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    versions = np.array([bundles.version_of(key) for key in keyed["partition"].to_pylist()], object)
    found = np.zeros(keyed.num_rows, bool)
    if settings.models.score:
        return ~found
    for version in set(versions.tolist()):
        bundle = bundles.get(version)
        if bundle is None:
            continue
        mine = np.flatnonzero(versions == version)
        for at in range(len(settings.key_patterns)):
            keys = keyed[f"key_{at}"].take(pa.array(mine)).combine_chunks()
            found[mine] |= bundle.find(keys)[0] >= 0
    return found


def _table(
    present: dict[str, _Present],
    silent: Sequence[str],
    bundles: _Bundles,
    counts: WindowCounts,
    settings: FleetSettings,
) -> pa.Table:
    rows = [_line(key, one, bundles, settings) for key, one in sorted(present.items())]
    late = _late_detail(counts)
    rows += [(key, 0, bundles.version_of(key), Outcome.LATE, "no_rows", late) for key in silent]
    width = len(settings.data.features) + len(settings.data.keep) + len(settings.models.outputs) + 4
    columns = list(zip(*rows, strict=True)) or [()] * 6
    partition, count, model, outcome, cause, detail = columns
    sizes = [int(n * width * _COLUMN_BYTES) for n in count]
    return Partitions.table(
        partition, rows=count, size_bytes=sizes, model=model, outcome=[str(o) for o in outcome], cause=cause, detail=detail
    )  # fmt: skip


def _line(
    key: str, one: _Present, bundles: _Bundles, settings: FleetSettings
) -> tuple[str, int, str, str, str, str]:
    version = bundles.version_of(key)
    error = bundles.errors.get(version)
    if error is not None:
        return key, one.rows, version, Outcome.FAILED, error.code, str(error)
    if one.without_model == one.rows and not settings.models.score:
        detail = (
            f"No model of version {version} has one of its keys ({settings.key_words})."
            if version
            else ("No model set is pinned; import models first.")
        )
        return key, one.rows, version, Outcome.SKIPPED, "no_model", detail
    return key, one.rows, version, "", "", ""


def _refused(table: pa.Table, detail: str) -> pa.Table:
    """The partitions that were to be scored as failed, for want of trust."""
    rows = table.to_pylist()
    refused = {"outcome": str(Outcome.FAILED), "cause": UNTRUSTED, "detail": detail}
    return pa.Table.from_pylist([row if row["outcome"] else {**row, **refused} for row in rows], table.schema)


def _late_detail(counts: WindowCounts) -> str:
    if not counts.faults:
        return "No row of the window is there."
    count = len(counts.faults)
    path, error = next(iter(counts.faults.items()))
    files = "a file" if count == 1 else f"{count:,} files, the first"
    return f"No row of the window could be read; {files} cannot be read: {error.message_with(path)}"
