"""The manifest: one conditional write publishes all results of a window, or none of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import BugError, ConflictError, InputError, MissingBlobError
from fleetscore.records import (
    Collected,
    Manifest,
    Outcome,
    PublishedAnyway,
    PublishedRun,
    ResultFile,
    RunRequest,
    from_json,
    to_json,
)
from fleetscore.schemas import EVENTS
from fleetscore.store.base import Store
from fleetscore.store.paths import latest_path, manifest_path, run_path
from fleetscore.store.state_files import damaged, decode_hint, decode_truth
from fleetscore.store.tables import open_truth
from fleetscore.windows import Cadence, Window, parse_key


@dataclass(frozen=True, slots=True)
class Latest:
    """The first and the newest published window of a workload: latest.json."""

    first: str
    window: str
    manifest: str
    run: str
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run's results are to be published, and why not otherwise."""

    publish: bool
    reason: str = ""


def judge_publishing(counts: Mapping[str, int], error_threshold: float) -> Verdict:
    """Publish if something was scored and at most that share of all partitions is failed or quarantined.

    >>> judge_publishing({"scored": 90, "failed": 10}, 0.1).publish
    True
    >>> judge_publishing({"scored": 90, "failed": 11}, 0.1).reason
    '11 of 101 partitions failed or were quarantined; at most 10 % may (error_threshold).'
    """
    total = sum(counts.values())
    bad = counts.get(Outcome.FAILED, 0) + counts.get(Outcome.QUARANTINED, 0)
    if bad > error_threshold * total:
        share = f"{100 * error_threshold:g} %"
        return Verdict(
            False,
            f"{bad} of {total} partitions failed or were quarantined; at most {share} may (error_threshold).",
        )
    if not total:
        return Verdict(
            False,
            "Nothing is expected: the window has no data that could be read, and no model names a partition.",
        )
    if not counts.get(Outcome.SCORED, 0):
        return Verdict(False, f"None of {total} partitions was scored.")
    return Verdict(True)


def publish_manifest(
    store: Store, request: RunRequest, collected: Collected, now: datetime, anyway: PublishedAnyway | None = None,
    events: tuple[ResultFile, ...] = (),
) -> Manifest:  # fmt: skip
    """Make the run's files, and those of its events, the published truth of its window; a second call
    changes nothing.

    ConflictError when a run that this one does not build on has published the window meanwhile: its results
    stand.
    """
    path = manifest_path(request.workload, request.window)
    published, etag = _read_tagged(store, path)
    if published is not None and published.run == request.run:
        _point_latest(store, published)
        return published
    if published is not None and published.round >= request.round:
        raise ConflictError(
            f"{request.window} was published by {published.run} while {request.run} ran; that stands.",
            fix="Start a retry: it builds on what is published.",
        )
    manifest = replace(_manifest(request, collected, published, now), anyway=anyway, events=events)
    store.flush([*(file.path for file in (*manifest.files, *events)), manifest.ledger])
    store.replace(path, to_json(manifest), etag)
    store.write(run_path(request.run, "manifest.json"), to_json(manifest))
    _point_latest(store, manifest)
    return manifest


def read_manifest(store: Store, workload: str, window: str) -> Manifest:
    """The published manifest of the window; MissingBlobError when it is not published."""
    path = manifest_path(workload, window)
    return decode_manifest(store.read(path), path)


def find_manifest(store: Store, workload: str, window: str) -> Manifest | None:
    """The published manifest of the window; None when it is not published."""
    try:
        return read_manifest(store, workload, window)
    except MissingBlobError:
        return None


def decode_manifest(data: bytes, path: str) -> Manifest:
    """The manifest that the file at the path holds; DamagedStateError when it is damaged, or that of
    another window.
    """
    manifest = decode_truth(data, path, Manifest)
    if manifest_path(manifest.workload, manifest.window) != path:
        raise damaged(path, ValueError(f"it is the manifest of {manifest.workload} {manifest.window}"))
    return manifest


def read_latest(store: Store, workload: str) -> Latest | None:
    """The newest published window, or None before the first."""
    try:
        data = store.read(latest_path(workload))
    except MissingBlobError:
        return None
    return decode_hint(data, latest_path(workload), decode_latest) or find_latest(store, workload)


def find_latest(store: Store, workload: str) -> Latest | None:
    """The newest published window by the manifests, of the cadence that most of them have; None
    where there is none.
    """
    paths = [entry.path for entry in store.list(f"results/{workload}/")]
    keys = [path.split("/")[2] for path in paths if path.endswith("/manifest.json")]
    by_cadence: dict[Cadence, list[Window]] = {}
    for key in keys:
        with suppress(InputError):  # a folder of somebody's own
            window = parse_key(key)
            by_cadence.setdefault(window.cadence, []).append(window)
    if not by_cadence:
        return None
    windows = sorted(max(by_cadence.items(), key=lambda of: len(of[1]))[1])
    path = manifest_path(workload, windows[-1].key)
    run = decode_hint(store.read(path), path, lambda data: decode_manifest(data, path).run) or ""
    return Latest(windows[0].key, windows[-1].key, path, run)


def decode_latest(data: bytes) -> Latest:
    """What the bytes of latest.json hold; an error where they hold no two windows."""
    latest = from_json(data, Latest)
    parse_key(latest.first), parse_key(latest.window)
    return latest


def read_results(
    store: Store, manifest: Manifest, columns: list[str] | None = None, filters: object = None
) -> pa.Table:
    """All published rows of the window, file after file; `filters` as in pyarrow.parquet.read_table."""
    tables = []
    for file in manifest.files:
        with open_truth(store, file.path) as source:
            tables.append(pq.read_table(source, columns=columns, filters=filters))
    if not tables:
        raise BugError(f"The manifest of {manifest.window} names no file.")
    return pa.concat_tables(tables, promote_options="default")


def read_events(store: Store, manifest: Manifest) -> pa.Table:
    """The events of the window as of its end; none for a kind that finds none, or a window of an earlier
    version.
    """
    tables = [EVENTS.empty_table()]
    for file in manifest.events:
        with open_truth(store, file.path) as source:
            table = pq.read_table(source)
        if "window" not in table.column_names:
            table = table.append_column("window", pa.repeat(pa.scalar(manifest.window), table.num_rows))
        tables.append(table.cast(EVENTS))
    return pa.concat_tables(tables)


def _manifest(
    request: RunRequest, collected: Collected, published: Manifest | None, now: datetime
) -> Manifest:
    history: tuple[PublishedRun, ...] = ()
    if published is not None:
        line = PublishedRun(published.run, published.published, published.outcomes, published.rows)
        history = (*published.history, line)
    return Manifest(
        workload=request.workload,
        window=request.window,
        run=request.run,
        round=request.round,
        published=now,
        models=collected.models,
        outcomes=collected.counts,
        partitions=collected.partitions,
        rows=collected.rows,
        files=collected.files,
        ledger=run_path(request.run, "ledger.parquet"),
        history=history,
    )


def _read_tagged(store: Store, path: str) -> tuple[Manifest | None, str | None]:
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError:
        return None, None
    return decode_manifest(data, path), etag


def _point_latest(store: Store, manifest: Manifest) -> None:
    """Move latest.json to this window unless it points to a later one; compare-and-swap, so that it never
    moves back.
    """
    path = latest_path(manifest.workload)
    mine = Latest(
        manifest.window, manifest.window, manifest_path(manifest.workload, manifest.window), manifest.run
    )
    while True:
        etag: str | None = None
        moved = mine
        with suppress(MissingBlobError):
            data, etag = store.read_tagged(path)
            known = decode_hint(data, path, decode_latest) or find_latest(store, manifest.workload)
            moved = _newer(known, mine) if known else mine
        try:
            store.replace(path, msgspec.json.encode(moved), etag)
        except ConflictError:
            continue
        return


def _newer(known: Latest, mine: Latest) -> Latest:
    known_window, my_window = parse_key(known.window), parse_key(mine.window)
    if my_window.cadence is not known_window.cadence:
        return mine
    first = min(parse_key(known.first), my_window).key
    return replace(mine if my_window >= known_window else known, first=first)
