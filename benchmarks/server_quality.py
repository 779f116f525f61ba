"""Servers' part of `python -m benchmarks quality`: the candidates on generated loads, three tables beside them.

Loads have a rhythm of the week, holidays on which some servers rest, trends, and shifts that stay. Each model learns from 30 days
and is judged on the week after them, each day seen from its beginning or from a day before, as windows see them.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.server_shapes import measure_shapes, render_shapes
from fleetscore.workloads.server_load.calendar_features import holiday_days
from fleetscore.workloads.server_load.examples import Examples, build_examples
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.load_quantiles import fit_load, measure_load
from fleetscore.workloads.server_load.metrics import Metrics
from fleetscore.workloads.server_load.peaks import HOURS
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.training import card_baselines, judge

Floats = NDArray[np.float64]
Days = NDArray[Any]

FIRST_DAY = 17_136  # 2016-12-01: Christmas and New Year are learned from, Martin Luther King's day is judged
DAYS, LEARNED, JUDGED = 68, 30, 7
CUTOFFS = (46, 61)
SEEDS = (101, 102)
NAMES = {
    "class_of_48_hours_ago": "class of 48 hours ago",
    "class_of_168_hours_ago": "class of 168 hours ago",
    "server_and_hour_of_week": "table of server and hour of week",
    "forest": "Fleetscore, forest",
    "boosting": "Fleetscore, boosting",
    "load": "Fleetscore, quantiles of the load",
}


def measure_servers(servers: int) -> dict[str, Any]:
    """Accuracy and F1 of every method over all seeds and cutoffs, and how the quantiles of the load cover."""
    started, settings = time.process_time(), ServerLoadSettings()
    rounds, covered = [], []
    for seed in SEEDS:
        examples = _examples(generate_hours(servers, seed), settings)
        for cutoff in CUTOFFS:
            learned, judged = (
                _part(examples, cutoff - LEARNED, cutoff),
                _part(examples, cutoff, cutoff + JUDGED),
            )
            found: dict[str, Metrics] = card_baselines(learned, judged, settings)
            found |= {kind: judge(kind, learned, judged, settings).metrics for kind in settings.candidates}
            rounds.append({name: asdict(found[name]) for name in NAMES})
            covered.append(measure_load(fit_load(learned, settings), judged))
    return {
        "servers": servers * len(SEEDS),
        "hours": sum(one["load"]["rows"] for one in rounds),
        "methods": {name: _mean_of([one[name] for one in rounds]) for name in NAMES},
        "rounds": [{name: one[name]["accuracy"] for name in NAMES} for one in rounds],
        "load_at_most": {q: float(np.mean([one[q] for one in covered])) for q in covered[0]},
        "changes": measure_shapes(servers),
        "processor_s": round(time.process_time() - started, 1),
    }


def _mean_of(measured: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in measured])) for name in ("accuracy", "f1")}


def _examples(hours: pa.Table, settings: ServerLoadSettings) -> Examples:
    first = (FIRST_DAY + min(CUTOFFS) - LEARNED) * 24
    return build_examples(hours, first, (FIRST_DAY + DAYS) * 24, settings)


def _part(examples: Examples, first_day: int, end_day: int) -> Examples:
    day = examples.hour // 24 - FIRST_DAY
    return examples.part((day >= first_day) & (day < end_day))


def generate_hours(servers: int, seed: int) -> pa.Table:
    """The hours (HOURS) of servers over DAYS days; nine of ten hours have sessions."""
    random = np.random.default_rng(seed)
    days = np.arange(FIRST_DAY, FIRST_DAY + DAYS)
    holiday = np.isin(days, holiday_days(np.array([2016, 2017]), "US"))
    load = np.exp(np.stack([_one_server(random, days, holiday) for _ in range(servers)]))
    server, hour = np.nonzero(random.random(load.shape) < 0.9)
    units = pa.array(np.rint(load[server, hour] * UNITS).astype(np.int64))
    names = pa.DictionaryArray.from_arrays(
        pa.array(server, pa.int32()), [f"10.0.0.{n}" for n in range(servers)]
    )
    columns = [
        names,
        pa.array((FIRST_DAY * 24 + hour).astype(np.int32)),
        pa.array(np.ones(len(hour), np.int64)),
    ]
    return pa.Table.from_arrays([*columns, *[units] * len(SUMS)], schema=HOURS)


def _one_server(random: np.random.Generator, days: Days, holiday: Days) -> Floats:
    """The logarithm of a server's load, hour by hour."""
    week = _week_of_one(random)
    rests = random.random() < 0.7
    weekday = np.where(holiday & rests, 6, (days + 3) % 7)
    trend = random.normal(0, 0.004) if random.random() < 0.4 else 0.0
    level = random.normal(5.3, 0.8) + trend * np.arange(len(days))
    for _ in range(random.poisson(len(days) / 60)):
        level[random.integers(len(days)) :] += random.normal(0, 0.6)
    slow = np.zeros(len(days))
    for day in range(1, len(days)):
        slow[day] = 0.85 * slow[day - 1] + random.normal(0, 0.12)
    noise = random.normal(0, random.uniform(0.1, 0.35), (len(days), 24))
    return np.asarray(((level + slow)[:, None] + week[weekday] + noise).ravel())


def _week_of_one(random: np.random.Generator) -> Floats:
    """A server's rhythm, days x hours; the weekend is flatter and lower."""
    hours = np.arange(24)
    shape = np.zeros(24)
    for k in (1, 2, 3):
        shape += random.normal(0, 0.5 / k) * np.cos(2 * np.pi * k * (hours - random.integers(24)) / 24)
    week = np.tile(shape, (7, 1)) + random.normal(0, 0.12, (7, 24))
    week[5:] = shape * random.uniform(0.2, 1) + random.normal(-0.5, 0.4)
    return week


def render_servers(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    rounds = len(found["rounds"])
    lines = [
        f"Generated loads: {found['servers']} servers, {found['hours']:,} hours judged in {rounds} rounds "
        f"of {JUDGED} days, each after {LEARNED} days learned from.",
        "",
        f"| method | accuracy | weighted F1 | accuracy in the {rounds} rounds |",
        "|---|--:|--:|--:|",
    ]
    for name, title in NAMES.items():
        measured, each = found["methods"][name], [one[name] for one in found["rounds"]]
        spread = f"{min(each):.3f} to {max(each):.3f}"
        lines.append(f"| {title} | {measured['accuracy']:.3f} | {measured['f1']:.3f} | {spread} |")
    at_most = found["load_at_most"]
    lines += [
        "",
        f"Loads were at most `load_q50` in {at_most['0.5']:.1%} of the hours, at most `load_q90` in {at_most['0.9']:.1%}.",
        "",
        render_shapes(found["changes"]),
    ]
    return "\n".join(lines)
