"""What models learn from: hours with sessions, their features, class and load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.workloads.server_load.calendar_features import CALENDAR
from fleetscore.workloads.server_load.features import (
    ALL_FEATURES,
    LOOKBACK_HOURS,
    build_all_features,
    build_history,
)
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.labels import classify
from fleetscore.workloads.server_load.months import moment_of
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.week_features import Meaning

SEED = 7
_SERVERS_AT_ONCE = 64
_DATES = [CALENDAR.index(name) for name in ("year", "month", "weekofyear", "dayofmonth", "linearTrend")]


@dataclass(frozen=True, slots=True)
class Examples:
    """What is learnt from: hours with sessions, in order of time, then server."""

    features: Any  # float64 (rows, ALL_FEATURES)
    labels: Any  # int8
    hour: Any  # int64
    server: Any = None  # int64 codes; None where they are not needed
    load: Any = None  # float64: the peak load; None where it is not needed

    def part(self, chosen: Any) -> Examples:
        """Some of the rows."""
        server, load = (None if one is None else one[chosen] for one in (self.server, self.load))
        return Examples(self.features[chosen], self.labels[chosen], self.hour[chosen], server, load)


def build_examples(
    hours: pa.Table, first_hour: int, stop_hour: int, settings: ServerLoadSettings
) -> Examples:
    """The examples of [first_hour, stop_hour) from hours that reach LOOKBACK_HOURS further back; at most
    `train_rows` of them. Half of them are seen as from the beginning of their day, half from a day before.
    """
    codes = hours["server"].cast(pa.string()).combine_chunks().dictionary_encode()
    chunk = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
    servers = chunk.dictionary.to_pylist()
    of_row, hour = chunk.indices.to_numpy(), hours["hour"].to_numpy().astype(np.int64)
    load = hours["load"].to_numpy() / UNITS
    target = np.flatnonzero((hour >= first_hour) & (hour < stop_hour))
    target = _sampled(target[np.lexsort((of_row[target], hour[target]))], settings.train_rows)
    features = np.empty((len(target), len(ALL_FEATURES)))
    for start in range(0, len(servers), _SERVERS_AT_ONCE):
        group = servers[start : start + _SERVERS_AT_ONCE]
        inside = (of_row >= start) & (of_row < start + len(group))
        history = build_history(hours.filter(pa.array(inside)), group, first_hour - LOOKBACK_HOURS, stop_hour)
        mine = np.flatnonzero(inside[target])
        server, when = of_row[target[mine]].astype(np.int64), hour[target[mine]]
        at = (server - start, when, _known_until(server, when))
        features[mine] = build_all_features(history, at, meaning_of(settings))
    return Examples(
        features,
        classify(load[target], settings.medium_above, settings.high_above),
        hour[target],
        of_row[target].astype(np.int64),
        load[target],
    )


def meaning_of(settings: ServerLoadSettings) -> Meaning:
    """What the features of a new model rest on."""
    return Meaning(settings.country, settings.medium_above, settings.high_above)


def _known_until(server: Any, hour: Any) -> Any:
    """The hour from which on nothing is known: a window forecasts two days, so every other server's day is
    seen from a day before.
    """
    day = hour // 24
    return (day - (server + day) % 2) * 24


def _sampled(rows: Any, limit: int) -> Any:
    """All rows, or a fixed random `limit` of them in their order."""
    if len(rows) <= limit:
        return rows
    return rows[np.sort(np.random.default_rng(SEED).choice(len(rows), limit, replace=False))]


def split_examples(examples: Examples, split: int, settings: ServerLoadSettings) -> tuple[Examples, Examples]:
    """The examples before and from the hour `split`; InputError when there is nothing on one side."""
    learnt, unseen = examples.part(examples.hour < split), examples.part(examples.hour >= split)
    if len(learnt.labels) and len(unseen.labels):
        return learnt, unseen
    raise InputError(
        f"The span has {len(learnt.labels)} server-hours before {moment_of(split):%Y-%m-%d} to learn from "
        f"and {len(unseen.labels)} after it to judge on.",
        fix=f"Choose more than {settings.test_days} days, or set test_days lower.",
        field="from",
    )


def columns_to_learn(features: Any, others: Sequence[int] = ()) -> Any:
    """The features, constant where nothing is to be split on: a column that is missing in every row, which
    boosting cannot bin, dates, of which a span of weeks says nothing that holds after it, and the columns
    `others`.
    """
    empty = np.isnan(features).all(axis=0)
    empty[[*_DATES, *others]] = True
    return np.where(empty, 0.0, features)
