"""Gathering: all usable readings of some partitions in a span of time, from whatever files hold them, and what was wrong with the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.stores.base import Store
from fleetscore.workloads.base import InputFile
from fleetscore.workloads.sensor_anomaly.catalog import CatalogFile, catalog_file, read_pieces, row_word
from fleetscore.workloads.sensor_anomaly.readings import Codes, Floats, Int64s, Readings, partition_keys
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


@dataclass(slots=True)
class Faults:
    """What was wrong with the readings of one partition: how many per cause, and the first of each in words."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, cause: str, count: int, example: str) -> None:
        """Count more of a cause."""
        self.counts[cause] = self.counts.get(cause, 0) + count
        self.examples.setdefault(cause, example)

    @property
    def rejected(self) -> int:
        """Readings that are not scored because they hold no usable number; duplicates are not among them."""
        return sum(count for cause, count in self.counts.items() if cause != "duplicate_reading")

    def sentence(self) -> str:
        """All causes in one line."""
        parts = (f"{n} {cause} (first: {self.examples[cause]})" for cause, n in sorted(self.counts.items()))
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Readings of partitions by code, sorted by partition, then time; of equal (time, partition) the first in file and row order.

    `time_us` and `value` are in the order they were read; `order` sorts them and leaves out the duplicates; `counts` says how many of
    it belong to each partition. `input_rows` counts all readings found, `faults` those that are not in `order`. `lost` names the
    partitions of which some input could not be read, with the error.
    """

    time_us: Int64s
    value: Floats
    order: npt.NDArray[np.int64]
    counts: Int64s
    input_rows: Int64s
    faults: dict[int, Faults]
    lost: dict[int, InputError]


def gather_readings(
    store: Store,
    inputs: Sequence[InputFile],
    keys: pa.Array,
    settings: SensorSettings,
    first_us: int,
    stop_us: int,
) -> Gathered:
    """The readings of the partitions `keys` with first_us <= time < stop_us."""
    times: list[Int64s] = []
    codes: list[Codes] = []
    values: list[Floats] = []
    faults: dict[int, Faults] = {}
    lost: dict[int, InputError] = {}
    input_rows = np.zeros(len(keys), np.int64)
    for file in inputs:
        entry = catalog_file(store, file, settings)
        try:
            _check_unchanged(store, file)
            for part in _mine(store, entry, keys, first_us, stop_us, faults, input_rows):
                times.append(part[0])
                codes.append(part[1])
                values.append(part[2])
        except (InputError, MissingBlobError) as error:
            lost.update(_losers(entry, keys, first_us, stop_us, error))
    time_us: Int64s = _joined(times, np.int64)
    code: Codes = _joined(codes, np.int32)
    value: Floats = _joined(values, np.float64)
    order, counts = _sort(time_us, code, value, len(keys), faults)
    return Gathered(time_us, value, order, counts, input_rows, faults, lost)


def _mine(
    store: Store,
    entry: CatalogFile,
    keys: pa.Array,
    first_us: int,
    stop_us: int,
    faults: dict[int, Faults],
    input_rows: Int64s,
) -> Iterator[tuple[Int64s, Codes, Floats]]:
    for readings in read_pieces(store, entry, first_us, stop_us):
        code = _own_codes(readings, keys)
        inside = _inside(readings, code, first_us, stop_us)
        time_us, value = readings.time_us, readings.value
        if inside is not None:
            time_us, code, value = time_us[inside], code[inside], value[inside]
        input_rows += np.bincount(code, minlength=len(keys))
        usable = np.isfinite(value)
        if not usable.all():
            _note_unusable(entry, readings, inside, code, value, usable, faults)
            time_us, code, value = time_us[usable], code[usable], value[usable]
        yield time_us, code, value


def _own_codes(readings: Readings, keys: pa.Array) -> Codes:
    """Each reading's index into `keys`, -1 for other partitions'."""
    own = pc.index_in(partition_keys(readings.sensors), keys).fill_null(-1).to_numpy()
    if len(own) == len(keys) and np.array_equal(own, np.arange(len(own))):
        return readings.sensor
    codes: Codes = own.astype(np.int32, copy=False)[readings.sensor]
    return codes


def _inside(readings: Readings, code: Codes, first_us: int, stop_us: int) -> npt.NDArray[np.int64] | None:
    """The rows of these partitions and this span; None when that is all of them."""
    times = readings.time_us
    kept = code >= 0
    if len(times) and (times.min() < first_us or times.max() >= stop_us):
        kept &= (times >= first_us) & (times < stop_us)
    return None if kept.all() else np.flatnonzero(kept)


def _note_unusable(
    entry: CatalogFile,
    readings: Readings,
    inside: npt.NDArray[np.int64] | None,
    code: Codes,
    value: Floats,
    usable: npt.NDArray[np.bool_],
    faults: dict[int, Faults],
) -> None:
    bad = np.flatnonzero(~usable)
    rows = np.asarray(readings.row)[bad if inside is None else inside[bad]]
    texts = np.array([int(row) in readings.texts for row in rows.tolist()])
    unreadable = texts & np.array([_is_word(readings.texts.get(int(row), "")) for row in rows.tolist()])
    for cause, chosen in (("bad_number", unreadable), ("not_finite", ~unreadable)):
        partitions, first, counts = np.unique(code[bad[chosen]], return_index=True, return_counts=True)
        for partition, index, count in zip(partitions.tolist(), first.tolist(), counts.tolist(), strict=True):
            row = int(rows[chosen][index])
            shown = readings.texts.get(row, repr(float(value[bad[chosen][index]])))
            place = f"{entry.input.path} {row_word(entry.entry.kind)} {row}: {shown!r}"
            faults.setdefault(partition, Faults()).add(cause, count, place)


def _is_word(text: str) -> bool:
    """Whether a text is neither a number nor one of the usual ways to write that there is none."""
    return text.strip().lower().lstrip("+-") not in (
        "",
        "nan",
        "null",
        "na",
        "n/a",
        "none",
        "inf",
        "infinity",
    )


def _sort(
    time_us: Int64s, code: Codes, value: Floats, partitions: int, faults: dict[int, Faults]
) -> tuple[npt.NDArray[np.int64], Int64s]:
    order = order_by_code(code, partitions)
    counts = np.bincount(code, minlength=partitions)
    gaps = _gaps(time_us, order, counts)
    if (gaps < 0).any():
        by_time = np.argsort(time_us, kind="stable")
        order = by_time[order_by_code(code[by_time], partitions)]
        gaps = _gaps(time_us, order, counts)
    again = np.flatnonzero(gaps == 0) + 1
    if not len(again):
        return order, counts
    _note_duplicates(time_us, code, value, order, again, faults)
    keep = np.ones(len(order), bool)
    keep[again] = False
    return order[keep], counts - np.bincount(code[order[again]], minlength=partitions)


def order_by_code(code: Codes, partitions: int) -> npt.NDArray[np.int64]:
    """The stable order that sorts by code; numpy sorts 16-bit integers by radix, so wider codes take two such passes."""
    if partitions <= 1 << 16:
        return np.argsort(code.astype(np.uint16), kind="stable")
    low = np.argsort((code & 0xFFFF).astype(np.uint16), kind="stable")
    return low[order_by_code((code >> 16)[low], partitions >> 16)]


def _gaps(time_us: Int64s, order: npt.NDArray[np.int64], counts: Int64s) -> Int64s:
    """Time from each reading to the next of the same partition; 1 between partitions."""
    gaps = np.diff(time_us[order])
    ends = np.cumsum(counts) - 1
    gaps[ends[(ends >= 0) & (ends < len(gaps))]] = 1
    return gaps


def _note_duplicates(
    time_us: Int64s,
    code: Codes,
    value: Floats,
    order: npt.NDArray[np.int64],
    again: Int64s,
    faults: dict[int, Faults],
) -> None:
    """`again` are places in `order` of readings whose (partition, time) was there before."""
    partitions, first, counts = np.unique(code[order[again]], return_index=True, return_counts=True)
    for partition, index, count in zip(partitions.tolist(), first.tolist(), counts.tolist(), strict=True):
        here = order[again[index]]
        before = order[again[index] - 1]
        moment = np.datetime64(int(time_us[here]), "us")
        example = f"{moment}Z, {value[before]!r} kept, {value[here]!r} dropped".replace("np.float64", "")
        faults.setdefault(partition, Faults()).add("duplicate_reading", count, example)


def _check_unchanged(store: Store, file: InputFile) -> None:
    entry = store.stat(file.path)
    if entry is None or entry.etag != file.etag:
        raise InputError(
            f"{file.path} was {'changed' if entry else 'deleted'} after the run was planned.",
            fix="Retry the failed partitions of the window.",
            code="input_changed",
        )


def _losers(
    entry: CatalogFile, keys: pa.Array, first_us: int, stop_us: int, error: Exception
) -> dict[int, InputError]:
    """The partitions with readings of the span in a file that cannot be read."""
    from fleetscore.workloads.sensor_anomaly.discovery import count_readings

    there, _ = count_readings([entry], first_us, stop_us)
    rows = pc.index_in(there, keys).drop_null().to_pylist()
    code = error.code if isinstance(error, InputError) else "input_changed"
    return dict.fromkeys(rows, InputError(f"{entry.input.path}: {error}", code=code))


def _joined(parts: Sequence[Any], kind: type) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, kind), *parts])
