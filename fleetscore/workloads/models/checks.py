"""Checks of a run's results before they are published: coverage, and what the settings expect of each
output.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.records import Collected, Outcome, ResultFile
from fleetscore.runs.manifests import find_manifest, read_latest
from fleetscore.store.base import Store
from fleetscore.store.tables import open_truth
from fleetscore.windows import parse_key
from fleetscore.workload import RunContext
from fleetscore.workloads.models.rows import numbers_of
from fleetscore.workloads.models.settings import FleetSettings, ResultCheck
from fleetscore.workloads.models.verdicts import describe_problem

_WINDOWS_BACK = 400
"""So many windows are looked at for one with results to compare with: days without data are windows too."""

_log = logging.getLogger("fleetscore.checks")
_FIX = "The results lie with the run; change [expect] if they are right, then retry the run."


def find_reason(run: RunContext, collected: Collected) -> str:
    """Why the results must not be published, naming the limit; "" where they may be."""
    settings: FleetSettings = run.settings
    reason = _lacking_coverage(collected, settings.expect.least_scored)
    for name, check in settings.expect.results.items():
        if not reason and check.what == "stop":
            reason = _problem_of(run, collected, name, check)
    return f"{reason} {_FIX}" if reason else ""


def _lacking_coverage(collected: Collected, least: float) -> str:
    counts = collected.counts
    scored = counts.get(Outcome.SCORED, 0)
    expected = sum(counts.values()) - counts.get(Outcome.SKIPPED, 0)
    if scored >= least * expected:
        return ""
    return f"{scored} of {expected} expected partitions were scored; at least {100 * least:g} % must be (least_scored)."


def _problem_of(run: RunContext, collected: Collected, name: str, check: ResultCheck) -> str:
    values = _read_values(run.store, collected.files, name)
    problem = describe_problem(values, name, check)
    if problem or check.change is None:
        return problem
    before = _mean_before(run, name)
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    if before is None or abs(mean - before) <= check.change * abs(before):
        return ""
    return (
        f"The mean of {name} is {mean:.6g}; in the published window before it was {before:.6g}. "
        f"At most {100 * check.change:g} % of change is expected."
    )


def _mean_before(run: RunContext, name: str) -> float | None:
    """The mean of the output in the newest published window before this one that has results; None where
    there is none.
    """
    latest = read_latest(run.store, run.workload)
    if latest is None:
        return None
    first, last = parse_key(latest.first), min(parse_key(latest.window), run.window.next(-1))
    if run.window.cadence is not last.cadence:  # published before `window` of the settings was another
        return None
    for back in range(min(_WINDOWS_BACK, last.ordinal - first.ordinal + 1)):
        values = _published_values(run, last.next(-back).key, name)
        if np.isfinite(values).any():
            return float(np.nanmean(values))
    return None


def _published_values(run: RunContext, window: str, name: str) -> npt.NDArray[np.float64]:
    """The output in a published window; none where it is not published, and, with a warning, where it cannot be
    read: the windows after it are held to the one before.
    """
    try:
        manifest = find_manifest(run.store, run.workload, window)
        return _read_values(run.store, manifest.files, name) if manifest else np.empty(0)
    except (DamagedStateError, MissingBlobError) as error:
        _log.warning("%s: %s of %s is not compared with: %s", run.run, name, window, error)
        return np.empty(0)


def _read_values(store: Store, files: Sequence[ResultFile], name: str) -> npt.NDArray[np.float64]:
    parts = []
    for file in files:
        with open_truth(store, file.path) as source:
            parts.append(numbers_of(pq.read_table(source, columns=[name])[name]))
    return np.concatenate(parts) if parts else np.empty(0)
