"""Scoring a shard: gather its readings, decide all of them at once, and hand them over in pieces with one
outcome per partition.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.partition_keys import split_key
from fleetscore.records import Outcome
from fleetscore.workload import RunContext, Scored, Shard
from fleetscore.workloads.sensor_anomaly.catalog import date_files
from fleetscore.workloads.sensor_anomaly.decision import anomalies, blocks, decide
from fleetscore.workloads.sensor_anomaly.detect.assessing import Assessed
from fleetscore.workloads.sensor_anomaly.detect.detection import Detection, start_detection
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS
from fleetscore.workloads.sensor_anomaly.discovery import span_us
from fleetscore.workloads.sensor_anomaly.fitted import Fitted, load_models
from fleetscore.workloads.sensor_anomaly.gathering import Gathered, gather_readings
from fleetscore.workloads.sensor_anomaly.overlap import overlapped
from fleetscore.workloads.sensor_anomaly.results import RESULTS
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

_OF_DETECTORS = RESULTS.names[RESULTS.names.index("severity") :]
_PIECE_ROWS = 1 << 18
_THREADS = 2  # pieces made at once, while an earlier one is written


def score_shard(run: RunContext, shard: Shard) -> Iterator[Scored]:
    """The shard's results in pieces of some 250,000 readings; every partition is settled once, whatever is
    wrong with others.
    """
    started = time.perf_counter()
    keys, versions = _column(shard, "partition"), _column(shard, "model")
    fitted = load_models(run.store, run.workload, keys, versions)
    files, span = date_files(run.store, run.inputs, run.settings), span_us(run)
    inputs = [file for file, (first_us, last_us) in files if first_us < span[1] and last_us >= span[0]]
    gathered = gather_readings(run.store, inputs, keys, run.settings, *span)
    detection = start_detection(run, files, keys, versions, fitted, gathered)
    verdicts = _Verdicts(shard, run.settings, fitted, gathered, detection)
    ready_s = (time.perf_counter() - started) / max(len(keys), 1)
    score = partial(_score_piece, gathered, fitted, detection, verdicts, _Names(keys, versions), ready_s)
    return overlapped((partial(score, group) for group in _groups(gathered)), _THREADS)


class _Verdicts:
    """What becomes of each partition of the shard, and why."""

    def __init__(
        self, shard: Shard, settings: SensorSettings, fitted: Fitted, gathered: Gathered, detection: Detection
    ) -> None:
        self.keys = _column(shard, "partition")
        self._versions = _column(shard, "model")
        self._gathered = gathered
        count = len(self.keys)
        self._outcome = np.full(count, str(Outcome.SCORED), object)
        self._cause = np.full(count, "", object)
        self._detail = np.full(count, "", object)
        self._causes: list[list[str]] = [[] for _ in range(count)]
        for row in np.flatnonzero(gathered.counts == 0).tolist():
            self._settle(row, Outcome.LATE, "no_readings", "Its readings are no longer there.")
        self._judge_faults(settings)
        self._remark_degenerate(fitted)
        for row, error in {**detection.errors, **gathered.lost, **fitted.errors}.items():
            self._settle(row, Outcome.FAILED, error.code, str(error))
        self.scorable = self._outcome == str(Outcome.SCORED)

    def piece(self, first: int, last: int, results: pa.Table, sketches: pa.Table, seconds: float) -> Scored:
        """What becomes of the partitions [first, last), with the results of those that are scored."""
        part = slice(first, last)
        return Scored.of(
            self.keys[part], results, outcome=self._outcome[part], cause=self._cause[part],
            detail=self._detail[part], input_rows=self._gathered.input_rows[part],
            rows=np.where(self.scorable, self._gathered.counts, 0)[part], model=self._versions[part],
            seconds=seconds, sketches=sketches, causes=self._causes[part],
        )  # fmt: skip

    def _judge_faults(self, settings: SensorSettings) -> None:
        for row, faults in self._gathered.faults.items():
            found = int(self._gathered.input_rows[row])
            share = faults.rejected / found
            causes = [c for c in faults.counts if c != "duplicate_reading"] or ["duplicate_reading"]
            cause = max(causes, key=lambda c: (faults.counts[c], c))
            self._causes[row] = sorted(
                faults.counts, key=lambda c: (c == cause, faults.counts[c], c), reverse=True
            )
            detail = f"Of {found} readings: {faults.sentence()}."
            if self._gathered.counts[row] == 0:
                self._settle(row, Outcome.FAILED, cause, detail)
            elif share > settings.reject_limit:
                limit = f"{100 * settings.reject_limit:g} %"
                self._settle(
                    row,
                    Outcome.QUARANTINED,
                    cause,
                    f"{detail} More than {limit} are rejected (reject_limit).",
                )
            else:
                self._settle(row, Outcome.SCORED, cause, detail)

    def _remark_degenerate(self, fitted: Fitted) -> None:
        if not len(fitted.pack):
            return
        there = np.flatnonzero(fitted.place >= 0)
        for row in there[fitted.pack.degenerate[fitted.place[there]]].tolist():
            if self._outcome[row] == str(Outcome.SCORED):
                said = (
                    f"{self._detail[row]} Its model calls every reading an anomaly; train it again.".strip()
                )
                self._settle(row, Outcome.SCORED, self._cause[row] or "degenerate_model", said)
                self._causes[row] = list(dict.fromkeys([*self._causes[row], "degenerate_model"]))

    def _settle(self, row: int, outcome: Outcome, cause: str, detail: str) -> None:
        """Make `cause` the first of the partition's causes."""
        self._outcome[row], self._cause[row], self._detail[row] = str(outcome), cause, detail
        self._causes[row] = list(dict.fromkeys([cause, *self._causes[row]]))


class _Names:
    """Device, sensor and model version of each partition as dictionary arrays that repeat with its
    readings.
    """

    def __init__(self, keys: pa.Array, versions: pa.Array) -> None:
        fields = [split_key(key) for key in keys.to_pylist()]
        columns = (
            pa.array([f[0] for f in fields], pa.string()),
            pa.array([f[-1] for f in fields], pa.string()),
            versions,
        )
        self._encoded = [column.dictionary_encode() for column in columns]

    def repeated(self, partitions: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> list[pa.Array]:
        """The three columns for `counts[i]` rows of each of the partitions."""
        return [
            pa.DictionaryArray.from_arrays(
                np.repeat(column.indices.to_numpy()[partitions], counts), column.dictionary
            )
            for column in self._encoded
        ]


def _groups(gathered: Gathered) -> list[tuple[int, int]]:
    """Runs [first, last) of partitions with about _PIECE_ROWS readings each."""
    ends = np.cumsum(gathered.counts)
    groups = []
    first = 0
    while first < len(ends):
        start = int(ends[first] - gathered.counts[first])
        last = max(int(np.searchsorted(ends, start + _PIECE_ROWS, side="right")), first + 1)
        groups.append((first, last))
        first = last
    return groups


def _score_piece(
    gathered: Gathered,
    fitted: Fitted,
    detection: Detection,
    verdicts: _Verdicts,
    names: _Names,
    ready_s: float,
    group: tuple[int, int],
) -> Scored:
    """The results, outcomes and sketches of the partitions [first, last) of a group."""
    started = time.perf_counter()
    first, last = group
    partitions = np.flatnonzero(verdicts.scorable[first:last]) + first
    counts = gathered.counts[partitions]
    rows = _rows(gathered, verdicts.scorable, first, last)
    value = gathered.value[rows]
    score = decide(fitted.pack, fitted.place[partitions], counts, value)
    if detection.judges(partitions):
        assessed = detection.assess(partitions, gathered.time_us[rows], value, score, counts)
        flags = np.where(np.isnan(assessed.severity), anomalies(score), assessed.marked)
        told = _told(assessed)
    else:
        flags = anomalies(score)
        told = [pa.nulls(len(value), RESULTS.field(name).type) for name in _OF_DETECTORS]
    times = pa.array(gathered.time_us[rows]).view(RESULTS.field("ts").type)
    device, sensor, model = names.repeated(partitions, counts)
    columns = [
        times,
        device,
        sensor,
        pa.array(value),
        pa.array(score),
        pa.array(flags),
        model,
        *told,
    ]
    sketches = _sketch(gathered, verdicts, partitions, counts, value, score, flags)
    seconds = ready_s + (time.perf_counter() - started) / (last - first)
    return verdicts.piece(first, last, pa.table(columns, schema=RESULTS), sketches, seconds)


def _told(assessed: Assessed) -> list[pa.Array]:
    """The columns of the results that the detectors fill; null where they say nothing."""
    unmarked = assessed.event_us < 0
    kind = RESULTS.field("event_start").type
    return [
        pa.array(assessed.severity, from_pandas=True),
        pa.array(assessed.expected_low, from_pandas=True),
        pa.array(assessed.expected_high, from_pandas=True),
        pa.array(assessed.event_us, mask=unmarked).view(kind),
        pa.array(assessed.event_readings, mask=unmarked),
        pa.array(assessed.event_severity, mask=unmarked),
        pa.DictionaryArray.from_arrays(
            pa.array(assessed.detector.astype(np.int32), mask=unmarked), pa.array(DETECTORS)
        ),
    ]


def _rows(gathered: Gathered, scorable: npt.NDArray[np.bool_], first: int, last: int) -> Any:
    """Where the readings of the scorable partitions in [first, last) stand: a slice, or a mask within it as
    places.
    """
    stop = int(gathered.counts[:last].sum())
    start = stop - int(gathered.counts[first:last].sum())
    if scorable[first:last].all():
        return slice(start, stop)
    return start + np.flatnonzero(np.repeat(scorable[first:last], gathered.counts[first:last]))


def _sketch(
    gathered: Gathered, verdicts: _Verdicts, partitions: Any, counts: Any, value: Any, score: Any, flags: Any
) -> pa.Table:
    """Per scored partition: readings, mean and deviation of the values, mean score, shares of anomalies and
    of rejected readings.
    """
    n = counts.astype(np.float64)
    mean, variance, score_mean, share = np.empty((4, len(counts)))
    for first, last, rows in blocks(counts):  # a scorable partition has readings, so no sum is over nothing
        part, own = slice(first, last), counts[first:last]
        starts = np.cumsum(own) - own
        mean[part] = np.add.reduceat(value[rows], starts) / own
        spread = value[rows] - np.repeat(mean[part], own)
        spread *= spread
        variance[part] = np.add.reduceat(spread, starts) / own
        score_mean[part] = np.add.reduceat(score[rows], starts) / own
        share[part] = np.add.reduceat(flags[rows], starts, dtype=np.int64) / own
    columns = {
        "n": n,
        "mean": mean,
        "std": np.sqrt(variance),
        "score_mean": score_mean,
        "anomaly_share": share,
        "rejected_share": 1.0 - gathered.usable_rows[partitions] / gathered.input_rows[partitions],
    }
    keys = verdicts.keys.take(pa.array(partitions))
    return pa.table({"partition": keys, **{name: pa.array(column) for name, column in columns.items()}})


def _column(shard: Shard, name: str) -> pa.Array:
    column = shard.partitions[name]
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
