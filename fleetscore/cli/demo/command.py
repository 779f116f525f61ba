"""The demo command: every workload on sample data, from samples to pictures, through the real function
app.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import json_option
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.cli.demo.summary import ChapterSummary


@click.command(short_help="Run the workloads on samples, and show what came out.")
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    help="Only this workload; may be given many times. [default: all]",
)
@click.option(
    "--scale",
    type=click.FloatRange(0.001, 100),
    default=1.0,
    show_default=True,
    help="How big the samples are, as a multiple.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".fleetscore/demo"),
    show_default=True,
    help="Where everything goes.",
)
@json_option
def demo(workloads: tuple[str, ...], scale: float, folder: Path, as_json: bool) -> None:
    """Run the workloads on sample data through the local host, and show what came out.

    Samples and models are made once and kept; every demo scores all windows again, as a new round of each.
    """
    from fleetscore.cli.demo.chapters import demo_workloads, forget_other_scales
    from fleetscore.cli.demo.page import render_page
    from fleetscore.cli.demo.tour import prepare_samples, run_chapter, train_models
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.store_fleet import Fleet
    from fleetscore.registry import find_workload
    from fleetscore.store import open_store

    began = time.perf_counter()
    names = workloads or tuple(demo_workloads())
    scales = dict.fromkeys(names, scale)
    forget_other_scales(folder, scales)
    store = open_store(str(folder / "store"))
    for name in names:
        find_workload(store, name)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    chapters = []
    with Fleet(store.url) as fleet:
        for name in names:
            ready = train_models(fleet, folder, prepare_samples(store, folder, name, scales[name]))
            chapters.append(run_chapter(fleet, store, folder, ready))
    seconds = time.perf_counter() - began
    page = folder / "index.html"
    page.write_text(render_page(chapters, store.url, seconds))
    if as_json:
        print_json({"seconds": seconds, "page": str(page), "store": store.url, "chapters": chapters})
    else:
        _print(chapters, folder, page, seconds)


def _print(chapters: list[ChapterSummary], folder: Path, page: Path, seconds: float) -> None:
    from fleetscore.cli.render import print_pairs

    for chapter in chapters:
        say()
        print_pairs(f"{chapter.workload}: {_windows(chapter)}", _lines(chapter, folder))
    store = folder / "store"
    say(f"\nAll of it took {seconds:.0f} s. The page with the pictures: {page.resolve().as_uri()}")
    say(f"Look around: {_activation()}export FLEETSCORE_STORE={store}; fleetscore runs")
    for chapter in chapters:
        if chapter.example:
            say(f"             fleetscore explain {chapter.example[0]} {chapter.example[1]}")
            return


def _activation() -> str:
    """What puts `fleetscore` on the path, to stand before a command; "" where it is there."""
    if shutil.which("fleetscore"):
        return ""
    script = Path(sys.prefix) / "bin" / "activate"
    with contextlib.suppress(ValueError):
        script = script.relative_to(Path.cwd())
    return f". {script}; "


def _windows(chapter: ChapterSummary) -> str:
    return f"{chapter.windows_published} of {chapter.windows} windows published, {chapter.first} to {chapter.last}"


def _lines(chapter: ChapterSummary, folder: Path) -> list[tuple[str, Any]]:
    from fleetscore.cli.demo.summary import format_judged
    from fleetscore.cli.render import format_counts

    rate = f"{chapter.rows_per_second:,.0f} a second"
    return [
        ("partitions", f"{chapter.expected:,} expected: {format_counts(chapter.counts)}"),
        (
            "rows",
            f"{chapter.input_rows:,} read, {chapter.rows:,} published, in {chapter.seconds:.1f} s: {rate}",
        ),
        ("samples", "\n".join(_first(chapter.planted))),
        ("judged", "\n".join(format_judged(chapter.judged))),
        ("results", folder / "store" / chapter.results),
        ("ledger", folder / "store" / chapter.ledger),
        ("pictures", "\n".join(chapter.pictures)),
    ]


def _first(lines: tuple[str, ...], most: int = 5) -> list[str]:
    """The first lines, and where the others are."""
    return list(lines[:most]) + ([f"and {len(lines) - most} more, on the page"] if len(lines) > most else [])
