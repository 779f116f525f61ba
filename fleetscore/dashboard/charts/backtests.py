"""Pictures of backtests: how near forecasts came, by quantile, step, cutoff and store; how well methods
predicted classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fleetscore.dashboard.charts.output_figures import draw_bars, draw_grid, draw_lines, draw_spread
from fleetscore.dashboard.charts.published import Drawing
from fleetscore.dashboard.svg import LINE_SIGN, Sign

_SIGNS = (
    Sign(LINE_SIGN, "series", "90 % band covers"),
    Sign(LINE_SIGN, "history", "50 % band covers"),
    Sign(LINE_SIGN, "median", "pinball / last value"),
)
_LINES = (("series", "coverage_90"), ("history", "coverage_50"), ("median", "relative_to_last_value"))


def draw_quantiles(figures: Mapping[str, Any]) -> Drawing:
    """The backtest of quantile forecasts: loss per quantile, coverage per step and cutoff, stores by their
    loss.
    """
    losses = [(name, float(loss), f"{loss:.4g}") for name, loss in figures["pinball_per_quantile"].items()]
    ratios = np.array([part["relative_to_last_value"] for part in figures["per_store"].values()], np.float64)
    return Drawing(
        "Backtest",
        (),
        (
            draw_bars("pinball loss per quantile", losses),
            _over("per step", figures["per_step"]),
            _over("per cutoff", figures["per_cutoff"]),
            draw_spread("stores by pinball / last value", ratios),
        ),
        _SIGNS,
    )


def _over(label: str, parts: Mapping[Any, Mapping[str, float]]) -> Any:
    lines = {class_: np.array([part[name] for part in parts.values()], np.float64) for class_, name in _LINES}
    return draw_lines(label, [str(key) for key in parts], lines)


def draw_methods(figures: Mapping[str, Any]) -> Drawing:
    """The backtest of classes: mean weighted F1 per method over the cutoffs, and the confusion of the
    best.
    """
    rows: Sequence[Mapping[str, Any]] = figures["rows"]
    methods = dict.fromkeys(row["method"] for row in rows)
    means = {name: float(np.mean([row["f1"] for row in rows if row["method"] == name])) for name in methods}
    ranked = sorted(means, key=lambda name: -means[name])
    bars = [(name, means[name], f"{means[name]:.3f}") for name in ranked]
    drawn = [draw_bars("weighted F1 on the days after each cutoff, mean", bars)]
    if ranked:
        confusion = sum(np.array(row["confusion"]) for row in rows if row["method"] == ranked[0])
        label = f"{ranked[0]}: true classes (rows) and predicted ones (columns)"
        drawn.append(draw_grid(label, ("low", "medium", "high"), np.asarray(confusion)))
    return Drawing("Backtest", (), tuple(drawn))
