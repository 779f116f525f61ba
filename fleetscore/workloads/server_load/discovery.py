"""Which servers are expected in a window, and what is already known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError
from fleetscore.partition_keys import join_key
from fleetscore.records import InputFile, Outcome
from fleetscore.schemas import PARTITIONS
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Partitions, Remark, RunContext
from fleetscore.workloads.server_load.addresses import describe_spellings
from fleetscore.workloads.server_load.features import LOOKBACK_HOURS
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR, Cause
from fleetscore.workloads.server_load.months import hour_of, moment_of
from fleetscore.workloads.server_load.parse import SPELLINGS
from fleetscore.workloads.server_load.partials import RangeRecord
from fleetscore.workloads.server_load.repeats import read_repeats, repeats_by_file
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.sources import (
    MonthHours,
    SetAside,
    Sources,
    find_sources,
    months_of,
    require_parsed,
)

FLEET = "fleet"
"""The one partition of a training: a single model serves all servers, new ones too."""

_BYTES_PER_HOUR_ROW = 80
_HOURS_AHEAD = 24  # clocks differ, and a zone may be wrong: a day is not worth a word
_UNREAD = (Cause.BAD_NUMBER.code, Cause.BIG_NUMBER.code)


def hours_read(run: RunContext) -> tuple[int, int]:
    """The hours of data [first, stop) that the run reads."""
    first, stop = _span(run)
    return first - LOOKBACK_HOURS, stop


def _span(run: RunContext) -> tuple[int, int]:
    if run.purpose == "train":
        first, end = run.span
        return hour_of(first.start), hour_of(end.start)
    return hour_of(run.window.end), hour_of(run.window.end)


def discover_window(run: RunContext) -> Partitions:
    """Every server with a session in the lookback of the window, and the months of hours to score them
    from.
    """
    store = run.store
    first, stop = hours_read(run)
    sources, months, inputs = _prepared(run, first, stop)
    hours = read_hours(store, inputs, first, stop, ["server", "hour"])
    found = hours.group_by("server").aggregate([("hour", "count"), ("hour", "max")])
    aside = _servers_aside(store, sources.aside, first, stop)
    seen = dict(
        zip(
            found["server"].to_pylist(),
            zip(found["hour_count"].to_pylist(), found["hour_max"].to_pylist(), strict=True),
            strict=True,
        )
    )
    wanted = set(seen) | set(aside)
    chosen = frozenset(run.settings.wanted_servers or wanted)
    rows = [_partition(server, seen.get(server), aside.get(server), run, chosen) for server in sorted(wanted)]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(PARTITIONS.names)}
    return Partitions(Partitions.table(**columns), inputs, _remarks(store, sources, months))


def _partition(
    server: str, seen: tuple[int, int] | None, aside: SetAside | None, run: RunContext, chosen: frozenset[str]
) -> tuple[Any, ...]:
    """The PARTITIONS row of a server: the first rule that settles it, else to be scored."""
    settings: ServerLoadSettings = run.settings
    rows, last_hour = seen or (0, None)
    key = join_key([server])
    model = run.pins.version_for(key)
    outcome, cause, detail = "", "", ""
    late_from = hour_of(run.window.end) - settings.late_after_hours
    if server not in chosen:
        outcome, cause, detail = (
            Outcome.SKIPPED,
            "filtered_out",
            "Not among the servers that the settings name.",
        )
    elif aside is not None:
        outcome, cause, detail = Outcome.QUARANTINED, "file_set_aside", aside.detail
    elif last_hour is None or last_hour < late_from:
        last = (
            "none in the 31 days before"
            if last_hour is None
            else f"the last began {moment_of(last_hour):%Y-%m-%d %H}:00"
        )
        outcome, cause = Outcome.LATE, "no_recent_sessions"
        detail = f"No session in the last {settings.late_after_hours} hours of the window: {last}."
    elif not model:
        outcome, cause, detail = Outcome.SKIPPED, "no_model", "No model set is pinned: train and pin one."
    return key, rows, rows * _BYTES_PER_HOUR_ROW, model, str(outcome), cause, detail


def discover_span(run: RunContext) -> Partitions:
    """The one partition of a training, with as many rows as there are server-hours to learn from."""
    store, settings = run.store, run.settings
    first, stop = hours_read(run)
    sources, months, inputs = _prepared(run, first, stop)
    hours = read_hours(
        store, inputs, first + LOOKBACK_HOURS, stop, ["server", "hour"], settings.wanted_servers
    )
    if not hours.num_rows:
        raise InputError(
            f"No server has a session from {run.span[0].key} to before {run.span[1].key}.",
            fix="Choose days that the logs hold.",
            field="from",
        )
    rows = hours.num_rows
    expected = Partitions.table(FLEET, rows=rows, size_bytes=rows * _BYTES_PER_HOUR_ROW)
    return Partitions(expected, inputs, _remarks(store, sources, months))


def _prepared(
    run: RunContext, first: int, stop: int
) -> tuple[Sources, list[MonthHours], tuple[InputFile, ...]]:
    store, settings = run.store, run.settings
    sources = find_sources(store, settings, run.workload)
    require_parsed(sources)
    months = months_of(sources.usable, first, stop, settings.buckets)
    inputs = []
    for month in months:
        entry = store.stat(month.path)
        if entry is None:
            raise InputError(
                f"The hours of {month.month.key} are not prepared yet.",
                fix="Run the window (or the training): preparation comes first.",
                code="not_prepared",
                field="window",
            )
        inputs.append(InputFile(entry.path, entry.etag, entry.size_bytes))
    return sources, months, tuple(inputs)


def read_hours(
    store: Store,
    inputs: Sequence[InputFile],
    first_hour: int,
    stop_hour: int,
    columns: Sequence[str] | None = None,
    servers: Sequence[str] = (),
) -> pa.Table:
    """The hours (HOURS or some columns of it) in [first_hour, stop_hour) of all servers, or of those
    named.
    """
    parts = []
    for item in inputs:
        with store.open(item.path) as file:
            table = pq.read_table(file, columns=columns)
        wanted = pc.and_(pc.greater_equal(table["hour"], first_hour), pc.less(table["hour"], stop_hour))
        if servers:
            wanted = pc.and_(
                wanted, pc.is_in(table["server"].cast(pa.string()), pa.array(servers, pa.string()))
            )
        parts.append(table.filter(wanted))
    if not parts:
        from fleetscore.workloads.server_load.peaks import HOURS

        empty = HOURS.empty_table()
        return empty.select(columns) if columns else empty
    return pa.concat_tables(parts).unify_dictionaries()


def _servers_aside(store: Store, aside: Sequence[SetAside], first: int, stop: int) -> dict[str, SetAside]:
    """The servers whose hours in [first, stop) a file that is set aside names, as far as it could be
    read.
    """
    found: dict[str, SetAside] = {}
    for file in aside:
        for record in file.records:
            if (
                not record.sums
                or record.last_slot < first * SLOTS_PER_HOUR
                or record.first_slot >= stop * SLOTS_PER_HOUR
            ):
                continue
            with store.open(record.sums) as source:
                sums = pq.read_table(source, columns=["server", "slot"])
            hour = np.floor_divide(sums["slot"].to_numpy(), SLOTS_PER_HOUR)
            inside = sums["server"].filter(pa.array((hour >= first) & (hour < stop)))
            found |= dict.fromkeys(pc.unique(inside.cast(pa.string())).to_pylist(), file)
    return found


def _remarks(store: Store, sources: Sources, months: Sequence[MonthHours]) -> tuple[str, ...]:
    files = {record.input.path: record.input for record in sources.usable}
    size = sum(file.size_bytes for file in files.values())
    lines = sum(record.counts.lines for record in sources.usable)
    kept = sum(record.counts.kept for record in sources.usable)
    used = f"{len(files)} log files, {size / 1e6:.1f} MB, {lines} rows of which {lines - kept} rejected; {len(months)} months of hours."
    passed_over = [Remark("passed_over", text) for text in sources.remarks]
    aside = [Remark("file_set_aside", f"Set aside: {file.detail}") for file in sources.aside]
    found = [repeat for month in months for repeat in read_repeats(store, month.path)]
    repeated = [
        Remark(
            "repeated_rows",
            f"{rows} rows stand in both {one} and {other}; they count twice. Leave them in one file.",
        )
        for (one, other), rows in repeats_by_file(found, sources.usable).items()
    ]
    unread = [Remark("unread_cells", text) for text in _unread_cells(sources.usable)]
    of_rows = [f"{record.input.path}: {text}" for record in sources.usable for text in record.counts.remarks]
    negative = [Remark("negative_load", text) for text in _negative_loads(sources.usable)]
    ahead = [Remark("clock_ahead", text) for text in _ahead(sources.usable, datetime.now(UTC))]
    told = (*_spellings(sources.usable), *of_rows, *repeated, *unread, *negative, *ahead, *aside)
    return (used, *passed_over, *told)


def _spellings(records: Sequence[RangeRecord]) -> tuple[str, ...]:
    """A sentence that names the spellings of addresses that were read as one server; none is no sentence."""
    found = [pair for record in records for pair in record.counts.spellings.items()]
    omitted = any(len(record.counts.spellings) >= SPELLINGS for record in records)
    told = describe_spellings(found, omitted)
    return (told,) if told else ()


def _negative_loads(records: Sequence[RangeRecord]) -> list[str]:
    """A sentence for each file with rows whose TotalLoad is negative, with how many of how many."""
    negative, kept = Counter[str](), Counter[str]()
    for record in records:
        negative[record.input.path] += record.counts.negative
        kept[record.input.path] += record.counts.kept
    return [
        f"{path}: {count} of {kept[path]} rows have a negative TotalLoad, which lowers the sums. Correct the log."
        for path, count in sorted(negative.items())
        if count
    ]


def _ahead(records: Sequence[RangeRecord], now: datetime) -> list[str]:
    """A sentence for each file with a session that begins later than the present by more than a day."""
    latest: dict[str, int] = {}
    for record in records:
        latest[record.input.path] = max(record.last_slot // SLOTS_PER_HOUR, latest.get(record.input.path, -1))
    return [
        f"{path}: its latest session begins in the hour of {moment_of(hour):%Y-%m-%d %H}:00, which is still to come. "
        "Correct the server's clock."
        for path, hour in sorted(latest.items())
        if hour > hour_of(now) + _HOURS_AHEAD
    ]


def _unread_cells(records: Sequence[RangeRecord]) -> list[str]:
    """A sentence for each file of which number cells were not read, with how many and the first such line."""
    counted: dict[str, Counter[str]] = {}
    shown: dict[str, str] = {}
    for record in records:
        found = {code: count for code in _UNREAD if (count := record.counts.causes.get(code, 0))}
        if found:
            counted.setdefault(record.input.path, Counter()).update(found)
            texts = [example.text for example in record.counts.examples if example.cause in _UNREAD]
            shown.setdefault(record.input.path, texts[0] if texts else "")
    return [
        f"{path}: {', '.join(f'{count} {code}' for code, count in causes.items())} among the numbers of its "
        f"rows; those cells add nothing to the sums. The first such line: {shown[path]}"
        for path, causes in sorted(counted.items())
    ]


def window_targets(window: Window, horizon_hours: int) -> Any:
    """The hours ahead of the window's end that are classified, as int64."""
    end = hour_of(window.end)
    return np.arange(end, end + horizon_hours)
