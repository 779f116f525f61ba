"""The data of the results page: a published window, drawn the way its workload is best seen."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module

from fleetscore.dashboard.charts.published import Drawing, find_manifest
from fleetscore.errors import MissingBlobError
from fleetscore.operations.known_workloads import find_named_workload
from fleetscore.pipeline.spellings import key_in_run
from fleetscore.pipeline.window_checks import read_published
from fleetscore.records import Manifest
from fleetscore.runs.manifests import read_latest
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path
from fleetscore.windows import Window, parse_key
from fleetscore.workload import Workload

MOST_DRAWN = 8


@dataclass(frozen=True, slots=True)
class ResultsView:
    """A published window; `drawing` is None for a workload whose kind or settings are not here any more."""

    workload: str
    window: str
    manifest: Manifest
    drawing: Drawing | None
    window_before: str
    window_after: str  # "" for the newest published one


def read_results_view(store: Store, name: str, window_text: str, partitions: Sequence[str]) -> ResultsView:
    """The window's results, or the newest published window's without one; MissingBlobError when it is not
    published.
    """
    known = find_named_workload(store, name)
    latest = read_latest(store, name)
    if not window_text and latest is None:
        raise MissingBlobError(f"{name} has published nothing yet.", code="not_published", field="workload")
    key = window_text or (latest.window if latest else "")
    window = read_published(store, known.workload, key) if known.workload is not None else parse_key(key)
    manifest = find_manifest(store, name, window.key)
    if manifest is None:
        raise MissingBlobError(
            f"{name} has published nothing for {window.key}.",
            fix=f"Run it: fleetscore run {name} --window {window.key}",
            code="not_published",
            field="window",
        )
    drawing = None
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(_published, store, name, window.next(-1).key if window.ordinal > 0 else "")
        after = pool.submit(_published, store, name, window.next().key)
        if known.workload is not None:
            drawn = [key_in_run(store, name, manifest.run, key) for key in partitions[:MOST_DRAWN]]
            drawing = draw_window(store, known.workload, manifest, window, drawn)
    return ResultsView(name, window.key, manifest, drawing, before.result(), after.result())


def draw_window(
    store: Store, workload: Workload, manifest: Manifest, window: Window, partitions: Sequence[str] = ()
) -> Drawing:
    """The published window as the workload's kind draws it; InputError names a partition that has no rows
    to draw.
    """
    module, _, function = workload.chart.partition(":")
    draw = getattr(import_module(module), function)  # each imports its kind's reading only
    drawn: Drawing = draw(store, workload, manifest, window, partitions)
    return drawn


def _published(store: Store, name: str, window: str) -> str:
    return window if window and store.stat(manifest_path(name, window)) is not None else ""
