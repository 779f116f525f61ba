"""Carrying state from window to window: what is not kept yet is computed from the readings, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from fleetscore.errors import FleetscoreError
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.catalog import digest_of_settings
from fleetscore.workloads.sensor_anomaly.detect.bins import HOUR_BINS, Bins
from fleetscore.workloads.sensor_anomaly.detect.blocks import Block, StaleStateError
from fleetscore.workloads.sensor_anomaly.detect.day_state import HOURS
from fleetscore.workloads.sensor_anomaly.detect.history import gather_bins, gather_span
from fleetscore.workloads.sensor_anomaly.detect.horizon import HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.detect.hour_keys import (
    CONTEXT_HOURS,
    DatedFile,
    HourKeys,
    make_hour_keys,
)
from fleetscore.workloads.sensor_anomaly.detect.past import PastScores
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

Found = TypeVar("Found")
HORIZON_HOURS = HORIZON_BINS // HOUR_BINS


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a run that have readings, with their times, and the keys of the hours up to the one that
    the window ends in.
    """

    run: RunContext
    files: Sequence[DatedFile]
    keys: HourKeys


def inputs_of(run: RunContext, files: Sequence[DatedFile], begin: int, end: int) -> Inputs:
    """The inputs of a window that begins in the hour `begin` and ends in the hour before `end`, or with it."""
    keys = make_hour_keys(files, digest_of_settings(run.settings), begin - HORIZON_HOURS, end)
    return Inputs(run, files, keys)


def bring_up(inputs: Inputs, blocks: Sequence[Block]) -> dict[str, FleetscoreError]:
    """Have the state of all blocks up to their window; gives the errors of partitions whose readings could
    not be read.
    """
    try:
        return _bring_up(inputs, blocks)
    except StaleStateError:
        for block in blocks:
            block.start_over()
        return _bring_up(inputs, blocks)


def _bring_up(inputs: Inputs, blocks: Sequence[Block]) -> dict[str, FleetscoreError]:
    for block in blocks:
        block.open()
    missing = [(block, hours) for block in blocks if (hours := block.missing())]
    if not missing:
        return {}
    errors: dict[str, FleetscoreError] = {}
    first = min(hours[0] for _, hours in missing) - CONTEXT_HOURS
    end = max(hours[-1] for _, hours in missing) + 1
    for day in range(first // HOURS, (end - 1) // HOURS + 1):
        begin, stop = max(first, day * HOURS), min(end, (day + 1) * HOURS)
        errors |= _read_hours(inputs, missing, begin, stop)
        for block, hours in missing:
            own = [hour for hour in hours if begin <= hour < stop]
            if own:
                block.rate(own)
            block.save(day)
            block.forget(day - 2)
    return errors


def read_lead(inputs: Inputs, blocks: Sequence[Block], window: int) -> dict[str, FleetscoreError]:
    """Have the bins of the hour in which the window begins, up to its first bin, number `window`; gives the
    errors as `bring_up`.

    They are of all sensors of a block, whether the window has readings of them or not: a window that ends the
    hour keeps all of it.
    """
    run, first = inputs.run, blocks[0].begin * HOUR_BINS
    if first == window:
        return {}
    names = pa.concat_arrays([block.names for block in blocks])
    bins, lost = gather_span(run.store, inputs.files, names, run.settings, first, window)
    place = 0
    for block in blocks:
        rows = np.arange(place, place + len(block.pack))
        block.lead = bins.rows(rows)
        block.lost |= {row - place for row in lost if place <= row < place + len(block.pack)}
        place += len(block.pack)
    return {names[row].as_py(): error for row, error in lost.items()}


def past_scores(inputs: Inputs, block: Block, rows: Int64s) -> PastScores:
    """What marks need of some sensors of a block."""
    return _again_where_stale(inputs, block, lambda: block.past(rows))


def score_window(inputs: Inputs, block: Block, bins: Bins) -> tuple[Floats, Floats, Floats]:
    """The raw scores (detectors, sensors, bins) of the window, whose bins are given, and what calibrates its
    first hour, as `Block.largest` gives it.
    """
    return _again_where_stale(inputs, block, lambda: (block.rate_now(bins), *block.largest()))


def _again_where_stale(inputs: Inputs, block: Block, find: Callable[[], Found]) -> Found:
    """What `find` gives, once more from the readings where a file was damaged or removed meanwhile."""
    try:
        return find()
    except StaleStateError:
        block.start_over()
        _bring_up(inputs, [block])
        return find()


def keep_window(block: Block, bins: Bins, raw: Floats, end: int) -> None:
    """Keep the state of the whole hours [begin, end) that end within the window, so that later windows need
    not read them.
    """
    if not block.owns or block.lost:
        return
    for hour in range(block.begin, end):
        if block.keys.of_bins(hour) and not block.knows(hour):
            block.put_bins([hour], bins)
            place = (hour - block.begin) * HOUR_BINS
            block.put_raw(hour, raw[..., place : place + HOUR_BINS])
    for day in range(block.begin // HOURS, (end - 1) // HOURS + 1):
        block.save(day)


def _read_hours(
    inputs: Inputs, missing: Sequence[tuple[Block, list[int]]], begin: int, stop: int
) -> dict[str, FleetscoreError]:
    """Read the hours of [begin, stop) that blocks with missing hours lack, of all of them at once."""
    lacking = [
        (block, hours)
        for block, wanted in missing
        if (hours := block.missing_bins(max(begin, wanted[0] - CONTEXT_HOURS), min(stop, wanted[-1] + 1)))
    ]
    if not lacking:
        return {}
    first, end = min(hours[0] for _, hours in lacking), max(hours[-1] for _, hours in lacking) + 1
    names = pa.concat_arrays([block.names for block, _ in lacking])
    run = inputs.run
    bins, lost = gather_bins(run.store, inputs.files, names, run.settings, first, end)
    place = 0
    for block, hours in lacking:
        rows = np.arange(place, place + len(block.pack))
        block.lost |= {row - place for row in lost if place <= row < place + len(block.pack)}
        block.put_bins(hours, bins.rows(rows))
        place += len(block.pack)
    return {names[row].as_py(): error for row, error in lost.items()}
