"""Which partitions are expected in a window although they may be silent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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


def expected_partitions(run: RunContext, bundle: Bundle | None, keyed: pa.Table) -> set[str]:
    """The partitions that are late when they are silent: by the models, by earlier ledgers, or none, as the
    settings say.

    None on a day of the week on which no data is expected. Pinned partitions are expected on all others.
    Models of keys that rows of the window have (`keyed`) are not silent, however their names are split.
    """
    settings: FleetSettings = run.settings
    if not is_expected_day(run.window, settings):
        return set()
    pinned = set(run.pins.partitions)
    if settings.expects == "models":
        keys = {*run.pins.keys, *(bundle.keys.to_pylist() if bundle is not None else ())}
        return pinned | partitions_of_keys(keys - set(keyed["key_0"].to_pylist()), settings)
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
    """The partitions that have a model of their own."""
    return partitions_of_keys(bundle.keys.to_pylist(), settings)


def partitions_of_keys(keys: Iterable[str], settings: FleetSettings) -> set[str]:
    """The partitions that the model keys name: the values that the first pattern joined; none where its
    columns are not those of the partition.
    """
    if not settings.is_key_partition:
        return set()
    pattern = settings.key_patterns[0]
    if pattern == f"{{{settings.partition[0]}}}":
        return {join_key([key]) for key in keys}
    expression, places = _expression(pattern, settings.partition)
    found = (expression.fullmatch(key) for key in keys)
    return {join_key([match[place] for place in places]) for match in found if match}


def _expression(pattern: str, partition: Sequence[str]) -> tuple[re.Pattern[str], list[int]]:
    """What a key of the pattern looks like, and the group of each column of the partition.

    Where values hold what stands between them, the first ones are as long as can be: names of places
    have such marks more often than numbers have.

    >>> expression, places = _expression("{site}_{pump}", ["pump", "site"])
    >>> [expression.fullmatch("North_A_007")[place] for place in places]
    ['007', 'North_A']
    """
    parts = re.split(r"\{([^{}/]+)\}", pattern)
    text = "".join("(.+)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile(text, re.DOTALL), [parts[1::2].index(name) + 1 for name in partition]


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
