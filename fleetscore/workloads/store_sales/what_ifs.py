"""What-ifs: forecasts of single weeks of stores as they are planned or with some covariates changed, many
in one go.

Each distinct change gets a copy of its store, since a price moves the rivals' features as well; copies are
forecast together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.scoring import PIECE_SERIES, LoadedModel, forecast_rows

_CHANGED = ("price", "deal", "feat")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The week `ahead` (0: the first) of a series of a panel of one store, with `changes` of that week's
    price, deal or feat.
    """

    panel: Panel
    series: int
    ahead: int
    changes: Mapping[str, float]


def answer_what_ifs(
    what_ifs: Sequence[WhatIf], loaded: LoadedModel, settings: StoreSalesSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Quantiles (rows x quantiles) and fallback of each, in order; the panels span the same weeks. Each is
    answered by itself.
    """
    quantiles, fallback = np.empty((len(what_ifs), len(QUANTILES))), np.empty(len(what_ifs), np.bool_)
    for piece in _pieces(what_ifs):
        rows = [row for scenario in piece for row in scenario]
        panel, starts = _stack([what_ifs[scenario[0]] for scenario in piece], settings.steps)
        first_of = [start for start, scenario in zip(starts, piece, strict=True) for _ in scenario]
        series = np.array([first + what_ifs[row].series for first, row in zip(first_of, rows, strict=True)])
        ahead = np.array([what_ifs[row].ahead for row in rows])
        quantiles[rows], fallback[rows] = forecast_rows(panel, loaded, settings, series, ahead)
    return quantiles, fallback


def _pieces(what_ifs: Sequence[WhatIf]) -> Iterator[list[list[int]]]:
    """The rows by scenario (those that change nothing share their store's), in pieces of about PIECE_SERIES
    series.
    """
    scenarios: dict[tuple[object, ...], list[int]] = {}
    for row, one in enumerate(what_ifs):
        changed = (one.series, one.ahead, *sorted(one.changes.items())) if one.changes else ()
        scenarios.setdefault((id(one.panel), *changed), []).append(row)
    piece: list[list[int]] = []
    series = 0
    for rows in scenarios.values():
        count = len(what_ifs[rows[0]].panel.skus)
        if piece and series + count > PIECE_SERIES:
            yield piece
            piece, series = [], 0
        piece.append(rows)
        series += count
    if piece:
        yield piece


def _stack(scenarios: Sequence[WhatIf], steps: int) -> tuple[Panel, list[int]]:
    """One panel with a store per scenario, its changes made; and where each store's series begin."""
    panels = [scenario.panel for scenario in scenarios]
    counts = [len(panel.skus) for panel in panels]
    starts = [0, *np.cumsum(counts)[:-1].tolist()]
    arrays = {name: np.concatenate([getattr(p, name) for p in panels]) for name in ("sales", *_CHANGED)}
    first_ahead = panels[0].sales.shape[1] - steps
    for start, scenario in zip(starts, scenarios, strict=True):
        for name, value in scenario.changes.items():
            arrays[name][start + scenario.series, first_ahead + scenario.ahead] = value
    stacked = Panel(
        stores=tuple(panel.stores[0] for panel in panels),
        store_of=np.repeat(np.arange(len(panels)), counts),
        skus=np.concatenate([panel.skus for panel in panels]),
        first_week=panels[0].first_week,
        extras=np.concatenate([panel.extras for panel in panels], axis=1),
        countries=tuple(country for panel in panels for country in panel.countries),
        **arrays,
    )
    return stacked, starts
