"""Gathering: all usable readings of some partitions in a span of time, from whatever files hold them, and
what was wrong with the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.exhaustion import raise_lack
from fleetscore.records import InputFile
from fleetscore.sources.places import store_of
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file, piece_readers
from fleetscore.workloads.sensor_anomaly.entries import CatalogFile, count_readings
from fleetscore.workloads.sensor_anomaly.filing import Filing, find_later, rows_by_code, sort_by_time
from fleetscore.workloads.sensor_anomaly.intervals import aggregate_readings
from fleetscore.workloads.sensor_anomaly.overlap import overlapped
from fleetscore.workloads.sensor_anomaly.readings import Codes, Floats, Int64s, Readings, partition_keys
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


@dataclass(slots=True)
class Faults:
    """What was wrong with the readings of one partition: how many per cause, and the first of each in
    words.
    """

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
    """Readings sorted by partition, then time; of equal (time, partition) the first in file and row order.

    `counts` says how many readings each partition has there, or intervals where they are aggregated;
    `input_rows` how many readings were found, `usable_rows` how many of them were used and `faults` which
    were left out. `lost` names the partitions of which some input could not be read, with the
    error. Partitions are named by their index.
    """

    time_us: Int64s
    value: Floats
    counts: Int64s
    input_rows: Int64s
    usable_rows: Int64s
    faults: dict[int, Faults]
    lost: dict[int, InputError]


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and what was found so far."""

    keys: pa.Array
    first_us: int
    stop_us: int
    found: Filing
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
    """The readings of the partitions `keys` with first_us <= time < stop_us, both whole hours, aggregated as
    the settings say.
    """
    entries = [catalog_file(store, file, settings) for file in inputs]
    found = Filing(_expected(entries, keys, first_us, stop_us))
    search = _Search(keys, first_us, stop_us, found, np.zeros(len(keys), np.int64), {})
    lost: dict[int, InputError] = {}
    for entry in entries:
        try:
            _check_unchanged(store, entry.input)
            for readings in overlapped(piece_readers(store, entry, settings, first_us, stop_us)):
                _file(entry, readings, search)
        except (InputError, MissingBlobError) as error:
            raise_lack(error)
            lost.update(_losers(entry, search, error))
    pa.default_memory_pool().release_unused()  # what reading took goes back before scoring takes its own
    return _in_order(search, lost, settings)


def _expected(entries: Sequence[CatalogFile], keys: pa.Array, first_us: int, stop_us: int) -> Int64s:
    """How many readings of each of the partitions the catalogue counts."""
    there, rows = count_readings(entries, first_us, stop_us)
    place = pc.index_in(keys, there)
    expected: Int64s = pc.fill_null(pa.array(rows).take(place), 0).to_numpy(zero_copy_only=False)
    return expected


def _file(entry: CatalogFile, readings: Readings, search: _Search) -> None:
    """File the usable readings of those that are looked for, and count the others."""
    rows, counts = rows_by_code(_own_codes(readings, search), len(search.keys))
    if not search.found.has_room(counts):
        raise _changed(entry.input, "changed")
    np.add(search.input_rows, counts, out=search.input_rows)
    value = readings.value.take(rows)
    usable = np.isfinite(value)
    if not usable.all():
        code = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        _note_unusable(entry, readings, rows[~usable], code[~usable], search.faults)
        rows, value = rows[usable], value[usable]
        counts = np.bincount(code[usable], minlength=len(counts))
    search.found.add(readings.time_us.take(rows), value, counts)


def _own_codes(readings: Readings, search: _Search) -> Codes:
    """Each reading's index into the keys that are looked for, -1 for other partitions' and other times'."""
    own = pc.index_in(partition_keys(readings.sensors), search.keys).fill_null(-1).to_numpy()
    codes: Codes = own.astype(np.int32, copy=False).take(readings.sensor)
    times = readings.time_us
    if len(times) and (times.min() < search.first_us or times.max() >= search.stop_us):
        codes = np.where((times >= search.first_us) & (times < search.stop_us), codes, np.int32(-1))
    return codes


def _note_unusable(
    entry: CatalogFile, readings: Readings, bad: Int64s, code: Codes, faults: dict[int, Faults]
) -> None:
    """Count the readings `bad`, which are sorted by their partitions `code`, by what they hold instead of a
    number.
    """
    rows = np.asarray(readings.row)[bad]
    texts = [readings.texts.get(row, "") for row in rows.tolist()]
    unreadable = np.array([_is_word(text) for text in texts])
    for cause, chosen in (("bad_number", unreadable), ("not_finite", ~unreadable)):
        partitions, first, counts = np.unique(code[chosen], return_index=True, return_counts=True)
        for partition, index, count in zip(partitions.tolist(), first.tolist(), counts.tolist(), strict=True):
            place = int(np.flatnonzero(chosen)[index])
            shown = texts[place] or repr(float(readings.value[bad[place]]))
            where = f"{entry.input.path} {entry.entry.row_word} {rows[place]}: {shown!r}"
            faults.setdefault(partition, Faults()).add(cause, count, where)


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


def _in_order(search: _Search, lost: dict[int, InputError], settings: SensorSettings) -> Gathered:
    """What was found, sorted by time, each time once, then aggregated."""
    time_us, value, counts = search.found.columns()
    later = find_later(time_us, counts)
    if not later.all():
        sort_by_time(time_us, value, counts, later)
        later = find_later(time_us, counts)
        again = np.flatnonzero(~later)
        code = np.searchsorted(np.cumsum(counts), again, side="right")
        _note_duplicates(time_us, value, again, code, search.faults)
        counts = counts - np.bincount(code, minlength=len(counts))
        time_us, value = time_us[later], value[later]
    aggregated = aggregate_readings(time_us, value, counts, settings.data.aggregate)
    return Gathered(*aggregated, search.input_rows, counts, search.faults, lost)


def _note_duplicates(
    time_us: Int64s, value: Floats, again: Int64s, code: Int64s, faults: dict[int, Faults]
) -> None:
    """`again` are the places of readings whose (partition, time) was there before, `code` their
    partitions.
    """
    partitions, first, counts = np.unique(code, return_index=True, return_counts=True)
    for partition, index, count in zip(partitions.tolist(), first.tolist(), counts.tolist(), strict=True):
        place = again[index]
        kept, dropped = float(value[place - 1]), float(value[place])
        example = f"{np.datetime64(int(time_us[place]), 'us')}Z, {kept!r} kept, {dropped!r} dropped"
        faults.setdefault(partition, Faults()).add("duplicate_reading", count, example)


def _check_unchanged(store: Store, file: InputFile) -> None:
    if file.format == "delta":
        return  # its version is pinned
    source, path = store_of(store, file.path)
    entry = source.stat(path)
    if entry is None or entry.etag != file.etag:
        raise _changed(file, "changed" if entry else "deleted")


def _changed(file: InputFile, how: str) -> InputError:
    return InputError(
        f"{file.path} was {how} after the run was planned.",
        fix="Retry the failed partitions of the window.",
        code="input_changed",
    )


def _losers(entry: CatalogFile, search: _Search, error: Exception) -> dict[int, InputError]:
    """The partitions with readings of the span in a file that cannot be read."""
    there, _ = count_readings([entry], search.first_us, search.stop_us)
    rows = pc.index_in(there, search.keys).drop_null().to_pylist()
    code = error.code if isinstance(error, InputError) else "input_changed"
    return dict.fromkeys(rows, InputError(f"{entry.input.path}: {error}", code=code))
