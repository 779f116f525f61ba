"""Which partitions are expected in a window although they may be silent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import MissingBlobError
from fleetscore.models.packs.bundle import Bundle
from fleetscore.partition_keys import join_key
from fleetscore.records import RunState
from fleetscore.runs.index import list_runs_since, newest_rounds
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth
from fleetscore.windows import Window, parse_key
from fleetscore.workload import RunContext
from fleetscore.workloads.models.settings import FleetSettings, read_days

_LEDGERS = 1_500
"""The newest windows whose ledgers are read to find the partitions that were seen: 14 days of quarter hours."""

_AT_ONCE = 50
"""Ledgers whose names are held at a time; all of them would hold each name once a window."""


def expected_partitions(run: RunContext, bundle: Bundle | None) -> set[str]:
    """The partitions that are late when they are silent: by the models, by earlier ledgers, or none, as the
    settings say.

    None on a day of the week on which no data is expected. Pinned partitions are expected on all others.
    """
    settings: FleetSettings = run.settings
    if not is_expected_day(run.window, settings):
        return set()
    pinned = set(run.pins.partitions)
    if settings.expects == "models":
        pinned |= partitions_of_keys(run.pins.keys, settings)
        return pinned if bundle is None else pinned | partitions_of_models(bundle, settings)
    if settings.expects == "seen":
        return pinned | seen_partitions(run.store, run.workload, run.window, settings.seen_days)
    return pinned


def seen_partitions(store: Store, workload: str, window: Window, days: int) -> set[str]:
    """The partitions that had rows in a published window of the `days` before this one."""
    earliest = window.start - timedelta(days=days)
    lines = list_runs_since(store, workload, f"{earliest - timedelta(days=days):%Y-%m-%d}")
    newest = newest_rounds(lines)
    runs = [
        (parse_key(key), line.run)
        for key, line in newest.items()
        if line.purpose == "score" and line.state is RunState.PUBLISHED
    ]
    before = sorted((found, run) for found, run in runs if earliest <= found.start < window.start)
    newest_runs = [run for _, run in before[-_LEDGERS:]]
    seen: set[str] = set()
    for at in range(0, len(newest_runs), _AT_ONCE):
        seen.update(*side_by_side(lambda run: _with_rows(store, run), newest_runs[at : at + _AT_ONCE]))
    return seen


def _with_rows(store: Store, run: str) -> set[str]:
    try:
        with open_truth(store, run_path(run, "ledger.parquet")) as source:
            table = pq.read_table(source, columns=["partition", "input_rows"])
    except MissingBlobError:  # removed by housekeeping
        return set()
    found: list[str] = table.filter(pc.greater(table["input_rows"], 0))["partition"].to_pylist()
    return set(found)


def partitions_of_models(bundle: Bundle, settings: FleetSettings) -> set[str]:
    """The partition of each model: its key is the partition's fields in the order of the pattern."""
    keys: pa.StringArray = bundle.keys
    return partitions_of_keys(keys.to_pylist(), settings)


def partitions_of_keys(keys: Iterable[str], settings: FleetSettings) -> set[str]:
    """The partitions that the model keys name, each as its fields in the order of the pattern."""
    if len(settings.partition) == 1 and settings.key_patterns[0] == f"{{{settings.partition[0]}}}":
        return {join_key([key]) for key in keys}
    return {key for key in keys if key.count("/") == len(settings.partition) - 1}


def shared_keys(keyed: pa.Table) -> set[str]:
    """The keys that rows have by a later choice than the first, such as depots: models of them belong to no
    partition of that name.
    """
    names = [name for name in keyed.column_names if name.startswith("key_") and name != "key_0"]
    return {
        join_key([key]) for name in names for key in pc.unique(keyed[name]).to_pylist() if key is not None
    }


def is_expected_day(window: Window, settings: FleetSettings) -> bool:
    """Whether the settings expect data on the window's day of the week, in their zone; always of weeks and
    months.
    """
    from zoneinfo import ZoneInfo

    local = window.start.astimezone(ZoneInfo(settings.timezone))
    return window.cadence.value in ("week", "month") or local.weekday() in read_days(settings.expect.days)
