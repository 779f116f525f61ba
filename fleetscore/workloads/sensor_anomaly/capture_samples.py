"""The sample estate as Event Hubs Capture writes it: Avro files of events, as they came, by partition and
time of the capture.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import fastavro
import msgspec
import pyarrow as pa

from fleetscore.capabilities import SampleReport
from fleetscore.errors import InputError
from fleetscore.settings import workload_settings_path
from fleetscore.sources.settings import DataSettings, read_data_settings
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.samples import (
    BELATED_HOUR,
    HOURS,
    START,
    TRUTH_PATH,
    SampleReadings,
)
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

STREAM = "data/sensor_anomaly/capture/samples-ns/readings"
"""The folder of the samples' hub; below it Capture's own order: partition, then the time of the capture."""

LATE_S = 28_800
"""How long after a window's end its events are looked for; the belated come within eight hours."""

SETTINGS_LINES = f"""[data]
path = "{STREAM}/*/{{window:%Y/%m/%d/%H}}/**/*.avro"
format = "capture"
late_s = {LATE_S}
"""

SCHEMA: Mapping[str, Any] = {
    "type": "record",
    "name": "EventData",
    "namespace": "Microsoft.ServiceBus.Messaging",
    "fields": [
        {"name": "SequenceNumber", "type": "long"},
        {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {
            "name": "SystemProperties",
            "type": {"type": "map", "values": ["long", "double", "string", "bytes"]},
        },
        {
            "name": "Properties",
            "type": {"type": "map", "values": ["long", "double", "string", "bytes", "null"]},
        },
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}
"""The schema of the files that Capture writes."""

_PARTITIONS = 4
_INTERVAL_US = 900_000_000  # of Capture: the longest there is
_DELAY_US = 75_000_000  # from reading to hub: an hour's last readings are captured in the next hour
_BELATED_STEP_US = 1_000_000  # a device that was cut off sends what it kept, an event a second
# the file of partition 0, two hours into the third day, that begins with events of the file before
_REDELIVERED = 200
_REDELIVERED_EVENTS = 10


@dataclass(frozen=True, slots=True)
class _Event:
    enqueued_us: int
    device: str
    body: bytes


@dataclass(slots=True)
class _Stream:
    """One partition of the hub: its events that are not captured yet, and what its last file held."""

    partition: int
    waiting: list[_Event] = field(default_factory=list)
    last: list[dict[str, Any]] = field(default_factory=list)
    captured: int = 0

    def capture(self, until_us: int) -> list[dict[str, Any]]:
        """The records of the events that were enqueued before then, in their order."""
        self.waiting.sort(key=lambda event: event.enqueued_us)
        count = sum(event.enqueued_us < until_us for event in self.waiting)
        records = [_record(self.captured + n, event) for n, event in enumerate(self.waiting[:count])]
        self.waiting, self.captured = self.waiting[count:], self.captured + count
        return records


def check_capture_settings(store: Store, workload: str, data: DataSettings) -> bool:
    """Whether the workload's settings lack the lines that read captured samples, and may be written.

    InputError where there are settings that read something else: they are the user's.
    """
    path = workload_settings_path(workload)
    if data == read_data_settings(tomllib.loads(SETTINGS_LINES)["data"], "the samples"):
        return False
    if store.stat(path) is None:
        return True
    raise InputError(
        f"{path} is there and does not read the captured samples; nothing was written.",
        fix=f"Use another store, or put these lines there first:\n{SETTINGS_LINES}",
        field="as",
    )


def write_capture_samples(
    store: Store, workload: str, data: DataSettings, scale: float, seed: int
) -> SampleReport:
    """Write the sample readings as captured events below STREAM, the settings that read them, and the truth.

    The readings are those of `write_samples`. InputError where there are other settings already.
    """
    lacks_settings = check_capture_settings(store, workload, data)
    readings = SampleReadings.of(scale, seed)
    streams = [_Stream(number) for number in range(_PARTITIONS)]
    rows, files = 0, 0
    for hour in range(HOURS + 1):  # the last hour's readings are captured after it
        rows += _send(streams, readings, hour) if hour < HOURS else 0
        files += _capture_hour(store, streams, hour, seed)
    store.write(TRUTH_PATH, readings.truth_file())
    if lacks_settings:
        store.write(workload_settings_path(workload), SETTINGS_LINES.encode())
    return readings.report(rows, _remarks(files, workload))


def _remarks(files: int, workload: str) -> tuple[str, ...]:
    return (
        f"{files:,} files of Capture lie below {STREAM}/; settings/{workload}.toml reads them.",
        f"Three hours of one pump were sent in the hour {BELATED_HOUR % 24} of the third day, newest first; "
        "every hour's last readings are captured in the next.",
        f"One file repeats {_REDELIVERED_EVENTS} events of the file before, and the last file of each "
        "partition is empty.",
    )


def _send(streams: list[_Stream], readings: SampleReadings, hour: int) -> int:
    """Give the hour's events to the partitions of their devices; how many readings they hold."""
    table = readings.on_time(hour)
    sent = [_Event(at_us + _DELAY_US, device, body) for at_us, device, body in _messages(table)]
    rows: int = table.num_rows
    if hour == BELATED_HOUR:
        late = readings.belated()
        rows += late.num_rows
        came_us = _hour_us(hour)
        sent += [
            _Event(came_us + n * _BELATED_STEP_US, device, body)
            for n, (_, device, body) in enumerate(_messages(late))
        ]
    for event in sent:
        streams[int(event.device.rpartition("-")[2]) % _PARTITIONS].waiting.append(event)
    return rows


def _messages(table: pa.Table) -> Iterator[tuple[int, str, bytes]]:
    """What devices send, all readings of a moment in one array: moment in microseconds, device, body."""
    messages: dict[tuple[int, str], list[dict[str, Any]]] = {}
    columns = (table["ts"].cast(pa.int64()), table["device"], table["sensor"], table["value"])
    for at_us, device, sensor, value in zip(*(column.to_pylist() for column in columns), strict=True):
        reading = {"ts": _iso(at_us), "device": device, "sensor": sensor, "value": value}
        messages.setdefault((at_us, device), []).append(reading)
    for (at_us, device), message in messages.items():
        yield at_us, device, msgspec.json.encode(message)


def _capture_hour(store: Store, streams: Iterable[_Stream], hour: int, seed: int) -> int:
    """Write the files whose capture begins in the hour; how many."""
    files = 0
    for begin_us in range(_hour_us(hour), _hour_us(hour + 1), _INTERVAL_US):
        number = (begin_us - _hour_us(0)) // _INTERVAL_US
        if number > HOURS * HOUR_US // _INTERVAL_US + 1:
            break  # one file with the last readings, one without any
        for stream in streams:
            own = stream.capture(begin_us + _INTERVAL_US)
            repeated = stream.last[-_REDELIVERED_EVENTS:]
            again = repeated if (stream.partition, number) == (0, _REDELIVERED) else []
            path = f"{STREAM}/{stream.partition}/{_moment(begin_us):%Y/%m/%d/%H/%M/%S}.avro"
            store.write(path, _avro([*again, *own], f"{seed}/{path}"))
            stream.last = own
            files += 1
    return files


def _record(sequence: int, event: _Event) -> dict[str, Any]:
    return {
        "SequenceNumber": sequence,
        "Offset": str(sequence * 512),
        "EnqueuedTimeUtc": _us_text(_moment(event.enqueued_us)),
        "SystemProperties": {"x-opt-partition-key": event.device},
        "Properties": {},
        "Body": event.body,
    }


def _avro(records: list[dict[str, Any]], name: str) -> bytes:
    """The file; its sync marker follows from its name, so that a seed gives the same bytes and no two files
    are alike.
    """
    sink = io.BytesIO()
    marker = hashlib.blake2b(name.encode(), digest_size=16).digest()
    fastavro.writer(sink, fastavro.parse_schema(dict(SCHEMA)), records, codec="null", sync_marker=marker)
    return sink.getvalue()


def _us_text(moment: datetime) -> str:
    """The text of EnqueuedTimeUtc.

    >>> _us_text(datetime(2026, 3, 2, 0, 1, 15))
    '3/2/2026 12:01:15 AM'
    """
    clock = f"{moment.hour % 12 or 12}:{moment:%M:%S} {'AM' if moment.hour < 12 else 'PM'}"
    return f"{moment.month}/{moment.day}/{moment.year} {clock}"


def _iso(at_us: int) -> str:
    return f"{_moment(at_us):%Y-%m-%dT%H:%M:%SZ}"


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC)


def _hour_us(hour: int) -> int:
    return int(START.timestamp()) * 1_000_000 + hour * HOUR_US
