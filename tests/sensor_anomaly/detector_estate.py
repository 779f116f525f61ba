"""Readings of one device over seventeen days, models trained on the first three, and the rows of a window."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_window
from fleetscore.workload import RunContext, Shard
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

STEP_S = 600
DAYS = 17
FIRST = parse_window("2026-03-01T00", Cadence.HOUR)
TRAINED_UNTIL = FIRST.next(3 * 24)
SPIKE = FIRST.next(16 * 24 + 5)


def pump_readings(sensor: str, seconds: np.ndarray, values: np.ndarray) -> pa.Table:
    """The table of a sensor's readings, so many seconds after FIRST, as input files have them."""
    times = pa.array(int(FIRST.start.timestamp() * 1e6) + seconds * 1_000_000).view(
        pa.timestamp("us", tz="UTC")
    )
    names = [pa.array([text] * len(seconds), pa.string()) for text in ("pump", sensor)]
    return pa.table([times, *names, values], names=["ts", "device", "sensor", "value"])


def readings(seed: int, step_s: int = STEP_S, days: int = DAYS) -> np.ndarray:
    """A daily wave with noise."""
    count = days * 86400 // step_s
    hours = np.arange(count) * step_s / 3600
    return 50 + 5 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(seed).normal(0, 1, count)


def put(
    store: Store, name: str, sensors: dict[str, np.ndarray], step_s: int = STEP_S, since: Window = FIRST
) -> None:
    """Write the readings of one device's sensors from FIRST on, those before `since` left out, a file a day."""
    start_us = int(FIRST.start.timestamp()) * 1_000_000
    for day in range(DAYS):
        parts = []
        for sensor, values in sensors.items():
            times = start_us + np.arange(len(values)) * step_s * 1_000_000
            first = start_us + day * 86_400_000_000
            own = (times >= max(first, int(since.start.timestamp()) * 1_000_000)) & (
                times < first + 86_400_000_000
            )
            parts.append(
                pa.table(
                    {
                        "ts": pa.array(times[own]).view(pa.timestamp("us", tz="UTC")),
                        "device": ["pump"] * int(own.sum()),
                        "sensor": [sensor] * int(own.sum()),
                        "value": values[own],
                    }
                )
            )
        table = pa.concat_tables(parts)
        if table.num_rows:
            with store.sink(f"data/sensor_anomaly/{name}-{day:02d}.parquet") as file:
                pq.write_table(table, file)


def train(store: Store, kind: SensorAnomaly, end: Window = TRAINED_UNTIL, first: Window = FIRST) -> str:
    """Train all sensors from `first` to `end`, pin the set, and give its version."""
    run = RunContext(store, kind, first, purpose="train", end=end)
    found = kind.discover_training(run)
    trained = kind.train(replace(run, inputs=found.inputs), Shard(0, found.expected))
    draft = kind.assemble(run, [trained.files])
    version = write_model_set(store, kind.name, draft.files, draft.card).version
    pin_version(store, kind.name, version)
    return version


def score(store: Store, kind: SensorAnomaly, window: Window, keys: Sequence[str] = ()) -> pa.Table:
    """The window's rows, or those of some partitions; names as plain text, so that equal rows are equal tables."""
    run = RunContext(store, kind, window, read_pins(store, kind.name))
    found = kind.discover(run)
    shard = Shard(0, found.expected.filter(pc.equal(found.expected["outcome"], "")))
    pieces = list(kind.score(replace(run, inputs=found.inputs), shard.restricted(keys) if keys else shard))
    rows = pa.concat_tables([piece.results for piece in pieces])
    texts = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in rows.schema]
    return rows.cast(pa.schema(list(zip(rows.column_names, texts, strict=True)))).combine_chunks()
