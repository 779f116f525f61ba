"""The tour: takes each chapter from samples to pictures through a host, and skips what an earlier demo left
ready.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetscore.capabilities import MakesSamples, require
from fleetscore.cli.demo.chapters import SEED, Chapter, chapter_of, keep_chapter, read_state
from fleetscore.cli.demo.summary import ChapterSummary, last_published, stored_set, sum_chapter
from fleetscore.cli.follow import follow_backfill, follow_run
from fleetscore.cli.progress import progress_of
from fleetscore.dashboard.picture_files import write_pictures
from fleetscore.fleet import FleetBase
from fleetscore.registry import get_workload
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.windows import windows_between


def prepare_samples(store: Store, folder: Path, workload: str, scale: float) -> Chapter:
    """The workload's chapter with its samples written; those of an earlier demo are used as they are."""
    known = read_state(folder).chapters.get(workload)
    if known is not None:
        return known
    with progress_of(workload) as progress:
        progress.show("writing samples", 0, 0)
        report = require(get_workload(store, workload), MakesSamples).samples(store, scale=scale, seed=SEED)
        progress.show("samples written", report.rows, report.rows)
    chapter = chapter_of(workload, scale, report)
    keep_chapter(folder, chapter)
    return chapter


def train_models(
    fleet: FleetBase, folder: Path, chapter: Chapter, resume: str = "fleetscore demo"
) -> Chapter:
    """The chapter with its models trained through the host; those of an earlier demo are used as they are.

    PublishError when training stores no model set. `resume` is the command that goes on after Ctrl-C.
    """
    if chapter.model_set or not chapter.train_first:
        return chapter
    started = fleet.start_training(chapter.workload, chapter.train_first, chapter.train_stop)
    status = follow_run(fleet, started.id, resume)
    trained = replace(chapter, model_set=stored_set(status.record))
    keep_chapter(folder, trained)
    return trained


def run_chapter(
    fleet: FleetBase, store: Store, folder: Path, chapter: Chapter, resume: str = "fleetscore demo"
) -> ChapterSummary:
    """Run all windows of the chapter through the host, whether or not they ran before; judge what was
    published of samples, and draw it. Raises PublishError with the reason where no window was.
    """
    clock = time.perf_counter()
    started = fleet.start_backfill(
        chapter.workload, chapter.first, chapter.stop, only="all", max_parallel=os.cpu_count() or 1
    )
    status = follow_backfill(fleet, started.id, chapter.workload, resume)
    seconds = time.perf_counter() - clock
    records = [read_run(store, window.run) for window in status.windows]
    workload = get_workload(store, chapter.workload)
    drawn = workload.parse_window(last_published(records))
    windows = list(windows_between(workload.parse_window(chapter.first), workload.parse_window(chapter.stop)))
    judged: Mapping[str, Any] = {}
    if chapter.sampled and isinstance(workload, MakesSamples):
        judged = workload.judge_samples(store, windows)
    pictures = write_pictures(store, workload, [drawn], folder / "pictures")
    return sum_chapter(
        chapter.workload, records, seconds, chapter.planted, judged, [str(path) for path in pictures]
    )
