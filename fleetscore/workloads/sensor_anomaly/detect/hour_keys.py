"""Hour keys: what the carried state of an hour was made from, so that state of other input is told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fleetscore.records import InputFile
from fleetscore.workloads.sensor_anomaly.detect.bins import HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.horizon import CONTEXT_BINS
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

CONTEXT_HOURS = CONTEXT_BINS // HOUR_BINS

DatedFile = tuple[InputFile, tuple[int, int]]
"""An input file, and the earliest and latest time of its readings in microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class HourKeys:
    """The keys of the hours [first, end) since 1970, "" for an hour that no file has readings of.

    `bins` name the files whose readings the bins of an hour are made of, `raw` those that its raw scores
    depend on: of the hour and of the two days before. Of the first two days there are no keys of raw
    scores.
    """

    first: int
    bins: tuple[str, ...]
    raw: tuple[str, ...]

    @property
    def end(self) -> int:
        """The hour after the last."""
        return self.first + len(self.bins)

    def of_bins(self, hour: int) -> str | None:
        """The key of an hour's bins; None for an hour that nothing is known of."""
        return self.bins[hour - self.first] if self.first <= hour < self.end else None

    def of_raw(self, hour: int) -> str | None:
        """The key of an hour's raw scores; None for an hour that nothing is known of."""
        return self.raw[hour - self.first] if self.first + CONTEXT_HOURS <= hour < self.end else None


def make_hour_keys(files: Sequence[DatedFile], settings_digest: str, first: int, end: int) -> HourKeys:
    """The keys of the hours [first, end): digests of paths and etags of the files, in their order."""
    named: list[list[str]] = [[] for _ in range(end - first)]
    for file, (first_us, last_us) in files:
        for hour in range(max(first_us // HOUR_US, first), min(last_us // HOUR_US + 1, end)):
            named[hour - first].append(f"{file.path}\n{file.etag}\n")
    bins = tuple(digest_of(settings_digest, *texts) if texts else "" for texts in named)
    raw = tuple(
        digest_of(*bins[max(0, place - CONTEXT_HOURS) : place + 1]) if key else ""
        for place, key in enumerate(bins)
    )
    return HourKeys(first, bins, raw)


def digest_of(*texts: str) -> str:
    """A short digest of texts in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]
