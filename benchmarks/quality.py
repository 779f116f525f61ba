"""What the results are worth to those who act on them: sensors' detectors on labelled, generated and planted readings, rivals beside;
classes of servers on generated loads, tables beside; forecasts of sales on generated chains and real ones, rivals beside.

Run: python -m benchmarks quality [--part sensors|servers|sales|counts] [--data FOLDER] [--quick]
FOLDER, or one of its folders, holds labelled series of the Numenta Anomaly Benchmark (windows.json, realAWSCloudwatch/,
realKnownCause/), and another holds real sales (history.csv); what is not there is left out. Writes
benchmarks/results/quality_sensors.json, quality_servers.json, quality_sales.json, quality_counts.json and the blocks of docs/quality.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sales_counts import measure_counts, render_counts
from benchmarks.sales_quality import measure_sales, render_sales
from benchmarks.sensor_methods import DEFAULT_WEIGHTS, RIVALS, Judged, alone, judge
from benchmarks.sensor_series import SHAPES, Floats, Series, labelled_series, usual_series, with_anomaly
from benchmarks.server_quality import measure_servers, render_servers
from fleetscore.workloads.sensor_anomaly.detect.calibration import LIMIT
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "quality_sensors.json"
SERVERS_RESULT = HERE / "results" / "quality_servers.json"
SALES_RESULT = HERE / "results" / "quality_sales.json"
COUNTS_RESULT = HERE / "results" / "quality_counts.json"
PAGE = HERE.parent / "docs" / "quality.md"
BEGIN, END = "<!-- begin sensors: written by `python -m benchmarks quality` -->", "<!-- end sensors -->"
SERVERS_BEGIN, SERVERS_END = (
    "<!-- begin servers: written by `python -m benchmarks quality` -->",
    "<!-- end servers -->",
)
SALES_BEGIN, SALES_END = (
    "<!-- begin sales: written by `python -m benchmarks quality` -->",
    "<!-- end sales -->",
)
COUNTS_BEGIN, COUNTS_END = (
    "<!-- begin counts: written by `python -m benchmarks quality` -->",
    "<!-- end counts -->",
)
BUDGETS = (0.05, 0.1)
LABELLED_BUDGETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
GAP_S = 7200  # marks no further apart are one event
SIZES = (1, 2, 4, 6)
GROUPS = {"realAWSCloudwatch": "NAB AWS", "realKnownCause": "NAB known cause"}


def main(arguments: Sequence[str]) -> None:
    """Measure all parts or one, keep them, and write the page's blocks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder of labelled series and real sales; without it they are left out"
    )
    parser.add_argument("--quick", action="store_true", help="few series; nothing is kept")
    parser.add_argument("--part", choices=("sensors", "servers", "sales", "counts"), help="this part alone")
    options = parser.parse_args(arguments)
    if options.part in (None, "servers"):
        report_servers(options.quick)
    if options.part in (None, "sales"):
        report_sales(folder_with(options.data, "history.csv"), options.quick)
    if options.part in (None, "counts"):
        report_counts(options.quick)
    if options.part in (None, "sensors"):
        report_sensors(folder_with(options.data, "windows.json"), options.quick)


def folder_with(data: Path | None, name: str) -> Path | None:
    """`data` or the first of its folders that holds a file of that name; None where none does."""
    if data is None:
        return None
    found = (folder for folder in (data, *sorted(data.iterdir())) if (folder / name).is_file())
    return next(found, None)


def report_sales(data: Path | None, quick: bool) -> None:
    """Measure forecasts of sales, print the tables, and keep them where they are whole."""
    found = measure_sales(data, quick)
    block = render_sales(found)
    print(block)
    if not quick:
        SALES_RESULT.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(with_block(PAGE.read_text(), block, SALES_BEGIN, SALES_END))


def report_counts(quick: bool) -> None:
    """Measure the bands of a few whole pieces, print the table, and keep it where it is whole."""
    found = measure_counts(quick)
    block = render_counts(found)
    print(block)
    if not quick:
        COUNTS_RESULT.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(with_block(PAGE.read_text(), block, COUNTS_BEGIN, COUNTS_END))


def report_servers(quick: bool) -> None:
    """Measure servers, print the table, and keep it where it is whole."""
    found = measure_servers(8 if quick else 40)
    block = render_servers(found)
    print(block)
    if not quick:
        SERVERS_RESULT.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(with_block(PAGE.read_text(), block, SERVERS_BEGIN, SERVERS_END))


def report_sensors(data: Path | None, quick: bool) -> None:
    """Measure sensors, print the tables, and keep them where they are whole."""
    started = time.process_time()
    found: dict[str, Any] = {"usual": measure_usual(14 if quick else 56)}
    found["planted"] = measure_planted(1 if quick else 4)
    if data is not None:
        found["labelled"] = [measure_group(data, group) for group in GROUPS]
    found["processor_s"] = round(time.process_time() - started, 1)
    block = render(found)
    print(block)
    if not quick:
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(with_block(PAGE.read_text(), block))


# counting


def count_events(series: Series, marks: Floats) -> tuple[int, int, float]:
    """Spans with a mark in them, events outside of all spans, and the share of judged readings that are marked."""
    times = series.time_s[series.trained :][marks[series.trained :] > 0]
    hit = sum(bool(((times >= first) & (times <= last)).any()) for first, last in series.spans)
    events = np.split(times, np.flatnonzero(np.diff(times) > GAP_S) + 1) if len(times) else []
    false = sum(not any(e[0] <= last and e[-1] >= first for first, last in series.spans) for e in events)
    return hit, false, float(len(times)) / (len(series.value) - series.trained)


def summarise(series: Sequence[Series], marks: Sequence[Floats]) -> dict[str, Any]:
    """Hits, false events per sensor and day, and shares of marked readings over all series."""
    counted = [count_events(one, own) for one, own in zip(series, marks, strict=True)]
    days = sum(one.days for one in series)
    weight = [len(one.value) - one.trained for one in series]
    return {
        "hit": sum(hit for hit, _, _ in counted),
        "spans": sum(len(one.spans) for one in series),
        "false_per_day": sum(false for _, false, _ in counted) / days,
        "marked": float(np.average([share for _, _, share in counted], weights=weight)),
        "marked_most": max(share for _, _, share in counted),
        "sensors": len(series),
        "days": days,
    }


def chance(series: Sequence[Series], marks: Sequence[Floats], turns: int = 200) -> float:
    """Spans that the same marks hit when they are shifted by a random time, around the end."""
    rng = np.random.default_rng(0)
    hits = 0
    for one, own in zip(series, marks, strict=True):
        judged = own[one.trained :]
        for _ in range(turns):
            shifted = np.concatenate([own[: one.trained], np.roll(judged, rng.integers(len(judged)))])
            hits += count_events(one, shifted)[0]
    return hits / turns


# parts


def measure_usual(sensors: int) -> list[dict[str, Any]]:
    """Events of readings as usual against the budget, for readings every minute, five minutes and hour."""
    lines = []
    for step_s, days, trained in ((60, 10, 3), (300, 17, 3), (3600, 40, 20)):
        series = usual_series(sensors, days, trained, seed=1000 + step_s, step_s=step_s)
        judged = judge(series)
        for budget in BUDGETS:
            marks = [own for _, own in judged.marks(budget)]
            lines.append(
                {
                    "step_s": step_s,
                    "budget": budget,
                    **summarise(series, marks),
                    "kinds": _by_kind(series, marks),
                }
            )
    return lines


def _by_kind(series: Sequence[Series], marks: Sequence[Floats]) -> dict[str, float]:
    kinds = dict.fromkeys(one.name.partition("-")[0] for one in series)
    found = {}
    for kind in kinds:
        own = [place for place, one in enumerate(series) if one.name.startswith(f"{kind}-")]
        found[kind] = summarise([series[p] for p in own], [marks[p] for p in own])["false_per_day"]
    return found


def measure_planted(sensors: int) -> dict[str, Any]:
    """Share of planted anomalies that are hit at the budget of 0.05, by shape: by all detectors, and by each alone at its own limit."""
    usual = usual_series(7 * max(sensors // 2, 1), 8, 3, seed=5)
    base = usual_series(sensors, 8, 3, seed=6)
    planted = [
        (shape, with_anomaly(one, shape, size, seed=100 * place + size))
        for shape in SHAPES for size in SIZES for place, one in enumerate(base)
    ]  # fmt: skip
    series = [one for _, one in planted]
    methods = {"all": DEFAULT_WEIGHTS, **{name: alone(name) for name in DETECTORS}}
    found: dict[str, Any] = {"n_per_shape": len(SIZES) * sensors, "methods": {}}
    judged, judged_usual = judge(series), judge(usual)
    for name, weights in methods.items():
        limit, rate = _limit_for(judged_usual, weights, 0.05)
        severities = [severity for severity, _ in judged.marks(0.05, weights)]
        hits = [
            count_events(one, (s >= limit).astype(float))[0]
            for one, s in zip(series, severities, strict=True)
        ]
        found["methods"][name] = {"limit": limit, "false_per_day": rate, **_by_shape(planted, hits)}
    for name, method in RIVALS.items():
        rate = summarise(usual, [method(one) for one in usual])["false_per_day"]
        hits = [count_events(one, method(one))[0] for one in series]
        found["methods"][name] = {"false_per_day": rate, **_by_shape(planted, hits)}
    return found


def _limit_for(usual: Judged, weights: Floats, budget: float) -> tuple[float, float]:
    """The least limit that keeps the budget on readings as usual, and the rate there; the largest severity that there is if none does."""
    severities = [severity for severity, _ in usual.marks(0.05, weights)]
    for limit in np.arange(1.0, LIMIT, 0.05):
        marks = [(s >= limit).astype(float) for s in severities]
        rate = summarise(usual.series, marks)["false_per_day"]
        if rate <= budget:
            break
    return float(limit), float(rate)


def _by_shape(planted: Sequence[tuple[str, Series]], hits: Sequence[int]) -> dict[str, Any]:
    shares = {
        s: float(np.mean([h for (shape, _), h in zip(planted, hits, strict=True) if shape == s]))
        for s in SHAPES
    }
    return {"shapes": shares, "mean": float(np.mean(list(shares.values())))}


def measure_group(folder: Path, group: str) -> dict[str, Any]:
    """Labelled series: Fleetscore at several budgets, rivals at their usual limits, and what chance would hit."""
    series = labelled_series(folder, group)
    judged = judge(series)
    lines: dict[str, Any] = {}
    for budget in LABELLED_BUDGETS:
        marks = [own for _, own in judged.marks(budget)]
        lines[f"Fleetscore, budget {budget:g}"] = _labelled(series, marks)
    for name, method in RIVALS.items():
        lines[name] = _labelled(series, [method(one) for one in series])
    return {"title": GROUPS[group], "methods": lines}


def _labelled(series: Sequence[Series], marks: Sequence[Floats]) -> dict[str, Any]:
    return {**summarise(series, marks), "chance": chance(series, marks)}


# the page


def render(found: dict[str, Any]) -> str:
    """The tables in Markdown."""
    parts = [_labelled_table(group) for group in found.get("labelled", [])]
    return "\n\n".join([*parts, _planted_table(found["planted"]), _usual_table(found["usual"])])


def _labelled_table(group: dict[str, Any]) -> str:
    first = next(iter(group["methods"].values()))
    lines = [
        f"{group['title']}: {first['sensors']} series, {first['days']:.0f} sensor-days judged, {first['spans']} labelled windows.",
        "",
        "| method | windows hit | by chance | false events per sensor-day | readings marked | most of a sensor |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, line in group["methods"].items():
        lines.append(
            f"| {name} | {line['hit']} of {line['spans']} | {line['chance']:.1f} | {line['false_per_day']:.3f} "
            f"| {line['marked']:.1%} | {line['marked_most']:.1%} |"
        )
    return "\n".join(lines)


def _planted_table(planted: dict[str, Any]) -> str:
    lines = [
        f"Planted anomalies, {planted['n_per_shape']} of each shape (sizes {', '.join(map(str, SIZES))} deviations): share that is hit. "
        "Detectors alone at the limit that gives each 0.05 false events per sensor-day; rivals at their usual limits.",
        "",
        f"| method | false per sensor-day | {' | '.join(SHAPES)} | mean |",
        f"|---|--:|{'--:|' * len(SHAPES)}--:|",
    ]
    for name, line in planted["methods"].items():
        shares = " | ".join(f"{line['shapes'][shape]:.2f}" for shape in SHAPES)
        title = "**all detectors**" if name == "all" else name
        lines.append(f"| {title} | {line['false_per_day']:.3f} | {shares} | {line['mean']:.3f} |")
    return "\n".join(lines)


def _usual_table(usual: list[dict[str, Any]]) -> str:
    lines = [
        "Readings as usual, generated anew: events against the budget.",
        "",
        "| a reading every | sensors | sensor-days | budget | events per sensor-day | of the seven kinds | marked, most of a sensor |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for line in usual:
        kinds = line["kinds"].values()
        lines.append(
            f"| {line['step_s'] // 60} min | {line['sensors']} | {line['days']:.0f} | {line['budget']:g} | {line['false_per_day']:.3f} "
            f"| {min(kinds):.3f} to {max(kinds):.3f} | {line['marked_most']:.1%} |"
        )
    return "\n".join(lines)


def with_block(page: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with the block between its two marks."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"
