"""The cloud command: the demo on the whole local cloud, with storage, queue and Batch as services and large
shards offloaded.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import json_option
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.cli.demo.chapters import Chapter
    from fleetscore.cli.demo.summary import ChapterSummary
    from fleetscore.cli.local_cloud import LocalBatch, LocalStorage
    from fleetscore.store.base import Store

_RESUME = "fleetscore cloud, with the same options"
_AS_ON_AZURE = ("--concurrency", "threads")  # one process, whose threads the activities are
_PRICES = """# The local pool: nodes are processes, up in seconds. Prices are those of Azure.
date = "2026-11-01"
region = "eastus"
inline = {{ memory_gb = 2.0, usd_per_gb_s = 0.000026 }}
pool = {{ boot_s = {boot_s}, start_s = 0.05, spot_share = 0.8 }}
nodes = [{{ vm_size = "Standard_D{cores}ads_v5", cores = {cores}, memory_gb = 16.0, usd_per_hour = 0.206, spot_usd_per_hour = 0.052 }}]
"""


def _absolute(context: click.Context, option: click.Parameter, value: str) -> str:
    from fleetscore.cli.options import absolute_url

    return absolute_url(context, option, value) if value else ""


@dataclass(frozen=True, slots=True)
class _Source:
    """The store that the workloads come from, and the windows to run."""

    url: str
    first: str
    end: str

    def check(self, names: tuple[str, ...]) -> None:
        """InputError before anything starts, where there is no such store, workload or window."""
        from fleetscore.cli.demo.carried_workload import choose_windows
        from fleetscore.fleet.store_fleet import Fleet

        for name in names:
            choose_windows(Fleet(self.url).store, name, self.first, self.end)

    def carry(self, target: Store, name: str) -> Chapter:
        """Copy the workload to the cloud's container; its windows as a chapter of the tour."""
        from fleetscore.cli.demo.carried_workload import carry_workload
        from fleetscore.cli.demo.chapters import Chapter
        from fleetscore.fleet.store_fleet import Fleet

        carried = carry_workload(Fleet(self.url).store, target, name, self.first, self.end)
        copied = f"{carried.files:,} files of {self.url}, {carried.size_bytes:,} bytes"
        return Chapter(name, 1.0, carried.first.key, carried.end.key, "", "", 0, 0, (copied,), sampled=False)


@click.command(short_help="Run workloads on the local cloud: Azurite, local Batch, local host.")
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    default=("sensor_anomaly",),
    show_default=True,
    help="Run this workload; may be given many times.",
)
@click.option(
    "--store", "store_url", metavar="URL", default="", callback=_absolute,
    help="Take settings, data and models of the workloads from this store, instead of samples.",
)  # fmt: skip
@click.option(
    "--from", "first", default="", metavar="WINDOW", help="With --store: the first window. [default: the newest published one]",
)  # fmt: skip
@click.option("--to", "end", default="", metavar="WINDOW", help="With --store: the window after the last.")
@click.option(
    "--scale",
    type=click.FloatRange(0.001, 100),
    default=1.0,
    show_default=True,
    help="How big the samples are, as a multiple.",
)
@click.option(
    "--nodes", type=click.IntRange(1, 16), default=2, show_default=True, help="Nodes of the pool at most."
)
@click.option(
    "--placement",
    type=click.Choice(["auto", "batch", "inline"]),
    default="batch",
    show_default=True,
    help="Where shards are scored; the demo's are so small that auto keeps them inline.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".fleetscore/cloud"),
    show_default=True,
    help="Where everything goes.",
)
@json_option
def cloud(
    workloads: tuple[str, ...], store_url: str, first: str, end: str, scale: float, nodes: int, placement: str, folder: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Run workloads on the local cloud: Azurite, the local Batch service and the local host, with their
    shards on Batch.

    The app, its clients and its settings are those of Azure. Without --store it is the demo, and the
    results are those of `fleetscore demo`; with --store the workloads' own settings, data and models are
    copied to the cloud's container and run there. The store itself stays as it is.
    """
    from fleetscore.cli.local_cloud import local_batch, local_storage
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.embedded_host import check_system

    if (first or end) and not store_url:
        raise click.UsageError("--from and --to are for the windows of a --store.")
    source = _Source(store_url, first, end) if store_url else None
    if source:
        source.check(workloads)
    check_system()
    import_module("cryptography")  # or the demo would end without it, minutes later
    began = time.perf_counter()
    folder = folder.resolve()
    with (
        local_storage(folder / "storage") as storage,
        local_batch(folder / "batch", nodes, slots=2, boot_s=2.0) as batch,
    ):
        os.environ["FLEETSCORE_BATCH_PLACEMENT"] = placement
        chapters, placed, store_url = _tour(storage, batch, workloads, scale, folder, source)
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"seconds": seconds, "store": store_url, "chapters": chapters, "placed": placed})
    else:
        _print(chapters, placed, folder, seconds)


def _tour(
    storage: LocalStorage, batch: LocalBatch, names: tuple[str, ...], scale: float, folder: Path,
    source: _Source | None = None,
) -> tuple[list[ChapterSummary], list[dict[str, Any]], str]:  # fmt: skip
    from fleetscore.cli.demo.tour import prepare_samples, run_chapter, train_models
    from fleetscore.cli.local_cloud import INSTANCE_ACTIVITIES, cloud_environment
    from fleetscore.fleet.embedded_host import ACTIVITIES_SETTING
    from fleetscore.fleet.store_fleet import Fleet
    from fleetscore.pipeline.cost import PRICES_PATH
    from fleetscore.store import open_store

    container = "own-fleets" if source else f"fleet-{scale:g}".replace(".", "-")
    settings = cloud_environment(storage, batch, container)
    os.environ.update(settings | {ACTIVITIES_SETTING: str(INSTANCE_ACTIVITIES)})
    store = open_store(settings["FLEETSCORE_STORE"])
    store.write(PRICES_PATH, _PRICES.format(boot_s=5.0, cores=2).encode())
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    chapters, placed = [], []
    host_folder = folder / "host"  # beside the services that its history belongs to
    with Fleet(store.url, host_folder=host_folder, host_options=_AS_ON_AZURE) as fleet:
        for name in names:
            if source:
                ready = source.carry(store, name)
            else:
                ready = prepare_samples(store, folder / f"state-{scale:g}", name, scale)
                ready = train_models(fleet, folder / f"state-{scale:g}", ready, _RESUME)
            chapters.append(run_chapter(fleet, store, folder, ready, _RESUME))
            placed.append(count_placements(store, chapters[-1]))
    return chapters, placed, store.url


def count_placements(store: Store, chapter: ChapterSummary) -> dict[str, Any]:
    """Shards by placement over the newest round of each of the chapter's windows, and what they cost."""
    from fleetscore.pipeline.submit import newest_round
    from fleetscore.registry import get_workload
    from fleetscore.runs.plans import read_plan
    from fleetscore.windows import windows_between

    workload = get_workload(store, chapter.workload)
    first, last = workload.parse_window(chapter.first), workload.parse_window(chapter.last)
    rounds = [newest_round(store, chapter.workload, w.key) for w in (*windows_between(first, last), last)]
    records = [record for record in rounds if record is not None]
    heads = [read_plan(store, record.request.run) for record in records]
    facts = [record.facts for record in records]
    return {
        "workload": chapter.workload,
        "inline_shards": sum(head.inline_shards for head in heads),
        "batch_shards": sum(head.shards - head.inline_shards for head in heads),
        "node_s": sum(fact.get("node_s", 0.0) for fact in facts),
        "cost_usd": sum(fact.get("cost_usd") or 0.0 for fact in facts),
    }


def _print(
    chapters: list[ChapterSummary], placed: list[dict[str, Any]], folder: Path, seconds: float
) -> None:
    from fleetscore.cli.demo.summary import format_judged
    from fleetscore.cli.render import format_counts, print_pairs

    for chapter, shards in zip(chapters, placed, strict=True):
        windows = f"{chapter.windows_published} of {chapter.windows} windows published"
        where = f"{shards['inline_shards']:,} inline, {shards['batch_shards']:,} on Batch ({shards['node_s']:.0f} node seconds)"
        pairs = [
            ("partitions", f"{chapter.expected:,} expected: {format_counts(chapter.counts)}"),
            ("rows", f"{chapter.input_rows:,} read, {chapter.rows:,} published, in {chapter.seconds:.1f} s"),
            ("shards", where),
            ("cost", f"${shards['cost_usd']:.4f} at Azure's prices"),
            ("judged", "\n".join(format_judged(chapter.judged))),
            ("pictures", "\n".join(chapter.pictures)),
        ]
        say()
        print_pairs(f"{chapter.workload}: {windows}, {chapter.first} to {chapter.last}", pairs)
    say(f"\nAll of it took {seconds:.0f} s. Logs: {folder}/host/host.log, {folder}/batch/service.log")
