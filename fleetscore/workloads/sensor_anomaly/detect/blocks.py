"""Blocks: sensors of one model pack whose state is carried together, in a file for each day (UTC).

The state is a cache: what a window's results are does not depend on it, only how much is read and computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.detect.bins import HOUR_BINS, Bins, join_bins
from fleetscore.workloads.sensor_anomaly.detect.calibration import pick_largest
from fleetscore.workloads.sensor_anomaly.detect.day_state import (
    BINS_ARRAYS,
    HOURS,
    TOP_ARRAYS,
    DayState,
    key_of_day,
    read_day,
    write_day,
)
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS, HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.detect.hour_keys import CONTEXT_HOURS, HourKeys
from fleetscore.workloads.sensor_anomaly.detect.model import DetectorPack
from fleetscore.workloads.sensor_anomaly.detect.past import PastScores
from fleetscore.workloads.sensor_anomaly.detect.raw_scores import raw_scores
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

CALIBRATION_HOURS = CALIBRATION_BINS // HOUR_BINS
RAW_HOURS = HORIZON_BINS // HOUR_BINS - CONTEXT_HOURS
"""So many hours before a window its marks need raw scores of."""

_ALL = (*BINS_ARRAYS, "raw")


class StaleStateError(LookupError):
    """State that was there a moment ago is gone: it is made anew from the readings."""


@dataclass(slots=True)
class Block:
    """The sensors `pack.keys`, and their state before the hour `begin`, in which the window begins; `lead` are
    their bins of that hour before the window, None where it begins with the hour.

    `pick` are their places among the `sensors` of the files, None for all of them. Only a block that `owns`
    its files writes them: one whose sensors are all there.
    """

    store: Store
    folder: str
    pack: DetectorPack
    svm: Callable[[Bins], Floats]
    sensors: int
    pick: Int64s | None
    owns: bool
    keys: HourKeys
    begin: int
    trusts: bool = True  # whether files are read
    lost: set[int] = field(default_factory=set)
    lead: Bins | None = None
    days: dict[int, DayState] = field(default_factory=dict)

    @property
    def names(self) -> pa.Array:
        """The partition keys of the sensors."""
        return self.pack.keys

    def open(self) -> None:
        """Read of the days before the window what the next hour needs."""
        for day in range((self.begin - RAW_HOURS) // HOURS, self.begin // HOURS + 1):
            self._day(day, self._needed(day))

    def start_over(self) -> None:
        """Forget everything, and read no file again."""
        self.trusts, self.days, self.lost = False, {}, set()

    def missing(self) -> list[int]:
        """The hours before the window whose raw scores have to be computed."""
        hours = range(self.begin - RAW_HOURS, self.begin)
        return [hour for hour in hours if self.keys.of_raw(hour) and not self._has_raw(hour)]

    def missing_bins(self, first: int, end: int) -> list[int]:
        """The hours of [first, end) whose readings have to be read."""
        found = []
        for hour in range(first, end):
            state = self._day(hour // HOURS, _ALL)
            if self.keys.of_bins(hour) and not state.bins[hour % HOURS]:
                found.append(hour)
        return found

    def put_bins(self, hours: Iterable[int], bins: Bins) -> None:
        """Take over the bins of some whole hours."""
        for hour in hours:
            state = self._day(hour // HOURS, _ALL)
            place, source = _bins_of(hour), hour * HOUR_BINS - bins.first
            for name in BINS_ARRAYS:
                state.array(name)[:, place] = getattr(bins, name)[:, source : source + HOUR_BINS]
            state.bins[hour % HOURS] = self.keys.of_bins(hour) or ""
            state.changed = True

    def rate(self, hours: list[int]) -> None:
        """Compute the raw scores of hours whose bins are there, those of the two days before included."""
        first, end = hours[0], hours[-1] + 1
        raw = self._raw(self.bins(first - CONTEXT_HOURS, end))
        for hour in hours:
            self.put_raw(hour, raw[..., (hour - first) * HOUR_BINS : (hour - first + 1) * HOUR_BINS])

    def rate_now(self, bins: Bins) -> Floats:
        """The raw scores (detectors, sensors, bins) of the window, whose bins begin at the hour `begin`, any
        lead included.
        """
        before = self._join(self.begin - CONTEXT_HOURS, self.begin, "mean")  # only means are looked back at
        none = np.zeros(before.shape, np.int64)
        whole = join_bins(Bins(bins.first - before.shape[1], before, before, before, none), bins)
        return raw_scores(self.pack, whole, self.svm(bins))

    def put_raw(self, hour: int, raw: Floats) -> None:
        """Take over the raw scores (detectors, sensors, bins) of an hour."""
        state = self._day(hour // HOURS, _ALL)
        state.array("raw")[..., _bins_of(hour)] = raw.transpose(1, 0, 2)
        state.raw[hour % HOURS] = self.keys.of_raw(hour) or ""
        state.top, state.changed = "", True

    def save(self, day: int) -> None:
        """Keep the state of a day, with its largest raw scores where it is complete."""
        state = self.days.get(day)
        if state is None or not state.changed or not self.owns or self.lost:
            return
        if self._is_complete(day):
            top, seen = pick_largest(state.array("raw"))
            state.arrays["top"], state.arrays["seen"] = top, seen
            state.top = key_of_day(state.raw)
        write_day(self.store, self._path(day), state)

    def knows(self, hour: int) -> bool:
        """Whether bins and raw scores of an hour are those of the window's input."""
        state = self._day(hour // HOURS, _ALL)
        return state.bins[hour % HOURS] == self.keys.of_bins(hour) and self._has_raw(hour)

    def largest(self) -> tuple[Floats, Floats]:
        """The largest raw scores (sensors, detectors, n) of the days before the window that calibrate it,
        and how many there are.
        """
        first, tops, seen = self.begin - CALIBRATION_HOURS, [], []
        for day in range(first // HOURS, (self.begin - 1) // HOURS + 1):
            begin, end = max(first, day * HOURS), min(self.begin, (day + 1) * HOURS)
            state = self._day(day, self._needed(day))
            if end - begin == HOURS and state.top:
                tops.append(state.array("top"))
                seen.append(state.array("seen"))
                continue
            top, count = pick_largest(self._join(begin, end, "raw"))
            tops.append(top)
            seen.append(count)
        return pick_largest(np.concatenate(tops, axis=-1))[0], np.sum(seen, axis=0)

    def past(self, rows: Int64s) -> PastScores:
        """What marks need of some of the sensors."""
        first = self.begin - RAW_HOURS
        raw, mean, count = (self._join(first, self.begin, name)[rows] for name in ("raw", "mean", "count"))
        return PastScores(raw.transpose(1, 0, 2), mean, count)

    def bins(self, first: int, end: int) -> Bins:
        """The bins of the hours [first, end)."""
        mean, low, high, count = (self._join(first, end, name) for name in BINS_ARRAYS)
        return Bins(first * HOUR_BINS, mean, low, high, count.astype(np.int64))

    def forget(self, before: int) -> None:
        """Let go of arrays of the days before day `before`: of what can be read again, all but what the next
        hour needs; else what nothing needs any more.
        """
        for day, state in self.days.items():
            if day < before:
                kept = ("mean", "count", "raw") if state.changed or not self.trusts else self._needed(day)
                for name in set(state.arrays) - {*kept, *TOP_ARRAYS}:
                    del state.arrays[name]

    def _raw(self, bins: Bins) -> Floats:
        return raw_scores(self.pack, bins, self.svm(bins.since(bins.first + CONTEXT_HOURS * HOUR_BINS)))

    def _needed(self, day: int) -> tuple[str, ...]:
        """The arrays of a day that scoring the next hour takes, and keeping that hour's state."""
        first, end = day * HOURS, (day + 1) * HOURS
        if first <= self.begin < end and self.owns:
            return _ALL
        needed = ["mean"] if end > self.begin - CONTEXT_HOURS else []
        since = self.begin - CALIBRATION_HOURS
        if end > since:
            needed += TOP_ARRAYS if since <= first and end <= self.begin else ("raw",)
        return tuple(needed)

    def _day(self, day: int, names: Iterable[str]) -> DayState:
        """The state of a day with these arrays; what was made from other input than the window's is blank."""
        state = self.days.get(day)
        lacking = state is None or any(name not in state.arrays for name in names)
        if state is None and not self.trusts:
            state = self.days[day] = DayState(len(self.pack), changed=True)
        elif state is None or (lacking and self.trusts and not state.changed):
            wanted = {*names, *(state.arrays if state else ())}
            state = self.days[day] = read_day(self.store, self._path(day), self.sensors, wanted, self.pick)
            self._check(day, state)
        return state

    def _check(self, day: int, state: DayState) -> None:
        for hour in range(HOURS):
            for kind, keys, expected in (
                ("bins", state.bins, self.keys.of_bins(day * HOURS + hour)),
                ("raw", state.raw, self.keys.of_raw(day * HOURS + hour)),
            ):
                if expected is not None and keys[hour] != expected:
                    state.blank(hour, kind)
        if state.top and state.top != key_of_day(state.raw):
            state.top = ""

    def _has_raw(self, hour: int) -> bool:
        return self._day(hour // HOURS, ()).raw[hour % HOURS] == self.keys.of_raw(hour)

    def _is_complete(self, day: int) -> bool:
        keys = [self.keys.of_raw(hour) for hour in range(day * HOURS, (day + 1) * HOURS)]
        return None not in keys and keys == self.days[day].raw

    def _join(self, first: int, end: int, name: str) -> Floats:
        """An array of the hours [first, end); StaleState where it is not there any more."""
        parts = []
        for day in range(first // HOURS, (end - 1) // HOURS + 1):
            begin, stop = max(first, day * HOURS), min(end, (day + 1) * HOURS)
            state = self._day(day, (name,))
            self._demand(state, range(begin, stop), name)
            array = state.array(name)
            parts.append(array[..., (begin - day * HOURS) * HOUR_BINS : (stop - day * HOURS) * HOUR_BINS])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _demand(self, state: DayState, hours: range, name: str) -> None:
        for hour in hours:
            key = self.keys.of_raw(hour) if name == "raw" else self.keys.of_bins(hour)
            if (state.raw if name == "raw" else state.bins)[hour % HOURS] != key:
                raise StaleStateError(f"{self._path(hour // HOURS)}: hour {hour % HOURS}")

    def _path(self, day: int) -> str:
        return f"{self.folder}{np.datetime64(day, 'D')}.state"


def _bins_of(hour: int) -> slice:
    return slice(hour % HOURS * HOUR_BINS, (hour % HOURS + 1) * HOUR_BINS)
