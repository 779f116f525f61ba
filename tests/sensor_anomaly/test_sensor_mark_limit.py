"""How often a sensor is marked: within 2 % of the time, whatever is a candidate, and strong ones have their own part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from detector_estate import FIRST, SPIKE, put, readings, score, train
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.store import open_store
from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.horizon import (
    CALIBRATION_BINS,
    LIMIT_BINS,
    RATED_BINS,
    SPARSE_BINS,
)
from fleetscore.workloads.sensor_anomaly.detect.marking import limit_marks
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

RATED = CALIBRATION_BINS + RATED_BINS


def test_new_level_is_one_event_and_then_the_normal() -> None:
    """Of a level that stays new, half of what three days may have is marked, at once, and then nothing."""
    there = np.ones((1, RATED + 4 * DAY_BINS), bool)
    candidates = np.zeros(there.shape, bool)
    candidates[0, RATED + 50 :] = True
    for strong in (candidates & False, candidates):
        marked = limit_marks(candidates, strong, there, 0, RATED)
        assert np.flatnonzero(marked[0]).tolist() == list(range(50, 59))


def test_a_long_event_leaves_marks_for_the_next() -> None:
    """A day after an event of hours the next one is marked, and a third one in the three days is not."""
    there = np.ones((1, RATED + 4 * DAY_BINS), bool)
    candidates = np.zeros(there.shape, bool)
    for day in range(3):
        begin = RATED + day * (DAY_BINS + 20)
        candidates[0, begin : begin + 20] = True
    marked = np.flatnonzero(limit_marks(candidates, candidates & False, there, 0, RATED)[0])
    assert [int(((marked // (DAY_BINS + 20)) == day).sum()) for day in range(3)] == [9, 4, 0]


@pytest.mark.parametrize(("every", "found"), [(1, 4), (3, 1), (6, 1), (12, 1)])
def test_small_candidates_leave_marks_for_a_strong_one(every: int, found: int) -> None:
    """After hours of small candidates, and days of them, a strong one is marked, until strong ones were as many."""
    there = np.zeros((1, RATED + 3 * DAY_BINS), bool)
    there[:, ::every] = True
    for small in (DAY_BINS // 4, 2 * DAY_BINS):
        candidates, strong = np.zeros(there.shape, bool), np.zeros(there.shape, bool)
        begin = RATED + small + HOUR_BINS
        candidates[0, RATED : RATED + small] = candidates[0, begin : begin + 60] = True
        candidates &= there
        strong[0, begin:] = candidates[0, begin:]
        marked = limit_marks(candidates, strong, there, 0, RATED)[0, begin - RATED :]
        assert np.flatnonzero(marked).tolist() == [every * number for number in range(found)]
        assert not limit_marks(candidates, strong & False, there, 0, RATED)[0, begin - RATED :].any()


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1)])
def test_an_hourly_sensor_has_two_marks_in_five_days_of_which_one_is_for_a_strong_one(
    order: tuple[int, int],
) -> None:
    """A small candidate and a severe one of the same day are both marked in any order, and so are two severe ones; a second
    small one, and a third of any size, are not before five days without any are over, though one reading in ten is lost.
    """
    there = np.zeros((1, RATED + 12 * DAY_BINS), bool)
    there[:, ::HOUR_BINS] = True
    there[:, :: 10 * HOUR_BINS] = False
    candidates, strong = np.zeros(there.shape, bool), np.zeros(there.shape, bool)
    hours = (1, 12, 23, 36, 157)  # of none is the reading lost
    for hour, is_strong in zip(hours, (*order, 0, 1, 0), strict=True):
        assert there[0, RATED + hour * HOUR_BINS]
        candidates[0, RATED + hour * HOUR_BINS] = True
        strong[0, RATED + hour * HOUR_BINS] = bool(is_strong)
    marked = np.flatnonzero(limit_marks(candidates, strong, there, 0, RATED)[0]) // HOUR_BINS
    assert marked.tolist() == [1, 12, 157]
    small = limit_marks(candidates, strong & False, there, 0, RATED)[0]
    assert (np.flatnonzero(small) // HOUR_BINS).tolist() == [1, 157]


def test_severe_spike_after_a_small_drift_is_marked(tmp_path: Path) -> None:
    """By the default settings, a spike six hours after a drift of four deviations over two hours is an anomaly."""
    store, values = open_store(str(tmp_path)), readings(13, 300)
    place = (SPIKE.ordinal - FIRST.ordinal) * 12
    values[place - 72 : place - 48] += 4
    values[place + 3 : place + 9] += 20
    put(store, "pump", {"drift": values}, 300)
    kind = SensorAnomaly()
    train(store, kind)
    earlier = [pc.sum(score(store, kind, SPIKE.next(step))["anomaly"]).as_py() for step in (-6, -5)]
    now = score(store, kind, SPIKE)
    assert sum(earlier) == 9 and pc.sum(now["anomaly"]).as_py() > 0, (earlier, now["severity"])


def test_severe_reading_of_an_hourly_sensor_is_marked_the_day_after_a_small_one(tmp_path: Path) -> None:
    """By the default settings, an anomaly of sixty deviations is marked a day after a small one was."""
    store, values = open_store(str(tmp_path)), readings(13, 3600)
    place = SPIKE.ordinal - FIRST.ordinal
    values[place - 20] += 6
    values[place] += 60
    put(store, "pump", {"hourly": values}, 3600)
    kind = SensorAnomaly()
    train(store, kind, FIRST.next(6 * 24))
    small, severe = (score(store, kind, window) for window in (SPIKE.next(-20), SPIKE))
    assert (small["anomaly"].to_pylist(), severe["anomaly"].to_pylist()) == ([1], [1]), (
        small["severity"],
        severe["severity"],
    )
    assert severe["severity"][0].as_py() > small["severity"][0].as_py()


def test_a_young_sensor_is_marked_at_its_pace() -> None:
    """A sensor with half a day of past may be marked as often as one with a week; one that reports hourly, twice in five days."""
    there = np.zeros((3, RATED + DAY_BINS), bool)
    there[0], there[1, RATED - DAY_BINS // 2 :], there[2, ::12] = True, True, True
    young = np.zeros_like(there)
    young[:, RATED:] = there[:, RATED:]
    assert limit_marks(young, young, there, 0, RATED).sum(axis=1).tolist() == [9, 9, 2]


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 6, 12, 24]), st.floats(0.001, 0.6), st.floats(0.0, 0.4),
    st.floats(0.0, 1.0),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_no_sensor_is_marked_more_than_two_percent_of_the_time(
    seed: int, every: int, share: float, storms: float, severe: float
) -> None:
    """Whatever is a candidate, or a strong one, any three days of a steady sensor (five of one that reports hourly) have
    2 % of marks at most (one, where that is none), as many windows as there are, in any order; and a bin's mark depends
    on the horizon before it alone.
    """
    rng = np.random.default_rng(seed)
    count = RATED + 6 * DAY_BINS
    there = np.zeros((1, count), bool)
    there[:, int(rng.integers(every)) :: every] = True
    storm = np.repeat(rng.random((1, count // HOUR_BINS)) < storms, HOUR_BINS, axis=1)
    candidates = there & (storm | (rng.random(there.shape) < share))
    strong = candidates & (rng.random(there.shape) < severe)
    begins = list(range(RATED, count, 6 * HOUR_BINS))
    found = np.zeros(there.shape, bool)
    for begin in rng.permutation(begins).tolist():
        first, end = begin - RATED, min(begin + 6 * HOUR_BINS, count)
        seen = candidates[:, first:end].copy()
        seen[:, :CALIBRATION_BINS] = False  # nothing before is rated
        found[:, begin:end] = limit_marks(
            seen, seen & strong[:, first:end], there[:, first:end], first, begin
        )
    counted = np.cumsum(np.pad(found[0], (1, 0)))
    span = np.arange(RATED, count + 1)
    length = SPARSE_BINS if every == HOUR_BINS else LIMIT_BINS
    most = int((counted[span] - counted[span - length]).max())
    assert most <= max(1, 0.02 * length / every)
    assert not (found & ~candidates).any()
