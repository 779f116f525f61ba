"""A terabyte of logs on paper: docs/scale.md, each figure computed from benchmarks/results/server_load.json.

Node prices and the pool's boot time are those of the plan's own price list; the other assumptions (sizes, request prices
and counts) are the constants below, and nothing else is put in by hand.
Run: python benchmarks/scale.py
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "server_load.json"
PAGE = HERE.parent / "docs" / "scale.md"
PRICES = HERE.parent / "fleetscore/pipeline/prices.toml"

TERABYTE = 1e12
RANGE_BYTES = 128 * 2**20
ITEMS_PER_SHARD = 32
NODE_SIZE = "Standard_D4ads_v5"  # the pool's default in infra/main.bicep
NODE_READ_BYTES_PER_S = 250e6  # what a node of that size gets from Blob storage
TARGET_MIN = 30.0
REQUESTS_PER_PARSE = 9  # head, range, stat twice, sums (write, stat, footer), record, listing share
REQUESTS_PER_REDUCE_INPUT = 17  # the footer and 16 buckets of a range's sums
USD_PER_10K_WRITES, USD_PER_10K_READS = 0.065, 0.005  # hot tier; unverified: no price list could be read
MONTHS = 90  # 2009-01 to 2016-06


@dataclass(frozen=True, slots=True)
class Scale:
    """The terabyte's figures."""

    items: int
    shards: int
    core_hours: float
    sums_gb: float
    hours_gb: float
    nodes: int
    minutes: float
    node_hours: float
    usd_at_most: float  # every node at the price of dedicated nodes, which Spot never exceeds
    usd_at_least: float  # every node at the listed Spot price
    reads: int
    writes: int
    requests_usd: float


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the pool, as the plan's price list has it."""

    cores: int
    usd_per_hour: float
    spot_usd_per_hour: float
    boot_min: float
    listed: str  # date of the list


def read_node() -> Node:
    """The pool's default node; StopIteration where the price list does not know its size."""
    prices = tomllib.loads(PRICES.read_text())
    size = next(node for node in prices["nodes"] if node["vm_size"] == NODE_SIZE)
    return Node(
        size["cores"],
        size["usd_per_hour"],
        size["spot_usd_per_hour"],
        prices["pool"]["boot_s"] / 60,
        prices["date"],
    )


def scaled_core_hours(found: dict[str, Any], engine: str) -> float:
    """Core-hours of an engine's whole measured run, its start included, scaled up by bytes."""
    return float(TERABYTE / found["logs"]["bytes"] * found["engines"][engine]["cpu_s"] / 3600)


def measure_rate(found: dict[str, Any]) -> float:
    """CPU seconds per byte of log, start-up left out: the slope of the measured points."""
    first, last = found["growth"][0], found["growth"][-1]
    return float((last["cpu_s"] - first["cpu_s"]) / (last["gb"] - first["gb"]) / 1e9)


def compute(found: dict[str, Any], node: Node) -> Scale:
    """Scale the measured rates of one core up."""
    ours = found["engines"]["fleetscore, 1 process"]
    logs = found["logs"]["bytes"]
    cpu_per_byte = measure_rate(found)
    work_cpu_s = TERABYTE * cpu_per_byte  # parsing and reducing: what was measured ends with the hours
    sums = TERABYTE * ours["sums_bytes"] / logs
    items = math.ceil(TERABYTE / RANGE_BYTES)
    read_s_per_node = TERABYTE / NODE_READ_BYTES_PER_S
    work_s = max(work_cpu_s / node.cores, read_s_per_node)
    nodes = math.ceil(work_s / 60 / (TARGET_MIN - node.boot_min))
    minutes = node.boot_min + work_s / 60 / nodes
    reads = items * (REQUESTS_PER_PARSE - 2) + items * REQUESTS_PER_REDUCE_INPUT
    writes = items * 2 + MONTHS
    return Scale(
        items,
        math.ceil(items / ITEMS_PER_SHARD),
        work_cpu_s / 3600,
        sums / 1e9,
        TERABYTE * ours["hours_bytes"] / logs / 1e9,
        nodes,
        minutes,
        nodes * minutes / 60,
        nodes * minutes / 60 * node.usd_per_hour,
        nodes * minutes / 60 * node.spot_usd_per_hour,
        reads,
        writes,
        reads / 1e4 * USD_PER_10K_READS + writes / 1e4 * USD_PER_10K_WRITES,
    )


def page(found: dict[str, Any], scale: Scale, node: Node) -> str:
    """docs/scale.md."""
    hours = found["hours"]
    reference = found["engines"].get("spark, the reference way", {})
    versus = ""
    if "cpu_s" in reference:
        slow = scaled_core_hours(found, "spark, the reference way")
        fast = scaled_core_hours(found, "fleetscore, 1 process")
        versus = (
            f"Like with like, both by the CPU seconds of a whole run, start included, scaled up by bytes: {slow:,.1f} core-hours"
            f"\nfor the reference's Spark steps, {fast:.2f} for these: {slow / fast:.1f} to 1. The {scale.core_hours:.2f} above leave"
            " the start out, which a terabyte pays once.\n"
        )
    lines = [
        ("ranges of 128 MiB to parse", f"{scale.items:,}"),
        (f"shards of {ITEMS_PER_SHARD} ranges", f"{scale.shards:,}"),
        ("core-hours to parse and reduce", f"{scale.core_hours:.2f}"),
        ("five-minute sums written and read once (the shuffle)", f"{scale.sums_gb:.0f} GB"),
        ("hours that remain, at the density of the measured logs", f"{scale.hours_gb:.1f} GB"),
        (f"nodes of {node.cores} cores for {TARGET_MIN:.0f} minutes", f"{scale.nodes}"),
        ("minutes, with the pool's start", f"{scale.minutes:.0f}"),
        ("node-hours", f"{scale.node_hours:.1f}"),
        ("compute", f"up to ${scale.usd_at_most:.2f}; ${scale.usd_at_least:.2f} at the listed Spot price"),
        ("storage reads / writes", f"{scale.reads:,} / {scale.writes:,}"),
        ("storage requests", f"${scale.requests_usd:.2f}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in lines)
    race = "\n".join(_race_line(name, one, reference) for name, one in _by_cpu(found["engines"]))
    models = "\n".join(
        f"| {name} | {m['accuracy']:.3f} | {m['f1']:.3f} |"
        for name, m in found["accuracy"].items()
        if isinstance(m, dict)
    )
    return f"""# A terabyte of session logs, on paper

Computed by `python benchmarks/scale.py` from `benchmarks/results/server_load.json`: a measured run over
{found["logs"]["bytes"] / 1e9:.2f} GB of generated logs, scaled up by bytes. Nobody has run the terabyte.

| | |
|---|--:|
{table}

{versus}
Assumed: nodes of the pool's own size ({NODE_SIZE}, {node.cores} cores) at ${node.usd_per_hour} an hour dedicated
and ${node.spot_usd_per_hour} Spot, by the plan's price list of {node.listed}. No public price list could be read to verify it,
and a Spot price varies, up to that of dedicated nodes. A node reads {NODE_READ_BYTES_PER_S / 1e6:.0f} MB/s from storage
and starts in {node.boot_min:.0f} minutes; {REQUESTS_PER_PARSE} requests per parsed range
and {REQUESTS_PER_REDUCE_INPUT} per range reduced, at request prices of the hot tier, unverified too:
${USD_PER_10K_WRITES} and ${USD_PER_10K_READS} for 10,000 writes and reads.
What limits a node is {"reading" if _reading_limits(found, node) else "parsing"}.

After that each byte is paid for: a window of a day later parses the day's new logs and reduces the current month again.
{hours["server_hours"]:,} server-hours took {hours["cpu_s"]:.0f} CPU seconds from five-minute sums to classes
({hours["reduce_s"]:.0f} s to reduce,
{hours["classify_s"]:.0f} s for features and classes by the clock), within {hours["peak_mb"]:,.0f} MB.

![CPU seconds against gigabytes](images/server_load-seconds.png)

## What it is scaled up from

The same logs to the same hourly table. {found["machine"]["cores"]} cores, shared with other work while this was measured (a load of
{found["machine"]["load_at_start"]} when its last part began), so CPU seconds are the fair column; they include each engine's start.

| engine | CPU s | MB per CPU s | ratio to the reference | wall s | ratio | peak MB per process |
|---|--:|--:|--:|--:|--:|--:|
{race}

Classes of the last two days, predicted from the days before:

| model | accuracy | weighted F1 |
|---|--:|--:|
{models}
"""


def _by_cpu(engines: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(
        ((n, one) for n, one in engines.items() if "cpu_s" in one), key=lambda item: float(item[1]["cpu_s"])
    )


def _race_line(name: str, one: dict[str, Any], reference: dict[str, Any]) -> str:
    cpu, wall = (
        f"{reference[key] / one[key]:.1f}" if key in reference else "-" for key in ("cpu_s", "seconds")
    )
    return (
        f"| {name} | {one['cpu_s']:.1f} | {one['mb_per_cpu_s']:.0f} | {cpu} | {one['seconds']:.1f} | {wall} "
        f"| {one['peak_mb_per_process']:.0f} |"
    )


def _reading_limits(found: dict[str, Any], node: Node) -> bool:
    return measure_rate(found) / node.cores < 1 / NODE_READ_BYTES_PER_S


def main() -> None:
    """Write the page."""
    found = json.loads(RESULTS.read_text())
    node = read_node()
    PAGE.write_text(page(found, compute(found, node), node))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
