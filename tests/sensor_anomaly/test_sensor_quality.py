"""The quality benchmark: what it plants, how it counts, and that the page shows what was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from benchmarks.quality import PAGE, RESULT, count_events, render, with_block
from benchmarks.sensor_methods import fleetscore_marks, judge
from benchmarks.sensor_series import SHAPES, Series, usual_series, with_anomaly

_DAY = 288  # readings every five minutes


def test_page_shows_the_figures_that_were_measured() -> None:
    """The block of docs/quality.md is what the kept figures give."""
    text = PAGE.read_text()
    assert with_block(text, render(json.loads(RESULT.read_text()))) == text


def test_marks_are_counted_as_events_and_hits() -> None:
    """Marks up to two hours apart are one event; one that touches a span is no false one; training is not judged."""
    time_s = np.arange(100) * 3600
    series = Series("s", time_s, np.zeros(100), 10, ((50 * 3600, 55 * 3600),))
    marks = np.zeros(100)
    marks[[5, 20, 22, 30, 52, 53, 80]] = 1
    hit, false, share = count_events(series, marks)
    assert (hit, false) == (1, 3) and share == 6 / 90


def test_every_shape_changes_its_span_and_nothing_else() -> None:
    """A planted anomaly lies in what is judged, within its span, and leaves all other readings alone."""
    (series,) = usual_series(1, 8, 3, seed=1)
    for shape in SHAPES:
        planted = with_anomaly(series, shape, 4, seed=2)
        changed = series.time_s[planted.value != series.value]
        ((first, last),) = planted.spans
        assert len(changed) and first <= changed.min() and changed.max() <= last
        assert changed.min() > series.time_s[series.trained]


def test_methods_see_the_past_only() -> None:
    """Marks of Fleetscore up to a time are the same whatever comes after it."""
    (series,) = usual_series(1, 6, 3, seed=3)
    planted = with_anomaly(series, "level", 6, seed=4)
    (before,), (after,) = fleetscore_marks([series], 0.1), fleetscore_marks([planted], 0.1)
    place = int(np.searchsorted(series.time_s, planted.spans[0][0]))
    assert np.array_equal(before[0][:place], after[0][:place])
    assert after[1][place:].any()


def test_no_sensor_is_marked_more_than_two_percent_of_the_time() -> None:
    """Of new levels, storms and planted anomalies no more than 2 % of any three days is marked, whatever the budget."""
    usual = usual_series(4, 9, 3, seed=9)
    wild = [_with_storms(one, seed) for seed, one in enumerate(usual)]
    judged = judge(wild)
    for budget in (0.05, 20.0):
        for series, (_, marks) in zip(wild, judged.marks(budget), strict=True):
            counted = np.cumsum(np.pad(marks, (3 * _DAY, 0)))
            assert 0 < (counted[3 * _DAY :] - counted[: -3 * _DAY]).max() <= 0.02 * 3 * _DAY, series.name


def _with_storms(series: Series, seed: int) -> Series:
    rng = np.random.default_rng(seed)
    value = series.value.copy()
    for start in rng.integers(series.trained, len(value), 12).tolist():
        length = int(rng.integers(1, 200))
        value[start : start + length] += rng.normal(0, 8) + rng.normal(
            0, 3, len(value[start : start + length])
        )
    value[int(rng.integers(series.trained, len(value))) :] += 10.0
    return replace(series, value=value)
