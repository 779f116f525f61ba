"""The sample estate: machines with five sensors each over three days, and what is wrong with some of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fleetscore.capabilities import SampleReport
from fleetscore.errors import InputError
from fleetscore.settings import workload_settings_path
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_key, window_at
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

TRUTH_PATH = "samples/sensor_anomaly/truth.parquet"
TRUTH = pa.schema(
    [("event", pa.int32()), ("kind", pa.string()), ("ts", pa.timestamp("us", tz="UTC")), ("device", pa.string()),
     ("sensor", pa.string()), ("value", pa.float64())]
)  # fmt: skip
"""One row per planted reading; the readings of one event share its number and kind."""

START = datetime(2026, 3, 2, tzinfo=UTC)
"""When the first reading is measured."""
HOURS = 72
"""How many hours there are readings of."""
_TEST_HOUR = 48  # the first hour to be scored: the third day
_PER_HOUR = 60
_SENSORS = ("current", "flow", "pressure", "temperature", "vibration")
_LEVELS = np.array([42.0, 118.0, 6.4, 71.0, 2.8])
_KINDS = {
    "spike": (1, 9.0),
    "shift": (25, 7.0),
    "drop": (12, -8.0),
    "faint": (10, 2.0),
}  # readings, deviations
_LATE_HOURS = range(54, 57)
BELATED_HOUR = _LATE_HOURS[-1] + 6
"""The hour in which the readings of one device's morning come."""
_LATE_DEVICE = 11
_DEAD_DEVICE = 4
_NEW_SENSOR = "humidity"


@dataclass(frozen=True)
class _Estate:
    """Values of all sensors, hour by hour: one row per minute, one column per sensor."""

    devices: int
    seed: int

    @cached_property
    def level(self) -> Any:
        rng = np.random.default_rng([self.seed, 0])
        return np.tile(_LEVELS, self.devices) * rng.uniform(0.8, 1.25, self.sensors)

    @cached_property
    def phase(self) -> Any:
        return np.random.default_rng([self.seed, 1]).uniform(0, 2 * np.pi, self.sensors)

    @property
    def sensors(self) -> int:
        return self.devices * len(_SENSORS)

    @property
    def deviation(self) -> Any:
        return self.level * 0.02

    def hour(self, number: int) -> Any:
        """A wave of one day, and noise around it."""
        minutes = np.arange(number * _PER_HOUR, (number + 1) * _PER_HOUR)[:, None]
        wave = np.sin(2 * np.pi * minutes / (24 * 60) + self.phase)
        noise = np.random.default_rng([self.seed, 2, number]).standard_normal((_PER_HOUR, self.sensors))
        return self.level + self.deviation * (1.5 * wave + np.clip(noise, -3.2, 3.2))


@dataclass(frozen=True)
class SampleReadings:
    """The readings of the sample estate hour by hour, and what is planted in them.

    200 devices at scale 1, a reading per minute and sensor; a given seed gives the same readings.
    """

    estate: _Estate
    truth: list[dict[str, Any]]

    @classmethod
    def of(cls, scale: float, seed: int) -> Self:
        """The readings of a scale and a seed."""
        estate = _Estate(max(16, round(200 * scale)), seed)
        return cls(estate, _plant(estate, max(8, round(60 * scale))))

    @cached_property
    def names(self) -> tuple[pa.Array, pa.Array]:
        """The names of the devices, and of the sensors that each has."""
        devices = pa.array([f"pump-{n:04d}" for n in range(1, self.estate.devices + 1)])
        return devices, pa.array(_SENSORS)

    def on_time(self, hour: int) -> pa.Table:
        """The hour's readings that come when they are measured; on the third day one sensor is dead and one
        is new.
        """
        if hour < _TEST_HOUR:
            return self._table(hour, np.ones(self.estate.sensors, bool))
        dead = np.arange(self.estate.sensors) == _DEAD_DEVICE * len(_SENSORS)
        there = ~dead & ~(self._late & (hour in _LATE_HOURS))
        return pa.concat_tables([self._table(hour, there), _new_sensor(self.estate, hour, self.names)])

    def belated(self) -> pa.Table:
        """The readings of one device's morning, newest hour first, which come in the hour BELATED_HOUR."""
        return pa.concat_tables([self._table(hour, self._late) for hour in reversed(_LATE_HOURS)])

    def truth_file(self) -> bytes:
        """TRUTH rows as a Parquet file."""
        return _parquet(_truth_table(self.truth, self.names), None)

    def report(self, rows: int, remarks: Sequence[str]) -> SampleReport:
        """What was written in `rows` rows; `remarks` say how."""
        first = window_at(START, Cadence.HOUR)
        return SampleReport(
            first.next(_TEST_HOUR),
            first.next(HOURS),
            self.estate.sensors + 1,
            rows,
            (*_remarks(self.truth), *remarks),
            _facts(first, self.truth),
        )

    @property
    def _late(self) -> Any:
        return np.arange(self.estate.sensors) // len(_SENSORS) == _LATE_DEVICE

    def _table(self, hour: int, there: Any) -> pa.Table:
        return _table(self.estate, hour, self.names, there, self.truth)


def cut_windows(report: SampleReport, length: Cadence, zone: str) -> SampleReport:
    """The report with its hours as windows of another length, whose ends they lie in where days begin
    elsewhere.
    """

    def cut(window: Window) -> Window:
        return window_at(window.start, length, zone)

    spans = {name: cut(parse_key(report.facts[name])).key for name in ("train_from", "train_to")}
    return replace(report, first=cut(report.first), stop=cut(report.stop), facts={**report.facts, **spans})


def check_plain_format(workload: str, form: str) -> None:
    """InputError where the workload's settings read all files in one format: samples are Parquet and CSV."""
    if not form:
        return
    cure = "Use `--as capture`" if form == "capture" else "Use another store"
    raise InputError(
        f"The settings of {workload} read every file as {form}; samples are Parquet and CSV, which would not be read.",
        fix=f"{cure}, or remove the line `format` from [data] in {workload_settings_path(workload)}.",
        field="workload",
    )


def write_samples(store: Store, folder: str, scale: float, seed: int) -> SampleReport:
    """Write readings into `folder`, and the truth; the third day is the one to score.

    200 devices at scale 1, a reading per minute and sensor.
    """
    readings = SampleReadings.of(scale, seed)
    rows = _write_days(store, folder, readings)
    rows += _write_hours(store, folder, readings)
    store.write(TRUTH_PATH, readings.truth_file())
    late = f"Three hours of pump-{_LATE_DEVICE + 1:04d} came late, in a CSV file of their own, newest first."
    return readings.report(rows, [late])


def _plant(estate: _Estate, events: int) -> list[dict[str, Any]]:
    """Which readings of the third day to alter; an event stays within one sensor, and no two events share
    one.
    """
    rng = np.random.default_rng([estate.seed, 3])
    free = [s for s in range(estate.sensors) if s // len(_SENSORS) not in (_DEAD_DEVICE, _LATE_DEVICE)]
    sensors = rng.choice(free, size=min(events, len(free)), replace=False)
    planted: list[dict[str, Any]] = []
    for event, sensor in enumerate(sensors.tolist()):
        kind = list(_KINDS)[event % len(_KINDS)]
        length, deviations = _KINDS[kind]
        first = int(rng.integers(_TEST_HOUR * _PER_HOUR, HOURS * _PER_HOUR - length))
        sign = 1.0 if kind != "spike" or rng.random() < 0.5 else -1.0
        for minute in range(first, first + length):
            hour, row = divmod(minute, _PER_HOUR)
            value = (
                estate.level[sensor]
                + sign * deviations * estate.deviation[sensor]
                + rng.normal(0, 0.2) * estate.deviation[sensor]
            )
            planted.append(
                {
                    "event": event,
                    "kind": kind,
                    "hour": hour,
                    "row": row,
                    "sensor": sensor,
                    "value": round(value, 2),
                }
            )
    return planted


def _write_days(store: Store, folder: str, readings: SampleReadings) -> int:
    """The first two days: a file a day, a row group an hour."""
    rows = 0
    for day in range(_TEST_HOUR // 24):
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, _schema(), compression="zstd") as writer:
            for hour in range(day * 24, day * 24 + 24):
                table = readings.on_time(hour)
                writer.write_table(table)
                rows += table.num_rows
        store.write(f"{folder}{START.day + day:02d}-march.parquet", sink.getvalue())
    return rows


def _write_hours(store: Store, folder: str, readings: SampleReadings) -> int:
    """The third day: a file an hour; one device's morning comes late, as CSV."""
    rows: int = 0
    for hour in range(_TEST_HOUR, HOURS):
        table = readings.on_time(hour)
        rows += table.num_rows
        store.write(f"{folder}hours/{_key(hour)}.parquet", _parquet(table, "zstd"))
    belated = readings.belated()
    sink = io.BytesIO()
    pa_csv.write_csv(belated, sink)
    store.write(f"{folder}late/{_key(BELATED_HOUR)}.csv", sink.getvalue())
    rows += belated.num_rows
    return rows


def _table(estate: _Estate, hour: int, names: Any, there: Any, truth: list[dict[str, Any]]) -> pa.Table:
    values = estate.hour(hour)
    for reading in truth:
        if reading["hour"] == hour:
            values[reading["row"], reading["sensor"]] = reading["value"]
    sensors = np.flatnonzero(there)
    code = np.tile(sensors, _PER_HOUR).astype(np.int32)
    columns = [
        pa.array(np.repeat(_minutes_us(hour), len(sensors))).view(pa.timestamp("us", tz="UTC")),
        pa.DictionaryArray.from_arrays(code // len(_SENSORS), names[0]).cast(pa.string()),
        pa.DictionaryArray.from_arrays(code % len(_SENSORS), names[1]).cast(pa.string()),
        pa.array(np.round(values[:, sensors].ravel(), 2)),
    ]
    return pa.table(columns, schema=_schema())


def _new_sensor(estate: _Estate, hour: int, names: Any) -> pa.Table:
    rng = np.random.default_rng([estate.seed, 4, hour])
    columns = [
        pa.array(_minutes_us(hour)).view(pa.timestamp("us", tz="UTC")),
        pa.repeat(names[0][0], _PER_HOUR),
        pa.repeat(pa.scalar(_NEW_SENSOR), _PER_HOUR),
        pa.array(np.round(rng.normal(48, 1, _PER_HOUR), 2)),
    ]
    return pa.table(columns, schema=_schema())


def _truth_table(truth: list[dict[str, Any]], names: Any) -> pa.Table:
    devices, sensors = names
    return pa.Table.from_pylist(
        [
            {
                "event": r["event"],
                "kind": r["kind"],
                "ts": int(_minutes_us(r["hour"])[r["row"]]),
                "device": devices[r["sensor"] // len(_SENSORS)].as_py(),
                "sensor": sensors[r["sensor"] % len(_SENSORS)].as_py(),
                "value": r["value"],
            }
            for r in truth
        ],
        TRUTH,
    )


def _remarks(truth: list[dict[str, Any]]) -> tuple[str, ...]:
    events = len({r["event"] for r in truth})
    dead = f"pump-{_DEAD_DEVICE + 1:04d}/{_SENSORS[0]}"
    return (
        f"{events} anomalies are planted on the third day ({', '.join(_KINDS)}); the faint ones hide among ordinary values.",
        f"{dead} is dead on the third day: late in every window.",
        f"pump-0001/{_NEW_SENSOR} is new on the third day and has no model: skipped.",
    )


def _facts(first: Window, truth: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "train_from": first.key,
        "train_to": first.next(_TEST_HOUR).key,
        "planted_events": len({r["event"] for r in truth}),
        "planted_readings": len(truth),
    }


def _schema() -> pa.Schema:
    return pa.schema(
        [
            ("ts", pa.timestamp("us", tz="UTC")),
            ("device", pa.string()),
            ("sensor", pa.string()),
            ("value", pa.float64()),
        ]
    )


def _parquet(table: pa.Table, compression: str | None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression or "none")
    return sink.getvalue()


def _minutes_us(hour: int) -> Any:
    return int(START.timestamp()) * 1_000_000 + hour * HOUR_US + np.arange(_PER_HOUR) * (HOUR_US // _PER_HOUR)


def _key(hour: int) -> str:
    return window_at(START, Cadence.HOUR).next(hour).key
