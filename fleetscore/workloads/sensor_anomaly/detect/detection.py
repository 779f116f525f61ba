"""Detection for a shard: brings up the state of its sensors once, then assesses group after group of its
partitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import pyarrow as pa

from fleetscore.errors import FleetscoreError
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.detect.assessing import (
    Assessed,
    Rules,
    ShardReadings,
    assess,
    no_assessment,
)
from fleetscore.workloads.sensor_anomaly.detect.bins import (
    BIN_US,
    HOUR_BINS,
    Bins,
    empty_bins,
    fill_bins,
    join_bins,
    stack_bins,
)
from fleetscore.workloads.sensor_anomaly.detect.carrying import (
    Inputs,
    bring_up,
    inputs_of,
    keep_window,
    past_scores,
    read_lead,
    score_window,
)
from fleetscore.workloads.sensor_anomaly.detect.hour_keys import DatedFile
from fleetscore.workloads.sensor_anomaly.detect.loading import load_detectors
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS, TAIL, DetectorPack, join_detectors
from fleetscore.workloads.sensor_anomaly.detect.past import Past, PastScores
from fleetscore.workloads.sensor_anomaly.detect.sharding import Placed, place_blocks
from fleetscore.workloads.sensor_anomaly.discovery import span_us
from fleetscore.workloads.sensor_anomaly.fitted import Fitted
from fleetscore.workloads.sensor_anomaly.gathering import Gathered
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


@dataclass(frozen=True)
class Detection:
    """The detectors of a shard's partitions and what came before the window, a row each: `row` says which
    one is a partition's, -1 for one without detectors. `errors` are those of partitions whose past could
    not be read.
    """

    inputs: Inputs | None
    placed: Sequence[Placed]
    pack: DetectorPack
    within: Bins
    past: Past
    row: Int64s
    rules: Rules
    window: int
    errors: Mapping[int, FleetscoreError]

    def judges(self, partitions: Int64s) -> bool:
        """Whether any of the partitions has detectors."""
        return bool((self.row[partitions] >= 0).any())

    def assess(
        self, partitions: Int64s, time_us: Int64s, value: Floats, score: Floats, counts: Int64s
    ) -> Assessed:
        """Assess readings of some partitions, sorted by them (`counts` each) and time; NaN severity for
        those without detectors.
        """
        out = no_assessment(len(value))
        rows = self.row[partitions]
        chosen = np.flatnonzero(rows >= 0)
        if not len(chosen):
            return out
        if len(chosen) == len(rows):
            readings = ShardReadings(time_us, value, score, counts)
            return self._assess(rows, readings)
        inside = np.repeat(rows >= 0, counts)
        readings = ShardReadings(time_us[inside], value[inside], score[inside], counts[chosen])
        assessed = self._assess(rows[chosen], readings)
        for name in Assessed.__slots__:
            getattr(out, name)[inside] = getattr(assessed, name)
        return out

    def _assess(self, rows: Int64s, readings: ShardReadings) -> Assessed:
        return assess(
            self.pack.rows(rows),
            self.past.rows(rows),
            self.within.rows(rows),
            self.window,
            readings,
            self.rules,
        )


@dataclass(slots=True)
class _PastOfShard:
    """Finds what marks need of rows of a shard in the blocks that they are from; safe for threads."""

    inputs: Inputs
    placed: Sequence[Placed]
    lock: Lock = field(default_factory=Lock)

    def __call__(self, rows: Int64s) -> PastScores:
        with self.lock:
            parts, order = [], []
            for placed in self.placed:
                place = np.flatnonzero((rows >= placed.first) & (rows < placed.first + len(placed.rows)))
                if len(place):
                    own = placed.rows[rows[place] - placed.first]
                    parts.append(past_scores(self.inputs, placed.block, own))
                    placed.block.forget(placed.block.begin)
                    order.append(place)
        back = np.argsort(np.concatenate(order))
        raw = np.concatenate([part.raw for part in parts], axis=1)[:, back]
        mean, count = (np.concatenate([getattr(p, name) for p in parts])[back] for name in ("mean", "count"))
        return PastScores(raw, mean, count)


def rules_of(settings: SensorSettings) -> Rules:
    """The rules that the settings give."""
    gap_bins = max(1, round(settings.events.gap_minutes * 60e6 / BIN_US))
    return Rules(np.array(settings.detect.weights), settings.alarms_per_sensor_day, gap_bins)


def start_detection(
    run: RunContext, files: Sequence[DatedFile], keys: pa.Array, versions: pa.Array, fitted: Fitted,
    gathered: Gathered,
) -> Detection:  # fmt: skip
    """Load the detectors of the partitions and bring up their state; without any detectors nothing else is
    read. `gathered` are the window's readings.
    """
    loaded = load_detectors(run.store, run.workload, keys, versions)
    place = np.where(fitted.place >= 0, loaded.place, -1)
    first, end = (moment_us // BIN_US for moment_us in span_us(run))
    rules, row = rules_of(run.settings), np.full(len(keys), -1, np.int64)
    if not (place >= 0).any():
        empty, pack = empty_bins(0, first, end), join_detectors([])
        return Detection(None, (), pack, empty, _no_past(), row, rules, first, loaded.errors)
    inputs = inputs_of(run, files, first // HOUR_BINS, -(-end // HOUR_BINS))
    within = empty_bins(len(keys), first, end)
    fill_bins(within, gathered.time_us, gathered.value, gathered.counts)
    placed = place_blocks(inputs, keys, loaded, place, row)
    blocks = [one.block for one in placed]
    lost = bring_up(inputs, blocks) | read_lead(inputs, blocks, first)
    past, bins = _window_past(inputs, placed, within, may_keep=not gathered.lost)
    pack = join_detectors([one.block.pack.rows(one.rows) for one in placed])
    named = {key: number for number, key in enumerate(keys.to_pylist())} if lost else {}
    errors = {named[key]: error for key, error in lost.items() if key in named} | dict(loaded.errors)
    return Detection(inputs, placed, pack, bins, past, row, rules, first, errors)


def _window_past(
    inputs: Inputs, placed: Sequence[Placed], within: Bins, *, may_keep: bool
) -> tuple[Past, Bins]:
    """What came before the window, and its bins from the beginning of its first hour on, of the rows of all
    blocks; the state of the window's whole hours is kept on the way.
    """
    tops, seen, raws, parts = [], [], [], []
    for one in placed:
        block = one.block
        bins = _of_block(within, one)
        raw, top, count = score_window(inputs, block, bins)
        if may_keep:
            keep_window(block, bins, raw, bins.end // HOUR_BINS)
        block.forget(block.begin)
        tops.append(top[one.rows])
        seen.append(count[one.rows])
        raws.append(raw[:, one.rows])
        parts.append(bins.rows(one.rows))
    scores = _PastOfShard(inputs, placed)
    past = Past(np.concatenate(tops), np.concatenate(seen), np.concatenate(raws, axis=1), scores)
    return past, stack_bins(parts)


def _of_block(within: Bins, placed: Placed) -> Bins:
    """The bins of the sensors of a block from the beginning of the window's first hour to its end; in the
    window none of one that has no partition (-1) in the shard.
    """
    found, absent = within.rows(placed.partitions), placed.partitions < 0
    for array in (found.mean, found.low, found.high):
        array[absent] = np.nan
    found.count[absent] = 0
    return found if placed.block.lead is None else join_bins(placed.block.lead, found)


def _no_past() -> Past:
    detectors = len(DETECTORS)

    def nothing(rows: Int64s) -> PastScores:
        raise AssertionError(f"no sensors, but {len(rows)} rows of them")

    return Past(
        np.empty((0, detectors, TAIL)), np.empty((0, detectors)), np.empty((detectors, 0, 0)), nothing
    )
