"""Gathering: all usable readings of some partitions in a span of time, from whatever files hold them, and what was wrong with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.stores.base import Store
from fleetscore.workloads.base import InputFile
from fleetscore.workloads.sensor_anomaly.catalog import (
    CatalogFile,
    catalog_file,
    piece_readers,
    row_word,
    rows_within,
)
from fleetscore.workloads.sensor_anomaly.overlap import overlapped
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

    `time_us` is sorted; `value` is in the order that it was read in, and `value[order]` sorts it; `counts` says how many readings
    each partition has there. `input_rows` counts all that were found, `faults` those that were left out. `lost` names the
    partitions of which some input could not be read, with the error.
    """

    time_us: Int64s
    value: Floats
    order: Int64s
    counts: Int64s
    input_rows: Int64s
    faults: dict[int, Faults]
    lost: dict[int, InputError]


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and the counts and faults that the search leaves behind."""

    keys: pa.Array
    first_us: int
    stop_us: int
    input_rows: Int64s
    faults: dict[int, Faults]


def gather_readings(
    store: Store,
    inputs: Sequence[InputFile],
    keys: pa.Array,
    settings: SensorSettings,
    first_us: int,
    stop_us: int,
) -> Gathered:
    """The readings of the partitions `keys` with first_us <= time < stop_us."""
    search = _Search(keys, first_us, stop_us, np.zeros(len(keys), np.int64), {})
    entries = [catalog_file(store, file, settings) for file in inputs]
    found = _Found(sum(rows_within(entry, first_us, stop_us) for entry in entries))
    lost: dict[int, InputError] = {}
    for entry in entries:
        try:
            _check_unchanged(store, entry.input)
            for readings in overlapped(piece_readers(store, entry, first_us, stop_us)):
                found.add(*_mine(entry, readings, search))
        except (InputError, MissingBlobError) as error:
            lost.update(_losers(entry, keys, first_us, stop_us, error))
    pa.default_memory_pool().release_unused()  # what reading took goes back before sorting takes its own
    return _sorted(*found.columns(), search, lost)


class _Found:
    """Times, codes and values one after the other, in memory that is asked for once: pages never written cost nothing."""

    def __init__(self, most: int) -> None:
        self._time_us: Int64s = np.empty(most, np.int64)
        self._code: Codes = np.empty(most, np.int32)
        self._value: Floats = np.empty(most, np.float64)
        self._length = 0

    def add(self, time_us: Int64s, code: Codes, value: Floats) -> None:
        """Append a piece's readings."""
        rows = slice(self._length, self._length + len(code))
        self._time_us[rows], self._code[rows], self._value[rows] = time_us, code, value
        self._length += len(code)

    def columns(self) -> tuple[Int64s, Codes, Floats]:
        """What was appended."""
        length = self._length
        return self._time_us[:length], self._code[:length], self._value[:length]


def _mine(entry: CatalogFile, readings: Readings, search: _Search) -> tuple[Int64s, Codes, Floats]:
    """Times, codes and values of the usable readings that are looked for; the others are counted."""
    code = _own_codes(readings, search.keys)
    inside = _inside(readings, code, search.first_us, search.stop_us)
    time_us, value = readings.time_us, readings.value
    if inside is not None:
        time_us, code, value = time_us[inside], code[inside], value[inside]
    np.add(search.input_rows, np.bincount(code, minlength=len(search.keys)), out=search.input_rows)
    usable = np.isfinite(value)
    if not usable.all():
        _note_unusable(entry, readings, inside, code, value, usable, search.faults)
        time_us, code, value = time_us[usable], code[usable], value[usable]
    return time_us, code, value


def _own_codes(readings: Readings, keys: pa.Array) -> Codes:
    """Each reading's index into `keys`, -1 for other partitions'."""
    own = pc.index_in(partition_keys(readings.sensors), keys).fill_null(-1).to_numpy()
    codes: Codes = own.astype(np.int32, copy=False).take(readings.sensor)
    return codes


def _inside(readings: Readings, code: Codes, first_us: int, stop_us: int) -> Int64s | None:
    """The rows of these partitions and this span; None when that is all of them."""
    times = readings.time_us
    outside = len(times) > 0 and (times.min() < first_us or times.max() >= stop_us)
    if not outside and code.min(initial=0) >= 0:
        return None
    return np.flatnonzero((code >= 0) & (times >= first_us) & (times < stop_us))


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


def _sorted(
    time_us: Int64s, code: Codes, value: Floats, search: _Search, lost: dict[int, InputError]
) -> Gathered:
    partitions = len(search.keys)
    order = order_by_code(code, partitions)
    counts = search.input_rows - _rejected(search)
    in_time = time_us.take(order)
    later = _later(in_time, counts)
    if not later.all():  # not in order of time, or the same time twice
        by_time = np.argsort(time_us, kind="stable")
        order = by_time[order_by_code(code[by_time], partitions)]
        in_time = time_us.take(order)
        later = _later(in_time, counts)
        again = np.flatnonzero(~later)
        _note_duplicates(in_time, code, value, order, again, search.faults)
        counts = counts - np.bincount(code[order[again]], minlength=partitions)
        order, in_time = order[later], in_time[later]
    return Gathered(in_time, value, order, counts, search.input_rows, search.faults, lost)


def order_by_code(code: Codes, partitions: int) -> Int64s:
    """The stable order that sorts by code. Arrow counts where the codes span few values; wider codes take two such passes."""
    if partitions <= 1 << 16:
        order: Int64s = pc.array_sort_indices(pa.array(code)).to_numpy().view(np.int64)
        return order
    low = order_by_code(code & np.int32(0xFFFF), 1 << 16)
    return low[order_by_code((code >> 16)[low], partitions >> 16)]


def _rejected(search: _Search) -> Int64s:
    rejected = np.zeros(len(search.keys), np.int64)
    for partition, faults in search.faults.items():
        rejected[partition] = faults.rejected
    return rejected


def _later(in_time: Int64s, counts: Int64s) -> npt.NDArray[np.bool_]:
    """Whether each reading comes after the one before it; the first of a partition always does."""
    later = np.ones(len(in_time), bool)
    np.greater(in_time[1:], in_time[:-1], out=later[1:])
    first = np.cumsum(counts) - counts
    later[first[counts > 0]] = True
    return later


def _note_duplicates(
    in_time: Int64s, code: Codes, value: Floats, order: Int64s, again: Int64s, faults: dict[int, Faults]
) -> None:
    """`again` are the places in `order` of readings whose (partition, time) was there before."""
    partitions, first, counts = np.unique(code[order[again]], return_index=True, return_counts=True)
    for partition, index, count in zip(partitions.tolist(), first.tolist(), counts.tolist(), strict=True):
        place = again[index]
        kept, dropped = float(value[order[place - 1]]), float(value[order[place]])
        example = f"{np.datetime64(int(in_time[place]), 'us')}Z, {kept!r} kept, {dropped!r} dropped"
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
