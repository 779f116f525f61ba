"""The status of a run: the answer of the app, and what commands make of it. Imports no Arrow, since the
command line needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetscore.records import RunRecord, RunState

EXIT_CODES = {"good": 0, "with_failures": 10, "unpublished": 20}
"""What `fleetscore run` exits with; the codes of worker processes share them."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What GET /api/runs/{id} answers."""

    id: str
    state: RunState
    record: RunRecord
    shards_done: int
    shards: int
    partitions_done: int
    elapsed_s: float
    eta_s: float | None  # None when it ended or is not known yet
    verdict: str  # good, with_failures, unpublished; "" while under way
    first_cause: str  # the most frequent cause of a missing result, as a sentence
    links: Mapping[str, str]
