"""Servers' part of `python -m benchmarks quality`: how the quantiles of the load hold when a server changes.

Servers with idle nights, and without, are levelled up by a constant or a factor, take a night job, stand still or spike for a day, or grow;
each is forecast 1, 2, 4 and 7 days after that. The model learns from other servers, of which some moved by a factor and none otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.workloads.server_load.examples import Examples, build_examples, meaning_of
from fleetscore.workloads.server_load.features import build_all_features, build_history
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.load_answers import LOAD_QUANTILES
from fleetscore.workloads.server_load.load_quantiles import fit_load, predict_load
from fleetscore.workloads.server_load.peaks import HOURS
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.trees import Trees

Floats = NDArray[np.float64]
Change = Callable[[np.random.Generator, Floats, int], Floats]

FIRST_DAY = 17_191  # 2017-01-25: no holiday is learned from or judged but Presidents' Day
DAYS, EVENT_DAY = 45, 35
SEEN_AFTER = (1, 2, 4, 7)
HORIZON = 48
SEED = 4001


def add_level(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """A constant is added from the hour `at` on: half of the day's load to one and a half of it."""
    load[at:] += random.uniform(0.5, 1.5) * np.quantile(load[: EVENT_DAY * 24], 0.7)
    return load


def multiply_level(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """The load is 1.5 to 2.7 times as high from the hour `at` on, or so many times lower."""
    load[at:] *= np.exp(random.choice([-1, 1]) * random.uniform(0.4, 1.0))
    return load


def add_night_job(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """The nights carry a job from the hour `at` on."""
    hours = np.arange(len(load))
    night = (hours >= at) & (hours % 24 < 5)
    load[night] += random.uniform(0.5, 1.5) * np.quantile(load, 0.7)
    return load


def stand_still(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """A day's load is a hundredth of the usual."""
    del random
    load[at : at + 24] *= 0.01
    return load


def lose_day(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """A day has no sessions."""
    del random
    load[at : at + 24] = np.nan
    return load


def spike(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """A day's load is two to five times the usual."""
    load[at : at + 24] *= random.uniform(2, 5)
    return load


def grow(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """The load grows or falls by one to three percent a day."""
    del at
    days = np.arange(len(load)) / 24
    return np.asarray(load * np.exp(random.choice([-1, 1]) * random.uniform(0.01, 0.03) * days))


def leave(random: np.random.Generator, load: Floats, at: int) -> Floats:
    """Nothing changes."""
    del random, at
    return load


SHAPES: dict[str, tuple[bool, Change]] = {
    "idle nights, as usual": (True, leave),
    "idle nights, a constant added": (True, add_level),
    "idle nights, a factor": (True, multiply_level),
    "idle nights, a night job": (True, add_night_job),
    "idle nights, a day's outage": (True, stand_still),
    "idle nights, a day lost": (True, lose_day),
    "idle nights, a day's spike": (True, spike),
    "idle nights, trend": (True, grow),
    "busy nights, as usual": (False, leave),
    "busy nights, a constant added": (False, add_level),
    "busy nights, a factor": (False, multiply_level),
    "busy nights, a day's outage": (False, stand_still),
}
"""Whether nights are idle, and what changes."""


def one_server(random: np.random.Generator, idle: bool, days: int = DAYS) -> Floats:
    """A server's load, hour by hour: a rhythm of the day, quieter weekends, noise and a slow drift."""
    hours = np.arange(24)
    rhythm = 0.5 * np.cos(2 * np.pi * (hours - random.integers(11, 17)) / 24)
    if idle:
        night = (hours + random.integers(-2, 3)) % 24 < random.integers(6, 11)
        rhythm = np.where(night, random.uniform(-8, -4), rhythm)
    weekday = (FIRST_DAY + np.arange(days) + 3) % 7
    weekend = np.where(weekday >= 5, random.normal(-0.7, 0.4), 0.0)
    slow = np.zeros(days)
    for day in range(1, days):
        slow[day] = 0.85 * slow[day - 1] + random.normal(0, 0.08)
    noise = random.normal(0, random.uniform(0.1, 0.3), (days, 24))
    level = random.normal(5.5, 0.6)
    return np.asarray(np.exp((level + slow + weekend)[:, None] + rhythm + noise).ravel())


def shape_loads(name: str, servers: int, seed: int) -> Floats:
    """float64 (servers, DAYS * 24): loads of a shape; its change begins at some hour of EVENT_DAY."""
    random = np.random.default_rng(seed)
    idle, change = SHAPES[name]
    loads = [
        change(random, one_server(random, idle), EVENT_DAY * 24 + int(random.integers(24)))
        for _ in range(servers)
    ]
    return without_some(random, np.stack(loads))


def usual_loads(servers: int, seed: int) -> Floats:
    """float64 (servers, DAYS * 24): loads to learn from, half with idle nights; some move by a factor."""
    random = np.random.default_rng(seed)
    loads = []
    for number in range(servers):
        load = one_server(random, number % 2 == 0)
        for _ in range(random.poisson(DAYS / 60)):
            load[random.integers(len(load)) :] *= np.exp(random.normal(0, 0.6))
        loads.append(load)
    return without_some(random, np.stack(loads))


def without_some(random: np.random.Generator, loads: Floats) -> Floats:
    """One hour of twenty has no sessions."""
    loads[random.random(loads.shape) < 0.05] = np.nan
    return loads


def as_hours(loads: Floats) -> pa.Table:
    """The hours (HOURS) of loads (servers, hours from FIRST_DAY on)."""
    server, hour = np.nonzero(~np.isnan(loads))
    units = pa.array(np.rint(loads[server, hour] * UNITS).astype(np.int64))
    names = pa.DictionaryArray.from_arrays(pa.array(server, pa.int32()), names_of(loads))
    columns: list[Any] = [
        names,
        pa.array((FIRST_DAY * 24 + hour).astype(np.int32)),
        pa.array(np.ones(len(hour), np.int64)),
    ]
    return pa.Table.from_arrays([*columns, *[units] * len(SUMS)], schema=HOURS)


def names_of(loads: Floats) -> list[str]:
    """The servers' addresses."""
    return [f"10.1.{number // 256}.{number % 256}" for number in range(len(loads))]


def measure_shapes(servers: int) -> dict[str, Any]:
    """Per shape and number of days after its change the pinball loss of each quantile, as a share of the mean load, and the share
    of hours that are at most it; beside it the loss of the median and greatest of the four weeks before.
    """
    settings = ServerLoadSettings()
    trees = fit_load(usual_examples(2 * servers, settings), settings)
    shapes = {
        name: [measure_moment(trees, shape_loads(name, servers, SEED + 1 + place), after, settings) for after in SEEN_AFTER]
        for place, name in enumerate(SHAPES)
    }  # fmt: skip
    return {"servers": servers, "shapes": shapes}


def usual_examples(servers: int, settings: ServerLoadSettings) -> Examples:
    """The examples of the 30 days up to EVENT_DAY."""
    end = (FIRST_DAY + EVENT_DAY) * 24
    return build_examples(as_hours(usual_loads(servers, SEED)), end - 30 * 24, end, settings)


def measure_moment(
    trees: Trees, loads: Floats, after: int, settings: ServerLoadSettings
) -> dict[str, float | list[float]]:
    """The measures of the two days from `after` days behind EVENT_DAY on."""
    first = FIRST_DAY * 24
    history = build_history(as_hours(loads), names_of(loads), first, first + DAYS * 24)
    moment = first + (EVENT_DAY + after) * 24
    server = np.repeat(np.arange(len(loads)), HORIZON)
    hour = np.tile(np.arange(moment, moment + HORIZON), len(loads))
    features = build_all_features(history, (server, hour, np.full(len(hour), moment)), meaning_of(settings))
    weeks = np.stack([loads[server, hour - first - 168 * n] for n in range(1, 5)])
    known = ~np.isnan(loads[server, hour - first]) & ~np.isnan(weeks).all(axis=0)
    load, said, weeks = (
        loads[server, hour - first][known],
        predict_load(trees, features)[known],
        weeks[:, known],
    )
    table = np.column_stack([np.nanmedian(weeks, axis=0), np.nanmax(weeks, axis=0)])
    return {
        "hours": len(load),
        "loss": pinball(load, said),
        "loss_of_weeks": pinball(load, table),
        "at_most": [float(share) for share in (load[:, None] <= said).mean(axis=0)],
        "sum": float(said[:, 0].sum() / load.sum()),
    }


def pinball(load: Floats, said: Floats) -> list[float]:
    """The pinball loss of each quantile, as a share of the mean load."""
    off = load[:, None] - said
    quantiles = np.array(LOAD_QUANTILES)
    return [
        float(loss) for loss in np.maximum(quantiles * off, (quantiles - 1) * off).mean(axis=0) / load.mean()
    ]


def render_shapes(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    hours = sum(int(moment["hours"]) for moments in found["shapes"].values() for moment in moments)
    days = " / ".join(map(str, SEEN_AFTER))
    heads = [
        "shape",
        "loss of `load_q50`",
        "of four weeks' median",
        "loss of `load_q90`",
        "of their greatest",
    ]
    heads += ["at most `load_q50`", "at most `load_q90`"]
    lines = [
        f"When a server changes: {found['servers']} servers of each shape, {hours:,} hours judged. The four figures of a cell are of the "
        f"two days that begin {days} days after the day of the change began. The model learned from {2 * found['servers']} other servers.",
        "",
        f"| {' | '.join(heads)} |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, moments in found["shapes"].items():
        cells = [
            " / ".join(f"{moment[what][place]:.2f}" for moment in moments)
            for what, place in (("loss", 0), ("loss_of_weeks", 0), ("loss", 1), ("loss_of_weeks", 1), ("at_most", 0), ("at_most", 1))
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
