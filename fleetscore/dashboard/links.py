"""Addresses of the dashboard's views: queries of one page, each with the function key if the page was
requested with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links; `code` is the function key of the request's address, "" if it came otherwise."""

    code: str = ""

    def overview(self) -> str:
        """The workloads."""
        return self._to()

    def workload(self, workload: str, before: str = "") -> str:
        """A workload's calendar and history; the page of runs before the run `before`."""
        return self._to(workload=workload, before=before)

    def anomalies(self, workload: str = "") -> str:
        """The incidents of a workload, or of all."""
        return self._to(view="anomalies", workload=workload)

    def run(self, run: str) -> str:
        """A run."""
        return self._to(run=run)

    def matches(self, run: str, *, text: str = "", outcome: str = "", cause: str | None = None) -> str:
        """The partitions of a run that hold the text, or share an outcome and a cause ("" is a cause too)."""
        return self._to(run=run, find=text, outcome=outcome, cause=cause if cause else None)

    def story(self, run: str, partition: str) -> str:
        """A partition's story."""
        return self._to(run=run, partition=partition)

    def log(self, run: str, log: str) -> str:
        """A log of a run, named by its path in the store."""
        return self._to(run=run, log=log)

    def results(self, workload: str, window: str, partitions: Sequence[str] = ()) -> str:
        """The published results of a window, drawn."""
        return self._to(view="results", workload=workload, window=window, partition=list(partitions))

    def _to(self, **parts: str | Sequence[str] | None) -> str:
        given = {name: value for name, value in parts.items() if value}
        if self.code:
            given["code"] = self.code
        return "?" + urlencode(given, doseq=True)
