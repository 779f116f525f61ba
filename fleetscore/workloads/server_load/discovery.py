"""Which servers are expected in a window, and what is already known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError
from fleetscore.records import InputFile, Outcome
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import PARTITIONS, Discovery, TrainingRequest, WindowRequest
from fleetscore.workloads.server_load.features import LOOKBACK_HOURS
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR
from fleetscore.workloads.server_load.months import hour_of, moment_of
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


def request_hours(request: WindowRequest | TrainingRequest) -> tuple[int, int]:
    """The hours of data [first, stop) that the request needs."""
    first, stop = _span(request)
    return first - LOOKBACK_HOURS, stop


def _span(request: WindowRequest | TrainingRequest) -> tuple[int, int]:
    if isinstance(request, TrainingRequest):
        return hour_of(request.first.start), hour_of(request.stop.start)
    return hour_of(request.window.end), hour_of(request.window.end)


def discover_window(store: Store, request: WindowRequest) -> Discovery:
    """Every server with a session in the lookback of the window, and the months of hours to score them from."""
    settings: ServerLoadSettings = request.settings
    first, stop = request_hours(request)
    sources, months, inputs = _prepared(store, settings, first, stop)
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
    wanted = set(request.only) or (set(seen) | set(aside))
    rows = [_partition(server, seen.get(server), aside.get(server), request) for server in sorted(wanted)]
    partitions = pa.Table.from_pylist(
        [dict(zip(PARTITIONS.names, row, strict=True)) for row in rows], PARTITIONS
    )
    return Discovery(partitions, inputs, _remarks(sources, months))


def _partition(
    server: str, seen: tuple[int, int] | None, aside: SetAside | None, request: WindowRequest
) -> tuple[Any, ...]:
    """The PARTITIONS row of a server: the first rule that settles it, else to be scored."""
    settings: ServerLoadSettings = request.settings
    rows, last_hour = seen or (0, None)
    model = request.pins.version_for(server)
    outcome, cause, detail = "", "", ""
    late_from = hour_of(request.window.end) - settings.late_after_hours
    if settings.servers and server not in settings.servers:
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
    return server, rows, rows * _BYTES_PER_HOUR_ROW, model, str(outcome), cause, detail


def discover_span(store: Store, request: TrainingRequest) -> Discovery:
    """The one partition of a training, with as many rows as there are server-hours to learn from."""
    settings: ServerLoadSettings = request.settings
    first, stop = request_hours(request)
    sources, months, inputs = _prepared(store, settings, first, stop)
    hours = read_hours(store, inputs, first + LOOKBACK_HOURS, stop, ["server", "hour"], settings.servers)
    if not hours.num_rows:
        raise InputError(
            f"No server has a session from {request.first.key} to before {request.stop.key}.",
            fix="Choose days that the logs hold.",
            field="from",
        )
    row = (FLEET, hours.num_rows, hours.num_rows * _BYTES_PER_HOUR_ROW, "", "", "", "")
    partitions = pa.Table.from_arrays(
        [pa.array([value], field.type) for value, field in zip(row, PARTITIONS, strict=True)],
        schema=PARTITIONS,
    )
    return Discovery(partitions, inputs, _remarks(sources, months))


def _prepared(
    store: Store, settings: ServerLoadSettings, first: int, stop: int
) -> tuple[Sources, list[MonthHours], tuple[InputFile, ...]]:
    sources = find_sources(store, settings)
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
    """The hours (HOURS or some columns of it) in [first_hour, stop_hour) of all servers, or of those named."""
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
    """The servers whose hours in [first, stop) a file that is set aside speaks of, as far as it could be read."""
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


def _remarks(sources: Sources, months: Sequence[MonthHours]) -> tuple[str, ...]:
    files = {record.input.path: record.input for record in sources.usable}
    size = sum(file.size_bytes for file in files.values())
    lines = sum(record.counts.lines for record in sources.usable)
    kept = sum(record.counts.kept for record in sources.usable)
    used = f"{len(files)} log files, {size / 1e6:.1f} MB, {lines} rows of which {lines - kept} rejected; {len(months)} months of hours."
    return (used, *(f"Set aside: {file.detail}" for file in sources.aside))


def window_targets(window: Window, horizon_hours: int) -> Any:
    """The hours ahead of the window's end that are classified, as int64."""
    end = hour_of(window.end)
    return np.arange(end, end + horizon_hours)
